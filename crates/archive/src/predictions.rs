use std::{borrow::Borrow, sync::Arc};

use arrow_array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    builder::{Float64Builder, ListBuilder},
    cast::AsArray,
    types::{Float64Type, Int32Type, Int64Type},
};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use domain::{ArmAssignment, AssignmentExclusion, CandidateRecord, Inputs, PredictionRecord, Tier, Timings};

use crate::{
    ArchiveError, Rejection,
    parquet_file::{self, BATCH_ROWS, Batch, Timestamps, micros, optional, optional_number},
    schema::{LIST_ITEM, PREDICTIONS, arrow_schema},
};

/// The most that a record's shared inputs, or one candidate's own, may take as JSON. They are written into each of the
/// record's rows, so this bounds what one batch of rows can need.
pub const MAX_INPUTS_BYTES: usize = 128 * 1024;

/// Why a record cannot be archived without loss, if it cannot.
pub(crate) fn check(record: &PredictionRecord) -> Result<(), Rejection> {
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
    if json(&record.inputs).len() > MAX_INPUTS_BYTES {
        return Err(Rejection::new("inputs_too_large", format!("inputs has over {MAX_INPUTS_BYTES} bytes")));
    }
    for (index, candidate) in record.candidates.iter().enumerate() {
        let CandidateRecord { prediction, fallback, uncorrected, last_shown, shown, lower, upper, .. } = candidate;
        let optional = [uncorrected, last_shown, shown, lower, upper].into_iter().flatten();
        let mut numbers = [prediction, fallback].into_iter().chain(optional).chain(candidate.features.iter().flatten());
        if !numbers.all(|number| number.is_finite()) {
            return Err(Rejection::new("not_finite", format!("candidates[{index}]: all numbers must be finite")));
        }
        if json(&candidate.inputs).len() > MAX_INPUTS_BYTES {
            return Err(Rejection::new(
                "inputs_too_large",
                format!("candidates[{index}].inputs has over {MAX_INPUTS_BYTES} bytes"),
            ));
        }
    }
    Ok(())
}

fn json(inputs: &Inputs) -> String {
    serde_json::to_string(inputs).unwrap_or_default()
}

/// One candidate, with the texts of its record made once.
struct Row<'a> {
    record: &'a PredictionRecord,
    id: Arc<str>,
    inputs: Arc<str>,
    index: i32,
    candidate: &'a CandidateRecord,
}

fn rows(record: &PredictionRecord) -> impl Iterator<Item = Row<'_>> {
    let id: Arc<str> = record.prediction_id.to_string().into();
    let inputs: Arc<str> = json(&record.inputs).into();
    (0i32..).zip(&record.candidates).map(move |(index, candidate)| Row {
        record,
        id: id.clone(),
        inputs: inputs.clone(),
        index,
        candidate,
    })
}

/// Records as a Parquet file of [`PREDICTIONS`], sorted by id. The same records are the same bytes, whatever their
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
    parquet_file::write(PREDICTIONS, &["prediction_id", "candidate_index"], batches.flatten())
}

fn batch(rows: &[Row<'_>]) -> Result<RecordBatch, ArchiveError> {
    fn text<'a>(rows: &'a [Row<'a>], of: impl Fn(&'a Row<'a>) -> &'a str) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    }
    fn optional_text<'a>(rows: &'a [Row<'a>], of: impl Fn(&'a Row<'a>) -> Option<&'a str>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    }
    let doubles =
        |of: fn(&Row<'_>) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(rows.iter().map(of))) };
    let optional_doubles = |of: fn(&CandidateRecord) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(row.candidate)).collect::<Float64Array>())
    };
    let durations = |of: fn(&Timings) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| of(&row.record.timings) as i64)))
    };
    let times = |of: fn(&PredictionRecord) -> jiff::Timestamp| -> ArrayRef {
        let array = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| micros(of(row.record))));
        Arc::new(array.with_timezone("UTC"))
    };
    let item = Field::new(LIST_ITEM, DataType::Float64, true);
    let mut features = ListBuilder::new(Float64Builder::new()).with_field(item);
    for row in rows {
        features.append_value(row.candidate.features.iter().copied());
    }
    let candidate_inputs: Vec<String> = rows.iter().map(|row| json(&row.candidate.inputs)).collect();
    let arrays: Vec<ArrayRef> = vec![
        text(rows, |row| &row.id),
        text(rows, |row| row.candidate.candidate_id.as_str()),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.index))),
        text(rows, |row| row.record.model.as_str()),
        text(rows, |row| &row.record.model_version),
        text(rows, |row| row.record.release_id.as_str()),
        text(rows, |row| &row.record.spec_hash),
        optional_text(rows, |row| row.record.unit_id.as_ref().map(domain::UnitId::as_str)),
        times(|record| record.requested_at),
        times(|record| record.answered_at),
        optional_text(rows, |row| row.record.assignment.experiment_id.as_deref()),
        text(rows, |row| &row.record.assignment.arm),
        doubles(|row| row.record.assignment.probability),
        text(rows, |row| row.record.tier.as_str()),
        optional_text(rows, |row| row.record.tier_reason.as_deref()),
        text(rows, |row| &row.record.endpoint),
        text(rows, |row| &row.record.variant),
        doubles(|row| row.candidate.prediction),
        doubles(|row| row.candidate.fallback),
        Arc::new(features.finish()),
        text(rows, |row| &row.inputs),
        Arc::new(StringArray::from_iter_values(candidate_inputs)),
        durations(|timings| timings.transform_us),
        durations(|timings| timings.endpoint_us),
        durations(|timings| timings.total_us),
        optional_text(rows, |row| row.record.ride_id.as_ref().map(domain::RideId::as_str)),
        optional_text(rows, |row| row.record.assignment.randomised_unit.as_deref()),
        optional_text(rows, |row| row.record.assignment.excluded.map(AssignmentExclusion::as_str)),
        optional_doubles(|candidate| candidate.last_shown),
        optional_doubles(|candidate| candidate.shown),
        optional_doubles(|candidate| candidate.lower),
        optional_doubles(|candidate| candidate.upper),
        optional_doubles(|candidate| candidate.uncorrected),
    ];
    Ok(RecordBatch::try_new(arrow_schema(PREDICTIONS), arrays)?)
}

/// The records of a Parquet file of [`PREDICTIONS`], in the file's order. Columns that the schema does not know are
/// ignored.
///
/// # Errors
/// Not a Parquet file; a column missing or of another type; a value that no record has.
pub fn read_predictions(bytes: Bytes) -> Result<Vec<PredictionRecord>, ArchiveError> {
    stream_predictions(bytes)?.collect()
}

/// The same, batch by batch.
pub(crate) fn stream_predictions(
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<PredictionRecord, ArchiveError>>, ArchiveError> {
    let wanted: Vec<_> = PREDICTIONS.iter().collect();
    let mut batches = parquet_file::read(bytes, &wanted)?.fuse();
    // The record whose rows are being read: it may go on in the next batch.
    let mut open: Option<PredictionRecord> = None;
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
fn records_of(batch: &Batch, open: &mut Option<PredictionRecord>) -> Result<Vec<PredictionRecord>, ArchiveError> {
    let mut finished = Vec::new();
    let reader = RowReader::new(batch)?;
    for row in 0..batch.len() {
        let index = reader.candidate_index.value(row);
        if index == 0 {
            finished.extend(open.replace(reader.record(row)?));
        }
        // A record's rows lie together: only the first one's columns are parsed, the others must carry its id.
        let next = |record: &&mut PredictionRecord| {
            record.candidates.len() as i64 == i64::from(index) && reader.has_id(row, record)
        };
        let Some(record) = open.as_mut().filter(next) else {
            return Err(batch.invalid(row, "candidate_index", "the rows of one prediction do not lie together"));
        };
        record.candidates.push(reader.candidate(row)?);
    }
    Ok(finished)
}

pub(crate) fn parse_tier(text: &str) -> Option<Tier> {
    Tier::ALL.into_iter().find(|tier| tier.as_str() == text)
}

pub(crate) fn parse_exclusion(
    batch: &Batch,
    row: usize,
    column: &StringArray,
) -> Result<Option<AssignmentExclusion>, ArchiveError> {
    let Some(text) = optional(column, row) else { return Ok(None) };
    let known = AssignmentExclusion::ALL.into_iter().find(|reason| reason.as_str() == text);
    known.map(Some).ok_or_else(|| batch.invalid(row, "assignment_excluded", "unknown reason"))
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
    spec_hash: &'a StringArray,
    unit_id: &'a StringArray,
    requested_at: Timestamps<'a>,
    answered_at: Timestamps<'a>,
    experiment_id: &'a StringArray,
    arm: &'a StringArray,
    arm_probability: &'a Float64Array,
    tier: &'a StringArray,
    tier_reason: &'a StringArray,
    endpoint: &'a StringArray,
    variant: &'a StringArray,
    prediction: &'a Float64Array,
    fallback: &'a Float64Array,
    features: &'a arrow_array::ListArray,
    inputs: &'a StringArray,
    candidate_inputs: &'a StringArray,
    durations: [&'a Int64Array; 3],
    ride_id: &'a StringArray,
    randomised_unit: &'a StringArray,
    assignment_excluded: &'a StringArray,
    last_shown: &'a Float64Array,
    shown: &'a Float64Array,
    lower: &'a Float64Array,
    upper: &'a Float64Array,
    uncorrected: &'a Float64Array,
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
            spec_hash: batch.text("spec_hash")?,
            unit_id: batch.text("unit_id")?,
            requested_at: batch.timestamps("requested_at")?,
            answered_at: batch.timestamps("answered_at")?,
            experiment_id: batch.text("experiment_id")?,
            arm: batch.text("arm")?,
            arm_probability: batch.numbers::<Float64Type>("arm_probability")?,
            tier: batch.text("tier")?,
            tier_reason: batch.text("tier_reason")?,
            endpoint: batch.text("endpoint")?,
            variant: batch.text("variant")?,
            prediction: batch.numbers::<Float64Type>("prediction")?,
            fallback: batch.numbers::<Float64Type>("fallback")?,
            features: batch.lists("features")?,
            inputs: batch.text("inputs")?,
            candidate_inputs: batch.text("candidate_inputs")?,
            durations: [
                batch.numbers::<Int64Type>("transform_us")?,
                batch.numbers::<Int64Type>("endpoint_us")?,
                batch.numbers::<Int64Type>("total_us")?,
            ],
            ride_id: batch.text("ride_id")?,
            randomised_unit: batch.text("randomised_unit")?,
            assignment_excluded: batch.text("assignment_excluded")?,
            last_shown: batch.numbers::<Float64Type>("last_shown")?,
            shown: batch.numbers::<Float64Type>("shown")?,
            lower: batch.numbers::<Float64Type>("lower")?,
            upper: batch.numbers::<Float64Type>("upper")?,
            uncorrected: batch.numbers::<Float64Type>("uncorrected")?,
        })
    }

    fn has_id(&self, row: usize, record: &PredictionRecord) -> bool {
        self.prediction_id.value(row).parse() == Ok(record.prediction_id)
    }

    /// The part that all candidates share.
    fn record(&self, row: usize) -> Result<PredictionRecord, ArchiveError> {
        let invalid = |column: &'static str| move |error: domain::DomainError| self.batch.invalid(row, column, error);
        let duration = |column: usize, name: &'static str| {
            let value = self.durations[column].value(row);
            u64::try_from(value).map_err(|error| self.batch.invalid(row, name, error))
        };
        Ok(PredictionRecord {
            prediction_id: self.prediction_id.value(row).parse().map_err(invalid("prediction_id"))?,
            model: self.model_name.value(row).parse().map_err(invalid("model_name"))?,
            release_id: self.release_id.value(row).parse().map_err(invalid("release_id"))?,
            spec_hash: self.spec_hash.value(row).to_owned(),
            unit_id: optional(self.unit_id, row).map(str::parse).transpose().map_err(invalid("unit_id"))?,
            ride_id: optional(self.ride_id, row).map(str::parse).transpose().map_err(invalid("ride_id"))?,
            requested_at: self.requested_at.at(row)?,
            answered_at: self.answered_at.at(row)?,
            assignment: ArmAssignment {
                experiment_id: optional(self.experiment_id, row).map(str::to_owned),
                arm: self.arm.value(row).to_owned(),
                probability: self.arm_probability.value(row),
                randomised_unit: optional(self.randomised_unit, row).map(str::to_owned),
                excluded: parse_exclusion(self.batch, row, self.assignment_excluded)?,
            },
            tier: parse_tier(self.tier.value(row)).ok_or_else(|| self.batch.invalid(row, "tier", "unknown tier"))?,
            tier_reason: optional(self.tier_reason, row).map(str::to_owned),
            endpoint: self.endpoint.value(row).to_owned(),
            variant: self.variant.value(row).to_owned(),
            model_version: self.model_version.value(row).to_owned(),
            inputs: self.json(row, "inputs", self.inputs)?,
            candidates: Vec::new(),
            timings: Timings {
                transform_us: duration(0, "transform_us")?,
                endpoint_us: duration(1, "endpoint_us")?,
                total_us: duration(2, "total_us")?,
            },
        })
    }

    fn candidate(&self, row: usize) -> Result<CandidateRecord, ArchiveError> {
        let features = self.features.value(row);
        let features = features.as_primitive_opt::<Float64Type>().ok_or(ArchiveError::MissingColumn("features"))?;
        let candidate_id = self.candidate_id.value(row).parse();
        Ok(CandidateRecord {
            candidate_id: candidate_id.map_err(|error| self.batch.invalid(row, "candidate_id", error))?,
            inputs: self.json(row, "candidate_inputs", self.candidate_inputs)?,
            features: features.iter().collect(),
            prediction: self.prediction.value(row),
            fallback: self.fallback.value(row),
            uncorrected: optional_number(self.uncorrected, row),
            last_shown: optional_number(self.last_shown, row),
            shown: optional_number(self.shown, row),
            lower: optional_number(self.lower, row),
            upper: optional_number(self.upper, row),
        })
    }

    fn json(&self, row: usize, name: &'static str, column: &StringArray) -> Result<Inputs, ArchiveError> {
        serde_json::from_str(column.value(row)).map_err(|error| self.batch.invalid(row, name, error))
    }
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
