//! The bytes of key material and of the primes under it.
//!
//! # Layout
//! The *set*, the first part of parameters: `log2 N`, primes of the chain, special primes, limbs of a digit, a `u32`
//! each; then for every prime the prime and its root `psi` (which fixes the order of evaluations). Its fingerprint,
//! SHA-256 after a label, is what keys carry.
//!
//! Public key: the rows of `b` over the chain, the seed of `a`.
//!
//! Evaluation keys: the number of keys; each with its purpose (0 relinearization, 1 Galois, 2 encapsulation, 3
//! decapsulation), its Galois element (0 for the others), limbs of its operand, special primes, digits, a `u32` each,
//! and for each digit the rows of `b_d` over the operand's primes and the special ones, and the seed of `a_d`. Keys
//! ascend by purpose and element. Bootstrapping keys are evaluation keys.
//!
//! Secret key: the `N` coefficients, a byte each, 2 for -1.

use super::{HEADER_BYTES, Kind, Limits, Reader, Writer};
use crate::device::Basis;
use crate::error::{Error, Result};
use crate::math::{Modulus, RingTables, is_prime};
use crate::rlwe::encrypt::UniformHalf;
use crate::rlwe::{EvaluationKeys, Gadget, HostPair, KeyId, Parameters, PublicKey, SecretKey, SwitchingKey};
use crate::units::{GaloisElement, LimbCount, LogN};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Most primes of a set.
const MAX_PRIMES: u32 = 1024;

/// Bytes of a seed.
pub(crate) const SEED_BYTES: u64 = 32;

impl Parameters {
    /// SHA-256 of primes, roots and roles: what keys belong to.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"ringlight rlwe\0").chain_update(self.to_bytes()).finalize().into()
    }

    /// The set as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let primes = self.tables().primes();
        let counts = [self.tables().log_n().get(), self.chain().0, self.special().0, self.digit_limbs()];
        let primes = primes.iter().flat_map(|prime| [prime.q(), prime.psi()]);
        counts.into_iter().chain(primes).flat_map(u32::to_le_bytes).collect()
    }

    fn row_bytes(&self) -> u64 {
        4 * self.tables().log_n().degree() as u64
    }
}

/// A set that was read and checked, before its tables are made.
pub(crate) struct Set {
    pub(crate) log_n: LogN,
    pub(crate) chain: LimbCount,
    digit_limbs: u32,
    pub(crate) moduli: Vec<u32>,
    roots: Vec<u32>,
}

impl Set {
    /// Number of special primes.
    pub(crate) fn special(&self) -> u32 {
        u32::try_from(self.moduli.len()).expect("counted in 32 bits") - self.chain.0
    }

    /// Reads a set: primes that are prime, distinct, and `1 mod 2N`.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let log_n = reader.u32("log_n")?;
        let log_n = LogN::new(log_n).ok_or_else(|| reader.bad("log_n", format!("{log_n} is outside 10 to 17")))?;
        let chain = reader.count("chain", 1..=MAX_PRIMES)?;
        let special = reader.count("special primes", 1..=MAX_PRIMES)?;
        let digit_limbs = reader.u32("digit_limbs")?;
        let (mut moduli, mut roots) = (Vec::new(), Vec::new());
        for _ in 0..chain + special {
            let q = reader.u32("moduli")?;
            let friendly = q < Modulus::LIMIT && q % (2 << log_n.get()) == 1 && is_prime(q);
            if !friendly || moduli.contains(&q) {
                let reason = format!("{q} is not another prime = 1 mod 2^{} below 2^30", log_n.get() + 1);
                return Err(reader.bad("moduli", reason));
            }
            moduli.push(q);
            roots.push(reader.u32("roots")?);
        }
        Ok(Self { log_n, chain: LimbCount(chain), digit_limbs, moduli, roots })
    }

    /// Makes the tables, which must have the roots that were read.
    pub(crate) fn build(self, reader: &mut Reader<'_>) -> Result<Parameters> {
        // Four tables of roots a prime, and what making one takes.
        let (n, primes) = (self.log_n.degree() as u64, self.moduli.len() as u64);
        reader.charge("moduli", 20 * n * primes)?;
        let tables = RingTables::new(self.log_n, &self.moduli)?;
        for (prime, root) in tables.primes().iter().zip(&self.roots) {
            if prime.psi() != *root {
                let reason = format!("{root} modulo {} where this release computes {}", prime.q(), prime.psi());
                return Err(reader.bad("roots", reason));
            }
        }
        Parameters::new(Arc::new(tables), self.chain, self.digit_limbs).map_err(|error| match error {
            Error::InvalidParameter { what, reason } => reader.bad(what, reason),
            other => other,
        })
    }
}

/// A pair of one polynomial over a basis, with a seeded half.
fn read_pair(reader: &mut Reader<'_>, parameters: &Parameters, basis: &Basis) -> Result<HostPair> {
    let tables = parameters.tables();
    let moduli: Vec<u32> = basis.primes().iter().map(|&prime| tables.primes()[prime as usize].q()).collect();
    let c0 = reader.rows("rows", basis.limbs().into(), tables.log_n().degree(), &moduli)?;
    Ok(HostPair { limbs: LimbCount(basis.limbs()), batch: 1, c0, c1: UniformHalf::Seeded(reader.seed("seed")?) })
}

/// Writes both halves of a pair.
pub(crate) fn write_pair(writer: &mut Writer<'_>, pair: &HostPair) -> Result<()> {
    writer.words(&pair.c0)?;
    match &pair.c1 {
        UniformHalf::Words(words) => writer.words(words),
        UniformHalf::Seeded(seed) => writer.seed(seed),
    }
}

/// Bytes before the digits of a switching key.
const KEY_FIELDS: u64 = 20;

impl KeyId {
    /// Purpose and Galois element.
    fn words(self) -> [u32; 2] {
        match self {
            Self::Relinearization => [0, 0],
            Self::Galois(element) => [1, element.get()],
            Self::Encapsulation => [2, 0],
            Self::Decapsulation => [3, 0],
        }
    }

    fn read(reader: &mut Reader<'_>, log_n: LogN) -> Result<Self> {
        let purpose = reader.count("key purpose", 0..=3)?;
        let element = reader.u32("galois element")?;
        match (purpose, element) {
            (0, 0) => Ok(Self::Relinearization),
            (2, 0) => Ok(Self::Encapsulation),
            (3, 0) => Ok(Self::Decapsulation),
            (1, _) => GaloisElement::new(element, log_n)
                .filter(|element| *element != GaloisElement::IDENTITY)
                .map(Self::Galois)
                .ok_or_else(|| reader.bad("galois element", format!("{element} is not odd, above 1 and below 2N"))),
            _ => Err(reader.bad("galois element", format!("{element} in a key that has none"))),
        }
    }
}

impl SwitchingKey {
    fn write(&self, writer: &mut Writer<'_>) -> Result<()> {
        writer.u32(self.gadget.limbs().0)?;
        writer.u32(self.gadget.special().limbs())?;
        writer.u32(digit_count(&self.gadget))?;
        self.digits.iter().try_for_each(|pair| write_pair(writer, pair))
    }

    /// Reads the key for a purpose, which says how its gadget may look.
    fn read(reader: &mut Reader<'_>, parameters: &Parameters, id: KeyId) -> Result<Self> {
        let (chain, all) = (parameters.chain().0, parameters.special().0);
        let shortest = if id == KeyId::Decapsulation { chain } else { 1 };
        let limbs = reader.count("key limbs", shortest..=chain)?;
        let fewest = if id == KeyId::Encapsulation { 1 } else { all };
        let special = reader.count("key special primes", fewest..=all)?;
        let gadget = match id {
            KeyId::Relinearization | KeyId::Galois(_) => parameters.gadget(LimbCount(limbs)),
            KeyId::Encapsulation | KeyId::Decapsulation => {
                let special = parameters.all().slice(chain, special);
                Gadget::new(parameters.basis(LimbCount(limbs)), special, limbs)
            }
        };
        let digits = digit_count(&gadget);
        reader.count("digits", digits..=digits)?;
        let basis = gadget.basis();
        let digits = (0..digits).map(|_| read_pair(reader, parameters, &basis)).collect::<Result<_>>()?;
        Ok(Self { gadget, digits })
    }
}

fn digit_count(gadget: &Gadget) -> u32 {
    u32::try_from(gadget.digits().len()).expect("at most one digit a limb")
}

impl PublicKey {
    /// Bytes of [`Self::write_to`].
    pub fn wire_bytes(&self) -> u64 {
        HEADER_BYTES + self.bytes() as u64
    }

    /// Writes the key, its uniform half as a seed.
    ///
    /// # Errors
    /// [`Error::Stream`].
    pub fn write_to(&self, mut sink: impl Write) -> Result<()> {
        let fingerprint = self.parameters().fingerprint();
        let mut writer = Writer::open(&mut sink, Kind::PublicKey, &fingerprint, self.bytes() as u64)?;
        write_pair(&mut writer, self.pair())?;
        writer.close();
        Ok(())
    }

    /// Reads a key. Both halves are in memory then: twice the bytes.
    ///
    /// # Errors
    /// [`Error::BadBytes`], [`Error::Stream`].
    pub fn read_from(mut source: impl Read, parameters: &Parameters, limits: &Limits) -> Result<Self> {
        let mut reader = Reader::open(&mut source, Kind::PublicKey, limits)?;
        reader.made_under(&parameters.fingerprint())?;
        let basis = parameters.basis(parameters.chain());
        let half = u64::from(basis.limbs()) * parameters.row_bytes();
        reader.expect_left(half + SEED_BYTES)?;
        reader.charge("seed", half)?;
        let pair = read_pair(&mut reader, parameters, &basis)?;
        reader.close()?;
        Ok(Self::from_pair(parameters, pair))
    }
}

impl EvaluationKeys {
    /// Bytes of [`Self::write_to`].
    pub fn wire_bytes(&self) -> u64 {
        HEADER_BYTES + self.payload_bytes()
    }

    fn payload_bytes(&self) -> u64 {
        4 + self.keys.values().map(|key| KEY_FIELDS + key.bytes() as u64).sum::<u64>()
    }

    /// Writes the keys, their uniform halves as seeds.
    ///
    /// # Errors
    /// [`Error::Stream`].
    pub fn write_to(&self, mut sink: impl Write) -> Result<()> {
        let fingerprint = self.parameters.fingerprint();
        let mut writer = Writer::open(&mut sink, Kind::EvaluationKeys, &fingerprint, self.payload_bytes())?;
        writer.u32(u32::try_from(self.keys.len()).expect("few more keys than automorphisms"))?;
        for (id, key) in &self.keys {
            id.words().iter().try_for_each(|&word| writer.u32(word))?;
            key.write(&mut writer)?;
        }
        writer.close();
        Ok(())
    }

    /// Reads keys.
    ///
    /// # Errors
    /// [`Error::BadBytes`], [`Error::Stream`].
    pub fn read_from(mut source: impl Read, parameters: &Parameters, limits: &Limits) -> Result<Self> {
        let mut reader = Reader::open(&mut source, Kind::EvaluationKeys, limits)?;
        reader.made_under(&parameters.fingerprint())?;
        let log_n = parameters.tables().log_n();
        // One for each automorphism but the identity, and three more.
        let count = reader.count("keys", 0..=(1 << log_n.get()) + 2)?;
        let mut keys = BTreeMap::new();
        for _ in 0..count {
            let id = KeyId::read(&mut reader, log_n)?;
            if keys.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(reader.bad("keys", format!("{id:?} twice or out of order")));
            }
            keys.insert(id, Arc::new(SwitchingKey::read(&mut reader, parameters, id)?));
        }
        reader.close()?;
        Ok(Self { parameters: parameters.clone(), keys })
    }
}

impl SecretKey {
    /// Writes the secret.
    pub(crate) fn write_to(&self, sink: &mut dyn Write) -> Result<()> {
        let coefficients = self.coefficients();
        let fingerprint = self.parameters().fingerprint();
        let mut writer = Writer::open(sink, Kind::SecretKey, &fingerprint, coefficients.len() as u64)?;
        // 0, 1 and q - 1 become 0, 1 and 2, without a branch.
        let byte = |word: &u32| u8::from(*word > 0) + u8::from(*word > 1);
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(coefficients.iter().map(byte).collect());
        writer.bytes(&bytes)?;
        writer.close();
        Ok(())
    }

    /// Reads a secret.
    pub(crate) fn read_from(source: &mut dyn Read, parameters: &Parameters, limits: &Limits) -> Result<Self> {
        let mut reader = Reader::open(source, Kind::SecretKey, limits)?;
        reader.made_under(&parameters.fingerprint())?;
        let n = parameters.tables().log_n().degree();
        reader.expect_left(n as u64)?;
        // Bytes, coefficients, and residues over every prime.
        reader.charge(
            "coefficients",
            5 * n as u64 + parameters.tables().primes().len() as u64 * parameters.row_bytes(),
        )?;
        let mut bytes = Zeroizing::new(vec![0u8; n]);
        reader.fill("coefficients", &mut bytes)?;
        if bytes.iter().fold(0, |largest, &byte| largest.max(byte)) > 2 {
            return Err(reader.bad("coefficients", "one of them is not -1, 0 or 1"));
        }
        reader.close()?;
        let signed = |byte: &u8| i32::from(byte & 1) - i32::from(byte >> 1);
        let coefficients = Zeroizing::new(bytes.iter().map(signed).collect::<Vec<i32>>());
        Ok(Self::from_coefficients(parameters, &coefficients))
    }
}
