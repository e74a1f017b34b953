//! The spec's document: `models/<name>/features.toml`.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    FeatureError, Type, Value,
    error::Location,
    holidays::{self, Calendar},
    lookup::{KeyType, LookupDeclaration, MAX_KEYS, ValueType},
    personal::Personal,
    zones::ZoneSet,
};

/// The text of a spec and the places in it.
#[derive(Debug, Clone)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// The line and column of a byte.
    pub(crate) fn at(&self, byte: usize) -> Location {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Location {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The place of line `line`, column `column` (from 1) inside the string value that spans `span`.
    /// Exact where the string has no escapes before that place.
    pub(crate) fn inside(&self, span: &Range<usize>, line: u64, column: u64) -> Location {
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let quotes = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { 3 } else { 1 };
        let mut start = span.start + quotes;
        // TOML drops a newline right after the opening quotes.
        if quotes == 3 && self.text[start.min(self.text.len())..].starts_with('\n') {
            start += 1;
        }
        let mut location = self.at(start);
        let (line, column) = (line.max(1) as usize, column.max(1) as usize);
        if line == 1 {
            location.column += column - 1;
        } else {
            location.line += line - 1;
            location.column = column;
        }
        location
    }

    pub(crate) fn error(
        &self,
        byte: usize,
        reason: &'static str,
        message: impl Into<String>,
        expected: Option<String>,
    ) -> FeatureError {
        FeatureError::Spec { location: self.at(byte), reason, message: message.into(), expected }
    }
}

/// Who gives an input, and when it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// In the request, shared by its candidates.
    Request,
    /// With each candidate.
    Candidate,
    /// Only in training data: known after the fact. Features and fallback cannot use it.
    Training,
}

/// One input, as declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name in requests and expressions.
    pub name: String,
    /// Who gives it.
    pub scope: Scope,
    /// Its type.
    pub of: Type,
    /// Its unit, for people and for the request's schema.
    pub unit: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// Whether `null`, or leaving it out, is allowed.
    pub nullable: bool,
    /// What stands for it where it is left out or `null`.
    pub default: Option<Value>,
    /// Least allowed number.
    pub min: Option<f64>,
    /// Greatest allowed number.
    pub max: Option<f64>,
    /// The allowed texts or integers. Empty: any.
    pub allowed: Vec<Value>,
    /// What becomes of it before anything is stored, where it is personal data.
    pub personal: Option<Personal>,
}

impl fmt::Display for Input {
    /// In words: "float in deg, of each candidate, -90..90, or NULL".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.of)?;
        if let Some(unit) = &self.unit {
            write!(f, " in {unit}")?;
        }
        f.write_str(match self.scope {
            Scope::Request => ", of the request",
            Scope::Candidate => ", of each candidate",
            Scope::Training => ", known in training only",
        })?;
        let bound = |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
        if self.min.is_some() || self.max.is_some() {
            write!(f, ", {}..{}", bound(self.min), bound(self.max))?;
        }
        if !self.allowed.is_empty() {
            let allowed: Vec<String> = self.allowed.iter().map(ToString::to_string).collect();
            write!(f, ", one of {}", allowed.join(", "))?;
        }
        match &self.default {
            Some(default) => write!(f, ", {default} where it is not given")?,
            None if self.nullable => f.write_str(", or NULL")?,
            None => {}
        }
        f.write_str(match self.personal {
            Some(Personal::Drop) => ", personal: not stored",
            Some(Personal::Hash) => ", personal: stored as a keyed hash",
            None => "",
        })?;
        if self.default.is_some() && self.nullable { f.write_str(" or NULL") } else { Ok(()) }
    }
}

/// The name of the timestamp that every request has: when the prediction was asked for.
pub const REQUESTED_AT: &str = "requested_at";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    #[serde(default)]
    description: String,
    prediction: Spanned<PredictionDocument>,
    #[serde(default)]
    inputs: BTreeMap<String, Spanned<InputDocument>>,
    #[serde(default)]
    zones: BTreeMap<String, ZonesDocument>,
    #[serde(default)]
    holidays: BTreeMap<String, Spanned<HolidaysDocument>>,
    #[serde(default)]
    lookups: BTreeMap<String, Spanned<LookupDocument>>,
    #[serde(default)]
    features: BTreeMap<String, Spanned<String>>,
    model: ModelDocument,
    label: Option<ExpressionDocument>,
    fallback: FallbackDocument,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PredictionDocument {
    unit: String,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputDocument {
    #[serde(rename = "type")]
    of: Type,
    #[serde(default = "request_scope")]
    scope: Scope,
    unit: Option<String>,
    description: Option<String>,
    #[serde(default)]
    nullable: bool,
    default: Option<toml::Value>,
    min: Option<f64>,
    max: Option<f64>,
    #[serde(rename = "enum", default)]
    allowed: Vec<toml::Value>,
    personal: Option<Personal>,
}

fn request_scope() -> Scope {
    Scope::Request
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZonesDocument {
    /// The property of each feature that is its id.
    id: Spanned<String>,
    geojson: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HolidaysDocument {
    dates: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupDocument {
    keys: BTreeMap<String, Spanned<KeyType>>,
    values: BTreeMap<String, ValueType>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelDocument {
    outputs: Spanned<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpressionDocument {
    expression: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FallbackDocument {
    expression: Spanned<String>,
    default: Spanned<f64>,
}

/// A spec, read and checked as far as no expression is concerned.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) prediction: Prediction,
    /// [`REQUESTED_AT`] first, then by name.
    pub(crate) inputs: Vec<Input>,
    pub(crate) zones: Vec<Arc<ZoneSet>>,
    pub(crate) calendars: Vec<Arc<Calendar>>,
    /// With the places where they are declared.
    pub(crate) lookups: Vec<(usize, LookupDeclaration)>,
    pub(crate) features: BTreeMap<String, Spanned<String>>,
    pub(crate) outputs: Vec<Spanned<String>>,
    pub(crate) label: Option<Spanned<String>>,
    pub(crate) fallback: Spanned<String>,
    pub(crate) fallback_default: f64,
}

/// What the model predicts.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Its unit.
    pub unit: String,
    /// Least meaningful answer: what is below is not taken from a model.
    pub min: Option<f64>,
    /// Greatest meaningful answer.
    pub max: Option<f64>,
}

impl fmt::Display for Prediction {
    /// In words: "s, 0..7200".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unit)?;
        let bound = |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
        if self.min.is_some() || self.max.is_some() {
            write!(f, ", {}..{}", bound(self.min), bound(self.max))?;
        }
        Ok(())
    }
}

impl Spec {
    pub(crate) fn read(source: &Source<'_>) -> Result<Self, FeatureError> {
        let document: Document = toml::from_str(source.text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            source.error(start, "spec_not_readable", error.message().trim().replace('\n', " "), None)
        })?;
        let mut inputs = vec![Input {
            name: REQUESTED_AT.to_owned(),
            scope: Scope::Request,
            of: Type::Timestamp,
            unit: None,
            description: Some("When the prediction was asked for, UTC.".to_owned()),
            nullable: false,
            default: None,
            min: None,
            max: None,
            allowed: Vec::new(),
            personal: None,
        }];
        for (name, input) in document.inputs {
            let start = input.span().start;
            if name == REQUESTED_AT {
                let message = format!("`{REQUESTED_AT}` is always there and cannot be declared");
                return Err(source.error(start, "input_reserved", message, None));
            }
            check_name(source, start, &name)?;
            inputs.push(read_input(source, start, name, input.into_inner())?);
        }
        for (name, expression) in &document.features {
            check_name(source, expression.span().start, name)?;
            if inputs.iter().any(|input| input.name == *name) {
                let message = format!("`{name}` is both an input and a feature");
                return Err(source.error(expression.span().start, "name_taken", message, None));
            }
        }
        let zones = document.zones.into_iter().map(|(name, zones)| read_zones(source, &name, &zones));
        let zones = zones.collect::<Result<_, _>>()?;
        let calendars = document.holidays.iter().map(|(name, dates)| read_holidays(source, name, dates));
        let calendars = calendars.collect::<Result<_, _>>()?;
        let lookups = document.lookups.into_iter().map(|(name, lookup)| read_lookup(source, name, lookup));
        let lookups = lookups.collect::<Result<_, _>>()?;
        let outputs_start = document.model.outputs.span().start;
        let outputs = document.model.outputs.into_inner();
        if outputs.is_empty() {
            return Err(source.error(outputs_start, "no_outputs", "the model has no outputs", None));
        }
        for (index, output) in outputs.iter().enumerate() {
            if outputs[..index].iter().any(|other| other.get_ref() == output.get_ref()) {
                let message = format!("output `{}` is listed twice", output.get_ref());
                return Err(source.error(output.span().start, "output_twice", message, None));
            }
        }
        let prediction_start = document.prediction.span().start;
        let PredictionDocument { unit, min, max } = document.prediction.into_inner();
        if !bounds_are_sane(min, max) {
            return Err(source.error(
                prediction_start,
                "bounds_invalid",
                "min and max must be finite, min ≤ max",
                None,
            ));
        }
        let default = document.fallback.default;
        if !default.get_ref().is_finite() {
            let message = "the fallback's default must be a finite number";
            return Err(source.error(default.span().start, "default_invalid", message, None));
        }
        Ok(Self {
            name: document.name,
            description: document.description,
            prediction: Prediction { unit, min, max },
            inputs,
            zones,
            calendars,
            lookups,
            features: document.features,
            outputs,
            label: document.label.map(|label| label.expression),
            fallback: document.fallback.expression,
            fallback_default: default.into_inner(),
        })
    }
}

fn bounds_are_sane(min: Option<f64>, max: Option<f64>) -> bool {
    let finite = |bound: Option<f64>| bound.is_none_or(f64::is_finite);
    finite(min) && finite(max) && min.zip(max).is_none_or(|(min, max)| min <= max)
}

fn check_name(source: &Source<'_>, start: usize, name: &str) -> Result<(), FeatureError> {
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if valid {
        return Ok(());
    }
    let expected = "names are of a-z, 0-9 and `_`, beginning with a letter".to_owned();
    Err(source.error(start, "name_invalid", format!("`{name}` cannot be a name"), Some(expected)))
}

fn read_zones(source: &Source<'_>, name: &str, document: &ZonesDocument) -> Result<Arc<ZoneSet>, FeatureError> {
    let (id, geojson) = (&document.id, &document.geojson);
    check_name(source, id.span().start, name)?;
    let zones = ZoneSet::read(name, geojson.get_ref(), id.get_ref()).map_err(|error| FeatureError::Spec {
        location: source.inside(&geojson.span(), error.line as u64, error.column as u64),
        reason: "zones_invalid",
        message: format!("zones `{name}`: {}", error.message),
        expected: None,
    })?;
    Ok(Arc::new(zones))
}

fn read_holidays(
    source: &Source<'_>,
    name: &str,
    document: &Spanned<HolidaysDocument>,
) -> Result<Arc<Calendar>, FeatureError> {
    // In lower case, so that it cannot be a built-in one.
    check_name(source, document.span().start, name)?;
    let day = |date: &Spanned<String>| {
        holidays::parse_date(date.get_ref()).ok_or_else(|| {
            let message = format!("holidays `{name}`: \"{}\" is not a date", date.get_ref());
            let expected = "write it as \"2026-01-31\"".to_owned();
            source.error(date.span().start, "date_invalid", message, Some(expected))
        })
    };
    let days = document.get_ref().dates.iter().map(day).collect::<Result<_, _>>()?;
    Ok(Arc::new(Calendar::of_days(name, days)))
}

fn read_lookup(
    source: &Source<'_>,
    name: String,
    document: Spanned<LookupDocument>,
) -> Result<(usize, LookupDeclaration), FeatureError> {
    let start = document.span().start;
    check_name(source, start, &name)?;
    let LookupDocument { keys, values } = document.into_inner();
    let mut keys: Vec<_> = keys.into_iter().collect();
    // In the order in which they are written, which is the order of a LOOKUP's arguments.
    keys.sort_by_key(|(_, of)| of.span().start);
    let keys: Vec<_> = keys.into_iter().map(|(name, of)| (name, of.into_inner())).collect();
    let values: Vec<_> = values.into_iter().collect();
    for column in keys.iter().map(|(name, _)| name).chain(values.iter().map(|(name, _)| name)) {
        check_name(source, start, column)?;
    }
    if keys.is_empty() || keys.len() > MAX_KEYS || values.is_empty() {
        let message = format!("lookup `{name}`: it needs 1 to {MAX_KEYS} keys and at least one value");
        return Err(source.error(start, "lookup_columns_invalid", message, None));
    }
    if let Some((both, _)) = keys.iter().find(|(key, _)| values.iter().any(|(value, _)| value == key)) {
        let message = format!("lookup `{name}`: `{both}` is both a key and a value");
        return Err(source.error(start, "lookup_columns_invalid", message, None));
    }
    Ok((start, LookupDeclaration { name, keys, values }))
}

fn read_input(source: &Source<'_>, start: usize, name: String, document: InputDocument) -> Result<Input, FeatureError> {
    let error = |reason, message: String| source.error(start, reason, message, None);
    let of = document.of;
    let numeric = matches!(of, Type::Float | Type::Int);
    if (document.min.is_some() || document.max.is_some()) && !numeric {
        return Err(error("bounds_invalid", format!("input `{name}`: min and max need a float or int, not a {of}")));
    }
    if !bounds_are_sane(document.min, document.max) {
        return Err(error("bounds_invalid", format!("input `{name}`: min and max must be finite, min ≤ max")));
    }
    if !document.allowed.is_empty() && !matches!(of, Type::String | Type::Int) {
        return Err(error("enum_invalid", format!("input `{name}`: enum needs a string or int, not a {of}")));
    }
    if document.personal.is_some() && document.scope == Scope::Training {
        return Err(error("personal_invalid", format!("input `{name}`: only inputs of requests are stored")));
    }
    let value = |value: toml::Value, what: &str| {
        let shown = value.to_string();
        match (of, value) {
            (Type::Float, toml::Value::Float(value)) if value.is_finite() => Ok(Value::Float(value)),
            (Type::Float, toml::Value::Integer(value)) => Ok(Value::Float(value as f64)),
            (Type::Int, toml::Value::Integer(value)) => Ok(Value::Int(value)),
            (Type::Bool, toml::Value::Boolean(value)) => Ok(Value::Bool(value)),
            (Type::String, toml::Value::String(value)) => Ok(Value::String(value)),
            _ => Err(error("value_invalid", format!("input `{name}`: {what} {shown} is not a {of}"))),
        }
    };
    let default = document.default.map(|default| value(default, "default")).transpose()?;
    let allowed =
        document.allowed.into_iter().map(|allowed| value(allowed, "enum value")).collect::<Result<Vec<_>, _>>()?;
    Ok(Input {
        scope: document.scope,
        of,
        unit: document.unit,
        description: document.description,
        nullable: document.nullable,
        default,
        min: document.min,
        max: document.max,
        allowed,
        personal: document.personal,
        name,
    })
}
