//! Key switching on a device.

use super::keys::{EvaluationKeys, KeyId};
use super::store::{KeyStatistics, KeyStore};
use super::{Gadget, Parameters};
use crate::device::{Buffer, Op};
use crate::error::{Error, Result};
use crate::ring::{Evaluation, Ring, RnsPoly};
use crate::units::{GaloisElement, LimbCount};
use std::sync::Arc;

/// A polynomial decomposed for key switching: the digits of `c`, each over the basis of a gadget.
///
/// Making it costs all the NTTs of a key switch; it serves any number of keys (hoisting).
#[derive(Clone, Debug)]
pub struct Digits {
    pub(super) ring: Ring,
    pub(super) buffer: Buffer,
    pub(super) gadget: Gadget,
    pub(super) batch: u32,
}

/// Key switching with one set of keys on one device. The keys stay on the host, shared, and come to the device when they are used.
#[derive(Debug)]
pub struct KeySwitcher {
    ring: Ring,
    parameters: Parameters,
    keys: KeyStore,
}

impl KeySwitcher {
    /// With room on the device for every key.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for keys of another ring.
    pub fn new(ring: &Ring, keys: &EvaluationKeys) -> Result<Self> {
        Self::with_key_memory(ring, keys, u64::MAX)
    }

    /// With at most `bytes` bytes of keys on the device: the least recently used make room for the next. Threads that load keys
    /// at the same moment go above it by the keys that they are loading.
    ///
    /// # Cost
    /// A key that comes back is half uploaded, half expanded again, and flushes the device's queue.
    /// # Errors
    /// [`Error::KeyMemoryTooSmall`] where not even the largest key would fit; others as [`Self::new`].
    pub fn with_key_memory(ring: &Ring, keys: &EvaluationKeys, bytes: u64) -> Result<Self> {
        let parameters = keys.parameters().clone();
        if parameters.tables() != ring.tables() {
            return Err(Error::ParameterMismatch { op: "KeySwitcher::new" });
        }
        Ok(Self { ring: ring.clone(), keys: KeyStore::new(ring, keys, bytes)?, parameters })
    }

    /// The set-up that the keys are for.
    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The ring, with its device.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Limbs of the longest operand that the key for a purpose can switch; `None` without a key.
    pub fn limbs_of(&self, id: KeyId) -> Option<LimbCount> {
        self.keys.keys().get(id).map(|key| key.limbs())
    }

    /// Device memory of the keys, loads and evictions so far.
    pub fn key_statistics(&self) -> KeyStatistics {
        self.keys.statistics()
    }

    /// Decomposes a batch of polynomials over the first primes of the chain.
    ///
    /// # Cost
    /// `limbs` inverse NTTs; for each of the `D` digits forward NTTs of all limbs outside the digit.
    /// # Errors
    /// Device failures.
    pub fn decompose(&self, poly: &RnsPoly<Evaluation>) -> Result<Digits> {
        self.decompose_in(poly, &self.parameters.gadget(poly.limbs()))
    }

    /// Decomposes a batch of polynomials over the operand's basis of a gadget, as [`Self::decompose`].
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for polynomials over other primes; device failures.
    pub fn decompose_in(&self, poly: &RnsPoly<Evaluation>, gadget: &Gadget) -> Result<Digits> {
        if poly.basis() != gadget.operand() {
            return Err(Error::ParameterMismatch { op: "decompose" });
        }
        let (batch, basis) = (poly.batch(), gadget.basis());
        let coefficients = poly.clone().into_coefficient()?;
        let digits = Arc::clone(gadget.digits());
        let count = u32::try_from(digits.len()).expect("at most one digit a limb");
        let buffer = self.ring.alloc(count * batch, &basis)?;
        self.ring.record(Op::Decompose {
            dst: buffer.view(),
            coefficients: coefficients.view().clone(),
            evaluations: poly.view().clone(),
            digits,
            basis,
        })?;
        Ok(Digits { ring: self.ring.clone(), buffer, gadget: gadget.clone(), batch })
    }

    /// `P` times the polynomials, from under `s^2` to pairs under `s`, over the digits' basis; to be divided by
    /// [`RnsPoly::mod_down`].
    ///
    /// # Noise
    /// `sum_d digit_d e_d`, before the division by `P`.
    /// # Errors
    /// [`Error::MissingRelinearizationKey`]; [`Error::ShapeMismatch`] from more limbs than the key was made for.
    pub fn relinearize(&self, digits: &Digits) -> Result<RnsPoly<Evaluation>> {
        self.switch(digits, KeyId::Relinearization)?.ok_or(Error::MissingRelinearizationKey)
    }

    /// `P` times the polynomials, from under `s` to pairs under `s(X^(1/g))`, as [`Self::relinearize`]; `None` without a key for
    /// it. The automorphism `X -> X^g` of the divided pair is then under `s`: permuting two polynomials at the end is cheaper
    /// than permuting every digit on the way.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] from more limbs than the key was made for; device failures.
    pub fn to_inverse_image(&self, digits: &Digits, element: GaloisElement) -> Result<Option<RnsPoly<Evaluation>>> {
        self.switch(digits, KeyId::Galois(element))
    }

    /// `P` times the polynomials, from under the secret that the key leads from to pairs under the one that it leads to; `None`
    /// without a key.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] from digits of a gadget that the key does not serve; device failures.
    pub fn switch(&self, digits: &Digits, id: KeyId) -> Result<Option<RnsPoly<Evaluation>>> {
        if !digits.ring.is_same(&self.ring) {
            return Err(Error::ParameterMismatch { op: "key switching" });
        }
        let Some(key) = self.keys.get(id)? else { return Ok(None) };
        let rows = digits.gadget.rows_in(&key.gadget)?;
        let basis = digits.gadget.basis();
        let view = self.ring.alloc(2 * digits.batch, &basis)?.view();
        self.ring.record(Op::GadgetDot {
            dst: view.clone(),
            digits: digits.buffer.view(),
            key: key.digits[..digits.gadget.digits().len()].into(),
            rows,
            basis: basis.clone(),
        })?;
        Ok(Some(RnsPoly::over(&self.ring, &basis, view)))
    }
}
