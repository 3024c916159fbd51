//! What a model is made of.

use crate::circuit::Matrix;

/// One layer; each consumes one level.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// `y = W x + b`.
    Dense {
        /// `W`, one row an output.
        weights: Matrix,
        /// `b`, one entry an output.
        bias: Vec<f64>,
    },
    /// `y_i = x_i^2`.
    Square,
}

impl Layer {
    /// The layer on plain numbers.
    pub(super) fn apply_clear(&self, x: &[f64]) -> Vec<f64> {
        match self {
            Self::Dense { weights, bias } => {
                let dot = |row: usize| weights.row(row).iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
                bias.iter().enumerate().map(|(row, b)| dot(row) + b).collect()
            }
            Self::Square => x.iter().map(|x| x * x).collect(),
        }
    }
}
