//! Operations to kernel launches, one file a family.

mod convert;
mod element;
mod gadget;
mod ntt;

pub(super) use ntt::GpuRing;

use super::catalog::{ELEMENT_THREADS, Element};
use super::dispatch::Recorder;
use super::tables::{Table, Tables};
use crate::device::program::Op;
use crate::error::Result;

/// What lowering an operation needs.
#[derive(Debug)]
pub(super) struct Lowering<'a> {
    pub(super) recorder: &'a mut Recorder,
    pub(super) tables: &'a mut Tables,
    pub(super) id: u32,
    pub(super) ring: &'a GpuRing,
}

impl Lowering<'_> {
    fn table(&mut self, table: Table) -> u32 {
        self.tables.intern(self.id, self.ring.tables(), table)
    }

    fn log_n(&self) -> u32 {
        self.ring.tables().log_n().get()
    }

    /// Workgroups along x of kernels with four words a thread.
    fn groups(&self) -> u32 {
        (1 << (self.log_n() - 2)) / ELEMENT_THREADS
    }
}

/// Lowers one checked operation.
pub(super) fn op(to: &mut Lowering<'_>, op: &Op) -> Result<()> {
    match op {
        Op::NttForward { dst, src, basis } => ntt::forward(to, dst, src, basis),
        Op::NttInverse { dst, src, basis } => ntt::inverse(to, dst, src, basis),
        Op::BasisExtend { dst, src, from, to: target } => convert::basis_extend(to, (dst, src), (from, target)),
        Op::Decompose { dst, src, digits, basis } => convert::decompose(to, (dst, src), digits, basis),
        Op::ModDown { dst, src, kept, dropped, plus, element } => {
            convert::mod_down(to, (dst, src), (kept, dropped), plus.as_ref(), *element)
        }
        Op::Automorphism { dst, src, element } => gadget::automorphism(to, (dst, src), *element),
        Op::GadgetDot { dst, digits, product } => gadget::gadget_dot(to, (dst, digits), product),
        Op::KeySwitch { dst, src, digits, product } => gadget::key_switch(to, (dst, src), digits, product),
        Op::Combine { dst, src, weights, components, basis } => {
            element::combine(to, (dst, src, weights), *components, basis)
        }
        Op::Uniform { dst, seed, basis } => element::uniform(to, dst, *seed, basis),
        Op::Tensor { dst, a, b, basis } => element::tensor(to, (dst, a, b), basis),
        Op::MulScalar { dst, a, scalars, basis } => element::scalar(to, Element::MulScalar, (dst, a), scalars, basis),
        Op::MulScalarAdd { dst, a, scalars, basis } => {
            element::scalar(to, Element::MulScalarAdd, (dst, a), scalars, basis)
        }
        Op::AddScalar { dst, a, scalars, basis } => element::scalar(to, Element::AddScalar, (dst, a), scalars, basis),
        Op::Zero { .. }
        | Op::Copy { .. }
        | Op::Add { .. }
        | Op::Sub { .. }
        | Op::Neg { .. }
        | Op::Mul { .. }
        | Op::MulAdd { .. } => element::plain(to, op),
    }
}
