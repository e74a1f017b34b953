//! A record to test with.

use domain::{
    ArmAssignment, CandidateRecord, Inputs, PredictionId, PredictionRecord, ShadowCandidate, ShadowRecord, Tier,
    Timings,
};

/// One candidate, answered by its endpoint.
pub(crate) fn record() -> PredictionRecord {
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    PredictionRecord {
        prediction_id: PredictionId::new(at, [7; 10]),
        model: "pickup-eta".parse().unwrap(),
        release_id: "0".repeat(64).parse().unwrap(),
        spec_hash: String::new(),
        unit_id: None,
        ride_id: None,
        requested_at: at,
        answered_at: at,
        assignment: ArmAssignment::only("a"),
        tier: Tier::Endpoint,
        tier_reason: None,
        endpoint: String::new(),
        variant: String::new(),
        model_version: String::new(),
        inputs: Inputs::new(),
        candidates: vec![CandidateRecord {
            candidate_id: "car".parse().unwrap(),
            inputs: Inputs::new(),
            features: vec![None],
            prediction: 1.5,
            fallback: 2.5,
            uncorrected: None,
            last_shown: None,
            shown: None,
            lower: None,
            upper: None,
        }],
        timings: Timings::default(),
    }
}

/// What a shadow arm said to [`record`].
pub(crate) fn shadow_record() -> ShadowRecord {
    let PredictionRecord { prediction_id, model, release_id, answered_at, candidates, .. } = record();
    ShadowRecord {
        prediction_id,
        model,
        release_id,
        arm: "challenger".to_owned(),
        endpoint: String::new(),
        variant: String::new(),
        model_version: String::new(),
        answered_at,
        reason: None,
        endpoint_us: 10,
        candidates: candidates
            .into_iter()
            .map(|one| ShadowCandidate { candidate_id: one.candidate_id, prediction: Some(1.25) })
            .collect(),
    }
}
