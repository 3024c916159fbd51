//! The main job: a neural network classifies handwritten digits that it never sees in the clear.
//!
//! The client makes keys, encrypts held-out images and reads the answers. The server gets evaluation keys and ciphertexts,
//! and runs the network on the chosen device. The answers must agree with the same network in the clear.
//!
//! `cargo run --release --example encrypted_digits -- --device cpu --packing batch --samples 449 --json`

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ringlight::ckks::Precision;
use ringlight::math::Seed;
use ringlight::ml::{Deployment, Model, Packing, Server};
use ringlight::{Device, Error};
use sha2::{Digest, Sha256};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const IMAGES: &str = include_str!("data/digits/digits.csv");
const WEIGHTS: &[u8] = include_bytes!("data/digits/mlp.safetensors");

#[derive(Parser)]
#[command(about = "Classifies handwritten digits under encryption")]
struct Options {
    /// Where the server computes.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Held-out images to classify, at most 449.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=449))]
    samples: u32,
    /// One image over the slots (quick answers), or one slot an image (throughput).
    #[arg(long, value_enum, default_value_t = PackingChoice::Latency)]
    packing: PackingChoice,
    /// Makes keys and encryption reproducible, for experiments only. Whoever knows the seed reads the data, and two runs
    /// with one seed on different images let anyone subtract the ciphertexts and read the difference.
    #[arg(long)]
    seed: Option<u64>,
    /// Ends with one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceChoice {
    Auto,
    Cpu,
    Gpu,
}

#[derive(Clone, Copy, ValueEnum)]
enum PackingChoice {
    Latency,
    Batch,
}

/// Images that travel together in one ciphertext of the latency packing.
const IMAGES_A_CIPHERTEXT: usize = 10;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,wgpu_hal=off,wgpu_core=warn"))
        .init();
    match classify(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn classify(options: &Options) -> Result<(), Error> {
    let device = match options.device {
        DeviceChoice::Auto => Device::auto(),
        DeviceChoice::Cpu => Device::cpu(),
        DeviceChoice::Gpu => Device::gpu()?,
    };
    let packing = match options.packing {
        PackingChoice::Latency => Packing::Latency,
        PackingChoice::Batch => Packing::Batch,
    };
    let model = Model::from_safetensors(WEIGHTS)?;
    let (samples, labels) = held_out(options.samples as usize);
    println!("device      {:?}: {}", device.kind(), device.name());

    let start = Instant::now();
    let deployment = Deployment::new(&model, packing)?;
    let parameters = deployment.parameters();
    let security = parameters.security().map_or(0, |s| s.bits());
    println!("parameters  {parameters}");
    let plan = deployment.plan().to_string();
    plan.lines().for_each(|line| println!("plan        {line}"));
    stage("parameters", start.elapsed());

    // --- the client makes keys; only the evaluation keys leave it ---------------------------
    let start = Instant::now();
    let client = match options.seed {
        Some(seed) => deployment.client_from_seed(&seed_of(seed))?,
        None => deployment.client()?,
    };
    stage("client: keys", start.elapsed());
    println!("            {:.1} MiB of evaluation keys", client.evaluation_keys().bytes() as f64 / (1 << 20) as f64);

    // --- the server brings keys and weights to its device -----------------------------------
    let start = Instant::now();
    let server = Server::new(&deployment, &device, client.evaluation_keys())?;
    stage("server: set-up", start.elapsed());

    // --- encrypted images go over, encrypted answers come back ------------------------------
    let group = match packing {
        Packing::Latency => IMAGES_A_CIPHERTEXT,
        Packing::Batch => deployment.samples_a_run(),
    };
    let bar = ProgressBar::new(u64::from(options.samples)).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} images").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (mut encrypting, mut computing, mut reading) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut digest = Sha256::new();
    let mut answers = Vec::new();
    for images in samples.chunks(group) {
        let start = Instant::now();
        let request = client.encrypt(images)?;
        encrypting += start.elapsed();
        let start = Instant::now();
        let answer = server.run(&request)?;
        computing += start.elapsed();
        let start = Instant::now();
        digest.update(answer.digest());
        answers.extend(client.decrypt(&answer, images.len())?);
        reading += start.elapsed();
        bar.inc(images.len() as u64);
    }
    bar.finish_and_clear();
    stage("client: encrypt", encrypting);
    stage("server: compute", computing);
    stage("client: decrypt", reading);

    // --- the same network in the clear is the judge -----------------------------------------
    let expected = model.predict_clear(&samples)?;
    let share = |hits: usize| hits as f64 / samples.len() as f64;
    let hits = |outputs: &[Vec<f64>]| outputs.iter().zip(&labels).filter(|(y, label)| class(y) == **label).count();
    let (clear, encrypted) = (share(hits(&expected)), share(hits(&answers)));
    let agreement = share(expected.iter().zip(&answers).filter(|(a, b)| class(a) == class(b)).count());
    let precision = Precision::of_real(&expected.concat(), &answers.concat())?;
    let ms_per_sample = computing.as_secs_f64() * 1e3 / samples.len() as f64;
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("accuracy    {:.2} % in the clear, {:.2} % encrypted", 100.0 * clear, 100.0 * encrypted);
    println!("agreement   {:.2} % of {} images", 100.0 * agreement, samples.len());
    println!("precision   {precision} (logits)");
    println!("speed       {ms_per_sample:.2} ms an image on the server");
    println!("digest      {digest}");
    if options.json {
        let report = serde_json::json!({
            "device": format!("{:?}", device.kind()),
            "adapter": device.name(),
            "packing": match packing { Packing::Latency => "latency", Packing::Batch => "batch" },
            "samples": samples.len(),
            "accuracy_clear": clear,
            "accuracy_encrypted": encrypted,
            "agreement": agreement,
            "precision_bits": precision.min_bits,
            "ms_per_sample": ms_per_sample,
            "log_n": parameters.log_n().get(),
            "log_qp": parameters.log_qp(),
            "security_bits": security,
            "ciphertext_digest": digest,
        });
        println!("{report}");
    }
    assert_eq!(agreement, 1.0, "the encrypted network must classify exactly as the clear one");
    assert!(precision.min_bits > 6.0, "logits off by more than 2^-6: {precision}");
    assert!(security >= 128);
    Ok(())
}

fn stage(name: &str, time: Duration) {
    println!("time        {name:<16} {:>9.1} ms", time.as_secs_f64() * 1e3);
}

/// Pixels in `[0, 1]` and labels of the first held-out images: the rows `i` with `i mod 4 = 3`, which the training never saw.
fn held_out(count: usize) -> (Vec<Vec<f64>>, Vec<usize>) {
    let rows = IMAGES.lines().enumerate().filter(|(i, _)| i % 4 == 3).take(count).map(|(_, line)| {
        let (pixels, label) = line.rsplit_once(',').expect("the bundled file has columns");
        let pixel = |x: &str| x.parse::<f64>().expect("the bundled pixels are numbers") / 16.0;
        (pixels.split(',').map(pixel).collect(), label.parse::<usize>().expect("the bundled labels are digits"))
    });
    rows.unzip()
}

/// Index of the largest logit.
fn class(logits: &[f64]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0)
}

fn seed_of(seed: u64) -> Seed {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Seed::from_bytes(bytes)
}
