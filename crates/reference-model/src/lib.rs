//! A SageMaker-contract model container program around gradient boosting (`forust-ml`): `train` and `serve`.
//!
//! SageMaker runs a container as `docker run <image> train` or `docker run <image> serve`. [`main_with`] is that entry
//! point, so that another binary can be the container too; [`train()`] and [`serve_on`] are the two programs without the
//! process around them. README.md has the contract.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod answer;
mod artefact;
mod boost;
mod cell;
mod channel;
mod command;
mod error;
mod folders;
mod forest;
mod hyperparameters;
mod importance;
mod media;
mod metrics;
mod objective;
mod parquet_rows;
mod rows;
mod serve;
mod target;
mod train;

pub use artefact::{ChannelSummary, Metadata, Model, QuantileModel};
pub use boost::Round;
pub use channel::{BadRow, Channel};
pub use command::{Command, ServeArgs, TrainArgs, main_with, run};
pub use error::ModelError;
pub use folders::Folders;
pub use forest::Forest;
pub use hyperparameters::Hyperparameters;
pub use importance::FeatureImportance;
pub use media::MediaType;
pub use metrics::{EvalMetric, Metrics};
pub use objective::Objective;
pub use rows::Rows;
pub use serve::{MAX_REQUEST_BYTES, serve_on};
pub use target::TargetTransform;
pub use train::train;
