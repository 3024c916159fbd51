//! Principal components: the circuit against eigenvectors, encrypted against clear.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use num_complex::Complex64;
use ringlight::circuit::Clear;
use ringlight::ckks::{BootstrapSecret, Bootstrapper, Bootstrapping, Ciphertext, Evaluator, KeyGenerator, Parameters};
use ringlight::math::Seed;
use ringlight::ml::train::{Component, Pca, PcaSamples, PcaSettings, PlannedRefresh, Refresh, principal_components};
use ringlight::units::Level;
use ringlight::{Device, Error};

/// Centred samples whose variance falls from factor to factor, turned by a reflection; no feature's exceeds 1.
fn samples(count: usize, features: usize) -> Vec<Vec<f64>> {
    let random = |i: usize, f: usize| (((i * 7919 + f * 104_729 + 13) as f64).sin() * 43_758.545).rem_euclid(1.0) - 0.5;
    let axis: Vec<f64> = (0..features).map(|f| 1.0 + (f as f64 * 2.3).sin() / 2.0).collect();
    let square: f64 = axis.iter().map(|a| a * a).sum();
    let one = |i: usize| {
        let x: Vec<f64> = (0..features).map(|f| random(i, f) * 0.75f64.powi(i32::try_from(f).unwrap())).collect();
        let along = 2.0 * x.iter().zip(&axis).map(|(x, a)| x * a).sum::<f64>() / square;
        x.iter().zip(&axis).map(|(x, a)| x - along * a).collect::<Vec<f64>>()
    };
    let mut samples: Vec<_> = (0..count).map(one).collect();
    for f in 0..features {
        let mean = samples.iter().map(|x| x[f]).sum::<f64>() / count as f64;
        samples.iter_mut().for_each(|x| x[f] -= mean);
    }
    let square = |f: usize| samples.iter().map(|x| x[f] * x[f]).sum::<f64>() / count as f64;
    let largest = (0..features).map(square).fold(0.0, f64::max).sqrt();
    samples.into_iter().map(|x| x.into_iter().map(|x| x / largest).collect()).collect()
}

/// Fits in one reading. Gives the components, and the number of refreshes.
fn fit<E: ringlight::circuit::Evaluator, R: Refresh<E>>(
    pca: &Pca,
    eval: &E,
    refresh: &R,
    samples: &PcaSamples<E::Value>,
    read: &dyn Fn(&E::Value) -> Vec<Complex64>,
) -> (Vec<Component>, u32) {
    let mut rest = pca.covariance(eval, samples).unwrap();
    let (mut found, mut refreshes) = (vec![], 0);
    for _ in 0..pca.settings().components {
        let next = pca.extract(eval, refresh, &rest).unwrap();
        found.push(pca.unpack(&read(&next.component)).unwrap());
        refreshes += next.refreshes;
        rest = next.rest;
    }
    (found, refreshes)
}

fn load<V>(samples: PcaSamples<Vec<Complex64>>, load: impl Fn(Vec<Complex64>) -> V) -> PcaSamples<V> {
    let all = |vectors: Vec<Vec<Complex64>>| vectors.into_iter().map(&load).collect();
    PcaSamples { rows: all(samples.rows), columns: all(samples.columns) }
}

fn fit_clear(pca: &Pca, slots: usize, data: &[Vec<f64>], refresh: PlannedRefresh) -> (Vec<Component>, u32) {
    let clear = Clear::new(slots, refresh.output);
    let samples = load(pca.pack(data).unwrap(), |vector| clear.value(&[vector], refresh.output).unwrap());
    fit(pca, &clear, &refresh, &samples, &|value| value.vectors()[0].clone())
}

fn cosine(a: &Component, b: &Component) -> f64 {
    a.direction.iter().zip(&b.direction).map(|(a, b)| a * b).sum::<f64>().abs()
}

/// The definition's own definition: directions of length 1 at right angles, each an eigenvector.
#[test]
fn components_in_the_clear_are_eigenvectors_in_order() {
    let data = samples(50, 5);
    let found = principal_components(&data, 5).unwrap();
    for (k, a) in found.iter().enumerate() {
        let scores: Vec<f64> = data.iter().map(|x| x.iter().zip(&a.direction).map(|(x, v)| x * v).sum()).collect();
        for f in 0..5 {
            let product = data.iter().zip(&scores).map(|(x, s)| x[f] * s).sum::<f64>() / 50.0;
            assert!((product - a.variance * a.direction[f]).abs() < 1e-9, "{product}");
        }
        for (l, b) in found.iter().enumerate() {
            assert!((cosine(a, b) - f64::from(u8::from(k == l))).abs() < 1e-9);
        }
    }
    assert!(found.is_sorted_by(|a, b| a.variance > b.variance), "{found:?}");
    assert!(matches!(principal_components(&data, 6), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(principal_components(&[], 1), Err(Error::ShapeMismatch { .. })));
}

#[test]
fn components_in_the_clear_reading_are_those_of_the_definition_in_every_layout() {
    for (slots, features, count, iterations, vectors) in
        [(256, 4, 16, 14, 1), (256, 4, 50, 15, 4), (64, 5, 7, 12, 7), (1024, 7, 40, 13, 3), (256, 16, 12, 30, 12)]
    {
        let data = samples(count, features);
        let expected = principal_components(&data, 2).unwrap();
        let largest = (1.1 * expected[0].variance).min(features as f64);
        let settings = PcaSettings { features, samples: count, components: 2, iterations, largest };
        let pca = Pca::new(settings, slots).unwrap();
        assert_eq!((pca.vectors(), pca.depth()), (vectors, 7), "{slots} {features}");
        assert!(pca.length_error() < 2e-3, "{}", pca.length_error());
        let (found, refreshes) = fit_clear(&pca, slots, &data, PlannedRefresh { input: Level(1), output: Level(8) });
        for (found, expected) in found.iter().zip(&expected) {
            let (cosine, apart) = (cosine(found, expected), (found.variance / expected.variance - 1.0).abs());
            assert!(cosine > 0.999 && apart < 0.01, "{slots} {features}: {cosine} {apart}");
        }
        assert!(refreshes >= 2 * u32::try_from(iterations).unwrap() - 2);
        // A longer chain is refreshed less often, and finds the same.
        let (same, fewer) = fit_clear(&pca, slots, &data, PlannedRefresh { input: Level(0), output: Level(14) });
        assert!(fewer < refreshes);
        assert!(same.iter().zip(&found).all(|(a, b)| (cosine(a, b) - 1.0).abs() < 1e-9));
    }
}

/// A ring that protects nothing, with enough levels for an iteration.
fn toy() -> Parameters {
    let refresh = Bootstrapping {
        slots_to_coefficients: 1,
        coefficients_to_slots: 2,
        transform_bits: 58,
        scale_bits: 59,
        ratio_bits: 14,
        range: 16,
        degree: 56,
        doublings: 2,
        arcsine: 1,
        secret: BootstrapSecret::Encapsulated { weight: 32, special: 2 },
    };
    Parameters::builder().log_n(11).levels(8).scale_bits(50).bootstrapping(refresh).insecure_build().unwrap()
}

#[test]
fn components_of_encrypted_samples_are_those_of_the_clear_reading() {
    let parameters = toy();
    let data = samples(90, 4);
    let settings = PcaSettings { features: 4, samples: 90, components: 2, iterations: 6, largest: 3.0 };
    let pca = Pca::new(settings, parameters.slots()).unwrap();
    let circuit = Bootstrapper::with_slots(&parameters, pca.period()).unwrap();
    let mut generator = KeyGenerator::from_seed(&parameters, &Seed::from_bytes([9; 32]));
    let keys = generator.evaluation_keys(&pca.keys(&circuit).unwrap()).unwrap();
    let (encryptor, decryptor) = (generator.encryptor(), generator.decryptor());
    let evaluator = Evaluator::new(&parameters, &Device::cpu(), &keys).unwrap();
    let refresher = circuit.prepare(&evaluator).unwrap();
    let encrypt = |vector| encryptor.encrypt_complex(&[vector], parameters.max_level()).unwrap();
    let encrypted = load(pca.pack(&data).unwrap(), |vector| evaluator.load(&encrypt(vector)).unwrap());
    let read = |value: &Ciphertext| decryptor.decrypt(&value.to_host().unwrap()).unwrap().swap_remove(0);
    let (got, refreshes) = fit(&pca, &evaluator, &refresher, &encrypted, &read);
    let (expected, planned) = fit_clear(&pca, parameters.slots(), &data, PlannedRefresh::from(&circuit));
    assert_eq!(refreshes, planned);
    for (got, expected) in got.iter().zip(&expected) {
        let apart = got.direction.iter().zip(&expected.direction).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-3 && (got.variance - expected.variance).abs() < 1e-3, "{got:?} {expected:?}");
    }
}

#[test]
fn what_cannot_be_fitted_is_an_error() {
    let settings = PcaSettings { features: 4, samples: 20, components: 2, iterations: 4, largest: 3.0 };
    let new = |settings| Pca::new(settings, 64).map(|_| ());
    assert!(new(settings).is_ok());
    for bad in [
        PcaSettings { features: 1, ..settings },
        PcaSettings { samples: 0, ..settings },
        PcaSettings { components: 0, ..settings },
        PcaSettings { components: 5, ..settings },
        PcaSettings { iterations: 0, ..settings },
        PcaSettings { largest: 4.5, ..settings },
        PcaSettings { largest: f64::NAN, ..settings },
        PcaSettings { largest: -1.0, ..settings },
    ] {
        assert!(matches!(new(bad), Err(Error::InvalidParameter { .. })), "{bad:?}");
    }
    for features in [9, usize::MAX] {
        let wide = PcaSettings { features, ..settings };
        assert!(matches!(new(wide), Err(Error::TooManyValues { slots: 64, .. })), "{features}");
    }
    assert!(matches!(Pca::new(settings, 60), Err(Error::InvalidParameter { what: "slots", .. })));

    let pca = Pca::new(settings, 64).unwrap();
    let data = samples(20, 4);
    assert!(pca.pack(&data).is_ok());
    assert!(matches!(pca.pack(&data[1..]), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(pca.pack(&samples(20, 3)), Err(Error::ShapeMismatch { .. })));
    let mut bad = data.clone();
    bad[1][2] = f64::INFINITY;
    assert!(matches!(pca.pack(&bad), Err(Error::BadValue { index: 6, .. })));
    bad[1][2] = 100.0;
    assert!(matches!(pca.pack(&bad), Err(Error::BadValue { index: 2, .. })));
    assert!(matches!(pca.unpack(&[Complex64::ONE; 15]), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(pca.unpack(&[Complex64::ZERO; 64]), Err(Error::BadValue { .. })));
    assert!(matches!(pca.unpack(&[Complex64::from(f64::NAN); 64]), Err(Error::BadValue { .. })));

    let refresh = PlannedRefresh { input: Level(1), output: Level(7) };
    assert!(matches!(pca.keys_between(refresh), Err(Error::LevelExhausted { needed: 7, left: 6, .. })));
    let clear = Clear::new(64, refresh.output);
    let value = clear.value(&[vec![]], refresh.output).unwrap();
    let short = PcaSamples { rows: vec![value.clone()], columns: vec![value] };
    assert!(matches!(pca.covariance(&clear, &short), Err(Error::ShapeMismatch { .. })));
}
