//! Hits counted encrypted, and refreshes by the owner: the circuit against counting, encrypted against clear.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use num_complex::Complex64;
use ringlight::circuit::{Clear, ClearValue};
use ringlight::ckks::{
    BootstrapSecret, Bootstrapper, Bootstrapping, Ciphertext, Decryptor, Encryptor, Evaluator, HostCiphertext,
    KeyGenerator, KeyRequest, Parameters,
};
use ringlight::math::Seed;
use ringlight::ml::train::{
    Accuracy, ClientRefresh, LogisticRegression, LogisticSettings, MiniBatch, PlannedRefresh, Refresh, Trainable,
};
use ringlight::units::Level;
use ringlight::{Device, Error};
use std::cell::Cell;

type Samples = (Vec<Vec<f64>>, Vec<usize>);

const SETTINGS: LogisticSettings = LogisticSettings {
    features: 3,
    classes: 3,
    batch: 8,
    learning_rate: 0.8,
    momentum: 0.5,
    weight_bound: 8.0,
    logit_bound: 4.0,
    degree: 7,
};

/// Samples around a centre of their class, far enough from it that some are taken for another.
fn samples(count: usize, features: usize, classes: usize, seed: usize) -> Samples {
    let noise = |i: usize, f: usize| ((i * 37 + f * 101 + seed * 17) as f64 * 0.618).fract() * 2.4 - 1.2;
    let centre = |k: usize, f: usize| ((k * 5 + f * 3) as f64 * 0.37).sin() * 0.8;
    let one = |i: usize| (0..features).map(|f| centre(i % classes, f) + noise(i, f)).collect();
    ((0..count).map(one).collect(), (0..count).map(|i| i % classes).collect())
}

/// Loads vectors of the owner as values of some reading.
type Load<'a, V> = &'a dyn Fn(Vec<Complex64>) -> V;

fn start(training: &LogisticRegression) -> Vec<Complex64> {
    training.pack_weights(&training.start_weights(&Seed::from_bytes([0; 32])).unwrap()).unwrap()
}

fn mini_batch<V>(training: &LogisticRegression, (x, y): &Samples, load: Load<V>) -> MiniBatch<V> {
    let samples = training.pack_samples(x).unwrap().into_iter().map(load).collect();
    MiniBatch { samples, labels: load(training.pack_labels(y).unwrap()) }
}

fn held_out<V>(training: &LogisticRegression, (x, y): &Samples, load: Load<V>) -> (Accuracy, Vec<Vec<V>>, V) {
    let accuracy = training.accuracy(y.len()).unwrap();
    assert_eq!(accuracy.samples(), y.len());
    let chunks = x.chunks(training.capacity());
    let samples = chunks.map(|x| training.pack_samples(x).unwrap().into_iter().map(load).collect()).collect();
    let labels = load(accuracy.pack_labels(y).unwrap());
    (accuracy, samples, labels)
}

#[test]
fn hits_in_the_clear_reading_are_those_of_the_logits_in_every_layout() {
    let mut missed = 0;
    for (slots, features, classes, batch, groups, count) in [
        (512, 3, 3, 8, 1, 20),
        (1024, 3, 3, 8, 1, 32),
        (64, 3, 2, 30, 4, 32),
        (64, 3, 2, 30, 4, 5),
        (256, 6, 4, 30, 4, 37),
        (512, 7, 5, 13, 2, 40),
        (16, 3, 2, 7, 4, 8),
    ] {
        let settings = LogisticSettings { features, classes, batch, ..SETTINGS };
        let training = LogisticRegression::new(settings, slots).unwrap();
        assert_eq!((training.vectors(), count <= training.held_out_capacity()), (groups, true), "{slots} {batch}");
        let refresh = PlannedRefresh { input: Level(2), output: Level(8) };
        let clear = Clear::new(slots, refresh.output);
        let load = |vector: Vec<Complex64>| clear.value(&[vector], refresh.output).unwrap();
        let data = mini_batch(&training, &samples(batch, features, classes, 1), &load);
        let mut state = load(start(&training));
        for _ in 0..3 {
            state = training.step(&clear, &refresh, &state, &data).unwrap().state;
        }
        let (x, y) = samples(count, features, classes, 2);
        let (accuracy, values, labels) = held_out(&training, &(x.clone(), y.clone()), &load);
        let (ahead, counted) = training.count(&clear, &refresh, &accuracy, &state, &values, &labels).unwrap();
        let got = accuracy.unpack(&counted.hits.vectors()[0]).unwrap() * count as f64;

        let mut logits = vec![];
        for (value, chunk) in values.iter().zip(x.chunks(training.capacity())) {
            let value = training.logits(&clear, &ahead, value).unwrap();
            logits.extend(training.unpack_logits(&value.vectors()[0], chunk.len()).unwrap());
        }
        // Hits, and those where the nearest other logit is too close to tell.
        let (mut hits, mut close) = (0u32, 0u32);
        for (z, &label) in logits.iter().zip(&y) {
            let others = z.iter().enumerate().filter(|(k, _)| *k != label).map(|(_, z)| *z);
            let ahead = z[label] - others.fold(f64::NEG_INFINITY, f64::max);
            hits += u32::from(ahead >= accuracy.resolution());
            close += u32::from(ahead.abs() < accuracy.resolution());
        }
        let (least, most) = (f64::from(hits), f64::from(hits + close));
        assert!(got > least - 0.05 && got < most + 0.05, "{slots} {groups}: {got}, {least} to {most}");
        assert!(close <= 2, "{close} of {count} are too close for this test");
        missed += u32::try_from(count).unwrap() - hits;
    }
    assert!(missed > 5, "some samples are taken for another class");
}

/// A ring that protects nothing, with enough levels for a step, that refreshes by itself or not.
fn toy(bootstraps: bool) -> Parameters {
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
    let builder = Parameters::builder().log_n(11).levels(8).scale_bits(50);
    if bootstraps { builder.bootstrapping(refresh) } else { builder }.insecure_build().unwrap()
}

/// Counts before the first step and after the second, in one reading. Gives the decrypted counts, and the number of refreshes.
fn run<E: ringlight::circuit::Evaluator, R: Refresh<E>>(
    training: &LogisticRegression,
    eval: &E,
    refresh: &R,
    load: Load<E::Value>,
    read: &dyn Fn(&E::Value) -> Vec<Complex64>,
) -> (Vec<f64>, u32) {
    let batch = mini_batch(training, &samples(8, 3, 3, 1), load);
    let (accuracy, values, labels) = held_out(training, &samples(20, 3, 3, 2), load);
    let mut state = load(start(training));
    let (mut shares, mut refreshes) = (vec![], 0);
    for step in 0..3 {
        if step != 1 {
            let (refreshed, counted) = training.count(eval, refresh, &accuracy, &state, &values, &labels).unwrap();
            shares.push(accuracy.unpack(&read(&counted.hits)).unwrap());
            refreshes += counted.refreshes;
            state = refreshed;
        }
        let after = training.step(eval, refresh, &state, &batch).unwrap();
        refreshes += after.refreshes;
        state = after.state;
    }
    (shares, refreshes)
}

fn run_clear(training: &LogisticRegression, parameters: &Parameters, refresh: PlannedRefresh) -> (Vec<f64>, u32) {
    let clear = Clear::new(parameters.slots(), refresh.output);
    let load = |vector: Vec<Complex64>| clear.value(&[vector], refresh.output).unwrap();
    run(training, &clear, &refresh, &load, &|value: &ClearValue| value.vectors()[0].clone())
}

/// Everything of a toy's owner and server.
struct Both {
    evaluator: Evaluator,
    encryptor: Encryptor,
    decryptor: Decryptor,
}

impl Both {
    fn new(parameters: &Parameters, keys: &KeyRequest) -> Self {
        let mut generator = KeyGenerator::from_seed(parameters, &Seed::from_bytes([7; 32]));
        let keys = generator.evaluation_keys(keys).unwrap();
        let evaluator = Evaluator::new(parameters, &Device::cpu(), &keys).unwrap();
        Self { evaluator, encryptor: generator.encryptor(), decryptor: generator.decryptor() }
    }

    fn encrypt(&self, vector: Vec<Complex64>) -> HostCiphertext {
        self.encryptor.encrypt_complex(&[vector], self.evaluator.parameters().max_level()).unwrap()
    }

    fn decrypt(&self, host: &HostCiphertext) -> Vec<Complex64> {
        self.decryptor.decrypt(host).unwrap().swap_remove(0)
    }

    fn load(&self, vector: Vec<Complex64>) -> Ciphertext {
        self.evaluator.load(&self.encrypt(vector)).unwrap()
    }

    fn read(&self, value: &Ciphertext) -> Vec<Complex64> {
        self.decrypt(&value.to_host().unwrap())
    }
}

fn assert_near(got: &[f64], expected: &[f64]) {
    let near = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 2e-3);
    assert!(near && got.len() == expected.len(), "{got:?}, {expected:?}");
    assert!(expected[1] > 0.5 && expected[1] < 0.99, "{expected:?}");
}

#[test]
fn hits_counted_encrypted_between_bootstraps_are_those_of_the_clear_reading() {
    let parameters = toy(true);
    let training = LogisticRegression::new(SETTINGS, parameters.slots()).unwrap();
    let circuit = Bootstrapper::with_slots(&parameters, training.period()).unwrap();
    let toy = Both::new(&parameters, &training.keys(&circuit).unwrap());
    let refresher = circuit.prepare(&toy.evaluator).unwrap();
    let (got, refreshes) = run(&training, &toy.evaluator, &refresher, &|v| toy.load(v), &|c| toy.read(c));
    let (expected, planned) = run_clear(&training, &parameters, PlannedRefresh::from(&circuit));
    assert_near(&got, &expected);
    assert_eq!(refreshes, planned);
    // Logits of zero are ties of three.
    assert!((expected[0] - 0.25).abs() < 1e-3, "{expected:?}");
}

#[test]
fn the_owner_refreshes_where_the_server_cannot() {
    let parameters = toy(false);
    let training = LogisticRegression::new(SETTINGS, parameters.slots()).unwrap();
    let planned = PlannedRefresh::by_client(&parameters);
    let toy = Both::new(&parameters, &training.keys_between(planned).unwrap());
    let asked = Cell::new(0);
    let owner = ClientRefresh::new(|value: HostCiphertext| {
        assert_eq!((value.level(), value.batch()), (Level(0), 1));
        asked.set(asked.get() + 1);
        Ok(toy.encrypt(toy.decrypt(&value)))
    });
    let (got, refreshes) = run(&training, &toy.evaluator, &owner, &|v| toy.load(v), &|c| toy.read(c));
    let (expected, in_the_clear) = run_clear(&training, &parameters, planned);
    assert_near(&got, &expected);
    assert_eq!((refreshes, asked.get()), (in_the_clear, in_the_clear));
    assert_eq!(format!("{owner:?}"), "ClientRefresh(..)");

    // Answers that are none.
    let value = toy.load(start(&training));
    let refresh = |answer: &dyn Fn(HostCiphertext) -> Result<HostCiphertext, Error>| {
        ClientRefresh::new(answer).refresh(&toy.evaluator, &value).map(|_| ())
    };
    assert!(matches!(refresh(&Ok), Err(Error::ShapeMismatch { op: "ClientRefresh", .. })));
    let stopped = Error::Cancelled { done: 1, steps: 2 };
    assert_eq!(refresh(&|_| Err(stopped.clone())), Err(stopped.clone()));
    let other = Both::new(
        &Parameters::builder().log_n(10).levels(8).scale_bits(50).insecure_build().unwrap(),
        &KeyRequest::new(),
    );
    let foreign = |_| Ok(other.encrypt(vec![Complex64::ONE]));
    assert!(matches!(refresh(&foreign), Err(Error::ParameterMismatch { .. })));
}

#[test]
fn more_held_out_samples_than_there_is_room_for_are_an_error() {
    let training = LogisticRegression::new(SETTINGS, 512).unwrap();
    assert!(training.accuracy(training.held_out_capacity()).is_ok());
    for count in [0, training.held_out_capacity() + 1, usize::MAX] {
        assert!(matches!(training.accuracy(count), Err(Error::ShapeMismatch { .. })), "{count}");
    }
}
