//! Vector kernels on rows of residues: plain loops, compiled for several instruction sets, the widest chosen at run time.
//!
//! What takes a word at a time is here, for the CPU backend and for the client; kernels whose products stay in registers are in
//! [`super::pairs`], transforms in `ntt`. Rows of one call have equal lengths.

use super::reduce::Reducer;
use super::rns::Extension;
use pulp::{Simd, WithSimd};

/// Words in a tile: its 64-bit sums, or a sampler's draws, stay in the first-level cache.
pub(crate) const TILE: usize = 512;

/// Defines functions whose bodies are inlined into one copy for each instruction set.
macro_rules! vectorized {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $body:block)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name<'a>($($arg: $type),*) {
            struct Row<'a> {
                $($arg: $type,)*
                lifetime: std::marker::PhantomData<&'a ()>,
            }
            impl WithSimd for Row<'_> {
                type Output = ();
                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) {
                    let Self { $($arg,)* lifetime: _ } = self;
                    $body
                }
            }
            $crate::math::simd::arch().dispatch(Row { $($arg,)* lifetime: std::marker::PhantomData });
        }
    )*};
}

pub(crate) use vectorized;

/// `out = f(a, b)`, where a missing row is `out` itself.
#[inline(always)]
fn zip(out: &mut [u32], a: Option<&[u32]>, b: Option<&[u32]>, f: impl Fn(u32, u32) -> u32) {
    match (a, b) {
        (Some(a), Some(b)) => out.iter_mut().zip(a).zip(b).for_each(|((o, a), b)| *o = f(*a, *b)),
        (Some(a), None) => out.iter_mut().zip(a).for_each(|(o, a)| *o = f(*a, *o)),
        (None, Some(b)) => out.iter_mut().zip(b).for_each(|(o, b)| *o = f(*o, *b)),
        (None, None) => out.iter_mut().for_each(|o| *o = f(*o, *o)),
    }
}

/// A row that an operation reads, or `None` for the row that it writes.
pub(crate) type Operand<'a> = Option<&'a [u32]>;

vectorized! {
    /// `out = a + b`.
    fn add(r: Reducer, out: &'a mut [u32], a: Operand<'a>, b: Operand<'a>) {
        zip(out, a, b, |a, b| r.add(a, b));
    }

    /// `out = a - b`.
    fn sub(r: Reducer, out: &'a mut [u32], a: Operand<'a>, b: Operand<'a>) {
        zip(out, a, b, |a, b| r.sub(a, b));
    }

    /// `out = a * b`.
    fn mul(r: Reducer, out: &'a mut [u32], a: Operand<'a>, b: Operand<'a>) {
        zip(out, a, b, |a, b| r.mul(a, b));
    }

    /// `out = out + a * b`.
    fn mul_add(r: Reducer, out: &'a mut [u32], a: Operand<'a>, b: Operand<'a>) {
        match (a, b) {
            (Some(a), Some(b)) => {
                out.iter_mut().zip(a).zip(b).for_each(|((o, a), b)| *o = r.add(*o, r.mul(*a, *b)));
            }
            (Some(x), None) | (None, Some(x)) => {
                out.iter_mut().zip(x).for_each(|(o, x)| *o = r.add(*o, r.mul(*o, *x)));
            }
            (None, None) => out.iter_mut().for_each(|o| *o = r.add(*o, r.mul(*o, *o))),
        }
    }

    /// `row = -row`.
    fn neg(r: Reducer, row: &'a mut [u32]) {
        row.iter_mut().for_each(|x| *x = r.neg(*x));
    }

    /// `row = row * w` for a constant and its Shoup quotient.
    fn scale(r: Reducer, row: &'a mut [u32], w: u32, quotient: u32) {
        row.iter_mut().for_each(|x| *x = r.shoup(*x, w, quotient));
    }

    /// `row = row + a * w` for a constant and its Shoup quotient.
    fn scale_add(r: Reducer, row: &'a mut [u32], a: Operand<'a>, w: u32, quotient: u32) {
        match a {
            Some(a) => row.iter_mut().zip(a).for_each(|(x, a)| *x = r.add(*x, r.shoup(*a, w, quotient))),
            None => row.iter_mut().for_each(|x| *x = r.add(*x, r.shoup(*x, w, quotient))),
        }
    }

    /// Canonical residues of words in `[0, 4q)`.
    fn reduce(r: Reducer, row: &'a mut [u32]) {
        row.iter_mut().for_each(|x| *x = r.reduce_twice(*x));
    }

    /// `row = row + s`.
    fn shift(r: Reducer, row: &'a mut [u32], s: u32) {
        row.iter_mut().for_each(|x| *x = r.add(*x, s));
    }

    /// `row = (from - row) * w`: [`super::pairs::divide`] for rows of any length and alignment.
    fn sub_from_scale(r: Reducer, row: &'a mut [u32], from: &'a [u32], w: u32, quotient: u32) {
        row.iter_mut().zip(from).for_each(|(x, s)| *x = r.shoup(s + r.q() - *x, w, quotient));
    }

    /// `out = out * a + b`: one step of Horner's rule.
    fn horner(r: Reducer, out: &'a mut [u32], a: &'a [u32], b: &'a [u32]) {
        out.iter_mut().zip(a).zip(b).for_each(|((o, a), b)| *o = r.add(r.mul(*o, *a), *b));
    }

    /// `out = out + e - a * s`: hides a message under a secret.
    fn sub_product(r: Reducer, out: &'a mut [u32], e: &'a [u32], a: &'a [u32], s: &'a [u32]) {
        let n = out.len();
        let (e, a, s) = (&e[..n], &a[..n], &s[..n]);
        for i in 0..n {
            out[i] = r.sub(r.add(out[i], e[i]), r.mul(a[i], s[i]));
        }
    }

    /// `out = out + e + a * s`: hides a message under a public key.
    fn add_product(r: Reducer, out: &'a mut [u32], e: &'a [u32], a: &'a [u32], s: &'a [u32]) {
        let n = out.len();
        let (e, a, s) = (&e[..n], &a[..n], &s[..n]);
        for i in 0..n {
            out[i] = r.add(r.add(out[i], e[i]), r.mul(a[i], s[i]));
        }
    }

    /// Residues of whole numbers below `2^62` in magnitude.
    fn reduce_f64(r: Reducer, out: &'a mut [u32], numbers: &'a [f64]) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^62")]
        out.iter_mut().zip(numbers).for_each(|(o, x)| *o = r.signed(*x as i64));
    }

    /// The wrap counts `v = round(sum_i y_i / q_i)` of [`Extension`], in fixed point, from the rows `y_i` one after another.
    fn wraps(v: &'a mut [u32], ys: &'a [u32], extension: &'a Extension) {
        v.fill(1 << 27);
        for (i, y) in ys.chunks_exact(v.len()).enumerate() {
            let (shift, weight) = (extension.shift[i], u64::from(extension.weight[i]));
            v.iter_mut().zip(y).for_each(|(v, y)| *v += ((u64::from(*y << shift) * weight) >> 32) as u32);
        }
        v.iter_mut().for_each(|v| *v >>= 28);
    }

    /// `out = y`, and `offset` more from `first` on, modulo `2^32`.
    fn offset_from(out: &'a mut [u32], y: &'a [u32], first: u32, offset: u32) {
        out.iter_mut().zip(y).for_each(|(o, y)| *o = y.wrapping_add(if *y < first { 0 } else { offset }));
    }

    /// `sum += w x`, without reduction.
    fn accumulate_scaled(sum: &'a mut [u64], x: &'a [u32], w: u32) {
        let w = u64::from(w);
        sum.iter_mut().zip(x).for_each(|(s, x)| *s += u64::from(*x) * w);
    }

    /// `sum += w d` for balanced digits: `d = x` up to `q/2`, else `x - q`, with `minus` for `-q w`, without reduction.
    fn accumulate_balanced(sum: &'a mut [u64], x: &'a [u32], q: u32, w: u32, minus: u32) {
        let (half, w, minus) = (q / 2, u64::from(w), u64::from(minus));
        sum.iter_mut().zip(x).for_each(|(s, x)| *s += u64::from(*x) * w + u64::from(*x > half) * minus);
    }

    /// `out += d weight` for balanced digits.
    fn add_balanced(out: &'a mut [f64], x: &'a [u32], q: u32, weight: f64) {
        let half = q / 2;
        out.iter_mut().zip(x).for_each(|(o, x)| {
            let digit = x.cast_signed() - (q & 0u32.wrapping_sub(u32::from(*x > half))).cast_signed();
            *o += f64::from(digit) * weight;
        });
    }

    /// `row = round(row * scale)`.
    fn round_scaled(row: &'a mut [f64], scale: f64) {
        row.iter_mut().for_each(|x| *x = (*x * scale).round_ties_even());
    }

    /// `floor(3 x / 2^64) - 1` for 64-bit draws `x`.
    fn thirds(out: &'a mut [i32], draws: &'a [u64]) {
        out.iter_mut().zip(draws).for_each(|(o, x)| {
            let third = ((x >> 32) * 3 + (((x & 0xffff_ffff) * 3) >> 32)) >> 32;
            *o = third as i32 - 1;
        });
    }

    /// Signed counts of the thresholds that each draw reaches: its lowest bit is the sign, the others are compared with all of
    /// `table`, so the time does not depend on the draw.
    fn count_thresholds(out: &'a mut [i32], draws: &'a [u64], table: &'a [u64]) {
        out.fill(0);
        for t in table {
            out.iter_mut().zip(draws).for_each(|(o, draw)| *o += i32::from(draw >> 1 >= *t));
        }
        out.iter_mut().zip(draws).for_each(|(o, draw)| {
            let sign = i32::from(draw & 1 == 1);
            *o = (*o ^ -sign) + sign;
        });
    }

    /// `sums = sums + factor * values`.
    fn add_multiples(sums: &'a mut [i64], factor: i64, values: &'a [i32]) {
        sums.iter_mut().zip(values).for_each(|(s, v)| *s += factor * i64::from(*v));
    }

    /// `out = sums`, reduced.
    fn finish_signed(r: Reducer, out: &'a mut [u32], sums: &'a [i64]) {
        out.iter_mut().zip(sums).for_each(|(o, s)| *o = r.signed(*s));
    }

    /// `out = floor(x q / 2^64)` for 64-bit draws `x`.
    fn scale_draws(q: u32, out: &'a mut [u32], draws: &'a [u64]) {
        let q = u64::from(q);
        out.iter_mut().zip(draws).for_each(|(o, x)| *o = (((x >> 32) * q + (((x & 0xffff_ffff) * q) >> 32)) >> 32) as u32);
    }

    /// Reduces sums in place.
    fn fold(r: Reducer, sums: &'a mut [u64]) {
        sums.iter_mut().for_each(|s| *s = u64::from(r.wide(*s)));
    }

    /// `out = sums`, reduced.
    fn finish(r: Reducer, out: &'a mut [u32], sums: &'a [u64]) {
        out.iter_mut().zip(sums).for_each(|(o, s)| *o = r.wide(*s));
    }
}
