//! Multinomial logistic regression as a circuit.

use super::accuracy::Accuracy;
use super::packing::{Layout, sum};
use super::reference::ClearTraining;
use super::trainable::{MiniBatch, Step, Trainable};
use crate::circuit::{Evaluator, Matrix, Polynomial, interpolate};
use crate::error::{Error, Result};
use crate::math::Seed;
use crate::ml::refresh::{Refresh, Walk};
use crate::units::Level;
use num_complex::Complex64;

/// What is trained, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticSettings {
    /// Numbers of a sample. A constant is added to them, whose weight is the bias.
    pub features: usize,
    /// Classes.
    pub classes: usize,
    /// Samples of a mini-batch. One with fewer weighs less.
    pub batch: usize,
    /// Step size for the mean gradient of a mini-batch.
    pub learning_rate: f64,
    /// Nesterov's momentum, in `0..1`.
    pub momentum: f64,
    /// No weight may exceed this: a refresh takes nothing larger.
    pub weight_bound: f64,
    /// Logits up to this are told apart by the polynomial; far beyond it training diverges.
    pub logit_bound: f64,
    /// Degree of the polynomial.
    pub degree: usize,
}

impl LogisticSettings {
    pub(super) fn check(&self) -> Result<()> {
        if self.features == 0 || self.classes < 2 || self.batch == 0 {
            let reason = "at least one feature, two classes and one sample a mini-batch are needed".into();
            return Err(Error::InvalidParameter { what: "training", reason });
        }
        positive("learning_rate", self.learning_rate)?;
        positive("weight_bound", self.weight_bound)?;
        positive("logit_bound", self.logit_bound)?;
        if !(0.0..1.0).contains(&self.momentum) {
            let reason = format!("{} is not in 0..1", self.momentum);
            return Err(Error::InvalidParameter { what: "momentum", reason });
        }
        if !(1..=255).contains(&self.degree) {
            let reason = format!("{} is not in 1..=255", self.degree);
            return Err(Error::InvalidParameter { what: "degree", reason });
        }
        Ok(())
    }

    /// A class's probability, as a polynomial of its logit divided by the bound.
    pub(super) fn probability(&self) -> Result<Polynomial> {
        let others = (self.classes - 1) as f64;
        let steepness = self.logit_bound * self.classes as f64 / others;
        let probability = |u: f64| 1.0 / (1.0 + others * (-u * steepness).exp());
        interpolate("softmax", probability, -1.0, 1.0, self.degree)
    }

    /// Refuses layers of other shapes, and weights beyond their bound.
    pub(super) fn check_layers(&self, layers: &[Matrix], shapes: &[(usize, usize)]) -> Result<()> {
        let got: Vec<_> = layers.iter().map(|layer| (layer.rows(), layer.columns())).collect();
        if got != shapes {
            let (expected, got) = (format!("layers of {shapes:?}"), format!("{got:?}"));
            return Err(Error::ShapeMismatch { op: "training", expected, got });
        }
        match layers.iter().flat_map(Matrix::entries).position(|w| w.abs() > self.weight_bound) {
            Some(index) => Err(Error::BadValue { index, reason: "beyond the bound on weights" }),
            None => Ok(()),
        }
    }

    /// The state of a weight that has not moved.
    pub(super) fn entry(&self, w: f64) -> Complex64 {
        Complex64::new(w / (1.0 + self.momentum), w) / self.weight_bound
    }

    /// What a step without a gradient makes of a state `a + i w`, from `2 a` and `2 i w`.
    pub(super) fn coast<E: Evaluator>(
        &self,
        eval: &E,
        twice_ahead: &E::Value,
        twice_weights_i: &E::Value,
        level: Level,
    ) -> Result<E::Value> {
        // (1 + m) (1 + i) a  and  -m / (1 + m) w.
        let more = 1.0 + self.momentum;
        let both = eval.add(twice_ahead, &eval.mul_i(twice_ahead)?)?;
        let minus_twice_weights = eval.mul_i(twice_weights_i)?;
        eval.dot_scalars(&[(&both, more / 2.0), (&minus_twice_weights, self.momentum / more / 2.0)], level)
    }
}

pub(super) fn positive(what: &'static str, x: f64) -> Result<()> {
    if (1e-9..=1e9).contains(&x) {
        return Ok(());
    }
    Err(Error::InvalidParameter { what, reason: format!("{x} is not positive and of usual size") })
}

/// Multinomial logistic regression on encrypted samples, labels and weights: Nesterov's accelerated gradient descent in mini-batches.
///
/// The softmax is a polynomial of each logit. Logits `z` of `K` classes that add up to zero leave `-z / (K - 1)` to each of the others in
/// the mean; with all of them there the class has probability `1 / (1 + (K - 1) exp(-z K / (K - 1)))`. For two classes that is the softmax, for
/// more it is the softmax while the others are equal. It needs no sum over classes and no division.
///
/// With `a` the point looked ahead to, divided by `1 + m`, and `w` the weights, a step for the gradient `g` is
///
/// ```text
/// w <- (1 + m) a + g        a <- (1 + m) a - m / (1 + m) w + g
/// ```
///
/// The state is one vector, `a + i w`: one refresh for both, and `g` enters both through one mask times `1 + i`.
///
/// # Level and scale
/// [`Self::depth`] levels a step, whatever the sizes: a product with the samples, the polynomial, a product with the samples again, a mask.
/// # Cost
/// For `H` vectors a mini-batch, `F` features and `S` samples a vector: `2 (H - 1) + log2(F / H) + 2 log2(S)` rotations, `H + 1` relinearizations
/// beside the polynomial's, one square for the loss, one conjugation.
/// # Source
/// Encrypted Nesterov descent: Kim, Song, Kim, Lee, Cheon, ePrint 2018/462. Deviations: mini-batches, several classes, one vector of weights for
/// all samples.
#[derive(Clone, Debug)]
pub struct LogisticRegression {
    settings: LogisticSettings,
    layout: Layout,
    /// Of a logit divided by its bound.
    probability: Polynomial,
}

impl LogisticRegression {
    /// For vectors of `slots` entries, a power of two.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for settings that nothing can be trained with; [`Error::TooManyValues`] when features times
    /// classes exceed the slots.
    pub fn new(settings: LogisticSettings, slots: usize) -> Result<Self> {
        let s = settings;
        s.check()?;
        let layout = Layout::new(s.features, s.classes, s.batch, slots)?;
        let probability = s.probability()?;
        Ok(Self { settings, layout, probability })
    }

    /// What is trained, and how.
    pub fn settings(&self) -> &LogisticSettings {
        &self.settings
    }

    /// `(1 + m) weight_bound / 2 logit_bound`: `2 a / weight_bound` times samples so enlarged gives logits over their bound.
    fn sample_factor(&self) -> f64 {
        let s = &self.settings;
        (1.0 + s.momentum) * s.weight_bound / (2.0 * s.logit_bound)
    }
}

impl Trainable for LogisticRegression {
    fn slots(&self) -> usize {
        self.layout.slots
    }

    fn period(&self) -> usize {
        self.layout.period()
    }

    fn vectors(&self) -> usize {
        self.layout.groups()
    }

    fn capacity(&self) -> usize {
        self.layout.capacity()
    }

    fn depth(&self) -> u32 {
        3 + self.probability.depth()
    }

    fn logits_depth(&self) -> u32 {
        1
    }

    fn pack_samples(&self, samples: &[Vec<f64>]) -> Result<Vec<Vec<Complex64>>> {
        self.layout.samples(samples, self.sample_factor())
    }

    fn pack_labels(&self, labels: &[usize]) -> Result<Vec<Complex64>> {
        self.layout.labels(labels)
    }

    /// Zero.
    fn start_weights(&self, _: &Seed) -> Result<Vec<Matrix>> {
        let (rows, columns) = (self.settings.classes, self.settings.features + 1);
        Ok(vec![Matrix::new(rows, columns, vec![0.0; rows * columns])?])
    }

    fn pack_weights(&self, layers: &[Matrix]) -> Result<Vec<Complex64>> {
        let s = &self.settings;
        s.check_layers(layers, &[(s.classes, s.features + 1)])?;
        let inputs = layers[0].columns();
        Ok(self.layout.vector(|f, k, _| if f < inputs { s.entry(layers[0].row(k)[f]) } else { Complex64::ZERO }))
    }

    fn unpack_weights(&self, state: &[Complex64]) -> Result<Vec<Matrix>> {
        let (rows, columns) = (self.settings.classes, self.settings.features + 1);
        let entries = (0..rows * columns).map(|i| self.layout.weight(state, i / columns, i % columns));
        let entries = entries.map(|w| Ok(w?.im * self.settings.weight_bound)).collect::<Result<_>>()?;
        Ok(vec![Matrix::new(rows, columns, entries)?])
    }

    fn unpack_logits(&self, logits: &[Complex64], count: usize) -> Result<Vec<Vec<f64>>> {
        let factor = self.settings.logit_bound / (1.0 + self.settings.momentum);
        let logit = |sample, class| Ok(self.layout.logit(logits, sample, class)?.re * factor);
        (0..count).map(|sample| (0..self.settings.classes).map(|class| logit(sample, class)).collect()).collect()
    }

    fn unpack_loss(&self, total: &[Complex64], samples: usize, batches: usize) -> Result<f64> {
        // A logit of zero stands where there is no sample or no class.
        let (copies, elsewhere) = (self.layout.copies(), self.probability.at(0.0).powi(2));
        self.layout.loss(total, (samples, batches), (copies, self.settings.classes), elsewhere)
    }

    fn in_the_clear(&self, layers: &[Matrix]) -> Result<ClearTraining> {
        let s = self.settings;
        s.check_layers(layers, &[(s.classes, s.features + 1)])?;
        Ok(ClearTraining::of_layers(s, None, layers))
    }

    fn step<E: Evaluator, R: Refresh<E>>(
        &self,
        eval: &E,
        refresh: &R,
        state: &E::Value,
        batch: &MiniBatch<E::Value>,
    ) -> Result<Step<E::Value>> {
        let walk = Walk::new("LogisticRegression::step", eval, refresh);
        let state = walk.with(eval.drop_to(state, eval.level(state))?, self.depth())?;
        let conjugate = eval.conjugate(&state)?;
        let twice_ahead = eval.add(&state, &conjugate)?;
        let logits = self.layout.forward(eval, &twice_ahead, &batch.samples)?;
        let probability = self.probability.evaluate(eval, &logits)?;
        let error = eval.sub(&eval.drop_to(&batch.labels, eval.level(&probability))?, &probability)?;
        let squares = eval.square(&error)?;
        let gradient = self.layout.backward(eval, &error, &batch.samples)?;

        // The mask takes the sum over samples from where it is valid, and carries every factor; then all samples get it.
        let s = &self.settings;
        let rate = s.learning_rate / (s.batch as f64 * self.sample_factor() * s.weight_bound);
        let mask = eval.encode(&[self.layout.mask(Complex64::new(rate, rate))], eval.level(&gradient))?;
        let update = eval.dot_plain(&[(&gradient, &mask)])?;
        let update = sum(eval, update, self.layout.sample_folds().map(|step| -step))?;

        let kept = s.coast(eval, &twice_ahead, &eval.sub(&state, &conjugate)?, eval.level(&update))?;
        Ok(Step { state: eval.add(&kept, &update)?, squares, refreshes: walk.refreshes() })
    }

    fn total<E: Evaluator>(&self, eval: &E, squares: &E::Value) -> Result<E::Value> {
        sum(eval, eval.drop_to(squares, eval.level(squares))?, self.layout.all_folds())
    }

    fn logits<E: Evaluator>(&self, eval: &E, state: &E::Value, samples: &[E::Value]) -> Result<E::Value> {
        let twice_weights_i = eval.sub(state, &eval.conjugate(state)?)?;
        self.layout.forward(eval, &eval.neg(&eval.mul_i(&twice_weights_i)?)?, samples)
    }

    fn accuracy(&self, samples: usize) -> Result<Accuracy> {
        let s = &self.settings;
        Accuracy::new(self.layout.places(samples)?, s.logit_bound / (1.0 + s.momentum), s.logit_bound)
    }

    fn held_out_capacity(&self) -> usize {
        self.layout.capacity() * self.layout.copies()
    }
}
