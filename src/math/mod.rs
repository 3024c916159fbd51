//! Host mathematics: moduli, primes, the NTT, residue number systems, the slot embedding, sampling.
//!
//! Nothing here knows a device. Keys, encryption and decryption use it directly, so that secrets stay on the host.

mod embedding;
mod modulus;
mod ntt;
pub(crate) mod pairs;
mod primes;
mod reduce;
mod rns;
pub(crate) mod rows;
mod sampling;
pub(crate) mod simd;
mod sparse;
mod tables;
mod wide;

pub use embedding::Embedding;
pub use modulus::Modulus;
pub use primes::{is_prime, ntt_primes_below, ntt_primes_near};
pub(crate) use reduce::{PRODUCTS, Reducer};
pub use rns::Extension;
pub(crate) use rns::balanced_digits_to_f64;
pub use sampling::{Csprng, Seed};
pub use tables::{Prime, RingTables};
pub use wide::WideGaussian;
