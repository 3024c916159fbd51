//! Where samples, labels and weights lie.
//!
//! A vector has *features* x *classes* x *samples* slots, each a power of two `F`, `K`, `S`, and repeats:
//!
//! ```text
//! slot((f, k, s)) = (f K + k) S + s
//! ```
//!
//! A mini-batch of `H S` samples is `H` vectors. At feature position `f` stand the samples of group `f mod H`, and vector `j` holds there
//! their feature `f - j`:
//!
//! ```text
//! X_j(f, k, s) = feature (f - j) mod F of sample (f mod H) S + s         for every class k
//! W  (f, k, s) = weight of feature f for class k                         for every sample s
//! ```
//!
//! One vector holds all weights, so that one refresh serves them all, and one holds the logits of the whole mini-batch:
//!
//! ```text
//! u = sum_j rot_-j(W) X_j      H products, one relinearization; then u += rot(u) over the F / H positions of a group
//! g = sum_j rot_j(r X_j)       the gradient for the errors r; then the sum over s, where s = 0
//! ```
//!
//! with rotations by features, which are cyclic. Feature `F` - 1 or before is the constant 1, its weight the bias.
//!
//! A hidden layer has its units in the place of classes. Its sums `u` stand `C = F / H` times, at `f = c H + h` for the samples of group `h`: the
//! copies `c` are the classes of the layer above, and the sum over them is cyclic.

use super::accuracy::Places;
use crate::circuit::Evaluator;
use crate::error::{Error, Result};
use crate::units::Level;
use num_complex::Complex64;

/// The sizes of a packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Slots of a vector.
    pub(super) slots: usize,
    /// Features of a sample, without the constant.
    pub(super) inputs: usize,
    /// Classes, or hidden units, that exist.
    pub(super) outputs: usize,
    /// `F`.
    features: usize,
    /// `K`.
    classes: usize,
    /// `S`.
    samples: usize,
    /// `H`.
    groups: usize,
}

impl Layout {
    pub(super) fn new(inputs: usize, outputs: usize, batch: usize, slots: usize) -> Result<Self> {
        crate::circuit::check_slots(slots)?;
        if !slots.is_power_of_two() {
            return Err(Error::InvalidParameter { what: "slots", reason: format!("{slots} is no power of two") });
        }
        let padded = |count: usize| count.checked_next_power_of_two().unwrap_or(usize::MAX);
        let (features, classes) = (padded(inputs.saturating_add(1)), padded(outputs));
        let one = features.saturating_mul(classes);
        if one > slots {
            return Err(Error::TooManyValues { slots, got: one });
        }
        let samples = padded(batch).min(slots / one);
        let groups = padded(batch) / samples;
        if groups > features {
            let most = features.saturating_mul(samples);
            return Err(Error::InvalidParameter { what: "batch", reason: format!("{batch}; at most {most} here") });
        }
        Ok(Self { slots, inputs, outputs, features, classes, samples, groups })
    }

    /// The period of every vector.
    pub(super) fn period(&self) -> usize {
        self.features * self.classes * self.samples
    }

    /// Vectors of a mini-batch.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Samples of a mini-batch at most.
    pub(super) fn capacity(&self) -> usize {
        self.groups * self.samples
    }

    /// Rotation to the next feature.
    pub(super) fn feature_step(&self) -> i32 {
        step(self.classes * self.samples)
    }

    /// Rotations that add up the positions of one group, each of its operand so far.
    pub(super) fn group_folds(&self) -> impl Iterator<Item = i32> {
        doublings(self.groups * self.classes * self.samples, self.period())
    }

    /// Rotations that add up classes, each of its operand so far.
    pub(super) fn class_folds(&self) -> impl Iterator<Item = i32> {
        doublings(self.samples, self.classes * self.samples)
    }

    /// Rotations that add up the groups of one copy, each of its operand so far.
    pub(super) fn copy_folds(&self) -> impl Iterator<Item = i32> {
        let one = self.classes * self.samples;
        doublings(one, self.groups * one)
    }

    /// Rotations that add up half of the samples, each of its operand so far.
    pub(super) fn half_folds(&self) -> impl Iterator<Item = i32> {
        doublings(1, self.half())
    }

    /// Half of the samples of a vector.
    pub(super) fn half(&self) -> usize {
        self.samples / 2
    }

    /// Rotation by half of the samples.
    pub(super) fn half_step(&self) -> i32 {
        step(self.half())
    }

    /// Rotations that add up samples, each of its operand so far.
    pub(super) fn sample_folds(&self) -> impl Iterator<Item = i32> {
        doublings(1, self.samples)
    }

    /// Rotations that add up all slots of a period, each of its operand so far.
    pub(super) fn all_folds(&self) -> impl Iterator<Item = i32> {
        doublings(1, self.period())
    }

    /// Positions in a period that hold the logit of one sample and class.
    pub(super) fn copies(&self) -> usize {
        self.features / self.groups
    }

    /// The feature position of a group's copy.
    pub(super) fn position(&self, copy: usize, group: usize) -> usize {
        copy * self.groups + group
    }

    /// Copy and group of a feature position.
    pub(super) fn copy_and_group(&self, feature: usize) -> (usize, usize) {
        (feature / self.groups, feature % self.groups)
    }

    /// `K`, padded.
    pub(super) fn classes(&self) -> usize {
        self.classes
    }

    /// The sample at a place of a group.
    pub(super) fn sample(&self, group: usize, place: usize) -> usize {
        group * self.samples + place
    }

    /// Group of a sample, and its place in there.
    pub(super) fn place(&self, sample: usize) -> (usize, usize) {
        (sample / self.samples, sample % self.samples)
    }

    /// Where the logits of so many samples lie, in values of [`Self::capacity`] samples each: every value has its copies of a logit, of which
    /// the first serves the first value, and so on.
    pub(super) fn places(&self, samples: usize) -> Result<Places> {
        let place = |i: usize| i / self.samples * self.classes * self.samples + i % self.samples;
        self.places_at(samples, self.copies(), (self.outputs, self.samples), place)
    }

    /// As [`Self::places`] for the layer above, whose logits every unit has.
    pub(super) fn places_above(&self, samples: usize, classes: usize) -> Result<Places> {
        let place = |i: usize| {
            let (unit, (group, s)) = (i / self.capacity(), self.place(i % self.capacity()));
            (group * self.classes + unit) * self.samples + s
        };
        self.places_at(samples, self.classes, (classes, self.groups * self.classes * self.samples), place)
    }

    fn places_at(
        &self,
        samples: usize,
        copies: usize,
        (classes, step): (usize, usize),
        place: impl Fn(usize) -> usize,
    ) -> Result<Places> {
        let (capacity, most) = (self.capacity(), self.capacity() * copies);
        if !(1..=most).contains(&samples) {
            let expected = format!("1 to {most} samples");
            return Err(Error::ShapeMismatch { op: "accuracy", expected, got: format!("{samples}") });
        }
        let all: Vec<usize> = (0..samples).map(place).collect();
        let samples = all.chunks(capacity).map(<[usize]>::to_vec).collect();
        Ok(Places { slots: self.slots, period: self.period(), classes, step, samples })
    }

    /// One vector from a formula of feature, class and sample positions.
    pub(super) fn everywhere(&self, entry: impl Fn(usize, usize, usize) -> Complex64) -> Vec<Complex64> {
        let at = |i: usize| {
            let (f, k) = (i / (self.classes * self.samples), i / self.samples % self.classes);
            entry(f % self.features, k, i % self.samples)
        };
        (0..self.slots).map(at).collect()
    }

    /// As [`Self::everywhere`], zero for classes that do not exist.
    pub(super) fn vector(&self, entry: impl Fn(usize, usize, usize) -> Complex64) -> Vec<Complex64> {
        self.everywhere(|f, k, s| if k < self.outputs { entry(f, k, s) } else { Complex64::ZERO })
    }

    pub(super) fn check(&self, op: &'static str, samples: usize) -> Result<()> {
        if (1..=self.capacity()).contains(&samples) {
            return Ok(());
        }
        let expected = format!("1 to {} samples", self.capacity());
        Err(Error::ShapeMismatch { op, expected, got: format!("{samples}") })
    }

    /// `X_0 .. X_(H - 1)` times `factor`; missing samples are zero, their constant too.
    pub(super) fn samples(&self, samples: &[Vec<f64>], factor: f64) -> Result<Vec<Vec<Complex64>>> {
        const OP: &str = "pack_samples";
        self.check(OP, samples.len())?;
        if let Some(other) = samples.iter().find(|sample| sample.len() != self.inputs) {
            let expected = format!("{} features in every sample", self.inputs);
            return Err(Error::ShapeMismatch { op: OP, expected, got: format!("{}", other.len()) });
        }
        if let Some(index) = samples.iter().flatten().position(|x| !x.is_finite()) {
            return Err(Error::BadValue { index, reason: "not a finite number" });
        }
        let entry = |j: usize, f: usize, s: usize| {
            let feature = (f + self.features - j) % self.features;
            let value = samples.get(f % self.groups * self.samples + s).map_or(0.0, |sample| match feature {
                constant if constant == self.inputs => 1.0,
                feature => sample.get(feature).copied().unwrap_or(0.0),
            });
            Complex64::from(factor * value)
        };
        Ok((0..self.groups).map(|j| self.vector(|f, _, s| entry(j, f, s))).collect())
    }

    /// 1 where the class is the sample's, laid out as logits are.
    pub(super) fn labels(&self, labels: &[usize]) -> Result<Vec<Complex64>> {
        self.check("pack_labels", labels.len())?;
        if let Some(index) = labels.iter().position(|&label| label >= self.outputs) {
            return Err(Error::BadValue { index, reason: "no such class" });
        }
        let hit = |f: usize, k: usize, s: usize| labels.get(f % self.groups * self.samples + s) == Some(&k);
        Ok(self.vector(|f, k, s| Complex64::from(f64::from(u8::from(hit(f, k, s))))))
    }

    /// `value` where gradients are valid, zero elsewhere.
    pub(super) fn mask(&self, value: Complex64) -> Vec<Complex64> {
        self.vector(|f, _, s| if s == 0 && f <= self.inputs { value } else { Complex64::ZERO })
    }

    /// The weight of a feature for a class; feature [`Self::inputs`] is the constant.
    pub(super) fn weight(&self, vector: &[Complex64], class: usize, feature: usize) -> Result<Complex64> {
        self.read(vector, feature, class, 0)
    }

    /// The logit of a sample for a class.
    pub(super) fn logit(&self, vector: &[Complex64], sample: usize, class: usize) -> Result<Complex64> {
        self.check("unpack_logits", sample + 1)?;
        let (group, s) = self.place(sample);
        self.read(vector, group, class, s)
    }

    /// One slot of a decrypted vector.
    pub(super) fn read(&self, vector: &[Complex64], f: usize, k: usize, s: usize) -> Result<Complex64> {
        let slot = (f * self.classes + k) * self.samples + s;
        vector.get(slot).copied().ok_or_else(|| Error::ShapeMismatch {
            op: "unpack",
            expected: format!("a vector of {} slots", self.period()),
            got: format!("{}", vector.len()),
        })
    }

    /// The mean squared error of `samples` samples (the sum over classes) from the decrypted total over `batches` mini-batches: each of a sample's errors
    /// was counted `copies` times, and `elsewhere` in every other slot.
    pub(super) fn loss(
        &self,
        total: &[Complex64],
        (samples, batches): (usize, usize),
        (copies, classes): (usize, usize),
        elsewhere: f64,
    ) -> Result<f64> {
        let (Some(total), true) = (total.first(), samples > 0) else {
            let (expected, got) = ("a vector, and at least one sample".into(), format!("{samples} samples"));
            return Err(Error::ShapeMismatch { op: "unpack_loss", expected, got });
        };
        let counted = copies as f64 * samples as f64;
        let empty = (batches as f64) * self.period() as f64 - counted * classes as f64;
        Ok((total.re - empty * elsewhere) / counted)
    }

    // --- the circuit of one layer -----------------------------------------------------------

    /// `weights` times every sample, summed over features, at the place of each class and sample. One level.
    pub(super) fn forward<E: Evaluator>(&self, eval: &E, weights: &E::Value, samples: &[E::Value]) -> Result<E::Value> {
        if samples.len() != self.groups() {
            let (expected, got) = (format!("{} values of one vector", self.groups()), format!("{}", samples.len()));
            return Err(Error::ShapeMismatch { op: "a mini-batch", expected, got });
        }
        let level = eval.level(weights);
        let below = level.0.checked_sub(1).ok_or(Error::LevelExhausted { op: "a layer", needed: 1, left: 0 })?;
        let mut turned = Vec::with_capacity(samples.len());
        turned.push(eval.drop_to(weights, level)?);
        for j in 1..samples.len() {
            turned.push(eval.rotate(&turned[j - 1], -self.feature_step())?);
        }
        let samples = samples.iter().map(|x| eval.drop_to(x, level)).collect::<Result<Vec<_>>>()?;
        let products: Vec<_> = turned.iter().zip(&samples).collect();
        sum(eval, eval.dot(&products, &[], Level(below))?, self.group_folds())
    }

    /// The error of every logit times every sample, summed over samples, at the first sample's place of each feature and class where [`Self::mask`] is
    /// not zero. One level.
    pub(super) fn backward<E: Evaluator>(&self, eval: &E, error: &E::Value, samples: &[E::Value]) -> Result<E::Value> {
        let level = eval.level(error);
        let mut gradient: Option<E::Value> = None;
        for x in samples.iter().rev() {
            let product = eval.mul(&eval.drop_to(x, level)?, error)?;
            gradient = Some(match gradient {
                Some(gradient) => eval.add(&eval.rotate(&gradient, self.feature_step())?, &product)?,
                None => product,
            });
        }
        sum(eval, gradient.expect("a mini-batch has a vector"), self.sample_folds())
    }
}

/// Adds to a value its rotation, and so on with each step: sums for steps to the left, copies for steps to the right.
pub(super) fn sum<E: Evaluator>(eval: &E, value: E::Value, steps: impl Iterator<Item = i32>) -> Result<E::Value> {
    let mut steps = steps;
    steps.try_fold(value, |sum, step| eval.add(&sum, &eval.rotate(&sum, step)?))
}

fn step(slots: usize) -> i32 {
    i32::try_from(slots).expect("rings have fewer slots than 2^31")
}

/// `first, 2 first, 4 first, ..` below `end`.
fn doublings(first: usize, end: usize) -> impl Iterator<Item = i32> {
    std::iter::successors(Some(first), |x| x.checked_mul(2)).take_while(move |&x| x < end).map(step)
}
