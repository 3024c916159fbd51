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
pub(super) struct Line([u32; 16]);

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
        }
    }
}

/// A block of words that returns to its pool when dropped.
pub(super) struct Memory {
    words: usize,
    lines: RwLock<Vec<Line>>,
    pool: Arc<Pool>,
}

impl Memory {
    /// `words` words with unspecified contents, or `None` if the host has no memory for them.
    pub(super) fn new(words: usize, pool: &Arc<Pool>) -> Option<Self> {
        let count = words.div_ceil(16);
        let lines = match pool.take(count) {
            Some(lines) => lines,
            None => bytemuck::allocation::try_zeroed_vec(count).ok()?,
        };
        Some(Self { words, lines: RwLock::new(lines), pool: Arc::clone(pool) })
    }

    pub(super) fn read(&self) -> Reading<'_> {
        Words { words: self.words, guard: self.lines.read().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(super) fn write(&self) -> Words<RwLockWriteGuard<'_, Vec<Line>>> {
        Words { words: self.words, guard: self.lines.write().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(self.lines.get_mut().unwrap_or_else(PoisonError::into_inner)));
    }
}

/// Words locked for reading.
pub(super) type Reading<'a> = Words<RwLockReadGuard<'a, Vec<Line>>>;

/// Locked words.
pub(super) struct Words<G> {
    words: usize,
    guard: G,
}

impl<G: Deref<Target = Vec<Line>>> Deref for Words<G> {
    type Target = [u32];
    fn deref(&self) -> &[u32] {
        &bytemuck::cast_slice(&self.guard)[..self.words]
    }
}

impl<G: DerefMut<Target = Vec<Line>>> DerefMut for Words<G> {
    fn deref_mut(&mut self) -> &mut [u32] {
        &mut bytemuck::cast_slice_mut(&mut self.guard)[..self.words]
    }
}

/// The host memory of a buffer.
pub(super) fn of(buffer: &Buffer) -> Result<&Memory> {
    buffer.memory().ok_or_else(|| Error::BadProgram { op: "memory", reason: "a buffer of another device".into() })
}
