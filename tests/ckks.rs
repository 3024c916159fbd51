//! The scheme: what comes back from encrypted arithmetic, against arithmetic in the clear; and its typed refusals.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that panics has failed")]

mod common;

use common::{Inputs, devices};
use num_complex::Complex64;
use ringlight::circuit::{self, Clear, Matrix};
use ringlight::ckks::{Builder, Ciphertext, Decryptor, Encoder, Encryptor, Evaluator, HostCiphertext, KeyGenerator};
use ringlight::ckks::{KeyRequest, Parameters};
use ringlight::math::Seed;
use ringlight::rlwe::EvaluationKeys;
use ringlight::units::Level;
use ringlight::{Device, Error};

type Vectors = Vec<Vec<Complex64>>;

/// A client and the keys of its servers.
struct Client {
    p: Parameters,
    evaluation: EvaluationKeys,
    secret: Encryptor,
    public: Encryptor,
    dec: Decryptor,
}

fn seed(byte: u8) -> Seed {
    Seed::from_bytes([byte; 32])
}

impl Client {
    fn new(p: Parameters) -> Self {
        let mut keys = KeyGenerator::from_seed(&p, &seed(3));
        let request = KeyRequest::new().relinearization(true).conjugation(true).rotations([1, -3, 5, 6, 2, 4]);
        let evaluation = keys.evaluation_keys(&request).unwrap();
        let public = Encryptor::with_public_key_and_seed(&p, keys.public_key(), &seed(4)).unwrap();
        Self { evaluation, secret: keys.encryptor(), public, dec: keys.decryptor(), p }
    }

    fn toy() -> Self {
        Self::new(Parameters::builder().log_n(11).scale_bits(28).levels(3).insecure_build().unwrap())
    }

    fn server(&self, device: &Device) -> Evaluator {
        Evaluator::new(&self.p, device, &self.evaluation).unwrap()
    }

    fn vectors(&self, inputs: &mut Inputs, batch: usize, real: bool) -> Vectors {
        let mut vectors: Vectors = (0..batch).map(|_| inputs.complex(self.p.slots())).collect();
        if real {
            vectors.iter_mut().flatten().for_each(|z| z.im = 0.0);
        }
        vectors
    }

    /// Largest error of a slot that a public-key encryption may have: eight standard deviations
    /// `sigma sqrt(4N/3 + 1) sqrt(N) / scale`. Everything else is counted in it.
    fn unit(&self) -> f64 {
        let n = self.p.log_n().degree() as f64;
        8.0 * 3.2 * (4.0 * n / 3.0 + 1.0).sqrt() * n.sqrt() / f64::from(self.p.scale_bits()).exp2()
            + 38f64.exp2().recip()
    }

    fn decrypts_to(&self, host: &HostCiphertext, want: &Vectors, units: f64, what: &str) {
        let got = self.dec.decrypt(host).unwrap();
        assert_eq!(got.len(), want.len(), "{what}: batch");
        for (b, (got, want)) in got.iter().zip(want).enumerate() {
            assert_eq!(got.len(), want.len(), "{what}: slots");
            for (slot, (x, y)) in got.iter().zip(want).enumerate() {
                let error = (x - y).norm();
                assert!(error < units * self.unit(), "{what}, {}: [{b}][{slot}] {x} not {y}, {error:e}", self.p);
            }
        }
    }
}

/// One limb a level at both ends, two limbs at both ends; one digit, as many as limbs, and the cheapest; one secure set.
fn clients() -> Vec<Client> {
    let toy = |bits, levels| Parameters::builder().log_n(11).scale_bits(bits).levels(levels);
    let sets: Vec<Builder> = vec![
        toy(28, 3),
        toy(26, 2).digits(1),
        toy(30, 3).digits(5),
        toy(50, 2),
        toy(58, 2).digits(1),
        toy(58, 1).digits(5),
    ];
    let sets = sets.into_iter().map(|b| b.insecure_build().unwrap()).chain([Parameters::n13().unwrap()]);
    let clients: Vec<Client> = sets.map(Client::new).collect();
    let digits: Vec<usize> = clients.iter().map(|c| c.p.rlwe().digits(c.p.rlwe().chain()).len()).collect();
    assert!(digits[1] == 1 && digits[2] == 5 && digits[4] == 1 && digits[5] == 5, "{digits:?}");
    clients
}

fn zip(a: &Vectors, b: &Vectors, f: impl Fn(Complex64, Complex64) -> Complex64) -> Vectors {
    let right = b.iter().cycle();
    a.iter().zip(right).map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()).collect()
}

fn map(a: &Vectors, f: impl Fn(Complex64) -> Complex64) -> Vectors {
    zip(a, a, |z, _| f(z))
}

fn turn(a: &Vectors, steps: i32) -> Vectors {
    let turned = |v: &Vec<Complex64>| {
        let at = |k: usize| v[usize::try_from((k as i64 + i64::from(steps)).rem_euclid(v.len() as i64)).unwrap()];
        (0..v.len()).map(at).collect()
    };
    a.iter().map(turned).collect()
}

fn host(c: &Ciphertext) -> HostCiphertext {
    c.to_host().unwrap()
}

#[test]
fn every_operation_of_the_scheme_decrypts_to_clear_arithmetic() {
    for client in clients() {
        let top = client.p.max_level();
        for device in devices() {
            let eval = client.server(&device);
            for (batch, level, real) in [(1, top, false), (3, top, true), (3, Level(1), false), (1, Level(1), true)] {
                operations(&client, &eval, batch, level, real);
            }
        }
    }
}

fn operations(client: &Client, eval: &Evaluator, batch: usize, level: Level, real: bool) {
    let mut inputs = Inputs::new(u64::from(level.0) + batch as u64);
    let (x, y) = (client.vectors(&mut inputs, batch, real), client.vectors(&mut inputs, batch, real));
    let one = client.vectors(&mut inputs, 1, false);
    let hx = client.public.encrypt_complex(&x, level).unwrap();
    let hy = client.secret.encrypt_complex(&y, level).unwrap();
    let (a, b) = (eval.load(&hx).unwrap(), eval.load(&hy).unwrap());
    let encoder = Encoder::new(&client.p);
    let plain = |v: &Vectors| eval.load_plaintext(&encoder.encode(v, level).unwrap()).unwrap();
    let (p1, pb) = (plain(&one), plain(&y));
    let (scale, below) = (client.p.scale_at(level).unwrap(), client.p.scale_at(Level(level.0 - 1)).unwrap());
    let expect = |what: &str, c: &Ciphertext, at: Level, scale: f64, want: &Vectors, units: f64| {
        assert_eq!((c.level(), c.batch() as usize), (at, want.len()), "{what}");
        assert_eq!(c.limbs(), client.p.limbs_at(at).unwrap(), "{what}");
        assert!((c.scale() / scale - 1.0).abs() < 1e-12, "{what}: scale {} not {scale}", c.scale());
        client.decrypts_to(&host(c), want, units, &format!("{what} on {}", eval.device().name()));
    };
    let same = |what: &str, c: &Ciphertext, want: &Vectors, units| expect(what, c, level, scale, want, units);
    let square = |what: &str, c: &Ciphertext, want: &Vectors| expect(what, c, level, scale * scale, want, 8.0);
    let next = Level(level.0 - 1);

    client.decrypts_to(&hx, &x, 1.0, "public-key encryption");
    client.decrypts_to(&hy, &y, 0.2, "secret-key encryption");
    same("load", &a, &x, 1.0);
    same("add", &eval.add(&a, &b).unwrap(), &zip(&x, &y, |x, y| x + y), 2.0);
    same("sub", &eval.sub(&a, &b).unwrap(), &zip(&x, &y, |x, y| x - y), 2.0);
    same("neg", &eval.neg(&a).unwrap(), &map(&x, |x| -x), 1.0);
    same("add_plain of one", &eval.add_plain(&a, &p1).unwrap(), &zip(&x, &one, |x, p| x + p), 1.5);
    same("add_plain of a batch", &eval.add_plain(&a, &pb).unwrap(), &zip(&x, &y, |x, p| x + p), 1.5);
    same("add_scalar", &eval.add_scalar(&a, -1.75).unwrap(), &map(&x, |x| x - 1.75), 1.0);
    let shifts: Vec<f64> = (0..batch).map(|v| 0.25 - v as f64).collect();
    let shifted: Vectors = x.iter().zip(&shifts).map(|(v, s)| v.iter().map(|x| x + s).collect()).collect();
    same("add_scalars", &eval.add_scalars(&a, &shifts).unwrap(), &shifted, 1.0);
    square("mul_plain of one", &eval.mul_plain(&a, &p1).unwrap(), &zip(&x, &one, |x, p| x * p));
    square("mul_plain of a batch", &eval.mul_plain(&a, &pb).unwrap(), &zip(&x, &y, |x, p| x * p));
    let dot = eval.dot_plain(&[(&a, &p1), (&b, &pb), (&a, &p1)]).unwrap();
    let want = zip(&zip(&x, &one, |x, p| x * p * 2.0), &map(&y, |y| y * y), |s, t| s + t);
    square("dot_plain", &dot, &want);
    square("mul_scalar", &eval.mul_scalar(&a, -1.25, scale).unwrap(), &map(&x, |x| x * -1.25));
    let xy = zip(&x, &y, |x, y| x * y);
    let product = eval.multiply(&a, &b).unwrap();
    assert_eq!(product.components(), 3);
    square("multiply", &product, &xy);
    square("a sum of products", &eval.add(&product, &product).unwrap(), &map(&xy, |z| z * 2.0));
    square("a negated product", &eval.neg(&product).unwrap(), &map(&xy, |z| -z));
    let relinearized = eval.relinearize(&product).unwrap();
    assert_eq!(relinearized.components(), 2);
    square("relinearize", &relinearized, &xy);
    expect("rescale", &eval.rescale(&relinearized).unwrap(), next, below, &xy, 8.0);
    expect("rescale of three components", &eval.rescale(&product).unwrap(), next, below, &xy, 60.0);
    expect("mul", &eval.mul(&a, &b).unwrap(), next, below, &xy, 8.0);
    expect("square", &eval.square(&a).unwrap(), next, below, &map(&x, |x| x * x), 8.0);
    expect("truncate", &eval.truncate(&a, next).unwrap(), next, scale, &x, 1.0);
    expect("drop_to", &eval.drop_to(&a, next).unwrap(), next, below, &x, 2.0);
    expect(
        "drop_to zero",
        &eval.drop_to(&a, Level(0)).unwrap(),
        Level(0),
        client.p.scale_at(Level(0)).unwrap(),
        &x,
        2.0,
    );
    same("drop_to its own level", &eval.drop_to(&a, level).unwrap(), &x, 1.0);
    let slots = i32::try_from(client.p.slots()).unwrap();
    for steps in [1, -3, 5, 0, slots, 5 - slots] {
        same("rotate", &eval.rotate(&a, steps).unwrap(), &turn(&x, steps), 2.0);
    }
    for (steps, c) in [5, 0, -3].into_iter().zip(eval.rotate_hoisted(&a, &[5, 0, -3]).unwrap()) {
        same("rotate_hoisted", &c, &turn(&x, steps), 2.0);
    }
    assert!(eval.rotate_hoisted(&a, &[]).unwrap().is_empty());
    same("conjugate", &eval.conjugate(&a).unwrap(), &map(&x, |x| x.conj()), 2.0);
    let sum = (0..8).map(|k| turn(&x, k)).reduce(|s, t| zip(&s, &t, |s, t| s + t)).unwrap();
    same("inner_sum", &eval.inner_sum(&a, 8).unwrap(), &sum, 16.0);
    same("inner_sum of one", &eval.inner_sum(&a, 1).unwrap(), &x, 1.0);
    let entries: Vec<f64> = (0..2 * batch).map(|_| inputs.real()).collect();
    let matrix = Matrix::new(2, batch, entries).unwrap();
    let weights = eval.load_weights(&matrix, level).unwrap();
    let mixed = |v: &Vectors| -> Vectors {
        let slot = |o: usize, k: usize| (0..batch).map(|i| v[i][k] * matrix.row(o)[i]).sum();
        (0..2).map(|o| (0..client.p.slots()).map(|k| slot(o, k)).collect()).collect()
    };
    square("combine", &eval.combine(&a, &weights).unwrap(), &mixed(&x));
    let cubic = eval.combine(&product, &weights).unwrap();
    if client.p.log_q_at(level).unwrap() > 3.0 * f64::from(client.p.scale_bits()) + 8.0 {
        expect("combine of three components", &cubic, level, scale.powi(3), &mixed(&xy), 12.0);
    }
    same("slice", &a.slice(batch as u32 - 1, 1).unwrap(), &x[batch - 1..].to_vec(), 1.0);
    let moved = a.to_device(&Device::cpu()).unwrap();
    assert_eq!(host(&moved).digest(), host(&a).digest(), "to_device");
}

#[test]
fn operands_at_two_levels_meet_at_the_lower() {
    let client = Client::toy();
    for device in devices() {
        let eval = client.server(&device);
        let mut inputs = Inputs::new(9);
        let (x, y) = (client.vectors(&mut inputs, 1, false), client.vectors(&mut inputs, 1, false));
        let a = eval.load(&client.secret.encrypt_complex(&x, Level(3)).unwrap()).unwrap();
        let b = eval.load(&client.secret.encrypt_complex(&y, Level(2)).unwrap()).unwrap();
        let product = eval.mul(&a, &b).unwrap();
        assert_eq!(product.level(), Level(1));
        client.decrypts_to(&host(&product), &zip(&x, &y, |x, y| x * y), 8.0, "levels 3 and 2");
        // A plaintext of a higher level serves; so do weights.
        let high = eval.load_plaintext(&Encoder::new(&client.p).encode(&x, Level(3)).unwrap()).unwrap();
        client.decrypts_to(&host(&eval.mul_plain(&b, &high).unwrap()), &zip(&x, &y, |x, y| x * y), 4.0, "mul_plain");
        let weights = eval.load_weights(&Matrix::new(1, 1, vec![0.5]).unwrap(), Level(3)).unwrap();
        client.decrypts_to(&host(&eval.combine(&b, &weights).unwrap()), &map(&y, |y| y * 0.5), 4.0, "combine");
        // Values of one level that came there on different ways can be added, once each had its level's scale.
        let deep = eval.square(&eval.mul(&eval.drop_to(&a, Level(2)).unwrap(), &b).unwrap()).unwrap();
        let low = eval.drop_to(&a, Level(0)).unwrap();
        let want = zip(&zip(&x, &y, |x, y| (x * y) * (x * y)), &x, |s, x| s + x);
        client.decrypts_to(&host(&eval.add(&deep, &low).unwrap()), &want, 20.0, "a square and a dropped value");
    }
}

/// Every operation of the trait, the same code for every reading.
fn exercise<E: circuit::Evaluator>(eval: &E, x: &E::Value, y: &E::Value) -> Vec<(&'static str, E::Value)> {
    let (level, batch) = (eval.level(x), eval.batch(x));
    let mut inputs = Inputs::new(77);
    let mut plain = |count: usize, level| {
        let vectors: Vectors = (0..count).map(|_| inputs.complex(eval.slots() - 3)).collect();
        eval.encode(&vectors, level).unwrap()
    };
    let (one, all) = (plain(1, level), plain(batch, level));
    let matrix = Matrix::new(2, batch, (0..2 * batch).map(|k| 0.75 - 0.5 * k as f64).collect()).unwrap();
    let weights = eval.encode_weights(&matrix, level).unwrap();
    let product = eval.mul(x, y).unwrap();
    let low = Level(level.0 - 1);
    let turned = eval.rotate_hoisted(x, &[5, -3]).unwrap();
    let mut out = vec![
        ("add", eval.add(x, y).unwrap()),
        ("sub", eval.sub(x, y).unwrap()),
        ("neg", eval.neg(x).unwrap()),
        ("add_plain of one", eval.add_plain(x, &one).unwrap()),
        ("add_plain", eval.add_plain(x, &all).unwrap()),
        ("add_scalar", eval.add_scalar(x, 0.625).unwrap()),
        ("mul_scalar", eval.mul_scalar(x, -0.3).unwrap()),
        ("square", eval.square(y).unwrap()),
        ("dot_plain", eval.dot_plain(&[(x, &one), (y, &all)]).unwrap()),
        ("rotate", eval.rotate(x, -3).unwrap()),
        ("conjugate", eval.conjugate(x).unwrap()),
        ("combine", eval.combine(&[(x, &weights)]).unwrap()),
        ("drop_to", eval.drop_to(x, low).unwrap()),
        ("mul + mul_scalar", eval.add(&product, &eval.mul_scalar(y, 0.5).unwrap()).unwrap()),
        ("square - drop_to", eval.sub(&eval.square(x).unwrap(), &eval.drop_to(y, low).unwrap()).unwrap()),
        ("sum of rotations", eval.add(&turned[0], &turned[1]).unwrap()),
    ];
    out.extend(turned.into_iter().map(|value| ("rotate_hoisted", value)));
    out.push(("mul", product));
    out
}

#[test]
fn every_operation_of_circuits_agrees_with_the_clear_reading() {
    for client in clients() {
        for (batch, level) in [(1, client.p.max_level()), (3, client.p.max_level()), (3, Level(1))] {
            let mut inputs = Inputs::new(5);
            let (x, y) = (client.vectors(&mut inputs, batch, false), client.vectors(&mut inputs, batch, batch == 3));
            let clear = Clear::new(client.p.slots(), client.p.max_level());
            let want = exercise(&clear, &clear.value(&x, level).unwrap(), &clear.value(&y, level).unwrap());
            for device in devices() {
                let eval = client.server(&device);
                let load = |v: &Vectors| eval.load(&client.secret.encrypt_complex(v, level).unwrap()).unwrap();
                for ((what, got), (_, want)) in exercise(&eval, &load(&x), &load(&y)).iter().zip(&want) {
                    assert_eq!(got.level(), circuit::Evaluator::level(&clear, want), "{what}");
                    assert_eq!(got.scale(), client.p.scale_at(got.level()).unwrap(), "{what}");
                    client.decrypts_to(&host(got), &want.vectors().to_vec(), 10.0, what);
                }
            }
        }
    }
}

#[test]
fn operations_relate_as_they_should() {
    let client = Client::toy();
    for device in devices() {
        let eval = client.server(&device);
        let mut inputs = Inputs::new(21);
        let (x, y) = (client.vectors(&mut inputs, 3, false), client.vectors(&mut inputs, 3, false));
        let load = |v: &Vectors| eval.load(&client.secret.encrypt_complex(v, client.p.max_level()).unwrap()).unwrap();
        let (a, b) = (load(&x), load(&y));
        let read = |c: &Ciphertext| client.dec.decrypt(&host(c)).unwrap();
        let digest = |c: &Ciphertext| host(c).digest();
        // rotate 1, then 5 = rotate 6
        let twice = eval.rotate(&eval.rotate(&a, 1).unwrap(), 5).unwrap();
        client.decrypts_to(&host(&twice), &read(&eval.rotate(&a, 6).unwrap()), 2.0, "rotations compose");
        let back = eval.conjugate(&eval.conjugate(&a).unwrap()).unwrap();
        client.decrypts_to(&host(&back), &x, 2.0, "conjugation is an involution");
        // Hoisting changes nothing but the cost.
        for (steps, c) in [1, -3, 6].into_iter().zip(eval.rotate_hoisted(&a, &[1, -3, 6]).unwrap()) {
            assert_eq!(digest(&c), digest(&eval.rotate(&a, steps).unwrap()), "hoisted by {steps}");
        }
        let slow = eval.rescale(&eval.relinearize(&eval.multiply(&a, &b).unwrap()).unwrap()).unwrap();
        let fused = eval.mul(&a, &b).unwrap();
        client.decrypts_to(&host(&fused), &read(&slow), 1.0, "fused and step by step");
        assert_eq!((fused.level(), fused.scale()), (slow.level(), slow.scale()));
        assert_eq!(digest(&eval.square(&a).unwrap()), digest(&eval.mul(&a, &a).unwrap()));
        assert_eq!(digest(&fused), digest(&eval.mul(&b, &a).unwrap()), "products commute");
        let zero = eval.add(&eval.sub(&a, &b).unwrap(), &eval.sub(&b, &a).unwrap()).unwrap();
        client.decrypts_to(&host(&zero), &map(&x, |_| Complex64::ZERO), 1e-6, "a - b + b - a");
        // A batch is its vectors, one by one.
        let rotated = eval.rotate(&a, 5).unwrap();
        for k in 0..3 {
            let (one, other) = (a.slice(k, 1).unwrap(), b.slice(k, 1).unwrap());
            assert_eq!(digest(&fused.slice(k, 1).unwrap()), digest(&eval.mul(&one, &other).unwrap()), "vector {k}");
            assert_eq!(digest(&rotated.slice(k, 1).unwrap()), digest(&eval.rotate(&one, 5).unwrap()), "vector {k}");
        }
    }
}

#[test]
fn seeded_encryptions_are_half_the_size_and_short_vectors_are_filled() {
    for client in clients() {
        let x = vec![vec![1.5, -2.0, 0.25]];
        let (seeded, public) = (client.secret.encrypt_real(&x).unwrap(), client.public.encrypt_real(&x).unwrap());
        let limbs = client.p.limbs_at(client.p.max_level()).unwrap().0 as usize;
        let polynomial = 4 * limbs * client.p.log_n().degree();
        assert_eq!((seeded.bytes(), public.bytes()), (polynomial + 32, 2 * polynomial));
        let mut want = vec![0.0; client.p.slots()];
        want[..3].copy_from_slice(&x[0]);
        for c in [seeded, public] {
            let got = &client.dec.decrypt_real(&c).unwrap()[0];
            assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < client.unit()));
        }
        // No two encryptions are alike.
        assert_ne!(client.secret.encrypt_real(&x).unwrap().digest(), client.secret.encrypt_real(&x).unwrap().digest());
        assert_ne!(client.public.encrypt_real(&x).unwrap().digest(), client.public.encrypt_real(&x).unwrap().digest());
    }
}

/// Digests of everything a server can do, from seeds alone.
fn fingerprint(p: &Parameters, device: &Device) -> Vec<String> {
    let client = Client::new(p.clone());
    let eval = client.server(device);
    let mut inputs = Inputs::new(1);
    let (x, y) = (client.vectors(&mut inputs, 2, false), client.vectors(&mut inputs, 2, false));
    let hx = client.secret.encrypt_complex(&x, p.max_level()).unwrap();
    let hy = client.public.encrypt_complex(&y, p.max_level()).unwrap();
    let (a, b) = (eval.load(&hx).unwrap(), eval.load(&hy).unwrap());
    let all = exercise(&eval, &a, &b);
    [hx.digest(), hy.digest()].into_iter().chain(all.iter().map(|(_, c)| host(c).digest())).collect()
}

#[test]
fn one_seed_gives_the_same_bits_everywhere() {
    for bits in [28, 50] {
        let p = Parameters::builder().log_n(12).scale_bits(bits).levels(2).insecure_build().unwrap();
        let want = fingerprint(&p, &Device::cpu());
        for device in devices() {
            assert_eq!(fingerprint(&p, &device), want, "{}", device.name());
        }
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let got = pool.install(|| fingerprint(&p, &Device::cpu()));
            assert_eq!(got, want, "{threads} thread(s)");
        }
    }
}

/// Callers may use one encryptor and one evaluator from all threads of a rayon pool, which the library's own loops then run
/// on too: a thread that waits for its part of a loop takes up another caller's work.
#[test]
fn callers_on_every_thread_share_one_device() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let p = Parameters::builder().log_n(13).scale_bits(28).levels(3).insecure_build().unwrap();
        let client = Client::new(p);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
        for device in devices() {
            let eval = client.server(&device);
            let call = &|k: u64| {
                let x = client.vectors(&mut Inputs::new(k), 1, false);
                let a = eval.load(&client.public.encrypt_complex(&x, client.p.max_level()).unwrap()).unwrap();
                let got = eval.rotate(&eval.square(&a).unwrap(), 5).unwrap();
                client.decrypts_to(&host(&got), &turn(&map(&x, |x| x * x), 5), 8.0, "one of many callers");
            };
            // Callers come one by one, so that now and then a thread has nothing to do and takes part in another's loop.
            pool.in_place_scope(|scope| {
                for k in 0..150 {
                    scope.spawn(move |_| call(k));
                    std::thread::sleep(std::time::Duration::from_millis(3 + k % 4));
                }
            });
        }
        done.send(()).unwrap();
    });
    finished.recv_timeout(std::time::Duration::from_secs(60)).expect("a caller waits for itself");
}

// --- mistakes -----------------------------------------------------------------------------------

/// The error's variant is the pattern, and its message says what to do.
macro_rules! refuses {
    ($call:expr, $pattern:pat $(if $guard:expr)?, $remedy:literal) => {{
        let error = $call.err().unwrap_or_else(|| panic!("{} was accepted", stringify!($call)));
        assert!(matches!(&error, $pattern $(if $guard)?), "{}: {error:?}", stringify!($call));
        let message = error.to_string();
        assert!(message.contains($remedy), "{}: {message:?} does not say {:?}", stringify!($call), $remedy);
    }};
}

#[test]
fn mistakes_in_circuits_are_named() {
    let client = Client::toy();
    let encoder = Encoder::new(&client.p);
    let mut inputs = Inputs::new(31);
    let (x, many) = (client.vectors(&mut inputs, 1, false), client.vectors(&mut inputs, 3, false));
    for device in devices() {
        let eval = client.server(&device);
        let load = |v: &Vectors, level| eval.load(&client.secret.encrypt_complex(v, Level(level)).unwrap()).unwrap();
        let plain = |v: &Vectors, level| eval.load_plaintext(&encoder.encode(v, Level(level)).unwrap()).unwrap();
        let (a, low, bottom, batch) = (load(&x, 3), load(&x, 1), load(&x, 0), load(&many, 3));
        let scale = client.p.scale_at(Level(3)).unwrap();
        let big = eval.mul_scalar(&a, 1.0, scale).unwrap();
        let three = eval.multiply(&a, &a).unwrap();
        // Change the circuit.
        refuses!(eval.add(&a, &big), Error::ScaleMismatch { op: "add", left, right } if *right - *left > 27.0, "drop_to");
        refuses!(eval.sub(&a, &low), Error::ScaleMismatch { op: "sub", .. }, "drop_to");
        refuses!(eval.add_plain(&big, &plain(&x, 3)), Error::ScaleMismatch { .. }, "encode the plaintext at");
        refuses!(eval.drop_to(&big, Level(3)), Error::ScaleMismatch { op: "drop_to", .. }, "level");
        refuses!(eval.dot_plain(&[(&a, &plain(&x, 3)), (&big, &plain(&x, 3))]), Error::ScaleMismatch { .. }, "scale");
        refuses!(eval.mul(&bottom, &a), Error::LevelExhausted { op: "mul", needed: 1, left: 0 }, "longer chain");
        refuses!(eval.square(&bottom), Error::LevelExhausted { .. }, "longer chain");
        refuses!(eval.rescale(&bottom), Error::LevelExhausted { op: "rescale", .. }, "longer chain");
        refuses!(
            eval.truncate(&low, Level(2)),
            Error::LevelTooHigh { wanted: 2, available: 1, .. },
            "encrypt or encode at"
        );
        refuses!(eval.drop_to(&low, Level(2)), Error::LevelTooHigh { wanted: 2, .. }, "cannot be gained back");
        refuses!(eval.drop_to(&low, Level(9)), Error::LevelTooHigh { wanted: 9, .. }, "cannot be gained back");
        refuses!(
            eval.mul_plain(&a, &plain(&x, 1)),
            Error::LevelTooHigh { wanted: 3, available: 1, .. },
            "higher level"
        );
        refuses!(
            eval.load_weights(&Matrix::new(1, 1, vec![1.0]).unwrap(), Level(4)),
            Error::LevelTooHigh { .. },
            "level"
        );
        refuses!(eval.multiply(&three, &a), Error::ComponentCount { expected: 2, got: 3, .. }, "relinearize");
        refuses!(eval.rotate(&three, 1), Error::ComponentCount { op: "rotate", .. }, "relinearize");
        refuses!(eval.conjugate(&three), Error::ComponentCount { .. }, "relinearize");
        refuses!(eval.relinearize(&a), Error::ComponentCount { expected: 3, got: 2, .. }, "2");
        refuses!(eval.add(&three, &a), Error::ComponentCount { .. }, "relinearize");
        refuses!(eval.add(&a, &batch), Error::ShapeMismatch { op: "add", .. }, "a batch of 1");
        refuses!(eval.mul(&batch, &a), Error::ShapeMismatch { .. }, "a batch of 3");
        refuses!(eval.add_plain(&a, &plain(&many, 3)), Error::ShapeMismatch { .. }, "a batch of 1");
        refuses!(eval.dot_plain(&[]), Error::ShapeMismatch { op: "dot_plain", .. }, "terms");
        refuses!(
            eval.dot_plain(&[(&a, &plain(&x, 3)), (&batch, &plain(&x, 3))]),
            Error::ShapeMismatch { .. },
            "a batch of 1,"
        );
        // Two vectors of three components have as many polynomials as three vectors of two.
        let two = eval.multiply(&load(&many[..2].to_vec(), 3), &load(&many[..2].to_vec(), 3)).unwrap();
        let scaled = eval.load_plaintext(&encoder.encode_at(&x, Level(3), scale * scale).unwrap()).unwrap();
        let terms = [(&batch, &scaled), (&two, &plain(&x, 3))];
        refuses!(eval.dot_plain(&terms), Error::ComponentCount { op: "dot_plain", .. }, "components");
        let matrix = |columns| Matrix::new(1, columns, vec![0.5; columns]).unwrap();
        let weights = |columns, level| eval.load_weights(&matrix(columns), Level(level)).unwrap();
        refuses!(eval.combine(&batch, &weights(2, 3)), Error::ShapeMismatch { .. }, "a batch of 2");
        refuses!(eval.combine(&batch, &weights(3, 1)), Error::LevelTooHigh { .. }, "level");
        refuses!(a.slice(1, 1), Error::ShapeMismatch { .. }, "0..1");
        refuses!(eval.inner_sum(&a, 3), Error::InvalidParameter { what: "width", .. }, "power of two");
        refuses!(eval.inner_sum(&a, 2 * client.p.slots()), Error::InvalidParameter { .. }, "power of two");
        // Values.
        refuses!(eval.add_scalar(&a, f64::NAN), Error::BadValue { .. }, "not a finite number");
        refuses!(eval.add_scalar(&a, 1e60), Error::BadValue { .. }, "too large");
        refuses!(eval.add_scalars(&a, &[0.5, 0.5]), Error::ShapeMismatch { .. }, "one a vector");
        refuses!(eval.mul_scalar(&a, f64::INFINITY, scale), Error::BadValue { .. }, "not a finite number");
        for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            refuses!(eval.mul_scalar(&a, 1.0, bad), Error::InvalidParameter { what: "scale", .. }, "finite");
        }
        // Circuits name levels, not scales.
        let c: &dyn Fn(&Ciphertext, &Ciphertext) -> Result<Ciphertext, Error> =
            &|a, b| circuit::Evaluator::add(&eval, a, b);
        refuses!(c(&a, &low), Error::LevelMismatch { op: "add", left: 3, right: 1 }, "drop_to");
        refuses!(circuit::Evaluator::mul(&eval, &a, &low), Error::LevelMismatch { op: "mul", .. }, "drop_to");
        refuses!(circuit::Evaluator::add_plain(&eval, &low, &plain(&x, 3)), Error::LevelMismatch { .. }, "encode");
        refuses!(circuit::Evaluator::mul_scalar(&eval, &bottom, 2.0), Error::LevelExhausted { .. }, "longer chain");
        refuses!(
            circuit::Evaluator::dot_plain(&eval, &[(&bottom, &plain(&x, 0))]),
            Error::LevelExhausted { .. },
            "chain"
        );
        refuses!(
            circuit::Evaluator::encode_weights(&eval, &matrix(1), Level(0)),
            Error::LevelExhausted { .. },
            "chain"
        );
        refuses!(
            circuit::Evaluator::mul_scalar(&eval, &big, 1.0),
            Error::ScaleMismatch { op: "mul_scalar", .. },
            "level"
        );
        // No mistake has broken the device.
        client.decrypts_to(&host(&eval.add(&a, &a).unwrap()), &map(&x, |x| x * 2.0), 1.0, "after all mistakes");
    }
}

#[test]
fn values_that_cannot_be_encoded_are_named() {
    let client = Client::toy();
    let encoder = Encoder::new(&client.p);
    let (slots, top) = (client.p.slots(), client.p.max_level());
    let encode = |v: Vec<f64>| encoder.encode_real(&[v], top);
    refuses!(encode(vec![0.0; slots + 1]), Error::TooManyValues { slots: 1024, got: 1025 }, "larger ring or split");
    refuses!(encode(vec![0.0, 1.0, f64::NAN]), Error::BadValue { index: 2, .. }, "not a finite number");
    refuses!(encode(vec![f64::NEG_INFINITY]), Error::BadValue { index: 0, .. }, "not a finite number");
    refuses!(encode(vec![1e40; slots]), Error::BadValue { .. }, "too large");
    for huge in [1e300, f64::MAX] {
        // Sums of these overflow, and differences of the sums are not numbers.
        refuses!(
            encode((0..slots).map(|k| if k % 3 == 0 { huge } else { -huge }).collect()),
            Error::BadValue { .. },
            "too large"
        );
        refuses!(encode(vec![huge; slots]), Error::BadValue { .. }, "too large");
    }
    refuses!(encoder.encode_real(&[], top), Error::ShapeMismatch { op: "encode", .. }, "at least one vector");
    refuses!(
        encoder.encode_real(&[vec![1.0]], Level(4)),
        Error::LevelTooHigh { wanted: 4, available: 3, .. },
        "higher"
    );
    for bad in [0.5, f64::NAN, f64::INFINITY, -1.0] {
        refuses!(encoder.encode_at(&[vec![]], top, bad), Error::InvalidParameter { what: "scale", .. }, "at least 1");
    }
    refuses!(client.secret.encrypt_real(&[vec![f64::NAN]]), Error::BadValue { .. }, "not a finite number");
    refuses!(client.p.scale_at(Level(4)), Error::LevelTooHigh { .. }, "level 3");
    // The largest values that fit the lowest level come back.
    let limit = (client.p.log_q_at(Level(0)).unwrap() - 2.0).exp2() / client.p.scale_at(Level(0)).unwrap();
    let x = vec![vec![Complex64::from(limit); slots]];
    let got = client.dec.decrypt(&client.secret.encrypt_complex(&x, Level(0)).unwrap()).unwrap();
    assert!(got[0].iter().all(|z| (z - limit).norm() < client.unit() + limit * 1e-12));
    // Coefficients beyond 2^62, most of them zero.
    let wide = Client::new(Parameters::builder().log_n(11).scale_bits(58).levels(1).insecure_build().unwrap());
    let constant = vec![vec![Complex64::from(300.0); slots]];
    wide.decrypts_to(
        &wide.secret.encrypt_complex(&constant, Level(1)).unwrap(),
        &constant,
        1.0,
        "a constant of 66 bits",
    );
}

#[test]
fn missing_keys_are_named() {
    let client = Client::toy();
    let mut keys = KeyGenerator::from_seed(&client.p, &seed(3));
    let few = keys.evaluation_keys(&KeyRequest::new().rotations([2])).unwrap();
    for device in devices() {
        let eval = Evaluator::new(&client.p, &device, &few).unwrap();
        let a = eval.load(&client.secret.encrypt_real(&[vec![1.0]]).unwrap()).unwrap();
        refuses!(eval.rotate(&a, 1), Error::MissingRotationKey { steps: 1 }, "the plan's `rotations`");
        refuses!(eval.rotate(&a, -2), Error::MissingRotationKey { steps: -2 }, "the plan's `rotations`");
        refuses!(
            eval.rotate_hoisted(&a, &[2, 7]),
            Error::MissingRotationKey { steps: 7 },
            "generate the evaluation keys"
        );
        refuses!(eval.inner_sum(&a, 4), Error::MissingRotationKey { steps: 1 }, "the plan's `rotations`");
        refuses!(eval.conjugate(&a), Error::MissingConjugationKey, "conjugation(true)");
        refuses!(eval.mul(&a, &a), Error::MissingRelinearizationKey, "relinearization(true)");
        refuses!(eval.square(&a), Error::MissingRelinearizationKey, "relinearization(true)");
        let product = eval.multiply(&a, &a).unwrap();
        refuses!(eval.relinearize(&product), Error::MissingRelinearizationKey, "relinearization(true)");
        assert!(eval.rotate(&a, 2).is_ok() && eval.rotate(&a, 0).is_ok());
    }
}

#[test]
fn other_parameters_and_other_devices_are_named() {
    let client = Client::toy();
    let stranger = Client::new(Parameters::builder().log_n(11).scale_bits(29).levels(3).insecure_build().unwrap());
    let here = client.server(&Device::cpu());
    let x = vec![vec![Complex64::ONE; 4]];
    let top = client.p.max_level();
    let foreign = stranger.secret.encrypt_complex(&x, top).unwrap();
    let foreign_plain = Encoder::new(&stranger.p).encode(&x, top).unwrap();
    let one = "use one parameter set";
    refuses!(here.load(&foreign), Error::ParameterMismatch { op: "load" }, "use one parameter set");
    refuses!(here.load_plaintext(&foreign_plain), Error::ParameterMismatch { .. }, "use one parameter set");
    refuses!(client.secret.encrypt(&foreign_plain), Error::ParameterMismatch { .. }, "use one parameter set");
    refuses!(client.dec.decrypt(&foreign), Error::ParameterMismatch { .. }, "use one parameter set");
    let key = KeyGenerator::from_seed(&stranger.p, &seed(1)).public_key();
    refuses!(Encryptor::with_public_key(&client.p, key), Error::ParameterMismatch { .. }, "use one parameter set");
    let wrong_keys = Evaluator::new(&client.p, &Device::cpu(), &stranger.evaluation);
    assert!(wrong_keys.is_err_and(|e| e.to_string().contains(one)));
    let a = here.load(&client.secret.encrypt_complex(&x, top).unwrap()).unwrap();
    let matrix = Matrix::new(1, 1, vec![1.0]).unwrap();
    for device in devices() {
        let (there, elsewhere) = (client.server(&device), stranger.server(&device));
        let b = there.load(&client.secret.encrypt_complex(&x, top).unwrap()).unwrap();
        let c = elsewhere.load(&foreign).unwrap();
        let plain = there.load_plaintext(&Encoder::new(&client.p).encode(&x, top).unwrap()).unwrap();
        refuses!(here.add(&a, &b), Error::DeviceMismatch { op: "add", .. }, "to_device");
        refuses!(here.mul(&b, &a), Error::DeviceMismatch { .. }, "to_device");
        refuses!(here.rotate(&b, 1), Error::DeviceMismatch { .. }, "to_device");
        refuses!(here.mul_plain(&a, &plain), Error::DeviceMismatch { .. }, "to_device");
        refuses!(
            here.combine(&a, &there.load_weights(&matrix, top).unwrap()),
            Error::DeviceMismatch { .. },
            "to_device"
        );
        refuses!(there.add(&b, &c), Error::ParameterMismatch { op: "add" }, "use one parameter set");
        let weights = elsewhere.load_weights(&matrix, top).unwrap();
        refuses!(there.combine(&b, &weights), Error::ParameterMismatch { .. }, "use one parameter set");
        assert!(here.add(&a, &b.to_device(here.device()).unwrap()).is_ok(), "the remedy works");
        assert!(there.add(&b, &b).is_ok(), "and the device still does");
    }
}

#[test]
fn parameters_that_cannot_be_are_named() {
    let b = Parameters::builder;
    refuses!(
        b().log_n(12).levels(6).build(),
        Error::Insecure { log_n: 12, max: 106, security: 128, .. },
        "larger N, fewer levels"
    );
    refuses!(b().log_n(9).insecure_build(), Error::InvalidParameter { what: "log_n", .. }, "10..=17");
    refuses!(b().scale_bits(35).insecure_build(), Error::InvalidParameter { what: "scale_bits", .. }, "40..=59");
    refuses!(b().log_n(17).scale_bits(26).levels(150).insecure_build(), Error::NoPrimes { log_n: 17, .. }, "smaller N");
    refuses!(b().log_n(11).digits(0).insecure_build(), Error::InvalidParameter { what: "digits", .. }, "at least one");
}
