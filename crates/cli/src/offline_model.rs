//! A registered model, asked by its artefact: its container is started as an endpoint's is, where no endpoint serves it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use ::features::FeatureTable;
use bytes::Bytes;
use cloud::{endpoint::Answer, object_store::GetObject, s3::S3Bucket};
use domain::{EndpointCalling, ModelVersion, digest::sha256_hex, lake as layout};
use endpoint_rows::EndpointRows;
use local::{ModelContainer, ModelContainerOptions};

use crate::{error::CliError, programs};

/// Names the Python of models in script mode.
const PYTHON: &str = "MANNEN_PYTHON";
/// Images whose program this one holds: their repository's name ends with it.
const OWN_IMAGE: &str = "reference-model";

/// A model's container on this machine.
pub(crate) struct OfflineModel {
    version: String,
    calling: EndpointCalling,
    container: ModelContainer,
    _folder: Scratch,
}

impl OfflineModel {
    /// Starts the container of a registered version. Its answers are the bits that an endpoint's would be: the program and the
    /// formats are the same.
    ///
    /// # Errors
    /// The artefact is not in the lake, or is not the one that was registered; or there is no program for the image.
    pub(crate) async fn start(lake: &S3Bucket, version: &ModelVersion) -> Result<Self, CliError> {
        let artefact = artefact(lake, version).await?;
        let program = std::env::current_exe().map_err(|error| CliError::io("find this program", error))?;
        let own = |role: &str| vec![program.to_string_lossy().into_owned(), role.to_owned()];
        let image = &version.lineage.image;
        let mut images = BTreeMap::new();
        if is_own(image) {
            images.insert(image.clone(), own(programs::MODEL));
        }
        let folder = Scratch::new()?;
        let options = ModelContainerOptions {
            images,
            child_wrapper: Some(own(programs::CHILD)),
            python: python(),
            folder: folder.0.clone(),
            start_timeout: Duration::from_mins(1),
        };
        let (mut environment, mut code) = (BTreeMap::new(), None);
        if let Some(script) = &version.lineage.code.program {
            environment.insert("SAGEMAKER_PROGRAM".to_owned(), script.clone());
            code = Some(training_code(lake, version).await?);
        }
        let container = ModelContainer::start(options, image, environment, artefact, code).await;
        Ok(Self {
            version: version.version.clone(),
            calling: EndpointCalling::default(),
            container: container?,
            _folder: folder,
        })
    }

    /// One number for each row, as the container says it: not yet within the prediction's bounds.
    ///
    /// # Errors
    /// It does not answer, or not with a number for each row.
    pub(crate) async fn predict(&self, features: &FeatureTable) -> Result<Vec<f64>, CliError> {
        let mut predictions = Vec::with_capacity(features.rows());
        for part in EndpointRows::of(features, &self.calling).parts {
            let (content_type, accept) = (self.calling.content_type.media_type(), self.calling.accept.media_type());
            let (kind, body) = self.container.invoke(content_type, accept, part.body.to_vec()).await?;
            let answer = Answer { body: body.into(), content_type: kind, invoked_variant: None };
            let numbers = endpoint_rows::read(&answer, self.calling.accept, part.rows);
            let failed = |fault: endpoint_rows::AnswerFault| {
                CliError::Unexpected(format!("model version {} answered with {}", self.version, fault.reason()))
            };
            predictions.extend(numbers.map_err(failed)?);
        }
        Ok(predictions)
    }

    /// Ends the container.
    pub(crate) async fn stop(self) {
        self.container.stop().await;
    }
}

/// The Python of models in script mode.
pub(crate) fn python() -> PathBuf {
    std::env::var_os(PYTHON).map_or_else(|| "python3".into(), PathBuf::from)
}

fn is_own(image: &str) -> bool {
    let repository = image.rsplit('/').next().unwrap_or_default();
    repository.split([':', '@']).next() == Some(OWN_IMAGE)
}

/// The artefact's bytes, which must be those that were registered.
async fn artefact(lake: &S3Bucket, version: &ModelVersion) -> Result<Vec<u8>, CliError> {
    let uri = &version.artefact;
    let key = uri.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    let Some((bucket, key)) = key else {
        return Err(CliError::Unexpected(format!(
            "the artefact of {} is at {uri:?}, no s3:// address",
            version.version
        )));
    };
    if bucket != lake.name() {
        let what = format!("the artefact of {} is at {uri}, not in the lake {}", version.version, lake.name());
        return Err(CliError::Unexpected(format!(
            "{what}; ask the endpoint that serves it with --endpoint and --variant"
        )));
    }
    let found = lake.get_object(key, None).await?.found();
    let object = found.ok_or_else(|| CliError::Unexpected(format!("the artefact {uri} is not there any more")))?;
    let bytes: Bytes = object.bytes;
    match &version.artefact_sha256 {
        Some(registered) if *registered != sha256_hex(&bytes) => Err(CliError::Unexpected(format!(
            "the artefact {uri} is not the one that was registered: its SHA-256 differs"
        ))),
        _ => Ok(bytes.to_vec()),
    }
}

/// The code that trained a model in script mode, which also serves it.
async fn training_code(lake: &S3Bucket, version: &ModelVersion) -> Result<Vec<u8>, CliError> {
    let key = layout::training_code(&version.model, &version.lineage.code.address);
    let found = lake.get_object(&key, None).await?.found();
    let missing = || CliError::Unexpected(format!("the code of {} is not in the lake: {key}", version.version));
    Ok(found.ok_or_else(missing)?.bytes.to_vec())
}

/// A folder that goes with its owner.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self, CliError> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mannen-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        // A folder that is there already may be another user's.
        std::fs::create_dir(&folder).map_err(|error| CliError::io(format!("make `{}`", folder.display()), error))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_images_are_known_by_their_repository() {
        for image in ["mannen/reference-model:latest", "1.dkr.ecr.eu-west-1.amazonaws.com/reference-model@sha256:0"] {
            assert!(is_own(image), "{image}");
        }
        for image in ["sagemaker-xgboost:3.0-5", "reference-model/other:1", "my-reference-model:1", ""] {
            assert!(!is_own(image), "{image}");
        }
    }

    #[test]
    fn a_scratch_folder_goes_with_its_owner() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        std::fs::write(path.join("file"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
