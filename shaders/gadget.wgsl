// gadget_dot: the inner product of a key switch with digits in memory, up to three or nine key digits a dispatch.
// Mirror: src/device/cpu/kernels/gadget.rs.  Grid: x = words / (4 THREADS), y = polynomial, z = limb:
// the polynomials of one limb follow each other, whose keys are the same.  All words in [0, q).

struct Params {
    dst: Window,
    digits: Window,
    plus: Window,      // as many polynomials as there are, maybe none
    log_n: u32,
    element: u32,      // TURN: X^element for X, of the result
    inverse: u32,      // of the element, mod 2N
    limbs: u32,        // table of Limb, aux = key row, factor = Q
    first_poly: u32,   // of this dispatch
    first_limb: u32,
    batch: u32,
    first_digit: u32,
    keys: u32,         // key digits of this dispatch, at least 1
    key_limbs: u32,    // of every key digit's buffer
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> digits: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> plus: array<vec4<u32>>;

override THREADS: u32;
override TURN: bool = false;

fn first_sum(poly: u32, row: u32, word: u32, limb: Limb) -> Sum {
    if poly < params.plus.polys && limb.factor != 0u {
        let at = (row_of(params.plus, poly, row) << (params.log_n - 2u)) + word;
        return sum_add_product(sum_zero(), plus[at], splat(limb.factor));
    }
    return sum_zero();
}

@compute @workgroup_size(THREADS)
fn gadget_dot(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    let poly = params.first_poly + group.y;
    let row = params.first_limb + group.z;
    let shift = params.log_n - 2u;
    let limb = limb_at(params.limbs, row);

    var sum0 = first_sum(poly, row, word, limb);
    var sum1 = first_sum(poly + params.batch, row, word, limb);
    for (var i = 0u; i < params.keys; i++) {
        let from_poly = (params.first_digit + i) * params.batch + poly;
        let digit = digits[(row_of(params.digits, from_poly, row) << shift) + word];
        sum0 = sum_add_product(sum0, digit, key_at(i, (limb.aux << shift) + word));
        sum1 = sum_add_product(sum1, digit, key_at(i, ((limb.aux + params.key_limbs) << shift) + word));
    }
    put(sum0, poly, row, word, limb);
    put(sum1, poly + params.batch, row, word, limb);
}

fn put(sum: Sum, poly: u32, row: u32, word: u32, limb: Limb) {
    let result = reduce_wide(sum_words(sum), limb);
    let at = row_of(params.dst, poly, row) << (params.log_n - 2u);
    if TURN {
        let to = turn_of(word, params.inverse, params.log_n).quad;
        let turn = turn_of(to, params.element, params.log_n).turn;
        dst[at + to] = permute(result, params.element, turn);
    } else {
        dst[at + word] = result;
    }
}
