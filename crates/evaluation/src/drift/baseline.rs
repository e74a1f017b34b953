//! What a model was trained on, column by column, in bins: written once with the training view, so that each later hour
//! is counted into the same bins and hours merge exactly.

use serde::{Deserialize, Serialize};

use crate::{EvaluationError, quantile::quantile};

/// The version of the stored form.
pub const BASELINE_FORMAT: u32 = 1;
/// The name of the label's column.
pub const LABEL: &str = "(label)";
/// Up to so many different values, each common, are told apart one by one.
pub(crate) const MAX_VALUES: usize = 512;
/// A column is one of values where each occurs so often on average.
const ROWS_PER_VALUE: usize = 20;
/// Bins of equal share for all other columns.
const QUANTILES: usize = 100;

/// The bins of one column. The first bin after those listed is the last of the counts: see [`Bins::of`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Bins {
    /// Each value is a bin, and one more is for values that training never saw.
    Values {
        /// Ascending.
        values: Vec<f64>,
    },
    /// Below the first edge; from each edge, included, to the next (the last edge included); above the last.
    Ranges {
        /// Ascending, the least and the greatest value of training first and last.
        edges: Vec<f64>,
    },
}

impl Bins {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Values { values } => values.len() + 1,
            Self::Ranges { edges } => edges.len() + 1,
        }
    }

    /// Never: there is always the bin of what training never saw.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The bin of a value.
    pub fn of(&self, value: f64) -> usize {
        match self {
            Self::Values { values } => values.binary_search_by(|known| known.total_cmp(&value)).unwrap_or(values.len()),
            Self::Ranges { edges } => {
                let bin = edges.partition_point(|edge| *edge <= value);
                if bin == edges.len() && edges.last() == Some(&value) { bin - 1 } else { bin }
            }
        }
    }

    /// The bins of what lies outside of what training saw.
    pub(crate) fn outside(&self) -> impl Iterator<Item = usize> + use<> {
        let last = self.len() - 1;
        let first = match self {
            Self::Values { .. } => None,
            Self::Ranges { .. } => Some(0),
        };
        first.into_iter().chain([last])
    }

    fn check(&self) -> bool {
        let (numbers, least) = match self {
            Self::Values { values } => (values, 1),
            Self::Ranges { edges } => (edges, 2),
        };
        numbers.len() >= least && numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|number| number.is_finite())
    }
}

/// One column of the training view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnBaseline {
    /// The feature's name; [`LABEL`] for the label.
    pub name: String,
    /// Rows without a value.
    pub missing: u64,
    /// Its bins; absent where no row has a value.
    pub bins: Option<Bins>,
    /// Rows by bin.
    pub counts: Vec<u64>,
    /// The standard deviation (with n, not n − 1).
    pub deviation: f64,
    /// The mean; absent in documents of older versions, and without a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Whether every value is a whole number; absent in documents of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<bool>,
}

impl ColumnBaseline {
    /// Of the column's values in any order; NaN is a missing one.
    pub fn of(name: impl Into<String>, values: &[f64]) -> Self {
        let mut sorted: Vec<f64> =
            values.iter().copied().filter(|value| value.is_finite()).map(|value| value + 0.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (name, missing) = (name.into(), (values.len() - sorted.len()) as u64);
        let Some(bins) = bins(&sorted) else {
            return Self { name, missing, bins: None, counts: Vec::new(), deviation: 0.0, mean: None, whole: None };
        };
        let mut counts = vec![0; bins.len()];
        for value in &sorted {
            counts[bins.of(*value)] += 1;
        }
        let n = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / n;
        let deviation = (sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
        let whole = sorted.iter().all(|value| value.fract() == 0.0);
        Self { name, missing, bins: Some(bins), counts, deviation, mean: Some(mean), whole: Some(whole) }
    }

    /// Rows with a value.
    pub fn present(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether bins and counts belong together, for a document that was read.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.bins {
            Some(bins) => bins.check() && bins.len() == self.counts.len(),
            None => self.counts.is_empty(),
        }
    }
}

fn bins(sorted: &[f64]) -> Option<Bins> {
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let mut values = sorted.to_vec();
    values.dedup();
    // A column with few rows in all is one of values only where it is constant.
    let is_of_values = values.len() <= MAX_VALUES && values.len() * ROWS_PER_VALUE <= sorted.len();
    if is_of_values || values.len() < 2 {
        return Some(Bins::Values { values });
    }
    let inner = (1..QUANTILES).filter_map(|step| quantile(sorted, step as f64 / QUANTILES as f64));
    let mut edges: Vec<f64> = std::iter::once(first).chain(inner).chain([last]).collect();
    edges.dedup();
    Some(Bins::Ranges { edges })
}

/// What a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct TrainingBaseline {
    /// The version of this document.
    pub format: u32,
    /// SHA-256 of the feature spec in its canonical form: the order of the columns is that of its outputs.
    pub spec_hash: String,
    /// Rows of the training view. The columns may be of a uniform sample of them.
    pub rows: u64,
    /// The features in the spec's output order, then the label.
    pub columns: Vec<ColumnBaseline>,
}

#[derive(Deserialize)]
struct Stored {
    format: u32,
    spec_hash: String,
    rows: u64,
    columns: Vec<ColumnBaseline>,
}

impl TryFrom<Stored> for TrainingBaseline {
    type Error = String;

    fn try_from(Stored { format, spec_hash, rows, columns }: Stored) -> Result<Self, String> {
        if format != BASELINE_FORMAT {
            return Err(format!("its format is {format}, and this version reads format {BASELINE_FORMAT}"));
        }
        match columns.iter().find(|column| !column.is_whole()) {
            Some(column) => {
                Err(format!("the bins of `{}` are not in order, or not as many as its counts", column.name))
            }
            None => Ok(Self { format, spec_hash, rows, columns }),
        }
    }
}

impl TrainingBaseline {
    /// Of a training view's columns (`NaN` for a missing value) and its label.
    pub fn of<'a>(
        spec_hash: impl Into<String>,
        features: impl IntoIterator<Item = (&'a str, &'a [f64])>,
        label: &[f64],
    ) -> Self {
        let mut columns: Vec<ColumnBaseline> =
            features.into_iter().map(|(name, values)| ColumnBaseline::of(name, values)).collect();
        columns.push(ColumnBaseline::of(LABEL, label));
        Self { format: BASELINE_FORMAT, spec_hash: spec_hash.into(), rows: label.len() as u64, columns }
    }

    /// Of a uniform sample of a training view with `rows` rows: columns and their names, the label first, as the view has
    /// them.
    pub fn of_view(spec_hash: impl Into<String>, names: &[String], columns: &[Vec<f64>], rows: u64) -> Self {
        let named = names.iter().map(String::as_str).zip(columns.iter().map(Vec::as_slice));
        let label = columns.first().map_or(&[][..], Vec::as_slice);
        Self { rows, ..Self::of(spec_hash, named.skip(1), label) }
    }

    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        // It cannot fail: the keys are text and every number is finite.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the stored form, and refuses what contradicts itself.
    pub fn from_json(json: &[u8]) -> Result<Self, EvaluationError> {
        serde_json::from_slice(json).map_err(|error| EvaluationError::InvalidBaseline(error.to_string()))
    }
}

/// Rows that were counted into a baseline's bins: a state to be merged, by adding.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ColumnCounts {
    /// Rows without a value.
    pub missing: u64,
    /// Rows by bin; empty where training had no value, so that there are no bins.
    pub bins: Vec<u64>,
    /// Rows with a value where training had none.
    pub unexpected: u64,
}

/// [`ColumnCounts`] of all columns of one baseline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeatureCounts {
    /// In the baseline's order.
    pub columns: Vec<ColumnCounts>,
}

impl FeatureCounts {
    /// Nothing yet.
    pub fn new(baseline: &TrainingBaseline) -> Self {
        Self::of_columns(&baseline.columns)
    }

    /// Nothing yet, of any columns.
    pub(super) fn of_columns(columns: &[ColumnBaseline]) -> Self {
        let of =
            |column: &ColumnBaseline| ColumnCounts { bins: vec![0; column.counts.len()], ..ColumnCounts::default() };
        Self { columns: columns.iter().map(of).collect() }
    }

    /// Counts one row: the features in the spec's output order, then the label, where it is known. What is not finite is
    /// missing.
    pub fn add(
        &mut self,
        baseline: &TrainingBaseline,
        features: impl IntoIterator<Item = Option<f64>>,
        label: Option<f64>,
    ) {
        let label_at = baseline.columns.len().saturating_sub(1);
        let values = features.into_iter().take(label_at).chain(std::iter::repeat(None));
        for ((counts, column), value) in self.columns[..label_at].iter_mut().zip(&baseline.columns).zip(values) {
            counts.add(column, value);
        }
        if let (Some(label), Some(column)) = (label, baseline.columns.last()) {
            self.columns[label_at].add(column, Some(label));
        }
    }

    /// Adds the rows of `other`, which were counted by the same baseline.
    pub fn merge(&mut self, other: &Self) {
        if self.columns.is_empty() {
            self.columns.clone_from(&other.columns);
            return;
        }
        for (counts, more) in self.columns.iter_mut().zip(&other.columns) {
            counts.missing = counts.missing.saturating_add(more.missing);
            counts.unexpected = counts.unexpected.saturating_add(more.unexpected);
            for (count, more) in counts.bins.iter_mut().zip(&more.bins) {
                *count = count.saturating_add(*more);
            }
        }
    }
}

impl ColumnCounts {
    pub(super) fn add(&mut self, column: &ColumnBaseline, value: Option<f64>) {
        match (value.filter(|value| value.is_finite()), &column.bins) {
            (None, _) => self.missing += 1,
            // −0 is 0.
            (Some(value), Some(bins)) => self.bins[bins.of(value + 0.0)] += 1,
            (Some(_), None) => self.unexpected += 1,
        }
    }

    /// Rows with a value.
    pub fn present(&self) -> u64 {
        self.bins.iter().fold(self.unexpected, |sum, count| sum.saturating_add(*count))
    }
}
