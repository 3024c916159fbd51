//! Things that travel: one frame for every object, written to any [`Write`], read from any [`Read`].
//!
//! # Layout
//! All numbers are little-endian. Every object is a header of 48 bytes and its payload, with nothing between objects:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic, `RNGL` |
//! | 4 | 2 | version, [`VERSION`] |
//! | 6 | 2 | kind: 1 parameters, 2 public key, 3 evaluation keys, 4 plaintext, 5 ciphertext, 6 secret key, 7 a client's part of a model, 8 a server's, 9 a server's without its weights |
//! | 8 | 8 | bytes of the payload |
//! | 16 | 32 | fingerprint of the parameters |
//!
//! The payloads of keys are described in [`keys`], the others by the schemes (`ckks::wire`). A *row* is the `N`
//! residues of one polynomial modulo one prime, a `u32` each, in evaluation form; a *half* is the second half of an
//! encryption: rows, or the 32 bytes of a seed. What was written from a seed stays a seed, so that an object has one
//! encoding: what is read and written again is the same bytes.
//!
//! The layout is our own: it is nothing but counts and words, and a general format would allocate by its own counts
//! before ours are checked.
//!
//! # Bytes from outside are hostile
//! The caller states [`Limits`], which hold for the declared size and for the memory of what is made of it. Every count
//! is checked against the parameters and the declared size before memory is asked for, and memory grows as data
//! arrives, so that a forged size costs nothing. Residues are below their modulus. A bad input is [`Error::BadBytes`]
//! with the field's name, a failed reader or writer [`Error::Stream`].
//!
//! Non-goals: authenticity and integrity. Who can change bytes under way can replace them: use TLS, signatures or a
//! file system that checks. No checksum is written; damage that leaves every field valid gives another valid object.

pub mod keys;

use crate::error::{Error, Result};
use crate::math::Seed;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// Version of the layout. Readers refuse every other.
pub const VERSION: u16 = 1;

/// Bytes of a header.
pub const HEADER_BYTES: u64 = 48;

const MAGIC: [u8; 4] = *b"RNGL";

/// Words asked for before any have arrived.
const FIRST_WORDS: usize = 1 << 18;

/// What a reader is willing to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one object: those declared for it, and those in memory once it is read, seeds expanded and tables
    /// made where they will be at once. A few KiB of bookkeeping come on top, and while the allocator moves a vector of
    /// more than 1 MiB that grows, up to half its size.
    pub bytes: u64,
}

impl Limits {
    /// At most this many bytes.
    pub fn bytes(bytes: u64) -> Self {
        Self { bytes }
    }
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Parameters = 1,
    PublicKey = 2,
    EvaluationKeys = 3,
    Plaintext = 4,
    Ciphertext = 5,
    SecretKey = 6,
    ClientBundle = 7,
    ServerBundle = 8,
    EncryptedModel = 9,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Parameters,
        Self::PublicKey,
        Self::EvaluationKeys,
        Self::Plaintext,
        Self::Ciphertext,
        Self::SecretKey,
        Self::ClientBundle,
        Self::ServerBundle,
        Self::EncryptedModel,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::PublicKey => "a public key",
            Self::EvaluationKeys => "evaluation keys",
            Self::Plaintext => "a plaintext",
            Self::Ciphertext => "a ciphertext",
            Self::SecretKey => "a secret key",
            Self::ClientBundle => "a client bundle",
            Self::ServerBundle => "a server bundle",
            Self::EncryptedModel => "a model with encrypted weights",
        }
    }

    fn failed(self, doing: &'static str, error: &io::Error) -> Error {
        Error::Stream { doing, object: self.name(), kind: io::Error::kind(error), reason: error.to_string() }
    }

    pub(crate) fn bad(self, field: &'static str, reason: impl Into<String>) -> Error {
        Error::BadBytes { kind: self.name(), field, reason: reason.into() }
    }
}

/// Writes one object.
pub(crate) struct Writer<'a> {
    sink: &'a mut dyn Write,
    kind: Kind,
    /// Declared bytes not written yet.
    left: u64,
}

impl<'a> Writer<'a> {
    /// Writes the header of an object with a payload of `payload` bytes.
    pub(crate) fn open(sink: &'a mut dyn Write, kind: Kind, fingerprint: &[u8; 32], payload: u64) -> Result<Self> {
        let mut writer = Self { sink, kind, left: HEADER_BYTES + payload };
        writer.bytes(&MAGIC)?;
        writer.bytes(&VERSION.to_le_bytes())?;
        writer.bytes(&(kind as u16).to_le_bytes())?;
        writer.bytes(&payload.to_le_bytes())?;
        writer.bytes(fingerprint)?;
        Ok(writer)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).expect("no more is written than was declared");
        self.sink.write_all(bytes).map_err(|error| self.kind.failed("writing", &error))
    }

    pub(crate) fn u32(&mut self, value: u32) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn f64(&mut self, value: f64) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn seed(&mut self, seed: &Seed) -> Result<()> {
        self.bytes(seed.expose())
    }

    /// Words, by way of a small buffer that is wiped.
    pub(crate) fn words(&mut self, words: &[u32]) -> Result<()> {
        let mut buffer = Zeroizing::new([0u8; 4096]);
        for words in words.chunks(buffer.len() / 4) {
            let bytes = &mut buffer[..4 * words.len()];
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            self.bytes(bytes)?;
        }
        Ok(())
    }

    /// Ends the object.
    pub(crate) fn close(self) {
        assert_eq!(self.left, 0, "as much is written as was declared");
    }
}

/// Reads one object.
pub(crate) struct Reader<'a> {
    source: &'a mut dyn Read,
    kind: Kind,
    fingerprint: [u8; 32],
    /// Declared bytes not read yet.
    left: u64,
    /// Bytes of memory not asked for yet.
    budget: u64,
}

/// How a vector comes to hold more words.
type Grow = fn(&mut Vec<u32>, usize);

impl<'a> Reader<'a> {
    /// Reads and checks a header.
    ///
    /// # Errors
    /// [`Error::BadBytes`], [`Error::Stream`].
    pub(crate) fn open(source: &'a mut dyn Read, kind: Kind, limits: &Limits) -> Result<Self> {
        let mut reader = Self { source, kind, fingerprint: [0; 32], left: HEADER_BYTES, budget: limits.bytes };
        if reader.bytes("magic")? != MAGIC {
            return Err(kind.bad("magic", "not written by Ringlight; send what its `write_to` wrote"));
        }
        let version = u16::from_le_bytes(reader.bytes("version")?);
        if version != VERSION {
            return Err(kind
                .bad("version", format!("{version}, this release reads {VERSION}; write it again with this release")));
        }
        let found = u16::from_le_bytes(reader.bytes("kind")?);
        if found != kind as u16 {
            let found = Kind::ALL.iter().find(|k| **k as u16 == found).map_or("nothing known", |k| k.name());
            return Err(
                kind.bad("kind", format!("these are bytes of {found}; read objects in the order they were written"))
            );
        }
        let size = u64::from_le_bytes(reader.bytes("size")?);
        reader.fingerprint = reader.bytes("fingerprint")?;
        if size > limits.bytes {
            return Err(kind.bad("size", format!("{size} bytes declared, {} allowed by the limits", limits.bytes)));
        }
        reader.left = size;
        Ok(reader)
    }

    /// Refuses an object of other parameters.
    pub(crate) fn made_under(&self, fingerprint: &[u8; 32]) -> Result<()> {
        if self.fingerprint == *fingerprint {
            return Ok(());
        }
        let short = |f: &[u8; 32]| f[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (theirs, ours) = (short(&self.fingerprint), short(fingerprint));
        Err(self.bad(
            "fingerprint",
            format!("made under parameters {theirs}.., not {ours}..; exchange the parameters first"),
        ))
    }

    /// An error at a field of this object.
    pub(crate) fn bad(&self, field: &'static str, reason: impl Into<String>) -> Error {
        self.kind.bad(field, reason)
    }

    fn fill(&mut self, field: &'static str, bytes: &mut [u8]) -> Result<()> {
        let count = bytes.len() as u64;
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            self.bad(field, format!("needs {count} bytes, {} are left of the declared size", self.left))
        })?;
        self.source.read_exact(bytes).map_err(|error| match io::Error::kind(&error) {
            io::ErrorKind::UnexpectedEof => self.bad(field, "the bytes end in the middle of it; send all of them"),
            _ => self.kind.failed("reading", &error),
        })
    }

    pub(crate) fn bytes<const COUNT: usize>(&mut self, field: &'static str) -> Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.fill(field, &mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.bytes(field)?))
    }

    /// A number in a range.
    pub(crate) fn count(&mut self, field: &'static str, range: std::ops::RangeInclusive<u32>) -> Result<u32> {
        let value = self.u32(field)?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.bad(field, format!("{value} is outside {} to {}", range.start(), range.end())))
    }

    pub(crate) fn f64(&mut self, field: &'static str) -> Result<f64> {
        Ok(f64::from_le_bytes(self.bytes(field)?))
    }

    pub(crate) fn seed(&mut self, field: &'static str) -> Result<Seed> {
        Ok(Seed::from_bytes(self.bytes(field)?))
    }

    /// Takes memory out of the budget.
    pub(crate) fn charge(&mut self, field: &'static str, bytes: u64) -> Result<()> {
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| {
            self.bad(field, format!("needs {bytes} bytes of memory, {} are left of the limits", self.budget))
        })?;
        Ok(())
    }

    /// All that is left of the declared size. Memory grows as data arrives.
    pub(crate) fn rest(&mut self, field: &'static str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.left > 0 {
            let start = bytes.len();
            let more = usize::try_from(self.left).unwrap_or(usize::MAX).min(start.max(4 * FIRST_WORDS));
            bytes.resize(start + more, 0);
            self.fill(field, &mut bytes[start..])?;
        }
        Ok(bytes)
    }

    /// Bytes of the declared size not read yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Refuses a declared size that the counts do not add up to.
    pub(crate) fn expect_left(&self, bytes: u64) -> Result<()> {
        if self.left == bytes {
            return Ok(());
        }
        Err(self.bad("size", format!("{} bytes are left of it where the counts make {bytes}", self.left)))
    }

    /// `rows` rows of `n` residues, each below its modulus; the moduli repeat.
    pub(crate) fn rows(&mut self, field: &'static str, rows: u64, n: usize, moduli: &[u32]) -> Result<Vec<u32>> {
        let mut words = Vec::new();
        self.rows_into(field, &mut words, (rows, n), moduli, |words, count| words.reserve_exact(count - words.len()))?;
        Ok(words)
    }

    /// As [`Self::rows`] for somebody's data: outgrown memory is wiped as well.
    pub(crate) fn private_rows(
        &mut self,
        field: &'static str,
        rows: u64,
        n: usize,
        moduli: &[u32],
    ) -> Result<Zeroizing<Vec<u32>>> {
        let mut words = Zeroizing::new(Vec::new());
        self.rows_into(field, &mut words, (rows, n), moduli, |words, count| {
            let mut larger = Vec::with_capacity(count);
            larger.extend_from_slice(words);
            drop(Zeroizing::new(std::mem::replace(words, larger)));
        })?;
        Ok(words)
    }

    fn rows_into(
        &mut self,
        field: &'static str,
        words: &mut Vec<u32>,
        (rows, n): (u64, usize),
        moduli: &[u32],
        grow: Grow,
    ) -> Result<()> {
        let bytes = rows.saturating_mul(4 * n as u64);
        if bytes > self.left {
            return Err(self.bad(field, format!("needs {bytes} bytes, {} are left of the declared size", self.left)));
        }
        self.charge(field, bytes)?;
        let count = usize::try_from(bytes / 4).map_err(|_| self.bad(field, "more than this machine can address"))?;
        for (row, &q) in (0..rows).zip(moduli.iter().cycle()) {
            let start = words.len();
            if start + n > words.capacity() {
                grow(words, count.min((2 * start).max(FIRST_WORDS)));
            }
            words.resize(start + n, 0);
            let fresh = &mut words[start..];
            self.fill(field, bytemuck::cast_slice_mut(fresh))?;
            fresh.iter_mut().for_each(|word| *word = u32::from_le(*word));
            if fresh.iter().fold(0, |largest, &word| largest.max(word)) >= q {
                let word = fresh.iter().position(|&word| word >= q).unwrap_or_default();
                return Err(self.bad(field, format!("word {word} of row {row} is not below its modulus {q}")));
            }
        }
        Ok(())
    }

    /// Ends the object: nothing may be left.
    pub(crate) fn close(self) -> Result<()> {
        self.expect_left(0)
    }
}
