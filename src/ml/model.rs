//! A trained model.

use super::{CompiledModel, Layer, Packing, file};
use crate::circuit::{Evaluator, MAX_SLOTS, Plan, PlanReport};
use crate::error::{Error, Result};
use crate::units::Level;

/// Most layers of a model: far more than a chain has levels.
pub(super) const MAX_LAYERS: usize = 256;
/// Most inputs or outputs of a layer: the slots of the largest ring.
const MAX_FEATURES: usize = MAX_SLOTS;

/// Layers that fit one another, at least one of them dense.
///
/// # Example
/// ```
/// use ringlight::circuit::{Clear, Matrix};
/// use ringlight::ml::{Layer, Model, Packing, pack_inputs, unpack_outputs};
/// use ringlight::units::Level;
///
/// let dense = Layer::Dense { weights: Matrix::new(1, 2, vec![1.0, 2.0])?, bias: vec![0.5] };
/// let model = Model::from_layers(vec![dense, Layer::Square])?; // (x + 2y + 0.5)^2
/// let samples = vec![vec![1.0, 0.25], vec![-1.0, 0.0]];
/// assert_eq!(model.predict_clear(&samples)?, [[4.0], [0.25]]);
///
/// let report = model.plan(8, Packing::Latency)?;
/// assert_eq!((report.depth, report.rotations), (2, vec![1]));
/// let clear = Clear::new(8, Level(2)); // any evaluator
/// let compiled = model.prepare(&clear, Packing::Latency, Level(2))?;
/// let x = clear.value(&pack_inputs(&samples, Packing::Latency, 8)?, Level(2))?;
/// let y = compiled.run(&clear, &x)?;
/// assert_eq!(unpack_outputs(y.vectors(), Packing::Latency, 2, 1)?, [[4.0], [0.25]]);
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    layers: Vec<Layer>,
    inputs: usize,
    outputs: usize,
}

fn bad(field: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::BadModel { field: field.into(), reason: reason.into() }
}

impl Model {
    /// A model that applies `layers` in this order.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming `layers`, `<index>.weight` or `<index>.bias`: no dense layer or more than 256 layers,
    /// more than 65,536 inputs or outputs, dimensions that do not chain, a bias of the wrong length or not finite.
    pub fn from_layers(layers: Vec<Layer>) -> Result<Self> {
        if layers.len() > MAX_LAYERS {
            return Err(bad("layers", format!("more than {MAX_LAYERS} layers")));
        }
        let mut ends: Option<(usize, usize)> = None; // inputs of the model, outputs so far
        for (index, layer) in layers.iter().enumerate() {
            let Layer::Dense { weights, bias } = layer else { continue };
            let (rows, columns) = (weights.rows(), weights.columns());
            if rows.max(columns) > MAX_FEATURES {
                let reason = format!("{rows} x {columns}, the most is {MAX_FEATURES}");
                return Err(bad(format!("{index}.weight"), reason));
            }
            let (inputs, before) = ends.unwrap_or((columns, columns));
            if columns != before {
                let reason = format!("takes {columns} inputs, the layer before gives {before}");
                return Err(bad(format!("{index}.weight"), reason));
            }
            if bias.len() != rows {
                let reason = format!("{} entries for {rows} outputs", bias.len());
                return Err(bad(format!("{index}.bias"), reason));
            }
            if let Some(entry) = bias.iter().position(|b| !b.is_finite()) {
                return Err(bad(format!("{index}.bias"), format!("entry {entry} is not a finite number")));
            }
            ends = Some((inputs, rows));
        }
        let (inputs, outputs) = ends.ok_or_else(|| bad("layers", "no dense layer"))?;
        Ok(Self { layers, inputs, outputs })
    }

    /// Reads a safetensors file: tensors named like PyTorch's `Sequential`, `<index>.weight` of shape `[out, in]` and
    /// `<index>.bias` of shape `[out]`, in f16, bf16, f32 or f64, and the metadata entry `layers`, for example
    /// `dense,square,dense`.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming `file`, a tensor or `layers`; as [`Self::from_layers`], and for bytes that are no
    /// safetensors file, a tensor that is missing, left over, of a wrong shape or type or not finite, an unknown layer.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        Self::from_layers(file::read_layers(bytes)?)
    }

    /// The layers, in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Features of a sample.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers in an answer.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Levels that a run consumes: one a layer.
    pub fn depth(&self) -> u32 {
        u32::try_from(self.layers.len()).expect("at most MAX_LAYERS")
    }

    /// Slots that a run takes at least: the longest period of its vectors, or one for one sample ([`Packing::Batch`]).
    pub fn least_slots(&self, packing: Packing) -> usize {
        let outputs = |layer: &Layer| match layer {
            Layer::Dense { bias, .. } => bias.len(),
            Layer::Square => 0,
        };
        match packing {
            // A matrix gives the period of its rows, or at most that of its input.
            Packing::Latency => self.layers.iter().map(outputs).fold(self.inputs, usize::max).next_power_of_two(),
            Packing::Batch => 1,
        }
    }

    /// The answers in plain f64 arithmetic: the definition of the model.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a sample with another number of features than [`Self::inputs`].
    pub fn predict_clear(&self, samples: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        let predict = |sample: &Vec<f64>| {
            if sample.len() != self.inputs {
                return Err(Error::ShapeMismatch {
                    op: "Model::predict_clear",
                    expected: format!("{} features", self.inputs),
                    got: format!("{}", sample.len()),
                });
            }
            Ok(self.layers.iter().fold(sample.clone(), |x, layer| layer.apply_clear(&x)))
        };
        samples.iter().map(predict).collect()
    }

    /// Levels, keys and work of a run on vectors of `slots` entries.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when a layer does not fit the slots ([`Packing::Latency`]); [`Error::InvalidParameter`] for
    /// more slots than the largest ring has.
    pub fn plan(&self, slots: usize, packing: Packing) -> Result<PlanReport> {
        let plan = Plan::new(slots);
        let batch = if packing == Packing::Latency { 1 } else { self.inputs };
        let x = plan.input(batch);
        self.prepare(&plan, packing, plan.level(&x))?.run(&plan, &x)?;
        Ok(plan.report())
    }

    /// Encodes all weights, once, for inputs at `input_level`.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when `input_level` is below [`Self::depth`]; [`Error::ShapeMismatch`] when a layer does
    /// not fit the slots ([`Packing::Latency`]); [`Error::InvalidParameter`] for more slots than the largest ring has; the
    /// errors of [`Evaluator::encode`] and [`Evaluator::encode_weights`].
    pub fn prepare<E: Evaluator>(&self, eval: &E, packing: Packing, input_level: Level) -> Result<CompiledModel<E>> {
        CompiledModel::new(self, eval, packing, input_level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Clear, Matrix};
    use crate::ml::{pack_inputs, unpack_outputs};

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
        use Layer::Square;
        for layers in [
            vec![dense(1, 1)],
            vec![Square, dense(3, 5), Square, Square],
            vec![dense(40, 6), Square, dense(2, 40)],
            vec![dense(3, 60), dense(50, 3), Square, dense(33, 50)],
        ] {
            let model = Model::from_layers(layers).unwrap();
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
    fn layers_that_do_not_fit_are_named() {
        let field = |layers| match Model::from_layers(layers) {
            Err(Error::BadModel { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let biased = |bias| match dense(2, 3) {
            Layer::Dense { weights, .. } => Layer::Dense { weights, bias },
            other => other,
        };
        assert_eq!(field(vec![]), "layers");
        assert_eq!(field(vec![Layer::Square]), "layers");
        assert_eq!(field(vec![Layer::Square; 257]), "layers");
        assert_eq!(field(vec![dense(2, 3), Layer::Square, dense(2, 3)]), "2.weight");
        assert_eq!(field(vec![Layer::Square, dense(1, 65_537)]), "1.weight");
        assert_eq!(field(vec![biased(vec![1.0])]), "0.bias");
        assert_eq!(field(vec![biased(vec![1.0, f64::INFINITY])]), "0.bias");
    }

    #[test]
    fn unfit_runs_are_errors() {
        let model = Model::from_layers(vec![dense(2, 5), Layer::Square]).unwrap();
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
