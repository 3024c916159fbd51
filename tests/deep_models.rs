//! Models deeper than their levels: values are refreshed on the way, and the answers stay what they are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::devices;
use ringlight::circuit::Matrix;
use ringlight::ckks::{BootstrapSecret, Bootstrapping, Magnitude, Parameters};
use ringlight::math::Seed;
use ringlight::ml::{
    Activation, Approximate, Bootstraps, Deployment, Explanation, Layer, Model, ModelBuilder, Packing, Server, Settings,
};
use ringlight::{Error, Result};
use std::ops::ControlFlow;

const SQUARE: Layer = Layer::Activation(Activation::Square);

fn numbers(count: usize, seed: f64) -> Vec<f64> {
    (0..count).map(|i| (i as f64 * 1.7 + seed).sin()).collect()
}

fn dense(rows: usize, columns: usize, seed: f64) -> Layer {
    let most = 2.0 / (columns as f64).sqrt();
    let entries = numbers(rows * columns, seed).iter().map(|x| x * most).collect();
    Layer::Dense { weights: Matrix::new(rows, columns, entries).unwrap(), bias: numbers(rows, seed + 0.1) }
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
        println!("{explanation}");
        assert!(explanation.bootstraps > 0);
        assert!(explanation.steps.iter().all(|step| step.level <= deployment.parameters().max_level()));
        let got = deployment.circuit().predict_clear(&samples).unwrap();
        let off = largest_difference(&got, &want) / largest(&want);
        assert!(off < close, "{off}");
        deployment
    })
}

fn refreshes(explanation: &Explanation) -> usize {
    explanation.steps.iter().filter(|step| step.operation == "refresh").count()
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
