//! Rows to the endpoint.

use bytes::Bytes;
use domain::{EndpointCalling, RowFormat};
use features::{FeatureTable, NumberText};

/// The bodies of the calls that ask for all rows: one, or more where one would be too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRows {
    /// In the rows' order; none is empty.
    pub parts: Vec<RowPart>,
    /// A row alone is larger than a call may be.
    pub too_large: bool,
}

/// One call's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPart {
    /// How many rows it has.
    pub rows: usize,
    /// The body.
    pub body: Bytes,
}

impl EndpointRows {
    /// Features in the spec's order, NULL as an empty cell or `null`; numbers as [`NumberText`] writes them.
    ///
    /// JSON is `{"instances":[{"features":[…]},…]}` and JSON lines are `{"features":[…]}`: the formats that SageMaker's
    /// built-in algorithms share
    /// (<https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html>).
    pub fn of(features: &FeatureTable, calling: &EndpointCalling) -> Self {
        let columns = features.outputs();
        let mut writer = Writer::new(calling.content_type, calling.max_body_bytes);
        writer.body.reserve((features.rows() * columns.len() * 12).min(calling.max_body_bytes));
        for row in 0..features.rows() {
            writer.row(columns.iter().map(|values| values[row]));
        }
        writer.finish()
    }

    /// The same of rows as the archive has them; `None` is NULL.
    pub fn of_archived<'a>(rows: impl IntoIterator<Item = &'a [Option<f64>]>, calling: &EndpointCalling) -> Self {
        let mut writer = Writer::new(calling.content_type, calling.max_body_bytes);
        for row in rows {
            writer.row(row.iter().map(|value| value.unwrap_or(f64::NAN)));
        }
        writer.finish()
    }
}

struct Writer {
    format: RowFormat,
    max_bytes: usize,
    done: EndpointRows,
    body: String,
    rows: usize,
    text: NumberText,
}

impl Writer {
    fn new(format: RowFormat, max_bytes: usize) -> Self {
        let done = EndpointRows { parts: Vec::new(), too_large: false };
        Self { format, max_bytes, done, body: begin(format).to_owned(), rows: 0, text: NumberText::default() }
    }

    fn row(&mut self, values: impl Iterator<Item = f64>) {
        let start = self.body.len();
        if self.rows > 0 && self.format == RowFormat::Json {
            self.body.push(',');
        }
        let row = self.body.len();
        let (before, null, after) = match self.format {
            RowFormat::Csv => ("", "", "\n"),
            RowFormat::Json => ("{\"features\":[", "null", "]}"),
            RowFormat::JsonLines => ("{\"features\":[", "null", "]}\n"),
        };
        self.body.push_str(before);
        for (column, value) in values.enumerate() {
            if column > 0 {
                self.body.push(',');
            }
            if value.is_nan() {
                self.body.push_str(null);
            } else {
                self.body.push_str(self.text.of(value));
            }
        }
        self.body.push_str(after);
        if self.rows > 0 && self.is_too_large() {
            let row = self.body[row..].to_owned();
            self.body.truncate(start);
            self.close();
            self.body.push_str(&row);
        }
        self.rows += 1;
        self.done.too_large |= self.rows == 1 && self.is_too_large();
    }

    fn is_too_large(&self) -> bool {
        self.body.len() + end(self.format).len() > self.max_bytes
    }

    fn close(&mut self) {
        self.body.push_str(end(self.format));
        let body = std::mem::replace(&mut self.body, begin(self.format).to_owned());
        self.done.parts.push(RowPart { rows: std::mem::take(&mut self.rows), body: body.into() });
    }

    fn finish(mut self) -> EndpointRows {
        if self.rows > 0 {
            self.close();
        }
        self.done
    }
}

fn begin(format: RowFormat) -> &'static str {
    if format == RowFormat::Json { "{\"instances\":[" } else { "" }
}

fn end(format: RowFormat) -> &'static str {
    if format == RowFormat::Json { "]}" } else { "" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn written(format: RowFormat, max_bytes: usize, rows: &[Vec<f64>]) -> EndpointRows {
        let mut writer = Writer::new(format, max_bytes);
        for row in rows {
            writer.row(row.iter().copied());
        }
        writer.finish()
    }

    #[test]
    fn archived_rows_are_the_rows_that_were_sent() {
        let archived = [vec![Some(1.0), None], vec![Some(0.1 + 0.2), Some(-2.5)]];
        let calling = EndpointCalling::default();
        let sent = written(calling.content_type, calling.max_body_bytes, &[vec![1.0, f64::NAN], vec![0.1 + 0.2, -2.5]]);
        assert_eq!(EndpointRows::of_archived(archived.iter().map(Vec::as_slice), &calling), sent);
    }

    #[test]
    fn each_format_has_its_null() {
        let rows = [vec![1.0, f64::NAN], vec![0.1 + 0.2, -2.5]];
        for (format, body) in [
            (RowFormat::Csv, "1,\n0.30000000000000004,-2.5\n"),
            (RowFormat::Json, r#"{"instances":[{"features":[1,null]},{"features":[0.30000000000000004,-2.5]}]}"#),
            (RowFormat::JsonLines, "{\"features\":[1,null]}\n{\"features\":[0.30000000000000004,-2.5]}\n"),
        ] {
            let rows = written(format, 1000, &rows);
            assert_eq!(rows.parts, [RowPart { rows: 2, body: body.into() }], "{format:?}");
        }
    }

    /// The rows of a body, read by other means.
    fn read(format: RowFormat, body: &[u8]) -> Vec<Vec<Option<f64>>> {
        let text = std::str::from_utf8(body).unwrap();
        let row = |value: &Value| -> Vec<Option<f64>> {
            value["features"].as_array().unwrap().iter().map(Value::as_f64).collect()
        };
        match format {
            RowFormat::Csv => {
                text.lines().map(|line| line.split(',').map(|cell| cell.parse().ok()).collect()).collect()
            }
            RowFormat::Json => {
                serde_json::from_str::<Value>(text).unwrap()["instances"].as_array().unwrap().iter().map(row).collect()
            }
            RowFormat::JsonLines => text.lines().map(|line| row(&serde_json::from_str(line).unwrap())).collect(),
        }
    }

    proptest! {
        #[test]
        fn parts_fit_and_joined_are_the_rows(
            rows in prop::collection::vec(prop::array::uniform3(
                prop_oneof![prop::num::f64::NORMAL | prop::num::f64::ZERO, Just(f64::NAN)]), 1..20),
            max_bytes in 1_usize..2_000,
            format in prop_oneof![Just(RowFormat::Csv), Just(RowFormat::Json), Just(RowFormat::JsonLines)],
        ) {
            let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.to_vec()).collect();
            let split = written(format, max_bytes, &rows);
            let too_large = rows.iter().any(|row| {
                written(format, usize::MAX, std::slice::from_ref(row)).parts[0].body.len() > max_bytes
            });
            prop_assert_eq!(split.too_large, too_large);
            let mut joined = Vec::new();
            for part in &split.parts {
                prop_assert!(part.rows == 1 || part.body.len() <= max_bytes);
                let read = read(format, &part.body);
                prop_assert_eq!(read.len(), part.rows);
                joined.extend(read);
            }
            let bits = |value: Option<f64>| value.filter(|value| !value.is_nan()).map(f64::to_bits);
            let joined: Vec<Vec<_>> = joined.into_iter().map(|row| row.into_iter().map(bits).collect()).collect();
            let sent: Vec<Vec<_>> = rows.into_iter().map(|row| row.into_iter().map(|v| bits(Some(v))).collect()).collect();
            prop_assert_eq!(joined, sent);
        }
    }
}
