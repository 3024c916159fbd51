//! A profile adds up, on every device, and its trace has one event a kernel.
#![cfg(feature = "profiling")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::devices;
use ringlight::device::{Basis, DeviceKind, Op};
use ringlight::math::{RingTables, ntt_primes_below};
use ringlight::units::{LogN, Shape};
use serde_json::Value;
use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "profiles_add_up";

#[test]
fn profiles_add_up() {
    if std::env::var("RINGLIGHT_PROFILE").is_err() {
        // The environment is read when a device is opened: by this test in a process of its own.
        let file = std::env::temp_dir().join(format!("ringlight-profile-{}.json", std::process::id()));
        let mut child = Command::new(std::env::current_exe().unwrap());
        let run = child.args(["--exact", NAME, "--nocapture"]).env("RINGLIGHT_PROFILE", &file).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let table = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(table.contains("mul_add") && table.contains("trace: "), "{table}");
        let trace: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert!(!trace["traceEvents"].as_array().unwrap().is_empty());
        std::fs::remove_file(file).unwrap();
        return;
    }
    let log_n = LogN::new(13).unwrap();
    let primes: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(2).collect();
    let tables = Arc::new(RingTables::new(log_n, &primes).unwrap());
    let shape = Shape { batch: 3, limbs: 2, log_n: 13 };
    let own = ringlight::Device::cpu();
    for device in devices().into_iter().chain([own]) {
        let ring = device.load_ring(&tables).unwrap();
        let [a, b] = [2, 3].map(|word| device.upload(shape, &vec![word; shape.words()]).unwrap());
        let basis = Basis::new(0..2);
        for _ in 0..5 {
            device.record(&ring, Op::NttForward { dst: a.view(), src: a.view(), basis: basis.clone() }).unwrap();
            let (dst, a, b, basis) = (a.view(), b.view(), b.view(), basis.clone());
            device.record(&ring, Op::MulAdd { dst, a, b, basis }).unwrap();
        }
        let Some(profile) = device.profile().unwrap() else {
            assert!(device.kind() != DeviceKind::Cpu, "the environment asks for it");
            println!("skipped: {} has no clock for kernels", device.name());
            continue;
        };
        let row = |op: &str| profile.rows.iter().find(|row| row.op == op).unwrap();
        assert_eq!((row("ntt_forward").count, row("mul_add").count), (5, 5));
        assert_eq!(row("ntt_forward").bytes, 5 * 2 * shape.bytes());
        assert_eq!(row("mul_add").bytes, 5 * 4 * shape.bytes());
        let kernels: u64 = profile.rows.iter().map(|row| row.kernels).sum();
        let expected = if device.kind() == DeviceKind::Cpu { 10 } else { device.statistics().dispatches };
        assert_eq!(kernels, expected, "{profile}");
        let trace: Value = serde_json::from_str(&profile.trace).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        assert_eq!(events.len() as u64, kernels);
        let micros: f64 = events.iter().map(|event| event["dur"].as_f64().unwrap()).sum();
        let error = micros - profile.time().as_secs_f64() * 1e6;
        assert!(error.abs() < 1.0 && profile.time() > Duration::ZERO, "{error}");
        // Another thread's work has a track of its own on the CPU, and is in the GPU's one queue.
        std::thread::scope(|scope| {
            scope.spawn(|| device.record(&ring, Op::Zero { dst: a.view() }).and_then(|()| device.flush()).unwrap());
        });
        let trace: Value = serde_json::from_str(&device.profile().unwrap().unwrap().trace).unwrap();
        assert_eq!(trace["otherData"]["kernels_left_out"], 0);
        let tracks = trace["traceEvents"].as_array().unwrap().iter().map(|event| event["tid"].as_u64().unwrap());
        let tracks: HashSet<u64> = tracks.collect();
        assert_eq!(tracks.len(), if device.kind() == DeviceKind::Cpu { 2 } else { 1 }, "{tracks:?}");
    }
}
