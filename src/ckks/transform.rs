//! Linear maps on ciphertexts, with double hoisting.

use super::ciphertext::Ciphertext;
use super::evaluator::Evaluator;
use super::parameters::Parameters;
use crate::circuit::{LinearTransform, Schedule, steps};
use crate::error::{Error, Result};
use crate::ring::{Evaluation, RnsPoly};
use crate::rlwe::{Finish, KeyId};
use crate::units::{GaloisElement, Level};

/// A linear map on a device, encoded for one level.
#[derive(Clone, Debug)]
pub struct DeviceTransform {
    parameters: Parameters,
    level: Level,
    scale: f64,
    schedule: Schedule,
    /// The diagonals of each giant step, over the level's and the special primes.
    groups: Vec<RnsPoly<Evaluation>>,
}

impl DeviceTransform {
    /// Level it was encoded for.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Factor on its entries.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.view().shape().bytes()).sum()
    }
}

impl Evaluator {
    /// Encodes a linear map for ciphertexts at `level`, its entries at `scale`.
    ///
    /// # Shape
    /// Each diagonal becomes a polynomial over the level's *and* the special primes: products are summed before the division by `P`.
    /// # Errors
    /// [`Error::ShapeMismatch`] when the map's period does not divide the slots; [`Error::LevelExhausted`],
    /// [`Error::LevelTooHigh`]; [`Error::BadValue`] for entries too large for the modulus; out of memory.
    pub fn load_transform(&self, transform: &LinearTransform, level: Level, scale: f64) -> Result<DeviceTransform> {
        let slots = self.parameters.slots();
        transform.check("load_transform", slots, level)?;
        let basis = self.parameters.rlwe().extended(self.parameters.limbs_at(level)?);
        let group = |group: &crate::circuit::Group| -> Result<RnsPoly<Evaluation>> {
            let diagonals = group.babies.iter().map(|&j| transform.rotated_diagonal(group.giant, j, slots));
            let diagonals: Vec<_> = diagonals.collect();
            let words = self.encoder().encode_over(&diagonals, level, scale, &basis)?;
            RnsPoly::upload(self.keys.ring(), &basis, u32::try_from(diagonals.len()).expect("few diagonals"), &words)
        };
        let schedule = transform.schedule().clone();
        let groups = schedule.groups.iter().map(group).collect::<Result<_>>()?;
        Ok(DeviceTransform { parameters: self.parameters.clone(), level, scale, schedule, groups })
    }

    /// `y[i] = sum_k d_k[i] x[i + k]` for every vector of the batch, rescaled.
    ///
    /// Everything between the decomposition of `x` and the last division lives modulo `Q P`: the rotated ciphertexts of the baby steps
    /// are never divided by `P`, and a giant step divides one polynomial, the one that the next rotation decomposes.
    ///
    /// # Level and scale
    /// One level; the scale becomes the product of both divided by the level's primes.
    /// # Noise
    /// That of one key switch for each baby step, weighted by the diagonals, and of one for each giant step; one rounding.
    /// # Cost
    /// With `L` limbs, `D` digits, `K` special primes: one decomposition, then for each baby step an inner product of `D` digits; for
    /// each giant step `K + L` inverse and about `D (L + K) ` forward NTTs; one division of two polynomials.
    /// # Errors
    /// [`Error::MissingRotationKey`], [`Error::LevelMismatch`] when `a` is not at the level of the encoding, [`Error::ComponentCount`].
    /// # Source
    /// Double hoisting: Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, ePrint 2020/1203, section 5. Deviation: Horner's rule over the
    /// giant steps, with as many key switches and fewer keys.
    pub fn transform(&self, a: &Ciphertext, transform: &DeviceTransform) -> Result<Ciphertext> {
        self.pair("transform", a)?;
        let first = transform.groups.first().expect("a schedule has a group");
        self.owns("transform", &transform.parameters, first.ring().device())?;
        if a.level != transform.level {
            return Err(Error::LevelMismatch { op: "transform", left: a.level.0, right: transform.level.0 });
        }
        let level = self.next_level("transform", a.level)?;
        let element = |step: usize| GaloisElement::from_steps(steps(step), self.parameters.log_n());
        let missing = |step: usize| Error::MissingRotationKey { steps: steps(step) };
        let Schedule { babies, groups } = &transform.schedule;
        for step in babies.iter().copied().chain(transform.schedule.gaps()) {
            let op = || format!("rotate by {step} in a transform");
            self.check_key(KeyId::Galois(element(step)), a, op, missing(step))?;
        }

        let (batch, limbs) = (a.batch(), a.poly.limbs());
        let rlwe = self.parameters.rlwe();
        let raised = a.poly.raise(&rlwe.extended(limbs).slice(limbs.0, rlwe.special().0))?;
        let head = a.poly.slice(0, batch)?;
        let mut rotated = vec![(0, raised)];
        if !babies.is_empty() {
            let digits = self.keys.decompose(&a.poly.slice(batch, batch)?)?;
            for &j in babies {
                let finish = Finish { plus: Some(&head), element: element(j) };
                let image = self.keys.switch_hoisted(&digits, KeyId::Galois(element(j)), finish)?;
                rotated.push((j, image.ok_or_else(|| missing(j))?));
            }
        }
        let mut carried: Option<RnsPoly<Evaluation>> = None;
        for (group, diagonals) in groups.iter().zip(&transform.groups) {
            let inputs = group.babies.iter().map(|j| {
                let at = rotated.binary_search_by_key(j, |(step, _)| *step).expect("every baby step is rotated to");
                &rotated[at].1
            });
            let sum = RnsPoly::dot_each(diagonals, &inputs.collect::<Vec<_>>(), carried.as_ref())?;
            carried = Some(if group.gap == 0 {
                sum
            } else {
                let head = sum.slice(0, batch)?;
                let finish = Finish { plus: Some(&head), element: element(group.gap) };
                let second = sum.slice(batch, batch)?.mod_down(limbs)?;
                let image = self.keys.switch(&second, KeyId::Galois(element(group.gap)), finish)?;
                image.ok_or_else(|| missing(group.gap))?
            });
        }
        let sum = carried.expect("a schedule has a group");
        let poly = sum.mod_down(self.parameters.limbs_at(level)?)?;
        let scale = a.scale * transform.scale / self.dropped(a.level)?;
        Ok(Ciphertext { poly, level, scale, ..a.clone() })
    }
}
