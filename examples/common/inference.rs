//! What the examples of inference share: a client encrypts images, a server classifies them, the client reads the answers, and the same
//! model in the clear is the judge.

use crate::device::{DeviceChoice, seed_bytes};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ringlight::ckks::{Magnitude, Precision};
use ringlight::math::Seed;
use ringlight::ml::{Deployment, Model, Packing, Server, Settings, UnitCosts};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct Options {
    /// Where the server computes.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// One image over the slots (quick answers), or one slot an image (throughput).
    #[arg(long, value_enum, default_value_t = PackingChoice::Latency)]
    packing: PackingChoice,
    /// Prints what a run does, step by step, and draws it as SVG into this file.
    #[arg(long)]
    explain: Option<PathBuf>,
    /// Makes keys and encryption reproducible, for experiments only. Whoever knows the seed reads the data, and two runs
    /// with one seed on different images let anyone subtract the ciphertexts and read the difference.
    #[arg(long)]
    seed: Option<u64>,
    /// Ends with one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PackingChoice {
    Latency,
    Batch,
}

impl Options {
    pub(crate) fn packing(&self) -> Packing {
        match self.packing {
            PackingChoice::Latency => Packing::Latency,
            PackingChoice::Batch => Packing::Batch,
        }
    }
}

/// What is to be classified, and what counts as success.
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) settings: Settings,
    pub(crate) images: Vec<Vec<f64>>,
    pub(crate) labels: Vec<usize>,
    /// Images that travel together in the latency packing.
    pub(crate) images_a_ciphertext: usize,
    /// The least share of images on which the encrypted model must agree with the clear one.
    pub(crate) least_agreement: f64,
    /// The least bits of precision of every logit.
    pub(crate) least_bits: f64,
}

/// Starts the log, and prints the failure of `main`.
pub(crate) fn exit(run: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,wgpu_hal=off,wgpu_core=warn"))
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Classifies encrypted images and reports; fails where the answers are not those of the clear model.
pub(crate) fn classify(options: &Options, task: &Task) -> Result<(), Box<dyn Error>> {
    let device = options.device.open()?;
    let Task { model, settings, images, labels, .. } = task;
    println!("device      {:?}: {}", device.kind(), device.name());

    let start = Instant::now();
    let deployment = Deployment::with_settings(model, settings)?;
    let parameters = deployment.parameters();
    let security = parameters.security().map_or(0, |s| s.bits());
    println!("parameters  {parameters}");
    let plan = deployment.plan().to_string();
    plan.lines().for_each(|line| println!("plan        {line}"));
    stage("parameters", start.elapsed());
    if let Some(file) = &options.explain {
        let costs = UnitCosts::measure(parameters, &device)?;
        let explanation = deployment.explain_timed(magnitude(images)?, &costs)?;
        print!("{explanation}");
        std::fs::write(file, explanation.svg())?;
    }

    // --- the client makes keys; only the evaluation keys leave it ---------------------------
    let start = Instant::now();
    let client = match options.seed {
        Some(seed) => deployment.client_from_seed(&Seed::from_bytes(seed_bytes(seed, 0)))?,
        None => deployment.client()?,
    };
    stage("client: keys", start.elapsed());
    println!("            {:.1} MiB of evaluation keys", client.evaluation_keys().bytes() as f64 / (1 << 20) as f64);

    // --- the server brings keys and weights to its device -----------------------------------
    let start = Instant::now();
    let server = Server::new(&deployment, &device, client.evaluation_keys())?;
    stage("server: set-up", start.elapsed());

    // --- encrypted images go over, encrypted answers come back ------------------------------
    let group = match settings.packing {
        Packing::Latency => task.images_a_ciphertext,
        Packing::Batch => deployment.samples_a_run(),
    };
    let steps = deployment.circuit().steps() as u64;
    let bar = ProgressBar::new(images.len().div_ceil(group) as u64 * steps).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (mut encrypting, mut computing, mut reading) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut digest = Sha256::new();
    let mut answers = Vec::new();
    for (run, images) in images.chunks(group).enumerate() {
        let start = Instant::now();
        let request = client.encrypt(images)?;
        encrypting += start.elapsed();
        let start = Instant::now();
        let answer = server.run_watched(&request, &mut |progress| {
            bar.set_position(run as u64 * steps + progress.done as u64);
            ControlFlow::Continue(())
        })?;
        computing += start.elapsed();
        let start = Instant::now();
        answer.iter().for_each(|part| digest.update(part.digest()));
        answers.extend(client.decrypt(&answer, images.len())?);
        reading += start.elapsed();
    }
    bar.finish_and_clear();
    stage("client: encrypt", encrypting);
    stage("server: compute", computing);
    stage("client: decrypt", reading);

    // --- the same network in the clear is the judge -----------------------------------------
    let expected = model.predict_clear(images)?;
    let share = |hits: usize| hits as f64 / images.len() as f64;
    let hits = |outputs: &[Vec<f64>]| outputs.iter().zip(labels).filter(|(y, label)| class(y) == **label).count();
    let (clear, encrypted) = (share(hits(&expected)), share(hits(&answers)));
    let agreement = share(expected.iter().zip(&answers).filter(|(a, b)| class(a) == class(b)).count());
    let precision = Precision::of_real(&expected.concat(), &answers.concat())?;
    let seconds = computing.as_secs_f64();
    let ms_per_sample = seconds * 1e3 / images.len() as f64;
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("accuracy    {:.2} % in the clear, {:.2} % encrypted", 100.0 * clear, 100.0 * encrypted);
    println!("agreement   {:.2} % of {} images", 100.0 * agreement, images.len());
    println!("precision   {precision} (logits)");
    println!("speed       {ms_per_sample:.2} ms an image on the server");
    println!("digest      {digest}");
    if options.json {
        let report = serde_json::json!({
            "model": task.name,
            "device": format!("{:?}", device.kind()),
            "adapter": device.name(),
            "packing": settings.packing.name(),
            "samples": images.len(),
            "accuracy_clear": clear,
            "accuracy_encrypted": encrypted,
            "agreement": agreement,
            "precision_bits": precision.min_bits,
            "seconds": seconds,
            "ms_per_sample": ms_per_sample,
            "log_n": parameters.log_n().get(),
            "log_qp": parameters.log_qp(),
            "security_bits": security,
            "bootstraps": deployment.circuit().bootstraps(),
            "ciphertext_digest": digest,
        });
        println!("{report}");
    }
    if agreement < task.least_agreement || precision.min_bits < task.least_bits {
        let wanted = format!("{} of the images and {} bits", task.least_agreement, task.least_bits);
        return Err(format!("agreement {agreement} and {precision}; {wanted} were wanted").into());
    }
    Ok(())
}

/// The size of pixels.
fn magnitude(images: &[Vec<f64>]) -> Result<Magnitude, ringlight::Error> {
    let count = images.iter().map(Vec::len).sum::<usize>().max(1) as f64;
    let largest = images.iter().flatten().fold(0.0, |most: f64, x| most.max(x.abs()));
    Magnitude::new((images.iter().flatten().map(|x| x * x).sum::<f64>() / count).sqrt().min(largest), largest)
}

fn stage(name: &str, time: Duration) {
    println!("time        {name:<16} {:>9.1} ms", time.as_secs_f64() * 1e3);
}

/// Index of the largest logit.
fn class(logits: &[f64]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0)
}
