//! The stages of the transforms, over vectors of any width.
//!
//! A transform is a few passes over strided rows, two to four stages each, until blocks of sixteen vectors are left; then one pass
//! does the rest of a block, four stages across its vectors and the last ones inside pairs of them. Blocks are finished depth first,
//! so that all but the first passes work in the nearest cache.

use super::lanes::{Factors, Lanes, Root};
use crate::units::LogN;

/// The roots of a subtree of four stages: node `i` of its level `l` at `2^l + i`.
pub(super) type Heap = [Root; 16];

/// The roots of one direction, in the order in which the stages read them.
pub(super) struct Roots<L: Lanes> {
    /// Those of the stages over strided rows: node `i` of level `l` at `2^l + i`.
    pub(super) nodes: Vec<Root>,
    /// Those of the stages across the vectors of a block.
    pub(super) blocks: Vec<Heap>,
    /// Those of the stages inside vectors, eight for each block.
    pub(super) pairs: Vec<L::Pair>,
}

/// Vectors in a block.
const BLOCK: usize = 16;
/// Pairs of vectors that go through the stages inside vectors side by side: one alone would leave the processor waiting for it.
const GROUP: usize = 4;

impl<L: Lanes> Roots<L> {
    /// From `root(k)` for every node `k < N`.
    pub(super) fn new(log_n: LogN, root: impl Fn(usize) -> Root) -> Self {
        let blocks = log_n.degree() >> L::LOG >> BLOCK.ilog2();
        // Node `at` of the heap of a subtree's topmost node.
        let below =
            |top: usize, at: usize| if at == 0 { Root::default() } else { root(((top - 1) << at.ilog2()) + at) };
        Self {
            nodes: (0..blocks).map(&root).collect(),
            blocks: (blocks..2 * blocks).map(|top| std::array::from_fn(|at| below(top, at))).collect(),
            pairs: (8 * blocks..16 * blocks)
                // A heap of two trees, without their common top.
                .map(|top| L::pair(|at| if at < 2 { Root::default() } else { below(top, at) }))
                .collect(),
        }
    }

    /// The roots below node `top`, as many levels as the passes over rows take.
    fn heap(&self, top: usize, levels: u32) -> Heap {
        let mut out = [Root::default(); 16];
        for (at, root) in out.iter_mut().enumerate().take(1 << levels).skip(1) {
            *root = self.nodes[((top - 1) << at.ilog2()) + at];
        }
        out
    }
}

/// Arithmetic modulo one prime.
#[derive(Clone, Copy)]
pub(super) struct Field<L: Lanes> {
    lanes: L,
    q: L::Vector,
    two_q: L::Vector,
}

impl<L: Lanes> Field<L> {
    #[inline(always)]
    pub(super) fn new(lanes: L, q: u32) -> Self {
        Self { lanes, q: lanes.splat(q), two_q: lanes.splat(2 * q) }
    }

    #[inline(always)]
    fn splat(self, root: Root) -> Factors<L::Vector> {
        let even = self.lanes.splat(root.quotient);
        Factors { values: self.lanes.splat(root.value), even, odd: even }
    }

    /// `[0, 4q) -> [0, 2q)`.
    #[inline(always)]
    fn reduce_twice(self, x: L::Vector) -> L::Vector {
        self.lanes.min(x, self.lanes.sub(x, self.two_q))
    }

    /// `[0, 2q) -> [0, q)`.
    #[inline(always)]
    fn reduce_once(self, x: L::Vector) -> L::Vector {
        self.lanes.min(x, self.lanes.sub(x, self.q))
    }

    /// `(x + w y, x - w y)`: `[0, 4q) -> [0, 4q)`.
    #[inline(always)]
    fn forward(self, x: L::Vector, y: L::Vector, w: Factors<L::Vector>) -> (L::Vector, L::Vector) {
        let l = self.lanes;
        let x = self.reduce_twice(x);
        let y = l.mul(y, w, self.q);
        (l.add(x, y), l.sub(l.add(x, self.two_q), y))
    }

    /// `(x + y, w (x - y))`: `[0, 2q) -> [0, 2q)`.
    #[inline(always)]
    fn inverse(self, x: L::Vector, y: L::Vector, w: Factors<L::Vector>) -> (L::Vector, L::Vector) {
        let l = self.lanes;
        (self.reduce_twice(l.add(x, y)), l.mul(l.sub(l.add(x, self.two_q), y), w, self.q))
    }

    /// As [`Self::inverse`]; where it is the `LAST` stage of all, `(s (x + y), w (x - y))` with canonical results, `s` being the
    /// heap's entry 0.
    #[inline(always)]
    fn inverse_last<const LAST: bool>(
        self,
        x: L::Vector,
        y: L::Vector,
        w: Factors<L::Vector>,
        heap: &Heap,
    ) -> (L::Vector, L::Vector) {
        if !LAST {
            return self.inverse(x, y, w);
        }
        let l = self.lanes;
        let difference = l.sub(l.add(x, self.two_q), y);
        let (sum, difference) = (l.mul(l.add(x, y), self.splat(heap[0]), self.q), l.mul(difference, w, self.q));
        (self.reduce_once(sum), self.reduce_once(difference))
    }

    /// Two stages below node `top` of a heap.
    #[inline(always)]
    fn forward4(self, [a, b, c, d]: [L::Vector; 4], heap: &Heap, top: usize) -> [L::Vector; 4] {
        let w = self.splat(heap[top]);
        let (a, c) = self.forward(a, c, w);
        let (b, d) = self.forward(b, d, w);
        let (a, b) = self.forward(a, b, self.splat(heap[2 * top]));
        let (c, d) = self.forward(c, d, self.splat(heap[2 * top + 1]));
        [a, b, c, d]
    }

    #[inline(always)]
    fn inverse4<const LAST: bool>(self, [a, b, c, d]: [L::Vector; 4], heap: &Heap, top: usize) -> [L::Vector; 4] {
        let (a, b) = self.inverse(a, b, self.splat(heap[2 * top]));
        let (c, d) = self.inverse(c, d, self.splat(heap[2 * top + 1]));
        let w = self.splat(heap[top]);
        let (a, c) = self.inverse_last::<LAST>(a, c, w, heap);
        let (b, d) = self.inverse_last::<LAST>(b, d, w, heap);
        [a, b, c, d]
    }

    /// Three stages.
    #[inline(always)]
    fn forward8(self, [x, y]: [[L::Vector; 4]; 2], heap: &Heap) -> [[L::Vector; 4]; 2] {
        let w = self.splat(heap[1]);
        let (a, e) = self.forward(x[0], y[0], w);
        let (b, f) = self.forward(x[1], y[1], w);
        let (c, g) = self.forward(x[2], y[2], w);
        let (d, h) = self.forward(x[3], y[3], w);
        [self.forward4([a, b, c, d], heap, 2), self.forward4([e, f, g, h], heap, 3)]
    }

    #[inline(always)]
    fn inverse8<const LAST: bool>(self, [x, y]: [[L::Vector; 4]; 2], heap: &Heap) -> [[L::Vector; 4]; 2] {
        let (x, y) = (self.inverse4::<false>(x, heap, 2), self.inverse4::<false>(y, heap, 3));
        let w = self.splat(heap[1]);
        let (a, e) = self.inverse_last::<LAST>(x[0], y[0], w, heap);
        let (b, f) = self.inverse_last::<LAST>(x[1], y[1], w, heap);
        let (c, g) = self.inverse_last::<LAST>(x[2], y[2], w, heap);
        let (d, h) = self.inverse_last::<LAST>(x[3], y[3], w, heap);
        [[a, b, c, d], [e, f, g, h]]
    }

    /// Four stages.
    #[inline(always)]
    fn forward16(self, x: [[L::Vector; 4]; 4], heap: &Heap) -> [[L::Vector; 4]; 4] {
        let a = self.forward4([x[0][0], x[1][0], x[2][0], x[3][0]], heap, 1);
        let b = self.forward4([x[0][1], x[1][1], x[2][1], x[3][1]], heap, 1);
        let c = self.forward4([x[0][2], x[1][2], x[2][2], x[3][2]], heap, 1);
        let d = self.forward4([x[0][3], x[1][3], x[2][3], x[3][3]], heap, 1);
        [
            self.forward4([a[0], b[0], c[0], d[0]], heap, 4),
            self.forward4([a[1], b[1], c[1], d[1]], heap, 5),
            self.forward4([a[2], b[2], c[2], d[2]], heap, 6),
            self.forward4([a[3], b[3], c[3], d[3]], heap, 7),
        ]
    }

    #[inline(always)]
    fn inverse16<const LAST: bool>(self, x: [[L::Vector; 4]; 4], heap: &Heap) -> [[L::Vector; 4]; 4] {
        let a = self.inverse4::<false>(x[0], heap, 4);
        let b = self.inverse4::<false>(x[1], heap, 5);
        let c = self.inverse4::<false>(x[2], heap, 6);
        let d = self.inverse4::<false>(x[3], heap, 7);
        let e = self.inverse4::<LAST>([a[0], b[0], c[0], d[0]], heap, 1);
        let f = self.inverse4::<LAST>([a[1], b[1], c[1], d[1]], heap, 1);
        let g = self.inverse4::<LAST>([a[2], b[2], c[2], d[2]], heap, 1);
        let h = self.inverse4::<LAST>([a[3], b[3], c[3], d[3]], heap, 1);
        [[e[0], f[0], g[0], h[0]], [e[1], f[1], g[1], h[1]], [e[2], f[2], g[2], h[2]], [e[3], f[3], g[3], h[3]]]
    }

    /// The last stages, inside pairs of vectors: `[0, 4q) -> [0, q)`.
    #[inline(always)]
    fn forward_inside(self, block: &mut [L::Chunk; 2 * GROUP], pairs: &[L::Pair; GROUP]) {
        let l = self.lanes;
        let mut a = [l.load(&block[0]), l.load(&block[2]), l.load(&block[4]), l.load(&block[6])];
        let mut b = [l.load(&block[1]), l.load(&block[3]), l.load(&block[5]), l.load(&block[7])];
        for stage in 0..L::LOG {
            for i in 0..GROUP {
                (a[i], b[i]) = l.swap(L::LOG - 1 - stage, a[i], b[i]);
                (a[i], b[i]) = self.forward(a[i], b[i], l.factors(stage, &pairs[i]));
            }
        }
        for i in 0..GROUP {
            let (a, b) = (self.reduce_once(self.reduce_twice(a[i])), self.reduce_once(self.reduce_twice(b[i])));
            let (a, b) = l.interleave(a, b);
            l.store(&mut block[2 * i], a);
            l.store(&mut block[2 * i + 1], b);
        }
    }

    /// The first stages of an inverse.
    #[inline(always)]
    fn inverse_inside(self, block: &mut [L::Chunk; 2 * GROUP], pairs: &[L::Pair; GROUP]) {
        let l = self.lanes;
        let mut a = [l.load(&block[0]), l.load(&block[2]), l.load(&block[4]), l.load(&block[6])];
        let mut b = [l.load(&block[1]), l.load(&block[3]), l.load(&block[5]), l.load(&block[7])];
        for i in 0..GROUP {
            (a[i], b[i]) = l.deinterleave(a[i], b[i]);
        }
        for stage in (0..L::LOG).rev() {
            for i in 0..GROUP {
                (a[i], b[i]) = self.inverse(a[i], b[i], l.factors(stage, &pairs[i]));
                (a[i], b[i]) = l.swap(L::LOG - 1 - stage, a[i], b[i]);
            }
        }
        for i in 0..GROUP {
            l.store(&mut block[2 * i], a[i]);
            l.store(&mut block[2 * i + 1], b[i]);
        }
    }
}

/// Four vectors of an array, or of the rows of one. A macro, because closures are not inlined into code for a wider instruction set.
macro_rules! load {
    ($lanes:expr, $x:ident[$i:expr]) => {
        [$lanes.load(&$x[$i]), $lanes.load(&$x[$i + 1]), $lanes.load(&$x[$i + 2]), $lanes.load(&$x[$i + 3])]
    };
    ($lanes:expr, $rows:ident[$i:expr][$c:expr]) => {
        [
            $lanes.load(&$rows[$i][$c]),
            $lanes.load(&$rows[$i + 1][$c]),
            $lanes.load(&$rows[$i + 2][$c]),
            $lanes.load(&$rows[$i + 3][$c]),
        ]
    };
}

/// `2^stages` rows of equal length through the stages of a heap, column by column.
macro_rules! through_rows {
    ($field:expr, $data:expr, $heap:expr, $stages:expr, $four:ident, $eight:ident, $sixteen:ident $(, $last:ident)?) => {{
        let (l, heap) = ($field.lanes, $heap);
        match $stages {
            2 => {
                let rows = split::<4, _>($data);
                for c in 0..rows[0].len() {
                    let x = $field.$four$(::<$last>)?(load!(l, rows[0][c]), heap, 1);
                    for i in 0..4 {
                        l.store(&mut rows[i][c], x[i]);
                    }
                }
            }
            3 => {
                let rows = split::<8, _>($data);
                for c in 0..rows[0].len() {
                    let x = $field.$eight$(::<$last>)?([load!(l, rows[0][c]), load!(l, rows[4][c])], heap);
                    for i in 0..8 {
                        l.store(&mut rows[i][c], x[i / 4][i % 4]);
                    }
                }
            }
            _ => {
                let rows = split::<16, _>($data);
                for c in 0..rows[0].len() {
                    let x = [load!(l, rows[0][c]), load!(l, rows[4][c]), load!(l, rows[8][c]), load!(l, rows[12][c])];
                    let x = $field.$sixteen$(::<$last>)?(x, heap);
                    for i in 0..16 {
                        l.store(&mut rows[i][c], x[i / 4][i % 4]);
                    }
                }
            }
        }
    }};
}

/// The rows of a pass.
fn split<const ROWS: usize, T>(data: &mut [T]) -> [&mut [T]; ROWS] {
    let len = data.len() / ROWS;
    let mut rows = data.chunks_exact_mut(len);
    std::array::from_fn(|_| rows.next().expect("a multiple of the rows"))
}

/// Stages of a pass, of those that are left. Never one alone: that would move as much memory as four.
fn stages(left: u32) -> u32 {
    debug_assert!(left > 1);
    match left % 4 {
        _ if left <= 4 => left,
        0 => 4,
        3 => 3,
        _ => 2,
    }
}

#[inline(always)]
fn rows_forward<L: Lanes>(f: Field<L>, data: &mut [L::Chunk], heap: &Heap, stages: u32) {
    through_rows!(f, data, heap, stages, forward4, forward8, forward16);
}

#[inline(always)]
fn rows_inverse<const LAST: bool, L: Lanes>(f: Field<L>, data: &mut [L::Chunk], heap: &Heap, stages: u32) {
    through_rows!(f, data, heap, stages, inverse4, inverse8, inverse16, LAST);
}

/// The last stages of whole blocks, from block `first` on.
#[inline(always)]
fn blocks_forward<L: Lanes>(f: Field<L>, roots: &Roots<L>, data: &mut [L::Chunk], first: usize) {
    let l = f.lanes;
    let pairs = roots.pairs[8 * first..].chunks_exact(8);
    for ((block, heap), pairs) in data.as_chunks_mut::<BLOCK>().0.iter_mut().zip(&roots.blocks[first..]).zip(pairs) {
        let x = [load!(l, block[0]), load!(l, block[4]), load!(l, block[8]), load!(l, block[12])];
        let x = f.forward16(x, heap);
        for i in 0..16 {
            l.store(&mut block[i], x[i / 4][i % 4]);
        }
        let groups = block.as_chunks_mut::<{ 2 * GROUP }>().0.iter_mut();
        for (group, pairs) in groups.zip(pairs.as_chunks::<GROUP>().0) {
            f.forward_inside(group, pairs);
        }
    }
}

/// The first stages of an inverse.
#[inline(always)]
fn blocks_inverse<L: Lanes>(f: Field<L>, roots: &Roots<L>, data: &mut [L::Chunk], first: usize) {
    let l = f.lanes;
    let pairs = roots.pairs[8 * first..].chunks_exact(8);
    for ((block, heap), pairs) in data.as_chunks_mut::<BLOCK>().0.iter_mut().zip(&roots.blocks[first..]).zip(pairs) {
        let groups = block.as_chunks_mut::<{ 2 * GROUP }>().0.iter_mut();
        for (group, pairs) in groups.zip(pairs.as_chunks::<GROUP>().0) {
            f.inverse_inside(group, pairs);
        }
        let x = [load!(l, block[0]), load!(l, block[4]), load!(l, block[8]), load!(l, block[12])];
        let x = f.inverse16::<false>(x, heap);
        for i in 0..16 {
            l.store(&mut block[i], x[i / 4][i % 4]);
        }
    }
}

/// The forward transform: words in `[0, 4q)` to canonical residues.
///
/// There is at least one pass over rows, and at most three: `N` lies between `2^10` and `2^17`.
#[inline(always)]
pub(super) fn forward<L: Lanes>(f: Field<L>, roots: &Roots<L>, data: &mut [L::Chunk]) {
    let left = roots.blocks.len().ilog2();
    let first = stages(left);
    rows_forward(f, data, &roots.heap(1, first), first);
    let (size, left) = (data.len() >> first, left - first);
    let second = stages(left);
    for (i, part) in data.chunks_exact_mut(size).enumerate() {
        let top = (1 << first) + i;
        if left > 0 {
            rows_forward(f, part, &roots.heap(top, second), second);
        }
        let (size, left) = (part.len() >> second, left - second);
        for (j, part) in part.chunks_exact_mut(size).enumerate() {
            let top = (top << second) + j;
            if left > 0 {
                rows_forward(f, part, &roots.heap(top, left), left);
            }
            blocks_forward(f, roots, part, (top << left) - roots.blocks.len());
        }
    }
}

/// `scale N` times the inverse transform: words in `[0, 2q)` to canonical residues. `last` is the factor of the last stage's
/// differences: its root times `scale`.
#[inline(always)]
pub(super) fn inverse<L: Lanes>(f: Field<L>, roots: &Roots<L>, data: &mut [L::Chunk], scale: Root, last: Root) {
    let all = roots.blocks.len().ilog2();
    let first = stages(all);
    let left = all - first;
    let second = stages(left);
    let size = data.len() >> first;
    for (i, part) in data.chunks_exact_mut(size).enumerate() {
        let top = (1 << first) + i;
        let (size, third) = (part.len() >> second, left - second);
        for (j, part) in part.chunks_exact_mut(size).enumerate() {
            let top = (top << second) + j;
            blocks_inverse(f, roots, part, (top << third) - roots.blocks.len());
            if third > 0 {
                rows_inverse::<false, _>(f, part, &roots.heap(top, third), third);
            }
        }
        if left > 0 {
            rows_inverse::<false, _>(f, part, &roots.heap(top, second), second);
        }
    }
    let mut heap = roots.heap(1, first);
    (heap[0], heap[1]) = (scale, last);
    rows_inverse::<true, _>(f, data, &heap, first);
}
