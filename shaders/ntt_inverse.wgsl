// ntt_inverse: Gentleman-Sande stages of the inverse negacyclic NTT, the passes of ntt_forward backwards. Each row's factor,
// 1/N among it, rides in the last stage.
// Mirror: src/math/tables.rs.  Grid: x = pieces or columns, y = polynomial, z = record.
// Words in [0, q) at both ends of the transform, in [0, 2q) between stages and passes.

override WHOLE: bool = true; // `rows` is the whole transform

// The last stage of all, with a row's factor f: (u, v) -> ((u + v) f, (u - v) f w): [0, 2q) -> [0, q).
// `end` is f, its quotient, f w, its quotient.
fn last_butterfly(u: vec4<u32>, v: vec4<u32>, end: vec4<u32>, q: u32) -> Pair {
    return Pair(
        reduce_once(mul_shoup_lazy(u + v, end.xxxx, end.yyyy, q), q),
        reduce_once(mul_shoup_lazy(u + splat(2u * q) - v, end.zzzz, end.wwww, q), q),
    );
}

// inverse16 whose last stage is the last of all.
fn last16(v: Sixteen, at: u32, end: vec4<u32>, q: u32) -> Sixteen {
    let x = inverse16(v, 1u, at, 1u, q);
    let ac = last_butterfly(x.a, x.c, end, q);
    let bd = last_butterfly(x.b, x.d, end, q);
    return Sixteen(ac.low, bd.low, ac.high, bd.high);
}

@compute @workgroup_size(THREADS)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = row_at(group);
    let levels = params.log_n - LOG_POINTS;
    let piece = group.x << LOG_POINTS;

    let at = (word_of(params.src, row) + piece) / 4u + 4u * thread;
    var v = Sixteen(src_quads[at], src_quads[at + 1u], src_quads[at + 2u], src_quads[at + 3u]);
    v = inverse16(v, 12u - LOG_POINTS, row.roots + params.lower + group.x * THREADS + thread, THREADS << levels, row.q);
    store_lower(thread, v);
    workgroupBarrier();

    let middle = middle_of(thread);
    v = load_middle(middle);
    v = inverse16(v, 0u, row.roots + params.middle + (group.x << 4u) + middle.node, 16u << levels, row.q);
    store_middle(middle, v);
    workgroupBarrier();

    v = load_upper(thread);
    let upper = row.roots + params.upper + group.x;
    if WHOLE {
        v = last16(v, upper, row.end, row.q);
    } else {
        v = inverse16(v, 0u, upper, 1u << levels, row.q);
    }
    store_words(word_of(params.dst, row) + piece + thread, THREADS, v);
}

override COLUMN_THREADS: u32;

@compute @workgroup_size(COLUMN_THREADS)
fn columns16(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = row_at(group);
    let column = group.x * COLUMN_THREADS + thread;
    let step = 1u << (params.log_n - 4u);
    let v = load_words(word_of(params.src, row) + column, step);
    store_words(word_of(params.dst, row) + column, step, last16(v, row.roots, row.end, row.q));
}

@compute @workgroup_size(COLUMN_THREADS)
fn columns32(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = row_at(group);
    let column = group.x * COLUMN_THREADS + thread;
    let step = 1u << (params.log_n - 5u);
    let first = word_of(params.src, row) + column;
    let u = inverse16(load_words(first, step), 0u, row.roots + params.upper, 2u, row.q);
    let v = inverse16(load_words(first + 16u * step, step), 0u, row.roots + params.upper + 1u, 2u, row.q);
    let a = last_butterfly(u.a, v.a, row.end, row.q);
    let b = last_butterfly(u.b, v.b, row.end, row.q);
    let c = last_butterfly(u.c, v.c, row.end, row.q);
    let d = last_butterfly(u.d, v.d, row.end, row.q);
    let to = word_of(params.dst, row) + column;
    store_words(to, step, Sixteen(a.low, b.low, c.low, d.low));
    store_words(to + 16u * step, step, Sixteen(a.high, b.high, c.high, d.high));
}
