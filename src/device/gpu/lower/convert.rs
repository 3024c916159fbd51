//! Base conversion and what is built on it.

use super::Lowering;
use super::ntt::{self, Rows};
use crate::device::buffer::View;
use crate::device::gpu::catalog::{EXTEND_TARGETS, EXTEND_THREADS, GROUP_TARGETS, Kernel};
use crate::device::gpu::dispatch::slot;
use crate::device::gpu::params::{ExtendParams, Window};
use crate::device::gpu::tables::Table;
use crate::device::program::{Basis, Digit};
use crate::error::Result;
use crate::units::GaloisElement;
use std::sync::Arc;

/// `BasisExtend`.
pub(super) fn basis_extend(
    to: &mut Lowering<'_>,
    (dst, src): (&View, &View),
    (from, target): (&Basis, &Basis),
) -> Result<()> {
    let digits = to.table(Table::Conversion(from.clone(), target.clone()));
    extend(to, (dst, src, src), digits, dst.polys, false)
}

/// `Decompose`: own limbs are copied, foreign ones converted and transformed.
pub(super) fn decompose(
    to: &mut Lowering<'_>,
    (dst, src): (&View, &View),
    digits: &Arc<[Digit]>,
    basis: &Basis,
) -> Result<()> {
    let foreign = begin_digits(to, (dst, src), digits, basis)?;
    if ntt::converts(to) {
        let table = to.table(Table::Own(basis.clone(), Arc::clone(digits)));
        let count = digits.iter().map(|digit| digit.limbs).sum();
        ntt::own(to, dst, src, Rows { table, count, ..foreign })?;
    }
    if foreign.count == 0 {
        return Ok(());
    }
    ntt::forward_rest(to, dst, foreign)
}

/// Cuts `src` into digits, whose foreign limbs are left before the contiguous pass of their transforms: these rows are returned.
pub(super) fn begin_digits(
    to: &mut Lowering<'_>,
    (dst, src): (&View, &View),
    digits: &Arc<[Digit]>,
    basis: &Basis,
) -> Result<Rows> {
    let batch = src.polys;
    let scaled = scaled(to, src, digits, &basis.slice(0, src.limbs))?;
    let foreign = foreign_rows(to, dst, (digits, basis), batch);
    if ntt::converts(to) {
        if foreign.count > 0 {
            convert_digits(to, dst, &scaled, (digits, basis), foreign)?;
        }
        return Ok(foreign);
    }
    let table = to.table(Table::Digits(basis.clone(), Arc::clone(digits)));
    extend(to, (dst, &scaled, src), table, batch, true)?;
    if foreign.count > 0 {
        ntt::forward_begin(to, dst, foreign)?;
    }
    Ok(foreign)
}

/// The limbs that digits do not contain.
fn foreign_rows(to: &mut Lowering<'_>, dst: &View, (digits, basis): (&Arc<[Digit]>, &Basis), batch: u32) -> Rows {
    Rows {
        table: to.table(Table::Foreign(basis.clone(), Arc::clone(digits))),
        count: digits.iter().map(|digit| basis.limbs() - digit.limbs).sum(),
        polys: batch,
        digit_rows: batch * dst.buffer.shape().limbs,
    }
}

/// Converts every digit to its foreign limbs and begins their transforms.
fn convert_digits(
    to: &mut Lowering<'_>,
    dst: &View,
    scaled: &View,
    (digits, basis): (&Arc<[Digit]>, &Basis),
    foreign: Rows,
) -> Result<()> {
    let table = to.table(Table::Groups(basis.clone(), Arc::clone(digits)));
    let count = digits.iter().map(|digit| groups(basis.limbs() - digit.limbs)).sum();
    ntt::convert_columns(to, dst, scaled, Rows { table, count, ..foreign })
}

/// Groups of so many targets.
fn groups(targets: u32) -> u32 {
    targets.div_ceil(GROUP_TARGETS)
}

/// The scaled residues that the digits' conversions begin with.
fn scaled(to: &mut Lowering<'_>, src: &View, digits: &Arc<[Digit]>, basis: &Basis) -> Result<View> {
    let scaled = to.recorder.scratch(src.shape())?.view();
    let records = to.table(Table::Scaled(basis.clone(), Arc::clone(digits)));
    ntt::inverse_rows(to, &scaled, src, records)?;
    Ok(scaled)
}

/// `ModDown`.
pub(super) fn mod_down(
    to: &mut Lowering<'_>,
    (dst, src): (&View, &View),
    (kept, dropped): (&Basis, &Basis),
    plus: Option<&View>,
    element: GaloisElement,
) -> Result<()> {
    let all: Arc<[Digit]> = Arc::new([Digit { first: 0, limbs: dropped.limbs() }]);
    let scaled = scaled(to, &src.limbs(kept.limbs(), dropped.limbs())?, &all, dropped)?;
    // Words that an automorphism moves must not lie where other workgroups still read.
    let converted =
        if element == GaloisElement::IDENTITY { dst.clone() } else { to.recorder.scratch(dst.shape())?.view() };
    let table = to.table(Table::Division(kept.clone(), dropped.clone()));
    let rows = Rows { table, count: kept.limbs(), polys: dst.polys, digit_rows: 0 };
    if ntt::converts(to) {
        let table = to.table(Table::DivisionGroups(kept.clone(), dropped.clone()));
        ntt::convert_columns(to, &converted, &scaled, Rows { table, count: groups(kept.limbs()), ..rows })?;
    } else {
        let table = to.table(Table::Conversion(dropped.clone(), kept.clone()));
        extend(to, (&converted, &scaled, &scaled), table, dst.polys, true)?;
        ntt::forward_begin(to, &converted, rows)?;
    }
    ntt::forward_division(to, (dst, &converted), rows, &src.limbs(0, kept.limbs())?, plus, element)
}

/// Conversion of `batch` polynomials a digit; `scaled`: as [`Table::Scaled`] leaves them.
fn extend(
    to: &mut Lowering<'_>,
    (dst, src, own): (&View, &View, &View),
    digits: u32,
    batch: u32,
    scaled: bool,
) -> Result<()> {
    let (source, repeats) = Window::from(src).repeated(batch);
    let params = ExtendParams {
        dst: dst.into(),
        src: source,
        own: own.into(),
        log_n: to.log_n(),
        digits,
        batch,
        targets: dst.limbs,
        first_poly: 0,
        first_group: 0,
    };
    let slots = [slot(&dst.buffer)?, slot(&src.buffer)?, slot(&own.buffer)?];
    let groups = (1 << (to.log_n() - 2)) / EXTEND_THREADS;
    to.recorder.launch(
        Kernel::Extend { repeats, scaled },
        params,
        &slots,
        [groups, dst.limbs.div_ceil(EXTEND_TARGETS), dst.polys],
    );
    Ok(())
}
