//! The training view as Parquet: every column a double, the label in column 0, zstd.
//!
//! A row group has a fixed number of rows, and is written column by column from whole columns: the bytes depend on the
//! values alone, not on how they came.

use std::{io::Write, sync::Arc};

use arrow_array::{ArrayRef, Float64Array};
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
    factory: ArrowRowGroupWriterFactory,
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
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(vec![KeyValue::new("mannen.spec_hash".to_owned(), spec_hash.to_owned())]))
        .set_created_by("mannen".to_owned())
        .build();
    let file = SerializedFileWriter::new(writer, parquet_schema.root_schema_ptr(), Arc::new(properties))?;
    let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
    Ok((file, Encoder { factory, schema }))
}

impl Encoder {
    /// One row group, encoded and compressed.
    pub(crate) fn encode(&self, group: u64, columns: Columns) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        let writers = self.factory.create_column_writers(group as usize)?;
        let mut chunks = Vec::with_capacity(columns.len());
        for ((mut writer, values), field) in writers.into_iter().zip(columns).zip(self.schema.fields()) {
            let array: ArrayRef = if field.is_nullable() {
                Arc::new(
                    values
                        .into_iter()
                        .map(|value| Some(value).filter(|value| !value.is_nan()))
                        .collect::<Float64Array>(),
                )
            } else {
                Arc::new(Float64Array::from(values))
            };
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
