//! Matrices of scalars, and products with them across a batch.

use super::ciphertext::Ciphertext;
use super::evaluator::Evaluator;
use super::parameters::Parameters;
use crate::circuit::{Matrix, SparseMatrix};
use crate::device::{Device, View};
use crate::error::{Error, Result};
use crate::units::{Level, Shape};

/// A matrix of scalars on a device, encoded for one level.
#[derive(Clone, Debug)]
pub struct DeviceWeights {
    parameters: Parameters,
    device: Device,
    weights: View,
    /// Where the weights belong, if most of the matrix is zero.
    pattern: Option<View>,
    rows: u32,
    columns: u32,
    level: Level,
    scale: f64,
}

impl DeviceWeights {
    /// Level they were encoded for.
    pub fn level(&self) -> Level {
        self.level
    }
}

impl Evaluator {
    /// Encodes a matrix of scalars for [`Self::combine`] on ciphertexts at `level`, at that level's scale.
    ///
    /// # Errors
    /// [`Error::BadValue`], [`Error::LevelTooHigh`]; out of memory.
    pub fn load_weights(&self, matrix: &Matrix, level: Level) -> Result<DeviceWeights> {
        self.load_sparse(&matrix.into(), level)
    }

    /// As [`Self::load_weights`], for a matrix of which most entries are zero.
    ///
    /// # Errors
    /// As [`Self::load_weights`].
    pub fn load_sparse(&self, matrix: &SparseMatrix, level: Level) -> Result<DeviceWeights> {
        let scale = self.parameters.scale_at(level)?;
        let basis = self.parameters.rlwe().basis(self.parameters.limbs_at(level)?);
        let limbs = basis.primes().len();
        let size = |count: usize| {
            u32::try_from(count).map_err(|_| Error::ShapeMismatch {
                op: "load_weights",
                expected: "fewer than 2^32 entries".into(),
                got: format!("{count}"),
            })
        };
        let (rows, columns) = (size(matrix.rows())?, size(matrix.columns())?);
        let whole = matrix.rows().saturating_mul(matrix.columns());
        // A pattern to look up takes longer than a product: it pays where at least half of the entries are zero.
        let full = matrix.entries() > whole / 2;
        // Memory of no words does not exist: a matrix of zeros has one entry of no row.
        let entries = if full { whole } else { matrix.entries().max(1) };
        let mut words = vec![0; size(entries)? as usize * limbs];
        for (entry, (row, column, x)) in matrix.iter().enumerate() {
            let index = row * matrix.columns() + column;
            let integer = self.encoder().scalar(x, scale, level).map_err(|e| match e {
                Error::BadValue { reason, .. } => Error::BadValue { index, reason },
                other => other,
            })?;
            let at = if full { index } else { entry };
            words[at * limbs..][..limbs].copy_from_slice(&self.keys.ring().residues(integer, &basis));
        }
        let weights = self.device().upload(Shape { batch: size(entries)?, limbs: basis.limbs(), log_n: 0 }, &words)?;
        let pattern = if full { None } else { Some(self.load_pattern(matrix)?) };
        Ok(DeviceWeights {
            parameters: self.parameters.clone(),
            device: self.device().clone(),
            weights: weights.view(),
            pattern,
            rows,
            columns,
            level,
            scale,
        })
    }

    /// Where rows start and which columns they have, as in [`crate::device::Op::CombineSparse`]. The matrix has fewer than 2^32 rows,
    /// columns and entries.
    fn load_pattern(&self, matrix: &SparseMatrix) -> Result<View> {
        let mut words = vec![0u32];
        let mut end = 0;
        for row in 0..matrix.rows() {
            end += matrix.row(row).len();
            words.push(u32::try_from(end).expect("at most MAX_ENTRIES"));
        }
        let columns = matrix.iter().map(|(_, column, _)| u32::try_from(column).expect("checked by the caller"));
        words.extend(columns);
        words.resize(matrix.rows() + 1 + matrix.entries().max(1), 0);
        let limbs = u32::try_from(words.len()).map_err(|_| Error::ShapeMismatch {
            op: "load_weights",
            expected: "fewer than 2^32 rows and entries".into(),
            got: format!("{}", words.len()),
        })?;
        Ok(self.device().upload(Shape { batch: 1, limbs, log_n: 0 }, &words)?.view())
    }

    /// Mixes the vectors of a batch: vector `o` becomes `sum_i w[o][i] * vector i`, without rescaling.
    ///
    /// # Shape
    /// A batch of as many vectors as the matrix has columns becomes one of as many as it has rows.
    /// # Level and scale
    /// The level stays, the scale becomes the product of both.
    /// # Cost
    /// One dispatch, no transform; a multiplication a word for each entry, zeros included unless most entries are.
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::LevelTooHigh`] for weights encoded below the ciphertext's level.
    pub fn combine(&self, a: &Ciphertext, weights: &DeviceWeights) -> Result<Ciphertext> {
        self.mine("combine", a)?;
        self.owns("combine", &weights.parameters, &weights.device)?;
        Self::same_batch("combine", weights.columns, a.batch())?;
        if weights.level < a.level {
            return Err(Error::LevelTooHigh { op: "combine", wanted: a.level.0, available: weights.level.0 });
        }
        let poly = match &weights.pattern {
            None => a.poly.combine(&weights.weights, weights.rows, a.components)?,
            Some(pattern) => a.poly.combine_sparse(&weights.weights, pattern, weights.rows, a.components)?,
        };
        Ok(Ciphertext { poly, scale: a.scale * weights.scale, ..a.clone() })
    }
}
