//! 2 of 6. Arithmetic, and what it costs: levels and scales, by the polynomial `x^4 + 2x`.
//!
//! `cargo run --release --example 02_arithmetic_levels`

use ringlight::ckks::{Ciphertext, Decryptor, Encoder, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::{Device, Error};

struct Show {
    decryptor: Decryptor,
    x: Vec<f64>,
}

impl Show {
    /// Prints where a ciphertext stands and asserts that it holds `f(x)` in every slot.
    fn holds(&self, name: &str, c: &Ciphertext, f: impl Fn(f64) -> f64) -> Result<(), Error> {
        let got = self.decryptor.decrypt_real(&c.to_host()?)?;
        let error = self.x.iter().zip(&got[0]).map(|(&x, got)| (f(x) - got).abs()).fold(0.0, f64::max);
        let (level, limbs, scale) = (c.level().0, c.limbs().0, c.scale().log2());
        println!("  {name:<28} level {level}, {limbs} limbs, scale 2^{scale:<7.4} error 2^{:.1}", error.log2());
        assert!(error < 2f64.powi(-10), "{name} is off by {error}");
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    let parameters = Parameters::builder().levels(3).scale_bits(28).build()?;
    println!("{parameters}");
    let mut keys = KeyGenerator::new(&parameters)?;
    let evaluation_keys = keys.evaluation_keys(&KeyRequest::new().relinearization(true))?;
    let eval = Evaluator::new(&parameters, &Device::auto(), &evaluation_keys)?;
    let values: Vec<f64> = (0..parameters.slots()).map(|k| (k as f64 * 0.013).sin()).collect();
    let x = eval.load(&keys.encryptor().encrypt_real(std::slice::from_ref(&values))?)?;
    let show = Show { decryptor: keys.decryptor(), x: values };
    show.holds("x", &x, |x| x)?;
    assert_eq!(x.level(), parameters.max_level());

    println!("\nAdditions keep level and scale.");
    show.holds("x + x", &eval.add(&x, &x)?, |x| 2.0 * x)?;
    show.holds("x - (-x)", &eval.sub(&x, &eval.neg(&x)?)?, |x| 2.0 * x)?;
    show.holds("x + 0.5", &eval.add_scalar(&x, 0.5)?, |x| x + 0.5)?;

    println!("\nA product multiplies the scales and has three components; relinearizing and rescaling repair that.");
    let raw = eval.multiply(&x, &x)?;
    assert_eq!(raw.components(), 3);
    show.holds("multiply", &raw, |x| x * x)?;
    let linear = eval.relinearize(&raw)?;
    assert_eq!(linear.components(), 2);
    show.holds("relinearize", &linear, |x| x * x)?;
    let square = eval.rescale(&linear)?;
    show.holds("rescale", &square, |x| x * x)?;
    println!("`mul` and `square` do all three at once, with one division instead of two.");
    let fused = eval.square(&x)?;
    show.holds("square", &fused, |x| x * x)?;
    assert_eq!((fused.level(), fused.scale()), (square.level(), square.scale()));
    assert_eq!(fused.level().0, x.level().0 - 1);

    println!("\nKnown factors: a vector is encoded at a level and scale; an integer at scale 1 costs no level.");
    let half = Encoder::new(&parameters).encode_real(&[vec![0.5; parameters.slots()]], x.level())?;
    let halved = eval.rescale(&eval.mul_plain(&x, &eval.load_plaintext(&half)?)?)?;
    show.holds("x * plaintext, rescaled", &halved, |x| x / 2.0)?;
    let doubled = eval.mul_scalar(&x, 2.0, 1.0)?;
    show.holds("2x", &doubled, |x| 2.0 * x)?;
    assert_eq!((doubled.level(), doubled.scale()), (x.level(), x.scale()));

    println!("\nx^4 + 2x: two squarings, then 2x comes down to the level and scale of x^4.");
    let fourth = eval.square(&fused)?;
    show.holds("x^4", &fourth, |x| x.powi(4))?;
    let doubled = eval.drop_to(&doubled, fourth.level())?;
    show.holds("2x, dropped", &doubled, |x| 2.0 * x)?;
    let sum = eval.add(&fourth, &doubled)?;
    show.holds("x^4 + 2x", &sum, |x| x.powi(4) + 2.0 * x)?;
    assert_eq!(sum.level().0, parameters.max_level().0 - 2);
    println!("\nOne level is left of {}.", parameters.max_level().0);
    Ok(())
}
