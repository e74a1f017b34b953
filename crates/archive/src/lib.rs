//! The archive's pure steps: landed lines to records, records to Parquet and back, and the merge that makes every step
//! idempotent. Bytes in, bytes out: no I/O, no clock, no randomness.
//!
//! - [`decode_source`] reads a landed object (JSON lines: plain, gzip or zstd), ours or of those that SageMaker writes
//!   (Data Capture, batch transform, asynchronous inference, ground truth), and says which lines are bad, and why; [`data_capture_lines`] and [`ground_truth_line`] write such files from our records.
//! - [`write_predictions`], [`read_predictions`] and the like for outcomes and shadows are the Parquet format,
//!   without loss; [`prediction_batches`] and [`outcome_batches`] read only what an evaluation needs, batch by batch. `SCHEMA.md` lists the columns.
//! - [`merge`], [`merge_predictions`] and [`merge_outcomes`] are associative, commutative and idempotent, so that whatever is
//!   delivered twice, in another order, or merged by two compactors at once gives the same file.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[cfg(test)]
mod athena;
mod batches;
mod columns;
mod error;
mod export;
mod features;
mod inferences;
mod landing;
mod merge;
mod outcomes;
mod parquet_file;
mod predictions;
mod quarantine;
mod record;
mod sagemaker;
pub mod schema;
mod shadows;

#[cfg(test)]
mod samples;

pub use batches::{
    OutcomeBatch, PredictionBatch, ShadowColumns, outcome_batches, prediction_batches, read_shadow_columns,
};
pub use columns::{PredictionColumns, read_prediction_columns, read_release_ids, read_release_rows};
pub use error::{ArchiveError, Rejection};
pub use export::{captured_line, data_capture_lines, ground_truth_line};
pub use features::read_features;
pub use inferences::{MAX_PAYLOAD_BYTES, read_inferences, write_inferences};
pub use landing::{DecodeLimits, Landed, Rows, decode_source};
pub use merge::{MergedFile, merge, merge_into_file, merge_outcomes, merge_predictions};
pub use outcomes::{read_outcomes, write_outcomes};
pub use parquet_file::{FOOTER_BYTES, footer_rows};
pub use predictions::{MAX_INPUTS_BYTES, PredictionRows, read_predictions, write_prediction_rows, write_predictions};
pub use quarantine::{BadLine, QuarantinedLine};
pub use record::{Record, RecordStream};
pub use sagemaker::GROUND_TRUTH_METRIC;
pub use shadows::{read_shadows, write_shadows};
