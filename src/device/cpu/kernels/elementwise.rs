//! Word-by-word operations.

use super::{CpuRing, Source, for_rows, grain, memory, rows_mut};
use crate::device::buffer::View;
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::Reducer;
use crate::math::pairs;
use crate::math::rows::{self, Operand};
use rayon::prelude::*;

/// Fills every row of `dst` from its row of `src`, then runs `f(poly, limb, row)` on it in place.
pub(super) fn unary(dst: &View, src: &View, f: impl Fn(usize, usize, &mut [u32]) + Sync) -> Result<()> {
    let source = Source::new(dst, src)?;
    for_rows(dst, grain(dst), |poly, limb, out| {
        if let Some(row) = source.row(poly, limb) {
            out.copy_from_slice(row);
        }
        f(poly, limb, out);
    })
}

/// Runs `f(reducer, out, a, b)` on every row, a missing operand being `out` itself.
pub(super) fn zip(
    ring: &CpuRing,
    (dst, a, b): (&View, &View, &View),
    basis: &Basis,
    f: impl for<'a> Fn(Reducer, &'a mut [u32], Operand<'a>, Operand<'a>) + Sync,
) -> Result<()> {
    let (first, second) = (Source::new(dst, a)?, Source::new(dst, b)?);
    for_rows(dst, grain(dst), |poly, limb, out| {
        f(ring.reducer(basis.primes()[limb]), out, first.row(poly, limb), second.row(poly, limb));
    })
}

/// `dst = dst + a * scalars`.
pub(super) fn mul_scalar_add(ring: &CpuRing, (dst, a): (&View, &View), scalars: &[u32], basis: &Basis) -> Result<()> {
    let source = Source::new(dst, a)?;
    for_rows(dst, grain(dst), |poly, limb, out| {
        let (r, [w, quotient]) = (ring.reducer(basis.primes()[limb]), ring.scalar(scalars, basis, (poly, limb)));
        rows::scale_add(r, out, source.row(poly, limb), w, quotient);
    })
}

/// `(a0 b0, a0 b1 + a1 b0, a1 b1)`.
pub(super) fn tensor(ring: &CpuRing, (dst, a, b): (&View, &View, &View), basis: &Basis) -> Result<()> {
    let (first, second) = (Source::new(dst, a)?, Source::new(dst, b)?);
    let square = a.is_same(b);
    let mut to = memory::of(&dst.buffer)?.write();
    let (limbs, batch) = (dst.limbs as usize, dst.polys as usize / 3);
    let mut low = rows_mut(&mut to, dst);
    let mut middle = low.split_off(batch * limbs);
    let high = middle.split_off(batch * limbs);
    let rows: Vec<_> = low.into_iter().zip(middle).zip(high).collect();
    rows.into_par_iter().with_min_len(grain(dst)).enumerate().for_each(|(k, ((low, middle), high))| {
        let (poly, limb) = (k / limbs, k % limbs);
        let r = ring.reducer(basis.primes()[limb]);
        let (out, a) = ([low, middle, high], [0, 1].map(|c| first.other(c * batch + poly, limb)));
        if square {
            pairs::square(r, out, a);
        } else {
            pairs::tensor(r, out, a, [0, 1].map(|c| second.other(c * batch + poly, limb)));
        }
    });
    Ok(())
}
