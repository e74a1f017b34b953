//! What drift is told against: the training baseline of the release in force, and its models' held-out baselines.

use cloud::object_store::GetObject;
use domain::{ModelName, Release, digest::sha256_hex, lake};
use evaluation::{
    EvaluationError,
    drift::{ModelBaseline, TrainingBaseline},
};
use futures::{StreamExt, TryStreamExt, stream};
use lambda_runtime::tracing::warn;

use crate::EvaluatorError;

/// Objects read at the same time.
const CONCURRENCY: usize = 8;

/// A baseline, with the digest that its counts are kept under.
#[derive(Debug, Clone)]
pub struct Kept<B> {
    /// SHA-256 of the document.
    pub digest: String,
    /// The document.
    pub baseline: B,
}

/// What drift is told against.
#[derive(Debug, Clone, Default)]
pub struct KeptBaselines {
    /// The training view's distributions; `None` where training left none.
    pub training: Option<Kept<TrainingBaseline>>,
    /// Of each model version of the release's arms that has one: answers and errors on held-out rows.
    pub models: Vec<Kept<ModelBaseline>>,
}

impl KeptBaselines {
    /// One digest of all; `None` without any.
    pub(crate) fn digest(&self) -> Option<String> {
        let training = self.training.iter().map(|kept| kept.digest.as_str());
        let digests: Vec<&str> = training.chain(self.models.iter().map(|kept| kept.digest.as_str())).collect();
        match digests[..] {
            [] => None,
            [only] => Some(only.to_owned()),
            _ => Some(sha256_hex(digests.join(" ").as_bytes())),
        }
    }
}

/// The baselines of the release in force. One that cannot be read is left out with a warning.
///
/// # Errors
/// A lake that does not answer.
pub async fn read_baselines<S: GetObject>(
    lake: &S,
    model: &ModelName,
    release: Option<&Release>,
) -> Result<KeptBaselines, EvaluatorError> {
    let Some(release) = release else { return Ok(KeptBaselines::default()) };
    let key = lake::training_baseline(model, &release.spec.hash);
    let training = read(lake, key, TrainingBaseline::from_json).await?;
    let mut versions: Vec<&str> = release.arms.iter().map(|arm| arm.model_version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let models: Vec<Option<Kept<ModelBaseline>>> = stream::iter(versions)
        .map(|version| read(lake, lake::model_baseline(model, version), ModelBaseline::from_json))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok(KeptBaselines { training, models: models.into_iter().flatten().collect() })
}

async fn read<S: GetObject, B>(
    lake: &S,
    key: String,
    parse: impl Fn(&[u8]) -> Result<B, EvaluationError>,
) -> Result<Option<Kept<B>>, EvaluatorError> {
    let Some(object) = lake.get_object(&key, None).await?.found() else { return Ok(None) };
    match parse(&object.bytes) {
        Ok(baseline) => Ok(Some(Kept { digest: sha256_hex(&object.bytes), baseline })),
        Err(error) => {
            warn!(key, %error, "no drift is told: the baseline cannot be read");
            Ok(None)
        }
    }
}
