//! Automorphisms and gadget products.

use super::ntt::Rows;
use super::{Lowering, convert, ntt};
use crate::device::buffer::{Buffer, View};
use crate::device::gpu::catalog::{FEW_KEYS, Kernel, MANY_KEYS};
use crate::device::gpu::dispatch::slot;
use crate::device::gpu::params::{AutomorphismParams, GadgetParams, Window};
use crate::device::gpu::tables::Table;
use crate::device::program::{Digit, InnerProduct};
use crate::error::Result;
use crate::units::{GaloisElement, Shape};
use std::sync::Arc;

/// Bindings between those of `gadget_dot` and the keys of `keys_many.wgsl`.
const KEYS_AFTER_GADGET: usize = 2;

/// `Automorphism`.
pub(super) fn automorphism(to: &mut Lowering<'_>, (dst, src): (&View, &View), element: GaloisElement) -> Result<()> {
    let (source, repeats) = Window::from(src).repeated(dst.polys);
    let params =
        AutomorphismParams { dst: dst.into(), src: source, log_n: to.log_n(), first_poly: 0, element: element.get() };
    let slots = [slot(&dst.buffer)?, slot(&src.buffer)?];
    to.recorder.launch(Kernel::Automorphism { repeats }, params, &slots, [to.groups(), dst.limbs, dst.polys]);
    Ok(())
}

/// Key digits of one launch, and what it does beside: `dst = (Q plus + products)(X^element)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyGroup<'a> {
    pub(super) dst: &'a View,
    pub(super) plus: Option<&'a View>,
    pub(super) element: GaloisElement,
    /// Table of limbs.
    pub(super) limbs: u32,
    pub(super) first_digit: u32,
    /// All of one shape.
    pub(super) keys: &'a [Buffer],
}

impl KeyGroup<'_> {
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.keys.len()).expect("at most MANY_KEYS")
    }

    /// Limbs of every key digit's buffer.
    pub(super) fn key_limbs(&self) -> u32 {
        self.keys.first().map_or(0, |key| key.shape().limbs)
    }
}

/// Launches for at most `most` key digits each; all but the last leave their sums where the next begins.
fn in_groups(
    to: &mut Lowering<'_>,
    dst: &View,
    product: &InnerProduct,
    most: usize,
    mut launch: impl FnMut(&mut Lowering<'_>, &KeyGroup<'_>) -> Result<()>,
) -> Result<()> {
    let InnerProduct { key, rows, basis, plus, element } = product;
    let groups: Vec<&[Buffer]> =
        key.chunk_by(|a, b| a.shape().limbs == b.shape().limbs).flat_map(|some| some.chunks(most)).collect();
    let between = if groups.len() < 2 || *element == GaloisElement::IDENTITY {
        dst.clone()
    } else {
        to.recorder.scratch(dst.shape())?.view()
    };
    let mut first_digit = 0;
    for (index, keys) in groups.iter().enumerate() {
        let plus = if index == 0 { plus.as_ref() } else { Some(&between) };
        let limbs = to.table(Table::KeyRows(basis.clone(), rows.clone(), plus.map_or(0, |plus| plus.limbs)));
        let last = index + 1 == groups.len();
        let (dst, element) = if last { (dst, *element) } else { (&between, GaloisElement::IDENTITY) };
        let group = KeyGroup { dst, plus, element, limbs, first_digit, keys };
        launch(to, &group)?;
        first_digit += group.count();
    }
    Ok(())
}

/// `GadgetDot`.
pub(super) fn gadget_dot(to: &mut Lowering<'_>, (dst, digits): (&View, &View), product: &InnerProduct) -> Result<()> {
    let many = to.recorder.binds_many();
    in_groups(to, dst, product, if many { MANY_KEYS } else { FEW_KEYS }, |to, group| {
        let batch = group.dst.polys / 2;
        let params = GadgetParams {
            dst: group.dst.into(),
            digits: digits.into(),
            plus: group.plus.map_or(Window::NONE, Window::from),
            log_n: to.log_n(),
            element: group.element.get(),
            inverse: group.element.inverse(to.ring.tables().log_n()).get(),
            limbs: group.limbs,
            first_poly: 0,
            first_limb: 0,
            batch,
            first_digit: group.first_digit,
            keys: group.count(),
            key_limbs: group.key_limbs(),
        };
        let mut slots =
            vec![slot(&group.dst.buffer)?, slot(&digits.buffer)?, slot(&group.plus.unwrap_or(digits).buffer)?];
        if many {
            // The keys' bindings begin where those of `key_switch` do.
            slots.extend_from_within(..KEYS_AFTER_GADGET);
        }
        for key in group.keys {
            slots.push(slot(key)?);
        }
        let kernel = Kernel::GadgetDot { many, turned: group.element != GaloisElement::IDENTITY };
        to.recorder.launch(kernel, params, &slots, [to.groups(), batch, group.dst.limbs]);
        Ok(())
    })
}

/// `KeySwitch`: where enough can be bound, the product is part of the digits' transforms.
pub(super) fn key_switch(
    to: &mut Lowering<'_>,
    (dst, src): (&View, &View),
    digits: &Arc<[Digit]>,
    product: &InnerProduct,
) -> Result<()> {
    let count = u32::try_from(digits.len()).expect("at most one digit a limb");
    let shape = Shape { batch: count * src.polys, limbs: product.basis.limbs(), log_n: to.log_n() };
    let cut = to.recorder.scratch(shape)?.view();
    if !to.recorder.binds_many() {
        convert::decompose(to, (&cut, src), digits, &product.basis)?;
        return gadget_dot(to, (dst, &cut), product);
    }
    convert::begin_digits(to, (&cut, src), digits, &product.basis)?;
    let table = to.table(Table::KeySwitch(product.basis.clone(), Arc::clone(digits)));
    let rows = Rows { table, count: product.basis.limbs(), polys: src.polys, digit_rows: 0 };
    in_groups(to, dst, product, MANY_KEYS, |to, group| ntt::key_switch(to, group, (&cut, src), rows))
}
