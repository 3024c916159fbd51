//! Base conversion and what is built on it: gadget decomposition and division with rounding.
//!
//! Each runs in two parallel sweeps: the first turns every source polynomial into the words `y_i` and the wrap count `v` of
//! [`crate::math::Extension`], the second makes every target row from them while it is in cache, its NTT included.

use super::{CpuRing, Source, for_rows, grain, memory};
use crate::device::buffer::View;
use crate::device::cpu::memory::{Block, Pool};
use crate::device::program::{Basis, Digit};
use crate::error::Result;
use crate::math::{Extension, Reducer, RingTables, pairs, rows};
use crate::units::GaloisElement;
use rayon::prelude::*;
use std::sync::Arc;

/// The constants of a base conversion as the kernels take them.
#[derive(Debug)]
pub(super) struct Conversion {
    extension: Arc<Extension>,
    /// For each target every `D/q_i` and then `-D`, times `2^32`: [`pairs::convert`] divides by that.
    weights: Vec<u32>,
    /// Where there is one source: its prime, and the smallest word that wraps.
    single: Option<(u32, u32)>,
}

impl Conversion {
    pub(super) fn new(tables: &RingTables, from: &Basis, to: &Basis) -> Self {
        let extension = tables.extension(from.primes(), to.primes());
        let hats = extension.hat.chunks_exact(from.primes().len()).zip(&extension.product);
        let weights = hats.zip(to.primes()).flat_map(|((hats, &product), &target)| {
            let m = tables.primes()[target as usize].modulus();
            hats.iter().copied().chain([m.neg(product)]).map(move |x| m.mul(x, m.reduce(1 << 32)))
        });
        let weights = weights.collect();
        let single = match from.primes() {
            [source] => Some((tables.primes()[*source as usize].q(), extension.first_wrapped())),
            _ => None,
        };
        Self { extension, weights, single }
    }

    /// The residues modulo target `target`, the prime `t` of `r`, in `[0, 4t)`, from a group `[y_0, ..., v]`.
    fn row(&self, r: Reducer, target: usize, out: &mut [u32], group: &[u32]) {
        let rows = self.extension.hat_inverse.len() + 1;
        match self.single {
            // `y` is below half of `q` and a little, and else `y - q + 2t`: no product, and `v` need not be read.
            Some((q, first_wrapped)) if q / 4 < r.q() => {
                rows::offset_from(out, &group[..out.len()], first_wrapped, (2 * r.q()).wrapping_sub(q));
            }
            _ => pairs::convert(r, out, &self.weights[target * rows..][..rows], group),
        }
    }
}

/// `dst = convert(src)`.
pub(super) fn basis_extend(
    ring: &CpuRing,
    pool: &Arc<Pool>,
    (dst, src): (&View, &View),
    (from, to): (&Basis, &Basis),
) -> Result<()> {
    let source = Source::new(dst, src)?;
    let conversion = ring.conversion(from, to);
    let n = ring.tables.log_n().degree();
    let group = (from.primes().len() + 1) * n;
    let mut groups = Block::new(src.polys as usize * group, pool)?;
    prepare(&mut groups, &conversion.extension, n, |poly, i, y, w| {
        let prime = &ring.tables.primes()[from.primes()[i] as usize];
        y.copy_from_slice(source.other(poly, i));
        rows::scale(prime.reducer(), y, w, prime.modulus().shoup(w));
    });
    for_rows(dst, grain(dst), |poly, limb, out| {
        let poly = poly % src.polys as usize;
        let r = ring.reducer(to.primes()[limb]);
        conversion.row(r, limb, out, &groups[poly * group..][..group]);
        rows::reduce(r, out);
    })
}

/// Digits of polynomials before their extension: for each digit and polynomial, digit-major, a group `[y_0, ..., v]`.
pub(super) struct Groups<'a> {
    ring: &'a CpuRing,
    digits: &'a [Digit],
    basis: &'a Basis,
    batch: usize,
    conversions: Vec<Arc<Conversion>>,
    starts: Vec<usize>,
    words: Block,
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
        let conversion = |d: &Digit| ring.conversion(&basis.slice(d.first, d.limbs), basis);
        let conversions: Vec<_> = digits.iter().map(conversion).collect();
        let size = |d: &Digit| batch * (d.limbs as usize + 1) * n;
        let starts = digits.iter().scan(0, |next, d| Some(std::mem::replace(next, *next + size(d)))).collect();
        let mut words = Block::new(digits.iter().map(size).sum(), pool)?;
        let mut rest: &mut [u32] = &mut words;
        let mut parts = Vec::with_capacity(digits.len());
        for digit in digits {
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(size(digit));
            parts.push(part);
            rest = tail;
        }
        parts.into_par_iter().zip(digits).zip(&conversions).for_each(|((part, digit), conversion)| {
            prepare(part, &conversion.extension, n, |poly, i, y, w| {
                let limb = digit.first as usize + i;
                y.copy_from_slice(source.other(poly, limb));
                ring.tables.primes()[basis.primes()[limb] as usize].inverse_scaled(y, w);
            });
        });
        Ok(Self { ring, digits, basis, batch, conversions, starts, words })
    }

    /// Whether limb `limb` of digit `digit` is the source's own.
    pub(super) fn owns(&self, digit: usize, limb: usize) -> bool {
        let digit = self.digits[digit];
        (digit.first as usize..(digit.first + digit.limbs) as usize).contains(&limb)
    }

    /// Limb `limb` of digit `digit` of polynomial `poly`, where it is not the source's own.
    pub(super) fn row(&self, (digit, poly, limb): (usize, usize, usize), out: &mut [u32]) {
        let size = (self.digits[digit].limbs as usize + 1) * out.len();
        debug_assert!(poly < self.batch && !self.owns(digit, limb));
        let group = &self.words[self.starts[digit] + poly * size..][..size];
        let prime = self.basis.primes()[limb];
        self.conversions[digit].row(self.ring.reducer(prime), limb, out, group);
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
    let batch = src.polys as usize;
    let groups = Groups::new(ring, pool, (&source, batch), digits, basis)?;
    for_rows(dst, 1, |k, limb, out| {
        let (digit, poly) = (k / batch, k % batch);
        if groups.owns(digit, limb) {
            out.copy_from_slice(source.other(poly, limb));
        } else {
            groups.row((digit, poly, limb), out);
        }
    })
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
    let conversion = ring.conversion(dropped, kept);
    let n = ring.tables.log_n().degree();
    let group = (dropped.primes().len() + 1) * n;
    let mut groups = Block::new(dst.polys as usize * group, pool)?;
    prepare(&mut groups, &conversion.extension, n, |poly, i, y, w| {
        y.copy_from_slice(source.other(poly, kept.primes().len() + i));
        ring.tables.primes()[dropped.primes()[i] as usize].inverse_scaled(y, w);
    });
    let permutation = ring.permutation(element);
    let divide = |poly: usize, limb: usize, out: &mut [u32]| {
        let prime = &ring.tables.primes()[kept.primes()[limb] as usize];
        let r = ring.reducer(kept.primes()[limb]);
        conversion.row(r, limb, out, &groups[poly * group..][..group]);
        prime.forward(out);
        let w = conversion.extension.product_inverse[limb];
        let quotient = prime.modulus().shoup(w);
        let added = plus.is_some_and(|plus| poly < plus.polys as usize);
        let plus = summand.as_ref().filter(|_| added).map(|summand| summand.other(poly, limb));
        pairs::divide(r, out, source.other(poly, limb), plus, w, quotient);
    };
    for_rows(dst, 1, |poly, limb, out| match &permutation {
        None => divide(poly, limb, out),
        Some(permutation) => memory::with_scratch(n, |row| {
            divide(poly, limb, row);
            permutation.apply(out, row);
        }),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::ntt_primes_below;
    use crate::units::LogN;

    #[test]
    fn one_source_gives_what_the_sum_gives() {
        let log_n = LogN::new(10).unwrap();
        let n = log_n.degree();
        let near = |bits: u32| ntt_primes_below(1 << bits, log_n).take(2);
        let moduli: Vec<u32> = [30, 29, 28, 26, 20].into_iter().flat_map(near).collect();
        let tables = RingTables::new(log_n, &moduli).unwrap();
        let all = Basis::new(0..u32::try_from(moduli.len()).unwrap());
        let mut products = 0;
        for (source, &q) in (0..).zip(&moduli) {
            let conversion = Conversion::new(&tables, &Basis::new([source]), &all);
            let first = conversion.extension.first_wrapped();
            let mut group = vec![0; 2 * n];
            let (y, v) = group.split_at_mut(n);
            let ends = [0, 1, first - 2, first - 1, first, first + 1, q - 2, q - 1];
            let others = (0..).map(|i: u32| i.wrapping_mul(2_654_435_761) % q);
            y.iter_mut().zip(ends.into_iter().chain(others)).for_each(|(y, word)| *y = word);
            rows::wraps(v, y, &conversion.extension);
            assert!(y.iter().zip(&*v).all(|(y, v)| *v == u32::from(*y >= first)));
            for (target, prime) in tables.primes().iter().enumerate() {
                let (r, t) = (prime.reducer(), u64::from(prime.q()));
                let [mut fast, mut sums] = [vec![0; n], vec![0; n]];
                conversion.row(r, target, &mut fast, &group);
                pairs::convert(r, &mut sums, &conversion.weights[2 * target..][..2], &group);
                assert!(fast.iter().all(|&x| u64::from(x) < 4 * t));
                products += u32::from(fast == sums && u64::from(q) >= 4 * t);
                rows::reduce(r, &mut fast);
                rows::reduce(r, &mut sums);
                assert_eq!(fast, sums, "{q} to {t}");
            }
        }
        assert_ne!(products, 0, "a much larger source takes the sum");
    }
}
