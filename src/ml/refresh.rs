//! Taking a value back up when its levels run out.

use crate::circuit::{Clear, ClearValue, Evaluator, Plan, PlanValue};
use crate::ckks::{
    self, Bootstrapper, Ciphertext, HostCiphertext, Magnitude, NoiseEstimator, NoiseValue, Parameters,
    PreparedBootstrapper,
};
use crate::error::{Error, Result};
use crate::units::Level;
use std::cell::Cell;

/// One reading of a refresh, beside the one of the circuit that needs it.
pub trait Refresh<E: Evaluator> {
    /// Levels that the value can spend and still be refreshed afterwards.
    fn levels_left(&self, eval: &E, value: &E::Value) -> u32;
    /// The same value with all its levels. Real and imaginary parts of slots must be of magnitude at most 1.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when it is too late; missing keys; [`Error::BadValue`] in the clear reading for a slot beyond
    /// magnitude 1, which no other reading can see.
    fn refresh(&self, eval: &E, value: &E::Value) -> Result<E::Value>;
}

impl Refresh<ckks::Evaluator> for PreparedBootstrapper {
    fn levels_left(&self, _: &ckks::Evaluator, value: &Ciphertext) -> u32 {
        value.level().0.saturating_sub(self.circuit().input_level().0)
    }

    fn refresh(&self, _: &ckks::Evaluator, value: &Ciphertext) -> Result<Ciphertext> {
        PreparedBootstrapper::refresh(self, value)
    }
}

/// A refresh by the owner of the data, in place of a bootstrap: **an interactive mode**, in which the server hands values out and waits.
///
/// The server holds a callback and no secret. It sends a ciphertext at a low level, the owner decrypts it, encrypts the numbers anew at
/// [`Parameters::max_level`] and sends that back. Parameters need no levels for bootstrapping: a smaller ring does, and keys are fewer.
///
/// The owner must be there for all of the training, and sees on the way what is otherwise only decrypted at its end, or never: weights and momentum
/// after each step, differences of held-out logits. The server sees no more than with a bootstrap; the owner must not tell it anything that
/// depends on what was decrypted, its errors included.
///
/// # Level and scale
/// Down to level 0 and back to the maximum. The error is that of an encryption, far below a bootstrap's.
/// # Cost
/// A round trip: `8 N` bytes a limb of level 0 up, and `4 N` bytes a limb of the maximum down (an encryptor with the secret key sends the
/// uniform half as a seed; `8 N` with a public one).
pub struct ClientRefresh<F> {
    owner: F,
}

impl<F> std::fmt::Debug for ClientRefresh<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientRefresh(..)")
    }
}

impl<F: Fn(HostCiphertext) -> Result<HostCiphertext>> ClientRefresh<F> {
    /// Asks `owner`, who takes a ciphertext at level 0 and gives the same numbers encrypted at [`Parameters::max_level`], whenever levels run out.
    pub fn new(owner: F) -> Self {
        Self { owner }
    }
}

impl<F: Fn(HostCiphertext) -> Result<HostCiphertext>> Refresh<ckks::Evaluator> for ClientRefresh<F> {
    fn levels_left(&self, _: &ckks::Evaluator, value: &Ciphertext) -> u32 {
        value.level().0
    }

    /// The owner's answer, if it is of the same batch, and of the level that was asked for.
    fn refresh(&self, eval: &ckks::Evaluator, value: &Ciphertext) -> Result<Ciphertext> {
        let answer = (self.owner)(eval.drop_to(value, Level(0))?.to_host()?)?;
        let top = eval.parameters().max_level();
        if (answer.level(), answer.batch()) != (top, value.batch()) {
            let expected = format!("{} vectors at level {}", value.batch(), top.0);
            let got = format!("{} vectors at level {}", answer.batch(), answer.level().0);
            return Err(Error::ShapeMismatch { op: "ClientRefresh", expected, got });
        }
        eval.load(&answer)
    }
}

/// A circuit on its way, refreshed wherever too few levels are left for the next stretch.
pub(super) struct Walk<'a, E, R> {
    op: &'static str,
    eval: &'a E,
    refresh: &'a R,
    refreshes: Cell<u32>,
}

impl<'a, E: Evaluator, R: Refresh<E>> Walk<'a, E, R> {
    pub(super) fn new(op: &'static str, eval: &'a E, refresh: &'a R) -> Self {
        Self { op, eval, refresh, refreshes: Cell::new(0) }
    }

    /// The value with at least `needed` levels that can be spent.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when not even a refresh gives so many; errors of [`Refresh::refresh`].
    pub(super) fn with(&self, value: E::Value, needed: u32) -> Result<E::Value> {
        if self.refresh.levels_left(self.eval, &value) >= needed {
            return Ok(value);
        }
        let value = self.refresh.refresh(self.eval, &value)?;
        self.refreshes.set(self.refreshes.get() + 1);
        let left = self.refresh.levels_left(self.eval, &value);
        if left < needed {
            return Err(Error::LevelExhausted { op: self.op, needed, left });
        }
        Ok(value)
    }

    /// Refreshes so far.
    pub(super) fn refreshes(&self) -> u32 {
        self.refreshes.get()
    }
}

/// A refresh without cryptography: only its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRefresh {
    /// The lowest level that can be refreshed.
    pub input: Level,
    /// The level of what was refreshed: that of fresh values.
    pub output: Level,
}

impl From<&Bootstrapper> for PlannedRefresh {
    fn from(circuit: &Bootstrapper) -> Self {
        Self { input: circuit.input_level(), output: circuit.parameters().max_level() }
    }
}

impl PlannedRefresh {
    /// The refresh that the parameters have levels for, if any.
    pub(super) fn of_parameters(parameters: &Parameters) -> Option<Self> {
        let settings = parameters.bootstrapping()?;
        Some(Self { input: Level(settings.slots_to_coefficients), output: parameters.max_level() })
    }

    /// For a [`ClientRefresh`]: from level 0.
    pub fn by_client(parameters: &Parameters) -> Self {
        Self { input: Level(0), output: parameters.max_level() }
    }

    fn check(self, left: Option<u32>, level: Level) -> Result<()> {
        left.map(|_| ()).ok_or(Error::LevelExhausted { op: "refresh", needed: self.input.0, left: level.0 })
    }

    /// Levels above the lowest one; a plan's values stand as far below its inputs as others do below the output.
    fn planned(self, plan: &Plan, value: &PlanValue) -> Option<u32> {
        let spent = plan.level(&plan.input(1)).0.saturating_sub(plan.level(value).0);
        self.output.0.saturating_sub(self.input.0).checked_sub(spent)
    }
}

impl Refresh<Plan> for PlannedRefresh {
    fn levels_left(&self, plan: &Plan, value: &PlanValue) -> u32 {
        self.planned(plan, value).unwrap_or(0)
    }

    fn refresh(&self, plan: &Plan, value: &PlanValue) -> Result<PlanValue> {
        self.check(self.planned(plan, value), plan.level(value))?;
        Ok(plan.input(plan.batch(value)))
    }
}

impl Refresh<Clear> for PlannedRefresh {
    fn levels_left(&self, clear: &Clear, value: &ClearValue) -> u32 {
        clear.level(value).0.saturating_sub(self.input.0)
    }

    fn refresh(&self, clear: &Clear, value: &ClearValue) -> Result<ClearValue> {
        let level = clear.level(value);
        self.check(level.0.checked_sub(self.input.0), level)?;
        let beyond = |z: &num_complex::Complex64| !(z.re.abs() <= 1.0 && z.im.abs() <= 1.0);
        match value.vectors().iter().flatten().position(beyond) {
            Some(index) => Err(Error::BadValue { index, reason: "beyond magnitude 1, where a refresh goes wrong" }),
            None => clear.value(value.vectors(), self.output),
        }
    }
}

/// A refresh as the prediction of noise reads it: the message keeps within magnitude 1, and the error of the refresh joins the one there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PredictedRefresh {
    levels: PlannedRefresh,
    deviation: f64,
}

impl PredictedRefresh {
    /// The reading of a circuit.
    ///
    /// # Errors
    /// As [`Bootstrapper::slot_deviation`].
    pub fn new(circuit: &Bootstrapper) -> Result<Self> {
        Ok(Self { levels: circuit.into(), deviation: circuit.slot_deviation()? })
    }
}

impl Refresh<NoiseEstimator> for PredictedRefresh {
    fn levels_left(&self, _: &NoiseEstimator, value: &NoiseValue) -> u32 {
        value.level().0.saturating_sub(self.levels.input.0)
    }

    fn refresh(&self, noise: &NoiseEstimator, value: &NoiseValue) -> Result<NoiseValue> {
        self.levels.check(value.level().0.checked_sub(self.levels.input.0), value.level())?;
        let Magnitude { rms, bound } = value.message();
        let message = Magnitude { rms: rms.min(1.0), bound: bound.min(1.0) };
        let exact = noise.with_noise(noise.batch(value), self.levels.output, message, 1.0)?;
        let deviation = value.slot_deviation().hypot(self.deviation) / exact.slot_deviation();
        noise.with_noise(noise.batch(value), self.levels.output, message, deviation.min(f64::MAX))
    }
}
