//! How many held-out samples a model gets right, counted without seeing one.
//!
//! For a sample with logits `z` and label `y` the differences `z_y - z_k` to all other classes are positive for a hit. A step polynomial
//! makes each of them 0 or 1, their product over classes is 1 for a hit, and the sum over samples is the count.
//!
//! ```text
//! u = sum_v mask_v z_v              all values of logits in one vector, over twice their bound
//! t = spread(mask fold(u y))        the label's logit, in every class
//! d = t - u + y / 2                 and 1/2 where there is no class
//! q = step(d)                       one polynomial after the other
//! count = sum mask product_k q_k
//! ```

use crate::circuit::{Evaluator, Polynomial, step_stages};
use crate::error::{Error, Result};
use crate::ml::refresh::{Refresh, Walk};
use num_complex::Complex64;

/// Differences from here on, as part of twice the bound on logits, are told from zero.
const MARGIN: f64 = 1.0 / 1024.0;
/// Error of the step polynomial: what a refresh leaves.
const ERROR: f64 = 1.0 / 16384.0;
/// Every stage ends this far below 1, and the first one begins there: noise must not leave the interval of the next, beyond which a polynomial of degree 31 soon
/// is thousands.
const ROOM: f64 = 1.0 / 32.0;

/// Where the logits of held-out samples lie: that of class `k` at the sample's place plus `k step`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Slots of a vector.
    pub(super) slots: usize,
    /// Vectors repeat with this period.
    pub(super) period: usize,
    /// Classes that exist; their number rounded up to a power of two has room.
    pub(super) classes: usize,
    /// From one class to the next.
    pub(super) step: usize,
    /// For each value of logits the places of its samples. No two samples share one.
    pub(super) samples: Vec<Vec<usize>>,
}

impl Places {
    /// A vector of zeros but for `entry(value, class)` at that class of every sample, where it repeats.
    fn vector(&self, entry: impl Fn(usize, usize) -> f64) -> Vec<Complex64> {
        let mut vector = vec![Complex64::ZERO; self.period];
        for (value, places) in self.samples.iter().enumerate() {
            for (place, k) in places.iter().flat_map(|place| (0..self.padded()).map(move |k| (place, k))) {
                vector[place + k * self.step] = entry(value, k).into();
            }
        }
        vector.into_iter().cycle().take(self.slots).collect()
    }

    fn padded(&self) -> usize {
        self.classes.next_power_of_two()
    }

    fn samples(&self) -> usize {
        self.samples.iter().map(Vec::len).sum()
    }
}

/// Counts the samples whose label has the largest logit, from encrypted logits and encrypted labels.
///
/// A sample counts as 0 or 1 when its label's logit is at least [`Self::resolution`] from each other one, and as something between them when it is
/// closer: 1/2 for a tie of two.
///
/// # Level and scale
/// One level, and on from there as many as it takes ([`Self::depth`]), with a refresh wherever too few are left.
/// # Cost
/// The relinearizations of the step polynomial, `1 + log2(K)` others for `K` classes, and `3 log2(K)` and the logarithm of the period in
/// rotations, whatever the number of samples; refreshes: [`Counted::refreshes`].
/// # Source
/// The step: Lee, Lee, No and Kim, ePrint 2020/834.
#[derive(Clone, Debug)]
pub struct Accuracy {
    places: Places,
    /// A value of logits times this is at most 1/2, with some room.
    factor: f64,
    /// A difference of logits over this is a difference as the step takes it.
    unit: f64,
    stages: Vec<Polynomial>,
    /// What a certain win is worth after the last stage: no more than 1 with its error, where a refresh ends.
    win: f64,
}

/// An encrypted, planned or clear count.
#[derive(Clone, Debug)]
pub struct Counted<V> {
    /// The number of hits in every slot, for [`Accuracy::unpack`].
    pub hits: V,
    /// Refreshes that it took.
    pub refreshes: u32,
}

impl Accuracy {
    /// For logits that are `logit` over `unit`, and at most `bound`.
    ///
    /// # Errors
    /// As [`crate::circuit::Approximation::step`].
    pub(super) fn new(places: Places, unit: f64, bound: f64) -> Result<Self> {
        let (mut stages, error) = step_stages(MARGIN, ERROR, ROOM)?;
        let win = 1.0 / (1.0 + error);
        if let Some(last) = stages.last_mut() {
            *last = Polynomial::chebyshev(last.coefficients().iter().map(|c| c * win).collect(), -1.0, 1.0)?;
        }
        // The 1/2 of an absent class stays above every logit by more than the margin.
        let room = 1.0 - ROOM;
        Ok(Self { places, factor: room * unit / (2.0 * bound), unit: 2.0 * bound / room, stages, win })
    }

    /// Samples that are counted.
    pub fn samples(&self) -> usize {
        self.places.samples()
    }

    /// Values of logits that they come in.
    pub fn values(&self) -> usize {
        self.places.samples.len()
    }

    /// Two logits closer than this make their sample count for a part.
    pub fn resolution(&self) -> f64 {
        MARGIN * self.unit
    }

    /// Levels in all, were there no refresh.
    pub fn depth(&self) -> u32 {
        4 + self.stages.iter().map(Polynomial::depth).sum::<u32>() + self.places.padded().ilog2()
    }

    /// Labels as one vector, each where the logits of its sample are.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of labels; [`Error::BadValue`] for a class that does not exist.
    pub fn pack_labels(&self, labels: &[usize]) -> Result<Vec<Complex64>> {
        if labels.len() != self.samples() {
            let (expected, got) = (format!("{} labels", self.samples()), format!("{}", labels.len()));
            return Err(Error::ShapeMismatch { op: "Accuracy::pack_labels", expected, got });
        }
        if let Some(index) = labels.iter().position(|&label| label >= self.places.classes) {
            return Err(Error::BadValue { index, reason: "no such class" });
        }
        let mut vector = vec![Complex64::ZERO; self.places.period];
        for (place, label) in self.places.samples.iter().flatten().zip(labels) {
            vector[place + label * self.places.step] = Complex64::ONE;
        }
        Ok(vector.into_iter().cycle().take(self.places.slots).collect())
    }

    /// Counts hits among the samples whose logits come as [`Self::values`] values, by their packed labels.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other numbers of values; [`Error::LevelExhausted`] when the logits have no level left, or a polynomial takes more than there
    /// are between refreshes; [`Error::LevelTooHigh`] for labels that are not above the level that the logits or a refresh leave; keys; errors of
    /// [`Refresh::refresh`].
    pub fn count<E: Evaluator, R: Refresh<E>>(
        &self,
        eval: &E,
        refresh: &R,
        logits: &[E::Value],
        labels: &E::Value,
    ) -> Result<Counted<E::Value>> {
        let Some((first, places)) = logits.first().filter(|_| logits.len() == self.values()).zip(Some(&self.places))
        else {
            let (expected, got) = (format!("{} values of logits", self.values()), format!("{}", logits.len()));
            return Err(Error::ShapeMismatch { op: "Accuracy::count", expected, got });
        };
        let walk = Walk::new("Accuracy::count", eval, refresh);
        let folds = |count: usize, step: usize| (0..count.ilog2()).map(move |i| to_steps(step << i));
        let classes = || folds(places.padded(), places.step);

        // Each sample from its own value; nothing where there is no sample or class.
        let level = eval.level(first);
        let masks = (0..logits.len()).map(|v| {
            let mask = places.vector(|value, k| if value == v && k < places.classes { self.factor } else { 0.0 });
            eval.encode(&[mask], level)
        });
        let masks = masks.collect::<Result<Vec<_>>>()?;
        let u = walk.with(eval.dot_plain(&logits.iter().zip(&masks).collect::<Vec<_>>())?, 2)?;

        let own = eval.mul(&u, &eval.drop_to(labels, eval.level(&u))?)?;
        let own = classes().try_fold(own, |sum, step| eval.add(&sum, &eval.rotate(&sum, step)?))?;
        let first_class = eval.encode(&[places.vector(|_, k| f64::from(u8::from(k == 0)))], eval.level(&own))?;
        let own = eval.dot_plain(&[(&own, &first_class)])?;
        let own = classes().try_fold(own, |sum, step| eval.add(&sum, &eval.rotate(&sum, -step)?))?;

        let level = eval.level(&own);
        let ahead = eval.sub(&own, &eval.drop_to(&u, level)?)?;
        let absent = eval.encode(&[places.vector(|_, k| if k < places.classes { 0.0 } else { 0.5 })], level)?;
        let half_labels = eval.dot_scalars(&[(labels, 0.5)], level)?;
        let ahead = eval.add(&eval.add_plain(&ahead, &absent)?, &half_labels)?;

        let won = self.stages.iter().try_fold(ahead, |x, p| p.evaluate(eval, &walk.with(x, p.depth())?))?;
        let hit = classes().try_fold(won, |product, step| {
            let product = walk.with(product, 1)?;
            eval.mul(&product, &eval.rotate(&product, step)?)
        })?;
        let hit = walk.with(hit, 1)?;
        let whole = self.win.powi(-i32::try_from(places.padded()).unwrap_or(i32::MAX));
        let mask = eval.encode(&[places.vector(|_, k| if k == 0 { whole } else { 0.0 })], eval.level(&hit))?;
        let hits = eval.dot_plain(&[(&hit, &mask)])?;
        let hits = folds(places.period, 1).try_fold(hits, |sum, step| eval.add(&sum, &eval.rotate(&sum, step)?))?;
        Ok(Counted { hits, refreshes: walk.refreshes() })
    }

    /// The share of hits from the decrypted count.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an empty vector.
    pub fn unpack(&self, hits: &[Complex64]) -> Result<f64> {
        let Some(hits) = hits.first() else {
            let (expected, got) = ("a vector".into(), "an empty one".into());
            return Err(Error::ShapeMismatch { op: "Accuracy::unpack", expected, got });
        };
        Ok(hits.re / self.samples() as f64)
    }
}

fn to_steps(slots: usize) -> i32 {
    i32::try_from(slots).expect("rings have fewer slots than 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Clear;
    use crate::ml::train::PlannedRefresh;
    use crate::units::Level;

    #[test]
    fn the_stages_keep_their_room_and_end_within_the_error() -> Result<()> {
        let places = Places { slots: 8, period: 8, classes: 2, step: 1, samples: vec![vec![0]] };
        let accuracy = Accuracy::new(places, 1.0, 1.0)?;
        let (last, before) = accuracy.stages.split_last().expect("a step has stages");
        for k in 0..=100_000 {
            let part = f64::from(k) / 1e5;
            for u in [MARGIN + (1.0 - MARGIN) * part, MARGIN.powf(part), MARGIN * part] {
                let end = before.iter().fold(u, |u, p| {
                    let next = p.at(u);
                    assert!((0.0..=1.0 - 0.99 * ROOM).contains(&next), "{u}: {next}");
                    next
                });
                let (won, lost) = (last.at(end), last.at(-end));
                assert!(won <= 1.0 + 1e-12 && (won + lost - accuracy.win).abs() < 1e-12, "{u}: {won} {lost}");
                assert!(u < MARGIN || lost.abs() <= ERROR, "{u}: {lost}");
            }
        }
        Ok(())
    }

    /// Five samples in two values of logits, three classes that have room for four, everything twice in the slots.
    #[test]
    fn hits_are_counted_as_by_comparison_and_ties_in_part() -> Result<()> {
        let places = Places { slots: 64, period: 32, classes: 3, step: 2, samples: vec![vec![0, 1, 8], vec![17, 24]] };
        let accuracy = Accuracy::new(places.clone(), 2.0, 10.0)?;
        assert_eq!((accuracy.samples(), accuracy.values(), accuracy.depth()), (5, 2, 4 + 14 + 2));
        let near = 1.01 * accuracy.resolution();
        assert!((0.019..0.022).contains(&near), "{near}");
        let refresh = PlannedRefresh { input: Level(2), output: Level(8) };
        let clear = Clear::new(64, refresh.output);
        let count = |logits: [[f64; 3]; 5], labels: [usize; 5], level: u32| -> Result<(f64, u32)> {
            // What other samples and absent classes leave elsewhere must not matter.
            let mut values = vec![vec![Complex64::from(0.7); 64]; 2];
            let owners = places.samples.iter().enumerate().flat_map(|(v, p)| p.iter().map(move |p| (v, p)));
            for ((value, place), logits) in owners.zip(logits) {
                for (k, z) in logits.into_iter().enumerate() {
                    values[value][place + 2 * k] = Complex64::from(z / 2.0);
                    values[value][place + 2 * k + 32] = Complex64::from(z / 2.0);
                }
            }
            let load = |v: &Vec<Complex64>| clear.value(std::slice::from_ref(v), Level(level));
            let values = values.iter().map(load).collect::<Result<Vec<_>>>()?;
            let labels = clear.value(&[accuracy.pack_labels(&labels)?], refresh.output)?;
            let counted = accuracy.count(&clear, &refresh, &values, &labels)?;
            Ok((5.0 * accuracy.unpack(&counted.hits.vectors()[0])?, counted.refreshes))
        };
        // The extremes, both ways; the least difference that is told, both ways; all negative.
        let told = [[10.0, -10.0, -10.0], [-10.0, 10.0, 0.0], [0.0, 0.0, near], [near, 0.0, 0.0], [-9.0, -9.0, -8.0]];
        for (labels, hits) in
            [([0, 1, 2, 0, 2], 5.0), ([1, 0, 0, 1, 0], 0.0), ([0, 0, 2, 2, 2], 3.0), ([2, 2, 1, 0, 1], 1.0)]
        {
            // Levels may run out anywhere.
            for level in 3..=8 {
                let (got, refreshes) = count(told, labels, level)?;
                assert!((got - hits).abs() < 5.0 * 8.0 * ERROR, "{labels:?} from {level}: {got}");
                assert!((4..=5).contains(&refreshes), "{refreshes} refreshes from level {level}");
            }
        }
        let ties = [[3.0, 3.0, 1.0], [2.0, 2.0, 2.0], [1.0, 5.0, 5.0], [0.0, 4.0, 0.0], [0.0; 3]];
        let (got, _) = count(ties, [0, 1, 0, 1, 2], 8)?;
        assert!((got - (0.5 + 0.25 + 0.0 + 1.0 + 0.25)).abs() < 1e-3, "{got}");
        assert!(matches!(count(ties, [0; 5], 2), Err(Error::LevelExhausted { .. })));
        assert!(matches!(accuracy.pack_labels(&[0; 4]), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(accuracy.pack_labels(&[0, 1, 2, 3, 0]), Err(Error::BadValue { index: 3, .. })));
        assert!(matches!(accuracy.unpack(&[]), Err(Error::ShapeMismatch { .. })));
        let labels = clear.value(&[vec![]], refresh.output)?;
        let none = accuracy.count(&clear, &refresh, &[], &labels).map(|_| ());
        assert!(matches!(none, Err(Error::ShapeMismatch { .. })));
        let short = PlannedRefresh { input: Level(0), output: Level(4) };
        let value = clear.value(&[vec![]], Level(4))?;
        let got = accuracy.count(&clear, &short, &[value.clone(), value], &labels).map(|_| ());
        assert_eq!(got, Err(Error::LevelExhausted { op: "Accuracy::count", needed: 5, left: 4 }));
        Ok(())
    }
}
