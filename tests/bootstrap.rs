//! Refreshing ciphertexts: against the values, on every device, in deep circuits, for batches, sparse slots and dense secrets.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::circuit::{self, Polynomial};
use ringlight::ckks::{
    BootstrapSecret, Bootstrapper, Bootstrapping, Ciphertext, Decryptor, Encryptor, Evaluator, KeyGenerator,
    Parameters, PreparedBootstrapper,
};
use ringlight::math::Seed;
use ringlight::units::Level;
use ringlight::{Device, Error};

/// A server that refreshes, and the owner of its keys.
struct World {
    eval: Evaluator,
    refresher: PreparedBootstrapper,
    encryptor: Encryptor,
    decryptor: Decryptor,
}

impl World {
    fn new(parameters: &Parameters, slots: usize, device: &Device) -> Self {
        let circuit = Bootstrapper::with_slots(parameters, slots).unwrap();
        let mut generator = KeyGenerator::from_seed(parameters, &Seed::from_bytes([7; 32]));
        let keys = generator.evaluation_keys(&circuit.keys().unwrap()).unwrap();
        let eval = Evaluator::new(parameters, device, &keys).unwrap();
        let refresher = circuit.prepare(&eval).unwrap();
        Self { eval, refresher, encryptor: generator.encryptor(), decryptor: generator.decryptor() }
    }

    /// At the lowest level that can be refreshed.
    fn load(&self, vectors: &[Vec<Complex64>]) -> Ciphertext {
        let level = self.refresher.circuit().input_level();
        self.eval.load(&self.encryptor.encrypt_complex(vectors, level).unwrap()).unwrap()
    }

    /// Bits of the worst slot's error.
    fn bits(&self, got: &Ciphertext, want: &[Vec<Complex64>]) -> f64 {
        let got = self.decryptor.decrypt(&got.to_host().unwrap()).unwrap();
        assert_eq!(got.len(), want.len());
        let errors = got.iter().flatten().zip(want.iter().flatten()).map(|(a, b)| (a - b).norm());
        -errors.fold(0.0, f64::max).log2()
    }
}

/// Complex numbers of magnitude at most 1, with the given period.
fn vectors(batch: usize, slots: usize, period: usize, seed: u64) -> Vec<Vec<Complex64>> {
    let mut inputs = Inputs::new(seed);
    let mut vector = || {
        let one = inputs.complex(period);
        (0..slots).map(|i| one[i % period] / 2f64.sqrt()).collect()
    };
    (0..batch).map(|_| vector()).collect()
}

/// The toy with a secret of its own kind.
fn toy(change: impl FnOnce(&mut Bootstrapping)) -> Parameters {
    let preset = Parameters::insecure_bootstrap().unwrap();
    let mut settings = *preset.bootstrapping().unwrap();
    change(&mut settings);
    Parameters::builder().log_n(11).levels(4).scale_bits(50).bootstrapping(settings).insecure_build().unwrap()
}

#[test]
fn every_device_refreshes_a_batch_to_the_same_bits() {
    let p = Parameters::insecure_bootstrap().unwrap();
    // One vector and several take different ways through a linear transform.
    let values = vectors(2, p.slots(), p.slots(), 1);
    let digests: Vec<_> = devices()
        .iter()
        .map(|device| {
            let world = World::new(&p, p.slots(), device);
            let input = world.load(&values);
            let both = world.refresher.refresh(&input).unwrap();
            assert_eq!((both.level(), both.batch()), (p.max_level(), 2));
            assert_eq!(both.scale(), p.scale_at(p.max_level()).unwrap());
            assert!(world.bits(&both, &values) > 23.0, "{}", world.bits(&both, &values));
            let one = world.refresher.refresh(&input.slice(1, 1).unwrap()).unwrap();
            assert_eq!(both.slice(1, 1).unwrap().to_host().unwrap().digest(), one.to_host().unwrap().digest());
            both.to_host().unwrap().digest()
        })
        .collect();
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:?}");
}

#[test]
fn constants_and_extremes_are_as_good_as_random_values() {
    let p = Parameters::insecure_bootstrap().unwrap();
    let world = World::new(&p, p.slots(), &Device::cpu());
    for z in [Complex64::ZERO, Complex64::ONE, -Complex64::I, Complex64::new(0.6, -0.8)] {
        let values = vec![vec![z; p.slots()]];
        let bits = world.bits(&world.refresher.refresh(&world.load(&values)).unwrap(), &values);
        assert!(bits > 23.0, "{z}: {bits}");
    }
}

#[test]
fn sparse_vectors_take_fewer_keys() {
    let p = Parameters::insecure_bootstrap().unwrap();
    let all = Bootstrapper::new(&p).unwrap().plan().unwrap();
    for slots in [8, 64, p.slots() / 2] {
        let world = World::new(&p, slots, &Device::cpu());
        let (low, high) = world.refresher.circuit().plan().unwrap();
        assert!(low.rotations.len() < all.0.rotations.len(), "{slots}: {:?}", low.rotations);
        assert!(
            low.plain_multiplications + high.plain_multiplications
                < all.0.plain_multiplications + all.1.plain_multiplications
        );
        let values = vectors(1, p.slots(), slots, 2);
        let bits = world.bits(&world.refresher.refresh(&world.load(&values)).unwrap(), &values);
        assert!(bits > 22.5, "{slots} slots: {bits}");
    }
}

#[test]
fn a_refresh_is_as_far_off_as_predicted() {
    let preset = Parameters::insecure_bootstrap().unwrap();
    // The end of EvalMod, the sine, or T_2 is what counts.
    let coarse = *preset.bootstrapping().unwrap();
    let coarse = Bootstrapping { scale_bits: 48, transform_bits: 48, ratio_bits: 12, ..coarse };
    let small = |scale_bits, settings| {
        let builder = Parameters::builder().log_n(11).levels(4).scale_bits(scale_bits);
        builder.bootstrapping(settings).insecure_build().unwrap()
    };
    let noisy = Bootstrapping { ratio_bits: 20, ..coarse };
    for (parameters, slots) in
        [(preset, 1024), (small(28, coarse), 1024), (small(28, coarse), 64), (small(40, noisy), 1024)]
    {
        let world = World::new(&parameters, slots, &Device::cpu());
        let values = vectors(2, parameters.slots(), slots, 4);
        let got = world.refresher.refresh(&world.load(&values)).unwrap();
        let got = world.decryptor.decrypt(&got.to_host().unwrap()).unwrap();
        let pairs = got.iter().flatten().zip(values.iter().flatten());
        let power: f64 = pairs.map(|(a, b)| (a - b).norm_sqr()).sum();
        let measured = (power / 2.0 / (2 * parameters.slots()) as f64).sqrt();
        let predicted = world.refresher.circuit().slot_deviation().unwrap();
        println!("{parameters}: measured 2^{:.1}, predicted 2^{:.1}", measured.log2(), predicted.log2());
        assert!((predicted / 8.0..predicted).contains(&measured), "{measured} where {predicted} is predicted");
    }
}

/// Twenty refreshes, each followed by a multiplication and a rotation by a quarter turn: `x -> i x u` with a known `u` of magnitude 1 keeps every
/// error as it is, so that twenty of them add up: to twenty times the sine's and less for the noise, and no more.
#[test]
fn twenty_refreshes_in_a_row_do_not_drift() {
    let p = Parameters::insecure_bootstrap().unwrap();
    let world = World::new(&p, p.slots(), &Device::cpu());
    let mut want = vectors(1, p.slots(), p.slots(), 3);
    let turns: Vec<_> = (0..p.slots()).map(|i| Complex64::from_polar(1.0, i as f64)).collect();
    let turn = circuit::Evaluator::encode(&world.eval, std::slice::from_ref(&turns), p.max_level()).unwrap();
    let mut x = world.load(&want);
    let mut errors = Vec::new();
    for _ in 0..20 {
        let fresh = world.refresher.refresh(&x).unwrap();
        let turned = circuit::Evaluator::dot_plain(&world.eval, &[(&fresh, &turn)]).unwrap();
        x = world.eval.drop_to(&world.eval.mul_i(&turned).unwrap(), world.refresher.circuit().input_level()).unwrap();
        want[0].iter_mut().zip(&turns).for_each(|(z, u)| *z *= u * Complex64::I);
        errors.push((-world.bits(&x, &want)).exp2());
    }
    assert!(errors[0] < 2f64.powi(-23), "{errors:?}");
    for (refreshes, error) in (1..).zip(&errors) {
        assert!(*error < 1.3 * f64::from(refreshes) * errors[0], "after {refreshes}: {errors:?}");
    }
}

/// The same where the circuit forgets errors: `x -> x (3 - x^2) / 2` leads to the sign of `x`, and every round is as precise as the first.
#[test]
fn a_circuit_that_contracts_stays_as_precise_as_one_refresh() {
    let p = Parameters::insecure_bootstrap().unwrap();
    let world = World::new(&p, p.slots(), &Device::cpu());
    let cubic = Polynomial::power(vec![0.0, 1.5, 0.0, -0.5]).unwrap();
    let start = vectors(1, p.slots(), p.slots(), 3);
    let mut want: Vec<f64> = start[0].iter().map(|z| z.re.signum() * (0.3 + z.re.abs() / 2.0)).collect();
    let encode = |want: &[f64]| vec![want.iter().map(|&x| Complex64::from(x)).collect::<Vec<_>>()];
    let mut x = world.load(&encode(&want));
    for round in 0..20 {
        x = cubic.evaluate(&world.eval, &world.refresher.refresh(&x).unwrap()).unwrap();
        assert_eq!(x.level(), world.refresher.circuit().input_level());
        want.iter_mut().for_each(|x| *x = cubic.at(*x));
        let bits = world.bits(&x, &encode(&want));
        assert!(bits > 21.0, "{round}: {bits}");
    }
}

#[test]
fn a_second_refresh_of_the_error_adds_precision() {
    let p = Parameters::insecure_bootstrap().unwrap();
    let world = World::new(&p, p.slots(), &Device::cpu());
    let values = vectors(1, p.slots(), p.slots(), 4);
    let input = world.load(&values);
    let once = world.bits(&world.refresher.refresh(&input).unwrap(), &values);
    let twice = world.refresher.refresh_twice(&input, 18).unwrap();
    assert_eq!(twice.level(), Level(p.max_level().0 - 1));
    let twice = world.bits(&twice, &values);
    assert!(once < 28.0 && twice > once + 8.0, "{once} {twice}");
    assert!(matches!(world.refresher.refresh_twice(&input, 41), Err(Error::InvalidParameter { what: "bits", .. })));
}

#[test]
fn dense_secrets_and_arcsines_work() {
    // N = 2^11: 1,365 nonzero coefficients, wraps have a deviation of 10.7.
    let dense = toy(|s| {
        *s =
            Bootstrapping { range: 96, degree: 78, doublings: 4, secret: BootstrapSecret::Dense, ratio_bits: 12, ..*s };
    });
    let straight = toy(|s| *s = Bootstrapping { arcsine: 3, ratio_bits: 10, ..*s });
    for (p, least) in [(dense, 20.5), (straight, 25.0)] {
        let world = World::new(&p, p.slots(), &Device::cpu());
        let values = vectors(1, p.slots(), p.slots(), 5);
        let bits = world.bits(&world.refresher.refresh(&world.load(&values)).unwrap(), &values);
        assert!(bits > least, "{p}: {bits}");
    }
}

#[test]
fn what_cannot_be_refreshed_is_an_error() {
    let plain = Parameters::n13().unwrap();
    assert!(matches!(Bootstrapper::new(&plain), Err(Error::InvalidParameter { what: "bootstrapping", .. })));
    let p = Parameters::insecure_bootstrap().unwrap();
    for slots in [0, 4, 100, 2 * p.slots()] {
        let refused = Bootstrapper::with_slots(&p, slots);
        assert!(matches!(refused, Err(Error::InvalidParameter { what: "slots", .. })), "{slots}");
    }
    let world = World::new(&p, p.slots(), &Device::cpu());
    let low = world.eval.drop_to(&world.load(&vectors(1, 4, 4, 6)), Level(1)).unwrap();
    assert!(matches!(world.refresher.refresh(&low), Err(Error::LevelExhausted { op: "refresh", needed: 2, left: 1 })));

    // Without the keys to the sparse secret.
    let circuit = Bootstrapper::new(&p).unwrap();
    let mut generator = KeyGenerator::from_seed(&p, &Seed::from_bytes([8; 32]));
    let keys = generator.evaluation_keys(&circuit.keys().unwrap().encapsulation(false)).unwrap();
    let eval = Evaluator::new(&p, &Device::cpu(), &keys).unwrap();
    let refresher = circuit.prepare(&eval).unwrap();
    let x = eval.load(&generator.encryptor().encrypt_complex(&vectors(1, 4, 4, 6), p.max_level()).unwrap()).unwrap();
    assert!(matches!(refresher.refresh(&x), Err(Error::MissingEncapsulationKey)));
    let good = *p.bootstrapping().unwrap();
    for bad in [
        Bootstrapping { range: 0, ..good },
        Bootstrapping { degree: 40, ..good }, // too low for this range
        Bootstrapping { arcsine: 2, ..good },
        Bootstrapping { slots_to_coefficients: 4, ..good },
        Bootstrapping { ratio_bits: 50, ..good },
        Bootstrapping { secret: BootstrapSecret::Encapsulated { weight: 0, special: 2 }, ..good },
    ] {
        let refused = Parameters::builder().log_n(11).levels(4).scale_bits(50).bootstrapping(bad).insecure_build();
        assert!(matches!(refused, Err(Error::InvalidParameter { what: "bootstrapping", .. })), "{bad:?}");
    }
}
