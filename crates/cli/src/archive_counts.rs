//! What stands in the archive, counted from its files.

use std::collections::HashSet;

use archive::{read_outcomes, read_prediction_columns};
use cloud::object_store::{GetObject, ListObjects};
use domain::{
    ModelName, PredictionId,
    lake::{self, Table},
};
use serde::Serialize;

use crate::error::CliError;

/// Counts over all hour files.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ArchiveCounts {
    /// Prediction ids, each counted once.
    pub(crate) predictions: u64,
    /// Rows: one per candidate.
    pub(crate) candidates: u64,
    /// Prediction ids that stand in more than one place.
    pub(crate) duplicates: u64,
    /// Outcome events.
    pub(crate) outcome_events: u64,
    /// Predictions with an outcome event.
    pub(crate) outcomes: u64,
    /// Hour files read.
    pub(crate) files: u64,
    /// Landing objects and segments that are not in an hour file yet.
    pub(crate) pending_objects: u64,
    /// Lines in quarantine.
    pub(crate) quarantined: u64,
}

/// Reads every hour file of a model, and of the outcomes.
pub(crate) async fn count<S: GetObject + ListObjects>(lake: &S, model: &ModelName) -> Result<ArchiveCounts, CliError> {
    let mut counts = ArchiveCounts::default();
    let mut seen: HashSet<PredictionId> = HashSet::new();
    for object in lake.list_objects(&Table::Predictions(model.clone()).archive_prefix()).await? {
        let Some(file) = lake.get_object(&object.key, None).await?.found() else { continue };
        let columns = read_prediction_columns(file.bytes).map_err(|error| unreadable(&object.key, &error))?;
        counts.files += 1;
        counts.candidates += columns.len() as u64;
        let mut previous = None;
        for &id in &columns.prediction_id {
            // The rows of one record follow each other; an id that comes back is a second record.
            if previous != Some(id) && !seen.insert(id) {
                counts.duplicates += 1;
            }
            previous = Some(id);
        }
    }
    counts.predictions = seen.len() as u64;
    let mut with_outcome: HashSet<PredictionId> = HashSet::new();
    for object in lake.list_objects(&Table::Outcomes.archive_prefix()).await? {
        let Some(file) = lake.get_object(&object.key, None).await?.found() else { continue };
        let events = read_outcomes(file.bytes).map_err(|error| unreadable(&object.key, &error))?;
        counts.files += 1;
        counts.outcome_events += events.len() as u64;
        with_outcome.extend(events.iter().map(|event| event.prediction_id));
    }
    counts.outcomes = with_outcome.len() as u64;
    for prefix in [lake::LANDING, lake::SEGMENTS] {
        counts.pending_objects += lake.list_objects(prefix).await?.len() as u64;
    }
    counts.quarantined = lake.list_objects(lake::QUARANTINE).await?.len() as u64;
    Ok(counts)
}

fn unreadable(key: &str, error: &archive::ArchiveError) -> CliError {
    CliError::Unexpected(format!("`{key}`: {error}"))
}
