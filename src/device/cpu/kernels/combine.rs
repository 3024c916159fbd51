//! Known matrices times batches of polynomials.

use super::{CpuRing, Source, memory, row, rows_mut};
use crate::device::buffer::View;
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::PRODUCTS;
use crate::math::rows::{self, TILE};
use rayon::prelude::*;

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
                    let w = row(&scalars, weights, o * inputs + i, limb)[0];
                    let input = &source.other(component * inputs + i, limb)[span.clone()];
                    rows::accumulate_scaled(&mut sums, input, w);
                    if (i + 1).is_multiple_of(PRODUCTS) {
                        rows::fold(r, &mut sums);
                    }
                }
                rows::finish(r, &mut out[span.clone()], &sums);
            }
        }
    });
    Ok(())
}
