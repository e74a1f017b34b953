/// The points of [0, 1) that one arm owns: `start` included, `end` not. Empty where both are equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketRange {
    /// The first point.
    pub start: f64,
    /// The point after the last.
    pub end: f64,
}

impl BucketRange {
    /// Whether `point` lies in the range (GrowthBook's `inRange`).
    pub fn contains(&self, point: f64) -> bool {
        point >= self.start && point < self.end
    }

    /// How many of the points `0/points`, `1/points`, … lie in the range: the arm's true share of units. It differs
    /// from its weight where a boundary falls between two points.
    pub fn points_within(&self, points: u32) -> u32 {
        points_below(self.end, points).saturating_sub(points_below(self.start, points))
    }
}

/// How many of the points `0/points`, `1/points`, … lie below `bound`.
fn points_below(bound: f64, points: u32) -> u32 {
    // The product can be one off in either direction; the quotient is what units are compared by.
    let mut count = (bound * f64::from(points)).clamp(0.0, f64::from(points)) as u32;
    while count > 0 && f64::from(count - 1) / f64::from(points) >= bound {
        count -= 1;
    }
    while count < points && f64::from(count) / f64::from(points) < bound {
        count += 1;
    }
    count
}

/// `1/count` for each of `count` arms (GrowthBook's `getEqualWeights`).
pub fn equal_weights(count: usize) -> Vec<f64> {
    vec![1.0 / count as f64; count]
}

/// The ranges of arms with these `weights`, each starting where the weights before it end, and cut to the share
/// `coverage` (0–1) of its length. Thus more coverage only adds units; it never moves one to another arm.
///
/// The order of the floating-point operations is part of GrowthBook's spec: boundaries decide.
pub fn ranges_of_weights(weights: &[f64], coverage: f64) -> impl Iterator<Item = BucketRange> {
    weights.iter().scan(0.0, move |cumulative, weight| {
        let start = *cumulative;
        *cumulative += weight;
        Some(BucketRange { start, end: start + coverage * weight })
    })
}

/// GrowthBook's `getBucketRanges`: `coverage` is clamped to 0–1, and the weights are equal where none are given, their
/// number is not `count`, or they sum to less than 0.99 or more than 1.01.
pub fn bucket_ranges(count: usize, coverage: f64, weights: Option<&[f64]>) -> Vec<BucketRange> {
    let coverage = coverage.clamp(0.0, 1.0);
    let usable = |weights: &&[f64]| weights.len() == count && (0.99..=1.01).contains(&weights.iter().sum::<f64>());
    match weights.filter(usable) {
        Some(weights) => ranges_of_weights(weights, coverage).collect(),
        None => ranges_of_weights(&equal_weights(count), coverage).collect(),
    }
}

/// The index of the first range that holds `point` (GrowthBook's `chooseVariation`).
pub fn choose_variation(point: f64, ranges: impl IntoIterator<Item = BucketRange>) -> Option<usize> {
    ranges.into_iter().position(|range| range.contains(point))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_share_of_points_is_counted_at_the_boundary() {
        let share = |start, end| BucketRange { start, end }.points_within(10_000);
        assert_eq!(share(0.0, 1.0), 10_000);
        assert_eq!(share(0.0, 0.5), 5_000);
        assert_eq!(share(0.5, 0.5), 0);
        assert_eq!(share(0.00005, 0.00006), 0);
        // 0.1 + 0.2 lies above the point 0.3, so that point is the range's too.
        assert_eq!(share(0.1, 0.1 + 0.2), 2_001);
        assert_eq!(share(0.9, 1.5), 1_000);
    }

    proptest! {
        #[test]
        fn the_share_of_points_is_what_counting_gives(start in 0.0..=1.0, length in 0.0..=1.0, exact: bool) {
            let round = |bound: f64| if exact { (bound * 10_000.0).round() / 10_000.0 } else { bound };
            let range = BucketRange { start: round(start), end: round(start) + round(length) };
            let counted = (0..10_000).filter(|k| range.contains(f64::from(*k) / 10_000.0)).count();
            prop_assert_eq!(range.points_within(10_000) as usize, counted);
        }

        #[test]
        fn more_coverage_only_adds_units(
            weights in prop::collection::vec(0.01..1.0, 1..6), less in 0.0..=1.0, more in 0.0..=1.0, point in 0.0..1.0,
        ) {
            let sum: f64 = weights.iter().sum();
            let weights: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
            let (less, more) = if less <= more { (less, more) } else { (more, less) };
            let chosen = |coverage| choose_variation(point, bucket_ranges(weights.len(), coverage, Some(&weights)));
            if let Some(arm) = chosen(less) {
                prop_assert_eq!(chosen(more), Some(arm));
            }
        }
    }
}
