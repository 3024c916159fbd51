//! What a GPU costs the host: processor time of the calling thread for every recorded operation, and the cold start.
//!
//! Operations are small, so that nearly all of the time is the host's. `record` is [`Device::record`]: checks and lowering, all of
//! it this library's. A flush is encoding, which is nearly all wgpu's and the driver's commands, and submission, which is wgpu's
//! and the driver's. Figures are minima over many programs; `RINGLIGHT_BENCH_ADAPTER` names the adapter.
//!
//! Not criterion's: it measures wall clocks and medians of one quantity, and here one program gives four, of the thread's own clock. Lines
//! name operation, N, limbs and batch; the adapter stands above them.

use cpu_time::ThreadTime;
use ringlight::Device;
use ringlight::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::device::{Basis, Buffer, LoadedRing, Op};
use ringlight::math::{RingTables, Seed, ntt_primes_below};
use ringlight::units::{LogN, Shape};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Operations of one program.
const OPS: usize = 256;
/// Programs to take the minimum over.
const ROUNDS: usize = 1000;

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

    fn record(&self, op: Op) {
        self.device.record(&self.ring, op).expect("well formed");
    }

    /// Every kernel once.
    fn warm(&self) {
        (0..4).for_each(|index| self.record(self.op(index)));
        self.wait();
    }

    fn wait(&self) {
        self.device.download(&self.buffers[0]).expect("the device works");
    }
}

/// Processor time of this thread spent in `f`.
fn cost(f: impl FnOnce()) -> Duration {
    let start = ThreadTime::now();
    f();
    start.elapsed()
}

fn open() -> ringlight::Result<Device> {
    std::env::var("RINGLIGHT_BENCH_ADAPTER").map_or_else(|_| Device::gpu(), |name| Device::gpu_matching(&name))
}

fn main() {
    // `cargo bench -- --test` and a plain run only show that everything works.
    let testing = !std::env::args().any(|argument| argument == "--bench") || std::env::args().any(|a| a == "--test");
    let rounds = if testing { 2 } else { ROUNDS };
    let cold = Instant::now();
    let device = match open() {
        Ok(device) => device,
        Err(error) => return println!("no GPU, nothing to measure: {error}"),
    };
    let opened = cold.elapsed();
    let stream = Stream::new(&device);
    stream.warm();
    let all = cold.elapsed();
    println!("{}", device.name());
    println!("cold start: {all:.1?} until four operations are done, of which {opened:.1?} until the device is open");

    let again = Instant::now();
    let second = Stream::new(&open().expect("it opened before"));
    second.warm();
    println!("the same again in this process: {:.1?}", again.elapsed());
    small_operations(&stream, rounds);
    circuits(&device, rounds / 20 + 1);
    let statistics = device.statistics();
    println!(
        "device memory: {:.1} MiB now, {:.1} MiB at most",
        mebibytes(statistics.memory_bytes),
        mebibytes(statistics.peak_memory_bytes)
    );
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Least processor time of recording and of flushing, with the encoding and the submission that a flush is made of.
#[derive(Clone, Copy)]
struct Cost {
    record: Duration,
    flush: Duration,
    encode: Duration,
    submit: Duration,
}

impl Cost {
    const MAX: Self =
        Self { record: Duration::MAX, flush: Duration::MAX, encode: Duration::MAX, submit: Duration::MAX };

    /// One program: what `record` records, and its flush.
    fn of(device: &Device, record: impl FnOnce()) -> Self {
        let record = cost(record);
        let before = device.statistics();
        let flush = cost(|| device.flush().expect("the device works"));
        let after = device.statistics();
        Self { record, flush, encode: after.encoding - before.encoding, submit: after.submitting - before.submitting }
    }

    fn min(self, other: Self) -> Self {
        Self {
            record: self.record.min(other.record),
            flush: self.flush.min(other.flush),
            encode: self.encode.min(other.encode),
            submit: self.submit.min(other.submit),
        }
    }

    fn print(&self, name: &str, ops: u64) {
        let [record, flush, encode, submit] =
            [self.record, self.flush, self.encode, self.submit].map(|time| time.as_secs_f64() * 1e6 / ops as f64);
        println!(
            "{name}: {ops} operations, microseconds each: record {record:.3} + flush {flush:.3} \
             (encode {encode:.3}, submit {submit:.3} by the wall clock)"
        );
    }
}

fn small_operations(stream: &Stream, rounds: usize) {
    let mut least = Cost::MAX;
    for _ in 0..rounds {
        let ops: Vec<Op> = (0..OPS).map(|index| stream.op(index)).collect();
        let record = || ops.into_iter().for_each(|op| stream.record(op));
        least = least.min(Cost::of(&stream.device, record));
        stream.wait();
    }
    let shape = stream.buffers[0].shape();
    let name = format!("small operations, N=2^{},limbs={},batch={}", shape.log_n, shape.limbs, shape.batch);
    least.print(&name, OPS as u64);
}

/// What a server records: the evaluator's own time is in it.
fn circuits(device: &Device, rounds: usize) {
    let p = Parameters::builder().log_n(11).levels(4).scale_bits(50).insecure_build().expect("a toy");
    let mut generator = KeyGenerator::from_seed(&p, &Seed::from_bytes([1; 32]));
    let keys = generator.evaluation_keys(&KeyRequest::new().relinearization(true).rotations([1])).expect("known keys");
    let eval = Evaluator::new(&p, device, &keys).expect("the keys fit");
    let fresh = generator.encryptor().encrypt_real(&[vec![0.5; p.slots()]]).expect("real numbers");
    let x = eval.load(&fresh).expect("it fits");
    let rotate = || drop(eval.rotate(&x, 1).expect("there is a key"));
    let multiply = || drop(eval.mul(&x, &x).expect("there is a key and a level"));
    let shape = format!("N=2^{},limbs={},batch=1", p.log_n().get(), p.rlwe().chain().0);
    let circuits: [(&str, &dyn Fn()); 2] = [("rotate", &rotate), ("multiply, relinearize, rescale", &multiply)];
    for (name, circuit) in circuits {
        let before = device.statistics().operations;
        circuit();
        let ops = (device.statistics().operations - before) * 32;
        let mut least = Cost::MAX;
        for _ in 0..rounds {
            least = least.min(Cost::of(device, || (0..32).for_each(|_| circuit())));
            x.to_host().expect("the device works");
        }
        least.print(&format!("{name}, {shape}"), ops);
    }
}
