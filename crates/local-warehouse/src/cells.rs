//! Values: how they are stored, how they come in as JSON, and how the REST API writes them.
//!
//! | type | stored as |
//! |---|---|
//! | INT64, BOOL | integer |
//! | FLOAT64 | real; NaN as the text `NaN`, since SQLite has none |
//! | STRING, JSON, GEOGRAPHY | text |
//! | BYTES | blob |
//! | NUMERIC, BIGNUMERIC | canonical text, collated by value |
//! | DATE | days since 1970-01-01 |
//! | DATETIME, TIMESTAMP, TIME | microseconds since 1970-01-01, 1970-01-01 UTC, midnight |
//! | INTERVAL, RANGE | canonical text |
//! | ARRAY, STRUCT | JSON of the above: STRUCT an object, BOOL a boolean, BYTES base64 |

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::tz::TimeZone;
use rusqlite::types::{Value, ValueRef};
use serde_json::{Map, Value as Json, json};

use crate::{
    error::{Result, WarehouseError},
    text,
    types::{Field, Kind, Mode},
};

/// How the REST API writes points in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampFormat {
    /// Seconds as a float.
    Float,
    /// Microseconds as an integer: `formatOptions.useInt64Timestamp`.
    Int64,
}

fn bad(kind: &Kind, value: &impl std::fmt::Display) -> WarehouseError {
    WarehouseError::Invalid(format!("Could not convert value to {}: {value}", kind.name()))
}

/// A scalar's stored form, from its text.
pub(crate) fn scalar_of_text(kind: &Kind, value: &str) -> Result<Value> {
    let trimmed = value.trim();
    let integer = |parsed: Option<i64>| parsed.map(Value::Integer);
    let stored = match kind {
        Kind::String | Kind::Geography => Some(Value::Text(value.to_owned())),
        Kind::Int64 => integer(trimmed.parse().ok()),
        Kind::Float64 => parse_float(trimmed).map(store_float),
        Kind::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Some(Value::Integer(1)),
            "false" | "f" | "no" | "n" | "0" => Some(Value::Integer(0)),
            _ => None,
        },
        Kind::Bytes => STANDARD.decode(trimmed).ok().map(Value::Blob),
        Kind::Numeric => text::parse_decimal(trimmed, 29, 9).map(Value::Text),
        Kind::BigNumeric => text::parse_decimal(trimmed, 38, 38).map(Value::Text),
        Kind::Date => integer(text::parse_date(trimmed)),
        Kind::DateTime => integer(text::parse_datetime(trimmed)),
        Kind::Time => integer(text::parse_time(trimmed)),
        Kind::Timestamp => integer(text::parse_timestamp(trimmed, &TimeZone::UTC).or_else(|| seconds_text(trimmed))),
        Kind::Json => serde_json::from_str::<Json>(value).ok().map(|json| Value::Text(json.to_string())),
        Kind::Interval => text::Interval::parse(trimmed).map(|interval| Value::Text(interval.text())),
        Kind::Range(element) => parse_range(element, trimmed).map(|ends| Value::Text(range_text(element, ends))),
        Kind::Struct(_) => None,
    };
    stored.ok_or_else(|| bad(kind, &format_args!("\"{value}\"")))
}

/// Seconds since 1970 as text, as some clients send them.
fn seconds_text(text: &str) -> Option<i64> {
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.abs() < 3e11)?;
    Some((seconds * 1e6).round() as i64)
}

pub(crate) fn parse_float(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "+inf" | "infinity" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}

pub(crate) fn store_float(float: f64) -> Value {
    if float.is_nan() { Value::Text("NaN".to_owned()) } else { Value::Real(float) }
}

/// From and until, stored forms; `None` is unbounded.
pub(crate) type RangeEnds = (Option<i64>, Option<i64>);

pub(crate) fn parse_range(element: &Kind, value: &str) -> Option<RangeEnds> {
    let (from, until) = value.trim().strip_prefix('[')?.strip_suffix(')')?.split_once(',')?;
    let end = |part: &str| match part.trim() {
        "UNBOUNDED" | "NULL" => Some(None),
        part => match scalar_of_text(element, part) {
            Ok(Value::Integer(end)) => Some(Some(end)),
            _ => None,
        },
    };
    Some((end(from)?, end(until)?))
}

fn range_text(element: &Kind, (from, until): RangeEnds) -> String {
    let end = |end: Option<i64>| end.map_or_else(|| "UNBOUNDED".to_owned(), |end| scalar_text(element, end));
    format!("[{}, {})", end(from), end(until))
}

fn scalar_text(kind: &Kind, number: i64) -> String {
    match kind {
        Kind::Date => text::date_text(number),
        Kind::DateTime => text::datetime_text(number, 'T'),
        Kind::Time => text::time_text(number),
        Kind::Timestamp => text::timestamp_text(number),
        Kind::Bool => (number != 0).to_string(),
        _ => number.to_string(),
    }
}

/// A column's stored form, from JSON as `insertAll` and JSON lines have it.
pub(crate) fn store(field: &Field, value: &Json) -> Result<Value> {
    let told = |error: WarehouseError| match error {
        WarehouseError::Invalid(message) => WarehouseError::Invalid(format!("Field {}: {message}", field.name)),
        other => other,
    };
    match (field.mode, value) {
        (Mode::Required, Json::Null) => {
            Err(WarehouseError::Invalid(format!("Missing required field: {}.", field.name)))
        }
        (Mode::Repeated, Json::Null) => Ok(Value::Text("[]".to_owned())),
        (Mode::Repeated, _) => nest(&field.kind, true, value).map(|json| Value::Text(json.to_string())).map_err(told),
        (_, Json::Null) => Ok(Value::Null),
        _ if matches!(field.kind, Kind::Struct(_)) => {
            nest(&field.kind, false, value).map(|json| Value::Text(json.to_string())).map_err(told)
        }
        _ => scalar(&field.kind, value).map_err(told),
    }
}

fn scalar(kind: &Kind, value: &Json) -> Result<Value> {
    match (kind, value) {
        (Kind::Json, Json::String(text)) => scalar_of_text(kind, text),
        (Kind::Json, document) => Ok(Value::Text(document.to_string())),
        (Kind::Range(element), Json::Object(ends)) => {
            let end = |name: &str| match ends.get(name) {
                None | Some(Json::Null) => Ok(None),
                Some(end) => match scalar(element, end)? {
                    Value::Integer(end) => Ok(Some(end)),
                    _ => Err(bad(kind, value)),
                },
            };
            Ok(Value::Text(range_text(element, (end("start")?, end("end")?))))
        }
        (_, Json::String(text)) => scalar_of_text(kind, text),
        (Kind::Timestamp, Json::Number(seconds)) => {
            let seconds = seconds.as_f64().filter(|seconds| seconds.abs() < 3e11).ok_or_else(|| bad(kind, value))?;
            Ok(Value::Integer((seconds * 1e6).round() as i64))
        }
        (Kind::Int64, Json::Number(number)) => {
            let whole = number.as_i64().or_else(|| {
                number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15).map(|float| float as i64)
            });
            whole.map(Value::Integer).ok_or_else(|| bad(kind, value))
        }
        (Kind::Float64, Json::Number(number)) => Ok(store_float(number.as_f64().unwrap_or(f64::NAN))),
        (Kind::Bool, Json::Bool(truth)) => Ok(Value::Integer(i64::from(*truth))),
        (Kind::Numeric | Kind::BigNumeric | Kind::String, Json::Number(number)) => {
            scalar_of_text(kind, &number.to_string())
        }
        (Kind::String, Json::Bool(truth)) => Ok(Value::Text(truth.to_string())),
        _ => Err(bad(kind, value)),
    }
}

/// The JSON that ARRAY and STRUCT are stored as.
fn nest(kind: &Kind, repeated: bool, value: &Json) -> Result<Json> {
    if repeated {
        let elements = value.as_array().ok_or_else(|| WarehouseError::Invalid(format!("{value} is not an array")))?;
        let one = |element: &Json| match element {
            Json::Null => {
                Err(WarehouseError::Invalid("Only optional fields can be set to NULL: an array's element is".into()))
            }
            element => nest(kind, false, element),
        };
        return elements.iter().map(one).collect::<Result<Vec<_>>>().map(Json::Array);
    }
    if value.is_null() {
        return Ok(Json::Null);
    }
    let Kind::Struct(fields) = kind else { return Ok(nested_scalar(kind, scalar(kind, value)?)) };
    let object = value.as_object().ok_or_else(|| WarehouseError::Invalid(format!("{value} is not a record")))?;
    if let Some(unknown) = object.keys().find(|key| !fields.iter().any(|field| field.name.eq_ignore_ascii_case(key))) {
        return Err(WarehouseError::Invalid(format!("no such field: {unknown}.")));
    }
    let mut nested = Map::new();
    for field in fields {
        let found =
            object.iter().find(|(key, _)| key.eq_ignore_ascii_case(&field.name)).map_or(&Json::Null, |(_, v)| v);
        let found = match (field.mode, found) {
            (Mode::Repeated, Json::Null) => json!([]),
            (Mode::Required, Json::Null) => {
                return Err(WarehouseError::Invalid(format!("Missing required field: {}.", field.name)));
            }
            (mode, found) => nest(&field.kind, mode == Mode::Repeated, found)?,
        };
        nested.insert(field.name.clone(), found);
    }
    Ok(Json::Object(nested))
}

/// A stored scalar as it stands within the JSON of an ARRAY or STRUCT.
pub(crate) fn nested_scalar(kind: &Kind, value: Value) -> Json {
    match (kind, value) {
        (Kind::Bool, Value::Integer(truth)) => Json::Bool(truth != 0),
        (_, Value::Integer(number)) => number.into(),
        (_, Value::Real(float)) if float.is_infinite() => if float > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        (_, Value::Real(float)) => float.into(),
        (_, Value::Text(text)) => text.into(),
        (_, Value::Blob(bytes)) => STANDARD.encode(bytes).into(),
        (_, Value::Null) => Json::Null,
    }
}

/// The other way round.
pub(crate) fn scalar_of_nested(kind: &Kind, nested: &Json) -> Value {
    match (kind, nested) {
        (_, Json::Bool(truth)) => Value::Integer(i64::from(*truth)),
        (Kind::Bytes, Json::String(text)) => STANDARD.decode(text).map_or(Value::Null, Value::Blob),
        (Kind::Float64, Json::String(text)) => parse_float(text).map_or(Value::Null, store_float),
        (Kind::Float64, Json::Number(number)) => number.as_f64().map_or(Value::Null, Value::Real),
        (_, Json::String(text)) => Value::Text(text.clone()),
        (_, Json::Number(number)) => {
            number.as_i64().map_or_else(|| Value::Real(number.as_f64().unwrap_or_default()), Value::Integer)
        }
        _ => Value::Null,
    }
}

/// A field of a stored STRUCT, by its name without case.
pub(crate) fn member<'a>(object: &'a Json, name: &str) -> &'a Json {
    let object = object.as_object();
    let found = object.and_then(|object| {
        object
            .get(name)
            .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    });
    found.unwrap_or(&Json::Null)
}

/// A stored value as `v` of the REST API.
pub(crate) fn rest_cell(kind: &Kind, repeated: bool, value: ValueRef<'_>, timestamps: TimestampFormat) -> Json {
    if repeated || matches!(kind, Kind::Struct(_)) {
        let ValueRef::Text(text) = value else { return if repeated { json!([]) } else { Json::Null } };
        let nested: Json = serde_json::from_slice(text).unwrap_or(Json::Null);
        return rest_nested(kind, repeated, &nested, timestamps);
    }
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(us) if *kind == Kind::Timestamp => match timestamps {
            TimestampFormat::Int64 => us.to_string().into(),
            TimestampFormat::Float => format!("{:E}", us as f64 / 1e6).into(),
        },
        ValueRef::Integer(number) if *kind == Kind::Float64 => float_text(number as f64).into(),
        ValueRef::Integer(number) => scalar_text(kind, number).into(),
        ValueRef::Real(float) if kind.is_decimal() => decimal_of_float(kind, float).map_or(Json::Null, Json::from),
        ValueRef::Real(float) => float_text(float).into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => STANDARD.encode(bytes).into(),
    }
}

fn rest_nested(kind: &Kind, repeated: bool, nested: &Json, timestamps: TimestampFormat) -> Json {
    if repeated {
        let elements = nested.as_array().map(Vec::as_slice).unwrap_or_default();
        return elements.iter().map(|one| json!({ "v": rest_nested(kind, false, one, timestamps) })).collect();
    }
    match kind {
        Kind::Struct(_) if nested.is_null() => Json::Null,
        Kind::Struct(fields) => {
            let cell = |field: &Field| json!({ "v": rest_nested(&field.kind, field.repeated(), member(nested, &field.name), timestamps) });
            json!({ "f": fields.iter().map(cell).collect::<Vec<_>>() })
        }
        _ => rest_cell(kind, false, ValueRef::from(&scalar_of_nested(kind, nested)), timestamps),
    }
}

/// A cell of the REST API as plain JSON.
pub(crate) fn plain(kind: &Kind, repeated: bool, cell: &Json) -> Json {
    let value = |cell: &Json| cell.get("v").cloned().unwrap_or(Json::Null);
    if repeated {
        let elements = cell.as_array().map(Vec::as_slice).unwrap_or_default();
        return elements.iter().map(|element| plain(kind, false, &value(element))).collect();
    }
    let Some(text) = cell.as_str() else {
        let Kind::Struct(fields) = kind else { return Json::Null };
        let members = cell.get("f").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        if cell.is_null() {
            return Json::Null;
        }
        let member = |(field, member): (&Field, &Json)| {
            (field.name.clone(), plain(&field.kind, field.repeated(), &value(member)))
        };
        return Json::Object(fields.iter().zip(members).map(member).collect());
    };
    match kind {
        Kind::Int64 => text.parse::<i64>().map_or(Json::Null, Json::from),
        Kind::Float64 => {
            text.parse::<f64>().ok().filter(|float| float.is_finite()).map_or_else(|| text.into(), Json::from)
        }
        Kind::Bool => (text == "true").into(),
        Kind::Timestamp => text.parse().map_or(Json::Null, |us| format!("{}Z", text::datetime_text(us, 'T')).into()),
        Kind::Json => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}

/// Shortest text that reads back as the same double; whole numbers keep `.0`.
pub(crate) fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if float != 0.0 && !(1e-5..1e17).contains(&float.abs()) { format!("{float:e}") } else { format!("{float:?}") }
}

pub(crate) fn decimal_of_float(kind: &Kind, float: f64) -> Option<String> {
    let (digits, scale) = if *kind == Kind::Numeric { (29, 9) } else { (38, 38) };
    text::parse_decimal(&format!("{float}"), digits, scale)
}
