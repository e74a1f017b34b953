//! Parquet, row group by row group, only the columns that are inputs.

use std::{panic::AssertUnwindSafe, sync::Arc};

use arrow_array::RecordBatchReader;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use features::{Input, Plan, Type};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        },
    },
    basic::Type as Physical,
    errors::ParquetError,
};

use crate::{
    batch::{BATCH_ROWS, Batch, Places, Raw},
    error::ReadError,
    source::Shared,
    source_columns::SourceColumns,
};

pub(crate) struct ParquetReader {
    source: Shared,
    batches: ParquetRecordBatchReader,
    /// For each column of a batch: the input that it gives.
    inputs: Vec<usize>,
    pub(crate) columns: SourceColumns,
    row: u64,
    rows: u64,
    size_bytes: u64,
}

/// The Parquet crate panics at some damaged metadata, such as a column of negative length.
fn told_of_panics<T>(source: &Shared, read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(source.blame(None, "parquet_unreadable", "its metadata is damaged; write the file again".to_owned()))
    })
}

/// How the first leaf of a column lies in the file.
fn physical_type(metadata: &ArrowReaderMetadata, root: usize) -> Option<Physical> {
    let schema = metadata.parquet_schema();
    let leaf = (0..schema.num_columns()).find(|&leaf| schema.get_column_root_idx(leaf) == root)?;
    Some(schema.column(leaf).physical_type())
}

/// Times of Spark and Impala (INT96) as microseconds: as nanoseconds, which is the crate's default, the year 9999 would silently be
/// another one.
fn with_wide_timestamps(metadata: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let fields: Vec<Arc<Field>> = metadata
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(root, field)| match field.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, None)
                if physical_type(metadata, root) == Some(Physical::INT96) =>
            {
                Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp(TimeUnit::Microsecond, None)))
            }
            _ => Arc::clone(field),
        })
        .collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

impl ParquetReader {
    pub(crate) fn new(plan: &Plan, source: &Shared) -> Result<Self, ReadError> {
        told_of_panics(source, || Self::open(plan, source.clone()))
    }

    fn open(plan: &Plan, source: Shared) -> Result<Self, ReadError> {
        let size_bytes = source.size_bytes();
        let unreadable =
            |error: ParquetError| source.blame(None, "parquet_unreadable", format!("{error}; write the file again"));
        // The Arrow schema that a writer may have left is passed over: the types of the file itself count, so that a
        // text is a text whether its writer knew it as a dictionary, a view or a large text.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&source, options).and_then(|metadata| with_wide_timestamps(&metadata));
        let metadata = metadata.map_err(unreadable)?;
        let schema = metadata.schema();
        let (inputs, columns) =
            SourceColumns::of_header(plan, schema.fields().iter().map(|field| field.name().as_str()))?;
        for (root, input) in inputs.iter().enumerate().filter_map(|(root, input)| Some((root, (*input)?))) {
            let field = schema.field(root);
            check_type(&plan.inputs()[input], field.data_type(), physical_type(&metadata, root))?;
        }
        let roots = inputs.iter().enumerate().filter(|(_, input)| input.is_some()).map(|(root, _)| root);
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(source.clone(), metadata)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(unreadable)?;
        let inputs: Vec<usize> = inputs.into_iter().flatten().collect();
        debug_assert_eq!(batches.schema().fields().len(), inputs.len());
        Ok(Self { source, batches, inputs, columns, row: 0, rows, size_bytes })
    }

    /// Up to [`BATCH_ROWS`] rows; `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        let next = told_of_panics(&self.source, || Ok(self.batches.next()))?;
        let Some(batch) = next else { return Ok(None) };
        let batch = batch.map_err(|error| {
            let detail = format!("after row {}: {error}; write the file again", self.row);
            self.source.blame(None, "parquet_unreadable", detail)
        })?;
        let (first, rows) = (self.row, batch.num_rows());
        self.row += rows as u64;
        let share = self.row as f64 / self.rows.max(1) as f64;
        Ok(Some(Batch {
            source: 0,
            rows,
            places: Places::From(first),
            columns: self.inputs.iter().copied().zip(batch.columns().iter().cloned().map(Raw::Arrow)).collect(),
            unreadable: Vec::new(),
            bytes_done: (self.size_bytes as f64 * share.min(1.0)) as u64,
        }))
    }
}

/// Whether an input can be read from a column of this type. Said for the file as a whole: every row would be refused.
fn check_type(input: &Input, of: &DataType, physical: Option<Physical>) -> Result<(), ReadError> {
    let number = of.is_integer() || matches!(of, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..));
    let fits = match input.of {
        _ if *of == DataType::Null => true,
        Type::Float | Type::Int => number,
        Type::Bool => *of == DataType::Boolean,
        Type::String => *of == DataType::Utf8,
        Type::Timestamp => match of {
            DataType::Utf8 | DataType::Timestamp(_, Some(_)) => true,
            // Written by Spark and Impala, by convention in UTC.
            DataType::Timestamp(_, None) => physical == Some(Physical::INT96),
            _ => false,
        },
    };
    if fits {
        return Ok(());
    }
    let what_to_do = match (input.of, of) {
        (Type::Timestamp, DataType::Timestamp(_, None)) => {
            "; it says no time zone: write it as UTC (pandas: .dt.tz_localize(\"UTC\"))".to_owned()
        }
        (of, _) => format!("; write it as a {of}"),
    };
    let detail = format!("column `{}` is {of}, the spec needs a {}{what_to_do}", input.name, input.of);
    Err(ReadError::bad(None, "column_type", detail))
}
