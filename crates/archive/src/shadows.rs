//! Shadow records to Parquet and back.

use std::{borrow::Borrow, sync::Arc};

use arrow_array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    types::{Float64Type, Int32Type, Int64Type},
};
use bytes::Bytes;
use domain::{ShadowCandidate, ShadowRecord};

use crate::{
    ArchiveError, Rejection,
    parquet_file::{self, BATCH_ROWS, Batch, Timestamps, micros, optional, optional_number},
    schema::{SHADOWS, arrow_schema},
};

/// Why a record cannot be archived without loss, if it cannot.
pub(crate) fn check(record: &ShadowRecord) -> Result<(), Rejection> {
    if record.candidates.is_empty() {
        return Err(Rejection::new("no_candidates", "candidates is empty; a record has one row per candidate"));
    }
    if i64::try_from(record.endpoint_us).is_err() {
        return Err(Rejection::new("invalid_value", "endpoint_us does not fit a signed 64-bit integer"));
    }
    match record.candidates.iter().position(|one| one.prediction.is_some_and(|value| !value.is_finite())) {
        Some(index) => Err(Rejection::new("not_finite", format!("candidates[{index}]: all numbers must be finite"))),
        None => Ok(()),
    }
}

struct Row<'a> {
    record: &'a ShadowRecord,
    id: Arc<str>,
    index: i32,
    candidate: &'a ShadowCandidate,
}

fn rows(record: &ShadowRecord) -> impl Iterator<Item = Row<'_>> {
    let id: Arc<str> = record.prediction_id.to_string().into();
    (0i32..).zip(&record.candidates).map(move |(index, candidate)| Row { record, id: id.clone(), index, candidate })
}

/// Records as a Parquet file of [`SHADOWS`], sorted by id and arm. The same records are the same bytes, whatever their
/// order. Times are kept to the microsecond.
///
/// # Errors
/// A record without candidates, with a number that is not finite, or with a duration over 2⁶³ µs.
pub fn write_shadows(records: &[ShadowRecord]) -> Result<Bytes, ArchiveError> {
    let mut ordered: Vec<&ShadowRecord> = records.iter().collect();
    ordered.sort_by(|a, b| (a.prediction_id, &a.arm).cmp(&(b.prediction_id, &b.arm)));
    write_sorted(ordered.into_iter().map(Ok))
}

/// Writes records that come in the archive's order, holding no more than a batch and a row group in memory.
pub(crate) fn write_sorted<R: Borrow<ShadowRecord>>(
    mut records: impl Iterator<Item = Result<R, ArchiveError>>,
) -> Result<Bytes, ArchiveError> {
    let mut next_batches = || -> Result<Vec<RecordBatch>, ArchiveError> {
        let (mut taken, mut row_count) = (Vec::new(), 0);
        while row_count < BATCH_ROWS {
            let Some(record) = records.next().transpose()? else { break };
            check(record.borrow()).map_err(|rejection| ArchiveError::Unstorable {
                prediction_id: record.borrow().prediction_id.to_string(),
                rejection,
            })?;
            row_count += record.borrow().candidates.len();
            taken.push(record);
        }
        let rows: Vec<Row<'_>> = taken.iter().flat_map(|record| rows(record.borrow())).collect();
        rows.chunks(BATCH_ROWS).map(batch).collect()
    };
    let batches = std::iter::from_fn(|| match next_batches() {
        Ok(batches) if batches.is_empty() => None,
        Ok(batches) => Some(batches.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => Some(vec![Err(error)]),
    });
    parquet_file::write(arrow_schema(SHADOWS), &["prediction_id", "arm", "candidate_index"], &[], batches.flatten())
}

fn batch(rows: &[Row<'_>]) -> Result<RecordBatch, ArchiveError> {
    fn text<'a>(rows: &'a [Row<'a>], of: impl Fn(&'a Row<'a>) -> &'a str) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    }
    let answered_at =
        TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| micros(row.record.answered_at)));
    let arrays: Vec<ArrayRef> = vec![
        text(rows, |row| &row.id),
        text(rows, |row| row.candidate.candidate_id.as_str()),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.index))),
        text(rows, |row| row.record.model.as_str()),
        text(rows, |row| &row.record.model_version),
        text(rows, |row| row.record.release_id.as_str()),
        text(rows, |row| &row.record.arm),
        text(rows, |row| &row.record.endpoint),
        text(rows, |row| &row.record.variant),
        Arc::new(answered_at.with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.record.reason.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.candidate.prediction).collect::<Float64Array>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.record.endpoint_us as i64))),
    ];
    Ok(RecordBatch::try_new(arrow_schema(SHADOWS), arrays)?)
}

/// The records of a Parquet file of [`SHADOWS`], in the file's order. Columns that the schema does not know are ignored.
///
/// # Errors
/// Not a Parquet file; a column missing or of another type; a value that no record has.
pub fn read_shadows(bytes: Bytes) -> Result<Vec<ShadowRecord>, ArchiveError> {
    stream_shadows(bytes)?.collect()
}

/// The same, batch by batch.
pub(crate) fn stream_shadows(
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<ShadowRecord, ArchiveError>>, ArchiveError> {
    let wanted: Vec<_> = SHADOWS.iter().collect();
    let mut batches = parquet_file::read(bytes, &wanted)?.fuse();
    // The record whose rows are being read: it may go on in the next batch.
    let mut open: Option<ShadowRecord> = None;
    let chunks = std::iter::from_fn(move || match batches.next() {
        Some(batch) => Some(match batch.and_then(|batch| records_of(&batch, &mut open)) {
            Ok(records) => records.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }),
        None => open.take().map(|last| vec![Ok(last)]),
    });
    Ok(chunks.flatten())
}

/// The records that end in `batch`; the last one stays in `open`.
fn records_of(batch: &Batch, open: &mut Option<ShadowRecord>) -> Result<Vec<ShadowRecord>, ArchiveError> {
    let mut finished = Vec::new();
    let reader = RowReader::new(batch)?;
    for row in 0..batch.len() {
        let index = reader.candidate_index.value(row);
        if index == 0 {
            finished.extend(open.replace(reader.record(row)?));
        }
        let next = |record: &&mut ShadowRecord| {
            record.candidates.len() as i64 == i64::from(index)
                && reader.prediction_id.value(row).parse() == Ok(record.prediction_id)
                && reader.arm.value(row) == record.arm
        };
        let Some(record) = open.as_mut().filter(next) else {
            return Err(batch.invalid(row, "candidate_index", "the rows of one record do not lie together"));
        };
        let candidate_id = reader.candidate_id.value(row).parse();
        record.candidates.push(ShadowCandidate {
            candidate_id: candidate_id.map_err(|error| batch.invalid(row, "candidate_id", error))?,
            prediction: optional_number(reader.prediction, row),
        });
    }
    Ok(finished)
}

/// The columns of one batch, found once.
struct RowReader<'a> {
    batch: &'a Batch,
    prediction_id: &'a StringArray,
    candidate_id: &'a StringArray,
    candidate_index: &'a Int32Array,
    model_name: &'a StringArray,
    model_version: &'a StringArray,
    release_id: &'a StringArray,
    arm: &'a StringArray,
    endpoint: &'a StringArray,
    variant: &'a StringArray,
    answered_at: Timestamps<'a>,
    reason: &'a StringArray,
    prediction: &'a Float64Array,
    endpoint_us: &'a Int64Array,
}

impl<'a> RowReader<'a> {
    fn new(batch: &'a Batch) -> Result<Self, ArchiveError> {
        Ok(Self {
            batch,
            prediction_id: batch.text("prediction_id")?,
            candidate_id: batch.text("candidate_id")?,
            candidate_index: batch.numbers::<Int32Type>("candidate_index")?,
            model_name: batch.text("model_name")?,
            model_version: batch.text("model_version")?,
            release_id: batch.text("release_id")?,
            arm: batch.text("arm")?,
            endpoint: batch.text("endpoint")?,
            variant: batch.text("variant")?,
            answered_at: batch.timestamps("answered_at")?,
            reason: batch.text("reason")?,
            prediction: batch.numbers::<Float64Type>("prediction")?,
            endpoint_us: batch.numbers::<Int64Type>("endpoint_us")?,
        })
    }

    /// The part that all candidates share.
    fn record(&self, row: usize) -> Result<ShadowRecord, ArchiveError> {
        let invalid = |column: &'static str| move |error: domain::DomainError| self.batch.invalid(row, column, error);
        let endpoint_us = u64::try_from(self.endpoint_us.value(row));
        Ok(ShadowRecord {
            prediction_id: self.prediction_id.value(row).parse().map_err(invalid("prediction_id"))?,
            model: self.model_name.value(row).parse().map_err(invalid("model_name"))?,
            release_id: self.release_id.value(row).parse().map_err(invalid("release_id"))?,
            arm: self.arm.value(row).to_owned(),
            endpoint: self.endpoint.value(row).to_owned(),
            variant: self.variant.value(row).to_owned(),
            model_version: self.model_version.value(row).to_owned(),
            answered_at: self.answered_at.at(row)?,
            reason: optional(self.reason, row).map(str::to_owned),
            endpoint_us: endpoint_us.map_err(|error| self.batch.invalid(row, "endpoint_us", error))?,
            candidates: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{shadow, shadows};

    #[test]
    fn refuses_what_it_could_not_give_back() {
        let empty = ShadowRecord { candidates: Vec::new(), ..shadow(1, "a") };
        let mut infinite = shadow(1, "a");
        infinite.candidates[0].prediction = Some(f64::INFINITY);
        let eternal = ShadowRecord { endpoint_us: u64::MAX, ..shadow(1, "a") };
        for (record, reason) in [(empty, "no_candidates"), (infinite, "not_finite"), (eternal, "invalid_value")] {
            let error = write_shadows(&[record]).unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
        }
    }

    #[test]
    fn two_shadows_of_one_prediction_are_two_records_over_many_batches() {
        let all = (0..1500).flat_map(|seed| [shadow(seed, "challenger"), shadow(seed, "a champion of old")]);
        // Some seeds share an id.
        let records = crate::merge([all.collect()]);
        assert!(records.iter().map(|record| record.candidates.len()).sum::<usize>() > BATCH_ROWS);
        assert!(records.chunks(2).all(|pair| pair[0].prediction_id == pair[1].prediction_id));
        assert_eq!(read_shadows(write_shadows(&records).unwrap()).unwrap(), records);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn round_trip_loses_nothing(records in shadows()) {
            let records = crate::merge([records]);
            let bytes = write_shadows(&records).unwrap();
            prop_assert_eq!(&read_shadows(bytes.clone()).unwrap(), &records);
            let reversed: Vec<_> = records.into_iter().rev().collect();
            prop_assert_eq!(write_shadows(&reversed).unwrap(), bytes);
        }
    }
}
