//! Every CKKS operation at the presets, and two sets close to SEAL's at N = 2^14.
//!
//! Ids: `ckks_<operation>/<set>,N=2^L,limbs=l/batch=b,<device>`. `mul` is multiply, relinearize and rescale in one;
//! `rotate_hoisted_8` is eight rotations. Host operations stand under the CPU's names. Throughput is in ciphertexts (vectors of the batch);
//! batches of 1, 4, 16 and 64 are measured as far as memory goes.
//! On a GPU each iteration submits and waits (see `common`). `load` and `to_host` are the transfers.

mod common;

use common::{Place, criterion};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use num_complex::Complex64;
use ringlight::Result;
use ringlight::ckks::{
    Ciphertext, Decryptor, DevicePlaintext, Encoder, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest,
    Parameters, Plaintext,
};
use ringlight::device::DeviceKind;
use ringlight::math::Seed;
use ringlight::rlwe::EvaluationKeys;
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, OnceLock};

const HOISTED: [i32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const BATCHES: [u32; 4] = [1, 4, 16, 64];
/// Operations that are measured for every batch.
const BATCHED: [&str; 12] = [
    "mul",
    "square",
    "multiply",
    "relinearize",
    "rotate",
    "rotate_hoisted_8",
    "conjugate",
    "rescale",
    "mul_plain",
    "mul_scalar",
    "add",
    "drop_to",
];

/// SEAL's chain of 375 bits of Q at N = 2^14, with as many digits as limbs, as SEAL has: see what the program prints.
fn seal_like() -> Result<Parameters> {
    Parameters::builder().log_n(14).scale_bits(29).levels(11).headroom_bits(27).digits(13).build()
}

/// As near to it as two limbs a digit come under the security table: fewer digits, 6 bits less of Q.
fn few_digits() -> Result<Parameters> {
    Parameters::builder().log_n(14).scale_bits(29).levels(11).headroom_bits(21).build()
}

/// GiB that one benchmark may take by its own estimate: what `RINGLIGHT_BENCH_GIB` says, or half of what the system has left.
fn memory_gib() -> f64 {
    let free = || {
        let info = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = info.lines().find(|line| line.starts_with("MemAvailable:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / f64::from(1 << 21))
    };
    let asked = std::env::var("RINGLIGHT_BENCH_GIB").ok().and_then(|gib| gib.parse().ok());
    asked.or_else(free).unwrap_or(4.0)
}

/// Whether a batch is too much here: operands and results on both sides together, and the largest buffer, all digits of a key switch.
fn is_too_large(p: &Parameters, batch: u32, place: &Place) -> bool {
    let (chain, all) = (p.rlwe().chain().0, p.rlwe().chain().0 + p.rlwe().special().0);
    let digits = u32::try_from(p.rlwe().digits(p.rlwe().chain()).len()).expect("few digits");
    let bytes = |limbs: u32| f64::from(limbs) * f64::from(batch) * 4.0 * p.log_n().degree() as f64;
    bytes(35 * chain + (digits + 2) * all) > memory_gib() * f64::from(1 << 30)
        || bytes(digits * all) > place.device().caps().max_buffer_bytes as f64
}

/// Keys of a set, for all batches and places.
struct Keys {
    generator: Mutex<KeyGenerator>,
    evaluation: OnceLock<EvaluationKeys>,
}

impl Keys {
    fn new(parameters: &Parameters) -> Self {
        let generator = Mutex::new(KeyGenerator::from_seed(parameters, &Seed::from_bytes([2; 32])));
        Self { generator, evaluation: OnceLock::new() }
    }

    fn generator(&self) -> MutexGuard<'_, KeyGenerator> {
        self.generator.lock().expect("no benchmark panics")
    }

    fn evaluation(&self) -> &EvaluationKeys {
        let request = KeyRequest::new().relinearization(true).conjugation(true).rotations(HOISTED).rotations([16, 32]);
        self.evaluation.get_or_init(|| self.generator().evaluation_keys(&request).expect("the request is sound"))
    }
}

/// The client's things.
struct Host<'a> {
    keys: &'a Keys,
    vectors: Vec<Vec<Complex64>>,
    encoder: Encoder,
    plaintext: Plaintext,
    public: Encryptor,
    secret: Encryptor,
    decryptor: Decryptor,
    ciphertext: HostCiphertext,
    parameters: Parameters,
}

impl<'a> Host<'a> {
    fn new(parameters: &Parameters, keys: &'a Keys, batch: u32) -> Result<Self> {
        let mut generator = keys.generator();
        let encoder = Encoder::new(parameters);
        let entry = |b: u32, k: usize| Complex64::cis(f64::from(b) + k as f64 * 0.37);
        let vectors: Vec<_> = (0..batch).map(|b| (0..parameters.slots()).map(|k| entry(b, k)).collect()).collect();
        let plaintext = encoder.encode(&vectors, parameters.max_level())?;
        let public = Encryptor::with_public_key(parameters, generator.public_key())?;
        let (secret, decryptor) = (generator.encryptor(), generator.decryptor());
        let ciphertext = secret.encrypt(&plaintext)?;
        let parameters = parameters.clone();
        Ok(Self { keys, vectors, encoder, plaintext, public, secret, decryptor, ciphertext, parameters })
    }

    fn rotation_key(&self) -> Result<()> {
        let made = self.keys.generator().evaluation_keys(&KeyRequest::new().rotations([1]))?;
        black_box(made);
        Ok(())
    }
}

/// The server's things on one device.
struct Server {
    eval: Evaluator,
    x: Ciphertext,
    y: Ciphertext,
    product: Ciphertext,
    plain: DevicePlaintext,
}

impl Server {
    fn new(host: &Host<'_>, place: &Place) -> Result<Self> {
        let eval = Evaluator::new(&host.parameters, place.device(), host.keys.evaluation())?;
        let x = eval.load(&host.ciphertext)?;
        let y = eval.load(&host.secret.encrypt(&host.plaintext)?)?;
        Ok(Self { product: eval.multiply(&x, &y)?, plain: eval.load_plaintext(&host.plaintext)?, x, y, eval })
    }
}

fn done<T>(value: T) -> Result<()> {
    black_box(value);
    Ok(())
}

type HostWork = fn(&Host<'_>) -> Result<()>;
const ON_HOST: [(&str, HostWork); 6] = [
    ("encode", |h| done(h.encoder.encode(&h.vectors, h.plaintext.level())?)),
    ("encrypt_public", |h| done(h.public.encrypt(&h.plaintext)?)),
    ("encrypt_secret", |h| done(h.secret.encrypt(&h.plaintext)?)),
    ("decrypt", |h| done(h.decryptor.decrypt_plaintext(&h.ciphertext)?)),
    ("decode", |h| done(h.encoder.decode(&h.plaintext)?)),
    ("rotation_key", |h| h.rotation_key()),
];

type DeviceWork = fn(&Host<'_>, &Server) -> Result<()>;
const ON_DEVICE: [(&str, DeviceWork); 20] = [
    ("load", |h, s| done(s.eval.load(&h.ciphertext)?)),
    ("to_host", |_, s| done(s.x.to_host()?)),
    ("add", |_, s| done(s.eval.add(&s.x, &s.y)?)),
    ("sub", |_, s| done(s.eval.sub(&s.x, &s.y)?)),
    ("neg", |_, s| done(s.eval.neg(&s.x)?)),
    ("add_plain", |_, s| done(s.eval.add_plain(&s.x, &s.plain)?)),
    ("add_scalar", |_, s| done(s.eval.add_scalar(&s.x, 0.3)?)),
    ("mul_plain", |_, s| done(s.eval.mul_plain(&s.x, &s.plain)?)),
    ("mul_scalar", |_, s| done(s.eval.mul_scalar(&s.x, 0.3, s.x.scale())?)),
    ("multiply", |_, s| done(s.eval.multiply(&s.x, &s.y)?)),
    ("relinearize", |_, s| done(s.eval.relinearize(&s.product)?)),
    ("rescale", |_, s| done(s.eval.rescale(&s.x)?)),
    ("mul", |_, s| done(s.eval.mul(&s.x, &s.y)?)),
    ("square", |_, s| done(s.eval.square(&s.x)?)),
    ("rotate", |_, s| done(s.eval.rotate(&s.x, 1)?)),
    ("rotate_hoisted_8", |_, s| done(s.eval.rotate_hoisted(&s.x, &HOISTED)?)),
    ("conjugate", |_, s| done(s.eval.conjugate(&s.x)?)),
    ("drop_to", |_, s| {
        let level = ringlight::units::Level(s.x.level().0 - 1);
        done(s.eval.drop_to(&s.x, level)?)
    }),
    ("inner_sum_64", |_, s| done(s.eval.inner_sum(&s.x, 64)?)),
    ("mul_then_rotate", |_, s| done(s.eval.rotate(&s.eval.mul(&s.x, &s.y)?, 1)?)),
];

/// The operations of one parameter set, batch and place; things are made only when an operation runs.
fn operations(c: &mut Criterion, set: &str, p: &Parameters, keys: &Keys, batch: u32, place: &Place) {
    if place.leaves_out(p.log_n().get(), batch) || is_too_large(p, batch, place) {
        return;
    }
    let host = OnceLock::new();
    let server = OnceLock::new();
    let host = || host.get_or_init(|| place.install(|| Host::new(p, keys, batch).expect("the parameters are sound")));
    let server = || {
        let set_up = || Server::new(host(), place).expect("it fits the device, else lower RINGLIGHT_BENCH_GIB");
        server.get_or_init(|| place.install(set_up))
    };
    let limbs = p.rlwe().chain().0;
    let id = || {
        let function = format!("{set},N=2^{},limbs={limbs}", p.log_n().get());
        BenchmarkId::new(function, format!("batch={batch},{}", place.label()))
    };
    let on_host = place.device().kind() == DeviceKind::Cpu && batch == 1;
    for (name, work) in ON_HOST.into_iter().filter(|_| on_host) {
        let mut group: BenchmarkGroup<'_, WallTime> = c.benchmark_group(format!("ckks_{name}"));
        group.bench_function(id(), |bencher| {
            let host = host();
            place.time(bencher, || work(host).expect(name));
        });
    }
    for (name, work) in ON_DEVICE.into_iter().filter(|(name, _)| batch == 1 || BATCHED.contains(name)) {
        let mut group = c.benchmark_group(format!("ckks_{name}"));
        group.throughput(Throughput::Elements(u64::from(batch)));
        group.bench_function(id(), |bencher| {
            let (host, server) = (host(), server());
            place.time(bencher, || work(host, server).expect(name));
        });
    }
}

type Build = fn() -> Result<Parameters>;

fn main() {
    let mut c = criterion();
    let places = Place::all();
    let sets: [(&str, Build); 6] = [
        ("n13", Parameters::n13),
        ("n14", Parameters::n14),
        ("seal-like", seal_like),
        ("few-digits", few_digits),
        ("n15", Parameters::n15),
        ("n16", Parameters::n16),
    ];
    for (set, build) in sets {
        if common::testing() && (set == "n15" || set == "n16") {
            continue;
        }
        let p = build().expect("the presets are sound");
        println!("{set}: {p}, log Q = {:.1}", p.log_q());
        let keys = Keys::new(&p);
        // The sets beside the presets are there for single ciphertexts.
        let batches = if set.starts_with('n') { &BATCHES[..] } else { &BATCHES[..1] };
        for place in &places {
            for &batch in batches {
                operations(&mut c, set, &p, &keys, batch, place);
            }
        }
    }
    c.final_summary();
}
