//! The batch transform: files in, training view out, by the very plan that serves.
//!
//! [`transform`] reads [`Source`]s (Parquet, CSV or JSON lines; text plain, gzip or zstd: told by the first bytes), takes
//! the plan's inputs by name, and writes
//! - the **training view**: the label, then the model's columns in the spec's order, all numeric, nothing else, as
//!   SageMaker's built-in XGBoost reads it: CSV (no header; an empty cell is a missing value) or Parquet (doubles);
//! - the **rejects**: one JSON line per value that the spec does not allow, with its source, row, reason and the row's
//!   inputs. The rest goes on.
//!
//! [`Summary::sample`] is a uniform sample of the view, of bounded size, for what tells its distributions.
//!
//! [`run_files`] does so for files of a disk.
//!
//! [`build_lookup`] makes a lookup table of such sources, [`LookupFile`] is a table as a file.
//!
//! **The law**: the view depends on the good rows and their order alone. Any split into files, row groups and batches,
//! any format that keeps the values, any number of threads: the same bytes.
//!
//! **Memory** does not depend on the size of the input. Rows are worked on in batches of at most [`BATCH_ROWS`] rows and
//! [`BATCH_BYTES`] bytes of text; a thread holds one batch, at most a handful wait for an earlier one to be written, and
//! a Parquet view holds one row group in the making and one per thread in encoding, each of at most [`GROUP_BYTES`].
//! What the input decides is its own Parquet page size.
//!
//! Threads are equals: each takes the next batch (one reads at a time), transforms it, and hands it in; what is handed
//! in is written in order by whoever is there. Pure but for the readers and writers it is given.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod batch;
mod csv_reader;
mod csv_view;
mod error;
mod files;
mod in_order;
mod json_reader;
mod lookup_build;
mod lookup_file;
mod lookup_import;
mod parquet_column;
mod parquet_reader;
mod parquet_view;
mod rejects;
mod rows;
mod sample;
mod source;
mod source_columns;
mod summary;
mod text;
mod transform;

pub use batch::{BATCH_BYTES, BATCH_ROWS};
pub use error::BatchError;
pub use files::run_files;
pub use lookup_build::{BuiltLookup, FoldOrder, LookupOrder, RowWindow, build_lookup};
pub use lookup_file::{LookupFile, lookup_table_of_object};
pub use parquet_view::GROUP_BYTES;
pub use rejects::RejectLine;
pub use sample::ViewSample;
pub use source::{FileSource, RangeSource, Source};
pub use summary::{Progress, SourceSummary, Summary};
pub use text::{MAX_LINE_BYTES, SourceFormat};
pub use transform::{Options, ViewFormat, transform};
