//! Parameter sets that can refresh.

use super::settings::{BootstrapSecret, Bootstrapping};
use crate::ckks::Parameters;
use crate::error::Result;

/// What the presets of encapsulated sparse secrets have in common.
const ENCAPSULATED: Bootstrapping = Bootstrapping {
    slots_to_coefficients: 3,
    coefficients_to_slots: 3,
    transform_bits: 58,
    scale_bits: 59,
    ratio_bits: 14,
    range: 16,
    degree: 56,
    doublings: 2,
    arcsine: 1,
    secret: BootstrapSecret::Encapsulated { weight: 32, special: 2 },
};

impl Parameters {
    /// `N = 2^16`, 11 levels at scale `2^50` of which 8 are left between two refreshes; an ephemeral secret of weight 32.
    ///
    /// # Errors
    /// None in practice; the set is checked like any other.
    pub fn bootstrap_n16() -> Result<Self> {
        Self::builder().log_n(16).levels(11).scale_bits(50).bootstrapping(ENCAPSULATED).build()
    }

    /// A toy that refreshes in a second: **it protects nothing**.
    ///
    /// # Errors
    /// As [`Self::bootstrap_n16`].
    pub fn insecure_bootstrap() -> Result<Self> {
        let settings = Bootstrapping { slots_to_coefficients: 2, coefficients_to_slots: 2, ..ENCAPSULATED };
        Self::builder().log_n(11).levels(4).scale_bits(50).bootstrapping(settings).insecure_build()
    }
}
