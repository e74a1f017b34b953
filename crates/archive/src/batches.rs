//! Hour files batch by batch: what an evaluation needs, without a copy of the hour in memory.

use arrow_array::{
    Array, Float64Array, StringViewArray, TimestampMicrosecondArray,
    types::{Float64Type, TimestampMicrosecondType},
};
use bytes::Bytes;
use domain::{AssignmentExclusion, PredictionId, Tier};
use parquet::file::reader::ChunkReader;

use crate::{
    ArchiveError,
    parquet_file::{self, Batch, Coded, optional_number},
    predictions::parse_tier,
    schema::{Column, OUTCOMES, PREDICTIONS, SHADOWS},
};

/// Some rows of a predictions file, one per candidate, in the file's order.
#[derive(Debug)]
pub struct PredictionBatch {
    ids: Vec<[u8; 16]>,
    tiers: Vec<Tier>,
    excluded: Vec<bool>,
    candidate_id: StringViewArray,
    model_version: Coded,
    spec_hash: Coded,
    unit_id: StringViewArray,
    experiment_id: StringViewArray,
    arm: Coded,
    requested_at: TimestampMicrosecondArray,
    prediction: Float64Array,
    fallback: Float64Array,
    randomised_unit: StringViewArray,
    lower: Float64Array,
    upper: Float64Array,
    uncorrected: Float64Array,
    inputs: Option<(Coded, StringViewArray)>,
}

const PREDICTION_COLUMNS: [&str; 16] = [
    "prediction_id",
    "candidate_id",
    "model_version",
    "spec_hash",
    "unit_id",
    "experiment_id",
    "arm",
    "tier",
    "requested_at",
    "prediction",
    "fallback",
    "randomised_unit",
    "assignment_excluded",
    "lower",
    "upper",
    "uncorrected",
];
const INPUT_COLUMNS: [&str; 2] = ["inputs", "candidate_inputs"];
const OUTCOME_COLUMNS: [&str; 5] = ["prediction_id", "candidate_id", "observed_at", "arrived_at", "cancelled_at"];
const SHADOW_COLUMNS: [&str; 5] = ["prediction_id", "candidate_id", "model_version", "arm", "prediction"];

fn columns(of: &'static [Column], wanted: &[&[&str]]) -> Vec<&'static Column> {
    of.iter().filter(|column| wanted.iter().any(|names| names.contains(&column.name))).collect()
}

fn text_of(column: &StringViewArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// The rows' prediction ids. Rows of one prediction follow each other: their id is parsed once.
fn ids(batch: &Batch) -> Result<Vec<[u8; 16]>, ArchiveError> {
    let texts = batch.views("prediction_id")?;
    let mut ids: Vec<[u8; 16]> = Vec::with_capacity(batch.len());
    for row in 0..batch.len() {
        let text = texts.value(row);
        let id = match ids.last() {
            Some(&last) if texts.value(row - 1) == text => last,
            _ => {
                let id: PredictionId = text.parse().map_err(|error| batch.invalid(row, "prediction_id", error))?;
                *id.as_bytes()
            }
        };
        ids.push(id);
    }
    Ok(ids)
}

/// The batches of a predictions file (its bytes, or whatever gives ranges of them), with the raw inputs where they are wanted;
/// other columns are not decoded.
///
/// # Errors
/// As [`read_predictions`](crate::read_predictions).
pub fn prediction_batches<R: ChunkReader + 'static>(
    file: R,
    with_inputs: bool,
) -> Result<impl Iterator<Item = Result<PredictionBatch, ArchiveError>> + Send + use<R>, ArchiveError> {
    let inputs: &[&str] = if with_inputs { &INPUT_COLUMNS } else { &[] };
    let wanted = columns(PREDICTIONS, &[&PREDICTION_COLUMNS, inputs]);
    let batches = parquet_file::read_views(file, &wanted)?;
    Ok(batches.map(move |batch| PredictionBatch::of(&batch?, with_inputs)))
}

impl PredictionBatch {
    fn of(batch: &Batch, with_inputs: bool) -> Result<Self, ArchiveError> {
        let tier = |row, text: &str| parse_tier(text).ok_or_else(|| batch.invalid(row, "tier", "unknown tier"));
        let reasons = batch.views("assignment_excluded")?;
        let excluded = |row| match text_of(reasons, row) {
            None => Ok(false),
            Some(text) if AssignmentExclusion::ALL.into_iter().any(|reason| reason.as_str() == text) => Ok(true),
            Some(_) => Err(batch.invalid(row, "assignment_excluded", "unknown reason")),
        };
        let numbers = |name| batch.numbers::<Float64Type>(name).cloned();
        let inputs = || Ok::<_, ArchiveError>((batch.coded("inputs")?, batch.views("candidate_inputs")?.clone()));
        Ok(Self {
            ids: ids(batch)?,
            tiers: batch.coded("tier")?.map(tier)?,
            excluded: (0..batch.len()).map(excluded).collect::<Result<_, _>>()?,
            candidate_id: batch.views("candidate_id")?.clone(),
            model_version: batch.coded("model_version")?,
            spec_hash: batch.coded("spec_hash")?,
            unit_id: batch.views("unit_id")?.clone(),
            experiment_id: batch.views("experiment_id")?.clone(),
            arm: batch.coded("arm")?,
            requested_at: batch.numbers::<TimestampMicrosecondType>("requested_at")?.clone(),
            prediction: numbers("prediction")?,
            fallback: numbers("fallback")?,
            randomised_unit: batch.views("randomised_unit")?.clone(),
            lower: numbers("lower")?,
            upper: numbers("upper")?,
            uncorrected: numbers("uncorrected")?,
            inputs: with_inputs.then(inputs).transpose()?,
        })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The 16 bytes of the prediction's id.
    pub fn id(&self, row: usize) -> [u8; 16] {
        self.ids[row]
    }

    /// The candidate.
    pub fn candidate_id(&self, row: usize) -> &str {
        self.candidate_id.value(row)
    }

    /// The version of the model that answered, or was asked.
    pub fn model_version(&self, row: usize) -> &str {
        self.model_version.value(row)
    }

    /// SHA-256 of the feature spec.
    pub fn spec_hash(&self, row: usize) -> &str {
        self.spec_hash.value(row)
    }

    /// What experiments randomise, where the caller named it.
    pub fn unit_id(&self, row: usize) -> Option<&str> {
        text_of(&self.unit_id, row)
    }

    /// The experiment, where there was one.
    pub fn experiment_id(&self, row: usize) -> Option<&str> {
        text_of(&self.experiment_id, row)
    }

    /// What was randomised, where that is not the unit.
    pub fn randomised_unit(&self, row: usize) -> Option<&str> {
        text_of(&self.randomised_unit, row)
    }

    /// Whether the row does not count in its experiment.
    pub fn is_excluded(&self, row: usize) -> bool {
        self.excluded[row]
    }

    /// The arm.
    pub fn arm(&self, row: usize) -> &str {
        self.arm.value(row)
    }

    /// The tier that answered.
    pub fn tier(&self, row: usize) -> Tier {
        self.tiers[row]
    }

    /// Event time, microseconds since 1970-01-01 UTC.
    pub fn requested_at_us(&self, row: usize) -> i64 {
        self.requested_at.value(row)
    }

    /// The answer, in the unit of the spec's prediction.
    pub fn prediction(&self, row: usize) -> f64 {
        self.prediction.value(row)
    }

    /// The naive model's answer, in the same unit.
    pub fn fallback(&self, row: usize) -> f64 {
        self.fallback.value(row)
    }

    /// What the endpoint had said, where a correction made the answer of it.
    pub fn uncorrected(&self, row: usize) -> Option<f64> {
        optional_number(&self.uncorrected, row)
    }

    /// The answered interval, where there was one.
    pub fn interval(&self, row: usize) -> Option<[f64; 2]> {
        Some([optional_number(&self.lower, row)?, optional_number(&self.upper, row)?])
    }

    /// JSON objects: the raw inputs that all candidates share, and the candidate's own. Empty where they were not wanted.
    pub fn inputs(&self, row: usize) -> (&str, &str) {
        self.inputs.as_ref().map_or(("", ""), |(shared, own)| (shared.value(row), own.value(row)))
    }
}

/// Some rows of an outcomes file, one per event, in the file's order. Business metrics are not decoded.
#[derive(Debug)]
pub struct OutcomeBatch {
    ids: Vec<[u8; 16]>,
    candidate_id: StringViewArray,
    observed_at: TimestampMicrosecondArray,
    arrived_at: TimestampMicrosecondArray,
    cancelled_at: TimestampMicrosecondArray,
}

/// The batches of an outcomes file.
///
/// # Errors
/// As [`read_outcomes`](crate::read_outcomes).
pub fn outcome_batches<R: ChunkReader + 'static>(
    file: R,
) -> Result<impl Iterator<Item = Result<OutcomeBatch, ArchiveError>> + Send + use<R>, ArchiveError> {
    let batches = parquet_file::read_views(file, &columns(OUTCOMES, &[&OUTCOME_COLUMNS]))?;
    Ok(batches.map(|batch| {
        let batch = batch?;
        let times = |name| batch.numbers::<TimestampMicrosecondType>(name).cloned();
        Ok(OutcomeBatch {
            ids: ids(&batch)?,
            candidate_id: batch.views("candidate_id")?.clone(),
            observed_at: times("observed_at")?,
            arrived_at: times("arrived_at")?,
            cancelled_at: times("cancelled_at")?,
        })
    }))
}

impl OutcomeBatch {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The 16 bytes of the prediction's id.
    pub fn id(&self, row: usize) -> [u8; 16] {
        self.ids[row]
    }

    /// The dispatched candidate.
    pub fn candidate_id(&self, row: usize) -> Option<&str> {
        text_of(&self.candidate_id, row)
    }

    /// When the reporting system learnt of it, microseconds since 1970-01-01 UTC; as all times here.
    pub fn observed_at_us(&self, row: usize) -> i64 {
        self.observed_at.value(row)
    }

    /// When the candidate arrived.
    pub fn arrived_at_us(&self, row: usize) -> Option<i64> {
        self.arrived_at.is_valid(row).then(|| self.arrived_at.value(row))
    }

    /// When the ride was cancelled.
    pub fn cancelled_at_us(&self, row: usize) -> Option<i64> {
        self.cancelled_at.is_valid(row).then(|| self.cancelled_at.value(row))
    }
}

/// What shadow arms said, column by column: one element per shadow arm and candidate, in the file's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShadowColumns {
    /// The 16 bytes of the prediction's id.
    pub prediction_id: Vec<[u8; 16]>,
    /// The candidate.
    pub candidate_id: Vec<String>,
    /// The shadow arm, and the version of the model behind it.
    pub arm: Vec<(String, String)>,
    /// What it predicts; `None` where it did not answer.
    pub prediction: Vec<Option<f64>>,
}

/// Reads [`ShadowColumns`]; the other columns are not decoded.
///
/// # Errors
/// As [`read_shadows`](crate::read_shadows).
pub fn read_shadow_columns(bytes: Bytes) -> Result<ShadowColumns, ArchiveError> {
    let mut found = ShadowColumns::default();
    for batch in parquet_file::read_views(bytes, &columns(SHADOWS, &[&SHADOW_COLUMNS]))? {
        let batch = batch?;
        found.prediction_id.extend(ids(&batch)?);
        let (candidates, arms, versions) =
            (batch.views("candidate_id")?, batch.coded("arm")?, batch.coded("model_version")?);
        found.candidate_id.extend((0..batch.len()).map(|row| candidates.value(row).to_owned()));
        found.arm.extend((0..batch.len()).map(|row| (arms.value(row).to_owned(), versions.value(row).to_owned())));
        found.prediction.extend(batch.numbers::<Float64Type>("prediction")?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{samples, write_outcomes, write_predictions, write_shadows};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn batches_say_what_the_columns_say(records in samples::predictions(), with_inputs: bool) {
            let records = crate::merge_predictions([records]);
            let bytes = write_predictions(&records).unwrap();
            let columns = crate::read_prediction_columns(bytes.clone()).unwrap();
            let rows = records.iter().flat_map(|record| record.candidates.iter().map(move |one| (record, one)));
            let rows: Vec<_> = rows.collect();
            let mut place = 0;
            for batch in prediction_batches(bytes, with_inputs).unwrap() {
                let batch = batch.unwrap();
                for row in 0..batch.len() {
                    prop_assert_eq!(&batch.id(row), columns.prediction_id[place].as_bytes());
                    prop_assert_eq!(batch.candidate_id(row), &*columns.candidate_id[place]);
                    prop_assert_eq!(batch.model_version(row), &*columns.model_version[place]);
                    prop_assert_eq!(batch.arm(row), &*columns.arm[place]);
                    prop_assert_eq!(batch.tier(row), columns.tier[place]);
                    prop_assert_eq!(batch.unit_id(row), columns.unit_id[place].as_deref());
                    prop_assert_eq!(batch.experiment_id(row), columns.experiment_id[place].as_deref());
                    prop_assert_eq!(batch.randomised_unit(row), columns.randomised_unit[place].as_deref());
                    prop_assert_eq!(batch.is_excluded(row), columns.excluded[place].is_some());
                    prop_assert_eq!(batch.requested_at_us(row), columns.requested_at[place].as_microsecond());
                    prop_assert_eq!(batch.prediction(row).to_bits(), columns.prediction[place].to_bits());
                    prop_assert_eq!(batch.fallback(row).to_bits(), columns.fallback[place].to_bits());
                    let interval = columns.lower[place].zip(columns.upper[place]).map(|(low, high)| [low, high]);
                    prop_assert_eq!(batch.interval(row), interval);
                    let (record, candidate) = rows[place];
                    prop_assert_eq!(batch.spec_hash(row), &record.spec_hash);
                    prop_assert_eq!(batch.uncorrected(row), candidate.uncorrected);
                    if with_inputs {
                        let (shared, own) = batch.inputs(row);
                        prop_assert_eq!(&serde_json::from_str::<domain::Inputs>(shared).unwrap(), &record.inputs);
                        prop_assert_eq!(&serde_json::from_str::<domain::Inputs>(own).unwrap(), &candidate.inputs);
                    }
                    place += 1;
                }
            }
            prop_assert_eq!(place, columns.len());
        }

        #[test]
        fn outcomes_and_shadows_too(events in samples::outcomes(), shadows in samples::shadows()) {
            let events = crate::merge_outcomes([events]);
            let mut expected = events.iter();
            for batch in outcome_batches(write_outcomes(&events).unwrap()).unwrap() {
                let batch = batch.unwrap();
                for row in 0..batch.len() {
                    let event = expected.next().unwrap();
                    prop_assert_eq!(&batch.id(row), event.prediction_id.as_bytes());
                    prop_assert_eq!(batch.candidate_id(row), event.candidate_id.as_ref().map(domain::CandidateId::as_str));
                    prop_assert_eq!(batch.observed_at_us(row), event.observed_at.as_microsecond());
                    prop_assert_eq!(batch.arrived_at_us(row), event.arrived_at.map(jiff::Timestamp::as_microsecond));
                    prop_assert_eq!(batch.cancelled_at_us(row), event.cancelled_at.map(jiff::Timestamp::as_microsecond));
                }
            }
            prop_assert!(expected.next().is_none());
            let shadows = crate::merge([shadows]);
            let columns = read_shadow_columns(write_shadows(&shadows).unwrap()).unwrap();
            let rows = shadows.iter().flat_map(|record| record.candidates.iter().map(move |one| (record, one)));
            for (place, (record, candidate)) in rows.enumerate() {
                prop_assert_eq!(&columns.prediction_id[place], record.prediction_id.as_bytes());
                prop_assert_eq!(&columns.candidate_id[place], candidate.candidate_id.as_str());
                prop_assert_eq!(&columns.arm[place], &(record.arm.clone(), record.model_version.clone()));
                prop_assert_eq!(columns.prediction[place], candidate.prediction);
            }
        }
    }
}
