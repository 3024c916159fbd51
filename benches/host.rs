//! What a GPU costs the host: processor time of the calling thread for every recorded operation, and the cold start.
//!
//! Operations are small (`N = 2^10`), so that nearly all of the time is the host's. `record` is [`Device::record`] up to the queue;
//! `lower`, `encode` and `submit` are what a flush spends in this library, in wgpu, and in wgpu's submission with the driver
//! behind it, all on the calling thread. Figures are minima over many programs; `RINGLIGHT_BENCH_ADAPTER` names the adapter.

use cpu_time::ThreadTime;
use ringlight::Device;
use ringlight::device::{Basis, Buffer, LoadedRing, Op};
use ringlight::math::{RingTables, ntt_primes_below};
use ringlight::units::{LogN, Shape};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Operations of one program.
const OPS: usize = 256;
/// Programs to take the minimum over.
const ROUNDS: usize = 3000;

/// Buffers that operations are recorded on, round and round.
struct Stream {
    device: Device,
    ring: LoadedRing,
    buffers: Vec<Buffer>,
    basis: Basis,
}

impl Stream {
    fn new(device: &Device) -> Self {
        let log_n = LogN::new(10).expect("in range");
        let primes: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(3).collect();
        let tables = Arc::new(RingTables::new(log_n, &primes).expect("distinct primes"));
        let shape = Shape { batch: 1, limbs: 3, log_n: 10 };
        let words = vec![1; shape.words()];
        let buffers = (0..16).map(|_| device.upload(shape, &words).expect("they fit")).collect();
        Self {
            device: device.clone(),
            ring: device.load_ring(&tables).expect("the tables fit"),
            buffers,
            basis: Basis::new(0..3),
        }
    }

    /// One operation, unlike the last.
    fn op(&self, index: usize) -> Op {
        let view = |offset: usize| self.buffers[(index + offset) % self.buffers.len()].view();
        let (dst, a, b, basis) = (view(0), view(3), view(7), self.basis.clone());
        match index % 4 {
            0 => Op::Add { dst, a, b, basis },
            1 => Op::MulAdd { dst, a, b, basis },
            2 => Op::NttForward { dst: a.clone(), src: a, basis },
            _ => Op::Sub { dst, a, b, basis },
        }
    }
}

/// Processor time of this thread spent in `f`.
fn cost(f: impl FnOnce()) -> Duration {
    let start = ThreadTime::now();
    f();
    start.elapsed()
}

fn per_op(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / OPS as f64
}

fn main() {
    // `cargo bench -- --test` and a plain run only show that everything works.
    let testing = !std::env::args().any(|argument| argument == "--bench") || std::env::args().any(|a| a == "--test");
    let rounds = if testing { 2 } else { ROUNDS };
    let cold = Instant::now();
    let device = match std::env::var("RINGLIGHT_BENCH_ADAPTER") {
        Ok(name) => Device::gpu_matching(&name),
        Err(_) => Device::gpu(),
    };
    let device = match device {
        Ok(device) => device,
        Err(error) => return println!("no GPU, nothing to measure: {error}"),
    };
    let opened = cold.elapsed();
    let stream = Stream::new(&device);
    let started = Instant::now();
    for index in 0..4 {
        device.record(&stream.ring, stream.op(index)).expect("well formed");
    }
    device.download(&stream.buffers[0]).expect("the device works");
    let first = started.elapsed();
    println!("{}", device.name());
    println!("cold start: device opened in {opened:.1?}, first four operations in {first:.1?}");

    let (mut record, mut flush) = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        let ops: Vec<Op> = (0..OPS - 1).map(|index| stream.op(index)).collect();
        record = record.min(cost(|| {
            for op in ops {
                device.record(&stream.ring, op).expect("well formed");
            }
        }));
        flush = flush.min(cost(|| device.flush().expect("the device works")));
        device.download(&stream.buffers[0]).expect("the device works");
    }
    println!("microseconds an operation: record {:.3}, flush {:.3}", per_op(record), per_op(flush));
}
