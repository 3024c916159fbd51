//! Keys made for the levels they are used at: their sizes, what they serve, what they refuse, the noise they add.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::Error;
use ringlight::circuit::{self, Plan};
use ringlight::ckks::{Ciphertext, Decryptor, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::math::Seed;
use ringlight::rlwe::KeyId;
use ringlight::units::{GaloisElement, Level, LimbCount};

fn parameters() -> Parameters {
    let p = Parameters::builder().log_n(11).scale_bits(28).levels(4).digits(3).insecure_build().unwrap();
    assert_eq!((p.rlwe().chain(), p.rlwe().special()), (LimbCount(6), LimbCount(2)));
    p
}

fn generator(p: &Parameters) -> KeyGenerator {
    KeyGenerator::from_seed(p, &Seed::from_bytes([21; 32]))
}

/// Largest error of the slots.
fn error(decryptor: &Decryptor, got: &Ciphertext, want: impl Fn(usize) -> Complex64) -> f64 {
    let got = &decryptor.decrypt(&got.to_host().unwrap()).unwrap()[0];
    got.iter().enumerate().map(|(i, got)| (got - want(i)).norm()).fold(0.0, f64::max)
}

#[test]
fn a_key_is_as_large_as_its_level() {
    let p = parameters();
    let mut keys = generator(&p);
    let mut sizes = vec![];
    for level in 0..=p.max_level().0 {
        let limbs = p.limbs_at(Level(level)).unwrap();
        let request = KeyRequest::new().rotations_at(Level(level), [1]);
        let made = keys.evaluation_keys(&request).unwrap();
        let (_, key) = made.iter().next().unwrap();
        assert_eq!(key.limbs(), limbs);
        assert_eq!(key.digits(), limbs.0.div_ceil(2) as usize);
        // One half of words, one seed a digit.
        let words = key.digits() * (limbs.0 + p.rlwe().special().0) as usize * p.log_n().degree();
        assert_eq!(made.bytes(), 4 * words + 32 * key.digits());
        sizes.push(made.bytes());
    }
    assert!(sizes.is_sorted() && 3 * sizes[0] < sizes[4], "{sizes:?}");
    assert_eq!(sizes[4], keys.evaluation_keys(&KeyRequest::new().rotations([1])).unwrap().bytes());
}

#[test]
fn keys_serve_their_level_and_below_and_refuse_above() {
    let p = parameters();
    let mut keys = generator(&p);
    let (made_for, slots) = (Level(2), p.slots());
    let request = KeyRequest::new().rotations_at(made_for, [3]).conjugation_at(made_for).relinearization_at(made_for);
    let made = keys.evaluation_keys(&request).unwrap();
    let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
    let x = Inputs::new(3).complex(slots);
    let top = encryptor.encrypt_complex(std::slice::from_ref(&x), p.max_level()).unwrap();
    for device in devices() {
        let eval = Evaluator::new(&p, &device, &made).unwrap();
        let a = eval.load(&top).unwrap();
        for level in 0..=made_for.0 {
            let low = eval.drop_to(&a, Level(level)).unwrap();
            let bound = 2f64.powi(-12);
            assert!(error(&decryptor, &eval.rotate(&low, 3).unwrap(), |i| x[(i + 3) % slots]) < bound);
            assert!(error(&decryptor, &eval.conjugate(&low).unwrap(), |i| x[i].conj()) < bound);
            if level > 0 {
                assert!(error(&decryptor, &eval.square(&low).unwrap(), |i| x[i] * x[i]) < bound);
            }
            let product = eval.relinearize(&eval.multiply(&low, &low).unwrap()).unwrap();
            assert!(level == 0 || error(&decryptor, &product, |i| x[i] * x[i]) < bound);
        }
        for level in [3, 4] {
            let high = eval.drop_to(&a, Level(level)).unwrap();
            let product = eval.multiply(&high, &high).unwrap();
            for (refused, op, request) in [
                (eval.rotate(&high, 3), "rotate by 3", "rotations_at"),
                (eval.conjugate(&high), "conjugate", "conjugation_at"),
                (eval.relinearize(&product), "relinearize", "relinearization_at"),
                (eval.mul(&high, &high), "relinearize", "relinearization_at"),
            ] {
                let error = refused.unwrap_err();
                let expected = Error::KeyLevelTooLow { op: op.into(), request, made_for: 2, needed: level };
                assert_eq!(error, expected);
                let text = error.to_string();
                assert!(text.contains("made for level 2") && text.contains(&format!("at level {level} or above")));
                assert!(text.contains(request), "{text}");
            }
        }
        assert!(matches!(eval.rotate(&a, 5), Err(Error::MissingRotationKey { steps: 5 })));
    }
}

#[test]
fn keys_for_a_level_add_the_noise_of_keys_for_all() {
    let p = parameters();
    let mut keys = generator(&p);
    let level = Level(1);
    let requests = [KeyRequest::new().rotations([1]), KeyRequest::new().rotations_at(level, [1])];
    let made = requests.map(|request| keys.evaluation_keys(&request).unwrap());
    let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
    let zero = encryptor.encrypt_complex(&vec![vec![]; 16], level).unwrap();
    let device = ringlight::Device::cpu();
    let [full, limited] = made.map(|made| {
        let eval = Evaluator::new(&p, &device, &made).unwrap();
        let turned = eval.rotate(&eval.load(&zero).unwrap(), 1).unwrap();
        let errors = decryptor.decrypt(&turned.to_host().unwrap()).unwrap().concat();
        (errors.iter().map(Complex64::norm_sqr).sum::<f64>() / errors.len() as f64).sqrt()
    });
    // 16384 samples each: their own deviation is below 1 %.
    assert!((0.95..1.05).contains(&(limited / full)), "{limited:e} and {full:e}");
}

/// Two products and rotations at three depths.
fn sample<E: circuit::Evaluator>(eval: &E, x: &E::Value) -> ringlight::Result<E::Value> {
    let a = eval.mul(x, &eval.rotate(x, 1)?)?;
    let b = eval.square(&eval.add(&a, &eval.rotate(&a, 2)?)?)?;
    eval.add(&eval.rotate(&eval.conjugate(&b)?, -1)?, &eval.rotate(&b, 2)?)
}

#[test]
fn a_plan_says_how_high_its_keys_must_reach() {
    let p = parameters();
    let plan = Plan::new(p.slots());
    sample(&plan, &plan.input(1)).unwrap();
    let report = plan.report();
    let last = i32::try_from(p.slots()).unwrap() - 1;
    assert_eq!((report.rotations.as_slice(), report.rotation_depths.as_slice()), (&[1, 2, last][..], &[0, 1, 2][..]));
    assert_eq!((report.relinearization_depth, report.conjugation_depth), (0, 2));

    let mut keys = generator(&p);
    let limbs = |made: &ringlight::rlwe::EvaluationKeys, steps| {
        made.get(KeyId::Galois(GaloisElement::from_steps(steps, p.log_n()))).unwrap().limbs()
    };
    let at = |level| p.limbs_at(Level(level)).unwrap();
    let made = keys.evaluation_keys(&KeyRequest::from(&report)).unwrap();
    assert_eq!([1, 2, -1].map(|steps| limbs(&made, steps)), [at(4), at(3), at(2)]);
    let everywhere = KeyRequest::new().relinearization(true).conjugation(true).rotations([1, 2, -1]);
    assert!(made.bytes() < keys.evaluation_keys(&everywhere).unwrap().bytes());

    // Inputs at a lower level, and the keys of both requests together.
    let request = KeyRequest::from_plan(&report, Level(3));
    let made = keys.evaluation_keys(&request).unwrap();
    assert_eq!([1, 2, -1].map(|steps| limbs(&made, steps)), [at(3), at(2), at(1)]);
    let both = request.merge(&KeyRequest::new().rotations_at(Level(0), [1]).rotations_at(Level(4), [last]));
    let both = keys.evaluation_keys(&both).unwrap();
    assert_eq!([1, 2, -1].map(|steps| limbs(&both, steps)), [at(3), at(2), at(4)]);

    // They are enough.
    let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
    let x = Inputs::new(5).complex(p.slots());
    let clear = circuit::Clear::new(p.slots(), p.max_level());
    let expected = sample(&clear, &clear.value(std::slice::from_ref(&x), Level(3)).unwrap()).unwrap();
    for device in devices() {
        let eval = Evaluator::new(&p, &device, &made).unwrap();
        let x = eval.load(&encryptor.encrypt_complex(std::slice::from_ref(&x), Level(3)).unwrap()).unwrap();
        assert!(error(&decryptor, &sample(&eval, &x).unwrap(), |i| expected.vectors()[0][i]) < 2f64.powi(-8));
    }
}

#[test]
fn wishes_beyond_the_chain_are_errors() {
    let p = parameters();
    let mut keys = generator(&p);
    for request in [
        KeyRequest::new().rotations_at(Level(5), [1]),
        KeyRequest::new().conjugation_at(Level(5)),
        KeyRequest::new().relinearization_at(Level(u32::MAX)),
    ] {
        let refused = keys.evaluation_keys(&request);
        assert!(matches!(refused, Err(Error::LevelTooHigh { available: 4, .. })), "{refused:?}");
    }
    // A circuit that names levels of its own plans depths beyond every chain: its keys are made for the top.
    let plan = Plan::new(p.slots());
    let low = circuit::Evaluator::drop_to(&plan, &plan.input(1), Level(1)).unwrap();
    circuit::Evaluator::rotate(&plan, &low, 1).unwrap();
    let made = keys.evaluation_keys(&KeyRequest::from(&plan.report())).unwrap();
    assert!(made.iter().all(|(_, key)| key.limbs() == p.rlwe().chain()) && made.len() == 1);
}
