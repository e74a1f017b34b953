//! The archive's columns, one by one.
//!
//! The tables below are the contract with every other reader (Athena, DuckDB, Spark, pandas). Nullable columns may be
//! added at any time: readers ignore those they do not know, and a file from before has NULLs in them. None may be removed
//! or change its meaning. `SCHEMA.md` is
//! [`markdown`]'s text, and a test keeps it so.

use std::{fmt::Write, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The logical types in use: those that every engine reads alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE 754 double.
    Float64,
    /// A list of doubles, each of which may be NULL.
    FloatList,
    /// Microseconds since 1970-01-01 UTC.
    TimestampUtc,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// What it holds.
    pub doc: &'static str,
}

const fn column(name: &'static str, column_type: ColumnType, doc: &'static str) -> Column {
    Column { name, column_type, nullable: false, doc }
}

const fn nullable(name: &'static str, column_type: ColumnType, doc: &'static str) -> Column {
    Column { name, column_type, nullable: true, doc }
}

use ColumnType::{Float64, FloatList, Int32, Int64, Text, TimestampUtc};

/// Predictions: one row per candidate, sorted by `prediction_id`, then `candidate_index`.
pub const PREDICTIONS: &[Column] = &[
    column("prediction_id", Text, "UUIDv7 of the request. Its time tells the hour that the row lies in."),
    column("candidate_id", Text, "The caller's name of the candidate (a car), unique within the request."),
    column("candidate_index", Int32, "Position of the candidate in the request, from 0."),
    // Not `model`: that is the path's partition column, and pandas refuses a file that has it too.
    column("model_name", Text, "The model that was asked. Equals the path's `model`."),
    column("model_version", Text, "Version of the model behind the variant."),
    column("release_id", Text, "The release that was in force (SHA-256 of its document)."),
    column("spec_hash", Text, "SHA-256 of the feature spec in its canonical form."),
    nullable("unit_id", Text, "What experiments randomise (the rider), where the caller named it."),
    column("requested_at", TimestampUtc, "Event time."),
    column("answered_at", TimestampUtc, "The function's clock when the answer was known."),
    nullable("experiment_id", Text, "The experiment, where the release has one."),
    column("arm", Text, "The arm that was assigned."),
    column("arm_probability", Float64, "Probability with which that arm was assigned, 0 to 1."),
    column("tier", Text, "Which tier answered: `endpoint`, `second-endpoint` or `fallback`."),
    nullable("tier_reason", Text, "Reason code, where it was not the first tier."),
    column("endpoint", Text, "The SageMaker endpoint that was asked."),
    column("variant", Text, "The production variant that answered, or was asked where none did."),
    column("prediction", Float64, "The answer, in the unit of the spec's prediction."),
    column("fallback", Float64, "What the fallback expression says, whichever tier answered."),
    column("features", FloatList, "The model's input row, in the spec's output order. NULL where a feature is NULL."),
    column("inputs", Text, "JSON object: the raw inputs shared by all candidates, as they came."),
    column("candidate_inputs", Text, "JSON object: the raw inputs of this candidate, as they came."),
    column("transform_us", Int64, "Microseconds spent validating and transforming the inputs (whole request)."),
    column("endpoint_us", Int64, "Microseconds spent waiting for endpoints (whole request)."),
    column("total_us", Int64, "Microseconds from the invocation's arrival until the answer was known."),
    nullable("ride_id", Text, "The ride that the request is a refresh of, where the caller named it."),
    nullable(
        "randomised_unit",
        Text,
        "What was randomised where that is not `unit_id`: `<zone>|<slot's beginning, s since 1970>`.",
    ),
    nullable("assignment_excluded", Text, "Why the row does not count in its experiment: `forced` or `carry-over`."),
    nullable("last_shown", Float64, "What the rider had been shown before, as the request said it."),
    nullable(
        "shown",
        Float64,
        "What the promise's policy said to show. NULL where the release has none: then `prediction`.",
    ),
    nullable("lower", Float64, "Lower end of the promise's interval. NULL where the release has none."),
    nullable("upper", Float64, "Upper end of the promise's interval. NULL where the release has none."),
    nullable(
        "uncorrected",
        Float64,
        "What the endpoint had said, where the release's correction made the prediction of it. NULL elsewhere.",
    ),
];

/// What shadow arms said: one row per shadow arm and candidate, sorted by `prediction_id`, then `arm`, then
/// `candidate_index`. They were never answered; join them with the predictions by `prediction_id` and `candidate_id`.
pub const SHADOWS: &[Column] = &[
    column("prediction_id", Text, "The prediction that this is a shadow of. Its time tells the hour."),
    column("candidate_id", Text, "The caller's name of the candidate."),
    column("candidate_index", Int32, "Position of the candidate in the request, from 0."),
    column("model_name", Text, "The model that was asked. Equals the path's `model`."),
    column("model_version", Text, "Version of the model behind the shadow's variant."),
    column("release_id", Text, "The release that was in force (SHA-256 of its document)."),
    column("arm", Text, "The shadow arm."),
    column("endpoint", Text, "The SageMaker endpoint that was asked."),
    column("variant", Text, "The production variant that was asked."),
    column("answered_at", TimestampUtc, "The function's clock when the shadow had answered, or failed."),
    nullable("reason", Text, "Reason code, where it has no predictions."),
    nullable(
        "prediction",
        Float64,
        "What it predicts, in the unit of the spec's prediction. NULL where there is a `reason`.",
    ),
    column("endpoint_us", Int64, "Microseconds spent waiting for it (whole request)."),
];

/// Outcomes: one row per event, sorted by `prediction_id`, then `observed_at`, then `event_digest`.
pub const OUTCOMES: &[Column] = &[
    column("prediction_id", Text, "The prediction that this is the outcome of. Its time tells the hour."),
    nullable("candidate_id", Text, "The candidate that was dispatched."),
    column("observed_at", TimestampUtc, "When the reporting system learnt of it. Orders corrections."),
    nullable("dispatched_at", TimestampUtc, "When the candidate was dispatched."),
    nullable("arrived_at", TimestampUtc, "When it arrived."),
    nullable("cancelled_at", TimestampUtc, "When the ride was cancelled."),
    column("metrics", Text, "JSON object: business metrics by name, numbers or booleans."),
    column("event_digest", Text, "SHA-256 of the event: the same event sent twice is one row."),
];

/// Inferences that SageMaker itself recorded: one row per event, sorted by `inference_id`, then `event_digest`.
pub const INFERENCES: &[Column] = &[
    column("inference_id", Text, "The caller's `InferenceId`; SageMaker's event id where there was none."),
    nullable("prediction_id", Text, "The prediction that this is the inference of, where the inference id names one."),
    nullable("candidate_id", Text, "The candidate, where the inference id names one."),
    column("model_name", Text, "The model, as the landing prefix names it."),
    column("source", Text, "Who saw it: `data-capture`, `batch-transform` or `async-inference`."),
    nullable("event_id", Text, "SageMaker's id of the event."),
    column("inference_time", TimestampUtc, "When the model was asked, by SageMaker's clock."),
    nullable("endpoint", Text, "The SageMaker endpoint."),
    nullable("variant", Text, "The production variant."),
    nullable("input_content_type", Text, "The media type of the input."),
    nullable("input_encoding", Text, "How `input` is written: `CSV`, `JSON` or `BASE64`."),
    nullable("input", Text, "What the model was asked."),
    nullable("output_content_type", Text, "The media type of the output."),
    nullable("output_encoding", Text, "How `output` is written: `CSV`, `JSON` or `BASE64`."),
    nullable("output", Text, "What the model answered."),
    nullable("input_location", Text, "The S3 object that holds the input (asynchronous inference)."),
    nullable("output_location", Text, "The S3 object that holds the output (asynchronous inference)."),
    nullable("failure", Text, "Why the model did not answer (asynchronous inference)."),
    column("event_digest", Text, "SHA-256 of the record: the same event delivered twice is one row."),
];

/// The name of a list's items, as Parquet's own specification has it.
pub(crate) const LIST_ITEM: &str = "element";

impl ColumnType {
    pub(crate) fn to_arrow(self) -> DataType {
        match self {
            Text => DataType::Utf8,
            Int32 => DataType::Int32,
            Int64 => DataType::Int64,
            Float64 => DataType::Float64,
            FloatList => DataType::List(Arc::new(Field::new(LIST_ITEM, DataType::Float64, true))),
            TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// The type that a column is read as.
    pub(crate) fn to_arrow_of(column: &Column) -> DataType {
        column.column_type.to_arrow()
    }

    /// Whether a file's column can be read as this type: the name of a list's items is free.
    pub(crate) fn accepts(self, found: &DataType) -> bool {
        match (self, found) {
            (FloatList, DataType::List(item)) => item.data_type() == &DataType::Float64,
            (TimestampUtc, DataType::Timestamp(TimeUnit::Microsecond, zone)) => zone.is_some(),
            _ => *found == self.to_arrow(),
        }
    }

    /// The name in `SCHEMA.md` and in errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Text => "string",
            Int32 => "int32",
            Int64 => "int64",
            Float64 => "double",
            FloatList => "list<double>",
            TimestampUtc => "timestamp[us, UTC]",
        }
    }
}

pub(crate) fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| Field::new(column.name, column.column_type.to_arrow(), column.nullable);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The text of `SCHEMA.md`.
pub fn markdown() -> String {
    let mut text = "# The archive's columns\n\nGenerated from `src/schema.rs`; `cargo test -p archive` says when it is stale, and\n\
        `UPDATE_SCHEMA=1 cargo test -p archive` writes it anew. Partition columns (`model`, `dt`, `hour`) are in the path only.\n\
        All times are UTC. Nullable columns may be added; a file from before has NULLs in them. None is removed or changes its meaning.\n"
        .to_owned();
    let tables = [
        ("Predictions", "One row per candidate, sorted by `prediction_id`, `candidate_index`.", PREDICTIONS),
        (
            "Shadows",
            "One row per shadow arm and candidate, sorted by `prediction_id`, `arm`, `candidate_index`. Never answered.",
            SHADOWS,
        ),
        ("Outcomes", "One row per event, sorted by `prediction_id`, `observed_at`, `event_digest`.", OUTCOMES),
        (
            "Inferences",
            "What SageMaker itself recorded. One row per event, sorted by `inference_id`, `event_digest`.",
            INFERENCES,
        ),
    ];
    for (title, about, columns) in tables {
        _ = writeln!(text, "\n## {title}\n{about}\n\n| column | type | NULL | what |\n|---|---|---|---|");
        for Column { name, column_type, nullable, doc } in columns {
            let null = if *nullable { "yes" } else { "" };
            _ = writeln!(text, "| `{name}` | {} | {null} | {doc} |", column_type.as_str());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_md_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SCHEMA.md");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == markdown(), "SCHEMA.md is stale; run `UPDATE_SCHEMA=1 cargo test -p archive`");
    }
}
