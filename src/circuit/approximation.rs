//! Functions replaced by polynomials, to a stated error.

use super::iteration::{Iteration, Kind};
use super::polynomial::{Polynomial, check_interval};
use super::{Clear, Evaluator, Plan, PlanReport};
use crate::error::{Error, Result};
use crate::units::Level;
use num_complex::Complex64;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::fmt;

/// A circuit that computes a function on an interval to a stated error, and says what it takes.
///
/// [`Self::fit`] takes any function; the constructors name the common ones. Each chooses the least degree, the fewest steps or
/// the composition of least depth that meets the error asked for, and measures the error it reached: with the circuit itself
/// in the clear reading, on [`Self::SAMPLES`] points of the interval, dense at its ends; raised by one percent and by 46-bit
/// rounding for what lies between them. The noise of an encrypted evaluation comes on top.
///
/// # Example
/// ```
/// use ringlight::circuit::Approximation;
///
/// let sigmoid = Approximation::sigmoid(-8.0, 8.0, 2e-3)?;
/// println!("{sigmoid}");
/// assert_eq!((sigmoid.degrees(), sigmoid.depth()), (vec![15], 5)); // one level maps [-8, 8] to [-1, 1]
/// assert!(sigmoid.error() <= 2e-3);
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Approximation {
    name: String,
    low: f64,
    high: f64,
    margin: f64,
    error: f64,
    method: Method,
    plan: PlanReport,
}

/// An approximation as it travels. Its plan is made anew.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    interval: (f64, f64),
    margin: f64,
    error: f64,
    method: Method,
}

impl From<Approximation> for Stored {
    fn from(approximation: Approximation) -> Self {
        let Approximation { name, low, high, margin, error, method, .. } = approximation;
        Self { name, interval: (low, high), margin, error, method }
    }
}

impl TryFrom<Stored> for Approximation {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let (what, reason) = ("approximation", "outside what an approximation has");
        let fits = match &stored.method {
            Method::Polynomial(_) => true,
            Method::Iteration(iteration) => iteration.steps <= Self::MAX_STEPS,
            Method::Composition(factors) | Method::Gate(factors) => factors.len() as u64 <= u64::from(MEASURED.0),
        };
        let numbers = [stored.interval.0, stored.interval.1, stored.margin, stored.error];
        if !fits || numbers.iter().any(|x| !x.is_finite()) {
            return Err(Error::InvalidParameter { what, reason: reason.into() });
        }
        Self::new(&stored.name, stored.interval, stored.margin, stored.error, stored.method)
    }
}

/// How the value is computed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Method {
    /// One polynomial.
    Polynomial(Polynomial),
    /// Steps towards a fixed point.
    Iteration(Iteration),
    /// One polynomial after the other.
    Composition(Vec<Polynomial>),
    /// `x` times one polynomial after the other.
    Gate(Vec<Polynomial>),
}

/// `p_k(... p_1(x))`.
pub(super) fn compose<E: Evaluator>(polynomials: &[Polynomial], eval: &E, x: &E::Value) -> Result<E::Value> {
    let start = eval.drop_to(x, eval.level(x))?;
    polynomials.iter().try_fold(start, |value, p| p.evaluate(eval, &value))
}

impl Method {
    fn evaluate<E: Evaluator>(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        match self {
            Self::Polynomial(p) => p.evaluate(eval, x),
            Self::Iteration(iteration) => iteration.evaluate(eval, x),
            Self::Composition(factors) => compose(factors, eval, x),
            Self::Gate(factors) => {
                let gate = compose(factors, eval, x)?;
                eval.mul(&eval.drop_to(x, eval.level(&gate))?, &gate)
            }
        }
    }

    /// Largest difference to `exact` on the points, and the largest value there, in the clear reading.
    pub(super) fn measure(&self, exact: impl Fn(f64) -> f64, points: &[f64]) -> Result<(f64, f64)> {
        let clear = Clear::new(points.len(), MEASURED);
        let x = clear.value(&[points.iter().map(|&x| Complex64::from(x)).collect()], MEASURED)?;
        let y = self.evaluate(&clear, &x)?;
        let (mut worst, mut size) = (0f64, 0f64);
        for (&x, y) in points.iter().zip(y.vectors().iter().flatten()) {
            let difference = (y.re - exact(x)).abs();
            // A NaN must not look like a small error.
            worst = if difference.is_nan() { f64::INFINITY } else { worst.max(difference) };
            size = size.max(exact(x).abs());
        }
        Ok((worst, size))
    }
}

/// A chain longer than any method's depth.
const MEASURED: Level = Level(160);

/// What is stated for a measured error: points between the samples, and rounding.
pub(super) fn stated((measured, size): (f64, f64)) -> f64 {
    1.01 * measured + (-46f64).exp2() * size
}

/// Points `count` apart by equal angles, both ends among them: dense at the ends, as the extremes of polynomials are.
pub(super) fn samples(low: f64, high: f64, count: usize) -> Vec<f64> {
    let point = |k: usize| {
        let part = (PI * k as f64 / (2.0 * (count - 1) as f64)).sin().powi(2);
        (low + (high - low) * part).clamp(low, high)
    };
    (0..count).map(point).collect()
}

/// As [`samples`], the second half by equal ratios where the interval allows.
fn all_samples(low: f64, high: f64) -> Vec<f64> {
    let half = Approximation::SAMPLES / 2;
    if low <= 0.0 {
        return samples(low, high, Approximation::SAMPLES);
    }
    let ratio = |k: usize| (low * (high / low).powf(k as f64 / half as f64)).clamp(low, high);
    samples(low, high, half).into_iter().chain((0..half).map(ratio)).collect()
}

/// Refuses errors that are not positive and finite.
pub(super) fn check_error(max_error: f64) -> Result<()> {
    if max_error > 0.0 && max_error.is_finite() {
        return Ok(());
    }
    Err(Error::InvalidParameter { what: "max_error", reason: format!("{max_error} is not positive and finite") })
}

impl Approximation {
    /// Points on which the error is measured.
    pub const SAMPLES: usize = 1 << 15;
    /// Highest degree of a single polynomial.
    pub const MAX_DEGREE: usize = 1023;
    /// Most steps of an iteration.
    const MAX_STEPS: u32 = 45;

    /// The function `f` on `[low, high]`, by the Chebyshev interpolant of least degree with an error of at most `max_error`.
    ///
    /// The degree is found by bisection: no degree just below it meets the error.
    ///
    /// # Level and scale
    /// [`Polynomial::depth`] of the degree.
    /// # Errors
    /// [`Error::InvalidParameter`] for a bad interval or error, or a function that is not finite at some point of the interval;
    /// [`Error::Unreachable`] with the best error found when degree [`Self::MAX_DEGREE`] or 64-bit rounding is not enough.
    /// # Source
    /// Trefethen, Approximation Theory and Approximation Practice, chapters 3 and 4.
    pub fn fit(name: &str, f: impl Fn(f64) -> f64, low: f64, high: f64, max_error: f64) -> Result<Self> {
        check_interval(low, high)?;
        check_error(max_error)?;
        let mut best = f64::INFINITY;
        let mut tried = |degree: usize| -> Result<Option<Polynomial>> {
            let p = interpolate(name, &f, low, high, degree)?;
            let points = samples(low, high, 16 * (degree + 1) + 1);
            let mut worst = 0f64;
            for &x in &points {
                worst = worst.max((p.at(x) - finite(name, &f, x)?).abs());
            }
            best = best.min(worst);
            Ok((1.02 * worst <= max_error).then_some(p))
        };
        let mut found = None;
        for depth in 0..=Self::MAX_DEGREE.ilog2() + 1 {
            found = tried((1 << depth) - 1)?;
            if found.is_some() {
                break;
            }
        }
        let Some(mut p) = found else { return Err(unreachable(name, low, high, max_error, best)) };
        // Degrees `failed` and below fail, degree `p.degree()` is good enough; trailing zeros may have gone.
        let mut failed = (p.degree() + 1).next_power_of_two() / 2;
        failed = failed.saturating_sub(1);
        while failed + 1 < p.degree() {
            let middle = usize::midpoint(failed, p.degree());
            match tried(middle)? {
                Some(lower) => p = lower,
                None => failed = middle,
            }
        }
        // The error need not fall at every degree: one of the same parity may do.
        while p.degree() > 2 {
            let Some(lower) = tried(p.degree() - 2)? else { break };
            p = lower;
        }
        let method = Method::Polynomial(p);
        let error = stated(method.measure(&f, &all_samples(low, high))?);
        if error > max_error {
            return Err(unreachable(name, low, high, max_error, error));
        }
        Self::new(name, (low, high), 0.0, error, method)
    }

    /// An iteration with the fewest steps for the error, on `[low, high]` with `low > 0`.
    pub(super) fn iterate(
        name: &str,
        kind: Kind,
        exact: impl Fn(f64) -> f64,
        (low, high): (f64, f64),
        max_error: f64,
    ) -> Result<Self> {
        check_interval(low, high)?;
        check_error(max_error)?;
        if low <= 0.0 {
            let reason = format!("[{low}, {high}] reaches 0 or below, where the function has a pole");
            return Err(Error::InvalidParameter { what: "interval", reason });
        }
        let points = all_samples(low, high);
        let mut best = f64::INFINITY;
        for steps in 0..=Self::MAX_STEPS {
            let method = Method::Iteration(Iteration::new(kind, steps, low, high));
            let error = stated(method.measure(&exact, &points)?);
            if error <= max_error {
                return Self::new(name, (low, high), 0.0, error, method);
            }
            best = best.min(error);
        }
        Err(unreachable(name, low, high, max_error, best))
    }

    pub(super) fn new(name: &str, (low, high): (f64, f64), margin: f64, error: f64, method: Method) -> Result<Self> {
        let plan = Plan::new(1);
        method.evaluate(&plan, &plan.input(1))?;
        Ok(Self { name: name.into(), low, high, margin, error, method, plan: plan.report() })
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lowest and highest input that the error is stated for.
    pub fn interval(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The error is stated for `|x|` from here on; 0 but for functions with a jump.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// Largest difference to the function, see the type for how it was measured.
    pub fn error(&self) -> f64 {
        self.error
    }

    /// Degrees of the polynomials, which follow one after the other; none for an iteration.
    pub fn degrees(&self) -> Vec<usize> {
        match &self.method {
            Method::Polynomial(p) => vec![p.degree()],
            Method::Composition(factors) | Method::Gate(factors) => factors.iter().map(Polynomial::degree).collect(),
            Method::Iteration(_) => vec![],
        }
    }

    /// Steps of an iteration.
    pub fn steps(&self) -> Option<u32> {
        if let Method::Iteration(iteration) = &self.method { Some(iteration.steps) } else { None }
    }

    /// Levels that an evaluation takes.
    pub fn depth(&self) -> u32 {
        self.plan.depth
    }

    /// What an evaluation needs: depth, multiplications, relinearizations.
    pub fn plan(&self) -> &PlanReport {
        &self.plan
    }

    /// The function of every slot.
    ///
    /// # Level and scale
    /// The level of `x` less [`Self::depth`].
    /// # Errors
    /// [`Error::LevelExhausted`]; keys as [`Evaluator::mul`].
    pub fn evaluate<E: Evaluator>(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        let (needed, left) = (self.depth(), eval.level(x).0);
        if needed > left {
            return Err(Error::LevelExhausted { op: "approximation", needed, left });
        }
        self.method.evaluate(eval, x)
    }
}

impl fmt::Display for Approximation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on [{}, {}]", self.name, self.low, self.high)?;
        if self.margin > 0.0 {
            write!(f, ", |x| >= {:.3e}", self.margin)?;
        }
        let degrees: Vec<String> = self.degrees().iter().map(ToString::to_string).collect();
        match &self.method {
            Method::Polynomial(_) => write!(f, ": degree {}", degrees.join(", "))?,
            Method::Iteration(iteration) => {
                let by = if iteration.kind == Kind::Goldschmidt { "Goldschmidt" } else { "Newton" };
                write!(f, ": {by}, {} steps", iteration.steps)?;
            }
            Method::Composition(_) | Method::Gate(_) => write!(f, ": degrees {}", degrees.join(", "))?,
        }
        let report = &self.plan;
        write!(f, ", depth {}, {} relinearizations, error {:.2e}", report.depth, report.relinearizations, self.error)
    }
}

pub(super) fn unreachable(name: &str, low: f64, high: f64, wanted: f64, best: f64) -> Error {
    let reason = "64-bit rounding, or the highest degree; ask for less, or shorten the interval";
    Error::Unreachable { function: format!("{name} on [{low}, {high}]"), wanted, best, reason }
}

fn finite(name: &str, f: impl Fn(f64) -> f64, x: f64) -> Result<f64> {
    let y = f(x);
    if y.is_finite() {
        return Ok(y);
    }
    Err(Error::InvalidParameter { what: "function", reason: format!("{name}({x}) is {y}") })
}

/// The polynomial that agrees with `f` at the `degree + 1` Chebyshev points of the interval.
pub(crate) fn interpolate(
    name: &str,
    f: impl Fn(f64) -> f64,
    low: f64,
    high: f64,
    degree: usize,
) -> Result<Polynomial> {
    let count = degree + 1;
    // As sines of angles that come in pairs of either sign: the nodes then are symmetric to the last bit, and so are the values of an even or
    // odd function, so that the coefficients it should not have are rounding alone, however steep the function.
    let angle = |k: usize| PI * (count as f64 - k.min(4 * count - k) as f64) / (2 * count) as f64;
    let cosines: Vec<f64> = (0..4 * count).map(|k| angle(k).sin()).collect();
    let x = |k: usize| (low + high) / 2.0 + (high - low) / 2.0 * cosines[2 * k + 1];
    let values = (0..count).map(|k| finite(name, &f, x(k))).collect::<Result<Vec<_>>>()?;
    let coefficient = |j: usize| {
        let sum: f64 = values.iter().enumerate().map(|(k, y)| y * cosines[j * (2 * k + 1) % (4 * count)]).sum();
        sum * if j == 0 { 1.0 } else { 2.0 } / count as f64
    };
    let mut coefficients: Vec<f64> = (0..count).map(coefficient).collect();
    // What is zero but for rounding, as every second one of an odd or even function, becomes exactly so and costs nothing.
    let largest = coefficients.iter().fold(0f64, |max, c| max.max(c.abs()));
    coefficients.iter_mut().filter(|c| c.abs() <= (-50f64).exp2() * largest).for_each(|c| *c = 0.0);
    Polynomial::chebyshev(coefficients, low, high)
}
