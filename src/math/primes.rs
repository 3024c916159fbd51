//! NTT-friendly primes.

use super::modulus::Modulus;
use crate::units::LogN;

/// Whether `x` is prime: trial by the Miller-Rabin bases that decide every 32-bit integer.
pub fn is_prime(x: u32) -> bool {
    if x < 2 || x.is_multiple_of(2) {
        return x == 2;
    }
    let wide = u64::from(x);
    let power = |mut base: u64, mut e: u32| {
        let mut out = 1u64;
        while e > 0 {
            if e & 1 == 1 {
                out = out * base % wide;
            }
            base = base * base % wide;
            e >>= 1;
        }
        out
    };
    let twos = (x - 1).trailing_zeros();
    [2u64, 7, 61].iter().all(|&a| {
        if a % wide == 0 {
            return true;
        }
        let mut y = power(a, (x - 1) >> twos);
        if y == 1 || y == wide - 1 {
            return true;
        }
        (1..twos).any(|_| {
            y = y * y % wide;
            y == wide - 1
        })
    })
}

/// Primes `= 1 mod 2N` below `limit`, largest first.
pub fn ntt_primes_below(limit: u32, log_n: LogN) -> impl Iterator<Item = u32> {
    let step = 2u32 << log_n.get();
    let first = (limit.saturating_sub(2) / step * step).checked_add(1).unwrap_or(1);
    (0..).map_while(move |k| first.checked_sub(k * step)).take_while(|&q| q > 1).filter(|&q| is_prime(q))
}

/// Primes `= 1 mod 2N` below `2^30`, nearest to `target` first.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of a modulus")]
pub fn ntt_primes_near(target: f64, log_n: LogN) -> impl Iterator<Item = u32> {
    let centre = target.clamp(2.0, f64::from(Modulus::LIMIT - 1)) as u32;
    let step = 2u32 << log_n.get();
    let mut above = ((centre / step + 1) * step).saturating_add(1);
    let mut below = Some(above - step);
    std::iter::from_fn(move || {
        loop {
            let up = (above < Modulus::LIMIT).then_some(above);
            let down = below.filter(|&q| q > 1);
            let take_up = match (up, down) {
                (None, None) => return None,
                (Some(u), Some(d)) => u.abs_diff(centre) < d.abs_diff(centre),
                (up, _) => up.is_some(),
            };
            let candidate = if take_up { above } else { below? };
            if take_up {
                above += step;
            } else {
                below = candidate.checked_sub(step);
            }
            if is_prime(candidate) {
                return Some(candidate);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primality_agrees_with_trial_division() {
        let by_division = |x: u32| x >= 2 && (2..).take_while(|d| d * d <= x).all(|d| !x.is_multiple_of(d));
        for x in (0..3000).chain((1 << 29)..(1 << 29) + 300) {
            assert_eq!(is_prime(x), by_division(x), "{x}");
        }
    }

    #[test]
    fn primes_are_friendly_ordered_and_complete() {
        let log_n = LogN::new(13).unwrap();
        let below: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(5).collect();
        assert!(below.windows(2).all(|w| w[0] > w[1]));
        let mut all: Vec<u32> = ntt_primes_below(1 << 30, log_n).collect();
        let mut near: Vec<u32> = ntt_primes_near(f64::from(1 << 27), log_n).collect();
        assert!(near.iter().all(|q| q % (2 << 13) == 1 && is_prime(*q)));
        assert!(near.windows(2).all(|w| w[0].abs_diff(1 << 27) <= w[1].abs_diff(1 << 27)));
        near.sort_unstable();
        all.reverse();
        assert_eq!(near, all);
    }
}
