//! What a dispatch tells its kernel: one record of plain words, equal to the shader's `Params`.

use crate::device::buffer::View;
use bytemuck::{Pod, Zeroable};

/// Bytes that a record is padded to, and that kernels bind.
pub(super) const RECORD_BYTES: usize = 128;

/// Mirror of `Window`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Window {
    pub(super) row: u32,
    pub(super) stride: u32,
    pub(super) polys: u32,
}

impl Window {
    /// Stands for an operand that a kernel does not read.
    pub(super) const NONE: Self = Self { row: 0, stride: 0, polys: 1 };
}

impl Window {
    /// The same for a source of an operation on `polys` polynomials, and whether the kernel has to reduce indices.
    pub(super) fn repeated(self, polys: u32) -> (Self, bool) {
        match self.polys {
            1 => (Self { stride: 0, ..self }, false),
            own => (self, own < polys),
        }
    }
}

impl From<&View> for Window {
    fn from(view: &View) -> Self {
        let stride = view.buffer.shape().limbs;
        Self { row: view.first_poly * stride + view.first_limb, stride, polys: view.polys }
    }
}

/// A record, with the place for the first polynomial of a dispatch when the grid is too small for all.
pub(super) trait Record: Pod {
    fn set_first(&mut self, first: u32);
}

macro_rules! record {
    ($name:ident, $first:ident, $($field:ident : $type:ty),+) => {
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        #[repr(C)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)+
        }

        impl Record for $name {
            fn set_first(&mut self, first: u32) {
                self.$first = first;
            }
        }

        impl $name {
            /// Name, offset and size of every field.
            #[cfg(test)]
            pub(super) fn layout() -> Vec<(&'static str, usize, usize)> {
                vec![$((stringify!($field), std::mem::offset_of!($name, $field), size_of::<$type>())),+]
            }
        }

        const _: () = assert!(size_of::<$name>() <= RECORD_BYTES);
    };
}

record!(ElementParams, first_poly, dst: Window, a: Window, b: Window, scalars: Window, log_n: u32, limbs: u32,
    first_poly: u32, batch: u32);
record!(NttParams, first_poly, dst: Window, src: Window, minuend: Window, log_n: u32, records: u32, digit_rows: u32,
    first_poly: u32, prime_roots: u32, upper: u32, middle: u32, lower: u32);
record!(ExtendParams, first_poly, dst: Window, src: Window, own: Window, log_n: u32, digits: u32, batch: u32, targets: u32,
    first_poly: u32);
record!(GadgetParams, first_poly, dst: Window, digits: Window, key_limbs: [u32; 4], log_n: u32, limbs: u32, first_poly: u32,
    batch: u32, first_digit: u32, count: u32);
record!(AutomorphismParams, first_poly, dst: Window, src: Window, log_n: u32, first_poly: u32, element: u32);
record!(CombineParams, first_quad, dst: Window, src: Window, weight_row: u32, weight_stride: u32, log_n: u32, limbs: u32,
    first_quad: u32, outputs: u32, inputs: u32);
