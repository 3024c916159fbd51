//! The GPU backend: WGSL kernels through wgpu.
//!
//! An operation is lowered to kernel launches when it is recorded ([`lower`]). Launches gather until somebody wants a result
//! or there are many; then they become one compute pass and one submission ([`dispatch`]). Memory goes back to
//! the pool when its last handle is dropped and may serve launches recorded later, submitted or not, since all run in order.
//!
//! Kernels bind parameters of the launch (one buffer a program, dynamic offsets), interned small tables, and data buffers in one of
//! three layouts: four, six, or as many as the device can up to fourteen. Every data buffer is bound for reading and writing, so operands may be
//! windows on one buffer.
//!
//! | Operation | Passes |
//! |---|---|
//! | word by word, `Uniform`, `Automorphism`, `Combine`, `BasisExtend` | 1 |
//! | `NttForward`, `NttInverse` | 1 up to `2^12`, 2 above |
//! | `GadgetDot` | 1 for every 9 digits (3 where few buffers can be bound), summand and automorphism included |
//! | `Decompose` | inverse NTT with the factors of the conversion; conversion with the first pass of the NTTs; their last pass; a copy of the own limbs |
//! | `KeySwitch` | inverse NTT; conversion with the first pass; last pass with the product, for every 9 digits |
//! | `ModDown` | inverse NTT of the dropped limbs; conversion with the first pass; last pass that subtracts, divides, adds and permutes |
//!
//! Below `2^13` and at `2^17` conversions are a pass of their own. What operations move at `N = 2^16`, in rows of 256 KiB and pairs of 24
//! limbs with 6 special primes in 4 digits (rows that conversions read again from a cache in brackets):
//!
//! | Operation | Launches | Rows read and written |
//! |---|---|---|
//! | `KeySwitch` | 4 | 636 (+ 120) |
//! | rotate: `KeySwitch`, `ModDown` | 8 | 912 (+ 180) |
//! | multiply: `Tensor`, `KeySwitch`, `ModDown` by 7 primes | 9 | 1106 (+ 190) |
//! | a hoisted rotation: `GadgetDot`, `ModDown` | 5 | 696 (+ 60) |
//! | rescale: `ModDown` by 1 prime | 4 | 194 (+ 10) |

mod catalog;
mod dispatch;
mod failure;
mod lower;
mod memory;
mod open;
mod params;
mod pipelines;
mod shadow;
mod staging;
mod tables;
#[cfg(feature = "profiling")]
mod timing;
mod twiddles;

pub(in crate::device) use open::{Selector, open};

use super::backend::{Backend, Caps, Statistics};
use super::buffer::Buffer;
use super::program::{Op, RingId};
use crate::error::{Error, Result};
use crate::math::RingTables;
use crate::units::Shape;
use catalog::WideProduct;
use dispatch::{Encoder, Recorder, memory_of};
use failure::Failure;
use lower::GpuRing;
use memory::{Memory, Pool};
use pipelines::Pipelines;
use shadow::Shadow;
use staging::Staging;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tables::Tables;

/// Runs operations on one wgpu device.
#[derive(Debug)]
pub(in crate::device) struct GpuBackend {
    name: String,
    caps: Caps,
    device: wgpu::Device,
    failure: Arc<Failure>,
    pool: Arc<Pool>,
    staging: Staging,
    state: Mutex<State>,
    shadow: Option<Shadow>,
}

#[derive(Debug)]
struct State {
    recorder: Recorder,
    encoder: Encoder,
    tables: Tables,
    rings: Vec<Arc<GpuRing>>,
    operations: u64,
}

impl State {
    fn ring(&self, id: RingId, op: &Op) -> Result<Arc<GpuRing>> {
        let ring = self.rings.get(id.0 as usize).map(Arc::clone);
        ring.ok_or_else(|| Error::BadProgram { op: op.name(), reason: "a ring of another device".into() })
    }

    fn known(&self, tables: &Arc<RingTables>) -> Option<usize> {
        self.rings.iter().position(|known| known.tables() == tables)
    }

    fn lower(&mut self, id: RingId, op: &Op) -> Result<()> {
        let ring = self.ring(id, op)?;
        let (recorder, tables) = (&mut self.recorder, &mut self.tables);
        let mark = recorder.mark();
        lower::op(&mut lower::Lowering { recorder, tables, id: id.0, ring: &ring }, op)
            .inspect_err(|_| self.recorder.rewind(mark))
    }
}

impl GpuBackend {
    fn new(
        (name, caps): (String, Caps),
        (device, queue): (wgpu::Device, wgpu::Queue),
        failure: Arc<Failure>,
        most_idle: u64,
    ) -> Result<Self> {
        let pool = Arc::new(Pool::new(device.clone(), Arc::clone(&failure), caps.max_buffer_bytes, most_idle));
        let product = if caps.int64 { WideProduct::Int64 } else { WideProduct::Portable };
        let pipelines = Pipelines::new(device.clone(), product);
        let encoder = Encoder::new(device.clone(), Arc::clone(&pool), pipelines)?;
        #[cfg(feature = "profiling")]
        let encoder = encoder.timed(timing::Timing::new(&name, &device, &queue, &failure));
        let state = State {
            recorder: Recorder::new(&device.limits(), &pool),
            encoder,
            tables: Tables::default(),
            rings: Vec::new(),
            operations: 0,
        };
        let staging = Staging::new(device.clone(), queue, Arc::clone(&failure), Arc::clone(&pool));
        let shadow = Shadow::from_environment()?;
        let state = Mutex::new(state);
        Ok(Self { name, caps, device, failure, pool, staging, state, shadow })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves well-formed caches behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lowers an operation to the program that is being recorded.
    fn run(&self, ring: RingId, op: &Op) -> Result<()> {
        let mut state = self.state();
        state.operations += 1;
        match state.lower(ring, op) {
            Err(Error::OutOfMemory { .. }) => {
                self.reclaim(&mut state)?;
                state.lower(ring, op)?;
            }
            lowered => lowered?,
        }
        #[cfg(feature = "profiling")]
        {
            let State { recorder, encoder, .. } = &mut *state;
            encoder.lowered(op, recorder.len());
        }
        if state.recorder.is_full() || self.pool.is_pressed() {
            self.submit_program(&mut state)?;
        }
        Ok(())
    }

    /// Submits what is recorded, uploads included. Whatever stops it leaves results behind that nobody computed, so it stays.
    fn submit_program(&self, state: &mut State) -> Result<()> {
        let State { recorder, encoder, tables, .. } = state;
        let mut done = encoder.submit(recorder, tables, &self.staging);
        if let Err(Error::OutOfMemory { .. }) = done {
            self.pool.clear();
            done = self.staging.clear().and_then(|()| encoder.submit(recorder, tables, &self.staging));
        }
        tables.trim();
        // Lets wgpu free what finished submissions held; does not wait.
        let polled = self.device.poll(wgpu::PollType::Poll).map_err(|e| self.failure.failed(e.to_string()));
        if let Err(failure) = done.and(polled.map(drop)) {
            self.failure.set(failure);
        }
        self.failure.check()
    }

    /// Gives idle memory back to the driver, once the GPU has finished with it.
    fn reclaim(&self, state: &mut State) -> Result<()> {
        self.submit_program(state)?;
        state.recorder.forget_groups();
        self.pool.clear();
        self.staging.clear()
    }

    /// What `run`, which takes memory, returns; rather waits than fails.
    fn retried<T>(&self, run: impl Fn() -> Result<T>) -> Result<T> {
        self.failure.check()?;
        match run() {
            Err(Error::OutOfMemory { .. }) => {
                self.reclaim(&mut self.state())?;
                run()
            }
            done => done,
        }
    }

    /// Overwrites the first words of memory before what is recorded next.
    fn write(&self, memory: &Memory, words: &[u32]) -> Result<()> {
        self.retried(|| self.staging.write(memory.block(), 0, bytemuck::cast_slice(words)))
    }

    /// Overwrites the first words of a buffer, after all that was recorded.
    fn overwrite(&self, dst: &Buffer, words: &[u32]) -> Result<()> {
        self.flush()?;
        self.write(memory_of(dst)?, words)
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
                let write = |block: &_, offset, bytes: &[u8]| self.staging.write(block, offset, bytes);
                let made = self.retried(|| GpuRing::new(ring, &self.pool, write))?;
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
        Ok(Buffer::new(shape, Arc::new(self.retried(|| self.pool.take(shape.words()))?)))
    }

    fn upload(&self, shape: Shape, words: &[u32]) -> Result<Buffer> {
        let memory = self.retried(|| self.pool.take_for_upload(shape.words(), self.pool.program()))?;
        self.write(&memory, words)?;
        Ok(Buffer::new(shape, Arc::new(memory)))
    }

    fn submit(&self, ring: RingId, op: &Op) -> Result<()> {
        self.failure.check()?;
        match &self.shadow {
            Some(shadow) => shadow.submit(self, ring, op),
            None => self.run(ring, op),
        }
    }

    fn flush(&self) -> Result<()> {
        self.failure.check()?;
        self.submit_program(&mut self.state())
    }

    fn download(&self, src: &Buffer) -> Result<Vec<u32>> {
        self.flush()?;
        let memory = memory_of(src)?;
        self.retried(|| self.staging.read(memory.block(), memory.words()))
    }

    fn statistics(&self) -> Statistics {
        let state = self.state();
        let work = state.encoder.work;
        let (uploaded_bytes, downloaded_bytes) = self.staging.moved();
        let (memory_bytes, peak_memory_bytes) = self.pool.bytes();
        Statistics {
            operations: state.operations,
            submissions: work.submissions,
            dispatches: work.dispatches,
            uploaded_bytes,
            downloaded_bytes,
            memory_bytes,
            peak_memory_bytes,
            encoding: work.encoding,
            submitting: work.submitting,
        }
    }

    #[cfg(feature = "profiling")]
    fn profile(&self) -> Option<super::profile::Profile> {
        self.state().encoder.profile()
    }
}

#[cfg(test)]
mod tests;
