//! The samplers against their exact distributions. Seeds are fixed; the thresholds are quantiles at a significance of 1e-9 on
//! each side, so that a correct sampler fails for one seed in half a billion, and every statistic is also shown a sampler
//! that is a little wrong, which it must refuse.
#![expect(clippy::cast_possible_truncation, reason = "a test may panic")]

use ringlight::math::{Csprng, Modulus, Seed};

/// Standard normal quantile of 1e-9.
const Z: f64 = 5.998;
const COUNT: usize = 1 << 21;

fn rng(seed: u8) -> Csprng {
    Csprng::new(&Seed::from_bytes([seed; 32]))
}

/// A 64-bit mixer that shares nothing with the generator under test: decides which draws a wrong sampler spoils.
fn mix(i: usize) -> u64 {
    let z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

/// Chi-square of counts against probabilities, turned into a standard normal deviate (Wilson and Hilferty, 1931).
fn deviate(counts: &[u64], probabilities: &[f64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9 && counts.len() == probabilities.len());
    assert!(probabilities.iter().all(|p| p * total > 20.0), "bins too small for the chi-square distribution");
    let chi: f64 = counts.iter().zip(probabilities).map(|(&c, p)| (c as f64 - p * total).powi(2) / (p * total)).sum();
    let spread = 2.0 / (9.0 * (counts.len() - 1) as f64);
    ((chi / (counts.len() - 1) as f64).cbrt() - 1.0 + spread) / spread.sqrt()
}

/// Neither too far from the distribution nor too close to it.
fn fits(counts: &[u64], probabilities: &[f64]) -> bool {
    deviate(counts, probabilities).abs() < Z
}

fn histogram(bins: usize, indices: impl Iterator<Item = usize>) -> Vec<u64> {
    let mut counts = vec![0; bins];
    indices.for_each(|i| counts[i] += 1);
    counts
}

/// Pearson's correlation times the root of the number of pairs: a standard normal deviate for independent draws.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt() * n.sqrt()
}

#[test]
fn ternary_values_are_equally_likely_and_follow_each_other_freely() {
    let mut draws = vec![0; COUNT];
    rng(1).ternary(&mut draws);
    let index = |x: i32| (x + 1) as usize;
    assert!(fits(&histogram(3, draws.iter().map(|&x| index(x))), &[1.0 / 3.0; 3]));
    let pairs = draws.chunks_exact(2).map(|pair| 3 * index(pair[0]) + index(pair[1]));
    assert!(fits(&histogram(9, pairs), &[1.0 / 9.0; 9]));
    // One zero in a hundred turned into a one.
    let spoilt =
        draws.iter().enumerate().map(|(i, &x)| index(if x == 0 && mix(i).is_multiple_of(100) { 1 } else { x }));
    assert!(!fits(&histogram(3, spoilt), &[1.0 / 3.0; 3]));
    // One value in two hundred repeats the one before: the histogram cannot see it, the pairs do.
    let spoilt = draws.chunks_exact(2).enumerate().map(|(i, pair)| {
        let second = if mix(i).is_multiple_of(100) { pair[0] } else { pair[1] };
        3 * index(pair[0]) + index(second)
    });
    assert!(!fits(&histogram(9, spoilt), &[1.0 / 9.0; 9]));
}

/// Residues `x` with `floor(x bins / q) = bin`, and with `x mod bins = bin`, as shares of `q`.
fn shares(q: u32, bins: u32) -> [Vec<f64>; 2] {
    let (q, bins) = (u64::from(q), u64::from(bins));
    let first = |bin: u64| (bin * q).div_ceil(bins);
    let high = (0..bins).map(|bin| (first(bin + 1) - first(bin)) as f64 / q as f64).collect();
    let low = (0..bins).map(|bin| (q - bin).div_ceil(bins) as f64 / q as f64).collect();
    [high, low]
}

#[test]
fn residues_are_uniform_for_every_kind_of_modulus() {
    // Just above and just below powers of two, in between, and an NTT prime next to 2^30.
    for (seed, q) in [(1 << 29) + 11, (1 << 29) - 3, 805_306_457, 12_289, 1_073_479_681].into_iter().enumerate() {
        const BINS: u32 = 4096;
        let mut draws = vec![0; COUNT];
        rng(seed as u8).uniform(Modulus::new(q).unwrap(), &mut draws);
        assert!(draws.iter().all(|&x| x < q));
        let [high, low] = shares(q, BINS);
        let by_size = |x: u32| (u64::from(x) * u64::from(BINS) / u64::from(q)) as usize;
        assert!(fits(&histogram(BINS as usize, draws.iter().map(|&x| by_size(x))), &high), "{q}");
        assert!(fits(&histogram(BINS as usize, draws.iter().map(|&x| (x % BINS) as usize)), &low), "{q}");
        // A word reduced modulo q instead of refused: nearly right only where q nearly divides a power of two.
        let mask = u32::MAX >> q.leading_zeros();
        if (0.01..0.99).contains(&(f64::from(mask) / f64::from(q)).fract()) {
            let folded = (0..COUNT).map(|i| by_size((mix(i) as u32 & mask) % q));
            assert!(!fits(&histogram(BINS as usize, folded), &high), "{q}");
        }
        // One draw in a hundred with its low bit cleared.
        let spoilt =
            draws.iter().enumerate().map(|(i, &x)| (if mix(i).is_multiple_of(100) { x & !1 } else { x } % 2) as usize);
        assert!(!fits(&histogram(2, spoilt), &shares(q, 2)[1]), "{q}");
    }
}

/// Probabilities of the discrete Gaussian on `-edge..=edge`, the tails in the first and the last.
fn gaussian(sigma: f64, edge: i32) -> Vec<f64> {
    let density = |x: i32| (-f64::from(x * x) / (2.0 * sigma * sigma)).exp();
    let total: f64 = (-60..=60).map(density).sum();
    let tail: f64 = (edge..=60).map(density).sum::<f64>() / total;
    let inside = (1 - edge..edge).map(|x| density(x) / total);
    std::iter::once(tail).chain(inside).chain([tail]).collect()
}

#[test]
fn errors_have_the_discrete_gaussian_distribution() {
    const EDGE: i32 = 13; // beyond: 5e-5, a hundred draws
    let mut draws = vec![0; COUNT];
    rng(3).gaussian(&mut draws);
    let bins =
        |draws: &[i32]| histogram(2 * EDGE as usize + 1, draws.iter().map(|&x| (x.clamp(-EDGE, EDGE) + EDGE) as usize));
    assert!(fits(&bins(&draws), &gaussian(Csprng::SIGMA, EDGE)));
    // A deviation wrong by half a per cent, and a table that counts zero from both signs.
    assert!(!fits(&bins(&draws), &gaussian(1.005 * Csprng::SIGMA, EDGE)));
    let doubled = draws.iter().enumerate().map(|(i, &x)| if x == 1 && mix(i).is_multiple_of(50) { 0 } else { x });
    assert!(!fits(&bins(&doubled.collect::<Vec<_>>()), &gaussian(Csprng::SIGMA, EDGE)));

    // Moments 1 to 4: a mean of COUNT powers is off by sqrt((m_2p - m_p^2) / COUNT).
    let exact = |p: i32| {
        let weights = (-60..=60).map(|x| (f64::from(x), (-f64::from(x * x) / (2.0 * Csprng::SIGMA.powi(2))).exp()));
        let (sum, total) = weights.fold((0.0, 0.0), |(s, t), (x, w)| (s + w * x.powi(p), t + w));
        sum / total
    };
    for p in 1..=4 {
        let spread = ((exact(2 * p) - exact(p).powi(2)) / COUNT as f64).sqrt();
        let got = draws.iter().map(|&x| f64::from(x).powi(p)).sum::<f64>() / COUNT as f64;
        assert!(((got - exact(p)) / spread).abs() < Z, "moment {p}: {got} for {}", exact(p));
    }
    assert!(exact(2) > 10.2399 && exact(2) < 10.2401);
}

#[test]
fn streams_seeds_and_neighbours_are_independent() {
    let q = Modulus::new((1 << 29) + 11).unwrap();
    let draw = |seed: [u8; 32], stream: u64| -> [Vec<f64>; 3] {
        let mut rng = Csprng::with_stream(&Seed::from_bytes(seed), stream);
        let (mut uniform, mut ternary, mut gaussian) = (vec![0; COUNT / 8], vec![0; COUNT / 8], vec![0; COUNT / 8]);
        rng.uniform(q, &mut uniform);
        rng.ternary(&mut ternary);
        rng.gaussian(&mut gaussian);
        let floats = |v: &[i32]| v.iter().map(|&x| f64::from(x)).collect();
        [uniform.iter().map(|&x| f64::from(x)).collect(), floats(&ternary), floats(&gaussian)]
    };
    let mut neighbour = [7; 32];
    neighbour[31] ^= 0x80;
    let base = draw([7; 32], 0);
    let others = [draw([7; 32], 1), draw([7; 32], 1 << 63), draw(neighbour, 0), draw([8; 32], 0)];
    for (kind, a) in base.iter().enumerate() {
        for (index, other) in others.iter().enumerate() {
            assert!(correlation(a, &other[kind]).abs() < Z, "kind {kind}, other {index}");
        }
        for lag in [1, 2, 3, 16, 1024] {
            assert!(correlation(&a[lag..], &a[..a.len() - lag]).abs() < Z, "kind {kind}, lag {lag}");
        }
        // One draw in fifty shared by both.
        let mixed = others[0][kind]
            .iter()
            .zip(a)
            .enumerate()
            .map(|(i, (&o, &a))| if mix(i).is_multiple_of(50) { a } else { o });
        assert!(correlation(a, &mixed.collect::<Vec<_>>()).abs() > Z, "kind {kind}");
    }
    // Kinds drawn from one generator share no bytes.
    assert!(correlation(&base[0], &base[2]).abs() < Z && correlation(&base[1], &base[2]).abs() < Z);
    assert!(correlation(&base[0], &base[1]).abs() < Z);
}
