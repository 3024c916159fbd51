//! A model on plain numbers: the definition of every layer, written from its formula.

use super::{Activation, Conv2d, Layer, Model, Pool2d};
use crate::error::{Error, Result};

impl Model {
    /// The answers in plain f64 arithmetic with exact activations: the definition of the model.
    ///
    /// # Shape
    /// `[samples][inputs]` to `[samples][outputs]`, tensors row-major.
    /// # Errors
    /// [`Error::ShapeMismatch`] for a sample with another number of entries than [`Self::inputs`].
    pub fn predict_clear(&self, samples: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        samples.iter().map(|sample| Ok(self.values_clear(sample)?.swap_remove(self.output))).collect()
    }

    /// Every value of the graph for one sample: the input, then what each node makes.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a sample with another number of entries than [`Self::inputs`].
    pub fn values_clear(&self, sample: &[f64]) -> Result<Vec<Vec<f64>>> {
        if sample.len() != self.inputs() {
            return Err(Error::ShapeMismatch {
                op: "Model::predict_clear",
                expected: format!("{} features", self.inputs()),
                got: format!("{}", sample.len()),
            });
        }
        let mut values = Vec::with_capacity(self.nodes.len() + 1);
        values.push(sample.to_vec());
        for node in &self.nodes {
            let inputs: Vec<Tensor<'_>> =
                node.inputs.iter().map(|&v| Tensor { shape: self.shape(v), entries: &values[v] }).collect();
            values.push(apply(&node.layer, &inputs, &node.shape));
        }
        Ok(values)
    }
}

/// Entries, row-major, under their shape.
#[derive(Clone, Copy)]
struct Tensor<'a> {
    shape: &'a [usize],
    entries: &'a [f64],
}

impl Tensor<'_> {
    /// The entry at an index, and zero outside.
    fn at(&self, index: &[Option<usize>]) -> f64 {
        let place = self.shape.iter().zip(index).try_fold(0, |place, (&axis, &at)| {
            let at = at.filter(|&at| at < axis)?;
            Some(place * axis + at)
        });
        place.map_or(0.0, |place| self.entries[place])
    }
}

/// The entries of a tensor of shape `shape` from the formula for one of them.
fn tensor(shape: &[usize], mut entry: impl FnMut(&[usize]) -> f64) -> Vec<f64> {
    let mut index = vec![0; shape.len()];
    (0..shape.iter().product())
        .map(|_| {
            let value = entry(&index);
            for (at, &axis) in index.iter_mut().zip(shape).rev() {
                *at = (*at + 1) % axis;
                if *at != 0 {
                    break;
                }
            }
            value
        })
        .collect()
}

/// What a layer makes of tensors that fit it.
fn apply(layer: &Layer, inputs: &[Tensor<'_>], shape: &[usize]) -> Vec<f64> {
    let x = inputs[0];
    let pairs = || x.entries.iter().zip(inputs[1].entries);
    match layer {
        Layer::Dense { weights, bias } => {
            let dot = |row, x: &[f64]| weights.row(row).iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
            let line = |x| bias.iter().enumerate().map(move |(row, b)| dot(row, x) + b);
            x.entries.chunks_exact(weights.columns()).flat_map(line).collect()
        }
        Layer::Conv2d(layer) => tensor(shape, |y| convolve(layer, x, y)),
        Layer::AveragePool(pool) => tensor(shape, |y| average(pool, x, y)),
        Layer::GlobalAveragePool => {
            let area = x.shape[1] * x.shape[2];
            x.entries.chunks_exact(area).map(|channel| channel.iter().sum::<f64>() / area as f64).collect()
        }
        Layer::Affine { scale, shift } => {
            x.entries.iter().zip(scale).zip(shift).map(|((x, scale), shift)| scale * x + shift).collect()
        }
        Layer::Reshape(_) => x.entries.to_vec(),
        Layer::Transpose(permutation) => tensor(shape, |y| {
            let mut index = vec![None; y.len()];
            permutation.iter().zip(y).for_each(|(&axis, &at)| index[axis] = Some(at));
            x.at(&index)
        }),
        Layer::Pad { before, value, .. } => tensor(shape, |y| {
            let index: Vec<_> = y.iter().zip(before).map(|(at, before)| at.checked_sub(*before)).collect();
            let inside = index.iter().zip(x.shape).all(|(at, axis)| at.is_some_and(|at| at < *axis));
            if inside { x.at(&index) } else { *value }
        }),
        Layer::Concat { axis } => tensor(shape, |y| {
            let (mut at, mut part) = (y[*axis], 0);
            while at >= inputs[part].shape[*axis] {
                at -= inputs[part].shape[*axis];
                part += 1;
            }
            let mut index: Vec<_> = y.iter().copied().map(Some).collect();
            index[*axis] = Some(at);
            inputs[part].at(&index)
        }),
        Layer::Add => pairs().map(|(a, b)| a + b).collect(),
        Layer::Sub => pairs().map(|(a, b)| a - b).collect(),
        Layer::Mul => pairs().map(|(a, b)| a * b).collect(),
        Layer::Activation(Activation::Softmax { axis }) => softmax(x, *axis),
        Layer::Activation(activation) => x.entries.iter().filter_map(|&x| activation.evaluate(x)).collect(),
    }
}

fn convolve(conv: &Conv2d, x: Tensor<'_>, y: &[usize]) -> f64 {
    let [out, per_group, height, width] = conv.shape;
    let [top, left, ..] = conv.padding;
    let first = y[0] / (out / conv.groups) * per_group;
    let mut sum = conv.bias[y[0]];
    for c in 0..per_group {
        for k in 0..height {
            for l in 0..width {
                let row = (y[1] * conv.stride[0] + k * conv.dilation[0]).checked_sub(top);
                let column = (y[2] * conv.stride[1] + l * conv.dilation[1]).checked_sub(left);
                let weight = conv.weights[((y[0] * per_group + c) * height + k) * width + l];
                sum += weight * x.at(&[Some(first + c), row, column]);
            }
        }
    }
    sum
}

fn average(pool: &Pool2d, x: Tensor<'_>, y: &[usize]) -> f64 {
    let [top, left, ..] = pool.padding;
    let (mut sum, mut count) = (0.0, 0);
    for k in 0..pool.kernel[0] {
        for l in 0..pool.kernel[1] {
            let row = (y[1] * pool.stride[0] + k).checked_sub(top);
            let column = (y[2] * pool.stride[1] + l).checked_sub(left);
            let inside = row.is_some_and(|at| at < x.shape[1]) && column.is_some_and(|at| at < x.shape[2]);
            count += usize::from(inside || pool.count_padding);
            sum += x.at(&[Some(y[0]), row, column]);
        }
    }
    sum / count as f64
}

impl Activation {
    /// The activation at one number, exactly; none for [`Self::Softmax`], a function of a line.
    pub fn evaluate(&self, x: f64) -> Option<f64> {
        Some(match self {
            Self::Square => x * x,
            Self::Polynomial(coefficients) => coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(0.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Gelu => 0.5 * x * libm::erfc(-x / std::f64::consts::SQRT_2),
            Self::Softmax { .. } => return None,
        })
    }
}

fn softmax(x: Tensor<'_>, axis: usize) -> Vec<f64> {
    let length = x.shape[axis];
    let stride: usize = x.shape[axis + 1..].iter().product();
    let mut y = x.entries.to_vec();
    for start in (0..y.len()).filter(|at| at / stride % length == 0) {
        let line = || (0..length).map(move |at| start + at * stride);
        // The largest is taken out so that no exponential overflows.
        let most = line().map(|at| y[at]).fold(f64::NEG_INFINITY, f64::max);
        line().for_each(|at| y[at] = (y[at] - most).exp());
        let sum: f64 = line().map(|at| y[at]).sum();
        line().for_each(|at| y[at] /= sum);
    }
    y
}
