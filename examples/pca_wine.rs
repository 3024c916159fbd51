//! Principal components of encrypted samples: the directions in which thirteen measurements of wines differ most.
//!
//! The owner standardises and encrypts the samples; the server forms their covariance and finds its components by power iteration, refreshing by itself where
//! levels run out. Nothing is decrypted before the end. The example fails unless the components are those in the clear.
//!
//! `cargo run --release --example pca_wine -- --components 3 --json`

#[path = "common/device.rs"]
mod device;

use clap::Parser;
use device::{DeviceChoice, seed_bytes};
use indicatif::{ProgressBar, ProgressStyle};
use num_complex::Complex64;
use ringlight::Error;
use ringlight::ckks::{BootstrapSecret, Bootstrapper, Bootstrapping, Evaluator, KeyGenerator, Parameters};
use ringlight::math::Seed;
use ringlight::ml::train::{Component, Pca, PcaSamples, PcaSettings, principal_components};
use sha2::{Digest, Sha256};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const WINES: &str = include_str!("data/wine/wine.csv");
const FEATURES: usize = 13;
/// Half of all variance: a wine differs in more than one way.
const LARGEST: f64 = 6.5;

#[derive(Parser)]
#[command(about = "Finds principal components of encrypted measurements")]
struct Arguments {
    /// Where the server computes.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Components to find.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    components: u8,
    /// Products with the covariance for each.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(1..=100))]
    iterations: u8,
    /// Makes keys and encryption reproducible, for experiments only. Whoever knows the seed reads the data, and two runs
    /// with one seed on different samples let anyone subtract the ciphertexts and read the difference.
    #[arg(long)]
    seed: Option<u64>,
    /// Ends with one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,wgpu_hal=off,wgpu_core=warn"))
        .init();
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: the encrypted components are not those in the clear");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `N = 2^15`, 8 levels at scale `2^28`, of which 7 are left between two refreshes of so short a period: one iteration.
fn parameters() -> Result<Parameters, Error> {
    let refresh = Bootstrapping {
        slots_to_coefficients: 1,
        coefficients_to_slots: 2,
        transform_bits: 48,
        scale_bits: 48,
        ratio_bits: 12,
        range: 16,
        degree: 56,
        doublings: 2,
        arcsine: 1,
        secret: BootstrapSecret::Encapsulated { weight: 32, special: 2 },
    };
    Parameters::builder().log_n(15).levels(8).scale_bits(28).bootstrapping(refresh).build()
}

fn run(arguments: &Arguments) -> Result<bool, Error> {
    let device = arguments.device.open()?;
    let samples = wines();
    let (components, iterations) = (usize::from(arguments.components), usize::from(arguments.iterations));
    let settings = PcaSettings { features: FEATURES, samples: samples.len(), components, iterations, largest: LARGEST };
    let parameters = parameters()?;
    let pca = Pca::new(settings, parameters.slots())?;
    let circuit = Bootstrapper::with_slots(&parameters, pca.period())?;
    println!("device      {:?}: {}", device.kind(), device.name());
    println!("parameters  {parameters}");
    println!("refresh     {circuit}");
    println!("fit         {} samples in 2 x {} vectors, {iterations} iterations", samples.len(), pca.vectors());

    // --- the owner makes keys and encrypts the samples -----------------------------------------
    let start = Instant::now();
    let mut generator = match arguments.seed {
        Some(seed) => KeyGenerator::from_seed(&parameters, &Seed::from_bytes(seed_bytes(seed, 0))),
        None => KeyGenerator::new(&parameters)?,
    };
    let keys = generator.evaluation_keys(&pca.keys(&circuit)?)?;
    let (encryptor, decryptor) = (generator.encryptor(), generator.decryptor());
    stage("owner: keys", start.elapsed());
    println!("            {:.0} MiB of evaluation keys", keys.bytes() as f64 / f64::from(1 << 20));
    let start = Instant::now();
    let evaluator = Evaluator::new(&parameters, &device, &keys)?;
    drop(keys); // the server has them now
    let refresher = circuit.prepare(&evaluator)?;
    stage("server: set-up", start.elapsed());
    let send = |vectors: Vec<Vec<Complex64>>| {
        let send = |vector| evaluator.load(&encryptor.encrypt_complex(&[vector], parameters.max_level())?);
        vectors.into_iter().map(send).collect::<Result<Vec<_>, Error>>()
    };
    let packed = pca.pack(&samples)?;
    let encrypted = PcaSamples { rows: send(packed.rows)?, columns: send(packed.columns)? };

    // --- the server fits; nothing is decrypted -------------------------------------------------
    let start = Instant::now();
    let bar = ProgressBar::new(u64::from(arguments.components)).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} components, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut rest = pca.covariance(&evaluator, &encrypted)?;
    let (mut results, mut bootstraps) = (vec![], 0);
    for _ in 0..components {
        let next = pca.extract(&evaluator, &refresher, &rest)?;
        results.push(next.component.to_host()?);
        bootstraps += next.refreshes;
        rest = next.rest;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let elapsed = start.elapsed();
    stage("server: fit", elapsed);

    // --- the owner reads the components --------------------------------------------------------
    let read = |host| pca.unpack(&decryptor.decrypt(host)?[0]);
    let found = results.iter().map(read).collect::<Result<Vec<Component>, Error>>()?;
    let clear = principal_components(&samples, components)?;
    let total = FEATURES as f64; // standardised
    let cosine =
        |(a, b): (&Component, &Component)| a.direction.iter().zip(&b.direction).map(|(a, b)| a * b).sum::<f64>().abs();
    let cosines: Vec<f64> = found.iter().zip(&clear).map(cosine).collect();
    let explained = |list: &[Component]| list.iter().map(|c| c.variance / total).collect::<Vec<f64>>();
    let (explained_encrypted, explained_clear) = (explained(&found), explained(&clear));
    println!("            explained variance");
    println!("component   encrypted  clear     |cos|");
    for (k, cosine) in cosines.iter().enumerate() {
        println!("{:>9}   {:.5}    {:.5}   {cosine:.7}", k + 1, explained_encrypted[k], explained_clear[k]);
    }
    println!("refreshes   {bootstraps}");
    let mut digest = Sha256::new();
    results.iter().for_each(|host| digest.update(host.digest()));
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("digest      {digest}");
    if arguments.json {
        let report = serde_json::json!({
            "task": "pca_wine",
            "device": format!("{:?}", device.kind()),
            "adapter": device.name(),
            "samples": samples.len(),
            "features": FEATURES,
            "components": components,
            "iterations": iterations,
            "cosines": cosines,
            "explained_variance_encrypted": explained_encrypted,
            "explained_variance_clear": explained_clear,
            "length_error": pca.length_error(),
            "seconds": elapsed.as_secs_f64(),
            "ms_per_sample": 1e3 * elapsed.as_secs_f64() / samples.len() as f64,
            "bootstraps": bootstraps,
            "log_n": parameters.log_n().get(),
            "log_qp": parameters.log_qp(),
            "security_bits": parameters.security().map_or(0, |s| s.bits()),
            "ciphertext_digest": digest,
        });
        println!("{report}");
    }
    // Fewer iterations than twelve are for trying out.
    let near = explained_encrypted.iter().zip(&explained_clear).all(|(a, b)| (a - b).abs() < 0.005);
    Ok(iterations < 12 || (cosines.iter().all(|c| *c > 0.999) && near))
}

fn stage(name: &str, time: Duration) {
    println!("time        {name:<16} {:>9.2} s", time.as_secs_f64());
}

/// All wines, each feature with mean 0 and variance 1.
fn wines() -> Vec<Vec<f64>> {
    let number = |x: &str| x.parse::<f64>().expect("the bundled features are numbers");
    let mut rows: Vec<Vec<f64>> =
        WINES.lines().skip(1).map(|line| line.split(',').take(FEATURES).map(number).collect()).collect();
    let count = rows.len() as f64;
    for f in 0..FEATURES {
        let mean = rows.iter().map(|x| x[f]).sum::<f64>() / count;
        let variance = rows.iter().map(|x| (x[f] - mean).powi(2)).sum::<f64>() / count;
        rows.iter_mut().for_each(|x| x[f] = (x[f] - mean) / variance.sqrt());
    }
    rows
}
