//! Kernels without a GPU: every composition parses and validates, and records have the layout that Rust writes. With one:
//! failures, and what the public interface does not reach.

use super::catalog::{
    ABSENT, COMBINE_OUTPUTS, EXTEND_TARGETS, Element, FEW_KEYS, GROUP_TARGETS, Kernel, MANY_KEYS, RowsEnd, WideProduct,
    Width,
};
use super::dispatch::{LEAST_SLOTS, MOST_WORDS, SLOTS};
use super::memory::Pool;
use super::params::{
    AutomorphismParams, CombineParams, ElementParams, ExtendParams, GadgetParams, NttParams, UniformParams, Window,
};
use super::shadow::Shadow;
use super::staging::Staging;
use super::tables::Table;
use super::{GpuBackend, Selector, open::open_backend};
use crate::Error;
use crate::device::{Backend, Basis, Buffer, Device, Digit, InnerProduct, Op};
use crate::math::{RingTables, ntt_primes_below};
use crate::units::{GaloisElement, LogN, Shape};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
    for (kernel, expected) in [
        (gadget(false), FEW_KEYS),
        (gadget(true), MANY_KEYS),
        (Kernel::KeySwitch { log_points: 12, whole: true, turned: false }, MANY_KEYS),
    ] {
        let module = module(kernel, WideProduct::Portable);
        let names = module.global_variables.iter().filter_map(|(_, variable)| variable.name.as_deref());
        let is_key = |name: &&str| name.strip_prefix("key").is_some_and(|digit| digit.parse::<u32>().is_ok());
        assert_eq!(names.filter(is_key).count(), expected, "{kernel:?}");
    }
    for (kernel, name, expected) in [
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
    tables_of(DEGREE, limbs)
}

fn tables_of(log_n: u32, limbs: u32) -> Arc<RingTables> {
    let log_n = LogN::new(log_n).unwrap();
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
    let (degree, log_n) = (tables.log_n(), tables.log_n().get());
    let ring = device.load_ring(tables).unwrap();
    let fill = |shape: Shape| device.upload(shape, &residues(tables, shape)).unwrap();
    let m: Vec<Buffer> = (0..4).map(|_| fill(Shape { batch: BATCH, limbs, log_n })).collect();
    let key: Arc<[Buffer]> = (0..5).map(|_| fill(Shape { batch: 2, limbs, log_n })).collect();
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
            dst: part(3, 6, limbs),
            src: part(2, 3, 3),
            digits,
            product: InnerProduct {
                key: key[..2].into(),
                rows: Basis::new(0..limbs),
                basis: basis.clone(),
                plus: Some(part(0, 3, 3)),
                element: GaloisElement::conjugation(degree),
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
        Op::Automorphism { dst: m[2].view(), src: m[1].view(), element: GaloisElement::from_steps(3, degree) },
        Op::ModDown {
            dst: part(3, BATCH, limbs - 2),
            src: m[2].view(),
            kept: Basis::new(0..limbs - 2),
            dropped: Basis::new(limbs - 2..limbs),
            plus: Some(part(1, 2, limbs - 2)),
            element: GaloisElement::from_steps(5, degree),
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
    // Of 2^10 words conversions are a pass of their own, and longer than this along y and z. Of 2^13 they begin transforms: of
    // three polynomials and more than two groups of limbs.
    for (log_n, most_groups, limbs) in [(10, 4, 4 * EXTEND_TARGETS + 3), (13, 2, 3 * GROUP_TARGETS)] {
        let Some(gpu) = backend() else { return };
        gpu.state().recorder.most_groups = most_groups;
        let tables = tables_of(log_n, limbs);
        let (cpu, gpu) = (Device::cpu(), Device::from_backend(Box::new(gpu)));
        assert!(run_many_ops(&cpu, &tables) == run_many_ops(&gpu, &tables), "2^{log_n}");
    }
}

#[test]
fn eight_bindings_are_enough() {
    for log_n in [10, 13] {
        let Some(gpu) = backend() else { return };
        gpu.state().recorder.slots = LEAST_SLOTS;
        let tables = tables_of(log_n, 6);
        let (cpu, gpu) = (Device::cpu(), Device::from_backend(Box::new(gpu)));
        assert!(run_many_ops(&cpu, &tables) == run_many_ops(&gpu, &tables), "2^{log_n}");
    }
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
fn an_upload_takes_no_memory_that_a_later_program_binds() {
    let Some(gpu) = backend() else { return };
    let words = 1 << 10;
    let stale = gpu.pool.program();
    gpu.pool.begin_program();
    let memory = gpu.pool.take(words).unwrap();
    let block = memory.block().clone();
    block.bound_by(gpu.pool.program());
    drop(memory);
    // Idle, but others have recorded launches on it since the number was read.
    for program in [stale, gpu.pool.program()] {
        assert_ne!(gpu.pool.take_for_upload(words, program).unwrap().block().id(), block.id());
    }
    gpu.pool.begin_program();
    let taken: Vec<_> = (0..3).map(|_| gpu.pool.take_for_upload(words, gpu.pool.program()).unwrap()).collect();
    assert!(
        taken.iter().any(|memory| memory.block().id() == block.id()),
        "once it is submitted it serves uploads again"
    );
}

#[test]
fn threads_that_upload_compute_and_drop_do_not_see_each_other() {
    let Some(gpu) = backend() else { return };
    let tables = tables(1);
    let device = Device::from_backend(Box::new(gpu));
    let ring = device.load_ring(&tables).unwrap();
    let shape = Shape { batch: 1, limbs: 1, log_n: DEGREE };
    let run = |thread: u32| {
        for round in 0..40 {
            let words = [thread, round].map(|word| vec![word; shape.words()]);
            let [a, b] = words.map(|words| device.upload(shape, &words).unwrap());
            for _ in 0..3 {
                // The product is dropped while its launch waits; its memory is idle at once.
                let product = device.alloc(shape).unwrap();
                let (dst, basis) = (product.view(), Basis::new([0]));
                device.record(&ring, Op::Add { dst, a: a.view(), b: b.view(), basis: basis.clone() }).unwrap();
                device.record(&ring, Op::Add { dst: a.view(), a: product.view(), b: b.view(), basis }).unwrap();
            }
            if round % 3 == 0 {
                device.flush().unwrap();
            }
            if round % 4 == 0 {
                assert_eq!(device.download(&a).unwrap(), vec![thread + 6 * round; shape.words()], "{thread} {round}");
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|thread| drop(scope.spawn(move || run(1000 * thread)))));
}

/// The last contents of a buffer after two programs, the second with more small tables than one staging buffer holds.
fn run_two_programs(gpu: &GpuBackend, tables: &Arc<RingTables>) -> crate::Result<Vec<u32>> {
    let limbs = u32::try_from(tables.primes().len()).unwrap();
    let shape = Shape { batch: 2, limbs, log_n: DEGREE };
    let ring = gpu.load_ring(tables)?;
    let [a, b] = [gpu.upload(shape, &residues(tables, shape))?, gpu.upload(shape, &residues(tables, shape))?];
    let mul = |basis| Op::Mul { dst: b.view(), a: a.view(), b: b.view(), basis };
    gpu.submit(ring, &mul(Basis::new(0..limbs)))?;
    gpu.flush()?;
    let basis = Basis::new((0..limbs).cycle().take(60));
    for row in 0..(5 << 20) / (60 * 32) {
        let rows = Basis::new(std::iter::repeat_n(row, 60));
        gpu.state().tables.intern(ring.0, tables, Table::KeyRows(basis.clone(), rows, 0));
    }
    // Only the order of the primes is new, and with it the tables.
    gpu.submit(ring, &mul(Basis::new((0..limbs).rev())))?;
    let (kept, dropped) = (Basis::new(0..limbs - 1), Basis::new(limbs - 1..limbs));
    let (dst, src) = (a.view().limbs(0, limbs - 1)?, b.view());
    gpu.submit(ring, &Op::ModDown { dst, src, kept, dropped, plus: None, element: GaloisElement::IDENTITY })?;
    gpu.download(&a)
}

#[test]
fn memory_that_is_short_once_changes_no_result() {
    let tables = tables(3);
    let mut expected = None;
    for missing in 0u32.. {
        let Some(gpu) = backend() else { return };
        gpu.pool.missing.store(missing, Ordering::Relaxed);
        let got = run_two_programs(&gpu, &tables).unwrap_or_else(|e| panic!("block {missing}: {e}"));
        assert!(got == *expected.get_or_insert_with(|| got.clone()), "block {missing}");
        if gpu.pool.missing.load(Ordering::Relaxed) > 0 {
            println!("{} blocks", missing - 1);
            assert!(missing > 5);
            break;
        }
    }
}

#[test]
fn words_that_come_with_programs_are_submitted_before_they_are_too_many() {
    let Some(gpu) = backend() else { return };
    gpu.state().recorder.words(&vec![0; MOST_WORDS]);
    let buffer = gpu.alloc(Shape { batch: 1, limbs: 1, log_n: DEGREE }).unwrap();
    let ring = gpu.load_ring(&tables(1)).unwrap();
    gpu.submit(ring, &Op::Zero { dst: buffer.view() }).unwrap();
    assert_eq!(gpu.statistics().submissions, 1);
    gpu.submit(ring, &Op::Zero { dst: buffer.view() }).unwrap();
    assert_eq!(gpu.statistics().submissions, 1);
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
