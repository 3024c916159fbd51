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
    pub(super) const NONE: Self = Self { row: 0, stride: 0, polys: 0 };
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

/// A record, and what changes in it where a grid is too large for one dispatch.
pub(super) trait Record: Pod {
    /// Sets what the grid's z begins with.
    fn set_first(&mut self, first: u32);
    /// Moves on along the grid's y.
    fn skip_rows(&mut self, rows: u32);
}

macro_rules! record {
    // Words that grow by one from row to row of the grid, and indices of tables with two records a row.
    ($name:ident { z: $first:ident, rows: [$($row:ident $(. $part:ident)?),*], tables: [$($table:ident),*] },
     $($field:ident : $type:ty),+) => {
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        #[repr(C)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)+
        }

        impl Record for $name {
            fn set_first(&mut self, first: u32) {
                self.$first = first;
            }

            fn skip_rows(&mut self, rows: u32) {
                $(self.$row$(.$part)? += rows;)*
                $(self.$table += 2 * rows;)*
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

record!(ElementParams { z: first_limb, rows: [first_poly], tables: [] },
    dst: Window, a: Window, b: Window, scalars: Window, log_n: u32, limbs: u32, first_poly: u32, first_limb: u32,
    batch: u32);
record!(NttParams { z: first_z, rows: [first_y], tables: [] },
    dst: Window, src: Window, minuend: Window, plus: Window, log_n: u32, element: u32, inverse: u32, first_y: u32,
    first_z: u32, records: u32, digit_rows: u32, prime_roots: u32, upper: u32, middle: u32, lower: u32, limbs: u32, batch: u32,
    first_digit: u32, keys: u32, key_limbs: u32);
record!(ExtendParams { z: first_poly, rows: [first_group], tables: [] },
    dst: Window, src: Window, own: Window, log_n: u32, digits: u32, batch: u32, targets: u32, first_poly: u32,
    first_group: u32);
record!(GadgetParams { z: first_limb, rows: [first_poly], tables: [] },
    dst: Window, digits: Window, plus: Window, log_n: u32, element: u32, inverse: u32, limbs: u32, first_poly: u32,
    first_limb: u32, batch: u32, first_digit: u32, keys: u32, key_limbs: u32);
record!(AutomorphismParams { z: first_poly, rows: [dst.row, src.row], tables: [] },
    dst: Window, src: Window, log_n: u32, first_poly: u32, element: u32);
record!(UniformParams { z: first_poly, rows: [dst.row, first_limb], tables: [limbs] },
    dst: Window, key: [u32; 8], log_n: u32, limbs: u32, first_poly: u32, first_limb: u32, stride: u32);
record!(CombineParams { z: first_quad, rows: [dst.row, src.row, weight_row], tables: [limbs] },
    dst: Window, src: Window, weight_row: u32, weight_stride: u32, log_n: u32, limbs: u32, first_quad: u32,
    outputs: u32, inputs: u32);
record!(CombineSparseParams { z: first_poly, rows: [dst.row, src.row, weight_row], tables: [limbs] },
    dst: Window, src: Window, weight_row: u32, weight_stride: u32, pattern: u32, log_n: u32, limbs: u32, first_poly: u32,
    outputs: u32, inputs: u32, entries: u32);
