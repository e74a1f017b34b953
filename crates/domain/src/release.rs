use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DomainError, ModelName, digest::sha256_hex};

/// A release's id: the SHA-256 of its document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseId(String);

impl ReleaseId {
    /// The 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReleaseId {
    type Error = DomainError;

    fn try_from(value: String) -> Result<Self, DomainError> {
        if value.len() == 64 && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(value))
        } else {
            Err(DomainError::InvalidName { what: "release id", value, expected: "64 lower-case hexadecimal digits" })
        }
    }
}

impl FromStr for ReleaseId {
    type Err = DomainError;

    fn from_str(value: &str) -> Result<Self, DomainError> {
        Self::try_from(value.to_owned())
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> Self {
        id.0
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is in force for one model: one small immutable document, addressed by its content, behind one pointer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The model.
    pub model: ModelName,
    /// When it was made, UTC.
    pub created_at: Timestamp,
    /// The feature spec.
    pub spec: FeatureSpecSource,
    /// The arms, at least one. Without an experiment the first answers everything.
    pub arms: Vec<Arm>,
    /// How requests are split over the arms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentPlan>,
    /// Limits on requests.
    pub limits: Limits,
    /// When the record is written.
    pub archive: ArchiveMode,
}

/// The feature spec as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpecSource {
    /// SHA-256 of the spec's canonical form.
    pub hash: String,
    /// The text of `features.toml`.
    pub toml: String,
}

/// One arm: the endpoint and production variant that answer, and the model version behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The arm's name, unique in the release.
    pub name: String,
    /// The SageMaker endpoint.
    pub endpoint: String,
    /// The production variant.
    pub variant: String,
    /// The version of the model behind the variant.
    pub model_version: String,
}

/// An experiment over the release's arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentPlan {
    /// The experiment's id; also the salt of the assignment, so that experiments are independent of each other.
    pub id: String,
    /// The weight of each arm, in the release's order, summing to 1.
    pub weights: Vec<f64>,
}

/// Limits on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most candidates in one request.
    pub max_candidates: usize,
    /// The time for an answer where the caller sets none.
    pub default_deadline_ms: u32,
}

/// When the record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveMode {
    /// Before the response leaves: an answer that was seen has a record.
    BeforeResponse,
}

impl Release {
    /// The document's bytes: canonical, since the fields have one order and no map is involved.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// The content address of [`Release::to_bytes`].
    pub fn id(&self) -> Result<ReleaseId, DomainError> {
        ReleaseId::try_from(sha256_hex(&self.to_bytes()))
    }

    /// Checks what the types do not.
    pub fn validate(&self) -> Result<(), DomainError> {
        let invalid = |why: String| Err(DomainError::InvalidRelease(why));
        if self.arms.is_empty() {
            return invalid("it has no arm".to_owned());
        }
        for (index, arm) in self.arms.iter().enumerate() {
            if self.arms[..index].iter().any(|other| other.name == arm.name) {
                return invalid(format!("two arms are named `{}`", arm.name));
            }
        }
        if self.limits.max_candidates == 0 {
            return invalid("max_candidates is 0".to_owned());
        }
        if let Some(experiment) = &self.experiment {
            if experiment.weights.len() != self.arms.len() {
                return invalid(format!("{} weights for {} arms", experiment.weights.len(), self.arms.len()));
            }
            if experiment.weights.iter().any(|weight| !(0.0..=1.0).contains(weight)) {
                return invalid("a weight is outside 0–1".to_owned());
            }
            let sum: f64 = experiment.weights.iter().sum();
            if (sum - 1.0).abs() > 1e-9 {
                return invalid(format!("the weights sum to {sum}, not 1"));
            }
        } else if self.arms.len() > 1 {
            return invalid("several arms need an experiment that splits requests over them".to_owned());
        }
        Ok(())
    }
}

/// The one mutable object of a model's releases: which is in force. Moved by compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasePointer {
    /// The release in force.
    pub release_id: ReleaseId,
    /// The one before, to roll back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ReleaseId>,
    /// When the pointer was moved, UTC.
    pub moved_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        let arm = |name: &str| Arm {
            name: name.to_owned(),
            endpoint: "pickup-eta".to_owned(),
            variant: name.to_owned(),
            model_version: "1".to_owned(),
        };
        Release {
            model: "pickup-eta".parse().unwrap(),
            created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            spec: FeatureSpecSource { hash: "0".repeat(64), toml: String::new() },
            arms: vec![arm("control"), arm("treatment")],
            experiment: Some(ExperimentPlan { id: "deeper-trees".to_owned(), weights: vec![0.5, 0.5] }),
            limits: Limits { max_candidates: 200, default_deadline_ms: 500 },
            archive: ArchiveMode::BeforeResponse,
        }
    }

    #[test]
    fn the_id_is_of_the_content() {
        let read: Release = serde_json::from_slice(&release().to_bytes()).unwrap();
        assert_eq!(read.id().unwrap(), release().id().unwrap());
        let other = Release { limits: Limits { max_candidates: 201, ..release().limits }, ..release() };
        assert_ne!(other.id().unwrap(), release().id().unwrap());
    }

    #[test]
    fn refuses_what_cannot_be_served_from() {
        assert_eq!(release().validate(), Ok(()));
        let weights = |weights: Vec<f64>| Release {
            experiment: Some(ExperimentPlan { id: "x".to_owned(), weights }),
            ..release()
        };
        assert!(Release { arms: vec![], ..release() }.validate().is_err());
        assert!(Release { experiment: None, ..release() }.validate().is_err());
        assert!(weights(vec![1.0]).validate().is_err());
        assert!(weights(vec![0.6, 0.6]).validate().is_err());
        assert!(weights(vec![1.5, -0.5]).validate().is_err());
        assert!(weights(vec![f64::NAN, 0.5]).validate().is_err());
    }
}
