//! From kernels and operands to one compute pass.

use super::catalog::{Family, Kernel, WideProduct};
use super::memory::{Block, Memory, Pool};
use super::params::{RECORD_BYTES, Record};
use super::tables::Tables;
use crate::device::buffer::Buffer;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Data buffers that a kernel can bind where the device binds enough: binding 2 and up.
pub(super) const SLOTS: usize = 14;
/// Data buffers that a kernel can bind everywhere.
pub(super) const LEAST_SLOTS: usize = 6;

/// Data buffers that a kernel can bind on this device.
pub(super) fn most_slots(limits: &wgpu::Limits) -> usize {
    (limits.max_storage_buffers_per_shader_stage as usize).saturating_sub(2).min(SLOTS)
}

/// Bind groups kept before all are forgotten.
const MOST_BIND_GROUPS: usize = 4096;

/// Something to bind.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    Block(Block),
    /// The words that came with the program.
    Words,
}

/// One kernel launch.
#[derive(Debug)]
struct Dispatch {
    kernel: Kernel,
    slots: Vec<Slot>,
    params: u32,
    grid: [u32; 3],
}

/// A program being lowered.
#[derive(Debug)]
pub(super) struct Recorder {
    align: usize,
    slots: usize,
    most_groups: u32,
    pool: Arc<Pool>,
    dispatches: Vec<Dispatch>,
    params: Vec<u8>,
    words: Vec<u32>,
    scratch: Vec<Arc<Memory>>,
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
            scratch: Vec::new(),
        }
    }

    /// Launches a kernel over `grid`, in several parts along y and z if the device cannot do it at once.
    pub(super) fn launch(&mut self, kernel: Kernel, params: impl Record, slots: &[Slot], [x, y, z]: [u32; 3]) {
        debug_assert!((1..=self.slots).contains(&slots.len()));
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
                    slots: slots.to_vec(),
                    params: u32::try_from(at).expect("fewer than 2^24 dispatches a program"),
                    grid: [x, rows, count],
                });
            }
        }
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

    /// Memory until the end of the program.
    pub(super) fn scratch(&mut self, shape: crate::units::Shape) -> Result<Buffer> {
        let memory = Arc::new(self.pool.take(shape.words())?);
        self.scratch.push(Arc::clone(&memory));
        Ok(Buffer::new(shape, memory))
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

/// Turns lowered programs into submissions; pipelines and bind groups are made once.
#[derive(Debug)]
pub(super) struct Encoder {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pool: Arc<Pool>,
    product: WideProduct,
    slots: usize,
    bindings: wgpu::BindGroupLayout,
    layout: wgpu::PipelineLayout,
    modules: HashMap<Family, wgpu::ShaderModule>,
    pipelines: HashMap<Kernel, wgpu::ComputePipeline>,
    bind_groups: HashMap<[u64; SLOTS], wgpu::BindGroup>,
    params: Block,
    tables: Block,
    words: Block,
}

/// Usages of buffers that only the host writes.
const HOST_WRITTEN: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST);

impl Encoder {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue, pool: Arc<Pool>, product: WideProduct) -> Result<Self> {
        let entry = |binding: u32| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                // Operands may be windows on one buffer, some of them written: all are bound for writing.
                ty: wgpu::BufferBindingType::Storage { read_only: binding < 2 },
                has_dynamic_offset: binding == 0,
                min_binding_size: wgpu::BufferSize::new(if binding == 0 { RECORD_BYTES as u64 } else { 16 }),
            },
            count: None,
        };
        let slots = most_slots(&device.limits());
        let entries: Vec<_> = (0u32..).take(2 + slots).map(entry).collect();
        let bindings =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: 0,
        });
        let (params, tables, words) = (
            pool.fresh(1 << 16, HOST_WRITTEN)?,
            pool.fresh(1 << 16, HOST_WRITTEN)?,
            pool.fresh(1 << 12, HOST_WRITTEN)?,
        );
        Ok(Self {
            device,
            queue,
            pool,
            product,
            slots,
            bindings,
            layout,
            modules: HashMap::new(),
            pipelines: HashMap::new(),
            bind_groups: HashMap::new(),
            params,
            tables,
            words,
        })
    }

    /// Submits a lowered program.
    pub(super) fn submit(&mut self, recorder: Recorder, tables: &mut Tables) -> Result<()> {
        let Recorder { dispatches, params, words, scratch, .. } = recorder;
        if dispatches.is_empty() {
            return Ok(());
        }
        if self.pool.take_shed() || self.bind_groups.len() > MOST_BIND_GROUPS {
            self.bind_groups.clear();
        }
        self.write_tables(tables)?;
        if grow(&self.pool, &mut self.params, params.len())? {
            self.bind_groups.clear();
        }
        self.queue.write_buffer(&self.params.gpu, 0, &params);
        // A grown buffer of words has a new identity, so its old bind groups are not found again.
        grow(&self.pool, &mut self.words, 4 * words.len())?;
        if !words.is_empty() {
            self.queue.write_buffer(&self.words.gpu, 0, bytemuck::cast_slice(&words));
        }

        for dispatch in &dispatches {
            self.prepare(dispatch);
        }
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let mut current = None;
        for dispatch in &dispatches {
            if current != Some(dispatch.kernel) {
                pass.set_pipeline(&self.pipelines[&dispatch.kernel]);
                current = Some(dispatch.kernel);
            }
            pass.set_bind_group(0, &self.bind_groups[&self.key(&dispatch.slots)], &[dispatch.params]);
            pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], dispatch.grid[2]);
        }
        drop(pass);
        self.queue.submit([encoder.finish()]);
        // Only now may the pool hand it out again: what is uploaded or submitted later runs later.
        drop(scratch);
        Ok(())
    }

    /// Lets go of the buffers that cached bind groups hold.
    pub(super) fn forget_bind_groups(&mut self) {
        self.bind_groups.clear();
    }

    fn write_tables(&mut self, tables: &mut Tables) -> Result<()> {
        let mut first = tables.take_fresh();
        if grow(&self.pool, &mut self.tables, 16 * tables.records().len())? {
            self.bind_groups.clear();
            first = 0;
        }
        if let Some(fresh @ [_, ..]) = tables.records().get(first..) {
            self.queue.write_buffer(&self.tables.gpu, 16 * first as u64, bytemuck::cast_slice(fresh));
        }
        Ok(())
    }

    fn block<'a>(&'a self, slot: &'a Slot) -> &'a Block {
        match slot {
            Slot::Block(block) => block,
            Slot::Words => &self.words,
        }
    }

    /// Identities of what is bound; slots that a kernel has no use for repeat the first.
    fn key(&self, slots: &[Slot]) -> [u64; SLOTS] {
        std::array::from_fn(|i| self.block(slots.get(i).unwrap_or(&slots[0])).id)
    }

    fn prepare(&mut self, dispatch: &Dispatch) {
        if !self.pipelines.contains_key(&dispatch.kernel) {
            let pipeline = self.pipeline(dispatch.kernel);
            self.pipelines.insert(dispatch.kernel, pipeline);
        }
        let key = self.key(&dispatch.slots);
        if !self.bind_groups.contains_key(&key) {
            let group = self.bind_group(&dispatch.slots);
            self.bind_groups.insert(key, group);
        }
    }

    fn bind_group(&self, slots: &[Slot]) -> wgpu::BindGroup {
        let params = wgpu::BufferBinding {
            buffer: &self.params.gpu,
            offset: 0,
            size: wgpu::BufferSize::new(RECORD_BYTES as u64),
        };
        let data = (0..self.slots).map(|i| self.block(slots.get(i).unwrap_or(&slots[0])).gpu.as_entire_binding());
        let resources =
            [wgpu::BindingResource::Buffer(params), self.tables.gpu.as_entire_binding()].into_iter().chain(data);
        let entries: Vec<_> =
            resources.zip(0..).map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource }).collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.bindings,
            entries: &entries,
        })
    }

    fn pipeline(&mut self, kernel: Kernel) -> wgpu::ComputePipeline {
        let spec = kernel.spec();
        let (device, product) = (&self.device, self.product);
        let module = self.modules.entry(spec.family).or_insert_with(|| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(spec.label),
                source: wgpu::ShaderSource::Wgsl(spec.family.source(product).into()),
            })
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(spec.label),
            layout: Some(&self.layout),
            module,
            entry_point: Some(spec.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &spec.overrides,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        })
    }
}

/// Replaces `block` by a larger one if it cannot hold `bytes`; says whether it did.
fn grow(pool: &Pool, block: &mut Block, bytes: usize) -> Result<bool> {
    let bytes = bytes as u64;
    if block.gpu.size() >= bytes {
        return Ok(false);
    }
    *block = pool.roomy(bytes, HOST_WRITTEN)?;
    Ok(true)
}
