//! Vector kernels on rows taken two words at a time: a pair is one 64-bit lane.
//!
//! A product of two words needs a lane of 64 bits. Taking the low word of each pair by a mask and the high word by a shift keeps
//! words where they are, so that nothing is widened or narrowed by shuffles, and sums of products stay in registers. Rows have a
//! multiple of 32 words and lie in memory that is aligned for 64-bit words.

use super::reduce::Reducer;
use super::rns::Extension;
use super::rows::vectorized;
use pulp::{Simd, WithSimd};

/// Pairs that are summed in registers.
const PAIRS: usize = 16;
/// The low word of a pair.
const LOW: u64 = 0xffff_ffff;
/// Products of residues that one 64-bit sum can take.
pub(crate) const PRODUCTS: usize = 15;

fn pairs(row: &[u32]) -> &[u64] {
    bytemuck::cast_slice(row)
}

fn pairs_mut(row: &mut [u32]) -> &mut [u64] {
    bytemuck::cast_slice_mut(row)
}

/// A digit's row, and those of its key's two polynomials.
pub(crate) type Term<'a> = [&'a [u32]; 3];

vectorized! {
    /// `out = sum_i y_i (D/q_i) - v D` modulo target `target` of an [`Extension`], in `[0, 4q)`; `group` holds the rows `y_i`, then
    /// `v`. Montgomery's reduction, whose factor `2^-32` the constants make up for.
    fn convert(r: Reducer, out: &'a mut [u32], extension: &'a Extension, target: usize, group: &'a [u32]) {
        let (out, group) = (pairs_mut(out), pairs(group));
        let n = out.len();
        let rows = group.len() / n;
        let weights = &extension.montgomery[target * rows..][..rows];
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

    /// `out_c = out_c start_c + sum_d x_d k_(d, c)` for the components `c = 0, 1` of at most 14 terms.
    fn dot(r: Reducer, out0: &'a mut [u32], out1: &'a mut [u32], start: [u32; 2], terms: &'a [Term<'a>]) {
        debug_assert!(terms.len() < PRODUCTS);
        let (out0, out1) = (pairs_mut(out0), pairs_mut(out1));
        let [start0, start1] = start.map(u64::from);
        let mut rows = [[&[][..]; 3]; PRODUCTS - 1];
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

    /// `row = (from - row) * w + plus`, for a constant and its Shoup quotient: the end of a division.
    fn divide(r: Reducer, row: &'a mut [u32], from: &'a [u32], plus: Option<&'a [u32]>, w: u32, quotient: u32) {
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
