//! The order in which polynomials are evaluated: few relinearizations at the least depth.
//!
//! Let `P_k` be the basis and `d(k) = ceil(log2 k)` the depth of `P_k`. A polynomial of degree below `2^t` is divided by
//! `P_m` with `m` the largest power of two up to its degree, again and again, until a rest of small degree is left:
//!
//! ```text
//! p = q_1 P_m1 + q_2 P_m2 + ... + sum_j c_j P_j + c_0       m1 > m2 > ...
//! ```
//!
//! All products of such a sum stand at one level, so that one relinearization and one rescaling serve them all
//! ([`Evaluator::dot`]). The `q_i` have degrees below `m_i` and are divided in their turn, one level higher; the rest joins
//! the sum as scalars. At depth `t` it may hold every `P_j` with `d(j) < t`, which is what keeps the depth at its optimum
//! on the way to the highest coefficient; elsewhere it has at most `leaf` as its degree. `leaf` is chosen to make
//! relinearizations fewest: one a sum with products, one a power. Only powers that occur are computed. A power that is a factor
//! lower down than where it was made is brought there once.
//!
//! # Source
//! Paterson and Stockmeyer, SIAM J. Comput. 2(1), 1973; optimal depth: Bossuat, Mouchet, Troncoso-Pastoriza and Hubaux,
//! ePrint 2020/1203, section 4. Deviation: all quotients of one depth are summed before one relinearization.

use super::{Basis, Evaluator};
use crate::error::Result;
use crate::units::Level;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Depth of `P_index`, and the least depth of a polynomial of degree `index - 1`: `ceil(log2(index))`.
pub(super) fn depth_of(index: usize) -> u32 {
    index.next_power_of_two().ilog2()
}

/// `sum_i sum_i P_(m_i) + sum_j c_j P_j + constant`.
#[derive(Debug)]
struct Sum {
    products: Vec<(usize, Sum)>,
    terms: Vec<(usize, f64)>,
    constant: f64,
}

/// Quotient and rest of a division by `P_m`, for `m` no larger than the degree.
fn divide(basis: Basis, p: &[f64], m: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rest = p.to_vec();
    let mut quotient = rest.split_off(m);
    if basis == Basis::Chebyshev {
        // T_(m+i) = 2 T_m T_i - T_(m-i), for 0 < i < m because m is the largest power of two up to the degree.
        for (i, c) in quotient.iter_mut().enumerate().skip(1) {
            rest[m - i] -= *c;
            *c *= 2.0;
        }
    }
    (quotient, rest)
}

/// Takes zeros away from the end; at least one coefficient stays.
pub(super) fn trim(p: &mut Vec<f64>) {
    let len = p.iter().rposition(|&c| c != 0.0).map_or(1, |last| last + 1);
    p.resize(len, 0.0);
}

impl Sum {
    /// `p`, of degree below `2^depth`, with rests of degree at most `leaf`.
    fn new(basis: Basis, mut p: Vec<f64>, depth: u32, leaf: usize) -> Self {
        let (mut products, mut terms) = (vec![], vec![]);
        loop {
            trim(&mut p);
            let degree = p.len() - 1;
            if degree == 0 || (degree <= leaf && depth_of(degree) < depth) {
                break;
            }
            let m = 1 << degree.ilog2();
            let (mut quotient, rest) = divide(basis, &p, m);
            trim(&mut quotient);
            match quotient[..] {
                [c] => terms.push((m, c)),
                _ => products.push((m, Self::new(basis, quotient, depth - 1, leaf))),
            }
            p = rest;
        }
        terms.extend(p.iter().copied().enumerate().skip(1).filter(|(_, c)| *c != 0.0));
        Self { products, terms, constant: p[0] }
    }

    /// Notes what the sum at `depth` needs.
    fn survey(&self, depth: u32, survey: &mut Survey) {
        survey.powers.extend(self.terms.iter().map(|(index, _)| *index));
        for (index, quotient) in &self.products {
            survey.powers.insert(*index);
            survey.standing.insert((*index, depth - 1));
            quotient.survey(depth - 1, survey);
        }
        *if self.products.is_empty() { &mut survey.rescales } else { &mut survey.relinearizations } += 1;
    }
}

/// What schedules are compared by.
#[derive(Debug, Default)]
struct Survey {
    /// Powers in products and terms.
    powers: BTreeSet<usize>,
    /// Powers and the depth at which they are factors.
    standing: BTreeSet<(usize, u32)>,
    /// Sums with products.
    relinearizations: usize,
    /// Sums of scalars alone.
    rescales: usize,
}

impl Survey {
    /// Relinearizations, and then rescalings: of sums without products, and of powers brought down.
    fn cost(&mut self, factors: &BTreeMap<usize, (usize, usize)>) -> (usize, usize) {
        for (&index, &(a, b)) in factors {
            self.standing.extend([(a, depth_of(index) - 1), (b, depth_of(index) - 1)]);
        }
        let lowered = self.standing.iter().filter(|&&(index, depth)| depth > depth_of(index)).count();
        (self.relinearizations + factors.len(), self.rescales + lowered)
    }
}

/// How to make each power: `P_i` from the product of `P_a` and `P_b` with `a + b = i`, both of smaller depth.
fn factors(basis: Basis, mut needed: BTreeSet<usize>) -> BTreeMap<usize, (usize, usize)> {
    let mut out = BTreeMap::new();
    while let Some(index) = needed.pop_last() {
        if index < 2 {
            break;
        }
        let parts = |a: usize| {
            let correction = if basis == Basis::Chebyshev { 2 * a - index } else { 0 };
            BTreeSet::from([a, index - a, correction]).into_iter().filter(|&part| part > 1)
        };
        let missing = |a: usize| parts(a).filter(|part| !needed.contains(part)).count();
        let half = index.next_power_of_two() / 2;
        let a = (index.div_ceil(2)..=half).min_by_key(|&a| (missing(a), Reverse(a))).unwrap_or(half);
        out.insert(index, (a, index - a));
        needed.extend(parts(a).collect::<Vec<_>>());
    }
    out
}

/// Several polynomials in one variable, ready to be evaluated.
#[derive(Debug)]
pub(super) struct Schedule {
    basis: Basis,
    sums: Vec<(u32, Sum)>,
    factors: BTreeMap<usize, (usize, usize)>,
}

impl Schedule {
    /// The schedule with the fewest relinearizations, and among those the fewest rescalings, for polynomials that are not constant.
    pub(super) fn new(basis: Basis, polynomials: &[&[f64]]) -> Self {
        let degree = polynomials.iter().map(|p| p.len() - 1).max().unwrap_or(1);
        // The best leaf is about the square root of the degree; twice that where every second power is missing.
        let candidates = (1..=degree.min(4 * (degree.isqrt() + 1))).map(|leaf| {
            let sum = |p: &&[f64]| {
                let depth = depth_of(p.len());
                (depth, Sum::new(basis, p.to_vec(), depth, leaf))
            };
            let sums: Vec<_> = polynomials.iter().map(sum).collect();
            let mut survey = Survey::default();
            sums.iter().for_each(|(depth, sum)| sum.survey(*depth, &mut survey));
            let factors = factors(basis, std::mem::take(&mut survey.powers));
            (survey.cost(&factors), Self { basis, sums, factors })
        });
        let best = candidates.min_by_key(|(cost, _)| *cost);
        best.map_or(Self { basis, sums: vec![], factors: BTreeMap::new() }, |(_, schedule)| schedule)
    }

    /// The polynomials at `x`, each at the level of `x` less its depth.
    pub(super) fn run<E: Evaluator>(&self, eval: &E, x: &E::Value) -> Result<Vec<E::Value>> {
        let mut powers = Powers { eval, top: eval.level(x), values: BTreeMap::new() };
        powers.values.insert((1, 0), eval.drop_to(x, powers.top)?);
        for (&index, &(a, b)) in &self.factors {
            powers.make(self.basis, index, a, b)?;
        }
        self.sums.iter().map(|(depth, sum)| powers.sum(sum, *depth)).collect()
    }
}

/// Powers by index and depth: as they were made, and brought down to where they are needed.
struct Powers<'a, E: Evaluator> {
    eval: &'a E,
    top: Level,
    values: BTreeMap<(usize, u32), E::Value>,
}

impl<E: Evaluator> Powers<'_, E> {
    fn level(&self, depth: u32) -> Level {
        Level(self.top.0 - depth)
    }

    fn bring_down(&mut self, index: usize, depth: u32) -> Result<()> {
        if !self.values.contains_key(&(index, depth)) {
            let lower = self.eval.drop_to(&self.values[&(index, depth_of(index))], self.level(depth))?;
            self.values.insert((index, depth), lower);
        }
        Ok(())
    }

    fn make(&mut self, basis: Basis, index: usize, a: usize, b: usize) -> Result<()> {
        let (eval, depth) = (self.eval, depth_of(index));
        self.bring_down(a, depth - 1)?;
        self.bring_down(b, depth - 1)?;
        let (left, right) = (&self.values[&(a, depth - 1)], &self.values[&(b, depth - 1)]);
        let product = match (basis, a - b) {
            (Basis::Power, 0) => eval.square(left)?,
            (Basis::Power, _) => eval.mul(left, right)?,
            // T_(a+b) = 2 T_a T_b - T_(a-b)
            (Basis::Chebyshev, 0) => eval.add_scalar(&eval.mul(&eval.add(left, left)?, right)?, -1.0)?,
            (Basis::Chebyshev, c) => {
                let term = (&self.values[&(c, depth_of(c))], -1.0);
                eval.dot(&[(&eval.add(left, left)?, right)], &[term], self.level(depth))?
            }
        };
        self.values.insert((index, depth), product);
        Ok(())
    }

    fn sum(&mut self, sum: &Sum, depth: u32) -> Result<E::Value> {
        let mut quotients = Vec::with_capacity(sum.products.len());
        for (index, quotient) in &sum.products {
            self.bring_down(*index, depth - 1)?;
            quotients.push(self.sum(quotient, depth - 1)?);
        }
        let pairs = quotients.iter().zip(&sum.products);
        let products: Vec<_> = pairs.map(|(q, (index, _))| (q, &self.values[&(*index, depth - 1)])).collect();
        let terms: Vec<_> = sum.terms.iter().map(|&(index, c)| (&self.values[&(index, depth_of(index))], c)).collect();
        let out = self.eval.dot(&products, &terms, self.level(depth))?;
        if sum.constant == 0.0 { Ok(out) } else { self.eval.add_scalar(&out, sum.constant) }
    }
}
