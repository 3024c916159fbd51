//! The reading in the clear: the values a circuit should have.

use super::{Evaluator, LinearTransform, Plan, PlanReport, PlanTransform, PlanValue, PlanWeights, SparseMatrix};
use crate::error::{Error, Result};
use crate::units::Level;
use num_complex::Complex64;

/// Computes a circuit on known vectors, and fails wherever the encrypted reading would, except that no value is too large
/// for the modulus: there is none.
///
/// Levels, batches and keys follow the encrypted reading: operands must stand at equal levels, and multiplying at level
/// 0 is [`Error::LevelExhausted`]. There are no scales here.
///
/// # Example
/// ```
/// use num_complex::Complex64;
/// use ringlight::{circuit::{Clear, Evaluator}, units::Level};
///
/// let clear = Clear::new(4, Level(1));
/// let x = clear.value(&[[1.0, 2.0, 3.0, 4.0].map(Complex64::from).to_vec()], Level(1))?;
/// let y = clear.square(&clear.rotate(&x, 1)?)?;
/// assert_eq!(y.vectors()[0], [4.0, 9.0, 16.0, 1.0].map(Complex64::from));
/// assert!(clear.square(&y).is_err()); // level 0
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Debug)]
pub struct Clear {
    plan: Plan,
    keys: Option<PlanReport>,
}

/// A batch of known vectors at a level.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearValue {
    vectors: Vec<Vec<Complex64>>,
    at: PlanValue,
}

impl ClearValue {
    /// The vectors of the batch, `slots` entries each.
    pub fn vectors(&self) -> &[Vec<Complex64>] {
        &self.vectors
    }
}

/// A known matrix at a level.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearWeights {
    matrix: SparseMatrix,
    at: PlanWeights,
}

/// A linear map at a level.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearTransform {
    transform: LinearTransform,
    at: PlanTransform,
}

impl Clear {
    /// Vectors of `slots` entries (at least one) on a chain of `max_level` levels, with every key.
    pub fn new(slots: usize, max_level: Level) -> Self {
        Self { plan: Plan::with_top(slots, max_level), keys: None }
    }

    /// Keeps only the keys that `report` names, each for the level of its first use below the chain's top: another rotation is
    /// [`Error::MissingRotationKey`], one higher up [`Error::KeyLevelTooLow`], and so on.
    pub fn with_keys_of(self, report: PlanReport) -> Self {
        Self { keys: Some(report), ..self }
    }

    /// A batch of vectors at `level`; short vectors are filled with zeros.
    ///
    /// # Errors
    /// As [`Evaluator::encode`].
    pub fn value(&self, vectors: &[Vec<Complex64>], level: Level) -> Result<ClearValue> {
        self.encode(vectors, level)
    }

    /// What the circuits run so far used; `depth` counts from the top of the chain.
    pub fn report(&self) -> PlanReport {
        self.plan.report()
    }

    fn has_rotation(&self, op: impl FnOnce(i32) -> String, level: Level, steps: i32) -> Result<()> {
        let normal = self.plan.normalise(steps);
        if normal == 0 {
            return Ok(());
        }
        let depth = |keys: &PlanReport| {
            let mut depths = keys.rotations.iter().zip(&keys.rotation_depths);
            depths.find(|(known, _)| **known == normal).map(|(_, &depth)| depth)
        };
        self.has_key(|| op(steps), level, depth, Error::MissingRotationKey { steps: normal })
    }

    fn has_relinearization(&self, level: Level) -> Result<()> {
        let depth = |keys: &PlanReport| keys.relinearization.then_some(keys.relinearization_depth);
        self.has_key(|| "relinearize".into(), level, depth, Error::MissingRelinearizationKey)
    }

    /// The key must be planned, and reach up to `level`: those of a plan are made for the level of their first use.
    fn has_key(
        &self,
        op: impl FnOnce() -> String,
        level: Level,
        depth: impl FnOnce(&PlanReport) -> Option<u32>,
        missing: Error,
    ) -> Result<()> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let made_for = self.plan.top().below(depth(keys).ok_or(missing)?);
        if level <= made_for {
            return Ok(());
        }
        Err(Error::KeyLevelTooLow { op: op(), made_for: made_for.0, needed: level.0 })
    }

    fn turn(a: &ClearValue, steps: i32) -> Vec<Vec<Complex64>> {
        // By the vector's own length, which is the slots' unless another evaluator made the value.
        let turned = |v: &Vec<Complex64>| {
            let left =
                i128::from(steps).checked_rem_euclid(v.len() as i128).and_then(|left| usize::try_from(left).ok());
            let (head, tail) = v.split_at(left.unwrap_or(0));
            [tail, head].concat()
        };
        a.vectors.iter().map(turned).collect()
    }
}

fn rotate(steps: i32) -> String {
    format!("rotate by {steps}")
}

fn map(vectors: &[Vec<Complex64>], f: impl Fn(Complex64) -> Complex64) -> Vec<Vec<Complex64>> {
    vectors.iter().map(|v| v.iter().map(|&z| f(z)).collect()).collect()
}

/// Slot by slot; a single vector on the right repeats.
fn zip(a: &ClearValue, b: &ClearValue, f: impl Fn(Complex64, Complex64) -> Complex64) -> Vec<Vec<Complex64>> {
    let right = b.vectors.iter().cycle();
    a.vectors.iter().zip(right).map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()).collect()
}

impl Evaluator for Clear {
    type Value = ClearValue;
    type Plain = ClearValue;
    type Weights = ClearWeights;
    type Transform = ClearTransform;

    fn slots(&self) -> usize {
        self.plan.slots()
    }

    fn level(&self, value: &ClearValue) -> Level {
        self.plan.level(&value.at)
    }

    fn batch(&self, value: &ClearValue) -> usize {
        value.vectors.len()
    }

    fn encode(&self, vectors: &[Vec<Complex64>], level: Level) -> Result<ClearValue> {
        let at = self.plan.encode(vectors, level)?;
        let mut vectors = vectors.to_vec();
        for vector in &mut vectors {
            vector.resize(self.slots(), Complex64::ZERO);
        }
        Ok(ClearValue { vectors, at })
    }

    fn encode_sparse(&self, matrix: &SparseMatrix, level: Level) -> Result<ClearWeights> {
        Ok(ClearWeights { at: self.plan.encode_sparse(matrix, level)?, matrix: matrix.clone() })
    }

    fn add(&self, a: &ClearValue, b: &ClearValue) -> Result<ClearValue> {
        Ok(ClearValue { at: self.plan.add(&a.at, &b.at)?, vectors: zip(a, b, |a, b| a + b) })
    }

    fn sub(&self, a: &ClearValue, b: &ClearValue) -> Result<ClearValue> {
        Ok(ClearValue { at: self.plan.sub(&a.at, &b.at)?, vectors: zip(a, b, |a, b| a - b) })
    }

    fn neg(&self, a: &ClearValue) -> Result<ClearValue> {
        Ok(ClearValue { at: self.plan.neg(&a.at)?, vectors: map(&a.vectors, |z| -z) })
    }

    fn add_plain(&self, a: &ClearValue, plain: &ClearValue) -> Result<ClearValue> {
        Ok(ClearValue { at: self.plan.add_plain(&a.at, &plain.at)?, vectors: zip(a, plain, |a, p| a + p) })
    }

    fn add_scalar(&self, a: &ClearValue, x: f64) -> Result<ClearValue> {
        Ok(ClearValue { at: self.plan.add_scalar(&a.at, x)?, vectors: map(&a.vectors, |z| z + x) })
    }

    fn add_scalars(&self, a: &ClearValue, scalars: &[f64]) -> Result<ClearValue> {
        let at = self.plan.add_scalars(&a.at, scalars)?;
        let vectors = a.vectors.iter().zip(scalars).map(|(v, s)| v.iter().map(|z| z + s).collect()).collect();
        Ok(ClearValue { vectors, at })
    }

    fn mul_scalar(&self, a: &ClearValue, x: f64) -> Result<ClearValue> {
        Ok(ClearValue { at: self.plan.mul_scalar(&a.at, x)?, vectors: map(&a.vectors, |z| z * x) })
    }

    fn mul(&self, a: &ClearValue, b: &ClearValue) -> Result<ClearValue> {
        self.has_relinearization(self.level(a).min(self.level(b)))?;
        Ok(ClearValue { at: self.plan.mul(&a.at, &b.at)?, vectors: zip(a, b, |a, b| a * b) })
    }

    fn square(&self, a: &ClearValue) -> Result<ClearValue> {
        self.has_relinearization(self.level(a))?;
        Ok(ClearValue { at: self.plan.square(&a.at)?, vectors: map(&a.vectors, |z| z * z) })
    }

    fn dot_plain(&self, terms: &[(&ClearValue, &ClearValue)]) -> Result<ClearValue> {
        let standing: Vec<_> = terms.iter().map(|(a, p)| (&a.at, &p.at)).collect();
        let at = self.plan.dot_plain(&standing)?;
        let mut vectors = vec![vec![Complex64::ZERO; self.slots()]; self.plan.batch(&at)];
        for (a, plain) in terms {
            for (sum, product) in vectors.iter_mut().flatten().zip(zip(a, plain, |a, p| a * p).iter().flatten()) {
                *sum += product;
            }
        }
        Ok(ClearValue { vectors, at })
    }

    fn dot(
        &self,
        products: &[(&ClearValue, &ClearValue)],
        terms: &[(&ClearValue, f64)],
        level: Level,
    ) -> Result<ClearValue> {
        if !products.is_empty() {
            self.has_relinearization(Level(level.0.saturating_add(1)))?;
        }
        let pairs: Vec<_> = products.iter().map(|(a, b)| (&a.at, &b.at)).collect();
        let scaled: Vec<_> = terms.iter().map(|(x, c)| (&x.at, *c)).collect();
        let at = self.plan.dot(&pairs, &scaled, level)?;
        let mut vectors = vec![vec![Complex64::ZERO; self.slots()]; self.plan.batch(&at)];
        for (a, b) in products {
            let product = zip(a, b, |a, b| a * b);
            vectors.iter_mut().flatten().zip(product.iter().flatten()).for_each(|(sum, z)| *sum += z);
        }
        for (x, c) in terms.iter().filter(|(_, c)| *c != 0.0) {
            vectors.iter_mut().flatten().zip(x.vectors.iter().flatten()).for_each(|(sum, z)| *sum += z * c);
        }
        Ok(ClearValue { vectors, at })
    }

    fn rotate(&self, a: &ClearValue, steps: i32) -> Result<ClearValue> {
        self.has_rotation(rotate, self.level(a), steps)?;
        Ok(ClearValue { at: self.plan.rotate(&a.at, steps)?, vectors: Self::turn(a, steps) })
    }

    fn rotate_hoisted(&self, a: &ClearValue, steps: &[i32]) -> Result<Vec<ClearValue>> {
        steps.iter().try_for_each(|&step| self.has_rotation(rotate, self.level(a), step))?;
        let standing = self.plan.rotate_hoisted(&a.at, steps)?;
        Ok(standing.into_iter().zip(steps).map(|(at, &step)| ClearValue { at, vectors: Self::turn(a, step) }).collect())
    }

    fn conjugate(&self, a: &ClearValue) -> Result<ClearValue> {
        let depth = |keys: &PlanReport| keys.conjugation.then_some(keys.conjugation_depth);
        self.has_key(|| "conjugate".into(), self.level(a), depth, Error::MissingConjugationKey)?;
        Ok(ClearValue { at: self.plan.conjugate(&a.at)?, vectors: map(&a.vectors, |z| z.conj()) })
    }

    fn mul_i(&self, a: &ClearValue) -> Result<ClearValue> {
        Ok(ClearValue { at: self.plan.mul_i(&a.at)?, vectors: map(&a.vectors, |z| z * Complex64::I) })
    }

    fn encode_transform(&self, transform: &LinearTransform, level: Level) -> Result<ClearTransform> {
        Ok(ClearTransform { at: self.plan.encode_transform(transform, level)?, transform: transform.clone() })
    }

    fn transform(&self, a: &ClearValue, transform: &ClearTransform) -> Result<ClearValue> {
        let op = |step| format!("rotate by {step} in a transform");
        transform.transform.rotations().iter().try_for_each(|&step| self.has_rotation(op, self.level(a), step))?;
        let at = self.plan.transform(&a.at, &transform.at)?;
        Ok(ClearValue { at, vectors: a.vectors.iter().map(|v| transform.transform.apply_clear(v)).collect() })
    }

    fn combine(&self, terms: &[(&ClearValue, &ClearWeights)]) -> Result<ClearValue> {
        let standing: Vec<_> = terms.iter().map(|(a, weights)| (&a.at, &weights.at)).collect();
        let at = self.plan.combine(&standing)?;
        let mut vectors = vec![vec![Complex64::ZERO; self.slots()]; self.plan.batch(&at)];
        for (a, weights) in terms {
            for (row, column, w) in weights.matrix.iter() {
                vectors[row].iter_mut().zip(&a.vectors[column]).for_each(|(out, z)| *out += w * z);
            }
        }
        Ok(ClearValue { vectors, at })
    }

    fn drop_to(&self, a: &ClearValue, level: Level) -> Result<ClearValue> {
        Ok(ClearValue { at: self.plan.drop_to(&a.at, level)?, vectors: a.vectors.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Matrix;

    const SLOTS: usize = 6; // not a power of two: nothing here needs one

    fn vectors(batch: usize, seed: f64) -> Vec<Vec<Complex64>> {
        let entry = |b: usize, i: usize| Complex64::new(seed + (b * 10 + i) as f64, 0.5 * i as f64 - seed);
        (0..batch).map(|b| (0..SLOTS).map(|i| entry(b, i)).collect()).collect()
    }

    /// Compares with a formula for slot `i` of vector `b`.
    fn assert_slots(got: &ClearValue, level: u32, batch: usize, f: impl Fn(usize, usize) -> Complex64) {
        let want: Vec<Vec<_>> = (0..batch).map(|b| (0..SLOTS).map(|i| f(b, i)).collect()).collect();
        assert_eq!(got.vectors(), want);
        assert_eq!(Clear::new(SLOTS, Level(9)).level(got), Level(level));
    }

    #[test]
    fn values_of_another_evaluator_do_not_index_out_of_bounds() -> Result<()> {
        let (small, large, none) = (Clear::new(2, Level(2)), Clear::new(64, Level(2)), Clear::new(0, Level(2)));
        let value = small.value(&[vec![Complex64::from(1.0), Complex64::from(2.0)]], Level(2))?;
        assert_eq!(large.rotate(&value, 33)?.vectors()[0], [Complex64::from(2.0), Complex64::from(1.0)]);
        let weights = large.encode_weights(&Matrix::new(1, 1, vec![1.0])?, Level(2))?;
        large.combine(&[(&value, &weights)])?;
        large.dot_plain(&[(&value, &large.encode(&[vec![]], Level(2))?)])?;
        let empty = none.value(&[vec![]], Level(2))?;
        none.rotate(&none.rotate_hoisted(&empty, &[3])?[0], -1)?;
        Ok(())
    }

    #[test]
    fn every_operation_is_its_formula() -> Result<()> {
        let clear = Clear::new(SLOTS, Level(3));
        let (x, y, p) = (vectors(2, 1.0), vectors(2, -2.0), vectors(1, 0.25));
        let (a, b) = (clear.value(&x, Level(3))?, clear.value(&y, Level(3))?);
        let (one, two) = (clear.encode(&p, Level(3))?, clear.encode(&y, Level(3))?);
        assert_slots(&clear.add(&a, &b)?, 3, 2, |v, i| x[v][i] + y[v][i]);
        assert_slots(&clear.sub(&a, &b)?, 3, 2, |v, i| x[v][i] - y[v][i]);
        assert_slots(&clear.neg(&a)?, 3, 2, |v, i| -x[v][i]);
        assert_slots(&clear.add_plain(&a, &one)?, 3, 2, |v, i| x[v][i] + p[0][i]);
        assert_slots(&clear.add_plain(&a, &two)?, 3, 2, |v, i| x[v][i] + y[v][i]);
        assert_slots(&clear.add_scalar(&a, 1.5)?, 3, 2, |v, i| x[v][i] + 1.5);
        assert_slots(&clear.add_scalars(&a, &[1.5, -4.0])?, 3, 2, |v, i| x[v][i] + [1.5, -4.0][v]);
        assert_slots(&clear.mul_scalar(&a, 1.5)?, 2, 2, |v, i| x[v][i] * 1.5);
        assert_slots(&clear.mul(&a, &b)?, 2, 2, |v, i| x[v][i] * y[v][i]);
        assert_slots(&clear.square(&a)?, 2, 2, |v, i| x[v][i] * x[v][i]);
        assert_slots(&clear.dot_plain(&[(&a, &one), (&b, &two)])?, 2, 2, |v, i| x[v][i] * p[0][i] + y[v][i] * y[v][i]);
        let dot = clear.dot(&[(&a, &b), (&b, &b)], &[(&a, 0.5), (&b, 0.0), (&b, -2.0)], Level(2))?;
        assert_slots(&dot, 2, 2, |v, i| x[v][i] * y[v][i] + y[v][i] * y[v][i] + x[v][i] * 0.5 - y[v][i] * 2.0);
        let low = clear.drop_to(&b, Level(1))?;
        assert_slots(&clear.dot_scalars(&[(&a, 0.5), (&low, 4.0)], Level(0))?, 0, 2, |v, i| {
            x[v][i] * 0.5 + y[v][i] * 4.0
        });
        for step in [0, 1, 5, -1, 6, -13, i32::MAX, i32::MIN] {
            let from = |i: usize| usize::try_from((i as i64 + i64::from(step)).rem_euclid(6)).unwrap();
            assert_slots(&clear.rotate(&a, step)?, 3, 2, |v, i| x[v][from(i)]);
            assert_slots(&clear.rotate_hoisted(&a, &[7, step])?[1], 3, 2, |v, i| x[v][from(i)]);
        }
        assert_slots(&clear.conjugate(&a)?, 3, 2, |v, i| x[v][i].conj());
        assert_slots(&clear.mul_i(&a)?, 3, 2, |v, i| Complex64::new(-x[v][i].im, x[v][i].re));
        let matrix = Matrix::new(3, 2, vec![1.0, 2.0, -3.0, 0.5, 0.0, 4.0])?;
        let weights = clear.encode_weights(&matrix, Level(3))?;
        let mixed = |x: &[Vec<Complex64>], o: usize, i: usize| matrix.row(o)[0] * x[0][i] + matrix.row(o)[1] * x[1][i];
        assert_slots(&clear.combine(&[(&a, &weights)])?, 2, 3, |o, i| mixed(&x, o, i));
        let both = clear.combine(&[(&a, &weights), (&b, &weights)])?;
        assert_slots(&both, 2, 3, |o, i| mixed(&x, o, i) + mixed(&y, o, i));
        assert_slots(&clear.drop_to(&a, Level(0))?, 0, 2, |v, i| x[v][i]);
        let short = clear.value(&[x[0][..2].to_vec()], Level(3))?;
        assert_slots(&short, 3, 1, |_, i| if i < 2 { x[0][i] } else { Complex64::ZERO });
        Ok(())
    }

    #[test]
    fn it_fails_where_the_encrypted_reading_would() -> Result<()> {
        let clear = Clear::new(SLOTS, Level(3));
        let high = clear.value(&vectors(2, 1.0), Level(3))?;
        let low = clear.drop_to(&high, Level(0))?;
        let other = clear.value(&vectors(3, 1.0), Level(3))?;
        let plain = clear.encode(&vectors(1, 1.0), Level(2))?;
        let matrix = Matrix::new(1, 3, vec![1.0; 3])?;
        let weights = clear.encode_weights(&matrix, Level(3))?;

        assert_eq!(clear.add(&high, &low), Err(Error::LevelMismatch { op: "add", left: 3, right: 0 }));
        assert!(matches!(clear.sub(&low, &high), Err(Error::LevelMismatch { op: "sub", .. })));
        assert!(matches!(clear.mul(&high, &low), Err(Error::LevelMismatch { op: "mul", .. })));
        assert!(matches!(clear.add_plain(&high, &plain), Err(Error::LevelMismatch { .. })));
        assert!(matches!(clear.dot_plain(&[(&high, &plain)]), Err(Error::LevelMismatch { .. })));
        assert!(matches!(clear.combine(&[(&low, &weights)]), Err(Error::LevelMismatch { .. })));
        assert!(matches!(clear.add(&high, &other), Err(Error::ShapeMismatch { op: "add", .. })));
        assert!(matches!(clear.mul(&high, &other), Err(Error::ShapeMismatch { op: "mul", .. })));
        assert!(matches!(clear.add_plain(&high, &other), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(clear.dot_plain(&[]), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(clear.combine(&[(&high, &weights)]), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(clear.combine(&[]), Err(Error::ShapeMismatch { .. })));
        let taller = clear.encode_weights(&Matrix::new(2, 3, vec![1.0; 6])?, Level(3))?;
        let unlike = clear.combine(&[(&other, &weights), (&other, &taller)]);
        assert!(matches!(unlike, Err(Error::ShapeMismatch { .. })));
        assert!(matches!(clear.dot(&[(&high, &low)], &[], Level(2)), Err(Error::LevelMismatch { op: "dot", .. })));
        assert!(matches!(clear.dot(&[(&high, &high)], &[], Level(1)), Err(Error::LevelMismatch { op: "dot", .. })));
        assert!(matches!(clear.dot(&[(&high, &other)], &[], Level(2)), Err(Error::ShapeMismatch { op: "dot", .. })));
        assert!(matches!(clear.dot_scalars(&[(&low, 1.0)], Level(0)), Err(Error::LevelTooHigh { op: "dot", .. })));
        assert!(matches!(clear.dot_scalars(&[(&low, 1.0)], Level(u32::MAX)), Err(Error::LevelTooHigh { .. })));
        let mixed = clear.dot_scalars(&[(&high, 1.0), (&other, 1.0)], Level(2));
        assert!(matches!(mixed, Err(Error::ShapeMismatch { op: "dot", .. })));
        let bad = clear.dot_scalars(&[(&high, 1.0), (&high, f64::NAN)], Level(2));
        assert!(matches!(bad, Err(Error::BadValue { index: 1, .. })));
        assert!(matches!(clear.dot_scalars(&[(&high, 0.0)], Level(2)), Err(Error::ShapeMismatch { op: "dot", .. })));
        assert_eq!(clear.square(&low), Err(Error::LevelExhausted { op: "square", needed: 1, left: 0 }));
        assert!(matches!(clear.mul(&low, &low), Err(Error::LevelExhausted { .. })));
        assert!(matches!(clear.mul_scalar(&low, 2.0), Err(Error::LevelExhausted { .. })));
        assert!(matches!(clear.encode_weights(&matrix, Level(0)), Err(Error::LevelExhausted { .. })));
        assert!(matches!(clear.encode_weights(&matrix, Level(4)), Err(Error::LevelTooHigh { .. })));
        assert!(matches!(clear.drop_to(&low, Level(1)), Err(Error::LevelTooHigh { .. })));
        assert!(matches!(clear.value(&vectors(1, 1.0), Level(4)), Err(Error::LevelTooHigh { .. })));
        assert!(matches!(clear.value(&[], Level(1)), Err(Error::ShapeMismatch { .. })));
        let long = vec![Complex64::ZERO; SLOTS + 1];
        assert_eq!(clear.value(&[long], Level(1)), Err(Error::TooManyValues { slots: SLOTS, got: SLOTS + 1 }));
        let bad = vec![Complex64::ZERO, Complex64::new(0.0, f64::NAN)];
        assert!(matches!(clear.value(&[bad], Level(1)), Err(Error::BadValue { index: 1, .. })));
        assert!(matches!(clear.add_scalar(&high, f64::INFINITY), Err(Error::BadValue { .. })));
        assert!(matches!(clear.add_scalars(&high, &[1.0]), Err(Error::ShapeMismatch { op: "add_scalars", .. })));
        assert!(matches!(clear.add_scalars(&high, &[1.0, f64::NAN]), Err(Error::BadValue { index: 1, .. })));
        let endless = Clear::new(usize::MAX, Level(1)).value(&[vec![]], Level(1));
        assert!(matches!(endless, Err(Error::InvalidParameter { what: "slots", .. })));
        assert!(matches!(clear.mul_scalar(&high, f64::NAN), Err(Error::BadValue { .. })));
        Ok(())
    }

    #[test]
    fn keys_that_were_not_planned_are_missing() -> Result<()> {
        let plan = Plan::new(SLOTS);
        plan.rotate(&plan.input(1), -2)?;
        let clear = Clear::new(SLOTS, Level(1)).with_keys_of(plan.report());
        let x = clear.value(&vectors(1, 1.0), Level(1))?;
        for step in [4, -2, 10, 0, 6] {
            clear.rotate(&x, step)?;
        }
        assert_eq!(clear.rotate(&x, 2), Err(Error::MissingRotationKey { steps: 2 }));
        assert_eq!(clear.rotate_hoisted(&x, &[4, 1]), Err(Error::MissingRotationKey { steps: 1 }));
        assert_eq!(clear.square(&x), Err(Error::MissingRelinearizationKey));
        assert_eq!(clear.mul(&x, &x), Err(Error::MissingRelinearizationKey));
        assert_eq!(clear.dot(&[(&x, &x)], &[], Level(0)), Err(Error::MissingRelinearizationKey));
        clear.dot_scalars(&[(&x, 2.0)], Level(0))?;
        assert_eq!(clear.conjugate(&x), Err(Error::MissingConjugationKey));
        Ok(())
    }

    #[test]
    fn planned_keys_reach_up_to_their_first_use() -> Result<()> {
        let circuit = |plan: &Plan| -> Result<()> {
            let low = plan.mul_scalar(&plan.input(1), 0.5)?;
            plan.conjugate(&plan.rotate(&low, 1)?)?;
            plan.square(&low)?;
            Ok(())
        };
        let plan = Plan::new(SLOTS);
        circuit(&plan)?;
        let clear = Clear::new(SLOTS, Level(3)).with_keys_of(plan.report());
        let too_low = |op: &str, needed| Err(Error::KeyLevelTooLow { op: op.into(), made_for: 2, needed });
        let high = clear.value(&vectors(1, 1.0), Level(3))?;
        assert_eq!(clear.rotate(&high, 1), too_low("rotate by 1", 3));
        assert_eq!(clear.rotate_hoisted(&high, &[0, 1]), too_low("rotate by 1", 3).map(|x| vec![x]));
        assert_eq!(clear.conjugate(&high), too_low("conjugate", 3));
        assert_eq!(clear.square(&high), too_low("relinearize", 3));
        assert_eq!(clear.mul(&high, &high), too_low("relinearize", 3));
        assert_eq!(clear.dot(&[(&high, &high)], &[], Level(2)), too_low("relinearize", 3));
        for level in [2, 1] {
            let x = clear.drop_to(&high, Level(level))?;
            clear.conjugate(&clear.rotate_hoisted(&x, &[1])?[0])?;
            clear.dot(&[(&x, &x)], &[], Level(level - 1))?;
            clear.square(&x)?;
        }
        // A plan that names levels of its own says nothing about depths: its keys reach the top.
        let plan = Plan::new(SLOTS);
        plan.rotate(&plan.drop_to(&plan.input(1), Level(1))?, 1)?;
        Clear::new(SLOTS, Level(3)).with_keys_of(plan.report()).rotate(&high, 1)?;
        Ok(())
    }
}
