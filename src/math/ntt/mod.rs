//! The negacyclic number-theoretic transform on the host.
//!
//! Harvey's lazy butterflies: values stay below `4q < 2^32` (forward) or `2q` (inverse) between stages, constant factors carry
//! Shoup quotients, and only the last stage reduces. `N`, `psi` and the order of the outputs are those of [`super::Prime`]; the
//! passes over memory are described at `stages`. Every instruction set gets the same canonical results.
//!
//! # Source
//! Harvey, Faster arithmetic for number-theoretic transforms, arXiv 1205.2926; Longa and Naehrig, ePrint 2016/504, for the order
//! without a separate twist.

mod lanes;
mod root;
mod stages;

use super::modulus::Modulus;
use crate::units::LogN;
#[cfg(target_arch = "x86_64")]
use lanes::{Avx2, Avx512};
use lanes::{Lanes, Portable, Root};
use pulp::{Arch, NullaryFnOnce};
use stages::{Field, Roots};

pub(super) use root::primitive_root;

/// The tables of one prime, and the code to run them.
pub(super) struct Transform {
    modulus: Modulus,
    n: usize,
    /// `1/N`.
    inverse_n: u32,
    /// The root of the inverse's last stage.
    last: u32,
    tables: Tables,
}

enum Tables {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4, Both<Avx512>),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3, Both<Avx2>),
    Portable(Both<Portable>),
}

/// The roots of both directions.
struct Both<L: Lanes> {
    forward: Roots<L>,
    inverse: Roots<L>,
}

impl Transform {
    /// The transform with `psi` for an instruction set.
    pub(super) fn new(arch: Arch, modulus: Modulus, psi: u32, log_n: LogN) -> Self {
        let nodes = nodes(modulus, psi, log_n);
        let inverse_n = modulus.inv(1 << log_n.get());
        let last = opposite(modulus, &nodes, 1).value;
        let tables = match arch {
            #[cfg(target_arch = "x86_64")]
            Arch::V4(simd) => Tables::Avx512(simd, Both::new(modulus, &nodes, log_n)),
            #[cfg(target_arch = "x86_64")]
            Arch::V3(simd) => Tables::Avx2(simd, Both::new(modulus, &nodes, log_n)),
            _ => Tables::Portable(Both::new(modulus, &nodes, log_n)),
        };
        Self { modulus, n: nodes.len(), inverse_n, last, tables }
    }

    /// Words in `[0, 4q)` to canonical residues.
    pub(super) fn forward(&self, words: &mut [u32]) {
        assert_eq!(words.len(), self.n, "one row");
        let q = self.modulus.get();
        debug_assert!(words.iter().all(|&x| x < 4 * q));
        match &self.tables {
            #[cfg(target_arch = "x86_64")]
            Tables::Avx512(simd, both) => simd.vectorize(Forward(Avx512::new(*simd), q, both, words)),
            #[cfg(target_arch = "x86_64")]
            Tables::Avx2(simd, both) => simd.vectorize(Forward(Avx2::new(*simd), q, both, words)),
            Tables::Portable(both) => Forward(Portable, q, both, words).call(),
        }
    }

    /// `factor` times the inverse: words in `[0, 2q)` to canonical residues.
    pub(super) fn inverse(&self, words: &mut [u32], factor: u32) {
        assert_eq!(words.len(), self.n, "one row");
        let q = self.modulus.get();
        debug_assert!(factor < q && words.iter().all(|&x| x < 2 * q));
        let scale = self.modulus.mul(self.inverse_n, factor);
        let ends = [scale, self.modulus.mul(scale, self.last)].map(|value| root(self.modulus, value));
        match &self.tables {
            #[cfg(target_arch = "x86_64")]
            Tables::Avx512(simd, both) => simd.vectorize(Inverse(Avx512::new(*simd), q, both, words, ends)),
            #[cfg(target_arch = "x86_64")]
            Tables::Avx2(simd, both) => simd.vectorize(Inverse(Avx2::new(*simd), q, both, words, ends)),
            Tables::Portable(both) => Inverse(Portable, q, both, words, ends).call(),
        }
    }
}

impl<L: Lanes> Both<L> {
    fn new(modulus: Modulus, nodes: &[Root], log_n: LogN) -> Self {
        Self { forward: Roots::new(log_n, |k| nodes[k]), inverse: Roots::new(log_n, |k| opposite(modulus, nodes, k)) }
    }
}

/// A forward transform as a function object: closures are not inlined into code for a wider instruction set.
struct Forward<'a, L: Lanes>(L, u32, &'a Both<L>, &'a mut [u32]);

impl<L: Lanes> NullaryFnOnce for Forward<'_, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(lanes, q, both, words) = self;
        stages::forward(Field::new(lanes, q), &both.forward, bytemuck::cast_slice_mut(words));
    }
}

/// The same for an inverse, with the factors of its last stage.
struct Inverse<'a, L: Lanes>(L, u32, &'a Both<L>, &'a mut [u32], [Root; 2]);

impl<L: Lanes> NullaryFnOnce for Inverse<'_, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(lanes, q, both, words, [scale, last]) = self;
        stages::inverse(Field::new(lanes, q), &both.inverse, bytemuck::cast_slice_mut(words), scale, last);
    }
}

fn root(modulus: Modulus, value: u32) -> Root {
    Root { value, quotient: modulus.shoup(value) }
}

/// `psi^brv(k)` for every node `k`.
fn nodes(modulus: Modulus, psi: u32, log_n: LogN) -> Vec<Root> {
    let mut values = vec![1; log_n.degree()];
    for level in 0..log_n.get() {
        // Node 2^l + i has the exponent of node i and N / 2^(l + 1) more.
        let factor = modulus.pow(psi, 1 << (log_n.get() - level - 1));
        let (known, rest) = values.split_at_mut(1 << level);
        rest.iter_mut().zip(known).for_each(|(out, x)| *out = modulus.mul(*x, factor));
    }
    values.into_iter().map(|value| root(modulus, value)).collect()
}

/// The inverse of node `k`.
fn opposite(modulus: Modulus, nodes: &[Root], k: usize) -> Root {
    match k {
        0 => nodes[0],
        // The nodes of a level come in pairs of exponents that sum to N, and psi^N = -1. The quotient of q - w is one less than
        // 2^32 minus that of w, as w 2^32 / q is no integer.
        _ => {
            let mirror = nodes[(3 << k.ilog2()) - 1 - k];
            Root { value: modulus.get() - mirror.value, quotient: !mirror.quotient }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::{ntt_primes_below, ntt_primes_near, simd};
    use tfhe_ntt::prime32::Plan;

    /// Primes of all sizes for a ring.
    fn primes(log_n: LogN) -> Vec<u32> {
        let near = |bits: f64| ntt_primes_near(bits.exp2(), log_n).take(2);
        ntt_primes_below(1 << 30, log_n).take(3).chain(near(29.0)).chain(near(26.3)).chain(near(20.0)).collect()
    }

    fn words(q: u32, log_n: LogN) -> Vec<u32> {
        let n = u32::try_from(log_n.degree()).unwrap();
        (0..n).map(|i| (i ^ q).wrapping_mul(2_654_435_761) % q).collect()
    }

    #[test]
    fn every_instruction_set_has_the_transform_of_the_definition() {
        let log_n = LogN::new(10).unwrap();
        for q in primes(log_n) {
            let m = Modulus::new(q).unwrap();
            let psi = primitive_root(m, log_n);
            let words = words(q, log_n);
            let by_definition: Vec<u32> = (0..1u32 << 10)
                .map(|i| {
                    let point = m.pow(psi, 2 * (i.reverse_bits() >> 22) + 1);
                    words.iter().rev().fold(0, |sum, &c| m.add(m.mul(sum, point), c))
                })
                .collect();
            for simd::Set { name, arch, .. } in simd::available() {
                let transform = Transform::new(arch, m, psi, log_n);
                let mut got = words.clone();
                transform.forward(&mut got);
                assert_eq!(got, by_definition, "{name}, {q}");
                transform.inverse(&mut got, 1);
                assert_eq!(got, words, "{name}, {q}");
            }
        }
    }

    #[test]
    fn every_size_equals_tfhe_ntt_and_takes_lazy_inputs() {
        for log_n in LogN::MIN..=LogN::MAX {
            let log_n = LogN::new(log_n).unwrap();
            for q in primes(log_n) {
                let m = Modulus::new(q).unwrap();
                let psi = primitive_root(m, log_n);
                let plan = Plan::try_new(log_n.degree(), q).unwrap();
                let words = words(q, log_n);
                let mut expected = words.clone();
                plan.fwd(&mut expected);
                for simd::Set { name, arch, .. } in simd::available() {
                    let transform = Transform::new(arch, m, psi, log_n);
                    // Any representative below 4q, the largest ones too, and below 2q back.
                    let mut got: Vec<u32> = words.iter().zip(0u32..).map(|(x, i)| x + (3 - i % 4) * q).collect();
                    got[7] = 4 * q - 1;
                    let mut odd = words.clone();
                    odd[7] = q - 1;
                    plan.fwd(&mut odd);
                    transform.forward(&mut got);
                    assert_eq!(got, odd, "{name}, {q}, {log_n:?}");
                    got.iter_mut().zip(&expected).zip(0u32..).for_each(|((x, e), i)| *x = e + i % 2 * q);
                    transform.inverse(&mut got, q - 3);
                    assert!(got.iter().zip(&words).all(|(y, x)| *y == m.mul(*x, q - 3)), "{name}, {q}, {log_n:?}");
                }
            }
        }
    }

    #[test]
    fn roots_are_those_of_tfhe_ntt() {
        for log_n in LogN::MIN..=LogN::MAX {
            let log_n = LogN::new(log_n).unwrap();
            let few = ntt_primes_near(27f64.exp2(), log_n).take(20);
            for q in primes(log_n).into_iter().chain(few).chain(ntt_primes_below(1 << 22, log_n).take(5)) {
                // Its root is the value of X at its output 0.
                let mut x = vec![0; log_n.degree()];
                x[1] = 1;
                Plan::try_new(log_n.degree(), q).unwrap().fwd(&mut x);
                assert_eq!(primitive_root(Modulus::new(q).unwrap(), log_n), x[0], "{q}, {log_n:?}");
            }
        }
    }
}
