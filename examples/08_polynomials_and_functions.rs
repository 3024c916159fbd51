//! Polynomials and functions of encrypted values: degree, depth and error before any key exists.
//!
//! `cargo run --release --example 08_polynomials_and_functions`

use ringlight::circuit::{Approximation, Comparison, Extremum, Polynomial};
use ringlight::ckks::{Ciphertext, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::{Device, Error};

struct Show {
    keys: KeyGenerator,
}

impl Show {
    /// Prints the first values and asserts that all lie within `bound` of what is wanted.
    fn holds(&self, c: &Ciphertext, wanted: impl Iterator<Item = f64>, bound: f64) -> Result<(), Error> {
        let got = self.keys.decryptor().decrypt_real(&c.to_host()?)?.remove(0);
        let error = got.iter().zip(wanted).map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f64::max);
        let first: Vec<String> = got.iter().take(4).map(|x| format!("{x:.5}")).collect();
        println!("   {} ... largest error {error:.2e}, level {}", first.join("  "), c.level().0);
        assert!(error <= bound, "{error:e} is more than {bound:e}");
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    println!("1. A polynomial takes ceil(log2(degree + 1)) levels, and zeros cost nothing.");
    let dense = Polynomial::chebyshev((0..32).map(|k| 1.0 / f64::from(k + 1)).collect(), -1.0, 1.0)?;
    let odd = Polynomial::power(vec![0.0, 1.5, 0.0, -0.5])?; // 1.5 x - 0.5 x^3
    for p in [&dense, &odd] {
        let plan = p.plan()?;
        println!("   degree {:>2}: depth {}, {} relinearizations", p.degree(), plan.depth, plan.relinearizations);
        assert_eq!(plan.depth, p.depth());
    }
    assert_eq!((dense.depth(), odd.depth(), odd.plan()?.relinearizations), (5, 2, 2));

    println!("\n2. Functions say what they need and how close they come.");
    let sigmoid = Approximation::sigmoid(-8.0, 8.0, 2e-3)?;
    let reciprocal = Approximation::reciprocal_goldschmidt(0.25, 1.0, 1e-3)?;
    let relu = Approximation::relu(1.0, 0.02)?;
    let soft = Approximation::fit("softplus", |x| x.exp().ln_1p(), -4.0, 4.0, 1e-3)?;
    let (larger, comparison) = (Extremum::new(0.5, 0.02)?, Comparison::new(0.5, 0.05, 0.01)?);
    for f in [&sigmoid, &reciprocal, &relu, &soft, comparison.step()] {
        println!("   {f}");
    }
    println!("   {larger}");
    assert!(sigmoid.error() <= 2e-3 && reciprocal.error() <= 1e-3 && relu.error() <= 0.02 && soft.error() <= 1e-3);
    match Approximation::fit("|x|", f64::abs, -1.0, 1.0, 1e-6) {
        Err(error @ Error::Unreachable { .. }) => println!("   refused: {error}"),
        other => panic!("one polynomial cannot be that close to |x|: {other:?}"),
    }

    println!("\n3. The deepest of them chooses the parameters; one key serves all.");
    let depths =
        [sigmoid.depth(), reciprocal.depth(), relu.depth(), soft.depth(), larger.depth(), comparison.step().depth()];
    let levels = depths.into_iter().fold(dense.depth(), u32::max);
    let parameters = Parameters::builder().levels(levels).scale_bits(50).build()?;
    println!("   {parameters}");
    assert!(parameters.security().is_some());
    let mut keys = KeyGenerator::new(&parameters)?;
    let evaluation_keys = keys.evaluation_keys(&KeyRequest::new().relinearization(true))?;
    let eval = Evaluator::new(&parameters, &Device::auto(), &evaluation_keys)?;
    println!("   on {}", eval.device().name());
    let encryptor = keys.encryptor();
    let show = Show { keys };

    // Encrypted values are off by less than 10^-6 here; the rest is the functions' own error.
    let noise = 1e-6;
    let x: Vec<f64> = (0..parameters.slots()).map(|k| (k as f64 * 0.37).sin()).collect();
    let sent = eval.load(&encryptor.encrypt_real(std::slice::from_ref(&x))?)?;
    let top = parameters.max_level().0;
    println!("   two polynomials that share the powers of x:");
    let odd = Polynomial::chebyshev(vec![0.0, 1.125, 0.0, -0.125], -1.0, 1.0)?; // the same 1.5 x - 0.5 x^3
    let both = Polynomial::evaluate_many(&[&dense, &odd], &eval, &sent)?;
    show.holds(&both[0], x.iter().map(|&x| dense.at(x)), noise)?;
    show.holds(&both[1], x.iter().map(|&x| 1.5 * x - 0.5 * x.powi(3)), noise)?;
    assert_eq!((both[0].level().0, both[1].level().0), (top - 5, top - 2));
    println!("   ReLU:");
    let y = relu.evaluate(&eval, &sent)?;
    show.holds(&y, x.iter().map(|x| x.max(0.0)), relu.error() + noise)?;
    assert_eq!(y.level().0, top - relu.depth());
    println!("   the larger of x / 2 and 0.1 - x / 3:");
    let (a, b): (Vec<f64>, Vec<f64>) = x.iter().map(|x| (x / 2.0, 0.1 - x / 3.0)).unzip();
    let [left, right] = [&a, &b].map(|v| eval.load(&encryptor.encrypt_real(std::slice::from_ref(v))?));
    let y = larger.max(&eval, &left?, &right?)?;
    show.holds(&y, a.iter().zip(&b).map(|(a, b)| a.max(*b)), larger.error() + noise)?;
    println!("   1/x on [0.25, 1]:");
    let z: Vec<f64> = x.iter().map(|x| 0.625 + 0.375 * x).collect();
    let y = reciprocal.evaluate(&eval, &eval.load(&encryptor.encrypt_real(std::slice::from_ref(&z))?)?)?;
    show.holds(&y, z.iter().map(|z| z.recip()), reciprocal.error() + noise)
}
