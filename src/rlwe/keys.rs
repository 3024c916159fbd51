//! Switching keys, on the host.

use super::encrypt::HostPair;
use super::raise::Encapsulation;
use super::secret::SecretKey;
use super::{Gadget, Parameters};
use crate::device::Buffer;
use crate::error::{Error, Result};
use crate::math::{Csprng, rows};
use crate::ring::Ring;
use crate::units::{GaloisElement, LimbCount};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Takes ciphertexts under one secret `s'` to another `s`: for each digit `d` of its gadget a pair `(b_d, a_d)` with
/// `b_d + a_d s = e_d + g_d s'` over the gadget's basis, where `g_d` is `P` modulo the digit's primes and 0 modulo the others. The
/// uniform halves are seeds.
#[derive(Clone, Debug)]
pub struct SwitchingKey {
    pub(super) gadget: Gadget,
    pub(super) digits: Vec<HostPair>,
}

impl SwitchingKey {
    /// The key from `from` (evaluation form over every prime of the ring) to `secret`.
    pub(super) fn generate(secret: &SecretKey, from: &[u32], gadget: &Gadget, rng: &mut Csprng) -> Self {
        let (tables, basis) = (secret.parameters().tables(), gadget.basis());
        let n = tables.log_n().degree();
        let message = |first: u32, limbs: u32| {
            let mut words = Zeroizing::new(vec![0; basis.primes().len() * n]);
            let digit = &mut words[first as usize * n..(first + limbs) as usize * n];
            digit.par_chunks_mut(n).zip(&basis.primes()[first as usize..]).for_each(|(out, &index)| {
                let prime = index as usize;
                let (m, reducer) = (tables.primes()[prime].modulus(), tables.primes()[prime].reducer());
                let factor = tables.product(gadget.special().primes(), index);
                out.copy_from_slice(&from[prime * n..(prime + 1) * n]);
                rows::scale(reducer, out, factor, m.shoup(factor));
            });
            words
        };
        let digits =
            gadget.digits().iter().map(|d| secret.encrypt(&message(d.first, d.limbs), 1, &basis, rng)).collect();
        Self { gadget: gadget.clone(), digits }
    }

    /// What it can switch: operands over the gadget's primes, or a prefix of them.
    pub fn gadget(&self) -> &Gadget {
        &self.gadget
    }

    /// Limbs of the longest operand that it can switch.
    pub fn limbs(&self) -> LimbCount {
        self.gadget.limbs()
    }

    /// Number of digits.
    pub fn digits(&self) -> usize {
        self.digits.len()
    }

    /// Bytes to store or send.
    pub fn bytes(&self) -> usize {
        self.digits.iter().map(HostPair::bytes).sum()
    }

    /// Bytes on a device, where the uniform halves are expanded.
    pub fn device_bytes(&self) -> u64 {
        self.digits.iter().map(|pair| 8 * pair.c0.len() as u64).sum()
    }

    /// `[b_d, a_d]` of every digit on a device, over the gadget's basis; the uniform halves are expanded there.
    pub(super) fn load(&self, ring: &Ring) -> Result<Arc<[Buffer]>> {
        let basis = self.gadget.basis();
        self.digits.iter().map(|pair| Ok(pair.load(ring, &basis, 2)?.view().buffer.clone())).collect()
    }
}

/// What a switching key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyId {
    /// From `s^2` to `s`.
    Relinearization,
    /// From `s` to `s(X^(1/g))`: after that switch the automorphism `X -> X^g` leads back to `s`.
    Galois(GaloisElement),
    /// From `s` to an ephemeral sparse secret, under a small modulus.
    Encapsulation,
    /// From that sparse secret to `s`, for operands that are small beside the modulus: in one digit.
    Decapsulation,
}

/// The keys that a server needs: relinearization and automorphisms. Nothing in them is secret. Cloning shares them.
#[derive(Clone, Debug)]
pub struct EvaluationKeys {
    pub(super) parameters: Parameters,
    pub(super) keys: BTreeMap<KeyId, Arc<SwitchingKey>>,
}

impl EvaluationKeys {
    /// Keys for exactly these purposes, each for operands of so many limbs (at most the chain's); of two wishes for one key the
    /// longer counts. The identity needs none.
    ///
    /// # Cost
    /// Per key and digit: as many NTTs as the limbs and the special primes; `4 N` bytes for each of them, and a seed.
    /// # Errors
    /// [`Error::InvalidParameter`] for an element that is even or not below `2N`, or no limbs.
    pub fn generate(
        secret: &SecretKey,
        wanted: impl IntoIterator<Item = (KeyId, LimbCount)>,
        rng: &mut Csprng,
    ) -> Result<Self> {
        let parameters = secret.parameters();
        let log_n = parameters.tables().log_n();
        let two_n = 2u32 << log_n.get();
        let mut longest: BTreeMap<KeyId, LimbCount> = BTreeMap::new();
        for (id, limbs) in wanted {
            let bad = |what, reason: String| Err(Error::InvalidParameter { what, reason });
            match id {
                KeyId::Galois(g) if g.get() % 2 == 0 || g.get() >= two_n => {
                    return bad("galois element", format!("{} is not odd and below {two_n}", g.get()));
                }
                _ if limbs.0 == 0 || limbs > parameters.chain() => {
                    return bad("limbs", format!("a key for {} of the chain's {}", limbs.0, parameters.chain().0));
                }
                KeyId::Galois(GaloisElement::IDENTITY) => {}
                KeyId::Encapsulation | KeyId::Decapsulation => {
                    return bad("key", "keys of a sparse secret are made by `with_encapsulation`".into());
                }
                _ => {
                    let most = longest.entry(id).or_insert(limbs);
                    *most = limbs.max(*most);
                }
            }
        }
        let make = |(id, limbs)| {
            let gadget = parameters.gadget(limbs);
            let key = if let KeyId::Galois(element) = id {
                let image = secret.automorphism(element.inverse(log_n));
                SwitchingKey::generate(&image, secret.words(), &gadget, rng)
            } else {
                SwitchingKey::generate(secret, &secret.square(), &gadget, rng)
            };
            (id, Arc::new(key))
        };
        Ok(Self { parameters: parameters.clone(), keys: longest.into_iter().map(make).collect() })
    }

    /// With the two keys that lead to a fresh sparse secret and back, see [`Encapsulation`]. The sparse secret is forgotten.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a weight above `N`, or more limbs than there are.
    pub(crate) fn with_encapsulation(
        mut self,
        secret: &SecretKey,
        shape: Encapsulation,
        rng: &mut Csprng,
    ) -> Result<Self> {
        let sparse = SecretKey::generate_sparse(&self.parameters, shape.weight, rng)?;
        let (small, large) = (shape.inward(&self.parameters)?, shape.outward(&self.parameters));
        let inward = SwitchingKey::generate(&sparse, secret.words(), &small, rng);
        let outward = SwitchingKey::generate(secret, sparse.words(), &large, rng);
        self.keys.insert(KeyId::Encapsulation, Arc::new(inward));
        self.keys.insert(KeyId::Decapsulation, Arc::new(outward));
        Ok(self)
    }

    /// The parameters they were made for.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Every key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (KeyId, &Arc<SwitchingKey>)> {
        self.keys.iter().map(|(&id, key)| (id, key))
    }

    /// The key for one purpose.
    pub fn get(&self, id: KeyId) -> Option<&Arc<SwitchingKey>> {
        self.keys.get(&id)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes to store or send.
    pub fn bytes(&self) -> usize {
        self.keys.values().map(|key| key.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Basis;
    use crate::math::{RingTables, Seed, ntt_primes_below};
    use crate::units::LogN;

    fn parameters() -> Parameters {
        let log_n = LogN::new(10).unwrap();
        let primes: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(8).collect();
        Parameters::new(Arc::new(RingTables::new(log_n, &primes).unwrap()), LimbCount(6), 2).unwrap()
    }

    /// Largest coefficient of `b_d + a_d s - g_d s'`, by the definition of the gadget, over every prime of the key.
    fn largest_error(key: &SwitchingKey, secret: &SecretKey, from: &SecretKey) -> i64 {
        let tables = secret.parameters().tables();
        let (n, basis) = (tables.log_n().degree(), key.gadget().basis());
        let mut largest = 0;
        for (d, digit) in key.gadget().digits().iter().enumerate() {
            let pair = &key.digits[d];
            let a = pair.expand_c1(secret.parameters(), &basis);
            for (l, &p) in (0u32..).zip(basis.primes()) {
                let prime = &tables.primes()[p as usize];
                let m = prime.modulus();
                let special = key.gadget().special().primes().iter().map(|&p| tables.primes()[p as usize].q());
                let inside = (digit.first..digit.first + digit.limbs).contains(&l);
                let g = if inside { special.fold(1, |x, q| m.mul(x, q % m.get())) } else { 0 };
                let row = |words: &'_ [u32]| words[l as usize * n..][..n].to_vec();
                let secrets = secret.limb(p as usize).iter().zip(from.limb(p as usize));
                let mut e: Vec<u32> = row(&pair.c0)
                    .iter()
                    .zip(&row(&a))
                    .zip(secrets)
                    .map(|((&b, &a), (&s, &from))| m.sub(m.add(b, m.mul(a, s)), m.mul(g, from)))
                    .collect();
                prime.inverse(&mut e);
                let q = i64::from(prime.q());
                let centred = e.iter().map(|&x| i64::from(x)).map(|x| x.min(q - x));
                largest = centred.max().unwrap().max(largest);
            }
        }
        largest
    }

    #[test]
    fn keys_are_what_their_gadget_says() {
        let p = parameters();
        let mut rng = Csprng::new(&Seed::from_bytes([5; 32]));
        let dense = SecretKey::generate(&p, &mut rng);
        let sparse = SecretKey::generate_sparse(&p, 32, &mut rng).unwrap();
        // Two primes of the chain under one other prime, in one digit: what hides a sparse secret; then the usual ones.
        let small = Gadget::new(Basis::new([0, 3]), Basis::new([7]), 2);
        for (gadget, secret, from) in [
            (small.clone(), &sparse, &dense),
            (small, &dense, &sparse),
            (p.gadget(LimbCount(6)), &dense, &sparse),
            (p.gadget(LimbCount(3)), &dense, &sparse),
        ] {
            let key = SwitchingKey::generate(secret, from.words(), &gadget, &mut rng);
            let words = key.digits() * gadget.basis().primes().len() * 1024;
            assert_eq!(key.bytes(), 4 * words + 32 * key.digits());
            let error = largest_error(&key, secret, from);
            assert!((5..=41).contains(&error), "{gadget:?}: {error}");
            // The test can fail.
            assert!(largest_error(&key, from, secret) > 1 << 20);
        }
    }

    #[test]
    fn the_longer_of_two_wishes_counts() {
        let p = parameters();
        let mut rng = Csprng::new(&Seed::from_bytes([6; 32]));
        let secret = SecretKey::generate(&p, &mut rng);
        let element = GaloisElement::from_steps(3, p.tables().log_n());
        let ids = [KeyId::Galois(element), KeyId::Galois(GaloisElement::IDENTITY), KeyId::Relinearization];
        let wanted = [(ids[0], 2), (ids[0], 5), (ids[0], 3), (ids[1], 6), (ids[2], 1)];
        let wanted = wanted.map(|(id, limbs)| (id, LimbCount(limbs)));
        let keys = EvaluationKeys::generate(&secret, wanted, &mut rng).unwrap();
        let limbs: Vec<_> = keys.iter().map(|(id, key)| (id, key.limbs().0, key.digits())).collect();
        assert_eq!(limbs, [(ids[2], 1, 1), (ids[0], 5, 3)]);
        for limbs in [0, 7] {
            let refused = EvaluationKeys::generate(&secret, [(ids[2], LimbCount(limbs))], &mut rng);
            assert!(matches!(refused, Err(Error::InvalidParameter { what: "limbs", .. })), "{limbs}");
        }
    }
}
