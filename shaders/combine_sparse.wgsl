// combine_sparse: dst[c][o] = sum_e weights[e] src[c][column_e] over the entries e of row o of a matrix, an output a thread.
// Mirror: src/device/cpu/kernels.  Grid: x = words / (4 THREADS), y = limb, z = component-major outputs.
// All words in [0, q).  The pattern holds where each row's entries start, where the last one's end, then every entry's column; what
// points outside reads something inside.

struct Params {
    dst: Window,
    src: Window,
    weight_row: u32,    // first word
    weight_stride: u32, // words from one weight to the next
    pattern: u32,       // first word
    log_n: u32,
    limbs: u32,         // table of Limb
    first_poly: u32,    // of this dispatch
    outputs: u32,
    inputs: u32,
    entries: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> src: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> weights: array<u32>;
@group(0) @binding(5) var<storage, read_write> pattern: array<u32>;

override THREADS: u32;
override PRODUCTS: u32; // products below 2^60 that a sum holds beside one word

@compute @workgroup_size(THREADS)
fn combine_sparse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    let shift = params.log_n - 2u;
    let limb = limb_at(params.limbs, group.y);
    let poly = params.first_poly + group.z;
    let first_input = (poly / params.outputs) * params.inputs;
    let row = params.pattern + poly % params.outputs;
    let columns = params.pattern + params.outputs + 1u;
    let end = min(pattern[row + 1u], params.entries);

    var sum = sum_zero();
    var entry = pattern[row];
    while entry < end {
        let stop = min(end, entry + PRODUCTS);
        while entry < stop {
            let input = first_input + min(pattern[columns + entry], params.inputs - 1u);
            let x = src[(row_of(params.src, input, group.y) << shift) + word];
            let weight = weights[params.weight_row + entry * params.weight_stride + group.y];
            sum = sum_add_product(sum, x, splat(weight));
            entry++;
        }
        if entry < end {
            sum = sum_add_word(sum_zero(), reduce_wide(sum_words(sum), limb));
        }
    }
    dst[(row_of(params.dst, poly, group.y) << shift) + word] = reduce_wide(sum_words(sum), limb);
}
