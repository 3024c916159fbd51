//! What the benchmarks share: where they run and how they wait.

use criterion::{Bencher, Criterion};
use rayon::{ThreadPool, ThreadPoolBuilder};
use ringlight::Device;
use ringlight::device::{Buffer, DeviceKind};
use ringlight::units::Shape;
use std::time::Duration;

/// Few samples, so that a whole run takes minutes. Options on the command line win.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

/// Whether the program only has to show that everything runs: `cargo bench -- --test`, or no `--bench` as `cargo bench` gives.
pub(crate) fn testing() -> bool {
    let given = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    given("--test") || !given("--bench")
}

/// Somewhere to measure: the CPU with a number of threads, or an adapter.
pub(crate) struct Place {
    pool: ThreadPool,
    device: Device,
    probe: Buffer,
}

impl Place {
    fn new(threads: usize, open: impl FnOnce() -> Option<Device> + Send) -> Option<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("the system has threads");
        let device = pool.install(open)?; // the CPU's name tells the pool's threads
        let probe = device.upload(Shape { batch: 1, limbs: 1, log_n: 0 }, &[7]).expect("one word fits");
        Some(Self { pool, device, probe })
    }

    /// The CPU with one thread, two, and all of them; then the best adapter, if there is one.
    ///
    /// `RINGLIGHT_BENCH_ADAPTER` names another adapter than the best.
    pub(crate) fn all() -> Vec<Self> {
        let cores = rayon::current_num_threads();
        let mut threads = vec![1, 2, cores];
        threads.retain(|&count| count <= cores);
        threads.dedup();
        let mut places: Vec<_> = threads.into_iter().filter_map(|t| Self::new(t, || Some(Device::cpu()))).collect();
        let open = || match std::env::var("RINGLIGHT_BENCH_ADAPTER") {
            Ok(name) => Device::gpu_matching(&name),
            Err(_) => Device::gpu(),
        };
        places.extend(Self::new(cores, || open().inspect_err(|error| eprintln!("CPU only: {error}")).ok()));
        places
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Device and adapter, or device and threads.
    pub(crate) fn label(&self) -> String {
        match self.device.kind() {
            DeviceKind::Cpu => self.device.name().into(),
            kind => format!("{kind:?} {}", self.device.name()),
        }
    }

    /// Sizes that would only cost time here: large ones when testing, and on a software adapter.
    pub(crate) fn leaves_out(&self, log_n: u32) -> bool {
        let software = self.device.kind() == DeviceKind::SoftwareGpu;
        log_n > if testing() { 13 } else { 17 } || (software && log_n > 14)
    }

    /// Waits for the device: downloads one word, which is ordered after everything recorded so far.
    pub(crate) fn wait(&self) {
        self.device.download(&self.probe).expect("the device works");
    }

    /// Runs set-up work with the threads of this place.
    pub(crate) fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.pool.install(f)
    }

    /// Measures `f`. Each iteration submits and waits: a GPU's time contains one submission and one small download.
    pub(crate) fn time(&self, bencher: &mut Bencher<'_>, f: impl Fn() + Sync) {
        self.pool.install(|| {
            bencher.iter(|| {
                f();
                if self.device.kind() != DeviceKind::Cpu {
                    self.wait();
                }
            });
        });
    }
}
