//! What every model that trains on encrypted data can do.

use super::accuracy::{Accuracy, Counted};
use super::reference::ClearTraining;
use crate::circuit::{Evaluator, Matrix, Plan};
use crate::ckks::{Bootstrapper, KeyRequest};
use crate::error::Result;
use crate::math::Seed;
use crate::ml::refresh::{PlannedRefresh, Refresh, Walk};
use num_complex::Complex64;

/// An encrypted, planned or clear mini-batch: what [`Trainable::pack_samples`] and [`Trainable::pack_labels`] gave, one value a vector.
#[derive(Clone, Debug)]
pub struct MiniBatch<V> {
    /// Values of one vector each.
    pub samples: Vec<V>,
    /// Laid out as logits.
    pub labels: V,
}

/// What a step leaves.
#[derive(Clone, Debug)]
pub struct Step<V> {
    /// Weights and momentum.
    pub state: V,
    /// The squared error of every probability before the step, for [`Trainable::total`].
    pub squares: V,
    /// Refreshes that it took.
    pub refreshes: u32,
}

/// A model trained on encrypted samples and labels: its packing, and its circuits.
pub trait Trainable {
    /// Entries of a vector.
    fn slots(&self) -> usize;
    /// Vectors repeat with this period: a refresh of fewer slots will do, see [`Bootstrapper::with_slots`].
    fn period(&self) -> usize;
    /// Vectors of a mini-batch.
    fn vectors(&self) -> usize;
    /// Samples that a mini-batch can hold: the wanted number, or the next power of two.
    fn capacity(&self) -> usize;
    /// Levels that a step takes without a refresh within it.
    fn depth(&self) -> u32;
    /// Levels of [`Self::logits`].
    fn logits_depth(&self) -> u32;

    // --- packing ----------------------------------------------------------------------------

    /// Samples as [`Self::vectors`] vectors, each to be encrypted as a value of its own.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] for no samples or more than [`Self::capacity`], or another number of features; [`crate::Error::BadValue`].
    fn pack_samples(&self, samples: &[Vec<f64>]) -> Result<Vec<Vec<Complex64>>>;
    /// Labels as one vector.
    ///
    /// # Errors
    /// As [`Self::pack_samples`]; [`crate::Error::BadValue`] for a class that does not exist.
    fn pack_labels(&self, labels: &[usize]) -> Result<Vec<Complex64>>;
    /// Weights to start from, one matrix a layer: zero where that will do, else drawn from the seed.
    ///
    /// # Errors
    /// None in practice: the numbers are finite.
    fn start_weights(&self, seed: &Seed) -> Result<Vec<Matrix>>;
    /// The state before the first step, to be encrypted. Momentum is zero.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] for weights of other shapes; [`crate::Error::BadValue`] for one beyond the bound on weights.
    fn pack_weights(&self, layers: &[Matrix]) -> Result<Vec<Complex64>>;
    /// The weights of a decrypted state: for each layer a row an output, the bias last.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] for a vector that is too short.
    fn unpack_weights(&self, state: &[Complex64]) -> Result<Vec<Matrix>>;
    /// Decrypted logits of `count` samples.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] for a vector that is too short, or more samples than [`Self::capacity`].
    fn unpack_logits(&self, logits: &[Complex64], count: usize) -> Result<Vec<Vec<f64>>>;
    /// The mean squared error (the sum over classes, the mean over samples: Brier's score) of `samples` samples from the decrypted total over
    /// `batches` mini-batches.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] for an empty vector or no samples.
    fn unpack_loss(&self, total: &[Complex64], samples: usize, batches: usize) -> Result<f64>;
    /// The same training in the clear, from the same weights.
    ///
    /// # Errors
    /// As [`Self::pack_weights`].
    fn in_the_clear(&self, layers: &[Matrix]) -> Result<ClearTraining>;

    // --- the circuit ------------------------------------------------------------------------

    /// One step of descent, after a refresh where too few levels are left for it.
    ///
    /// # Level and scale
    /// At most [`Self::depth`] levels below the state, or below the output of a refresh.
    /// # Errors
    /// [`crate::Error::LevelExhausted`] when there are too few levels between refreshes; [`crate::Error::LevelTooHigh`] for a mini-batch below
    /// the state's level or a refresh's; keys as [`Self::keys`] lists them; errors of [`Refresh::refresh`].
    fn step<E: Evaluator, R: Refresh<E>>(
        &self,
        eval: &E,
        refresh: &R,
        state: &E::Value,
        batch: &MiniBatch<E::Value>,
    ) -> Result<Step<E::Value>>;
    /// The sum of all slots, in every slot, for [`Self::unpack_loss`]: of the squares of one step, or of the sum of several.
    ///
    /// # Cost
    /// The logarithm of [`Self::period`] in rotations.
    /// # Errors
    /// Keys as [`Self::keys`] lists them.
    fn total<E: Evaluator>(&self, eval: &E, squares: &E::Value) -> Result<E::Value>;
    /// The logits of samples under the weights of a state, for [`Self::unpack_logits`].
    ///
    /// # Level and scale
    /// [`Self::logits_depth`] levels.
    /// # Errors
    /// [`crate::Error::LevelExhausted`]; others as [`Self::step`].
    fn logits<E: Evaluator>(&self, eval: &E, state: &E::Value, samples: &[E::Value]) -> Result<E::Value>;
    /// For the share of hits among `samples` held-out samples, sent as mini-batches of [`Self::capacity`] without labels.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] for no samples, or more than [`Self::held_out_capacity`]: count them in parts.
    fn accuracy(&self, samples: usize) -> Result<Accuracy>;
    /// Samples that [`Self::accuracy`] takes at most.
    fn held_out_capacity(&self) -> usize;

    /// Counts hits under the weights of a state. Also gives the state to go on with: it is refreshed first where too few levels are left for
    /// logits, and need not be refreshed again for the next step.
    ///
    /// # Errors
    /// As [`Self::logits`] and [`Accuracy::count`].
    fn count<E: Evaluator, R: Refresh<E>>(
        &self,
        eval: &E,
        refresh: &R,
        accuracy: &Accuracy,
        state: &E::Value,
        samples: &[Vec<E::Value>],
        labels: &E::Value,
    ) -> Result<(E::Value, Counted<E::Value>)> {
        // Logits can exceed 1, and must become differences before a refresh.
        let walk = Walk::new("Trainable::count", eval, refresh);
        let state = walk.with(eval.drop_to(state, eval.level(state))?, self.logits_depth() + 1)?;
        let logits = samples.iter().map(|x| self.logits(eval, &state, x)).collect::<Result<Vec<_>>>()?;
        let counted = accuracy.count(eval, refresh, &logits, labels)?;
        Ok((state, Counted { refreshes: counted.refreshes + walk.refreshes(), ..counted }))
    }

    // --- keys -------------------------------------------------------------------------------

    /// The keys of steps, losses, logits and hits and of the refreshes between them.
    ///
    /// # Errors
    /// [`crate::Error::LevelExhausted`] when a step takes more levels than there are between refreshes.
    fn keys(&self, circuit: &Bootstrapper) -> Result<KeyRequest> {
        Ok(self.keys_between(PlannedRefresh::from(circuit))?.merge(&circuit.keys()?))
    }

    /// As [`Self::keys`], without those of the refreshes.
    ///
    /// # Errors
    /// As [`Self::keys`].
    fn keys_between(&self, refresh: PlannedRefresh) -> Result<KeyRequest> {
        let plan = Plan::new(self.slots());
        let input = || plan.input(1);
        let batch = MiniBatch { samples: vec![input(); self.vectors()], labels: input() };
        // Steps and counting start wherever the training stands.
        let accuracy = self.accuracy(1)?;
        for spent in 0..=refresh.output.0.saturating_sub(refresh.input.0) {
            let state = plan.drop_to(&input(), plan.level(&input()).below(spent))?;
            let after = self.step(&plan, &refresh, &state, &batch)?;
            self.total(&plan, &after.squares)?;
            self.count(&plan, &refresh, &accuracy, &state, std::slice::from_ref(&batch.samples), &input())?;
        }
        Ok(KeyRequest::from_plan(&plan.report(), refresh.output))
    }
}
