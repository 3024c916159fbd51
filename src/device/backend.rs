//! What a device must do: run programs over its own memory.

use super::buffer::Buffer;
use super::program::{Program, RingId};
use crate::error::Result;
use crate::math::RingTables;
use crate::units::Shape;
use std::sync::Arc;

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
    /// Operations to gather before a submission.
    pub queue_ops: usize,
    /// Bytes of buffers that may be allocated before a submission.
    pub queue_bytes: u64,
    /// Largest single buffer in bytes.
    pub max_buffer_bytes: u64,
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
    /// Overwrites the first words of a buffer; ordered after every submitted program.
    ///
    /// # Errors
    /// [`crate::Error::ShapeMismatch`] for more words than the buffer has, or a failed device.
    fn upload(&self, dst: &Buffer, words: &[u32]) -> Result<()>;
    /// Runs a program, in order. Never waits for the GPU.
    ///
    /// # Errors
    /// A failed device.
    fn submit(&self, program: Program) -> Result<()>;
    /// The words of a whole buffer after all that was submitted: the only wait.
    ///
    /// # Errors
    /// A failed device.
    fn download(&self, src: &Buffer) -> Result<Vec<u32>>;
}
