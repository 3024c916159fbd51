//! Models under encryption: every device gives the same bits, and the answers differ from those in the clear by the predicted noise.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::devices;
use ringlight::circuit::Matrix;
use ringlight::ckks::{Evaluator, HostCiphertext, KeyGenerator, Limits, Magnitude};
use ringlight::math::Seed;
use ringlight::ml::{
    Activation, Approximate, Conv2d, Deployment, EncryptedModel, Layer, Mode, Model, ModelBuilder, Packing, Pool2d,
    PrivateDeployment, Server, Settings,
};
use ringlight::{Error, Result};
use std::ops::ControlFlow;

fn numbers(count: usize, seed: f64) -> Vec<f64> {
    (0..count).map(|i| (i as f64 * 1.7 + seed).sin()).collect()
}

/// A strided convolution, an activation, pooling and a dense layer.
fn model(activation: Activation) -> Model {
    let conv = Conv2d {
        weights: numbers(27, 0.2).iter().map(|w| w / 5.0).collect(),
        shape: [3, 1, 3, 3],
        bias: numbers(3, 0.5),
        stride: [2, 2],
        padding: [1, 1, 0, 0],
        dilation: [1, 1],
        groups: 1,
    };
    let pool = Pool2d { kernel: [2, 2], stride: [2, 2], padding: [0; 4], count_padding: true };
    let weights = Matrix::new(4, 12, numbers(48, 0.9)).unwrap();
    let layers = vec![
        Layer::Conv2d(conv),
        Layer::Activation(activation),
        Layer::AveragePool(pool),
        Layer::Reshape(vec![12]),
        Layer::Dense { weights, bias: numbers(4, 0.1) },
        Layer::Activation(Activation::Softmax { axis: 0 }),
    ];
    Model::from_layers(vec![1, 8, 8], layers).unwrap()
}

fn samples(count: usize) -> Vec<Vec<f64>> {
    (0..count).map(|s| numbers(64, s as f64)).collect()
}

fn largest_difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn encrypted_answers_are_the_simulated_ones() -> Result<()> {
    let samples = samples(3);
    // A software adapter takes its time: the deep one runs on the CPU alone.
    for (activation, settled, most) in [(Activation::Square, 1e-9, 3), (Activation::Sigmoid, 0.05, 1)] {
        let model = model(activation);
        let exact = model.predict_clear(&samples)?;
        for packing in [Packing::Latency, Packing::Batch] {
            let approximate = Approximate { calibration: samples.clone(), ..Approximate::default() };
            let deployment = Deployment::with_settings(&model, &Settings { approximate, ..Settings::new(packing) })?;
            let clear = deployment.circuit().predict_clear(&samples)?;
            assert!(largest_difference(&clear, &exact) < settled);
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
                let answers = client.decrypt(&answer, samples.len())?;
                // A softmax does not enlarge a difference.
                let off = largest_difference(&answers, &clear);
                assert!(off < 8.0 * deviation, "{off} where {deviation} is predicted, {}", device.name());
            }
            assert!(digests.iter().all(|digest| digest == &digests[0]));
        }
    }
    Ok(())
}

#[test]
fn a_server_can_be_watched_and_stopped() -> Result<()> {
    let deployment = Deployment::new(&model(Activation::Square), Packing::Batch)?;
    let client = deployment.client_from_seed(&Seed::from_bytes([6; 32]))?;
    let server = Server::new(&deployment, &devices()[0], client.evaluation_keys())?;
    let request = client.encrypt(&samples(1))?;
    let mut names = Vec::new();
    let answer = server.run_watched(&request, &mut |progress| {
        names.push(progress.next.to_string());
        if progress.done < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(matches!(answer, Err(Error::Cancelled { done: 2, steps: 3 })));
    assert_eq!(names, ["0", "1", "2, 3, 4"]);
    Ok(())
}

#[test]
fn parts_of_a_batch_give_the_bits_of_the_whole() -> Result<()> {
    let model = model(Activation::Square);
    let deployment = Deployment::new(&model, Packing::Batch)?;
    let parameters = deployment.parameters();
    let mut keys = KeyGenerator::from_seed(parameters, &Seed::from_bytes([8; 32]));
    let evaluation_keys = keys.evaluation_keys(&deployment.key_request())?;
    let (circuit, top) = (deployment.circuit(), parameters.max_level());
    let packed = circuit.packer().pack(&samples(2))?;
    let sent = keys.encryptor().encrypt_complex(&packed, top)?;
    for device in devices() {
        let eval = Evaluator::new(parameters, &device, &evaluation_keys)?;
        let x = eval.load(&sent)?;
        let whole = circuit.prepare(&eval, top)?.run(&eval, std::slice::from_ref(&x))?.remove(0);
        let vectors = x.batch();
        let parts = (0..vectors).step_by(23).map(|first| x.slice(first, 23.min(vectors - first)));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        assert_eq!(parts.len(), 3);
        let answers = circuit.clone().in_parts_of(23).prepare(&eval, top)?.run(&eval, &parts)?;
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].to_host()?.digest(), whole.to_host()?.digest(), "{}", device.name());
        // Hidden values and answers in several parts.
        let parts = (0..vectors).map(|v| x.slice(v, 1)).collect::<Result<Vec<_>>>()?;
        let answers = circuit.clone().in_parts_of(1).prepare(&eval, top)?.run(&eval, &parts)?;
        for (o, answer) in (0..4).zip(&answers) {
            assert_eq!(answer.to_host()?.digest(), whole.slice(o, 1)?.to_host()?.digest(), "{}", device.name());
        }
    }
    Ok(())
}

/// Weights that the server does not see: the answers are those of known weights, and what travels does not depend on them.
#[test]
fn weights_can_be_encrypted() -> Result<()> {
    let (samples, seed) = (samples(2), Seed::from_bytes([4; 32]));
    let compile = |factor: f64| {
        // A residual connection: sums without a level among the maps.
        let mut builder = ModelBuilder::new(vec![8])?;
        let numbers = |count, seed| numbers(count, seed).iter().map(|x| factor * x).collect::<Vec<_>>();
        let dense = |rows, seed| Layer::Dense {
            weights: Matrix::new(rows, 8, numbers(8 * rows, seed)).unwrap(),
            bias: numbers(rows, seed + 0.5),
        };
        let hidden = builder.add("hidden", dense(8, 0.3), vec![0])?;
        let square = builder.add("square", Layer::Activation(Activation::Square), vec![hidden])?;
        let sum = builder.add("sum", Layer::Sub, vec![square, hidden])?;
        let cube = builder.add("product", Layer::Mul, vec![sum, hidden])?;
        let end = builder.add("end", dense(3, 0.8), vec![cube])?;
        let model = builder.build(end)?;
        let private = PrivateDeployment::new(Deployment::new(&model, Packing::Latency)?)?;
        Ok::<_, Error>((model, private))
    };
    let samples: Vec<Vec<f64>> = samples.iter().map(|sample| sample[..8].to_vec()).collect();
    let (model, private) = compile(0.5)?;
    let client = private.client_from_seed(&seed)?;
    let encrypted = private.encrypt(&client)?;
    let mut bytes = vec![];
    encrypted.write_to(&mut bytes)?;
    let read = EncryptedModel::read_from(&bytes[..], &Limits::bytes(1 << 26))?;
    assert_eq!(read.bytes(), encrypted.bytes());

    let request = client.encrypt(&samples)?;
    assert_eq!(request.len(), 2, "a ciphertext a sample");
    let exact = model.predict_clear(&samples)?;
    let mut digests = Vec::new();
    for device in devices() {
        for model in [&encrypted, &read] {
            let server = Server::with_encrypted_weights(model, &device, client.evaluation_keys())?;
            let answer = server.run(&request)?;
            digests.push(answer.iter().map(HostCiphertext::digest).collect::<Vec<_>>());
            let off = largest_difference(&client.decrypt(&answer, 2)?, &exact);
            assert!(off < 1e-2, "{off}, {}", device.name());
        }
    }
    assert!(digests.iter().all(|digest| digest == &digests[0]));

    // Bytes in the clear are those of any other model of these shapes: they end where the first ciphertext begins.
    let (_, other) = compile(0.25)?;
    let mut other_bytes = vec![];
    other.encrypt(&other.client_from_seed(&Seed::from_bytes([5; 32]))?)?.write_to(&mut other_bytes)?;
    assert_eq!(bytes.len(), other_bytes.len());
    let header = usize::try_from(request[0].wire_bytes()).unwrap() - request[0].bytes();
    let clear = bytes.len() - encrypted.bytes() - header * read.ciphertexts();
    assert!(bytes[..clear] == other_bytes[..clear]);

    let batch = PrivateDeployment::new(Deployment::new(&model, Packing::Batch)?);
    assert!(matches!(batch, Err(Error::InvalidParameter { what: "packing", .. })));
    for cut in [0, 100, clear, clear + 10, bytes.len() - 1] {
        assert!(EncryptedModel::read_from(&bytes[..cut], &Limits::bytes(1 << 26)).is_err());
    }
    Ok(())
}

/// An exponential, a sum, a reciprocal and a product, under encryption.
#[test]
fn a_softmax_runs_encrypted() -> Result<()> {
    let dense = |rows, columns, seed| Layer::Dense {
        weights: Matrix::new(rows, columns, numbers(rows * columns, seed).iter().map(|w| 0.3 * w).collect()).unwrap(),
        bias: numbers(rows, seed + 0.5),
    };
    let softmax = Layer::Activation(Activation::Softmax { axis: 0 });
    let model = Model::from_layers(vec![4], vec![dense(3, 4, 0.3), softmax, dense(2, 3, 0.8)])?;
    let samples: Vec<Vec<f64>> = (0..8).map(|s| numbers(4, s as f64)).collect();
    let exact = model.predict_clear(&samples[..2])?;
    for (scale_bits, settled) in [(30, 1e-2), (50, 1e-8)] {
        let approximate = Approximate { calibration: samples.clone(), ..Approximate::default() };
        let settings = Settings { approximate, scale_bits, ..Settings::new(Packing::Latency) };
        let deployment = Deployment::with_settings(&model, &settings)?;
        let clear = deployment.predict(&samples[..2], Mode::Clear)?;
        assert!(largest_difference(&clear, &exact) < 0.02);
        let encrypted = deployment.predict(&samples[..2], Mode::Encrypted(&devices()[0]))?;
        let off = largest_difference(&encrypted, &clear);
        assert!(off < settled, "{off} at {}", deployment.parameters());
    }
    Ok(())
}
