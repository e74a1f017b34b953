//! JSON lines: one object per line, each field to its column as it is written.

use std::{collections::HashMap, fmt, sync::atomic::Ordering};

use features::Plan;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    batch::{BATCH_BYTES, BATCH_ROWS, Batch, Places, Raw, Texts, Unreadable},
    error::ReadError,
    source_columns::SourceColumns,
    text::{BytesRead, MAX_LINE_BYTES, MAX_ORIGINAL_BYTES, Text},
};

pub(crate) struct JsonReader {
    text: Text,
    bytes_read: BytesRead,
    inputs: HashMap<String, usize>,
    /// Inputs that some line has had.
    seen: Vec<bool>,
    pub(crate) columns: SourceColumns,
    row: u64,
    line: Vec<u8>,
}

impl JsonReader {
    pub(crate) fn new(plan: &Plan, text: Text, bytes_read: BytesRead) -> Self {
        let names = plan.inputs().iter().enumerate().map(|(index, input)| (input.name.clone(), index));
        let inputs: HashMap<String, usize> = names.collect();
        let seen = vec![false; inputs.len()];
        Self { text, bytes_read, inputs, seen, columns: SourceColumns::default(), row: 0, line: Vec::new() }
    }

    /// Up to [`BATCH_ROWS`] rows; `None` at the end. Blank lines are no rows.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        let mut columns: Vec<Texts> = self.seen.iter().map(|_| Texts::default()).collect();
        let (mut places, mut unreadable, mut bytes) = (Vec::new(), Vec::new(), 0);
        while places.len() < BATCH_ROWS && unreadable.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let offset = self.text.offset;
            let Some(read) = self.text.read_line(&mut self.line)? else { break };
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            let row = self.row;
            self.row += 1;
            let wrong = match read {
                Err(length) => Some((
                    "record_too_long",
                    format!("the line has {length} bytes; at most {MAX_LINE_BYTES} are taken"),
                )),
                Ok(()) => {
                    let fields =
                        Fields { inputs: &self.inputs, cells: vec![None; columns.len()], unused: &mut self.columns };
                    match parse(&self.line, fields) {
                        Err(wrong) => Some(wrong),
                        Ok(cells) => {
                            for ((texts, cell), seen) in columns.iter_mut().zip(cells).zip(&mut self.seen) {
                                *seen |= cell.is_some();
                                texts.push(cell.unwrap_or(""));
                            }
                            bytes += self.line.len();
                            places.push((row, offset));
                            None
                        }
                    }
                }
            };
            if let Some((reason, detail)) = wrong {
                let original = self.line[..self.line.len().min(MAX_ORIGINAL_BYTES)].to_vec();
                unreadable.push(Unreadable { row, offset, reason, detail, original });
            }
        }
        if places.is_empty() && unreadable.is_empty() {
            let missing = self.inputs.iter().filter(|(_, index)| !self.seen[**index]).map(|(name, _)| name.clone());
            self.columns.missing = missing.collect();
            self.columns.missing.sort();
            return Ok(None);
        }
        Ok(Some(Batch {
            source: 0,
            rows: places.len(),
            places: Places::Listed(places),
            columns: columns.into_iter().map(Raw::Json).enumerate().collect(),
            unreadable,
            bytes_done: self.bytes_read.load(Ordering::Relaxed),
        }))
    }
}

/// A line's fields, by input, as they are written.
fn parse<'de>(line: &'de [u8], fields: Fields<'de, '_>) -> Result<Vec<Option<&'de str>>, (&'static str, String)> {
    let text = std::str::from_utf8(line)
        .map_err(|error| ("invalid_utf8", format!("byte {} of the line is not UTF-8", error.valid_up_to())))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let cells = fields.deserialize(&mut json).and_then(|cells| json.end().map(|()| cells));
    cells.map_err(|error| {
        let text = error.to_string();
        let reason = match error.classify() {
            serde_json::error::Category::Data if text.starts_with("duplicate field") => "duplicate_field",
            serde_json::error::Category::Data => "invalid_value",
            _ => "invalid_json",
        };
        (reason, text)
    })
}

struct Fields<'de, 'a> {
    inputs: &'a HashMap<String, usize>,
    cells: Vec<Option<&'de str>>,
    unused: &'a mut SourceColumns,
}

impl<'de> DeserializeSeed<'de> for Fields<'de, '_> {
    type Value = Vec<Option<&'de str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'de, '_> {
    type Value = Vec<Option<&'de str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(input) = map.next_key_seed(Name { inputs: self.inputs, unused: self.unused })? {
            let Some(input) = input else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &'de RawValue = map.next_value()?;
            if self.cells[input].replace(value.get()).is_some() {
                let name = self.inputs.iter().find(|(_, index)| **index == input).map_or("", |(name, _)| name);
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
        }
        Ok(self.cells)
    }
}

/// A field's name to its input.
struct Name<'a> {
    inputs: &'a HashMap<String, usize>,
    unused: &'a mut SourceColumns,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let input = self.inputs.get(name).copied();
        if input.is_none() {
            self.unused.add_unused(name);
        }
        Ok(input)
    }
}
