// What every kernel binds, and how a window on a buffer is addressed.

// Some polynomials of a buffer and a run of their limbs, in rows of N words; mirrors `params::Window`.
struct Window {
    row: u32,    // first row
    stride: u32, // rows from one polynomial to the next; 0 in a source of one polynomial that repeats
    polys: u32,  // of a source that repeats: polynomial b reads b mod polys
}

fn row_of(window: Window, poly: u32, limb: u32) -> u32 {
    return window.row + poly * window.stride + limb;
}

// Whether some source has more than one polynomial, but fewer than the destination. A source of one has stride 0.
override REPEATS: bool = false;

fn source_row_of(window: Window, poly: u32, limb: u32) -> u32 {
    if REPEATS {
        return row_of(window, poly % window.polys, limb);
    }
    return row_of(window, poly, limb);
}

// Tables of all rings, interned: records of a few vec4 each.
@group(0) @binding(1) var<storage, read> tables: array<vec4<u32>>;

fn limb_at(table: u32, limb: u32) -> Limb {
    let a = tables[table + 2u * limb];
    let b = tables[table + 2u * limb + 1u];
    return Limb(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w);
}
