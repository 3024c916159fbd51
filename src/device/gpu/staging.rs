//! Between the host's memory and the device's: staging buffers, used again and again.
//!
//! An upload is written to mapped memory and copied by the next submission, before its programs run. A download has a staging
//! buffer of its own, so callers on several threads wait for the device side by side.

use super::failure::Failure;
use super::memory::{Block, Pool};
use crate::error::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of one staging buffer for uploads.
const CHUNK: u64 = 4 << 20;
/// Staged bytes after which uploads are submitted even if no program follows.
const BATCH: u64 = 32 << 20;
/// Most bytes of staging buffers for uploads. One that needs more waits until the device has copied some.
const MOST_STAGED: u64 = 128 << 20;
/// Most bytes of staging buffers that are kept between downloads.
const MOST_READ: u64 = 256 << 20;
/// Bytes of the smallest staging buffer for downloads.
const LEAST_READ: u64 = 1 << 16;

/// Staging buffers of one device.
#[derive(Debug)]
pub(super) struct Staging {
    device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    failure: Arc<Failure>,
    pool: Arc<Pool>,
    uploads: Mutex<Uploads>,
    /// Idle staging buffers for downloads.
    readers: Mutex<Vec<Block>>,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
}

#[derive(Debug)]
struct Uploads {
    /// Copies that wait for a submission.
    copies: Option<wgpu::CommandEncoder>,
    /// Mapped, and with copies from it; of the last one the first `used` bytes are taken.
    filled: Vec<Block>,
    used: u64,
    /// Mapped and empty.
    empty: Vec<Block>,
    /// Bytes of all staging buffers, those of submitted copies included.
    bytes: u64,
    /// Staging buffers come back once the device has copied them.
    back: Receiver<Block>,
    sender: Sender<Block>,
}

impl Staging {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue, failure: Arc<Failure>, pool: Arc<Pool>) -> Self {
        let (sender, back) = mpsc::channel();
        let uploads = Uploads { copies: None, filled: vec![], used: CHUNK, empty: vec![], bytes: 0, back, sender };
        Self {
            device,
            queue,
            failure,
            pool,
            uploads: Mutex::new(uploads),
            readers: Mutex::default(),
            uploaded: AtomicU64::new(0),
            downloaded: AtomicU64::new(0),
        }
    }

    /// Bytes that went up and down so far.
    pub(super) fn moved(&self) -> (u64, u64) {
        (self.uploaded.load(Ordering::Relaxed), self.downloaded.load(Ordering::Relaxed))
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next submission write `bytes`, whole words, before its programs run.
    pub(super) fn write(&self, target: &Block, mut offset: u64, bytes: &[u8]) -> Result<()> {
        let mut uploads = self.uploads();
        let mut left = bytes;
        while !left.is_empty() {
            if uploads.used == CHUNK {
                self.next_chunk(&mut uploads)?;
            }
            let uploads = &mut *uploads;
            let Some(chunk) = uploads.filled.last() else { break };
            let (part, rest) =
                left.split_at(left.len().min(usize::try_from(CHUNK - uploads.used).unwrap_or(usize::MAX)));
            let end = uploads.used + part.len() as u64;
            let mut view =
                chunk.gpu().get_mapped_range_mut(uploads.used..end).map_err(|e| self.failure.failed(e.to_string()))?;
            view.copy_from_slice(part);
            drop(view);
            let copies = uploads.copies.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()));
            copies.copy_buffer_to_buffer(chunk.gpu(), uploads.used, target.gpu(), offset, part.len() as u64);
            offset += part.len() as u64;
            // Mapped ranges begin at multiples of 8.
            uploads.used = end.next_multiple_of(wgpu::MAP_ALIGNMENT).min(CHUNK);
            left = rest;
        }
        self.uploaded.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn next_chunk(&self, uploads: &mut Uploads) -> Result<()> {
        if uploads.filled.len() as u64 * CHUNK >= BATCH {
            let copies = uploads.close();
            self.queue.submit(copies);
            uploads.recall();
        }
        uploads.empty.extend(uploads.back.try_iter());
        if uploads.empty.is_empty() && uploads.bytes >= MOST_STAGED {
            self.wait(None)?;
            uploads.empty.extend(uploads.back.try_iter());
        }
        let chunk = match uploads.empty.pop() {
            Some(chunk) => chunk,
            None => {
                let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
                let chunk = self.pool.fresh_mapped(CHUNK, usage)?;
                uploads.bytes += CHUNK;
                chunk
            }
        };
        uploads.filled.push(chunk);
        uploads.used = 0;
        Ok(())
    }

    /// Submits the waiting copies, then `work`.
    pub(super) fn submit(&self, work: Option<wgpu::CommandBuffer>) {
        let mut uploads = self.uploads();
        let commands: Vec<_> = uploads.close().into_iter().chain(work).collect();
        if !commands.is_empty() {
            self.queue.submit(commands);
        }
        uploads.recall();
    }

    /// Copies the first words of a block to the host, after everything submitted.
    pub(super) fn read(&self, block: &Block, words: usize) -> Result<Vec<u32>> {
        let bytes = 4 * words as u64;
        let staging = self.reader(bytes)?;
        self.downloaded.fetch_add(bytes, Ordering::Relaxed);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(block.gpu(), 0, staging.gpu(), 0, bytes);
        let (sender, receiver) = mpsc::channel();
        // The receiver is gone only if waiting failed, which is reported below.
        encoder.map_buffer_on_submit(staging.gpu(), wgpu::MapMode::Read, ..bytes, move |done| drop(sender.send(done)));
        let submission = self.queue.submit([encoder.finish()]);
        self.wait(Some(submission))?;
        receiver
            .recv()
            .map_err(|e| self.failure.failed(e.to_string()))?
            .map_err(|e| self.failure.failed(e.to_string()))?;
        let view = staging.gpu().get_mapped_range(..bytes).map_err(|e| self.failure.failed(e.to_string()))?;
        let out = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        staging.gpu().unmap();
        let mut readers = self.readers();
        if readers.iter().map(|reader| reader.gpu().size()).sum::<u64>() + staging.gpu().size() <= MOST_READ {
            readers.push(staging);
        }
        Ok(out)
    }

    /// The smallest idle staging buffer that is large enough, or a fresh one.
    fn reader(&self, bytes: u64) -> Result<Block> {
        let idle = {
            let mut readers = self.readers();
            let fits = |reader: &Block| reader.gpu().size() >= bytes;
            let sizes = readers.iter().enumerate().filter(|(_, reader)| fits(reader));
            let index = sizes.min_by_key(|(_, reader)| reader.gpu().size()).map(|(index, _)| index);
            index.map(|index| readers.swap_remove(index))
        };
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        idle.map_or_else(|| self.pool.roomy(bytes.max(LEAST_READ), usage), Ok)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Block>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of all staging buffers, once the device has copied what waits in them.
    pub(super) fn clear(&self) -> Result<()> {
        self.submit(None);
        self.wait(None)?;
        self.readers().clear();
        let mut uploads = self.uploads();
        let returned = uploads.back.try_iter().count() + std::mem::take(&mut uploads.empty).len();
        uploads.bytes -= returned as u64 * CHUNK;
        Ok(())
    }

    /// Waits for a submission, or for all.
    pub(super) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let wait = wgpu::PollType::Wait { submission_index: submission, timeout: None };
        self.device.poll(wait).map_err(|e| self.failure.failed(e.to_string()))?;
        self.failure.check()
    }
}

impl Uploads {
    /// Ends the waiting copies and unmaps what they read.
    fn close(&mut self) -> Option<wgpu::CommandBuffer> {
        self.filled.iter().for_each(|chunk| chunk.gpu().unmap());
        self.used = CHUNK;
        self.copies.take().map(wgpu::CommandEncoder::finish)
    }

    /// Has staging buffers whose copies are submitted mapped again.
    fn recall(&mut self) {
        for chunk in self.filled.drain(..) {
            let (sender, gpu) = (self.sender.clone(), chunk.gpu().clone());
            // A buffer that cannot be mapped is let go; that the receiver is gone means that the device is too.
            gpu.map_async(wgpu::MapMode::Write, .., move |done| drop(done.map(|()| sender.send(chunk))));
        }
    }
}
