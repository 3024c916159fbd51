//! The secret key. It stays on the host, is wiped on drop, and prints as nothing.

use super::Parameters;
use crate::error::Result;
use crate::math::{Csprng, Prime, rows};
use crate::units::GaloisElement;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A uniform ternary secret, in evaluation form over every prime.
pub struct SecretKey {
    parameters: Parameters,
    /// `[prime][N]`.
    words: Zeroizing<Vec<u32>>,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl SecretKey {
    /// A fresh secret.
    pub fn generate(parameters: &Parameters, rng: &mut Csprng) -> Self {
        let mut coefficients = Zeroizing::new(vec![0; parameters.tables().log_n().degree()]);
        rng.ternary(&mut coefficients);
        Self::from_coefficients(parameters, &coefficients)
    }

    /// A fresh secret with exactly `weight` coefficients `+-1`, all others 0.
    ///
    /// **Outside the security table**, which is for uniform ternary secrets: a sparse one is secure only under a much smaller
    /// modulus. Bootstrapping uses one under the smallest modulus of its chain, to make the range that it reduces short.
    ///
    /// # Cost
    /// `O(N log^2 N)` in constant time, see [`Csprng::sparse_ternary`].
    /// # Errors
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) unless `1 <= weight <= N`.
    /// # Source
    /// Sparse secrets encapsulated in dense ones: Bossuat, Troncoso-Pastoriza, Hubaux, ePrint 2022/024.
    pub(crate) fn generate_sparse(parameters: &Parameters, weight: u32, rng: &mut Csprng) -> Result<Self> {
        let mut coefficients = Zeroizing::new(vec![0; parameters.tables().log_n().degree()]);
        rng.sparse_ternary(weight, &mut coefficients)?;
        Ok(Self::from_coefficients(parameters, &coefficients))
    }

    /// The coefficients modulo the first prime.
    pub(super) fn coefficients(&self) -> Zeroizing<Vec<u32>> {
        let mut words = Zeroizing::new(self.limb(0).to_vec());
        self.parameters.tables().primes()[0].inverse(&mut words);
        words
    }

    /// The secret with these coefficients, each -1, 0 or 1.
    pub(super) fn from_coefficients(parameters: &Parameters, coefficients: &[i32]) -> Self {
        let primes = parameters.tables().primes();
        let words = small_to_evaluation(coefficients, primes.len(), |limb| &primes[limb]);
        Self { parameters: parameters.clone(), words }
    }

    /// The parameters it was made for.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The secret in evaluation form over every prime.
    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }

    /// The secret modulo one prime, in evaluation form.
    pub(super) fn limb(&self, prime: usize) -> &[u32] {
        let n = self.parameters.tables().log_n().degree();
        &self.words[prime * n..(prime + 1) * n]
    }

    /// SHA-256 of a label and the secret: a key of its own for every label, from which the secret cannot be found.
    pub(crate) fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut hash = Sha256::new();
        hash.update(label.len().to_le_bytes());
        hash.update(label);
        for words in self.words.chunks(1024) {
            let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(words.iter().flat_map(|w| w.to_le_bytes()).collect());
            hash.update(&*bytes);
        }
        Zeroizing::new(hash.finalize().into())
    }

    /// `s^2` in the form of [`Self::words`], for relinearization.
    pub(super) fn square(&self) -> Zeroizing<Vec<u32>> {
        let primes = self.parameters.tables().primes();
        let n = self.parameters.tables().log_n().degree();
        let mut out = Zeroizing::new(vec![0; self.words.len()]);
        out.par_chunks_mut(n).zip(self.words.par_chunks(n)).zip(primes).for_each(|((out, s), prime)| {
            rows::mul(prime.reducer(), out, Some(s), Some(s));
        });
        out
    }

    /// `s(X^g)` as a secret of its own, for rotations.
    pub(super) fn automorphism(&self, element: GaloisElement) -> Self {
        let log_n = self.parameters.tables().log_n();
        let (n, bits) = (log_n.degree(), log_n.get());
        let reverse = |i: u32| i.reverse_bits() >> (32 - bits);
        let mask = (2u32 << bits) - 1;
        let mut words = Zeroizing::new(vec![0; self.words.len()]);
        words.par_chunks_mut(n).zip(self.words.par_chunks(n)).for_each(|(out, s)| {
            for (i, out) in (0u32..).zip(out) {
                let exponent = element.get().wrapping_mul(2 * reverse(i) + 1) & mask;
                *out = s[reverse(exponent >> 1) as usize];
            }
        });
        Self { parameters: self.parameters.clone(), words }
    }
}

/// A polynomial with small signed coefficients, in evaluation form over some primes, one a limb.
pub(super) fn small_to_evaluation<'a>(
    coefficients: &[i32],
    limbs: usize,
    prime: impl Fn(usize) -> &'a Prime + Sync,
) -> Zeroizing<Vec<u32>> {
    let n = coefficients.len();
    let mut out = Zeroizing::new(vec![0; n * limbs]);
    out.par_chunks_mut(n).enumerate().for_each(|(limb, out)| small_row(coefficients, prime(limb), out));
    out
}

/// One limb of such a polynomial.
pub(super) fn small_row(coefficients: &[i32], prime: &Prime, out: &mut [u32]) {
    let q = prime.q();
    // Branch-free: adds q where the sign bit is set.
    out.iter_mut()
        .zip(coefficients)
        .for_each(|(o, c)| *o = c.wrapping_add((c >> 31) & q.cast_signed()).cast_unsigned());
    prime.forward(out);
}
