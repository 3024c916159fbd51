//! How a key switch cuts its operand.

use crate::device::{Basis, Digit};
use crate::error::{Error, Result};
use crate::units::LimbCount;
use std::sync::Arc;

/// The shape of a key switch: the primes of its operand, the digits that they are cut into, and the special primes, whose product
/// `P` is the factor of the key and the divisor at the end.
///
/// A key made for one gadget serves every shorter one: the same special primes, a prefix of the operand, its digits cut there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gadget {
    operand: Basis,
    special: Basis,
    digits: Arc<[Digit]>,
}

impl Gadget {
    /// Digits of `digit_limbs` limbs each (at least one), the last of what is left. No prime may be in both bases.
    pub(crate) fn new(operand: Basis, special: Basis, digit_limbs: u32) -> Self {
        debug_assert!(operand.primes().iter().all(|p| !special.primes().contains(p)));
        let (all, size) = (operand.limbs(), digit_limbs.max(1));
        let digit = |first| Digit { first, limbs: size.min(all - first) };
        Self { digits: (0..all).step_by(size as usize).map(digit).collect(), operand, special }
    }

    /// Limbs of the operand.
    pub fn limbs(&self) -> LimbCount {
        LimbCount(self.operand.limbs())
    }

    /// The operand's primes.
    pub fn operand(&self) -> &Basis {
        &self.operand
    }

    /// The digits, as limbs of the operand.
    pub fn digits(&self) -> &Arc<[Digit]> {
        &self.digits
    }

    /// The special primes.
    pub fn special(&self) -> &Basis {
        &self.special
    }

    /// The operand's primes, then the special ones: the basis of keys and of decomposed polynomials.
    pub fn basis(&self) -> Basis {
        self.operand.join(&self.special)
    }

    /// The limbs of this gadget's basis among those of `key`'s, in order.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless a key for `key` serves this gadget.
    pub(super) fn rows_in(&self, key: &Self) -> Result<Basis> {
        let (own, all) = (self.operand.limbs(), key.operand.limbs());
        let serves = own <= all
            && self.special == key.special
            && self.operand.primes() == &key.operand.primes()[..own as usize]
            && self.digits.iter().zip(key.digits.iter()).all(|(d, k)| {
                d.first == k.first && (d.limbs == k.limbs || (d.limbs < k.limbs && d.first + d.limbs == own))
            });
        if !serves {
            return Err(Error::ShapeMismatch {
                op: "key switching",
                expected: format!("at most the {all} limbs that the key was made for, in its digits"),
                got: format!("{own} limbs"),
            });
        }
        Ok(Basis::new((0..own).chain(all..all + self.special.limbs())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gadget(limbs: u32, special: u32, digit_limbs: u32) -> Gadget {
        Gadget::new(Basis::new(0..limbs), Basis::new(special..special + 2), digit_limbs)
    }

    #[test]
    fn a_key_serves_prefixes_in_its_own_digits() {
        let key = gadget(7, 9, 3);
        let sizes = |g: &Gadget| g.digits().iter().map(|d| (d.first, d.limbs)).collect::<Vec<_>>();
        assert_eq!(sizes(&key), [(0, 3), (3, 3), (6, 1)]);
        for limbs in 1..=7 {
            let rows = gadget(limbs, 9, 3).rows_in(&key).unwrap();
            assert_eq!(rows.primes(), (0..limbs).chain([7, 8]).collect::<Vec<_>>());
        }
        assert_eq!(gadget(4, 9, 3).basis().primes(), [0, 1, 2, 3, 9, 10]);
        // Too long, other digits, other special primes, another operand.
        for other in [gadget(8, 9, 3), gadget(7, 9, 2), gadget(3, 9, 2), gadget(7, 8, 3)] {
            assert!(matches!(other.rows_in(&key), Err(Error::ShapeMismatch { op: "key switching", .. })), "{other:?}");
        }
        let moved = Gadget::new(Basis::new(1..4), Basis::new(9..11), 3);
        assert!(moved.rows_in(&key).is_err());
        // One digit over everything serves shorter operands too.
        assert!(gadget(3, 9, 3).rows_in(&gadget(7, 9, 7)).is_ok());
        assert!(gadget(4, 9, 3).rows_in(&gadget(7, 9, 7)).is_err());
    }
}
