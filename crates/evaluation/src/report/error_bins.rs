//! The distribution of the signed error.

use serde::{Deserialize, Serialize};

use crate::{ErrorStatistics, Histogram};

/// The distribution of the signed error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBins {
    /// The width of the closed bins, seconds.
    pub width_s: f64,
    /// Ascending; the first and the last are open.
    pub bins: Vec<ErrorBin>,
}

/// The share of rides whose error (predicted − actual) lies in a range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ErrorBin {
    /// From here, seconds; absent: from −∞.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_s: Option<f64>,
    /// To here, seconds; absent: to +∞.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_s: Option<f64>,
    /// The share of the answers, 0–1.
    pub answer: f64,
    /// The share of the naive fallback's, 0–1.
    pub fallback: f64,
}

pub(super) fn error_bins(answer: &ErrorStatistics, fallback: &ErrorStatistics) -> Option<ErrorBins> {
    const WIDTHS_S: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
    const BINS_PER_SIDE: f64 = 15.0;
    let abs = |statistics: &ErrorStatistics| statistics.late().merged(statistics.early());
    let reach_s = abs(answer).merged(&abs(fallback)).quantile(0.98)? / 1e6;
    let width_s = WIDTHS_S.into_iter().find(|width| reach_s <= width * BINS_PER_SIDE).unwrap_or(86400.0);
    let per_side = (reach_s / width_s).ceil().clamp(4.0, BINS_PER_SIDE) as usize;
    let (answer, fallback) = (shares(answer, width_s, per_side), shares(fallback, width_s, per_side));
    let edge = |index: usize| (index as f64 - per_side as f64) * width_s;
    let last = 2 * per_side + 1;
    let bins = (0..=last)
        .map(|bin| ErrorBin {
            from_s: bin.checked_sub(1).map(edge),
            to_s: (bin < last).then(|| edge(bin)),
            answer: answer[bin],
            fallback: fallback[bin],
        })
        .collect();
    Some(ErrorBins { width_s, bins })
}

/// The share of errors in each of `2·per_side` bins around zero, and in the open bins at both ends. A sketch bucket that
/// straddles an edge is split in proportion.
fn shares(statistics: &ErrorStatistics, width_s: f64, per_side: usize) -> Vec<f64> {
    let mut counts = vec![0.0; 2 * per_side + 2];
    let mut spread = |histogram: &Histogram, bin_of: &dyn Fn(usize) -> usize| {
        for bucket in histogram.buckets() {
            let (low, high) = (bucket.low / 1e6 / width_s, bucket.high / 1e6 / width_s);
            let mut from = low;
            while from < high {
                let step = (from.floor() as usize).min(per_side);
                let to = if step == per_side { high } else { high.min(step as f64 + 1.0) };
                counts[bin_of(step)] += bucket.count as f64 * (to - from) / (high - low);
                from = to;
            }
        }
    };
    spread(statistics.early(), &|step| per_side + 1 + step);
    spread(statistics.late(), &|step| per_side - step);
    let n = statistics.n().max(1) as f64;
    counts.into_iter().map(|count| count / n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_each_error_once_and_on_its_side() {
        let of = |errors_s: &[i64]| {
            ErrorStatistics::from_durations_us(errors_s.iter().map(|e| ((1000 + e) * 1_000_000, 1_000_000_000)))
        };
        let bins = error_bins(&of(&[-70, -65, -1, 0, 1, 9, 100, 500]), &of(&[0, 0, 0, 0])).unwrap();
        let sum = |pick: fn(&ErrorBin) -> f64| bins.bins.iter().map(pick).sum::<f64>();
        assert!((sum(|bin| bin.answer) - 1.0).abs() < 1e-12 && (sum(|bin| bin.fallback) - 1.0).abs() < 1e-12);
        let late: f64 = bins.bins.iter().filter(|bin| bin.to_s.is_some_and(|to| to <= 0.0)).map(|bin| bin.answer).sum();
        assert!((late - 3.0 / 8.0).abs() < 1e-12);
        assert_eq!((bins.bins[0].from_s, bins.bins[bins.bins.len() - 1].to_s), (None, None));
        for pair in bins.bins.windows(2) {
            assert_eq!(pair[0].to_s, pair[1].from_s);
        }
        let zero = bins.bins.iter().find(|bin| bin.from_s == Some(0.0)).unwrap();
        assert_eq!(zero.fallback, 1.0);
    }
}
