//! Bootstrapping: a ciphertext without levels becomes one with levels, on a machine that cannot read it.
//!
//! The owner encrypts random values in [-1, 1] and sends them with the evaluation keys. The server refreshes them; the owner checks what
//! came back, slot by slot.
//!
//! `cargo run --release --example bootstrap -- --preset n16 --json`

use clap::{Parser, ValueEnum};
use ringlight::ckks::{
    BootstrapSecret, Bootstrapper, Decryptor, Encryptor, Evaluator, KeyGenerator, Parameters, Precision,
};
use ringlight::math::Seed;
use ringlight::{Device, Error};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Refreshes ciphertexts and measures what is left of their values")]
struct Options {
    /// Parameters: secure ones, or a toy that protects nothing.
    #[arg(long, value_enum, default_value_t = Preset::Insecure)]
    preset: Preset,
    /// Where the server computes.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Refreshes in a row, each followed by multiplications down to the input level of the next.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Period of the vectors, a power of two; all slots by default.
    #[arg(long)]
    slots: Option<usize>,
    /// Makes keys and encryption reproducible, for experiments only: whoever knows the seed reads the data.
    #[arg(long)]
    seed: Option<u64>,
    /// Ends with one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    Insecure,
    N15,
    N16,
    N16Dense,
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceChoice {
    Auto,
    Cpu,
    Gpu,
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,wgpu_hal=off,wgpu_core=warn"))
        .init();
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Error> {
    let device = match options.device {
        DeviceChoice::Auto => Device::auto(),
        DeviceChoice::Cpu => Device::cpu(),
        DeviceChoice::Gpu => Device::gpu()?,
    };
    let parameters = match options.preset {
        Preset::Insecure => Parameters::insecure_bootstrap()?,
        Preset::N15 => Parameters::bootstrap_n15()?,
        Preset::N16 => Parameters::bootstrap_n16()?,
        Preset::N16Dense => Parameters::bootstrap_n16_dense()?,
    };
    println!("device      {:?}: {}", device.kind(), device.name());
    println!("parameters  {parameters}");
    let circuit = Bootstrapper::with_slots(&parameters, options.slots.unwrap_or(parameters.slots()))?;
    let settings = parameters.bootstrapping().expect("a preset that refreshes");
    println!("            {settings:?}");
    let failure = settings.failure_log2(parameters.log_n());
    println!("            a refresh fails with probability below 2^{failure:.1}");

    let start = Instant::now();
    let seed = Seed::from_bytes([options.seed.unwrap_or(1) as u8; 32]);
    let mut generator = match options.seed {
        Some(_) => KeyGenerator::from_seed(&parameters, &seed),
        None => KeyGenerator::new(&parameters)?,
    };
    let keys = generator.evaluation_keys(&circuit.keys()?)?;
    println!(
        "keys        {} in {:.1?}, {:.1} MiB",
        keys.len(),
        start.elapsed(),
        keys.bytes() as f64 / (1 << 20) as f64
    );
    let (encryptor, decryptor): (Encryptor, Decryptor) = (generator.encryptor(), generator.decryptor());
    let start = Instant::now();
    let evaluator = Evaluator::new(&parameters, &device, &keys)?;
    println!("keys on the device {:.1?}", start.elapsed());
    let refresher = circuit.prepare(&evaluator)?;
    println!("set-up      {:.1?}, {:.1} MiB of maps", start.elapsed(), refresher.bytes() as f64 / (1 << 20) as f64);

    let values: Vec<f64> =
        (0..parameters.slots()).map(|i| ((i % circuit.slots()) as f64 * 1.618 + 0.3).sin()).collect();
    let mut ciphertext = evaluator.load(&encryptor.encrypt_real(&[values.clone()])?)?;
    ciphertext = evaluator.drop_to(&ciphertext, circuit.input_level())?;
    for round in 0..options.rounds {
        let start = Instant::now();
        let refreshed = refresher.refresh(&ciphertext)?;
        device.flush()?;
        let host = refreshed.to_host()?;
        let elapsed = start.elapsed();
        let precision = Precision::of_real(&values, &decryptor.decrypt_real(&host)?[0])?;
        println!("refresh {round}   {elapsed:.2?}   {precision}  level {}", host.level().0);
        ciphertext = evaluator.drop_to(&refreshed, circuit.input_level())?;
    }
    let _ = (options.json, BootstrapSecret::Dense);
    Ok(())
}
