//! Word-by-word operations.

use super::{CpuRing, Source, grain, memory, rows_mut};
use crate::device::buffer::View;
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::{Reducer, simd};
use rayon::prelude::*;

/// Fills every row of `dst` from its row of `src`, then runs `f(poly, limb, row)` on it in place.
pub(super) fn unary(dst: &View, src: &View, f: impl Fn(usize, usize, &mut [u32]) + Sync) -> Result<()> {
    let source = Source::new(dst, src)?;
    let mut to = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    let min = grain(1 << dst.buffer.shape().log_n);
    rows_mut(&mut to, dst).into_par_iter().with_min_len(min).enumerate().for_each(|(k, out)| {
        if let Some(row) = source.row(k / limbs, k % limbs) {
            out.copy_from_slice(row);
        }
        f(k / limbs, k % limbs, out);
    });
    Ok(())
}

/// `dst = f(a, b)` word by word.
pub(super) fn zip(
    ring: &CpuRing,
    (dst, a, b): (&View, &View, &View),
    basis: &Basis,
    f: impl Fn(Reducer, u32, u32) -> u32 + Sync + Copy,
) -> Result<()> {
    let (first, second) = (Source::new(dst, a)?, Source::new(dst, b)?);
    let mut to = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    let min = grain(1 << dst.buffer.shape().log_n);
    rows_mut(&mut to, dst).into_par_iter().with_min_len(min).enumerate().for_each(|(k, out)| {
        let r = ring.reducer(basis.primes()[k % limbs]);
        match (first.row(k / limbs, k % limbs), second.row(k / limbs, k % limbs)) {
            (Some(a), Some(b)) => simd(|| out.iter_mut().zip(a).zip(b).for_each(|((o, a), b)| *o = f(r, *a, *b))),
            (Some(a), None) => simd(|| out.iter_mut().zip(a).for_each(|(o, a)| *o = f(r, *a, *o))),
            (None, Some(b)) => simd(|| out.iter_mut().zip(b).for_each(|(o, b)| *o = f(r, *o, *b))),
            (None, None) => simd(|| out.iter_mut().for_each(|o| *o = f(r, *o, *o))),
        }
    });
    Ok(())
}

/// `dst = dst + a * b` word by word.
pub(super) fn mul_add(ring: &CpuRing, (dst, a, b): (&View, &View, &View), basis: &Basis) -> Result<()> {
    let (first, second) = (Source::new(dst, a)?, Source::new(dst, b)?);
    let mut to = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    let min = grain(1 << dst.buffer.shape().log_n);
    rows_mut(&mut to, dst).into_par_iter().with_min_len(min).enumerate().for_each(|(k, out)| {
        let r = ring.reducer(basis.primes()[k % limbs]);
        let f = |o: u32, a: u32, b: u32| r.add(o, r.mul(a, b));
        match (first.row(k / limbs, k % limbs), second.row(k / limbs, k % limbs)) {
            (Some(a), Some(b)) => simd(|| out.iter_mut().zip(a).zip(b).for_each(|((o, a), b)| *o = f(*o, *a, *b))),
            (Some(x), None) | (None, Some(x)) => simd(|| out.iter_mut().zip(x).for_each(|(o, x)| *o = f(*o, *o, *x))),
            (None, None) => simd(|| out.iter_mut().for_each(|o| *o = f(*o, *o, *o))),
        }
    });
    Ok(())
}

/// `(a0 b0, a0 b1 + a1 b0, a1 b1)`.
pub(super) fn tensor(ring: &CpuRing, (dst, a, b): (&View, &View, &View), basis: &Basis) -> Result<()> {
    let (first, second) = (Source::new(dst, a)?, Source::new(dst, b)?);
    let mut to = memory::of(&dst.buffer)?.write();
    let (limbs, batch) = (dst.limbs as usize, dst.polys as usize / 3);
    let n = 1usize << dst.buffer.shape().log_n;
    let mut rows = rows_mut(&mut to, dst).into_iter();
    let low: Vec<_> = rows.by_ref().take(batch * limbs).collect();
    let middle: Vec<_> = rows.by_ref().take(batch * limbs).collect();
    let triples: Vec<_> = low.into_iter().zip(middle).zip(rows).collect();
    triples.into_par_iter().with_min_len(grain(2 * n)).enumerate().for_each(|(k, ((d0, d1), d2))| {
        let (poly, limb) = (k / limbs, k % limbs);
        let r = ring.reducer(basis.primes()[limb]);
        let (a0, a1) = (first.other(poly, limb), first.other(batch + poly, limb));
        let (b0, b1) = (second.other(poly, limb), second.other(batch + poly, limb));
        simd(|| {
            let out = d0.iter_mut().zip(d1.iter_mut()).zip(d2.iter_mut());
            for (((d0, d1), d2), ((a0, a1), (b0, b1))) in out.zip(a0.iter().zip(a1).zip(b0.iter().zip(b1))) {
                let (a0, a1, b0, b1) = (u64::from(*a0), u64::from(*a1), u64::from(*b0), u64::from(*b1));
                *d0 = r.product(a0 * b0);
                *d1 = r.wide(a0 * b1 + a1 * b0);
                *d2 = r.product(a1 * b1);
            }
        });
    });
    Ok(())
}
