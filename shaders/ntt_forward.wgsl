// ntt_forward: Cooley-Tukey stages of the negacyclic NTT, all limbs at once, three radix-16 rounds in a workgroup.
// Up to N = 2^12 `rows` is the whole transform. Above, `columns` does the first stages (4, or 5 for 2^17) in registers,
// one column of stride N/16 a thread, and `rows` the rest on contiguous pieces of 2^9 .. 2^12 words.
// Mirror: src/math/tables.rs.  Grid: x = pieces or columns, y = polynomial, z = record.
// Words in [0, q) at both ends of the transform, in [0, 4q) between stages and passes.

override WHOLE: bool = true; // `rows` is the whole transform
override FINISH: bool = false; // with the end of a division by dropped primes
override TURN: bool = false; // and an automorphism

// (minuend - x) scale + plus: [0, q) -> [0, q)
fn finish(x: vec4<u32>, quad: u32, row: Row) -> vec4<u32> {
    let shift = params.log_n - 2u;
    let difference = minuend[(row_of(params.minuend, row.poly, row.limb) << shift) + quad] + splat(row.q) - x;
    let scaled = reduce_once(mul_shoup_lazy(difference, row.end.xxxx, row.end.yyyy, row.q), row.q);
    if row.poly < params.plus.polys {
        return add_mod(scaled, plus[(row_of(params.plus, row.poly, row.limb) << shift) + quad], row.q);
    }
    return scaled;
}

// Ends a transform: `quad` of the row.
fn put(x: vec4<u32>, quad: u32, row: Row) {
    let at = word_of(params.dst, row) / 4u;
    let result = canonical(x, row.q);
    if TURN {
        let to = turn_of(quad, params.inverse, params.log_n).quad;
        let turn = turn_of(to, params.element, params.log_n).turn;
        dst_quads[at + to] = permute(finish(result, quad, row), params.element, turn);
    } else if FINISH {
        dst_quads[at + quad] = finish(result, quad, row);
    } else {
        dst_quads[at + quad] = result;
    }
}

@compute @workgroup_size(THREADS)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = row_at(group);
    let levels = params.log_n - LOG_POINTS; // stages done before
    let piece = group.x << LOG_POINTS;

    var v = load_words(word_of(params.src, row) + piece + thread, THREADS);
    let upper = row.roots + params.upper + group.x;
    if WHOLE {
        v = first16(v, upper, 1u, row.q);
    } else {
        v = forward16(v, 0u, upper, 1u << levels, row.q);
    }
    store_upper(thread, v);
    workgroupBarrier();

    let middle = middle_of(thread);
    v = load_middle(middle);
    v = forward16(v, 0u, row.roots + params.middle + (group.x << 4u) + middle.node, 16u << levels, row.q);
    store_middle(middle, v);
    workgroupBarrier();

    v = load_lower(thread);
    v = forward16(v, 12u - LOG_POINTS, row.roots + params.lower + group.x * THREADS + thread, THREADS << levels, row.q);
    let quad = piece / 4u + 4u * thread;
    put(v.a, quad, row);
    put(v.b, quad + 1u, row);
    put(v.c, quad + 2u, row);
    put(v.d, quad + 3u, row);
}

override COLUMN_THREADS: u32;

@compute @workgroup_size(COLUMN_THREADS)
fn columns16(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = row_at(group);
    let column = group.x * COLUMN_THREADS + thread;
    let step = 1u << (params.log_n - 4u);
    let v = load_words(word_of(params.src, row) + column, step);
    store_words(word_of(params.dst, row) + column, step, first16(v, row.roots, 1u, row.q));
}

@compute @workgroup_size(COLUMN_THREADS)
fn columns32(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = row_at(group);
    let column = group.x * COLUMN_THREADS + thread;
    let step = 1u << (params.log_n - 5u);
    let first = word_of(params.src, row) + column;
    let u = load_words(first, step);
    let v = load_words(first + 16u * step, step);
    let w = roots[row.roots].xxxx;
    let s = roots[row.roots + 1u].xxxx;
    let a = butterfly_reduced(u.a, v.a, w, s, row.q);
    let b = butterfly_reduced(u.b, v.b, w, s, row.q);
    let c = butterfly_reduced(u.c, v.c, w, s, row.q);
    let d = butterfly_reduced(u.d, v.d, w, s, row.q);
    let low = forward16(Sixteen(a.low, b.low, c.low, d.low), 0u, row.roots + params.upper, 2u, row.q);
    let high = forward16(Sixteen(a.high, b.high, c.high, d.high), 0u, row.roots + params.upper + 1u, 2u, row.q);
    let to = word_of(params.dst, row) + column;
    store_words(to, step, low);
    store_words(to + 16u * step, step, high);
}
