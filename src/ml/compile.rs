//! A model encoded for one evaluator.

use super::packing::repeat;
use super::{Activation, Layer, Model, Packing};
use crate::circuit::{DiagonalMatrix, Evaluator, Plan, PlanReport, PreparedMatrix, check_slots};
use crate::error::{Error, Result};
use crate::units::Level;
use std::fmt;

/// A [`Model`] with every weight encoded at the level where it is used.
pub struct CompiledModel<E: Evaluator> {
    packing: Packing,
    steps: Vec<Step<E>>,
}

enum Step<E: Evaluator> {
    /// `W x` within every vector.
    Diagonals(PreparedMatrix<E>),
    /// `W x` across the batch.
    Combine(E::Weights),
    /// `x + b` within every vector.
    Bias(E::Plain),
    /// `x + b` across the batch.
    Scalars(Vec<f64>),
    /// `x^2`.
    Square,
}

impl<E: Evaluator> fmt::Debug for CompiledModel<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledModel")
            .field("packing", &self.packing)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

fn unsupported(name: &str) -> Error {
    let reason = "only a chain of dense layers and squares on vectors can be compiled";
    Error::BadModel { field: name.into(), reason: reason.into() }
}

impl Model {
    /// Levels that a run consumes: one a node.
    pub fn depth(&self) -> u32 {
        u32::try_from(self.nodes().len()).expect("at most MAX_NODES")
    }

    /// Slots that a run takes at least: the longest period of its vectors, or one for one sample ([`Packing::Batch`]).
    pub fn least_slots(&self, packing: Packing) -> usize {
        let entries = |value| self.shape(value).iter().product();
        match packing {
            // A matrix gives the period of its rows, or at most that of its input.
            Packing::Latency => (0..=self.nodes().len()).map(entries).fold(1, usize::max).next_power_of_two(),
            Packing::Batch => 1,
        }
    }

    /// Levels, keys and work of a run on vectors of `slots` entries.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when a layer does not fit the slots ([`Packing::Latency`]); [`Error::InvalidParameter`] for
    /// more slots than the largest ring has; [`Error::BadModel`] for layers that cannot be compiled.
    pub fn plan(&self, slots: usize, packing: Packing) -> Result<PlanReport> {
        let plan = Plan::new(slots);
        let batch = if packing == Packing::Latency { 1 } else { self.inputs() };
        let x = plan.input(batch);
        self.prepare(&plan, packing, plan.level(&x))?.run(&plan, &x)?;
        Ok(plan.report())
    }

    /// Encodes all weights, once, for inputs at `input_level`.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when `input_level` is below [`Self::depth`]; [`Error::ShapeMismatch`] when a layer does
    /// not fit the slots ([`Packing::Latency`]); [`Error::InvalidParameter`] for more slots than the largest ring has;
    /// [`Error::BadModel`] for layers that cannot be compiled; the errors of [`Evaluator::encode`] and
    /// [`Evaluator::encode_weights`].
    pub fn prepare<E: Evaluator>(&self, eval: &E, packing: Packing, input_level: Level) -> Result<CompiledModel<E>> {
        CompiledModel::new(self, eval, packing, input_level)
    }
}

impl<E: Evaluator> CompiledModel<E> {
    pub(super) fn new(model: &Model, eval: &E, packing: Packing, input_level: Level) -> Result<Self> {
        let (needed, left, slots) = (model.depth(), input_level.0, eval.slots());
        if left < needed {
            return Err(Error::LevelExhausted { op: "Model::prepare", needed, left });
        }
        check_slots(slots)?;
        let mut steps = Vec::new();
        let mut period = model.inputs().next_power_of_two();
        for (index, (node, level)) in model.nodes().iter().zip((0..=left).rev()).enumerate() {
            let chained = node.inputs == [index] && node.shape.len() == 1;
            match (&node.layer, packing) {
                _ if !chained => return Err(unsupported(&node.name)),
                (Layer::Activation(Activation::Square), _) => steps.push(Step::Square),
                (Layer::Dense { weights, bias }, Packing::Latency) => {
                    let matrix = DiagonalMatrix::with_input_period(weights.clone(), period)?;
                    period = matrix.output_period();
                    steps.push(Step::Diagonals(matrix.prepare(eval, Level(level))?));
                    steps.push(Step::Bias(eval.encode(&[repeat(bias, period, slots)], Level(level - 1))?));
                }
                (Layer::Dense { weights, bias }, Packing::Batch) => {
                    steps.push(Step::Combine(eval.encode_weights(weights, Level(level))?));
                    steps.push(Step::Scalars(bias.clone()));
                }
                _ => return Err(unsupported(&node.name)),
            }
        }
        Ok(Self { packing, steps })
    }

    /// How the inputs must lie, and the outputs will.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// The model's answers for packed samples.
    ///
    /// # Shape
    /// As [`super::pack_inputs`] gives and [`super::unpack_outputs`] takes.
    /// # Level and scale
    /// One level a layer.
    /// # Errors
    /// [`Error::LevelMismatch`] when `x` is not at the level the model was prepared for, [`Error::ShapeMismatch`] when
    /// its batch is not the number of features ([`Packing::Batch`]), [`Error::BadValue`] for a bias too large for the
    /// modulus ([`Packing::Batch`]), or a missing key.
    pub fn run(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        let mut value: Option<E::Value> = None;
        for step in &self.steps {
            let x = value.as_ref().unwrap_or(x);
            value = Some(match step {
                Step::Diagonals(matrix) => matrix.apply(eval, x)?,
                Step::Combine(weights) => eval.combine(x, weights)?,
                Step::Bias(bias) => eval.add_plain(x, bias)?,
                Step::Scalars(bias) => eval.add_scalars(x, bias)?,
                Step::Square => eval.square(x)?,
            });
        }
        Ok(value.expect("a model has a layer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Clear, Matrix};
    use crate::ml::{pack_inputs, unpack_outputs};

    const SQUARE: Layer = Layer::Activation(Activation::Square);

    fn dense(rows: usize, columns: usize) -> Layer {
        let entry = |i: usize| (i as f64 * 1.7).sin() / columns as f64;
        let weights = Matrix::new(rows, columns, (0..rows * columns).map(entry).collect()).unwrap();
        Layer::Dense { weights, bias: (0..rows).map(|i| 0.1 * i as f64 - 0.2).collect() }
    }

    /// Runs the planned circuit in the clear with exactly the planned levels and keys.
    fn run(model: &Model, samples: &[Vec<f64>], packing: Packing, slots: usize) -> Result<Vec<Vec<f64>>> {
        let report = model.plan(slots, packing)?;
        assert_eq!(report.depth, model.depth());
        let top = Level(report.depth);
        let clear = Clear::new(slots, top).with_keys_of(report.clone());
        let compiled = model.prepare(&clear, packing, top)?;
        let y = compiled.run(&clear, &clear.value(&pack_inputs(samples, packing, slots)?, top)?)?;
        assert_eq!(clear.level(&y), Level(0));
        assert_eq!(clear.report(), report);
        unpack_outputs(y.vectors(), packing, samples.len(), model.outputs())
    }

    fn assert_close(got: &[Vec<f64>], want: &[Vec<f64>]) {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert_eq!(got.len(), want.len());
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{got:?} instead of {want:?}");
        }
    }

    #[test]
    fn both_packings_agree_with_the_definition() {
        for (inputs, layers) in [
            (1, vec![dense(1, 1)]),
            (5, vec![SQUARE, dense(3, 5), SQUARE, SQUARE]),
            (6, vec![dense(40, 6), SQUARE, dense(2, 40)]),
            (60, vec![dense(3, 60), dense(50, 3), SQUARE, dense(33, 50)]),
        ] {
            let model = Model::from_layers(vec![inputs], layers).unwrap();
            let sample = |s: usize| (0..model.inputs()).map(|i| ((s * 31 + i) as f64).cos()).collect();
            let samples: Vec<Vec<f64>> = (0..4).map(sample).collect();
            let want = model.predict_clear(&samples).unwrap();
            for packing in [Packing::Latency, Packing::Batch] {
                assert_close(&run(&model, &samples, packing, 128).unwrap(), &want);
                let least = model.least_slots(packing);
                assert!(model.plan(least, packing).is_ok());
                assert!(least == 1 || model.plan(least / 2, packing).is_err());
            }
        }
    }

    #[test]
    fn digits_are_recognised_in_both_packings() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits");
        let model = Model::from_safetensors(&std::fs::read(format!("{root}/mlp.safetensors")).unwrap()).unwrap();
        assert_eq!((model.inputs(), model.outputs(), model.depth()), (64, 10, 3));
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
            let got = run(&model, &samples, packing, 512).unwrap();
            assert_close(&got, &want);
            let digit = |y: &Vec<f64>| (0..10usize).max_by(|&a, &b| y[a].total_cmp(&y[b])).unwrap() as f64;
            let right = got.iter().zip(&labels).filter(|(y, label)| digit(y) == **label).count();
            assert_eq!(right, 443); // the figure of the README, 98.66 %
        }
        assert_eq!(model.plan(512, Packing::Batch).unwrap().rotations, [0i32; 0]);
        // 64 -> 32 folds once; 32 -> 10 folds once.
        assert_eq!(model.plan(512, Packing::Latency).unwrap().rotations, [1, 2, 3, 4, 5, 6, 7, 8, 16, 32]);
    }

    #[test]
    fn unfit_runs_are_errors() {
        let model = Model::from_layers(vec![5], vec![dense(2, 5), SQUARE]).unwrap();
        assert!(matches!(model.predict_clear(&[vec![1.0; 4]]), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(model.plan(4, Packing::Latency), Err(Error::ShapeMismatch { .. })));
        for packing in [Packing::Latency, Packing::Batch] {
            let endless = model.plan(1 << 60, packing);
            assert!(matches!(endless, Err(Error::InvalidParameter { what: "slots", .. })));
        }
        let clear = Clear::new(8, Level(2));
        let low = model.prepare(&clear, Packing::Batch, Level(1)).map(|_| ());
        assert_eq!(low, Err(Error::LevelExhausted { op: "Model::prepare", needed: 2, left: 1 }));
        let compiled = model.prepare(&clear, Packing::Batch, Level(2)).unwrap();
        let x = clear.value(&vec![vec![]; 4], Level(2)).unwrap();
        assert!(matches!(compiled.run(&clear, &x), Err(Error::ShapeMismatch { .. })));
    }
}
