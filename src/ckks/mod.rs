//! Leveled CKKS: approximate arithmetic on encrypted vectors of complex numbers.
//!
//! A client makes [`Parameters`], a [`KeyGenerator`], and encrypts with an [`Encryptor`]. A server holds an [`Evaluator`] on a
//! [`crate::Device`] with [`crate::rlwe::EvaluationKeys`] and computes on [`Ciphertext`]s. [`HostCiphertext`] is what travels
//! between them, and the client's [`Decryptor`] reads the answer.
//!
//! A ciphertext holds a *batch* of vectors of `N/2` slots, so that one operation acts on many. Its memory is
//! `[component][batch][limb][N]` in evaluation form.
//!
//! *Levels and scales.* A ciphertext at level `l` can be rescaled `l` times. Each level has its own scale
//! ([`Parameters::scale_at`]), close to `2^scale_bits` and tracked exactly: two values at the same level that were made by
//! [`crate::circuit::Evaluator`] operations can always be added.
//!
//! *Keys.* Evaluation keys are by far the largest objects. Each is made for the level that it is first used at ([`KeyRequest`], from a
//! circuit's plan), half of it is a seed that the device expands, and an evaluator brings it to the device when it is used: all
//! of them, or as many as fit a limit ([`Evaluator::with_key_memory`]).
//!
//! *Security.* Decrypted values are approximations whose error depends on the secret. Decryptions that leave the key owner leak the key
//! (Li and Micciancio, ePrint 2020/1533): [`Decryptor::decrypt`] is for the owner's eyes, [`Decryptor::decrypt_for_sharing`] for others'.
//!
//! # Source
//! Cheon, Kim, Kim, Song, ePrint 2016/421; the RNS form, ePrint 2018/931.

mod bootstrap;
mod chain;
mod ciphertext;
mod client;
mod dot;
mod encoder;
mod evaluator;
mod noise;
mod parameters;
mod precision;
mod reading;
mod request;
mod security;
mod sharing;
mod transform;
mod weights;
pub mod wire;

pub use crate::rlwe::wire::Limits;
pub use bootstrap::{BootstrapSecret, Bootstrapper, Bootstrapping, PreparedBootstrapper};
pub(crate) use chain::TOO_LONG;
pub use ciphertext::{Ciphertext, HostCiphertext};
pub use client::{Decryptor, Encryptor, KeyGenerator};
pub use encoder::{Encoder, Plaintext};
pub use evaluator::{DevicePlaintext, Evaluator};
pub use noise::{Encryption, Magnitude, NoiseEstimator, NoisePlain, NoiseTransform, NoiseValue, NoiseWeights};
pub use parameters::{Builder, Parameters};
pub use precision::{Bits, Precision};
pub use request::KeyRequest;
pub use security::{Security, SecurityEstimate, SparseSecret};
pub use sharing::{Shared, SharingBound, SharingLedger, SharingPolicy};
pub use transform::DeviceTransform;
pub use weights::DeviceWeights;
