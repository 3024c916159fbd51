//! Nodes that move entries and leave them as they are, and shapes as values.

use super::constant::{Constant, MAX_RANK};
use super::graph::{Computed, Importer, Item, Op};
use crate::error::Result;
use crate::ml::Layer;

impl Importer {
    /// The numbers of an attribute, or of an input since they moved there.
    fn numbers(&self, op: &Op<'_>, name: &str, index: usize) -> Result<Option<Vec<i64>>> {
        match op.ints(name) {
            Some(numbers) => Ok(Some(numbers.to_vec())),
            None => Ok(self.constant(op, index)?.map(|constant| constant.to_integers())),
        }
    }

    /// `x` with the shape `shape`, as the file sees it for a batch of one.
    fn reshaped(&mut self, op: &Op<'_>, x: Computed, shape: Vec<usize>, folded: bool) -> Result<Computed> {
        let own = if folded { shape } else { shape[1..].to_vec() };
        if own == self.builder.shape(x.value) {
            return Ok(Computed { value: x.value, folded });
        }
        self.push_all(op, Layer::Reshape(own), vec![x.value], folded)
    }

    /// Reshape.
    pub(super) fn reshape(&mut self, op: &Op<'_>) -> Result<Item> {
        let target = self.needed(op, 1)?.to_integers();
        let item = self.input(op, 0)?;
        let (from, size) = match &item {
            Some(Item::Constant(constant)) => (constant.shape.clone(), constant.entries.len()),
            _ => {
                let x = self.computed(op, 0)?;
                (self.shape(x), self.builder.shape(x.value).iter().product())
            }
        };
        if target.len() > MAX_RANK {
            return Err(op.bad(format!("more than {MAX_RANK} axes")));
        }
        let misfit = || op.bad(format!("{from:?} cannot be reshaped to {target:?}"));
        let copies = op.int("allowzero", 0) == 0;
        let mut shape = Vec::with_capacity(target.len());
        for (axis, &length) in target.iter().enumerate() {
            shape.push(match length {
                0 if copies => Some(*from.get(axis).ok_or_else(misfit)?),
                -1 => None,
                length => Some(usize::try_from(length).map_err(|_| misfit())?),
            });
        }
        let product = shape.iter().flatten().try_fold(1usize, |product, &axis| product.checked_mul(axis));
        let rest = product.filter(|&product| product != 0 && size % product == 0).map(|product| size / product);
        let open = shape.iter().filter(|axis| axis.is_none()).count();
        let fits = if open == 0 { product == Some(size) } else { open == 1 && rest.is_some() };
        if !fits {
            return Err(misfit());
        }
        let shape: Vec<usize> = shape.into_iter().map(|axis| axis.or(rest).unwrap_or(0)).collect();
        if let Some(Item::Constant(constant)) = item {
            return Ok(Item::Constant(constant.with_shape(shape)));
        }
        let x = self.computed(op, 0)?;
        // The first axis holds the batch: alone, or with what is merged into it.
        let folded = match (shape.first(), target.first()) {
            (Some(1), _) => false,
            (Some(_), Some(-1 | 0)) => true,
            (Some(_), _) if !self.dynamic => true,
            _ => return Err(op.bad(format!("the shape {target:?} does not keep the batch in front"))),
        };
        Ok(Item::Computed(self.reshaped(op, x, shape, folded)?))
    }

    /// Flatten.
    pub(super) fn flatten(&mut self, op: &Op<'_>) -> Result<Computed> {
        let x = self.sample(op)?;
        let shape = self.shape(x);
        if op.axis(op.int("axis", 1), shape.len() + 1)? != 1 {
            return Err(op.bad("an axis other than 1"));
        }
        self.reshaped(op, x, vec![1, shape.iter().product()], false)
    }

    /// Squeeze and Unsqueeze.
    pub(super) fn squeeze(&mut self, op: &Op<'_>) -> Result<Item> {
        let axes = self.numbers(op, "axes", 1)?.ok_or_else(|| op.bad("without axes"))?;
        let item = self.input(op, 0)?;
        let mut shape = match &item {
            Some(Item::Constant(constant)) => constant.shape.clone(),
            _ => self.shape(self.computed(op, 0)?),
        };
        let adds = op.operator() == "Unsqueeze";
        let rank = if adds { shape.len().saturating_add(axes.len()) } else { shape.len() };
        if rank > MAX_RANK {
            return Err(op.bad(format!("more than {MAX_RANK} axes")));
        }
        let mut axes = axes.iter().map(|&axis| op.axis(axis, rank)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        if adds {
            axes.iter().for_each(|&axis| shape.insert(axis.min(shape.len()), 1));
        } else {
            if axes.iter().any(|&axis| shape[axis] != 1) {
                return Err(op.bad(format!("an axis of {shape:?} whose length is not 1")));
            }
            for &axis in axes.iter().rev() {
                shape.remove(axis);
            }
        }
        if let Some(Item::Constant(constant)) = item {
            return Ok(Item::Constant(constant.with_shape(shape)));
        }
        let x = self.sample(op)?;
        if axes.contains(&0) {
            return Err(op.bad("the batch's axis"));
        }
        Ok(Item::Computed(self.reshaped(op, x, shape, false)?))
    }

    /// Transpose.
    pub(super) fn transpose(&mut self, op: &Op<'_>) -> Result<Item> {
        let item = self.input(op, 0)?;
        let rank = match &item {
            Some(Item::Constant(constant)) => constant.shape.len(),
            _ => self.shape(self.computed(op, 0)?).len(),
        };
        let reversed = || (0..rank).rev().collect();
        let permutation: Vec<usize> = match op.ints("perm") {
            None => reversed(),
            Some(axes) => axes.iter().map(|&axis| op.axis(axis, rank)).collect::<Result<_>>()?,
        };
        let mut sorted = permutation.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return Err(op.bad(format!("{permutation:?} is no permutation of {rank} axes")));
        }
        if let Some(Item::Constant(constant)) = item {
            return Ok(Item::Constant(self.fold(op, |budget| constant.transpose(&permutation, budget))?));
        }
        let x = self.computed(op, 0)?;
        if permutation.first() != Some(&0) {
            return Err(op.bad("the batch does not stay in front"));
        }
        let own = if x.folded { permutation } else { permutation[1..].iter().map(|axis| axis - 1).collect() };
        Ok(Item::Computed(self.push(op, Layer::Transpose(own), x)?))
    }

    /// Concat.
    pub(super) fn concat(&mut self, op: &Op<'_>) -> Result<Item> {
        let parts = self.all_inputs(op)?;
        let constant = |item: &Item| if let Item::Constant(constant) = item { Some(constant.clone()) } else { None };
        if let Some(parts) = parts.iter().map(constant).collect::<Option<Vec<_>>>().filter(|parts| !parts.is_empty()) {
            let axis = op.axis(op.int("axis", 0), parts[0].shape.len())?;
            return Ok(Item::Constant(self.fold(op, |budget| Constant::concat(&parts, axis, budget))?));
        }
        let values = (0..op.inputs()).map(|i| self.computed(op, i)).collect::<Result<Vec<_>>>()?;
        if values.iter().any(|x| x.folded) {
            return Err(op.bad("the batch is merged with another axis"));
        }
        let rank = self.shape(self.sample(op)?).len();
        let axis = op.axis(op.int("axis", 0), rank)?.checked_sub(1).ok_or_else(|| op.bad("along the batch"))?;
        let values = values.iter().map(|x| x.value).collect();
        Ok(Item::Computed(self.push_all(op, Layer::Concat { axis }, values, false)?))
    }

    /// Pad.
    pub(super) fn pad(&mut self, op: &Op<'_>) -> Result<Computed> {
        let x = self.sample(op)?;
        let rank = self.shape(x).len();
        if op.text("mode", "constant") != "constant" {
            return Err(op.bad("a mode other than \"constant\""));
        }
        let pads = self.needed(op, 1)?.to_integers();
        let value = self.constant(op, 2)?.map_or(Some(0.0), |value| value.single());
        let value = value.ok_or_else(|| op.bad("the border must be one number"))?;
        let axes = match self.constant(op, 3)? {
            None => (0..rank).collect(),
            Some(axes) => axes.to_integers().iter().map(|&axis| op.axis(axis, rank)).collect::<Result<Vec<_>>>()?,
        };
        if pads.len() != 2 * axes.len() {
            return Err(op.bad(format!("{} paddings for {} axes", pads.len(), axes.len())));
        }
        let mut borders = vec![[0; 2]; rank];
        for (i, pad) in pads.iter().enumerate() {
            let pad = usize::try_from(*pad).map_err(|_| op.bad("a negative padding"))?;
            borders[axes[i % axes.len()]][i / axes.len()] = pad;
        }
        if borders[0] != [0, 0] {
            return Err(op.bad("along the batch"));
        }
        let side = |side: usize| borders[1..].iter().map(|border| border[side]).collect();
        self.push(op, Layer::Pad { before: side(0), after: side(1), value }, x)
    }

    /// Shape: of a batch of one.
    pub(super) fn shape_node(&mut self, op: &Op<'_>) -> Result<Item> {
        let shape = match self.input(op, 0)? {
            Some(Item::Constant(constant)) => constant.shape,
            _ => self.shape(self.computed(op, 0)?),
        };
        // Bounds beyond the shape are cut off.
        let bound = |name, default: usize| match op.has(name) {
            true => clamp(op.int(name, 0), shape.len()),
            false => default,
        };
        let (start, end) = (bound("start", 0), bound("end", shape.len()));
        let part = shape.get(start..end).unwrap_or(&[]);
        Ok(Item::Constant(Constant::integers(part.iter().map(|&axis| axis as f64))))
    }

    /// Gather, of constants.
    pub(super) fn gather(&mut self, op: &Op<'_>) -> Result<Item> {
        let (data, indices) = (self.needed(op, 0)?, self.needed(op, 1)?);
        let axis = op.axis(op.int("axis", 0), data.shape.len())?;
        let places = indices.to_integers();
        let places = places.iter().map(|&place| op.axis(place, data.shape[axis])).collect::<Result<Vec<_>>>()?;
        let gathered = self.fold(op, |budget| data.select(axis, &places, budget))?;
        let shape = [&data.shape[..axis], &indices.shape[..], &data.shape[axis + 1..]].concat();
        Ok(Item::Constant(gathered.with_shape(shape)))
    }

    /// Slice, of constants.
    pub(super) fn slice(&mut self, op: &Op<'_>) -> Result<Item> {
        let mut data = self.needed(op, 0)?;
        let (starts, ends) = (self.needed(op, 1)?.to_integers(), self.needed(op, 2)?.to_integers());
        let axes = match self.constant(op, 3)? {
            Some(axes) => axes.to_integers(),
            None => (0i64..).take(starts.len()).collect(),
        };
        let steps = self.constant(op, 4)?.map_or_else(|| vec![1; starts.len()], |steps| steps.to_integers());
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.contains(&0) {
            return Err(op.bad("starts, ends, axes and steps do not fit each other"));
        }
        for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
            let axis = op.axis(axis, data.shape.len())?;
            let length = data.shape[axis];
            let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            let places: Vec<usize> = if step > 0 {
                (clamp(start, length)..clamp(end, length)).step_by(stride).collect()
            } else {
                // Backwards, from `start` down to behind `end`: one more than each counts from above.
                let (start, end) = (clamp_above(start, length), clamp_above(end, length));
                (end..start).rev().step_by(stride).collect()
            };
            data = self.fold(op, |budget| data.select(axis, &places, budget))?;
        }
        Ok(Item::Constant(data))
    }

    /// ConstantOfShape.
    pub(super) fn constant_of_shape(&mut self, op: &Op<'_>) -> Result<Item> {
        let shape = self.needed(op, 0)?.to_integers();
        let shape = shape.iter().map(|&axis| usize::try_from(axis).map_err(|_| op.bad("a negative length")));
        let shape = shape.collect::<Result<Vec<_>>>()?;
        let value = match op.tensor("value") {
            Some(tensor) => self.fold(op, |budget| Constant::read(tensor, budget))?,
            None => Constant::number(0.0, false),
        };
        let number = value.single().ok_or_else(|| op.bad("the value must be one number"))?;
        let size = self.fold(op, |budget| budget.take(&shape))?;
        Ok(Item::Constant(Constant { shape, entries: vec![number; size].into(), integer: value.integer }))
    }

    /// Constant.
    pub(super) fn constant_node(&mut self, op: &Op<'_>) -> Result<Item> {
        Ok(Item::Constant(if let Some(tensor) = op.tensor("value") {
            self.fold(op, |budget| Constant::read(tensor, budget))?
        } else if op.has("value_float") {
            Constant::number(op.float("value_float", 0.0), false)
        } else if op.has("value_int") {
            Constant::number(op.int("value_int", 0) as f64, true)
        } else if let Some(ints) = op.ints("value_ints") {
            Constant::integers(ints.iter().map(|&x| x as f64))
        } else if op.has("value_floats") {
            let floats = op.floats("value_floats");
            Constant { shape: vec![floats.len()], entries: floats.into(), integer: false }
        } else {
            return Err(op.bad("a value that is neither a tensor nor numbers"));
        }))
    }

    /// Cast: floats to floats change nothing, and integers are for the client.
    pub(super) fn cast(&mut self, op: &Op<'_>) -> Result<Item> {
        let (float, integer) = (matches!(op.int("to", 0), 1 | 10 | 11 | 16), matches!(op.int("to", 0), 6 | 7));
        match self.input(op, 0)? {
            Some(Item::Constant(constant)) if float || integer => {
                let cast = |x: f64| if integer { x.trunc() } else { x };
                let mut made = self.fold(op, |budget| constant.map(budget, cast))?;
                made.integer = integer;
                Ok(Item::Constant(made))
            }
            Some(item @ Item::Computed(_)) if float => Ok(item),
            Some(Item::Computed(_)) if integer => Ok(Item::Client),
            _ => Err(op.bad(format!("to data type {}", op.int("to", 0)))),
        }
    }
}

/// A bound of a slice that steps forward: counted from the end where it is negative, and cut to the axis.
fn clamp(bound: i64, length: usize) -> usize {
    let size = usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX);
    if bound < 0 { length.saturating_sub(size) } else { size.min(length) }
}

/// One more than a bound of a slice that steps backwards; before the first entry it is 0.
fn clamp_above(bound: i64, length: usize) -> usize {
    let size = usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX);
    if bound < 0 { length.saturating_add(1).saturating_sub(size) } else { size.saturating_add(1).min(length) }
}
