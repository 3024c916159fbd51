//! Linear transforms: matrices by diagonals on batches, complex diagonals with double hoisting, and the homomorphic DFT.
//!
//! `cargo run --release --example 07_linear_transforms`

use num_complex::Complex64;
use ringlight::circuit::{
    DiagonalMatrix, Evaluator as Circuit, LinearTransform, Matrix, Plan, PlanReport, coefficients_from_slots,
    slots_from_coefficients,
};
use ringlight::ckks::{Ciphertext, Evaluator, KeyGenerator, KeyRequest, Parameters, Precision};
use ringlight::units::Level;
use ringlight::{Device, Error};
use std::f64::consts::PI;

/// Numbers in [-1, 1) that look random: multiples of the golden section.
fn number(k: usize) -> f64 {
    2.0 * (k as f64 * 0.618_033_988_749_895 + 0.2).fract() - 1.0
}

fn complex(k: usize) -> Complex64 {
    Complex64::new(number(2 * k), number(2 * k + 1))
}

fn matrix(rows: usize, columns: usize, first: usize) -> Result<Matrix, Error> {
    Matrix::new(rows, columns, (first..first + rows * columns).map(number).collect())
}

/// One matrix after the other. The second takes the period that the first one leaves.
fn both<E: Circuit>(eval: &E, x: &E::Value, matrices: &[DiagonalMatrix; 2]) -> Result<E::Value, Error> {
    let y = matrices[0].prepare(eval, eval.level(x))?.apply(eval, x)?;
    matrices[1].prepare(eval, eval.level(&y))?.apply(eval, &y)
}

/// All the maps in order, one level each.
fn chain<E: Circuit>(eval: &E, x: &E::Value, maps: &[LinearTransform]) -> Result<E::Value, Error> {
    let (first, rest) = maps.split_first().expect("one map at least");
    let step = |x: &E::Value, map| eval.transform(x, &eval.encode_transform(map, eval.level(x))?);
    rest.iter().try_fold(step(x, first)?, |x, map| step(&x, map))
}

/// The sum by its definition: every rotation divided by the special primes, then multiplied.
fn rotation_by_rotation<E: Circuit>(
    eval: &E,
    x: &E::Value,
    diagonals: &[(usize, Vec<Complex64>)],
) -> Result<E::Value, Error> {
    let steps: Vec<i32> = diagonals.iter().map(|(k, _)| i32::try_from(*k).unwrap_or(0)).collect();
    let turned = eval.rotate_hoisted(x, &steps)?;
    let factors = diagonals.iter().map(|(_, d)| {
        let repeated = d.iter().copied().cycle().take(eval.slots()).collect();
        eval.encode(&[repeated], eval.level(x))
    });
    let factors = factors.collect::<Result<Vec<_>, _>>()?;
    eval.dot_plain(&turned.iter().zip(&factors).collect::<Vec<_>>())
}

/// What a planned circuit pays: one for a decomposition, one for a product with a key.
fn cost(report: &PlanReport) -> usize {
    usize::from(report.hoisted_rotations > 0) + report.hoisted_rotations + 2 * report.single_rotations
}

fn planned(slots: usize, circuit: impl Fn(&Plan) -> Result<(), Error>) -> Result<PlanReport, Error> {
    let plan = Plan::new(slots);
    circuit(&plan)?;
    Ok(plan.report())
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn main() -> Result<(), Error> {
    matrices_on_batches()?;
    complex_diagonals()?;
    homomorphic_dft()
}

fn matrices_on_batches() -> Result<(), Error> {
    println!("1. Matrices of any shape on a batch of encrypted vectors: 10 x 13, then 3 x 10.");
    let parameters = Parameters::n13()?;
    println!("   {parameters}");
    let (slots, top) = (parameters.slots(), parameters.max_level());
    let entries = [matrix(10, 13, 0)?, matrix(3, 10, 130)?];
    let first = DiagonalMatrix::new(entries[0].clone())?;
    let second = DiagonalMatrix::with_input_period(entries[1].clone(), first.output_period())?;
    let periods = (first.input_period(), first.output_period(), second.output_period());
    println!(
        "   A vector repeats with a power of two: 13 entries with period {}, 10 with {}, 3 with {}.",
        periods.0, periods.1, periods.2
    );
    assert_eq!((periods, second.input_period()), ((16, 16, 4), 16));
    let matrices = [first, second];

    println!("\n   The plan, before there is any key:");
    let report = planned(slots, |plan| both(plan, &plan.input(3), &matrices).map(|_| ()))?;
    println!("{report}");
    let one = planned(slots, |plan| both(plan, &plan.input(1), &matrices).map(|_| ()))?;
    assert_eq!(report, one, "a batch costs the operations of one vector");
    let mut wanted: Vec<i32> = matrices.iter().flat_map(DiagonalMatrix::rotations).collect();
    wanted.sort_unstable();
    wanted.dedup();
    assert_eq!((report.depth, &report.rotations, report.relinearization), (2, &wanted, false));
    // Lines column - row = constant that meet the matrix, without the one that takes no rotation.
    let lines = |m: &Matrix| (m.rows() + m.columns() - 1).min(16) - 1;
    let plain = entries.iter().map(lines).sum::<usize>();
    println!("   {} keys, and a cost of {} (2 for a rotation, less for a hoisted one).", wanted.len(), cost(&report));
    println!(
        "   One rotation for every diagonal of 16 by 16: {} keys, and a cost of {}.",
        lines(&entries[0]),
        2 * plain
    );
    assert!(wanted.len() < lines(&entries[0]) && cost(&report) < plain);
    println!(
        "   {} products: the 3 x 10 matrix is 4 diagonals, and two folds of 16 entries to 4.",
        report.plain_multiplications
    );
    assert_eq!(report.plain_multiplications, 16 + 4);

    println!("\n   Keys for exactly this, each for the level of its first use.");
    let mut keys = KeyGenerator::new(&parameters)?;
    let everywhere = keys.evaluation_keys(&KeyRequest::new().rotations(wanted.clone()))?;
    let limited = keys.evaluation_keys(&KeyRequest::from_plan(&report, top))?;
    let (size, full) = (mib(limited.bytes()), mib(everywhere.bytes()));
    println!("   {} keys, {size:.2} MiB; for all levels {full:.2} MiB.", limited.len());
    assert!(limited.len() == everywhere.len() && size < full);

    let eval = Evaluator::new(&parameters, &Device::auto(), &limited)?;
    println!("\n   Three vectors in one ciphertext batch, on {}.", eval.device().name());
    let vectors: Vec<Vec<f64>> = (0..3).map(|v| (0..13).map(|i| number(200 + 13 * v + i)).collect()).collect();
    // Entries 13 to 15 of a period meet zeros of the matrix: whatever they are, they do not count.
    let slot = |v: usize, i: usize| if i % 16 < 13 { vectors[v][i % 16] } else { 1.0 };
    let packed: Vec<Vec<f64>> = (0..3).map(|v| (0..slots).map(|i| slot(v, i)).collect()).collect();
    let x = eval.load(&keys.encryptor().encrypt_real(&packed)?)?;
    let y = both(&eval, &x, &matrices)?;
    assert_eq!(y.level(), Level(top.0 - 2));
    let product = |m: &Matrix, x: &[f64]| -> Vec<f64> {
        (0..m.rows()).map(|r| m.row(r).iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    };
    for (v, got) in keys.decryptor().decrypt_real(&y.to_host()?)?.iter().enumerate() {
        let want = product(&entries[1], &product(&entries[0], &vectors[v]));
        let want: Vec<f64> = (0..slots).map(|i| want.get(i % 4).copied().unwrap_or(0.0)).collect();
        let precision = Precision::of_real(&want, got)?;
        println!("   vector {v}: {:.4?}  {precision}", &got[..3]);
        assert!(precision.min_bits > 8.0, "vector {v}: {precision}");
    }

    println!("\n   Without a key the server says which one, and when a key does not reach up to a ciphertext's level:");
    let without = Evaluator::new(&parameters, &Device::cpu(), &keys.evaluation_keys(&KeyRequest::new())?)?;
    let missing = both(&without, &without.load(&keys.encryptor().encrypt_real(&packed)?)?, &matrices);
    let Err(error) = missing else { panic!("a transform ran without its keys") };
    println!("   {error}");
    assert!(matches!(error, Error::MissingRotationKey { .. }));
    let low = keys.evaluation_keys(&KeyRequest::from_plan(&report, Level(2)))?;
    let low = Evaluator::new(&parameters, &Device::cpu(), &low)?;
    let Err(error) = both(&low, &low.load(&keys.encryptor().encrypt_real(&packed)?)?, &matrices) else {
        panic!("a transform ran with keys for a lower level")
    };
    println!("   {error}");
    assert!(matches!(error, Error::KeyLevelTooLow { made_for: 2, needed: 3, .. }));
    Ok(())
}

fn complex_diagonals() -> Result<(), Error> {
    println!("\n2. Any linear map by complex diagonals: y[i] = sum_k d_k[i] x[i + k], here 24 diagonals of period 64.");
    let parameters = Parameters::builder().levels(1).scale_bits(50).build()?;
    println!("   {parameters}");
    let slots = parameters.slots();
    let diagonals: Vec<(usize, Vec<Complex64>)> =
        (0..24).map(|k| (k, (0..64).map(|i| complex(64 * k + i) * 0.2).collect())).collect();

    println!("   Baby steps share one decomposition of x, giant steps share keys. What the number of baby steps does:");
    println!("   baby steps    keys  hoisted   single     cost");
    let mut least = usize::MAX;
    for baby in [1, 2, 4, 8, 16, 32] {
        let map = LinearTransform::with_baby_steps(64, diagonals.clone(), baby)?;
        let report = planned(slots, |plan| chain(plan, &plan.input(1), std::slice::from_ref(&map)).map(|_| ()))?;
        assert_eq!(report.rotations, map.rotations());
        let (hoisted, single) = (report.hoisted_rotations, report.single_rotations);
        println!("   {baby:>10} {:>7} {hoisted:>8} {single:>8} {:>8}", map.rotations().len(), cost(&report));
        least = least.min(cost(&report));
    }
    let map = LinearTransform::new(64, diagonals.clone())?;
    let report = planned(slots, |plan| chain(plan, &plan.input(1), std::slice::from_ref(&map)).map(|_| ()))?;
    println!("   Left to itself it takes the cheapest: {} keys, cost {}.", map.rotations().len(), cost(&report));
    assert_eq!((cost(&report), map.diagonals()), (least, 24));

    let mut keys = KeyGenerator::new(&parameters)?;
    let each_rotation = planned(slots, |plan| rotation_by_rotation(plan, &plan.input(1), &diagonals).map(|_| ()))?;
    let request = KeyRequest::from_plan(&report, parameters.max_level());
    let request = request.merge(&KeyRequest::from_plan(&each_rotation, parameters.max_level()));
    let eval = Evaluator::new(&parameters, &Device::auto(), &keys.evaluation_keys(&request)?)?;
    let values: Vec<Complex64> = (0..slots).map(complex).collect();
    let x = eval.load(&keys.encryptor().encrypt_complex(std::slice::from_ref(&values), parameters.max_level())?)?;
    let want: Vec<Complex64> =
        (0..slots).map(|i| diagonals.iter().map(|(k, d)| d[i % 64] * values[(i + k) % slots]).sum()).collect();
    let measure = |y: &Ciphertext| Precision::of(&want, &keys.decryptor().decrypt(&y.to_host()?)?[0]);
    println!(
        "   Double hoisting: baby steps stay modulo Q P and are never divided by P, a giant step divides one polynomial."
    );
    let (double, single) =
        (measure(&chain(&eval, &x, &[map])?)?, measure(&rotation_by_rotation(&eval, &x, &diagonals)?)?);
    println!("   transform              {double}");
    println!("   rotation by rotation   {single}   ({} keys)", each_rotation.rotations.len());
    assert!(double.min_bits > 25.0 && (double.mean_bits - single.mean_bits).abs() < 3.0);
    assert!(report.rotations.len() < each_rotation.rotations.len());
    Ok(())
}

/// `z_j = sum_k c_k zeta^(5^j k)` with `zeta = e^(2 pi i / 4n)`: the slots of the polynomial whose coefficients are the real parts of `c`, then
/// the imaginary parts.
fn slots_by_definition(c: &[Complex64]) -> Vec<Complex64> {
    let order = 4 * c.len();
    let zeta: Vec<_> = (0..order).map(|k| Complex64::from_polar(1.0, 2.0 * PI * k as f64 / order as f64)).collect();
    let powers = std::iter::successors(Some(1), |power| Some(power * 5 % order)).take(c.len());
    powers.map(|power| c.iter().enumerate().map(|(k, c)| c * zeta[power * k % order]).sum()).collect()
}

fn homomorphic_dft() -> Result<(), Error> {
    println!("\n3. The homomorphic DFT takes coefficients to slots and back: what bootstrapping is made of.");
    let parameters = Parameters::builder().log_n(10).levels(6).scale_bits(50).insecure_build()?;
    println!("   {parameters}");
    let (slots, top) = (parameters.slots(), parameters.max_level());
    println!("   As one matrix it has {slots} diagonals; as a fast transform 9 stages of 2 or 3, merged into levels:");
    let stages = slots_from_coefficients(slots, 9, 1.0)?;
    assert!(stages.iter().all(|stage| (2..=3).contains(&stage.diagonals())));
    println!("   levels      diagonals  rotation keys     cost");
    let mut request = KeyRequest::new();
    let mut factored = vec![];
    for (levels, diagonals) in [(1, vec![512]), (2, vec![63, 16]), (3, vec![15, 15, 8])] {
        let maps = slots_from_coefficients(slots, levels, 1.0)?;
        let counted: Vec<usize> = maps.iter().map(LinearTransform::diagonals).collect();
        let report = planned(slots, |plan| chain(plan, &plan.input(1), &maps).map(|_| ()))?;
        let shown = format!("{counted:?}");
        println!("   {levels:>6} {shown:>14} {:>14} {:>8}", report.rotations.len(), cost(&report));
        assert_eq!((counted, report.depth), (diagonals, levels));
        request = request.merge(&KeyRequest::from_plan(&report, top));
        factored.push((report, maps));
    }
    assert!(factored.windows(2).all(|pair| cost(&pair[1].0) < cost(&pair[0].0)), "levels are traded for work");
    let back = coefficients_from_slots(slots, 3, 1.0)?;
    let way_back = planned(slots, |plan| chain(plan, &plan.input(1), &back).map(|_| ()))?;
    request = request.merge(&KeyRequest::from_plan(&way_back, Level(top.0 - 3)));

    let mut keys = KeyGenerator::new(&parameters)?;
    let evaluation_keys = keys.evaluation_keys(&request)?;
    let separate: usize =
        factored.iter().map(|(report, _)| report.rotations.len()).sum::<usize>() + way_back.rotations.len();
    println!(
        "   They share keys: {} for all three and the way back, {:.1} MiB.",
        evaluation_keys.len(),
        mib(evaluation_keys.bytes())
    );
    assert!(evaluation_keys.len() < separate);
    let eval = Evaluator::new(&parameters, &Device::auto(), &evaluation_keys)?;
    let coefficients: Vec<Complex64> = (0..slots).map(complex).collect();
    let want = slots_by_definition(&coefficients);
    // The transform reads its input in bit-reversed order, and leaves it so on the way back.
    let reversed = |k: usize| k.reverse_bits() >> (usize::BITS - slots.ilog2());
    let input: Vec<Complex64> = (0..slots).map(|k| coefficients[reversed(k)]).collect();
    let x = eval.load(&keys.encryptor().encrypt_complex(std::slice::from_ref(&input), top)?)?;
    let decryptor = keys.decryptor();
    for (report, maps) in &factored {
        let z = chain(&eval, &x, maps)?;
        let precision = Precision::of(&want, &decryptor.decrypt(&z.to_host()?)?[0])?;
        println!("   {} level(s), encrypted, against the definition: {precision}", report.depth);
        assert_eq!(z.level().0, top.0 - report.depth);
        assert!(precision.min_bits > 20.0);
        if report.depth == 3 {
            let returned = chain(&eval, &z, &back)?;
            let precision = Precision::of(&input, &decryptor.decrypt(&returned.to_host()?)?[0])?;
            println!("   and back again, at level {}: {precision}", returned.level().0);
            assert_eq!(returned.level(), Level(0));
            assert!(precision.min_bits > 20.0);
        }
    }
    Ok(())
}
