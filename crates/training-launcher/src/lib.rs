//! Lambda: from a dataset version to a model version that may be deployed.
//!
//! - A dataset's pointer moves (S3 → SQS): the version in use becomes a training view, and each variant's job is created.
//! - A training job ends (EventBridge): the model is registered with its lineage, and judged against the champion on held-out
//!   rows, which batch transform jobs predict.
//! - A transform job ends (EventBridge): the gate decides; what passes is offered.
//! - The schedule looks after orders whose events were lost.
//! - `{"train": {"model": …, "dataset": …, "again": …}}` and `{"reconcile": {"model": …}}` do so by hand.
//!
//! Every event can come twice, late, out of order or never.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod config;
mod error;
mod event;
mod handler;
mod metrics;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cloud::{
    aws, config::Environment, events::EventBridge, logs::CloudWatchLogs, s3::S3Bucket,
    sagemaker_control::SageMakerControl,
};
pub use config::Config;
pub use error::LauncherError;
pub use event::{ReconcileCommand, TrainCommand, Trigger, parse_event};
pub use handler::{Answer, LauncherStore, VersionStage, handle};
use jiff::Timestamp;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn, tracing};
use serde_json::Value;
use training::Means;

/// Runs the function until the runtime ends it: reads the environment, builds the clients once, serves.
///
/// # Errors
/// A variable is missing or wrong, or a runtime that does not answer.
pub async fn run() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let environment = Environment::of_process();
    let config = Config::from_environment(&environment).map_err(|error| error.to_string())?;
    // As the SDK's own clients have it: where a service answers, where that is not AWS.
    let url = |name| environment.optional(name).map_err(|error| error.to_string());
    let aws = aws::sdk_config_for_large_objects().await;
    let lake = S3Bucket::new(aws_sdk_s3::Client::new(&aws), &config.place.bucket);
    let sagemaker = SageMakerControl::new(&aws, url("AWS_ENDPOINT_URL_SAGEMAKER")?);
    let logs = CloudWatchLogs::new(&aws, url("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS")?);
    let events = EventBridge::new(&aws, url("AWS_ENDPOINT_URL_EVENTBRIDGE")?);
    let (config, lake) = (&config, &lake);
    let means = Means { sagemaker: &sagemaker, logs: &logs, events: &events, place: &config.place };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let deadline = deadline(&event.context);
        let outcome = handle(lake, means, config, &event.payload, Timestamp::now(), deadline).await;
        outcome.inspect_err(|error| tracing::error!(reason = error.reason(), detail = %error, "event failed"))
    }))
    .await
}

fn deadline(context: &Context) -> Option<Instant> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let left = Duration::from_millis(context.deadline).checked_sub(now)?;
    Some(Instant::now() + left)
}
