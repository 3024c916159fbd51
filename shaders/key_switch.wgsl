// key_switch: the last pass of the forward NTT of all digits' foreign limbs, and their inner product with the key, in one:
// a workgroup takes its piece of every digit, one after the other, and keeps the sums in registers.
// Mirror: src/device/cpu/kernels/gadget.rs.  Grid: x = pieces, y = limb, z = polynomial of a component.
// Digits as the pass before leaves them, all other words in [0, q).
//
// `src` has the digits, digit-major; `minuend` the polynomials that were cut, whose limbs are the digits' own. The first of a
// row's constants is the digit that contains the limb.

override WHOLE: bool = true; // no pass before
override TURN: bool = false; // X^element for X at the end

// Sixteen words of a key digit.
fn key16_at(digit: u32, at: u32) -> Sixteen {
    switch digit {
        case 0u: { return Sixteen(key0[at], key0[at + 1u], key0[at + 2u], key0[at + 3u]); }
        case 1u: { return Sixteen(key1[at], key1[at + 1u], key1[at + 2u], key1[at + 3u]); }
        case 2u: { return Sixteen(key2[at], key2[at + 1u], key2[at + 2u], key2[at + 3u]); }
        case 3u: { return Sixteen(key3[at], key3[at + 1u], key3[at + 2u], key3[at + 3u]); }
        case 4u: { return Sixteen(key4[at], key4[at + 1u], key4[at + 2u], key4[at + 3u]); }
        case 5u: { return Sixteen(key5[at], key5[at + 1u], key5[at + 2u], key5[at + 3u]); }
        case 6u: { return Sixteen(key6[at], key6[at + 1u], key6[at + 2u], key6[at + 3u]); }
        case 7u: { return Sixteen(key7[at], key7[at + 1u], key7[at + 2u], key7[at + 3u]); }
        default: { return Sixteen(key8[at], key8[at + 1u], key8[at + 2u], key8[at + 3u]); }
    }
}

// Of sixteen words.
struct Sums {
    a: Sum,
    b: Sum,
    c: Sum,
    d: Sum,
}

fn add_products(s: Sums, x: Sixteen, y: Sixteen) -> Sums {
    return Sums(
        sum_add_product(s.a, x.a, y.a),
        sum_add_product(s.b, x.b, y.b),
        sum_add_product(s.c, x.c, y.c),
        sum_add_product(s.d, x.d, y.d),
    );
}

// Q plus, as far as there is one.
fn first_sums(poly: u32, quad: u32, row: Row, limb: Limb) -> Sums {
    var sums = Sums(sum_zero(), sum_zero(), sum_zero(), sum_zero());
    if poly < params.plus.polys && limb.factor != 0u {
        let at = (row_of(params.plus, poly, row.limb) << (params.log_n - 2u)) + quad;
        let q = splat(limb.factor);
        sums = add_products(sums, Sixteen(plus[at], plus[at + 1u], plus[at + 2u], plus[at + 3u]), Sixteen(q, q, q, q));
    }
    return sums;
}

fn put(sum: Sum, poly: u32, quad: u32, row: Row, limb: Limb) {
    let result = reduce_wide(sum_words(sum), limb);
    let at = row_of(params.dst, poly, row.limb) << (params.log_n - 2u);
    if TURN {
        let to = turn_of(quad, params.inverse, params.log_n).quad;
        let turn = turn_of(to, params.element, params.log_n).turn;
        dst_quads[at + to] = permute(result, params.element, turn);
    } else {
        dst_quads[at + quad] = result;
    }
}

fn put_sums(sums: Sums, poly: u32, quad: u32, row: Row, limb: Limb) {
    put(sums.a, poly, quad, row, limb);
    put(sums.b, poly, quad + 1u, row, limb);
    put(sums.c, poly, quad + 2u, row, limb);
    put(sums.d, poly, quad + 3u, row, limb);
}

@compute @workgroup_size(THREADS)
fn key_switch(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = row_at(group);
    let levels = params.log_n - LOG_POINTS; // stages done before
    let piece = group.x << LOG_POINTS;
    let quad = piece / 4u + 4u * thread;
    let middle = middle_of(thread);

    let start = limb_at(params.limbs, row.limb);
    var sums0 = first_sums(row.poly, quad, row, start);
    var sums1 = first_sums(row.poly + params.batch, quad, row, start);
    for (var i = 0u; i < params.keys; i++) {
        let digit = params.first_digit + i;
        var v: Sixteen;
        if digit == row.end.x {
            let at = (word_of(params.minuend, row) / 4u) + quad;
            v = Sixteen(minuend[at], minuend[at + 1u], minuend[at + 2u], minuend[at + 3u]);
        } else {
            let first = row_of(params.src, digit * params.batch + row.poly, row.limb) << params.log_n;
            v = load_words(first + piece + thread, THREADS);
            let upper = row.roots + params.upper + group.x;
            if WHOLE {
                v = first16(v, upper, 1u, row.q);
            } else {
                v = forward16(v, 0u, upper, 1u << levels, row.q);
            }
            workgroupBarrier(); // the tile still holds the digit before
            store_upper(thread, v);
            workgroupBarrier();
            v = load_middle(middle);
            v = forward16(v, 0u, row.roots + params.middle + (group.x << 4u) + middle.node, 16u << levels, row.q);
            store_middle(middle, v);
            workgroupBarrier();
            v = load_lower(thread);
            let lower = row.roots + params.lower + group.x * THREADS + thread;
            v = canonical16(forward16(v, 12u - LOG_POINTS, lower, THREADS << levels, row.q), row.q);
        }
        let shift = params.log_n - 2u;
        sums0 = add_products(sums0, v, key16_at(i, (start.aux << shift) + quad));
        sums1 = add_products(sums1, v, key16_at(i, ((start.aux + params.key_limbs) << shift) + quad));
    }
    let limb = limb_at(params.limbs, row.limb); // again, rather than in registers all the while
    put_sums(sums0, row.poly, quad, row, limb);
    put_sums(sums1, row.poly + params.batch, quad, row, limb);
}
