//! Base conversion and what is built on it.

use super::Lowering;
use super::ntt::{self, Rows};
use crate::device::buffer::View;
use crate::device::gpu::catalog::{EXTEND_TARGETS, EXTEND_THREADS, Kernel};
use crate::device::gpu::dispatch::slot;
use crate::device::gpu::params::{ExtendParams, Window};
use crate::device::gpu::tables::Table;
use crate::device::program::{Basis, Digit};
use crate::error::Result;
use crate::units::Shape;
use std::sync::Arc;

/// `BasisExtend`.
pub(super) fn basis_extend(
    to: &mut Lowering<'_>,
    (dst, src): (&View, &View),
    (from, target): (&Basis, &Basis),
) -> Result<()> {
    let digits = to.table(Table::Conversion(from.clone(), target.clone()));
    extend(to, (dst, src, src), digits, dst.polys)
}

/// `Decompose`: own limbs are copied and foreign ones converted in one launch, then the foreign ones are transformed.
pub(super) fn decompose(
    to: &mut Lowering<'_>,
    (dst, src): (&View, &View),
    digits: &Arc<[Digit]>,
    basis: &Basis,
) -> Result<()> {
    let batch = src.polys;
    let coefficients = to.recorder.scratch(src.shape())?.view();
    ntt::inverse(to, &coefficients, src, &basis.slice(0, src.limbs))?;
    let table = to.table(Table::Digits(basis.clone(), Arc::clone(digits)));
    extend(to, (dst, &coefficients, src), table, batch)?;
    let foreign = digits.iter().map(|digit| basis.limbs() - digit.limbs).sum();
    if foreign == 0 {
        return Ok(());
    }
    let rows = Rows {
        table: to.table(Table::Foreign(basis.clone(), Arc::clone(digits))),
        count: foreign,
        polys: batch,
        digit_rows: batch * dst.buffer.shape().limbs,
    };
    ntt::forward_rows(to, dst, dst, rows, None)
}

/// `ModDown`.
pub(super) fn mod_down(
    to: &mut Lowering<'_>,
    (dst, src): (&View, &View),
    (kept, dropped): (&Basis, &Basis),
) -> Result<()> {
    let shape = Shape { batch: src.polys, limbs: dropped.limbs(), log_n: to.log_n() };
    let scratch = to.recorder.scratch(shape)?.view();
    ntt::inverse(to, &scratch, &src.limbs(kept.limbs(), dropped.limbs())?, dropped)?;
    basis_extend(to, (dst, &scratch), (dropped, kept))?;
    let rows = Rows {
        table: to.table(Table::Division(kept.clone(), dropped.clone())),
        count: kept.limbs(),
        polys: dst.polys,
        digit_rows: 0,
    };
    ntt::forward_rows(to, dst, dst, rows, Some(&src.limbs(0, kept.limbs())?))
}

fn extend(to: &mut Lowering<'_>, (dst, src, own): (&View, &View, &View), digits: u32, batch: u32) -> Result<()> {
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
        Kernel::Extend { repeats },
        params,
        &slots,
        [groups, dst.limbs.div_ceil(EXTEND_TARGETS), dst.polys],
    );
    Ok(())
}
