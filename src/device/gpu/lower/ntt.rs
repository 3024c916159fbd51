//! Transforms, and a ring's roots on the device.

use super::Lowering;
use super::gadget::KeyGroup;
use crate::device::buffer::View;
use crate::device::gpu::catalog::{COLUMN_THREADS, Kernel, RowsEnd};
use crate::device::gpu::dispatch::{Slot, slot};
use crate::device::gpu::memory::{Block, Pool};
use crate::device::gpu::params::{NttParams, Window};
use crate::device::gpu::tables::Table;
use crate::device::gpu::twiddles::{self, Direction, Plan};
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::RingTables;
use crate::units::GaloisElement;
use rayon::prelude::*;
use std::sync::Arc;

/// A ring with its roots of unity on the device.
#[derive(Debug)]
pub(in crate::device::gpu) struct GpuRing {
    tables: Arc<RingTables>,
    plan: Plan,
    forward: Block,
    inverse: Block,
}

impl GpuRing {
    /// Makes the roots; `write` uploads bytes to a block at an offset.
    pub(in crate::device::gpu) fn new(
        ring: &Arc<RingTables>,
        pool: &Pool,
        mut write: impl FnMut(&Block, u64, &[u8]),
    ) -> Result<Self> {
        let plan = Plan { log_n: ring.log_n().get() };
        let prime_bytes = 16 * u64::from(plan.prime_roots());
        let bytes = prime_bytes * ring.primes().len() as u64;
        let mut side = |direction| -> Result<Block> {
            let block = pool.fresh(bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST)?;
            // A few primes at a time bound the host's memory.
            for (first, primes) in (0u64..).step_by(8).zip(ring.primes().chunks(8)) {
                let roots: Vec<_> = primes.par_iter().map(|prime| twiddles::table(ring, prime, direction)).collect();
                for (index, roots) in (first..).zip(&roots) {
                    write(&block, index * prime_bytes, bytemuck::cast_slice(roots));
                }
            }
            Ok(block)
        };
        Ok(Self {
            tables: Arc::clone(ring),
            plan,
            forward: side(Direction::Forward)?,
            inverse: side(Direction::Inverse)?,
        })
    }

    /// The ring's tables on the host.
    pub(in crate::device::gpu) fn tables(&self) -> &Arc<RingTables> {
        &self.tables
    }
}

/// Stages of the strided pass that a conversion can begin.
const CONVERT_STAGES: u32 = 4;

/// Which rows a transform covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Records, see `tables::forward_record`.
    pub(super) table: u32,
    /// Their number.
    pub(super) count: u32,
    /// Polynomials of each.
    pub(super) polys: u32,
    /// Rows of the buffer from one digit to the next.
    pub(super) digit_rows: u32,
}

impl Rows {
    /// All limbs of a window.
    fn whole(table: u32, dst: &View) -> Self {
        Self { table, count: dst.limbs, polys: dst.polys, digit_rows: 0 }
    }
}

/// Operands of a transform.
#[derive(Clone, Copy, Debug)]
struct Operands<'a> {
    dst: &'a View,
    src: &'a View,
    /// Of a division.
    minuend: Option<&'a View>,
    plus: Option<&'a View>,
    element: GaloisElement,
    keys: Option<&'a KeyGroup<'a>>,
}

impl<'a> Operands<'a> {
    fn of(dst: &'a View, src: &'a View) -> Self {
        Self { dst, src, minuend: None, plus: None, element: GaloisElement::IDENTITY, keys: None }
    }
}

/// `NttForward`.
pub(super) fn forward(to: &mut Lowering<'_>, dst: &View, src: &View, basis: &Basis) -> Result<()> {
    let table = to.table(Table::Forward(basis.clone()));
    repetitions(dst, src)?.try_for_each(|dst| forward_rows(to, &dst, src, Rows::whole(table, &dst)))
}

/// The parts of `dst` that each take all of `src`: kernels do not repeat a source themselves.
fn repetitions(dst: &View, src: &View) -> Result<impl Iterator<Item = View>> {
    let parts: Result<Vec<View>> = (0..dst.polys / src.polys).map(|k| dst.polys(k * src.polys, src.polys)).collect();
    Ok(parts?.into_iter())
}

/// `NttInverse`.
pub(super) fn inverse(to: &mut Lowering<'_>, dst: &View, src: &View, basis: &Basis) -> Result<()> {
    let table = to.table(Table::Inverse(basis.clone()));
    repetitions(dst, src)?.try_for_each(|dst| inverse_rows(to, &dst, src, table))
}

/// Inverse transform of every limb, with the factors of `table`.
pub(super) fn inverse_rows(to: &mut Lowering<'_>, dst: &View, src: &View, table: u32) -> Result<()> {
    let rows = Rows::whole(table, dst);
    let plan = to.ring.plan;
    let (stages, log_points) = (plan.column_stages(), plan.log_points());
    let kernel = Kernel::InverseRows { log_points, whole: stages == 0 };
    launch(to, kernel, Operands::of(dst, src), rows)?;
    if stages > 0 {
        launch(to, Kernel::InverseColumns { stages }, Operands::of(dst, dst), rows)?;
    }
    Ok(())
}

/// Forward transform of some rows.
pub(super) fn forward_rows(to: &mut Lowering<'_>, dst: &View, src: &View, rows: Rows) -> Result<()> {
    if to.ring.plan.column_stages() == 0 {
        return last_pass(to, Operands::of(dst, src), rows);
    }
    first_pass(to, dst, src, rows)?;
    last_pass(to, Operands::of(dst, dst), rows)
}

/// `((minuend - NTT(converted)) scale + plus)(X^element)` with each record's scale, where the transforms of `converted` have
/// begun. It may be `dst` if `element` is one.
pub(super) fn forward_division(
    to: &mut Lowering<'_>,
    (dst, converted): (&View, &View),
    rows: Rows,
    minuend: &View,
    plus: Option<&View>,
    element: GaloisElement,
) -> Result<()> {
    last_pass(to, Operands { dst, src: converted, minuend: Some(minuend), plus, element, keys: None }, rows)
}

/// The contiguous pass of the digits in `src` and their product with some key digits; `own` are the polynomials that were cut.
pub(super) fn key_switch(
    to: &mut Lowering<'_>,
    keys: &KeyGroup<'_>,
    (src, own): (&View, &View),
    rows: Rows,
) -> Result<()> {
    let plan = to.ring.plan;
    let turned = keys.element != GaloisElement::IDENTITY;
    let kernel = Kernel::KeySwitch { log_points: plan.log_points(), whole: plan.column_stages() == 0, turned };
    let (plus, element) = (keys.plus, keys.element);
    launch(to, kernel, Operands { dst: keys.dst, src, minuend: Some(own), plus, element, keys: Some(keys) }, rows)
}

/// Whether a conversion can begin a transform; see [`convert_columns`].
pub(super) fn converts(to: &Lowering<'_>) -> bool {
    to.ring.plan.column_stages() == CONVERT_STAGES
}

/// Converts scaled residues to the groups of limbs in `rows` and begins their transforms, which [`forward_rest`] or
/// [`forward_division`] end.
pub(super) fn convert_columns(to: &mut Lowering<'_>, dst: &View, src: &View, rows: Rows) -> Result<()> {
    launch(to, Kernel::ConvertColumns, Operands::of(dst, src), rows)
}

/// Copies rows that only move.
pub(super) fn own(to: &mut Lowering<'_>, dst: &View, src: &View, rows: Rows) -> Result<()> {
    launch(to, Kernel::Own, Operands::of(dst, src), rows)
}

/// Begins transforms in place, for those that [`convert_columns`] cannot begin: the strided pass, if there is one.
pub(super) fn forward_begin(to: &mut Lowering<'_>, dst: &View, rows: Rows) -> Result<()> {
    if to.ring.plan.column_stages() == 0 {
        return Ok(());
    }
    first_pass(to, dst, dst, rows)
}

/// Ends the transforms that [`convert_columns`] or [`forward_begin`] began, in place.
pub(super) fn forward_rest(to: &mut Lowering<'_>, dst: &View, rows: Rows) -> Result<()> {
    last_pass(to, Operands::of(dst, dst), rows)
}

/// The strided pass of a forward transform, if it has one.
fn first_pass(to: &mut Lowering<'_>, dst: &View, src: &View, rows: Rows) -> Result<()> {
    launch(to, Kernel::ForwardColumns { stages: to.ring.plan.column_stages() }, Operands::of(dst, src), rows)
}

/// The contiguous pass of a forward transform.
fn last_pass(to: &mut Lowering<'_>, operands: Operands<'_>, rows: Rows) -> Result<()> {
    let plan = to.ring.plan;
    let end = match operands.minuend {
        None => RowsEnd::Plain,
        Some(_) if operands.element == GaloisElement::IDENTITY => RowsEnd::Finish,
        Some(_) => RowsEnd::FinishTurned,
    };
    let (log_points, whole) = (plan.log_points(), plan.column_stages() == 0);
    launch(to, Kernel::ForwardRows { log_points, whole, end }, operands, rows)
}

fn launch(to: &mut Lowering<'_>, kernel: Kernel, operands: Operands<'_>, rows: Rows) -> Result<()> {
    let Operands { dst, src, minuend, plus, element, keys } = operands;
    let plan = to.ring.plan;
    let (roots, columns) = match kernel {
        Kernel::ForwardRows { .. } | Kernel::KeySwitch { .. } => (&to.ring.forward, false),
        Kernel::InverseRows { .. } => (&to.ring.inverse, false),
        Kernel::InverseColumns { .. } => (&to.ring.inverse, true),
        _ => (&to.ring.forward, true),
    };
    let [upper, middle, lower] = if columns { plan.column_offsets() } else { plan.row_offsets() };
    let groups = match kernel {
        Kernel::Own => (1 << (plan.log_n - 2)) / COLUMN_THREADS,
        _ if columns => (1 << plan.log_points()) / COLUMN_THREADS,
        _ => 1 << plan.column_stages(),
    };
    let params = NttParams {
        dst: dst.into(),
        src: src.into(),
        minuend: minuend.map_or(Window::NONE, Window::from),
        plus: plus.map_or(Window::NONE, Window::from),
        log_n: plan.log_n,
        element: element.get(),
        inverse: element.inverse(to.ring.tables.log_n()).get(),
        records: rows.table,
        digit_rows: rows.digit_rows,
        first_poly: 0,
        prime_roots: plan.prime_roots(),
        upper,
        middle,
        lower,
        limbs: keys.map_or(0, |keys| keys.limbs),
        batch: dst.polys / 2,
        first_digit: keys.map_or(0, |keys| keys.first_digit),
        keys: keys.map_or(0, KeyGroup::count),
        key_limbs: keys.map_or(0, KeyGroup::key_limbs),
    };
    let mut slots = vec![slot(&dst.buffer)?, Slot::Block(roots.clone()), slot(&src.buffer)?];
    if let Some(minuend) = minuend {
        slots.extend([slot(&minuend.buffer)?, slot(&plus.unwrap_or(minuend).buffer)?]);
    }
    for key in keys.map_or(&[][..], |keys| keys.keys) {
        slots.push(slot(key)?);
    }
    to.recorder.launch(kernel, params, &slots, [groups, rows.count, rows.polys]);
    Ok(())
}
