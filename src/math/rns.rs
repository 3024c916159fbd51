//! Residue number systems: centred base conversion, and residues back to numbers.

use super::modulus::Modulus;
use super::reduce::PRODUCTS;
use super::rows::{self, TILE};
use super::tables::Prime;
use rayon::prelude::*;
use zeroize::Zeroizing;

/// Constants that convert a number given modulo the primes `q_i` (their product is `D`) to its residues modulo the
/// primes `t_j`.
///
/// The number is read as centred. With `y_i = a_i (D/q_i)^-1 mod q_i` and the fixed-point estimate
/// `v = (sum_i floor((y_i 2^(shift_i)) weight_i / 2^32) + 2^27) >> 28` of `sum_i y_i / q_i`, rounded, the result is
/// `sum_i y_i (D/q_i) - v D mod t_j`, the residues of one integer `r = a mod D` with `|r| <= D/2 (1 + 2^-22)`.
/// All of it is integer arithmetic, so every backend gets the same bits.
///
/// # Source
/// Halevi, Polyakov, Shoup (ePrint 2018/117), section 2, with fixed point in place of floating point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// `(D/q_i)^-1 mod q_i`.
    pub hat_inverse: Vec<u32>,
    /// `k` with `2^29 <= q_i 2^k < 2^30`.
    pub shift: Vec<u32>,
    /// `floor(2^60 / (q_i 2^shift_i))`, below `2^31 + 1`.
    pub weight: Vec<u32>,
    /// `D/q_i mod t_j` at `[j][i]`, row-major.
    pub hat: Vec<u32>,
    /// `D mod t_j`; 0 where `t_j` divides `D`.
    pub product: Vec<u32>,
    /// `D^-1 mod t_j`; 0 where `t_j` divides `D`.
    pub product_inverse: Vec<u32>,
}

impl Extension {
    /// Most source limbs, 15: a 64-bit sum takes their products, and the fixed-point sum stays below `2^32`.
    pub const MAX_SOURCES: usize = PRODUCTS;

    /// The constants from the primes `from` to the primes `to`.
    pub(crate) fn new(from: &[Modulus], to: &[Modulus]) -> Self {
        let mod_product = |m: Modulus, skip: Option<usize>| {
            let terms = from.iter().enumerate().filter(|(i, _)| Some(*i) != skip);
            m.product(terms.map(|(_, q)| q.get()))
        };
        let shift: Vec<u32> = from.iter().map(|q| q.get().leading_zeros() - 2).collect();
        Self {
            hat_inverse: from.iter().enumerate().map(|(i, &q)| q.inv(mod_product(q, Some(i)))).collect(),
            weight: from
                .iter()
                .zip(&shift)
                .map(|(q, s)| u32::try_from((1u64 << 60) / (u64::from(q.get()) << s)).expect("at most 2^31"))
                .collect(),
            shift,
            hat: to.iter().flat_map(|&t| (0..from.len()).map(move |i| mod_product(t, Some(i)))).collect(),
            product: to.iter().map(|&t| mod_product(t, None)).collect(),
            product_inverse: to
                .iter()
                .map(|&t| match mod_product(t, None) {
                    0 => 0,
                    product => t.inv(product),
                })
                .collect(),
        }
    }

    /// Of a single source: the smallest `y_0` whose wrap count `v` is 1; below it is 0.
    pub(crate) fn first_wrapped(&self) -> u32 {
        let threshold = (1u64 << 59).div_ceil(u64::from(self.weight[0]) << self.shift[0]);
        u32::try_from(threshold).expect("about half a prime")
    }
}

/// The centred numbers behind residues, as `f64`: exact below `2^52`, else correctly rounded to about an ulp.
///
/// `residues` lie `[limb][coefficient]`. The mixed-radix digits are balanced, so that small numbers of either sign have
/// zero high digits and nothing cancels.
///
/// # Source
/// Garner's algorithm with digits in `(-q/2, q/2)`.
pub(crate) fn balanced_digits_to_f64(residues: &[u32], primes: &[Prime]) -> Vec<f64> {
    let n = residues.len() / primes.len();
    // prefix[l][k] = q_0 ... q_(k-1) mod q_l for k <= l; the last one's inverse gives digit l.
    let prefix: Vec<Vec<u32>> = primes
        .iter()
        .enumerate()
        .map(|(l, prime)| {
            let m = prime.modulus();
            let products = primes[..l].iter().scan(1, |acc, p| {
                *acc = m.mul(*acc, p.q() % m.get());
                Some(*acc)
            });
            std::iter::once(1).chain(products).collect()
        })
        .collect();
    let weight: Vec<f64> = primes
        .iter()
        .scan(1.0, |acc, p| {
            let now = *acc;
            *acc *= f64::from(p.q());
            Some(now)
        })
        .collect();
    let mut out = vec![0.0; n];
    out.par_chunks_mut(TILE).enumerate().for_each(|(tile, out)| {
        let span = tile * TILE..tile * TILE + out.len();
        let mut digits = Zeroizing::new(vec![0u32; primes.len() * TILE]);
        let mut sums = Zeroizing::new([0u64; TILE]);
        for (l, prime) in primes.iter().enumerate() {
            let (r, m) = (prime.reducer(), prime.modulus());
            let (known, rest) = digits.split_at_mut(l * TILE);
            sums.fill(0);
            for (k, digit) in known.chunks_exact(TILE).enumerate() {
                let (w, q) = (prefix[l][k], primes[k].q());
                rows::accumulate_balanced(&mut *sums, digit, q, w, m.neg(m.mul(w, q % m.get())));
                // A digit adds at most (q_k - 1) (q_l - 1) + q_l, below 2^60.
                if (k + 1).is_multiple_of(PRODUCTS) {
                    rows::fold(r, &mut *sums);
                }
            }
            let digit = &mut rest[..out.len()];
            rows::finish(r, digit, &*sums);
            let inverse = m.inv(prefix[l][l]);
            rows::sub_from_scale(r, digit, &residues[l * n..][span.clone()], inverse, m.shoup(inverse));
        }
        for (l, digit) in digits.chunks_exact(TILE).enumerate().rev() {
            rows::add_balanced(out, digit, primes[l].q(), weight[l]);
        }
    });
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::math::{Prime, ntt_primes_near};
    use crate::units::LogN;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    /// Base conversion from its formula, word by word: the definition that backends are compared with.
    pub(crate) fn extend_by_definition(e: &Extension, from: &[Modulus], to: &[Modulus], words: &[u32]) -> Vec<u32> {
        let y: Vec<u32> = from.iter().enumerate().map(|(i, q)| q.mul(words[i], e.hat_inverse[i])).collect();
        let estimate: u64 =
            (0..from.len()).map(|i| ((u64::from(y[i]) << e.shift[i]) * u64::from(e.weight[i])) >> 32).sum();
        let v = (estimate + (1 << 27)) >> 28;
        to.iter()
            .enumerate()
            .map(|(j, &t)| {
                let sum: u128 = (0..from.len()).map(|i| u128::from(y[i]) * u128::from(e.hat[j * from.len() + i])).sum();
                let sum = t.reduce(u64::try_from(sum % u128::from(t.get())).unwrap());
                t.sub(sum, t.mul(t.reduce(v), e.product[j]))
            })
            .collect()
    }

    fn moduli(bits: f64, count: usize) -> Vec<Modulus> {
        ntt_primes_near(bits.exp2(), LogN::new(12).unwrap()).take(count).map(|q| Modulus::new(q).unwrap()).collect()
    }

    fn primes(bits: f64, count: usize) -> Vec<Prime> {
        moduli(bits, count).into_iter().map(|m| Prime::new(m.get(), LogN::new(12).unwrap()).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn conversion_gives_one_centred_number(seed in prop::collection::vec(any::<u32>(), 15), sources in 1usize..=15, bits in 25.0f64..30.0) {
            let from = moduli(bits, sources);
            let to = moduli(28.5, 24).into_iter().filter(|t| !from.contains(t)).take(4).collect::<Vec<_>>();
            let e = Extension::new(&from, &to);
            let words: Vec<u32> = from.iter().zip(&seed).map(|(q, s)| s % q.get()).collect();
            let got = extend_by_definition(&e, &from, &to, &words);
            // By big integers: the centred representative, unless the number is within 2^-22 of the wrap.
            let d = from.iter().fold(BigInt::from(1), |acc, q| acc * q.get());
            let mut a = BigInt::from(0);
            for (i, q) in from.iter().enumerate() {
                let hat: BigInt = &d / q.get();
                a += hat * q.mul(words[i], e.hat_inverse[i]);
            }
            a %= &d;
            let residue = |r: &BigInt, t: &Modulus| -> u32 {
                let m = BigInt::from(t.get());
                let reduced: BigInt = ((r % &m) + &m) % &m;
                reduced.try_into().unwrap()
            };
            let residues = |r: &BigInt| to.iter().map(|t| residue(r, t)).collect::<Vec<u32>>();
            let twice: BigInt = &a * 2 - &d;
            let near_wrap = (twice.magnitude() << 22usize) <= *d.magnitude();
            let low = residues(&a);
            let above: BigInt = &a - &d;
            let high = residues(&above);
            if near_wrap {
                prop_assert!(got == low || got == high);
            } else {
                prop_assert_eq!(got, if twice.sign() == num_bigint::Sign::Minus { low } else { high });
            }
        }

        #[test]
        fn numbers_come_back_from_residues(value in -(1i128 << 100)..(1i128 << 100), limbs in 4usize..20) {
            let q = primes(29.0, limbs);
            let residues: Vec<u32> = q.iter().map(|p| p.modulus().reduce_signed(value)).collect();
            let got = balanced_digits_to_f64(&residues, &q)[0];
            prop_assert!((got - value as f64).abs() <= (value as f64).abs() * 1e-15);
        }

        #[test]
        fn small_numbers_come_back_exactly(value in -(1i64 << 52)..(1i64 << 52)) {
            let q = primes(27.0, 3);
            let residues: Vec<u32> = q.iter().map(|p| p.modulus().reduce_signed(i128::from(value))).collect();
            prop_assert_eq!(balanced_digits_to_f64(&residues, &q)[0], value as f64);
        }
    }
}
