//! The server's side: arithmetic on ciphertexts, on a device.

use super::ciphertext::{Ciphertext, HostCiphertext};
use super::encoder::{Encoder, Plaintext};
use super::parameters::Parameters;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ring::{Coefficient, Evaluation, Ring, RnsPoly};
use crate::rlwe::{EvaluationKeys, Finish, KeyId, KeyStatistics, KeySwitcher};
use crate::units::{GaloisElement, Level};
use std::sync::{Arc, OnceLock};

/// Computes on ciphertexts with evaluation keys. Holds nothing secret.
///
/// The methods here are the scheme's own operations, each with its scale. Circuits use them through
/// [`crate::circuit::Evaluator`], which keeps every value at its level's scale.
#[derive(Debug)]
pub struct Evaluator {
    pub(super) parameters: Parameters,
    encoder: Encoder,
    pub(super) keys: Arc<KeySwitcher>,
    /// `X^(N/2)`, the number i in every slot.
    monomial: Arc<OnceLock<RnsPoly<Evaluation>>>,
}

/// A batch of encoded vectors on a device: weights, masks, biases. Not for secrets.
#[derive(Clone, Debug)]
pub struct DevicePlaintext {
    parameters: Parameters,
    poly: RnsPoly<Evaluation>,
    level: Level,
    scale: f64,
}

impl DevicePlaintext {
    /// Level it was encoded for.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Factor on its values.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

/// Smallest integer that may stand for 1 in [`Evaluator::drop_to`]: its rounding is off by less than `2^-21`.
pub(super) const MIN_FACTOR: f64 = (1 << 20) as f64;

/// Scales that differ by less than this, relatively, are one scale: 64-bit rounding along a chain of operations.
const SCALE_TOLERANCE: f64 = 1e-12;

impl Evaluator {
    /// An evaluator on a device. Each key is brought there when it is first used, and stays.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for keys of other parameters; out of memory.
    pub fn new(parameters: &Parameters, device: &Device, keys: &EvaluationKeys) -> Result<Self> {
        Self::with_key_memory(parameters, device, keys, u64::MAX)
    }

    /// As [`Self::new`] with at most `bytes` bytes of keys on the device: the least recently used make room for the next. The
    /// results are the same bits.
    ///
    /// # Cost
    /// A key that comes back has half its words uploaded and half expanded again.
    /// # Errors
    /// [`Error::KeyMemoryTooSmall`] where not even the largest key would fit; others as [`Self::new`].
    pub fn with_key_memory(
        parameters: &Parameters,
        device: &Device,
        keys: &EvaluationKeys,
        bytes: u64,
    ) -> Result<Self> {
        if !keys.parameters().is_same(parameters.rlwe()) {
            return Err(Error::ParameterMismatch { op: "Evaluator::new" });
        }
        let ring = Ring::new(device, parameters.rlwe().tables())?;
        Ok(Self {
            parameters: parameters.clone(),
            encoder: Encoder::new(parameters),
            keys: Arc::new(KeySwitcher::with_key_memory(&ring, keys, bytes)?),
            monomial: Arc::default(),
        })
    }

    /// The same keys on the same device, where levels have other scales.
    pub(super) fn with_parameters(&self, parameters: &Parameters) -> Self {
        let encoder = Encoder::new(parameters);
        let (keys, monomial) = (Arc::clone(&self.keys), Arc::clone(&self.monomial));
        Self { parameters: parameters.clone(), encoder, keys, monomial }
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.keys.ring().device()
    }

    /// Device memory of the keys, loads and evictions so far.
    pub fn key_statistics(&self) -> KeyStatistics {
        self.keys.key_statistics()
    }

    /// Brings a client's ciphertext to the device.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`]; out of memory.
    pub fn load(&self, ciphertext: &HostCiphertext) -> Result<Ciphertext> {
        ciphertext.check_parameters("load", &self.parameters)?;
        ciphertext.to_device(self.keys.ring())
    }

    /// Brings encoded vectors to the device.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`]; out of memory.
    pub fn load_plaintext(&self, plaintext: &Plaintext) -> Result<DevicePlaintext> {
        if !plaintext.parameters.is_same(&self.parameters) {
            return Err(Error::ParameterMismatch { op: "load_plaintext" });
        }
        let basis = self.parameters.rlwe().basis(self.parameters.limbs_at(plaintext.level)?);
        Ok(DevicePlaintext {
            parameters: self.parameters.clone(),
            poly: RnsPoly::upload(self.keys.ring(), &basis, plaintext.batch, &plaintext.words)?,
            level: plaintext.level,
            scale: plaintext.scale,
        })
    }

    // --- checks -----------------------------------------------------------------------------

    pub(super) fn mine(&self, op: &'static str, a: &Ciphertext) -> Result<()> {
        self.owns(op, &a.parameters, a.device())
    }

    pub(super) fn owns(&self, op: &'static str, parameters: &Parameters, device: &Device) -> Result<()> {
        if !parameters.is_same(&self.parameters) {
            return Err(Error::ParameterMismatch { op });
        }
        if !device.is_same(self.device()) {
            return Err(Error::DeviceMismatch { op, left: self.device().name().into(), right: device.name().into() });
        }
        Ok(())
    }

    pub(super) fn pair(&self, op: &'static str, a: &Ciphertext) -> Result<()> {
        self.mine(op, a)?;
        if a.components == 2 { Ok(()) } else { Err(Error::ComponentCount { op, expected: 2, got: a.components }) }
    }

    pub(super) fn same_scale(op: &'static str, a: f64, b: f64) -> Result<()> {
        if (a / b - 1.0).abs() < SCALE_TOLERANCE {
            Ok(())
        } else {
            Err(Error::ScaleMismatch { op, left: a.log2(), right: b.log2() })
        }
    }

    pub(super) fn same_batch(op: &'static str, a: u32, b: u32) -> Result<()> {
        if a == b {
            Ok(())
        } else {
            Err(Error::ShapeMismatch { op, expected: format!("a batch of {a}"), got: format!("a batch of {b}") })
        }
    }

    /// Both at the lower of the two levels.
    fn align(&self, a: &Ciphertext, b: &Ciphertext) -> Result<(Ciphertext, Ciphertext)> {
        let level = a.level.min(b.level);
        Ok((self.truncate(a, level)?, self.truncate(b, level)?))
    }

    /// The same values at the same scale, modulo a lower level's modulus. Shares the memory.
    ///
    /// # Level and scale
    /// Drops to `level`; the scale stays, see [`Self::drop_to`] for one that fits the level.
    /// # Errors
    /// [`Error::LevelTooHigh`].
    pub fn truncate(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext> {
        self.mine("truncate", a)?;
        if level > a.level {
            return Err(Error::LevelTooHigh { op: "truncate", wanted: level.0, available: a.level.0 });
        }
        Ok(Ciphertext { poly: a.poly.truncate(self.parameters.limbs_at(level)?)?, level, ..a.clone() })
    }

    // --- additions --------------------------------------------------------------------------

    /// `a + b`, at the lower level.
    ///
    /// # Noise
    /// The sum of both.
    /// # Errors
    /// [`Error::ScaleMismatch`], [`Error::ComponentCount`], [`Error::ShapeMismatch`] for other batches,
    /// [`Error::ParameterMismatch`], [`Error::DeviceMismatch`].
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.sum("add", a, b, RnsPoly::add)
    }

    /// `a - b`, at the lower level.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.sum("sub", a, b, RnsPoly::sub)
    }

    fn sum(
        &self,
        op: &'static str,
        a: &Ciphertext,
        b: &Ciphertext,
        f: impl Fn(&RnsPoly<Evaluation>, &RnsPoly<Evaluation>) -> Result<RnsPoly<Evaluation>>,
    ) -> Result<Ciphertext> {
        self.mine(op, a)?;
        self.mine(op, b)?;
        if a.components != b.components {
            return Err(Error::ComponentCount { op, expected: a.components, got: b.components });
        }
        Self::same_batch(op, a.batch(), b.batch())?;
        Self::same_scale(op, a.scale, b.scale)?;
        let (a, b) = self.align(a, b)?;
        Ok(Ciphertext { poly: f(&a.poly, &b.poly)?, ..a })
    }

    /// `-a`.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`], [`Error::DeviceMismatch`].
    pub fn neg(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.mine("neg", a)?;
        Ok(Ciphertext { poly: a.poly.neg()?, ..a.clone() })
    }

    /// `a + p`; a plaintext of one vector is added to every vector of the batch.
    ///
    /// # Errors
    /// [`Error::ScaleMismatch`]; [`Error::LevelTooHigh`] for a plaintext below the ciphertext's level; others as [`Self::add`].
    pub fn add_plain(&self, a: &Ciphertext, plain: &DevicePlaintext) -> Result<Ciphertext> {
        let factor = self.fitting("add_plain", a, plain)?;
        Self::same_scale("add_plain", a.scale, plain.scale)?;
        let head = a.poly.slice(0, a.batch())?.add(&factor)?;
        let rest = a.poly.slice(a.batch(), a.poly.batch() - a.batch())?;
        Ok(Ciphertext { poly: RnsPoly::concat(&[&head, &rest])?, ..a.clone() })
    }

    /// `a + x` in every slot.
    ///
    /// # Errors
    /// [`Error::BadValue`]; others as [`Self::add`].
    pub fn add_scalar(&self, a: &Ciphertext, x: f64) -> Result<Ciphertext> {
        self.mine("add_scalar", a)?;
        self.shift(a, &[self.encoder.scalar(x, a.scale, a.level)?])
    }

    /// `a + x_v` in every slot of vector `v` of the batch.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless there is one scalar a vector; [`Error::BadValue`]; others as [`Self::add`].
    pub fn add_scalars(&self, a: &Ciphertext, scalars: &[f64]) -> Result<Ciphertext> {
        self.mine("add_scalars", a)?;
        if scalars.len() != a.batch() as usize {
            return Err(Error::ShapeMismatch {
                op: "add_scalars",
                expected: format!("{} scalars, one a vector", a.batch()),
                got: format!("{}", scalars.len()),
            });
        }
        let integer = |(index, &x): (usize, &f64)| {
            self.encoder.scalar(x, a.scale, a.level).map_err(|e| match e {
                Error::BadValue { reason, .. } => Error::BadValue { index, reason },
                other => other,
            })
        };
        self.shift(a, &scalars.iter().enumerate().map(integer).collect::<Result<Vec<_>>>()?)
    }

    fn shift(&self, a: &Ciphertext, integers: &[i128]) -> Result<Ciphertext> {
        let head = a.poly.slice(0, a.batch())?.add_scalars(integers)?;
        let rest = a.poly.slice(a.batch(), a.poly.batch() - a.batch())?;
        Ok(Ciphertext { poly: RnsPoly::concat(&[&head, &rest])?, ..a.clone() })
    }

    // --- products ---------------------------------------------------------------------------

    /// The plaintext's polynomials at the ciphertext's level, one or one a vector.
    fn fitting(&self, op: &'static str, a: &Ciphertext, plain: &DevicePlaintext) -> Result<RnsPoly<Evaluation>> {
        self.mine(op, a)?;
        if !plain.parameters.is_same(&self.parameters) {
            return Err(Error::ParameterMismatch { op });
        }
        if plain.level < a.level {
            return Err(Error::LevelTooHigh { op, wanted: a.level.0, available: plain.level.0 });
        }
        if plain.poly.batch() != 1 {
            Self::same_batch(op, a.batch(), plain.poly.batch())?;
        }
        plain.poly.truncate(a.poly.limbs())
    }

    /// `a * p`, without rescaling.
    ///
    /// # Level and scale
    /// The level stays, the scale becomes the product of both.
    /// # Errors
    /// As [`Self::add_plain`], but for the scale.
    pub fn mul_plain(&self, a: &Ciphertext, plain: &DevicePlaintext) -> Result<Ciphertext> {
        let factor = self.fitting("mul_plain", a, plain)?;
        Ok(Ciphertext { poly: a.poly.mul(&factor)?, scale: a.scale * plain.scale, ..a.clone() })
    }

    /// `sum_i a_i p_i`, without rescaling.
    ///
    /// # Level and scale
    /// All products must have one level and scale, which the result has.
    /// # Errors
    /// [`Error::ShapeMismatch`] for no terms; others as [`Self::mul_plain`].
    pub fn dot_plain(&self, terms: &[(&Ciphertext, &DevicePlaintext)]) -> Result<Ciphertext> {
        let Some((first, first_plain)) = terms.first() else {
            return Err(Error::ShapeMismatch { op: "dot_plain", expected: "terms".into(), got: "none".into() });
        };
        let scale = first.scale * first_plain.scale;
        let mut factors = Vec::with_capacity(terms.len());
        for (a, plain) in terms {
            factors.push(self.fitting("dot_plain", a, plain)?);
            if a.components != first.components {
                return Err(Error::ComponentCount { op: "dot_plain", expected: first.components, got: a.components });
            }
            Self::same_batch("dot_plain", first.batch(), a.batch())?;
            Self::same_scale("dot_plain", scale, a.scale * plain.scale)?;
            if a.level != first.level {
                return Err(Error::LevelMismatch { op: "dot_plain", left: first.level.0, right: a.level.0 });
            }
        }
        let pairs: Vec<_> = terms.iter().zip(&factors).map(|((a, _), f)| (&a.poly, f)).collect();
        Ok(Ciphertext { poly: RnsPoly::dot(&pairs)?, scale, ..(*first).clone() })
    }

    /// `i a` in every slot: `X^(N/2) a`, exactly.
    ///
    /// # Level and scale
    /// Both stay.
    /// # Noise
    /// Stays.
    /// # Cost
    /// One product of polynomials; the first call brings the monomial to the device.
    /// # Errors
    /// [`Error::ParameterMismatch`], [`Error::DeviceMismatch`].
    pub fn mul_i(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.mine("mul_i", a)?;
        if self.monomial.get().is_none() {
            // Two threads may both make it; one of the two equal polynomials stays.
            let _ = self.monomial.set(self.new_monomial()?);
        }
        let factor = self.monomial.get().expect("just set").truncate(a.limbs())?;
        Ok(Ciphertext { poly: a.poly.mul(&factor)?, ..a.clone() })
    }

    /// `X^(N/2)` over the whole chain.
    fn new_monomial(&self) -> Result<RnsPoly<Evaluation>> {
        let (ring, rlwe) = (self.keys.ring(), self.parameters.rlwe());
        let mut monomial = vec![0; ring.log_n().degree()];
        monomial[ring.log_n().slots()] = 1;
        let words = monomial.repeat(rlwe.chain().0 as usize);
        RnsPoly::<Coefficient>::upload(ring, &rlwe.basis(rlwe.chain()), 1, &words)?.into_evaluation()
    }

    /// `a * x` in every slot, the factor encoded at `scale`, without rescaling.
    ///
    /// # Level and scale
    /// The level stays, the scale is multiplied by `scale`.
    /// # Errors
    /// [`Error::BadValue`]; others as [`Self::add`].
    pub fn mul_scalar(&self, a: &Ciphertext, x: f64, scale: f64) -> Result<Ciphertext> {
        self.mine("mul_scalar", a)?;
        let integer = self.encoder.scalar(x, scale, a.level)?;
        Ok(Ciphertext { poly: a.poly.mul_scalar(integer)?, scale: a.scale * scale, ..a.clone() })
    }

    /// `a * b` with three components, at the lower level, without rescaling.
    ///
    /// # Level and scale
    /// The level stays, the scale becomes the product of both.
    /// # Errors
    /// As [`Self::add`], but for the scale.
    pub fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.tensor("multiply", a, b)
    }

    pub(super) fn tensor(&self, op: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.pair(op, a)?;
        self.pair(op, b)?;
        Self::same_batch(op, a.batch(), b.batch())?;
        let (a, b) = self.align(a, b)?;
        Ok(Ciphertext { poly: a.poly.tensor(&b.poly)?, components: 3, scale: a.scale * b.scale, ..a })
    }

    /// Back to two components after [`Self::multiply`].
    ///
    /// # Noise
    /// Adds a standard deviation of about `sqrt((sigma 2^(digit bits) / P)^2 D N / 12 + N / 18)` to a coefficient, for `D`
    /// digits.
    /// # Cost
    /// With `L` limbs, `D` digits, `K` special primes: `L + 2 K` inverse and about `D (L + K) + L` forward NTTs.
    /// # Errors
    /// [`Error::MissingRelinearizationKey`], [`Error::ComponentCount`].
    pub fn relinearize(&self, a: &Ciphertext) -> Result<Ciphertext> {
        let (head, third) = self.relinearizable(a)?;
        let switched = self.relinearized(&third, Finish::NOTHING)?;
        let poly = switched.mod_down_plus(a.poly.limbs(), Some(&head), GaloisElement::IDENTITY)?;
        Ok(Ciphertext { poly, components: 2, ..a.clone() })
    }

    /// The first two components and the third, once it is sure that there is a key for it.
    fn relinearizable(&self, a: &Ciphertext) -> Result<(RnsPoly<Evaluation>, RnsPoly<Evaluation>)> {
        self.mine("relinearize", a)?;
        if a.components != 3 {
            return Err(Error::ComponentCount { op: "relinearize", expected: 3, got: a.components });
        }
        self.check_key(KeyId::Relinearization, a, || "relinearize".into(), Error::MissingRelinearizationKey)?;
        Ok((a.poly.slice(0, 2 * a.batch())?, a.poly.slice(2 * a.batch(), a.batch())?))
    }

    /// `P` times what a third component becomes, over the extended basis.
    fn relinearized(&self, third: &RnsPoly<Evaluation>, finish: Finish<'_>) -> Result<RnsPoly<Evaluation>> {
        self.keys.switch(third, KeyId::Relinearization, finish)?.ok_or(Error::MissingRelinearizationKey)
    }

    /// `a * b` relinearized and rescaled in one: the products join the key switch times `P`, and one division drops the special
    /// primes and the level's at once.
    ///
    /// # Level and scale
    /// One level; the scale becomes the product of both divided by the level's primes.
    /// # Cost
    /// That of [`Self::relinearize`] with the rescale for free: no transform of its own.
    /// # Errors
    /// [`Error::LevelExhausted`]; others as [`Self::multiply`] and [`Self::relinearize`].
    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.product("mul", a, b)
    }

    fn product(&self, op: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.relinearize_and_rescale(op, &self.tensor(op, a, b)?)
    }

    /// From three components to two, one level down, in one division.
    pub(super) fn relinearize_and_rescale(&self, op: &'static str, product: &Ciphertext) -> Result<Ciphertext> {
        let level = self.next_level(op, product.level)?;
        let (head, third) = self.relinearizable(product)?;
        let switched = self.relinearized(&third, Finish { plus: Some(&head), ..Finish::NOTHING })?;
        let poly = switched.mod_down(self.parameters.limbs_at(level)?)?;
        let scale = product.scale / self.dropped(product.level)?;
        Ok(Ciphertext { poly, components: 2, level, scale, ..product.clone() })
    }

    /// `a * a`, as [`Self::mul`].
    ///
    /// # Errors
    /// As [`Self::mul`].
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.product("square", a, a)
    }

    // --- levels -----------------------------------------------------------------------------

    pub(super) fn next_level(&self, op: &'static str, level: Level) -> Result<Level> {
        level.0.checked_sub(1).map(Level).ok_or(Error::LevelExhausted { op, needed: 1, left: 0 })
    }

    /// Product of the primes that a rescale at `level` drops.
    pub(super) fn dropped(&self, level: Level) -> Result<f64> {
        self.next_level("rescale", level)?;
        self.parameters.dropped_at(level)
    }

    /// Divides by the primes of the level and rounds.
    ///
    /// # Level and scale
    /// One level; the scale is divided by the level's primes, tracked, never assumed.
    /// # Noise
    /// Adds at most `(1 + h) / 2` per coefficient for a ternary secret of weight `h`.
    /// # Cost
    /// Per component: one inverse NTT for each limb dropped, one forward NTT for each limb kept.
    /// # Errors
    /// [`Error::LevelExhausted`] at level 0.
    /// # Source
    /// Full-RNS CKKS, ePrint 2018/931, section 3.
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.mine("rescale", a)?;
        let level = self.next_level("rescale", a.level)?;
        let scale = a.scale / self.dropped(a.level)?;
        Ok(Ciphertext { poly: a.poly.mod_down(self.parameters.limbs_at(level)?)?, level, scale, ..a.clone() })
    }

    /// Brings a value to a lower level *and* that level's scale, so that it can be added to values there.
    ///
    /// # Level and scale
    /// `level` and [`Parameters::scale_at`] it. The way down multiplies by 1 at the scale that makes up the difference.
    /// # Errors
    /// [`Error::LevelTooHigh`]; [`Error::ScaleMismatch`] when the value's scale is not its level's, or too large to be made up for:
    /// rescale it first.
    pub fn drop_to(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext> {
        self.mine("drop_to", a)?;
        if level > a.level {
            return Err(Error::LevelTooHigh { op: "drop_to", wanted: level.0, available: a.level.0 });
        }
        let target = self.parameters.scale_at(level)?;
        if level == a.level {
            Self::same_scale("drop_to", a.scale, target)?;
            return Ok(a.clone());
        }
        let above = Level(level.0 + 1);
        let truncated = self.truncate(a, above)?;
        let factor = target * self.dropped(above)? / a.scale;
        if factor < MIN_FACTOR {
            return Err(Error::ScaleMismatch { op: "drop_to", left: a.scale.log2(), right: target.log2() });
        }
        let mut out = self.rescale(&self.mul_scalar(&truncated, 1.0, factor)?)?;
        out.scale = target;
        Ok(out)
    }

    // --- rotations --------------------------------------------------------------------------

    /// Rotates every vector to the left by `steps`.
    ///
    /// # Noise
    /// As [`Self::relinearize`].
    /// # Cost
    /// As [`Self::relinearize`].
    /// # Errors
    /// [`Error::MissingRotationKey`], [`Error::ComponentCount`].
    pub fn rotate(&self, a: &Ciphertext, steps: i32) -> Result<Ciphertext> {
        let mut out = self.rotate_hoisted(a, &[steps])?;
        Ok(out.remove(0))
    }

    /// All the rotations of one ciphertext: decomposed once, one inner product and one division each.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    /// # Source
    /// Hoisting: Halevi and Shoup, ePrint 2018/244, section 5.
    pub fn rotate_hoisted(&self, a: &Ciphertext, steps: &[i32]) -> Result<Vec<Ciphertext>> {
        self.pair("rotate", a)?;
        let log_n = self.parameters.log_n();
        let elements: Vec<_> = steps.iter().map(|&s| GaloisElement::from_steps(s, log_n)).collect();
        for (&element, &steps) in elements.iter().zip(steps).filter(|(g, _)| **g != GaloisElement::IDENTITY) {
            let missing = Error::MissingRotationKey { steps };
            self.check_key(KeyId::Galois(element), a, || format!("rotate by {steps}"), missing)?;
        }
        let second = a.poly.slice(a.batch(), a.batch())?;
        let hoisted = elements.iter().filter(|&&g| g != GaloisElement::IDENTITY).count() > 1;
        let digits = if hoisted { Some(self.keys.decompose(&second)?) } else { None };
        let images = elements.iter().zip(steps).map(|(&element, &steps)| {
            let id = KeyId::Galois(element);
            let switched = match &digits {
                _ if element == GaloisElement::IDENTITY => return Ok(a.clone()),
                Some(digits) => self.keys.switch_hoisted(digits, id, Finish::NOTHING)?,
                None => self.keys.switch(&second, id, Finish::NOTHING)?,
            };
            self.image(a, &switched.ok_or(Error::MissingRotationKey { steps })?, element)
        });
        images.collect()
    }

    /// Complex conjugate of every slot.
    ///
    /// # Errors
    /// [`Error::MissingConjugationKey`], [`Error::ComponentCount`].
    pub fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.pair("conjugate", a)?;
        let element = GaloisElement::conjugation(self.parameters.log_n());
        self.check_key(KeyId::Galois(element), a, || "conjugate".into(), Error::MissingConjugationKey)?;
        let second = a.poly.slice(a.batch(), a.batch())?;
        let switched = self.keys.switch(&second, KeyId::Galois(element), Finish::NOTHING)?;
        self.image(a, &switched.ok_or(Error::MissingConjugationKey)?, element)
    }

    /// A key must exist and reach up to the ciphertext's level.
    pub(super) fn check_key(
        &self,
        id: KeyId,
        a: &Ciphertext,
        op: impl FnOnce() -> String,
        missing: Error,
    ) -> Result<()> {
        let limbs = self.keys.limbs_of(id).ok_or(missing)?;
        if a.limbs() <= limbs {
            return Ok(());
        }
        let reaches = |level: &u32| self.parameters.limbs_at(Level(*level)).is_ok_and(|needed| needed <= limbs);
        let made_for = (0..a.level.0).take_while(reaches).last().unwrap_or(0);
        Err(Error::KeyLevelTooLow { op: op(), made_for, needed: a.level.0 })
    }

    /// `a(X^g)` from its second component under `s(X^(1/g))`, before the division: permuting two polynomials at the end is cheaper
    /// than permuting every digit on the way.
    fn image(&self, a: &Ciphertext, switched: &RnsPoly<Evaluation>, element: GaloisElement) -> Result<Ciphertext> {
        let poly = switched.mod_down_plus(a.poly.limbs(), Some(&a.poly.slice(0, a.batch())?), element)?;
        Ok(Ciphertext { poly, ..a.clone() })
    }

    /// Sums of `width` neighbouring slots: slot `i` becomes `x_i + x_(i+1) + ... + x_(i + width - 1)`, for a power of two.
    ///
    /// # Cost
    /// `log2(width)` rotations, by 1, 2, 4, ...
    /// # Errors
    /// [`Error::InvalidParameter`] unless `width` is a power of two up to the slots; else as [`Self::rotate`].
    pub fn inner_sum(&self, a: &Ciphertext, width: usize) -> Result<Ciphertext> {
        crate::circuit::inner_sum(self, a, width)
    }

    pub(super) fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}
