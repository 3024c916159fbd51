//! Ringlight (front page is written with the README).
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
