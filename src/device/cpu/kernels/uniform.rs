//! Residues from a public seed.

use super::{CpuRing, memory, rows_mut};
use crate::device::buffer::View;
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::{Csprng, Seed};
use rayon::prelude::*;

/// Row `r` from stream `r` of the seed.
pub(super) fn run(ring: &CpuRing, dst: &View, seed: [u8; 32], basis: &Basis) -> Result<()> {
    let seed = Seed::from_bytes(seed);
    let mut words = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    rows_mut(&mut words, dst).into_par_iter().enumerate().for_each(|(row, out)| {
        let prime = &ring.tables.primes()[basis.primes()[row % limbs] as usize];
        Csprng::with_stream(&seed, row as u64).uniform(prime.modulus(), out);
    });
    Ok(())
}
