//! The parts of a deployment as bytes: the client's, without weights, and the server's.
//!
//! # Layout
//! Parameters, as [`Parameters::write_to`] writes them, then one object of the frame of [`crate::rlwe::wire`]. Its payload is a `u32`, the
//! version of what follows, and that in postcard's format. Weights are a compiled model's own and not a layout for others to rely
//! on: a release reads what it wrote.
//!
//! # Bytes from outside are hostile
//! As in [`crate::rlwe::wire`]. What postcard reads may take [`GROWTH`] times the bytes that it was read from: so many count against
//! the limits. Everything read is checked as if it had been made here: matrices, polynomials, places, shapes and the order of steps.

use super::compile::ModelCircuit;
use super::deploy::{Client, Deployment};
use super::lower::Steps;
use super::packing::{Packer, Packing};
use super::refresh::PlannedRefresh;
use crate::ckks::{KeyRequest, Limits, Parameters};
use crate::error::Result;
use crate::math::Seed;
use crate::rlwe::wire::{Kind, Reader, Writer};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::sync::Arc;

/// Version of the payloads.
const LAYOUT: u32 = 1;

/// Bytes of memory for a byte of a payload: a summand of 6 bytes makes 64 in a vector that doubles, and some more.
const GROWTH: u64 = 32;

/// Most keys that a bundle may ask a client for.
const MAX_KEYS: usize = 4096;

/// What a client needs to know of a deployment: parameters, how samples and answers lie in the slots, what is left to do with answers,
/// which keys to make. Nothing of the weights.
///
/// # Example
/// ```
/// use ringlight::circuit::Matrix;
/// use ringlight::ckks::Limits;
/// use ringlight::ml::{ClientBundle, Deployment, Layer, Model, Packing, Server};
/// use ringlight::Device;
///
/// let weights = Matrix::new(1, 2, vec![1.0, 2.0])?;
/// let model = Model::from_layers(vec![2], vec![Layer::Dense { weights, bias: vec![0.5] }])?; // x + 2y + 0.5
/// let deployment = Deployment::new(&model, Packing::Latency)?;
/// let (mut for_client, mut for_server) = (vec![], vec![]);
/// deployment.client_bundle().write_to(&mut for_client)?;
/// deployment.write_to(&mut for_server)?;
///
/// let limits = Limits::bytes(1 << 30); // the client, elsewhere
/// let client = ClientBundle::read_from(&for_client[..], &limits)?.client()?;
/// let request = client.encrypt(&[vec![0.25, 1.0]])?;
///
/// let deployment = Deployment::read_from(&for_server[..], &limits)?; // the server, elsewhere
/// let server = Server::new(&deployment, &Device::cpu(), client.evaluation_keys())?;
/// let answer = client.decrypt(&server.run(&request)?, 1)?;
/// assert!((answer[0][0] - 2.75).abs() < 1e-3);
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientBundle {
    pub(super) parameters: Parameters,
    pub(super) packer: Packer,
    /// Most vectors of a ciphertext.
    pub(super) part: usize,
    pub(super) keys: KeyRequest,
}

/// The payload of a [`ClientBundle`].
#[derive(Serialize, Deserialize)]
struct ClientPart {
    packer: Packer,
    part: usize,
    keys: KeyRequest,
}

/// The payload of a [`Deployment`].
#[derive(Serialize, Deserialize)]
struct ServerPart {
    steps: Steps,
    packing: Packing,
}

impl ClientBundle {
    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What lays samples out and reads answers.
    pub fn packer(&self) -> &Packer {
        &self.packer
    }

    /// The keys that the server asks for.
    pub fn key_request(&self) -> &KeyRequest {
        &self.keys
    }

    /// A client with a fresh secret.
    ///
    /// # Errors
    /// [`crate::Error::NoEntropy`]; [`crate::Error::LevelTooHigh`] for keys above the highest level.
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
    /// As [`Self::client`].
    pub fn client_from_seed(&self, seed: &Seed) -> Result<Client> {
        Client::new(self, seed)
    }

    /// Writes everything.
    ///
    /// # Errors
    /// [`crate::Error::Stream`].
    pub fn write_to(&self, sink: impl Write) -> Result<()> {
        let (packer, part, keys) = (self.packer.clone(), self.part, self.keys.clone());
        write(sink, Kind::ClientBundle, &self.parameters, &ClientPart { packer, part, keys })
    }

    /// Reads what [`Self::write_to`] wrote.
    ///
    /// # Errors
    /// [`crate::Error::BadBytes`], naming the field; [`crate::Error::Stream`].
    pub fn read_from(mut source: impl Read, limits: &Limits) -> Result<Self> {
        let parameters = Parameters::read_from(&mut source, limits)?;
        let ClientPart { packer, part, keys } = read(source, Kind::ClientBundle, &parameters, limits)?;
        let bad = |field, reason| Kind::ClientBundle.bad(field, reason);
        packer.check().map_err(|reason| bad("packing", reason))?;
        if packer.slots != parameters.slots() || part == 0 {
            return Err(bad("packing", format!("{} slots, the parameters have {}", packer.slots, parameters.slots())));
        }
        if keys.count() > MAX_KEYS {
            return Err(bad("keys", format!("{} are asked for; {MAX_KEYS} at most", keys.count())));
        }
        Ok(Self { parameters, packer, part, keys })
    }
}

/// A deployment travels to the server: parameters and the compiled model, weights in the clear.
impl Deployment {
    /// Writes everything.
    ///
    /// # Errors
    /// [`crate::Error::Stream`].
    pub fn write_to(&self, sink: impl Write) -> Result<()> {
        let circuit = self.circuit();
        let part = ServerPart { steps: circuit.list().clone(), packing: circuit.packing() };
        write(sink, Kind::ServerBundle, self.parameters(), &part)
    }

    /// Reads what [`Self::write_to`] wrote.
    ///
    /// # Cost
    /// The layouts are chosen again: a second or so for a convolutional network.
    /// # Errors
    /// [`crate::Error::BadBytes`], naming the field; [`crate::Error::Stream`]; as [`Self::with_parameters`].
    pub fn read_from(mut source: impl Read, limits: &Limits) -> Result<Self> {
        let parameters = Parameters::read_from(&mut source, limits)?;
        let ServerPart { steps, packing } = read(source, Kind::ServerBundle, &parameters, limits)?;
        steps.check().map_err(|reason| Kind::ServerBundle.bad("model", reason))?;
        let refresh = steps.refreshes().then(|| PlannedRefresh::of_parameters(&parameters)).map(|refresh| {
            refresh.ok_or_else(|| Kind::ServerBundle.bad("model", "values are refreshed, which the parameters cannot"))
        });
        let circuit = ModelCircuit::of_steps(Arc::new(steps), refresh.transpose()?, packing, parameters.slots())?;
        Self::of_circuit(circuit, parameters)
    }
}

fn write(mut sink: impl Write, kind: Kind, parameters: &Parameters, part: &impl Serialize) -> Result<()> {
    parameters.write_to(&mut sink)?;
    let payload = postcard::to_stdvec(part).map_err(|error| kind.bad("payload", error.to_string()))?;
    let mut writer = Writer::open(&mut sink, kind, parameters.fingerprint(), 4 + payload.len() as u64)?;
    writer.u32(LAYOUT)?;
    writer.bytes(&payload)?;
    writer.close();
    Ok(())
}

fn read<T: for<'a> Deserialize<'a>>(
    mut source: impl Read,
    kind: Kind,
    parameters: &Parameters,
    limits: &Limits,
) -> Result<T> {
    let mut reader = Reader::open(&mut source, kind, limits)?;
    reader.made_under(parameters.fingerprint())?;
    let layout = reader.u32("layout")?;
    if layout != LAYOUT {
        let reason = format!("{layout}, this release reads {LAYOUT}; compile the model again with this release");
        return Err(reader.bad("layout", reason));
    }
    reader.charge("payload", reader.left().saturating_mul(GROWTH))?;
    let payload = reader.rest("payload")?;
    reader.close()?;
    let (part, left) = postcard::take_from_bytes(&payload).map_err(|error| kind.bad("payload", error.to_string()))?;
    if left.is_empty() { Ok(part) } else { Err(kind.bad("payload", format!("{} bytes too many", left.len()))) }
}
