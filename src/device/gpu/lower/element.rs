//! Word-by-word operations, and words from nothing but a seed.

use super::Lowering;
use crate::device::buffer::View;
use crate::device::gpu::catalog::{COMBINE_OUTPUTS, Element, Kernel, UNIFORM_THREADS};
use crate::device::gpu::dispatch::{Slot, slot};
use crate::device::gpu::params::{CombineParams, CombineSparseParams, ElementParams, UniformParams, Window};
use crate::device::gpu::tables::Table;
use crate::device::program::{Basis, Op};
use crate::error::Result;

/// Launches a kernel on sources that may repeat.
fn launch(
    to: &mut Lowering<'_>,
    element: Element,
    (dst, a, b): (&View, Option<&View>, Option<&View>),
    scalars: Option<Window>,
    basis: Option<&Basis>,
) -> Result<()> {
    let source = |window: Option<Window>| window.map_or((Window::NONE, false), |window| window.repeated(dst.polys));
    let sources = [source(a.map(Window::from)), source(b.map(Window::from)), source(scalars)];
    let limbs = basis.map_or(0, |basis| to.table(Table::Limbs(basis.clone())));
    let params = ElementParams {
        dst: dst.into(),
        a: sources[0].0,
        b: sources[1].0,
        scalars: sources[2].0,
        log_n: to.log_n(),
        limbs,
        first_poly: 0,
        first_limb: 0,
        batch: 0,
    };
    let kernel = Kernel::Element { element, repeats: sources.iter().any(|(_, repeats)| *repeats) };
    let mut slots = vec![slot(&dst.buffer)?, slot(&a.unwrap_or(dst).buffer)?, slot(&b.unwrap_or(dst).buffer)?];
    slots.extend(scalars.map(|_| Slot::Words));
    to.recorder.launch(kernel, params, &slots, [to.groups(), dst.polys, dst.limbs]);
    Ok(())
}

/// `Zero` to `MulAdd`.
pub(super) fn plain(to: &mut Lowering<'_>, op: &Op) -> Result<()> {
    let (element, a, b, basis) = match op {
        Op::Copy { src, .. } => (Element::Copy, Some(src), None, None),
        Op::Add { a, b, basis, .. } => (Element::Add, Some(a), Some(b), Some(basis)),
        Op::Sub { a, b, basis, .. } => (Element::Sub, Some(a), Some(b), Some(basis)),
        Op::Neg { a, basis, .. } => (Element::Neg, Some(a), None, Some(basis)),
        Op::Mul { a, b, basis, .. } => (Element::Mul, Some(a), Some(b), Some(basis)),
        Op::MulAdd { a, b, basis, .. } => (Element::MulAdd, Some(a), Some(b), Some(basis)),
        _ => (Element::Zero, None, None, None),
    };
    launch(to, element, (op.dst(), a, b), None, basis)
}

/// `MulScalar`, `MulScalarAdd` and `AddScalar`.
pub(super) fn scalar(
    to: &mut Lowering<'_>,
    element: Element,
    (dst, a): (&View, &View),
    scalars: &[u32],
    basis: &Basis,
) -> Result<()> {
    let rows = u32::try_from(scalars.len()).expect("one row a polynomial at most") / basis.limbs();
    let window = Window { row: to.recorder.words(scalars), stride: basis.limbs(), polys: rows };
    launch(to, element, (dst, Some(a), None), Some(window), Some(basis))
}

/// `Tensor`.
pub(super) fn tensor(to: &mut Lowering<'_>, (dst, a, b): (&View, &View, &View), basis: &Basis) -> Result<()> {
    let batch = a.polys / 2;
    let limbs = to.table(Table::Limbs(basis.clone()));
    let params = ElementParams {
        dst: dst.into(),
        a: a.into(),
        b: b.into(),
        scalars: Window::NONE,
        log_n: to.log_n(),
        limbs,
        first_poly: 0,
        first_limb: 0,
        batch,
    };
    let kernel = Kernel::Element { element: Element::Tensor, repeats: false };
    let slots = [slot(&dst.buffer)?, slot(&a.buffer)?, slot(&b.buffer)?];
    to.recorder.launch(kernel, params, &slots, [to.groups(), batch, dst.limbs]);
    Ok(())
}

/// `Uniform`: one thread a keystream block, which makes eight words.
pub(super) fn uniform(to: &mut Lowering<'_>, dst: &View, seed: [u8; 32], basis: &Basis) -> Result<()> {
    let (key, _) = seed.as_chunks::<4>();
    let params = UniformParams {
        dst: dst.into(),
        key: std::array::from_fn(|i| u32::from_le_bytes(key[i])),
        log_n: to.log_n(),
        limbs: to.table(Table::Limbs(basis.clone())),
        first_poly: 0,
        first_limb: 0,
        stride: dst.limbs,
    };
    let blocks = 1 << (to.log_n() - 3);
    let grid = [blocks / UNIFORM_THREADS, dst.limbs, dst.polys];
    to.recorder.launch(Kernel::Uniform, params, &[slot(&dst.buffer)?], grid);
    Ok(())
}

/// `Combine`.
pub(super) fn combine(
    to: &mut Lowering<'_>,
    (dst, src, weights): (&View, &View, &View),
    components: u32,
    basis: &Basis,
) -> Result<()> {
    let (outputs, inputs) = (dst.polys / components, src.polys / components);
    let weight_stride = weights.buffer.shape().limbs;
    let params = CombineParams {
        dst: dst.into(),
        src: src.into(),
        weight_row: weights.first_poly * weight_stride + weights.first_limb,
        weight_stride,
        log_n: to.log_n(),
        limbs: to.table(Table::Limbs(basis.clone())),
        first_quad: 0,
        outputs,
        inputs,
    };
    let slots = [slot(&dst.buffer)?, slot(&src.buffer)?, slot(&weights.buffer)?];
    let quads = components * outputs.div_ceil(COMBINE_OUTPUTS);
    to.recorder.launch(Kernel::Combine, params, &slots, [to.groups(), dst.limbs, quads]);
    Ok(())
}

/// `CombineSparse`.
pub(super) fn combine_sparse(
    to: &mut Lowering<'_>,
    (dst, src, weights, pattern): (&View, &View, &View, &View),
    components: u32,
    basis: &Basis,
) -> Result<()> {
    let weight_stride = weights.buffer.shape().limbs;
    let params = CombineSparseParams {
        dst: dst.into(),
        src: src.into(),
        weight_row: weights.first_poly * weight_stride + weights.first_limb,
        weight_stride,
        pattern: Window::from(pattern).row,
        log_n: to.log_n(),
        limbs: to.table(Table::Limbs(basis.clone())),
        first_poly: 0,
        outputs: dst.polys / components,
        inputs: src.polys / components,
        entries: weights.polys,
    };
    let slots = [slot(&dst.buffer)?, slot(&src.buffer)?, slot(&weights.buffer)?, slot(&pattern.buffer)?];
    to.recorder.launch(Kernel::CombineSparse, params, &slots, [to.groups(), dst.limbs, dst.polys]);
    Ok(())
}
