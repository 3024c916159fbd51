//! Refreshes between the steps of a model that is deeper than its levels.
//!
//! A cut between two steps is passed by the values that were made before it and are taken after it. Refreshing all of them, but those that are
//! fresh anyway, starts the levels anew; the cheapest sequence of cuts that no step runs out of levels between is found by dynamic programming.
//! Then every refresh that turns out not to be needed is taken back, the dearest first.
//!
//! A refresh takes values of magnitude up to 1. Values are kept as multiples of what they stand for: a value to be refreshed is divided by its
//! magnitude, in the map that makes it, and the maps that take it multiply by that; so is every other value that may be. A square, a product, a sum without weights hand factors
//! on; the input, the answer and functions, which have intervals of their own, admit none.

use super::lower::{Operation, Step, Steps};
use super::refresh::PlannedRefresh;
use crate::circuit::{Basis, Polynomial, SparseMatrix};
use crate::error::{Error, Result};

/// Where refreshes may stand, and what each takes.
pub(super) struct Placement<'a> {
    pub(super) steps: &'a Steps,
    /// The levels of a refresh.
    pub(super) refresh: PlannedRefresh,
    /// The largest entry of every value; infinite where nothing tells it.
    pub(super) magnitudes: &'a [f64],
    /// Vectors of every value.
    pub(super) vectors: &'a [usize],
}

/// Factors that differ by less than this, relatively, are one factor.
const CLOSE: f64 = 1e-9;

/// The factor that brings a magnitude to 1. What calibration saw as next to nothing stays as it is: it need not be nothing for others.
fn to_one(magnitude: f64) -> f64 {
    if magnitude > CLOSE { magnitude.recip() } else { 1.0 }
}

impl Placement<'_> {
    /// The steps with refreshes between them, at the least number of vectors that this finds.
    ///
    /// # Errors
    /// [`Error::BadModel`], naming the step before which levels run out, with what would help.
    pub(super) fn place(&self) -> Result<Steps> {
        let possible: Vec<bool> = (0..self.vectors.len()).map(|value| self.factors(&[value]).is_some()).collect();
        let mut chosen = self.cuts(&possible)?;
        let mut dearest = chosen.clone();
        dearest.sort_by_key(|&value| std::cmp::Reverse(self.vectors[value]));
        for value in dearest {
            let rest: Vec<usize> = chosen.iter().copied().filter(|other| *other != value).collect();
            if self.runs(&rest) {
                chosen = rest;
            }
        }
        // Of values with one factor the largest decides.
        chosen.sort_by(|&a, &b| self.magnitudes[b].total_cmp(&self.magnitudes[a]));
        let factors = self.factors(&chosen).ok_or_else(|| {
            let names: Vec<&str> = chosen.iter().map(|&value| self.name(value)).collect();
            bad(&names.join(", "), "these values cannot be brought within magnitude 1 together, as a refresh asks")
        })?;
        self.rewritten(&chosen, &factors)
    }

    fn name(&self, value: usize) -> &str {
        value.checked_sub(1).map_or("input", |step| &self.steps.steps[step].name)
    }

    /// Levels of a fresh value.
    fn top(&self) -> u32 {
        self.refresh.output.0
    }

    /// The level that a step leaves its value at, unless it takes more than there are.
    fn below(&self, step: &Step, level: impl Fn(usize) -> u32) -> Option<u32> {
        step.operation.operands().into_iter().map(level).min()?.checked_sub(step.operation.depth())
    }

    /// Whether levels suffice with these refreshes.
    fn runs(&self, chosen: &[usize]) -> bool {
        let mut levels = vec![self.top()];
        for step in &self.steps.steps {
            let value = levels.len();
            match self.below(step, |operand| levels[operand]) {
                Some(level) if !chosen.contains(&value) => levels.push(level),
                Some(level) if level >= self.refresh.input.0 => levels.push(self.top()),
                _ => return false,
            }
        }
        true
    }

    /// For every cut, named by the steps before it, the values that pass it.
    fn passing(&self) -> Vec<Vec<usize>> {
        let count = self.steps.steps.len();
        let mut last_use: Vec<usize> = (0..=count).collect();
        for (index, step) in self.steps.steps.iter().enumerate() {
            step.operation.operands().into_iter().for_each(|value| last_use[value] = index);
        }
        let mut passing = vec![vec![]; count + 1];
        for (value, &last) in last_use.iter().enumerate() {
            passing[value..=last.max(value)].iter_mut().for_each(|cut| cut.push(value));
        }
        passing
    }

    /// The values refreshed in the cheapest sequence of cuts.
    fn cuts(&self, possible: &[bool]) -> Result<Vec<usize>> {
        let (count, passing) = (self.steps.steps.len(), self.passing());
        // The cost of the cuts up to here, the cut before, and what is refreshed.
        let mut best: Vec<Option<(usize, usize, Vec<usize>)>> = vec![None; count + 1];
        best[0] = Some((0, 0, vec![]));
        let mut farthest = 0;
        for start in 0..count {
            let Some((so_far, ..)) = best[start] else { continue };
            // All that passes the start is fresh.
            let mut levels = vec![self.top(); start + 1];
            for cut in start + 1..=count {
                let Some(level) = self.below(&self.steps.steps[cut - 1], |value| levels[value]) else { break };
                levels.push(level);
                farthest = farthest.max(cut);
                let low: Vec<usize> = match cut {
                    last if last == count => vec![],
                    _ => passing[cut].iter().copied().filter(|&value| levels[value] < self.top()).collect(),
                };
                if low.iter().all(|&value| possible[value] && levels[value] >= self.refresh.input.0) {
                    let cost = so_far + low.iter().map(|&value| self.vectors[value]).sum::<usize>();
                    if best[cut].as_ref().is_none_or(|(least, ..)| cost < *least) {
                        best[cut] = Some((cost, start, low));
                    }
                }
            }
        }
        let mut chosen = vec![];
        let mut cut = count;
        while cut > 0 {
            let Some((_, start, low)) = &best[cut] else {
                let reason = if self.magnitudes.iter().any(|m| m.is_infinite()) {
                    "levels run out, and the range of values that could be refreshed is not known: give calibration samples"
                } else {
                    "too deep: it takes more levels than there are between refreshes, or what it takes cannot be refreshed"
                };
                return Err(bad(self.name((farthest + 1).min(count)), reason));
            };
            chosen.extend(low);
            cut = *start;
        }
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen)
    }

    /// For every value the factor that it is kept with, so that each of `chosen` is within magnitude 1; the first of them have their way.
    fn factors(&self, chosen: &[usize]) -> Option<Vec<f64>> {
        let mut factors = vec![None; self.vectors.len()];
        factors[0] = Some(1.0);
        if let Some(last) = factors.last_mut() {
            *last = Some(1.0);
        }
        for (index, step) in self.steps.steps.iter().enumerate() {
            match &step.operation {
                Operation::Polynomial(_, p) if p.basis() == Basis::Power => {}
                Operation::Function(x, _) | Operation::Polynomial(x, _) => {
                    (factors[*x], factors[index + 1]) = (Some(1.0), Some(1.0));
                }
                _ => {}
            }
        }
        self.hand_on(&mut factors)?;
        for &value in chosen {
            let magnitude = self.magnitudes[value];
            match factors[value] {
                Some(factor) if factor * magnitude <= 1.0 + CLOSE => {}
                None if magnitude.is_finite() => {
                    factors[value] = Some(to_one(magnitude));
                    self.hand_on(&mut factors)?;
                }
                _ => return None,
            }
        }
        // What is free to be kept at that size is, for the sake of noise.
        for value in 0..factors.len() {
            if factors[value].is_none() {
                let magnitude = self.magnitudes[value];
                factors[value] = Some(if magnitude.is_finite() { to_one(magnitude) } else { 1.0 });
                self.hand_on(&mut factors)?;
            }
        }
        factors.into_iter().collect()
    }

    /// What known factors say of others; nothing where they contradict each other.
    fn hand_on(&self, factors: &mut [Option<f64>]) -> Option<()> {
        loop {
            let before = factors.iter().flatten().count();
            for (index, step) in self.steps.steps.iter().enumerate() {
                let value = index + 1;
                match &step.operation {
                    Operation::Square(x) => {
                        agree(factors, value, |f| Some(f[*x]? * f[*x]?))?;
                        agree(factors, *x, |f| Some(f[value]?.sqrt()))?;
                    }
                    Operation::Product(x, y) => {
                        agree(factors, value, |f| Some(f[*x]? * f[*y]?))?;
                        agree(factors, *x, |f| Some(f[value]? / f[*y]?))?;
                        agree(factors, *y, |f| Some(f[value]? / f[*x]?))?;
                    }
                    operation @ Operation::Affine { .. } if operation.depth() == 0 => {
                        for x in operation.operands() {
                            agree(factors, value, |f| f[x])?;
                        }
                        for x in operation.operands() {
                            agree(factors, x, |f| f[value])?;
                        }
                    }
                    _ => {}
                }
            }
            if factors.iter().flatten().count() == before {
                return Some(());
            }
        }
    }

    /// The steps on values kept with factors, and refreshes after the chosen ones.
    fn rewritten(&self, chosen: &[usize], factors: &[f64]) -> Result<Steps> {
        // Where each value is now: refreshed ones where their refresh is.
        let mut places = vec![0];
        let mut steps: Vec<Step> = Vec::with_capacity(self.steps.steps.len() + chosen.len());
        for (index, step) in self.steps.steps.iter().enumerate() {
            let factor = factors[index + 1];
            let ratio = |value: usize| factor / factors[value];
            let operation = match &step.operation {
                Operation::Affine { terms, bias } => {
                    let moving = step.operation.depth() > 0;
                    let term = |(value, matrix): &(usize, SparseMatrix)| {
                        let ratio = if moving { ratio(*value) } else { 1.0 };
                        Ok((places[*value], matrix.scaled(&vec![ratio; matrix.rows()])?))
                    };
                    let terms = terms.iter().map(term).collect::<Result<_>>()?;
                    Operation::Affine { terms, bias: bias.iter().map(|b| b * factor).collect() }
                }
                Operation::Square(x) => Operation::Square(places[*x]),
                Operation::Polynomial(x, p) => Operation::Polynomial(places[*x], rescaled(p, factors[*x], factor)?),
                Operation::Function(x, function) => Operation::Function(places[*x], function.clone()),
                Operation::Product(x, y) => Operation::Product(places[*x], places[*y]),
                Operation::Refresh(x) => Operation::Refresh(places[*x]),
            };
            let bound = step.bound.min(self.magnitudes[index + 1]) * factor;
            steps.push(Step { operation, bound, ..step.clone() });
            if chosen.contains(&(index + 1)) {
                let operation = Operation::Refresh(steps.len());
                steps.push(Step { operation, bound, ..step.clone() });
            }
            places.push(steps.len());
        }
        Ok(Steps { steps, ..self.steps.clone() })
    }
}

/// Sets the factor of a value to what a rule says; nothing where it has another one.
fn agree(factors: &mut [Option<f64>], value: usize, rule: impl Fn(&[Option<f64>]) -> Option<f64>) -> Option<()> {
    let Some(wanted) = rule(factors) else { return Some(()) };
    match factors[value] {
        None => factors[value] = Some(wanted),
        Some(factor) if (factor / wanted - 1.0).abs() <= CLOSE => {}
        Some(_) => return None,
    }
    Some(())
}

/// The polynomial `to p(x / from)`.
fn rescaled(p: &Polynomial, from: f64, to: f64) -> Result<Polynomial> {
    if p.basis() != Basis::Power {
        return Ok(p.clone()); // both are 1
    }
    let factors = std::iter::successors(Some(to), |factor| Some(factor / from));
    Polynomial::power(p.coefficients().iter().zip(factors).map(|(c, factor)| c * factor).collect())
}

fn bad(field: &str, reason: &str) -> Error {
    Error::BadModel { field: field.into(), reason: reason.into() }
}
