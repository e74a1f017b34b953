use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CandidateId, ModelName, PredictionId, ProblemField, RideId, UnitId};

/// Raw inputs by name, as they came: JSON scalars. The feature spec says which are known, of which type and range.
pub type Inputs = serde_json::Map<String, serde_json::Value>;

/// The body of `POST /v1/predictions` and `POST /v1/features`: one question about 1…N candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionRequest {
    /// The caller's id (an idempotency key). Made from `requested_at` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_id: Option<PredictionId>,
    /// The model to ask. The function's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// What experiments randomise (the rider). The prediction id where absent: each request is then its own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_id: Option<UnitId>,
    /// The ride that this is a refresh of: requests of one ride are shown steadily.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ride_id: Option<RideId>,
    /// Event time, UTC. The id's time where only the id is given, else now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
    /// How long the caller waits for an answer. The release's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
    /// Inputs shared by all candidates.
    #[serde(default)]
    pub inputs: Inputs,
    /// The candidates, at least one.
    pub candidates: Vec<Candidate>,
}

/// One candidate of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The caller's name for it, unique within the request.
    pub candidate_id: CandidateId,
    /// What the rider was shown last for this candidate, in the prediction's unit: the promise's policy may damp changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_shown: Option<f64>,
    /// Inputs of this candidate alone.
    #[serde(default)]
    pub inputs: Inputs,
}

impl Candidate {
    /// A candidate that nothing was shown for yet.
    pub fn new(candidate_id: CandidateId, inputs: Inputs) -> Self {
        Self { candidate_id, last_shown: None, inputs }
    }
}

impl PredictionRequest {
    /// What is wrong with the request's own shape, field by field; empty where nothing is.
    pub fn problems(&self, max_candidates: usize) -> Vec<ProblemField> {
        let count = self.candidates.len();
        if count == 0 {
            return vec![ProblemField::new("/candidates", "no_candidates", "at least one candidate is needed")];
        }
        if count > max_candidates {
            let detail = format!("{count} candidates; at most {max_candidates} are taken in one request");
            return vec![ProblemField::new("/candidates", "too_many_candidates", detail)];
        }
        let mut seen = HashSet::with_capacity(count);
        self.candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| !seen.insert(&candidate.candidate_id))
            .map(|(index, candidate)| {
                let detail = format!("`{}` is there twice", candidate.candidate_id);
                ProblemField::new(format!("/candidates/{index}/candidate_id"), "duplicate_candidate", detail)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(candidates: &[&str]) -> PredictionRequest {
        let candidates: Vec<_> = candidates.iter().map(|id| serde_json::json!({"candidate_id": id})).collect();
        serde_json::from_value(serde_json::json!({"candidates": candidates})).unwrap()
    }

    #[test]
    fn its_shape_is_checked() {
        let pointers = |candidates: &[&str], max| -> Vec<String> {
            request(candidates).problems(max).into_iter().map(|problem| problem.pointer).collect()
        };
        assert!(pointers(&["a", "b"], 2).is_empty());
        assert_eq!(pointers(&[], 2), ["/candidates"]);
        assert_eq!(pointers(&["a", "b", "c"], 2), ["/candidates"]);
        assert_eq!(pointers(&["a", "b", "a", "b"], 9), ["/candidates/2/candidate_id", "/candidates/3/candidate_id"]);
    }
}
