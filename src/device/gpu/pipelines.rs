//! Pipelines, made once: those that a program lacks are made on all cores at the same time.

use super::catalog::{Family, Kernel, WideProduct, Width};
use super::dispatch::{LEAST_SLOTS, most_slots};
use super::params::RECORD_BYTES;
use rustc_hash::FxHashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A layout of bind groups and pipelines.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) slots: usize,
    pub(super) bindings: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

impl Layout {
    fn new(device: &wgpu::Device, slots: usize) -> Self {
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
        let entries: Vec<_> = (0u32..).take(2 + slots).map(entry).collect();
        let bindings =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: 0,
        });
        Self { slots, bindings, pipeline }
    }
}

/// The pipelines of one device.
#[derive(Debug)]
pub(super) struct Pipelines {
    device: wgpu::Device,
    product: WideProduct,
    /// By width.
    layouts: [Layout; 3],
    modules: FxHashMap<Family, wgpu::ShaderModule>,
    made: FxHashMap<Kernel, wgpu::ComputePipeline>,
}

impl Pipelines {
    pub(super) fn new(device: wgpu::Device, product: WideProduct) -> Self {
        let layouts = [4, LEAST_SLOTS, most_slots(&device.limits())].map(|slots| Layout::new(&device, slots));
        Self { device, product, layouts, modules: FxHashMap::default(), made: FxHashMap::default() }
    }

    pub(super) fn layout(&self, width: Width) -> &Layout {
        &self.layouts[width as usize]
    }

    /// Whether a kernel's pipeline is made.
    pub(super) fn has(&self, kernel: Kernel) -> bool {
        self.made.contains_key(&kernel)
    }

    /// A kernel's pipeline, which is made.
    pub(super) fn get(&self, kernel: Kernel) -> &wgpu::ComputePipeline {
        &self.made[&kernel]
    }

    /// Makes what is missing of these kernels.
    ///
    /// On threads of its own: the caller holds locks that work which rayon's threads take up meanwhile may want.
    pub(super) fn make(&mut self, mut kernels: Vec<Kernel>) {
        kernels.retain(|kernel| !self.made.contains_key(kernel));
        let mut families: Vec<Family> = kernels.iter().map(|kernel| kernel.spec().family).collect();
        families.retain(|family| !self.modules.contains_key(family));
        families.sort_unstable_by_key(|family| *family as u32);
        families.dedup();
        let modules = on_all_cores(&families, |&family| (family, self.module(family)));
        self.modules.extend(modules);
        let pipelines = on_all_cores(&kernels, |&kernel| (kernel, self.pipeline(kernel)));
        self.made.extend(pipelines);
    }

    fn module(&self, family: Family) -> wgpu::ShaderModule {
        self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(family.source(self.product).into()),
        })
    }

    fn pipeline(&self, kernel: Kernel) -> wgpu::ComputePipeline {
        let spec = kernel.spec();
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(spec.label),
            layout: Some(&self.layout(kernel.width()).pipeline),
            module: &self.modules[&spec.family],
            entry_point: Some(spec.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &spec.overrides,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        })
    }
}

/// `f` of every item, in any order.
fn on_all_cores<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if items.len() < 2 || cores < 2 {
        return items.iter().map(f).collect();
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    std::thread::scope(|scope| {
        for _ in 0..cores.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = f(item);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
