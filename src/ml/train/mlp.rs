//! A network with one hidden layer as a circuit.

use super::accuracy::Accuracy;
use super::logistic::{LogisticSettings, positive};
use super::packing::{Layout, sum};
use super::reference::ClearTraining;
use super::trainable::{MiniBatch, Step, Trainable};
use crate::circuit::{Evaluator, Matrix, Polynomial};
use crate::error::{Error, Result};
use crate::math::{Csprng, Seed};
use crate::ml::refresh::{Refresh, Walk};
use num_complex::Complex64;

/// What is trained, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MlpSettings {
    /// As for logistic regression. The bound on weights holds for both layers, the features are those of the first.
    pub training: LogisticSettings,
    /// Hidden units.
    pub hidden: usize,
    /// `c` of the activation `z + c z^2`.
    pub curvature: f64,
}

impl MlpSettings {
    fn check_layers(&self, layers: &[Matrix]) -> Result<()> {
        let s = &self.training;
        s.check_layers(layers, &[(self.hidden, s.features + 1), (s.classes, self.hidden)])
    }
}

/// A network `x -> W_2 act(W_1 (x, 1))` on encrypted samples, labels and weights: Nesterov's accelerated gradient descent in mini-batches, with the softmax of
/// [`super::LogisticRegression`].
///
/// The activation is `z + c z^2`. The second layer has no bias of its own: what a bias adds, units with a weight of the constant feature give as well.
///
/// # Memory layout
/// The first layer is laid out as logistic regression with the hidden units as classes, and its pre-activations land in one vector `C` times over. The
/// copies are the classes of the second layer: class `c` of it works on copy `c`. Half of the sample positions of the state hold the weights and momentum of
/// the first layer, half those of the second, so that one refresh serves both.
///
/// ```text
/// state (f, k, s)       = weight of feature f for unit k               s < S / 2
/// state (c H + h, k, s) = weight of unit k for class c                 s >= S / 2
/// logits(c H + h, k, s) = logit of class c of sample h S + s           for every unit k
/// ```
///
/// # Level and scale
/// A mask, a product with samples, the activation, a product with weights and a mask lead to logits: 5 levels. From there it is the polynomial, a product
/// with activations or weights, one with samples, and a mask to the new state. A refresh of the logits parts the two, unless there are levels for all:
/// between refreshes 6 levels are needed, or 3 and those of the polynomial.
/// # Cost
/// For `H` vectors a mini-batch, `C` copies, `K` units and `S` samples a vector: `2 H + 2 log2(C H K) + 3 log2(S)` rotations, `H + 6`
/// relinearizations beside the polynomial's, one square for the loss, one conjugation, and two refreshes at most.
/// # Source
/// As [`super::LogisticRegression`]. Networks with a square for an activation: CryptoNets, Dowlin et al., ICML 2016.
#[derive(Clone, Debug)]
pub struct Mlp {
    settings: MlpSettings,
    layout: Layout,
    /// Of a logit divided by its bound.
    probability: Polynomial,
}

/// What a layer of activations and one of logits leave for the gradient.
struct Pass<V> {
    /// `c z` for the pre-activations `z`.
    inner: V,
    /// `c` times the activations.
    activations: V,
    /// Of the second layer, over `c` and the bound on logits.
    weights: V,
    /// Over their bound.
    logits: V,
}

impl Mlp {
    /// For vectors of `slots` entries, a power of two.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for settings that nothing can be trained with; [`Error::TooManyValues`] when twice the features times
    /// hidden units exceed the slots.
    pub fn new(settings: MlpSettings, slots: usize) -> Result<Self> {
        let s = &settings.training;
        s.check()?;
        positive("curvature", settings.curvature)?;
        if settings.hidden == 0 {
            return Err(Error::InvalidParameter { what: "hidden", reason: "no unit".into() });
        }
        // Two samples at least, for the state has two halves.
        let layout = Layout::new(s.features, settings.hidden, s.batch.max(2), slots)?;
        if layout.half() == 0 {
            return Err(Error::TooManyValues { slots, got: layout.period().saturating_mul(2) });
        }
        if layout.copies() < s.classes {
            let (hidden, batch, copies) = (settings.hidden, s.batch, layout.copies());
            let reason = format!("{hidden} units and mini-batches of {batch} samples leave room for {copies} classes");
            return Err(Error::InvalidParameter { what: "hidden", reason });
        }
        Ok(Self { settings, layout, probability: s.probability()? })
    }

    /// What is trained, and how.
    pub fn settings(&self) -> &MlpSettings {
        &self.settings
    }

    /// Whether a slot of the state holds a weight of the first layer.
    fn first(&self, f: usize, k: usize, s: usize) -> bool {
        s < self.layout.half() && f <= self.settings.training.features && k < self.settings.hidden
    }

    /// Whether a slot of the state holds a weight of the second layer.
    fn second(&self, f: usize, k: usize, s: usize) -> bool {
        let class = self.layout.copy_and_group(f).0;
        s >= self.layout.half() && class < self.settings.training.classes && k < self.settings.hidden
    }

    /// `value`, zero where the mask is.
    fn masked<E: Evaluator>(
        &self,
        eval: &E,
        value: &E::Value,
        mask: impl Fn(usize, usize, usize) -> Complex64,
    ) -> Result<E::Value> {
        let mask = eval.encode(&[self.layout.everywhere(mask)], eval.level(value))?;
        eval.dot_plain(&[(value, &mask)])
    }

    /// From twice the weights over `factor` and their bound to logits.
    fn forward<E: Evaluator>(
        &self,
        eval: &E,
        twice: &E::Value,
        factor: f64,
        samples: &[E::Value],
    ) -> Result<Pass<E::Value>> {
        let (s, c) = (&self.settings.training, self.settings.curvature);
        let needed = self.logits_depth();
        if eval.level(twice).0 < needed {
            return Err(Error::LevelExhausted { op: "Mlp::logits", needed, left: eval.level(twice).0 });
        }
        let half = self.layout.half_step();
        let take = |wanted: bool, factor: f64| Complex64::from(if wanted { factor } else { 0.0 });
        let unit = factor * s.weight_bound / 2.0;
        let first = self.masked(eval, twice, |f, k, s| take(self.first(f, k, s), c * unit))?;
        let first = eval.add(&first, &eval.rotate(&first, -half)?)?;
        let second = self.masked(eval, twice, |f, k, i| take(self.second(f, k, i), unit / (c * s.logit_bound)))?;
        let second = eval.add(&second, &eval.rotate(&second, half)?)?;

        let inner = self.layout.forward(eval, &first, samples)?;
        let below = eval.level(&inner).below(1);
        let activations = eval.dot(&[(&inner, &inner)], &[(&inner, 1.0)], below)?;
        let weights = eval.drop_to(&second, below)?;
        let logits = sum(eval, eval.mul(&weights, &activations)?, self.layout.class_folds())?;
        let logits = self.masked(eval, &logits, |_, k, _| take(k == 0, 1.0))?;
        let logits = sum(eval, logits, self.layout.class_folds().map(|step| -step))?;
        Ok(Pass { inner, activations, weights: second, logits })
    }
}

impl Trainable for Mlp {
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
        self.logits_depth() + 3 + self.probability.depth()
    }

    fn logits_depth(&self) -> u32 {
        5
    }

    fn pack_samples(&self, samples: &[Vec<f64>]) -> Result<Vec<Vec<Complex64>>> {
        self.layout.samples(samples, 1.0)
    }

    fn pack_labels(&self, labels: &[usize]) -> Result<Vec<Complex64>> {
        self.layout.check("pack_labels", labels.len())?;
        if let Some(index) = labels.iter().position(|&label| label >= self.settings.training.classes) {
            return Err(Error::BadValue { index, reason: "no such class" });
        }
        let hit = |f: usize, s: usize| {
            let (class, group) = self.layout.copy_and_group(f);
            labels.get(self.layout.sample(group, s)) == Some(&class)
        };
        Ok(self.layout.everywhere(|f, _, s| Complex64::from(f64::from(u8::from(hit(f, s))))))
    }

    /// Uniform: the first layer's below `1 / (2 sqrt(features + 1))`, the second's below 1/2 before those of a unit are shifted to add up to zero over classes.
    /// Units that start alike stay alike, so the start cannot be zero.
    fn start_weights(&self, seed: &Seed) -> Result<Vec<Matrix>> {
        let (s, hidden) = (&self.settings.training, self.settings.hidden);
        let mut generator = Csprng::new(seed);
        let mut uniform = |bound: f64, count: usize| -> Vec<f64> {
            (0..count).map(|_| (2.0 * generator.fraction() - 1.0) * bound).collect()
        };
        let inputs = s.features + 1;
        let first = uniform(0.5 / (inputs as f64).sqrt(), hidden * inputs);
        let mut second = uniform(0.5, s.classes * hidden);
        for unit in 0..hidden {
            let mean = second.iter().skip(unit).step_by(hidden).sum::<f64>() / s.classes as f64;
            second.iter_mut().skip(unit).step_by(hidden).for_each(|w| *w -= mean);
        }
        Ok(vec![Matrix::new(hidden, inputs, first)?, Matrix::new(s.classes, hidden, second)?])
    }

    fn pack_weights(&self, layers: &[Matrix]) -> Result<Vec<Complex64>> {
        self.settings.check_layers(layers)?;
        let entry = |f: usize, k: usize, i: usize| {
            let w = if self.first(f, k, i) {
                layers[0].row(k)[f]
            } else if self.second(f, k, i) {
                layers[1].row(self.layout.copy_and_group(f).0)[k]
            } else {
                0.0
            };
            self.settings.training.entry(w)
        };
        Ok(self.layout.everywhere(entry))
    }

    fn unpack_weights(&self, state: &[Complex64]) -> Result<Vec<Matrix>> {
        let (s, hidden) = (&self.settings.training, self.settings.hidden);
        let matrix = |rows: usize, columns: usize, slot: &dyn Fn(usize, usize) -> (usize, usize, usize)| {
            let entries = (0..rows * columns).map(|i| {
                let (f, k, place) = slot(i / columns, i % columns);
                Ok(self.layout.read(state, f, k, place)?.im * s.weight_bound)
            });
            Matrix::new(rows, columns, entries.collect::<Result<_>>()?)
        };
        Ok(vec![
            matrix(hidden, s.features + 1, &|k, f| (f, k, 0))?,
            matrix(s.classes, hidden, &|class, k| (self.layout.position(class, 0), k, self.layout.half()))?,
        ])
    }

    fn unpack_logits(&self, logits: &[Complex64], count: usize) -> Result<Vec<Vec<f64>>> {
        self.layout.check("unpack_logits", count)?;
        let s = &self.settings.training;
        let logit = |sample: usize, class: usize| {
            let (group, place) = self.layout.place(sample);
            Ok(self.layout.read(logits, self.layout.position(class, group), 0, place)?.re * s.logit_bound)
        };
        (0..count).map(|sample| (0..s.classes).map(|class| logit(sample, class)).collect()).collect()
    }

    fn unpack_loss(&self, total: &[Complex64], samples: usize, batches: usize) -> Result<f64> {
        // A logit of zero stands where there is no sample or no class; every unit has the errors.
        let (copies, elsewhere) = (self.layout.classes(), self.probability.at(0.0).powi(2));
        self.layout.loss(total, (samples, batches), (copies, self.settings.training.classes), elsewhere)
    }

    fn in_the_clear(&self, layers: &[Matrix]) -> Result<ClearTraining> {
        self.settings.check_layers(layers)?;
        Ok(ClearTraining::of_layers(self.settings.training, Some(self.settings.curvature), layers))
    }

    fn step<E: Evaluator, R: Refresh<E>>(
        &self,
        eval: &E,
        refresh: &R,
        state: &E::Value,
        batch: &MiniBatch<E::Value>,
    ) -> Result<Step<E::Value>> {
        let (s, c) = (&self.settings.training, self.settings.curvature);
        let walk = Walk::new("Mlp::step", eval, refresh);
        let state = walk.with(eval.drop_to(state, eval.level(state))?, self.logits_depth() + 1)?;
        let conjugate = eval.conjugate(&state)?;
        let twice_ahead = eval.add(&state, &conjugate)?;
        let pass = self.forward(eval, &twice_ahead, 1.0 + s.momentum, &batch.samples)?;
        // What a logit moves by for each pre-activation.
        let slopes = eval.add_scalar(&eval.add(&pass.inner, &pass.inner)?, 1.0)?;
        let slopes = eval.mul(&slopes, &eval.drop_to(&pass.weights, eval.level(&slopes))?)?;

        let logits = walk.with(pass.logits, 3 + self.probability.depth())?;
        let probability = self.probability.evaluate(eval, &logits)?;
        let error = eval.sub(&eval.drop_to(&batch.labels, eval.level(&probability))?, &probability)?;
        let squares = eval.square(&error)?;

        let level = eval.level(&error).min(eval.level(&slopes));
        let error = eval.drop_to(&error, level)?;
        let second = eval.mul(&error, &eval.drop_to(&pass.activations, level)?)?;
        let second = sum(eval, second, self.layout.sample_folds().chain(self.layout.copy_folds()))?;
        let error = eval.mul(&error, &eval.drop_to(&slopes, level)?)?;
        let error = sum(eval, error, self.layout.group_folds())?;
        let first = self.layout.backward(eval, &error, &batch.samples)?;

        // Masks take sums from where they are valid; then all samples get them. The second layer has a level to spare: its factor comes last, when copies
        // have added up their noise.
        let rate = s.learning_rate / (s.batch as f64 * s.weight_bound);
        let take = |wanted: bool, factor: f64| if wanted { Complex64::new(factor, factor) } else { Complex64::ZERO };
        let second = self.masked(eval, &second, |f, k, i| {
            let (class, group) = self.layout.copy_and_group(f);
            take(i == 0 && group == 0 && class < s.classes && k < self.settings.hidden, 1.0)
        })?;
        let second = sum(eval, second, self.layout.copy_folds().map(|step| -step))?;
        let first =
            self.masked(eval, &first, |f, k, i| take(i == 0 && self.first(f, k, i), rate * c * s.logit_bound))?;
        let second = eval.dot_scalars(&[(&second, rate / c)], eval.level(&first))?;
        let second = eval.rotate(&second, -self.layout.half_step())?;
        let update = sum(eval, eval.add(&first, &second)?, self.layout.half_folds().map(|step| -step))?;

        let kept = s.coast(eval, &twice_ahead, &eval.sub(&state, &conjugate)?, eval.level(&update))?;
        Ok(Step { state: eval.add(&kept, &update)?, squares, refreshes: walk.refreshes() })
    }

    fn total<E: Evaluator>(&self, eval: &E, squares: &E::Value) -> Result<E::Value> {
        sum(eval, eval.drop_to(squares, eval.level(squares))?, self.layout.all_folds())
    }

    fn logits<E: Evaluator>(&self, eval: &E, state: &E::Value, samples: &[E::Value]) -> Result<E::Value> {
        let twice_weights_i = eval.sub(state, &eval.conjugate(state)?)?;
        let twice_weights = eval.neg(&eval.mul_i(&twice_weights_i)?)?;
        Ok(self.forward(eval, &twice_weights, 1.0, samples)?.logits)
    }

    fn accuracy(&self, samples: usize) -> Result<Accuracy> {
        let bound = self.settings.training.logit_bound;
        Accuracy::new(self.layout.places_above(samples, self.settings.training.classes)?, bound, bound)
    }

    fn held_out_capacity(&self) -> usize {
        self.layout.capacity() * self.layout.classes()
    }
}
