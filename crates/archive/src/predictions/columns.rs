//! Rows to the columns of [`PREDICTIONS`].

use std::{fmt::Write as _, sync::Arc};

use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, builder::StringBuilder, types::Int32Type,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use domain::{AssignmentExclusion, Tier};

use super::{
    names::Name,
    rows::{CandidateRow, PredictionRows, RecordRow, Text},
};
use crate::{
    ArchiveError,
    parquet_file::BATCH_ROWS,
    schema::{LIST_ITEM, PREDICTIONS, arrow_schema},
};

/// The columns whose texts come as numbers of [`Names`](super::names::Names). In a file they are texts as any other.
const NAMES: [&str; 11] = [
    "model_name",
    "model_version",
    "release_id",
    "spec_hash",
    "experiment_id",
    "arm",
    "tier",
    "tier_reason",
    "endpoint",
    "variant",
    "assignment_excluded",
];

/// The schema of [`batches`]: that of the file, with dictionaries.
pub(super) fn batch_schema() -> SchemaRef {
    let names = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let file_schema = arrow_schema(PREDICTIONS);
    let fields = file_schema.fields().iter().map(|field| {
        if NAMES.contains(&field.name().as_str()) {
            Arc::new(Field::new(field.name(), names.clone(), field.is_nullable()))
        } else {
            field.clone()
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// One candidate, with its record.
#[derive(Clone, Copy)]
struct Row<'a> {
    record: &'a RecordRow,
    index: i32,
    candidate: &'a CandidateRow,
}

/// The records at the positions that `order` yields first, up to the one that fills a batch, in batches of at most
/// [`BATCH_ROWS`]. Where the batches end depends on nothing but the records and their order.
pub(super) fn next_batches(
    rows: &PredictionRows,
    order: &mut impl Iterator<Item = usize>,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, ArchiveError> {
    let mut taken: Vec<Row<'_>> = Vec::with_capacity(BATCH_ROWS);
    while taken.len() < BATCH_ROWS {
        let Some(position) = order.next() else { break };
        let record = &rows.records[position];
        let candidates = (0i32..).zip(&rows.candidates[record.candidates..record.candidates_end]);
        taken.extend(candidates.map(|(index, candidate)| Row { record, index, candidate }));
    }
    let columns = Columns {
        rows,
        names: rows.names.to_array(),
        tiers: Arc::new(StringArray::from_iter_values(Tier::ALL.map(Tier::as_str))),
        exclusions: Arc::new(StringArray::from_iter_values(AssignmentExclusion::ALL.map(AssignmentExclusion::as_str))),
    };
    taken.chunks(BATCH_ROWS).map(|rows| Ok(RecordBatch::try_new(schema.clone(), columns.arrays(rows)?)?)).collect()
}

struct Columns<'a> {
    rows: &'a PredictionRows,
    names: Arc<StringArray>,
    tiers: Arc<StringArray>,
    exclusions: Arc<StringArray>,
}

impl Columns<'_> {
    fn arrays(&self, rows: &[Row<'_>]) -> Result<Vec<ArrayRef>, ArchiveError> {
        let tier = Int32Array::from_iter_values(rows.iter().map(|row| row.record.tier as i32));
        let excluded = rows.iter().map(|row| row.record.excluded.map(|reason| reason as i32)).collect();
        Ok(vec![
            ids(rows),
            self.texts(rows, |row| row.candidate.id),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.index))),
            self.names(rows, |row| row.record.model)?,
            self.names(rows, |row| row.record.model_version)?,
            self.names(rows, |row| row.record.release_id)?,
            self.names(rows, |row| row.record.spec_hash)?,
            self.optional_texts(rows, |row| row.record.unit_id),
            times(rows, |record| record.requested_us),
            times(rows, |record| record.answered_us),
            self.optional_names(rows, |row| row.record.experiment_id)?,
            self.names(rows, |row| row.record.arm)?,
            doubles(rows, |row| row.record.probability),
            dictionary(tier, &self.tiers)?,
            self.optional_names(rows, |row| row.record.tier_reason)?,
            self.names(rows, |row| row.record.endpoint)?,
            self.names(rows, |row| row.record.variant)?,
            doubles(rows, |row| row.candidate.prediction),
            doubles(rows, |row| row.candidate.fallback),
            self.features(rows)?,
            self.texts(rows, |row| row.record.inputs),
            self.texts(rows, |row| row.candidate.inputs),
            durations(rows, 0),
            durations(rows, 1),
            durations(rows, 2),
            self.optional_texts(rows, |row| row.record.ride_id),
            self.optional_texts(rows, |row| row.record.randomised_unit),
            dictionary(excluded, &self.exclusions)?,
            optional_doubles(rows, |candidate| candidate.last_shown),
            optional_doubles(rows, |candidate| candidate.shown),
            optional_doubles(rows, |candidate| candidate.lower),
            optional_doubles(rows, |candidate| candidate.upper),
            optional_doubles(rows, |candidate| candidate.uncorrected),
        ])
    }

    fn texts(&self, rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> Text) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| self.rows.at(of(row)))))
    }

    fn optional_texts(&self, rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> Option<Text>) -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(row).map(|text| self.rows.at(text))).collect::<StringArray>())
    }

    fn names(&self, rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> Name) -> Result<ArrayRef, ArchiveError> {
        dictionary(Int32Array::from_iter_values(rows.iter().map(|row| of(row) as i32)), &self.names)
    }

    fn optional_names(
        &self,
        rows: &[Row<'_>],
        of: impl Fn(&Row<'_>) -> Option<Name>,
    ) -> Result<ArrayRef, ArchiveError> {
        dictionary(rows.iter().map(|row| of(row).map(|name| name as i32)).collect(), &self.names)
    }

    fn features(&self, rows: &[Row<'_>]) -> Result<ArrayRef, ArchiveError> {
        let lengths = rows.iter().map(|row| row.candidate.features_end - row.candidate.features);
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            values.extend_from_slice(&self.rows.features[row.candidate.features..row.candidate.features_end]);
        }
        let nulls = self.rows.has_null_features.then(|| values.iter().map(|value| !value.is_nan()).collect());
        let item = Arc::new(Field::new(LIST_ITEM, DataType::Float64, true));
        let values = Arc::new(Float64Array::new(values.into(), nulls));
        Ok(Arc::new(ListArray::try_new(item, offsets, values, None)?))
    }
}

fn dictionary(numbers: Int32Array, texts: &Arc<StringArray>) -> Result<ArrayRef, ArchiveError> {
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(numbers, texts.clone())?))
}

fn ids(rows: &[Row<'_>]) -> ArrayRef {
    let mut ids = StringBuilder::with_capacity(rows.len(), rows.len() * 36);
    let mut id = String::new();
    for row in rows {
        // Written once for a record's rows, but where a batch begins amid them.
        if row.index == 0 || id.is_empty() {
            id.clear();
            // A String takes everything.
            let _ = write!(id, "{}", row.record.id);
        }
        ids.append_value(&id);
    }
    Arc::new(ids.finish())
}

fn times(rows: &[Row<'_>], of: impl Fn(&RecordRow) -> i64) -> ArrayRef {
    let array = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| of(row.record)));
    Arc::new(array.with_timezone("UTC"))
}

fn durations(rows: &[Row<'_>], which: usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.record.timings_us[which])))
}

fn doubles(rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> f64) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(rows.iter().map(of)))
}

fn optional_doubles(rows: &[Row<'_>], of: impl Fn(&CandidateRow) -> Option<f64>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| of(row.candidate)).collect::<Float64Array>())
}
