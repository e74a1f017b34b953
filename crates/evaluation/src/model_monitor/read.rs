//! Model Monitor's statistics as a training baseline.

use super::{FeatureStatistics, InferredType, Statistics};
use crate::{
    EvaluationError,
    drift::{Bins, ColumnBaseline, LABEL, TrainingBaseline},
};

/// A column of fractional numbers has bins of single values up to so many, and ranges above.
const FRACTIONAL_VALUES: usize = 20;

/// What could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The baseline. Columns that the file does not have are without values, and never drift.
    pub baseline: TrainingBaseline,
    /// Columns of the spec that the file has nothing of, or nothing that can be used.
    pub missing: Vec<String>,
    /// Features of the file that are not the spec's.
    pub unused: Vec<String>,
}

/// `statistics.json` as the baseline of a spec with these outputs, in its order. `label` is the label's name in the file.
///
/// # Errors
/// The file has none of the columns.
pub fn baseline_of(
    statistics: &Statistics,
    spec_hash: &str,
    outputs: &[String],
    label: &str,
) -> Result<Imported, EvaluationError> {
    let mut missing = Vec::new();
    let mut column = |name: &str, as_name: &str| {
        let found = statistics.features.iter().find(|feature| feature.name == name);
        let read = found.and_then(|feature| column_of(feature, as_name));
        read.unwrap_or_else(|| {
            missing.push(name.to_owned());
            ColumnBaseline::of(as_name, &[])
        })
    };
    let mut columns: Vec<ColumnBaseline> = outputs.iter().map(|name| column(name, name)).collect();
    columns.push(column(label, LABEL));
    if missing.len() == columns.len() {
        let known: Vec<&str> = statistics.features.iter().map(|feature| feature.name.as_str()).take(8).collect();
        return Err(EvaluationError::InvalidBaseline(format!(
            "it has none of the spec's {} columns; it has {}",
            outputs.len(),
            known.join(", ")
        )));
    }
    let is_known = |name: &String| outputs.contains(name) || name == label;
    let unused = statistics.features.iter().map(|feature| feature.name.clone()).filter(|name| !is_known(name));
    let (format, spec_hash, rows) =
        (crate::drift::BASELINE_FORMAT, spec_hash.to_owned(), statistics.dataset.item_count);
    let baseline = TrainingBaseline { format, spec_hash, rows, columns };
    Ok(Imported { baseline, missing, unused: unused.collect() })
}

fn column_of(feature: &FeatureStatistics, name: &str) -> Option<ColumnBaseline> {
    if let Some(found) = &feature.string_statistics {
        // Numbers that were written as texts.
        let categories = &found.distribution.as_ref()?.categorical.buckets;
        let read: Option<Vec<(f64, u64)>> =
            categories.iter().map(|category| Some((category.value.parse().ok()?, category.count))).collect();
        return weighted(name, found.common.num_missing, read?, true, None);
    }
    let found = feature.numerical_statistics.as_ref()?;
    let kll = &found.distribution.as_ref()?.kll;
    let whole = feature.inferred_type == InferredType::Integral;
    let mut column = match &kll.sketch {
        Some(sketch) => {
            let levels = sketch.data.iter().enumerate().take(63);
            let items = levels.flat_map(|(level, items)| items.iter().map(move |item| (*item, 1_u64 << level)));
            weighted(name, found.common.num_missing, items.collect(), whole, Some([found.min, found.max]))?
        }
        None => of_buckets(
            name,
            found.common.num_missing,
            kll.buckets.iter().map(|b| (b.lower_bound, b.upper_bound, b.count)),
        )?,
    };
    (column.mean, column.deviation, column.whole) = (Some(found.mean), found.std_dev, Some(whole));
    Some(column).filter(ColumnBaseline::is_whole)
}

/// Values with their weights.
fn weighted(
    name: &str,
    missing: u64,
    mut items: Vec<(f64, u64)>,
    whole: bool,
    ends: Option<[f64; 2]>,
) -> Option<ColumnBaseline> {
    items.retain(|(value, weight)| value.is_finite() && *weight > 0);
    items.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    items.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0 };
        same
    });
    let single = items.len() <= if whole { crate::drift::MAX_VALUES } else { FRACTIONAL_VALUES };
    let bins = if single {
        Bins::Values { values: items.iter().map(|item| item.0).collect() }
    } else {
        let [low, high] = ends.unwrap_or([items.first()?.0, items.last()?.0]);
        Bins::Ranges { edges: quantile_edges(&items, [low.min(items.first()?.0), high.max(items.last()?.0)]) }
    };
    let mut counts = vec![0; bins.len()];
    for (value, weight) in &items {
        counts[bins.of(*value)] += weight;
    }
    let n = items.iter().map(|item| item.1).sum::<u64>() as f64;
    let mean = items.iter().map(|item| item.0 * item.1 as f64).sum::<f64>() / n;
    let variance = items.iter().map(|item| (item.0 - mean).powi(2) * item.1 as f64).sum::<f64>() / n;
    let name = name.to_owned();
    let column = ColumnBaseline {
        name,
        missing,
        bins: Some(bins),
        counts,
        deviation: variance.sqrt(),
        mean: Some(mean),
        whole: Some(whole),
    };
    Some(column).filter(ColumnBaseline::is_whole)
}

/// Edges of bins with a hundredth of the weight each, where values allow.
fn quantile_edges(items: &[(f64, u64)], [low, high]: [f64; 2]) -> Vec<f64> {
    let total = items.iter().map(|item| item.1).sum::<u64>() as f64;
    let (mut edges, mut seen, mut next) = (vec![low], 0, 1);
    for (value, weight) in items {
        seen += weight;
        while next < 100 && seen as f64 >= total * f64::from(next) / 100.0 {
            edges.push(*value);
            next += 1;
        }
    }
    edges.push(high);
    edges.dedup();
    edges
}

fn of_buckets(name: &str, missing: u64, buckets: impl Iterator<Item = (f64, f64, f64)>) -> Option<ColumnBaseline> {
    let buckets: Vec<(f64, f64, f64)> = buckets.collect();
    let first = buckets.first()?.0;
    let edges: Vec<f64> = std::iter::once(first).chain(buckets.iter().map(|bucket| bucket.1)).collect();
    let (mut counts, bins) = if first == buckets.last()?.1 {
        (vec![buckets.iter().map(|bucket| bucket.2 as u64).sum()], Bins::Values { values: vec![first] })
    } else {
        let counts = std::iter::once(0).chain(buckets.iter().map(|bucket| bucket.2 as u64)).collect();
        (counts, Bins::Ranges { edges })
    };
    counts.push(0);
    let name = name.to_owned();
    Some(ColumnBaseline { name, missing, bins: Some(bins), counts, deviation: 0.0, mean: None, whole: None })
}
