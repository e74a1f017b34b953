//! A random sample of records, in memory for the sample alone.

use std::collections::BTreeMap;

use domain::{PredictionId, PredictionRecord, digest::sha256_hex};

/// The records whose hashes of seed and id are the least: each record has the same chance, whatever the order, and the same seed
/// takes the same ones.
#[derive(Debug)]
pub struct Sample {
    most: usize,
    seed: u64,
    kept: BTreeMap<String, PredictionRecord>,
}

impl Sample {
    /// An empty sample of at most so many records.
    pub fn new(most: usize, seed: u64) -> Self {
        Self { most, seed, kept: BTreeMap::new() }
    }

    /// Takes a record in, or leaves it.
    pub fn offer(&mut self, record: PredictionRecord) {
        let place = self.place(record.prediction_id);
        let is_full = self.kept.len() >= self.most;
        if is_full && self.kept.last_key_value().is_none_or(|(last, _)| *last <= place) {
            return;
        }
        self.kept.insert(place, record);
        if self.kept.len() > self.most {
            self.kept.pop_last();
        }
    }

    /// The records, in no order that means anything.
    pub fn into_records(self) -> Vec<PredictionRecord> {
        self.kept.into_values().collect()
    }

    fn place(&self, id: PredictionId) -> String {
        sha256_hex(&[&self.seed.to_be_bytes()[..], id.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{SPEC, record, transformer};

    fn ids(sample: Sample) -> Vec<PredictionId> {
        sample.into_records().into_iter().map(|record| record.prediction_id).collect()
    }

    #[test]
    fn a_sample_is_of_the_seed_and_not_of_the_order() {
        let transformer = transformer(SPEC);
        let records: Vec<_> = (0..60).map(|seed| record(&transformer, seed)).collect();
        let take = |seed, records: &mut dyn Iterator<Item = &PredictionRecord>| {
            let mut sample = Sample::new(10, seed);
            records.for_each(|record| sample.offer(record.clone()));
            ids(sample)
        };
        let first = take(7, &mut records.iter());
        assert_eq!(first.len(), 10);
        assert_eq!(first, take(7, &mut records.iter().rev()));
        assert_ne!(first, take(8, &mut records.iter()));
        assert_eq!(take(7, &mut records.iter().take(3)).len(), 3);
        assert!(ids(Sample::new(0, 1)).is_empty());
        let mut nothing = Sample::new(0, 1);
        nothing.offer(records[0].clone());
        assert!(ids(nothing).is_empty());
    }
}
