//! Measured noise against its formulas, on both sides: within 15 % of the predicted standard deviation. Seeds are fixed and
//! every measurement has at least 12288 coefficients, so that its own error is below 1 % (rounding by the secret, whose
//! weight is one draw: below 3 %).
//!
//! Errors are measured in coefficients, in units of one: slots of the difference go back through the embedding and are
//! multiplied by the scale. Throughout, `N` is the ring dimension, `sigma = 3.2` the error of encryptions and keys, and a
//! uniform ternary secret has coefficients of variance 2/3, so that a product with it sums `2N/3` terms.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::ckks::Parameters;
use ringlight::ckks::{Ciphertext, Decryptor, Encoder, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest};
use ringlight::math::{Embedding, Seed};
use ringlight::units::Level;

const SIGMA: f64 = 3.2;
/// Variance of rounding to the nearest integer.
const ROUNDING: f64 = 1.0 / 12.0;

type Vectors = Vec<Vec<Complex64>>;

struct Bench {
    p: Parameters,
    n: f64,
    secret: Encryptor,
    public: Encryptor,
    dec: Decryptor,
    evals: Vec<Evaluator>,
}

impl Bench {
    fn new(p: Parameters) -> Self {
        let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([9; 32]));
        let request = KeyRequest::new().relinearization(true).rotations([1]).conjugation(true);
        let evaluation = keys.evaluation_keys(&request).unwrap();
        let public = Encryptor::with_public_key_and_seed(&p, keys.public_key(), &Seed::from_bytes([8; 32])).unwrap();
        let evals = devices().iter().map(|device| Evaluator::new(&p, device, &evaluation).unwrap()).collect();
        Self { n: p.log_n().degree() as f64, secret: keys.encryptor(), public, dec: keys.decryptor(), evals, p }
    }

    fn vectors(&self, salt: u64) -> Vectors {
        let mut inputs = Inputs::new(salt);
        (0..3).map(|_| inputs.complex(self.p.slots())).collect()
    }

    /// Standard deviation and largest magnitude of the coefficients' errors.
    fn errors(&self, c: &HostCiphertext, want: &Vectors) -> (f64, f64) {
        let embedding = Embedding::new(self.p.log_n());
        let (mut sum, mut largest, mut count) = (0.0, 0f64, 0.0);
        for (got, want) in self.dec.decrypt(c).unwrap().iter().zip(want) {
            let difference: Vec<Complex64> = got.iter().zip(want).map(|(g, w)| g - w).collect();
            for error in embedding.to_coefficients(&difference) {
                let error = error * c.scale();
                sum += error * error;
                largest = largest.max(error.abs());
                count += 1.0;
            }
        }
        ((sum / count).sqrt(), largest)
    }

    /// The standard deviation is the predicted one, and no coefficient is eight of them away.
    fn within(&self, what: &str, c: &HostCiphertext, want: &Vectors, variance: f64) -> f64 {
        let (predicted, (measured, largest)) = (variance.sqrt(), self.errors(c, want));
        let ratio = measured / predicted;
        println!("{what}: predicted {predicted:.3e}, measured {measured:.3e} ({ratio:.3}), largest {largest:.3e}");
        assert!((0.85..1.15).contains(&ratio), "{what}, {}: {measured:e} for {predicted:e}", self.p);
        assert!(largest < 8.0 * predicted, "{what}, {}: {largest:e} for {predicted:e}", self.p);
        largest
    }

    fn load(&self, eval: &Evaluator, x: &Vectors) -> Ciphertext {
        eval.load(&self.secret.encrypt_complex(x, self.p.max_level()).unwrap()).unwrap()
    }

    /// A fresh encryption with the secret key: its Gaussian error, and the rounding of the encoding.
    fn fresh(&self) -> f64 {
        SIGMA * SIGMA + ROUNDING
    }

    /// Dividing both components of a pair and rounding: `r0 + r1 s` with `r0`, `r1` uniform in `[-1/2, 1/2]`.
    fn rounding(&self) -> f64 {
        ROUNDING * (1.0 + 2.0 * self.n / 3.0)
    }

    /// `sum_d digit_d e_d` divided by `P`: a centred digit modulo `D_d` has variance `D_d^2 / 12` a coefficient and meets `N`
    /// errors of the key. Then the division's rounding.
    fn key_switch(&self, level: Level) -> f64 {
        let moduli = self.p.moduli();
        let rlwe = self.p.rlwe();
        let bits = |list: &[u32]| list.iter().map(|&q| f64::from(q).log2()).sum::<f64>();
        let special = bits(&moduli[rlwe.chain().0 as usize..]);
        let digits = rlwe.digits(self.p.limbs_at(level).unwrap());
        let digit = |first: u32, limbs: u32| bits(&moduli[first as usize..(first + limbs) as usize]);
        let ratios = digits.iter().map(|d| (2.0 * (digit(d.first, d.limbs) - special)).exp2());
        self.n * SIGMA * SIGMA / 12.0 * ratios.sum::<f64>() + self.rounding()
    }
}

/// `E |z|^2` of the vectors' entries.
fn power(x: &Vectors) -> f64 {
    x.iter().flatten().map(|z| z.norm_sqr()).sum::<f64>() / x.iter().map(Vec::len).sum::<usize>() as f64
}

fn zip(a: &Vectors, b: &Vectors, f: impl Fn(Complex64, Complex64) -> Complex64) -> Vectors {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()).collect()
}

/// A toy with few special primes for its digits, one with a small digit, and a secure set: in the first the keys' errors
/// outweigh the rounding, in the second the rounding outweighs the keys' errors.
fn benches() -> Vec<Bench> {
    let toy = |bits, digits| Parameters::builder().log_n(12).scale_bits(bits).levels(3).digits(digits).insecure_build();
    [toy(30, 5), toy(26, 2), Parameters::n13()].into_iter().map(|p| Bench::new(p.unwrap())).collect()
}

#[test]
fn fresh_encryptions_have_their_stated_noise() {
    for bench in benches() {
        let x = bench.vectors(1);
        let top = bench.p.max_level();
        // (-a s + e + m, a)
        let c = bench.secret.encrypt_complex(&x, top).unwrap();
        bench.within("secret key", &c, &x, bench.fresh());
        // (b u + e0 + m, a u + e1) with b = -a s + e leaves e u + e0 + e1 s: two products of N terms with variance 2/3.
        let c = bench.public.encrypt_complex(&x, top).unwrap();
        let variance = SIGMA * SIGMA * (4.0 * bench.n / 3.0 + 1.0) + ROUNDING;
        bench.within("public key", &c, &x, variance);
        // Levels have nothing to do with it.
        let c = bench.secret.encrypt_complex(&x, Level(0)).unwrap();
        bench.within("secret key at level 0", &c, &x, bench.fresh());
    }
}

#[test]
fn encoding_rounds_to_half_a_unit() {
    for bench in benches() {
        for eval in &bench.evals {
            // A factor encoded at the small scale 2^6 makes its rounding visible: the product's error, in units of that scale, is
            // (1 in every slot) * rounding, next to which e * factor / 2^28 vanishes.
            let ones = vec![vec![Complex64::ONE; bench.p.slots()]; 3];
            let factor = bench.vectors(2);
            let small = 6f64.exp2();
            let plain = Encoder::new(&bench.p).encode_at(&factor, bench.p.max_level(), small).unwrap();
            let product = eval.mul_plain(&bench.load(eval, &ones), &eval.load_plaintext(&plain).unwrap()).unwrap();
            let scale = bench.p.scale_at(bench.p.max_level()).unwrap();
            let own = bench.fresh() * small * small * power(&factor);
            let largest =
                bench.within("encoding", &product.to_host().unwrap(), &factor, ROUNDING * scale * scale + own);
            assert!(largest / scale < 0.5 + 1e-3, "rounding by more than a half");
        }
    }
}

#[test]
fn plain_products_have_their_stated_noise() {
    for bench in benches() {
        for eval in &bench.evals {
            let (x, y) = (bench.vectors(3), bench.vectors(4));
            let top = bench.p.max_level();
            let scale = bench.p.scale_at(top).unwrap();
            let plain = eval.load_plaintext(&Encoder::new(&bench.p).encode(&y, top).unwrap()).unwrap();
            let product = eval.mul_plain(&bench.load(eval, &x), &plain).unwrap();
            // e * (scale y) + (scale x) * rounding: slot by slot, so that variances multiply with the mean |y|^2 and |x|^2.
            let variance = scale * scale * (bench.fresh() * power(&y) + ROUNDING * power(&x));
            let want = zip(&x, &y, |x, y| x * y);
            bench.within("mul_plain", &product.to_host().unwrap(), &want, variance);
            // A rescale divides it by q and adds its rounding.
            let rescaled = eval.rescale(&product).unwrap();
            let q = product.scale() / rescaled.scale();
            bench.within("rescaled", &rescaled.to_host().unwrap(), &want, variance / (q * q) + bench.rounding());
            // A scalar: the factor is one integer, whose rounding is the same for every slot and no noise in the scalar's sense.
            let scaled = eval.mul_scalar(&bench.load(eval, &x), 0.5, 1024.0).unwrap();
            let half = zip(&x, &x, |x, _| x * 0.5);
            bench.within("mul_scalar", &scaled.to_host().unwrap(), &half, 512.0 * 512.0 * bench.fresh());
        }
    }
}

#[test]
fn rescaling_adds_its_rounding_and_no_more() {
    for bench in benches() {
        for eval in &bench.evals {
            // Times (q - 1) / 2, then divided by q: about half the fresh error comes back, and the rounding r0 + r1 s is added.
            // (Times q there would be nothing to round.)
            let x = bench.vectors(5);
            let a = bench.load(eval, &x);
            let below = Level(bench.p.max_level().0 - 1);
            let (high, low) = (bench.p.limbs_at(bench.p.max_level()).unwrap().0, bench.p.limbs_at(below).unwrap().0);
            assert_eq!(high - low, 1);
            let q = f64::from(bench.p.moduli()[low as usize]);
            let c = eval.rescale(&eval.mul_scalar(&a, 1.0, (q - 1.0) / 2.0).unwrap()).unwrap();
            assert!((c.scale() / a.scale() - 0.5).abs() < 1e-6);
            let exact = bench.fresh() / 4.0 + bench.rounding();
            let largest = bench.within("rescale", &c.to_host().unwrap(), &x, exact);
            // The stated worst case is (1 + h) / 2, with a weight h of about 2N/3; the rest is the fresh error.
            assert!(largest < (1.0 + 2.0 * bench.n / 3.0) / 2.0 + 8.0 * SIGMA);
        }
    }
}

#[test]
fn key_switching_has_its_stated_noise() {
    for bench in benches() {
        let (slots, top) = (bench.p.slots(), bench.p.max_level());
        for eval in &bench.evals {
            let x = bench.vectors(6);
            for level in [top, Level(1), Level(0)] {
                let a = eval.truncate(&bench.load(eval, &x), level).unwrap();
                let turned: Vectors = x.iter().map(|v| (0..slots).map(|k| v[(k + 1) % slots]).collect()).collect();
                let c = eval.rotate(&a, 1).unwrap().to_host().unwrap();
                let variance = bench.fresh() + bench.key_switch(level);
                bench.within(&format!("rotate at level {}", level.0), &c, &turned, variance);
                let conjugate = zip(&x, &x, |z, _| z.conj());
                bench.within("conjugate", &eval.conjugate(&a).unwrap().to_host().unwrap(), &conjugate, variance);
            }
            // Relinearization alone: the same product before and after, so that nothing but the switch is left.
            let product = eval.multiply(&bench.load(eval, &x), &bench.load(eval, &x)).unwrap();
            let before = bench.dec.decrypt(&product.to_host().unwrap()).unwrap();
            let after = eval.relinearize(&product).unwrap().to_host().unwrap();
            bench.within("relinearize", &after, &before, bench.key_switch(top));
        }
    }
}

#[test]
fn products_have_their_stated_noise() {
    for bench in benches() {
        for eval in &bench.evals {
            let (x, y) = (bench.vectors(7), bench.vectors(8));
            let top = bench.p.max_level();
            let scale = bench.p.scale_at(top).unwrap();
            let (a, b) = (bench.load(eval, &x), bench.load(eval, &y));
            let want = zip(&x, &y, |x, y| x * y);
            // e_x (scale y) + e_y (scale x) + e_x e_y, the last a product of N terms.
            let fresh = bench.fresh();
            let product = scale * scale * fresh * (power(&x) + power(&y)) + bench.n * fresh * fresh;
            bench.within("multiply", &eval.multiply(&a, &b).unwrap().to_host().unwrap(), &want, product);
            let fused = eval.mul(&a, &b).unwrap();
            let q = scale * scale / fused.scale();
            // Fused: the switch's errors are divided by q too, and both roundings are one.
            let switched = (bench.key_switch(top) - bench.rounding()) / (q * q);
            let stated = product / (q * q) + switched + bench.rounding();
            bench.within("mul", &fused.to_host().unwrap(), &want, stated);
            let slow = eval.rescale(&eval.relinearize(&eval.multiply(&a, &b).unwrap()).unwrap()).unwrap();
            bench.within("multiply, relinearize, rescale", &slow.to_host().unwrap(), &want, stated);
        }
    }
}
