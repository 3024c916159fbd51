// mul_wide, portable: products of 32-bit words out of 16-bit halves. mul_wide_int64.wgsl has the same functions.

// 64-bit numbers, one a lane.
struct Wide {
    high: vec4<u32>,
    low: vec4<u32>,
}

const HALF = vec4<u32>(16u);
const HALF_MASK = vec4<u32>(0xffffu);

// The exact high words of the products.
fn mul_high(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let a0 = a & HALF_MASK;
    let a1 = a >> HALF;
    let b0 = b & HALF_MASK;
    let b1 = b >> HALF;
    let middle = a1 * b0 + ((a0 * b0) >> HALF); // at most 2^32 - 2^16
    let carried = a0 * b1 + (middle & HALF_MASK); // at most 2^32 - 2^16
    return a1 * b1 + (middle >> HALF) + (carried >> HALF);
}

// u + x w mod q, not above u + 2q, for a constant w in [0, q) with quotient = floor(w 2^32 / q), any word x, and u + 2q < 2^32.
// Leaving out the low halves' product and two carries makes the estimate short by at most 2: one reduction more.
fn add_mul_shoup(u: vec4<u32>, x: vec4<u32>, w: vec4<u32>, quotient: vec4<u32>, q: u32) -> vec4<u32> {
    let x0 = x & HALF_MASK;
    let x1 = x >> HALF;
    let w0 = quotient & HALF_MASK;
    let w1 = quotient >> HALF;
    let estimate = x1 * w1 + ((x1 * w0) >> HALF) + ((x0 * w1) >> HALF);
    let remainder = x * w - estimate * vec4<u32>(q); // [0, 4q)
    return u + min(remainder, remainder - vec4<u32>(2u * q));
}

fn mul_wide(a: vec4<u32>, b: vec4<u32>) -> Wide {
    return Wide(mul_high(a, b), a * b);
}

// Running sums of products, below 2^64.
alias Sum = Wide;

fn sum_zero() -> Sum {
    return Wide(vec4<u32>(), vec4<u32>());
}

fn sum_add_word(sum: Sum, word: vec4<u32>) -> Sum {
    let low = sum.low + word;
    return Wide(sum.high + vec4<u32>(low < word), low);
}

fn sum_add_product(sum: Sum, a: vec4<u32>, b: vec4<u32>) -> Sum {
    let product = a * b;
    let low = sum.low + product;
    return Wide(sum.high + mul_high(a, b) + vec4<u32>(low < product), low);
}

fn sum_words(sum: Sum) -> Wide {
    return sum;
}
