//! Automorphisms and gadget products.

use super::{Lowering, element};
use crate::device::buffer::{Buffer, View};
use crate::device::gpu::catalog::{GADGET_KEYS, Kernel};
use crate::device::gpu::dispatch::slot;
use crate::device::gpu::params::{AutomorphismParams, GadgetParams, Window};
use crate::device::gpu::tables::Table;
use crate::device::program::Basis;
use crate::error::Result;
use crate::units::GaloisElement;

/// `Automorphism`.
pub(super) fn automorphism(to: &mut Lowering<'_>, (dst, src): (&View, &View), element: GaloisElement) -> Result<()> {
    let (source, repeats) = Window::from(src).repeated(dst.polys);
    let params =
        AutomorphismParams { dst: dst.into(), src: source, log_n: to.log_n(), first_poly: 0, element: element.get() };
    let slots = [slot(&dst.buffer)?, slot(&src.buffer)?];
    to.recorder.launch(Kernel::Automorphism { repeats }, params, &slots, [to.groups(), dst.limbs, dst.polys]);
    Ok(())
}

/// What `make` writes, with `X^g` for `X`.
pub(super) fn moved(
    to: &mut Lowering<'_>,
    dst: &View,
    element: GaloisElement,
    make: impl FnOnce(&mut Lowering<'_>, &View) -> Result<()>,
) -> Result<()> {
    if element == GaloisElement::IDENTITY {
        return make(to, dst);
    }
    let made = to.recorder.scratch(dst.shape())?.view();
    make(to, &made)?;
    automorphism(to, (dst, &made), element)
}

/// Adds `plus`, times the product of the primes of `basis` that it lacks, to the first polynomials and limbs of `dst`.
pub(super) fn add_product(to: &mut Lowering<'_>, dst: &View, plus: Option<&View>, basis: &Basis) -> Result<()> {
    let Some(plus) = plus else { return Ok(()) };
    let window = dst.polys(0, plus.polys)?.limbs(0, plus.limbs)?;
    let own = basis.slice(0, plus.limbs);
    let others = basis.slice(plus.limbs, basis.limbs() - plus.limbs);
    if others.limbs() == 0 {
        return element::add_to(to, &window, plus, &own);
    }
    let factors = to.ring.tables().extension(others.primes(), own.primes());
    element::mul_scalar_add(to, (&window, plus), &factors.product, &own)
}

/// `GadgetDot`: groups of digits, each adding to what the one before left in `dst`.
pub(super) fn gadget_dot(
    to: &mut Lowering<'_>,
    (dst, digits): (&View, &View),
    (key, rows): (&[Buffer], &Basis),
    basis: &Basis,
) -> Result<()> {
    let limbs = to.table(Table::KeyRows(basis.clone(), rows.clone()));
    let batch = dst.polys / 2;
    for (group, keys) in (0..).step_by(GADGET_KEYS).zip(key.chunks(GADGET_KEYS)) {
        let params = GadgetParams {
            dst: dst.into(),
            digits: digits.into(),
            key_limbs: std::array::from_fn(|i| keys.get(i).map_or(0, |key| key.shape().limbs)),
            log_n: to.log_n(),
            limbs,
            first_poly: 0,
            batch,
            first_digit: group,
            count: u32::try_from(keys.len()).expect("at most GADGET_KEYS"),
        };
        let operands = [&dst.buffer, &digits.buffer].into_iter().chain(keys);
        let slots = operands.map(slot).collect::<Result<Vec<_>>>()?;
        to.recorder.launch(Kernel::GadgetDot, params, &slots, [to.groups(), dst.limbs, batch]);
    }
    Ok(())
}
