//! A model encoded for one evaluator.

use super::packing::repeat;
use super::{Layer, Model, Packing};
use crate::circuit::{DiagonalMatrix, Evaluator, PreparedMatrix, check_slots};
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

impl<E: Evaluator> CompiledModel<E> {
    pub(super) fn new(model: &Model, eval: &E, packing: Packing, input_level: Level) -> Result<Self> {
        let (needed, left, slots) = (model.depth(), input_level.0, eval.slots());
        if left < needed {
            return Err(Error::LevelExhausted { op: "Model::prepare", needed, left });
        }
        check_slots(slots)?;
        let mut steps = Vec::new();
        let mut period = model.inputs().next_power_of_two();
        for (layer, level) in model.layers().iter().zip((0..=left).rev()) {
            match (layer, packing) {
                (Layer::Square, _) => steps.push(Step::Square),
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
