//! Ring learning with errors: secrets, keys, encryption, gadget decomposition, key switching. Knows no scheme.
//!
//! Secrets, key generation, encryption and decryption run on the host ([`secret`], [`encrypt`]); key switching runs on a
//! device ([`switch`]). An encryption of `m` under `s` is a pair `(c0, c1)` with `c0 + c1 s = m + e`.
//!
//! The modulus chain is a prefix code: the ring's primes are the `chain` primes, level by level, then the `special` primes,
//! whose product is `P`. Key switching is hybrid: the chain's limbs are cut into digits of `digit_limbs`, and the key for digit
//! `d` encrypts `P s'` modulo the primes of that digit and 0 modulo all others, so that a key made for some limbs serves
//! every prefix of them ([`Gadget`]): one that is used at low levels only needs not cover the whole chain.
//!
//! # Source
//! Hybrid key switching: Han and Ki, ePrint 2019/688.

pub mod encrypt;
mod gadget;
pub mod keys;
pub mod raise;
pub mod secret;
mod store;
pub mod switch;
pub mod wire;

pub use encrypt::{HostPair, PublicKey};
pub use gadget::Gadget;
pub use keys::{EvaluationKeys, KeyId, SwitchingKey};
pub use raise::Encapsulation;
pub use secret::SecretKey;
pub use store::KeyStatistics;
pub use switch::{Digits, Finish, KeySwitcher};

use crate::device::{Basis, Digit};
use crate::error::{Error, Result};
use crate::math::RingTables;
use crate::units::LimbCount;
use std::sync::Arc;

/// The primes of an RLWE set-up and their roles. Cloning shares it. Schemes make them, after the check of security.
#[derive(Clone, Debug)]
pub struct Parameters {
    tables: Arc<RingTables>,
    chain: u32,
    digit_limbs: u32,
}

impl Parameters {
    /// Roles for the primes of `tables`: the first `chain` carry ciphertexts, the others are special; a digit has
    /// `digit_limbs` limbs.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] without special primes, or when their product is so much smaller than a digit (by more
    /// than four bits) that key switching would drown the message.
    pub(crate) fn new(tables: Arc<RingTables>, chain: LimbCount, digit_limbs: u32) -> Result<Self> {
        let bad = |what, reason: String| Err(Error::InvalidParameter { what, reason });
        let all = tables.primes().len();
        let chain_limbs = chain.0 as usize;
        if chain_limbs == 0 || chain_limbs >= all {
            return bad("chain", format!("{chain_limbs} of {all} primes; at least one must be special"));
        }
        if digit_limbs == 0 || digit_limbs > 12 {
            return bad("digit_limbs", format!("{digit_limbs} is outside 1..=12"));
        }
        if all - chain_limbs > 12 {
            return bad("special primes", format!("{}, at most 12", all - chain_limbs));
        }
        let bits = |primes: &[crate::math::Prime]| primes.iter().map(|p| f64::from(p.q()).log2()).sum::<f64>();
        let special = bits(&tables.primes()[chain_limbs..]);
        let digit = tables.primes()[..chain_limbs].chunks(digit_limbs as usize).map(bits).fold(0.0, f64::max);
        if special + 4.0 < digit {
            return bad("special primes", format!("{special:.1} bits for digits of {digit:.1} bits"));
        }
        Ok(Self { tables, chain: chain.0, digit_limbs })
    }

    /// Whether both give the same roles to the same primes.
    pub fn is_same(&self, other: &Self) -> bool {
        self.tables == other.tables && (self.chain, self.digit_limbs) == (other.chain, other.digit_limbs)
    }

    /// Primes and roots, chain first.
    pub fn tables(&self) -> &Arc<RingTables> {
        &self.tables
    }

    /// Limbs of the whole chain.
    pub fn chain(&self) -> LimbCount {
        LimbCount(self.chain)
    }

    /// Number of special primes.
    pub fn special(&self) -> LimbCount {
        LimbCount(self.all().limbs() - self.chain)
    }

    /// Limbs of a digit, but for the last.
    pub(crate) fn digit_limbs(&self) -> u32 {
        self.digit_limbs
    }

    /// The first `limbs` primes of the chain.
    pub(crate) fn basis(&self, limbs: LimbCount) -> Basis {
        Basis::new(0..limbs.0)
    }

    /// Every prime: the basis of keys.
    pub fn all(&self) -> Basis {
        Basis::new(0..u32::try_from(self.tables.primes().len()).expect("fewer than 2^32 primes"))
    }

    /// The first `limbs` primes of the chain, then the special primes.
    pub(crate) fn extended(&self, limbs: LimbCount) -> Basis {
        self.gadget(limbs).basis()
    }

    /// The digits of the first `limbs` limbs of the chain.
    pub fn digits(&self, limbs: LimbCount) -> Arc<[Digit]> {
        Arc::clone(self.gadget(limbs).digits())
    }

    /// Key switching of the first `limbs` limbs of the chain (all, if it has fewer), with every special prime.
    pub fn gadget(&self, limbs: LimbCount) -> Gadget {
        let special = self.all().slice(self.chain, self.special().0);
        Gadget::new(self.basis(limbs.min(self.chain())), special, self.digit_limbs)
    }
}
