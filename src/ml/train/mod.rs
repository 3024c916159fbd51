//! Training on encrypted data, without its owner.
//!
//! # Concepts
//! The owner of the data packs and encrypts samples and labels ([`LogisticRegression::pack_samples`]) and a start of zero. The server takes
//! [`LogisticRegression::step`]s, one a mini-batch, over and over; where levels run out it refreshes the one vector that holds weights and momentum
//! ([`Refresh`]). It never sees a sample, a label, a weight or a loss, and asks nobody anything. In the end the owner decrypts weights, the
//! loss of each epoch and the logits of held-out samples that were computed after it.
//!
//! A step is written over [`crate::circuit::Evaluator`]: in the clear it gives the expected values, in a plan the keys. [`ClearTraining`] is
//! the yardstick beside it: the same descent with the softmax itself.
//!
//! # Memory layout
//! One slot for every feature, class and sample; see `packing.rs`.
//!
//! # Non-goals
//! Choosing features or hyperparameters on encrypted data, and hiding the sizes of things.

mod checkpoint;
mod logistic;
mod mlp;
mod packing;
mod reference;
mod refresh;

pub use checkpoint::Checkpoint;
pub use logistic::{LogisticRegression, LogisticSettings, MiniBatch, Step};
pub use mlp::{Mlp, MlpSettings};
pub use reference::{ClearTraining, Score};
pub use refresh::{PlannedRefresh, Refresh};
