//! Training on encrypted data: ten kinds of clothes from images.
//!
//! As `train_wine`, on Fashion-MNIST: 28x28 pixels, which the owner averages to 14x14 before encryption.
//!
//! `cargo run --release --example train_fashion -- --epochs 3 --train-images F --train-labels F --test-images F --test-labels F --json`

#[path = "common/device.rs"]
mod device;
#[path = "common/idx.rs"]
mod idx;
#[path = "common/options.rs"]
mod options;
#[path = "common/plots.rs"]
mod plots;
#[path = "common/training.rs"]
mod training;

use clap::Parser;
use options::{Failure, Options};
use ringlight::ml::train::{LogisticSettings, MlpSettings};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use training::{Samples, Task};

#[derive(Parser)]
#[command(about = "Trains a classifier of clothes on encrypted images")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Images to train on, IDX, gzip or not.
    #[arg(long)]
    train_images: PathBuf,
    /// Their labels.
    #[arg(long)]
    train_labels: PathBuf,
    /// Held-out images.
    #[arg(long)]
    test_images: PathBuf,
    /// Their labels.
    #[arg(long)]
    test_labels: PathBuf,
    /// Images to train on at most.
    #[arg(long, default_value_t = 640, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Held-out images at most.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    held_out: u32,
}

/// Averaged to this many pixels in either direction.
const SIDE: usize = 14;

const LOGISTIC: LogisticSettings = LogisticSettings {
    features: SIDE * SIDE,
    classes: 10,
    batch: 64,
    learning_rate: 0.2,
    momentum: 0.8,
    weight_bound: 8.0,
    logit_bound: 20.0,
    degree: 7,
};

/// More steps of smaller mini-batches: the logits of a network grow faster than those of a regression, and small steps keep them in bounds.
const MLP: MlpSettings = MlpSettings {
    training: LogisticSettings { batch: 32, learning_rate: 0.03, weight_bound: 2.0, logit_bound: 24.0, ..LOGISTIC },
    hidden: 16,
    curvature: 0.2,
};

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,wgpu_hal=off,wgpu_core=warn"))
        .init();
    options::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (images, labels) = read(&arguments.train_images, &arguments.train_labels, arguments.samples)?;
    let (held_out_images, held_out_labels) = read(&arguments.test_images, &arguments.test_labels, arguments.held_out)?;

    // What the owner sees of the training images: the mean of every pixel, and one deviation for all.
    let (count, pixels) = (images.len() as f64, images.len() * SIDE * SIDE);
    let means: Vec<f64> = (0..SIDE * SIDE).map(|f| images.iter().map(|x| x[f]).sum::<f64>() / count).collect();
    let all = images.iter().flatten().sum::<f64>() / pixels as f64;
    let deviation = (images.iter().flatten().map(|x| (x - all).powi(2)).sum::<f64>() / pixels as f64).sqrt();
    let standard = |x: &Vec<f64>| x.iter().zip(&means).map(|(x, mean)| (x - mean) / deviation.max(1e-6)).collect();
    let order = training::shuffled(images.len(), arguments.options.order());
    let train = order.iter().map(|&i| (standard(&images[i]), labels[i])).unzip();
    let held_out = (held_out_images.iter().map(standard).collect(), held_out_labels);
    let (logistic, mlp) = (LOGISTIC, MLP);
    let task = Task { name: "fashion", logistic, mlp, epochs: 3, train, held_out, least_accuracy: 0.72 };
    training::train(&arguments.options, &task)
}

/// The first images, at most so many, averaged to `SIDE * SIDE` numbers in `[0, 1]`, and their labels.
fn read(images: &Path, labels: &Path, most: u32) -> Result<Samples, Failure> {
    let (images, mut labels) = (idx::images(images)?, idx::labels(labels)?);
    let idx::Images { height, width, pixels } = images;
    if pixels.is_empty() || pixels.len() != labels.len() || height % SIDE != 0 || width % SIDE != 0 {
        let count = pixels.len();
        let reason = format!("{count} images of {height}x{width} and {} labels do not fit", labels.len());
        return Err(Failure::Other(reason));
    }
    let (tall, wide) = (height / SIDE, width / SIDE);
    let average = |image: &Vec<u8>| {
        let mut sums = vec![0.0; SIDE * SIDE];
        for (at, &pixel) in image.iter().enumerate() {
            sums[at / width / tall * SIDE + at % width / wide] += f64::from(pixel) / (255 * tall * wide) as f64;
        }
        sums
    };
    labels.truncate(most as usize);
    Ok((pixels.iter().take(most as usize).map(average).collect(), labels))
}
