//! The debug switch: operations named in `RINGLIGHT_CPU_OPS` run on the CPU inside a GPU program.
//!
//! `RINGLIGHT_CPU_OPS=ntt_forward,mod_down` submits programs at these operations, downloads their operands, runs them on a
//! CPU backend and uploads the result, so that a wrong kernel can be found by bisection. Slow by design.

use super::GpuBackend;
use crate::device::backend::Backend;
use crate::device::buffer::Buffer;
use crate::device::cpu::CpuBackend;
use crate::device::program::{Op, RingId};
use crate::error::{Error, Result};

/// Comma-separated names as in [`Op::name`].
const VARIABLE: &str = "RINGLIGHT_CPU_OPS";

/// Every name that an operation has.
const NAMES: [&str; 22] = [
    "zero",
    "copy",
    "uniform",
    "add",
    "sub",
    "neg",
    "mul",
    "mul_add",
    "mul_scalar",
    "mul_scalar_add",
    "add_scalar",
    "tensor",
    "ntt_forward",
    "ntt_inverse",
    "automorphism",
    "basis_extend",
    "decompose",
    "gadget_dot",
    "key_switch",
    "mod_down",
    "combine",
    "combine_sparse",
];

/// A CPU backend that stands in for some operations.
#[derive(Debug)]
pub(super) struct Shadow {
    ops: Vec<&'static str>,
    cpu: CpuBackend,
    threads: rayon::ThreadPool,
}

impl Shadow {
    /// What the environment asks for, if it does.
    pub(super) fn from_environment() -> Result<Option<Self>> {
        std::env::var(VARIABLE).map_or(Ok(None), |names| Self::new(&names))
    }

    /// A stand-in for the operations with these names, if there are any.
    pub(super) fn new(names: &str) -> Result<Option<Self>> {
        let asked = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let (mut ops, mut unknown) = (Vec::new(), Vec::new());
        for name in asked {
            match NAMES.iter().find(|known| **known == name) {
                Some(known) => ops.push(*known),
                None => unknown.push(name),
            }
        }
        if !unknown.is_empty() {
            let (unknown, known) = (unknown.join(", "), NAMES.join(", "));
            log::warn!("{VARIABLE}: no operation is called {unknown}; there are {known}");
        }
        if ops.is_empty() {
            return Ok(None);
        }
        log::warn!("{VARIABLE}: {} run on the CPU", ops.join(", "));
        let threads = rayon::ThreadPoolBuilder::new()
            .build()
            .map_err(|e| Error::DeviceFailed { device: VARIABLE.into(), reason: e.to_string() })?;
        Ok(Some(Self { ops, cpu: CpuBackend::new(), threads }))
    }

    /// Names of the operations that it stands in for.
    #[cfg(test)]
    pub(super) fn ops(&self) -> &[&'static str] {
        &self.ops
    }

    /// Runs an operation, here if it is one of the named.
    pub(super) fn submit(&self, gpu: &GpuBackend, ring: RingId, op: &Op) -> Result<()> {
        debug_assert!(NAMES.contains(&op.name()), "{} is not listed", op.name());
        if self.ops.contains(&op.name()) { self.run(gpu, ring, op.clone()) } else { gpu.run(ring, op) }
    }

    fn run(&self, gpu: &GpuBackend, ring: RingId, op: Op) -> Result<()> {
        let ring = gpu.state().ring(ring, &op)?;
        let ring = self.cpu.load_ring(ring.tables())?;
        let target = op.dst().buffer.clone();
        let mut copies: Vec<(Buffer, Buffer)> = Vec::new();
        let op = op.try_map_buffers(|buffer| {
            if let Some((_, copy)) = copies.iter().find(|(known, _)| known.is_same(buffer)) {
                return Ok(copy.clone());
            }
            let copy = self.cpu.upload(buffer.shape(), &gpu.download(buffer)?)?;
            copies.push((buffer.clone(), copy.clone()));
            Ok(copy)
        })?;
        let result = op.dst().buffer.clone();
        self.on_own_threads(|| self.cpu.submit(ring, &op))?;
        gpu.overwrite(&target, &self.cpu.download(&result)?)
    }

    /// Runs `f` with a thread pool of its own and sleeps meanwhile. The caller may hold locks of the layers above, so neither it
    /// nor the threads that do the work may take up what other callers gave to rayon: that may want the same lock.
    fn on_own_threads<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            // From a thread that is not rayon's, `install` waits without working.
            let done = scope.spawn(|| self.threads.install(f)).join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
