//! Training on encrypted data, without its owner.
//!
//! # Concepts
//! The owner of the data packs and encrypts samples, labels and a start ([`Trainable::pack_samples`]). The server takes [`Trainable::step`]s, one a
//! mini-batch, over and over; where levels run out it refreshes the one vector that holds weights and momentum ([`Refresh`]). It never
//! sees a sample, a label, a weight or a loss, and asks nobody anything. In the end the owner decrypts weights, the loss of each epoch and the
//! number of held-out samples that were right after it ([`Accuracy`]).
//!
//! Two models are [`Trainable`]: [`LogisticRegression`], and [`Mlp`] with one hidden layer.
//!
//! A step is written over [`crate::circuit::Evaluator`]: in the clear it gives the expected values, in a plan the keys. [`ClearTraining`] is
//! the yardstick beside it: the same descent with the softmax itself.
//!
//! [`Pca`] finds principal components of encrypted samples in the same way; [`principal_components`] is its yardstick.
//!
//! [`ClientRefresh`] is the other mode, by its own name: the owner stays connected, decrypts and encrypts anew where levels run out.
//!
//! # Memory layout
//! One slot for every feature, class or hidden unit, and sample; see `packing.rs`. For components one for every pair of features and sample;
//! see `pca.rs`.
//!
//! # Non-goals
//! Choosing features or hyperparameters on encrypted data, and hiding the sizes of things.

mod accuracy;
mod checkpoint;
mod logistic;
mod mlp;
mod packing;
mod pca;
mod reference;
mod trainable;

pub use super::refresh::{ClientRefresh, PlannedRefresh, Refresh};
pub use accuracy::{Accuracy, Counted};
pub use checkpoint::Checkpoint;
pub use logistic::{LogisticRegression, LogisticSettings};
pub use mlp::{Mlp, MlpSettings};
pub use pca::{Component, Extracted, Pca, PcaSamples, PcaSettings, principal_components};
pub use reference::{ClearTraining, Score};
pub use trainable::{MiniBatch, Step, Trainable};
