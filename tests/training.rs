//! Training: the circuit against the same descent in the clear, encrypted against clear, checkpoints.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use num_complex::Complex64;
use ringlight::circuit::{Clear, ClearValue, Matrix};
use ringlight::ckks::{BootstrapSecret, Bootstrapper, Bootstrapping, Evaluator, KeyGenerator, Parameters};
use ringlight::math::Seed;
use ringlight::ml::train::{
    Checkpoint, ClearTraining, LogisticRegression, LogisticSettings, MiniBatch, PlannedRefresh, Score, Trainable,
};
use ringlight::rlwe::wire::Limits;
use ringlight::units::Level;
use ringlight::{Device, Error};

const SETTINGS: LogisticSettings = LogisticSettings {
    features: 3,
    classes: 2,
    batch: 8,
    learning_rate: 0.5,
    momentum: 0.7,
    weight_bound: 8.0,
    logit_bound: 4.0,
    degree: 7,
};

type Samples = (Vec<Vec<f64>>, Vec<usize>);

/// Samples of alternating classes, each class around a centre of its own.
fn samples(count: usize, features: usize, classes: usize, seed: usize) -> Samples {
    let noise = |i: usize, f: usize| ((i * 37 + f * 101 + seed * 17) as f64 * 0.618).fract() - 0.5;
    let centre = |k: usize, f: usize| ((k * 5 + f * 3) as f64 * 0.37).sin() * 0.8;
    let one = |i: usize| (0..features).map(|f| centre(i % classes, f) + noise(i, f)).collect();
    ((0..count).map(one).collect(), (0..count).map(|i| i % classes).collect())
}

fn start(training: &LogisticRegression) -> Vec<Complex64> {
    training.pack_weights(&training.start_weights(&Seed::from_bytes([0; 32])).unwrap()).unwrap()
}

fn clear_batch(training: &LogisticRegression, clear: &Clear, (x, y): &Samples, level: Level) -> MiniBatch<ClearValue> {
    let value = |vector: Vec<Complex64>| clear.value(&[vector], level).unwrap();
    MiniBatch {
        samples: training.pack_samples(x).unwrap().into_iter().map(value).collect(),
        labels: value(training.pack_labels(y).unwrap()),
    }
}

fn distance(a: &Matrix, b: &Matrix) -> f64 {
    a.entries().iter().zip(b.entries()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// For two classes the polynomial's function is the softmax: at a high degree every layout gives what plain descent gives.
#[test]
fn steps_in_the_clear_reading_are_nesterov_s_descent_with_a_softmax() {
    for (slots, features, batch, groups) in
        [(64, 3, 8, 1), (256, 3, 8, 1), (64, 3, 30, 4), (64, 5, 3, 1), (64, 6, 13, 4), (16, 3, 2, 1), (16, 3, 7, 4)]
    {
        let settings = LogisticSettings { features, batch, degree: 127, ..SETTINGS };
        let training = LogisticRegression::new(settings, slots).unwrap();
        assert_eq!((training.vectors(), training.depth()), (groups, 10), "{slots} {features} {batch}");
        let refresh = PlannedRefresh { input: Level(2), output: Level(13) };
        let clear = Clear::new(slots, refresh.output);
        let mut reference = ClearTraining::new(settings).unwrap();
        let mut state = clear.value(&[start(&training)], refresh.output).unwrap();
        for step in 0..5 {
            // The last one is not full.
            let data = samples(batch - usize::from(step == 4), features, 2, step);
            let batch = clear_batch(&training, &clear, &data, refresh.output);
            let after = training.step(&clear, &refresh, &state, &batch).unwrap();
            assert_eq!(after.refreshes, u32::from(step > 0));
            state = after.state;
            let squares = reference.step(&data.0, &data.1).unwrap();
            let total = training.total(&clear, &after.squares).unwrap();
            let loss = training.unpack_loss(&total.vectors()[0], data.0.len(), 1).unwrap();
            assert!((loss - squares / data.0.len() as f64).abs() < 1e-9, "{loss} {squares}");
            let logits = training.logits(&clear, &state, &batch.samples).unwrap();
            let logits = training.unpack_logits(&logits.vectors()[0], data.0.len()).unwrap();
            let expected = reference.logits(&data.0).unwrap();
            let apart = logits.iter().flatten().zip(expected.iter().flatten()).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-9);
        }
        let weights = training.unpack_weights(&state.vectors()[0]).unwrap().remove(0);
        let expected = reference.weights().unwrap().remove(0);
        assert!(distance(&weights, &expected) < 1e-9, "{weights:?} {expected:?}");
        assert!(expected.entries().iter().any(|w| w.abs() > 0.3), "something was learnt");
    }
}

#[test]
fn several_classes_are_learnt_with_a_low_degree_as_with_the_softmax() {
    let settings = LogisticSettings { features: 6, classes: 5, batch: 40, logit_bound: 12.0, ..SETTINGS };
    let training = LogisticRegression::new(settings, 1024).unwrap();
    let refresh = PlannedRefresh { input: Level(1), output: Level(7) };
    let clear = Clear::new(1024, refresh.output);
    let data = samples(40, 6, 5, 1);
    let batch = clear_batch(&training, &clear, &data, refresh.output);
    let mut reference = ClearTraining::new(settings).unwrap();
    let mut state = clear.value(&[start(&training)], refresh.output).unwrap();
    let untrained = Score::new(&reference.logits(&data.0).unwrap(), &data.1).unwrap();
    for _ in 0..20 {
        state = training.step(&clear, &refresh, &state, &batch).unwrap().state;
        reference.step(&data.0, &data.1).unwrap();
    }
    let logits = training.logits(&clear, &state, &batch.samples).unwrap();
    let got = Score::new(&training.unpack_logits(&logits.vectors()[0], 40).unwrap(), &data.1).unwrap();
    let expected = Score::new(&reference.logits(&data.0).unwrap(), &data.1).unwrap();
    assert!((untrained.loss - 5f64.ln()).abs() < 1e-12, "{untrained:?}");
    assert!(got.accuracy > 0.85 && expected.accuracy > 0.85, "{got:?} {expected:?}");
    assert!(got.loss < 0.4 * untrained.loss, "{got:?}");
}

/// A ring that protects nothing, with enough levels for a step.
fn toy() -> Parameters {
    let refresh = Bootstrapping {
        slots_to_coefficients: 2,
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
fn encrypted_training_follows_the_clear_reading_and_goes_on_from_a_checkpoint() {
    let parameters = toy();
    let training = LogisticRegression::new(SETTINGS, parameters.slots()).unwrap();
    let circuit = Bootstrapper::with_slots(&parameters, training.period()).unwrap();
    let mut generator = KeyGenerator::from_seed(&parameters, &Seed::from_bytes([7; 32]));
    let keys = generator.evaluation_keys(&training.keys(&circuit).unwrap()).unwrap();
    let (encryptor, decryptor) = (generator.encryptor(), generator.decryptor());
    let evaluator = Evaluator::new(&parameters, &Device::cpu(), &keys).unwrap();
    let refresher = circuit.prepare(&evaluator).unwrap();

    let top = parameters.max_level();
    let load = |vector: Vec<Complex64>| evaluator.load(&encryptor.encrypt_complex(&[vector], top).unwrap()).unwrap();
    let planned = PlannedRefresh::from(&circuit);
    let clear = Clear::new(parameters.slots(), top);
    let mut expected = clear.value(&[start(&training)], top).unwrap();
    let mut state = load(start(&training));
    let mut stored = vec![];
    let data = [samples(8, 3, 2, 1), samples(5, 3, 2, 2)];
    let encrypted = data.each_ref().map(|(x, y)| MiniBatch {
        samples: training.pack_samples(x).unwrap().into_iter().map(load).collect(),
        labels: load(training.pack_labels(y).unwrap()),
    });
    for step in 0..3 {
        if step == 2 {
            let (state, history) = (state.to_host().unwrap(), vec![]);
            Checkpoint { training: [5; 32], epoch: 1, batch: 0, state, history }.write_to(&mut stored).unwrap();
        }
        let batch = clear_batch(&training, &clear, &data[step % 2], top);
        let clear_after = training.step(&clear, &planned, &expected, &batch).unwrap();
        expected = clear_after.state;
        let after = training.step(&evaluator, &refresher, &state, &encrypted[step % 2]).unwrap();
        assert_eq!(after.refreshes, u32::from(step > 0));
        state = after.state;
        let host = training.total(&evaluator, &after.squares).unwrap().to_host().unwrap();
        let loss = training.unpack_loss(&decryptor.decrypt(&host).unwrap()[0], data[step % 2].0.len(), 1).unwrap();
        let total = training.total(&clear, &clear_after.squares).unwrap();
        let want = training.unpack_loss(&total.vectors()[0], data[step % 2].0.len(), 1).unwrap();
        assert!((loss - want).abs() < 1e-4 && want > 0.05, "{loss} {want}");
    }
    let host = state.to_host().unwrap();
    let got = training.unpack_weights(&decryptor.decrypt(&host).unwrap()[0]).unwrap().remove(0);
    let want = training.unpack_weights(&expected.vectors()[0]).unwrap().remove(0);
    assert!(distance(&got, &want) < 1e-4, "{got:?} {want:?}");
    let logits = training.logits(&evaluator, &state, &encrypted[1].samples).unwrap().to_host().unwrap();
    let logits = training.unpack_logits(&decryptor.decrypt(&logits).unwrap()[0], 5).unwrap();
    let exact = training.logits(&clear, &expected, &clear_batch(&training, &clear, &data[1], top).samples).unwrap();
    let exact = training.unpack_logits(&exact.vectors()[0], 5).unwrap();
    assert!(logits.iter().flatten().zip(exact.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-3));

    // The third step once more, from the bytes.
    let limits = Limits::bytes(1 << 24);
    let resumed = Checkpoint::read_from(&stored[..], &parameters, &limits).unwrap();
    assert_eq!((resumed.training, resumed.epoch, resumed.batch, resumed.history.len()), ([5; 32], 1, 0, 0));
    let resumed = evaluator.load(&resumed.state).unwrap();
    let again = training.step(&evaluator, &refresher, &resumed, &encrypted[0]).unwrap().state;
    assert_eq!(again.to_host().unwrap().digest(), host.digest());

    // Bytes from outside: cut anywhere, or with another count, version or magic.
    for cut in [0, 3, 19, 20, 51, 52, 60, stored.len() / 2, stored.len() - 1] {
        assert!(Checkpoint::read_from(&stored[..cut], &parameters, &limits).is_err());
    }
    for at in [0, 4, 16, 19] {
        let mut other = stored.clone();
        other[at] ^= 0x40;
        let got = Checkpoint::read_from(&other[..], &parameters, &limits);
        assert!(matches!(got, Err(Error::BadBytes { .. } | Error::Stream { .. })), "{at}");
    }
    // Of another training: read as it is, for the caller to compare.
    for at in [20, 51] {
        let mut other = stored.clone();
        other[at] ^= 0x40;
        let mut training = [5; 32];
        training[at - 20] ^= 0x40;
        assert_eq!(Checkpoint::read_from(&other[..], &parameters, &limits).unwrap().training, training);
    }
}

#[test]
fn what_cannot_be_trained_is_an_error() {
    let new = |settings| LogisticRegression::new(settings, 64).map(|_| ());
    assert!(new(SETTINGS).is_ok());
    for bad in [
        LogisticSettings { features: 0, ..SETTINGS },
        LogisticSettings { classes: 1, ..SETTINGS },
        LogisticSettings { batch: 0, ..SETTINGS },
        LogisticSettings { batch: 33, ..SETTINGS },
        LogisticSettings { batch: usize::MAX, ..SETTINGS },
        LogisticSettings { learning_rate: 0.0, ..SETTINGS },
        LogisticSettings { learning_rate: f64::NAN, ..SETTINGS },
        LogisticSettings { momentum: 1.0, ..SETTINGS },
        LogisticSettings { weight_bound: -1.0, ..SETTINGS },
        LogisticSettings { logit_bound: f64::INFINITY, ..SETTINGS },
        LogisticSettings { degree: 0, ..SETTINGS },
        LogisticSettings { degree: 1 << 20, ..SETTINGS },
    ] {
        assert!(matches!(new(bad), Err(Error::InvalidParameter { .. })), "{bad:?}");
    }
    for wide in [LogisticSettings { features: 64, ..SETTINGS }, LogisticSettings { classes: usize::MAX, ..SETTINGS }] {
        assert!(matches!(new(wide), Err(Error::TooManyValues { slots: 64, .. })), "{wide:?}");
    }
    assert!(matches!(LogisticRegression::new(SETTINGS, 60), Err(Error::InvalidParameter { what: "slots", .. })));

    let training = LogisticRegression::new(SETTINGS, 64).unwrap();
    let (x, y) = samples(8, 3, 2, 1);
    assert!(matches!(training.pack_samples(&[]), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(training.pack_samples(&samples(9, 3, 2, 1).0), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(training.pack_samples(&samples(8, 4, 2, 1).0), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(training.pack_samples(&[vec![0.0, f64::NAN, 0.0]]), Err(Error::BadValue { index: 1, .. })));
    assert!(matches!(training.pack_labels(&[0, 2]), Err(Error::BadValue { index: 1, .. })));
    assert!(matches!(training.unpack_logits(&[Complex64::ZERO; 4], 8), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(training.unpack_logits(&start(&training), 9), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(training.unpack_loss(&[], 8, 1), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(training.unpack_loss(&start(&training), 0, 1), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(training.unpack_weights(&[]), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(Score::new(&[], &[]), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(Score::new(&[vec![0.0]], &[1]), Err(Error::BadValue { index: 0, .. })));
    let mut reference = ClearTraining::new(SETTINGS).unwrap();
    assert!(matches!(reference.step(&x, &y[1..]), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(reference.logits(&samples(8, 4, 2, 1).0), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(reference.logits(&[vec![0.0; 3], vec![]]), Err(Error::ShapeMismatch { .. })));
    for bad in [
        LogisticSettings { features: usize::MAX, ..SETTINGS },
        LogisticSettings { classes: usize::MAX, ..SETTINGS },
        LogisticSettings { features: 1 << 12, classes: 1 << 12, ..SETTINGS },
        LogisticSettings { features: 0, ..SETTINGS },
        LogisticSettings { batch: 0, ..SETTINGS },
        LogisticSettings { learning_rate: f64::NAN, ..SETTINGS },
    ] {
        assert!(matches!(ClearTraining::new(bad), Err(Error::InvalidParameter { .. })), "{bad:?}");
    }

    // A chain too short for a step, and a state beyond what a refresh takes.
    let short = PlannedRefresh { input: Level(1), output: Level(6) };
    let clear = Clear::new(64, short.output);
    let batch = clear_batch(&training, &clear, &(x, y), short.output);
    let state = clear.value(&[start(&training)], short.output).unwrap();
    let got = training.step(&clear, &short, &state, &batch).map(|_| ());
    assert_eq!(got, Err(Error::LevelExhausted { op: "LogisticRegression::step", needed: 6, left: 5 }));
    let large = clear.value(&[vec![Complex64::from(1.5); 64]], Level(3)).unwrap();
    let got = training.step(&clear, &short, &large, &batch).map(|_| ());
    assert!(matches!(got, Err(Error::BadValue { index: 0, .. })), "{got:?}");
}
