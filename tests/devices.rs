//! Devices refuse what is not theirs, and go on working afterwards.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::devices;
use ringlight::device::{Basis, Op};
use ringlight::math::{RingTables, ntt_primes_below};
use ringlight::units::{LogN, Shape};
use ringlight::{Device, Error};
use std::sync::Arc;

const SHAPE: Shape = Shape { batch: 1, limbs: 1, log_n: 10 };

fn tables() -> Arc<RingTables> {
    let log_n = LogN::new(10).unwrap();
    let primes: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(1).collect();
    Arc::new(RingTables::new(log_n, &primes).unwrap())
}

#[test]
fn memory_and_rings_of_another_device_are_refused() {
    let tables = tables();
    let all: Vec<Device> = devices().into_iter().chain([Device::cpu()]).collect();
    for device in &all {
        let ring = device.load_ring(&tables).unwrap();
        let mine = device.upload(SHAPE, &[5; 1024]).unwrap();
        let add = |a: &ringlight::device::Buffer| Op::Add {
            dst: mine.view(),
            a: a.view(),
            b: mine.view(),
            basis: Basis::new([0]),
        };
        for other in all.iter().filter(|other| !other.is_same(device)) {
            let foreign = other.upload(SHAPE, &[7; 1024]).unwrap();
            let foreign_ring = other.load_ring(&tables).unwrap();
            assert!(matches!(device.record(&ring, add(&foreign)), Err(Error::DeviceMismatch { op: "add", .. })));
            assert!(matches!(device.record(&foreign_ring, add(&mine)), Err(Error::DeviceMismatch { op: "add", .. })));
            assert!(matches!(device.download(&foreign), Err(Error::DeviceMismatch { op: "download", .. })));
        }
        // A refusal is the caller's to repair; the device goes on.
        device.record(&ring, add(&mine)).unwrap();
        assert_eq!(device.download(&mine).unwrap(), vec![10; 1024]);
    }
}

#[test]
fn memory_that_cannot_be_is_an_error() {
    for device in devices() {
        for shape in [
            Shape { batch: u32::MAX, limbs: u32::MAX, log_n: 17 },
            Shape { batch: 1 << 31, limbs: 1 << 31, log_n: 13 },
            Shape { batch: 1, limbs: 1, log_n: 200 },
        ] {
            assert!(matches!(device.alloc(shape), Err(Error::OutOfMemory { .. })), "{shape}");
            assert!(matches!(device.upload(shape, &[1]), Err(Error::ShapeMismatch { .. })), "{shape}");
        }
        let buffer = device.upload(SHAPE, &[1; 1024]).unwrap();
        assert_eq!(device.download(&buffer).unwrap(), vec![1; 1024]);
    }
}

#[test]
fn adapters_that_do_not_exist_are_errors() {
    for missing in [Device::gpu_matching("no such adapter"), Device::gpu_portable("no such adapter")] {
        let error = missing.unwrap_err();
        assert!(matches!(error, Error::NoAdapter { .. }));
        assert!(error.to_string().contains("Device::cpu()"), "{error}");
    }
    assert!(!Device::auto().name().is_empty());
}

#[test]
fn an_upload_does_not_overtake_what_was_recorded_before() {
    let tables = tables();
    for device in devices() {
        let ring = device.load_ring(&tables).unwrap();
        let sum = device.upload(SHAPE, &[0; 1024]).unwrap();
        let mut expected = 0;
        for word in 1..20 {
            // Nothing but the recorded operation needs this memory any more when the next upload asks for some.
            let a = device.upload(SHAPE, &[word; 1024]).unwrap().view();
            let (dst, b, basis) = (sum.view(), sum.view(), Basis::new([0]));
            device.record(&ring, Op::Add { dst, a, b, basis }).unwrap();
            expected += word;
        }
        assert_eq!(device.download(&sum).unwrap(), vec![expected; 1024]);
    }
}

#[test]
fn large_buffers_travel_both_ways_and_threads_wait_side_by_side() {
    // More than one staging buffer holds, and not a multiple of it.
    let shape = Shape { batch: 10_007, limbs: 1, log_n: 10 };
    for device in devices() {
        let before = device.statistics();
        let make = |seed: u32| (0u32..).take(shape.words()).map(|i| i.wrapping_mul(seed)).collect::<Vec<_>>();
        // All buffers live until the last thread is done, however the threads take turns.
        let buffers: Vec<_> = std::thread::scope(|scope| {
            let threads = [3, 5, 7].map(|seed| {
                let (device, words) = (device.clone(), make(seed));
                scope.spawn(move || {
                    let buffer = device.upload(shape, &words).unwrap();
                    for _ in 0..2 {
                        assert!(device.download(&buffer).unwrap() == words, "{seed}");
                    }
                    buffer
                })
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(buffers.len(), 3);
        let after = device.statistics();
        assert!(after.uploaded_bytes - before.uploaded_bytes >= 3 * shape.bytes());
        assert!(after.downloaded_bytes - before.downloaded_bytes >= 6 * shape.bytes());
        assert!(after.peak_memory_bytes >= 3 * shape.bytes());
    }
}
