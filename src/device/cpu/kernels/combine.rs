//! Known matrices times batches of polynomials.

use super::{CpuRing, Source, memory, row, rows_mut};
use crate::device::buffer::View;
use crate::device::program::Basis;
use crate::error::{Error, Result};
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
    let scalars = memory::of(&weights.buffer)?.read();
    let inputs = (src.polys / components) as usize;
    mix(ring, (dst, src), components, basis, |o, limb| {
        let scalars = &scalars;
        (0..inputs).map(move |i| (i, row(scalars, weights, o * inputs + i, limb)[0]))
    })
}

/// `dst[c][o] = sum_e weights[e] src[c][column_e]` over the entries of row `o`.
pub(super) fn sparse(
    ring: &CpuRing,
    (dst, src, weights, pattern): (&View, &View, &View, &View),
    components: u32,
    basis: &Basis,
) -> Result<()> {
    let (outputs, inputs) = ((dst.polys / components) as usize, src.polys / components);
    let scalars = memory::of(&weights.buffer)?.read();
    let words = memory::of(&pattern.buffer)?.read();
    let shape = pattern.buffer.shape();
    let first = pattern.first_poly as usize * shape.limbs as usize + pattern.first_limb as usize;
    let (starts, columns) = words[first..first + pattern.limbs as usize].split_at(outputs + 1);
    if starts.iter().any(|start| *start > weights.polys) || columns.iter().any(|column| *column >= inputs) {
        return Err(Error::BadProgram { op: "combine_sparse", reason: "a pattern that points outside".into() });
    }
    mix(ring, (dst, src), components, basis, |o, limb| {
        let scalars = &scalars;
        (starts[o] as usize..starts[o + 1] as usize)
            .map(move |entry| (columns[entry] as usize, row(scalars, weights, entry, limb)[0]))
    })
}

/// `dst[c][o]`, the sum of the products that `terms` lists for output `o` and a limb: of an input `src[c][i]` and a weight.
fn mix<T: Iterator<Item = (usize, u32)>>(
    ring: &CpuRing,
    (dst, src): (&View, &View),
    components: u32,
    basis: &Basis,
    terms: impl Fn(usize, usize) -> T + Sync,
) -> Result<()> {
    let source = Source::new(dst, src)?;
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
                for (count, (i, w)) in (1usize..).zip(terms(o, limb)) {
                    let input = &source.other(component * inputs + i, limb)[span.clone()];
                    rows::accumulate_scaled(&mut sums, input, w);
                    if count.is_multiple_of(PRODUCTS) {
                        rows::fold(r, &mut sums);
                    }
                }
                rows::finish(r, &mut out[span.clone()], &sums);
            }
        }
    });
    Ok(())
}
