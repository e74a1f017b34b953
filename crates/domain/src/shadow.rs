use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CandidateId, Hour, ModelName, PredictionId, ReleaseId};

/// What one shadow arm said to a request. It was never answered. It is a record of its own beside the prediction's, joined
/// with it by id, so that the prediction's record leaves once and waits for nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowRecord {
    /// The prediction that it is a shadow of. One record per prediction and arm.
    pub prediction_id: PredictionId,
    /// The model that was asked.
    pub model: ModelName,
    /// The release that was in force.
    pub release_id: ReleaseId,
    /// The shadow arm's name.
    pub arm: String,
    /// The endpoint asked.
    pub endpoint: String,
    /// The production variant asked.
    pub variant: String,
    /// The version of the model behind the variant.
    pub model_version: String,
    /// The function's own clock when the shadow had answered, or failed, UTC.
    pub answered_at: Timestamp,
    /// Why it has no predictions: a reason code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Waiting for the endpoint, in microseconds.
    pub endpoint_us: u64,
    /// One entry per candidate, in the request's order.
    pub candidates: Vec<ShadowCandidate>,
}

/// One candidate's part of a [`ShadowRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowCandidate {
    /// The caller's name for it.
    pub candidate_id: CandidateId,
    /// What the shadow predicts, within the spec's bounds and in its unit. Absent where there is a `reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<f64>,
}

impl ShadowRecord {
    /// The hour of event time that the record is archived under: its prediction's.
    pub fn hour(&self) -> Hour {
        self.prediction_id.hour()
    }
}
