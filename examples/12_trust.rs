//! Trust in the numbers (example 12): the security of a set, the noise that a circuit will have, the precision that it did have, and a
//! result for the eyes of others.
//!
//! `cargo run --release --example 12_trust`

use ringlight::circuit::Clear;
use ringlight::ckks::{
    Encryption, Encryptor, Evaluator, KeyGenerator, KeyRequest, Magnitude, NoiseEstimator, Parameters, Precision,
    SharingPolicy,
};
use ringlight::{Device, Error, circuit};

/// `x^2 y + y / 2`: the circuit of this example, for every reading.
fn circuit<E: circuit::Evaluator>(eval: &E, x: &E::Value, y: &E::Value) -> Result<E::Value, Error> {
    let square = eval.square(x)?;
    let product = eval.mul(&square, &eval.drop_to(y, eval.level(&square))?)?;
    eval.add(&product, &eval.drop_to(&eval.mul_scalar(y, 0.5)?, eval.level(&product))?)
}

fn main() -> Result<(), Error> {
    println!(
        "The security of a parameter set: the row of the table that it meets, the room left, an estimate in bits."
    );
    let parameters = Parameters::builder().levels(2).scale_bits(54).headroom_bits(6).build()?;
    let security = parameters.security_estimate();
    println!("  {parameters}");
    assert!(security.row.is_some() && security.bits >= 128.0 && security.log_qp <= f64::from(security.max_log_qp));
    let toy = Parameters::builder().log_n(11).levels(4).insecure_build()?;
    println!("  {toy}");
    assert!(toy.security_estimate().row.is_none() && toy.security_estimate().bits < 128.0);

    println!(
        "\nThe noise, predicted before there is a key: the circuit read with numbers in the place of ciphertexts."
    );
    let top = parameters.max_level();
    let noise = NoiseEstimator::new(&parameters);
    let uniform = Magnitude::new(1.0 / 3f64.sqrt(), 1.0)?; // real numbers, uniform in [-1, 1]
    let fresh = noise.fresh(Encryption::PublicKey, 1, top, uniform)?;
    let predicted = circuit(&noise, &fresh, &fresh.clone())?;
    println!("  fresh:  {fresh}");
    println!("  result: {predicted}");

    println!("\nThe precision, measured: the same circuit in the clear and encrypted.");
    let mut keys = KeyGenerator::new(&parameters)?;
    let evaluation_keys = keys.evaluation_keys(&KeyRequest::new().relinearization(true))?;
    let server = Evaluator::new(&parameters, &Device::cpu(), &evaluation_keys)?;
    let encryptor = Encryptor::with_public_key(&parameters, keys.public_key())?;
    let decryptor = keys.decryptor();
    let golden = |start: f64| move |k: usize| 2.0 * (start + k as f64 * 0.618_033_988_749_895).fract() - 1.0;
    let vector = |start| -> Vec<f64> { (0..parameters.slots()).map(golden(start)).collect() };
    let (x, y) = (vector(0.1), vector(0.37));
    let clear = Clear::new(parameters.slots(), top);
    let value = |v: &[f64]| clear.value(&[v.iter().map(|&x| x.into()).collect()], top);
    let expected = circuit(&clear, &value(&x)?, &value(&y)?)?;
    let load = |v: &[f64]| server.load(&encryptor.encrypt_real(&[v.to_vec()])?);
    let result = circuit(&server, &load(&x)?, &load(&y)?)?.to_host()?;
    let report = Precision::of(&expected.vectors()[0], &decryptor.decrypt(&result)?[0])?;
    println!("{report:#}");
    println!("predicted            {:>7.1} {:>8.1}", predicted.min_bits(), predicted.mean_bits());
    assert!((report.mean_bits - predicted.mean_bits()).abs() < 1.0);
    assert!((report.min_bits - predicted.min_bits()).abs() < 2.0);

    println!(
        "\nA decryption that others see leaks the key, unless wide noise hides the own. A ledger counts the uses."
    );
    let mut ledger = decryptor.new_ledger(SharingPolicy::new(2))?;
    let bound = predicted.sharing_bound();
    let shared = decryptor.decrypt_for_sharing(&result, &bound, &mut ledger)?;
    let after = Precision::of(&expected.vectors()[0], &shared.vectors[0])?;
    println!("  own bits: {report}");
    println!("  shared:   {after}; stated {:.1}", shared.precision_bits);
    println!("  {ledger}");
    assert!((after.mean_bits - shared.precision_bits).abs() < 0.2 && after.mean_bits > 6.0);
    assert_eq!(ledger.remaining(), 1);

    println!("\nThe ledger is saved after every use, and reads back only for its key and unchanged.");
    let saved = decryptor.save_ledger(&ledger)?;
    print!("{saved}");
    let mut restored = decryptor.restore_ledger(&saved)?;
    assert_eq!(restored, ledger);
    let forged = decryptor.restore_ledger(&saved.replace("spent 1", "spent 0"));
    println!("  set back by hand: {}", forged.as_ref().err().map(ToString::to_string).unwrap_or_default());
    assert!(forged.is_err());
    decryptor.decrypt_for_sharing(&result, &bound, &mut restored)?;
    let spent = decryptor.decrypt_for_sharing(&result, &bound, &mut restored);
    println!("  a third result: {}", spent.as_ref().err().map(ToString::to_string).unwrap_or_default());
    assert!(matches!(spent, Err(Error::SharingSpent { wanted: 1, spent: 2, declared: 2 })));
    Ok(())
}
