//! Columns of raw inputs, checked against the spec by the rules of requests, into an [`InputTable`].
//!
//! Each column is checked in one pass over its values. Only where a value fails is it looked at by itself, by the very
//! function that checks requests, so that files and requests are refused for the same reasons in the same words.

use domain::ProblemField;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{
    FeatureError, InputTable, Plan, Type, Value,
    column::{Column, Values},
    inputs::{is_too_long, micros, read_value, whole, whole_float},
    spec::Input,
};

/// A column of raw values.
#[derive(Debug, Clone, Copy)]
pub struct RawColumn<'a> {
    /// The input that it holds.
    pub input: &'a str,
    /// One value per row.
    pub values: RawValues<'a>,
    /// Which rows have a value; `None`: all of them.
    pub valid: Option<&'a [bool]>,
}

/// The values of a [`RawColumn`]. What stands in a row that has no value does not matter.
#[derive(Debug, Clone, Copy)]
pub enum RawValues<'a> {
    /// Floats. One that is not finite is refused.
    Floats(&'a [f64]),
    /// Integers of any width.
    Ints(&'a [i64]),
    /// Booleans.
    Bools(&'a [bool]),
    /// Instants: microseconds since 1970-01-01 UTC.
    Timestamps(&'a [i64]),
    /// Texts. A timestamp may be an RFC 3339 text, as in JSON.
    Texts(RawTexts<'a>),
    /// Cells of a file that has no types, such as CSV: read as the input's type. An empty cell has no value. Spaces
    /// around numbers, booleans and timestamps do not count; a timestamp's `Z` may be written ` UTC`.
    Cells(RawTexts<'a>),
    /// JSON values as they are written. `null` and an empty text (no such field) are no value.
    Json(RawTexts<'a>),
}

/// Texts end to end.
#[derive(Debug, Clone, Copy)]
pub struct RawTexts<'a> {
    text: &'a str,
    offsets: &'a [i32],
}

impl<'a> RawTexts<'a> {
    /// Text `i` is `text[offsets[i]..offsets[i + 1]]`: one offset more than there are texts. (The layout of Arrow.)
    pub fn new(text: &'a str, offsets: &'a [i32]) -> Self {
        Self { text, offsets }
    }

    /// How many texts.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Text `row`. Empty where the offsets are none of `text`.
    pub fn get(&self, row: usize) -> &'a str {
        self.text.get(self.offsets[row] as usize..self.offsets[row + 1] as usize).unwrap_or_default()
    }
}

/// A value that the spec does not allow: its row is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The row, from 0, in the columns.
    pub row: usize,
    /// The input.
    pub input: String,
    /// A stable code, the same as for requests.
    pub reason: &'static str,
    /// What is wrong, and what is expected.
    pub detail: String,
}

impl RawValues<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Ints(values) | Self::Timestamps(values) => values.len(),
            Self::Bools(values) => values.len(),
            Self::Texts(texts) | Self::Cells(texts) | Self::Json(texts) => texts.len(),
        }
    }
}

impl Plan {
    /// Appends rows of training data, given as columns named by input; those with a wrong value are left out and told,
    /// sorted by row and input. An input without a column has no value in any row.
    ///
    /// # Errors
    /// [`FeatureError::Inputs`] where a column's name is no input (`unknown_field`) or is there twice
    /// (`duplicate_field`), or its length is not `rows` (`wrong_length`). Nothing is then appended.
    pub fn read_columns(
        &self,
        rows: usize,
        columns: &[RawColumn<'_>],
        table: &mut InputTable,
    ) -> Result<Vec<Reject>, FeatureError> {
        let sources = self.sources(rows, columns)?;
        let start = table.rows;
        let mut rejects = Vec::new();
        for ((input, source), column) in self.inputs().iter().zip(&sources).zip(&mut table.columns) {
            Check { input, source: source.as_ref(), rows, rejects: &mut rejects }.run(column, start);
        }
        let mut keep = Vec::new();
        if !rejects.is_empty() {
            keep.resize(rows, true);
            for reject in &rejects {
                keep[reject.row] = false;
            }
        }
        let keep = (!rejects.is_empty()).then_some(keep.as_slice());
        for ((input, source), column) in self.inputs().iter().zip(&sources).zip(&mut table.columns) {
            match &mut column.values {
                Values::Float(values) => retain(values, start, keep),
                Values::Int(values) => retain(values, start, keep),
                Values::Bool(values) => retain(values, start, keep),
                Values::Text(_) => {
                    append_texts(input, source.as_ref(), rows, keep, column);
                    continue;
                }
            }
            if column.has_nulls {
                retain(&mut column.valid, start, keep);
            }
        }
        table.rows += keep.map_or(rows, |keep| keep.iter().filter(|&&keep| keep).count());
        // Stable: the inputs of a row stay in the plan's order.
        rejects.sort_by_key(|reject| reject.row);
        Ok(rejects)
    }

    /// The columns in the order of the inputs, with the rows that have a value.
    fn sources<'a>(&self, rows: usize, columns: &[RawColumn<'a>]) -> Result<Vec<Option<Source<'a>>>, FeatureError> {
        let mut sources: Vec<Option<Source<'a>>> = self.inputs().iter().map(|_| None).collect();
        let mut errors = Vec::new();
        for column in columns {
            let mut error = |reason, detail| {
                errors.push(ProblemField::new(format!("/{}", ProblemField::escape(column.input)), reason, detail));
            };
            let Some(input) = self.inputs().iter().position(|input| input.name == column.input) else {
                error("unknown_field", self.unknown_field(column.input, None, &|_| true));
                continue;
            };
            let lengths = [Some(column.values.len()), column.valid.map(<[bool]>::len)];
            if let Some(wrong) = lengths.into_iter().flatten().find(|&length| length != rows) {
                error("wrong_length", format!("`{}` has {wrong} values for {rows} rows", column.input));
            } else if sources[input].is_some() {
                error("duplicate_field", format!("`{}` is there twice", column.input));
            }
            sources[input] = Some(Source::new(*column));
        }
        if errors.is_empty() { Ok(sources) } else { Err(FeatureError::Inputs(errors)) }
    }
}

/// A column, and which rows have a value.
#[derive(Debug)]
struct Source<'a> {
    values: RawValues<'a>,
    /// `None`: all.
    valid: Option<Vec<bool>>,
}

impl<'a> Source<'a> {
    fn new(column: RawColumn<'a>) -> Self {
        let empty: Option<fn(&str) -> bool> = match column.values {
            RawValues::Cells(_) => Some(str::is_empty),
            RawValues::Json(_) => Some(|text| text.is_empty() || text == "null"),
            _ => None,
        };
        let valid = match (column.values, empty) {
            (RawValues::Cells(texts) | RawValues::Json(texts), Some(empty)) => Some(
                (0..texts.len())
                    .map(|row| column.valid.is_none_or(|valid| valid[row]) && !empty(texts.get(row)))
                    .collect::<Vec<bool>>(),
            ),
            _ => column.valid.map(<[bool]>::to_vec),
        };
        Self { values: column.values, valid: valid.filter(|valid| valid.contains(&false)) }
    }

    fn is_valid(&self, row: usize) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid[row])
    }

    /// The value as a request would have it; `None` where a request would not have the field.
    fn json(&self, row: usize, of: Type) -> Option<Json> {
        if let RawValues::Json(texts) = self.values
            && texts.get(row).is_empty()
        {
            return None;
        }
        if !self.is_valid(row) {
            return Some(Json::Null);
        }
        Some(match self.values {
            RawValues::Floats(values) => number(values[row]),
            RawValues::Ints(values) => values[row].into(),
            RawValues::Bools(values) => values[row].into(),
            RawValues::Timestamps(values) => match Timestamp::from_microsecond(values[row]) {
                Ok(timestamp) => timestamp.to_string().into(),
                Err(_) => format!("{} µs", values[row]).into(),
            },
            RawValues::Texts(texts) => texts.get(row).into(),
            RawValues::Cells(texts) => {
                let cell = texts.get(row);
                match of {
                    Type::Float => float_cell(cell).map(number),
                    Type::Int => int_cell(cell).map(Json::from).or_else(|| float_cell(cell).map(number)),
                    Type::Bool => bool_cell(cell).map(Json::from),
                    Type::String => None,
                    Type::Timestamp => timestamp_cell(cell).map(|_| cell_in_rfc_3339(cell).into()),
                }
                .unwrap_or_else(|| cell.into())
            }
            RawValues::Json(texts) => serde_json::from_str(texts.get(row)).unwrap_or_else(|_| texts.get(row).into()),
        })
    }
}

/// A text where JSON has no such number, which then is of the wrong type.
fn number(value: f64) -> Json {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Json::Number)
}

fn float_cell(cell: &str) -> Option<f64> {
    cell.trim_ascii().parse().ok().filter(|value: &f64| value.is_finite())
}

fn int_cell(cell: &str) -> Option<i64> {
    let cell = cell.trim_ascii();
    cell.parse().ok().or_else(|| whole_float(float_cell(cell)?))
}

fn bool_cell(cell: &str) -> Option<bool> {
    let cell = cell.trim_ascii();
    if cell.eq_ignore_ascii_case("true") { Some(true) } else { cell.eq_ignore_ascii_case("false").then_some(false) }
}

fn timestamp_cell(cell: &str) -> Option<i64> {
    let cell = cell.trim_ascii();
    timestamp_text(cell).or_else(|| timestamp_text(&cell_in_rfc_3339(cell)))
}

/// BigQuery writes `2026-01-31 09:30:00 UTC`.
fn cell_in_rfc_3339(cell: &str) -> String {
    let cell = cell.trim_ascii();
    cell.strip_suffix(" UTC").map_or_else(|| cell.to_owned(), |local| format!("{local}Z"))
}

fn timestamp_text(text: &str) -> Option<i64> {
    text.parse().ok().map(micros)
}

/// Simple JSON numbers without going through a tree; the rest is judged as requests are.
fn json_float(text: &str) -> Option<f64> {
    let first = *text.as_bytes().first()?;
    if first == b'-' || first.is_ascii_digit() { float_cell(text) } else { None }
}

fn json_int(text: &str) -> Option<i64> {
    let Json::Number(number) = serde_json::from_str(text).ok()? else { return None };
    whole(&number)
}

fn json_text(text: &str) -> Option<std::borrow::Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(text).ok().map(std::borrow::Cow::Owned) } else { Some(inner.into()) }
}

/// One input's column on its way into the table.
struct Check<'a> {
    input: &'a Input,
    source: Option<&'a Source<'a>>,
    rows: usize,
    rejects: &'a mut Vec<Reject>,
}

impl Check<'_> {
    /// Appends a value for every row, also for those that are rejected. Texts are only checked.
    fn run(mut self, column: &mut Column, start: usize) {
        match &mut column.values {
            Values::Float(values) => self.floats(values),
            Values::Int(values) if self.input.of == Type::Timestamp => self.timestamps(values),
            Values::Int(values) => self.ints(values),
            Values::Bool(values) => self.bools(values),
            Values::Text(_) => {
                self.texts();
                return;
            }
        }
        self.defaults(column, start);
        let nulls = match self.source {
            None => self.input.default.is_none(),
            Some(source) => source.valid.is_some() && self.input.default.is_none(),
        };
        if nulls && !column.has_nulls {
            column.has_nulls = true;
            column.valid.clear();
            column.valid.resize(start, true);
        }
        if column.has_nulls {
            match self.source.map(|source| source.valid.as_deref()) {
                Some(Some(valid)) if nulls => column.valid.extend_from_slice(valid),
                _ => column.valid.resize(start + self.rows, !nulls),
            }
        }
        self.reject_nulls();
    }

    fn bounds(&self) -> (f64, f64) {
        (self.input.min.unwrap_or(f64::MIN), self.input.max.unwrap_or(f64::MAX))
    }

    fn floats(&mut self, out: &mut Vec<f64>) {
        let (min, max) = self.bounds();
        let fits = move |value: f64| (min..=max).contains(&value);
        let Some(source) = self.source else { return out.resize(out.len() + self.rows, 0.0) };
        let start = out.len();
        match source.values {
            RawValues::Floats(values) => out.extend_from_slice(values),
            RawValues::Ints(values) => out.extend(values.iter().map(|&value| value as f64)),
            RawValues::Cells(texts) => self.parsed(out, texts, float_cell),
            RawValues::Json(texts) => self.parsed(out, texts, json_float),
            _ => self.other_type(out),
        }
        self.judge_misfits(&out[start..], fits);
    }

    fn ints(&mut self, out: &mut Vec<i64>) {
        let (min, max) = self.bounds();
        let allowed: Vec<i64> = self
            .input
            .allowed
            .iter()
            .filter_map(|value| if let Value::Int(int) = value { Some(*int) } else { None })
            .collect();
        let fits =
            |value: i64| (min..=max).contains(&(value as f64)) && (allowed.is_empty() || allowed.contains(&value));
        let Some(source) = self.source else { return out.resize(out.len() + self.rows, 0) };
        let start = out.len();
        match source.values {
            RawValues::Ints(values) => out.extend_from_slice(values),
            RawValues::Floats(values) => self.converted(out, |row| whole_float(values[row])),
            RawValues::Cells(texts) => self.parsed(out, texts, int_cell),
            RawValues::Json(texts) => self.parsed(out, texts, json_int),
            _ => self.other_type(out),
        }
        self.judge_misfits(&out[start..], fits);
    }

    fn timestamps(&mut self, out: &mut Vec<i64>) {
        let (min, max) = (Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
        let Some(source) = self.source else { return out.resize(out.len() + self.rows, 0) };
        let start = out.len();
        match source.values {
            RawValues::Timestamps(values) => out.extend_from_slice(values),
            RawValues::Texts(texts) => self.parsed(out, texts, timestamp_text),
            RawValues::Cells(texts) => self.parsed(out, texts, timestamp_cell),
            RawValues::Json(texts) => self.parsed(out, texts, |text| timestamp_text(&json_text(text)?)),
            _ => self.other_type(out),
        }
        self.judge_misfits(&out[start..], |value| (min..=max).contains(&value));
    }

    fn bools(&mut self, out: &mut Vec<bool>) {
        let Some(source) = self.source else { return out.resize(out.len() + self.rows, false) };
        match source.values {
            RawValues::Bools(values) => out.extend_from_slice(values),
            RawValues::Cells(texts) => self.parsed(out, texts, bool_cell),
            RawValues::Json(texts) => self.parsed(out, texts, |text| text.parse::<bool>().ok()),
            _ => self.other_type(out),
        }
    }

    fn texts(&mut self) {
        let input = self.input;
        let fits = |text: &str| {
            !is_too_long(text)
                && (input.allowed.is_empty()
                    || input.allowed.iter().any(|allowed| matches!(allowed, Value::String(allowed) if allowed == text)))
        };
        if let Some(source) = self.source {
            match source.values {
                RawValues::Texts(texts) | RawValues::Cells(texts) => {
                    self.converted(&mut Vec::<()>::new(), |row| fits(texts.get(row)).then_some(()));
                }
                RawValues::Json(texts) => {
                    self.converted(&mut Vec::<()>::new(), |row| {
                        json_text(texts.get(row)).is_some_and(|text| fits(&text)).then_some(())
                    });
                }
                _ => self.other_type(&mut Vec::<()>::new()),
            }
        }
        self.reject_nulls();
    }

    fn parsed<'t, T: Default>(&mut self, out: &mut Vec<T>, texts: RawTexts<'t>, parse: impl Fn(&'t str) -> Option<T>) {
        self.converted(out, |row| parse(texts.get(row)));
    }

    /// Converts the rows that have a value; where that is not possible the row is rejected.
    fn converted<T: Default>(&mut self, out: &mut Vec<T>, convert: impl Fn(usize) -> Option<T>) {
        let Some(source) = self.source else { return };
        out.extend((0..self.rows).map(|row| {
            if !source.is_valid(row) {
                return T::default();
            }
            convert(row).unwrap_or_else(|| {
                reject(self.rejects, self.input, source, row);
                T::default()
            })
        }));
    }

    /// Every value is of a type that the input does not take.
    fn other_type<T: Default>(&mut self, out: &mut Vec<T>) {
        self.converted(out, |_| None);
    }

    /// Rejects the rows whose value does not fit, unless they are rejected already.
    fn judge_misfits<T: Copy>(&mut self, values: &[T], fits: impl Fn(T) -> bool) {
        let Some(source) = self.source else { return };
        let all_fit = match &source.valid {
            None => values.iter().fold(true, |all, &value| all & fits(value)),
            Some(valid) => values.iter().zip(valid).fold(true, |all, (&value, &valid)| all & (!valid || fits(value))),
        };
        if all_fit {
            return;
        }
        let unreadable: Vec<usize> =
            self.rejects.iter().filter(|reject| reject.input == self.input.name).map(|reject| reject.row).collect();
        for (row, &value) in values.iter().enumerate() {
            if source.is_valid(row) && !fits(value) && unreadable.binary_search(&row).is_err() {
                reject(self.rejects, self.input, source, row);
            }
        }
    }

    /// Puts the input's default where there is no value.
    fn defaults(&self, column: &mut Column, start: usize) {
        let missing = |row: usize| self.source.is_none_or(|source| !source.is_valid(row));
        if self.source.is_some_and(|source| source.valid.is_none()) {
            return;
        }
        match (&mut column.values, &self.input.default) {
            (Values::Float(values), Some(Value::Float(default))) => fill(&mut values[start..], *default, missing),
            (Values::Int(values), Some(Value::Int(default))) => fill(&mut values[start..], *default, missing),
            (Values::Bool(values), Some(Value::Bool(default))) => fill(&mut values[start..], *default, missing),
            _ => {}
        }
    }

    fn reject_nulls(&mut self) {
        if self.input.nullable || self.input.default.is_some() {
            return;
        }
        let nulls: Vec<usize> = match self.source {
            None => (0..self.rows).collect(),
            Some(Source { valid: None, .. }) => Vec::new(),
            Some(Source { valid: Some(valid), .. }) => (0..self.rows).filter(|&row| !valid[row]).collect(),
        };
        for row in nulls {
            let json = self.source.and_then(|source| source.json(row, self.input.of));
            push_reject(self.rejects, self.input, row, json.as_ref());
        }
    }
}

fn fill<T: Copy>(values: &mut [T], default: T, missing: impl Fn(usize) -> bool) {
    values.iter_mut().enumerate().filter(|(row, _)| missing(*row)).for_each(|(_, value)| *value = default);
}

fn reject(rejects: &mut Vec<Reject>, input: &Input, source: &Source<'_>, row: usize) {
    push_reject(rejects, input, row, source.json(row, input.of).as_ref());
}

fn push_reject(rejects: &mut Vec<Reject>, input: &Input, row: usize, json: Option<&Json>) {
    // Only values that failed the quick check come here. One that a request could have is told as what it is.
    let (reason, detail) = read_value(input, json)
        .err()
        .unwrap_or_else(|| ("wrong_type", format!("`{}` cannot be read as a {}", input.name, input.of)));
    rejects.push(Reject { row, input: input.name.clone(), reason, detail });
}

/// Drops the values from `start` on whose row is not kept.
fn retain<T: Copy>(values: &mut Vec<T>, start: usize, keep: Option<&[bool]>) {
    let Some(keep) = keep else { return };
    let mut to = start;
    for (row, _) in keep.iter().enumerate().filter(|(_, keep)| **keep) {
        values[to] = values[start + row];
        to += 1;
    }
    values.truncate(to);
}

fn append_texts(input: &Input, source: Option<&Source<'_>>, rows: usize, keep: Option<&[bool]>, column: &mut Column) {
    let missing = input.default.clone().unwrap_or(Value::Null(input.of));
    for row in (0..rows).filter(|&row| keep.is_none_or(|keep| keep[row])) {
        let text = source.filter(|source| source.is_valid(row)).map(|source| match source.values {
            RawValues::Json(texts) => json_text(texts.get(row)).unwrap_or_default(),
            RawValues::Texts(texts) | RawValues::Cells(texts) => texts.get(row).into(),
            _ => std::borrow::Cow::default(),
        });
        match text {
            Some(text) => column.push_text(&text),
            None => column.push(&missing),
        }
    }
}

#[cfg(test)]
mod tests;
