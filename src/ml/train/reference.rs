//! The same training in the clear, with the softmax itself.

use super::logistic::LogisticSettings;
use crate::circuit::Matrix;
use crate::error::{Error, Result};

/// What an epoch left behind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean of `-log p` of the sample's class, `p` the softmax of its logits.
    pub loss: f64,
    /// Share of samples whose class has the largest logit.
    pub accuracy: f64,
}

impl Score {
    /// Of logits, one row a sample.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for no samples, or other numbers of logits and labels; [`Error::BadValue`] for a class without a logit.
    pub fn new(logits: &[Vec<f64>], labels: &[usize]) -> Result<Self> {
        if logits.is_empty() || logits.len() != labels.len() {
            let (expected, got) =
                (format!("logits of {} samples, at least one", labels.len()), format!("{}", logits.len()));
            return Err(Error::ShapeMismatch { op: "Score", expected, got });
        }
        let (mut loss, mut hits) = (0.0, 0);
        for (index, (row, &label)) in logits.iter().zip(labels).enumerate() {
            let p = softmax(row);
            loss -= p.get(label).ok_or(Error::BadValue { index, reason: "no such class" })?.max(f64::MIN_POSITIVE).ln();
            let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            hits += usize::from(best == Some(label));
        }
        let count = logits.len() as f64;
        Ok(Self { loss: loss / count, accuracy: f64::from(u32::try_from(hits).unwrap_or(u32::MAX)) / count })
    }
}

/// Descent in the clear from weights of zero: exact, one sample after the other.
#[derive(Clone, Debug)]
pub struct ClearTraining {
    settings: LogisticSettings,
    /// `[class][feature]`, the constant's last.
    weights: Vec<Vec<f64>>,
    ahead: Vec<Vec<f64>>,
}

impl ClearTraining {
    /// Weights and momentum are zero.
    pub fn new(settings: LogisticSettings) -> Self {
        let zero = vec![vec![0.0; settings.features + 1]; settings.classes];
        Self { settings, weights: zero.clone(), ahead: zero }
    }

    /// The weights: a row a class, the bias last.
    ///
    /// # Errors
    /// [`Error::BadValue`] when training has diverged.
    pub fn weights(&self) -> Result<Matrix> {
        Matrix::new(self.settings.classes, self.settings.features + 1, self.weights.concat())
    }

    /// Logits of samples, one row each.
    pub fn logits(&self, samples: &[Vec<f64>]) -> Vec<Vec<f64>> {
        samples.iter().map(|x| products(&self.weights, x)).collect()
    }

    /// One step of Nesterov's descent, as [`super::LogisticRegression::step`]. Returns the sum of the squared errors of all probabilities before it.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other numbers of samples and labels, or of features.
    pub fn step(&mut self, samples: &[Vec<f64>], labels: &[usize]) -> Result<f64> {
        let s = self.settings;
        if samples.len() != labels.len() || samples.iter().any(|x| x.len() != s.features) {
            let expected = format!("as many labels as samples, of {} features", s.features);
            return Err(Error::ShapeMismatch { op: "ClearTraining::step", expected, got: "others".into() });
        }
        let mut gradient = vec![vec![0.0; s.features + 1]; s.classes];
        let mut squares = 0.0;
        for (x, &label) in samples.iter().zip(labels) {
            let probabilities = softmax(&products(&self.ahead, x));
            for (k, (p, gradient)) in probabilities.iter().zip(&mut gradient).enumerate() {
                let error = f64::from(u8::from(k == label)) - p;
                squares += error * error;
                gradient.iter_mut().zip(x.iter().chain([&1.0])).for_each(|(g, x)| *g += error * x);
            }
        }
        let rate = s.learning_rate / s.batch as f64;
        let entries = self.weights.iter_mut().zip(&mut self.ahead).zip(&gradient);
        for ((w, ahead), g) in entries.flat_map(|((w, a), g)| w.iter_mut().zip(a).zip(g)) {
            let next = *ahead + rate * g;
            *ahead = next + s.momentum * (next - *w);
            *w = next;
        }
        Ok(squares)
    }
}

fn products(weights: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    weights.iter().map(|w| w.iter().zip(x.iter().chain([&1.0])).map(|(w, x)| w * x).sum()).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|e| e / sum).collect()
}
