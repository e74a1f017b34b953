//! What differs between two versions: columns, rows, distributions.

use evaluation::drift::jensen_shannon_distance;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    manifest::Manifest,
    statistics::{ColumnStatistics, show_number},
};

/// Bins in which distributions are compared. Few, so that a sample of some hundred rows does not differ by chance.
const BINS: usize = 32;

/// Two versions side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The first version.
    pub from: String,
    /// The second.
    pub to: String,
    /// Columns that came, went, moved or became of another type.
    pub schema: Vec<String>,
    /// What else the address is of: source, query, parameters, parents.
    pub origin: Vec<String>,
    /// The states of the sources, UTC. Another one by itself is no difference: the same query at another time is the same
    /// dataset, whatever its address.
    pub as_of: (Option<Timestamp>, Option<Timestamp>),
    /// Whether they have the same rows, each as often.
    pub same_rows: bool,
    /// Rows of both.
    pub rows: (u64, u64),
    /// Bytes of both.
    pub bytes: (u64, u64),
    /// Columns that both have.
    pub columns: Vec<ColumnDiff>,
}

/// One column of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnDiff {
    /// The column.
    pub name: String,
    /// Its type in the second version, as SQL names it: what the numbers are of.
    #[serde(rename = "type")]
    pub of: String,
    /// The share of rows without a value.
    pub null_share: (f64, f64),
    /// The mean of the numbers.
    pub mean: (Option<f64>, Option<f64>),
    /// The least of the numbers.
    pub min: (Option<f64>, Option<f64>),
    /// The greatest of the numbers.
    pub max: (Option<f64>, Option<f64>),
    /// The Jensen–Shannon distance of the distributions, base 2, 0 (alike) to 1 (nothing in common); `None` where one has no
    /// values, or too many texts to count.
    pub distance: Option<f64>,
}

impl Diff {
    /// Whether there is no difference but the time.
    pub fn is_none(&self) -> bool {
        self.schema.is_empty() && self.origin.is_empty() && self.same_rows
    }
}

impl ColumnDiff {
    /// Whether its numbers are numbers, and no dates or times.
    pub fn is_of_numbers(&self) -> bool {
        !matches!(self.of.as_str(), "TIMESTAMP" | "DATETIME" | "DATE" | "TIME")
    }

    /// A number of this column for people: a date or an instant where it is one.
    pub fn show(&self, number: f64) -> String {
        show_number(&self.of, number)
    }
}

/// Compares two versions by their manifests.
pub fn diff(from: &Manifest, to: &Manifest) -> Diff {
    let columns = from.statistics.iter().filter_map(|one| Some(column_diff(one, to.column(&one.name)?)));
    Diff {
        from: from.address.clone(),
        to: to.address.clone(),
        schema: schema_diff(from, to),
        origin: origin_diff(from, to),
        as_of: (from.identity.origin.as_of, to.identity.origin.as_of),
        same_rows: (from.identity.rows, &from.identity.rows_digest) == (to.identity.rows, &to.identity.rows_digest),
        rows: (from.identity.rows, to.identity.rows),
        bytes: (from.bytes, to.bytes),
        columns: columns.collect(),
    }
}

fn schema_diff(from: &Manifest, to: &Manifest) -> Vec<String> {
    let (from, to) = (&from.identity.schema, &to.identity.schema);
    let mut told = Vec::new();
    for column in from {
        match to.iter().find(|other| other.name == column.name) {
            None => told.push(format!("- {} {}", column.name, column.of)),
            Some(other) if other.of != column.of => {
                told.push(format!("~ {} {} → {}", column.name, column.of, other.of));
            }
            Some(_) => {}
        }
    }
    let new = to.iter().filter(|column| !from.iter().any(|other| other.name == column.name));
    told.extend(new.map(|column| format!("+ {} {}", column.name, column.of)));
    if told.is_empty() && from.iter().zip(to).any(|(one, other)| one.name != other.name) {
        told.push("~ the columns are in another order".to_owned());
    }
    told
}

fn origin_diff(from: &Manifest, to: &Manifest) -> Vec<String> {
    let (one, two) = (&from.identity.origin, &to.identity.origin);
    let mut told = Vec::new();
    if one.source != two.source {
        told.push(format!("source {} → {}", one.source, two.source));
    }
    if one.files != two.files {
        told.push("the files differ".to_owned());
    }
    if one.sql != two.sql {
        told.push("the query differs".to_owned());
    }
    let names = one.parameters.keys().chain(two.parameters.keys().filter(|name| !one.parameters.contains_key(*name)));
    for name in names {
        let value = |origin: &crate::manifest::Origin| {
            origin.parameters.get(name).map_or_else(|| "–".to_owned(), |parameter| parameter.value.clone())
        };
        if one.parameters.get(name) != two.parameters.get(name) {
            told.push(format!("@{name} {} → {}", value(one), value(two)));
        }
    }
    if from.identity.parents != to.identity.parents {
        told.push("the parents differ".to_owned());
    }
    told
}

fn column_diff(one: &ColumnStatistics, two: &ColumnStatistics) -> ColumnDiff {
    let share = |column: &ColumnStatistics| column.nulls as f64 / (column.rows as f64).max(1.0);
    let min = |column: &ColumnStatistics| column.numbers.as_ref().and_then(|numbers| numbers.min);
    let max = |column: &ColumnStatistics| column.numbers.as_ref().and_then(|numbers| numbers.max);
    ColumnDiff {
        name: one.name.clone(),
        of: two.of.clone(),
        null_share: (share(one), share(two)),
        mean: (one.mean(), two.mean()),
        min: (min(one), min(two)),
        max: (max(one), max(two)),
        distance: distance(one, two),
    }
}

fn distance(one: &ColumnStatistics, two: &ColumnStatistics) -> Option<f64> {
    let (p, q) = match (&one.numbers, &two.numbers, &one.texts, &two.texts) {
        (Some(one), Some(two), ..) => one.cells.side_by_side(&two.cells, BINS),
        (_, _, Some(one), Some(two)) => {
            let (one, two) = (one.counts.as_ref()?, two.counts.as_ref()?);
            let names = one.keys().chain(two.keys().filter(|name| !one.contains_key(*name)));
            let count = |counts: &std::collections::BTreeMap<String, u64>, name: &String| {
                counts.get(name).copied().unwrap_or(0) as f64
            };
            names.map(|name| (count(one, name), count(two, name))).unzip()
        }
        _ => return None,
    };
    let is_empty = |counts: &[f64]| counts.iter().sum::<f64>() == 0.0;
    if is_empty(&p) || is_empty(&q) {
        return None;
    }
    Some(jensen_shannon_distance(&p, &q) / std::f64::consts::LN_2.sqrt())
}
