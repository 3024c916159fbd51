//! [`Device`]: where work runs. Checks operations before a backend sees them.

use super::backend::{Backend, Caps, DeviceKind, Statistics};
use super::buffer::Buffer;
use super::cpu::CpuBackend;
use super::program::{Op, RingId};
use super::recorder::{OpLog, Recorder};
use crate::error::{Error, Result};
use crate::math::RingTables;
use crate::units::Shape;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place where ciphertext arithmetic runs: the CPU or one GPU. Cloning shares it.
///
/// Operations run in order. A GPU gathers them and runs them when there are enough, on [`Device::flush`], or before a download.
/// A failure is sticky and comes back from the next call.
#[derive(Clone, Debug)]
pub struct Device(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Unlike any other device's of the process, and not 0.
    id: u64,
    backend: Box<dyn Backend>,
}

/// A ring that one device knows.
#[derive(Clone, Debug)]
pub struct LoadedRing {
    tables: Arc<RingTables>,
    id: RingId,
    owner: u64,
}

impl LoadedRing {
    /// The ring's tables.
    pub fn tables(&self) -> &Arc<RingTables> {
        &self.tables
    }
}

impl Device {
    /// The host's cores, with the widest SIMD they offer, or what the environment variable `RINGLIGHT_SIMD` asks for: `avx512`, `avx2`,
    /// `neon` or `plain`. Results do not depend on it.
    pub fn cpu() -> Self {
        Self::from_backend(Box::new(CpuBackend::new()))
    }

    /// The fastest device: a discrete or integrated GPU if there is one, else the CPU.
    ///
    /// A software adapter is not chosen, the CPU backend is faster; name it with [`Device::gpu_matching`]. Says on the log
    /// which device it took.
    pub fn auto() -> Self {
        match Self::hardware_gpu() {
            Ok(device) => {
                log::info!("ringlight runs on the GPU {}", device.name());
                device
            }
            Err(error) => {
                let device = Self::cpu();
                log::info!("ringlight runs on {}: {error}", device.name());
                device
            }
        }
    }

    #[cfg(feature = "gpu")]
    fn hardware_gpu() -> Result<Self> {
        Ok(Self::from_backend(super::gpu::open(super::gpu::Selector::Hardware, true)?))
    }

    #[cfg(not(feature = "gpu"))]
    fn hardware_gpu() -> Result<Self> {
        Err(no_gpu_support())
    }

    /// The best GPU adapter: discrete, then integrated, then any other, software adapters included.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] without any adapter, [`Error::DeviceFailed`] when it cannot be opened.
    #[cfg(feature = "gpu")]
    pub fn gpu() -> Result<Self> {
        Ok(Self::from_backend(super::gpu::open(super::gpu::Selector::Any, true)?))
    }

    /// The best GPU adapter.
    ///
    /// # Errors
    /// Always [`Error::NoAdapter`]: this build lacks the feature `gpu`.
    #[cfg(not(feature = "gpu"))]
    pub fn gpu() -> Result<Self> {
        Err(no_gpu_support())
    }

    /// The best GPU adapter whose name contains `name`, in any case of letters.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], which lists the adapters that exist.
    #[cfg(feature = "gpu")]
    pub fn gpu_matching(name: &str) -> Result<Self> {
        Ok(Self::from_backend(super::gpu::open(super::gpu::Selector::Named(name), true)?))
    }

    /// A GPU adapter by name.
    ///
    /// # Errors
    /// Always [`Error::NoAdapter`]: this build lacks the feature `gpu`.
    #[cfg(not(feature = "gpu"))]
    pub fn gpu_matching(_name: &str) -> Result<Self> {
        Err(no_gpu_support())
    }

    /// As [`Device::gpu_matching`] (an empty name matches every adapter), with kernels that use 32-bit integers only, as
    /// on hardware without `SHADER_INT64`. The results are the same bits.
    ///
    /// # Errors
    /// As [`Device::gpu_matching`].
    #[cfg(feature = "gpu")]
    pub fn gpu_portable(name: &str) -> Result<Self> {
        Ok(Self::from_backend(super::gpu::open(super::gpu::Selector::Named(name), false)?))
    }

    /// Portable kernels on a GPU adapter by name.
    ///
    /// # Errors
    /// Always [`Error::NoAdapter`]: this build lacks the feature `gpu`.
    #[cfg(not(feature = "gpu"))]
    pub fn gpu_portable(_name: &str) -> Result<Self> {
        Err(no_gpu_support())
    }

    /// A device over a backend.
    pub(in crate::device) fn from_backend(backend: Box<dyn Backend>) -> Self {
        static DEVICES: AtomicU64 = AtomicU64::new(1);
        let id = DEVICES.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner { id, backend }))
    }

    /// Refuses what another device made: ids and memory mean nothing here.
    fn own(&self, op: &'static str, owner: u64) -> Result<()> {
        if owner == self.0.id {
            return Ok(());
        }
        Err(Error::DeviceMismatch { op, left: self.name().into(), right: "another device".into() })
    }

    /// The same hardware as a device of its own that logs every operation it runs, for tests and profiles of cost.
    pub fn recorded(&self) -> (Self, OpLog) {
        let log = OpLog::default();
        (Self::from_backend(Box::new(Recorder { device: self.clone(), log: log.clone() })), log)
    }

    /// What runs its operations.
    pub(super) fn backend(&self) -> &dyn Backend {
        self.0.backend.as_ref()
    }

    /// The device's name: the adapter's for a GPU.
    pub fn name(&self) -> &str {
        self.0.backend.name()
    }

    /// The kind of hardware.
    pub fn kind(&self) -> DeviceKind {
        self.0.backend.caps().kind
    }

    /// What the device can do.
    pub fn caps(&self) -> &Caps {
        self.0.backend.caps()
    }

    /// Whether both values are the same device.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Makes a ring known to the device; loading it again is cheap. Its tables stay there as long as the device lives.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceFailed`].
    pub fn load_ring(&self, tables: &Arc<RingTables>) -> Result<LoadedRing> {
        Ok(LoadedRing { tables: Arc::clone(tables), id: self.0.backend.load_ring(tables)?, owner: self.0.id })
    }

    /// Memory with unspecified contents.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], also for a buffer larger than the device allows; [`Error::DeviceFailed`].
    pub fn alloc(&self, shape: Shape) -> Result<Buffer> {
        self.fits(shape)?;
        Ok(self.0.backend.alloc(shape)?.owned_by(self.0.id))
    }

    fn fits(&self, shape: Shape) -> Result<()> {
        let bytes = shape.bytes();
        if bytes > self.caps().max_buffer_bytes {
            return Err(Error::OutOfMemory { device: self.name().into(), bytes });
        }
        Ok(())
    }

    /// Fresh memory holding `words`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a wrong number of words, [`Error::OutOfMemory`], [`Error::DeviceFailed`].
    pub fn upload(&self, shape: Shape, words: &[u32]) -> Result<Buffer> {
        if words.len() != shape.words() {
            return Err(Error::ShapeMismatch {
                op: "upload",
                expected: format!("{} words for {shape}", shape.words()),
                got: format!("{}", words.len()),
            });
        }
        self.upload_head(shape, words)
    }

    /// Fresh memory whose first words are `words`; the others are for an operation to write.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for more words than the shape has, [`Error::OutOfMemory`], [`Error::DeviceFailed`].
    pub(crate) fn upload_head(&self, shape: Shape, words: &[u32]) -> Result<Buffer> {
        if words.len() > shape.words() {
            return Err(Error::ShapeMismatch {
                op: "upload",
                expected: format!("at most {} words for {shape}", shape.words()),
                got: format!("{}", words.len()),
            });
        }
        self.fits(shape)?;
        Ok(self.0.backend.upload(shape, words)?.owned_by(self.0.id))
    }

    /// Checks an operation and runs it, or has it run later, after all earlier ones.
    ///
    /// Operations of one caller run in order. Callers on several threads must not write what others read or write at
    /// the same time.
    ///
    /// # Errors
    /// [`Error::DeviceMismatch`] for a ring or memory of another device;
    /// [`Error::BadProgram`] for an operation that is not well formed; an earlier device failure.
    #[expect(clippy::needless_pass_by_value, reason = "an operation is made to be recorded once")]
    pub fn record(&self, ring: &LoadedRing, op: Op) -> Result<()> {
        self.own(op.name(), ring.owner)?;
        self.own(op.name(), op.dst().buffer.owner())?;
        op.read_buffers().try_for_each(|source| self.own(op.name(), source.owner()))?;
        op.check(&ring.tables)?;
        self.0.backend.submit(ring.id, &op)
    }

    /// Hands all recorded operations to the hardware, without waiting for them.
    ///
    /// # Errors
    /// The device's failure, now or earlier.
    pub fn flush(&self) -> Result<()> {
        self.0.backend.flush()
    }

    /// The words of a whole buffer after everything recorded so far. The only call that waits (but for an allocation that
    /// finds the device's memory full, and an upload that runs far ahead of the device).
    ///
    /// # Errors
    /// The device's failure, now or earlier.
    pub fn download(&self, buffer: &Buffer) -> Result<Vec<u32>> {
        self.own("download", buffer.owner())?;
        self.0.backend.download(buffer)
    }

    /// What the device did since it was opened: operations, submissions, memory.
    pub fn statistics(&self) -> Statistics {
        self.0.backend.statistics()
    }

    /// Where the device's time went so far, if `RINGLIGHT_PROFILE` is set and the device can tell.
    ///
    /// # Errors
    /// The device's failure, now or earlier.
    #[cfg(feature = "profiling")]
    pub fn profile(&self) -> Result<Option<super::profile::Profile>> {
        self.flush()?;
        Ok(self.0.backend.profile())
    }
}

#[cfg(not(feature = "gpu"))]
fn no_gpu_support() -> Error {
    Error::NoAdapter { wanted: "at all".into(), reason: "this build lacks the feature `gpu`".into() }
}
