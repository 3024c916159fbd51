//! Vectors of complex numbers to plaintexts and back, on the host.

use super::parameters::Parameters;
use crate::device::Basis;
use crate::error::{Error, Result};
use crate::math::{balanced_digits_to_f64, rows};
use crate::units::Level;
use num_complex::Complex64;
use rayon::prelude::*;
use zeroize::Zeroizing;

/// A batch of encoded vectors on the host, wiped on drop: it may be somebody's data.
#[derive(Clone)]
pub struct Plaintext {
    pub(super) parameters: Parameters,
    pub(super) level: Level,
    pub(super) scale: f64,
    pub(super) batch: u32,
    /// `[batch][limb][N]`, evaluation form.
    pub(super) words: Zeroizing<Vec<u32>>,
}

impl std::fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plaintext(batch {}, level {}, scale 2^{:.3})", self.batch, self.level.0, self.scale.log2())
    }
}

impl Plaintext {
    /// Vectors in the batch.
    pub fn batch(&self) -> u32 {
        self.batch
    }

    /// Level it was encoded for.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Factor on its values.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

/// Encodes and decodes for one parameter set.
#[derive(Clone, Debug)]
pub struct Encoder {
    parameters: Parameters,
}

impl Encoder {
    /// An encoder.
    pub fn new(parameters: &Parameters) -> Self {
        Self { parameters: parameters.clone() }
    }

    /// Encodes a batch of complex vectors at a level and that level's scale; missing slots are zero.
    ///
    /// # Noise
    /// Rounding: at most `1/2` a coefficient, a standard deviation of `sqrt(N / 12) / scale` in a slot.
    /// # Cost
    /// Per vector: one FFT of `N/2` points and one NTT a limb.
    /// # Errors
    /// [`Error::TooManyValues`]; [`Error::BadValue`] for a value that is not finite or does not fit the modulus;
    /// [`Error::LevelTooHigh`]; [`Error::ShapeMismatch`] for an empty batch.
    pub fn encode(&self, vectors: &[Vec<Complex64>], level: Level) -> Result<Plaintext> {
        self.encode_at(vectors, level, self.parameters.scale_at(level)?)
    }

    /// As [`Self::encode`] for real vectors.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_real(&self, vectors: &[Vec<f64>], level: Level) -> Result<Plaintext> {
        let complex: Vec<Vec<_>> = vectors.iter().map(|v| v.iter().map(|&x| Complex64::from(x)).collect()).collect();
        self.encode(&complex, level)
    }

    /// As [`Self::encode`] at a scale of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::encode`]; [`Error::InvalidParameter`] for a scale below 1 or not finite.
    pub fn encode_at(&self, vectors: &[Vec<Complex64>], level: Level, scale: f64) -> Result<Plaintext> {
        let basis = self.parameters.rlwe().basis(self.parameters.limbs_at(level)?);
        let words = self.encode_over(vectors, level, scale, &basis)?;
        let batch = u32::try_from(vectors.len()).expect("checked by encode_over");
        Ok(Plaintext { parameters: self.parameters.clone(), level, scale, batch, words })
    }

    /// The words of encoded vectors, `[batch][limb][N]`, modulo the primes of a basis of the caller's choice; they fit the modulus of
    /// `level`.
    pub(super) fn encode_over(
        &self,
        vectors: &[Vec<Complex64>],
        level: Level,
        scale: f64,
        basis: &Basis,
    ) -> Result<Zeroizing<Vec<u32>>> {
        let limbs = basis.primes().len();
        let (slots, n) = (self.parameters.slots(), self.parameters.log_n().degree());
        if !(1.0..=f64::MAX).contains(&scale) {
            return Err(Error::InvalidParameter { what: "scale", reason: format!("{scale} is not at least 1") });
        }
        if vectors.is_empty() || u32::try_from(vectors.len()).is_err() {
            let got = format!("{}", vectors.len());
            return Err(Error::ShapeMismatch { op: "encode", expected: "at least one vector".into(), got });
        }
        if let Some(long) = vectors.iter().find(|v| v.len() > slots) {
            return Err(Error::TooManyValues { slots, got: long.len() });
        }
        if let Some(index) = vectors.iter().flatten().position(|z| !z.is_finite()) {
            return Err(Error::BadValue { index, reason: "not a finite number" });
        }
        let limit = (self.parameters.log_q_at(level)? - 1.0).exp2();
        let mut words = Zeroizing::new(vec![0; vectors.len() * limbs * n]);
        let rows = words.par_chunks_mut(limbs * n).zip(vectors).enumerate();
        rows.try_for_each(|(index, (words, vector))| {
            let mut coefficients = Zeroizing::new(self.parameters.embedding().to_coefficients(vector));
            rows::round_scaled(&mut coefficients, scale);
            // The sum of huge values may be infinite or not a number, which must not look small.
            let largest =
                coefficients.iter().fold(0f64, |max, c| if c.is_nan() { f64::INFINITY } else { max.max(c.abs()) });
            if largest >= limit {
                let before: usize = vectors[..index].iter().map(Vec::len).sum();
                let worst =
                    (0..vector.len()).max_by(|&a, &b| vector[a].norm().total_cmp(&vector[b].norm())).unwrap_or(0);
                let reason = "too large for the modulus at this level and scale";
                return Err(Error::BadValue { index: before + worst, reason });
            }
            let primes = self.parameters.rlwe().tables().primes();
            words.par_chunks_mut(n).zip(basis.primes()).for_each(|(out, &prime)| {
                let prime = &primes[prime as usize];
                reduce_row(&coefficients, largest, prime, out);
                prime.forward(out);
            });
            Ok(())
        })?;
        Ok(words)
    }

    /// The integer nearest to `value * scale`, for constants that multiply or shift every slot.
    pub(super) fn scalar(&self, value: f64, scale: f64, level: Level) -> Result<i128> {
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(Error::InvalidParameter {
                what: "scale",
                reason: format!("{scale} is not positive and finite"),
            });
        }
        let scaled = (value * scale).round_ties_even();
        if !value.is_finite() {
            return Err(Error::BadValue { index: 0, reason: "not a finite number" });
        }
        if scaled.abs() >= (self.parameters.log_q_at(level)? - 1.0).exp2().min(126f64.exp2()) {
            return Err(Error::BadValue { index: 0, reason: "too large for the modulus at this level and scale" });
        }
        #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^126")]
        let integer = scaled as i128;
        Ok(integer)
    }

    /// The vectors behind a plaintext, all `N/2` slots.
    ///
    /// # Cost
    /// Per vector: one inverse NTT a limb, `limbs^2` multiplications a coefficient, one FFT of `N/2` points.
    /// # Errors
    /// [`Error::ParameterMismatch`].
    pub fn decode(&self, plaintext: &Plaintext) -> Result<Vec<Vec<Complex64>>> {
        if !plaintext.parameters.is_same(&self.parameters) {
            return Err(Error::ParameterMismatch { op: "decode" });
        }
        let n = self.parameters.log_n().degree();
        let primes = &self.parameters.rlwe().tables().primes()[..plaintext.words.len() / n / plaintext.batch as usize];
        let vectors = plaintext.words.par_chunks(primes.len() * n).map(|words| {
            let mut coefficients = Zeroizing::new(words.to_vec());
            coefficients.par_chunks_mut(n).zip(primes).for_each(|(row, prime)| prime.inverse(row));
            let mut values = Zeroizing::new(balanced_digits_to_f64(&coefficients, primes));
            values.iter_mut().for_each(|v| *v /= plaintext.scale);
            self.parameters.embedding().to_slots(&values)
        });
        Ok(vectors.collect())
    }

    /// The real parts of [`Self::decode`].
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_real(&self, plaintext: &Plaintext) -> Result<Vec<Vec<f64>>> {
        Ok(self.decode(plaintext)?.into_iter().map(|v| v.into_iter().map(|z| z.re).collect()).collect())
    }
}

/// Residues of rounded coefficients. Their size, which chooses the path, is public: a property of scale and encoding.
#[expect(clippy::cast_possible_truncation, reason = "rounded and within the integer's range")]
fn reduce_row(coefficients: &[f64], largest: f64, prime: &crate::math::Prime, out: &mut [u32]) {
    if largest < 62f64.exp2() {
        rows::reduce_f64(prime.reducer(), out, coefficients);
    } else {
        // Beyond 2^62 an f64 is an integer mantissa times a power of two.
        let m = prime.modulus();
        for (out, c) in out.iter_mut().zip(coefficients) {
            let exponent = (c.abs().log2().floor() as i32).saturating_sub(52).max(0);
            let mantissa = prime.reducer().signed((c / f64::from(exponent).exp2()) as i64);
            *out = m.mul(mantissa, m.pow(2, exponent.unsigned_abs()));
        }
    }
}
