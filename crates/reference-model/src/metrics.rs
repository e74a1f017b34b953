use serde::{Deserialize, Serialize};

/// How far predictions are from labels, in the label's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean of prediction less label.
    #[serde(default)]
    pub bias: f64,
    /// Root of the mean squared difference of the logarithms of 1 + label and 1 + prediction; none where a label or a
    /// prediction is not above −1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmsle: Option<f64>,
}

impl Metrics {
    /// Of pairs of a prediction and its label. NaN where there is none.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (mut count, mut absolute, mut squared, mut signed, mut logarithmic) = (0_u64, 0.0, 0.0, 0.0, Some(0.0));
        for (prediction, label) in pairs {
            let error: f64 = prediction - label;
            count += 1;
            absolute += error.abs();
            squared += error * error;
            signed += error;
            logarithmic = logarithmic.filter(|_| prediction > -1.0 && label > -1.0).map(|sum: f64| {
                let error = libm::log1p(prediction) - libm::log1p(label);
                sum + error * error
            });
        }
        let count = count as f64;
        Self {
            mae: absolute / count,
            rmse: (squared / count).sqrt(),
            bias: signed / count,
            rmsle: logarithmic.map(|sum| (sum / count).sqrt()),
        }
    }

    /// By name, in the order in which they are printed.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all =
            [("mae", Some(self.mae)), ("rmse", Some(self.rmse)), ("bias", Some(self.bias)), ("rmsle", self.rmsle)];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// What a round of training is judged by, in the label's unit whatever the target transform; XGBoost's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvalMetric {
    /// Mean absolute error.
    Mae,
    /// Root of the mean squared error.
    Rmse,
    /// Root of the mean squared error of the logarithm of 1 + label.
    Rmsle,
    /// Mean pinball loss of the objective's quantile; of the median where the objective has none.
    Quantile,
}

impl EvalMetric {
    /// The names a hyperparameter can have.
    pub const NAMES: [(&'static str, Self); 4] =
        [("rmse", Self::Rmse), ("mae", Self::Mae), ("rmsle", Self::Rmsle), ("quantile", Self::Quantile)];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, metric)| *metric == self).map_or("", |(name, _)| name)
    }

    /// Of pairs of a prediction and its label; `alpha` is the quantile that is asked for.
    pub(crate) fn of(self, pairs: impl Iterator<Item = (f64, f64)>, alpha: f64) -> f64 {
        let (mut count, mut sum) = (0_u64, 0.0);
        for (prediction, label) in pairs {
            let error: f64 = prediction - label;
            count += 1;
            sum += match self {
                Self::Mae => error.abs(),
                Self::Rmse => error * error,
                Self::Rmsle => {
                    // As XGBoost does: a prediction that has no logarithm counts as one that has just one.
                    let error = libm::log1p(prediction.max(-1.0 + 1e-6)) - libm::log1p(label);
                    error * error
                }
                Self::Quantile if error > 0.0 => (1.0 - alpha) * error,
                Self::Quantile => -alpha * error,
            };
        }
        let mean = sum / count as f64;
        if matches!(self, Self::Rmse | Self::Rmsle) { mean.sqrt() } else { mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(f64, f64); 4] = [(1.0, 4.0), (2.0, -2.0), (5.0, 5.0), (0.0, 0.0)];

    #[test]
    fn by_hand() {
        assert_eq!(Metrics::of(PAIRS), Metrics { mae: 1.75, rmse: 2.5, bias: 0.25, rmsle: None });
        let rmsle = Metrics::of([(1.0, 3.0), (3.0, 3.0)]).rmsle.unwrap();
        assert!((rmsle - std::f64::consts::LN_2 / std::f64::consts::SQRT_2).abs() < 1e-15);
    }

    #[test]
    fn rounds_are_judged_by_the_same_figures() {
        let of = |metric: EvalMetric, alpha| metric.of(PAIRS.into_iter(), alpha);
        assert_eq!((of(EvalMetric::Mae, 0.5), of(EvalMetric::Rmse, 0.5)), (1.75, 2.5));
        // Half of the absolute error at the median; one side costs more elsewhere: 3 short, 4 over.
        assert_eq!(of(EvalMetric::Quantile, 0.5), 0.875);
        assert!((of(EvalMetric::Quantile, 0.9) - (0.9 * 3.0 + 0.1 * 4.0) / 4.0).abs() < 1e-12);
        assert_eq!(EvalMetric::Rmsle.of([(1.0, 1.0)].into_iter(), 0.5), 0.0);
    }
}
