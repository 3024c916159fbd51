// Gentleman-Sande rounds, see radix16.wgsl. Values lie in [0, 2q) between stages.

// (u, v) -> (u + v, (u - v) w): [0, 2q) -> [0, 2q)
fn butterfly(u: vec4<u32>, v: vec4<u32>, w: vec4<u32>, quotient: vec4<u32>, q: u32) -> Pair {
    return Pair(reduce_once(u + v, 2u * q), mul_shoup_lazy(u + splat(2u * q) - v, w, quotient, q));
}

// Distance 8 of sixteen.
fn stage_8(v: Sixteen, w: vec4<u32>, s: vec4<u32>, q: u32) -> Sixteen {
    let ac = butterfly(v.a, v.c, w.xxxx, s.xxxx, q);
    let bd = butterfly(v.b, v.d, w.xxxx, s.xxxx, q);
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

// The first 4 - skipped stages of a round. `at`: first root vec4 of the node, `nodes`: of the round.
fn inverse16(v: Sixteen, skipped: u32, at: u32, nodes: u32, q: u32) -> Sixteen {
    var x = transpose16(v);
    x = stage_1(x, roots[at + 4u * nodes], roots[at + 5u * nodes], roots[at + 6u * nodes], roots[at + 7u * nodes], q);
    if skipped < 3u {
        x = stage_2(x, roots[at + 2u * nodes], roots[at + 3u * nodes], q);
    }
    x = transpose16(x);
    if skipped < 2u {
        let w = roots[at];
        let s = roots[at + nodes];
        x = stage_4(x, w, s, q);
        if skipped == 0u {
            x = stage_8(x, w, s, q);
        }
    }
    return x;
}
