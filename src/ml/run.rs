//! A model encoded for one evaluator, and its run.

use super::Packing;
use super::refresh::Refresh;
use crate::circuit::{Approximation, Evaluator, Polynomial, PreparedMatrix};
use crate::error::{Error, Result};
use crate::units::Level;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Is shown the parts of the value that a step makes, and may change them.
pub(super) type Observe<'a, E> = dyn FnMut(usize, &mut [<E as Evaluator>::Value]) -> Result<()> + 'a;

/// A [`super::ModelCircuit`] with every weight encoded at the level where it is used.
pub struct CompiledModel<E: Evaluator> {
    pub(super) packing: Packing,
    /// Parts of an input in the batch packing.
    pub(super) inputs: Option<usize>,
    pub(super) input_level: Level,
    pub(super) steps: Vec<EncodedStep<E>>,
    /// For every value the last step that takes it.
    pub(super) last_use: Vec<usize>,
    /// The longest period of values to be refreshed.
    pub(super) refreshed: usize,
    pub(super) refresh: Option<Arc<dyn Refresh<E> + Send + Sync>>,
}

pub(super) struct EncodedStep<E: Evaluator> {
    pub(super) name: String,
    /// Where its operands must stand.
    pub(super) level: Level,
    pub(super) work: Work<E>,
}

pub(super) enum Work<E: Evaluator> {
    /// An affine map within every vector.
    Sum(Vec<(usize, Term<E>)>, Bias<E>),
    /// An affine map of values across the batch, and what makes each part.
    Mix(Vec<usize>, Vec<Mixed<E>>),
    Square(usize),
    Polynomial(usize, Polynomial),
    Function(usize, Approximation),
    Product(usize, usize),
    Refresh(usize),
}

/// One summand of an affine map within every vector.
pub(super) enum Term<E: Evaluator> {
    /// `x` or `-x`.
    Signed(f64),
    /// `M x`.
    Diagonals(PreparedMatrix<E>),
}

pub(super) enum Bias<E: Evaluator> {
    None,
    /// To every vector.
    Slots(E::Plain),
    /// To one vector.
    Value(E::Value),
    /// To each vector of a part its own.
    Scalars(Vec<Vec<f64>>),
}

/// A part that vectors of other parts make: every term is a part of an operand, counted among the step's, and its share of the matrix.
pub(super) struct Mixed<E: Evaluator> {
    pub(super) terms: Vec<(usize, usize, E::Weights)>,
    pub(super) bias: Vec<f64>,
}

impl<E: Evaluator> fmt::Debug for CompiledModel<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledModel")
            .field("packing", &self.packing)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Steps that were run.
    pub done: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// The step that comes next, by the names of its nodes; empty at the end.
    pub next: &'a str,
}

impl<E: Evaluator> CompiledModel<E> {
    /// How the inputs must lie, and the outputs will.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// With what refreshes values, which models with refreshes among their steps ask for.
    pub fn with_refresh(self, refresh: Arc<dyn Refresh<E> + Send + Sync>) -> Self {
        Self { refresh: Some(refresh), ..self }
    }

    /// The model's answers for packed samples.
    ///
    /// # Shape
    /// The vectors that [`super::Packer::pack`] gives and [`super::Packer::unpack`] takes, in parts: those of [`super::ModelCircuit::in_parts_of`] in the batch
    /// packing; in the latency packing any, and each is for itself.
    /// # Level and scale
    /// The depth of the circuit.
    /// # Errors
    /// [`Error::LevelMismatch`] when `x` is not at the level the model was prepared for, [`Error::ShapeMismatch`] for no parts, or when
    /// they are not those of the features ([`Packing::Batch`]), [`Error::BadValue`] for a bias too large for the modulus
    /// ([`Packing::Batch`]), or a missing key; [`Error::InvalidParameter`] for refreshes without [`Self::with_refresh`], else
    /// as [`Refresh::refresh`].
    pub fn run(&self, eval: &E, x: &[E::Value]) -> Result<Vec<E::Value>> {
        self.run_watched(eval, x, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::run`], telling `watch` before every step and at the end how far it is; a `Break` from it ends the run.
    ///
    /// # Errors
    /// As [`Self::run`]; [`Error::Cancelled`].
    pub fn run_watched(
        &self,
        eval: &E,
        x: &[E::Value],
        watch: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<E::Value>> {
        self.run_observed(eval, x, watch, &mut |_, _| Ok(()))
    }

    /// As [`Self::run_watched`], showing `observe` the value that each step makes, for it to change.
    pub(super) fn run_observed(
        &self,
        eval: &E,
        x: &[E::Value],
        watch: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
        observe: &mut Observe<'_, E>,
    ) -> Result<Vec<E::Value>> {
        const OP: &str = "CompiledModel::run";
        if x.is_empty() || self.inputs.is_some_and(|parts| parts != x.len()) {
            let expected = self.inputs.map_or("at least one part".into(), |parts| format!("{parts} parts"));
            return Err(Error::ShapeMismatch { op: OP, expected, got: format!("{}", x.len()) });
        }
        let right = self.input_level;
        if let Some(left) = x.iter().map(|part| eval.level(part)).find(|left| *left != right) {
            return Err(Error::LevelMismatch { op: OP, left: left.0, right: right.0 });
        }
        let steps = self.steps.len();
        let mut values: Vec<Option<Vec<E::Value>>> = vec![Some(lowered(eval, x, right)?)];
        for (done, step) in self.steps.iter().enumerate() {
            if watch(Progress { done, steps, next: &step.name }).is_break() {
                return Err(Error::Cancelled { done, steps });
            }
            let mut value = step.run(eval, &values, self)?;
            observe(done, &mut value)?;
            // Values that nothing takes any more free their memory.
            for (kept, last) in values.iter_mut().zip(&self.last_use) {
                if *last <= done {
                    *kept = None;
                }
            }
            values.push(Some(value));
        }
        if watch(Progress { done: steps, steps, next: "" }).is_break() {
            return Err(Error::Cancelled { done: steps, steps });
        }
        Ok(values.pop().flatten().expect("the last value is the answer"))
    }

    /// A value back where inputs stand.
    fn refreshed(&self, eval: &E, x: &E::Value) -> Result<E::Value> {
        let Some(refresh) = &self.refresh else {
            let reason = "the model refreshes values, and was not given what does it".into();
            return Err(Error::InvalidParameter { what: "refresh", reason });
        };
        eval.drop_to(&refresh.refresh(eval, x)?, self.input_level)
    }
}

/// Every part of a value at a level.
fn lowered<E: Evaluator>(eval: &E, parts: &[E::Value], level: Level) -> Result<Vec<E::Value>> {
    parts.iter().map(|part| eval.drop_to(part, level)).collect()
}

impl<E: Evaluator> EncodedStep<E> {
    fn run(&self, eval: &E, values: &[Option<Vec<E::Value>>], model: &CompiledModel<E>) -> Result<Vec<E::Value>> {
        let value = |index: usize| values[index].as_ref().expect("a value lives until its last use");
        match &self.work {
            Work::Sum(terms, bias) => {
                let parts = value(terms[0].0).len();
                (0..parts).map(|part| self.sum(eval, terms, bias, part, &|index| &value(index)[part])).collect()
            }
            Work::Mix(operands, parts) => {
                let lower = |value_index: &usize| lowered(eval, value(*value_index), self.level);
                let low = operands.iter().map(lower).collect::<Result<Vec<_>>>()?;
                let mix = |mixed: &Mixed<E>| {
                    let terms: Vec<_> =
                        mixed.terms.iter().map(|(operand, part, w)| (&low[*operand][*part], w)).collect();
                    let sum = eval.combine(&terms)?;
                    if mixed.bias.iter().all(|b| *b == 0.0) { Ok(sum) } else { eval.add_scalars(&sum, &mixed.bias) }
                };
                parts.iter().map(mix).collect()
            }
            Work::Square(x) => value(*x).iter().map(|x| eval.square(x)).collect(),
            Work::Polynomial(x, polynomial) => value(*x).iter().map(|x| polynomial.evaluate(eval, x)).collect(),
            Work::Function(x, function) => value(*x).iter().map(|x| function.evaluate(eval, x)).collect(),
            Work::Refresh(x) => value(*x).iter().map(|x| model.refreshed(eval, x)).collect(),
            Work::Product(x, y) => {
                let (x, y) = (lowered(eval, value(*x), self.level)?, lowered(eval, value(*y), self.level)?);
                x.iter().zip(&y).map(|(x, y)| eval.mul(x, y)).collect()
            }
        }
    }

    /// One part of an affine map within every vector.
    fn sum<'a>(
        &self,
        eval: &E,
        terms: &[(usize, Term<E>)],
        bias: &Bias<E>,
        part: usize,
        value: &dyn Fn(usize) -> &'a E::Value,
    ) -> Result<E::Value>
    where
        E::Value: 'a,
    {
        let mut sum: Option<E::Value> = None;
        for (index, term) in terms {
            let x = eval.drop_to(value(*index), self.level)?;
            let more = match term {
                Term::Signed(sign) if *sign < 0.0 => eval.neg(&x)?,
                Term::Signed(_) => x,
                Term::Diagonals(matrix) => matrix.apply(eval, &x)?,
            };
            sum = Some(match sum {
                Some(sum) => eval.add(&sum, &more)?,
                None => more,
            });
        }
        let sum = sum.expect("an affine map has a term");
        match bias {
            Bias::None => Ok(sum),
            Bias::Slots(bias) => eval.add_plain(&sum, bias),
            Bias::Value(bias) => eval.add(&sum, bias),
            Bias::Scalars(bias) => eval.add_scalars(&sum, &bias[part]),
        }
    }
}
