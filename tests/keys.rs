//! Keys made for the levels they are used at: their sizes, what they serve, what they refuse, the noise they add.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::Error;
use ringlight::circuit::{self, Plan};
use ringlight::ckks::{Ciphertext, Decryptor, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::device::Basis;
use ringlight::math::Seed;
use ringlight::ring::{Evaluation, Ring, RnsPoly};
use ringlight::rlwe::{EvaluationKeys, Finish, KeyId, KeyStatistics, KeySwitcher};
use ringlight::units::{GaloisElement, Level, LimbCount};

fn parameters() -> Parameters {
    let p = Parameters::builder().log_n(11).scale_bits(28).levels(4).digits(3).insecure_build().unwrap();
    assert_eq!((p.rlwe().chain(), p.rlwe().special()), (LimbCount(6), LimbCount(2)));
    p
}

fn generator(p: &Parameters) -> KeyGenerator {
    KeyGenerator::from_seed(p, &Seed::from_bytes([21; 32]))
}

/// Largest error of the slots.
fn error(decryptor: &Decryptor, got: &Ciphertext, want: impl Fn(usize) -> Complex64) -> f64 {
    let got = &decryptor.decrypt(&got.to_host().unwrap()).unwrap()[0];
    got.iter().enumerate().map(|(i, got)| (got - want(i)).norm()).fold(0.0, f64::max)
}

#[test]
fn a_key_is_as_large_as_its_level() {
    let p = parameters();
    let mut keys = generator(&p);
    let mut sizes = vec![];
    for level in 0..=p.max_level().0 {
        let limbs = p.limbs_at(Level(level)).unwrap();
        let request = KeyRequest::new().rotations_at(Level(level), [1]);
        let made = keys.evaluation_keys(&request).unwrap();
        let (_, key) = made.iter().next().unwrap();
        assert_eq!(key.limbs(), limbs);
        assert_eq!(key.digits(), limbs.0.div_ceil(2) as usize);
        // One half of words, one seed a digit.
        let words = key.digits() * (limbs.0 + p.rlwe().special().0) as usize * p.log_n().degree();
        assert_eq!(made.bytes(), 4 * words + 32 * key.digits());
        sizes.push(made.bytes());
    }
    assert!(sizes.is_sorted() && 3 * sizes[0] < sizes[4], "{sizes:?}");
    assert_eq!(sizes[4], keys.evaluation_keys(&KeyRequest::new().rotations([1])).unwrap().bytes());
}

#[test]
fn keys_serve_their_level_and_below_and_refuse_above() {
    let p = parameters();
    let mut keys = generator(&p);
    let (made_for, slots) = (Level(2), p.slots());
    let request = KeyRequest::new().rotations_at(made_for, [3]).conjugation_at(made_for).relinearization_at(made_for);
    let made = keys.evaluation_keys(&request).unwrap();
    let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
    let x = Inputs::new(3).complex(slots);
    let top = encryptor.encrypt_complex(std::slice::from_ref(&x), p.max_level()).unwrap();
    for device in devices() {
        let eval = Evaluator::new(&p, &device, &made).unwrap();
        let a = eval.load(&top).unwrap();
        for level in 0..=made_for.0 {
            let low = eval.drop_to(&a, Level(level)).unwrap();
            let bound = 2f64.powi(-12);
            assert!(error(&decryptor, &eval.rotate(&low, 3).unwrap(), |i| x[(i + 3) % slots]) < bound);
            assert!(error(&decryptor, &eval.conjugate(&low).unwrap(), |i| x[i].conj()) < bound);
            if level > 0 {
                assert!(error(&decryptor, &eval.square(&low).unwrap(), |i| x[i] * x[i]) < bound);
            }
            let product = eval.relinearize(&eval.multiply(&low, &low).unwrap()).unwrap();
            assert!(level == 0 || error(&decryptor, &product, |i| x[i] * x[i]) < bound);
        }
        for level in [3, 4] {
            let high = eval.drop_to(&a, Level(level)).unwrap();
            let product = eval.multiply(&high, &high).unwrap();
            for (refused, op) in [
                (eval.rotate(&high, 3), "rotate by 3"),
                (eval.conjugate(&high), "conjugate"),
                (eval.relinearize(&product), "relinearize"),
                (eval.mul(&high, &high), "relinearize"),
            ] {
                let error = refused.unwrap_err();
                let expected = Error::KeyLevelTooLow { op: op.into(), made_for: 2, needed: level };
                assert_eq!(error, expected);
                let text = error.to_string();
                assert!(text.contains("made for level 2") && text.contains(&format!("at level {level} or above")));
                assert!(text.contains("rotations_at"), "{text}");
            }
        }
        assert!(matches!(eval.rotate(&a, 5), Err(Error::MissingRotationKey { steps: 5 })));
    }
}

#[test]
fn keys_for_a_level_add_the_noise_of_keys_for_all() {
    let p = parameters();
    let mut keys = generator(&p);
    let level = Level(1);
    let requests = [KeyRequest::new().rotations([1]), KeyRequest::new().rotations_at(level, [1])];
    let made = requests.map(|request| keys.evaluation_keys(&request).unwrap());
    let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
    let zero = encryptor.encrypt_complex(&vec![vec![]; 16], level).unwrap();
    let device = ringlight::Device::cpu();
    let [full, limited] = made.map(|made| {
        let eval = Evaluator::new(&p, &device, &made).unwrap();
        let turned = eval.rotate(&eval.load(&zero).unwrap(), 1).unwrap();
        let errors = decryptor.decrypt(&turned.to_host().unwrap()).unwrap().concat();
        (errors.iter().map(Complex64::norm_sqr).sum::<f64>() / errors.len() as f64).sqrt()
    });
    // 16384 samples each: their own deviation is below 1 %.
    assert!((0.95..1.05).contains(&(limited / full)), "{limited:e} and {full:e}");
}

/// Two products and rotations at three depths.
fn sample<E: circuit::Evaluator>(eval: &E, x: &E::Value) -> ringlight::Result<E::Value> {
    let a = eval.mul(x, &eval.rotate(x, 1)?)?;
    let b = eval.square(&eval.add(&a, &eval.rotate(&a, 2)?)?)?;
    eval.add(&eval.rotate(&eval.conjugate(&b)?, -1)?, &eval.rotate(&b, 2)?)
}

#[test]
fn a_plan_says_how_high_its_keys_must_reach() {
    let p = parameters();
    let plan = Plan::new(p.slots());
    sample(&plan, &plan.input(1)).unwrap();
    let report = plan.report();
    let last = i32::try_from(p.slots()).unwrap() - 1;
    assert_eq!((report.rotations.as_slice(), report.rotation_depths.as_slice()), (&[1, 2, last][..], &[0, 1, 2][..]));
    assert_eq!((report.relinearization_depth, report.conjugation_depth), (0, 2));

    let mut keys = generator(&p);
    let limbs = |made: &EvaluationKeys, steps| {
        made.get(KeyId::Galois(GaloisElement::from_steps(steps, p.log_n()))).unwrap().limbs()
    };
    let at = |level| p.limbs_at(Level(level)).unwrap();
    let made = keys.evaluation_keys(&KeyRequest::from(&report)).unwrap();
    assert_eq!([1, 2, -1].map(|steps| limbs(&made, steps)), [at(4), at(3), at(2)]);
    let everywhere = KeyRequest::new().relinearization(true).conjugation(true).rotations([1, 2, -1]);
    assert!(made.bytes() < keys.evaluation_keys(&everywhere).unwrap().bytes());

    // Inputs at a lower level, and the keys of both requests together.
    let request = KeyRequest::from_plan(&report, Level(3));
    let made = keys.evaluation_keys(&request).unwrap();
    assert_eq!([1, 2, -1].map(|steps| limbs(&made, steps)), [at(3), at(2), at(1)]);
    let both = request.merge(&KeyRequest::new().rotations_at(Level(0), [1]).rotations_at(Level(4), [last]));
    let both = keys.evaluation_keys(&both).unwrap();
    assert_eq!([1, 2, -1].map(|steps| limbs(&both, steps)), [at(3), at(2), at(4)]);

    // They are enough.
    let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
    let x = Inputs::new(5).complex(p.slots());
    let clear = circuit::Clear::new(p.slots(), p.max_level());
    let expected = sample(&clear, &clear.value(std::slice::from_ref(&x), Level(3)).unwrap()).unwrap();
    for device in devices() {
        let eval = Evaluator::new(&p, &device, &made).unwrap();
        let x = eval.load(&encryptor.encrypt_complex(std::slice::from_ref(&x), Level(3)).unwrap()).unwrap();
        assert!(error(&decryptor, &sample(&eval, &x).unwrap(), |i| expected.vectors()[0][i]) < 2f64.powi(-8));
    }
}

#[test]
fn wishes_beyond_the_chain_are_errors() {
    let p = parameters();
    let mut keys = generator(&p);
    for request in [
        KeyRequest::new().rotations_at(Level(5), [1]),
        KeyRequest::new().conjugation_at(Level(5)),
        KeyRequest::new().relinearization_at(Level(u32::MAX)),
    ] {
        let refused = keys.evaluation_keys(&request);
        assert!(matches!(refused, Err(Error::LevelTooHigh { available: 4, .. })), "{refused:?}");
    }
    // A circuit that names levels of its own plans depths beyond every chain: its keys are made for the top.
    let plan = Plan::new(p.slots());
    let low = circuit::Evaluator::drop_to(&plan, &plan.input(1), Level(1)).unwrap();
    circuit::Evaluator::rotate(&plan, &low, 1).unwrap();
    let made = keys.evaluation_keys(&KeyRequest::from(&plan.report())).unwrap();
    assert!(made.iter().all(|(_, key)| key.limbs() == p.rlwe().chain()) && made.len() == 1);
}

#[test]
fn seeds_are_expanded_on_the_device_to_the_same_words() {
    let p = parameters();
    let mut keys = generator(&p);
    let made = keys.evaluation_keys(&KeyRequest::new()).unwrap();
    let vectors: Vec<_> = (0..3).map(|salt| Inputs::new(salt).complex(p.slots())).collect();
    for level in [0, 2, 4] {
        let seeded = keys.encryptor().encrypt_complex(&vectors, Level(level)).unwrap();
        for device in devices() {
            let (device, log) = device.recorded();
            let eval = Evaluator::new(&p, &device, &made).unwrap();
            let loaded = eval.load(&seeded).unwrap();
            let back = loaded.to_host().unwrap();
            // The digest is of the words, which the host expands for one of them.
            assert_eq!(back.digest(), seeded.digest(), "{}", device.name());
            assert!(2 * seeded.bytes() <= back.bytes() + 64);
            assert_eq!(log.take(), [format!("uniform 3x{}", loaded.limbs().0)]);
        }
    }
}

/// Device bytes of one of the keys, which are all equal.
fn device_bytes(made: &EvaluationKeys) -> u64 {
    let (_, key) = made.iter().next().unwrap();
    assert!(made.iter().all(|(_, other)| other.device_bytes() == key.device_bytes()));
    key.device_bytes()
}

#[test]
fn the_least_recently_used_key_makes_room() {
    let p = parameters();
    let mut keys = generator(&p);
    let made = keys.evaluation_keys(&KeyRequest::new().relinearization(true).rotations([1, 2, 4])).unwrap();
    let one = device_bytes(&made);
    let x = keys.encryptor().encrypt_real(&[vec![0.5, -0.25]]).unwrap();
    for device in devices() {
        let all = Evaluator::new(&p, &device, &made).unwrap();
        assert_eq!(all.key_statistics(), KeyStatistics::default());
        let two = Evaluator::with_key_memory(&p, &device, &made, 2 * one).unwrap();
        let [a, b] = [&all, &two].map(|eval| eval.load(&x).unwrap());
        // Uses, and what they do to a store of two: misses evict the older of both.
        let (mut loads, mut evictions) = (0, 0);
        for (steps, misses, evicts) in [
            (1, 1, 0),
            (1, 0, 0),
            (2, 1, 0),
            (4, 1, 1),
            (2, 0, 0),
            (1, 1, 1),
            (2, 0, 0),
            (4, 1, 1),
            (1, 1, 1),
            (4, 0, 0),
        ] {
            let [want, got] = [(&all, &a), (&two, &b)].map(|(eval, x)| eval.rotate(x, steps).unwrap());
            loads += misses;
            evictions += evicts;
            let statistics = two.key_statistics();
            assert_eq!((statistics.loads, statistics.evictions), (loads, evictions), "rotation by {steps}");
            assert_eq!(statistics.resident_bytes, one * (loads - evictions));
            assert_eq!(got.to_host().unwrap().digest(), want.to_host().unwrap().digest(), "{}", device.name());
        }
        assert_eq!(two.key_statistics().most_resident_bytes, 2 * one);
        let statistics = all.key_statistics();
        assert_eq!((statistics.loads, statistics.evictions, statistics.resident_bytes), (3, 0, 3 * one));
    }
}

#[test]
fn queued_operations_keep_the_keys_that_they_read() {
    let p = parameters();
    let mut keys = generator(&p);
    let made = keys.evaluation_keys(&KeyRequest::new().relinearization(true).rotations([1, 2, 4])).unwrap();
    let one = device_bytes(&made);
    let x = keys.encryptor().encrypt_real(&[vec![0.5, -0.25]]).unwrap();
    // Nothing is downloaded before the end, and every operation evicts what the one before used.
    let digests = devices().into_iter().flat_map(|device| {
        [u64::MAX, one].map(|limit| {
            let eval = Evaluator::with_key_memory(&p, &device, &made, limit).unwrap();
            let mut sum = eval.load(&x).unwrap();
            for _ in 0..3 {
                for turned in eval.rotate_hoisted(&sum, &[1, 2, 4, 1]).unwrap() {
                    sum = eval.add(&sum, &turned).unwrap();
                }
                sum = eval.mul(&sum, &sum).unwrap();
            }
            let statistics = eval.key_statistics();
            let expected = if limit == one { (15, 14, one) } else { (4, 0, 4 * one) };
            assert_eq!((statistics.loads, statistics.evictions, statistics.most_resident_bytes), expected);
            sum.to_host().unwrap().digest()
        })
    });
    let digests: Vec<String> = digests.collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

#[test]
fn an_eviction_has_the_device_run_what_reads_the_key() {
    let p = parameters();
    let mut keys = generator(&p);
    let made = keys.evaluation_keys(&KeyRequest::new().rotations([1, 2])).unwrap();
    let x = keys.encryptor().encrypt_real(&[vec![0.5, -0.25]]).unwrap();
    for device in devices() {
        let (device, log) = device.recorded();
        let [roomy, tight] =
            [u64::MAX, device_bytes(&made)].map(|limit| Evaluator::with_key_memory(&p, &device, &made, limit).unwrap());
        let x = roomy.load(&x).unwrap();
        device.flush().unwrap();
        log.take();
        let want = roomy.rotate(&x, 1).unwrap();
        device.flush().unwrap();
        let rotation = log.take();
        // The second key drives out the first, which the first rotation, perhaps still waiting, reads.
        let got = tight.rotate(&x, 1).unwrap();
        tight.rotate(&x, 2).unwrap();
        let ran = log.take();
        assert!(!rotation.is_empty() && ran.starts_with(&rotation), "{}: {ran:?}", device.name());
        assert_eq!(got.to_host().unwrap().digest(), want.to_host().unwrap().digest());
    }
}

#[test]
fn many_threads_share_a_small_store() {
    use rayon::prelude::*;
    let p = parameters();
    let mut keys = generator(&p);
    let made = keys.evaluation_keys(&KeyRequest::new().rotations(1..=6)).unwrap();
    let one = device_bytes(&made);
    let x = keys.encryptor().encrypt_real(&[vec![0.5, -0.25]]).unwrap();
    for device in devices() {
        let all = Evaluator::new(&p, &device, &made).unwrap();
        let a = all.load(&x).unwrap();
        let digest = |eval: &Evaluator, steps| eval.rotate(&a, steps).unwrap().to_host().unwrap().digest();
        let want: Vec<_> = (1..=6).map(|steps| digest(&all, steps)).collect();
        let small = Evaluator::with_key_memory(&p, &device, &made, 2 * one).unwrap();
        // On rayon's own threads, which also do the CPU device's work, and on others.
        (0..48).into_par_iter().for_each(|i| assert_eq!(digest(&small, i % 6 + 1), want[i as usize % 6]));
        std::thread::scope(|scope| {
            for first in 0..4 {
                let (small, want, digest) = (&small, &want, &digest);
                scope.spawn(move || {
                    (first..first + 6).for_each(|i| assert_eq!(digest(small, i % 6 + 1), want[i as usize % 6]));
                });
            }
        });
        let statistics = small.key_statistics();
        assert!(statistics.evictions >= 4, "{statistics:?}");
        // Two threads may have brought one key, and one copy is kept: nothing is left over or lost.
        assert!(statistics.loads >= statistics.evictions + 2, "{statistics:?}");
        // Whatever the threads left, six keys in turn drive each other out of a store of two.
        (1..=6).for_each(|steps| assert_eq!(digest(&small, steps), want[steps as usize - 1]));
        let before = small.key_statistics();
        (1..=6).for_each(|steps| assert_eq!(digest(&small, steps), want[steps as usize - 1]));
        let after = small.key_statistics();
        assert_eq!((after.loads, after.evictions), (before.loads + 6, before.evictions + 6));
        assert_eq!(after.resident_bytes, 2 * one);
    }
}

#[test]
fn a_limit_below_the_largest_key_is_an_error_that_says_so() {
    let p = parameters();
    let mut keys = generator(&p);
    let made = keys.evaluation_keys(&KeyRequest::new().rotations([1]).rotations_at(Level(0), [2])).unwrap();
    let least = made.iter().map(|(_, key)| key.device_bytes()).max().unwrap();
    assert_eq!(least, (4 * 3 * 2 * 8) << 11); // three digits, two halves, eight limbs of 2^11 words
    for device in devices() {
        for limit in [0, least - 1] {
            let error = Evaluator::with_key_memory(&p, &device, &made, limit).unwrap_err();
            assert_eq!(error, Error::KeyMemoryTooSmall { limit, least });
            assert!(error.to_string().contains(&least.to_string()), "{error}");
        }
        let eval = Evaluator::with_key_memory(&p, &device, &made, least).unwrap();
        let x = eval.load(&keys.encryptor().encrypt_complex(&[vec![]], Level(0)).unwrap()).unwrap();
        eval.rotate_hoisted(&x, &[1, 2]).unwrap();
        assert_eq!(eval.key_statistics().evictions, 1);
        // No keys need no memory.
        let none = keys.evaluation_keys(&KeyRequest::new()).unwrap();
        assert!(Evaluator::with_key_memory(&p, &device, &none, 0).is_ok());
    }
}

#[test]
fn what_is_left_to_a_seed_must_be_whole_polynomials() {
    let p = parameters();
    let seed = Seed::from_bytes([2; 32]);
    let basis = |limbs: u32| Basis::new(0..limbs);
    for device in devices() {
        let ring = Ring::new(&device, p.rlwe().tables()).unwrap();
        let upload = |limbs, batch, words: &[u32]| {
            RnsPoly::<Evaluation>::upload_seeded(&ring, &basis(limbs), batch, words, &seed)
        };
        // All of it, half of it.
        for given in [0, 1, 2] {
            let got = upload(2, 3, &vec![7; given << 12]).unwrap().download().unwrap();
            assert!(got[..given << 12].iter().all(|&word| word == 7));
            assert!(got[given << 12..].chunks(1 << 11).all(|row| row.iter().any(|&word| word > 1 << 16)));
        }
        for (limbs, batch, words) in
            [(2, 3, 3 << 12), (2, 3, 4 << 12), (2, 3, 1 << 11), (0, 3, 0), (0, 3, 1), (2, 0, 0)]
        {
            let refused = upload(limbs, batch, &vec![7; words]);
            assert!(
                matches!(refused, Err(Error::ShapeMismatch { op: "upload_seeded", .. })),
                "{limbs} limbs, {batch} polynomials, {words} words: {refused:?}"
            );
        }
        assert!(matches!(upload(2, 3, &[u32::MAX; 1 << 12]), Err(Error::BadValue { index: 0, .. })));
        assert!(matches!(upload(99, 3, &[]), Err(Error::InvalidParameter { what: "basis", .. })));
    }
}

#[test]
fn a_key_switcher_refuses_what_its_gadget_does_not_fit() {
    let p = parameters();
    let mut keys = generator(&p);
    let request = KeyRequest::new().relinearization(true).rotations_at(Level(0), [1]);
    let made = keys.evaluation_keys(&request).unwrap();
    let id = KeyId::Relinearization;
    for device in devices() {
        let ring = Ring::new(&device, p.rlwe().tables()).unwrap();
        let elsewhere = Ring::new(&ringlight::Device::cpu(), p.rlwe().tables()).unwrap();
        let polys = |ring: &Ring, basis: Basis, batch: u32| {
            let words = vec![1; (basis.limbs() * batch) as usize * p.log_n().degree()];
            RnsPoly::<Evaluation>::upload(ring, &basis, batch, &words).unwrap()
        };
        let switcher = KeySwitcher::new(&ring, &made).unwrap();
        let good = polys(&ring, Basis::new(0..6), 1);
        let digits = switcher.decompose(&good).unwrap();
        let mismatch = |refused: ringlight::Result<()>| {
            assert!(matches!(refused, Err(Error::ParameterMismatch { op: "key switching" })), "{refused:?}");
        };
        for other in [polys(&elsewhere, Basis::new(0..6), 1), polys(&ring, Basis::new(1..7), 1)] {
            mismatch(switcher.decompose(&other).map(drop));
            mismatch(switcher.switch(&other, id, Finish::NOTHING).map(drop));
        }
        // Another gadget's operand, and digits of another switcher's ring.
        let gadget = p.rlwe().gadget(LimbCount(4));
        mismatch(switcher.switch_in(&good, &gadget, id, Finish::NOTHING).map(drop));
        let foreign = KeySwitcher::new(&elsewhere, &made).unwrap();
        mismatch(foreign.switch_hoisted(&digits, id, Finish::NOTHING).map(drop));
        let both = |plus: &RnsPoly<Evaluation>| {
            let finish = Finish { plus: Some(plus), element: GaloisElement::IDENTITY };
            let (whole, hoisted) = (switcher.switch(&good, id, finish), switcher.switch_hoisted(&digits, id, finish));
            [whole.map(drop), hoisted.map(drop)]
        };
        for plus in [polys(&elsewhere, Basis::new(0..6), 1), polys(&ring, Basis::new(1..3), 1)] {
            both(&plus).into_iter().for_each(mismatch);
        }
        for refused in both(&polys(&ring, Basis::new(0..6), 3)) {
            assert!(matches!(refused, Err(Error::BadProgram { .. })), "{refused:?}");
        }
        let low = KeyId::Galois(GaloisElement::from_steps(1, p.log_n()));
        let refused = switcher.switch(&good, low, Finish::NOTHING);
        assert!(matches!(refused, Err(Error::ShapeMismatch { .. })), "{refused:?}");
        assert!(both(&good).iter().all(Result::is_ok));
    }
}
