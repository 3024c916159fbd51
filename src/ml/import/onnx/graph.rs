//! The graph on its way into a [`Model`]: names, what stands behind them, and nodes that are merged as they come.

use super::constant::{Budget, Constant, Outcome};
use super::proto::{self, Attribute};
use crate::error::{Error, Result};
use crate::ml::import::{bad, broadcast};
use crate::ml::{Activation, Layer, ModelBuilder};
use std::collections::HashMap;
use std::f64::consts::SQRT_2;

/// Highest degree to which products and sums of polynomials of one value are merged.
pub(super) const MAX_DEGREE: usize = 16;
/// Relative difference up to which constants that were rounded to f32 (or f16) count as what is meant.
const ROUNDED: f64 = 1e-3;

/// What stands behind a name.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// What the model computes.
    Computed(Computed),
    /// What the file knows.
    Constant(Constant),
    /// A part of GELU.
    Erf(Erf),
    /// Labels and what follows from them: left to the client.
    Client,
}

/// A value of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Computed {
    /// Its number.
    pub(super) value: usize,
    /// Whether the batch is merged into the first axis of its shape. It is an axis of its own before them otherwise.
    pub(super) folded: bool,
}

/// A polynomial of a value.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    base: usize,
    coefficients: Vec<f64>,
}

impl Expression {
    /// The value itself.
    fn of(base: usize) -> Self {
        Self { base, coefficients: vec![0.0, 1.0] }
    }

    /// `r` where this is `r` times the other.
    fn ratio(&self, other: &Self) -> Option<f64> {
        let (p, q) = (&self.coefficients, &other.coefficients);
        let largest = (0..q.len()).max_by(|&i, &j| q[i].abs().total_cmp(&q[j].abs()))?;
        let ratio = p.get(largest)? / q[largest];
        let fits =
            |(p, q): (&f64, &f64)| (p - ratio * q).abs() <= ROUNDED * (ratio * other.coefficients[largest]).abs();
        (self.base == other.base && p.len() == q.len() && p.iter().zip(q).all(fits)).then_some(ratio)
    }

    /// `scale` times this and `shift`.
    fn affine(&self, scale: f64, shift: f64) -> Self {
        let mut coefficients: Vec<f64> = self.coefficients.iter().map(|c| scale * c).collect();
        coefficients[0] += shift;
        Self { base: self.base, coefficients }
    }
}

/// `a erf(x / sqrt 2) + b`, which no layer can express alone.
#[derive(Clone, Debug)]
pub(super) struct Erf {
    x: Expression,
    folded: bool,
    a: f64,
    b: f64,
}

impl Erf {
    /// `scale` times this and `shift`.
    pub(super) fn affine(&self, scale: f64, shift: f64) -> Self {
        Self { x: self.x.clone(), folded: self.folded, a: scale * self.a, b: scale * self.b + shift }
    }
}

/// One node that is read, with what is known about it.
pub(super) struct Op<'a> {
    node: &'a proto::Node,
    /// Its name, or that of its first output.
    pub(super) name: &'a str,
}

impl<'a> Op<'a> {
    pub(super) fn new(node: &'a proto::Node) -> Self {
        let output = node.output.first().map_or("", String::as_str);
        Self { node, name: if node.name.is_empty() { output } else { &node.name } }
    }

    pub(super) fn operator(&self) -> &'a str {
        &self.node.op_type
    }

    pub(super) fn inputs(&self) -> usize {
        self.node.input.len()
    }

    pub(super) fn outputs(&self) -> usize {
        self.node.output.len()
    }

    /// An error that names the node and its operator.
    pub(super) fn bad(&self, reason: impl AsRef<str>) -> Error {
        bad(self.name, format!("{:.64}: {}", self.node.op_type, reason.as_ref()))
    }

    fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    pub(super) fn float(&self, name: &str, default: f64) -> f64 {
        self.attribute(name).map_or(default, |a| a.f.into())
    }

    pub(super) fn text(&self, name: &str, default: &'a str) -> &'a str {
        self.attribute(name).map_or(default, |a| std::str::from_utf8(&a.s).unwrap_or("no text"))
    }

    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub(super) fn floats(&self, name: &str) -> Vec<f64> {
        self.attribute(name).map_or(vec![], |a| a.floats.iter().map(|&x| x.into()).collect())
    }

    pub(super) fn strings(&self, name: &str) -> usize {
        self.attribute(name).map_or(0, |a| a.strings.len())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&'a proto::Tensor> {
        self.attribute(name)?.t.as_ref()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// Counts in an attribute of `N` integers.
    pub(super) fn counts<const N: usize>(&self, name: &str, default: [usize; N]) -> Result<[usize; N]> {
        let Some(ints) = self.ints(name) else { return Ok(default) };
        let counts: Option<Vec<usize>> = ints.iter().map(|&x| usize::try_from(x).ok()).collect();
        let counts = counts.and_then(|counts| counts.try_into().ok());
        counts.ok_or_else(|| self.bad(format!("`{name}` is not {N} numbers from 0 up")))
    }

    /// An axis among `rank`, counted from the last where it is negative.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let counted =
            usize::try_from(axis).ok().or_else(|| rank.checked_sub(usize::try_from(axis.unsigned_abs()).ok()?));
        counted.filter(|&axis| axis < rank).ok_or_else(|| self.bad(format!("no axis {axis} among {rank}")))
    }
}

/// The importer: the model so far and the names that are known.
pub(super) struct Importer {
    pub(super) builder: ModelBuilder,
    pub(super) items: HashMap<String, Item>,
    /// Version of the main operator set.
    pub(super) opset: i64,
    /// Whether samples come in batches of any size.
    pub(super) dynamic: bool,
    pub(super) budget: Budget,
    /// For every value, the polynomial that it is of an earlier one.
    expressions: Vec<Expression>,
}

impl Importer {
    pub(super) fn new(builder: ModelBuilder, opset: i64, dynamic: bool) -> Self {
        let input = Expression::of(0);
        let items = HashMap::new();
        Self { builder, items, opset, dynamic, budget: Budget::new(), expressions: vec![input] }
    }

    /// What enters a node at place `index`; none where it is left out.
    pub(super) fn input(&self, op: &Op<'_>, index: usize) -> Result<Option<Item>> {
        let Some(name) = op.node.input.get(index).filter(|name| !name.is_empty()) else { return Ok(None) };
        let item = self.items.get(name).cloned();
        item.map(Some).ok_or_else(|| op.bad(format!("no value {name:.64} before this node")))
    }

    /// All that enters a node; nothing may be left out.
    pub(super) fn all_inputs(&self, op: &Op<'_>) -> Result<Vec<Item>> {
        (0..op.inputs()).map(|i| self.input(op, i)?.ok_or_else(|| op.bad(format!("input {i} is missing")))).collect()
    }

    /// The computed value that enters at place `index`.
    pub(super) fn computed(&self, op: &Op<'_>, index: usize) -> Result<Computed> {
        match self.input(op, index)? {
            Some(Item::Computed(x)) => Ok(x),
            Some(Item::Erf(_)) => Err(self.erf_alone(op)),
            _ => Err(op.bad(format!("input {index} must be computed from the model's input"))),
        }
    }

    /// The computed value that enters first, with the batch as an axis of its own.
    pub(super) fn sample(&self, op: &Op<'_>) -> Result<Computed> {
        let x = self.computed(op, 0)?;
        if x.folded { Err(op.bad("the batch is merged with another axis")) } else { Ok(x) }
    }

    /// The constant that enters at place `index`, if one does.
    pub(super) fn constant(&self, op: &Op<'_>, index: usize) -> Result<Option<Constant>> {
        match self.input(op, index)? {
            None => Ok(None),
            Some(Item::Constant(constant)) => Ok(Some(constant)),
            Some(_) => Err(op.bad(format!("input {index} must be a constant"))),
        }
    }

    /// The constant that must enter at place `index`.
    pub(super) fn needed(&self, op: &Op<'_>, index: usize) -> Result<Constant> {
        self.constant(op, index)?.ok_or_else(|| op.bad(format!("input {index} is missing")))
    }

    pub(super) fn erf_alone(&self, op: &Op<'_>) -> Error {
        op.bad("Erf can be read as a part of GELU, x (1 + erf(x / sqrt 2)) / 2, alone")
    }

    /// The shape of a value as the file sees it, for a batch of one.
    pub(super) fn shape(&self, x: Computed) -> Vec<usize> {
        let own = self.builder.shape(x.value);
        if x.folded { own.to_vec() } else { [&[1], own].concat() }
    }

    /// Adds a layer to one value; the batch stays where it is.
    pub(super) fn push(&mut self, op: &Op<'_>, layer: Layer, x: Computed) -> Result<Computed> {
        self.push_all(op, layer, vec![x.value], x.folded)
    }

    /// Adds a layer; `folded` tells of its value.
    pub(super) fn push_all(&mut self, op: &Op<'_>, layer: Layer, inputs: Vec<usize>, folded: bool) -> Result<Computed> {
        let made = Computed { value: self.builder.add(op.name, layer, inputs)?, folded };
        self.expressions.push(Expression::of(made.value));
        Ok(made)
    }

    /// Adds the layer of a polynomial, if one is needed.
    fn express(&mut self, op: &Op<'_>, expression: Expression, folded: bool) -> Result<Computed> {
        let base = Computed { value: expression.base, folded };
        let size = self.builder.shape(base.value).iter().product();
        let layer = match expression.coefficients[..] {
            [0.0, 1.0] => return Ok(base),
            [shift, scale] => Layer::Affine { scale: vec![scale; size], shift: vec![shift; size] },
            [0.0, 0.0, 1.0] => Layer::Activation(Activation::Square),
            _ => Layer::Activation(Activation::Polynomial(expression.coefficients.clone())),
        };
        let y = self.push(op, layer, base)?;
        self.expressions[y.value] = expression;
        Ok(y)
    }

    /// An operation on constants that cannot be is an error of its node.
    pub(super) fn fold<T>(&mut self, op: &Op<'_>, f: impl FnOnce(&mut Budget) -> Outcome<T>) -> Result<T> {
        f(&mut self.budget).map_err(|reason| op.bad(reason))
    }

    /// `scale x + shift` with constants that are broadcast to `x`.
    pub(super) fn affine(&mut self, op: &Op<'_>, x: Computed, scale: &Constant, shift: &Constant) -> Result<Computed> {
        let shape = self.shape(x);
        let misfit = |c: &Constant| op.bad(format!("the constant's shape {:?} does not fit {shape:?}", c.shape));
        if let Some(longer) = [scale, shift].into_iter().find(|c| c.shape.len() > shape.len()) {
            return Err(misfit(longer));
        }
        if let (Some(scale), Some(shift)) = (scale.single(), shift.single()) {
            return self.express(op, self.expressions[x.value].affine(scale, shift), x.folded);
        }
        let fill = |c: &Constant| broadcast(&c.shape, &c.entries, &shape).ok_or_else(|| misfit(c));
        let layer = Layer::Affine { scale: fill(scale)?, shift: fill(shift)? };
        self.push(op, layer, x)
    }

    /// `sum_k c_k x^k`.
    pub(super) fn polynomial(&mut self, op: &Op<'_>, x: Computed, coefficients: Vec<f64>) -> Result<Computed> {
        self.express(op, Expression { base: x.value, coefficients }, x.folded)
    }

    /// The sum, difference or product of two values. Where both are polynomials of one value, so is the result.
    pub(super) fn combine(&mut self, op: &Op<'_>, layer: Layer, a: Computed, b: Computed) -> Result<Computed> {
        if a.folded != b.folded || self.shape(a) != self.shape(b) {
            let (a, b) = (self.shape(a), self.shape(b));
            return Err(op.bad(format!("computed values of shapes {a:?} and {b:?}; none is repeated along an axis")));
        }
        let (p, q) = (&self.expressions[a.value], &self.expressions[b.value]);
        if p.base == q.base {
            let merged = match layer {
                Layer::Add => add(&p.coefficients, &q.coefficients, 1.0),
                Layer::Sub => add(&p.coefficients, &q.coefficients, -1.0),
                _ => multiply(&p.coefficients, &q.coefficients),
            };
            if merged.len() <= MAX_DEGREE + 1 {
                return self.express(op, Expression { base: p.base, coefficients: merged }, a.folded);
            }
        }
        if layer == Layer::Mul {
            let gate = |value: usize| value.checked_sub(1).map(|node| &self.builder.nodes()[node]);
            let gated = |x: Computed, y: Computed| {
                gate(y.value)
                    .is_some_and(|n| n.layer == Layer::Activation(Activation::Sigmoid) && n.inputs == [x.value])
            };
            if gated(a, b) || gated(b, a) {
                let x = if gated(a, b) { a } else { b };
                return self.push(op, Layer::Activation(Activation::Silu), x);
            }
        }
        self.push_all(op, layer, vec![a.value, b.value], a.folded)
    }

    /// `erf(x)`.
    pub(super) fn erf(&mut self, op: &Op<'_>) -> Result<Erf> {
        let x = self.computed(op, 0)?;
        Ok(Erf { x: self.expressions[x.value].affine(SQRT_2, 0.0), folded: x.folded, a: 1.0, b: 0.0 })
    }

    /// `(a erf(x / sqrt 2) + b) y`, which must be a multiple of GELU.
    pub(super) fn gelu(&mut self, op: &Op<'_>, erf: &Erf, y: Computed) -> Result<Computed> {
        let whole = near(erf.a, erf.b) && erf.folded == y.folded;
        let ratio = self.expressions[y.value].ratio(&erf.x).filter(|_| whole);
        let ratio = ratio.ok_or_else(|| self.erf_alone(op))?;
        // The root of two was rounded: where `x` is a value already, that one is meant.
        let (x, ratio) = match erf.x.coefficients[..] {
            _ if near(ratio, 1.0) => (y, 1.0),
            [0.0, one] if near(one, 1.0) => (Computed { value: erf.x.base, ..y }, ratio),
            _ => (self.express(op, erf.x.clone(), y.folded)?, ratio),
        };
        let gelu = self.push(op, Layer::Activation(Activation::Gelu), x)?;
        let factor = 2.0 * erf.a * ratio;
        let factor = if near(factor, 1.0) { 1.0 } else { factor };
        self.express(op, self.expressions[gelu.value].affine(factor, 0.0), y.folded)
    }
}

/// Whether two numbers are the same but for rounding.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDED * b.abs()
}

/// `p + sign q`.
fn add(p: &[f64], q: &[f64], sign: f64) -> Vec<f64> {
    let at = |p: &[f64], i: usize| p.get(i).copied().unwrap_or(0.0);
    (0..p.len().max(q.len())).map(|i| at(p, i) + sign * at(q, i)).collect()
}

/// `p q`.
fn multiply(p: &[f64], q: &[f64]) -> Vec<f64> {
    let mut product = vec![0.0; p.len() + q.len() - 1];
    for (i, p) in p.iter().enumerate() {
        for (j, q) in q.iter().enumerate() {
            product[i + j] += p * q;
        }
    }
    product
}
