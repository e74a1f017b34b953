//! Evaluates the hours whose predictions or outcomes have changed, writes the report, and does what follows from it: metrics,
//! the way back from a release that does harm, the wish to train again. A sample of what is archived is computed again from its raw
//! inputs: any differing bit is a metric that names the feature.
//!
//! Runs hourly over the last days, or over the hours that its event names. An hour's evaluation is a pure function of
//! its archive files (predictions, outcomes, shadows), kept with their entity tags: an hour is evaluated again only where one
//! of them has changed, so that a late outcome costs one hour.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod act;
mod baselines;
mod config;
mod error;
mod handler;
mod hour_files;
mod kept;
mod metrics;
mod ramp;
mod recalibration;
mod retraining;
mod rollback;
mod skew;

use std::sync::Arc;

pub use act::{Actions, Means, RolledBack};
pub use baselines::{Kept, KeptBaselines, read_baselines};
use cloud::{
    aws, config::Environment, events::EventBridge, s3::S3Bucket, sagemaker::SageMakerRuntime,
    sagemaker_control::SageMakerControl,
};
pub use config::Config;
pub use error::EvaluatorError;
pub use handler::{EvaluationSummary, EvaluatorEvent, evaluate, evaluate_and_act, report_of};
use jiff::Timestamp;
pub use kept::{read_evaluations, release_in_force};
use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
pub use ramp::RampMove;
pub use recalibration::{RecalibrationRun, recalibrate_release};
use releases::Endpoints;
pub use retraining::{EVENT_SOURCE, RETRAINING_WANTED};
pub use rollback::AUTHOR as ROLLBACK_AUTHOR;
pub use skew::{AuditPlan, RELEASE_UNUSABLE, Served, ServedReleases, audit_skew, recompute_served, sample_records};

/// Runs the function until the runtime ends it.
///
/// # Errors
/// A variable that is missing or wrong, or a runtime that does not answer.
pub async fn run() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let environment = Environment::of_process();
    let config = Config::from_environment(&environment).map_err(|error| error.to_string())?;
    // As the SDK's own clients have it: where a service answers, where that is not AWS.
    let url = |name| environment.optional(name).map_err(|error| error.to_string());
    let aws = aws::sdk_config().await;
    let lake = S3Bucket::new(aws_sdk_s3::Client::new(&aws), &config.lake_bucket);
    let control = SageMakerControl::new(&aws, url("AWS_ENDPOINT_URL_SAGEMAKER")?);
    let events = EventBridge::new(&aws, url("AWS_ENDPOINT_URL_EVENTBRIDGE")?);
    let shared = Arc::new(Shared { config, lake, control, runtime: SageMakerRuntime::new(&aws), events });
    lambda_runtime::run(service_fn(move |event: LambdaEvent<EvaluatorEvent>| {
        let shared = Arc::clone(&shared);
        async move {
            let Shared { config, lake, control, runtime, events } = shared.as_ref();
            let means = Means {
                endpoints: Endpoints { describe: control, invoke: runtime },
                events,
                bucket: &config.lake_bucket,
            };
            evaluate_and_act(lake, means, config, &event.payload, Timestamp::now()).await
        }
    }))
    .await
}

/// What a warm function keeps.
struct Shared {
    config: Config,
    lake: S3Bucket,
    control: SageMakerControl,
    runtime: SageMakerRuntime,
    events: EventBridge,
}
