//! The archive's pure steps: landed lines to records, records to Parquet and back, and the merge that makes every step
//! idempotent. Bytes in, bytes out: no I/O, no clock, no randomness.
//!
//! - [`decode_landing`] reads a landed object (JSON lines: plain, gzip or zstd) and says which lines are bad, and why.
//! - [`write_predictions`], [`read_predictions`], [`write_outcomes`] and [`read_outcomes`] are the Parquet format,
//!   without loss; [`read_prediction_columns`] reads only what an evaluation needs. `SCHEMA.md` lists the columns.
//! - [`merge_predictions`] and [`merge_outcomes`] are associative, commutative and idempotent, so that whatever is
//!   delivered twice, in another order, or merged by two compactors at once gives the same file.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod columns;
mod error;
mod features;
mod landing;
mod merge;
mod outcomes;
mod parquet_file;
mod predictions;
mod record;
pub mod schema;

#[cfg(test)]
mod samples;

pub use columns::{PredictionColumns, read_prediction_columns};
pub use error::{ArchiveError, Rejection};
pub use features::read_features;
pub use landing::{BadLine, DecodeLimits, Landed, Rows, decode_landing};
pub use merge::{MergedFile, merge, merge_into_file, merge_outcomes, merge_predictions};
pub use outcomes::{read_outcomes, write_outcomes};
pub use predictions::{MAX_INPUTS_BYTES, read_predictions, write_predictions};
pub use record::{Record, RecordStream};
