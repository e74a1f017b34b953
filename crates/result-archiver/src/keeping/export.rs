use std::collections::BTreeMap;

use archive::{data_capture_lines, ground_truth_line};
use bytes::Bytes;
use cloud::object_store::{GetObject, ListObjects, PutCondition, PutObject};
use domain::{
    Hour, ModelName, OutcomeEvent, OutcomeState, PredictionId, PredictionRecord,
    lake::{self, Partition, Table},
};
use serde::Serialize;

use super::{hour_files, records};
use crate::ArchiverError;

/// Which hours, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportRange {
    /// The first; from the beginning where absent.
    pub from: Option<Hour>,
    /// The last; to the end where absent.
    pub to: Option<Hour>,
}

impl ExportRange {
    fn holds(self, hour: Hour) -> bool {
        self.from.is_none_or(|from| from <= hour) && self.to.is_none_or(|to| hour <= to)
    }
}

/// What an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ExportSummary {
    /// Hours read.
    pub hours: u64,
    /// Files written.
    pub files: u64,
    /// Lines in them.
    pub lines: u64,
}

/// Writes archived predictions as Data Capture files, `<prefix><endpoint>/<variant>/yyyy/mm/dd/hh/…`, one per hour and
/// variant. The same hour is the same file, so that an export can be repeated.
///
/// # Errors
/// A store does not answer, or an hour file cannot be read.
pub async fn export_data_capture<S, T>(
    store: &S,
    model: &ModelName,
    range: ExportRange,
    sink: &T,
    prefix: &str,
) -> Result<ExportSummary, ArchiverError>
where
    S: GetObject + ListObjects + ?Sized,
    T: PutObject + ?Sized,
{
    let mut summary = ExportSummary::default();
    for hour in hours(store, model, range).await? {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for record in predictions(store, model, hour).await? {
            let file = lake::data_capture_file(&record.endpoint, &record.variant, hour, &name(model, hour));
            for line in data_capture_lines(&record) {
                append(&mut files, &file, &line, &mut summary);
            }
        }
        write(sink, prefix, files, &mut summary).await?;
        summary.hours += 1;
    }
    Ok(summary)
}

/// Writes the arrivals of archived predictions as ground-truth files, `<prefix>yyyy/mm/dd/hh/…` by the hour in which the
/// last word on each was observed.
///
/// # Errors
/// A store does not answer, or an hour file cannot be read.
pub async fn export_ground_truth<S, T>(
    store: &S,
    model: &ModelName,
    range: ExportRange,
    sink: &T,
    prefix: &str,
) -> Result<ExportSummary, ArchiverError>
where
    S: GetObject + ListObjects + ?Sized,
    T: PutObject + ?Sized,
{
    let mut summary = ExportSummary::default();
    for hour in hours(store, model, range).await? {
        let outcomes = Partition { table: Table::Outcomes, hour };
        let events: Vec<OutcomeEvent> = records(store, &lake::hour_file(&outcomes)).await?.unwrap_or_default();
        let mut by_id: BTreeMap<PredictionId, Vec<OutcomeEvent>> = BTreeMap::new();
        for event in events {
            by_id.entry(event.prediction_id).or_default().push(event);
        }
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for record in predictions(store, model, hour).await? {
            let Some(events) = by_id.get(&record.prediction_id) else { continue };
            let Some(line) = ground_truth_line(&record, &OutcomeState::from_events(events)) else { continue };
            let last = events.iter().map(|event| event.observed_at).max().unwrap_or(record.requested_at);
            // Named by the hour of the predictions: several of them may be collected in one hour.
            let file = lake::ground_truth_file(Hour::of(last), &name(model, hour));
            append(&mut files, &file, &line, &mut summary);
        }
        write(sink, prefix, files, &mut summary).await?;
        summary.hours += 1;
    }
    Ok(summary)
}

fn name(model: &ModelName, hour: Hour) -> String {
    format!("{model}-{hour}")
}

async fn hours<S>(store: &S, model: &ModelName, range: ExportRange) -> Result<Vec<Hour>, ArchiverError>
where
    S: ListObjects + ?Sized,
{
    let table = Table::Predictions(model.clone());
    let files = hour_files(store).await?;
    let of_model = files.into_iter().filter(|(partition, _)| partition.table == table);
    Ok(of_model.map(|(partition, _)| partition.hour).filter(|hour| range.holds(*hour)).collect())
}

async fn predictions<S>(store: &S, model: &ModelName, hour: Hour) -> Result<Vec<PredictionRecord>, ArchiverError>
where
    S: GetObject + ?Sized,
{
    let partition = Partition { table: Table::Predictions(model.clone()), hour };
    Ok(records(store, &lake::hour_file(&partition)).await?.unwrap_or_default())
}

fn append(files: &mut BTreeMap<String, String>, file: &str, line: &str, summary: &mut ExportSummary) {
    let text = files.entry(file.to_owned()).or_default();
    text.push_str(line);
    text.push('\n');
    summary.lines += 1;
}

async fn write<T: PutObject + ?Sized>(
    sink: &T,
    prefix: &str,
    files: BTreeMap<String, String>,
    summary: &mut ExportSummary,
) -> Result<(), ArchiverError> {
    for (file, text) in files {
        sink.put_object(&format!("{prefix}{file}"), Bytes::from(text), PutCondition::Always).await?;
        summary.files += 1;
    }
    Ok(())
}
