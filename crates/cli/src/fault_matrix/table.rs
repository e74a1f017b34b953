//! The table that people read.

use std::fmt::Write;

use super::Row;

const HEADER: [&str; 8] =
    ["fault", "second endpoint", "requests", "200", "latest − deadline, ms", "archived", "kept", "tier: reason"];

/// One line per row, columns aligned; what is broken under its row.
pub(super) fn text(rows: &[Row]) -> String {
    let cells: Vec<[String; 8]> = rows.iter().map(cells).collect();
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.chain([HEADER[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&HEADER.map(str::to_owned));
    for (row, cells) in rows.iter().zip(&cells) {
        line(cells);
        for broken in &row.broken {
            line(&[format!("    {broken}")]);
        }
    }
    text
}

fn cells(row: &Row) -> [String; 8] {
    let tiers: Vec<&str> = row.tiers.keys().copied().collect();
    let reasons: Vec<&str> = row.reasons.keys().map(String::as_str).collect();
    let separator = if reasons.is_empty() { "" } else { ": " };
    [
        row.fault.to_owned(),
        row.second.to_owned(),
        row.requests.to_string(),
        row.answered.to_string(),
        format!("{:.1}", row.latest_past_deadline_ms),
        row.archived.to_string(),
        if row.broken.is_empty() { "yes" } else { "NO" }.to_owned(),
        format!("{}{separator}{}", tiers.join(", "), reasons.join(", ")),
    ]
}
