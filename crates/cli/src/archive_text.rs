//! What `mannen archive` tells people.

use std::{collections::BTreeMap, fmt::Write};

use domain::Hour;
use result_archiver::keeping::{ArchiveStats, Found, GcReport, HourReport, VerifyReport};
use serde::Serialize;

use crate::terminal::{grouped, strong};

/// Lines of a long list that are shown; `--json` has them all.
const MAX_LISTED: usize = 20;

/// A table: the first column to the left, numbers to the right.
fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let width = widths[column];
            _ = if column == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.trim_end().to_owned()
    };
    let mut text = strong(line(heads)) + "\n";
    for row in rows {
        text += &line(&row.iter().map(String::as_str).collect::<Vec<_>>());
        text.push('\n');
    }
    text
}

fn hours(first: Hour, last: Hour) -> String {
    format!("{first} … {last}")
}

pub(crate) fn stats(stats: &ArchiveStats) -> String {
    let rows: Vec<_> = stats
        .tables
        .iter()
        .map(|of| {
            vec![of.table.clone(), grouped(of.hours), grouped(of.rows), grouped(of.bytes), hours(of.first, of.last)]
        })
        .collect();
    let mut text = table(&["archive", "hours", "rows", "bytes", "from … to (UTC)"], &rows);
    let mut rows: Vec<_> = stats
        .landing
        .iter()
        .map(|(kind, of)| vec![format!("landing/{kind}"), grouped(of.objects), grouped(of.bytes)])
        .collect();
    rows.push(vec!["segments".to_owned(), grouped(stats.segments.objects), grouped(stats.segments.bytes)]);
    text = text + "\n" + &table(&["waiting", "objects", "bytes"], &rows);
    let mut rows: Vec<_> =
        stats.quarantine.iter().map(|(reason, lines)| vec![reason.clone(), grouped(*lines)]).collect();
    rows.push(vec!["whole objects".to_owned(), grouped(stats.quarantined_objects)]);
    text = text + "\n" + &table(&["quarantine", "count"], &rows);
    for of in stats.tables.iter().filter(|of| of.hours_ahead > 0) {
        _ = writeln!(text, "\n{} hours of {} lie ahead of now: some clock is wrong", of.hours_ahead, of.table);
    }
    text.trim_end().to_owned()
}

pub(crate) fn verify(report: &VerifyReport) -> String {
    let optional = |number: Option<u64>| number.map_or_else(String::new, grouped);
    let mut rows = Vec::new();
    let mut by_table: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for hour in &report.hours {
        by_table.entry(&hour.table).or_default().push(hour);
    }
    for (name, hours) in by_table {
        let sum = |of: fn(&&HourReport) -> u64| grouped(hours.iter().map(of).sum());
        let told = |of: fn(&&HourReport) -> Option<u64>| optional(hours.iter().filter_map(of).reduce(|a, b| a + b));
        rows.push(vec![
            name.to_owned(),
            grouped(hours.len() as u64),
            sum(|hour| hour.archived),
            sum(|hour| hour.in_segments),
            sum(|hour| hour.in_landing),
            sum(|hour| hour.quarantined),
            told(|hour| hour.without_prediction),
            told(|hour| hour.missing),
        ]);
    }
    let heads =
        ["table", "hours", "archived", "in segments", "in landing", "quarantined", "without prediction", "missing"];
    let mut text = table(&heads, &rows);
    if report.hours_ahead > 0 {
        _ = writeln!(text, "{} hours lie ahead of now: some clock is wrong", report.hours_ahead);
    }
    for trouble in report.troubles.iter().take(MAX_LISTED) {
        _ = writeln!(text, "{}  {}: {}", strong(&trouble.reason), trouble.key, trouble.detail);
    }
    if report.troubles.is_empty() {
        text += "nothing is lost, nothing is there twice";
    } else if report.troubles.len() > MAX_LISTED {
        _ = writeln!(text, "… and {} more; --json lists them all", report.troubles.len() - MAX_LISTED);
    }
    text.trim_end().to_owned()
}

pub(crate) fn query(found: &Found) -> String {
    let mut text = String::new();
    match (&found.record, found.place) {
        (Some(record), Some(place)) => {
            _ = writeln!(text, "{} ({place:?}, hour {})", strong("prediction"), record.hour());
            text += &pretty(record);
        }
        _ => _ = write!(text, "no record of {}", found.prediction_id),
    }
    match &found.outcome {
        Some(outcome) => {
            _ = write!(text, "\n{} ({} events)\n{}", strong("outcome"), found.outcome_events.len(), pretty(outcome));
        }
        None => text += "\nno outcome yet",
    }
    for inference in &found.inferences {
        _ = write!(
            text,
            "\n{} ({})\n{}",
            strong("recorded by SageMaker"),
            inference.source.as_str(),
            pretty(inference)
        );
    }
    text
}

fn pretty<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

pub(crate) fn gc(report: &GcReport) -> String {
    let listed = report.garbage.iter().take(MAX_LISTED);
    let rows: Vec<_> =
        listed.map(|garbage| vec![garbage.key.clone(), grouped(garbage.bytes), garbage.reason.to_owned()]).collect();
    let mut text = if rows.is_empty() { String::new() } else { table(&["object", "bytes", "why"], &rows) };
    if report.garbage.len() > MAX_LISTED {
        _ = writeln!(text, "… and {} more; --json lists them all", report.garbage.len() - MAX_LISTED);
    }
    let (count, bytes) = (grouped(report.garbage.len() as u64), grouped(report.bytes));
    let verb = if report.dry_run { "may go; --delete deletes them" } else { "are deleted" };
    _ = write!(text, "{count} objects, {bytes} bytes {verb}; {} releases stay", report.releases_kept);
    if report.releases_spared > 0 {
        _ = write!(text, ", {} are too young or cannot be read", report.releases_spared);
    }
    text
}
