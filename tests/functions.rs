//! Every function: a million points in the clear reading within the stated error, and a full ciphertext of points.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::circuit::{Approximation, Clear, Comparison, Evaluator as Circuit, Extremum};
use ringlight::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::math::Seed;
use ringlight::units::Level;
use ringlight::{Device, Error, Result};

type Exact = fn(f64) -> f64;

/// Points of a sweep in the clear: 16 vectors of the longest kind.
const VECTORS: usize = 16;
const LENGTH: usize = 1 << 16;

fn sign(x: f64) -> f64 {
    if x < 0.0 { -1.0 } else { 1.0 }
}

fn step(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { 1.0 }
}

/// Shallow enough for a secure ring in a test.
fn smooth() -> Vec<(Approximation, Exact)> {
    vec![
        (Approximation::sigmoid(-8.0, 8.0, 1e-3).unwrap(), |x| 1.0 / (1.0 + (-x).exp())),
        (Approximation::tanh(-3.0, 3.0, 1e-2).unwrap(), f64::tanh),
        (Approximation::exp(-1.0, 1.0, 1e-6).unwrap(), f64::exp),
        (Approximation::sqrt(0.25, 2.25, 1e-3).unwrap(), f64::sqrt),
        (Approximation::reciprocal_goldschmidt(0.25, 1.0, 1e-3).unwrap(), f64::recip),
        (Approximation::reciprocal_newton(0.5, 1.5, 1e-3).unwrap(), f64::recip),
        (Approximation::inverse_sqrt(0.5, 1.5, 1e-3).unwrap(), |x| x.sqrt().recip()),
        (Approximation::fit("cos(3x)", |x| (3.0 * x).cos(), -1.0, 1.0, 1e-4).unwrap(), |x| (3.0 * x).cos()),
    ]
}

/// Deep compositions.
fn sharp() -> Vec<(Approximation, Exact)> {
    vec![
        (Approximation::sign(1.0, 1.0 / 64.0, 1.0 / 256.0).unwrap(), sign),
        (Approximation::step(2.0, 1.0 / 64.0, 1.0 / 256.0).unwrap(), step),
        (Approximation::abs(1.0, 1.0 / 128.0).unwrap(), f64::abs),
        (Approximation::relu(1.0, 1.0 / 256.0).unwrap(), |x| x.max(0.0)),
    ]
}

/// In the clear only: harder intervals and smaller errors.
fn demanding() -> Vec<(Approximation, Exact)> {
    vec![
        (Approximation::sigmoid(-30.0, 30.0, 1e-9).unwrap(), |x| 1.0 / (1.0 + (-x).exp())),
        (Approximation::tanh(-8.0, 8.0, 1e-8).unwrap(), f64::tanh),
        (Approximation::exp(-20.0, 2.0, 1e-9).unwrap(), f64::exp),
        (Approximation::sqrt(0.0, 1.0, 1e-3).unwrap(), f64::sqrt),
        (Approximation::reciprocal_goldschmidt(1e-3, 1.0, 1e-6).unwrap(), f64::recip),
        (Approximation::reciprocal_newton(1e-2, 10.0, 1e-8).unwrap(), f64::recip),
        (Approximation::inverse_sqrt(1e-2, 10.0, 1e-8).unwrap(), |x| x.sqrt().recip()),
        (Approximation::sign(1.0, (-16f64).exp2(), (-20f64).exp2()).unwrap(), sign),
        (Approximation::relu(8.0, (-10f64).exp2()).unwrap(), |x| x.max(0.0)),
    ]
}

/// Point `index` of `count` equally spaced ones, both ends among them; those within a margin are moved out of it.
fn point(approximation: &Approximation, index: usize, count: usize) -> f64 {
    let (low, high) = approximation.interval();
    let part = index as f64 / (count - 1) as f64;
    if approximation.margin() == 0.0 {
        return (low + (high - low) * part).clamp(low, high);
    }
    let size = |part: f64| (approximation.margin() + (high - approximation.margin()) * part).min(high);
    if part < 0.5 { -size(1.0 - 2.0 * part) } else { size(2.0 * part - 1.0) }
}

fn real(values: impl Iterator<Item = f64>) -> Vec<Complex64> {
    values.map(Complex64::from).collect()
}

#[test]
fn a_million_points_of_every_function_lie_within_its_error() {
    for (approximation, exact) in smooth().into_iter().chain(sharp()).chain(demanding()) {
        let top = Level(approximation.depth());
        let clear = Clear::new(LENGTH, top);
        let (mut worst, mut largest, mut seen) = (0f64, 0f64, 0);
        for v in 0..VECTORS {
            let points = real((0..LENGTH).map(|i| point(&approximation, v * LENGTH + i, VECTORS * LENGTH)));
            let y = approximation.evaluate(&clear, &clear.value(std::slice::from_ref(&points), top).unwrap()).unwrap();
            assert_eq!(clear.level(&y), Level(0), "the depth is used up exactly");
            for (x, y) in points.iter().zip(&y.vectors()[0]) {
                let error = (y.re - exact(x.re)).abs();
                assert!(error <= approximation.error() && y.im == 0.0, "{approximation}: {error:e} at {}", x.re);
                worst = worst.max(error);
                largest = largest.max(exact(x.re).abs());
                seen += 1;
            }
        }
        println!("{approximation}; {worst:.2e} found on {seen} points");
        // What is stated beyond the allowance for rounding is not far from what there is.
        let rounding = (-46f64).exp2() * largest;
        assert!(worst > 0.9 * (approximation.error() - rounding), "{approximation}: only {worst:e} found");
    }
}

#[test]
fn a_million_pairs_are_compared_within_the_stated_error() {
    let comparison = Comparison::new(0.5, 1.0 / 64.0, 1.0 / 256.0).unwrap();
    let extremum = Extremum::new(2.0, 1.0 / 64.0).unwrap();
    println!("greater: {}\n{extremum}", comparison.step());
    let top = Level(extremum.depth().max(comparison.step().depth()));
    let clear = Clear::new(LENGTH, top);
    let mut random = Inputs::new(8);
    for _ in 0..VECTORS {
        let mut draw = |bound: f64| -> Vec<f64> { (0..LENGTH).map(|_| bound * random.real()).collect() };
        let (a, b, near) = (draw(1.0), draw(1.0), draw(0.02));
        // Every other pair lies close together, some are equal.
        let close = |k: usize| if k % 8 == 1 { a[k] } else { (a[k] + near[k]).clamp(-1.0, 1.0) };
        let b: Vec<f64> = (0..LENGTH).map(|k| if k % 2 == 0 { b[k] } else { close(k) }).collect();
        let values = |bound: f64| [&a, &b].map(|v| clear.value(&[real(v.iter().map(|x| bound * x))], top).unwrap());
        let [x, y] = values(2.0);
        let (max, min) = (extremum.max(&clear, &x, &y).unwrap(), extremum.min(&clear, &x, &y).unwrap());
        assert_eq!(clear.level(&max).0, top.0 - extremum.depth());
        for k in 0..LENGTH {
            let (a, b) = (2.0 * a[k], 2.0 * b[k]);
            assert!((max.vectors()[0][k].re - a.max(b)).abs() <= extremum.error(), "max({a}, {b})");
            assert!((min.vectors()[0][k].re - a.min(b)).abs() <= extremum.error(), "min({a}, {b})");
        }
        let [x, y] = values(0.5);
        let greater = comparison.greater(&clear, &x, &y).unwrap();
        for (k, got) in greater.vectors()[0].iter().enumerate() {
            let (a, b) = (0.5 * a[k], 0.5 * b[k]);
            if (a - b).abs() >= comparison.step().margin() {
                assert!((got.re - step(a - b)).abs() <= comparison.step().error(), "{a} > {b}: {got}");
            } else {
                let error = comparison.step().error();
                assert!((-error..=1.0 + error).contains(&got.re), "{a} > {b}: {got}");
            }
        }
    }
}

/// A client, and a server for circuits of one depth.
struct World {
    p: Parameters,
    keys: KeyGenerator,
    evaluation: ringlight::rlwe::EvaluationKeys,
}

impl World {
    fn new(p: Parameters) -> Self {
        let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([9; 32]));
        let evaluation = keys.evaluation_keys(&KeyRequest::new().relinearization(true)).unwrap();
        Self { p, keys, evaluation }
    }

    /// Encrypts, runs, decrypts; with the digest of the result.
    fn run<const K: usize>(
        &mut self,
        device: &Device,
        inputs: [&[Complex64]; K],
        circuit: impl Fn(&Evaluator, [&ringlight::ckks::Ciphertext; K]) -> Result<ringlight::ckks::Ciphertext>,
    ) -> (Vec<f64>, String) {
        let eval = Evaluator::new(&self.p, device, &self.evaluation).unwrap();
        let encryptor = self.keys.encryptor();
        let load = |x: &[Complex64]| eval.load(&encryptor.encrypt_complex(&[x.to_vec()], self.p.max_level()).unwrap());
        let loaded = inputs.map(|x| load(x).unwrap());
        let host = circuit(&eval, loaded.each_ref()).unwrap().to_host().unwrap();
        let values = self.keys.decryptor().decrypt(&host).unwrap().remove(0);
        (values.into_iter().map(|z| z.re).collect(), host.digest())
    }
}

/// What encryption may add. Rescaling puts 8 sqrt(N / 12) sqrt(2 N / 3) units of the scale on a slot, below 2^-34 at scale 2^50 and up to
/// N = 2^14. Every relinearized value has that much; what follows has a slope of at most the square of its degree (Markov), and of the
/// function's own over a composition.
fn noise(degrees: &[usize], relinearizations: usize, slope: f64) -> f64 {
    let degree = degrees.iter().max().map_or(4.0, |&d| d as f64);
    (-34f64).exp2() * relinearizations as f64 * degree * degree * (1.0 + slope)
}

fn check_encrypted(approximation: &Approximation, exact: Exact, p: Parameters) {
    let mut world = World::new(p);
    let slots = world.p.slots();
    let points = real((0..slots).map(|i| point(approximation, i, slots)));
    let (got, _) = world.run(&Device::cpu(), [&points], |eval, [x]| approximation.evaluate(eval, x));
    let slopes = points.windows(2).zip(got.windows(2)).map(|(x, y)| (y[1] - y[0]).abs() / (x[1] - x[0]).norm());
    let steepest = slopes.fold(if approximation.margin() > 0.0 { 1.0 / approximation.margin() } else { 0.0 }, f64::max);
    let noise = noise(&approximation.degrees(), approximation.plan().relinearizations, steepest);
    let error = |(x, y): (&Complex64, &f64)| (y - exact(x.re)).abs();
    let worst = points.iter().zip(&got).map(error).fold(0.0, f64::max);
    println!("{approximation}; encrypted {worst:.2e}, noise at most {noise:.1e}; {}", world.p);
    assert!(worst <= approximation.error() + noise, "{approximation}: {worst:e}, noise at most {noise:e}");
    assert!(noise < approximation.error(), "{approximation}: noise {noise:e} hides the error");
}

#[test]
fn a_ciphertext_of_every_smooth_function() {
    for (approximation, exact) in smooth() {
        let p = Parameters::builder().slots(1 << 12).scale_bits(50).levels(approximation.depth()).build().unwrap();
        check_encrypted(&approximation, exact, p);
    }
}

/// A toy ring: the depth would take a secure one to N = 2^15 and beyond.
fn insecure_deep(levels: u32) -> Parameters {
    Parameters::builder().log_n(12).scale_bits(50).levels(levels).insecure_build().unwrap()
}

#[test]
fn a_ciphertext_of_every_function_with_a_jump_or_a_bend() {
    for (approximation, exact) in sharp() {
        let p = insecure_deep(approximation.depth());
        check_encrypted(&approximation, exact, p);
    }
}

#[test]
fn ciphertexts_are_compared() {
    let comparison = Comparison::new(0.5, 1.0 / 16.0, 1.0 / 256.0).unwrap();
    let extremum = Extremum::new(0.5, 1.0 / 128.0).unwrap();
    let mut world = World::new(insecure_deep(extremum.depth().max(comparison.step().depth())));
    let (slots, mut random) = (world.p.slots(), Inputs::new(11));
    let mut draw = || real((0..slots).map(|_| random.real() / 2.0));
    let (a, b) = (draw(), draw());
    let (max, _) = world.run(&Device::cpu(), [&a, &b], |eval, [a, b]| extremum.max(eval, a, b));
    let (min, _) = world.run(&Device::cpu(), [&a, &b], |eval, [a, b]| extremum.min(eval, a, b));
    let (greater, _) = world.run(&Device::cpu(), [&a, &b], |eval, [a, b]| comparison.greater(eval, a, b));
    let noise = noise(&[31], 60, 16.0);
    for k in 0..slots {
        let (a, b) = (a[k].re, b[k].re);
        assert!((max[k] - a.max(b)).abs() <= extremum.error() + noise, "max({a}, {b}) = {}", max[k]);
        assert!((min[k] - a.min(b)).abs() <= extremum.error() + noise, "min({a}, {b}) = {}", min[k]);
        if (a - b).abs() >= comparison.step().margin() {
            assert!((greater[k] - step(a - b)).abs() <= comparison.step().error() + noise, "{a} > {b}: {}", greater[k]);
        }
    }
}

#[test]
fn every_device_gives_the_same_ciphertext_of_a_function() {
    let approximation = Approximation::sigmoid(-8.0, 8.0, 1e-3).unwrap();
    let p = Parameters::builder().log_n(12).scale_bits(50).levels(approximation.depth()).insecure_build().unwrap();
    let mut world = World::new(p);
    let points = real((0..world.p.slots()).map(|i| point(&approximation, i, world.p.slots())));
    let encryptor = world.keys.encryptor();
    let sent = encryptor.encrypt_complex(std::slice::from_ref(&points), world.p.max_level()).unwrap();
    let noise = noise(&approximation.degrees(), approximation.plan().relinearizations, 0.25);
    let mut digests = vec![];
    for device in devices() {
        let eval = Evaluator::new(&world.p, &device, &world.evaluation).unwrap();
        let y = approximation.evaluate(&eval, &eval.load(&sent).unwrap()).unwrap().to_host().unwrap();
        for (x, y) in points.iter().zip(&world.keys.decryptor().decrypt(&y).unwrap()[0]) {
            assert!((y.re - 1.0 / (1.0 + (-x.re).exp())).abs() <= approximation.error() + noise, "{x}: {y}");
        }
        digests.push(y.digest());
    }
    assert!(digests.iter().all(|d| *d == digests[0]));
}

#[test]
fn degrees_depths_and_steps_are_the_least_that_do() {
    let cases: [(&str, Exact, f64, f64, f64); 3] = [
        ("exp", f64::exp, -1.0, 1.0, 1e-6),
        ("tanh", f64::tanh, -3.0, 3.0, 1e-2),
        ("sqrt", f64::sqrt, 0.25, 4.0, 1e-4),
    ];
    for (name, f, low, high, error) in cases {
        let best = Approximation::fit(name, f, low, high, error).unwrap();
        // By how much each lower degree misses, on points of its own, from the interpolant by its definition.
        for degree in 0..best.degrees()[0] {
            let count = degree + 1;
            let node = |k: usize| (std::f64::consts::PI * (k as f64 + 0.5) / count as f64).cos();
            let lagrange = |u: f64| -> f64 {
                let basis = |k: usize| {
                    (0..count).filter(|&j| j != k).map(|j| (u - node(j)) / (node(k) - node(j))).product::<f64>()
                };
                (0..count).map(|k| basis(k) * f((low + high) / 2.0 + (high - low) / 2.0 * node(k))).sum()
            };
            let at = |i: i32| f64::from(i) / 500.0 - 1.0;
            let off = |u: f64| (lagrange(u) - f((low + high) / 2.0 + (high - low) / 2.0 * u)).abs();
            let worst = (0..=1000).map(at).map(off).fold(0.0, f64::max);
            assert!(worst > 0.97 * error, "{name}: degree {degree} would do, {} was chosen", best.degrees()[0]);
        }
    }
    let steps = |error| Approximation::reciprocal_goldschmidt(0.25, 1.0, error).unwrap();
    for (error, depth) in [(1.0, 1), (1e-1, 4), (1e-6, 6)] {
        let got = steps(error);
        assert_eq!(got.depth(), depth, "{got}");
        assert!(got.steps().is_some_and(|s| got.depth() == if s == 0 { 1 } else { s + 2 }));
    }
    let newton = Approximation::reciprocal_newton(0.25, 1.0, 1e-6).unwrap();
    assert_eq!(newton.steps(), steps(1e-6).steps());
    assert_eq!(newton.depth(), 2 * newton.steps().unwrap() + 1);
    // Odd functions of symmetric intervals use odd powers alone.
    let (odd, dense) = (Approximation::tanh(-4.0, 4.0, 1e-4).unwrap(), Approximation::tanh(-4.0, 4.1, 1e-4).unwrap());
    assert!(odd.plan().plain_multiplications < dense.plan().plain_multiplications, "{odd}; {dense}");
    assert!(odd.to_string().starts_with("tanh on [-4, 4]: degree "), "{odd}");
}

#[test]
fn what_cannot_be_is_a_typed_error() {
    let nan = f64::NAN;
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (nan, 1.0), (0.0, nan), (0.0, f64::INFINITY), (f64::NEG_INFINITY, 0.0)]
    {
        let interval = |r: Result<Approximation>| matches!(r, Err(Error::InvalidParameter { what: "interval", .. }));
        assert!(interval(Approximation::sigmoid(low, high, 0.1)), "[{low}, {high}]");
        assert!(interval(Approximation::inverse_sqrt(low, high, 0.1)), "[{low}, {high}]");
    }
    for low in [0.0, -1.0] {
        let pole = Approximation::reciprocal_newton(low, 1.0, 0.1);
        assert!(matches!(pole, Err(Error::InvalidParameter { what: "interval", .. })));
    }
    for error in [0.0, -1.0, nan, f64::INFINITY] {
        let refused = |r: Result<Approximation>| matches!(r, Err(Error::InvalidParameter { what: "max_error", .. }));
        assert!(refused(Approximation::exp(0.0, 1.0, error)) && refused(Approximation::sign(1.0, 0.1, error)));
        assert!(refused(Approximation::relu(1.0, error)) && refused(Approximation::reciprocal_newton(1.0, 2.0, error)));
    }
    for bound in [0.0, -1.0, nan, f64::INFINITY] {
        let refused = |r: Result<Approximation>| matches!(r, Err(Error::InvalidParameter { .. }));
        assert!(refused(Approximation::sign(bound, 0.1, 0.1)) && refused(Approximation::abs(bound, 0.1)));
        assert!(Comparison::new(bound, 0.1, 0.1).is_err() && Extremum::new(bound, 0.1).is_err());
    }
    for margin in [0.0, 1.0, 2.0, -0.1, nan, 1e-300] {
        let refused = Approximation::step(1.0, margin, 0.1);
        assert!(matches!(refused, Err(Error::InvalidParameter { what: "margin", .. })), "{margin}");
    }
    for low in [0.0, -1.0] {
        let pole = Approximation::fit("1/x", f64::recip, low, 1.0, 0.1);
        assert!(matches!(pole, Err(Error::InvalidParameter { what: "function", .. })), "{low}: {pole:?}");
    }
    let negative = Approximation::sqrt(-1.0, 1.0, 0.1);
    assert!(matches!(negative, Err(Error::InvalidParameter { what: "function", .. })), "{negative:?}");
    // Out of reach: the best that was found is said, and is larger.
    let unreached = [
        Approximation::sqrt(0.0, 1.0, 1e-6),
        Approximation::fit("|x|", f64::abs, -1.0, 1.0, 1e-6),
        Approximation::fit("1/x", f64::recip, -1.0, 1.5, 0.1),
        Approximation::exp(0.0, 1.0, 1e-18),
        Approximation::reciprocal_goldschmidt(1e-12, 1.0, 1e-6),
        Approximation::sign(1.0, 0.1, 1e-15),
        Approximation::abs(1.0, 1e-14),
    ];
    for (k, refused) in unreached.into_iter().enumerate() {
        match refused {
            Err(Error::Unreachable { wanted, best, .. }) => assert!(best > wanted && best.is_finite(), "{k}: {best}"),
            Err(Error::InvalidParameter { what: "margin", .. }) if k == 6 => {}
            other => panic!("{k}: {other:?}"),
        }
    }
    let sigmoid = Approximation::sigmoid(-1.0, 1.0, 0.01).unwrap();
    let clear = Clear::new(1, Level(sigmoid.depth() - 1));
    let x = clear.value(&[vec![Complex64::ZERO]], Level(sigmoid.depth() - 1)).unwrap();
    assert!(matches!(sigmoid.evaluate(&clear, &x), Err(Error::LevelExhausted { op: "approximation", .. })));
    let extremum = Extremum::new(1.0, 0.1).unwrap();
    assert!(matches!(extremum.max(&clear, &x, &x), Err(Error::LevelExhausted { op: "extremum", .. })));
}
