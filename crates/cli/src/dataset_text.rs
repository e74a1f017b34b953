//! `mannen dataset`'s results as text.

use std::fmt::Write;

use datasets::{ColumnStatistics, Diff, GcReport, ListedVersion, Manifest};

use crate::terminal::{grouped, strong};

/// As much of an address as people compare.
fn short(address: &str) -> &str {
    address.get(..12).unwrap_or(address)
}

pub(crate) fn versions(versions: &[ListedVersion]) -> String {
    if versions.is_empty() {
        return "there is no version; `mannen dataset extract` makes one".to_owned();
    }
    let mut text = format!("{:12}  {:25}  {:>14}  {:>14}", "version", "as of", "rows", "bytes");
    for version in versions {
        let as_of =
            version.as_of.map_or_else(|| "–".to_owned(), |as_of| as_of.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let (rows, bytes) = (grouped(version.rows), grouped(version.bytes));
        _ = write!(text, "\n{:12}  {as_of:25}  {rows:>14}  {bytes:>14}", short(&version.address));
        if version.in_use {
            _ = write!(text, "  {}", strong("in use"));
        }
        if !version.pins.is_empty() {
            _ = write!(text, "  pinned as {}", version.pins.join(", "));
        }
    }
    text
}

pub(crate) fn manifest(manifest: &Manifest) -> String {
    let identity = &manifest.identity;
    let mut text = format!("{} {}\n", strong(&identity.dataset), manifest.address);
    let as_of = identity.origin.as_of.map_or_else(|| "–".to_owned(), |as_of| as_of.to_string());
    _ = writeln!(text, "  from {}, job {}, as of {as_of}", identity.origin.source, manifest.job);
    for (name, parameter) in &identity.origin.parameters {
        _ = writeln!(text, "  @{name} = {} ({})", parameter.value, parameter.of.name());
    }
    let (rows, bytes) = (grouped(identity.rows), grouped(manifest.bytes));
    _ = writeln!(
        text,
        "  {rows} rows, {bytes} bytes, {} file(s), {} check(s) passed",
        manifest.files.len(),
        manifest.checks.len()
    );
    let width = manifest.statistics.iter().map(|column| column.name.len()).max().unwrap_or(0);
    for column in &manifest.statistics {
        _ = write!(
            text,
            "\n  {:width$}  {:10}  {:>5.1} % NULL  {}",
            column.name,
            column.of,
            nulls(column),
            figures(column)
        );
    }
    text
}

fn nulls(column: &ColumnStatistics) -> f64 {
    100.0 * column.nulls as f64 / (column.rows as f64).max(1.0)
}

fn figures(column: &ColumnStatistics) -> String {
    if let Some(numbers) = &column.numbers {
        let show = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), |number| column.show(number));
        return format!("{} … {}, mean {}", show(numbers.min), show(numbers.max), show(column.mean()));
    }
    match column.texts.as_ref().map(|texts| texts.counts.as_ref()) {
        Some(Some(counts)) if counts.len() <= 8 => {
            counts.iter().map(|(text, count)| format!("{text} {}", grouped(*count))).collect::<Vec<_>>().join(", ")
        }
        Some(Some(counts)) => format!("{} different", counts.len()),
        Some(None) => format!("more than {} different", datasets::MAX_TEXTS),
        None => String::new(),
    }
}

/// A distance from which on a column's distribution is told to differ.
const NOTABLE: f64 = 0.05;

pub(crate) fn differences(diff: &Diff) -> usize {
    if diff.is_none() {
        return 0;
    }
    let columns = diff.columns.iter().filter(|column| column.distance.is_some_and(|distance| distance >= NOTABLE));
    (diff.schema.len() + diff.origin.len() + usize::from(diff.rows.0 != diff.rows.1) + columns.count()).max(1)
}

pub(crate) fn diff(diff: &Diff) -> String {
    if diff.from == diff.to {
        return "they are the same version".to_owned();
    }
    let as_of = |as_of: Option<jiff::Timestamp>| as_of.map_or_else(|| "–".to_owned(), |as_of| as_of.to_string());
    let as_of = format!("as of {} → {}", as_of(diff.as_of.0), as_of(diff.as_of.1));
    let mut text = format!("{} → {}\n  {as_of}\n", short(&diff.from), short(&diff.to));
    if diff.is_none() {
        _ = write!(text, "  the same query, and the same {} rows", grouped(diff.rows.0));
        return text;
    }
    for line in diff.schema.iter().chain(&diff.origin) {
        _ = writeln!(text, "  {line}");
    }
    let change = 100.0 * (diff.rows.1 as f64 / (diff.rows.0 as f64).max(1.0) - 1.0);
    _ = writeln!(text, "  rows {} → {} ({change:+.1} %)", grouped(diff.rows.0), grouped(diff.rows.1));
    let width = diff.columns.iter().map(|column| column.name.len()).max().unwrap_or(0).max(6);
    _ = write!(text, "\n  {:width$}  {:>8}  {:>17}  mean", "column", "distance", "NULL");
    for column in &diff.columns {
        let distance = column.distance.map_or_else(|| "–".to_owned(), |distance| format!("{distance:.3}"));
        let nulls = format!("{:.2} → {:.2} %", 100.0 * column.null_share.0, 100.0 * column.null_share.1);
        let mean = match column.mean {
            (Some(from), Some(to)) if column.is_of_numbers() => format!("{from:.4} → {to:.4}"),
            (Some(from), Some(to)) => format!("{} → {}", column.show(from.round()), column.show(to.round())),
            _ => String::new(),
        };
        _ = write!(text, "\n  {:width$}  {distance:>8}  {nulls:>17}  {mean}", column.name);
    }
    text
}

pub(crate) fn gc(report: &GcReport) -> String {
    let verb = if report.dry_run { "would go (--delete deletes)" } else { "went" };
    let mut text = format!(
        "{} version(s) and the remains of {} extract(s): {} objects, {} bytes {verb}; {} version(s) and {} extract(s) stay",
        report.versions.len(),
        report.extracts.len(),
        grouped(report.objects),
        grouped(report.bytes),
        report.kept_versions,
        report.kept_extracts,
    );
    for address in &report.versions {
        _ = write!(text, "\n  {address}");
    }
    text
}
