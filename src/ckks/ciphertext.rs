//! Ciphertexts: on a device, and on the host for the way between client and server.

use super::parameters::Parameters;
use crate::device::{Basis, Device};
use crate::error::{Error, Result};
use crate::ring::{Evaluation, Ring, RnsPoly};
use crate::rlwe::HostPair;
use crate::rlwe::encrypt::UniformHalf;
use crate::units::{Level, LimbCount};
use sha2::{Digest, Sha256};

/// A batch of encrypted vectors on a device. Immutable; cloning shares the memory.
#[derive(Clone, Debug)]
pub struct Ciphertext {
    pub(super) parameters: Parameters,
    /// `[component][batch]` polynomials.
    pub(super) poly: RnsPoly<Evaluation>,
    pub(super) components: u32,
    pub(super) level: Level,
    pub(super) scale: f64,
}

impl Ciphertext {
    /// Vectors in the batch.
    pub fn batch(&self) -> u32 {
        self.poly.batch() / self.components
    }

    /// Polynomials of each encryption: 2, or 3 after a multiplication without relinearization.
    pub fn components(&self) -> u32 {
        self.components
    }

    /// Rescalings left.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Factor on the slot values.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        self.poly.ring().device()
    }

    /// The parameters it was made under.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Limbs of each polynomial.
    pub fn limbs(&self) -> LimbCount {
        self.poly.limbs()
    }

    /// Brings it to the host. Waits for the device.
    ///
    /// # Errors
    /// Device failures.
    pub fn to_host(&self) -> Result<HostCiphertext> {
        let words = self.poly.download()?;
        let (c0, rest) = words.split_at(words.len() / self.components as usize);
        Ok(HostCiphertext {
            parameters: self.parameters.clone(),
            pair: HostPair {
                limbs: self.poly.limbs(),
                batch: self.batch(),
                c0: c0.to_vec(),
                c1: UniformHalf::Words(rest.to_vec()),
            },
            components: self.components,
            level: self.level,
            scale: self.scale,
        })
    }

    /// A copy on another device, by way of the host.
    ///
    /// # Errors
    /// Device failures.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if self.device().is_same(device) {
            return Ok(self.clone());
        }
        self.to_host()?.to_device(&Ring::new(device, self.parameters.rlwe().tables())?)
    }

    /// The vectors `first .. first + count` of the batch.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] outside the batch.
    pub fn slice(&self, first: u32, count: u32) -> Result<Self> {
        let parts: Vec<_> = (0..self.components)
            .map(|c| self.poly.slice(c * self.batch(), self.batch())?.slice(first, count))
            .collect::<Result<_>>()?;
        self.with_poly(RnsPoly::concat(&parts.iter().collect::<Vec<_>>())?)
    }

    fn with_poly(&self, poly: RnsPoly<Evaluation>) -> Result<Self> {
        Ok(Self { poly, ..self.clone() })
    }
}

/// A batch of encrypted vectors on the host: what a client sends and a server returns.
#[derive(Clone, Debug)]
pub struct HostCiphertext {
    pub(super) parameters: Parameters,
    /// `c0`, and all further components as the second half.
    pub(super) pair: HostPair,
    pub(super) components: u32,
    pub(super) level: Level,
    pub(super) scale: f64,
}

impl HostCiphertext {
    /// Vectors in the batch.
    pub fn batch(&self) -> u32 {
        self.pair.batch
    }

    /// Rescalings left.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Factor on the slot values.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Bytes to store or send; half as many where the uniform half is a seed.
    pub fn bytes(&self) -> usize {
        self.pair.bytes()
    }

    /// SHA-256 of level, scale and every word, in hexadecimal: equal for equal ciphertexts.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for field in [self.components, self.pair.batch, self.pair.limbs.0, self.level.0] {
            hash.update(field.to_le_bytes());
        }
        hash.update(self.scale.to_le_bytes());
        for words in [&self.pair.c0, &self.pair.expand_c1(self.parameters.rlwe(), &self.basis())] {
            for block in words.chunks(4096) {
                let bytes: Vec<u8> = block.iter().flat_map(|w| w.to_le_bytes()).collect();
                hash.update(&bytes);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The primes of its limbs.
    pub(super) fn basis(&self) -> Basis {
        self.parameters.rlwe().basis(self.pair.limbs)
    }

    pub(super) fn to_device(&self, ring: &Ring) -> Result<Ciphertext> {
        Ok(Ciphertext {
            parameters: self.parameters.clone(),
            poly: self.pair.load(ring, &self.basis(), self.components)?,
            components: self.components,
            level: self.level,
            scale: self.scale,
        })
    }

    pub(super) fn check_parameters(&self, op: &'static str, parameters: &Parameters) -> Result<()> {
        if self.parameters.is_same(parameters) { Ok(()) } else { Err(Error::ParameterMismatch { op }) }
    }
}
