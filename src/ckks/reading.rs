//! The encrypted reading of circuits: every value at its level's scale.

use super::ciphertext::Ciphertext;
use super::evaluator::{DevicePlaintext, Evaluator};
use super::transform::DeviceTransform;
use super::weights::DeviceWeights;
use crate::circuit::{self, LinearTransform, SparseMatrix};
use crate::error::{Error, Result};
use crate::units::Level;
use num_complex::Complex64;

impl Evaluator {
    /// One level down, onto that level's scale: the tracked scale must agree with it.
    fn settle(&self, op: &'static str, a: &Ciphertext) -> Result<Ciphertext> {
        self.settled(op, self.rescale(a)?)
    }

    /// Replaces a tracked scale by the level's own, which it equals up to 64-bit rounding.
    fn settled(&self, op: &'static str, mut a: Ciphertext) -> Result<Ciphertext> {
        let scale = self.parameters.scale_at(a.level)?;
        Self::same_scale(op, a.scale, scale)?;
        a.scale = scale;
        Ok(a)
    }

    fn same_level(op: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<()> {
        if a.level == b.level { Ok(()) } else { Err(Error::LevelMismatch { op, left: a.level.0, right: b.level.0 }) }
    }

    fn encoded_for(op: &'static str, a: &Ciphertext, level: Level) -> Result<()> {
        if a.level == level { Ok(()) } else { Err(Error::LevelMismatch { op, left: a.level.0, right: level.0 }) }
    }
}

impl circuit::Evaluator for Evaluator {
    type Value = Ciphertext;
    type Plain = DevicePlaintext;
    type Weights = DeviceWeights;
    type Transform = DeviceTransform;

    fn slots(&self) -> usize {
        self.parameters.slots()
    }

    fn level(&self, value: &Ciphertext) -> Level {
        value.level
    }

    fn batch(&self, value: &Ciphertext) -> usize {
        value.batch() as usize
    }

    fn encode(&self, vectors: &[Vec<Complex64>], level: Level) -> Result<DevicePlaintext> {
        self.load_plaintext(&self.encoder().encode(vectors, level)?)
    }

    fn encode_sparse(&self, matrix: &SparseMatrix, level: Level) -> Result<DeviceWeights> {
        if level.0 == 0 {
            return Err(Error::LevelExhausted { op: "combine", needed: 1, left: 0 });
        }
        self.load_sparse(matrix, level)
    }

    fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        Self::same_level("add", a, b)?;
        self.add(a, b)
    }

    fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        Self::same_level("sub", a, b)?;
        self.sub(a, b)
    }

    fn neg(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.neg(a)
    }

    fn add_plain(&self, a: &Ciphertext, plain: &DevicePlaintext) -> Result<Ciphertext> {
        Self::encoded_for("add_plain", a, plain.level())?;
        self.add_plain(a, plain)
    }

    fn add_scalar(&self, a: &Ciphertext, x: f64) -> Result<Ciphertext> {
        self.add_scalar(a, x)
    }

    fn add_scalars(&self, a: &Ciphertext, scalars: &[f64]) -> Result<Ciphertext> {
        self.add_scalars(a, scalars)
    }

    fn mul_scalar(&self, a: &Ciphertext, x: f64) -> Result<Ciphertext> {
        if a.level.0 == 0 {
            return Err(Error::LevelExhausted { op: "mul_scalar", needed: 1, left: 0 });
        }
        self.settle("mul_scalar", &self.mul_scalar(a, x, self.parameters.scale_at(a.level)?)?)
    }

    fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        Self::same_level("mul", a, b)?;
        self.settled("mul", self.mul(a, b)?)
    }

    fn square(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.settled("square", self.square(a)?)
    }

    fn dot_plain(&self, terms: &[(&Ciphertext, &DevicePlaintext)]) -> Result<Ciphertext> {
        if terms.iter().any(|(a, _)| a.level.0 == 0) {
            return Err(Error::LevelExhausted { op: "dot_plain", needed: 1, left: 0 });
        }
        for (a, plain) in terms {
            Self::encoded_for("dot_plain", a, plain.level())?;
        }
        self.settle("dot_plain", &self.dot_plain(terms)?)
    }

    fn dot(
        &self,
        products: &[(&Ciphertext, &Ciphertext)],
        terms: &[(&Ciphertext, f64)],
        level: Level,
    ) -> Result<Ciphertext> {
        for factor in products.iter().flat_map(|(a, b)| [a, b]) {
            Self::encoded_for("dot", factor, Level(level.0.saturating_add(1)))?;
        }
        self.dot(products, terms, level)
    }

    fn rotate(&self, a: &Ciphertext, steps: i32) -> Result<Ciphertext> {
        self.rotate(a, steps)
    }

    fn rotate_hoisted(&self, a: &Ciphertext, steps: &[i32]) -> Result<Vec<Ciphertext>> {
        self.rotate_hoisted(a, steps)
    }

    fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.conjugate(a)
    }

    fn mul_i(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.mul_i(a)
    }

    fn encode_transform(&self, transform: &LinearTransform, level: Level) -> Result<DeviceTransform> {
        transform.check("encode_transform", self.parameters.slots(), level)?;
        let below = self.parameters.scale_at(Level(level.0 - 1))?;
        let scale = below * self.dropped(level)? / self.parameters.scale_at(level)?;
        self.load_transform(transform, level, scale)
    }

    fn transform(&self, a: &Ciphertext, transform: &DeviceTransform) -> Result<Ciphertext> {
        self.settled("transform", self.transform(a, transform)?)
    }

    fn combine(&self, terms: &[(&Ciphertext, &DeviceWeights)]) -> Result<Ciphertext> {
        if terms.iter().any(|(a, _)| a.level.0 == 0) {
            return Err(Error::LevelExhausted { op: "combine", needed: 1, left: 0 });
        }
        let mut sum: Option<Ciphertext> = None;
        for (a, weights) in terms {
            Self::encoded_for("combine", a, weights.level())?;
            let product = self.combine(a, weights)?;
            sum = Some(match sum {
                Some(sum) => self.add(&sum, &product)?,
                None => product,
            });
        }
        let sum = sum.ok_or_else(|| Error::ShapeMismatch {
            op: "combine",
            expected: "at least one term".into(),
            got: "none".into(),
        })?;
        self.settle("combine", &sum)
    }

    fn drop_to(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext> {
        self.drop_to(a, level)
    }
}
