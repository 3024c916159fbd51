//! Leveled CKKS homomorphic encryption on the CPU and on any GPU, behind one [`Device`].
//!
//! # Concepts
//! A *client* chooses [`ckks::Parameters`], keeps a [`ckks::KeyGenerator`] and a [`ckks::Decryptor`], and sends evaluation keys and
//! [`ckks::HostCiphertext`]s. A *server* computes with a [`ckks::Evaluator`] on a device and sends ciphertexts back. It holds no secret.
//!
//! A ciphertext is a *batch* of vectors of `N/2` complex *slots*; every operation acts on all of them. Each product consumes a *level*
//! and stands at a *scale* that the library tracks; values at one level can be added. Rotations and products need *evaluation keys*.
//!
//! A *circuit* is Rust code over [`circuit::Evaluator`], read four ways: [`circuit::Plan`] tells levels, keys and work,
//! [`circuit::Clear`] the expected values, [`ckks::NoiseEstimator`] their error, [`ckks::Evaluator`] runs it. [`ml`] has circuits for
//! trained networks, and for training on encrypted data.
//!
//! ```
//! use ringlight::Device;
//! use ringlight::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters};
//!
//! let parameters = Parameters::builder().levels(1).build()?;
//! let mut keys = KeyGenerator::new(&parameters)?;
//! let evaluation_keys = keys.evaluation_keys(&KeyRequest::new().relinearization(true))?;
//! let server = Evaluator::new(&parameters, &Device::auto(), &evaluation_keys)?;
//! let x = server.load(&keys.encryptor().encrypt_real(&[vec![1.5, -2.0]])?)?;
//! let values = keys.decryptor().decrypt_real(&server.square(&x)?.to_host()?)?;
//! assert!((values[0][0] - 2.25).abs() < 0.01 && (values[0][1] - 4.0).abs() < 0.01);
//! # Ok::<(), ringlight::Error>(())
//! ```
//!
//! # Layering
//! Bottom up: [`units`], [`error`]; [`math`] (host arithmetic and sampling) and [`circuit`] (no cryptography); [`device`] (programs of
//! whole-batch operations, and the backends that run them); [`ring`] (polynomials on a device, their domain a type); [`rlwe`] (keys,
//! encryption, key switching, no scheme); [`ckks`]; [`ml`]. No module names one above it.
//!
//! Types carry mathematics, values carry deployment: no public signature has a backend as a parameter. Every backend computes the same
//! words, so that ciphertexts compare with `==`.
//!
//! # Safety
//! Parameters are checked against the 2024 guidelines (ePrint 2024/463); what is not has `insecure` in its name. Secrets stay on the
//! host, in types that have no upload, are wiped on drop and print as nothing. Unsafe code is denied. Errors come as [`Error`]; a panic
//! means a broken invariant. **Decryptions that others see leak the key** (ePrint 2020/1533): [`ckks::Decryptor::decrypt`] is for the key
//! owner, [`ckks::Decryptor::decrypt_for_sharing`] for others. The code has not been audited.
//!
//! # Non-goals
//! Exact integers (that is another scheme), hiding the circuit from the client, proving to the client that the server computed it,
//! and control flow on encrypted data.

pub mod circuit;
pub mod ckks;
pub mod device;
pub mod error;
pub mod math;
pub mod ml;
pub mod ring;
pub mod rlwe;
pub mod units;

pub use device::Device;
pub use error::{Error, Result};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
