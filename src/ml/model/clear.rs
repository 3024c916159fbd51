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
    for start in (0..y.len()).filter(|at| (at / stride).is_multiple_of(length)) {
        let line = || (0..length).map(move |at| start + at * stride);
        // The largest is taken out so that no exponential overflows.
        let most = line().map(|at| y[at]).fold(f64::NEG_INFINITY, f64::max);
        line().for_each(|at| y[at] = (y[at] - most).exp());
        let sum: f64 = line().map(|at| y[at]).sum();
        line().for_each(|at| y[at] /= sum);
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Matrix;
    use crate::ml::ModelBuilder;
    use proptest::prelude::*;

    /// Entries in [-1, 1] that no formula can mistake for each other.
    fn entries(count: usize, seed: u64) -> Vec<f64> {
        (0..count as u64).map(|i| ((i * 7919 + seed * 104_729 + 1) as f64).sin()).collect()
    }

    fn run(shape: &[usize], layer: Layer, x: &[f64]) -> (Vec<usize>, Vec<f64>) {
        let model = Model::from_layers(shape.to_vec(), vec![layer]).unwrap();
        (model.output_shape().to_vec(), model.predict_clear(&[x.to_vec()]).unwrap().remove(0))
    }

    fn assert_close(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{got:?} instead of {want:?}");
    }

    /// Index along every axis of the entry at a place, and back.
    fn index(shape: &[usize], mut place: usize) -> Vec<usize> {
        let mut index: Vec<usize> = shape.iter().rev().map(|axis| (place % axis, place /= axis).0).collect();
        index.reverse();
        index
    }

    fn place(shape: &[usize], index: &[usize]) -> usize {
        shape.iter().zip(index).fold(0, |place, (axis, at)| place * axis + at)
    }

    /// A convolution that fits its input, and the input's shape.
    fn convolution() -> impl Strategy<Value = (Conv2d, [usize; 3])> {
        let pair = |range: std::ops::Range<usize>| [range.clone(), range];
        let sizes = (1..3usize, 1..3usize, 1..3usize, pair(1..4), pair(1..3), [0..3usize, 0..3, 0..3, 0..3]);
        (sizes, pair(1..3), pair(0..4)).prop_map(|((groups, of, to, kernel, stride, padding), dilation, more)| {
            let (channels, out) = (groups * of, groups * to);
            let shape = [out, of, kernel[0], kernel[1]];
            let weights = entries(shape.iter().product(), 3);
            let size = |axis: usize| (kernel[axis] - 1) * dilation[axis] + 1 + more[axis];
            let conv = Conv2d { weights, shape, bias: entries(out, 5), stride, padding, dilation, groups };
            (conv, [channels, size(0), size(1)])
        })
    }

    /// Every product of an input and a weight, added where it belongs.
    fn scattered(conv: &Conv2d, [channels, rows, columns]: [usize; 3], x: &[f64]) -> Vec<f64> {
        let [out, of, height, width] = conv.shape;
        let [down, across] = conv.output_size([rows, columns]).unwrap();
        let mut y: Vec<f64> = (0..out * down * across).map(|place| conv.bias[place / (down * across)]).collect();
        let target = |at: usize, padding: usize, offset: usize, stride: usize, windows: usize| {
            let shifted = (at + padding).checked_sub(offset)?;
            (shifted % stride == 0 && shifted / stride < windows).then_some(shifted / stride)
        };
        for (from, value) in x.iter().enumerate() {
            let [c, r, s] = index(&[channels, rows, columns], from)[..] else { panic!("three axes") };
            for o in (0..out).filter(|o| o / (out / conv.groups) == c / of) {
                for (k, l) in (0..height).flat_map(|k| (0..width).map(move |l| (k, l))) {
                    let i = target(r, conv.padding[0], k * conv.dilation[0], conv.stride[0], down);
                    let j = target(s, conv.padding[1], l * conv.dilation[1], conv.stride[1], across);
                    if let (Some(i), Some(j)) = (i, j) {
                        y[(o * down + i) * across + j] += conv.weights[place(&conv.shape, &[o, c % of, k, l])] * value;
                    }
                }
            }
        }
        y
    }

    proptest! {
        #[test]
        fn convolutions_are_sums_of_scattered_products((conv, shape) in convolution()) {
            let x = entries(shape.iter().product(), 1);
            let want = scattered(&conv, shape, &x);
            assert_close(&run(&shape, Layer::Conv2d(conv), &x).1, &want);
        }

        #[test]
        fn averages_are_convolutions_of_each_channel((conv, shape) in convolution(), count_padding: bool) {
            let [kernel, stride] = [[conv.shape[2], conv.shape[3]], conv.stride];
            let padding = [0, 1, 2, 3].map(|side: usize| conv.padding[side].min(kernel[side % 2] - 1));
            let ones = Conv2d {
                weights: vec![1.0; shape[0] * kernel[0] * kernel[1]],
                shape: [shape[0], 1, kernel[0], kernel[1]],
                bias: vec![0.0; shape[0]],
                dilation: [1, 1],
                groups: shape[0],
                ..conv
            };
            let ones = Conv2d { padding, ..ones };
            let x = entries(shape.iter().product(), 1);
            let sums = scattered(&ones, shape, &x);
            let counts = scattered(&ones, shape, &vec![1.0; x.len()]);
            let area = (kernel[0] * kernel[1]) as f64;
            let want: Vec<f64> =
                sums.iter().zip(&counts).map(|(sum, count)| sum / if count_padding { area } else { *count }).collect();
            let pool = Pool2d { kernel, stride, padding, count_padding };
            assert_close(&run(&shape, Layer::AveragePool(pool), &x).1, &want);
            let (made, means) = run(&shape, Layer::GlobalAveragePool, &x);
            prop_assert_eq!(made, [shape[0], 1, 1]);
            let size = shape[1] * shape[2];
            let want: Vec<f64> = (0..shape[0]).map(|c| x[c * size..][..size].iter().sum::<f64>() / size as f64).collect();
            assert_close(&means, &want);
        }

        #[test]
        fn entries_move_to_where_they_belong(
            shape in prop::collection::vec(1..4usize, 1..5),
            borders in [[0..3usize, 0..3, 0..3, 0..3], [0..3usize, 0..3, 0..3, 0..3]],
            seed: u64,
        ) {
            let x = entries(shape.iter().product(), 1);
            let rank = shape.len();
            let mut permutation: Vec<usize> = (0..rank).collect();
            permutation.rotate_left(usize::try_from(seed % rank as u64).unwrap());
            if rank > 2 && seed % 2 == 0 {
                permutation.swap(0, rank - 1);
            }
            let (made, got) = run(&shape, Layer::Transpose(permutation.clone()), &x);
            for (from, value) in x.iter().enumerate() {
                let at = index(&shape, from);
                let turned: Vec<usize> = permutation.iter().map(|&axis| at[axis]).collect();
                prop_assert_eq!(got[place(&made, &turned)], *value);
            }

            let [before, after] = borders.map(|border| border[..rank].to_vec());
            let layer = Layer::Pad { before: before.clone(), after: after.clone(), value: 9.0 };
            let (made, got) = run(&shape, layer, &x);
            let padded: Vec<usize> = (0..rank).map(|i| before[i] + shape[i] + after[i]).collect();
            prop_assert_eq!(&made, &padded);
            for (from, value) in x.iter().enumerate() {
                let moved: Vec<usize> = index(&shape, from).iter().zip(&before).map(|(at, before)| at + before).collect();
                prop_assert_eq!(got[place(&made, &moved)], *value);
            }
            prop_assert_eq!(got.iter().filter(|x| **x == 9.0).count(), got.len() - x.len());

            let flat = vec![x.len()];
            prop_assert_eq!(run(&shape, Layer::Reshape(flat.clone()), &x), (flat, x.clone()));
        }

        #[test]
        fn concatenation_puts_blocks_in_turn(
            shape in prop::collection::vec(1..4usize, 1..4),
            lengths in prop::collection::vec(1..4usize, 1..4),
            axis in any::<prop::sample::Index>(),
        ) {
            let axis = axis.index(shape.len());
            let mut builder = ModelBuilder::new(shape.clone()).unwrap();
            // Parts of other lengths: the input with a border of its own number.
            let mut parts = vec![];
            for (number, &length) in lengths.iter().enumerate() {
                let mut after = vec![0; shape.len()];
                after[axis] = length;
                let layer = Layer::Pad { before: vec![0; shape.len()], after, value: 10.0 + number as f64 };
                parts.push(builder.add("part", layer, vec![0]).unwrap());
            }
            let made = builder.add("all", Layer::Concat { axis }, parts.clone()).unwrap();
            let values = builder.build(made).unwrap().values_clear(&entries(shape.iter().product(), 1)).unwrap();
            let block: usize = shape[axis + 1..].iter().product();
            let outer: usize = shape[..axis].iter().product();
            let mut want = vec![];
            for o in 0..outer {
                for (part, length) in parts.iter().zip(&lengths) {
                    let size = (shape[axis] + length) * block;
                    want.extend_from_slice(&values[*part][o * size..(o + 1) * size]);
                }
            }
            prop_assert_eq!(&values[made], &want);
        }

        #[test]
        fn lines_are_multiplied_and_normalized(shape in prop::collection::vec(1..4usize, 1..4), rows in 1..4usize) {
            let x = entries(shape.iter().product(), 1);
            let columns = shape[shape.len() - 1];
            let (w, bias) = (entries(rows * columns, 2), entries(rows, 3));
            let dense = Layer::Dense { weights: Matrix::new(rows, columns, w.clone()).unwrap(), bias: bias.clone() };
            let want: Vec<f64> = (0..x.len() / columns * rows)
                .map(|at| {
                    let (line, row) = (at / rows, at % rows);
                    (0..columns).map(|i| w[row * columns + i] * x[line * columns + i]).sum::<f64>() + bias[row]
                })
                .collect();
            assert_close(&run(&shape, dense, &x).1, &want);
            for axis in 0..shape.len() {
                let got = run(&shape, Layer::Activation(Activation::Softmax { axis }), &x).1;
                let line = |at: usize| {
                    let index_of = index(&shape, at);
                    (0..shape[axis]).map(|i| {
                        let mut other = index_of.clone();
                        other[axis] = i;
                        x[place(&shape, &other)].exp()
                    }).sum::<f64>()
                };
                let want: Vec<f64> = (0..x.len()).map(|at| x[at].exp() / line(at)).collect();
                assert_close(&got, &want);
            }
        }

        #[test]
        fn entries_are_taken_one_by_one(count in 1..20usize) {
            let (x, scale, shift) = (entries(count, 1), entries(count, 2), entries(count, 3));
            let want: Vec<f64> = (0..count).map(|i| scale[i] * x[i] + shift[i]).collect();
            let affine = Layer::Affine { scale, shift };
            assert_close(&run(&[count], affine.clone(), &x).1, &want);
            for (layer, f) in [
                (Layer::Add, (|a, b| a + b) as fn(f64, f64) -> f64),
                (Layer::Sub, |a, b| a - b),
                (Layer::Mul, |a, b| a * b),
            ] {
                let mut builder = ModelBuilder::new(vec![count]).unwrap();
                let other = builder.add("other", affine.clone(), vec![0]).unwrap();
                let made = builder.add("both", layer, vec![0, other]).unwrap();
                let got = builder.build(made).unwrap().predict_clear(std::slice::from_ref(&x)).unwrap().concat();
                let want: Vec<f64> = x.iter().zip(&want).map(|(&a, &b)| f(a, b)).collect();
                assert_close(&got, &want);
            }
        }

        #[test]
        fn activations_are_their_formulas(x in -9.0..9.0f64) {
            // The distribution function of the normal law, by Simpson's rule from the mean.
            let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
            let step = x / 4000.0;
            let simpson: f64 = (0..2000)
                .map(|i| 2.0 * f64::from(i) * step)
                .map(|t| (density(t) + 4.0 * density(t + step) + density(t + 2.0 * step)) * step / 3.0)
                .sum();
            let sigmoid = (1.0 + (x / 2.0).tanh()) / 2.0;
            for (activation, want) in [
                (Activation::Square, x.powi(2)),
                (Activation::Polynomial(vec![0.5, -1.0, 0.0, 0.125]), 0.5 - x + 0.125 * x.powi(3)),
                (Activation::Sigmoid, sigmoid),
                (Activation::Tanh, x.sinh() / x.cosh()),
                (Activation::Relu, (x + x.abs()) / 2.0),
                (Activation::Silu, x * sigmoid),
                (Activation::Gelu, x * (0.5 + simpson)),
            ] {
                let got = run(&[1], Layer::Activation(activation.clone()), &[x]).1;
                prop_assert!((got[0] - want).abs() < 1e-9, "{} at {}: {} instead of {}", activation.name(), x, got[0], want);
                prop_assert_eq!(activation.evaluate(x), Some(got[0]));
            }
        }
    }

    #[test]
    fn large_numbers_do_not_overflow() {
        let softmax = Layer::Activation(Activation::Softmax { axis: 0 });
        assert_eq!(run(&[2], softmax, &[1e6, -1e6]).1, [1.0, 0.0]);
        for (activation, want) in [(Activation::Sigmoid, 0.0), (Activation::Silu, 0.0), (Activation::Gelu, 0.0)] {
            assert!((run(&[1], Layer::Activation(activation), &[-1e6]).1[0] - want).abs() < 1e-9);
        }
        let model = Model::from_layers(vec![2], vec![Layer::Activation(Activation::Square)]).unwrap();
        assert!(matches!(model.predict_clear(&[vec![1.0; 3]]), Err(Error::ShapeMismatch { .. })));
    }
}
