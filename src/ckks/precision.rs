//! How close a result is to what was expected.

use crate::error::{Error, Result};
use num_complex::Complex64;
use std::fmt;

/// Bits of precision: `-log2` of the error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bits {
    /// From the largest error.
    pub min: f64,
    /// From the mean error.
    pub mean: f64,
    /// From the median error, which a few bad slots do not move.
    pub median: f64,
}

/// A precision report: real parts, imaginary parts, and both together.
///
/// `{}` prints one line, `{:#}` a table.
///
/// # Example
/// ```
/// use ringlight::ckks::Precision;
///
/// let report = Precision::of_real(&[1.0, 2.0, 3.0], &[1.0 + 0.5f64.powi(10), 2.0, 3.0 - 0.5f64.powi(12)])?;
/// assert_eq!((report.min_bits, report.median_bits), (10.0, 12.0));
/// println!("{report:#}");
/// # Ok::<(), ringlight::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// From the largest error of any part.
    pub min_bits: f64,
    /// From the mean error of all parts.
    pub mean_bits: f64,
    /// From the median error of all parts.
    pub median_bits: f64,
    /// Of the real parts.
    pub real: Bits,
    /// Of the imaginary parts; `None` for a comparison of real numbers.
    pub imaginary: Option<Bits>,
}

impl Precision {
    /// Compares vectors slot by slot, real and imaginary parts alike. Real data is for [`Self::of_real`]: imaginary parts
    /// that are zero on both sides would make the mean one bit too good.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other numbers of values, or none.
    pub fn of(expected: &[Complex64], got: &[Complex64]) -> Result<Self> {
        check_lengths("Precision::of", expected.len(), got.len())?;
        let pairs = || expected.iter().zip(got);
        let mut real: Vec<f64> = pairs().map(|(a, b)| (a.re - b.re).abs()).collect();
        let mut imaginary: Vec<f64> = pairs().map(|(a, b)| (a.im - b.im).abs()).collect();
        let mut both = [real.as_slice(), &imaginary].concat();
        Ok(Self::new(Bits::of(&mut both), Bits::of(&mut real), Some(Bits::of(&mut imaginary))))
    }

    /// Compares real numbers one by one.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_real(expected: &[f64], got: &[f64]) -> Result<Self> {
        check_lengths("Precision::of_real", expected.len(), got.len())?;
        let mut errors: Vec<f64> = expected.iter().zip(got).map(|(a, b)| (a - b).abs()).collect();
        let real = Bits::of(&mut errors);
        Ok(Self::new(real, real, None))
    }

    fn new(both: Bits, real: Bits, imaginary: Option<Bits>) -> Self {
        Self { min_bits: both.min, mean_bits: both.mean, median_bits: both.median, real, imaginary }
    }
}

impl Bits {
    /// From absolute errors, at least one. They are sorted on the way.
    fn of(errors: &mut [f64]) -> Self {
        // A NaN anywhere must not look like precision.
        errors.iter_mut().filter(|e| e.is_nan()).for_each(|e| *e = f64::INFINITY);
        errors.sort_unstable_by(f64::total_cmp);
        let half = errors.len() / 2;
        let median = if errors.len() % 2 == 1 { errors[half] } else { f64::midpoint(errors[half - 1], errors[half]) };
        Self {
            min: -errors[errors.len() - 1].log2(),
            mean: -(errors.iter().sum::<f64>() / errors.len() as f64).log2(),
            median: -median.log2(),
        }
    }
}

fn check_lengths(op: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got && expected > 0 {
        return Ok(());
    }
    Err(Error::ShapeMismatch { op, expected: format!("{expected} values, at least one"), got: format!("{got}") })
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return write!(
                f,
                "{:.1} bits at worst, {:.1} on average, {:.1} in the median",
                self.min_bits, self.mean_bits, self.median_bits
            );
        }
        let both = Bits { min: self.min_bits, mean: self.mean_bits, median: self.median_bits };
        write!(f, "bits of precision    minimum     mean   median")?;
        let rows = [("real parts", Some(self.real)), ("imaginary parts", self.imaginary)];
        let last = self.imaginary.map(|_| ("both", Some(both)));
        for (name, bits) in rows.into_iter().chain(last) {
            if let Some(Bits { min, mean, median }) = bits {
                write!(f, "\n{name:<20} {min:>7.1} {mean:>8.1} {median:>8.1}")?;
            }
        }
        Ok(())
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
        assert_eq!((p.min_bits, p.mean_bits, p.median_bits), (2.0, 4.0, f64::INFINITY));
        assert_eq!(p.real, Bits { min: 2.0, mean: 3.0, median: 3.0 });
        assert_eq!(p.imaginary.unwrap().min, f64::INFINITY);
        let bad = [Complex64::new(f64::NAN, 0.0), Complex64::ZERO];
        let p = Precision::of(&zero, &bad).unwrap();
        assert_eq!((p.min_bits, p.mean_bits), (f64::NEG_INFINITY, f64::NEG_INFINITY));
        assert!(Precision::of(&zero, &near[..1]).is_err());

        let p = Precision::of_real(&[0.0, 1.0], &[0.25, 1.0]).unwrap();
        assert_eq!((p.min_bits, p.mean_bits, p.imaginary), (2.0, 3.0, None));
        assert_eq!(Precision::of_real(&[0.0, 1.0], &[f64::NAN, 1.0]).unwrap().min_bits, f64::NEG_INFINITY);
        assert!(Precision::of_real(&[0.0], &[]).is_err());
        assert!(Precision::of_real(&[], &[]).is_err());
    }

    #[test]
    fn the_parts_are_kept_apart_and_printed_apart() {
        let got: Vec<_> = (0..5).map(|k| Complex64::new(0.5f64.powi(8 + k), -0.5f64.powi(3 + k))).collect();
        let p = Precision::of(&[Complex64::ZERO; 5], &got).unwrap();
        let imaginary = p.imaginary.unwrap();
        assert_eq!((p.real.min, p.real.median), (8.0, 10.0));
        assert_eq!((imaginary.min, imaginary.median), (3.0, 5.0));
        // All ten errors, 2^-3 to 2^-12: the median lies between 2^-7 and 2^-8.
        assert_eq!((p.min_bits, p.median_bits), (3.0, -(1.5 * 0.5f64.powi(8)).log2()));
        let sum: f64 = (3..=12).map(|k| 0.5f64.powi(k)).sum();
        assert!((p.mean_bits + (sum / 10.0).log2()).abs() < 1e-12);
        let table = format!("{p:#}");
        assert_eq!(table.lines().count(), 4);
        assert!(table.contains("real parts               8.0      9.4     10.0"), "{table}");
        assert_eq!(format!("{:#}", Precision::of_real(&[0.0], &[0.5]).unwrap()).lines().count(), 2);
    }
}
