//! Kernels without a GPU: every composition parses and validates, and records have the layout that Rust writes. With one:
//! failures, and what the public interface does not reach.

use super::catalog::{
    ABSENT, COMBINE_OUTPUTS, Element, FEW_KEYS, GROUP_TARGETS, Kernel, MANY_KEYS, RowsEnd, WideProduct, Width,
};
use super::dispatch::{LEAST_SLOTS, SLOTS};
use super::memory::Pool;
use super::params::{
    AutomorphismParams, CombineParams, ElementParams, ExtendParams, GadgetParams, NttParams, UniformParams, Window,
};
use super::shadow::Shadow;
use super::staging::Staging;
use super::{GpuBackend, Selector, open::open_backend};
use crate::Error;
use crate::device::{Backend, Basis, Buffer, Device, Digit, InnerProduct, Op};
use crate::math::{RingTables, ntt_primes_below};
use crate::units::{GaloisElement, LogN, Shape};
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
    let rows = Kernel::ForwardRows { log_points: 12, whole: true, end: RowsEnd::Plain };
    let inverse = Kernel::InverseRows { log_points: 12, whole: true };
    for (kernel, expected) in [
        (Kernel::Element { element: Element::Add, repeats: false }, ElementParams::layout()),
        (rows, NttParams::layout()),
        (inverse, NttParams::layout()),
        (Kernel::Extend { repeats: false, scaled: false }, ExtendParams::layout()),
        (Kernel::Automorphism { repeats: false }, AutomorphismParams::layout()),
        (Kernel::GadgetDot { many: false, turned: false }, GadgetParams::layout()),
        (Kernel::KeySwitch { log_points: 12, whole: true, turned: false }, NttParams::layout()),
        (Kernel::ConvertColumns, NttParams::layout()),
        (Kernel::Uniform, UniformParams::layout()),
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
fn numbers_that_shaders_fix_are_those_of_rust() {
    let gadget = |many| Kernel::GadgetDot { many, turned: false };
    for (kernel, name, expected) in [
        (gadget(false), "KEYS", FEW_KEYS),
        (gadget(true), "KEYS", MANY_KEYS),
        (Kernel::Combine, "OUTPUTS", COMBINE_OUTPUTS as usize),
        (Kernel::ConvertColumns, "TARGETS", GROUP_TARGETS as usize),
        (Kernel::ConvertColumns, "ABSENT", ABSENT as usize),
    ] {
        let module = module(kernel, WideProduct::Portable);
        let (_, constant) = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some(name)).unwrap();
        let value = &module.global_expressions[constant.init];
        let naga::Expression::Literal(naga::Literal::U32(value)) = value else { panic!("{name} is {value:?}") };
        assert_eq!(*value as usize, expected, "{name}");
    }
    assert_eq!((LEAST_SLOTS, SLOTS), (3 + FEW_KEYS, 5 + MANY_KEYS));
}

#[test]
fn kernels_stay_within_the_limits_every_device_has() {
    for kernel in Kernel::all() {
        let module = module(kernel, WideProduct::Portable);
        let bound: std::collections::HashSet<u32> =
            module.global_variables.iter().filter_map(|(_, v)| v.binding.map(|b| b.binding)).collect();
        let slots = if kernel.width() == Width::Most { SLOTS } else { LEAST_SLOTS };
        assert!(bound.iter().all(|&binding| (binding as usize) < 2 + slots), "{kernel:?}");
        if kernel.width() == Width::Narrow {
            let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
            let entry = module.entry_points.iter().position(|e| e.name == kernel.spec().entry).unwrap();
            let used =
                module.global_variables.iter().filter(|(handle, _)| !info.get_entry_point(entry)[*handle].is_empty());
            let last = used.filter_map(|(_, v)| v.binding.map(|b| b.binding)).max();
            assert!(last.is_none_or(|binding| binding < 2 + 4), "{kernel:?} binds {last:?}");
        }
    }
}

/// Any adapter; none is a failure only where one is required.
fn backend() -> Option<GpuBackend> {
    match open_backend(Selector::Any, true) {
        Ok(backend) => Some(backend),
        Err(error) => {
            assert!(!std::env::var("RINGLIGHT_REQUIRE_GPU").is_ok_and(|v| v == "1"), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

const DEGREE: u32 = 10;
const BATCH: u32 = 6;

fn tables(limbs: u32) -> Arc<RingTables> {
    let log_n = LogN::new(DEGREE).unwrap();
    let primes: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(limbs as usize).collect();
    Arc::new(RingTables::new(log_n, &primes).unwrap())
}

/// Residues of every prime of the ring.
fn residues(tables: &RingTables, shape: Shape) -> Vec<u32> {
    let least = tables.primes().iter().map(|p| p.q()).min().unwrap();
    (0u32..).take(shape.words()).map(|i| (i.wrapping_mul(2_654_435_761) >> 1) % least).collect()
}

/// Nearly every kernel on buffers of `BATCH` polynomials over the whole ring; all words that there are at the end.
fn run_many_ops(device: &Device, tables: &Arc<RingTables>) -> Vec<Vec<u32>> {
    let limbs = u32::try_from(tables.primes().len()).unwrap();
    let ring = device.load_ring(tables).unwrap();
    let fill = |shape: Shape| device.upload(shape, &residues(tables, shape)).unwrap();
    let m: Vec<Buffer> = (0..4).map(|_| fill(Shape { batch: BATCH, limbs, log_n: DEGREE })).collect();
    let key: Arc<[Buffer]> = (0..5).map(|_| fill(Shape { batch: 2, limbs, log_n: DEGREE })).collect();
    let weights = fill(Shape { batch: 5 * BATCH, limbs, log_n: 0 });
    let scalars = residues(tables, Shape { batch: 1, limbs, log_n: 0 }).into();
    let basis = Basis::new(0..limbs);
    let digits: Arc<[Digit]> = Arc::new([Digit { first: 0, limbs: 2 }, Digit { first: 2, limbs: 1 }]);
    let part = |i: usize, polys, limbs| m[i].view().polys(0, polys).unwrap().limbs(0, limbs).unwrap();
    let ops = [
        Op::NttForward { dst: m[1].view(), src: m[0].view(), basis: basis.clone() },
        Op::NttInverse { dst: m[2].view(), src: m[1].view(), basis: basis.clone() },
        Op::Mul { dst: m[2].view(), a: m[1].view(), b: m[0].view(), basis: basis.clone() },
        Op::MulScalar { dst: m[2].view(), a: m[2].view(), scalars, basis: basis.clone() },
        Op::Tensor { dst: m[3].view(), a: part(0, 4, limbs), b: part(1, 4, limbs), basis: basis.clone() },
        Op::Decompose { dst: m[0].view(), src: part(2, 3, 3), digits: Arc::clone(&digits), basis: basis.clone() },
        Op::KeySwitch {
            dst: part(3, 4, limbs),
            src: part(2, 2, 3),
            digits,
            product: InnerProduct {
                key: key[..2].into(),
                rows: Basis::new(0..limbs),
                basis: basis.clone(),
                plus: Some(part(0, 2, 3)),
                element: GaloisElement::conjugation(LogN::new(DEGREE).unwrap()),
            },
        },
        Op::GadgetDot {
            dst: part(1, 2, limbs),
            digits: part(0, 5, limbs),
            product: InnerProduct {
                key,
                rows: Basis::new((0..limbs).rev()),
                basis: basis.clone(),
                plus: Some(part(3, 1, 2)),
                element: GaloisElement::IDENTITY,
            },
        },
        Op::Automorphism {
            dst: m[2].view(),
            src: m[1].view(),
            element: GaloisElement::from_steps(3, LogN::new(DEGREE).unwrap()),
        },
        Op::ModDown {
            dst: part(3, BATCH, limbs - 2),
            src: m[2].view(),
            kept: Basis::new(0..limbs - 2),
            dropped: Basis::new(limbs - 2..limbs),
            plus: Some(part(1, 2, limbs - 2)),
            element: GaloisElement::from_steps(5, LogN::new(DEGREE).unwrap()),
        },
        Op::Combine {
            dst: part(1, 5, limbs),
            src: m[0].view(),
            weights: weights.view(),
            components: 1,
            basis: basis.clone(),
        },
        Op::Uniform { dst: part(2, 5, limbs), seed: [7; 32], basis },
    ];
    for op in ops {
        device.record(&ring, op).unwrap();
    }
    m.iter().map(|buffer| device.download(buffer).unwrap()).collect()
}

#[test]
fn grids_larger_than_the_device_allows_are_split() {
    let Some(gpu) = backend() else { return };
    // Along x conversions take four workgroups. Both other directions are longer, in conversions too.
    gpu.state().recorder.most_groups = 4;
    let tables = tables(4 * super::catalog::EXTEND_TARGETS + 3);
    let (cpu, gpu) = (Device::cpu(), Device::from_backend(Box::new(gpu)));
    assert!(run_many_ops(&cpu, &tables) == run_many_ops(&gpu, &tables));
}

#[test]
fn eight_bindings_are_enough() {
    let Some(gpu) = backend() else { return };
    gpu.state().recorder.slots = LEAST_SLOTS;
    let tables = tables(6);
    let (cpu, gpu) = (Device::cpu(), Device::from_backend(Box::new(gpu)));
    assert!(run_many_ops(&cpu, &tables) == run_many_ops(&gpu, &tables));
}

#[test]
fn operations_may_run_on_the_cpu_instead() {
    let tables = tables(6);
    let expected = run_many_ops(&Device::cpu(), &tables);
    for names in ["ntt_forward, decompose,,gadget_dot,nonsense", "mul,mod_down,combine,uniform", ""] {
        let Some(mut gpu) = backend() else { return };
        gpu.shadow = Shadow::new(names).unwrap();
        let ops = gpu.shadow.as_ref().map_or(vec![], |shadow| shadow.ops().to_vec());
        assert_eq!(ops.len(), names.split(',').filter(|name| !["", "nonsense"].contains(name)).count());
        assert!(run_many_ops(&Device::from_backend(Box::new(gpu)), &tables) == expected, "{names}");
    }
}

#[test]
fn every_buffer_that_fits_can_be_downloaded() {
    let Some(gpu) = backend() else { return };
    let shape = Shape { batch: 24, limbs: 1, log_n: 10 };
    // No power of two lies between the buffer's size and the largest.
    let pool = Arc::new(Pool::new(gpu.device.clone(), Arc::clone(&gpu.failure), shape.bytes() + 4, 0));
    let staging =
        Staging::new(gpu.device.clone(), gpu.staging.queue.clone(), Arc::clone(&gpu.failure), Arc::clone(&pool));
    let words = vec![7; shape.words()];
    let memory = pool.take(shape.words()).unwrap();
    gpu.staging.write(memory.block(), 0, bytemuck::cast_slice(&words)).unwrap();
    gpu.staging.submit(None);
    assert!(staging.read(memory.block(), memory.words()).unwrap() == words);
}

#[test]
fn one_ring_is_loaded_once_by_many_threads() {
    let Some(gpu) = backend() else { return };
    let tables = tables(3);
    let load = || gpu.load_ring(&tables).unwrap();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[test]
fn failures_come_back_as_errors_and_stay() {
    let Some(gpu) = backend() else { return };
    let shape = Shape { batch: 1, limbs: 1, log_n: 10 };
    let huge = Shape { batch: u32::MAX, limbs: 1, log_n: 10 };
    assert!(matches!(gpu.alloc(huge), Err(Error::OutOfMemory { .. })));
    let buffer = gpu.upload(shape, &[7; 1024]).unwrap();
    assert_eq!(gpu.download(&buffer).unwrap(), vec![7; 1024]);
    // An error that no call returns: a buffer that claims to be mapped for reading and bound for writing.
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::STORAGE;
    drop(gpu.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 64, usage, mapped_at_creation: false }));
    for _ in 0..2 {
        assert!(matches!(gpu.flush(), Err(Error::DeviceFailed { .. })));
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
    assert!(gpu.flush().is_err());
    assert!(gpu.alloc(shape).is_err());
}
