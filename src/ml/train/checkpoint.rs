//! Training that goes on another day, or elsewhere.
//!
//! # Layout
//! Little-endian. 4 bytes `RNGT`, `u32`: version 2, epochs done, mini-batches done in the next one, length of the history; 32 bytes that name the
//! training; then ciphertexts as [`HostCiphertext::write_to`] writes them: the state, the history. All bytes from outside are hostile.

use crate::ckks::{HostCiphertext, Parameters};
use crate::error::{Error, Result};
use crate::rlwe::wire::Limits;
use std::io::{Read, Write};

const MAGIC: [u8; 4] = *b"RNGT";
const VERSION: u32 = 2;

/// Where training stands: encrypted weights and momentum, and what was kept for the owner.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What it belongs to: the caller's digest of model, settings, data and seed. Whoever goes on from it compares; nothing here does.
    pub training: [u8; 32],
    /// Epochs done.
    pub epoch: u32,
    /// Mini-batches done in the epoch after them.
    pub batch: u32,
    /// Weights and momentum.
    pub state: HostCiphertext,
    /// What was kept for the owner so far, in an order that is the caller's: losses, hits among held-out samples.
    pub history: Vec<HostCiphertext>,
}

impl Checkpoint {
    /// The longest history that is written and read.
    pub const MAX_HISTORY: u32 = 1 << 16;

    /// Writes everything.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a history longer than [`Self::MAX_HISTORY`], nothing written; [`Error::Stream`].
    pub fn write_to(&self, mut sink: impl Write) -> Result<()> {
        let count = writable(self.history.len())?;
        let fields = [VERSION, self.epoch, self.batch, count].into_iter().flat_map(u32::to_le_bytes);
        let head: Vec<u8> = MAGIC.into_iter().chain(fields).chain(self.training).collect();
        sink.write_all(&head).map_err(|error| failed("writing", &error))?;
        self.state.write_to(&mut sink)?;
        self.history.iter().try_for_each(|logits| logits.write_to(&mut sink))
    }

    /// Reads what [`Self::write_to`] wrote. The limits hold for each ciphertext.
    ///
    /// # Errors
    /// [`Error::BadBytes`], naming the field; [`Error::Stream`].
    pub fn read_from(mut source: impl Read, parameters: &Parameters, limits: &Limits) -> Result<Self> {
        let mut head = [0; 20];
        source.read_exact(&mut head).map_err(|error| failed("reading", &error))?;
        let bad = |field, reason: String| Err(Error::BadBytes { kind: "a checkpoint", field, reason });
        let (words, _) = head.as_chunks();
        let [version, epoch, batch, count] = [1, 2, 3, 4].map(|i| u32::from_le_bytes(words[i]));
        if words[0] != MAGIC {
            return bad("magic", "not written by Ringlight's training".into());
        }
        if version != VERSION {
            return bad("version", format!("{version}, this release reads {VERSION}"));
        }
        if count > Self::MAX_HISTORY {
            return bad("history", format!("{count} entries; at most {} are read", Self::MAX_HISTORY));
        }
        let mut training = [0; 32];
        source.read_exact(&mut training).map_err(|error| failed("reading", &error))?;
        let mut read = || HostCiphertext::read_from(&mut source, parameters, limits);
        let state = read()?;
        let mut history = vec![];
        for _ in 0..count {
            history.push(read()?);
        }
        Ok(Self { training, epoch, batch, state, history })
    }
}

/// The length of a history that is read again.
fn writable(length: usize) -> Result<u32> {
    u32::try_from(length).ok().filter(|count| *count <= Checkpoint::MAX_HISTORY).ok_or_else(|| {
        let reason = format!("{length} entries; a checkpoint holds at most {}", Checkpoint::MAX_HISTORY);
        Error::InvalidParameter { what: "history", reason }
    })
}

fn failed(doing: &'static str, error: &std::io::Error) -> Error {
    Error::Stream { doing, object: "a checkpoint", kind: std::io::Error::kind(error), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_that_no_one_would_read_is_not_written() {
        assert_eq!(writable(0), Ok(0));
        assert_eq!(writable(1 << 16), Ok(Checkpoint::MAX_HISTORY));
        for length in [(1 << 16) + 1, usize::MAX] {
            assert!(matches!(writable(length), Err(Error::InvalidParameter { what: "history", .. })), "{length}");
        }
    }
}
