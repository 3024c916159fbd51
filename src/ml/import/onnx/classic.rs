//! The operator set `ai.onnx.ml`: what scikit-learn's exporter writes.

use super::constant::Constant;
use super::graph::{Computed, Importer, Item, Op};
use crate::circuit::Matrix;
use crate::error::Result;
use crate::ml::{Activation, Layer};

/// Most classes of a classifier.
const MAX_CLASSES: usize = 256;

impl Importer {
    /// A node of `ai.onnx.ml`; none where it is not supported.
    pub(super) fn classic(&mut self, op: &Op<'_>) -> Result<Option<Vec<Item>>> {
        Ok(Some(match op.operator() {
            "Scaler" => vec![Item::Computed(self.scaler(op)?)],
            "LinearRegressor" => vec![Item::Computed(self.linear_regressor(op)?)],
            "LinearClassifier" => vec![Item::Client, Item::Computed(self.linear_classifier(op)?)],
            "SVMRegressor" => vec![Item::Computed(self.svm_regressor(op)?)],
            "SVMClassifier" => vec![Item::Client, Item::Computed(self.svm_classifier(op)?)],
            "Normalizer" => vec![Item::Computed(self.normalizer(op)?)],
            "ArrayFeatureExtractor" => vec![Item::Computed(self.extractor(op)?)],
            // Names the probabilities; their order is that of the classes.
            "ZipMap" => vec![Item::Computed(self.computed(op, 0)?)],
            _ => return Ok(None),
        }))
    }

    /// The features of the sample that enters a classic model.
    fn features(&self, op: &Op<'_>) -> Result<(Computed, usize)> {
        let x = self.sample(op)?;
        match self.builder.shape(x.value) {
            &[features] => Ok((x, features)),
            _ => Err(op.bad(format!("takes a batch of vectors, got the shape {:?}", self.shape(x)))),
        }
    }

    /// Scaler: `(x - offset) scale`.
    fn scaler(&mut self, op: &Op<'_>) -> Result<Computed> {
        let (x, _) = self.features(op)?;
        let (offset, scale) = (op.floats("offset"), op.floats("scale"));
        if offset.len() != scale.len() {
            return Err(op.bad(format!("{} offsets and {} scales", offset.len(), scale.len())));
        }
        let shift = offset.iter().zip(&scale).map(|(offset, scale)| -offset * scale).collect();
        let constant =
            |entries: Vec<f64>| Constant { shape: vec![entries.len()], entries: entries.into(), integer: false };
        self.affine(op, x, &constant(scale), &constant(shift))
    }

    /// `W x + b` with the coefficients row by row.
    fn linear(&mut self, op: &Op<'_>, outputs: usize, bias: Vec<f64>) -> Result<Computed> {
        let (x, features) = self.features(op)?;
        let coefficients = op.floats("coefficients");
        let weights = Matrix::new(outputs, features, coefficients).map_err(|error| op.bad(error.to_string()))?;
        self.push(op, Layer::Dense { weights, bias }, x)
    }

    fn linear_regressor(&mut self, op: &Op<'_>) -> Result<Computed> {
        let outputs = usize::try_from(op.int("targets", 1)).map_err(|_| op.bad("a negative number of targets"))?;
        let mut bias = op.floats("intercepts");
        if bias.is_empty() && outputs <= op.floats("coefficients").len() {
            bias = vec![0.0; outputs];
        }
        plain(op)?;
        self.linear(op, outputs, bias)
    }

    /// LinearClassifier: the scores, after the transformation that the file asks for.
    fn linear_classifier(&mut self, op: &Op<'_>) -> Result<Computed> {
        let bias = op.floats("intercepts");
        let labels = op.ints("classlabels_ints").map_or(0, <[i64]>::len).max(op.strings("classlabels_strings"));
        if bias.len() == 1 && labels == 2 {
            // The standard leaves open how the other score follows.
            return Err(op.bad("one score for two classes; export with a row of coefficients a class"));
        }
        let scores = self.linear(op, bias.len(), bias)?;
        match op.text("post_transform", "NONE") {
            "NONE" => Ok(scores),
            "LOGISTIC" => self.push(op, Layer::Activation(Activation::Sigmoid), scores),
            "SOFTMAX" => self.push(op, Layer::Activation(Activation::Softmax { axis: 0 }), scores),
            other => Err(op.bad(format!("`post_transform` {other:.64}"))),
        }
    }

    /// Normalizer of probabilities whose sum is 1 already.
    fn normalizer(&mut self, op: &Op<'_>) -> Result<Computed> {
        let (x, _) = self.features(op)?;
        let nodes = self.builder.nodes();
        let node = |value: usize| value.checked_sub(1).map(|node| &nodes[node]);
        // sigmoid(s) and sigmoid(-s)
        let opposite = |layer: &Layer| match layer {
            Layer::Dense { weights, bias } if weights.rows() == 2 => {
                weights.row(0).iter().zip(weights.row(1)).all(|(a, b)| *a == -b) && bias[0] == -bias[1]
            }
            _ => false,
        };
        let whole = node(x.value).is_some_and(|made| match made.layer {
            Layer::Activation(Activation::Softmax { axis: 0 }) => true,
            Layer::Activation(Activation::Sigmoid) => node(made.inputs[0]).is_some_and(|made| opposite(&made.layer)),
            _ => false,
        });
        if whole && op.text("norm", "MAX") == "L1" {
            return Ok(x);
        }
        Err(op.bad("supported where it changes nothing: L1 of probabilities whose sum is 1"))
    }

    /// ArrayFeatureExtractor: some entries of a vector.
    fn extractor(&mut self, op: &Op<'_>) -> Result<Computed> {
        let (x, features) = self.features(op)?;
        let places = self.needed(op, 1)?.to_integers();
        let places = places.iter().map(|&place| op.axis(place, features)).collect::<Result<Vec<_>>>()?;
        let size = self.fold(op, |budget| budget.take(&[places.len(), features]))?;
        let mut entries = vec![0.0; size];
        places.iter().enumerate().for_each(|(row, place)| entries[row * features + place] = 1.0);
        let weights = Matrix::new(places.len(), features, entries).map_err(|error| op.bad(error.to_string()))?;
        self.push(op, Layer::Dense { weights, bias: vec![0.0; places.len()] }, x)
    }

    /// SVMRegressor: `sum_i c_i v_i x + rho`.
    fn svm_regressor(&mut self, op: &Op<'_>) -> Result<Computed> {
        let (x, features) = self.features(op)?;
        linear_kernel(op)?;
        plain(op)?;
        if op.int("one_class", 0) != 0 {
            return Err(op.bad("of one class"));
        }
        let (coefficients, rho) = (op.floats("coefficients"), op.floats("rho"));
        let vectors = op.floats("support_vectors");
        // Without support vectors the coefficients are the weights.
        let weights = if op.int("n_supports", 0) == 0 {
            coefficients
        } else {
            if coefficients.len().checked_mul(features) != Some(vectors.len()) {
                return Err(op.bad(format!(
                    "{} coefficients for {} numbers in support vectors",
                    coefficients.len(),
                    vectors.len()
                )));
            }
            let mut weights = vec![0.0; features];
            accumulate(&mut weights, &vectors, &coefficients);
            weights
        };
        let weights = Matrix::new(1, features, weights).map_err(|error| op.bad(error.to_string()))?;
        self.push(op, Layer::Dense { weights, bias: rho }, x)
    }

    /// SVMClassifier without probabilities: a score for every pair of classes, or two for two classes.
    fn svm_classifier(&mut self, op: &Op<'_>) -> Result<Computed> {
        let (x, features) = self.features(op)?;
        linear_kernel(op)?;
        plain(op)?;
        if !op.floats("prob_a").is_empty() {
            return Err(op.bad("with probabilities; export with raw scores"));
        }
        let (coefficients, vectors, rho) = (op.floats("coefficients"), op.floats("support_vectors"), op.floats("rho"));
        let supports = op.ints("vectors_per_class").unwrap_or(&[]);
        let supports =
            supports.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>().unwrap_or_default();
        let classes = supports.len();
        if !(2..=MAX_CLASSES).contains(&classes) {
            return Err(op.bad(format!("{classes} classes with support vectors")));
        }
        // Class `i` has the support vectors from `starts[i]` to `starts[i + 1]`.
        let mut starts = vec![0usize];
        for count in &supports {
            starts.push(starts[starts.len() - 1].saturating_add(*count));
        }
        let (count, pairs) = (starts[classes], classes * (classes - 1) / 2);
        let sizes = [count.checked_mul(features), count.checked_mul(classes - 1), Some(pairs)];
        if sizes != [vectors.len(), coefficients.len(), rho.len()].map(Some) {
            return Err(op.bad("support vectors, coefficients and rho do not fit the classes"));
        }
        let size = self.fold(op, |budget| budget.take(&[pairs, features]))?;
        let mut weights = vec![0.0; size];
        let pair = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j)));
        for (row, (i, j)) in pair.enumerate() {
            // The coefficients of class `i` against `j` stand in row `j - 1`, those of `j` against `i` in row `i`.
            for (class, line) in [(i, j - 1), (j, i)] {
                let range = starts[class]..starts[class + 1];
                let row = &mut weights[row * features..(row + 1) * features];
                let line = &coefficients[line * count..(line + 1) * count];
                accumulate(row, &vectors[range.start * features..range.end * features], &line[range]);
            }
        }
        let mut bias = rho;
        if classes == 2 {
            // A row a class, the first with the opposite sign.
            let opposite: Vec<f64> = weights.iter().map(|w| -w).collect();
            weights = [opposite, weights].concat();
            bias = vec![-bias[0], bias[0]];
        }
        let rows = bias.len();
        let weights = Matrix::new(rows, features, weights).map_err(|error| op.bad(error.to_string()))?;
        self.push(op, Layer::Dense { weights, bias }, x)
    }
}

/// Adds `sum_i c_i v_i` to a row.
fn accumulate(row: &mut [f64], vectors: &[f64], coefficients: &[f64]) {
    for (vector, c) in vectors.chunks_exact(row.len()).zip(coefficients) {
        row.iter_mut().zip(vector).for_each(|(sum, v)| *sum += c * v);
    }
}

fn plain(op: &Op<'_>) -> Result<()> {
    match op.text("post_transform", "NONE") {
        "NONE" => Ok(()),
        other => Err(op.bad(format!("`post_transform` {other:.64}"))),
    }
}

fn linear_kernel(op: &Op<'_>) -> Result<()> {
    match op.text("kernel_type", "LINEAR") {
        "LINEAR" => Ok(()),
        other => Err(op.bad(format!("a kernel {other:.64}; linear ones are supported"))),
    }
}
