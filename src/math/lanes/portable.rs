//! Four lanes without intrinsics, for every other processor; the compiler may know better.

use super::{Factors, Lanes, Pair, Root};

#[derive(Clone, Copy)]
pub(in crate::math) struct Portable;

type Four = [u32; 4];

/// `f` of every lane.
#[inline(always)]
fn zip(a: Four, b: Four, f: impl Fn(u32, u32) -> u32) -> Four {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Lanes for Portable {
    type Vector = Four;
    type Chunk = Four;
    type Pair = Pair<8>;
    const LOG: u32 = 2;

    fn pair(root: impl Fn(usize) -> Root) -> Pair<8> {
        Pair::new(root)
    }

    #[inline(always)]
    fn splat(self, x: u32) -> Four {
        [x; 4]
    }

    #[inline(always)]
    fn load(self, from: &Four) -> Four {
        *from
    }

    #[inline(always)]
    fn store(self, to: &mut Four, x: Four) {
        *to = x;
    }

    #[inline(always)]
    fn add(self, a: Four, b: Four) -> Four {
        zip(a, b, u32::wrapping_add)
    }

    #[inline(always)]
    fn sub(self, a: Four, b: Four) -> Four {
        zip(a, b, u32::wrapping_sub)
    }

    #[inline(always)]
    fn min(self, a: Four, b: Four) -> Four {
        zip(a, b, u32::min)
    }

    #[inline(always)]
    fn xor(self, a: Four, b: Four) -> Four {
        zip(a, b, |a, b| a ^ b)
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, x: Four) -> Four {
        zip(x, x, |x, _| x.rotate_left(LEFT.unsigned_abs()))
    }

    #[inline(always)]
    fn mul(self, x: Four, w: Factors<Four>, q: Four) -> Four {
        let high = |x: u32, quotient: u32| ((u64::from(x) * u64::from(quotient)) >> 32) as u32;
        let (even, odd) = (w.even, w.odd);
        let quotients = [even[0], odd[0], even[2], odd[2]];
        self.sub(zip(x, w.values, u32::wrapping_mul), zip(zip(x, quotients, high), q, u32::wrapping_mul))
    }

    #[inline(always)]
    fn swap(self, bit: u32, a: Four, b: Four) -> (Four, Four) {
        match bit {
            1 => ([a[0], a[1], b[0], b[1]], [a[2], a[3], b[2], b[3]]),
            _ => ([a[0], b[0], a[2], b[2]], [a[1], b[1], a[3], b[3]]),
        }
    }

    #[inline(always)]
    fn interleave(self, a: Four, b: Four) -> (Four, Four) {
        ([a[0], b[0], a[1], b[1]], [a[2], b[2], a[3], b[3]])
    }

    #[inline(always)]
    fn deinterleave(self, a: Four, b: Four) -> (Four, Four) {
        ([a[0], a[2], b[0], b[2]], [a[1], a[3], b[1], b[3]])
    }

    #[inline(always)]
    fn factors(self, stage: u32, pair: &Pair<8>) -> Factors<Four> {
        let spread = |words: &[u32; 8], shift: usize| match stage {
            0 => [words[2], words[2], words[3], words[3]],
            _ => [words[4 + shift], words[5], words[6 + shift], words[7]],
        };
        Factors { values: spread(&pair.values, 0), even: spread(&pair.quotients, 0), odd: spread(&pair.quotients, 1) }
    }
}
