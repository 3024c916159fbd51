//! Circuits: written once over [`Evaluator`], read four ways.
//!
//! A circuit is ordinary Rust code over an [`Evaluator`]. [`Clear`] computes the expected values in the clear, [`Plan`]
//! computes the levels, rotation keys and cost without any cryptography, `ckks::NoiseEstimator` predicts the noise, and
//! `ckks::Evaluator` runs it on ciphertexts.
//! There is no second implementation "for simulation".
//!
//! A *value* is a **batch** of vectors of `slots()` complex numbers, with the level it stands at. A value at level `l`
//! can still be multiplied `l` times. Every operation that multiplies consumes one level and leaves the value at the
//! scale that belongs to its new level, so that a circuit never names a scale.
//!
//! Building blocks: [`DiagonalMatrix`] for matrices, [`Polynomial`] for polynomials at the least depth, [`Approximation`] for
//! functions to a stated error, [`Comparison`] and [`Extremum`] for two values.
//!
//! Non-goals: control flow on encrypted data, and anything that depends on a device or a scheme.

mod approximation;
mod clear;
mod composite;
mod dft;
mod function;
mod iteration;
mod linear;
mod plan;
mod polynomial;
mod remez;
mod schedule;
mod sparse;
mod transform;

pub use approximation::Approximation;
pub(crate) use approximation::interpolate;
pub use clear::{Clear, ClearTransform, ClearValue, ClearWeights};
pub use dft::{coefficients_from_slots, slots_from_coefficients};
pub(crate) use function::step_stages;
pub use function::{Comparison, Extremum};
pub use linear::{DiagonalMatrix, PreparedMatrix, inner_sum};
pub use plan::{Plan, PlanReport, PlanTransform, PlanValue, PlanWeights};
pub use polynomial::{Basis, Polynomial};
pub use sparse::SparseMatrix;
pub use transform::LinearTransform;
pub(crate) use transform::{Group, Schedule, steps};

use crate::error::Result;
use crate::units::{Level, LogN};
use num_complex::Complex64;

/// Slots of the largest ring.
pub(crate) const MAX_SLOTS: usize = 1 << (LogN::MAX - 1);

/// Refuses vectors longer than any ring's, before memory is taken for them.
pub(crate) fn check_slots(slots: usize) -> Result<()> {
    if slots <= MAX_SLOTS {
        return Ok(());
    }
    let reason = format!("{slots}; the largest ring has {MAX_SLOTS}");
    Err(crate::Error::InvalidParameter { what: "slots", reason })
}

/// Dense real matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    entries: Vec<f64>,
}

impl Matrix {
    /// A matrix of `rows` by `columns` from its entries, row by row.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] unless there are `rows * columns` entries and at least one;
    /// [`crate::Error::BadValue`] for an entry that is not finite.
    pub fn new(rows: usize, columns: usize, entries: Vec<f64>) -> Result<Self> {
        if entries.is_empty() || rows.checked_mul(columns) != Some(entries.len()) {
            return Err(crate::Error::ShapeMismatch {
                op: "Matrix::new",
                expected: format!("{rows} x {columns} entries, at least one"),
                got: format!("{} entries", entries.len()),
            });
        }
        if let Some(index) = entries.iter().position(|x| !x.is_finite()) {
            return Err(crate::Error::BadValue { index, reason: "not a finite number" });
        }
        Ok(Self { rows, columns, entries })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.entries[row * self.columns..(row + 1) * self.columns]
    }

    /// All entries, row by row.
    pub fn entries(&self) -> &[f64] {
        &self.entries
    }
}

/// One reading of a circuit.
pub trait Evaluator {
    /// A batch of vectors at some level: encrypted, planned or clear.
    type Value;
    /// A batch of known vectors, encoded for one level. A batch of one serves every entry of a value's batch.
    type Plain;
    /// A known matrix, encoded for one level, for [`Self::combine`].
    type Weights;
    /// A linear map, encoded for one level, for [`Self::transform`].
    type Transform;

    /// Entries of every vector.
    fn slots(&self) -> usize;
    /// Rescalings that the value can still take.
    fn level(&self, value: &Self::Value) -> Level;
    /// Vectors in the value.
    fn batch(&self, value: &Self::Value) -> usize;

    /// Encodes a batch of vectors for use with values at `level`; short vectors are filled with zeros.
    ///
    /// # Errors
    /// [`crate::Error::TooManyValues`], [`crate::Error::BadValue`] or [`crate::Error::LevelTooHigh`];
    /// [`crate::Error::ShapeMismatch`] for an empty batch; [`crate::Error::InvalidParameter`] for more slots than the
    /// largest ring has.
    fn encode(&self, vectors: &[Vec<Complex64>], level: Level) -> Result<Self::Plain>;
    /// Encodes a matrix for [`Self::combine`] on values at `level`.
    ///
    /// # Errors
    /// [`crate::Error::BadValue`], counted row by row through the full matrix; [`crate::Error::LevelExhausted`] or
    /// [`crate::Error::LevelTooHigh`].
    fn encode_sparse(&self, matrix: &SparseMatrix, level: Level) -> Result<Self::Weights>;
    /// As [`Self::encode_sparse`], for a full matrix.
    ///
    /// # Errors
    /// As [`Self::encode_sparse`].
    fn encode_weights(&self, matrix: &Matrix, level: Level) -> Result<Self::Weights> {
        self.encode_sparse(&matrix.into(), level)
    }

    /// `a + b`, both at one level.
    ///
    /// # Errors
    /// [`crate::Error::LevelMismatch`] when the levels differ (use [`Self::drop_to`]), [`crate::Error::ShapeMismatch`] for
    /// other batches.
    fn add(&self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value>;
    /// `a - b`, both at one level.
    ///
    /// # Errors
    /// As [`Self::add`].
    fn sub(&self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value>;
    /// `-a`.
    ///
    /// # Errors
    /// Device failures only.
    fn neg(&self, a: &Self::Value) -> Result<Self::Value>;
    /// `a + p`, with `p` encoded for the level of `a`.
    ///
    /// # Errors
    /// [`crate::Error::LevelMismatch`] when `p` was encoded for another level, or mismatched batches.
    fn add_plain(&self, a: &Self::Value, plain: &Self::Plain) -> Result<Self::Value>;
    /// `a + x` in every slot.
    ///
    /// # Errors
    /// [`crate::Error::BadValue`] when `x` is not finite or too large for the modulus.
    fn add_scalar(&self, a: &Self::Value, x: f64) -> Result<Self::Value>;
    /// `a + s_v` in every slot of vector `v` of the batch.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] unless there is one scalar a vector; [`crate::Error::BadValue`], naming the scalar,
    /// as [`Self::add_scalar`].
    fn add_scalars(&self, a: &Self::Value, scalars: &[f64]) -> Result<Self::Value>;
    /// `a * x` in every slot; one level.
    ///
    /// # Errors
    /// [`crate::Error::LevelExhausted`], [`crate::Error::BadValue`].
    fn mul_scalar(&self, a: &Self::Value, x: f64) -> Result<Self::Value>;
    /// `a * b` slot by slot, relinearized and rescaled; one level.
    ///
    /// # Errors
    /// [`crate::Error::LevelExhausted`], [`crate::Error::MissingRelinearizationKey`], mismatched levels or batches.
    fn mul(&self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value>;
    /// `a * a`; one level. One of the four products of [`Self::mul`] less; its key switch, most of the work, is the same.
    ///
    /// # Errors
    /// As [`Self::mul`].
    fn square(&self, a: &Self::Value) -> Result<Self::Value>;
    /// `sum_i a_i * p_i` slot by slot, rescaled once; one level for the whole sum.
    ///
    /// # Errors
    /// [`crate::Error::LevelExhausted`], [`crate::Error::ShapeMismatch`] for no terms, mismatched levels or batches.
    fn dot_plain(&self, terms: &[(&Self::Value, &Self::Plain)]) -> Result<Self::Value>;
    /// `sum_i a_i * b_i + sum_j c_j * x_j` at exactly `level`: one relinearization and one rescaling for the whole sum.
    ///
    /// The factors of products stand one level above `level`; a value that meets a scalar at any level above, where it
    /// costs nothing to come down. Scalars that are exactly zero take no part.
    ///
    /// # Errors
    /// [`crate::Error::LevelMismatch`] for factors at other levels, [`crate::Error::LevelTooHigh`] for a value that is not
    /// above `level`; [`crate::Error::BadValue`], naming the scalar; [`crate::Error::ShapeMismatch`] for other batches, or for a
    /// sum without a product and without a scalar that is not zero; keys as [`Self::mul`].
    fn dot(
        &self,
        products: &[(&Self::Value, &Self::Value)],
        terms: &[(&Self::Value, f64)],
        level: Level,
    ) -> Result<Self::Value>;
    /// `sum_j c_j * x_j` at exactly `level`, rescaled once: [`Self::dot`] without products.
    ///
    /// # Errors
    /// As [`Self::dot`].
    fn dot_scalars(&self, terms: &[(&Self::Value, f64)], level: Level) -> Result<Self::Value> {
        self.dot(&[], terms, level)
    }
    /// Rotates every vector to the left by `steps`: slot `i` becomes old slot `i + steps`, cyclically.
    ///
    /// # Errors
    /// [`crate::Error::MissingRotationKey`].
    fn rotate(&self, a: &Self::Value, steps: i32) -> Result<Self::Value>;
    /// All the rotations of one value at the price of one decomposition.
    ///
    /// # Errors
    /// [`crate::Error::MissingRotationKey`].
    fn rotate_hoisted(&self, a: &Self::Value, steps: &[i32]) -> Result<Vec<Self::Value>>;
    /// Complex conjugate of every slot.
    ///
    /// # Errors
    /// [`crate::Error::MissingConjugationKey`].
    fn conjugate(&self, a: &Self::Value) -> Result<Self::Value>;
    /// `i a` in every slot, exactly: a product with a monomial, no level.
    ///
    /// # Errors
    /// Device failures only.
    fn mul_i(&self, a: &Self::Value) -> Result<Self::Value>;
    /// Encodes a linear map for [`Self::transform`] on values at `level`.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] when its period does not divide the slots; [`crate::Error::LevelExhausted`] or
    /// [`crate::Error::LevelTooHigh`]; [`crate::Error::BadValue`] for entries too large for the modulus.
    fn encode_transform(&self, transform: &LinearTransform, level: Level) -> Result<Self::Transform>;
    /// `y[i] = sum_k d_k[i] x[i + k]` for every vector; one level, rescaled once.
    ///
    /// # Cost
    /// For `D` diagonals in `b` baby steps: `b - 1` hoisted rotations, `D / b - 1` single ones, `D` plain multiplications.
    /// # Errors
    /// [`crate::Error::MissingRotationKey`]; [`crate::Error::LevelMismatch`] when `a` is not at the level of the encoding.
    fn transform(&self, a: &Self::Value, transform: &Self::Transform) -> Result<Self::Value>;
    /// Mixes the vectors of batches: vector `o` of the result is `sum_t sum_i w_t[o][i] * vector i of a_t`, rescaled once; one level,
    /// no rotation. The batch becomes the number of the matrices' rows.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] for no terms, unless the batch of every value equals the number of its matrix's columns, and for
    /// matrices with different numbers of rows; [`crate::Error::LevelMismatch`], [`crate::Error::LevelExhausted`].
    fn combine(&self, terms: &[(&Self::Value, &Self::Weights)]) -> Result<Self::Value>;
    /// Brings the value to a lower level, at that level's scale.
    ///
    /// # Errors
    /// [`crate::Error::LevelTooHigh`] when the value is already below `level`.
    fn drop_to(&self, a: &Self::Value, level: Level) -> Result<Self::Value>;
}
