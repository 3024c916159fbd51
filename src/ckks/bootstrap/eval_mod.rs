//! Reduction modulo 1 by a sine: a circuit without cryptography.

use super::settings::Bootstrapping;
use crate::circuit::{Evaluator, Polynomial, interpolate};
use crate::error::Result;
use std::f64::consts::PI;

/// Takes `u = x / R`, where `x` lies near an integer of magnitude at most `R - 1/4`, to `amplitude * (x - round(x))`.
///
/// With `w = u - 1 / 4R` the cosine of `2 pi R w / 2^r` comes from its Chebyshev interpolation, which is even, and `r` times
/// `cos 2a = 2 cos^2 a - 1` leads to `cos 2 pi R w = sin 2 pi x`. Amplitudes are squared by each doubling, so the final one is taken care of by the
/// first. An arcsine, if wanted, takes the sine to the angle.
///
/// # Level and scale
/// [`Bootstrapping::eval_mod_levels`] levels.
/// # Source
/// Han and Ki, ePrint 2019/688, section 3 (with Chebyshev's own nodes); arcsine: Lee, Lee, Lee, Kim, No, ePrint 2020/552.
#[derive(Clone, Debug)]
pub(super) struct EvalMod {
    /// `-1 / 4R`: a quarter of a turn.
    shift: f64,
    cosine: Polynomial,
    /// What each doubling subtracts: the square of the amplitude before it.
    squares: Vec<f64>,
    arcsine: Option<Polynomial>,
}

/// How far the interpolated cosine is off in the end, relative to the largest message: its error is enlarged up to 4 times by each
/// doubling.
pub(super) fn cosine_error(settings: &Bootstrapping) -> f64 {
    let turns = settings.half_width() / f64::from(settings.doublings).exp2();
    let cosine = |w: f64| (2.0 * PI * turns * w).cos();
    let Ok(polynomial) = interpolate("cosine", cosine, -1.0, 1.0, settings.degree as usize) else {
        return f64::INFINITY;
    };
    let count = 4 * (settings.degree + 1);
    let points = (0..=count).map(|k| (PI * f64::from(k) / f64::from(count)).cos());
    let error = points.map(|w| (polynomial.at(w) - cosine(w)).abs()).fold(0.0, f64::max);
    error * f64::from(2 * settings.doublings + settings.ratio_bits).exp2() / (2.0 * PI)
}

impl EvalMod {
    pub(super) fn new(settings: &Bootstrapping, amplitude: f64) -> Result<Self> {
        let half_width = settings.half_width();
        // The slope of the sine at 0 is 2 pi.
        let height = amplitude / (2.0 * PI);
        let (last, arcsine) = if settings.arcsine > 1 {
            (1.0, Some(arcsine(settings.arcsine as usize, height)?))
        } else {
            (height, None)
        };
        let steps = f64::from(settings.doublings).exp2();
        let first = last.powf(1.0 / steps);
        let cosine = |w: f64| first * (2.0 * PI * half_width * w / steps).cos();
        let squares = (1..=settings.doublings).map(|k| first.powf(f64::from(k).exp2()));
        Ok(Self {
            shift: -0.25 / half_width,
            cosine: interpolate("cosine", cosine, -1.0, 1.0, settings.degree as usize)?,
            squares: squares.collect(),
            arcsine,
        })
    }

    pub(super) fn evaluate<E: Evaluator>(&self, eval: &E, u: &E::Value) -> Result<E::Value> {
        let mut y = self.cosine.evaluate(eval, &eval.add_scalar(u, self.shift)?)?;
        for &square in &self.squares {
            let squared = eval.square(&y)?;
            y = eval.add_scalar(&eval.add(&squared, &squared)?, -square)?;
        }
        match &self.arcsine {
            Some(arcsine) => arcsine.evaluate(eval, &y),
            None => Ok(y),
        }
    }
}

/// `height` times the Taylor series of the arcsine up to `degree`.
fn arcsine(degree: usize, height: f64) -> Result<Polynomial> {
    let mut coefficients = vec![0.0; degree + 1];
    let mut term = height;
    for k in (1..=degree).step_by(2) {
        coefficients[k] = term / k as f64;
        term *= k as f64 / (k + 1) as f64;
    }
    Polynomial::power(coefficients)
}

#[cfg(test)]
mod tests {
    use super::super::presets::ENCAPSULATED;
    use super::*;
    use crate::circuit::Clear;
    use crate::ckks::Parameters;
    use crate::units::Level;
    use num_complex::Complex64;

    /// Largest error over fractions up to `2^-ratio` beside every integer of the range.
    fn error(settings: &Bootstrapping, amplitude: f64) -> f64 {
        let range = i32::try_from(settings.range).unwrap();
        let width = settings.half_width();
        let small = (-f64::from(settings.ratio_bits)).exp2();
        let points: Vec<(f64, f64)> = (-range..=range)
            .flat_map(|i| [-1.0, -0.3, 0.0, 0.7, 1.0].map(|f| (f64::from(i) + f * small, f * small)))
            .collect();
        let clear = Clear::new(points.len(), Level(20));
        let inputs = points.iter().map(|(x, _)| Complex64::from(x / width)).collect();
        let u = clear.value(&[inputs], Level(20)).unwrap();
        let y = EvalMod::new(settings, amplitude).unwrap().evaluate(&clear, &u).unwrap();
        assert_eq!(clear.level(&y), Level(20 - settings.eval_mod_levels()));
        let errors = y.vectors()[0].iter().zip(&points).map(|(y, (_, want))| (y / amplitude - want).norm() / small);
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn the_cosine_s_error_falls_with_the_degree() {
        let settings = ENCAPSULATED;
        let error = |degree| cosine_error(&Bootstrapping { degree, ..settings });
        assert!(error(56) < 2f64.powi(-27) && error(40) > 2f64.powi(-12), "{} {}", error(56), error(40));
    }

    /// Odd coefficients that are rounding instead of zero would cost products and relinearizations.
    #[test]
    fn the_cosine_s_odd_coefficients_are_exactly_zero() {
        for parameters in [
            Parameters::bootstrap_n15(),
            Parameters::bootstrap_n16(),
            Parameters::bootstrap_n16_dense(),
            Parameters::insecure_bootstrap(),
        ] {
            let settings = *parameters.unwrap().bootstrapping().unwrap();
            let circuit = EvalMod::new(&settings, 1.3).unwrap();
            let coefficients = circuit.cosine.coefficients();
            // The last even ones may be too small to count.
            assert!(coefficients.len() > settings.degree as usize - 4);
            assert!(coefficients.iter().skip(1).step_by(2).all(|&c| c == 0.0), "{coefficients:?}");
        }
    }

    #[test]
    fn multiples_vanish_and_the_rest_stays() {
        let settings = Bootstrapping { ratio_bits: 10, ..ENCAPSULATED };
        // The sine alone: (2 pi f)^2 / 6 relative to f.
        let sine = (2.0 * PI * 2f64.powi(-10)).powi(2) / 6.0;
        let got = error(&settings, 1.3);
        assert!((0.9 * sine..1.1 * sine).contains(&got), "2^{}", got.log2());
        // With an arcsine of degree 3 the next term, 3/40 (2 pi f)^4, and 64-bit rounding.
        assert!(error(&Bootstrapping { arcsine: 3, ..settings }, 1.3) < 2f64.powi(-30));
        let dense = Bootstrapping { range: 512, degree: 96, doublings: 6, arcsine: 5, ..settings };
        assert!(error(&dense, 1.3) < 2f64.powi(-26));
    }
}
