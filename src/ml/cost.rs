//! How long steps take.

use super::deploy::Deployment;
use super::lower::Operation;
use crate::circuit::{self, Evaluator as _, LinearTransform, Matrix, Plan, PlanReport};
use crate::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters};
use crate::device::Device;
use crate::error::Result;
use crate::math::Seed;
use crate::units::{Level, Shape};
use num_complex::Complex64;
use std::time::{Duration, Instant};

/// Seconds that operations on one vector take on a device, all at one level of one parameter set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitCosts {
    /// The level that they are for.
    pub level: Level,
    /// A rotation on its own; a conjugation is one too.
    pub rotation: f64,
    /// One of several rotations of one value, as linear maps have them.
    pub hoisted: f64,
    /// A product of two values, relinearized and rescaled.
    pub product: f64,
    /// A product with a known vector.
    pub plain: f64,
    /// A product with an entry of a matrix across a batch.
    pub weight: f64,
}

/// How long an operation is measured, about.
const MEASURED: Duration = Duration::from_millis(20);
/// Diagonals of the map that is measured.
const DIAGONALS: usize = 8;
/// Rows and columns of the matrix that is measured.
const WEIGHTS: [usize; 2] = [2, 16];

impl UnitCosts {
    /// Measures each operation a few times, with keys of its own: a second or two.
    ///
    /// # Errors
    /// Out of memory, and other failures of the device.
    pub fn measure(parameters: &Parameters, device: &Device) -> Result<Self> {
        let level = Level(parameters.max_level().0.div_ceil(2).max(1).min(parameters.max_level().0));
        let entries = |k: usize| (0..DIAGONALS).map(|i| Complex64::from(((i + k) as f64).sin())).collect::<Vec<_>>();
        let map = LinearTransform::new(DIAGONALS, (0..DIAGONALS).map(|k| (k, entries(k))))?;
        let plan = Plan::new(parameters.slots());
        let x = plan.input(1);
        plan.transform(&x, &plan.encode_transform(&map, plan.level(&x))?)?;
        let counts = plan.report();

        let mut generator = KeyGenerator::from_seed(parameters, &Seed::from_bytes([0; 32]));
        let request = KeyRequest::new().relinearization_at(level).rotations_at(level, [1]);
        let keys = request.rotations_at(level, counts.rotations.iter().copied());
        let eval = Evaluator::new(parameters, device, &generator.evaluation_keys(&keys)?)?;
        let encryptor = generator.encryptor();
        let encrypt = |vectors: usize| eval.load(&encryptor.encrypt_complex(&vec![entries(1); vectors], level)?);
        let (one, many) = (encrypt(1)?, encrypt(WEIGHTS[1])?);
        let plain = eval.encode(&[entries(2)], level)?;
        let transform = eval.encode_transform(&map, level)?;
        let [rows, columns] = WEIGHTS;
        let weights = Matrix::new(rows, columns, (0..rows * columns).map(|i| (i as f64 + 1.0).sin()).collect())?;
        let weights = eval.encode_weights(&weights, level)?;

        let probe = device.alloc(Shape { batch: 1, limbs: 1, log_n: parameters.log_n().get() })?;
        let wait = || device.download(&probe).map(|_| ());
        let rotation = seconds(&wait, || circuit::Evaluator::rotate(&eval, &one, 1).map(drop))?;
        let product = seconds(&wait, || circuit::Evaluator::mul(&eval, &one, &one).map(drop))?;
        let terms = [(&one, &plain); DIAGONALS];
        let plain = seconds(&wait, || circuit::Evaluator::dot_plain(&eval, &terms).map(drop))?;
        let plain = plain / DIAGONALS as f64;
        let all = seconds(&wait, || eval.transform(&one, &transform).map(drop))?;
        let others = rotation * counts.single_rotations as f64 + plain * DIAGONALS as f64;
        let hoisted = ((all - others) / counts.hoisted_rotations.max(1) as f64).max(0.0);
        let combine = seconds(&wait, || circuit::Evaluator::combine(&eval, &[(&many, &weights)]).map(drop))?;
        Ok(Self { level, rotation, hoisted, product, plain, weight: combine / (rows * columns) as f64 })
    }

    /// Seconds of a part of a run on so many vectors.
    pub(super) fn seconds(&self, parameters: &Parameters, part: &Part) -> Result<f64> {
        let report = &part.report;
        let rotations = (report.single_rotations + report.conjugations) as f64 * self.rotation;
        let keyed =
            rotations + report.hoisted_rotations as f64 * self.hoisted + report.relinearizations as f64 * self.product;
        let plain = report.plain_multiplications as f64 * self.plain;
        // Operations are spread evenly over the levels that they take.
        let levels: Vec<Level> = match part.to < part.from {
            true => (part.to.0 + 1..=part.from.0).map(Level).collect(),
            false => vec![part.from],
        };
        let (mut switch, mut limbs) = (0.0, 0.0);
        for &level in &levels {
            switch += switch_work(parameters, level)?;
            limbs += f64::from(parameters.limbs_at(level)?.0);
        }
        let count = levels.len() as f64;
        let switch = switch / count / switch_work(parameters, self.level)?;
        let limbs = limbs / count / f64::from(parameters.limbs_at(self.level)?.0);
        Ok(part.vectors * (keyed * switch + plain * limbs) + part.weights as f64 * self.weight * limbs)
    }
}

/// Transforms of limbs in a key switch: to coefficients, the digits to all limbs, back from the special ones.
fn switch_work(parameters: &Parameters, level: Level) -> Result<f64> {
    let (limbs, rlwe) = (parameters.limbs_at(level)?, parameters.rlwe());
    let all = limbs.0 + rlwe.special().0;
    Ok(f64::from(limbs.0) + rlwe.digits(limbs).len() as f64 * f64::from(all) + 2.0 * f64::from(all))
}

/// Seconds of an operation, waited for once in many: the least of three measurements, so that other work counts little.
fn seconds(wait: &dyn Fn() -> Result<()>, operation: impl Fn() -> Result<()>) -> Result<f64> {
    let measured = |count: u32| -> Result<Duration> {
        wait()?;
        let start = Instant::now();
        (0..count).try_for_each(|_| operation())?;
        wait()?;
        Ok(start.elapsed())
    };
    let (mut count, mut time) = (1, measured(1)?);
    while time < MEASURED && count < 1 << 12 {
        count *= 2;
        time = measured(count)?;
    }
    let least = time.min(measured(count)?).min(measured(count)?);
    Ok(least.as_secs_f64() / f64::from(count))
}

/// Work on vectors between two levels.
pub(super) struct Part {
    pub(super) report: PlanReport,
    from: Level,
    to: Level,
    /// For each time that the plan counted an operation: it does so for every part of a batch.
    vectors: f64,
    /// Entries of matrices across a batch.
    weights: usize,
}

/// What step `index` does: what the plan counted for it, or the two halves of a refresh.
pub(super) fn parts(deployment: &Deployment, index: usize, counted: &PlanReport) -> Result<Vec<Part>> {
    let (circuit, parameters) = (deployment.circuit(), deployment.parameters());
    let (step, depths, top) = (&circuit.list().steps[index], circuit.list().depths(), parameters.max_level());
    let operands = step.operation.operands();
    let widest =
        operands.iter().copied().max_by_key(|&value| circuit.vectors(circuit.list().shape(value))).unwrap_or(0);
    let vectors = circuit.vectors(circuit.list().shape(widest)) as f64;
    if let (Operation::Refresh(_), Some(bootstrapper)) = (&step.operation, deployment.bootstrapper()) {
        let (low, high) = bootstrapper.plan()?;
        let part = |report, from, to| Part { report, from, to, vectors, weights: 0 };
        let (input, raised) = (bootstrapper.input_level(), parameters.top_level());
        return Ok(vec![part(low, input, Level(0)), part(high, raised, top)]);
    }
    let deepest = operands.iter().map(|&value| depths[value]).max().unwrap_or(0);
    let weights = if counted.combines > 0 { step.operation.weights() } else { 0 };
    let (from, to) = (Level(top.0 - deepest), Level(top.0 - depths[index + 1]));
    let vectors = vectors / circuit.parts_of(widest) as f64;
    Ok(vec![Part { report: counted.clone(), from, to, vectors, weights }])
}

/// The work in `after` that is not in `before`.
pub(super) fn since(before: &PlanReport, after: &PlanReport) -> PlanReport {
    PlanReport {
        plain_multiplications: after.plain_multiplications - before.plain_multiplications,
        multiplications: after.multiplications - before.multiplications,
        relinearizations: after.relinearizations - before.relinearizations,
        single_rotations: after.single_rotations - before.single_rotations,
        hoisted_rotations: after.hoisted_rotations - before.hoisted_rotations,
        conjugations: after.conjugations - before.conjugations,
        combines: after.combines - before.combines,
        ..PlanReport::default()
    }
}
