//! The primes of a modulus chain, level by level.
//!
//! From the bottom up: the *base*, whose product `q_0` carries level 0; the *application's* levels, at the wanted scale; and for
//! bootstrapping the levels of EvalMod and, at the top, those of CoeffToSlot. Within a segment the primes of a level are those nearest to
//! `scale^2 / nominal`, so that the next scale `scale^2 / q` comes back to the nominal one and no error builds up.

use super::bootstrap::Bootstrapping;
use super::parameters::Builder;
use crate::error::{Error, Result};
use crate::math::{Modulus, ntt_primes_below, ntt_primes_near};
use crate::units::{LimbCount, LogN};

/// The modulus chain, lowest limbs first.
pub(super) struct Chain {
    pub(super) moduli: Vec<u32>,
    pub(super) limbs_at: Vec<LimbCount>,
    pub(super) scale_at: Vec<f64>,
}

/// Neighbouring levels of one nominal scale, the highest first.
struct Segment {
    levels: Vec<Vec<u32>>,
    /// One more than the levels: the scale above each level's primes, then the scale below them all.
    scales: Vec<f64>,
}

/// Hands out primes, each once.
struct Primes {
    log_n: LogN,
    used: Vec<u32>,
}

impl Primes {
    fn none(&self, bits: f64) -> Error {
        Error::NoPrimes { log_n: self.log_n.get(), bits }
    }

    /// The free prime nearest to `target`, at most half a bit away.
    fn nearest(&self, target: f64, but: Option<u32>) -> Result<u32> {
        let mut free = ntt_primes_near(target, self.log_n).filter(|q| !self.used.contains(q) && Some(*q) != but);
        free.next().filter(|&q| (f64::from(q) / target).log2().abs() < 0.5).ok_or(self.none(target.log2()))
    }

    /// One prime for `target`, or two whose product comes near it: of two, the second makes up for the first.
    fn level(&mut self, target: f64, limbs: u32) -> Result<Vec<u32>> {
        let found = if limbs == 1 { vec![self.nearest(target, None)?] } else { self.pair(target)? };
        self.used.extend(&found);
        Ok(found)
    }

    fn pair(&self, target: f64) -> Result<Vec<u32>> {
        let mut best: Option<(f64, Vec<u32>)> = None;
        for first in ntt_primes_near(target.sqrt(), self.log_n).filter(|q| !self.used.contains(q)).take(16) {
            let Ok(second) = self.nearest(target / f64::from(first), Some(first)) else { continue };
            let off = (level_modulus(&[first, second]) / target).log2().abs();
            if best.as_ref().is_none_or(|(least, _)| off < *least) {
                best = Some((off, vec![first, second]));
            }
        }
        best.map(|(_, pair)| pair).ok_or(self.none(target.log2() / 2.0))
    }

    /// `levels` levels whose scales stay at `nominal`.
    fn segment(&mut self, levels: u32, nominal: f64, limbs: u32) -> Result<Segment> {
        let mut segment = Segment { levels: Vec::new(), scales: vec![nominal] };
        let mut scale = nominal;
        for _ in 0..levels {
            let primes = self.level(scale * scale / nominal, limbs)?;
            scale = scale * scale / level_modulus(&primes);
            segment.scales.push(scale);
            segment.levels.push(primes);
        }
        Ok(segment)
    }

    /// Primes of about `bits` together.
    fn base(&mut self, bits: f64) -> Result<Vec<u32>> {
        let limb_bits = (bits / (bits / 29.9).ceil()).max(f64::from(self.log_n.get() + 8));
        let mut base: Vec<u32> = Vec::new();
        while base.iter().map(|&q| f64::from(q).log2()).sum::<f64>() < bits - 0.5 {
            // Small primes may be used up: larger ones serve as well.
            let larger = (0..8).map(|extra| (limb_bits + f64::from(extra)).min(29.9));
            let found = larger.map(|bits| self.nearest(bits.exp2(), None)).find(Result::is_ok);
            base.push(found.ok_or(self.none(limb_bits))??);
            self.used.extend(base.last());
        }
        Ok(base)
    }
}

/// What a chain with more levels than any ring has is refused for.
pub(crate) const TOO_LONG: &str = "levels (at most 200) or headroom_bits (2 to 60)";

impl Chain {
    /// Primes for what the builder asks, each segment from its top level down.
    pub(super) fn find(wanted: &Builder, log_n: LogN) -> Result<Self> {
        let bits = wanted.scale_bits;
        let limbs = limbs_a_level(bits)?;
        if wanted.levels > 200 || !(2..=60).contains(&wanted.headroom_bits) {
            let reason = format!("{} levels, {} bits of headroom", wanted.levels, wanted.headroom_bits);
            return Err(Error::InvalidParameter { what: TOO_LONG, reason });
        }
        let mut primes = Primes { log_n, used: Vec::new() };
        // No prime lies above 2^30: a scale next to it must be a little lower for its chain to have primes on both sides.
        let nominal = if bits == 30 {
            let ceiling = ntt_primes_below(Modulus::LIMIT, log_n).nth(2 * wanted.levels as usize + 2);
            f64::from(ceiling.ok_or(primes.none(30.0))?)
        } else {
            f64::from(bits).exp2()
        };
        let application = primes.segment(wanted.levels, nominal, limbs)?;
        let mut chain = match &wanted.bootstrapping {
            None => Self::over_base(primes.base(f64::from(bits + wanted.headroom_bits))?, &application),
            Some(b) => {
                b.check(wanted.levels, bits)?;
                Self::over_base(primes.base(f64::from(b.scale_bits))?, &application)
            }
        };
        chain.push(&application.levels);
        if let Some(b) = &wanted.bootstrapping {
            chain.push_bootstrapping(b, &mut primes)?;
        }
        chain.check(wanted.levels, bits, wanted.bootstrapping.as_ref())?;
        Ok(chain)
    }

    /// Refuses a chain, built or read, whose scales are not those that rescaling makes of its primes.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`].
    pub(super) fn check(&self, levels: u32, scale_bits: u32, bootstrapping: Option<&Bootstrapping>) -> Result<()> {
        let follows = |level: usize, want: f64| {
            let scale = self.scale_at[level];
            if (scale / want - 1.0).abs() < 1e-12 {
                return Ok(());
            }
            let reason = format!("{scale:e} at level {level}, where the primes above make it {want:e}");
            Err(Error::InvalidParameter { what: "scale", reason })
        };
        let modulus = |level: usize| {
            let below = level.checked_sub(1).map_or(0, |below| self.limbs_at[below].0);
            level_modulus(&self.moduli[below as usize..self.limbs_at[level].0 as usize])
        };
        let rescaled = |level: usize| self.scale_at[level] * self.scale_at[level] / modulus(level);
        let application = levels as usize;
        (1..=application).try_for_each(|level| follows(level - 1, rescaled(level)))?;
        let nominal = self.scale_at[application].log2();
        if (nominal - f64::from(scale_bits)).abs() > 1.0 {
            let reason = format!("2^{nominal:.1} at level {levels}, for {scale_bits} bits");
            return Err(Error::InvalidParameter { what: "scale", reason });
        }
        let Some(b) = bootstrapping else { return Ok(()) };
        let base = modulus(0).log2();
        if (base - f64::from(b.scale_bits)).abs() > 1.0 {
            let reason = format!("2^{base:.1} at level 0, which has {} bits for bootstrapping", b.scale_bits);
            return Err(Error::InvalidParameter { what: "modulus", reason });
        }
        let eval_mod = application + b.eval_mod_levels() as usize;
        (application + 2..=eval_mod).try_for_each(|level| follows(level - 1, rescaled(level)))?;
        (eval_mod..self.scale_at.len()).try_for_each(|level| follows(level, f64::from(b.scale_bits).exp2()))
    }

    /// The base alone, with the scales of level 0 and of all levels of the application.
    fn over_base(base: Vec<u32>, application: &Segment) -> Self {
        let limbs = LimbCount(u32::try_from(base.len()).expect("few limbs"));
        Self { moduli: base, limbs_at: vec![limbs], scale_at: application.scales.iter().rev().copied().collect() }
    }

    /// Adds a segment's levels, the lowest first.
    fn push(&mut self, levels: &[Vec<u32>]) {
        for primes in levels.iter().rev() {
            self.moduli.extend(primes);
            self.limbs_at.push(LimbCount(u32::try_from(self.moduli.len()).expect("few limbs")));
        }
    }

    /// EvalMod's levels follow their own scale rule; the lowest of their scales belongs to the application's top level,
    /// which has its own, so it is left out: [`super::bootstrap`] brings the one to the other. The levels of CoeffToSlot all carry EvalMod's
    /// first scale.
    fn push_bootstrapping(&mut self, b: &Bootstrapping, primes: &mut Primes) -> Result<()> {
        let modulus = f64::from(b.scale_bits).exp2();
        let eval_mod = primes.segment(b.eval_mod_levels(), modulus, limbs_a_level(b.scale_bits)?)?;
        self.push(&eval_mod.levels);
        self.scale_at.extend(eval_mod.scales.iter().rev().skip(1));
        let (bits, count) = (b.transform_bits, b.coefficients_to_slots);
        let limbs = limbs_a_level(bits)?;
        let transform: Vec<_> =
            (0..count).map(|_| primes.level(f64::from(bits).exp2(), limbs)).collect::<Result<_>>()?;
        self.push(&transform);
        self.scale_at.extend((0..count).map(|_| modulus));
        Ok(())
    }
}

/// Limbs of a level whose modulus has so many bits.
fn limbs_a_level(bits: u32) -> Result<u32> {
    match bits {
        26..=30 => Ok(1),
        40..=59 => Ok(2),
        _ => {
            let reason = format!("{bits} bits; 26..=30 takes one limb a level, 40..=59 two");
            Err(Error::InvalidParameter { what: "scale_bits", reason })
        }
    }
}

/// Product of the primes of one level, as rescaling divides the scale by it.
pub(super) fn level_modulus(primes: &[u32]) -> f64 {
    primes.iter().map(|&q| f64::from(q)).product()
}
