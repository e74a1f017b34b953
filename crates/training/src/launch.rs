//! From a dataset version to training jobs. Every step can be repeated: the view's files, the orders and the jobs are all named
//! by what they are made of, and SageMaker takes a job's name once.

use cloud::{
    object_store::{GetObject, ListObjects, PutObject},
    sagemaker_control::{CallSageMaker, ControlError},
};
use domain::{ModelName, lake};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Means, TrainingDefinition, TrainingError, TrainingOrder,
    advance::fail,
    objects::{put_once, read_json},
    register::Failure,
    view::{ViewPlan, ViewSummary, make_view},
};

/// What a launch came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Launched {
    /// The jobs are there, or were already.
    Jobs {
        /// The view.
        view: Box<ViewSummary>,
        /// The versions that they make.
        versions: Vec<String>,
        /// Those of them whose job SageMaker will never take: told, and written down.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<Failure>,
    },
    /// Time was up while the view was made: once more, and it goes on.
    Unfinished,
}

/// Trains every variant on a dataset version. `again` orders jobs that failed once more.
///
/// # Errors
/// See [`TrainingError`]; whatever was done stays, and the next call goes on.
#[allow(clippy::too_many_arguments)]
pub async fn launch<S, C>(
    lake: &S,
    means: Means<'_, C>,
    definition: &TrainingDefinition,
    address: &str,
    again: bool,
    now: Timestamp,
    go_on: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Launched, TrainingError>
where
    S: GetObject + PutObject + ListObjects,
    C: CallSageMaker + ?Sized,
{
    let manifest = datasets::read_manifest(lake, &definition.model, address).await?;
    let plan = definition.compile(lake).await?;
    let TrainingDefinition { model, plan: training, .. } = definition;
    let view = ViewPlan::of(model, &manifest, &plan, training.split, training.format)?;
    let Some(view) = make_view(lake, &view, &manifest, &plan, go_on).await? else { return Ok(Launched::Unfinished) };
    let (mut versions, mut refused) = (Vec::new(), Vec::new());
    for (variant, hyperparameters) in training.variants() {
        let mut attempt = 1;
        loop {
            let order =
                TrainingOrder::new(definition, &manifest, &view, variant, &hyperparameters, means.place, attempt, now)?;
            let failed = read_json::<Failure, _>(lake, &lake::training_failure(model, &order.version)).await?.is_some();
            if failed && again {
                attempt += 1;
                continue;
            }
            versions.push(order.version.clone());
            if !failed {
                put_once(lake, &lake::training_order(model, &order.version), &order).await?;
                if let Some(failure) = submit(means.sagemaker, &order, now).await? {
                    fail(lake, means.events, &order, &failure).await?;
                    refused.push(failure);
                }
            }
            break;
        }
    }
    Ok(Launched::Jobs { view: Box::new(view), versions, failed: refused })
}

/// Creates the job of an order, where there is none. A job that SageMaker will never take is a failure: the caller's to tell, and then
/// to write down.
pub(crate) async fn submit<C: CallSageMaker + ?Sized>(
    sagemaker: &C,
    order: &TrainingOrder,
    now: Timestamp,
) -> Result<Option<Failure>, TrainingError> {
    match sagemaker.call_sagemaker("CreateTrainingJob", &order.request).await {
        Ok(_) => Ok(None),
        // Someone was faster, or an answer was lost: the job is there, once.
        Err(ControlError::Refused { kind, .. }) if kind == "ResourceInUse" => Ok(None),
        Err(ControlError::Refused { kind, message, .. }) if kind == "ValidationException" => {
            let version = order.version.clone();
            Ok(Some(Failure { version, reason: message, last_lines: vec![], failed_at: now }))
        }
        Err(error) => Err(error.into()),
    }
}

/// The model whose job it is, by where its artefact goes.
pub(crate) fn model_of_output(path: &str) -> Option<ModelName> {
    let (_bucket, key) = path.strip_prefix("s3://")?.split_once('/')?;
    let mut parts = key.split('/');
    (parts.next() == Some("models")).then(|| parts.next()?.parse().ok())?
}

/// The order of a job that SageMaker tells of; none where it is not ours.
///
/// # Errors
/// The lake or SageMaker.
pub async fn order_of_job<S, C>(lake: &S, sagemaker: &C, job: &str) -> Result<Option<TrainingOrder>, TrainingError>
where
    S: GetObject,
    C: CallSageMaker + ?Sized,
{
    let described = sagemaker.call_sagemaker("DescribeTrainingJob", &json!({"TrainingJobName": job})).await?;
    let output = described["OutputDataConfig"]["S3OutputPath"].as_str().unwrap_or_default();
    let Some(model) = model_of_output(output) else { return Ok(None) };
    read_order(lake, &model, job).await
}

/// The order of a version; none where others made it.
///
/// # Errors
/// The lake.
pub async fn read_order<S: GetObject>(
    lake: &S,
    model: &ModelName,
    version: &str,
) -> Result<Option<TrainingOrder>, TrainingError> {
    read_json(lake, &lake::training_order(model, version)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_ours_by_where_its_artefact_goes() {
        assert_eq!(model_of_output("s3://lake/models/pickup-eta/").unwrap().as_str(), "pickup-eta");
        assert_eq!(model_of_output("s3://other/prefix"), None);
        assert_eq!(model_of_output("s3://lake"), None);
    }
}
