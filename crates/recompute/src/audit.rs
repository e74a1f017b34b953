//! Many records' differences, by name.

use std::collections::{BTreeMap, BTreeSet};

use domain::{PredictionId, PredictionRecord};
use serde::{Deserialize, Serialize};

use crate::{Difference, RecomputeError};

/// What an audit of features came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Audit {
    /// Records that were computed again.
    pub records: u64,
    /// Of them, those whose numbers are all the same bits.
    pub equal: u64,
    /// Candidates of these records.
    pub rows: u64,
    /// What is not the same, by feature.
    pub differing: BTreeMap<String, Skew>,
    /// Records that could not be computed again, by reason code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_recomputed: BTreeMap<String, u64>,
    /// What personal inputs go into, and which was therefore left out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub personal: BTreeSet<String>,
}

/// One feature's differences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skew {
    /// Rows in which it differs.
    pub rows: u64,
    /// The greatest distance; `None` where one of the two was NULL.
    pub largest: Option<f64>,
    /// A prediction to look at.
    pub example: PredictionId,
}

impl Audit {
    /// Counts a record.
    pub fn add(&mut self, record: &PredictionRecord, recomputed: &Result<Vec<Difference>, RecomputeError>) {
        let differences = match recomputed {
            Ok(differences) => differences,
            Err(error) => return self.add_failure(error.reason()),
        };
        self.records += 1;
        self.rows += record.candidates.len() as u64;
        self.equal += u64::from(differences.is_empty());
        for difference in differences {
            let distance = Some(difference.distance()).filter(|distance| distance.is_finite());
            let (largest, example) = (Some(0.0), record.prediction_id);
            let skew = self.differing.entry(difference.name.clone()).or_insert(Skew { rows: 0, largest, example });
            skew.rows += 1;
            skew.largest = skew.largest.zip(distance).map(|(one, other)| one.max(other));
        }
    }

    /// Counts a record that could not be computed again.
    pub fn add_failure(&mut self, reason: &str) {
        *self.not_recomputed.entry(reason.to_owned()).or_default() += 1;
    }

    /// Whether every record that was looked at is bit-equal, and none could not be computed again.
    pub fn is_clean(&self) -> bool {
        self.differing.is_empty() && self.not_recomputed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recompute_features,
        samples::{SPEC, record, transformer},
    };

    #[test]
    fn differences_are_told_by_feature() {
        let (serving, spec) = (transformer(&SPEC.replace("* 1.25", "* 1.5")), transformer(SPEC));
        let mut audit = Audit::default();
        for seed in 0..10 {
            let served = if seed % 2 == 0 { &spec } else { &serving };
            let record = record(served, seed);
            audit.add(&record, &recompute_features(&record, &spec));
        }
        let mut broken = record(&spec, 11);
        broken.inputs.clear();
        audit.add(&broken, &recompute_features(&broken, &spec));
        assert_eq!((audit.records, audit.equal), (10, 5));
        assert_eq!(audit.differing.keys().collect::<Vec<_>>(), ["detour_m"]);
        let skew = &audit.differing["detour_m"];
        assert!(skew.rows >= 5 && skew.largest.unwrap() > 1.0, "{skew:?}");
        assert_eq!((audit.not_recomputed["inputs_refused"], audit.is_clean()), (1, false));
        let null = Difference {
            candidate_id: "c".parse().unwrap(),
            name: "x".to_owned(),
            archived: None,
            recomputed: Some(1.0),
        };
        audit.add(&broken, &Ok(vec![null]));
        assert_eq!(audit.differing["x"].largest, None);
    }
}
