//! Predictions back from the endpoint.

use cloud::endpoint::Answer;
use domain::RowFormat;
use serde::Deserialize;

/// Why an answer cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFault {
    /// Another media type, or not what it says, or a number that is not finite.
    Garbage,
    /// Good numbers, but not one per row.
    RowCount,
}

impl AnswerFault {
    /// A stable code for records, logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Garbage => "endpoint_garbage",
            Self::RowCount => "endpoint_row_count",
        }
    }
}

/// The predictions of an answer for `rows` rows, read by its own `Content-Type`, or as what was `accepted` where it has none.
///
/// Taken are what SageMaker's built-in containers write
/// (<https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html>): CSV, numbers separated by newlines or commas; JSON
/// `{"predictions":[…]}` or a plain list; JSON lines. A prediction in JSON is a number, a list of one, or an object with
/// `score` or `prediction`.
pub fn read(answer: &Answer, accepted: RowFormat, rows: usize) -> Result<Vec<f64>, AnswerFault> {
    let format = answer.content_type.as_deref().map_or(Some(accepted), format_of).ok_or(AnswerFault::Garbage)?;
    let predictions = match format {
        RowFormat::Csv => csv(&answer.body),
        RowFormat::Json => json(&answer.body),
        RowFormat::JsonLines => json_lines(&answer.body),
    };
    let predictions = predictions.filter(|predictions| predictions.iter().all(|value| value.is_finite()));
    let predictions = predictions.ok_or(AnswerFault::Garbage)?;
    if predictions.len() == rows { Ok(predictions) } else { Err(AnswerFault::RowCount) }
}

fn format_of(content_type: &str) -> Option<RowFormat> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    [RowFormat::Csv, RowFormat::Json, RowFormat::JsonLines]
        .into_iter()
        .find(|format| format.media_type().eq_ignore_ascii_case(essence))
}

fn csv(body: &[u8]) -> Option<Vec<f64>> {
    let text = std::str::from_utf8(body).ok()?.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(['\n', ',']).map(|cell| cell.trim().parse().ok()).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Named { predictions: Vec<Cell> },
    Plain(Vec<Cell>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    Number(f64),
    Single([f64; 1]),
    Named {
        #[serde(alias = "prediction")]
        score: f64,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    One(Cell),
    Some(Document),
}

impl Document {
    fn into_cells(self) -> Vec<Cell> {
        match self {
            Self::Named { predictions } | Self::Plain(predictions) => predictions,
        }
    }
}

impl Cell {
    fn value(&self) -> f64 {
        match self {
            Self::Number(value) | Self::Single([value]) | Self::Named { score: value } => *value,
        }
    }
}

fn json(body: &[u8]) -> Option<Vec<f64>> {
    let document: Document = serde_json::from_slice(body).ok()?;
    Some(document.into_cells().iter().map(Cell::value).collect())
}

fn json_lines(body: &[u8]) -> Option<Vec<f64>> {
    let mut predictions = Vec::new();
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        match serde_json::from_slice(line).ok()? {
            Line::One(cell) => predictions.push(cell.value()),
            Line::Some(document) => predictions.extend(document.into_cells().iter().map(Cell::value)),
        }
    }
    Some(predictions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn two(content_type: Option<&str>, body: &[u8]) -> Result<Vec<f64>, AnswerFault> {
        let content_type = content_type.map(str::to_owned);
        read(&Answer { invoked_variant: None, content_type, body: body.to_vec().into() }, RowFormat::Csv, 2)
    }

    #[test]
    fn what_built_in_containers_write() {
        for (content_type, body) in [
            (None, "1.5\n2\n"),
            (Some("text/csv"), "1.5\r\n2\r\n"),
            (Some("Text/CSV; charset=utf-8"), "1.5,2"),
            (Some("application/json"), r#"{"predictions":[{"score":1.5},{"score":2.0}]}"#),
            (Some("application/json"), r#"{"predictions":[{"score":1.5,"predicted_label":1},{"score":2}],"x":{}}"#),
            (Some("application/json"), r#"{"predictions":[1.5,2]}"#),
            (Some("application/json"), r#"{"predictions":[[1.5],[2]]}"#),
            (Some("application/json; charset=utf-8"), "[1.5, 2]"),
            (Some("application/json"), "[[1.5], [2]]"),
            (Some("application/jsonlines"), "{\"score\":1.5}\n{\"score\":2}\n"),
            (Some("application/jsonlines"), "{\"prediction\":1.5}\n\n{\"prediction\":2}"),
            (Some("application/jsonlines"), "1.5\r\n[2]\r\n"),
            (Some("application/jsonlines"), "{\"predictions\":[{\"score\":1.5},{\"score\":2}]}"),
        ] {
            assert_eq!(two(content_type, body.as_bytes()), Ok(vec![1.5, 2.0]), "{content_type:?} {body}");
        }
    }

    #[test]
    fn garbage_and_another_number_of_rows_are_told_apart() {
        let (garbage, row_count) = (AnswerFault::Garbage, AnswerFault::RowCount);
        let (json, lines) = (Some("application/json"), Some("application/jsonlines"));
        for (content_type, body, fault) in [
            (None, &b"1.5"[..], row_count),
            (None, b"", row_count),
            (None, b"1.5\n2\n3", row_count),
            (None, b"1.5\nNaN", garbage),
            (None, b"1.5\ninf", garbage),
            (None, b"<html>", garbage),
            (None, b"\xff\xfe", garbage),
            (None, b"1.5\n\n2", garbage),
            (Some("text/html"), b"1.5\n2\n", garbage),
            (Some("application/octet-stream"), b"1.5\n2\n", garbage),
            (json, b"1.5\n2\n", garbage),
            (json, b"[1.5]", row_count),
            (json, b"{\"predictions\":[]}", row_count),
            (json, b"[1.5, null]", garbage),
            (json, b"[1.5, \"2\"]", garbage),
            (json, b"[1.5, 1e999]", garbage),
            (json, b"[1.5, [2, 3]]", garbage),
            (json, b"{\"error\":\"no\"}", garbage),
            (lines, b"{\"score\":1.5}", row_count),
            (lines, b"{\"score\":1.5}\n{", garbage),
        ] {
            assert_eq!(two(content_type, body), Err(fault), "{content_type:?} {}", String::from_utf8_lossy(body));
        }
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 1..20)) {
            let lines: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            for (format, body) in [
                (RowFormat::Csv, lines.join("\n")),
                (RowFormat::Json, format!("{{\"predictions\":[{}]}}", lines.join(","))),
                (RowFormat::JsonLines, lines.join("\n")),
            ] {
                let answer = Answer { invoked_variant: None, content_type: None, body: body.into() };
                let read = read(&answer, format, values.len()).unwrap();
                let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&read), bits(&values));
            }
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..100), rows in 0_usize..4) {
            for format in [RowFormat::Csv, RowFormat::Json, RowFormat::JsonLines] {
                let answer = Answer { invoked_variant: None, content_type: None, body: body.clone().into() };
                if let Ok(predictions) = read(&answer, format, rows) {
                    prop_assert_eq!(predictions.len(), rows);
                }
            }
        }
    }
}
