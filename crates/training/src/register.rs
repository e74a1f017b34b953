//! From a finished training job to a registered version, or to a failure that is written down.

use std::collections::BTreeMap;

use cloud::{
    logs::ReadLogTail,
    object_store::{GetObject, GetRange, HeadObject, PutObject, RangeOutcome},
    sagemaker_control::{CallSageMaker, ControlError},
};
use domain::{ModelName, ModelVersion, digest::sha256_hex, lake};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    TrainingError, TrainingOrder,
    launch::submit,
    objects::{put_once, read_json},
};

/// Lines of a failed job's log that are kept.
const LAST_LINES: usize = 20;
/// Where SageMaker's jobs log.
const LOG_GROUP: &str = "/aws/sagemaker/TrainingJobs";
/// Artefacts are hashed in ranges of this size.
const RANGE_BYTES: u64 = 8 << 20;

/// Why a training job made no model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The version that there is not.
    pub version: String,
    /// As SageMaker says it.
    pub reason: String,
    /// The last lines of its log, where they could be had.
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// When, UTC.
    pub failed_at: Timestamp,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Settled {
    /// It runs.
    UnderWay,
    /// It is a registered version.
    Registered(Box<ModelVersion>),
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether that is not written down yet.
        is_new: bool,
    },
}

/// The verbs of the object store that registering needs.
pub trait RegisterStore: GetObject + PutObject + HeadObject + GetRange {}

impl<T: GetObject + PutObject + HeadObject + GetRange> RegisterStore for T {}

/// Looks what became of an order's job, and registers the model that it made. A job that is not there is created: whoever ordered
/// it died before. A failure is the caller's to write down, once it is told.
///
/// # Errors
/// The lake or SageMaker; the next call goes on.
pub async fn settle<S, C>(
    lake: &S,
    sagemaker: &C,
    logs: &dyn ReadLogTail,
    order: &TrainingOrder,
    now: Timestamp,
) -> Result<Settled, TrainingError>
where
    S: RegisterStore,
    C: CallSageMaker + ?Sized,
{
    let (model, version) = (&order.model, &order.version);
    if let Some(registered) = read_json(lake, &lake::model_version(model, version)).await? {
        return Ok(Settled::Registered(Box::new(registered)));
    }
    if let Some(failure) = read_json(lake, &lake::training_failure(model, version)).await? {
        return Ok(Settled::Failed { failure, is_new: false });
    }
    let described = sagemaker.call_sagemaker("DescribeTrainingJob", &json!({"TrainingJobName": version})).await;
    let described = match described {
        Ok(described) => described,
        Err(ControlError::Refused { kind, .. }) if kind == "ValidationException" || kind == "ResourceNotFound" => {
            return Ok(match submit(sagemaker, order, now).await? {
                Some(failure) => Settled::Failed { failure, is_new: true },
                None => Settled::UnderWay,
            });
        }
        Err(error) => return Err(error.into()),
    };
    match described["TrainingJobStatus"].as_str() {
        Some("Completed") => {
            let registered = register(lake, sagemaker, order, &described, now).await?;
            Ok(Settled::Registered(Box::new(registered)))
        }
        Some("Failed" | "Stopped") => {
            let told = described["FailureReason"].as_str().filter(|reason| !reason.is_empty());
            let reason = told.or(described["SecondaryStatus"].as_str()).unwrap_or("no reason was given").to_owned();
            // A log that cannot be read must not hide the failure.
            let last_lines = logs.read_log_tail(LOG_GROUP, version, LAST_LINES).await.unwrap_or_default();
            let failure = Failure { version: version.clone(), reason, last_lines, failed_at: now };
            Ok(Settled::Failed { failure, is_new: true })
        }
        _ => Ok(Settled::UnderWay),
    }
}

pub(crate) async fn record_failure<S: PutObject>(
    lake: &S,
    model: &ModelName,
    failure: &Failure,
) -> Result<bool, TrainingError> {
    put_once(lake, &lake::training_failure(model, &failure.version), failure).await
}

async fn register<S, C>(
    lake: &S,
    sagemaker: &C,
    order: &TrainingOrder,
    described: &Value,
    now: Timestamp,
) -> Result<ModelVersion, TrainingError>
where
    S: RegisterStore,
    C: CallSageMaker + ?Sized,
{
    let artefact = described["ModelArtifacts"]["S3ModelArtifacts"].as_str().unwrap_or_default().to_owned();
    let key = artefact.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).map(|(_, key)| key);
    let key = key.ok_or_else(|| TrainingError::OutOfState {
        version: order.version.clone(),
        detail: "is completed, but SageMaker tells of no artefact".to_owned(),
    })?;
    let seconds = |name: &str| described[name].as_f64();
    let metrics = described["FinalMetricDataList"].as_array().into_iter().flatten();
    let metrics: BTreeMap<String, f64> = metrics
        .filter_map(|metric| Some((metric["MetricName"].as_str()?.to_owned(), metric["Value"].as_f64()?)))
        .collect();
    let ended = seconds("TrainingEndTime").and_then(|end| Timestamp::from_millisecond((end * 1e3) as i64).ok());
    let mut registered = ModelVersion {
        model: order.model.clone(),
        version: order.version.clone(),
        variant: order.variant.clone(),
        lineage: order.lineage.clone(),
        trained_at: ended.unwrap_or(now),
        artefact_sha256: Some(hash_of(lake, key).await?),
        artefact,
        metrics,
        training_s: seconds("TrainingTimeInSeconds"),
        billable_s: seconds("BillableTimeInSeconds"),
        model_package: None,
    };
    registered.model_package = Some(put_model_package(sagemaker, &registered).await?);
    let key = lake::model_version(&order.model, &order.version);
    if put_once(lake, &key, &registered).await? {
        return Ok(registered);
    }
    // Someone else was faster: what stands there counts.
    read_json(lake, &key).await?.ok_or_else(|| TrainingError::unusable(key, "it was there, and is gone"))
}

/// The SHA-256 of an object, range by range.
async fn hash_of<S: HeadObject + GetRange>(lake: &S, key: &str) -> Result<String, TrainingError> {
    let missing = || TrainingError::unusable(key, "the artefact is not there");
    let head = lake.head_object(key).await?.ok_or_else(missing)?;
    let mut digest = Sha256::new();
    let mut from = 0;
    while from < head.size_bytes {
        let to = head.size_bytes.min(from + RANGE_BYTES);
        match lake.get_range(key, from..to, &head.etag).await? {
            RangeOutcome::Found(bytes) => digest.update(&bytes),
            RangeOutcome::Changed | RangeOutcome::Missing => return Err(missing()),
        }
        from = to;
    }
    Ok(hex::encode(digest.finalize()))
}

/// The version in SageMaker's own registry, in a group of the model's name, waiting for approval; its ARN. The client token makes
/// it one package, however often it is asked for.
async fn put_model_package<C: CallSageMaker + ?Sized>(
    sagemaker: &C,
    version: &ModelVersion,
) -> Result<String, TrainingError> {
    let group = version.model.as_str();
    let description = "Model versions of Mannen; the lineage is in each package's metadata.";
    let input = json!({"ModelPackageGroupName": group, "ModelPackageGroupDescription": description});
    match sagemaker.call_sagemaker("CreateModelPackageGroup", &input).await {
        // That it exists is a ValidationException whose message says so.
        Ok(_) => {}
        Err(ControlError::Refused { message, .. }) if message.contains("already exists") => {}
        Err(error) => return Err(error.into()),
    }
    let lineage = &version.lineage;
    let mut token = sha256_hex(version.version.as_bytes());
    token.truncate(36);
    let metadata = json!({
        "version": version.version,
        "dataset": lineage.dataset.address,
        "spec": lineage.spec.hash,
        "code": lineage.code.address,
        "artefact_sha256": version.artefact_sha256.clone().unwrap_or_default(),
    });
    let input = json!({
        "ModelPackageGroupName": group,
        "ModelPackageDescription": version.version,
        "ModelApprovalStatus": "PendingManualApproval",
        "ClientToken": token,
        "CustomerMetadataProperties": metadata,
        "InferenceSpecification": {
            "Containers": [{"Image": lineage.image, "ModelDataUrl": version.artefact}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    });
    let made = sagemaker.call_sagemaker("CreateModelPackage", &input).await?;
    Ok(made["ModelPackageArn"].as_str().unwrap_or_default().to_owned())
}
