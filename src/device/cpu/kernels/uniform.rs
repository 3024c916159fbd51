//! Residues from a public seed.

use super::{CpuRing, for_rows};
use crate::device::buffer::View;
use crate::device::program::Basis;
use crate::error::Result;
use crate::math::{Csprng, Seed};

/// Row `r` from stream `r` of the seed.
pub(super) fn run(ring: &CpuRing, dst: &View, seed: [u8; 32], basis: &Basis) -> Result<()> {
    let seed = Seed::from_bytes(seed);
    for_rows(dst, 1, |poly, limb, out| {
        let prime = &ring.tables.primes()[basis.primes()[limb] as usize];
        let row = poly * basis.primes().len() + limb;
        Csprng::with_stream(&seed, row as u64).uniform(prime.modulus(), out);
    })
}
