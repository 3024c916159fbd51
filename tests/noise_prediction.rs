//! The predicted noise of `ckks::NoiseEstimator` against decryptions: one circuit, read in the clear for the message, by the
//! estimator for the error, and encrypted for both. Every operation is measured from one half to twice its prediction (Chebyshev
//! polynomials: up to twice), and never above its bound.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::Result;
use ringlight::circuit::{self, Plan};
use ringlight::circuit::{Clear, DiagonalMatrix, Evaluator as _, LinearTransform, Matrix, Polynomial, inner_sum};
use ringlight::ckks::{Decryptor, Encryption, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest};
use ringlight::ckks::{Magnitude, NoiseEstimator, NoiseValue, Parameters, Precision};
use ringlight::math::{Embedding, Seed};
use ringlight::units::Level;

type Vectors = Vec<Vec<Complex64>>;
const BATCH: usize = 2;

/// Every operation once, from two inputs at the top of the chain.
fn operations<E: circuit::Evaluator>(
    eval: &E,
    [a, b]: [&E::Value; 2],
    factor: &Vectors,
    top: Level,
) -> Result<Vec<(&'static str, E::Value)>> {
    let plain = eval.encode(factor, top)?;
    let one = eval.encode(&factor[..1], top)?;
    let constant = eval.encode(&[vec![Complex64::from(0.7); eval.slots()]], top)?;
    let weights = Matrix::new(3, BATCH, vec![0.7, -0.2, 1.0, 0.3, 0.0, -0.9])?;
    let weights = eval.encode_weights(&weights, top)?;
    let turned = eval.rotate_hoisted(a, &[1, 5, 0])?;
    let product = eval.mul(a, b)?;
    let low = eval.drop_to(a, Level(0))?;
    let copy = eval.drop_to(a, top)?;
    let below = Level(top.0 - 1);
    // Baby steps alone, and with giant steps after them: the diagonals 0 to 3, and every third.
    let diagonals = |step: usize| (0..16).step_by(step).map(|k| (k, factor[0][16 * k..16 * (k + 1)].to_vec()));
    let narrow = LinearTransform::with_baby_steps(16, diagonals(1).take(4), 4)?;
    let wide = LinearTransform::with_baby_steps(16, diagonals(3), 4)?;
    let [narrow, wide] = [eval.encode_transform(&narrow, top)?, eval.encode_transform(&wide, top)?];
    Ok(vec![
        ("rotated twice", eval.rotate(&eval.rotate(a, 1)?, 5)?),
        ("sum", eval.add(a, b)?),
        ("three times", eval.add(&eval.add(a, &copy)?, a)?),
        ("twice a square", eval.mul(&eval.add(a, a)?, a)?),
        ("minus a square", eval.mul(&eval.neg(a)?, &copy)?),
        ("doubled", eval.add(a, a)?),
        ("difference", eval.sub(a, b)?),
        ("negative", eval.neg(a)?),
        ("plus known", eval.add_plain(a, &plain)?),
        ("plus scalar", eval.add_scalar(a, 0.3)?),
        ("plus scalars", eval.add_scalars(a, &[0.3, -1.7])?),
        ("times scalar", eval.mul_scalar(a, 0.37)?),
        ("times one", eval.mul_scalar(a, 1.0)?),
        ("times large scalar", eval.mul_scalar(a, -3000.0)?),
        ("product", eval.mul(a, b)?),
        ("product with itself", eval.mul(a, a)?),
        ("square", eval.square(a)?),
        ("fourth power", eval.square(&eval.square(a)?)?),
        ("product of products", eval.mul(&product, &eval.drop_to(a, eval.level(&product))?)?),
        ("known product", eval.dot_plain(&[(a, &one)])?),
        ("product with a constant", eval.dot_plain(&[(a, &constant)])?),
        ("known inner product", eval.dot_plain(&[(a, &plain), (b, &one), (&turned[0], &plain)])?),
        ("transformed", eval.transform(a, &narrow)?),
        ("transformed in two steps", eval.transform(a, &wide)?),
        ("sum of products", eval.dot(&[(a, b), (b, b)], &[(a, 0.3), (b, -2.0)], below)?),
        ("sum of multiples", eval.dot_scalars(&[(a, 0.3), (b, -2.0)], below)?),
        ("times i", eval.mul_i(a)?),
        ("rotated", eval.rotate(a, 1)?),
        ("not rotated", eval.rotate(a, 0)?),
        ("conjugate", eval.conjugate(a)?),
        ("mixed", eval.combine(&[(a, &weights)])?),
        ("mixed from two", eval.combine(&[(a, &weights), (b, &weights)])?),
        ("dropped by one", eval.drop_to(a, below)?),
        ("rotated at the bottom", eval.rotate(&low, 1)?),
        ("sum of neighbours", inner_sum(eval, a, 8)?),
        ("hoisted", turned.into_iter().nth(1).unwrap()),
        ("dropped to the bottom", low),
    ])
}

struct Bench {
    p: Parameters,
    encryptor: Encryptor,
    kind: Encryption,
    dec: Decryptor,
    eval: Evaluator,
    inputs: Vec<Vectors>,
}

impl Bench {
    fn new(p: Parameters, kind: Encryption) -> Self {
        let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([6; 32]));
        let mut inputs = Inputs::new(11);
        let mut vectors = || (0..BATCH).map(|_| inputs.complex(p.slots())).collect();
        let inputs: Vec<Vectors> = vec![vectors(), vectors(), vectors()];
        let plan = Plan::new(p.slots());
        let planned = plan.drop_to(&plan.input(BATCH), p.max_level()).unwrap();
        operations(&plan, [&planned, &planned.clone()], &inputs[2], p.max_level()).unwrap();
        let evaluation = keys.evaluation_keys(&KeyRequest::from(&plan.report())).unwrap();
        let encryptor = match kind {
            Encryption::SecretKey => keys.encryptor(),
            Encryption::PublicKey => {
                Encryptor::with_public_key_and_seed(&p, keys.public_key(), &Seed::from_bytes([7; 32])).unwrap()
            }
        };
        let eval = Evaluator::new(&p, &devices()[0], &evaluation).unwrap();
        Self { encryptor, kind, dec: keys.decryptor(), eval, inputs, p }
    }

    /// Uniform in a square of side 2: a mean square of 2/3, at most the root of 2.
    fn magnitude() -> Magnitude {
        Magnitude::new((2.0f64 / 3.0).sqrt(), 2f64.sqrt()).unwrap()
    }

    /// Standard deviation of the coefficients' errors, of the noisiest vector.
    fn measured(&self, c: &HostCiphertext, want: &[Vec<Complex64>]) -> f64 {
        let embedding = Embedding::new(self.p.log_n());
        let deviation = |(got, want): (&Vec<Complex64>, &Vec<Complex64>)| {
            let difference: Vec<Complex64> = got.iter().zip(want).map(|(g, w)| g - w).collect();
            let errors = embedding.to_coefficients(&difference);
            (errors.iter().map(|e| (e * c.scale()).powi(2)).sum::<f64>() / errors.len() as f64).sqrt()
        };
        self.dec.decrypt(c).unwrap().iter().zip(want).map(deviation).fold(0.0, f64::max)
    }

    fn check(&self, name: &str, predicted: &NoiseValue, c: &HostCiphertext, want: &[Vec<Complex64>]) {
        assert_eq!(predicted.level(), c.level(), "{name}");
        assert_eq!(predicted.scale(), c.scale(), "{name}");
        let (expected, got) = (predicted.coefficient_deviation(), self.measured(c, want));
        let (ratio, of_bound) = (got / expected, got / predicted.worst_deviation());
        println!(
            "{name:>24}: predicted 2^{:5.2}, measured {ratio:.3} of it, {of_bound:.3} of its bound",
            expected.log2()
        );
        // No lower side for Chebyshev polynomials: see the limits of the estimator.
        let least = if name.starts_with("Chebyshev") { 0.0 } else { 0.5 };
        assert!((least..2.0).contains(&ratio), "{name}, {}: {got:e} measured, {expected:e} predicted", self.p);
        // The bound is on the deviation behind the sample, whose own is within a few per cent.
        assert!(of_bound < 1.05, "{name}, {}: {got:e} above {:e}", self.p, predicted.worst_deviation());
        let bound = predicted.message().bound;
        assert!(want.iter().flatten().all(|z| z.norm() <= bound * (1.0 + 1e-9)), "{name}: a message above {bound}");
    }

    fn run(&self) {
        println!("{}, {:?}", self.p, self.kind);
        let top = self.p.max_level();
        let clear = Clear::new(self.p.slots(), top);
        let noise = NoiseEstimator::new(&self.p);
        let (x, y, factor) = (&self.inputs[0], &self.inputs[1], &self.inputs[2]);
        let messages = [x, y].map(|v| clear.value(v, top).unwrap());
        let fresh = [x, y].map(|_| noise.fresh(self.kind, BATCH, top, Self::magnitude()).unwrap());
        let hosts = [x, y].map(|v| self.encryptor.encrypt_complex(v, top).unwrap());
        self.check("fresh", &fresh[0], &hosts[0], x);
        let loaded = hosts.map(|c| self.eval.load(&c).unwrap());
        let want = operations(&clear, messages.each_ref(), factor, top).unwrap();
        let predicted = operations(&noise, fresh.each_ref(), factor, top).unwrap();
        let encrypted = operations(&self.eval, loaded.each_ref(), factor, top).unwrap();
        for (((name, want), (_, predicted)), (_, c)) in want.iter().zip(&predicted).zip(&encrypted) {
            self.check(name, predicted, &c.to_host().unwrap(), want.vectors());
        }
    }
}

fn toy(log_n: u32, bits: u32, digits: u32) -> Parameters {
    let set = Parameters::builder().log_n(log_n).scale_bits(bits).levels(3).digits(digits).headroom_bits(20);
    set.insecure_build().unwrap()
}

#[test]
fn one_limb_a_level() {
    Bench::new(toy(13, 30, 5), Encryption::SecretKey).run();
    Bench::new(toy(13, 28, 2), Encryption::PublicKey).run();
}

#[test]
fn two_limbs_a_level() {
    Bench::new(toy(13, 50, 4), Encryption::PublicKey).run();
    Bench::new(toy(14, 44, 9), Encryption::SecretKey).run();
}

/// A matrix and a polynomial in one circuit, with real messages: the precision of the report is the predicted one.
#[test]
fn a_circuit_has_the_predicted_precision() {
    let p = toy(13, 50, 3);
    let mut inputs = Inputs::new(5);
    let matrix = Matrix::new(16, 16, (0..256).map(|_| inputs.real()).collect()).unwrap();
    let matrix = DiagonalMatrix::new(matrix).unwrap();
    let vector: Vec<f64> = (0..16).map(|_| inputs.real()).collect();
    let slots: Vec<Complex64> = (0..p.slots()).map(|i| vector[i % 16].into()).collect();

    fn layer<E: circuit::Evaluator>(eval: &E, matrix: &DiagonalMatrix, x: &E::Value) -> Result<E::Value> {
        let y = matrix.prepare(eval, eval.level(x))?.apply(eval, x)?;
        let square = eval.square(&eval.mul_scalar(&y, 0.25)?)?;
        eval.add_scalar(&square, 0.5)
    }
    let top = p.max_level();
    let plan = Plan::new(p.slots());
    layer(&plan, &matrix, &plan.input(1)).unwrap();
    let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([1; 32]));
    let evaluation = keys.evaluation_keys(&KeyRequest::from(&plan.report())).unwrap();
    let eval = Evaluator::new(&p, &devices()[0], &evaluation).unwrap();
    let clear = Clear::new(p.slots(), top);
    let want = layer(&clear, &matrix, &clear.value(std::slice::from_ref(&slots), top).unwrap()).unwrap();

    let noise = NoiseEstimator::new(&p);
    let rms = (vector.iter().map(|x| x * x).sum::<f64>() / 16.0).sqrt();
    let x = noise.fresh(Encryption::SecretKey, 1, top, Magnitude::new(rms, 1.0).unwrap()).unwrap();
    let predicted = layer(&noise, &matrix, &x).unwrap();
    let c = eval.load(&keys.encryptor().encrypt_complex(&[slots], top).unwrap()).unwrap();
    let got = keys.decryptor().decrypt(&layer(&eval, &matrix, &c).unwrap().to_host().unwrap()).unwrap();
    let report = Precision::of(&want.vectors()[0], &got[0]).unwrap();
    println!("{predicted}\n{report:#}");
    assert!((report.mean_bits - predicted.mean_bits()).abs() < 1.0, "{report}; {predicted}");
    assert!((report.min_bits - predicted.min_bits()).abs() < 1.5, "{report}; {predicted}");
    // The bound holds for the root mean square of the slots' errors.
    let error: f64 = want.vectors()[0].iter().zip(&got[0]).map(|(w, g)| (w - g).norm_sqr()).sum();
    assert!((error / p.slots() as f64).sqrt() < predicted.error_bound());
}

/// Sums of powers, which all depend on one message and one error.
#[test]
fn polynomials() {
    let set = Parameters::builder().log_n(13).scale_bits(50).levels(4).digits(4).headroom_bits(20);
    let p = set.insecure_build().unwrap();
    let mut inputs = Inputs::new(5);
    let mut coefficients = |n: usize| (0..n).map(|_| inputs.real()).collect::<Vec<f64>>();
    let chebyshev = Polynomial::chebyshev(coefficients(16), -1.0, 1.0).unwrap();
    let power = Polynomial::power(coefficients(8)).unwrap();
    let x = vec![(0..p.slots()).map(|_| inputs.real().into()).collect::<Vec<_>>()];
    let top = p.max_level();
    let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([1; 32]));
    let evaluation = keys.evaluation_keys(&KeyRequest::new().relinearization(true)).unwrap();
    let (encryptor, kind) = (keys.encryptor(), Encryption::SecretKey);
    let eval = Evaluator::new(&p, &devices()[0], &evaluation).unwrap();
    let bench = Bench { p, encryptor, kind, dec: keys.decryptor(), eval, inputs: vec![] };
    let clear = Clear::new(bench.p.slots(), top);
    let noise = NoiseEstimator::new(&bench.p);
    let uniform = Magnitude::new((1.0f64 / 3.0).sqrt(), 1.0).unwrap();
    let message = clear.value(&x, top).unwrap();
    let fresh = noise.fresh(kind, 1, top, uniform).unwrap();
    let loaded = bench.eval.load(&bench.encryptor.encrypt_complex(&x, top).unwrap()).unwrap();
    for (name, polynomial) in [("power, degree 7", power), ("Chebyshev, degree 15", chebyshev)] {
        let want = polynomial.evaluate(&clear, &message).unwrap();
        let predicted = polynomial.evaluate(&noise, &fresh).unwrap();
        let c = polynomial.evaluate(&bench.eval, &loaded).unwrap();
        bench.check(name, &predicted, &c.to_host().unwrap(), want.vectors());
    }
}

#[test]
fn bad_inputs_are_errors_and_a_plan_is_obeyed() {
    let p = toy(10, 28, 2);
    let noise = NoiseEstimator::new(&p);
    let unit = Magnitude::new(0.5, 1.0).unwrap();
    assert!(Magnitude::new(2.0, 1.0).is_err() && Magnitude::new(f64::NAN, 1.0).is_err());
    assert!(Magnitude::new(0.0, f64::INFINITY).is_err());
    assert!(noise.fresh(Encryption::SecretKey, 0, Level(1), unit).is_err());
    assert!(noise.fresh(Encryption::SecretKey, 1, Level(9), unit).is_err());
    assert!(noise.with_noise(1, Level(1), unit, f64::NAN).is_err());
    let [x, low] = [Level(1), Level(0)].map(|l| noise.fresh(Encryption::SecretKey, 2, l, unit).unwrap());
    assert!(noise.add(&x, &low).is_err() && noise.square(&low).is_err() && noise.mul_scalar(&low, 2.0).is_err());
    assert!(noise.mul_scalar(&x, f64::NAN).is_err() && noise.dot_plain(&[]).is_err());
    assert!(noise.drop_to(&low, Level(1)).is_err());
    assert_eq!(noise.sub(&x, &x).unwrap().coefficient_deviation(), 0.0);
    assert_eq!(noise.mul_scalar(&x, 0.0).unwrap().worst_deviation(), 0.0);
}
