//! Groups by value in bounded number, mergeable exactly.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{SegmentStatistics, segment::SegmentAccumulator, units::unit_hash};

/// The most values of a dimension that are told apart.
pub const MAX_VALUES: usize = 512;
/// Longer values are cut.
const MAX_VALUE_BYTES: usize = 64;

/// The predictions by the value of one dimension. Where there are more than [`MAX_VALUES`] values, those with the least
/// hashes are told apart, and the rest are one group, [`Dimension::other`]. Which values those are depends on the set of values
/// alone, so that a merge in any order and grouping is the same state; it does not depend on how many rides a value has, so
/// that a dimension of so many values wants bins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Dimension {
    values: BTreeMap<String, SegmentStatistics>,
    other: Option<Box<SegmentStatistics>>,
}

impl Dimension {
    /// Of few values.
    pub(crate) fn of(values: BTreeMap<String, SegmentStatistics>) -> Self {
        Self { values, other: None }
    }

    /// The values that are told apart, in order.
    pub fn values(&self) -> &BTreeMap<String, SegmentStatistics> {
        &self.values
    }

    /// All other values together; `None` where there are none.
    pub fn other(&self) -> Option<&SegmentStatistics> {
        self.other.as_deref()
    }

    /// Adds the predictions of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (value, statistics) in &other.values {
            match self.values.get_mut(value) {
                Some(known) => known.merge(statistics),
                None => _ = self.values.insert(value.clone(), statistics.clone()),
            }
        }
        if let Some(more) = &other.other {
            self.other.get_or_insert_default().merge(more);
        }
        while self.values.len() > MAX_VALUES {
            let last = self.values.keys().max_by_key(|value| order(value)).cloned();
            let Some(statistics) = last.and_then(|value| self.values.remove(&value)) else { return };
            self.other.get_or_insert_default().merge(&statistics);
        }
    }

    /// All values together.
    pub fn all(&self) -> SegmentStatistics {
        SegmentStatistics::sum(self.values.values().chain(self.other()))
    }
}

fn order(value: &str) -> (u64, &str) {
    (unit_hash(value.as_bytes()), value)
}

/// The value as it is kept: cut to [`MAX_VALUE_BYTES`].
fn kept(value: &str) -> &str {
    let mut end = value.len().min(MAX_VALUE_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

#[derive(Serialize, Deserialize)]
struct Stored {
    values: BTreeMap<String, SegmentStatistics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other: Option<Box<SegmentStatistics>>,
}

impl From<Dimension> for Stored {
    fn from(Dimension { values, other }: Dimension) -> Self {
        Self { values, other }
    }
}

impl TryFrom<Stored> for Dimension {
    type Error = String;

    fn try_from(Stored { values, other }: Stored) -> Result<Self, String> {
        if values.len() > MAX_VALUES || (other.is_some() && values.len() < MAX_VALUES) {
            return Err(format!("a dimension tells {} values apart, not {MAX_VALUES}", values.len()));
        }
        values.values().chain(other.as_deref()).try_for_each(SegmentStatistics::check)?;
        Ok(Self { values, other })
    }
}

/// Adds up one dimension, one prediction at a time.
#[derive(Debug, Default)]
pub(crate) struct DimensionAccumulator {
    places: HashMap<String, usize>,
    /// By place; `places` without one are free.
    sums: Vec<SegmentAccumulator>,
    other: Option<Box<SegmentStatistics>>,
    /// Hash and value of the last one that is told apart, where there are as many as may be.
    last: Option<(u64, String)>,
    rest: SegmentAccumulator,
}

impl DimensionAccumulator {
    pub(crate) fn of_mut(&mut self, value: &str) -> &mut SegmentAccumulator {
        let value = kept(value);
        if let Some(&place) = self.places.get(value) {
            return &mut self.sums[place];
        }
        if self.places.len() < MAX_VALUES {
            self.places.insert(value.to_owned(), self.sums.len());
            self.sums.push(SegmentAccumulator::default());
            if self.places.len() == MAX_VALUES {
                self.last = self.greatest();
            }
            return self.sums.last_mut().unwrap_or(&mut self.rest);
        }
        let new = (unit_hash(value.as_bytes()), value.to_owned());
        match &self.last {
            Some(last) if new < *last => {
                let Some(place) = self.places.remove(&last.1) else { return &mut self.rest };
                let gone = std::mem::take(&mut self.sums[place]);
                self.other.get_or_insert_default().merge(&gone.finish());
                self.places.insert(new.1, place);
                self.last = self.greatest();
                &mut self.sums[place]
            }
            _ => &mut self.rest,
        }
    }

    fn greatest(&self) -> Option<(u64, String)> {
        self.places
            .keys()
            .map(|value| (unit_hash(value.as_bytes()), value))
            .max()
            .map(|(hash, value)| (hash, value.clone()))
    }

    pub(crate) fn finish(mut self) -> Dimension {
        let values = self
            .places
            .into_iter()
            .map(|(value, place)| (value, std::mem::take(&mut self.sums[place]).finish()))
            .collect();
        let mut other = self.other;
        if self.rest.counts.predictions > 0 {
            other.get_or_insert_default().merge(&self.rest.finish());
        }
        Dimension { values, other }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: impl IntoIterator<Item = usize>) -> Dimension {
        let mut accumulator = DimensionAccumulator::default();
        for value in values {
            let sums = accumulator.of_mut(&value.to_string());
            sums.counts.predictions += 1;
            sums.counts.pending += 1;
        }
        accumulator.finish()
    }

    #[test]
    fn too_many_values_are_one_group_and_nothing_is_lost() {
        let many = of((0..2000).chain(0..2000));
        assert_eq!((many.values().len(), many.all().counts.predictions), (MAX_VALUES, 4000));
        assert!(many.values().values().all(|statistics| statistics.counts.predictions == 2));
        assert_eq!(many.other().unwrap().counts.predictions, 2 * (2000 - MAX_VALUES as u64));
        assert_eq!(of(0..MAX_VALUES).other(), None);
        let long = "あ".repeat(50);
        assert_eq!(kept(&long).len(), 63);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_split_and_order_is_the_same_state(n in prop_oneof![0usize..20, 500usize..530, 600usize..900], modulus in 1usize..5) {
            let whole = of(0..n);
            let parts: Vec<Dimension> = (0..modulus)
                .map(|part| of((0..n).rev().filter(move |value| value % modulus == part)))
                .map(|part| serde_json::from_str(&serde_json::to_string(&part).unwrap()).unwrap())
                .collect();
            let mut left = Dimension::default();
            for part in &parts {
                left.merge(part);
            }
            prop_assert_eq!(&left, &whole);
            let mut right = Dimension::default();
            for pair in parts.chunks(2).rev() {
                let mut both = pair[0].clone();
                pair.iter().skip(1).for_each(|other| both.merge(other));
                right.merge(&both);
            }
            prop_assert_eq!(&right, &whole);
        }
    }
}
