//! A model as a circuit, and its weights encoded for an evaluator.

use super::Packing;
use super::layout::{self, Layout, moves};
use super::lower::{Approximate, Operation, Step, Steps, Style, lower, plain_sign};
use super::model::Model;
use super::packing::{Packer, spread};
use super::refresh::{PlannedRefresh, Refresh};
use super::run::{Bias, CompiledModel, EncodedStep, Mixed, Progress, Term, Work};
use crate::circuit::{Clear, ClearValue, DiagonalMatrix, Evaluator, Plan, PlanReport, SparseMatrix, check_slots};
use crate::error::{Error, Result};
use crate::units::Level;
use num_complex::Complex64;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// A [`Model`] lowered to encrypted steps for one packing: which values there are, what makes them, where their entries lie.
///
/// It names no scheme, no device and no level: [`Self::prepare`] encodes the weights for any [`Evaluator`].
///
/// # Example
/// ```
/// use ringlight::circuit::{Clear, Matrix};
/// use ringlight::ml::{Activation, Approximate, Layer, Model, ModelCircuit, Packing};
/// use ringlight::units::Level;
///
/// let dense = Layer::Dense { weights: Matrix::new(1, 2, vec![1.0, 2.0])?, bias: vec![0.5] };
/// let model = Model::from_layers(vec![2], vec![dense, Layer::Activation(Activation::Square)])?; // (x + 2y + 0.5)^2
/// let circuit = ModelCircuit::new(&model, Packing::Latency, 8, &Approximate::default())?;
/// let report = circuit.plan()?;
/// assert_eq!((report.depth, report.rotations), (2, vec![1]));
///
/// let clear = Clear::new(8, Level(2)); // any evaluator
/// let packer = circuit.packer();
/// let x = clear.value(&packer.pack(&[vec![1.0, 0.25], vec![-1.0, 0.0]])?, Level(2))?;
/// let y = circuit.prepare(&clear, Level(2))?.run(&clear, &[x])?;
/// assert_eq!(packer.unpack(y[0].vectors(), 2)?, [[4.0], [0.25]]);
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelCircuit {
    steps: Arc<Steps>,
    /// The levels of a refresh, where values are refreshed.
    refresh: Option<PlannedRefresh>,
    packing: Packing,
    slots: usize,
    /// Of every value; compact ones in the batch packing, where entries are vectors.
    layouts: Vec<Layout>,
    /// Most vectors of a part.
    part: usize,
}

impl ModelCircuit {
    /// Lowers a model for vectors of `slots` entries.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming the node, for a function whose range no calibration sample tells;
    /// [`Error::Unreachable`] for a function that no polynomial comes near enough; [`Error::TooManyValues`] when a value does not fit
    /// the slots ([`Packing::Latency`]); [`Error::InvalidParameter`] for a number of slots that is no power of two or larger than any
    /// ring's, and for linear layers too large to be composed.
    pub fn new(model: &Model, packing: Packing, slots: usize, approximate: &Approximate) -> Result<Self> {
        Self::of_steps(Arc::new(lower(model, approximate, Style::default())?), None, packing, slots)
    }

    /// Steps, with the levels of the refreshes among them.
    pub(super) fn of_steps(
        steps: Arc<Steps>,
        refresh: Option<PlannedRefresh>,
        packing: Packing,
        slots: usize,
    ) -> Result<Self> {
        check_slots(slots)?;
        if !slots.is_power_of_two() {
            return Err(Error::InvalidParameter { what: "slots", reason: format!("{slots} is no power of two") });
        }
        let compact = |value| Layout::compact(steps.shape(value).iter().product());
        let layouts = match packing {
            Packing::Latency => layout::choose(&steps, slots)?,
            Packing::Batch => (0..=steps.steps.len()).map(compact).collect(),
        };
        Ok(Self { steps, refresh, packing, slots, layouts, part: usize::MAX })
    }

    /// The same circuit on values in parts of at most so many vectors, at least one, where a device cannot hold a batch as a whole. The
    /// results are the same bits.
    #[must_use]
    pub fn in_parts_of(self, vectors: usize) -> Self {
        Self { part: vectors.max(1), ..self }
    }

    /// The same circuit with numbers of no meaning for weights: which are zero, and the layouts, stay.
    pub(super) fn without_weights(&self) -> Result<Self> {
        Ok(Self { steps: Arc::new(self.steps.without_weights()?), ..self.clone() })
    }

    /// Samples that are taken at once where there are many: as many as fit a run, or as keep memory small.
    pub(super) fn samples_at_once(&self) -> usize {
        if self.packing == Packing::Latency { 64 } else { self.slots }
    }

    /// Most vectors of a part.
    pub(super) fn part(&self) -> usize {
        self.part
    }

    /// The vectors of each part of a value in the batch packing.
    fn parts(&self, value: usize) -> Vec<Range<usize>> {
        let vectors = self.layouts[value].places.len();
        (0..vectors).step_by(self.part).map(|start| start..vectors.min(start.saturating_add(self.part))).collect()
    }

    /// Bytes of the diagonals of the largest linear map, repeated over the slots: what preparing it takes at once.
    pub(super) fn diagonal_bytes(&self) -> Result<u64> {
        let mut most = 0;
        for (index, step) in self.steps.steps.iter().enumerate() {
            let Operation::Affine { terms, .. } = &step.operation else { continue };
            if self.packing == Packing::Batch || !moves(&step.operation) {
                continue;
            }
            for (value, matrix) in terms {
                let (from, to) = (&self.layouts[*value], &self.layouts[index + 1]);
                let diagonals = layout::diagonals(matrix, from, from.period, to)?.count() as u64;
                most = most.max(diagonals.saturating_mul(16 * self.slots as u64));
            }
        }
        Ok(most)
    }

    /// What everybody who lays values out for this circuit must agree on, as a digest.
    pub(super) fn layout_digest(&self, plan: &PlanReport) -> [u8; 32] {
        let agreed = (&self.layouts, self.part, &plan.rotations);
        let bytes = postcard::to_stdvec(&agreed).expect("numbers in lists are written to memory");
        Sha256::digest(bytes).into()
    }

    /// Parts of a value of one run.
    pub(super) fn parts_of(&self, value: usize) -> usize {
        if self.packing == Packing::Latency { 1 } else { self.parts(value).len() }
    }

    /// Vectors of each part of an input; one sample in the latency packing.
    pub(super) fn input_batches(&self) -> Vec<usize> {
        match self.packing {
            Packing::Latency => vec![1],
            Packing::Batch => self.parts(0).into_iter().map(|part| part.len()).collect(),
        }
    }

    /// How samples lie in the slots.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Entries of the vectors that it works on.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Levels that a run takes: the most that any value lies below the input or what was refreshed.
    pub fn depth(&self) -> u32 {
        self.steps.depth()
    }

    /// Vectors that a run of one input refreshes.
    pub fn bootstraps(&self) -> usize {
        let refreshed = |step: &&Step| matches!(step.operation, Operation::Refresh(_));
        self.steps.steps.iter().filter(refreshed).map(|step| self.vectors(&step.shape)).sum()
    }

    /// Vectors of a value of this shape.
    pub(super) fn vectors(&self, shape: &[usize]) -> usize {
        if self.packing == Packing::Latency { 1 } else { shape.iter().product() }
    }

    /// Steps of a run.
    pub fn steps(&self) -> usize {
        self.steps.steps.len()
    }

    pub(super) fn list(&self) -> &Steps {
        &self.steps
    }

    pub(super) fn layout(&self, value: usize) -> &Layout {
        &self.layouts[value]
    }

    /// What lays samples out and reads answers.
    pub fn packer(&self) -> Packer {
        let last = self.layouts.len() - 1;
        Packer {
            packing: self.packing,
            slots: self.slots,
            input: self.layouts[0].clone(),
            output: self.layouts[last].clone(),
            output_shape: self.steps.shape(last).to_vec(),
            end: self.steps.end.clone(),
        }
    }

    /// Levels, keys and work of a run; refreshes have keys and work of their own.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn plan(&self) -> Result<PlanReport> {
        let plan = Plan::new(self.slots);
        let x: Vec<_> = self.input_batches().into_iter().map(|vectors| plan.input(vectors)).collect();
        self.planned(&plan)?.run(&plan, &x)?;
        Ok(plan.report())
    }

    /// The period of the values that are refreshed, where any are: a refresh of so many slots will do, see
    /// [`crate::ckks::Bootstrapper::with_slots`].
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub(super) fn refreshed_slots(&self) -> Result<Option<usize>> {
        if !self.steps.refreshes() {
            return Ok(None);
        }
        Ok(Some(self.planned(&Plan::new(self.slots))?.refreshed.max(MIN_REFRESH)))
    }

    /// With refreshes without cryptography, where values are refreshed.
    pub(super) fn with_planned_refresh<E: Evaluator>(&self, prepared: CompiledModel<E>) -> CompiledModel<E>
    where
        PlannedRefresh: Refresh<E>,
    {
        match self.refresh {
            Some(refresh) => prepared.with_refresh(Arc::new(refresh)),
            None => prepared,
        }
    }

    /// The circuit prepared for a plan.
    pub(super) fn planned(&self, plan: &Plan) -> Result<CompiledModel<Plan>> {
        Ok(self.with_planned_refresh(self.prepare(plan, plan.level(&plan.input(1)))?))
    }

    /// The answers of this very circuit on plain numbers: those of an encrypted run without noise.
    ///
    /// # Errors
    /// As [`Packer::pack`] and [`Self::prepare`].
    pub fn predict_clear(&self, samples: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        self.run_clear(samples, |_| ())
    }

    /// As [`Self::predict_clear`]; `disturb` may change the vectors of every answer before they are read.
    pub(super) fn run_clear(
        &self,
        samples: &[Vec<f64>],
        mut disturb: impl FnMut(&mut [Vec<Complex64>]),
    ) -> Result<Vec<Vec<f64>>> {
        let (clear, packer) = (Clear::new(self.slots, self.clear_level()), self.packer());
        let prepared = self.prepared_clear(&clear)?;
        let top = self.clear_level();
        let runs = samples.chunks(self.samples_at_once()).map(|samples| {
            let packed = packer.pack(samples)?;
            let x = packed.chunks(self.part).map(|part| clear.value(part, top)).collect::<Result<Vec<_>>>()?;
            let y = prepared.run(&clear, &x)?;
            let mut vectors: Vec<_> = y.iter().flat_map(|part| part.vectors().to_vec()).collect();
            disturb(&mut vectors);
            packer.unpack(&vectors, samples.len())
        });
        Ok(runs.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Where inputs of a clear run stand.
    fn clear_level(&self) -> Level {
        self.refresh.map_or(Level(self.depth()), |refresh| refresh.output)
    }

    fn prepared_clear(&self, clear: &Clear) -> Result<CompiledModel<Clear>> {
        Ok(self.with_planned_refresh(self.prepare(clear, self.clear_level())?))
    }

    /// The largest entry of every value for these samples, the input first.
    ///
    /// # Errors
    /// As [`Self::predict_clear`].
    pub(super) fn magnitudes(&self, samples: &[Vec<f64>]) -> Result<Vec<f64>> {
        let (clear, packer) = (Clear::new(self.slots, self.clear_level()), self.packer());
        let prepared = self.prepared_clear(&clear)?;
        let mut most = vec![0.0; self.steps() + 1];
        for samples in samples.chunks(self.samples_at_once()) {
            let used = if self.packing == Packing::Latency { self.slots } else { samples.len() };
            let mut observe = |value: usize, parts: &[ClearValue]| {
                let entries = parts.iter().flat_map(|part| part.vectors()).flat_map(|vector| &vector[..used]);
                most[value] = entries.fold(most[value], |most: f64, z| most.max(z.re.abs()));
            };
            let packed = packer.pack(samples)?;
            let parts = packed.chunks(self.part).map(|part| clear.value(part, self.clear_level()));
            let x = parts.collect::<Result<Vec<_>>>()?;
            observe(0, &x);
            let mut watch = |_: Progress<'_>| ControlFlow::Continue(());
            prepared.run_observed(&clear, &x, &mut watch, &mut |step, value| {
                observe(step + 1, value);
                Ok(())
            })?;
        }
        Ok(most)
    }

    /// Encodes all weights, once, for inputs at `input_level`.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when `input_level` is below [`Self::depth`]; [`Error::ShapeMismatch`] for an evaluator with another
    /// number of slots; the errors of [`Evaluator::encode`], [`Evaluator::encode_sparse`] and [`Evaluator::encode_transform`].
    pub fn prepare<E: Evaluator>(&self, eval: &E, input_level: Level) -> Result<CompiledModel<E>> {
        self.prepared(eval, input_level, None)
    }

    /// As [`Self::prepare`] with weights that are values, as [`super::EncryptedModel`] has them: `values` is shown vectors of weights in an order
    /// that depends on the circuit alone. Every part of an input has one vector.
    ///
    /// # Errors
    /// As [`Self::prepare`]; [`Error::InvalidParameter`] for the batch packing; errors of `values`.
    pub(super) fn prepare_private<E: Evaluator>(
        &self,
        eval: &E,
        input_level: Level,
        values: &mut MakeValues<'_, E>,
    ) -> Result<CompiledModel<E>> {
        if self.packing == Packing::Batch {
            let reason = "encrypted weights take a ciphertext each in the batch packing; choose Packing::Latency";
            return Err(Error::InvalidParameter { what: "packing", reason: reason.into() });
        }
        self.prepared(eval, input_level, Some(values))
    }

    fn prepared<E: Evaluator>(
        &self,
        eval: &E,
        input_level: Level,
        values: Option<&mut MakeValues<'_, E>>,
    ) -> Result<CompiledModel<E>> {
        let (needed, left) = (self.depth(), input_level.0);
        if left < needed {
            return Err(Error::LevelExhausted { op: "ModelCircuit::prepare", needed, left });
        }
        if eval.slots() != self.slots {
            let (expected, got) = (format!("{} slots", self.slots), format!("{}", eval.slots()));
            return Err(Error::ShapeMismatch { op: "ModelCircuit::prepare", expected, got });
        }
        let mut encoding =
            Encoding { circuit: self, eval, periods: vec![self.layouts[0].period], values, refreshed: 1 };
        let depths = self.steps.depths();
        let mut steps = Vec::with_capacity(self.steps());
        let mut last_use: Vec<usize> = (0..=self.steps()).collect();
        for (index, step) in self.steps.steps.iter().enumerate() {
            let operands = step.operation.operands();
            let depth = operands.iter().map(|&value| depths[value]).max().unwrap_or(0);
            operands.into_iter().for_each(|value| last_use[value] = index);
            steps.push(encoding.step(index, step, Level(left - depth))?);
        }
        let inputs = (self.packing == Packing::Batch).then(|| self.parts(0).len());
        let refreshed = if self.packing == Packing::Latency { encoding.refreshed } else { self.slots };
        Ok(CompiledModel { packing: self.packing, inputs, input_level, steps, last_use, refreshed, refresh: None })
    }
}

/// Makes values of vectors of weights, one of each, at a level: see [`ModelCircuit::prepare_private`].
pub(super) type MakeValues<'a, E> = dyn FnMut(Vec<Vec<Complex64>>, Level) -> Result<Vec<<E as Evaluator>::Value>> + 'a;

/// The fewest slots of a refresh.
const MIN_REFRESH: usize = 8;

/// Encodes step after step.
struct Encoding<'a, 'b, E: Evaluator> {
    circuit: &'a ModelCircuit,
    eval: &'a E,
    /// The period that every value so far has.
    periods: Vec<usize>,
    /// What makes weights values, where they are private.
    values: Option<&'a mut MakeValues<'b, E>>,
    /// The longest period of values to be refreshed.
    refreshed: usize,
}

impl<E: Evaluator> Encoding<'_, '_, E> {
    /// Step `index`, whose operands stand at `level`.
    fn step(&mut self, index: usize, step: &Step, level: Level) -> Result<EncodedStep<E>> {
        let mut period = step.operation.operands().into_iter().map(|value| self.periods[value]).max().unwrap_or(1);
        let work = match &step.operation {
            Operation::Affine { terms, bias } if moves(&step.operation) && self.circuit.packing == Packing::Batch => {
                Work::Mix(step.operation.operands(), self.mix(index + 1, terms, bias, level)?)
            }
            Operation::Affine { terms, bias } => {
                let moving = moves(&step.operation);
                let mut encoded = Vec::with_capacity(terms.len());
                let mut longest = if moving { 1 } else { period };
                for (value, matrix) in terms {
                    let term = match plain_sign(matrix).filter(|_| !moving) {
                        Some(sign) => Term::Signed(sign),
                        None => self.diagonals(*value, index + 1, matrix, level, &mut longest)?,
                    };
                    encoded.push((*value, term));
                }
                period = longest;
                let below = Level(level.0 - u32::from(moving));
                Work::Sum(encoded, self.bias(index + 1, bias, period, below)?)
            }
            Operation::Square(x) => Work::Square(*x),
            Operation::Polynomial(x, polynomial) => Work::Polynomial(*x, polynomial.clone()),
            Operation::Function(x, function) => Work::Function(*x, function.clone()),
            Operation::Product(x, y) => Work::Product(*x, *y),
            Operation::Refresh(x) => {
                self.refreshed = self.refreshed.max(period);
                Work::Refresh(*x)
            }
        };
        self.periods.push(period);
        Ok(EncodedStep { name: step.name.clone(), level, work })
    }

    /// The parts of value `to` in the batch packing.
    fn mix(&self, to: usize, terms: &[(usize, SparseMatrix)], bias: &[f64], level: Level) -> Result<Vec<Mixed<E>>> {
        let part = |rows: Range<usize>| {
            let mut blocks = Vec::new();
            for (operand, (value, matrix)) in terms.iter().enumerate() {
                let columns = rows.clone().flat_map(|row| matrix.row(row)).map(|(column, _)| column);
                let busy: BTreeSet<usize> = columns.map(|column| column / self.circuit.part).collect();
                let parts = self.circuit.parts(*value);
                for part in busy {
                    blocks.push((operand, part, matrix.block(rows.clone(), parts[part].clone())?));
                }
            }
            // Zeros take part only where there is nothing else.
            if let ([], [(value, matrix), ..]) = (&blocks[..], terms) {
                blocks.push((0, 0, matrix.block(rows.clone(), self.circuit.parts(*value)[0].clone())?));
            }
            let encode = |(operand, part, block)| Ok((operand, part, self.eval.encode_sparse(&block, level)?));
            Ok(Mixed { terms: blocks.into_iter().map(encode).collect::<Result<_>>()?, bias: bias[rows].to_vec() })
        };
        self.circuit.parts(to).into_iter().map(part).collect()
    }

    fn diagonals(
        &mut self,
        from: usize,
        to: usize,
        matrix: &SparseMatrix,
        level: Level,
        period: &mut usize,
    ) -> Result<Term<E>> {
        let layouts = &self.circuit.layouts;
        let map: DiagonalMatrix = layout::diagonals(matrix, &layouts[from], self.periods[from], &layouts[to])?;
        *period = map.output_period().max(*period);
        Ok(Term::Diagonals(match &mut self.values {
            None => map.prepare(self.eval, level)?,
            Some(values) => map.prepare_values(self.eval, level, *values)?,
        }))
    }

    fn bias(&mut self, value: usize, bias: &[f64], period: usize, level: Level) -> Result<Bias<E>> {
        if bias.iter().all(|b| *b == 0.0) {
            return Ok(Bias::None);
        }
        if self.circuit.packing == Packing::Batch {
            let parts = self.circuit.parts(value).into_iter().map(|part| bias[part].to_vec());
            return Ok(Bias::Scalars(parts.collect()));
        }
        let layout = &self.circuit.layouts[value];
        let places = Layout { period: period.max(layout.period), ..layout.clone() };
        let vector = spread(bias, &places, self.eval.slots());
        let Some(values) = &mut self.values else { return Ok(Bias::Slots(self.eval.encode(&[vector], level)?)) };
        let value = values(vec![vector], level)?.pop();
        Ok(value.map_or(Bias::None, Bias::Value))
    }
}
