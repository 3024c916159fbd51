//! The homomorphic discrete Fourier transform between coefficients and slots, factored into a chosen number of levels.
//!
//! A polynomial with `c_k = a_k + i a_(k + n)` has the slots `z_j = sum_k c_k zeta^(5^j k)`, `zeta = e^(2 pi i / 4n)`, `j, k` in `0..n`.
//! That is a fast transform of `log2(n)` stages on the bit-reversed `c`; stage `len = 2, 4, ..., n` has the butterflies
//!
//! ```text
//! (u, v) -> (u + w v, u - w v),   w = e^(2 pi i 5^j / 4 len)   for entries j and j + len/2 of each block of len
//! ```
//!
//! and so three diagonals: 0, `len/2` and `-len/2`. Neighbouring stages multiply to one [`LinearTransform`] a level. The bit reversal is left
//! out: between CoeffToSlot and SlotToCoeff, operations slot by slot do not see it.
//!
//! # Source
//! Chen, Chillotti, Song, ePrint 2018/1043; Han, Hhan, Cheon, ePrint 2018/1073.

use super::{LinearTransform, MAX_SLOTS};
use crate::error::{Error, Result};
use num_complex::Complex64;
use std::collections::BTreeMap;
use std::f64::consts::PI;

type Diagonals = BTreeMap<usize, Vec<Complex64>>;

/// From bit-reversed coefficients to slots: `levels` maps that multiply to `gain` times the transform, to be applied in order.
///
/// # Shape
/// Vectors of period `slots`.
/// # Errors
/// [`Error::InvalidParameter`] unless `slots` is a power of two from 2 to 2^16, and `levels` from 1 to `log2(slots)`.
pub fn slots_from_coefficients(slots: usize, levels: u32, gain: f64) -> Result<Vec<LinearTransform>> {
    let stages = stages(slots, levels, gain)?.map(|len| butterflies(slots, len)).collect();
    merged(slots, stages, levels, gain)
}

/// From slots to bit-reversed coefficients: the inverse of [`slots_from_coefficients`] at gain 1, times `gain`.
///
/// # Shape
/// Vectors of period `slots`.
/// # Errors
/// As [`slots_from_coefficients`].
pub fn coefficients_from_slots(slots: usize, levels: u32, gain: f64) -> Result<Vec<LinearTransform>> {
    let stages = stages(slots, levels, gain)?.rev().map(|len| inverse_butterflies(slots, len)).collect();
    merged(slots, stages, levels, gain)
}

/// The block lengths `2, 4, ..., slots`.
fn stages(slots: usize, levels: u32, gain: f64) -> Result<impl DoubleEndedIterator<Item = usize>> {
    let bad = |what, reason| Err(Error::InvalidParameter { what, reason });
    if !slots.is_power_of_two() || !(2..=MAX_SLOTS).contains(&slots) {
        return bad("slots", format!("{slots} is no power of two from 2 to {MAX_SLOTS}"));
    }
    if levels == 0 || levels > slots.ilog2() {
        return bad("levels", format!("{levels}; {slots} slots have {} stages", slots.ilog2()));
    }
    if !gain.is_finite() || gain <= 0.0 {
        return bad("gain", format!("{gain} is not positive and finite"));
    }
    Ok((1..=slots.ilog2()).map(|log| 1 << log))
}

/// `e^(2 pi i 5^j / 4 len)` for `j` in `0..len / 2`.
fn roots(len: usize) -> Vec<Complex64> {
    let order = 4 * len;
    let powers = std::iter::successors(Some(1usize), |power| Some(power * 5 % order));
    powers.take(len / 2).map(|power| Complex64::from_polar(1.0, 2.0 * PI * power as f64 / order as f64)).collect()
}

/// A stage from the entries of its diagonals 0, `len/2`, `-len/2` at a place of the first half of a block, and of the second.
fn stage(slots: usize, len: usize, entries: impl Fn(Complex64) -> [[Complex64; 3]; 2]) -> Diagonals {
    let (half, roots) = (len / 2, roots(len));
    let mut out = Diagonals::new();
    for i in 0..slots {
        let parts = entries(roots[i % half]);
        let values = if i % len < half { parts[0] } else { parts[1] };
        for (k, value) in [0, half, slots - half].into_iter().zip(values) {
            // For the last stage both offsets are one diagonal.
            out.entry(k).or_insert_with(|| vec![Complex64::ZERO; slots])[i] += value;
        }
    }
    out
}

fn butterflies(slots: usize, len: usize) -> Diagonals {
    stage(slots, len, |w| [[1.0.into(), w, 0.0.into()], [-w, 0.0.into(), 1.0.into()]])
}

/// `(x, y) -> ((x + y) / 2, (x - y) / 2w)`.
fn inverse_butterflies(slots: usize, len: usize) -> Diagonals {
    stage(slots, len, |w| {
        let (half, turned) = (Complex64::from(0.5), 0.5 * w.conj());
        [[half, half, 0.0.into()], [-turned, 0.0.into(), turned]]
    })
}

/// `first`, then `second`, as one map: entries `second_b[i] first_a[i + b]` on diagonal `a + b`.
fn composed(slots: usize, first: &Diagonals, second: &Diagonals) -> Diagonals {
    let mut out = Diagonals::new();
    for (b, outer) in second {
        for (a, inner) in first {
            let sum = out.entry((a + b) % slots).or_insert_with(|| vec![Complex64::ZERO; slots]);
            for (i, (sum, outer)) in sum.iter_mut().zip(outer).enumerate() {
                *sum += outer * inner[(i + b) % slots];
            }
        }
    }
    out
}

/// Stages in the order of application to `levels` maps, as equal as can be; the first ones take what is left over.
fn merged(slots: usize, stages: Vec<Diagonals>, levels: u32, gain: f64) -> Result<Vec<LinearTransform>> {
    let (count, levels) = (stages.len(), levels as usize);
    let factor = gain.powf(1.0 / levels as f64);
    let mut stages = stages.into_iter();
    let maps = (0..levels).map(|level| {
        let size = count / levels + usize::from(level < count % levels);
        let product = stages.by_ref().take(size).reduce(|first, second| composed(slots, &first, &second));
        let product = product.expect("at least one stage a level");
        let scaled = product.into_iter().map(|(k, entries)| (k, entries.into_iter().map(|z| z * factor).collect()));
        LinearTransform::new(slots, scaled)
    });
    maps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Clear, Evaluator, Plan};
    use crate::units::Level;

    fn run(maps: &[LinearTransform], slots: usize, x: Vec<Complex64>) -> Vec<Complex64> {
        let clear = Clear::new(slots, Level(20));
        let mut value = clear.value(&[x], Level(20)).unwrap();
        for map in maps {
            let map = clear.encode_transform(map, clear.level(&value)).unwrap();
            value = clear.transform(&value, &map).unwrap();
        }
        assert_eq!(clear.level(&value), Level(20 - u32::try_from(maps.len()).unwrap()));
        value.vectors()[0].clone()
    }

    /// `sum_k (a_k + i a_(k + n)) zeta^(5^j k)`, from the formula.
    fn slots_by_definition(coefficients: &[f64]) -> Vec<Complex64> {
        let n = coefficients.len() / 2;
        let powers = std::iter::successors(Some(1), |power| Some(power * 5 % (4 * n)));
        let slot = |power: usize| -> Complex64 {
            let zeta = |k: usize| Complex64::from_polar(1.0, 2.0 * PI * (power * k % (4 * n)) as f64 / (4 * n) as f64);
            (0..n).map(|k| Complex64::new(coefficients[k], coefficients[k + n]) * zeta(k)).sum()
        };
        powers.take(n).map(slot).collect()
    }

    #[test]
    fn slots_are_those_of_the_definition_for_every_number_of_levels() {
        let slots: usize = 512;
        let coefficients: Vec<f64> = (0..2 * slots).map(|k| (k as f64 * 0.37).sin()).collect();
        let reversed = |k: usize| k.reverse_bits() >> (usize::BITS - slots.ilog2());
        let c: Vec<_> =
            (0..slots).map(|k| Complex64::new(coefficients[reversed(k)], coefficients[reversed(k) + slots])).collect();
        let want = slots_by_definition(&coefficients);
        for levels in 1..=9 {
            let forward = slots_from_coefficients(slots, levels, 3.0).unwrap();
            for (got, want) in run(&forward, slots, c.clone()).iter().zip(&want) {
                assert!((got - 3.0 * want).norm() < 1e-10, "{levels} levels: {got} {want}");
            }
            let back = coefficients_from_slots(slots, levels, 0.5).unwrap();
            for (got, want) in run(&back, slots, want.clone()).iter().zip(&c) {
                assert!((got - 0.5 * want).norm() < 1e-10, "{levels} levels: {got} {want}");
            }
        }
    }

    #[test]
    fn more_levels_take_fewer_diagonals_and_keys() {
        let diagonals = |levels| -> Vec<usize> {
            slots_from_coefficients(1 << 12, levels, 1.0).unwrap().iter().map(LinearTransform::diagonals).collect()
        };
        assert_eq!(diagonals(12), [[3; 11].as_slice(), &[2]].concat());
        assert_eq!(diagonals(3), [31, 31, 16]);
        let plan = Plan::new(1 << 12);
        let mut value = plan.input(1);
        for map in slots_from_coefficients(1 << 12, 3, 1.0).unwrap() {
            value = plan.transform(&value, &plan.encode_transform(&map, plan.level(&value)).unwrap()).unwrap();
        }
        assert_eq!((plan.report().depth, plan.report().rescales), (3, 3));
        assert!(plan.report().rotations.len() < 30, "{:?}", plan.report().rotations);
    }

    #[test]
    fn unfit_sizes_are_errors() {
        for (slots, levels, gain) in
            [(0, 1, 1.0), (1, 1, 1.0), (12, 1, 1.0), (1 << 17, 2, 1.0), (16, 0, 1.0), (16, 5, 1.0), (16, 2, f64::NAN)]
        {
            let got = slots_from_coefficients(slots, levels, gain).map(|_| ());
            assert!(matches!(got, Err(Error::InvalidParameter { .. })), "{slots} {levels} {gain}");
        }
    }
}
