//! Base conversion and what is built on it: gadget decomposition and division with rounding.
//!
//! Each runs in two parallel sweeps: the first turns every source polynomial into the words `y_i` and the wrap count `v` of
//! [`crate::math::Extension`], the second makes every target row from them while it is in cache, its NTT included.

use super::{CpuRing, Source, grain, memory, rows_mut};
use crate::device::buffer::View;
use crate::device::cpu::memory::{Memory, Pool};
use crate::device::program::{Basis, Digit};
use crate::error::{Error, Result};
use crate::math::{Extension, rows};
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

/// Digits of polynomials, each extended to the whole basis in evaluation form.
pub(super) fn decompose(
    ring: &CpuRing,
    pool: &Arc<Pool>,
    (dst, coefficients, evaluations): (&View, &View, &View),
    digits: &[Digit],
    basis: &Basis,
) -> Result<()> {
    let n = ring.tables.log_n().degree();
    let (batch, limbs) = (evaluations.polys as usize, basis.primes().len());
    let words_in = Source::new(dst, coefficients)?;
    let own = Source::new(dst, evaluations)?;
    let extensions: Vec<Arc<Extension>> =
        digits.iter().map(|d| ring.tables.extension(basis.slice(d.first, d.limbs).primes(), basis.primes())).collect();
    // One group [y_0, ..., v] for each digit and polynomial, digit-major.
    let starts: Vec<usize> = digits
        .iter()
        .scan(0, |next, d| {
            let start = *next;
            *next += batch * (d.limbs as usize + 1) * n;
            Some(start)
        })
        .collect();
    let total: usize = digits.iter().map(|d| batch * (d.limbs as usize + 1) * n).sum();
    let scratch = scratch(pool, total)?;
    let mut groups = scratch.write();
    let mut rest: &mut [u32] = &mut groups;
    let mut parts = Vec::with_capacity(digits.len());
    for digit in digits {
        let (part, tail) = std::mem::take(&mut rest).split_at_mut(batch * (digit.limbs as usize + 1) * n);
        parts.push(part);
        rest = tail;
    }
    parts.into_par_iter().zip(digits).zip(&extensions).for_each(|((part, digit), extension)| {
        let from = basis.slice(digit.first, digit.limbs);
        prepare(ring, part, extension, from.primes(), |poly, i, y| {
            y.copy_from_slice(words_in.other(poly, digit.first as usize + i));
        });
    });
    let groups = &groups[..];
    let mut words = memory::of(&dst.buffer)?.write();
    rows_mut(&mut words, dst).into_par_iter().enumerate().for_each(|(k, out)| {
        let (index, poly, limb) = (k / limbs / batch, k / limbs % batch, k % limbs);
        let digit = digits[index];
        if (digit.first as usize..(digit.first + digit.limbs) as usize).contains(&limb) {
            out.copy_from_slice(own.other(poly, limb));
            return;
        }
        let size = (digit.limbs as usize + 1) * n;
        let group = &groups[starts[index] + poly * size..][..size];
        let prime = basis.primes()[limb];
        rows::convert(ring.reducer(prime), out, &extensions[index], limb, group);
        ring.tables.primes()[prime as usize].forward(out);
    });
    Ok(())
}

/// `dst = round(src / D)`, `D` the product of the dropped primes.
pub(super) fn mod_down(
    ring: &CpuRing,
    pool: &Arc<Pool>,
    (dst, src): (&View, &View),
    (kept, dropped): (&Basis, &Basis),
) -> Result<()> {
    let source = Source::new(dst, src)?;
    let extension = ring.tables.extension(dropped.primes(), kept.primes());
    let n = ring.tables.log_n().degree();
    let group = (dropped.primes().len() + 1) * n;
    let scratch = scratch(pool, dst.polys as usize * group)?;
    prepare(ring, &mut scratch.write(), &extension, dropped.primes(), |poly, i, y| {
        y.copy_from_slice(source.other(poly, kept.primes().len() + i));
        ring.tables.primes()[dropped.primes()[i] as usize].inverse(y);
    });
    let groups = scratch.read();
    let mut words = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    rows_mut(&mut words, dst).into_par_iter().enumerate().for_each(|(k, out)| {
        let (poly, limb) = (k / limbs, k % limbs);
        let prime = &ring.tables.primes()[kept.primes()[limb] as usize];
        let r = ring.reducer(kept.primes()[limb]);
        rows::convert(r, out, &extension, limb, &groups[poly * group..][..group]);
        prime.forward(out);
        let w = extension.product_inverse[limb];
        let quotient = prime.modulus().shoup(w);
        rows::sub_from_scale(r, out, source.other(poly, limb), w, quotient);
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
