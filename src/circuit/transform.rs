//! Linear maps on slots by their diagonals, and the order of rotations that computes them.
//!
//! A map with diagonals `d_k` takes `x` to `y[i] = sum_k d_k[i] x[i + k]`. With rotations `rot_k` (slot `i` takes slot `i + k`), ordered
//! into baby steps `j` and giant steps `g`:
//!
//! ```text
//! y = sum_g rot_g( sum_j rot_{-g}(d_{g + j}) * rot_j(x) )
//! ```
//!
//! with one decomposition for all baby steps. The sum over `g` runs as in Horner's rule, from the last giant step to the
//! first, rotating by the gap between neighbours: as many rotations, but evenly spaced giant steps need one key instead of one each.
//!
//! # Source
//! Halevi and Shoup, ePrint 2014/106; baby and giant steps: Halevi and Shoup, ePrint 2018/244. Deviation: Horner's rule over the giant
//! steps.

use super::MAX_SLOTS;
use crate::error::{Error, Result};
use num_complex::Complex64;
use std::collections::{BTreeMap, BTreeSet};

/// A linear map on vectors of a period `P` (which divides the slots): its diagonals `d_k`, `k` in `0..P`.
///
/// # Example
/// ```
/// use num_complex::Complex64;
/// use ringlight::circuit::{Clear, Evaluator, LinearTransform};
/// use ringlight::units::Level;
///
/// // y[i] = x[i] + 2 x[i + 1]
/// let diagonals = [(0, vec![Complex64::ONE; 4]), (1, vec![Complex64::from(2.0); 4])];
/// let map = LinearTransform::new(4, diagonals)?;
/// assert_eq!(map.rotations(), [1]);
/// let clear = Clear::new(4, Level(1));
/// let x = clear.value(&[[1.0, 2.0, 3.0, 4.0].map(Complex64::from).to_vec()], Level(1))?;
/// let y = clear.transform(&x, &clear.encode_transform(&map, Level(1))?)?;
/// assert_eq!(y.vectors()[0], [5.0, 8.0, 11.0, 6.0].map(Complex64::from));
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinearTransform {
    period: usize,
    diagonals: BTreeMap<usize, Vec<Complex64>>,
    schedule: Schedule,
}

/// One order of the rotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Baby steps that occur, without 0.
    pub(crate) babies: BTreeSet<usize>,
    /// Diagonals of one giant step each, the largest giant step first.
    pub(crate) groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The giant step `g`.
    pub(crate) giant: usize,
    /// The baby step `j` of every diagonal `g + j`.
    pub(crate) babies: Vec<usize>,
    /// Rotation after this group has been added: down to the next giant step, or to 0.
    pub(crate) gap: usize,
}

impl Schedule {
    /// The schedule of these diagonals (sorted, at least one) with `baby` baby steps.
    pub(super) fn new(diagonals: &BTreeSet<usize>, baby: usize) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for k in diagonals.iter().rev() {
            let (giant, j) = (k - k % baby, k % baby);
            match groups.last_mut() {
                Some(group) if group.giant == giant => group.babies.push(j),
                last => {
                    if let Some(previous) = last {
                        previous.gap = previous.giant - giant;
                    }
                    groups.push(Group { giant, babies: vec![j], gap: giant });
                }
            }
        }
        let babies = diagonals.iter().map(|k| k % baby).filter(|&j| j != 0).collect();
        Self { babies, groups }
    }

    /// Every schedule worth a look: powers of two below the period, so that maps share keys.
    pub(super) fn candidates(diagonals: &BTreeSet<usize>, period: usize) -> impl Iterator<Item = Self> {
        powers(1, period).map(move |baby| Self::new(diagonals, baby))
    }

    /// Steps of the rotations that share no decomposition.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().map(|group| group.gap).filter(|&gap| gap != 0)
    }

    /// Every step that needs a key.
    pub(super) fn keys(&self) -> BTreeSet<usize> {
        self.gaps().chain(self.babies.iter().copied()).collect()
    }

    /// Decompositions and products with a key, then keys: one for a decomposition and one for a product with a key, so two for a giant
    /// step, one for a baby step, one for all baby steps together.
    pub(super) fn cost(&self) -> (usize, usize) {
        let hoisted = usize::from(!self.babies.is_empty()) + self.babies.len();
        (hoisted + 2 * self.gaps().count(), self.keys().len())
    }
}

/// `from`, `2 from`, `4 from`, ... up to `to`.
pub(super) fn powers(from: usize, to: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(from), |power| Some(2 * power)).take_while(move |&power| power <= to)
}

/// A rotation by a step below a period.
pub(crate) fn steps(step: usize) -> i32 {
    i32::try_from(step).expect("periods are at most MAX_SLOTS")
}

impl LinearTransform {
    /// The map with these diagonals, `(k, d_k)`, each of `period` entries; those that are zero everywhere are left out.
    ///
    /// The number of baby steps is the power of two with the least cost: one for a decomposition and one for a product with a key.
    /// Ties go to fewer keys.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `period` is a power of two up to 2^16; [`Error::ShapeMismatch`] for a diagonal of another length,
    /// outside the period or given twice; [`Error::BadValue`] for an entry that is not finite.
    pub fn new(period: usize, diagonals: impl IntoIterator<Item = (usize, Vec<Complex64>)>) -> Result<Self> {
        let diagonals = Self::checked(period, diagonals)?;
        let schedule = Schedule::candidates(&diagonals.keys().copied().collect(), period).min_by_key(Schedule::cost);
        Ok(Self { period, schedule: schedule.expect("one diagonal at least"), diagonals })
    }

    /// As [`Self::new`] with a number of baby steps of the caller's choice: more of them are faster and take more keys and memory.
    ///
    /// # Errors
    /// As [`Self::new`]; [`Error::InvalidParameter`] for 0 baby steps.
    pub fn with_baby_steps(
        period: usize,
        diagonals: impl IntoIterator<Item = (usize, Vec<Complex64>)>,
        baby: usize,
    ) -> Result<Self> {
        if baby == 0 {
            return Err(Error::InvalidParameter { what: "baby steps", reason: "at least 1 is needed".into() });
        }
        let diagonals = Self::checked(period, diagonals)?;
        Ok(Self { period, schedule: Schedule::new(&diagonals.keys().copied().collect(), baby), diagonals })
    }

    /// The map in a given order; `schedule` has exactly these diagonals.
    pub(super) fn scheduled(period: usize, diagonals: BTreeMap<usize, Vec<Complex64>>, schedule: Schedule) -> Self {
        Self { period, diagonals, schedule }
    }

    fn checked(
        period: usize,
        diagonals: impl IntoIterator<Item = (usize, Vec<Complex64>)>,
    ) -> Result<BTreeMap<usize, Vec<Complex64>>> {
        if !period.is_power_of_two() || period > MAX_SLOTS {
            let reason = format!("{period} is no power of two up to {MAX_SLOTS}");
            return Err(Error::InvalidParameter { what: "period", reason });
        }
        let mut kept = BTreeMap::new();
        for (k, entries) in diagonals {
            if entries.len() != period || k >= period || kept.contains_key(&k) {
                return Err(Error::ShapeMismatch {
                    op: "LinearTransform",
                    expected: format!("different diagonals below {period} of {period} entries"),
                    got: format!("diagonal {k} of {} entries", entries.len()),
                });
            }
            if let Some(index) = entries.iter().position(|z| !z.is_finite()) {
                return Err(Error::BadValue { index, reason: "not a finite number" });
            }
            if entries.iter().any(|z| *z != Complex64::ZERO) {
                kept.insert(k, entries);
            }
        }
        if kept.is_empty() {
            kept.insert(0, vec![Complex64::ZERO; period]);
        }
        Ok(kept)
    }

    /// Period of the diagonals. Indices `i + k` run over all slots: they are cyclic in the period where the input has it.
    pub fn period(&self) -> usize {
        self.period
    }

    /// Number of diagonals.
    pub fn diagonals(&self) -> usize {
        self.diagonals.len()
    }

    /// Rotation steps that need a key, sorted.
    pub fn rotations(&self) -> Vec<i32> {
        self.schedule.keys().into_iter().map(steps).collect()
    }

    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Diagonal `giant + baby`, rotated by minus the giant step and repeated over `slots`.
    pub(crate) fn rotated_diagonal(&self, giant: usize, baby: usize, slots: usize) -> Vec<Complex64> {
        let entries = &self.diagonals[&(giant + baby)];
        (0..slots).map(|i| entries[(i + self.period - giant) % self.period]).collect()
    }

    /// `y[i] = sum_k d_k[i] x[i + k]`, the definition.
    pub(super) fn apply_clear(&self, x: &[Complex64]) -> Vec<Complex64> {
        let mut y = vec![Complex64::ZERO; x.len()];
        for (&k, entries) in &self.diagonals {
            for (i, y) in y.iter_mut().enumerate() {
                *y += entries[i % self.period] * x[(i + k) % x.len()];
            }
        }
        y
    }

    /// Checks a use with `slots` slots at `level`.
    pub(crate) fn check(&self, op: &'static str, slots: usize, level: crate::units::Level) -> Result<()> {
        super::check_slots(slots)?;
        if !slots.is_multiple_of(self.period) || slots == 0 {
            let expected = format!("a number of slots that the period {} divides", self.period);
            return Err(Error::ShapeMismatch { op, expected, got: format!("{slots} slots") });
        }
        if level.0 == 0 {
            return Err(Error::LevelExhausted { op, needed: 1, left: 0 });
        }
        Ok(())
    }
}
