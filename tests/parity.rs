//! Every operation, and random programs of them, on every backend: the same bits.
//!
//! The CPU backend is the reference; its own tests compare it with the definitions. Here a GPU runs twice, with 64-bit and
//! with portable kernels. Without a Vulkan adapter the tests say so and pass, unless `RINGLIGHT_REQUIRE_GPU=1`.
#![cfg(feature = "gpu")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::devices;
use ringlight::device::{Basis, Buffer, Device, Digit, InnerProduct, Op, View};
use ringlight::math::{Modulus, RingTables, ntt_primes_below, ntt_primes_near};
use ringlight::units::{GaloisElement, LogN, Shape};
use std::sync::Arc;

/// A small generator (SplitMix64): tests need no more.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).unwrap()
    }

    /// A residue, often an extreme one.
    fn residue(&mut self, q: u32) -> u32 {
        match self.below(8) {
            0 => q - 1,
            1 => 0,
            _ => self.below(q),
        }
    }
}

/// Primes of every size that is in use: just below `2^30`, near `2^27`, and small ones.
fn ring(log_n: u32, primes: usize) -> Arc<RingTables> {
    let log_n = LogN::new(log_n).unwrap();
    let large = ntt_primes_below(1 << 30, log_n).take(primes.div_ceil(2));
    let medium = ntt_primes_near(f64::from(1 << 26), log_n).take(primes / 2);
    let small = ntt_primes_below(1 << 23, log_n).take(2);
    let mut all: Vec<u32> = large.chain(medium).chain(small).collect();
    all.dedup();
    Arc::new(RingTables::new(log_n, &all).unwrap())
}

fn basis(primes: &[u32]) -> Basis {
    Basis::new(primes.iter().copied())
}

fn modulus(ring: &RingTables, prime: u32) -> Modulus {
    ring.primes()[prime as usize].modulus()
}

/// A buffer's first contents: canonical residues over `basis`.
fn words(ring: &RingTables, random: &mut Random, batch: u32, basis: &Basis) -> (Shape, Vec<u32>) {
    let shape = Shape { batch, limbs: basis.limbs(), log_n: ring.log_n().get() };
    let rows = (0..batch).flat_map(|_| basis.primes());
    let words = rows.flat_map(|&p| {
        let q = modulus(ring, p).get();
        // Extreme words in runs too, so that whole vectors are extreme.
        let style = random.below(4);
        (0..1u32 << shape.log_n)
            .map(|_| match style {
                0 => q - 1,
                _ => random.residue(q),
            })
            .collect::<Vec<_>>()
    });
    let words = words.collect();
    (shape, words)
}

/// Runs what `build` makes of the buffers on every device and compares all buffers.
fn check(name: &str, ring: &Arc<RingTables>, inputs: &[(Shape, Vec<u32>)], build: impl Fn(&[Buffer]) -> Vec<Op>) {
    let mut expected: Option<Vec<Vec<u32>>> = None;
    for device in devices() {
        let loaded = device.load_ring(ring).unwrap();
        let buffers: Vec<Buffer> = inputs.iter().map(|(shape, words)| device.upload(*shape, words).unwrap()).collect();
        for op in build(&buffers) {
            device.record(&loaded, op).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let got: Vec<Vec<u32>> = buffers.iter().map(|buffer| device.download(buffer).unwrap()).collect();
        let expected = expected.get_or_insert_with(|| got.clone());
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            if let Some(at) = got.iter().zip(expected.iter()).position(|(a, b)| a != b) {
                let n = 1 << ring.log_n().get();
                let wrong = got.iter().zip(expected.iter()).filter(|(a, b)| a != b).count();
                panic!(
                    "{name} on {} (int64: {}): buffer {index}, row {}, word {}: {} instead of {}; {wrong} words differ",
                    device.name(),
                    device.caps().int64,
                    at / n,
                    at % n,
                    got[at],
                    expected[at]
                );
            }
        }
    }
}

/// A window on rows `first ..` and limbs `limb ..` of a buffer.
fn window(buffer: &Buffer, first: u32, polys: u32, limb: u32, limbs: u32) -> View {
    buffer.view().polys(first, polys).unwrap().limbs(limb, limbs).unwrap()
}

const SIZES: [u32; 4] = [10, 11, 12, 13];

#[test]
fn word_by_word_operations_agree() {
    for log_n in SIZES {
        let ring = ring(log_n, 5);
        let b = basis(&[4, 0, 2]);
        let mut random = Random(1);
        let inputs: Vec<_> = [3, 3, 1, 3, 6].iter().map(|&batch| words(&ring, &mut random, batch, &b)).collect();
        type Make = fn(View, View, View, Basis) -> Op;
        let ops: [(&str, Make); 7] = [
            ("zero", |dst, _, _, _| Op::Zero { dst }),
            ("copy", |dst, src, _, _| Op::Copy { dst, src }),
            ("add", |dst, a, b, basis| Op::Add { dst, a, b, basis }),
            ("sub", |dst, a, b, basis| Op::Sub { dst, a, b, basis }),
            ("neg", |dst, a, _, basis| Op::Neg { dst, a, basis }),
            ("mul", |dst, a, b, basis| Op::Mul { dst, a, b, basis }),
            ("mul_add", |dst, a, b, basis| Op::MulAdd { dst, a, b, basis }),
        ];
        for (name, make) in ops {
            check(name, &ring, &inputs, |m| {
                vec![
                    make(m[3].view(), m[0].view(), m[1].view(), b.clone()),
                    // A repeated operand, both ways round; then in place, twice the same operand.
                    make(m[0].view(), m[2].view(), m[1].view(), b.clone()),
                    make(m[1].view(), m[3].view(), m[2].view(), b.clone()),
                    make(m[3].view(), m[3].view(), m[3].view(), b.clone()),
                    // Sources of three and of one polynomial over six.
                    make(m[4].view(), m[3].view(), m[0].view(), b.clone()),
                    make(m[4].view(), m[2].view(), m[1].view(), b.clone()),
                ]
            });
            check(&format!("{name} on windows"), &ring, &inputs, |m| {
                vec![
                    make(
                        window(&m[0], 1, 2, 1, 2),
                        window(&m[1], 0, 2, 1, 2),
                        window(&m[0], 0, 1, 1, 2),
                        basis(&[0, 2]),
                    ),
                    make(window(&m[3], 2, 1, 0, 1), window(&m[3], 0, 1, 0, 1), window(&m[3], 1, 1, 0, 1), basis(&[4])),
                ]
            });
        }
    }
}

#[test]
fn scalars_and_tensor_agree() {
    for log_n in SIZES {
        let ring = ring(log_n, 5);
        let b = basis(&[1, 3, 5]);
        let mut random = Random(2);
        let inputs: Vec<_> = [6, 4, 4].iter().map(|&batch| words(&ring, &mut random, batch, &b)).collect();
        for rows in [1usize, 2, 4] {
            let scalars: Arc<[u32]> = (0..rows)
                .flat_map(|_| b.primes().iter().map(|&p| random.residue(modulus(&ring, p).get())).collect::<Vec<_>>())
                .collect();
            check("scalars", &ring, &inputs, |m| {
                let (dst, a, scalars) = (m[1].view(), m[2].view(), scalars.clone());
                vec![
                    Op::MulScalar { dst: dst.clone(), a, scalars: scalars.clone(), basis: b.clone() },
                    Op::AddScalar { dst: m[2].view(), a: dst.clone(), scalars: scalars.clone(), basis: b.clone() },
                    Op::AddScalar { dst: dst.clone(), a: dst.clone(), scalars: scalars.clone(), basis: b.clone() },
                    Op::MulScalarAdd { dst: dst.clone(), a: m[2].view(), scalars: scalars.clone(), basis: b.clone() },
                    Op::MulScalarAdd { dst: dst.clone(), a: dst, scalars: scalars.clone(), basis: b.clone() },
                    Op::MulScalar { dst: m[2].view(), a: m[2].view(), scalars, basis: b.clone() },
                ]
            });
        }
        check("tensor", &ring, &inputs, |m| {
            vec![
                Op::Tensor { dst: m[0].view(), a: m[1].view(), b: m[2].view(), basis: b.clone() },
                Op::Tensor {
                    dst: window(&m[1], 0, 3, 1, 1),
                    a: window(&m[2], 2, 2, 1, 1),
                    b: window(&m[2], 2, 2, 1, 1),
                    basis: basis(&[3]),
                },
            ]
        });
    }
}

#[test]
fn transforms_agree() {
    for log_n in 10..=17 {
        let ring = ring(log_n, 4);
        let small = log_n < 14;
        let b = if small { basis(&[3, 0, 5]) } else { basis(&[3, 0]) };
        let mut random = Random(3);
        let batch = if small { 3 } else { 1 };
        let inputs: Vec<_> = [batch, batch].iter().map(|&batch| words(&ring, &mut random, batch, &b)).collect();
        check(&format!("transforms of 2^{log_n}"), &ring, &inputs, |m| {
            vec![
                Op::NttForward { dst: m[1].view(), src: m[0].view(), basis: b.clone() },
                Op::NttInverse { dst: m[0].view(), src: m[0].view(), basis: b.clone() },
            ]
        });
        check(&format!("transforms of 2^{log_n} in place and on windows"), &ring, &inputs, |m| {
            let last = window(&m[0], batch - 1, 1, 1, 1);
            vec![
                Op::NttInverse { dst: m[1].view(), src: m[0].view(), basis: b.clone() },
                Op::NttForward { dst: m[1].view(), src: m[1].view(), basis: b.clone() },
                Op::NttForward { dst: last.clone(), src: last, basis: basis(&[0]) },
                Op::NttInverse { dst: window(&m[0], 0, 1, 0, 1), src: window(&m[1], 0, 1, 0, 1), basis: basis(&[3]) },
            ]
        });
        check(&format!("repeated transforms of 2^{log_n}"), &ring, &inputs, |m| {
            let one = m[1].view().polys(0, 1).unwrap();
            vec![
                Op::NttForward { dst: m[0].view(), src: one.clone(), basis: b.clone() },
                Op::NttInverse { dst: m[0].view(), src: one, basis: b.clone() },
            ]
        });
    }
}

#[test]
fn transforms_equal_their_definition() {
    let log_n = 10;
    let ring = ring(log_n, 2);
    let mut random = Random(4);
    let b = basis(&[2, 0]);
    let (shape, input) = words(&ring, &mut random, 1, &b);
    let n = 1usize << log_n;
    let expected: Vec<u32> = input
        .chunks(n)
        .zip(b.primes())
        .flat_map(|(row, &p)| {
            let (m, psi) = (modulus(&ring, p), ring.primes()[p as usize].psi());
            (0..1u32 << log_n).map(move |i| {
                let point = m.pow(psi, 2 * (i.reverse_bits() >> (32 - log_n)) + 1);
                row.iter().rev().fold(0, |acc, &c| m.add(m.mul(acc, point), c))
            })
        })
        .collect();
    for device in devices() {
        let loaded = device.load_ring(&ring).unwrap();
        let (src, dst) = (device.upload(shape, &input).unwrap(), device.alloc(shape).unwrap());
        let back = device.alloc(shape).unwrap();
        device.record(&loaded, Op::NttForward { dst: dst.view(), src: src.view(), basis: b.clone() }).unwrap();
        device.record(&loaded, Op::NttInverse { dst: back.view(), src: dst.view(), basis: b.clone() }).unwrap();
        assert_eq!(device.download(&dst).unwrap(), expected, "{}", device.name());
        assert_eq!(device.download(&back).unwrap(), input, "{}", device.name());
    }
}

#[test]
fn automorphisms_agree() {
    for log_n in [10, 13, 14] {
        let ring = ring(log_n, 3);
        let b = basis(&[2, 1]);
        let mut random = Random(5);
        let inputs: Vec<_> = [4, 2].iter().map(|&batch| words(&ring, &mut random, batch, &b)).collect();
        let n = LogN::new(log_n).unwrap();
        let steps = [0, 1, -1, 7, 100].map(|s| GaloisElement::from_steps(s, n));
        for element in steps.into_iter().chain([GaloisElement::conjugation(n)]) {
            check(&format!("automorphism {element:?}"), &ring, &inputs, |m| {
                vec![
                    Op::Automorphism { dst: window(&m[0], 2, 2, 1, 1), src: window(&m[0], 0, 2, 1, 1), element },
                    Op::Automorphism { dst: m[0].view(), src: m[1].view(), element },
                ]
            });
        }
    }
}

#[test]
fn conversions_agree() {
    for log_n in [10, 12] {
        let ring = ring(log_n, 24);
        let mut random = Random(6);
        let all: Vec<u32> = (0..u32::try_from(ring.primes().len()).unwrap()).collect();
        for sources in [1usize, 2, 3, 4, 5, 8, 15] {
            let (from, to) = (basis(&all[2..2 + sources]), Basis::new(all.iter().copied().rev().take(10)));
            let inputs = [words(&ring, &mut random, 4, &to), words(&ring, &mut random, 2, &from)];
            check(&format!("conversion from {sources}"), &ring, &inputs, |m| {
                vec![
                    Op::BasisExtend { dst: m[0].view(), src: m[1].view(), from: from.clone(), to: to.clone() },
                    Op::BasisExtend {
                        dst: window(&m[0], 1, 1, 2, 3),
                        src: window(&m[1], 1, 1, 0, 1),
                        from: basis(&from.primes()[..1]),
                        to: basis(&to.primes()[2..5]),
                    },
                ]
            });
        }
    }
}

#[test]
fn decompositions_agree() {
    for (log_n, batch) in [(10, 3), (12, 1), (13, 2), (17, 1)] {
        let large = log_n > 13;
        let ring = ring(log_n, if large { 2 } else { 8 });
        let mut random = Random(7);
        let (over, full) = if large {
            (basis(&[1, 0]), basis(&[1, 0, 2]))
        } else {
            (basis(&[5, 1, 4, 0, 3]), basis(&[5, 1, 4, 0, 3, 7, 2]))
        };
        let all = [vec![2u32, 2, 1], vec![5], vec![1, 1, 1, 1, 1], vec![3, 2]];
        for sizes in if large { vec![vec![1, 1]] } else { all.to_vec() } {
            let digits: Arc<[Digit]> = sizes
                .iter()
                .scan(0, |first, &limbs| Some(Digit { first: std::mem::replace(first, *first + limbs), limbs }))
                .collect();
            let count = u32::try_from(digits.len()).unwrap();
            let inputs = [words(&ring, &mut random, count * batch + 1, &full), words(&ring, &mut random, batch, &over)];
            check(&format!("decomposition {sizes:?}"), &ring, &inputs, |m| {
                vec![Op::Decompose {
                    dst: m[0].view().polys(1, count * batch).unwrap(),
                    src: m[1].view(),
                    digits: digits.clone(),
                    basis: full.clone(),
                }]
            });
        }
    }
    // A single digit without foreign limbs: nothing to transform.
    let ring = ring(10, 4);
    let (b, mut random) = (basis(&[2, 0]), Random(8));
    let inputs: Vec<_> = (0..2).map(|_| words(&ring, &mut random, 2, &b)).collect();
    check("decomposition into itself", &ring, &inputs, |m| {
        vec![Op::Decompose {
            dst: m[0].view(),
            src: m[1].view(),
            digits: Arc::new([Digit { first: 0, limbs: 2 }]),
            basis: b.clone(),
        }]
    });
}

#[test]
fn gadget_products_agree() {
    for (log_n, batch) in [(10, 2), (13, 1)] {
        let ring = ring(log_n, 6);
        let (b, rows, mut random) = (basis(&[4, 0, 5]), basis(&[1, 0, 3]), Random(9));
        let key_basis = basis(&[0, 4, 2, 5]);
        for digits in [1u32, 2, 3, 4, 5, 9] {
            let mut inputs =
                vec![words(&ring, &mut random, 2 * batch, &b), words(&ring, &mut random, digits * batch, &b)];
            inputs.extend((0..digits).map(|_| words(&ring, &mut random, 2, &key_basis)));
            let (first, both) =
                (words(&ring, &mut random, batch, &basis(&[4, 0])), words(&ring, &mut random, 2 * batch, &b));
            inputs.extend([first, both]);
            let last = inputs.len() - 2;
            for (name, plus, element) in ends(ring.log_n(), last) {
                check(&format!("gadget product of {digits}{name}"), &ring, &inputs, |m| {
                    vec![Op::GadgetDot {
                        dst: m[0].view(),
                        digits: m[1].view(),
                        product: InnerProduct {
                            key: m[2..last].to_vec().into(),
                            rows: rows.clone(),
                            basis: b.clone(),
                            plus: plus.map(|index| m[index].view()),
                            element,
                        },
                    }]
                });
            }
        }
    }
}

/// What may end a key switch: a summand among the buffers, of one or of both components, an automorphism.
fn ends(log_n: LogN, last: usize) -> [(&'static str, Option<usize>, GaloisElement); 4] {
    let (one, five) = (GaloisElement::IDENTITY, GaloisElement::from_steps(1, log_n));
    let conjugation = GaloisElement::conjugation(log_n);
    [
        ("", None, one),
        (" plus first components", Some(last), one),
        (" plus pairs, moved", Some(last + 1), five),
        (", conjugated", None, conjugation),
    ]
}

#[test]
fn key_switches_agree() {
    for (log_n, batch) in [(10, 3), (12, 1), (13, 2), (14, 1), (15, 1), (16, 1), (17, 1)] {
        let large = log_n > 14;
        let ring = ring(log_n, if large { 5 } else { 22 });
        let mut random = Random(15);
        let all = [vec![2u32, 2, 1], vec![5], vec![1, 1, 1, 1, 1], vec![1; 17]];
        for sizes in if large { vec![vec![2, 1]] } else { all.to_vec() } {
            // Operands over the first primes, two special ones, and a key with one more limb, the third.
            let limbs: u32 = sizes.iter().sum();
            let primes: Vec<u32> = (0..limbs + 2).map(|p| p ^ 1).collect();
            let (over, full) = (basis(&primes[..limbs as usize]), basis(&primes));
            let unused = u32::try_from(ring.primes().len() - 1).unwrap();
            let key_basis = basis(&[&primes[..2], &[unused], &primes[2..]].concat());
            let rows = Basis::new((0..2).chain(3..limbs + 3));
            let digits: Arc<[Digit]> = sizes
                .iter()
                .scan(0, |first, &limbs| Some(Digit { first: std::mem::replace(first, *first + limbs), limbs }))
                .collect();
            let mut inputs = vec![words(&ring, &mut random, 2 * batch, &full), words(&ring, &mut random, batch, &over)];
            inputs.extend(sizes.iter().map(|_| words(&ring, &mut random, 2, &key_basis)));
            inputs.extend([words(&ring, &mut random, batch, &over), words(&ring, &mut random, 2 * batch, &full)]);
            let last = inputs.len() - 2;
            let all = ends(ring.log_n(), last);
            for &(name, plus, element) in if large { &all[2..3] } else { &all[..] } {
                check(&format!("key switch {sizes:?}{name}"), &ring, &inputs, |m| {
                    vec![Op::KeySwitch {
                        dst: m[0].view(),
                        src: m[1].view(),
                        digits: digits.clone(),
                        product: InnerProduct {
                            key: m[2..last].to_vec().into(),
                            rows: rows.clone(),
                            basis: full.clone(),
                            plus: plus.map(|index| m[index].view()),
                            element,
                        },
                    }]
                });
            }
        }
    }
}

#[test]
fn divisions_agree() {
    for (log_n, batch) in [(10, 3), (11, 1), (12, 2), (13, 2), (16, 1), (17, 1)] {
        let ring = ring(log_n, if log_n < 16 { 20 } else { 8 });
        let mut random = Random(10);
        let kept = if log_n < 16 { basis(&[6, 1, 9]) } else { basis(&[6]) };
        for dropped in [vec![3], vec![2, 0], vec![0, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17]] {
            if log_n > 13 && dropped.len() > 2 {
                continue;
            }
            let dropped = basis(&dropped);
            let both = words(&ring, &mut random, batch, &kept.join(&dropped));
            let inputs = [
                words(&ring, &mut random, batch, &kept),
                both,
                words(&ring, &mut random, 1, &kept),
                words(&ring, &mut random, batch, &kept),
            ];
            for (name, plus, element) in ends(ring.log_n(), 2) {
                check(&format!("division of 2^{log_n} by {}{name}", dropped.limbs()), &ring, &inputs, |m| {
                    let (dst, src, plus) = (m[0].view(), m[1].view(), plus.map(|index| m[index].view()));
                    vec![Op::ModDown { dst, src, kept: kept.clone(), dropped: dropped.clone(), plus, element }]
                });
            }
        }
    }
}

#[test]
fn combinations_agree() {
    for log_n in [10, 12] {
        let ring = ring(log_n, 5);
        let (b, mut random) = (basis(&[0, 4, 2]), Random(11));
        for (outputs, inputs, components) in [(1u32, 1u32, 2u32), (3, 2, 2), (4, 15, 1), (5, 16, 2), (9, 40, 1)] {
            let mut data = vec![
                words(&ring, &mut random, components * outputs, &b),
                words(&ring, &mut random, components * inputs, &b),
            ];
            // One more limb than is used.
            let weights = (0..outputs * inputs)
                .flat_map(|_| {
                    let row = b.primes().iter().map(|&p| random.residue(modulus(&ring, p).get())).collect::<Vec<_>>();
                    row.into_iter().chain([12345])
                })
                .collect();
            data.push((Shape { batch: outputs * inputs, limbs: 4, log_n: 0 }, weights));
            check(&format!("combination {outputs} of {inputs}"), &ring, &data, |m| {
                vec![Op::Combine {
                    dst: m[0].view(),
                    src: m[1].view(),
                    weights: m[2].view(),
                    components,
                    basis: b.clone(),
                }]
            });
        }
    }
}

#[test]
fn uniform_residues_agree() {
    for log_n in 10..=17 {
        let ring = ring(log_n, 5);
        let (b, mut random) = (basis(&[4, 0, 6, 2]), Random(14));
        let inputs = [words(&ring, &mut random, 3, &b)];
        for _ in 0..2 {
            let seed = std::array::from_fn(|_| u8::try_from(random.below(256)).unwrap());
            check(&format!("uniform residues of 2^{log_n}"), &ring, &inputs, |m| {
                vec![
                    Op::Uniform { dst: m[0].view(), seed, basis: b.clone() },
                    Op::Uniform { dst: window(&m[0], 1, 2, 1, 2), seed, basis: basis(&[0, 6]) },
                ]
            });
        }
    }
}

/// Thirty random operations on a few buffers of one shape.
fn random_ops(ring: &RingTables, random: &mut Random, m: &[Buffer], b: &Basis, batch: u32) -> Vec<Op> {
    let log_n = ring.log_n();
    (0..30)
        .map(|_| {
            let mut pick: Vec<usize> = (0..m.len()).collect();
            for i in 0..5 {
                let j = i + random.below(u32::try_from(m.len() - i).unwrap()) as usize;
                pick.swap(i, j);
            }
            let view = |i: usize| m[pick[i]].view();
            let (basis, element) =
                (b.clone(), GaloisElement::from_steps(i32::try_from(random.below(64)).unwrap(), log_n));
            let src = if random.below(2) == 0 { view(0) } else { view(1) };
            let scalars: Arc<[u32]> =
                b.primes().iter().map(|&p| random.residue(ring.primes()[p as usize].q())).collect();
            let half = batch / 2;
            let plus = (random.below(2) == 0).then(|| view(4).polys(0, 1).unwrap());
            let ended = if random.below(2) == 0 { element } else { GaloisElement::IDENTITY };
            match random.below(18) {
                0 => Op::Zero { dst: view(0).polys(0, 1).unwrap() },
                1 => Op::Copy { dst: view(0), src: view(1).polys(1, 1).unwrap() },
                2 => Op::Add { dst: view(0), a: src, b: view(2), basis },
                3 => Op::Sub { dst: view(0), a: src, b: view(2).polys(0, half).unwrap(), basis },
                4 => Op::Neg { dst: view(0), a: src, basis },
                5 => Op::Mul { dst: view(0), a: src, b: view(2), basis },
                6 => Op::MulAdd { dst: view(0), a: src, b: view(2), basis },
                7 => Op::MulScalar { dst: view(0), a: src, scalars, basis },
                8 => Op::AddScalar { dst: view(0), a: src, scalars, basis },
                9 => Op::NttForward { dst: view(0), src, basis },
                10 => Op::NttInverse { dst: view(0), src, basis },
                11 => Op::Automorphism { dst: view(0), src: view(1), element },
                12 => Op::GadgetDot {
                    dst: view(0).polys(0, 2).unwrap(),
                    digits: view(1).polys(0, 2).unwrap(),
                    product: InnerProduct {
                        key: Arc::new([m[pick[2]].clone(), m[pick[3]].clone()]),
                        rows: Basis::new(0..b.limbs()),
                        basis,
                        plus,
                        element: ended,
                    },
                },
                13 => {
                    let (kept, dropped) = (crate::basis(&b.primes()[..2]), crate::basis(&b.primes()[2..4]));
                    let plus = plus.map(|plus| plus.limbs(1, 2).unwrap());
                    Op::ModDown { dst: view(0).limbs(0, 2).unwrap(), src: view(1), kept, dropped, plus, element: ended }
                }
                14 => {
                    let seed = std::array::from_fn(|_| u8::try_from(random.below(256)).unwrap());
                    Op::Uniform { dst: view(0), seed, basis }
                }
                15 => Op::MulScalarAdd { dst: view(0), a: src, scalars, basis },
                16 => Op::KeySwitch {
                    dst: view(0),
                    src: view(1).polys(1, 1).unwrap().limbs(1, 3).unwrap(),
                    digits: Arc::new([Digit { first: 0, limbs: 2 }, Digit { first: 2, limbs: 1 }]),
                    product: InnerProduct {
                        key: Arc::new([m[pick[2]].clone(), m[pick[3]].clone()]),
                        rows: Basis::new(0..b.limbs()),
                        basis,
                        plus: plus.map(|plus| plus.limbs(0, 3).unwrap()),
                        element: ended,
                    },
                },
                _ => Op::Decompose {
                    dst: view(0).polys(0, 2).unwrap(),
                    src: view(1).polys(0, 1).unwrap().limbs(0, 3).unwrap(),
                    digits: Arc::new([Digit { first: 0, limbs: 2 }, Digit { first: 2, limbs: 1 }]),
                    basis,
                },
            }
        })
        .collect()
}

#[test]
fn random_programs_agree() {
    for seed in 0..12u32 {
        let log_n = [10, 11, 13][(seed % 3) as usize];
        let ring = ring(log_n, 6);
        let b = basis(&[5, 4, 1, 0]);
        let mut random = Random(100 + u64::from(seed));
        let batch = 2;
        // GadgetDot takes whole buffers of two polynomials as keys.
        let inputs: Vec<_> = (0..5).map(|_| words(&ring, &mut random, batch, &b)).collect();
        check(&format!("program {seed}"), &ring, &inputs, |m| {
            random_ops(&ring, &mut Random(u64::from(seed)), m, &b, batch)
        });
    }
}

#[test]
fn buffers_of_dropped_handles_are_reused_safely() {
    let ring = ring(12, 3);
    let b = basis(&[0, 1]);
    let mut random = Random(12);
    let (shape, input) = words(&ring, &mut random, 2, &b);
    let mut results = Vec::new();
    for device in devices() {
        let loaded = device.load_ring(&ring).unwrap();
        let mut x = device.upload(shape, &input).unwrap();
        for round in 0..40 {
            let y = device.upload(shape, &input).unwrap();
            let z = device.alloc(shape).unwrap();
            device.record(&loaded, Op::Mul { dst: z.view(), a: x.view(), b: y.view(), basis: b.clone() }).unwrap();
            x = z;
            if round % 7 == 0 {
                device.flush().unwrap();
            }
        }
        results.push(device.download(&x).unwrap());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn unknown_adapters_are_errors_that_name_the_known_ones() {
    let error = Device::gpu_matching("no such adapter").unwrap_err();
    assert!(matches!(error, ringlight::Error::NoAdapter { .. }), "{error}");
    println!("{error}");
}
