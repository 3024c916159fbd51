//! Bootstrapping: a ciphertext without levels becomes one with levels, on a machine that cannot read it.
//!
//! The owner encrypts random numbers, real and imaginary parts in [-1, 1], and sends them with the evaluation keys. The server refreshes them; the owner checks what
//! came back, slot by slot. The example fails if the precision is not what the preset promises.
//!
//! `cargo run --release --example bootstrap -- --preset n16 --json`

#[path = "common/device.rs"]
mod device;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use clap::{Parser, ValueEnum};
use device::{DeviceChoice, seed_bytes};
use num_complex::Complex64;
use ringlight::Error;
use ringlight::ckks::{Bootstrapper, Evaluator, KeyGenerator, Parameters, Precision};
use ringlight::math::Seed;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(about = "Refreshes ciphertexts and measures what is left of their values")]
struct Options {
    /// Parameters at 128 bits of security, or a toy that protects nothing.
    #[arg(long, value_enum, default_value_t = Preset::Insecure)]
    preset: Preset,
    /// Where the server computes.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Refreshes of fresh random values, one after the other.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Period of the vectors, a power of two; all slots by default.
    #[arg(long)]
    slots: Option<usize>,
    /// Refreshes the error of the first refresh too (Meta-BTS): about 10 bits more precision for twice the time.
    #[arg(long)]
    twice: bool,
    /// Most MiB of keys on the device at any time; no limit by default.
    #[arg(long)]
    key_memory_mib: Option<u64>,
    /// Makes keys, encryption and values reproducible, for experiments only: whoever knows the seed reads the data.
    #[arg(long)]
    seed: Option<u64>,
    /// Ends with one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    Insecure,
    N15,
    N16,
    N16Dense,
}

/// Bits that `--twice` enlarges the error by: less than the precision of any slot.
const ENLARGED: u32 = 12;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,wgpu_hal=off,wgpu_core=warn"))
        .init();
    match refresh(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: less precision than the preset promises");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refresh(options: &Options) -> Result<bool, Error> {
    let device = options.device.open()?;
    // The least precision that counts as success: in the mean, and of the worst slot.
    let (parameters, promised) = match options.preset {
        Preset::Insecure => (Parameters::insecure_bootstrap()?, (26.0, 24.0)),
        Preset::N15 => (Parameters::bootstrap_n15()?, (19.0, 14.5)),
        Preset::N16 => (Parameters::bootstrap_n16()?, (24.0, 19.0)),
        Preset::N16Dense => (Parameters::bootstrap_n16_dense()?, (19.5, 11.0)),
    };
    println!("device      {:?}: {}", device.kind(), device.name());
    println!("parameters  {parameters}");

    // --- what a refresh takes is known before any key exists ----------------------------------
    let circuit = Bootstrapper::with_slots(&parameters, options.slots.unwrap_or(parameters.slots()))?;
    println!("refresh     {circuit}");
    match parameters.sparse_secret() {
        Some(secret) => println!("assumption  {secret}"),
        None => println!("assumption  none beyond the table's: no sparse secret anywhere"),
    }
    let (low, high) = circuit.plan()?;
    println!(
        "plan        SlotToCoeff: {} rotation keys, {} plain products",
        low.rotations.len(),
        low.plain_multiplications
    );
    println!(
        "            the rest: {} rotation keys, {} plain products, {} relinearizations",
        high.rotations.len(),
        high.plain_multiplications,
        high.relinearizations
    );

    // --- the owner makes keys, each for the level where it is used ------------------------------
    let start = Instant::now();
    let mut generator = match options.seed {
        Some(seed) => KeyGenerator::from_seed(&parameters, &Seed::from_bytes(seed_bytes(seed, 0))),
        None => KeyGenerator::new(&parameters)?,
    };
    let keys = generator.evaluation_keys(&circuit.keys()?)?;
    stage("owner: keys", start.elapsed());
    println!("            {} keys, {:.0} MiB to send", keys.len(), mib(keys.bytes() as u64));
    let (encryptor, decryptor) = (generator.encryptor(), generator.decryptor());

    // --- the server encodes the linear maps ------------------------------------------------------
    let start = Instant::now();
    let key_memory = options.key_memory_mib.map_or(u64::MAX, |mib| mib << 20);
    let evaluator = Evaluator::with_key_memory(&parameters, &device, &keys, key_memory)?;
    let refresher = circuit.prepare(&evaluator)?;
    let setup = start.elapsed();
    stage("server: set-up", setup);
    println!("            {:.0} MiB of linear maps", mib(refresher.bytes()));

    // --- values go over without levels, and come back with all of them ----------------------------
    let mut rng = ChaCha20Rng::from_seed(seed_bytes(options.seed.unwrap_or(0), 1)); // not the stream that the keys are made of
    let mut value = || (rng.next_u64() >> 11) as f64 / 52f64.exp2() - 1.0;
    let (mut worst, mut mean_error, mut best_time) = (f64::INFINITY, 0.0, f64::INFINITY);
    let (mut left, mut digest) = (0, String::new());
    for run in 0..options.runs {
        let one: Vec<Complex64> = (0..circuit.slots()).map(|_| Complex64::new(value(), value())).collect();
        let values: Vec<Complex64> = one.iter().copied().cycle().take(parameters.slots()).collect();
        let vectors = std::slice::from_ref(&values);
        let fresh = evaluator.load(&encryptor.encrypt_complex(vectors, parameters.max_level())?)?;
        let exhausted = evaluator.drop_to(&fresh, circuit.input_level())?;
        device.flush()?;
        let start = Instant::now();
        let refreshed = if options.twice {
            refresher.refresh_twice(&exhausted, ENLARGED)?
        } else {
            refresher.refresh(&exhausted)?
        };
        let host = refreshed.to_host()?;
        let time = start.elapsed();
        let precision = Precision::of(&values, &decryptor.decrypt(&host)?[0])?;
        // The first run brings the keys to the device.
        println!("run {run:<8}{time:>8.2?}  level {}  {precision}", host.level().0);
        left = host.level().0 - circuit.input_level().0;
        digest = host.digest();
        worst = worst.min(precision.min_bits);
        mean_error += (-precision.mean_bits).exp2() / f64::from(options.runs);
        best_time = best_time.min(time.as_secs_f64());
    }
    let mean = -mean_error.log2();
    let memory = evaluator.key_statistics();
    println!(
        "keys        {:.0} MiB on the device at most, {} loads, {} evictions",
        mib(memory.most_resident_bytes),
        memory.loads,
        memory.evictions
    );
    println!(
        "precision   {worst:.1} bits at worst, {mean:.1} on average; {left} multiplications until the next refresh"
    );
    let rss = peak_memory_mib().unwrap_or(0);
    println!("memory      {rss} MiB at most");
    if options.json {
        let failure = circuit.failure_log2();
        println!(
            "{}",
            serde_json::json!({
                "preset": format!("{:?}", options.preset),
                "device": device.name(),
                "log_n": parameters.log_n().get(),
                "slots": circuit.slots(),
                "log_q": parameters.log_q(),
                "log_qp": parameters.log_qp(),
                "security_bits": parameters.security().map_or(0, |s| s.bits()),
                "secret": format!("{:?}", circuit.settings().secret),
                "sparse_secret_log_q": parameters.sparse_secret().map(|secret| secret.log_q),
                "digits": parameters.rlwe().digits(parameters.rlwe().chain()).len(),
                "failure_log2": if failure.is_finite() { Some(failure) } else { None },
                "precision_bits_min": worst,
                "precision_bits_mean": mean,
                "levels_left": left,
                "ms": 1e3 * best_time,
                "ciphertext_digest": digest,
                "setup_ms": 1e3 * setup.as_secs_f64(),
                "key_mib": mib(keys.bytes() as u64),
                "rss_mib": rss,
            })
        );
    }
    let precise = mean >= promised.0 && worst >= promised.1;
    Ok(precise && left == circuit.levels_left() - u32::from(options.twice))
}

fn stage(name: &str, time: Duration) {
    println!("{name:<15} {time:>8.2?}");
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The most memory that the process ever had, where the system says so.
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
}
