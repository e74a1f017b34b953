//! The cloud on a laptop: reads the SAM template and runs the very same function binaries.
//!
//! [`LocalCloud::start`] reads `infra/template.yaml`, the only place where the wiring is written, and offers what it
//! describes on 127.0.0.1: the HTTP API, S3 with its notifications, SQS with its event source mappings, schedules,
//! Lambda's Runtime, Extensions and Invoke APIs, EventBridge's default bus, SageMaker's runtime and control
//! plane, and a warehouse that is asked as BigQuery is (`local_warehouse`). Functions and containers are real processes that
//! speak the real protocols, and none of them can tell that it is on a laptop.
//!
//! IAM authorization of the HTTP API is emulated where [`Options::check_signatures`] says so.
//!
//! Not emulated: permissions, CORS and other authorizers, throttling, versioning, lifecycle and encryption of objects, state
//! machines, SNS, FIFO queues, memory limits. What the template asks for beyond this is listed in [`LocalCloud::warnings`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api_gateway;
mod cloud;
mod cloud_watch_logs;
mod encoding;
mod error;
mod event_bridge;
mod hash;
mod http_server;
mod lambda;
mod notifications;
mod options;
mod processes;
mod s3;
mod sagemaker;
mod schedules;
mod sqs;
mod stored_objects;
pub mod template;
mod warehouse;

pub use cloud::{FunctionStatistics, LocalCloud, QueueStatistics, Statistics};
pub use error::LocalError;
pub use options::{FunctionLauncher, Options, Ports, StaticRoute};
pub use processes::run_child;
pub use sagemaker::{EndpointFault, ModelContainer, ModelContainerOptions};
pub use stored_objects::StoredObjects;
pub use warehouse::{WAREHOUSE_FOLDER, WAREHOUSE_PROJECT, warehouse_options};
