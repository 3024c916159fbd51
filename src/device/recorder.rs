//! A device that keeps a list of what it ran: cost as data, for tests and profiles.

use super::backend::{Backend, Caps};
use super::buffer::Buffer;
use super::program::{Program, RingId};
use super::queue::Device;
use crate::error::Result;
use crate::math::RingTables;
use crate::units::Shape;
use std::sync::{Arc, Mutex, PoisonError};

/// What a recorded device ran, in order. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct OpLog(Arc<Mutex<Vec<String>>>);

impl OpLog {
    /// The operations since the last call, as [`super::Op`] prints them. Those that still wait in the device's queue are
    /// not among them: flush it first.
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

    fn upload(&self, dst: &Buffer, words: &[u32]) -> Result<()> {
        self.device.backend().upload(dst, words)
    }

    fn submit(&self, program: Program) -> Result<()> {
        let names = program.steps.iter().map(|(_, op)| op.to_string());
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
        self.device.backend().submit(program)
    }

    fn download(&self, src: &Buffer) -> Result<Vec<u32>> {
        self.device.backend().download(src)
    }
}
