//! Random circuits: the encrypted reading against the clear one, on every device, bit for bit between devices.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use proptest::prelude::*;
use ringlight::circuit::{Clear, Evaluator as Circuit, Matrix, Plan};
use ringlight::ckks::{Decryptor, Encryptor, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::math::Seed;
use ringlight::units::Level;
use std::sync::OnceLock;

const BATCH: usize = 2;
const STEPS: [i32; 4] = [1, -1, 7, 64];

/// One step of a circuit. Operands are picked from the values so far.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    left: usize,
    right: usize,
    salt: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..18, any::<usize>(), any::<usize>(), any::<u64>());
    prop::collection::vec(step.prop_map(|(kind, left, right, salt)| Step { kind, left, right, salt }), 10..=15)
}

/// Runs the steps on any reading. Operands of two levels meet at the lower; where no level is left, multiplications become
/// additions; every product is halved, so that values stay bounded.
fn run<E: Circuit>(eval: &E, inputs: Vec<E::Value>, steps: &[Step]) -> ringlight::Result<Vec<E::Value>> {
    let mut values = inputs;
    for step in steps {
        let mut random = Inputs::new(step.salt);
        let (a, b) = (&values[step.left % values.len()], &values[step.right % values.len()]);
        let level = Level(eval.level(a).0.min(eval.level(b).0));
        let (a, b) = (&eval.drop_to(a, level)?, &eval.drop_to(b, level)?);
        let turn = STEPS[(step.salt % 4) as usize];
        let mut plain = |count: usize| {
            let vectors: Vec<Vec<Complex64>> =
                (0..count).map(|_| random.complex(eval.slots()).into_iter().map(|z| z / 4.0).collect()).collect();
            eval.encode(&vectors, level)
        };
        let kind = if level.0 == 0 { step.kind % 8 } else { step.kind };
        values.push(match kind {
            0 => eval.add(a, b)?,
            1 => eval.sub(a, b)?,
            2 => eval.neg(a)?,
            3 => eval.add_plain(a, &plain(1)?)?,
            4 => eval.add_scalar(a, random.real())?,
            5 => eval.rotate(a, turn)?,
            6 => eval.rotate_hoisted(a, &[0, turn, STEPS[0]])?.swap_remove(1),
            7 => eval.conjugate(a)?,
            8 | 9 => eval.mul(a, b)?,
            10 => eval.square(a)?,
            11 => eval.mul_scalar(a, random.real())?,
            12 => eval.dot_plain(&[(a, &plain(1)?), (b, &plain(BATCH)?)])?,
            13 => {
                let entries = (0..BATCH * BATCH).map(|_| random.real() / 2.0).collect();
                let weights = eval.encode_weights(&Matrix::new(BATCH, BATCH, entries)?, level)?;
                eval.combine(&[(a, &weights), (b, &weights)])?
            }
            14 => eval.drop_to(a, Level(level.0 - 1))?,
            15 => eval.dot(&[(a, b), (b, b)], &[(a, random.real()), (b, 0.0)], Level(level.0 - 1))?,
            16 => {
                // A term may stand at any level above the sum's.
                let terms = [(&values[step.left % values.len()], random.real()), (b, random.real())];
                eval.dot_scalars(&terms, Level(level.0 - 1))?
            }
            _ => {
                eval.add_plain(&eval.mul(a, b)?, &eval.encode(&vec![vec![Complex64::I]; BATCH], Level(level.0 - 1))?)?
            }
        });
    }
    Ok(values)
}

struct World {
    p: Parameters,
    secret: Encryptor,
    dec: Decryptor,
    evals: Vec<Evaluator>,
}

fn worlds() -> &'static [World] {
    static WORLDS: OnceLock<Vec<World>> = OnceLock::new();
    WORLDS.get_or_init(|| {
        let world = |(bits, headroom)| {
            let p = Parameters::builder().log_n(11).scale_bits(bits).levels(3).headroom_bits(headroom);
            let p = p.insecure_build().unwrap();
            let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([5; 32]));
            let request = KeyRequest::new().relinearization(true).conjugation(true).rotations(STEPS);
            let evaluation = keys.evaluation_keys(&request).unwrap();
            let evals = devices().iter().map(|d| Evaluator::new(&p, d, &evaluation).unwrap()).collect();
            World { secret: keys.encryptor(), dec: keys.decryptor(), evals, p }
        };
        // Results may be large after squares of sums: the headroom holds them.
        [(29, 28), (50, 30)].map(world).into()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_circuits_agree_in_every_reading(steps in steps(), salt: u64) {
        for world in worlds() {
            let top = world.p.max_level();
            let mut random = Inputs::new(salt);
            let inputs: Vec<Vec<Vec<Complex64>>> = (0..2)
                .map(|_| (0..BATCH).map(|_| random.complex(world.p.slots()).into_iter().map(|z| z / 2.0).collect()).collect())
                .collect();
            let clear = Clear::new(world.p.slots(), top);
            let known = inputs.iter().map(|x| clear.value(x, top).unwrap()).collect();
            let want = run(&clear, known, &steps).unwrap();
            let sent: Vec<_> = inputs.iter().map(|x| world.secret.encrypt_complex(x, top).unwrap()).collect();
            let mut digests: Option<Vec<String>> = None;
            for eval in &world.evals {
                let loaded = sent.iter().map(|x| eval.load(x).unwrap()).collect();
                let got = run(eval, loaded, &steps).unwrap();
                let hosts: Vec<_> = got.iter().map(|c| c.to_host().unwrap()).collect();
                let these: Vec<String> = hosts.iter().map(|h| h.digest()).collect();
                prop_assert_eq!(digests.get_or_insert_with(|| these.clone()), &these, "{}", eval.device().name());
                if !eval.device().is_same(world.evals[0].device()) {
                    continue; // the same bits need no second decryption
                }
                // Values double with additions and square with products: errors are relative to the largest value so far.
                let mut size = 1f64;
                for (k, (host, want)) in hosts.iter().zip(&want).enumerate() {
                    prop_assert_eq!(Circuit::level(&clear, want), host.level());
                    let largest = want.vectors().iter().flatten().map(|z| z.norm()).fold(0.0, f64::max);
                    size = size.max(largest);
                    prop_assume!(size < 1e4);
                    let bound = size * 20f64.exp2() / f64::from(world.p.scale_bits()).exp2();
                    for (got, want) in world.dec.decrypt(host).unwrap().iter().zip(want.vectors()) {
                        for (g, w) in got.iter().zip(want) {
                            prop_assert!((g - w).norm() < bound, "value {}: {} not {} ({})", k, g, w, world.p);
                        }
                    }
                }
            }
            // The plan knows beforehand how deep it goes and which keys it takes.
            let plan = Plan::new(world.p.slots());
            let top_of_plan = plan.input(BATCH);
            let start = plan.drop_to(&top_of_plan, Level(top.0)).unwrap();
            run(&plan, vec![start, start], &steps).unwrap();
            let slots = i32::try_from(world.p.slots()).unwrap();
            let known = plan.report().rotations.iter().all(|s| STEPS.iter().any(|t| t.rem_euclid(slots) == *s));
            prop_assert!(known, "rotations {:?}", plan.report().rotations);
        }
    }
}
