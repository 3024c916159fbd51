//! How samples lie in the slots.

use super::layout::Layout;
use super::model::{Activation, Layer, Model};
use crate::circuit::MAX_SLOTS;
use crate::error::{Error, Result};
use num_complex::Complex64;
use serde::{Deserialize, Serialize};

/// Where a sample's features go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Packing {
    /// One sample over the slots, for the quickest answer: vector `s` of the batch is sample `s`, its features lie where the layers ask
    /// for them. Linear layers rotate.
    Latency,
    /// One slot a sample, for throughput: vector `f` of the batch is feature `f`, slot `s` holds sample `s`. At most
    /// `slots` samples a run; no rotation, hence no rotation keys.
    Batch,
}

impl Packing {
    /// The name on command lines and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Batch => "batch",
        }
    }
}

/// Lays samples out as the vectors that a model takes, and reads its answers: all that a client needs to know of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Packer {
    pub(super) packing: Packing,
    pub(super) slots: usize,
    pub(super) input: Layout,
    pub(super) output: Layout,
    pub(super) output_shape: Vec<usize>,
    /// What is left to do with an answer.
    pub(super) end: Option<Activation>,
}

impl Packer {
    /// How samples lie in the slots.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Whether it could have come from a model, and if not why: for what was read from bytes.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if self.slots > MAX_SLOTS || !self.slots.is_power_of_two() {
            return Err(format!("{} slots", self.slots));
        }
        for layout in [&self.input, &self.output] {
            layout.check().map_err(|reason| format!("a layout has {reason}"))?;
            if self.packing == Packing::Latency && layout.period > self.slots {
                return Err(format!("a layout of period {} for {} slots", layout.period, self.slots));
            }
        }
        if self.output_shape.iter().try_fold(1usize, |size, &axis| size.checked_mul(axis)) != Some(self.outputs()) {
            return Err(format!("answers of shape {:?} with {} entries", self.output_shape, self.outputs()));
        }
        let Some(end) = &self.end else { return Ok(()) };
        let end = Model::from_layers(self.output_shape.clone(), vec![Layer::Activation(end.clone())]);
        end.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Samples that one run can answer: the slots in the batch packing; one a vector in the latency packing.
    pub fn samples_a_run(&self) -> usize {
        if self.packing == Packing::Latency { 1 } else { self.slots }
    }

    /// Features of a sample.
    pub fn inputs(&self) -> usize {
        self.input.places.len()
    }

    /// Numbers in an answer.
    pub fn outputs(&self) -> usize {
        self.output.places.len()
    }

    /// What is left to the client: applied to every answer by [`Self::unpack`].
    pub fn end(&self) -> Option<&Activation> {
        self.end.as_ref()
    }

    /// Lays samples out.
    ///
    /// # Shape
    /// `[samples][features]` to `[samples][slots]` ([`Packing::Latency`]) or `[features][slots]` ([`Packing::Batch`]).
    /// # Errors
    /// [`Error::ShapeMismatch`] for no samples or one of another length; [`Error::TooManyValues`] for more than fit a run;
    /// [`Error::BadValue`] for a number that is not finite, counted through all samples.
    pub fn pack(&self, samples: &[Vec<f64>]) -> Result<Vec<Vec<Complex64>>> {
        let features = self.inputs();
        if samples.is_empty() || samples.iter().any(|sample| sample.len() != features) {
            let got = samples.iter().map(Vec::len).find(|len| *len != features);
            return Err(Error::ShapeMismatch {
                op: "Packer::pack",
                expected: format!("at least one sample, each of {features} features"),
                got: got.map_or_else(|| "none".into(), |len| format!("{len} features")),
            });
        }
        if let Some(index) = samples.iter().flatten().position(|x| !x.is_finite()) {
            return Err(Error::BadValue { index, reason: "not a finite number" });
        }
        if self.packing == Packing::Batch && samples.len() > self.slots {
            return Err(Error::TooManyValues { slots: self.slots, got: samples.len() });
        }
        Ok(match self.packing {
            Packing::Latency => samples.iter().map(|sample| spread(sample, &self.input, self.slots)).collect(),
            Packing::Batch => {
                // Slots that no sample needs repeat the samples: what is large in a slot spoils all others.
                let all = || samples.iter().cycle().take(self.slots);
                let feature = |f: usize| all().map(|sample| sample[f].into()).collect();
                (0..features).map(feature).collect()
            }
        })
    }

    /// Reads the answers for `samples` samples from a model's result, and does what was left to the client.
    ///
    /// # Shape
    /// `[samples][slots]` ([`Packing::Latency`]) or `[outputs][slots]` ([`Packing::Batch`]) to `[samples][outputs]`, the real
    /// parts.
    /// # Errors
    /// [`Error::ShapeMismatch`] when there are not as many vectors as that, or one is too short; for no samples.
    pub fn unpack(&self, vectors: &[Vec<Complex64>], samples: usize) -> Result<Vec<Vec<f64>>> {
        let (batch, used) = match self.packing {
            Packing::Latency => (samples, self.output.places.iter().max().map_or(0, |place| place + 1)),
            Packing::Batch => (self.outputs(), samples),
        };
        if samples == 0 || vectors.len() != batch || vectors.iter().any(|vector| vector.len() < used) {
            let shortest = vectors.iter().map(Vec::len).min().unwrap_or(0);
            return Err(Error::ShapeMismatch {
                op: "Packer::unpack",
                expected: format!("{batch} vectors of at least {used} slots, for at least one sample"),
                got: format!("{} vectors, the shortest of {shortest}", vectors.len()),
            });
        }
        let entry = |s: usize, o: usize| match self.packing {
            Packing::Latency => vectors[s][self.output.places[o]].re,
            Packing::Batch => vectors[o][s].re,
        };
        let answers: Vec<Vec<f64>> = (0..samples).map(|s| (0..self.outputs()).map(|o| entry(s, o)).collect()).collect();
        match &self.end {
            None => Ok(answers),
            Some(end) => Model::from_layers(self.output_shape.clone(), vec![Layer::Activation(end.clone())])?
                .predict_clear(&answers),
        }
    }
}

/// The entries in their places, again and again; zero elsewhere.
pub(super) fn spread(entries: &[f64], layout: &Layout, slots: usize) -> Vec<Complex64> {
    let mut vector = vec![Complex64::ZERO; slots];
    for start in (0..slots).step_by(layout.period) {
        for (x, place) in entries.iter().zip(&layout.places) {
            vector[start + place] = (*x).into();
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packer(packing: Packing, inputs: usize, outputs: usize) -> Packer {
        Packer {
            packing,
            slots: 16,
            input: Layout::compact(inputs),
            output: Layout::compact(outputs),
            output_shape: vec![outputs],
            end: None,
        }
    }

    #[test]
    fn packing_and_unpacking_are_inverse() {
        let samples: Vec<Vec<f64>> = (0..5).map(|s| (0..7).map(|f| f64::from(10 * s + f)).collect()).collect();
        for packing in [Packing::Latency, Packing::Batch] {
            let packer = packer(packing, 7, 7);
            assert_eq!(packer.unpack(&packer.pack(&samples).unwrap(), 5).unwrap(), samples);
        }
        let one = packer(Packing::Latency, 3, 3).pack(&[vec![1.0, 2.0, 3.0]]).unwrap();
        let slots: Vec<f64> = one[0].iter().map(|z| z.re).collect();
        assert_eq!(slots, [1.0, 2.0, 3.0, 0.0].repeat(4));
    }

    #[test]
    fn the_end_is_applied_to_every_answer() {
        let packer = Packer { end: Some(Activation::Softmax { axis: 0 }), ..packer(Packing::Batch, 1, 2) };
        let vectors = vec![vec![Complex64::ZERO; 2], vec![Complex64::ZERO, 3f64.ln().into()]];
        let answers = packer.unpack(&vectors, 2).unwrap();
        assert_eq!(answers[0], [0.5, 0.5]);
        assert!((answers[1][1] - 0.75).abs() < 1e-12);
    }

    #[test]
    fn unfit_samples_are_errors() {
        for packing in [Packing::Latency, Packing::Batch] {
            let packer = packer(packing, 3, 2);
            for samples in [vec![], vec![vec![]], vec![vec![1.0; 3], vec![1.0; 2]]] {
                assert!(matches!(packer.pack(&samples), Err(Error::ShapeMismatch { .. })));
            }
            let bad = [vec![1.0; 3], vec![1.0, f64::NAN, 0.0]];
            assert!(matches!(packer.pack(&bad), Err(Error::BadValue { index: 4, .. })));
            let vectors = vec![vec![Complex64::ZERO; 1]; 2];
            for samples in [0, 2, 3, usize::MAX] {
                assert!(matches!(packer.unpack(&vectors, samples), Err(Error::ShapeMismatch { .. })));
            }
        }
        let many = packer(Packing::Batch, 1, 1).pack(&vec![vec![1.0]; 17]);
        assert_eq!(many, Err(Error::TooManyValues { slots: 16, got: 17 }));
    }
}
