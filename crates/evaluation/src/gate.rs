//! Two models on the same held-out rows: paired errors, as a whole and by segment.
//!
//! Errors of rides of one hour go together (weather, traffic), so that rows are not independent: the variance is of hours'
//! sums (Liang and Zeger, 1986, with the G/(G−1) correction, t with G − 1 degrees of freedom), where there are
//! [`MIN_CLUSTERS`] hours at least; of rows else.

use std::{collections::BTreeMap, sync::Arc};

use domain::Hour;
use experiments::statistics::special::t_isf;
use serde::{Deserialize, Serialize};

/// With fewer hours than this, a variance of their sums is worth less than one of rows.
pub const MIN_CLUSTERS: usize = 10;

/// One held-out row that both models answered. Seconds.
#[derive(Debug, Clone, Copy)]
pub struct PairedRow<'a> {
    /// The hour of event time, UTC.
    pub hour: Hour,
    /// What the challenger says.
    pub challenger_s: f64,
    /// What it is compared with says.
    pub reference_s: f64,
    /// The label.
    pub actual_s: f64,
    /// Its value in each segment.
    pub segments: &'a [Arc<str>],
}

/// Mean absolute errors on the same rows, and their difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// Rows.
    pub rows: u64,
    /// Hours that they are of.
    pub hours: u64,
    /// Mean absolute error of the challenger, seconds.
    pub challenger_mae_s: f64,
    /// Mean absolute error of what it is compared with, seconds.
    pub reference_mae_s: f64,
    /// Challenger − reference, seconds: below 0 the challenger is better.
    pub difference_s: f64,
    /// The interval's lower end; −∞ is absent.
    pub lower_s: Option<f64>,
    /// The interval's upper end; ∞ is absent.
    pub upper_s: Option<f64>,
}

/// One value of one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentDifference {
    /// The segment.
    pub segment: String,
    /// Its value.
    pub value: String,
    /// The errors there.
    #[serde(flatten)]
    pub difference: PairedDifference,
    /// The challenger is proved worse here.
    pub is_worse: bool,
}

#[derive(Debug, Default)]
struct Sums {
    rows: u64,
    challenger: f64,
    reference: f64,
    /// The mean difference so far, and the sum of squared deviations from it (Welford, 1962): a difference of large sums would
    /// leave their rounding as a variance.
    mean: f64,
    deviations: f64,
    /// Rows and the sum of differences by hour.
    hours: BTreeMap<Hour, (u64, f64)>,
}

impl Sums {
    fn add(&mut self, row: &PairedRow<'_>) {
        let (challenger, reference) = ((row.challenger_s - row.actual_s).abs(), (row.reference_s - row.actual_s).abs());
        self.rows += 1;
        self.challenger += challenger;
        self.reference += reference;
        let before = challenger - reference - self.mean;
        self.mean += before / self.rows as f64;
        self.deviations += before * (challenger - reference - self.mean);
        let hour = self.hours.entry(row.hour).or_default();
        hour.0 += 1;
        hour.1 += challenger - reference;
    }

    /// With an interval of probability 1 − `alpha`.
    fn difference(&self, alpha: f64) -> Option<PairedDifference> {
        if self.rows == 0 {
            return None;
        }
        let n = self.rows as f64;
        let (challenger_mae_s, reference_mae_s) = (self.challenger / n, self.reference / n);
        let mean = challenger_mae_s - reference_mae_s;
        let groups = self.hours.len();
        let (variance, degrees) = if groups >= MIN_CLUSTERS {
            let g = groups as f64;
            let squares: f64 = self.hours.values().map(|(rows, sum)| (sum - *rows as f64 * mean).powi(2)).sum();
            (squares / n.powi(2) * g / (g - 1.0), g - 1.0)
        } else {
            (self.deviations / (n - 1.0) / n, n - 1.0)
        };
        let half = t_isf(alpha / 2.0, degrees) * variance.sqrt();
        let finite = |value: f64| value.is_finite().then_some(value);
        Some(PairedDifference {
            rows: self.rows,
            hours: groups as u64,
            challenger_mae_s,
            reference_mae_s,
            difference_s: mean,
            lower_s: finite(mean - half),
            upper_s: finite(mean + half),
        })
    }
}

/// How two models compare on rows that both answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedComparison {
    /// All rows; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<PairedDifference>,
    /// The values of segments with enough rows. Their intervals hold together (Bonferroni), so that one that lies above 0 is
    /// not the luck of having looked at many.
    pub segments: Vec<SegmentDifference>,
    /// Values of segments with too few rows to be judged.
    pub not_judged: u64,
}

/// Compares. `names` are the segments', in the order of the rows' values.
pub fn compare_paired<'a>(
    rows: impl IntoIterator<Item = PairedRow<'a>>,
    names: &[String],
    min_segment_rows: u64,
    alpha: f64,
) -> PairedComparison {
    let mut all = Sums::default();
    let mut by_value: BTreeMap<(usize, Arc<str>), Sums> = BTreeMap::new();
    for row in rows {
        if !(row.challenger_s.is_finite() && row.reference_s.is_finite() && row.actual_s.is_finite()) {
            continue;
        }
        all.add(&row);
        for (segment, value) in row.segments.iter().take(names.len()).enumerate() {
            by_value.entry((segment, Arc::clone(value))).or_default().add(&row);
        }
    }
    let values = by_value.len() as u64;
    by_value.retain(|_, sums| sums.rows >= min_segment_rows.max(2));
    let each = alpha / by_value.len().max(1) as f64;
    let segments: Vec<SegmentDifference> = by_value
        .iter()
        .filter_map(|((segment, value), sums)| {
            let difference = sums.difference(each)?;
            Some(SegmentDifference {
                segment: names.get(*segment)?.clone(),
                value: value.to_string(),
                is_worse: difference.lower_s.is_some_and(|lower| lower > 0.0),
                difference,
            })
        })
        .collect();
    PairedComparison { all: all.difference(alpha), not_judged: values - segments.len() as u64, segments }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hour(number: i64) -> Hour {
        Hour::of(jiff::Timestamp::from_second(1_600_000_000 + number * 3600).unwrap())
    }

    fn row(at: i64, challenger_s: f64, reference_s: f64, segments: &[Arc<str>]) -> PairedRow<'_> {
        PairedRow { hour: hour(at), challenger_s, reference_s, actual_s: 0.0, segments }
    }

    #[test]
    fn a_difference_by_rows_is_the_paired_t_interval() {
        // scipy.stats.ttest_rel([3, 5, 4, 6], [2, 3, 5, 1]).confidence_interval(0.95): mean 1.75, (-2.228058, 5.728058).
        let pairs = [(3.0, 2.0), (5.0, 3.0), (4.0, 5.0), (6.0, 1.0)];
        let found = compare_paired(pairs.map(|(c, r)| row(0, c, r, &[])), &[], 1, 0.05).all.unwrap();
        assert!((found.difference_s - 1.75).abs() < 1e-12);
        assert!((found.lower_s.unwrap() + 2.228_058).abs() < 1e-5, "{found:?}");
        assert!((found.upper_s.unwrap() - 5.728_058).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn the_same_difference_everywhere_has_no_variance() {
        let found = compare_paired((0..9).map(|_| row(0, 100.1, 33.3, &[])), &[], 1, 0.05).all.unwrap();
        assert!((found.upper_s.unwrap() - found.lower_s.unwrap()).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn rows_of_one_hour_count_as_one_where_they_are_alike() {
        // Each hour's rows say the same: ten times the rows is no more evidence.
        let rows = |times: usize| -> Vec<PairedRow<'static>> {
            (0..20).flat_map(|at| std::iter::repeat_n(row(at, (at % 3) as f64, 0.5, &[]), times)).collect()
        };
        let one = compare_paired(rows(1), &[], 1, 0.05).all.unwrap();
        let ten = compare_paired(rows(10), &[], 1, 0.05).all.unwrap();
        assert!((one.upper_s.unwrap() - ten.upper_s.unwrap()).abs() < 1e-9);
        assert_eq!((ten.rows, ten.hours), (200, 20));
    }

    #[test]
    fn a_segment_that_is_worse_is_named_though_the_whole_is_better() {
        let (near, far): (Vec<Arc<str>>, Vec<Arc<str>>) = (vec!["near".into()], vec!["far".into()]);
        let mut rows = Vec::new();
        for at in 0..200 {
            let wobble = f64::from(at % 7);
            rows.push(row(i64::from(at) / 8, 10.0 + wobble, 20.0 + wobble + f64::from(at % 3), &near));
            if at % 4 == 0 {
                rows.push(row(i64::from(at) / 8, 15.0 + wobble + f64::from(at % 5), 10.0 + wobble, &far));
            }
        }
        let found = compare_paired(rows, &["distance".to_owned()], 20, 0.05);
        assert!(found.all.unwrap().upper_s.unwrap() < 0.0);
        let worse: Vec<&str> =
            found.segments.iter().filter(|segment| segment.is_worse).map(|segment| segment.value.as_str()).collect();
        assert_eq!(worse, ["far"]);
    }

    #[test]
    fn few_rows_of_a_segment_are_not_judged() {
        let value: Vec<Arc<str>> = vec!["rare".into()];
        let found = compare_paired([row(0, 9.0, 1.0, &value), row(1, 9.5, 1.0, &value)], &["x".to_owned()], 3, 0.05);
        assert_eq!((found.segments.len(), found.not_judged), (0, 1));
        assert_eq!(compare_paired([], &[], 1, 0.05).all, None);
    }

    proptest! {
        #[test]
        fn the_order_of_rows_and_the_names_of_models_do_not_matter(
            pairs in prop::collection::vec((0_i64..30, 0.0..100.0_f64, 0.0..100.0_f64), 2..200),
        ) {
            let rows = |swap: bool| -> Vec<PairedRow<'static>> {
                pairs.iter().map(|&(at, c, r)| if swap { row(at, r, c, &[]) } else { row(at, c, r, &[]) }).collect()
            };
            let forward = compare_paired(rows(false), &[], 1, 0.05).all.unwrap();
            let backward = compare_paired(rows(false).into_iter().rev(), &[], 1, 0.05).all.unwrap();
            let swapped = compare_paired(rows(true), &[], 1, 0.05).all.unwrap();
            let near = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-6;
            prop_assert!(near(forward.lower_s, backward.lower_s) && near(forward.upper_s, backward.upper_s));
            prop_assert!(near(forward.lower_s, swapped.upper_s.map(|upper| -upper)));
        }
    }
}
