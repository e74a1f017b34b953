//! Shadow arms: what they would have answered, on the rides that another arm answered.

use serde::{Deserialize, Serialize};

use crate::{
    ErrorStatistics, Figures, Improvement,
    metrics::{ErrorAccumulator, sample_covariance, sample_variance, t_975},
    segment::{is_duration, paired, to_us},
};
use domain::Tier;

/// What one shadow arm said of one candidate, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShadowRow<'a> {
    /// The 16 bytes of the prediction's id.
    pub prediction_id: [u8; 16],
    /// The candidate.
    pub candidate_id: &'a str,
    /// The shadow arm.
    pub arm: &'a str,
    /// The version of the model behind it.
    pub model_version: &'a str,
    /// What it predicts, seconds; `None` where it did not answer.
    pub prediction_s: Option<f64>,
}

/// What shadows' predictions are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShadowSegment {
    /// The shadow arm.
    pub arm: String,
    /// The version of the model behind it.
    pub model_version: String,
    /// The arm that answered.
    pub answering_arm: String,
    /// The tier that answered.
    pub tier: Tier,
}

/// A shadow's errors, and those of the arm that answered on the same rides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShadowStatistics {
    /// Predictions that the shadow was asked for.
    pub predictions: u64,
    /// Of these, those that it did not answer.
    pub failed: u64,
    /// Of these, those without an arrival or a cancellation yet.
    pub pending: u64,
    /// The shadow's errors, on rides whose car arrived.
    pub shadow: ErrorStatistics,
    /// The answering arm's errors on the same rides.
    pub answering: ErrorStatistics,
    #[serde(with = "crate::decimal")]
    sum_abs_product_us2: i128,
}

impl ShadowStatistics {
    /// Adds the predictions of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.predictions = self.predictions.saturating_add(other.predictions);
        self.failed = self.failed.saturating_add(other.failed);
        self.pending = self.pending.saturating_add(other.pending);
        self.shadow.merge(&other.shadow);
        self.answering.merge(&other.answering);
        self.sum_abs_product_us2 = self.sum_abs_product_us2.saturating_add(other.sum_abs_product_us2);
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        self.shadow.check()?;
        self.answering.check()?;
        let most = self.shadow.n().max(self.failed).max(self.pending);
        if self.shadow.n() != self.answering.n() || most > self.predictions {
            return Err("a shadow's errors are not of the rides that the arm answered".to_owned());
        }
        Ok(())
    }

    /// The figures.
    pub fn summary(&self) -> ShadowSummary {
        let n = self.shadow.n();
        let difference_s = (n > 0).then(|| {
            let difference = self.shadow.sum_abs_error_us() - self.answering.sum_abs_error_us();
            difference as f64 / n as f64 / 1e6
        });
        let difference_interval_s = difference_s.zip(t_975(n)).map(|(difference_s, t)| {
            let (a, b) = (&self.shadow, &self.answering);
            let variance = sample_variance(n, a.sum_abs_error_us(), a.sum_square_error_us2())
                + sample_variance(n, b.sum_abs_error_us(), b.sum_square_error_us2())
                - 2.0 * sample_covariance(n, a.sum_abs_error_us(), b.sum_abs_error_us(), self.sum_abs_product_us2);
            let half = t * (variance.max(0.0) / n as f64).sqrt() / 1e6;
            [difference_s - half, difference_s + half]
        });
        ShadowSummary {
            predictions: self.predictions,
            failed: self.failed,
            label_maturity: (self.predictions > 0)
                .then(|| self.predictions.saturating_sub(self.pending) as f64 / self.predictions as f64),
            shadow: self.shadow.figures(),
            answering: self.answering.figures(),
            mae_difference_s: difference_s,
            mae_difference_interval_s: difference_interval_s,
            improvement: paired(&self.shadow, &self.answering, self.sum_abs_product_us2),
        }
    }
}

/// A shadow's figures beside those of the arm that answered, on the same rides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShadowSummary {
    /// Predictions that the shadow was asked for.
    pub predictions: u64,
    /// Of these, those that it did not answer.
    pub failed: u64,
    /// The share of them whose outcome landed, 0–1; absent without predictions.
    pub label_maturity: Option<f64>,
    /// The shadow's errors; absent where it met no arrival.
    pub shadow: Option<Figures>,
    /// The answering arm's errors on the same rides.
    pub answering: Option<Figures>,
    /// The shadow's mean absolute error less the answering arm's, seconds. Negative: the shadow is better.
    pub mae_difference_s: Option<f64>,
    /// Its 95 % interval (paired; takes the rides as independent).
    pub mae_difference_interval_s: Option<[f64; 2]>,
    /// How much smaller the shadow's mean absolute error is, as a share of the answering arm's.
    pub improvement: Option<Improvement>,
}

/// Adds up one shadow.
#[derive(Debug, Default)]
pub(crate) struct ShadowAccumulator {
    pub(crate) predictions: u64,
    pub(crate) failed: u64,
    pub(crate) pending: u64,
    shadow: ErrorAccumulator,
    answering: ErrorAccumulator,
    sum_abs_product_us2: i128,
}

impl ShadowAccumulator {
    /// Adds a ride whose car arrived; what is no duration is left out.
    pub(crate) fn add(&mut self, shadow_s: f64, answered_us: i64, actual_us: i64) {
        if is_duration(shadow_s) {
            let shadow = self.shadow.add(to_us(shadow_s), actual_us);
            let answering = self.answering.add(answered_us, actual_us);
            self.sum_abs_product_us2 =
                self.sum_abs_product_us2.saturating_add(i128::from(shadow) * i128::from(answering));
        }
    }

    pub(crate) fn finish(self) -> ShadowStatistics {
        ShadowStatistics {
            predictions: self.predictions,
            failed: self.failed,
            pending: self.pending,
            shadow: self.shadow.finish(),
            answering: self.answering.finish(),
            sum_abs_product_us2: self.sum_abs_product_us2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_paired() {
        // Both err by up to a minute on the same rides; the shadow is always one second better.
        let mut sums = ShadowAccumulator::default();
        for ride in 0..60i64 {
            sums.predictions += 1;
            sums.add(300.0 + (ride + 1) as f64, (302 + ride) * 1_000_000, 300_000_000);
        }
        let statistics = sums.finish();
        assert_eq!(statistics.check(), Ok(()));
        let summary = statistics.summary();
        assert!((summary.mae_difference_s.unwrap() + 1.0).abs() < 1e-9);
        let [low, high] = summary.mae_difference_interval_s.unwrap();
        assert!((low + 1.0).abs() < 1e-3 && (high + 1.0).abs() < 1e-3, "{low} {high}");
        assert!(summary.improvement.unwrap().is_clear());
    }
}
