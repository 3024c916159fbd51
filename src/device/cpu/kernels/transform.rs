//! Automorphisms: permutations in evaluation form.

use super::{CpuRing, Source, for_rows, grain};
use crate::device::buffer::View;
use crate::error::Result;
use crate::math::simd;
use crate::units::{GaloisElement, LogN};
use pulp::Arch;

/// Words of a block: those of a vector.
const BLOCK: usize = 16;

/// Where the words of a row come from under `X -> X^g`.
///
/// Word `i` is the value at exponent `2 brv(i) + 1`. The lowest bits of `i`, which count within an aligned block, are the highest of
/// the exponent. Multiplied by `g`, all exponents of a block share their low bits, so an aligned block is a permuted aligned block,
/// and which of the 16 permutations depends on what the low bits carry over.
#[derive(Debug)]
pub(in crate::device::cpu) struct Permutation {
    /// For each block, `16 s + c`: the block that its words are from, and which of the patterns they follow.
    blocks: Vec<u32>,
    /// For each carry, the source of every word.
    patterns: [[u32; BLOCK]; BLOCK],
}

impl Permutation {
    pub(super) fn new(element: GaloisElement, log_n: LogN) -> Self {
        let (g, bits) = (element.get(), log_n.get() - BLOCK.ilog2());
        let reverse = |i: u32, bits: u32| i.reverse_bits() >> (32 - bits);
        let block = |i: u32| {
            let exponent = g.wrapping_mul(2 * reverse(i, bits) + 1) & ((2 << log_n.get()) - 1);
            let (carry, low) = (exponent >> (bits + 1), (exponent >> 1) & ((1 << bits) - 1));
            reverse(low, bits) << BLOCK.ilog2() | carry
        };
        let source = |carry: u32, word: u32| reverse((carry + g * reverse(word, 4)) % 16, 4);
        let all: [u32; BLOCK] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let patterns = all.map(|carry| all.map(|word| source(carry, word)));
        Self { blocks: (0..1u32 << bits).map(block).collect(), patterns }
    }

    /// `out(X) = row(X^g)`.
    pub(super) fn apply(&self, out: &mut [u32], row: &[u32]) {
        self.apply_by(simd::arch(), out, row);
    }

    /// [`Self::apply`] by an instruction set.
    fn apply_by(&self, arch: Arch, out: &mut [u32], row: &[u32]) {
        match arch {
            #[cfg(target_arch = "x86_64")]
            Arch::V4(simd) => simd.vectorize(Vectors { simd, permutation: self, out, row }),
            _ => self.apply_portable(out, row),
        }
    }

    /// [`Self::apply`] word by word.
    fn apply_portable(&self, out: &mut [u32], row: &[u32]) {
        let (row, _) = row.as_chunks::<BLOCK>();
        for (out, block) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(&self.blocks) {
            let (from, pattern) = self.source(row, *block);
            *out = std::array::from_fn(|word| from[pattern[word] as usize % BLOCK]);
        }
    }

    #[inline(always)]
    fn source<'a>(&'a self, row: &'a [[u32; BLOCK]], block: u32) -> (&'a [u32; BLOCK], &'a [u32; BLOCK]) {
        (&row[block as usize / BLOCK], &self.patterns[block as usize % BLOCK])
    }
}

/// [`Permutation::apply`] with a vector's permutation for each block.
#[cfg(target_arch = "x86_64")]
struct Vectors<'a> {
    simd: pulp::x86::V4,
    permutation: &'a Permutation,
    out: &'a mut [u32],
    row: &'a [u32],
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Vectors<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, permutation, out, row } = self;
        let (row, _) = row.as_chunks::<BLOCK>();
        for (out, block) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(&permutation.blocks) {
            let (from, pattern) = permutation.source(row, *block);
            *out = pulp::cast(simd.avx512f._mm512_permutexvar_epi32(pulp::cast(*pattern), pulp::cast(*from)));
        }
    }
}

/// `Automorphism`.
pub(super) fn automorphism(ring: &CpuRing, dst: &View, src: &View, element: GaloisElement) -> Result<()> {
    let source = Source::new(dst, src)?;
    let permutation = ring.permutation(element);
    for_rows(dst, grain(dst), |poly, limb, out| {
        let row = source.other(poly, limb);
        match &permutation {
            Some(permutation) => permutation.apply(out, row),
            None => out.copy_from_slice(row),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_the_definition() {
        let log_n = LogN::new(10).unwrap();
        let reverse = |i: usize| i.reverse_bits() >> (usize::BITS - log_n.get());
        let row: Vec<u32> = (0..1024).collect();
        for steps in -20..20 {
            let rotation = GaloisElement::from_steps(steps, log_n);
            for g in [rotation.get(), 2048 - rotation.get()] {
                let permutation = Permutation::new(GaloisElement::new(g, log_n).unwrap(), log_n);
                let source = |i: usize| row[reverse((g as usize * (2 * reverse(i) + 1) % 2048 - 1) / 2)];
                let want: Vec<u32> = (0..1024).map(source).collect();
                for simd::Set { name, arch, .. } in simd::available() {
                    let mut got = vec![0; 1024];
                    permutation.apply_by(arch, &mut got, &row);
                    assert_eq!(got, want, "{name}, {g}");
                }
            }
        }
    }
}
