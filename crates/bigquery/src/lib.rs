//! BigQuery behind the warehouse's port, through Google's own client.
//!
//! [`BigQuery`] runs a query into a table of its own (dry run first, a job id that follows from the order, so that the same
//! order is one job), and reads that table through the Storage Read API, several streams at once, in Arrow.
//!
//! Who asks is told by [`CredentialsSource`]: workload identity federation from AWS (no key anywhere), a file, or nobody, where
//! the endpoints are `http://` ones of this machine.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod adapter;
mod config;
mod credentials;
mod errors;
mod job;
mod rows;

pub use adapter::BigQuery;
pub use config::Config;
pub use credentials::CredentialsSource;
