//! Training a network with a hidden layer: the circuit against the same descent in the clear, encrypted against clear.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use num_complex::Complex64;
use ringlight::circuit::{Clear, ClearValue, Matrix};
use ringlight::ckks::{BootstrapSecret, Bootstrapper, Bootstrapping, Evaluator, KeyGenerator, Parameters};
use ringlight::math::Seed;
use ringlight::ml::train::{
    Checkpoint, LogisticSettings, MiniBatch, Mlp, MlpSettings, PlannedRefresh, Score, Trainable,
};
use ringlight::rlwe::wire::Limits;
use ringlight::units::Level;
use ringlight::{Device, Error};

const SETTINGS: MlpSettings = MlpSettings {
    training: LogisticSettings {
        features: 3,
        classes: 2,
        batch: 8,
        learning_rate: 0.5,
        momentum: 0.7,
        weight_bound: 4.0,
        logit_bound: 4.0,
        degree: 7,
    },
    hidden: 4,
    curvature: 0.3,
};

fn settings(features: usize, hidden: usize, classes: usize, batch: usize) -> MlpSettings {
    MlpSettings { training: LogisticSettings { features, classes, batch, ..SETTINGS.training }, hidden, ..SETTINGS }
}

type Samples = (Vec<Vec<f64>>, Vec<usize>);

/// Samples of alternating classes, each class around two centres on opposite sides, so that no plane tells them apart.
fn samples(count: usize, features: usize, classes: usize, seed: usize) -> Samples {
    let noise = |i: usize, f: usize| ((i * 37 + f * 101 + seed * 17) as f64 * 0.618).fract() - 0.5;
    let side = |i: usize| if (i / classes).is_multiple_of(2) { 1.0 } else { -1.0 };
    let centre = |k: usize, f: usize| ((k * 5 + f * 3) as f64 * 0.37).sin();
    let one = |i: usize| (0..features).map(|f| side(i) * centre(i % classes, f) + 0.4 * noise(i, f)).collect();
    ((0..count).map(one).collect(), (0..count).map(|i| i % classes).collect())
}

fn seed(byte: u8) -> Seed {
    Seed::from_bytes([byte; 32])
}

fn clear_batch(training: &Mlp, clear: &Clear, (x, y): &Samples, level: Level) -> MiniBatch<ClearValue> {
    let value = |vector: Vec<Complex64>| clear.value(&[vector], level).unwrap();
    MiniBatch {
        samples: training.pack_samples(x).unwrap().into_iter().map(value).collect(),
        labels: value(training.pack_labels(y).unwrap()),
    }
}

fn distance(a: &[Matrix], b: &[Matrix]) -> f64 {
    let entries = |layers: &[Matrix]| layers.iter().flat_map(Matrix::entries).copied().collect::<Vec<_>>();
    let (a, b) = (entries(a), entries(b));
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// For two classes the polynomial's function is the softmax: at a high degree every layout gives what plain descent gives.
#[test]
fn steps_in_the_clear_reading_are_nesterov_s_descent_with_a_softmax() {
    for (slots, features, hidden, batch, groups) in [
        (256, 3, 4, 8, 1),
        (1024, 3, 4, 8, 1),
        (128, 3, 4, 8, 1),
        (64, 3, 4, 8, 2),
        (128, 6, 3, 13, 4),
        (256, 5, 5, 7, 2),
        (32, 3, 1, 1, 1),
        (32, 3, 4, 4, 2),
    ] {
        let mut settings = settings(features, hidden, 2, batch);
        settings.training.degree = 127;
        let training = Mlp::new(settings, slots).unwrap();
        assert_eq!((training.vectors(), training.depth()), (groups, 15), "{slots} {features} {hidden} {batch}");
        let refresh = PlannedRefresh { input: Level(2), output: Level(13) };
        let clear = Clear::new(slots, refresh.output);
        let start = training.start_weights(&seed(3)).unwrap();
        let mut reference = training.in_the_clear(&start).unwrap();
        let mut state = clear.value(&[training.pack_weights(&start).unwrap()], refresh.output).unwrap();
        assert!(distance(&training.unpack_weights(&state.vectors()[0]).unwrap(), &start) < 1e-12);
        for step in 0..5 {
            // The last one is not full.
            let data = samples(if batch > 1 { batch - usize::from(step == 4) } else { 1 }, features, 2, step);
            let batch = clear_batch(&training, &clear, &data, refresh.output);
            let after = training.step(&clear, &refresh, &state, &batch).unwrap();
            assert_eq!(after.refreshes, 1 + u32::from(step > 0));
            state = after.state;
            let squares = reference.step(&data.0, &data.1).unwrap();
            let total = training.total(&clear, &after.squares).unwrap();
            let loss = training.unpack_loss(&total.vectors()[0], data.0.len(), 1).unwrap();
            assert!((loss - squares / data.0.len() as f64).abs() < 1e-9, "{loss} {squares}");
            let fresh = clear.value(state.vectors(), refresh.output).unwrap();
            let logits = training.logits(&clear, &fresh, &batch.samples).unwrap();
            let logits = training.unpack_logits(&logits.vectors()[0], data.0.len()).unwrap();
            let expected = reference.logits(&data.0).unwrap();
            let apart = logits.iter().flatten().zip(expected.iter().flatten()).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-9);
        }
        let weights = training.unpack_weights(&state.vectors()[0]).unwrap();
        let expected = reference.weights().unwrap();
        assert!(distance(&weights, &expected) < 1e-9, "{weights:?} {expected:?}");
        let moved = distance(&expected, &start);
        assert!(moved > 0.02, "something was learnt: {moved}");
    }
}

#[test]
fn a_hidden_layer_learns_several_classes_with_a_low_degree_as_with_the_softmax() {
    let mut settings = settings(6, 8, 3, 60);
    settings.training = LogisticSettings { logit_bound: 24.0, learning_rate: 0.15, ..settings.training };
    settings.curvature = 1.0;
    let training = Mlp::new(settings, 4096).unwrap();
    let refresh = PlannedRefresh { input: Level(2), output: Level(8) };
    let clear = Clear::new(4096, refresh.output);
    let data = samples(60, 6, 3, 1);
    let batch = clear_batch(&training, &clear, &data, refresh.output);
    let start = training.start_weights(&seed(1)).unwrap();
    let mut reference = training.in_the_clear(&start).unwrap();
    let mut state = clear.value(&[training.pack_weights(&start).unwrap()], refresh.output).unwrap();
    let untrained = Score::new(&reference.logits(&data.0).unwrap(), &data.1).unwrap();
    for _ in 0..40 {
        state = training.step(&clear, &refresh, &state, &batch).unwrap().state;
        reference.step(&data.0, &data.1).unwrap();
    }
    let fresh = clear.value(state.vectors(), refresh.output).unwrap();
    let logits = training.logits(&clear, &fresh, &batch.samples).unwrap();
    let got = Score::new(&training.unpack_logits(&logits.vectors()[0], 60).unwrap(), &data.1).unwrap();
    let expected = Score::new(&reference.logits(&data.0).unwrap(), &data.1).unwrap();
    assert!(untrained.accuracy < 0.6, "{untrained:?}");
    assert!(got.accuracy > 0.9 && expected.accuracy > 0.9, "{got:?} {expected:?}");
}

/// More held-out samples than a mini-batch holds lie at one unit after the other.
#[test]
fn hits_in_the_clear_reading_are_those_of_the_logits() {
    for (slots, features, hidden, classes, batch, count, groups) in
        [(1024, 3, 4, 3, 8, 8, 1), (1024, 5, 4, 3, 30, 30, 1), (128, 6, 3, 2, 13, 50, 4), (512, 7, 2, 4, 32, 60, 1)]
    {
        let training = Mlp::new(settings(features, hidden, classes, batch), slots).unwrap();
        assert_eq!((training.vectors(), count <= training.held_out_capacity()), (groups, true), "{slots} {batch}");
        // Levels for a whole step, as where the owner refreshes.
        let refresh = PlannedRefresh { input: Level(0), output: Level(12) };
        let clear = Clear::new(slots, refresh.output);
        // Logits that are far apart from the start.
        let larger =
            |m: Matrix| Matrix::new(m.rows(), m.columns(), m.entries().iter().map(|w| 2.5 * w).collect()).unwrap();
        let start: Vec<_> = training.start_weights(&seed(4)).unwrap().into_iter().map(larger).collect();
        let mut state = clear.value(&[training.pack_weights(&start).unwrap()], refresh.output).unwrap();
        for step in 0..2 {
            let batch = clear_batch(&training, &clear, &samples(batch, features, classes, step), refresh.output);
            let after = training.step(&clear, &refresh, &state, &batch).unwrap();
            assert_eq!(after.refreshes, u32::from(step > 0));
            state = after.state;
        }
        let (x, y) = samples(count, features, classes, 9);
        let accuracy = training.accuracy(count).unwrap();
        let value = |vector: Vec<Complex64>| clear.value(&[vector], refresh.output).unwrap();
        let pack = |x: &[Vec<f64>]| training.pack_samples(x).unwrap().into_iter().map(value).collect::<Vec<_>>();
        let values: Vec<Vec<_>> = x.chunks(training.capacity()).map(pack).collect();
        let labels = value(accuracy.pack_labels(&y).unwrap());
        let (ahead, counted) = training.count(&clear, &refresh, &accuracy, &state, &values, &labels).unwrap();
        let got = count as f64 * accuracy.unpack(&counted.hits.vectors()[0]).unwrap();
        let mut logits = vec![];
        for (value, chunk) in values.iter().zip(x.chunks(training.capacity())) {
            let value = training.logits(&clear, &ahead, value).unwrap();
            logits.extend(training.unpack_logits(&value.vectors()[0], chunk.len()).unwrap());
        }
        // Hits, and those where the nearest other logit is too close to tell.
        let (mut hits, mut close) = (0.0, 0.0);
        for (z, &label) in logits.iter().zip(&y) {
            let others = z.iter().enumerate().filter(|(k, _)| *k != label).map(|(_, z)| *z);
            let ahead = z[label] - others.fold(f64::NEG_INFINITY, f64::max);
            hits += f64::from(u8::from(ahead >= accuracy.resolution()));
            close += f64::from(u8::from(ahead.abs() < accuracy.resolution()));
        }
        assert!(got > hits - 0.05 && got < hits + close + 0.05, "{slots} {groups}: {got}, {hits} and {close}");
        assert!(8.0 * close <= count as f64 && hits > 2.0 && hits < count as f64, "{hits} of {count}, {close} close");
    }
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
    let training = Mlp::new(SETTINGS, parameters.slots()).unwrap();
    let circuit = Bootstrapper::with_slots(&parameters, training.period()).unwrap();
    let mut generator = KeyGenerator::from_seed(&parameters, &seed(7));
    let keys = generator.evaluation_keys(&training.keys(&circuit).unwrap()).unwrap();
    let (encryptor, decryptor) = (generator.encryptor(), generator.decryptor());
    let evaluator = Evaluator::new(&parameters, &Device::cpu(), &keys).unwrap();
    let refresher = circuit.prepare(&evaluator).unwrap();

    let top = parameters.max_level();
    let load = |vector: Vec<Complex64>| evaluator.load(&encryptor.encrypt_complex(&[vector], top).unwrap()).unwrap();
    let planned = PlannedRefresh::from(&circuit);
    let clear = Clear::new(parameters.slots(), top);
    let start = training.pack_weights(&training.start_weights(&seed(2)).unwrap()).unwrap();
    let mut expected = clear.value(std::slice::from_ref(&start), top).unwrap();
    let mut state = load(start);
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
        assert_eq!((after.refreshes, clear_after.refreshes), (1 + u32::from(step > 0), after.refreshes));
        state = after.state;
        let host = training.total(&evaluator, &after.squares).unwrap().to_host().unwrap();
        let loss = training.unpack_loss(&decryptor.decrypt(&host).unwrap()[0], data[step % 2].0.len(), 1).unwrap();
        let total = training.total(&clear, &clear_after.squares).unwrap();
        let want = training.unpack_loss(&total.vectors()[0], data[step % 2].0.len(), 1).unwrap();
        assert!((loss - want).abs() < 1e-4 && want > 0.05, "{loss} {want}");
    }
    let host = state.to_host().unwrap();
    let got = training.unpack_weights(&decryptor.decrypt(&host).unwrap()[0]).unwrap();
    let want = training.unpack_weights(&expected.vectors()[0]).unwrap();
    assert!(distance(&got, &want) < 1e-4, "{got:?} {want:?}");
    let fresh = ringlight::ml::train::Refresh::refresh(&refresher, &evaluator, &state).unwrap();
    let logits = training.logits(&evaluator, &fresh, &encrypted[1].samples).unwrap().to_host().unwrap();
    let logits = training.unpack_logits(&decryptor.decrypt(&logits).unwrap()[0], 5).unwrap();
    let fresh = clear.value(expected.vectors(), top).unwrap();
    let exact = training.logits(&clear, &fresh, &clear_batch(&training, &clear, &data[1], top).samples).unwrap();
    let exact = training.unpack_logits(&exact.vectors()[0], 5).unwrap();
    assert!(logits.iter().flatten().zip(exact.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-3));

    // Hits, from where the training stands.
    let (x, y) = samples(11, 3, 2, 5);
    let accuracy = training.accuracy(11).unwrap();
    let chunks = || x.chunks(training.capacity()).map(|x| training.pack_samples(x).unwrap());
    let values: Vec<Vec<_>> = chunks().map(|v| v.into_iter().map(load).collect()).collect();
    let labels = accuracy.pack_labels(&y).unwrap();
    let (_, hits) = training.count(&evaluator, &refresher, &accuracy, &state, &values, &load(labels.clone())).unwrap();
    let hits = accuracy.unpack(&decryptor.decrypt(&hits.hits.to_host().unwrap()).unwrap()[0]).unwrap();
    let value = |vector: Vec<Complex64>| clear.value(&[vector], top).unwrap();
    let values: Vec<Vec<_>> = chunks().map(|v| v.into_iter().map(value).collect()).collect();
    let (_, want) = training.count(&clear, &planned, &accuracy, &expected, &values, &value(labels)).unwrap();
    let want = accuracy.unpack(&want.hits.vectors()[0]).unwrap();
    assert!((hits - want).abs() < 0.01, "{hits} {want}");

    // The third step once more, from the bytes.
    let resumed = Checkpoint::read_from(&stored[..], &parameters, &Limits::bytes(1 << 24)).unwrap();
    let resumed = evaluator.load(&resumed.state).unwrap();
    let again = training.step(&evaluator, &refresher, &resumed, &encrypted[0]).unwrap().state;
    assert_eq!(again.to_host().unwrap().digest(), host.digest());
}

#[test]
fn what_cannot_be_trained_is_an_error() {
    let new = |settings| Mlp::new(settings, 256).map(|_| ());
    assert_eq!(new(SETTINGS), Ok(()));
    let common = |training| MlpSettings { training, ..SETTINGS };
    let t = SETTINGS.training;
    for bad in [
        MlpSettings { hidden: 0, ..SETTINGS },
        MlpSettings { curvature: 0.0, ..SETTINGS },
        MlpSettings { curvature: f64::NAN, ..SETTINGS },
        common(LogisticSettings { features: 0, ..t }),
        common(LogisticSettings { classes: 1, ..t }),
        common(LogisticSettings { batch: 0, ..t }),
        common(LogisticSettings { batch: usize::MAX, ..t }),
        common(LogisticSettings { momentum: -0.1, ..t }),
        common(LogisticSettings { degree: 0, ..t }),
        common(LogisticSettings { weight_bound: 0.0, ..t }),
        // Four groups of samples leave one copy of four features, five classes exceed four copies.
        common(LogisticSettings { batch: 64, ..t }),
        common(LogisticSettings { classes: 5, ..t }),
        common(LogisticSettings { classes: usize::MAX, ..t }),
    ] {
        assert!(matches!(new(bad), Err(Error::InvalidParameter { .. })), "{bad:?}");
    }
    for wide in [
        MlpSettings { hidden: 128, ..SETTINGS },
        MlpSettings { hidden: 64, ..common(LogisticSettings { batch: 1, ..t }) },
        MlpSettings { hidden: usize::MAX, ..SETTINGS },
        common(LogisticSettings { features: usize::MAX, ..t }),
    ] {
        assert!(matches!(new(wide), Err(Error::TooManyValues { slots: 256, .. })), "{wide:?}");
    }
    assert!(matches!(Mlp::new(SETTINGS, 60), Err(Error::InvalidParameter { what: "slots", .. })));

    let training = Mlp::new(SETTINGS, 256).unwrap();
    let (x, y) = samples(8, 3, 2, 1);
    let start = training.start_weights(&seed(1)).unwrap();
    let mismatch = |result: ringlight::Result<()>| assert!(matches!(result, Err(Error::ShapeMismatch { .. })));
    mismatch(training.pack_samples(&[]).map(|_| ()));
    mismatch(training.pack_samples(&samples(9, 3, 2, 1).0).map(|_| ()));
    mismatch(training.pack_labels(&[]).map(|_| ()));
    mismatch(training.pack_weights(&[start[1].clone(), start[0].clone()]).map(|_| ()));
    mismatch(training.in_the_clear(&[start[1].clone(), start[0].clone()]).map(|_| ()));
    mismatch(training.in_the_clear(&start).unwrap().logits(&samples(8, 4, 2, 1).0).map(|_| ()));
    mismatch(training.unpack_weights(&[]).map(|_| ()));
    mismatch(training.unpack_logits(&[Complex64::ZERO; 4], 8).map(|_| ()));
    mismatch(training.unpack_logits(&[Complex64::ZERO; 256], 9).map(|_| ()));
    mismatch(training.unpack_loss(&[], 8, 1).map(|_| ()));
    assert!(matches!(training.pack_labels(&[0, 2]), Err(Error::BadValue { index: 1, .. })));
    let large = [start[0].clone(), Matrix::new(2, 4, vec![4.5; 8]).unwrap()];
    assert!(matches!(training.pack_weights(&large), Err(Error::BadValue { index: 16, .. })));

    // A chain too short for either half of a step, too few vectors, and logits beyond what a refresh takes.
    let refresh = PlannedRefresh { input: Level(2), output: Level(8) };
    let clear = Clear::new(256, refresh.output);
    let batch = clear_batch(&training, &clear, &(x, y), refresh.output);
    let state = clear.value(&[training.pack_weights(&start).unwrap()], refresh.output).unwrap();
    let short = PlannedRefresh { input: Level(3), ..refresh };
    let got = training.step(&clear, &short, &state, &batch).map(|_| ());
    assert_eq!(got, Err(Error::LevelExhausted { op: "Mlp::step", needed: 6, left: 5 }));
    let low = clear.value(state.vectors(), Level(4)).unwrap();
    let got = training.logits(&clear, &low, &batch.samples).map(|_| ());
    assert_eq!(got, Err(Error::LevelExhausted { op: "Mlp::logits", needed: 5, left: 4 }));
    mismatch(training.logits(&clear, &state, &[]).map(|_| ()));
    let large = [Matrix::new(4, 4, vec![3.0; 16]).unwrap(), Matrix::new(2, 4, vec![3.9; 8]).unwrap()];
    let large = clear.value(&[training.pack_weights(&large).unwrap()], refresh.output).unwrap();
    let got = training.step(&clear, &refresh, &large, &batch).map(|_| ());
    assert!(matches!(got, Err(Error::BadValue { .. })), "{got:?}");
}
