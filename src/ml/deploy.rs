//! A model split between its owner's client and somebody else's server.
//!
//! [`Deployment`] chooses parameters from the plan. [`Client`] holds the secret key and nothing of the server's;
//! [`Server`] holds evaluation keys and the encoded model, and has no way to name a secret: the types it is made from do
//! not contain one.

use super::{CompiledModel, Model, Packing, pack_inputs, unpack_outputs};
use crate::circuit::PlanReport;
use crate::ckks::{Decryptor, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Parameters};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::math::Seed;
use crate::rlwe::EvaluationKeys;

/// What client and server agree on: model shape, packing, parameters, and the keys that the server needs.
#[derive(Clone, Debug)]
pub struct Deployment {
    packing: Packing,
    inputs: usize,
    outputs: usize,
    parameters: Parameters,
    plan: PlanReport,
}

impl Deployment {
    /// The smallest 128-bit secure parameters on which the model runs: levels for its depth, slots for its widest layer.
    ///
    /// # Level and scale
    /// As many levels as the plan says, scale `2^30`: one limb a level.
    /// # Errors
    /// [`Error::Insecure`] or [`Error::NoPrimes`] when the model is too deep for any ring of the table; errors of
    /// [`Model::plan`].
    pub fn new(model: &Model, packing: Packing) -> Result<Self> {
        let builder = Parameters::builder().slots(model.least_slots(packing));
        let parameters = builder.levels(model.depth()).scale_bits(30).build()?;
        Self::with_parameters(model, packing, &parameters)
    }

    /// The model under parameters of the caller's choice.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when they have too few levels; errors of [`Model::plan`].
    pub fn with_parameters(model: &Model, packing: Packing, parameters: &Parameters) -> Result<Self> {
        let plan = model.plan(parameters.slots(), packing)?;
        let left = parameters.max_level().0;
        if plan.depth > left {
            return Err(Error::LevelExhausted { op: "Deployment", needed: plan.depth, left });
        }
        let (inputs, outputs) = (model.inputs(), model.outputs());
        Ok(Self { packing, inputs, outputs, parameters: parameters.clone(), plan })
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Levels, rotation keys and operations of one run.
    pub fn plan(&self) -> &PlanReport {
        &self.plan
    }

    /// Samples that one ciphertext's run can answer in the batch packing; one a vector in the latency packing.
    pub fn samples_a_run(&self) -> usize {
        match self.packing {
            Packing::Latency => 1,
            Packing::Batch => self.parameters.slots(),
        }
    }

    /// The client, with a fresh secret.
    ///
    /// # Errors
    /// [`Error::NoEntropy`].
    pub fn client(&self) -> Result<Client> {
        self.client_from_seed(&Seed::from_os()?)
    }

    /// A client whose keys and randomness depend on the seed alone: **for reproducible experiments only**.
    ///
    /// Whoever knows the seed reads the data. And one seed must never encrypt two different messages, in one client made
    /// again or in another process: both ciphertexts would repeat the randomness, and anyone who subtracts them reads the
    /// difference of the messages, without the seed.
    ///
    /// # Errors
    /// None in practice.
    pub fn client_from_seed(&self, seed: &Seed) -> Result<Client> {
        let mut keys = KeyGenerator::from_seed(&self.parameters, seed);
        let evaluation_keys = keys.evaluation_keys(&KeyRequest::from(&self.plan))?;
        Ok(Client {
            deployment: self.clone(),
            evaluation_keys,
            encryptor: keys.encryptor(),
            decryptor: keys.decryptor(),
        })
    }
}

/// The data owner's side.
#[derive(Debug)]
pub struct Client {
    deployment: Deployment,
    evaluation_keys: EvaluationKeys,
    encryptor: Encryptor,
    decryptor: Decryptor,
}

impl Client {
    /// What the server needs to compute. Nothing in it is secret.
    pub fn evaluation_keys(&self) -> &EvaluationKeys {
        &self.evaluation_keys
    }

    /// Packs and encrypts samples: a batch of one vector a sample, or of one vector a feature.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for samples of another length than the model's inputs; errors of [`pack_inputs`].
    pub fn encrypt(&self, samples: &[Vec<f64>]) -> Result<HostCiphertext> {
        let Deployment { packing, inputs, parameters, .. } = &self.deployment;
        if let Some(sample) = samples.iter().find(|s| s.len() != *inputs) {
            return Err(Error::ShapeMismatch {
                op: "Client::encrypt",
                expected: format!("samples of {inputs} features"),
                got: format!("{}", sample.len()),
            });
        }
        let vectors = pack_inputs(samples, *packing, parameters.slots())?;
        self.encryptor.encrypt_complex(&vectors, parameters.max_level())
    }

    /// The model's answers for the `samples` samples that were encrypted. For the key owner's eyes.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`]; errors of [`unpack_outputs`].
    pub fn decrypt(&self, answer: &HostCiphertext, samples: usize) -> Result<Vec<Vec<f64>>> {
        let vectors = self.decryptor.decrypt(answer)?;
        unpack_outputs(&vectors, self.deployment.packing, samples, self.deployment.outputs)
    }
}

/// The computing side: evaluation keys, the encoded model, a device.
#[derive(Debug)]
pub struct Server {
    evaluator: Evaluator,
    model: CompiledModel<Evaluator>,
}

impl Server {
    /// Brings keys and weights to a device.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for keys of other parameters; out of memory.
    pub fn new(deployment: &Deployment, model: &Model, device: &Device, keys: &EvaluationKeys) -> Result<Self> {
        let evaluator = Evaluator::new(&deployment.parameters, device, keys)?;
        let model = model.prepare(&evaluator, deployment.packing, deployment.parameters.max_level())?;
        Ok(Self { evaluator, model })
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.evaluator.device()
    }

    /// The encrypted answers to encrypted samples.
    ///
    /// # Errors
    /// [`Error::LevelMismatch`] for a ciphertext below the highest level; [`Error::ShapeMismatch`] for another batch than
    /// the packing's; [`Error::ParameterMismatch`]; device failures.
    pub fn run(&self, samples: &HostCiphertext) -> Result<HostCiphertext> {
        let x = self.evaluator.load(samples)?;
        self.model.run(&self.evaluator, &x)?.to_host()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Matrix;
    use crate::ml::Layer;

    #[test]
    fn a_wide_model_gets_a_ring_with_its_slots() {
        let weights = Matrix::new(1, 5_000, vec![0.01; 5_000]).unwrap();
        let model = Model::from_layers(vec![5_000], vec![Layer::Dense { weights, bias: vec![0.5] }]).unwrap();
        let wide = Deployment::new(&model, Packing::Latency).unwrap();
        assert_eq!(wide.parameters().slots(), 8_192);
        // One feature a vector: security alone decides.
        let narrow = Deployment::new(&model, Packing::Batch).unwrap();
        assert!(narrow.parameters().slots() < 8_192);
        assert!([wide, narrow].iter().all(|d| d.parameters().security().is_some()));
    }
}
