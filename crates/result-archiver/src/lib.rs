//! Lambda: landed records to the Parquet archive; compaction on schedule.
//!
//! Landing objects become one segment per batch and hour ([`archive_batch`]), segments become one file per hour
//! ([`compact`]). A landing object is deleted only once a durable segment holds it, a segment only once a durable hour
//! file does; every write is a content address or a compare-and-swap. So each step can be repeated, reordered, run twice
//! at once, or killed half-way, and the archive comes out the same.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod archive_batch;
mod bodies;
mod compact;
mod config;
mod error;
mod event;
mod handler;
pub mod keeping;

use std::time::{Duration, Instant, SystemTime};

use cloud::{aws::sdk_config, config::Environment, s3::S3Bucket};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

pub use archive_batch::{ArchiveSummary, BatchOutcome, archive_batch};
pub use bodies::LandingObject;
pub use cloud::s3_event::S3Key;
pub use compact::{CompactionOutcome, CompactionSummary, compact};
pub use config::Config;
pub use error::{ArchiverError, Failure};
pub use event::{Delivery, Message, Trigger, parse_event};
pub use handler::handle;

/// Time left at the end of an invocation for the round that is under way.
const DEADLINE_MARGIN: Duration = Duration::from_secs(10);

/// Runs the function: reads the environment, builds the client once, then serves events until the process ends.
///
/// # Errors
/// A variable is missing or invalid, or the Lambda runtime API cannot be reached.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let config = Config::from_environment(&Environment::of_process()).map_err(|error| error.to_string())?;
    let client = aws_sdk_s3::Client::new(&sdk_config().await);
    let store = S3Bucket::new(client, &config.lake_bucket);
    let (store, config) = (&store, &config);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let left = event.context.deadline().duration_since(SystemTime::now()).ok();
        let stop_at = left.map(|left| Instant::now() + left.saturating_sub(DEADLINE_MARGIN));
        handle(store, config, &event.payload, stop_at).await
    }))
    .await
}
