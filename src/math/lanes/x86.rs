//! AVX-512 and AVX2.

use super::{Factors, Lanes, Pair, Root};
use pulp::cast;
use pulp::x86::{V3, V4};
use std::arch::x86_64::{__m256i, __m512i};

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(in crate::math) struct Avx512 {
    simd: V4,
    /// The even lanes. Hidden from the compiler, which replaces a shuffle under a constant mask by two shuffles.
    evens: u16,
}

impl Avx512 {
    #[inline(always)]
    pub(in crate::math) fn new(simd: V4) -> Self {
        Self { simd, evens: std::hint::black_box(0x5555) }
    }

    #[inline(always)]
    fn permute(self, a: __m512i, b: __m512i, low: [u32; 16], high: [u32; 16]) -> (__m512i, __m512i) {
        let f = self.simd.avx512f;
        (f._mm512_permutex2var_epi32(a, cast(low), b), f._mm512_permutex2var_epi32(a, cast(high), b))
    }

    /// The `2^(stage + 1)` words of a stage, each for as many adjacent lanes.
    #[inline(always)]
    fn spread(self, stage: u32, words: &[u32; 32]) -> __m512i {
        let f = self.simd.avx512f;
        match stage {
            0 => f._mm512_permutexvar_epi32(
                cast([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]),
                f._mm512_castsi128_si512(cast([words[2], words[3], 0, 0])),
            ),
            1 => f._mm512_permutexvar_epi32(
                cast([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]),
                f._mm512_castsi128_si512(cast([words[4], words[5], words[6], words[7]])),
            ),
            2 => f._mm512_permutexvar_epi32(
                cast([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]),
                f._mm512_castsi256_si512(cast(*words[8..].first_chunk::<8>().expect("24 words"))),
            ),
            _ => cast(*words.last_chunk::<16>().expect("32 words")),
        }
    }
}

impl Lanes for Avx512 {
    type Vector = __m512i;
    type Chunk = [u32; 16];
    type Pair = Pair<32>;
    const LOG: u32 = 4;

    fn pair(root: impl Fn(usize) -> Root) -> Pair<32> {
        Pair::new(root)
    }

    #[inline(always)]
    fn splat(self, x: u32) -> __m512i {
        self.simd.avx512f._mm512_set1_epi32(x.cast_signed())
    }

    #[inline(always)]
    fn load(self, from: &[u32; 16]) -> __m512i {
        cast(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [u32; 16], x: __m512i) {
        *to = cast(x);
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        self.simd.avx512f._mm512_add_epi32(a, b)
    }

    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        self.simd.avx512f._mm512_sub_epi32(a, b)
    }

    #[inline(always)]
    fn min(self, a: __m512i, b: __m512i) -> __m512i {
        self.simd.avx512f._mm512_min_epu32(a, b)
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        self.simd.avx512f._mm512_xor_si512(a, b)
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, x: __m512i) -> __m512i {
        self.simd.avx512f._mm512_rol_epi32::<LEFT>(x)
    }

    #[inline(always)]
    fn mul(self, x: __m512i, w: Factors<__m512i>, q: __m512i) -> __m512i {
        let f = self.simd.avx512f;
        let even = f._mm512_mul_epu32(x, w.even);
        let odd = f._mm512_mul_epu32(f._mm512_shuffle_epi32::<0xf5>(x), w.odd);
        let high = f._mm512_mask_shuffle_epi32::<0xf5>(odd, self.evens, even);
        f._mm512_sub_epi32(f._mm512_mullo_epi32(x, w.values), f._mm512_mullo_epi32(high, q))
    }

    #[inline(always)]
    fn swap(self, bit: u32, a: __m512i, b: __m512i) -> (__m512i, __m512i) {
        let f = self.simd.avx512f;
        match bit {
            3 => (f._mm512_shuffle_i64x2::<0x44>(a, b), f._mm512_shuffle_i64x2::<0xee>(a, b)),
            2 => self.permute(
                a,
                b,
                [0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27],
                [4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31],
            ),
            1 => (f._mm512_unpacklo_epi64(a, b), f._mm512_unpackhi_epi64(a, b)),
            _ => self.permute(
                a,
                b,
                [0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30],
                [1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31],
            ),
        }
    }

    #[inline(always)]
    fn interleave(self, a: __m512i, b: __m512i) -> (__m512i, __m512i) {
        self.permute(
            a,
            b,
            [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23],
            [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31],
        )
    }

    #[inline(always)]
    fn deinterleave(self, a: __m512i, b: __m512i) -> (__m512i, __m512i) {
        self.permute(
            a,
            b,
            [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30],
            [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31],
        )
    }

    #[inline(always)]
    fn factors(self, stage: u32, pair: &Pair<32>) -> Factors<__m512i> {
        let even = self.spread(stage, &pair.quotients);
        // Before the last stage neighbours share their factor.
        let odd = if stage == 3 { self.simd.avx512f._mm512_srli_epi64::<32>(even) } else { even };
        Factors { values: self.spread(stage, &pair.values), even, odd }
    }
}

/// Eight lanes.
#[derive(Clone, Copy)]
pub(in crate::math) struct Avx2(V3);

impl Avx2 {
    #[inline(always)]
    pub(in crate::math) fn new(simd: V3) -> Self {
        Self(simd)
    }

    #[inline(always)]
    fn spread(self, stage: u32, words: &[u32; 16]) -> __m256i {
        let f = self.0.avx2;
        match stage {
            0 => f._mm256_permutevar8x32_epi32(
                self.0.avx._mm256_castsi128_si256(cast([words[2], words[3], 0, 0])),
                cast([0, 0, 0, 0, 1, 1, 1, 1]),
            ),
            1 => f._mm256_permutevar8x32_epi32(
                self.0.avx._mm256_castsi128_si256(cast([words[4], words[5], words[6], words[7]])),
                cast([0, 0, 1, 1, 2, 2, 3, 3]),
            ),
            _ => cast(*words.last_chunk::<8>().expect("16 words")),
        }
    }

    /// The low halves, then the high halves.
    #[inline(always)]
    fn halves(self, a: __m256i, b: __m256i) -> (__m256i, __m256i) {
        let f = self.0.avx2;
        (f._mm256_permute2x128_si256::<0x20>(a, b), f._mm256_permute2x128_si256::<0x31>(a, b))
    }
}

impl Lanes for Avx2 {
    type Vector = __m256i;
    type Chunk = [u32; 8];
    type Pair = Pair<16>;
    const LOG: u32 = 3;

    fn pair(root: impl Fn(usize) -> Root) -> Pair<16> {
        Pair::new(root)
    }

    #[inline(always)]
    fn splat(self, x: u32) -> __m256i {
        self.0.avx._mm256_set1_epi32(x.cast_signed())
    }

    #[inline(always)]
    fn load(self, from: &[u32; 8]) -> __m256i {
        cast(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [u32; 8], x: __m256i) {
        *to = cast(x);
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_add_epi32(a, b)
    }

    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_sub_epi32(a, b)
    }

    #[inline(always)]
    fn min(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_min_epu32(a, b)
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_xor_si256(a, b)
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, x: __m256i) -> __m256i {
        let f = self.0.avx2;
        f._mm256_or_si256(f._mm256_slli_epi32::<LEFT>(x), f._mm256_srli_epi32::<RIGHT>(x))
    }

    #[inline(always)]
    fn mul(self, x: __m256i, w: Factors<__m256i>, q: __m256i) -> __m256i {
        let f = self.0.avx2;
        let even = f._mm256_mul_epu32(x, w.even);
        let odd = f._mm256_mul_epu32(f._mm256_shuffle_epi32::<0xf5>(x), w.odd);
        let high = f._mm256_blend_epi32::<0b1010_1010>(f._mm256_shuffle_epi32::<0xf5>(even), odd);
        f._mm256_sub_epi32(f._mm256_mullo_epi32(x, w.values), f._mm256_mullo_epi32(high, q))
    }

    #[inline(always)]
    fn swap(self, bit: u32, a: __m256i, b: __m256i) -> (__m256i, __m256i) {
        let f = self.0.avx2;
        match bit {
            2 => self.halves(a, b),
            1 => (f._mm256_unpacklo_epi64(a, b), f._mm256_unpackhi_epi64(a, b)),
            _ => (
                f._mm256_blend_epi32::<0b1010_1010>(a, f._mm256_slli_epi64::<32>(b)),
                f._mm256_blend_epi32::<0b0101_0101>(b, f._mm256_srli_epi64::<32>(a)),
            ),
        }
    }

    #[inline(always)]
    fn interleave(self, a: __m256i, b: __m256i) -> (__m256i, __m256i) {
        let f = self.0.avx2;
        self.halves(f._mm256_unpacklo_epi32(a, b), f._mm256_unpackhi_epi32(a, b))
    }

    #[inline(always)]
    fn deinterleave(self, a: __m256i, b: __m256i) -> (__m256i, __m256i) {
        let order = cast([0, 2, 4, 6, 1, 3, 5, 7]);
        let f = self.0.avx2;
        self.halves(f._mm256_permutevar8x32_epi32(a, order), f._mm256_permutevar8x32_epi32(b, order))
    }

    #[inline(always)]
    fn factors(self, stage: u32, pair: &Pair<16>) -> Factors<__m256i> {
        let even = self.spread(stage, &pair.quotients);
        let odd = if stage == 2 { self.0.avx2._mm256_srli_epi64::<32>(even) } else { even };
        Factors { values: self.spread(stage, &pair.values), even, odd }
    }
}
