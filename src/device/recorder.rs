//! A device that keeps a list of what it ran: cost as data, for tests and profiles.

use super::backend::{Backend, Caps, Statistics};
use super::buffer::Buffer;
use super::handle::Device;
use super::program::{Op, RingId};
use crate::error::Result;
use crate::math::RingTables;
use crate::units::Shape;
use std::sync::{Arc, Mutex, PoisonError};

/// What a recorded device ran, in order. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct OpLog(Arc<Mutex<Vec<String>>>);

impl OpLog {
    /// The operations since the last call, as [`super::Op`] prints them.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Passes everything on to a device and notes the operations.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) device: Device,
    pub(super) log: OpLog,
}

impl Backend for Recorder {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn caps(&self) -> &Caps {
        self.device.caps()
    }

    fn load_ring(&self, ring: &Arc<RingTables>) -> Result<RingId> {
        self.device.backend().load_ring(ring)
    }

    fn alloc(&self, shape: Shape) -> Result<Buffer> {
        self.device.backend().alloc(shape)
    }

    fn upload(&self, shape: Shape, words: &[u32]) -> Result<Buffer> {
        self.device.backend().upload(shape, words)
    }

    fn submit(&self, ring: RingId, op: &Op) -> Result<()> {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).push(op.to_string());
        self.device.backend().submit(ring, op)
    }

    fn flush(&self) -> Result<()> {
        self.device.backend().flush()
    }

    fn statistics(&self) -> Statistics {
        self.device.backend().statistics()
    }

    #[cfg(feature = "profiling")]
    fn profile(&self) -> Option<super::profile::Profile> {
        self.device.backend().profile()
    }

    fn download(&self, src: &Buffer) -> Result<Vec<u32>> {
        self.device.backend().download(src)
    }
}
