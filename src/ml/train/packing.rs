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

use super::accuracy::Places;
use crate::error::{Error, Result};
use num_complex::Complex64;

/// The sizes of a packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Slots of a vector.
    pub(super) slots: usize,
    /// Features of a sample, without the constant.
    pub(super) inputs: usize,
    /// Classes that exist.
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
        let bad = |what, reason: &str| Err(Error::InvalidParameter { what, reason: reason.into() });
        if inputs == 0 || outputs < 2 || batch == 0 {
            return bad("training", "at least one feature, two classes and one sample a mini-batch are needed");
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

    /// Where the logits of so many samples lie, in values of [`Self::capacity`] samples each: every value has its copies of a logit, of which
    /// the first serves the first value, and so on.
    pub(super) fn places(&self, samples: usize) -> Result<Places> {
        let (capacity, most) = (self.capacity(), self.capacity() * self.copies());
        if !(1..=most).contains(&samples) {
            let expected = format!("1 to {most} samples");
            return Err(Error::ShapeMismatch { op: "accuracy", expected, got: format!("{samples}") });
        }
        let place = |i: usize| i / self.samples * self.classes * self.samples + i % self.samples;
        let all: Vec<usize> = (0..samples).map(place).collect();
        Ok(Places {
            slots: self.slots,
            period: self.period(),
            classes: self.outputs,
            step: self.samples,
            samples: all.chunks(capacity).map(<[usize]>::to_vec).collect(),
        })
    }

    /// One vector from a formula of feature, class and sample positions.
    fn vector(&self, entry: impl Fn(usize, usize, usize) -> Complex64) -> Vec<Complex64> {
        let at = |i: usize| {
            let (f, k) = (i / (self.classes * self.samples), i / self.samples % self.classes);
            if k < self.outputs { entry(f % self.features, k, i % self.samples) } else { Complex64::ZERO }
        };
        (0..self.slots).map(at).collect()
    }

    fn check(&self, op: &'static str, samples: usize) -> Result<()> {
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
        self.read(vector, (feature * self.classes + class) * self.samples)
    }

    /// The logit of a sample for a class.
    pub(super) fn logit(&self, vector: &[Complex64], sample: usize, class: usize) -> Result<Complex64> {
        self.check("unpack_logits", sample + 1)?;
        let (group, s) = (sample / self.samples, sample % self.samples);
        self.read(vector, (group * self.classes + class) * self.samples + s)
    }

    fn read(&self, vector: &[Complex64], slot: usize) -> Result<Complex64> {
        vector.get(slot).copied().ok_or_else(|| Error::ShapeMismatch {
            op: "unpack",
            expected: format!("a vector of {} slots", self.period()),
            got: format!("{}", vector.len()),
        })
    }
}

fn step(slots: usize) -> i32 {
    i32::try_from(slots).expect("rings have fewer slots than 2^31")
}

/// `first, 2 first, 4 first, ..` below `end`.
fn doublings(first: usize, end: usize) -> impl Iterator<Item = i32> {
    std::iter::successors(Some(first), |x| x.checked_mul(2)).take_while(move |&x| x < end).map(step)
}
