//! Sums of products of ciphertexts and of scalars, divided once.

use super::ciphertext::Ciphertext;
use super::evaluator::{Evaluator, MIN_FACTOR};
use crate::error::{Error, Result};
use crate::units::Level;

impl Evaluator {
    /// `sum_i a_i b_i + sum_j c_j x_j`, relinearized once and rescaled once for the whole sum.
    ///
    /// # Level and scale
    /// Exactly `level` and [`super::Parameters::scale_at`] it. Every operand stands at some level above `level` and is truncated
    /// to the one right above. The scale before the division is `S = scale_at(level) * q`, for the level's primes `q`: the scales
    /// of a product's factors must multiply to `S`, as those of values at the level right above do; a scalar `c_j` is encoded
    /// as `round(c_j S / scale(x_j))`, so that terms of any scale agree. Scalars that are exactly zero take no part.
    /// # Noise
    /// The sum of the operands', that of one [`Self::relinearize`], that of one [`Self::rescale`]; and an error of at most
    /// `scale(x_j) / 2 S` in every scalar.
    /// # Cost
    /// That of one [`Self::mul`] for all the products, or of one [`Self::rescale`] where there are none.
    /// # Errors
    /// [`Error::LevelTooHigh`] for an operand that is not above `level`; [`Error::ScaleMismatch`] for factors whose scales do not
    /// multiply to `S`, or a scale of `x_j` that leaves less than 20 bits for its scalar; [`Error::BadValue`], naming the scalar;
    /// [`Error::ShapeMismatch`] for other batches, or for nothing to sum; keys as [`Self::relinearize`].
    /// # Source
    /// Scalars that make up for scales: Bossuat et al., ePrint 2020/1203, section 4.
    pub fn dot(
        &self,
        products: &[(&Ciphertext, &Ciphertext)],
        terms: &[(&Ciphertext, f64)],
        level: Level,
    ) -> Result<Ciphertext> {
        let above = Level(level.0.saturating_add(1));
        if above > self.parameters.top_level() {
            let available = self.parameters.top_level().0;
            return Err(Error::LevelTooHigh { op: "dot", wanted: above.0, available });
        }
        let target = self.parameters.scale_at(level)? * self.dropped(above)?;
        let mut sum: Option<Ciphertext> = None;
        for (a, b) in products {
            let product = self.tensor("dot", &self.operand(a, above)?, &self.operand(b, above)?)?;
            Self::same_scale("dot", product.scale, target)?;
            sum = Some(Self::accumulated(sum, product)?);
        }
        for (index, &(x, c)) in terms.iter().enumerate() {
            if c == 0.0 {
                continue;
            }
            let x = self.operand(x, above)?;
            let factor = target / x.scale;
            if factor < MIN_FACTOR {
                return Err(Error::ScaleMismatch { op: "dot", left: x.scale.log2(), right: target.log2() });
            }
            let integer = self.encoder().scalar(c, factor, above).map_err(|e| match e {
                Error::BadValue { reason, .. } => Error::BadValue { index, reason },
                other => other,
            })?;
            sum = Some(match sum {
                None => Ciphertext { poly: x.poly.mul_scalar(integer)?, ..x },
                Some(sum) => {
                    Self::same_batch("dot", sum.batch(), x.batch())?;
                    Ciphertext { poly: sum.poly.accumulate_scaled(&x.poly, integer)?, ..sum }
                }
            });
        }
        let Some(sum) = sum else {
            let (expected, got) = ("a product, or a scalar that is not zero".into(), "none".into());
            return Err(Error::ShapeMismatch { op: "dot", expected, got });
        };
        let out = if products.is_empty() { self.rescale(&sum)? } else { self.relinearize_and_rescale("dot", &sum)? };
        Ok(Ciphertext { scale: self.parameters.scale_at(level)?, ..out })
    }

    /// An operand of [`Self::dot`] at the level right above the sum's.
    fn operand(&self, a: &Ciphertext, above: Level) -> Result<Ciphertext> {
        self.pair("dot", a)?;
        if above > a.level {
            return Err(Error::LevelTooHigh { op: "dot", wanted: above.0, available: a.level.0 });
        }
        self.truncate(a, above)
    }

    /// Adds `next`, just made, into `sum`, just made as well and with at least as many components.
    fn accumulated(sum: Option<Ciphertext>, next: Ciphertext) -> Result<Ciphertext> {
        let Some(sum) = sum else { return Ok(next) };
        Self::same_batch("dot", sum.batch(), next.batch())?;
        Ok(Ciphertext { poly: sum.poly.accumulate_head(&next.poly)?, ..sum })
    }
}
