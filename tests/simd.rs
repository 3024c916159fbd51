//! Results do not depend on the instruction set or on the number of threads: one program, run in processes of its own.

use num_complex::Complex64;
use ringlight::Device;
use ringlight::ckks::{Encryptor, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::math::Seed;
use sha2::{Digest, Sha256};
use std::process::Command;

/// Set for the processes that run [`the_program`].
const CHILD: &str = "RINGLIGHT_TEST_CHILD";

/// Keys from a seed, both encryptions, a multiplication, rotations, a rescaling, and what is decrypted: all their bits.
#[test]
fn the_program() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    let p = Parameters::builder().log_n(12).scale_bits(28).levels(4).digits(2).insecure_build().unwrap();
    let seed = Seed::from_bytes([31; 32]);
    let mut keys = KeyGenerator::from_seed(&p, &seed);
    let public = keys.public_key();
    let evaluation = keys.evaluation_keys(&KeyRequest::new().relinearization(true).rotations([1, 5, -3])).unwrap();
    let device = Device::cpu();
    let eval = Evaluator::new(&p, &device, &evaluation).unwrap();
    let vectors: Vec<Vec<Complex64>> =
        (0..3).map(|v| (0..p.slots()).map(|i| Complex64::from_polar(1.0, (i * (v + 1)) as f64)).collect()).collect();
    let mut hash = Sha256::new();
    for encryptor in [keys.encryptor(), Encryptor::with_public_key_and_seed(&p, public, &seed).unwrap()] {
        let fresh = encryptor.encrypt_complex(&vectors, p.max_level()).unwrap();
        hash.update(fresh.digest());
        let a = eval.load(&fresh).unwrap();
        let product = eval.mul(&a, &a).unwrap();
        let mut sum = eval.rotate(&product, 1).unwrap();
        for turned in eval.rotate_hoisted(&product, &[5, -3]).unwrap() {
            sum = eval.add(&sum, &turned).unwrap();
        }
        let result = sum.to_host().unwrap();
        hash.update(result.digest());
        for z in keys.decryptor().decrypt(&result).unwrap().iter().flatten() {
            hash.update(z.re.to_le_bytes());
            hash.update(z.im.to_le_bytes());
        }
    }
    println!("digest {:?} on {}", hash.finalize(), device.name());
}

/// Values of `RINGLIGHT_SIMD` that this processor can obey and what a device calls them, the widest first.
fn instruction_sets() -> Vec<(&'static str, &'static str)> {
    let mut out = vec![];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt");
        let parts = has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
        out.extend((avx2 && has!("avx512f") && parts).then_some(("avx512", "AVX-512")));
        out.extend(avx2.then_some(("avx2", "AVX2")));
    }
    #[cfg(target_arch = "aarch64")]
    out.push(("neon", "NEON"));
    out.push(("plain", "no SIMD"));
    out
}

#[test]
fn every_instruction_set_and_number_of_threads_gives_the_same_bits() {
    let run = |simd: &str, threads: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_program", "--nocapture"])
            .env(CHILD, "1")
            .env("RINGLIGHT_SIMD", simd)
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{simd}: {text}");
        let said = text.split("digest ").nth(1).unwrap();
        let (digest, device) = said.split_once(" on ").unwrap();
        (digest.to_string(), device.lines().next().unwrap().to_string())
    };
    let sets = instruction_sets();
    let (digest, device) = run("", "2");
    assert_eq!(device, format!("CPU (2 threads, {})", sets[0].1));
    for simd in ["avx512", "avx2", "neon", "plain"] {
        // What the processor lacks leaves the widest that it has.
        let (_, name) = sets.iter().find(|(value, _)| *value == simd).unwrap_or(&sets[0]);
        for threads in ["1", "2"] {
            assert_eq!(run(simd, threads), (digest.clone(), format!("CPU ({threads} threads, {name})")), "{simd}");
        }
    }
}
