//! Decryption for the eyes of others: the noise it adds, on both sides of its statement, and the ledger that counts it.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::Inputs;
use num_complex::Complex64;
use ringlight::circuit::Evaluator as _;
use ringlight::ckks::{
    Decryptor, Encryption, Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Limits, Magnitude, NoiseEstimator,
    NoiseValue, Parameters, SharingBound, SharingPolicy,
};
use ringlight::math::Seed;
use ringlight::{Device, Error};

struct Bench {
    parameters: Parameters,
    keys: KeyGenerator,
    dec: Decryptor,
    /// The square of the inputs, at level 0.
    result: HostCiphertext,
    want: Vec<Vec<Complex64>>,
    predicted: NoiseValue,
}

impl Bench {
    fn new(scale_bits: u32, seed: u8) -> Self {
        let set = Parameters::builder().log_n(13).scale_bits(scale_bits).levels(1).headroom_bits(8);
        let p = set.build().unwrap();
        let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([seed; 32]));
        let evaluation = keys.evaluation_keys(&KeyRequest::new().relinearization(true)).unwrap();
        let eval = Evaluator::new(&p, &Device::cpu(), &evaluation).unwrap();
        let mut inputs = Inputs::new(3);
        let x: Vec<Vec<Complex64>> = (0..2).map(|_| inputs.complex(p.slots())).collect();
        let c = eval.load(&keys.encryptor().encrypt_complex(&x, p.max_level()).unwrap()).unwrap();
        let result = eval.square(&c).unwrap().to_host().unwrap();
        let noise = NoiseEstimator::new(&p);
        let magnitude = Magnitude::new((2.0f64 / 3.0).sqrt(), 2f64.sqrt()).unwrap();
        let fresh = noise.fresh(Encryption::SecretKey, 2, p.max_level(), magnitude).unwrap();
        let predicted = noise.square(&fresh).unwrap();
        let want = x.iter().map(|v| v.iter().map(|z| z * z).collect()).collect();
        Self { dec: keys.decryptor(), keys, result, want, predicted, parameters: p }
    }

    /// Root mean square over both parts of every slot.
    fn error(&self, got: &[Vec<Complex64>]) -> f64 {
        let pairs = || self.want.iter().flatten().zip(got.iter().flatten());
        (pairs().map(|(w, g)| (w - g).norm_sqr()).sum::<f64>() / (2 * pairs().count()) as f64).sqrt()
    }
}

#[test]
fn the_shared_result_has_the_stated_noise_and_no_less() {
    let bench = Bench::new(50, 1);
    let bound = bench.predicted.sharing_bound();
    let own = bench.error(&bench.dec.decrypt(&bench.result).unwrap());
    assert!(own * 2f64.sqrt() < bound.error, "the bound holds: {own:e} a part, {:e} for both", bound.error);

    let mut ledger = bench.dec.new_ledger(SharingPolicy::new(4)).unwrap();
    let shared = bench.dec.decrypt_for_sharing(&bench.result, &bound, &mut ledger).unwrap();
    let measured = bench.error(&shared.vectors);
    println!("own error {own:.2e}, shared {measured:.2e}, stated {:.2e}", shared.deviation);
    // 32768 parts: the measurement is within half a per cent.
    assert!((measured / shared.deviation - 1.0).abs() < 0.03, "{measured:e} measured, {:e} stated", shared.deviation);
    assert!((shared.precision_bits + (shared.deviation * 0.797_884_56).log2()).abs() < 1e-6);
    // The formula, from the outside: sqrt(12 uses) 2^15 times the bound, spread over N coefficients, half of it in each part.
    let formula = 48f64.sqrt() * 15f64.exp2() * bound.error * 4096f64.sqrt();
    assert!((1.0..1.6).contains(&(shared.deviation / formula)), "{:e} and {formula:e}", shared.deviation);

    // Noise is fresh each time, whatever the ciphertext: two results differ by the root of 2 more.
    let again = bench.dec.decrypt_for_sharing(&bench.result, &bound, &mut ledger).unwrap();
    let pairs = || shared.vectors.iter().flatten().zip(again.vectors.iter().flatten());
    let apart = (pairs().map(|(a, b)| (a - b).norm_sqr()).sum::<f64>() / (2 * pairs().count()) as f64).sqrt();
    assert!((apart / (2f64.sqrt() * shared.deviation) - 1.0).abs() < 0.03);
    // More uses or more bits, more noise.
    let stricter = SharingPolicy::new(16).statistical_bits(34);
    let mut ledger = bench.dec.new_ledger(stricter).unwrap();
    let noisier = bench.dec.decrypt_for_sharing(&bench.result, &bound, &mut ledger).unwrap();
    assert!((0.62..1.6).contains(&(noisier.deviation / shared.deviation / 8.0)), "{}", noisier.deviation);
    assert!((bench.error(&noisier.vectors) / noisier.deviation - 1.0).abs() < 0.03);
}

#[test]
fn the_ledger_counts_vectors_and_refuses() {
    let bench = Bench::new(50, 2);
    let bound = bench.predicted.sharing_bound();
    let mut ledger = bench.dec.new_ledger(SharingPolicy::new(5)).unwrap();
    assert_eq!(ledger.to_string(), "0 of 5 vectors shared at 30 bits, 5 left");
    for left in [3, 1] {
        bench.dec.decrypt_for_sharing(&bench.result, &bound, &mut ledger).unwrap();
        assert_eq!(ledger.remaining(), left);
    }
    // Two vectors do not fit the one use left, and nothing is spent by asking.
    let error = bench.dec.decrypt_for_sharing(&bench.result, &bound, &mut ledger).unwrap_err();
    assert_eq!(error, Error::SharingSpent { wanted: 2, spent: 4, declared: 5 });
    assert_eq!(ledger.remaining(), 1);

    let text = bench.dec.save_ledger(&ledger).unwrap();
    println!("{text}");
    let mut restored = bench.dec.restore_ledger(&text).unwrap();
    assert_eq!(restored, ledger);
    assert!(bench.dec.decrypt_for_sharing(&bench.result, &bound, &mut restored).is_err());
    // The same key from its seed reads it, another one does not and may not use it.
    assert_eq!(bench.keys.decryptor().restore_ledger(&text).unwrap(), ledger);
    let other = Bench::new(50, 3);
    let foreign =
        |e: Error| assert!(matches!(&e, Error::BadLedger { reason } if reason.contains("another key")), "{e}");
    foreign(other.dec.restore_ledger(&text).unwrap_err());
    foreign(other.dec.save_ledger(&ledger).unwrap_err());
    foreign(other.dec.decrypt_for_sharing(&other.result, &bound, &mut ledger).unwrap_err());

    // Every other text is refused: one byte changed, removed or added anywhere, a count set back, lines swapped.
    for at in 0..text.len() {
        let (head, tail) = (&text[..at], &text[at + 1..]);
        for replacement in ["", "0", "7", "\n", "ä"] {
            let forged = format!("{head}{replacement}{tail}");
            assert!(forged == text || bench.dec.restore_ledger(&forged).is_err(), "{forged}");
        }
        assert!(bench.dec.restore_ledger(head).is_err());
    }
    for forged in [
        text.replace("spent 4", "spent 0"),
        text.replace("spent 4", "spent +4"),
        text.replace("uses 5", "uses 500"),
        text.replace("uses 5\nspent 4", "spent 4\nuses 5"),
        format!("{text}\n"),
        text.repeat(100),
        String::new(),
    ] {
        assert!(matches!(bench.dec.restore_ledger(&forged), Err(Error::BadLedger { .. })), "{forged}");
    }
}

#[test]
fn what_cannot_be_hidden_is_not_shared() {
    // One limb a level: the noise that 30 bits need is larger than the message.
    let bench = Bench::new(28, 4);
    let mut ledger = bench.dec.new_ledger(SharingPolicy::new(10)).unwrap();
    let bound = bench.predicted.sharing_bound();
    match bench.dec.decrypt_for_sharing(&bench.result, &bound, &mut ledger).unwrap_err() {
        Error::SharingPrecision { missing_bits } => assert!((5.0..25.0).contains(&missing_bits), "{missing_bits}"),
        other => panic!("{other}"),
    }
    assert_eq!(ledger.remaining(), 10);
    // A message that large would be shared with some precision, if only it fitted the modulus.
    let large = SharingBound { magnitude: 1e9, ..bound };
    assert!(bench.dec.decrypt_for_sharing(&bench.result, &large, &mut ledger).is_err());

    for (error, magnitude) in [(0.0, 1.0), (f64::NAN, 1.0), (-1.0, 1.0), (1e-9, f64::INFINITY), (1e-9, 0.0)] {
        let got =
            bench.dec.decrypt_for_sharing(&bench.result, &SharingBound { error, magnitude, ..bound }, &mut ledger);
        assert!(matches!(got, Err(Error::InvalidParameter { .. })), "{error} {magnitude}: {got:?}");
    }
    let huge = SharingBound { error: 1e300, magnitude: 1e300, ..bound };
    let got = bench.dec.decrypt_for_sharing(&bench.result, &huge, &mut ledger);
    assert!(matches!(got, Err(Error::SharingPrecision { .. })), "{got:?}");

    let policy = |uses, bits| bench.dec.new_ledger(SharingPolicy::new(uses).statistical_bits(bits)).map(|_| ());
    assert!(policy(1, 30).is_ok() && policy(1 << 17, 30).is_ok() && policy(100, 45).is_ok());
    for (uses, bits) in [(0, 30), (1, 29), (1, 81), (1 << 19, 30), (u64::MAX, 30), (1 << 19, 45)] {
        assert!(matches!(policy(uses, bits), Err(Error::InvalidParameter { .. })), "{uses} uses at {bits} bits");
    }
}

#[test]
fn a_result_with_another_level_or_scale_is_not_shared() {
    let mut bench = Bench::new(50, 5);
    let bound = bench.predicted.sharing_bound();
    let mut ledger = bench.dec.new_ledger(SharingPolicy::new(4)).unwrap();
    let p = &bench.parameters;
    // What a server sends back, with a scale of its own in the header: a smaller one would take noise off the result.
    let mut bytes = Vec::new();
    bench.result.write_to(&mut bytes).unwrap();
    for factor in [2f64.powi(-20), 0.5, 1.0 + 1e-6, 2.0] {
        // After the header: components, batch, limbs, level, domain, half, and the scale.
        bytes[72..80].copy_from_slice(&(bench.result.scale() * factor).to_le_bytes());
        let forged = HostCiphertext::read_answer_from(bytes.as_slice(), p, &Limits::bytes(1 << 24)).unwrap();
        let got = bench.dec.decrypt_for_sharing(&forged, &bound, &mut ledger);
        assert!(matches!(got, Err(Error::ScaleMismatch { op: "decrypt_for_sharing", .. })), "{factor}: {got:?}");
    }
    let fresh = bench.keys.encryptor().encrypt_complex(&bench.want, p.max_level()).unwrap();
    let got = bench.dec.decrypt_for_sharing(&fresh, &bound, &mut ledger);
    assert!(matches!(got, Err(Error::LevelMismatch { op: "decrypt_for_sharing", left: 1, right: 0 })), "{got:?}");
    for scale in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        let got = bench.dec.decrypt_for_sharing(&bench.result, &SharingBound { scale, ..bound }, &mut ledger);
        assert!(matches!(got, Err(Error::InvalidParameter { what: "scale", .. })), "{scale}: {got:?}");
    }
    assert_eq!(ledger.remaining(), 4);
}
