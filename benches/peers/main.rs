//! Ringlight's side of `benches/peers/run`: does an operation again and again when asked to, and says how long each took.
//!
//! `peers ckks LOG_N SCALE_BITS LEVELS HEADROOM_BITS` or `peers ntt LOG_N BATCH`, with the threads of `RAYON_NUM_THREADS`. The
//! first line of output describes the parameters. Then every line `OPERATION MILLISECONDS` of input gives one line of output: a
//! JSON array of nanoseconds, one number a call, after one call that does not count. The other libraries' workers speak the same protocol, so that one script can
//! take turns between them. Without a command every operation runs once on a small set.

use num_complex::Complex64;
use ringlight::ckks::{Encoder, Encryptor, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::device::{Basis, Op};
use ringlight::math::{Csprng, RingTables, Seed, ntt_primes_below};
use ringlight::units::{LogN, Shape};
use ringlight::{Device, Result};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::error::Error;
use std::hint::black_box;
use std::io::BufRead;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tfhe_ntt::prime32::Plan;

const HOISTED: [i32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Limbs of the transforms, as many rows for each polynomial of the batch.
const LIMBS: u32 = 16;

/// An operation, and how many of the things that its name says one call does.
struct Work<'a> {
    name: &'static str,
    items: f64,
    call: Box<dyn Fn() -> Result<()> + 'a>,
}

fn work<'a, T>(name: &'static str, items: f64, call: impl Fn() -> Result<T> + 'a) -> Work<'a> {
    Work { name, items, call: Box::new(move || call().map(|made| drop(black_box(made)))) }
}

/// Describes the set, then answers requests until the input ends.
fn serve(mut set: Value, works: &[Work<'_>]) -> std::result::Result<(), Box<dyn Error>> {
    set["operations"] = works.iter().map(|work| work.name).collect();
    set["threads"] = rayon::current_num_threads().into();
    println!("{set}");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (name, budget) = line.split_once(' ').ok_or("expected OPERATION MILLISECONDS")?;
        let work = works.iter().find(|work| work.name == name).ok_or("no such operation")?;
        let budget = Duration::from_secs_f64(budget.parse::<f64>()? / 1e3);
        (work.call)()?;
        let start = Instant::now();
        let mut nanoseconds = Vec::new();
        while nanoseconds.is_empty() || start.elapsed() < budget {
            let start = Instant::now();
            (work.call)()?;
            nanoseconds.push(start.elapsed().as_nanos() as f64 / work.items);
        }
        println!("{}", json!(nanoseconds));
    }
    Ok(())
}

fn ckks(parameters: &Parameters, run: impl FnOnce(Value, &[Work<'_>])) -> Result<()> {
    let p = parameters;
    let device = Device::cpu();
    let slots = p.slots();
    // The inner product of two vectors takes a key for every power of two: gigabytes in larger rings.
    let dot = p.log_n().get() < 15;
    let sums = (0..if dot { slots.ilog2() } else { 0 }).map(|k| 1 << k);
    let request = KeyRequest::new().relinearization(true).rotations(HOISTED).rotations(sums);
    let generator = RefCell::new(KeyGenerator::from_seed(p, &Seed::from_bytes([2; 32])));
    let eval = Evaluator::new(p, &device, &generator.borrow_mut().evaluation_keys(&request)?)?;
    let encryptor = Encryptor::with_public_key(p, generator.borrow_mut().public_key())?;
    let decryptor = generator.borrow().decryptor();
    let encoder = Encoder::new(p);
    let vectors = vec![(0..slots).map(|k| Complex64::cis(k as f64 * 0.37).re).collect::<Vec<f64>>()];
    let plaintext = encoder.encode_real(&vectors, p.max_level())?;
    let fresh = encryptor.encrypt(&plaintext)?;
    let (x, y) = (eval.load(&fresh)?, eval.load(&encryptor.encrypt(&plaintext)?)?);
    let plain = eval.load_plaintext(&plaintext)?;

    // Operations on a device wait in its queue until it is flushed.
    macro_rules! on_device {
        ($name:literal, $items:expr, $made:expr) => {
            work($name, $items, || {
                let made = $made?;
                device.flush()?;
                Ok(made)
            })
        };
    }
    let encrypt_new = || -> Result<_> { encryptor.encrypt(&encoder.encode_real(&vectors, p.max_level())?) };
    let mut works = vec![
        on_device!("mul_relin_rescale", 1.0, eval.mul(&x, &y)),
        on_device!("mul_relin", 1.0, eval.relinearize(&eval.multiply(&x, &y)?)),
        on_device!("rotate", 1.0, eval.rotate(&x, 1)),
        on_device!("rotate_hoisted", HOISTED.len() as f64, eval.rotate_hoisted(&x, &HOISTED)),
        on_device!("rescale", 1.0, eval.rescale(&x)),
        on_device!("mul_plain", 1.0, eval.mul_plain(&x, &plain)),
        on_device!("add", 1.0, eval.add(&x, &y)),
        work("encode", 1.0, || encoder.encode_real(&vectors, p.max_level())),
        work("encrypt", 1.0, || encryptor.encrypt(&plaintext)),
        work("encode_encrypt", 1.0, encrypt_new),
        work("decrypt", 1.0, || decryptor.decrypt_plaintext(&fresh)),
        work("decode", 1.0, || encoder.decode_real(&plaintext)),
        work("decrypt_decode", 1.0, || decryptor.decrypt_real(&fresh)),
        work("rotation_key", 1.0, || generator.borrow_mut().evaluation_keys(&KeyRequest::new().rotations([1]))),
    ];
    if dot {
        works.push(on_device!("dot", 1.0, eval.inner_sum(&eval.mul(&x, &y)?, slots)));
    }
    let set = json!({
        "library": "Ringlight", "device": device.name(), "set": p.to_string(), "log_n": p.log_n().get(),
        "scale_bits": p.scale_bits(), "levels": p.max_level().0,
        "log_q": p.log_q(), "log_qp": p.log_qp(), "limbs": p.rlwe().chain().0, "special": p.rlwe().special().0,
        "digits": p.rlwe().digits(p.rlwe().chain()).len(), "security": p.security().map(|s| s.bits()),
    });
    run(set, &works);
    Ok(())
}

/// Transforms of rows of random residues, by Ringlight and by `tfhe-ntt` called directly, in one thread.
fn ntt(log_n: LogN, batch: u32, run: impl FnOnce(Value, &[Work<'_>])) -> Result<()> {
    let n = log_n.degree();
    let rows = LIMBS * batch;
    let moduli: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(LIMBS as usize).collect();
    let tables = Arc::new(RingTables::new(log_n, &moduli)?);
    let mut words = vec![0; n * rows as usize];
    for (row, out) in words.chunks_mut(n).enumerate() {
        let prime = &tables.primes()[row % LIMBS as usize];
        Csprng::with_stream(&Seed::from_bytes([1; 32]), row as u64).uniform(prime.modulus(), out);
    }
    let device = Device::cpu();
    let ring = device.load_ring(&tables)?;
    let buffer = device.upload(Shape { batch, limbs: LIMBS, log_n: log_n.get() }, &words)?;
    let basis = Basis::new(0..LIMBS);
    let ours = |forward: bool| {
        let (dst, src, basis) = (buffer.view(), buffer.view(), basis.clone());
        let op = if forward { Op::NttForward { dst, src, basis } } else { Op::NttInverse { dst, src, basis } };
        device.record(&ring, op)?;
        device.flush()
    };
    let plans: Vec<_> = moduli.iter().map(|&q| Plan::try_new(n, q).expect("an NTT prime")).collect();
    let words = Rc::new(RefCell::new(words));
    let peer = |name, rows: u32, transform: fn(&Plan, &mut [u32])| {
        let (words, plans) = (words.clone(), &plans);
        work(name, f64::from(rows), move || {
            for (row, plan) in words.borrow_mut().chunks_mut(n).zip(plans.iter().cycle()).take(rows as usize) {
                transform(plan, row);
            }
            Ok(())
        })
    };
    let works = [
        work("forward", f64::from(rows), || ours(true)),
        work("inverse", f64::from(rows), || ours(false)),
        peer("tfhe_ntt_forward", rows, |plan, row| plan.fwd(row)),
        peer("tfhe_ntt_inverse", rows, |plan, row| {
            plan.inv(row);
            plan.normalize(row);
        }),
        peer("tfhe_ntt_inverse_times_n", rows, |plan, row| plan.inv(row)),
        // One row again and again, from whatever cache holds it: the yardstick that carries published figures to this machine.
        peer("tfhe_ntt_forward_one_row", 1, |plan, row| plan.fwd(row)),
    ];
    let set = json!({ "library": "Ringlight", "device": device.name(), "log_n": log_n.get(), "rows": rows });
    run(set, &works);
    Ok(())
}

/// Every operation once.
fn once(_: Value, works: &[Work<'_>]) {
    for work in works {
        (work.call)().expect(work.name);
        println!("{}: done", work.name);
    }
}

fn answer(set: Value, works: &[Work<'_>]) {
    if let Err(error) = serve(set, works) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

/// What the command line asks for.
fn run() -> std::result::Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |index: usize| -> std::result::Result<u32, Box<dyn Error + Send + Sync>> {
        Ok(arguments.get(index).ok_or("too few arguments")?.parse()?)
    };
    let set = |log_n, bits, levels, headroom| {
        Parameters::builder().log_n(log_n).scale_bits(bits).levels(levels).headroom_bits(headroom).build()
    };
    match arguments.first().map(String::as_str) {
        Some("ckks") => ckks(&set(number(1)?, number(2)?, number(3)?, number(4)?)?, answer)?,
        Some("ntt") => ntt(LogN::new(number(1)?).ok_or("no such ring")?, number(2)?, answer)?,
        _ => {
            ckks(&set(13, 28, 2, 20)?, once)?;
            ntt(LogN::new(12).expect("in range"), 1, once)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    // In the pool, so that no call waits for another thread to wake up.
    let pool = rayon::ThreadPoolBuilder::new().build().expect("the system has threads");
    match pool.install(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
