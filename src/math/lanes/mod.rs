//! Vectors of words in registers, for code that has to choose its instructions.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::simd;
use pulp::{Arch, NullaryFnOnce};

pub(super) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

/// Code that runs on vectors of any width.
pub(super) trait Task {
    fn run<L: Lanes>(self, lanes: L);
}

/// Runs a task on the instruction set in use.
pub(super) fn run(task: impl Task) {
    run_on(simd::arch(), task);
}

/// Runs a task on one instruction set.
pub(super) fn run_on(arch: Arch, task: impl Task) {
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(simd) => simd.vectorize(Call(Avx512::new(simd), task)),
        #[cfg(target_arch = "x86_64")]
        Arch::V3(simd) => simd.vectorize(Call(Avx2::new(simd), task)),
        _ => task.run(Portable),
    }
}

/// A function object: closures are not inlined into code for a wider instruction set.
struct Call<L, T>(L, T);

impl<L: Lanes, T: Task> NullaryFnOnce for Call<L, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.1.run(self.0);
    }
}

/// A constant factor and its Shoup quotient `floor(w 2^32 / q)`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Root {
    pub(super) value: u32,
    pub(super) quotient: u32,
}

/// Constant factors, one a lane.
#[derive(Clone, Copy)]
pub(super) struct Factors<V> {
    pub(super) values: V,
    /// The quotients of the even lanes, in the even lanes.
    pub(super) even: V,
    /// The quotients of the odd lanes, in the even lanes.
    pub(super) odd: V,
}

/// The factors of a transform's stages inside vectors for one pair of them: those of stage `s` at `2^(s + 1)`, one after another.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Pair<const W: usize> {
    pub(super) values: [u32; W],
    pub(super) quotients: [u32; W],
}

impl<const W: usize> Pair<W> {
    pub(super) fn new(root: impl Fn(usize) -> Root) -> Self {
        Self { values: std::array::from_fn(|i| root(i).value), quotients: std::array::from_fn(|i| root(i).quotient) }
    }
}

/// Vectors of `2^LOG` words in registers. Every method is one to a few instructions.
pub(super) trait Lanes: Copy {
    type Vector: Copy;
    /// A vector in memory.
    type Chunk: bytemuck::Pod;
    /// [`Pair`] of twice the lanes.
    type Pair: Send + Sync;
    const LOG: u32;

    fn pair(root: impl Fn(usize) -> Root) -> Self::Pair;
    fn splat(self, x: u32) -> Self::Vector;
    fn load(self, from: &Self::Chunk) -> Self::Vector;
    fn store(self, to: &mut Self::Chunk, x: Self::Vector);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Rotates by `LEFT` bits; `RIGHT` is `32 - LEFT`.
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, x: Self::Vector) -> Self::Vector;
    /// `x w - floor(x w' / 2^32) q`: in `[0, 2q)` and congruent to `x w`, for any words `x`.
    fn mul(self, x: Self::Vector, w: Factors<Self::Vector>, q: Self::Vector) -> Self::Vector;
    /// Exchanges lanes with index bit `bit` set of `a` with those without it of `b`. Its own inverse.
    fn swap(self, bit: u32, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);
    /// `a0 b0 a1 b1 ...`.
    fn interleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);
    /// Undoes [`Self::interleave`].
    fn deinterleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);
    /// The `2^(stage + 1)` factors of a stage, each for as many adjacent lanes.
    fn factors(self, stage: u32, pair: &Self::Pair) -> Factors<Self::Vector>;
}
