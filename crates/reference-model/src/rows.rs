use std::fmt;

use csv::ByteRecord;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{MediaType, ModelError, cell};

/// The rows of a request, one after the other. NaN where a value is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    width: usize,
    values: Vec<f64>,
}

impl Rows {
    /// Reads a request's body, whose rows must have `width` values each.
    pub fn parse(media: MediaType, body: &[u8], width: usize) -> Result<Self, ModelError> {
        let mut reading = Reading { width, values: Vec::new(), complete: 0, fault: None };
        match media {
            MediaType::Csv => reading.csv(body)?,
            MediaType::Json => reading.json(body, |reading, json| Document(reading).deserialize(json))?,
            MediaType::JsonLines => {
                for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
                    if !line.trim_ascii().is_empty() {
                        reading.json(line, |reading, json| Row(reading).deserialize(json)).map_err(
                            |error| match error {
                                // serde_json counts lines within what it is given.
                                ModelError::InvalidBody(why) => {
                                    ModelError::InvalidBody(format!("line {}: {why}", index + 1))
                                }
                                other => other,
                            },
                        )?;
                    }
                }
            }
        }
        if reading.complete == 0 {
            return Err(ModelError::NoRows);
        }
        Ok(Self { width, values: reading.values })
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }
}

/// Rows so far.
struct Reading {
    width: usize,
    values: Vec<f64>,
    /// How many rows are complete.
    complete: usize,
    /// What is wrong, where a JSON error's text alone would lose its kind.
    fault: Option<ModelError>,
}

impl Reading {
    fn csv(&mut self, body: &[u8]) -> Result<(), ModelError> {
        if self.width == 1 {
            return self.csv_of_one_column(body);
        }
        let mut reader = cell::rows(body);
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| ModelError::InvalidBody(error.to_string()))? {
            for bytes in &record {
                let number = cell::parse(bytes).map_err(|text| self.not_a_number(text, "empty"))?;
                self.values.push(number);
            }
            self.end_row()?;
        }
        Ok(())
    }

    /// An empty line is a row whose one value is missing; for a CSV reader it is none.
    fn csv_of_one_column(&mut self, body: &[u8]) -> Result<(), ModelError> {
        let lines = body.strip_suffix(b"\n").unwrap_or(body).split(|byte| *byte == b'\n');
        for line in lines.filter(|_| !body.is_empty()) {
            for bytes in line.split(|byte| *byte == b',') {
                let number = cell::parse(bytes).map_err(|text| self.not_a_number(text, "empty"))?;
                self.values.push(number);
            }
            self.end_row()?;
        }
        Ok(())
    }

    fn json<'a>(
        &mut self,
        body: &'a [u8],
        read: impl FnOnce(&mut Self, &mut serde_json::Deserializer<serde_json::de::SliceRead<'a>>) -> serde_json::Result<()>,
    ) -> Result<(), ModelError> {
        let mut json = serde_json::Deserializer::from_slice(body);
        read(self, &mut json)
            .and_then(|()| json.end())
            .map_err(|error| self.fault.take().unwrap_or_else(|| ModelError::InvalidBody(error.to_string())))
    }

    /// Checks the width of the row that `values` now ends with.
    fn end_row(&mut self) -> Result<(), ModelError> {
        let found = self.values.len() - self.complete * self.width;
        if found != self.width {
            return Err(ModelError::WrongWidth { row: self.complete + 1, found, expected: self.width });
        }
        self.complete += 1;
        Ok(())
    }

    fn not_a_number(&self, text: String, missing: &'static str) -> ModelError {
        let column = self.values.len() - self.complete * self.width + 1;
        ModelError::NotANumber { row: self.complete + 1, column, text, missing }
    }

    /// Leaves a JSON document with `fault`, whose text it carries too.
    fn fail<E: Error>(&mut self, fault: ModelError) -> E {
        let error = E::custom(&fault);
        self.fault = Some(fault);
        error
    }
}

/// A part of a JSON document, read into the rows by the type's own [`Visitor`].
macro_rules! part {
    ($name:ident) => {
        struct $name<'r>(&'r mut Reading);

        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    };
}

part!(Document);
part!(Instances);
part!(Row);
part!(Features);
part!(Cell);

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `instances`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        field(map, "instances", || Instances(self.0))
    }
}

impl<'de> Visitor<'de> for Instances<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Row(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row: a list of numbers, or an object with `features`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        Features(self.0).visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        field(map, "features", || Features(self.0))
    }
}

impl<'de> Visitor<'de> for Features<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Cell(&mut *self.0))?.is_some() {}
        self.0.end_row().map_err(|fault| self.0.fail(fault))
    }
}

impl Cell<'_> {
    fn refuse<E: Error>(self, text: String) -> Result<(), E> {
        let fault = self.0.not_a_number(text, "null");
        Err(self.0.fail(fault))
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or null")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.values.push(number);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.visit_f64(f64::NAN)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.refuse(cell::quoted(text))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.refuse(value.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.refuse("a list".to_owned())
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.refuse("an object".to_owned())
    }
}

/// Reads the one field `name` of an object; others have no meaning here and are left out.
fn field<'de, A: MapAccess<'de>, S: DeserializeSeed<'de, Value = ()>>(
    mut map: A,
    name: &'static str,
    seed: impl FnOnce() -> S,
) -> Result<(), A::Error> {
    let mut seed = Some(seed);
    while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
        if key == name {
            let seed = seed.take().ok_or_else(|| A::Error::duplicate_field(name))?;
            map.next_value_seed(seed())?;
        } else {
            map.next_value::<IgnoredAny>()?;
        }
    }
    if seed.is_some() { Err(A::Error::missing_field(name)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(media: MediaType, body: &str) -> Result<Vec<Vec<Option<f64>>>, ModelError> {
        let rows = Rows::parse(media, body.as_bytes(), 3)?;
        let shown = |value: &f64| (!value.is_nan()).then_some(*value);
        Ok(rows.iter().map(|row| row.iter().map(shown).collect()).collect())
    }

    #[test]
    fn an_empty_line_is_a_row_of_a_model_with_one_column() {
        let rows = |body: &str| {
            let rows = Rows::parse(MediaType::Csv, body.as_bytes(), 1)?;
            Ok::<_, ModelError>(rows.iter().map(|row| (!row[0].is_nan()).then_some(row[0])).collect::<Vec<_>>())
        };
        assert_eq!(rows("1\n\n2\r\n").unwrap(), [Some(1.0), None, Some(2.0)]);
        assert_eq!(rows("1\n2").unwrap(), [Some(1.0), Some(2.0)]);
        assert_eq!(rows("\n\n").unwrap(), [None, None]);
        assert!(matches!(rows(""), Err(ModelError::NoRows)));
        assert!(matches!(rows("1,2\n"), Err(ModelError::WrongWidth { row: 1, found: 2, expected: 1 })));
        assert!(matches!(rows("1\nx\n"), Err(ModelError::NotANumber { row: 2, .. })));
    }

    #[test]
    fn the_same_rows_in_every_content_type() {
        let expected = vec![vec![Some(1.0), None, Some(-2.5)], vec![Some(4.0), Some(5e-3), None]];
        for (media, body) in [
            (MediaType::Csv, "1,,-2.5\r\n4,5e-3,\n"),
            (MediaType::Csv, "1,NaN,-2.5\n\n 4 ,\"5e-3\",\"\""),
            (MediaType::Json, r#"{"instances": [[1, null, -2.5], [4, 5e-3, null]]}"#),
            (MediaType::Json, r#"{"x": [{}], "instances": [{"features": [1, null, -2.5]}, [4, 0.005, null]]}"#),
            (
                MediaType::JsonLines,
                "{\"features\": [1, null, -2.5]}\n\n{\"features\": [4, 5e-3, null], \"id\": \"a\"}\n",
            ),
            (MediaType::JsonLines, "[1, null, -2.5]\r\n[4, 5e-3, null]"),
        ] {
            assert_eq!(parse(media, body).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (media, body, reason, message) in [
            (MediaType::Csv, "1,2,3\n4,5", "wrong_width", "row 2 has 2 features, the model takes 3"),
            (
                MediaType::Csv,
                "1,2,3\n4,x,6",
                "not_a_number",
                "row 2, column 2: `x` is not a finite number; leave it empty",
            ),
            (MediaType::Csv, "\n", "no_rows", "the body has no row"),
            (MediaType::Json, r#"{"instances": [[1,2,3],[4,5,"6"]]}"#, "not_a_number", "row 2, column 3: `6` is not a"),
            (MediaType::Json, r#"{"instances": [[1,true,3]]}"#, "not_a_number", "row 1, column 2: true is not a"),
            (MediaType::Json, r#"{"instances": [[1,[2],3]]}"#, "not_a_number", "row 1, column 2: a list is not a"),
            (MediaType::Json, r#"{"instances": [[1,2,3,4]]}"#, "wrong_width", "row 1 has 4 features"),
            (MediaType::Json, r#"{"instances": [{"x": [1,2,3]}]}"#, "invalid_body", "missing field `features`"),
            (MediaType::Json, r#"{"instances": [1,2,3]}"#, "invalid_body", "expected a row: a list of numbers"),
            (MediaType::Json, r#"{"instances": [[1,2,3]]} x"#, "invalid_body", "trailing characters"),
            (MediaType::Json, r#"{"instances": [[1,2,1e999]]}"#, "invalid_body", "number out of range"),
            (MediaType::Json, r#"{"instances": []}"#, "no_rows", "no row"),
            (MediaType::Json, r#"{"rows": []}"#, "invalid_body", "missing field `instances`"),
            (MediaType::Json, "[[1,2,3]]", "invalid_body", "expected an object with `instances`"),
            (MediaType::JsonLines, "[1,2,3]\n{\"features\":[1,2,}", "invalid_body", "line 2: "),
            (MediaType::JsonLines, "[1,2,3]\n{\"features\":[1,2]}", "wrong_width", "row 2 has 2 features"),
        ] {
            let error = parse(media, body).unwrap_err();
            assert_eq!((error.reason(), error.status()), (reason, 400), "{body}: {error}");
            assert!(error.to_string().contains(message), "{body}: {error}");
        }
    }

    proptest! {
        #[test]
        fn numbers_arrive_with_the_same_bits_in_every_content_type(
            row in prop::array::uniform3(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO),
        ) {
            let [a, b, c] = row;
            for (media, body) in [
                (MediaType::Csv, format!("{a:?},{b:?},{c:?}\n")),
                (MediaType::Json, format!("{{\"instances\":[[{a:?},{b:?},{c:?}]]}}")),
                (MediaType::JsonLines, format!("{{\"features\":[{a:?},{b:?},{c:?}]}}")),
            ] {
                let read = Rows::parse(media, body.as_bytes(), 3).unwrap();
                let read: Vec<u64> = read.values.iter().map(|value| value.to_bits()).collect();
                prop_assert_eq!(read, row.map(f64::to_bits), "{}", body);
            }
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200), width in 1..4_usize) {
            for media in [MediaType::Csv, MediaType::Json, MediaType::JsonLines] {
                if let Ok(rows) = Rows::parse(media, &body, width) {
                    prop_assert!(rows.iter().count() > 0);
                }
            }
        }
    }
}
