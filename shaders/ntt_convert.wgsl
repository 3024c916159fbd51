// ntt_convert: centred conversion between residue bases and the first pass of the forward NTT of what it gives, several target
// limbs a thread: sources are scaled residues y_i in coefficient form, as an inverse NTT with the right factors leaves them.
// Mirrors: src/math/rns.rs, src/math/tables.rs.  Grid: x = columns / COLUMN_THREADS, y = group of targets, z = polynomial:
// groups of one source follow each other, which they read again.
// Sources in [0, q), results in [0, 4q) for `rows` of ntt_forward.
//
// Tables, in vec4. A row of the grid of `columns16`: (group, sources, conversion, first source limb), (digit, -, -, -). A conversion: extend.wgsl
// has its first part. A group of TARGETS: limbs of dst (ABSENT where there are fewer), their primes, their Limbs with
// aux = -D mod t, and for every source i its D/q_i mod each target.

const TARGETS = 4u;
const ABSENT = 0xffffffffu;

override COLUMN_THREADS: u32;

struct Conversion {
    group: u32,
    sources: u32,
    scales: u32, // (weight, shift, -, -) of source i at + 2 i
    first: u32,  // word of the first source
    to: u32,     // word of dst, but for the limb
    limbs: vec4<u32>,
    primes: vec4<u32>,
}

fn conversion_at(group: vec3<u32>, column: u32) -> Conversion {
    let at = params.records + 2u * (params.first_y + group.y);
    let head = tables[at];
    let digit = tables[at + 1u].x;
    let poly = params.first_z + group.z;
    let first = (row_of(params.src, poly, head.w) << params.log_n) + column;
    let to = (row_of(params.dst, poly, digit * params.digit_rows) << params.log_n) + column;
    return Conversion(head.x, head.y, head.z + 1u, first, to, tables[head.x], tables[head.x + 1u]);
}

fn limb_of(conversion: Conversion, target_index: u32) -> Limb {
    return limb_at(conversion.group + 2u, target_index);
}

// Residue modulo one target, from its sum over the sources: [0, 2q)
fn end_sum(sum: Sum, multiple: vec4<u32>, limb: Limb) -> vec4<u32> {
    return reduce_wide_lazy(sum_words(sum_add_product(sum, multiple, splat(limb.aux))), limb);
}

// Four words at stride `step`: vector t of the result is of target t.
fn convert4(conversion: Conversion, offset: u32, step: u32) -> Sixteen {
    var estimate = splat(1u << 27u);
    var s0 = sum_zero();
    var s1 = sum_zero();
    var s2 = sum_zero();
    var s3 = sum_zero();
    for (var i = 0u; i < conversion.sources; i++) {
        let y = load_words4(conversion.first + offset + (i << params.log_n), step);
        let scale = tables[conversion.scales + 2u * i];
        let hat = tables[conversion.group + 2u + 2u * TARGETS + i];
        estimate += mul_high(y << splat(scale.y), splat(scale.x));
        s0 = sum_add_product(s0, y, hat.xxxx);
        s1 = sum_add_product(s1, y, hat.yyyy);
        s2 = sum_add_product(s2, y, hat.zzzz);
        s3 = sum_add_product(s3, y, hat.wwww);
    }
    let multiple = estimate >> splat(28u);
    return Sixteen(
        end_sum(s0, multiple, limb_of(conversion, 0u)),
        end_sum(s1, multiple, limb_of(conversion, 1u)),
        end_sum(s2, multiple, limb_of(conversion, 2u)),
        end_sum(s3, multiple, limb_of(conversion, 3u)),
    );
}

fn column16(conversion: Conversion, target_index: u32, limb: u32, prime: u32, v: Sixteen, step: u32) {
    if limb != ABSENT {
        let q = limb_of(conversion, target_index).q;
        store_words(conversion.to + (limb << params.log_n), step, first16(v, prime * params.prime_roots, 1u, q));
    }
}

@compute @workgroup_size(COLUMN_THREADS)
fn columns16(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let column = group.x * COLUMN_THREADS + thread;
    let step = 1u << (params.log_n - 4u);
    let c = conversion_at(group, column);
    let x = convert4(c, 0u, step);
    let y = convert4(c, 4u * step, step);
    let z = convert4(c, 8u * step, step);
    let w = convert4(c, 12u * step, step);
    column16(c, 0u, c.limbs.x, c.primes.x, Sixteen(x.a, y.a, z.a, w.a), step);
    column16(c, 1u, c.limbs.y, c.primes.y, Sixteen(x.b, y.b, z.b, w.b), step);
    column16(c, 2u, c.limbs.z, c.primes.z, Sixteen(x.c, y.c, z.c, w.c), step);
    column16(c, 3u, c.limbs.w, c.primes.w, Sixteen(x.d, y.d, z.d, w.d), step);
}

// Limbs that a digit contains, which need no conversion; grid: x = words / (4 COLUMN_THREADS), y = polynomial, z = record.
@compute @workgroup_size(COLUMN_THREADS)
fn own(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let quad = group.x * COLUMN_THREADS + thread;
    let row = row_at(group);
    let shift = params.log_n - 2u;
    let limb = row.limb - row.digit * params.digit_rows;
    dst_quads[(row_of(params.dst, row.poly, row.limb) << shift) + quad] =
        src_quads[(row_of(params.src, row.poly, limb) << shift) + quad];
}
