//! The sign as a composition of odd polynomials.

use super::polynomial::Polynomial;
use super::remez::{OddMinimax, odd_minimax};
use super::schedule::depth_of;
use crate::error::{Error, Result};

/// Odd polynomials `p_1, p_2, ...` whose composition is near the sign for `margin <= |u| <= 1`.
///
/// The first is the best approximation of the sign there and takes values in `[1 - t, 1 + t]`; divided by `1 + t` they lie
/// in `[margin', 1]` with `margin' = (1 - t) / (1 + t)`, where the next one is the best, and so on. The last is not divided. Noise that takes a value
/// beyond 1 is multiplied by the next one; with `room` all but the last end that far below 1.
///
/// # Source
/// Lee, Lee, No and Kim, ePrint 2020/834: compositions of minimax polynomials. Deviation: the sequence of degrees is the one
/// of least depth among the degrees `2^k - 1`, found by dynamic programming over the depth, where a larger `margin'` is always
/// better; the last degree is then lowered as far as the error allows.
#[derive(Clone, Debug)]
pub(super) struct Sign {
    /// Odd Chebyshev coefficients of every factor.
    factors: Vec<Vec<f64>>,
    /// Largest distance from 1 for `u` in `[margin, 1]`, by the last factor's own.
    pub(super) error: f64,
}

/// Full degrees of depths 2 to 5. Larger ones bring no gain in depth and lose digits.
const DEGREES: [usize; 4] = [3, 7, 15, 31];
/// Depth at which the search gives up.
const MAX_DEPTH: usize = 120;
/// Below this margin 64 bits no longer tell `1 - t` from 0.
const MIN_MARGIN: f64 = 1.0 / (1u64 << 36) as f64;

impl Sign {
    /// The composition of least depth for an error of at most `wanted`.
    pub(super) fn new(margin: f64, wanted: f64, room: f64) -> Result<Self> {
        if !(MIN_MARGIN..1.0).contains(&margin) {
            let reason = format!("{margin:e} is outside [2^-36, 1), as a part of the bound");
            return Err(Error::InvalidParameter { what: "margin", reason });
        }
        // At every depth the composition that leaves the largest margin.
        let mut reached: Vec<Option<(f64, Vec<Vec<f64>>)>> = vec![None; MAX_DEPTH + 1];
        reached[0] = Some((margin, vec![]));
        let mut finished: Vec<Option<Self>> = vec![None; MAX_DEPTH + 1];
        let mut best = f64::INFINITY;
        for depth in 0..MAX_DEPTH {
            if let Some(sign) = finished[depth].take() {
                return Ok(sign);
            }
            let Some((margin, before)) = reached[depth].take() else { continue };
            for degree in DEGREES {
                let Some(minimax) = odd_minimax(degree, margin) else { continue };
                let after = depth + depth_of(degree + 1) as usize;
                best = best.min(minimax.error);
                if after > MAX_DEPTH {
                    continue;
                }
                if minimax.error <= wanted {
                    if finished[after].is_none() {
                        let last = lowest(degree, margin, wanted).unwrap_or(minimax);
                        let factors = before.iter().cloned().chain([last.coefficients]).collect();
                        finished[after] = Some(Self { factors, error: last.error });
                    }
                    break;
                }
                let factor = (1.0 - room) / (1.0 + minimax.error);
                let next = (1.0 - minimax.error) * factor;
                if reached[after].as_ref().is_none_or(|(largest, _)| next > *largest) {
                    let divided = minimax.coefficients.iter().map(|c| c * factor).collect();
                    reached[after] = Some((next, before.iter().cloned().chain([divided]).collect()));
                }
            }
        }
        let function = format!("sign for |x| >= {margin:e}");
        Err(Error::Unreachable { function, wanted, best, reason: "64-bit minimax polynomials end at 2^-44" })
    }

    /// The factors on `[-bound, bound]`, the last one turned into `scale * p + shift`.
    pub(super) fn polynomials(&self, bound: f64, scale: f64, shift: f64) -> Result<Vec<Polynomial>> {
        let mut out = Vec::with_capacity(self.factors.len());
        for (k, factor) in self.factors.iter().enumerate() {
            let bound = if k == 0 { bound } else { 1.0 };
            let mut coefficients = factor.clone();
            if k + 1 == self.factors.len() {
                coefficients.iter_mut().for_each(|c| *c *= scale);
                coefficients[0] = shift;
            }
            out.push(Polynomial::chebyshev(coefficients, -bound, bound)?);
        }
        Ok(out)
    }
}

/// The smallest degree of the same depth that is good enough.
fn lowest(degree: usize, margin: f64, wanted: f64) -> Option<OddMinimax> {
    let smallest = (1 << (depth_of(degree + 1) - 1)) + 1;
    (smallest..degree).step_by(2).find_map(|d| odd_minimax(d, margin).filter(|p| p.error <= wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compositions_reach_their_error_everywhere_outside_the_margin() -> Result<()> {
        for (margin_bits, error_bits) in [(1, 20), (4, 4), (8, 10), (12, 20), (20, 20), (30, 40)] {
            let margin = f64::from(-margin_bits).exp2();
            let wanted = f64::from(-error_bits).exp2();
            let sign = Sign::new(margin, wanted, 0.0)?;
            assert!(sign.error <= wanted);
            let polynomials = sign.polynomials(1.0, 1.0, 0.0)?;
            let value = |x: f64| polynomials.iter().fold(x, |x, p| p.at(x));
            let degrees: Vec<_> = polynomials.iter().map(Polynomial::degree).collect();
            let depth: u32 = polynomials.iter().map(Polynomial::depth).sum();
            println!("margin 2^-{margin_bits}, error 2^-{error_bits}: {degrees:?}, depth {depth}");
            // Clenshaw's rule near the ends of [-1, 1] adds up to degree^2 roundings of coefficients whose sizes sum to about 2.
            let highest = degrees.iter().max().map_or(1.0, |&d| d as f64);
            let bound = 1.0001 * sign.error + 2.0 * highest * highest * f64::EPSILON;
            for k in 0..=100_000 {
                let part = f64::from(k) / 1e5;
                for x in [margin + (1.0 - margin) * part, margin.powf(part)] {
                    assert!((value(x) - 1.0).abs() <= bound, "{x}: {}", value(x));
                    assert!((value(-x) + 1.0).abs() <= bound);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_reached_is_an_error() {
        assert!(matches!(Sign::new(0.1, 1e-15, 0.0), Err(Error::Unreachable { best, .. }) if best > 1e-15));
        for margin in [0.0, 1.0, -0.5, f64::NAN, 1e-12] {
            assert!(matches!(Sign::new(margin, 0.1, 0.0), Err(Error::InvalidParameter { what: "margin", .. })));
        }
    }
}
