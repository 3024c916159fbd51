//! Number-theoretic transforms of batches of random polynomials, beside `tfhe-ntt` called directly.
//!
//! Ids: `ntt_forward/N=2^L,limbs=l/batch=b,<device>`; throughput is in transforms (rows). `tfhe-ntt` runs in place in one
//! thread, and so does ours in as many as its name says. Both inverses include the factor 1/N. On a GPU, `ntt_forward` waits in every iteration; `ntt_forward_queued` submits
//! many transforms and waits once.

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
use std::time::Instant;
use tfhe_ntt::prime32::Plan;

const SHAPES: [(u32, u32); 3] = [(1, 1), (16, 1), (16, 4)];

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
        Batch { device, ring, words, basis: Basis::new(0..self.limbs) }
    }

    fn id(&self, label: &str) -> BenchmarkId {
        let function = format!("N=2^{},limbs={}", self.log_n.get(), self.limbs);
        BenchmarkId::new(function, format!("batch={},{label}", self.batch))
    }

    /// `tfhe-ntt` on the same rows, one after another.
    fn peer(&self, group: &mut BenchmarkGroup<'_, WallTime>, transform: fn(&Plan, &mut [u32])) {
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

/// Polynomials on a device.
struct Batch {
    device: Device,
    ring: LoadedRing,
    words: Buffer,
    basis: Basis,
}

impl Batch {
    fn forward(&self) {
        let (dst, src, basis) = (self.words.view(), self.words.view(), self.basis.clone());
        self.device.record(&self.ring, Op::NttForward { dst, src, basis }).expect("the device works");
    }

    fn inverse(&self) {
        let (dst, src, basis) = (self.words.view(), self.words.view(), self.basis.clone());
        self.device.record(&self.ring, Op::NttInverse { dst, src, basis }).expect("the device works");
    }
}

fn sizes(c: &mut Criterion, name: &str, bench: impl Fn(&mut BenchmarkGroup<'_, WallTime>, &Case)) {
    let mut group = c.benchmark_group(name);
    for log_n in LogN::MIN..=LogN::MAX {
        for (limbs, batch) in SHAPES {
            let log_n = LogN::new(log_n).expect("in range");
            group.throughput(Throughput::Elements(u64::from(limbs * batch)));
            bench(&mut group, &Case { log_n, limbs, batch, tables: OnceLock::new(), words: OnceLock::new() });
        }
    }
}

fn main() {
    let mut c = criterion();
    let places = Place::all();
    let places = |case: &Case| places.iter().filter(|p| !p.leaves_out(case.log_n.get())).collect::<Vec<_>>();
    sizes(&mut c, "ntt_forward", |group, case| {
        case.peer(group, |plan, row| plan.fwd(row));
        for place in places(case) {
            group.bench_function(case.id(&place.label()), |bencher| {
                let batch = place.install(|| case.batch(place));
                place.time(bencher, || batch.forward());
            });
        }
    });
    sizes(&mut c, "ntt_inverse", |group, case| {
        case.peer(group, |plan, row| {
            plan.inv(row);
            plan.normalize(row);
        });
        for place in places(case) {
            group.bench_function(case.id(&place.label()), |bencher| {
                let batch = place.install(|| case.batch(place));
                place.time(bencher, || batch.inverse());
            });
        }
    });
    sizes(&mut c, "ntt_forward_queued", |group, case| {
        for place in places(case).into_iter().filter(|p| p.device().kind() != DeviceKind::Cpu) {
            group.bench_function(case.id(&place.label()), |bencher| {
                let batch = place.install(|| case.batch(place));
                bencher.iter_custom(|iterations| {
                    let start = Instant::now();
                    for _ in 0..iterations {
                        batch.forward();
                    }
                    place.wait();
                    start.elapsed()
                });
            });
        }
    });
    c.final_summary();
}
