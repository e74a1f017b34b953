//! A lookup table as a Parquet file: its columns, and in the file's metadata which of them are keys and how the table was made.
//!
//! Rows out of fold lie in the same file: the column [`FOLD_COLUMN`] is NULL in the rows that serve.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use features::{FOLD_COLUMN, LookupDeclaration, LookupKeys, LookupTable, LookupValues};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{BatchError, lookup_import};

/// The file's metadata lies under this key.
const METADATA: &str = "mannen.lookup";
const PARQUET: &[u8] = b"PAR1";

/// A lookup table, and how it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupFile {
    /// The table.
    pub table: LookupTable,
    /// How it was made: rows, window, statistics. Not a part of its content and its hash.
    pub made: Option<Json>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    /// The key columns in order.
    keys: Vec<String>,
    /// The expression of a training row's fold, where there are rows out of fold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fold: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<Json>,
}

/// The table in an object of the lake ([`LookupFile::to_parquet`]).
///
/// # Errors
/// In words: what is wrong with the bytes.
pub fn lookup_table_of_object(name: &str, bytes: Bytes) -> Result<LookupTable, String> {
    match LookupFile::from_parquet(name, bytes) {
        Ok(Some(file)) => Ok(file.table),
        Ok(None) => Err(format!("the file's metadata has no `{METADATA}`")),
        Err(error) => Err(error.to_string()),
    }
}

impl LookupFile {
    /// Reads a table that `declaration` asks for: a file of [`LookupFile::to_parquet`], or anybody's Parquet, CSV or JSON lines
    /// with the declared columns, of which it takes only these.
    ///
    /// # Errors
    /// The file is no table, a row of it is wrong, or it is not as declared.
    pub fn read(file: &str, bytes: Bytes, declaration: &LookupDeclaration) -> Result<Self, BatchError> {
        let read = match Self::from_parquet(file, bytes.clone())? {
            Some(read) => read,
            None => Self { table: lookup_import::import(file, bytes, declaration)?, made: None },
        };
        match declaration.mismatch(&read.table) {
            Some(why) => Err(BatchError::lookup(&declaration.name, "lookup_mismatch", format!("`{file}`: {why}"))),
            None => Ok(read),
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// The Parquet writer refuses.
    pub fn to_parquet(&self) -> Result<Vec<u8>, BatchError> {
        let failed = |error: &dyn std::fmt::Display| BatchError::lookup("", "lookup_not_writable", error.to_string());
        let (table, folds) = (&self.table, self.table.folds());
        let metadata = Metadata {
            keys: table.keys().iter().map(|(name, _)| name.clone()).collect(),
            fold: folds.map(|folds| folds.expression().to_owned()),
            made: self.made.clone(),
        };
        let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
        let mut others = folds.map(|folds| folds.table().keys().iter());
        if let Some((_, LookupKeys::Int(numbers))) = others.as_mut().and_then(Iterator::next) {
            fields.push(Field::new(FOLD_COLUMN, DataType::Int64, true));
            let own = std::iter::repeat_n(None, table.rows());
            columns.push(Arc::new(own.chain(numbers.iter().copied().map(Some)).collect::<Int64Array>()));
        }
        for (name, keys) in table.keys() {
            let of_fold = others.as_mut().and_then(Iterator::next).map(|(_, keys)| keys);
            let column = keys_column(keys, of_fold);
            fields.push(Field::new(name, column.data_type().clone(), false));
            columns.push(column);
        }
        let mut others = folds.map(|folds| folds.table().values().iter());
        for (name, values) in table.values() {
            let of_fold = others.as_mut().and_then(Iterator::next).map(|(_, values)| values);
            let column = values_column(values, of_fold);
            fields.push(Field::new(name, column.data_type().clone(), *column.data_type() == DataType::Float64));
            columns.push(column);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| failed(&error))?;
        let metadata = serde_json::to_string(&metadata).map_err(|error| failed(&error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by("mannen".to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new(METADATA.to_owned(), metadata)]))
            .build();
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(|error| failed(&error))?;
        writer.write(&batch).and_then(|()| writer.close()).map_err(|error| failed(&error))?;
        Ok(bytes)
    }

    /// Reads [`LookupFile::to_parquet`]; `None` where the bytes are something else.
    ///
    /// # Errors
    /// The bytes say that they are one, and are none.
    pub fn from_parquet(name: &str, bytes: Bytes) -> Result<Option<Self>, BatchError> {
        if !bytes.starts_with(PARQUET) {
            return Ok(None);
        }
        // The Parquet reader panics at some damaged metadata, such as a column of negative length.
        let parsed = std::panic::catch_unwind(|| Self::parse(name, bytes));
        parsed.unwrap_or_else(|_| {
            Err(BatchError::lookup(name, "lookup_not_readable", "its metadata is damaged; write the file again"))
        })
    }

    fn parse(name: &str, bytes: Bytes) -> Result<Option<Self>, BatchError> {
        let failed = |detail: String| BatchError::lookup(name, "lookup_not_readable", detail);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| failed(error.to_string()))?;
        let metadata = builder.metadata().file_metadata().key_value_metadata();
        let metadata = metadata.into_iter().flatten().find(|entry| entry.key == METADATA);
        let Some(metadata) = metadata.and_then(|entry| entry.value.clone()) else { return Ok(None) };
        let Metadata { keys, fold, made } =
            serde_json::from_str(&metadata).map_err(|error| failed(format!("`{METADATA}`: {error}")))?;
        let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut columns: Vec<Cells> =
            builder.schema().fields().iter().map(|field| Cells::empty(field.data_type())).collect();
        for batch in builder.build().map_err(|error| failed(error.to_string()))? {
            let batch = batch.map_err(|error| failed(error.to_string()))?;
            for ((cells, array), name) in columns.iter_mut().zip(batch.columns()).zip(&names) {
                cells.append(array).map_err(|why| failed(format!("column `{name}` {why}")))?;
            }
        }
        let rows = columns.first().map_or(0, Cells::rows);
        let column = |name: &str| names.iter().position(|other| other == name).and_then(|place| columns.get(place));
        let is_own = |row: usize| match column(FOLD_COLUMN) {
            Some(Cells::Ints(folds)) => folds[row].is_none(),
            _ => true,
        };
        let (own, of_folds): (Vec<usize>, Vec<usize>) = (0..rows).partition(|&row| is_own(row));
        let taken = |wanted: &[&str], rows: &[usize]| -> Result<(Vec<_>, Vec<_>), BatchError> {
            let (mut key_columns, mut value_columns) = (Vec::new(), Vec::new());
            for key in wanted {
                let cells = column(key).ok_or_else(|| failed(format!("there is no column `{key}`")))?;
                let taken = cells.keys(rows).ok_or_else(|| failed(format!("column `{key}` cannot be a key")))?;
                key_columns.push(((*key).to_owned(), taken));
            }
            for name in names.iter().filter(|name| *name != FOLD_COLUMN && !keys.contains(name)) {
                let taken = column(name).and_then(|cells| cells.values(rows));
                let taken = taken.ok_or_else(|| failed(format!("column `{name}` has no numbers")))?;
                value_columns.push((name.clone(), taken));
            }
            Ok((key_columns, value_columns))
        };
        let mut wanted: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (own_keys, own_values) = taken(&wanted, &own)?;
        let mut table = LookupTable::from_columns(own_keys, own_values).map_err(BatchError::of_table(name))?;
        if let Some(expression) = fold {
            wanted.insert(0, FOLD_COLUMN);
            let (fold_keys, fold_values) = taken(&wanted, &of_folds)?;
            table = table.with_folds(expression, fold_keys, fold_values).map_err(BatchError::of_table(name))?;
        }
        Ok(Some(Self { table, made }))
    }
}

fn keys_column(own: &LookupKeys, others: Option<&LookupKeys>) -> ArrayRef {
    match (own, others) {
        (LookupKeys::Int(own), Some(LookupKeys::Int(others))) => {
            Arc::new(own.iter().chain(others).copied().collect::<Int64Array>())
        }
        (LookupKeys::Bool(own), Some(LookupKeys::Bool(others))) => {
            Arc::new(own.iter().chain(others).copied().map(Some).collect::<BooleanArray>())
        }
        (LookupKeys::String(own), Some(LookupKeys::String(others))) => {
            Arc::new(own.iter().chain(others).map(Some).collect::<StringArray>())
        }
        (LookupKeys::Int(own), _) => Arc::new(Int64Array::from(own.clone())),
        (LookupKeys::Bool(own), _) => Arc::new(BooleanArray::from(own.clone())),
        (LookupKeys::String(own), _) => Arc::new(own.iter().map(Some).collect::<StringArray>()),
    }
}

fn values_column(own: &LookupValues, others: Option<&LookupValues>) -> ArrayRef {
    let known = |value: &f64| Some(*value).filter(|value| !value.is_nan());
    match (own, others) {
        (LookupValues::Float(own), Some(LookupValues::Float(others))) => {
            Arc::new(own.iter().chain(others).map(known).collect::<Float64Array>())
        }
        (LookupValues::Int(own), Some(LookupValues::Int(others))) => {
            Arc::new(own.iter().chain(others).copied().collect::<Int64Array>())
        }
        (LookupValues::Float(own), _) => Arc::new(own.iter().map(known).collect::<Float64Array>()),
        (LookupValues::Int(own), _) => Arc::new(Int64Array::from(own.clone())),
    }
}

/// A column as it was read.
#[derive(Debug)]
enum Cells {
    Ints(Vec<Option<i64>>),
    Bools(Vec<Option<bool>>),
    Texts(Vec<Option<String>>),
    Floats(Vec<Option<f64>>),
}

impl Cells {
    fn empty(of: &DataType) -> Self {
        match of {
            DataType::Boolean => Self::Bools(Vec::new()),
            DataType::Utf8 => Self::Texts(Vec::new()),
            DataType::Float64 => Self::Floats(Vec::new()),
            _ => Self::Ints(Vec::new()),
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Ints(cells) => cells.len(),
            Self::Bools(cells) => cells.len(),
            Self::Texts(cells) => cells.len(),
            Self::Floats(cells) => cells.len(),
        }
    }

    fn append(&mut self, array: &ArrayRef) -> Result<(), String> {
        match (self, array.data_type()) {
            (Self::Ints(cells), DataType::Int64) => cells.extend(array.as_primitive::<Int64Type>().iter()),
            (Self::Bools(cells), DataType::Boolean) => cells.extend(array.as_boolean().iter()),
            (Self::Floats(cells), DataType::Float64) => cells.extend(array.as_primitive::<Float64Type>().iter()),
            (Self::Texts(cells), DataType::Utf8) => {
                cells.extend(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)));
            }
            (_, of) => return Err(format!("is {of}; a table's columns are 64-bit, booleans or texts")),
        }
        Ok(())
    }

    /// `None` where a key is NULL, or a float.
    fn keys(&self, rows: &[usize]) -> Option<LookupKeys> {
        Some(match self {
            Self::Ints(cells) => LookupKeys::Int(rows.iter().map(|&row| cells[row]).collect::<Option<_>>()?),
            Self::Bools(cells) => LookupKeys::Bool(rows.iter().map(|&row| cells[row]).collect::<Option<_>>()?),
            Self::Texts(cells) => {
                LookupKeys::String(rows.iter().map(|&row| cells[row].clone()).collect::<Option<_>>()?)
            }
            Self::Floats(_) => return None,
        })
    }

    /// `None` where they are no numbers, or an integer is NULL.
    fn values(&self, rows: &[usize]) -> Option<LookupValues> {
        Some(match self {
            Self::Ints(cells) => LookupValues::Int(rows.iter().map(|&row| cells[row]).collect::<Option<_>>()?),
            Self::Floats(cells) => {
                LookupValues::Float(rows.iter().map(|&row| cells[row].unwrap_or(f64::NAN)).collect())
            }
            Self::Bools(_) | Self::Texts(_) => return None,
        })
    }
}
