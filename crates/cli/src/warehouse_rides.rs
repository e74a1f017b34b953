//! Rides in the warehouse: where an extract begins.

use domain::OutcomeEvent;
use local_warehouse::{Field, Kind, Mode, Schema, Warehouse, WriteDisposition};
use rides::TrainingRow;
use serde_json::{Map, Value, json};

use crate::error::CliError;

/// What models learn from: one row for each ride that a car was sent to.
pub(crate) const TRAINING_TABLE: &str = "rides.training";
/// What became of the rides: one row for each thing that the app learnt of a prediction.
const OUTCOMES_TABLE: &str = "rides.outcomes";

/// Replaces the table of training rides; gives how many there are. Columns: `requested_at`, the inputs of request and car by their
/// names, `drive_s`.
pub(crate) fn write_training(warehouse: &Warehouse, rows: &[TrainingRow]) -> Result<u64, CliError> {
    write(warehouse, rows, WriteDisposition::Truncate)
}

/// Appends to the table of training rides.
pub(crate) fn append_training(warehouse: &Warehouse, rows: &[TrainingRow]) -> Result<u64, CliError> {
    write(warehouse, rows, WriteDisposition::Append)
}

fn write(warehouse: &Warehouse, rows: &[TrainingRow], disposition: WriteDisposition) -> Result<u64, CliError> {
    let mut fields = vec![required("requested_at", Kind::Timestamp)];
    if let Some(row) = rows.first() {
        let names = row.inputs.keys().chain(row.candidate_inputs.keys());
        let kind = |name: &str| if name.ends_with("_zone") { Kind::Int64 } else { Kind::Float64 };
        fields.extend(names.map(|name| Field::new(name, kind(name))));
    }
    fields.push(required("drive_s", Kind::Float64));
    let object = |row: &TrainingRow| {
        let mut object: Map<String, Value> = row.inputs.clone();
        object.extend(row.candidate_inputs.clone());
        object.insert("requested_at".to_owned(), row.requested_at.to_string().into());
        object.insert("drive_s".to_owned(), row.drive_s.into());
        Value::Object(object)
    };
    let table = warehouse.table_ref(TRAINING_TABLE)?;
    Ok(warehouse.write_rows(&table, &Schema(fields), disposition, rows.iter().map(object))?)
}

/// Replaces the table of outcomes; gives how many there are. Columns: `prediction_id`, `candidate_id`, `observed_at`,
/// `dispatched_at`, `arrived_at`, `cancelled_at`.
pub(crate) fn write_outcomes(warehouse: &Warehouse, events: &[OutcomeEvent]) -> Result<u64, CliError> {
    let moments = ["dispatched_at", "arrived_at", "cancelled_at"];
    let mut fields = vec![
        required("prediction_id", Kind::String),
        Field::new("candidate_id", Kind::String),
        required("observed_at", Kind::Timestamp),
    ];
    fields.extend(moments.map(|name| Field::new(name, Kind::Timestamp)));
    let object = |event: &OutcomeEvent| {
        json!({
            "prediction_id": event.prediction_id,
            "candidate_id": event.candidate_id,
            "observed_at": event.observed_at,
            "dispatched_at": event.dispatched_at,
            "arrived_at": event.arrived_at,
            "cancelled_at": event.cancelled_at,
        })
    };
    let table = warehouse.table_ref(OUTCOMES_TABLE)?;
    Ok(warehouse.write_rows(&table, &Schema(fields), WriteDisposition::Truncate, events.iter().map(object))?)
}

fn required(name: &str, kind: Kind) -> Field {
    Field { mode: Mode::Required, ..Field::new(name, kind) }
}
