//! A histogram that chooses its own bins, the same whatever the order of the values and however they are split.
//!
//! A cell is a double's first bits: sign, exponent and the leading bits of the mantissa, in the order of the numbers. It begins
//! with every bit (each value its own cell), and drops the last one whenever there are more than [`MAX_CELLS`]. How many bits
//! are left in the end depends on the set of values alone. So few values are counted exactly, and a latitude gets as fine
//! cells within its city as a price within its decades.

use serde::{Deserialize, Serialize};

/// The most cells.
pub const MAX_CELLS: usize = 256;
const SLOTS: usize = 1024;

/// Counts by cell.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub struct Cells {
    /// Bits that are dropped.
    shift: u32,
    /// Open addressing: cell and count, 0 where free. Empty before the first value.
    table: Vec<(i64, u64)>,
    used: usize,
}

impl PartialEq for Cells {
    fn eq(&self, other: &Self) -> bool {
        self.shift == other.shift && self.sorted() == other.sorted()
    }
}

/// As it stands in a manifest: cells in order of their numbers.
#[derive(Serialize, Deserialize)]
struct Sparse {
    shift: u32,
    cells: Vec<(i64, u64)>,
}

impl From<Sparse> for Cells {
    fn from(sparse: Sparse) -> Self {
        let mut cells = Self { shift: sparse.shift.min(63), ..Self::default() };
        for (cell, count) in sparse.cells {
            cells.count(cell, count);
        }
        cells
    }
}

impl From<Cells> for Sparse {
    fn from(cells: Cells) -> Self {
        Self { shift: cells.shift, cells: cells.sorted() }
    }
}

/// Doubles as whole numbers of the same order.
fn ordered(value: f64) -> i64 {
    // 0.0 and −0.0 are one number.
    let bits = (value + 0.0).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Cells {
    /// Counts a number. Not for NaN.
    pub fn add(&mut self, value: f64) {
        self.count(ordered(value) >> self.shift, 1);
        self.coarsen_to(MAX_CELLS);
    }

    /// Adds the counts of others.
    pub fn merge(&mut self, other: &Self) {
        while self.shift < other.shift {
            self.coarsen();
        }
        for (cell, count) in other.table.iter().filter(|(_, count)| *count > 0) {
            self.count(cell >> (self.shift - other.shift), *count);
            self.coarsen_to(MAX_CELLS);
        }
    }

    /// Cells and counts in order.
    fn sorted(&self) -> Vec<(i64, u64)> {
        let mut cells: Vec<(i64, u64)> = self.table.iter().copied().filter(|(_, count)| *count > 0).collect();
        cells.sort_unstable();
        cells
    }

    /// The counts of both in the same cells, at most `most` of them.
    pub fn side_by_side(&self, other: &Self, most: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut one, mut two) = (self.clone(), other.clone());
        let both = |one: &Self, two: &Self| {
            let mut both = std::collections::BTreeMap::<i64, (u64, u64)>::new();
            for (cell, count) in one.sorted() {
                both.entry(cell).or_default().0 += count;
            }
            for (cell, count) in two.sorted() {
                both.entry(cell).or_default().1 += count;
            }
            both
        };
        while one.shift != two.shift {
            if one.shift < two.shift { one.coarsen() } else { two.coarsen() }
        }
        let mut cells = both(&one, &two);
        while cells.len() > most.max(1) && one.shift < 63 {
            one.coarsen();
            two.coarsen();
            cells = both(&one, &two);
        }
        cells.into_values().map(|(one, two)| (one as f64, two as f64)).unzip()
    }

    fn count(&mut self, cell: i64, count: u64) {
        if self.table.is_empty() {
            self.table = vec![(0, 0); SLOTS];
        }
        let mut slot = ((cell as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize;
        loop {
            let (there, counted) = &mut self.table[slot];
            if *counted == 0 {
                (*there, *counted) = (cell, count);
                self.used += usize::from(count > 0);
                return;
            }
            if *there == cell {
                *counted += count;
                return;
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    fn coarsen_to(&mut self, most: usize) {
        while self.used > most && self.shift < 63 {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        let cells = self.sorted();
        self.shift += 1;
        self.table.fill((0, 0));
        self.used = 0;
        for (cell, count) in cells {
            self.count(cell >> 1, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Cells {
        let mut cells = Cells::default();
        for value in values {
            cells.add(*value);
        }
        cells
    }

    fn told(cells: &Cells) -> String {
        serde_json::to_string(cells).unwrap()
    }

    #[test]
    fn few_values_are_counted_exactly_and_many_in_order() {
        let cells = of(&[3.0, -1.5, 3.0, 0.0, -0.0]);
        assert_eq!(cells.sorted().iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 2, 2]);
        let city: Vec<f64> = (0..10_000).map(|step| 35.6 + 0.2 * f64::from(step) / 10_000.0).collect();
        let cells = of(&city);
        assert!((MAX_CELLS / 2..=MAX_CELLS).contains(&cells.used), "{}", cells.used);
        let (one, two) = cells.side_by_side(&of(&city[..5_000]), 32);
        assert!(one.len() <= 32 && one.iter().sum::<f64>() == 10_000.0 && two.iter().sum::<f64>() == 5_000.0);
    }

    proptest! {
        #[test]
        fn order_and_split_do_not_matter(values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 0..1500), cut: prop::sample::Index) {
            let once = of(&values);
            let (one, two) = values.split_at(cut.index(values.len() + 1).min(values.len()));
            let mut merged = of(two);
            merged.merge(&of(one));
            prop_assert_eq!(told(&once), told(&merged));
            let mut turned = values;
            turned.reverse();
            let again = of(&turned);
            prop_assert_eq!(told(&once), told(&again));
            let read: Cells = serde_json::from_str(&told(&again)).unwrap();
            prop_assert_eq!(told(&read), told(&again));
        }
    }
}
