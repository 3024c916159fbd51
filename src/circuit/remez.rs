//! Odd polynomials that come closest to the sign.
//!
//! On `[margin, 1]` the odd polynomials of degree `2n - 1` are `x q(x^2)`, with `q` of degree `n - 1`: a Haar space, so that
//! the best approximation of 1 is the one whose error takes its largest size `n + 1` times with alternating signs. Remez's
//! exchange finds it: solve for a polynomial whose error alternates with one size on a reference of `n + 1` points, move the
//! reference to the extremes of that error, repeat.
//!
//! `q` is held in the Chebyshev basis of `[margin^2, 1]`, which is well conditioned for every margin, and its error is sampled
//! at Chebyshev points of the same variable. Errors below `2^-44` are lost in 64-bit rounding: a polynomial that is as close is
//! taken, whether or not it is the best.
//!
//! # Source
//! Remez, C. R. Acad. Sci. Paris 198 (1934); for the sign: Lee, Lee, No and Kim, ePrint 2020/834.

use std::f64::consts::PI;

/// An odd polynomial near 1 on `[margin, 1]`.
#[derive(Clone, Debug)]
pub(super) struct OddMinimax {
    /// Chebyshev coefficients on [-1, 1]; those of even index are zero.
    pub(super) coefficients: Vec<f64>,
    /// Largest distance from 1 on `[margin, 1]`.
    pub(super) error: f64,
}

/// Samples of the error for each coefficient: a parabola through three of them is off by less than 10^-6 of an extreme.
const SAMPLES: usize = 128;
/// Errors that 64 bits no longer tell from rounding.
pub(super) const FLOOR: f64 = 1.0 / (1u64 << 44) as f64;
/// Exchanges before it gives up; convergence is quadratic and takes about ten.
const EXCHANGES: usize = 60;

/// `x q(x^2)` with `q` in the Chebyshev basis of `[margin^2, 1]`.
struct Odd {
    margin: f64,
    q: Vec<f64>,
}

impl Odd {
    /// `x` at `v` in [-1, 1].
    fn point(margin: f64, v: f64) -> f64 {
        let low = margin * margin;
        (low + (1.0 - low) * (v + 1.0) / 2.0).sqrt()
    }

    fn at(&self, x: f64) -> f64 {
        let low = self.margin * self.margin;
        // x^2 - 1 as a product keeps its digits where the interval is short.
        let v = 1.0 + 2.0 * (x - 1.0) * (x + 1.0) / (1.0 - low);
        let (first, second) =
            self.q[1..].iter().rev().fold((0.0, 0.0), |(next, after), c| (c + 2.0 * v * next - after, next));
        x * (self.q[0] + v * first - second)
    }
}

/// Solves by elimination with pivots; `None` when singular.
fn solve(mut rows: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let n = rows.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&a, &b| rows[a][k].abs().total_cmp(&rows[b][k].abs()))?;
        rows.swap(k, pivot);
        let head = rows[k].clone();
        if head[k] == 0.0 || !head[k].is_finite() {
            return None;
        }
        for row in &mut rows[k + 1..] {
            let factor = row[k] / head[k];
            row[k..].iter_mut().zip(&head[k..]).for_each(|(x, h)| *x -= factor * h);
        }
    }
    let mut x = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| rows[k][j] * x[j]).sum();
        x[k] = (rows[k][n] - known) / rows[k][k];
    }
    Some(x)
}

/// Largest size of the error in each run of one sign, with its place; the ends of the interval included.
fn extremes(p: &Odd, n: usize) -> Vec<(f64, f64)> {
    let last = SAMPLES * n;
    let angle = |k: f64| PI * (1.0 - k / last as f64);
    let error = |k: f64| p.at(Odd::point(p.margin, angle(k).cos())) - 1.0;
    let samples: Vec<f64> = (0..=last).map(|k| error(k as f64)).collect();
    let mut out: Vec<(f64, f64)> = vec![];
    for (k, &e) in samples.iter().enumerate() {
        let (before, after) = (samples[k.saturating_sub(1)], samples[(k + 1).min(last)]);
        let mut best = (k as f64, e);
        if 0 < k && k < last && e.abs() >= before.abs() && e.abs() >= after.abs() {
            // The vertex of the parabola through three samples.
            let bend = before - 2.0 * e + after;
            let vertex = if bend == 0.0 { k as f64 } else { k as f64 + (before - after) / (2.0 * bend) };
            let there = error(vertex.clamp(k as f64 - 1.0, k as f64 + 1.0));
            if there.abs() > e.abs() {
                best = (vertex, there);
            }
        }
        match out.last_mut() {
            Some(run) if run.1.is_sign_negative() == e.is_sign_negative() => {
                if best.1.abs() > run.1.abs() {
                    *run = best;
                }
            }
            _ => out.push(best),
        }
    }
    out.into_iter().map(|(k, e)| (angle(k).cos(), e)).collect()
}

/// The best odd polynomial of odd degree `degree` for `0 < margin < 1`; `None` where 64 bits are too few to find it.
pub(super) fn odd_minimax(degree: usize, margin: f64) -> Option<OddMinimax> {
    let n = degree.div_ceil(2);
    let mut reference: Vec<f64> = (0..=n).map(|k| (PI * (1.0 - k as f64 / n as f64)).cos()).collect();
    for _ in 0..EXCHANGES {
        // x q(x^2) + (-1)^k E = 1 at every point of the reference.
        let row = |(k, &v): (usize, &f64)| {
            let x = Odd::point(margin, v);
            let mut row: Vec<f64> = (0..n).map(|j| x * (j as f64 * v.clamp(-1.0, 1.0).acos()).cos()).collect();
            row.extend([if k % 2 == 0 { 1.0 } else { -1.0 }, 1.0]);
            row
        };
        let mut q = solve(reference.iter().enumerate().map(row).collect())?;
        let level = q.pop()?.abs();
        let p = Odd { margin, q };
        let mut found = extremes(&p, n);
        let largest = found.iter().map(|(_, e)| e.abs()).fold(0.0, f64::max);
        if largest <= FLOOR {
            return Some(OddMinimax { coefficients: chebyshev(&p, degree), error: FLOOR });
        }
        // Near a small margin the polynomial itself, 1 - E, is small and has to be known well.
        if largest - level <= 1e-6 * level.min(100.0 * (1.0 - level)) + f64::EPSILON {
            return Some(OddMinimax { coefficients: chebyshev(&p, degree), error: largest });
        }
        // More runs than points: the outer ones with the smaller errors go.
        while found.len() > n + 1 {
            let (first, last) = (found[0].1.abs(), found[found.len() - 1].1.abs());
            found.remove(if first < last { 0 } else { found.len() - 1 });
        }
        if found.len() < n + 1 {
            return None;
        }
        reference = found.into_iter().map(|(v, _)| v).collect();
    }
    None
}

/// Coefficients in the Chebyshev basis of [-1, 1], by interpolation at as many points as there are coefficients.
fn chebyshev(p: &Odd, degree: usize) -> Vec<f64> {
    let count = degree + 1;
    let angles: Vec<f64> = (0..count).map(|k| PI * (k as f64 + 0.5) / count as f64).collect();
    let values: Vec<f64> = angles.iter().map(|a| p.at(a.cos())).collect();
    let coefficient = |j: usize| {
        if j.is_multiple_of(2) {
            return 0.0;
        }
        let sum: f64 = values.iter().zip(&angles).map(|(y, a)| y * (j as f64 * a).cos()).sum();
        2.0 * sum / count as f64
    };
    (0..count).map(coefficient).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(p: &OddMinimax, x: f64) -> f64 {
        p.coefficients.iter().enumerate().map(|(j, c)| c * (j as f64 * x.acos()).cos()).sum()
    }

    #[test]
    fn degree_1_and_3_by_hand() {
        // c x on [m, 1]: 1 - c m = c - 1.
        let p = odd_minimax(1, 0.25).unwrap();
        assert!((p.coefficients[1] - 1.6).abs() < 1e-6 && (p.error - 0.6).abs() < 1e-6);
        // b x - a x^3: the errors at m, at the interior extreme sqrt(b / 3a), and at 1 have one size.
        let p = odd_minimax(3, 0.5).unwrap();
        let a = -4.0 * p.coefficients[3];
        let b = p.coefficients[1] + 3.0 * a / 4.0;
        let peak = (b / (3.0 * a)).sqrt();
        for (x, sign) in [(0.5, -1.0), (peak, 1.0), (1.0, -1.0)] {
            assert!((b * x - a * x.powi(3) - 1.0 - sign * p.error).abs() < 1e-6);
        }
    }

    #[test]
    fn the_error_equioscillates() {
        for degree in [3, 5, 7, 9, 15, 21, 31] {
            for margin in [2f64.powi(-30), 2f64.powi(-16), 2f64.powi(-8), 0.1, 0.5, 0.8] {
                let p = odd_minimax(degree, margin).unwrap();
                // Runs of one sign on a grid of its own, dense at both ends.
                let x = |k: i32| margin + (1.0 - margin) * (f64::from(k) * PI / 80002.0).sin().powi(2);
                let mut peaks: Vec<f64> = vec![];
                for k in 0..=40001 {
                    let e = at(&p, x(k)) - 1.0;
                    match peaks.last_mut() {
                        Some(peak) if peak.is_sign_negative() == e.is_sign_negative() => {
                            *peak = if e.abs() > peak.abs() { e } else { *peak }
                        }
                        _ => peaks.push(e),
                    }
                }
                let largest = peaks.iter().fold(0f64, |max, e| max.max(e.abs()));
                if p.error <= FLOOR {
                    assert!(largest <= 2.0 * FLOOR && margin >= 0.5, "degree {degree}, margin {margin}: {largest}");
                    continue;
                }
                let noise = 1e-13 * p.coefficients.iter().map(|c| c.abs()).sum::<f64>();
                assert_eq!(peaks.len(), degree.div_ceil(2) + 1, "degree {degree}, margin {margin}: {peaks:?}");
                for peak in &peaks {
                    let off = (peak.abs() - p.error).abs();
                    assert!(off <= 1e-4 * p.error + noise, "degree {degree}, margin {margin}: {peak} not {}", p.error);
                }
                assert!(p.coefficients.iter().step_by(2).all(|c| *c == 0.0));
            }
        }
    }
}
