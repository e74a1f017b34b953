//! Parquet files of predictions to rows.

use std::iter::Fuse;

use arrow_array::{
    Float64Array, Int32Array, Int64Array, ListArray, StringArray,
    cast::AsArray,
    types::{Float64Type, Int32Type, Int64Type},
};
use bytes::Bytes;
use domain::{
    AssignmentExclusion, CandidateId, DomainError, ModelName, PredictionId, PredictionRecord, ReleaseId, RideId, Tier,
    UnitId,
};

use super::{
    line::canonical_inputs,
    names::{Field, Name},
    rows::{CandidateRow, PredictionRows, RecordRow, Text},
};
use crate::{
    ArchiveError,
    parquet_file::{self, Batch, Timestamps, micros, optional, optional_number},
    schema::PREDICTIONS,
};

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
    let mut file = FileRows::open(bytes)?;
    let mut failed = false;
    Ok(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let record = file.next().and_then(|position| position.map(|at| file.rows().record(at)).transpose()).transpose();
        failed = matches!(record, Some(Err(_)));
        record
    }))
}

impl PredictionRows {
    /// Adds the records of a Parquet file of [`PREDICTIONS`]; none of them where it fails. Returns how many.
    ///
    /// # Errors
    /// As [`read_predictions`].
    pub fn push_file(&mut self, bytes: Bytes) -> Result<usize, ArchiveError> {
        let mark = self.mark();
        let before = self.len();
        let wanted: Vec<_> = PREDICTIONS.iter().collect();
        let mut batches = parquet_file::read(bytes, &wanted)?;
        let read = batches.try_for_each(|batch| push_batch(self, &batch?));
        if let Err(error) = read {
            self.cut(mark);
            return Err(error);
        }
        Ok(self.len() - before)
    }
}

/// A file's rows, some batches of them at a time.
pub(super) struct FileRows {
    batches: Fuse<Box<dyn Iterator<Item = Result<Batch, ArchiveError>> + Send>>,
    window: PredictionRows,
    /// What the next window is filled into.
    spare: PredictionRows,
    next: usize,
    ended: bool,
}

impl FileRows {
    pub(super) fn open(bytes: Bytes) -> Result<Self, ArchiveError> {
        let wanted: Vec<_> = PREDICTIONS.iter().collect();
        let batches: Box<dyn Iterator<Item = _> + Send> = Box::new(parquet_file::read(bytes, &wanted)?);
        let (window, spare) = (PredictionRows::default(), PredictionRows::default());
        Ok(Self { batches: batches.fuse(), window, spare, next: 0, ended: false })
    }

    /// The rows that positions are of, until [`peek`](Self::peek) is called again.
    pub(super) fn rows(&self) -> &PredictionRows {
        &self.window
    }

    /// The position of the next record.
    pub(super) fn peek(&mut self) -> Result<Option<usize>, ArchiveError> {
        // The last record of the window may go on in the next batch.
        while !self.ended && self.next + 1 >= self.window.len() {
            let Some(batch) = self.batches.next() else {
                self.ended = true;
                break;
            };
            self.spare.clear();
            for position in self.next..self.window.len() {
                self.spare.push_row(&self.window, position);
            }
            push_batch(&mut self.spare, &batch?)?;
            std::mem::swap(&mut self.window, &mut self.spare);
            self.next = 0;
        }
        Ok((self.next < self.window.len()).then_some(self.next))
    }

    /// The position of the next record, which is passed.
    pub(super) fn next(&mut self) -> Result<Option<usize>, ArchiveError> {
        let position = self.peek()?;
        self.next += usize::from(position.is_some());
        Ok(position)
    }
}

/// Adds a batch's rows. Its first ones may go on with the last record.
fn push_batch(rows: &mut PredictionRows, batch: &Batch) -> Result<(), ArchiveError> {
    let reader = RowReader::new(batch)?;
    (0..batch.len()).try_for_each(|row| reader.push(rows, row))
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
    features: &'a ListArray,
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

    fn push(&self, rows: &mut PredictionRows, row: usize) -> Result<(), ArchiveError> {
        let index = self.candidate_index.value(row);
        if index == 0 {
            let record = self.record(rows, row)?;
            rows.records.push(record);
        }
        // A record's rows lie together: only the first one's columns are read, the others must carry its id.
        let begun = rows.records.last().filter(|record| {
            (record.candidates_end - record.candidates) as i64 == i64::from(index)
                && self.prediction_id.value(row).parse() == Ok(record.id)
        });
        if begun.is_none() {
            return Err(self.batch.invalid(row, "candidate_index", "the rows of one prediction do not lie together"));
        }
        let candidate = self.candidate(rows, row)?;
        rows.candidates.push(candidate);
        if let Some(record) = rows.records.last_mut() {
            record.candidates_end = rows.candidates.len();
        }
        Ok(())
    }

    /// The part that all candidates share.
    fn record(&self, rows: &mut PredictionRows, row: usize) -> Result<RecordRow, ArchiveError> {
        let duration = |column: usize, name: &'static str| {
            let value = self.durations[column].value(row);
            if value < 0 { Err(self.batch.invalid(row, name, "a negative duration")) } else { Ok(value) }
        };
        let prediction_id: PredictionId =
            self.prediction_id.value(row).parse().map_err(|error| self.batch.invalid(row, "prediction_id", error))?;
        let tier = parse_tier(self.tier.value(row)).ok_or_else(|| self.batch.invalid(row, "tier", "unknown tier"))?;
        let probability = self.finite(row, "arm_probability", self.arm_probability)?;
        Ok(RecordRow {
            id: prediction_id,
            requested_us: micros(self.requested_at.at(row)?),
            answered_us: micros(self.answered_at.at(row)?),
            probability,
            timings_us: [duration(0, "transform_us")?, duration(1, "endpoint_us")?, duration(2, "total_us")?],
            unit_id: self.optional_text(rows, row, "unit_id", self.unit_id, valid::<UnitId>)?,
            ride_id: self.optional_text(rows, row, "ride_id", self.ride_id, valid::<RideId>)?,
            randomised_unit: optional(self.randomised_unit, row).map(|text| rows.text(text)),
            inputs: self.inputs(rows, row, "inputs", self.inputs)?,
            model: self.name(rows, row, "model_name", self.model_name, Field::Model, valid::<ModelName>)?,
            release_id: self.name(rows, row, "release_id", self.release_id, Field::ReleaseId, valid::<ReleaseId>)?,
            spec_hash: rows.names.of(Field::SpecHash, self.spec_hash.value(row)),
            experiment_id: optional(self.experiment_id, row).map(|id| rows.names.of(Field::ExperimentId, id)),
            arm: rows.names.of(Field::Arm, self.arm.value(row)),
            tier_reason: optional(self.tier_reason, row).map(|reason| rows.names.of(Field::TierReason, reason)),
            endpoint: rows.names.of(Field::Endpoint, self.endpoint.value(row)),
            variant: rows.names.of(Field::Variant, self.variant.value(row)),
            model_version: rows.names.of(Field::ModelVersion, self.model_version.value(row)),
            tier,
            excluded: parse_exclusion(self.batch, row, self.assignment_excluded)?,
            candidates: rows.candidates.len(),
            candidates_end: rows.candidates.len(),
        })
    }

    fn candidate(&self, rows: &mut PredictionRows, row: usize) -> Result<CandidateRow, ArchiveError> {
        let id = self.candidate_id.value(row);
        if !CandidateId::is_valid(id) {
            let error = valid::<CandidateId>(id).err();
            return Err(self.batch.invalid(
                row,
                "candidate_id",
                error.map_or_else(String::new, |error| error.to_string()),
            ));
        }
        let values = self.features.value(row);
        let values = values.as_primitive_opt::<Float64Type>().ok_or(ArchiveError::MissingColumn("features"))?;
        let features = rows.features.len();
        for value in values {
            let value = match value {
                Some(value) if value.is_finite() => value,
                Some(_) => return Err(self.batch.invalid(row, "features", "not a finite number")),
                None => rows.null_feature(),
            };
            rows.features.push(value);
        }
        Ok(CandidateRow {
            id: rows.text(id),
            inputs: self.inputs(rows, row, "candidate_inputs", self.candidate_inputs)?,
            features,
            features_end: rows.features.len(),
            prediction: self.finite(row, "prediction", self.prediction)?,
            fallback: self.finite(row, "fallback", self.fallback)?,
            uncorrected: self.optional_finite(row, "uncorrected", self.uncorrected)?,
            last_shown: self.optional_finite(row, "last_shown", self.last_shown)?,
            shown: self.optional_finite(row, "shown", self.shown)?,
            lower: self.optional_finite(row, "lower", self.lower)?,
            upper: self.optional_finite(row, "upper", self.upper)?,
        })
    }

    fn finite(&self, row: usize, name: &'static str, column: &Float64Array) -> Result<f64, ArchiveError> {
        let value = column.value(row);
        if value.is_finite() { Ok(value) } else { Err(self.batch.invalid(row, name, "not a finite number")) }
    }

    fn optional_finite(
        &self,
        row: usize,
        name: &'static str,
        column: &Float64Array,
    ) -> Result<Option<f64>, ArchiveError> {
        optional_number(column, row).map(|_| self.finite(row, name, column)).transpose()
    }

    fn optional_text(
        &self,
        rows: &mut PredictionRows,
        row: usize,
        name: &'static str,
        column: &StringArray,
        valid: fn(&str) -> Result<(), DomainError>,
    ) -> Result<Option<Text>, ArchiveError> {
        let Some(text) = optional(column, row) else { return Ok(None) };
        valid(text).map_err(|error| self.batch.invalid(row, name, error))?;
        Ok(Some(rows.text(text)))
    }

    fn name(
        &self,
        rows: &mut PredictionRows,
        row: usize,
        column_name: &'static str,
        column: &StringArray,
        field: Field,
        valid: fn(&str) -> Result<(), DomainError>,
    ) -> Result<Name, ArchiveError> {
        let text = column.value(row);
        if let Some(known) = rows.names.recent(field, text) {
            return Ok(known);
        }
        valid(text).map_err(|error| self.batch.invalid(row, column_name, error))?;
        Ok(rows.names.of(field, text))
    }

    fn inputs(
        &self,
        rows: &mut PredictionRows,
        row: usize,
        name: &'static str,
        column: &StringArray,
    ) -> Result<Text, ArchiveError> {
        let text = canonical_inputs(column.value(row)).map_err(|error| self.batch.invalid(row, name, error))?;
        Ok(rows.text(&text))
    }
}

fn valid<T: std::str::FromStr<Err = DomainError>>(text: &str) -> Result<(), DomainError> {
    text.parse::<T>().map(drop)
}
