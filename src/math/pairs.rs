//! Vector kernels on rows taken two words at a time: a pair is one 64-bit lane.
//!
//! A product of two words needs a lane of 64 bits. Taking the low word of each pair by a mask and the high word by a shift keeps
//! words where they are, so that nothing is widened or narrowed by shuffles, and sums of products stay in registers. Rows of residues
//! have a multiple of 32 words and lie in memory that is aligned for 64-bit words.

use super::reduce::{PRODUCTS, Reducer};
use super::rows::vectorized;
use pulp::{Simd, WithSimd};

/// Pairs that are summed in registers.
const PAIRS: usize = 16;
/// The low word of a pair.
const LOW: u64 = 0xffff_ffff;
/// Most terms of [`dot`]: what its sums start from is a product too.
pub(crate) const TERMS: usize = PRODUCTS - 1;

fn pairs(row: &[u32]) -> &[u64] {
    bytemuck::cast_slice(row)
}

fn pairs_mut(row: &mut [u32]) -> &mut [u64] {
    bytemuck::cast_slice_mut(row)
}

/// A digit's row, and those of its key's two polynomials.
pub(crate) type Term<'a> = [&'a [u32]; 3];

vectorized! {
    /// `out = 2^-32 sum_i y_i w_i` in `[0, 4q)` by Montgomery's reduction: `group` holds the rows `y_i`, at most 15 of words below
    /// `2^30` and then one of words up to 15; the weights are canonical.
    fn convert(r: Reducer, out: &'a mut [u32], weights: &'a [u32], group: &'a [u32]) {
        let (out, group) = (pairs_mut(out), pairs(group));
        let (n, rows) = (out.len(), weights.len());
        debug_assert!(rows <= PRODUCTS + 1 && group.len() == rows * n && n.is_multiple_of(PAIRS));
        debug_assert!(weights.iter().all(|&w| w < r.q()));
        let (q, inverse) = (u64::from(r.q()), u64::from(r.inverse()));
        // 12 products leave less than 4q, up to 15 do after this is taken away once.
        let excess = if rows > 13 { (2 * q) << 32 } else { 0 };
        for (block, out) in out.chunks_exact_mut(PAIRS).enumerate() {
            let (mut low, mut high) = ([0u64; PAIRS], [0u64; PAIRS]);
            for (y, w) in group.chunks_exact(n).zip(weights) {
                let (y, w) = (&y[block * PAIRS..][..PAIRS], u64::from(*w));
                for j in 0..PAIRS {
                    low[j] += (y[j] & LOW) * w;
                    high[j] += (y[j] >> 32) * w;
                }
            }
            if excess != 0 {
                for j in 0..PAIRS {
                    low[j] = low[j].min(low[j].wrapping_sub(excess));
                    high[j] = high[j].min(high[j].wrapping_sub(excess));
                }
            }
            for j in 0..PAIRS {
                // Both differences are multiples of 2^32.
                let reduce = |sum: u64| {
                    sum.wrapping_sub((sum.wrapping_mul(inverse) & LOW) * q).wrapping_add(q << 32)
                };
                out[j] = (reduce(low[j]) >> 32) | reduce(high[j]);
            }
        }
    }

    /// `out_c = out_c start_c + sum_d x_d k_(d, c)` for the components `c = 0, 1` of at most [`TERMS`] terms; a start of 0 is not read.
    fn dot(r: Reducer, out0: &'a mut [u32], out1: &'a mut [u32], start: [u32; 2], terms: &'a [Term<'a>]) {
        let (out0, out1) = (pairs_mut(out0), pairs_mut(out1));
        debug_assert!(terms.len() <= TERMS && out0.len().is_multiple_of(PAIRS) && out0.len() == out1.len());
        let [start0, start1] = start.map(u64::from);
        let mut rows = [[&[][..]; 3]; TERMS];
        for (rows, term) in rows.iter_mut().zip(terms) {
            *rows = [pairs(term[0]), pairs(term[1]), pairs(term[2])];
        }
        let rows = &rows[..terms.len()];
        for (block, (out0, out1)) in out0.chunks_exact_mut(PAIRS).zip(out1.chunks_exact_mut(PAIRS)).enumerate() {
            let (mut low0, mut high0) = ([0u64; PAIRS], [0u64; PAIRS]);
            let (mut low1, mut high1) = ([0u64; PAIRS], [0u64; PAIRS]);
            if start0 != 0 {
                for j in 0..PAIRS {
                    low0[j] = (out0[j] & LOW) * start0;
                    high0[j] = (out0[j] >> 32) * start0;
                }
            }
            if start1 != 0 {
                for j in 0..PAIRS {
                    low1[j] = (out1[j] & LOW) * start1;
                    high1[j] = (out1[j] >> 32) * start1;
                }
            }
            let at = block * PAIRS..(block + 1) * PAIRS;
            for [x, a, b] in rows {
                let (x, a, b) = (&x[at.clone()], &a[at.clone()], &b[at.clone()]);
                for j in 0..PAIRS {
                    let (x_low, x_high) = (x[j] & LOW, x[j] >> 32);
                    low0[j] += x_low * (a[j] & LOW);
                    high0[j] += x_high * (a[j] >> 32);
                    low1[j] += x_low * (b[j] & LOW);
                    high1[j] += x_high * (b[j] >> 32);
                }
            }
            for j in 0..PAIRS {
                out0[j] = r.wide_pair(low0[j], high0[j]);
            }
            for j in 0..PAIRS {
                out1[j] = r.wide_pair(low1[j], high1[j]);
            }
        }
    }

    /// `out_0 = a_0 b_0`, `out_1 = a_0 b_1 + a_1 b_0`, `out_2 = a_1 b_1`.
    fn tensor(r: Reducer, out: [&'a mut [u32]; 3], a: [&'a [u32]; 2], b: [&'a [u32]; 2]) {
        let [out0, out1, out2] = out.map(pairs_mut);
        let ([a0, a1], [b0, b1]) = (a.map(pairs), b.map(pairs));
        let n = out0.len();
        let (out1, out2, a0, a1, b0, b1) = (&mut out1[..n], &mut out2[..n], &a0[..n], &a1[..n], &b0[..n], &b1[..n]);
        for i in 0..n {
            let [x0, x1, y0, y1] = [a0[i], a1[i], b0[i], b1[i]].map(|x| x & LOW);
            let [u0, u1, w0, w1] = [a0[i], a1[i], b0[i], b1[i]].map(|x| x >> 32);
            out0[i] = r.product_pair(x0 * y0, u0 * w0);
            out1[i] = r.wide_pair(x0 * y1 + x1 * y0, u0 * w1 + u1 * w0);
            out2[i] = r.product_pair(x1 * y1, u1 * w1);
        }
    }

    /// [`tensor`] of `a` with itself.
    fn square(r: Reducer, out: [&'a mut [u32]; 3], a: [&'a [u32]; 2]) {
        let [out0, out1, out2] = out.map(pairs_mut);
        let [a0, a1] = a.map(pairs);
        let n = out0.len();
        let (out1, out2, a0, a1) = (&mut out1[..n], &mut out2[..n], &a0[..n], &a1[..n]);
        for i in 0..n {
            let ([x0, x1], [u0, u1]) = ([a0[i] & LOW, a1[i] & LOW], [a0[i] >> 32, a1[i] >> 32]);
            out0[i] = r.product_pair(x0 * x0, u0 * u0);
            out1[i] = r.wide_pair(2 * x0 * x1, 2 * u0 * u1);
            out2[i] = r.product_pair(x1 * x1, u1 * u1);
        }
    }

    /// `row = (from - row) * w + plus`, for a constant and its Shoup quotient: the end of a division. All rows are canonical.
    fn divide(r: Reducer, row: &'a mut [u32], from: &'a [u32], plus: Option<&'a [u32]>, w: u32, quotient: u32) {
        debug_assert!(row.iter().chain(from).chain(plus.unwrap_or_default()).all(|&x| x < r.q()));
        let (row, from) = (pairs_mut(row), pairs(from));
        let (q, w, quotient) = (u64::from(r.q()), u64::from(w), u64::from(quotient));
        let scaled = |x: u64| {
            let x = (x & LOW) * w - (((x & LOW) * quotient) >> 32) * q;
            x.min(x.wrapping_sub(q))
        };
        let difference = |x: u64, s: u64| {
            (scaled((s & LOW) + q - (x & LOW)), scaled((s >> 32) + q - (x >> 32)))
        };
        match plus {
            None => row.iter_mut().zip(from).for_each(|(x, s)| {
                let (low, high) = difference(*x, *s);
                *x = low | high << 32;
            }),
            Some(plus) => row.iter_mut().zip(from).zip(pairs(plus)).for_each(|((x, s), p)| {
                let (low, high) = difference(*x, *s);
                let (low, high) = (low + (p & LOW), high + (p >> 32));
                *x = low.min(low.wrapping_sub(q)) | high.min(high.wrapping_sub(q)) << 32;
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Modulus;

    /// Two blocks.
    const WORDS: usize = 4 * PAIRS;

    /// An odd number just below the limit, where sums come closest to overflow, a middling one, a small one.
    const MODULI: [u32; 3] = [(1 << 30) - 1, (1 << 29) + 11, 12289];

    /// A row in memory that is aligned for pairs.
    fn row(f: impl FnMut(usize) -> u32) -> Vec<u64> {
        bytemuck::pod_collect_to_vec(&(0..WORDS).map(f).collect::<Vec<u32>>())
    }

    fn words(row: &[u64]) -> &[u32] {
        bytemuck::cast_slice(row)
    }

    fn words_mut(row: &mut [u64]) -> &mut [u32] {
        bytemuck::cast_slice_mut(row)
    }

    /// Residues in turn: only the largest, or with small, middling and arbitrary ones between.
    fn residue(q: u32, largest: bool, i: usize, seed: u32) -> u32 {
        let word = u32::try_from(i).unwrap().wrapping_add(seed).wrapping_mul(2_654_435_761);
        if largest { q - 1 } else { [q - 1, q / 2, 0, 1, word % q, q - 2 - word % 9][word as usize % 6] }
    }

    #[test]
    fn conversions_stay_below_four_times_the_modulus() {
        let mut corrected = 0;
        for q in MODULI {
            let (m, r) = (Modulus::new(q).unwrap(), Reducer::new(Modulus::new(q).unwrap()));
            for sources in [1, 2, 11, 12, 13, 14, 15] {
                for (kind, largest) in [(0, true), (1, true), (2, true), (3, false), (4, false)] {
                    // Words of any prime below 2^30, the largest first, and their wrap counts, which are as large as they can be.
                    let group: Vec<Vec<u64>> = (0..sources + 1u32)
                        .map(|i| match kind {
                            _ if i == sources => row(|_| sources),
                            0 => row(|_| (1 << 30) - 1),
                            1 => row(|j| (1 << 30) - 1 - residue(997, false, j, i)),
                            4 => row(|_| 0),
                            _ => row(|j| residue(1 << 30, false, j, i)),
                        })
                        .collect();
                    let weights: Vec<u32> = (0..=sources).map(|i| residue(q, largest, i as usize, sources)).collect();
                    let mut out = row(|_| 7);
                    convert(r, words_mut(&mut out), &weights, words(&group.concat()));
                    for (j, &got) in words(&out).iter().enumerate() {
                        let terms = group.iter().zip(&weights);
                        let sum: u128 = terms.map(|(y, &w)| u128::from(words(y)[j]) * u128::from(w)).sum();
                        let sum = u64::try_from(sum).expect("a 64-bit sum");
                        corrected += usize::from(sum >= (2 * u64::from(q)) << 32);
                        assert!(got < 4 * q, "{got} of {sources} sources modulo {q}");
                        assert_eq!(m.reduce(u64::from(got) << 32), m.reduce(sum), "{sources} sources modulo {q}");
                    }
                }
            }
        }
        assert!(corrected > 500, "sums that need a subtraction: {corrected}");
    }

    #[test]
    fn sums_of_products_equal_wide_ones() {
        for q in MODULI {
            let r = Reducer::new(Modulus::new(q).unwrap());
            for count in 0..=TERMS {
                for (largest, start) in [(true, [q - 1, q - 1]), (false, [0, 1]), (false, [q - 1, 0])] {
                    let made = |seed: usize| row(|i| residue(q, largest, i, u32::try_from(seed).unwrap()));
                    let rows: Vec<_> = (0..count).map(|d| [0, 1, 2].map(|k| made(3 * d + k))).collect();
                    let terms: Vec<Term<'_>> = rows.iter().map(|term| term.each_ref().map(|row| words(row))).collect();
                    let before = [made(97), made(98)];
                    let [mut out0, mut out1] = before.clone();
                    dot(r, words_mut(&mut out0), words_mut(&mut out1), start, &terms);
                    for (c, out) in [out0, out1].iter().enumerate() {
                        for (i, &got) in words(out).iter().enumerate() {
                            let first = u128::from(words(&before[c])[i]) * u128::from(start[c]);
                            let products = terms.iter().map(|term| u128::from(term[0][i]) * u128::from(term[c + 1][i]));
                            assert_eq!(u128::from(got), (first + products.sum::<u128>()) % u128::from(q));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_and_divisions_equal_wide_ones() {
        for q in MODULI {
            let (m, r) = (Modulus::new(q).unwrap(), Reducer::new(Modulus::new(q).unwrap()));
            for largest in [true, false] {
                let [a0, a1, b0, b1] = [1, 2, 3, 4].map(|seed| row(|i| residue(q, largest, i, seed)));
                let at = |i: usize| [&a0, &a1, &b0, &b1].map(|row| u64::from(words(row)[i]));
                let run = |f: &dyn Fn([&mut [u32]; 3])| {
                    let mut out = [(); 3].map(|()| row(|_| 7));
                    f(out.each_mut().map(|row| words_mut(row)));
                    out
                };
                let (a, b) = ([words(&a0), words(&a1)], [words(&b0), words(&b1)]);
                let (product, square_of) = (run(&|out| tensor(r, out, a, b)), run(&|out| square(r, out, a)));
                let w = residue(q, largest, 5, 6);
                let divided = |plus: Option<&[u32]>| {
                    let mut out = a0.clone();
                    divide(r, words_mut(&mut out), words(&b0), plus, w, m.shoup(w));
                    out
                };
                let (plain, summed) = (divided(None), divided(Some(words(&a1))));
                for i in 0..WORDS {
                    let [x0, x1, y0, y1] = at(i);
                    let got = |rows: &[Vec<u64>; 3]| rows.each_ref().map(|row| words(row)[i]);
                    assert_eq!(got(&product), [x0 * y0, x0 * y1 + x1 * y0, x1 * y1].map(|x| m.reduce(x)));
                    assert_eq!(got(&square_of), [x0 * x0, 2 * x0 * x1, x1 * x1].map(|x| m.reduce(x)));
                    let quotient = m.reduce((y0 + u64::from(q) - x0) * u64::from(w));
                    assert_eq!(words(&plain)[i], quotient);
                    assert_eq!(words(&summed)[i], m.add(quotient, words(&a1)[i]));
                }
            }
        }
    }
}
