//! ONNX files.
//!
//! The graph is followed for one sample: the batch axis has length 1 wherever the file asks for a shape, what is computed
//! from constants and shapes alone becomes a constant, and the rest becomes the layers of a [`Model`].

mod arithmetic;
mod classic;
mod constant;
mod graph;
mod network;
mod proto;
mod shapes;
#[cfg(test)]
mod tests;

use super::{bad, short};
use crate::error::Result;
use crate::ml::{Model, ModelBuilder};
use constant::Constant;
use graph::{Importer, Item, Op};
use std::collections::HashSet;

/// Most nodes of a graph, with those that compute constants.
const MAX_NODES: usize = 1 << 14;
/// Oldest operator set.
const OLDEST: i64 = 11;
/// What can be read, for messages.
const SUPPORTED: &str = "Add, ArgMax (left to the client), AveragePool, BatchNormalization, Cast, Concat, Constant, Conv, Div, \
     Dropout, Erf (within GELU), Flatten, Gather (of constants), Gelu, Gemm, GlobalAveragePool, Identity, MatMul, Mul, Neg, Pad, \
     Pow, ReduceMean (over rows and columns), Relu, Reshape, Shape, Sigmoid, Slice (of constants), Softmax, Sqrt (of constants), \
     Squeeze, Sub, Sum, Tanh, Transpose, Unsqueeze; of ai.onnx.ml ArrayFeatureExtractor, LinearClassifier, LinearRegressor, \
     Normalizer (of probabilities), SVMClassifier, SVMRegressor, Scaler, ZipMap (left to the client)";

/// The model of a file.
pub(super) fn read(bytes: &[u8]) -> Result<Model> {
    let file = proto::decode(bytes)?;
    let main = |set: &&proto::OperatorSet| matches!(set.domain.as_str(), "" | "ai.onnx");
    let opset = file.opset_import.iter().filter(main).map(|set| set.version).max();
    let classic_alone = opset.is_none() && file.opset_import.iter().any(|set| set.domain == "ai.onnx.ml");
    let opset = if classic_alone { OLDEST } else { opset.unwrap_or(0) };
    if opset < OLDEST {
        return Err(bad("opset_import", format!("operator set {opset}; {OLDEST} and later can be read")));
    }
    let graph = file.graph.ok_or_else(|| bad("file", "no graph"))?;
    if graph.node.len() > MAX_NODES {
        return Err(bad("graph", format!("more than {MAX_NODES} nodes")));
    }
    let (name, shape, dynamic) = input(&graph)?;
    let mut importer = Importer::new(ModelBuilder::new(shape)?, opset, dynamic);
    for tensor in &graph.initializer {
        let constant = Constant::read(tensor, &mut importer.budget).map_err(|reason| bad(&tensor.name, reason))?;
        importer.items.insert(tensor.name.clone(), Item::Constant(constant));
    }
    importer.items.insert(name.to_string(), Item::Computed(graph::Computed { value: 0, folded: false }));
    for node in &graph.node {
        let items = importer.read(&Op::new(node), &node.domain)?;
        for (name, item) in node.output.iter().zip(items) {
            importer.items.insert(name.clone(), item);
        }
    }
    let computed = graph.output.iter().filter_map(|output| match importer.items.get(&output.name) {
        Some(Item::Computed(x)) => Some((&output.name, x.value)),
        _ => None,
    });
    match computed.collect::<Vec<_>>()[..] {
        [(_, value)] => importer.builder.build(value),
        [] => Err(bad("output", "no output is computed from the input by layers alone")),
        [(a, _), (b, _), ..] => {
            Err(bad("output", format!("{} and {} are both computed; leave one in the file", short(a), short(b))))
        }
    }
}

/// Name of the one input, shape of a sample, and whether the batch has any size.
fn input(graph: &proto::Graph) -> Result<(&str, Vec<usize>, bool)> {
    let known: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut inputs = graph.input.iter().filter(|input| !known.contains(input.name.as_str()));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(bad("input", "the graph must have one input that is no initializer"));
    };
    let shape = input.kind.as_ref().and_then(|kind| kind.tensor.as_ref()?.shape.as_ref());
    let shape = shape.ok_or_else(|| bad(&input.name, "is no tensor with a known number of axes"))?;
    let [batch, axes @ ..] = &shape.dim[..] else {
        return Err(bad(&input.name, "has no axes; the first must be the batch"));
    };
    // Zero stands for unknown in some files.
    let batch = batch.value.filter(|&batch| batch != 0);
    if batch.is_some_and(|batch| batch != 1) {
        let reason = "its first axis must be the batch, of any size or 1; export the model with a dynamic batch axis";
        return Err(bad(&input.name, reason));
    }
    let axis = |(index, axis): (usize, &proto::Dimension)| {
        let known = axis.value.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis > 0);
        known.ok_or_else(|| bad(&input.name, format!("axis {} has no fixed length", index + 1)))
    };
    let axes = axes.iter().enumerate().map(axis).collect::<Result<_>>()?;
    Ok((&input.name, axes, batch.is_none()))
}

impl Importer {
    /// What a node makes.
    fn read(&mut self, op: &Op<'_>, domain: &str) -> Result<Vec<Item>> {
        let inputs = (0..op.inputs()).map(|i| self.input(op, i)).collect::<Result<Vec<_>>>()?;
        if inputs.iter().flatten().any(|item| matches!(item, Item::Client)) {
            return Ok(vec![Item::Client; op.outputs()]);
        }
        let made = match domain {
            "" | "ai.onnx" => self.network(op)?,
            "ai.onnx.ml" => self.classic(op)?,
            _ => None,
        };
        let unsupported = || op.bad(format!("not supported; what can be read: {SUPPORTED}"));
        made.ok_or_else(unsupported)
    }
}
