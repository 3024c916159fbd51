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
//! s    = sum_k d_k * rot_k(x)                      a LinearTransform
//! y[i] = sum_t s[i + t R],  t in 0..C / R          (only where R < C: rotate and add, log2(C / R) times)
//! ```
//!
//! and `y` has period `R`, so that it can enter the next matrix with `C = R`. For `R = C` this is the method of Halevi and
//! Shoup; folding for `R < C` is the hybrid method of GAZELLE; for `R > C` the period of `x` repeats it for free.
//! Diagonals that are zero are left out. `R` and the number of baby steps are those with the least cost: that of the
//! [`LinearTransform`], and two for a fold. Ties go to fewer keys.
//!
//! # Source
//! Halevi and Shoup, ePrint 2014/106; GAZELLE: Juvekar, Vaikuntanathan and Chandrakasan, ePrint 2018/073.

use super::transform::{LinearTransform, Schedule, powers, steps};
use super::{Evaluator, MAX_SLOTS, Matrix, SparseMatrix};
use crate::error::{Error, Result};
use crate::units::Level;
use num_complex::Complex64;
use std::collections::{BTreeMap, BTreeSet};
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
    matrix: SparseMatrix,
    input_period: usize,
    order: Order,
}

/// One order of the rotations: a transform, then folds.
#[derive(Clone, Debug)]
struct Order {
    /// `R`.
    output_period: usize,
    schedule: Schedule,
    /// Rotations that are added to their operand at the end.
    folds: Vec<usize>,
}

impl Order {
    /// Every order worth a look.
    fn candidates(matrix: &SparseMatrix, input_period: usize) -> impl Iterator<Item = Self> {
        let offsets = offsets(matrix);
        let smallest = matrix.rows().next_power_of_two();
        powers(smallest, smallest.max(input_period)).flat_map(move |output_period| {
            let count = output_period.min(input_period);
            let diagonal = |(row, column)| (column + count - row % count) % count;
            let diagonals: BTreeSet<usize> = offsets.iter().copied().map(diagonal).collect();
            let folds: Vec<usize> = powers(output_period, input_period / 2).collect();
            let schedules: Vec<_> = Schedule::candidates(&diagonals, count).collect();
            schedules.into_iter().map(move |schedule| Self { output_period, schedule, folds: folds.clone() })
        })
    }

    /// Products with a plaintext that take about as long as one with a key.
    const PLAIN: usize = 16;

    fn keys(&self) -> BTreeSet<usize> {
        self.schedule.keys().into_iter().chain(self.folds.iter().copied()).collect()
    }

    fn cost(&self) -> (usize, usize) {
        (self.schedule.cost().0 + 2 * self.folds.len(), self.keys().len())
    }
}

/// One (row, column) for every line `column - row = constant` with an entry that is not zero; (0, 0) if all are zero.
fn offsets(matrix: &SparseMatrix) -> Vec<(usize, usize)> {
    let mut seen = vec![None; matrix.rows() + matrix.columns()];
    matrix.iter().for_each(|(row, column, _)| seen[matrix.rows() + column - row] = Some((row, column)));
    if seen.iter().all(Option::is_none) { vec![(0, 0)] } else { seen.into_iter().flatten().collect() }
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
        Self::sparse(matrix.into(), period)
    }

    /// As [`Self::with_input_period`], for a matrix of which most entries are zero: diagonals without an entry cost nothing.
    ///
    /// # Errors
    /// As [`Self::with_input_period`].
    pub fn sparse(matrix: SparseMatrix, period: usize) -> Result<Self> {
        if !period.is_power_of_two() || period < matrix.columns() || period.max(matrix.rows()) > MAX_SLOTS {
            let (rows, columns) = (matrix.rows(), matrix.columns());
            let reason = format!("{period} is no power of two that serves {rows} x {columns}, up to {MAX_SLOTS}");
            return Err(Error::InvalidParameter { what: "period", reason });
        }
        let order = Order::candidates(&matrix, period).min_by_key(Order::cost);
        Ok(Self { order: order.expect("one diagonal at least"), matrix, input_period: period })
    }

    /// Period that the input must have.
    pub fn input_period(&self) -> usize {
        self.input_period
    }

    /// Period of the output; entries from `rows` up to the period are zero.
    pub fn output_period(&self) -> usize {
        self.order.output_period
    }

    /// Rotation steps that need a key, sorted.
    pub fn rotations(&self) -> Vec<i32> {
        self.order.keys().into_iter().map(steps).collect()
    }

    /// What a product takes, in products with a plaintext.
    pub(crate) fn cost(&self) -> usize {
        Order::PLAIN * self.order.cost().0 + self.count()
    }

    /// Number of diagonals.
    pub(crate) fn count(&self) -> usize {
        self.order.schedule.groups.iter().map(|group| group.babies.len()).sum()
    }

    /// Encodes the diagonals for inputs at `level`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when a period does not divide the slots; [`Error::LevelExhausted`] at level 0; the
    /// errors of [`Evaluator::encode_transform`].
    pub fn prepare<E: Evaluator>(&self, eval: &E, level: Level) -> Result<PreparedMatrix<E>> {
        Ok(self.prepared(Diagonals::Known(eval.encode_transform(&self.transform(), level)?)))
    }

    /// As [`Self::prepare`] with diagonals that are values, which `values` makes of the vectors for [`PreparedMatrix::apply`]: one of each.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when a period does not divide the slots, or for another number of values; [`Error::LevelExhausted`] at
    /// level 0; the errors of `values`.
    pub fn prepare_values<E: Evaluator>(
        &self,
        eval: &E,
        level: Level,
        values: &mut dyn FnMut(Vec<Vec<Complex64>>, Level) -> Result<Vec<E::Value>>,
    ) -> Result<PreparedMatrix<E>> {
        const OP: &str = "prepare_values";
        let transform = self.transform();
        transform.check(OP, eval.slots(), level)?;
        let groups = &self.order.schedule.groups;
        let all = groups.iter().flat_map(|group| group.babies.iter().map(|&baby| (group.giant, baby)));
        let vectors: Vec<_> = all.map(|(giant, baby)| transform.rotated_diagonal(giant, baby, eval.slots())).collect();
        let count = vectors.len();
        let values = values(vectors, level)?;
        if values.len() != count {
            let (expected, got) = (format!("{count} values"), format!("{}", values.len()));
            return Err(Error::ShapeMismatch { op: OP, expected, got });
        }
        Ok(self.prepared(Diagonals::Values(self.order.schedule.clone(), values)))
    }

    fn transform(&self) -> LinearTransform {
        LinearTransform::scheduled(self.period(), self.diagonals(), self.order.schedule.clone())
    }

    fn prepared<E: Evaluator>(&self, diagonals: Diagonals<E>) -> PreparedMatrix<E> {
        PreparedMatrix { diagonals, folds: self.order.folds.iter().copied().map(steps).collect() }
    }

    /// The longer of both periods, that of the diagonals.
    fn period(&self) -> usize {
        self.input_period.max(self.output_period())
    }

    /// The diagonals of the schedule. Entry `M[r][c]` lies in diagonal `k = c - r mod D`, in the one slot `i` below the longer period
    /// with `i = r mod R` and `i + k = c mod C`.
    fn diagonals(&self) -> BTreeMap<usize, Vec<Complex64>> {
        let groups = self.order.schedule.groups.iter();
        let indices = groups.flat_map(|group| group.babies.iter().map(|j| group.giant + j));
        let mut diagonals: BTreeMap<_, _> = indices.map(|k| (k, vec![Complex64::ZERO; self.period()])).collect();
        let (rows, columns) = (self.output_period(), self.input_period);
        let count = rows.min(columns);
        for (row, column, x) in self.matrix.iter() {
            let k = (column + count - row % count) % count;
            let slot = if rows < columns { (column + columns - k) % columns } else { row };
            if let Some(entries) = diagonals.get_mut(&k) {
                entries[slot] = x.into();
            }
        }
        diagonals
    }
}

/// A [`DiagonalMatrix`] encoded for one evaluator and level.
pub struct PreparedMatrix<E: Evaluator> {
    diagonals: Diagonals<E>,
    folds: Vec<i32>,
}

enum Diagonals<E: Evaluator> {
    Known(E::Transform),
    /// One after the other as the schedule has them, each rotated by minus its giant step.
    Values(Schedule, Vec<E::Value>),
}

impl<E: Evaluator> fmt::Debug for PreparedMatrix<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedMatrix").field("folds", &self.folds).finish_non_exhaustive()
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
    /// That of [`Evaluator::transform`], and `log2(C / R)` more single rotations where `R < C`. With diagonals that are values, one
    /// relinearization and one rescaling for every giant step beside.
    /// # Errors
    /// [`Error::MissingRotationKey`]; [`Error::LevelMismatch`] when `x` is not at the level of the encoding;
    /// [`Error::MissingRelinearizationKey`] for diagonals that are values, and [`Error::ShapeMismatch`] when their batch is not that of `x`.
    pub fn apply(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        let mut sum = match &self.diagonals {
            Diagonals::Known(transform) => eval.transform(x, transform)?,
            Diagonals::Values(schedule, values) => sum_of_products(eval, x, schedule, values)?,
        };
        for &fold in &self.folds {
            sum = eval.add(&sum, &eval.rotate(&sum, fold)?)?;
        }
        Ok(sum)
    }
}

/// The schedule with products of two values.
fn sum_of_products<E: Evaluator>(
    eval: &E,
    x: &E::Value,
    schedule: &Schedule,
    diagonals: &[E::Value],
) -> Result<E::Value> {
    let below = Level(eval.level(x).0.saturating_sub(1));
    let babies: Vec<usize> = std::iter::once(0).chain(schedule.babies.iter().copied()).collect();
    let turned = eval.rotate_hoisted(x, &babies.iter().copied().map(steps).collect::<Vec<_>>())?;
    let at = |baby: usize| &turned[babies.binary_search(&baby).expect("every baby step is there")];
    let (mut sum, mut diagonals): (Option<E::Value>, _) = (None, diagonals.iter());
    for group in &schedule.groups {
        let products: Vec<_> = group.babies.iter().map(|&baby| at(baby)).zip(diagonals.by_ref()).collect();
        let more = eval.dot(&products, &[], below)?;
        let both = match sum {
            Some(sum) => eval.add(&sum, &more)?,
            None => more,
        };
        sum = Some(if group.gap == 0 { both } else { eval.rotate(&both, steps(group.gap))? });
    }
    Ok(sum.expect("a schedule has a diagonal"))
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
        assert_eq!((hoisted + 2 * report.single_rotations, report.rotations.len()), matrix.order.cost());

        // The same rotations and levels with diagonals that are values.
        let plan = Plan::new(SLOTS);
        let input = plan.input(1);
        let mut planned = |vectors: Vec<_>, _| Ok(vectors.iter().map(|_| plan.input(1)).collect());
        matrix.prepare_values(&plan, plan.level(&input), &mut planned)?.apply(&plan, &input)?;
        let with_values = plan.report();
        assert_eq!((with_values.depth, &with_values.rotations), (1, &report.rotations));

        let known = Clear::new(SLOTS, Level(1)).with_keys_of(report);
        let x_known = known.value(std::slice::from_ref(&slots), Level(1))?;
        let y = matrix.prepare(&known, Level(1))?.apply(&known, &x_known)?;
        let clear = Clear::new(SLOTS, Level(1)).with_keys_of(with_values);
        let mut value = |vectors: Vec<Vec<_>>, level| vectors.into_iter().map(|v| clear.value(&[v], level)).collect();
        let prepared = matrix.prepare_values(&clear, Level(1), &mut value)?;
        let other = prepared.apply(&clear, &clear.value(&[slots], Level(1))?)?;
        assert_eq!((known.level(&y), clear.level(&other)), (Level(0), Level(0)));
        for (i, (got, other)) in y.vectors()[0].iter().zip(&other.vectors()[0]).enumerate() {
            let row = i % matrix.output_period();
            let want = m.apply(&x).get(row).copied().unwrap_or(0.0);
            assert!((got - want).norm() < 1e-9 && (other - want).norm() < 1e-9, "slot {i}: {got}, {other}, not {want}");
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_schedule_computes_the_product((m, period) in cases()) {
            let chosen = DiagonalMatrix::with_input_period(m.clone(), period).unwrap();
            for order in Order::candidates(&(&m).into(), period) {
                prop_assert!(chosen.order.cost() <= order.cost());
                check(&DiagonalMatrix { matrix: (&m).into(), input_period: period, order }).unwrap();
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
        assert_eq!(dense(64, 64, 64).order.cost(), (8 + 2 * 7, 8));
        // Wide: 16 diagonals and one fold rather than 32 diagonals.
        let wide = dense(10, 32, 32);
        assert_eq!((wide.output_period(), wide.order.folds.as_slice()), (16, [16].as_slice()));
        assert_eq!(wide.order.cost(), (4 + 2 * 3 + 2, 5));
        // Tall: as many diagonals as the input has entries.
        let tall = dense(64, 10, 16);
        assert_eq!((tall.output_period(), tall.order.cost()), (64, (4 + 2 * 3, 4)));
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
