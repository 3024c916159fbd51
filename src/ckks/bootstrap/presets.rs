//! Parameter sets that can refresh.

use super::settings::{BootstrapSecret, Bootstrapping};
use crate::ckks::Parameters;
use crate::error::Result;

/// What the presets with an ephemeral sparse secret have in common. Of weight 32 it wraps at most 16 times, whatever happens.
pub(super) const ENCAPSULATED: Bootstrapping = Bootstrapping {
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
    /// `N = 2^15`, 4 levels at scale `2^45` of which 2 are left between two refreshes; an ephemeral secret of weight 32.
    ///
    /// # Errors
    /// None in practice; the set is checked like any other.
    pub fn bootstrap_n15() -> Result<Self> {
        let settings = Bootstrapping {
            slots_to_coefficients: 2,
            coefficients_to_slots: 2,
            transform_bits: 51,
            scale_bits: 51,
            ratio_bits: 12,
            ..ENCAPSULATED
        };
        Self::builder().log_n(15).levels(4).scale_bits(45).bootstrapping(settings).build()
    }

    /// `N = 2^16`, 11 levels at scale `2^50` of which 8 are left between two refreshes; an ephemeral secret of weight 32.
    ///
    /// # Errors
    /// As [`Self::bootstrap_n15`].
    pub fn bootstrap_n16() -> Result<Self> {
        Self::builder().log_n(16).levels(11).scale_bits(50).bootstrapping(ENCAPSULATED).build()
    }

    /// `N = 2^16`, 10 levels at scale `2^50` of which 7 are left between two refreshes; no sparse secret anywhere.
    ///
    /// # Errors
    /// As [`Self::bootstrap_n15`].
    pub fn bootstrap_n16_dense() -> Result<Self> {
        let settings = Bootstrapping {
            ratio_bits: 12,
            range: 640,
            degree: 110,
            doublings: 6,
            secret: BootstrapSecret::Dense,
            ..ENCAPSULATED
        };
        Self::builder().log_n(16).levels(10).scale_bits(50).bootstrapping(settings).build()
    }

    /// A toy that refreshes in a second: **it protects nothing**.
    ///
    /// # Errors
    /// As [`Self::bootstrap_n15`].
    pub fn insecure_bootstrap() -> Result<Self> {
        let settings = Bootstrapping { slots_to_coefficients: 2, coefficients_to_slots: 2, ..ENCAPSULATED };
        Self::builder().log_n(11).levels(4).scale_bits(50).bootstrapping(settings).insecure_build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::{Bootstrapper, Security};
    use crate::units::LogN;

    #[test]
    fn presets_are_in_the_table_and_do_not_fail() {
        for (parameters, left, failure) in [
            (Parameters::bootstrap_n15(), 2, f64::NEG_INFINITY),
            (Parameters::bootstrap_n16(), 8, f64::NEG_INFINITY),
            (Parameters::bootstrap_n16_dense(), 7, -45.0),
        ] {
            let p = parameters.unwrap();
            assert!(p.security() >= Some(Security::Bits128), "{p}");
            let settings = p.bootstrapping().unwrap();
            assert_eq!(p.max_level().0 - settings.slots_to_coefficients, left, "{p}");
            assert!(settings.failure_log2(p.log_n()) <= failure, "{p}: {}", settings.failure_log2(p.log_n()));
            assert!(p.log_n() >= LogN::new(15).unwrap());
            let dense = settings.secret == BootstrapSecret::Dense;
            assert_eq!(p.encapsulation().is_none(), dense);
        }
        let toy = Parameters::insecure_bootstrap().unwrap();
        assert_eq!((toy.security(), Bootstrapper::new(&toy).unwrap().levels_left()), (None, 2));
    }
}
