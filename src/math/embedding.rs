//! The slot embedding of CKKS: vectors of `N/2` complex numbers and real polynomials of degree below `N`.

use crate::units::LogN;
use num_complex::Complex64;
use rustfft::{Fft, FftPlanner};
use std::f64::consts::PI;
use std::sync::Arc;

/// Transforms between slots and coefficients: slot `j` is the value of the polynomial at `zeta^(5^j)`, `zeta = e^(i pi / N)`.
///
/// The polynomial is real, so with `c_n = a_n + i a_(n + N/2)` the values at `zeta^(4k + 1)` are a transform of length `N/2`:
/// `sum_n c_n zeta^n e^(2 pi i n k / (N/2))`, and `5^j = 4k + 1` runs over all of them.
///
/// # Source
/// CKKS, ePrint 2016/421, section 3.2.
#[derive(Clone)]
pub struct Embedding {
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
    /// `zeta^n`.
    twist: Arc<[Complex64]>,
    /// `(5^j - 1) / 4 mod N/2`.
    order: Arc<[u32]>,
}

impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedding({} slots)", self.slots())
    }
}

impl Embedding {
    /// The embedding of a ring.
    pub fn new(log_n: LogN) -> Self {
        let (n, half) = (log_n.degree(), log_n.slots());
        let mut planner = FftPlanner::new();
        let two_n = 2 * n as u64;
        let powers = std::iter::successors(Some(1u64), |p| Some(p * 5 % two_n));
        Self {
            forward: planner.plan_fft_forward(half),
            inverse: planner.plan_fft_inverse(half),
            twist: (0..half).map(|k| Complex64::from_polar(1.0, PI * k as f64 / n as f64)).collect(),
            order: powers.take(half).map(|p| u32::try_from((p - 1) / 4).expect("below N/2")).collect(),
        }
    }

    /// Number of slots, `N/2`.
    pub fn slots(&self) -> usize {
        self.twist.len()
    }

    /// Coefficients of the real polynomial with these slots; missing slots are zero.
    ///
    /// # Shape
    /// At most `N/2` slots to `N` coefficients.
    pub fn to_coefficients(&self, slots: &[Complex64]) -> Vec<f64> {
        let half = self.slots();
        let mut work = vec![Complex64::ZERO; half];
        for (value, &k) in slots.iter().zip(self.order.iter()) {
            work[k as usize] = *value;
        }
        self.forward.process(&mut work);
        let scale = 1.0 / half as f64;
        let mut out = vec![0.0; 2 * half];
        let (low, high) = out.split_at_mut(half);
        for (((low, high), c), twist) in low.iter_mut().zip(high).zip(work).zip(self.twist.iter()) {
            let value = c * twist.conj() * scale;
            (*low, *high) = (value.re, value.im);
        }
        out
    }

    /// Slots of a real polynomial; missing coefficients are zero.
    ///
    /// # Shape
    /// At most `N` coefficients to `N/2` slots.
    pub fn to_slots(&self, coefficients: &[f64]) -> Vec<Complex64> {
        let (low, high) = coefficients.split_at(self.slots().min(coefficients.len()));
        let (low, high) = [low, high].map(|part| part.iter().copied().chain(std::iter::repeat(0.0))).into();
        let twisted =
            low.zip(high).zip(self.twist.iter()).map(|((low, high), twist)| Complex64::new(low, high) * twist);
        let mut work: Vec<_> = twisted.collect();
        self.inverse.process(&mut work);
        self.order.iter().map(|&k| work[k as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_values_at_powers_of_five() {
        let log_n = LogN::new(10).unwrap();
        let embedding = Embedding::new(log_n);
        let coefficients: Vec<f64> = (0..1024).map(|k| f64::from((k * 37) % 101) / 50.0 - 1.0).collect();
        let slots = embedding.to_slots(&coefficients);
        let mut exponent = 1u32;
        for slot in slots.iter().take(20) {
            let terms = coefficients.iter().zip(0u32..);
            let value: Complex64 =
                terms.map(|(&a, k)| a * Complex64::from_polar(1.0, PI * f64::from(exponent * k % 2048) / 1024.0)).sum();
            assert!((value - slot).norm() < 1e-9, "{value} {slot}");
            exponent = exponent * 5 % 2048;
        }
        for (back, a) in embedding.to_coefficients(&slots).iter().zip(&coefficients) {
            assert!((back - a).abs() < 1e-12);
        }
    }
}
