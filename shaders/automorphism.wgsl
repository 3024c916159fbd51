// automorphism: X -> X^g in evaluation form, on quads of words.
// Mirror: src/device/cpu/kernels/transform.rs.  Grid: x = words / (4 THREADS), y = limb, z = polynomial.  Words in [0, q).

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
