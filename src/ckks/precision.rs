//! How close a result is to what was expected.

use crate::error::{Error, Result};
use num_complex::Complex64;

/// Bits of precision: `-log2` of the error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// From the largest error.
    pub min_bits: f64,
    /// From the mean error.
    pub mean_bits: f64,
}

impl Precision {
    /// Compares vectors slot by slot, real and imaginary parts alike. Real data is for [`Self::of_real`]: imaginary parts
    /// that are zero on both sides would make the mean one bit too good.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other numbers of values, or none.
    pub fn of(expected: &[Complex64], got: &[Complex64]) -> Result<Self> {
        let errors = |(a, b): (&Complex64, &Complex64)| [(a.re - b.re).abs(), (a.im - b.im).abs()];
        check_lengths("Precision::of", expected.len(), got.len())?;
        Ok(Self::from_errors(expected.iter().zip(got).flat_map(errors)))
    }

    /// Compares real numbers one by one.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_real(expected: &[f64], got: &[f64]) -> Result<Self> {
        check_lengths("Precision::of_real", expected.len(), got.len())?;
        Ok(Self::from_errors(expected.iter().zip(got).map(|(a, b)| (a - b).abs())))
    }

    fn from_errors(errors: impl Iterator<Item = f64>) -> Self {
        let (mut largest, mut sum, mut count) = (0f64, 0.0, 0.0);
        for error in errors {
            // A NaN anywhere must not look like precision.
            largest = if error.is_nan() { f64::INFINITY } else { largest.max(error) };
            sum += error;
            count += 1.0;
        }
        Self { min_bits: -largest.log2(), mean_bits: -(sum / count).log2() }
    }
}

fn check_lengths(op: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got && expected > 0 {
        return Ok(());
    }
    Err(Error::ShapeMismatch { op, expected: format!("{expected} values, at least one"), got: format!("{got}") })
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

        let p = Precision::of_real(&[0.0, 1.0], &[0.25, 1.0]).unwrap();
        assert_eq!((p.min_bits, p.mean_bits), (2.0, 3.0));
        assert_eq!(Precision::of_real(&[0.0, 1.0], &[f64::NAN, 1.0]).unwrap().min_bits, f64::NEG_INFINITY);
        assert!(Precision::of_real(&[0.0], &[]).is_err());
        assert!(Precision::of_real(&[], &[]).is_err());
    }
}
