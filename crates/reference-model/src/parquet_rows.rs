//! Parquet files as rows of numbers.

use std::{fs::File, path::Path};

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{
        ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
        UInt32Type, UInt64Type,
    },
};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::ModelError;

/// Reads a file column by column and hands its rows on, with their numbers from 1. Booleans are 0 and 1, NULL is NaN. Returns
/// the columns' names.
///
/// # Errors
/// No Parquet, or a column that is not of numbers.
pub(crate) fn read(path: &Path, mut take: impl FnMut(u64, &[f64])) -> Result<Vec<String>, ModelError> {
    let failed = |why: String| ModelError::Parquet { path: path.to_owned(), why };
    let file = File::open(path).map_err(|source| ModelError::File { action: "read", path: path.to_owned(), source })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(error.to_string()))?;
    let names = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let (mut number, mut row) = (0, Vec::new());
    for batch in builder.build().map_err(|error| failed(error.to_string()))? {
        let batch = batch.map_err(|error| failed(error.to_string()))?;
        let columns = columns(&batch).map_err(failed)?;
        for index in 0..batch.num_rows() {
            row.clear();
            row.extend(columns.iter().map(|column| column[index]));
            number += 1;
            take(number, &row);
        }
    }
    Ok(names)
}

fn columns(batch: &RecordBatch) -> Result<Vec<Vec<f64>>, String> {
    let fields = batch.schema();
    let of = |(index, array): (usize, &arrow_array::ArrayRef)| {
        let field = fields.field(index);
        numbers(array.as_ref()).ok_or_else(|| {
            format!(
                "column `{}` is of type {}; only numbers and booleans can be trained on",
                field.name(),
                field.data_type()
            )
        })
    };
    batch.columns().iter().enumerate().map(of).collect()
}

/// A column's values; `None` where it is not of numbers.
fn numbers(array: &dyn Array) -> Option<Vec<f64>> {
    // Whole numbers beyond 2^53 lose their last digits, as they do in every library of trees.
    let values = match array.data_type() {
        DataType::Float64 => primitive::<Float64Type>(array, |value| value),
        DataType::Float32 => primitive::<Float32Type>(array, f64::from),
        DataType::Int8 => primitive::<Int8Type>(array, f64::from),
        DataType::Int16 => primitive::<Int16Type>(array, f64::from),
        DataType::Int32 => primitive::<Int32Type>(array, f64::from),
        DataType::Int64 => primitive::<Int64Type>(array, |value| value as f64),
        DataType::UInt8 => primitive::<UInt8Type>(array, f64::from),
        DataType::UInt16 => primitive::<UInt16Type>(array, f64::from),
        DataType::UInt32 => primitive::<UInt32Type>(array, f64::from),
        DataType::UInt64 => primitive::<UInt64Type>(array, |value| value as f64),
        DataType::Boolean => {
            array.as_boolean().iter().map(|value| value.map_or(f64::NAN, |value| f64::from(u8::from(value)))).collect()
        }
        DataType::Null => vec![f64::NAN; array.len()],
        _ => return None,
    };
    Some(values)
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array, number: impl Fn(T::Native) -> f64) -> Vec<f64> {
    array.as_primitive::<T>().iter().map(|value| value.map_or(f64::NAN, &number)).collect()
}
