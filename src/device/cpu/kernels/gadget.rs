//! The inner product of a key switch.

use super::convert::Groups;
use super::{CpuRing, Source, memory, row, rows_mut};
use crate::device::buffer::{Buffer, View};
use crate::device::cpu::memory::Pool;
use crate::device::program::{Basis, Digit};
use crate::error::Result;
use crate::math::pairs::{self, PRODUCTS, Term};
use crate::units::GaloisElement;
use rayon::prelude::*;
use std::sync::Arc;

/// What an inner product needs beside its digits.
pub(super) struct Product<'a> {
    pub(super) dst: &'a View,
    pub(super) key: &'a [Buffer],
    pub(super) key_rows: &'a Basis,
    pub(super) basis: &'a Basis,
    pub(super) plus: Option<&'a View>,
    pub(super) element: GaloisElement,
}

/// Where the digits come from.
enum Digits<'a> {
    /// Memory.
    Stored(Source<'a>),
    /// The polynomials that are cut, and what conversions start from: each row is made where it is used.
    Made(Source<'a>, &'a Groups<'a>, &'a [u32]),
}

impl Digits<'_> {
    /// Row of one limb of a digit, made in `memory` if it is not anywhere.
    fn row<'r>(&'r self, digit: usize, (poly, batch, limb): (usize, usize, usize), memory: &'r mut [u32]) -> &'r [u32] {
        match self {
            Self::Stored(source) => source.other(digit * batch + poly, limb),
            Self::Made(source, groups, _) if groups.owns(digit, limb) => source.other(poly, limb),
            Self::Made(_, groups, words) => {
                groups.row(words, (digit, poly, limb), memory);
                memory
            }
        }
    }
}

/// Words of made rows that a thread keeps before it sums them up: they stay in a core's own cache.
const MADE_WORDS: usize = 1 << 18;

impl Product<'_> {
    fn run(&self, ring: &CpuRing, digits: &Digits<'_>) -> Result<()> {
        let Self { dst, key, key_rows, basis, plus, element } = *self;
        let keys = key.iter().map(|buffer| Ok((buffer.view(), memory::of(buffer)?.read())));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let (n, limbs, batch) = (ring.tables.log_n().degree(), dst.limbs as usize, dst.polys as usize / 2);
        let summand = plus.map(|plus| Source::new(dst, plus)).transpose()?;
        let (plus_polys, plus_limbs) = plus.map_or((0, 0), |plus| (plus.polys as usize, plus.limbs));
        let others = basis.slice(plus_limbs, basis.limbs() - plus_limbs);
        let factors = ring.tables.extension(others.primes(), basis.slice(0, plus_limbs).primes());
        // Digits at a time: as many as a sum takes beside what it starts from, and fewer where their rows are made and long.
        let group = match digits {
            Digits::Stored(_) => PRODUCTS - 1,
            Digits::Made(..) => (MADE_WORDS / n).clamp(1, PRODUCTS - 1),
        };
        let made = if matches!(digits, Digits::Made(..)) { group.min(key.len()) * n } else { 0 };
        // Fills a row with what its sum starts from, and tells the factor.
        let start = |poly: usize, limb: usize, out: &mut [u32]| match &summand {
            Some(summand) if poly < plus_polys && limb < plus_limbs as usize => {
                out.copy_from_slice(summand.other(poly, limb));
                factors.product[limb]
            }
            _ => 0,
        };
        let sum = |(poly, limb): (usize, usize), memory: &mut [u32], out0: &mut [u32], out1: &mut [u32]| {
            let r = ring.reducer(basis.primes()[limb]);
            let key_limb = key_rows.primes()[limb] as usize;
            let mut factors = [start(poly, limb, out0), start(batch + poly, limb, out1)];
            for (first, keys) in (0..).step_by(group).zip(keys.chunks(group)) {
                let mut rows = memory.chunks_exact_mut(n);
                let mut terms: [Term<'_>; PRODUCTS - 1] = [[&[]; 3]; PRODUCTS - 1];
                for ((digit, (view, words)), term) in (first..).zip(keys).zip(&mut terms) {
                    let x = digits.row(digit, (poly, batch, limb), rows.next().unwrap_or_default());
                    *term = [x, row(words, view, 0, key_limb), row(words, view, 1, key_limb)];
                }
                pairs::dot(r, out0, out1, factors, &terms[..keys.len()]);
                factors = [1, 1];
            }
        };
        let permutation = ring.permutation(element);
        let mut words = memory::of(&dst.buffer)?.write();
        let mut first = rows_mut(&mut words, dst);
        let second = first.split_off(batch * limbs);
        let rows: Vec<_> = first.into_iter().zip(second).collect();
        rows.into_par_iter().enumerate().for_each(|(k, (out0, out1))| {
            let at = (k / limbs, k % limbs);
            match &permutation {
                None => memory::with_scratch(made, |memory| sum(at, memory, out0, out1)),
                Some(permutation) => memory::with_scratch(made + 2 * n, |memory| {
                    let (sums, memory) = memory.split_at_mut(2 * n);
                    let (sum0, sum1) = sums.split_at_mut(n);
                    sum(at, memory, sum0, sum1);
                    permutation.apply(out0, sum0);
                    permutation.apply(out1, sum1);
                }),
            }
        });
        Ok(())
    }

    /// `dst[c][b] = (Q plus[c][b] + sum_d digits[d][b] key[d][c])(X^g)`.
    pub(super) fn of_digits(&self, ring: &CpuRing, digits: &View) -> Result<()> {
        self.run(ring, &Digits::Stored(Source::new(self.dst, digits)?))
    }

    /// The same of the digits of `src`, each made where it is used.
    pub(super) fn of_source(&self, ring: &CpuRing, pool: &Arc<Pool>, src: &View, digits: &[Digit]) -> Result<()> {
        let source = Source::new(self.dst, src)?;
        let groups = Groups::new(ring, pool, (&source, src.polys as usize), digits, self.basis)?;
        let words = groups.read();
        self.run(ring, &Digits::Made(source, &groups, &words))
    }
}
