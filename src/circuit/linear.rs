//! Matrix-vector products by diagonals.
//!
//! # Packing
//! A vector lies in the slots with a *period* `C`, a power of two no smaller than its length that divides the slots: slot
//! `i` holds entry `i mod C`. Entries beyond the vector's length may hold anything, the matrix has zeros there.
//! Rotations are then cyclic in the period.
//!
//! # Method
//! Let `M` be padded with zeros to `R` rows and `C` columns, both powers of two, and let `D = min(R, C)`. Diagonal `k`
//! in `0..D` has `d_k[i] = M[i mod R][(i + k) mod C]` in slot `i`. Then
//!
//! ```text
//! s    = sum_k d_k * rot_k(x)                      rot_k: slot i takes slot i + k
//! y[i] = sum_t s[i + t R],  t in 0..C / R          (only where R < C: rotate and add, log2(C / R) times)
//! ```
//!
//! and `y` has period `R`, so that it can enter the next matrix with `C = R`. For `R = C` this is the method of Halevi and
//! Shoup; folding for `R < C` is the hybrid method of GAZELLE; for `R > C` the period of `x` repeats it for free. The
//! sum is ordered into baby steps `j < b` and giant steps `g b`:
//!
//! ```text
//! s = sum_g rot_{g b}( sum_j rot_{-g b}(d_{g b + j}) * rot_j(x) )
//! ```
//!
//! with one decomposition for all baby steps. The sum over `g` runs as in Horner's rule, from the last giant step to the
//! first, rotating by the gap between neighbours: as many rotations, but a dense matrix needs one giant key instead of
//! `D / b - 1`. Diagonals that are zero are left out. `R` and `b` are those with the least cost, one for a decomposition
//! and one for a product with a key: two for a giant step or a fold, one for a baby step, one for all baby steps together.
//! Ties go to fewer keys.
//!
//! # Source
//! Halevi and Shoup, ePrint 2014/106; baby and giant steps: Halevi and Shoup, ePrint 2018/244; GAZELLE: Juvekar,
//! Vaikuntanathan and Chandrakasan, ePrint 2018/073. Deviation: Horner's rule over the giant steps.

use super::{Evaluator, MAX_SLOTS, Matrix, check_slots};
use crate::error::{Error, Result};
use crate::units::Level;
use num_complex::Complex64;
use std::collections::BTreeSet;
use std::fmt;

/// A real matrix as generalized diagonals, with the cheapest order of rotations.
///
/// # Example
/// ```
/// use num_complex::Complex64;
/// use ringlight::circuit::{Clear, DiagonalMatrix, Evaluator, Matrix};
/// use ringlight::units::Level;
///
/// let matrix = DiagonalMatrix::new(Matrix::new(1, 2, vec![3.0, -1.0])?)?;
/// assert_eq!((matrix.input_period(), matrix.output_period()), (2, 1));
/// let clear = Clear::new(4, Level(1));
/// let x = clear.value(&[[5.0, 7.0, 5.0, 7.0].map(Complex64::from).to_vec()], Level(1))?;
/// let y = matrix.prepare(&clear, Level(1))?.apply(&clear, &x)?;
/// assert_eq!(y.vectors()[0], [8.0; 4].map(Complex64::from));
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DiagonalMatrix {
    matrix: Matrix,
    input_period: usize,
    schedule: Schedule,
}

/// One order of the rotations.
#[derive(Clone, Debug)]
struct Schedule {
    /// `R`.
    output_period: usize,
    /// Baby steps that occur, without 0.
    babies: BTreeSet<usize>,
    /// Diagonals of one giant step each, the largest giant step first.
    groups: Vec<Group>,
    /// Rotations that are added to their operand at the end.
    folds: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Group {
    /// The giant step `g b`.
    giant: usize,
    /// The baby step `j` of every diagonal `g b + j`.
    babies: Vec<usize>,
    /// Rotation after this group has been added: down to the next giant step, or to 0.
    gap: usize,
}

impl Schedule {
    /// The schedule of these diagonals (sorted, at least one) with `baby` baby steps.
    fn new(diagonals: &BTreeSet<usize>, input_period: usize, output_period: usize, baby: usize) -> Self {
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
        Self { output_period, babies, groups, folds: powers(output_period, input_period / 2).collect() }
    }

    /// Every schedule worth a look: powers of two, so that matrices share keys.
    fn candidates(matrix: &Matrix, input_period: usize) -> impl Iterator<Item = Self> {
        let offsets = offsets(matrix);
        let smallest = matrix.rows().next_power_of_two();
        powers(smallest, smallest.max(input_period)).flat_map(move |output_period| {
            let count = output_period.min(input_period);
            let diagonal = |(row, column)| (column + count - row % count) % count;
            let diagonals: BTreeSet<usize> = offsets.iter().copied().map(diagonal).collect();
            powers(1, count).map(move |baby| Self::new(&diagonals, input_period, output_period, baby))
        })
    }

    /// Steps of the rotations that share no decomposition: gaps and folds.
    fn single_rotations(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().map(|group| group.gap).filter(|&gap| gap != 0).chain(self.folds.iter().copied())
    }

    fn keys(&self) -> BTreeSet<usize> {
        self.single_rotations().chain(self.babies.iter().copied()).collect()
    }

    /// Decompositions and products with a key, then keys.
    fn cost(&self) -> (usize, usize) {
        let hoisted = usize::from(!self.babies.is_empty()) + self.babies.len();
        (hoisted + 2 * self.single_rotations().count(), self.keys().len())
    }
}

/// `from`, `2 from`, `4 from`, ... up to `to`.
fn powers(from: usize, to: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(from), |power| Some(2 * power)).take_while(move |&power| power <= to)
}

/// One (row, column) for every line `column - row = constant` with an entry that is not zero; (0, 0) if all are zero.
fn offsets(matrix: &Matrix) -> Vec<(usize, usize)> {
    let mut seen = vec![None; matrix.rows() + matrix.columns()];
    for row in 0..matrix.rows() {
        for (column, &entry) in matrix.row(row).iter().enumerate() {
            if entry != 0.0 {
                seen[matrix.rows() + column - row] = Some((row, column));
            }
        }
    }
    if seen.iter().all(Option::is_none) { vec![(0, 0)] } else { seen.into_iter().flatten().collect() }
}

fn steps(step: usize) -> i32 {
    i32::try_from(step).expect("periods are at most MAX_SLOTS")
}

impl DiagonalMatrix {
    /// The matrix for inputs of the shortest period, `columns` rounded up to a power of two.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for more rows or columns than the largest ring has slots, 2^16.
    pub fn new(matrix: Matrix) -> Result<Self> {
        let period = matrix.columns().next_power_of_two();
        Self::with_input_period(matrix, period)
    }

    /// The matrix for inputs of a given period, for example the output period of the matrix before.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `period` is a power of two between the number of columns and 2^16, and there are
    /// at most 2^16 rows.
    pub fn with_input_period(matrix: Matrix, period: usize) -> Result<Self> {
        if !period.is_power_of_two() || period < matrix.columns() || period.max(matrix.rows()) > MAX_SLOTS {
            let (rows, columns) = (matrix.rows(), matrix.columns());
            let reason = format!("{period} is no power of two that serves {rows} x {columns}, up to {MAX_SLOTS}");
            return Err(Error::InvalidParameter { what: "period", reason });
        }
        let schedule = Schedule::candidates(&matrix, period).min_by_key(Schedule::cost);
        Ok(Self { schedule: schedule.expect("one diagonal at least"), matrix, input_period: period })
    }

    /// Period that the input must have.
    pub fn input_period(&self) -> usize {
        self.input_period
    }

    /// Period of the output; entries from `rows` up to the period are zero.
    pub fn output_period(&self) -> usize {
        self.schedule.output_period
    }

    /// Rotation steps that need a key, sorted.
    pub fn rotations(&self) -> Vec<i32> {
        self.schedule.keys().into_iter().map(steps).collect()
    }

    /// Encodes the diagonals for inputs at `level`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when a period does not divide the slots; [`Error::LevelExhausted`] at level 0; the
    /// errors of [`Evaluator::encode`].
    pub fn prepare<E: Evaluator>(&self, eval: &E, level: Level) -> Result<PreparedMatrix<E>> {
        const OP: &str = "DiagonalMatrix::prepare";
        let (slots, period) = (eval.slots(), self.input_period.max(self.output_period()));
        check_slots(slots)?;
        if !slots.is_multiple_of(period) {
            let expected = format!("a number of slots that the period {period} divides");
            return Err(Error::ShapeMismatch { op: OP, expected, got: format!("{slots} slots") });
        }
        if level.0 == 0 {
            return Err(Error::LevelExhausted { op: OP, needed: 1, left: 0 });
        }
        let mut diagonals = Vec::new();
        for group in &self.schedule.groups {
            for j in &group.babies {
                // Rotated by minus the giant step: slot i takes the diagonal's slot i + period - giant.
                let entry = |i| self.diagonal(group.giant + j, i + period - group.giant);
                diagonals.push(eval.encode(&[(0..slots).map(entry).collect()], level)?);
            }
        }
        Ok(PreparedMatrix { schedule: self.schedule.clone(), diagonals })
    }

    /// Slot `i` of diagonal `k`.
    fn diagonal(&self, k: usize, i: usize) -> Complex64 {
        let (row, column) = (i % self.output_period(), (i + k) % self.input_period);
        let inside = row < self.matrix.rows() && column < self.matrix.columns();
        if inside { self.matrix.row(row)[column].into() } else { Complex64::ZERO }
    }
}

/// A [`DiagonalMatrix`] encoded for one evaluator and level.
pub struct PreparedMatrix<E: Evaluator> {
    schedule: Schedule,
    /// In the schedule's order.
    diagonals: Vec<E::Plain>,
}

impl<E: Evaluator> fmt::Debug for PreparedMatrix<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedMatrix").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl<E: Evaluator> PreparedMatrix<E> {
    /// `y = M x` for every vector of the batch.
    ///
    /// # Shape
    /// Vectors of the input period to vectors of the output period; the batch stays.
    /// # Level and scale
    /// One level.
    /// # Cost
    /// For `D` dense diagonals and `b` baby steps: `b - 1` hoisted rotations, `D / b - 1` single ones and as many
    /// rescalings plus one, `D` plain multiplications, `log2(C / R)` more single rotations where `R < C`.
    /// # Errors
    /// [`Error::MissingRotationKey`]; [`Error::LevelMismatch`] when `x` is not at the level of the encoding.
    pub fn apply(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        let babies: Vec<usize> = self.schedule.babies.iter().copied().collect();
        let rotated = if babies.is_empty() {
            Vec::new()
        } else {
            eval.rotate_hoisted(x, &babies.iter().copied().map(steps).collect::<Vec<_>>())?
        };
        let input = |j: usize| babies.binary_search(&j).map_or(x, |index| &rotated[index]);

        let mut diagonals = self.diagonals.iter();
        let mut sum: Option<E::Value> = None;
        for group in &self.schedule.groups {
            let terms: Vec<_> = group.babies.iter().map(|&j| input(j)).zip(diagonals.by_ref()).collect();
            let inner = eval.dot_plain(&terms)?;
            let total = match sum {
                Some(sum) => eval.add(&sum, &inner)?,
                None => inner,
            };
            sum = Some(if group.gap == 0 { total } else { eval.rotate(&total, steps(group.gap))? });
        }
        let mut sum = sum.expect("a schedule has a group");
        for &fold in &self.schedule.folds {
            sum = eval.add(&sum, &eval.rotate(&sum, steps(fold))?)?;
        }
        Ok(sum)
    }
}

/// Sums of `width` neighbouring slots: slot `i` becomes `x_i + x_(i+1) + ... + x_(i + width - 1)`, cyclically.
///
/// # Level and scale
/// Both stay.
/// # Cost
/// `log2(width)` rotations, by 1, 2, 4, ...
/// # Errors
/// [`Error::InvalidParameter`] unless `width` is a power of two up to the slots, and to those of the largest ring;
/// [`Error::MissingRotationKey`].
pub fn inner_sum<E: Evaluator>(eval: &E, x: &E::Value, width: usize) -> Result<E::Value> {
    let most = eval.slots().min(MAX_SLOTS);
    if !width.is_power_of_two() || width > most {
        let reason = format!("{width} is not a power of two up to {most}");
        return Err(Error::InvalidParameter { what: "width", reason });
    }
    let mut sum: Option<E::Value> = None;
    for k in 0..width.ilog2() {
        let half = sum.as_ref().unwrap_or(x);
        sum = Some(eval.add(half, &eval.rotate(half, 1 << k)?)?);
    }
    sum.map_or_else(|| eval.rotate(x, 0), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Clear, Plan};
    use proptest::prelude::*;

    const SLOTS: usize = 256;

    /// A matrix and a period for its input; `kept` in 0..=10 says how many tenths of the entries are not zero.
    fn cases() -> impl Strategy<Value = (Matrix, usize)> {
        (1..70usize, 1..70usize, 0..=10u32, 0..3u32).prop_flat_map(|(rows, columns, kept, wider)| {
            let period = (columns.next_power_of_two() << wider).min(128);
            let entry = (-1.0..1.0, 0..10u32).prop_map(move |(x, tenth)| if tenth < kept { x } else { 0.0 });
            prop::collection::vec(entry, rows * columns)
                .prop_map(move |entries| (Matrix::new(rows, columns, entries).unwrap(), period))
        })
    }

    /// Runs in the clear with exactly the announced keys and levels, and compares with the definition in every slot.
    fn check(matrix: &DiagonalMatrix) -> Result<()> {
        let (m, period) = (&matrix.matrix, matrix.input_period());
        let x: Vec<f64> = (0..m.columns()).map(|i| (i as f64 * 0.7).sin() + 0.1).collect();
        // Junk beyond the vector must not matter.
        let slots = (0..SLOTS).map(|i| Complex64::from(x.get(i % period).copied().unwrap_or(1e3))).collect();

        let plan = Plan::new(SLOTS);
        let input = plan.input(1);
        matrix.prepare(&plan, plan.level(&input))?.apply(&plan, &input)?;
        let report = plan.report();
        assert_eq!((report.depth, &report.rotations), (1, &matrix.rotations()));
        let hoisted = report.hoisted_rotations + usize::from(report.hoisted_rotations > 0);
        assert_eq!((hoisted + 2 * report.single_rotations, report.rotations.len()), matrix.schedule.cost());

        let clear = Clear::new(SLOTS, Level(1)).with_keys_of(report);
        let y = matrix.prepare(&clear, Level(1))?.apply(&clear, &clear.value(&[slots], Level(1))?)?;
        assert_eq!(clear.level(&y), Level(0));
        for (i, got) in y.vectors()[0].iter().enumerate() {
            let row = i % matrix.output_period();
            let want: f64 = if row < m.rows() { m.row(row).iter().zip(&x).map(|(m, x)| m * x).sum() } else { 0.0 };
            assert!((got - want).norm() < 1e-9, "slot {i}: {got} instead of {want}");
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_schedule_computes_the_product((m, period) in cases()) {
            let chosen = DiagonalMatrix::with_input_period(m.clone(), period).unwrap();
            for schedule in Schedule::candidates(&m, period) {
                prop_assert!(chosen.schedule.cost() <= schedule.cost());
                check(&DiagonalMatrix { matrix: m.clone(), input_period: period, schedule }).unwrap();
            }
        }
    }

    fn dense(rows: usize, columns: usize, period: usize) -> DiagonalMatrix {
        DiagonalMatrix::with_input_period(Matrix::new(rows, columns, vec![1.0; rows * columns]).unwrap(), period)
            .unwrap()
    }

    #[test]
    fn the_cheapest_schedules() {
        // Square: 8 baby steps, then Horner's rule with one key.
        assert_eq!(dense(64, 64, 64).rotations(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(dense(64, 64, 64).schedule.cost(), (8 + 2 * 7, 8));
        // Wide: 16 diagonals and one fold rather than 32 diagonals.
        let wide = dense(10, 32, 32);
        assert_eq!((wide.output_period(), wide.schedule.folds.as_slice()), (16, [16].as_slice()));
        assert_eq!(wide.schedule.cost(), (4 + 2 * 3 + 2, 5));
        // Tall: as many diagonals as the input has entries.
        let tall = dense(64, 10, 16);
        assert_eq!((tall.output_period(), tall.schedule.cost()), (64, (4 + 2 * 3, 4)));
        // Diagonal and zero matrices need no key.
        let mut identity = vec![0.0; 49];
        identity.iter_mut().step_by(8).for_each(|x| *x = 1.0);
        for entries in [identity, vec![0.0; 49]] {
            let matrix = DiagonalMatrix::new(Matrix::new(7, 7, entries).unwrap()).unwrap();
            assert_eq!(matrix.rotations(), [0i32; 0]);
            check(&matrix).unwrap();
        }
    }

    #[test]
    fn unfit_periods_and_levels_are_errors() {
        let m = Matrix::new(3, 5, vec![1.0; 15]).unwrap();
        for period in [0, 4, 12, 1 << 17, 1 << 31, usize::MAX] {
            let got = DiagonalMatrix::with_input_period(m.clone(), period).map(|_| ());
            assert!(matches!(got, Err(Error::InvalidParameter { what: "period", .. })), "{period}");
        }
        let matrix = DiagonalMatrix::new(m).unwrap();
        let prepare = |slots, level| matrix.prepare(&Clear::new(slots, Level(2)), Level(level)).map(|_| ());
        assert!(matches!(prepare(12, 1), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(prepare(4, 1), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(prepare(8, 0), Err(Error::LevelExhausted { .. })));
        assert!(matches!(prepare(8, 3), Err(Error::LevelTooHigh { .. })));
        assert_eq!(prepare(24, 2), Ok(()));
        assert!(matches!(prepare(1 << 60, 1), Err(Error::InvalidParameter { what: "slots", .. })));
        let plan = Plan::new(1 << 60);
        let sum = |width| inner_sum(&plan, &plan.input(1), width);
        assert!(sum(MAX_SLOTS).is_ok());
        assert!(matches!(sum(1 << 40), Err(Error::InvalidParameter { what: "width", .. })));
    }
}
