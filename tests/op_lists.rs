//! What operations cost, as lists: an extra transform or copy shows in review.
//!
//! Lines are as `Op` prints them: name, `polynomials x limbs` of what is written, then of what is read. The set has 5 limbs at
//! level 3 (one a level above 2) cut into digits of 2, 2 and 1, and 2 special primes; one batch of 1 vector.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::devices;
use num_complex::Complex64;
use ringlight::Device;
use ringlight::circuit::{self, LinearTransform, Matrix};
use ringlight::ckks::{Ciphertext, Encoder, Evaluator, KeyGenerator, KeyRequest, Parameters};
use ringlight::device::OpLog;
use ringlight::math::Seed;
use ringlight::units::{Level, LimbCount};

struct Recorded {
    eval: Evaluator,
    log: OpLog,
    a: Ciphertext,
}

impl Recorded {
    fn new(device: &Device, batch: usize) -> Self {
        let p = Parameters::builder().log_n(11).scale_bits(28).levels(3).digits(3).insecure_build().unwrap();
        assert_eq!(p.rlwe().chain(), LimbCount(5));
        assert_eq!(p.rlwe().digits(LimbCount(5)).iter().map(|d| d.limbs).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(p.rlwe().special(), LimbCount(2));
        let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([1; 32]));
        let request = KeyRequest::new().relinearization(true).rotations([1, 2, 4]).conjugation(true);
        let evaluation = keys.evaluation_keys(&request).unwrap();
        let (device, log) = device.recorded();
        let eval = Evaluator::new(&p, &device, &evaluation).unwrap();
        let a = eval.load(&keys.encryptor().encrypt_real(&vec![vec![0.5]; batch]).unwrap()).unwrap();
        // Keys come to the device on their first use: half of their words are made there.
        let product = eval.multiply(&a, &a).unwrap();
        eval.relinearize(&product).unwrap();
        eval.rotate_hoisted(&a, &[1, 2, 4]).unwrap();
        eval.conjugate(&a).unwrap();
        device.flush().unwrap();
        let expansions = log.take().into_iter().filter(|op| op == "uniform 1x7").count();
        assert_eq!(expansions, 5 * 3, "five keys of three digits");
        Self { eval, log, a }
    }

    fn ran<T>(&self, run: impl FnOnce(&Evaluator) -> ringlight::Result<T>) -> (T, Vec<String>) {
        let value = run(&self.eval).unwrap();
        self.eval.device().flush().unwrap();
        (value, self.log.take())
    }

    fn expect<T>(&self, what: &str, want: &[&str], run: impl FnOnce(&Evaluator) -> ringlight::Result<T>) -> T {
        let (value, got) = self.ran(run);
        assert_eq!(got, want, "{what}:\n{got:#?}");
        value
    }
}

/// A key switch of one polynomial of 5 limbs, before its division: 5 inverse transforms, and those of each digit to the other
/// limbs. What is added to it is read at the end.
const SWITCH: &str = "key_switch 2x7 <- 1x5, 2x7, 2x7, 2x7";

fn list(parts: &[&[&'static str]]) -> Vec<&'static str> {
    parts.concat()
}

#[test]
fn key_switching_products_and_rescales_run_these_operations() {
    for device in devices() {
        let r = Recorded::new(&device, 1);
        let a = &r.a;
        let product = r.expect("multiply", &["tensor 3x5 <- 2x5, 2x5"], |e| e.multiply(a, a));
        r.expect("relinearize", &[SWITCH, "mod_down 2x5 <- 2x7, 2x5"], |e| e.relinearize(&product));
        r.expect("rescale", &["mod_down 2x4 <- 2x5"], |e| e.rescale(a));
        let (tensor, fused) = ("tensor 3x5 <- 2x5, 2x5", "key_switch 2x7 <- 1x5, 2x7, 2x7, 2x7, 2x5");
        r.expect("mul", &[tensor, fused, "mod_down 2x4 <- 2x7"], |e| e.mul(a, a));
        // Two products and a scalar: still one decomposition and one division.
        let sum = [tensor, tensor, "add 3x5 <- 3x5, 3x5", "mul_scalar_add 2x5 <- 2x5"];
        let below = Level(a.level().0 - 1);
        let whole = list(&[&sum, &[fused, "mod_down 2x4 <- 2x7"]]);
        r.expect("dot", &whole, |e| e.dot(&[(a, a), (a, a)], &[(a, 0.0), (a, 0.5)], below));
        let image = "mod_down 2x5 <- 2x7, 1x5";
        r.expect("rotate", &[SWITCH, image], |e| e.rotate(a, 1));
        r.expect("conjugate", &[SWITCH, image], |e| e.conjugate(a));
        // Hoisting: one decomposition, then only inner products and divisions.
        let product = "gadget_dot 2x7 <- 3x7, 2x7, 2x7, 2x7";
        let hoisted = ["decompose 3x7 <- 1x5", product, image, product, image, product, image];
        r.expect("rotate_hoisted", &hoisted, |e| e.rotate_hoisted(a, &[1, 2, 4]));
        r.expect("rotate_hoisted by one", &[SWITCH, image], |e| e.rotate_hoisted(a, &[0, 1]));
        r.expect("rotate by 0", &[], |e| e.rotate(a, 0));
        let low = r.expect("truncate", &[], |e| e.truncate(a, Level(1)));
        // Lower down there are fewer limbs, digits and transforms: 3 limbs in 2 digits.
        let lower = ["key_switch 2x5 <- 1x3, 2x7, 2x7", "mod_down 2x3 <- 2x5, 1x3"];
        r.expect("rotate at level 1", &lower, |e| e.rotate(&low, 1));
    }
}

#[test]
fn operations_without_keys_run_these_operations() {
    for device in devices() {
        let r = Recorded::new(&device, 3);
        let (a, top) = (&r.a, Level(3));
        let p = r.eval.parameters().clone();
        r.expect("add", &["add 6x5 <- 6x5, 6x5"], |e| e.add(a, a));
        r.expect("neg", &["neg 6x5 <- 6x5"], |e| e.neg(a));
        r.expect("mul_scalar", &["mul_scalar 6x5 <- 6x5"], |e| e.mul_scalar(a, 0.5, 1024.0));
        r.expect("drop_to", &["mul_scalar 6x3 <- 6x3", "mod_down 6x2 <- 6x3"], |e| e.drop_to(a, Level(0)));
        let plain = Encoder::new(&p).encode_real(&[vec![1.0]], top).unwrap();
        let plain = r.expect("load_plaintext", &[], |e| e.load_plaintext(&plain));
        r.expect("mul_plain", &["mul 6x5 <- 6x5, 1x5"], |e| e.mul_plain(a, &plain));
        let dot = ["mul 6x5 <- 6x5, 1x5", "mul_add 6x5 <- 6x5, 1x5", "mod_down 6x4 <- 6x5"];
        r.expect("dot_plain", &dot, |e| circuit::Evaluator::dot_plain(e, &[(a, &plain), (a, &plain)]));
        let weights = r.eval.load_weights(&Matrix::new(2, 3, vec![0.5; 6]).unwrap(), top).unwrap();
        let combine = ["combine 4x5 <- 6x5, 6x5", "mod_down 4x4 <- 4x5"];
        r.expect("combine, rescale", &combine, |e| circuit::Evaluator::combine(e, &[(a, &weights)]));
    }
}

#[test]
fn a_batch_runs_no_more_operations_than_one_vector() {
    let names = |batch| {
        let r = Recorded::new(&Device::cpu(), batch);
        let (_, ops) = r.ran(|e| e.rotate_hoisted(&e.mul(&r.a, &r.a)?, &[1, 2]));
        ops.into_iter().map(|op| op.split(' ').next().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(1), names(8));
}

/// Double hoisting: one decomposition for the baby steps, which are never divided by `P`; a giant step divides one polynomial.
#[test]
fn a_linear_transform_runs_these_operations() {
    let diagonal = |x: f64| vec![Complex64::new(x, -x); 8];
    let map =
        LinearTransform::with_baby_steps(8, [0, 1, 4, 5].map(|k| (k, diagonal(0.1 * k as f64 + 0.3))), 2).unwrap();
    assert_eq!(map.rotations(), [1, 4]);
    for device in devices() {
        let recorded = Recorded::new(&device, 1);
        let map = circuit::Evaluator::encode_transform(&recorded.eval, &map, Level(3)).unwrap();
        recorded.eval.device().flush().unwrap();
        recorded.log.take();
        let want = [
            "mul_scalar 2x5 <- 2x5",                     // P times the ciphertext
            "zero 2x2",                                  // which is zero modulo P
            "decompose 3x7 <- 1x5",                      //
            "gadget_dot 2x7 <- 3x7, 2x7, 2x7, 2x7, 1x5", // the baby step
            "gadget_dot 2x7 <- 2x7, 2x7, 2x7",           // diagonals 4 and 5
            "mod_down 1x5 <- 1x7",                       // the giant step
            "key_switch 2x7 <- 1x5, 2x7, 2x7, 2x7, 1x7", //
            "gadget_dot 2x7 <- 2x7, 2x7, 2x7, 2x7",      // diagonals 0 and 1, and the sum so far
            "mod_down 2x4 <- 2x7",                       // by P and the level at once
        ];
        recorded.expect("transform", &want, |eval| eval.transform(&recorded.a, &map));
    }
}
