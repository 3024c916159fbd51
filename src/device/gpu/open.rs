//! Choice of the adapter, and what is asked of it.

use super::dispatch::{LEAST_SLOTS, most_slots};
use super::failure::Failure;
use super::{GpuBackend, catalog};
use crate::device::backend::{Backend, Caps, DeviceKind};
use crate::error::{Error, Result};
use crate::units::LogN;

/// Which adapter is wanted.
#[derive(Clone, Copy, Debug)]
pub(in crate::device) enum Selector<'a> {
    /// Hardware only.
    Hardware,
    /// The best, software included.
    Any,
    /// The best whose name contains this, in any case of letters.
    Named(&'a str),
}

impl Selector<'_> {
    fn wanted(self) -> String {
        match self {
            Self::Hardware => "that is hardware".into(),
            Self::Any => "at all".into(),
            Self::Named(name) => format!("named like \"{name}\""),
        }
    }

    fn accepts(self, info: &wgpu::AdapterInfo) -> bool {
        match self {
            Self::Hardware => rank(info.device_type) < SOFTWARE,
            Self::Any => true,
            Self::Named(name) => info.name.to_lowercase().contains(&name.to_lowercase()),
        }
    }
}

const SOFTWARE: u32 = 3;

/// Preference, best first.
fn rank(kind: wgpu::DeviceType) -> u32 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => SOFTWARE,
        wgpu::DeviceType::Cpu => SOFTWARE + 1,
    }
}

/// Opens the best adapter that `selector` accepts; without `allow_int64` kernels use 32-bit integers only.
pub(in crate::device) fn open(selector: Selector<'_>, allow_int64: bool) -> Result<Box<dyn Backend>> {
    Ok(Box::new(open_backend(selector, allow_int64)?))
}

pub(super) fn open_backend(selector: Selector<'_>, allow_int64: bool) -> Result<GpuBackend> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    let none = |reason: String| Error::NoAdapter { wanted: selector.wanted(), reason };
    let adapter = adapters.into_iter().find(|adapter| selector.accepts(&adapter.get_info())).ok_or_else(|| {
        none(if names.is_empty() { "there is none".into() } else { format!("there are {}", names.join(", ")) })
    })?;
    let info = adapter.get_info();
    let limits = limits(&adapter.limits()).map_err(|what| none(format!("{} lacks {what}", info.name)))?;
    let int64 = allow_int64 && adapter.features().contains(wgpu::Features::SHADER_INT64);
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("ringlight"),
        required_features: if int64 { wgpu::Features::SHADER_INT64 } else { wgpu::Features::empty() },
        required_limits: limits.clone(),
        memory_hints: wgpu::MemoryHints::Performance,
        ..Default::default()
    }))
    .map_err(|error| Error::DeviceFailed { device: info.name.clone(), reason: error.to_string() })?;
    let failure = Failure::watch(&info.name, &device);
    let software = info.device_type == wgpu::DeviceType::Cpu;
    let caps = Caps {
        kind: if software { DeviceKind::SoftwareGpu } else { DeviceKind::Gpu },
        int64,
        queue_ops: 256,
        queue_bytes: if software { 256 << 20 } else { 1 << 30 },
        max_buffer_bytes: limits.max_buffer_size.min(limits.max_storage_buffer_binding_size),
    };
    log::debug!("{} ({}), {} wide product", info.name, info.driver, if int64 { "64-bit" } else { "portable" });
    GpuBackend::new(info.name, caps, device, queue, failure)
}

/// What to ask of a device: the usual limits where they do not matter, all it has where they do.
fn limits(adapter: &wgpu::Limits) -> std::result::Result<wgpu::Limits, &'static str> {
    let tile = 4 << catalog::MAX_LOG_POINTS;
    let threads = 1 << (catalog::MAX_LOG_POINTS - 4);
    let groups = (1 << (LogN::MAX - 2)) / catalog::EXTEND_THREADS;
    for (enough, what) in [
        (adapter.max_compute_workgroup_storage_size >= tile, "16 KiB of workgroup memory"),
        (adapter.max_compute_invocations_per_workgroup >= threads, "workgroups of 256 threads"),
        (adapter.max_compute_workgroup_size_x >= threads, "workgroups of 256 threads"),
        (most_slots(adapter) >= LEAST_SLOTS, "8 storage buffers in a kernel"),
        // Grids are split along y and z only.
        (adapter.max_compute_workgroups_per_dimension >= groups, "512 workgroups along x"),
    ] {
        if !enough {
            return Err(what);
        }
    }
    Ok(wgpu::Limits {
        max_buffer_size: adapter.max_buffer_size,
        max_storage_buffer_binding_size: adapter.max_storage_buffer_binding_size,
        min_storage_buffer_offset_alignment: adapter.min_storage_buffer_offset_alignment,
        max_compute_workgroups_per_dimension: adapter.max_compute_workgroups_per_dimension,
        max_storage_buffers_per_shader_stage: adapter.max_storage_buffers_per_shader_stage,
        ..wgpu::Limits::default().or_worse_values_from(adapter)
    })
}
