//! Lambda: `POST /v1/outcomes`.
//!
//! Takes what really happened, one event or a batch, and answers 202 once each event is durable in the landing area.
//! A batch is taken as a whole or not at all: any bad event refuses it before anything is written. An event's key is its
//! content, so a caller who got no answer, or a 503, sends the same body again.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod config;
mod error;
mod handler;
mod parse;

use cloud::{aws::sdk_config, config::Environment, http::HttpEvent, s3::S3Bucket};
use lambda_runtime::{LambdaEvent, service_fn};

pub use config::Config;
pub use error::IntakeError;
pub use handler::answer;
pub use parse::{MAX_OUTCOMES, parse_outcomes};

/// Runs the function: reads the environment, builds the client once, then serves events until the process ends.
///
/// # Errors
/// A variable is missing or invalid, or the Lambda runtime API cannot be reached.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let config = Config::from_environment(&Environment::of_process()).map_err(|error| error.to_string())?;
    let client = aws_sdk_s3::Client::new(&sdk_config().await);
    let lake = S3Bucket::new(client, config.lake_bucket);
    let lake = &lake;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<HttpEvent>| {
        Ok::<_, lambda_runtime::Error>(answer(lake, &event.payload).await)
    }))
    .await
}
