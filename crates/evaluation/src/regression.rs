//! Exact figures of a sample of predictions that is in memory. What is merged over hours is [`crate::ErrorStatistics`].
//!
//! Error = predicted − actual; late = it took longer than predicted. The unit is the caller's: seconds or minutes.

use crate::{EvaluationError, quantile::quantile};

/// What a late unit costs in early ones, in [`RegressionMetrics::asymmetric_cost`].
pub const LATE_COST: f64 = 3.0;

/// Figures of predictions against what came.
#[derive(Debug, Clone, PartialEq)]
pub struct RegressionMetrics {
    /// How many predictions.
    pub n: usize,
    /// Mean |error|.
    pub mae: f64,
    /// Mean error².
    pub mse: f64,
    /// Its root.
    pub rmse: f64,
    /// Mean of |error|/|actual|, the latter no less than the machine epsilon.
    pub mape: f64,
    /// The largest |error|.
    pub max_error: f64,
    /// 1 − Σ error²/Σ(actual − mean)²; of constant actuals 1 where all is exact and 0 where not. Absent below two.
    pub r2: Option<f64>,
    /// The same without the part of the bias.
    pub explained_variance: f64,
    /// Mean error.
    pub bias: f64,
    /// The errors' sample standard deviation. Absent below two.
    pub error_std: Option<f64>,
    /// Σ|error|/Σ|actual|. Absent where all actual values are 0.
    pub wape: Option<f64>,
    /// The share with actual > predicted.
    pub share_late: f64,
    /// The share with actual < predicted.
    pub share_early: f64,
    /// The mean of 3·(how late) + (how early).
    pub asymmetric_cost: f64,
    /// The root of the mean squared difference of ln(1 + value). Absent where a value is −1 or less.
    pub rmsle: Option<f64>,
    /// |error|, ascending.
    abs_errors: Vec<f64>,
    /// Errors, ascending.
    errors: Vec<f64>,
}

impl RegressionMetrics {
    /// Of pairs at the same place. They must be as many, at least one, and finite.
    pub fn of(actual: &[f64], predicted: &[f64]) -> Result<Self, EvaluationError> {
        same_length(&[("actual", actual), ("predicted", predicted)])?;
        let n = actual.len() as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
        let pairs = || actual.iter().copied().zip(predicted.iter().copied());
        let mut errors: Vec<f64> = pairs().map(|(actual, predicted)| predicted - actual).collect();
        let bias = mean(&mut errors.iter().copied());
        let mse = mean(&mut errors.iter().map(|error| error * error));
        let actual_mean = mean(&mut actual.iter().copied());
        let actual_variance = mean(&mut actual.iter().map(|actual| (actual - actual_mean).powi(2)));
        let error_variance = mean(&mut errors.iter().map(|error| (error - bias).powi(2)));
        let explained = |unexplained: f64| {
            if actual_variance > 0.0 {
                1.0 - unexplained / actual_variance
            } else if unexplained == 0.0 {
                1.0
            } else {
                0.0
            }
        };
        let sum_abs_actual: f64 = actual.iter().map(|actual| actual.abs()).sum();
        let sum_abs: f64 = errors.iter().map(|error| error.abs()).sum();
        let share = |matches: &dyn Fn(f64) -> bool| errors.iter().filter(|error| matches(**error)).count() as f64 / n;
        let (share_late, share_early) = (share(&|error| error < 0.0), share(&|error| error > 0.0));
        let logarithms = pairs().all(|(actual, predicted)| actual > -1.0 && predicted > -1.0);
        let mut metrics = Self {
            n: actual.len(),
            mae: sum_abs / n,
            mse,
            rmse: mse.sqrt(),
            mape: mean(
                &mut pairs().map(|(actual, predicted)| (predicted - actual).abs() / actual.abs().max(f64::EPSILON)),
            ),
            max_error: errors.iter().fold(0.0, |most, error| error.abs().max(most)),
            r2: (actual.len() > 1).then(|| explained(mse)),
            explained_variance: explained(error_variance),
            bias,
            error_std: (actual.len() > 1).then(|| (error_variance * n / (n - 1.0)).sqrt()),
            wape: (sum_abs_actual > 0.0).then(|| sum_abs / sum_abs_actual),
            share_late,
            share_early,
            asymmetric_cost: mean(
                &mut errors.iter().map(|error| if *error < 0.0 { -LATE_COST * error } else { *error }),
            ),
            rmsle: logarithms.then(|| {
                mean(&mut pairs().map(|(actual, predicted)| (predicted.ln_1p() - actual.ln_1p()).powi(2))).sqrt()
            }),
            abs_errors: errors.iter().map(|error| error.abs()).collect(),
            errors: Vec::new(),
        };
        errors.sort_by(f64::total_cmp);
        metrics.abs_errors.sort_by(f64::total_cmp);
        metrics.errors = errors;
        Ok(metrics)
    }

    /// The share with |error| ≤ `bound`.
    pub fn share_within(&self, bound: f64) -> f64 {
        self.abs_errors.partition_point(|error| *error <= bound) as f64 / self.n as f64
    }

    /// The quantile `q` of |error|, linear between neighbours.
    pub fn abs_error_quantile(&self, q: f64) -> f64 {
        quantile(&self.abs_errors, q).unwrap_or(f64::NAN)
    }

    /// The quantile `q` of the error, linear between neighbours.
    pub fn error_quantile(&self, q: f64) -> f64 {
        quantile(&self.errors, q).unwrap_or(f64::NAN)
    }

    /// The pinball loss of the predictions as the quantile `q`: q·late + (1 − q)·early, on average.
    pub fn pinball(&self, q: f64) -> f64 {
        self.errors.iter().map(|error| if *error < 0.0 { -q * error } else { (1.0 - q) * error }).sum::<f64>()
            / self.n as f64
    }
}

/// Figures of prediction intervals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntervalMetrics {
    /// The share with lower ≤ actual ≤ upper.
    pub coverage: f64,
    /// Mean of upper − lower.
    pub mean_width: f64,
    /// Winkler's score: the mean width, and 2/α for each unit outside. Less is better.
    pub winkler_score: f64,
}

impl IntervalMetrics {
    /// Of intervals that are to hold the actual value with the probability `confidence`, above 0 and below 1. A bound may
    /// be infinite, and then the width is.
    pub fn of(actual: &[f64], lower: &[f64], upper: &[f64], confidence: f64) -> Result<Self, EvaluationError> {
        same_length(&[("actual", actual)])?;
        for (field, bounds) in [("lower", lower), ("upper", upper)] {
            if bounds.len() != actual.len() || bounds.iter().any(|bound| bound.is_nan()) {
                return Err(EvaluationError::input(field, "must be as many numbers as actual"));
            }
        }
        if !(confidence > 0.0 && confidence < 1.0) {
            return Err(EvaluationError::input("confidence", "must lie between 0 and 1"));
        }
        let (mut covered, mut width, mut outside) = (0_usize, 0.0, 0.0);
        for ((actual, lower), upper) in actual.iter().zip(lower).zip(upper) {
            covered += usize::from(lower <= actual && actual <= upper);
            width += upper - lower;
            outside += (lower - actual).max(0.0) + (actual - upper).max(0.0);
        }
        let n = actual.len() as f64;
        Ok(Self {
            coverage: covered as f64 / n,
            mean_width: width / n,
            winkler_score: (width + 2.0 / (1.0 - confidence) * outside) / n,
        })
    }
}

pub(crate) fn same_length(fields: &[(&'static str, &[f64])]) -> Result<(), EvaluationError> {
    let Some((_, first)) = fields.first() else { return Ok(()) };
    for (field, values) in fields {
        if values.is_empty() {
            return Err(EvaluationError::input(field, "has no value"));
        }
        if values.len() != first.len() {
            return Err(EvaluationError::input(field, "must have as many values as the first field"));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(EvaluationError::input(field, "must be finite numbers"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorStatistics;

    #[test]
    fn the_merged_figures_agree() {
        let (actual, predicted) = ([300.0, 240.0, 300.0, 300.0, 299.5], [180.0, 240.0, 360.0, 361.0, 0.5]);
        let exact = RegressionMetrics::of(&actual, &predicted).unwrap();
        let us = |seconds: f64| (seconds * 1e6) as i64;
        let pairs = predicted.iter().zip(&actual).map(|(predicted, actual)| (us(*predicted), us(*actual)));
        let merged = ErrorStatistics::from_durations_us(pairs).figures().unwrap();
        for (exact, merged) in [
            (exact.mae, merged.mae_s),
            (exact.bias, merged.bias_s),
            (exact.rmse, merged.rmse_s),
            (exact.wape.unwrap(), merged.wape.unwrap()),
            (exact.asymmetric_cost, merged.asymmetric_cost_s),
            (exact.share_within(120.0), merged.share_within_120_s),
            (exact.share_late, merged.share_late),
        ] {
            assert!((exact - merged).abs() < 1e-9, "{exact} {merged}");
        }
    }

    #[test]
    fn what_has_no_figure_is_absent() {
        let one = RegressionMetrics::of(&[0.0], &[-2.0]).unwrap();
        assert_eq!((one.r2, one.error_std, one.wape, one.rmsle), (None, None, None, None));
        for (actual, predicted) in [(&[][..], &[][..]), (&[1.0], &[1.0, 2.0]), (&[f64::NAN], &[1.0])] {
            assert_eq!(RegressionMetrics::of(actual, predicted).unwrap_err().reason(), "invalid_input");
        }
        assert!(IntervalMetrics::of(&[1.0], &[0.0], &[2.0], 1.0).is_err());
        let infinite = IntervalMetrics::of(&[1.0], &[f64::NEG_INFINITY], &[f64::INFINITY], 0.9).unwrap();
        assert_eq!((infinite.coverage, infinite.mean_width), (1.0, f64::INFINITY));
    }
}
