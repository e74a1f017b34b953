//! The warehouse's port: where a dataset's rows come from.
//!
//! Three verbs. [`StageTable`] makes the rows of an [`Extract`] stand still (a query's result in a table of its own; files as
//! they are now), so that they can be read twice and are the same. [`OpenStreams`] cuts them into streams. [`ReadStream`]
//! reads one of them from any row on, as Arrow batches.
//!
//! A stream, read twice from the same session, has the same rows in the same order: that is what lets a reader go on
//! where another one died. Which stream a row is in, another session may decide otherwise.
//!
//! The crate knows no warehouse: `bigquery` is one, files are another (`dataset-extractor`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod error;
mod extract;
mod port;
mod types;

pub use error::WarehouseError;
pub use extract::{Extract, Limits, Parameter, ParameterType, names_as_of};
pub use port::{BatchStream, OpenStreams, ReadStream, StageTable, StagedTable, StreamSession, Warehouse};
pub use types::{ColumnType, column_type, normalise};
