//! Refreshing ciphertexts.

mod settings;

pub use settings::{BootstrapSecret, Bootstrapping};
