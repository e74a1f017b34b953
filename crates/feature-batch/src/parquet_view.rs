//! The training view as Parquet: every column a double, the label in column 0, zstd.
//!
//! A row group has a fixed number of rows, and is written column by column from whole columns: the bytes depend on the
//! values alone, not on how they came.

use std::{io::Write, sync::Arc};

use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::{
    arrow::ArrowSchemaConverter,
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        reader::{ChunkReader, Length},
        writer::SerializedFileWriter,
    },
    schema::types::SchemaDescriptor,
};

use crate::parquet_column::{Chunks, ColumnEncoder};

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
    schema: SchemaDescriptor,
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
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(vec![KeyValue::new("mannen.spec_hash".to_owned(), spec_hash.to_owned())]))
        .set_created_by("mannen".to_owned())
        .build();
    let file = SerializedFileWriter::new(writer, parquet_schema.root_schema_ptr(), Arc::new(properties))?;
    Ok((file, Encoder { schema: parquet_schema }))
}

impl Encoder {
    /// One row group, encoded and compressed.
    pub(crate) fn encode(
        &self,
        columns: &[Vec<f64>],
        encoder: &mut ColumnEncoder,
        chunks: &mut Chunks,
    ) -> Result<(), ParquetError> {
        let mut columns = self.schema.columns().iter().zip(columns);
        columns.try_for_each(|(column, values)| encoder.encode(column, values, chunks))
    }
}

/// Appends a row group, and empties its buffer.
pub(crate) fn append<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    chunks: &mut Chunks,
) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    let mut rest = chunks.bytes.as_slice();
    for close in chunks.closes.drain(..) {
        let (bytes, after) = rest.split_at(close.bytes_written as usize);
        group.append_column(&Piece(bytes), close)?;
        rest = after;
    }
    group.close()?;
    chunks.clear();
    Ok(())
}

/// Bytes of one chunk, as the parquet crate takes them.
struct Piece<'a>(&'a [u8]);

impl Length for Piece<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

impl<'a> ChunkReader for Piece<'a> {
    type T = &'a [u8];

    fn get_read(&self, start: u64) -> Result<&'a [u8], ParquetError> {
        Ok(self.0.get(start as usize..).unwrap_or_default())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.0.get(start as usize..).and_then(|rest| rest.get(..length));
        bytes.map(Bytes::copy_from_slice).ok_or_else(|| ParquetError::EOF("a chunk is too short".to_owned()))
    }
}
