//! Lambda: from a warehouse to an immutable dataset version.
//!
//! One program for all steps: `{"extract": …}` does them all, `{"plan": …}`, `{"streams": …}` and `{"publish": …}` are one
//! each, for a state machine that gives streams to many workers. Every event can be repeated.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod config;
mod definition;
mod error;
mod event;
mod files;
mod handler;
mod outcomes;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bigquery::BigQuery;
use cloud::{aws, config::Environment, s3::S3Bucket};
pub use config::Config;
pub use definition::{parse_definition, put_definition, read_definition, set_parameter};
pub use error::ExtractorError;
pub use event::{OneJob, PlanAnswer, SomeStreams, Trigger, Whole, Worker, parse_event};
pub use files::{Files, LakeObject, OpenFile, find_files};
pub use handler::{handle, working};
use jiff::Timestamp;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn, tracing};
pub use outcomes::{Landed, land_outcomes};
use serde_json::Value;
use warehouse::Warehouse;

/// Runs the function until the runtime ends it: reads the environment, builds the clients once, serves.
///
/// # Errors
/// A variable is missing or wrong, or a runtime that does not answer.
pub async fn run() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::from_environment(&Environment::of_process()).map_err(|error| error.to_string())?;
    let lake = S3Bucket::new(aws_sdk_s3::Client::new(&aws::sdk_config_for_large_objects().await), &config.lake_bucket);
    // Without a warehouse, datasets of files are extracted all the same.
    let bigquery = config.bigquery.clone().map(BigQuery::new);
    let warehouse = bigquery.as_ref().map(|bigquery| bigquery as &dyn Warehouse);
    let (config, lake, warehouse) = (&config, &lake, &warehouse);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let outcome =
            handle(lake, *warehouse, config, &event.payload, Timestamp::now(), deadline(&event.context)).await;
        outcome.inspect_err(|error| tracing::error!(reason = error.reason(), detail = %error, "event failed"))
    }))
    .await
}

fn deadline(context: &Context) -> Option<Instant> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let left = Duration::from_millis(context.deadline).checked_sub(now)?;
    Some(Instant::now() + left)
}
