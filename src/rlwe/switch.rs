//! Key switching on a device.

use super::Parameters;
use super::keys::{EvaluationKeys, SwitchingKey};
use crate::device::{Basis, Buffer, Op};
use crate::error::{Error, Result};
use crate::ring::{Evaluation, Ring, RnsPoly};
use crate::units::{GaloisElement, LimbCount, Shape};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Evaluation keys on a device, one buffer a digit.
#[derive(Debug)]
pub struct DeviceKeys {
    relinearization: Option<Arc<[Buffer]>>,
    galois: BTreeMap<GaloisElement, Arc<[Buffer]>>,
}

impl DeviceKeys {
    fn upload(ring: &Ring, keys: &EvaluationKeys) -> Result<Self> {
        let parameters = keys.parameters();
        let shape = Shape { batch: 2, limbs: parameters.all().limbs(), log_n: ring.log_n().get() };
        let load = |key: &SwitchingKey| -> Result<Arc<[Buffer]>> {
            (0..key.digits()).map(|d| ring.device().upload(shape, &key.expand_digit(d, parameters))).collect()
        };
        Ok(Self {
            relinearization: keys.relinearization().map(load).transpose()?,
            galois: keys.galois().iter().map(|(&g, key)| Ok((g, load(key)?))).collect::<Result<_>>()?,
        })
    }
}

/// A polynomial decomposed for key switching: the digits of `c`, each over the level's and the special primes.
///
/// Making it costs all the NTTs of a key switch; it serves any number of keys (hoisting).
#[derive(Clone, Debug)]
pub struct Digits {
    ring: Ring,
    buffer: Buffer,
    limbs: LimbCount,
    batch: u32,
}

/// Key switching with one set of keys on one device.
#[derive(Debug)]
pub struct KeySwitcher {
    ring: Ring,
    parameters: Parameters,
    keys: DeviceKeys,
}

impl KeySwitcher {
    /// Brings the keys to the ring's device.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for keys of another ring; out of memory.
    pub fn new(ring: &Ring, keys: &EvaluationKeys) -> Result<Self> {
        let parameters = keys.parameters().clone();
        if parameters.tables() != ring.tables() {
            return Err(Error::ParameterMismatch { op: "KeySwitcher::new" });
        }
        Ok(Self { ring: ring.clone(), keys: DeviceKeys::upload(ring, keys)?, parameters })
    }

    /// The ring, with its device.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Whether there is a key for the automorphism.
    pub fn has_galois(&self, element: GaloisElement) -> bool {
        element == GaloisElement::IDENTITY || self.keys.galois.contains_key(&element)
    }

    /// Decomposes a batch of polynomials over the first primes of the chain.
    ///
    /// # Cost
    /// `limbs` inverse NTTs; for each of the `D` digits forward NTTs of all limbs outside the digit.
    /// # Errors
    /// Device failures.
    pub fn decompose(&self, poly: &RnsPoly<Evaluation>) -> Result<Digits> {
        let (limbs, batch) = (poly.limbs(), poly.batch());
        let digits = self.parameters.digits(limbs);
        let basis = self.parameters.extended(limbs);
        let coefficients = poly.clone().into_coefficient()?;
        let count = u32::try_from(digits.len()).expect("at most one digit a limb");
        let buffer = self.ring.alloc(count * batch, &basis)?;
        self.ring.record(Op::Decompose {
            dst: buffer.view(),
            coefficients: coefficients.view().clone(),
            evaluations: poly.view().clone(),
            digits,
            basis,
        })?;
        Ok(Digits { ring: self.ring.clone(), buffer, limbs, batch })
    }

    /// `P` times the polynomials, from under `s^2` to pairs under `s`, over the extended basis; to be divided by
    /// [`RnsPoly::mod_down`].
    ///
    /// # Noise
    /// `sum_d digit_d e_d`, before the division by `P`.
    /// # Errors
    /// [`Error::MissingRelinearizationKey`].
    pub fn relinearize(&self, digits: &Digits) -> Result<RnsPoly<Evaluation>> {
        let key = self.keys.relinearization.as_ref().ok_or(Error::MissingRelinearizationKey)?;
        self.dot(digits, key)
    }

    /// `P` times the polynomials, from under `s` to pairs under `s(X^(1/g))`, as [`Self::relinearize`]; `None` without a key for
    /// it. The automorphism `X -> X^g` of the divided pair is then under `s`: permuting two polynomials at the end is cheaper
    /// than permuting every digit on the way.
    ///
    /// # Errors
    /// Device failures.
    pub fn to_inverse_image(&self, digits: &Digits, element: GaloisElement) -> Result<Option<RnsPoly<Evaluation>>> {
        self.keys.galois.get(&element).map(|key| self.dot(digits, key)).transpose()
    }

    fn dot(&self, digits: &Digits, key: &Arc<[Buffer]>) -> Result<RnsPoly<Evaluation>> {
        let count = (digits.buffer.shape().batch / digits.batch) as usize;
        let key = key.get(..count).filter(|_| digits.ring.is_same(&self.ring));
        let key = key.ok_or(Error::ParameterMismatch { op: "key switching" })?;
        let basis = self.parameters.extended(digits.limbs);
        let view = self.ring.alloc(2 * digits.batch, &basis)?.view();
        self.ring.record(Op::GadgetDot {
            dst: view.clone(),
            digits: digits.buffer.view(),
            key: key.into(),
            rows: Basis::new(basis.primes().iter().copied()),
            basis: basis.clone(),
        })?;
        Ok(RnsPoly::over(&self.ring, &basis, view))
    }
}
