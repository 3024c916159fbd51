// mul_wide with SHADER_INT64: 64-bit integers in registers only. mul_wide_portable.wgsl has the same functions.

// 64-bit numbers, one a lane.
struct Wide {
    high: vec4<u32>,
    low: vec4<u32>,
}

const WORD = vec4<u32>(32u);

// The exact high words of the products.
fn mul_high(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>((vec4<u64>(a) * vec4<u64>(b)) >> WORD);
}

// u + x w mod q, not above u + 2q, for a constant w in [0, q) with quotient = floor(w 2^32 / q), any word x, and u + 2q < 2^32.
fn add_mul_shoup(u: vec4<u32>, x: vec4<u32>, w: vec4<u32>, quotient: vec4<u32>, q: u32) -> vec4<u32> {
    // Written as a sum of three for devices that add three at once; as 0 - q compilers would make it a difference again.
    return u + mul_high(x, quotient) * vec4<u32>(~q + 1u) + x * w;
}

fn mul_wide(a: vec4<u32>, b: vec4<u32>) -> Wide {
    let product = vec4<u64>(a) * vec4<u64>(b);
    return Wide(vec4<u32>(product >> WORD), vec4<u32>(product));
}

// Running sums of products, below 2^64.
struct Sum {
    value: vec4<u64>,
}

fn sum_zero() -> Sum {
    return Sum(vec4<u64>());
}

fn sum_add_word(sum: Sum, word: vec4<u32>) -> Sum {
    return Sum(sum.value + vec4<u64>(word));
}

fn sum_add_product(sum: Sum, a: vec4<u32>, b: vec4<u32>) -> Sum {
    return Sum(sum.value + vec4<u64>(a) * vec4<u64>(b));
}

fn sum_words(sum: Sum) -> Wide {
    return Wide(vec4<u32>(sum.value >> WORD), vec4<u32>(sum.value));
}
