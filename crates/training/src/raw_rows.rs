//! Raw rows as JSON lines: what held-out rows are kept as.

use std::fmt::Write;

use arrow_array::{
    Array, ArrayRef, RecordBatch,
    cast::AsArray,
    types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::{DataType, TimeUnit};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The first `most` rows, one object a line; columns of types that no input can have are left out.
pub(crate) fn json_lines(batches: &[RecordBatch], most: u64) -> (Vec<u8>, u64) {
    let (mut lines, mut rows) = (Vec::new(), 0);
    for batch in batches {
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            if rows == most {
                return (lines, rows);
            }
            let cells = schema.fields().iter().zip(batch.columns());
            let object: Map<String, Value> =
                cells.filter_map(|(field, column)| Some((field.name().clone(), cell(column, row)?))).collect();
            // It cannot fail: the keys are text and numbers are finite.
            lines.extend(serde_json::to_vec(&object).unwrap_or_default());
            lines.push(b'\n');
            rows += 1;
        }
    }
    (lines, rows)
}

/// A cell; none where JSON has no form for it.
fn cell(column: &ArrayRef, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return Some(Value::Null);
    }
    Some(match column.data_type() {
        DataType::Float64 => serde_json::Number::from_f64(column.as_primitive::<Float64Type>().value(row))?.into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            Timestamp::from_microsecond(micros).ok()?.to_string().into()
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().value(row);
            Timestamp::from_second(i64::from(days) * 86_400).ok()?.strftime("%Y-%m-%d").to_string().into()
        }
        DataType::Decimal128(_, scale) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            decimal(value, usize::try_from(*scale).ok()?).parse::<f64>().ok()?.into()
        }
        _ => return None,
    })
}

/// As text, which reads back as the nearest double.
fn decimal(value: i128, scale: usize) -> String {
    let mut digits = value.unsigned_abs().to_string();
    while digits.len() <= scale {
        digits.insert(0, '0');
    }
    let mut text = String::from(if value < 0 { "-" } else { "" });
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    _ = write!(text, "{whole}.{fraction}0");
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    };

    use super::*;

    #[test]
    fn cells_read_back_as_what_they_were() {
        let decimals = Decimal128Array::from(vec![Some(-1_500), None]).with_precision_and_scale(10, 3).unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1, 1_500_000_000_000_001]).with_timezone("UTC"))),
            ("x", Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), None]))),
            ("n", Arc::new(Int64Array::from(vec![i64::MAX, -1]))),
            ("s", Arc::new(StringArray::from(vec!["a\"b", "万年"]))),
            ("b", Arc::new(BooleanArray::from(vec![true, false]))),
            ("d", Arc::new(decimals)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let (lines, rows) = json_lines(std::slice::from_ref(&batch), 10);
        let read: Vec<Value> =
            lines.split(|byte| *byte == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
        assert_eq!(rows, 2);
        assert_eq!(read[0]["at"], "1970-01-01T00:00:00.000001Z");
        assert_eq!(read[0]["x"].as_f64().unwrap().to_bits(), (0.1_f64 + 0.2).to_bits());
        assert_eq!((read[0]["n"].as_i64(), read[1]["s"].as_str()), (Some(i64::MAX), Some("万年")));
        assert_eq!((read[0]["d"].as_f64(), read[1]["d"].is_null(), read[1]["x"].is_null()), (Some(-1.5), true, true));
        assert_eq!(json_lines(&[batch], 1).1, 1);
    }
}
