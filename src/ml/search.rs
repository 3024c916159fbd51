//! Parameters for a model, and refreshes where they ask for some.

use super::compile::ModelCircuit;
use super::deploy::{Bootstraps, Settings};
use super::lower::{Approximate, Operation, Steps, Style, lower, plain_sign};
use super::place::Placement;
use super::refresh::PlannedRefresh;
use super::{Model, Packing};
use crate::circuit::{Clear, ClearValue, MAX_SLOTS};
use crate::ckks::{BootstrapSecret, Bootstrapping, Parameters, TOO_LONG};
use crate::error::{Error, Result};
use crate::units::{Level, LogN};
use num_complex::Complex64;
use std::sync::Arc;

/// The smallest ring that can refresh.
const SMALLEST_REFRESH: u32 = 15;
/// Most application levels tried beside those of a refresh: more are secure in no ring.
const MAX_LEVELS: u32 = 64;

/// Parameters as wanted, and the model as steps for them.
pub(super) fn search(model: &Model, settings: &Settings) -> Result<(Parameters, ModelCircuit)> {
    match settings.bootstraps {
        Bootstraps::Never => without(model, settings),
        Bootstraps::Always => with(model, settings, LogN::MAX),
        Bootstraps::Automatic => match without(model, settings) {
            Err(Error::Insecure { .. } | Error::NoPrimes { .. } | Error::InvalidParameter { what: TOO_LONG, .. }) => {
                with(model, settings, LogN::MAX)
            }
            Ok(plain) if settings.packing == Packing::Latency && plain.0.log_n().get() > SMALLEST_REFRESH => {
                Ok(with(model, settings, plain.0.log_n().get() - 1).unwrap_or(plain))
            }
            done => done,
        },
    }
}

/// Without refreshes: levels for the whole depth.
fn without(model: &Model, settings: &Settings) -> Result<(Parameters, ModelCircuit)> {
    let steps = Arc::new(lower(model, &settings.approximate, Style::default())?);
    let builder = Parameters::builder().levels(steps.depth()).scale_bits(settings.scale_bits);
    let parameters = builder.security(settings.security).slots(slots(&steps, settings.packing)).build()?;
    let circuit = ModelCircuit::of_steps(steps, None, settings.packing, parameters.slots())?;
    Ok((parameters, circuit))
}

/// Slots that the largest value takes.
fn slots(steps: &Steps, packing: Packing) -> usize {
    let sizes = (0..=steps.steps.len()).map(|value| steps.shape(value).iter().product());
    if packing == Packing::Latency { sizes.max().unwrap_or(1) } else { 1 }
}

/// With refreshes, on the smallest ring up to `2^largest` that they fit: as few refreshed vectors as its longest chain leaves, on the shortest
/// chain that has no more.
fn with(model: &Model, settings: &Settings, largest: u32) -> Result<(Parameters, ModelCircuit)> {
    let candidates = candidates(model, &settings.approximate)?;
    let slots = candidates.iter().map(|(steps, _)| slots(steps, settings.packing)).max().unwrap_or(1);
    let mut refused = None;
    for log_n in SMALLEST_REFRESH..=largest {
        let bootstrapping = bootstrapping(log_n, settings.scale_bits);
        let build = |levels: u32| {
            let builder = Parameters::builder().log_n(log_n).slots(slots).levels(levels);
            builder.scale_bits(settings.scale_bits).security(settings.security).bootstrapping(bootstrapping).build()
        };
        let input = bootstrapping.slots_to_coefficients;
        let longest =
            (input + 1..=MAX_LEVELS).rev().map(|levels| (levels, build(levels))).find(|(_, built)| built.is_ok());
        let Some((longest, _)) = longest else {
            refused = refused.or(build(input + 1).err());
            continue;
        };
        let refresh = |levels| PlannedRefresh { input: Level(input), output: Level(levels) };
        let fewest = |levels| cheapest(&candidates, settings.packing, refresh(levels));
        let mut best = match fewest(longest) {
            Ok((vectors, steps)) => (longest, vectors, steps),
            Err(error) => {
                refused = Some(error);
                continue;
            }
        };
        for levels in (input + 1..longest).rev() {
            match fewest(levels) {
                Ok((vectors, steps)) if vectors <= best.1 => best = (levels, vectors, steps),
                _ => break,
            }
        }
        let (levels, _, steps) = best;
        let parameters = build(levels)?;
        let circuit =
            ModelCircuit::of_steps(Arc::new(steps), Some(refresh(levels)), settings.packing, parameters.slots())?;
        return Ok((parameters, circuit));
    }
    let reason = format!("no ring up to 2^{largest} can refresh {slots} slots");
    Err(refused.unwrap_or(Error::InvalidParameter { what: "slots", reason }))
}

/// The model for parameters that are given: with refreshes if they have too few levels for it, but can refresh.
pub(super) fn fit(model: &Model, settings: &Settings, parameters: &Parameters) -> Result<ModelCircuit> {
    let circuit =
        |steps, refresh| ModelCircuit::of_steps(Arc::new(steps), refresh, settings.packing, parameters.slots());
    let steps = lower(model, &settings.approximate, Style::default())?;
    let (needed, left) = (steps.depth(), parameters.max_level().0);
    match PlannedRefresh::of_parameters(parameters) {
        Some(refresh) if needed > left => {
            let candidates = candidates(model, &settings.approximate)?;
            circuit(cheapest(&candidates, settings.packing, refresh)?.1, Some(refresh))
        }
        _ if needed > left => Err(Error::LevelExhausted { op: "Deployment", needed, left }),
        _ => circuit(steps, None),
    }
}

/// The ways in which a model can be lowered for refreshes, with the magnitude of every value.
fn candidates(model: &Model, approximate: &Approximate) -> Result<Vec<(Steps, Vec<f64>)>> {
    let steps = |joins| lower(model, approximate, Style { within_one: true, joins });
    let (plain, joined) = (steps(false)?, steps(true)?);
    let different = joined.steps.len() != plain.steps.len();
    let all = std::iter::once(plain).chain(different.then_some(joined));
    all.map(|steps| magnitudes(&steps, approximate).map(|magnitudes| (steps, magnitudes))).collect()
}

/// The placement with the fewest refreshed vectors, of these the one with the fewest weights; and these vectors.
fn cheapest(candidates: &[(Steps, Vec<f64>)], packing: Packing, refresh: PlannedRefresh) -> Result<(usize, Steps)> {
    let mut best: Result<(usize, Steps)> = Err(Error::InvalidParameter { what: "model", reason: "no steps".into() });
    for (steps, magnitudes) in candidates {
        let vectors: Vec<usize> = (0..magnitudes.len()).map(|value| vectors_of(steps.shape(value), packing)).collect();
        let placed = Placement { steps, refresh, magnitudes, vectors: &vectors }.place().map(|placed| {
            let refreshed = placed.steps.iter().filter(|step| matches!(step.operation, Operation::Refresh(_)));
            (refreshed.map(|step| vectors_of(&step.shape, packing)).sum(), placed)
        });
        best = match (best, placed) {
            (Ok(best), Ok(placed)) if (placed.0, placed.1.weights()) < (best.0, best.1.weights()) => Ok(placed),
            (Ok(best), _) => Ok(best),
            (Err(_), placed) => placed,
        };
    }
    best
}

/// Vectors of a value of a shape.
fn vectors_of(shape: &[usize], packing: Packing) -> usize {
    if packing == Packing::Latency { 1 } else { shape.iter().product() }
}

/// The largest entry of every value: what the calibration samples say, with their margin, or what lowering knows if that is less; and what is
/// in slots where no entry lies.
fn magnitudes(steps: &Steps, approximate: &Approximate) -> Result<Vec<f64>> {
    let bounds = std::iter::once(f64::INFINITY).chain(steps.steps.iter().map(|step| step.bound));
    let samples = &approximate.calibration;
    if samples.is_empty() {
        return Ok(bounds.collect());
    }
    let slots = samples.len().next_power_of_two().min(MAX_SLOTS);
    let circuit = ModelCircuit::of_steps(Arc::new(steps.clone()), None, Packing::Batch, slots)?;
    let seen = circuit.magnitudes(samples)?.into_iter().map(|seen| seen * approximate.margin);
    let idle = idle(steps)?;
    Ok(seen.zip(bounds).zip(idle).map(|((seen, bound), idle)| seen.min(bound).max(idle)).collect())
}

/// The magnitude of every value in slots where no entry lies: the input is zero there, maps leave zeros, and functions work on every slot.
fn idle(steps: &Steps) -> Result<Vec<f64>> {
    let top = Level(MAX_LEVELS);
    let mut idle: Vec<f64> = vec![0.0];
    for step in &steps.steps {
        let clear = Clear::new(1, top);
        let value = |x: usize| clear.value(&[vec![Complex64::from(idle[x])]], top);
        let first = |y: ClearValue| y.vectors()[0][0].re;
        idle.push(match &step.operation {
            operation @ Operation::Affine { .. } if operation.depth() > 0 => 0.0,
            Operation::Affine { terms, .. } => terms.iter().map(|(x, m)| plain_sign(m).unwrap_or(1.0) * idle[*x]).sum(),
            Operation::Square(x) => idle[*x] * idle[*x],
            Operation::Polynomial(x, p) => p.at(idle[*x]),
            Operation::Function(x, function) => first(function.evaluate(&clear, &value(*x)?)?),
            Operation::Product(x, y) => idle[*x] * idle[*y],
            Operation::Refresh(x) => idle[*x],
        });
    }
    Ok(idle.into_iter().map(f64::abs).collect())
}

/// What refreshes on a ring, for an application at this scale: EvalMod is as precise as that asks, two levels a transform on the smallest
/// ring, three on others; an ephemeral sparse secret.
fn bootstrapping(log_n: u32, scale_bits: u32) -> Bootstrapping {
    let bits = (scale_bits + 9).clamp(48, 59);
    let stages = if log_n == SMALLEST_REFRESH { 2 } else { 3 };
    Bootstrapping {
        slots_to_coefficients: stages,
        coefficients_to_slots: stages,
        transform_bits: bits.min(58),
        scale_bits: bits,
        ratio_bits: if bits > 54 { 14 } else { 12 },
        range: 16,
        degree: 56,
        doublings: 2,
        arcsine: 1,
        secret: BootstrapSecret::Encapsulated { weight: 32, special: 2 },
    }
}
