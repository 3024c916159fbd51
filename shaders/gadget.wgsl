// gadget_dot: the inner product of a key switch, up to KEYS key digits a dispatch.
// Mirror: src/device/cpu/kernels/gadget.rs.  Grid: x = words / (4 THREADS), y = limb, z = polynomial.  All words in [0, q).

const KEYS = 4u; // bindings of keys

struct Four {
    x: u32,
    y: u32,
    z: u32,
    w: u32,
}

struct Params {
    dst: Window,
    digits: Window,
    key_limbs: Four,    // limbs of each key digit's buffer
    log_n: u32,
    limbs: u32,        // table of Limb, aux = key row
    first_poly: u32,   // of this dispatch
    batch: u32,
    first_digit: u32,
    count: u32,        // key digits of this dispatch, 1 to KEYS
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> digits: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> key0: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> key1: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> key2: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> key3: array<vec4<u32>>;

override THREADS: u32;

@compute @workgroup_size(THREADS)
fn gadget_dot(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    let poly = params.first_poly + group.z;
    let shift = params.log_n - 2u;
    let limb = limb_at(params.limbs, group.y);
    let row = limb.aux;

    var sum0 = sum_zero();
    var sum1 = sum_zero();
    let to0 = (row_of(params.dst, poly, group.y) << shift) + word;
    let to1 = (row_of(params.dst, poly + params.batch, group.y) << shift) + word;
    if params.first_digit > 0u {
        sum0 = sum_add_word(sum0, dst[to0]);
        sum1 = sum_add_word(sum1, dst[to1]);
    }
    let first = params.first_digit * params.batch + poly;

    var digit = digit_at(first, group.y, word);
    sum0 = sum_add_product(sum0, digit, key0[(row << shift) + word]);
    sum1 = sum_add_product(sum1, digit, key0[((row + params.key_limbs.x) << shift) + word]);
    if params.count > 1u {
        digit = digit_at(first + params.batch, group.y, word);
        sum0 = sum_add_product(sum0, digit, key1[(row << shift) + word]);
        sum1 = sum_add_product(sum1, digit, key1[((row + params.key_limbs.y) << shift) + word]);
    }
    if params.count > 2u {
        digit = digit_at(first + 2u * params.batch, group.y, word);
        sum0 = sum_add_product(sum0, digit, key2[(row << shift) + word]);
        sum1 = sum_add_product(sum1, digit, key2[((row + params.key_limbs.z) << shift) + word]);
    }
    if params.count == KEYS {
        digit = digit_at(first + 3u * params.batch, group.y, word);
        sum0 = sum_add_product(sum0, digit, key3[(row << shift) + word]);
        sum1 = sum_add_product(sum1, digit, key3[((row + params.key_limbs.w) << shift) + word]);
    }
    dst[to0] = reduce_wide(sum_words(sum0), limb);
    dst[to1] = reduce_wide(sum_words(sum1), limb);
}

fn digit_at(poly: u32, limb: u32, word: u32) -> vec4<u32> {
    return digits[(row_of(params.digits, poly, limb) << (params.log_n - 2u)) + word];
}
