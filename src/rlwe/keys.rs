//! Switching keys, on the host.

use super::Parameters;
use super::encrypt::HostPair;
use super::secret::SecretKey;
use crate::error::{Error, Result};
use crate::math::{Csprng, rows};
use crate::units::GaloisElement;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Takes ciphertexts under one secret `s'` to another `s`: for each digit `d` a pair `(b_d, a_d)` with `b_d + a_d s = e_d + g_d s'`
/// over every prime, where `g_d` is `P` modulo the digit's primes and 0 modulo the others. The uniform halves are seeds.
#[derive(Clone, Debug)]
pub struct SwitchingKey {
    pub(super) digits: Vec<HostPair>,
}

impl SwitchingKey {
    /// The key from `from` (evaluation form over every prime) to `secret`.
    fn generate(secret: &SecretKey, from: &[u32], rng: &mut Csprng) -> Self {
        let parameters = secret.parameters();
        let primes = parameters.tables().primes();
        let (n, all, chain) = (parameters.tables().log_n().degree(), parameters.all(), parameters.chain());
        let limbs = crate::units::LimbCount(all.limbs());
        let message = |digit: &crate::device::Digit| {
            let mut words = zeroize::Zeroizing::new(vec![0; primes.len() * n]);
            let range = digit.first as usize..(digit.first + digit.limbs) as usize;
            words.par_chunks_mut(n).zip(from.par_chunks(n)).enumerate().for_each(|(l, (out, from))| {
                if range.contains(&l) {
                    let m = primes[l].modulus();
                    let special = primes[chain.0 as usize..].iter().fold(1, |acc, p| m.mul(acc, p.q() % m.get()));
                    out.copy_from_slice(from);
                    rows::scale(primes[l].reducer(), out, special, m.shoup(special));
                }
            });
            words
        };
        let digits = parameters.digits(chain);
        Self { digits: digits.iter().map(|d| secret.encrypt(&message(d), 1, limbs, rng)).collect() }
    }

    /// Number of digits.
    pub fn digits(&self) -> usize {
        self.digits.len()
    }

    /// Bytes to store or send.
    pub fn bytes(&self) -> usize {
        self.digits.iter().map(HostPair::bytes).sum()
    }

    /// `[b_d, a_d]` of one digit, expanded: `[2][prime][N]`.
    pub(super) fn expand_digit(&self, digit: usize, parameters: &Parameters) -> Vec<u32> {
        let pair = &self.digits[digit];
        let mut words = pair.c0.clone();
        words.extend(pair.expand_c1(parameters));
        words
    }
}

/// The keys that a server needs: relinearization and automorphisms. Nothing in them is secret.
#[derive(Clone, Debug)]
pub struct EvaluationKeys {
    pub(super) parameters: Parameters,
    pub(super) relinearization: Option<SwitchingKey>,
    pub(super) galois: BTreeMap<GaloisElement, SwitchingKey>,
}

impl EvaluationKeys {
    /// Keys for exactly these automorphisms, with or without relinearization.
    ///
    /// # Cost
    /// Per key and digit: as many NTTs as there are primes.
    /// # Errors
    /// [`Error::InvalidParameter`] for an element that is even or not below `2N`.
    pub fn generate(
        secret: &SecretKey,
        relinearization: bool,
        elements: impl IntoIterator<Item = GaloisElement>,
        rng: &mut Csprng,
    ) -> Result<Self> {
        let two_n = 2u32 << secret.parameters().tables().log_n().get();
        let relinearization = relinearization.then(|| SwitchingKey::generate(secret, &secret.square(), rng));
        let mut galois = BTreeMap::new();
        for element in elements {
            if element.get() % 2 == 0 || element.get() >= two_n {
                return Err(Error::InvalidParameter {
                    what: "galois element",
                    reason: format!("{} is not odd and below {two_n}", element.get()),
                });
            }
            if element != GaloisElement::IDENTITY && !galois.contains_key(&element) {
                let image = secret.automorphism(element.inverse(secret.parameters().tables().log_n()));
                galois.insert(element, SwitchingKey::generate(&image, secret.words(), rng));
            }
        }
        Ok(Self { parameters: secret.parameters().clone(), relinearization, galois })
    }

    /// The parameters they were made for.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The key from `s^2` to `s`.
    pub fn relinearization(&self) -> Option<&SwitchingKey> {
        self.relinearization.as_ref()
    }

    /// For each `g` the key from `s` to `s(X^(1/g))`: after that switch the automorphism leads back to `s`.
    pub fn galois(&self) -> &BTreeMap<GaloisElement, SwitchingKey> {
        &self.galois
    }

    /// Bytes to store or send.
    pub fn bytes(&self) -> usize {
        self.relinearization.iter().chain(self.galois.values()).map(SwitchingKey::bytes).sum()
    }
}
