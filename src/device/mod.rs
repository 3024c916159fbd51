//! The device line: a narrow waist made of data.
//!
//! Above it the library records [`Op`]s over [`Buffer`]s; below it a [`Backend`] runs them. [`Device`] is a value that
//! says where work runs; it is cheap to clone and chosen at run time. Ciphertext arithmetic is data to a device: no secret
//! ever reaches one.
//!
//! Memory layout: `[batch][limb][coefficient]` of `u32`, row-major, canonical residues.
//! Non-goals: scheduling across devices, and tensors of anything but residues.

mod backend;
mod buffer;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
mod handle;
#[cfg(feature = "profiling")]
mod profile;
mod program;
mod recorder;

pub use backend::{Backend, Caps, DeviceKind, Statistics};
pub use buffer::{Buffer, View};
pub use handle::{Device, LoadedRing};
#[cfg(feature = "profiling")]
pub use profile::{Profile, ProfileRow};
pub use program::{Basis, Digit, InnerProduct, Op, RingId};
pub use recorder::OpLog;
