//! What SQLite lacks: functions over stored values, as the translator calls them.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{fmt::strtime, tz::TimeZone};
use rusqlite::{
    Connection,
    functions::{Aggregate, Context, FunctionFlags},
    types::{Value, ValueRef},
};
use serde_json::Value as Json;
use sha2::{Digest, Sha256, Sha512};

use crate::{
    calendar::{self, Part},
    cells::{self, float_text, parse_float, scalar_of_text, store_float},
    error::Result,
    text::{self, US_PER_DAY},
    types::Kind,
};

type SqlResult = rusqlite::Result<Value>;

fn wrong(message: impl Into<String>) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(message.into().into())
}

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

/// Arguments of a call; a NULL among them makes the result NULL before the function is asked.
struct Arguments<'a, 'b>(&'a Context<'b>);

impl Arguments<'_, '_> {
    fn integer(&self, index: usize) -> rusqlite::Result<i64> {
        match self.0.get_raw(index) {
            ValueRef::Integer(number) => Ok(number),
            ValueRef::Real(float) => Ok(float as i64),
            other => Err(wrong(format!("a {} is no integer", other.data_type()))),
        }
    }

    fn float(&self, index: usize) -> rusqlite::Result<f64> {
        match self.0.get_raw(index) {
            ValueRef::Integer(number) => Ok(number as f64),
            ValueRef::Real(float) => Ok(float),
            ValueRef::Text(text) => {
                let float = std::str::from_utf8(text).ok().and_then(parse_float);
                float.ok_or_else(|| wrong("a text is no number"))
            }
            other => Err(wrong(format!("a {} is no number", other.data_type()))),
        }
    }

    fn text(&self, index: usize) -> rusqlite::Result<&str> {
        match self.0.get_raw(index) {
            ValueRef::Text(text) => std::str::from_utf8(text).map_err(|error| wrong(error.to_string())),
            other => Err(wrong(format!("a {} is no text", other.data_type()))),
        }
    }

    fn bytes(&self, index: usize) -> rusqlite::Result<&[u8]> {
        match self.0.get_raw(index) {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(bytes),
            other => Err(wrong(format!("a {} is neither text nor bytes", other.data_type()))),
        }
    }

    fn part(&self, index: usize) -> rusqlite::Result<Part> {
        let name = self.text(index)?;
        Part::parse(name).ok_or_else(|| wrong(format!("A valid date part name is required but found {name}")))
    }

    fn kind(&self, index: usize) -> rusqlite::Result<Kind> {
        let name = self.text(index)?;
        Kind::parse(name).ok_or_else(|| wrong(format!("no such type: {name}")))
    }

    fn zone(&self, index: usize) -> rusqlite::Result<TimeZone> {
        let name = self.text(index)?;
        text::time_zone(name).ok_or_else(|| wrong(format!("Invalid time zone: {name}")))
    }
}

fn add(
    connection: &Connection,
    name: &'static str,
    arguments: i32,
    function: impl Fn(&Arguments<'_, '_>) -> SqlResult + Send + 'static,
) -> rusqlite::Result<()> {
    connection.create_scalar_function(name, arguments, FLAGS, move |context| {
        if (0..context.len()).any(|index| context.get_raw(index) == ValueRef::Null) {
            return Ok(Value::Null);
        }
        function(&Arguments(context))
    })
}

fn overflow() -> rusqlite::Error {
    wrong("the result is outside of years 1 to 9999")
}

/// Registers everything with a connection.
pub(crate) fn register(connection: &Connection) -> Result<()> {
    connection.create_collation("bq_decimal", text::compare_decimals)?;
    numbers(connection)?;
    texts(connection)?;
    times(connection)?;
    add(connection, "bq_cast", 4, |arguments| {
        let (from, to, safe) = (arguments.kind(1)?, arguments.kind(2)?, arguments.integer(3)? != 0);
        match cast(&from, &to, arguments.0.get_raw(0)) {
            Err(_) if safe => Ok(Value::Null),
            cast => cast,
        }
    })?;
    connection.create_aggregate_function("bq_variance", 2, FLAGS, Variance)?;
    Ok(())
}

type OfOne = fn(f64) -> f64;
type OfTwo = fn(f64, f64) -> f64;

fn numbers(connection: &Connection) -> rusqlite::Result<()> {
    add(connection, "bq_div", 2, |arguments| {
        let (left, right) = (arguments.float(0)?, arguments.float(1)?);
        if right == 0.0 {
            return Err(wrong(format!("division by zero: {left} / {right}")));
        }
        Ok(store_float(left / right))
    })?;
    add(connection, "bq_ieee_divide", 2, |arguments| Ok(store_float(arguments.float(0)? / arguments.float(1)?)))?;
    for (name, modulo) in [("bq_integer_div", false), ("bq_mod", true)] {
        add(connection, name, 2, move |arguments| {
            let (left, right) = (arguments.integer(0)?, arguments.integer(1)?);
            let result = if modulo { left.checked_rem(right) } else { left.checked_div(right) };
            result.map(Value::Integer).ok_or_else(|| wrong(format!("division by zero: {left} / {right}")))
        })?;
    }
    add(connection, "bq_decimal_compare", 2, |arguments| {
        let decimal = |index| {
            let text = match arguments.0.get_raw(index) {
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(float) => format!("{float}"),
                _ => arguments.text(index)?.to_owned(),
            };
            text::parse_decimal(&text, 400, 400).ok_or_else(|| wrong(format!("{text} is no number")))
        };
        Ok(Value::Integer(text::compare_decimals(&decimal(0)?, &decimal(1)?) as i64))
    })?;
    for (name, kind) in [("bq_numeric", Kind::Numeric), ("bq_bignumeric", Kind::BigNumeric)] {
        add(connection, name, 1, move |arguments| cast(&Kind::Float64, &kind, arguments.0.get_raw(0)))?;
    }
    add(connection, "bq_round", 2, |arguments| {
        let scale = 10f64.powi(arguments.integer(1)? as i32);
        let float = arguments.float(0)?;
        let rounded = (float * scale).round() / scale;
        Ok(Value::Real(if rounded.is_finite() { rounded } else { float }))
    })?;
    let one: [(_, OfOne); 16] = [
        ("bq_ceil", f64::ceil),
        ("bq_floor", f64::floor),
        ("bq_trunc_number", f64::trunc),
        ("bq_sqrt", f64::sqrt),
        ("bq_exp", f64::exp),
        ("bq_ln", f64::ln),
        ("bq_log10", f64::log10),
        ("bq_sin", f64::sin),
        ("bq_cos", f64::cos),
        ("bq_tan", f64::tan),
        ("bq_asin", f64::asin),
        ("bq_acos", f64::acos),
        ("bq_atan", f64::atan),
        ("bq_sinh", f64::sinh),
        ("bq_cosh", f64::cosh),
        ("bq_tanh", f64::tanh),
    ];
    for (name, function) in one {
        add(connection, name, 1, move |arguments| Ok(store_float(function(arguments.float(0)?))))?;
    }
    let two: [(_, OfTwo); 3] = [("bq_pow", f64::powf), ("bq_atan2", f64::atan2), ("bq_log", f64::log)];
    for (name, function) in two {
        add(connection, name, 2, move |arguments| Ok(store_float(function(arguments.float(0)?, arguments.float(1)?))))?;
    }
    Ok(())
}

fn texts(connection: &Connection) -> rusqlite::Result<()> {
    add(connection, "bq_lower", 1, |arguments| Ok(Value::Text(arguments.text(0)?.to_lowercase())))?;
    add(connection, "bq_upper", 1, |arguments| Ok(Value::Text(arguments.text(0)?.to_uppercase())))?;
    add(connection, "bq_starts_with", 2, |arguments| {
        Ok(Value::Integer(i64::from(arguments.bytes(0)?.starts_with(arguments.bytes(1)?))))
    })?;
    add(connection, "bq_ends_with", 2, |arguments| {
        Ok(Value::Integer(i64::from(arguments.bytes(0)?.ends_with(arguments.bytes(1)?))))
    })?;
    add(connection, "bq_split", 2, |arguments| {
        let (text, separator) = (arguments.text(0)?, arguments.text(1)?);
        let parts: Vec<String> = if separator.is_empty() {
            text.chars().map(String::from).collect()
        } else {
            text.split(separator).map(str::to_owned).collect()
        };
        Ok(Value::Text(Json::from(parts).to_string()))
    })?;
    add(connection, "bq_base64", 1, |arguments| Ok(Value::Text(STANDARD.encode(arguments.bytes(0)?))))?;
    add(connection, "bq_from_base64", 1, |arguments| {
        STANDARD
            .decode(arguments.text(0)?)
            .map(Value::Blob)
            .map_err(|error| wrong(format!("Failed to decode base64: {error}")))
    })?;
    add(connection, "bq_sha256", 1, |arguments| Ok(Value::Blob(Sha256::digest(arguments.bytes(0)?).to_vec())))?;
    add(connection, "bq_sha512", 1, |arguments| Ok(Value::Blob(Sha512::digest(arguments.bytes(0)?).to_vec())))?;
    add(connection, "bq_farm_fingerprint", 1, |arguments| {
        Ok(Value::Integer(farmhash::fingerprint64(arguments.bytes(0)?) as i64))
    })?;
    add(connection, "bq_json_value", 2, |arguments| {
        let document: Json = serde_json::from_str(arguments.text(0)?).map_err(|error| wrong(error.to_string()))?;
        Ok(match json_at(&document, arguments.text(1)?)? {
            Json::Null | Json::Array(_) | Json::Object(_) => Value::Null,
            Json::String(text) => Value::Text(text.clone()),
            scalar => Value::Text(scalar.to_string()),
        })
    })?;
    add(connection, "bq_json_query", 2, |arguments| {
        let document: Json = serde_json::from_str(arguments.text(0)?).map_err(|error| wrong(error.to_string()))?;
        Ok(match json_at(&document, arguments.text(1)?)? {
            Json::Null => Value::Null,
            found => Value::Text(found.to_string()),
        })
    })
}

/// `$.a.b[0]`.
fn json_at<'a>(document: &'a Json, path: &str) -> rusqlite::Result<&'a Json> {
    let odd = || wrong(format!("JSONPath must be like $.a.b[0]: {path}"));
    let mut rest = path.strip_prefix('$').ok_or_else(odd)?;
    let mut found = document;
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            found = found.get(name[..end].trim_matches('"')).unwrap_or(&Json::Null);
            rest = &name[end..];
        } else {
            let (index, after) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(odd)?;
            found = match index.parse::<usize>() {
                Ok(index) => found.get(index).unwrap_or(&Json::Null),
                Err(_) => found.get(index.trim_matches(['\'', '"'])).unwrap_or(&Json::Null),
            };
            rest = after;
        }
    }
    Ok(found)
}

fn times(connection: &Connection) -> rusqlite::Result<()> {
    // Civil microseconds in, civil microseconds out.
    add(connection, "bq_extract", 2, |arguments| {
        let part = arguments.part(1)?;
        calendar::extract(arguments.integer(0)?, part).map(Value::Integer).ok_or_else(overflow)
    })?;
    add(connection, "bq_truncate", 2, |arguments| {
        let part = arguments.part(1)?;
        let truncated = calendar::truncate(arguments.integer(0)?, part);
        truncated
            .map(Value::Integer)
            .ok_or_else(|| wrong(format!("cannot truncate to {}", arguments.text(1).unwrap_or_default())))
    })?;
    add(connection, "bq_add", 3, |arguments| {
        let part = arguments.part(2)?;
        let added = calendar::add(arguments.integer(0)?, arguments.integer(1)?, part);
        added.filter(|us| text::datetime_of_us(*us).is_some()).map(Value::Integer).ok_or_else(overflow)
    })?;
    add(connection, "bq_boundaries", 3, |arguments| {
        let part = arguments.part(2)?;
        let number = calendar::boundaries(arguments.integer(0)?, arguments.integer(1)?, part);
        number.map(Value::Integer).ok_or_else(|| wrong("no difference has this part"))
    })?;
    add(connection, "bq_timestamp_diff", 3, |arguments| {
        let part = arguments.part(2)?;
        let length = part.us().ok_or_else(|| wrong("TIMESTAMP_DIFF does not support this date part"))?;
        Ok(Value::Integer((arguments.integer(0)? - arguments.integer(1)?) / length))
    })?;
    add(connection, "bq_civil", 2, |arguments| {
        let zone = arguments.zone(1)?;
        text::civil_of_us(arguments.integer(0)?, &zone).map(Value::Integer).ok_or_else(overflow)
    })?;
    add(connection, "bq_instant", 2, |arguments| {
        let zone = arguments.zone(1)?;
        text::us_of_civil(arguments.integer(0)?, &zone).map(Value::Integer).ok_or_else(overflow)
    })?;
    add(connection, "bq_timestamp", 2, |arguments| {
        let (value, zone) = (arguments.text(0)?, arguments.zone(1)?);
        let parsed = text::parse_timestamp(value, &zone);
        parsed.map(Value::Integer).ok_or_else(|| wrong(format!("Invalid timestamp: '{value}'")))
    })?;
    add(connection, "bq_make_date", 3, |arguments| {
        let part = |index| arguments.integer(index);
        let date = jiff::civil::Date::new(part(0)? as i16, part(1)? as i8, part(2)? as i8);
        date.map(|date| Value::Integer(text::days_of_date(date))).map_err(|error| wrong(error.to_string()))
    })?;
    add(connection, "bq_make_time", 3, |arguments| {
        let part = |index| arguments.integer(index);
        let time = jiff::civil::Time::new(part(0)? as i8, part(1)? as i8, part(2)? as i8, 0);
        time.map(|time| Value::Integer(text::us_of_time(time))).map_err(|error| wrong(error.to_string()))
    })?;
    add(connection, "bq_format_time", 3, |arguments| {
        let (format, zone) = (with_fractions(arguments.text(0)?), arguments.zone(2)?);
        let datetime = text::datetime_of_us(arguments.integer(1)?).ok_or_else(overflow)?;
        let zoned = datetime.to_zoned_datetime(zone).map_err(|error| wrong(error.to_string()))?;
        strtime::format(&format, &zoned).map(Value::Text).map_err(|error| wrong(error.to_string()))
    })?;
    add(connection, "bq_parse_time", 3, |arguments| {
        let (format, value) = (with_fractions(arguments.text(0)?), arguments.text(1)?);
        let zone = arguments.zone(2)?;
        let failed = |error: jiff::Error| wrong(format!("Failed to parse input string \"{value}\": {error}"));
        let parsed = strtime::parse(&format, value).map_err(failed)?;
        if parsed.offset().is_some() {
            return Ok(Value::Integer(parsed.to_timestamp().map_err(failed)?.as_microsecond()));
        }
        let civil = match (parsed.to_date(), parsed.to_time()) {
            (Ok(date), Ok(time)) => text::us_of_datetime(date.to_datetime(time)),
            (Ok(date), Err(_)) => text::days_of_date(date) * US_PER_DAY,
            (Err(_), Ok(time)) => text::us_of_time(time),
            (Err(error), Err(_)) => return Err(failed(error)),
        };
        text::us_of_civil(civil, &zone).map(Value::Integer).ok_or_else(overflow)
    })
}

/// BigQuery's `%E*S` and `%E6S` in the words of strtime.
fn with_fractions(format: &str) -> String {
    let mut format = format.replace("%E*S", "%S%.f").replace("%E4Y", "%Y");
    for digits in 1..=9 {
        format = format.replace(&format!("%E{digits}S"), &format!("%S%.{digits}f"));
    }
    format
}

/// CAST between stored forms.
fn cast(from: &Kind, to: &Kind, value: ValueRef<'_>) -> SqlResult {
    let bad = |value: &str| wrong(format!("Bad {} value: {value}", to.name().to_lowercase()));
    let shown = || match cells::rest_cell(from, false, value, cells::TimestampFormat::Int64) {
        Json::String(text) => text,
        other => other.to_string(),
    };
    if from == to {
        return value.try_into().map_err(|error: rusqlite::types::FromSqlError| wrong(error.to_string()));
    }
    let number = |value: ValueRef<'_>| match value {
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(float) => Some(float),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(parse_float),
        _ => None,
    };
    match (from, to, value) {
        (Kind::Timestamp, Kind::String, ValueRef::Integer(us)) => Ok(Value::Text(text::timestamp_text(us))),
        (Kind::DateTime, Kind::String, ValueRef::Integer(us)) => Ok(Value::Text(text::datetime_text(us, ' '))),
        (Kind::Bytes, Kind::String, ValueRef::Blob(bytes)) => {
            String::from_utf8(bytes.to_vec()).map(Value::Text).map_err(|_| wrong("Invalid UTF-8 in BYTES"))
        }
        (Kind::Float64, Kind::String, _) => {
            let float = number(value).unwrap_or(f64::NAN);
            let text = float_text(float);
            Ok(Value::Text(text.strip_suffix(".0").map_or(text.clone(), str::to_owned)))
        }
        (_, Kind::String, _) => Ok(Value::Text(shown())),
        (Kind::String, Kind::Bytes, ValueRef::Text(text)) => Ok(Value::Blob(text.to_vec())),
        (Kind::String, Kind::Int64, ValueRef::Text(_)) => {
            let text = shown();
            let trimmed = text.trim();
            let hexadecimal = trimmed.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
            hexadecimal.or_else(|| trimmed.parse().ok()).map(Value::Integer).ok_or_else(|| bad(&text))
        }
        (Kind::String, Kind::Bool, ValueRef::Text(text)) => match text.to_ascii_lowercase().as_slice() {
            b"true" => Ok(Value::Integer(1)),
            b"false" => Ok(Value::Integer(0)),
            _ => Err(bad(&shown())),
        },
        (Kind::String, _, ValueRef::Text(_)) => scalar_of_text(to, &shown()).map_err(|_| bad(&shown())),
        (Kind::Int64 | Kind::Bool, Kind::Int64 | Kind::Bool, ValueRef::Integer(number)) => {
            Ok(Value::Integer(if *to == Kind::Bool { i64::from(number != 0) } else { number }))
        }
        (Kind::Int64 | Kind::Float64 | Kind::Numeric | Kind::BigNumeric, Kind::Float64, _) => {
            number(value).map(store_float).ok_or_else(|| bad(&shown()))
        }
        (Kind::Int64 | Kind::Float64 | Kind::Numeric | Kind::BigNumeric, Kind::Numeric | Kind::BigNumeric, _) => {
            let text = match value {
                ValueRef::Real(float) => format!("{float}"),
                _ => shown(),
            };
            scalar_of_text(to, &text).map_err(|_| bad(&text))
        }
        (Kind::Float64 | Kind::Numeric | Kind::BigNumeric, Kind::Int64, _) => {
            let rounded = number(value).map(f64::round).filter(|float| float.abs() < 9.3e18);
            rounded.map(|float| Value::Integer(float as i64)).ok_or_else(|| bad(&shown()))
        }
        (Kind::Date, Kind::DateTime | Kind::Timestamp, ValueRef::Integer(days)) => {
            Ok(Value::Integer(days * US_PER_DAY))
        }
        (Kind::DateTime | Kind::Timestamp, Kind::Date, ValueRef::Integer(us)) => {
            Ok(Value::Integer(us.div_euclid(US_PER_DAY)))
        }
        (Kind::DateTime | Kind::Timestamp, Kind::Time, ValueRef::Integer(us)) => {
            Ok(Value::Integer(us.rem_euclid(US_PER_DAY)))
        }
        (Kind::DateTime, Kind::Timestamp, ValueRef::Integer(us))
        | (Kind::Timestamp, Kind::DateTime, ValueRef::Integer(us)) => Ok(Value::Integer(us)),
        _ => Err(wrong(format!("Invalid cast from {} to {}", from.name(), to.name()))),
    }
}

/// Variance and standard deviation, by Welford's method. The second argument says which: `VAR_SAMP`, `VAR_POP`, `STDDEV_SAMP`,
/// `STDDEV_POP`.
struct Variance;

#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
    which: String,
}

impl Aggregate<Moments, Value> for Variance {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Moments> {
        Ok(Moments::default())
    }

    fn step(&self, context: &mut Context<'_>, moments: &mut Moments) -> rusqlite::Result<()> {
        if context.get_raw(0) == ValueRef::Null {
            return Ok(());
        }
        let arguments = Arguments(context);
        let value = arguments.float(0)?;
        if moments.which.is_empty() {
            arguments.text(1)?.clone_into(&mut moments.which);
        }
        moments.count += 1.0;
        let delta = value - moments.mean;
        moments.mean += delta / moments.count;
        moments.squares += delta * (value - moments.mean);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, moments: Option<Moments>) -> SqlResult {
        let Some(moments) = moments.filter(|moments| moments.count > 0.0) else { return Ok(Value::Null) };
        let freedom = if moments.which.ends_with("_POP") { moments.count } else { moments.count - 1.0 };
        if freedom <= 0.0 {
            return Ok(Value::Null);
        }
        let variance = moments.squares / freedom;
        Ok(Value::Real(if moments.which.starts_with("STDDEV") { variance.sqrt() } else { variance }))
    }
}
