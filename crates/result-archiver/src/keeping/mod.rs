//! Looking after the archive: what lies where, whether all is there, and what may go.

mod export;
mod gc;
mod query;
mod redrive;
mod stats;
mod verify;

use archive::Record;
use cloud::object_store::{GetObject, ListObjects, ListedObject};
use domain::{lake, lake::Partition};

pub use export::{ExportRange, ExportSummary, export_data_capture, export_ground_truth};
pub use gc::{Garbage, GcPolicy, GcReport, Retention, collect_garbage};
pub use query::{Found, Place, find_prediction};
pub use redrive::{RedriveReport, redrive};
pub use stats::{ArchiveStats, LandingStats, TableStats, archive_stats};
pub use verify::{Expected, HourReport, Trouble, VerifyReport, verify};

use crate::ArchiverError;

/// The records of a Parquet object; `None` where it is not there.
async fn records<R: Record, S: GetObject + ?Sized>(store: &S, key: &str) -> Result<Option<Vec<R>>, ArchiverError> {
    let Some(object) = store.get_object(key, None).await?.found() else { return Ok(None) };
    let read = R::read(object.bytes);
    read.map(Some).map_err(|source| ArchiverError::Archive { key: key.to_owned(), source })
}

/// All hour files, with their table and hour. Other objects below `archive/` are passed over.
async fn hour_files<S: ListObjects + ?Sized>(store: &S) -> Result<Vec<(Partition, ListedObject)>, ArchiverError> {
    let listed = store.list_objects(lake::ARCHIVE).await?;
    Ok(listed.into_iter().filter_map(|object| Some((lake::hour_file_partition(&object.key)?, object))).collect())
}

/// The row families, for code that treats them alike.
macro_rules! for_table {
    ($table:expr, $function:ident, $($argument:expr),*) => {
        match $table {
            lake::Table::Predictions(_) => $function::<PredictionRecord, _>($($argument),*).await,
            lake::Table::Shadows(_) => $function::<ShadowRecord, _>($($argument),*).await,
            lake::Table::Outcomes => $function::<OutcomeEvent, _>($($argument),*).await,
            lake::Table::Inferences(_) => $function::<InferenceRecord, _>($($argument),*).await,
        }
    };
}
use for_table;
