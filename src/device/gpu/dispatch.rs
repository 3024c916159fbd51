//! From kernels and operands to one compute pass.

use super::catalog::{Kernel, Width};
use super::memory::{Block, Memory, Pool};
use super::params::{RECORD_BYTES, Record};
use super::pipelines::Pipelines;
use super::staging::Staging;
use super::tables::Tables;
use crate::device::buffer::Buffer;
use crate::error::{Error, Result};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Data buffers that a kernel can bind where the device binds enough: binding 2 and up.
pub(super) const SLOTS: usize = 14;
/// Data buffers that a kernel can bind everywhere.
pub(super) const LEAST_SLOTS: usize = 6;

/// Data buffers that a kernel can bind on this device.
pub(super) fn most_slots(limits: &wgpu::Limits) -> usize {
    (limits.max_storage_buffers_per_shader_stage as usize).saturating_sub(2).min(SLOTS)
}

/// Launches after which a program is submitted though nobody asked: enough for a whole bootstrapping. A device that has
/// nothing else to do idles while the first program is recorded and encoded, which at the 0.9 microseconds a launch of decision 0011
/// are fifteen milliseconds of the host's time.
const MOST_DISPATCHES: usize = 1 << 14;
/// Words that come with a program after which it is submitted as well: far fewer than the smallest limit of a binding, and what one
/// staging buffer holds.
pub(super) const MOST_WORDS: usize = 1 << 20;
/// Bind groups kept before all are forgotten.
const MOST_GROUPS: usize = 4096;

/// Something to bind.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    Block(Block),
    /// The words that came with the program.
    Words,
}

/// The identity of [`Slot::Words`]: of no block.
const WORDS: u64 = u64::MAX;
/// The same of a slot that is not given.
const NOTHING: u64 = u64::MAX - 1;

impl Slot {
    fn id(&self) -> u64 {
        match self {
            Self::Block(block) => block.id(),
            Self::Words => WORDS,
        }
    }
}

/// One kernel launch.
#[derive(Clone, Copy, Debug)]
struct Dispatch {
    kernel: Kernel,
    group: u32,
    params: u32,
    grid: [u32; 3],
}

/// What is bound together, made when first submitted.
#[derive(Debug)]
struct Group {
    slots: Vec<Slot>,
    width: Width,
    bound: Option<wgpu::BindGroup>,
}

/// The program that is being recorded: operations already lowered to launches, but not yet submitted.
///
/// Its vectors and the groups stay from one program to the next, so that recording allocates nothing in steady state.
#[derive(Debug)]
pub(super) struct Recorder {
    align: usize,
    pub(super) slots: usize,
    pub(super) most_groups: u32,
    pool: Arc<Pool>,
    dispatches: Vec<Dispatch>,
    params: Vec<u8>,
    words: Vec<u32>,
    groups: Vec<Group>,
    /// Index of the group with these identities and this width.
    known: FxHashMap<[u64; 1 + SLOTS], u32>,
}

/// How far a program has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    dispatches: usize,
    params: usize,
    words: usize,
}

impl Recorder {
    pub(super) fn new(limits: &wgpu::Limits, pool: &Arc<Pool>) -> Self {
        Self {
            align: RECORD_BYTES.next_multiple_of(limits.min_storage_buffer_offset_alignment as usize),
            slots: most_slots(limits),
            most_groups: limits.max_compute_workgroups_per_dimension,
            pool: Arc::clone(pool),
            dispatches: Vec::new(),
            params: Vec::new(),
            words: Vec::new(),
            groups: Vec::new(),
            known: FxHashMap::default(),
        }
    }

    /// Launches a kernel over `grid`, in several parts along y and z if the device cannot do it at once.
    pub(super) fn launch(&mut self, kernel: Kernel, params: impl Record, slots: &[Slot], [x, y, z]: [u32; 3]) {
        debug_assert!((1..=self.slots).contains(&slots.len()));
        let group = self.group(slots, kernel.width());
        for (first_row, rows) in parts(y, self.most_groups) {
            for (first, count) in parts(z, self.most_groups) {
                let mut params = params;
                params.skip_rows(first_row);
                params.set_first(first);
                let at = self.params.len();
                self.params.extend_from_slice(bytemuck::bytes_of(&params));
                self.params.resize(at + self.align, 0);
                self.dispatches.push(Dispatch {
                    kernel,
                    group,
                    params: u32::try_from(at).expect("fewer than 2^24 dispatches a program"),
                    grid: [x, rows, count],
                });
            }
        }
    }

    /// Slots of its layout that a kernel has no use for repeat those that it has.
    fn group(&mut self, slots: &[Slot], width: Width) -> u32 {
        let program = self.pool.program();
        for slot in slots {
            if let Slot::Block(block) = slot {
                block.bound_by(program);
            }
        }
        let mut key = [NOTHING; 1 + SLOTS];
        key[SLOTS] = width as u64;
        key.iter_mut().zip(slots).for_each(|(id, slot)| *id = slot.id());
        let groups = &mut self.groups;
        *self.known.entry(key).or_insert_with(|| {
            groups.push(Group { slots: slots.to_vec(), width, bound: None });
            u32::try_from(groups.len() - 1).expect("far fewer than 2^32 groups")
        })
    }

    /// Whether kernels may bind [`SLOTS`] buffers.
    pub(super) fn binds_many(&self) -> bool {
        self.slots == SLOTS
    }

    /// Words for kernels that bind [`Slot::Words`]; returns the index of the first.
    pub(super) fn words(&mut self, words: &[u32]) -> u32 {
        let at = self.words.len();
        self.words.extend_from_slice(words);
        u32::try_from(at).expect("far fewer than 2^32 scalars a program")
    }

    /// Memory until the last handle is dropped: launches recorded later may use it again.
    pub(super) fn scratch(&mut self, shape: crate::units::Shape) -> Result<Buffer> {
        Ok(Buffer::new(shape, Arc::new(self.pool.take(shape.words())?)))
    }

    /// Launches recorded so far.
    #[cfg(feature = "profiling")]
    pub(super) fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether the program should be submitted though nobody asked.
    pub(super) fn is_full(&self) -> bool {
        self.dispatches.len() >= MOST_DISPATCHES || self.words.len() >= MOST_WORDS
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { dispatches: self.dispatches.len(), params: self.params.len(), words: self.words.len() }
    }

    /// Forgets what was recorded since.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.dispatches.truncate(mark.dispatches);
        self.params.truncate(mark.params);
        self.words.truncate(mark.words);
    }

    /// Has bind groups made again: something that all of them bind was replaced.
    fn unbind(&mut self) {
        self.groups.iter_mut().for_each(|group| group.bound = None);
    }

    /// Lets go of everything that groups hold. Nothing may be recorded.
    pub(super) fn forget_groups(&mut self) {
        debug_assert!(self.dispatches.is_empty());
        self.groups.clear();
        self.known.clear();
    }
}

/// First and length of the parts of `0 .. all`, each of at most `most`.
fn parts(all: u32, most: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..all).step_by(most as usize).map(move |first| (first, most.min(all - first)))
}

/// The memory behind a buffer.
pub(super) fn memory_of(buffer: &Buffer) -> Result<&Memory> {
    buffer.memory().ok_or_else(|| Error::BadProgram { op: "memory", reason: "a buffer of another device".into() })
}

/// The memory behind a buffer, to bind.
pub(super) fn slot(buffer: &Buffer) -> Result<Slot> {
    Ok(Slot::Block(memory_of(buffer)?.block().clone()))
}

/// Time of the calling threads, and what they did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    pub(super) submissions: u64,
    pub(super) dispatches: u64,
    pub(super) encoding: Duration,
    pub(super) submitting: Duration,
}

/// Turns recorded programs into submissions.
#[derive(Debug)]
pub(super) struct Encoder {
    device: wgpu::Device,
    pool: Arc<Pool>,
    pipelines: Pipelines,
    params: Block,
    tables: Block,
    words: Block,
    pub(super) work: Work,
    #[cfg(feature = "profiling")]
    timing: Option<super::timing::Timing>,
}

/// Usages of buffers that only the host writes.
const HOST_WRITTEN: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST);

impl Encoder {
    pub(super) fn new(device: wgpu::Device, pool: Arc<Pool>, pipelines: Pipelines) -> Result<Self> {
        let (params, tables, words) = (
            pool.fresh(1 << 16, HOST_WRITTEN)?,
            pool.fresh(1 << 16, HOST_WRITTEN)?,
            pool.fresh(1 << 12, HOST_WRITTEN)?,
        );
        Ok(Self {
            device,
            pool,
            pipelines,
            params,
            tables,
            words,
            work: Work::default(),
            #[cfg(feature = "profiling")]
            timing: None,
        })
    }

    /// The same with a clock.
    #[cfg(feature = "profiling")]
    pub(super) fn timed(self, timing: Option<super::timing::Timing>) -> Self {
        Self { timing, ..self }
    }

    /// What the clock saw, if there is one.
    #[cfg(feature = "profiling")]
    pub(super) fn profile(&self) -> Option<crate::device::profile::Profile> {
        self.timing.as_ref().map(super::timing::Timing::profile)
    }

    /// Notes that an operation was lowered, after which there are `launches`.
    #[cfg(feature = "profiling")]
    pub(super) fn lowered(&mut self, op: &crate::device::program::Op, launches: usize) {
        if let Some(timing) = &mut self.timing {
            timing.lowered(op, launches);
        }
    }

    /// Submits a program, after the uploads that wait.
    pub(super) fn submit(&mut self, recorder: &mut Recorder, tables: &mut Tables, staging: &Staging) -> Result<()> {
        let start = Instant::now();
        if recorder.dispatches.is_empty() {
            staging.submit(None);
            return Ok(());
        }
        self.write(recorder, tables, staging)?;
        self.prepare(recorder);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        #[cfg(feature = "profiling")]
        if let Some(timing) = &mut self.timing {
            timing.stamp(&mut pass);
        }
        let mut current = None;
        for dispatch in &recorder.dispatches {
            if current != Some(dispatch.kernel) {
                pass.set_pipeline(self.pipelines.get(dispatch.kernel));
                current = Some(dispatch.kernel);
            }
            pass.set_bind_group(0, &recorder.groups[dispatch.group as usize].bound, &[dispatch.params]);
            pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], dispatch.grid[2]);
            #[cfg(feature = "profiling")]
            if let Some(timing) = &mut self.timing {
                timing.stamp(&mut pass);
            }
        }
        drop(pass);
        #[cfg(feature = "profiling")]
        let stamps = self.timing.as_mut().map(|timing| timing.resolve(&mut encoder));
        let commands = encoder.finish();
        let encoded = Instant::now();
        staging.submit(Some(commands));
        #[cfg(feature = "profiling")]
        if let (Some(timing), Some(stamps)) = (&mut self.timing, &stamps) {
            timing.collect(stamps, encoded, recorder.dispatches.iter().map(|d| d.kernel.spec().label))?;
        }
        // Only now may uploads go to what the program bound.
        self.pool.begin_program();
        self.work.submissions += 1;
        self.work.dispatches += recorder.dispatches.len() as u64;
        recorder.rewind(Mark { dispatches: 0, params: 0, words: 0 });
        if self.pool.take_shed() || recorder.groups.len() > MOST_GROUPS {
            recorder.forget_groups();
        }
        self.work.encoding += encoded - start;
        self.work.submitting += encoded.elapsed();
        Ok(())
    }

    /// Uploads what comes with a program. After an error it can be called again: no step counts as done before it is.
    fn write(&mut self, recorder: &mut Recorder, tables: &mut Tables, staging: &Staging) -> Result<()> {
        if grow(&self.pool, &mut self.tables, tables.bytes())? {
            tables.mark_fresh();
            recorder.unbind();
        }
        if grow(&self.pool, &mut self.params, recorder.params.len())? {
            recorder.unbind();
        }
        if grow(&self.pool, &mut self.words, 4 * recorder.words.len())? {
            recorder.unbind();
        }
        let (first, fresh) = tables.fresh();
        staging.write(&self.tables, 16 * first as u64, bytemuck::cast_slice(fresh))?;
        staging.write(&self.params, 0, &recorder.params)?;
        staging.write(&self.words, 0, bytemuck::cast_slice(&recorder.words))?;
        tables.mark_uploaded();
        Ok(())
    }

    /// Makes the pipelines and bind groups that a program lacks.
    fn prepare(&mut self, recorder: &mut Recorder) {
        let (mut kernels, mut current) = (vec![], None);
        for dispatch in &recorder.dispatches {
            if current != Some(dispatch.kernel) {
                current = Some(dispatch.kernel);
                if !self.pipelines.has(dispatch.kernel) && !kernels.contains(&dispatch.kernel) {
                    kernels.push(dispatch.kernel);
                }
            }
            let group = &mut recorder.groups[dispatch.group as usize];
            if group.bound.is_none() {
                group.bound = Some(self.bind(group));
            }
        }
        if !kernels.is_empty() {
            self.pipelines.make(kernels);
        }
    }

    fn bind(&self, group: &Group) -> wgpu::BindGroup {
        let params = wgpu::BufferBinding {
            buffer: self.params.gpu(),
            offset: 0,
            size: wgpu::BufferSize::new(RECORD_BYTES as u64),
        };
        let layout = self.pipelines.layout(group.width);
        let data = group.slots.iter().cycle().take(layout.slots).map(|slot| match slot {
            Slot::Block(block) => block.gpu().as_entire_binding(),
            Slot::Words => self.words.gpu().as_entire_binding(),
        });
        let resources =
            [wgpu::BindingResource::Buffer(params), self.tables.gpu().as_entire_binding()].into_iter().chain(data);
        let entries: Vec<_> =
            resources.zip(0..).map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource }).collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout.bindings,
            entries: &entries,
        })
    }
}

/// Replaces `block` by a larger one if it cannot hold `bytes`; says whether it did.
fn grow(pool: &Pool, block: &mut Block, bytes: usize) -> Result<bool> {
    let bytes = bytes as u64;
    if block.gpu().size() >= bytes {
        return Ok(false);
    }
    *block = pool.roomy(bytes, HOST_WRITTEN)?;
    Ok(true)
}
