use std::time::Instant;

use cloud::{object_store::ListObjects, s3_event::Created, sagemaker_control::CallSageMaker};
use domain::{ModelName, lake};
use jiff::Timestamp;
use lambda_runtime::tracing::{error, info};
use serde::Serialize;
use serde_json::{Value, json};
use training::{Launched, Means, RegisterStore, Stage, advance, launch, order_of_job, read_definition, reconcile};

use crate::{
    Config, LauncherError,
    event::{TrainCommand, Trigger, parse_event},
    metrics,
};

/// The verbs of the object store that the function needs.
pub trait LauncherStore: RegisterStore + ListObjects {}

impl<T: RegisterStore + ListObjects> LauncherStore for T {}

/// What an event came to.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    /// Messages to be delivered again (`ReportBatchItemFailures`).
    #[serde(rename = "batchItemFailures", skip_serializing_if = "Option::is_none")]
    pub batch_item_failures: Option<Vec<Value>>,
    /// Launches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub launched: Vec<Launched>,
    /// Versions that were looked at, with how far each has come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionStage>,
}

/// One version.
#[derive(Debug, Serialize)]
pub struct VersionStage {
    /// The version.
    pub version: String,
    /// How far it has come; absent where that could not be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Why it could not be found out, a reason code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Works one event off.
///
/// # Errors
/// See [`LauncherError`]. Everything can be repeated.
pub async fn handle<S, C>(
    lake: &S,
    means: Means<'_, C>,
    config: &Config,
    event: &Value,
    now: Timestamp,
    deadline: Option<Instant>,
) -> Result<Answer, LauncherError>
where
    S: LauncherStore,
    C: CallSageMaker + ?Sized,
{
    let handler = Handler { lake, means, now, deadline };
    match parse_event(event)? {
        Trigger::Created(objects) => {
            let launched = handler.created(&objects).await?;
            Ok(Answer { launched, ..Answer::default() })
        }
        Trigger::Messages(messages) => {
            let (mut answer, mut failures) = (Answer::default(), Vec::new());
            for message in messages {
                match handler.created(&message.objects).await {
                    Ok(launched) => answer.launched.extend(launched),
                    Err(error) => {
                        error!(reason = error.reason(), detail = %error, message = message.id, "message failed");
                        failures.push(json!({"itemIdentifier": message.id}));
                    }
                }
            }
            Ok(Answer { batch_item_failures: Some(failures), ..answer })
        }
        Trigger::TrainingJob(job) => handler.training_job(&job).await,
        Trigger::TransformJob(output) => handler.transform_job(&output).await,
        Trigger::Schedule => handler.reconcile(&config.default_model).await,
        Trigger::Reconcile(command) => handler.reconcile(&command.model).await,
        Trigger::Train(command) => handler.train(&command).await,
    }
}

struct Handler<'a, S, C: ?Sized> {
    lake: &'a S,
    means: Means<'a, C>,
    now: Timestamp,
    deadline: Option<Instant>,
}

/// Before its end, so that what a file of a view costs still fits.
const RESERVE: std::time::Duration = std::time::Duration::from_mins(2);

impl<S: LauncherStore, C: CallSageMaker + ?Sized> Handler<'_, S, C> {
    fn go_on(&self) -> bool {
        self.deadline.is_none_or(|deadline| Instant::now() + RESERVE < deadline)
    }

    async fn created(&self, objects: &[Created]) -> Result<Vec<Launched>, LauncherError> {
        let mut launched = Vec::new();
        for object in objects {
            let object = match object {
                Ok(object) => object,
                Err(error) => {
                    error!(%error, "not an event about an object");
                    continue;
                }
            };
            // Other objects below `datasets/` are no affair of this function.
            if let Some(dataset) = lake::dataset_of_pointer(object.key.as_str()) {
                launched.extend(self.launch(&dataset, None, false).await?);
            }
        }
        Ok(launched)
    }

    /// Trains a model on a version of its dataset: by default the one in use *now*, so that late and repeated events train what
    /// is wanted now.
    async fn launch(
        &self,
        model: &ModelName,
        dataset: Option<&str>,
        again: bool,
    ) -> Result<Option<Launched>, LauncherError> {
        let training = |error: training::TrainingError| LauncherError::from(error);
        let Some(definition) = read_definition(self.lake, model).await? else {
            info!(%model, "no training definition: nothing is trained");
            return Ok(None);
        };
        let address = match dataset {
            Some(what) => datasets::resolve(self.lake, model, what).await.map_err(|error| training(error.into()))?,
            None => match datasets::in_use(self.lake, model).await.map_err(|error| training(error.into()))? {
                Some((pointer, _)) => pointer.address,
                None => return Ok(None),
            },
        };
        let go_on = || self.go_on();
        let launched = launch(self.lake, self.means, &definition, &address, again, self.now, &go_on).await?;
        match &launched {
            Launched::Jobs { view, versions, failed } => {
                info!(%model, dataset = address, view = view.view, rows = view.rows.train, ?versions, "training");
                for failure in failed {
                    metrics::tell(model, &failure.version, &Stage::Failed(failure.clone()), self.now);
                }
            }
            Launched::Unfinished => return Err(LauncherError::Unfinished(model.clone())),
        }
        Ok(Some(launched))
    }

    async fn train(&self, command: &TrainCommand) -> Result<Answer, LauncherError> {
        let launched = self.launch(&command.model, command.dataset.as_deref(), command.again).await?;
        let launched = launched.ok_or_else(|| training::TrainingError::NoDefinition(command.model.clone()))?;
        Ok(Answer { launched: vec![launched], ..Answer::default() })
    }

    async fn training_job(&self, job: &str) -> Result<Answer, LauncherError> {
        let Some(order) = order_of_job(self.lake, self.means.sagemaker, job).await? else {
            info!(job, "not a job of ours");
            return Ok(Answer::default());
        };
        self.advance(&order).await
    }

    async fn transform_job(&self, output: &str) -> Result<Answer, LauncherError> {
        let Some((model, version)) = judged_by_output(output) else {
            info!(output, "not a job of ours");
            return Ok(Answer::default());
        };
        // The champion's answers belong to the comparison of whichever challenger waits for them.
        let Some(order) = training::read_order(self.lake, &model, &version).await? else {
            return self.reconcile(&model).await;
        };
        let mut answer = self.advance(&order).await?;
        if matches!(answer.versions.first().and_then(|found| found.stage.as_ref()), Some(Stage::Decided(_))) {
            answer.versions.extend(self.reconcile(&model).await?.versions);
        }
        Ok(answer)
    }

    async fn advance(&self, order: &training::TrainingOrder) -> Result<Answer, LauncherError> {
        let stage = advance(self.lake, self.means, order, self.now).await?;
        metrics::tell(&order.model, &order.version, &stage, self.now);
        let version = VersionStage { version: order.version.clone(), stage: Some(stage), failed: None };
        Ok(Answer { versions: vec![version], ..Answer::default() })
    }

    async fn reconcile(&self, model: &ModelName) -> Result<Answer, LauncherError> {
        let mut versions = Vec::new();
        for (version, stage) in reconcile(self.lake, self.means, model, self.now).await? {
            match stage {
                Ok(stage) => {
                    metrics::tell(model, &version, &stage, self.now);
                    versions.push(VersionStage { version, stage: Some(stage), failed: None });
                }
                Err(error) => {
                    error!(version, reason = error.reason(), detail = %error, "an order does not get on");
                    let failed = Some(error.reason().to_owned());
                    versions.push(VersionStage { version, stage: None, failed });
                }
            }
        }
        Ok(Answer { versions, ..Answer::default() })
    }
}

/// The model and version whose answers go to `s3://<bucket>/training/<model>/views/<view>/predictions/<version>/output/`.
fn judged_by_output(output: &str) -> Option<(ModelName, String)> {
    let (_bucket, key) = output.strip_prefix("s3://")?.split_once('/')?;
    let parts: Vec<&str> = key.trim_end_matches('/').split('/').collect();
    match parts.as_slice() {
        ["training", model, "views", _, "predictions", version, "output"] => {
            Some((model.parse().ok()?, (*version).to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_job_is_known_by_its_output() {
        let (model, version) =
            judged_by_output("s3://lake/training/pickup-eta/views/ab/predictions/pickup-eta-deep-1/output/").unwrap();
        assert_eq!((model.as_str(), version.as_str()), ("pickup-eta", "pickup-eta-deep-1"));
        assert_eq!(judged_by_output("s3://lake/other/output/"), None);
    }
}
