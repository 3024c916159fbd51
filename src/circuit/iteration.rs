//! Iterations that converge to reciprocals and roots.
//!
//! All start from a line in `x`, the best one in the relative sense, and square the relative error in every step.

use super::Evaluator;
use crate::error::Result;
use crate::units::Level;
use serde::{Deserialize, Serialize};

/// An iteration, the line it starts from and the number of its steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Iteration {
    pub(super) kind: Kind,
    pub(super) steps: u32,
    /// `y_0 = slope x + constant`.
    slope: f64,
    constant: f64,
}

/// What is iterated; `e` is the relative error's like, `y` converges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// `1/x` by `y <- y + y e`, `e <- e^2`, from `e = 1 - x y`: one level a step and one more.
    Goldschmidt,
    /// `1/x` by `y <- y (2 - x y)`: two levels a step; errors made on the way are corrected.
    Newton,
    /// `1/sqrt(x)` by `y <- y (3 - x y^2) / 2`: two levels a step.
    InverseSqrt,
}

impl Iteration {
    /// For `x` in `[low, high]`, `low > 0`.
    ///
    /// For the reciprocal `1 - x y_0` is the Chebyshev polynomial of degree 2 of the interval, divided by its value at 0. For the
    /// root `sqrt(x) y_0` is scaled so that its peak in the interior and its ends come to one value by the first step; both stay
    /// below `sqrt(3)`, beyond which the iteration would turn to the negative root.
    pub(super) fn new(kind: Kind, steps: u32, low: f64, high: f64) -> Self {
        let (slope, constant) = match kind {
            Kind::Goldschmidt | Kind::Newton => {
                // T_2(u) = 2 u^2 - 1 with u = (2x - s) / w: 1 - x y_0 = T_2(u) / T_2(s / w).
                let (s, w) = (low + high, high - low);
                let scale = 8.0 / (2.0 * s * s - w * w);
                (-scale, scale * s)
            }
            Kind::InverseSqrt => {
                // sqrt(x) (p - x) is the same at both ends for p = low + high + sqrt(low high); its peak is at p / 3.
                let p = low + high + (low * high).sqrt();
                let (end, peak) = (low.sqrt() * (p - low), (p / 3.0).sqrt() * (2.0 * p / 3.0));
                let scale = (3.0 / (end * end + end * peak + peak * peak)).sqrt();
                (-scale, scale * p)
            }
        };
        Self { kind, steps, slope, constant }
    }

    pub(super) fn evaluate<E: Evaluator>(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        let mut y = eval.add_scalar(&eval.mul_scalar(x, self.slope)?, self.constant)?;
        if self.steps == 0 {
            return Ok(y);
        }
        let below = |a: &E::Value| Level(eval.level(a).0.saturating_sub(1));
        match self.kind {
            Kind::Goldschmidt => {
                let product = eval.mul(&eval.drop_to(x, eval.level(&y))?, &y)?;
                let mut e = eval.add_scalar(&eval.neg(&product)?, 1.0)?;
                for step in 1..=self.steps {
                    let dropped = eval.drop_to(&y, eval.level(&e))?;
                    y = eval.dot(&[(&dropped, &e)], &[(&y, 1.0)], below(&e))?;
                    if step < self.steps {
                        e = eval.square(&e)?;
                    }
                }
            }
            Kind::Newton => {
                for _ in 0..self.steps {
                    let product = eval.mul(&eval.drop_to(x, eval.level(&y))?, &y)?;
                    let dropped = eval.drop_to(&y, eval.level(&product))?;
                    y = eval.dot(&[(&eval.neg(&product)?, &dropped)], &[(&y, 2.0)], below(&product))?;
                }
            }
            Kind::InverseSqrt => {
                let half = eval.mul_scalar(x, -0.5)?;
                for _ in 0..self.steps {
                    let product = eval.mul(&eval.drop_to(&half, eval.level(&y))?, &y)?;
                    let square = eval.square(&y)?;
                    y = eval.dot(&[(&product, &square)], &[(&y, 1.5)], below(&square))?;
                }
            }
        }
        Ok(y)
    }
}
