//! 1 of 6. Parameters, encoding, encryption, decryption: what goes in comes back, approximately.
//!
//! `cargo run --release --example 01_encode_encrypt`

use num_complex::Complex64;
use ringlight::Error;
use ringlight::ckks::{Encoder, Encryptor, KeyGenerator, Parameters, Precision, Security};

fn main() -> Result<(), Error> {
    println!("A user says how many multiplications follow one another; primes and ring are found.");
    let parameters = Parameters::builder().levels(3).scale_bits(28).build()?;
    println!("  {parameters}");
    assert_eq!((parameters.log_n().get(), parameters.slots()), (13, 4096));
    assert!(parameters.security() >= Some(Security::Bits128));
    let limit = Security::Bits128.max_log_qp(parameters.log_n()).unwrap_or(0);
    println!("  log2(QP) = {:.1}; the table allows {limit} bits at this ring", parameters.log_qp());
    assert!(parameters.log_qp() <= f64::from(limit));

    println!("\nA vector of complex numbers fills the slots; values beyond the vector are zero.");
    let top = parameters.max_level();
    let values: Vec<Complex64> = (0..parameters.slots()).map(|k| Complex64::cis(k as f64 * 0.01)).collect();
    let encoder = Encoder::new(&parameters);
    let plaintext = encoder.encode(std::slice::from_ref(&values), top)?;
    println!("  {plaintext:?}");
    assert_eq!((plaintext.level(), plaintext.batch()), (top, 1));
    assert_eq!(plaintext.scale(), parameters.scale_at(top)?);

    println!("\nThe client makes a secret key. With it, one half of a ciphertext is a 32-byte seed.");
    let mut keys = KeyGenerator::new(&parameters)?;
    let decryptor = keys.decryptor();
    let seeded = keys.encryptor().encrypt(&plaintext)?;
    println!("  secret-key ciphertext: {:>7} bytes", seeded.bytes());

    println!("Whoever has the public key can encrypt too; such a ciphertext has both halves and more noise.");
    let public_key = keys.public_key();
    let full = Encryptor::with_public_key(&parameters, public_key)?.encrypt(&plaintext)?;
    println!("  public-key ciphertext: {:>7} bytes", full.bytes());
    let words = parameters.log_n().degree() * parameters.limbs_at(top)?.0 as usize;
    assert_eq!(seeded.bytes(), 4 * words + 32);
    assert_eq!(full.bytes(), 2 * 4 * words);

    println!("\nEncrypting twice gives two ciphertexts that have nothing in common.");
    let again = keys.encryptor().encrypt(&plaintext)?;
    println!("  digests {}... and {}...", &seeded.digest()[..12], &again.digest()[..12]);
    assert_ne!(seeded.digest(), again.digest());

    println!("\nDecryption is for the key owner. The values are approximate: noise is part of the scheme.");
    for (name, ciphertext, at_least) in [("secret key", &seeded, 12.0), ("public key", &full, 8.0)] {
        let got = decryptor.decrypt(ciphertext)?;
        let precision = Precision::of(&values, &got[0])?;
        println!("  {name}: {precision}");
        assert!(precision.min_bits > at_least);
    }

    println!("\nA larger scale gives more precision, for a larger modulus (here two limbs a level and N = 2^14).");
    let fine = Parameters::builder().levels(3).scale_bits(50).build()?;
    println!("  {fine}");
    let mut keys = KeyGenerator::new(&fine)?;
    let real: Vec<f64> = (0..fine.slots()).map(|k| (k as f64).sin()).collect();
    let got = keys.decryptor().decrypt_real(&keys.encryptor().encrypt_real(std::slice::from_ref(&real))?)?;
    let error = real.iter().zip(&got[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("  largest error of a real vector: 2^{:.1}", error.log2());
    assert!(error < 2f64.powi(-32));
    Ok(())
}
