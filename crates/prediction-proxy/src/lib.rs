//! `POST /v1/predictions`: 1…N candidates in, one answer out, one record archived.
//!
//! The request is checked and transformed here, the arm's endpoint is asked for all candidates at once, then the release's
//! second endpoint, and where neither answers in time the spec's fallback expression does: a well-formed request gets a 200. The record is written
//! before the response leaves.
//!
//! `GET /openapi.json`: the API's description for the release in force.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod arm_assignment;
mod config;
mod deferred;
mod endpoints;
mod error;
mod handler;
mod metrics;
mod openapi;
mod personal_data;
mod record_archive;
mod request;
#[cfg(test)]
mod samples;
mod shadows;

use std::{sync::Arc, time::Duration};

use cloud::{
    aws,
    config::Environment,
    http::HttpEvent,
    release_cache::{Preparing, ReleaseCache},
    s3::S3Bucket,
    sagemaker::SageMakerRuntime,
};
pub use config::Config;
pub use deferred::{Deferred, DeferredRunner, DeferredSource};
pub use endpoints::EndpointHealth;
pub use error::ProxyError;
use features::{LookupTable, Transformer};
pub use handler::{Invocation, Proxy, answer};
use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
pub use personal_data::PersonalDataKey;
pub use request::{PredictionAnswer, PredictionOfCandidate};

/// How long a start waits for the release in force. Where the lake takes longer, the first request waits for the same read.
const WARM_UP: Duration = Duration::from_millis(500);

/// What the release cache keeps warm: the compiled spec, bound to the lookup tables that its release pins. Without a key for
/// personal data no release is served that needs one.
pub fn preparing(config: &Config) -> Preparing<Transformer, LookupTable> {
    Preparing {
        read_table: feature_batch::lookup_table_of_object,
        table_sha256: LookupTable::sha256,
        prepare: match config.personal_data_key {
            Some(_) => Transformer::of_release,
            None => |release, tables| {
                let transformer = Transformer::of_release(release, tables)?;
                personal_data::needs_no_key(transformer.plan())?;
                Ok(transformer)
            },
        },
    }
}

/// Runs the function until the runtime ends it: reads the environment, builds the clients once, serves.
///
/// # Errors
/// A variable that is missing or wrong, or a runtime that does not answer.
pub async fn run() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::from_environment(&Environment::of_process()).map_err(|error| error.to_string())?;
    let aws = aws::sdk_config().await;
    let lake = S3Bucket::new(aws_sdk_s3::Client::new(&aws), &config.lake_bucket);
    let ttl = Duration::from_secs(config.release_ttl_s);
    let deferred = if config.deferred_work {
        let (source, runner) = Deferred::channel();
        if config.max_concurrency > 1 {
            runner.work_in_background();
        } else {
            runner.register().await?;
        }
        Some(source)
    } else {
        None
    };
    let proxy = Arc::new(Proxy {
        releases: ReleaseCache::new(lake, ttl, preparing(&config)),
        endpoint: Arc::new(SageMakerRuntime::new(&aws)),
        health: Arc::default(),
        config,
    });
    // Before the first event is asked for: connection, TLS roots and the compiled release are then there. What fails here is told
    // where a request meets it.
    _ = tokio::time::timeout(WARM_UP, proxy.releases.get(&proxy.config.default_model, WARM_UP)).await;
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<HttpEvent>| {
        let proxy = Arc::clone(&proxy);
        let deferred = deferred.as_ref().map(DeferredSource::begin);
        async move {
            let invocation = Invocation::begin(event.context.deadline(), deferred);
            Ok::<_, Error>(answer(&proxy, &event.payload, &invocation).await)
        }
    }))
    .await
}
