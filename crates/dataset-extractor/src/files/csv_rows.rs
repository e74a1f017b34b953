//! CSV with a header, plain or gzip, as the New York TLC publishes its trips.

use std::{io::Read, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{
        ArrayBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
        TimestampMicrosecondBuilder,
    },
};
use arrow_schema::{DataType, SchemaRef};
use csv::StringRecord;
use datasets::FileInput;
use flate2::read::MultiGzDecoder;
use jiff::{civil, tz::TimeZone};
use warehouse::WarehouseError;

use super::{
    OpenFile,
    csv_types::parse_timestamp,
    is_gzip,
    source::{FromPosition, Ranges},
    unreadable,
};

pub(super) type CsvReader = csv::Reader<Box<dyn Read>>;

/// A file's lines, before the first.
pub(super) fn open_csv(file: &OpenFile) -> Result<CsvReader, WarehouseError> {
    let bytes = FromPosition::new(Ranges(Arc::clone(&file.bytes)), 0, file.bytes.block_bytes());
    let bytes: Box<dyn Read> =
        if is_gzip(&file.input) { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    let mut rows = csv::ReaderBuilder::new().from_reader(bytes);
    rows.headers().map_err(|error| unreadable(&file.input, error))?;
    Ok(rows)
}

pub(super) struct CsvRows {
    file: FileInput,
    rows: CsvReader,
    schema: SchemaRef,
    record: StringRecord,
    row: u64,
}

impl CsvRows {
    /// The rows of a file whose columns are `schema`'s.
    pub(super) fn open(file: &OpenFile, schema: &SchemaRef) -> Result<Self, WarehouseError> {
        let mut rows = open_csv(file)?;
        let header = rows.headers().map_err(|error| unreadable(&file.input, error))?;
        if !header.iter().eq(schema.fields().iter().map(|field| field.name().as_str())) {
            return Err(unreadable(&file.input, "its columns are not those of the extract"));
        }
        Ok(Self { file: file.input.clone(), rows, schema: Arc::clone(schema), record: StringRecord::new(), row: 0 })
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn read(&mut self) -> Result<bool, WarehouseError> {
        self.row += 1;
        self.rows.read_record(&mut self.record).map_err(|error| unreadable(&self.file, error))
    }

    pub(super) fn skip(&mut self, rows: u64) -> Result<(), WarehouseError> {
        for _ in 0..rows {
            self.read()?;
        }
        Ok(())
    }

    pub(super) fn next_batch(&mut self, most: usize) -> Result<Option<RecordBatch>, WarehouseError> {
        let mut columns: Vec<Column> =
            self.schema.fields().iter().map(|field| Column::new(field.data_type())).collect();
        let mut read = 0;
        while read < most && self.read()? {
            read += 1;
            for ((column, cell), field) in columns.iter_mut().zip(&self.record).zip(self.schema.fields()) {
                column.push(cell).ok_or_else(|| {
                    let (row, name, of) = (self.row, field.name(), field.data_type());
                    unreadable(&self.file, format!("row {row}, column `{name}`: `{cell}` is no {of}"))
                })?;
            }
        }
        if read == 0 {
            return Ok(None);
        }
        let columns = columns.into_iter().map(Column::finish).collect();
        RecordBatch::try_new(self.schema(), columns).map(Some).map_err(|error| unreadable(&self.file, error))
    }
}

enum Column {
    Ints(Int64Builder),
    Floats(Float64Builder),
    Bools(BooleanBuilder),
    Texts(StringBuilder),
    Instants(TimestampMicrosecondBuilder),
    Civil(TimestampMicrosecondBuilder),
    Dates(Date32Builder),
}

impl Column {
    fn new(of: &DataType) -> Self {
        match of {
            DataType::Int64 => Self::Ints(Int64Builder::new()),
            DataType::Float64 => Self::Floats(Float64Builder::new()),
            DataType::Boolean => Self::Bools(BooleanBuilder::new()),
            DataType::Timestamp(_, Some(_)) => Self::Instants(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            DataType::Timestamp(_, None) => Self::Civil(TimestampMicrosecondBuilder::new()),
            DataType::Date32 => Self::Dates(Date32Builder::new()),
            _ => Self::Texts(StringBuilder::new()),
        }
    }

    /// Takes a cell; `None` where it is no value of the type. An empty cell is NULL.
    fn push(&mut self, cell: &str) -> Option<()> {
        let empty = cell.is_empty();
        match self {
            Self::Texts(texts) => texts.append_option((!empty).then_some(cell)),
            Self::Ints(ints) => ints.append_option(if empty { None } else { Some(cell.trim().parse().ok()?) }),
            Self::Floats(floats) => floats.append_option(if empty { None } else { Some(cell.trim().parse().ok()?) }),
            Self::Bools(bools) => bools.append_option(match cell {
                "" => None,
                "true" | "True" | "TRUE" | "1" | "Y" => Some(true),
                "false" | "False" | "FALSE" | "0" | "N" => Some(false),
                _ => return None,
            }),
            Self::Instants(instants) => {
                instants.append_option(if empty { None } else { Some(parse_timestamp(cell)?.as_microsecond()) });
            }
            Self::Civil(times) => times.append_option(if empty {
                None
            } else {
                let time: civil::DateTime = cell.parse().ok()?;
                Some(TimeZone::UTC.to_timestamp(time).ok()?.as_microsecond())
            }),
            Self::Dates(dates) => dates.append_option(if empty {
                None
            } else {
                let date: civil::Date = cell.parse().ok()?;
                let midnight = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
                Some(i32::try_from(midnight.as_second().div_euclid(86_400)).ok()?)
            }),
        }
        Some(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Ints(mut builder) => ArrayBuilder::finish(&mut builder),
            Self::Floats(mut builder) => ArrayBuilder::finish(&mut builder),
            Self::Bools(mut builder) => ArrayBuilder::finish(&mut builder),
            Self::Texts(mut builder) => ArrayBuilder::finish(&mut builder),
            Self::Instants(mut builder) | Self::Civil(mut builder) => ArrayBuilder::finish(&mut builder),
            Self::Dates(mut builder) => ArrayBuilder::finish(&mut builder),
        }
    }
}
