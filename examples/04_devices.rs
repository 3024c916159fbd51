//! 4 of 6. Devices: the same program on the CPU and on every GPU adapter found, with the same bits.
//!
//! `cargo run --release --example 04_devices -- --name llvmpipe`

use clap::Parser;
use ringlight::ckks::{Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Parameters};
use ringlight::rlwe::EvaluationKeys;
use ringlight::{Device, Error};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Runs one computation on every device and compares the bits")]
struct Options {
    /// Part of an adapter's name to look for.
    #[arg(long, default_value = "llvmpipe")]
    name: String,
}

/// `x^2 + rot_1(x^2)` for every vector of the batch.
fn compute(eval: &Evaluator, x: &HostCiphertext) -> Result<HostCiphertext, Error> {
    let square = eval.square(&eval.load(x)?)?;
    eval.add(&square, &eval.rotate(&square, 1)?)?.to_host()
}

fn on(device: &Device, p: &Parameters, keys: &EvaluationKeys, x: &HostCiphertext) -> Result<HostCiphertext, Error> {
    let eval = Evaluator::new(p, device, keys)?;
    compute(&eval, x)?; // compiles kernels, fills the pool
    let start = Instant::now();
    let y = compute(&eval, x)?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    println!(
        "  {:?} {}\n    {ms:.2} ms, transfers included; digest {}...",
        device.kind(),
        device.name(),
        &y.digest()[..24]
    );
    Ok(y)
}

fn main() -> Result<(), Error> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,wgpu_hal=off")).init();
    let options = Options::parse();

    println!("What is there:");
    let auto = Device::auto();
    println!("  auto: {:?} {}", auto.kind(), auto.name());
    let mut devices = vec![Device::cpu()];
    for (wish, found) in [("gpu", Device::gpu()), (options.name.as_str(), Device::gpu_matching(&options.name))] {
        match found {
            Ok(device) => {
                println!("  {wish}: {:?} {}", device.kind(), device.name());
                devices.push(device);
            }
            Err(error @ Error::NoAdapter { .. }) => println!("  {wish}: {error}"),
            Err(error) => return Err(error),
        }
    }
    let nobody = Device::gpu_matching("no adapter has this name");
    assert!(matches!(nobody, Err(Error::NoAdapter { .. })));

    let parameters = Parameters::n13()?;
    println!("\n{parameters}");
    let mut keys = KeyGenerator::new(&parameters)?;
    let evaluation_keys = keys.evaluation_keys(&KeyRequest::new().relinearization(true).rotations([1]))?;

    println!("\nOne ciphertext value holds a batch: here four vectors, and each operation acts on all of them.");
    let slots = parameters.slots();
    let entry = |b: usize, i: usize| ((b + 1) as f64 * 0.01 * (i % slots) as f64).sin();
    let vectors: Vec<Vec<f64>> = (0..4).map(|b| (0..slots).map(|i| entry(b, i)).collect()).collect();
    let x = keys.encryptor().encrypt_real(&vectors)?;
    assert_eq!(x.batch(), 4);

    let reference = on(&devices[0], &parameters, &evaluation_keys, &x)?;
    for device in &devices[1..] {
        let y = on(device, &parameters, &evaluation_keys, &x)?;
        assert_eq!(y.digest(), reference.digest(), "{} computes other bits than the CPU", device.name());
    }
    println!("  {} device(s), one digest", devices.len());

    println!("\nAnd the bits mean the right numbers, for every vector of the batch.");
    let got = keys.decryptor().decrypt_real(&reference)?;
    for (b, got) in got.iter().enumerate() {
        let want = |i: usize| entry(b, i).powi(2) + entry(b, i + 1).powi(2);
        let error = got.iter().enumerate().map(|(i, y)| (y - want(i)).abs()).fold(0.0, f64::max);
        println!("  vector {b}: error 2^{:.1}", error.log2());
        assert!(error < 2f64.powi(-10));
    }
    Ok(())
}
