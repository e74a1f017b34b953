//! Columns: typed values with validity, in reused buffers.

use crate::{Type, Value};

/// A column of values. A NULL's value is unspecified; its validity says so.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) values: Values,
    /// Which rows are not NULL. Meaningful only where `has_nulls`.
    pub(crate) valid: Vec<bool>,
    pub(crate) has_nulls: bool,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    Float(Vec<f64>),
    /// Integers, and timestamps in microseconds.
    Int(Vec<i64>),
    Bool(Vec<bool>),
    Text(Text),
}

/// Texts end to end; text `i` is `bytes[ends[i - 1]..ends[i]]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Text {
    bytes: String,
    ends: Vec<u32>,
}

impl Text {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.end_text();
    }

    /// Appends to the text in the making; [`Text::end_text`] ends it.
    pub(crate) fn push_part(&mut self, part: &str) {
        self.bytes.push_str(part);
    }

    /// Appends a number as text.
    pub(crate) fn push_display(&mut self, value: impl std::fmt::Display) {
        use std::fmt::Write as _;

        _ = write!(self.bytes, "{value}");
        self.end_text();
    }

    pub(crate) fn push_char(&mut self, char: char) {
        self.bytes.push(char);
    }

    /// Bytes of the text in the making.
    pub(crate) fn part_len(&self) -> usize {
        self.bytes.len() - self.start()
    }

    /// Drops the text in the making.
    pub(crate) fn drop_part(&mut self) {
        self.bytes.truncate(self.start());
    }

    fn start(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize)
    }

    pub(crate) fn end_text(&mut self) {
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    pub(crate) fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start as usize..self.ends[row] as usize).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

impl Column {
    /// An empty column.
    pub(crate) fn new(of: Type) -> Self {
        let values = match of {
            Type::Float => Values::Float(Vec::new()),
            Type::Int | Type::Timestamp => Values::Int(Vec::new()),
            Type::Bool => Values::Bool(Vec::new()),
            Type::String => Values::Text(Text::default()),
        };
        Self { values, valid: Vec::new(), has_nulls: false }
    }

    /// What stands in a register while its column is being computed. Allocates nothing.
    pub(crate) fn taken() -> Self {
        Self::new(Type::Float)
    }

    /// No row is NULL.
    pub(crate) fn clear_validity(&mut self) {
        self.valid.clear();
        self.has_nulls = false;
    }

    pub(crate) fn clear(&mut self) {
        self.clear_validity();
        match &mut self.values {
            Values::Float(values) => values.clear(),
            Values::Int(values) => values.clear(),
            Values::Bool(values) => values.clear(),
            Values::Text(values) => values.clear(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Float(values) => values.len(),
            Values::Int(values) => values.len(),
            Values::Bool(values) => values.len(),
            Values::Text(values) => values.len(),
        }
    }

    /// Appends `value`. A value of another type appends NULL: the reader has checked types before.
    pub(crate) fn push(&mut self, value: &Value) {
        let row = self.len();
        let valid = match (&mut self.values, value) {
            (Values::Float(values), Value::Float(value)) => {
                values.push(*value);
                true
            }
            (Values::Int(values), Value::Int(value) | Value::Timestamp(value)) => {
                values.push(*value);
                true
            }
            (Values::Bool(values), Value::Bool(value)) => {
                values.push(*value);
                true
            }
            (Values::Text(values), Value::String(value)) => {
                values.push(value);
                true
            }
            (values, _) => {
                match values {
                    Values::Float(values) => values.push(0.0),
                    Values::Int(values) => values.push(0),
                    Values::Bool(values) => values.push(false),
                    Values::Text(values) => values.push(""),
                }
                false
            }
        };
        if !valid && !self.has_nulls {
            self.has_nulls = true;
            self.valid.clear();
            self.valid.resize(row, true);
        }
        if self.has_nulls {
            self.valid.push(valid);
        }
    }

    /// Appends a text to a column of texts.
    pub(crate) fn push_text(&mut self, text: &str) {
        if let Values::Text(texts) = &mut self.values {
            texts.push(text);
            if self.has_nulls {
                self.valid.push(true);
            }
        }
    }

    pub(crate) fn is_valid(&self, row: usize) -> bool {
        !self.has_nulls || self.valid[row]
    }

    /// The value of `row`, as `of` (an integer column may hold timestamps).
    pub(crate) fn value(&self, row: usize, of: Type) -> Value {
        if !self.is_valid(row) {
            return Value::Null(of);
        }
        match &self.values {
            Values::Float(values) => Value::Float(values[row]),
            Values::Int(values) if of == Type::Timestamp => Value::Timestamp(values[row]),
            Values::Int(values) => Value::Int(values[row]),
            Values::Bool(values) => Value::Bool(values[row]),
            Values::Text(values) => Value::String(values.get(row).to_owned()),
        }
    }

    pub(crate) fn view(&self, start: usize, len: usize) -> View<'_> {
        let values = match &self.values {
            Values::Float(values) => ViewValues::Float(&values[start..start + len]),
            Values::Int(values) => ViewValues::Int(&values[start..start + len]),
            Values::Bool(values) => ViewValues::Bool(&values[start..start + len]),
            Values::Text(values) => ViewValues::Text(values, start),
        };
        View { values, valid: self.has_nulls.then(|| &self.valid[start..start + len]), is_constant: false }
    }

    /// `rows` floats to be overwritten. Empty where the column is of another type, which typing rules out.
    pub(crate) fn floats_mut(&mut self, rows: usize) -> &mut [f64] {
        let Values::Float(values) = &mut self.values else { return &mut [] };
        values.resize(rows, 0.0);
        values
    }

    /// `rows` integers to be overwritten.
    pub(crate) fn ints_mut(&mut self, rows: usize) -> &mut [i64] {
        let Values::Int(values) = &mut self.values else { return &mut [] };
        values.resize(rows, 0);
        values
    }

    /// `rows` booleans to be overwritten.
    pub(crate) fn bools_mut(&mut self, rows: usize) -> &mut [bool] {
        let Values::Bool(values) = &mut self.values else { return &mut [] };
        values.resize(rows, false);
        values
    }
}

/// A run of rows of a column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) values: ViewValues<'a>,
    /// `None` where no row is NULL.
    pub(crate) valid: Option<&'a [bool]>,
    /// Whether every row has the same value, so that a kernel need not read more than the first.
    pub(crate) is_constant: bool,
}

/// The values of a [`View`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum ViewValues<'a> {
    Float(&'a [f64]),
    Int(&'a [i64]),
    Bool(&'a [bool]),
    /// A text column and the view's first row in it.
    Text(&'a Text, usize),
}

impl<'a> View<'a> {
    /// The floats. Empty where the column is of another type, which typing rules out.
    pub(crate) fn floats(&self) -> &'a [f64] {
        if let ViewValues::Float(values) = self.values { values } else { &[] }
    }

    /// The integers or microseconds.
    pub(crate) fn ints(&self) -> &'a [i64] {
        if let ViewValues::Int(values) = self.values { values } else { &[] }
    }

    /// The booleans.
    pub(crate) fn bools(&self) -> &'a [bool] {
        if let ViewValues::Bool(values) = self.values { values } else { &[] }
    }

    /// The text of `row`.
    pub(crate) fn text(&self, row: usize) -> &'a str {
        if let ViewValues::Text(texts, start) = self.values { texts.get(start + row) } else { "" }
    }

    pub(crate) fn is_valid(&self, row: usize) -> bool {
        self.valid.is_none_or(|valid| valid[row])
    }
}
