// Cooley-Tukey rounds, see radix16.wgsl. Values lie in [0, 4q) between stages.

// [0, 4q) -> [0, q)
fn canonical(x: vec4<u32>, q: u32) -> vec4<u32> {
    return reduce_once(reduce_once(x, 2u * q), q);
}

fn canonical16(v: Sixteen, q: u32) -> Sixteen {
    return Sixteen(canonical(v.a, q), canonical(v.b, q), canonical(v.c, q), canonical(v.d, q));
}

// (u, v) -> (u + w v, u - w v): [0, 2q) x [0, 2^32) -> [0, 4q)
fn butterfly_reduced(u: vec4<u32>, v: vec4<u32>, w: vec4<u32>, quotient: vec4<u32>, q: u32) -> Pair {
    let low = add_mul_shoup(u, v, w, quotient, q);
    return Pair(low, u + u + splat(2u * q) - low);
}

// The same: [0, 4q) x [0, 2^32) -> [0, 4q)
fn butterfly(u: vec4<u32>, v: vec4<u32>, w: vec4<u32>, quotient: vec4<u32>, q: u32) -> Pair {
    return butterfly_reduced(reduce_once(u, 2u * q), v, w, quotient, q);
}

// Distance 8 of sixteen.
fn stage_8(v: Sixteen, w: vec4<u32>, s: vec4<u32>, q: u32) -> Sixteen {
    let ac = butterfly(v.a, v.c, w.xxxx, s.xxxx, q);
    let bd = butterfly(v.b, v.d, w.xxxx, s.xxxx, q);
    return Sixteen(ac.low, bd.low, ac.high, bd.high);
}

// Distance 8 of values in [0, 2q): what a transform begins with.
fn stage_8_reduced(v: Sixteen, w: vec4<u32>, s: vec4<u32>, q: u32) -> Sixteen {
    let ac = butterfly_reduced(v.a, v.c, w.xxxx, s.xxxx, q);
    let bd = butterfly_reduced(v.b, v.d, w.xxxx, s.xxxx, q);
    return Sixteen(ac.low, bd.low, ac.high, bd.high);
}

// Distance 4.
fn stage_4(v: Sixteen, w: vec4<u32>, s: vec4<u32>, q: u32) -> Sixteen {
    let ab = butterfly(v.a, v.b, w.yyyy, s.yyyy, q);
    let cd = butterfly(v.c, v.d, w.zzzz, s.zzzz, q);
    return Sixteen(ab.low, ab.high, cd.low, cd.high);
}

// Distance 2, on transposed values: vector e mod 4, component e / 4.
fn stage_2(v: Sixteen, w: vec4<u32>, s: vec4<u32>, q: u32) -> Sixteen {
    let ac = butterfly(v.a, v.c, w, s, q);
    let bd = butterfly(v.b, v.d, w, s, q);
    return Sixteen(ac.low, bd.low, ac.high, bd.high);
}

// Distance 1, on transposed values.
fn stage_1(v: Sixteen, w0: vec4<u32>, s0: vec4<u32>, w1: vec4<u32>, s1: vec4<u32>, q: u32) -> Sixteen {
    let ab = butterfly(v.a, v.b, w0, s0, q);
    let cd = butterfly(v.c, v.d, w1, s1, q);
    return Sixteen(ab.low, ab.high, cd.low, cd.high);
}

// The last two stages of a round.
fn stages_2_1(v: Sixteen, at: u32, nodes: u32, q: u32) -> Sixteen {
    let x = stage_2(transpose16(v), roots[at + 2u * nodes], roots[at + 3u * nodes], q);
    return transpose16(last_stage(x, at, nodes, q));
}

fn last_stage(v: Sixteen, at: u32, nodes: u32, q: u32) -> Sixteen {
    return stage_1(v, roots[at + 4u * nodes], roots[at + 5u * nodes], roots[at + 6u * nodes], roots[at + 7u * nodes], q);
}

// A round of values in [0, 2q). `at`: first root vec4 of the node, `nodes`: of the round.
fn first16(v: Sixteen, at: u32, nodes: u32, q: u32) -> Sixteen {
    let w = roots[at];
    let s = roots[at + nodes];
    return stages_2_1(stage_4(stage_8_reduced(v, w, s, q), w, s, q), at, nodes, q);
}

// The last 4 - skipped stages of a round.
fn forward16(v: Sixteen, skipped: u32, at: u32, nodes: u32, q: u32) -> Sixteen {
    var x = v;
    if skipped < 2u {
        let w = roots[at];
        let s = roots[at + nodes];
        if skipped == 0u {
            x = stage_8(x, w, s, q);
        }
        x = stage_4(x, w, s, q);
    }
    if skipped < 3u {
        return stages_2_1(x, at, nodes, q);
    }
    return transpose16(last_stage(transpose16(x), at, nodes, q));
}
