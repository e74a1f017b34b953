use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DomainError, FeatureSpecSource, ModelName, digest::sha256_hex};

/// A finished model, registered: what it is, and all that it was made of. Immutable, `models/<model>/versions/<version>.json`.
///
/// Its state (offered, approved, in force, retired) is not here: that follows from what was written after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model.
    pub model: ModelName,
    /// The version: its training job's name, which follows from the inputs.
    pub version: String,
    /// The variant of `training.toml` that it is.
    pub variant: String,
    /// What it was made of.
    pub lineage: Lineage,
    /// When the training job ended, UTC.
    pub trained_at: Timestamp,
    /// Its artefact, `s3://bucket/….tar.gz`.
    pub artefact: String,
    /// SHA-256 of the artefact's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artefact_sha256: Option<String>,
    /// What the training job measured, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Seconds of training, and seconds that are paid for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_s: Option<f64>,
    /// Seconds that are paid for: less where spot instances trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billable_s: Option<f64>,
    /// The model package in SageMaker's own registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_package: Option<String>,
}

/// Everything that decides what a training job makes. Two equal lineages are the same job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The data.
    pub dataset: DatasetVersion,
    /// The feature spec.
    pub spec: FeatureSpecSource,
    /// The SHA-256 of each lookup table by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lookups: BTreeMap<String, String>,
    /// The training view that the two make: its address.
    pub view: String,
    /// The training code.
    pub code: CodeVersion,
    /// The container image, with its digest where the registry gave one.
    pub image: String,
    /// Hyperparameters, as the training job took them; the seed is among them.
    pub hyperparameters: BTreeMap<String, String>,
}

impl Lineage {
    /// The digest of all that is in it: 64 hexadecimal digits. The git commit is not: it names code that is in it already.
    pub fn digest(&self) -> String {
        let code = CodeVersion { commit: None, ..self.code.clone() };
        let dataset = DatasetVersion { query_sha256: None, as_of: None, ..self.dataset.clone() };
        let identity = Self { dataset, code, ..self.clone() };
        sha256_hex(&serde_json::to_vec(&identity).unwrap_or_default())
    }
}

/// A dataset version that was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetVersion {
    /// The dataset.
    pub name: ModelName,
    /// The version's address: a SHA-256.
    pub address: String,
    /// SHA-256 of the query that made it; none where it was made of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_sha256: Option<String>,
    /// The state of the source tables, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// Training code, addressed by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeVersion {
    /// SHA-256 of the archive before it is compressed: what `gunzip -c | sha256sum` gives.
    pub address: String,
    /// The git commit that it was taken from, with `-dirty` where files differed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The program in it that a script-mode container runs; none where the image has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// The longest name of a training job.
const MAX_JOB_NAME: usize = 63;
/// Hexadecimal digits of a version.
const VERSION_DIGITS: usize = 12;

/// The version, which is the training job's name: `<model>-<variant>-<twelve digits of the lineage>`. The same lineage is the
/// same name, so that SageMaker itself refuses a second job for it. Too long names lose letters of model and variant.
///
/// # Errors
/// The variant is no name that SageMaker takes: letters, digits and hyphens.
pub fn version_of(model: &ModelName, variant: &str, lineage: &Lineage) -> Result<String, DomainError> {
    let good = !variant.is_empty()
        && variant.len() <= MAX_JOB_NAME
        && variant.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !variant.starts_with('-')
        && !variant.ends_with('-');
    if !good {
        return Err(DomainError::InvalidName {
            what: "variant",
            value: variant.to_owned(),
            expected: "1 to 63 letters, digits and hyphens, no hyphen at either end",
        });
    }
    // Two variants with equal hyperparameters are two models all the same: they may serve side by side.
    let mut digest = sha256_hex(format!("{variant} {}", lineage.digest()).as_bytes());
    digest.truncate(VERSION_DIGITS);
    let mut name = format!("{model}-{variant}");
    name.truncate(MAX_JOB_NAME - VERSION_DIGITS - 1);
    Ok(format!("{}-{digest}", name.trim_matches('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage() -> Lineage {
        Lineage {
            dataset: DatasetVersion {
                name: "pickup-eta".parse().unwrap(),
                address: "a".repeat(64),
                query_sha256: None,
                as_of: None,
            },
            spec: FeatureSpecSource { hash: "b".repeat(64), toml: String::new() },
            lookups: BTreeMap::new(),
            view: "c".repeat(64),
            code: CodeVersion { address: "d".repeat(64), commit: Some("e".repeat(40)), program: None },
            image: "mannen/reference-model:latest".to_owned(),
            hyperparameters: BTreeMap::from([("seed".to_owned(), "7".to_owned())]),
        }
    }

    #[test]
    fn the_same_inputs_are_the_same_version_and_any_other_input_another() {
        let model: ModelName = "pickup-eta".parse().unwrap();
        let name = |variant: &str, lineage: &Lineage| version_of(&model, variant, lineage).unwrap();
        let first = name("deep", &lineage());
        assert_eq!(first, name("deep", &lineage()));
        let of_commit = Lineage { code: CodeVersion { commit: None, ..lineage().code }, ..lineage() };
        assert_eq!(first, name("deep", &of_commit));
        assert_ne!(first, name("shallow", &lineage()));
        let code = CodeVersion { address: "0".repeat(64), ..lineage().code };
        for other in [
            Lineage { code, ..lineage() },
            Lineage { view: String::new(), ..lineage() },
            Lineage { image: String::new(), ..lineage() },
            Lineage { hyperparameters: BTreeMap::new(), ..lineage() },
        ] {
            assert_ne!(first, name("deep", &other));
        }
    }

    #[test]
    fn a_version_is_a_name_that_sagemaker_takes() {
        let model: ModelName = "a-model-of-a-name-that-is-as-long-as-they-come-and-longer".parse().unwrap();
        let name = version_of(&model, "a-variant-with-a-long-name", &lineage()).unwrap();
        assert!(name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        assert!(version_of(&model, "-deep", &lineage()).is_err());
        assert!(version_of(&model, "", &lineage()).is_err());
    }
}
