//! The client's side, on the host: keys, encryption, decryption.

use super::ciphertext::HostCiphertext;
use super::encoder::{Encoder, Plaintext};
use super::parameters::Parameters;
use super::request::KeyRequest;
use crate::error::{Error, Result};
use crate::math::{Csprng, Seed};
use crate::rlwe::encrypt::UniformHalf;
use crate::rlwe::{EvaluationKeys, PublicKey, SecretKey};
use crate::units::Level;
use num_complex::Complex64;
use std::sync::{Arc, Mutex, PoisonError};

/// Makes a secret key and everything that derives from it. Never leaves the client.
#[derive(Debug)]
pub struct KeyGenerator {
    parameters: Parameters,
    secret: Arc<SecretKey>,
    rng: Csprng,
}

impl KeyGenerator {
    /// A fresh secret, from the operating system's randomness.
    ///
    /// # Errors
    /// [`Error::NoEntropy`].
    pub fn new(parameters: &Parameters) -> Result<Self> {
        Ok(Self::from_seed(parameters, &Seed::from_os()?))
    }

    /// A secret that depends on the seed alone: for reproducible experiments. Whoever knows the seed knows the secret, and two
    /// runs with one seed repeat their randomness: different messages encrypted in them can be subtracted by anybody.
    pub fn from_seed(parameters: &Parameters, seed: &Seed) -> Self {
        let mut rng = Csprng::new(seed);
        let secret = Arc::new(SecretKey::generate(parameters.rlwe(), &mut rng));
        Self::from_secret(parameters, secret, rng)
    }

    /// A generator for a secret that there is.
    pub(super) fn from_secret(parameters: &Parameters, secret: Arc<SecretKey>, rng: Csprng) -> Self {
        Self { parameters: parameters.clone(), secret, rng }
    }

    /// The secret, to be kept by its owner.
    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// A public key: whoever has it can encrypt.
    pub fn public_key(&mut self) -> PublicKey {
        PublicKey::generate(&self.secret, &mut self.rng)
    }

    /// The keys that a server needs for a circuit.
    ///
    /// # Cost
    /// Each key for `L` limbs takes `D (L + K)` NTTs and `4 D (L + K) N` bytes, for `D` digits and `K` special primes.
    /// # Errors
    /// [`Error::LevelTooHigh`] for a key at a level that the chain does not have.
    pub fn evaluation_keys(&mut self, request: &KeyRequest) -> Result<EvaluationKeys> {
        let keys = EvaluationKeys::generate(&self.secret, request.keys(&self.parameters)?, &mut self.rng)?;
        match request.encapsulated(&self.parameters) {
            Some(shape) => keys.with_encapsulation(&self.secret, shape, &mut self.rng),
            None => Ok(keys),
        }
    }

    /// Encrypts with the secret key: half the size, less noise.
    pub fn encryptor(&mut self) -> Encryptor {
        let seed = self.rng.seed();
        Encryptor::over(&self.parameters, EncryptionKey::Secret(Arc::clone(&self.secret)), &seed)
    }

    /// Reads results.
    pub fn decryptor(&self) -> Decryptor {
        Decryptor { parameters: self.parameters.clone(), secret: Arc::clone(&self.secret) }
    }
}

enum EncryptionKey {
    Public(Box<PublicKey>),
    Secret(Arc<SecretKey>),
}

/// Encrypts plaintexts.
pub struct Encryptor {
    parameters: Parameters,
    key: EncryptionKey,
    rng: Mutex<Csprng>,
}

impl std::fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encryptor(..)")
    }
}

impl Encryptor {
    /// Encrypts with somebody's public key.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for a key of other parameters, [`Error::NoEntropy`].
    pub fn with_public_key(parameters: &Parameters, key: PublicKey) -> Result<Self> {
        Self::with_public_key_and_seed(parameters, key, &Seed::from_os()?)
    }

    /// As [`Self::with_public_key`] with randomness from a seed, for reproducible experiments. Whoever knows the seed reads
    /// the messages, and a seed used for two different messages lets anybody subtract them.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`].
    pub fn with_public_key_and_seed(parameters: &Parameters, key: PublicKey, seed: &Seed) -> Result<Self> {
        if !key.parameters().is_same(parameters.rlwe()) {
            return Err(Error::ParameterMismatch { op: "Encryptor::with_public_key" });
        }
        Ok(Self::over(parameters, EncryptionKey::Public(Box::new(key)), seed))
    }

    fn over(parameters: &Parameters, key: EncryptionKey, seed: &Seed) -> Self {
        Self { parameters: parameters.clone(), key, rng: Mutex::new(Csprng::new(seed)) }
    }

    /// Encrypts every vector of a plaintext.
    ///
    /// # Level and scale
    /// Those of the plaintext.
    /// # Noise
    /// Per coefficient a standard deviation of `sigma` with the secret key, `sigma sqrt(4 N / 3 + 1)` with the public one.
    /// # Errors
    /// [`Error::ParameterMismatch`].
    pub fn encrypt(&self, plaintext: &Plaintext) -> Result<HostCiphertext> {
        if !plaintext.parameters.is_same(&self.parameters) {
            return Err(Error::ParameterMismatch { op: "encrypt" });
        }
        let limbs = self.parameters.limbs_at(plaintext.level)?;
        // The lock must not be held while rayon works: its threads may encrypt something else meanwhile.
        let mut rng = Csprng::new(&self.rng.lock().unwrap_or_else(PoisonError::into_inner).seed());
        let pair = match &self.key {
            EncryptionKey::Public(key) => key.encrypt(&plaintext.words, plaintext.batch, limbs, &mut rng)?,
            EncryptionKey::Secret(key) => {
                key.encrypt(&plaintext.words, plaintext.batch, &self.parameters.rlwe().basis(limbs), &mut rng)
            }
        };
        Ok(HostCiphertext {
            parameters: self.parameters.clone(),
            pair,
            components: 2,
            level: plaintext.level,
            scale: plaintext.scale,
        })
    }

    /// Encodes real vectors at the highest level and encrypts them.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encrypt_real(&self, vectors: &[Vec<f64>]) -> Result<HostCiphertext> {
        let encoder = Encoder::new(&self.parameters);
        self.encrypt(&encoder.encode_real(vectors, self.parameters.max_level())?)
    }

    /// Encodes complex vectors at a level and encrypts them.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encrypt_complex(&self, vectors: &[Vec<Complex64>], level: Level) -> Result<HostCiphertext> {
        self.encrypt(&Encoder::new(&self.parameters).encode(vectors, level)?)
    }
}

/// Reads ciphertexts with the secret key.
///
/// **The results are for the key owner.** A decryption that others see leaks the key (ePrint 2020/1533), unless it comes from
/// [`Self::decrypt_for_sharing`].
#[derive(Debug)]
pub struct Decryptor {
    pub(super) parameters: Parameters,
    pub(super) secret: Arc<SecretKey>,
}

impl Decryptor {
    /// The plaintexts of the batch, for [`Encoder::decode`].
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`]; [`Error::ShapeMismatch`] for a damaged ciphertext.
    pub fn decrypt_plaintext(&self, ciphertext: &HostCiphertext) -> Result<Plaintext> {
        ciphertext.check_parameters("decrypt", &self.parameters)?;
        let pair = &ciphertext.pair;
        let rest = match &pair.c1 {
            UniformHalf::Words(words) => std::borrow::Cow::Borrowed(words.as_slice()),
            UniformHalf::Seeded(_) => {
                std::borrow::Cow::Owned(pair.expand_c1(self.parameters.rlwe(), &ciphertext.basis()))
            }
        };
        let mut components = vec![pair.c0.as_slice()];
        components.extend(rest.chunks(pair.c0.len().max(1)));
        Ok(Plaintext {
            parameters: self.parameters.clone(),
            level: ciphertext.level,
            scale: ciphertext.scale,
            batch: pair.batch,
            words: self.secret.decrypt(&components, pair.limbs)?,
        })
    }

    /// Every vector of the batch, all `N/2` slots.
    ///
    /// # Errors
    /// As [`Self::decrypt_plaintext`].
    pub fn decrypt(&self, ciphertext: &HostCiphertext) -> Result<Vec<Vec<Complex64>>> {
        Encoder::new(&self.parameters).decode(&self.decrypt_plaintext(ciphertext)?)
    }

    /// The real parts.
    ///
    /// # Errors
    /// As [`Self::decrypt`].
    pub fn decrypt_real(&self, ciphertext: &HostCiphertext) -> Result<Vec<Vec<f64>>> {
        Ok(self.decrypt(ciphertext)?.into_iter().map(|v| v.into_iter().map(|z| z.re).collect()).collect())
    }
}
