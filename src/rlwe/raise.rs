//! Raising the modulus of ciphertexts, under a sparse secret where one is wanted.

use super::keys::KeyId;
use super::switch::{Digits, Finish, KeySwitcher};
use super::{Gadget, Parameters};
use crate::device::Basis;
use crate::error::{Error, Result};
use crate::ring::{Evaluation, RnsPoly};
use crate::units::{GaloisElement, LimbCount};

/// An ephemeral sparse secret: its weight, and where the key to it lives.
///
/// Only ciphertexts over the chain's first `base` limbs are brought under it, by a key over those limbs and the first `special` special
/// primes: that product is the only modulus that the sparse secret has to be secure at. The way back is a key *from* it, under
/// the ring's own secret.
///
/// # Source
/// Bossuat, Troncoso-Pastoriza, Hubaux, ePrint 2022/024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    /// Nonzero coefficients of the sparse secret.
    pub weight: u32,
    /// Limbs of the ciphertexts that come under it.
    pub base: LimbCount,
    /// Special primes of the key to it.
    pub special: LimbCount,
}

impl Encapsulation {
    /// The key switch to the sparse secret: the base in one digit.
    pub(super) fn inward(self, parameters: &Parameters) -> Result<Gadget> {
        let (base, special) = (self.base, self.special);
        if base.0 == 0 || base > parameters.chain() || special.0 == 0 || special > parameters.special() {
            let reason = format!("{} limbs under {} special primes", base.0, special.0);
            return Err(Error::InvalidParameter { what: "encapsulation", reason });
        }
        Ok(Gadget::new(parameters.basis(base), parameters.all().slice(parameters.chain().0, special.0), base.0))
    }

    /// The key switch back: the whole chain in one digit. The operand is below half the base's modulus, which is its own digit.
    pub(super) fn outward(self, parameters: &Parameters) -> Gadget {
        Gadget::new(parameters.basis(parameters.chain()), special(parameters), parameters.chain().0)
    }
}

fn special(parameters: &Parameters) -> Basis {
    parameters.all().slice(parameters.chain().0, parameters.special().0)
}

impl KeySwitcher {
    /// Pairs modulo `q_0` as pairs modulo the first `limbs` limbs of the chain: encryptions of `m + q_0 I` for some small polynomial `I`, under
    /// the same secret.
    ///
    /// # Shape
    /// `2 B` polynomials over a prefix of the chain, component-major; as many over `limbs` limbs.
    /// # Noise
    /// `I` is about `(c_0 + c_1 s) / q_0`: with `h` nonzero coefficients of the secret that it is raised under, a coefficient of `I` has
    /// the distribution of half the sum of `h + 1` numbers uniform in [-1, 1]. With an encapsulation, two key switches more.
    /// # Cost
    /// Without encapsulation, per polynomial: an inverse NTT of each limb, a conversion, `limbs` forward NTTs. With it, `K` special
    /// primes: about `4 limbs + 4 K` more NTTs.
    /// # Errors
    /// [`Error::MissingEncapsulationKey`]; [`Error::ShapeMismatch`] for other limbs than the keys were made for.
    pub fn raise_modulus(
        &self,
        pairs: &RnsPoly<Evaluation>,
        limbs: LimbCount,
        encapsulation: Option<Encapsulation>,
    ) -> Result<RnsPoly<Evaluation>> {
        let (parameters, batch) = (self.parameters(), pairs.batch() / 2);
        if !pairs.batch().is_multiple_of(2) {
            let (expected, got) = ("pairs of polynomials".into(), format!("{} polynomials", pairs.batch()));
            return Err(Error::ShapeMismatch { op: "raise_modulus", expected, got });
        }
        let chain = parameters.basis(limbs);
        let Some(shape) = encapsulation else {
            return pairs.clone().into_coefficient()?.extend(&chain)?.into_evaluation();
        };
        let second = |pairs: &RnsPoly<Evaluation>| pairs.slice(batch, batch);
        let inward =
            self.switch_in(&second(pairs)?, &shape.inward(parameters)?, KeyId::Encapsulation, Finish::NOTHING)?;
        let inward = inward.ok_or(Error::MissingEncapsulationKey)?;
        let first = pairs.slice(0, batch)?;
        let sparse = inward.mod_down_plus(shape.base, Some(&first), GaloisElement::IDENTITY)?.into_coefficient()?;

        let head = sparse.slice(0, batch)?.extend(&chain)?.into_evaluation()?;
        let special = special(parameters);
        let gadget = Gadget::new(chain.clone(), special.clone(), limbs.0);
        let digit = sparse.slice(batch, batch)?.extend(&chain.join(&special))?.into_evaluation()?;
        let buffer = digit.view().buffer.clone();
        let digits = Digits { ring: self.ring().clone(), buffer, gadget, batch };
        let outward = self.switch_hoisted(&digits, KeyId::Decapsulation, Finish::NOTHING)?;
        let outward = outward.ok_or(Error::MissingEncapsulationKey)?;
        outward.mod_down_plus(limbs, Some(&head), GaloisElement::IDENTITY)
    }
}
