//! What a device must do: run operations over its own memory.

use super::buffer::Buffer;
use super::program::{Op, RingId};
use crate::error::Result;
use crate::math::RingTables;
use crate::units::Shape;
use std::sync::Arc;
use std::time::Duration;

/// The kind of hardware behind a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The host's own cores.
    Cpu,
    /// A GPU.
    Gpu,
    /// A GPU driver that runs on the host's cores.
    SoftwareGpu,
}

/// What a backend can do and how it likes to be fed.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Hardware kind.
    pub kind: DeviceKind,
    /// Whether kernels use 64-bit integers (`SHADER_INT64`, or the host).
    pub int64: bool,
    /// Largest single buffer in bytes.
    pub max_buffer_bytes: u64,
}

/// What a device did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Operations recorded.
    pub operations: u64,
    /// Times that a GPU was handed a program. A key switch, a linear transform and, as far as memory goes, a refresh are one each.
    pub submissions: u64,
    /// Kernels launched on a GPU.
    pub dispatches: u64,
    /// Bytes that went to the device.
    pub uploaded_bytes: u64,
    /// Bytes that came back.
    pub downloaded_bytes: u64,
    /// Bytes that the device's buffers take now: idle ones, tables and staging included.
    pub memory_bytes: u64,
    /// The most that they took.
    pub peak_memory_bytes: u64,
    /// Time in which callers turned programs into a GPU's commands.
    pub encoding: Duration,
    /// Time in which callers handed commands to a GPU's driver.
    pub submitting: Duration,
}

/// A device's private side. [`super::Device`] checks every operation before it reaches a backend.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// The device's name: the adapter's for a GPU.
    fn name(&self) -> &str;
    /// What it can do.
    fn caps(&self) -> &Caps;
    /// Makes a ring's tables known. Loading the same ring, or an equal one, again returns the same id.
    ///
    /// # Errors
    /// Out of memory or a failed device.
    fn load_ring(&self, ring: &Arc<RingTables>) -> Result<RingId>;
    /// Memory with unspecified contents, from the pool if it has some.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn alloc(&self, shape: Shape) -> Result<Buffer>;
    /// Fresh memory whose first words are `words`, of which there are no more than the shape has.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], or a failed device.
    fn upload(&self, shape: Shape, words: &[u32]) -> Result<Buffer>;
    /// Runs an operation after all earlier ones. May hold it back until a flush, and never waits for the GPU unless its memory
    /// is full.
    ///
    /// # Errors
    /// Out of memory, after which the operation did not run and later ones may; or a failed device.
    fn submit(&self, ring: RingId, op: &Op) -> Result<()>;
    /// Hands what is held back to the hardware, without waiting for it.
    ///
    /// # Errors
    /// Whatever stops it, from now on always.
    fn flush(&self) -> Result<()>;
    /// The words of a whole buffer after all that was submitted: the only wait.
    ///
    /// # Errors
    /// A failed device.
    fn download(&self, src: &Buffer) -> Result<Vec<u32>>;
    /// What it did so far.
    fn statistics(&self) -> Statistics;
    /// Where its time went, if `RINGLIGHT_PROFILE` asks for that.
    #[cfg(feature = "profiling")]
    fn profile(&self) -> Option<super::profile::Profile>;
}
