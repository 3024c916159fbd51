//! The waist: whole-batch operations over buffers, recorded one after another.
//!
//! Every word that an operation reads or writes is a canonical residue in `[0, q)` of its limb's prime, so results are
//! bit-identical on every backend. `b` runs over polynomials, `l` over limbs, `i` over words; every formula holds for all
//! of them, modulo the prime of limb `l`. One operation is one mathematical unit; how it is lowered (fused passes,
//! scratch memory) is private to a backend.

use super::buffer::{Buffer, View};
use crate::error::{Error, Result};
use crate::math::RingTables;
use crate::units::GaloisElement;
use std::sync::Arc;

/// Which primes the limbs of an operand belong to: indices into [`RingTables::primes`], one a limb.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Basis(Arc<[u32]>);

impl Basis {
    /// A basis of the given primes.
    pub fn new(primes: impl IntoIterator<Item = u32>) -> Self {
        Self(primes.into_iter().collect())
    }

    /// Indices of the primes, one a limb.
    pub fn primes(&self) -> &[u32] {
        &self.0
    }

    /// Number of limbs.
    pub fn limbs(&self) -> u32 {
        u32::try_from(self.0.len()).expect("fewer than 2^32 limbs")
    }

    /// The limbs `first .. first + count`.
    pub(crate) fn slice(&self, first: u32, count: u32) -> Self {
        Self(self.0[first as usize..(first + count) as usize].into())
    }

    /// These limbs, then those of `other`.
    pub fn join(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(other.0.iter()).copied().collect())
    }
}

/// A ring known to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingId(pub(in crate::device) u32);

/// A run of limbs that is one digit of a gadget decomposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digit {
    /// First limb.
    pub first: u32,
    /// Number of limbs.
    pub limbs: u32,
}

/// What a sum of digits times a key needs beside the digits, see [`Op::GadgetDot`].
#[derive(Clone, Debug)]
pub struct InnerProduct {
    /// One buffer a digit, of two polynomials.
    pub key: Arc<[Buffer]>,
    /// Limb of the key that belongs to each limb of the basis.
    pub rows: Basis,
    /// Primes of the result.
    pub basis: Basis,
    /// Summand, or nothing.
    pub plus: Option<View>,
    /// The automorphism at the end.
    pub element: GaloisElement,
}

/// A whole-batch operation. Unless it says otherwise all operands have as many limbs as `basis`, operands with fewer
/// polynomials than `dst` repeat, and a source is either exactly the window `dst` or does not overlap it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant's formula names its operands")]
pub enum Op {
    /// `dst = 0`.
    Zero { dst: View },
    /// `dst = src`.
    Copy { dst: View, src: View },
    /// Uniform residues from a public seed: word `i` of row `r = b L + l` is `floor(x q / 2^64)`, for `L` limbs, with `x` the 64-bit
    /// little-endian word `i` of stream `r` of the seed's ChaCha20 (20 rounds, a 64-bit block counter from 0, then the stream as
    /// the 64-bit nonce): [`crate::math::Csprng::uniform`].
    Uniform { dst: View, seed: [u8; 32], basis: Basis },
    /// `dst = a + b`.
    Add { dst: View, a: View, b: View, basis: Basis },
    /// `dst = a - b`.
    Sub { dst: View, a: View, b: View, basis: Basis },
    /// `dst = -a`.
    Neg { dst: View, a: View, basis: Basis },
    /// `dst = a * b`, word by word.
    Mul { dst: View, a: View, b: View, basis: Basis },
    /// `dst = dst + a * b`, word by word.
    MulAdd { dst: View, a: View, b: View, basis: Basis },
    /// `dst[b][l] = a[b][l] * scalars[b mod P][l]`; `scalars` holds `P` rows of one residue a limb.
    MulScalar { dst: View, a: View, scalars: Arc<[u32]>, basis: Basis },
    /// `dst[b][l] = dst[b][l] + a[b][l] * scalars[b mod P][l]`, `scalars` as in [`Op::MulScalar`].
    MulScalarAdd { dst: View, a: View, scalars: Arc<[u32]>, basis: Basis },
    /// `dst[b][l][i] = a[b][l][i] + scalars[b mod P][l]`.
    AddScalar { dst: View, a: View, scalars: Arc<[u32]>, basis: Basis },
    /// Products of two linear polynomials in the secret. With `a = (a0, a1)`, `b = (b0, b1)` of `2B` polynomials each
    /// (component-major), `dst` holds the `3B` polynomials `(a0 b0, a0 b1 + a1 b0, a1 b1)`. `dst` overlaps neither.
    Tensor { dst: View, a: View, b: View, basis: Basis },
    /// `dst = NTT(src)`: word `i` is the value at `psi^(2 brv(i) + 1)`, `brv` reversing `log N` bits.
    NttForward { dst: View, src: View, basis: Basis },
    /// The exact inverse of [`Op::NttForward`], `1/N` included.
    NttInverse { dst: View, src: View, basis: Basis },
    /// `dst(X) = src(X^g)` in evaluation form: `dst[i] = src[j]` with `2 brv(j) + 1 = g (2 brv(i) + 1) mod 2N`.
    /// `dst` does not overlap `src`.
    Automorphism { dst: View, src: View, element: GaloisElement },
    /// Centred base conversion in coefficient form, see [`crate::math::Extension`]: `dst` has the limbs of `to`, `src`
    /// those of `from`. `dst` does not overlap `src`.
    BasisExtend { dst: View, src: View, from: Basis, to: Basis },
    /// Gadget decomposition of `B` polynomials `src`, over the limbs `0 .. k` of `basis` in evaluation form, into
    /// `D = digits.len()` digits. `dst` has `D * B` polynomials (digit-major) in evaluation form over all of `basis`. Limb `l` of
    /// digit `d` is `src[b][l]` if the digit contains `l`, else the forward NTT of the digit's limbs of `INTT(src)` converted to
    /// the prime of `l` as in [`Op::BasisExtend`]. `dst` does not overlap `src`.
    Decompose { dst: View, src: View, digits: Arc<[Digit]>, basis: Basis },
    /// `dst[c][b] = (Q plus[c][b] + sum_d digits[d][b] * key[d][c])(X^g)` for the components `c = 0, 1`, with an [`InnerProduct`]'s
    /// operands, `g` being its `element`. `dst` has `2B` polynomials (component-major), `digits` has `D * B` (digit-major); buffer
    /// `key[d]` has 2 polynomials, whose limb `rows[l]` belongs to limb `l`. `plus` may have fewer polynomials and limbs than `dst`: what it lacks is zero, and `Q` is
    /// the product of the primes of `basis` behind its limbs, so that the term is `Q plus` modulo all of them. `dst` overlaps
    /// nothing that is read.
    GadgetDot { dst: View, digits: View, product: InnerProduct },
    /// [`Op::GadgetDot`] of what [`Op::Decompose`] makes of `src`: a key switch before its division. No caller sees the digits, but
    /// on a GPU they take memory meanwhile.
    KeySwitch { dst: View, src: View, digits: Arc<[Digit]>, product: InnerProduct },
    /// `dst = (round(src / D) + plus)(X^g)` with `D` the product of the primes in `dropped` and `g` the `element`, in evaluation
    /// form. `src` has the limbs of `kept`, then those of `dropped`: `round(src / D)` is
    /// `(src - NTT(extend(INTT(src over dropped)))) * D^-1` over `kept`, the conversion as in [`Op::BasisExtend`]. `plus` has the
    /// limbs of `kept` and may have fewer polynomials than `dst`: those that it lacks are zero. A rescale drops the last limbs of
    /// the chain, the end of a key switch the special primes, or both at once. `dst` overlaps neither source.
    ModDown { dst: View, src: View, kept: Basis, dropped: Basis, plus: Option<View>, element: GaloisElement },
    /// `dst[c][o] = sum_i weights[o][i] * src[c][i]`, scalars mixing the polynomials of each of `components` components.
    /// `dst` has `components * O` polynomials, `src` has `components * I`; `weights` is a buffer of `O * I` rows (row-major
    /// `[o][i]`) of one word (`log_n = 0`) for each limb of the basis, or more limbs of which the first are used.
    Combine { dst: View, src: View, weights: View, components: u32, basis: Basis },
}

impl Op {
    /// The operation's name, as in profiles, snapshots and the debug switch.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Zero { .. } => "zero",
            Self::Copy { .. } => "copy",
            Self::Uniform { .. } => "uniform",
            Self::Add { .. } => "add",
            Self::Sub { .. } => "sub",
            Self::Neg { .. } => "neg",
            Self::Mul { .. } => "mul",
            Self::MulAdd { .. } => "mul_add",
            Self::MulScalar { .. } => "mul_scalar",
            Self::MulScalarAdd { .. } => "mul_scalar_add",
            Self::AddScalar { .. } => "add_scalar",
            Self::Tensor { .. } => "tensor",
            Self::NttForward { .. } => "ntt_forward",
            Self::NttInverse { .. } => "ntt_inverse",
            Self::Automorphism { .. } => "automorphism",
            Self::BasisExtend { .. } => "basis_extend",
            Self::Decompose { .. } => "decompose",
            Self::GadgetDot { .. } => "gadget_dot",
            Self::KeySwitch { .. } => "key_switch",
            Self::ModDown { .. } => "mod_down",
            Self::Combine { .. } => "combine",
        }
    }

    /// The window that is written.
    pub fn dst(&self) -> &View {
        match self {
            Self::Zero { dst }
            | Self::Copy { dst, .. }
            | Self::Uniform { dst, .. }
            | Self::Add { dst, .. }
            | Self::Sub { dst, .. }
            | Self::Neg { dst, .. }
            | Self::Mul { dst, .. }
            | Self::MulAdd { dst, .. }
            | Self::MulScalar { dst, .. }
            | Self::MulScalarAdd { dst, .. }
            | Self::AddScalar { dst, .. }
            | Self::Tensor { dst, .. }
            | Self::NttForward { dst, .. }
            | Self::NttInverse { dst, .. }
            | Self::Automorphism { dst, .. }
            | Self::BasisExtend { dst, .. }
            | Self::Decompose { dst, .. }
            | Self::GadgetDot { dst, .. }
            | Self::KeySwitch { dst, .. }
            | Self::ModDown { dst, .. }
            | Self::Combine { dst, .. } => dst,
        }
    }

    /// The windows that are read, keys as whole buffers, `plus` last. [`Op::MulAdd`] and [`Op::MulScalarAdd`] read their `dst` too,
    /// which is not listed.
    pub fn sources(&self) -> Vec<View> {
        let (first, keys, last) = self.operands();
        let first = first.into_iter().flatten().cloned();
        first.chain(keys.iter().map(Buffer::view)).chain(last.cloned()).collect()
    }

    /// What is read: up to two windows, whole buffers, one more window.
    fn operands(&self) -> ([Option<&View>; 2], &[Buffer], Option<&View>) {
        match self {
            Self::Zero { .. } | Self::Uniform { .. } => ([None, None], &[], None),
            Self::Copy { src: a, .. }
            | Self::NttForward { src: a, .. }
            | Self::NttInverse { src: a, .. }
            | Self::Automorphism { src: a, .. }
            | Self::BasisExtend { src: a, .. }
            | Self::Decompose { src: a, .. }
            | Self::Neg { a, .. }
            | Self::MulScalar { a, .. }
            | Self::MulScalarAdd { a, .. }
            | Self::AddScalar { a, .. } => ([Some(a), None], &[], None),
            Self::Add { a, b, .. }
            | Self::Sub { a, b, .. }
            | Self::Mul { a, b, .. }
            | Self::MulAdd { a, b, .. }
            | Self::Tensor { a, b, .. }
            | Self::Combine { src: a, weights: b, .. } => ([Some(a), Some(b)], &[], None),
            Self::GadgetDot { digits: src, product, .. } | Self::KeySwitch { src, product, .. } => {
                ([Some(src), None], &product.key, product.plus.as_ref())
            }
            Self::ModDown { src, plus, .. } => ([Some(src), None], &[], plus.as_ref()),
        }
    }

    /// Every buffer that is read.
    pub(in crate::device) fn read_buffers(&self) -> impl Iterator<Item = &Buffer> {
        let (first, keys, last) = self.operands();
        first.into_iter().chain([last]).flatten().map(|view| &view.buffer).chain(keys)
    }

    /// Bytes that it moves at least: every operand once, and the result once.
    #[cfg(feature = "profiling")]
    pub(in crate::device) fn bytes(&self) -> u64 {
        let reads_dst = matches!(self, Self::MulAdd { .. } | Self::MulScalarAdd { .. });
        let (first, keys, last) = self.operands();
        // Of a key only the rows of the operation's limbs are read.
        let key_bytes = (keys.len() as u64 * 2 * u64::from(self.dst().limbs) * 4) << self.dst().shape().log_n;
        let windows = first.into_iter().chain([last, Some(self.dst()), reads_dst.then(|| self.dst())]).flatten();
        windows.map(|view| view.shape().bytes()).sum::<u64>() + key_bytes
    }

    /// The same operation on other memory: `f` is called on every buffer, in place.
    ///
    /// # Errors
    /// Whatever `f` returns.
    pub fn try_map_buffers(mut self, mut f: impl FnMut(&Buffer) -> Result<Buffer>) -> Result<Self> {
        let mut on = |view: &mut View| -> Result<()> {
            view.buffer = f(&view.buffer)?;
            Ok(())
        };
        match &mut self {
            Self::Zero { dst } | Self::Uniform { dst, .. } => on(dst)?,
            Self::Copy { dst, src }
            | Self::NttForward { dst, src, .. }
            | Self::NttInverse { dst, src, .. }
            | Self::Automorphism { dst, src, .. }
            | Self::BasisExtend { dst, src, .. }
            | Self::Decompose { dst, src, .. } => {
                on(dst)?;
                on(src)?;
            }
            Self::Neg { dst, a, .. }
            | Self::MulScalar { dst, a, .. }
            | Self::MulScalarAdd { dst, a, .. }
            | Self::AddScalar { dst, a, .. } => {
                on(dst)?;
                on(a)?;
            }
            Self::Add { dst, a, b, .. }
            | Self::Sub { dst, a, b, .. }
            | Self::Mul { dst, a, b, .. }
            | Self::MulAdd { dst, a, b, .. }
            | Self::Tensor { dst, a, b, .. } => {
                on(dst)?;
                on(a)?;
                on(b)?;
            }
            Self::GadgetDot { dst, digits: src, product } | Self::KeySwitch { dst, src, product, .. } => {
                on(dst)?;
                on(src)?;
                product.plus.as_mut().map_or(Ok(()), &mut on)?;
                let mapped: Result<Vec<Buffer>> = product.key.iter().map(f).collect();
                product.key = mapped?.into();
            }
            Self::ModDown { dst, src, plus, .. } => {
                on(dst)?;
                on(src)?;
                plus.as_mut().map_or(Ok(()), &mut on)?;
            }
            Self::Combine { dst, src, weights, .. } => {
                on(dst)?;
                on(src)?;
                on(weights)?;
            }
        }
        Ok(self)
    }

    /// Checks every shape, index and overlap, so that backends may trust the operation.
    ///
    /// # Errors
    /// [`Error::BadProgram`] that names the operation and the rule it breaks.
    pub fn check(&self, ring: &RingTables) -> Result<()> {
        Check { op: self, ring }.run()
    }
}

/// Name and shapes in `polynomials x limbs`: `mod_down 2x3 <- 2x5`.
impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}", self.name(), self.dst().polys, self.dst().limbs)?;
        for (index, source) in self.sources().iter().enumerate() {
            write!(f, "{} {}x{}", if index == 0 { " <-" } else { "," }, source.polys, source.limbs)?;
        }
        Ok(())
    }
}

struct Check<'a> {
    op: &'a Op,
    ring: &'a RingTables,
}

impl Check<'_> {
    fn ensure(&self, holds: bool, rule: impl FnOnce() -> String) -> Result<()> {
        if holds { Ok(()) } else { Err(Error::BadProgram { op: self.op.name(), reason: rule() }) }
    }

    fn run(&self) -> Result<()> {
        let dst = self.op.dst();
        let ([a, b], keys, last) = self.op.operands();
        let scalar_weights = matches!(self.op, Op::Combine { .. });
        self.window(dst, false)?;
        for (source, scalar) in [(a, false), (b, scalar_weights), (last, false)] {
            let Some(source) = source else { continue };
            self.window(source, scalar)?;
            let disjoint = !dst.overlaps(source);
            self.ensure(disjoint || (self.in_place_allowed() && dst.is_same(source)), || {
                "a source overlaps the destination".into()
            })?;
        }
        for key in keys {
            let shape = key.shape();
            self.ensure(shape.log_n == self.ring.log_n().get(), || format!("a key of shape {shape}"))?;
            self.ensure(!key.is_same(&dst.buffer), || "a source overlaps the destination".into())?;
        }
        match self.op {
            Op::Zero { .. } => Ok(()),
            Op::Uniform { basis, .. } => self.over(basis, &[dst]),
            Op::Copy { src, .. } => self.repeats(dst, src, dst.limbs),
            Op::Automorphism { src, element, .. } => {
                self.galois(*element)?;
                self.repeats(dst, src, dst.limbs)
            }
            Op::Add { a, b, basis, .. }
            | Op::Sub { a, b, basis, .. }
            | Op::Mul { a, b, basis, .. }
            | Op::MulAdd { a, b, basis, .. } => {
                self.over(basis, &[dst])?;
                self.repeats(dst, a, basis.limbs())?;
                self.repeats(dst, b, basis.limbs())
            }
            Op::Neg { a, basis, .. } | Op::NttForward { src: a, basis, .. } | Op::NttInverse { src: a, basis, .. } => {
                self.over(basis, &[dst])?;
                self.repeats(dst, a, basis.limbs())
            }
            Op::MulScalar { a, scalars, basis, .. }
            | Op::MulScalarAdd { a, scalars, basis, .. }
            | Op::AddScalar { a, scalars, basis, .. } => {
                self.over(basis, &[dst])?;
                self.repeats(dst, a, basis.limbs())?;
                self.scalars(scalars, basis)
            }
            Op::Tensor { a, b, basis, .. } => {
                self.over(basis, &[dst, a, b])?;
                self.ensure(a.polys == b.polys && a.polys.is_multiple_of(2) && dst.polys == a.polys / 2 * 3, || {
                    format!("{} and {} polynomials do not make {}", a.polys, b.polys, dst.polys)
                })
            }
            Op::BasisExtend { src, from, to, .. } => {
                self.over(to, &[dst])?;
                self.over(from, &[src])?;
                self.extension(from, to)?;
                self.repeats(dst, src, from.limbs())
            }
            Op::Decompose { src, digits, basis, .. } => {
                self.over(basis, &[dst])?;
                self.digits(src, digits, basis)?;
                self.ensure(u64::from(dst.polys) == u64::from(src.polys) * digits.len() as u64, || {
                    format!("{} polynomials for {} digits of {}", dst.polys, digits.len(), src.polys)
                })
            }
            Op::GadgetDot { digits, product, .. } => {
                self.inner_product(product)?;
                self.over(&product.basis, &[digits])?;
                let (batch, keys) = (dst.polys / 2, product.key.len());
                self.ensure(u64::from(digits.polys) == u64::from(batch) * keys as u64, || {
                    format!("{} digits' polynomials for {batch} and {keys} key digits", digits.polys)
                })
            }
            Op::KeySwitch { src, digits, product, .. } => {
                self.inner_product(product)?;
                self.digits(src, digits, &product.basis)?;
                let (keys, count) = (product.key.len(), digits.len());
                self.ensure(u64::from(dst.polys) == 2 * u64::from(src.polys) && keys == count, || {
                    format!("{} to {} polynomials, {keys} keys for {count} digits", src.polys, dst.polys)
                })
            }
            Op::ModDown { src, kept, dropped, plus, element, .. } => {
                self.over(kept, &[dst])?;
                self.over(&kept.join(dropped), &[src])?;
                self.extension(dropped, kept)?;
                self.ensure(kept.primes().iter().all(|p| !dropped.primes().contains(p)), || {
                    "a prime both kept and dropped".into()
                })?;
                self.ensure(src.polys == dst.polys, || format!("{} to {} polynomials", src.polys, dst.polys))?;
                self.plus(plus.as_ref(), kept.limbs())?;
                self.ensure(plus.as_ref().is_none_or(|plus| plus.limbs == kept.limbs()), || {
                    "a summand of fewer limbs".into()
                })?;
                self.galois(*element)
            }
            Op::Combine { src, weights, components, basis, .. } => {
                self.over(basis, &[dst, src])?;
                let whole = |polys: u32| *components > 0 && polys.is_multiple_of(*components);
                self.ensure(whole(dst.polys) && whole(src.polys), || format!("{components} components"))?;
                let expected = u64::from(dst.polys / components) * u64::from(src.polys / components);
                self.ensure(u64::from(weights.polys) == expected && weights.limbs >= basis.limbs(), || {
                    format!("weights of shape {}", weights.shape())
                })
            }
        }
    }

    fn in_place_allowed(&self) -> bool {
        !matches!(
            self.op,
            Op::Tensor { .. }
                | Op::Automorphism { .. }
                | Op::BasisExtend { .. }
                | Op::Decompose { .. }
                | Op::GadgetDot { .. }
                | Op::KeySwitch { .. }
                | Op::ModDown { .. }
                | Op::Combine { .. }
        )
    }

    fn window(&self, view: &View, scalar: bool) -> Result<()> {
        let shape = view.buffer.shape();
        let log_n = if scalar { 0 } else { self.ring.log_n().get() };
        let inside =
            |first: u32, count: u32, all: u32| count > 0 && first.checked_add(count).is_some_and(|end| end <= all);
        let fits = shape.log_n == log_n
            && inside(view.first_poly, view.polys, shape.batch)
            && inside(view.first_limb, view.limbs, shape.limbs);
        self.ensure(fits, || format!("a window outside its buffer of shape {shape}"))
    }

    fn over(&self, basis: &Basis, views: &[&View]) -> Result<()> {
        let known = basis.primes().iter().all(|&p| (p as usize) < self.ring.primes().len());
        self.ensure(known, || "a prime that the ring does not have".into())?;
        for view in views {
            self.ensure(view.limbs == basis.limbs(), || format!("{} limbs over {} primes", view.limbs, basis.limbs()))?;
        }
        Ok(())
    }

    fn repeats(&self, dst: &View, source: &View, limbs: u32) -> Result<()> {
        self.ensure(source.limbs == limbs && dst.polys.is_multiple_of(source.polys), || {
            format!("{} cannot repeat over {}", source.shape(), dst.shape())
        })
    }

    fn scalars(&self, scalars: &[u32], basis: &Basis) -> Result<()> {
        let rows = scalars.len() / basis.primes().len();
        let whole = rows > 0 && scalars.len() == rows * basis.primes().len();
        self.ensure(whole && (self.op.dst().polys as usize).is_multiple_of(rows), || {
            format!("{} scalars for {} limbs", scalars.len(), basis.limbs())
        })?;
        let reduced = scalars
            .chunks(basis.primes().len())
            .all(|row| row.iter().zip(basis.primes()).all(|(&s, &p)| s < self.ring.primes()[p as usize].q()));
        self.ensure(reduced, || "a scalar that is not reduced".into())
    }

    /// Digits cover the limbs of `src`, which belong to the first primes of `basis`.
    fn digits(&self, src: &View, digits: &[Digit], basis: &Basis) -> Result<()> {
        let mut next = 0;
        for digit in digits {
            self.ensure(digit.first == next && digit.limbs > 0, || "digits leave a gap".into())?;
            next = next.saturating_add(digit.limbs);
            self.ensure(next <= src.limbs && next <= basis.limbs(), || "digits exceed the limbs".into())?;
            self.extension(&basis.slice(digit.first, digit.limbs), basis)?;
        }
        self.ensure(next == src.limbs, || format!("digits cover {next} of {} limbs", src.limbs))
    }

    /// Everything of a product of digits into pairs but the digits.
    fn inner_product(&self, product: &InnerProduct) -> Result<()> {
        let InnerProduct { key, rows, basis, plus, element } = product;
        self.over(basis, &[self.op.dst()])?;
        let pairs = self.op.dst().polys.is_multiple_of(2);
        self.ensure(pairs && !key.is_empty(), || "no key, or no pairs".into())?;
        self.ensure(rows.limbs() == basis.limbs(), || "one key row a limb".into())?;
        for buffer in key.iter() {
            let shape = buffer.shape();
            let fits = shape.batch == 2 && rows.primes().iter().all(|&row| row < shape.limbs);
            self.ensure(fits, || format!("a key digit of shape {shape}"))?;
        }
        self.plus(plus.as_ref(), basis.limbs())?;
        self.galois(*element)
    }

    /// A summand of at most as many polynomials as `dst` and at most `limbs` limbs.
    fn plus(&self, plus: Option<&View>, limbs: u32) -> Result<()> {
        let dst = self.op.dst();
        plus.map_or(Ok(()), |plus| {
            self.ensure(plus.polys <= dst.polys && plus.limbs <= limbs, || {
                format!("{} added to {}", plus.shape(), dst.shape())
            })
        })
    }

    fn galois(&self, element: GaloisElement) -> Result<()> {
        self.ensure(element.get() % 2 == 1 && element.get() < 2 << self.ring.log_n().get(), || {
            format!("{} is no Galois element", element.get())
        })
    }

    fn extension(&self, from: &Basis, to: &Basis) -> Result<()> {
        let most = crate::math::Extension::MAX_SOURCES;
        let size = from.primes().len();
        self.ensure((1..=most).contains(&size), || format!("conversion from {size} limbs, 1 to {most} are possible"))?;
        let mut seen: Vec<u32> = from.primes().to_vec();
        seen.sort_unstable();
        self.ensure(seen.windows(2).all(|w| w[0] != w[1]), || "a prime twice".into())?;
        self.over(to, &[])
    }
}
