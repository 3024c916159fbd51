//! Inference on encrypted data: a trained [`Model`] as a circuit. Training on encrypted data: [`train`].
//!
//! # Concepts
//! A [`Model`] is a graph of [`Layer`]s with known weights, made by hand or read from a file of safetensors or ONNX;
//! [`Model::predict_clear`] is its definition. [`ModelCircuit`] lowers it to encrypted steps: every stretch of linear layers is
//! one sparse map and one level, activations become polynomials. It names no scheme and no device: [`ModelCircuit::prepare`]
//! encodes the weights for any [`crate::circuit::Evaluator`], [`CompiledModel::run`] applies them, [`ModelCircuit::plan`] tells
//! the levels and rotation keys before any key exists.
//! [`Deployment`] finds parameters, and splits the work between a [`Client`] and a [`Server`]; both parts travel as bytes. With
//! [`PrivateDeployment`] the server does not see the weights either. A model that is too deep for its ring has values
//! refreshed on the way, see [`Bootstraps`].
//!
//! # Memory layout
//! A [`Packing`] says how samples lie in the slots: one sample over the slots for a quick answer, or one slot a sample
//! for throughput. A [`Packer`] translates.

mod affine;
mod bundle;
mod compile;
mod cost;
mod deploy;
mod explain;
mod import;
mod layout;
mod lower;
mod model;
mod packing;
mod place;
mod predict;
mod private;
mod refresh;
mod run;
mod search;
#[cfg(test)]
mod tests;
pub mod train;

pub use bundle::ClientBundle;
pub use compile::ModelCircuit;
pub use cost::UnitCosts;
pub use deploy::{Bootstraps, Client, Deployment, Mode, Server, Settings};
pub use explain::{Explanation, StepExplanation};
pub use lower::Approximate;
pub use model::{Activation, Conv2d, Layer, Model, ModelBuilder, Node, Pool2d};
pub use packing::{Packer, Packing};
pub use private::{EncryptedModel, PrivateDeployment};
pub use refresh::{PlannedRefresh, PredictedRefresh, Refresh};
pub use run::{CompiledModel, Progress};
