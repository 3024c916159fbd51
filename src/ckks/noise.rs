//! The reading of circuits that predicts noise: no keys, no device, no ciphertext.
//!
//! A decryption is the message plus an error polynomial. For every vector of a value the reading carries the variance of that
//! polynomial's coefficients, as ciphertexts of random messages have it, and a bound on their deviation that holds for every
//! message within its magnitude and however the operands' errors depend on each other.
//!
//! *Conventions.* `N` is the ring dimension, `s` a scale, `v` the variance of an error coefficient in units of one. An error has a mean
//! square of `N v / s^2` in the slots (Parseval for the embedding), half of it in each of the real and the imaginary part. `m` is the
//! message, whose root mean square over the slots is `rms`. Secrets are uniform ternary: `2/3` a coefficient. `sigma = 3.2`.
//!
//! # Source
//! The variance (average-case) analysis of CKKS: Costache, Curtis, Hales, Murphy, Ogilvie, Player, ePrint 2022/162, sections 3 and 4;
//! key switching by digits: Han and Ki, ePrint 2019/688. Every formula stands at the method that uses it, and
//! `tests/noise_prediction.rs` holds it against decryptions on both sides.

use super::chain::level_modulus;
use super::encoder::Encoder;
use super::parameters::Parameters;
use crate::circuit::{self, LinearTransform, Plan, PlanTransform, PlanValue, PlanWeights, SparseMatrix};
use crate::error::{Error, Result};
use crate::math::{Csprng, rows};
use crate::units::{GaloisElement, Level};
use num_complex::Complex64;
use std::sync::Arc;

/// Variance of rounding to the nearest integer.
const ROUNDING: f64 = 1.0 / 12.0;
/// Relative rounding of one 64-bit float operation, as a transform leaves it in its results.
const FLOAT: f64 = f64::EPSILON;
/// No slot of an error is this many deviations from zero, but with a probability below `2^-50`.
const TAIL: f64 = 6.0;

/// How large the entries of a message are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Magnitude {
    /// Root of the mean of `|z|^2` over the slots, as it is typical.
    pub rms: f64,
    /// Largest `|z|` possible.
    pub bound: f64,
}

impl Magnitude {
    const ZERO: Self = Self { rms: 0.0, bound: 0.0 };

    /// Of entries that may be anything up to a bound, and are spread over it like `typical_rms`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `0 <= rms <= bound`, both finite.
    pub fn new(rms: f64, bound: f64) -> Result<Self> {
        if (0.0..=f64::MAX).contains(&bound) && (0.0..=bound).contains(&rms) {
            return Ok(Self { rms, bound });
        }
        let reason = format!("{rms} and {bound}; wanted are finite numbers with 0 <= rms <= bound");
        Err(Error::InvalidParameter { what: "magnitude", reason })
    }

    /// Of one vector, missing slots being zero.
    fn of(vector: &[Complex64], slots: usize) -> Self {
        let power: f64 = vector.iter().map(Complex64::norm_sqr).sum();
        Self { rms: (power / slots.max(1) as f64).sqrt(), bound: vector.iter().fold(0.0, |max, z| z.norm().max(max)) }
    }

    /// Of a sum of unrelated messages.
    fn plus(self, other: Self) -> Self {
        Self { rms: self.rms.hypot(other.rms), bound: self.bound + other.bound }
    }

    /// Of a product of unrelated messages.
    fn times(self, other: Self) -> Self {
        Self { rms: self.rms * other.rms, bound: self.bound * other.bound }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { rms: self.rms * factor.abs(), bound: self.bound * factor.abs() }
    }
}

/// The key that a fresh ciphertext was encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// The secret key.
    SecretKey,
    /// A public key.
    PublicKey,
}

/// Error and message of one vector.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    /// Variance of an error coefficient.
    variance: f64,
    /// Bound on its standard deviation.
    worst: f64,
    message: Magnitude,
}

impl Estimate {
    /// Exactly zero.
    const ZERO: Self = Self { variance: 0.0, worst: 0.0, message: Magnitude::ZERO };

    /// With an error that is independent of everything so far.
    fn with_noise(self, variance: f64) -> Self {
        Self { variance: self.variance + variance, worst: self.worst.hypot(variance.sqrt()), ..self }
    }

    /// Error and message times `factor`.
    fn scaled(self, factor: f64) -> Self {
        Self {
            variance: self.variance * factor * factor,
            worst: self.worst * factor.abs(),
            message: self.message.scaled(factor),
        }
    }

    /// The error alone times `factor`.
    fn noise_scaled(self, factor: f64) -> Self {
        Self { message: self.message, ..self.scaled(factor) }
    }

    /// `a + b`: variances add where errors are unrelated, deviations in the worst case.
    fn plus(self, other: Self) -> Self {
        Self {
            variance: self.variance + other.variance,
            worst: self.worst + other.worst,
            message: self.message.plus(other.message),
        }
    }
}

/// Predicted noise of a batch of vectors at a level, at that level's scale.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseValue {
    at: PlanValue,
    level: Level,
    scale: f64,
    degree: f64,
    vectors: Vec<Estimate>,
    source: Source,
}

/// What a value is a multiple of, and the multiple: values of one source have one error, however they were copied or added up.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    of: Arc<()>,
    multiple: f64,
}

impl Source {
    fn new() -> Self {
        Self { of: Arc::default(), multiple: 1.0 }
    }
}

impl NoiseValue {
    fn has_source_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source.of, &other.source.of)
    }

    /// Rescalings left.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Factor on the slot values.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Standard deviation of an error coefficient, in units of one, for the noisiest vector of the batch.
    pub fn coefficient_deviation(&self) -> f64 {
        self.largest(|v| v.variance.sqrt())
    }

    /// Bound on that deviation, for every message within the magnitudes and whatever depends on whatever.
    pub fn worst_deviation(&self) -> f64 {
        self.largest(|v| v.worst)
    }

    /// Standard deviation of the real part of a slot's error, and of the imaginary part: `sqrt(N / 2) / scale` times
    /// [`Self::coefficient_deviation`].
    pub fn slot_deviation(&self) -> f64 {
        self.coefficient_deviation() * (self.degree / 2.0).sqrt() / self.scale
    }

    /// The precision to expect in the mean, `-log2` of the mean error of a part: `sqrt(2 / pi)` of its deviation.
    pub fn mean_bits(&self) -> f64 {
        -(self.slot_deviation() * std::f64::consts::FRAC_2_PI.sqrt()).log2()
    }

    /// The precision to expect of the worst slot: the largest of `N` parts is near `sqrt(2 ln N)` deviations.
    pub fn min_bits(&self) -> f64 {
        -(self.slot_deviation() * (2.0 * self.degree.ln()).sqrt()).log2()
    }

    /// A bound on the root mean square error of the slots, for [`Self::sharing_bound`]: from [`Self::worst_deviation`] with twice the
    /// deviation, the margin that the prediction is tested to.
    pub fn error_bound(&self) -> f64 {
        2.0 * self.worst_deviation() * self.degree.sqrt() / self.scale
    }

    /// Magnitude of the message: the largest of the batch.
    pub fn message(&self) -> Magnitude {
        Magnitude { rms: self.largest(|v| v.message.rms), bound: self.largest(|v| v.message.bound) }
    }

    fn largest(&self, f: impl Fn(&Estimate) -> f64) -> f64 {
        self.vectors.iter().map(f).fold(0.0, f64::max)
    }
}

impl std::fmt::Display for NoiseValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "level {}, message up to {:.3}, predicted error 2^{:.1} a slot: {:.1} bits on average, {:.1} at worst",
            self.level.0,
            self.message().bound,
            self.slot_deviation().log2(),
            self.mean_bits(),
            self.min_bits(),
        )
    }
}

/// Known vectors as the prediction sees them: how large they are, and what their rounding did.
#[derive(Clone, Debug, PartialEq)]
pub struct NoisePlain {
    at: PlanValue,
    vectors: Vec<PlainEstimate>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct PlainEstimate {
    /// Mean square of the rounding errors of the coefficients.
    rounding: f64,
    message: Magnitude,
}

/// A known matrix as the prediction sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseWeights {
    at: PlanWeights,
    scale: f64,
    level: Level,
    matrix: SparseMatrix,
}

/// A linear map as the prediction sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseTransform {
    at: PlanTransform,
    level: Level,
    /// Factor on the diagonals.
    scale: f64,
    /// The diagonals of each giant step, with whether a rotation brings their operand; and whether a rotation follows.
    groups: Vec<(Vec<(PlainEstimate, bool)>, bool)>,
}

/// Predicts the noise of a circuit for one parameter set.
///
/// # Noise
/// Values that are multiples of one value (`a + a`, `-a`, a copy) are known to be: `a (a + a)` counts as a square. All else is taken
/// as unrelated. Where messages cancel, as in `T_2k = 2 T_k^2 - 1`, which the prediction takes for as large as both together,
/// it is too large: 200 times for a dense Chebyshev polynomial of degree 15, which is eight bits too pessimistic, and more with
/// the degree. There it is an upper estimate only. Polynomials in powers are predicted as single operations are.
///
/// # Example
/// ```
/// use ringlight::circuit::Evaluator;
/// use ringlight::ckks::{Encryption, Magnitude, NoiseEstimator, Parameters};
///
/// let parameters = Parameters::n14()?;
/// let noise = NoiseEstimator::new(&parameters);
/// let x = noise.fresh(Encryption::PublicKey, 1, parameters.max_level(), Magnitude::new(0.6, 1.0)?)?;
/// let y = noise.square(&x)?;
/// assert!(y.mean_bits() < x.mean_bits() && y.mean_bits() > 8.0);
/// println!("{y}");
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Debug)]
pub struct NoiseEstimator {
    parameters: Parameters,
    encoder: Encoder,
    plan: Plan,
    degree: f64,
}

impl NoiseEstimator {
    /// The reading for a parameter set.
    pub fn new(parameters: &Parameters) -> Self {
        Self {
            encoder: Encoder::new(parameters),
            plan: Plan::new(parameters.slots()),
            degree: parameters.log_n().degree() as f64,
            parameters: parameters.clone(),
        }
    }

    /// A fresh encryption of a batch of messages.
    ///
    /// # Noise
    /// `sigma^2` with the secret key: `(-a s + e + m, a)`. With a public key `e u + e0 + e1 s`, two products of `N` terms with
    /// variance `2/3`: `sigma^2 (4 N / 3 + 1)`. The encoding's rounding adds `1/12`, and 64-bit floats `(2^-52 s rms)^2 / N`.
    /// # Errors
    /// [`Error::LevelTooHigh`]; [`Error::ShapeMismatch`] for an empty batch.
    /// # Source
    /// ePrint 2022/162, section 4 (fresh ciphertexts).
    pub fn fresh(&self, key: Encryption, batch: usize, level: Level, message: Magnitude) -> Result<NoiseValue> {
        let sigma = Csprng::SIGMA * Csprng::SIGMA;
        let encryption = match key {
            Encryption::SecretKey => sigma,
            Encryption::PublicKey => sigma * (4.0 * self.degree / 3.0 + 1.0),
        };
        let encoding = ROUNDING + self.float_noise(message.rms * self.parameters.scale_at(level)?);
        self.with_noise(batch, level, message, (encryption + encoding).sqrt())
    }

    /// A batch with an error of a known deviation a coefficient, in units of one: for results of other circuits.
    ///
    /// # Errors
    /// As [`Self::fresh`]; [`Error::InvalidParameter`] for a deviation that is negative or not finite.
    pub fn with_noise(&self, batch: usize, level: Level, message: Magnitude, deviation: f64) -> Result<NoiseValue> {
        self.parameters.scale_at(level)?;
        if batch == 0 {
            let (expected, got) = ("at least one vector".into(), "none".into());
            return Err(Error::ShapeMismatch { op: "NoiseEstimator", expected, got });
        }
        if !(0.0..=f64::MAX).contains(&deviation) {
            let reason = format!("{deviation} is not a finite number from zero");
            return Err(Error::InvalidParameter { what: "deviation", reason });
        }
        let at = circuit::Evaluator::drop_to(&self.plan, &self.plan.input(batch), level)?;
        self.value(at, vec![Estimate { variance: deviation * deviation, worst: deviation, message }; batch])
    }

    /// The value of a step that the plan has checked.
    fn value(&self, at: PlanValue, vectors: Vec<Estimate>) -> Result<NoiseValue> {
        let level = circuit::Evaluator::level(&self.plan, &at);
        Ok(NoiseValue {
            at,
            level,
            scale: self.parameters.scale_at(level)?,
            degree: self.degree,
            vectors,
            source: Source::new(),
        })
    }

    /// `factor a`, at the same scale and without noise of its own.
    fn multiple(&self, a: &NoiseValue, at: PlanValue, factor: f64) -> Result<NoiseValue> {
        let value = self.value(at, a.vectors.iter().map(|v| v.scaled(factor)).collect())?;
        // Zero is a multiple of everything.
        let source = Source { multiple: a.source.multiple * factor, ..a.source.clone() };
        Ok(if factor == 0.0 { value } else { NoiseValue { source, ..value } })
    }

    /// `a + sign b`.
    fn sum(&self, a: &NoiseValue, b: &NoiseValue, at: PlanValue, sign: f64) -> Result<NoiseValue> {
        if a.has_source_of(b) {
            return self.multiple(a, at, 1.0 + sign * b.source.multiple / a.source.multiple);
        }
        self.value(at, zip(a, &b.vectors).map(|(x, y)| x.plus(y)).collect())
    }

    /// Rounding of 64-bit floats in an embedding whose results have this root mean square in the slots.
    fn float_noise(&self, scaled_rms: f64) -> f64 {
        (FLOAT * scaled_rms).powi(2) / self.degree
    }

    /// Dividing a pair and rounding: `r0 + r1 s` with `r0`, `r1` uniform in `[-1/2, 1/2]` and `2 N / 3` terms in the product.
    ///
    /// # Source
    /// ePrint 2022/162, section 4 (rescaling).
    fn rounding(&self) -> f64 {
        ROUNDING * (1.0 + 2.0 * self.degree / 3.0)
    }

    /// `sum_d digit_d e_d / P`, before the division's rounding: a centred digit modulo `D_d` has variance `D_d^2 / 12` a
    /// coefficient and meets `N` errors of the key, `N sigma^2 / 12 sum_d (D_d / P)^2`.
    ///
    /// # Source
    /// Hybrid key switching, ePrint 2019/688, section 3.
    fn switching(&self, level: Level) -> Result<f64> {
        let moduli = self.parameters.moduli();
        let rlwe = self.parameters.rlwe();
        let bits = |list: &[u32]| list.iter().map(|&q| f64::from(q).log2()).sum::<f64>();
        let special = bits(&moduli[rlwe.chain().0 as usize..]);
        let digits = rlwe.digits(self.parameters.limbs_at(level)?);
        let ratio =
            |first: u32, limbs: u32| (2.0 * (bits(&moduli[first as usize..(first + limbs) as usize]) - special)).exp2();
        let sum: f64 = digits.iter().map(|d| ratio(d.first, d.limbs)).sum();
        Ok(self.degree * Csprng::SIGMA * Csprng::SIGMA / 12.0 * sum)
    }

    /// The deviation of the real part of a slot that a division's rounding makes at a scale.
    pub(crate) fn rounding_deviation(&self, scale: f64) -> f64 {
        (self.rounding() * self.degree / 2.0).sqrt() / scale
    }

    /// `a` times the integer next to `x scale`, for a result that counts as `x a`, in units of `scale` times the level's: the
    /// integer's own rounding `d` is a relative error, `d^2 s^2 rms^2 / N`.
    fn times_scalar(&self, a: &NoiseValue, estimate: Estimate, x: f64, scale: f64) -> Result<Estimate> {
        let integer = self.encoder.scalar(x, scale, a.level)? as f64;
        let off = integer - x * scale;
        let noise = (off * a.scale).powi(2) / self.degree;
        let power = estimate.message.rms.powi(2);
        Ok(Estimate {
            variance: estimate.variance * integer * integer + noise * power,
            worst: estimate.worst * integer.abs() + noise.sqrt() * estimate.message.bound,
            message: estimate.message.scaled(x),
        })
    }

    /// `x a` by the integer next to `x scale`, down to `level`. A multiple of all that is dropped leaves nothing to round.
    fn scalar_product(&self, a: &NoiseValue, at: PlanValue, x: f64, scale: f64, level: Level) -> Result<NoiseValue> {
        let primes = self.parameters.primes_at(Level(level.0 + 1))?;
        let integer = self.encoder.scalar(x, scale, a.level)?;
        let exact = primes.iter().all(|&q| integer % i128::from(q) == 0);
        let q = level_modulus(&primes);
        let product = |v: &Estimate| {
            let product = self.times_scalar(a, *v, x, scale)?;
            Ok(if exact { product.noise_scaled(q.recip()) } else { self.rescaled(product, q) })
        };
        self.value(at, a.vectors.iter().map(product).collect::<Result<_>>()?)
    }

    /// Divided by `q` and rounded. A value that is exactly zero stays so.
    fn rescaled(&self, sum: Estimate, q: f64) -> Estimate {
        if sum.variance == 0.0 && sum.message.bound == 0.0 {
            return sum;
        }
        sum.noise_scaled(q.recip()).with_noise(self.rounding())
    }

    /// Products, relinearized and rescaled in one; `same` for factors of one source.
    fn product(
        &self,
        a: &NoiseValue,
        pairs: Vec<(Estimate, Estimate)>,
        at: PlanValue,
        same: bool,
    ) -> Result<NoiseValue> {
        let (q, switching) = (self.parameters.dropped_at(a.level)?, self.switching(a.level)?);
        let sums = pairs.into_iter().map(|(x, y)| self.unrescaled(a.scale * a.scale, x, y, same));
        self.value(at, sums.map(|sum| self.rescaled(sum.with_noise(switching), q)).collect())
    }

    /// A product of two ciphertexts whose scales multiply to `scale`, before relinearization and rescaling.
    fn unrescaled(&self, scale: f64, x: Estimate, y: Estimate, same: bool) -> Estimate {
        let (mx, my, s) = (x.message, y.message, scale.sqrt());
        // Errors of a square meet the message twice, and each other: 2 e m + e^2.
        let twice = if same { 2.0 } else { 1.0 };
        let crossed = x.variance * (s * my.rms).powi(2) + y.variance * (s * mx.rms).powi(2);
        let message = mx.times(my);
        // The mean |z|^4 is 1 to 1.8 (mean |z|^2)^2, from constant moduli to uniform real numbers.
        let rms = if same { (1.5f64.sqrt() * message.rms).min(mx.bound * mx.rms) } else { message.rms };
        let worst = s * (x.worst * my.bound + y.worst * mx.bound) + TAIL * self.degree.sqrt() * x.worst * y.worst;
        Estimate {
            variance: twice * (crossed + self.degree * x.variance * y.variance),
            worst,
            message: Magnitude { rms, ..message },
        }
    }

    /// A ciphertext at scale `scale` times a plaintext at scale `factor`, before rescaling:
    /// `v (factor rms_p)^2 + r (scale rms)^2 + N v r` with the plaintext's rounding `r`.
    fn times_plain(&self, (x, scale): (Estimate, f64), (p, factor): (PlainEstimate, f64)) -> Estimate {
        let rounded = p.rounding.sqrt() * scale;
        Estimate {
            variance: x.variance * (factor * p.message.rms).powi(2)
                + (rounded * x.message.rms).powi(2)
                + self.degree * x.variance * p.rounding,
            worst: x.worst * factor * p.message.bound
                + rounded * x.message.bound
                + TAIL * (self.degree * p.rounding).sqrt() * x.worst,
            message: x.message.times(p.message),
        }
    }

    /// How large an encoded vector is, and the mean square of its rounding.
    fn encoded(&self, vector: &[Complex64], scale: f64) -> PlainEstimate {
        let exact = self.parameters.embedding().to_coefficients(vector);
        let mut rounded = exact.clone();
        rows::round_scaled(&mut rounded, scale);
        let off: f64 = exact.iter().zip(&rounded).map(|(c, r)| (c * scale - r).powi(2)).sum();
        let message = Magnitude::of(vector, self.parameters.slots());
        PlainEstimate { rounding: off / self.degree + self.float_noise(message.rms * scale), message }
    }

    /// Every vector of `a` with the noise of one key switch.
    fn switched(&self, a: &NoiseValue, at: PlanValue) -> Result<NoiseValue> {
        let noise = self.switching(a.level)? + self.rounding();
        self.value(at, a.vectors.iter().map(|v| v.with_noise(noise)).collect())
    }

    fn is_identity(&self, steps: i32) -> bool {
        GaloisElement::from_steps(steps, self.parameters.log_n()) == GaloisElement::IDENTITY
    }
}

/// Every vector with its counterpart; a single one on the right repeats.
fn zip<'a, T: Copy>(a: &'a NoiseValue, b: &'a [T]) -> impl Iterator<Item = (Estimate, T)> + 'a {
    a.vectors.iter().copied().zip(b.iter().copied().cycle())
}

impl circuit::Evaluator for NoiseEstimator {
    type Value = NoiseValue;
    type Plain = NoisePlain;
    type Weights = NoiseWeights;
    type Transform = NoiseTransform;

    fn slots(&self) -> usize {
        self.parameters.slots()
    }

    fn level(&self, value: &NoiseValue) -> Level {
        value.level
    }

    fn batch(&self, value: &NoiseValue) -> usize {
        value.vectors.len()
    }

    /// Keeps how large the vectors are, and the mean square of their rounding, which is `1/12` for most and nothing for
    /// constants that are multiples of `1 / s`.
    fn encode(&self, vectors: &[Vec<Complex64>], level: Level) -> Result<NoisePlain> {
        let at = self.plan.encode(vectors, level)?;
        let scale = self.parameters.scale_at(level)?;
        let estimate = |vector: &Vec<Complex64>| self.encoded(vector, scale);
        Ok(NoisePlain { at, vectors: vectors.iter().map(estimate).collect() })
    }

    fn encode_sparse(&self, matrix: &SparseMatrix, level: Level) -> Result<NoiseWeights> {
        let at = self.plan.encode_sparse(matrix, level)?;
        Ok(NoiseWeights { at, scale: self.parameters.scale_at(level)?, level, matrix: matrix.clone() })
    }

    /// `v_a + v_b`; multiples of one value are added up, so that `a + a` has `4 v_a`.
    fn add(&self, a: &NoiseValue, b: &NoiseValue) -> Result<NoiseValue> {
        self.sum(a, b, self.plan.add(&a.at, &b.at)?, 1.0)
    }

    /// As `add`; nothing is left where both are one value.
    fn sub(&self, a: &NoiseValue, b: &NoiseValue) -> Result<NoiseValue> {
        self.sum(a, b, self.plan.sub(&a.at, &b.at)?, -1.0)
    }

    fn neg(&self, a: &NoiseValue) -> Result<NoiseValue> {
        self.multiple(a, self.plan.neg(&a.at)?, -1.0)
    }

    /// The plaintext's rounding joins.
    fn add_plain(&self, a: &NoiseValue, plain: &NoisePlain) -> Result<NoiseValue> {
        let at = self.plan.add_plain(&a.at, &plain.at)?;
        let sum = |(x, p): (Estimate, PlainEstimate)| Estimate {
            message: x.message.plus(p.message),
            ..x.with_noise(p.rounding)
        };
        self.value(at, zip(a, &plain.vectors).map(sum).collect())
    }

    fn add_scalar(&self, a: &NoiseValue, x: f64) -> Result<NoiseValue> {
        self.add_scalars(a, &vec![x; a.vectors.len()])
    }

    /// The scalar's rounding is one coefficient in `N`.
    fn add_scalars(&self, a: &NoiseValue, scalars: &[f64]) -> Result<NoiseValue> {
        let at = self.plan.add_scalars(&a.at, scalars)?;
        let sum = |(v, x): (Estimate, f64)| {
            let off = x * a.scale - (x * a.scale).round_ties_even();
            let constant = Magnitude { rms: x.abs(), bound: x.abs() };
            Estimate { message: v.message.plus(constant), ..v.with_noise(off * off / self.degree) }
        };
        self.value(at, zip(a, scalars).map(sum).collect())
    }

    /// `v (x s)^2 / q^2`, the scalar's rounding, and the division's.
    fn mul_scalar(&self, a: &NoiseValue, x: f64) -> Result<NoiseValue> {
        let at = self.plan.mul_scalar(&a.at, x)?;
        self.scalar_product(a, at, x, a.scale, Level(a.level.0 - 1))
    }

    /// The tensor product, the switch and one division: `(v_a (s rms_b)^2 + v_b (s rms_a)^2 + N v_a v_b + switch) / q^2`.
    ///
    /// # Source
    /// ePrint 2022/162, section 4 (multiplication); fused mod-down as in `ckks::Evaluator::mul`.
    fn mul(&self, a: &NoiseValue, b: &NoiseValue) -> Result<NoiseValue> {
        let at = self.plan.mul(&a.at, &b.at)?;
        self.product(a, zip(a, &b.vectors).collect(), at, a.has_source_of(b))
    }

    /// `4 v (s rms)^2 + 2 N v^2` in the place of the product's first terms.
    fn square(&self, a: &NoiseValue) -> Result<NoiseValue> {
        let at = self.plan.square(&a.at)?;
        self.product(a, zip(a, &a.vectors).collect(), at, true)
    }

    /// `sum_i v_i (s rms_pi)^2 + r_pi (s rms_i)^2 + N v_i r_pi` with the plaintexts' rounding `r`, divided by `q^2`, and one rounding.
    fn dot_plain(&self, terms: &[(&NoiseValue, &NoisePlain)]) -> Result<NoiseValue> {
        let standing: Vec<_> = terms.iter().map(|(a, p)| (&a.at, &p.at)).collect();
        let at = self.plan.dot_plain(&standing)?;
        let (first, _) = terms[0];
        let q = self.parameters.dropped_at(first.level)?;
        let mut sums = vec![Estimate::ZERO; first.vectors.len()];
        for (a, plain) in terms {
            for (sum, (x, p)) in sums.iter_mut().zip(zip(a, &plain.vectors)) {
                let term = self.times_plain((x, a.scale), (p, a.scale));
                *sum = sum.plus(term);
            }
        }
        self.value(at, sums.into_iter().map(|sum| self.rescaled(sum, q)).collect())
    }

    /// Products and scalar multiples as in `mul` and `mul_scalar`, with one switch for all products and one rounding.
    fn dot(
        &self,
        products: &[(&NoiseValue, &NoiseValue)],
        terms: &[(&NoiseValue, f64)],
        level: Level,
    ) -> Result<NoiseValue> {
        let factors: Vec<_> = products.iter().map(|(a, b)| (&a.at, &b.at)).collect();
        let scaled: Vec<_> = terms.iter().map(|(x, c)| (&x.at, *c)).collect();
        let at = self.plan.dot(&factors, &scaled, level)?;
        let above = Level(level.0 + 1);
        let (q, switching) = (self.parameters.dropped_at(above)?, self.switching(above)?);
        let target = self.parameters.scale_at(level)? * q;
        let mut sums = vec![Estimate::ZERO; circuit::Evaluator::batch(&self.plan, &at)];
        for (a, b) in products {
            for (sum, (x, y)) in sums.iter_mut().zip(zip(a, &b.vectors)) {
                *sum = sum.plus(self.unrescaled(target, x, y, a.has_source_of(b)));
            }
        }
        if !products.is_empty() {
            sums.iter_mut().for_each(|sum| *sum = sum.with_noise(switching));
        }
        for &(x, c) in terms.iter().filter(|(_, c)| *c != 0.0) {
            for (sum, v) in sums.iter_mut().zip(&x.vectors) {
                *sum = sum.plus(self.times_scalar(x, *v, c, target / x.scale)?);
            }
        }
        self.value(at, sums.into_iter().map(|sum| self.rescaled(sum, q)).collect())
    }

    fn mul_i(&self, a: &NoiseValue) -> Result<NoiseValue> {
        self.value(self.plan.mul_i(&a.at)?, a.vectors.clone())
    }

    fn encode_transform(&self, transform: &LinearTransform, level: Level) -> Result<NoiseTransform> {
        let at = self.plan.encode_transform(transform, level)?;
        let below = self.parameters.scale_at(Level(level.0 - 1))?;
        let scale = below * self.parameters.dropped_at(level)? / self.parameters.scale_at(level)?;
        let slots = self.parameters.slots();
        let groups = transform.schedule().groups.iter().map(|group| {
            let diagonal =
                |&j: &usize| (self.encoded(&transform.rotated_diagonal(group.giant, j, slots), scale), j != 0);
            (group.babies.iter().map(diagonal).collect(), group.gap != 0)
        });
        Ok(NoiseTransform { at, level, scale, groups: groups.collect() })
    }

    /// Products with plaintexts as in `dot_plain`; a baby step's operand has the noise of its switch, undivided and so without rounding; a giant
    /// step adds that of its own switch and of the division before it, to the sum before the rescaling.
    ///
    /// # Source
    /// Double hoisting, ePrint 2020/1203, section 5.
    fn transform(&self, a: &NoiseValue, transform: &NoiseTransform) -> Result<NoiseValue> {
        let at = self.plan.transform(&a.at, &transform.at)?;
        let (q, switching) = (self.parameters.dropped_at(a.level)?, self.switching(a.level)?);
        let map = |x: &Estimate| {
            let mut sum = Estimate::ZERO;
            for (diagonals, turned) in &transform.groups {
                for &(plain, rotated) in diagonals {
                    let operand = if rotated { x.with_noise(switching) } else { *x };
                    sum = sum.plus(self.times_plain((operand, a.scale), (plain, transform.scale)));
                }
                if *turned {
                    sum = sum.with_noise(switching + self.rounding());
                }
            }
            self.rescaled(sum, q)
        };
        self.value(at, a.vectors.iter().map(map).collect())
    }

    /// The switch's noise and its division's rounding; a rotation by nothing is free.
    fn rotate(&self, a: &NoiseValue, steps: i32) -> Result<NoiseValue> {
        let at = self.plan.rotate(&a.at, steps)?;
        if self.is_identity(steps) { Ok(a.clone()) } else { self.switched(a, at) }
    }

    /// As `rotate`, each: shared digits make the errors of the images no larger.
    fn rotate_hoisted(&self, a: &NoiseValue, steps: &[i32]) -> Result<Vec<NoiseValue>> {
        let standing = self.plan.rotate_hoisted(&a.at, steps)?;
        let images = standing.into_iter().zip(steps);
        images.map(|(at, &step)| if self.is_identity(step) { Ok(a.clone()) } else { self.switched(a, at) }).collect()
    }

    fn conjugate(&self, a: &NoiseValue) -> Result<NoiseValue> {
        self.switched(a, self.plan.conjugate(&a.at)?)
    }

    /// `sum_i v_i (w_i s)^2 / q^2`, the weights' rounding, and the division's.
    fn combine(&self, terms: &[(&NoiseValue, &NoiseWeights)]) -> Result<NoiseValue> {
        let standing: Vec<_> = terms.iter().map(|(a, weights)| (&a.at, &weights.at)).collect();
        let at = self.plan.combine(&standing)?;
        let (first, _) = terms[0];
        let q = self.parameters.dropped_at(first.level)?;
        let mut sums = vec![Estimate::ZERO; circuit::Evaluator::batch(&self.plan, &at)];
        for (a, weights) in terms {
            for (row, column, w) in weights.matrix.iter() {
                let term = self.times_scalar(a, a.vectors[column], w, weights.scale)?;
                sums[row] = sums[row].plus(term);
            }
        }
        self.value(at, sums.into_iter().map(|sum| self.rescaled(sum, q)).collect())
    }

    /// Times the integer that takes the scale to the lower level's, divided by that level's primes and rounded.
    fn drop_to(&self, a: &NoiseValue, level: Level) -> Result<NoiseValue> {
        let at = self.plan.drop_to(&a.at, level)?;
        if level == a.level {
            return Ok(a.clone());
        }
        let factor = self.parameters.scale_at(level)? * self.parameters.dropped_at(Level(level.0 + 1))? / a.scale;
        self.scalar_product(a, at, 1.0, factor, level)
    }
}
