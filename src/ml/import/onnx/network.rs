//! The main operator set: which node is read how, and the layers of networks.

use super::arithmetic::Pair;
use super::constant::Constant;
use super::graph::{Computed, Importer, Item, Op};
use crate::circuit::Matrix;
use crate::error::Result;
use crate::ml::{Activation, Conv2d, Layer, Pool2d};

impl Importer {
    /// A node of the main operator set; none where it is not supported.
    pub(super) fn network(&mut self, op: &Op<'_>) -> Result<Option<Vec<Item>>> {
        let item = match op.operator() {
            "Add" => self.two(op, Pair::Add)?,
            "Sub" => self.two(op, Pair::Sub)?,
            "Mul" => self.two(op, Pair::Mul)?,
            "Div" => self.two(op, Pair::Div)?,
            "Sum" => self.sum(op)?,
            "Neg" | "Sqrt" => self.unary(op)?,
            "Pow" => Item::Computed(self.pow(op)?),
            "Erf" => Item::Erf(self.erf(op)?),
            "Relu" => self.activation(op, Activation::Relu)?,
            "Sigmoid" => self.activation(op, Activation::Sigmoid)?,
            "Tanh" => self.activation(op, Activation::Tanh)?,
            "Gelu" => Item::Computed(self.gelu_node(op)?),
            "Softmax" => Item::Computed(self.softmax(op)?),
            "Gemm" => Item::Computed(self.gemm(op)?),
            "MatMul" => Item::Computed(self.mat_mul(op)?),
            "Conv" => Item::Computed(self.conv(op)?),
            "AveragePool" => Item::Computed(self.average_pool(op)?),
            "GlobalAveragePool" => {
                let x = self.sample(op)?;
                Item::Computed(self.push(op, Layer::GlobalAveragePool, x)?)
            }
            "ReduceMean" => Item::Computed(self.reduce_mean(op)?),
            "BatchNormalization" => Item::Computed(self.batch_normalization(op)?),
            "Identity" => self.input(op, 0)?.ok_or_else(|| op.bad("no input"))?,
            // At inference both outputs are known: the input, and a mask that nobody needs.
            "Dropout" => {
                let x = self.input(op, 0)?.ok_or_else(|| op.bad("no input"))?;
                return Ok(Some(vec![x, Item::Client]));
            }
            "ArgMax" => {
                self.computed(op, 0)?;
                Item::Client
            }
            "Cast" => self.cast(op)?,
            "Constant" => self.constant_node(op)?,
            "ConstantOfShape" => self.constant_of_shape(op)?,
            "Shape" => self.shape_node(op)?,
            "Gather" => self.gather(op)?,
            "Slice" => self.slice(op)?,
            "Reshape" => self.reshape(op)?,
            "Flatten" => Item::Computed(self.flatten(op)?),
            "Squeeze" | "Unsqueeze" => self.squeeze(op)?,
            "Transpose" => self.transpose(op)?,
            "Concat" => self.concat(op)?,
            "Pad" => Item::Computed(self.pad(op)?),
            _ => return Ok(None),
        };
        Ok(Some(vec![item]))
    }

    fn two(&mut self, op: &Op<'_>, pair: Pair) -> Result<Item> {
        match <[Item; 2]>::try_from(self.all_inputs(op)?) {
            Ok([a, b]) => self.pair(op, pair, a, b),
            Err(items) => Err(op.bad(format!("{} inputs instead of 2", items.len()))),
        }
    }

    fn activation(&mut self, op: &Op<'_>, activation: Activation) -> Result<Item> {
        let x = self.computed(op, 0)?;
        Ok(Item::Computed(self.push(op, Layer::Activation(activation), x)?))
    }

    /// `y = factor W x + b` along the last axis. The weights have one row an output, or one an input if `columns`.
    pub(super) fn dense(
        &mut self,
        op: &Op<'_>,
        x: Computed,
        (weights, columns, factor): (&Constant, bool, f64),
        bias: Option<Vec<f64>>,
    ) -> Result<Computed> {
        let [first, second] = weights.shape[..] else {
            return Err(op.bad(format!("weights of shape {:?} instead of two axes", weights.shape)));
        };
        if self.builder.shape(x.value).is_empty() {
            return Err(op.bad("takes a vector"));
        }
        let turned = if columns { Some(self.fold(op, |budget| weights.transpose(&[1, 0], budget))?) } else { None };
        let entries = turned.as_ref().unwrap_or(weights).entries.iter().map(|w| factor * w).collect();
        let (rows, columns) = if columns { (second, first) } else { (first, second) };
        let weights = Matrix::new(rows, columns, entries).map_err(|error| op.bad(error.to_string()))?;
        let bias = bias.unwrap_or_else(|| vec![0.0; rows]);
        self.push(op, Layer::Dense { weights, bias }, x)
    }

    /// Gemm: `alpha x B + beta C`.
    fn gemm(&mut self, op: &Op<'_>) -> Result<Computed> {
        let (x, weights) = (self.computed(op, 0)?, self.needed(op, 1)?);
        if op.int("transA", 0) != 0 || self.shape(x).len() != 2 {
            return Err(op.bad("the first operand must be a batch of vectors"));
        }
        let columns = op.int("transB", 0) == 0;
        let rows = weights.shape.get(usize::from(columns)).copied().unwrap_or(0);
        let beta = op.float("beta", 1.0);
        let bias = match self.constant(op, 2)? {
            None => None,
            Some(bias) => {
                // One row, or one number.
                let misfit = || op.bad(format!("a bias of shape {:?} for {rows} outputs", bias.shape));
                let row = bias.shape.split_last().is_none_or(|(_, before)| before.iter().all(|&axis| axis == 1));
                let single = bias.single().map(|b| self.fold(op, |budget| budget.take(&[rows])).map(|n| vec![b; n]));
                let bias = match single {
                    Some(bias) => bias?,
                    None if row && bias.entries.len() == rows => bias.entries.to_vec(),
                    None => return Err(misfit()),
                };
                Some(bias.into_iter().map(|b| beta * b).collect())
            }
        };
        self.dense(op, x, (&weights, columns, op.float("alpha", 1.0)), bias)
    }

    /// MatMul by a constant from the right.
    fn mat_mul(&mut self, op: &Op<'_>) -> Result<Computed> {
        let (x, weights) = (self.computed(op, 0)?, self.needed(op, 1)?);
        self.dense(op, x, (&weights, true, 1.0), None)
    }

    /// Conv, of two dimensions.
    fn conv(&mut self, op: &Op<'_>) -> Result<Computed> {
        let (x, weights) = (self.sample(op)?, self.needed(op, 1)?);
        let shape: [usize; 4] = weights.shape[..].try_into().map_err(|_| {
            op.bad(format!("weights of shape {:?}; two-dimensional convolutions are supported", weights.shape))
        })?;
        let kernel = [shape[2], shape[3]];
        if op.counts("kernel_shape", kernel)? != kernel {
            return Err(op.bad("`kernel_shape` is not that of the weights"));
        }
        let (stride, dilation) = (op.counts("strides", [1, 1])?, op.counts("dilations", [1, 1])?);
        let groups = usize::try_from(op.int("group", 1)).map_err(|_| op.bad("a negative number of groups"))?;
        let padding = self.padding(op, x, kernel, stride, dilation)?;
        let bias = match self.constant(op, 2)? {
            Some(bias) => bias.entries.to_vec(),
            None if weights.entries.is_empty() => return Err(op.bad("no weights")),
            None => vec![0.0; shape[0]],
        };
        let weights = weights.entries.to_vec();
        self.push(op, Layer::Conv2d(Conv2d { weights, shape, bias, stride, padding, dilation, groups }), x)
    }

    /// Top, left, bottom and right, as given or as `auto_pad` asks.
    fn padding(
        &self,
        op: &Op<'_>,
        x: Computed,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<[usize; 4]> {
        let &[_, rows, columns] = self.builder.shape(x.value) else {
            return Err(op.bad(format!("takes channels, rows and columns, got {:?}", self.shape(x))));
        };
        let mode = op.text("auto_pad", "NOTSET");
        match mode {
            "" | "NOTSET" => return op.counts("pads", [0; 4]),
            "VALID" => return Ok([0; 4]),
            "SAME_UPPER" | "SAME_LOWER" => {}
            other => return Err(op.bad(format!("`auto_pad` is {other:.64?}"))),
        }
        let mut padding = [0; 4];
        for (axis, size) in [rows, columns].into_iter().enumerate() {
            if stride[axis] == 0 || kernel[axis] == 0 {
                return Err(op.bad("a stride or a kernel of 0"));
            }
            // As many windows as strides begin in the input; the odd row goes to the end, or to the front.
            let reach = (kernel[axis] - 1).saturating_mul(dilation[axis]).saturating_add(1);
            let last = (size.div_ceil(stride[axis]) - 1) * stride[axis];
            let total = last.saturating_add(reach).saturating_sub(size);
            let before = if mode == "SAME_UPPER" { total / 2 } else { total.div_ceil(2) };
            (padding[axis], padding[axis + 2]) = (before, total - before);
        }
        Ok(padding)
    }

    /// AveragePool.
    fn average_pool(&mut self, op: &Op<'_>) -> Result<Computed> {
        let x = self.sample(op)?;
        if !op.has("kernel_shape") {
            return Err(op.bad("`kernel_shape` is missing"));
        }
        let kernel = op.counts("kernel_shape", [1, 1])?;
        let stride = op.counts("strides", [1, 1])?;
        if op.counts("dilations", [1, 1])? != [1, 1] {
            return Err(op.bad("with dilations"));
        }
        let padding = self.padding(op, x, kernel, stride, [1, 1])?;
        let count_padding = op.int("count_include_pad", 0) != 0;
        let pool = Pool2d { kernel, stride, padding, count_padding };
        if op.int("ceil_mode", 0) != 0 {
            // Rounded up or down, the windows must be the same.
            let own = self.builder.shape(x.value);
            let exact = |axis: usize| {
                let padded = own[axis + 1].checked_add(padding[axis])?.checked_add(padding[axis + 2])?;
                padded.checked_sub(kernel[axis])?.checked_rem(stride[axis]).filter(|&rest| rest == 0)
            };
            if own.len() != 3 || exact(0).is_none() || exact(1).is_none() {
                return Err(op.bad("with `ceil_mode` and windows that reach beyond the padding"));
            }
        }
        self.push(op, Layer::AveragePool(pool), x)
    }

    /// ReduceMean, over rows and columns.
    fn reduce_mean(&mut self, op: &Op<'_>) -> Result<Computed> {
        let x = self.sample(op)?;
        let shape = self.shape(x);
        let axes = match op.ints("axes") {
            Some(axes) => axes.to_vec(),
            None => self.constant(op, 1)?.map_or(vec![], |axes| axes.to_integers()),
        };
        let mut axes = axes.iter().map(|&axis| op.axis(axis, shape.len())).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        if shape.len() != 4 || axes != [2, 3] {
            return Err(op.bad(format!("over the axes {axes:?} of {shape:?}; supported over rows and columns")));
        }
        let mean = self.push(op, Layer::GlobalAveragePool, x)?;
        if op.int("keepdims", 1) != 0 {
            return Ok(mean);
        }
        self.push(op, Layer::Reshape(vec![shape[1]]), mean)
    }

    /// BatchNormalization, as it is at inference: `scale (x - mean) / sqrt(variance + epsilon) + bias`.
    fn batch_normalization(&mut self, op: &Op<'_>) -> Result<Computed> {
        let x = self.sample(op)?;
        if op.int("training_mode", 0) != 0 {
            return Err(op.bad("in training mode; export the model in evaluation mode"));
        }
        let own = self.builder.shape(x.value).to_vec();
        let channels = *own.first().ok_or_else(|| op.bad("takes channels"))?;
        let mut parameters = Vec::new();
        for index in 1..5 {
            let parameter = self.needed(op, index)?;
            if parameter.shape != [channels] {
                return Err(op.bad(format!("input {index} of shape {:?} for {channels} channels", parameter.shape)));
            }
            parameters.push(parameter.entries);
        }
        let [scale, bias, mean, variance] = &parameters[..] else { return Err(op.bad("four parameters")) };
        let epsilon = op.float("epsilon", 1e-5);
        let scale: Vec<f64> = scale.iter().zip(variance.iter()).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let shift = bias.iter().zip(mean.iter()).zip(&scale).map(|((b, m), s)| b - m * s).collect::<Vec<_>>();
        let mut shape = vec![1; own.len()];
        shape[0] = channels;
        let constant = |entries: Vec<f64>| Constant { shape: shape.clone(), entries: entries.into(), integer: false };
        self.affine(op, x, &constant(scale), &constant(shift))
    }
}
