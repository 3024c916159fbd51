//! The scheme: what comes back from encrypted arithmetic, against arithmetic in the clear.

use num_complex::Complex64;
use ringlight::Device;
use ringlight::ckks::{Evaluator, KeyGenerator, KeyRequest, Parameters, Precision};
use ringlight::math::Seed;

fn vector(slots: usize, salt: f64) -> Vec<Complex64> {
    (0..slots).map(|k| Complex64::new((k as f64 * 0.37 + salt).sin(), (k as f64 * 0.11 - salt).cos())).collect()
}

#[test]
fn smoke() {
    for (log_n, bits, levels) in [(11, 28, 3), (12, 50, 4), (11, 30, 5), (11, 58, 2)] {
        let p = Parameters::builder().log_n(log_n).scale_bits(bits).levels(levels).insecure_build().unwrap();
        println!("{p}");
        let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([3; 32]));
        let request = KeyRequest::new().relinearization(true).conjugation(true).rotations([1, -3, 5]);
        let evaluation = keys.evaluation_keys(&request).unwrap();
        let (enc, dec) = (keys.encryptor(), keys.decryptor());
        let eval = Evaluator::new(&p, &Device::cpu(), &evaluation).unwrap();
        let (x, y) = (vector(p.slots(), 0.1), vector(p.slots(), 0.7));
        let hx = enc.encrypt_complex(&[x.clone(), y.clone()], p.max_level()).unwrap();
        let a = eval.load(&hx).unwrap();
        let b = eval.load(&enc.encrypt_complex(&[y.clone(), x.clone()], p.max_level()).unwrap()).unwrap();
        let show = |name: &str, c: &ringlight::ckks::Ciphertext, want: &dyn Fn(usize) -> Complex64| {
            let got = dec.decrypt(&c.to_host().unwrap()).unwrap();
            let want: Vec<_> = (0..p.slots()).map(want).collect();
            let precision = Precision::of(&want, &got[0]).unwrap();
            println!("{name}: {precision}");
            assert!(precision.min_bits > f64::from(bits) - 20.0, "{name}");
        };
        show("fresh", &a, &|k| x[k]);
        show("add", &eval.add(&a, &b).unwrap(), &|k| x[k] + y[k]);
        show("mul", &eval.mul(&a, &b).unwrap(), &|k| x[k] * y[k]);
        let slow = eval.rescale(&eval.relinearize(&eval.multiply(&a, &b).unwrap()).unwrap()).unwrap();
        show("multiply, relinearize, rescale", &slow, &|k| x[k] * y[k]);
        show("rotate", &eval.rotate(&a, -3).unwrap(), &|k| x[(k + p.slots() - 3) % p.slots()]);
        show("conjugate", &eval.conjugate(&a).unwrap(), &|k| x[k].conj());
        let deep = eval.square(&eval.mul(&a, &b).unwrap()).unwrap();
        show("deep", &deep, &|k| (x[k] * y[k]).powu(2));
        let dropped = eval.drop_to(&a, deep.level()).unwrap();
        show("dropped", &eval.add(&deep, &dropped).unwrap(), &|k| (x[k] * y[k]).powu(2) + x[k]);
    }
}
