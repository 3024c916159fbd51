//! Refreshing ciphertexts: from a low level back to [`super::Parameters::max_level`], without the secret.

mod eval_mod;
mod failure;
mod noise;
mod presets;
mod refresh;
mod settings;

pub use refresh::{Bootstrapper, PreparedBootstrapper};
pub use settings::{BootstrapSecret, Bootstrapping};
