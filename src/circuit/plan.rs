//! The reading without values: levels, keys and cost of a circuit.

use super::transform::{Schedule, steps};
use super::{Evaluator, LinearTransform, SparseMatrix, check_slots};
use crate::error::{Error, Result};
use crate::units::Level;
use num_complex::Complex64;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

/// Where inputs of a plan stand: higher than any chain, so that no circuit runs out of levels.
const TOP: Level = Level(1 << 20);

/// Runs a circuit on levels and batch sizes alone and records what it needs.
///
/// This is where the rules of levels and batches are written down; [`super::Clear`] follows the same ones by holding
/// a `Plan`. The errors are those of the encrypted reading.
///
/// # Example
/// ```
/// use ringlight::circuit::{Evaluator, Plan};
///
/// let plan = Plan::new(1024);
/// let x = plan.input(1);
/// let squared = plan.square(&x)?;
/// plan.add(&squared, &plan.rotate(&squared, -1)?)?;
/// let report = plan.report();
/// assert_eq!((report.depth, report.rotations, report.relinearization), (1, vec![1023], true));
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    slots: usize,
    top: Level,
    record: RefCell<Record>,
}

/// Level and batch of a value, or of an encoded plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanValue {
    level: Level,
    batch: usize,
}

/// Shape and level of an encoded matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanWeights {
    rows: usize,
    columns: usize,
    level: Level,
}

/// Level and order of an encoded linear map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTransform {
    schedule: Schedule,
    level: Level,
}

#[derive(Debug)]
struct Record {
    lowest: Level,
    /// Highest level at which each rotation is used.
    steps: BTreeMap<i32, Level>,
    relinearization: Option<Level>,
    conjugation: Option<Level>,
    report: PlanReport,
}

/// What a circuit needs: levels, keys, work.
///
/// One call of an operation counts once whatever the batch, because it is one dispatch for the whole batch.
/// Negations, [`Evaluator::mul_i`] and [`Evaluator::drop_to`] are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanReport {
    /// Levels between the highest input and the deepest value.
    pub depth: u32,
    /// Rotation steps that need a key: sorted, each in `1..slots`.
    pub rotations: Vec<i32>,
    /// For each of them, levels between the highest input and its highest use: a key made for that level serves every use.
    pub rotation_depths: Vec<u32>,
    /// Whether a relinearization key is needed.
    pub relinearization: bool,
    /// Levels between the highest input and its highest use; 0 without one.
    pub relinearization_depth: u32,
    /// Whether a conjugation key is needed.
    pub conjugation: bool,
    /// Levels between the highest input and its highest use; 0 without one.
    pub conjugation_depth: u32,
    /// Additions and subtractions of values, plaintexts and scalars.
    pub additions: usize,
    /// Products with a plaintext or a scalar; every term of a [`Evaluator::dot_plain`] or [`Evaluator::dot`] is one.
    pub plain_multiplications: usize,
    /// Products of two values, squares among them.
    pub multiplications: usize,
    /// Relinearizations: one for every [`Evaluator::mul`], one for all the products of an [`Evaluator::dot`].
    pub relinearizations: usize,
    /// Rotations that decompose their operand.
    pub single_rotations: usize,
    /// Rotations that share a decomposition.
    pub hoisted_rotations: usize,
    /// Conjugations.
    pub conjugations: usize,
    /// Matrices applied across a batch.
    pub combines: usize,
    /// Rescalings.
    pub rescales: usize,
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed =
            |key, depth| if key { format!("needed, first at depth {depth}") } else { String::from("not needed") };
        writeln!(f, "depth                  {} level(s)", self.depth)?;
        writeln!(f, "rotation keys          {} {:?}", self.rotations.len(), self.rotations)?;
        writeln!(f, "  first at depth       {:?}", self.rotation_depths)?;
        writeln!(f, "relinearization key    {}", needed(self.relinearization, self.relinearization_depth))?;
        writeln!(f, "conjugation key        {}", needed(self.conjugation, self.conjugation_depth))?;
        writeln!(f, "rotations              {} single, {} hoisted", self.single_rotations, self.hoisted_rotations)?;
        writeln!(
            f,
            "multiplications        {} ciphertext, {} plain",
            self.multiplications, self.plain_multiplications
        )?;
        writeln!(f, "relinearizations       {}", self.relinearizations)?;
        writeln!(f, "combines               {}", self.combines)?;
        writeln!(f, "additions              {}", self.additions)?;
        writeln!(f, "conjugations           {}", self.conjugations)?;
        write!(f, "rescales               {}", self.rescales)
    }
}

impl Plan {
    /// A plan for vectors of `slots` entries (at least one).
    pub fn new(slots: usize) -> Self {
        Self::with_top(slots, TOP)
    }

    /// A plan whose chain has only `top` levels.
    pub(super) fn with_top(slots: usize, top: Level) -> Self {
        let record = Record {
            lowest: top,
            steps: BTreeMap::new(),
            relinearization: None,
            conjugation: None,
            report: PlanReport::default(),
        };
        Self { slots: slots.max(1), top, record: RefCell::new(record) }
    }

    /// Where inputs stand.
    pub(super) fn top(&self) -> Level {
        self.top
    }

    /// An input of `batch` vectors, at a level that no circuit exhausts.
    pub fn input(&self, batch: usize) -> PlanValue {
        PlanValue { level: self.top, batch }
    }

    /// What the circuits run so far need.
    pub fn report(&self) -> PlanReport {
        let record = self.record.borrow();
        // A value of another evaluator may stand above this one's top.
        let depth = |level: Level| self.top.0.saturating_sub(level.0);
        PlanReport {
            depth: depth(record.lowest),
            rotations: record.steps.keys().copied().collect(),
            rotation_depths: record.steps.values().map(|&level| depth(level)).collect(),
            relinearization: record.relinearization.is_some(),
            relinearization_depth: record.relinearization.map_or(0, depth),
            conjugation: record.conjugation.is_some(),
            conjugation_depth: record.conjugation.map_or(0, depth),
            ..record.report.clone()
        }
    }

    /// The rotation `steps` modulo the slots: in `0..slots`.
    pub(super) fn normalise(&self, steps: i32) -> i32 {
        // Slots beyond i32 leave a negative rotation as it is: a key store normalises it again.
        i64::try_from(self.slots)
            .ok()
            .and_then(|n| i32::try_from(i64::from(steps).checked_rem_euclid(n)?).ok())
            .unwrap_or(steps)
    }

    fn count(&self, note: impl FnOnce(&mut PlanReport)) {
        note(&mut self.record.borrow_mut().report);
    }

    fn reach(&self, level: Level, batch: usize) -> PlanValue {
        let mut record = self.record.borrow_mut();
        record.lowest = record.lowest.min(level);
        PlanValue { level, batch }
    }

    /// The value after a multiplication: one level lower, one rescaling more.
    fn rescale(&self, op: &'static str, level: Level, batch: usize) -> Result<PlanValue> {
        let below = level.0.checked_sub(1).ok_or(Error::LevelExhausted { op, needed: 1, left: 0 })?;
        self.count(|report| report.rescales += 1);
        Ok(self.reach(Level(below), batch))
    }

    /// Products of values at `level` that relinearize together.
    fn note_products(&self, level: Level, count: usize) {
        if count > 0 {
            let record = &mut *self.record.borrow_mut();
            record.report.multiplications += count;
            record.report.relinearizations += 1;
            record.relinearization = record.relinearization.max(Some(level));
        }
    }

    fn note_rotation(&self, level: Level, steps: i32, hoisted: bool) {
        let steps = self.normalise(steps);
        if steps != 0 {
            let record = &mut *self.record.borrow_mut();
            let highest = record.steps.entry(steps).or_insert(level);
            *highest = level.max(*highest);
            let count =
                if hoisted { &mut record.report.hoisted_rotations } else { &mut record.report.single_rotations };
            *count += 1;
        }
    }
}

/// Levels must be equal.
fn check_levels(op: &'static str, a: Level, b: Level) -> Result<()> {
    if a == b { Ok(()) } else { Err(Error::LevelMismatch { op, left: a.0, right: b.0 }) }
}

fn check_batch(op: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        Ok(())
    } else {
        Err(Error::ShapeMismatch { op, expected: format!("a batch of {expected}"), got: format!("a batch of {got}") })
    }
}

fn check_pair(op: &'static str, a: &PlanValue, b: &PlanValue) -> Result<()> {
    check_levels(op, a.level, b.level)?;
    check_batch(op, a.batch, b.batch)
}

/// A plaintext must stand at the value's level; a batch of one serves every vector.
fn check_plain(op: &'static str, a: &PlanValue, plain: &PlanValue) -> Result<()> {
    check_levels(op, a.level, plain.level)?;
    if plain.batch == 1 { Ok(()) } else { check_batch(op, a.batch, plain.batch) }
}

fn check_scalar(x: f64) -> Result<()> {
    if x.is_finite() { Ok(()) } else { Err(Error::BadValue { index: 0, reason: "not a finite number" }) }
}

impl Evaluator for Plan {
    type Value = PlanValue;
    type Plain = PlanValue;
    type Weights = PlanWeights;
    type Transform = PlanTransform;

    fn slots(&self) -> usize {
        self.slots
    }

    fn level(&self, value: &PlanValue) -> Level {
        value.level
    }

    fn batch(&self, value: &PlanValue) -> usize {
        value.batch
    }

    /// Checks the vectors and keeps their number.
    fn encode(&self, vectors: &[Vec<Complex64>], level: Level) -> Result<PlanValue> {
        check_slots(self.slots)?;
        if vectors.is_empty() {
            let (expected, got) = ("at least one vector".into(), "none".into());
            return Err(Error::ShapeMismatch { op: "encode", expected, got });
        }
        for vector in vectors {
            if vector.len() > self.slots {
                return Err(Error::TooManyValues { slots: self.slots, got: vector.len() });
            }
            if let Some(index) = vector.iter().position(|z| !z.is_finite()) {
                return Err(Error::BadValue { index, reason: "not a finite number" });
            }
        }
        if level > self.top {
            return Err(Error::LevelTooHigh { op: "encode", wanted: level.0, available: self.top.0 });
        }
        Ok(PlanValue { level, batch: vectors.len() })
    }

    fn encode_sparse(&self, matrix: &SparseMatrix, level: Level) -> Result<PlanWeights> {
        if level > self.top {
            return Err(Error::LevelTooHigh { op: "encode_weights", wanted: level.0, available: self.top.0 });
        }
        if level.0 == 0 {
            return Err(Error::LevelExhausted { op: "encode_weights", needed: 1, left: 0 });
        }
        Ok(PlanWeights { rows: matrix.rows(), columns: matrix.columns(), level })
    }

    fn add(&self, a: &PlanValue, b: &PlanValue) -> Result<PlanValue> {
        check_pair("add", a, b)?;
        self.count(|report| report.additions += 1);
        Ok(*a)
    }

    fn sub(&self, a: &PlanValue, b: &PlanValue) -> Result<PlanValue> {
        check_pair("sub", a, b)?;
        self.count(|report| report.additions += 1);
        Ok(*a)
    }

    fn neg(&self, a: &PlanValue) -> Result<PlanValue> {
        Ok(*a)
    }

    fn add_plain(&self, a: &PlanValue, plain: &PlanValue) -> Result<PlanValue> {
        check_plain("add_plain", a, plain)?;
        self.count(|report| report.additions += 1);
        Ok(*a)
    }

    fn add_scalar(&self, a: &PlanValue, x: f64) -> Result<PlanValue> {
        check_scalar(x)?;
        self.count(|report| report.additions += 1);
        Ok(*a)
    }

    fn add_scalars(&self, a: &PlanValue, scalars: &[f64]) -> Result<PlanValue> {
        if scalars.len() != a.batch {
            let (expected, got) = (format!("one scalar for each of {} vectors", a.batch), format!("{}", scalars.len()));
            return Err(Error::ShapeMismatch { op: "add_scalars", expected, got });
        }
        if let Some(index) = scalars.iter().position(|x| !x.is_finite()) {
            return Err(Error::BadValue { index, reason: "not a finite number" });
        }
        self.count(|report| report.additions += 1);
        Ok(*a)
    }

    fn mul_scalar(&self, a: &PlanValue, x: f64) -> Result<PlanValue> {
        check_scalar(x)?;
        let out = self.rescale("mul_scalar", a.level, a.batch)?;
        self.count(|report| report.plain_multiplications += 1);
        Ok(out)
    }

    fn mul(&self, a: &PlanValue, b: &PlanValue) -> Result<PlanValue> {
        check_pair("mul", a, b)?;
        let out = self.rescale("mul", a.level, a.batch)?;
        self.note_products(a.level, 1);
        Ok(out)
    }

    fn square(&self, a: &PlanValue) -> Result<PlanValue> {
        let out = self.rescale("square", a.level, a.batch)?;
        self.note_products(a.level, 1);
        Ok(out)
    }

    fn dot_plain(&self, terms: &[(&PlanValue, &PlanValue)]) -> Result<PlanValue> {
        let Some((first, _)) = terms.first() else {
            let (expected, got) = ("at least one term".into(), "none".into());
            return Err(Error::ShapeMismatch { op: "dot_plain", expected, got });
        };
        for (value, plain) in terms {
            check_pair("dot_plain", first, value)?;
            check_plain("dot_plain", value, plain)?;
        }
        let out = self.rescale("dot_plain", first.level, first.batch)?;
        self.count(|report| {
            report.plain_multiplications += terms.len();
            report.additions += terms.len() - 1;
        });
        Ok(out)
    }

    fn dot(
        &self,
        products: &[(&PlanValue, &PlanValue)],
        terms: &[(&PlanValue, f64)],
        level: Level,
    ) -> Result<PlanValue> {
        if let Some(index) = terms.iter().position(|(_, c)| !c.is_finite()) {
            return Err(Error::BadValue { index, reason: "not a finite number" });
        }
        let scaled: Vec<_> = terms.iter().filter(|(_, c)| *c != 0.0).map(|(x, _)| *x).collect();
        let Some(first) = products.first().map(|(a, _)| *a).or(scaled.first().copied()) else {
            let (expected, got) = ("a product, or a scalar that is not zero".into(), "none".into());
            return Err(Error::ShapeMismatch { op: "dot", expected, got });
        };
        let above = Level(level.0.saturating_add(1));
        for (a, b) in products {
            check_pair("dot", a, b)?;
            check_levels("dot", above, a.level)?;
            check_batch("dot", first.batch, a.batch)?;
        }
        for x in &scaled {
            if above > x.level {
                return Err(Error::LevelTooHigh { op: "dot", wanted: above.0, available: x.level.0 });
            }
            check_batch("dot", first.batch, x.batch)?;
        }
        let out = self.rescale("dot", above, first.batch)?;
        self.note_products(above, products.len());
        self.count(|report| {
            report.plain_multiplications += scaled.len();
            report.additions += products.len() + scaled.len() - 1;
        });
        Ok(out)
    }

    fn rotate(&self, a: &PlanValue, steps: i32) -> Result<PlanValue> {
        self.note_rotation(a.level, steps, false);
        Ok(*a)
    }

    fn rotate_hoisted(&self, a: &PlanValue, steps: &[i32]) -> Result<Vec<PlanValue>> {
        for &step in steps {
            self.note_rotation(a.level, step, true);
        }
        Ok(vec![*a; steps.len()])
    }

    fn conjugate(&self, a: &PlanValue) -> Result<PlanValue> {
        let record = &mut *self.record.borrow_mut();
        record.report.conjugations += 1;
        record.conjugation = record.conjugation.max(Some(a.level));
        Ok(*a)
    }

    fn mul_i(&self, a: &PlanValue) -> Result<PlanValue> {
        Ok(*a)
    }

    fn encode_transform(&self, transform: &LinearTransform, level: Level) -> Result<PlanTransform> {
        transform.check("encode_transform", self.slots, level)?;
        if level > self.top {
            return Err(Error::LevelTooHigh { op: "encode_transform", wanted: level.0, available: self.top.0 });
        }
        Ok(PlanTransform { schedule: transform.schedule().clone(), level })
    }

    fn transform(&self, a: &PlanValue, transform: &PlanTransform) -> Result<PlanValue> {
        check_levels("transform", a.level, transform.level)?;
        let out = self.rescale("transform", a.level, a.batch)?;
        transform.schedule.babies.iter().for_each(|&j| self.note_rotation(a.level, steps(j), true));
        transform.schedule.gaps().for_each(|gap| self.note_rotation(a.level, steps(gap), false));
        let diagonals: usize = transform.schedule.groups.iter().map(|group| group.babies.len()).sum();
        self.count(|report| {
            report.plain_multiplications += diagonals;
            report.additions += diagonals - 1;
        });
        Ok(out)
    }

    fn combine(&self, terms: &[(&PlanValue, &PlanWeights)]) -> Result<PlanValue> {
        let Some((first, weights)) = terms.first() else {
            let (expected, got) = ("at least one term".into(), "none".into());
            return Err(Error::ShapeMismatch { op: "combine", expected, got });
        };
        for (a, other) in terms {
            check_levels("combine", a.level, other.level)?;
            check_levels("combine", first.level, a.level)?;
            check_batch("combine", other.columns, a.batch)?;
            check_batch("combine", weights.rows, other.rows)?;
        }
        let out = self.rescale("combine", first.level, weights.rows)?;
        self.count(|report| {
            report.combines += terms.len();
            report.additions += terms.len() - 1;
        });
        Ok(out)
    }

    fn drop_to(&self, a: &PlanValue, level: Level) -> Result<PlanValue> {
        if level > a.level {
            return Err(Error::LevelTooHigh { op: "drop_to", wanted: level.0, available: a.level.0 });
        }
        Ok(self.reach(level, a.batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Matrix;

    #[test]
    fn a_small_circuit_counted_by_hand() -> Result<()> {
        let plan = Plan::new(16);
        let x = plan.input(3);
        let p = plan.encode(&[vec![]], plan.level(&x))?;
        let y = plan.dot_plain(&[(&x, &p), (&x, &p)])?; // level -1
        let turned = plan.rotate_hoisted(&y, &[0, 3, -1, 16, 19])?;
        let z = plan.mul(&turned[1], &plan.rotate(&y, 5)?)?; // level -2
        let matrix = Matrix::new(2, 3, vec![1.0; 6])?;
        let z = plan.combine(&[(&z, &plan.encode_weights(&matrix, plan.level(&z))?)])?; // level -3
        assert_eq!(plan.batch(&z), 2);
        let z = plan.conjugate(&plan.add_scalar(&plan.neg(&z)?, 1.0)?)?;
        let z = plan.add_scalars(&z, &[1.0, 2.0])?;
        plan.mul_scalar(&plan.sub(&z, &z)?, 0.5)?; // level -4
        plan.rotate(&x, 32)?;
        plan.rotate(&x, 5)?; // a key already needed, higher up
        assert_eq!(
            plan.report(),
            PlanReport {
                depth: 4,
                rotations: vec![3, 5, 15],
                rotation_depths: vec![1, 0, 1],
                relinearization: true,
                relinearization_depth: 1,
                conjugation: true,
                conjugation_depth: 3,
                additions: 4,
                plain_multiplications: 3,
                multiplications: 1,
                relinearizations: 1,
                single_rotations: 2,
                hoisted_rotations: 3,
                conjugations: 1,
                combines: 1,
                rescales: 4,
            }
        );
        assert!(plan.report().to_string().contains("rotation keys          3 [3, 5, 15]"));
        Ok(())
    }
}
