//! The CPU backend: SIMD kernels, rayon over polynomials and limbs.
//!
//! Every operation of a program runs when it is submitted. Rows (one limb of one polynomial) are the unit of work; the
//! kernels below [`kernels`] are plain loops that the compiler vectorises for the host's instruction set at run time.

mod kernels;
mod memory;

use super::backend::{Backend, Caps, DeviceKind};
use super::buffer::Buffer;
use super::program::{Program, RingId};
use crate::error::{Error, Result};
use crate::math::{RingTables, simd};
use crate::units::Shape;
use memory::{Memory, Pool};
use std::sync::{Arc, PoisonError, RwLock};

pub(in crate::device) use kernels::CpuRing;

/// Runs programs on the host's cores.
#[derive(Debug)]
pub(in crate::device) struct CpuBackend {
    name: String,
    caps: Caps,
    pool: Arc<Pool>,
    rings: RwLock<Vec<Arc<CpuRing>>>,
}

impl CpuBackend {
    pub(in crate::device) fn new() -> Self {
        Self {
            name: format!("CPU ({} threads, {})", rayon::current_num_threads(), simd::name()),
            caps: Caps {
                kind: DeviceKind::Cpu,
                int64: true,
                queue_ops: 1,
                queue_bytes: u64::MAX,
                max_buffer_bytes: 1 << 40,
            },
            pool: Arc::default(),
            rings: RwLock::default(),
        }
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        &self.name
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn load_ring(&self, ring: &Arc<RingTables>) -> Result<RingId> {
        let mut rings = self.rings.write().unwrap_or_else(PoisonError::into_inner);
        let index = rings.iter().position(|known| known.tables() == ring).unwrap_or_else(|| {
            rings.push(Arc::new(CpuRing::new(Arc::clone(ring))));
            rings.len() - 1
        });
        Ok(RingId(u32::try_from(index).expect("fewer than 2^32 rings")))
    }

    fn alloc(&self, shape: Shape) -> Result<Buffer> {
        let memory = Memory::new(shape.words(), &self.pool)
            .ok_or_else(|| Error::OutOfMemory { device: self.name.clone(), bytes: shape.bytes() })?;
        Ok(Buffer::new(shape, Arc::new(memory)))
    }

    fn upload(&self, dst: &Buffer, words: &[u32]) -> Result<()> {
        let mut to = memory::of(dst)?.write();
        if to.len() < words.len() {
            return Err(Error::ShapeMismatch {
                op: "upload",
                expected: format!("at most {} words", to.len()),
                got: format!("{}", words.len()),
            });
        }
        to[..words.len()].copy_from_slice(words);
        Ok(())
    }

    fn submit(&self, program: Program) -> Result<()> {
        for (ring, op) in &program.steps {
            let rings = self.rings.read().unwrap_or_else(PoisonError::into_inner);
            let ring = rings
                .get(ring.0 as usize)
                .map(Arc::clone)
                .ok_or_else(|| Error::BadProgram { op: op.name(), reason: "a ring of another device".into() })?;
            drop(rings);
            kernels::run(&ring, &self.pool, op)?;
        }
        Ok(())
    }

    fn download(&self, src: &Buffer) -> Result<Vec<u32>> {
        Ok(memory::of(src)?.read().to_vec())
    }
}
