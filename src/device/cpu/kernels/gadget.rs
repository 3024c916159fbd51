//! The inner product of a key switch.

use super::convert::Groups;
use super::transform::permute;
use super::{CpuRing, Source, memory, row, rows_mut};
use crate::device::buffer::{Buffer, View};
use crate::device::cpu::memory::Pool;
use crate::device::program::{Basis, Digit};
use crate::error::Result;
use crate::math::rows::{self, PRODUCTS, TILE};
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
    /// Makes the rows of one limb, as far as they are not in memory.
    fn make(&self, poly: usize, limb: usize, rows: &mut [u32], n: usize) {
        if let Self::Made(_, groups, words) = self {
            for (digit, row) in rows.chunks_exact_mut(n).enumerate().filter(|(digit, _)| !groups.owns(*digit, limb)) {
                groups.row(words, (digit, poly, limb), row);
            }
        }
    }

    fn row<'r>(
        &'r self,
        digit: usize,
        (poly, batch, limb): (usize, usize, usize),
        rows: &'r [u32],
        n: usize,
    ) -> &'r [u32] {
        match self {
            Self::Stored(source) => source.other(digit * batch + poly, limb),
            Self::Made(source, groups, _) if groups.owns(digit, limb) => source.other(poly, limb),
            Self::Made(..) => &rows[digit * n..][..n],
        }
    }
}

impl Product<'_> {
    fn run(&self, ring: &CpuRing, digits: &Digits<'_>) -> Result<()> {
        let Self { dst, key, key_rows, basis, plus, element } = *self;
        let mut keys = Vec::with_capacity(key.len());
        for buffer in key {
            keys.push((buffer.view(), memory::of(buffer)?.read()));
        }
        let (limbs, batch) = (dst.limbs as usize, dst.polys as usize / 2);
        let summand = plus.map(|plus| Source::new(dst, plus)).transpose()?;
        let added = plus.map_or((0, 0), |plus| (plus.polys as usize, plus.limbs as usize));
        let plus_basis = basis.slice(0, plus.map_or(0, |plus| plus.limbs));
        let others = basis.slice(plus_basis.limbs(), basis.limbs() - plus_basis.limbs());
        let factors = ring.tables.extension(others.primes(), plus_basis.primes());
        let permutation = ring.moved(element);
        let mut words = memory::of(&dst.buffer)?.write();
        let mut first = rows_mut(&mut words, dst);
        let second = first.split_off(batch * limbs);
        let pairs: Vec<_> = first.into_iter().zip(second).collect();
        let n = ring.tables.log_n().degree();
        let made_words = if matches!(digits, Digits::Made(..)) { key.len() * n } else { 0 };
        let inner = |poly: usize, limb: usize, made: &[u32], (out0, out1): (&mut [u32], &mut [u32])| {
            let r = ring.reducer(basis.primes()[limb]);
            let key_limb = key_rows.primes()[limb] as usize;
            let (mut sum0, mut sum1) = ([0u64; TILE], [0u64; TILE]);
            let start = |sum: &mut [u64], poly: usize, span: std::ops::Range<usize>| {
                sum.fill(0);
                if let Some(summand) = summand.as_ref().filter(|_| poly < added.0 && limb < added.1) {
                    rows::accumulate_scaled(sum, &summand.other(poly, limb)[span], factors.product[limb]);
                }
            };
            for (tile, (out0, out1)) in out0.chunks_mut(TILE).zip(out1.chunks_mut(TILE)).enumerate() {
                let span = tile * TILE..tile * TILE + out0.len();
                start(&mut sum0, poly, span.clone());
                start(&mut sum1, batch + poly, span.clone());
                for (d, (view, words)) in keys.iter().enumerate() {
                    let digit = &digits.row(d, (poly, batch, limb), made, n)[span.clone()];
                    let part = |c: usize| &row(words, view, c, key_limb)[span.clone()];
                    rows::accumulate_pair(&mut sum0, &mut sum1, digit, part(0), part(1));
                    if (d + 2) % (PRODUCTS - 1) == 0 {
                        rows::fold(r, &mut sum0);
                        rows::fold(r, &mut sum1);
                    }
                }
                rows::finish(r, out0, &sum0);
                rows::finish(r, out1, &sum1);
            }
        };
        let memory = || (Vec::new(), Vec::new());
        pairs.into_par_iter().enumerate().for_each_init(memory, |(made, sums), (k, (out0, out1))| {
            let (poly, limb) = (k / limbs, k % limbs);
            made.resize(made_words, 0);
            digits.make(poly, limb, made, n);
            let Some(permutation) = &permutation else { return inner(poly, limb, made, (out0, out1)) };
            sums.resize(2 * n, 0);
            let (sum0, sum1) = sums.split_at_mut(n);
            inner(poly, limb, made, (sum0, sum1));
            permute(out0, sum0, permutation);
            permute(out1, sum1, permutation);
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
