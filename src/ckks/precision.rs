//! How close a result is to what was expected.

use crate::error::{Error, Result};
use num_complex::Complex64;

/// Bits of precision: `-log2` of the error, over real and imaginary parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// From the largest error.
    pub min_bits: f64,
    /// From the mean error.
    pub mean_bits: f64,
}

impl Precision {
    /// Compares vectors slot by slot.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other numbers of values, or none.
    pub fn of(expected: &[Complex64], got: &[Complex64]) -> Result<Self> {
        if expected.len() != got.len() || expected.is_empty() {
            return Err(Error::ShapeMismatch {
                op: "Precision::of",
                expected: format!("{} values, at least one", expected.len()),
                got: format!("{}", got.len()),
            });
        }
        let errors = expected.iter().zip(got).flat_map(|(a, b)| [(a.re - b.re).abs(), (a.im - b.im).abs()]);
        let (mut largest, mut sum, mut count) = (0f64, 0.0, 0.0);
        for error in errors {
            // A NaN anywhere must not look like precision.
            largest = if error.is_nan() { f64::INFINITY } else { largest.max(error) };
            sum += error;
            count += 1.0;
        }
        Ok(Self { min_bits: -largest.log2(), mean_bits: -(sum / count).log2() })
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} bits at worst, {:.1} on average", self.min_bits, self.mean_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_bits_and_sees_nan() {
        let zero = [Complex64::ZERO; 2];
        let near = [Complex64::new(0.25, 0.0), Complex64::ZERO];
        let p = Precision::of(&zero, &near).unwrap();
        assert_eq!((p.min_bits, p.mean_bits), (2.0, 4.0));
        let bad = [Complex64::new(f64::NAN, 0.0), Complex64::ZERO];
        assert_eq!(Precision::of(&zero, &bad).unwrap().min_bits, f64::NEG_INFINITY);
        assert!(Precision::of(&zero, &near[..1]).is_err());
    }
}
