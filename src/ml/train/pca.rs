//! Principal components of encrypted samples.
//!
//! Slots are samples x rows x columns, each a power of two, the last the lowest: `slot((s, i, j)) = (s D + i) D + j`. The owner sends feature `i` of
//! every sample in one vector and feature `j` in another, so that one product and a sum over the samples, which is cyclic, leave the covariance everywhere, with
//! period `D D`. It is symmetric: a vector that lies along rows comes out of the product with it along columns, and the other way round.
//!
//! ```text
//! rows     v_i at (i, j)     y_j = sum_i C_ij v_i     cyclic: every row holds it
//! columns  v_j at (i, j)     y_i = sum_j C_ij v_j     right at j = 0 alone: a mask, then spread over j
//! ```

use crate::circuit::{Evaluator, Plan, Polynomial, interpolate};
use crate::ckks::{Bootstrapper, KeyRequest};
use crate::error::{Error, Result};
use crate::ml::refresh::{PlannedRefresh, Refresh, Walk};
use num_complex::Complex64;

/// What is fitted, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PcaSettings {
    /// Numbers of a sample.
    pub features: usize,
    /// Samples in all.
    pub samples: usize,
    /// Components, largest variance first.
    pub components: usize,
    /// Products with the covariance for each. The part of the next component that is left falls by the ratio of both variances each time.
    pub iterations: usize,
    /// No direction may have a larger variance: the fit would diverge, and what comes out mean nothing. Components down to a sixth of this, or
    /// of 2, are found; smaller ones die out.
    pub largest: f64,
}

/// Principal components by power iteration on the encrypted covariance, one after the other, each taken off before the next.
///
/// Nothing is decrypted on the way. Samples must be centred, with a variance of at most 1 in each feature: the owner's part before encryption.
///
/// An iteration is `v <- y p(|y|^2)` with `y = C v` and a polynomial `p` of degree 7 for the inverse square root, which is rough (an eighth) but keeps
/// the length where a refresh can take it: it decides no direction. At the end three of Newton's steps `v <- v (3 - |v|^2) / 2` make the length 1 to
/// [`Self::length_error`], and `C <- C - (C v) v^T`.
///
/// # Level and scale
/// 7 levels between refreshes; one refresh for each iteration.
/// # Cost
/// For `D` features, rounded up to a power of two: an iteration takes a product, a square and a polynomial of degree 7 and `2 log2(D)` rotations, every second one
/// `log2(D)` more and a mask.
/// # Source
/// Panda, "Principal component analysis using CKKS homomorphic encryption scheme" (2021): power iteration under CKKS. Deviations: the covariance is formed once,
/// in one vector with the iterate; lengths need no more than a polynomial between iterations; bootstraps.
/// Deflation: Mackey, "Deflation methods for sparse PCA", NIPS 2008.
#[derive(Clone, Debug)]
pub struct Pca {
    settings: PcaSettings,
    slots: usize,
    /// `D`.
    side: usize,
    /// Of `|y|^2`: the length of iterates over its root.
    inverse_root: Polynomial,
    /// Length of the iterates.
    length: f64,
    length_error: f64,
}

/// Encrypted, planned or clear samples: what [`Pca::pack`] gave.
#[derive(Clone, Debug)]
pub struct PcaSamples<V> {
    /// Features along rows, some samples a value.
    pub rows: Vec<V>,
    /// Features along columns, the same samples.
    pub columns: Vec<V>,
}

/// A component under encryption, and what is left.
#[derive(Clone, Debug)]
pub struct Extracted<V> {
    /// Direction and its product with the covariance, for [`Pca::unpack`].
    pub component: V,
    /// The covariance without it.
    pub rest: V,
    /// Refreshes that it took.
    pub refreshes: u32,
}

/// A principal component.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Of length 1; its sign means nothing.
    pub direction: Vec<f64>,
    /// Variance of the samples along it.
    pub variance: f64,
}

/// How a vector lies among rows and columns.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    Rows,
    Columns,
}

/// Covariances are kept divided by this: what noise adds to a variance of 1 must not exceed what a refresh takes.
const ROOM: f64 = 1.25;
/// Products of samples are this much larger until they are added up, and their noise with them.
const GAIN: f64 = 64.0;
/// `p` serves squared lengths from here on and 2 more, so that its interval is as wide as [-1, 1].
const LOWEST: f64 = 1.0 / 32.0;
/// Of `p`.
const DEGREE: usize = 7;
/// Bounds on variances below this are taken for it.
const SMALLEST_BOUND: f64 = 2.0;
/// Newton's steps at the end.
const POLISHES: usize = 3;

impl Pca {
    /// For vectors of `slots` entries, a power of two.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for settings that nothing can be fitted with; [`Error::TooManyValues`] when the covariance has more entries than
    /// there are slots.
    pub fn new(settings: PcaSettings, slots: usize) -> Result<Self> {
        crate::circuit::check_slots(slots)?;
        let bad = |what, reason: String| Err(Error::InvalidParameter { what, reason });
        if !slots.is_power_of_two() {
            return bad("slots", format!("{slots} is no power of two"));
        }
        let s = settings;
        if s.features < 2 || s.samples == 0 || !(1..=s.features).contains(&s.components) || s.iterations == 0 {
            let reason = "at least two features, one sample and one iteration, and no more components than features";
            return bad("PCA", reason.into());
        }
        if !(1e-3..=s.features as f64).contains(&s.largest) {
            let reason = format!("{}; variances of at most 1 add up to at most {}", s.largest, s.features);
            return bad("largest", reason);
        }
        let side = s.features.checked_next_power_of_two().unwrap_or(usize::MAX);
        let entries = side.saturating_mul(side);
        if entries > slots {
            return Err(Error::TooManyValues { slots, got: entries });
        }
        // The longest y has the square 2, which p still serves. A longer iterate is nothing that a refresh takes.
        let length = 2f64.sqrt() * ROOM / s.largest.max(SMALLEST_BOUND);
        let root = |n: f64| n.sqrt().recip();
        let rough = interpolate("1/sqrt", root, LOWEST, LOWEST + 2.0, DEGREE)?;
        let points = (0..=1000).map(|k| LOWEST + 2.0 * f64::from(k) / 1000.0);
        let longest = points.map(|n| rough.at(n) * n.sqrt()).fold(0.0, f64::max);
        // With noise no length exceeds the wanted one.
        let coefficients = rough.coefficients().iter().map(|c| c * length / (1.001 * longest)).collect();
        let inverse_root = Polynomial::chebyshev(coefficients, LOWEST, LOWEST + 2.0)?;
        let length_error = polished_error(&inverse_root, length);
        Ok(Self { settings, slots, side, inverse_root, length, length_error })
    }

    /// What is fitted, and how.
    pub fn settings(&self) -> &PcaSettings {
        &self.settings
    }

    /// The covariance repeats with this period: a refresh of so many slots will do, see [`Bootstrapper::with_slots`].
    pub fn period(&self) -> usize {
        self.side * self.side
    }

    /// Values that the samples come in, twice.
    pub fn vectors(&self) -> usize {
        self.settings.samples.div_ceil(self.samples_a_vector())
    }

    /// Largest distance of a direction's length from 1 under encryption, for variances from a sixth of the bound on, noise aside. The owner
    /// corrects it; in the next component it leaves so much of this one, twice.
    pub fn length_error(&self) -> f64 {
        self.length_error
    }

    /// Levels that are needed between refreshes.
    pub fn depth(&self) -> u32 {
        self.product_depth(Along::Columns) + self.normalise_depth()
    }

    fn samples_a_vector(&self) -> usize {
        self.slots / self.period()
    }

    /// The keys of [`Self::covariance`] and [`Self::extract`] and of the refreshes between.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when an iteration takes more levels than there are between refreshes.
    pub fn keys(&self, circuit: &Bootstrapper) -> Result<KeyRequest> {
        Ok(self.keys_between(PlannedRefresh::from(circuit))?.merge(&circuit.keys()?))
    }

    /// As [`Self::keys`], without those of the refreshes.
    ///
    /// # Errors
    /// As [`Self::keys`].
    pub fn keys_between(&self, refresh: PlannedRefresh) -> Result<KeyRequest> {
        let plan = Plan::new(self.slots);
        let vectors = || (0..self.vectors()).map(|_| plan.input(1)).collect();
        let mut rest = self.covariance(&plan, &PcaSamples { rows: vectors(), columns: vectors() })?;
        for _ in 0..self.settings.components {
            rest = self.extract(&plan, &refresh, &rest)?.rest;
        }
        Ok(KeyRequest::from_plan(&plan.report(), refresh.output))
    }

    // --- packing ----------------------------------------------------------------------------

    /// All samples, each vector to be encrypted as a value of its own.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other numbers of samples or features; [`Error::BadValue`] for a number that is not finite, or, counting
    /// features, one whose squares have a mean above 1.
    pub fn pack(&self, samples: &[Vec<f64>]) -> Result<PcaSamples<Vec<Complex64>>> {
        let s = &self.settings;
        if samples.len() != s.samples || samples.iter().any(|x| x.len() != s.features) {
            let (expected, got) = (format!("{} samples of {} features", s.samples, s.features), "others".into());
            return Err(Error::ShapeMismatch { op: "Pca::pack", expected, got });
        }
        if let Some(index) = samples.iter().flatten().position(|x| !x.is_finite()) {
            return Err(Error::BadValue { index, reason: "not a finite number" });
        }
        let count = s.samples as f64;
        let square = |f: usize| samples.iter().map(|x| x[f] * x[f]).sum::<f64>() / count;
        if let Some(index) = (0..s.features).find(|&f| square(f) > 1.0 + 1e-9) {
            return Err(Error::BadValue { index, reason: "the squares of this feature have a mean above 1" });
        }
        let factor = (GAIN / (count * ROOM)).sqrt();
        let pack = |along: Along, samples: &[Vec<f64>]| {
            let entry = |slot: usize| {
                let sample = samples.get(slot / self.period());
                sample.and_then(|x| x.get(self.feature(along, slot))).map_or(0.0, |x| factor * x).into()
            };
            (0..self.slots).map(entry).collect::<Vec<Complex64>>()
        };
        let all = |along| samples.chunks(self.samples_a_vector()).map(|chunk| pack(along, chunk)).collect();
        Ok(PcaSamples { rows: all(Along::Rows), columns: all(Along::Columns) })
    }

    /// The entry of a vector at a slot.
    fn feature(&self, along: Along, slot: usize) -> usize {
        if along == Along::Rows { slot / self.side % self.side } else { slot % self.side }
    }

    /// The component that a decrypted value holds.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a vector that is too short; [`Error::BadValue`] for one without a direction.
    pub fn unpack(&self, component: &[Complex64]) -> Result<Component> {
        if component.len() < self.period() {
            let (expected, got) = (format!("a vector of {} slots", self.period()), format!("{}", component.len()));
            return Err(Error::ShapeMismatch { op: "Pca::unpack", expected, got });
        }
        let slot = |along, feature: usize| if along == Along::Rows { feature * self.side } else { feature };
        let along = self.along_at_the_end();
        let features = 0..self.settings.features;
        let direction: Vec<f64> = features.clone().map(|f| component[slot(along, f)].re).collect();
        let product: Vec<f64> = features.map(|f| component[slot(along.other(), f)].im).collect();
        let square: f64 = direction.iter().map(|v| v * v).sum();
        if !(square.is_finite() && square > 1e-6) {
            return Err(Error::BadValue {
                index: 0,
                reason: "no direction; the variance was too small, or above the bound",
            });
        }
        let variance = ROOM * direction.iter().zip(&product).map(|(v, y)| v * y).sum::<f64>() / square;
        Ok(Component { direction: direction.iter().map(|v| v / square.sqrt()).collect(), variance })
    }

    fn along_at_the_end(&self) -> Along {
        if self.settings.iterations.is_multiple_of(2) { Along::Rows } else { Along::Columns }
    }

    // --- the circuit ------------------------------------------------------------------------

    /// The covariance of all samples.
    ///
    /// # Level and scale
    /// Two levels.
    /// # Cost
    /// One relinearization, and the logarithm of the samples a vector in rotations.
    /// # Errors
    /// [`Error::ShapeMismatch`] for other numbers of values; [`Error::LevelExhausted`]; keys as [`Self::keys`] lists them.
    pub fn covariance<E: Evaluator>(&self, eval: &E, samples: &PcaSamples<E::Value>) -> Result<E::Value> {
        let pairs: Vec<_> = samples.rows.iter().zip(&samples.columns).collect();
        let whole = [samples.rows.len(), samples.columns.len()] == [self.vectors(); 2];
        let Some((first, _)) = pairs.first().filter(|_| whole) else {
            let (expected, got) = (format!("{} values of either kind", self.vectors()), "others".into());
            return Err(Error::ShapeMismatch { op: "Pca::covariance", expected, got });
        };
        let left = eval.level(first).0;
        if left < 2 {
            return Err(Error::LevelExhausted { op: "Pca::covariance", needed: 2, left });
        }
        let sum = eval.dot(&pairs, &[], eval.level(first).below(1))?;
        let sum = add_up(eval, sum, self.period(), self.samples_a_vector())?;
        eval.mul_scalar(&sum, 1.0 / GAIN)
    }

    /// The direction of the largest variance, and the covariance without it.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when there are fewer levels than [`Self::depth`] between refreshes; keys as [`Self::keys`] lists them; errors of
    /// [`Refresh::refresh`].
    pub fn extract<E: Evaluator, R: Refresh<E>>(
        &self,
        eval: &E,
        refresh: &R,
        covariance: &E::Value,
    ) -> Result<Extracted<E::Value>> {
        let walk = Walk::new("Pca::extract", eval, refresh);
        let covariance = walk.with(eval.drop_to(covariance, eval.level(covariance))?, self.depth())?;

        // From a start that no component of real data is orthogonal to.
        let start = eval.encode(&[self.start()], eval.level(&covariance))?;
        let product = eval.dot_plain(&[(&covariance, &start)])?;
        let mut along = Along::Columns;
        let mut vector = self.normalise(eval, along, &self.gather(eval, along, product)?)?;
        for _ in 1..self.settings.iterations {
            vector = walk.with(vector, self.product_depth(along) + self.normalise_depth())?;
            let product = self.product(eval, &covariance, along, &vector)?;
            along = along.other();
            vector = self.normalise(eval, along, &product)?;
        }
        for polish in 1..=POLISHES {
            let length = if polish == POLISHES { 1.0 } else { self.length };
            vector = self.polish(eval, along, &walk.with(vector, 2)?, length)?;
        }
        let vector = walk.with(vector, self.product_depth(along) + 1)?;
        let product = self.product(eval, &covariance, along, &vector)?;
        let vector = eval.drop_to(&vector, eval.level(&product))?;
        let outer = eval.mul(&product, &vector)?;
        let rest = eval.sub(&eval.drop_to(&covariance, eval.level(&outer))?, &outer)?;
        let component = eval.add(&vector, &eval.mul_i(&product)?)?;
        Ok(Extracted { component, rest, refreshes: walk.refreshes() })
    }

    /// Along rows, of the length of iterates, all entries different.
    fn start(&self) -> Vec<Complex64> {
        let entry = |f: usize| 0.5 + (f as f64 * 0.618_033_988_749_895).fract();
        let features = 0..self.settings.features;
        let factor = self.length / features.clone().map(|f| entry(f).powi(2)).sum::<f64>().sqrt();
        let at = |slot: usize| Some(self.feature(Along::Rows, slot)).filter(|f| features.contains(f));
        (0..self.slots).map(|slot| at(slot).map_or(0.0, |f| factor * entry(f)).into()).collect()
    }

    /// Levels of a product with a vector that lies along so.
    fn product_depth(&self, along: Along) -> u32 {
        if along == Along::Rows { 1 } else { 2 }
    }

    fn normalise_depth(&self) -> u32 {
        2 + self.inverse_root.depth()
    }

    /// The covariance times a vector, which then lies along the other way.
    fn product<E: Evaluator>(&self, eval: &E, covariance: &E::Value, along: Along, v: &E::Value) -> Result<E::Value> {
        let level = eval.level(covariance).min(eval.level(v));
        let product = eval.mul(&eval.drop_to(covariance, level)?, &eval.drop_to(v, level)?)?;
        self.gather(eval, along.other(), product)
    }

    /// Adds up what becomes a vector that lies along so.
    fn gather<E: Evaluator>(&self, eval: &E, along: Along, product: E::Value) -> Result<E::Value> {
        if along == Along::Columns {
            return add_up(eval, product, self.side, self.side);
        }
        let sum = add_up(eval, product, 1, self.side)?;
        let first = (0..self.slots).map(|slot| f64::from(u8::from(slot % self.side == 0)).into()).collect();
        let first = eval.encode(&[first], eval.level(&sum))?;
        let sum = eval.dot_plain(&[(&sum, &first)])?;
        (0..self.side.ilog2()).try_fold(sum, |sum, k| eval.add(&sum, &eval.rotate(&sum, -(1 << k))?))
    }

    /// The square of the length, in every slot.
    fn square<E: Evaluator>(&self, eval: &E, along: Along, v: &E::Value) -> Result<E::Value> {
        add_up(eval, eval.square(v)?, if along == Along::Rows { self.side } else { 1 }, self.side)
    }

    /// `y p(|y|^2)`.
    fn normalise<E: Evaluator>(&self, eval: &E, along: Along, y: &E::Value) -> Result<E::Value> {
        let factor = self.inverse_root.evaluate(eval, &self.square(eval, along, y)?)?;
        eval.mul(&eval.drop_to(y, eval.level(&factor))?, &factor)
    }

    /// One step of Newton's towards the length of iterates, then scaled to another.
    fn polish<E: Evaluator>(&self, eval: &E, along: Along, v: &E::Value, length: f64) -> Result<E::Value> {
        let square = self.square(eval, along, v)?;
        let scale = length / self.length;
        let level = eval.level(&square);
        let part = eval.dot_scalars(&[(v, -0.5 * scale / self.length.powi(2))], level)?;
        eval.dot(&[(&part, &square)], &[(v, 1.5 * scale)], level.below(1))
    }
}

impl Along {
    fn other(self) -> Self {
        if self == Self::Rows { Self::Columns } else { Self::Rows }
    }
}

/// `sum_k rot_(k step)(x)` for `k` below `count`, a power of two.
fn add_up<E: Evaluator>(eval: &E, x: E::Value, step: usize, count: usize) -> Result<E::Value> {
    (0..count.ilog2()).try_fold(x, |sum, k| {
        let step = i32::try_from(step << k).expect("rings have fewer slots than 2^31");
        eval.add(&sum, &eval.rotate(&sum, step)?)
    })
}

/// The largest relative error of the length after the last of Newton's steps, over variances from a sixth of the bound on, where iterates have come to rest.
fn polished_error(inverse_root: &Polynomial, length: f64) -> f64 {
    let error = |k: u32| {
        let gain = 2f64.sqrt() / length * (1.0 / 6.0 + 5.0 / 6.0 * f64::from(k) / 200.0);
        let iterate = |v: f64, _| gain * v * inverse_root.at((gain * v).powi(2));
        let rest = (0..200).fold(length, iterate) / length;
        let polished = (0..POLISHES).fold(rest, |v, _| v * (3.0 - v * v) / 2.0);
        (polished - 1.0).abs()
    };
    (0..=200).map(error).fold(0.0, f64::max)
}

/// The definition: principal components of centred samples in the clear, by as many iterations as it takes.
///
/// # Errors
/// [`Error::ShapeMismatch`] for no samples, samples of different lengths, or more components than features.
pub fn principal_components(samples: &[Vec<f64>], components: usize) -> Result<Vec<Component>> {
    let features = samples.first().map_or(0, Vec::len);
    if components > features || samples.iter().any(|x| x.len() != features) {
        let (expected, got) = (format!("samples of {components} features or more"), format!("{features}"));
        return Err(Error::ShapeMismatch { op: "principal_components", expected, got });
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let entry = |i: usize, j: usize| samples.iter().map(|x| x[i] * x[j]).sum::<f64>() / samples.len() as f64;
    let mut covariance: Vec<Vec<f64>> = (0..features).map(|i| (0..features).map(|j| entry(i, j)).collect()).collect();
    let mut found = vec![];
    for _ in 0..components {
        let mut direction: Vec<f64> = (0..features).map(|f| 1.0 + (f as f64).sin() / 2.0).collect();
        let mut variance = 0.0;
        for _ in 0..20_000 {
            let product: Vec<f64> = covariance.iter().map(|row| dot(row, &direction)).collect();
            variance = dot(&product, &product).sqrt();
            direction = product.iter().map(|y| y / variance.max(f64::MIN_POSITIVE)).collect();
        }
        for (row, v) in covariance.iter_mut().zip(&direction) {
            row.iter_mut().zip(&direction).for_each(|(c, w)| *c -= variance * v * w);
        }
        found.push(Component { direction, variance });
    }
    Ok(found)
}
