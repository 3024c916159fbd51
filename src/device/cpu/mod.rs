//! The CPU backend: SIMD kernels, rayon over polynomials and limbs.
//!
//! Every operation runs when it is submitted. Rows (one limb of one polynomial) are the unit of work. Most kernels are plain loops,
//! compiled for several instruction sets; transforms and automorphisms are written with intrinsics. Which of them run is decided
//! once for the process, at run time.

mod kernels;
mod memory;

use super::backend::{Backend, Caps, DeviceKind, Statistics};
use super::buffer::Buffer;
use super::program::{Op, RingId};
use crate::error::{Error, Result};
use crate::math::{RingTables, simd};
use crate::units::Shape;
use memory::{Block, Memory, Pool};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub(in crate::device) use kernels::CpuRing;

/// Runs programs on the host's cores.
#[derive(Debug)]
pub(in crate::device) struct CpuBackend {
    name: String,
    caps: Caps,
    pool: Arc<Pool>,
    rings: RwLock<Vec<Arc<CpuRing>>>,
    operations: AtomicU64,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
    #[cfg(feature = "profiling")]
    profiler: Option<super::profile::Profiler>,
}

impl CpuBackend {
    pub(in crate::device) fn new() -> Self {
        let name = format!("CPU ({} threads, {})", rayon::current_num_threads(), simd::name());
        Self {
            #[cfg(feature = "profiling")]
            profiler: super::profile::Profiler::from_environment(&name),
            name,
            caps: Caps { kind: DeviceKind::Cpu, int64: true, max_buffer_bytes: 1 << 40 },
            pool: Arc::default(),
            rings: RwLock::default(),
            operations: AtomicU64::new(0),
            uploaded: AtomicU64::new(0),
            downloaded: AtomicU64::new(0),
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
        Ok(Buffer::new(shape, Arc::new(Memory::new(Block::new(shape.words(), &self.pool)?))))
    }

    fn upload(&self, shape: Shape, words: &[u32]) -> Result<Buffer> {
        let buffer = self.alloc(shape)?;
        memory::of(&buffer)?.write()[..words.len()].copy_from_slice(words);
        self.uploaded.fetch_add(4 * words.len() as u64, Ordering::Relaxed);
        Ok(buffer)
    }

    fn submit(&self, ring: RingId, op: &Op) -> Result<()> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let rings = self.rings.read().unwrap_or_else(PoisonError::into_inner);
        let ring = rings
            .get(ring.0 as usize)
            .map(Arc::clone)
            .ok_or_else(|| Error::BadProgram { op: op.name(), reason: "a ring of another device".into() })?;
        drop(rings);
        #[cfg(feature = "profiling")]
        if let Some(profiler) = &self.profiler {
            return profiler.time(op, || kernels::run(&ring, &self.pool, op));
        }
        kernels::run(&ring, &self.pool, op)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn download(&self, src: &Buffer) -> Result<Vec<u32>> {
        let words = memory::of(src)?.read().to_vec();
        self.downloaded.fetch_add(4 * words.len() as u64, Ordering::Relaxed);
        Ok(words)
    }

    fn statistics(&self) -> Statistics {
        let (memory_bytes, peak_memory_bytes) = self.pool.bytes();
        Statistics {
            operations: self.operations.load(Ordering::Relaxed),
            uploaded_bytes: self.uploaded.load(Ordering::Relaxed),
            downloaded_bytes: self.downloaded.load(Ordering::Relaxed),
            memory_bytes,
            peak_memory_bytes,
            ..Statistics::default()
        }
    }

    #[cfg(feature = "profiling")]
    fn profile(&self) -> Option<super::profile::Profile> {
        self.profiler.as_ref().map(super::profile::Profiler::profile)
    }
}
