//! What the test files share: the devices to run on, and seeded inputs.
#![allow(dead_code, reason = "every test file uses a part of it")]

use num_complex::Complex64;
use ringlight::{Device, Result};
use std::sync::OnceLock;

/// Every device that results must agree on: the CPU, and with the feature `gpu` an adapter with its best kernels and one
/// with portable kernels.
///
/// A missing adapter prints one line and is left out; with `RINGLIGHT_REQUIRE_GPU=1` it is a failure.
pub(crate) fn devices() -> Vec<Device> {
    static OPEN: OnceLock<Vec<Device>> = OnceLock::new();
    let open = || {
        let mut open = vec![Device::cpu()];
        if cfg!(feature = "gpu") {
            let required = std::env::var("RINGLIGHT_REQUIRE_GPU").is_ok_and(|v| v == "1");
            let wanted: [(&str, Result<Device>); 2] =
                [("Device::gpu()", Device::gpu()), ("Device::gpu_portable(\"\")", Device::gpu_portable(""))];
            for (name, device) in wanted {
                match device {
                    Ok(device) => open.push(device),
                    Err(error) if required => panic!("RINGLIGHT_REQUIRE_GPU=1, but {name} failed: {error}"),
                    Err(error) => println!("skipped {name}: {error}"),
                }
            }
        }
        open
    };
    OPEN.get_or_init(open).clone()
}

/// A small generator for test inputs: SplitMix64.
pub(crate) struct Inputs(u64);

impl Inputs {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).unwrap()
    }

    /// In `[-1, 1)`.
    pub(crate) fn real(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 52f64.exp2() - 1.0
    }

    pub(crate) fn complex(&mut self, count: usize) -> Vec<Complex64> {
        (0..count).map(|_| Complex64::new(self.real(), self.real())).collect()
    }

    /// Residues modulo `q`; the first are the extreme ones.
    pub(crate) fn residues(&mut self, q: u32, count: usize) -> Vec<u32> {
        let extremes = [0, 1, q - 1, q / 2, q / 2 + 1, q - 2, 2 % q];
        (0..count).map(|i| extremes.get(i).copied().unwrap_or_else(|| self.below(q))).collect()
    }
}
