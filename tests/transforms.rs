//! Linear maps on ciphertexts against their definition, on every device, for one vector and for batches.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::circuit::{
    Clear, Evaluator as _, LinearTransform, Plan, coefficients_from_slots, slots_from_coefficients,
};
use ringlight::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::math::Seed;
use ringlight::units::Level;
use ringlight::{Device, Error};

fn parameters() -> Parameters {
    Parameters::builder().log_n(11).levels(4).scale_bits(50).insecure_build().unwrap()
}

/// Runs maps one after the other in the clear and encrypted, with exactly the planned keys; the digests of all devices agree.
fn check(maps: &[LinearTransform], batch: usize, period: usize, least_bits: f64) {
    let p = parameters();
    let mut inputs = Inputs::new(9);
    let values: Vec<Vec<Complex64>> = (0..batch)
        .map(|_| {
            let one = inputs.complex(period);
            (0..p.slots()).map(|i| one[i % period]).collect()
        })
        .collect();
    let top = p.max_level();
    let plan = Plan::new(p.slots());
    let mut planned = plan.input(batch);
    let clear = Clear::new(p.slots(), top);
    let mut want = clear.value(&values, top).unwrap();
    for map in maps {
        planned = plan.transform(&planned, &plan.encode_transform(map, plan.level(&planned)).unwrap()).unwrap();
        want = clear.transform(&want, &clear.encode_transform(map, clear.level(&want)).unwrap()).unwrap();
    }
    let mut generator = KeyGenerator::from_seed(&p, &Seed::from_bytes([3; 32]));
    let keys = generator.evaluation_keys(&KeyRequest::from_plan(&plan.report(), top)).unwrap();
    let fresh = generator.encryptor().encrypt_complex(&values, top).unwrap();
    let digests: Vec<_> = devices()
        .iter()
        .map(|device| {
            let eval = Evaluator::new(&p, device, &keys).unwrap();
            let mut x = eval.load(&fresh).unwrap();
            for map in maps {
                let map = eval.encode_transform(map, x.level()).unwrap();
                x = ringlight::circuit::Evaluator::transform(&eval, &x, &map).unwrap();
            }
            let got = x.to_host().unwrap();
            assert_eq!(got.level(), clear.level(&want));
            let vectors = generator.decryptor().decrypt(&got).unwrap();
            let errors = vectors.iter().flatten().zip(want.vectors().iter().flatten()).map(|(a, b)| (a - b).norm());
            let worst = errors.fold(0.0, f64::max);
            assert!(-worst.log2() > least_bits, "{} bits on {}", -worst.log2(), device.name());
            got.digest()
        })
        .collect();
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:?}");
}

#[test]
fn random_maps_are_their_definition() {
    let mut inputs = Inputs::new(1);
    for (period, count, baby, batch) in
        [(16, 16, 4, 1), (64, 9, 8, 1), (1024, 21, 16, 2), (8, 1, 1, 3), (32, 32, 32, 1), (32, 7, 1, 2)]
    {
        let mut diagonals = std::collections::BTreeMap::new();
        while diagonals.len() < count {
            let k = inputs.below(u32::try_from(period).unwrap()) as usize;
            diagonals.insert(k, inputs.complex(period));
        }
        let map = LinearTransform::with_baby_steps(period, diagonals, baby).unwrap();
        check(&[map], batch, period, 28.0);
    }
}

#[test]
fn the_dft_there_and_back_is_the_identity() {
    let slots = 256;
    for levels in [1, 2] {
        let mut maps = slots_from_coefficients(slots, levels, 1.0 / 16.0).unwrap();
        maps.extend(coefficients_from_slots(slots, levels, 16.0).unwrap());
        check(&maps, 1, slots, 25.0);
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let bad =
        |period: usize, diagonals: Vec<(usize, Vec<Complex64>)>| LinearTransform::new(period, diagonals).map(|_| ());
    let one = |n: usize| vec![Complex64::ONE; n];
    assert!(matches!(bad(12, vec![]), Err(Error::InvalidParameter { what: "period", .. })));
    assert!(matches!(bad(1 << 17, vec![]), Err(Error::InvalidParameter { what: "period", .. })));
    for diagonals in [vec![(0, one(4))], vec![(8, one(8))], vec![(1, one(8)), (1, one(8))]] {
        assert!(matches!(bad(8, diagonals), Err(Error::ShapeMismatch { .. })));
    }
    assert!(matches!(bad(8, vec![(0, vec![Complex64::new(f64::NAN, 0.0); 8])]), Err(Error::BadValue { index: 0, .. })));
    assert!(LinearTransform::with_baby_steps(8, [(0, one(8))], 0).is_err());
    // A map without diagonals is zero, and takes no key.
    assert_eq!(LinearTransform::new(8, []).unwrap().rotations(), [0i32; 0]);

    let p = parameters();
    let mut generator = KeyGenerator::from_seed(&p, &Seed::from_bytes([3; 32]));
    let keys = generator.evaluation_keys(&KeyRequest::new().rotations([1])).unwrap();
    let eval = Evaluator::new(&p, &Device::cpu(), &keys).unwrap();
    let x = eval.load(&generator.encryptor().encrypt_real(&[vec![1.0]]).unwrap()).unwrap();
    let shift = |k: usize| LinearTransform::new(8, [(k, one(8))]).unwrap();
    let encode = |k, level| eval.encode_transform(&shift(k), level);
    let missing = eval.transform(&x, &encode(2, p.max_level()).unwrap());
    assert!(matches!(missing, Err(Error::MissingRotationKey { steps: 2 })));
    let low = eval.transform(&x, &encode(1, Level(2)).unwrap());
    assert!(matches!(low, Err(Error::LevelMismatch { op: "transform", left: 4, right: 2 })));
    assert!(matches!(encode(1, Level(0)), Err(Error::LevelExhausted { .. })));
    assert!(matches!(encode(1, Level(5)), Err(Error::LevelTooHigh { .. })));
    assert!(eval.transform(&x, &encode(1, p.max_level()).unwrap()).is_ok());
}
