//! Counts that cannot be swapped for one another.

use serde::{Deserialize, Serialize};

/// Base-two logarithm of the ring dimension `N`, between 10 and 17.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogN(u32);

impl LogN {
    /// Smallest supported ring: `N = 2^10`.
    pub const MIN: u32 = 10;
    /// Largest supported ring: `N = 2^17`.
    pub const MAX: u32 = 17;

    /// `N = 2^log_n`, or `None` outside [`Self::MIN`] to [`Self::MAX`].
    pub fn new(log_n: u32) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&log_n).then_some(Self(log_n))
    }

    /// The logarithm itself.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The ring dimension `N`.
    pub fn degree(self) -> usize {
        1 << self.0
    }

    /// CKKS slots: `N / 2`.
    pub fn slots(self) -> usize {
        1 << (self.0 - 1)
    }
}

/// Residue polynomials in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimbCount(pub u32);

/// Rescalings still possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Level(pub u32);

impl Level {
    /// So many levels further down; the level itself where there are not so many. That is where a planned depth means nothing: a
    /// circuit that names levels of its own was planned on a chain of another length.
    pub(crate) fn below(self, depth: u32) -> Self {
        Self(self.0.checked_sub(depth).unwrap_or(self.0))
    }
}

/// An automorphism `X -> X^g` of the ring: an odd integer modulo `2N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GaloisElement(u32);

impl GaloisElement {
    /// The automorphism that changes nothing.
    pub const IDENTITY: Self = Self(1);

    /// The automorphism of an odd integer below `2N`, or `None` for any other integer.
    pub fn new(element: u32, log_n: LogN) -> Option<Self> {
        (element % 2 == 1 && element >> 1 < 1 << log_n.get()).then_some(Self(element))
    }

    /// The element that rotates slots to the left by `steps`: `5^steps mod 2N`.
    pub fn from_steps(steps: i32, log_n: LogN) -> Self {
        let two_n = 2 * log_n.degree() as u64;
        let order = log_n.slots() as i64;
        let (mut exponent, mut base, mut out) = (i64::from(steps).rem_euclid(order), 5u64, 1u64);
        while exponent > 0 {
            if exponent & 1 == 1 {
                out = out * base % two_n;
            }
            base = base * base % two_n;
            exponent >>= 1;
        }
        Self(u32::try_from(out).expect("2N is below 2^32"))
    }

    /// The element that conjugates every slot: `-1 mod 2N`.
    pub fn conjugation(log_n: LogN) -> Self {
        Self((2u32 << log_n.get()) - 1)
    }

    /// The odd integer modulo `2N`.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The inverse automorphism.
    pub fn inverse(self, log_n: LogN) -> Self {
        let mask = (2u32 << log_n.get()) - 1;
        let mut inverse = self.0; // Newton: correct to 3 bits, doubled each round
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2u32.wrapping_sub(self.0.wrapping_mul(inverse)));
        }
        Self(inverse & mask)
    }
}

/// Shape of a buffer: words lie `[batch][limb][coefficient]`, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Polynomials.
    pub batch: u32,
    /// Residue polynomials in each.
    pub limbs: u32,
    /// Logarithm of the words in each residue polynomial; 0 for plain scalars.
    pub log_n: u32,
}

impl Shape {
    /// Words of 32 bits in the buffer; `usize::MAX` where that many cannot be counted.
    pub fn words(self) -> usize {
        let rows = u128::from(self.batch) * u128::from(self.limbs);
        rows.checked_mul(1 << self.log_n.min(63)).and_then(|words| usize::try_from(words).ok()).unwrap_or(usize::MAX)
    }

    /// Bytes in the buffer.
    pub fn bytes(self) -> u64 {
        4u64.saturating_mul(self.words() as u64)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}][{}][2^{}]", self.batch, self.limbs, self.log_n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_compose_and_invert() {
        let log_n = LogN::new(11).unwrap();
        let two_n = 2 * log_n.degree() as u64;
        for (a, b) in [(1, 2), (-3, 7), (1023, 1), (-512, -511)] {
            let g = |s| u64::from(GaloisElement::from_steps(s, log_n).get());
            assert_eq!(g(a) * g(b) % two_n, g(a + b));
            let element = GaloisElement::from_steps(a, log_n);
            assert_eq!(element.inverse(log_n), GaloisElement::from_steps(-a, log_n));
        }
        let conjugation = GaloisElement::conjugation(log_n);
        assert_eq!(conjugation.inverse(log_n), conjugation);
        assert!(LogN::new(9).is_none() && LogN::new(18).is_none());
    }
}
