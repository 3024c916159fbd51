//! Taking a value back up when its levels run out.

use crate::circuit::{Clear, ClearValue, Evaluator, Plan, PlanValue};
use crate::ckks::{self, Bootstrapper, Ciphertext, Magnitude, NoiseEstimator, NoiseValue, PreparedBootstrapper};
use crate::error::{Error, Result};
use crate::units::Level;

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
