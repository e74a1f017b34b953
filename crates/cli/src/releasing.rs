//! Publishing a release: the immutable document first, then the pointer by compare-and-swap.

use cloud::object_store::{GetObject, PutCondition, PutObject, PutOutcome};
use domain::{Arm, FeatureSpecSource, ModelName, Release, ReleaseId, ReleasePointer, lake};
use jiff::Timestamp;

use crate::{
    error::CliError,
    model_folder::{ArmPlan, ModelFolder},
    training::ModelVersions,
};

/// The release of a model's folder, over the models that were trained.
pub(crate) fn release_of(
    model: &ModelFolder,
    versions: &ModelVersions,
    created_at: Timestamp,
) -> Result<Release, CliError> {
    let arm = |arm: &ArmPlan| Arm {
        name: arm.name.clone(),
        endpoint: model.release.endpoint.clone(),
        variant: arm.variant.clone(),
        model_version: versions.get(&arm.variant).cloned().unwrap_or_default(),
    };
    let arms = model.release.arms.iter().map(arm).collect();
    let spec = FeatureSpecSource { hash: model.plan.hash().to_owned(), toml: model.features_toml.clone() };
    let release = Release {
        experiment: model.release.experiment.clone(),
        shadows: model.release.shadows.iter().map(arm).collect(),
        promise: model.release.promise.clone(),
        archive: model.release.archive,
        ..Release::new(model.name.clone(), created_at, spec, arms, model.release.limits)
    };
    release.validate()?;
    release.check_served()?;
    Ok(release)
}

/// Puts `release` in force.
///
/// # Errors
/// Somebody else moved the pointer meanwhile; the document stays, and is harmless.
pub(crate) async fn publish<S: GetObject + PutObject>(
    lake: &S,
    release: &Release,
    now: Timestamp,
) -> Result<ReleaseId, CliError> {
    let id = release.id()?;
    // PreconditionFailed means that the very same document is there already.
    lake.put_object(&lake::release(&release.model, &id), release.to_bytes().into(), PutCondition::IfAbsent).await?;
    let key = lake::release_pointer(&release.model);
    let (previous, condition) = match lake.get_object(&key, None).await?.found() {
        None => (None, PutCondition::IfAbsent),
        Some(object) => (Some(in_force(&release.model, &object.bytes)?), PutCondition::IfMatch(object.etag)),
    };
    let pointer = ReleasePointer { release_id: id.clone(), previous, moved_at: now };
    let bytes = serde_json::to_vec_pretty(&pointer).unwrap_or_default();
    match lake.put_object(&key, bytes.into(), condition).await? {
        PutOutcome::Stored(_) => Ok(id),
        PutOutcome::PreconditionFailed => Err(CliError::Unexpected(format!(
            "another release of `{}` was published at the same moment; look at it, then publish again",
            release.model
        ))),
    }
}

fn in_force(model: &ModelName, pointer: &[u8]) -> Result<ReleaseId, CliError> {
    serde_json::from_slice::<ReleasePointer>(pointer)
        .map(|pointer| pointer.release_id)
        .map_err(|error| CliError::Unexpected(format!("the release pointer of `{model}` cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cloud::memory::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn the_pointer_follows_and_remembers_the_one_before() {
        let model = ModelFolder::read(Some(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta").as_path(),
        ))
        .unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let versions = |deep: &str| BTreeMap::from([("deep".to_owned(), deep.to_owned())]);
        let store = MemoryStore::new();
        let first = publish(&store, &release_of(&model, &versions("1"), now).unwrap(), now).await.unwrap();
        let second = publish(&store, &release_of(&model, &versions("2"), now).unwrap(), now).await.unwrap();
        assert_ne!(first, second);
        let pointer = store.get_object(&lake::release_pointer(&model.name), None).await.unwrap().found().unwrap();
        let pointer: ReleasePointer = serde_json::from_slice(&pointer.bytes).unwrap();
        assert_eq!((pointer.release_id, pointer.previous), (second, Some(first)));
    }
}
