//! 6 of 6. A circuit is written once and read three ways: planned, in the clear, encrypted.
//!
//! `cargo run --release --example 06_circuit_three_readings`

use num_complex::Complex64;
use ringlight::circuit::{Clear, Evaluator as Circuit, Plan};
use ringlight::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters, Precision};
use ringlight::{Device, Error};

/// Features of a sample: 0.9, ..., and known weights.
const WEIGHTS: [f64; 4] = [0.8, -0.5, 0.3, 0.25];
const BIAS: f64 = 0.1;

/// Logistic score of every sample: `sigmoid(w . x + b)` with `sigmoid(z) = 1/2 + z/4 - z^3/48`, good for |z| <= 1.
///
/// Four features lie side by side; the score of a sample stands in its first slot.
fn score<E: Circuit>(eval: &E, x: &E::Value) -> Result<E::Value, Error> {
    let repeated = (0..eval.slots()).map(|i| Complex64::from(WEIGHTS[i % 4])).collect();
    let weights = eval.encode(&[repeated], eval.level(x))?;
    let mut z = eval.dot_plain(&[(x, &weights)])?;
    for step in [1, 2] {
        z = eval.add(&z, &eval.rotate(&z, step)?)?;
    }
    let z = eval.add_scalar(&z, BIAS)?;
    // z (1/4 - z^2 / 48) + 1/2
    let inner = eval.mul_scalar(&eval.square(&z)?, -1.0 / 48.0)?;
    let inner = eval.add_scalar(&inner, 0.25)?;
    let z = eval.drop_to(&z, eval.level(&inner))?;
    eval.add_scalar(&eval.mul(&z, &inner)?, 0.5)
}

fn main() -> Result<(), Error> {
    println!("1. Planned: no numbers, no keys; levels, keys and work.");
    let builder = |depth| Parameters::builder().levels(depth).scale_bits(30);
    let plan = Plan::new(1 << 12);
    score(&plan, &plan.input(1))?;
    let report = plan.report();
    println!("{report}\n");
    assert_eq!((report.depth, report.rotations.as_slice()), (4, [1, 2].as_slice()));

    println!("   The plan's depth chooses the parameters.");
    let parameters = builder(report.depth).build()?;
    println!("   {parameters}\n");
    assert_eq!(parameters.max_level().0, report.depth);
    assert!(parameters.security().is_some());

    println!(
        "2. In the clear: the values that the circuit should have, refused where the encrypted reading would refuse."
    );
    let (slots, top) = (parameters.slots(), parameters.max_level());
    let samples: Vec<Complex64> = (0..slots).map(|i| Complex64::from((i as f64 * 0.7).sin() * 0.5)).collect();
    let samples = vec![samples];
    let clear = Clear::new(slots, top).with_keys_of(report.clone());
    let expected = score(&clear, &clear.value(&samples, top)?)?;
    let shown =
        |v: &[Complex64]| v.iter().step_by(4).take(5).map(|z| format!("{:.5}", z.re)).collect::<Vec<_>>().join("  ");
    println!("   scores  {}\n", shown(&expected.vectors()[0]));
    let by_hand: f64 = (0..4).map(|i| WEIGHTS[i] * samples[0][i].re).sum::<f64>() + BIAS;
    let sigmoid = 1.0 / (1.0 + (-by_hand).exp());
    assert!((expected.vectors()[0][0].re - sigmoid).abs() < 0.005, "the polynomial is close to the function");

    println!("3. Encrypted: the same function on a device, with exactly the planned keys.");
    let mut keys = KeyGenerator::new(&parameters)?;
    let evaluation_keys = keys.evaluation_keys(&KeyRequest::from(&report))?;
    let eval = Evaluator::new(&parameters, &Device::auto(), &evaluation_keys)?;
    println!("   on {}", eval.device().name());
    let x = eval.load(&keys.encryptor().encrypt_complex(&samples, top)?)?;
    let y = score(&eval, &x)?;
    let got = keys.decryptor().decrypt(&y.to_host()?)?;
    println!("   scores  {}", shown(&got[0]));
    let precision = Precision::of(&expected.vectors()[0], &got[0])?;
    println!("   {precision}");
    assert_eq!(y.level().0, 0);
    assert!(precision.min_bits > 10.0);

    println!("\nA circuit too deep for its chain is refused by both readings, with the same error.");
    let low = clear.drop_to(&clear.value(&samples, top)?, eval.level(&y))?;
    let (in_clear, encrypted) = (clear.square(&low).map(|_| ()), Circuit::square(&eval, &y).map(|_| ()));
    println!("   {}", in_clear.as_ref().err().map_or(String::new(), ToString::to_string));
    assert!(matches!(in_clear, Err(Error::LevelExhausted { .. })));
    assert!(matches!(encrypted, Err(Error::LevelExhausted { .. })));
    Ok(())
}
