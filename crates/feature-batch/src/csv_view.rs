//! The training view as CSV: no header, label first, an empty cell for what is missing.

use features::NumberText;

/// Appends the rows that `keep` says.
pub(crate) fn write(csv: &mut Vec<u8>, label: &[f64], outputs: &[Vec<f64>], keep: impl Fn(usize) -> bool) {
    let mut text = NumberText::default();
    let mut number = |csv: &mut Vec<u8>, value: f64| csv.extend_from_slice(text.of(value).as_bytes());
    for row in (0..label.len()).filter(|&row| keep(row)) {
        number(csv, label[row]);
        for column in outputs {
            csv.push(b',');
            if !column[row].is_nan() {
                number(csv, column[row]);
            }
        }
        csv.push(b'\n');
    }
}
