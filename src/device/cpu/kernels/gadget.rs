//! The inner product of a key switch.

use super::{CpuRing, Source, memory, row, rows_mut};
use crate::device::buffer::{Buffer, View};
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::rows::{self, PRODUCTS, TILE};
use rayon::prelude::*;

/// `dst[c][b] = sum_d digits[d][b] key[d][c]`.
pub(super) fn dot(
    ring: &CpuRing,
    (dst, digits): (&View, &View),
    (key, key_rows): (&[Buffer], &Basis),
    basis: &Basis,
) -> Result<()> {
    let source = Source::new(dst, digits)?;
    let mut keys = Vec::with_capacity(key.len());
    for buffer in key {
        keys.push((buffer.view(), memory::of(buffer)?.read()));
    }
    let mut words = memory::of(&dst.buffer)?.write();
    let (limbs, batch) = (dst.limbs as usize, dst.polys as usize / 2);
    let mut first = rows_mut(&mut words, dst);
    let second = first.split_off(batch * limbs);
    let pairs: Vec<_> = first.into_iter().zip(second).collect();
    pairs.into_par_iter().enumerate().for_each(|(k, (out0, out1))| {
        let (poly, limb) = (k / limbs, k % limbs);
        let r = ring.reducer(basis.primes()[limb]);
        let key_limb = key_rows.primes()[limb] as usize;
        let (mut sum0, mut sum1) = ([0u64; TILE], [0u64; TILE]);
        for (tile, (out0, out1)) in out0.chunks_mut(TILE).zip(out1.chunks_mut(TILE)).enumerate() {
            let span = tile * TILE..tile * TILE + out0.len();
            sum0.fill(0);
            sum1.fill(0);
            for (d, (view, words)) in keys.iter().enumerate() {
                let digit = &source.other(d * batch + poly, limb)[span.clone()];
                let part = |c: usize| &row(words, view, c, key_limb)[span.clone()];
                rows::accumulate_pair(&mut sum0, &mut sum1, digit, part(0), part(1));
                if (d + 1) % (PRODUCTS - 1) == 0 {
                    rows::fold(r, &mut sum0);
                    rows::fold(r, &mut sum1);
                }
            }
            rows::finish(r, out0, &sum0);
            rows::finish(r, out1, &sum1);
        }
    });
    Ok(())
}
