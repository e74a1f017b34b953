//! The types that a dataset's columns have: BigQuery's, in their Arrow form.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::WarehouseError;

/// A column's type, as SQL names it.
pub type ColumnType = String;

/// The key that Arrow keeps an extension type's name under.
const EXTENSION: &str = "ARROW:extension:name";

/// A field's type by BigQuery's name for it, or `None` where datasets have no such type.
///
/// INT64 i64, FLOAT64 f64, BOOL, STRING, BYTES, NUMERIC decimal128(38, 9), BIGNUMERIC decimal256(76, 38), TIMESTAMP µs UTC,
/// DATETIME µs, DATE days, TIME µs, ARRAY, STRUCT; RANGE comes as a STRUCT of `start` and `end`; JSON and GEOGRAPHY are texts that say so.
pub fn column_type(field: &Field) -> Option<ColumnType> {
    let name = match field.data_type() {
        DataType::Boolean => "BOOL".to_owned(),
        DataType::Int64 => "INT64".to_owned(),
        DataType::Float64 => "FLOAT64".to_owned(),
        DataType::Utf8 => match field.metadata().get(EXTENSION).map(String::as_str) {
            Some("google:sqlType:json") => "JSON".to_owned(),
            Some("google:sqlType:geography") => "GEOGRAPHY".to_owned(),
            _ => "STRING".to_owned(),
        },
        DataType::Binary => "BYTES".to_owned(),
        DataType::Decimal128(38, 9) => "NUMERIC".to_owned(),
        DataType::Decimal128(precision, scale) => format!("NUMERIC({precision}, {scale})"),
        DataType::Decimal256(76, 38) => "BIGNUMERIC".to_owned(),
        DataType::Decimal256(precision, scale) => format!("BIGNUMERIC({precision}, {scale})"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "DATETIME".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time64(TimeUnit::Microsecond) => "TIME".to_owned(),
        DataType::List(item) => format!("ARRAY<{}>", column_type(item)?),
        DataType::Struct(fields) => {
            let fields: Option<Vec<String>> =
                fields.iter().map(|field| Some(format!("{} {}", field.name(), column_type(field)?))).collect();
            format!("STRUCT<{}>", fields?.join(", "))
        }
        _ => return None,
    };
    Some(name)
}

/// The schema without what a warehouse adds for itself (metadata, its own spelling of UTC), so that the same columns of two
/// warehouses are the same columns.
///
/// # Errors
/// A column of another type.
pub fn normalise(schema: &Schema) -> Result<SchemaRef, WarehouseError> {
    let fields: Result<Vec<Field>, WarehouseError> = schema
        .fields()
        .iter()
        .map(|field| {
            column_type(field).map(|_| plain(field)).ok_or_else(|| WarehouseError::UnsupportedType {
                column: field.name().clone(),
                of: foreign(field.data_type()),
            })
        })
        .collect();
    Ok(Arc::new(Schema::new(fields?)))
}

/// A type that datasets do not have, as SQL names it where it does.
fn foreign(of: &DataType) -> String {
    match of {
        DataType::Interval(_) => "INTERVAL".to_owned(),
        DataType::List(item) => format!("ARRAY<{}>", foreign(item.data_type())),
        DataType::Struct(fields) => {
            let field = fields.iter().find(|field| column_type(field).is_none());
            field.map_or_else(|| of.to_string(), |field| format!("STRUCT with {}", foreign(field.data_type())))
        }
        other => other.to_string(),
    }
}

fn plain(field: &Field) -> Field {
    let of = match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        DataType::List(item) => DataType::List(Arc::new(plain(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| plain(field)).collect()),
        other => other.clone(),
    };
    let metadata = field.metadata().iter().filter(|(key, value)| {
        *key == EXTENSION && matches!(value.as_str(), "google:sqlType:json" | "google:sqlType:geography")
    });
    let metadata: std::collections::HashMap<_, _> = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    Field::new(field.name(), of, field.is_nullable()).with_metadata(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_bigquerys_names() {
        let field = |of: DataType| Field::new("a", of, true);
        let of = |data_type: DataType| column_type(&field(data_type));
        assert_eq!(of(DataType::Decimal128(38, 9)).unwrap(), "NUMERIC");
        assert_eq!(of(DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))).unwrap(), "TIMESTAMP");
        let nested = DataType::List(Arc::new(Field::new(
            "item",
            DataType::Struct(vec![Field::new("x", DataType::Int64, true), field(DataType::Date32)].into()),
            true,
        )));
        assert_eq!(of(nested).unwrap(), "ARRAY<STRUCT<x INT64, a DATE>>");
        assert_eq!(of(DataType::Int32), None);
        let error = normalise(&Schema::new(vec![field(DataType::Int32)])).unwrap_err();
        assert!(error.to_string().contains("column `a` is of type Int32"), "{error}");
        let interval = DataType::Interval(arrow_schema::IntervalUnit::MonthDayNano);
        let nested = DataType::List(Arc::new(field(DataType::Struct(vec![field(interval.clone())].into()))));
        for (of, told) in [(interval, "type INTERVAL,"), (nested, "type ARRAY<STRUCT with INTERVAL>,")] {
            let error = normalise(&Schema::new(vec![field(of)])).unwrap_err().to_string();
            assert!(error.contains("column `a`") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn the_same_columns_are_the_same_whoever_tells_of_them() {
        let utc = |zone: &str| Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())), true);
        let noted = utc("UTC").with_metadata(std::collections::HashMap::from([("a".to_owned(), "b".to_owned())]));
        let schema = |field: Field| normalise(&Schema::new(vec![field])).unwrap();
        assert_eq!(schema(utc("+00:00")), schema(noted));
    }
}
