// Arithmetic modulo primes q < 2^30, four words at a time. `[a, b)` is the range of every lane.

// Constants of one prime; mirrors `tables::limb_record`.
struct Limb {
    q: u32,
    barrett: u32,        // floor(2^(bits + 31) / q) with 2^(bits - 1) < q < 2^bits
    shift: u32,          // bits - 2
    radix: u32,          // 2^32 mod q
    radix_shoup: u32,    // floor(radix 2^32 / q)
    one_shoup: u32,      // floor(2^32 / q)
    aux: u32,            // what an operation wants to know of its limb
    factor: u32,         // and what it multiplies by
}

fn splat(x: u32) -> vec4<u32> {
    return vec4<u32>(x);
}

// [0, 2m) -> [0, m)
fn reduce_once(x: vec4<u32>, m: u32) -> vec4<u32> {
    return min(x, x - splat(m));
}

// [0, q) x [0, q) -> [0, q)
fn add_mod(a: vec4<u32>, b: vec4<u32>, q: u32) -> vec4<u32> {
    return reduce_once(a + b, q);
}

// [0, q) x [0, q) -> [0, q)
fn sub_mod(a: vec4<u32>, b: vec4<u32>, q: u32) -> vec4<u32> {
    let difference = a - b;
    return min(difference, difference + splat(q));
}

// x w mod q for a constant w in [0, q) and its quotient floor(w 2^32 / q): [0, 2^32) -> [0, 2q)
fn mul_shoup_lazy(x: vec4<u32>, w: vec4<u32>, quotient: vec4<u32>, q: u32) -> vec4<u32> {
    return add_mul_shoup(vec4<u32>(), x, w, quotient, q);
}

// [0, q) x [0, q) -> [0, q): Barrett, the quotient short by at most one
fn mul_mod(a: vec4<u32>, b: vec4<u32>, limb: Limb) -> vec4<u32> {
    let product = mul_wide(a, b);
    let top = (product.high << splat(32u - limb.shift)) | (product.low >> splat(limb.shift));
    let quotient = mul_high(top, splat(limb.barrett)) >> splat(1u);
    return reduce_once(product.low - quotient * splat(limb.q), limb.q);
}

// [0, 2^64) -> [0, q)
fn reduce_wide(x: Wide, limb: Limb) -> vec4<u32> {
    return reduce_once(reduce_wide_lazy(x, limb), limb.q);
}

// [0, 2^64) -> [0, 2q)
fn reduce_wide_lazy(x: Wide, limb: Limb) -> vec4<u32> {
    let high = mul_shoup_lazy(x.high, splat(limb.radix), splat(limb.radix_shoup), limb.q);
    let low = x.low - mul_high(x.low, splat(limb.one_shoup)) * splat(limb.q); // [0, 2q)
    return reduce_once(high + low, 2u * limb.q);
}
