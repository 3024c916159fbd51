//! Inference on encrypted data: a trained [`Model`] as a circuit. Training on encrypted data: [`train`].
//!
//! # Concepts
//! A [`Model`] is a list of [`Layer`]s with known weights. It names no scheme and no device: [`Model::prepare`] encodes the
//! weights for any [`crate::circuit::Evaluator`], [`CompiledModel::run`] applies them, [`Model::plan`] tells the levels and
//! rotation keys before any key exists, and [`Model::predict_clear`] is the definition all of them are tested against.
//!
//! # Memory layout
//! A [`Packing`] says how samples lie in the slots: one sample over the slots for a quick answer, or one slot a sample
//! for throughput. [`pack_inputs`] and [`unpack_outputs`] translate.
//!
//! # Non-goals
//! Encrypted weights in inference, and activations that are not polynomials.

mod compile;
mod deploy;
mod file;
mod layer;
mod model;
mod packing;
pub mod train;

pub use compile::CompiledModel;
pub use deploy::{Client, Deployment, Server};
pub use layer::Layer;
pub use model::Model;
pub use packing::{Packing, pack_inputs, unpack_outputs};
