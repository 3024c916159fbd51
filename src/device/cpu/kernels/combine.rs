//! Known matrices times batches of polynomials.

use super::{CpuRing, Source, memory, row, rows_mut};
use crate::device::buffer::View;
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::simd;
use rayon::prelude::*;

/// Words of a tile: the sums of one output and the tile of every input stay in cache.
const TILE: usize = 512;
/// Products of two residues that a 64-bit sum can hold beside one residue.
const PRODUCTS: usize = 15;

/// `dst[c][o] = sum_i weights[o][i] src[c][i]`.
pub(super) fn run(
    ring: &CpuRing,
    (dst, src, weights): (&View, &View, &View),
    components: u32,
    basis: &Basis,
) -> Result<()> {
    let source = Source::new(dst, src)?;
    let scalars = memory::of(&weights.buffer)?.read();
    let mut words = memory::of(&dst.buffer)?.write();
    let (limbs, components) = (dst.limbs as usize, components as usize);
    let (outputs, inputs) = (dst.polys as usize / components, src.polys as usize / components);
    // Rows of one component and limb share their inputs: one task each.
    let mut tasks: Vec<Vec<&mut [u32]>> = (0..components * limbs).map(|_| Vec::with_capacity(outputs)).collect();
    for (k, out) in rows_mut(&mut words, dst).into_iter().enumerate() {
        tasks[k / limbs / outputs * limbs + k % limbs].push(out);
    }
    tasks.into_par_iter().enumerate().for_each(|(task, mut outs)| {
        let (component, limb) = (task / limbs, task % limbs);
        let r = ring.reducer(basis.primes()[limb]);
        let n = outs[0].len();
        let mut sums = [0u64; TILE];
        for start in (0..n).step_by(TILE) {
            let span = start..(start + TILE).min(n);
            for (o, out) in outs.iter_mut().enumerate() {
                sums.fill(0);
                for i in 0..inputs {
                    let w = u64::from(row(&scalars, weights, o * inputs + i, limb)[0]);
                    let input = &source.other(component * inputs + i, limb)[span.clone()];
                    simd(|| {
                        sums.iter_mut().zip(input).for_each(|(s, x)| *s += u64::from(*x) * w);
                        if (i + 1) % (PRODUCTS - 1) == 0 {
                            sums.iter_mut().for_each(|s| *s = u64::from(r.wide(*s)));
                        }
                    });
                }
                simd(|| out[span.clone()].iter_mut().zip(&sums).for_each(|(o, s)| *o = r.wide(*s)));
            }
        }
    });
    Ok(())
}
