//! Small tables that kernels look up (primes of limbs, conversion constants, which rows to transform), interned: each is
//! made and uploaded once.

use super::catalog::{ABSENT, GROUP_TARGETS};
use crate::device::program::{Basis, Digit};
use crate::math::{Extension, Modulus, RingTables};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Records of all tables, a vec4 each, after which they are forgotten before the next program.
const MOST_RECORDS: usize = 1 << 22;

/// A table's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Table {
    /// `Limb` of every limb.
    Limbs(Basis),
    /// `Limb` of every limb, with its key row, and for so many first limbs the product of the other limbs' primes.
    KeyRows(Basis, Basis, u32),
    /// Rows of a key switch: every limb, with the digit that contains it.
    KeySwitch(Basis, Arc<[Digit]>),
    /// Rows of a forward NTT: every limb.
    Forward(Basis),
    /// Rows of an inverse NTT: every limb.
    Inverse(Basis),
    /// Rows of an inverse NTT that gives the scaled residues of the digits' conversions: every limb.
    Scaled(Basis, Arc<[Digit]>),
    /// Rows of a forward NTT that ends a division by the second basis.
    Division(Basis, Basis),
    /// Rows of a forward NTT: the limbs that each digit does not contain.
    Foreign(Basis, Arc<[Digit]>),
    /// One conversion, as a digit without own limbs.
    Conversion(Basis, Basis),
    /// The conversions of all digits.
    Digits(Basis, Arc<[Digit]>),
    /// Rows of a conversion with the first pass of an NTT: groups of limbs of the second basis, of one digit of the first basis each,
    /// without those that the digit contains if the digits are the second basis' own.
    Groups(Basis, Arc<[Digit]>),
    /// The same for all of the first basis to all of the second.
    DivisionGroups(Basis, Basis),
    /// Rows that only move: the limbs that each digit contains.
    Own(Basis, Arc<[Digit]>),
}

/// All tables, one after the other.
#[derive(Debug, Default)]
pub(super) struct Tables {
    records: Vec<[u32; 4]>,
    known: FxHashMap<(u32, Table), u32>,
    uploaded: usize,
}

impl Tables {
    /// Index of the table's first record.
    pub(super) fn intern(&mut self, ring_id: u32, ring: &RingTables, table: Table) -> u32 {
        let key = (ring_id, table);
        if let Some(&at) = self.known.get(&key) {
            return at;
        }
        let at = self.make(ring, &key.1);
        self.known.insert(key, at);
        at
    }

    /// Forgets everything if it has grown large; called between programs.
    pub(super) fn trim(&mut self) {
        if self.records.len() > MOST_RECORDS {
            *self = Self::default();
        }
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.records[..])
    }

    /// The records that are not on the device yet, and the index of the first.
    pub(super) fn fresh(&self) -> (usize, &[[u32; 4]]) {
        (self.uploaded, &self.records[self.uploaded..])
    }

    /// Says that all records are on the device.
    pub(super) fn mark_uploaded(&mut self) {
        self.uploaded = self.records.len();
    }

    /// Says that none is.
    pub(super) fn mark_fresh(&mut self) {
        self.uploaded = 0;
    }

    fn end(&self) -> u32 {
        u32::try_from(self.records.len()).expect("trimmed far below 2^32")
    }

    fn make(&mut self, ring: &RingTables, table: &Table) -> u32 {
        match table {
            Table::Limbs(basis) => {
                let records = moduli(ring, basis).flat_map(|m| limb_record(m, 0, 0));
                self.push(records)
            }
            Table::KeyRows(basis, rows, plus) => {
                let others = &basis.primes()[*plus as usize..];
                let records = basis.primes().iter().zip(rows.primes()).zip(0..).flat_map(|((&p, &row), l)| {
                    let product = if l < *plus { ring.product(others, p) } else { 0 };
                    limb_record(ring.primes()[p as usize].modulus(), row, product)
                });
                self.push(records)
            }
            Table::KeySwitch(basis, digits) => {
                let owner = |l| digits.iter().position(|d| (d.first..d.first + d.limbs).contains(&l));
                let rows = basis.primes().iter().zip(0..).flat_map(|(&p, l)| {
                    let digit = owner(l).map_or(ABSENT, |d| u32::try_from(d).expect("at most one digit a limb"));
                    [[ring.primes()[p as usize].q(), p, l, 0], [digit, 0, 0, 0]]
                });
                self.push(rows)
            }
            Table::Forward(basis) => {
                let records = basis.primes().iter().zip(0..).flat_map(|(&p, l)| forward_record(ring, p, l, 0, 0));
                self.push(records)
            }
            Table::Inverse(basis) => {
                let records = basis.primes().iter().zip(0..).flat_map(|(&p, l)| inverse_record(ring, p, l, 1));
                self.push(records)
            }
            Table::Scaled(basis, digits) => {
                let mut factors = vec![1; basis.primes().len()];
                for digit in digits.iter() {
                    let own = basis.slice(digit.first, digit.limbs);
                    let hats = &ring.extension(own.primes(), own.primes()).hat_inverse;
                    factors[digit.first as usize..][..hats.len()].copy_from_slice(hats);
                }
                let limbs = basis.primes().iter().zip(0..).zip(factors);
                self.push(limbs.flat_map(|((&p, l), factor)| inverse_record(ring, p, l, factor)))
            }
            Table::Division(kept, dropped) => {
                let scales = &ring.extension(dropped.primes(), kept.primes()).product_inverse;
                let limbs = kept.primes().iter().zip(0..).zip(scales);
                self.push(limbs.flat_map(|((&p, l), &scale)| forward_record(ring, p, l, 0, scale)))
            }
            Table::Foreign(basis, digits) => {
                let mut rows: Vec<(u32, u32)> = digits
                    .iter()
                    .zip(0..)
                    .flat_map(|(digit, d)| foreign(basis, digit).into_iter().map(move |l| (l, d)))
                    .collect();
                // Limb by limb: the digits of one limb read the same roots.
                rows.sort_unstable();
                self.push(rows.into_iter().flat_map(|(l, d)| forward_record(ring, basis.primes()[l as usize], l, d, 0)))
            }
            Table::Conversion(from, to) => {
                let conversion = self.conversion(ring, from, to);
                self.push([[0, 0, conversion, from.limbs()]])
            }
            Table::Digits(basis, digits) => {
                let heads: Vec<[u32; 4]> = digits
                    .iter()
                    .map(|d| [d.first, d.limbs, self.conversion(ring, &basis.slice(d.first, d.limbs), basis), d.limbs])
                    .collect();
                self.push(heads)
            }
            Table::Groups(basis, digits) => {
                let groups = digits.iter().zip(0..).flat_map(|(digit, index)| {
                    let from = basis.slice(digit.first, digit.limbs);
                    self.groups(ring, (&from, digit.first), (basis, &foreign(basis, digit)), index)
                });
                let heads: Vec<_> = groups.collect();
                self.push(heads)
            }
            Table::DivisionGroups(kept, dropped) => {
                let all: Vec<u32> = (0..kept.limbs()).collect();
                let heads = self.groups(ring, (dropped, 0), (kept, &all), 0);
                self.push(heads)
            }
            Table::Own(basis, digits) => {
                let rows = digits
                    .iter()
                    .zip(0..)
                    .flat_map(|(digit, d)| (digit.first..).take(digit.limbs as usize).map(move |l| (d, l)));
                self.push(rows.flat_map(|(d, l)| forward_record(ring, basis.primes()[l as usize], l, d, 0)))
            }
        }
    }

    /// What `shaders/extend.wgsl` wants to know of the sources of a conversion.
    fn sources(&mut self, ring: &RingTables, from: &Basis, e: &Extension) -> u32 {
        self.push(moduli(ring, from).enumerate().flat_map(|(i, m)| {
            [[m.get(), e.hat_inverse[i], m.shoup(e.hat_inverse[i]), 0], [e.weight[i], e.shift[i], 0, 0]]
        }))
    }

    /// Records of `shaders/ntt_convert.wgsl`: from a digit's primes, the first of which is limb `first` of its source, to
    /// some limbs of a basis.
    fn groups(
        &mut self,
        ring: &RingTables,
        (from, first): (&Basis, u32),
        (to, limbs): (&Basis, &[u32]),
        digit: u32,
    ) -> Vec<[u32; 4]> {
        let e = ring.extension(from.primes(), to.primes());
        let (sources, count) = (self.sources(ring, from, &e), from.primes().len());
        let heads = limbs.chunks(GROUP_TARGETS as usize).flat_map(|limbs| {
            // A group with fewer limbs repeats its first and stores it once.
            let limb = |t: usize| *limbs.get(t).unwrap_or(&limbs[0]);
            let prime = |t: usize| to.primes()[limb(t) as usize];
            let at = self
                .push([std::array::from_fn(|t| limbs.get(t).copied().unwrap_or(ABSENT)), std::array::from_fn(prime)]);
            self.push((0..GROUP_TARGETS as usize).flat_map(|t| {
                let m = ring.primes()[prime(t) as usize].modulus();
                limb_record(m, m.neg(e.product[limb(t) as usize]), 0)
            }));
            self.push((0..count).map(|i| std::array::from_fn(|t| e.hat[limb(t) as usize * count + i])));
            [[at, from.limbs(), sources, first], [digit, 0, 0, 0]]
        });
        heads.collect()
    }

    /// The constants of `shaders/extend.wgsl`.
    fn conversion(&mut self, ring: &RingTables, from: &Basis, to: &Basis) -> u32 {
        let e = ring.extension(from.primes(), to.primes());
        let at = self.sources(ring, from, &e);
        let sources = from.primes().len();
        self.push(moduli(ring, to).enumerate().flat_map(|(j, m)| {
            let hats = e.hat[j * sources..][..sources].chunks(4).map(|some| {
                let mut quad = [0; 4];
                quad[..some.len()].copy_from_slice(some);
                quad
            });
            limb_record(m, m.neg(e.product[j]), 0).into_iter().chain(hats).collect::<Vec<_>>()
        }));
        at
    }

    fn push(&mut self, records: impl IntoIterator<Item = [u32; 4]>) -> u32 {
        let at = self.end();
        self.records.extend(records);
        at
    }
}

/// The limbs of a basis that a digit does not contain.
pub(super) fn foreign(basis: &Basis, digit: &Digit) -> Vec<u32> {
    (0..basis.limbs()).filter(|l| !(digit.first..digit.first + digit.limbs).contains(l)).collect()
}

fn moduli(ring: &RingTables, basis: &Basis) -> impl Iterator<Item = Modulus> {
    basis.primes().iter().map(|&p| ring.primes()[p as usize].modulus())
}

/// Mirror of `Limb` in `shaders/lib/mod_u32.wgsl`.
fn limb_record(m: Modulus, aux: u32, factor: u32) -> [[u32; 4]; 2] {
    let q = m.get();
    let bits = 32 - q.leading_zeros();
    let barrett = u32::try_from((1u64 << (bits + 31)) / u64::from(q)).expect("2^(bits - 1) < q");
    let radix = m.reduce(1 << 32);
    let one_shoup = u32::try_from((1u64 << 32) / u64::from(q)).expect("1 < q");
    [[q, barrett, bits - 2, radix], [m.shoup(radix), one_shoup, aux, factor]]
}

/// A row of a forward NTT's grid, see `shaders/lib/ntt.wgsl`.
fn forward_record(ring: &RingTables, prime: u32, limb: u32, digit: u32, scale: u32) -> [[u32; 4]; 2] {
    let m = ring.primes()[prime as usize].modulus();
    [[m.get(), prime, limb, digit], [scale, m.shoup(scale), 0, 0]]
}

/// A row of an inverse NTT's grid, see `shaders/lib/ntt.wgsl`: `factor` times the transform.
fn inverse_record(ring: &RingTables, prime: u32, limb: u32, factor: u32) -> [[u32; 4]; 2] {
    let (m, psi) = (ring.primes()[prime as usize].modulus(), ring.primes()[prime as usize].psi());
    let n = 1 << ring.log_n().get();
    let even = m.mul(factor, m.inv(n));
    let odd = m.mul(even, m.inv(m.pow(psi, n / 2)));
    [[m.get(), prime, limb, 0], [even, m.shoup(even), odd, m.shoup(odd)]]
}
