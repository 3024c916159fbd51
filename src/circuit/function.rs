//! The common functions, and comparisons of two values.

use super::approximation::{Approximation, Method, check_error, compose, samples, stated};
use super::composite::Sign;
use super::iteration::Kind;
use super::polynomial::{Polynomial, check_interval};
use super::{Evaluator, Plan};
use crate::error::{Error, Result};
use crate::units::Level;

impl Approximation {
    /// The logistic function `1 / (1 + exp(-x))`.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub fn sigmoid(low: f64, high: f64, max_error: f64) -> Result<Self> {
        Self::fit("sigmoid", |x| 1.0 / (1.0 + (-x).exp()), low, high, max_error)
    }

    /// The hyperbolic tangent.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub fn tanh(low: f64, high: f64, max_error: f64) -> Result<Self> {
        Self::fit("tanh", f64::tanh, low, high, max_error)
    }

    /// The exponential function.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub fn exp(low: f64, high: f64, max_error: f64) -> Result<Self> {
        Self::fit("exp", f64::exp, low, high, max_error)
    }

    /// The square root, for `low >= 0`. From 0 on the error falls only as `1 / degree`.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub fn sqrt(low: f64, high: f64, max_error: f64) -> Result<Self> {
        Self::fit("sqrt", f64::sqrt, low, high, max_error)
    }

    /// `1 / x` for `low > 0`, by Goldschmidt's iteration: least depth.
    ///
    /// # Level and scale
    /// Two levels and one for each of [`Self::steps`]; one level where no step is needed.
    /// # Noise
    /// Errors of the running product are not corrected, but grow only with the number of steps.
    /// # Errors
    /// [`Error::InvalidParameter`] for a bad interval or error; [`Error::Unreachable`].
    /// # Source
    /// Goldschmidt, MIT (1964); encrypted: Cheon, Kim, Kim, Lee and Lee, ePrint 2019/417, section 3. Deviation: starts from a line.
    pub fn reciprocal_goldschmidt(low: f64, high: f64, max_error: f64) -> Result<Self> {
        Self::iterate("1/x", Kind::Goldschmidt, f64::recip, (low, high), max_error)
    }

    /// `1 / x` for `low > 0`, by Newton's iteration: twice as deep, but each step corrects the errors before it.
    ///
    /// # Level and scale
    /// One level and two for each of [`Self::steps`].
    /// # Errors
    /// As [`Self::reciprocal_goldschmidt`].
    pub fn reciprocal_newton(low: f64, high: f64, max_error: f64) -> Result<Self> {
        Self::iterate("1/x", Kind::Newton, f64::recip, (low, high), max_error)
    }

    /// `1 / sqrt(x)` for `low > 0`, by Newton's iteration.
    ///
    /// # Level and scale
    /// One level and two for each of [`Self::steps`].
    /// # Errors
    /// As [`Self::reciprocal_goldschmidt`].
    pub fn inverse_sqrt(low: f64, high: f64, max_error: f64) -> Result<Self> {
        Self::iterate("1/sqrt(x)", Kind::InverseSqrt, |x| x.sqrt().recip(), (low, high), max_error)
    }

    /// The sign of `x` for `margin <= |x| <= bound`, by a composition of minimax polynomials. Between `-margin` and `margin` it
    /// rises from -1 to 1. In bits, `-log2(max_error)` and `-log2(margin / bound)` are the `alpha` and `epsilon` of the source.
    ///
    /// # Level and scale
    /// The least depth of compositions of full-depth degrees 3 to 31; one more unless `bound` is 1.
    /// # Errors
    /// [`Error::InvalidParameter`] for a bad bound, margin or error; [`Error::Unreachable`] below about `2^-44`.
    /// # Source
    /// Lee, Lee, No and Kim, ePrint 2020/834.
    pub fn sign(bound: f64, margin: f64, max_error: f64) -> Result<Self> {
        Self::jump("sign", bound, margin, max_error, (1.0, 0.0))
    }

    /// 0 for `x <= -margin` and 1 for `x >= margin`, up to `|x| = bound`: half of [`Self::sign`] and a half.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn step(bound: f64, margin: f64, max_error: f64) -> Result<Self> {
        Self::jump("step", bound, margin, max_error, (0.5, 0.5))
    }

    fn jump(name: &str, bound: f64, margin: f64, max_error: f64, (scale, shift): (f64, f64)) -> Result<Self> {
        check_interval(-bound, bound)?;
        check_error(max_error)?;
        let sign = Sign::new(margin / bound, max_error / (1.02 * scale), 0.0)?;
        let method = Method::Composition(sign.polynomials(bound, scale, shift)?);
        let exact = |x: f64| if x < 0.0 { shift - scale } else { shift + scale };
        let points = samples(margin, bound, Self::SAMPLES / 2);
        let points: Vec<f64> = points.iter().map(|x| -x).chain(points.iter().copied()).collect();
        let (measured, size) = method.measure(exact, &points)?;
        let error = stated((measured.max(scale * sign.error), size));
        Self::new(name, (-bound, bound), margin, error, method)
    }

    /// `|x|` on all of `[-bound, bound]`: `x` times its [`Self::sign`], with a margin small enough for the error.
    ///
    /// # Errors
    /// As [`Self::sign`].
    /// # Source
    /// Lee, Lee, No and Kim, ePrint 2020/834; Lee, Lee, Kim and No, ePrint 2021/1688.
    pub fn abs(bound: f64, max_error: f64) -> Result<Self> {
        let (factors, error) = gate(bound, max_error, 1.0, 0.0)?;
        Self::new("abs", (-bound, bound), 0.0, error, Method::Gate(factors))
    }

    /// `max(x, 0)` on all of `[-bound, bound]`: `x` times its [`Self::step`].
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn relu(bound: f64, max_error: f64) -> Result<Self> {
        let (factors, error) = gate(bound, max_error, 0.5, 0.5)?;
        Self::new("ReLU", (-bound, bound), 0.0, error, Method::Gate(factors))
    }
}

/// [`Approximation::step`] on [-1, 1] as its polynomials, for whoever has something to do between them, and its error. All but the last end
/// `room` below 1, so that noise does not leave the interval of the next.
pub(crate) fn step_stages(margin: f64, max_error: f64, room: f64) -> Result<(Vec<Polynomial>, f64)> {
    let sign = Sign::new(margin, 2.0 * max_error, room)?;
    Ok((sign.polynomials(1.0, 0.5, 0.5)?, 0.5 * sign.error))
}

/// The composition `scale sign(x) + shift` with which `x` multiplies to `scale |x| + shift x`, and the error of that: outside the margin
/// at most the bound times the sign's; within, where the sign rises, measured.
fn gate(bound: f64, max_error: f64, scale: f64, shift: f64) -> Result<(Vec<Polynomial>, f64)> {
    check_interval(-bound, bound)?;
    check_error(max_error)?;
    let relative = max_error / (scale * bound);
    let mut last = None;
    // The error within the margin is a part of the margin: the largest multiple that does is the shallowest circuit.
    for multiple in [8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        let margin = (multiple * relative).min(0.5);
        let sign = Sign::new(margin, relative / 1.02, 0.0)?;
        let factors = sign.polynomials(bound, scale, shift)?;
        let method = Method::Gate(factors.clone());
        let exact = |x: f64| scale * x.abs() + shift * x;
        let points: Vec<f64> = (0..Approximation::SAMPLES)
            .map(|k| bound * margin * (2.0 * k as f64 / (Approximation::SAMPLES - 1) as f64 - 1.0))
            .collect();
        let inside = method.measure(exact, &points)?;
        let outside = method.measure(exact, &samples(-bound, bound, Approximation::SAMPLES))?;
        let worst = inside.0.max(outside.0).max(scale * bound * sign.error);
        let error = stated((worst, outside.1));
        if error <= max_error {
            return Ok((factors, error));
        }
        last = Some(error);
    }
    let best = last.unwrap_or(f64::INFINITY);
    Err(super::approximation::unreachable("|x|", -bound, bound, max_error, best))
}

/// Compares two values slot by slot.
#[derive(Clone, Debug)]
pub struct Comparison {
    step: Approximation,
}

impl Comparison {
    /// For values in `[-bound, bound]` that differ by `margin` or more.
    ///
    /// # Errors
    /// As [`Approximation::sign`].
    pub fn new(bound: f64, margin: f64, max_error: f64) -> Result<Self> {
        Ok(Self { step: Approximation::step(2.0 * bound, margin, max_error)? })
    }

    /// The step function that the difference goes through: degrees, depth, margin and error.
    pub fn step(&self) -> &Approximation {
        &self.step
    }

    /// 1 where `a > b`, 0 where `a < b`, 1/2 where they are equal.
    ///
    /// # Level and scale
    /// The level of the operands, which is one, less the step's depth.
    /// # Errors
    /// As [`Approximation::evaluate`] and [`Evaluator::sub`].
    pub fn greater<E: Evaluator>(&self, eval: &E, a: &E::Value, b: &E::Value) -> Result<E::Value> {
        self.step.evaluate(eval, &eval.sub(a, b)?)
    }
}

/// The larger or the smaller of two values, slot by slot: `(a + b) / 2 +- |a - b| / 2`.
#[derive(Clone, Debug)]
pub struct Extremum {
    bound: f64,
    error: f64,
    /// Half the sign of the difference.
    half_sign: Vec<Polynomial>,
    depth: u32,
}

impl Extremum {
    /// For values in `[-bound, bound]`, close ones and equal ones included.
    ///
    /// # Errors
    /// As [`Approximation::sign`].
    pub fn new(bound: f64, max_error: f64) -> Result<Self> {
        let (half_sign, error) = gate(2.0 * bound, max_error, 0.5, 0.0)?;
        let mut out = Self { bound, error, half_sign, depth: 0 };
        let plan = Plan::new(1);
        out.max(&plan, &plan.input(1), &plan.input(1))?;
        out.depth = plan.report().depth;
        Ok(out)
    }

    /// Largest size of the values.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Degrees of the polynomials of the sign.
    pub fn degrees(&self) -> Vec<usize> {
        self.half_sign.iter().map(Polynomial::degree).collect()
    }

    /// Levels that an evaluation takes.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Largest error, measured as for [`Approximation`].
    pub fn error(&self) -> f64 {
        self.error
    }

    /// The larger of the two.
    ///
    /// # Level and scale
    /// The level of the operands, which is one, less [`Self::depth`]: the mean joins the last product.
    /// # Errors
    /// As [`Approximation::evaluate`] and [`Evaluator::sub`].
    pub fn max<E: Evaluator>(&self, eval: &E, a: &E::Value, b: &E::Value) -> Result<E::Value> {
        self.mean_and(eval, a, b, &eval.sub(a, b)?)
    }

    /// The smaller of the two.
    ///
    /// # Errors
    /// As [`Self::max`].
    pub fn min<E: Evaluator>(&self, eval: &E, a: &E::Value, b: &E::Value) -> Result<E::Value> {
        // The sign of a - b times b - a.
        self.mean_and(eval, a, b, &eval.sub(b, a)?)
    }

    /// `(a + b) / 2 + sign(a - b) factor / 2`.
    fn mean_and<E: Evaluator>(&self, eval: &E, a: &E::Value, b: &E::Value, factor: &E::Value) -> Result<E::Value> {
        let (needed, left) = (self.depth, eval.level(a).0);
        if needed > left {
            return Err(Error::LevelExhausted { op: "extremum", needed, left });
        }
        let half_sign = compose(&self.half_sign, eval, &eval.sub(a, b)?)?;
        let level = eval.level(&half_sign);
        let factor = eval.drop_to(factor, level)?;
        eval.dot(&[(&factor, &half_sign)], &[(a, 0.5), (b, 0.5)], Level(level.0.saturating_sub(1)))
    }
}

impl std::fmt::Display for Extremum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let degrees: Vec<String> = self.degrees().iter().map(ToString::to_string).collect();
        let (bound, depth, error) = (self.bound, self.depth, self.error);
        write!(
            f,
            "max and min on [{}, {bound}]: degrees {}, depth {depth}, error {error:.2e}",
            -bound,
            degrees.join(", ")
        )
    }
}
