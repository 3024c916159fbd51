//! The keystream of ChaCha20, sixteen blocks at a time.

use super::lanes::{Lanes, Task, run};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Words of a block.
const BLOCK: usize = 16;
/// Words that are made at once.
const BATCH: usize = 16 * BLOCK;
/// `expand 32-byte k`.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// A stream of words: the keystream under a key, with a counter of 64 bits and a stream number of 64 bits. Wiped on drop.
///
/// # Source
/// Bernstein, ChaCha, a variant of Salsa20.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct ChaCha20 {
    key: [u32; 8],
    stream: u64,
    /// Number of the next block to be made.
    counter: u64,
    made: [u32; BATCH],
    /// Words of `made` that were given out.
    used: usize,
}

impl ChaCha20 {
    pub(super) fn new(key: &[u8; 32], stream: u64) -> Self {
        let (words, _) = key.as_chunks::<4>();
        let mut out = Self { key: [0; 8], stream, counter: 0, made: [0; BATCH], used: BATCH };
        out.key.iter_mut().zip(words).for_each(|(k, word)| *k = u32::from_le_bytes(*word));
        out
    }

    /// The next words of the stream, as they lie in memory: little-endian bytes.
    pub(super) fn fill(&mut self, out: &mut [u32]) {
        let (ready, out) = out.split_at_mut(out.len().min(BATCH - self.used));
        ready.copy_from_slice(&self.made[self.used..][..ready.len()]);
        self.used += ready.len();
        let (batches, rest) = out.as_chunks_mut::<BATCH>();
        for batch in batches {
            run(Blocks { key: &self.key, stream: self.stream, first: self.counter, out: batch });
            self.counter = self.counter.wrapping_add(16);
        }
        if !rest.is_empty() {
            run(Blocks { key: &self.key, stream: self.stream, first: self.counter, out: &mut self.made });
            self.counter = self.counter.wrapping_add(16);
            self.used = rest.len();
            rest.copy_from_slice(&self.made[..self.used]);
        }
    }
}

/// Sixteen blocks from block `first` on.
struct Blocks<'a> {
    key: &'a [u32; 8],
    stream: u64,
    first: u64,
    out: &'a mut [u32; BATCH],
}

/// The two halves of a number, the low one first.
#[expect(clippy::cast_possible_truncation, reason = "halves")]
fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

impl Task for Blocks<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (mut low, mut high) = ([0; 16], [0; 16]);
        for (i, (low, high)) in (0u64..).zip(low.iter_mut().zip(&mut high)) {
            [*low, *high] = halves(self.first.wrapping_add(i));
        }
        let counters = bytemuck::cast_slice(&low).iter().zip(bytemuck::cast_slice(&high));
        let nonce = halves(self.stream);
        let [c, k] = [CONSTANTS, [self.key[0], self.key[1], self.key[2], self.key[3]]];
        for (group, (low, high)) in self.out.chunks_exact_mut(BLOCK << L::LOG).zip(counters) {
            // Word i of as many blocks as there are lanes in vector i.
            let start = [
                l.splat(c[0]),
                l.splat(c[1]),
                l.splat(c[2]),
                l.splat(c[3]),
                l.splat(k[0]),
                l.splat(k[1]),
                l.splat(k[2]),
                l.splat(k[3]),
                l.splat(self.key[4]),
                l.splat(self.key[5]),
                l.splat(self.key[6]),
                l.splat(self.key[7]),
                l.load(low),
                l.load(high),
                l.splat(nonce[0]),
                l.splat(nonce[1]),
            ];
            let mut x = start;
            for _ in 0..10 {
                quarter(l, &mut x, [0, 4, 8, 12]);
                quarter(l, &mut x, [1, 5, 9, 13]);
                quarter(l, &mut x, [2, 6, 10, 14]);
                quarter(l, &mut x, [3, 7, 11, 15]);
                quarter(l, &mut x, [0, 5, 10, 15]);
                quarter(l, &mut x, [1, 6, 11, 12]);
                quarter(l, &mut x, [2, 7, 8, 13]);
                quarter(l, &mut x, [3, 4, 9, 14]);
            }
            for i in 0..BLOCK {
                x[i] = l.add(x[i], start[i]);
            }
            // Transposed, by exchanges: the low bits of the vector's number become the lane's, so that a block's words stand together.
            for bit in 0..L::LOG {
                for i in 0..BLOCK {
                    if i & (1 << bit) == 0 {
                        (x[i], x[i | 1 << bit]) = l.swap(bit, x[i], x[i | 1 << bit]);
                    }
                }
            }
            let group: &mut [L::Chunk] = bytemuck::cast_slice_mut(group);
            let (lanes, parts) = (1 << L::LOG, BLOCK >> L::LOG);
            for i in 0..BLOCK {
                l.store(&mut group[i % lanes * parts + i / lanes], x[i]);
            }
        }
    }
}

/// A quarter of a round.
#[inline(always)]
fn quarter<L: Lanes>(l: L, x: &mut [L::Vector; 16], [a, b, c, d]: [usize; 4]) {
    x[a] = l.add(x[a], x[b]);
    x[d] = l.rotate::<16, 16>(l.xor(x[d], x[a]));
    x[c] = l.add(x[c], x[d]);
    x[b] = l.rotate::<12, 20>(l.xor(x[b], x[c]));
    x[a] = l.add(x[a], x[b]);
    x[d] = l.rotate::<8, 24>(l.xor(x[d], x[a]));
    x[c] = l.add(x[c], x[d]);
    x[b] = l.rotate::<7, 25>(l.xor(x[b], x[c]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::{lanes, simd};
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    #[test]
    fn the_stream_is_that_of_chacha20_on_every_instruction_set() {
        let key = std::array::from_fn(|i| u8::try_from(7 * i + 1).unwrap());
        for (stream, block) in [(0, 0), (1, 5), (u64::MAX - 2, u64::from(u32::MAX) - 3)] {
            let mut reference = ChaCha20Rng::from_seed(key);
            reference.set_stream(stream);
            reference.set_word_pos(u128::from(block) * 16);
            let expected: Vec<u32> = (0..BATCH).map(|_| reference.next_u32()).collect();
            for (name, arch) in simd::available() {
                let words = ChaCha20::new(&key, stream).key;
                let mut got = [0; BATCH];
                lanes::run_on(arch, Blocks { key: &words, stream, first: block, out: &mut got });
                assert_eq!(got[..], expected[..], "{name}, {stream}, {block}");
            }
        }
    }

    #[test]
    fn words_come_one_after_another_in_pieces_of_any_size() {
        let mut reference = ChaCha20Rng::from_seed([9; 32]);
        reference.set_stream(3);
        let mut stream = ChaCha20::new(&[9; 32], 3);
        for len in [1, 2, 0, 300, 255, 256, 257, 1, 1024, 7] {
            let mut got = vec![0; len];
            stream.fill(&mut got);
            assert!(got.iter().all(|w| *w == reference.next_u32()), "{len}");
        }
    }
}
