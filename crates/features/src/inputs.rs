//! Raw inputs, checked against the spec, into columns.

use domain::{Candidate, Inputs, ProblemField};
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{
    FeatureError, Plan, Type, Value,
    column::Column,
    error::nearest,
    spec::{Input, REQUESTED_AT, Scope},
};

/// Rows of inputs, one column per input of the plan. Buffers are reused after [`InputTable::clear`].
#[derive(Debug)]
pub struct InputTable {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: usize,
}

impl InputTable {
    /// An empty table for `plan`.
    pub fn new(plan: &Plan) -> Self {
        Self { columns: plan.inputs().iter().map(|input| Column::new(input.of)).collect(), rows: 0 }
    }

    /// Drops the rows, keeps the buffers.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(Column::clear);
        self.rows = 0;
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }
}

/// Longer texts are refused: they are stored with every record, and no feature needs them.
pub(crate) const MAX_TEXT_CHARS: usize = 1_024;

/// Whether a text has more than [`MAX_TEXT_CHARS`] characters.
pub(crate) fn is_too_long(text: &str) -> bool {
    text.len() > MAX_TEXT_CHARS && text.chars().nth(MAX_TEXT_CHARS).is_some()
}

/// How many wrong fields are told at once.
const MAX_ERRORS: usize = 20;

impl Plan {
    /// Appends one row per candidate of a request. On error nothing is appended, and every wrong field (of the first
    /// 20) is told with a JSON pointer into the request.
    pub fn read_request(
        &self,
        requested_at: Timestamp,
        inputs: &Inputs,
        candidates: &[Candidate],
        table: &mut InputTable,
    ) -> Result<(), FeatureError> {
        self.read_rows(Stored::No, requested_at, inputs, candidates, table)
    }

    /// Appends one row per candidate of what the archive keeps of a request: as [`Plan::read_request`], with NULL for personal
    /// inputs, which are not stored as they came. [`Plan::output_is_personal`] tells what cannot be computed from such rows.
    pub fn read_archived(
        &self,
        requested_at: Timestamp,
        inputs: &Inputs,
        candidates: &[Candidate],
        table: &mut InputTable,
    ) -> Result<(), FeatureError> {
        self.read_rows(Stored::Yes, requested_at, inputs, candidates, table)
    }

    fn read_rows(
        &self,
        stored: Stored,
        requested_at: Timestamp,
        inputs: &Inputs,
        candidates: &[Candidate],
        table: &mut InputTable,
    ) -> Result<(), FeatureError> {
        let mut errors = Errors::default();
        let is_request = |scope| scope == Scope::Request;
        let pointer = || "/inputs".to_owned();
        let shared = self.read_scope(stored, requested_at, inputs, is_request, &pointer, &mut errors);
        let mut rows = Vec::with_capacity(candidates.len());
        for (index, candidate) in candidates.iter().enumerate() {
            let pointer = || format!("/candidates/{index}/inputs");
            let is_candidate = |scope| scope == Scope::Candidate;
            rows.push(self.read_scope(stored, requested_at, &candidate.inputs, is_candidate, &pointer, &mut errors));
        }
        errors.into_result()?;
        for row in &rows {
            for (input, column) in table.columns.iter_mut().enumerate() {
                match row[input].as_ref().or(shared[input].as_ref()) {
                    Some(value) => column.push(value),
                    None => column.push(&Value::Null(self.inputs()[input].of)),
                }
            }
            table.rows += 1;
        }
        Ok(())
    }

    /// Appends one training row: inputs of every scope in one map. `pointer` names the row in errors.
    pub fn read_training_row(
        &self,
        requested_at: Timestamp,
        inputs: &Inputs,
        pointer: &str,
        table: &mut InputTable,
    ) -> Result<(), FeatureError> {
        let mut errors = Errors::default();
        let row = self.read_scope(Stored::No, requested_at, inputs, |_| true, &|| pointer.to_owned(), &mut errors);
        errors.into_result()?;
        for (column, value) in table.columns.iter_mut().zip(&row) {
            column.push(value.as_ref().unwrap_or(&Value::Null(Type::Float)));
        }
        table.rows += 1;
        Ok(())
    }

    /// The values of the inputs whose scope is wanted, by index; `None` for the others.
    fn read_scope(
        &self,
        stored: Stored,
        requested_at: Timestamp,
        inputs: &Inputs,
        wanted: impl Fn(Scope) -> bool,
        pointer: &dyn Fn() -> String,
        errors: &mut Errors,
    ) -> Vec<Option<Value>> {
        for name in inputs.keys() {
            match self.inputs().iter().find(|input| input.name == *name) {
                Some(input) if wanted(input.scope) && name != REQUESTED_AT => {}
                known => errors.push(&pointer(), name, "unknown_field", || self.unknown_field(name, known, &wanted)),
            }
        }
        self.inputs()
            .iter()
            .map(|input| {
                if !wanted(input.scope) {
                    return None;
                }
                if input.name == REQUESTED_AT {
                    return Some(Value::Timestamp(micros(requested_at)));
                }
                if stored == Stored::Yes && input.personal.is_some() {
                    return Some(Value::Null(input.of));
                }
                match read_value(input, inputs.get(&input.name)) {
                    Ok(value) => Some(value),
                    Err((reason, detail)) => {
                        errors.push(&pointer(), &input.name, reason, || detail);
                        None
                    }
                }
            })
            .collect()
    }

    pub(crate) fn unknown_field(&self, name: &str, known: Option<&Input>, wanted: &impl Fn(Scope) -> bool) -> String {
        if let Some(input) = known {
            return match input.scope {
                _ if name == REQUESTED_AT => format!("`{name}` is a field of the request, not one of its inputs"),
                Scope::Request => format!("`{name}` belongs into the request's own inputs"),
                Scope::Candidate => format!("`{name}` belongs into the inputs of each candidate"),
                Scope::Training => format!("`{name}` is known only in training"),
            };
        }
        let here = self.inputs().iter().filter(|input| wanted(input.scope) && input.name != REQUESTED_AT);
        match nearest(name, here.map(|input| input.name.as_str())) {
            Some(nearest) => format!("unknown input `{name}`; did you mean `{nearest}`?"),
            None => format!("unknown input `{name}`"),
        }
    }
}

/// Whether inputs are what the archive keeps of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    No,
    Yes,
}

#[derive(Default)]
struct Errors(Vec<ProblemField>);

impl Errors {
    fn push(&mut self, pointer: &str, name: &str, reason: &str, detail: impl FnOnce() -> String) {
        if self.0.len() < MAX_ERRORS {
            let pointer = format!("{pointer}/{}", ProblemField::escape(name));
            self.0.push(ProblemField::new(pointer, reason, detail()));
        }
    }

    fn into_result(self) -> Result<(), FeatureError> {
        if self.0.is_empty() { Ok(()) } else { Err(FeatureError::Inputs(self.0)) }
    }
}

/// One value against its declaration: the value, or a reason code and a detail.
pub(crate) fn read_value(input: &Input, json: Option<&Json>) -> Result<Value, (&'static str, String)> {
    let json = match json {
        None | Some(Json::Null) => {
            return match (&input.default, input.nullable) {
                (Some(default), _) => Ok(default.clone()),
                (None, true) => Ok(Value::Null(input.of)),
                (None, false) if json.is_none() => Err(("missing_field", format!("`{}` is required", input.name))),
                (None, false) => Err(("null_not_allowed", format!("`{}` must not be null", input.name))),
            };
        }
        Some(json) => json,
    };
    let shown = |json: &Json| match input.personal {
        Some(_) => "what was sent".to_owned(),
        None => shown(json),
    };
    let wrong_type = || {
        let unit = input.unit.as_ref().map(|unit| format!(" in {unit}")).unwrap_or_default();
        let what = match input.of {
            Type::Float => "a number",
            Type::Int => "a whole number",
            Type::Bool => "true or false",
            Type::String => "a text",
            Type::Timestamp => "a timestamp such as \"2026-01-31T09:30:00Z\"",
        };
        ("wrong_type", format!("`{}` must be {what}{unit}, not {}", input.name, shown(json)))
    };
    let value = match (input.of, json) {
        (Type::Float, Json::Number(number)) => {
            Value::Float(number.as_f64().filter(|number| number.is_finite()).ok_or_else(wrong_type)?)
        }
        (Type::Int, Json::Number(number)) => Value::Int(whole(number).ok_or_else(wrong_type)?),
        (Type::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Type::String, Json::String(text)) if is_too_long(text) => {
            let detail = format!("`{}` has more than {MAX_TEXT_CHARS} characters", input.name);
            return Err(("text_too_long", detail));
        }
        (Type::String, Json::String(text)) => Value::String(text.clone()),
        (Type::Timestamp, Json::String(text)) => Value::Timestamp(micros(text.parse().map_err(|_| wrong_type())?)),
        _ => return Err(wrong_type()),
    };
    let number = match value {
        Value::Float(number) => Some(number),
        Value::Int(number) => Some(number as f64),
        _ => None,
    };
    if let Some(number) = number
        && (input.min.is_some_and(|min| number < min) || input.max.is_some_and(|max| number > max))
    {
        let bound = |bound: Option<f64>| bound.map_or_else(|| "…".to_owned(), |bound| bound.to_string());
        let range = format!("{} to {}", bound(input.min), bound(input.max));
        let unit = input.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let number = if input.personal.is_some() { shown(json) } else { number.to_string() };
        return Err(("out_of_range", format!("`{}` is {number}; allowed is {range}{unit}", input.name)));
    }
    if !input.allowed.is_empty() && !input.allowed.contains(&value) {
        let detail = format!("`{}` is {}, which is not one of the allowed values", input.name, shown(json));
        return Err(("not_in_enum", detail));
    }
    Ok(value)
}

/// A whole number of 64 bits, also one written as `7.0`.
pub(crate) fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| whole_float(number.as_f64()?))
}

/// Every whole double in this range is exactly an integer; 2^63 itself is beyond.
pub(crate) fn whole_float(number: f64) -> Option<i64> {
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
    (number.fract() == 0.0 && fits).then_some(number as i64)
}

/// An instant as columns hold it: microseconds since 1970-01-01 UTC, what is finer is cut off, towards the past.
pub(crate) fn micros(timestamp: Timestamp) -> i64 {
    timestamp.as_nanosecond().div_euclid(1_000) as i64
}

/// A value for an error message, not longer than a line.
fn shown(json: &Json) -> String {
    let text = json.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}
