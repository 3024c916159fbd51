//! How samples lie in the slots.

use crate::circuit::check_slots;
use crate::error::{Error, Result};
use num_complex::Complex64;

/// Where a sample's features go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// One sample over the slots, for the quickest answer: vector `s` of the batch is sample `s`, slot `i` holds feature
    /// `i mod P`, where `P` is the number of features rounded up to a power of two. Dense layers rotate.
    Latency,
    /// One slot a sample, for throughput: vector `f` of the batch is feature `f`, slot `s` holds sample `s`. At most
    /// `slots` samples a run; no rotation, hence no rotation keys.
    Batch,
}

/// Lays samples out as the batch of slot vectors that a model takes.
///
/// # Shape
/// `[samples][features]` to `[samples][slots]` ([`Packing::Latency`]) or `[features][slots]` ([`Packing::Batch`]).
/// # Errors
/// [`Error::ShapeMismatch`] for no samples, samples of different lengths or a period that does not divide the slots;
/// [`Error::TooManyValues`] when a sample or the samples do not fit; [`Error::BadValue`] for a number that is not finite,
/// counted through all samples; [`Error::InvalidParameter`] for more slots than the largest ring has.
/// # Example
/// ```
/// use ringlight::ml::{Packing, pack_inputs, unpack_outputs};
///
/// let samples = vec![vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]];
/// let vectors = pack_inputs(&samples, Packing::Latency, 8)?;
/// assert_eq!(vectors[1].iter().map(|z| z.re).collect::<Vec<_>>(), [4.0, 5.0, 6.0, 0.0, 4.0, 5.0, 6.0, 0.0]);
/// let vectors = pack_inputs(&samples, Packing::Batch, 8)?;
/// assert_eq!(vectors[1].iter().map(|z| z.re).collect::<Vec<_>>(), [2.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
/// assert_eq!(unpack_outputs(&vectors, Packing::Batch, 2, 3)?, samples);
/// # Ok::<(), ringlight::Error>(())
/// ```
pub fn pack_inputs(samples: &[Vec<f64>], packing: Packing, slots: usize) -> Result<Vec<Vec<Complex64>>> {
    const OP: &str = "pack_inputs";
    check_slots(slots)?;
    let features = samples.first().map_or(0, Vec::len);
    if features == 0 {
        let (expected, got) = ("at least one sample of at least one feature".into(), "none".into());
        return Err(Error::ShapeMismatch { op: OP, expected, got });
    }
    if let Some(other) = samples.iter().find(|sample| sample.len() != features) {
        let expected = format!("{features} features in every sample");
        return Err(Error::ShapeMismatch { op: OP, expected, got: format!("{}", other.len()) });
    }
    if let Some(index) = samples.iter().flatten().position(|x| !x.is_finite()) {
        return Err(Error::BadValue { index, reason: "not a finite number" });
    }
    let used = if packing == Packing::Latency { features.next_power_of_two() } else { samples.len() };
    if used > slots {
        return Err(Error::TooManyValues { slots, got: used });
    }
    match packing {
        Packing::Latency if !slots.is_multiple_of(used) => {
            let expected = format!("a number of slots that the period {used} divides");
            Err(Error::ShapeMismatch { op: OP, expected, got: format!("{slots} slots") })
        }
        Packing::Latency => Ok(samples.iter().map(|sample| repeat(sample, used, slots)).collect()),
        Packing::Batch => {
            let entry = |f: usize, s: usize| samples.get(s).map_or(Complex64::ZERO, |sample| sample[f].into());
            Ok((0..features).map(|f| (0..slots).map(|s| entry(f, s)).collect()).collect())
        }
    }
}

/// Slot `i` holds `x[i mod period]`, or zero where `x` is shorter than the period.
pub(super) fn repeat(x: &[f64], period: usize, slots: usize) -> Vec<Complex64> {
    (0..slots).map(|i| x.get(i % period).copied().unwrap_or(0.0).into()).collect()
}

/// Reads `outputs` numbers for each of `samples` samples from a model's result; the inverse of [`pack_inputs`].
///
/// # Shape
/// `[samples][slots]` ([`Packing::Latency`]) or `[outputs][slots]` ([`Packing::Batch`]) to `[samples][outputs]`, the real
/// parts.
/// # Errors
/// [`Error::ShapeMismatch`] when there are not as many vectors as that, or one is too short; for no samples or no outputs.
pub fn unpack_outputs(
    vectors: &[Vec<Complex64>],
    packing: Packing,
    samples: usize,
    outputs: usize,
) -> Result<Vec<Vec<f64>>> {
    let (batch, used) = if packing == Packing::Latency { (samples, outputs) } else { (outputs, samples) };
    if samples == 0 || outputs == 0 {
        return Err(Error::ShapeMismatch {
            op: "unpack_outputs",
            expected: "at least one sample and one output".into(),
            got: format!("{samples} samples of {outputs} outputs"),
        });
    }
    if vectors.len() != batch || vectors.iter().any(|vector| vector.len() < used) {
        let shortest = vectors.iter().map(Vec::len).min().unwrap_or(0);
        return Err(Error::ShapeMismatch {
            op: "unpack_outputs",
            expected: format!("{batch} vectors of at least {used} slots"),
            got: format!("{} vectors, the shortest of {shortest}", vectors.len()),
        });
    }
    let entry = |s: usize, o: usize| if packing == Packing::Latency { vectors[s][o].re } else { vectors[o][s].re };
    Ok((0..samples).map(|s| (0..outputs).map(|o| entry(s, o)).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_and_unpacking_are_inverse() {
        let samples: Vec<Vec<f64>> = (0..5).map(|s| (0..7).map(|f| f64::from(10 * s + f)).collect()).collect();
        for packing in [Packing::Latency, Packing::Batch] {
            let vectors = pack_inputs(&samples, packing, 16).unwrap();
            assert!(vectors.iter().all(|vector| vector.len() == 16));
            assert_eq!(unpack_outputs(&vectors, packing, 5, 7).unwrap(), samples);
        }
    }

    #[test]
    fn unfit_samples_are_errors() {
        use Packing::{Batch, Latency};
        let ones = |samples, features| vec![vec![1.0; features]; samples];
        for packing in [Latency, Batch] {
            assert!(matches!(pack_inputs(&[], packing, 8), Err(Error::ShapeMismatch { .. })));
            assert!(matches!(pack_inputs(&ones(2, 0), packing, 8), Err(Error::ShapeMismatch { .. })));
            let ragged = [vec![1.0], vec![1.0, 2.0]];
            assert!(matches!(pack_inputs(&ragged, packing, 8), Err(Error::ShapeMismatch { .. })));
            let bad = [vec![1.0, 2.0], vec![3.0, f64::NAN]];
            assert!(matches!(pack_inputs(&bad, packing, 8), Err(Error::BadValue { index: 3, .. })));
        }
        assert_eq!(pack_inputs(&ones(1, 9), Latency, 8), Err(Error::TooManyValues { slots: 8, got: 16 }));
        assert_eq!(pack_inputs(&ones(9, 1), Batch, 8), Err(Error::TooManyValues { slots: 8, got: 9 }));
        assert!(matches!(pack_inputs(&ones(1, 3), Latency, 6), Err(Error::ShapeMismatch { .. })));
        let vectors = vec![vec![Complex64::ZERO; 4]; 2];
        for (packing, samples, outputs) in
            [(Latency, 3, 4), (Latency, 2, 5), (Batch, 5, 2), (Batch, 4, 3), (Batch, 0, 2)]
        {
            let got = unpack_outputs(&vectors, packing, samples, outputs);
            assert!(matches!(got, Err(Error::ShapeMismatch { .. })));
        }
    }

    #[test]
    fn sizes_beyond_every_ring_are_errors() {
        for packing in [Packing::Latency, Packing::Batch] {
            for slots in [1 << 17, 1 << 60, usize::MAX] {
                let got = pack_inputs(&[vec![1.0]], packing, slots);
                assert!(matches!(got, Err(Error::InvalidParameter { what: "slots", .. })));
            }
            for (samples, outputs) in [(0, 0), (0, usize::MAX), (usize::MAX, 0), (usize::MAX, usize::MAX)] {
                let got = unpack_outputs(&[], packing, samples, outputs);
                assert!(matches!(got, Err(Error::ShapeMismatch { .. })));
            }
        }
    }
}
