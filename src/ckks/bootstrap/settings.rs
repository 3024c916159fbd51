//! What a bootstrapping is made of.

use super::eval_mod::cosine_error;
use crate::error::{Error, Result};

/// The secret under which a ciphertext's modulus is raised: its weight decides how often the message wraps around `q_0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootstrapSecret {
    /// The ciphertext's own uniform ternary secret: no assumption beyond the security table's.
    Dense,
    /// An ephemeral ternary secret with `weight` nonzero coefficients, which lives only under the small modulus `q_0 p`, with `p` the
    /// product of `special` special primes. **Outside the security table**: it adds the assumption that sparse ternary secrets of this weight
    /// are hard to find at that modulus.
    ///
    /// # Source
    /// Bossuat, Troncoso-Pastoriza, Hubaux, ePrint 2022/024.
    Encapsulated {
        /// Nonzero coefficients.
        weight: u32,
        /// Special primes of the key that leads to the sparse secret.
        special: u32,
    },
}

/// How ciphertexts are refreshed: part of [`super::super::Parameters`], since it takes levels of its own.
///
/// A refresh brings slots to coefficients (the application's lowest [`Self::slots_to_coefficients`] levels), raises the modulus, which
/// adds a multiple of `q_0` to every coefficient, brings coefficients to slots, takes every slot modulo `q_0` by a sine, and is done.
///
/// # Source
/// Cheon, Han, Kim, Kim, Song, ePrint 2018/153; the cosine by double angles, Han and Ki, ePrint 2019/688; sparse-secret encapsulation,
/// ePrint 2022/024. Deviation: SlotToCoeff runs first, where few limbs are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrapping {
    /// Levels of SlotToCoeff, taken from the application's: a ciphertext must have as many left.
    pub slots_to_coefficients: u32,
    /// Levels of CoeffToSlot.
    pub coefficients_to_slots: u32,
    /// Bits of the modulus of each of CoeffToSlot's levels.
    pub transform_bits: u32,
    /// Bits of the modulus of each of EvalMod's levels, of its scale, and of `q_0`.
    pub scale_bits: u32,
    /// How small the message is beside `q_0` where the modulus is raised, in bits: SlotToCoeff ends at scale `q_0 / 2^ratio_bits`. Each bit
    /// takes two bits off the error of the sine, and adds one to the noise.
    pub ratio_bits: u32,
    /// `K`: the most multiples of `q_0` on either side.
    pub range: u32,
    /// Degree of the Chebyshev interpolation of the cosine.
    pub degree: u32,
    /// Double-angle steps.
    pub doublings: u32,
    /// Degree of the arcsine that straightens the sine: 1 (none), 3, 5 or 7.
    pub arcsine: u32,
    /// Whose multiples of `q_0` there are.
    pub secret: BootstrapSecret,
}

impl Bootstrapping {
    /// `R`: coefficients are taken to slots as `x / R`. Beyond `K` there is room for the fraction, at most a half, and for the quarter
    /// of a turn between sine and cosine.
    pub(super) fn half_width(&self) -> f64 {
        f64::from(self.range) + 0.75
    }

    /// Levels of EvalMod.
    pub fn eval_mod_levels(&self) -> u32 {
        depth(self.degree) + self.doublings + if self.arcsine > 1 { depth(self.arcsine) } else { 0 }
    }

    /// Refuses settings that no refresh can work with.
    pub(in crate::ckks) fn check(&self, levels: u32, scale_bits: u32) -> Result<()> {
        let bad = |reason: String| Err(Error::InvalidParameter { what: "bootstrapping", reason });
        let stages = 1..=8;
        if !stages.contains(&self.slots_to_coefficients) || !stages.contains(&self.coefficients_to_slots) {
            return bad("SlotToCoeff and CoeffToSlot take 1 to 8 levels each".into());
        }
        if levels <= self.slots_to_coefficients {
            return bad(format!(
                "{levels} levels; SlotToCoeff takes {}, none would be left",
                self.slots_to_coefficients
            ));
        }
        // Before any arithmetic on them: settings come from outside too.
        if !(40..=59).contains(&self.scale_bits) || !matches!(self.transform_bits, 26..=30 | 40..=59) {
            let (scale, transform) = (self.scale_bits, self.transform_bits);
            return bad(format!(
                "moduli of {scale} bits for EvalMod (40 to 59) and {transform} for CoeffToSlot (26 to 30 or 40 to 59)"
            ));
        }
        if scale_bits + 2 > self.scale_bits || !(2..=self.scale_bits - 20).contains(&self.ratio_bits) {
            let (ratio, q_0) = (self.ratio_bits, self.scale_bits);
            return bad(format!("a scale of {scale_bits} bits and a ratio of {ratio} beside a q_0 of {q_0}"));
        }
        if !(1..=1 << 12).contains(&self.range) || !(2..=1023).contains(&self.degree) || self.doublings > 12 {
            return bad(format!("range {}, degree {}, {} doublings", self.range, self.degree, self.doublings));
        }
        if ![1, 3, 5, 7].contains(&self.arcsine) {
            return bad(format!("an arcsine of degree {}; 1, 3, 5 and 7 are possible", self.arcsine));
        }
        let error = cosine_error(self);
        if error > (-12f64).exp2() {
            let (degree, range, doublings) = (self.degree, self.range, self.doublings);
            let bits = -error.log2();
            return bad(format!(
                "degree {degree} leaves {bits:.0} bits for a range of {range} with {doublings} doublings"
            ));
        }
        match self.secret {
            BootstrapSecret::Encapsulated { weight, special } if weight == 0 || special == 0 => {
                bad(format!("a sparse secret of weight {weight} with {special} special primes"))
            }
            _ => Ok(()),
        }
    }
}

/// Levels of a polynomial of this degree.
fn depth(degree: u32) -> u32 {
    (degree + 1).next_power_of_two().ilog2()
}
