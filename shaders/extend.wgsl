// extend: centred conversion between residue bases in coefficient form, for one digit or all digits of a decomposition.
// Mirror: src/math/rns.rs.  Grid: x = words / (4 THREADS), y = group of TARGETS limbs of dst, z = digit-major polynomial.
// All words in [0, q).
//
// Tables, in vec4. A digit: (first own limb, own limbs, its conversion, sources). A conversion: two vec4 a source
// (q, hat inverse, its quotient, -), (weight, shift, -, -); then `2 + ceil(sources / 4)` vec4 a target: its Limb with
// aux = -D mod t, and D/q_i mod t for every source, zeros up to a whole vec4.

struct Params {
    dst: Window,
    src: Window,
    own: Window,      // evaluation form of the digits' own limbs
    log_n: u32,
    digits: u32,      // table
    batch: u32,       // polynomials a digit
    targets: u32,     // limbs of dst
    first_poly: u32,  // of this dispatch
    first_group: u32, // of limbs, of this dispatch
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> src: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> own: array<vec4<u32>>;

override THREADS: u32;
override TARGETS: u32;
override SOURCES: u32; // most sources, rounded up to whole vec4
override SCALED: bool = false; // the sources are the y_i already
override SLOTS: u32 = THREADS * SOURCES;

// A thread's own scaled residues y_i: an array that may be indexed at run time. Nobody reads another's, so no barrier.
var<workgroup> scaled: array<vec4<u32>, SLOTS>;

@compute @workgroup_size(THREADS)
fn extend(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    let shift = params.log_n - 2u;
    let poly = params.first_poly + group.z;
    let digit = tables[params.digits + poly / params.batch];
    let source_poly = poly % params.batch;
    let source = source_row_of(params.src, source_poly, digit.x);
    let sources = digit.w;

    var estimate = splat(1u << 27u);
    for (var i = 0u; i < sources; i++) {
        let a = tables[digit.z + 2u * i];
        let b = tables[digit.z + 2u * i + 1u];
        let x = src[((source + i) << shift) + word];
        var y = x;
        if !SCALED {
            y = reduce_once(mul_shoup_lazy(x, splat(a.y), splat(a.z), a.x), a.x);
        }
        scaled[i * THREADS + thread] = y;
        estimate += mul_high(y << splat(b.y), splat(b.x));
    }
    let quads = (sources + 3u) / 4u;
    for (var i = sources; i < 4u * quads; i++) {
        scaled[i * THREADS + thread] = vec4<u32>();
    }
    let multiple = estimate >> splat(28u);

    let first = (params.first_group + group.y) * TARGETS;
    let end = min(params.targets, first + TARGETS);
    for (var limb = first; limb < end; limb++) {
        let to = (row_of(params.dst, poly, limb) << shift) + word;
        if limb - digit.x < digit.y {
            dst[to] = own[(row_of(params.own, source_poly, limb) << shift) + word];
            continue;
        }
        let target_at = digit.z + 2u * sources + limb * (2u + quads);
        let modulus = limb_at(target_at, 0u);
        var sum = sum_add_product(sum_zero(), multiple, splat(modulus.aux));
        for (var i = 0u; i < quads; i++) {
            let hat = tables[target_at + 2u + i];
            let at = 4u * i * THREADS + thread;
            sum = sum_add_product(sum, scaled[at], hat.xxxx);
            sum = sum_add_product(sum, scaled[at + THREADS], hat.yyyy);
            sum = sum_add_product(sum, scaled[at + 2u * THREADS], hat.zzzz);
            sum = sum_add_product(sum, scaled[at + 3u * THREADS], hat.wwww);
        }
        dst[to] = reduce_wide(sum_words(sum), modulus);
    }
}
