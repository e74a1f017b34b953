//! A version behind an endpoint, and in the next release.

use std::time::Duration;

use cloud::sagemaker_control::{CallSageMaker, ControlError};
use domain::{Arm, ModelVersion, RampPlan, Release, digest::sha256_hex};
use serde_json::{Value, json};

use crate::{TrainingError, held_out::put_model};

/// How often an endpoint is looked at.
const POLL: Duration = Duration::from_millis(200);
/// An endpoint's update starts instances: minutes.
const PATIENCE: Duration = Duration::from_mins(30);
/// How many polls at the first, short pace.
const QUICK_POLLS: u32 = 50;

/// How a version comes into the next release.
#[derive(Debug, Clone, PartialEq)]
pub enum DeployAs {
    /// Beside the control, its share rising by evidence.
    Ramp(RampPlan),
    /// Asked beside the control; never answers.
    Shadow,
    /// In place of everything.
    Only,
}

/// Where a version is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The endpoint.
    pub endpoint: String,
    /// Such as `ml.m5.large`.
    pub instance_type: String,
    /// The role that the model's container takes.
    pub role_arn: String,
    /// Variants that must stay: those of the release in force.
    pub keep: Vec<String>,
}

/// The name of a version's production variant: the variant of `training.toml` with the version's last digits, since two versions
/// of one variant may serve side by side.
pub fn variant_name(version: &ModelVersion) -> String {
    let digits = version.version.rsplit('-').find(|part| part.len() >= 8).unwrap_or(&version.version);
    let mut name = version.variant.clone();
    name.truncate(63 - digits.len() - 1);
    format!("{}-{digits}", name.trim_end_matches('-'))
}

/// Puts versions behind the endpoint, each as a variant of its own beside those that stay, and waits until all are in service. The
/// variants that nobody uses any more go with the same update. Can be repeated.
///
/// # Errors
/// SageMaker, or an endpoint that does not come into service; what was in service stays.
pub async fn deploy<C: CallSageMaker + ?Sized>(
    sagemaker: &C,
    versions: &[(String, &ModelVersion)],
    deployment: &Deployment,
) -> Result<(), TrainingError> {
    for (_, version) in versions {
        put_model(sagemaker, version, &deployment.role_arn).await?;
    }
    let endpoint = &deployment.endpoint;
    let current = wait_for_rest(sagemaker, endpoint).await?;
    let mut variants: Vec<Value> = Vec::new();
    if let Some(config) = &current {
        let described =
            sagemaker.call_sagemaker("DescribeEndpointConfig", &json!({"EndpointConfigName": config})).await?;
        variants = described["ProductionVariants"].as_array().cloned().unwrap_or_default();
    }
    let is = |found: &Value, name: &str, version: &str| found["VariantName"] == name && found["ModelName"] == version;
    variants.retain(|found| {
        let name = found["VariantName"].as_str().unwrap_or_default();
        let replaced = versions.iter().any(|(variant, _)| variant == name);
        let stays = versions.iter().any(|(variant, version)| is(found, variant, &version.version));
        stays || (!replaced && deployment.keep.iter().any(|kept| kept == name))
    });
    for (variant, version) in versions {
        if !variants.iter().any(|found| is(found, variant, &version.version)) {
            variants.push(json!({
                "VariantName": variant,
                "ModelName": version.version,
                "InstanceType": deployment.instance_type,
                "InitialInstanceCount": 1,
                // Requests name their variant; weights only count for those that do not.
                "InitialVariantWeight": 1.0,
            }));
        }
    }
    let digest = sha256_hex(serde_json::to_vec(&variants).unwrap_or_default().as_slice());
    let mut config = endpoint.clone();
    config.truncate(50);
    let config = format!("{config}-{}", &digest[..12]);
    if current.as_deref() == Some(config.as_str()) {
        return Ok(());
    }
    let request = json!({"EndpointConfigName": config, "ProductionVariants": variants});
    match sagemaker.call_sagemaker("CreateEndpointConfig", &request).await {
        Ok(_) => {}
        Err(ControlError::Refused { message, .. }) if message.contains("already existing") => {}
        Err(error) => return Err(error.into()),
    }
    // Blue/green: the new fleet takes over when all of it serves. (Deployment guardrails with canaries want the same variants
    // before and after; here the release's own ramp is the canary.)
    let operation = if current.is_some() { "UpdateEndpoint" } else { "CreateEndpoint" };
    sagemaker.call_sagemaker(operation, &json!({"EndpointName": endpoint, "EndpointConfigName": config})).await?;
    match wait_for_rest(sagemaker, endpoint).await? {
        Some(found) if found == config => Ok(()),
        _ => Err(failed(endpoint, "the update was rolled back; `aws sagemaker describe-endpoint` tells why")),
    }
}

fn failed(endpoint: &str, detail: impl Into<String>) -> TrainingError {
    TrainingError::Endpoint { endpoint: endpoint.to_owned(), detail: detail.into() }
}

/// The configuration of an endpoint that is in service, once it is; `None` where there is no endpoint.
async fn wait_for_rest<C: CallSageMaker + ?Sized>(
    sagemaker: &C,
    endpoint: &str,
) -> Result<Option<String>, TrainingError> {
    let began = tokio::time::Instant::now();
    let mut polls = 0;
    loop {
        let described = match sagemaker.call_sagemaker("DescribeEndpoint", &json!({"EndpointName": endpoint})).await {
            Ok(described) => described,
            // "Could not find endpoint …"
            Err(ControlError::Refused { kind, .. }) if kind == "ValidationException" => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match described["EndpointStatus"].as_str() {
            Some("InService") => return Ok(described["EndpointConfigName"].as_str().map(str::to_owned)),
            Some("Failed") => {
                let why = described["FailureReason"].as_str().unwrap_or("no reason was given");
                return Err(failed(endpoint, why));
            }
            other if began.elapsed() > PATIENCE => {
                return Err(failed(endpoint, format!("it is {} after {PATIENCE:?}", other.unwrap_or("in no state"))));
            }
            _ => {}
        }
        polls += 1;
        tokio::time::sleep(if polls < QUICK_POLLS { POLL } else { POLL * 25 }).await;
    }
}

/// The release that has the version in it, from the one in force.
///
/// # Errors
/// The version was trained with another feature spec or other lookup tables than the release computes: all arms of a release get
/// the same features.
pub fn next_release(
    current: &Release,
    version: &ModelVersion,
    variant: &str,
    endpoint: &str,
    how: &DeployAs,
) -> Result<Release, TrainingError> {
    let out_of_state =
        |detail: &str| TrainingError::OutOfState { version: version.version.clone(), detail: detail.to_owned() };
    let lineage = &version.lineage;
    let arm = Arm {
        name: "control".to_owned(),
        endpoint: endpoint.to_owned(),
        variant: variant.to_owned(),
        model_version: version.version.clone(),
    };
    let same_features = lineage.spec.hash == current.spec.hash && lineage.lookups == current.lookups;
    if !same_features && *how != DeployAs::Only {
        let detail = "wants other features than the release in force computes, and all arms of a release get the same: \
                      deploy it with `--as only`";
        return Err(out_of_state(detail));
    }
    match how {
        DeployAs::Ramp(plan) => {
            let next = current.with_ramp(arm, format!("ramp-{}", version.version), plan.clone());
            next.ok_or_else(|| out_of_state("cannot be ramped: the release in force has no arm"))
        }
        DeployAs::Shadow => {
            let mut next = current.clone();
            let mut shadow = Arm { name: format!("shadow-{}", version.version), ..arm };
            shadow.name.truncate(63);
            next.shadows.retain(|found| found.name != shadow.name);
            next.shadows.push(shadow);
            Ok(next)
        }
        DeployAs::Only => Ok(Release {
            spec: lineage.spec.clone(),
            lookups: lineage.lookups.clone(),
            arms: vec![arm],
            experiment: None,
            ramp: None,
            auto_rollback: false,
            shadows: Vec::new(),
            correction: None,
            ..current.clone()
        }),
    }
}

#[cfg(test)]
mod tests {
    use domain::{CodeVersion, DatasetVersion, FeatureSpecSource, Limits, Lineage};

    use super::*;

    fn version(spec: &str) -> ModelVersion {
        ModelVersion {
            model: "eta".parse().unwrap(),
            version: "eta-deep-0123456789ab".to_owned(),
            variant: "deep".to_owned(),
            lineage: Lineage {
                dataset: DatasetVersion {
                    name: "eta".parse().unwrap(),
                    address: "a".repeat(64),
                    query_sha256: None,
                    as_of: None,
                },
                spec: FeatureSpecSource { hash: spec.repeat(64), toml: String::new() },
                lookups: std::collections::BTreeMap::default(),
                view: "b".repeat(64),
                code: CodeVersion { address: "c".repeat(64), commit: None, program: None },
                image: "image".to_owned(),
                hyperparameters: std::collections::BTreeMap::default(),
            },
            trained_at: jiff::Timestamp::UNIX_EPOCH,
            artefact: "s3://lake/models/eta/x/output/model.tar.gz".to_owned(),
            artefact_sha256: None,
            metrics: std::collections::BTreeMap::default(),
            training_s: None,
            billable_s: None,
            model_package: None,
        }
    }

    fn release() -> Release {
        let arm = Arm {
            name: "control".to_owned(),
            endpoint: "eta".to_owned(),
            variant: "old".to_owned(),
            model_version: "old-1".to_owned(),
        };
        let spec = FeatureSpecSource { hash: "d".repeat(64), toml: String::new() };
        let limits = Limits { max_candidates: 1, default_deadline_ms: 100 };
        Release::new("eta".parse().unwrap(), jiff::Timestamp::UNIX_EPOCH, spec, vec![arm], limits)
    }

    #[test]
    fn a_variant_is_named_after_its_version() {
        assert_eq!(variant_name(&version("d")), "deep-0123456789ab");
        let again = ModelVersion { version: "eta-deep-0123456789ab-2".to_owned(), ..version("d") };
        assert_eq!(variant_name(&again), "deep-0123456789ab");
    }

    #[test]
    fn a_ramp_has_the_control_and_the_version() {
        let how = DeployAs::Ramp(RampPlan::default());
        let next = next_release(&release(), &version("d"), "deep-1", "eta", &how).unwrap();
        assert_eq!(next.validate(), Ok(()));
        let arms: Vec<&str> = next.arms.iter().map(|arm| arm.model_version.as_str()).collect();
        assert_eq!(arms, ["old-1", "eta-deep-0123456789ab"]);
    }

    #[test]
    fn other_features_are_no_arm_of_the_same_release() {
        let how = DeployAs::Ramp(RampPlan::default());
        let error = next_release(&release(), &version("e"), "deep-1", "eta", &how).unwrap_err();
        assert!(error.to_string().contains("--as only"), "{error}");
        let next = next_release(&release(), &version("e"), "deep-1", "eta", &DeployAs::Only).unwrap();
        assert_eq!((next.validate(), next.spec.hash.as_str()), (Ok(()), "e".repeat(64).as_str()));
    }
}
