use num_complex::Complex64;
use ringlight::ckks::*;
use ringlight::device::*;
use ringlight::math::Seed;
use ringlight::units::*;
use ringlight::*;
use std::time::Instant;
fn time<R>(name: &str, reps: usize, mut f: impl FnMut() -> R) {
    let mut best = f64::MAX;
    let mut tot = 0.0;
    for _ in 0..reps {
        let s = Instant::now();
        let r = f();
        let t = s.elapsed().as_secs_f64() * 1e3;
        drop(r);
        best = best.min(t);
        tot += t;
    }
    println!("{name:40} min {best:8.3} ms mean {:8.3}", tot / reps as f64);
}
fn main() {
    let threads: usize = std::env::args().nth(1).map_or(1, |x| x.parse().unwrap());
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let log_n = std::env::args().nth(2).map_or(14, |x| x.parse().unwrap());
    let p = Parameters::builder()
        .log_n(log_n)
        .scale_bits(29)
        .levels(if log_n == 14 {
            11
        } else if log_n == 13 {
            4
        } else {
            20
        })
        .build()
        .unwrap();
    println!("{p} logQ {} special {} moduli {:?}", p.log_q(), p.rlwe().special().0, p.moduli());
    let dev = Device::cpu();
    // ntt
    let limbs = p.moduli().len();
    let ring = ring::Ring::new(&dev, p.rlwe().tables()).unwrap();
    let n = 1usize << log_n;
    let batch = 4;
    let words: Vec<u32> =
        (0..batch * limbs * n).map(|i| ((i as u64 * 2654435761) % (p.moduli()[i / n % limbs] as u64)) as u32).collect();
    let basis = p.rlwe().all();
    let loaded = dev.load_ring(p.rlwe().tables()).unwrap();
    let shape = Shape { batch: batch as u32, limbs: limbs as u32, log_n };
    let buf = dev.upload(shape, &words).unwrap();
    let buf2 = dev.alloc(shape).unwrap();
    let plans: Vec<_> = p.moduli().iter().map(|&q| tfhe_ntt::prime32::Plan::try_new(n, q).unwrap()).collect();
    let mut w = words.clone();
    time("tfhe-ntt fwd direct", 20, || {
        for (i, r) in w.chunks_mut(n).enumerate() {
            plans[i % limbs].fwd(r)
        }
    });
    time("ours fwd in place", 20, || {
        dev.record(&loaded, Op::NttForward { dst: buf.view(), src: buf.view(), basis: basis.clone() }).unwrap()
    });
    time("ours fwd out", 20, || {
        dev.record(&loaded, Op::NttForward { dst: buf2.view(), src: buf.view(), basis: basis.clone() }).unwrap()
    });
    time("tfhe-ntt inv direct", 20, || {
        for (i, r) in w.chunks_mut(n).enumerate() {
            plans[i % limbs].inv(r)
        }
    });
    time("ours inv in place", 20, || {
        dev.record(&loaded, Op::NttInverse { dst: buf.view(), src: buf.view(), basis: basis.clone() }).unwrap()
    });
    time("mul", 20, || {
        dev.record(&loaded, Op::Mul { dst: buf2.view(), a: buf2.view(), b: buf.view(), basis: basis.clone() }).unwrap()
    });
    time("add", 20, || {
        dev.record(&loaded, Op::Add { dst: buf2.view(), a: buf2.view(), b: buf.view(), basis: basis.clone() }).unwrap()
    });
    println!("per NTT us divide by {}", batch * limbs);
    drop(ring);
    let mut keys = KeyGenerator::from_seed(&p, &Seed::from_bytes([3; 32]));
    time("one rotation key", 3, || keys.evaluation_keys(&KeyRequest::new().rotations([1])).unwrap());
    let ek =
        keys.evaluation_keys(&KeyRequest::new().relinearization(true).rotations([1, 2, 3, 4, 5, 6, 7, 8])).unwrap();
    let (enc, dec) = (keys.encryptor(), keys.decryptor());
    let pk = Encryptor::with_public_key(&p, keys.public_key()).unwrap();
    let eval = Evaluator::new(&p, &dev, &ek).unwrap();
    let x: Vec<Complex64> = (0..p.slots()).map(|k| Complex64::new((k as f64).sin(), (k as f64).cos())).collect();
    let e = Encoder::new(&p);
    let xs = vec![x.clone()];
    time("encode", 10, || e.encode(&xs, p.max_level()).unwrap());
    let pt = e.encode(&xs, p.max_level()).unwrap();
    time("encrypt pk", 10, || pk.encrypt(&pt).unwrap());
    time("encrypt sk", 10, || enc.encrypt(&pt).unwrap());
    let hc = enc.encrypt(&pt).unwrap();
    time("decrypt+decode", 10, || dec.decrypt(&hc).unwrap());
    let a = eval.load(&hc).unwrap();
    let b = eval.load(&enc.encrypt(&pt).unwrap()).unwrap();
    let dp = eval.load_plaintext(&pt).unwrap();
    time("add", 20, || eval.add(&a, &b).unwrap());
    time("mul_plain", 20, || eval.mul_plain(&a, &dp).unwrap());
    time("multiply", 20, || eval.multiply(&a, &b).unwrap());
    let m = eval.multiply(&a, &b).unwrap();
    time("relinearize", 20, || eval.relinearize(&m).unwrap());
    time("rescale", 20, || eval.rescale(&a).unwrap());
    time("mul (relin+rescale)", 30, || eval.mul(&a, &b).unwrap());
    time("rotate", 20, || eval.rotate(&a, 1).unwrap());
    time("hoisted 8", 5, || eval.rotate_hoisted(&a, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap());
}
