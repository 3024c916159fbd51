//! The tensors of a safetensors file.

use super::bad;
use crate::error::{Error, Result};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::{BTreeSet, HashMap};

/// Digits of the longest number that a header may hold. `safetensors` 0.8 adds offsets without checking for overflow.
const MAX_DIGITS: usize = 15;

/// The metadata of a file.
pub(super) type Metadata = HashMap<String, String>;

/// Tensors that are taken by their names.
pub(super) struct Tensors<'a> {
    file: SafeTensors<'a>,
    left: BTreeSet<String>,
}

fn unreadable(error: &SafeTensorError) -> Error {
    bad("file", error.to_string())
}

/// The metadata of a file, empty where it has none.
pub(super) fn metadata(bytes: &[u8]) -> Result<Metadata> {
    check_numbers(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| unreadable(&error))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

impl<'a> Tensors<'a> {
    /// The tensors of a file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        check_numbers(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| unreadable(&error))?;
        let left = file.names().into_iter().map(String::from).collect();
        Ok(Self { file, left })
    }

    /// A tensor that was never taken.
    pub(super) fn left_over(&self) -> Option<&str> {
        self.left.first().map(String::as_str)
    }

    /// Shape and entries of a tensor, all finite.
    pub(super) fn take(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f64>)> {
        let view = self.file.tensor(name).map_err(|_| bad(name, "no such tensor"))?;
        self.left.remove(name);
        let data = view.data();
        let entries: Vec<f64> = match view.dtype() {
            Dtype::F16 => data.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f64()).collect(),
            Dtype::BF16 => data.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f64()).collect(),
            Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            other => return Err(bad(name, format!("type {other:?} instead of F16, BF16, F32 or F64"))),
        };
        if entries.is_empty() {
            return Err(bad(name, "has no entries"));
        }
        match entries.iter().position(|x| !x.is_finite()) {
            Some(entry) => Err(bad(name, format!("entry {entry} is not a finite number"))),
            None => Ok((view.shape().to_vec(), entries)),
        }
    }

    /// A tensor with `D` axes.
    pub(super) fn take_of_rank<const D: usize>(&mut self, name: &str) -> Result<([usize; D], Vec<f64>)> {
        let (shape, entries) = self.take(name)?;
        let wrong = |shape: Vec<usize>| bad(name, format!("{} dimensions instead of {D}", shape.len()));
        Ok((shape.try_into().map_err(wrong)?, entries))
    }

    /// A bias of `length` entries, zeros where none is named.
    pub(super) fn take_bias(&mut self, name: Option<String>, length: usize) -> Result<Vec<f64>> {
        let Some(name) = name else { return Ok(vec![0.0; length]) };
        let ([got], entries) = self.take_of_rank(&name)?;
        if got != length {
            return Err(bad(&name, format!("{got} entries for {length} outputs")));
        }
        Ok(entries)
    }
}

/// Refuses a header with a number that no file can hold.
fn check_numbers(bytes: &[u8]) -> Result<()> {
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (mut quoted, mut escaped, mut digits) = (false, false, 0);
    for byte in bytes.iter().skip(8).take(length) {
        if quoted {
            quoted = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else {
            quoted = *byte == b'"';
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            if digits > MAX_DIGITS {
                return Err(bad("file", format!("a number of more than {MAX_DIGITS} digits in the header")));
            }
        }
    }
    Ok(())
}
