//! Polynomials over residue number systems, on a device.
//!
//! A [`RnsPoly`] is a batch of polynomials modulo several primes whose domain is a type: [`Coefficient`] or
//! [`Evaluation`]. Values are immutable, so that clones and windows share memory; every operation writes fresh memory from
//! the device's pool. All operations are recorded, none waits.
//!
//! Non-goals: secrets. Polynomials here are ciphertext and key material that anybody may see.

mod poly;

pub use poly::{Coefficient, Domain, Evaluation, RnsPoly};

use crate::device::{Basis, Buffer, Device, LoadedRing, Op};
use crate::error::Result;
use crate::math::RingTables;
use crate::units::{LogN, Shape};
use std::sync::Arc;

/// A ring on a device. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Ring {
    device: Device,
    loaded: LoadedRing,
}

impl Ring {
    /// Loads a ring's tables onto a device.
    ///
    /// # Errors
    /// Out of memory or a failed device.
    pub fn new(device: &Device, tables: &Arc<RingTables>) -> Result<Self> {
        Ok(Self { device: device.clone(), loaded: device.load_ring(tables)? })
    }

    /// Where polynomials of this ring live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Primes and roots.
    pub fn tables(&self) -> &Arc<RingTables> {
        self.loaded.tables()
    }

    /// Dimension.
    pub fn log_n(&self) -> LogN {
        self.loaded.tables().log_n()
    }

    /// Whether both are the same ring on the same device.
    pub fn is_same(&self, other: &Self) -> bool {
        self.device.is_same(&other.device) && self.tables() == other.tables()
    }

    pub(crate) fn alloc(&self, polys: u32, basis: &Basis) -> Result<Buffer> {
        self.device.alloc(Shape { batch: polys, limbs: basis.limbs(), log_n: self.log_n().get() })
    }

    pub(crate) fn record(&self, op: Op) -> Result<()> {
        self.device.record(&self.loaded, op)
    }

    /// `value mod q` for every prime of the basis.
    pub(crate) fn residues(&self, value: i128, basis: &Basis) -> Vec<u32> {
        basis.primes().iter().map(|&p| self.tables().primes()[p as usize].modulus().reduce_signed(value)).collect()
    }
}
