use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use arrow_array::types::Float64Type;
use bytes::Bytes;
use domain::{AssignmentExclusion, PredictionId, ReleaseId, Tier};
use jiff::Timestamp;

use crate::{
    ArchiveError,
    parquet_file::{self, optional},
    predictions::{parse_exclusion, parse_tier},
    schema::{Column, PREDICTIONS},
};

/// What an evaluation needs of an hour's predictions: columns of equal length, one element per candidate, in the file's
/// order (by prediction id, then the candidate's position). Texts that repeat are shared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PredictionColumns {
    /// The prediction.
    pub prediction_id: Vec<PredictionId>,
    /// The candidate, unique within the prediction.
    pub candidate_id: Vec<Arc<str>>,
    /// The version of the model that answered, or was asked.
    pub model_version: Vec<Arc<str>>,
    /// What experiments randomise, where the caller named it.
    pub unit_id: Vec<Option<Arc<str>>>,
    /// The experiment, where there was one.
    pub experiment_id: Vec<Option<Arc<str>>>,
    /// The arm.
    pub arm: Vec<Arc<str>>,
    /// The tier that answered.
    pub tier: Vec<Tier>,
    /// Event time, UTC.
    pub requested_at: Vec<Timestamp>,
    /// The answer, in the unit of the spec's prediction.
    pub prediction: Vec<f64>,
    /// The naive model's answer, in the same unit.
    pub fallback: Vec<f64>,
    /// What was randomised, where that is not the unit: a switchback's zone and slot.
    pub randomised_unit: Vec<Option<Arc<str>>>,
    /// Why it does not count in its experiment, where it does not.
    pub excluded: Vec<Option<AssignmentExclusion>>,
    /// What was shown, where the release had a promise; in the same unit.
    pub shown: Vec<Option<f64>>,
    /// The lower end of the promise's interval.
    pub lower: Vec<Option<f64>>,
    /// The upper end of the promise's interval.
    pub upper: Vec<Option<f64>>,
}

impl PredictionColumns {
    /// How many candidates.
    pub fn len(&self) -> usize {
        self.prediction_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.prediction_id.is_empty()
    }
}

const WANTED: [&str; 15] = [
    "prediction_id",
    "candidate_id",
    "model_version",
    "unit_id",
    "experiment_id",
    "arm",
    "tier",
    "requested_at",
    "prediction",
    "fallback",
    "randomised_unit",
    "assignment_excluded",
    "shown",
    "lower",
    "upper",
];

/// One shared copy per distinct text.
#[derive(Default)]
struct Shared(HashSet<Arc<str>>);

impl Shared {
    fn of(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(text) {
            return shared.clone();
        }
        let shared: Arc<str> = text.into();
        self.0.insert(shared.clone());
        shared
    }
}

/// Reads [`PredictionColumns`] from a predictions file; the other columns are not decoded.
///
/// # Errors
/// As [`read_predictions`](crate::read_predictions).
pub fn read_prediction_columns(bytes: Bytes) -> Result<PredictionColumns, ArchiveError> {
    let wanted: Vec<&'static Column> = PREDICTIONS.iter().filter(|column| WANTED.contains(&column.name)).collect();
    let mut columns = PredictionColumns::default();
    let mut shared = Shared::default();
    for batch in parquet_file::read(bytes, &wanted)? {
        let batch = batch?;
        let (ids, candidates, tiers) = (batch.text("prediction_id")?, batch.text("candidate_id")?, batch.text("tier")?);
        let (versions, arms) = (batch.text("model_version")?, batch.text("arm")?);
        let (units, experiments) = (batch.text("unit_id")?, batch.text("experiment_id")?);
        let (randomised_units, excluded) = (batch.text("randomised_unit")?, batch.text("assignment_excluded")?);
        let requested_at = batch.timestamps("requested_at")?;
        for row in 0..batch.len() {
            // Candidates of one prediction follow each other: their id is parsed once.
            let text = ids.value(row);
            let id = match columns.prediction_id.last() {
                Some(&last) if row > 0 && ids.value(row - 1) == text => last,
                _ => text.parse().map_err(|error| batch.invalid(row, "prediction_id", error))?,
            };
            columns.prediction_id.push(id);
            columns.candidate_id.push(shared.of(candidates.value(row)));
            columns.model_version.push(shared.of(versions.value(row)));
            columns.unit_id.push(optional(units, row).map(|text| shared.of(text)));
            columns.experiment_id.push(optional(experiments, row).map(|text| shared.of(text)));
            columns.arm.push(shared.of(arms.value(row)));
            let tier = parse_tier(tiers.value(row));
            columns.tier.push(tier.ok_or_else(|| batch.invalid(row, "tier", "unknown tier"))?);
            columns.requested_at.push(requested_at.at(row)?);
            columns.randomised_unit.push(optional(randomised_units, row).map(|text| shared.of(text)));
            columns.excluded.push(parse_exclusion(&batch, row, excluded)?);
        }
        columns.prediction.extend_from_slice(batch.numbers::<Float64Type>("prediction")?.values());
        columns.fallback.extend_from_slice(batch.numbers::<Float64Type>("fallback")?.values());
        columns.shown.extend(batch.numbers::<Float64Type>("shown")?);
        columns.lower.extend(batch.numbers::<Float64Type>("lower")?);
        columns.upper.extend(batch.numbers::<Float64Type>("upper")?);
    }
    Ok(columns)
}

/// The releases that a predictions file's records name, each once; the other columns are not decoded.
///
/// # Errors
/// As [`read_predictions`](crate::read_predictions).
pub fn read_release_ids(bytes: Bytes) -> Result<BTreeSet<ReleaseId>, ArchiveError> {
    let wanted: Vec<&'static Column> = PREDICTIONS.iter().filter(|column| column.name == "release_id").collect();
    let mut ids = BTreeSet::new();
    for batch in parquet_file::read(bytes, &wanted)? {
        let batch = batch?;
        let texts = batch.text("release_id")?;
        for row in 0..batch.len() {
            if row == 0 || texts.value(row) != texts.value(row - 1) {
                ids.insert(
                    texts
                        .value(row)
                        .parse()
                        .map_err(|error: domain::DomainError| batch.invalid(row, "release_id", error))?,
                );
            }
        }
    }
    Ok(ids)
}

/// Which rows of a predictions file are of one release.
///
/// # Errors
/// As [`read_predictions`](crate::read_predictions).
pub fn read_release_rows(bytes: Bytes, release: &ReleaseId) -> Result<Vec<bool>, ArchiveError> {
    let wanted: Vec<&'static Column> = PREDICTIONS.iter().filter(|column| column.name == "release_id").collect();
    let mut rows = Vec::new();
    for batch in parquet_file::read(bytes, &wanted)? {
        let batch = batch?;
        let texts = batch.text("release_id")?;
        rows.extend((0..batch.len()).map(|row| texts.value(row) == release.as_str()));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use proptest::prelude::*;

    use domain::{ArmAssignment, CandidateRecord, PredictionRecord};

    use super::*;
    use crate::{samples, write_predictions};

    fn file(columns: &[(&str, ArrayRef)]) -> Bytes {
        let batch = RecordBatch::try_from_iter(columns.iter().map(|(name, array)| (*name, array.clone()))).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }

    /// A file of our own, with columns replaced (or dropped, or added) by hand.
    fn altered(change: impl Fn(&mut Vec<(String, ArrayRef)>)) -> Bytes {
        let bytes = write_predictions(&[samples::prediction(1)]).unwrap();
        let mut reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 100).unwrap();
        let batch = reader.next().unwrap().unwrap();
        let names = batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let mut columns: Vec<_> = names.into_iter().zip(batch.columns().iter().cloned()).collect();
        change(&mut columns);
        file(&columns.iter().map(|(name, array)| (name.as_str(), array.clone())).collect::<Vec<_>>())
    }

    #[test]
    fn added_columns_are_ignored_in_any_order() {
        let bytes = altered(|columns| {
            let extra: ArrayRef = Arc::new(Int64Array::from(vec![7; columns[0].1.len()]));
            columns.insert(0, ("weather".to_owned(), extra));
            columns.reverse();
        });
        assert_eq!(crate::read_predictions(bytes.clone()).unwrap(), [samples::prediction(1)]);
        assert_eq!(read_prediction_columns(bytes).unwrap().len(), samples::prediction(1).candidates.len());
    }

    /// The columns that were added after the archive's first files.
    const ADDED: [&str; 8] =
        ["ride_id", "randomised_unit", "assignment_excluded", "last_shown", "shown", "lower", "upper", "uncorrected"];

    #[test]
    fn a_file_from_before_a_column_was_added_still_reads() {
        let before = |record: PredictionRecord| PredictionRecord {
            ride_id: None,
            assignment: ArmAssignment { randomised_unit: None, excluded: None, ..record.assignment },
            candidates: record
                .candidates
                .into_iter()
                .map(|one| CandidateRecord {
                    uncorrected: None,
                    last_shown: None,
                    shown: None,
                    lower: None,
                    upper: None,
                    ..one
                })
                .collect(),
            ..record
        };
        let expected = before(samples::prediction(1));
        assert_ne!(expected, samples::prediction(1), "the sample has values in the columns that are taken away");
        let bytes = altered(|columns| columns.retain(|(name, _)| !ADDED.contains(&name.as_str())));
        assert_eq!(crate::read_predictions(bytes.clone()).unwrap(), std::slice::from_ref(&expected));
        let columns = read_prediction_columns(bytes.clone()).unwrap();
        assert_eq!(columns.excluded, vec![None; expected.candidates.len()]);
        assert_eq!(columns.shown, vec![None; expected.candidates.len()]);
        // The next compaction writes it with all columns.
        let merged = crate::merge_into_file(Some(&bytes), &[samples::prediction(2)]).unwrap();
        assert_eq!(
            crate::read_predictions(merged.bytes).unwrap(),
            crate::merge_predictions([vec![expected, samples::prediction(2)]])
        );
    }

    #[test]
    fn missing_columns_other_types_and_impossible_values_are_named() {
        let missing = altered(|columns| columns.retain(|(name, _)| name != "arm"));
        let error = read_prediction_columns(missing).unwrap_err();
        assert_eq!((error.reason(), error.to_string().contains("`arm`")), ("missing_column", true), "{error}");

        let set = |name: &str, array: fn(usize) -> ArrayRef| {
            altered(|columns| {
                let column = columns.iter_mut().find(|(found, _)| found == name).unwrap();
                column.1 = array(column.1.len());
            })
        };
        let error =
            read_prediction_columns(set("prediction", |rows| Arc::new(Int64Array::from(vec![1; rows])))).unwrap_err();
        assert_eq!(error.to_string(), "column `prediction` has type Int64; expected double");
        let error =
            read_prediction_columns(set("tier", |rows| Arc::new(StringArray::from(vec!["x"; rows])))).unwrap_err();
        assert_eq!(error.to_string(), "row 0, column `tier`: unknown tier");
        let error = read_prediction_columns(set("arm", |rows| Arc::new(StringArray::new_null(rows)))).unwrap_err();
        assert_eq!(error.to_string(), "row 0, column `arm`: NULL in a column that has no NULLs");
        let shuffled = altered(|columns| {
            let index = columns.iter_mut().find(|(name, _)| name == "candidate_index").unwrap();
            index.1 = Arc::new(arrow_array::Int32Array::from(vec![3; index.1.len()]));
        });
        assert_eq!(crate::read_predictions(shuffled).unwrap_err().reason(), "invalid_value");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn columns_say_what_the_records_say(records in samples::predictions()) {
            let records = crate::merge_predictions([records]);
            let columns = read_prediction_columns(write_predictions(&records).unwrap()).unwrap();
            let mut row = 0;
            for record in &records {
                for candidate in &record.candidates {
                    prop_assert_eq!(columns.prediction_id[row], record.prediction_id);
                    prop_assert_eq!(&*columns.candidate_id[row], candidate.candidate_id.as_str());
                    prop_assert_eq!(&*columns.model_version[row], record.model_version.as_str());
                    prop_assert_eq!(columns.unit_id[row].as_deref(), record.unit_id.as_ref().map(domain::UnitId::as_str));
                    prop_assert_eq!(columns.experiment_id[row].as_deref(), record.assignment.experiment_id.as_deref());
                    prop_assert_eq!(&*columns.arm[row], record.assignment.arm.as_str());
                    prop_assert_eq!(columns.tier[row], record.tier);
                    prop_assert_eq!(columns.requested_at[row], record.requested_at);
                    prop_assert_eq!(columns.prediction[row].to_bits(), candidate.prediction.to_bits());
                    prop_assert_eq!(columns.fallback[row].to_bits(), candidate.fallback.to_bits());
                    let ArmAssignment { randomised_unit, excluded, .. } = &record.assignment;
                    prop_assert_eq!(columns.randomised_unit[row].as_deref(), randomised_unit.as_deref());
                    prop_assert_eq!(columns.excluded[row], *excluded);
                    let promise = (columns.shown[row], columns.lower[row], columns.upper[row]);
                    prop_assert_eq!(promise, (candidate.shown, candidate.lower, candidate.upper));
                    row += 1;
                }
            }
            prop_assert_eq!(columns.len(), row);
        }
    }
}
