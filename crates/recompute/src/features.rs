//! Features and fallback, from the raw inputs.

use domain::{Candidate, PredictionRecord};
use features::{Plan, Transformer};

use crate::{Difference, RecomputeError, same_bits};

/// The name that a difference of the fallback's answer has.
pub const FALLBACK: &str = "fallback";

/// The features and the fallback's answers that are not what the plan makes of the record's raw inputs, by their bits. What needs
/// personal inputs is left out ([`personal_results`]). The record must be of the plan's spec, which nothing here checks: another plan
/// tells what it would change.
///
/// # Errors
/// [`RecomputeError::Inputs`] and [`RecomputeError::Columns`].
pub fn recompute_features(
    record: &PredictionRecord,
    transformer: &Transformer,
) -> Result<Vec<Difference>, RecomputeError> {
    let plan = transformer.plan();
    let expected = plan.output_names().len();
    if let Some(other) = record.candidates.iter().find(|candidate| candidate.features.len() != expected) {
        return Err(RecomputeError::Columns { found: other.features.len(), expected });
    }
    let candidates: Vec<Candidate> = record
        .candidates
        .iter()
        .map(|candidate| Candidate::new(candidate.candidate_id.clone(), candidate.inputs.clone()))
        .collect();
    let differences = transformer.transform_archived(record.requested_at, &record.inputs, &candidates, |table| {
        let mut differences = Vec::new();
        for (row, candidate) in record.candidates.iter().enumerate() {
            let mut compare = |name: &str, archived, recomputed| {
                if !same_bits(archived, recomputed) {
                    let (candidate_id, name) = (candidate.candidate_id.clone(), name.to_owned());
                    differences.push(Difference { candidate_id, name, archived, recomputed });
                }
            };
            let recomputed = table.row(row).zip(plan.output_names()).zip(&candidate.features).enumerate();
            for (output, ((recomputed, name), archived)) in recomputed {
                if !plan.output_is_personal(output) {
                    compare(name, *archived, recomputed);
                }
            }
            if !plan.fallback_is_personal() {
                compare(FALLBACK, Some(candidate.fallback), Some(table.fallback()[row]));
            }
        }
        differences
    });
    differences.map_err(|error| RecomputeError::Inputs(error.to_string()))
}

/// The features, and the fallback, that personal inputs go into: nobody can compute them again from the archive.
pub fn personal_results(plan: &Plan) -> Vec<&str> {
    let outputs = plan.output_names().iter().enumerate().filter(|(output, _)| plan.output_is_personal(*output));
    let fallback = plan.fallback_is_personal().then_some(FALLBACK);
    outputs.map(|(_, name)| name.as_str()).chain(fallback).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{SPEC, record, transformer};

    #[test]
    fn what_is_archived_is_what_the_plan_makes_of_the_inputs() {
        let transformer = transformer(SPEC);
        assert_eq!(recompute_features(&record(&transformer, 1), &transformer), Ok(vec![]));
        assert_eq!(personal_results(transformer.plan()), ["of_rider"]);
    }

    #[test]
    fn a_changed_constant_is_caught_and_named() {
        let (serving, spec) = (transformer(&SPEC.replace("* 1.25", "* 1.2500000000000002")), transformer(SPEC));
        let found = recompute_features(&record(&serving, 1), &spec).unwrap();
        assert!(!found.is_empty() && found.iter().all(|difference| difference.name == "detour_m"), "{found:?}");
        assert!(found[0].distance() < 1e-9);
    }

    #[test]
    fn what_cannot_be_computed_again_is_told() {
        let transformer = transformer(SPEC);
        let mut other = record(&transformer, 1);
        other.inputs.insert("unknown".to_owned(), 1.into());
        let error = recompute_features(&other, &transformer).unwrap_err();
        assert!(error.reason() == "inputs_refused" && error.to_string().contains("unknown"), "{error}");
        let mut other = record(&transformer, 1);
        other.candidates[0].features.pop();
        assert_eq!(recompute_features(&other, &transformer).unwrap_err().reason(), "other_columns");
    }

    proptest! {
        /// Whatever single bit of whatever number changes, it is found, and nothing else is.
        #[test]
        fn any_bit_is_seen(seed in 0_u32..50, bit in 0_u32..64, place in any::<prop::sample::Index>()) {
            let transformer = transformer(SPEC);
            let mut record = record(&transformer, seed);
            let candidate = place.index(record.candidates.len());
            let names = transformer.plan().output_names();
            let output = place.index(names.len());
            let number = record.candidates[candidate].features[output].unwrap_or(0.0);
            let flipped = f64::from_bits(number.to_bits() ^ (1 << bit));
            record.candidates[candidate].features[output] = Some(flipped).filter(|flipped| !flipped.is_nan());
            let found = recompute_features(&record, &transformer).unwrap();
            let found: Vec<_> = found.iter().map(|found| (found.candidate_id.as_str(), found.name.as_str())).collect();
            if transformer.plan().output_is_personal(output) {
                prop_assert!(found.is_empty());
            } else {
                prop_assert_eq!(found, [(record.candidates[candidate].candidate_id.as_str(), names[output].as_str())]);
            }
        }
    }
}
