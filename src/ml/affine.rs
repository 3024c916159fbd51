//! Linear layers as sparse matrices: the one place where a convolution, a pooling or a transposition means anything under
//! encryption.

use super::model::{Conv2d, Layer, Pool2d};
use crate::circuit::{Matrix, SparseMatrix};
use crate::error::{Error, Result};

/// `y = sum_i matrices[i] x_i + bias` over the values that enter a layer.
pub(super) struct Affine {
    pub(super) matrices: Vec<SparseMatrix>,
    pub(super) bias: Vec<f64>,
}

type Row = Vec<(usize, f64)>;

impl Affine {
    /// The map of a layer from values of the shapes `inputs` to one of the shape `output`, which the model has checked; none where
    /// the layer is not linear.
    pub(super) fn of(layer: &Layer, inputs: &[&[usize]], output: &[usize]) -> Result<Option<Self>> {
        let (input, size) = (inputs[0], entries(output));
        check_size(layer, size)?;
        let columns = entries(input);
        let one = |rows: Vec<Row>, bias| -> Result<Option<Self>> {
            Ok(Some(Self { matrices: vec![SparseMatrix::from_rows(columns, rows)?], bias }))
        };
        let moved = |from: &dyn Fn(&[usize]) -> Option<usize>| -> Vec<Row> {
            indices(output).map(|index| from(&index).map(|at| (at, 1.0)).into_iter().collect()).collect()
        };
        match layer {
            Layer::Dense { weights, bias } => {
                let bias = bias.repeat(size / weights.rows());
                one(dense(weights, size / weights.rows()), bias)
            }
            Layer::Conv2d(conv) => {
                let bias = indices(output).map(|y| conv.bias[y[0]]).collect();
                one(indices(output).map(|y| convolve(conv, input, &y)).collect(), bias)
            }
            Layer::AveragePool(pool) => {
                one(indices(output).map(|y| average(pool, input, &y)).collect(), vec![0.0; size])
            }
            Layer::GlobalAveragePool => {
                let area = input[1] * input[2];
                let row = |channel: usize| (0..area).map(|i| (channel * area + i, 1.0 / area as f64)).collect();
                one((0..input[0]).map(row).collect(), vec![0.0; size])
            }
            Layer::Affine { scale, shift } => {
                Ok(Some(Self { matrices: vec![SparseMatrix::diagonal(scale)?], bias: shift.clone() }))
            }
            Layer::Reshape(_) => Ok(Some(Self { matrices: vec![identity(size)?], bias: vec![0.0; size] })),
            Layer::Transpose(permutation) => {
                let from = |y: &[usize]| {
                    let mut x = vec![0; y.len()];
                    permutation.iter().zip(y).for_each(|(&axis, &at)| x[axis] = at);
                    place(input, &x)
                };
                one(moved(&from), vec![0.0; size])
            }
            Layer::Pad { before, value, .. } => {
                let from = |y: &[usize]| {
                    let x: Option<Vec<usize>> =
                        y.iter().zip(before).map(|(at, before)| at.checked_sub(*before)).collect();
                    place(input, &x?)
                };
                let bias = indices(output).map(|y| if from(&y).is_some() { 0.0 } else { *value }).collect();
                one(moved(&from), bias)
            }
            Layer::Concat { axis } => {
                let mut start = 0;
                let mut matrices = Vec::with_capacity(inputs.len());
                for part in inputs {
                    let from = |y: &[usize]| {
                        let mut x = y.to_vec();
                        x[*axis] = x[*axis].checked_sub(start)?;
                        place(part, &x)
                    };
                    matrices.push(SparseMatrix::from_rows(entries(part), moved(&from))?);
                    start += part[*axis];
                }
                Ok(Some(Self { matrices, bias: vec![0.0; size] }))
            }
            Layer::Add | Layer::Sub => {
                let sign = if matches!(layer, Layer::Add) { 1.0 } else { -1.0 };
                let matrices = vec![identity(size)?, SparseMatrix::diagonal(&vec![sign; size])?];
                Ok(Some(Self { matrices, bias: vec![0.0; size] }))
            }
            Layer::Mul | Layer::Activation(_) => Ok(None),
        }
    }
}

/// Refuses a layer with too many weights, each counted as often as it is used, before memory is taken for them.
fn check_size(layer: &Layer, size: usize) -> Result<()> {
    let row = match layer {
        Layer::Dense { weights, .. } => weights.columns(),
        Layer::Conv2d(conv) => conv.shape[1..].iter().product(),
        Layer::AveragePool(pool) => pool.kernel.iter().product(),
        _ => 1,
    };
    let count = size.saturating_mul(row);
    if count <= SparseMatrix::MAX_ENTRIES {
        return Ok(());
    }
    let reason = format!("{} of {count} entries, at most {} are taken", layer.name(), SparseMatrix::MAX_ENTRIES);
    Err(Error::InvalidParameter { what: "linear map", reason })
}

pub(super) fn identity(size: usize) -> Result<SparseMatrix> {
    SparseMatrix::diagonal(&vec![1.0; size])
}

pub(super) fn entries(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Every index of a tensor, row-major.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..entries(shape)).map(move |mut at| {
        let mut index = vec![0; shape.len()];
        for (index, axis) in index.iter_mut().zip(shape).rev() {
            *index = at % axis;
            at /= axis;
        }
        index
    })
}

/// Where an index lies, unless it is outside.
fn place(shape: &[usize], index: &[usize]) -> Option<usize> {
    let step = |at: usize, (axis, index): (&usize, &usize)| (index < axis).then(|| at * axis + index);
    shape.iter().zip(index).try_fold(0, step)
}

/// One matrix for every line along the last axis.
fn dense(weights: &Matrix, lines: usize) -> Vec<Row> {
    let row = |line: usize, row: usize| {
        weights.row(row).iter().enumerate().map(|(column, &w)| (line * weights.columns() + column, w)).collect()
    };
    (0..lines).flat_map(|line| (0..weights.rows()).map(move |r| row(line, r))).collect()
}

/// Rows or columns of the input under a window: for each place in the window the one that lies there, unless it is padding.
fn window(
    start: usize,
    padding: usize,
    kernel: usize,
    dilation: usize,
    size: usize,
) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel).filter_map(move |k| {
        let at = (start + k * dilation).checked_sub(padding).filter(|&at| at < size)?;
        Some((k, at))
    })
}

fn convolve(conv: &Conv2d, input: &[usize], y: &[usize]) -> Row {
    let [out, per_group, height, width] = conv.shape;
    let first = y[0] / (out / conv.groups) * per_group;
    let mut row = Vec::with_capacity(per_group * height * width);
    for c in 0..per_group {
        for (k, i) in window(y[1] * conv.stride[0], conv.padding[0], height, conv.dilation[0], input[1]) {
            for (l, j) in window(y[2] * conv.stride[1], conv.padding[1], width, conv.dilation[1], input[2]) {
                let weight = conv.weights[((y[0] * per_group + c) * height + k) * width + l];
                row.push((((first + c) * input[1] + i) * input[2] + j, weight));
            }
        }
    }
    row
}

fn average(pool: &Pool2d, input: &[usize], y: &[usize]) -> Row {
    let [height, width] = pool.kernel;
    let mut row = Vec::with_capacity(height * width);
    for (_, i) in window(y[1] * pool.stride[0], pool.padding[0], height, 1, input[1]) {
        for (_, j) in window(y[2] * pool.stride[1], pool.padding[1], width, 1, input[2]) {
            row.push(((y[0] * input[1] + i) * input[2] + j, 1.0));
        }
    }
    let count = if pool.count_padding { height * width } else { row.len() };
    row.iter_mut().for_each(|(_, w)| *w /= count as f64);
    row
}
