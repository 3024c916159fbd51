//! Every operation on every device against its definition: naive functions written from the formulas of `Op`.
//!
//! All comparisons are bit for bit. The definitions use wide integers and big integers, `O(N^2)` transforms, and none of
//! the library's own arithmetic.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_bigint::BigInt;
use ringlight::device::{Basis, Buffer, Device, Digit, InnerProduct, LoadedRing, Op, View};
use ringlight::error::Error;
use ringlight::math::{Csprng, Modulus, RingTables, Seed, ntt_primes_below};
use ringlight::units::{GaloisElement, LogN, Shape};
use std::sync::Arc;

// --- arithmetic from the formulas ---------------------------------------------------------------

fn power(base: u64, mut exponent: u64, q: u64) -> u64 {
    let (mut base, mut out) = (base % q, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            out = out * base % q;
        }
        base = base * base % q;
        exponent >>= 1;
    }
    out
}

fn word(x: u64) -> u32 {
    u32::try_from(x).unwrap()
}

/// `x mod q` of a big integer of either sign.
fn residue(x: &BigInt, q: u32) -> u32 {
    let q = BigInt::from(q);
    let r: BigInt = ((x % &q) + &q) % &q;
    r.try_into().unwrap()
}

fn product(primes: impl IntoIterator<Item = u32>) -> BigInt {
    primes.into_iter().fold(BigInt::from(1), |acc, q| acc * q)
}

/// The number in `[0, product of the primes)` with these residues.
fn number(residues: &[u32], primes: &[u32]) -> BigInt {
    let all = product(primes.iter().copied());
    let mut sum = BigInt::from(0);
    for (&a, &q) in residues.iter().zip(primes) {
        let hat: BigInt = &all / q;
        let inverse = power(u64::from(residue(&hat, q)), u64::from(q) - 2, u64::from(q));
        sum += hat * (u64::from(a) * inverse % u64::from(q));
    }
    sum % all
}

/// `a - m` or `a`, whichever is nearer to zero, for `a` in `[0, m)`.
fn centred(a: BigInt, m: &BigInt) -> BigInt {
    let twice: BigInt = &a * 2;
    if twice > *m { a - m } else { a }
}

fn brv(i: usize, bits: u32) -> usize {
    i.reverse_bits() >> (usize::BITS - bits)
}

/// Word `i` is the value at `psi^(2 brv(i) + 1)`.
fn ntt(words: &[u32], q: u32, psi: u32) -> Vec<u32> {
    let (q, bits) = (u64::from(q), words.len().ilog2());
    let value = |i| {
        let point = power(u64::from(psi), 2 * brv(i, bits) as u64 + 1, q);
        word(words.iter().rev().fold(0, |acc, &c| (acc * point + u64::from(c)) % q))
    };
    (0..words.len()).map(value).collect()
}

/// Coefficient `j` is `1/N sum_i words[i] psi^(-(2 brv(i) + 1) j)`.
fn inverse_ntt(words: &[u32], q: u32, psi: u32) -> Vec<u32> {
    let (q, n, bits) = (u64::from(q), words.len(), words.len().ilog2());
    let down = power(u64::from(psi), q - 2, q);
    let mut natural = vec![0; n]; // the value at psi^(2k + 1) in place k
    (0..n).for_each(|i| natural[brv(i, bits)] = words[i]);
    let scale = power(n as u64, q - 2, q);
    let coefficient = |j: usize| {
        // sum_k v_k psi^(-(2k + 1) j) = psi^-j sum_k v_k (psi^-2j)^k
        let point = power(down, 2 * j as u64, q);
        let sum = natural.iter().rev().fold(0, |acc, &v| (acc * point + u64::from(v)) % q);
        word(sum * power(down, j as u64, q) % q * scale % q)
    };
    (0..n).map(coefficient).collect()
}

/// `a(X^g)` in coefficient form: `X^k` goes to `X^(gk mod 2N)`, and `X^N = -1`.
fn substitute(a: &[u32], g: u32, q: u32) -> Vec<u32> {
    let n = a.len();
    let mut out = vec![0; n];
    for (k, &c) in a.iter().enumerate() {
        let exponent = k * g as usize % (2 * n);
        out[exponent % n] = if exponent < n || c == 0 { c } else { q - c };
    }
    out
}

/// The integer whose residues a base conversion gives: `sum_i y_i D/q_i - v D` with `y_i = a_i (D/q_i)^-1 mod q_i` and
/// `v = (sum_i floor((y_i 2^shift_i) floor(2^60 / (q_i 2^shift_i)) / 2^32) + 2^27) >> 28`, `2^29 <= q_i 2^shift_i < 2^30`.
fn converted(residues: &[u32], primes: &[u32]) -> BigInt {
    let d = product(primes.iter().copied());
    let (mut sum, mut estimate) = (BigInt::from(0), 1u128 << 27);
    for (&a, &q) in residues.iter().zip(primes) {
        let hat: BigInt = &d / q;
        let inverse = power(u64::from(residue(&hat, q)), u64::from(q) - 2, u64::from(q));
        let y = u64::from(a) * inverse % u64::from(q);
        let mut normal = u128::from(q);
        let mut shift = 0;
        while normal < 1 << 29 {
            normal *= 2;
            shift += 1;
        }
        estimate += ((u128::from(y) << shift) * ((1 << 60) / normal)) >> 32;
        sum += hat * y;
    }
    sum - d * (estimate >> 28)
}

/// Whether `x` is a centred representative: `|x| <= D/2 (1 + 2^-22)`.
fn is_centred(x: &BigInt, d: &BigInt) -> bool {
    let bound: BigInt = (d << 22usize) + d;
    let scaled: BigInt = x << 23usize;
    scaled.magnitude() <= bound.magnitude()
}

/// One block of the ChaCha20 keystream, from RFC 8439, section 2.3.
fn chacha20(key: &[u8; 32], counter: u32, nonce: [u32; 3]) -> [u32; 16] {
    fn quarter_round(s: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
        for (x, y, z, bits) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
            s[x] = s[x].wrapping_add(s[y]);
            s[z] = (s[z] ^ s[x]).rotate_left(bits);
        }
    }
    let mut start = [0u32; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    for (word, bytes) in start[4..12].iter_mut().zip(key.chunks(4)) {
        *word = u32::from_le_bytes(bytes.try_into().unwrap());
    }
    start[12] = counter;
    start[13..].copy_from_slice(&nonce);
    let mut s = start;
    for _ in 0..10 {
        for column in 0..4 {
            quarter_round(&mut s, [0, 4, 8, 12].map(|row| row + column));
        }
        for column in 0..4 {
            quarter_round(&mut s, [0, 1, 2, 3].map(|row| 4 * row + (column + row) % 4));
        }
    }
    std::array::from_fn(|i| s[i].wrapping_add(start[i]))
}

/// `floor(x q / 2^64)` of the 64-bit words `x` of a stream.
fn uniform(seed: &[u8; 32], stream: u32, q: u64, count: usize) -> Vec<u32> {
    // RFC 8439 has a 32-bit counter and a 96-bit nonce; the first nonce word is the counter's high half.
    let blocks = (0..).map(|block| chacha20(seed, block, [0, stream, 0]));
    let words = blocks.flat_map(|block| {
        let pair = |i: usize| u128::from(block[2 * i]) | u128::from(block[2 * i + 1]) << 32;
        (0..8).map(pair).collect::<Vec<_>>()
    });
    words.take(count).map(|x| word(((x * u128::from(q)) >> 64) as u64)).collect()
}

#[test]
fn the_keystream_is_that_of_rfc_8439() {
    // Section 2.3.2: key 00 01 .. 1f, nonce 00 00 00 09 00 00 00 4a 00 00 00 00, block 1.
    let key: [u8; 32] = std::array::from_fn(|i| i as u8);
    let block = chacha20(&key, 1, [0x0900_0000, 0x4a00_0000, 0]);
    let expected = [
        0xe4e7_f110,
        0x1559_3bd1,
        0x1fdd_0f50,
        0xc471_20a3,
        0xc7f4_d1c7,
        0x0368_c033,
        0x9aaa_2204,
        0x4e6c_d4c3,
        0x4664_82d2,
        0x09aa_9f07,
        0x05d7_c214,
        0xa202_8bd9,
        0xd19c_12b5,
        0xb94e_16de,
        0xe883_d0cb,
        0x4e3c_50a2,
    ];
    assert_eq!(block, expected);
    // The client's generator reads the same stream.
    let (seed, m) = (Seed::from_bytes(key), Modulus::new((1 << 29) + 11).unwrap());
    for stream in [0u32, 7, u32::MAX] {
        let mut got = vec![0; 5000];
        Csprng::with_stream(&seed, u64::from(stream)).uniform(m, &mut got);
        assert_eq!(got, uniform(&key, stream, u64::from(m.get()), 5000));
    }
}

// --- the model: every buffer's words on the host ------------------------------------------------

/// A ring on a device, and what its buffers must hold.
struct Model {
    device: Device,
    ring: LoadedRing,
    moduli: Vec<u32>,
    psi: Vec<u32>,
    n: usize,
    inputs: Inputs,
    buffers: Vec<(Buffer, Vec<u32>)>,
}

/// Rows of a window: `[polynomial][limb]`.
type Rows = Vec<Vec<Vec<u32>>>;

impl Model {
    fn new(device: &Device, tables: &Arc<RingTables>, seed: u64) -> Self {
        Self {
            device: device.clone(),
            ring: device.load_ring(tables).unwrap(),
            moduli: tables.primes().iter().map(|p| p.q()).collect(),
            psi: tables.primes().iter().map(|p| p.psi()).collect(),
            n: tables.log_n().degree(),
            inputs: Inputs::new(seed),
            buffers: vec![],
        }
    }

    fn hold(&mut self, shape: Shape, words: Vec<u32>) -> Buffer {
        let buffer = self.device.upload(shape, &words).unwrap();
        self.buffers.push((buffer.clone(), words));
        buffer
    }

    /// Random polynomials whose limbs belong to these primes.
    fn buffer(&mut self, batch: u32, primes: &[u32]) -> Buffer {
        let shape = Shape { batch, limbs: primes.len() as u32, log_n: self.n.ilog2() };
        let mut words = Vec::with_capacity(shape.words());
        for _ in 0..batch {
            for &p in primes {
                words.extend(self.inputs.residues(self.moduli[p as usize], self.n));
            }
        }
        self.hold(shape, words)
    }

    fn view(&mut self, batch: u32, primes: &[u32]) -> View {
        self.buffer(batch, primes).view()
    }

    /// Reduced scalars, `[row][limb]`.
    fn scalars(&mut self, rows: usize, primes: &[u32]) -> Arc<[u32]> {
        let one = |i: usize, q: u32, r: u32| [r % q, 0, q - 1, 1][i % 4];
        (0..rows * primes.len())
            .map(|i| one(i, self.moduli[primes[i % primes.len()] as usize], self.inputs.below(u32::MAX)))
            .collect()
    }

    fn words(&self, buffer: &Buffer) -> &[u32] {
        &self.buffers.iter().find(|(known, _)| known.is_same(buffer)).expect("a buffer of this model").1
    }

    /// Where limb `l` of polynomial `b` of a window begins; polynomials repeat.
    fn offset(view: &View, b: usize, l: usize) -> usize {
        let shape = view.buffer.shape();
        let polynomial = view.first_poly as usize + b % view.polys as usize;
        (polynomial * shape.limbs as usize + view.first_limb as usize + l) << shape.log_n
    }

    fn row(&self, view: &View, b: usize, l: usize) -> Vec<u32> {
        let n = 1 << view.buffer.shape().log_n;
        self.words(&view.buffer)[Self::offset(view, b, l)..][..n].to_vec()
    }

    fn forward(&self, words: &[u32], p: u32) -> Vec<u32> {
        ntt(words, self.moduli[p as usize], self.psi[p as usize])
    }

    fn backward(&self, words: &[u32], p: u32) -> Vec<u32> {
        inverse_ntt(words, self.moduli[p as usize], self.psi[p as usize])
    }

    /// The integers behind a polynomial's limbs under base conversion.
    fn convert(&self, limbs: &[Vec<u32>], from: &[u32]) -> Vec<BigInt> {
        let at = |i: usize| converted(&limbs.iter().map(|row| row[i]).collect::<Vec<_>>(), from);
        (0..self.n).map(at).collect()
    }

    /// The digits of a gadget decomposition.
    fn decomposed(&self, src: &View, digits: &[Digit], basis: &Basis) -> Rows {
        let (batch, primes) = (src.polys as usize, basis.primes());
        let moduli: Vec<u32> = primes.iter().map(|&p| self.moduli[p as usize]).collect();
        (0..digits.len() * batch)
            .map(|k| {
                let digit = digits[k / batch];
                let own = digit.first as usize..(digit.first + digit.limbs) as usize;
                let limbs: Vec<_> =
                    own.clone().map(|l| self.backward(&self.row(src, k % batch, l), primes[l])).collect();
                let integers = self.convert(&limbs, &moduli[own.clone()]);
                let row = |l: usize| {
                    if own.contains(&l) {
                        return self.row(src, k % batch, l);
                    }
                    self.forward(&integers.iter().map(|x| residue(x, moduli[l])).collect::<Vec<_>>(), primes[l])
                };
                (0..primes.len()).map(row).collect()
            })
            .collect()
    }

    /// Limb `l` of polynomial `k` of a key switch's inner product, before its automorphism.
    fn inner_product(&self, dst: &View, cut: &Rows, inner: &InnerProduct, (k, l): (usize, usize)) -> Vec<u32> {
        let InnerProduct { key, rows, basis, plus, .. } = inner;
        let batch = dst.polys as usize / 2;
        let q = u64::from(self.moduli[basis.primes()[l] as usize]);
        let mut sum = vec![0; self.n];
        let mut add = |row: Vec<u32>, factors: &dyn Fn(usize) -> u64| {
            for (i, (s, x)) in sum.iter_mut().zip(row).enumerate() {
                *s = (*s + u64::from(x) * factors(i)) % q;
            }
        };
        if let Some(plus) = plus.as_ref().filter(|plus| k < plus.polys as usize && l < plus.limbs as usize) {
            let others = product(basis.primes()[plus.limbs as usize..].iter().map(|&p| self.moduli[p as usize]));
            let factor = u64::from(residue(&others, word(q)));
            add(self.row(plus, k, l), &|_| factor);
        }
        for (d, key) in key.iter().enumerate() {
            let key = self.row(&key.view(), k / batch, rows.primes()[l] as usize);
            add(cut[d * batch + k % batch][l].clone(), &|i| u64::from(key[i]));
        }
        sum.into_iter().map(word).collect()
    }

    /// `dst` after the operation, from its formula.
    fn result(&self, op: &Op) -> Rows {
        let dst = op.dst();
        let rows = |f: &dyn Fn(usize, usize) -> Vec<u32>| -> Rows {
            (0..dst.polys as usize).map(|b| (0..dst.limbs as usize).map(|l| f(b, l)).collect()).collect()
        };
        let q = |basis: &Basis, l: usize| u64::from(self.moduli[basis.primes()[l] as usize]);
        let primes = |basis: &Basis| basis.primes().iter().map(|&p| self.moduli[p as usize]).collect::<Vec<u32>>();
        let map = |row: Vec<u32>, f: &dyn Fn(u64) -> u64| row.into_iter().map(|x| word(f(u64::from(x)))).collect();
        let zip = |a: Vec<u32>, b: Vec<u32>, f: &dyn Fn(u64, u64) -> u64| -> Vec<u32> {
            a.into_iter().zip(b).map(|(a, b)| word(f(u64::from(a), u64::from(b)))).collect()
        };
        let forward = |words: &[u32], p: u32| self.forward(words, p);
        let backward = |words: &[u32], p: u32| self.backward(words, p);
        let convert = |limbs: &[Vec<u32>], from: &[u32]| self.convert(limbs, from);
        let bits = self.n.ilog2();
        let image = |row: &[u32], g: GaloisElement| -> Vec<u32> {
            let source = |i: usize| {
                let exponent = g.get() as usize * (2 * brv(i, bits) + 1) % (2 * self.n);
                row[brv((exponent - 1) / 2, bits)]
            };
            (0..self.n).map(source).collect()
        };
        match op {
            Op::Zero { .. } => rows(&|_, _| vec![0; self.n]),
            Op::Copy { src, .. } => rows(&|b, l| self.row(src, b, l)),
            Op::Uniform { seed, basis, .. } => rows(&|b, l| {
                let stream = b * dst.limbs as usize + l;
                uniform(seed, stream as u32, q(basis, l), self.n)
            }),
            Op::Add { a, b: c, basis, .. } => {
                rows(&|b, l| zip(self.row(a, b, l), self.row(c, b, l), &|x, y| (x + y) % q(basis, l)))
            }
            Op::Sub { a, b: c, basis, .. } => {
                rows(&|b, l| zip(self.row(a, b, l), self.row(c, b, l), &|x, y| (x + q(basis, l) - y) % q(basis, l)))
            }
            Op::Neg { a, basis, .. } => rows(&|b, l| map(self.row(a, b, l), &|x| (q(basis, l) - x) % q(basis, l))),
            Op::Mul { a, b: c, basis, .. } => {
                rows(&|b, l| zip(self.row(a, b, l), self.row(c, b, l), &|x, y| x * y % q(basis, l)))
            }
            Op::MulAdd { a, b: c, basis, .. } => rows(&|b, l| {
                let products = zip(self.row(a, b, l), self.row(c, b, l), &|x, y| x * y % q(basis, l));
                zip(self.row(dst, b, l), products, &|z, xy| (z + xy) % q(basis, l))
            }),
            Op::MulScalar { a, scalars, basis, .. } => rows(&|b, l| {
                let limbs = basis.primes().len();
                let s = u64::from(scalars[b % (scalars.len() / limbs) * limbs + l]);
                map(self.row(a, b, l), &|x| x * s % q(basis, l))
            }),
            Op::MulScalarAdd { a, scalars, basis, .. } => rows(&|b, l| {
                let limbs = basis.primes().len();
                let s = u64::from(scalars[b % (scalars.len() / limbs) * limbs + l]);
                zip(self.row(dst, b, l), self.row(a, b, l), &|x, y| (x + y * s) % q(basis, l))
            }),
            Op::AddScalar { a, scalars, basis, .. } => rows(&|b, l| {
                let limbs = basis.primes().len();
                let s = u64::from(scalars[b % (scalars.len() / limbs) * limbs + l]);
                map(self.row(a, b, l), &|x| (x + s) % q(basis, l))
            }),
            Op::Tensor { a, b: c, basis, .. } => {
                let batch = a.polys as usize / 2;
                rows(&|k, l| {
                    let term = |i: usize, j: usize| {
                        let (x, y) = (self.row(a, i * batch + k % batch, l), self.row(c, j * batch + k % batch, l));
                        zip(x, y, &|x, y| x * y % q(basis, l))
                    };
                    match k / batch {
                        0 => term(0, 0),
                        1 => zip(term(0, 1), term(1, 0), &|x, y| (x + y) % q(basis, l)),
                        _ => term(1, 1),
                    }
                })
            }
            Op::NttForward { src, basis, .. } => rows(&|b, l| forward(&self.row(src, b, l), basis.primes()[l])),
            Op::NttInverse { src, basis, .. } => rows(&|b, l| backward(&self.row(src, b, l), basis.primes()[l])),
            Op::Automorphism { src, element, .. } => rows(&|b, l| image(&self.row(src, b, l), *element)),
            Op::BasisExtend { src, from, to, .. } => {
                let limbs = |b| (0..src.limbs as usize).map(|l| self.row(src, b, l)).collect::<Vec<_>>();
                let integers: Vec<_> = (0..src.polys as usize).map(|b| convert(&limbs(b), &primes(from))).collect();
                rows(&|b, l| integers[b % integers.len()].iter().map(|x| residue(x, primes(to)[l])).collect())
            }
            Op::Decompose { src, digits, basis, .. } => self.decomposed(src, digits, basis),
            Op::GadgetDot { digits, product, .. } => {
                let cut: Rows = (0..digits.polys as usize)
                    .map(|k| (0..digits.limbs as usize).map(|l| self.row(digits, k, l)).collect())
                    .collect();
                rows(&|k, l| image(&self.inner_product(dst, &cut, product, (k, l)), product.element))
            }
            Op::KeySwitch { src, digits, product, .. } => {
                let cut = self.decomposed(src, digits, &product.basis);
                rows(&|k, l| image(&self.inner_product(dst, &cut, product, (k, l)), product.element))
            }
            Op::ModDown { src, kept, dropped, plus, element, .. } => {
                let first = kept.primes().len();
                let from = primes(dropped);
                let d = product(from.iter().copied());
                let integers: Vec<Vec<BigInt>> = (0..src.polys as usize)
                    .map(|b| {
                        let limb = |(i, &p): (usize, &u32)| backward(&self.row(src, b, first + i), p);
                        convert(&dropped.primes().iter().enumerate().map(limb).collect::<Vec<_>>(), &from)
                    })
                    .collect();
                rows(&|b, l| {
                    let q = q(kept, l);
                    let words: Vec<u32> = integers[b].iter().map(|x| residue(x, word(q))).collect();
                    let inverse = power(u64::from(residue(&d, word(q))), q - 2, q);
                    let extended = forward(&words, kept.primes()[l]);
                    let quotient = zip(self.row(src, b, l), extended, &|x, y| (x + q - y) % q * inverse % q);
                    let sum = match plus {
                        Some(plus) if b < plus.polys as usize => {
                            zip(quotient, self.row(plus, b, l), &|x, y| (x + y) % q)
                        }
                        _ => quotient,
                    };
                    image(&sum, *element)
                })
            }
            Op::CombineSparse { src, weights, pattern, components, basis, .. } => {
                let (outputs, inputs) = ((dst.polys / components) as usize, (src.polys / components) as usize);
                let word = |at| self.row(pattern, 0, at)[0] as usize;
                rows(&|k, l| {
                    let (component, o) = (k / outputs, k % outputs);
                    (word(o)..word(o + 1)).fold(vec![0; self.n], |sum, e| {
                        let w = u64::from(self.row(weights, e, l)[0]);
                        let input = component * inputs + word(outputs + 1 + e);
                        zip(sum, self.row(src, input, l), &|s, x| (s + w * x) % q(basis, l))
                    })
                })
            }
            Op::Combine { src, weights, components, basis, .. } => {
                let (outputs, inputs) = (dst.polys / components, src.polys / components);
                let (outputs, inputs) = (outputs as usize, inputs as usize);
                rows(&|k, l| {
                    let (component, o) = (k / outputs, k % outputs);
                    (0..inputs).fold(vec![0; self.n], |sum, i| {
                        let w = u64::from(self.row(weights, o * inputs + i, l)[0]);
                        zip(sum, self.row(src, component * inputs + i, l), &|s, x| (s + w * x) % q(basis, l))
                    })
                })
            }
        }
    }

    /// Runs the operation on the device and by definition.
    fn run(&mut self, op: Op) {
        let result = self.result(&op);
        let dst = op.dst().clone();
        let (_, words) = self.buffers.iter_mut().find(|(known, _)| known.is_same(&dst.buffer)).unwrap();
        for (b, limbs) in result.iter().enumerate() {
            for (l, row) in limbs.iter().enumerate() {
                words[Self::offset(&dst, b, l)..][..self.n].copy_from_slice(row);
            }
        }
        let printed = op.to_string();
        self.device.record(&self.ring, op).unwrap_or_else(|e| panic!("{}: {printed}: {e}", self.device.name()));
    }

    /// Compares a whole buffer, the words outside any window written included.
    fn compare(&self, buffer: &Buffer, what: &str) {
        let (got, want) = (self.device.download(buffer).unwrap(), self.words(buffer));
        if let Some(at) = (0..want.len()).find(|&i| got[i] != want[i]) {
            let count = (0..want.len()).filter(|&i| got[i] != want[i]).count();
            panic!(
                "{}: {what}: {count} words differ, first word {at}: {} not {}",
                self.device.name(),
                got[at],
                want[at]
            );
        }
    }

    /// Runs the operation and compares what it wrote to.
    fn check(&mut self, op: Op) {
        let (name, buffer) = (op.to_string(), op.dst().buffer.clone());
        self.run(op);
        self.compare(&buffer, &name);
    }
}

/// Primes at both ends: the largest below `2^30` (lazy values come closest to overflow there), middling ones, and two tiny
/// ones.
fn tables(log_n: u32) -> Arc<RingTables> {
    let log_n = LogN::new(log_n).unwrap();
    let near = |bits: u32, count| ntt_primes_below(1 << bits, log_n).take(count);
    let moduli: Vec<u32> = near(30, 14).chain(near(26, 4)).chain(near(28, 4)).chain([12289, 40961]).collect();
    Arc::new(RingTables::new(log_n, &moduli).unwrap())
}

fn basis(primes: &[u32]) -> Basis {
    Basis::new(primes.iter().copied())
}

fn on_every_device(log_n: u32, seed: u64, test: impl Fn(&mut Model)) {
    let tables = tables(log_n);
    for device in devices() {
        test(&mut Model::new(&device, &tables, seed));
    }
}

// --- the operations -----------------------------------------------------------------------------

type Binary = fn(View, View, View, Basis) -> Op;
const BINARY: [Binary; 4] = [
    |dst, a, b, basis| Op::Add { dst, a, b, basis },
    |dst, a, b, basis| Op::Sub { dst, a, b, basis },
    |dst, a, b, basis| Op::Mul { dst, a, b, basis },
    |dst, a, b, basis| Op::MulAdd { dst, a, b, basis },
];

#[test]
fn word_by_word_operations_equal_their_definitions() {
    on_every_device(10, 1, |m| {
        let p = [0, 14, 3, 22];
        for op in BINARY {
            let (dst, a, b, one) = (m.view(6, &p), m.view(6, &p), m.view(6, &p), m.view(1, &p));
            let three = m.view(3, &p);
            m.check(op(dst.clone(), a.clone(), b.clone(), basis(&p)));
            m.check(op(dst.clone(), a.clone(), a.clone(), basis(&p))); // one source twice
            m.check(op(dst.clone(), a.clone(), one.clone(), basis(&p))); // a source of one polynomial
            m.check(op(dst.clone(), three, b.clone(), basis(&p))); // and of three for six
            m.check(op(dst.clone(), one.clone(), one, basis(&p)));
            m.check(op(dst.clone(), dst.clone(), b.clone(), basis(&p))); // in place on either side
            m.check(op(dst.clone(), a.clone(), dst.clone(), basis(&p)));
            m.check(op(dst.clone(), dst.clone(), dst.clone(), basis(&p)));
            // Windows: two polynomials and two limbs out of the middle, sources elsewhere in the same memory.
            let middle = |v: &View, first| v.polys(first, 2).unwrap().limbs(1, 2).unwrap();
            let inner = basis(&p[1..3]);
            m.check(op(middle(&dst, 2), middle(&a, 4), middle(&b, 0), inner.clone()));
            m.check(op(middle(&dst, 2), middle(&dst, 4), middle(&dst, 0), inner.clone()));
            m.check(op(middle(&dst, 2), middle(&dst, 2), middle(&dst, 0), inner.clone()));
            m.check(op(middle(&dst, 0), middle(&a, 1).polys(1, 1).unwrap(), middle(&dst, 0), inner));
        }
    });
}

#[test]
fn one_operand_operations_equal_their_definitions() {
    on_every_device(10, 2, |m| {
        let p = [1, 15, 23];
        let inner = |v: &View| v.polys(1, 2).unwrap().limbs(1, 2).unwrap();
        let (dst, a, one) = (m.view(4, &p), m.view(4, &p), m.view(1, &p));
        for (to, from, primes) in [
            (dst.clone(), a.clone(), &p[..]),
            (dst.clone(), one, &p[..]),
            (dst.clone(), dst.clone(), &p[..]),
            (inner(&dst), inner(&a), &p[1..]),
            (inner(&dst), a.polys(3, 1).unwrap().limbs(1, 2).unwrap(), &p[1..]),
            (inner(&dst), dst.polys(3, 1).unwrap().limbs(1, 2).unwrap(), &p[1..]),
            (inner(&dst), inner(&dst), &p[1..]),
        ] {
            m.check(Op::Neg { dst: to.clone(), a: from.clone(), basis: basis(primes) });
            m.check(Op::Copy { dst: to.clone(), src: from.clone() });
            for rows in [1, 2, to.polys as usize] {
                let scalars = m.scalars(rows, primes);
                m.check(Op::MulScalar { dst: to.clone(), a: from.clone(), scalars, basis: basis(primes) });
                let scalars = m.scalars(rows, primes);
                m.check(Op::MulScalarAdd { dst: to.clone(), a: from.clone(), scalars, basis: basis(primes) });
                let scalars = m.scalars(rows, primes);
                m.check(Op::AddScalar { dst: to.clone(), a: from.clone(), scalars, basis: basis(primes) });
            }
        }
        m.check(Op::Zero { dst: inner(&dst) });
        m.check(Op::Zero { dst });
    });
}

#[test]
fn transforms_equal_their_definitions() {
    for log_n in [10, 11] {
        on_every_device(log_n, 3, |m| {
            let p: &[u32] = if log_n == 10 { &[0, 13, 14, 18, 22, 23] } else { &[0, 22] };
            let batch = if log_n == 10 { 3 } else { 1 };
            let (a, dst) = (m.view(batch, p), m.view(batch, p));
            m.check(Op::NttForward { dst: dst.clone(), src: a.clone(), basis: basis(p) });
            m.check(Op::NttInverse { dst: dst.clone(), src: a.clone(), basis: basis(p) });
            m.check(Op::NttForward { dst: dst.clone(), src: dst.clone(), basis: basis(p) });
            m.compare(&dst.buffer, "inverse, then forward");
            assert_eq!(m.device.download(&dst.buffer).unwrap(), m.words(&a.buffer), "the inverse is exact");
            m.check(Op::NttInverse { dst: dst.clone(), src: dst.clone(), basis: basis(p) });
            if batch > 1 {
                let window = dst.polys(1, 2).unwrap().limbs(2, 3).unwrap();
                let (one, inner) = (a.polys(2, 1).unwrap().limbs(2, 3).unwrap(), basis(&p[2..5]));
                m.check(Op::NttForward { dst: window.clone(), src: one.clone(), basis: inner.clone() });
                m.check(Op::NttInverse { dst: window.clone(), src: one, basis: inner.clone() });
                m.check(Op::NttForward { dst: window.clone(), src: window, basis: inner });
            }
        });
    }
}

#[test]
fn tensor_equals_its_definition() {
    on_every_device(10, 4, |m| {
        let p = [0, 17, 22];
        for batch in [1, 3] {
            let (dst, a, b) = (m.view(3 * batch, &p), m.view(2 * batch, &p), m.view(2 * batch, &p));
            m.check(Op::Tensor { dst: dst.clone(), a: a.clone(), b: b.clone(), basis: basis(&p) });
            m.check(Op::Tensor { dst: dst.clone(), a: a.clone(), b: a.clone(), basis: basis(&p) });
            let low = |v: &View| v.limbs(0, 2).unwrap();
            m.check(Op::Tensor { dst: low(&dst), a: low(&a), b: low(&b), basis: basis(&p[..2]) });
        }
    });
}

fn elements(log_n: u32) -> Vec<GaloisElement> {
    let log_n = LogN::new(log_n).unwrap();
    let rotations = [0, 1, -1, 5, 100, 511].map(|steps| GaloisElement::from_steps(steps, log_n));
    rotations.into_iter().chain([GaloisElement::conjugation(log_n)]).collect()
}

#[test]
fn automorphisms_equal_their_definition_and_substitute_in_coefficient_form() {
    on_every_device(10, 5, |m| {
        let p = [0, 22];
        let (a, dst) = (m.view(2, &p), m.view(4, &p));
        for element in elements(10) {
            m.check(Op::Automorphism { dst: dst.clone(), src: a.clone(), element });
            let (to, from) =
                (dst.polys(0, 1).unwrap().limbs(1, 1).unwrap(), a.polys(1, 1).unwrap().limbs(0, 1).unwrap());
            m.check(Op::Automorphism { dst: to, src: from, element });
            // NTT, automorphism, inverse NTT is the substitution of X^g.
            let (work, image) = (m.view(2, &p), m.view(2, &p));
            m.run(Op::NttForward { dst: work.clone(), src: a.clone(), basis: basis(&p) });
            m.run(Op::Automorphism { dst: image.clone(), src: work, element });
            m.run(Op::NttInverse { dst: image.clone(), src: image.clone(), basis: basis(&p) });
            m.compare(&image.buffer, "an automorphism between transforms");
            for (b, l) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let want = substitute(&m.row(&a, b, l), element.get(), m.moduli[p[l] as usize]);
                assert_eq!(m.row(&image, b, l), want, "substitution of X^{}", element.get());
            }
        }
    });
}

#[test]
fn base_conversion_equals_its_definition_and_gives_one_centred_number() {
    let (all, rest): (Vec<u32>, Vec<u32>) = ((0..15).collect(), (15..24).collect());
    let cases: [(&[u32], &[u32]); 7] = [
        (&[0], &[1, 14, 22]),
        (&[22], &[0, 18, 23]),
        (&[14, 3], &[0, 1, 3, 18, 14]), // the targets may be among the sources
        (&[0, 1, 2], &[5, 19]),
        (&[14, 0, 23, 18, 2], &[1, 22]),
        (&all[..12], &all[12..]),
        (&all, &rest),
    ];
    on_every_device(10, 6, |m| {
        for (from, to) in cases {
            let moduli: Vec<u32> = from.iter().map(|&p| m.moduli[p as usize]).collect();
            let d = product(moduli.iter().copied());
            // The number whose y_i are the largest: all q_i - 1.
            let most: BigInt = &d * moduli.len() - moduli.iter().map(|q| &d / q).sum::<BigInt>();
            // Polynomials that begin with the numbers where a wrap is nearest.
            let half: BigInt = &d / 2;
            let special: Vec<BigInt> = [-2, -1, 0, 1, 2]
                .iter()
                .flat_map(|k| [&half + k, &d + (k - 3), BigInt::from(k + 2)])
                .chain([most])
                .collect();
            let src = m.view(2, from);
            let shape = src.buffer.shape();
            let mut words = m.words(&src.buffer).to_vec();
            for (l, q) in moduli.iter().enumerate() {
                for (i, x) in special.iter().enumerate() {
                    words[l * m.n + 100 + i] = residue(x, *q);
                }
            }
            let src = m.hold(shape, words).view();
            let (dst, four) = (m.view(2, to), m.view(4, to));
            m.check(Op::BasisExtend { dst: dst.clone(), src: src.clone(), from: basis(from), to: basis(to) });
            m.check(Op::BasisExtend { dst: four, src: src.clone(), from: basis(from), to: basis(to) });
            let one = src.polys(1, 1).unwrap();
            m.check(Op::BasisExtend { dst, src: one, from: basis(from), to: basis(to) });
            // The number the definition took: the right residues, centred, and the nearest to zero unless both are as near.
            for b in 0..2 {
                let limbs: Vec<_> = (0..from.len()).map(|l| m.row(&src, b, l)).collect();
                for i in 0..m.n {
                    let residues: Vec<u32> = limbs.iter().map(|row| row[i]).collect();
                    let r = converted(&residues, &moduli);
                    assert!(is_centred(&r, &d) && moduli.iter().zip(&residues).all(|(q, a)| residue(&r, *q) == *a));
                    if from.len() == 1 {
                        assert_eq!(r, centred(number(&residues, &moduli), &d));
                    }
                }
            }
        }
    });
}

#[test]
fn decomposition_equals_its_definition_and_recomposes() {
    let digit = |first, limbs| Digit { first, limbs };
    let cases: [(Vec<Digit>, &[u32], usize); 4] = [
        (vec![digit(0, 2), digit(2, 1)], &[0, 14, 3, 18, 2], 3),
        (vec![digit(0, 1), digit(1, 1), digit(2, 1)], &[22, 1, 15, 2], 3),
        (vec![digit(0, 3)], &[0, 1, 2, 3, 4, 5], 3),
        (vec![digit(0, 1)], &[16, 20], 1), // no other limb of the chain
    ];
    on_every_device(10, 7, |m| {
        for (digits, primes, limbs) in &cases {
            for batch in [1u32, 2] {
                let src = m.view(batch, &primes[..*limbs]);
                let dst = m.view(batch * digits.len() as u32, primes);
                m.check(Op::Decompose {
                    dst: dst.clone(),
                    src: src.clone(),
                    digits: digits.clone().into(),
                    basis: basis(primes),
                });
                // sum_d digit_d g_d = P c over the chain, for the gadget g_d = P modulo the digit's primes, 0 elsewhere.
                let special = product(primes[*limbs..].iter().map(|&p| m.moduli[p as usize]));
                for b in 0..batch as usize {
                    for l in 0..*limbs {
                        let q = m.moduli[primes[l] as usize];
                        let factor = u64::from(residue(&special, q));
                        let mut sum = vec![0u64; m.n];
                        for (d, digit) in digits.iter().enumerate() {
                            let gadget =
                                if (digit.first..digit.first + digit.limbs).contains(&(l as u32)) { factor } else { 0 };
                            let row = m.row(&dst, d * batch as usize + b, l);
                            sum.iter_mut().zip(row).for_each(|(s, x)| *s = (*s + u64::from(x) * gadget) % u64::from(q));
                        }
                        let want = m.row(&src, b, l).into_iter().map(|x| u64::from(x) * factor % u64::from(q));
                        assert!(sum.into_iter().eq(want), "recomposition modulo {q}");
                    }
                }
            }
        }
    });
}

#[test]
fn gadget_dot_equals_its_definition() {
    on_every_device(10, 8, |m| {
        // The key has more limbs than the operation: rows says which ones belong.
        let (all, primes, rows) = ([0, 1, 14, 22, 2], [0, 1, 2], [0, 1, 4]);
        let ends = elements(10);
        for (i, (batch, count)) in [(1u32, 1u32), (1, 3), (3, 2), (2, 16), (1, 30)].into_iter().enumerate() {
            let key: Arc<[Buffer]> = (0..count).map(|_| m.buffer(2, &all)).collect();
            let (dst, digits) = (m.view(2 * batch, &primes), m.view(count * batch, &primes));
            let (first, both) = (m.view(batch, &primes[..2]), m.view(2 * batch, &primes));
            for (plus, element) in [None, Some(first), Some(both)].into_iter().zip(ends.iter().cycle().skip(2 * i)) {
                m.check(Op::GadgetDot {
                    dst: dst.clone(),
                    digits: digits.clone(),
                    product: InnerProduct {
                        key: Arc::clone(&key),
                        rows: basis(&rows),
                        basis: basis(&primes),
                        plus,
                        element: *element,
                    },
                });
            }
            m.check(Op::GadgetDot {
                dst: dst.limbs(1, 2).unwrap(),
                digits: digits.limbs(1, 2).unwrap(),
                product: InnerProduct {
                    key: Arc::clone(&key),
                    rows: basis(&rows[1..]),
                    basis: basis(&primes[1..]),
                    plus: Some(digits.limbs(1, 1).unwrap().polys(0, 1).unwrap()),
                    element: GaloisElement::IDENTITY,
                },
            });
        }
        // The largest products everywhere: sums must not overflow between reductions.
        let q = m.moduli[0];
        let full = |m: &mut Model, batch| {
            let shape = Shape { batch, limbs: 1, log_n: 10 };
            m.hold(shape, vec![q - 1; shape.words()])
        };
        let key: Arc<[Buffer]> = (0..40).map(|_| full(m, 2)).collect();
        let (dst, digits) = (m.view(2, &[0]), full(m, 40).view());
        let rows = basis(&[0]);
        let plus = Some(full(m, 2).view());
        let product = InnerProduct { key, rows, basis: basis(&[0]), plus, element: GaloisElement::IDENTITY };
        m.check(Op::GadgetDot { dst, digits, product });
    });
}

#[test]
fn key_switch_equals_its_definition() {
    let digit = |first, limbs| Digit { first, limbs };
    let cases: [(Vec<Digit>, &[u32], u32); 3] = [
        (vec![digit(0, 2), digit(2, 1)], &[0, 14, 3, 18, 2], 3),
        (vec![digit(0, 1), digit(1, 1), digit(2, 1)], &[22, 1, 15, 2], 3),
        (vec![digit(0, 3)], &[0, 1, 2, 3, 4, 5], 3),
    ];
    on_every_device(10, 13, |m| {
        // More digits than one sum takes.
        let (digits, primes): (Arc<[Digit]>, Vec<u32>) =
            ((0..15).map(|first| digit(first, 1)).collect(), (0..16).collect());
        let (dst, src, plus) = (m.view(2, &primes), m.view(1, &primes[..15]), m.view(1, &primes[..15]));
        let key = digits.iter().map(|_| m.buffer(2, &primes)).collect();
        let (rows, element) = (basis(&primes), elements(10)[2]);
        let product = InnerProduct { key, rows: rows.clone(), basis: rows, plus: Some(plus), element };
        m.check(Op::KeySwitch { dst, src, digits, product });
        for (i, (digits, primes, limbs)) in cases.iter().enumerate() {
            // The key has a limb more, in front.
            let all = [&[23], *primes].concat();
            let rows = Basis::new(1..=primes.len() as u32);
            for batch in [1u32, 2] {
                let key: Arc<[Buffer]> = digits.iter().map(|_| m.buffer(2, &all)).collect();
                let (dst, src) = (m.view(2 * batch, primes), m.view(batch, &primes[..*limbs as usize]));
                let (first, both) = (m.view(batch, &primes[..*limbs as usize]), m.view(2 * batch, primes));
                let ends = elements(10);
                for (plus, element) in [None, Some(first), Some(both)].into_iter().zip(ends.iter().skip(i)) {
                    m.check(Op::KeySwitch {
                        dst: dst.clone(),
                        src: src.clone(),
                        digits: digits.clone().into(),
                        product: InnerProduct {
                            key: Arc::clone(&key),
                            rows: rows.clone(),
                            basis: basis(primes),
                            plus,
                            element: *element,
                        },
                    });
                }
            }
        }
    });
}

#[test]
fn mod_down_equals_its_definition_and_rounds() {
    let fifteen: Vec<u32> = (0..15).collect();
    let cases: [(&[u32], &[u32], u32); 5] = [
        (&[0, 14], &[1], 2),
        (&[0, 14, 22], &[18, 2], 1),
        (&[3], &[0, 1, 2], 1),
        (&[15, 1], &[23], 1),
        (&[15, 20], &fifteen, 1),
    ];
    on_every_device(10, 9, |m| {
        for (kept, dropped, batch) in cases {
            let all = [kept, dropped].concat();
            let (dst, src) = (m.view(batch, kept), m.view(batch, &all));
            let down = |plus, element| Op::ModDown {
                dst: dst.clone(),
                src: src.clone(),
                kept: basis(kept),
                dropped: basis(dropped),
                plus,
                element,
            };
            let (first, all_of_them) = (m.view(1, kept), m.view(batch, kept));
            m.check(down(Some(first), elements(10)[3]));
            m.check(down(Some(all_of_them), GaloisElement::IDENTITY));
            m.check(down(None, elements(10)[1]));
            m.check(down(None, GaloisElement::IDENTITY));
            // r D = a up to D/2 (1 + 2^-22), by big integers on the coefficients.
            let moduli: Vec<u32> = all.iter().map(|&p| m.moduli[p as usize]).collect();
            let (q, d) = moduli.split_at(kept.len());
            let (big_q, big_d) = (product(q.iter().copied()), product(d.iter().copied()));
            let whole: BigInt = &big_q * &big_d;
            let coefficients = |m: &Model, view: &View, b: usize, primes: &[u32]| -> Vec<Vec<u32>> {
                let row =
                    |(l, &p): (usize, &u32)| inverse_ntt(&m.row(view, b, l), m.moduli[p as usize], m.psi[p as usize]);
                primes.iter().enumerate().map(row).collect()
            };
            for b in 0..batch as usize {
                let (a, r) = (coefficients(m, &src, b, &all), coefficients(m, &dst, b, kept));
                for i in 0..m.n {
                    let at = |rows: &[Vec<u32>]| rows.iter().map(|row| row[i]).collect::<Vec<_>>();
                    let rest: BigInt = number(&at(&r), q) * &big_d - number(&at(&a), &moduli);
                    let rest: BigInt = ((rest % &whole) + &whole) % &whole;
                    assert!(is_centred(&centred(rest, &whole), &big_d), "coefficient {i} is rounded to a neighbour");
                }
            }
        }
        // Windows of larger memory, on both sides.
        let (dst, src) = (m.view(3, &[4, 0, 14, 5]), m.view(4, &[7, 0, 14, 1, 9]));
        let (to, from) = (dst.polys(1, 2).unwrap().limbs(1, 2).unwrap(), src.polys(2, 2).unwrap().limbs(1, 3).unwrap());
        let plus = Some(src.polys(0, 1).unwrap().limbs(1, 2).unwrap());
        let element = elements(10)[2];
        m.check(Op::ModDown { dst: to, src: from, kept: basis(&[0, 14]), dropped: basis(&[1]), plus, element });
    });
}

#[test]
fn combine_equals_its_definition() {
    on_every_device(10, 10, |m| {
        let p = [0, 14, 22];
        for (components, inputs, outputs) in [(1u32, 1u32, 1u32), (2, 3, 2), (3, 2, 5), (2, 16, 1), (1, 40, 3)] {
            let (dst, src) = (m.view(components * outputs, &p), m.view(components * inputs, &p));
            // Weights of a higher level have more limbs: the first ones count.
            let shape = Shape { batch: outputs * inputs, limbs: 4, log_n: 0 };
            let words: Vec<u32> = (0..inputs * outputs).flat_map(|_| m.scalars(1, &[0, 14, 22, 3]).to_vec()).collect();
            let weights = m.hold(shape, words).view();
            let all = basis(&p);
            m.check(Op::Combine {
                dst: dst.clone(),
                src: src.clone(),
                weights: weights.clone(),
                components,
                basis: all,
            });
            let low = |v: &View| v.limbs(0, 2).unwrap();
            let some = basis(&p[..2]);
            m.check(Op::Combine { dst: low(&dst), src: low(&src), weights: low(&weights), components, basis: some });
        }
        let q = m.moduli[0];
        let shape = |batch, log_n| Shape { batch, limbs: 1, log_n };
        let src = m.hold(shape(40, 10), vec![q - 1; 40 << 10]).view();
        let weights = m.hold(shape(40, 0), vec![q - 1; 40]).view();
        let dst = m.view(1, &[0]);
        m.check(Op::Combine { dst, src, weights, components: 1, basis: basis(&[0]) });
    });
}

#[test]
fn sparse_combine_equals_its_definition() {
    on_every_device(10, 15, |m| {
        let p = [0, 14, 22];
        // For each row its columns: none, one twice, more than a sum holds before it is folded.
        let long: Vec<u32> = (0..40).map(|i| 7 * i % 5).collect();
        for (components, inputs, rows) in [
            (1, 1, vec![vec![0]]),
            (2, 5, vec![vec![4, 0], vec![], vec![2, 2, 3]]),
            (3, 2, vec![vec![], vec![1]]),
            (1, 5, vec![long, vec![1]]),
        ] {
            let outputs = rows.len() as u32;
            let entries = rows.iter().map(Vec::len).sum::<usize>();
            let starts = (0..=rows.len()).map(|row| rows[..row].iter().map(Vec::len).sum::<usize>() as u32);
            let words: Vec<u32> = starts.chain(rows.iter().flatten().copied()).collect();
            let pattern = m.hold(Shape { batch: 1, limbs: words.len() as u32, log_n: 0 }, words).view();
            let (dst, src) = (m.view(components * outputs, &p), m.view(components * inputs, &p));
            let words = (0..entries).flat_map(|_| m.scalars(1, &[0, 14, 22, 3]).to_vec()).collect();
            let weights = m.hold(Shape { batch: entries as u32, limbs: 4, log_n: 0 }, words).view();
            let op = |dst, src, weights, basis| Op::CombineSparse {
                dst,
                src,
                weights,
                pattern: pattern.clone(),
                components,
                basis,
            };
            m.check(op(dst.clone(), src.clone(), weights.clone(), basis(&p)));
            let low = |v: &View| v.limbs(0, 2).unwrap();
            m.check(op(low(&dst), low(&src), low(&weights), basis(&p[..2])));
        }
    });
}

#[test]
fn uniform_residues_equal_their_definition() {
    for (log_n, polys) in [(10, 4), (11, 2)] {
        on_every_device(log_n, 13, |m| {
            let p = [22, 0, 14];
            let (whole, wide) = (m.view(polys, &p), m.view(polys + 1, &[0, 22, 0, 14, 3]));
            let seed = |m: &mut Model| std::array::from_fn(|_| m.inputs.next() as u8);
            for _ in 0..3 {
                let seed = seed(m);
                m.check(Op::Uniform { dst: whole.clone(), seed, basis: basis(&p) });
                let window = wide.polys(1, polys).unwrap().limbs(1, 3).unwrap();
                m.check(Op::Uniform { dst: window, seed, basis: basis(&p) });
            }
        });
    }
}

#[test]
fn random_programs_run_in_order() {
    // Many operations on few buffers without a download between them: what a device may not reorder.
    on_every_device(10, 11, |m| {
        let p = [0, 14, 22];
        let b = basis(&p);
        let pool: Vec<View> = (0..4).map(|_| m.view(2, &p)).collect();
        for _ in 0..150 {
            let [kind, x, y, z] = [9, 4, 4, 4].map(|limit| m.inputs.below(limit) as usize);
            let (dst, a, c) = (pool[x].clone(), pool[y].clone(), pool[z].clone());
            let window = |v: &View, first| v.polys(first, 1).unwrap().limbs(1, 2).unwrap();
            let op = match kind {
                0..=3 => BINARY[kind](dst, a, c, b.clone()),
                4 => Op::Neg { dst, a, basis: b.clone() },
                5 => Op::MulScalar { dst, a, scalars: m.scalars(2, &p), basis: b.clone() },
                6 => BINARY[z](window(&dst, 0), window(&a, 1), window(&c, z as u32 % 2), basis(&p[1..])),
                7 => Op::Copy { dst, src: a },
                _ if x != y => Op::Automorphism { dst, src: a, element: elements(10)[z + 1] },
                _ => continue,
            };
            if op.sources().iter().any(|s| s.overlaps(op.dst()) && !s.is_same(op.dst())) {
                continue;
            }
            m.run(op);
        }
        pool.iter().for_each(|view| m.compare(&view.buffer, "after a random program"));
    });
}

// --- refusals -----------------------------------------------------------------------------------

#[test]
fn malformed_operations_are_refused() {
    let tables = tables(10);
    let device = Device::cpu();
    let mut m = Model::new(&device, &tables, 12);
    let p = [0, 1, 2];
    let b = || basis(&p);
    let (v2, v3, v6, low) = (m.view(2, &p), m.view(3, &p), m.view(6, &p), m.view(2, &p[..2]));
    let other = m.view(2, &p);
    let larger_ring = device.upload(Shape { batch: 2, limbs: 3, log_n: 11 }, &vec![0; 6 << 11]).unwrap().view();
    let weights = m.hold(Shape { batch: 4, limbs: 3, log_n: 0 }, vec![1; 12]).view();
    let key = |m: &mut Model, batch, limbs: &[u32]| -> Arc<[Buffer]> { [m.buffer(batch, limbs)].into() };
    let (good_key, long_key, short_key) = (key(&mut m, 2, &p), key(&mut m, 3, &p), key(&mut m, 2, &p[..2]));
    let many: Vec<u32> = (0..16).collect();
    let (wide, seventeen) = (m.view(1, &many), m.view(1, &(0..17).collect::<Vec<_>>()));
    let one = GaloisElement::IDENTITY;
    let foreign = GaloisElement::conjugation(LogN::new(12).unwrap()); // 2 * 2^12 - 1, no element of N = 2^10
    let digit = |first, limbs| Digit { first, limbs };
    let digits = |list: &[Digit]| Arc::<[Digit]>::from(list);
    let scalars = |list: &[u32]| Arc::<[u32]>::from(list);
    let rows = |v: &View, first, count| v.polys(first, count).unwrap();
    let limbs = |v: &View, first, count| v.limbs(first, count).unwrap();
    let outside = |f: fn(&mut View)| {
        let mut view = v2.clone();
        f(&mut view);
        view
    };
    let decompose = |dst: &View, src: &View, list: &[Digit]| Op::Decompose {
        dst: dst.clone(),
        src: src.clone(),
        digits: digits(list),
        basis: b(),
    };
    let dot = |dst: &View, digits: &View, key: &Arc<[Buffer]>, rows: &[u32]| Op::GadgetDot {
        dst: dst.clone(),
        digits: digits.clone(),
        product: InnerProduct { key: Arc::clone(key), rows: basis(rows), basis: b(), plus: None, element: one },
    };
    let switch = |dst: &View, key: &Arc<[Buffer]>, list: &[Digit], plus: Option<View>| Op::KeySwitch {
        dst: dst.clone(),
        src: rows(&low, 0, 1),
        digits: digits(list),
        product: InnerProduct { key: Arc::clone(key), rows: basis(&p), basis: b(), plus, element: one },
    };
    let switch_from = |src: &View, key: &Arc<[Buffer]>, element| Op::KeySwitch {
        dst: v2.clone(),
        src: src.clone(),
        digits: digits(&[digit(0, 2)]),
        product: InnerProduct { key: Arc::clone(key), rows: basis(&p), basis: b(), plus: None, element },
    };
    let scale_add = |a: &View, list: &[u32]| Op::MulScalarAdd {
        dst: rows(&v6, 0, 2),
        a: a.clone(),
        scalars: scalars(list),
        basis: b(),
    };
    let pattern =
        |m: &mut Model, words: u32| m.hold(Shape { batch: 1, limbs: words, log_n: 0 }, vec![0; words as usize]);
    let (fitting, short) = (pattern(&mut m, 7).view(), pattern(&mut m, 6).view());
    let sparse = |weights: &View, pattern: &View, components| Op::CombineSparse {
        dst: v2.clone(),
        src: other.clone(),
        weights: weights.clone(),
        pattern: pattern.clone(),
        components,
        basis: b(),
    };
    let combine = |dst: &View, src: &View, weights: &View, components| Op::Combine {
        dst: dst.clone(),
        src: src.clone(),
        weights: weights.clone(),
        components,
        basis: b(),
    };
    let down = |dst: &View, src: &View, kept: &[u32], dropped: &[u32]| Op::ModDown {
        dst: dst.clone(),
        src: src.clone(),
        kept: basis(kept),
        dropped: basis(dropped),
        plus: None,
        element: GaloisElement::IDENTITY,
    };
    let down_plus = |plus: &View, element: GaloisElement| Op::ModDown {
        dst: low.clone(),
        src: other.clone(),
        kept: basis(&p[..2]),
        dropped: basis(&p[2..]),
        plus: Some(plus.clone()),
        element,
    };
    let extend = |dst: &View, src: &View, from: &[u32], to: &[u32]| Op::BasisExtend {
        dst: dst.clone(),
        src: src.clone(),
        from: basis(from),
        to: basis(to),
    };
    let add =
        |dst: &View, a: &View, c: &View, basis: Basis| Op::Add { dst: dst.clone(), a: a.clone(), b: c.clone(), basis };
    let scale = |list: &[u32]| Op::MulScalar { dst: v2.clone(), a: other.clone(), scalars: scalars(list), basis: b() };
    let shift = |list: &[u32]| Op::AddScalar { dst: v2.clone(), a: other.clone(), scalars: scalars(list), basis: b() };
    let table: Vec<(&str, Op)> = vec![
        ("a window past the last polynomial", Op::Zero { dst: outside(|v| v.first_poly = 1) }),
        ("a window past the last limb", Op::Zero { dst: outside(|v| v.first_limb = 1) }),
        ("a window that wraps around", Op::Zero { dst: outside(|v| v.first_poly = u32::MAX) }),
        ("an empty window", Op::Zero { dst: outside(|v| v.polys = 0) }),
        ("a window without limbs", Op::Zero { dst: outside(|v| v.limbs = 0) }),
        ("another ring's buffer", Op::Zero { dst: larger_ring.clone() }),
        ("residues over too few primes", Op::Uniform { dst: v2.clone(), seed: [1; 32], basis: basis(&p[..2]) }),
        ("residues over an unknown prime", Op::Uniform { dst: v2.clone(), seed: [1; 32], basis: basis(&[0, 1, 99]) }),
        ("another ring's source", Op::Copy { dst: v2.clone(), src: larger_ring.clone() }),
        ("copy of other limbs", Op::Copy { dst: v2.clone(), src: low.clone() }),
        ("copy that cannot repeat", Op::Copy { dst: v3.clone(), src: v2.clone() }),
        ("copy onto an overlap", Op::Copy { dst: rows(&v6, 0, 3), src: rows(&v6, 2, 3) }),
        ("copy onto shifted limbs", Op::Copy { dst: limbs(&v6, 0, 2), src: limbs(&v6, 1, 2) }),
        ("add over too few primes", add(&v2, &other, &other, basis(&p[..2]))),
        ("add over no primes", add(&v2, &other, &other, basis(&[]))),
        ("add over an unknown prime", add(&v2, &other, &other, basis(&[0, 1, 99]))),
        ("add with a source of other limbs", add(&v2, &other, &low, b())),
        ("add with too many polynomials", add(&v2, &v3, &other, b())),
        ("add with an overlapping source", add(&rows(&v6, 0, 2), &other, &rows(&v6, 1, 2), b())),
        ("mul onto an overlap", Op::Mul { dst: rows(&v6, 1, 2), a: rows(&v6, 0, 2), b: v2.clone(), basis: b() }),
        ("neg of a larger batch", Op::Neg { dst: v2.clone(), a: v6.clone(), basis: b() }),
        (
            "mul_add with a smaller window of its own",
            Op::MulAdd { dst: v2.clone(), a: rows(&v2, 0, 1), b: other.clone(), basis: b() },
        ),
        ("no scalars", scale(&[])),
        ("half a row of scalars", scale(&[1, 1, 1, 1])),
        ("scalar rows that do not divide the batch", scale(&[1; 9])),
        ("a scalar that is not reduced", scale(&[1, m.moduli[1], 1])),
        ("a shift that is not reduced", shift(&[1, 1, u32::MAX])),
        ("half a row of shifts", shift(&[1, 1])),
        ("a multiple that is not reduced", scale_add(&v2, &[1, 1, u32::MAX])),
        ("a multiple of an overlap", scale_add(&rows(&v6, 1, 2), &[1, 1, 1])),
        ("forward onto an overlap", Op::NttForward { dst: rows(&v6, 0, 2), src: rows(&v6, 1, 2), basis: b() }),
        (
            "inverse over an unknown prime",
            Op::NttInverse { dst: v2.clone(), src: v2.clone(), basis: basis(&[0, 1, 24]) },
        ),
        ("tensor in place", Op::Tensor { dst: v3.clone(), a: rows(&v3, 0, 2), b: v2.clone(), basis: b() }),
        ("tensor into the wrong batch", Op::Tensor { dst: v6.clone(), a: v2.clone(), b: other.clone(), basis: b() }),
        ("tensor of odd batches", Op::Tensor { dst: v3.clone(), a: rows(&v6, 0, 3), b: rows(&v6, 0, 3), basis: b() }),
        ("tensor of two sizes", Op::Tensor { dst: v3.clone(), a: v2.clone(), b: v6.clone(), basis: b() }),
        ("automorphism in place", Op::Automorphism { dst: v2.clone(), src: v2.clone(), element: one }),
        ("automorphism of a larger ring", Op::Automorphism { dst: v2.clone(), src: other.clone(), element: foreign }),
        ("automorphism of other limbs", Op::Automorphism { dst: v2.clone(), src: low.clone(), element: one }),
        ("conversion in place", extend(&v2, &v2, &p, &p)),
        ("conversion from sixteen", extend(&rows(&v2, 0, 1), &wide, &many, &p)),
        ("conversion from none", extend(&v2, &other, &[], &p)),
        ("conversion from a prime twice", extend(&v2, &other, &[0, 0, 1], &p)),
        ("conversion from an unknown prime", extend(&v2, &other, &[0, 1, 77], &p)),
        ("conversion to an unknown prime", extend(&v2, &other, &p, &[3, 4, 77])),
        ("conversion to other limbs", extend(&v2, &other, &p, &[3, 4])),
        ("conversion that cannot repeat", extend(&v3, &v2, &p, &[3, 4, 5])),
        ("digits with a gap", decompose(&rows(&v6, 0, 4), &low, &[digit(0, 1), digit(2, 1)])),
        ("digits that begin late", decompose(&v2, &low, &[digit(1, 1)])),
        ("an empty digit", decompose(&rows(&v6, 0, 4), &low, &[digit(0, 0), digit(0, 2)])),
        ("digits that are too long", decompose(&v2, &low, &[digit(0, 3)])),
        ("a digit that wraps around", decompose(&rows(&v6, 0, 4), &low, &[digit(0, 1), digit(1, u32::MAX)])),
        ("digits that stop early", decompose(&v2, &low, &[digit(0, 1)])),
        ("no digits", decompose(&v2, &low, &[])),
        ("digits into the wrong batch", decompose(&v3, &low, &[digit(0, 1), digit(1, 1)])),
        ("digits onto their source", decompose(&rows(&v6, 0, 2), &limbs(&rows(&v6, 1, 2), 0, 2), &[digit(0, 2)])),
        (
            "a digit of sixteen limbs",
            Op::Decompose {
                dst: seventeen,
                src: wide.clone(),
                digits: digits(&[digit(0, 16)]),
                basis: Basis::new(0..17),
            },
        ),
        ("no key", dot(&v2, &rows(&v6, 0, 1), &Arc::from([]), &p)),
        ("a key of three polynomials", dot(&v2, &rows(&v6, 0, 1), &long_key, &p)),
        ("a key without the limb", dot(&v2, &rows(&v6, 0, 1), &short_key, &p)),
        ("too few key rows", dot(&v2, &rows(&v6, 0, 1), &good_key, &p[..2])),
        ("more digits than keys", dot(&v2, &rows(&v6, 0, 2), &good_key, &p)),
        ("an odd batch", dot(&v3, &rows(&v6, 0, 1), &good_key, &p)),
        ("onto its digits", dot(&v2, &rows(&v2, 0, 1), &good_key, &p)),
        ("onto its key", dot(&good_key[0].view(), &rows(&v6, 0, 1), &good_key, &p)),
        ("a product plus too many polynomials", with_plus(dot(&v2, &rows(&v6, 0, 1), &good_key, &p), &v3)),
        ("a product plus an unknown form", with_plus(dot(&v2, &rows(&v6, 0, 1), &good_key, &p), &larger_ring)),
        ("a product plus its own memory", with_plus(dot(&v2, &rows(&v6, 0, 1), &good_key, &p), &v2)),
        ("a switch into the wrong batch", switch(&rows(&v6, 0, 4), &good_key, &[digit(0, 2)], None)),
        ("a switch with too few keys", switch(&v2, &good_key, &[digit(0, 1), digit(1, 1)], None)),
        ("a switch with a gap", switch(&v2, &good_key, &[digit(0, 1)], None)),
        ("a switch by a key without the limb", switch(&v2, &short_key, &[digit(0, 2)], None)),
        ("a switch plus too many polynomials", switch(&v2, &good_key, &[digit(0, 2)], Some(v3.clone()))),
        ("a switch onto its summand", switch(&v2, &good_key, &[digit(0, 2)], Some(rows(&v2, 0, 1)))),
        ("a switch onto its source", switch_from(&limbs(&rows(&v2, 1, 1), 0, 2), &good_key, one)),
        ("a switch onto its key", switch_from(&rows(&low, 0, 1), &Arc::from([v2.buffer.clone()]), one)),
        ("a switch and a foreign automorphism", switch_from(&rows(&low, 0, 1), &good_key, foreign)),
        ("a product and a foreign automorphism", turned(dot(&v2, &rows(&v6, 0, 1), &good_key, &p), foreign)),
        ("division plus too many polynomials", down_plus(&limbs(&v3, 0, 2), one)),
        ("division plus too few limbs", down_plus(&limbs(&v2, 0, 1), one)),
        ("division plus its own memory", down_plus(&rows(&low, 0, 1), one)),
        ("division and a foreign automorphism", down_plus(&limbs(&v2, 0, 2), foreign)),
        ("division in place", down(&limbs(&v2, 0, 2), &v2, &p[..2], &p[2..])),
        ("division by nothing", down(&v2, &other, &p, &[])),
        ("division that keeps nothing", down(&v2, &other, &[], &p)),
        ("division of other limbs", down(&low, &other, &p[..2], &[2, 3])),
        ("division of another batch", down(&low, &v6, &p[..2], &p[2..])),
        ("division by a prime that is kept", down(&low, &other, &[0, 1], &[1])),
        ("division by sixteen", down(&rows(&limbs(&v2, 0, 1), 0, 1), &seventeen_view(&mut m), &[16], &many)),
        ("no components", combine(&v2, &other, &weights, 0)),
        ("components that do not divide", combine(&v3, &v6, &weights, 2)),
        ("weights of another shape", combine(&v6, &v2, &weights, 1)),
        ("weights that are polynomials", combine(&v2, &other, &v6, 1)),
        ("weights of too few limbs", combine(&v2, &other, &limbs(&weights, 0, 2), 1)),
        ("combine in place", combine(&v2, &v2, &weights, 1)),
        ("a sparse matrix of no components", sparse(&weights, &fitting, 0)),
        ("sparse weights that are polynomials", sparse(&v6, &fitting, 1)),
        ("sparse weights of too few limbs", sparse(&limbs(&weights, 0, 2), &fitting, 1)),
        ("a pattern of another length", sparse(&weights, &short, 1)),
        ("a pattern that is a polynomial", sparse(&weights, &low, 1)),
    ];
    for (what, op) in table {
        let printed = op.to_string();
        match device.record(&m.ring, op.clone()) {
            Err(Error::BadProgram { op: name, reason }) => {
                assert_eq!(name, op.name());
                assert!(!reason.is_empty());
            }
            other => panic!("{what}: {printed} gave {other:?}"),
        }
    }
    // A refusal is not a failure of the device.
    m.check(Op::Copy { dst: v2, src: other });
}

fn with_plus(mut op: Op, view: &View) -> Op {
    if let Op::GadgetDot { product, .. } = &mut op {
        product.plus = Some(view.clone());
    }
    op
}

fn turned(mut op: Op, element: GaloisElement) -> Op {
    if let Op::GadgetDot { product, .. } = &mut op {
        product.element = element;
    }
    op
}

fn seventeen_view(m: &mut Model) -> View {
    m.view(1, &[&[16], &(0..16).collect::<Vec<u32>>()[..]].concat())
}
