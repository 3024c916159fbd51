//! The main job: a neural network classifies handwritten digits that it never sees in the clear.
//!
//! The client makes keys, encrypts held-out images and reads the answers. The server gets evaluation keys and ciphertexts,
//! and runs the network on the chosen device. The answers must agree with the same network in the clear.
//!
//! `cargo run --release --example encrypted_digits -- --device cpu --packing batch --samples 449 --json`

#[path = "common/device.rs"]
mod device;
#[path = "common/inference.rs"]
mod inference;

use clap::Parser;
use inference::Task;
use ringlight::ml::{Model, Settings};
use std::error::Error;
use std::process::ExitCode;

const IMAGES: &str = include_str!("data/digits/digits.csv");
const WEIGHTS: &[u8] = include_bytes!("data/digits/mlp.safetensors");

#[derive(Parser)]
#[command(about = "Classifies handwritten digits under encryption")]
struct Arguments {
    #[command(flatten)]
    options: inference::Options,
    /// Held-out images to classify, at most 449.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=449))]
    samples: u32,
}

fn main() -> ExitCode {
    inference::exit(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (images, labels) = held_out(arguments.samples as usize);
    let task = Task {
        name: "digits".into(),
        model: Model::from_safetensors(WEIGHTS)?,
        settings: Settings::new(arguments.options.packing()),
        images,
        labels,
        images_a_ciphertext: 10,
        least_agreement: 1.0,
        least_bits: 6.0,
    };
    inference::classify(&arguments.options, &task)
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
