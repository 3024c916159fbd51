// combine: dst[c][o] = sum_i weights[o][i] src[c][i], a matrix of scalars times polynomials, OUTPUTS outputs a thread.
// Mirror: src/device/cpu/kernels.  Grid: x = words / (4 THREADS), y = limb, z = component-major quads of outputs.
// All words in [0, q).

struct Params {
    dst: Window,
    src: Window,
    weight_row: u32,    // first word
    weight_stride: u32, // words from one weight to the next
    log_n: u32,
    limbs: u32,         // table of Limb
    first_quad: u32,    // of this dispatch
    outputs: u32,
    inputs: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> src: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> weights: array<u32>;

const OUTPUTS = 4u; // of a thread

override THREADS: u32;
override PRODUCTS: u32; // products below 2^60 that a sum holds beside one word

@compute @workgroup_size(THREADS)
fn combine(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    let shift = params.log_n - 2u;
    let limb = limb_at(params.limbs, group.y);
    let quads = (params.outputs + OUTPUTS - 1u) / OUTPUTS;
    let quad = params.first_quad + group.z;
    let component = quad / quads;
    let output = OUTPUTS * (quad % quads);
    let last = params.outputs - 1u;
    let row_words = params.inputs * params.weight_stride;
    // Outputs past the end repeat the last one and are not stored.
    let w0 = params.weight_row + output * row_words + group.y;
    let w1 = params.weight_row + min(output + 1u, last) * row_words + group.y;
    let w2 = params.weight_row + min(output + 2u, last) * row_words + group.y;
    let w3 = params.weight_row + min(output + 3u, last) * row_words + group.y;

    var s0 = sum_zero();
    var s1 = sum_zero();
    var s2 = sum_zero();
    var s3 = sum_zero();
    var i = 0u;
    while i < params.inputs {
        let stop = min(params.inputs, i + PRODUCTS);
        while i < stop {
            let x = src[(row_of(params.src, component * params.inputs + i, group.y) << shift) + word];
            let at = i * params.weight_stride;
            s0 = sum_add_product(s0, x, splat(weights[w0 + at]));
            s1 = sum_add_product(s1, x, splat(weights[w1 + at]));
            s2 = sum_add_product(s2, x, splat(weights[w2 + at]));
            s3 = sum_add_product(s3, x, splat(weights[w3 + at]));
            i++;
        }
        if i < params.inputs {
            s0 = sum_add_word(sum_zero(), reduce_wide(sum_words(s0), limb));
            s1 = sum_add_word(sum_zero(), reduce_wide(sum_words(s1), limb));
            s2 = sum_add_word(sum_zero(), reduce_wide(sum_words(s2), limb));
            s3 = sum_add_word(sum_zero(), reduce_wide(sum_words(s3), limb));
        }
    }
    store(component, output, s0, group.y, word, limb);
    store(component, output + 1u, s1, group.y, word, limb);
    store(component, output + 2u, s2, group.y, word, limb);
    store(component, output + 3u, s3, group.y, word, limb);
}

fn store(component: u32, output: u32, sum: Sum, row: u32, word: u32, limb: Limb) {
    if output < params.outputs {
        let poly = component * params.outputs + output;
        dst[(row_of(params.dst, poly, row) << (params.log_n - 2u)) + word] = reduce_wide(sum_words(sum), limb);
    }
}
