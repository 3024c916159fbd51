//! Models as circuits, in the clear reading with exactly the planned levels and keys.

use super::*;
use crate::circuit::{Clear, Evaluator as _, Matrix};
use crate::error::{Error, Result};
use crate::units::Level;
use std::ops::ControlFlow;

const SQUARE: Layer = Layer::Activation(Activation::Square);

/// Numbers of both signs that repeat nowhere soon.
fn numbers(count: usize, seed: f64) -> Vec<f64> {
    (0..count).map(|i| (i as f64 * 1.7 + seed).sin()).collect()
}

fn dense(rows: usize, columns: usize) -> Layer {
    let entries = numbers(rows * columns, 0.3).iter().map(|x| x / columns as f64).collect();
    Layer::Dense { weights: Matrix::new(rows, columns, entries).unwrap(), bias: numbers(rows, 0.1) }
}

fn conv(shape: [usize; 4], stride: usize, padding: [usize; 4], dilation: usize, groups: usize) -> Layer {
    let size: usize = shape.iter().product();
    Layer::Conv2d(Conv2d {
        weights: numbers(size, 0.7).iter().map(|w| w / (shape[1] * shape[2] * shape[3]) as f64).collect(),
        shape,
        bias: numbers(shape[0], 0.9),
        stride: [stride; 2],
        padding,
        dilation: [dilation; 2],
        groups,
    })
}

fn pool(kernel: usize, stride: usize, padding: usize, count_padding: bool) -> Layer {
    Layer::AveragePool(Pool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4], count_padding })
}

fn samples(model: &Model, count: usize) -> Vec<Vec<f64>> {
    (0..count).map(|s| numbers(model.inputs(), s as f64)).collect()
}

/// The answers of a run with no more levels and keys than were planned.
fn run(
    model: &Model,
    samples: &[Vec<f64>],
    packing: Packing,
    slots: usize,
    how: &Approximate,
) -> Result<Vec<Vec<f64>>> {
    let circuit = ModelCircuit::new(model, packing, slots, how)?;
    let report = circuit.plan()?;
    assert_eq!(report.depth, circuit.depth());
    let top = Level(report.depth);
    let clear = Clear::new(slots, top).with_keys_of(report.clone());
    let (packer, prepared) = (circuit.packer(), circuit.prepare(&clear, top)?);
    let y = prepared.run(&clear, &[clear.value(&packer.pack(samples)?, top)?])?.remove(0);
    assert_eq!(clear.level(&y), Level(0));
    assert_eq!(clear.report(), report);
    assert!(packing == Packing::Latency || report.rotations.is_empty());
    let answers = packer.unpack(y.vectors(), samples.len())?;
    for part in [usize::MAX, 7, 1] {
        assert_close(&circuit.clone().in_parts_of(part).predict_clear(samples)?, &answers, 1e-9);
    }
    Ok(answers)
}

fn assert_close(got: &[Vec<f64>], want: &[Vec<f64>], error: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < error), "{got:?} instead of {want:?}");
    }
}

/// Both packings against the definition, and the depth.
fn check(model: &Model, depth: u32) {
    let samples = samples(model, 3);
    let want = model.predict_clear(&samples).unwrap();
    for packing in [Packing::Latency, Packing::Batch] {
        let how = Approximate::default();
        assert_close(&run(model, &samples, packing, 1024, &how).unwrap(), &want, 1e-9);
        assert_eq!(ModelCircuit::new(model, packing, 1024, &how).unwrap().depth(), depth);
    }
}

fn chain(input: &[usize], layers: Vec<Layer>, depth: u32) {
    check(&Model::from_layers(input.to_vec(), layers).unwrap(), depth);
}

#[test]
fn dense_layers_and_squares() {
    chain(&[1], vec![dense(1, 1)], 1);
    chain(&[5], vec![SQUARE, dense(3, 5), SQUARE, SQUARE], 4);
    chain(&[6], vec![dense(40, 6), SQUARE, dense(2, 40)], 3);
    // Dense layers in a row are one.
    chain(&[60], vec![dense(3, 60), dense(50, 3), SQUARE, dense(33, 50)], 3);
    chain(&[4, 6], vec![dense(3, 6), SQUARE, Layer::Transpose(vec![1, 0]), dense(2, 4)], 3);
}

#[test]
fn convolutions_and_pooling_are_one_level() {
    let image = [2, 8, 8];
    let down = conv([4, 2, 3, 3], 2, [1, 1, 0, 0], 1, 1); // 4 x 4 x 4
    chain(&image, vec![down.clone(), SQUARE, conv([3, 4, 3, 3], 1, [1; 4], 1, 1), SQUARE, Layer::GlobalAveragePool], 5);
    chain(&image, vec![conv([4, 1, 2, 3], 1, [0, 1, 1, 2], 2, 2), pool(2, 2, 0, true), SQUARE], 2);
    let flat = Layer::Reshape(vec![64]);
    chain(&image, vec![down, SQUARE, pool(3, 1, 1, false), flat, dense(5, 64)], 3);
}

#[test]
fn tensors_may_move() {
    let affine = Layer::Affine { scale: numbers(12, 0.0), shift: numbers(12, 1.0) };
    let pad = Layer::Pad { before: vec![1, 0], after: vec![0, 2], value: 0.5 };
    let layers = vec![affine, Layer::Transpose(vec![1, 0]), SQUARE, pad, Layer::Reshape(vec![5, 5]), SQUARE];
    chain(&[3, 4], layers, 4);
}

#[test]
fn graphs_branch_and_join() {
    let mut builder = ModelBuilder::new(vec![2, 4, 4]).unwrap();
    let a = builder.add("a", conv([2, 2, 3, 3], 1, [1; 4], 1, 1), vec![0]).unwrap();
    let b = builder.add("b", SQUARE, vec![a]).unwrap();
    let sum = builder.add("sum", Layer::Add, vec![a, b]).unwrap();
    let product = builder.add("product", Layer::Mul, vec![sum, 0]).unwrap();
    let difference = builder.add("difference", Layer::Sub, vec![product, b]).unwrap();
    let both = builder.add("both", Layer::Concat { axis: 0 }, vec![difference, 0]).unwrap();
    check(&builder.build(both).unwrap(), 4);
}

#[test]
fn polynomials_of_degree_two_are_squares() {
    let polynomial = |c: &[f64]| Layer::Activation(Activation::Polynomial(c.to_vec()));
    let model = |c: &[f64]| vec![dense(4, 5), polynomial(c), dense(2, 4)];
    chain(&[5], model(&[0.3, -1.2, 0.7]), 3);
    chain(&[5], model(&[0.3, 0.5, -0.2, 0.0]), 3);
    chain(&[5], model(&[0.3, 0.5]), 1);
    chain(&[5], model(&[0.3]), 1);
    chain(&[5], model(&[0.3, 0.5, -0.2, 0.1]), 4);
    // The vertex would be at 5,000.
    chain(&[5], model(&[0.0, 1.0, 1e-4]), 4);
}

#[test]
fn functions_come_within_their_error() {
    use Activation::{Gelu, Relu, Sigmoid, Silu, Softmax, Tanh};
    for activation in [Sigmoid, Tanh, Relu, Silu, Gelu, Softmax { axis: 0 }] {
        let model = Model::from_layers(vec![5], vec![dense(4, 5), Layer::Activation(activation.clone())]).unwrap();
        let samples = samples(&model, 8);
        let want = model.predict_clear(&samples).unwrap();
        // At the end it is the client's, exactly.
        let left = Approximate::default();
        assert_close(&run(&model, &samples, Packing::Batch, 8, &left).unwrap(), &want, 1e-9);
        let ours =
            Approximate { calibration: samples.clone(), max_error: 0.02, end_with_client: false, ..left.clone() };
        let got = run(&model, &samples, Packing::Latency, 16, &ours);
        assert_close(&got.unwrap(), &want, 0.04);
        let blind = Approximate { end_with_client: false, ..left };
        assert!(matches!(run(&model, &samples, Packing::Latency, 16, &blind), Err(Error::BadModel { .. })));
    }
}

#[test]
fn a_softmax_may_stand_anywhere() {
    let softmax = |axis| Layer::Activation(Activation::Softmax { axis });
    let models = [
        (vec![6], vec![dense(5, 6), softmax(0), dense(3, 5), SQUARE]),
        (vec![3, 4], vec![softmax(0), dense(4, 4), softmax(1)]),
        // The same for all samples: any width of the range will do.
        (vec![1], vec![softmax(0)]),
    ];
    for (input, layers) in models {
        let model = Model::from_layers(input, layers).unwrap();
        let samples = samples(&model, 12);
        let want = model.predict_clear(&samples).unwrap();
        for (packing, max_error) in [(Packing::Latency, 0.01), (Packing::Batch, 1e-4)] {
            let how = Approximate {
                calibration: samples.clone(),
                max_error,
                end_with_client: false,
                ..Approximate::default()
            };
            // The first error passes a map and a square, or a softmax.
            assert_close(&run(&model, &samples, packing, 64, &how).unwrap(), &want, 2.0 * max_error);
        }
    }
}

#[test]
fn a_softmax_of_far_logits_divides_step_by_step() {
    let softmax = Layer::Activation(Activation::Softmax { axis: 0 });
    let model = Model::from_layers(vec![3], vec![softmax]).unwrap();
    let samples: Vec<_> = (0..9).map(|k| vec![f64::from(k) * 1.5, 2.0, 0.0]).collect();
    let how = Approximate { calibration: samples.clone(), end_with_client: false, ..Approximate::default() };
    let circuit = ModelCircuit::new(&model, Packing::Batch, 16, &how).unwrap();
    assert!(circuit.list().steps.iter().any(|step| step.operation.to_string().contains("Goldschmidt")));
    let want = model.predict_clear(&samples).unwrap();
    assert_close(&run(&model, &samples, Packing::Batch, 16, &how).unwrap(), &want, how.max_error);
}

/// LeNet-5 with squares: five linear maps, four squares.
fn lenet() -> Model {
    let layers = vec![
        conv([6, 1, 5, 5], 1, [2; 4], 1, 1),
        SQUARE,
        pool(2, 2, 0, true),
        conv([16, 6, 5, 5], 1, [0; 4], 1, 1),
        SQUARE,
        pool(2, 2, 0, true),
        Layer::Reshape(vec![400]),
        dense(120, 400),
        SQUARE,
        dense(84, 120),
        SQUARE,
        dense(10, 84),
    ];
    Model::from_layers(vec![1, 28, 28], layers).unwrap()
}

#[test]
fn lenet_takes_few_rotations() {
    let circuit = ModelCircuit::new(&lenet(), Packing::Latency, 8192, &Approximate::default()).unwrap();
    let report = circuit.plan().unwrap();
    assert_eq!(report.depth, 9);
    println!("{report}");
    assert!(report.hoisted_rotations + report.single_rotations < 160, "{report}");
    assert!(report.rotations.len() < 80, "{report}");
}

#[test]
fn a_run_can_be_watched_and_ended() {
    let model = Model::from_layers(vec![2], vec![dense(2, 2), SQUARE, dense(1, 2)]).unwrap();
    let circuit = ModelCircuit::new(&model, Packing::Batch, 4, &Approximate::default()).unwrap();
    let clear = Clear::new(4, Level(3));
    let prepared = circuit.prepare(&clear, Level(3)).unwrap();
    let x = [clear.value(&circuit.packer().pack(&samples(&model, 4)).unwrap(), Level(3)).unwrap()];
    let mut seen = vec![];
    let mut watch = |p: Progress<'_>| {
        seen.push((p.done, p.next.to_string()));
        ControlFlow::Continue(())
    };
    prepared.run_watched(&clear, &x, &mut watch).unwrap();
    let want = [(0, "0"), (1, "1"), (2, "2"), (3, "")].map(|(done, next)| (done, next.to_string()));
    assert_eq!(seen, want);
    let mut end = |p: Progress<'_>| if p.done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    assert!(matches!(prepared.run_watched(&clear, &x, &mut end), Err(Error::Cancelled { done: 2, steps: 3 })));
}

#[test]
fn digits_are_recognised_in_both_packings() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits");
    let model = Model::from_safetensors(&std::fs::read(format!("{root}/mlp.safetensors")).unwrap()).unwrap();
    let csv = std::fs::read_to_string(format!("{root}/digits.csv")).unwrap();
    let (mut samples, mut labels) = (Vec::new(), Vec::new());
    for line in csv.lines().skip(3).step_by(4) {
        let mut numbers: Vec<f64> = line.split(',').map(|x| x.parse().unwrap()).collect();
        labels.push(numbers.pop().unwrap());
        samples.push(numbers.iter().map(|x| x / 16.0).collect());
    }
    assert_eq!(samples.len(), 449);
    let want = model.predict_clear(&samples).unwrap();
    for packing in [Packing::Latency, Packing::Batch] {
        let got = run(&model, &samples, packing, 512, &Approximate::default()).unwrap();
        assert_close(&got, &want, 1e-9);
        let digit = |y: &Vec<f64>| (0..10usize).max_by(|&a, &b| y[a].total_cmp(&y[b])).unwrap() as f64;
        let right = got.iter().zip(&labels).filter(|(y, label)| digit(y) == **label).count();
        assert_eq!(right, 443); // the figure of the README, 98.66 %
    }
    let circuit = ModelCircuit::new(&model, Packing::Latency, 512, &Approximate::default()).unwrap();
    // 64 -> 32 folds once; 32 -> 10 folds once.
    assert_eq!(circuit.plan().unwrap().rotations, [1, 2, 3, 4, 5, 6, 7, 8, 16, 32]);
}

#[test]
fn unfit_runs_are_errors() {
    let model = Model::from_layers(vec![5], vec![dense(2, 5), SQUARE]).unwrap();
    let how = Approximate::default();
    let new = |packing, slots| ModelCircuit::new(&model, packing, slots, &how);
    assert!(matches!(new(Packing::Latency, 4), Err(Error::TooManyValues { slots: 4, .. })));
    for packing in [Packing::Latency, Packing::Batch] {
        for slots in [0, 12, 1 << 60] {
            assert!(matches!(new(packing, slots), Err(Error::InvalidParameter { what: "slots", .. })));
        }
    }
    let circuit = new(Packing::Batch, 8).unwrap();
    let clear = Clear::new(8, Level(2));
    let low = circuit.prepare(&clear, Level(1)).map(|_| ());
    assert_eq!(low, Err(Error::LevelExhausted { op: "ModelCircuit::prepare", needed: 2, left: 1 }));
    let other = circuit.prepare(&Clear::new(16, Level(2)), Level(2)).map(|_| ());
    assert!(matches!(other, Err(Error::ShapeMismatch { .. })));
    let compiled = circuit.prepare(&clear, Level(2)).unwrap();
    let value = |batch, level| clear.value(&vec![vec![]; batch], Level(level)).unwrap();
    for unfit in [vec![], vec![value(4, 2)], vec![value(2, 2), value(3, 2)]] {
        assert!(matches!(compiled.run(&clear, &unfit), Err(Error::ShapeMismatch { .. })));
    }
    assert!(matches!(compiled.run(&clear, &[value(5, 1)]), Err(Error::LevelMismatch { .. })));
}

/// Every file that an exporter made becomes a circuit in both packings, with what may be left to the client at the end and without.
#[cfg(feature = "onnx")]
#[test]
fn imported_models_become_circuits() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/models");
    let mut lowered = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let Ok(model) = Model::from_onnx(&std::fs::read(&path).unwrap()) else { continue };
        let samples = samples(&model, 2);
        let want = model.predict_clear(&samples).unwrap();
        let largest = want.iter().flatten().fold(1.0, |most: f64, y| most.max(y.abs()));
        for packing in [Packing::Latency, Packing::Batch] {
            let end_with_client = packing == Packing::Latency;
            let calibration = samples.clone();
            let how = Approximate { calibration, max_error: 0.005, end_with_client, ..Approximate::default() };
            let circuit = ModelCircuit::new(&model, packing, 2048, &how);
            let circuit = circuit.unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let approximate =
                circuit.list().steps.iter().any(|step| matches!(step.operation, super::lower::Operation::Function(..)));
            assert_close(
                &circuit.predict_clear(&samples).unwrap(),
                &want,
                largest * if approximate { 0.03 } else { 1e-6 },
            );
            lowered += 1;
        }
    }
    assert!(lowered > 100, "{lowered}");
}
