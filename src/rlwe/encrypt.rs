//! Encryption and decryption, on the host.

use super::Parameters;
use super::secret::{SecretKey, small_row};
use crate::device::Basis;
use crate::error::{Error, Result};
use crate::math::{Csprng, Modulus, Seed, rows};
use crate::ring::{Evaluation, Ring, RnsPoly};
use crate::units::{LimbCount, Shape};
use rayon::prelude::*;
use zeroize::Zeroizing;

/// A batch of RLWE pairs in evaluation form on the host. Its owner knows the primes of its limbs: the first ones of the chain for a
/// ciphertext, the basis of its gadget for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPair {
    /// Limbs of each polynomial.
    pub limbs: LimbCount,
    /// Pairs.
    pub batch: u32,
    /// `c0`: `[batch][limb][N]`.
    pub c0: Vec<u32>,
    /// `c1`.
    pub c1: UniformHalf,
}

/// The second half of a pair: words, or the seed that they are expanded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UniformHalf {
    /// `[batch][limb][N]`.
    Words(Vec<u32>),
    /// Row `r` of the words is stream `r` of the seed's generator, uniform below the row's modulus.
    Seeded(Seed),
}

impl HostPair {
    /// The words of `c1`, expanded if need be, of a pair over `basis`.
    pub(crate) fn expand_c1(&self, parameters: &Parameters, basis: &Basis) -> Vec<u32> {
        match &self.c1 {
            UniformHalf::Words(words) => words.clone(),
            UniformHalf::Seeded(seed) => expand(seed, parameters, self.batch, basis),
        }
    }

    /// The batch on a device, `[component][batch]` polynomials; a seeded half is expanded there.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for words that do not make `components` of them; device failures.
    pub(crate) fn load(&self, ring: &Ring, basis: &Basis, components: u32) -> Result<RnsPoly<Evaluation>> {
        let polys = components.saturating_mul(self.batch);
        match &self.c1 {
            UniformHalf::Words(rest) => RnsPoly::upload(ring, basis, polys, &[&self.c0[..], rest].concat()),
            UniformHalf::Seeded(seed) if components == 2 && self.c0.len() == self.words(ring, basis) => {
                RnsPoly::upload_seeded(ring, basis, polys, &self.c0, seed)
            }
            UniformHalf::Seeded(_) => Err(Error::ShapeMismatch {
                op: "load",
                expected: format!("2 components, {} words in the first", self.words(ring, basis)),
                got: format!("{components} components, {} words", self.c0.len()),
            }),
        }
    }

    /// Words of one component.
    fn words(&self, ring: &Ring, basis: &Basis) -> usize {
        Shape { batch: self.batch, limbs: basis.limbs(), log_n: ring.log_n().get() }.words()
    }

    /// Bytes of the pair as stored.
    pub fn bytes(&self) -> usize {
        4 * self.c0.len()
            + match &self.c1 {
                UniformHalf::Words(words) => 4 * words.len(),
                UniformHalf::Seeded(_) => 32,
            }
    }
}

/// Uniform residues `[batch][limb][N]` from a public seed: row `r` is stream `r` of the seed's generator.
pub(crate) fn expand(seed: &Seed, parameters: &Parameters, batch: u32, basis: &Basis) -> Vec<u32> {
    let n = parameters.tables().log_n().degree();
    let limbs = basis.primes().len();
    let mut out = vec![0; batch as usize * limbs * n];
    out.par_chunks_mut(n).enumerate().for_each(|(row, out)| {
        let modulus = parameters.tables().primes()[basis.primes()[row % limbs] as usize].modulus();
        uniform_row(seed, row, modulus, out);
    });
    out
}

fn uniform_row(seed: &Seed, row: usize, modulus: Modulus, out: &mut [u32]) {
    Csprng::with_stream(seed, row as u64).uniform(modulus, out);
}

/// An encryption of zero over the whole chain, with its uniform half as a seed. Anybody may have it.
#[derive(Clone, Debug)]
pub struct PublicKey {
    parameters: Parameters,
    pair: HostPair,
    a: Vec<u32>,
}

impl PublicKey {
    /// The public key of a secret.
    pub fn generate(secret: &SecretKey, rng: &mut Csprng) -> Self {
        let parameters = secret.parameters().clone();
        let basis = parameters.basis(parameters.chain());
        let zero = vec![0; basis.primes().len() * parameters.tables().log_n().degree()];
        let pair = secret.encrypt(&zero, 1, &basis, rng);
        Self::from_pair(&parameters, pair)
    }

    /// The key that is this pair over the chain.
    pub(super) fn from_pair(parameters: &Parameters, pair: HostPair) -> Self {
        let a = pair.expand_c1(parameters, &parameters.basis(parameters.chain()));
        Self { parameters: parameters.clone(), pair, a }
    }

    /// The pair that it is.
    pub(super) fn pair(&self) -> &HostPair {
        &self.pair
    }

    /// The parameters it was made for.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Bytes to store or send.
    pub fn bytes(&self) -> usize {
        self.pair.bytes()
    }

    /// `(b u + e0 + m, a u + e1)` with ternary `u` and Gaussian `e0`, `e1`, for every message of a batch.
    ///
    /// # Shape
    /// Messages `[batch][limb][N]` in evaluation form.
    /// # Noise
    /// `e u + e0 + e1 s`: standard deviation `sigma sqrt(4 N / 3 + 1)` per coefficient.
    /// # Errors
    /// [`Error::ShapeMismatch`] for a wrong number of words.
    pub(crate) fn encrypt(&self, message: &[u32], batch: u32, limbs: LimbCount, rng: &mut Csprng) -> Result<HostPair> {
        let n = self.parameters.tables().log_n().degree();
        let row = limbs.0 as usize * n;
        if limbs > self.parameters.chain() || message.len() != batch as usize * row {
            return Err(Error::ShapeMismatch {
                op: "encrypt",
                expected: format!("{} words", batch as usize * row),
                got: format!("{}", message.len()),
            });
        }
        let primes = &self.parameters.tables().primes()[..limbs.0 as usize];
        let mut c0 = message.to_vec();
        let mut c1 = vec![0; c0.len()];
        let mut small = [(); 3].map(|()| Zeroizing::new(vec![0; n]));
        for (c0, c1) in c0.chunks_mut(row).zip(c1.chunks_mut(row)) {
            let [u, e0, e1] = &mut small;
            rng.ternary(u);
            rng.gaussian(e0);
            rng.gaussian(e1);
            let keys = self.pair.c0.par_chunks(n).zip(self.a.par_chunks(n));
            let rows = c0.par_chunks_mut(n).zip(c1.par_chunks_mut(n)).zip(keys).zip(primes);
            let scratch = || [(); 2].map(|()| Zeroizing::new(vec![0; n]));
            rows.for_each_init(scratch, |[u_row, e_row], (((c0, c1), (b, a)), prime)| {
                small_row(u, prime, u_row);
                for (out, key, e) in [(c0, b, &*e0), (c1, a, &*e1)] {
                    small_row(e, prime, e_row);
                    rows::add_product(prime.reducer(), out, e_row, key, u_row);
                }
            });
        }
        Ok(HostPair { limbs, batch, c0, c1: UniformHalf::Words(c1) })
    }
}

impl SecretKey {
    /// `(-a s + e + m, a)` for every message of a batch, `a` from a fresh public seed: half the size of a public-key encryption.
    ///
    /// # Shape
    /// Messages `[batch][limb][N]` in evaluation form over `basis`.
    /// # Noise
    /// Standard deviation `sigma` per coefficient.
    pub(crate) fn encrypt(&self, message: &[u32], batch: u32, basis: &Basis, rng: &mut Csprng) -> HostPair {
        let n = self.parameters().tables().log_n().degree();
        let row = basis.primes().len() * n;
        let prime = |limb: usize| &self.parameters().tables().primes()[basis.primes()[limb] as usize];
        let seed = rng.seed();
        let mut c0 = message.to_vec();
        let mut e = Zeroizing::new(vec![0; n]);
        for (poly, c0) in c0.chunks_mut(row).enumerate() {
            rng.gaussian(&mut e);
            // A row of the uniform half is made where it is used, as `expand` makes it.
            let scratch = || (vec![0; n], Zeroizing::new(vec![0; n]));
            c0.par_chunks_mut(n).enumerate().for_each_init(scratch, |(a, e_row), (limb, c0)| {
                let prime = prime(limb);
                uniform_row(&seed, poly * basis.primes().len() + limb, prime.modulus(), a);
                small_row(&e, prime, e_row);
                rows::sub_product(prime.reducer(), c0, e_row, a, self.limb(basis.primes()[limb] as usize));
            });
        }
        HostPair { limbs: LimbCount(basis.limbs()), batch, c0, c1: UniformHalf::Seeded(seed) }
    }

    /// `sum_k c_k s^k` for a batch of ciphertexts with any number of components.
    ///
    /// # Shape
    /// `components` of `[batch][limb][N]` each, evaluation form; the result `[batch][limb][N]`.
    /// # Errors
    /// [`Error::ShapeMismatch`] for components of other sizes.
    pub(crate) fn decrypt(&self, components: &[&[u32]], limbs: LimbCount) -> Result<Zeroizing<Vec<u32>>> {
        let n = self.parameters().tables().log_n().degree();
        let limbs = limbs.0 as usize;
        let known = limbs > 0 && limbs <= self.parameters().chain().0 as usize;
        let size = components.first().map_or(0, |c| c.len());
        if !known || size == 0 || !size.is_multiple_of(limbs * n) || components.iter().any(|c| c.len() != size) {
            return Err(Error::ShapeMismatch {
                op: "decrypt",
                expected: format!("components of equal size, {limbs} limbs of {n} words"),
                got: format!("{:?} words", components.iter().map(|c| c.len()).collect::<Vec<_>>()),
            });
        }
        let mut out = Zeroizing::new(vec![0; size]);
        out.par_chunks_mut(n).enumerate().for_each(|(row, out)| {
            let prime = &self.parameters().tables().primes()[row % limbs];
            let at = row * n..(row + 1) * n;
            let Some((highest, others)) = components.split_last() else { return };
            out.copy_from_slice(&highest[at.clone()]);
            for component in others.iter().rev() {
                rows::horner(prime.reducer(), out, self.limb(row % limbs), &component[at.clone()]);
            }
        });
        Ok(out)
    }
}
