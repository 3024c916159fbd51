//! The parts of a deployment as bytes: what is read is what was written, and hostile bytes are errors.
//!
//! One test alone takes the memory of the process: they run one after the other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Inputs;
use peak_alloc::PeakAlloc;
use ringlight::circuit::Matrix;
use ringlight::ckks::{HostCiphertext, Limits};
use ringlight::math::Seed;
use ringlight::ml::{
    Activation, Approximate, ClientBundle, Conv2d, Deployment, EncryptedModel, Layer, Model, Packing,
    PrivateDeployment, Server, Settings,
};
use ringlight::{Device, Error, Result};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MUTATIONS: u32 = 8_000;
const LIMITS: Limits = Limits { bytes: 1 << 26 };

fn numbers(count: usize, seed: f64) -> Vec<f64> {
    (0..count).map(|i| (i as f64 * 1.7 + seed).sin()).collect()
}

/// A convolution, an activation, a dense layer; a softmax for the client.
fn model(activation: Activation) -> Model {
    let conv = Conv2d {
        weights: numbers(8, 0.2),
        shape: [2, 1, 2, 2],
        bias: numbers(2, 0.5),
        stride: [2, 2],
        padding: [0; 4],
        dilation: [1, 1],
        groups: 1,
    };
    let dense = Layer::Dense { weights: Matrix::new(3, 8, numbers(24, 0.9)).unwrap(), bias: numbers(3, 0.1) };
    let layers = vec![
        Layer::Conv2d(conv),
        Layer::Activation(activation),
        Layer::Reshape(vec![8]),
        dense,
        Layer::Activation(Activation::Softmax { axis: 0 }),
    ];
    Model::from_layers(vec![1, 4, 4], layers).unwrap()
}

fn deployment(activation: Activation, packing: Packing) -> Deployment {
    let approximate = Approximate { calibration: vec![numbers(16, 1.0)], ..Approximate::default() };
    let settings = Settings { approximate, ..Settings::new(packing) };
    Deployment::with_settings(&model(activation), &settings).unwrap()
}

fn bytes_of(deployment: &Deployment) -> (Vec<u8>, Vec<u8>) {
    let (mut client, mut server) = (vec![], vec![]);
    deployment.client_bundle().write_to(&mut client).unwrap();
    deployment.write_to(&mut server).unwrap();
    (client, server)
}

fn what_is_read_is_what_was_written() -> Result<()> {
    let device = Device::cpu();
    let (seed, samples) = (Seed::from_bytes([9; 32]), [numbers(16, 0.3), numbers(16, 0.7)]);
    let polynomial = Activation::Polynomial(vec![0.1, 0.5, -0.25, 0.125]);
    for activation in [Activation::Square, polynomial, Activation::Tanh] {
        for packing in [Packing::Latency, Packing::Batch] {
            let here = deployment(activation.clone(), packing);
            let (for_client, for_server) = bytes_of(&here);
            let bundle = ClientBundle::read_from(&for_client[..], &LIMITS)?;
            let there = Deployment::read_from(&for_server[..], &LIMITS)?;
            assert_eq!(bytes_of(&there), (for_client, for_server), "one deployment, one encoding");
            assert_eq!(bundle.packer(), &here.circuit().packer());
            assert!(bundle.parameters().is_same(here.parameters()));

            let client = bundle.client_from_seed(&seed)?;
            let request = client.encrypt(&samples)?;
            let answer = Server::new(&there, &device, client.evaluation_keys())?.run(&request)?;
            // Another day: the same secret from the owner's disk.
            let mut secret = vec![];
            client.write_secret_to(&mut secret)?;
            let again = bundle.client_with_secret(&secret[..], &LIMITS)?;
            assert_eq!(again.decrypt(&answer, 2)?, client.decrypt(&answer, 2)?);
            let fresh = again.encrypt(&samples)?;
            assert!(fresh[0].digest() != request[0].digest(), "randomness is never used twice");
            // As if nothing had travelled.
            let own = here.client_from_seed(&seed)?;
            let expected = Server::new(&here, &device, own.evaluation_keys())?.run(&own.encrypt(&samples)?)?;
            let digests = |parts: &[HostCiphertext]| parts.iter().map(HostCiphertext::digest).collect::<Vec<_>>();
            assert_eq!(digests(&answer), digests(&expected));
            let answers = client.decrypt(&answer, 2)?;
            let exact = here.circuit().predict_clear(&samples)?;
            assert!(answers.iter().flatten().zip(exact.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }
    Ok(())
}

/// Changes a few bytes, cuts, repeats or removes a piece; the declared size follows half of the time.
fn mutate(bytes: &mut Vec<u8>, payload: usize, inputs: &mut Inputs) {
    for _ in 0..=inputs.below(3) {
        let size = u32::try_from(bytes.len()).unwrap();
        // Mostly behind the parameters, which have a test of their own.
        let first = if inputs.below(8) == 0 { 0 } else { u32::try_from(payload).unwrap().min(size - 1) };
        let at = (first + inputs.below(size - first)) as usize;
        match inputs.below(8) {
            0..3 => bytes[at] ^= 1 << inputs.below(8),
            3 => bytes[at] = u8::try_from(inputs.below(256)).unwrap(),
            // Varints of postcard that go on, and large ones.
            4 => bytes[at..].iter_mut().take(inputs.below(9) as usize).for_each(|byte| *byte = 0xff),
            5 => bytes.truncate(at.max(1)),
            6 => {
                let piece = bytes[at..(at + inputs.below(40) as usize).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => drop(bytes.drain(at..(at + inputs.below(40) as usize).min(bytes.len() - 1).max(at))),
        }
    }
    if inputs.below(4) > 0 && bytes.len() > payload {
        let size = (bytes.len() - payload) as u64;
        bytes[payload - 40..payload - 32].copy_from_slice(&size.to_le_bytes());
    }
}

fn hostile_bytes_are_errors() {
    let mut inputs = Inputs::new(7);
    let (mut accepted, mut refused) = (0, std::collections::BTreeMap::<&str, u32>::new());
    let sources = [Activation::Square, Activation::Polynomial(vec![0.1, 0.5, -0.25, 0.125])];
    for (activation, packing) in sources.into_iter().zip([Packing::Latency, Packing::Batch]) {
        let deployment = deployment(activation, packing);
        let header = usize::try_from(deployment.parameters().wire_bytes()).unwrap() + 48;
        let (for_client, for_server) = bytes_of(&deployment);
        drop(deployment);
        for round in 0..MUTATIONS / 2 {
            let server = round % 2 == 0;
            let mut bytes = if server { for_server.clone() } else { for_client.clone() };
            mutate(&mut bytes, header, &mut inputs);
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let read = if server {
                Deployment::read_from(&bytes[..], &LIMITS).map(|read| {
                    // Whatever it is now, it runs.
                    let sample = vec![0.5; read.circuit().packer().inputs()];
                    drop(read.circuit().predict_clear(&[sample]));
                })
            } else {
                ClientBundle::read_from(&bytes[..], &LIMITS).map(|read| {
                    drop(read.packer().pack(&[vec![0.5; read.packer().inputs()]]));
                })
            };
            let taken = ALLOCATOR.peak_usage().saturating_sub(before) as u64;
            assert!(taken < LIMITS.bytes, "{taken} bytes");
            match read {
                Ok(()) => accepted += 1,
                Err(Error::BadBytes { field, .. }) => *refused.entry(field).or_default() += 1,
                Err(_) => *refused.entry("another error").or_default() += 1,
            }
        }
    }
    println!("{accepted} accepted, refused at {refused:?}");
    for field in ["magic", "layout", "payload", "model", "packing", "layouts", "size", "fingerprint"] {
        assert!(refused.get(field).is_some_and(|&count| count > 0), "{field} was never refused");
    }
    assert!(accepted > 100);
}

fn limits_and_kinds_are_obeyed() {
    let (for_client, for_server) = bytes_of(&deployment(Activation::Square, Packing::Latency));
    let small = Limits::bytes(1000);
    assert!(matches!(Deployment::read_from(&for_server[..], &small), Err(Error::BadBytes { .. })));
    assert!(matches!(Deployment::read_from(&for_client[..], &LIMITS), Err(Error::BadBytes { field: "kind", .. })));
    assert!(matches!(ClientBundle::read_from(&for_server[..], &LIMITS), Err(Error::BadBytes { field: "kind", .. })));
    let private = PrivateDeployment::new(deployment(Activation::Square, Packing::Latency)).unwrap();
    let encrypted = private.encrypt(&private.client_from_seed(&Seed::from_bytes([3; 32])).unwrap()).unwrap();
    let mut sealed = vec![];
    encrypted.write_to(&mut sealed).unwrap();
    assert!(matches!(Deployment::read_from(&sealed[..], &LIMITS), Err(Error::BadBytes { field: "kind", .. })));
    assert!(matches!(EncryptedModel::read_from(&for_server[..], &LIMITS), Err(Error::BadBytes { field: "kind", .. })));
    for cut in 0..for_client.len() {
        assert!(ClientBundle::read_from(&for_client[..cut], &LIMITS).is_err());
    }
}

#[test]
fn bundles() {
    what_is_read_is_what_was_written().unwrap();
    limits_and_kinds_are_obeyed();
    hostile_bytes_are_errors();
}
