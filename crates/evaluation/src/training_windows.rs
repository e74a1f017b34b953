//! How long a window of rows a model should be trained on: by what windows of several lengths were worth on the time after.

use domain::Hour;
use serde::Serialize;

use crate::gate::{PairedDifference, PairedRow, compare_paired};

/// One row that was predicted by the model of every window. Seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRow {
    /// Which origin it follows, from 0.
    pub origin: usize,
    /// The hour of event time, UTC.
    pub hour: Hour,
    /// The label.
    pub actual_s: f64,
    /// What each window's model says, in the order of the windows.
    pub predicted_s: Vec<f64>,
}

/// What one window length was worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowFigures {
    /// The window's length, days; absent for all rows before the origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// Mean absolute error, seconds, over all origins.
    pub mae_s: f64,
    /// Mean absolute error after each origin, seconds.
    pub by_origin_mae_s: Vec<f64>,
    /// Its absolute errors less those of the best window, on the same rows; absent for the best itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against_best: Option<PairedDifference>,
    /// It is proved worse than the best: the interval lies above 0.
    pub is_worse: bool,
}

/// Why a window is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowReason {
    /// It is the best, and every longer one is proved worse: what is older misleads.
    LongerIsWorse,
    /// No other is proved better, and it is the longest of those: what is rare is seen more often.
    LongestOfTheBest,
}

/// The windows side by side, and the choice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowChoice {
    /// In the order of the windows.
    pub windows: Vec<WindowFigures>,
    /// The best by mean absolute error.
    pub best: usize,
    /// The one to train on: the longest that is not proved worse than the best.
    pub chosen: usize,
    /// Why.
    pub reason: WindowReason,
}

/// Chooses among windows of `days` (ascending; none, last, is all rows). Intervals have probability 1 − `alpha` together.
/// `None` without a row or a window.
pub fn choose_window(days: &[Option<u32>], rows: &[WindowRow], alpha: f64) -> Option<WindowChoice> {
    let errors =
        |window: usize| rows.iter().map(move |row| (row.origin, (row.predicted_s[window] - row.actual_s).abs()));
    let mean = |of: &mut dyn Iterator<Item = f64>| {
        let (count, sum) = of.fold((0_u32, 0.0), |(count, sum), error| (count + 1, sum + error));
        sum / f64::from(count)
    };
    let maes: Vec<f64> = (0..days.len()).map(|window| mean(&mut errors(window).map(|(_, error)| error))).collect();
    let best = (0..days.len()).filter(|_| !rows.is_empty()).min_by(|a, b| maes[*a].total_cmp(&maes[*b]))?;
    let origins = rows.iter().map(|row| row.origin).max().map_or(0, |last| last + 1);
    let each = alpha / (days.len() - 1).max(1) as f64;
    let windows: Vec<WindowFigures> = days
        .iter()
        .enumerate()
        .map(|(window, days)| {
            let pairs = rows.iter().map(|row| PairedRow {
                hour: row.hour,
                challenger_s: row.predicted_s[window],
                reference_s: row.predicted_s[best],
                actual_s: row.actual_s,
                segments: &[],
            });
            let against_best = (window != best).then(|| compare_paired(pairs, &[], 1, each).all).flatten();
            let of_origin = |origin| mean(&mut errors(window).filter(|(of, _)| *of == origin).map(|(_, error)| error));
            WindowFigures {
                days: *days,
                mae_s: maes[window],
                by_origin_mae_s: (0..origins).map(of_origin).collect(),
                is_worse: against_best.and_then(|difference| difference.lower_s).is_some_and(|lower| lower > 0.0),
                against_best,
            }
        })
        .collect();
    let chosen = (0..days.len()).rev().find(|window| !windows[*window].is_worse)?;
    let reason = if chosen + 1 < days.len() { WindowReason::LongerIsWorse } else { WindowReason::LongestOfTheBest };
    Some(WindowChoice { windows, best, chosen, reason })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn rows(predict: impl Fn(usize) -> Vec<f64>) -> Vec<WindowRow> {
        let hour = |at: usize| Hour::of(Timestamp::from_second(1_600_000_000 + at as i64 * 900).unwrap());
        (0..400)
            .map(|at| WindowRow { origin: at / 200, hour: hour(at), actual_s: 0.0, predicted_s: predict(at) })
            .collect()
    }

    const DAYS: [Option<u32>; 3] = [Some(14), Some(90), None];

    #[test]
    fn the_longest_that_is_as_good_is_taken() {
        let wobble = |at: usize| (at * 7919 % 13) as f64 - 6.0;
        let choice =
            choose_window(&DAYS, &rows(|at| vec![40.0 + wobble(at), 40.0, 40.1 + wobble(at + 5)]), 0.05).unwrap();
        assert_eq!((choice.chosen, choice.reason), (2, WindowReason::LongestOfTheBest));
        assert!(choice.windows.iter().all(|window| !window.is_worse && window.by_origin_mae_s.len() == 2));
        assert_eq!(choice.windows[choice.best].against_best, None);
    }

    #[test]
    fn what_is_old_and_misleads_is_left_out() {
        let wobble = |at: usize| (at * 7919 % 13) as f64;
        let choice = choose_window(&DAYS, &rows(|at| vec![30.0 + wobble(at), 60.0, 90.0 - wobble(at)]), 0.05).unwrap();
        assert_eq!((choice.best, choice.chosen, choice.reason), (0, 0, WindowReason::LongerIsWorse));
        assert!(choice.windows[1].is_worse && choice.windows[2].is_worse);
        assert_eq!(choose_window(&DAYS, &[], 0.05), None);
        assert_eq!(choose_window(&[], &rows(|_| Vec::new()), 0.05), None);
    }
}
