//! Arithmetic modulo a prime below `2^30`, one word at a time.
//!
//! The host needs it for tables and tests; kernels have their own vector forms of the same formulas.

use crate::error::{Error, Result};

/// A modulus `q` in `[2, 2^30)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Modulus(u32);

impl Modulus {
    /// Every limb's modulus is below `2^30`: two spare bits for lazy butterflies.
    pub const LIMIT: u32 = 1 << 30;

    /// The modulus `q`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] outside `[2, 2^30)`.
    pub fn new(q: u32) -> Result<Self> {
        if (2..Self::LIMIT).contains(&q) {
            Ok(Self(q))
        } else {
            Err(Error::InvalidParameter { what: "modulus", reason: format!("{q} is outside [2, 2^30)") })
        }
    }

    /// The integer `q`.
    pub fn get(self) -> u32 {
        self.0
    }

    /// `a + b mod q` for reduced operands.
    pub fn add(self, a: u32, b: u32) -> u32 {
        let sum = a + b;
        if sum >= self.0 { sum - self.0 } else { sum }
    }

    /// `a - b mod q` for reduced operands.
    pub fn sub(self, a: u32, b: u32) -> u32 {
        if a >= b { a - b } else { a + self.0 - b }
    }

    /// `-a mod q` for a reduced operand.
    pub fn neg(self, a: u32) -> u32 {
        if a == 0 { 0 } else { self.0 - a }
    }

    /// `a * b mod q`.
    pub fn mul(self, a: u32, b: u32) -> u32 {
        self.reduce(u64::from(a) * u64::from(b))
    }

    /// The product of numbers, modulo `q`.
    pub fn product(self, factors: impl IntoIterator<Item = u32>) -> u32 {
        factors.into_iter().fold(1 % self.0, |product, x| self.mul(product, x))
    }

    /// `x mod q`.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder below q fits a word")]
    pub fn reduce(self, x: u64) -> u32 {
        (x % u64::from(self.0)) as u32
    }

    /// `x mod q` of a signed integer.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder in [0, q) fits a word")]
    pub fn reduce_signed(self, x: i128) -> u32 {
        x.rem_euclid(i128::from(self.0)) as u32
    }

    /// `a^e mod q`.
    pub fn pow(self, a: u32, mut exponent: u32) -> u32 {
        let (mut base, mut out) = (self.reduce(u64::from(a)), 1 % self.0);
        while exponent > 0 {
            if exponent & 1 == 1 {
                out = self.mul(out, base);
            }
            base = self.mul(base, base);
            exponent >>= 1;
        }
        out
    }

    /// `1/a mod q` for prime `q` and `a` not a multiple of it.
    pub fn inv(self, a: u32) -> u32 {
        self.pow(a, self.0 - 2)
    }

    /// Shoup's quotient `floor(w * 2^32 / q)` of a reduced constant `w`.
    #[expect(clippy::cast_possible_truncation, reason = "w < q, so the quotient is below 2^32")]
    pub fn shoup(self, w: u32) -> u32 {
        ((u64::from(w) << 32) / u64::from(self.0)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_wide_integers(q in 2u32..Modulus::LIMIT, a: u32, b: u32, wide: u64, signed: i64) {
            let m = Modulus::new(q).unwrap();
            let (a, b, big) = (a % q, b % q, u128::from(q));
            prop_assert_eq!(u128::from(m.add(a, b)), (u128::from(a) + u128::from(b)) % big);
            prop_assert_eq!(u128::from(m.sub(a, b)), (u128::from(a) + big - u128::from(b)) % big);
            prop_assert_eq!(u128::from(m.mul(a, b)), u128::from(a) * u128::from(b) % big);
            prop_assert_eq!(m.add(a, m.neg(a)), 0);
            prop_assert_eq!(u128::from(m.product([a, b, u32::MAX])), u128::from(a) * u128::from(b) * u128::from(u32::MAX) % big);
            prop_assert_eq!(u128::from(m.reduce(wide)), u128::from(wide) % big);
            prop_assert_eq!(i128::from(m.reduce_signed(i128::from(signed))), i128::from(signed).rem_euclid(i128::from(q)));
            prop_assert_eq!(u128::from(m.shoup(a)), (u128::from(a) << 32) / big);
        }
    }

    #[test]
    fn inverts() {
        let m = Modulus::new(1_073_479_681).unwrap();
        for a in [1, 2, 12345, 1_073_479_680] {
            assert_eq!(m.mul(a, m.inv(a)), 1);
        }
    }
}
