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
use crate::ckks::{KeyGenerator, KeyRequest, Limits, Parameters};
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

/// Bytes of memory for an entry of a value: its place in some layouts that are tried.
const ENTRY_BYTES: u64 = 64;

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
    /// Most vectors of a ciphertext.
    part: usize,
    /// Of [`ModelCircuit::layout_digest`]: layouts are chosen again where it is read, and must be those of the client.
    layouts: [u8; 32],
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
        Client::of_keys(self, KeyGenerator::from_seed(&self.parameters, seed))
    }

    /// A client with the secret that [`Client::write_secret_to`] wrote, and fresh randomness: it reads what was encrypted for that secret, and
    /// its weights ([`super::EncryptedModel`]) stay of use. Evaluation keys are made anew. For the owner's own disk.
    ///
    /// # Errors
    /// As [`Self::client`]; [`crate::Error::BadBytes`], [`crate::Error::Stream`].
    pub fn client_with_secret(&self, source: impl Read, limits: &Limits) -> Result<Client> {
        Client::of_keys(self, KeyGenerator::read_secret_from(source, &self.parameters, limits)?)
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
        keys.check(&parameters).map_err(|error| bad("keys", error.to_string()))?;
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
        self.write_as(Kind::ServerBundle, sink)
    }

    /// Reads what [`Self::write_to`] wrote.
    ///
    /// # Cost
    /// The layouts are chosen again: a second or so for a convolutional network. The diagonals of its largest linear map count against
    /// the limits.
    /// # Errors
    /// [`crate::Error::BadBytes`], naming the field; [`crate::Error::Stream`]; as [`Self::with_parameters`].
    pub fn read_from(source: impl Read, limits: &Limits) -> Result<Self> {
        Self::read_as(Kind::ServerBundle, source, limits)
    }

    pub(super) fn write_as(&self, kind: Kind, sink: impl Write) -> Result<()> {
        let circuit = self.circuit();
        let layouts = circuit.layout_digest(self.plan());
        let part =
            ServerPart { steps: circuit.list().clone(), packing: circuit.packing(), part: circuit.part(), layouts };
        write(sink, kind, self.parameters(), &part)
    }

    pub(super) fn read_as(kind: Kind, mut source: impl Read, limits: &Limits) -> Result<Self> {
        let parameters = Parameters::read_from(&mut source, limits)?;
        let ServerPart { steps, packing, part, layouts } = read(source, kind, &parameters, limits)?;
        let bad = |reason: String| kind.bad("model", reason);
        steps.check(limits.bytes / ENTRY_BYTES).map_err(bad)?;
        let refresh = steps.refreshes().then(|| PlannedRefresh::of_parameters(&parameters));
        let refresh = refresh
            .map(|refresh| refresh.ok_or_else(|| bad("values are refreshed, which the parameters cannot".into())));
        let circuit = ModelCircuit::of_steps(Arc::new(steps), refresh.transpose()?, packing, parameters.slots())?;
        let diagonals = circuit.diagonal_bytes()?;
        if diagonals > limits.bytes {
            return Err(bad(format!("a linear map takes {diagonals} bytes, the limits allow {}", limits.bytes)));
        }
        let read = Self::of_circuit(circuit.in_parts_of(part), parameters)?;
        if read.circuit().layout_digest(read.plan()) != layouts {
            let reason = "values lie elsewhere than where it was written; compile the model again with this release";
            return Err(kind.bad("layouts", reason));
        }
        Ok(read)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::SparseMatrix;
    use crate::error::Error;
    use crate::ml::lower::{Operation, Step};

    /// What is read of a few bytes that ask for much.
    fn read(steps: Vec<Step>, input: Vec<usize>, packing: Packing, limits: &Limits) -> Result<Deployment> {
        let parameters = Parameters::builder().levels(2).build().unwrap();
        let steps = Steps { input, steps, end: None };
        let mut bytes = vec![];
        let part = ServerPart { steps, packing, part: 1, layouts: [0; 32] };
        write(&mut bytes, Kind::ServerBundle, &parameters, &part).unwrap();
        assert!(bytes.len() < 1 << 18, "{} bytes", bytes.len());
        Deployment::read_from(&bytes[..], limits)
    }

    fn step(operation: Operation, shape: Vec<usize>) -> Step {
        Step { name: String::new(), operation, shape, bound: f64::INFINITY }
    }

    #[test]
    fn few_bytes_do_not_take_much_memory_or_time() {
        let limits = Limits::bytes(1 << 26);
        let refused = |read: Result<Deployment>, word: &str| match read {
            Err(Error::BadBytes { field: "model", reason, .. }) => assert!(reason.contains(word), "{reason}"),
            other => panic!("{other:?}"),
        };
        // Many large values.
        let squares = (0..100).map(|value| step(Operation::Square(value), vec![1 << 24])).collect();
        refused(read(squares, vec![1 << 24], Packing::Batch, &limits), "entries in all");
        // Every diagonal of a large matrix, with one entry each.
        let size = 1 << 11;
        let entries = (0..size).map(|row| vec![(2 * row % size, 1.0)]).collect();
        let matrix = SparseMatrix::from_rows(size, entries).unwrap();
        let map = Operation::Affine { terms: vec![(0, matrix)], bias: vec![0.0; size] };
        refused(read(vec![step(map, vec![size])], vec![size], Packing::Latency, &Limits::bytes(1 << 22)), "linear map");
        // Many summands.
        let one = SparseMatrix::diagonal(&[0.5]).unwrap();
        let sum = Operation::Affine { terms: vec![(0, one); 10_000], bias: vec![0.0] };
        refused(read(vec![step(sum, vec![1])], vec![1], Packing::Latency, &limits), "summands");
    }
}
