//! The inner product of a key switch.

use super::transform::gather;
use super::{CpuRing, Source, memory, row, rows_mut};
use crate::device::buffer::{Buffer, View};
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::simd;
use crate::units::GaloisElement;
use rayon::prelude::*;

/// Words whose 64-bit sums of both components stay in the first-level cache.
const TILE: usize = 512;
/// Products of two residues that a 64-bit sum can hold beside one residue.
const PRODUCTS: usize = 15;

/// `dst[c][b] = sum_d A_g(digits[d][b]) key[d][c]`.
pub(super) fn dot(
    ring: &CpuRing,
    (dst, digits): (&View, &View),
    (key, rows): (&[Buffer], &Basis),
    element: GaloisElement,
    basis: &Basis,
) -> Result<()> {
    let source = Source::new(dst, digits)?;
    let permutation = (element != GaloisElement::IDENTITY).then(|| ring.permutation(element));
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
        let key_limb = rows.primes()[limb] as usize;
        let (mut sum0, mut sum1, mut permuted) = ([0u64; TILE], [0u64; TILE], [0u32; TILE]);
        for (tile, (out0, out1)) in out0.chunks_mut(TILE).zip(out1.chunks_mut(TILE)).enumerate() {
            let span = tile * TILE..tile * TILE + out0.len();
            sum0.fill(0);
            sum1.fill(0);
            for (d, (view, words)) in keys.iter().enumerate() {
                let digit = source.other(d * batch + poly, limb);
                let digit = match &permutation {
                    None => &digit[span.clone()],
                    Some(permutation) => {
                        gather(&mut permuted, digit, &permutation[span.clone()]);
                        &permuted[..span.len()]
                    }
                };
                let part = |c: usize| &row(words, view, c, key_limb)[span.clone()];
                let (key0, key1) = (part(0), part(1));
                simd(|| {
                    let sums = sum0.iter_mut().zip(sum1.iter_mut());
                    for ((s0, s1), (x, (k0, k1))) in sums.zip(digit.iter().zip(key0.iter().zip(key1))) {
                        *s0 += u64::from(*x) * u64::from(*k0);
                        *s1 += u64::from(*x) * u64::from(*k1);
                    }
                    if (d + 1) % (PRODUCTS - 1) == 0 {
                        sum0.iter_mut().chain(sum1.iter_mut()).for_each(|s| *s = u64::from(r.wide(*s)));
                    }
                });
            }
            simd(|| {
                out0.iter_mut().zip(&sum0).for_each(|(o, s)| *o = r.wide(*s));
                out1.iter_mut().zip(&sum1).for_each(|(o, s)| *o = r.wide(*s));
            });
        }
    });
    Ok(())
}
