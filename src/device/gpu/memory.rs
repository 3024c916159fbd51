//! Device memory behind a buffer, pooled by size.

use super::failure::Failure;
use crate::error::Error;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A GPU buffer with an identity that is never used again, so that bind groups can be cached by it. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Block(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    gpu: wgpu::Buffer,
    meter: Arc<Meter>,
    /// The last program that binds it.
    program: AtomicU64,
}

impl Block {
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    pub(super) fn gpu(&self) -> &wgpu::Buffer {
        &self.0.gpu
    }

    /// Notes that a program binds it.
    pub(super) fn bound_by(&self, program: u64) {
        self.0.program.store(program, Ordering::Relaxed);
    }

    /// Whether this program or a later one binds it.
    fn is_bound_since(&self, program: u64) -> bool {
        self.0.program.load(Ordering::Relaxed) >= program
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.meter.now.fetch_sub(self.gpu.size(), Ordering::Relaxed);
    }
}

/// Bytes of all blocks.
#[derive(Debug, Default)]
struct Meter {
    now: AtomicU64,
    peak: AtomicU64,
}

/// Makes blocks and keeps idle ones.
///
/// A block may be handed out again while programs that bind it are still recorded or run: what is recorded later runs after
/// that. Only uploads run before the program that is being recorded, so they take blocks that it does not bind.
#[derive(Debug)]
pub(super) struct Pool {
    device: wgpu::Device,
    failure: Arc<Failure>,
    most_bytes: u64,
    most_idle: u64,
    next_id: AtomicU64,
    /// The program that is being recorded; counts from 1.
    program: AtomicU64,
    meter: Arc<Meter>,
    idle: Mutex<Idle>,
    /// The block, counted from the next one as 1, that cannot be had; 0 for none.
    #[cfg(test)]
    pub(super) missing: std::sync::atomic::AtomicU32,
}

#[derive(Debug, Default)]
struct Idle {
    blocks: FxHashMap<u64, Vec<Block>>,
    bytes: u64,
    /// Bytes of blocks that were given up since the last look: caches that hold them should let go.
    shed: u64,
}

/// Usages of every block.
const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

impl Pool {
    pub(super) fn new(device: wgpu::Device, failure: Arc<Failure>, most_bytes: u64, most_idle: u64) -> Self {
        Self {
            device,
            failure,
            most_bytes,
            most_idle,
            next_id: AtomicU64::new(0),
            program: AtomicU64::new(1),
            meter: Arc::default(),
            idle: Mutex::default(),
            #[cfg(test)]
            missing: Default::default(),
        }
    }

    /// A block of at least `bytes` bytes outside the pool.
    pub(super) fn fresh(&self, bytes: u64, usage: wgpu::BufferUsages) -> crate::Result<Block> {
        self.make(bytes, usage, false)
    }

    /// The same, mapped for the host to write.
    pub(super) fn fresh_mapped(&self, bytes: u64, usage: wgpu::BufferUsages) -> crate::Result<Block> {
        self.make(bytes, usage, true)
    }

    fn make(&self, bytes: u64, usage: wgpu::BufferUsages, mapped_at_creation: bool) -> crate::Result<Block> {
        if bytes > self.most_bytes {
            return Err(self.failure.out_of_memory(bytes));
        }
        #[cfg(test)]
        if self.missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) == Ok(1) {
            return Err(self.failure.out_of_memory(bytes));
        }
        // Error scopes belong to this thread, and on native devices they know their errors at once.
        let out_of_memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let gpu =
            self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation });
        if pollster::block_on(out_of_memory.pop()).is_some() {
            return Err(self.failure.out_of_memory(bytes));
        }
        self.failure.check()?;
        let now = self.meter.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.meter.peak.fetch_max(now, Ordering::Relaxed);
        let (id, meter) = (self.next_id.fetch_add(1, Ordering::Relaxed), Arc::clone(&self.meter));
        Ok(Block(Arc::new(Inner { id, gpu, meter, program: AtomicU64::new(0) })))
    }

    /// As [`Pool::fresh`] with room to grow: the next power of two, as far as the device allows and has it.
    pub(super) fn roomy(&self, bytes: u64, usage: wgpu::BufferUsages) -> crate::Result<Block> {
        let most = self.most_bytes - self.most_bytes % 16;
        let room = bytes.next_power_of_two().min(most);
        match self.fresh(room.max(bytes), usage) {
            Err(Error::OutOfMemory { .. }) if room > bytes => self.fresh(bytes, usage),
            made => made,
        }
    }

    /// Memory of `words` words with unspecified contents, for programs to write.
    pub(super) fn take(self: &Arc<Self>, words: usize) -> crate::Result<Memory> {
        self.take_where(words, |_| true)
    }

    /// The same for an upload: nothing that `program`, the one that is being recorded, binds. Others may have submitted it
    /// meanwhile and recorded the next one, whose launches an upload must not precede either.
    pub(super) fn take_for_upload(self: &Arc<Self>, words: usize, program: u64) -> crate::Result<Memory> {
        self.take_where(words, |block| !block.is_bound_since(program))
    }

    fn take_where(self: &Arc<Self>, words: usize, fits: impl Fn(&Block) -> bool) -> crate::Result<Memory> {
        let bytes = (4 * words as u64).next_multiple_of(16);
        let idle = {
            let mut idle = self.idle();
            let blocks = idle.blocks.entry(bytes).or_default();
            let found = blocks.iter().rposition(fits).map(|index| blocks.swap_remove(index));
            idle.bytes -= if found.is_some() { bytes } else { 0 };
            found
        };
        let block = match idle {
            Some(block) => block,
            None => self.fresh(bytes, USAGE)?,
        };
        Ok(Memory { words, bytes, block, pool: Arc::clone(self) })
    }

    /// The program that is being recorded.
    pub(super) fn program(&self) -> u64 {
        self.program.load(Ordering::Acquire)
    }

    /// Says that the program was submitted and the next one begins.
    pub(super) fn begin_program(&self) {
        self.program.fetch_add(1, Ordering::Release);
    }

    /// Gives up all idle blocks.
    pub(super) fn clear(&self) {
        let mut idle = self.idle();
        idle.shed += idle.bytes;
        idle.bytes = 0;
        idle.blocks.clear();
    }

    /// Whether so much was given up since the last [`Pool::take_shed`] that caches should let go of it soon.
    pub(super) fn is_pressed(&self) -> bool {
        self.idle().shed > self.most_idle
    }

    /// Whether blocks were given up since the last call.
    pub(super) fn take_shed(&self) -> bool {
        std::mem::take(&mut self.idle().shed) > 0
    }

    /// Bytes of all blocks now, and the most that there were.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.meter.now.load(Ordering::Relaxed), self.meter.peak.load(Ordering::Relaxed))
    }

    fn give(&self, bytes: u64, block: Block) {
        let mut idle = self.idle();
        if idle.bytes + bytes <= self.most_idle {
            idle.bytes += bytes;
            idle.blocks.entry(bytes).or_default().push(block);
        } else {
            idle.shed += bytes;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block that returns to its pool when dropped.
#[derive(Debug)]
pub(super) struct Memory {
    words: usize,
    bytes: u64,
    block: Block,
    pool: Arc<Pool>,
}

impl Memory {
    pub(super) fn words(&self) -> usize {
        self.words
    }

    pub(super) fn block(&self) -> &Block {
        &self.block
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.pool.give(self.bytes, self.block.clone());
    }
}
