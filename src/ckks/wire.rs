//! The bytes of parameters, plaintexts and ciphertexts. The frame around them is [`crate::rlwe::wire`]'s.
//!
//! # Layout
//! Parameters: the set of primes ([`crate::rlwe::wire::keys`]); `u32`: levels of the application, bits of scale, bits
//! of security claimed (0 for a toy); bootstrapping, all 0 for none: levels of SlotToCoeff and CoeffToSlot, bits of
//! transform, scale and ratio, range, degree, doublings, arcsine, weight and special primes of the sparse secret (0 for
//! a dense one); the highest level `L`; for each level from 0 to `L` its limbs, `u32`, and scale, `f64`. Their
//! fingerprint is SHA-256 of all this after a label, and what plaintexts and ciphertexts carry.
//!
//! Plaintext: `u32`: batch, limbs, level, domain (1, evaluation); scale, `f64`; rows `[batch][limb]`.
//!
//! Ciphertext: `u32`: components, batch, limbs, level, domain (1, evaluation), form of the half (0 rows, 1 seed);
//! scale, `f64`; rows `[batch][limb]` of `c0`; the half: rows `[component][batch][limb]` of the other components, or a
//! seed.

use super::bootstrap::{BootstrapSecret, Bootstrapping};
use super::chain::Chain;
use super::ciphertext::HostCiphertext;
use super::client::KeyGenerator;
use super::encoder::Plaintext;
use super::parameters::Parameters;
use super::security::{Security, SecurityEstimate};
use crate::error::{Error, Result};
use crate::math::{Csprng, Prime, Seed};
use crate::rlwe::encrypt::UniformHalf;
use crate::rlwe::wire::keys::{self, SEED_BYTES};
use crate::rlwe::wire::{HEADER_BYTES, Kind, Limits, Reader, Writer};
use crate::rlwe::{HostPair, SecretKey};
use crate::units::{Level, LimbCount};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::sync::Arc;

/// The domain of rows that travel.
const EVALUATION: u32 = 1;

/// Most levels of a chain.
const MAX_LEVELS: u32 = 1024;

/// Fields before the rows of a plaintext and of a ciphertext.
const PLAINTEXT_FIELDS: u64 = 24;
const CIPHERTEXT_FIELDS: u64 = 32;

/// The fingerprint of a set.
pub(super) fn fingerprint(parameters: &Parameters) -> [u8; 32] {
    Sha256::new().chain_update(b"ringlight ckks\0").chain_update(to_bytes(parameters)).finalize().into()
}

/// The payload of a set.
fn to_bytes(parameters: &Parameters) -> Vec<u8> {
    let security = parameters.security().map_or(0, Security::bits);
    let mut bytes = parameters.rlwe().to_bytes();
    let counts = [parameters.max_level().0, parameters.scale_bits(), security];
    let top = [parameters.top_level().0];
    let words = counts.into_iter().chain(bootstrapping_words(parameters.bootstrapping())).chain(top);
    bytes.extend(words.flat_map(u32::to_le_bytes));
    for (limbs, scale) in parameters.levels() {
        bytes.extend(limbs.0.to_le_bytes());
        bytes.extend(scale.to_le_bytes());
    }
    bytes
}

/// The settings, or 0 throughout.
fn bootstrapping_words(settings: Option<&Bootstrapping>) -> [u32; 11] {
    settings.map_or([0; 11], |b| {
        let (weight, special) = match b.secret {
            BootstrapSecret::Dense => (0, 0),
            BootstrapSecret::Encapsulated { weight, special } => (weight, special),
        };
        [
            b.slots_to_coefficients,
            b.coefficients_to_slots,
            b.transform_bits,
            b.scale_bits,
            b.ratio_bits,
            b.range,
            b.degree,
            b.doublings,
            b.arcsine,
            weight,
            special,
        ]
    })
}

/// Reads settings, which must be possible for `levels` levels at a scale of `scale_bits`.
fn read_bootstrapping(
    reader: &mut Reader<'_>,
    set: &keys::Set,
    levels: u32,
    scale_bits: u32,
) -> Result<Option<Bootstrapping>> {
    let mut words = [0; 11];
    for word in &mut words {
        *word = reader.u32("bootstrapping")?;
    }
    if words == [0; 11] {
        return Ok(None);
    }
    let [weight, special] = [words[9], words[10]];
    let settings = Bootstrapping {
        slots_to_coefficients: words[0],
        coefficients_to_slots: words[1],
        transform_bits: words[2],
        scale_bits: words[3],
        ratio_bits: words[4],
        range: words[5],
        degree: words[6],
        doublings: words[7],
        arcsine: words[8],
        secret: match (weight, special) {
            (0, 0) => BootstrapSecret::Dense,
            _ => BootstrapSecret::Encapsulated { weight, special },
        },
    };
    // The check interpolates a cosine of this degree.
    reader.charge("bootstrapping", 64 * u64::from(settings.degree))?;
    settings.check(levels, scale_bits).map_err(|error| reader.bad("bootstrapping", error.to_string()))?;
    if weight as usize > set.log_n.degree() || special > set.special() {
        let reason = format!("a sparse secret of weight {weight} with {special} special primes");
        return Err(reader.bad("bootstrapping", reason));
    }
    Ok(Some(settings))
}

impl Parameters {
    /// Bytes of [`Self::write_to`].
    pub fn wire_bytes(&self) -> u64 {
        HEADER_BYTES + to_bytes(self).len() as u64
    }

    /// Writes the exact set: primes, roots, levels, scales. Read elsewhere it is this set ([`Self::is_same`]).
    ///
    /// # Errors
    /// [`crate::Error::Stream`].
    pub fn write_to(&self, mut sink: impl Write) -> Result<()> {
        let payload = to_bytes(self);
        let mut writer = Writer::open(&mut sink, Kind::Parameters, self.fingerprint(), payload.len() as u64)?;
        writer.bytes(&payload)?;
        writer.close();
        Ok(())
    }

    /// Reads a set and checks it like a built one: primes, chain, scales, special primes, and the security table. A
    /// sparse secret for bootstrapping, which the table does not cover, must be at least as strong as those of the
    /// presets.
    ///
    /// # Cost
    /// Few bytes become tables of some `20 N` bytes a prime and `40 N` more, which count against the limits; so do 64 bytes for each degree of
    /// a bootstrapping's cosine while it is checked.
    /// # Errors
    /// [`crate::Error::BadBytes`], also for a set outside the security table; [`crate::Error::Stream`].
    pub fn read_from(mut source: impl Read, limits: &Limits) -> Result<Self> {
        read_parameters(&mut source, limits, true)
    }

    /// As [`Self::read_from`] without the security table: **toy parameters for tests**, which protect nothing.
    ///
    /// # Errors
    /// As [`Self::read_from`].
    pub fn insecure_read_from(mut source: impl Read, limits: &Limits) -> Result<Self> {
        read_parameters(&mut source, limits, false)
    }
}

fn read_parameters(source: &mut dyn Read, limits: &Limits, secure: bool) -> Result<Parameters> {
    let mut reader = Reader::open(source, Kind::Parameters, limits)?;
    let set = keys::Set::read(&mut reader)?;
    let max_level = reader.count("levels", 0..=MAX_LEVELS)?;
    let scale_bits = reader.count("scale_bits", 1..=64)?;
    let claimed = reader.u32("security")?;
    let log_qp = set.moduli.iter().map(|&q| f64::from(q).log2()).sum();
    let security = SecurityEstimate::new(set.log_n, log_qp).row;
    if secure && security.is_none() {
        let reason = format!(
            "log2(QP) = {log_qp:.1} at N = 2^{} is outside the table of ePrint 2024/463; `insecure_read_from` reads toys",
            set.log_n.get()
        );
        return Err(reader.bad("security", reason));
    }
    let found = security.map_or(0, Security::bits);
    if claimed != found {
        return Err(reader.bad("security", format!("{claimed} bits are claimed, the set has {found}")));
    }
    let bootstrapping = read_bootstrapping(&mut reader, &set, max_level, scale_bits)?;
    let extra = bootstrapping.map_or(0, |b| b.eval_mod_levels() + b.coefficients_to_slots);
    let top = reader.count("highest level", max_level + extra..=max_level + extra)?;
    let moduli = set.moduli[..set.chain.0 as usize].to_vec();
    let mut chain = Chain { moduli, limbs_at: Vec::new(), scale_at: Vec::new() };
    for level in 0..=top {
        // Every level has a limb more than the one below, the highest has them all.
        let last = chain.limbs_at.last().map_or(0, |limbs| limbs.0);
        let limbs = reader.u32("limbs of a level")?;
        if limbs <= last || limbs > set.chain.0 || (level == top) != (limbs == set.chain.0) {
            let reason = format!("{limbs} at level {level} of {top} after {last}, in a chain of {}", set.chain.0);
            return Err(reader.bad("limbs of a level", reason));
        }
        let log_q: f64 = chain.moduli[..limbs as usize].iter().map(|&q| f64::from(q).log2()).sum();
        chain.limbs_at.push(LimbCount(limbs));
        chain.scale_at.push(read_scale(&mut reader, log_q)?);
    }
    chain.check(max_level, scale_bits, bootstrapping.as_ref()).map_err(|error| match error {
        Error::InvalidParameter { what, reason } => reader.bad(what, reason),
        other => other,
    })?;
    reader.expect_left(0)?;
    reader.charge("log_n", 40 * set.log_n.degree() as u64)?;
    let rlwe = set.build(&mut reader)?;
    let levels = chain.limbs_at.into_iter().zip(chain.scale_at);
    let parameters = Parameters::from_parts(rlwe, levels, scale_bits, Level(max_level), bootstrapping);
    if secure {
        parameters.check_sparse_secret().map_err(|error| reader.bad("bootstrapping", error.to_string()))?;
    }
    reader.made_under(parameters.fingerprint())?;
    reader.close()?;
    Ok(parameters)
}

/// A scale: a number from 1 up to the modulus.
fn read_scale(reader: &mut Reader<'_>, log_q: f64) -> Result<f64> {
    let scale = reader.f64("scale")?;
    if (1.0..=f64::MAX).contains(&scale) && scale.log2() < log_q {
        return Ok(scale);
    }
    Err(reader.bad("scale", format!("{scale:e} is not a number from 1 up to the modulus 2^{log_q:.1}")))
}

/// Batch, limbs, level, domain: what plaintexts and ciphertexts have in common.
struct Fields {
    batch: u32,
    limbs: LimbCount,
    level: Level,
}

impl Fields {
    fn write(&self, writer: &mut Writer<'_>) -> Result<()> {
        [self.batch, self.limbs.0, self.level.0, EVALUATION].iter().try_for_each(|&field| writer.u32(field))
    }

    /// Reads the fields of an object with `components` polynomials to a vector.
    fn read(reader: &mut Reader<'_>, parameters: &Parameters, components: u32) -> Result<Self> {
        let batch = reader.count("batch", 1..=u32::MAX / components)?;
        let limbs = LimbCount(reader.u32("limbs")?);
        let level = Level(reader.count("level", 0..=parameters.top_level().0)?);
        let expected = parameters.limbs_at(level)?;
        if limbs != expected {
            return Err(reader.bad("limbs", format!("{} at level {}, which has {}", limbs.0, level.0, expected.0)));
        }
        reader.count("domain", EVALUATION..=EVALUATION)?;
        Ok(Self { batch, limbs, level })
    }

    fn rows(&self) -> u64 {
        u64::from(self.batch) * u64::from(self.limbs.0)
    }

    fn row_bytes(parameters: &Parameters) -> u64 {
        4 * parameters.log_n().degree() as u64
    }

    fn moduli(&self, parameters: &Parameters) -> Vec<u32> {
        parameters.rlwe().tables().primes().iter().take(self.limbs.0 as usize).map(Prime::q).collect()
    }
}

impl Plaintext {
    fn fields(&self) -> Result<Fields> {
        Ok(Fields { batch: self.batch, limbs: self.parameters.limbs_at(self.level)?, level: self.level })
    }

    /// Bytes of [`Self::write_to`].
    pub fn wire_bytes(&self) -> u64 {
        HEADER_BYTES + PLAINTEXT_FIELDS + 4 * self.words.len() as u64
    }

    /// Writes the encoded vectors, in the clear.
    ///
    /// # Errors
    /// [`crate::Error::Stream`].
    pub fn write_to(&self, mut sink: impl Write) -> Result<()> {
        let payload = self.wire_bytes() - HEADER_BYTES;
        let mut writer = Writer::open(&mut sink, Kind::Plaintext, self.parameters.fingerprint(), payload)?;
        self.fields()?.write(&mut writer)?;
        writer.f64(self.scale)?;
        writer.words(&self.words)?;
        writer.close();
        Ok(())
    }

    /// Reads encoded vectors.
    ///
    /// # Errors
    /// [`crate::Error::BadBytes`], [`crate::Error::Stream`].
    pub fn read_from(mut source: impl Read, parameters: &Parameters, limits: &Limits) -> Result<Self> {
        let mut reader = Reader::open(&mut source, Kind::Plaintext, limits)?;
        reader.made_under(parameters.fingerprint())?;
        let fields = Fields::read(&mut reader, parameters, 1)?;
        let scale = read_scale(&mut reader, parameters.log_q_at(fields.level)?)?;
        reader.expect_left(fields.rows() * Fields::row_bytes(parameters))?;
        let n = parameters.log_n().degree();
        let words = reader.private_rows("rows", fields.rows(), n, &fields.moduli(parameters))?;
        reader.close()?;
        Ok(Self { parameters: parameters.clone(), level: fields.level, scale, batch: fields.batch, words })
    }
}

impl HostCiphertext {
    /// Bytes of [`Self::write_to`].
    pub fn wire_bytes(&self) -> u64 {
        HEADER_BYTES + CIPHERTEXT_FIELDS + self.pair.bytes() as u64
    }

    /// Writes the ciphertext; a seeded half as its seed.
    ///
    /// # Errors
    /// [`crate::Error::Stream`].
    pub fn write_to(&self, mut sink: impl Write) -> Result<()> {
        let payload = self.wire_bytes() - HEADER_BYTES;
        let mut writer = Writer::open(&mut sink, Kind::Ciphertext, self.parameters.fingerprint(), payload)?;
        writer.u32(self.components)?;
        Fields { batch: self.pair.batch, limbs: self.pair.limbs, level: self.level }.write(&mut writer)?;
        writer.u32(matches!(self.pair.c1, UniformHalf::Seeded(_)).into())?;
        writer.f64(self.scale)?;
        keys::write_pair(&mut writer, &self.pair)?;
        writer.close();
        Ok(())
    }

    /// Reads a ciphertext that a client sent.
    ///
    /// # Errors
    /// [`crate::Error::BadBytes`], also for a *trivial* ciphertext, whose `c1` is 0 modulo some prime, so that anybody
    /// can read it: nobody encrypts like that. [`crate::Error::Stream`].
    pub fn read_from(mut source: impl Read, parameters: &Parameters, limits: &Limits) -> Result<Self> {
        let ciphertext = read_ciphertext(&mut source, parameters, limits)?;
        let trivial = match &ciphertext.pair.c1 {
            UniformHalf::Words(words) => {
                words.chunks(parameters.log_n().degree()).position(|row| row.iter().all(|&word| word == 0))
            }
            UniformHalf::Seeded(_) => None,
        };
        if let Some(row) = trivial {
            return Err(Kind::Ciphertext.bad("c1", format!("row {row} is 0: a trivial ciphertext hides nothing")));
        }
        Ok(ciphertext)
    }

    /// As [`Self::read_from`] for the key's owner, who reads what a server computed: a product with 0 is trivial and
    /// right.
    ///
    /// # Errors
    /// [`crate::Error::BadBytes`], [`crate::Error::Stream`].
    pub fn read_answer_from(mut source: impl Read, parameters: &Parameters, limits: &Limits) -> Result<Self> {
        read_ciphertext(&mut source, parameters, limits)
    }
}

fn read_ciphertext(source: &mut dyn Read, parameters: &Parameters, limits: &Limits) -> Result<HostCiphertext> {
    let mut reader = Reader::open(source, Kind::Ciphertext, limits)?;
    reader.made_under(parameters.fingerprint())?;
    let components = reader.count("components", 2..=3)?;
    let fields = Fields::read(&mut reader, parameters, components)?;
    let seeded = reader.count("half", 0..=if components == 2 { 1 } else { 0 })? == 1;
    let scale = read_scale(&mut reader, parameters.log_q_at(fields.level)?)?;
    let row_bytes = Fields::row_bytes(parameters);
    let rest = u64::from(components - 1) * fields.rows();
    reader.expect_left(fields.rows() * row_bytes + if seeded { SEED_BYTES } else { rest * row_bytes })?;
    let n = parameters.log_n().degree();
    let c0 = reader.rows("c0", fields.rows(), n, &fields.moduli(parameters))?;
    let c1 = if seeded {
        UniformHalf::Seeded(reader.seed("c1")?)
    } else {
        UniformHalf::Words(reader.rows("c1", rest, n, &fields.moduli(parameters))?)
    };
    reader.close()?;
    let pair = HostPair { limbs: fields.limbs, batch: fields.batch, c0, c1 };
    Ok(HostCiphertext { parameters: parameters.clone(), pair, components, level: fields.level, scale })
}

impl KeyGenerator {
    /// Writes the **secret key, in the clear**: for the owner's own disk, encrypted or readable by nobody else, never
    /// for a server. Our buffers are wiped; what `sink` keeps is its own affair.
    ///
    /// # Errors
    /// [`crate::Error::Stream`].
    pub fn write_secret_to(&self, mut sink: impl Write) -> Result<()> {
        self.secret().write_to(&mut sink)
    }

    /// A generator for the secret key that [`Self::write_secret_to`] wrote, with fresh randomness from the operating
    /// system. As there, it is for the owner's own disk.
    ///
    /// # Errors
    /// [`crate::Error::BadBytes`], [`crate::Error::Stream`], [`crate::Error::NoEntropy`].
    pub fn read_secret_from(mut source: impl Read, parameters: &Parameters, limits: &Limits) -> Result<Self> {
        let secret = Arc::new(SecretKey::read_from(&mut source, parameters.rlwe(), limits)?);
        Ok(Self::from_secret(parameters, secret, Csprng::new(&Seed::from_os()?)))
    }
}
