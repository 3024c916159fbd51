//! How likely a refresh leaves EvalMod's range.

use super::settings::{BootstrapSecret, Bootstrapping};
use crate::units::LogN;

impl Bootstrapping {
    /// Base-two logarithm of a bound on the probability that the refresh of one vector fails: that some coefficient wraps around `q_0` more
    /// than `K` times. Minus infinity where that is impossible. A batch of `B` vectors fails `B` times as often at most. Slots of
    /// magnitude above 1 are outside of it.
    ///
    /// The wraps of one coefficient are half the sum of `h + 1` numbers uniform in [-1, 1], `h` the weight of the secret that the modulus
    /// is raised under. Chernoff: `P(|sum| / 2 >= x) <= 2 min_t e^(-t x) (sinh(t/2) / (t/2))^(h + 1)` with `x = K + 1/2`, times the `N`
    /// coefficients. A dense secret's `h` is taken eight standard deviations above its mean `2N/3`, which a key exceeds with probability below
    /// `2^-50.4`; both probabilities are added.
    pub fn failure_log2(&self, log_n: LogN) -> f64 {
        let n = log_n.degree() as f64;
        let (weight, heavier) = match self.secret {
            BootstrapSecret::Encapsulated { weight, .. } => (f64::from(weight), 0.0),
            BootstrapSecret::Dense => ((n * 2.0 / 3.0 + 8.0 * (n * 2.0 / 9.0).sqrt()).min(n), (-50.4f64).exp2()),
        };
        let (terms, x) = (weight + 1.0, f64::from(self.range) + 0.5);
        if x >= terms / 2.0 {
            return heavier.log2();
        }
        // ln(sinh(y) / y), without overflow.
        let growth = |y: f64| if y > 1e-3 { y + (-(-2.0 * y).exp()).ln_1p() - (2.0 * y).ln() } else { y * y / 6.0 };
        let exponent = |t: f64| terms * growth(t / 2.0) - t * x;
        // Convex in t: golden section on a bracket that ends where the exponent rises again.
        let (mut low, mut high) = (0.0, 1.0);
        while exponent(2.0 * high) < exponent(high) {
            high *= 2.0;
        }
        high *= 2.0;
        let golden = (5f64.sqrt() - 1.0) / 2.0;
        for _ in 0..200 {
            let (a, b) = (high - golden * (high - low), low + golden * (high - low));
            if exponent(a) < exponent(b) { high = b } else { low = a }
        }
        let wraps = (exponent(low) / std::f64::consts::LN_2 + 1.0 + n.log2()).exp2();
        (wraps + heavier).log2().min(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::presets::ENCAPSULATED;
    use super::*;

    fn settings(range: u32, secret: BootstrapSecret) -> Bootstrapping {
        Bootstrapping { range, secret, ..ENCAPSULATED }
    }

    #[test]
    fn sparse_secrets_agree_with_the_exact_tail_and_dense_ones_with_the_normal_one() {
        let log_n = LogN::new(16).unwrap();
        let sparse =
            |weight, range| settings(range, BootstrapSecret::Encapsulated { weight, special: 2 }).failure_log2(log_n);
        assert_eq!(sparse(32, 16), f64::NEG_INFINITY);
        // Four uniform numbers in [-1, 1]: P(|sum| / 2 >= 1.5) = 2 (1/2)^4 / 24 by the volume of a corner.
        let exact = (2.0 * 0.5f64.powi(4) / 24.0).log2() + 16.0;
        let bound = sparse(3, 1);
        assert!(bound == 0.0 && exact < 9.0, "vacuous where the union bound is: {bound} {exact}");
        let corner =
            |k: i32| (2.0 * 0.5f64.powi(33)).log2() - (1..=33).map(|j| f64::from(j).log2()).sum::<f64>() + f64::from(k);
        // The corner of 33 numbers beyond 15.5 = 16.5 - 1 has sides 1: 1/33! on either side.
        let exact = corner(33) + 16.0;
        assert!((exact..exact + 8.0).contains(&sparse(32, 15)), "{} {exact}", sparse(32, 15));
        let dense = settings(512, BootstrapSecret::Dense).failure_log2(log_n);
        assert!((-45.0..-32.0).contains(&dense), "{dense}");
        assert!(settings(256, BootstrapSecret::Dense).failure_log2(log_n) > dense + 20.0);
    }
}
