//! Lookup tables from training rows: statistics of the label by key, smoothed, and without a row's own label.

use std::collections::BTreeMap;

use super::{FOLD_COLUMN, LookupError, LookupKeys, LookupTable, LookupValues};

/// What a value column tells of a group's labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// Smoothed mean.
    Mean,
    /// Smoothed median (of an even number: the mean of the middle two).
    Median,
    /// The number of labels; an integer, not smoothed.
    Count,
}

impl Statistic {
    /// Its name: `mean`, `median` or `count`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Count => "count",
        }
    }
}

/// How a table is made of training rows.
///
/// A group is the rows that have the same keys. With `n` labels, statistic `s` of them and the prior's `p`, the smoothed
/// value is `(n · s + m · p) / (n + m)`, where `m` is [`LookupBuild::smoothing_rows`]: few rows are drawn to the prior, many
/// are not. The prior is the statistic over all rows; where [`LookupBuild::parent_keys`] is not 0 it is the (likewise smoothed) value
/// of the rows that have the same first `parent_keys` keys.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupBuild {
    /// The value columns by name.
    pub columns: Vec<(String, Statistic)>,
    /// How many rows the prior counts for; 0 is no smoothing.
    pub smoothing_rows: f64,
    /// How many of the first keys make the parent group; 0 is none.
    pub parent_keys: usize,
}

/// Tables for training that keep each row's own label, and those of its fold, out of what the row sees.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfFold {
    /// Of all rows: what serving uses.
    pub all: LookupTable,
    /// For each fold, in ascending order: the table of the rows of all other folds, which rows of the fold are evaluated with.
    pub without: Vec<(u32, LookupTable)>,
}

impl OutOfFold {
    /// One table: the values of all rows, and the others for training rows, whose fold `expression` tells
    /// ([`super::LookupFolds::expression`]).
    ///
    /// # Errors
    /// As [`LookupTable::with_folds`].
    pub fn into_table(self, expression: String) -> Result<LookupTable, LookupError> {
        let mut keys = vec![(FOLD_COLUMN.to_owned(), LookupKeys::Int(Vec::new()))];
        keys.extend(self.all.keys.iter().map(|(name, keys)| (name.clone(), keys.taken(&[]))));
        let mut values: Vec<_> =
            self.all.values.iter().map(|(name, values)| (name.clone(), values.taken(&[]))).collect();
        for (fold, table) in self.without {
            let own = LookupKeys::Int(vec![i64::from(fold); table.rows]);
            for ((_, all), keys) in
                keys.iter_mut().zip(std::iter::once(own).chain(table.keys.into_iter().map(|of| of.1)))
            {
                all.append(keys);
            }
            for ((_, all), (_, values)) in values.iter_mut().zip(table.values) {
                all.append(values);
            }
        }
        self.all.with_folds(expression, keys, values)
    }
}

impl LookupBuild {
    /// The table of all rows. `labels` has one per row; rows whose label is NaN (NULL) are left out. The order of rows does
    /// not matter. Rows in which a key is NULL are not to be given: no lookup finds them.
    ///
    /// # Errors
    /// Columns that do not fit together, or settings that make no sense.
    pub fn build(&self, keys: &[(String, LookupKeys)], labels: &[f64]) -> Result<LookupTable, LookupError> {
        self.check(keys, labels)?;
        self.table(keys, labels, |_| true)
    }

    /// The table of all rows, and one for each fold. `folds` has each row's fold.
    ///
    /// # Errors
    /// As [`LookupBuild::build`], and fewer than two folds.
    pub fn build_out_of_fold(
        &self,
        keys: &[(String, LookupKeys)],
        labels: &[f64],
        folds: &[u32],
    ) -> Result<OutOfFold, LookupError> {
        self.check(keys, labels)?;
        if folds.len() != labels.len() {
            return Err(LookupError::Rows { column: "fold".to_owned(), rows: folds.len(), expected: labels.len() });
        }
        let mut different = folds.to_vec();
        different.sort_unstable();
        different.dedup();
        if different.len() < 2 {
            return Err(LookupError::Build("out of fold needs at least two folds".to_owned()));
        }
        let without = different.into_iter().map(|fold| Ok((fold, self.table(keys, labels, |row| folds[row] != fold)?)));
        Ok(OutOfFold {
            all: self.table(keys, labels, |_| true)?,
            without: without.collect::<Result<_, LookupError>>()?,
        })
    }

    fn check(&self, keys: &[(String, LookupKeys)], labels: &[f64]) -> Result<(), LookupError> {
        if !self.smoothing_rows.is_finite() || self.smoothing_rows < 0.0 {
            let message = format!("smoothing_rows is {}; it must be finite and not below 0", self.smoothing_rows);
            return Err(LookupError::Build(message));
        }
        if self.parent_keys >= keys.len().max(1) {
            let message =
                format!("parent_keys is {}; it must be below the number of keys, {}", self.parent_keys, keys.len());
            return Err(LookupError::Build(message));
        }
        for (name, column) in keys {
            if column.rows() != labels.len() {
                return Err(LookupError::Rows { column: name.clone(), rows: column.rows(), expected: labels.len() });
            }
        }
        match labels.iter().position(|label| label.is_infinite()) {
            Some(row) => Err(LookupError::Infinite { column: "label".to_owned(), row }),
            None => Ok(()),
        }
    }

    fn table(
        &self,
        keys: &[(String, LookupKeys)],
        labels: &[f64],
        wanted: impl Fn(usize) -> bool,
    ) -> Result<LookupTable, LookupError> {
        let rows: Vec<usize> = (0..labels.len()).filter(|&row| wanted(row) && !labels[row].is_nan()).collect();
        let all = Summary::of(rows.iter().map(|&row| labels[row]).collect());
        let parents = grouped(keys, self.parent_keys, &rows, labels);
        let groups = grouped(keys, keys.len(), &rows, labels);
        // The groups' first rows, which have their keys.
        let mut firsts = Vec::with_capacity(groups.len());
        let mut summaries = Vec::with_capacity(groups.len());
        for (key, (first, summary)) in &groups {
            let prior = match parents.get(&key[..self.parent_keys]) {
                Some((_, parent)) if self.parent_keys > 0 => parent.smoothed(&all, self.smoothing_rows),
                _ => all,
            };
            firsts.push(*first);
            summaries.push((summary.smoothed(&prior, self.smoothing_rows), summary.count));
        }
        let columns = self.columns.iter().map(|(name, statistic)| {
            let values = match statistic {
                Statistic::Mean => LookupValues::Float(summaries.iter().map(|(summary, _)| summary.mean).collect()),
                Statistic::Median => LookupValues::Float(summaries.iter().map(|(summary, _)| summary.median).collect()),
                Statistic::Count => LookupValues::Int(summaries.iter().map(|(_, count)| *count as i64).collect()),
            };
            (name.clone(), values)
        });
        let columns = columns.collect();
        let keys = keys.iter().map(|(name, keys)| (name.clone(), keys.taken(&firsts))).collect();
        LookupTable::from_columns(keys, columns)
    }
}

/// One key's value, in a form that orders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Int(i64),
    Bool(bool),
    Text(&'a str),
}

type Groups<'a> = BTreeMap<Vec<Key<'a>>, (usize, Summary)>;

/// The rows by their first `width` keys: a row of each group, and what its labels are like.
fn grouped<'a>(keys: &'a [(String, LookupKeys)], width: usize, rows: &[usize], labels: &[f64]) -> Groups<'a> {
    let mut groups: BTreeMap<Vec<Key<'a>>, (usize, Vec<f64>)> = BTreeMap::new();
    for &row in rows {
        let key = keys[..width].iter().map(|(_, keys)| match keys {
            LookupKeys::Int(keys) => Key::Int(keys[row]),
            LookupKeys::Bool(keys) => Key::Bool(keys[row]),
            LookupKeys::String(keys) => Key::Text(&keys[row]),
        });
        groups.entry(key.collect()).or_insert_with(|| (row, Vec::new())).1.push(labels[row]);
    }
    groups.into_iter().map(|(key, (first, labels))| (key, (first, Summary::of(labels)))).collect()
}

#[derive(Debug, Clone, Copy)]
struct Summary {
    count: usize,
    mean: f64,
    median: f64,
}

impl Summary {
    /// Summed in ascending order, so that the order of rows does not show in the bits.
    fn of(mut labels: Vec<f64>) -> Self {
        labels.sort_by(f64::total_cmp);
        let count = labels.len();
        if count == 0 {
            return Self { count, mean: f64::NAN, median: f64::NAN };
        }
        let sum: f64 = labels.iter().sum();
        // Divided first where the sum overflows.
        let mean =
            if sum.is_finite() { sum / count as f64 } else { labels.iter().map(|label| label / count as f64).sum() };
        let (low, high) = (labels[(count - 1) / 2], labels[count / 2]);
        Self { count, mean, median: low + (high - low) / 2.0 }
    }

    fn smoothed(&self, prior: &Self, smoothing_rows: f64) -> Self {
        let weight = self.count as f64 / (self.count as f64 + smoothing_rows);
        let drawn = |own: f64, prior: f64| if weight == 1.0 { own } else { weight * own + (1.0 - weight) * prior };
        Self { count: self.count, mean: drawn(self.mean, prior.mean), median: drawn(self.median, prior.median) }
    }
}
