// Four stages of a negacyclic NTT on sixteen values in registers.
//
// Value e of a thread is component e mod 4 of vector e / 4. The stages of a round are the binary tree below one node k:
// stage s of it multiplies by the roots of the nodes k 2^s + i. A round's roots lie as eight vec4 a node, all nodes' first
// vec4 first, so that neighbouring threads read neighbouring words:
//   0, 1: roots and quotients of (k, 2k, 2k + 1, -)      2, 3: of 4k + i      4, 5: of 8k + 2i      6, 7: of 8k + 2i + 1

// Roots of all primes of the ring in one direction; mirrors `twiddles::table`.
@group(0) @binding(3) var<storage, read_write> roots: array<vec4<u32>>;

struct Sixteen {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

fn transpose16(v: Sixteen) -> Sixteen {
    return Sixteen(
        vec4<u32>(v.a.x, v.b.x, v.c.x, v.d.x),
        vec4<u32>(v.a.y, v.b.y, v.c.y, v.d.y),
        vec4<u32>(v.a.z, v.b.z, v.c.z, v.d.z),
        vec4<u32>(v.a.w, v.b.w, v.c.w, v.d.w),
    );
}

struct Pair {
    low: vec4<u32>,
    high: vec4<u32>,
}
