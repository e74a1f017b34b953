//! `POST /v1/features`: the features of a request's candidates, by the spec that is in force. The same request body as
//! for predictions; no endpoint is asked and nothing is archived.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod config;
mod error;
mod handler;

use std::{sync::Arc, time::Duration};

use cloud::{aws, config::Environment, http::HttpEvent, release_cache::ReleaseCache, s3::S3Bucket};
pub use config::Config;
pub use error::TransformError;
use features::Transformer;
pub use handler::{CandidateFeatures, FeaturesAnswer, answer};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};

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
    let releases = Arc::new(ReleaseCache::new(lake, ttl, Transformer::of_release));
    lambda_runtime::run(service_fn(move |event: LambdaEvent<HttpEvent>| {
        let (releases, default_model) = (Arc::clone(&releases), config.default_model.clone());
        async move { Ok::<_, Error>(answer(&releases, &default_model, &event.payload, Timestamp::now()).await) }
    }))
    .await
}
