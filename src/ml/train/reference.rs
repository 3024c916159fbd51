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

/// Descent in the clear: exact, one sample after the other.
#[derive(Clone, Debug)]
pub struct ClearTraining {
    settings: LogisticSettings,
    hidden: Option<(Layer, f64)>,
    output: Layer,
}

/// Weights and the point looked ahead to: `[output][input]`.
#[derive(Clone, Debug)]
struct Layer {
    weights: Vec<Vec<f64>>,
    ahead: Vec<Vec<f64>>,
}

impl Layer {
    fn new(weights: Vec<Vec<f64>>) -> Self {
        Self { ahead: weights.clone(), weights }
    }

    /// Nesterov's step along a gradient, which is what the loss decreases by.
    fn descend(&mut self, gradient: &[Vec<f64>], rate: f64, momentum: f64) {
        let entries = self.weights.iter_mut().zip(&mut self.ahead).zip(gradient);
        for ((w, ahead), g) in entries.flat_map(|((w, a), g)| w.iter_mut().zip(a).zip(g)) {
            let next = *ahead + rate * g;
            *ahead = next + momentum * (next - *w);
            *w = next;
        }
    }

    fn zero(&self) -> Vec<Vec<f64>> {
        self.weights.iter().map(|row| vec![0.0; row.len()]).collect()
    }
}

impl ClearTraining {
    /// The most weights that [`Self::new`] makes.
    const MOST_WEIGHTS: usize = 1 << 24;

    /// Logistic regression. Weights and momentum are zero.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for settings that nothing can be trained with, and for more than 2^24 weights.
    pub fn new(settings: LogisticSettings) -> Result<Self> {
        settings.check()?;
        let (inputs, classes) = (settings.features.saturating_add(1), settings.classes);
        if inputs.saturating_mul(classes) > Self::MOST_WEIGHTS {
            let reason = format!("{classes} classes of {inputs} weights; at most {} in all", Self::MOST_WEIGHTS);
            return Err(Error::InvalidParameter { what: "training", reason });
        }
        Ok(Self { settings, hidden: None, output: Layer::new(vec![vec![0.0; inputs]; classes]) })
    }

    /// From weights that were checked: those of a hidden layer with this curvature first, where there is one.
    pub(super) fn of_layers(settings: LogisticSettings, curvature: Option<f64>, layers: &[Matrix]) -> Self {
        let layer = |m: &Matrix| Layer::new((0..m.rows()).map(|row| m.row(row).to_vec()).collect());
        let hidden = curvature.map(|curvature| (layer(&layers[0]), curvature));
        Self { settings, hidden, output: layer(&layers[layers.len() - 1]) }
    }

    /// The weights of the layers: for each a row an output, the bias last where there is one.
    ///
    /// # Errors
    /// [`Error::BadValue`] when training has diverged.
    pub fn weights(&self) -> Result<Vec<Matrix>> {
        let layers = self.hidden.iter().map(|(layer, _)| layer).chain([&self.output]);
        layers.map(|l| Matrix::new(l.weights.len(), l.weights[0].len(), l.weights.concat())).collect()
    }

    /// Logits of samples, one row each.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of features.
    pub fn logits(&self, samples: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        if let Some(other) = samples.iter().find(|x| x.len() != self.settings.features) {
            let (expected, got) = (format!("samples of {} features", self.settings.features), other.len().to_string());
            return Err(Error::ShapeMismatch { op: "ClearTraining::logits", expected, got });
        }
        let logits = |x: &Vec<f64>| match &self.hidden {
            None => products(&self.output.weights, &with_constant(x)),
            Some((hidden, curvature)) => {
                let z = products(&hidden.weights, &with_constant(x));
                products(&self.output.weights, &activations(&z, *curvature))
            }
        };
        Ok(samples.iter().map(logits).collect())
    }

    /// One step of Nesterov's descent, as [`super::Trainable::step`]. Returns the sum of the squared errors of all
    /// probabilities before it.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other numbers of samples and labels, or of features.
    pub fn step(&mut self, samples: &[Vec<f64>], labels: &[usize]) -> Result<f64> {
        let s = self.settings;
        if samples.len() != labels.len() || samples.iter().any(|x| x.len() != s.features) {
            let expected = format!("as many labels as samples, of {} features", s.features);
            return Err(Error::ShapeMismatch { op: "ClearTraining::step", expected, got: "others".into() });
        }
        let mut gradient = self.output.zero();
        let mut hidden_gradient = self.hidden.as_ref().map(|(layer, _)| layer.zero());
        let mut squares = 0.0;
        for (x, &label) in samples.iter().zip(labels) {
            let x = with_constant(x);
            let z = self.hidden.as_ref().map(|(layer, curvature)| (products(&layer.ahead, &x), *curvature));
            let inputs = z.as_ref().map_or_else(|| x.clone(), |(z, curvature)| activations(z, *curvature));
            let probabilities = softmax(&products(&self.output.ahead, &inputs));
            let errors = probabilities.iter().enumerate().map(|(k, p)| f64::from(u8::from(k == label)) - p);
            let errors: Vec<f64> = errors.collect();
            squares += errors.iter().map(|e| e * e).sum::<f64>();
            add_products(&mut gradient, &errors, &inputs);
            if let Some(((z, curvature), gradient)) = z.iter().zip(&mut hidden_gradient).next() {
                let back = |h: usize| errors.iter().zip(&self.output.ahead).map(|(e, w)| e * w[h]).sum::<f64>();
                let slopes = z.iter().map(|z| 1.0 + 2.0 * curvature * z);
                let errors: Vec<f64> = slopes.enumerate().map(|(h, slope)| slope * back(h)).collect();
                add_products(gradient, &errors, &x);
            }
        }
        let rate = s.learning_rate / s.batch as f64;
        self.output.descend(&gradient, rate, s.momentum);
        if let (Some((layer, _)), Some(gradient)) = (&mut self.hidden, &hidden_gradient) {
            layer.descend(gradient, rate, s.momentum);
        }
        Ok(squares)
    }
}

fn with_constant(x: &[f64]) -> Vec<f64> {
    x.iter().copied().chain([1.0]).collect()
}

fn activations(z: &[f64], curvature: f64) -> Vec<f64> {
    z.iter().map(|z| z + curvature * z * z).collect()
}

fn products(weights: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    weights.iter().map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

/// Adds `error x` to the row of each error.
fn add_products(gradient: &mut [Vec<f64>], errors: &[f64], x: &[f64]) {
    for (row, error) in gradient.iter_mut().zip(errors) {
        row.iter_mut().zip(x).for_each(|(g, x)| *g += error * x);
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|e| e / sum).collect()
}
