//! Modular reduction without divisions or branches: loops over it vectorise, and its time does not depend on secrets.

use super::modulus::Modulus;

/// Constants of one prime. All results are canonical.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reducer {
    q: u32,
    /// Bits of `q`.
    bits: u32,
    /// `floor(2^(2 bits + 1) / q)`.
    product_ratio: u64,
    /// `floor(2^(bits + 31) / q)`.
    word_ratio: u64,
    /// `2^32 mod q` and its Shoup quotient.
    radix: u64,
    radix_shoup: u64,
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
        Self {
            q,
            bits,
            product_ratio: (1u64 << (2 * bits + 1)) / u64::from(q),
            word_ratio: (1u64 << (bits + 31)) / u64::from(q),
            radix: u64::from(radix),
            radix_shoup: u64::from(modulus.shoup(radix)),
        }
    }

    /// The modulus.
    #[inline(always)]
    pub(crate) fn q(self) -> u32 {
        self.q
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

    /// `x mod q` for `x < q^2`: Barrett, the quotient short by at most one.
    #[inline(always)]
    pub(crate) fn product(self, x: u64) -> u32 {
        debug_assert!(x < u64::from(self.q) * u64::from(self.q));
        let quotient = ((x >> (self.bits - 2)) * self.product_ratio) >> (self.bits + 3);
        reduce_once(x.wrapping_sub(quotient * u64::from(self.q)) as u32, self.q)
    }

    #[inline(always)]
    pub(crate) fn mul(self, a: u32, b: u32) -> u32 {
        self.product(u64::from(a) * u64::from(b))
    }

    /// `x mod q` for any `x`: folds the high word by `2^32 mod q`, then Barrett on 33 bits.
    #[inline(always)]
    pub(crate) fn wide(self, x: u64) -> u32 {
        let q = u64::from(self.q);
        let (high, low) = (x >> 32, x & 0xffff_ffff);
        let folded = (high * self.radix).wrapping_sub(((high * self.radix_shoup) >> 32) * q);
        let sum = folded + low;
        debug_assert!(sum < 1 << 33);
        let quotient = ((sum >> 1) * self.word_ratio) >> (self.bits + 30);
        reduce_once(sum.wrapping_sub(quotient * q) as u32, self.q)
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
        fn agrees_with_division(q in (1u32 << 11)..Modulus::LIMIT, x: u64, a: u32, b: u32, word: u32) {
            let (m, r) = (Modulus::new(q).unwrap(), Reducer::new(Modulus::new(q).unwrap()));
            let (a, b) = (a % q, b % q);
            prop_assert_eq!(r.wide(x), m.reduce(x));
            prop_assert_eq!(r.wide(u64::MAX - (x >> 40)), m.reduce(u64::MAX - (x >> 40)));
            prop_assert_eq!(r.mul(a, b), m.mul(a, b));
            prop_assert_eq!(r.mul(q - 1, q - 1), 1);
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
