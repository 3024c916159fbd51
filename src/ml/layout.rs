//! Where the entries of a value lie in the slots, when one sample lies over the slots.
//!
//! # Memory layout
//! Entry `i` of a tensor lies in slot `places[i]` and, the vector being periodic, every `period` slots after it. The other slots hold
//! anything that is no larger. Candidates for a tensor:
//!
//! - *compact*: entry `i` in slot `i`;
//! - *grid*, for channels of rows and columns: all images of the model share one grid of `2^a` rows and `2^b` columns. A channel takes
//!   every `gap`-th row and column of it, as a strided convolution leaves them, and `gap^2` channels share a grid, one in each gap
//!   (multiplexing). Grids lie one after the other. A convolution between such layouts has few diagonals: one for each offset in its
//!   window and each distance between grids.
//!
//! A map between two layouts is a matrix from slots to slots, [`DiagonalMatrix`] says what it costs. The choice is the cheapest found by
//! changing one value's layout at a time, from several starts.
//!
//! # Source
//! Multiplexed convolutions: Lee et al., ePrint 2021/1688. Deviation: pooling, stride and convolution are one map, of one level.

use super::affine::entries;
use super::lower::{Operation, Steps, plain_sign};
use crate::circuit::{DiagonalMatrix, SparseMatrix};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Most gaps between neighbours of a grid.
const MAX_GAP: usize = 8;

/// Places of a tensor's entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// A power of two above all places.
    pub(super) period: usize,
    pub(super) places: Vec<usize>,
    /// Gap of a grid; 0 where it is compact.
    pub(super) gap: usize,
}

impl Layout {
    pub(super) fn compact(size: usize) -> Self {
        Self { period: size.next_power_of_two(), places: (0..size).collect(), gap: 0 }
    }

    /// Whether places are inside and differ, and if not what is wrong: for what was read from bytes.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        // Places that differ are no more than those there are.
        if self.places.is_empty() || !self.period.is_power_of_two() || self.places.len() > self.period {
            return Err(format!("{} places in a period of {}", self.places.len(), self.period));
        }
        let mut sorted = self.places.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|two| two[0] == two[1]) || sorted.last().is_some_and(|last| *last >= self.period) {
            return Err(format!("places that meet or lie beyond its period of {}", self.period));
        }
        Ok(())
    }

    /// A grid of `height` by `width`, if the tensor fits it.
    fn grid(shape: &[usize], [height, width]: [usize; 2], gap: usize) -> Option<Self> {
        let &[channels, rows, columns] = shape else { return None };
        if rows * gap > height || columns * gap > width {
            return None;
        }
        let place = |c: usize, y: usize, x: usize| {
            let (grid, inside) = (c / (gap * gap), c % (gap * gap));
            (grid * height + y * gap + inside / gap) * width + x * gap + inside % gap
        };
        let of_channel = |c| (0..rows).flat_map(move |y| (0..columns).map(move |x| place(c, y, x)));
        let period = channels.div_ceil(gap * gap).next_power_of_two() * height * width;
        Some(Self { period, places: (0..channels).flat_map(of_channel).collect(), gap })
    }

    /// Every layout worth a look within `slots`; the compact one is the first.
    fn candidates(shape: &[usize], grid: Option<[usize; 2]>, slots: usize) -> Vec<Self> {
        let gaps = std::iter::successors(Some(1), |gap| Some(2 * gap)).take_while(|gap| *gap <= MAX_GAP);
        let grids = gaps.filter_map(|gap| Self::grid(shape, grid?, gap)).filter(|layout| layout.period <= slots);
        std::iter::once(Self::compact(entries(shape))).chain(grids).collect()
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.gap {
            0 => write!(f, "compact"),
            gap => write!(f, "grid, gap {gap}"),
        }
    }
}

/// The map between slots that a matrix is between layouts, for an input of the given period.
pub(super) fn diagonals(matrix: &SparseMatrix, from: &Layout, period: usize, to: &Layout) -> Result<DiagonalMatrix> {
    let placed = matrix.placed((to.period, &to.places), (from.period, &from.places))?;
    DiagonalMatrix::sparse(placed, period.max(from.period))
}

/// A layout for every value, on vectors of `slots` entries.
///
/// # Errors
/// [`Error::TooManyValues`] when a value has more entries than slots.
pub(super) fn choose(steps: &Steps, slots: usize) -> Result<Vec<Layout>> {
    let values = steps.steps.len() + 1;
    if let Some(got) =
        (0..values).map(|value| entries(steps.shape(value))).find(|size| size.next_power_of_two() > slots)
    {
        return Err(Error::TooManyValues { slots, got });
    }
    let classes = classes(steps);
    let grid = (0..values).filter_map(|value| <[usize; 3]>::try_from(steps.shape(value)).ok()).fold(
        None,
        |grid: Option<[usize; 2]>, [_, rows, columns]| {
            let [height, width] = grid.unwrap_or([1, 1]);
            Some([height.max(rows.next_power_of_two()), width.max(columns.next_power_of_two())])
        },
    );
    let mut costs = Costs {
        steps,
        classes: &classes,
        candidates: (0..values).map(|value| Layout::candidates(steps.shape(value), grid, slots)).collect(),
        known: HashMap::new(),
    };
    // Compact everywhere; or grids with the widest gaps, which is how strided maps leave them.
    let count = |value: usize| costs.candidates[value].len();
    let starts = [vec![0; values], (0..values).map(|value| count(value) - 1).collect()];
    let mut best: Option<(usize, Vec<usize>)> = None;
    for start in starts {
        let found = costs.descend(start)?;
        if best.as_ref().is_none_or(|(least, _)| found.0 < *least) {
            best = Some(found);
        }
    }
    let chosen = best.map(|(_, chosen)| chosen).unwrap_or_default();
    Ok((0..values).map(|value| costs.candidates[classes[value]][chosen[classes[value]]].clone()).collect())
}

/// For every value the first one that must lie as it does: steps that work entry by entry leave entries where they are.
fn classes(steps: &Steps) -> Vec<usize> {
    let mut classes: Vec<usize> = vec![0];
    for step in &steps.steps {
        let value = classes.len();
        classes.push(value);
        if !moves(&step.operation) {
            for operand in step.operation.operands() {
                let (a, b) = (classes[operand], classes[value]);
                classes.iter_mut().filter(|class| **class == a.max(b)).for_each(|class| *class = a.min(b));
            }
        }
    }
    classes
}

/// Whether the entries of its value may lie elsewhere than those that it takes.
pub(super) fn moves(operation: &Operation) -> bool {
    match operation {
        Operation::Affine { terms, .. } => !terms.iter().all(|(_, matrix)| plain_sign(matrix).is_some()),
        _ => false,
    }
}

struct Costs<'a> {
    steps: &'a Steps,
    classes: &'a [usize],
    /// Of every value; those of a class are its first value's.
    candidates: Vec<Vec<Layout>>,
    /// By step, term and the candidates of its operand and its value.
    known: HashMap<[usize; 4], usize>,
}

impl Costs<'_> {
    /// Changes one class at a time until nothing gets cheaper.
    fn descend(&mut self, mut chosen: Vec<usize>) -> Result<(usize, Vec<usize>)> {
        let mut least = self.total(&chosen)?;
        loop {
            let before = least;
            for class in (0..chosen.len()).filter(|&value| self.classes[value] == value) {
                for candidate in 0..self.candidates[class].len() {
                    let previous = std::mem::replace(&mut chosen[class], candidate);
                    let cost = if candidate == previous { least } else { self.total(&chosen)? };
                    if cost < least {
                        least = cost;
                    } else {
                        chosen[class] = previous;
                    }
                }
            }
            if least == before {
                return Ok((least, chosen));
            }
        }
    }

    fn total(&mut self, chosen: &[usize]) -> Result<usize> {
        let steps = self.steps;
        let mut sum = 0;
        for (index, step) in steps.steps.iter().enumerate().filter(|(_, step)| moves(&step.operation)) {
            let Operation::Affine { terms, .. } = &step.operation else { continue };
            for (term, (value, matrix)) in terms.iter().enumerate() {
                let (from, to) = (self.classes[*value], self.classes[index + 1]);
                let key = [index, term, chosen[from], chosen[to]];
                sum += match self.known.get(&key) {
                    Some(cost) => *cost,
                    None => {
                        let (from, to) = (&self.candidates[from][chosen[from]], &self.candidates[to][chosen[to]]);
                        let cost = diagonals(matrix, from, from.period, to)?.cost();
                        *self.known.entry(key).or_insert(cost)
                    }
                };
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_hold_channels_in_their_gaps() {
        let layout = Layout::grid(&[5, 2, 3], [4, 8], 2).unwrap();
        assert_eq!(layout.period, 64);
        // Channel 0 at the corner, channel 3 one row and column further, channel 4 in the next grid.
        assert_eq!(&layout.places[..6], [0, 2, 4, 16, 18, 20]);
        assert_eq!(layout.places[18..20], [9, 11]);
        assert_eq!(layout.places[24], 32);
        let mut places = layout.places.clone();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 30);
        assert_eq!(Layout::grid(&[1, 2, 5], [4, 8], 2), None);
        assert_eq!(Layout::candidates(&[5, 2, 3], Some([4, 8]), 64).len(), 2);
        assert_eq!(Layout::candidates(&[30], Some([4, 8]), 64), [Layout::compact(30)]);
    }
}
