//! Batches of polynomials with their domain in the type.

use super::Ring;
use crate::device::{Basis, InnerProduct, Op, View};
use crate::error::{Error, Result};
use crate::math::Seed;
use crate::units::{GaloisElement, LimbCount, Shape};
use std::marker::PhantomData;
use std::sync::Arc;

/// Coefficient form.
#[derive(Clone, Copy, Debug)]
pub struct Coefficient;
/// Evaluation form: products are word by word.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation;

/// The form that a polynomial's words are in.
pub trait Domain: Copy + std::fmt::Debug {}
impl Domain for Coefficient {}
impl Domain for Evaluation {}

/// A batch of polynomials modulo the primes of a basis, in the domain `D`. Immutable; cloning shares the memory.
#[derive(Clone, Debug)]
pub struct RnsPoly<D: Domain> {
    ring: Ring,
    basis: Basis,
    view: View,
    domain: PhantomData<D>,
}

impl<D: Domain> RnsPoly<D> {
    /// Uploads words `[batch][limb][N]`, canonical residues of the basis.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a wrong number of words, [`Error::BadValue`] for a word that is not reduced; device failures.
    pub fn upload(ring: &Ring, basis: &Basis, batch: u32, words: &[u32]) -> Result<Self> {
        let shape = Self::shape_of(ring, basis, batch, words)?;
        Ok(Self::over(ring, basis, ring.device().upload(shape, words)?.view()))
    }

    /// Uploads the words of the first polynomials of a batch; the device expands all others from a public seed, see
    /// [`Op::Uniform`].
    ///
    /// # Cost
    /// No more words travel than are given.
    /// # Errors
    /// As [`Self::upload`].
    pub fn upload_seeded(ring: &Ring, basis: &Basis, batch: u32, words: &[u32], seed: &Seed) -> Result<Self> {
        let shape = Self::shape_of(ring, basis, batch, words)?;
        let row = Shape { batch: 1, ..shape }.words();
        let given = words.len().checked_div(row).and_then(|polys| u32::try_from(polys).ok());
        let Some(given) = given.filter(|&polys| polys < batch && words.len().is_multiple_of(row)) else {
            return Err(Error::ShapeMismatch {
                op: "upload_seeded",
                expected: format!("whole polynomials of {row} words, fewer than {batch}"),
                got: format!("{} words", words.len()),
            });
        };
        let view = ring.device().upload_head(shape, words)?.view();
        let dst = view.polys(given, batch - given)?;
        ring.record(Op::Uniform { dst, seed: *seed.expose(), basis: basis.clone() })?;
        Ok(Self::over(ring, basis, view))
    }

    /// The shape of a batch, once its basis and words are checked.
    fn shape_of(ring: &Ring, basis: &Basis, batch: u32, words: &[u32]) -> Result<Shape> {
        let n = ring.log_n().degree();
        if let Some(&p) = basis.primes().iter().find(|&&p| p as usize >= ring.tables().primes().len()) {
            return Err(Error::InvalidParameter { what: "basis", reason: format!("the ring has no prime {p}") });
        }
        let moduli = || basis.primes().iter().map(|&p| ring.tables().primes()[p as usize].q()).cycle();
        for (row, (words, q)) in words.chunks(n).zip(moduli()).enumerate() {
            if let Some(at) = words.iter().position(|&w| w >= q) {
                return Err(Error::BadValue { index: row * n + at, reason: "a residue above its modulus" });
            }
        }
        Ok(Shape { batch, limbs: basis.limbs(), log_n: ring.log_n().get() })
    }

    /// Words `[batch][limb][N]`. Waits for the device.
    ///
    /// # Errors
    /// Device failures.
    pub fn download(&self) -> Result<Vec<u32>> {
        let words = self.ring.device().download(&self.view.buffer)?;
        let shape = self.view.buffer.shape();
        if shape == self.view.shape() {
            return Ok(words);
        }
        let n = self.ring.log_n().degree();
        let rows = (0..self.view.polys).flat_map(|b| (0..self.view.limbs).map(move |l| (b, l)));
        Ok(rows.flat_map(|(b, l)| &words[self.view.offset(b, l)..][..n]).copied().collect())
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The primes of the limbs.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Polynomials in the batch.
    pub fn batch(&self) -> u32 {
        self.view.polys
    }

    /// Limbs of each polynomial.
    pub fn limbs(&self) -> LimbCount {
        LimbCount(self.view.limbs)
    }

    /// The memory behind the batch.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn over(ring: &Ring, basis: &Basis, view: View) -> Self {
        Self { ring: ring.clone(), basis: basis.clone(), view, domain: PhantomData }
    }

    /// The polynomials `first .. first + count` of the batch, sharing memory.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] outside the batch.
    pub fn slice(&self, first: u32, count: u32) -> Result<Self> {
        Ok(Self::over(&self.ring, &self.basis, self.view.polys(first, count)?))
    }

    /// The first `limbs` limbs, sharing memory: reduction to a smaller modulus.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for more limbs than there are.
    pub fn truncate(&self, limbs: LimbCount) -> Result<Self> {
        let view = self.view.limbs(0, limbs.0)?;
        Ok(Self::over(&self.ring, &self.basis.slice(0, limbs.0), view))
    }

    /// Records `op` into fresh memory of `polys` polynomials over `basis`.
    fn fresh<E: Domain>(&self, polys: u32, basis: &Basis, op: impl FnOnce(View) -> Op) -> Result<RnsPoly<E>> {
        let view = self.ring.alloc(polys, basis)?.view();
        self.ring.record(op(view.clone()))?;
        Ok(RnsPoly::over(&self.ring, basis, view))
    }

    fn same_ring(&self, op: &'static str, other: &Self) -> Result<()> {
        if !self.ring.device().is_same(other.ring.device()) {
            return Err(Error::DeviceMismatch {
                op,
                left: self.ring.device().name().into(),
                right: other.ring.device().name().into(),
            });
        }
        if !self.ring.is_same(&other.ring) {
            return Err(Error::ParameterMismatch { op });
        }
        if self.basis != other.basis || !self.batch().is_multiple_of(other.batch()) {
            return Err(Error::ShapeMismatch {
                op,
                expected: format!("{} (or a batch that divides it)", self.view.shape()),
                got: format!("{}", other.view.shape()),
            });
        }
        Ok(())
    }

    /// `self + other`; a smaller batch repeats.
    ///
    /// # Errors
    /// Another ring, device, basis, or a batch that does not divide this one.
    pub fn add(&self, other: &Self) -> Result<Self> {
        self.same_ring("add", other)?;
        let (a, b, basis) = (self.view.clone(), other.view.clone(), self.basis.clone());
        self.fresh(self.batch(), &self.basis, |dst| Op::Add { dst, a, b, basis })
    }

    /// `self - other`; a smaller batch repeats.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn sub(&self, other: &Self) -> Result<Self> {
        self.same_ring("sub", other)?;
        let (a, b, basis) = (self.view.clone(), other.view.clone(), self.basis.clone());
        self.fresh(self.batch(), &self.basis, |dst| Op::Sub { dst, a, b, basis })
    }

    /// `-self`.
    ///
    /// # Errors
    /// Device failures.
    pub fn neg(&self) -> Result<Self> {
        let (a, basis) = (self.view.clone(), self.basis.clone());
        self.fresh(self.batch(), &self.basis, |dst| Op::Neg { dst, a, basis })
    }

    /// `self * scalar`, one integer for every polynomial.
    ///
    /// # Errors
    /// Device failures.
    pub fn mul_scalar(&self, scalar: i128) -> Result<Self> {
        let scalars: Arc<[u32]> = self.ring.residues(scalar, &self.basis).into();
        let (a, basis) = (self.view.clone(), self.basis.clone());
        self.fresh(self.batch(), &self.basis, |dst| Op::MulScalar { dst, a, scalars, basis })
    }

    /// `self[.. head.batch][.. head.limbs] += head`, in place: only for a value just made, whose memory nobody shares.
    pub(crate) fn accumulate_head(self, head: &Self) -> Result<Self> {
        let window = self.slice(0, head.batch())?.truncate(head.limbs())?;
        window.same_ring("accumulate_head", head)?;
        let (dst, a, b, basis) = (window.view.clone(), window.view, head.view.clone(), window.basis);
        self.ring.record(Op::Add { dst, a, b, basis })?;
        Ok(self)
    }

    /// `self[.. head.batch] += scalar * head`, in place, as [`Self::accumulate_head`].
    pub(crate) fn accumulate_scaled(self, head: &Self, scalar: i128) -> Result<Self> {
        let window = self.slice(0, head.batch())?.truncate(head.limbs())?;
        window.same_ring("accumulate_scaled", head)?;
        let scalars: Arc<[u32]> = self.ring.residues(scalar, &window.basis).into();
        let (dst, a, basis) = (window.view, head.view.clone(), window.basis);
        self.ring.record(Op::MulScalarAdd { dst, a, scalars, basis })?;
        Ok(self)
    }

    /// Several batches as one, in order.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for none, or for batches of other shapes, rings or devices.
    pub fn concat(parts: &[&Self]) -> Result<Self> {
        let Some(first) = parts.first() else {
            return Err(Error::ShapeMismatch { op: "concat", expected: "a batch".into(), got: "none".into() });
        };
        let total = parts.iter().map(|p| p.batch()).sum();
        let view = first.ring.alloc(total, &first.basis)?.view();
        let mut next = 0;
        for part in parts {
            if !part.ring.is_same(&first.ring) || part.basis != first.basis {
                return Err(Error::ParameterMismatch { op: "concat" });
            }
            first.ring.record(Op::Copy { dst: view.polys(next, part.batch())?, src: part.view.clone() })?;
            next += part.batch();
        }
        Ok(Self::over(&first.ring, &first.basis, view))
    }
}

impl RnsPoly<Coefficient> {
    /// Forward NTT of every limb.
    ///
    /// # Errors
    /// Device failures.
    pub fn into_evaluation(self) -> Result<RnsPoly<Evaluation>> {
        let (src, basis) = (self.view.clone(), self.basis.clone());
        self.fresh(self.batch(), &self.basis, |dst| Op::NttForward { dst, src, basis })
    }

    /// The same polynomials over another basis, see [`crate::math::Extension`].
    ///
    /// # Errors
    /// [`Error::BadProgram`] from more limbs than a conversion takes.
    pub fn extend(&self, to: &Basis) -> Result<Self> {
        let (src, from, into) = (self.view.clone(), self.basis.clone(), to.clone());
        self.fresh(self.batch(), to, |dst| Op::BasisExtend { dst, src, from, to: into })
    }
}

impl RnsPoly<Evaluation> {
    /// Inverse NTT of every limb.
    ///
    /// # Errors
    /// Device failures.
    pub fn into_coefficient(self) -> Result<RnsPoly<Coefficient>> {
        let (src, basis) = (self.view.clone(), self.basis.clone());
        self.fresh(self.batch(), &self.basis, |dst| Op::NttInverse { dst, src, basis })
    }

    /// `self * other`, negacyclic; a smaller batch repeats.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn mul(&self, other: &Self) -> Result<Self> {
        self.same_ring("mul", other)?;
        let (a, b, basis) = (self.view.clone(), other.view.clone(), self.basis.clone());
        self.fresh(self.batch(), &self.basis, |dst| Op::Mul { dst, a, b, basis })
    }

    /// `sum_i a_i b_i`, in one accumulator.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for no terms, else as [`Self::add`].
    pub fn dot(terms: &[(&Self, &Self)]) -> Result<Self> {
        let Some(((a, b), rest)) = terms.split_first() else {
            return Err(Error::ShapeMismatch { op: "dot", expected: "terms".into(), got: "none".into() });
        };
        let sum = a.mul(b)?;
        for (x, y) in rest {
            sum.same_ring("dot", x)?;
            sum.same_ring("dot", y)?;
            let (dst, a, b, basis) = (sum.view.clone(), x.view.clone(), y.view.clone(), sum.basis.clone());
            sum.ring.record(Op::MulAdd { dst, a, b, basis })?;
        }
        Ok(sum)
    }

    /// `(a0, a1) x (b0, b1) = (a0 b0, a0 b1 + a1 b0, a1 b1)` for batches of pairs, component-major.
    ///
    /// # Errors
    /// As [`Self::add`]; the batches must be equal.
    pub fn tensor(&self, other: &Self) -> Result<Self> {
        self.same_ring("tensor", other)?;
        let (a, b, basis) = (self.view.clone(), other.view.clone(), self.basis.clone());
        self.fresh(self.batch() / 2 * 3, &self.basis, |dst| Op::Tensor { dst, a, b, basis })
    }

    /// `self(X^g)`.
    ///
    /// # Errors
    /// Device failures.
    pub fn automorphism(&self, element: GaloisElement) -> Result<Self> {
        let src = self.view.clone();
        self.fresh(self.batch(), &self.basis, |dst| Op::Automorphism { dst, src, element })
    }

    /// `D` times the polynomials over the basis joined with `others`, where `D` is the product of the primes of `others`: zero there.
    ///
    /// # Errors
    /// Device failures.
    pub(crate) fn raise(&self, others: &Basis) -> Result<Self> {
        let basis = self.basis.join(others);
        let view = self.ring.alloc(self.batch(), &basis)?.view();
        let tables = self.ring.tables();
        let scalars = self.basis.primes().iter().map(|&prime| tables.product(others.primes(), prime)).collect();
        let (dst, a) = (view.limbs(0, self.view.limbs)?, self.view.clone());
        self.ring.record(Op::MulScalar { dst, a, scalars, basis: self.basis.clone() })?;
        self.ring.record(Op::Zero { dst: view.limbs(self.view.limbs, others.limbs())? })?;
        Ok(Self::over(&self.ring, &basis, view))
    }

    /// `plus + sum_i factors[i] values[i]`: polynomial `i` of one batch times every polynomial of the batch `values[i]`.
    ///
    /// # Cost
    /// One pass over all operands for pairs of polynomials in memory of their own, else one for each term.
    /// # Errors
    /// [`Error::ShapeMismatch`] unless there is one factor for each value, else as [`Self::add`].
    pub(crate) fn dot_each(factors: &Self, values: &[&Self], plus: Option<&Self>) -> Result<Self> {
        if values.is_empty() || values.len() != factors.batch() as usize {
            let expected = format!("{} values, at least one", factors.batch());
            return Err(Error::ShapeMismatch { op: "dot_each", expected, got: format!("{}", values.len()) });
        }
        let first = factors.slice(0, 1)?;
        values.iter().copied().chain(plus).try_for_each(|value| value.same_ring("dot_each", &first))?;
        let whole = |value: &&Self| value.batch() == 2 && value.view.shape() == value.view.buffer.shape();
        if values.iter().all(whole) {
            let key: Arc<[_]> = values.iter().map(|value| value.view.buffer.clone()).collect();
            let (digits, basis) = (factors.view.clone(), factors.basis.clone());
            let rows = Basis::new(0..basis.limbs());
            let (plus, element) = (plus.map(|plus| plus.view.clone()), GaloisElement::IDENTITY);
            let product = InnerProduct { key, rows, basis, plus, element };
            return factors.fresh(2, &factors.basis, |dst| Op::GadgetDot { dst, digits, product });
        }
        let factors: Vec<_> = (0..factors.batch()).map(|i| factors.slice(i, 1)).collect::<Result<_>>()?;
        let sum = Self::dot(&values.iter().copied().zip(&factors).collect::<Vec<_>>())?;
        match plus {
            Some(plus) => sum.accumulate_head(plus),
            None => Ok(sum),
        }
    }

    /// `out[c][o] = sum_i weights[o][i] self[c][i]` for each of `components` components, see [`Op::Combine`].
    ///
    /// # Errors
    /// [`Error::BadProgram`] for weights of another shape.
    pub(crate) fn combine(&self, weights: &View, outputs: u32, components: u32) -> Result<Self> {
        let (src, weights, basis) = (self.view.clone(), weights.clone(), self.basis.clone());
        self.fresh(outputs * components, &self.basis, |dst| Op::Combine { dst, src, weights, components, basis })
    }

    /// `self + scalars`: integer `b mod scalars.len()` is added to the constant coefficient of polynomial `b`, which is every
    /// word in this form.
    ///
    /// # Errors
    /// [`Error::BadProgram`] unless the batch is a multiple of the number of scalars.
    pub fn add_scalars(&self, scalars: &[i128]) -> Result<Self> {
        let scalars: Arc<[u32]> = scalars.iter().flat_map(|&s| self.ring.residues(s, &self.basis)).collect();
        let (a, basis) = (self.view.clone(), self.basis.clone());
        self.fresh(self.batch(), &self.basis, |dst| Op::AddScalar { dst, a, scalars, basis })
    }

    /// Divides by the primes of all limbs from `kept` on, and rounds: `out = round(a / D)`.
    ///
    /// # Shape
    /// `[batch][limbs][N]` to `[batch][kept][N]`.
    /// # Noise
    /// The rounding adds at most `1/2 (1 + 2^-22)` to a coefficient.
    /// # Cost
    /// Per polynomial: `limbs - kept` inverse and `kept` forward NTTs.
    /// # Errors
    /// [`Error::ShapeMismatch`] unless some limbs stay and some go; [`Error::BadProgram`] for more than 15 that go.
    pub fn mod_down(&self, kept: LimbCount) -> Result<Self> {
        self.mod_down_plus(kept, None, GaloisElement::IDENTITY)
    }

    /// `(round(self / D) + plus)(X^g)`, as [`Self::mod_down`]; `plus` may be the first polynomials only.
    ///
    /// # Errors
    /// As [`Self::mod_down`]; [`Error::ParameterMismatch`] for a summand over other limbs than those kept.
    pub(crate) fn mod_down_plus(&self, kept: LimbCount, plus: Option<&Self>, element: GaloisElement) -> Result<Self> {
        let all = self.view.limbs;
        if kept.0 == 0 || kept.0 >= all {
            return Err(Error::ShapeMismatch {
                op: "mod_down",
                expected: format!("1 to {} limbs kept", all - 1),
                got: format!("{}", kept.0),
            });
        }
        let (kept, dropped) = (self.basis.slice(0, kept.0), self.basis.slice(kept.0, all - kept.0));
        if plus.is_some_and(|plus| !plus.ring.is_same(&self.ring) || plus.basis != kept) {
            return Err(Error::ParameterMismatch { op: "mod_down" });
        }
        let (src, plus, target) = (self.view.clone(), plus.map(|plus| plus.view.clone()), kept.clone());
        self.fresh(self.batch(), &target, |dst| Op::ModDown { dst, src, kept, dropped, plus, element })
    }
}
