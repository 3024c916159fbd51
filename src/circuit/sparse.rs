//! Real matrices of which most entries are zero.

use super::Matrix;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Sparse real matrix: every row lists its columns, in order, with the entries that are not zero.
///
/// The linear layers of a network are such matrices, a convolution or a pooling as much as a dense layer, and so is any sequence of
/// them.
///
/// # Example
/// ```
/// use ringlight::circuit::SparseMatrix;
///
/// let sums = SparseMatrix::from_rows(3, vec![vec![(0, 1.0), (1, 1.0)], vec![(2, 2.0)]])?;
/// let swap = SparseMatrix::from_rows(2, vec![vec![(1, 1.0)], vec![(0, 1.0)]])?;
/// let both = swap.after(&sums)?;
/// assert_eq!(both.row(1), [(0, 1.0), (1, 1.0)]);
/// assert_eq!(both.apply(&[1.0, 2.0, 3.0]), [6.0, 3.0]);
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct SparseMatrix {
    columns: usize,
    /// Where each row's entries start, and where the last one's end.
    starts: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

/// A matrix as it travels.
#[derive(Serialize, Deserialize)]
struct Stored {
    columns: usize,
    /// Entries of each row.
    lengths: Vec<u32>,
    places: Vec<u32>,
    entries: Vec<f64>,
}

impl From<SparseMatrix> for Stored {
    fn from(matrix: SparseMatrix) -> Self {
        let narrow = |x: usize| u32::try_from(x).expect("at most MAX_ENTRIES");
        Self {
            columns: matrix.columns,
            lengths: matrix.starts.windows(2).map(|ends| narrow(ends[1] - ends[0])).collect(),
            // One that 32 bits do not hold is refused by the reader: no value has so many entries.
            places: matrix.entries.iter().map(|&(column, _)| u32::try_from(column).unwrap_or(u32::MAX)).collect(),
            entries: matrix.entries.iter().map(|&(_, x)| x).collect(),
        }
    }
}

impl TryFrom<Stored> for SparseMatrix {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let unfit = |got: &str| {
            let expected = "rows of columns in order, each with an entry".into();
            Error::ShapeMismatch { op: "SparseMatrix", expected, got: got.into() }
        };
        let Stored { columns, lengths, places, entries } = stored;
        check_size(entries.len())?;
        let counted: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        if places.len() != entries.len() || counted != entries.len() as u64 || lengths.is_empty() {
            return Err(unfit("other numbers of them"));
        }
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        starts.push(0);
        for length in lengths {
            let start = starts[starts.len() - 1];
            let row = &places[start..start + length as usize];
            if row.windows(2).any(|two| two[0] >= two[1]) || row.last().is_some_and(|last| *last as usize >= columns) {
                return Err(unfit("a column outside, or out of order"));
            }
            starts.push(start + row.len());
        }
        if columns == 0 {
            return Err(unfit("no columns"));
        }
        let entries = places.into_iter().map(|place| place as usize).zip(entries).collect();
        Self { columns, starts, entries }.without_zeros().finite()
    }
}

impl SparseMatrix {
    /// Most entries that are not zero: a gigabyte.
    pub const MAX_ENTRIES: usize = 1 << 26;
    /// Most products that [`Self::after`] takes: some seconds.
    const MAX_PRODUCTS: usize = 1 << 34;

    /// A matrix from the entries of each row; entries of one column are added.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for no rows, no columns or a column outside; [`Error::BadValue`] for an entry that is not finite, counted
    /// row by row through the full matrix; [`Error::InvalidParameter`] for more than [`Self::MAX_ENTRIES`].
    pub fn from_rows(columns: usize, rows: Vec<Vec<(usize, f64)>>) -> Result<Self> {
        check_size(rows.iter().map(Vec::len).sum())?;
        let mut starts = vec![0];
        let mut entries: Vec<(usize, f64)> = Vec::with_capacity(rows.iter().map(Vec::len).sum());
        for (index, mut row) in rows.into_iter().enumerate() {
            row.sort_by_key(|(column, _)| *column);
            if let Some((column, _)) = row.last().filter(|(column, _)| *column >= columns) {
                let expected = format!("columns below {columns}");
                return Err(Error::ShapeMismatch { op: "SparseMatrix", expected, got: format!("column {column}") });
            }
            let start = entries.len();
            for (column, x) in row {
                match entries[start..].last_mut() {
                    Some((last, sum)) if *last == column => *sum += x,
                    _ => entries.push((column, x)),
                }
            }
            if let Some((column, _)) = entries[start..].iter().find(|(_, x)| !x.is_finite()) {
                let index = index.saturating_mul(columns).saturating_add(*column);
                return Err(Error::BadValue { index, reason: "not a finite number" });
            }
            starts.push(entries.len());
        }
        if starts.len() < 2 || columns == 0 {
            let (expected, got) = ("at least one row and one column".into(), format!("{columns} columns"));
            return Err(Error::ShapeMismatch { op: "SparseMatrix", expected, got });
        }
        Ok(Self { columns, starts, entries }.without_zeros())
    }

    /// The matrix with these entries on its diagonal; at least one, all finite.
    ///
    /// # Errors
    /// As [`Self::from_rows`].
    pub fn diagonal(entries: &[f64]) -> Result<Self> {
        Self::from_rows(entries.len(), entries.iter().enumerate().map(|(i, &x)| vec![(i, x)]).collect())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Column and entry of everything in a row that is not zero, by column.
    pub fn row(&self, row: usize) -> &[(usize, f64)] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    /// Entries that are not zero.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Row, column and entry of everything that is not zero, row by row.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        (0..self.rows()).flat_map(|row| self.row(row).iter().map(move |&(column, x)| (row, column, x)))
    }

    /// The product with a vector of as many entries as there are columns.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        (0..self.rows()).map(|row| self.row(row).iter().map(|&(column, w)| w * x[column]).sum()).collect()
    }

    /// The product `self * first`: the map that applies `first` and then this one.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless `first` has as many rows as this has columns; [`Error::BadValue`] for an overflow;
    /// [`Error::InvalidParameter`] for a product of more than [`Self::MAX_ENTRIES`], or that takes minutes.
    pub fn after(&self, first: &Self) -> Result<Self> {
        Self::fitting("SparseMatrix::after", self.columns, first.rows())?;
        let products: usize = self.entries.iter().map(|&(column, _)| first.row(column).len()).sum();
        if products > Self::MAX_PRODUCTS {
            let reason = format!("composing two of them takes {products} products");
            return Err(Error::InvalidParameter { what: "linear map", reason });
        }
        let mut sums = vec![0.0; first.columns];
        let mut touched = vec![false; first.columns];
        let mut found = Vec::new();
        let (mut starts, mut entries) = (vec![0], Vec::new());
        for row in 0..self.rows() {
            for &(middle, w) in self.row(row) {
                for &(column, x) in first.row(middle) {
                    sums[column] += w * x;
                    if !std::mem::replace(&mut touched[column], true) {
                        found.push(column);
                    }
                }
            }
            found.sort_unstable();
            for column in found.drain(..) {
                touched[column] = false;
                entries.push((column, std::mem::take(&mut sums[column])));
            }
            check_size(entries.len())?;
            starts.push(entries.len());
        }
        Self { columns: first.columns, starts, entries }.without_zeros().finite()
    }

    /// The sum of two matrices of one shape.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another shape; else as [`Self::from_rows`].
    pub fn plus(&self, other: &Self) -> Result<Self> {
        Self::fitting("SparseMatrix::plus", self.rows(), other.rows())?;
        Self::fitting("SparseMatrix::plus", self.columns, other.columns)?;
        let row = |row: usize| [self.row(row), other.row(row)].concat();
        Self::from_rows(self.columns, (0..self.rows()).map(row).collect())
    }

    /// Every row multiplied by its factor.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless there is one factor a row; [`Error::BadValue`] for an overflow.
    pub fn scaled(&self, factors: &[f64]) -> Result<Self> {
        Self::fitting("SparseMatrix::scaled", self.rows(), factors.len())?;
        let entries = self.iter().map(|(row, column, x)| (column, factors[row] * x)).collect();
        Self { columns: self.columns, starts: self.starts.clone(), entries }.without_zeros().finite()
    }

    /// The same number wherever an entry is not zero.
    pub(crate) fn filled(&self, x: f64) -> Result<Self> {
        let entries = self.entries.iter().map(|&(column, _)| (column, x)).collect();
        Self { columns: self.columns, starts: self.starts.clone(), entries }.without_zeros().finite()
    }

    /// The entries of some neighbouring rows and columns, which must exist.
    pub(crate) fn block(&self, rows: Range<usize>, columns: Range<usize>) -> Result<Self> {
        let inside = |row: usize| {
            let (entries, at) = (self.row(row), |end: usize| move |entry: &(usize, f64)| entry.0 < end);
            let inside = entries.partition_point(at(columns.start))..entries.partition_point(at(columns.end));
            entries[inside].iter().map(|&(column, x)| (column - columns.start, x)).collect()
        };
        Self::from_rows(columns.len(), rows.map(inside).collect())
    }

    /// The same entries at other places of a larger matrix: row `i` becomes row `rows[i]` of `height`, column `j` column
    /// `columns[j]` of `width`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless there is a place inside for every row and column, no two rows at one.
    pub fn placed(&self, (height, rows): (usize, &[usize]), (width, columns): (usize, &[usize])) -> Result<Self> {
        Self::fitting("SparseMatrix::placed", self.rows(), rows.len())?;
        Self::fitting("SparseMatrix::placed", self.columns, columns.len())?;
        let mut sources = vec![None; height];
        for (row, &place) in rows.iter().enumerate() {
            match sources.get_mut(place) {
                Some(source) if source.is_none() => *source = Some(row),
                _ => {
                    let expected = format!("different places below {height}");
                    let got = format!("row {row} at {place}");
                    return Err(Error::ShapeMismatch { op: "SparseMatrix::placed", expected, got });
                }
            }
        }
        let move_row = |row: usize| self.row(row).iter().map(|&(column, x)| (columns[column], x)).collect();
        Self::from_rows(width, sources.into_iter().map(|row| row.map_or_else(Vec::new, move_row)).collect())
    }

    /// Whether the map does nothing but change signs, and if so which.
    pub(crate) fn signs(&self) -> Option<Vec<f64>> {
        let sign = |row: usize| match self.row(row) {
            &[(column, x)] if column == row && x.abs() == 1.0 => Some(x),
            _ => None,
        };
        if self.rows() == self.columns { (0..self.rows()).map(sign).collect() } else { None }
    }

    fn fitting(op: &'static str, expected: usize, got: usize) -> Result<()> {
        if expected == got {
            return Ok(());
        }
        Err(Error::ShapeMismatch { op, expected: format!("{expected} entries"), got: format!("{got}") })
    }

    fn without_zeros(self) -> Self {
        if self.entries.iter().all(|(_, x)| *x != 0.0) {
            return self;
        }
        let (mut starts, mut entries) = (vec![0], Vec::with_capacity(self.entries.len()));
        for row in 0..self.rows() {
            entries.extend(self.row(row).iter().filter(|(_, x)| *x != 0.0));
            starts.push(entries.len());
        }
        Self { columns: self.columns, starts, entries }
    }

    fn finite(self) -> Result<Self> {
        let infinite = self.iter().find(|(_, _, x)| !x.is_finite());
        let index = infinite.map(|(row, column, _)| row.saturating_mul(self.columns).saturating_add(column));
        index.map_or(Ok(self), |index| Err(Error::BadValue { index, reason: "not a finite number" }))
    }
}

fn check_size(entries: usize) -> Result<()> {
    if entries <= SparseMatrix::MAX_ENTRIES {
        return Ok(());
    }
    let reason = format!("{entries} entries, at most {} are taken", SparseMatrix::MAX_ENTRIES);
    Err(Error::InvalidParameter { what: "linear map", reason })
}

impl From<&Matrix> for SparseMatrix {
    fn from(matrix: &Matrix) -> Self {
        let row = |row: usize| matrix.row(row).iter().copied().enumerate().filter(|(_, x)| *x != 0.0);
        let mut starts = vec![0];
        let mut entries = Vec::new();
        for r in 0..matrix.rows() {
            entries.extend(row(r));
            starts.push(entries.len());
        }
        Self { columns: matrix.columns(), starts, entries }
    }
}

impl From<Matrix> for SparseMatrix {
    fn from(matrix: Matrix) -> Self {
        Self::from(&matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matrix(rows: usize, columns: usize) -> impl Strategy<Value = Matrix> {
        let entry = prop_oneof![Just(0.0), -2.0..2.0f64];
        prop::collection::vec(entry, rows * columns).prop_map(move |e| Matrix::new(rows, columns, e).unwrap())
    }

    fn pair() -> impl Strategy<Value = (Matrix, Matrix)> {
        (1..9usize, 1..9usize, 1..9usize).prop_flat_map(|(a, b, c)| (matrix(a, b), matrix(b, c)))
    }

    fn dense(m: &SparseMatrix) -> Vec<f64> {
        let mut out = vec![0.0; m.rows() * m.columns()];
        m.iter().for_each(|(row, column, x)| out[row * m.columns() + column] = x);
        out
    }

    proptest! {
        #[test]
        fn operations_are_those_of_full_matrices((a, b) in pair()) {
            let (p, q) = (SparseMatrix::from(&a), SparseMatrix::from(&b));
            prop_assert_eq!(dense(&p), a.entries());
            prop_assert!(p.iter().all(|(_, _, x)| x != 0.0));
            let product = p.after(&q).unwrap();
            for row in 0..a.rows() {
                for column in 0..b.columns() {
                    let want: f64 = (0..b.rows()).map(|i| a.row(row)[i] * b.row(i)[column]).sum();
                    prop_assert!((dense(&product)[row * b.columns() + column] - want).abs() < 1e-12);
                }
            }
            let x: Vec<f64> = (0..b.columns()).map(|i| (i as f64).cos()).collect();
            let (direct, stepwise) = (product.apply(&x), p.apply(&q.apply(&x)));
            prop_assert!(direct.iter().zip(&stepwise).all(|(a, b)| (a - b).abs() < 1e-12));
            let double: Vec<f64> = a.entries().iter().map(|x| x + x).collect();
            prop_assert_eq!(dense(&p.plus(&p).unwrap()), double.clone());
            prop_assert_eq!(dense(&p.scaled(&vec![2.0; a.rows()]).unwrap()), double);
            prop_assert_eq!(p.plus(&p.scaled(&vec![-1.0; a.rows()]).unwrap()).unwrap().entries(), 0);
        }
    }

    #[test]
    fn entries_move_to_their_places() {
        let m = SparseMatrix::from_rows(2, vec![vec![(0, 1.0), (1, 2.0)], vec![(1, 3.0)]]).unwrap();
        let placed = m.placed((4, &[3, 1]), (8, &[5, 2])).unwrap();
        assert_eq!((placed.rows(), placed.columns(), placed.entries()), (4, 8, 3));
        assert_eq!((placed.row(3), placed.row(1)), ([(2, 2.0), (5, 1.0)].as_slice(), [(2, 3.0)].as_slice()));
        for rows in [[3, 3], [4, 0]] {
            assert!(matches!(m.placed((4, &rows), (8, &[0, 1])), Err(Error::ShapeMismatch { .. })));
        }
        assert!(matches!(m.placed((4, &[0, 1]), (8, &[0, 8])), Err(Error::ShapeMismatch { .. })));
        assert_eq!(m.signs(), None);
        assert_eq!(SparseMatrix::diagonal(&[1.0, -1.0]).unwrap().signs(), Some(vec![1.0, -1.0]));
    }

    #[test]
    fn unfit_parts_are_errors() {
        let shape = |got| matches!(got, Err(Error::ShapeMismatch { .. }));
        let m = SparseMatrix::from_rows(2, vec![vec![(1, 1.0)]]).unwrap();
        assert!(shape(SparseMatrix::from_rows(2, vec![])) && shape(SparseMatrix::from_rows(0, vec![vec![]])));
        assert!(shape(SparseMatrix::from_rows(2, vec![vec![(2, 1.0)]])));
        assert!(shape(m.after(&m)) && shape(m.scaled(&[1.0; 2])));
        let infinite = SparseMatrix::from_rows(3, vec![vec![], vec![(2, f64::INFINITY)]]);
        assert!(matches!(infinite, Err(Error::BadValue { index: 5, .. })));
        assert!(matches!(m.scaled(&[f64::MAX]).unwrap().scaled(&[2.0]), Err(Error::BadValue { index: 1, .. })));
    }
}
