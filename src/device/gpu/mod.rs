//! The GPU backend: WGSL kernels through wgpu.
//!
//! A program is lowered to kernel launches ([`lower`]), which become one compute pass and one submission ([`dispatch`]).
//! Kernels bind one layout: parameters of the launch (one buffer a program, dynamic offsets), interned small tables, and up
//! to six data buffers. Every data buffer is bound for reading and writing, so operands may be windows on one buffer.
//!
//! | Operation | Passes |
//! |---|---|
//! | word by word, `Uniform`, `Automorphism`, `Combine`, `BasisExtend` | 1 |
//! | `NttForward`, `NttInverse` | 1 up to `2^12`, 2 above |
//! | `GadgetDot` | 1 for every 4 digits |
//! | `Decompose` | conversion of all digits, then one NTT of the foreign limbs |
//! | `ModDown` | inverse NTT of the dropped limbs, conversion, NTT that subtracts and divides at its end |

mod catalog;
mod dispatch;
mod failure;
mod lower;
mod memory;
mod open;
mod params;
mod shadow;
mod tables;
mod twiddles;

pub(in crate::device) use open::{Selector, open};

use super::backend::{Backend, Caps};
use super::buffer::Buffer;
use super::program::{Op, Program, RingId};
use crate::error::{Error, Result};
use crate::math::RingTables;
use crate::units::Shape;
use catalog::WideProduct;
use dispatch::{Encoder, Recorder, memory_of};
use failure::Failure;
use lower::GpuRing;
use memory::{Block, Pool};
use shadow::Shadow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tables::Tables;

/// Bytes of uploads after which they are sent to the device even if no program follows.
const UPLOAD_BATCH: usize = 64 << 20;
/// Largest staging buffer that is kept between downloads.
const MOST_STAGING: u64 = 256 << 20;

/// Runs programs on one wgpu device.
#[derive(Debug)]
pub(in crate::device) struct GpuBackend {
    name: String,
    caps: Caps,
    limits: wgpu::Limits,
    device: wgpu::Device,
    queue: wgpu::Queue,
    failure: Arc<Failure>,
    pool: Arc<Pool>,
    state: Mutex<State>,
    staging: Mutex<Option<Block>>,
    shadow: Option<Shadow>,
}

#[derive(Debug)]
struct State {
    encoder: Encoder,
    tables: Tables,
    rings: Vec<Arc<GpuRing>>,
    uploaded: usize,
}

impl State {
    fn ring(&self, id: RingId, op: &Op) -> Result<Arc<GpuRing>> {
        let ring = self.rings.get(id.0 as usize).map(Arc::clone);
        ring.ok_or_else(|| Error::BadProgram { op: op.name(), reason: "a ring of another device".into() })
    }

    fn known(&self, tables: &Arc<RingTables>) -> Option<usize> {
        self.rings.iter().position(|known| known.tables() == tables)
    }
}

impl GpuBackend {
    fn new(name: String, caps: Caps, device: wgpu::Device, queue: wgpu::Queue, failure: Arc<Failure>) -> Result<Self> {
        let limits = device.limits();
        let pool = Arc::new(Pool::new(device.clone(), Arc::clone(&failure), caps.max_buffer_bytes, caps.queue_bytes));
        let product = if caps.int64 { WideProduct::Int64 } else { WideProduct::Portable };
        let encoder = Encoder::new(device.clone(), queue.clone(), Arc::clone(&pool), product)?;
        let state = State { encoder, tables: Tables::default(), rings: Vec::new(), uploaded: 0 };
        let shadow = Shadow::from_environment()?;
        let (state, staging) = (Mutex::new(state), Mutex::default());
        Ok(Self { name, caps, limits, device, queue, failure, pool, state, staging, shadow })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves well-formed caches behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut State, block: &Block, offset: u64, bytes: &[u8]) {
        for (index, part) in (0..).zip(bytes.chunks(UPLOAD_BATCH)) {
            self.queue.write_buffer(&block.gpu, offset + (index * UPLOAD_BATCH) as u64, part);
            state.uploaded += part.len();
            if state.uploaded >= UPLOAD_BATCH {
                // Uploads wait in staging memory for the next submission.
                self.queue.submit([]);
                state.uploaded = 0;
            }
        }
    }

    /// Copies a block to the host, after everything submitted.
    fn read(&self, block: &Block, words: usize) -> Result<Vec<u32>> {
        let bytes = 4 * words as u64;
        let mut kept = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let staging = match kept.take().filter(|block| block.gpu.size() >= bytes) {
            Some(staging) => staging,
            None => {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                self.pool.roomy(bytes.max(1 << 16), usage)?
            }
        };
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&block.gpu, 0, &staging.gpu, 0, bytes);
        self.queue.submit([encoder.finish()]);
        let (sender, receiver) = std::sync::mpsc::channel();
        // The receiver is gone only if waiting failed, which is reported below.
        staging.gpu.map_async(wgpu::MapMode::Read, ..bytes, move |done| drop(sender.send(done)));
        self.wait()?;
        receiver
            .recv()
            .map_err(|e| self.failure.failed(e.to_string()))?
            .map_err(|e| self.failure.failed(e.to_string()))?;
        let view = staging.gpu.get_mapped_range(..bytes).map_err(|e| self.failure.failed(e.to_string()))?;
        let out = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        staging.gpu.unmap();
        *kept = Some(staging).filter(|block| block.gpu.size() <= MOST_STAGING);
        Ok(out)
    }

    fn wait(&self) -> Result<()> {
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| self.failure.failed(e.to_string()))?;
        self.failure.check()
    }

    fn run(&self, program: &Program) -> Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        state.tables.trim();
        let recorder = match self.lower(state, program) {
            Err(Error::OutOfMemory { .. }) => {
                self.reclaim(&mut state.encoder)?;
                self.lower(state, program)?
            }
            lowered => lowered?,
        };
        state.uploaded = 0;
        state.encoder.submit(recorder, &mut state.tables)
    }

    /// Gives idle memory back to the driver, once the GPU has finished with it.
    fn reclaim(&self, encoder: &mut Encoder) -> Result<()> {
        encoder.forget_bind_groups();
        self.pool.clear();
        self.wait()
    }

    fn lower(&self, state: &mut State, program: &Program) -> Result<Recorder> {
        let mut recorder = Recorder::new(&self.limits, &self.pool);
        for (id, op) in &program.steps {
            let ring = state.ring(*id, op)?;
            lower::op(
                &mut lower::Lowering { recorder: &mut recorder, tables: &mut state.tables, id: id.0, ring: &ring },
                op,
            )?;
        }
        Ok(recorder)
    }
}

impl Backend for GpuBackend {
    fn name(&self) -> &str {
        &self.name
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn load_ring(&self, ring: &Arc<RingTables>) -> Result<RingId> {
        self.failure.check()?;
        let known = self.state().known(ring);
        let index = match known {
            Some(index) => index,
            None => {
                // Roots are made by rayon, whose threads may take up other callers' work meanwhile: no lock is held. Two
                // callers may both make them; the first to be done is kept.
                let made = GpuRing::new(ring, &self.pool, |block, offset, bytes| {
                    self.write(&mut self.state(), block, offset, bytes);
                })?;
                let mut state = self.state();
                state.known(ring).unwrap_or_else(|| {
                    state.rings.push(Arc::new(made));
                    state.rings.len() - 1
                })
            }
        };
        Ok(RingId(u32::try_from(index).expect("fewer than 2^32 rings")))
    }

    fn alloc(&self, shape: Shape) -> Result<Buffer> {
        self.failure.check()?;
        let memory = match self.pool.take(shape.words()) {
            Err(Error::OutOfMemory { .. }) => {
                // Rather wait than fail.
                self.reclaim(&mut self.state().encoder)?;
                self.pool.take(shape.words())?
            }
            memory => memory?,
        };
        Ok(Buffer::new(shape, Arc::new(memory)))
    }

    fn upload(&self, dst: &Buffer, words: &[u32]) -> Result<()> {
        self.failure.check()?;
        let memory = memory_of(dst)?;
        if memory.words() < words.len() {
            return Err(Error::ShapeMismatch {
                op: "upload",
                expected: format!("at most {} words", memory.words()),
                got: format!("{}", words.len()),
            });
        }
        self.write(&mut self.state(), memory.block(), 0, bytemuck::cast_slice(words));
        Ok(())
    }

    fn submit(&self, program: Program) -> Result<()> {
        self.failure.check()?;
        match &self.shadow {
            Some(shadow) => shadow.submit(self, program)?,
            None => self.run(&program)?,
        }
        // Lets wgpu free what finished submissions held; does not wait.
        self.device.poll(wgpu::PollType::Poll).map_err(|e| self.failure.failed(e.to_string()))?;
        self.failure.check()
    }

    fn download(&self, src: &Buffer) -> Result<Vec<u32>> {
        self.failure.check()?;
        let memory = memory_of(src)?;
        self.read(memory.block(), memory.words())
    }
}

#[cfg(test)]
mod tests;
