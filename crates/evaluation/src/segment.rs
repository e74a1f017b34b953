use domain::Tier;
use serde::{Deserialize, Serialize};

use crate::{
    horizon::{HorizonTable, NotWeighted, WeightedFigures},
    interval::{IntervalFigures, IntervalStatistics},
    metrics::{ErrorAccumulator, ErrorStatistics, Figures, sample_covariance, sample_variance, t_975},
};

/// Durations beyond this (31 years), in seconds, are not durations but errors.
const MAX_DURATION_S: f64 = 1e9;

/// What predictions are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Segment {
    /// The version of the model that answered, or that was asked where none did.
    pub model_version: String,
    /// The arm.
    pub arm: String,
    /// The tier that answered.
    pub tier: Tier,
}

/// What became of predictions. `predictions` is the sum of `joined`, `cancelled`, `pending`, `unknown_candidate` and
/// `unusable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Distinct prediction ids.
    pub predictions: u64,
    /// Distinct candidates of them.
    pub candidates: u64,
    /// Predictions that have an outcome of any kind, be it only "dispatched".
    pub outcomes: u64,
    /// Predictions whose dispatched candidate arrived: the rows of the error figures.
    pub joined: u64,
    /// Predictions that were cancelled and have no arrival: censored.
    pub cancelled: u64,
    /// Predictions with neither an arrival nor a cancellation yet.
    pub pending: u64,
    /// Predictions whose arrived candidate is not among their candidates, or is not named.
    pub unknown_candidate: u64,
    /// Predictions that met an arrival, but the answer or the fallback is not a number of seconds, or the arrival is
    /// before the request.
    pub unusable: u64,
}

impl Counts {
    /// The share of predictions whose outcome landed (arrived or cancelled), 0–1; `None` without predictions.
    pub fn label_maturity(&self) -> Option<f64> {
        (self.predictions > 0).then(|| self.predictions.saturating_sub(self.pending) as f64 / self.predictions as f64)
    }

    /// Adds the predictions of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, other) in [
            (&mut self.predictions, other.predictions),
            (&mut self.candidates, other.candidates),
            (&mut self.outcomes, other.outcomes),
            (&mut self.joined, other.joined),
            (&mut self.cancelled, other.cancelled),
            (&mut self.pending, other.pending),
            (&mut self.unknown_candidate, other.unknown_candidate),
            (&mut self.unusable, other.unusable),
        ] {
            *count = count.saturating_add(other);
        }
    }

    fn check(&self) -> Result<(), String> {
        let parts = [self.joined, self.cancelled, self.pending, self.unknown_candidate, self.unusable];
        let sum = parts.iter().fold(0u64, |sum, &part| sum.saturating_add(part));
        if sum == self.predictions {
            Ok(())
        } else {
            Err(format!("what became of the predictions sums to {sum}, not {}", self.predictions))
        }
    }
}

/// Counts and errors of one segment, or of several merged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SegmentStatistics {
    /// What became of the predictions.
    pub counts: Counts,
    /// Errors of the answers.
    pub answer: ErrorStatistics,
    /// Errors of the naive fallback on the same rides.
    pub fallback: ErrorStatistics,
    /// Σ |answer error|·|fallback error|: what the two have in common, for the interval of the improvement.
    #[serde(with = "crate::decimal")]
    pub(crate) sum_abs_product_us2: i128,
    /// By predicted duration.
    pub horizons: HorizonTable,
    /// How answered intervals met the truth.
    pub interval: IntervalStatistics,
}

impl SegmentStatistics {
    /// Adds the predictions of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.answer.merge(&other.answer);
        self.fallback.merge(&other.fallback);
        self.sum_abs_product_us2 = self.sum_abs_product_us2.saturating_add(other.sum_abs_product_us2);
        self.horizons.merge(&other.horizons);
        self.interval.merge(&other.interval);
    }

    /// All of them together.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        parts.into_iter().fold(Self::default(), |mut sum, part| {
            sum.merge(part);
            sum
        })
    }

    /// The figures, each with the counts and the label maturity it stands on.
    pub fn summary(&self) -> Summary {
        let weighted = self.horizons.weighted();
        Summary {
            counts: self.counts,
            label_maturity: self.counts.label_maturity(),
            answer: self.answer.figures(),
            fallback: self.fallback.figures(),
            improvement: paired(&self.answer, &self.fallback, self.sum_abs_product_us2),
            weighted: weighted.ok(),
            not_weighted: weighted.err(),
            interval: self.interval.figures(),
        }
    }

    /// Whether the parts agree with each other, for statistics that were read from a file.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.counts.check()?;
        self.answer.check()?;
        self.fallback.check()?;
        self.horizons.check()?;
        self.interval.check()?;
        if self.interval.n > self.counts.joined {
            return Err("more rides have an interval than were joined".to_owned());
        }
        if self.answer.n() != self.counts.joined || self.fallback.n() != self.counts.joined {
            return Err(format!("{} rides were joined, but the errors are of another number", self.counts.joined));
        }
        Ok(())
    }
}

/// 1 − R with R = Σ|a|/Σ|b|, and by the delta method var R = (s²_a − 2R·s_ab + R²·s²_b)/(n·b̄²): how much smaller the errors `a`
/// are than `b` on the same rides.
pub(crate) fn paired(a: &ErrorStatistics, b: &ErrorStatistics, sum_abs_product_us2: i128) -> Option<Improvement> {
    let (n, sum_a, sum_b) = (a.n(), a.sum_abs_error_us(), b.sum_abs_error_us());
    if n == 0 || sum_b <= 0 {
        return None;
    }
    let ratio = sum_a as f64 / sum_b as f64;
    let interval = t_975(n).map(|t| {
        let a_variance = sample_variance(n, sum_a, a.sum_square_error_us2());
        let b_variance = sample_variance(n, sum_b, b.sum_square_error_us2());
        let covariance = sample_covariance(n, sum_a, sum_b, sum_abs_product_us2);
        let mean = sum_b as f64 / n as f64;
        let variance = a_variance - 2.0 * ratio * covariance + ratio * ratio * b_variance;
        let half = t * (variance.max(0.0) / n as f64).sqrt() / mean;
        [1.0 - ratio - half, 1.0 - ratio + half]
    });
    Some(Improvement { share: 1.0 - ratio, interval })
}

/// Figures with what they stand on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What became of the predictions.
    pub counts: Counts,
    /// The share of predictions whose outcome landed (arrived or cancelled), 0–1; absent without predictions.
    pub label_maturity: Option<f64>,
    /// Errors of the answers; absent where no ride was joined.
    pub answer: Option<Figures>,
    /// Errors of the naive fallback on the same rides.
    pub fallback: Option<Figures>,
    /// How much smaller the answers' mean absolute error is than the fallback's.
    pub improvement: Option<Improvement>,
    /// Errors of the answers, with arrived rides standing for cancelled ones of their predicted-duration class.
    #[serde(default)]
    pub weighted: Option<WeightedFigures>,
    /// Why there are no weighted figures.
    #[serde(default)]
    pub not_weighted: Option<NotWeighted>,
    /// How the answered intervals met the truth; absent where none was answered.
    #[serde(default)]
    pub interval: Option<IntervalFigures>,
}

/// How much smaller one mean absolute error is than the other's, as a share of the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Improvement {
    /// 1 − MAE(answer)/MAE(fallback). Negative: the answer is worse.
    pub share: f64,
    /// Its 95 % interval (paired, delta method; takes the rides as independent); absent below five rides.
    pub interval: Option<[f64; 2]>,
}

impl Improvement {
    /// Whether the interval leaves out "no difference".
    pub fn is_clear(&self) -> bool {
        self.interval.is_some_and(|[low, high]| low > 0.0 || high < 0.0)
    }
}

/// What became of one prediction, in the terms that are added up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    pub(crate) candidates: u64,
    pub(crate) label: Label,
    /// What was predicted by the row that stands for the prediction.
    pub(crate) prediction_s: f64,
    pub(crate) interval: Option<[f64; 2]>,
}

/// What became of one prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Label {
    Pending { has_outcome: bool },
    Cancelled,
    UnknownCandidate,
    Arrived { prediction_s: f64, fallback_s: f64, actual_us: i64 },
}

/// Adds up one segment.
#[derive(Debug, Default)]
pub(crate) struct SegmentAccumulator {
    pub(crate) counts: Counts,
    answer: ErrorAccumulator,
    fallback: ErrorAccumulator,
    sum_abs_product_us2: i128,
    horizons: HorizonTable,
    interval: IntervalStatistics,
}

impl SegmentAccumulator {
    /// Adds a prediction. Returns its error in microseconds (predicted − actual), where its car arrived and it is usable.
    pub(crate) fn add(&mut self, one: &Observation) -> Option<i64> {
        let counts = &mut self.counts;
        counts.predictions += 1;
        counts.candidates += one.candidates;
        counts.outcomes += u64::from(one.label != Label::Pending { has_outcome: false });
        match one.label {
            Label::Pending { .. } => counts.pending += 1,
            Label::Cancelled => counts.cancelled += 1,
            Label::UnknownCandidate => counts.unknown_candidate += 1,
            Label::Arrived { .. } => {}
        }
        let error_us = match one.label {
            Label::Arrived { prediction_s, fallback_s, actual_us } => {
                self.add_arrival(prediction_s, fallback_s, actual_us, one.interval)
            }
            _ => None,
        };
        if let Some(horizon) = self.horizons.of_mut(one.prediction_s) {
            horizon.predictions += 1;
            horizon.cancelled += u64::from(one.label == Label::Cancelled);
            if let Some(error_us) = error_us {
                horizon.add_error(error_us);
            }
        }
        error_us
    }

    fn add_arrival(
        &mut self,
        prediction_s: f64,
        fallback_s: f64,
        actual_us: i64,
        interval: Option<[f64; 2]>,
    ) -> Option<i64> {
        if !(is_duration(prediction_s)
            && is_duration(fallback_s)
            && actual_us >= 0
            && is_duration(actual_us as f64 / 1e6))
        {
            self.counts.unusable += 1;
            return None;
        }
        self.counts.joined += 1;
        let prediction_us = to_us(prediction_s);
        let answer_abs = self.answer.add(prediction_us, actual_us);
        let fallback_abs = self.fallback.add(to_us(fallback_s), actual_us);
        let product = i128::from(answer_abs) * i128::from(fallback_abs);
        self.sum_abs_product_us2 = self.sum_abs_product_us2.saturating_add(product);
        if let Some(interval) = interval {
            self.interval.add(interval, actual_us);
        }
        Some(prediction_us - actual_us)
    }

    pub(crate) fn finish(self) -> SegmentStatistics {
        SegmentStatistics {
            counts: self.counts,
            answer: self.answer.finish(),
            fallback: self.fallback.finish(),
            sum_abs_product_us2: self.sum_abs_product_us2,
            horizons: self.horizons,
            interval: self.interval,
        }
    }
}

/// Whether it is a number of seconds that can be a duration.
pub(crate) fn is_duration(seconds: f64) -> bool {
    seconds.abs() <= MAX_DURATION_S
}

pub(crate) fn to_us(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rides: &[(f64, f64, i64)]) -> SegmentStatistics {
        let mut accumulator = SegmentAccumulator::default();
        for &(prediction, fallback, actual_s) in rides {
            let label =
                Label::Arrived { prediction_s: prediction, fallback_s: fallback, actual_us: actual_s * 1_000_000 };
            accumulator.add(&Observation { candidates: 1, label, prediction_s: prediction, interval: None });
        }
        accumulator.finish()
    }

    #[test]
    fn what_is_not_a_duration_is_counted_and_left_out() {
        let statistics = of(&[
            (300.0, 310.0, 320),
            (f64::NAN, 310.0, 320),
            (300.0, f64::INFINITY, 320),
            (1e12, 310.0, 320),
            (300.0, 310.0, -1),
        ]);
        assert_eq!((statistics.counts.joined, statistics.counts.unusable, statistics.answer.n()), (1, 4, 1));
        assert_eq!(statistics.check(), Ok(()));
    }

    #[test]
    fn an_improvement_knows_when_it_could_be_chance() {
        let better: Vec<_> = (0..40).map(|i| (300.0 + f64::from(i % 7), 330.0 + f64::from(i % 5), 300)).collect();
        let improvement = of(&better).summary().improvement.unwrap();
        assert!(improvement.share > 0.8 && improvement.is_clear(), "{improvement:?}");
        let even: Vec<_> = (0..40).map(|i| (300.0 + f64::from(i % 7), 300.0 + f64::from((i + 3) % 7), 300)).collect();
        let improvement = of(&even).summary().improvement.unwrap();
        assert!(improvement.share.abs() < 0.1 && !improvement.is_clear(), "{improvement:?}");
        assert_eq!(of(&[(300.0, 320.0, 320)]).summary().improvement, None);
    }

    #[test]
    fn the_interval_is_the_delta_method_on_floats() {
        let rides: Vec<_> =
            (0..50i64).map(|i| (300.0 + (i * 7 % 11) as f64, 310.0 + (i * 5 % 13) as f64, 300 + i % 3)).collect();
        let abs = |pick: fn(&(f64, f64, i64)) -> f64| {
            rides.iter().map(|ride| (pick(ride) - ride.2 as f64).abs()).collect::<Vec<_>>()
        };
        let (a, f) = (abs(|ride| ride.0), abs(|ride| ride.1));
        let n = rides.len() as f64;
        let mean = |x: &[f64]| x.iter().sum::<f64>() / n;
        let (ma, mf) = (mean(&a), mean(&f));
        // The variance of the linearised ratio: x = a − R·f has mean zero.
        let ratio = ma / mf;
        let residual: f64 = a.iter().zip(&f).map(|(a, f)| (a - ratio * f).powi(2)).sum::<f64>() / (n - 1.0);
        let half = t_975(50).unwrap() * (residual / n).sqrt() / mf;
        let [low, high] = of(&rides).summary().improvement.unwrap().interval.unwrap();
        assert!((low - (1.0 - ratio - half)).abs() < 1e-9 && (high - (1.0 - ratio + half)).abs() < 1e-9);
    }
}
