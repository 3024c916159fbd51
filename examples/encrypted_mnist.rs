//! Trained networks classify MNIST's handwritten digits under encryption.
//!
//! The weights are bundled (`examples/data/models`, trained by `scripts/train_models.py`); the images are not: give two IDX files, gzip
//! or not. As in `encrypted_digits`, the same network in the clear is the judge.
//!
//! `cargo run --release --example encrypted_mnist -- --model cryptonets --images F --labels F --samples 8192 --packing batch --json`

#[path = "common/device.rs"]
mod device;
#[path = "common/idx.rs"]
mod idx;
#[path = "common/inference.rs"]
mod inference;

use clap::{Parser, ValueEnum};
use inference::Task;
use ringlight::ml::{Model, Settings};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Classifies MNIST's digits under encryption")]
struct Arguments {
    #[command(flatten)]
    options: inference::Options,
    /// The network.
    #[arg(long, value_enum, default_value_t = ModelChoice::Cryptonets)]
    model: ModelChoice,
    /// Images of 28x28 pixels, IDX, gzip or not.
    #[arg(long)]
    images: PathBuf,
    /// Their labels.
    #[arg(long)]
    labels: PathBuf,
    /// Images to classify. Where the file has fewer, it is read again from the start.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    samples: u32,
    /// Bits of scale; what suits the network by default. Fewer may fit a smaller ring.
    #[arg(long)]
    scale_bits: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModelChoice {
    /// 784 -> 10.
    Logistic,
    /// Projection on 32 principal components, 32 -> 64, square, -> 10.
    Pca,
    /// 784 -> 128, square, -> 10.
    Mlp,
    /// 5x5 convolution of stride 2 to 5 channels, square, -> 100, square, -> 10.
    Cryptonets,
    /// LeNet-5 with average pooling and a polynomial of degree 2 after every layer but the last.
    Lenet,
}

impl ModelChoice {
    fn weights(self) -> &'static [u8] {
        match self {
            Self::Logistic => include_bytes!("data/models/logistic.safetensors"),
            Self::Pca => include_bytes!("data/models/pca.safetensors"),
            Self::Mlp => include_bytes!("data/models/mlp.safetensors"),
            Self::Cryptonets => include_bytes!("data/models/cryptonets.safetensors"),
            Self::Lenet => include_bytes!("data/models/lenet.safetensors"),
        }
    }

    /// The largest scale with which the network fits the smallest ring that it fits at all with enough precision for its logits, which
    /// differ by units.
    fn scale_bits(self) -> u32 {
        match self {
            Self::Cryptonets => 28,
            _ => 30,
        }
    }
}

fn main() -> ExitCode {
    inference::exit(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let choice = arguments.model;
    let model = Model::from_safetensors(choice.weights())?;
    let images = idx::images(&arguments.images)?;
    let labels = idx::labels(&arguments.labels)?;
    if images.height * images.width != model.inputs() || images.pixels.len() != labels.len() || labels.is_empty() {
        let (count, height, width) = (images.pixels.len(), images.height, images.width);
        let got = format!("{count} images of {height}x{width} and {} labels", labels.len());
        return Err(format!("{got}; as many labels as images of 28x28 are needed, at least one").into());
    }
    let pixels = |image: &Vec<u8>| image.iter().map(|&pixel| f64::from(pixel) / 255.0).collect();
    let again = (0..labels.len()).cycle().take(arguments.samples as usize);
    let task = Task {
        name: format!("{choice:?}").to_lowercase(),
        settings: Settings {
            scale_bits: arguments.scale_bits.unwrap_or(choice.scale_bits()),
            ..Settings::new(arguments.options.packing())
        },
        model,
        images: again.clone().map(|i| pixels(&images.pixels[i])).collect(),
        labels: again.map(|i| labels[i]).collect(),
        images_a_ciphertext: 1,
        least_agreement: 0.997,
        least_bits: 4.0,
    };
    inference::classify(&arguments.options, &task)
}
