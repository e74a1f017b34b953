//! Dataset versions: immutable, named by their content, published whole.
//!
//! An extract goes in steps, each of which can be repeated, by the same process or another:
//! 1. [`plan`]: the warehouse runs the query, its result stands still, its streams are open. One document says so.
//! 2. [`read_streams`]: each stream's rows become **chunks**: rows in the order of their hashes, cut into segments. A chunk's
//!    key has the rows that it begins and ends with, so that the key is the checkpoint.
//! 3. [`layout`]: the chunks tell the rows, their bytes and the sum of their hashes: the **address**, and how many files.
//! 4. [`write_parts`]: each file has a range of the hashes, out of all chunks. Its bytes depend on the set of rows alone.
//! 5. [`publish`]: what is expected of the rows is checked; then one conditional put of the manifest makes the version
//!    visible; then the pointer is moved by compare-and-swap; then the chunks go.
//!
//! **The law**: the same order of the same rows is the same address and the same bytes, whatever the streams, their order,
//! the batches, and the deaths on the way.
//!
//! **Memory** does not depend on the number of rows: each stream that is read has one chunk in the making, each file that is
//! written is at most [`PART_BYTES`] of rows and their Parquet. (A single range of hashes is larger where very many different
//! rows share it, which hashes do not; rows that are alike are kept once, with a count.)
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod cells;
mod chunk;
mod diff;
mod error;
mod extract;
mod gc;
mod layout;
mod manifest;
mod part;
mod plan;
mod publish;
mod quality;
mod read_streams;
mod row_hash;
mod statistics;
mod unique;
mod verify;
mod versions;

pub use cells::{Cells, MAX_CELLS};
use cloud::object_store::{DeleteObject, GetObject, GetRange, HeadObject, ListObjects, PutObject};
pub use diff::{ColumnDiff, Diff, diff};
pub use error::DatasetsError;
pub use extract::{Extracted, Progress, Working, already, extract, finish};
pub use gc::{GcPolicy, GcReport, collect_garbage};
pub use layout::{PART_BYTES, layout};
pub use manifest::{Column, DataFile, FORMAT, FileInput, Identity, Manifest, Origin, Parent, Pin, Pointer};
pub use part::{OnPart, write_parts};
pub use plan::{
    Definition, LaidChunk, Layout, Order, Plan, Planned, PlannedSession, plan, read_plan, under_way, version_of_job,
};
pub use publish::{PointerOutcome, Published, Publishing, publish};
pub use quality::{Check, ColumnExpectations, Expectations, Freshness, failed_table};
pub use read_streams::{OnRows, ReadSummary, Reading, read_streams};
pub use row_hash::RowsDigest;
pub use statistics::{ColumnStatistics, MAX_TEXTS, Numbers, Texts};
pub use verify::{Verified, verify};
pub use versions::{ListedVersion, datasets, in_use, is_pin, list, pin, promote, read_manifest, resolve};

/// The verbs of the object store that datasets need.
pub trait DatasetStore: GetObject + PutObject + DeleteObject + ListObjects + HeadObject + GetRange {}

impl<T: GetObject + PutObject + DeleteObject + ListObjects + HeadObject + GetRange> DatasetStore for T {}
