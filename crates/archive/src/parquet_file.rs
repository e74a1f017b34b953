//! How a table becomes a Parquet file, and how its columns are found again.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Int32Array, ListArray, PrimitiveArray, RecordBatch, RecordBatchOptions,
    StringArray, StringViewArray,
    cast::AsArray,
    new_null_array,
    types::{Int32Type, TimestampMicrosecondType},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use domain::truncate_to_micros;
use jiff::Timestamp;
use parquet::{
    arrow::{
        ArrowWriter, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
        arrow_writer::ArrowWriterOptions,
    },
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
        reader::ChunkReader,
        statistics::Statistics,
    },
    schema::types::ColumnPath,
};

use crate::{
    ArchiveError,
    schema::{Column, ColumnType, LIST_ITEM},
};

/// Rows per batch in memory, in both directions. With the limit on a record's inputs it bounds a batch's bytes.
pub(crate) const BATCH_ROWS: usize = 2048;
/// Rows per batch where only a few columns are looked at.
const VIEW_BATCH_ROWS: usize = 4096;
/// Text columns whose values hardly ever repeat.
const UNIQUE: [&str; 3] = ["prediction_id", "candidate_id", "candidate_inputs"];
/// Rows per row group: an id's page is found within few megabytes, and a group still compresses well.
const ROW_GROUP_ROWS: usize = 64 * 1024;
/// Doubles hardly compress; a higher level makes files of the same size, later.
const ZSTD_LEVEL: i32 = 1;
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// Fixed, so that the same rows are the same bytes whichever version of the writer's library is linked.
const CREATED_BY: &str = "mannen version 1.0.0 (build archive)";

/// Columns whose values hardly ever repeat: a dictionary would only be thrown away again, or be larger than they are.
const WITHOUT_DICTIONARY: [&[&str]; 13] = [
    &["event_digest"],
    &["candidate_inputs"],
    &["prediction"],
    &["fallback"],
    &["features", "list", LIST_ITEM],
    &["requested_at"],
    &["answered_at"],
    &["inference_time"],
    &["last_shown"],
    &["shown"],
    &["lower"],
    &["upper"],
    &["uncorrected"],
];

/// Columns that nobody looks for a value in: smallest and largest would be computed for nothing.
const WITHOUT_STATISTICS: [&[&str]; 3] = [&["inputs"], &["candidate_inputs"], &["features", "list", LIST_ITEM]];

/// Writes batches of `schema`, whose rows are in ascending order of the columns `sort`. The Bloom filter on the first of
/// these, the id, begins at a row group's size and is folded to what the ids that came need. The columns `distinct` differ
/// from row to row.
pub(crate) fn write(
    schema: SchemaRef,
    sort: &[&str],
    distinct: &[&str],
    batches: impl Iterator<Item = Result<RecordBatch, ArchiveError>>,
) -> Result<Bytes, ArchiveError> {
    let path = |name: &str| ColumnPath::from(name);
    let sorting = sort
        .iter()
        .filter_map(|name| schema.index_of(name).ok())
        .map(|index| SortingColumn { column_idx: index as i32, descending: false, nulls_first: false })
        .collect();
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting));
    if let Some(id) = sort.first() {
        properties = properties
            .set_column_bloom_filter_fpp(path(id), BLOOM_FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(path(id), ROW_GROUP_ROWS as u64);
    }
    let nested = |parts: &[&str]| ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect());
    for parts in WITHOUT_DICTIONARY {
        properties = properties.set_column_dictionary_enabled(nested(parts), false);
    }
    for name in distinct {
        properties = properties.set_column_dictionary_enabled(path(name), false);
    }
    for parts in WITHOUT_STATISTICS {
        properties = properties.set_column_statistics_enabled(nested(parts), EnabledStatistics::None);
    }
    // The Parquet schema says all; a copy of it in Arrow's own form would be the larger part of a small file.
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    Ok(writer.into_inner()?.into())
}

/// The batches of a file, with the `wanted` columns only. Columns that are not wanted are not decoded. A nullable column
/// that the file does not have, since it was added later, is NULL in every row.
pub(crate) fn read(
    bytes: Bytes,
    wanted: &[&'static Column],
) -> Result<impl Iterator<Item = Result<Batch, ArchiveError>> + Send + use<>, ArchiveError> {
    read_as(bytes, wanted, BATCH_ROWS, ColumnType::to_arrow_of)
}

/// The same for who looks at rows in passing: texts are views of the file's pages, and of columns that repeat, only the
/// different values are decoded.
pub(crate) fn read_views<R: ChunkReader + 'static>(
    file: R,
    wanted: &[&'static Column],
) -> Result<impl Iterator<Item = Result<Batch, ArchiveError>> + Send + use<R>, ArchiveError> {
    read_as(file, wanted, VIEW_BATCH_ROWS, |column| match column.column_type {
        // The reader would make a dictionary of NULLs anew for each batch.
        ColumnType::Text if column.nullable || UNIQUE.contains(&column.name) => DataType::Utf8View,
        ColumnType::Text => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        _ => column.column_type.to_arrow(),
    })
}

fn read_as<R: ChunkReader + 'static>(
    file: R,
    wanted: &[&'static Column],
    batch_rows: usize,
    read_type: fn(&Column) -> DataType,
) -> Result<impl Iterator<Item = Result<Batch, ArchiveError>> + Send + use<R>, ArchiveError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut metadata = ArrowReaderMetadata::load(&file, options.clone())?;
    for column in wanted {
        let Ok(field) = metadata.schema().field_with_name(column.name) else {
            if column.nullable {
                continue;
            }
            return Err(ArchiveError::MissingColumn(column.name));
        };
        if !column.column_type.accepts(field.data_type()) {
            return Err(ArchiveError::ColumnType {
                column: column.name,
                found: field.data_type().to_string(),
                expected: column.column_type.as_str(),
            });
        }
    }
    if wanted.iter().any(|column| read_type(column) != column.column_type.to_arrow()) {
        let retyped = |field: &Arc<Field>| match wanted.iter().find(|column| column.name == field.name()) {
            Some(column) if column.column_type == ColumnType::Text => {
                Arc::new(Field::new(column.name, read_type(column), field.is_nullable()))
            }
            _ => field.clone(),
        };
        let schema = Schema::new(metadata.schema().fields().iter().map(retyped).collect::<Vec<_>>());
        metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options.with_schema(Arc::new(schema)))?;
    }
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    // What is NULL everywhere need not be decoded.
    let wanted = wanted.to_vec();
    let names = wanted.iter().map(|column| column.name).filter(|name| !is_null_everywhere(builder.metadata(), name));
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    let mut first_row = 0;
    let reader = builder.with_projection(mask).with_batch_size(batch_rows).build()?;
    let mut nulls = Vec::new();
    Ok(reader.map(move |rows| {
        let batch = Batch { first_row, rows: with_missing(rows?, &wanted, read_type, &mut nulls)? };
        first_row += batch.rows.num_rows() as u64;
        for column in wanted.iter().filter(|column| !column.nullable) {
            let array = batch.rows.column_by_name(column.name).ok_or(ArchiveError::MissingColumn(column.name))?;
            if array.null_count() > 0
                && let Some(row) = (0..array.len()).find(|&row| array.is_null(row))
            {
                return Err(batch.invalid(row, column.name, "NULL in a column that has no NULLs"));
            }
        }
        Ok(batch)
    }))
}

/// Whether the file's statistics say that a column has no value.
fn is_null_everywhere(metadata: &ParquetMetaData, name: &str) -> bool {
    let columns = metadata.file_metadata().schema_descr().columns();
    let Some(index) = columns.iter().position(|column| column.path().string() == name) else { return false };
    metadata.row_groups().iter().all(|group| {
        let nulls = group.column(index).statistics().and_then(Statistics::null_count_opt);
        nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(group.num_rows()))
    })
}

/// `rows` with NULLs for the nullable columns that it does not have, which are kept in `nulls` for the next batch.
fn with_missing(
    rows: RecordBatch,
    wanted: &[&'static Column],
    read_type: fn(&Column) -> DataType,
    nulls: &mut Vec<(DataType, ArrayRef)>,
) -> Result<RecordBatch, ArchiveError> {
    let missing: Vec<_> = wanted.iter().filter(|column| rows.column_by_name(column.name).is_none()).collect();
    if missing.is_empty() {
        return Ok(rows);
    }
    let (count, (schema, mut arrays, _)) = (rows.num_rows(), rows.into_parts());
    let mut fields = schema.fields().to_vec();
    for column in missing {
        let data_type = read_type(column);
        let known = nulls.iter().find(|(of, array)| *of == data_type && array.len() >= count);
        let array = known.map_or_else(|| new_null_array(&data_type, count), |(_, array)| array.slice(0, count));
        if known.is_none() {
            nulls.push((data_type.clone(), array.clone()));
        }
        arrays.push(array);
        fields.push(Arc::new(Field::new(column.name, data_type, true)));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?)
}

/// How many bytes at a file's end hold the footer of an hour file, but for huge ones.
pub const FOOTER_BYTES: u64 = 64 * 1024;

/// How many rows a file of `size_bytes` has, from its last bytes. `None` where `tail` does not reach back to where the
/// footer begins.
///
/// # Errors
/// Not a Parquet file, or a damaged one.
pub fn footer_rows(tail: &Bytes, size_bytes: u64) -> Result<Option<u64>, ArchiveError> {
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(tail, size_bytes) {
        Ok(()) => {}
        Err(ParquetError::NeedMoreData(_)) if (tail.len() as u64) < size_bytes => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let rows = reader.finish()?.file_metadata().num_rows();
    Ok(Some(u64::try_from(rows).unwrap_or_default()))
}

/// Some rows of a file.
pub(crate) struct Batch {
    first_row: u64,
    rows: RecordBatch,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<&StringArray, ArchiveError> {
        self.array(name)?.as_string_opt().ok_or(ArchiveError::MissingColumn(name))
    }

    /// A text column of [`read_views`] that hardly repeats.
    pub(crate) fn views(&self, name: &'static str) -> Result<&StringViewArray, ArchiveError> {
        self.array(name)?.as_string_view_opt().ok_or(ArchiveError::MissingColumn(name))
    }

    /// Another text column of [`read_views`].
    pub(crate) fn coded(&self, name: &'static str) -> Result<Coded, ArchiveError> {
        let column = self.array(name)?.as_dictionary_opt::<Int32Type>().ok_or(ArchiveError::MissingColumn(name))?;
        let values = column.values().as_string_opt::<i32>().ok_or(ArchiveError::MissingColumn(name))?;
        Ok(Coded { keys: column.keys().clone(), values: values.clone() })
    }

    pub(crate) fn numbers<T: ArrowPrimitiveType>(
        &self,
        name: &'static str,
    ) -> Result<&PrimitiveArray<T>, ArchiveError> {
        self.array(name)?.as_primitive_opt().ok_or(ArchiveError::MissingColumn(name))
    }

    pub(crate) fn lists(&self, name: &'static str) -> Result<&ListArray, ArchiveError> {
        self.array(name)?.as_list_opt().ok_or(ArchiveError::MissingColumn(name))
    }

    pub(crate) fn timestamps(&self, name: &'static str) -> Result<Timestamps<'_>, ArchiveError> {
        Ok(Timestamps { batch: self, name, micros: self.numbers(name)? })
    }

    fn array(&self, name: &'static str) -> Result<&dyn Array, ArchiveError> {
        self.rows.column_by_name(name).map(AsRef::as_ref).ok_or(ArchiveError::MissingColumn(name))
    }

    /// A value that cannot be, in the row `row` of this batch.
    pub(crate) fn invalid(&self, row: usize, column: &'static str, detail: impl std::fmt::Display) -> ArchiveError {
        ArchiveError::InvalidValue { row: self.first_row + row as u64, column, detail: format!("{detail}") }
    }
}

/// A text column as keys into its different values.
#[derive(Debug)]
pub(crate) struct Coded {
    keys: Int32Array,
    values: StringArray,
}

impl Coded {
    /// A row's value.
    pub(crate) fn value(&self, row: usize) -> &str {
        self.values.value(self.keys.value(row) as usize)
    }

    /// What `of` makes of each row's value: it is asked once per different value, and told a row that has it.
    pub(crate) fn map<T: Copy, E>(&self, of: impl Fn(usize, &str) -> Result<T, E>) -> Result<Vec<T>, E> {
        let mut known: Vec<Option<T>> = vec![None; self.values.len()];
        let value = |(row, &key): (usize, &i32)| match known[key as usize] {
            Some(value) => Ok(value),
            None => Ok(*known[key as usize].insert(of(row, self.values.value(key as usize))?)),
        };
        self.keys.values().iter().enumerate().map(value).collect()
    }
}

/// A timestamp column.
pub(crate) struct Timestamps<'a> {
    batch: &'a Batch,
    name: &'static str,
    micros: &'a PrimitiveArray<TimestampMicrosecondType>,
}

impl Timestamps<'_> {
    pub(crate) fn at(&self, row: usize) -> Result<Timestamp, ArchiveError> {
        Timestamp::from_microsecond(self.micros.value(row)).map_err(|error| self.batch.invalid(row, self.name, error))
    }

    pub(crate) fn opt_at(&self, row: usize) -> Result<Option<Timestamp>, ArchiveError> {
        if self.micros.is_null(row) { Ok(None) } else { self.at(row).map(Some) }
    }
}

/// Microseconds since 1970-01-01 UTC, rounded down.
pub(crate) fn micros(timestamp: Timestamp) -> i64 {
    truncate_to_micros(timestamp).as_microsecond()
}

/// The value of a nullable text column.
pub(crate) fn optional(array: &StringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

/// The value of a nullable number column.
pub(crate) fn optional_number<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

#[cfg(test)]
mod tests {
    use parquet::file::{
        properties::ReaderProperties,
        reader::{FileReader, SerializedFileReader},
        serialized_reader::ReadOptionsBuilder,
    };

    use super::{ColumnPath, Compression, WITHOUT_STATISTICS, footer_rows};
    use crate::{samples, write_inferences, write_outcomes, write_predictions};

    #[test]
    fn files_are_made_to_be_searched_by_id() {
        let records: Vec<_> = (0..200).map(samples::prediction).collect();
        let bytes = write_predictions(&records).unwrap();
        let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
        let options = ReadOptionsBuilder::new().with_page_index().with_reader_properties(properties).build();
        let reader = SerializedFileReader::new_with_options(bytes, options).unwrap();
        let metadata = reader.metadata();
        let codecs =
            (0..metadata.row_group(0).num_columns()).map(|column| metadata.row_group(0).column(column).compression());
        assert!(codecs.into_iter().all(|codec| matches!(codec, Compression::ZSTD(_))));
        assert_eq!(metadata.file_metadata().created_by(), Some("mannen version 1.0.0 (build archive)"));
        let group = metadata.row_group(0);
        let unsearched = |path: &ColumnPath| WITHOUT_STATISTICS.iter().any(|parts| path.parts() == *parts);
        assert!(
            group
                .columns()
                .iter()
                .all(|column| { column.column_index_offset().is_some() != unsearched(column.column_path()) })
        );
        assert!((0..group.num_columns()).all(|column| group.column(column).offset_index_offset().is_some()));
        assert_eq!(group.sorting_columns().unwrap().iter().map(|c| c.column_idx).collect::<Vec<_>>(), [0, 2]);
        let ids = group.column(0).statistics().unwrap();
        let smallest = records.iter().map(|record| record.prediction_id).min().unwrap().to_string();
        assert_eq!(ids.min_bytes_opt(), Some(smallest.as_bytes()));
        let row_group = reader.get_row_group(0).unwrap();
        let filter = row_group.get_column_bloom_filter(0).unwrap();
        assert!(records.iter().all(|record| filter.check(&record.prediction_id.to_string().as_str())));
        let strangers = (1000..2000).map(samples::prediction);
        let false_positives =
            strangers.filter(|record| filter.check(&record.prediction_id.to_string().as_str())).count();
        assert!(false_positives < 50, "{false_positives} of 1000");
    }

    #[test]
    fn the_footer_alone_tells_the_rows() {
        let records: Vec<_> = (0..200).map(samples::prediction).collect();
        let rows: usize = records.iter().map(|record| record.candidates.len()).sum();
        let bytes = write_predictions(&records).unwrap();
        let size_bytes = bytes.len() as u64;
        let tail = bytes.slice(bytes.len() / 2..);
        assert_eq!(footer_rows(&tail, size_bytes).unwrap(), Some(rows as u64));
        assert_eq!(footer_rows(&bytes.slice(bytes.len() - 100..), size_bytes).unwrap(), None);
        assert!(footer_rows(&bytes.slice(..100), 100).is_err());
    }

    #[test]
    fn every_table_is_sorted_compressed_and_indexed() {
        let outcomes: Vec<_> = (0..200).map(samples::outcome).collect();
        let inferences: Vec<_> = (0..200).map(samples::inference).collect();
        let files = [
            (write_outcomes(&outcomes).unwrap(), vec![0, 2, 7], outcomes[7].prediction_id.to_string()),
            (write_inferences(&inferences).unwrap(), vec![0, 18], inferences[7].inference_id.clone()),
        ];
        for (bytes, sorted_by, id) in files {
            let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
            let options = ReadOptionsBuilder::new().with_page_index().with_reader_properties(properties).build();
            let reader = SerializedFileReader::new_with_options(bytes, options).unwrap();
            let group = reader.metadata().row_group(0);
            assert_eq!(group.sorting_columns().unwrap().iter().map(|c| c.column_idx).collect::<Vec<_>>(), sorted_by);
            for column in group.columns() {
                assert!(matches!(column.compression(), Compression::ZSTD(_)), "{}", column.column_path());
                assert!(column.column_index_offset().is_some() && column.offset_index_offset().is_some());
            }
            let row_group = reader.get_row_group(0).unwrap();
            let filter = row_group.get_column_bloom_filter(0).unwrap();
            assert!(filter.check(&id.as_str()) && !filter.check(&"a stranger"));
        }
    }
}
