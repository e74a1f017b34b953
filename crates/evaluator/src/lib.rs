//! Evaluates the hours whose predictions or outcomes have changed, and writes the report.
//!
//! Runs hourly over the last days, or over the hours that its event names. An hour's evaluation is a pure function of
//! its archive files (predictions, outcomes, shadows), kept with their entity tags: an hour is evaluated again only where one
//! of them has changed, so that a late outcome costs one hour.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod baselines;
mod config;
mod error;
mod handler;
mod hour_files;
mod kept;

use std::sync::Arc;

pub use baselines::{Kept, KeptBaselines, read_baselines};
use cloud::{aws, config::Environment, s3::S3Bucket};
pub use config::Config;
pub use error::EvaluatorError;
pub use handler::{EvaluationSummary, EvaluatorEvent, evaluate, report_of};
use jiff::Timestamp;
pub use kept::{read_evaluations, release_in_force};
use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};

/// Runs the function until the runtime ends it.
///
/// # Errors
/// A variable that is missing or wrong, or a runtime that does not answer.
pub async fn run() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::from_environment(&Environment::of_process()).map_err(|error| error.to_string())?;
    let aws = aws::sdk_config().await;
    let lake = S3Bucket::new(aws_sdk_s3::Client::new(&aws), &config.lake_bucket);
    let shared = Arc::new((lake, config));
    lambda_runtime::run(service_fn(move |event: LambdaEvent<EvaluatorEvent>| {
        let shared = Arc::clone(&shared);
        async move { evaluate(&shared.0, &shared.1, &event.payload, Timestamp::now()).await }
    }))
    .await
}
