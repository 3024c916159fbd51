//! The noise to expect of a run.

use super::PredictedRefresh;
use super::deploy::Deployment;
use super::lower::Operation;
use crate::circuit::{Approximation, Clear, Evaluator as _};
use crate::ckks::{Encryption, Magnitude, NoiseEstimator, NoiseValue};
use crate::error::Result;
use crate::units::Level;
use num_complex::Complex64;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The predicted standard deviation of an entry's error after every step: what [`NoiseEstimator`] reads, with what it cannot know. Values
/// are no larger than calibration found them, and a function is taken as a whole, see [`after_function`].
pub(super) fn predicted(deployment: &Deployment, samples: Magnitude) -> Result<Vec<f64>> {
    let (circuit, parameters) = (deployment.circuit(), deployment.parameters());
    let noise = NoiseEstimator::new(parameters);
    let top = parameters.max_level();
    let fresh = |vectors| noise.fresh(Encryption::SecretKey, vectors, top, samples);
    let x = circuit.input_batches().into_iter().map(fresh).collect::<Result<Vec<_>>>()?;
    let mut prepared = circuit.prepare(&noise, top)?;
    if let Some(bootstrapper) = deployment.bootstrapper() {
        prepared = prepared.with_refresh(Arc::new(PredictedRefresh::new(bootstrapper)?));
    }
    let largest = |parts: &[NoiseValue]| parts.iter().map(NoiseValue::slot_deviation).fold(0.0, f64::max);
    let mut deviations = vec![largest(&x)];
    prepared.run_observed(&noise, &x, &mut |_| ControlFlow::Continue(()), &mut |index, parts| {
        let step = &circuit.list().steps[index];
        for value in parts.iter_mut() {
            let message = value.message();
            let known = Magnitude { rms: message.rms.min(step.bound), bound: message.bound.min(step.bound) };
            if let Operation::Function(x, function) = &step.operation {
                let deviation = after_function(&noise, function, deviations[*x], value)?;
                *value = with_deviation(&noise, value, known, deviation)?;
            } else if known != message {
                *value = with_deviation(&noise, value, known, value.slot_deviation())?;
            }
        }
        deviations.push(largest(parts));
        Ok(())
    })?;
    deviations.remove(0);
    Ok(deviations)
}

/// A value of another message and deviation where `like` is.
fn with_deviation(noise: &NoiseEstimator, like: &NoiseValue, message: Magnitude, deviation: f64) -> Result<NoiseValue> {
    let unit = noise.with_noise(noise.batch(like), like.level(), message, 1.0)?.slot_deviation();
    // Hopeless is hopeless: no error of the prediction's own.
    noise.with_noise(noise.batch(like), like.level(), message, (deviation / unit).min(f64::MAX))
}

/// The deviation after a polynomial in Chebyshev's basis or an iteration, of which [`NoiseEstimator`] does not know that its parts stay
/// small.
///
/// The error before it is enlarged by the steepest slope. Every `T_2k = 2 T_k^2 - 1` enlarges errors up to fourfold and rounds, which makes
/// `k^2` roundings of the `k`-th; the whole weighs them by coefficients that add up to about its largest value. An iteration rounds that
/// value in every step.
fn after_function(noise: &NoiseEstimator, function: &Approximation, before: f64, value: &NoiseValue) -> Result<f64> {
    let roundings = match (&function.degrees()[..], function.steps()) {
        ([degree], _) => degree * degree,
        (_, Some(steps)) => steps as usize,
        _ => return Ok(value.slot_deviation()),
    };
    let (low, high) = function.interval();
    let step = (high - low) / f64::from(POINTS);
    let points = (0..=POINTS).map(|k| Complex64::from(low + step * f64::from(k))).collect();
    let top = Level(function.depth());
    let clear = Clear::new(POINTS as usize + 1, top);
    let values = function.evaluate(&clear, &clear.value(&[points], top)?)?;
    let values: Vec<f64> = values.vectors()[0].iter().map(|z| z.re).collect();
    let slope = values.windows(2).map(|pair| (pair[1] - pair[0]).abs() / step).fold(0.0, f64::max);
    let largest = values.iter().fold(0.0, |most: f64, y| most.max(y.abs()));
    let rounding = roundings.max(1) as f64 * largest * noise.rounding_deviation(value.scale());
    Ok((slope * before).hypot(rounding))
}

/// Points at which the slope is measured.
const POINTS: u32 = 1 << 10;
