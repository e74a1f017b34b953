//! The figures by dimension, and the segments whose error weighs most.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::data::Group;
use crate::{HORIZON, HORIZON_NAMES, HOUR_OF_DAY, Summary, UNKNOWN, Window};

/// The most values of a dimension that the report has: those with the most rides. The evaluations have more.
const MOST_VALUES: usize = 60;
/// Rides that a segment needs to be looked at.
pub const MIN_SEGMENT_RIDES: u64 = 50;
/// The most segments that are pointed out.
const MOST_SEGMENTS: usize = 8;

/// The predictions by the values of one dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DimensionFigures {
    /// Its name: `hour_of_day`, `horizon` (the predicted duration), `zone`, `spec`, or one of the release's own.
    pub name: String,
    /// By value: hours and predicted durations in their order, others with the most rides first.
    pub groups: Vec<Group>,
    /// Values that are not in `groups`.
    pub others: usize,
}

/// A segment whose error is larger than the whole's, beyond its 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentToLookAt {
    /// The dimension.
    pub dimension: String,
    /// Its value.
    pub value: String,
    /// The share of rides that are in it, 0–1.
    pub share: f64,
    /// How much of the mean absolute error of all is due to its error being larger: (its error − that of all) × its share,
    /// seconds.
    pub adds_s: f64,
    /// Its figures.
    pub summary: Summary,
}

pub(super) fn dimensions(window: &Window) -> Vec<DimensionFigures> {
    let figures = window.dimensions().iter().map(|(name, dimension)| {
        let mut groups: Vec<Group> = dimension
            .values()
            .iter()
            .map(|(value, statistics)| Group { name: value.clone(), summary: statistics.summary() })
            .collect();
        groups.sort_by_key(|group| (Reverse(group.summary.counts.joined), Reverse(group.summary.counts.predictions)));
        let others = groups.len().saturating_sub(MOST_VALUES);
        groups.truncate(MOST_VALUES);
        match name.as_str() {
            HORIZON => groups.sort_by_key(|group| HORIZON_NAMES.iter().position(|name| *name == group.name)),
            HOUR_OF_DAY => groups.sort_by(|a, b| a.name.cmp(&b.name)),
            _ => {}
        }
        DimensionFigures { name: name.clone(), groups, others }
    });
    figures.collect()
}

/// Segments of all dimensions, the one that adds most to the error first.
pub(super) fn to_look_at(all: &Summary, dimensions: &[DimensionFigures]) -> Vec<SegmentToLookAt> {
    let Some(whole) = &all.answer else { return Vec::new() };
    let of_dimension = |dimension: &DimensionFigures| -> Vec<SegmentToLookAt> {
        let known = dimension.groups.iter().filter(|group| group.name != UNKNOWN);
        known
            .filter_map(|group| {
                let answer = group.summary.answer.as_ref().filter(|answer| answer.n >= MIN_SEGMENT_RIDES)?;
                let [low, _] = answer.mae_interval_s?;
                let share = answer.n as f64 / whole.n.max(1) as f64;
                (low > whole.mae_s && share < 1.0).then(|| SegmentToLookAt {
                    dimension: dimension.name.clone(),
                    value: group.name.clone(),
                    share,
                    adds_s: (answer.mae_s - whole.mae_s) * share,
                    summary: group.summary,
                })
            })
            .collect()
    };
    let mut found: Vec<SegmentToLookAt> = dimensions.iter().flat_map(of_dimension).collect();
    found.sort_by(|a, b| b.adds_s.total_cmp(&a.adds_s));
    found.truncate(MOST_SEGMENTS);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Counts, ErrorStatistics, SegmentStatistics};

    fn group(name: &str, n: i64, error_s: i64) -> Group {
        let errors =
            || ErrorStatistics::from_durations_us((0..n).map(|i| ((600 + error_s + i % 7) * 1_000_000, 600_000_000)));
        let n = n as u64;
        let counts = Counts { predictions: n, outcomes: n, joined: n, ..Counts::default() };
        let statistics = SegmentStatistics { counts, answer: errors(), fallback: errors(), ..Default::default() };
        Group { name: name.to_owned(), summary: statistics.summary() }
    }

    #[test]
    fn what_weighs_most_comes_first_and_chance_is_left_out() {
        let all = group("all", 1_000, 100).summary;
        let groups = vec![
            group("few", 49, 900),
            group("rare", 60, 400),
            group("common", 500, 190),
            group("calm", 300, 60),
            group(UNKNOWN, 200, 500),
        ];
        let dimension = DimensionFigures { name: "zone".to_owned(), groups, others: 0 };
        let found = to_look_at(&all, &[dimension]);
        let names: Vec<&str> = found.iter().map(|segment| segment.value.as_str()).collect();
        assert_eq!(names, ["common", "rare"]);
        assert!((found[0].adds_s - 45.0).abs() < 0.1 && (found[0].share - 0.5).abs() < 1e-12, "{found:?}");
    }
}
