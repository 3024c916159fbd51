//! Which tensors a layer takes, and the shape it gives.

use super::{Activation, Conv2d, Layer, Pool2d};

/// Most axes of a tensor.
pub(super) const MAX_RANK: usize = 8;
/// Most coefficients of a polynomial activation.
const MAX_COEFFICIENTS: usize = 128;

/// What a layer makes of the shapes that enter it.
pub(super) struct Inferred {
    /// Shape of its value.
    pub(super) shape: Vec<usize>,
    /// Numbers that the layer holds.
    pub(super) weights: usize,
    /// Multiplications that its definition takes, at most.
    pub(super) work: usize,
}

/// Why a layer does not fit.
type Reason = String;

/// Entries of a shape; none where they overflow.
pub(super) fn entries(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis))
}

/// Checks the layer against the shapes that enter it. Allocates no more than a shape.
pub(super) fn infer(layer: &Layer, inputs: &[&[usize]]) -> Result<Inferred, Reason> {
    let arity = match layer {
        Layer::Add | Layer::Sub | Layer::Mul => 2,
        Layer::Concat { .. } => inputs.len().max(1),
        _ => 1,
    };
    let [first, rest @ ..] = inputs else { return Err("nothing enters it".into()) };
    if inputs.len() != arity {
        return Err(format!("{} inputs instead of {arity}", inputs.len()));
    }
    let size = entries(first).ok_or("too many entries")?;
    let same = |shape: Vec<usize>, weights, work| Ok(Inferred { shape, weights, work });
    match layer {
        Layer::Dense { weights, bias } => {
            let (rows, columns) = (weights.rows(), weights.columns());
            let Some((&last, leading)) = first.split_last() else { return Err("takes a vector, got a number".into()) };
            if last != columns {
                return Err(format!("takes {columns} inputs along the last axis, the layer before gives {last}"));
            }
            check_bias(bias, rows)?;
            let work = entries(leading).and_then(|n| n.checked_mul(rows)?.checked_mul(columns));
            same([leading, &[rows]].concat(), weights.entries().len(), work.ok_or("too much work")?)
        }
        Layer::Conv2d(conv) => infer_conv(conv, channels_rows_columns(first)?),
        Layer::AveragePool(pool) => infer_pool(pool, channels_rows_columns(first)?),
        Layer::GlobalAveragePool => same(vec![channels_rows_columns(first)?[0], 1, 1], 0, size),
        Layer::Affine { scale, shift } => {
            check_entries("scale", scale, size)?;
            check_entries("shift", shift, size)?;
            same(first.to_vec(), 2 * size, size)
        }
        Layer::Reshape(shape) => {
            if entries(shape) != Some(size) {
                return Err(format!("{first:?} has {size} entries, {shape:?} has not"));
            }
            same(shape.clone(), 0, 0)
        }
        Layer::Transpose(permutation) => {
            let mut axes = permutation.clone();
            axes.sort_unstable();
            if !axes.into_iter().eq(0..first.len()) {
                return Err(format!("{permutation:?} is no permutation of the axes of {first:?}"));
            }
            same(permutation.iter().map(|&axis| first[axis]).collect(), 0, 0)
        }
        Layer::Pad { before, after, value } => {
            if before.len() != first.len() || after.len() != first.len() {
                return Err(format!("{} and {} borders for {first:?}", before.len(), after.len()));
            }
            if !value.is_finite() {
                return Err("the border is not a finite number".into());
            }
            let sides = first.iter().zip(before).zip(after);
            let padded = sides.map(|((axis, before), after)| axis.checked_add(*before)?.checked_add(*after));
            same(padded.collect::<Option<_>>().ok_or("too many entries")?, 0, 0)
        }
        Layer::Concat { axis } => {
            let without = |shape: &[usize]| {
                let mut shape = shape.to_vec();
                (*axis < shape.len()).then(|| (shape.remove(*axis), shape))
            };
            let (mut length, others) = without(first).ok_or_else(|| format!("no axis {axis} in {first:?}"))?;
            for shape in rest {
                match without(shape) {
                    Some((more, rest)) if rest == others => {
                        length = length.checked_add(more).ok_or("too many entries")?;
                    }
                    _ => return Err(format!("{first:?} and {shape:?} do not fit along axis {axis}")),
                }
            }
            let mut shape = others;
            shape.insert(*axis, length);
            // Every entry looks for its input.
            let work = entries(&shape).and_then(|n| n.checked_mul(inputs.len()));
            same(shape, 0, work.ok_or("too much work")?)
        }
        Layer::Add | Layer::Sub | Layer::Mul => match rest {
            [second] if first == second => same(first.to_vec(), 0, size),
            _ => Err(format!("the shapes {inputs:?} differ")),
        },
        Layer::Activation(activation) => {
            let work = match activation {
                Activation::Polynomial(coefficients) => {
                    if coefficients.is_empty() || coefficients.len() > MAX_COEFFICIENTS {
                        let got = coefficients.len();
                        return Err(format!("{got} coefficients, takes 1 to {MAX_COEFFICIENTS}"));
                    }
                    check_finite("coefficient", coefficients)?;
                    size.checked_mul(coefficients.len()).ok_or("too much work")?
                }
                Activation::Softmax { axis } if *axis >= first.len() => {
                    return Err(format!("no axis {axis} in {first:?}"));
                }
                _ => size,
            };
            same(first.to_vec(), 0, work)
        }
    }
}

fn channels_rows_columns(shape: &[usize]) -> Result<[usize; 3], Reason> {
    shape.try_into().map_err(|_| format!("takes channels, rows and columns, got the shape {shape:?}"))
}

fn infer_conv(conv: &Conv2d, [channels, rows, columns]: [usize; 3]) -> Result<Inferred, Reason> {
    let [out, per_group, height, width] = conv.shape;
    let weights = entries(&conv.shape).filter(|&n| n > 0 && n == conv.weights.len());
    let weights = weights.ok_or_else(|| format!("{} weights for the shape {:?}", conv.weights.len(), conv.shape))?;
    check_finite("weight", &conv.weights)?;
    check_bias(&conv.bias, out)?;
    let groups = conv.groups;
    if groups == 0 || !out.is_multiple_of(groups) || per_group.checked_mul(groups) != Some(channels) {
        let all = format!("{out} channels from {channels}, each from {per_group}");
        return Err(format!("{groups} groups do not fit {all}"));
    }
    if conv.dilation.contains(&0) {
        return Err("a dilation of 0".into());
    }
    let size = conv.output_size([rows, columns]);
    let [rows, columns] = size.ok_or_else(|| no_window([height, width], [rows, columns]))?;
    let shape = vec![out, rows, columns];
    let work = rows.checked_mul(columns).and_then(|n| n.checked_mul(weights)).ok_or("too much work")?;
    Ok(Inferred { shape, weights, work })
}

fn infer_pool(pool: &Pool2d, [channels, rows, columns]: [usize; 3]) -> Result<Inferred, Reason> {
    let padding = &pool.padding;
    if (0..4).any(|side| padding[side] >= pool.kernel[side % 2].max(1)) {
        // Some window would hold nothing but padding.
        return Err(format!("the padding {padding:?} is not less than the kernel {:?}", pool.kernel));
    }
    let size = pool.output_size([rows, columns]);
    let [rows, columns] = size.ok_or_else(|| no_window(pool.kernel, [rows, columns]))?;
    let shape = vec![channels, rows, columns];
    let work = entries(&shape).and_then(|n| n.checked_mul(pool.kernel[0])?.checked_mul(pool.kernel[1]));
    Ok(Inferred { shape, weights: 0, work: work.ok_or("too much work")? })
}

fn no_window(kernel: [usize; 2], size: [usize; 2]) -> Reason {
    format!("no window of {kernel:?} fits {size:?} rows and columns, or a stride is 0")
}

fn check_bias(bias: &[f64], outputs: usize) -> Result<(), Reason> {
    check_entries("bias", bias, outputs)
}

fn check_entries(what: &str, got: &[f64], wanted: usize) -> Result<(), Reason> {
    if got.len() != wanted {
        return Err(format!("the {what} has {} entries instead of {wanted}", got.len()));
    }
    check_finite(what, got)
}

fn check_finite(what: &str, numbers: &[f64]) -> Result<(), Reason> {
    match numbers.iter().position(|x| !x.is_finite()) {
        Some(entry) => Err(format!("{what}: entry {entry} is not a finite number")),
        None => Ok(()),
    }
}
