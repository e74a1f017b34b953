//! Parquet into rows.

use std::fs::File;

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{
        ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type,
        Int32Type, Int64Type, Time32MillisecondType, Time64MicrosecondType, Time64NanosecondType,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rusqlite::types::Value;
use serde_json::{Map, Value as Json};

use crate::{
    cells::{nested_scalar, store_float},
    error::{Result, WarehouseError},
    text::parse_decimal,
    types::{Field, Kind, Mode, Schema},
};

fn invalid(error: impl std::fmt::Display) -> WarehouseError {
    WarehouseError::Invalid(format!("Error while reading Parquet: {error}"))
}

/// The columns that BigQuery would make of a file's.
pub(crate) fn schema(file: File) -> Result<Schema> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(invalid)?;
    builder.schema().fields().iter().map(|field| field_of(field)).collect::<Result<_>>().map(Schema)
}

fn field_of(field: &arrow_schema::Field) -> Result<Field> {
    let (kind, repeated) = match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) => (kind_of(item.data_type())?, true),
        other => (kind_of(other)?, false),
    };
    // Whatever a file's writer says, a later one may have NULLs.
    let mode = if repeated { Mode::Repeated } else { Mode::Nullable };
    Ok(Field { name: field.name().clone(), kind, mode, description: None })
}

fn kind_of(data_type: &DataType) -> Result<Kind> {
    Ok(match data_type {
        integer if integer.is_integer() => Kind::Int64,
        DataType::Float32 | DataType::Float64 => Kind::Float64,
        DataType::Boolean => Kind::Bool,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Null => Kind::String,
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => Kind::Bytes,
        DataType::Date32 => Kind::Date,
        DataType::Time32(_) | DataType::Time64(_) => Kind::Time,
        DataType::Timestamp(_, None) => Kind::DateTime,
        DataType::Timestamp(_, Some(_)) => Kind::Timestamp,
        DataType::Decimal128(precision, scale) if *scale <= 9 && i16::from(*precision) - i16::from(*scale) <= 29 => {
            Kind::Numeric
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => Kind::BigNumeric,
        DataType::Struct(fields) => Kind::Struct(fields.iter().map(|field| field_of(field)).collect::<Result<_>>()?),
        other => return Err(invalid(format_args!("there is no BigQuery type for {other}"))),
    })
}

/// Reads all rows, in batches; columns are found by name.
pub(crate) fn read(file: File, schema: &Schema, append: &mut dyn FnMut(&[Value]) -> Result<()>) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(invalid)?;
    for batch in builder.with_batch_size(4096).build().map_err(invalid)? {
        append_batch(&batch.map_err(invalid)?, schema, append)?;
    }
    Ok(())
}

fn append_batch(batch: &RecordBatch, schema: &Schema, append: &mut dyn FnMut(&[Value]) -> Result<()>) -> Result<()> {
    let mut columns = Vec::new();
    for field in &schema.0 {
        let own = batch.schema();
        let found = own.fields().iter().position(|column| column.name().eq_ignore_ascii_case(&field.name));
        let column = found.map(|index| batch.column(index).clone());
        if column.is_none() && field.mode == Mode::Required {
            return Err(WarehouseError::Invalid(format!("Missing required field: {}.", field.name)));
        }
        columns.push(column);
    }
    let mut row = Vec::with_capacity(columns.len());
    for index in 0..batch.num_rows() {
        row.clear();
        for (field, column) in schema.0.iter().zip(&columns) {
            row.push(match column {
                None if field.repeated() => Value::Text("[]".to_owned()),
                None => Value::Null,
                Some(column) if field.repeated() || matches!(field.kind, Kind::Struct(_)) => {
                    let nested = nested(column, index, &field.kind, field.repeated())?;
                    if nested.is_null() { Value::Null } else { Value::Text(nested.to_string()) }
                }
                Some(column) => scalar(column, index, &field.kind)?,
            });
        }
        append(&row)?;
    }
    Ok(())
}

fn nested(column: &dyn Array, index: usize, kind: &Kind, repeated: bool) -> Result<Json> {
    if repeated {
        if column.is_null(index) {
            return Ok(Json::Array(Vec::new()));
        }
        let items = match column.data_type() {
            DataType::List(_) => column.as_list::<i32>().value(index),
            DataType::LargeList(_) => column.as_list::<i64>().value(index),
            other => return Err(invalid(format_args!("{other} where an array is wanted"))),
        };
        return (0..items.len())
            .map(|item| nested(&items, item, kind, false))
            .collect::<Result<Vec<_>>>()
            .map(Json::Array);
    }
    let Kind::Struct(fields) = kind else { return Ok(nested_scalar(kind, scalar(column, index, kind)?)) };
    if column.is_null(index) {
        return Ok(Json::Null);
    }
    let structs = column.as_struct_opt().ok_or_else(|| invalid("no struct where one is wanted"))?;
    let mut object = Map::new();
    for field in fields {
        let member =
            structs.column_by_name(&field.name).ok_or_else(|| invalid(format_args!("no field {}", field.name)))?;
        object.insert(field.name.clone(), nested(member, index, &field.kind, field.repeated())?);
    }
    Ok(Json::Object(object))
}

fn primitive<T: ArrowPrimitiveType>(column: &dyn Array, index: usize) -> T::Native {
    column.as_primitive::<T>().value(index)
}

/// A cell in its stored form.
fn scalar(column: &dyn Array, index: usize, kind: &Kind) -> Result<Value> {
    if column.is_null(index) {
        return Ok(Value::Null);
    }
    let found = match column.data_type() {
        DataType::Int8 => Value::Integer(primitive::<Int8Type>(column, index).into()),
        DataType::Int16 => Value::Integer(primitive::<Int16Type>(column, index).into()),
        DataType::Int32 => Value::Integer(primitive::<Int32Type>(column, index).into()),
        DataType::Int64 => Value::Integer(primitive::<Int64Type>(column, index)),
        DataType::UInt8 => Value::Integer(primitive::<UInt8Type>(column, index).into()),
        DataType::UInt16 => Value::Integer(primitive::<UInt16Type>(column, index).into()),
        DataType::UInt32 => Value::Integer(primitive::<UInt32Type>(column, index).into()),
        DataType::UInt64 => Value::Integer(i64::try_from(primitive::<UInt64Type>(column, index)).map_err(invalid)?),
        DataType::Float32 => store_float(primitive::<Float32Type>(column, index).into()),
        DataType::Float64 => store_float(primitive::<Float64Type>(column, index)),
        DataType::Boolean => Value::Integer(column.as_boolean().value(index).into()),
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(index).to_owned()),
        DataType::LargeUtf8 => Value::Text(column.as_string::<i64>().value(index).to_owned()),
        DataType::Binary => Value::Blob(column.as_binary::<i32>().value(index).to_vec()),
        DataType::LargeBinary => Value::Blob(column.as_binary::<i64>().value(index).to_vec()),
        DataType::FixedSizeBinary(_) => Value::Blob(column.as_fixed_size_binary().value(index).to_vec()),
        DataType::Date32 => Value::Integer(primitive::<Date32Type>(column, index).into()),
        DataType::Time32(TimeUnit::Millisecond) => {
            Value::Integer(i64::from(primitive::<Time32MillisecondType>(column, index)) * 1000)
        }
        DataType::Time64(TimeUnit::Microsecond) => Value::Integer(primitive::<Time64MicrosecondType>(column, index)),
        DataType::Time64(TimeUnit::Nanosecond) => {
            Value::Integer(primitive::<Time64NanosecondType>(column, index) / 1000)
        }
        DataType::Timestamp(unit, _) => Value::Integer(match unit {
            TimeUnit::Second => primitive::<TimestampSecondType>(column, index) * 1_000_000,
            TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(column, index) * 1000,
            TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(column, index),
            TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(column, index).div_euclid(1000),
        }),
        DataType::Decimal128(_, scale) => {
            decimal(kind, &primitive::<Decimal128Type>(column, index).to_string(), *scale)?
        }
        DataType::Decimal256(_, scale) => {
            decimal(kind, &primitive::<Decimal256Type>(column, index).to_string(), *scale)?
        }
        other => return Err(invalid(format_args!("there is no BigQuery type for {other}"))),
    };
    fitting(found, kind)
}

fn decimal(kind: &Kind, unscaled: &str, scale: i8) -> Result<Value> {
    let (digits, places) = if *kind == Kind::Numeric { (29, 9) } else { (38, 38) };
    let text = parse_decimal(&format!("{unscaled}e{}", -i16::from(scale)), digits, places);
    text.map(Value::Text).ok_or_else(|| invalid(format_args!("{unscaled}e-{scale} does not fit into {}", kind.name())))
}

/// Where the table's column is of another type than the file's, what can be read as it.
fn fitting(value: Value, kind: &Kind) -> Result<Value> {
    match (&value, kind) {
        (Value::Integer(number), Kind::Float64) => Ok(Value::Real(*number as f64)),
        (Value::Integer(number), Kind::Numeric | Kind::BigNumeric) => Ok(Value::Text(number.to_string())),
        (Value::Real(float), Kind::Numeric | Kind::BigNumeric) => decimal(kind, &format!("{float}"), 0),
        (Value::Text(text), Kind::Float64) if text == "NaN" => Ok(value),
        (Value::Text(_), Kind::String | Kind::Numeric | Kind::BigNumeric) => Ok(value),
        (Value::Text(text), kind) if *kind != Kind::String => crate::cells::scalar_of_text(kind, text),
        (Value::Integer(_), Kind::String | Kind::Bytes)
        | (Value::Real(_), Kind::String | Kind::Int64 | Kind::Bytes) => {
            Err(invalid(format_args!("a number stands in a column of {}", kind.name())))
        }
        (Value::Blob(_), kind) if *kind != Kind::Bytes => {
            Err(invalid(format_args!("bytes stand in a column of {}", kind.name())))
        }
        _ => Ok(value),
    }
}
