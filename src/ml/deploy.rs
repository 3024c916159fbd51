//! A model split between its owner's client and somebody else's server.
//!
//! [`Deployment`] lowers the model and chooses parameters from the plan; it is the server's part, and travels there by itself.
//! [`ClientBundle`] is the client's. [`Client`] holds the secret key and nothing of the server's;
//! [`Server`] holds evaluation keys and the encoded model, and has no way to name a secret: the types it is made from do
//! not contain one.

use super::bundle::ClientBundle;
use super::compile::ModelCircuit;
use super::cost::UnitCosts;
use super::explain::Explanation;
use super::lower::Approximate;
use super::predict::predicted;
use super::run::{CompiledModel, Progress};
use super::{Model, Packing, search};
use crate::circuit::PlanReport;
use crate::ckks::{
    Bootstrapper, Ciphertext, Decryptor, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Magnitude,
    Parameters, Security,
};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::math::{Csprng, Seed};
use crate::rlwe::EvaluationKeys;
use crate::units::Level;
use num_complex::Complex64;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Whether values may be refreshed when levels run out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bootstraps {
    /// In the latency packing where the model then runs on a smaller ring, in the batch packing where it runs on none without: there each of
    /// a value's many vectors is refreshed on its own.
    #[default]
    Automatic,
    /// Levels for the whole depth, or an error.
    Never,
    /// On parameters that can refresh, even if no value needs it.
    Always,
}

/// What is wanted of a [`Deployment`].
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How samples lie in the slots.
    pub packing: Packing,
    /// How functions are replaced by polynomials.
    pub approximate: Approximate,
    /// Bits of scale, see [`crate::ckks::Builder::scale_bits`]: 30 by default. Fewer may fit a smaller ring.
    pub scale_bits: u32,
    /// 128 bits by default.
    pub security: Security,
    /// Automatic by default. Refreshes take calibration samples: no value may be larger than 1 where it is refreshed.
    pub bootstraps: Bootstraps,
}

impl Settings {
    /// The defaults for a packing.
    pub fn new(packing: Packing) -> Self {
        let (approximate, bootstraps) = (Approximate::default(), Bootstraps::default());
        Self { packing, approximate, scale_bits: 30, security: Security::Bits128, bootstraps }
    }
}

/// Bytes that a buffer may have on every WebGPU device.
const BUFFER_BYTES: usize = 1 << 27;

/// Vectors of a ciphertext such that no buffer of a run exceeds [`BUFFER_BYTES`], or one vector.
fn vectors_a_part(parameters: &Parameters, refreshed: bool) -> Result<usize> {
    let highest = if refreshed { parameters.top_level() } else { parameters.max_level() };
    let (rlwe, limbs) = (parameters.rlwe(), parameters.limbs_at(highest)?);
    // The largest is the second half of a product, raised for every digit of a key; else the three halves of a product.
    let raised = rlwe.digits(limbs).len() * (limbs.0 + rlwe.special().0) as usize;
    let words = raised.max(3 * limbs.0 as usize) << parameters.log_n().get();
    Ok((BUFFER_BYTES / (4 * words)).max(1))
}

/// How [`Deployment::predict`] comes to its answers.
#[derive(Clone, Copy, Debug)]
pub enum Mode<'a> {
    /// The compiled circuit on plain numbers.
    Clear,
    /// The same with noise of the predicted size, which depends on the seed: see [`Deployment::simulate`].
    Simulate(&'a Seed),
    /// Keys, encryption, a run on the device, decryption: both sides in one place, **for trying out**. In earnest a [`Client`] and a [`Server`]
    /// are in two.
    Encrypted(&'a Device),
}

/// A model with parameters to run it under.
#[derive(Clone, Debug)]
pub struct Deployment {
    circuit: ModelCircuit,
    parameters: Parameters,
    plan: PlanReport,
    /// What refreshes, where values are refreshed.
    bootstrapper: Option<Arc<Bootstrapper>>,
    /// The keys of both.
    keys: KeyRequest,
}

impl Deployment {
    /// The smallest 128-bit secure parameters on which the model runs: levels for its depth, slots for its largest value. A model that is too
    /// deep for its ring has values refreshed on the way, see [`Bootstraps`].
    ///
    /// # Errors
    /// As [`Self::with_settings`].
    pub fn new(model: &Model, packing: Packing) -> Result<Self> {
        Self::with_settings(model, &Settings::new(packing))
    }

    /// As [`Self::new`], with more to choose.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming a step, when the model is so deep that values must be refreshed, and there are no calibration samples,
    /// or a step is too deep for any ring; [`Error::Insecure`] or [`Error::NoPrimes`] when no ring is secure; errors of
    /// [`ModelCircuit::new`] and [`ModelCircuit::prepare`].
    pub fn with_settings(model: &Model, settings: &Settings) -> Result<Self> {
        let (parameters, circuit) = search::search(model, settings)?;
        Self::in_parts(circuit, parameters)
    }

    /// The model under parameters of the caller's choice; of `settings` packing and approximation count. Values are refreshed if the levels
    /// do not suffice and the parameters have [`Parameters::bootstrapping`].
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] when they have too few levels; [`Error::BadModel`] as [`Self::with_settings`]; errors of
    /// [`ModelCircuit::new`].
    pub fn with_parameters(model: &Model, settings: &Settings, parameters: &Parameters) -> Result<Self> {
        Self::in_parts(search::fit(model, settings, parameters)?, parameters.clone())
    }

    fn in_parts(circuit: ModelCircuit, parameters: Parameters) -> Result<Self> {
        let vectors = vectors_a_part(&parameters, circuit.bootstraps() > 0)?;
        Self::of_circuit(circuit.in_parts_of(vectors), parameters)
    }

    pub(super) fn of_circuit(circuit: ModelCircuit, parameters: Parameters) -> Result<Self> {
        let plan = circuit.plan()?;
        let refreshed = circuit.refreshed_slots()?;
        let bootstrapper = refreshed.map(|slots| Bootstrapper::with_slots(&parameters, slots)).transpose()?;
        let keys = KeyRequest::new();
        Self { circuit, parameters, plan: PlanReport::default(), bootstrapper: bootstrapper.map(Arc::new), keys }
            .planned(plan)
    }

    /// With this plan, and the keys for it and for refreshes.
    fn planned(self, plan: PlanReport) -> Result<Self> {
        let mut keys = KeyRequest::from_plan(&plan, self.parameters.max_level());
        if let Some(bootstrapper) = &self.bootstrapper {
            keys = keys.merge(&bootstrapper.keys()?);
        }
        Ok(Self { plan, keys, ..self })
    }

    /// The model with what refreshes its values, where any are.
    pub(super) fn with_refresh(
        &self,
        model: CompiledModel<Evaluator>,
        evaluator: &Evaluator,
    ) -> Result<CompiledModel<Evaluator>> {
        Ok(match &self.bootstrapper {
            Some(circuit) => model.with_refresh(Arc::new(circuit.prepare(evaluator)?)),
            None => model,
        })
    }

    /// The same one with another plan, for inputs of one vector.
    pub(super) fn replanned(self, plan: PlanReport) -> Result<Self> {
        Self { circuit: self.circuit.in_parts_of(1), ..self }.planned(plan)
    }

    /// The same one with numbers of no meaning for weights.
    pub(super) fn without_weights(&self) -> Result<Self> {
        Ok(Self { circuit: self.circuit.without_weights()?, ..self.clone() })
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The lowered model.
    pub fn circuit(&self) -> &ModelCircuit {
        &self.circuit
    }

    /// What refreshes values, where that is needed.
    pub fn bootstrapper(&self) -> Option<&Bootstrapper> {
        self.bootstrapper.as_deref()
    }

    /// Levels, rotation keys and operations of one run, but for those of refreshes: [`Bootstrapper::plan`] tells them.
    pub fn plan(&self) -> &PlanReport {
        &self.plan
    }

    /// Samples that one run can answer in the batch packing; one a vector in the latency packing.
    pub fn samples_a_run(&self) -> usize {
        self.circuit.packer().samples_a_run()
    }

    /// What a run does, step by step, with the noise to expect for samples of this magnitude.
    ///
    /// # Errors
    /// As [`ModelCircuit::prepare`].
    pub fn explain(&self, samples: Magnitude) -> Result<Explanation> {
        Explanation::new(self, samples, None)
    }

    /// As [`Self::explain`], with the time that every step takes: from [`UnitCosts::measure`] on the device in question, or from costs known
    /// otherwise.
    ///
    /// # Errors
    /// As [`Self::explain`]; [`Error::LevelTooHigh`] for costs at a level that the parameters do not have.
    pub fn explain_timed(&self, samples: Magnitude, costs: &UnitCosts) -> Result<Explanation> {
        Explanation::new(self, samples, Some(costs))
    }

    /// The model's answers, in any of three ways.
    ///
    /// # Errors
    /// As [`super::Packer::pack`], [`Client::encrypt`], [`Server::new`] and [`Server::run`].
    pub fn predict(&self, samples: &[Vec<f64>], mode: Mode<'_>) -> Result<Vec<Vec<f64>>> {
        match mode {
            Mode::Clear => self.circuit.predict_clear(samples),
            Mode::Simulate(seed) => self.simulate(samples, seed),
            Mode::Encrypted(device) => {
                let client = self.client()?;
                let server = Server::new(self, device, client.evaluation_keys())?;
                let run = |samples: &[Vec<f64>]| client.decrypt(&server.run(&client.encrypt(samples)?)?, samples.len());
                Ok(samples.chunks(self.circuit.samples_at_once()).map(run).collect::<Result<Vec<_>>>()?.concat())
            }
        }
    }

    /// The answers to expect of an encrypted run: those of the same circuit in the clear, with noise of the predicted size. No
    /// cryptography, hence fast; the noise depends on the seed alone.
    ///
    /// # Errors
    /// As [`super::Packer::pack`] and [`ModelCircuit::prepare`].
    pub fn simulate(&self, samples: &[Vec<f64>], seed: &Seed) -> Result<Vec<Vec<f64>>> {
        let bound = samples.iter().flatten().fold(0.0, |most: f64, x| most.max(x.abs()));
        let count = samples.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        let rms = (samples.iter().flatten().map(|x| x * x).sum::<f64>() / count).sqrt();
        let deviation = predicted(self, Magnitude::new(rms.min(bound), bound)?)?.last().copied().unwrap_or(0.0);
        let mut random = Csprng::new(seed);
        self.circuit.run_clear(samples, |vectors| {
            for vector in vectors {
                let mut noise = vec![0; vector.len()];
                random.gaussian(&mut noise);
                vector.iter_mut().zip(noise).for_each(|(z, e)| z.re += f64::from(e) * deviation / Csprng::SIGMA);
            }
        })
    }

    /// The keys that a run needs, refreshes included.
    pub fn key_request(&self) -> KeyRequest {
        self.keys.clone()
    }

    /// What a client needs to know: nothing of the weights.
    pub fn client_bundle(&self) -> ClientBundle {
        ClientBundle {
            parameters: self.parameters.clone(),
            packer: self.circuit.packer(),
            part: self.circuit.part(),
            keys: self.key_request(),
        }
    }

    /// A client, as [`ClientBundle::client`].
    ///
    /// # Errors
    /// As there.
    pub fn client(&self) -> Result<Client> {
        self.client_bundle().client()
    }

    /// A client for **reproducible experiments only**, as [`ClientBundle::client_from_seed`].
    ///
    /// # Errors
    /// As there.
    pub fn client_from_seed(&self, seed: &Seed) -> Result<Client> {
        self.client_bundle().client_from_seed(seed)
    }
}

/// The data owner's side.
#[derive(Debug)]
pub struct Client {
    bundle: ClientBundle,
    keys: KeyGenerator,
    evaluation_keys: EvaluationKeys,
    encryptor: Encryptor,
    decryptor: Decryptor,
}

impl Client {
    pub(super) fn of_keys(bundle: &ClientBundle, mut keys: KeyGenerator) -> Result<Self> {
        let evaluation_keys = keys.evaluation_keys(&bundle.keys)?;
        let (encryptor, decryptor) = (keys.encryptor(), keys.decryptor());
        Ok(Self { bundle: bundle.clone(), keys, evaluation_keys, encryptor, decryptor })
    }

    /// Writes the **secret key, in the clear**, for [`ClientBundle::client_with_secret`]: for the owner's own disk, encrypted or readable by
    /// nobody else, never for a server.
    ///
    /// # Errors
    /// [`Error::Stream`].
    pub fn write_secret_to(&self, sink: impl Write) -> Result<()> {
        self.keys.write_secret_to(sink)
    }

    /// What the server needs to compute. Nothing in it is secret.
    pub fn evaluation_keys(&self) -> &EvaluationKeys {
        &self.evaluation_keys
    }

    /// One vector of weights.
    pub(super) fn encrypt_vector(
        &self,
        parameters: &Parameters,
        vector: &[Complex64],
        level: Level,
    ) -> Result<HostCiphertext> {
        if !parameters.is_same(&self.bundle.parameters) {
            return Err(Error::ParameterMismatch { op: "PrivateDeployment::encrypt" });
        }
        self.encryptor.encrypt_complex(&[vector.to_vec()], level)
    }

    /// Packs and encrypts samples: a vector a sample, or a vector a feature, in as few ciphertexts as every device can hold: no buffer of
    /// a run is larger than 128 MiB.
    ///
    /// # Errors
    /// As [`super::Packer::pack`].
    pub fn encrypt(&self, samples: &[Vec<f64>]) -> Result<Vec<HostCiphertext>> {
        let ClientBundle { parameters, packer, part, .. } = &self.bundle;
        let encrypt = |part| self.encryptor.encrypt_complex(part, parameters.max_level());
        packer.pack(samples)?.chunks(*part).map(encrypt).collect()
    }

    /// The model's answers for the `samples` samples that were encrypted. For the key owner's eyes.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`]; as [`super::Packer::unpack`].
    pub fn decrypt(&self, answer: &[HostCiphertext], samples: usize) -> Result<Vec<Vec<f64>>> {
        let vectors = answer.iter().map(|part| self.decryptor.decrypt(part)).collect::<Result<Vec<_>>>()?;
        self.bundle.packer.unpack(&vectors.concat(), samples)
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
    pub fn new(deployment: &Deployment, device: &Device, keys: &EvaluationKeys) -> Result<Self> {
        let evaluator = Evaluator::new(&deployment.parameters, device, keys)?;
        let model = deployment.circuit.prepare(&evaluator, deployment.parameters.max_level())?;
        let model = deployment.with_refresh(model, &evaluator)?;
        Ok(Self::of_model(evaluator, model))
    }

    pub(super) fn of_model(evaluator: Evaluator, model: CompiledModel<Evaluator>) -> Self {
        Self { evaluator, model }
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.evaluator.device()
    }

    /// The encrypted answers to encrypted samples.
    ///
    /// # Errors
    /// [`Error::LevelMismatch`] for a ciphertext below the highest level; [`Error::ShapeMismatch`] for other batches than
    /// the packing's; [`Error::ParameterMismatch`]; device failures.
    pub fn run(&self, samples: &[HostCiphertext]) -> Result<Vec<HostCiphertext>> {
        self.run_watched(samples, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::run`], telling `watch` before every step and at the end how far it is; a `Break` from it ends the run.
    ///
    /// # Errors
    /// As [`Self::run`]; [`Error::Cancelled`].
    pub fn run_watched(
        &self,
        samples: &[HostCiphertext],
        watch: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<HostCiphertext>> {
        let x = samples.iter().map(|part| self.evaluator.load(part)).collect::<Result<Vec<_>>>()?;
        self.model.run_watched(&self.evaluator, &x, watch)?.iter().map(Ciphertext::to_host).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Matrix;
    use crate::ml::Layer;

    #[test]
    fn three_modes_have_one_answer() {
        let weights = Matrix::new(2, 3, vec![0.5, -0.25, 1.0, 0.75, 0.0, -0.5]).unwrap();
        let model = Model::from_layers(vec![3], vec![Layer::Dense { weights, bias: vec![0.5, -0.5] }]).unwrap();
        let samples = [vec![1.0, 0.5, -0.25], vec![0.0, -1.0, 0.5]];
        let want = model.predict_clear(&samples).unwrap().concat();
        let (seed, device) = (Seed::from_bytes([1; 32]), Device::cpu());
        for packing in [Packing::Latency, Packing::Batch] {
            let deployment = Deployment::new(&model, packing).unwrap();
            for (mode, off) in [(Mode::Clear, 1e-12), (Mode::Simulate(&seed), 1e-3), (Mode::Encrypted(&device), 1e-3)] {
                let got = deployment.predict(&samples, mode).unwrap().concat();
                assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() < off), "{mode:?}: {got:?}");
            }
            assert!(deployment.predict(&[], Mode::Encrypted(&device)).unwrap().is_empty());
        }
    }

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
