//! What is expected of a dataset, and whether it is so. Nothing that fails is published.

use std::{collections::BTreeMap, fmt::Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    manifest::{Column, Manifest},
    statistics::ColumnStatistics,
};

/// What is declared of a dataset (`[expect]` in `dataset.toml`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expectations {
    /// The fewest rows.
    pub min_rows: Option<u64>,
    /// The most rows.
    pub max_rows: Option<u64>,
    /// By what share of the version in use the number of rows may differ from it: 0.2 is a fifth.
    pub max_row_change: Option<f64>,
    /// Columns whose values, taken together, no two rows may share. Rows with a NULL in them are not looked at.
    pub unique: Vec<Vec<String>>,
    /// How old the newest row may be.
    pub freshness: Option<Freshness>,
    /// By column.
    pub columns: BTreeMap<String, ColumnExpectations>,
}

/// How old the newest row may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// A column of type TIMESTAMP, DATETIME or DATE (as UTC).
    pub column: String,
    /// The most seconds from its greatest value to the extract's `as_of`, or to when it was planned where the query does not
    /// name `@as_of`. A greatest value that is later than that is not fresh, but wrong.
    pub max_age_s: u64,
}

/// How far the newest row may be ahead of the state that it is of: clocks differ, and a query begins after it was planned.
const MAX_AHEAD_S: u64 = 60;

/// What is declared of a column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnExpectations {
    /// Its type, as SQL names it.
    #[serde(rename = "type")]
    pub of: Option<String>,
    /// The least that a value may be.
    pub min: Option<f64>,
    /// The most that a value may be.
    pub max: Option<f64>,
    /// The largest share of rows without a value. 0: none.
    pub max_null_share: Option<f64>,
    /// The only texts that there may be.
    pub allowed: Option<Vec<String>>,
}

/// One expectation, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The column, or columns; nothing where it is of all rows.
    pub column: String,
    /// What is expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Whether it holds.
    pub passed: bool,
}

/// The checks that failed, as a table.
pub fn failed_table(checks: &[Check]) -> String {
    let failed: Vec<&Check> = checks.iter().filter(|check| !check.passed).collect();
    let width = |of: fn(&Check) -> &str, title: &str| {
        failed.iter().map(|check| of(check).chars().count()).chain([title.len()]).max().unwrap_or(0)
    };
    let (column, expected) = (width(Check::subject, "column"), width(|check| &check.expected, "expected"));
    let mut table = format!("  {:column$}  {:expected$}  found", "column", "expected");
    for check in failed {
        _ = write!(table, "\n  {:column$}  {:expected$}  {}", check.subject(), check.expected, check.found);
    }
    table
}

impl Check {
    /// What it is of, for people: the column, or all rows.
    fn subject(&self) -> &str {
        if self.column.is_empty() { "all rows" } else { &self.column }
    }
}

/// What a version-to-be is.
pub(crate) struct Found<'a> {
    pub(crate) schema: &'a [Column],
    pub(crate) rows: u64,
    pub(crate) statistics: &'a [ColumnStatistics],
    /// What the rows show the state of, UTC.
    pub(crate) state_at: Timestamp,
    /// Rows beyond the first with the same values, by unique rule.
    pub(crate) repeated: &'a [u64],
    /// The version in use.
    pub(crate) in_use: Option<&'a Manifest>,
}

impl Expectations {
    /// What cannot be checked for any rows of these columns, in words.
    pub(crate) fn contradictions(&self, schema: &[Column]) -> Vec<String> {
        let named = self.columns.keys().chain(self.unique.iter().flatten());
        let named = named.chain(self.freshness.iter().map(|freshness| &freshness.column));
        let unknown = named.filter(|name| !schema.iter().any(|column| column.name == **name));
        let mut told: Vec<String> = unknown.map(|name| format!("there is no column `{name}`")).collect();
        told.sort();
        told.dedup();
        told
    }

    /// Holds what was found against what is expected.
    pub(crate) fn check(&self, found: &Found<'_>) -> Vec<Check> {
        let mut checks = Vec::new();
        let mut check = |column: &str, expected: String, found: String, passed: bool| {
            checks.push(Check { column: column.to_owned(), expected, found, passed });
        };
        let rows = found.rows;
        if let Some(min) = self.min_rows {
            check("", format!("at least {min} rows"), rows.to_string(), rows >= min);
        }
        if let Some(max) = self.max_rows {
            check("", format!("at most {max} rows"), rows.to_string(), rows <= max);
        }
        if let (Some(share), Some(before)) = (self.max_row_change, found.in_use) {
            let change = (rows as f64 - before.identity.rows as f64) / (before.identity.rows as f64).max(1.0);
            let expected = format!("within {:.1} % of the {} rows in use", share * 100.0, before.identity.rows);
            check("", expected, format!("{rows}, {:+.1} %", change * 100.0), change.abs() <= share);
        }
        for (columns, repeated) in self.unique.iter().zip(found.repeated) {
            let found = if *repeated == 0 { "unique".to_owned() } else { format!("{repeated} rows repeat another") };
            check(&columns.join(", "), "unique".to_owned(), found, *repeated == 0);
        }
        let statistics = |name: &str| found.statistics.iter().find(|column| column.name == name);
        if let Some(Freshness { column, max_age_s }) = &self.freshness
            && let Some(of) = statistics(column)
        {
            let (told, passed) = freshness(of, found.state_at, *max_age_s);
            check(column, format!("newest at most {max_age_s} s before {}", found.state_at), told, passed);
        }
        for (name, expected) in &self.columns {
            let Some(column) = statistics(name) else { continue };
            let nullable = found.schema.iter().find(|column| column.name == *name);
            check_column(name, expected, column, nullable.map_or("", |column| &column.of), &mut check);
        }
        checks
    }
}

fn freshness(column: &ColumnStatistics, state_at: Timestamp, max_age_s: u64) -> (String, bool) {
    let unit_us = match column.of.as_str() {
        "TIMESTAMP" | "DATETIME" => 1.0,
        "DATE" => 86_400e6,
        other => return (format!("a column of type {other}"), false),
    };
    match column.numbers.as_ref().and_then(|numbers| numbers.max) {
        Some(newest) => {
            let age_s = (state_at.as_microsecond() as f64 - newest * unit_us) / 1e6;
            if age_s < -(MAX_AHEAD_S as f64) {
                return (format!("{}, {:.0} s after it", column.show(newest), -age_s), false);
            }
            (format!("{}, {age_s:.0} s", column.show(newest)), age_s <= max_age_s as f64)
        }
        None => ("no value".to_owned(), false),
    }
}

fn check_column(
    name: &str,
    expected: &ColumnExpectations,
    column: &ColumnStatistics,
    of: &str,
    check: &mut impl FnMut(&str, String, String, bool),
) {
    if let Some(wanted) = &expected.of {
        check(name, format!("type {wanted}"), of.to_owned(), wanted.eq_ignore_ascii_case(of));
    }
    if let Some(share) = expected.max_null_share {
        let found = column.nulls as f64 / (column.rows as f64).max(1.0);
        let told = format!("{} of {} rows, {:.2} %", column.nulls, column.rows, found * 100.0);
        check(name, format!("at most {:.2} % NULL", share * 100.0), told, found <= share);
    }
    let numbers = column.numbers.as_ref();
    let least_and_most = [("at least", expected.min, true), ("at most", expected.max, false)];
    for (word, bound, least) in least_and_most {
        let Some(bound) = bound else { continue };
        let expected = format!("{word} {bound}");
        let Some(numbers) = numbers else {
            check(name, expected, format!("a column of type {of}"), false);
            continue;
        };
        let extreme = if least { numbers.min } else { numbers.max };
        let holds = extreme.is_none_or(|value| if least { value >= bound } else { value <= bound });
        let told = extreme.map_or_else(|| "no value".to_owned(), |value| column.show(value));
        // What is no number is in no range.
        let told = if numbers.nan > 0 { format!("{told}, and {} NaN", numbers.nan) } else { told };
        check(name, expected, told, holds && numbers.nan == 0);
    }
    if let Some(allowed) = &expected.allowed {
        let counts = column.texts.as_ref().map(|texts| texts.counts.as_ref());
        let (told, passed) = match counts {
            None => (format!("a column of type {of}"), false),
            Some(None) => (format!("more than {} texts", crate::statistics::MAX_TEXTS), false),
            Some(Some(counts)) => {
                let others: Vec<&str> =
                    counts.keys().filter(|text| !allowed.contains(text)).map(String::as_str).collect();
                let told =
                    if others.is_empty() { "no other".to_owned() } else { format!("also {}", others.join(", ")) };
                (told, others.is_empty())
            }
        };
        check(name, format!("one of {}", allowed.join(", ")), told, passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cells::Cells, statistics::Numbers};

    fn column(name: &str, of: &str, nulls: u64, min: f64, max: f64) -> ColumnStatistics {
        let numbers = Numbers { min: Some(min), max: Some(max), nan: 0, sum: 0.0, cells: Cells::default() };
        let (name, of) = (name.to_owned(), of.to_owned());
        ColumnStatistics { name, of, rows: 10, nulls, numbers: Some(numbers), texts: None }
    }

    fn checked(toml_like: serde_json::Value) -> Vec<(String, bool)> {
        let expectations: Expectations = serde_json::from_value(toml_like).unwrap();
        let state_at: Timestamp = "2026-01-31T00:00:10Z".parse().unwrap();
        let statistics = [
            column("x", "INT64", 1, -1.0, 9.0),
            column("t", "TIMESTAMP", 0, 0.0, state_at.as_microsecond() as f64 - 5e6),
        ];
        let schema: Vec<Column> = statistics
            .iter()
            .map(|column| Column { name: column.name.clone(), of: column.of.clone(), nullable: true })
            .collect();
        let found =
            Found { schema: &schema, rows: 10, statistics: &statistics, state_at, repeated: &[0, 3], in_use: None };
        assert!(expectations.contradictions(&schema).is_empty());
        expectations.check(&found).into_iter().map(|check| (check.expected, check.passed)).collect()
    }

    #[test]
    fn each_expectation_can_hold_and_fail() {
        let holds = checked(serde_json::json!({
            "min_rows": 10, "max_rows": 10, "unique": [["x"]], "freshness": {"column": "t", "max_age_s": 5},
            "columns": {"x": {"type": "int64", "min": -1, "max": 9, "max_null_share": 0.1}},
        }));
        assert_eq!(holds.len(), 8);
        assert!(holds.iter().all(|(_, passed)| *passed), "{holds:?}");
        let fails = checked(serde_json::json!({
            "min_rows": 11, "max_rows": 9, "unique": [["t"], ["x", "t"]], "freshness": {"column": "t", "max_age_s": 4},
            "columns": {"x": {"type": "FLOAT64", "min": 0, "max": 8, "max_null_share": 0.09, "allowed": ["a"]}},
        }));
        let passed: Vec<&String> = fails.iter().filter(|(_, passed)| *passed).map(|(expected, _)| expected).collect();
        assert_eq!(passed, ["unique"], "only the first rule: {fails:?}");
    }

    #[test]
    fn what_is_declared_of_no_column_is_told() {
        let expectations = Expectations { unique: vec![vec!["y".to_owned()]], ..Expectations::default() };
        assert_eq!(expectations.contradictions(&[]), ["there is no column `y`"]);
        assert!(serde_json::from_str::<Expectations>(r#"{"min_row": 1}"#).is_err());
    }

    #[test]
    fn a_refusal_is_a_table() {
        let check = |column: &str, passed| Check {
            column: column.to_owned(),
            expected: "at least 1 rows".to_owned(),
            found: "0".to_owned(),
            passed,
        };
        let table = failed_table(&[check("drive_s", false), check("x", true)]);
        assert_eq!(table, "  column   expected         found\n  drive_s  at least 1 rows  0");
        let table = failed_table(&[check("", false)]);
        assert_eq!(table, "  column    expected         found\n  all rows  at least 1 rows  0", "it is of no column");
    }
}
