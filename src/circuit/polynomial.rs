//! Polynomials of encrypted values.

use super::schedule::{Schedule, depth_of, trim};
use super::{Evaluator, Plan, PlanReport};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the coefficients multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    /// `1, x, x^2, ...`
    Power,
    /// `T_0(u), T_1(u), ...` with `u` in [-1, 1] for `x` in the polynomial's interval. Well conditioned at any degree.
    Chebyshev,
}

/// A polynomial with real coefficients.
///
/// # Level and scale
/// An evaluation takes exactly [`Self::depth`] levels, whatever the coefficients: `ceil(log2(degree + 1))`, the least possible,
/// and one more for the map from an interval to [-1, 1] unless that is a translation or the degree is below 2.
/// # Cost
/// About `2 sqrt(degree)` relinearizations, half for odd and even polynomials: coefficients that are exactly zero cost nothing. See
/// [`Self::plan`].
/// # Source
/// Paterson and Stockmeyer, SIAM J. Comput. 2(1), 1973; Bossuat et al., ePrint 2020/1203, section 4.
/// # Example
/// ```
/// use num_complex::Complex64;
/// use ringlight::{circuit::{Clear, Evaluator, Polynomial}, units::Level};
///
/// let p = Polynomial::power(vec![1.0, 0.0, -2.0, 0.5])?; // 1 - 2x^2 + x^3/2
/// assert_eq!((p.degree(), p.depth(), p.at(2.0)), (3, 2, -3.0));
/// assert_eq!(p.plan()?.relinearizations, 2);
/// let clear = Clear::new(1, Level(5));
/// let x = clear.value(&[vec![Complex64::from(2.0)]], Level(5))?;
/// let y = p.evaluate(&clear, &x)?;
/// assert_eq!((y.vectors()[0][0].re, clear.level(&y)), (-3.0, Level(3)));
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Polynomial {
    basis: Basis,
    /// At least one, the last not zero unless it is the only one.
    coefficients: Vec<f64>,
    /// `u = factor x + shift`.
    factor: f64,
    shift: f64,
}

/// A polynomial as it travels, before it is checked.
#[derive(Deserialize)]
struct Stored {
    basis: Basis,
    coefficients: Vec<f64>,
    factor: f64,
    shift: f64,
}

impl TryFrom<Stored> for Polynomial {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        if !(stored.factor.is_finite() && stored.shift.is_finite()) {
            return Err(Error::InvalidParameter { what: "interval", reason: "not finite".into() });
        }
        Self::new(stored.basis, stored.coefficients, stored.factor, stored.shift)
    }
}

impl Polynomial {
    /// Highest degree taken.
    pub const MAX_DEGREE: usize = 4095;

    /// `sum_i c_i x^i`.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a coefficient that is not finite, [`Error::InvalidParameter`] for none or a degree above
    /// [`Self::MAX_DEGREE`].
    pub fn power(coefficients: Vec<f64>) -> Result<Self> {
        Self::new(Basis::Power, coefficients, 1.0, 0.0)
    }

    /// `sum_i c_i T_i(u)` with `u = (2x - low - high) / (high - low)`, which is `x` itself for the interval [-1, 1].
    ///
    /// # Errors
    /// As [`Self::power`]; [`Error::InvalidParameter`] unless `low < high`, both finite.
    pub fn chebyshev(coefficients: Vec<f64>, low: f64, high: f64) -> Result<Self> {
        check_interval(low, high)?;
        let (factor, shift) = (2.0 / (high - low), -(low + high) / (high - low));
        Self::new(Basis::Chebyshev, coefficients, factor, shift)
    }

    fn new(basis: Basis, mut coefficients: Vec<f64>, factor: f64, shift: f64) -> Result<Self> {
        if let Some(index) = coefficients.iter().position(|c| !c.is_finite()) {
            return Err(Error::BadValue { index, reason: "not a finite number" });
        }
        if coefficients.is_empty() {
            return Err(Error::InvalidParameter { what: "coefficients", reason: "none".into() });
        }
        trim(&mut coefficients);
        if coefficients.len() - 1 > Self::MAX_DEGREE {
            let reason = format!("{}; at most {} is taken", coefficients.len() - 1, Self::MAX_DEGREE);
            return Err(Error::InvalidParameter { what: "degree", reason });
        }
        Ok(Self { basis, coefficients, factor, shift })
    }

    /// What the coefficients multiply.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// The coefficients, lowest first, without zeros at the end.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The degree; 0 for a constant, zero included.
    pub fn degree(&self) -> usize {
        self.coefficients.len() - 1
    }

    /// Levels that an evaluation takes.
    pub fn depth(&self) -> u32 {
        let map = u32::from(self.degree() > 1 && self.factor.to_bits() != 1f64.to_bits());
        map + depth_of(self.degree() + 1)
    }

    /// What an evaluation needs: depth, multiplications, relinearizations.
    ///
    /// # Errors
    /// None in practice: nothing can run out in a plan.
    pub fn plan(&self) -> Result<PlanReport> {
        let plan = Plan::new(1);
        self.evaluate(&plan, &plan.input(1))?;
        Ok(plan.report())
    }

    /// The value at `x`, by Horner's rule or Clenshaw's.
    pub fn at(&self, x: f64) -> f64 {
        let u = self.factor * x + self.shift;
        match self.basis {
            Basis::Power => self.coefficients.iter().rev().fold(0.0, |sum, c| sum * u + c),
            Basis::Chebyshev => {
                let step = |(next, after): (f64, f64), c: &f64| (c + 2.0 * u * next - after, next);
                let (first, second) = self.coefficients[1..].iter().rev().fold((0.0, 0.0), step);
                self.coefficients[0] + u * first - second
            }
        }
    }

    /// The polynomial of every slot.
    ///
    /// # Level and scale
    /// The level of `x` less [`Self::depth`].
    /// # Errors
    /// [`Error::LevelExhausted`]; [`Error::BadValue`] for coefficients too large for the modulus; keys as [`Evaluator::mul`].
    pub fn evaluate<E: Evaluator>(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        Self::evaluate_many(&[self], eval, x).map(|mut values| values.remove(0))
    }

    /// Several polynomials of one value, which share its powers.
    ///
    /// # Level and scale
    /// Each result stands at the level of `x` less its polynomial's depth.
    /// # Errors
    /// As [`Self::evaluate`]; [`Error::InvalidParameter`] unless all have one basis and one interval.
    pub fn evaluate_many<E: Evaluator>(polynomials: &[&Self], eval: &E, x: &E::Value) -> Result<Vec<E::Value>> {
        let Some(first) = polynomials.first() else { return Ok(vec![]) };
        let variable = |p: &Self| (p.basis, p.factor.to_bits(), p.shift.to_bits());
        if polynomials.iter().any(|p| variable(p) != variable(first)) {
            let reason = "polynomials that share powers have one basis and one interval".into();
            return Err(Error::InvalidParameter { what: "polynomials", reason });
        }
        let (needed, left) = (polynomials.iter().map(|p| p.depth()).max().unwrap_or(0), eval.level(x).0);
        if needed > left {
            return Err(Error::LevelExhausted { op: "polynomial", needed, left });
        }
        let curved: Vec<_> = polynomials.iter().filter(|p| p.degree() > 1).map(|p| &p.coefficients[..]).collect();
        let mut curved = if curved.is_empty() {
            vec![].into_iter()
        } else {
            Schedule::new(first.basis, &curved).run(eval, &first.variable(eval, x)?)?.into_iter()
        };
        let rest = polynomials.iter().map(|p| match p.coefficients[..] {
            [constant] => eval.add_scalar(&eval.sub(x, x)?, constant),
            [constant, slope] => p.line(eval, x, slope, constant),
            _ => Ok(curved.next().expect("one value for every polynomial of degree 2 or more")),
        });
        rest.collect()
    }

    /// `u`, at the level of `x` or one below.
    fn variable<E: Evaluator>(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        if self.factor.to_bits() != 1f64.to_bits() {
            self.line(eval, x, 1.0, 0.0)
        } else if self.shift == 0.0 {
            eval.drop_to(x, eval.level(x))
        } else {
            eval.add_scalar(x, self.shift)
        }
    }

    /// `slope u + constant`, one level below `x`.
    fn line<E: Evaluator>(&self, eval: &E, x: &E::Value, slope: f64, constant: f64) -> Result<E::Value> {
        let out = eval.mul_scalar(x, slope * self.factor)?;
        eval.add_scalar(&out, constant + slope * self.shift)
    }
}

/// Refuses bounds that are not finite or not in order, and widths that are not finite.
pub(super) fn check_interval(low: f64, high: f64) -> Result<()> {
    if low < high && (high - low).is_finite() && (2.0 / (high - low)).is_finite() {
        return Ok(());
    }
    Err(Error::InvalidParameter { what: "interval", reason: format!("[{low}, {high}] is not a finite range") })
}
