//! A softmax under encryption: `exp(x - c)` times the reciprocal of its sum over the axis.
//!
//! The constant `c` is the middle of the logarithms of the sums, so that sums lie around 1 with no more on one side than on the other. With
//! `n` entries a line, an exponential off by `e` and a reciprocal off by `r` the quotient is off by at most
//! `(n + 1) e / (least sum) + r (largest exponential)`: each half gets half of the error asked for.

use super::{Form, Lowering, Operation};
use crate::circuit::{Approximation, SparseMatrix};
use crate::error::{Error, Result};

/// The entries that are summed with entry `at`.
fn line(shape: &[usize], axis: usize, at: usize) -> impl Iterator<Item = usize> {
    let (length, stride) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let start = at - at / stride % length * stride;
    (0..length).map(move |k| start + k * stride)
}

/// The logarithm of the sum of the exponentials of every line.
pub(super) fn log_sums<'a>(x: &'a [f64], shape: &'a [usize], axis: usize) -> impl Iterator<Item = f64> + 'a {
    (0..x.len()).filter(move |&at| line(shape, axis, at).next() == Some(at)).map(move |at| {
        let most = line(shape, axis, at).map(|i| x[i]).fold(f64::NEG_INFINITY, f64::max);
        most + line(shape, axis, at).map(|i| (x[i] - most).exp()).sum::<f64>().ln()
    })
}

impl Lowering<'_> {
    /// The softmax of node `index` along an axis.
    pub(super) fn softmax(&mut self, index: usize, axis: usize) -> Result<Form> {
        let node = &self.model.nodes()[index];
        let (size, length) = (node.shape.iter().product::<usize>(), node.shape[axis]);
        if size.saturating_mul(length) > SparseMatrix::MAX_ENTRIES {
            let reason = format!("sums of {length} for each of {size} entries are more than is taken");
            return Err(Error::InvalidParameter { what: "softmax", reason });
        }
        let max_error = self.approximate.max_error;
        let (middle, half) = self.interval(index)?;
        let (low, high) = self.ranges.entries[node.inputs[0]];
        // Where every entry is larger by so much, so is the logarithm of the sum; the errors of the exponentials come on top.
        let slack = half - (high - low) / 2.0 + max_error;
        let (low, high) = self.ranges.log_sums[index];
        let (center, width) = (f64::midpoint(low, high), (high - low) / 2.0 + slack);
        let (least, most) = ((-width).exp(), width.exp());

        let argument = self.argument(index, half, middle)?;
        let exponential = |u: f64| (middle + half * u - center).exp();
        // A line's largest exponential is not above its sum.
        let largest = exponential(1.0);
        let error = max_error * least / (2.0 * (length + 1) as f64);
        let (value, unit) = self.function(index, argument, ("exp", &exponential), largest, error)?;

        let ones = (0..size).map(|at| line(&node.shape, axis, at).map(|i| (i, unit)).collect()).collect();
        let total = Form { terms: vec![(value, SparseMatrix::from_rows(size, ones)?)], bias: vec![0.0; size] };
        let allowed = max_error / (2.0 * (largest.min(most) + error));
        let (sum_middle, sum_half) = (f64::midpoint(least, most), (most - least) / 2.0);
        let reciprocal = |u: f64| (sum_middle + sum_half * u).recip();
        // The shallowest polynomial; where none is enough, an iteration, from sums divided by the largest.
        let (Form { terms, bias }, function, factor) = match Approximation::fit("1/x", reciprocal, -1.0, 1.0, allowed) {
            Err(Error::Unreachable { .. }) => {
                let iteration = Approximation::reciprocal_goldschmidt(least / most, 1.0, allowed * most)?;
                (total.mapped(most.recip(), 0.0)?, iteration, most.recip())
            }
            function => (total.mapped(sum_half.recip(), -sum_middle / sum_half)?, function?, 1.0),
        };
        let sum = self.push(&node.name, Operation::Affine { terms, bias }, &node.shape);
        self.bound(sum, 1.0);
        let inverse = self.push(&node.name, Operation::Function(sum, function), &node.shape);
        let product = self.push(&node.name, Operation::Product(value, inverse), &node.shape);
        self.bound(product, (1.0 + max_error) / (unit * factor));
        Form::of_value(product, size)?.mapped(unit * factor, 0.0)
    }
}
