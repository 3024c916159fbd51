//! Automorphisms: permutations in evaluation form.

use super::{CpuRing, Source, grain, memory, rows_mut};
use crate::device::buffer::View;
use crate::error::Result;
use crate::units::GaloisElement;
use rayon::prelude::*;

/// `out[i] = row[permutation[i]]`.
pub(super) fn permute(out: &mut [u32], row: &[u32], permutation: &[u32]) {
    for (out, &index) in out.iter_mut().zip(permutation) {
        *out = row[index as usize];
    }
}

pub(super) fn automorphism(ring: &CpuRing, dst: &View, src: &View, element: GaloisElement) -> Result<()> {
    let source = Source::new(dst, src)?;
    let permutation = ring.permutation(element);
    let mut to = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    let min = grain(permutation.len());
    rows_mut(&mut to, dst).into_par_iter().with_min_len(min).enumerate().for_each(|(k, out)| {
        permute(out, source.other(k / limbs, k % limbs), &permutation);
    });
    Ok(())
}
