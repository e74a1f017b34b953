//! The table of predictions: its rows in memory, and as a Parquet file.

mod columns;
mod line;
mod merge;
mod names;
mod read;
mod rows;

use std::borrow::Borrow;

use arrow_array::{RecordBatch, cast::AsArray, types::Int32Type};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use domain::{CandidateRecord, Inputs, PredictionRecord, Timings};

use self::columns::{batch_schema, next_batches};
pub(crate) use self::read::{parse_exclusion, parse_tier, stream_predictions};
pub use self::{read::read_predictions, rows::PredictionRows};
use crate::{
    ArchiveError, Rejection,
    parquet_file::{self, BATCH_ROWS},
};

/// The most that a record's shared inputs, or one candidate's own, may take as JSON. They are written into each of the
/// record's rows, so this bounds what one batch of rows can need.
pub const MAX_INPUTS_BYTES: usize = 128 * 1024;

/// Why a record cannot be archived without loss, if it cannot: all but the size of its inputs.
fn check(record: &PredictionRecord) -> Result<(), Rejection> {
    if record.candidates.is_empty() {
        return Err(Rejection::new("no_candidates", "candidates is empty; a record has one row per candidate"));
    }
    let Timings { transform_us, endpoint_us, total_us } = record.timings;
    if [transform_us, endpoint_us, total_us].iter().any(|&us| i64::try_from(us).is_err()) {
        return Err(Rejection::new("invalid_value", "timings: a duration does not fit a signed 64-bit integer"));
    }
    if !record.assignment.probability.is_finite() {
        return Err(Rejection::new("not_finite", "assignment.probability is not a finite number"));
    }
    for (index, candidate) in record.candidates.iter().enumerate() {
        let CandidateRecord { prediction, fallback, uncorrected, last_shown, shown, lower, upper, .. } = candidate;
        let optional = [uncorrected, last_shown, shown, lower, upper].into_iter().flatten();
        let mut numbers = [prediction, fallback].into_iter().chain(optional).chain(candidate.features.iter().flatten());
        if !numbers.all(|number| number.is_finite()) {
            return Err(Rejection::new("not_finite", format!("candidates[{index}]: all numbers must be finite")));
        }
    }
    Ok(())
}

/// Inputs as text, where they are not too long.
fn bounded_json(inputs: &Inputs, place: impl Fn() -> String) -> Result<String, Rejection> {
    let text = serde_json::to_string(inputs).unwrap_or_default();
    if text.len() > MAX_INPUTS_BYTES {
        let detail = format!("{} has over {MAX_INPUTS_BYTES} bytes", place());
        return Err(Rejection::new("inputs_too_large", detail));
    }
    Ok(text)
}

/// Records as a Parquet file of [`PREDICTIONS`](crate::schema::PREDICTIONS), sorted by id. The same records are the same bytes, whatever their
/// order. Times are kept to the microsecond.
///
/// # Errors
/// A record without candidates, with a number that is not finite, with over-long inputs, or with a duration over 2⁶³ µs.
pub fn write_predictions(records: &[PredictionRecord]) -> Result<Bytes, ArchiveError> {
    let mut ordered: Vec<&PredictionRecord> = records.iter().collect();
    ordered.sort_by_key(|record| record.prediction_id);
    write_sorted(ordered.into_iter().map(Ok))
}

/// Writes records that come sorted by id, holding no more than a batch and a row group in memory.
pub(crate) fn write_sorted<R: Borrow<PredictionRecord>>(
    mut records: impl Iterator<Item = Result<R, ArchiveError>>,
) -> Result<Bytes, ArchiveError> {
    let schema = batch_schema();
    let mut rows = PredictionRows::default();
    write_batches(&schema, || {
        rows.clear();
        while rows.candidates.len() < BATCH_ROWS {
            let Some(record) = records.next().transpose()? else { break };
            let record = record.borrow();
            rows.push(record).map_err(|rejection| ArchiveError::Unstorable {
                prediction_id: record.prediction_id.to_string(),
                rejection,
            })?;
        }
        let mut order = 0..rows.len();
        next_batches(&rows, &mut order, &schema)
    })
}

/// The rows at the positions of `order`, in which they are sorted by id, as a Parquet file: to the byte what
/// [`write_predictions`] makes of the same records.
///
/// # Errors
/// The file cannot be written.
pub fn write_prediction_rows(rows: &PredictionRows, order: &[usize]) -> Result<Bytes, ArchiveError> {
    let schema = batch_schema();
    let mut order = order.iter().copied();
    write_batches(&schema, || next_batches(rows, &mut order, &schema))
}

/// Writes batches until there are no more.
fn write_batches(
    schema: &SchemaRef,
    mut next: impl FnMut() -> Result<Vec<RecordBatch>, ArchiveError>,
) -> Result<Bytes, ArchiveError> {
    let first = next()?;
    let distinct: &[&str] = if has_several_candidates(&first) { &[] } else { &["prediction_id", "inputs"] };
    let mut first = Some(first);
    let batches = std::iter::from_fn(|| match first.take().map_or_else(&mut next, Ok) {
        Ok(batches) if batches.is_empty() => None,
        Ok(batches) => Some(batches.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => Some(vec![Err(error)]),
    });
    parquet_file::write(schema.clone(), &["prediction_id", "candidate_index"], distinct, batches.flatten())
}

/// Whether most rows repeat what their record's first one says.
fn has_several_candidates(batches: &[RecordBatch]) -> bool {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let index = |batch: &RecordBatch| {
        batch.column_by_name("candidate_index").and_then(|column| column.as_primitive_opt::<Int32Type>().cloned())
    };
    let records: usize =
        batches.iter().filter_map(index).map(|index| index.iter().filter(|index| *index == Some(0)).count()).sum();
    rows > 2 * records
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{self, prediction, predictions};

    #[test]
    fn refuses_what_it_could_not_give_back() {
        let empty = PredictionRecord { candidates: Vec::new(), ..prediction(1) };
        let mut infinite = prediction(1);
        infinite.candidates[0].features[0] = Some(f64::INFINITY);
        let mut long = prediction(1);
        long.inputs.insert("note".into(), "x".repeat(MAX_INPUTS_BYTES).into());
        let mut eternal = prediction(1);
        eternal.timings.total_us = u64::MAX;
        let reasons = [
            (empty, "no_candidates"),
            (infinite, "not_finite"),
            (long, "inputs_too_large"),
            (eternal, "invalid_value"),
        ];
        for (record, reason) in reasons {
            let error = write_predictions(&[record]).unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
        }
    }

    #[test]
    fn floats_come_back_bit_for_bit() {
        let mut record = prediction(1);
        let odd = [-0.0, f64::MIN_POSITIVE, 5e-324, 0.1 + 0.2, f64::MAX, -1.0 / 3.0];
        record.candidates[0].features = odd.iter().copied().map(Some).chain([None]).collect();
        record.candidates[0].prediction = -0.0;
        let read = read_predictions(write_predictions(&[record]).unwrap()).unwrap();
        let bits: Vec<_> = read[0].candidates[0].features.iter().map(|value| value.map(f64::to_bits)).collect();
        assert_eq!(bits, odd.iter().map(|value| Some(value.to_bits())).chain([None]).collect::<Vec<_>>());
        assert_eq!(read[0].candidates[0].prediction.to_bits(), (-0.0f64).to_bits());
    }

    #[test]
    fn spans_many_batches() {
        let records: Vec<_> = (0..3000).map(prediction).collect();
        let bytes = write_predictions(&records).unwrap();
        assert_eq!(read_predictions(bytes).unwrap(), samples::by_id(records));
    }

    #[test]
    fn an_empty_file_has_no_records() {
        assert!(read_predictions(write_predictions(&[]).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn damaged_files_are_errors() {
        let bytes = write_predictions(&[prediction(1)]).unwrap();
        for end in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            assert_eq!(read_predictions(bytes.slice(..end)).unwrap_err().reason(), "parquet_unreadable", "{end}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn round_trip_loses_nothing(records in predictions()) {
            let records = samples::by_id(records);
            let bytes = write_predictions(&records).unwrap();
            prop_assert_eq!(&read_predictions(bytes.clone()).unwrap(), &records);
            let reversed: Vec<_> = crate::merge_predictions([records.iter().rev().cloned().collect()]);
            let once = crate::merge_predictions([records]);
            prop_assert_eq!(write_predictions(&reversed).unwrap(), write_predictions(&once).unwrap());
        }
    }
}
