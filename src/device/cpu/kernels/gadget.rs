//! The inner product of a key switch.

use super::convert::Groups;
use super::{CpuRing, Source, memory, row, rows_mut};
use crate::device::buffer::View;
use crate::device::cpu::memory::{Pool, Reading};
use crate::device::program::{Digit, InnerProduct};
use crate::error::Result;
use crate::math::pairs::{self, TERMS, Term};
use rayon::prelude::*;
use std::sync::Arc;

/// `GadgetDot`.
pub(super) fn gadget_dot(ring: &CpuRing, (dst, digits): (&View, &View), product: &InnerProduct) -> Result<()> {
    let digits = Digits::Stored(Source::new(dst, digits)?);
    Sums::new(ring, dst, digits, product)?.write()
}

/// `KeySwitch`: every row of a digit is made where it is used.
pub(super) fn key_switch(
    ring: &CpuRing,
    pool: &Arc<Pool>,
    (dst, src): (&View, &View),
    digits: &[Digit],
    product: &InnerProduct,
) -> Result<()> {
    let source = Source::new(dst, src)?;
    let groups = Groups::new(ring, pool, (&source, src.polys as usize), digits, &product.basis)?;
    Sums::new(ring, dst, Digits::Made(source, &groups), product)?.write()
}

/// Where the digits come from.
enum Digits<'a> {
    /// Memory.
    Stored(Source<'a>),
    /// The polynomials that are cut, and what conversions start from.
    Made(Source<'a>, &'a Groups<'a>),
}

impl Digits<'_> {
    /// Row of one limb of a digit, made in `memory` if it is not anywhere: stored digits need none.
    fn row<'r>(
        &'r self,
        digit: usize,
        (poly, batch, limb): (usize, usize, usize),
        memory: Option<&'r mut [u32]>,
    ) -> &'r [u32] {
        match self {
            Self::Stored(source) => source.other(digit * batch + poly, limb),
            Self::Made(source, groups) if groups.owns(digit, limb) => source.other(poly, limb),
            Self::Made(_, groups) => {
                let out = memory.expect("a row for every digit of a group");
                groups.row((digit, poly, limb), out);
                out
            }
        }
    }
}

/// Words of made rows that a thread keeps before it sums them up: they stay in a core's own cache.
const MADE_WORDS: usize = 1 << 18;

/// One operation: `dst[c][b] = (Q plus[c][b] + sum_d digits[d][b] key[d][c])(X^g)`.
struct Sums<'a> {
    ring: &'a CpuRing,
    dst: &'a View,
    product: &'a InnerProduct,
    digits: Digits<'a>,
    keys: Vec<(View, Reading<'a>)>,
    /// The summand, and `Q` modulo each of its primes.
    plus: Option<(&'a View, Source<'a>, Vec<u32>)>,
    batch: usize,
    /// Digits that are summed up at a time.
    group: usize,
}

impl<'a> Sums<'a> {
    fn new(ring: &'a CpuRing, dst: &'a View, digits: Digits<'a>, product: &'a InnerProduct) -> Result<Self> {
        let keys = product.key.iter().map(|buffer| Ok((buffer.view(), memory::of(buffer)?.read())));
        let plus = |plus: &'a View| {
            let (own, others) = product.basis.primes().split_at(plus.limbs as usize);
            let factors = own.iter().map(|&prime| ring.tables.product(others, prime)).collect();
            Ok((plus, Source::new(dst, plus)?, factors))
        };
        let group = match digits {
            Digits::Stored(_) => TERMS,
            Digits::Made(..) => (MADE_WORDS / ring.tables.log_n().degree()).clamp(1, TERMS),
        };
        let (keys, plus) = (keys.collect::<Result<_>>()?, product.plus.as_ref().map(plus).transpose()?);
        Ok(Self { ring, dst, product, digits, keys, plus, batch: dst.polys as usize / 2, group })
    }

    /// Fills a row with what its sum starts from, and tells the factor.
    fn start(&self, poly: usize, limb: usize, out: &mut [u32]) -> u32 {
        match &self.plus {
            Some((plus, source, factors)) if poly < plus.polys as usize && limb < plus.limbs as usize => {
                out.copy_from_slice(source.other(poly, limb));
                factors[limb]
            }
            _ => 0,
        }
    }

    /// The sums of both components before the automorphism; `memory` is for the rows of a group that are made.
    fn sum(&self, (poly, limb): (usize, usize), memory: &mut [u32], [out0, out1]: [&mut [u32]; 2]) {
        let r = self.ring.reducer(self.product.basis.primes()[limb]);
        let key_limb = self.product.rows.primes()[limb] as usize;
        let mut factors = [self.start(poly, limb, out0), self.start(self.batch + poly, limb, out1)];
        for (first, keys) in (0..).step_by(self.group).zip(self.keys.chunks(self.group)) {
            let mut made = memory.chunks_exact_mut(out0.len());
            let mut terms: [Term<'_>; TERMS] = [[&[]; 3]; TERMS];
            for ((digit, (view, words)), term) in (first..).zip(keys).zip(&mut terms) {
                let x = self.digits.row(digit, (poly, self.batch, limb), made.next());
                *term = [x, row(words, view, 0, key_limb), row(words, view, 1, key_limb)];
            }
            pairs::dot(r, out0, out1, factors, &terms[..keys.len()]);
            factors = [1, 1];
        }
    }

    /// Runs the operation.
    fn write(&self) -> Result<()> {
        let (n, limbs) = (self.ring.tables.log_n().degree(), self.dst.limbs as usize);
        let made = match self.digits {
            Digits::Stored(_) => 0,
            Digits::Made(..) => self.group.min(self.keys.len()) * n,
        };
        let permutation = self.ring.permutation(self.product.element);
        let mut words = memory::of(&self.dst.buffer)?.write();
        let mut first = rows_mut(&mut words, self.dst);
        let second = first.split_off(self.batch * limbs);
        let rows: Vec<_> = first.into_iter().zip(second).collect();
        rows.into_par_iter().enumerate().for_each(|(k, (out0, out1))| {
            let at = (k / limbs, k % limbs);
            match &permutation {
                None => memory::with_scratch(made, |memory| self.sum(at, memory, [out0, out1])),
                Some(permutation) => memory::with_scratch(made + 2 * n, |memory| {
                    let (sums, memory) = memory.split_at_mut(2 * n);
                    let (sum0, sum1) = sums.split_at_mut(n);
                    self.sum(at, memory, [sum0, sum1]);
                    permutation.apply(out0, sum0);
                    permutation.apply(out1, sum1);
                }),
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::backend::Backend;
    use crate::device::buffer::Buffer;
    use crate::device::cpu::CpuBackend;
    use crate::device::program::Basis;
    use crate::math::{RingTables, ntt_primes_below};
    use crate::units::{GaloisElement, LogN, Shape};

    #[test]
    fn sums_do_not_depend_on_how_many_digits_are_summed_at_a_time() {
        const LIMBS: u32 = 6;
        let log_n = LogN::new(10).unwrap();
        let primes: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(LIMBS as usize).collect();
        let ring = CpuRing::new(Arc::new(RingTables::new(log_n, &primes).unwrap()));
        let (backend, pool) = (CpuBackend::new(), Arc::default());
        let buffer = |batch: u32, seed: u32| -> Buffer {
            let shape = Shape { batch, limbs: LIMBS, log_n: 10 };
            let word = |i: u32| (i + 1).wrapping_mul(2_654_435_761).rotate_left(seed) % primes[5];
            backend.upload(shape, &(0..).take(shape.words()).map(word).collect::<Vec<_>>()).unwrap()
        };
        let digits: Vec<Digit> = (0..5).map(|first| Digit { first, limbs: 1 }).collect();
        let source = buffer(2, 1).view().limbs(0, 5).unwrap();
        for element in [GaloisElement::IDENTITY, GaloisElement::from_steps(3, log_n)] {
            let (key, basis) = ((2..7).map(|seed| buffer(2, seed)).collect(), Basis::new(0..LIMBS));
            let plus = Some(buffer(3, 9).view().limbs(0, 4).unwrap());
            let product = InnerProduct { key, rows: basis.clone(), basis, plus, element };
            let results = [TERMS, 1, 2, 3].map(|group| {
                let dst = buffer(4, 10).view();
                let source = Source::new(&dst, &source).unwrap();
                let groups = Groups::new(&ring, &pool, (&source, 2), &digits, &product.basis).unwrap();
                let mut sums = Sums::new(&ring, &dst, Digits::Made(source, &groups), &product).unwrap();
                assert_eq!(sums.group, TERMS);
                sums.group = group;
                sums.write().unwrap();
                backend.download(&dst.buffer).unwrap()
            });
            assert!(results.iter().all(|words| *words == results[0]));
        }
    }
}
