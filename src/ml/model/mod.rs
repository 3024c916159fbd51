//! A trained model: a graph of layers.

mod clear;
mod layer;
mod shape;

pub use layer::{Activation, Conv2d, Layer, Pool2d};

use crate::error::{Error, Result};
use shape::{MAX_RANK, entries, infer};

/// Most nodes of a model.
const MAX_NODES: usize = 1024;
/// Most entries of all values together: what a run in the clear keeps.
const MAX_ENTRIES: usize = 1 << 24;
/// Most numbers in all layers together.
pub(super) const MAX_WEIGHTS: usize = 1 << 26;
/// Most multiplications of a run in the clear.
const MAX_WORK: usize = 1 << 28;

/// Layers on the way from an input to an output: a graph without cycles over tensors of fixed shape.
///
/// # Shape
/// One sample at a time: no tensor has a batch axis. Value 0 is the input, node `i` makes value `i + 1` from values
/// before it.
/// # Example
/// ```
/// use ringlight::circuit::Matrix;
/// use ringlight::ml::{Activation, Layer, Model, ModelBuilder};
///
/// let weights = Matrix::new(2, 2, vec![1.0, 2.0, 0.0, 1.0])?;
/// let dense = Layer::Dense { weights, bias: vec![0.5, 0.0] };
/// let square = Layer::Activation(Activation::Square);
/// let model = Model::from_layers(vec![2], vec![dense.clone(), square])?;
/// assert_eq!(model.predict_clear(&[vec![1.0, 0.25], vec![-1.0, 0.0]])?, [[4.0, 0.0625], [0.25, 0.0]]);
///
/// let mut builder = ModelBuilder::new(vec![2])?;
/// let hidden = builder.add("hidden", dense, vec![0])?;
/// let sum = builder.add("residual", Layer::Add, vec![0, hidden])?;
/// let model = builder.build(sum)?; // x + W x + b
/// assert_eq!(model.predict_clear(&[vec![1.0, 0.25]])?, [[3.0, 0.5]]);
/// assert_eq!(model.nodes()[1].name, "residual");
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    input: Vec<usize>,
    nodes: Vec<Node>,
    output: usize,
}

/// One layer of a [`Model`], and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What messages and reports call it.
    pub name: String,
    /// What it does.
    pub layer: Layer,
    /// The values that enter it.
    pub inputs: Vec<usize>,
    /// Shape of the value that it makes.
    pub shape: Vec<usize>,
}

fn bad(field: &str, reason: impl Into<String>) -> Error {
    Error::BadModel { field: field.into(), reason: reason.into() }
}

impl Model {
    /// A model that applies `layers` in this order to inputs of the shape `input`. Nodes are called by their index.
    ///
    /// # Errors
    /// [`Error::BadModel`], as [`ModelBuilder::new`] and [`ModelBuilder::add`], or naming `layers` when there are none.
    pub fn from_layers(input: Vec<usize>, layers: Vec<Layer>) -> Result<Self> {
        let mut builder = ModelBuilder::new(input)?;
        let mut value = 0;
        for (index, layer) in layers.into_iter().enumerate() {
            value = builder.add(&index.to_string(), layer, vec![value])?;
        }
        builder.build(value)
    }

    /// Shape of a sample.
    pub fn input_shape(&self) -> &[usize] {
        &self.input
    }

    /// Shape of an answer.
    pub fn output_shape(&self) -> &[usize] {
        self.shape(self.output)
    }

    /// The value that is the answer.
    pub fn output(&self) -> usize {
        self.output
    }

    /// The nodes; node `i` makes value `i + 1`.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Shape of value `value`.
    ///
    /// # Panics
    /// When there are no more than `value` nodes.
    pub fn shape(&self, value: usize) -> &[usize] {
        value.checked_sub(1).map_or(&self.input, |node| &self.nodes[node].shape)
    }

    /// Numbers in a sample.
    pub fn inputs(&self) -> usize {
        self.input_shape().iter().product()
    }

    /// Numbers in an answer.
    pub fn outputs(&self) -> usize {
        self.output_shape().iter().product()
    }
}

/// A [`Model`] under construction: every node is checked when it is added.
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    model: Model,
    entries: usize,
    weights: usize,
    work: usize,
}

impl ModelBuilder {
    /// A model of no nodes yet, for samples of the shape `input`.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming `input`: an axis of length 0, more than 8 axes or more than 2^24 entries.
    pub fn new(input: Vec<usize>) -> Result<Self> {
        let entries = check_shape(&input).map_err(|reason| bad("input", reason))?;
        Ok(Self { model: Model { input, nodes: vec![], output: 0 }, entries, weights: 0, work: 0 })
    }

    /// Adds a node and gives the value that it makes.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming the node: it does not fit the values that enter it or has weights that are not finite;
    /// or, with it, the model has more than 1024 nodes, 2^24 entries in all its values, 2^26 weights or 2^28
    /// multiplications.
    pub fn add(&mut self, name: &str, layer: Layer, inputs: Vec<usize>) -> Result<usize> {
        let name: String = name.chars().take(64).collect();
        let refuse = |reason: String| bad(&name, format!("{}: {reason}", layer.name()));
        if self.model.nodes.len() == MAX_NODES {
            return Err(refuse(format!("more than {MAX_NODES} nodes")));
        }
        if let Some(value) = inputs.iter().find(|&&value| value > self.model.nodes.len()) {
            return Err(refuse(format!("value {value} does not exist before this node")));
        }
        if inputs.len() > MAX_NODES {
            return Err(refuse(format!("more than {MAX_NODES} inputs")));
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|&value| self.model.shape(value)).collect();
        let inferred = infer(&layer, &shapes).map_err(refuse)?;
        let size = check_shape(&inferred.shape).map_err(refuse)?;
        for (what, sum, more, most) in [
            ("entries of values", &mut self.entries, size, MAX_ENTRIES),
            ("weights", &mut self.weights, inferred.weights, MAX_WEIGHTS),
            ("multiplications", &mut self.work, inferred.work, MAX_WORK),
        ] {
            *sum = sum.saturating_add(more);
            if *sum > most {
                return Err(refuse(format!("with it the model has more than {most} {what}")));
            }
        }
        self.model.nodes.push(Node { name, layer, inputs, shape: inferred.shape });
        Ok(self.model.nodes.len())
    }

    /// Shape of value `value`.
    ///
    /// # Panics
    /// When there are no more than `value` nodes.
    pub fn shape(&self, value: usize) -> &[usize] {
        self.model.shape(value)
    }

    /// The nodes so far.
    pub fn nodes(&self) -> &[Node] {
        &self.model.nodes
    }

    /// The model whose answer is value `output`. Nodes that it does not depend on are left out, and values are counted
    /// anew.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming `layers`: `output` is no node's value.
    pub fn build(self, output: usize) -> Result<Model> {
        let Model { input, nodes, .. } = self.model;
        if output == 0 || output > nodes.len() {
            return Err(bad("layers", format!("no node makes value {output}, the output")));
        }
        let mut wanted = vec![false; nodes.len() + 1];
        wanted[output] = true;
        for (index, node) in nodes.iter().enumerate().rev().filter(|(index, _)| *index < output) {
            if wanted[index + 1] {
                node.inputs.iter().for_each(|&value| wanted[value] = true);
            }
        }
        let mut place = vec![0; nodes.len() + 1];
        let mut kept = Vec::new();
        for (index, mut node) in nodes.into_iter().enumerate().filter(|(index, _)| wanted[index + 1]) {
            node.inputs.iter_mut().for_each(|value| *value = place[*value]);
            kept.push(node);
            place[index + 1] = kept.len();
        }
        Ok(Model { input, nodes: kept, output: place[output] })
    }
}

/// Entries of a value's shape.
fn check_shape(shape: &[usize]) -> std::result::Result<usize, String> {
    if shape.len() > MAX_RANK {
        return Err(format!("{} axes, the most is {MAX_RANK}", shape.len()));
    }
    match entries(shape) {
        Some(0) => Err(format!("the shape {shape:?} has no entries")),
        Some(size) if size <= MAX_ENTRIES => Ok(size),
        _ => Err(format!("the shape {shape:?} has more than {MAX_ENTRIES} entries")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Matrix;

    fn dense(rows: usize, columns: usize) -> Layer {
        Layer::Dense { weights: Matrix::new(rows, columns, vec![0.5; rows * columns]).unwrap(), bias: vec![0.0; rows] }
    }

    fn conv(shape: [usize; 4]) -> Conv2d {
        let (stride, padding, dilation) = ([1, 1], [0; 4], [1, 1]);
        Conv2d { weights: vec![0.5; 8], shape, bias: vec![0.0; 2], stride, padding, dilation, groups: 1 }
    }

    #[test]
    fn nodes_that_the_output_does_not_need_are_left_out() {
        let square = || Layer::Activation(Activation::Square);
        let mut builder = ModelBuilder::new(vec![2, 3]).unwrap();
        let dead = builder.add("dead", square(), vec![0]).unwrap();
        let kept = builder.add("kept", Layer::Transpose(vec![1, 0]), vec![0]).unwrap();
        builder.add("dead too", square(), vec![dead]).unwrap();
        let twice = builder.add("twice", Layer::Concat { axis: 0 }, vec![kept, kept]).unwrap();
        builder.add("after", square(), vec![twice]).unwrap();
        assert_eq!(builder.shape(twice), [6, 2]);
        let model = builder.clone().build(twice).unwrap();
        let names: Vec<&str> = model.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["kept", "twice"]);
        assert_eq!(model.nodes()[1].inputs, [1, 1]);
        assert_eq!(
            (model.output(), model.output_shape(), model.outputs(), model.inputs()),
            (2, [6, 2].as_slice(), 12, 6)
        );
        for nothing in [0, 6] {
            assert!(matches!(builder.clone().build(nothing), Err(Error::BadModel { .. })));
        }
    }

    #[test]
    fn layers_that_do_not_fit_are_named_with_the_reason() {
        let pool = Pool2d { kernel: [2, 2], stride: [1, 1], padding: [0; 4], count_padding: true };
        let biased = |bias| match dense(2, 3) {
            Layer::Dense { weights, .. } => Layer::Dense { weights, bias },
            other => other,
        };
        let affine = |scale: Vec<f64>, shift: Vec<f64>| Layer::Affine { scale, shift };
        let pad = |before: Vec<usize>, value| Layer::Pad { before, after: vec![0; 3], value };
        let cases = [
            (vec![2], dense(2, 3), "takes 3 inputs"),
            (vec![], dense(2, 3), "got a number"),
            (vec![3], biased(vec![1.0]), "the bias has 1 entries instead of 2"),
            (vec![3], biased(vec![1.0, f64::INFINITY]), "bias: entry 1 is not a finite number"),
            (vec![3], Layer::Conv2d(conv([2, 1, 2, 2])), "channels, rows and columns"),
            (vec![2, 4, 4], Layer::Conv2d(conv([2, 1, 2, 2])), "groups"),
            (vec![1, 1, 4], Layer::Conv2d(conv([2, 1, 2, 2])), "no window"),
            (vec![1, 4, 4], Layer::Conv2d(conv([2, 1, 2, 3])), "8 weights"),
            (vec![1, 4, 4], Layer::Conv2d(Conv2d { stride: [0, 1], ..conv([2, 1, 2, 2]) }), "stride is 0"),
            (vec![1, 4, 4], Layer::Conv2d(Conv2d { dilation: [1, 0], ..conv([2, 1, 2, 2]) }), "dilation"),
            (vec![1, 1, 4], Layer::AveragePool(pool.clone()), "no window"),
            (vec![1, 4, 4], Layer::AveragePool(Pool2d { padding: [0, 0, 2, 0], ..pool }), "less than the kernel"),
            (vec![4, 4], Layer::GlobalAveragePool, "channels, rows and columns"),
            (vec![2], affine(vec![1.0], vec![1.0; 2]), "the scale has 1 entries"),
            (vec![2], affine(vec![1.0; 2], vec![f64::NAN; 2]), "shift: entry 0"),
            (vec![2, 3], Layer::Reshape(vec![5]), "6 entries"),
            (vec![2, 3], Layer::Reshape(vec![0, usize::MAX, 2]), "6 entries"),
            (vec![2, 3], Layer::Transpose(vec![0, 0]), "no permutation"),
            (vec![1, 1, 1], pad(vec![0; 2], 0.0), "borders"),
            (vec![1, 1, 1], pad(vec![0; 3], f64::NAN), "not a finite number"),
            (vec![1, 1, 1], pad(vec![usize::MAX, 0, 0], 0.0), "too many entries"),
            (vec![1, 1, 1], pad(vec![1 << 30, 0, 0], 0.0), "more than 16777216 entries"),
            (vec![2], Layer::Concat { axis: 1 }, "no axis 1"),
            (vec![2], Layer::Add, "1 inputs instead of 2"),
            (vec![2], Layer::Activation(Activation::Polynomial(vec![])), "0 coefficients"),
            (vec![2], Layer::Activation(Activation::Polynomial(vec![1.0; 129])), "129 coefficients"),
            (vec![2], Layer::Activation(Activation::Softmax { axis: 1 }), "no axis 1"),
        ];
        for (shape, layer, wanted) in cases {
            let name = layer.name();
            match Model::from_layers(shape, vec![layer]) {
                Err(Error::BadModel { field, reason }) => {
                    assert!(field == "0" && reason.starts_with(name) && reason.contains(wanted), "{name}: {reason}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_a_model_holds_is_bounded() {
        let refused = |layers: Vec<Layer>, input: Vec<usize>| match Model::from_layers(input, layers) {
            Err(Error::BadModel { field, reason }) => (field, reason),
            other => panic!("{other:?}"),
        };
        let square = Layer::Activation(Activation::Square);
        assert_eq!(refused(vec![], vec![1]).0, "layers");
        assert_eq!(refused(vec![square.clone(); MAX_NODES + 1], vec![1]).0, MAX_NODES.to_string());
        for input in [vec![0], vec![1; 9], vec![1 << 25], vec![usize::MAX, 2]] {
            assert_eq!(refused(vec![square.clone()], input).0, "input");
        }
        assert!(refused(vec![square.clone(); 20], vec![1 << 20]).1.contains("entries of values"));
        let many = Layer::Activation(Activation::Polynomial(vec![1.0; 128]));
        assert!(refused(vec![many; 3], vec![1 << 20]).1.contains("multiplications"));
        let mut builder = ModelBuilder::new(vec![1]).unwrap();
        assert!(matches!(builder.add("later", Layer::Add, vec![0, 1]), Err(Error::BadModel { .. })));
        assert!(matches!(builder.add("nothing", Layer::Add, vec![]), Err(Error::BadModel { .. })));
    }
}
