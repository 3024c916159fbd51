//! The debug switch: operations named in `RINGLIGHT_CPU_OPS` run on the CPU inside a GPU program.
//!
//! `RINGLIGHT_CPU_OPS=ntt_forward,mod_down` splits programs at these operations, downloads their operands, runs them on a
//! CPU backend and uploads the result, so that a wrong kernel can be found by bisection. Slow by design.

use super::GpuBackend;
use crate::device::backend::Backend;
use crate::device::buffer::Buffer;
use crate::device::cpu::CpuBackend;
use crate::device::program::{Op, Program, RingId};
use crate::error::Result;
use crate::math::RingTables;
use std::sync::Arc;

/// Comma-separated names as in [`Op::name`].
const VARIABLE: &str = "RINGLIGHT_CPU_OPS";

/// A CPU backend that stands in for some operations. Its ring ids equal the GPU's: both load the same rings in order.
#[derive(Debug)]
pub(super) struct Shadow {
    ops: Vec<String>,
    cpu: CpuBackend,
}

impl Shadow {
    /// What the environment asks for, if it does.
    pub(super) fn from_environment() -> Option<Self> {
        let ops: Vec<String> = std::env::var(VARIABLE)
            .ok()?
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|s| !s.is_empty())
            .collect();
        log::warn!("{VARIABLE}: {} run on the CPU", ops.join(", "));
        (!ops.is_empty()).then(|| Self { ops, cpu: CpuBackend::new() })
    }

    pub(super) fn load_ring(&self, ring: &Arc<RingTables>) -> Result<RingId> {
        self.cpu.load_ring(ring)
    }

    /// Runs a program, the named operations here.
    pub(super) fn submit(&self, gpu: &GpuBackend, program: Program) -> Result<()> {
        let mut pending = Program::default();
        for (ring, op) in program.steps {
            if self.ops.iter().any(|name| name == op.name()) {
                gpu.run(&std::mem::take(&mut pending))?;
                self.run(gpu, ring, op)?;
            } else {
                pending.steps.push((ring, op));
            }
        }
        gpu.run(&pending)
    }

    fn run(&self, gpu: &GpuBackend, ring: RingId, op: Op) -> Result<()> {
        let target = op.dst().buffer.clone();
        let mut copies: Vec<(Buffer, Buffer)> = Vec::new();
        let op = op.try_map_buffers(|buffer| {
            if let Some((_, copy)) = copies.iter().find(|(known, _)| known.is_same(buffer)) {
                return Ok(copy.clone());
            }
            let copy = self.cpu.alloc(buffer.shape())?;
            self.cpu.upload(&copy, &gpu.download(buffer)?)?;
            copies.push((buffer.clone(), copy.clone()));
            Ok(copy)
        })?;
        let result = op.dst().buffer.clone();
        self.cpu.submit(Program { steps: vec![(ring, op)] })?;
        gpu.upload(&target, &self.cpu.download(&result)?)
    }
}
