//! The vocabulary of Mannen, and the lake's key layout.
//!
//! Everything that two rooms must agree on is written down here once: prediction requests and records, outcomes,
//! releases, problem documents, and (in [`lake`]) where each object lies on S3. The crate is pure: no I/O, no clock,
//! no randomness.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod digest;
mod error;
mod hour;
mod inference;
pub mod lake;
mod model_version;
mod names;
mod outcome;
mod prediction_id;
mod problem;
mod record;
mod release;
mod request;
mod shadow;
mod time;

pub use error::DomainError;
pub use hour::Hour;
pub use inference::{InferenceKey, InferenceRecord, InferenceSource, Payload, PayloadEncoding};
pub use model_version::{CodeVersion, DatasetVersion, Lineage, ModelVersion, version_of};
pub use names::{CandidateId, ModelName, RideId, UnitId};
pub use outcome::{MetricValue, OutcomeEvent, OutcomeState};
pub use prediction_id::PredictionId;
pub use problem::{Problem, ProblemField};
pub use record::{ArmAssignment, AssignmentExclusion, CandidateRecord, PredictionRecord, Tier, Timings};
pub use release::{
    ArchiveMode, Arm, BreakerPolicy, Correction, CorrectionBasis, Damping, EndpointCalling, EvaluationPlan,
    ExperimentPlan, FeatureSpecSource, Limits, MAX_CALL_BYTES, MAX_SERVERLESS_CALL_BYTES, NamespacePart, PointerMove,
    Promise, PromisePolicy, Ramp, RampPlan, Randomisation, Release, ReleaseId, ReleasePointer, ResidualQuantile,
    RowFormat, SegmentPlan, answered, zone_text,
};
pub use request::{Candidate, Inputs, PredictionRequest};
pub use shadow::{ShadowCandidate, ShadowRecord};
pub use time::{is_archivable, truncate_to_micros};

/// Bytes are kept below Lambda's 6 MB payload limit, with room for the event's envelope.
pub const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;
