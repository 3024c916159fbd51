//! Transforms, and a ring's roots on the device.

use super::Lowering;
use crate::device::buffer::View;
use crate::device::gpu::catalog::{COLUMN_THREADS, Kernel};
use crate::device::gpu::dispatch::{Slot, slot};
use crate::device::gpu::memory::{Block, Pool};
use crate::device::gpu::params::{NttParams, Window};
use crate::device::gpu::tables::Table;
use crate::device::gpu::twiddles::{self, Direction, Plan};
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::RingTables;
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
        write: impl Fn(&Block, u64, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        let plan = Plan { log_n: ring.log_n().get() };
        let prime_bytes = 16 * u64::from(plan.prime_roots());
        let bytes = prime_bytes * ring.primes().len() as u64;
        let side = |direction| -> Result<Block> {
            let block = pool.fresh(bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST)?;
            // A few primes at a time bound the host's memory.
            for (first, primes) in (0u64..).step_by(8).zip(ring.primes().chunks(8)) {
                let roots: Vec<_> = primes.par_iter().map(|prime| twiddles::table(ring, prime, direction)).collect();
                for (index, roots) in (first..).zip(&roots) {
                    write(&block, index * prime_bytes, bytemuck::cast_slice(roots))?;
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

/// Which rows a transform covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Records, see `tables::row_record`.
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
    fn whole(to: &mut Lowering<'_>, dst: &View, basis: &Basis) -> Self {
        Self { table: to.table(Table::Rows(basis.clone())), count: basis.limbs(), polys: dst.polys, digit_rows: 0 }
    }
}

/// `NttForward`.
pub(super) fn forward(to: &mut Lowering<'_>, dst: &View, src: &View, basis: &Basis) -> Result<()> {
    repetitions(dst, src)?.try_for_each(|dst| {
        let rows = Rows::whole(to, &dst, basis);
        forward_rows(to, &dst, src, rows, None)
    })
}

/// The parts of `dst` that each take all of `src`: kernels do not repeat a source themselves.
fn repetitions(dst: &View, src: &View) -> Result<impl Iterator<Item = View>> {
    let parts: Result<Vec<View>> = (0..dst.polys / src.polys).map(|k| dst.polys(k * src.polys, src.polys)).collect();
    Ok(parts?.into_iter())
}

/// `NttInverse`.
pub(super) fn inverse(to: &mut Lowering<'_>, dst: &View, src: &View, basis: &Basis) -> Result<()> {
    repetitions(dst, src)?.try_for_each(|dst| inverse_once(to, &dst, src, basis))
}

fn inverse_once(to: &mut Lowering<'_>, dst: &View, src: &View, basis: &Basis) -> Result<()> {
    let rows = Rows::whole(to, dst, basis);
    let plan = to.ring.plan;
    let (stages, log_points) = (plan.column_stages(), plan.log_points());
    let roots = to.ring.inverse.clone();
    let mut launch = |kernel, src: &View, groups| -> Result<()> {
        let params = params(to, kernel, (dst, src, None), rows);
        let slots = [slot(&dst.buffer)?, Slot::Block(roots.clone()), slot(&src.buffer)?];
        to.recorder.launch(kernel, params, &slots, [groups, rows.count, rows.polys]);
        Ok(())
    };
    launch(Kernel::InverseRows { log_points, whole: stages == 0 }, src, 1 << stages)?;
    if stages > 0 {
        launch(Kernel::InverseColumns { stages }, dst, (1 << log_points) / COLUMN_THREADS)?;
    }
    Ok(())
}

/// Forward transform of some rows; with a minuend, its difference with the result times each record's scale.
pub(super) fn forward_rows(
    to: &mut Lowering<'_>,
    dst: &View,
    src: &View,
    rows: Rows,
    minuend: Option<&View>,
) -> Result<()> {
    let plan = to.ring.plan;
    let (stages, log_points) = (plan.column_stages(), plan.log_points());
    let roots = to.ring.forward.clone();
    let mut launch = |kernel, src: &View, groups| -> Result<()> {
        let params = params(to, kernel, (dst, src, minuend), rows);
        let mut slots = vec![slot(&dst.buffer)?, Slot::Block(roots.clone()), slot(&src.buffer)?];
        slots.extend(minuend.map(|view| slot(&view.buffer)).transpose()?);
        to.recorder.launch(kernel, params, &slots, [groups, rows.count, rows.polys]);
        Ok(())
    };
    if stages > 0 {
        launch(Kernel::ForwardColumns { stages }, src, (1 << log_points) / COLUMN_THREADS)?;
    }
    let source = if stages > 0 { dst } else { src };
    launch(Kernel::ForwardRows { log_points, whole: stages == 0, finish: minuend.is_some() }, source, 1 << stages)
}

fn params(
    to: &Lowering<'_>,
    kernel: Kernel,
    (dst, src, minuend): (&View, &View, Option<&View>),
    rows: Rows,
) -> NttParams {
    let plan = to.ring.plan;
    let [upper, middle, lower] = match kernel {
        Kernel::ForwardColumns { .. } | Kernel::InverseColumns { .. } => plan.column_offsets(),
        _ => plan.row_offsets(),
    };
    NttParams {
        dst: dst.into(),
        src: src.into(),
        minuend: minuend.map_or(Window::NONE, Window::from),
        log_n: plan.log_n,
        records: rows.table,
        digit_rows: rows.digit_rows,
        first_poly: 0,
        prime_roots: plan.prime_roots(),
        upper,
        middle,
        lower,
    }
}
