//! Known answers from outside: `tests/data/known_answers.json`, which no line of this crate had a part in.
//!
//! Origin: `scripts/known_answers.py`, the definitions in Python integers and mpmath. The same script has compared the
//! encoded polynomials with those of Microsoft SEAL (through TenSEAL 0.3.18), word for word.
//!
//! And `tests/data/library_answers.json`: keys and ciphertexts of Microsoft SEAL and of OpenFHE, with what those libraries decrypt and
//! compute from them. Origin: `scripts/library_answers.py`.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that panics has failed")]

mod common;

use common::devices;
use num_complex::Complex64;
use ringlight::Device;
use ringlight::ckks::{Encoder, Parameters};
use ringlight::device::Basis;
use ringlight::math::{Embedding, RingTables};
use ringlight::ring::{Coefficient, Evaluation, Ring, RnsPoly};
use ringlight::units::{GaloisElement, Level, LimbCount, LogN};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const FILE: &[u8] = include_bytes!("data/known_answers.json");
const SHA256: &str = "b05c5826e23b18a975281a1a263452c7551cb5ca02cc9acdc735df190ab35ef6";

const LIBRARIES: &[u8] = include_bytes!("data/library_answers.json");
const LIBRARIES_SHA256: &str = "d5bf0644bba66485d4042a12223aa21626d324aada71632f947def9f42edbbd5";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256_i64le(numbers: &[i64]) -> String {
    sha256(&numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

fn answers() -> (LogN, Value) {
    assert_eq!(sha256(FILE), SHA256, "tests/data/known_answers.json has changed");
    let answers: Value = serde_json::from_slice(FILE).unwrap();
    (LogN::new(integer(&answers["log_n"]) as u32).unwrap(), answers)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

/// `c0 + c1 i + c2 i^2 mod m`.
fn sequence(c: &Value, m: i64, count: usize) -> Vec<i64> {
    let c: Vec<i128> = list(c).iter().map(|c| integer(c).into()).collect();
    (0..count as i128).map(|i| ((c[0] + c[1] * i + c[2] * i * i) % i128::from(m)) as i64).collect()
}

fn slots(case: &Value, log_n: LogN, slot_bits: i64) -> Vec<Complex64> {
    let [re, im] = ["re", "im"].map(|part| {
        let m = integer(&case[part]["modulus"]);
        let value = |s: i64| (s - (m - 1) / 2) as f64 / (slot_bits as f64).exp2();
        sequence(&case[part]["c"], m, log_n.slots()).into_iter().map(value).collect::<Vec<_>>()
    });
    re.into_iter().zip(im).map(|(re, im)| Complex64::new(re, im)).collect()
}

fn scale(case: &Value) -> f64 {
    (integer(&case["scale_bits"]) as f64).exp2()
}

/// `round(scale m)` by the library; the file promises that no number is near a tie.
fn encoded(case: &Value, log_n: LogN, slots: &[Complex64]) -> Vec<i64> {
    let coefficients = Embedding::new(log_n).to_coefficients(slots);
    coefficients.into_iter().map(|c| (c * scale(case)).round() as i64).collect()
}

/// The file's few slots against all slots: f64 rounding is far below the `1 / scale` of a wrong coefficient.
fn assert_slots(got: &[Complex64], image: &Value) {
    for value in list(&image["values"]) {
        let want = Complex64::new(value["re"].as_f64().unwrap(), value["im"].as_f64().unwrap());
        let got = got[integer(&value["slot"]) as usize];
        assert!((got - want).norm() < 1e-13, "{}, slot {}: {got} not {want}", image["name"], value["slot"]);
    }
}

/// The numbers nearest to zero with these residues modulo two primes, limb by limb.
fn centred(tables: &RingTables, words: &[u32]) -> Vec<i64> {
    let [p, q] = [0, 1].map(|l| i128::from(tables.primes()[l].q()));
    let inverse = i128::from(tables.primes()[1].modulus().inv((p % q) as u32));
    let (low, high) = words.split_at(words.len() / 2);
    let number = |(&a, &b): (&u32, &u32)| {
        let x = i128::from(a) + p * ((i128::from(b) - i128::from(a)) * inverse).rem_euclid(q);
        (if 2 * x > p * q { x - p * q } else { x }) as i64
    };
    low.iter().zip(high).map(number).collect()
}

#[test]
fn encoding_gives_the_known_polynomials() {
    let (log_n, answers) = answers();
    for case in list(&answers["embedding"]) {
        let got = encoded(case, log_n, &slots(case, log_n, integer(&answers["slot_bits"])));
        let first: Vec<i64> = list(&case["first_coefficients"]).iter().map(integer).collect();
        assert_eq!(got[..first.len()], first);
        assert_eq!(sha256_i64le(&got), case["sha256_i64le"]);
    }
}

#[test]
fn an_encoded_vector_decodes_to_the_known_slots() {
    let (log_n, answers) = answers();
    let parameters = Parameters::builder().log_n(log_n.get()).levels(2).insecure_build().unwrap();
    let encoder = Encoder::new(&parameters);
    for case in list(&answers["embedding"]) {
        let vector = slots(case, log_n, integer(&answers["slot_bits"]));
        let plaintext = encoder.encode_at(&[vector], Level(1), scale(case)).unwrap();
        assert_slots(&encoder.decode(&plaintext).unwrap()[0], &case["images"][0]);
    }
}

#[test]
fn automorphisms_give_the_known_images_on_every_device() {
    let (log_n, answers) = answers();
    let moduli: Vec<u32> = list(&answers["products"])[..2].iter().map(|p| integer(&p["modulus"]) as u32).collect();
    let tables = Arc::new(RingTables::new(log_n, &moduli).unwrap());
    for device in devices() {
        let ring = Ring::new(&device, &tables).unwrap();
        for case in list(&answers["embedding"]) {
            let polynomial = encoded(case, log_n, &slots(case, log_n, integer(&answers["slot_bits"])));
            let residues = |q: u32| polynomial.iter().map(move |x| x.rem_euclid(i64::from(q)) as u32);
            let words: Vec<u32> = residues(moduli[0]).chain(residues(moduli[1])).collect();
            let elements =
                [GaloisElement::IDENTITY, GaloisElement::from_steps(1, log_n), GaloisElement::conjugation(log_n)];
            for (element, image) in elements.into_iter().zip(list(&case["images"])) {
                assert_eq!(i64::from(element.get()), integer(&image["element"]));
                let poly = RnsPoly::<Coefficient>::upload(&ring, &Basis::new([0, 1]), 1, &words).unwrap();
                let poly = poly.into_evaluation().unwrap().automorphism(element).unwrap();
                let got = poly.into_coefficient().unwrap().download().unwrap();
                let got = centred(&tables, &got);
                assert_eq!(sha256_i64le(&got), image["sha256_i64le"], "{}: {}", device.name(), image["name"]);
                let values: Vec<f64> = got.iter().map(|&x| x as f64 / scale(case)).collect();
                assert_slots(&Embedding::new(log_n).to_slots(&values), image);
            }
        }
    }
}

#[test]
fn products_are_the_known_ones_on_every_device() {
    let (log_n, answers) = answers();
    for device in devices() {
        for case in list(&answers["products"]) {
            let q = integer(&case["modulus"]);
            let tables = Arc::new(RingTables::new(log_n, &[q as u32]).unwrap());
            let ring = Ring::new(&device, &tables).unwrap();
            let [a, b] = ["a", "b"].map(|factor| {
                let words: Vec<u32> = sequence(&case[factor], q, log_n.degree()).iter().map(|&x| x as u32).collect();
                let poly = RnsPoly::<Coefficient>::upload(&ring, &Basis::new([0]), 1, &words).unwrap();
                poly.into_evaluation().unwrap()
            });
            let got = a.mul(&b).unwrap().into_coefficient().unwrap().download().unwrap();
            let first: Vec<u32> = list(&case["first_words"]).iter().map(|x| integer(x) as u32).collect();
            assert_eq!(got[..first.len()], first, "{}", device.name());
            let bytes: Vec<u8> = got.iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(sha256(&bytes), case["sha256_u32le"], "{}", device.name());
        }
    }
}

/// A library's secret key and ciphertext on one device.
struct Foreign {
    tables: Arc<RingTables>,
    secret: RnsPoly<Evaluation>,
    /// Both components.
    ciphertext: RnsPoly<Evaluation>,
}

impl Foreign {
    fn new(device: &Device, log_n: LogN, answer: &Value) -> Self {
        let moduli: Vec<u32> = list(&answer["moduli"]).iter().map(|q| integer(q) as u32).collect();
        let tables = Arc::new(RingTables::new(log_n, &moduli).unwrap());
        let ring = Ring::new(device, &tables).unwrap();
        let signs = answer["secret"].as_str().unwrap().chars();
        let signs: Vec<i64> = signs.map(|c| "-0+".find(c).unwrap() as i64 - 1).collect();
        let residues = |&q: &u32| signs.iter().map(move |s| s.rem_euclid(i64::from(q)) as u32);
        let secret: Vec<u32> = moduli.iter().flat_map(residues).collect();
        let hex = |text: &Value| -> Vec<u32> {
            let digits = text.as_str().unwrap().as_bytes().chunks(8);
            let word = |d: &[u8]| u32::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap().swap_bytes();
            digits.map(word).collect()
        };
        let words: Vec<u32> = list(&answer["ciphertext"]).iter().flat_map(list).flat_map(hex).collect();
        let load = |batch, words: &[u32]| {
            let poly = RnsPoly::<Coefficient>::upload(&ring, &Basis::new([0, 1]), batch, words).unwrap();
            poly.into_evaluation().unwrap()
        };
        Self { secret: load(1, &secret), ciphertext: load(2, &words), tables }
    }

    /// `c0 + c1 s`, centred.
    fn decrypt(&self) -> Vec<i64> {
        let [c0, c1] = [0, 1].map(|c| self.ciphertext.slice(c, 1).unwrap());
        let sum = c0.add(&c1.mul(&self.secret).unwrap()).unwrap();
        centred(&self.tables, &sum.into_coefficient().unwrap().download().unwrap())
    }
}

fn library_answers() -> (LogN, Value) {
    assert_eq!(sha256(LIBRARIES), LIBRARIES_SHA256, "tests/data/library_answers.json has changed");
    let answers: Value = serde_json::from_slice(LIBRARIES).unwrap();
    (LogN::new(integer(&answers["log_n"]) as u32).unwrap(), answers)
}

#[test]
fn encodings_are_those_of_seal_and_openfhe() {
    let (log_n, answers) = library_answers();
    let got = encoded(&answers, log_n, &slots(&answers, log_n, integer(&answers["slot_bits"])));
    for library in ["seal", "openfhe"] {
        assert_eq!(sha256_i64le(&got), answers[library]["encoding"], "{library}");
    }
}

#[test]
fn ciphertexts_of_seal_and_openfhe_decrypt_on_every_device() {
    let (log_n, answers) = library_answers();
    let want = slots(&answers, log_n, integer(&answers["slot_bits"]));
    let plain = encoded(&answers, log_n, &want);
    for device in devices() {
        for library in ["seal", "openfhe"] {
            let got = Foreign::new(&device, log_n, &answers[library]).decrypt();
            if library == "seal" {
                // What SEAL's own decryptor says, every number.
                assert_eq!(sha256_i64le(&got), answers[library]["decryption"], "{}", device.name());
            }
            // OpenFHE's public-key encryption leaves e u + e0 + e1 s, of deviation sigma sqrt(4 N / 3 + 1). SEAL divides that by the
            // prime of its keys, which leaves the rounding, (1 + 2 N / 3) / 12.
            let n = log_n.degree() as f64;
            let variance = if library == "seal" { (1.0 + 2.0 * n / 3.0) / 12.0 } else { 10.24 * (4.0 * n / 3.0 + 1.0) };
            let expected = variance.sqrt();
            let errors = got.iter().zip(&plain).map(|(g, p)| (g - p) as f64);
            let deviation = (errors.map(|e| e * e).sum::<f64>() / n).sqrt();
            assert!((0.8..1.25).contains(&(deviation / expected)), "{library}: {deviation} for {expected}");
            // And the vector, in every slot.
            let values: Vec<f64> = got.iter().map(|&x| x as f64 / scale(&answers)).collect();
            let bound = 7.0 * expected * n.sqrt() / scale(&answers);
            for (got, want) in Embedding::new(log_n).to_slots(&values).iter().zip(&want) {
                assert!((got - want).norm() < bound, "{library}: {got} not {want}");
            }
        }
    }
}

#[test]
fn products_and_rescalings_are_those_of_seal_on_every_device() {
    let (log_n, answers) = library_answers();
    let seal = &answers["seal"];
    for device in devices() {
        let ciphertext = Foreign::new(&device, log_n, seal).ciphertext;
        let square = ciphertext.tensor(&ciphertext).unwrap();
        let rescaled = square.mod_down(LimbCount(1)).unwrap();
        for (name, poly) in [("product", square), ("rescaled", rescaled)] {
            let words = poly.into_coefficient().unwrap().download().unwrap();
            for (component, want) in words.chunks(words.len() / 3).zip(list(&seal[name])) {
                let bytes: Vec<u8> = component.iter().flat_map(|x| x.to_le_bytes()).collect();
                assert_eq!(&Value::from(sha256(&bytes)), want, "{name} on {}", device.name());
            }
        }
    }
}
