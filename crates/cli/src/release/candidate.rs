//! The release that a model's folder is.

use std::collections::BTreeMap;

use cloud::endpoint::{DescribeEndpoint, EndpointDescription};
use domain::{Arm, FeatureSpecSource, Release};
use jiff::Timestamp;

use crate::{
    error::CliError,
    model_folder::{ArmPlan, ModelFolder},
    training::ModelVersions,
};

/// Stands for the version of a model that cannot be found out. It is never published: a check fails as well.
const UNKNOWN: &str = "unknown";

/// The release of a model's folder, over these model versions.
pub(crate) fn release_of(model: &ModelFolder, versions: &ModelVersions, created_at: Timestamp) -> Release {
    let arm = |arm: &ArmPlan| Arm {
        name: arm.name.clone(),
        endpoint: model.release.endpoint.clone(),
        variant: arm.variant.clone(),
        model_version: versions.get(&arm.variant).cloned().unwrap_or_else(|| UNKNOWN.to_owned()),
    };
    let arms = model.release.arms.iter().map(arm).collect();
    let spec = FeatureSpecSource { hash: model.plan.hash().to_owned(), toml: model.features_toml.clone() };
    Release {
        experiment: model.release.experiment.clone(),
        shadows: model.release.shadows.iter().map(arm).collect(),
        promise: model.release.promise.clone(),
        archive: model.release.archive,
        ..Release::new(model.name.clone(), created_at, spec, arms, model.release.limits)
    }
}

/// The model version behind each arm's variant: as `named`, else as release.toml says, else what the variant serves now.
///
/// # Errors
/// A name for a variant that no arm has, or a variant whose model cannot be told.
pub(crate) async fn versions(
    model: &ModelFolder,
    named: &BTreeMap<String, String>,
    endpoints: &dyn DescribeEndpoint,
) -> Result<ModelVersions, CliError> {
    let arms: Vec<&ArmPlan> = model.release.arms.iter().chain(&model.release.shadows).collect();
    if let Some(unknown) = named.keys().find(|variant| arms.iter().all(|arm| arm.variant != **variant)) {
        let variants: Vec<&str> = arms.iter().map(|arm| arm.variant.as_str()).collect();
        let what = format!("--model-version: no arm has the variant `{unknown}`; there are: {}", variants.join(", "));
        return Err(CliError::Unexpected(what));
    }
    let mut versions = ModelVersions::new();
    let mut described = None;
    for arm in arms {
        let told = named.get(&arm.variant).or(arm.model_version.as_ref());
        if let Some(told) = told {
            versions.insert(arm.variant.clone(), told.clone());
            continue;
        }
        if described.is_none() {
            // An endpoint that cannot be described is for the checks to tell.
            described = Some(endpoints.describe_endpoint(&model.release.endpoint).await.ok().flatten());
        }
        if let Some(version) = served(described.as_ref().and_then(Option::as_ref), &arm.variant)? {
            versions.insert(arm.variant.clone(), version);
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
