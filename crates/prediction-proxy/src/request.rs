use cloud::http::{HttpEvent, parse_json};
use domain::{
    CandidateId, ModelName, PredictionId, PredictionRecord, PredictionRequest, ProblemField, Tier, Timings,
    is_archivable, truncate_to_micros,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Config, ProxyError};

/// An id and a request's time may differ by this much: clocks of one caller.
const MAX_ID_DIFFERENCE_S: i64 = 60;

/// The header that says how long the caller waits, in milliseconds. The body's `deadline_ms` wins.
const DEADLINE_HEADER: &str = "x-deadline-ms";

/// The header by which a tester asks for an arm, where the function allows it.
pub(crate) const ARM_HEADER: &str = "x-mannen-arm";

/// A request with its defaults filled in.
#[derive(Debug)]
pub(crate) struct ResolvedRequest {
    pub(crate) request: PredictionRequest,
    pub(crate) prediction_id: PredictionId,
    /// Whether the caller brought the id, and so may send the request again.
    pub(crate) caller_id: bool,
    pub(crate) requested_at: Timestamp,
    pub(crate) model: ModelName,
    pub(crate) deadline_ms: Option<u32>,
    /// The arm that the caller asks for.
    pub(crate) forced_arm: Option<String>,
}

impl ResolvedRequest {
    /// Reads an event. `random` makes the id where the caller brings none.
    pub(crate) fn read(
        event: &HttpEvent,
        config: &Config,
        now: Timestamp,
        random: [u8; 10],
    ) -> Result<Self, ProxyError> {
        let request: PredictionRequest = parse_json(&event.json_post_body()?)?;
        let id_time = request.prediction_id.map(PredictionId::timestamp);
        let requested_at = truncate_to_micros(request.requested_at.or(id_time).unwrap_or(now));
        let mut problems = Vec::new();
        let seconds_between = |a: Timestamp, b: Timestamp| a.duration_since(b).as_secs().abs();
        if let Some(id_time) = id_time
            && seconds_between(id_time, requested_at) > MAX_ID_DIFFERENCE_S
        {
            let detail = format!("requested_at is {requested_at}, but the prediction id says {id_time}");
            problems.push(ProblemField::new("/requested_at", "id_time_mismatch", detail));
        }
        if config.max_id_skew_s > 0
            && seconds_between(requested_at, now) > i64::try_from(config.max_id_skew_s).unwrap_or(i64::MAX)
        {
            let pointer = if request.requested_at.is_some() { "/requested_at" } else { "/prediction_id" };
            let detail = format!("{requested_at} is more than {} s from now", config.max_id_skew_s);
            problems.push(ProblemField::new(pointer, "time_too_far", detail));
        }
        if !is_archivable(requested_at) {
            let detail = format!("{requested_at} does not lie in the years 1970 to 2199");
            problems.push(ProblemField::new("/requested_at", "time_too_far", detail));
        }
        let header = event.header(DEADLINE_HEADER).map(str::parse::<u32>);
        if request.deadline_ms.is_none() && matches!(header, Some(Err(_) | Ok(0))) {
            let detail = format!("the header {DEADLINE_HEADER} must be a whole number of milliseconds, at least 1");
            problems.push(ProblemField::new("", "invalid_deadline", detail));
        }
        let forced_arm = event.header(ARM_HEADER).map(str::to_owned);
        // Ignored, it would let a tester take one arm for another.
        if forced_arm.is_some() && !config.allow_forced_arm {
            let detail =
                format!("the header {ARM_HEADER} is not taken here; the function's ALLOW_FORCED_ARM is not `true`");
            problems.push(ProblemField::new("", "forced_arm_not_allowed", detail));
        }
        if request.deadline_ms == Some(0) {
            let detail = "deadline_ms must be at least 1".to_owned();
            problems.push(ProblemField::new("/deadline_ms", "invalid_deadline", detail));
        }
        if !problems.is_empty() {
            return Err(ProxyError::Fields(problems));
        }
        Ok(Self {
            prediction_id: request.prediction_id.unwrap_or_else(|| PredictionId::new(requested_at, random)),
            caller_id: request.prediction_id.is_some(),
            requested_at,
            model: request.model.clone().unwrap_or_else(|| config.default_model.clone()),
            deadline_ms: request.deadline_ms.or(header.and_then(Result::ok)),
            forced_arm,
            request,
        })
    }
}

/// The body of a 200.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionAnswer {
    /// The prediction's id: send it with the outcome.
    pub prediction_id: PredictionId,
    /// The model that was asked.
    pub model: ModelName,
    /// The release that was in force.
    pub release_id: domain::ReleaseId,
    /// The arm.
    pub arm: String,
    /// The version of the model behind the arm.
    pub model_version: String,
    /// The tier that answered.
    pub tier: Tier,
    /// Why it was not the first tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_reason: Option<String>,
    /// The unit of the values.
    pub unit: String,
    /// One per candidate, in the request's order.
    pub predictions: Vec<PredictionOfCandidate>,
    /// How long it took.
    pub timings: Timings,
}

/// One candidate's prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionOfCandidate {
    /// The caller's name for it.
    pub candidate_id: CandidateId,
    /// The prediction.
    pub value: f64,
    /// What to show to the rider, where the release has a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<f64>,
    /// The lower end of the interval, where the release has a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// The upper end of the interval, where the release has a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
}

impl PredictionAnswer {
    /// The answer that a record tells.
    pub(crate) fn of_record(record: &PredictionRecord, unit: &str) -> Self {
        Self {
            prediction_id: record.prediction_id,
            model: record.model.clone(),
            release_id: record.release_id.clone(),
            arm: record.assignment.arm.clone(),
            model_version: record.model_version.clone(),
            tier: record.tier,
            tier_reason: record.tier_reason.clone(),
            unit: unit.to_owned(),
            predictions: record
                .candidates
                .iter()
                .map(|candidate| PredictionOfCandidate {
                    candidate_id: candidate.candidate_id.clone(),
                    value: candidate.prediction,
                    shown: candidate.shown,
                    lower: candidate.lower,
                    upper: candidate.upper,
                })
                .collect(),
            timings: record.timings,
        }
    }
}
