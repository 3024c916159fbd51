// automorphism: X -> X^g in evaluation form, on quads of words.
// Mirror: src/device/cpu/kernels/transform.rs.  Grid: x = words / (4 THREADS), y = limb, z = polynomial.  Words in [0, q).
//
// Word i of the result is word j of the source with 2 brv(j) + 1 = g (2 brv(i) + 1) mod 2N. The words of a quad differ
// in the top two bits of brv, so a quad of the result is one quad of the source with its words permuted.

struct Params {
    dst: Window,
    src: Window,
    log_n: u32,
    first_poly: u32,   // of this dispatch
    element: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> src: array<vec4<u32>>;

override THREADS: u32;

@compute @workgroup_size(THREADS)
fn automorphism(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    let poly = params.first_poly + group.z;
    let shift = params.log_n - 2u;
    let turn = turn_of(word, params.element, params.log_n);
    let v = src[(source_row_of(params.src, poly, group.y) << shift) + turn.quad];
    dst[(row_of(params.dst, poly, group.y) << shift) + word] = permute(v, params.element, turn.turn);
}

// Index of the source quad, and the turn of its words.
struct Turn {
    quad: u32,
    turn: u32,
}

fn turn_of(quad: u32, element: u32, log_n: u32) -> Turn {
    let reversed = reverseBits(4u * quad) >> (32u - log_n);
    let exponent = (element * (2u * reversed + 1u)) >> 1u;
    let source = reverseBits(exponent << (32u - log_n));
    return Turn(source >> 2u, (exponent >> (log_n - 2u)) & 3u);
}

// Word b of the result is word r((g r(b) + turn) mod 4) of v, r reversing two bits.
fn permute(v: vec4<u32>, element: u32, turn: u32) -> vec4<u32> {
    var x = v.xzyw;
    if (element & 3u) == 3u {
        x = x.xwzy; // word u becomes word -u
    }
    let by = select(turn, 4u - turn, (element & 3u) == 3u);
    if (by & 1u) != 0u {
        x = x.yzwx;
    }
    if (by & 2u) != 0u {
        x = x.zwxy;
    }
    return x.xzyw;
}
