//! Sums, products, powers and functions, entry by entry.

use super::constant::Constant;
use super::graph::{Computed, Importer, Item, MAX_DEGREE, Op};
use crate::error::Result;
use crate::ml::{Activation, Layer};

/// The four operations of two operands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pair {
    Add,
    Sub,
    Mul,
    Div,
}

impl Pair {
    fn of_numbers(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
        }
    }

    fn layer(self) -> Option<Layer> {
        match self {
            Self::Add => Some(Layer::Add),
            Self::Sub => Some(Layer::Sub),
            Self::Mul => Some(Layer::Mul),
            Self::Div => None,
        }
    }
}

fn number(number: f64) -> Constant {
    Constant::number(number, false)
}

impl Importer {
    /// Add, Sub, Mul or Div.
    pub(super) fn pair(&mut self, op: &Op<'_>, pair: Pair, a: Item, b: Item) -> Result<Item> {
        Ok(match (a, b) {
            (Item::Constant(a), Item::Constant(b)) => {
                let integer = a.integer && b.integer;
                let round = |x: f64| if integer { x.trunc() } else { x };
                Item::Constant(self.fold(op, |budget| a.zip(&b, budget, |a, b| round(pair.of_numbers(a, b))))?)
            }
            (Item::Computed(a), Item::Computed(b)) => match pair.layer() {
                Some(layer) => Item::Computed(self.combine(op, layer, a, b)?),
                None => return Err(op.bad("a division by a computed value")),
            },
            (Item::Computed(x), Item::Constant(c)) => Item::Computed(match pair {
                Pair::Add => self.affine(op, x, &number(1.0), &c)?,
                Pair::Sub => {
                    let c = self.fold(op, |budget| c.map(budget, |c| -c))?;
                    self.affine(op, x, &number(1.0), &c)?
                }
                Pair::Mul => self.affine(op, x, &c, &number(0.0))?,
                Pair::Div => {
                    let c = self.fold(op, |budget| c.map(budget, |c| 1.0 / c))?;
                    self.affine(op, x, &c, &number(0.0))?
                }
            }),
            (Item::Constant(c), Item::Computed(x)) => Item::Computed(match pair {
                Pair::Add => self.affine(op, x, &number(1.0), &c)?,
                Pair::Sub => self.affine(op, x, &number(-1.0), &c)?,
                Pair::Mul => self.affine(op, x, &c, &number(0.0))?,
                Pair::Div => return Err(op.bad("a division by a computed value")),
            }),
            (Item::Erf(erf), Item::Computed(x)) | (Item::Computed(x), Item::Erf(erf)) if pair == Pair::Mul => {
                Item::Computed(self.gelu(op, &erf, x)?)
            }
            (Item::Erf(erf), Item::Constant(c)) | (Item::Constant(c), Item::Erf(erf)) => match (pair, c.single()) {
                (Pair::Add, Some(c)) => Item::Erf(erf.affine(1.0, c)),
                (Pair::Mul, Some(c)) => Item::Erf(erf.affine(c, 0.0)),
                _ => return Err(self.erf_alone(op)),
            },
            _ => return Err(self.erf_alone(op)),
        })
    }

    /// Add of any number of operands.
    pub(super) fn sum(&mut self, op: &Op<'_>) -> Result<Item> {
        let mut terms = self.all_inputs(op)?.into_iter();
        let mut sum = terms.next().ok_or_else(|| op.bad("nothing to add"))?;
        for term in terms {
            sum = self.pair(op, Pair::Add, sum, term)?;
        }
        Ok(sum)
    }

    /// Neg and Sqrt.
    pub(super) fn unary(&mut self, op: &Op<'_>) -> Result<Item> {
        match (op.operator(), self.input(op, 0)?) {
            ("Neg", Some(Item::Constant(c))) => Ok(Item::Constant(self.fold(op, |budget| c.map(budget, |c| -c))?)),
            ("Sqrt", Some(Item::Constant(c))) => Ok(Item::Constant(self.fold(op, |budget| c.map(budget, f64::sqrt))?)),
            ("Neg", _) => {
                let x = self.computed(op, 0)?;
                Ok(Item::Computed(self.affine(op, x, &number(-1.0), &number(0.0))?))
            }
            _ => Err(op.bad("supported of constants alone")),
        }
    }

    /// A power with a small constant exponent.
    pub(super) fn pow(&mut self, op: &Op<'_>) -> Result<Computed> {
        let x = self.computed(op, 0)?;
        let exponent = self.needed(op, 1)?.single();
        let degree = exponent.and_then(|e| (1..=MAX_DEGREE).find(|&degree| e == degree as f64));
        let degree =
            degree.ok_or_else(|| op.bad(format!("the exponent must be a constant integer from 1 to {MAX_DEGREE}")))?;
        let mut coefficients = vec![0.0; degree];
        coefficients.push(1.0);
        self.polynomial(op, x, coefficients)
    }

    /// GELU in one node: exact, or `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    pub(super) fn gelu_node(&mut self, op: &Op<'_>) -> Result<Computed> {
        let x = self.computed(op, 0)?;
        match op.text("approximate", "none") {
            "none" => self.push(op, Layer::Activation(Activation::Gelu), x),
            "tanh" => {
                let root = std::f64::consts::FRAC_2_SQRT_PI / std::f64::consts::SQRT_2;
                let inner = self.polynomial(op, x, vec![0.0, root, 0.0, 0.044_715 * root])?;
                let tanh = self.push(op, Layer::Activation(Activation::Tanh), inner)?;
                let gate = self.affine(op, tanh, &number(0.5), &number(0.5))?;
                self.combine(op, Layer::Mul, x, gate)
            }
            other => Err(op.bad(format!("`approximate` is {other:.64?}, neither \"none\" nor \"tanh\""))),
        }
    }

    /// Softmax.
    pub(super) fn softmax(&mut self, op: &Op<'_>) -> Result<Computed> {
        let x = self.sample(op)?;
        let rank = self.shape(x).len();
        // Before set 13 the axes from `axis` on were taken together.
        let axis = op.axis(op.int("axis", if self.opset < 13 { 1 } else { -1 }), rank)?;
        let after = &self.shape(x)[axis..];
        if self.opset < 13 && after.iter().skip(1).any(|&length| length != 1) {
            return Err(op.bad(format!(
                "an axis that is not the last, in operator set {}; export with 13 or later",
                self.opset
            )));
        }
        let axis = axis.checked_sub(1).ok_or_else(|| op.bad("over the batch"))?;
        self.push(op, Layer::Activation(Activation::Softmax { axis }), x)
    }
}
