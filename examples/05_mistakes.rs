//! 5 of 6. Mistakes: the usual ones, the error each one gives, and its repair.
//!
//! `cargo run --release --example 05_mistakes`

use ringlight::ckks::{Ciphertext, Decryptor, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::{Device, Error};

/// Prints the error of a mistake; a mistake that goes unnoticed fails the example.
fn refused<T>(what: &str, result: Result<T, Error>, expected: impl Fn(&Error) -> bool) {
    match result {
        Err(error) if expected(&error) => println!("\n{what}\n  error:  {error}"),
        Err(error) => panic!("{what}: another error than expected: {error}"),
        Ok(_) => panic!("{what}: went unnoticed"),
    }
}

/// Decrypts and asserts that every slot of the repaired result holds `want`.
fn repaired(how: &str, decryptor: &Decryptor, c: &Ciphertext, want: f64) -> Result<(), Error> {
    let got = decryptor.decrypt_real(&c.to_host()?)?;
    let error = got[0].iter().map(|y| (y - want).abs()).fold(0.0, f64::max);
    println!("  repair: {how}; {:.4} instead of {want}", got[0][0]);
    assert!(error < 2f64.powi(-8), "{how}: off by {error}");
    Ok(())
}

fn main() -> Result<(), Error> {
    refused("A ring too small for the modulus", Parameters::builder().log_n(12).levels(6).build(), |e| {
        matches!(e, Error::Insecure { log_n: 12, .. })
    });
    let roomy = Parameters::builder().levels(6).build()?;
    println!("  repair: leave out log_n; {roomy}");
    assert!(roomy.security().is_some());

    let parameters = Parameters::builder().levels(2).build()?;
    let mut keys = KeyGenerator::new(&parameters)?;
    let evaluation_keys = keys.evaluation_keys(&KeyRequest::new().relinearization(true).rotations([1]))?;
    let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
    let device = Device::auto();
    let eval = Evaluator::new(&parameters, &device, &evaluation_keys)?;
    let vector = vec![vec![0.75; parameters.slots()]];
    let x = eval.load(&encryptor.encrypt_real(&vector)?)?;

    let square = eval.square(&x)?;
    refused("x^2 + x: the scales of two levels differ a little", eval.add(&square, &x), |e| {
        matches!(e, Error::ScaleMismatch { op: "add", .. })
    });
    let lowered = eval.drop_to(&x, square.level())?;
    repaired("drop_to", &decryptor, &eval.add(&square, &lowered)?, 0.5625 + 0.75)?;

    let raw = eval.multiply(&x, &x)?;
    refused("Rotating a product that was not relinearized", eval.rotate(&raw, 1), |e| {
        matches!(e, Error::ComponentCount { expected: 2, got: 3, .. })
    });
    repaired("relinearize", &decryptor, &eval.rotate(&eval.relinearize(&raw)?, 1)?, 0.5625)?;

    refused("Rotating by 2 with a key for 1 only", eval.rotate(&x, 2), |e| {
        matches!(e, Error::MissingRotationKey { steps: 2 })
    });
    repaired("two rotations by 1", &decryptor, &eval.rotate(&eval.rotate(&x, 1)?, 1)?, 0.75)?;
    let more = keys.evaluation_keys(&KeyRequest::new().rotations([2]))?;
    let with_key = Evaluator::new(&parameters, &device, &more)?;
    repaired("a key for 2, from the same secret", &decryptor, &with_key.rotate(&x, 2)?, 0.75)?;

    let bottom = eval.square(&square)?;
    refused("A third product with two levels", eval.square(&bottom), |e| {
        matches!(e, Error::LevelExhausted { needed: 1, left: 0, .. })
    });
    let longer = Parameters::builder().levels(3).build()?;
    let mut other_keys = KeyGenerator::new(&longer)?;
    let other = other_keys.evaluation_keys(&KeyRequest::new().relinearization(true))?;
    let long_eval = Evaluator::new(&longer, &device, &other)?;
    let sent = other_keys.encryptor().encrypt_real(&[vec![0.75; longer.slots()]])?;
    let eighth = long_eval.square(&long_eval.square(&long_eval.square(&long_eval.load(&sent)?)?)?)?;
    repaired("a chain of three levels", &other_keys.decryptor(), &eighth, 0.75f64.powi(8))?;

    refused("A ciphertext of other parameters", eval.load(&sent), |e| matches!(e, Error::ParameterMismatch { .. }));
    refused("... and its result read with the wrong key", decryptor.decrypt(&eighth.to_host()?), |e| {
        matches!(e, Error::ParameterMismatch { op: "decrypt" })
    });
    let shared = parameters.clone(); // a clone is the same set; building anew is another one
    let again = Evaluator::new(&shared, &device, &evaluation_keys)?;
    repaired("share one `Parameters` value", &decryptor, &again.square(&x)?, 0.5625)?;

    let second = Device::cpu();
    let there = Evaluator::new(&parameters, &second, &evaluation_keys)?;
    refused("An operand on another device", there.square(&x), |e| matches!(e, Error::DeviceMismatch { .. }));
    repaired("to_device", &decryptor, &there.square(&x.to_device(&second)?)?, 0.5625)?;
    Ok(())
}
