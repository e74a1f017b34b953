//! The answer, from what the model says.

use domain::{PredictionRecord, Promise, Release, Tier, answered};
use features::Plan;

use crate::{Difference, RecomputeError, same_bits};

/// The fields of the answer that are not what the release makes of the model's numbers: `prediction`, `uncorrected`, and with a
/// promise `shown`, `lower`, `upper`. `said` is one number per candidate; where the fallback answered, no model is asked.
///
/// # Errors
/// [`RecomputeError::Answers`].
pub fn recompute_answer(
    record: &PredictionRecord,
    said: &[f64],
    release: &Release,
    plan: &Plan,
) -> Result<Vec<Difference>, RecomputeError> {
    let by_model = record.tier != Tier::Fallback;
    if by_model && said.len() != record.candidates.len() {
        return Err(RecomputeError::Answers { found: said.len(), expected: record.candidates.len() });
    }
    let correction = release.correction.as_ref();
    let factor = correction.map(|correction| correction.factor(&record.inputs, record.requested_at));
    let mut differences = Vec::new();
    for (row, candidate) in record.candidates.iter().enumerate() {
        let (prediction, uncorrected) = if by_model {
            answered(said[row], factor, candidate.fallback, |value| plan.bounded(value))
        } else {
            (candidate.fallback, None)
        };
        let bounded = |value: f64| plan.bounded(value).unwrap_or(prediction);
        let promise = release.promise.as_ref().map(|policy| policy.promise(prediction, candidate.last_shown, bounded));
        let of_promise = |number: fn(&Promise) -> f64| promise.as_ref().map(number);
        for (name, archived, recomputed) in [
            ("prediction", Some(candidate.prediction), Some(prediction)),
            ("uncorrected", candidate.uncorrected, uncorrected),
            ("shown", candidate.shown, of_promise(|promise| promise.shown)),
            ("lower", candidate.lower, of_promise(|promise| promise.lower)),
            ("upper", candidate.upper, of_promise(|promise| promise.upper)),
        ] {
            if !same_bits(archived, recomputed) {
                let (candidate_id, name) = (candidate.candidate_id.clone(), name.to_owned());
                differences.push(Difference { candidate_id, name, archived, recomputed });
            }
        }
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use domain::{Correction, PromisePolicy, ResidualQuantile};

    use super::*;
    use crate::samples::{SPEC, record, release, transformer};

    fn with_policies() -> Release {
        let mut hours = vec![1.0; 24];
        hours[3] = 1.5;
        let calibration =
            [(0.1, -60.0), (0.9, 90.0)].map(|(probability, residual)| ResidualQuantile { probability, residual });
        Release {
            correction: Some(Correction {
                time_zone: None,
                zone_input: None,
                hours,
                zones: std::collections::BTreeMap::new(),
                learned_from: None,
            }),
            promise: Some(PromisePolicy {
                calibration: calibration.into(),
                interval: 0.8,
                late_cost: 3.0,
                early_cost: 1.0,
                damping: None,
            }),
            ..release()
        }
    }

    fn names(differences: &[Difference]) -> Vec<&str> {
        differences.iter().map(|difference| difference.name.as_str()).collect()
    }

    #[test]
    fn an_answer_is_made_of_what_the_model_said() {
        let transformer = transformer(SPEC);
        let mut record = record(&transformer, 4);
        record.requested_at = "2026-01-31T03:10:00Z".parse().unwrap();
        record.tier = Tier::Endpoint;
        let said: Vec<f64> = (0..record.candidates.len()).map(|row| 100.0 + row as f64).collect();
        let release = with_policies();
        for (candidate, said) in record.candidates.iter_mut().zip(&said) {
            (candidate.prediction, candidate.uncorrected) = (said * 1.5, Some(*said));
            (candidate.lower, candidate.upper) = (Some(said * 1.5 - 60.0), Some(said * 1.5 + 90.0));
            candidate.shown = Some(said * 1.5 + 61.875);
        }
        let plan = transformer.plan();
        assert_eq!(recompute_answer(&record, &said, &release, plan), Ok(vec![]));
        let mut other = said.clone();
        other[0] += 1e-9;
        let found = recompute_answer(&record, &other, &release, plan).unwrap();
        assert_eq!(names(&found), ["prediction", "uncorrected", "shown", "lower", "upper"]);
        assert_eq!(found[0].candidate_id, record.candidates[0].candidate_id);
        assert_eq!(recompute_answer(&record, &said[1..], &release, plan).unwrap_err().reason(), "other_answers");
    }

    #[test]
    fn where_the_fallback_answered_no_model_is_asked() {
        let transformer = transformer(SPEC);
        let mut record = record(&transformer, 4);
        assert_eq!(record.tier, Tier::Fallback);
        assert_eq!(recompute_answer(&record, &[], &release(), transformer.plan()), Ok(vec![]));
        record.candidates[0].prediction += 1.0;
        let found = recompute_answer(&record, &[], &release(), transformer.plan()).unwrap();
        assert_eq!(names(&found), ["prediction"]);
    }
}
