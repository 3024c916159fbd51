//! Shared handles to device memory, and windows on them.

use crate::error::{Error, Result};
use crate::units::Shape;
use std::any::Any;
use std::sync::Arc;

/// Device memory of one [`Shape`]. Cloning shares it; the last drop returns it to the device's pool.
#[derive(Clone)]
pub struct Buffer {
    shape: Shape,
    /// The device that allocated it; 0 before it has one.
    owner: u64,
    memory: Arc<dyn Any + Send + Sync>,
}

impl Buffer {
    /// Wraps a backend's own memory; the memory's `Drop` returns it to the pool.
    pub(in crate::device) fn new(shape: Shape, memory: Arc<dyn Any + Send + Sync>) -> Self {
        Self { shape, owner: 0, memory }
    }

    /// The same handle as a device's own.
    pub(in crate::device) fn owned_by(self, owner: u64) -> Self {
        Self { owner, ..self }
    }

    /// The device that allocated it.
    pub(in crate::device) fn owner(&self) -> u64 {
        self.owner
    }

    /// Shape of the whole buffer.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The backend's memory behind the handle, or `None` if another backend made it.
    pub(in crate::device) fn memory<T: Any>(&self) -> Option<&T> {
        self.memory.downcast_ref()
    }

    /// Whether both handles share one memory.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
    }

    /// The window on everything.
    pub fn view(&self) -> View {
        View { buffer: self.clone(), first_poly: 0, polys: self.shape.batch, first_limb: 0, limbs: self.shape.limbs }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer{}", self.shape)
    }
}

/// A window on a buffer: some of its polynomials, and in each a run of limbs.
///
/// Word `i` of limb `l` of polynomial `b` lies at `((first_poly + b) * shape.limbs + first_limb + l) * N + i`.
/// Where an operation has more polynomials than an operand, the operand repeats: polynomial `b % polys` is read.
#[derive(Clone, Debug)]
pub struct View {
    /// The memory.
    pub buffer: Buffer,
    /// First polynomial.
    pub first_poly: u32,
    /// Number of polynomials.
    pub polys: u32,
    /// First limb of each polynomial.
    pub first_limb: u32,
    /// Number of limbs.
    pub limbs: u32,
}

impl View {
    /// The polynomials `first .. first + count` of this window.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] outside the window.
    pub fn polys(&self, first: u32, count: u32) -> Result<Self> {
        if first.checked_add(count).is_none_or(|end| end > self.polys) || count == 0 {
            return Err(Error::ShapeMismatch {
                op: "View::polys",
                expected: format!("a range in 0..{}", self.polys),
                got: format!("{count} from {first}"),
            });
        }
        Ok(Self { first_poly: self.first_poly.saturating_add(first), polys: count, ..self.clone() })
    }

    /// The limbs `first .. first + count` of every polynomial of this window.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] outside the window.
    pub fn limbs(&self, first: u32, count: u32) -> Result<Self> {
        if first.checked_add(count).is_none_or(|end| end > self.limbs) || count == 0 {
            return Err(Error::ShapeMismatch {
                op: "View::limbs",
                expected: format!("a range in 0..{}", self.limbs),
                got: format!("{count} from {first}"),
            });
        }
        Ok(Self { first_limb: self.first_limb.saturating_add(first), limbs: count, ..self.clone() })
    }

    /// Shape of the window.
    pub fn shape(&self) -> Shape {
        Shape { batch: self.polys, limbs: self.limbs, log_n: self.buffer.shape().log_n }
    }

    /// Offset in words of limb `limb` of polynomial `poly` (taken modulo [`Self::polys`]).
    pub(crate) fn offset(&self, poly: u32, limb: u32) -> usize {
        let shape = self.buffer.shape();
        let row =
            (self.first_poly + poly % self.polys) as usize * shape.limbs as usize + (self.first_limb + limb) as usize;
        row << shape.log_n
    }

    /// Whether both are the same window on the same memory.
    pub fn is_same(&self, other: &Self) -> bool {
        self.buffer.is_same(&other.buffer)
            && (self.first_poly, self.polys, self.first_limb, self.limbs)
                == (other.first_poly, other.polys, other.first_limb, other.limbs)
    }

    /// Whether some word belongs to both windows.
    pub fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: u32, n: u32, b: u32, m: u32| a < b.saturating_add(m) && b < a.saturating_add(n);
        self.buffer.is_same(&other.buffer)
            && meet(self.first_poly, self.polys, other.first_poly, other.polys)
            && meet(self.first_limb, self.limbs, other.first_limb, other.limbs)
    }
}
