use std::{cmp::Ordering, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use domain::{
    DomainError, InferenceKey, InferenceRecord, InferenceSource, Payload, PayloadEncoding, truncate_to_micros,
};

use crate::{
    ArchiveError, Rejection,
    parquet_file::{self, BATCH_ROWS, Batch, micros, optional},
    schema::{INFERENCES, arrow_schema},
};

/// The most bytes of one payload. A batch of rows must fit into memory, and into Arrow's 32-bit offsets.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// The record as the archive keeps it: without nanoseconds.
pub(crate) fn to_micros(record: InferenceRecord) -> InferenceRecord {
    InferenceRecord { inference_time: truncate_to_micros(record.inference_time), ..record }
}

/// Refuses what no row can hold.
pub(crate) fn check(record: &InferenceRecord) -> Result<(), Rejection> {
    record.validate().map_err(|error| Rejection::new(error.reason(), error.to_string()))?;
    let fits =
        |payload: &Option<Payload>| payload.as_ref().is_none_or(|payload| payload.data.len() <= MAX_PAYLOAD_BYTES);
    if fits(&record.input) && fits(&record.output) {
        Ok(())
    } else {
        Err(Rejection::new("payload_too_large", format!("a payload has over {MAX_PAYLOAD_BYTES} bytes")))
    }
}

/// Inferences as a Parquet file of [`INFERENCES`]. The same records are the same bytes, whatever their order.
///
/// # Errors
/// A record that [no row can hold](MAX_PAYLOAD_BYTES).
pub fn write_inferences(records: &[InferenceRecord]) -> Result<Bytes, ArchiveError> {
    let mut rows: Vec<Row> = records.iter().map(|record| Row::of(to_micros(record.clone()))).collect();
    rows.sort_by(Row::order);
    write_rows(rows.into_iter().map(Ok))
}

/// Writes records that come in the archive's order, holding no more than a batch and a row group in memory.
pub(crate) fn write_sorted(
    records: impl Iterator<Item = Result<InferenceRecord, ArchiveError>>,
) -> Result<Bytes, ArchiveError> {
    write_rows(records.map(|record| Ok(Row::of(to_micros(record?)))))
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
    parquet_file::write(arrow_schema(INFERENCES), &["inference_id", "event_digest"], &[], batches)
}

struct Row {
    record: InferenceRecord,
    key: Option<InferenceKey>,
    digest: String,
}

impl Row {
    fn of(record: InferenceRecord) -> Self {
        Self { key: record.key(), digest: record.digest(), record }
    }

    fn order(&self, other: &Self) -> Ordering {
        (&self.record.inference_id, &self.digest).cmp(&(&other.record.inference_id, &other.digest))
    }

    fn checked(self) -> Result<Self, ArchiveError> {
        match check(&self.record) {
            Ok(()) => Ok(self),
            Err(rejection) => Err(ArchiveError::Unstorable { prediction_id: self.record.inference_id, rejection }),
        }
    }

    fn candidate_id(&self) -> Option<&str> {
        self.key.as_ref()?.candidate_id.as_ref().map(domain::CandidateId::as_str)
    }
}

fn batch(rows: &[Row]) -> Result<RecordBatch, ArchiveError> {
    fn texts<'a>(rows: &'a [Row], of: impl Fn(&'a Row) -> Option<&'a str>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    }
    let ids = rows.iter().map(|row| row.key.as_ref().map(|key| key.prediction_id.to_string()));
    let times = rows.iter().map(|row| Some(micros(row.record.inference_time)));
    let mut arrays: Vec<ArrayRef> = vec![
        texts(rows, |row| Some(&row.record.inference_id)),
        Arc::new(ids.collect::<StringArray>()),
        texts(rows, Row::candidate_id),
        texts(rows, |row| Some(row.record.model.as_str())),
        texts(rows, |row| Some(row.record.source.as_str())),
        texts(rows, |row| row.record.event_id.as_deref()),
        Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        texts(rows, |row| row.record.endpoint.as_deref()),
        texts(rows, |row| row.record.variant.as_deref()),
    ];
    let payloads: [fn(&InferenceRecord) -> Option<&Payload>; 2] =
        [|record| record.input.as_ref(), |record| record.output.as_ref()];
    for payload in payloads {
        arrays.push(texts(rows, |row| payload(&row.record)?.content_type.as_deref()));
        arrays.push(texts(rows, |row| Some(payload(&row.record)?.encoding.as_str())));
        arrays.push(texts(rows, |row| Some(&payload(&row.record)?.data)));
    }
    arrays.push(texts(rows, |row| row.record.input_location.as_deref()));
    arrays.push(texts(rows, |row| row.record.output_location.as_deref()));
    arrays.push(texts(rows, |row| row.record.failure.as_deref()));
    arrays.push(texts(rows, |row| Some(&row.digest)));
    Ok(RecordBatch::try_new(arrow_schema(INFERENCES), arrays)?)
}

/// The inferences of a Parquet file of [`INFERENCES`], in the file's order.
///
/// # Errors
/// Not a Parquet file; a column missing or of another type; a value that no record has.
pub fn read_inferences(bytes: Bytes) -> Result<Vec<InferenceRecord>, ArchiveError> {
    stream_inferences(bytes)?.collect()
}

/// The same, batch by batch.
pub(crate) fn stream_inferences(
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<InferenceRecord, ArchiveError>>, ArchiveError> {
    let wanted: Vec<_> = INFERENCES.iter().collect();
    let chunks = parquet_file::read(bytes, &wanted)?.map(|batch| match batch.and_then(|batch| records_of(&batch)) {
        Ok(records) => records.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    Ok(chunks.flatten())
}

fn records_of(batch: &Batch) -> Result<Vec<InferenceRecord>, ArchiveError> {
    let (ids, models, sources) = (batch.text("inference_id")?, batch.text("model_name")?, batch.text("source")?);
    let times = batch.timestamps("inference_time")?;
    let text = |name: &'static str, row: usize| -> Result<Option<String>, ArchiveError> {
        Ok(optional(batch.text(name)?, row).map(str::to_owned))
    };
    let payload = |row: usize, [content_type, encoding, data]: [&'static str; 3]| {
        let Some(found) = text(encoding, row)? else { return Ok(None) };
        let known = PayloadEncoding::ALL.into_iter().find(|known| known.as_str() == found);
        Ok::<_, ArchiveError>(Some(Payload {
            content_type: text(content_type, row)?,
            encoding: known.ok_or_else(|| batch.invalid(row, encoding, "unknown encoding"))?,
            data: text(data, row)?.unwrap_or_default(),
        }))
    };
    let record = |row| {
        let source = InferenceSource::ALL.into_iter().find(|source| source.as_str() == sources.value(row));
        Ok(InferenceRecord {
            model: models.value(row).parse().map_err(|error: DomainError| batch.invalid(row, "model_name", error))?,
            source: source.ok_or_else(|| batch.invalid(row, "source", "unknown source"))?,
            inference_id: ids.value(row).to_owned(),
            event_id: text("event_id", row)?,
            inference_time: times.at(row)?,
            endpoint: text("endpoint", row)?,
            variant: text("variant", row)?,
            input: payload(row, ["input_content_type", "input_encoding", "input"])?,
            output: payload(row, ["output_content_type", "output_encoding", "output"])?,
            input_location: text("input_location", row)?,
            output_location: text("output_location", row)?,
            failure: text("failure", row)?,
        })
    };
    (0..batch.len()).map(record).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{merge, samples};

    #[test]
    fn a_payload_that_costs_its_neighbours_is_refused() {
        let mut record = samples::inference(1);
        record.output.as_mut().unwrap().data = "1".repeat(MAX_PAYLOAD_BYTES + 1);
        assert_eq!(write_inferences(&[record]).unwrap_err().reason(), "payload_too_large");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn round_trip_loses_nothing(records in samples::inferences()) {
            let merged = merge([records]);
            let bytes = write_inferences(&merged).unwrap();
            prop_assert_eq!(&read_inferences(bytes.clone()).unwrap(), &merged);
            let reversed: Vec<_> = merged.into_iter().rev().collect();
            prop_assert_eq!(write_inferences(&reversed).unwrap(), bytes);
        }
    }
}
