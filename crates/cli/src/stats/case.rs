//! The fields of a case. What is not asked for is ignored.

use evaluation::EvaluationError;
use experiments::ExperimentsError;
use serde_json::{Map, Value};

/// Why a case has no result.
#[derive(Debug)]
pub(super) struct Refusal {
    /// A stable code.
    pub(super) reason: &'static str,
    /// What is wrong, for a person.
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    pub(super) fn unknown_kind(kind: &str, known: &[&str]) -> Self {
        Self::new("unknown_kind", format!("`{kind}` is not one of {}", known.join(", ")))
    }

    fn wrong_type(field: &str, expected: &str) -> Self {
        Self::new("wrong_type", format!("`{field}` must be {expected}"))
    }
}

impl From<ExperimentsError> for Refusal {
    fn from(error: ExperimentsError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

impl From<EvaluationError> for Refusal {
    fn from(error: EvaluationError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

/// A case, or an object in one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a>(&'a Map<String, Value>);

impl<'a> Case<'a> {
    pub(super) fn new(fields: &'a Map<String, Value>) -> Self {
        Self(fields)
    }

    /// A field that is there and not null.
    pub(super) fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn has(self, field: &str) -> bool {
        self.get(field).is_some()
    }

    pub(super) fn required(self, field: &str) -> Result<&'a Value, Refusal> {
        self.get(field).ok_or_else(|| Refusal::new("missing_field", format!("`{field}` is missing")))
    }

    pub(super) fn object(self, field: &str) -> Result<Case<'a>, Refusal> {
        self.required(field)?.as_object().map(Case).ok_or_else(|| Refusal::wrong_type(field, "an object"))
    }

    pub(super) fn array(self, field: &str) -> Result<&'a [Value], Refusal> {
        let values = self.required(field)?.as_array().ok_or_else(|| Refusal::wrong_type(field, "an array"))?;
        Ok(values)
    }

    pub(super) fn text(self, field: &str) -> Result<&'a str, Refusal> {
        self.required(field)?.as_str().ok_or_else(|| Refusal::wrong_type(field, "a text"))
    }

    pub(super) fn number(self, field: &str) -> Result<f64, Refusal> {
        self.required(field)?.as_f64().ok_or_else(|| Refusal::wrong_type(field, "a number"))
    }

    pub(super) fn number_or(self, field: &str, default: f64) -> Result<f64, Refusal> {
        if self.has(field) { self.number(field) } else { Ok(default) }
    }

    /// A number above 0 and below 1.
    pub(super) fn share_or(self, field: &str, default: f64) -> Result<f64, Refusal> {
        let share = self.number_or(field, default)?;
        if share > 0.0 && share < 1.0 {
            Ok(share)
        } else {
            Err(Refusal::new("out_of_range", format!("`{field}` must lie between 0 and 1")))
        }
    }

    /// A number above 0.
    pub(super) fn positive(self, field: &str) -> Result<f64, Refusal> {
        let number = self.number(field)?;
        if number > 0.0 { Ok(number) } else { Err(Refusal::new("out_of_range", format!("`{field}` must be above 0"))) }
    }

    pub(super) fn positive_or(self, field: &str, default: f64) -> Result<f64, Refusal> {
        if self.has(field) { self.positive(field) } else { Ok(default) }
    }

    /// A whole number that is not negative; also as 10.0.
    pub(super) fn count(self, field: &str) -> Result<u64, Refusal> {
        whole(self.number(field)?).ok_or_else(|| Refusal::wrong_type(field, "a whole number, not negative"))
    }

    pub(super) fn count_or(self, field: &str, default: u64) -> Result<u64, Refusal> {
        if self.has(field) { self.count(field) } else { Ok(default) }
    }

    pub(super) fn numbers(self, field: &str) -> Result<Vec<f64>, Refusal> {
        numbers_of(self.array(field)?, field)
    }

    /// Numbers, and for null (not finite, not defined) the value given.
    pub(super) fn numbers_or_null(self, field: &str, null: f64) -> Result<Vec<f64>, Refusal> {
        let number = |value: &Value| if value.is_null() { Some(null) } else { value.as_f64() };
        let numbers: Option<Vec<f64>> = self.array(field)?.iter().map(number).collect();
        numbers.ok_or_else(|| Refusal::wrong_type(field, "an array of numbers or null"))
    }

    /// The fields of this object.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.0.iter()
    }
}

pub(super) fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0 && number < 9.1e15).then_some(number as u64)
}

pub(super) fn numbers_of(values: &[Value], field: &str) -> Result<Vec<f64>, Refusal> {
    let numbers: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
    numbers.ok_or_else(|| Refusal::wrong_type(field, "an array of numbers"))
}
