//! Polynomials in three readings: values against Horner and Clenshaw, depth against the optimum, encrypted against clear.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::circuit::{Basis, Clear, Evaluator as Circuit, Polynomial};
use ringlight::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::math::Seed;
use ringlight::units::Level;
use ringlight::{Device, Error};

/// The definitions: the recurrence of the basis, term by term.
fn by_definition(basis: Basis, coefficients: &[f64], u: f64) -> f64 {
    let (mut this, mut next, mut sum) = (1.0, u, 0.0);
    for c in coefficients {
        sum += c * this;
        let after = match basis {
            Basis::Power => u * next,
            Basis::Chebyshev => 2.0 * u * next - this,
        };
        (this, next) = (next, after);
    }
    sum
}

/// Least depth of a polynomial of this degree, counted up.
fn optimum(degree: usize) -> u32 {
    (0..).find(|&depth| 1usize << depth > degree).unwrap()
}

/// What a random polynomial keeps of its coefficients.
fn kept(kind: usize, index: usize, random: &mut Inputs) -> bool {
    match kind {
        0 => true,
        1 => index % 2 == 1,
        2 => index.is_multiple_of(2),
        _ => random.below(4) == 0,
    }
}

fn polynomials(degree: usize, random: &mut Inputs) -> Vec<Polynomial> {
    let mut out = vec![];
    for kind in 0..4 {
        for basis in [Basis::Power, Basis::Chebyshev] {
            let coefficient = |index| {
                let c = random.real();
                if index == degree || kept(kind, index, random) { c } else { 0.0 }
            };
            let coefficients: Vec<f64> = (0..=degree).map(coefficient).collect();
            out.push(match basis {
                Basis::Power => Polynomial::power(coefficients).unwrap(),
                Basis::Chebyshev => Polynomial::chebyshev(coefficients, -1.0, 1.0).unwrap(),
            });
        }
    }
    out
}

#[test]
fn every_degree_at_the_least_depth_in_the_clear() {
    let mut random = Inputs::new(1);
    let points: Vec<f64> = [-1.0, 1.0, 0.0].into_iter().chain((0..30).map(|_| random.real())).collect();
    let clear = Clear::new(points.len(), Level(12));
    let x = clear.value(&[points.iter().map(|&x| x.into()).collect()], Level(12)).unwrap();
    for degree in (0..=64).chain([77, 100, 126, 127, 128, 191, 200, 255, 1000]) {
        for p in polynomials(degree, &mut random) {
            let y = p.evaluate(&clear, &x).unwrap();
            assert_eq!(p.depth(), optimum(degree));
            assert_eq!(clear.level(&y), Level(12 - optimum(degree)), "{p:?}");
            let plan = p.plan().unwrap();
            assert_eq!(plan.depth, optimum(degree), "{p:?}");
            // Rounding: every power carries a few units for each level, and every coefficient meets one.
            let size: f64 = p.coefficients().iter().map(|c| c.abs()).sum();
            let bound = size * f64::EPSILON * 16.0 * (degree as f64 + 1.0);
            for (&x, y) in points.iter().zip(&y.vectors()[0]) {
                let want = by_definition(p.basis(), p.coefficients(), x);
                assert!((y.re - want).abs() <= bound && y.im == 0.0, "{p:?} at {x}: {y} not {want}");
                assert!((p.at(x) - want).abs() <= bound, "{p:?} at {x}: {} not {want}", p.at(x));
            }
        }
    }
}

#[test]
fn relinearizations_are_few_and_zeros_cost_nothing() {
    let mut random = Inputs::new(2);
    let mut cost = |degree: usize, kind: usize| {
        let coefficients = (0..=degree).map(|i| if kept(kind, i, &mut random) { 1.5 + random.real() } else { 0.0 });
        Polynomial::chebyshev(coefficients.collect(), -1.0, 1.0).unwrap().plan().unwrap()
    };
    // Dense, odd, even.
    let counts = |degree: usize, cost: &mut dyn FnMut(usize, usize) -> usize| {
        [cost(degree, 0), cost(degree - usize::from(degree.is_multiple_of(2)), 1), cost(degree - degree % 2, 2)]
    };
    let mut relinearizations = |degree, kind| cost(degree, kind).relinearizations;
    for (degree, most) in [(3, [2, 2, 1]), (7, [4, 4, 3]), (15, [7, 7, 5]), (31, [10, 10, 8]), (63, [15, 14, 11])] {
        let got = counts(degree, &mut relinearizations);
        println!("degree {degree}: {got:?} relinearizations dense, odd, even");
        assert!(got.iter().zip(most).all(|(&got, most)| got <= most), "degree {degree}: {got:?}, at most {most:?}");
    }
    // One power alone: squarings, and the way to the highest coefficient.
    let mut coefficients = vec![0.0; 65];
    coefficients[64] = 1.0;
    let alone = Polynomial::power(coefficients).unwrap().plan().unwrap();
    assert_eq!((alone.relinearizations, alone.multiplications, alone.plain_multiplications), (6, 6, 1));
}

#[test]
fn intervals_take_a_level_only_where_they_stretch() {
    let clear = Clear::new(4, Level(9));
    for (low, high, map) in [(-1.0, 1.0, 0), (3.0, 5.0, 0), (-4.0, 4.0, 1), (0.25, 0.5, 1)] {
        let points: Vec<f64> = (0..4).map(|k| low + (high - low) * f64::from(k) / 3.0).collect();
        let x = clear.value(&[points.iter().map(|&x| x.into()).collect()], Level(9)).unwrap();
        for coefficients in [vec![2.0], vec![2.0, -3.0], vec![2.0, -3.0, 0.5, 0.25]] {
            let p = Polynomial::chebyshev(coefficients.clone(), low, high).unwrap();
            let y = p.evaluate(&clear, &x).unwrap();
            let depth = optimum(p.degree()) + if p.degree() > 1 { map } else { 0 };
            assert_eq!((p.depth(), clear.level(&y)), (depth, Level(9 - depth)));
            for (k, (&x, y)) in points.iter().zip(&y.vectors()[0]).enumerate() {
                let want = by_definition(Basis::Chebyshev, &coefficients, k as f64 * 2.0 / 3.0 - 1.0);
                assert!((y.re - want).abs() < 1e-13 && (p.at(x) - want).abs() < 1e-13, "{y} not {want}");
            }
        }
    }
}

#[test]
fn several_polynomials_share_their_powers() {
    let mut random = Inputs::new(3);
    let dense = |degree: usize, random: &mut Inputs| {
        Polynomial::chebyshev((0..=degree).map(|_| random.real()).collect(), -1.0, 1.0).unwrap()
    };
    let many: Vec<Polynomial> = [15, 12, 1, 0, 9].map(|degree| dense(degree, &mut random)).into();
    let all: Vec<&Polynomial> = many.iter().collect();
    let clear = Clear::new(8, Level(6));
    let x = clear.value(&[(0..8).map(|_| random.real().into()).collect()], Level(6)).unwrap();
    let alone: usize = many.iter().map(|p| p.plan().unwrap().relinearizations).sum();
    let got = Polynomial::evaluate_many(&all, &clear, &x).unwrap();
    assert!(clear.report().relinearizations < alone, "{} not below {alone}", clear.report().relinearizations);
    for (p, got) in many.iter().zip(&got) {
        assert_eq!(clear.level(got).0, 6 - p.depth());
        for (x, y) in x.vectors()[0].iter().zip(&got.vectors()[0]) {
            assert!((y.re - p.at(x.re)).abs() < 1e-12);
        }
    }
    let other = Polynomial::chebyshev(vec![1.0, 1.0], 0.0, 1.0).unwrap();
    let mixed = Polynomial::evaluate_many(&[&many[0], &other], &clear, &x);
    assert!(matches!(mixed, Err(Error::InvalidParameter { what: "polynomials", .. })));
    assert!(Polynomial::evaluate_many(&[], &clear, &x).unwrap().is_empty());
}

#[test]
fn bad_polynomials_are_refused() {
    assert!(matches!(Polynomial::power(vec![]), Err(Error::InvalidParameter { what: "coefficients", .. })));
    assert!(matches!(Polynomial::power(vec![1.0, f64::NAN]), Err(Error::BadValue { index: 1, .. })));
    assert!(matches!(Polynomial::power(vec![1.0; 4097]), Err(Error::InvalidParameter { what: "degree", .. })));
    assert_eq!(Polynomial::power(vec![0.0; 5000]).unwrap().degree(), 0);
    let max = f64::MAX;
    for (low, high) in [(1.0, 1.0), (1.0, -1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (-max, max), (0.0, 1e-320)] {
        let refused = Polynomial::chebyshev(vec![1.0], low, high);
        assert!(matches!(refused, Err(Error::InvalidParameter { what: "interval", .. })), "[{low}, {high}]");
    }
    let clear = Clear::new(1, Level(2));
    let x = clear.value(&[vec![Complex64::ZERO]], Level(2)).unwrap();
    let refused = Polynomial::power(vec![1.0; 5]).unwrap().evaluate(&clear, &x);
    assert_eq!(refused, Err(Error::LevelExhausted { op: "polynomial", needed: 3, left: 2 }));
}

#[test]
fn encrypted_polynomials_agree_with_the_clear_reading_on_every_device() {
    for (bits, levels, degrees) in [(30, 6, [1, 2, 5, 8, 31]), (50, 7, [3, 6, 7, 16, 63])] {
        let p = Parameters::builder().log_n(10).scale_bits(bits).levels(levels).insecure_build().unwrap();
        let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([6; 32]));
        let evaluation = keys.evaluation_keys(&KeyRequest::new().relinearization(true)).unwrap();
        let (top, mut random) = (p.max_level(), Inputs::new(u64::from(bits)));
        let vectors: Vec<Vec<Complex64>> =
            (0..2).map(|_| (0..p.slots()).map(|_| random.real().into()).collect()).collect();
        let clear = Clear::new(p.slots(), top);
        let known = clear.value(&vectors, top).unwrap();
        let sent = keys.encryptor().encrypt_complex(&vectors, top).unwrap();
        let evals: Vec<_> = devices().iter().map(|d| Evaluator::new(&p, d, &evaluation).unwrap()).collect();
        for poly in degrees.iter().flat_map(|&degree| polynomials(degree, &mut random)) {
            let want = poly.evaluate(&clear, &known).unwrap();
            let mut digest = None;
            for eval in &evals {
                let got = poly.evaluate(eval, &eval.load(&sent).unwrap()).unwrap();
                assert_eq!((got.level(), got.scale()), (clear.level(&want), p.scale_at(got.level()).unwrap()));
                let host = got.to_host().unwrap();
                assert_eq!(digest.get_or_insert_with(|| host.digest()), &host.digest(), "{}", eval.device().name());
                if !eval.device().is_same(evals[0].device()) {
                    continue; // the same bits need no second decryption
                }
                // A slot of a rescaled value is off by sqrt(N / 12) sqrt(2 N / 3), 240 units of the scale; eight standard
                // deviations are below 2^11. A power or a quotient adds as much, times the slope of what follows: at most
                // degree^2 by Markov's inequality.
                let size: f64 = poly.coefficients().iter().map(|c| c.abs()).sum();
                let degree = poly.degree() as f64;
                let bound = (1.0 + size) * (degree * degree + 4.0) * (11.0 - f64::from(bits)).exp2();
                for (got, want) in keys.decryptor().decrypt(&host).unwrap().iter().zip(want.vectors()) {
                    for (g, w) in got.iter().zip(want) {
                        assert!((g - w).norm() < bound, "{poly:?}: {g} not {w}, {p}");
                    }
                }
            }
        }
    }
}

#[test]
fn sums_of_products_refuse_what_does_not_fit() {
    let p = Parameters::builder().log_n(10).scale_bits(28).levels(3).insecure_build().unwrap();
    let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([7; 32]));
    let evaluation = keys.evaluation_keys(&KeyRequest::new().relinearization(true)).unwrap();
    let eval = Evaluator::new(&p, &Device::cpu(), &evaluation).unwrap();
    let mut load = |batch: usize| eval.load(&keys.encryptor().encrypt_real(&vec![vec![0.5]; batch]).unwrap()).unwrap();
    let (a, pair, top, below) = (&load(1), &load(2), Level(3), Level(2));

    // 0.5 * 0.5 + 3 * 0.5 - 0.25 * 0.5^2, the last from a lower level.
    let square = eval.square(a).unwrap();
    let got = eval.dot(&[], &[(a, 3.0), (&square, -0.25), (a, 0.0)], Level(1)).unwrap();
    let value = keys.decryptor().decrypt_real(&got.to_host().unwrap()).unwrap()[0][0];
    assert!((value - 1.4375).abs() < 1e-3, "{value}");
    assert_eq!((got.level(), got.scale()), (Level(1), p.scale_at(Level(1)).unwrap()));

    assert!(matches!(eval.dot(&[(a, a)], &[], top), Err(Error::LevelTooHigh { op: "dot", wanted: 4, .. })));
    assert!(matches!(eval.dot(&[], &[(a, 1.0)], Level(u32::MAX)), Err(Error::LevelTooHigh { .. })));
    assert!(matches!(eval.dot(&[], &[(&square, 1.0)], below), Err(Error::LevelTooHigh { op: "dot", wanted: 3, .. })));
    assert!(matches!(Circuit::dot(&eval, &[(a, a)], &[], Level(1)), Err(Error::LevelMismatch { op: "dot", .. })));
    let raised = eval.mul_scalar(a, 1.0, 1024.0).unwrap();
    assert!(matches!(eval.dot(&[(a, &raised)], &[], below), Err(Error::ScaleMismatch { op: "dot", .. })));
    let high = eval.mul_scalar(a, 1.0, a.scale()).unwrap();
    assert!(matches!(eval.dot(&[], &[(&high, 1.0)], below), Err(Error::ScaleMismatch { op: "dot", .. })));
    for bad in [f64::NAN, f64::NEG_INFINITY, 1e30] {
        let refused = eval.dot(&[], &[(a, 1.0), (a, bad)], below);
        assert!(matches!(refused, Err(Error::BadValue { index: 1, .. })), "{bad}");
    }
    let three = eval.multiply(a, a).unwrap();
    assert!(matches!(eval.dot(&[], &[(&three, 1.0)], below), Err(Error::ComponentCount { op: "dot", .. })));
    assert!(matches!(eval.dot(&[], &[(a, 0.0)], below), Err(Error::ShapeMismatch { op: "dot", .. })));
    assert!(matches!(eval.dot(&[(a, a)], &[(pair, 1.0)], below), Err(Error::ShapeMismatch { op: "dot", .. })));
    let none = Evaluator::new(&p, eval.device(), &keys.evaluation_keys(&KeyRequest::new()).unwrap()).unwrap();
    assert!(matches!(none.dot(&[(a, a)], &[], below), Err(Error::MissingRelinearizationKey)));
    none.dot(&[], &[(a, 1.0)], below).unwrap();
}
