//! Which evaluation keys to make, and for which levels.

use super::parameters::Parameters;
use crate::circuit::PlanReport;
use crate::error::Result;
use crate::rlwe::{Encapsulation, KeyId};
use crate::units::{GaloisElement, Level, LimbCount};
use serde::{Deserialize, Serialize};

/// The evaluation keys that a circuit needs, each with the highest level that it is used at.
///
/// A key serves its level and all below. Its size and the time to make it grow with the level, so that a key which is first used
/// deep in a circuit should not be made for the top. What is asked for without a level is made for
/// [`Parameters::max_level`]; asked for twice, a key is made for the higher of both levels.
///
/// # Example
/// ```
/// use ringlight::ckks::{KeyGenerator, KeyRequest, Parameters};
/// use ringlight::units::Level;
///
/// let parameters = Parameters::builder().log_n(11).levels(4).insecure_build()?;
/// let mut keys = KeyGenerator::new(&parameters)?;
/// let everywhere = keys.evaluation_keys(&KeyRequest::new().rotations([1, 2]))?;
/// let low = keys.evaluation_keys(&KeyRequest::new().rotations_at(Level(1), [1, 2]))?;
/// assert!(low.bytes() < everywhere.bytes());
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRequest {
    relinearization: Vec<Reach>,
    conjugation: Vec<Reach>,
    rotations: Vec<(i32, Reach)>,
    encapsulation: bool,
}

/// The highest level of a key's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Reach {
    /// So many levels below [`Parameters::max_level`], see [`Level::below`].
    Below(u32),
    At(Level),
}

impl Reach {
    fn level(self, parameters: &Parameters) -> Level {
        match self {
            Self::Below(depth) => parameters.max_level().below(depth),
            Self::At(level) => level,
        }
    }
}

impl KeyRequest {
    /// No keys: additions and known factors only.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a key for products of ciphertexts, or without any.
    pub fn relinearization(mut self, wanted: bool) -> Self {
        self.relinearization = if wanted { vec![Reach::Below(0)] } else { vec![] };
        self
    }

    /// With a key for products of ciphertexts at `level` and below.
    pub fn relinearization_at(mut self, level: Level) -> Self {
        self.relinearization.push(Reach::At(level));
        self
    }

    /// With a key for conjugation, or without any.
    pub fn conjugation(mut self, wanted: bool) -> Self {
        self.conjugation = if wanted { vec![Reach::Below(0)] } else { vec![] };
        self
    }

    /// With a key for conjugation at `level` and below.
    pub fn conjugation_at(mut self, level: Level) -> Self {
        self.conjugation.push(Reach::At(level));
        self
    }

    /// With the keys to a sparse secret and back that raising a modulus takes, where the parameters' bootstrapping asks for them.
    pub fn encapsulation(mut self, wanted: bool) -> Self {
        self.encapsulation = wanted;
        self
    }

    /// With keys for these rotations.
    pub fn rotations(mut self, steps: impl IntoIterator<Item = i32>) -> Self {
        self.rotations.extend(steps.into_iter().map(|steps| (steps, Reach::Below(0))));
        self
    }

    /// With keys for these rotations at `level` and below.
    pub fn rotations_at(mut self, level: Level, steps: impl IntoIterator<Item = i32>) -> Self {
        self.rotations.extend(steps.into_iter().map(|steps| (steps, Reach::At(level))));
        self
    }

    /// With the keys of another request too.
    pub fn merge(mut self, other: &Self) -> Self {
        self.relinearization.extend(&other.relinearization);
        self.conjugation.extend(&other.conjugation);
        self.rotations.extend(&other.rotations);
        self.encapsulation |= other.encapsulation;
        self
    }

    /// Refuses levels that the parameters do not have.
    pub(crate) fn check(&self, parameters: &Parameters) -> Result<()> {
        self.keys(parameters).map(|_| ())
    }

    /// Keys asked for; one that is asked for twice counts twice.
    pub(crate) fn count(&self) -> usize {
        self.relinearization.len() + self.conjugation.len() + self.rotations.len()
    }

    /// The keys of a planned circuit whose highest input stands at `level`: each for the level of its first use. A circuit that names
    /// levels of its own may plan more depth than there is; such keys are made for `level`.
    pub fn from_plan(plan: &PlanReport, level: Level) -> Self {
        Self::planned(plan, |depth| Reach::At(level.below(depth)))
    }

    fn planned(plan: &PlanReport, reach: impl Fn(u32) -> Reach) -> Self {
        let depths = plan.rotations.iter().zip(&plan.rotation_depths);
        Self {
            relinearization: plan.relinearization.then(|| reach(plan.relinearization_depth)).into_iter().collect(),
            conjugation: plan.conjugation.then(|| reach(plan.conjugation_depth)).into_iter().collect(),
            rotations: depths.map(|(&steps, &depth)| (steps, reach(depth))).collect(),
            encapsulation: false,
        }
    }

    /// The sparse secret's shape, if its keys are asked for and the parameters have one.
    pub(super) fn encapsulated(&self, parameters: &Parameters) -> Option<Encapsulation> {
        self.encapsulation.then(|| parameters.encapsulation()).flatten()
    }

    /// Every key with the limbs that it must cover; a key may come up several times.
    pub(crate) fn keys(&self, parameters: &Parameters) -> Result<Vec<(KeyId, LimbCount)>> {
        let log_n = parameters.log_n();
        let relinearization = self.relinearization.iter().map(|&reach| (KeyId::Relinearization, reach));
        let conjugation =
            self.conjugation.iter().map(|&reach| (KeyId::Galois(GaloisElement::conjugation(log_n)), reach));
        let rotations = self
            .rotations
            .iter()
            .map(|&(steps, reach)| (KeyId::Galois(GaloisElement::from_steps(steps, log_n)), reach));
        let all = relinearization.chain(conjugation).chain(rotations);
        all.map(|(id, reach)| Ok((id, parameters.limbs_at(reach.level(parameters))?))).collect()
    }
}

/// The keys of a planned circuit whose highest input stands at [`Parameters::max_level`].
impl From<&PlanReport> for KeyRequest {
    fn from(plan: &PlanReport) -> Self {
        Self::planned(plan, Reach::Below)
    }
}
