//! A GPU is handed whole circuits: one submission each, and in steady state no fresh memory.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::Device;
use ringlight::circuit::{Evaluator as _, LinearTransform, Plan, PlanReport};
use ringlight::ckks::{Bootstrapper, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::device::DeviceKind;
use ringlight::math::Seed;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The GPUs, for one test at a time: what others do would be counted too.
fn gpus() -> (Vec<Device>, MutexGuard<'static, ()>) {
    static BUSY: Mutex<()> = Mutex::new(());
    let alone = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
    (devices().into_iter().filter(|device| device.kind() != DeviceKind::Cpu).collect(), alone)
}

/// Submissions of what `run` records, which a flush ends.
fn submissions(device: &Device, run: impl FnOnce()) -> u64 {
    device.flush().unwrap();
    let before = device.statistics();
    run();
    let recorded = device.statistics();
    assert_eq!(recorded.submissions, before.submissions, "{recorded:?}");
    assert!(recorded.operations > before.operations);
    device.flush().unwrap();
    let after = device.statistics();
    assert!(after.dispatches > before.dispatches);
    after.submissions - before.submissions
}

fn values(slots: usize) -> Vec<Vec<Complex64>> {
    vec![Inputs::new(5).complex(slots).into_iter().map(|z| z / 2.0).collect()]
}

#[test]
fn a_rotation_and_a_transform_are_one_submission_each() {
    let p = Parameters::builder().log_n(11).levels(4).scale_bits(50).insecure_build().unwrap();
    let (top, values) = (p.max_level(), values(p.slots()));
    let mut inputs = Inputs::new(2);
    let diagonals: Vec<_> = (0..30).map(|k| (k, inputs.complex(p.slots()))).collect();
    let map = LinearTransform::new(p.slots(), diagonals).unwrap();
    let plan = Plan::new(p.slots());
    let planned = plan.input(1);
    plan.transform(&planned, &plan.encode_transform(&map, plan.level(&planned)).unwrap()).unwrap();
    let mut generator = KeyGenerator::from_seed(&p, &Seed::from_bytes([3; 32]));
    let request = KeyRequest::from_plan(&plan.report(), top).rotations([1]).relinearization(true);
    let keys = generator.evaluation_keys(&request).unwrap();
    let fresh = generator.encryptor().encrypt_complex(&values, top).unwrap();
    let (gpus, _alone) = gpus();
    for device in gpus {
        let eval = Evaluator::new(&p, &device, &keys).unwrap();
        let x = eval.load(&fresh).unwrap();
        let map = eval.encode_transform(&map, top).unwrap();
        // The first run also brings keys to the device.
        for _ in 0..2 {
            assert_eq!(submissions(&device, || drop(eval.rotate(&x, 1).unwrap())), 1);
            assert_eq!(submissions(&device, || drop(eval.mul(&x, &x).unwrap())), 1);
            assert_eq!(submissions(&device, || drop(eval.transform(&x, &map).unwrap())), 1);
        }
        let before = device.statistics().memory_bytes;
        for _ in 0..3 {
            eval.transform(&x, &map).unwrap();
            device.flush().unwrap();
        }
        assert_eq!(device.statistics().memory_bytes, before, "steady state takes no fresh memory");
    }
}

#[test]
fn a_refresh_is_one_submission() {
    let p = Parameters::insecure_bootstrap().unwrap();
    let circuit = Bootstrapper::new(&p).unwrap();
    let mut generator = KeyGenerator::from_seed(&p, &Seed::from_bytes([7; 32]));
    let keys = generator.evaluation_keys(&circuit.keys().unwrap()).unwrap();
    let fresh = generator.encryptor().encrypt_complex(&values(p.slots()), circuit.input_level()).unwrap();
    let (gpus, _alone) = gpus();
    for device in gpus {
        let eval = Evaluator::new(&p, &device, &keys).unwrap();
        let refresher = circuit.clone().prepare(&eval).unwrap();
        let x = eval.load(&fresh).unwrap();
        let refresh = || submissions(&device, || drop(refresher.refresh(&x).unwrap()));
        // The first two also bring keys to the device and fill the pool.
        assert_eq!([refresh(), refresh()], [1, 1]);
        let before = device.statistics();
        assert_eq!(refresh(), 1);
        let after = device.statistics();
        assert_eq!(after.peak_memory_bytes, before.peak_memory_bytes, "steady state takes no fresh memory");
        let (launches, most) = (after.dispatches - before.dispatches, most_launches(&circuit));
        println!("{launches} launches of {most} at most on {}", device.name());
        assert!(launches <= most, "{launches} of {most}");
    }
}

/// A bound on a refresh's launches, from the operations of its plan. Beside them it raises a ciphertext.
fn most_launches(circuit: &Bootstrapper) -> u64 {
    let (low, high) = circuit.plan().unwrap();
    let of = |plan: PlanReport| {
        let switches = plan.relinearizations + plan.single_rotations + plan.hoisted_rotations + plan.conjugations;
        let products = plan.additions + plan.plain_multiplications + plan.multiplications;
        // A division is at most four launches, a key switch with one nine of up to nine digits, eleven of up to eighteen.
        11 * switches + 4 * plan.rescales + 2 * products
    };
    (of(low) + of(high)) as u64 + 32
}

#[test]
fn a_refresh_at_full_size_fits_into_one_submission() {
    // After 2^14 launches a program is submitted though nobody asked.
    for p in [Parameters::bootstrap_n15(), Parameters::bootstrap_n16(), Parameters::bootstrap_n16_dense()] {
        let most = most_launches(&Bootstrapper::new(&p.unwrap()).unwrap());
        println!("{most} launches at most");
        assert!(most < 1 << 14, "{most}");
    }
}
