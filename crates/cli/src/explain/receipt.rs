//! What one decision was made of, and whether it can be made again.

use std::collections::BTreeMap;

use datasets::Manifest;
use domain::{
    ArmAssignment, ModelName, ModelVersion, OutcomeState, PredictionId, PredictionRecord, Release, ReleaseId, Tier,
    Timings, UnitId,
};
use jiff::Timestamp;
use recompute::Difference;
use result_archiver::keeping::{Found, Place};
use serde::Serialize;

/// The decision receipt.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    pub(crate) prediction_id: PredictionId,
    pub(crate) place: Option<Place>,
    pub(crate) model: ModelName,
    pub(crate) decision: Decision,
    /// What the model was made of; nothing where it is not registered.
    pub(crate) model_version: Option<ModelVersion>,
    /// The rows that it was trained on; nothing where that is not known.
    pub(crate) data: Option<Data>,
    pub(crate) features: Features,
    pub(crate) answer: Rebuilt,
    pub(crate) record: PredictionRecord,
    pub(crate) outcome: Option<OutcomeState>,
}

/// Who answered, and why it.
#[derive(Debug, Serialize)]
pub(crate) struct Decision {
    pub(crate) release_id: ReleaseId,
    pub(crate) release_created_at: Option<Timestamp>,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) assignment: ArmAssignment,
    pub(crate) tier: Tier,
    pub(crate) tier_reason: Option<String>,
    pub(crate) endpoint: String,
    pub(crate) variant: String,
    pub(crate) model_version: String,
    pub(crate) requested_at: Timestamp,
    pub(crate) answered_at: Timestamp,
    pub(crate) timings: Timings,
}

/// The dataset version that a model was trained on.
#[derive(Debug, Serialize)]
pub(crate) struct Data {
    pub(crate) dataset: ModelName,
    pub(crate) address: String,
    pub(crate) source: String,
    pub(crate) job: String,
    pub(crate) as_of: Option<Timestamp>,
    pub(crate) query: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) rows: u64,
}

impl Data {
    pub(crate) fn of(manifest: Manifest) -> Self {
        let identity = manifest.identity;
        let parameters = identity.origin.parameters.into_iter().map(|(name, parameter)| (name, parameter.value));
        Self {
            dataset: identity.dataset,
            address: manifest.address,
            source: identity.origin.source,
            job: manifest.job,
            as_of: identity.origin.as_of,
            query: identity.origin.sql,
            parameters: parameters.collect(),
            rows: identity.rows,
        }
    }
}

/// Spec and tables, and the features made again.
#[derive(Debug, Serialize)]
pub(crate) struct Features {
    pub(crate) spec_hash: String,
    /// SHA-256 of each lookup table that the release pins.
    pub(crate) lookups: BTreeMap<String, String>,
    /// What personal inputs go into: nobody can make it again.
    pub(crate) personal: Vec<String>,
    #[serde(flatten)]
    pub(crate) rebuilt: Rebuilt,
}

/// Numbers made again offline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "rebuilt", rename_all = "kebab-case")]
pub(crate) enum Rebuilt {
    /// Every bit is the same.
    BitEqual,
    /// Some are not.
    Differs { differences: Vec<Difference> },
    /// They could not be made again.
    No { why: String },
}

impl Rebuilt {
    pub(crate) fn of<E: std::fmt::Display>(recomputed: Result<Vec<Difference>, E>) -> Self {
        match recomputed {
            Ok(differences) if differences.is_empty() => Self::BitEqual,
            Ok(differences) => Self::Differs { differences },
            Err(error) => Self::No { why: error.to_string() },
        }
    }

    pub(crate) fn differs(&self) -> bool {
        matches!(self, Self::Differs { .. })
    }
}

impl Decision {
    pub(crate) fn of(record: &PredictionRecord, release: Option<&Release>) -> Self {
        Self {
            release_id: record.release_id.clone(),
            release_created_at: release.map(|release| release.created_at),
            unit_id: record.unit_id.clone(),
            assignment: record.assignment.clone(),
            tier: record.tier,
            tier_reason: record.tier_reason.clone(),
            endpoint: record.endpoint.clone(),
            variant: record.variant.clone(),
            model_version: record.model_version.clone(),
            requested_at: record.requested_at,
            answered_at: record.answered_at,
            timings: record.timings,
        }
    }
}

impl Receipt {
    /// Of what was found, as far as it is known already.
    pub(crate) fn of(
        found: Found,
        record: PredictionRecord,
        release: Option<&Release>,
        features: Features,
        answer: Rebuilt,
    ) -> Self {
        Self {
            prediction_id: found.prediction_id,
            place: found.place,
            model: record.model.clone(),
            decision: Decision::of(&record, release),
            model_version: None,
            data: None,
            features,
            answer,
            record,
            outcome: found.outcome,
        }
    }
}
