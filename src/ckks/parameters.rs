//! Parameters from what the user wants: slots, levels, scale, security.

use super::bootstrap::{BootstrapSecret, Bootstrapping};
use super::chain::{Chain, level_modulus};
use super::security::{Security, SecurityEstimate, SparseSecret};
use crate::error::{Error, Result};
use crate::math::{Embedding, Modulus, RingTables, ntt_primes_below};
use crate::rlwe;
use crate::units::{Level, LimbCount, LogN};
use std::sync::{Arc, OnceLock};

/// A parameter set: ring, modulus chain, scales, special primes. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Parameters(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    rlwe: rlwe::Parameters,
    embedding: Embedding,
    /// Limbs alive at each level: the only bridge from levels to limbs.
    limbs_at: Vec<LimbCount>,
    /// Scale of each level.
    scale_at: Vec<f64>,
    scale_bits: u32,
    /// The application's levels; those above are for bootstrapping.
    max_level: Level,
    bootstrapping: Option<Bootstrapping>,
    /// Made when first asked for.
    fingerprint: OnceLock<[u8; 32]>,
}

/// What the user wants of [`Parameters`].
#[derive(Clone, Debug)]
pub struct Builder {
    log_n: Option<u32>,
    min_log_n: u32,
    pub(super) levels: u32,
    pub(super) scale_bits: u32,
    pub(super) headroom_bits: u32,
    digits: Option<u32>,
    security: Security,
    pub(super) bootstrapping: Option<Bootstrapping>,
}

impl Parameters {
    /// Starts from: the smallest ring that is secure, 3 levels, scale `2^28`, 128 bits of security.
    pub fn builder() -> Builder {
        Builder {
            log_n: None,
            min_log_n: LogN::MIN,
            levels: 3,
            scale_bits: 28,
            headroom_bits: 10,
            digits: None,
            security: Security::Bits128,
            bootstrapping: None,
        }
    }

    /// `N = 2^13`, 3 levels at scale `2^28`: shallow circuits, the smallest ciphertexts.
    ///
    /// # Errors
    /// None in practice; the set is checked like any other.
    pub fn n13() -> Result<Self> {
        Self::builder().log_n(13).levels(3).scale_bits(28).build()
    }

    /// `N = 2^14`, 9 levels at scale `2^29`.
    ///
    /// # Errors
    /// As [`Self::n13`].
    pub fn n14() -> Result<Self> {
        Self::builder().log_n(14).levels(9).scale_bits(29).build()
    }

    /// `N = 2^15`, 10 levels at scale `2^50` (two limbs a level).
    ///
    /// # Errors
    /// As [`Self::n13`].
    pub fn n15() -> Result<Self> {
        Self::builder().log_n(15).levels(10).scale_bits(50).build()
    }

    /// `N = 2^16`, 20 levels at scale `2^56` (two limbs a level).
    ///
    /// # Errors
    /// As [`Self::n13`].
    pub fn n16() -> Result<Self> {
        Self::builder().log_n(16).levels(20).scale_bits(56).build()
    }

    /// The sparse secret of bootstrapping, if there is one.
    pub(super) fn encapsulation(&self) -> Option<rlwe::Encapsulation> {
        match self.0.bootstrapping?.secret {
            BootstrapSecret::Dense => None,
            BootstrapSecret::Encapsulated { weight, special } => {
                let base = self.0.limbs_at[0];
                Some(rlwe::Encapsulation { weight, base, special: LimbCount(special) })
            }
        }
    }

    /// The sparse secret of bootstrapping and the modulus that it lives under, if there is one.
    pub fn sparse_secret(&self) -> Option<SparseSecret> {
        let shape = self.encapsulation()?;
        let (moduli, chain) = (self.moduli(), self.rlwe().chain().0 as usize);
        let primes =
            moduli[..shape.base.0 as usize].iter().chain(moduli[chain..].iter().take(shape.special.0 as usize));
        Some(SparseSecret::new(self.log_n(), shape.weight, primes.map(|&q| f64::from(q).log2()).sum()))
    }

    /// Refuses a sparse secret that cannot be, or whose key would drown the message.
    fn check_encapsulation(&self) -> Result<()> {
        let Some(shape) = self.encapsulation() else { return Ok(()) };
        let (moduli, chain) = (self.moduli(), self.rlwe().chain().0 as usize);
        let (weight, special) = (shape.weight as usize, shape.special.0 as usize);
        let bits = |list: &[u32]| list.iter().map(|&q| f64::from(q).log2()).sum::<f64>();
        let (base, there) = (bits(&moduli[..shape.base.0 as usize]), moduli.len() - chain);
        if weight <= self.log_n().degree() && special <= there && bits(&moduli[chain..chain + special]) + 4.0 >= base {
            return Ok(());
        }
        let n = self.log_n().get();
        let reason =
            format!("weight {weight} at N = 2^{n}, {special} of {there} special primes for a q_0 of {base:.0} bits");
        Err(Error::InvalidParameter { what: "sparse secret", reason })
    }

    /// Refuses a sparse secret that is weaker than what the literature proposes.
    pub(super) fn check_sparse_secret(&self) -> Result<()> {
        match self.sparse_secret() {
            Some(secret) if !secret.is_accepted() => {
                let reason = format!("{secret}: at least weight 32, N = 2^15 and at most 120 bits are accepted");
                Err(Error::InvalidParameter { what: "sparse secret", reason })
            }
            _ => Ok(()),
        }
    }

    /// The same primes where the scale of `level` is another one: what EvalMod ends at is not the application's scale.
    pub(super) fn with_scale_at(&self, level: Level, scale: f64) -> Self {
        let mut scale_at = self.0.scale_at.clone();
        scale_at[level.0 as usize] = scale;
        Self(Arc::new(Inner { scale_at, fingerprint: OnceLock::new(), ..(*self.0).clone() }))
    }

    /// Ring dimension.
    pub fn log_n(&self) -> LogN {
        self.0.rlwe.tables().log_n()
    }

    /// Complex numbers in a vector: `N/2`.
    pub fn slots(&self) -> usize {
        self.log_n().slots()
    }

    /// The level of a fresh or refreshed ciphertext.
    pub fn max_level(&self) -> Level {
        self.0.max_level
    }

    /// The highest level of the chain: above [`Self::max_level`] are the levels that bootstrapping works at.
    pub fn top_level(&self) -> Level {
        Level(u32::try_from(self.0.limbs_at.len() - 1).expect("few levels"))
    }

    /// How ciphertexts are refreshed; `None` where the chain has no levels for it.
    pub fn bootstrapping(&self) -> Option<&Bootstrapping> {
        self.0.bootstrapping.as_ref()
    }

    /// Limbs alive at a level.
    ///
    /// # Errors
    /// [`Error::LevelTooHigh`].
    pub fn limbs_at(&self, level: Level) -> Result<LimbCount> {
        self.0.limbs_at.get(level.0 as usize).copied().ok_or_else(|| self.too_high("limbs_at", level))
    }

    /// The scale of a level.
    ///
    /// # Errors
    /// [`Error::LevelTooHigh`].
    pub fn scale_at(&self, level: Level) -> Result<f64> {
        self.0.scale_at.get(level.0 as usize).copied().ok_or_else(|| self.too_high("scale_at", level))
    }

    /// Product of the primes that a rescale at `level` drops; for level 0 of those that stay.
    pub(super) fn dropped_at(&self, level: Level) -> Result<f64> {
        Ok(level_modulus(&self.primes_at(level)?))
    }

    /// The primes that a rescale at `level` drops; for level 0 those that stay.
    pub(super) fn primes_at(&self, level: Level) -> Result<Vec<u32>> {
        let below = level.0.checked_sub(1).map_or(Ok(LimbCount(0)), |below| self.limbs_at(Level(below)))?;
        Ok(self.moduli()[below.0 as usize..self.limbs_at(level)?.0 as usize].to_vec())
    }

    fn too_high(&self, op: &'static str, level: Level) -> Error {
        Error::LevelTooHigh { op, wanted: level.0, available: self.top_level().0 }
    }

    /// The wanted bits of scale.
    pub fn scale_bits(&self) -> u32 {
        self.0.scale_bits
    }

    /// `log2(Q)` at a level.
    ///
    /// # Errors
    /// [`Error::LevelTooHigh`].
    pub fn log_q_at(&self, level: Level) -> Result<f64> {
        let limbs = self.limbs_at(level)?.0 as usize;
        Ok(self.moduli()[..limbs].iter().map(|&q| f64::from(q).log2()).sum())
    }

    /// `log2(Q)` of the whole chain.
    pub fn log_q(&self) -> f64 {
        let chain = self.0.rlwe.chain().0 as usize;
        self.moduli()[..chain].iter().map(|&q| f64::from(q).log2()).sum()
    }

    /// `log2(QP)`: chain and special primes, what security depends on.
    pub fn log_qp(&self) -> f64 {
        self.moduli().iter().map(|&q| f64::from(q).log2()).sum()
    }

    /// All primes: the chain, then the special ones.
    pub fn moduli(&self) -> Vec<u32> {
        self.0.rlwe.tables().primes().iter().map(crate::math::Prime::q).collect()
    }

    /// The strongest row of the security table that the parameters meet; `None` for a toy.
    pub fn security(&self) -> Option<Security> {
        self.security_estimate().row
    }

    /// The row met, and an estimate in bits between the rows.
    pub fn security_estimate(&self) -> SecurityEstimate {
        SecurityEstimate::new(self.log_n(), self.log_qp())
    }

    /// The ring-level set-up.
    pub fn rlwe(&self) -> &rlwe::Parameters {
        &self.0.rlwe
    }

    pub(crate) fn embedding(&self) -> &Embedding {
        &self.0.embedding
    }

    /// SHA-256 of everything that defines the set: equal for equal sets, wherever they were built or read.
    pub fn fingerprint(&self) -> &[u8; 32] {
        self.0.fingerprint.get_or_init(|| super::wire::fingerprint(self))
    }

    /// Whether both are one parameter set.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.fingerprint() == other.fingerprint()
    }

    /// A set from its parts, which the caller has checked.
    pub(super) fn from_parts(
        rlwe: rlwe::Parameters,
        levels: impl IntoIterator<Item = (LimbCount, f64)>,
        scale_bits: u32,
        max_level: Level,
        bootstrapping: Option<Bootstrapping>,
    ) -> Self {
        let embedding = Embedding::new(rlwe.tables().log_n());
        let (limbs_at, scale_at) = levels.into_iter().unzip();
        let fingerprint = OnceLock::new();
        Self(Arc::new(Inner { rlwe, embedding, limbs_at, scale_at, scale_bits, max_level, bootstrapping, fingerprint }))
    }

    /// Limbs and scale of every level, from level 0 to the top.
    pub(super) fn levels(&self) -> impl ExactSizeIterator<Item = (LimbCount, f64)> + Clone {
        self.0.limbs_at.iter().copied().zip(self.0.scale_at.iter().copied())
    }
}

impl std::fmt::Display for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "CKKS N = 2^{}, {} levels of scale 2^{}, log QP = {:.1} ({} + {} limbs, {} digits), {}",
            self.log_n().get(),
            self.max_level().0,
            self.0.scale_bits,
            self.log_qp(),
            self.0.rlwe.chain().0,
            self.0.rlwe.special().0,
            self.0.rlwe.digits(self.0.rlwe.chain()).len(),
            self.security_estimate(),
        )?;
        self.sparse_secret().map_or(Ok(()), |secret| write!(f, "; bootstrapping: {secret}"))
    }
}

impl Builder {
    /// Ring dimension `N = 2^log_n`. Without it the smallest secure one is taken.
    pub fn log_n(mut self, log_n: u32) -> Self {
        self.log_n = Some(log_n);
        self
    }

    /// At least this many slots: the search for the smallest secure ring starts there.
    pub fn slots(mut self, slots: usize) -> Self {
        let log_slots = slots.checked_next_power_of_two().map_or(usize::BITS, usize::trailing_zeros);
        self.min_log_n = (log_slots + 1).max(LogN::MIN);
        self
    }

    /// Multiplications in a row.
    pub fn levels(mut self, levels: u32) -> Self {
        self.levels = levels;
        self
    }

    /// Bits of scale: 26 to 30 (one limb a level) or 40 to 59 (two limbs a level).
    pub fn scale_bits(mut self, bits: u32) -> Self {
        self.scale_bits = bits;
        self
    }

    /// Bits that the last level keeps above the scale, sign included: results may reach `2^(bits - 1)`. Default 10.
    pub fn headroom_bits(mut self, bits: u32) -> Self {
        self.headroom_bits = bits;
        self
    }

    /// Digits of key switching: fewer are faster and take more special primes. Without it the cheapest secure number is taken.
    pub fn digits(mut self, digits: u32) -> Self {
        self.digits = Some(digits);
        self
    }

    /// Adds the levels above the application's that refreshing needs. Level 0 then has a modulus of
    /// [`Bootstrapping::scale_bits`] bits, whatever the headroom.
    pub fn bootstrapping(mut self, bootstrapping: Bootstrapping) -> Self {
        self.bootstrapping = Some(bootstrapping);
        self
    }

    /// Wanted security.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Finds primes and checks the security table.
    ///
    /// # Errors
    /// [`Error::Insecure`] when no digit count fits the table, [`Error::NoPrimes`], [`Error::InvalidParameter`].
    pub fn build(self) -> Result<Parameters> {
        let Some(log_n) = self.log_n else {
            let mut last = None;
            for log_n in self.min_log_n..=LogN::MAX {
                match self.clone().log_n(log_n).build() {
                    Err(error @ (Error::Insecure { .. } | Error::NoPrimes { .. })) => last = Some(error),
                    done => return done,
                }
            }
            let reason = format!("more than the {} of the largest ring", 1 << (LogN::MAX - 1));
            return Err(last.unwrap_or(Error::InvalidParameter { what: "slots", reason }));
        };
        let log_n = self.ring_dimension(log_n)?;
        let parameters = self.assemble(log_n, self.security.max_log_qp(log_n).unwrap_or(0))?;
        parameters.check_sparse_secret()?;
        Ok(parameters)
    }

    /// As [`Self::build`] without the security table: **toy parameters for tests**, which protect nothing.
    ///
    /// # Errors
    /// [`Error::NoPrimes`], [`Error::InvalidParameter`].
    pub fn insecure_build(self) -> Result<Parameters> {
        let log_n = self.ring_dimension(self.log_n.unwrap_or(self.min_log_n))?;
        self.assemble(log_n, u32::MAX)
    }

    fn ring_dimension(&self, log_n: u32) -> Result<LogN> {
        let lowest = self.min_log_n.max(LogN::MIN);
        LogN::new(log_n).filter(|n| n.get() >= lowest).ok_or_else(|| Error::InvalidParameter {
            what: "log_n",
            reason: format!("{log_n} is outside {lowest}..={} (for the slots asked for)", LogN::MAX),
        })
    }

    fn assemble(&self, log_n: LogN, max_log_qp: u32) -> Result<Parameters> {
        let chain = Chain::find(self, log_n)?;
        let limbs = u32::try_from(chain.moduli.len()).expect("few limbs");
        let bits = |list: &[u32]| list.iter().map(|&q| f64::from(q).log2()).sum::<f64>();
        let mut best: Option<(u32, Vec<u32>, u32)> = None;
        let mut smallest = f64::INFINITY;
        let sizes: Vec<u32> = match self.digits {
            Some(0) => return Err(Error::InvalidParameter { what: "digits", reason: "at least one is needed".into() }),
            Some(digits) => vec![limbs.div_ceil(digits)],
            None => (1..=limbs.min(12)).collect(),
        };
        for size in sizes {
            let digit = chain.moduli.chunks(size as usize).map(bits).fold(0.0, f64::max);
            let mut special = Vec::new();
            let mut free = ntt_primes_below(Modulus::LIMIT, log_n).filter(|q| !chain.moduli.contains(q));
            while bits(&special) < digit {
                let Some(q) = free.next() else { break };
                special.push(q);
            }
            if bits(&special) < digit || special.len() > 12 {
                continue;
            }
            let log_qp = bits(&chain.moduli) + bits(&special);
            smallest = smallest.min(log_qp);
            if log_qp > f64::from(max_log_qp) {
                continue;
            }
            // NTTs of a multiplication with relinearization and rescale.
            let count = u32::try_from(special.len()).expect("at most 12");
            let cost = limbs + limbs.div_ceil(size) * (limbs + count - size) + 2 * (limbs + count);
            if best.as_ref().is_none_or(|(_, _, least)| cost < *least) {
                best = Some((size, special, cost));
            }
        }
        let Some((size, special, _)) = best else {
            if smallest.is_infinite() {
                return Err(Error::NoPrimes { log_n: log_n.get(), bits: 30.0 });
            }
            return Err(Error::Insecure {
                log_n: log_n.get(),
                log_qp: smallest,
                max: max_log_qp,
                security: self.security.bits(),
            });
        };
        let moduli: Vec<u32> = chain.moduli.iter().chain(&special).copied().collect();
        let tables = Arc::new(RingTables::new(log_n, &moduli)?);
        let rlwe = rlwe::Parameters::new(tables, LimbCount(limbs), size)?;
        let levels = chain.limbs_at.into_iter().zip(chain.scale_at);
        let parameters = Parameters::from_parts(rlwe, levels, self.scale_bits, Level(self.levels), self.bootstrapping);
        parameters.check_encapsulation()?;
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_secure_and_their_scales_do_not_drift() {
        for parameters in [Parameters::n13(), Parameters::n14(), Parameters::n15(), Parameters::n16()] {
            let p = parameters.unwrap();
            assert!(p.security() >= Some(Security::Bits128), "{p}");
            let moduli = p.moduli();
            for level in 1..=p.max_level().0 {
                let range =
                    p.limbs_at(Level(level - 1)).unwrap().0 as usize..p.limbs_at(Level(level)).unwrap().0 as usize;
                let scale = p.scale_at(Level(level)).unwrap();
                assert_eq!(scale * scale / level_modulus(&moduli[range]), p.scale_at(Level(level - 1)).unwrap());
                assert!((scale.log2() - f64::from(p.scale_bits())).abs() < 0.1, "{p}: 2^{}", scale.log2());
            }
        }
    }

    #[test]
    fn every_scale_and_long_chains_are_found() {
        for (log_n, bits, levels) in
            [(13, 26, 3), (14, 30, 8), (15, 30, 18), (16, 30, 40), (16, 50, 25), (17, 58, 30), (15, 26, 15)]
        {
            let p = Parameters::builder().log_n(log_n).scale_bits(bits).levels(levels).build().unwrap();
            for level in 0..=levels {
                assert!((p.scale_at(Level(level)).unwrap().log2() - f64::from(bits)).abs() < 0.3, "{p}");
            }
        }
        let strong = Parameters::builder().levels(3).security(Security::Bits256).build().unwrap();
        assert_eq!(strong.security(), Some(Security::Bits256));
        assert_eq!(Parameters::builder().levels(3).build().unwrap().log_n().get(), 13);
    }

    #[test]
    fn wishes_that_cannot_be_met_say_why() {
        let build = |b: Builder| b.build().unwrap_err();
        assert!(matches!(
            build(Parameters::builder().log_n(12).levels(6)),
            Error::Insecure { log_n: 12, max: 106, .. }
        ));
        assert!(matches!(build(Parameters::builder().log_n(13).levels(3).digits(1)), Error::Insecure { .. }));
        assert!(matches!(build(Parameters::builder().scale_bits(35)), Error::InvalidParameter { .. }));
        assert!(matches!(build(Parameters::builder().levels(5000)), Error::InvalidParameter { .. }));
        assert!(matches!(build(Parameters::builder().log_n(40)), Error::InvalidParameter { .. }));
        assert!(matches!(build(Parameters::builder().digits(0)), Error::InvalidParameter { .. }));
        assert!(matches!(
            build(Parameters::builder().slots(usize::MAX)),
            Error::InvalidParameter { what: "slots", .. }
        ));
        assert!(matches!(build(Parameters::builder().slots(1 << 13).log_n(13)), Error::InvalidParameter { .. }));
        assert_eq!(Parameters::builder().slots(1024).levels(6).build().unwrap().log_n().get(), 14);
        assert_eq!(Parameters::builder().slots(5000).levels(1).build().unwrap().log_n().get(), 14);
        let toy = Parameters::builder().log_n(11).levels(4).insecure_build().unwrap();
        assert_eq!(toy.security(), None);
        assert!(toy.to_string().contains("toy"));
    }
}
