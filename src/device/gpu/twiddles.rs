//! Roots of unity in the order in which the NTT kernels read them, see `shaders/lib/radix16.wgsl`.

use crate::math::{Modulus, Prime, RingTables};

/// How the transform of a ring is cut into passes and rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) log_n: u32,
}

impl Plan {
    /// Stages of the strided pass; 0 if there is none.
    pub(super) fn column_stages(self) -> u32 {
        match self.log_n {
            ..=super::catalog::MAX_LOG_POINTS => 0,
            17 => 5,
            _ => 4,
        }
    }

    /// Stages of the contiguous pass.
    pub(super) fn log_points(self) -> u32 {
        self.log_n - self.column_stages()
    }

    /// Stages before each round, in order: those of the strided pass, then three of the contiguous one.
    fn levels(self) -> Vec<u32> {
        let columns: &[u32] = match self.column_stages() {
            0 => &[],
            5 => &[0, 1],
            _ => &[0],
        };
        let first = self.column_stages();
        columns.iter().copied().chain([first, first + 4, self.log_n - 4]).collect()
    }

    /// First vec4 of each round's roots.
    fn offsets(self) -> Vec<u32> {
        let sizes = self.levels().into_iter().map(|level| 8 << level);
        sizes.scan(0, |next, size| Some(std::mem::replace(next, *next + size))).collect()
    }

    /// The same for the three rounds of the contiguous pass.
    pub(super) fn row_offsets(self) -> [u32; 3] {
        let offsets = self.offsets();
        std::array::from_fn(|i| offsets[offsets.len() - 3 + i])
    }

    /// The same for the second round of the strided pass, if it has one; the first begins at 0.
    pub(super) fn column_offsets(self) -> [u32; 3] {
        [self.offsets()[1], 0, 0]
    }

    /// Vec4 of roots for one prime.
    pub(super) fn prime_roots(self) -> u32 {
        self.levels().into_iter().map(|level| 8u32 << level).sum()
    }
}

/// Direction of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Inverse,
}

/// The roots of one prime of a ring.
pub(super) fn table(ring: &RingTables, prime: &Prime, direction: Direction) -> Vec<[u32; 4]> {
    let (log_n, m) = (ring.log_n(), prime.modulus());
    let plan = Plan { log_n: log_n.get() };
    let root = match direction {
        Direction::Forward => prime.psi(),
        Direction::Inverse => m.inv(prime.psi()),
    };
    let nodes = node_roots(m, root, log_n.get());
    let mut out = vec![[0; 4]; plan.prime_roots() as usize];
    for (level, offset) in plan.levels().into_iter().zip(plan.offsets()) {
        let count = 1usize << level;
        let mut put = |node: usize, part: usize, words: [u32; 4]| {
            let at = offset as usize + part * count + node - count;
            out[at] = words;
            out[at + count] = words.map(|w| m.shoup(w));
        };
        for k in count..2 * count {
            let below = |step: usize, first: usize| std::array::from_fn(|i| nodes[first + step * i]);
            put(k, 0, [nodes[k], nodes[2 * k], nodes[2 * k + 1], 0]);
            put(k, 2, below(1, 4 * k));
            put(k, 4, below(2, 8 * k));
            put(k, 6, below(2, 8 * k + 1));
        }
    }
    out
}

/// `root^brv(k)` for every node `k`.
fn node_roots(m: Modulus, root: u32, log_n: u32) -> Vec<u32> {
    let mut nodes = vec![0; 1 << log_n];
    let mut power = 1;
    for e in 0..1u32 << log_n {
        nodes[(e.reverse_bits() >> (32 - log_n)) as usize] = power;
        power = m.mul(power, root);
    }
    nodes
}
