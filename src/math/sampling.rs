//! Randomness: a ChaCha20 generator, uniform residues, ternary secrets, rounded Gaussian errors.

use super::modulus::Modulus;
use super::rows::{self, TILE};
use crate::error::{Error, Result};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Seed of a generator. Wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from the operating system.
    ///
    /// # Errors
    /// [`Error::NoEntropy`].
    pub fn from_os() -> Result<Self> {
        let mut seed = Self([0; 32]); // filled in place: no copy of it stays behind
        getrandom::fill(&mut seed.0).map_err(|e| Error::NoEntropy { reason: e.to_string() })?;
        Ok(seed)
    }

    /// A seed of the caller's choice: for reproducible experiments, or for a public uniform half.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a seed that is public.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A cryptographic generator: ChaCha20. Wiped on drop.
pub struct Csprng(ChaCha20Rng);

impl std::fmt::Debug for Csprng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Csprng(..)")
    }
}

impl Csprng {
    /// Standard deviation of errors.
    pub const SIGMA: f64 = 3.2;

    /// The generator of a seed.
    pub fn new(seed: &Seed) -> Self {
        Self::with_stream(seed, 0)
    }

    /// One of `2^64` independent generators of a seed.
    pub fn with_stream(seed: &Seed, stream: u64) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed.0);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A fresh seed.
    pub fn seed(&mut self) -> Seed {
        let mut seed = Seed([0; 32]);
        self.0.fill_bytes(&mut seed.0);
        seed
    }

    /// Fills `draws` with the next 64-bit words of the keystream, which are little-endian.
    pub(super) fn fill(&mut self, draws: &mut [u64]) {
        self.0.fill_bytes(bytemuck::cast_slice_mut(draws));
        draws.iter_mut().for_each(|draw| *draw = u64::from_le(*draw));
    }

    /// The next uniform number of `0..1`, a multiple of `2^-53`.
    pub(crate) fn fraction(&mut self) -> f64 {
        let mut draw = [0];
        self.fill(&mut draw);
        (draw[0] >> 11) as f64 * (-53f64).exp2()
    }

    /// Fills `out` with uniform residues: `floor(x q / 2^64)` for a fresh 64-bit word `x` of the keystream each, so that every
    /// residue can be computed by itself, and a device can do it as well.
    ///
    /// A residue's probability is off from `1/q` by less than `2^-64`, see `docs/decisions/0008-multiply-high.md`.
    pub fn uniform(&mut self, modulus: Modulus, out: &mut [u32]) {
        let mut draws = [0u64; TILE];
        for out in out.chunks_mut(TILE) {
            let draws = &mut draws[..out.len()];
            self.fill(draws);
            rows::scale_draws(modulus.get(), out, draws);
        }
    }

    /// Fills `out` with uniform values of `{-1, 0, 1}`, each with probability `1/3` up to `2^-62`, in constant time.
    pub fn ternary(&mut self, out: &mut [i32]) {
        let mut draws = Zeroizing::new([0u64; TILE]);
        for out in out.chunks_mut(TILE) {
            self.fill(&mut draws[..out.len()]);
            rows::thirds(out, &draws[..out.len()]);
        }
    }

    /// Fills `out` with Gaussian integers of standard deviation [`Self::SIGMA`], in constant time: the whole cumulative
    /// table is compared with each draw.
    ///
    /// # Source
    /// Inversion of the cumulative distribution of the discrete Gaussian, tail cut at `12.8 sigma` (mass below `2^-119`),
    /// table rounded down to
    /// 63 bits: each draw is within `2^-57` of the distribution, in statistical distance.
    pub fn gaussian(&mut self, out: &mut [i32]) {
        let mut draws = Zeroizing::new([0u64; TILE]);
        for out in out.chunks_mut(TILE) {
            self.fill(&mut *draws);
            rows::count_thresholds(out, &*draws, cumulative());
        }
    }
}

/// `2^63 P(|x| <= k)` for `k = 0, 1, ...`, the draw's sign bit counting zero once from each side. In integers: 64-bit floats would
/// be wrong by `2^-53` a draw, which shows in sums of millions of them.
fn cumulative() -> &'static [u64; 41] {
    static TABLE: std::sync::OnceLock<[u64; 41]> = std::sync::OnceLock::new();
    TABLE.get_or_init(|| {
        // e^(-1 / (2 sigma^2)) = e^(-25 / 512), by its series; the density at k is its power k^2.
        let mut root = ONE;
        let mut term = ONE;
        for n in 1..40 {
            term = term * 25 / (512 * n);
            root = if n % 2 == 1 { root - term } else { root + term };
        }
        let square = fixed_mul(root, root);
        let (mut density, mut ratio) = (ONE, root);
        let weights: [u128; 42] = std::array::from_fn(|k| {
            let weight = if k == 0 { density } else { 2 * density };
            density = fixed_mul(density, ratio);
            ratio = fixed_mul(ratio, square);
            weight
        });
        let total: u128 = weights.iter().sum();
        let mut mass = 0;
        std::array::from_fn(|k| {
            mass += weights[k];
            // 2^63 mass / total, bit by bit: mass is below total.
            let (mut quotient, mut rest) = (0, mass);
            for _ in 0..63 {
                rest *= 2;
                quotient = 2 * quotient + u64::from(rest >= total);
                rest -= if rest >= total { total } else { 0 };
            }
            quotient
        })
    })
}

/// One in fixed point.
const ONE: u128 = 1 << 120;

/// `a b / 2^120` for factors up to [`ONE`], by halves of 60 bits.
fn fixed_mul(a: u128, b: u128) -> u128 {
    let mask = (1 << 60) - 1;
    let ((a1, a0), (b1, b0)) = ((a >> 60, a & mask), (b >> 60, b & mask));
    a1 * b1 + ((a1 * b0 + a0 * b1 + ((a0 * b0) >> 60)) >> 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> Csprng {
        Csprng::new(&Seed::from_bytes([7; 32]))
    }

    #[test]
    fn ternary_and_gaussian_have_their_moments() {
        const COUNT: usize = 1 << 18;
        let mut out = vec![0; COUNT];
        rng().ternary(&mut out);
        for value in -1..=1 {
            let share = out.iter().filter(|&&x| x == value).count() as f64 / COUNT as f64;
            assert!((share - 1.0 / 3.0).abs() < 5.0 * (2.0 / 9.0 / COUNT as f64).sqrt(), "{value}: {share}");
        }
        rng().gaussian(&mut out);
        let moment = |p: i32| out.iter().map(|&x| f64::from(x).powi(p)).sum::<f64>() / COUNT as f64;
        let variance = Csprng::SIGMA.powi(2);
        assert!(moment(1).abs() < 5.0 * Csprng::SIGMA / (COUNT as f64).sqrt());
        assert!((moment(2) / variance - 1.0).abs() < 5.0 * (2.0 / COUNT as f64).sqrt(), "{}", moment(2));
        assert!((moment(4) / (3.0 * variance.powi(2)) - 1.0).abs() < 0.03, "{}", moment(4));
        // Zero is hit from both signs but only once as often as the density says.
        let zero = out.iter().filter(|&&x| x == 0).count() as f64 / COUNT as f64;
        let expected = 1.0 / (Csprng::SIGMA * (2.0 * std::f64::consts::PI).sqrt());
        assert!((zero - expected).abs() < 5.0 * (expected / COUNT as f64).sqrt(), "{zero} {expected}");
        assert!(out.iter().all(|x| x.abs() <= 41));
    }

    #[test]
    fn the_table_is_exact_to_63_bits() {
        // The first and last entries by 50-digit arithmetic (mpmath), and all of them to the precision of floats.
        let table = cumulative();
        let density = |k: usize| (-((k * k) as f64) / (2.0 * Csprng::SIGMA * Csprng::SIGMA)).exp();
        let total: f64 = density(0) + 2.0 * (1..=41).map(density).sum::<f64>();
        let mut mass = 0.0;
        for (k, entry) in table.iter().enumerate() {
            mass += if k == 0 { density(0) } else { 2.0 * density(k) };
            assert!((*entry as f64 / 63f64.exp2() - mass / total).abs() < 1e-15, "{k}");
        }
        assert_eq!(
            [table[0], table[1], table[10], table[20], table[30]],
            [
                1_149_872_835_429_266_008,
                3_340_023_666_152_832_877,
                9_214_281_206_174_004_120,
                9_223_372_035_690_845_298,
                9_223_372_036_854_775_807
            ]
        );
        assert!(table.windows(2).all(|w| w[0] <= w[1]) && table[40] < 1 << 63);
    }

    #[test]
    fn uniform_residues_are_below_the_modulus_and_spread() {
        let q = Modulus::new((1 << 29) + 11).unwrap();
        let mut out = vec![0; 1 << 16];
        rng().uniform(q, &mut out);
        assert!(out.iter().all(|&x| x < q.get()));
        let mean = out.iter().map(|&x| f64::from(x)).sum::<f64>() / out.len() as f64 / f64::from(q.get());
        assert!((mean - 0.5).abs() < 5.0 / (12.0 * out.len() as f64).sqrt());
    }

    #[test]
    fn streams_differ_and_seeds_repeat() {
        let seed = Seed::from_bytes([1; 32]);
        let draw = |stream| {
            let mut out = vec![0; 64];
            Csprng::with_stream(&seed, stream).uniform(Modulus::new((1 << 29) + 11).unwrap(), &mut out);
            out
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_eq!(format!("{seed:?} {:?}", rng()), "Seed(..) Csprng(..)");
        assert_ne!(Seed::from_os().unwrap(), Seed::from_os().unwrap());
    }
}
