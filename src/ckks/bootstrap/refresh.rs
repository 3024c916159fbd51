//! The circuit of a refresh, and its run.

use super::eval_mod::EvalMod;
use super::settings::Bootstrapping;
use crate::circuit::{
    self, Evaluator as _, LinearTransform, Plan, PlanReport, coefficients_from_slots, slots_from_coefficients,
};
use crate::ckks::{Ciphertext, DeviceTransform, Evaluator, KeyRequest, Parameters};
use crate::error::{Error, Result};
use crate::units::Level;

/// A refresh for one number of slots, before any key exists: what it computes, and what that takes.
///
/// # Example
/// ```
/// use ringlight::ckks::{Bootstrapper, Parameters};
///
/// let circuit = Bootstrapper::new(&Parameters::bootstrap_n16()?)?;
/// assert_eq!((circuit.input_level().0, circuit.levels_left()), (3, 8));
/// let (_, high) = circuit.plan()?; // before any key exists
/// assert_eq!((high.depth, high.rotations.len(), high.relinearizations), (11, 26, 22));
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bootstrapper {
    parameters: Parameters,
    /// Where SlotToCoeff happens: at level 0 the scale is that of the wanted ratio.
    pub(super) lowered: Parameters,
    /// Where the raised ciphertext lives: at the application's top level the scale is EvalMod's.
    raised: Parameters,
    settings: Bootstrapping,
    slots: usize,
    pub(super) slots_to_coefficients: Vec<LinearTransform>,
    coefficients_to_slots: Vec<LinearTransform>,
    eval_mod: EvalMod,
}

impl Bootstrapper {
    /// A refresh of all `N/2` slots.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for parameters without levels for it.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        Self::with_slots(parameters, parameters.slots())
    }

    /// A refresh of vectors with period `slots`, a power of two: fewer diagonals and keys.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] as [`Self::new`], or unless `slots` is a power of two from 8 to `N/2`.
    pub fn with_slots(parameters: &Parameters, slots: usize) -> Result<Self> {
        let Some(&settings) = parameters.bootstrapping() else {
            let reason = "the parameters have no levels for it; build them with `bootstrapping`".into();
            return Err(Error::InvalidParameter { what: "bootstrapping", reason });
        };
        if !slots.is_power_of_two() || slots < 8 || slots > parameters.slots() {
            let reason = format!("{slots} is no power of two from 8 to {}", parameters.slots());
            return Err(Error::InvalidParameter { what: "slots", reason });
        }
        let application = parameters.max_level();
        let above = Level(application.0 + 1);
        let end = parameters.scale_at(above)?.powi(2) / parameters.dropped_at(above)?;
        let base = parameters.dropped_at(Level(0))?;
        let bottom = base * (-f64::from(settings.ratio_bits)).exp2();
        let raised = parameters.scale_at(parameters.top_level())?;
        // Coefficients x q_0 of the raised ciphertext become slots x / R; the trace adds N/2 / slots equal parts, the sum of a number and its
        // conjugate two.
        let half_width = settings.half_width();
        let parts = (parameters.slots() / slots) as f64;
        let gain = raised / (2.0 * half_width * base * parts);
        // EvalMod's result times its scale is the fraction of q_0 that the message was, at the application's scale.
        let amplitude = parameters.scale_at(application)? / end * (base / bottom);
        Ok(Self {
            lowered: parameters.with_scale_at(Level(0), bottom),
            raised: parameters.with_scale_at(application, end),
            parameters: parameters.clone(),
            settings,
            slots,
            slots_to_coefficients: slots_from_coefficients(slots, settings.slots_to_coefficients, 1.0)?,
            coefficients_to_slots: coefficients_from_slots(slots, settings.coefficients_to_slots, gain)?,
            eval_mod: EvalMod::new(&settings, amplitude)?,
        })
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// How it refreshes.
    pub fn settings(&self) -> &Bootstrapping {
        &self.settings
    }

    /// See [`Bootstrapping::failure_log2`].
    pub fn failure_log2(&self) -> f64 {
        self.settings.failure_log2(self.parameters.log_n())
    }

    /// The period of the vectors.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The level that a ciphertext must have to be refreshed.
    pub fn input_level(&self) -> Level {
        Level(self.settings.slots_to_coefficients)
    }

    /// Multiplications between two refreshes.
    pub fn levels_left(&self) -> u32 {
        self.parameters.max_level().0 - self.input_level().0
    }

    /// What SlotToCoeff takes, and what the raised ciphertext goes through.
    ///
    /// # Errors
    /// None in practice: nothing can run out in a plan.
    pub fn plan(&self) -> Result<(PlanReport, PlanReport)> {
        let plan = || Plan::new(self.parameters.slots());
        let (low, high) = (plan(), plan());
        let x = low.input(1);
        apply(&low, &x, &encoded(&low, &self.slots_to_coefficients, low.level(&x))?)?;
        let x = high.input(1);
        self.reduce(&high, &x, &encoded(&high, &self.coefficients_to_slots, high.level(&x))?)?;
        Ok((low.report(), high.report()))
    }

    /// The keys it takes, each for the level of its highest use.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn keys(&self) -> Result<KeyRequest> {
        let (low, high) = self.plan()?;
        let low = KeyRequest::from_plan(&low, self.input_level());
        Ok(KeyRequest::from_plan(&high, self.parameters.top_level()).merge(&low).encapsulation(true))
    }

    /// Encodes the linear maps on the evaluator's device.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`]; out of memory.
    pub fn prepare(&self, evaluator: &Evaluator) -> Result<PreparedBootstrapper> {
        if !evaluator.parameters().is_same(&self.parameters) {
            return Err(Error::ParameterMismatch { op: "Bootstrapper::prepare" });
        }
        let high = evaluator.with_parameters(&self.raised);
        let low = evaluator.with_parameters(&self.lowered);
        Ok(PreparedBootstrapper {
            slots_to_coefficients: encoded(&low, &self.slots_to_coefficients, self.input_level())?,
            coefficients_to_slots: encoded(&high, &self.coefficients_to_slots, self.raised.top_level())?,
            application: evaluator.with_parameters(&self.parameters),
            low,
            high,
            circuit: self.clone(),
        })
    }

    /// From the raised ciphertext to the refreshed one: the trace to `slots` slots, CoeffToSlot, EvalMod on real and imaginary parts.
    fn reduce<E: circuit::Evaluator>(&self, eval: &E, x: &E::Value, to_slots: &[E::Transform]) -> Result<E::Value> {
        let mut trace = eval.drop_to(x, eval.level(x))?;
        let mut step = self.slots;
        while step < eval.slots() {
            let turned = eval.rotate(&trace, i32::try_from(step).expect("below 2^17"))?;
            trace = eval.add(&trace, &turned)?;
            step *= 2;
        }
        let z = apply(eval, &trace, to_slots)?;
        let conjugate = eval.conjugate(&z)?;
        let real = self.eval_mod.evaluate(eval, &eval.add(&z, &conjugate)?)?;
        // z - conj z = 2i Im z; the sine is odd, so that i times it is the imaginary part's contribution, negated.
        let imaginary = self.eval_mod.evaluate(eval, &eval.mul_i(&eval.sub(&z, &conjugate)?)?)?;
        eval.sub(&real, &eval.mul_i(&imaginary)?)
    }
}

impl std::fmt::Display for Bootstrapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = &self.settings;
        write!(
            f,
            "{} slots from level {} to {}, {} left; CoeffToSlot {} levels, EvalMod {} (range {}, degree {}, {} doublings), ",
            self.slots,
            self.input_level().0,
            self.parameters.max_level().0,
            self.levels_left(),
            s.coefficients_to_slots,
            s.eval_mod_levels(),
            s.range,
            s.degree,
            s.doublings
        )?;
        let failure = self.failure_log2();
        if failure == f64::NEG_INFINITY {
            f.write_str("never fails for slots of magnitude up to 1")
        } else {
            write!(f, "a vector fails with probability below 2^{:.0}", failure.ceil())
        }
    }
}

pub(super) fn encoded<E: circuit::Evaluator>(
    eval: &E,
    maps: &[LinearTransform],
    top: Level,
) -> Result<Vec<E::Transform>> {
    let levels = (0..=top.0).rev().map(Level);
    maps.iter().zip(levels).map(|(map, level)| eval.encode_transform(map, level)).collect()
}

pub(super) fn apply<E: circuit::Evaluator>(eval: &E, x: &E::Value, maps: &[E::Transform]) -> Result<E::Value> {
    let (first, rest) = maps.split_first().expect("at least one level");
    rest.iter().try_fold(eval.transform(x, first)?, |x, map| eval.transform(&x, map))
}

/// A [`Bootstrapper`] with its linear maps on a device.
#[derive(Debug)]
pub struct PreparedBootstrapper {
    circuit: Bootstrapper,
    application: Evaluator,
    low: Evaluator,
    high: Evaluator,
    slots_to_coefficients: Vec<DeviceTransform>,
    coefficients_to_slots: Vec<DeviceTransform>,
}

impl PreparedBootstrapper {
    /// The circuit.
    pub fn circuit(&self) -> &Bootstrapper {
        &self.circuit
    }

    /// Bytes of the linear maps on the device.
    pub fn bytes(&self) -> u64 {
        self.slots_to_coefficients.iter().chain(&self.coefficients_to_slots).map(DeviceTransform::bytes).sum()
    }

    /// As [`Self::refresh`], then once more on the error that it made, enlarged `2^bits` times, to take it away: nearly `bits` more bits of
    /// precision, as far as the scale has them. One refresh must be good for more than `bits` bits in every slot: a larger error is beyond
    /// magnitude 1 when enlarged, and nobody sees it.
    ///
    /// # Level and scale
    /// One level below [`Self::refresh`].
    /// # Cost
    /// Two refreshes.
    /// # Errors
    /// As [`Self::refresh`]; [`Error::InvalidParameter`] for more than 40 bits.
    /// # Source
    /// Meta-BTS: Bae, Cheon, Cho, Kim, Kim, ePrint 2022/1167.
    pub fn refresh_twice(&self, a: &Ciphertext, bits: u32) -> Result<Ciphertext> {
        if bits > 40 {
            return Err(Error::InvalidParameter { what: "bits", reason: format!("{bits}; at most 40") });
        }
        let (eval, input) = (&self.application, self.circuit.input_level());
        let first = self.refresh(a)?;
        let error = eval.sub(&eval.drop_to(a, input)?, &eval.drop_to(&first, input)?)?;
        let enlarged = eval.mul_scalar(&error, f64::from(bits).exp2(), 1.0)?;
        let second = self.refresh(&enlarged)?;
        let correction = circuit::Evaluator::mul_scalar(eval, &second, (-f64::from(bits)).exp2())?;
        eval.add(&eval.drop_to(&first, correction.level())?, &correction)
    }

    /// The same values at [`Parameters::max_level`], for every vector of the batch.
    ///
    /// Real and imaginary parts must be of magnitude at most 1 each, and slots repeat with the period of the circuit. Neither can be seen without the secret: what does
    /// not keep to it comes back as something else.
    ///
    /// # Level and scale
    /// From [`Bootstrapper::input_level`] or above to the maximum, at its scale.
    /// # Errors
    /// [`Error::LevelExhausted`] below the input level; missing keys as [`Bootstrapper::keys`] lists them; others as
    /// [`Evaluator::transform`].
    pub fn refresh(&self, a: &Ciphertext) -> Result<Ciphertext> {
        let input = self.circuit.input_level();
        if a.level() < input {
            return Err(Error::LevelExhausted { op: "refresh", needed: input.0, left: a.level().0 });
        }
        let a = Ciphertext { parameters: self.circuit.lowered.clone(), ..self.application.drop_to(a, input)? };
        let message = apply(&self.low, &a, &self.slots_to_coefficients)?;
        let raised = self.high.raise(&message)?;
        let refreshed = self.circuit.reduce(&self.high, &raised, &self.coefficients_to_slots)?;
        let (parameters, level) = (self.circuit.parameters.clone(), refreshed.level);
        Ok(Ciphertext { scale: parameters.scale_at(level)?, parameters, ..refreshed })
    }
}

impl Evaluator {
    /// A ciphertext at level 0 as one at the top of the chain, whose coefficients have multiples of `q_0` added.
    fn raise(&self, a: &Ciphertext) -> Result<Ciphertext> {
        let level = self.parameters.top_level();
        let limbs = self.parameters.limbs_at(level)?;
        let poly = self.keys.raise_modulus(&a.poly, limbs, self.parameters.encapsulation())?;
        let scale = self.parameters.scale_at(level)?;
        Ok(Ciphertext { parameters: self.parameters.clone(), poly, components: 2, level, scale })
    }
}
