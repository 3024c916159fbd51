//! From the graph of a model to steps over encrypted values.
//!
//! Linear layers are composed symbolically: a value is known as an affine form of values that exist, and becomes one only where something
//! that is not linear takes it, or at the end. A pooling before a convolution, a batch norm, a transposition cost no level of their own.
//!
//! A polynomial of degree 2 is a square: `c_2 x^2 + c_1 x + c_0 = s (r x + b)^2 + t` with `r = sqrt |c_2|`, where `r` and `b` join the
//! map before and `s = -1` or `1` and `t` the map after. Likewise the interval of a function becomes [-1, 1] in the map before it.

mod softmax;

use super::affine::{Affine, identity};
use super::model::{Activation, Layer, Model};
use crate::circuit::{Approximation, Polynomial, SparseMatrix};
use crate::error::{Error, Result};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// How functions are replaced, and where they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Approximate {
    /// Samples like those to come: they tell the range of every function's argument. Functions other than polynomials need some.
    pub calibration: Vec<Vec<f64>>,
    /// The largest difference to the function on the range, as a share of its largest value there; 0.01 by default.
    pub max_error: f64,
    /// The range is that of the calibration samples, wider by this factor around its middle; 1.25 by default.
    pub margin: f64,
    /// Whether a sigmoid, softmax or other function at the very end is left to the client, exactly; yes by default. Elsewhere a softmax is
    /// an exponential, a sum, a reciprocal and a product: some 12 to 20 levels, and off by at most `max_error` while the logarithms of
    /// the sums stay in the range of the calibration samples, widened as far as that of its argument.
    pub end_with_client: bool,
}

impl Default for Approximate {
    fn default() -> Self {
        Self { calibration: vec![], max_error: 0.01, margin: 1.25, end_with_client: true }
    }
}

/// Steps in the order in which they run. Value 0 is the input, step `i` makes value `i + 1`; the last value is the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Steps {
    /// Shape of the input.
    pub(super) input: Vec<usize>,
    #[serde(deserialize_with = "few")]
    pub(super) steps: Vec<Step>,
    /// What the client does with the answer.
    pub(super) end: Option<Activation>,
}

/// Most entries of a value.
const MAX_VALUE: usize = 1 << 24;

/// Most steps that are read from bytes.
const MAX_STEPS: usize = 1 << 12;

/// Most summands of all maps together that are read from bytes.
const MAX_TERMS: usize = 1 << 13;

/// Reads steps while they are not too many: the smallest has few bytes, in memory it has hundreds.
fn few<'a, D: Deserializer<'a>>(deserializer: D) -> std::result::Result<Vec<Step>, D::Error> {
    struct Few;

    impl<'a> Visitor<'a> for Few {
        type Value = Vec<Step>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {MAX_STEPS} steps")
        }

        fn visit_seq<S: SeqAccess<'a>>(self, mut from: S) -> std::result::Result<Vec<Step>, S::Error> {
            let mut steps = Vec::new();
            while let Some(step) = from.next_element()? {
                steps.push(step);
                if steps.len() > MAX_STEPS {
                    return Err(S::Error::invalid_length(steps.len(), &self));
                }
            }
            Ok(steps)
        }
    }

    deserializer.deserialize_seq(Few)
}

/// What makes a value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    /// The nodes of the model that it stands for.
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Shape of the value.
    pub(super) shape: Vec<usize>,
    /// No entry is larger where every function's argument is in its range; infinite where lowering does not know.
    pub(super) bound: f64,
}

/// How values are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Functions are divided by a constant, for the maps after them to give back, that keeps their values within magnitude 1, as a refresh asks.
    pub(super) within_one: bool,
    /// Sums of several values that are taken more than once, as residual connections make them, become values: one level more, but what they
    /// are the sum of need not be kept.
    pub(super) joins: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Operation {
    /// `sum_i M_i x_i + bias`.
    Affine { terms: Vec<(usize, SparseMatrix)>, bias: Vec<f64> },
    /// `x^2`.
    Square(usize),
    /// A polynomial of every entry.
    Polynomial(usize, Polynomial),
    /// A function of every entry, by approximation.
    Function(usize, Approximation),
    /// `x y`, entry by entry.
    Product(usize, usize),
    /// `x` with all its levels.
    Refresh(usize),
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Affine { .. } => write!(f, "linear map of {} weights", self.weights()),
            Self::Square(_) => write!(f, "square"),
            Self::Polynomial(_, p) => write!(f, "polynomial of degree {}", p.degree()),
            Self::Function(_, function) => write!(f, "{function}"),
            Self::Product(..) => write!(f, "product"),
            Self::Refresh(_) => write!(f, "refresh"),
        }
    }
}

impl Operation {
    /// The values that it takes.
    pub(super) fn operands(&self) -> Vec<usize> {
        match self {
            Self::Affine { terms, .. } => terms.iter().map(|(value, _)| *value).collect(),
            Self::Square(x) | Self::Polynomial(x, _) | Self::Function(x, _) | Self::Refresh(x) => vec![*x],
            Self::Product(x, y) => vec![*x, *y],
        }
    }

    /// Entries of its matrices.
    pub(super) fn weights(&self) -> usize {
        match self {
            Self::Affine { terms, .. } => terms.iter().map(|(_, matrix)| matrix.entries()).sum(),
            _ => 0,
        }
    }

    /// Levels between its lowest operand and its value; a refresh takes none, and gives back all.
    pub(super) fn depth(&self) -> u32 {
        match self {
            Self::Affine { terms, .. } => u32::from(!terms.iter().all(|(_, m)| plain_sign(m).is_some())),
            Self::Square(_) | Self::Product(..) => 1,
            Self::Polynomial(_, p) => p.depth(),
            Self::Function(_, f) => f.depth(),
            Self::Refresh(_) => 0,
        }
    }
}

/// 1 or -1 for a matrix that is that multiple of the identity: adding or subtracting takes no level.
pub(super) fn plain_sign(matrix: &SparseMatrix) -> Option<f64> {
    let signs = matrix.signs()?;
    signs.iter().all(|sign| sign == &signs[0]).then(|| signs[0])
}

impl Operation {
    /// Whether it makes a value of `size` entries from values of the sizes `before`, and if not why.
    fn check(&self, size: usize, before: &[usize]) -> std::result::Result<(), String> {
        if let Some(late) = self.operands().into_iter().find(|&value| value >= before.len()) {
            return Err(format!("value {late} before it exists"));
        }
        match self {
            Self::Affine { terms, bias } => {
                let unfit = |(value, m): &&(usize, SparseMatrix)| m.rows() != size || m.columns() != before[*value];
                if let Some((value, m)) = terms.iter().find(unfit) {
                    return Err(format!("a matrix of {} x {} for value {value}", m.rows(), m.columns()));
                }
                if terms.is_empty() || bias.len() != size || bias.iter().any(|b| !b.is_finite()) {
                    return Err("no matrix, or an unfit bias".into());
                }
            }
            _ if self.operands().iter().any(|&value| before[value] != size) => {
                return Err("operands of another size".into());
            }
            _ => (),
        }
        Ok(())
    }
}

impl Steps {
    /// The same steps with numbers of no meaning for weights and biases: which weights are zero, and which biases throughout, stays. So do sums
    /// and differences, which take no level.
    pub(super) fn without_weights(&self) -> Result<Self> {
        let mut steps = self.clone();
        for step in &mut steps.steps {
            let takes_level = step.operation.depth() > 0;
            let Operation::Affine { terms, bias } = &mut step.operation else { continue };
            for (_, matrix) in terms.iter_mut().filter(|_| takes_level) {
                *matrix = matrix.filled(0.5)?;
            }
            let some = if bias.iter().any(|b| *b != 0.0) { 1.0 } else { 0.0 };
            bias.fill(some);
        }
        // They follow from weights, and predict noise alone.
        steps.steps.iter_mut().for_each(|step| step.bound = f64::INFINITY);
        Ok(steps)
    }

    /// Whether these could have come from a model, and if not why: for what was read from bytes.
    /// All values together have at most `entries`, as laying them out takes memory for each.
    pub(super) fn check(&self, entries: u64) -> std::result::Result<(), String> {
        let size = |shape: &[usize]| match shape.iter().try_fold(1usize, |size, &axis| size.checked_mul(axis)) {
            Some(size) if (1..=MAX_VALUE).contains(&size) => Ok(size),
            _ => Err(format!("a value of shape {shape:?}")),
        };
        let mut sizes = vec![size(&self.input)?];
        for (index, step) in self.steps.iter().enumerate() {
            let made = size(&step.shape)?;
            step.operation.check(made, &sizes).map_err(|reason| format!("step {index} with {reason}"))?;
            if step.bound.is_nan() || step.bound < 0.0 {
                return Err(format!("step {index} with a bound of {}", step.bound));
            }
            sizes.push(made);
        }
        let total: u64 = sizes.iter().map(|&size| size as u64).sum();
        if total > entries {
            return Err(format!("values of {total} entries in all, the limits allow {entries}"));
        }
        let terms: usize = self.steps.iter().map(|step| step.operation.operands().len()).sum();
        if terms > MAX_TERMS { Err(format!("{terms} summands, {MAX_TERMS} at most")) } else { Ok(()) }
    }

    /// Levels of a run, between refreshes.
    pub(super) fn depth(&self) -> u32 {
        self.depths().into_iter().max().unwrap_or(0)
    }

    /// How deep every value lies below the input and what was refreshed.
    pub(super) fn depths(&self) -> Vec<u32> {
        let mut depths = vec![0];
        for step in &self.steps {
            let lowest = step.operation.operands().into_iter().map(|value| depths[value]).max().unwrap_or(0);
            let fresh = matches!(step.operation, Operation::Refresh(_));
            depths.push(if fresh { 0 } else { lowest + step.operation.depth() });
        }
        depths
    }

    /// Entries of all matrices.
    pub(super) fn weights(&self) -> usize {
        self.steps.iter().map(|step| step.operation.weights()).sum()
    }

    /// Whether values are refreshed.
    pub(super) fn refreshes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.operation, Operation::Refresh(_)))
    }

    /// Shape of a value.
    pub(super) fn shape(&self, value: usize) -> &[usize] {
        value.checked_sub(1).map_or(&self.input, |step| &self.steps[step].shape)
    }
}

/// `sum_i M_i v_i + bias` over values that exist.
#[derive(Clone, Debug)]
struct Form {
    terms: Vec<(usize, SparseMatrix)>,
    bias: Vec<f64>,
}

impl Form {
    fn of_value(value: usize, size: usize) -> Result<Self> {
        Ok(Self { terms: vec![(value, identity(size)?)], bias: vec![0.0; size] })
    }

    /// The value that this is, where it is no more than one.
    fn value(&self) -> Option<usize> {
        match &self.terms[..] {
            [(value, matrix)] if plain_sign(matrix) == Some(1.0) && self.bias.iter().all(|b| *b == 0.0) => Some(*value),
            _ => None,
        }
    }

    /// The sum of one form under each matrix, and a bias.
    fn affine(affine: &Affine, inputs: &[&Self]) -> Result<Self> {
        let mut terms: Vec<(usize, SparseMatrix)> = Vec::new();
        let mut bias = affine.bias.clone();
        for (matrix, form) in affine.matrices.iter().zip(inputs) {
            bias.iter_mut().zip(matrix.apply(&form.bias)).for_each(|(b, more)| *b += more);
            for (value, inner) in &form.terms {
                let product = matrix.after(inner)?;
                match terms.iter_mut().find(|(other, _)| other == value) {
                    Some((_, sum)) => *sum = sum.plus(&product)?,
                    None => terms.push((*value, product)),
                }
            }
        }
        Ok(Self { terms, bias })
    }

    /// `factor x + summand`, entry by entry.
    fn mapped(&self, factor: f64, summand: f64) -> Result<Self> {
        let size = self.bias.len();
        let term = |(value, m): &(usize, SparseMatrix)| Ok((*value, m.scaled(&vec![factor; size])?));
        let terms = self.terms.iter().map(term).collect::<Result<_>>()?;
        Ok(Self { terms, bias: self.bias.iter().map(|b| factor * b + summand).collect() })
    }
}

/// The steps of a model.
pub(super) fn lower(model: &Model, approximate: &Approximate, style: Style) -> Result<Steps> {
    let last = model.nodes().get(model.output().wrapping_sub(1));
    let end = match last.map(|node| &node.layer) {
        Some(Layer::Activation(a)) if approximate.end_with_client && !is_polynomial(a) => Some(a.clone()),
        _ => None,
    };
    let mut lowering = Lowering {
        model,
        approximate,
        style,
        ranges: Ranges::of(model, approximate)?,
        uses: uses(model),
        steps: vec![],
        forms: vec![Form::of_value(0, model.inputs())?],
        pending: vec![String::new()],
    };
    let count = model.nodes().len() - usize::from(end.is_some());
    (0..count).try_for_each(|index| lowering.node(index))?;
    let output = if end.is_some() { model.nodes()[count].inputs[0] } else { model.output() };
    lowering.finish(output)?;
    Ok(Steps { input: model.input_shape().to_vec(), steps: lowering.steps, end })
}

fn is_polynomial(activation: &Activation) -> bool {
    matches!(activation, Activation::Square | Activation::Polynomial(_))
}

/// What the calibration samples tell.
struct Ranges {
    /// Least and largest entry of every value.
    entries: Vec<(f64, f64)>,
    /// For every softmax node the least and the largest logarithm of a sum of exponentials.
    log_sums: Vec<(f64, f64)>,
}

impl Ranges {
    fn of(model: &Model, approximate: &Approximate) -> Result<Self> {
        let nothing = (f64::INFINITY, f64::NEG_INFINITY);
        let widen = |range: &mut (f64, f64), x: f64| *range = (range.0.min(x), range.1.max(x));
        let mut entries = vec![nothing; model.nodes().len() + 1];
        let mut log_sums = vec![nothing; model.nodes().len()];
        for sample in &approximate.calibration {
            let values = model.values_clear(sample)?;
            for (range, value) in entries.iter_mut().zip(&values) {
                value.iter().for_each(|x| widen(range, *x));
            }
            for (range, node) in log_sums.iter_mut().zip(model.nodes()) {
                if let Layer::Activation(Activation::Softmax { axis }) = node.layer {
                    softmax::log_sums(&values[node.inputs[0]], &node.shape, axis).for_each(|x| widen(range, x));
                }
            }
        }
        Ok(Self { entries, log_sums })
    }
}

/// How often every value is taken; the output once more.
fn uses(model: &Model) -> Vec<usize> {
    let mut uses = vec![0; model.nodes().len() + 1];
    model.nodes().iter().flat_map(|node| &node.inputs).for_each(|&value| uses[value] += 1);
    uses[model.output()] += 1;
    uses
}

struct Lowering<'a> {
    model: &'a Model,
    approximate: &'a Approximate,
    style: Style,
    ranges: Ranges,
    uses: Vec<usize>,
    steps: Vec<Step>,
    /// What every value of the model is.
    forms: Vec<Form>,
    /// Names of the linear nodes that a form stands for.
    pending: Vec<String>,
}

impl Lowering<'_> {
    fn node(&mut self, index: usize) -> Result<()> {
        let node = &self.model.nodes()[index];
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|&value| self.model.shape(value)).collect();
        let size = node.shape.iter().product();
        let mut names: Vec<&str> = node.inputs.iter().map(|&value| self.pending[value].as_str()).collect();
        let (form, name) = match (&node.layer, Affine::of(&node.layer, &shapes, &node.shape)?) {
            (_, Some(affine)) => {
                let inputs: Vec<&Form> = node.inputs.iter().map(|&value| &self.forms[value]).collect();
                names.push(&node.name);
                names.retain(|name| !name.is_empty());
                (Form::affine(&affine, &inputs)?, names.join(", "))
            }
            (Layer::Activation(activation), None) => (self.activation(index, activation)?, String::new()),
            (_, None) => {
                let (a, b) = (self.exists(node.inputs[0])?, self.exists(node.inputs[1])?);
                let operation = if a == b { Operation::Square(a) } else { Operation::Product(a, b) };
                (Form::of_value(self.push(&node.name, operation, &node.shape), size)?, String::new())
            }
        };
        let joins = self.style.joins && form.terms.len() > 1 && self.uses[index + 1] > 1;
        self.forms.push(form);
        self.pending.push(name);
        if joins {
            self.exists(index + 1)?;
        }
        Ok(())
    }

    fn activation(&mut self, index: usize, activation: &Activation) -> Result<Form> {
        let node = &self.model.nodes()[index];
        let (input, size) = (node.inputs[0], node.shape.iter().product());
        let operation = match activation {
            Activation::Square => Operation::Square(self.exists(input)?),
            Activation::Polynomial(coefficients) => {
                let degree = coefficients.iter().rposition(|c| *c != 0.0).unwrap_or(0);
                match coefficients[..=degree] {
                    [c0] => {
                        let zero = self.forms[input].mapped(0.0, 0.0)?;
                        return zero.mapped(1.0, c0);
                    }
                    [c0, c1] => return self.forms[input].mapped(c1, c0),
                    [c0, c1, c2] if c1 * c1 <= MAX_VERTEX * c2.abs() => {
                        let (sign, root) = (c2.signum(), c2.abs().sqrt());
                        let shift = sign * c1 / (2.0 * root);
                        let argument = self.value_of(input, self.forms[input].mapped(root, shift)?)?;
                        let square = self.push(&node.name, Operation::Square(argument), &node.shape);
                        return Form::of_value(square, size)?.mapped(sign, c0 - sign * shift * shift);
                    }
                    _ => Operation::Polynomial(self.exists(input)?, Polynomial::power(coefficients.clone())?),
                }
            }
            Activation::Softmax { axis } => return self.softmax(index, *axis),
            _ => {
                let (middle, half) = self.interval(index)?;
                let f = |u: f64| activation.evaluate(middle + half * u).unwrap_or(f64::NAN);
                let largest = (0..=64).map(|k| f(f64::from(k) / 32.0 - 1.0).abs()).fold(0.0, f64::max);
                let max_error = self.approximate.max_error * if largest > 0.0 { largest } else { 1.0 };
                let argument = self.argument(index, half, middle)?;
                let (value, unit) = self.function(index, argument, (activation.name(), &f), largest, max_error)?;
                return Form::of_value(value, size)?.mapped(unit, 0.0);
            }
        };
        Form::of_value(self.push(&node.name, operation, &node.shape), size)
    }

    /// `(x - middle) / half` for the argument `x` of an activation: within [-1, 1].
    fn argument(&mut self, index: usize, half: f64, middle: f64) -> Result<usize> {
        let input = self.model.nodes()[index].inputs[0];
        let value = self.value_of(input, self.forms[input].mapped(1.0 / half, -middle / half)?)?;
        self.bound(value, 1.0);
        Ok(value)
    }

    /// The function `f`, no larger than `largest`, of a value within [-1, 1]: what times the value it is.
    fn function(
        &mut self,
        index: usize,
        argument: usize,
        (name, f): (&str, &dyn Fn(f64) -> f64),
        largest: f64,
        max_error: f64,
    ) -> Result<(usize, f64)> {
        let node = &self.model.nodes()[index];
        let bound = largest + max_error;
        let unit = if self.style.within_one { bound.max(1.0) } else { 1.0 };
        let function = Approximation::fit(name, |u| f(u) / unit, -1.0, 1.0, max_error / unit)?;
        let value = self.push(&node.name, Operation::Function(argument, function), &node.shape);
        self.bound(value, bound / unit);
        Ok((value, unit))
    }

    fn bound(&mut self, value: usize, bound: f64) {
        if let Some(step) = value.checked_sub(1) {
            self.steps[step].bound = self.steps[step].bound.min(bound);
        }
    }

    /// Middle and half width of the range of a function's argument.
    fn interval(&self, index: usize) -> Result<(f64, f64)> {
        let node = &self.model.nodes()[index];
        let refuse = |reason: &str| Error::BadModel { field: node.name.clone(), reason: reason.into() };
        let (low, high) = self.ranges.entries[node.inputs[0]];
        let margin = self.approximate.margin;
        if low > high {
            return Err(refuse("its range is not known: give calibration samples"));
        }
        if !(margin >= 1.0 && margin.is_finite()) {
            return Err(refuse("the margin of its range is not 1 or more"));
        }
        // A single number: any width will do.
        Ok((f64::midpoint(low, high), (margin * (high - low) / 2.0).max(1e-3)))
    }

    fn push(&mut self, name: &str, operation: Operation, shape: &[usize]) -> usize {
        self.steps.push(Step { name: name.into(), operation, shape: shape.to_vec(), bound: f64::INFINITY });
        self.steps.len()
    }

    /// The value that a form of value `of` of the model is, made if it does not exist.
    fn value_of(&mut self, of: usize, form: Form) -> Result<usize> {
        if let Some(value) = form.value() {
            return Ok(value);
        }
        let name = if self.pending[of].is_empty() { "scale".into() } else { self.pending[of].clone() };
        let shape = self.model.shape(of).to_vec();
        Ok(self.push(&name, Operation::Affine { terms: form.terms, bias: form.bias }, &shape))
    }

    /// Value `of` of the model itself, made if it does not exist.
    fn exists(&mut self, of: usize) -> Result<usize> {
        let value = self.value_of(of, self.forms[of].clone())?;
        self.forms[of] = Form::of_value(value, self.forms[of].bias.len())?;
        self.pending[of].clear();
        Ok(value)
    }

    /// Makes the answer the last value.
    fn finish(&mut self, output: usize) -> Result<()> {
        let form = self.forms[output].clone();
        if form.value() != Some(self.steps.len()) || self.steps.is_empty() {
            let name = if self.pending[output].is_empty() { "output".into() } else { self.pending[output].clone() };
            let shape = self.model.shape(output).to_vec();
            self.push(&name, Operation::Affine { terms: form.terms, bias: form.bias }, &shape);
        }
        Ok(())
    }
}

/// The largest `c_1^2 / |c_2|` of a polynomial that is computed as a square: beyond it the vertex lies so far off that the square would
/// be large and its difference to `t` small.
const MAX_VERTEX: f64 = 64.0;
