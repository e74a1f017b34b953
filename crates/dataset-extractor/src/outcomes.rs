//! What really happened, out of a warehouse: rows of `outcomes.sql` to outcome events in the landing area.
//!
//! Columns: `prediction_id` (STRING) and `observed_at` (TIMESTAMP); as far as they are known `candidate_id` (STRING),
//! `dispatched_at`, `arrived_at`, `cancelled_at` (TIMESTAMP); every other column of numbers or booleans is a metric of its name.
//! One of these of another type is refused before anything lands: it would be lost, or be a metric.
//! An event's key is its content: rows that are landed again are the same objects, and the archive counts them once. A row that is
//! no event goes to quarantine with its reason, by its content too.

use std::collections::BTreeMap;

use archive::BadLine;
use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Float64Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::{DataType, Schema, TimeUnit};
use cloud::object_store::{PutCondition, PutObject};
use domain::{MetricValue, ModelName, OutcomeEvent, digest::sha256_hex, lake};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use warehouse::{Extract, Warehouse, WarehouseError};

use crate::ExtractorError;

/// Puts in flight at once.
const CONCURRENCY: usize = 32;

/// The columns that are an event's own, their types, and whether every event needs them.
const COLUMNS: [(&str, &str, bool); 6] = [
    ("prediction_id", "STRING", true),
    ("observed_at", "TIMESTAMP", true),
    ("candidate_id", "STRING", false),
    ("dispatched_at", "TIMESTAMP", false),
    ("arrived_at", "TIMESTAMP", false),
    ("cancelled_at", "TIMESTAMP", false),
];

/// What landing came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Landed {
    /// Rows read.
    pub rows: u64,
    /// Events that are in the landing area now.
    pub events: u64,
    /// Rows that are no event, and in quarantine, by why.
    pub rejected: BTreeMap<String, u64>,
    /// The first of them, in words.
    pub first_rejected: Option<String>,
}

/// Lands the rows of a query as outcome events.
///
/// # Errors
/// The warehouse, the lake, or a query whose columns are not those of an event. Events that were put stay, and putting them
/// again changes nothing.
pub async fn land_outcomes<S: PutObject>(
    lake: &S,
    dataset: &ModelName,
    warehouse: &dyn Warehouse,
    extract: &Extract,
    on_rows: &(dyn Fn(u64) + Send + Sync),
) -> Result<Landed, ExtractorError> {
    let staged = warehouse.stage_table(extract).await?;
    let session = warehouse.open_streams(&staged, 4).await?;
    check_columns(&session.schema)?;
    let mut landed = Landed::default();
    for name in &session.streams {
        let mut batches = warehouse.read_stream(name, session.schema.clone(), 0).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let (mut events, mut bad) = (Vec::with_capacity(batch.num_rows()), Vec::new());
            for row in 0..batch.num_rows() {
                match event(&batch, row) {
                    Ok(event) => events.push(event),
                    Err((reason, detail)) => {
                        *landed.rejected.entry(reason.to_owned()).or_default() += 1;
                        landed.first_rejected.get_or_insert_with(|| detail.clone());
                        bad.push(BadLine { offset: 0, reason, detail, original: row_json(&batch, row) });
                    }
                }
            }
            landed.rows += batch.num_rows() as u64;
            landed.events += events.len() as u64;
            put(lake, events).await?;
            quarantine(lake, dataset, bad).await?;
            on_rows(batch.num_rows() as u64);
        }
    }
    Ok(landed)
}

/// Whether the columns that are an event's own are of their types, and those are there that every event needs.
fn check_columns(schema: &Schema) -> Result<(), WarehouseError> {
    for (name, of, is_needed) in COLUMNS {
        let detail = match schema.field_with_name(name) {
            Err(_) if is_needed => format!("outcomes.sql gives no column `{name}` of type {of}"),
            Err(_) => continue,
            Ok(field) => match warehouse::column_type(field).unwrap_or_else(|| field.data_type().to_string()) {
                found if found == of => continue,
                found => format!("outcomes.sql's column `{name}` is of type {found}, and must be {of}"),
            },
        };
        return Err(WarehouseError::InvalidQuery(detail));
    }
    Ok(())
}

async fn put<S: PutObject>(lake: &S, events: Vec<OutcomeEvent>) -> Result<(), ExtractorError> {
    let puts = events.into_iter().map(async |event| {
        let key = lake::landing_outcome(event.prediction_id, &event.digest());
        let json = serde_json::to_vec(&event).unwrap_or_default();
        lake.put_object(&key, json.into(), PutCondition::Always).await
    });
    stream::iter(puts).buffer_unordered(CONCURRENCY).try_for_each(async |_| Ok(())).await?;
    Ok(())
}

async fn quarantine<S: PutObject>(lake: &S, dataset: &ModelName, bad: Vec<BadLine>) -> Result<(), ExtractorError> {
    let puts = bad.into_iter().map(async |row| {
        let name = lake::quarantined_outcome_row(dataset, &sha256_hex(&row.original));
        let document = row.to_document(&name);
        lake.put_object(&lake::quarantine(&name, row.offset), document.into(), PutCondition::Always).await
    });
    stream::iter(puts).buffer_unordered(CONCURRENCY).try_for_each(async |_| Ok(())).await?;
    Ok(())
}

/// A row as a JSON object, without NULLs: what can be an event's, times as RFC 3339, and the type's name for anything else.
fn row_json(batch: &RecordBatch, row: usize) -> Vec<u8> {
    let mut object = Map::new();
    let schema = batch.schema_ref();
    for (field, column) in schema.fields().iter().zip(batch.columns()).filter(|(_, column)| column.is_valid(row)) {
        let value = match column.data_type() {
            DataType::Utf8 => column.as_string::<i32>().value(row).into(),
            DataType::Boolean => column.as_boolean().value(row).into(),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
            // What JSON has no number for is its name.
            DataType::Float64 => match column.as_primitive::<Float64Type>().value(row) {
                number if number.is_finite() => number.into(),
                number => number.to_string().into(),
            },
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                Timestamp::from_microsecond(micros).map_or(json!(micros), |time| time.to_string().into())
            }
            other => Value::String(format!("({other})")),
        };
        object.insert(field.name().clone(), value);
    }
    serde_json::to_vec(&object).unwrap_or_default()
}

/// One row's event, or the reason and the words why it is none.
fn event(batch: &RecordBatch, row: usize) -> Result<OutcomeEvent, (&'static str, String)> {
    let column = |name: &str| batch.column_by_name(name).filter(|column| column.is_valid(row));
    let text = |name: &str| column(name).and_then(|column| Some(column.as_string_opt::<i32>()?.value(row)));
    let time = |name: &str| {
        let micros = column(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        micros.and_then(|micros| Timestamp::from_microsecond(micros.value(row)).ok())
    };
    let id = text("prediction_id").unwrap_or_default();
    let invalid = |error: domain::DomainError| (error.reason(), format!("prediction `{id}`: {error}"));
    let candidate_id = text("candidate_id").map(str::parse).transpose().map_err(invalid)?;
    let event = OutcomeEvent {
        prediction_id: id.parse().map_err(invalid)?,
        candidate_id,
        observed_at: time("observed_at")
            .ok_or_else(|| ("observed_at_missing", format!("prediction `{id}` has no observed_at")))?,
        dispatched_at: time("dispatched_at"),
        arrived_at: time("arrived_at"),
        cancelled_at: time("cancelled_at"),
        metrics: metrics(batch, row),
    };
    event.validate().map_err(invalid)?;
    Ok(event)
}

fn metrics(batch: &RecordBatch, row: usize) -> BTreeMap<String, MetricValue> {
    let schema = batch.schema_ref();
    let columns = schema.fields().iter().zip(batch.columns()).filter(|(_, column)| column.is_valid(row));
    let metrics = columns.filter_map(|(field, column)| {
        let value = match column.data_type() {
            DataType::Boolean => MetricValue::Binary(column.as_boolean().value(row)),
            DataType::Float64 => MetricValue::Numeric(column.as_primitive::<Float64Type>().value(row)),
            DataType::Int64 => MetricValue::Numeric(column.as_primitive::<Int64Type>().value(row) as f64),
            _ => return None,
        };
        Some((field.name().clone(), value))
    });
    metrics.collect()
}
