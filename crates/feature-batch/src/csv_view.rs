//! The training view as CSV: no header, label first, an empty cell for what is missing.

/// Appends the rows that `keep` says. Numbers are written in the shortest form that reads back as the same bits.
pub(crate) fn write(csv: &mut Vec<u8>, label: &[f64], outputs: &[Vec<f64>], keep: impl Fn(usize) -> bool) {
    let (mut whole, mut double) = (itoa::Buffer::new(), zmij::Buffer::new());
    let mut number = |csv: &mut Vec<u8>, value: f64| {
        // `7`, not `7.0`; but zero keeps its sign.
        let text = if value.fract() == 0.0 && value.abs() < 1e15 && (value != 0.0 || value.is_sign_positive()) {
            whole.format(value as i64)
        } else {
            double.format(value)
        };
        csv.extend_from_slice(text.as_bytes());
    };
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
