// uniform: residues from a public seed's ChaCha20 keystream, one block of 16 words a thread: 8 residues.
// Mirror: src/math/sampling.rs (Csprng::uniform).  Grid: x = blocks / THREADS, y = limb, z = polynomial.  All words in [0, q).

struct Key {
    low: Four,
    high: Four,
}

struct Four {
    x: u32,
    y: u32,
    z: u32,
    w: u32,
}

struct Params {
    dst: Window,
    key: Key,          // the seed as little-endian words
    log_n: u32,
    limbs: u32,        // table of Limb
    first_poly: u32,   // of this dispatch
    first_limb: u32,   // of this dispatch
    stride: u32,       // streams from one polynomial to the next
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;

override THREADS: u32;

// The four columns of ChaCha's state.
struct State {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

fn rotate(x: vec4<u32>, bits: u32) -> vec4<u32> {
    return (x << splat(bits)) | (x >> splat(32u - bits));
}

// Four quarter rounds, one a lane.
fn quarter_rounds(start: State) -> State {
    var s = start;
    s.a += s.b;
    s.d = rotate(s.d ^ s.a, 16u);
    s.c += s.d;
    s.b = rotate(s.b ^ s.c, 12u);
    s.a += s.b;
    s.d = rotate(s.d ^ s.a, 8u);
    s.c += s.d;
    s.b = rotate(s.b ^ s.c, 7u);
    return s;
}

// Keystream block `index` of a stream: a 64-bit counter, here below 2^32, then a 64-bit stream number, here below 2^32.
fn block(index: u32, stream: u32) -> State {
    let low = params.key.low;
    let high = params.key.high;
    let start = State(
        vec4<u32>(0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u), // "expand 32-byte k"
        vec4<u32>(low.x, low.y, low.z, low.w),
        vec4<u32>(high.x, high.y, high.z, high.w),
        vec4<u32>(index, 0u, stream, 0u),
    );
    var s = start;
    for (var double_round = 0u; double_round < 10u; double_round++) {
        s = quarter_rounds(s);
        s = quarter_rounds(State(s.a, s.b.yzwx, s.c.zwxy, s.d.wxyz));
        s = State(s.a, s.b.wxyz, s.c.zwxy, s.d.yzwx);
    }
    return State(s.a + start.a, s.b + start.b, s.c + start.c, s.d + start.d);
}

// floor((high 2^32 + low) q / 2^64), which is floor((high q + floor(low q / 2^32)) / 2^32).
fn residue(low: vec4<u32>, high: vec4<u32>, q: u32) -> vec4<u32> {
    let product = mul_wide(high, splat(q));
    let sum = product.low + mul_high(low, splat(q));
    return product.high + vec4<u32>(sum < product.low);
}

@compute @workgroup_size(THREADS)
fn uniform_residues(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let index = group.x * THREADS + thread;
    let poly = params.first_poly + group.z;
    let q = limb_at(params.limbs, group.y).q;
    let s = block(index, poly * params.stride + params.first_limb + group.y);
    let to = (row_of(params.dst, poly, group.y) << (params.log_n - 2u)) + 2u * index;
    dst[to] = residue(vec4<u32>(s.a.xz, s.b.xz), vec4<u32>(s.a.yw, s.b.yw), q);
    dst[to + 1u] = residue(vec4<u32>(s.c.xz, s.d.xz), vec4<u32>(s.c.yw, s.d.yw), q);
}
