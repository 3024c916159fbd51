//! Models deeper than their levels: values are refreshed on the way, and the answers stay what they are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::devices;
use ringlight::circuit::Matrix;
use ringlight::ckks::{BootstrapSecret, Bootstrapping, HostCiphertext, Magnitude, Parameters};
use ringlight::math::Seed;
use ringlight::ml::{
    Activation, Approximate, Bootstraps, Deployment, Layer, Model, ModelBuilder, Packing, Server, Settings,
};
use ringlight::{Error, Result};
use std::ops::ControlFlow;

fn numbers(count: usize, seed: f64) -> Vec<f64> {
    (0..count).map(|i| (i as f64 * 1.7 + seed).sin()).collect()
}

fn dense(rows: usize, columns: usize, seed: f64) -> Layer {
    let entries = numbers(rows * columns, seed).iter().map(|x| 1.5 * x / columns as f64).collect();
    let bias = numbers(rows, seed + 0.1).iter().map(|x| 0.3 * x).collect();
    Layer::Dense { weights: Matrix::new(rows, columns, entries).unwrap(), bias }
}

fn samples(model: &Model, count: usize) -> Vec<Vec<f64>> {
    (0..count).map(|s| numbers(model.inputs(), s as f64)).collect()
}

/// Six levels between refreshes: **it protects nothing**.
fn toy() -> Parameters {
    let refresh = Bootstrapping {
        slots_to_coefficients: 2,
        coefficients_to_slots: 2,
        transform_bits: 51,
        scale_bits: 51,
        ratio_bits: 12,
        range: 16,
        degree: 56,
        doublings: 2,
        arcsine: 1,
        secret: BootstrapSecret::Encapsulated { weight: 32, special: 2 },
    };
    Parameters::builder().log_n(11).levels(8).scale_bits(42).bootstrapping(refresh).insecure_build().unwrap()
}

fn settings(packing: Packing, calibration: Vec<Vec<f64>>) -> Settings {
    let approximate = Approximate { calibration, ..Approximate::default() };
    Settings { approximate, ..Settings::new(packing) }
}

/// Dense layers with an activation after each.
fn perceptron(activations: &[Activation]) -> Model {
    let layers = activations
        .iter()
        .zip(1..)
        .flat_map(|(activation, k)| [dense(4 + k % 2, 5 - k % 2, k as f64), Layer::Activation(activation.clone())]);
    Model::from_layers(vec![4], layers.collect()).unwrap()
}

/// `h <- h + W act(V h + b)`, over and over.
fn residual(blocks: usize, activation: &Activation) -> Model {
    let mut builder = ModelBuilder::new(vec![6]).unwrap();
    let mut h = builder.add("first", dense(6, 6, 0.5), vec![0]).unwrap();
    for block in 0..blocks {
        let inner = builder.add(&format!("inner {block}"), dense(8, 6, block as f64), vec![h]).unwrap();
        let active = builder.add(&format!("act {block}"), Layer::Activation(activation.clone()), vec![inner]).unwrap();
        let outer = builder.add(&format!("outer {block}"), dense(6, 8, 0.3 + block as f64), vec![active]).unwrap();
        h = builder.add(&format!("sum {block}"), Layer::Add, vec![h, outer]).unwrap();
    }
    builder.build(h).unwrap()
}

fn largest(values: &[Vec<f64>]) -> f64 {
    values.iter().flatten().fold(0.0, |most, x| most.max(x.abs()))
}

fn largest_difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Both packings, in the clear: with refreshes, and close to the model's definition relative to its answers.
fn check(model: &Model, close: f64) -> [Deployment; 2] {
    let samples = samples(model, 24);
    let want = model.predict_clear(&samples).unwrap();
    [Packing::Latency, Packing::Batch].map(|packing| {
        let settings = settings(packing, samples.clone());
        let deployment = Deployment::with_parameters(model, &settings, &toy()).unwrap();
        let explanation = deployment.explain(Magnitude::new(0.7, 1.0).unwrap()).unwrap();
        assert!(explanation.bootstraps > 0);
        let entries = |shape: &[usize]| if packing == Packing::Latency { 1 } else { shape.iter().product() };
        let refreshes = explanation.steps.iter().filter(|step| step.operation == "refresh");
        assert_eq!(explanation.bootstraps, refreshes.map(|step| entries(&step.shape)).sum::<usize>());
        let got = deployment.circuit().predict_clear(&samples).unwrap();
        let off = largest_difference(&got, &want) / largest(&want);
        assert!(off < close, "{off}");
        deployment
    })
}

#[test]
fn deep_models_are_what_they_are_defined_to_be() {
    use Activation::{Polynomial, Relu, Sigmoid, Square, Tanh};
    check(&perceptron(&[Sigmoid, Tanh, Relu, Sigmoid]), 0.1);
    check(&perceptron(&[Square, Square, Square, Square, Square, Square]), 1e-6);
    check(&perceptron(&vec![Polynomial(vec![3.0, 0.2, -0.4, 0.1]); 4]), 1e-6);
    check(&residual(5, &Square), 1e-6);
    check(&residual(4, &Tanh), 0.1);
}

#[test]
fn encrypted_answers_are_those_in_the_clear() -> Result<()> {
    use Activation::{Sigmoid, Square, Tanh};
    let models = [
        perceptron(&[Sigmoid, Tanh, Sigmoid, Tanh]),
        perceptron(&[Square, Square, Square, Square, Square, Square]),
        residual(4, &Square),
        residual(3, &Tanh),
    ];
    // A software adapter takes its time: one run there.
    for (model, others) in models.iter().zip([2, 0, 0, 0]) {
        for (deployment, most) in check(model, 0.1).into_iter().zip([1 + others, 1]) {
            let samples = samples(model, 2);
            let clear = deployment.circuit().predict_clear(&samples)?;
            let explanation = deployment.explain(Magnitude::new(0.7, 1.0)?)?;
            let deviation = explanation.steps.last().unwrap().deviation;
            let seed = Seed::from_bytes([5; 32]);
            let simulated = deployment.simulate(&samples, &seed)?;
            assert!(largest_difference(&simulated, &clear) < 8.0 * deviation);

            let client = deployment.client_from_seed(&seed)?;
            let request = client.encrypt(&samples)?;
            let mut digests = Vec::new();
            for device in devices().into_iter().take(most) {
                let server = Server::new(&deployment, &device, client.evaluation_keys())?;
                let answer = server.run(&request)?;
                digests.push(answer.iter().map(HostCiphertext::digest).collect::<Vec<_>>());
                let off = largest_difference(&client.decrypt(&answer, samples.len())?, &clear);
                assert!(off < 8.0 * deviation, "{off} where {deviation} is predicted, {}", device.name());
            }
            assert!(digests.iter().all(|digest| digest == &digests[0]));
        }
    }
    Ok(())
}

/// Fourteen squares in a row: 28 levels.
fn squares() -> Model {
    perceptron(&vec![Activation::Square; 14])
}

#[test]
fn bootstraps_come_where_a_smaller_ring_or_any_ring_asks_for_them() -> Result<()> {
    use Bootstraps::{Always, Automatic, Never};
    let (shallow, deeper) = (perceptron(&[Activation::Square]), perceptron(&vec![Activation::Square; 40]));
    let with = |model: &Model, packing, bootstraps| {
        let settings = Settings { bootstraps, ..settings(packing, samples(model, 8)) };
        let deployment = Deployment::with_settings(model, &settings)?;
        assert!(deployment.parameters().security().is_some());
        let able = deployment.parameters().bootstrapping().is_some();
        assert_eq!(able, deployment.bootstrapper().is_some() || bootstraps == Always);
        Ok::<_, Error>((deployment.parameters().log_n().get(), deployment.circuit().bootstraps()))
    };
    let deep = squares();
    assert_eq!(with(&shallow, Packing::Latency, Automatic)?, (13, 0));
    assert_eq!(with(&shallow, Packing::Latency, Always)?, (15, 0));
    assert_eq!(with(&deep, Packing::Latency, Never)?, (16, 0));
    let (log_n, bootstraps) = with(&deep, Packing::Latency, Automatic)?;
    assert!(log_n == 15 && (1..=4).contains(&bootstraps), "{bootstraps}");
    // Every feature would be refreshed.
    assert_eq!(with(&deep, Packing::Batch, Automatic)?, (16, 0));
    assert_eq!(with(&deeper, Packing::Latency, Never)?, (17, 0));
    assert_eq!(with(&deeper, Packing::Latency, Automatic)?.0, 15);
    Ok(())
}

#[test]
fn what_cannot_be_refreshed_is_an_error_that_helps() {
    match Deployment::with_parameters(&squares(), &settings(Packing::Latency, vec![]), &toy()) {
        Err(Error::BadModel { reason, .. }) => assert!(reason.contains("calibration"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // A polynomial of seven levels, where there are six.
    let long = perceptron(&vec![Activation::Polynomial(vec![0.005; 128]); 2]);
    match Deployment::with_parameters(&long, &settings(Packing::Batch, samples(&long, 4)), &toy()) {
        Err(Error::BadModel { reason, .. }) => assert!(reason.contains("too deep"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let plain = Parameters::builder().log_n(11).levels(8).insecure_build().unwrap();
    let refused = Deployment::with_parameters(&squares(), &settings(Packing::Batch, vec![]), &plain);
    assert!(matches!(refused, Err(Error::LevelExhausted { needed: 28, left: 8, .. })));
}

#[test]
fn refreshes_can_be_watched_and_stopped() -> Result<()> {
    let model = squares();
    let settings = settings(Packing::Latency, samples(&model, 8));
    let deployment = Deployment::with_parameters(&model, &settings, &toy())?;
    let explanation = deployment.explain(Magnitude::new(0.7, 1.0)?)?;
    let first = explanation.steps.iter().position(|step| step.operation == "refresh").unwrap();
    assert!(explanation.to_string().contains("bootstraps of") && explanation.svg().contains("refresh"));
    let client = deployment.client_from_seed(&Seed::from_bytes([6; 32]))?;
    let server = Server::new(&deployment, &devices()[0], client.evaluation_keys())?;
    let request = client.encrypt(&samples(&model, 1))?;
    let answer = server.run_watched(&request, &mut |progress| {
        if progress.done <= first { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(matches!(answer, Err(Error::Cancelled { done, .. }) if done == first + 1));
    Ok(())
}
