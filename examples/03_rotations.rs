//! 3 of 6. Rotations: hoisted ones, sums, dot products and matrix-vector products, with exactly the keys they need.
//!
//! `cargo run --release --example 03_rotations`

use num_complex::Complex64;
use ringlight::circuit::{DiagonalMatrix, Evaluator as Circuit, Matrix, Plan};
use ringlight::ckks::{Ciphertext, Decryptor, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::units::Level;
use ringlight::{Device, Error};

const WIDTH: u32 = 8;

/// Slot `i` becomes the inner product of the slots `i .. i + WIDTH` of `x` and `y`.
fn dot<E: Circuit>(eval: &E, x: &E::Value, y: &E::Value) -> Result<E::Value, Error> {
    let mut sum = eval.mul(x, y)?;
    for k in 0..WIDTH.ilog2() {
        sum = eval.add(&sum, &eval.rotate(&sum, 1 << k)?)?;
    }
    Ok(sum)
}

fn check(decryptor: &Decryptor, name: &str, c: &Ciphertext, want: impl Fn(usize) -> f64) -> Result<(), Error> {
    let got = &decryptor.decrypt_real(&c.to_host()?)?[0];
    let error = got.iter().enumerate().map(|(i, got)| (got - want(i)).abs()).fold(0.0, f64::max);
    println!("  {name:<32} {:.3?}...  error 2^{:.1}", &got[..4], error.log2());
    assert!(error < 2f64.powi(-8), "{name} is off by {error}");
    Ok(())
}

fn main() -> Result<(), Error> {
    let parameters = Parameters::n13()?;
    let (slots, top) = (parameters.slots(), parameters.max_level());
    println!("{parameters}");

    println!("\nThe plan reads the circuits without cryptography and says which keys they need.");
    let matrix = Matrix::new(8, 8, (0..64).map(|i| f64::from(i % 7) / 8.0 - 0.25).collect())?;
    let diagonals = DiagonalMatrix::new(matrix.clone())?;
    let plan = Plan::new(slots);
    let x = plan.input(1);
    dot(&plan, &x, &x)?;
    diagonals.prepare(&plan, plan.level(&x))?.apply(&plan, &x)?;
    plan.rotate_hoisted(&x, &[1, 2, 3, -1])?;
    let report = plan.report();
    println!("{report}");
    assert!(report.relinearization && !report.conjugation);
    assert_eq!(report.depth, 1);

    let mut keys = KeyGenerator::new(&parameters)?;
    let evaluation_keys = keys.evaluation_keys(&KeyRequest::from(&report))?;
    println!("{} keys, {:.1} MiB", 1 + report.rotations.len(), evaluation_keys.bytes() as f64 / (1 << 20) as f64);
    assert_eq!(evaluation_keys.len(), 1 + report.rotations.len());
    let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
    let eval = Evaluator::new(&parameters, &Device::auto(), &evaluation_keys)?;

    println!("\nThe vector repeats with period {WIDTH}, so that rotations are cyclic in it.");
    let entry = |i: usize| (i % WIDTH as usize) as f64 / 8.0;
    let x = eval.load(&encryptor.encrypt_real(&[(0..slots).map(entry).collect()])?)?;
    check(&decryptor, "x", &x, entry)?;
    check(&decryptor, "rotate(1)", &eval.rotate(&x, 1)?, |i| entry(i + 1))?;
    check(&decryptor, "rotate(-1)", &eval.rotate(&x, -1)?, |i| entry(i + slots - 1))?;

    println!("\nSeveral rotations of one ciphertext decompose it once; the results are the same bits.");
    let steps = [1, 2, 3];
    for (step, turned) in steps.into_iter().zip(eval.rotate_hoisted(&x, &steps)?) {
        check(&decryptor, &format!("hoisted {step}"), &turned, |i| entry(i + usize::try_from(step).unwrap_or(0)))?;
        assert_eq!(turned.to_host()?.digest(), eval.rotate(&x, step)?.to_host()?.digest());
    }

    println!("\nSums, dot products, matrix-vector products.");
    let total: f64 = (0..8).map(entry).sum();
    check(&decryptor, "inner_sum", &eval.inner_sum(&x, WIDTH as usize)?, |_| total)?;
    let squares: f64 = (0..8).map(|i| entry(i) * entry(i)).sum();
    check(&decryptor, "dot(x, x)", &dot(&eval, &x, &x)?, |_| squares)?;
    let product = diagonals.prepare(&eval, top)?.apply(&eval, &x)?;
    let row = |i: usize| matrix.row(i % 8).iter().enumerate().map(|(j, m)| m * entry(j)).sum();
    check(&decryptor, "matrix * x", &product, row)?;
    assert_eq!(product.level(), Level(top.0 - 1));

    println!("\nThe same matrix on known numbers, by the same code:");
    let clear = ringlight::circuit::Clear::new(slots, top);
    let y = clear.value(&[(0..slots).map(|i| Complex64::from(entry(i))).collect()], top)?;
    let y = diagonals.prepare(&clear, top)?.apply(&clear, &y)?;
    let got: Vec<f64> = y.vectors()[0].iter().map(|z| z.re).collect();
    println!("  matrix * x                       {:.3?}...", &got[..4]);
    assert!((0..8).all(|i| (got[i] - row(i)).abs() < 1e-12));
    Ok(())
}
