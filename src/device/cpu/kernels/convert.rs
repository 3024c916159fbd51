//! Base conversion and what is built on it: gadget decomposition and division with rounding.
//!
//! Each runs in two parallel sweeps: the first turns every source polynomial into the words `y_i` and the wrap count `v` of
//! [`crate::math::Extension`], the second makes every target row from them while it is in cache, its NTT included.

use super::transform::permute;
use super::{CpuRing, Source, grain, memory, rows_mut};
use crate::device::buffer::View;
use crate::device::cpu::memory::{Memory, Pool, Reading};
use crate::device::program::{Basis, Digit};
use crate::error::{Error, Result};
use crate::math::{Extension, rows};
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
    prepare(ring, &mut scratch.write(), &extension, from.primes(), |poly, i, y| {
        y.copy_from_slice(source.other(poly, i));
    });
    let groups = scratch.read();
    let mut words = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    rows_mut(&mut words, dst).into_par_iter().with_min_len(grain(n)).enumerate().for_each(|(k, out)| {
        let poly = k / limbs % src.polys as usize;
        rows::convert(
            ring.reducer(to.primes()[k % limbs]),
            out,
            &extension,
            k % limbs,
            &groups[poly * group..][..group],
        );
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
            let from = basis.slice(digit.first, digit.limbs);
            prepare(ring, part, extension, from.primes(), |poly, i, y| {
                let limb = digit.first as usize + i;
                y.copy_from_slice(source.other(poly, limb));
                ring.tables.primes()[basis.primes()[limb] as usize].inverse(y);
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
        rows::convert(self.ring.reducer(prime), out, &self.extensions[digit], limb, group);
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
    prepare(ring, &mut scratch.write(), &extension, dropped.primes(), |poly, i, y| {
        y.copy_from_slice(source.other(poly, kept.primes().len() + i));
        ring.tables.primes()[dropped.primes()[i] as usize].inverse(y);
    });
    let groups = scratch.read();
    let permutation = ring.moved(element);
    let mut words = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    let divide = |poly: usize, limb: usize, out: &mut [u32]| {
        let prime = &ring.tables.primes()[kept.primes()[limb] as usize];
        let r = ring.reducer(kept.primes()[limb]);
        rows::convert(r, out, &extension, limb, &groups[poly * group..][..group]);
        prime.forward(out);
        let w = extension.product_inverse[limb];
        let quotient = prime.modulus().shoup(w);
        rows::sub_from_scale(r, out, source.other(poly, limb), w, quotient);
        if let Some(summand) = summand.as_ref().filter(|_| plus.is_some_and(|plus| poly < plus.polys as usize)) {
            rows::add(r, out, None, Some(summand.other(poly, limb)));
        }
    };
    rows_mut(&mut words, dst).into_par_iter().enumerate().for_each_init(Vec::new, |row, (k, out)| {
        let (poly, limb) = (k / limbs, k % limbs);
        let Some(permutation) = &permutation else { return divide(poly, limb, out) };
        row.resize(n, 0);
        divide(poly, limb, row);
        permute(out, row, permutation);
    });
    Ok(())
}

fn scratch(pool: &Arc<Pool>, words: usize) -> Result<Memory> {
    Memory::new(words, pool).ok_or(Error::OutOfMemory { device: "CPU".into(), bytes: 4 * words as u64 })
}

/// Fills groups `[y_0, ..., y_(s-1), v]`, one a polynomial, from residues that `load(poly, i, y)` brings.
fn prepare(
    ring: &CpuRing,
    groups: &mut [u32],
    extension: &Extension,
    from: &[u32],
    load: impl Fn(usize, usize, &mut [u32]) + Sync,
) {
    let n = ring.tables.log_n().degree();
    let sources = from.len();
    groups.par_chunks_exact_mut((sources + 1) * n).enumerate().for_each(|(poly, group)| {
        let (ys, v) = group.split_at_mut(sources * n);
        ys.par_chunks_exact_mut(n).enumerate().for_each(|(i, y)| {
            load(poly, i, y);
            let (r, w) = (ring.reducer(from[i]), extension.hat_inverse[i]);
            if w != 1 {
                let quotient = ring.tables.primes()[from[i] as usize].modulus().shoup(w);
                rows::scale(r, y, w, quotient);
            }
        });
        rows::wraps(v, ys, extension);
    });
}
