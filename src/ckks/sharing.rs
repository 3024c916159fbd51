//! Decryption for the eyes of others: noise that hides what the error of a result says about the key, and a count of its uses.
//!
//! A CKKS decryption is `m + e`. Whoever knows the ciphertext, the circuit and the inputs can find `e`, and `e` depends on the secret key: a
//! few such decryptions are the key (Li and Micciancio, ePrint 2020/1533). [`Decryptor::decrypt_for_sharing`] adds a wide Gaussian, the
//! same whatever `e` is, so that what is published hardly depends on `e`.
//!
//! *What is needed.* A [`SharingBound`] on the error, from the prediction ([`super::NoiseValue::sharing_bound`]), not from a look at
//! the ciphertext; a [`SharingPolicy`] that declares the number of vectors ever to be shared under the key; and a [`SharingLedger`], one for
//! each key, that counts them. The bound must hold for the ciphertext: it does for the result of the circuit that was predicted on
//! inputs encrypted honestly. A server that returns something else is not covered; what its header says is compared with the bound.
//!
//! # Source
//! Li, Micciancio, Schultz, Sorrell, ePrint 2022/816.

use super::ciphertext::HostCiphertext;
use super::client::Decryptor;
use super::encoder::Encoder;
use super::evaluator::Evaluator;
use super::noise::NoiseValue;
use crate::error::{Error, Result};
use crate::math::{Csprng, Seed, WideGaussian, rows};
use crate::units::Level;
use num_complex::Complex64;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What is known beforehand about a result that will be shared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharingBound {
    /// Level of the result.
    pub level: Level,
    /// Scale of the result. The noise is as wide as this one asks for: the header of a ciphertext says what its sender likes.
    pub scale: f64,
    /// Bound on the root mean square of the slots' errors, `sqrt(mean |error|^2)`. A bound on the largest error is one too.
    pub error: f64,
    /// Bound on the absolute value of a slot.
    pub magnitude: f64,
}

impl NoiseValue {
    /// The bounds for sharing: [`Self::error_bound`] and the message's, at this level and scale.
    pub fn sharing_bound(&self) -> SharingBound {
        let (level, scale) = (self.level(), self.scale());
        SharingBound { level, scale, error: self.error_bound(), magnitude: self.message().bound }
    }
}

/// How much will be shared under one key, and how well it is to be hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharingPolicy {
    uses: u64,
    statistical_bits: u32,
}

impl SharingPolicy {
    /// For at most `uses` vectors, at 30 bits of statistical security.
    ///
    /// 30 bits is what OpenFHE takes, whatever time an attacker has: unlike the security of the key it does not fall with faster
    /// computers. Two more bits cost one bit of precision.
    pub fn new(uses: u64) -> Self {
        Self { uses, statistical_bits: 30 }
    }

    /// With another number of bits, 30 to 80.
    pub fn statistical_bits(self, bits: u32) -> Self {
        Self { statistical_bits: bits, ..self }
    }

    /// Standard deviation of the noise in a coefficient, for an error polynomial of Euclidean norm up to `norm`:
    /// `sqrt(12 uses) 2^(bits / 2) norm`.
    ///
    /// For one use the divergence (Kullback-Leibler) between the noise and the noise shifted by the error is
    /// `norm^2 / (2 sigma^2)`, so that it adds up to `2^-bits / 24` over all uses.
    ///
    /// # Source
    /// ePrint 2022/816, Corollary 2, in the coefficient embedding, where its factor `sqrt(2 N)` is not needed: the form and the remark
    /// in OpenFHE's `CKKS_NOISE_FLOODING.md`. `bits` is statistical security in the sense of Micciancio and Walter, ePrint 2018/077.
    fn deviation(self, norm: f64) -> f64 {
        (12.0 * self.uses as f64).sqrt() * (f64::from(self.statistical_bits) / 2.0).exp2() * norm
    }

    /// The sampler's own distance from the Gaussian must vanish beside what the policy allows, which by Pinsker's inequality is
    /// `2^(-bits / 2) / sqrt(48)`.
    fn check(self, degree: usize) -> Result<()> {
        if !(30..=80).contains(&self.statistical_bits) {
            let reason = format!("{}; between 30 and 80 bits are possible", self.statistical_bits);
            return Err(Error::InvalidParameter { what: "statistical bits", reason });
        }
        let sampler = (degree as f64 * self.uses as f64).log2() + WideGaussian::LOG_DISTANCE;
        let allowed = -f64::from(self.statistical_bits) / 2.0 - 48f64.log2() / 2.0;
        if self.uses == 0 || sampler > allowed {
            let most = (allowed - WideGaussian::LOG_DISTANCE - (degree as f64).log2()).exp2().floor();
            let reason = format!("{}; at least 1 and, at {} bits, at most {most}", self.uses, self.statistical_bits);
            return Err(Error::InvalidParameter { what: "uses", reason });
        }
        Ok(())
    }
}

/// Counts the vectors shared under one key, and refuses more than were declared.
///
/// There must be one ledger for each key, kept as long as the key is: save it ([`Decryptor::save_ledger`]) after every decryption, before
/// the result leaves. The saved text names its key and is authenticated with it, so that nobody else changes the count; an older
/// copy put in the place of a newer one is not noticed.
#[derive(Debug, PartialEq, Eq)]
pub struct SharingLedger {
    key: [u8; 16],
    policy: SharingPolicy,
    spent: u64,
}

impl SharingLedger {
    /// Vectors that may still be shared.
    pub fn remaining(&self) -> u64 {
        self.policy.uses - self.spent
    }

    /// Vectors shared so far.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// What was declared.
    pub fn policy(&self) -> SharingPolicy {
        self.policy
    }

    fn text(&self) -> String {
        format!(
            "{HEADER}\nkey {}\nstatistical-bits {}\nuses {}\nspent {}\n",
            hex(&self.key),
            self.policy.statistical_bits,
            self.policy.uses,
            self.spent
        )
    }
}

impl std::fmt::Display for SharingLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (spent, uses, bits) = (self.spent, self.policy.uses, self.policy.statistical_bits);
        write!(f, "{spent} of {uses} vectors shared at {bits} bits, {} left", self.remaining())
    }
}

/// First line of a saved ledger, with its version.
const HEADER: &str = "ringlight sharing ledger 1";
/// A saved ledger is shorter.
const LONGEST: usize = 512;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC-SHA256 (RFC 2104) with a key of 32 bytes, in hexadecimal.
fn authenticate(key: &[u8; 32], text: &str) -> String {
    let pad = |byte: u8| Zeroizing::new(std::array::from_fn::<u8, 64, _>(|i| key.get(i).copied().unwrap_or(0) ^ byte));
    let inner = Sha256::new().chain_update(*pad(0x36)).chain_update(text).finalize();
    hex(&Sha256::new().chain_update(*pad(0x5c)).chain_update(inner).finalize())
}

/// A result for the eyes of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// Every vector of the batch, all `N/2` slots.
    pub vectors: Vec<Vec<Complex64>>,
    /// Standard deviation of the added noise in the real part of a slot, and in the imaginary part.
    pub deviation: f64,
    /// Bits of precision on average: `-log2` of the mean absolute noise of a part, absolute and not relative to the values.
    pub precision_bits: f64,
}

impl Decryptor {
    /// A short name of the secret key, from which the key cannot be found.
    fn fingerprint(&self) -> [u8; 16] {
        let digest = self.secret.derive("ringlight key fingerprint");
        std::array::from_fn(|i| digest[i])
    }

    /// The ledger of a key from which nothing was shared yet: it counts from zero. That a key never gets a second one is its owner's
    /// duty; nothing here can notice it.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for no uses, for so many that the sampler's own distance from a Gaussian would show (at 30 bits,
    /// `2^18 / (N / 2^13)` or more), or fewer than 30 or more than 80 bits.
    pub fn new_ledger(&self, policy: SharingPolicy) -> Result<SharingLedger> {
        policy.check(self.parameters.log_n().degree())?;
        Ok(SharingLedger { key: self.fingerprint(), policy, spent: 0 })
    }

    /// The ledger as text of six lines, authenticated with a key derived from the secret.
    ///
    /// # Errors
    /// [`Error::BadLedger`] for the ledger of another key.
    pub fn save_ledger(&self, ledger: &SharingLedger) -> Result<String> {
        self.check_ledger(ledger)?;
        let text = ledger.text();
        let tag = authenticate(&self.secret.derive("ringlight ledger authentication"), &text);
        Ok(format!("{text}tag {tag}\n"))
    }

    /// The ledger behind a saved text.
    ///
    /// # Errors
    /// [`Error::BadLedger`] for a text that is not one, that belongs to another key, or that was changed.
    pub fn restore_ledger(&self, text: &str) -> Result<SharingLedger> {
        let bad = |reason| Error::BadLedger { reason };
        let ledger = if text.len() > LONGEST { None } else { parse(text) };
        let written = |(ledger, tag): &(SharingLedger, &str)| text == format!("{}tag {tag}\n", ledger.text());
        let (ledger, tag) = ledger.filter(written).ok_or(bad("not a saved ledger of this version"))?;
        self.check_ledger(&ledger)?;
        let own = authenticate(&self.secret.derive("ringlight ledger authentication"), &ledger.text());
        let same = own.len() == tag.len() && own.bytes().zip(tag.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0;
        if !same || ledger.spent > ledger.policy.uses {
            return Err(bad("it was changed after it was saved"));
        }
        ledger.policy.check(self.parameters.log_n().degree())?;
        Ok(ledger)
    }

    fn check_ledger(&self, ledger: &SharingLedger) -> Result<()> {
        let same = ledger.key == self.fingerprint();
        if same { Ok(()) } else { Err(Error::BadLedger { reason: "it belongs to another key" }) }
    }

    /// Decrypts for the eyes of others: `m + e + z` with Gaussian `z`, and one use of the ledger for every vector of the batch.
    ///
    /// The uses are spent before anything is decrypted, also where a later step fails.
    ///
    /// # Noise
    /// `z` has the deviation `sqrt(12 uses) 2^(bits / 2) scale error` a coefficient, up to a factor of at most 1.6 above
    /// it, and is added to the integers modulo `q` before anything is decoded: see [`SharingPolicy`] and [`WideGaussian`].
    /// # Cost
    /// That of [`Self::decrypt`], up to 256 `N` narrow samples and an NTT a limb for each vector.
    /// # Errors
    /// [`Error::SharingSpent`]; [`Error::SharingPrecision`] where the noise would be larger than the message, or would not fit the
    /// modulus; [`Error::LevelMismatch`] and [`Error::ScaleMismatch`] for a ciphertext that is not at the bound's level and scale;
    /// [`Error::BadLedger`] for another key's; [`Error::InvalidParameter`] for a bound that is not positive and finite;
    /// [`Error::NoEntropy`]; others as [`Self::decrypt`].
    /// # Source
    /// ePrint 2022/816, section 4.
    pub fn decrypt_for_sharing(
        &self,
        ciphertext: &HostCiphertext,
        bound: &SharingBound,
        ledger: &mut SharingLedger,
    ) -> Result<Shared> {
        ciphertext.check_parameters("decrypt_for_sharing", &self.parameters)?;
        self.check_ledger(ledger)?;
        for (what, value) in [("error bound", bound.error), ("magnitude", bound.magnitude), ("scale", bound.scale)] {
            if !(f64::MIN_POSITIVE..=f64::MAX).contains(&value) {
                return Err(Error::InvalidParameter { what, reason: format!("{value} is not positive and finite") });
            }
        }
        let (op, level) = ("decrypt_for_sharing", ciphertext.level());
        if level != bound.level {
            return Err(Error::LevelMismatch { op, left: level.0, right: bound.level.0 });
        }
        Evaluator::same_scale(op, ciphertext.scale(), bound.scale)?;
        let log_n = self.parameters.log_n();
        let degree = log_n.degree();
        // Parseval: the norm of the error polynomial is the scale times the root mean square of the slots.
        let wanted = ledger.policy.deviation(bound.scale * bound.error);
        let gaussian = WideGaussian::at_least(wanted);
        let deviation = gaussian.as_ref().map_or(wanted, WideGaussian::deviation);
        // Against the message in the slots; with 9 deviations, in the coefficients, against half the modulus; and the sampler's end.
        let slots = deviation * (degree as f64).sqrt() / bound.scale;
        let room = (self.parameters.log_q_at(level)? - 1.0).exp2();
        let filled = (bound.scale * bound.magnitude + 9.0 * deviation) / room;
        let missing = (slots / bound.magnitude).max(filled).max(deviation / WideGaussian::MAX_DEVIATION).log2();
        let Some(gaussian) = gaussian.filter(|_| missing < 0.0) else {
            return Err(Error::SharingPrecision { missing_bits: missing });
        };
        let wanted = u64::from(ciphertext.batch());
        if wanted > ledger.remaining() {
            let (spent, declared) = (ledger.spent, ledger.policy.uses);
            return Err(Error::SharingSpent { wanted, spent, declared });
        }
        let mut rng = Csprng::new(&Seed::from_os()?);
        ledger.spent += wanted;

        let mut plaintext = self.decrypt_plaintext(ciphertext)?;
        let limbs = self.parameters.limbs_at(level)?.0 as usize;
        let primes = &self.parameters.rlwe().tables().primes()[..limbs];
        for words in plaintext.words.chunks_mut(limbs * degree) {
            let mut noise = gaussian.sample(&mut rng, primes, degree);
            for ((words, noise), prime) in words.chunks_mut(degree).zip(noise.chunks_mut(degree)).zip(primes) {
                prime.forward(noise);
                rows::add(prime.reducer(), words, None, Some(noise));
            }
        }
        let part = slots / std::f64::consts::SQRT_2;
        Ok(Shared {
            vectors: Encoder::new(&self.parameters).decode(&plaintext)?,
            deviation: part,
            precision_bits: -(part * std::f64::consts::FRAC_2_PI.sqrt()).log2(),
        })
    }
}

/// The fields of a saved ledger, and its tag.
fn parse(text: &str) -> Option<(SharingLedger, &str)> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != HEADER {
        return None;
    }
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let hex_key = field("key")?;
    let mut key = [0; 16];
    if hex_key.len() != 32 || !hex_key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(hex_key.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let statistical_bits = field("statistical-bits")?.parse().ok()?;
    let uses = field("uses")?.parse().ok()?;
    let spent = field("spent")?.parse().ok()?;
    let tag = field("tag")?;
    let ledger = SharingLedger { key, policy: SharingPolicy { uses, statistical_bits }, spent };
    lines.next().is_none().then_some((ledger, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_hmac_sha256() {
        // RFC 4231, test case 1, its key of 20 bytes filled up with zeros as HMAC does.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let tag = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(authenticate(&key, "Hi There"), tag);
    }

    #[test]
    fn the_noise_follows_its_formula() {
        // 100 uses at 40 bits, an error of norm 7: sqrt(1200) 2^20 7; and the divergences add up to 2^-40 / 24.
        let policy = SharingPolicy::new(100).statistical_bits(40);
        let sigma = policy.deviation(7.0);
        assert!((sigma / (1200f64.sqrt() * 1_048_576.0 * 7.0) - 1.0).abs() < 1e-12);
        assert!((100.0 * 49.0 / (2.0 * sigma * sigma) * 40f64.exp2() * 24.0 - 1.0).abs() < 1e-9);
    }
}
