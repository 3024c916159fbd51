//! The root of unity of a transform.

use crate::math::modulus::Modulus;
use crate::units::LogN;

/// The primitive `2N`-th root of unity that every transform uses: `-1`, and `log N` times a square root of it, the one that the
/// algorithm of Tonelli and Shanks finds from the smallest quadratic non-residue. Stored keys and ciphertexts depend on this choice.
///
/// `q` must be a prime `= 1 mod 2N`.
pub(in crate::math) fn primitive_root(modulus: Modulus, log_n: LogN) -> u32 {
    let minus_one = modulus.get() - 1;
    let residue = |z: u32| modulus.pow(z, minus_one / 2) == 1;
    let non_residue = (2..).find(|&z| !residue(z)).expect("half of all numbers");
    (0..log_n.get()).fold(minus_one, |root, _| square_root(modulus, non_residue, root))
}

/// A square root of `x`, which must have one.
///
/// # Source
/// Cohen, A Course in Computational Algebraic Number Theory, algorithm 1.5.1.
fn square_root(m: Modulus, non_residue: u32, x: u32) -> u32 {
    let twos = (m.get() - 1).trailing_zeros();
    let odd = (m.get() - 1) >> twos;
    let (mut root, mut rest) = (m.pow(x, odd.div_ceil(2)), m.pow(x, odd));
    let (mut generator, mut log_order) = (m.pow(non_residue, odd), twos);
    // root^2 = x rest, and the order of rest is a power of two below that of the generator.
    while rest != 1 {
        let powers = std::iter::successors(Some(rest), |&p| Some(m.mul(p, p)));
        let log_rest = (0..).zip(powers).find(|&(_, p)| p == 1).map_or(0, |(log, _)| log);
        let factor = m.pow(generator, 1 << (log_order - log_rest - 1));
        generator = m.mul(factor, factor);
        log_order = log_rest;
        rest = m.mul(rest, generator);
        root = m.mul(root, factor);
    }
    root
}
