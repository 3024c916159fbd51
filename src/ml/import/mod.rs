//! Models from files. The bytes are hostile.

mod layers;
#[cfg(feature = "onnx")]
mod onnx;
mod safetensors;

use super::Model;
use crate::error::{Error, Result};

impl Model {
    /// Reads a safetensors file: the weights of a chain of layers in f16, bf16, f32 or f64, and two metadata entries.
    ///
    /// `input` is the shape of a sample, a JSON array. `layers` is a JSON array of objects, one a layer, in order: `op`
    /// names the layer, the other keys are its attributes, and tensors are given by their names in the file.
    ///
    /// | `op` | attributes |
    /// |---|---|
    /// | `dense` | `weight` `[out, in]`, `bias` `[out]` |
    /// | `conv2d` | `weight` `[out, in / groups, rows, columns]`, `bias` `[out]`, `stride`, `padding` (top, left, bottom, right), `dilation`, `groups` |
    /// | `average_pool` | `kernel`, `stride`, `padding`, `count_padding` |
    /// | `global_average_pool`, `flatten` | |
    /// | `affine` | `scale`, `shift`: tensors that are broadcast to the value's shape |
    /// | `reshape` | `shape` |
    /// | `transpose` | `permutation` |
    /// | `square`, `sigmoid`, `tanh`, `relu`, `silu`, `gelu` | |
    /// | `polynomial` | `coefficients`, ascending |
    /// | `softmax` | `axis` |
    ///
    /// A bias that is not given is zero, a stride or dilation `[1, 1]` (the stride of a pooling: its kernel), a padding
    /// `[0, 0, 0, 0]`; `groups` is 1 and `count_padding` true.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming `file`, `input`, `layers`, a tensor or the index of a layer: bytes that are no
    /// safetensors file, a list that is no such JSON, a tensor that is missing, left over, of a wrong shape or type or not
    /// finite; as [`Self::from_layers`].
    /// # Example
    /// ```
    /// use ringlight::ml::Model;
    ///
    /// let bytes = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits/mlp.safetensors"));
    /// let model = Model::from_safetensors(bytes)?;
    /// assert_eq!((model.input_shape(), model.output_shape()), ([64].as_slice(), [10].as_slice()));
    /// assert_eq!(model.nodes()[1].layer.name(), "square");
    /// # Ok::<(), ringlight::Error>(())
    /// ```
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        layers::read(bytes)
    }

    /// Reads an ONNX file of operator set 11 or later, as the exporters of PyTorch, Keras and scikit-learn write it, with its
    /// data inside.
    ///
    /// The first axis of the input is the batch, of any size or 1; the model is that for one sample, so that its shapes
    /// lack this axis. What the file computes from constants and shapes alone becomes part of the layers; batch
    /// normalization becomes a [`crate::ml::Layer::Affine`], sums and products of powers of one value a polynomial.
    ///
    /// Labels (ArgMax, and the label of a classifier) and what follows from them are left to the client: the scores are
    /// the model's output. A softmax or logistic at the end belongs to it.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming `file`, `opset_import`, the input, a tensor or a node: bytes that are no such file, a
    /// graph with several inputs or several computed outputs, a node that is not supported (the message lists those that
    /// are) or does not fit what enters it; as [`crate::ml::ModelBuilder::add`].
    /// # Example
    /// ```
    /// use ringlight::ml::Model;
    ///
    /// let bytes = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/models/torch_gelu_script11.onnx"));
    /// let model = Model::from_onnx(bytes)?;
    /// let layers: Vec<&str> = model.nodes().iter().map(|node| node.layer.name()).collect();
    /// assert_eq!(layers, ["dense", "gelu", "dense"]);
    /// # Ok::<(), ringlight::Error>(())
    /// ```
    #[cfg(feature = "onnx")]
    pub fn from_onnx(bytes: &[u8]) -> Result<Self> {
        onnx::read(bytes)
    }
}

fn bad(field: &str, reason: impl Into<String>) -> Error {
    Error::BadModel { field: short(field), reason: reason.into() }
}

/// A name from the file, cut to a length that can be printed.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Entries of a tensor repeated along axes of length 1 and axes that it lacks in front, as numpy does, so that it has the
/// shape `to`; none where it does not fit.
fn broadcast(shape: &[usize], entries: &[f64], to: &[usize]) -> Option<Vec<f64>> {
    let lacking = to.len().checked_sub(shape.len())?;
    if shape.iter().zip(&to[lacking..]).any(|(&from, &to)| from != to && from != 1) {
        return None;
    }
    // Axis by axis from the last: `block` entries are in place behind each entry of the axes before.
    let (mut result, mut block) = (entries.to_vec(), 1);
    for (axis, &length) in to.iter().enumerate().rev() {
        let from = axis.checked_sub(lacking).map_or(1, |axis| shape[axis]);
        if from != length {
            result = result.chunks_exact(block).flat_map(|part| part.repeat(length)).collect();
        }
        block *= length;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::broadcast;

    #[test]
    fn broadcasting_repeats_axes_of_length_one() {
        let x = [1.0, 2.0, 3.0];
        assert_eq!(broadcast(&[], &[5.0], &[2, 2]).unwrap(), [5.0; 4]);
        assert_eq!(broadcast(&[3], &x, &[2, 3]).unwrap(), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        assert_eq!(broadcast(&[3, 1], &x, &[3, 2]).unwrap(), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(broadcast(&[1, 3], &x, &[1, 3]).unwrap(), x);
        assert_eq!(broadcast(&[1, 2, 1], &x[..2], &[2, 2, 2]).unwrap(), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
        assert_eq!(broadcast(&[2], &x[..2], &[3]), None);
        assert_eq!(broadcast(&[1, 3], &x, &[3]), None);
    }
}
