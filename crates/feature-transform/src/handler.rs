use std::time::Duration;

use cloud::{
    http::{HttpAnswer, HttpEvent, parse_json},
    object_store::GetObject,
    release_cache::ReleaseCache,
};
use domain::{CandidateId, ModelName, PredictionId, PredictionRequest, Problem, ReleaseId, truncate_to_micros};
use features::{LookupTable, Transformer};
use jiff::Timestamp;
use lambda_runtime::tracing::info;
use serde::{Deserialize, Serialize};

use crate::TransformError;

/// How long the store is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The body of a 200.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeaturesAnswer {
    /// The model whose spec was used.
    pub model: ModelName,
    /// The release that was in force.
    pub release_id: ReleaseId,
    /// SHA-256 of the feature spec in its canonical form.
    pub spec_hash: String,
    /// The names of the features, in the model's order.
    pub features: Vec<String>,
    /// One per candidate, in the request's order.
    pub candidates: Vec<CandidateFeatures>,
}

/// One candidate's features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateFeatures {
    /// The caller's name for it.
    pub candidate_id: CandidateId,
    /// Its values; null is NULL.
    pub values: Vec<Option<f64>>,
    /// What the fallback expression says.
    pub fallback: f64,
}

/// Answers one event. Never fails: what is wrong with a request is told as a problem document.
pub async fn answer<S: GetObject + 'static>(
    releases: &ReleaseCache<S, Transformer, LookupTable>,
    default_model: &ModelName,
    event: &HttpEvent,
    now: Timestamp,
) -> HttpAnswer {
    match transform(releases, default_model, event, now).await {
        Ok(answer) => HttpAnswer::json(200, serde_json::to_string(&answer).unwrap_or_default()),
        Err(failure) => {
            info!(reason = failure.reason(), %failure, "refused");
            Problem::from(failure).into()
        }
    }
}

async fn transform<S: GetObject + 'static>(
    releases: &ReleaseCache<S, Transformer, LookupTable>,
    default_model: &ModelName,
    event: &HttpEvent,
    now: Timestamp,
) -> Result<FeaturesAnswer, TransformError> {
    let request: PredictionRequest = parse_json(&event.json_post_body()?)?;
    let model = request.model.as_ref().unwrap_or(default_model);
    let active = releases.get(model, PATIENCE).await?;
    let problems = request.problems(active.release.limits.max_candidates);
    if !problems.is_empty() {
        return Err(TransformError::Fields(problems));
    }
    let id_time = request.prediction_id.map(PredictionId::timestamp);
    let requested_at = truncate_to_micros(request.requested_at.or(id_time).unwrap_or(now));
    let candidates = active.prepared.transform(requested_at, &request.inputs, &request.candidates, |features| {
        request
            .candidates
            .iter()
            .enumerate()
            .map(|(row, candidate)| CandidateFeatures {
                candidate_id: candidate.candidate_id.clone(),
                values: features.row(row).collect(),
                fallback: features.fallback()[row],
            })
            .collect()
    })?;
    Ok(FeaturesAnswer {
        model: model.clone(),
        release_id: active.id.clone(),
        spec_hash: active.release.spec.hash.clone(),
        features: active.prepared.plan().output_names().to_vec(),
        candidates,
    })
}
