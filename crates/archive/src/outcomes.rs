use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use domain::{DomainError, MetricValue, OutcomeEvent, PredictionId, truncate_to_micros};
use jiff::Timestamp;

use crate::{
    ArchiveError, Rejection,
    parquet_file::{self, BATCH_ROWS, Batch, micros, optional},
    schema::{OUTCOMES, arrow_schema},
};

/// The event as the archive keeps it: without nanoseconds.
pub(crate) fn to_micros(event: OutcomeEvent) -> OutcomeEvent {
    let opt = |time: Option<Timestamp>| time.map(truncate_to_micros);
    OutcomeEvent {
        observed_at: truncate_to_micros(event.observed_at),
        dispatched_at: opt(event.dispatched_at),
        arrived_at: opt(event.arrived_at),
        cancelled_at: opt(event.cancelled_at),
        ..event
    }
}

fn check(event: &OutcomeEvent) -> Result<(), Rejection> {
    let finite = |value: &MetricValue| !matches!(value, MetricValue::Numeric(number) if !number.is_finite());
    if event.metrics.values().all(finite) {
        Ok(())
    } else {
        Err(Rejection::new("not_finite", "metrics must be finite numbers or booleans"))
    }
}

/// Events as a Parquet file of [`OUTCOMES`]. The same events are the same bytes, whatever their order. Times are kept
/// to the microsecond.
///
/// # Errors
/// An event with a metric that is not finite.
pub fn write_outcomes(events: &[OutcomeEvent]) -> Result<Bytes, ArchiveError> {
    let mut rows: Vec<Row> = events.iter().map(|event| Row::of(to_micros(event.clone()))).collect();
    rows.sort_by(|left, right| left.order().cmp(&right.order()));
    write_rows(rows.into_iter().map(Ok))
}

/// Writes events that come in the archive's order, holding no more than a batch and a row group in memory.
pub(crate) fn write_sorted(
    events: impl Iterator<Item = Result<OutcomeEvent, ArchiveError>>,
) -> Result<Bytes, ArchiveError> {
    write_rows(events.map(|event| Ok(Row::of(to_micros(event?)))))
}

fn write_rows(mut rows: impl Iterator<Item = Result<Row, ArchiveError>>) -> Result<Bytes, ArchiveError> {
    let mut next_rows = || -> Result<Vec<Row>, ArchiveError> {
        rows.by_ref().take(BATCH_ROWS).map(|row| row.and_then(Row::checked)).collect()
    };
    let batches = std::iter::from_fn(|| match next_rows() {
        Ok(rows) if rows.is_empty() => None,
        Ok(rows) => Some(batch(&rows)),
        Err(error) => Some(Err(error)),
    });
    parquet_file::write(arrow_schema(OUTCOMES), &["prediction_id", "observed_at", "event_digest"], &[], batches)
}

struct Row {
    event: OutcomeEvent,
    id: String,
    metrics: String,
    digest: String,
}

impl Row {
    fn of(event: OutcomeEvent) -> Self {
        Self {
            id: event.prediction_id.to_string(),
            metrics: serde_json::to_string(&event.metrics).unwrap_or_default(),
            digest: event.digest(),
            event,
        }
    }

    fn order(&self) -> (PredictionId, Timestamp, &str) {
        (self.event.prediction_id, self.event.observed_at, &self.digest)
    }

    fn checked(self) -> Result<Self, ArchiveError> {
        match check(&self.event) {
            Ok(()) => Ok(self),
            Err(rejection) => Err(ArchiveError::Unstorable { prediction_id: self.id, rejection }),
        }
    }
}

fn batch(rows: &[Row]) -> Result<RecordBatch, ArchiveError> {
    let text = |of: fn(&Row) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
    let times = |of: fn(&OutcomeEvent) -> Option<Timestamp>| -> ArrayRef {
        let values = rows.iter().map(|row| of(&row.event).map(micros));
        Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let candidate_id = |row: &'_ Row| row.event.candidate_id.as_ref().map(|id| id.as_str().to_owned());
    let arrays: Vec<ArrayRef> = vec![
        text(|row| &row.id),
        Arc::new(rows.iter().map(candidate_id).collect::<StringArray>()),
        times(|event| Some(event.observed_at)),
        times(|event| event.dispatched_at),
        times(|event| event.arrived_at),
        times(|event| event.cancelled_at),
        text(|row| &row.metrics),
        text(|row| &row.digest),
    ];
    Ok(RecordBatch::try_new(arrow_schema(OUTCOMES), arrays)?)
}

/// The events of a Parquet file of [`OUTCOMES`], in the file's order. Columns that the schema does not know are ignored.
///
/// # Errors
/// Not a Parquet file; a column missing or of another type; a value that no event has.
pub fn read_outcomes(bytes: Bytes) -> Result<Vec<OutcomeEvent>, ArchiveError> {
    stream_outcomes(bytes)?.collect()
}

/// The same, batch by batch.
pub(crate) fn stream_outcomes(
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<OutcomeEvent, ArchiveError>>, ArchiveError> {
    let wanted: Vec<_> = OUTCOMES.iter().collect();
    let chunks = parquet_file::read(bytes, &wanted)?.map(|batch| match batch.and_then(|batch| events_of(&batch)) {
        Ok(events) => events.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    Ok(chunks.flatten())
}

fn events_of(batch: &Batch) -> Result<Vec<OutcomeEvent>, ArchiveError> {
    let (ids, candidates) = (batch.text("prediction_id")?, batch.text("candidate_id")?);
    let metrics = batch.text("metrics")?;
    let (observed, dispatched) = (batch.timestamps("observed_at")?, batch.timestamps("dispatched_at")?);
    let (arrived, cancelled) = (batch.timestamps("arrived_at")?, batch.timestamps("cancelled_at")?);
    let event = |row| {
        let invalid = |column: &'static str| move |error: DomainError| batch.invalid(row, column, error);
        let metrics: BTreeMap<String, MetricValue> =
            serde_json::from_str(metrics.value(row)).map_err(|error| batch.invalid(row, "metrics", error))?;
        Ok(OutcomeEvent {
            prediction_id: ids.value(row).parse().map_err(invalid("prediction_id"))?,
            candidate_id: optional(candidates, row).map(str::parse).transpose().map_err(invalid("candidate_id"))?,
            observed_at: observed.at(row)?,
            dispatched_at: dispatched.opt_at(row)?,
            arrived_at: arrived.opt_at(row)?,
            cancelled_at: cancelled.opt_at(row)?,
            metrics,
        })
    };
    (0..batch.len()).map(event).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{merge_outcomes, samples};

    #[test]
    fn refuses_metrics_that_are_not_finite() {
        let mut event = samples::outcome(1);
        event.metrics.insert("fare".into(), MetricValue::Numeric(f64::NAN));
        assert_eq!(write_outcomes(&[event]).unwrap_err().reason(), "not_finite");
    }

    #[test]
    fn drops_nanoseconds_only() {
        let mut event = samples::outcome(1);
        event.observed_at = "2026-01-31T12:00:00.123456789Z".parse().unwrap();
        let read = read_outcomes(write_outcomes(&[event.clone()]).unwrap()).unwrap();
        assert_eq!(read, [to_micros(event)]);
        assert_eq!(read[0].observed_at.to_string(), "2026-01-31T12:00:00.123456Z");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn round_trip_loses_nothing(events in samples::outcomes()) {
            let merged = merge_outcomes([events]);
            let bytes = write_outcomes(&merged).unwrap();
            prop_assert_eq!(&read_outcomes(bytes.clone()).unwrap(), &merged);
            let reversed: Vec<_> = merged.into_iter().rev().collect();
            prop_assert_eq!(write_outcomes(&reversed).unwrap(), bytes);
        }
    }
}
