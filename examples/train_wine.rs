//! Training on encrypted data: three kinds of wine from thirteen measurements.
//!
//! The owner encrypts the training samples, their labels and a model to start from; the server trains a multinomial logistic regression on them, or with
//! `--model mlp` a network with a hidden layer, refreshing it by itself where levels run out. Nothing is decrypted before the end. The example fails
//! unless the model is as good as the one trained in the clear. With `--refresh client` the owner refreshes the model instead: interactive, and much
//! cheaper.
//!
//! `cargo run --release --example train_wine -- --epochs 5 --json`

#[path = "common/device.rs"]
mod device;
#[path = "common/options.rs"]
mod options;
#[path = "common/plots.rs"]
mod plots;
#[path = "common/training.rs"]
mod training;

use clap::Parser;
use options::Options;
use ringlight::ml::train::{LogisticSettings, MlpSettings};
use std::process::ExitCode;
use training::{Samples, Task};

const WINES: &str = include_str!("data/wine/wine.csv");

#[derive(Parser)]
#[command(about = "Trains a classifier of wines on encrypted data")]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

const LOGISTIC: LogisticSettings = LogisticSettings {
    features: 13,
    classes: 3,
    batch: 45,
    learning_rate: 0.3,
    momentum: 0.8,
    weight_bound: 4.0,
    logit_bound: 12.0,
    degree: 7,
};

const MLP: MlpSettings = MlpSettings {
    training: LogisticSettings { learning_rate: 0.1, weight_bound: 2.0, logit_bound: 20.0, ..LOGISTIC },
    hidden: 8,
    curvature: 0.1,
};

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,wgpu_hal=off,wgpu_core=warn"))
        .init();
    let options = Arguments::parse().options;
    let (train, held_out) = wines(options.order());
    let (logistic, mlp) = (LOGISTIC, MLP);
    let task = Task { name: "wine", logistic, mlp, epochs: 5, train, held_out, least_accuracy: 0.95 };
    options::exit(training::train(&options, &task))
}

/// Training and held-out samples, features standardised by what the owner sees of the training ones. Held out are the rows `i` with
/// `i mod 4 = 3`, whatever the seed: it only orders the training samples.
fn wines(seed: u64) -> (Samples, Samples) {
    let rows: Vec<(Vec<f64>, usize)> = WINES
        .lines()
        .skip(1)
        .map(|line| {
            let (features, class) = line.rsplit_once(',').expect("the bundled file has columns");
            let number = |x: &str| x.parse::<f64>().expect("the bundled features are numbers");
            (features.split(',').map(number).collect(), class.parse().expect("the bundled classes are numbers"))
        })
        .collect();
    let (held_out, train): (Vec<_>, Vec<_>) = (0..rows.len()).partition(|i| i % 4 == 3);
    let moments: Vec<(f64, f64)> = (0..LOGISTIC.features)
        .map(|f| {
            let count = train.len() as f64;
            let mean = train.iter().map(|&i| rows[i].0[f]).sum::<f64>() / count;
            let variance = train.iter().map(|&i| (rows[i].0[f] - mean).powi(2)).sum::<f64>() / count;
            (mean, variance.sqrt())
        })
        .collect();
    let standard = |x: &[f64]| x.iter().zip(&moments).map(|(x, (mean, deviation))| (x - mean) / deviation).collect();
    let take = |rows_of: Vec<usize>| rows_of.into_iter().map(|i| (standard(&rows[i].0), rows[i].1)).unzip();
    let order = training::shuffled(train.len(), seed).into_iter().map(|i| train[i]).collect();
    (take(order), take(held_out))
}
