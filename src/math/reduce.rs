//! Modular reduction without divisions or branches: loops over it vectorise, and its time does not depend on secrets.

use super::modulus::Modulus;

/// Products of residues that a 64-bit sum takes beside one residue: 15 of them stay below `15 * 2^60`.
pub(crate) const PRODUCTS: usize = 15;

/// Constants of one odd modulus. All results are canonical.
///
/// Constants are words, so that compilers see that a product of two of them needs one multiplication of 32 by 32 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reducer {
    q: u32,
    /// Bits of `q`.
    bits: u32,
    /// `floor(2^(2 bits + 1) / q)`.
    product_ratio: u32,
    /// `floor(2^32 / q)`.
    word_ratio: u32,
    /// `2^32 mod q` and its Shoup quotient.
    radix: u32,
    radix_shoup: u32,
    /// `1/q mod 2^32`.
    inverse: u32,
}

/// `x` or `x - q`, whichever is canonical, for `x` in `[0, 2q)`.
#[inline(always)]
pub(crate) fn reduce_once(x: u32, q: u32) -> u32 {
    debug_assert!(x < 2 * q);
    x.min(x.wrapping_sub(q))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "values below 2q < 2^31, and a sign mask")]
impl Reducer {
    pub(crate) fn new(modulus: Modulus) -> Self {
        let q = modulus.get();
        let bits = 32 - q.leading_zeros();
        let radix = modulus.reduce(1 << 32);
        // An odd number is its own inverse modulo 8; each round of Newton's doubles the bits.
        let inverse = (0..4).fold(q, |x, _| x.wrapping_mul(2u32.wrapping_sub(q.wrapping_mul(x))));
        Self {
            q,
            bits,
            product_ratio: ((1u64 << (2 * bits + 1)) / u64::from(q)) as u32,
            word_ratio: ((1u64 << 32) / u64::from(q)) as u32,
            radix,
            radix_shoup: modulus.shoup(radix),
            inverse,
        }
    }

    /// The modulus.
    #[inline(always)]
    pub(crate) fn q(self) -> u32 {
        self.q
    }

    /// `1/q mod 2^32`.
    #[inline(always)]
    pub(crate) fn inverse(self) -> u32 {
        self.inverse
    }

    #[inline(always)]
    pub(crate) fn add(self, a: u32, b: u32) -> u32 {
        reduce_once(a + b, self.q)
    }

    #[inline(always)]
    pub(crate) fn sub(self, a: u32, b: u32) -> u32 {
        reduce_once(a + self.q - b, self.q)
    }

    #[inline(always)]
    pub(crate) fn neg(self, a: u32) -> u32 {
        reduce_once(self.q - a, self.q)
    }

    /// `x mod q`, or `q` more, for `x < q^2`: Barrett, the quotient short by at most one.
    #[inline(always)]
    fn product_lazy(self, x: u64) -> u64 {
        debug_assert!(x < u64::from(self.q) * u64::from(self.q));
        let high = u64::from((x >> (self.bits - 2)) as u32);
        let quotient = (high * u64::from(self.product_ratio)) >> (self.bits + 3);
        x.wrapping_sub(u64::from(quotient as u32) * u64::from(self.q))
    }

    /// `x mod q` for `x < q^2`.
    #[inline(always)]
    pub(crate) fn product(self, x: u64) -> u32 {
        reduce_once(self.product_lazy(x) as u32, self.q)
    }

    /// [`Self::product`] of both, as the low and the high word.
    #[inline(always)]
    pub(crate) fn product_pair(self, low: u64, high: u64) -> u64 {
        let q = u64::from(self.q);
        let [low, high] = [low, high].map(|x| self.product_lazy(x)).map(|x| x.min(x.wrapping_sub(q)));
        low | high << 32
    }

    #[inline(always)]
    pub(crate) fn mul(self, a: u32, b: u32) -> u32 {
        self.product(u64::from(a) * u64::from(b))
    }

    /// `x` modulo `q` in `[0, 4q)` for any `x`: the high word times `2^32 mod q` by Shoup, the low word by Barrett, each short by at
    /// most one `q`.
    #[inline(always)]
    fn wide_lazy(self, x: u64) -> u64 {
        let q = u64::from(self.q);
        let (high, low) = (x >> 32, x & 0xffff_ffff);
        let folded = (high * u64::from(self.radix)).wrapping_sub(((high * u64::from(self.radix_shoup)) >> 32) * q);
        let rest = low.wrapping_sub(((low * u64::from(self.word_ratio)) >> 32) * q);
        folded.wrapping_add(rest)
    }

    /// `x mod q` for `x` in `[0, 4q)`.
    #[inline(always)]
    pub(crate) fn reduce_twice(self, x: u32) -> u32 {
        debug_assert!(x < 4 * self.q);
        reduce_once(x.min(x.wrapping_sub(2 * self.q)), self.q)
    }

    /// `x mod q` for any `x`.
    #[inline(always)]
    pub(crate) fn wide(self, x: u64) -> u32 {
        self.reduce_twice(self.wide_lazy(x) as u32)
    }

    /// [`Self::wide`] of both, as the low and the high word.
    #[inline(always)]
    pub(crate) fn wide_pair(self, low: u64, high: u64) -> u64 {
        let q = u64::from(self.q);
        let lazy = [low, high].map(|x| self.wide_lazy(x)).map(|x| x.min(x.wrapping_sub(2 * q)));
        let [low, high] = lazy.map(|x| x.min(x.wrapping_sub(q)));
        low | high << 32
    }

    /// `x mod q` for a signed integer above `-2^63`.
    #[inline(always)]
    pub(crate) fn signed(self, x: i64) -> u32 {
        let magnitude = self.wide(x.unsigned_abs());
        let negative = (x >> 63) as u32;
        // Branch-free: q - magnitude where the sign is set, then 0 for q.
        reduce_once((magnitude ^ negative).wrapping_sub(negative).wrapping_add(negative & self.q), self.q)
    }

    /// `x * w mod q` for any word `x`, a constant `w < q` and its Shoup quotient.
    #[inline(always)]
    pub(crate) fn shoup(self, x: u32, w: u32, quotient: u32) -> u32 {
        let estimate = ((u64::from(x) * u64::from(quotient)) >> 32) as u32;
        reduce_once(x.wrapping_mul(w).wrapping_sub(estimate.wrapping_mul(self.q)), self.q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_division(half in (1u32 << 10)..Modulus::LIMIT / 2, x: u64, a: u32, b: u32, word: u32) {
            let q = 2 * half + 1;
            let (m, r) = (Modulus::new(q).unwrap(), Reducer::new(Modulus::new(q).unwrap()));
            let (a, b) = (a % q, b % q);
            prop_assert_eq!(r.wide(x), m.reduce(x));
            prop_assert_eq!(r.wide(u64::MAX - (x >> 40)), m.reduce(u64::MAX - (x >> 40)));
            prop_assert_eq!(r.mul(a, b), m.mul(a, b));
            prop_assert_eq!(r.mul(q - 1, q - 1), 1);
            prop_assert_eq!(r.wide_pair(x, !x), u64::from(m.reduce(x)) | u64::from(m.reduce(!x)) << 32);
            let (ab, aa) = (u64::from(a) * u64::from(b), u64::from(a) * u64::from(a));
            prop_assert_eq!(r.product_pair(ab, aa), u64::from(m.reduce(ab)) | u64::from(m.reduce(aa)) << 32);
            prop_assert_eq!(r.inverse().wrapping_mul(q), 1);
            let signed = x.cast_signed().max(i64::MIN + 1);
            prop_assert_eq!(r.signed(signed), m.reduce_signed(i128::from(signed)));
            prop_assert_eq!(r.signed(-i64::from(q) * 5), 0);
            prop_assert_eq!(r.add(a, b), m.add(a, b));
            prop_assert_eq!(r.sub(a, b), m.sub(a, b));
            prop_assert_eq!(r.neg(a), m.neg(a));
            prop_assert_eq!(r.shoup(word, a, m.shoup(a)), m.reduce(u64::from(word) * u64::from(a)));
        }
    }
}
