//! Tensors that the file knows: initializers, and what follows from them alone.

use super::proto::{self, varints};
use crate::ml::import::broadcast;
use half::{bf16, f16};
use std::rc::Rc;

/// Why an operation on constants cannot be.
pub(super) type Outcome<T> = std::result::Result<T, String>;

/// Most axes of a constant.
pub(super) const MAX_RANK: usize = 16;
/// Most entries of one constant: two times the weights of the largest model.
const MAX_ENTRIES: usize = 2 * crate::ml::model::MAX_WEIGHTS;

/// A known tensor, row-major. Integers are numbers like others: shapes and indices are far below 2^53.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) entries: Rc<[f64]>,
    /// Whether divisions round towards zero.
    pub(super) integer: bool,
}

/// Entries that constants may still take which follow from others: a small file must not ask for a large memory.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// Enough for shapes and small tables.
    pub(super) fn new() -> Self {
        Self(1 << 20)
    }

    /// The entries of a shape, taken from the budget.
    pub(super) fn take(&mut self, shape: &[usize]) -> Outcome<usize> {
        let size = entries(shape)?;
        self.0 = self.0.checked_sub(size).ok_or_else(|| format!("a constant of shape {shape:?} is too large"))?;
        Ok(size)
    }
}

/// Entries of a constant's shape, which must have some measure even where one axis is empty.
fn entries(shape: &[usize]) -> Outcome<usize> {
    let size = shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis));
    let size = size.filter(|size| shape.iter().chain([size]).all(|n| *n <= MAX_ENTRIES) && shape.len() <= MAX_RANK);
    size.ok_or_else(|| format!("a constant of shape {shape:?} is too large"))
}

/// `size` numbers of `W` bytes.
fn words<const W: usize>(bytes: &[u8], size: usize, number: impl Fn([u8; W]) -> f64) -> Outcome<Rc<[f64]>> {
    if size.checked_mul(W) != Some(bytes.len()) {
        return Err(format!("{} bytes for {size} entries of {W}", bytes.len()));
    }
    Ok(bytes.as_chunks().0.iter().map(|word| number(*word)).collect())
}

impl Constant {
    /// Integers in a line, as shapes are.
    pub(super) fn integers(numbers: impl IntoIterator<Item = f64>) -> Self {
        let entries: Rc<[f64]> = numbers.into_iter().collect();
        Self { shape: vec![entries.len()], entries, integer: true }
    }

    /// A single number.
    pub(super) fn number(number: f64, integer: bool) -> Self {
        Self { shape: vec![], entries: Rc::new([number]), integer }
    }

    /// A tensor of the file. Twice its size may then follow from it, for example its transpose.
    pub(super) fn read(tensor: &proto::Tensor, budget: &mut Budget) -> Outcome<Self> {
        if tensor.data_location != 0 {
            return Err("its data are in another file; save the model with its data inside".into());
        }
        let shape =
            tensor.dims.iter().map(|&axis| usize::try_from(axis).map_err(|_| "a negative dimension".to_string()));
        let shape: Vec<usize> = shape.collect::<Outcome<_>>()?;
        let size = entries(&shape)?;
        let raw = !tensor.raw_data.is_empty();
        // Narrow types stand one to an `int32` where they are not raw.
        let packed = |bytes: &[u8]| -> Outcome<Vec<i64>> {
            let numbers = varints(bytes).map_err(|error| error.to_string())?;
            let count = numbers.len();
            (count == size).then_some(numbers).ok_or_else(|| format!("{count} numbers for {size} entries"))
        };
        let bits = |number: i64| u16::try_from(number).map_err(|_| "no 16-bit number".to_string());
        let (entries, integer): (Rc<[f64]>, bool) = match tensor.data_type {
            1 => (
                words(if raw { &tensor.raw_data } else { &tensor.float_data }, size, |b| f32::from_le_bytes(b).into())?,
                false,
            ),
            11 => (words(if raw { &tensor.raw_data } else { &tensor.double_data }, size, f64::from_le_bytes)?, false),
            10 if raw => (words(&tensor.raw_data, size, |b| f16::from_le_bytes(b).to_f64())?, false),
            16 if raw => (words(&tensor.raw_data, size, |b| bf16::from_le_bytes(b).to_f64())?, false),
            6 if raw => (words(&tensor.raw_data, size, |b| i32::from_le_bytes(b).into())?, true),
            7 if raw => (words(&tensor.raw_data, size, |b| i64::from_le_bytes(b) as f64)?, true),
            10 => {
                let half = |x| Ok(f16::from_bits(bits(x)?).to_f64());
                (packed(&tensor.int32_data)?.into_iter().map(half).collect::<Outcome<_>>()?, false)
            }
            16 => {
                let half = |x| Ok(bf16::from_bits(bits(x)?).to_f64());
                (packed(&tensor.int32_data)?.into_iter().map(half).collect::<Outcome<_>>()?, false)
            }
            6 => (packed(&tensor.int32_data)?.into_iter().map(|x| x as f64).collect(), true),
            7 => (packed(&tensor.int64_data)?.into_iter().map(|x| x as f64).collect(), true),
            other => {
                return Err(format!("data type {other} is none of float16, bfloat16, float, double, int32, int64"));
            }
        };
        budget.0 = budget.0.saturating_add(2 * size);
        Ok(Self { shape, entries, integer })
    }

    /// The number, where there is one.
    pub(super) fn single(&self) -> Option<f64> {
        match *self.entries {
            [number] => Some(number),
            _ => None,
        }
    }

    /// The entries as integers.
    pub(super) fn to_integers(&self) -> Vec<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and what is meant is small")]
        self.entries.iter().map(|&x| x as i64).collect()
    }

    /// The same entries under another shape of as many.
    pub(super) fn with_shape(&self, shape: Vec<usize>) -> Self {
        Self { shape, entries: self.entries.clone(), integer: self.integer }
    }

    /// The entries of shape `shape` from the place of each in this tensor.
    fn gather_by(&self, shape: Vec<usize>, budget: &mut Budget, place: impl Fn(&[usize]) -> usize) -> Outcome<Self> {
        let size = budget.take(&shape)?;
        let mut index = vec![0; shape.len()];
        let mut entries = Vec::with_capacity(size);
        for _ in 0..size {
            entries.push(self.entries[place(&index)]);
            for (at, &axis) in index.iter_mut().zip(&shape).rev() {
                *at = (*at + 1) % axis;
                if *at != 0 {
                    break;
                }
            }
        }
        Ok(Self { shape, entries: entries.into(), integer: self.integer })
    }

    /// Entries from one index along each axis to the next.
    fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        strides
    }

    /// Axis `i` of the result is axis `permutation[i]`.
    pub(super) fn transpose(&self, permutation: &[usize], budget: &mut Budget) -> Outcome<Self> {
        let strides = self.strides();
        let shape = permutation.iter().map(|&axis| self.shape[axis]).collect();
        let along = |(at, &axis): (&usize, &usize)| at * strides[axis];
        self.gather_by(shape, budget, |index| index.iter().zip(permutation).map(along).sum())
    }

    /// Along `axis`, the entries at `places`.
    pub(super) fn select(&self, axis: usize, places: &[usize], budget: &mut Budget) -> Outcome<Self> {
        let strides = self.strides();
        let mut shape = self.shape.clone();
        shape[axis] = places.len();
        self.gather_by(shape, budget, |index| {
            index.iter().enumerate().map(|(i, &at)| strides[i] * if i == axis { places[at] } else { at }).sum()
        })
    }

    /// Constants one after the other along an axis.
    pub(super) fn concat(parts: &[Self], axis: usize, budget: &mut Budget) -> Outcome<Self> {
        let first = &parts[0];
        let fits = |part: &Self| {
            part.shape.len() == first.shape.len()
                && (0..first.shape.len()).all(|i| i == axis || part.shape[i] == first.shape[i])
        };
        if axis >= first.shape.len() || !parts.iter().all(fits) {
            return Err("constants that do not fit along the axis".into());
        }
        let mut shape = first.shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let mut entries = Vec::with_capacity(budget.take(&shape)?);
        for outer in 0..first.shape[..axis].iter().product() {
            for part in parts {
                let block: usize = part.shape[axis..].iter().product();
                entries.extend_from_slice(&part.entries[outer * block..(outer + 1) * block]);
            }
        }
        Ok(Self { shape, entries: entries.into(), integer: first.integer })
    }

    /// `f` entry by entry.
    pub(super) fn map(&self, budget: &mut Budget, f: impl Fn(f64) -> f64) -> Outcome<Self> {
        budget.take(&self.shape)?;
        Ok(Self {
            shape: self.shape.clone(),
            entries: self.entries.iter().map(|&x| f(x)).collect(),
            integer: self.integer,
        })
    }

    /// `f` of two constants, entry by entry, axes of length 1 repeated.
    pub(super) fn zip(&self, other: &Self, budget: &mut Budget, f: impl Fn(f64, f64) -> f64) -> Outcome<Self> {
        let rank = self.shape.len().max(other.shape.len());
        let axis = |constant: &Self, axis: usize| {
            (axis + constant.shape.len()).checked_sub(rank).map_or(1, |i| constant.shape[i])
        };
        let common = |i| match (axis(self, i), axis(other, i)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => Err(format!("constants of shapes {:?} and {:?}", self.shape, other.shape)),
        };
        let shape: Vec<usize> = (0..rank).map(common).collect::<Outcome<_>>()?;
        budget.take(&shape)?;
        let fill = |constant: &Self| {
            broadcast(&constant.shape, &constant.entries, &shape).ok_or("constants that do not fit each other")
        };
        let entries = fill(self)?.iter().zip(&fill(other)?).map(|(&a, &b)| f(a, b)).collect();
        Ok(Self { shape, entries, integer: self.integer && other.integer })
    }
}
