//! Discrete Gaussians far wider than an error's.

use super::rows::{self, TILE};
use super::{Csprng, Prime};
use zeroize::Zeroizing;

/// A sampler of discrete Gaussian integers of any deviation up to `2^90`, for noise that hides other noise.
///
/// A wide Gaussian is a sum of narrow ones: with `x`, `y` of deviation `t` and coprime `a`, `b` small enough beside `t`, the integer
/// `a x + b y` is Gaussian of deviation `t sqrt(a^2 + b^2)`. Starting from [`Csprng::gaussian`], seven such steps reach `2^82`; the
/// last one is chosen to end next to the wanted deviation. Unrolled, a sample is `sum_j w_j x_j` with at most 256 narrow samples and
/// public weights, which is computed modulo each prime: every bit of a sample is random, down to the lowest, as it would not be with
/// rounded floats, and neither time nor memory access depends on it.
///
/// *Distance.* Each step needs `t sqrt(2 pi) >= sqrt(2) max(a, b) eta` with the smoothing parameter `eta` of the integers at
/// `2^-64`, and adds about `2^-63`; each narrow sample is within `2^-57` of its distribution. A sample is within `2^-49` of the
/// discrete Gaussian in statistical distance ([`Self::LOG_DISTANCE`]).
///
/// # Source
/// Convolution: Micciancio and Peikert, ePrint 2013/069, Theorem 3.3; as a sampler, Micciancio and Walter, ePrint 2017/259,
/// section 3.
#[derive(Clone, Debug)]
pub struct WideGaussian {
    /// `w_j`.
    weights: Vec<i128>,
    deviation: f64,
}

/// `sqrt(ln(2 (1 + 2^64)) / pi)`, a bound on the smoothing parameter of the integers at `2^-64`, rounded up.
const SMOOTHING: f64 = 3.788;

impl WideGaussian {
    /// Binary logarithm of the statistical distance of one sample from the discrete Gaussian.
    pub const LOG_DISTANCE: f64 = -49.0;

    /// Largest deviation that [`Self::at_least`] takes.
    pub const MAX_DEVIATION: f64 = 1.2379400392853803e27; // 2^90

    /// A sampler with a deviation of at least `wanted`, and at most 1.6 times it above 3.2; `None` unless `wanted` is between 0 and
    /// [`Self::MAX_DEVIATION`].
    pub fn at_least(wanted: f64) -> Option<Self> {
        if !(0.0..=Self::MAX_DEVIATION).contains(&wanted) {
            return None;
        }
        let (mut weights, mut deviation) = (vec![1i128], Csprng::SIGMA);
        while deviation < wanted {
            let largest = (deviation * std::f64::consts::PI.sqrt() / SMOOTHING).floor();
            let (a, b) = step(wanted / deviation, largest);
            weights = [a, b].iter().flat_map(|&factor| weights.iter().map(move |w| factor * w)).collect();
            deviation *= ((a * a + b * b) as f64).sqrt();
        }
        Some(Self { weights, deviation })
    }

    /// The standard deviation.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }

    /// `count` samples modulo each prime: `[prime][count]`.
    pub(crate) fn sample(&self, rng: &mut Csprng, primes: &[Prime], count: usize) -> Zeroizing<Vec<u32>> {
        let factors: Vec<Vec<i64>> = primes
            .iter()
            .map(|prime| self.weights.iter().map(|&w| i64::from(prime.modulus().reduce_signed(w))).collect())
            .collect();
        let mut out = Zeroizing::new(vec![0; primes.len() * count]);
        let mut narrow = Zeroizing::new([0i32; TILE]);
        let mut sums = Zeroizing::new(vec![0i64; primes.len() * TILE]);
        for first in (0..count).step_by(TILE) {
            let tile = TILE.min(count - first);
            sums.fill(0);
            for j in 0..self.weights.len() {
                rng.gaussian(&mut narrow[..tile]);
                // At most 256 products of 30 bits and 6: 44 bits.
                for (sums, factors) in sums.chunks_mut(TILE).zip(&factors) {
                    rows::add_multiples(&mut sums[..tile], factors[j], &narrow[..tile]);
                }
            }
            for ((out, sums), prime) in out.chunks_mut(count).zip(sums.chunks(TILE)).zip(primes) {
                rows::finish_signed(prime.reducer(), &mut out[first..first + tile], &sums[..tile]);
            }
        }
        out
    }
}

/// Coprime factors up to `largest`: the largest pair while `ratio` is out of reach, else one whose length is next above it.
#[expect(clippy::cast_possible_truncation, reason = "whole numbers below 2^90")]
fn step(ratio: f64, largest: f64) -> (i128, i128) {
    let largest = largest.max(1.0);
    let length = |a: f64, b: f64| a.hypot(b);
    if largest > 1.0 && length(largest, largest - 1.0) < ratio || largest == 1.0 {
        return (largest as i128, (largest - 1.0).max(1.0) as i128);
    }
    // Candidates a from the diagonal outwards, each with the smallest b that is enough.
    let start = (ratio / std::f64::consts::SQRT_2).floor().max(1.0);
    let pairs = (0..64).map(|k| start + f64::from(k)).take_while(|&a| a <= largest).filter_map(|a| {
        let least = (ratio * ratio - a * a).max(0.0).sqrt().floor().max(1.0);
        let b =
            (0..64).map(|k| least + f64::from(k)).find(|&b| length(a, b) >= ratio && coprime(a as i128, b as i128))?;
        (b <= a).then_some((a, b))
    });
    let best = pairs.min_by(|x, y| length(x.0, x.1).total_cmp(&length(y.0, y.1)));
    best.map_or((largest as i128, (largest - 1.0) as i128), |(a, b)| (a as i128, b as i128))
}

fn coprime(mut a: i128, mut b: i128) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::{RingTables, Seed, ntt_primes_below};
    use crate::units::LogN;

    /// The samples, from their residues, and how many are odd.
    fn samples(gaussian: &WideGaussian, count: usize) -> (Vec<f64>, usize) {
        let log_n = LogN::new(10).unwrap();
        let moduli: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(4).collect();
        let tables = RingTables::new(log_n, &moduli).unwrap();
        let mut rng = Csprng::new(&Seed::from_bytes([5; 32]));
        let words = gaussian.sample(&mut rng, tables.primes(), count);
        // Garner's digits, balanced at the end: four primes hold 119 bits.
        let product = |l: usize| moduli[..l].iter().map(|&q| i128::from(q)).product::<i128>();
        let integers = (0..count).map(|i| {
            let mut x = 0i128;
            for (l, prime) in tables.primes().iter().enumerate() {
                let m = prime.modulus();
                let inverse = m.inv(m.reduce_signed(product(l)));
                let digit = m.mul(m.sub(words[l * count + i], m.reduce_signed(x)), inverse);
                x += product(l) * i128::from(digit);
            }
            if 2 * x > product(4) { x - product(4) } else { x }
        });
        let integers: Vec<i128> = integers.collect();
        (integers.iter().map(|&x| x as f64).collect(), integers.iter().filter(|&x| x % 2 != 0).count())
    }

    #[test]
    fn the_deviation_is_next_to_the_wanted_one_and_the_conditions_hold() {
        for bits in 0..=360 {
            let wanted = (f64::from(bits) / 4.0).exp2();
            let g = WideGaussian::at_least(wanted).unwrap();
            let most = Csprng::SIGMA.max(wanted * 1.6);
            assert!(g.deviation >= wanted && g.deviation <= most, "{wanted}: {}", g.deviation);
            assert!(g.weights.len() <= 256 && g.weights.len().is_power_of_two());
            // The steps, undone from the last: the first half of the weights is those before times a, the second times b.
            let (mut weights, mut deviation) = (g.weights, g.deviation);
            while weights.len() > 1 {
                let (first, second) = weights.split_at(weights.len() / 2);
                let common = |list: &[i128]| list.iter().fold(0, |g, &w| gcd(g, w));
                // The weights before have no common divisor themselves.
                let (a, b) = (common(first), common(second));
                assert!(gcd(a, b) == 1 && a >= b);
                let before: Vec<i128> = first.iter().map(|w| w / a).collect();
                assert!(before.iter().zip(second).all(|(w, s)| w * b == *s));
                deviation /= ((a * a + b * b) as f64).sqrt();
                assert!(deviation * std::f64::consts::PI.sqrt() >= a as f64 * SMOOTHING, "{a} at {deviation}");
                weights = before;
            }
            assert!((deviation / Csprng::SIGMA - 1.0).abs() < 1e-9 && weights == [1]);
        }
        assert!(WideGaussian::at_least(f64::NAN).is_none() && WideGaussian::at_least(-1.0).is_none());
        assert!(WideGaussian::at_least(1e30).is_none());
    }

    fn gcd(a: i128, b: i128) -> i128 {
        if b == 0 { a } else { gcd(b, a % b) }
    }

    #[test]
    fn samples_have_the_gaussian_distribution_down_to_the_lowest_bit() {
        const COUNT: usize = 1 << 15;
        for wanted in [1.0, 5.0, 1000.0, 33f64.exp2(), 60f64.exp2(), 90f64.exp2()] {
            let g = WideGaussian::at_least(wanted).unwrap();
            let (values, odd) = samples(&g, COUNT);
            let scaled: Vec<f64> = values.iter().map(|x| x / g.deviation()).collect();
            let moment = |p: i32| scaled.iter().map(|x| x.powi(p)).sum::<f64>() / COUNT as f64;
            // Six deviations of each mean.
            let within =
                |got: f64, want: f64, variance: f64| (got - want).abs() < 6.0 * (variance / COUNT as f64).sqrt();
            assert!(
                within(moment(1), 0.0, 1.0) && within(moment(2), 1.0, 2.0),
                "{wanted}: {} {}",
                moment(1),
                moment(2)
            );
            assert!(within(moment(3), 0.0, 15.0) && within(moment(4), 3.0, 96.0), "{wanted}: {}", moment(4));
            assert!(within(odd as f64 / COUNT as f64, 0.5, 0.25), "{wanted}: {odd} odd samples");
            // Shares between multiples of the deviation, by the normal distribution: only where it is wide.
            for (edge, share) in [(0.5, 0.382_924_9), (1.0, 0.682_689_5), (2.0, 0.954_499_7), (3.0, 0.997_300_2)] {
                let inside = scaled.iter().filter(|x| x.abs() < edge).count() as f64 / COUNT as f64;
                assert!(wanted < 100.0 || within(inside, share, share * (1.0 - share)), "{wanted}: {inside} in {edge}");
            }
            assert!(scaled.iter().all(|x| x.abs() < 7.0));
        }
    }
}
