//! What the training examples can be told, and how they fail.

use crate::device::DeviceChoice;
use clap::{Args, ValueEnum};
use ringlight::Error;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct Options {
    /// Where the server computes.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Who makes new levels when they run out.
    #[arg(long, value_enum, default_value_t = RefreshChoice::Bootstrap)]
    pub(crate) refresh: RefreshChoice,
    /// What is trained.
    #[arg(long, value_enum, default_value_t = ModelChoice::Logistic)]
    pub(crate) model: ModelChoice,
    /// Hidden units of the network; only with `--model mlp`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) hidden: Option<u16>,
    /// Several models one after the other, such as `logistic,mlp:4,mlp:8`; with plots also accuracy against the number of weights.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["model", "hidden", "checkpoint", "resume"])]
    pub(crate) sweep: Vec<Model>,
    /// Passes over the training samples.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) epochs: Option<u32>,
    /// Makes keys and encryption reproducible, for experiments only, and orders the samples, whose order without it is always the
    /// same. Whoever knows the seed reads the data, and two runs with one seed on different samples let anyone subtract the
    /// ciphertexts and read the difference.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Ends with one JSON object on the last line. There `epochs` are those of the whole training, `epochs_this_run` those that
    /// ended in this run.
    #[arg(long)]
    pub(crate) json: bool,
    /// Keeps where training stands in this file, after every mini-batch. The owner's keys come from the seed again.
    #[arg(long, requires = "seed")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Goes on from a checkpoint of the same training, made with the same seed; not with `--refresh client`.
    #[arg(long, requires = "seed")]
    pub(crate) resume: Option<PathBuf>,
    /// Draws loss and accuracy against epoch and the time of every mini-batch, as SVG files in this folder.
    #[arg(long)]
    pub(crate) plots: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum RefreshChoice {
    /// The server, by bootstrapping: nobody is asked anything before the end.
    Bootstrap,
    /// The owner, who stays connected, decrypts the model after every step or two and encrypts it anew. Smaller parameters.
    Client,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum ModelChoice {
    /// Multinomial logistic regression.
    Logistic,
    /// A network with one hidden layer.
    Mlp,
}

/// A model and its size.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Model {
    Logistic,
    Mlp(usize),
}

impl std::str::FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("mlp:").map(str::parse) {
            Some(Ok(hidden)) => Ok(Self::Mlp(hidden)),
            None if text == "logistic" => Ok(Self::Logistic),
            _ => Err("`logistic` or `mlp:` and a number of hidden units was wanted".into()),
        }
    }
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Logistic => f.write_str("logistic"),
            Self::Mlp(hidden) => write!(f, "mlp:{hidden}"),
        }
    }
}

impl Options {
    /// The seed of the order of samples.
    pub(crate) fn order(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.hidden.is_some() && self.model != ModelChoice::Mlp {
            return Err(Failure::Other("`--hidden` is the size of a network: it needs `--model mlp`".into()));
        }
        if self.resume.is_some() && self.refresh == RefreshChoice::Client {
            // The encryptor would begin its randomness anew, for states other than those that it hid before.
            let reason = "`--resume` needs `--refresh bootstrap`: an owner who goes on with the same seed would encrypt two different \
                          states with the same randomness";
            return Err(Failure::Other(reason.into()));
        }
        Ok(())
    }

    /// What is to be trained, one model after the other; networks have so many hidden units unless told otherwise.
    pub(crate) fn models(&self, hidden: usize) -> Vec<Model> {
        match self.model {
            _ if !self.sweep.is_empty() => self.sweep.clone(),
            ModelChoice::Logistic => vec![Model::Logistic],
            ModelChoice::Mlp => vec![Model::Mlp(self.hidden.map_or(hidden, usize::from))],
        }
    }
}

/// The result that fails an example.
#[derive(Debug)]
pub(crate) enum Failure {
    Library(Error),
    Io(std::io::Error),
    Other(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// The exit code of an example, its failure printed.
pub(crate) fn exit(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
