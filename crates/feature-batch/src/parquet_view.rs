//! The training view as Parquet: every column a double, the label in column 0, zstd.
//!
//! A row group has a fixed number of rows, and is written column by column from whole columns: the bytes depend on the
//! values alone, not on how they came.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow_array::{ArrayRef, BooleanArray, Float64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves},
    },
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
};

/// The most bytes of values in one row group.
pub const GROUP_BYTES: usize = 32 * 1024 * 1024;
const MAX_GROUP_ROWS: usize = 131_072;
const MIN_GROUP_ROWS: usize = 1_024;

/// Rows per row group of a view with `columns` columns.
pub(crate) fn group_rows(columns: usize) -> usize {
    (GROUP_BYTES / (8 * columns.max(1)) / MIN_GROUP_ROWS * MIN_GROUP_ROWS).clamp(MIN_GROUP_ROWS, MAX_GROUP_ROWS)
}

/// Columns of a row group in the making: the label, then the outputs.
pub(crate) type Columns = Vec<Vec<f64>>;

/// Makes row groups, on any thread.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Writers of columns whose values come again: a dictionary of them, and places in it.
    repeating: ArrowRowGroupWriterFactory,
    /// Writers of the other columns. To look for what comes again where nothing does is a third of the work.
    varied: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
}

/// An empty file and its encoder. `names` are the columns', the label's first.
pub(crate) fn create<W: Write + Send>(
    writer: W,
    names: &[String],
    spec_hash: &str,
) -> Result<(SerializedFileWriter<W>, Encoder), ParquetError> {
    let fields: Vec<Field> =
        names.iter().enumerate().map(|(column, name)| Field::new(name, DataType::Float64, column > 0)).collect();
    let schema = Arc::new(Schema::new(fields));
    let parquet_schema = ArrowSchemaConverter::new().convert(&schema)?;
    let level = ZstdLevel::try_new(1)?;
    let properties = |dictionary: bool| {
        WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_dictionary_enabled(dictionary)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(vec![KeyValue::new("mannen.spec_hash".to_owned(), spec_hash.to_owned())]))
            .set_created_by("mannen".to_owned())
            .build()
    };
    let root = parquet_schema.root_schema_ptr();
    let file = SerializedFileWriter::new(writer, Arc::clone(&root), Arc::new(properties(true)))?;
    let repeating = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
    // A factory takes its properties from a file's writer; nothing is written by this one.
    let other = SerializedFileWriter::new(io::sink(), root, Arc::new(properties(false)))?;
    let varied = ArrowRowGroupWriterFactory::new(&other, Arc::clone(&schema));
    Ok((file, Encoder { repeating, varied, schema }))
}

/// Whether a dictionary of a column's values would pay: by a sample, so that it depends on the values alone.
fn repeats(values: &[f64]) -> bool {
    const SAMPLE: usize = 1_024;
    let mut sample: Vec<u64> =
        values.iter().step_by((values.len() / SAMPLE).max(1)).map(|value| value.to_bits()).collect();
    let all = sample.len();
    sample.sort_unstable();
    sample.dedup();
    sample.len() * 2 <= all
}

impl Encoder {
    /// One row group, encoded and compressed.
    pub(crate) fn encode(&self, group: u64, columns: Columns) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        let repeating = self.repeating.create_column_writers(group as usize)?;
        let varied = self.varied.create_column_writers(group as usize)?;
        let mut chunks = Vec::with_capacity(columns.len());
        for (((repeating, varied), values), field) in
            repeating.into_iter().zip(varied).zip(columns).zip(self.schema.fields())
        {
            let mut writer = if repeats(&values) { repeating } else { varied };
            let valid = values.iter().any(|value| value.is_nan()).then(|| {
                let valid: Vec<bool> = values.iter().map(|value| !value.is_nan()).collect();
                BooleanArray::from(valid).values().clone().into()
            });
            let array: ArrayRef = Arc::new(Float64Array::new(values.into(), valid));
            for leaf in compute_leaves(field, &array)? {
                writer.write(&leaf)?;
            }
            chunks.push(writer.close()?);
        }
        Ok(chunks)
    }
}

/// Appends a row group.
pub(crate) fn append<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    chunks: Vec<ArrowColumnChunk>,
) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for chunk in chunks {
        chunk.append_to_row_group(&mut group)?;
    }
    group.close()?;
    Ok(())
}
