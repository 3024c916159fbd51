//! Key economy: keys made for the levels they are used at, seeds instead of words, and more keys than device memory.
//!
//! `cargo run --release --example 10_key_economy`

use ringlight::circuit::{Evaluator as Circuit, Plan};
use ringlight::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::math::Seed;
use ringlight::units::LimbCount;
use ringlight::{Device, Error};

/// Squares until one level is left, then sums eight neighbours: the rotations are all at the bottom.
fn circuit<E: Circuit>(eval: &E, x: &E::Value, squarings: u32) -> Result<E::Value, Error> {
    let mut x = eval.rotate(x, -1)?;
    for _ in 0..squarings {
        x = eval.square(&x)?;
    }
    for steps in [1, 2, 4] {
        x = eval.add(&x, &eval.rotate(&x, steps)?)?;
    }
    Ok(x)
}

fn mib(bytes: impl TryInto<u64>) -> f64 {
    bytes.try_into().unwrap_or(u64::MAX) as f64 / f64::from(1 << 20)
}

fn main() -> Result<(), Error> {
    let parameters = Parameters::n14()?;
    let squarings = parameters.max_level().0 - 1;
    println!("{parameters}");

    println!("\n1. A plan says where each key is first used; a key need not reach above that.");
    let plan = Plan::new(parameters.slots());
    circuit(&plan, &plan.input(1), squarings)?;
    let report = plan.report();
    let last = i32::try_from(parameters.slots()).unwrap_or(i32::MAX) - 1;
    assert_eq!(report.rotations, [1, 2, 4, last]);
    assert_eq!(report.rotation_depths, [squarings, squarings, squarings, 0]);
    for (steps, depth) in report.rotations.iter().zip(&report.rotation_depths) {
        println!("   rotation by {steps:<5} at depth {depth}");
    }
    let mut keys = KeyGenerator::from_seed(&parameters, &Seed::from_bytes([10; 32]));
    let everywhere = KeyRequest::new().relinearization(true).rotations([1, 2, 4, -1]);
    let full = keys.evaluation_keys(&everywhere)?;
    let limited = keys.evaluation_keys(&KeyRequest::from(&report))?;
    println!("   keys for every level      {:7.1} MiB", mib(full.bytes()));
    println!("   keys for the plan's       {:7.1} MiB", mib(limited.bytes()));
    let rlwe = parameters.rlwe();
    for (_, key) in limited.iter() {
        let digits = rlwe.digits(key.limbs()).len();
        let words = digits * (key.limbs().0 + rlwe.special().0) as usize * parameters.log_n().degree();
        assert_eq!(key.bytes(), 4 * words + 32 * digits);
    }
    assert!(limited.iter().filter(|(_, key)| key.limbs() < LimbCount(5)).count() == 3);
    assert!(3 * limited.bytes() < 2 * full.bytes());

    println!("\n2. Half of a key is uniform and public: a seed is sent, the device makes the words.");
    let on_device: u64 = limited.iter().map(|(_, key)| key.device_bytes()).sum();
    println!("   to send                   {:7.1} MiB", mib(limited.bytes()));
    println!("   on the device             {:7.1} MiB", mib(on_device));
    assert_eq!(
        limited.bytes() as u64,
        on_device / 2 + 32 * limited.iter().map(|(_, k)| k.digits() as u64).sum::<u64>()
    );

    println!("\n3. More keys than memory: the least recently used makes room. The result is the same bits.");
    let device = Device::auto();
    let x = keys.encryptor().encrypt_real(&[(0..64).map(|i| 0.9 + f64::from(i % 8) / 80.0).collect()])?;
    let largest = limited.iter().map(|(_, key)| key.device_bytes()).max().unwrap_or(0);
    // Those at the bottom of the chain, for the sum of neighbours.
    let smallest = limited.iter().map(|(_, key)| key.device_bytes()).filter(|&bytes| bytes < largest).sum();
    let mut digests = vec![];
    for (name, bytes) in [("no limit", u64::MAX), ("the largest key", largest)] {
        let eval = Evaluator::with_key_memory(&parameters, &device, &limited, bytes)?;
        for _ in 0..2 {
            let y = circuit(&eval, &eval.load(&x)?, squarings)?;
            digests.push(y.to_host()?.digest());
        }
        let used = eval.key_statistics();
        println!(
            "   {name:<18} at most {:6.1} MiB, {:2} loads, {:2} evictions, digest {}...",
            mib(used.most_resident_bytes),
            used.loads,
            used.evictions,
            &digests[digests.len() - 1][..12]
        );
        // Without a limit each key is loaded once. With room for the largest, a run loads all five: the relinearization drives
        // out the rotation by -1, both at the top of the chain, and is driven out by the three small keys at its bottom, which
        // fit together. Two evictions a run, and three for the second run's rotation by -1.
        let (loads, evictions, kept) = if bytes == u64::MAX { (5, 0, on_device) } else { (10, 7, smallest) };
        assert_eq!((used.loads, used.evictions, used.resident_bytes), (loads, evictions, kept));
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]));

    let refused = Evaluator::with_key_memory(&parameters, &device, &limited, largest - 1);
    let Err(error) = refused else { panic!("a limit below the largest key was accepted") };
    println!("   one byte less: {error}");
    assert_eq!(error, Error::KeyMemoryTooSmall { limit: largest - 1, least: largest });

    println!("\n4. The numbers are right, too.");
    let eval = Evaluator::new(&parameters, &device, &limited)?;
    let got = &keys.decryptor().decrypt_real(&circuit(&eval, &eval.load(&x)?, squarings)?.to_host()?)?[0];
    let entry = |i: usize| (0.9 + (i % 8) as f64 / 80.0f64).powi(1 << squarings);
    let want: f64 = (0..8).map(entry).sum();
    println!("   sum of eight powers: {:.6}, expected {want:.6}", got[8]);
    assert!((got[8] - want).abs() < 1e-3);
    Ok(())
}
