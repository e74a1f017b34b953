//! A training baseline as Model Monitor's files.

use super::{
    Bucket, Common, Constraints, Dataset, FeatureConstraints, FeatureStatistics, InferredType, Kll, MonitoringConfig,
    NumConstraints, NumericalDistribution, NumericalStatistics, Sketch, SketchParameters, Statistics,
};
use crate::drift::{Bins, ColumnBaseline, TrainingBaseline};

/// As many as Model Monitor has.
const BUCKETS: usize = 10;
/// A bin of a range becomes so many items of the sketch at least, where it has as many rows.
const ITEMS_PER_BIN: u64 = 8;

/// A baseline's distributions as `statistics.json`. The sketch holds each counted value; values that were counted in a range
/// lie evenly in it.
pub fn statistics_of(baseline: &TrainingBaseline) -> Statistics {
    let features = baseline.columns.iter().map(feature).collect();
    Statistics { version: 0.0, dataset: Dataset { item_count: baseline.rows }, features }
}

/// What Model Monitor would suggest to check of it.
pub fn constraints_of(baseline: &TrainingBaseline) -> Constraints {
    let features = baseline.columns.iter().map(|column| {
        let rows = column.present() + column.missing;
        let completeness = if rows == 0 { 1.0 } else { column.present() as f64 / rows as f64 };
        let num_constraints = ends(column).map(|[min, _]| NumConstraints { is_non_negative: min >= 0.0 });
        FeatureConstraints {
            name: column.name.clone(),
            inferred_type: inferred_type(column),
            completeness,
            num_constraints,
            overrides: None,
        }
    });
    Constraints { version: 0.0, features: features.collect(), monitoring_config: MonitoringConfig::default() }
}

fn inferred_type(column: &ColumnBaseline) -> InferredType {
    match (&column.bins, column.whole) {
        (None, _) => InferredType::Unknown,
        (Some(_), Some(whole)) => {
            if whole {
                InferredType::Integral
            } else {
                InferredType::Fractional
            }
        }
        (Some(Bins::Values { values: numbers } | Bins::Ranges { edges: numbers }), None) => {
            let whole = numbers.iter().all(|number| number.fract() == 0.0);
            if whole { InferredType::Integral } else { InferredType::Fractional }
        }
    }
}

/// The least and the greatest value.
fn ends(column: &ColumnBaseline) -> Option<[f64; 2]> {
    let (Bins::Values { values: numbers } | Bins::Ranges { edges: numbers }) = column.bins.as_ref()?;
    Some([*numbers.first()?, *numbers.last()?])
}

fn feature(column: &ColumnBaseline) -> FeatureStatistics {
    let numerical_statistics = ends(column).map(|[min, max]| {
        let items = items(column);
        let present = column.present();
        let of_items =
            || items.iter().map(|(value, level)| value * weight(*level)).sum::<f64>() / present.max(1) as f64;
        let mean = column.mean.unwrap_or_else(of_items);
        NumericalStatistics {
            common: Common { num_present: present, num_missing: column.missing },
            mean,
            sum: mean * present as f64,
            std_dev: column.deviation,
            min,
            max,
            distribution: Some(NumericalDistribution {
                kll: Kll { buckets: buckets(&items, [min, max]), sketch: Some(sketch(&items)) },
            }),
        }
    });
    FeatureStatistics {
        name: column.name.clone(),
        inferred_type: inferred_type(column),
        numerical_statistics,
        string_statistics: None,
    }
}

/// Values with the level h of an item that stands for 2^h of them.
fn items(column: &ColumnBaseline) -> Vec<(f64, u32)> {
    let mut items = Vec::new();
    match &column.bins {
        None => {}
        Some(Bins::Values { values }) => {
            values.iter().zip(&column.counts).for_each(|(value, count)| add(&mut items, *value, *count));
        }
        Some(Bins::Ranges { edges }) => {
            // The bins below the first edge and above the last are empty in training.
            for (pair, count) in edges.windows(2).zip(column.counts.iter().skip(1)) {
                let level = (count / ITEMS_PER_BIN).max(1).ilog2();
                let whole_items = count >> level;
                let at = |part: f64| pair[0] + (pair[1] - pair[0]) * part;
                items.extend((0..whole_items).map(|item| (at((item as f64 + 0.5) / whole_items as f64), level)));
                add(&mut items, at(0.5), count - (whole_items << level));
            }
        }
    }
    items
}

/// A count is its binary digits.
fn add(items: &mut Vec<(f64, u32)>, value: f64, count: u64) {
    items.extend((0..u64::BITS).filter(|level| count >> level & 1 == 1).map(|level| (value, level)));
}

fn weight(level: u32) -> f64 {
    2f64.powi(level as i32)
}

fn sketch(items: &[(f64, u32)]) -> Sketch {
    let levels = items.iter().map(|(_, level)| level + 1).max().unwrap_or(1);
    let mut data = vec![Vec::new(); levels as usize];
    for (value, level) in items {
        data[*level as usize].push(*value);
    }
    for level in &mut data {
        level.sort_unstable_by(f64::total_cmp);
    }
    Sketch { parameters: SketchParameters { c: 0.64, k: 2048.0 }, data }
}

fn buckets(items: &[(f64, u32)], [min, max]: [f64; 2]) -> Vec<Bucket> {
    let width = (max - min) / BUCKETS as f64;
    let edge = |index: usize| if index == BUCKETS { max } else { min + width * index as f64 };
    let mut buckets: Vec<Bucket> = (0..BUCKETS)
        .map(|index| Bucket { lower_bound: edge(index), upper_bound: edge(index + 1), count: 0.0 })
        .collect();
    for (value, level) in items {
        let index = if width > 0.0 { ((value - min) / width) as usize } else { 0 };
        buckets[index.min(BUCKETS - 1)].count += weight(*level);
    }
    buckets
}
