// Word-by-word operations, four words a thread.
// Mirror: src/device/cpu/kernels.  Grid: x = words / (4 THREADS), y = polynomial, z = limb: the polynomials
// of one limb follow each other, and read the same words of an operand that repeats.  All words in [0, q).

struct Params {
    dst: Window,
    a: Window,
    b: Window,
    scalars: Window, // its rows are words
    log_n: u32,
    limbs: u32,      // table of Limb
    first_poly: u32, // of this dispatch
    first_limb: u32,
    batch: u32,      // tensor: B
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> a: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> b: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> scalars: array<u32>;

override THREADS: u32;

fn at(row: u32, word: u32) -> u32 {
    return (row << (params.log_n - 2u)) + word;
}

struct Place {
    limb: u32,
    poly: u32,
    word: u32, // in vec4
}

fn place(group: vec3<u32>, thread: u32) -> Place {
    return Place(params.first_limb + group.z, params.first_poly + group.y, group.x * THREADS + thread);
}

fn to(p: Place) -> u32 {
    return at(row_of(params.dst, p.poly, p.limb), p.word);
}

fn from_a(p: Place) -> vec4<u32> {
    return a[at(source_row_of(params.a, p.poly, p.limb), p.word)];
}

fn from_b(p: Place) -> vec4<u32> {
    return b[at(source_row_of(params.b, p.poly, p.limb), p.word)];
}

fn scalar(p: Place) -> vec4<u32> {
    return splat(scalars[source_row_of(params.scalars, p.poly, p.limb)]);
}

@compute @workgroup_size(THREADS)
fn zero(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    dst[to(place(group, thread))] = vec4<u32>();
}

@compute @workgroup_size(THREADS)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    dst[to(p)] = from_a(p);
}

@compute @workgroup_size(THREADS)
fn add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    dst[to(p)] = add_mod(from_a(p), from_b(p), limb_at(params.limbs, p.limb).q);
}

@compute @workgroup_size(THREADS)
fn sub(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    dst[to(p)] = sub_mod(from_a(p), from_b(p), limb_at(params.limbs, p.limb).q);
}

@compute @workgroup_size(THREADS)
fn neg(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    dst[to(p)] = sub_mod(vec4<u32>(), from_a(p), limb_at(params.limbs, p.limb).q);
}

@compute @workgroup_size(THREADS)
fn mul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    dst[to(p)] = mul_mod(from_a(p), from_b(p), limb_at(params.limbs, p.limb));
}

@compute @workgroup_size(THREADS)
fn mul_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    let limb = limb_at(params.limbs, p.limb);
    dst[to(p)] = add_mod(dst[to(p)], mul_mod(from_a(p), from_b(p), limb), limb.q);
}

@compute @workgroup_size(THREADS)
fn mul_scalar(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    dst[to(p)] = mul_mod(from_a(p), scalar(p), limb_at(params.limbs, p.limb));
}

@compute @workgroup_size(THREADS)
fn mul_scalar_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    let limb = limb_at(params.limbs, p.limb);
    dst[to(p)] = add_mod(dst[to(p)], mul_mod(from_a(p), scalar(p), limb), limb.q);
}

@compute @workgroup_size(THREADS)
fn add_scalar(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    dst[to(p)] = add_mod(from_a(p), scalar(p), limb_at(params.limbs, p.limb).q);
}

// (a0 b0, a0 b1 + a1 b0, a1 b1); y = polynomial of a component, z = limb.
@compute @workgroup_size(THREADS)
fn tensor(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let p = place(group, thread);
    let q = Place(p.limb, p.poly + params.batch, p.word);
    let limb = limb_at(params.limbs, p.limb);
    let a0 = from_a(p);
    let a1 = from_a(q);
    let b0 = from_b(p);
    let b1 = from_b(q);
    let cross = sum_add_product(sum_add_product(sum_zero(), a0, b1), a1, b0);
    dst[to(p)] = mul_mod(a0, b0, limb);
    dst[to(q)] = reduce_wide(sum_words(cross), limb);
    dst[at(row_of(params.dst, p.poly + 2u * params.batch, p.limb), p.word)] = mul_mod(a1, b1, limb);
}
