//! Sparse ternary polynomials, sampled in constant time.

use super::sampling::Csprng;
use crate::error::{Error, Result};
use zeroize::Zeroizing;

impl Csprng {
    /// Fills `out`, whose length is a power of two, with exactly `weight` values `+-1` at uniformly random places and 0 elsewhere.
    ///
    /// Time, branches and memory accesses depend on the length alone: `weight` signed values stand first and are moved to their
    /// places by sorting random keys of 126 bits with a network. Two keys are equal with a probability below `N^2 / 2^127`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `1 <= weight <= out.len()`, for a length that is a power of two.
    /// # Source
    /// Batcher's bitonic sorting network, in the form of Knuth, The Art of Computer Programming 3, section 5.3.4.
    pub fn sparse_ternary(&mut self, weight: u32, out: &mut [i32]) -> Result<()> {
        if !out.len().is_power_of_two() || weight == 0 || weight as usize > out.len() {
            let reason = format!("{weight} of {} coefficients", out.len());
            return Err(Error::InvalidParameter { what: "weight", reason });
        }
        let mut keys = Zeroizing::new(vec![0u128; out.len()]);
        self.fill(bytemuck::cast_slice_mut(&mut keys));
        // The two low bits are the value and travel along: 1 for 0, and for +-1 a random one of 0 and 2.
        for (index, key) in keys.iter_mut().enumerate() {
            *key = if index < weight as usize { *key & !1 } else { (*key & !3) | 1 };
        }
        sort(&mut keys);
        for (out, key) in out.iter_mut().zip(keys.iter()) {
            *out = i32::try_from(key & 3).expect("two bits") - 1;
        }
        Ok(())
    }
}

/// Ascending order by a bitonic network: the same comparisons for every input, and exchanges without a branch.
fn sort(keys: &mut [u128]) {
    let n = keys.len();
    let mut size = 2;
    while size <= n {
        let mut stride = size / 2;
        while stride > 0 {
            for low in (0..n).filter(|i| i & stride == 0) {
                let high = low | stride;
                let (a, b) = (keys[low], keys[high]);
                let descending = u128::from(low & size != 0);
                // All ones where the pair is in the wrong order.
                let wrong = 0u128.wrapping_sub(u128::from(b < a) ^ descending);
                let exchange = (a ^ b) & wrong;
                keys[low] = a ^ exchange;
                keys[high] = b ^ exchange;
            }
            stride /= 2;
        }
        size *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seed;
    use super::*;

    #[test]
    fn the_network_sorts() {
        for log in 0..=8 {
            // Zeros and ones show every error of a network; a few runs of each weight.
            for pattern in 0..64u64 {
                let bit =
                    |i: u64| u128::from((i.wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (pattern << 17)) >> 61) < pattern % 8);
                let mut keys: Vec<u128> = (0..1u64 << log).map(bit).collect();
                let ones = keys.iter().sum::<u128>();
                sort(&mut keys);
                assert!(keys.is_sorted() && keys.iter().sum::<u128>() == ones);
            }
        }
        let mut keys: Vec<u128> = (0..1024u128).map(|i| i.wrapping_mul(0xda94_2042_e4dd_58b5 << 60)).collect();
        let mut expected = keys.clone();
        expected.sort_unstable();
        sort(&mut keys);
        assert_eq!(keys, expected);
    }

    #[test]
    fn weight_is_exact_and_places_are_uniform() {
        const N: usize = 64;
        let mut rng = Csprng::new(&Seed::from_bytes([3; 32]));
        let mut out = [0i32; N];
        for weight in [1, 63, 64] {
            rng.sparse_ternary(weight, &mut out).unwrap();
            assert_eq!(out.iter().map(|x| x.unsigned_abs()).sum::<u32>(), weight);
            assert!(out.iter().all(|x| (-1..=1).contains(x)));
        }
        let (rounds, weight) = (4000, 16);
        let (mut hits, mut sum) = ([0i32; N], 0);
        for _ in 0..rounds {
            rng.sparse_ternary(weight, &mut out).unwrap();
            out.iter().zip(&mut hits).for_each(|(x, hits)| *hits += x.abs());
            sum += out.iter().sum::<i32>();
        }
        // Each place is hit with probability 1/4, signs are even: within five standard deviations.
        let deviation = (f64::from(rounds) * 0.25 * 0.75).sqrt();
        assert!(hits.iter().all(|&h| (f64::from(h) - 0.25 * f64::from(rounds)).abs() < 5.0 * deviation), "{hits:?}");
        assert!(f64::from(sum).abs() < 5.0 * (f64::from(rounds) * 16.0).sqrt(), "{sum}");
    }

    #[test]
    fn bad_weights_are_errors() {
        let mut rng = Csprng::new(&Seed::from_bytes([4; 32]));
        for (weight, len) in [(0, 8), (9, 8), (1, 6), (1, 0)] {
            let refused = rng.sparse_ternary(weight, &mut vec![0; len]);
            assert!(matches!(refused, Err(Error::InvalidParameter { what: "weight", .. })), "{weight} of {len}");
        }
    }
}
