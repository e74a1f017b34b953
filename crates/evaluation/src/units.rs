//! What randomised units did, in bounded space and mergeable exactly.
//!
//! Statistics clustered at a unit need the unit's own sums, and a unit comes back in other hours: sums of squares of two
//! hours cannot be added. So the sums are kept by unit, under a hash of its name. Where an arm has more than
//! [`MAX_CELLS`] units, as many low bits of the hash are dropped as bring it back to that number, and the units that
//! share a cell are taken together. A cell is then a random group of whole units, so that ratios stay exact and their
//! variance stays unbiased, with a relative standard error of √(2/cells) (2–3 %). The number of bits that remain depends
//! on the set of units alone, so that **a merge in any order and grouping is the same state**, and a window over many
//! units is as large as one hour of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

/// The most cells of an arm.
pub const MAX_CELLS: usize = 4096;
/// The most unit hashes of an arm that are kept to count units: exact up to here, a uniform sample above.
pub const MAX_SAMPLED_UNITS: usize = 16_384;

const FULL_DEPTH: u32 = 64;

/// The hash that a unit is kept under (XXH64 with seed 0): the same for ever, since stored states are merged by it.
pub(crate) fn unit_hash(unit: &[u8]) -> u64 {
    XxHash64::oneshot(0, unit)
}

/// What one unit's predictions came to, or those of the units that share a cell. Merging adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "[u64; 8]", into = "[u64; 8]")]
pub struct UnitSums {
    /// Predictions.
    pub predictions: u64,
    /// Predictions without an arrival or a cancellation yet.
    pub pending: u64,
    /// Rides whose car arrived: the rows of the error figures.
    pub joined: u64,
    /// Rides cancelled before the car came.
    pub cancelled: u64,
    /// Σ|error| where the car came later than told, microseconds.
    pub late_us: u64,
    /// Σ|error| where it did not, microseconds.
    pub early_us: u64,
    /// Rides with |error| ≤ 2 minutes.
    pub within_120_s: u64,
    /// Predictions that another tier than the arm's own endpoint answered.
    pub not_by_endpoint: u64,
}

impl UnitSums {
    /// Adds what `other` did.
    pub fn merge(&mut self, other: &Self) {
        let (mut sums, other) = (<[u64; 8]>::from(*self), <[u64; 8]>::from(*other));
        for (sum, more) in sums.iter_mut().zip(other) {
            // None of them is negative, so that saturation is associative too.
            *sum = sum.saturating_add(more);
        }
        *self = sums.into();
    }
}

impl From<[u64; 8]> for UnitSums {
    fn from(sums: [u64; 8]) -> Self {
        let [predictions, pending, joined, cancelled, late_us, early_us, within_120_s, not_by_endpoint] = sums;
        Self { predictions, pending, joined, cancelled, late_us, early_us, within_120_s, not_by_endpoint }
    }
}

impl From<UnitSums> for [u64; 8] {
    fn from(sums: UnitSums) -> Self {
        let UnitSums { predictions, pending, joined, cancelled, late_us, early_us, within_120_s, not_by_endpoint } =
            sums;
        [predictions, pending, joined, cancelled, late_us, early_us, within_120_s, not_by_endpoint]
    }
}

/// The units of one arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitTable {
    /// How many leading bits of the hash tell cells apart; 64: each unit is a cell of its own.
    depth: u32,
    /// By the hash with the other bits zero.
    cells: BTreeMap<u64, UnitSums>,
    /// The least [`MAX_SAMPLED_UNITS`] hashes.
    sample: BTreeSet<u64>,
}

impl Default for UnitTable {
    fn default() -> Self {
        Self { depth: FULL_DEPTH, cells: BTreeMap::new(), sample: BTreeSet::new() }
    }
}

impl UnitTable {
    /// Adds the units of `other`. A unit may be in both.
    pub fn merge(&mut self, other: &Self) {
        self.depth = self.depth.min(other.depth);
        let depth = self.depth;
        self.cells = coarsened(
            std::mem::take(&mut self.cells).into_iter().chain(other.cells.iter().map(|(k, v)| (*k, *v))),
            depth,
        );
        if self.cells.len() > MAX_CELLS {
            self.depth = fitting_depth(self.cells.keys().copied());
            self.cells = coarsened(std::mem::take(&mut self.cells), self.depth);
        }
        self.sample.extend(&other.sample);
        while self.sample.len() > MAX_SAMPLED_UNITS {
            self.sample.pop_last();
        }
    }

    /// Whether each unit is a cell of its own.
    pub fn is_by_unit(&self) -> bool {
        self.depth == FULL_DEPTH
    }

    /// How many different units: exact up to [`MAX_SAMPLED_UNITS`], above estimated from the sample (standard error
    /// 0.8 %: Bar-Yossef et al. 2002).
    pub fn units(&self) -> u64 {
        match self.sample_threshold() {
            None => self.sample.len() as u64,
            Some(threshold) => {
                let share = (threshold as f64 + 1.0) / 2f64.powi(64);
                ((MAX_SAMPLED_UNITS - 1) as f64 / share).round() as u64
            }
        }
    }

    /// The greatest hash up to which every unit is known; `None` where every unit is.
    pub(crate) fn sample_threshold(&self) -> Option<u64> {
        if self.sample.len() < MAX_SAMPLED_UNITS { None } else { self.sample.last().copied() }
    }

    /// The hashes of the sampled units, ascending.
    pub(crate) fn sample(&self) -> &BTreeSet<u64> {
        &self.sample
    }

    /// The sums by unit, or by cell.
    pub fn cells(&self) -> impl Iterator<Item = &UnitSums> {
        self.cells.values()
    }

    /// The sums by cell, of at most `depth` bits.
    pub(crate) fn cells_at(&self, depth: u32) -> BTreeMap<u64, UnitSums> {
        coarsened(self.cells.iter().map(|(key, sums)| (*key, *sums)), depth.min(self.depth))
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Everything together.
    pub fn total(&self) -> UnitSums {
        self.cells.values().fold(UnitSums::default(), |mut total, sums| {
            total.merge(sums);
            total
        })
    }
}

fn prefix(key: u64, depth: u32) -> u64 {
    match FULL_DEPTH - depth {
        64 => 0,
        dropped => key >> dropped << dropped,
    }
}

fn coarsened(cells: impl IntoIterator<Item = (u64, UnitSums)>, depth: u32) -> BTreeMap<u64, UnitSums> {
    let mut merged: BTreeMap<u64, UnitSums> = BTreeMap::new();
    for (key, sums) in cells {
        merged.entry(prefix(key, depth)).or_default().merge(&sums);
    }
    merged
}

/// The greatest number of leading bits that tell at most [`MAX_CELLS`] of the ascending, different `keys` apart.
fn fitting_depth(keys: impl Iterator<Item = u64>) -> u32 {
    // By the number of leading bits that neighbours share: they are in one cell at that depth and below.
    let mut shared = [0_usize; FULL_DEPTH as usize + 1];
    let mut before = None;
    for key in keys {
        if let Some(before) = before.replace(key) {
            shared[(before ^ key).leading_zeros() as usize] += 1;
        }
    }
    let (mut depth, mut cells) = (0, 1);
    while depth < FULL_DEPTH && cells + shared[depth as usize] <= MAX_CELLS {
        cells += shared[depth as usize];
        depth += 1;
    }
    depth
}

/// Adds units up one prediction at a time.
#[derive(Debug, Clone)]
pub(crate) struct UnitAccumulator {
    depth: u32,
    cells: HashMap<u64, UnitSums>,
    sample: BTreeSet<u64>,
}

impl Default for UnitAccumulator {
    fn default() -> Self {
        Self { depth: FULL_DEPTH, cells: HashMap::new(), sample: BTreeSet::new() }
    }
}

impl UnitAccumulator {
    pub(crate) fn add(&mut self, unit: u64, sums: &UnitSums) {
        if self.sample.len() < MAX_SAMPLED_UNITS {
            self.sample.insert(unit);
        } else if self.sample.last().is_some_and(|last| unit < *last) && self.sample.insert(unit) {
            self.sample.pop_last();
        }
        self.cells.entry(prefix(unit, self.depth)).or_default().merge(sums);
        if self.cells.len() > MAX_CELLS {
            // What is too deep for some of the units is too deep for all of them, so that the end does not depend on the way.
            let mut keys: Vec<u64> = self.cells.keys().copied().collect();
            keys.sort_unstable();
            self.depth = fitting_depth(keys.into_iter());
            let mut merged: HashMap<u64, UnitSums> = HashMap::with_capacity(MAX_CELLS + 1);
            for (key, sums) in self.cells.drain() {
                merged.entry(prefix(key, self.depth)).or_default().merge(&sums);
            }
            self.cells = merged;
        }
    }

    pub(crate) fn finish(self) -> UnitTable {
        UnitTable { depth: self.depth, cells: self.cells.into_iter().collect(), sample: self.sample }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    depth: u32,
    cells: Vec<(u64, UnitSums)>,
    sample: Vec<u64>,
}

impl Serialize for UnitTable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored {
            depth: self.depth,
            cells: self.cells.iter().map(|(key, sums)| (*key, *sums)).collect(),
            sample: self.sample.iter().copied().collect(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UnitTable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored { depth, cells, sample } = Stored::deserialize(deserializer)?;
        let invalid = |why: &str| Err(serde::de::Error::custom(why));
        if depth > FULL_DEPTH || cells.len() > MAX_CELLS || sample.len() > MAX_SAMPLED_UNITS {
            return invalid("the units of an arm are more than an arm keeps");
        }
        if !cells.is_sorted_by(|a, b| a.0 < b.0) || !sample.is_sorted_by(|a, b| a < b) {
            return invalid("the units of an arm are not in order");
        }
        if cells.iter().any(|(key, _)| prefix(*key, depth) != *key) {
            return invalid("a unit's hash has more bits than its arm keeps");
        }
        Ok(Self { depth, cells: cells.into_iter().collect(), sample: sample.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(units: impl IntoIterator<Item = u64>) -> UnitTable {
        let mut accumulator = UnitAccumulator::default();
        for unit in units {
            let hash = unit_hash(&unit.to_le_bytes());
            accumulator.add(hash, &UnitSums { predictions: 1, late_us: unit, ..UnitSums::default() });
        }
        accumulator.finish()
    }

    #[test]
    fn few_units_are_kept_one_by_one_and_many_in_cells() {
        let few = of((0..4000).chain(0..4000));
        assert!(few.is_by_unit() && few.cells().all(|sums| sums.predictions == 2));
        assert_eq!(few.units(), 4000);
        let many = of(0..100_000);
        assert!(!many.is_by_unit());
        let cells = many.cells().count();
        assert!((MAX_CELLS / 2..=MAX_CELLS).contains(&cells), "{cells}");
        assert!((many.units() as f64 / 1e5 - 1.0).abs() < 0.03, "{}", many.units());
        assert_eq!(many.total().late_us, (0..100_000).sum::<u64>());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for json in [
            r#"{"depth":65,"cells":[],"sample":[]}"#,
            r#"{"depth":1,"cells":[[1,[1,0,0,0,0,0,0,0]]],"sample":[]}"#,
            r#"{"depth":64,"cells":[],"sample":[2,1]}"#,
        ] {
            assert!(serde_json::from_str::<UnitTable>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        /// Around the sizes where cells begin to be shared, and where units begin to be sampled.
        #[test]
        fn any_split_and_order_is_the_same_state(
            n in prop_oneof![0u64..50, 4000u64..4200, 9_000u64..40_000], modulus in 1u64..5, twist in any::<u64>(),
        ) {
            let whole = of(0..n);
            let part = |part: u64| of((0..n).rev().filter(move |unit| (unit ^ twist) % modulus == part % modulus));
            let parts: Vec<UnitTable> = (0..modulus).map(part).collect();
            let mut left = UnitTable::default();
            for part in &parts {
                left.merge(&serde_json::from_str(&serde_json::to_string(part).unwrap()).unwrap());
            }
            prop_assert_eq!(&left, &whole);
            let mut right = UnitTable::default();
            for pair in parts.chunks(2).rev() {
                let mut both = pair[0].clone();
                pair.iter().skip(1).for_each(|other| both.merge(other));
                right.merge(&both);
            }
            prop_assert_eq!(&right, &whole);
        }
    }
}
