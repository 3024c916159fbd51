//! The tables of a ring: its primes, their roots of unity and transforms, and the constants of base conversion.

use super::modulus::Modulus;
use super::ntt::{Transform, primitive_root};
use super::primes::is_prime;
use super::reduce::Reducer;
use super::rns::Extension;
use super::simd;
use crate::error::{Error, Result};
use crate::units::LogN;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One prime of a ring with its negacyclic NTT.
///
/// Word `i` of the forward transform is the value at `psi^(2 brv(i) + 1)`, `brv` reversing `log N` bits.
#[derive(Clone)]
pub struct Prime {
    modulus: Modulus,
    reducer: Reducer,
    psi: u32,
    transform: Arc<Transform>,
}

impl Prime {
    /// The tables of the prime `q = 1 mod 2N` below `2^30`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for any other `q`.
    pub fn new(q: u32, log_n: LogN) -> Result<Self> {
        let bad = |reason: &str| Error::InvalidParameter { what: "modulus", reason: format!("{q} {reason}") };
        let modulus = Modulus::new(q)?;
        if q % (2 << log_n.get()) != 1 {
            return Err(bad("is not 1 mod 2N"));
        }
        if !is_prime(q) {
            return Err(bad("is not prime"));
        }
        let psi = primitive_root(modulus, log_n);
        let transform = Arc::new(Transform::new(simd::arch(), modulus, psi, log_n));
        Ok(Self { modulus, reducer: Reducer::new(modulus), psi, transform })
    }

    /// The modulus.
    pub fn modulus(&self) -> Modulus {
        self.modulus
    }

    /// Vector arithmetic modulo the prime.
    pub(crate) fn reducer(&self) -> Reducer {
        self.reducer
    }

    /// The modulus as an integer.
    pub fn q(&self) -> u32 {
        self.modulus.get()
    }

    /// The primitive `2N`-th root of unity of the transform.
    pub fn psi(&self) -> u32 {
        self.psi
    }

    /// Forward NTT in place: words in `[0, 4q)` to canonical residues.
    pub(crate) fn forward(&self, words: &mut [u32]) {
        self.transform.forward(words);
    }

    /// Inverse NTT in place, `1/N` included: words in `[0, 2q)` to canonical residues.
    pub(crate) fn inverse(&self, words: &mut [u32]) {
        self.transform.inverse(words, 1);
    }

    /// `factor` times the inverse NTT, in place and at no further cost: words in `[0, 2q)` to canonical residues, for a canonical
    /// factor.
    pub(crate) fn inverse_scaled(&self, words: &mut [u32], factor: u32) {
        self.transform.inverse(words, factor);
    }
}

/// Modulus and root determine everything else.
impl PartialEq for Prime {
    fn eq(&self, other: &Self) -> bool {
        (self.modulus, self.psi) == (other.modulus, other.psi)
    }
}

impl Eq for Prime {}

impl std::fmt::Debug for Prime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prime({})", self.q())
    }
}

/// Indices of the primes that a conversion leads from and to.
type FromTo = (Vec<u32>, Vec<u32>);

/// A residue ring `Z[X]/(X^N + 1)` modulo several primes, with everything that depends on nothing else.
#[derive(Debug)]
pub struct RingTables {
    log_n: LogN,
    primes: Vec<Prime>,
    extensions: Mutex<HashMap<FromTo, Arc<Extension>>>,
}

/// Rings with equal primes are one ring, wherever their tables were made.
impl PartialEq for RingTables {
    fn eq(&self, other: &Self) -> bool {
        self.log_n == other.log_n && self.primes == other.primes
    }
}

impl Eq for RingTables {}

impl RingTables {
    /// Tables for distinct primes `= 1 mod 2N` below `2^30`.
    ///
    /// # Cost
    /// Time and memory `O(N)` a prime.
    /// # Errors
    /// [`Error::InvalidParameter`] for an empty list, a repeated or an unsuitable modulus.
    pub fn new(log_n: LogN, moduli: &[u32]) -> Result<Self> {
        let mut sorted = moduli.to_vec();
        sorted.sort_unstable();
        if moduli.is_empty() || sorted.windows(2).any(|w| w[0] == w[1]) {
            return Err(Error::InvalidParameter {
                what: "moduli",
                reason: "need distinct primes, at least one".into(),
            });
        }
        use rayon::prelude::*;
        let primes = moduli.par_iter().map(|&q| Prime::new(q, log_n)).collect::<Result<_>>()?;
        Ok(Self { log_n, primes, extensions: Mutex::default() })
    }

    /// Ring dimension.
    pub fn log_n(&self) -> LogN {
        self.log_n
    }

    /// The primes, in ring order.
    pub fn primes(&self) -> &[Prime] {
        &self.primes
    }

    /// The product of the primes `primes` modulo the prime `modulo`, by their indices.
    pub(crate) fn product(&self, primes: &[u32], modulo: u32) -> u32 {
        self.primes[modulo as usize].modulus().product(primes.iter().map(|&p| self.primes[p as usize].q()))
    }

    /// The constants that convert residues over the primes `from` (indices) to residues over `to`, computed once.
    pub(crate) fn extension(&self, from: &[u32], to: &[u32]) -> Arc<Extension> {
        let mut known = self.extensions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&(from.to_vec(), to.to_vec())) {
            return Arc::clone(found);
        }
        let moduli = |list: &[u32]| list.iter().map(|&p| self.primes[p as usize].modulus()).collect::<Vec<_>>();
        let made = Arc::new(Extension::new(&moduli(from), &moduli(to)));
        known.insert((from.to_vec(), to.to_vec()), Arc::clone(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::ntt_primes_below;

    #[test]
    fn unsuitable_moduli_are_refused() {
        let log_n = LogN::new(12).unwrap();
        let q = ntt_primes_below(1 << 30, log_n).next().unwrap();
        for bad in [vec![], vec![q, q], vec![q + 2], vec![8193 * 3], vec![u32::MAX], vec![0]] {
            assert!(RingTables::new(log_n, &bad).is_err(), "{bad:?}");
        }
    }
}
