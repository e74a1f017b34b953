//! A model over requests that others answered: its errors beside those of the answers, on the very same rides.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::gate::{PairedDifference, PairedRow, compare_paired};

/// Errors of one side. Seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BacktestErrors {
    /// Mean absolute error.
    pub mae_s: f64,
    /// Root of the mean squared error.
    pub rmse_s: f64,
    /// Root of the mean squared error of the logarithm of 1 s + duration. Durations below 0 count as 0.
    pub rmsle: f64,
    /// Mean of predicted − actual.
    pub bias_s: f64,
    /// Share with |error| ≤ 2 minutes.
    pub share_within_120_s: f64,
}

/// Both sides on the rides of a segment's value, or on all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BacktestFigures {
    /// The model that is tried.
    pub model: BacktestErrors,
    /// What answered then.
    pub then: BacktestErrors,
    /// Of the absolute errors: model − then. Below 0 the model is better.
    pub difference: PairedDifference,
}

/// One value of one segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BacktestSegment {
    /// The segment.
    pub segment: String,
    /// Its value.
    pub value: String,
    /// The figures there. Intervals of segments hold together.
    #[serde(flatten)]
    pub figures: BacktestFigures,
}

/// A backtest's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    /// All rides; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<BacktestFigures>,
    /// Values of segments with enough rides.
    pub segments: Vec<BacktestSegment>,
    /// Values of segments with too few.
    pub not_judged: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    rows: f64,
    absolute: f64,
    squared: f64,
    logarithmic: f64,
    signed: f64,
    within: f64,
}

impl Sums {
    fn add(&mut self, predicted_s: f64, actual_s: f64) {
        let error = predicted_s - actual_s;
        self.rows += 1.0;
        self.absolute += error.abs();
        self.squared += error * error;
        self.logarithmic += (predicted_s.max(0.0).ln_1p() - actual_s.max(0.0).ln_1p()).powi(2);
        self.signed += error;
        self.within += f64::from(u8::from(error.abs() <= 120.0));
    }

    fn errors(&self) -> BacktestErrors {
        BacktestErrors {
            mae_s: self.absolute / self.rows,
            rmse_s: (self.squared / self.rows).sqrt(),
            rmsle: (self.logarithmic / self.rows).sqrt(),
            bias_s: self.signed / self.rows,
            share_within_120_s: self.within / self.rows,
        }
    }
}

/// Both sides' sums.
#[derive(Debug, Default, Clone, Copy)]
struct Pair {
    model: Sums,
    then: Sums,
}

impl Pair {
    fn add(&mut self, row: &PairedRow<'_>) {
        self.model.add(row.challenger_s, row.actual_s);
        self.then.add(row.reference_s, row.actual_s);
    }

    fn figures(&self, difference: PairedDifference) -> BacktestFigures {
        BacktestFigures { model: self.model.errors(), then: self.then.errors(), difference }
    }
}

/// Compares a model (the rows' challenger) with what answered then (their reference). `names` are the segments', in the order of
/// the rows' values; values with fewer than `min_segment_rows` rides are not judged. Intervals have probability 1 − `alpha`.
pub fn backtest(rows: &[PairedRow<'_>], names: &[String], min_segment_rows: u64, alpha: f64) -> Backtest {
    let compared = compare_paired(rows.iter().copied(), names, min_segment_rows, alpha);
    let mut all = Pair::default();
    let mut by_value: BTreeMap<(usize, Arc<str>), Pair> = BTreeMap::new();
    let is_finite =
        |row: &&PairedRow<'_>| [row.challenger_s, row.reference_s, row.actual_s].iter().all(|s| s.is_finite());
    for row in rows.iter().filter(is_finite) {
        all.add(row);
        for (segment, value) in row.segments.iter().take(names.len()).enumerate() {
            by_value.entry((segment, Arc::clone(value))).or_default().add(row);
        }
    }
    let segments = compared.segments.into_iter().filter_map(|judged| {
        let segment = names.iter().position(|name| *name == judged.segment)?;
        let pair = by_value.get(&(segment, judged.value.as_str().into()))?;
        let figures = pair.figures(judged.difference);
        Some(BacktestSegment { segment: judged.segment, value: judged.value, figures })
    });
    Backtest {
        all: compared.all.map(|difference| all.figures(difference)),
        segments: segments.collect(),
        not_judged: compared.not_judged,
    }
}

#[cfg(test)]
mod tests {
    use domain::Hour;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn row(at: i64, challenger_s: f64, reference_s: f64, actual_s: f64, segments: &[Arc<str>]) -> PairedRow<'_> {
        let hour = Hour::of(Timestamp::from_second(1_600_000_000 + at * 3600).unwrap());
        PairedRow { hour, challenger_s, reference_s, actual_s, segments }
    }

    #[test]
    fn figures_by_hand() {
        let rows = [row(0, 100.0, 400.0, 100.0, &[]), row(1, 0.0, 100.0, 300.0, &[])];
        let all = backtest(&rows, &[], 1, 0.05).all.unwrap();
        assert_eq!((all.model.mae_s, all.model.bias_s, all.model.share_within_120_s), (150.0, -150.0, 0.5));
        assert_eq!((all.then.mae_s, all.then.bias_s, all.then.share_within_120_s), (250.0, 50.0, 0.0));
        assert!((all.model.rmse_s - 45_000.0_f64.sqrt()).abs() < 1e-9);
        assert!((all.model.rmsle - 301.0_f64.ln() / 2.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!((all.difference.rows, all.difference.difference_s), (2, -100.0));
    }

    proptest! {
        /// A segment of which every ride is says what all say, and the order of rides does not matter.
        #[test]
        fn a_segment_of_all_rides_is_all_rides(
            pairs in prop::collection::vec((0_i64..40, 0.0..3_000.0_f64, 0.0..3_000.0_f64, 1.0..3_000.0_f64), 2..150),
        ) {
            let value: Vec<Arc<str>> = vec!["all".into()];
            let mut rows: Vec<PairedRow<'_>> =
                pairs.iter().map(|&(at, model, then, actual)| row(at, model, then, actual, &value)).collect();
            let names = ["every".to_owned()];
            let found = backtest(&rows, &names, 1, 0.05);
            let (all, segment) = (found.all.unwrap(), &found.segments[0].figures);
            prop_assert_eq!(all.model, segment.model);
            prop_assert_eq!(all.then, segment.then);
            prop_assert!((all.model.mae_s - all.difference.challenger_mae_s).abs() < 1e-6);
            rows.reverse();
            let again = backtest(&rows, &names, 1, 0.05).all.unwrap();
            prop_assert!((again.model.rmsle - all.model.rmsle).abs() < 1e-9);
        }
    }
}
