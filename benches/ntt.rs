//! Number-theoretic transforms of batches of random polynomials, beside `tfhe-ntt` called directly and beside a copy.
//!
//! Ids: `ntt_forward/N=2^L,limbs=l/batch=b,<device>`. Throughput is in butterflies, `N/2 log2(N)` a row, and for `copy` in bytes read and
//! written: what a transform in one pass over memory moves. `tfhe-ntt` runs in place in one thread, and so does ours in as many as its name
//! says. Both inverses include the factor 1/N. On a GPU these wait in every iteration; those that end in `_queued` submit many times and
//! wait once, with the kernels of the adapter and with portable ones.

mod common;

use common::{Place, criterion};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use ringlight::Device;
use ringlight::device::{Basis, Buffer, DeviceKind, LoadedRing, Op};
use ringlight::math::{Csprng, RingTables, Seed, ntt_primes_below};
use ringlight::units::{LogN, Shape};
use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use tfhe_ntt::prime32::Plan;

const SHAPES: [(u32, u32); 3] = [(1, 1), (16, 1), (16, 4)];
/// A batch of long ciphertexts, in the ring where those are usual.
const LARGE: (u32, (u32, u32)) = (16, (48, 4));

/// One size's primes and random residues, made when first needed.
struct Case {
    log_n: LogN,
    limbs: u32,
    batch: u32,
    tables: OnceLock<Arc<RingTables>>,
    words: OnceLock<Vec<u32>>,
}

impl Case {
    fn moduli(&self) -> Vec<u32> {
        ntt_primes_below(1 << 30, self.log_n).take(self.limbs as usize).collect()
    }

    fn tables(&self) -> &Arc<RingTables> {
        self.tables.get_or_init(|| Arc::new(RingTables::new(self.log_n, &self.moduli()).expect("distinct primes")))
    }

    fn words(&self) -> &[u32] {
        self.words.get_or_init(|| {
            let n = self.log_n.degree();
            let mut words = vec![0; n * (self.limbs * self.batch) as usize];
            for (row, out) in words.chunks_mut(n).enumerate() {
                let prime = &self.tables().primes()[row % self.limbs as usize];
                Csprng::with_stream(&Seed::from_bytes([1; 32]), row as u64).uniform(prime.modulus(), out);
            }
            words
        })
    }

    /// The random residues on a device, transformed in place again and again.
    fn batch(&self, place: &Place) -> Batch {
        let device = place.device().clone();
        let shape = Shape { batch: self.batch, limbs: self.limbs, log_n: self.log_n.get() };
        let ring = device.load_ring(self.tables()).expect("the tables fit");
        let words = device.upload(shape, self.words()).expect("the words fit");
        let copy = device.alloc(shape).expect("a copy fits");
        Batch { device, ring, words, copy, basis: Basis::new(0..self.limbs) }
    }

    fn id(&self, label: &str) -> BenchmarkId {
        let function = format!("N=2^{},limbs={}", self.log_n.get(), self.limbs);
        BenchmarkId::new(function, format!("batch={},{label}", self.batch))
    }

    /// `tfhe-ntt` on the same rows, one after another.
    fn peer(&self, group: &mut BenchmarkGroup<'_, WallTime>, transform: Transform) {
        if common::testing() && self.log_n.get() > 13 {
            return;
        }
        group.bench_function(self.id("tfhe-ntt (1 thread)"), |bencher| {
            let n = self.log_n.degree();
            let plans: Vec<_> = self.moduli().into_iter().map(|q| Plan::try_new(n, q).expect("a prime")).collect();
            let mut words = self.words().to_vec();
            bencher.iter(|| {
                for (row, plan) in words.chunks_mut(n).zip(plans.iter().cycle()) {
                    transform(plan, row);
                }
                black_box(&mut words);
            });
        });
    }
}

/// Polynomials on a device, and room for a copy.
struct Batch {
    device: Device,
    ring: LoadedRing,
    words: Buffer,
    copy: Buffer,
    basis: Basis,
}

impl Batch {
    fn record(&self, op: Op) {
        self.device.record(&self.ring, op).expect("the device works");
    }

    fn forward(&self) {
        let (dst, src, basis) = (self.words.view(), self.words.view(), self.basis.clone());
        self.record(Op::NttForward { dst, src, basis });
    }

    fn inverse(&self) {
        let (dst, src, basis) = (self.words.view(), self.words.view(), self.basis.clone());
        self.record(Op::NttInverse { dst, src, basis });
    }

    fn copy(&self) {
        self.record(Op::Copy { dst: self.copy.view(), src: self.words.view() });
    }
}

type Transform = fn(&Plan, &mut [u32]);
type Work = (&'static str, fn(&Batch), Option<Transform>);
const WORKS: [Work; 3] = [
    ("ntt_forward", Batch::forward, Some(|plan, row| plan.fwd(row))),
    (
        "ntt_inverse",
        Batch::inverse,
        Some(|plan, row| {
            plan.inv(row);
            plan.normalize(row);
        }),
    ),
    ("copy", Batch::copy, None),
];

fn sizes(c: &mut Criterion, name: &str, is_copy: bool, bench: impl Fn(&mut BenchmarkGroup<'_, WallTime>, &Case)) {
    let mut group = c.benchmark_group(name);
    for log_n in LogN::MIN..=LogN::MAX {
        let large = (LARGE.0 == log_n).then_some(LARGE.1);
        for (limbs, batch) in SHAPES.into_iter().chain(large) {
            let log_n = LogN::new(log_n).expect("in range");
            let words = u64::from(limbs * batch) << log_n.get();
            group.throughput(match is_copy {
                true => Throughput::Bytes(2 * 4 * words),
                false => Throughput::Elements(words / 2 * u64::from(log_n.get())),
            });
            bench(&mut group, &Case { log_n, limbs, batch, tables: OnceLock::new(), words: OnceLock::new() });
        }
    }
}

fn main() {
    let mut c = criterion();
    let places = Place::all();
    let portable: Vec<_> = places.iter().filter_map(Place::portable).collect();
    let leaves_out = |place: &Place, case: &Case| place.leaves_out(case.log_n.get(), case.batch);
    for (name, work, peer) in WORKS {
        sizes(&mut c, name, peer.is_none(), |group, case| {
            if let Some(transform) = peer {
                case.peer(group, transform);
            }
            for place in places.iter().filter(|place| !leaves_out(place, case)) {
                group.bench_function(case.id(&place.label()), |bencher| {
                    let batch = place.install(|| case.batch(place));
                    place.time(bencher, || work(&batch));
                });
            }
        });
    }
    for (name, work, peer) in WORKS {
        sizes(&mut c, &format!("{name}_queued"), peer.is_none(), |group, case| {
            let gpus = places.iter().filter(|place| place.device().kind() != DeviceKind::Cpu).chain(&portable);
            for place in gpus.filter(|place| !leaves_out(place, case)) {
                group.bench_function(case.id(&place.label()), |bencher| {
                    let batch = place.install(|| case.batch(place));
                    place.time_queued(bencher, || work(&batch));
                });
            }
        });
    }
    c.final_summary();
}
