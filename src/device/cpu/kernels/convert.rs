//! Base conversion and what is built on it: gadget decomposition and division with rounding.
//!
//! Each runs in two parallel sweeps: the first turns every source polynomial into the words `y_i` and the wrap count `v` of
//! [`crate::math::Extension`], the second makes every target row from them while it is in cache, its NTT included.

use super::{CpuRing, Source, grain, memory, rows_mut};
use crate::device::buffer::View;
use crate::device::cpu::memory::{Memory, Pool, Reading};
use crate::device::program::{Basis, Digit};
use crate::error::{Error, Result};
use crate::math::{Extension, pairs, rows};
use crate::units::GaloisElement;
use rayon::prelude::*;
use std::sync::Arc;

/// `dst = convert(src)`.
pub(super) fn basis_extend(
    ring: &CpuRing,
    pool: &Arc<Pool>,
    (dst, src): (&View, &View),
    (from, to): (&Basis, &Basis),
) -> Result<()> {
    let source = Source::new(dst, src)?;
    let extension = ring.tables.extension(from.primes(), to.primes());
    let n = ring.tables.log_n().degree();
    let group = (from.primes().len() + 1) * n;
    let scratch = scratch(pool, src.polys as usize * group)?;
    prepare(&mut scratch.write(), &extension, n, |poly, i, y, w| {
        let prime = &ring.tables.primes()[from.primes()[i] as usize];
        y.copy_from_slice(source.other(poly, i));
        rows::scale(prime.reducer(), y, w, prime.modulus().shoup(w));
    });
    let groups = scratch.read();
    let mut words = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    rows_mut(&mut words, dst).into_par_iter().with_min_len(grain(n)).enumerate().for_each(|(k, out)| {
        let poly = k / limbs % src.polys as usize;
        let r = ring.reducer(to.primes()[k % limbs]);
        pairs::convert(r, out, &extension, k % limbs, &groups[poly * group..][..group]);
        rows::reduce(r, out);
    });
    Ok(())
}

/// Digits of polynomials before their extension: for each digit and polynomial, digit-major, a group `[y_0, ..., v]`.
pub(super) struct Groups<'a> {
    ring: &'a CpuRing,
    digits: &'a [Digit],
    basis: &'a Basis,
    batch: usize,
    extensions: Vec<Arc<Extension>>,
    starts: Vec<usize>,
    words: Memory,
}

impl<'a> Groups<'a> {
    /// The digits of polynomials in evaluation form.
    pub(super) fn new(
        ring: &'a CpuRing,
        pool: &Arc<Pool>,
        (source, batch): (&Source<'_>, usize),
        digits: &'a [Digit],
        basis: &'a Basis,
    ) -> Result<Self> {
        let n = ring.tables.log_n().degree();
        let extension = |d: &Digit| ring.tables.extension(basis.slice(d.first, d.limbs).primes(), basis.primes());
        let extensions: Vec<_> = digits.iter().map(extension).collect();
        let size = |d: &Digit| batch * (d.limbs as usize + 1) * n;
        let starts = digits.iter().scan(0, |next, d| Some(std::mem::replace(next, *next + size(d)))).collect();
        let words = scratch(pool, digits.iter().map(size).sum())?;
        let mut all = words.write();
        let mut rest: &mut [u32] = &mut all;
        let mut parts = Vec::with_capacity(digits.len());
        for digit in digits {
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(size(digit));
            parts.push(part);
            rest = tail;
        }
        parts.into_par_iter().zip(digits).zip(&extensions).for_each(|((part, digit), extension)| {
            prepare(part, extension, n, |poly, i, y, w| {
                let limb = digit.first as usize + i;
                y.copy_from_slice(source.other(poly, limb));
                ring.tables.primes()[basis.primes()[limb] as usize].inverse_scaled(y, w);
            });
        });
        drop(all);
        Ok(Self { ring, digits, basis, batch, extensions, starts, words })
    }

    /// The words, for [`Self::row`].
    pub(super) fn read(&self) -> Reading<'_> {
        self.words.read()
    }

    /// Whether limb `limb` of digit `digit` is the source's own.
    pub(super) fn owns(&self, digit: usize, limb: usize) -> bool {
        let digit = self.digits[digit];
        (digit.first as usize..(digit.first + digit.limbs) as usize).contains(&limb)
    }

    /// Limb `limb` of digit `digit` of polynomial `poly`, where it is not the source's own.
    pub(super) fn row(&self, words: &[u32], (digit, poly, limb): (usize, usize, usize), out: &mut [u32]) {
        let size = (self.digits[digit].limbs as usize + 1) * out.len();
        debug_assert!(poly < self.batch && !self.owns(digit, limb));
        let group = &words[self.starts[digit] + poly * size..][..size];
        let prime = self.basis.primes()[limb];
        pairs::convert(self.ring.reducer(prime), out, &self.extensions[digit], limb, group);
        self.ring.tables.primes()[prime as usize].forward(out);
    }
}

/// Digits of polynomials, each extended to the whole basis in evaluation form.
pub(super) fn decompose(
    ring: &CpuRing,
    pool: &Arc<Pool>,
    (dst, src): (&View, &View),
    digits: &[Digit],
    basis: &Basis,
) -> Result<()> {
    let source = Source::new(dst, src)?;
    let (batch, limbs) = (src.polys as usize, basis.primes().len());
    let groups = Groups::new(ring, pool, (&source, batch), digits, basis)?;
    let prepared = groups.read();
    let mut words = memory::of(&dst.buffer)?.write();
    rows_mut(&mut words, dst).into_par_iter().enumerate().for_each(|(k, out)| {
        let (digit, poly, limb) = (k / limbs / batch, k / limbs % batch, k % limbs);
        if groups.owns(digit, limb) {
            out.copy_from_slice(source.other(poly, limb));
        } else {
            groups.row(&prepared, (digit, poly, limb), out);
        }
    });
    Ok(())
}

/// `dst = (round(src / D) + plus)(X^g)`, `D` the product of the dropped primes.
pub(super) fn mod_down(
    ring: &CpuRing,
    pool: &Arc<Pool>,
    (dst, src, plus): (&View, &View, Option<&View>),
    (kept, dropped): (&Basis, &Basis),
    element: GaloisElement,
) -> Result<()> {
    let source = Source::new(dst, src)?;
    let summand = plus.map(|plus| Source::new(dst, plus)).transpose()?;
    let extension = ring.tables.extension(dropped.primes(), kept.primes());
    let n = ring.tables.log_n().degree();
    let group = (dropped.primes().len() + 1) * n;
    let scratch = scratch(pool, dst.polys as usize * group)?;
    prepare(&mut scratch.write(), &extension, n, |poly, i, y, w| {
        y.copy_from_slice(source.other(poly, kept.primes().len() + i));
        ring.tables.primes()[dropped.primes()[i] as usize].inverse_scaled(y, w);
    });
    let groups = scratch.read();
    let permutation = ring.permutation(element);
    let mut words = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    let divide = |poly: usize, limb: usize, out: &mut [u32]| {
        let prime = &ring.tables.primes()[kept.primes()[limb] as usize];
        let r = ring.reducer(kept.primes()[limb]);
        pairs::convert(r, out, &extension, limb, &groups[poly * group..][..group]);
        prime.forward(out);
        let w = extension.product_inverse[limb];
        let quotient = prime.modulus().shoup(w);
        let added = plus.is_some_and(|plus| poly < plus.polys as usize);
        let plus = summand.as_ref().filter(|_| added).map(|summand| summand.other(poly, limb));
        pairs::divide(r, out, source.other(poly, limb), plus, w, quotient);
    };
    rows_mut(&mut words, dst).into_par_iter().enumerate().for_each(|(k, out)| {
        let (poly, limb) = (k / limbs, k % limbs);
        match &permutation {
            None => divide(poly, limb, out),
            Some(permutation) => memory::with_scratch(n, |row| {
                divide(poly, limb, row);
                permutation.apply(out, row);
            }),
        }
    });
    Ok(())
}

fn scratch(pool: &Arc<Pool>, words: usize) -> Result<Memory> {
    Memory::new(words, pool).ok_or(Error::OutOfMemory { device: "CPU".into(), bytes: 4 * words as u64 })
}

/// Fills groups `[y_0, ..., y_(s-1), v]`, one a polynomial, from residues: `load(poly, i, y, w)` brings `w` times them.
fn prepare(groups: &mut [u32], extension: &Extension, n: usize, load: impl Fn(usize, usize, &mut [u32], u32) + Sync) {
    let sources = extension.hat_inverse.len();
    groups.par_chunks_exact_mut((sources + 1) * n).enumerate().for_each(|(poly, group)| {
        let (ys, v) = group.split_at_mut(sources * n);
        ys.par_chunks_exact_mut(n).enumerate().for_each(|(i, y)| load(poly, i, y, extension.hat_inverse[i]));
        rows::wraps(v, ys, extension);
    });
}
