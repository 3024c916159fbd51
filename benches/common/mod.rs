//! What the benchmarks share: where they run and how they wait.

use criterion::{Bencher, Criterion};
use rayon::{ThreadPool, ThreadPoolBuilder};
use ringlight::Device;
use ringlight::device::{Buffer, DeviceKind};
use ringlight::units::Shape;
use std::time::{Duration, Instant};

/// Few samples and no plots, each of which takes seconds, so that a whole run takes minutes. Options on the command line win.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .without_plots()
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
    /// With the kernels for hardware without 64-bit integers, though it has them.
    portable: bool,
}

impl Place {
    fn new(threads: usize, portable: bool, open: impl FnOnce() -> Option<Device> + Send) -> Option<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("the system has threads");
        let device = pool.install(open)?; // the CPU's name tells the pool's threads
        let probe = device.upload(Shape { batch: 1, limbs: 1, log_n: 0 }, &[7]).expect("one word fits");
        Some(Self { pool, device, probe, portable })
    }

    /// The CPU with one thread, two, and all of them; then the best adapter, if there is one.
    ///
    /// `RINGLIGHT_BENCH_ADAPTER` names another adapter than the best.
    pub(crate) fn all() -> Vec<Self> {
        let cores = rayon::current_num_threads();
        let mut threads = vec![1, 2, cores];
        threads.retain(|&count| count <= cores);
        threads.dedup();
        let cpu = |threads| Self::new(threads, false, || Some(Device::cpu()));
        let mut places: Vec<_> = threads.into_iter().filter_map(cpu).collect();
        let open = || match std::env::var("RINGLIGHT_BENCH_ADAPTER") {
            Ok(name) => Device::gpu_matching(&name),
            Err(_) => Device::gpu(),
        };
        places.extend(Self::new(cores, false, || open().inspect_err(|error| eprintln!("CPU only: {error}")).ok()));
        places
    }

    /// The adapter of [`Self::all`] with portable kernels, where those are not its own.
    #[allow(dead_code, reason = "not every benchmark compares kernels")]
    pub(crate) fn portable(&self) -> Option<Self> {
        let caps = self.device.caps();
        if caps.kind == DeviceKind::Cpu || !caps.int64 {
            return None;
        }
        Self::new(self.pool.current_num_threads(), true, || Device::gpu_portable(self.device.name()).ok())
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Device and adapter, or device and threads.
    pub(crate) fn label(&self) -> String {
        match self.device.kind() {
            DeviceKind::Cpu => self.device.name().into(),
            kind => format!("{kind:?} {}{}", self.device.name(), if self.portable { " portable" } else { "" }),
        }
    }

    /// Work that would only cost time here: large rings when testing; on a software adapter, unless `RINGLIGHT_BENCH_ALL=1`, large
    /// rings and batches.
    pub(crate) fn leaves_out(&self, log_n: u32, batch: u32) -> bool {
        let software = self.device.kind() == DeviceKind::SoftwareGpu;
        let all = std::env::var("RINGLIGHT_BENCH_ALL").is_ok_and(|v| v == "1");
        log_n > if testing() { 13 } else { 17 } || (software && !all && (log_n > 14 || batch > 4))
    }

    /// Waits for the device: downloads one word, which is ordered after everything recorded so far.
    pub(crate) fn wait(&self) {
        self.device.download(&self.probe).expect("the device works");
    }

    /// Runs set-up work with the threads of this place.
    pub(crate) fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.pool.install(f)
    }

    /// Measures `f`, many times before the device is waited for once.
    #[allow(dead_code, reason = "not every benchmark has work that can queue")]
    pub(crate) fn time_queued(&self, bencher: &mut Bencher<'_>, f: impl Fn() + Sync) {
        self.pool.install(|| {
            bencher.iter_custom(|iterations| {
                self.wait();
                let start = Instant::now();
                for _ in 0..iterations {
                    f();
                }
                self.wait();
                start.elapsed()
            });
        });
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
