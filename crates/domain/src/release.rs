mod calling;
mod correction;
mod evaluation;
mod experiment;
mod pointer;
mod promise;
mod ramp;

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    calling::{BreakerPolicy, EndpointCalling, MAX_CALL_BYTES, MAX_SERVERLESS_CALL_BYTES, RowFormat},
    correction::{Correction, CorrectionBasis, answered},
    evaluation::{EvaluationPlan, SegmentPlan, zone_text},
    experiment::{ExperimentPlan, NamespacePart, Randomisation},
    pointer::{PointerMove, ReleasePointer},
    promise::{Damping, Promise, PromisePolicy, ResidualQuantile},
    ramp::{Ramp, RampPlan},
};
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
    /// The lookup tables that the spec declares, by name: the SHA-256 that addresses each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lookups: BTreeMap<String, String>,
    /// The arms, at least one. Without an experiment the first answers everything.
    pub arms: Vec<Arm>,
    /// How requests are split over the arms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentPlan>,
    /// Asked where an arm's own endpoint cannot answer, before the fallback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Arm>,
    /// Asked beside the arm that answers; their answers are recorded and never leave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<Arm>,
    /// How endpoints are called.
    #[serde(default)]
    pub calling: EndpointCalling,
    /// What is shown to the rider. The prediction itself where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<PromisePolicy>,
    /// Recalibration of what endpoints predict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
    /// What evaluations tell apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationPlan>,
    /// Limits on requests.
    pub limits: Limits,
    /// When the record is written.
    pub archive: ArchiveMode,
    /// Whether the evaluator goes back to the release before by itself, where a guardrail of the experiment is worse than with
    /// the control by always-valid evidence of this very release.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_rollback: bool,
    /// The ramp that its experiment is a step of: the evaluator goes on to the next step by itself, by evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
}

// Serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
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

/// Limits on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most candidates in one request.
    pub max_candidates: usize,
    /// The time for an answer where the caller sets none, milliseconds; at least 10.
    pub default_deadline_ms: u32,
}

/// When the record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveMode {
    /// Before the response leaves: an answer that was seen has a record.
    #[default]
    BeforeResponse,
    /// After the response: faster by one PUT. A process that is killed between the two loses the record.
    AfterResponse,
}

/// The least time for an answer that a release may set where the caller sets none.
const MIN_DEFAULT_DEADLINE_MS: u32 = 10;

impl Release {
    /// A release without experiment, second endpoint, shadows or promise, with the default way of calling.
    pub fn new(
        model: ModelName,
        created_at: Timestamp,
        spec: FeatureSpecSource,
        arms: Vec<Arm>,
        limits: Limits,
    ) -> Self {
        Self {
            model,
            created_at,
            spec,
            lookups: BTreeMap::new(),
            arms,
            experiment: None,
            second: None,
            shadows: Vec::new(),
            calling: EndpointCalling::default(),
            promise: None,
            correction: None,
            evaluation: None,
            limits,
            archive: ArchiveMode::BeforeResponse,
            auto_rollback: false,
            ramp: None,
        }
    }

    /// The document's bytes: canonical, since fields have one order and maps are sorted.
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
        if self.limits.default_deadline_ms < MIN_DEFAULT_DEADLINE_MS {
            return invalid(format!(
                "limits.default_deadline_ms is {}; in less than {MIN_DEFAULT_DEADLINE_MS} ms no endpoint can be asked and no record kept",
                self.limits.default_deadline_ms
            ));
        }
        if let Some((name, hash)) = self.lookups.iter().find(|(_, hash)| ReleaseId::try_from((*hash).clone()).is_err())
        {
            return invalid(format!("lookup table `{name}` is pinned to `{hash}`, which is no SHA-256"));
        }
        if let Some(name) = self.lookups.keys().find(|name| !is_lookup_name(name)) {
            return invalid(format!("`{name}` cannot be the name of a lookup table: it is a part of keys"));
        }
        for (index, shadow) in self.shadows.iter().enumerate() {
            if self.arms.iter().any(|arm| arm.name == shadow.name) {
                return invalid(format!("`{}` is an arm and a shadow", shadow.name));
            }
            // Its records are told apart by its name.
            if self.shadows[..index].iter().any(|other| other.name == shadow.name) {
                return invalid(format!("two shadows are named `{}`", shadow.name));
            }
        }
        if self.calling.max_tries == 0 {
            return invalid("calling.max_tries is 0".to_owned());
        }
        if self.calling.max_body_bytes == 0 || self.calling.max_body_bytes > MAX_CALL_BYTES {
            return invalid(format!("calling.max_body_bytes must lie within 1 and {MAX_CALL_BYTES}"));
        }
        if let Some(problem) = self.promise.as_ref().and_then(PromisePolicy::problem) {
            return invalid(problem);
        }
        if let Some(problem) = self.correction.as_ref().and_then(Correction::problem) {
            return invalid(problem);
        }
        if let Some(problem) = self.evaluation.as_ref().and_then(EvaluationPlan::problem) {
            return invalid(problem);
        }
        if let Some(problem) = self.ramp.as_ref().and_then(|ramp| ramp.problem(self)) {
            return invalid(problem);
        }
        if let Some(experiment) = &self.experiment {
            if let Some(problem) = experiment.problem(&self.arms) {
                return invalid(problem);
            }
        } else if self.auto_rollback {
            return invalid("auto_rollback needs an experiment whose guardrails tell when to go back".to_owned());
        } else if self.arms.len() > 1 {
            return invalid("several arms need an experiment that splits requests over them".to_owned());
        }
        Ok(())
    }
}

/// Of a-z, 0-9 and `_`, beginning with a letter: as a feature spec declares it.
fn is_lookup_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
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
            experiment: Some(ExperimentPlan::new("deeper-trees", vec![0.5, 0.5])),
            ..Release::new(
                "pickup-eta".parse().unwrap(),
                "2026-01-01T00:00:00Z".parse().unwrap(),
                FeatureSpecSource { hash: "0".repeat(64), toml: String::new() },
                vec![arm("control"), arm("treatment")],
                Limits { max_candidates: 200, default_deadline_ms: 500 },
            )
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
        assert_eq!(Release { auto_rollback: true, ..release() }.validate(), Ok(()));
        let one_arm = vec![release().arms.remove(0)];
        let alone = Release { experiment: None, arms: one_arm, auto_rollback: true, ..release() };
        assert!(alone.validate().is_err());
        let experiment = |plan: ExperimentPlan| Release { experiment: Some(plan), ..release() };
        let weights = |weights: Vec<f64>| experiment(ExperimentPlan::new("x", weights));
        assert!(Release { arms: vec![], ..release() }.validate().is_err());
        let deadline = |ms| Release { limits: Limits { default_deadline_ms: ms, ..release().limits }, ..release() };
        assert!(deadline(MIN_DEFAULT_DEADLINE_MS).validate().is_ok());
        assert!(deadline(MIN_DEFAULT_DEADLINE_MS - 1).validate().is_err());
        assert!(Release { experiment: None, ..release() }.validate().is_err());
        assert!(weights(vec![1.0]).validate().is_err());
        assert!(weights(vec![0.6, 0.6]).validate().is_err());
        assert!(weights(vec![1.5, -0.5]).validate().is_err());
        assert!(weights(vec![f64::NAN, 0.5]).validate().is_err());
        let halves = || ExperimentPlan::new("x", vec![0.5, 0.5]);
        assert_eq!(experiment(ExperimentPlan { coverage: 0.1, ..halves() }).validate(), Ok(()));
        assert!(experiment(ExperimentPlan { coverage: 1.1, ..halves() }).validate().is_err());
        let forced = |arm: &str| BTreeMap::from([("qa".parse().unwrap(), arm.to_owned())]);
        assert_eq!(experiment(ExperimentPlan { forced: forced("control"), ..halves() }).validate(), Ok(()));
        assert!(experiment(ExperimentPlan { forced: forced("other"), ..halves() }).validate().is_err());
        let randomise = Randomisation::Switchback { slot_s: 1800, carry_over_s: 1800, zone_input: None };
        assert!(experiment(ExperimentPlan { randomise, ..halves() }).validate().is_err());
        let part = |start, end| Some(NamespacePart { id: "eta".to_owned(), start, end });
        assert_eq!(experiment(ExperimentPlan { namespace: part(0.5, 1.0), ..halves() }).validate(), Ok(()));
        assert!(experiment(ExperimentPlan { namespace: part(0.5, 0.5), ..halves() }).validate().is_err());
        let lookups = |hash: &str| BTreeMap::from([("drives".to_owned(), hash.to_owned())]);
        assert_eq!(Release { lookups: lookups(&"0".repeat(64)), ..release() }.validate(), Ok(()));
        assert!(Release { lookups: lookups("latest"), ..release() }.validate().is_err());
        let elsewhere = BTreeMap::from([("../releases".to_owned(), "0".repeat(64))]);
        assert!(Release { lookups: elsewhere, ..release() }.validate().is_err());
        let shadow = |name: &str| vec![Arm { name: name.to_owned(), ..release().arms[0].clone() }];
        assert_eq!(Release { shadows: shadow("challenger"), ..release() }.validate(), Ok(()));
        assert!(Release { shadows: shadow("control"), ..release() }.validate().is_err());
        assert!(Release { shadows: [shadow("a"), shadow("a")].concat(), ..release() }.validate().is_err());
        let calling = |calling: EndpointCalling| Release { calling, ..release() };
        assert!(calling(EndpointCalling { max_tries: 0, ..EndpointCalling::default() }).validate().is_err());
        assert!(calling(EndpointCalling { max_body_bytes: 7 << 20, ..EndpointCalling::default() }).validate().is_err());
        let promise = |points: &[(f64, f64)]| Release {
            promise: Some(PromisePolicy {
                calibration: points
                    .iter()
                    .map(|&(probability, residual)| ResidualQuantile { probability, residual })
                    .collect(),
                interval: 0.8,
                late_cost: 3.0,
                early_cost: 1.0,
                damping: None,
            }),
            ..release()
        };
        assert_eq!(promise(&[(0.1, -60.0), (0.9, 90.0)]).validate(), Ok(()));
        assert!(promise(&[]).validate().is_err());
        assert!(promise(&[(0.9, -60.0), (0.1, 90.0)]).validate().is_err());
    }
}
