//! Rows to the endpoint and predictions back, as `text/csv`.

use std::fmt::Write;

use features::FeatureTable;

/// One line per row, features in the spec's order, NULL as an empty cell; numbers in the shortest form that reads back
/// as the same bits.
pub(crate) fn to_csv(features: &FeatureTable) -> String {
    let mut csv = String::with_capacity(features.rows() * features.outputs().len() * 12);
    for row in 0..features.rows() {
        for (column, values) in features.outputs().iter().enumerate() {
            if column > 0 {
                csv.push(',');
            }
            if !values[row].is_nan() {
                _ = write!(csv, "{}", values[row]);
            }
        }
        csv.push('\n');
    }
    csv
}

/// The predictions of a `text/csv` answer: one number per row, separated by newlines or commas. `None` where there are
/// not exactly `rows` finite numbers.
pub(crate) fn from_csv(body: &[u8], rows: usize) -> Option<Vec<f64>> {
    let text = std::str::from_utf8(body).ok()?;
    let cells = text.trim_end().split(['\n', ',']);
    let predictions = cells
        .map(|cell| cell.trim().parse::<f64>().ok().filter(|value| value.is_finite()))
        .collect::<Option<Vec<f64>>>()?;
    (predictions.len() == rows).then_some(predictions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_and_commas() {
        assert_eq!(from_csv(b"1.5\n2\n", 2), Some(vec![1.5, 2.0]));
        assert_eq!(from_csv(b"1.5,2", 2), Some(vec![1.5, 2.0]));
        assert_eq!(from_csv(b"1.5\r\n2\r\n", 2), Some(vec![1.5, 2.0]));
    }

    #[test]
    fn refuses_garbage_and_another_number_of_rows() {
        for body in [&b""[..], b"1.5", b"1.5\n2\n3", b"1.5\nNaN", b"1.5\ninf", b"<html>", b"\xff\xfe", b"1.5\n\n2"] {
            assert_eq!(from_csv(body, 2), None, "{body:?}");
        }
    }
}
