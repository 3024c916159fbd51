//! Device memory behind a buffer, pooled by size.

use super::failure::Failure;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A GPU buffer with an identity that is never used again, so that bind groups can be cached by it.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) id: u64,
    pub(super) gpu: wgpu::Buffer,
}

/// Makes blocks and keeps idle ones.
///
/// A block may be handed out again while the GPU still works with it: everything that touched it has been submitted, and
/// later submissions and uploads run after that.
#[derive(Debug)]
pub(super) struct Pool {
    device: wgpu::Device,
    failure: Arc<Failure>,
    most_bytes: u64,
    most_idle: u64,
    next_id: AtomicU64,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    blocks: HashMap<u64, Vec<Block>>,
    bytes: u64,
    /// Blocks were given up since the last look: caches that hold them should let go.
    shed: bool,
}

/// Usages of every block.
const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

impl Pool {
    pub(super) fn new(device: wgpu::Device, failure: Arc<Failure>, most_bytes: u64, most_idle: u64) -> Self {
        Self { device, failure, most_bytes, most_idle, next_id: AtomicU64::new(0), idle: Mutex::default() }
    }

    /// A block of at least `bytes` bytes outside the pool.
    pub(super) fn fresh(&self, bytes: u64, usage: wgpu::BufferUsages) -> crate::Result<Block> {
        if bytes > self.most_bytes {
            return Err(self.failure.out_of_memory(bytes));
        }
        // Error scopes belong to this thread, and on native devices they know their errors at once.
        let out_of_memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let gpu = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage,
            mapped_at_creation: false,
        });
        if pollster::block_on(out_of_memory.pop()).is_some() {
            return Err(self.failure.out_of_memory(bytes));
        }
        self.failure.check()?;
        Ok(Block { id: self.next_id.fetch_add(1, Ordering::Relaxed), gpu })
    }

    /// As [`Pool::fresh`] with room to grow: the next power of two, as far as the device allows.
    pub(super) fn roomy(&self, bytes: u64, usage: wgpu::BufferUsages) -> crate::Result<Block> {
        let most = self.most_bytes - self.most_bytes % 16;
        self.fresh(bytes.next_power_of_two().min(most).max(bytes), usage)
    }

    /// Memory of `words` words with unspecified contents.
    pub(super) fn take(self: &Arc<Self>, words: usize) -> crate::Result<Memory> {
        let bytes = (4 * words as u64).next_multiple_of(16);
        let idle = {
            let mut idle = self.idle();
            let found = idle.blocks.get_mut(&bytes).and_then(Vec::pop);
            idle.bytes -= if found.is_some() { bytes } else { 0 };
            found
        };
        let block = match idle {
            Some(block) => block,
            None => self.fresh(bytes, USAGE)?,
        };
        Ok(Memory { words, bytes, block, pool: Arc::clone(self) })
    }

    /// Gives up all idle blocks.
    pub(super) fn clear(&self) {
        let mut idle = self.idle();
        *idle = Idle { shed: true, ..Idle::default() };
    }

    /// Whether blocks were given up since the last call.
    pub(super) fn take_shed(&self) -> bool {
        std::mem::take(&mut self.idle().shed)
    }

    fn give(&self, bytes: u64, block: Block) {
        let mut idle = self.idle();
        if idle.bytes + bytes <= self.most_idle {
            idle.bytes += bytes;
            idle.blocks.entry(bytes).or_default().push(block);
        } else {
            idle.shed = true;
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
