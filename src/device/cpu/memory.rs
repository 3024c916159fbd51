//! Host memory behind a buffer: cache-line aligned, pooled.

use crate::device::buffer::Buffer;
use crate::error::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::cell::Cell;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Words of one cache line, so that vectors of them are aligned for the widest loads.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

thread_local! {
    static SCRATCH: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Runs `f` on `words` words of the thread's own memory, with unspecified contents. `f` must not hand work to rayon: what the
/// thread took up meanwhile would find no memory, and leave its own behind.
pub(super) fn with_scratch<T>(words: usize, f: impl FnOnce(&mut [u32]) -> T) -> T {
    let mut lines = SCRATCH.take();
    if lines.len() < words.div_ceil(16) {
        lines.resize(words.div_ceil(16), Line::zeroed());
    }
    let result = f(&mut bytemuck::cast_slice_mut(&mut lines)[..words]);
    SCRATCH.set(lines);
    result
}

/// Most idle bytes that a pool keeps.
const POOL_BYTES: usize = 1 << 30;

/// Idle blocks by size in lines.
#[derive(Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    blocks: HashMap<usize, Vec<Vec<Line>>>,
    bytes: usize,
    /// Bytes of all blocks, those in use included, and the most that there were.
    all: usize,
    peak: usize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Pool({} bytes idle)", idle.bytes)
    }
}

impl Pool {
    fn take(&self, lines: usize) -> Option<Vec<Line>> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let block = idle.blocks.get_mut(&lines)?.pop()?;
        idle.bytes -= 64 * lines;
        Some(block)
    }

    fn give(&self, block: Vec<Line>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.bytes + 64 * block.len() <= POOL_BYTES {
            idle.bytes += 64 * block.len();
            idle.blocks.entry(block.len()).or_default().push(block);
        } else {
            idle.all -= 64 * block.len();
        }
    }

    /// Notes a fresh block.
    fn count(&self, lines: usize) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.all += 64 * lines;
        idle.peak = idle.peak.max(idle.all);
    }

    /// Bytes of all blocks now, and the most that there were.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (idle.all as u64, idle.peak as u64)
    }
}

/// A block of words that returns to its pool when dropped.
pub(super) struct Block {
    words: usize,
    lines: Vec<Line>,
    pool: Arc<Pool>,
}

impl Block {
    /// `words` words with unspecified contents.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn new(words: usize, pool: &Arc<Pool>) -> Result<Self> {
        let count = words.div_ceil(16);
        let lines = match pool.take(count) {
            Some(lines) => lines,
            None => {
                let lines = bytemuck::allocation::try_zeroed_vec(count)
                    .map_err(|()| Error::OutOfMemory { device: "CPU".into(), bytes: 4 * words as u64 })?;
                pool.count(count);
                lines
            }
        };
        Ok(Self { words, lines, pool: Arc::clone(pool) })
    }

    /// Another block of the same pool.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn another(&self, words: usize) -> Result<Self> {
        Self::new(words, &self.pool)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.lines));
    }
}

impl Deref for Block {
    type Target = [u32];
    fn deref(&self) -> &[u32] {
        &bytemuck::cast_slice(&self.lines)[..self.words]
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.words]
    }
}

/// A buffer's block.
pub(super) struct Memory(RwLock<Block>);

/// Words locked for reading.
pub(super) type Reading<'a> = RwLockReadGuard<'a, Block>;

impl Memory {
    pub(super) fn new(block: Block) -> Self {
        Self(RwLock::new(block))
    }

    pub(super) fn read(&self) -> Reading<'_> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Block> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host memory of a buffer.
pub(super) fn of(buffer: &Buffer) -> Result<&Memory> {
    buffer.memory().ok_or_else(|| Error::BadProgram { op: "memory", reason: "a buffer of another device".into() })
}
