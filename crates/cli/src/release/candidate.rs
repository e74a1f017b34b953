//! The release that a model's folder is.

use std::collections::BTreeMap;

use cloud::endpoint::{DescribeEndpoint, EndpointDescription};
use domain::{Arm, FeatureSpecSource, Release};
use jiff::Timestamp;

use crate::{
    error::CliError,
    model_folder::{ArmPlan, ModelFolder},
    train_and_deploy::ModelVersions,
};

/// Stands for the version of a model that cannot be found out. It is never published: a check fails as well.
const UNKNOWN: &str = "unknown";

/// A variant that the release asks: an arm's, a shadow's, or the second endpoint's.
struct Asked<'a> {
    name: &'a str,
    endpoint: &'a str,
    variant: &'a str,
    /// As release.toml says.
    model_version: Option<&'a String>,
    /// What `--model-version` calls it: the variant, with its endpoint where that is not the arms'.
    key: String,
}

impl<'a> Asked<'a> {
    fn of_arm(model: &'a ModelFolder, arm: &'a ArmPlan) -> Self {
        Self {
            name: &arm.name,
            endpoint: &model.release.endpoint,
            variant: &arm.variant,
            model_version: arm.model_version.as_ref(),
            key: arm.variant.clone(),
        }
    }
}

/// All that the folder's release asks: its arms, its shadows, its second endpoint.
fn asked(model: &ModelFolder) -> (Vec<Asked<'_>>, Vec<Asked<'_>>, Option<Asked<'_>>) {
    let second = model.release.second.as_ref().map(|second| Asked {
        name: "second",
        endpoint: second.endpoint.as_ref().unwrap_or(&model.release.endpoint),
        variant: &second.variant,
        model_version: second.model_version.as_ref(),
        key: match &second.endpoint {
            Some(endpoint) => format!("{endpoint}/{}", second.variant),
            None => second.variant.clone(),
        },
    });
    let of_arm = |arm| Asked::of_arm(model, arm);
    (model.release.arms.iter().map(of_arm).collect(), model.release.shadows.iter().map(of_arm).collect(), second)
}

/// The release of a model's folder, over these model versions.
pub(crate) fn release_of(model: &ModelFolder, versions: &ModelVersions, created_at: Timestamp) -> Release {
    let arm = |asked: Asked<'_>| Arm {
        name: asked.name.to_owned(),
        endpoint: asked.endpoint.to_owned(),
        variant: asked.variant.to_owned(),
        model_version: versions.get(&asked.key).cloned().unwrap_or_else(|| UNKNOWN.to_owned()),
    };
    let (arms, shadows, second) = asked(model);
    let spec = FeatureSpecSource { hash: model.plan.hash().to_owned(), toml: model.features_toml.clone() };
    Release {
        experiment: model.release.experiment.clone(),
        lookups: model.plan.lookups().map(|(name, sha256)| (name.to_owned(), sha256.to_owned())).collect(),
        shadows: shadows.into_iter().map(arm).collect(),
        second: second.map(arm),
        calling: model.release.calling.clone(),
        promise: model.promise(),
        correction: model.calibration.as_ref().and_then(|calibration| calibration.correction.clone()),
        evaluation: model.release.evaluation.clone(),
        archive: model.release.archive,
        auto_rollback: model.release.auto_rollback,
        ..Release::new(model.name.clone(), created_at, spec, arms.into_iter().map(arm).collect(), model.release.limits)
    }
}

/// The model version behind each variant that is asked: as `named`, else as release.toml says, else what the variant serves
/// now.
///
/// # Errors
/// A name for a variant that is not asked, or a variant whose model cannot be told.
pub(crate) async fn versions(
    model: &ModelFolder,
    named: &BTreeMap<String, String>,
    endpoints: &dyn DescribeEndpoint,
) -> Result<ModelVersions, CliError> {
    let (arms, shadows, second) = asked(model);
    let all: Vec<Asked<'_>> = arms.into_iter().chain(shadows).chain(second).collect();
    if let Some(unknown) = named.keys().find(|variant| all.iter().all(|asked| asked.key != **variant)) {
        let variants: Vec<&str> = all.iter().map(|asked| asked.key.as_str()).collect();
        let what = format!("--model-version: nothing asks the variant `{unknown}`; there are: {}", variants.join(", "));
        return Err(CliError::Unexpected(what));
    }
    let mut versions = ModelVersions::new();
    let mut described = BTreeMap::new();
    for asked in &all {
        if let Some(told) = named.get(&asked.key).or(asked.model_version) {
            versions.insert(asked.key.clone(), told.clone());
            continue;
        }
        if !described.contains_key(asked.endpoint) {
            // An endpoint that cannot be described is for the checks to tell.
            described.insert(asked.endpoint, endpoints.describe_endpoint(asked.endpoint).await.ok().flatten());
        }
        if let Some(version) = served(described.get(asked.endpoint).and_then(Option::as_ref), asked.variant)? {
            versions.insert(asked.key.clone(), version);
        }
    }
    Ok(versions)
}

fn served(endpoint: Option<&EndpointDescription>, variant: &str) -> Result<Option<String>, CliError> {
    let Some(found) = endpoint.and_then(|endpoint| endpoint.variant(variant)) else { return Ok(None) };
    match &found.model {
        Some(model) => Ok(Some(model.clone())),
        None => Err(CliError::Unexpected(format!(
            "the endpoint does not say which model its variant `{variant}` serves; name it with --model-version \
             {variant}=NAME"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use cloud::{endpoint::ProductionVariant, sagemaker_control::ControlError};

    use super::*;

    struct Endpoint;

    #[async_trait]
    impl DescribeEndpoint for Endpoint {
        async fn describe_endpoint(&self, endpoint: &str) -> Result<Option<EndpointDescription>, ControlError> {
            assert_eq!(endpoint, "pickup-eta");
            let variant = |name: &str, model: Option<&str>| ProductionVariant {
                name: name.to_owned(),
                model: model.map(str::to_owned),
                is_serverless: false,
            };
            let variants = vec![variant("shallow", Some("served-shallow")), variant("deep", None)];
            Ok(Some(EndpointDescription { status: "InService".to_owned(), variants }))
        }
    }

    fn folder() -> ModelFolder {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta");
        ModelFolder::read(Some(&folder)).unwrap()
    }

    #[tokio::test]
    async fn a_version_is_named_or_told_by_the_folder_or_served() {
        let mut model = folder();
        let named = |variant: &str| BTreeMap::from([(variant.to_owned(), "named".to_owned())]);
        let found = versions(&model, &named("deep"), &Endpoint).await.unwrap();
        assert_eq!((found["shallow"].as_str(), found["deep"].as_str()), ("served-shallow", "named"));
        let release = release_of(&model, &found, "2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!((release.arms[0].model_version.as_str(), release.validate()), ("served-shallow", Ok(())));
        assert!(versions(&model, &named("other"), &Endpoint).await.is_err());
        let told = versions(&model, &BTreeMap::new(), &Endpoint).await.unwrap_err().to_string();
        assert!(told.contains("--model-version deep=NAME"), "{told}");
        model.release.arms[1].model_version = Some("written".to_owned());
        assert_eq!(versions(&model, &BTreeMap::new(), &Endpoint).await.unwrap()["deep"], "written");
        assert_eq!(versions(&model, &named("deep"), &Endpoint).await.unwrap()["deep"], "named");
    }
}
