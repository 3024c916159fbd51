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
use crate::units::Shape;

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
        Op::ModDown { dst, src, kept, dropped, plus, element } => gadget::moved(to, dst, *element, |to, dst| {
            convert::mod_down(to, (dst, src), (kept, dropped))?;
            gadget::add_product(to, dst, plus.as_ref(), kept)
        }),
        Op::Automorphism { dst, src, element } => gadget::automorphism(to, (dst, src), *element),
        Op::GadgetDot { dst, digits, key, rows, basis, plus, element } => {
            gadget::moved(to, dst, *element, |to, dst| {
                gadget::gadget_dot(to, (dst, digits), (key, rows), basis)?;
                gadget::add_product(to, dst, plus.as_ref(), basis)
            })
        }
        Op::KeySwitch { dst, src, digits, key, rows, basis, plus, element } => {
            gadget::moved(to, dst, *element, |to, dst| {
                let count = u32::try_from(digits.len()).expect("at most one digit a limb");
                let shape = Shape { batch: count * src.polys, limbs: basis.limbs(), log_n: to.log_n() };
                let cut = to.recorder.scratch(shape)?.view();
                convert::decompose(to, (&cut, src), digits, basis)?;
                gadget::gadget_dot(to, (dst, &cut), (key, rows), basis)?;
                gadget::add_product(to, dst, plus.as_ref(), basis)
            })
        }
        Op::Combine { dst, src, weights, components, basis } => {
            element::combine(to, (dst, src, weights), *components, basis)
        }
        Op::Uniform { dst, seed, basis } => element::uniform(to, dst, *seed, basis),
        Op::Tensor { dst, a, b, basis } => element::tensor(to, (dst, a, b), basis),
        Op::MulScalarAdd { dst, a, scalars, basis } => element::mul_scalar_add(to, (dst, a), scalars, basis),
        Op::MulScalar { dst, a, scalars, basis } | Op::AddScalar { dst, a, scalars, basis } => {
            let element = if matches!(op, Op::MulScalar { .. }) { Element::MulScalar } else { Element::AddScalar };
            element::scalar(to, element, (dst, a), scalars, basis)
        }
        Op::Zero { .. }
        | Op::Copy { .. }
        | Op::Add { .. }
        | Op::Sub { .. }
        | Op::Neg { .. }
        | Op::Mul { .. }
        | Op::MulAdd { .. } => element::plain(to, op),
    }
}
