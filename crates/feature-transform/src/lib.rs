//! Features by the spec that is in force, of requests and of files.
//!
//! - `POST /v1/features`: the features of a request's candidates. The same body as for predictions; no endpoint is asked
//!   and nothing is archived.
//! - A raw object that has come to the lake (S3 notification, direct, through SQS or EventBridge), or
//!   `{"transform": {…}}`: its training view, by the very same plan ([`transform_object`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod batch;
mod config;
mod error;
mod event;
mod handler;
mod object_io;
mod service;

use std::time::Duration;

pub use batch::{BatchStore, ObjectOutcome, transform_object};
use cloud::{
    aws,
    config::Environment,
    release_cache::{Preparing, ReleaseCache},
    s3::S3Bucket,
};
pub use config::Config;
pub use error::{BatchTransformError, TransformError};
pub use event::{FormatName, TransformCommand, Trigger, parse_event};
use features::{LookupTable, Transformer};
pub use handler::{CandidateFeatures, FeaturesAnswer, answer};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use serde_json::Value;
pub use service::Service;

/// What the release cache keeps warm: the compiled spec, bound to the lookup tables that its release pins.
pub fn preparing() -> Preparing<Transformer, LookupTable> {
    Preparing {
        read_table: feature_batch::lookup_table_of_object,
        table_sha256: LookupTable::sha256,
        prepare: Transformer::of_release,
    }
}

/// Runs the function until the runtime ends it: reads the environment, builds the client once, serves.
///
/// # Errors
/// A variable that is missing or wrong, or a runtime that does not answer.
pub async fn run() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::from_environment(&Environment::of_process()).map_err(|error| error.to_string())?;
    let aws = aws::sdk_config().await;
    let lake = S3Bucket::new(aws_sdk_s3::Client::new(&aws), &config.lake_bucket);
    let ttl = Duration::from_secs(config.release_ttl_s);
    let releases = ReleaseCache::new(lake.clone(), ttl, preparing());
    let service = &Service::new(config, lake, releases);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        service.handle(&event.payload, Timestamp::now()).await
    }))
    .await
}
