//! Models from files. The bytes are hostile.

mod safetensors;

use super::Model;
use crate::error::{Error, Result};

impl Model {
    /// Reads a safetensors file: tensors named like PyTorch's `Sequential`, `<index>.weight` of shape `[out, in]` and
    /// `<index>.bias` of shape `[out]`, in f16, bf16, f32 or f64, and the metadata entry `layers`, for example
    /// `dense,square,dense`.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming `file`, a tensor or `layers`; as [`Self::from_layers`], and for bytes that are no
    /// safetensors file, a tensor that is missing, left over, of a wrong shape or type or not finite, an unknown layer.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let layers = safetensors::read_layers(bytes)?;
        let first = layers.iter().find_map(|layer| match layer {
            super::Layer::Dense { weights, .. } => Some(weights.columns()),
            _ => None,
        });
        Self::from_layers(vec![first.ok_or_else(|| bad("layers", "no dense layer"))?], layers)
    }
}

fn bad(field: &str, reason: impl Into<String>) -> Error {
    Error::BadModel { field: short(field), reason: reason.into() }
}

/// A name from the file, cut to a length that can be printed.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}
