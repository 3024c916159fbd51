//! Kernels without a GPU: every composition parses and validates, and records have the layout that Rust writes. With one:
//! failures, and what the public interface does not reach.

use super::catalog::{Element, Kernel, WideProduct};
use super::params::{AutomorphismParams, CombineParams, ElementParams, ExtendParams, GadgetParams, NttParams, Window};
use super::{GpuBackend, Selector, open::open_backend};
use crate::Error;
use crate::device::{Backend, Basis, Device, Op, Program};
use crate::math::{RingTables, ntt_primes_below};
use crate::units::{LogN, Shape};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::sync::Arc;

fn module(kernel: Kernel, product: WideProduct) -> naga::Module {
    let source = kernel.spec().family.source(product);
    naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{kernel:?}: {}", e.emit_to_string(&source)))
}

/// Name, offset and size of the members of a struct.
fn members(module: &naga::Module, name: &str) -> Vec<(String, usize, usize)> {
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).unwrap();
    let (_, found) = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(name)).expect("the struct exists");
    let naga::TypeInner::Struct { members, .. } = &found.inner else { panic!("{name} is no struct") };
    let size = |ty| layouter[ty].size as usize;
    members.iter().map(|m| (m.name.clone().unwrap(), m.offset as usize, size(m.ty))).collect()
}

#[test]
fn every_kernel_validates_with_both_wide_products() {
    for kernel in Kernel::all() {
        for product in [WideProduct::Portable, WideProduct::Int64] {
            let module = module(kernel, product);
            let capabilities = match product {
                WideProduct::Portable => Capabilities::empty(),
                WideProduct::Int64 => Capabilities::SHADER_INT64,
            };
            let spec = kernel.spec();
            let info = Validator::new(ValidationFlags::all(), capabilities)
                .validate(&module)
                .unwrap_or_else(|e| panic!("{kernel:?} {product:?}: {e:?}"));
            assert!(module.entry_points.iter().any(|e| e.name == spec.entry), "{kernel:?}");
            for (name, _) in &spec.overrides {
                let known = module.overrides.iter().any(|(_, o)| o.name.as_deref() == Some(name));
                assert!(known, "{kernel:?} has no override {name}");
            }
            let constants = spec.overrides.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
            let entry = Some((naga::ShaderStage::Compute, spec.entry));
            naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants)
                .unwrap_or_else(|e| panic!("{kernel:?} {product:?}: {e:?}"));
        }
    }
}

#[test]
fn records_have_the_layout_of_the_shaders() {
    let rows = Kernel::ForwardRows { log_points: 12, whole: true, finish: false };
    let inverse = Kernel::InverseRows { log_points: 12, whole: true };
    for (kernel, expected) in [
        (Kernel::Element { element: Element::Add, repeats: false }, ElementParams::layout()),
        (rows, NttParams::layout()),
        (inverse, NttParams::layout()),
        (Kernel::Extend { repeats: false }, ExtendParams::layout()),
        (Kernel::Automorphism { repeats: false }, AutomorphismParams::layout()),
        (Kernel::GadgetDot, GadgetParams::layout()),
        (Kernel::Combine, CombineParams::layout()),
    ] {
        let module = module(kernel, WideProduct::Portable);
        let got = members(&module, "Params");
        let got: Vec<_> = got.iter().map(|(name, offset, size)| (name.as_str(), *offset, *size)).collect();
        assert_eq!(got, expected, "{kernel:?}");
        let window = members(&module, "Window");
        assert_eq!(window.iter().map(|m| m.2).sum::<usize>(), size_of::<Window>());
    }
}

#[test]
fn kernels_stay_within_the_limits_every_device_has() {
    for kernel in Kernel::all() {
        let module = module(kernel, WideProduct::Portable);
        let bound: std::collections::HashSet<u32> =
            module.global_variables.iter().filter_map(|(_, v)| v.binding.map(|b| b.binding)).collect();
        assert!(bound.iter().all(|&binding| binding < 8), "{kernel:?}");
    }
}

/// Any adapter; none is a failure only where one is required.
fn backend() -> Option<GpuBackend> {
    match open_backend(Selector::Any, true) {
        Ok(backend) => Some(backend),
        Err(error) => {
            assert!(std::env::var("RINGLIGHT_REQUIRE_GPU").is_err(), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

#[test]
fn grids_larger_than_the_device_allows_are_split() {
    let Some(mut gpu) = backend() else { return };
    gpu.limits.max_compute_workgroups_per_dimension = 2;
    let log_n = LogN::new(10).unwrap();
    let primes: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(2).collect();
    let tables = Arc::new(RingTables::new(log_n, &primes).unwrap());
    let shape = Shape { batch: 5, limbs: 2, log_n: 10 };
    let words: Vec<u32> = (0..5 * 2 * 1024u32).map(|i| i.wrapping_mul(2_654_435_761) >> 3).collect();
    let words: Vec<u32> = words.iter().map(|w| w % primes[1]).collect();
    let basis = Basis::new([0, 1]);
    let results = [Device::cpu(), Device::from_backend(Box::new(gpu))].map(|device| {
        let ring = device.load_ring(&tables).unwrap();
        let (a, b) = (device.upload(shape, &words).unwrap(), device.alloc(shape).unwrap());
        device.record(&ring, Op::NttForward { dst: b.view(), src: a.view(), basis: basis.clone() }).unwrap();
        device.record(&ring, Op::Mul { dst: b.view(), a: b.view(), b: a.view(), basis: basis.clone() }).unwrap();
        device.download(&b).unwrap()
    });
    assert_eq!(results[0], results[1]);
}

#[test]
fn failures_come_back_as_errors_and_stay() {
    let Some(gpu) = backend() else { return };
    let shape = Shape { batch: 1, limbs: 1, log_n: 10 };
    let buffer = gpu.alloc(shape).unwrap();
    let huge = Shape { batch: u32::MAX, limbs: 1, log_n: 10 };
    assert!(matches!(gpu.alloc(huge), Err(Error::OutOfMemory { .. })));
    gpu.upload(&buffer, &vec![7; 1024]).unwrap();
    assert_eq!(gpu.download(&buffer).unwrap(), vec![7; 1024]);
    // An error that no call returns: a buffer that claims to be mapped for reading and bound for writing.
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::STORAGE;
    drop(gpu.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 64, usage, mapped_at_creation: false }));
    for _ in 0..2 {
        assert!(matches!(gpu.submit(Program::default()), Err(Error::DeviceFailed { .. })));
        assert!(matches!(gpu.download(&buffer), Err(Error::DeviceFailed { .. })));
        assert!(matches!(gpu.alloc(shape), Err(Error::DeviceFailed { .. })));
    }
}

#[test]
fn a_lost_device_is_an_error() {
    let Some(gpu) = backend() else { return };
    let shape = Shape { batch: 1, limbs: 1, log_n: 10 };
    let buffer = gpu.alloc(shape).unwrap();
    gpu.device.destroy();
    assert!(matches!(gpu.download(&buffer), Err(Error::DeviceFailed { .. })));
    assert!(gpu.submit(Program::default()).is_err());
    assert!(gpu.alloc(shape).is_err());
}
