use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CandidateId, Hour, Inputs, ModelName, PredictionId, ReleaseId, RideId, UnitId};

/// Which tier answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The arm's own endpoint and variant.
    Endpoint,
    /// The release's second endpoint.
    SecondEndpoint,
    /// The spec's fallback expression, computed in the function.
    Fallback,
}

impl Tier {
    /// All tiers, in the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Endpoint, Self::SecondEndpoint, Self::Fallback];

    /// The name in records, answers and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::SecondEndpoint => "second-endpoint",
            Self::Fallback => "fallback",
        }
    }
}

/// The arm that a request was assigned to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmAssignment {
    /// The experiment's id, or absent where the release has a single arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// The arm's name.
    pub arm: String,
    /// The probability with which this arm was assigned, 0–1.
    pub probability: f64,
    /// What was randomised, where that is not the request's unit: `<zone>|<slot's beginning, seconds since 1970>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub randomised_unit: Option<String>,
    /// Why the record does not count in the experiment, though it was answered by its arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<AssignmentExclusion>,
}

/// Why a record does not count in its experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssignmentExclusion {
    /// The arm was not drawn but forced.
    Forced,
    /// It lies in the first part of a switchback's slot.
    CarryOver,
}

impl AssignmentExclusion {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::Forced, Self::CarryOver];

    /// The name in records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forced => "forced",
            Self::CarryOver => "carry-over",
        }
    }
}

impl ArmAssignment {
    /// An assignment outside of any experiment: the only arm, for sure.
    pub fn only(arm: impl Into<String>) -> Self {
        Self { experiment_id: None, arm: arm.into(), probability: 1.0, randomised_unit: None, excluded: None }
    }
}

/// How long the steps took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Validating and transforming the inputs.
    pub transform_us: u64,
    /// Waiting for endpoints, whether they answered or not.
    pub endpoint_us: u64,
    /// From the invocation's arrival until the answer was known.
    pub total_us: u64,
}

/// What the archive keeps of one answered request: everything needed to join it with its outcome and to recompute it.
/// On S3 it lands as one line of JSON; in the archive it is one row per candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionRecord {
    /// The prediction's id.
    pub prediction_id: PredictionId,
    /// The model that was asked.
    pub model: ModelName,
    /// The release that was in force.
    pub release_id: ReleaseId,
    /// SHA-256 of the feature spec in its canonical form.
    pub spec_hash: String,
    /// The unit that experiments randomise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_id: Option<UnitId>,
    /// The ride that the request is a refresh of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ride_id: Option<RideId>,
    /// Event time, UTC.
    pub requested_at: Timestamp,
    /// The function's own clock when the answer was known, UTC.
    pub answered_at: Timestamp,
    /// The arm.
    pub assignment: ArmAssignment,
    /// The tier that answered.
    pub tier: Tier,
    /// Why it was not the first tier: a reason code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_reason: Option<String>,
    /// The endpoint asked.
    pub endpoint: String,
    /// The production variant that answered, or that was asked where none did.
    pub variant: String,
    /// The version of the model behind the variant.
    pub model_version: String,
    /// Raw inputs shared by all candidates, as they came.
    pub inputs: Inputs,
    /// One entry per candidate, in the request's order.
    pub candidates: Vec<CandidateRecord>,
    /// Durations.
    pub timings: Timings,
}

impl PredictionRecord {
    /// The hour of event time that the record is archived under.
    pub fn hour(&self) -> Hour {
        self.prediction_id.hour()
    }
}

/// One candidate's part of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// The caller's name for it.
    pub candidate_id: CandidateId,
    /// Raw inputs of this candidate, as they came.
    pub inputs: Inputs,
    /// The model's input row, in the spec's output order; `None` where a feature is NULL.
    pub features: Vec<Option<f64>>,
    /// The answer, in the unit of the spec's prediction.
    pub prediction: f64,
    /// What the fallback expression says, whichever tier answered: the naive model to beat.
    pub fallback: f64,
    /// What the endpoint had said, where the release's correction made the answer of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncorrected: Option<f64>,
    /// What the rider had been shown before, as the request said it: what a damped `shown` started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_shown: Option<f64>,
    /// What the promise's policy says to show, where the release has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<f64>,
    /// The lower end of the interval, where the release has a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// The upper end of the interval, where the release has a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
}
