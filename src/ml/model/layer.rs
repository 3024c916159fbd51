//! What a model is made of.

use crate::circuit::Matrix;
use serde::{Deserialize, Serialize};

/// One layer: what a node does with the tensors that enter it. Tensors are row-major and hold one sample: no batch axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// `y = W x + b` along the last axis: `[.., in]` to `[.., out]`.
    Dense {
        /// `W`, one row an output.
        weights: Matrix,
        /// `b`, one entry an output.
        bias: Vec<f64>,
    },
    /// Two-dimensional convolution: `[C, H, W]` to `[O, H', W']`.
    Conv2d(Conv2d),
    /// The mean over a window: `[C, H, W]` to `[C, H', W']`.
    AveragePool(Pool2d),
    /// The mean over each channel: `[C, H, W]` to `[C, 1, 1]`.
    GlobalAveragePool,
    /// `y_i = scale_i x_i + shift_i`, entry by entry.
    Affine {
        /// One factor an entry.
        scale: Vec<f64>,
        /// One summand an entry.
        shift: Vec<f64>,
    },
    /// The same entries in the same order under another shape.
    Reshape(Vec<usize>),
    /// Axis `i` of the result is axis `permutation[i]` of the input.
    Transpose(Vec<usize>),
    /// A border of one value.
    Pad {
        /// Entries added before the first, axis by axis.
        before: Vec<usize>,
        /// Entries added after the last, axis by axis.
        after: Vec<usize>,
        /// What they are.
        value: f64,
    },
    /// The inputs one after the other along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`, entry by entry.
    Mul,
    /// A function of every entry ([`Activation::Softmax`]: of every line).
    Activation(Activation),
}

/// A convolution as deep learning defines it, without mirroring the kernel:
///
/// ```text
/// y[o, i, j] = b[o] + sum_{c, k, l} w[o, c, k, l] x[g C/groups + c, i s_0 + k d_0 - top, j s_1 + l d_1 - left]
/// ```
///
/// over the `C / groups` channels of the group `g = o / (O / groups)`, and `x` zero outside its range.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// `w`, row-major in `shape`.
    pub weights: Vec<f64>,
    /// `[O, C / groups, kernel height, kernel width]`.
    pub shape: [usize; 4],
    /// `b`, one entry an output channel.
    pub bias: Vec<f64>,
    /// `s`: rows and columns between windows.
    pub stride: [usize; 2],
    /// Zeros around the input: top, left, bottom, right.
    pub padding: [usize; 4],
    /// `d`: rows and columns between the entries of a window.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see one another.
    pub groups: usize,
}

impl Conv2d {
    /// Rows and columns of the output for an input of `size` rows and columns; none where no window fits.
    pub fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let [_, _, height, width] = self.shape;
        windows(size, [height, width], self.stride, self.padding, self.dilation)
    }
}

/// The window of an average.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Rows and columns between windows.
    pub stride: [usize; 2],
    /// Zeros around the input: top, left, bottom, right; each less than the kernel.
    pub padding: [usize; 4],
    /// Whether the padding counts in the divisor.
    pub count_padding: bool,
}

impl Pool2d {
    /// Rows and columns of the output for an input of `size` rows and columns; none where no window fits.
    pub fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        windows(size, self.kernel, self.stride, self.padding, [1, 1])
    }
}

/// Windows that fit a padded input, axis by axis.
fn windows(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
) -> Option<[usize; 2]> {
    let along = |axis: usize| {
        let padded = size[axis].checked_add(padding[axis])?.checked_add(padding[axis + 2])?;
        let reach = kernel[axis].checked_sub(1)?.checked_mul(dilation[axis])?.checked_add(1)?;
        padded.checked_sub(reach)?.checked_div(stride[axis])?.checked_add(1)
    };
    Some([along(0)?, along(1)?])
}

/// A function of one number, or of one line of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// `x^2`.
    Square,
    /// `c_0 + c_1 x + c_2 x^2 + ...`, coefficients in ascending order.
    Polynomial(Vec<f64>),
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// `e^x_i / sum_j e^x_j` over the entries along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
}

impl Layer {
    /// The layer's name in layer lists and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Conv2d(_) => "conv2d",
            Self::AveragePool(_) => "average_pool",
            Self::GlobalAveragePool => "global_average_pool",
            Self::Affine { .. } => "affine",
            Self::Reshape(_) => "reshape",
            Self::Transpose(_) => "transpose",
            Self::Pad { .. } => "pad",
            Self::Concat { .. } => "concat",
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Activation(activation) => activation.name(),
        }
    }
}

impl Activation {
    /// The activation's name in layer lists and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Square => "square",
            Self::Polynomial(_) => "polynomial",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::Softmax { .. } => "softmax",
        }
    }
}
