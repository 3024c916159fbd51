//! Key switching on a device.

use super::keys::{EvaluationKeys, KeyId};
use super::store::{KeyStatistics, KeyStore};
use super::{Gadget, Parameters};
use crate::device::{Basis, Buffer, InnerProduct, Op, View};
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

/// What ends a key switch at no cost of its own: `(Q plus + pairs)(X^g)`, where `Q` is the product of the primes that `plus` lacks
/// (`P` for polynomials over the operand's basis). `plus` may be the first polynomials of the pairs only.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// Added, or nothing.
    pub plus: Option<&'a RnsPoly<Evaluation>>,
    /// `X^g` takes the place of `X`.
    pub element: GaloisElement,
}

impl Finish<'_> {
    /// Leaves the pairs as they are.
    pub const NOTHING: Self = Self { plus: None, element: GaloisElement::IDENTITY };
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
    /// A key that comes back is half uploaded, half expanded again, and flushes the device's recorded operations.
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
    /// [`Error::ParameterMismatch`] for polynomials of another ring or over other primes; device failures.
    pub fn decompose(&self, poly: &RnsPoly<Evaluation>) -> Result<Digits> {
        let gadget = self.parameters.gadget(poly.limbs());
        let (src, basis) = (self.operand(poly, &gadget)?, gadget.basis());
        let (batch, digits) = (poly.batch(), Arc::clone(gadget.digits()));
        let count = u32::try_from(digits.len()).expect("at most one digit a limb");
        let buffer = self.ring.alloc(count * batch, &basis)?;
        self.ring.record(Op::Decompose { dst: buffer.view(), src, digits, basis })?;
        Ok(Digits { ring: self.ring.clone(), buffer, gadget, batch })
    }

    /// The memory of polynomials over the operand's basis of a gadget.
    fn operand(&self, poly: &RnsPoly<Evaluation>, gadget: &Gadget) -> Result<View> {
        if !poly.ring().is_same(&self.ring) || poly.basis() != gadget.operand() {
            return Err(Error::ParameterMismatch { op: "key switching" });
        }
        Ok(poly.view().clone())
    }

    /// A key switch before its division: `P` times the polynomials, from under the secret that the key leads from to pairs under
    /// the one that it leads to, over the gadget's basis; to be divided by [`RnsPoly::mod_down`]. `None` without a key.
    ///
    /// # Noise
    /// `sum_d digit_d e_d`, before the division by `P`.
    /// # Cost
    /// That of [`Self::decompose`], without its memory, and an inner product of `D` digits.
    /// # Errors
    /// [`Error::ParameterMismatch`] for polynomials or a summand of another ring or over other primes; [`Error::ShapeMismatch`] from a
    /// gadget that the key does not serve; [`Error::BadProgram`] for a summand of more polynomials than the pairs; device failures.
    pub fn switch(
        &self,
        poly: &RnsPoly<Evaluation>,
        id: KeyId,
        finish: Finish<'_>,
    ) -> Result<Option<RnsPoly<Evaluation>>> {
        self.switch_in(poly, &self.parameters.gadget(poly.limbs()), id, finish)
    }

    /// As [`Self::switch`], for polynomials over the operand's basis of a gadget.
    ///
    /// # Errors
    /// As [`Self::switch`].
    pub fn switch_in(
        &self,
        poly: &RnsPoly<Evaluation>,
        gadget: &Gadget,
        id: KeyId,
        finish: Finish<'_>,
    ) -> Result<Option<RnsPoly<Evaluation>>> {
        let src = self.operand(poly, gadget)?;
        let digits = Arc::clone(gadget.digits());
        self.product((gadget, poly.batch()), id, finish, |dst, product| Op::KeySwitch { dst, src, digits, product })
    }

    /// As [`Self::switch`] of polynomials decomposed before.
    ///
    /// # Cost
    /// An inner product of `D` digits: no transform.
    /// # Errors
    /// As [`Self::switch`].
    pub fn switch_hoisted(
        &self,
        digits: &Digits,
        id: KeyId,
        finish: Finish<'_>,
    ) -> Result<Option<RnsPoly<Evaluation>>> {
        if !digits.ring.is_same(&self.ring) {
            return Err(Error::ParameterMismatch { op: "key switching" });
        }
        let source = digits.buffer.view();
        let digits_of = |dst, product| Op::GadgetDot { dst, digits: source, product };
        self.product((&digits.gadget, digits.batch), id, finish, digits_of)
    }

    /// Records an inner product with a key.
    fn product(
        &self,
        (gadget, batch): (&Gadget, u32),
        id: KeyId,
        finish: Finish<'_>,
        op: impl FnOnce(View, InnerProduct) -> Op,
    ) -> Result<Option<RnsPoly<Evaluation>>> {
        let Some(key) = self.keys.get(id)? else { return Ok(None) };
        let rows = gadget.rows_in(&key.gadget)?;
        let basis = gadget.basis();
        let plus = finish.plus.map(|plus| self.summand(plus, &basis)).transpose()?;
        let view = self.ring.alloc(2 * batch, &basis)?.view();
        let count = gadget.digits().len();
        let key = if count == key.digits.len() { key.digits } else { key.digits[..count].into() };
        let product = InnerProduct { key, rows, basis: basis.clone(), plus, element: finish.element };
        self.ring.record(op(view.clone(), product))?;
        Ok(Some(RnsPoly::over(&self.ring, &basis, view)))
    }

    /// The memory of polynomials over a prefix of a basis.
    fn summand(&self, plus: &RnsPoly<Evaluation>, basis: &Basis) -> Result<View> {
        if !plus.ring().is_same(&self.ring) || !basis.primes().starts_with(plus.basis().primes()) {
            return Err(Error::ParameterMismatch { op: "key switching" });
        }
        Ok(plus.view().clone())
    }
}
