//! Models whose weights the server does not see either: they are encrypted under the key of whoever owns both model and data.

use super::bundle::ClientBundle;
use super::compile::ModelCircuit;
use super::deploy::{Client, Deployment, Server};
use crate::circuit::{Clear, Evaluator as _, Plan, PlanReport};
use crate::ckks::{Evaluator, HostCiphertext, Limits};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::math::Seed;
use crate::rlwe::EvaluationKeys;
use crate::rlwe::wire::Kind;
use std::io::{Read, Write};

/// A [`Deployment`] in the latency packing whose weights will be encrypted: the owner's side. Its keys are those of products of two
/// ciphertexts, where known weights take none.
///
/// # Cost
/// A ciphertext for every diagonal of every linear map, and for every bias: hundreds of MiB for a convolutional network. A run takes a
/// relinearization and a rescaling for every giant step more than with known weights, and one sample at a time.
/// # Example
/// ```
/// use ringlight::circuit::Matrix;
/// use ringlight::ml::{Deployment, Layer, Model, Packing, PrivateDeployment, Server};
/// use ringlight::Device;
///
/// let weights = Matrix::new(1, 2, vec![1.0, 2.0])?;
/// let model = Model::from_layers(vec![2], vec![Layer::Dense { weights, bias: vec![0.5] }])?; // x + 2y + 0.5
/// let private = PrivateDeployment::new(Deployment::new(&model, Packing::Latency)?)?;
/// let client = private.client()?;
/// let encrypted = private.encrypt(&client)?; // this travels
/// let server = Server::with_encrypted_weights(&encrypted, &Device::cpu(), client.evaluation_keys())?;
/// let answer = client.decrypt(&server.run(&client.encrypt(&[vec![0.25, 1.0]])?)?, 1)?;
/// assert!((answer[0][0] - 2.75).abs() < 1e-2);
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrivateDeployment(Deployment);

/// A compiled model with encrypted weights: what the server gets.
///
/// In the clear are the shapes, which weights are zero, which biases are all zero, sums and differences of values as they are, the polynomials of
/// activations and the names of nodes. Polynomials fitted to a function tell the range of its argument on the calibration samples. The weights
/// themselves are ciphertexts.
#[derive(Clone, Debug)]
pub struct EncryptedModel {
    /// With numbers of no meaning for weights.
    pattern: Deployment,
    /// In the order in which [`ModelCircuit::prepare_private`] asks for them.
    weights: Vec<HostCiphertext>,
}

/// Levels and keys of a run with encrypted weights, and how many of them there are.
fn planned(circuit: &ModelCircuit) -> Result<(PlanReport, usize)> {
    let plan = Plan::new(circuit.slots());
    let (x, mut count) = (plan.input(1), 0);
    let mut values = |vectors: Vec<_>, level| {
        count += vectors.len();
        vectors.iter().map(|_| plan.drop_to(&plan.input(1), level)).collect()
    };
    let prepared = circuit.prepare_private(&plan, plan.level(&x), &mut values)?;
    circuit.with_planned_refresh(prepared).run(&plan, &[x])?;
    Ok((plan.report(), count))
}

impl PrivateDeployment {
    /// A deployment of which the server shall not see the weights.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for [`super::Packing::Batch`].
    pub fn new(deployment: Deployment) -> Result<Self> {
        let (plan, _) = planned(deployment.circuit())?;
        Ok(Self(deployment.replanned(plan)?))
    }

    /// What a client needs to know: nothing of the weights.
    pub fn client_bundle(&self) -> ClientBundle {
        self.0.client_bundle()
    }

    /// A client, as [`ClientBundle::client`].
    ///
    /// # Errors
    /// As there.
    pub fn client(&self) -> Result<Client> {
        self.0.client()
    }

    /// A client for **reproducible experiments only**, as [`ClientBundle::client_from_seed`].
    ///
    /// # Errors
    /// As there.
    pub fn client_from_seed(&self, seed: &Seed) -> Result<Client> {
        self.0.client_from_seed(seed)
    }

    /// The model with weights encrypted under a client's key: for samples of that client alone.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for a client of other parameters; [`Error::BadValue`] for weights too large for the modulus.
    pub fn encrypt(&self, client: &Client) -> Result<EncryptedModel> {
        let (parameters, circuit) = (self.0.parameters(), self.0.circuit());
        let top = parameters.max_level();
        let (clear, mut weights) = (Clear::new(circuit.slots(), top), Vec::new());
        let mut values = |vectors: Vec<Vec<_>>, level| {
            let each = |vector: Vec<_>| {
                weights.push(client.encrypt_vector(parameters, &vector, level)?);
                clear.value(&[vector], level)
            };
            vectors.into_iter().map(each).collect()
        };
        circuit.prepare_private(&clear, top, &mut values)?;
        Ok(EncryptedModel { pattern: self.0.without_weights()?, weights })
    }
}

impl EncryptedModel {
    /// Encrypted vectors of weights.
    pub fn ciphertexts(&self) -> usize {
        self.weights.len()
    }

    /// Bytes of the encrypted weights.
    pub fn bytes(&self) -> usize {
        self.weights.iter().map(HostCiphertext::bytes).sum()
    }

    /// Writes everything.
    ///
    /// # Errors
    /// [`Error::Stream`].
    pub fn write_to(&self, mut sink: impl Write) -> Result<()> {
        self.pattern.write_as(Kind::EncryptedModel, &mut sink)?;
        self.weights.iter().try_for_each(|weights| weights.write_to(&mut sink))
    }

    /// Reads what [`Self::write_to`] wrote. The limits hold for the compiled model and for each ciphertext.
    ///
    /// # Errors
    /// As [`Deployment::read_from`] and [`HostCiphertext::read_from`]; [`Error::InvalidParameter`] for a model in the batch packing.
    pub fn read_from(mut source: impl Read, limits: &Limits) -> Result<Self> {
        let pattern = Deployment::read_as(Kind::EncryptedModel, &mut source, limits)?;
        let (plan, count) = planned(pattern.circuit())?;
        let pattern = pattern.replanned(plan)?;
        let mut weights = Vec::new();
        for _ in 0..count {
            weights.push(HostCiphertext::read_from(&mut source, pattern.parameters(), limits)?);
        }
        Ok(Self { pattern, weights })
    }
}

impl Server {
    /// As [`Self::new`], for encrypted weights. A run takes samples of the client whose key encrypted them, in ciphertexts of one vector.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for keys of other parameters; [`Error::ShapeMismatch`] and [`Error::LevelMismatch`] for weights of
    /// another model; out of memory.
    pub fn with_encrypted_weights(model: &EncryptedModel, device: &Device, keys: &EvaluationKeys) -> Result<Self> {
        const OP: &str = "with_encrypted_weights";
        let parameters = model.pattern.parameters();
        let evaluator = Evaluator::new(parameters, device, keys)?;
        let mut weights = model.weights.iter();
        let mut values = |vectors: Vec<_>, level| {
            let one = |_| {
                let (expected, got) = ("a ciphertext of one vector for every diagonal".into(), "other ones".into());
                let unfit = Error::ShapeMismatch { op: OP, expected, got };
                let weight = weights.next().filter(|weight| weight.batch() == 1).ok_or(unfit)?;
                if weight.level() != level {
                    return Err(Error::LevelMismatch { op: OP, left: weight.level().0, right: level.0 });
                }
                evaluator.load(weight)
            };
            vectors.into_iter().map(one).collect()
        };
        let compiled = model.pattern.circuit().prepare_private(&evaluator, parameters.max_level(), &mut values)?;
        let compiled = model.pattern.with_refresh(compiled, &evaluator)?;
        Ok(Self::of_model(evaluator, compiled))
    }
}
