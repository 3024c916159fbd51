//! One file an operation family; here the dispatch and the rows they work on.

mod combine;
mod convert;
mod elementwise;
mod gadget;
mod transform;
mod uniform;

use super::memory::{self, Block, Pool};
use crate::device::buffer::View;
use crate::device::program::{Basis, Op};
use crate::error::Result;
use crate::math::{Reducer, RingTables, rows};
use crate::units::GaloisElement;
use convert::Conversion;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use transform::Permutation;

/// A ring's constants in the form that the kernels use.
#[derive(Debug)]
pub(in crate::device) struct CpuRing {
    tables: Arc<RingTables>,
    permutations: Mutex<HashMap<GaloisElement, Arc<Permutation>>>,
    conversions: Mutex<HashMap<(Basis, Basis), Arc<Conversion>>>,
}

impl CpuRing {
    pub(in crate::device) fn new(tables: Arc<RingTables>) -> Self {
        Self { tables, permutations: Mutex::default(), conversions: Mutex::default() }
    }

    pub(in crate::device) fn tables(&self) -> &Arc<RingTables> {
        &self.tables
    }

    fn reducer(&self, prime: u32) -> Reducer {
        self.tables.primes()[prime as usize].reducer()
    }

    /// The scalar of one limb of a polynomial, whose rows of scalars repeat, and its Shoup quotient.
    fn scalar(&self, scalars: &[u32], basis: &Basis, (poly, limb): (usize, usize)) -> [u32; 2] {
        let limbs = basis.primes().len();
        let w = scalars[poly % (scalars.len() / limbs) * limbs + limb];
        [w, self.tables.primes()[basis.primes()[limb] as usize].modulus().shoup(w)]
    }

    /// What an automorphism does to the words, made once an element; `None` where every word stays.
    fn permutation(&self, element: GaloisElement) -> Option<Arc<Permutation>> {
        if element == GaloisElement::IDENTITY {
            return None;
        }
        let mut known = self.permutations.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Permutation::new(element, self.tables.log_n()));
        Some(Arc::clone(known.entry(element).or_insert_with(make)))
    }

    /// The constants of a base conversion, made once.
    fn conversion(&self, from: &Basis, to: &Basis) -> Arc<Conversion> {
        let mut known = self.conversions.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Conversion::new(&self.tables, from, to));
        Arc::clone(known.entry((from.clone(), to.clone())).or_insert_with(make))
    }
}

/// Runs one checked operation.
pub(super) fn run(ring: &CpuRing, pool: &Arc<Pool>, op: &Op) -> Result<()> {
    use elementwise::{unary, zip};
    match op {
        Op::Zero { dst } => {
            let mut to = memory::of(&dst.buffer)?.write();
            rows_mut(&mut to, dst).into_iter().for_each(|row| row.fill(0));
            Ok(())
        }
        Op::Copy { dst, src } => unary(dst, src, |_, _, _| {}),
        Op::Uniform { dst, seed, basis } => uniform::run(ring, dst, *seed, basis),
        Op::Add { dst, a, b, basis } => zip(ring, (dst, a, b), basis, rows::add),
        Op::Sub { dst, a, b, basis } => zip(ring, (dst, a, b), basis, rows::sub),
        Op::Mul { dst, a, b, basis } => zip(ring, (dst, a, b), basis, rows::mul),
        Op::MulAdd { dst, a, b, basis } => zip(ring, (dst, a, b), basis, rows::mul_add),
        Op::Neg { dst, a, basis } => unary(dst, a, |_, limb, row| {
            rows::neg(ring.reducer(basis.primes()[limb]), row);
        }),
        Op::MulScalar { dst, a, scalars, basis } => unary(dst, a, |poly, limb, row| {
            let (r, [w, quotient]) = (ring.reducer(basis.primes()[limb]), ring.scalar(scalars, basis, (poly, limb)));
            rows::scale(r, row, w, quotient);
        }),
        Op::MulScalarAdd { dst, a, scalars, basis } => elementwise::mul_scalar_add(ring, (dst, a), scalars, basis),
        Op::AddScalar { dst, a, scalars, basis } => unary(dst, a, |poly, limb, row| {
            let (r, [s, _]) = (ring.reducer(basis.primes()[limb]), ring.scalar(scalars, basis, (poly, limb)));
            rows::shift(r, row, s);
        }),
        Op::Tensor { dst, a, b, basis } => elementwise::tensor(ring, (dst, a, b), basis),
        Op::NttForward { dst, src, basis } => unary(dst, src, |_, limb, row| {
            ring.tables.primes()[basis.primes()[limb] as usize].forward(row);
        }),
        Op::NttInverse { dst, src, basis } => unary(dst, src, |_, limb, row| {
            ring.tables.primes()[basis.primes()[limb] as usize].inverse(row);
        }),
        Op::Automorphism { dst, src, element } => transform::automorphism(ring, dst, src, *element),
        Op::BasisExtend { dst, src, from, to } => convert::basis_extend(ring, pool, (dst, src), (from, to)),
        Op::Decompose { dst, src, digits, basis } => convert::decompose(ring, pool, (dst, src), digits, basis),
        Op::GadgetDot { dst, digits, product } => gadget::gadget_dot(ring, (dst, digits), product),
        Op::KeySwitch { dst, src, digits, product } => gadget::key_switch(ring, pool, (dst, src), digits, product),
        Op::ModDown { dst, src, kept, dropped, plus, element } => {
            convert::mod_down(ring, pool, (dst, src, plus.as_ref()), (kept, dropped), *element)
        }
        Op::Combine { dst, src, weights, components, basis } => {
            combine::run(ring, (dst, src, weights), *components, basis)
        }
    }
}

/// Fewest words a thread should get of cheap work.
const GRAIN: usize = 1 << 14;

/// Rows a thread should get of cheap work.
fn grain(view: &View) -> usize {
    (GRAIN >> view.buffer.shape().log_n).max(1)
}

/// Runs `f(polynomial, limb, row)` on every row of a window, each thread on at least `least` of them.
fn for_rows(dst: &View, least: usize, f: impl Fn(usize, usize, &mut [u32]) + Sync) -> Result<()> {
    let mut words = memory::of(&dst.buffer)?.write();
    let limbs = dst.limbs as usize;
    let rows = rows_mut(&mut words, dst).into_par_iter().with_min_len(least).enumerate();
    rows.for_each(|(k, row)| f(k / limbs, k % limbs, row));
    Ok(())
}

/// The rows of a window, polynomial by polynomial, limb by limb.
fn rows_mut<'a>(words: &'a mut [u32], view: &View) -> Vec<&'a mut [u32]> {
    let n = 1usize << view.buffer.shape().log_n;
    let stride = n * view.buffer.shape().limbs as usize;
    words
        .chunks_exact_mut(stride)
        .skip(view.first_poly as usize)
        .take(view.polys as usize)
        .flat_map(|poly| poly.chunks_exact_mut(n).skip(view.first_limb as usize).take(view.limbs as usize))
        .collect()
}

/// The row of limb `limb` of polynomial `poly` (repeated) of a window.
fn row<'a>(words: &'a [u32], view: &View, poly: usize, limb: usize) -> &'a [u32] {
    let n = 1usize << view.buffer.shape().log_n;
    let shape = view.buffer.shape();
    let index = (view.first_poly as usize + poly % view.polys as usize) * shape.limbs as usize
        + view.first_limb as usize
        + limb;
    &words[index * n..(index + 1) * n]
}

/// A source of an operation: locked, or copied if another window of it is being written, or the written rows themselves.
enum Source<'a> {
    InPlace,
    Locked(View, memory::Reading<'a>),
    Copied { words: Block, n: usize, polys: usize, limbs: usize },
}

impl<'a> Source<'a> {
    /// Must be made before the destination is locked.
    fn new(dst: &View, src: &'a View) -> Result<Self> {
        if dst.is_same(src) {
            return Ok(Self::InPlace);
        }
        let words = memory::of(&src.buffer)?.read();
        if !dst.buffer.is_same(&src.buffer) {
            return Ok(Self::Locked(src.clone(), words));
        }
        let (polys, limbs) = (src.polys as usize, src.limbs as usize);
        let n = 1usize << src.buffer.shape().log_n;
        let mut copies = words.another(polys * limbs * n)?;
        for (k, copy) in copies.chunks_exact_mut(n).enumerate() {
            copy.copy_from_slice(row(&words, src, k / limbs, k % limbs));
        }
        Ok(Self::Copied { words: copies, n, polys, limbs })
    }

    /// The row to read, or `None` where it is the row being written.
    fn row(&self, poly: usize, limb: usize) -> Option<&[u32]> {
        match self {
            Self::InPlace => None,
            Self::Locked(view, words) => Some(row(words, view, poly, limb)),
            Self::Copied { words, n, polys, limbs } => {
                let index = poly % polys * limbs + limb;
                Some(&words[index * n..(index + 1) * n])
            }
        }
    }

    /// As [`Self::row`] for operations that never work in place.
    fn other(&self, poly: usize, limb: usize) -> &[u32] {
        self.row(poly, limb).expect("Op::check refuses this operation in place")
    }
}

#[cfg(test)]
mod tests {
    use crate::device::{Device, Op};
    use crate::math::{RingTables, ntt_primes_below};
    use crate::units::{LogN, Shape};
    use std::sync::Arc;

    #[test]
    fn copies_of_overlapping_sources_come_from_the_pool() {
        let log_n = LogN::new(10).unwrap();
        let primes: Vec<u32> = ntt_primes_below(1 << 30, log_n).take(1).collect();
        let device = Device::cpu();
        let ring = device.load_ring(&Arc::new(RingTables::new(log_n, &primes).unwrap())).unwrap();
        let buffer = device.alloc(Shape { batch: 4, limbs: 1, log_n: 10 }).unwrap();
        let memory = |count| {
            for _ in 0..count {
                let [dst, src] = [0, 2].map(|first| buffer.view().polys(first, 2).unwrap());
                device.record(&ring, Op::Copy { dst, src }).unwrap();
            }
            device.statistics().memory_bytes
        };
        assert_eq!([0, 1, 5].map(memory), [4, 6, 6].map(|polynomials| polynomials << 12));
    }
}
