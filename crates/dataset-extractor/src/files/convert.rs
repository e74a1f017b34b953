//! Columns of files as datasets have them: whole numbers as INT64, fractions as FLOAT64, instants in microseconds.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, PrimitiveArray, RecordBatch, TimestampMicrosecondArray,
    cast::AsArray,
    types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
    },
};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use warehouse::WarehouseError;

/// The field that a file's column becomes.
pub(super) fn dataset_field(field: &Field) -> Result<Field, WarehouseError> {
    let of = match field.data_type() {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            DataType::Int64
        }
        DataType::Float32 => DataType::Float64,
        DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        other => other.clone(),
    };
    let field = Field::new(field.name(), of, field.is_nullable());
    match warehouse::column_type(&field) {
        Some(_) => Ok(field),
        None => {
            Err(WarehouseError::UnsupportedType { column: field.name().clone(), of: field.data_type().to_string() })
        }
    }
}

/// The batch with the schema's types.
pub(super) fn converted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| convert(column, field.data_type()));
    let columns: Vec<ArrayRef> = columns.collect();
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| error.to_string())
}

fn convert(column: &ArrayRef, to: &DataType) -> ArrayRef {
    macro_rules! whole {
        ($of:ty) => {
            Arc::new(column.as_primitive::<$of>().unary::<_, Int64Type>(i64::from))
        };
    }
    let zoned = |array: PrimitiveArray<TimestampMicrosecondType>| -> ArrayRef {
        let DataType::Timestamp(_, zone) = to else { return Arc::new(array) };
        let array: TimestampMicrosecondArray = array.with_timezone_opt(zone.clone());
        Arc::new(array)
    };
    match column.data_type() {
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::UInt8 => whole!(UInt8Type),
        DataType::UInt16 => whole!(UInt16Type),
        DataType::UInt32 => whole!(UInt32Type),
        DataType::Float32 => Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float64Type>(f64::from)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            zoned(column.as_primitive::<TimestampMillisecondType>().unary(|ms| ms.saturating_mul(1_000)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            zoned(column.as_primitive::<TimestampNanosecondType>().unary(|ns| ns.div_euclid(1_000)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            zoned(column.as_primitive::<TimestampMicrosecondType>().clone())
        }
        _ => Arc::clone(column),
    }
}
