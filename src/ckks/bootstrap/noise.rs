//! How far a refresh is off.

use super::refresh::{Bootstrapper, apply, encoded};
use crate::circuit::Evaluator as _;
use crate::ckks::{Magnitude, NoiseEstimator};
use crate::error::Result;
use crate::units::Level;
use std::f64::consts::PI;

impl Bootstrapper {
    /// The standard deviation to expect of the error that a refresh adds to the real part of a slot, and to the imaginary part, for slots of
    /// magnitude up to 1. An upper estimate: it is that of slots whose coefficient did not wrap, the noisiest ones, about a quarter of
    /// all; and the sine's error is taken at magnitude 1.
    ///
    /// # Noise
    /// With `d(s) = sqrt(N (1 + 2N/3) / 24) / s`, a rescaling's rounding as slots of scale `s` see it, the squares of these add up:
    /// - SlotToCoeff, as [`NoiseEstimator`] reads it;
    /// - EvalMod: `2 d(s)` in `T_2 = 2 w^2 - 1` at EvalMod's scale, `a^2 / 4` times as much in the cosine, with `a = 2 pi R / 2^r` the
    ///   radians that it runs over, `4 cos(pi / 2^(k + 1))` times in the `k`-th last of `r` doublings, which is `2^r / sin(pi / 2^(r + 1))`
    ///   in all, and `2^ratio / 2 pi` times in the message;
    /// - the last doubling of either part, at the application's scale: `sqrt(8) d(s)`;
    /// - the sine: `(2 pi / 2^ratio)^2 / 6`, unless an arcsine takes it away.
    ///
    /// # Errors
    /// As [`Bootstrapper::plan`].
    /// # Source
    /// Derived for this circuit; held against decryptions by `tests/bootstrap.rs`.
    pub fn slot_deviation(&self) -> Result<f64> {
        let (parameters, settings) = (self.parameters(), self.settings());
        let noise = NoiseEstimator::new(parameters);
        let rounding = |scale| noise.rounding_deviation(scale);
        let ratio = f64::from(settings.ratio_bits).exp2();
        let steps = f64::from(settings.doublings).exp2();
        let radians = 2.0 * PI * settings.half_width() / steps;
        let doublings = steps / (PI / (2.0 * steps)).sin();
        let eval_mod =
            2.0 * rounding(f64::from(settings.scale_bits).exp2()) * (radians * radians / 4.0) * doublings * ratio
                / (2.0 * PI);
        let end = 8f64.sqrt() * rounding(parameters.scale_at(parameters.max_level())?);
        let sine = if settings.arcsine > 1 { 0.0 } else { (2.0 * PI / ratio).powi(2) / 6.0 };

        let low = NoiseEstimator::new(&self.lowered);
        let message = Magnitude { rms: 0.5, bound: 1.0 };
        let x = low.with_noise(1, self.input_level(), message, 0.0)?;
        let y = apply(&low, &x, &encoded(&low, &self.slots_to_coefficients, low.level(&x))?)?;
        let coefficients = y.coefficient_deviation() / self.lowered.scale_at(Level(0))?;
        Ok([eval_mod, end, sine, coefficients].iter().map(|d| d * d).sum::<f64>().sqrt())
    }
}
