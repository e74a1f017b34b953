//! The local cloud's warehouse: an SQLite database that is asked as BigQuery is.
//!
//! [`Warehouse::open`] opens a folder, [`Warehouse::serve`] offers it at one port of 127.0.0.1: BigQuery's REST API (v2) and
//! the Storage Read API (gRPC, Arrow), as Google's own clients speak them. What works and what does not stands in the
//! README beside this crate.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod arrow_form;
mod calendar;
mod catalog;
mod cells;
mod control;
mod error;
mod faults;
mod functions;
mod jobs;
mod load;
mod load_parquet;
mod query_job;
mod serve;
mod sessions;
mod sql;
mod store;
mod text;
mod types;
mod warehouse;

pub use error::{Result, WarehouseError};
pub use faults::{Fault, Faults};
pub use load::{FileFormat, LoadOptions};
pub use serve::Server;
pub use store::{TableRef, WriteDisposition};
pub use types::{Field, Kind, Mode, Schema};
pub use warehouse::{Options, QueryResult, Warehouse};
