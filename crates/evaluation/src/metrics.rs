use serde::{Deserialize, Serialize};

use crate::histogram::{DenseHistogram, Histogram};

/// The bounds T of the shares P(|error| ≤ T), in seconds.
pub const WITHIN_S: [u32; 4] = [60, 120, 180, 300];

const US_PER_S: f64 = 1e6;

/// The errors of some predictions, mergeable exactly: counts, integer sums in microseconds, and a [`Histogram`] for each
/// sign of the error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorStatistics {
    n: u64,
    #[serde(with = "crate::decimal")]
    sum_error_us: i128,
    #[serde(with = "crate::decimal")]
    sum_abs_error_us: i128,
    #[serde(with = "crate::decimal")]
    sum_square_error_us2: i128,
    #[serde(with = "crate::decimal")]
    sum_actual_us: i128,
    /// How many |error| ≤ T, for each T of [`WITHIN_S`].
    within: [u64; WITHIN_S.len()],
    /// |error| where the actual time was longer than predicted, in microseconds.
    late: Histogram,
    /// |error| where it was not, in microseconds; bucket 0 is an error of zero.
    early: Histogram,
}

impl ErrorStatistics {
    /// Of pairs of predicted and actual durations, in microseconds.
    pub fn from_durations_us(pairs: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut accumulator = ErrorAccumulator::default();
        for (predicted_us, actual_us) in pairs {
            accumulator.add(predicted_us, actual_us);
        }
        accumulator.finish()
    }

    /// How many predictions.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// |error| in microseconds where the actual time was longer than predicted.
    pub fn late(&self) -> &Histogram {
        &self.late
    }

    /// |error| in microseconds where the actual time was as predicted or shorter.
    pub fn early(&self) -> &Histogram {
        &self.early
    }

    pub(crate) fn sum_abs_error_us(&self) -> i128 {
        self.sum_abs_error_us
    }

    pub(crate) fn sum_square_error_us2(&self) -> i128 {
        self.sum_square_error_us2
    }

    /// Adds the predictions of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        // Saturation is out of reach (10⁸ errors of 60 years each); it is here because a file may say anything.
        self.sum_error_us = self.sum_error_us.saturating_add(other.sum_error_us);
        self.sum_abs_error_us = self.sum_abs_error_us.saturating_add(other.sum_abs_error_us);
        self.sum_square_error_us2 = self.sum_square_error_us2.saturating_add(other.sum_square_error_us2);
        self.sum_actual_us = self.sum_actual_us.saturating_add(other.sum_actual_us);
        for (count, other) in self.within.iter_mut().zip(other.within) {
            *count = count.saturating_add(other);
        }
        self.late = self.late.merged(&other.late);
        self.early = self.early.merged(&other.early);
    }

    /// Whether the parts agree with each other, for statistics that were read from a file.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.late.count().saturating_add(self.early.count()) != self.n {
            return Err(format!("n is {}, but the histograms hold another number of errors", self.n));
        }
        if self.within.iter().any(|&count| count > self.n) || !self.within.is_sorted() {
            return Err(format!("{:?} of {} errors cannot lie within {WITHIN_S:?} s", self.within, self.n));
        }
        if self.sum_abs_error_us < 0 || self.sum_square_error_us2 < 0 || self.sum_actual_us < 0 {
            return Err("a sum that cannot be negative is".to_owned());
        }
        Ok(())
    }

    /// The mean of each error times a weight for late and one for early: Σ(late·|e| where late, early·|e| elsewhere)/n,
    /// in seconds. With (q, 1 − q) this is the pinball loss of the quantile q. `None` without predictions.
    pub fn weighted_cost_s(&self, late: f64, early: f64) -> Option<f64> {
        let late_us = self.sum_abs_error_us.saturating_sub(self.sum_error_us) as f64 / 2.0;
        let early_us = self.sum_abs_error_us.saturating_add(self.sum_error_us) as f64 / 2.0;
        (self.n > 0).then(|| (late * late_us + early * early_us) / self.n as f64 / US_PER_S)
    }

    /// The figures; `None` without predictions.
    pub fn figures(&self) -> Option<Figures> {
        if self.n == 0 {
            return None;
        }
        let n = self.n as f64;
        let mean_s = |sum_us: i128| sum_us as f64 / n / US_PER_S;
        let share = |count: u64| count as f64 / n;
        let abs = self.late.merged(&self.early);
        let quantile_s = |q| abs.quantile(q).map_or(0.0, |us| us / US_PER_S);
        let late = self.late.count();
        let mae_s = mean_s(self.sum_abs_error_us);
        let [within_60, within_120, within_180, within_300] = self.within.map(share);
        let mae_interval_s = t_975(self.n).map(|t| {
            // Σ|e|² is Σe².
            let variance = sample_variance(self.n, self.sum_abs_error_us, self.sum_square_error_us2);
            let half = t * (variance / n).sqrt() / US_PER_S;
            [(mae_s - half).max(0.0), mae_s + half]
        });
        Some(Figures {
            n: self.n,
            mae_s,
            mae_interval_s,
            median_ae_s: quantile_s(0.5),
            p80_ae_s: quantile_s(0.8),
            p90_ae_s: quantile_s(0.9),
            p95_ae_s: quantile_s(0.95),
            bias_s: mean_s(self.sum_error_us),
            rmse_s: (self.sum_square_error_us2 as f64 / n).sqrt() / US_PER_S,
            share_within_60_s: within_60,
            share_within_120_s: within_120,
            share_within_180_s: within_180,
            share_within_300_s: within_300,
            share_late: share(late),
            share_early: share(self.n - late - self.early.zeros()),
            wape: (self.sum_actual_us > 0).then(|| self.sum_abs_error_us as f64 / self.sum_actual_us as f64),
            asymmetric_cost_s: self.weighted_cost_s(3.0, 1.0).unwrap_or(0.0),
        })
    }
}

/// Error figures of some predictions. Error = predicted − actual; quantiles of |error| are within
/// [`Histogram::RELATIVE_ERROR`], everything else is exact.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// How many predictions met their truth.
    pub n: u64,
    /// Mean absolute error, seconds.
    pub mae_s: f64,
    /// Its 95 % interval (Student's t; takes the rides as independent), seconds; absent below five predictions.
    pub mae_interval_s: Option<[f64; 2]>,
    /// Median absolute error, seconds.
    pub median_ae_s: f64,
    /// 80 % of absolute errors are at most this, seconds.
    pub p80_ae_s: f64,
    /// 90 % of absolute errors are at most this, seconds.
    pub p90_ae_s: f64,
    /// 95 % of absolute errors are at most this, seconds.
    pub p95_ae_s: f64,
    /// Mean error, seconds. Negative: cars came later than told, on average.
    pub bias_s: f64,
    /// Root of the mean squared error, seconds.
    pub rmse_s: f64,
    /// Share with |error| ≤ 1 minute.
    pub share_within_60_s: f64,
    /// Share with |error| ≤ 2 minutes.
    pub share_within_120_s: f64,
    /// Share with |error| ≤ 3 minutes.
    pub share_within_180_s: f64,
    /// Share with |error| ≤ 5 minutes.
    pub share_within_300_s: f64,
    /// Share that took longer than predicted.
    pub share_late: f64,
    /// Share that took less time than predicted.
    pub share_early: f64,
    /// Σ|error| / Σ actual; absent where all actual times are zero.
    pub wape: Option<f64>,
    /// Mean cost where a late second costs three times an early one, in early seconds.
    pub asymmetric_cost_s: f64,
}

impl Figures {
    /// The shares with |error| ≤ T, for each T of [`WITHIN_S`].
    pub fn shares_within(&self) -> [f64; WITHIN_S.len()] {
        [self.share_within_60_s, self.share_within_120_s, self.share_within_180_s, self.share_within_300_s]
    }
}

/// Adds errors quickly; [`ErrorAccumulator::finish`] makes them small.
#[derive(Debug, Default)]
pub(crate) struct ErrorAccumulator {
    sums: ErrorStatistics,
    late: DenseHistogram,
    early: DenseHistogram,
}

impl ErrorAccumulator {
    /// Adds one prediction and returns its absolute error, all in microseconds.
    pub(crate) fn add(&mut self, predicted_us: i64, actual_us: i64) -> u64 {
        let error = i128::from(predicted_us) - i128::from(actual_us);
        let abs_us = predicted_us.abs_diff(actual_us);
        let abs = i128::from(abs_us);
        let sums = &mut self.sums;
        sums.n += 1;
        sums.sum_error_us += error;
        sums.sum_abs_error_us += abs;
        sums.sum_square_error_us2 = sums.sum_square_error_us2.saturating_add(abs.saturating_mul(abs));
        sums.sum_actual_us += i128::from(actual_us);
        for (count, bound_s) in sums.within.iter_mut().zip(WITHIN_S) {
            *count += u64::from(abs_us <= u64::from(bound_s) * 1_000_000);
        }
        if error < 0 {
            self.late.add(abs_us);
        } else {
            self.early.add(abs_us);
        }
        abs_us
    }

    pub(crate) fn finish(self) -> ErrorStatistics {
        ErrorStatistics { late: self.late.finish(), early: self.early.finish(), ..self.sums }
    }
}

/// (Σx² − (Σx)²/n)/(n − 1), from integers where they fit: no cancellation. `n` is at least 2.
pub(crate) fn sample_variance(n: u64, sum: i128, sum_square: i128) -> f64 {
    sample_covariance(n, sum, sum, sum_square)
}

/// (Σxy − Σx·Σy/n)/(n − 1). `n` is at least 2.
pub(crate) fn sample_covariance(n: u64, sum_x: i128, sum_y: i128, sum_product: i128) -> f64 {
    let scaled = i128::from(n)
        .checked_mul(sum_product)
        .and_then(|product| product.checked_sub(sum_x.checked_mul(sum_y)?))
        .map_or_else(|| n as f64 * sum_product as f64 - sum_x as f64 * sum_y as f64, |exact| exact as f64);
    scaled / n as f64 / (n - 1) as f64
}

/// The 97.5 % point of Student's t with n − 1 degrees of freedom (Abramowitz & Stegun 26.7.5); `None` below five values,
/// where the expansion is poor and an interval would say nothing anyway.
pub(crate) fn t_975(n: u64) -> Option<f64> {
    const Z: f64 = 1.959_963_984_540_054;
    if n < 5 {
        return None;
    }
    let degrees = (n - 1) as f64;
    let z2 = Z * Z;
    let g1 = Z * (z2 + 1.0) / 4.0;
    let g2 = Z * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0;
    let g3 = Z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0;
    let g4 = Z * ((((79.0 * z2 + 776.0) * z2 + 1482.0) * z2 - 1920.0) * z2 - 945.0) / 92160.0;
    Some(Z + (g1 + (g2 + (g3 + g4 / degrees) / degrees) / degrees) / degrees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_t_is_the_tables() {
        for (n, expected) in [(5, 2.7764), (6, 2.5706), (11, 2.2281), (31, 2.0423), (1001, 1.9623)] {
            assert!((t_975(n).unwrap() - expected).abs() < 0.002, "{n}: {:?}", t_975(n));
        }
        assert_eq!(t_975(4), None);
    }

    #[test]
    fn figures_of_five_rides() {
        // Errors: −120 s, 0 s, +60 s, +61 s, −299.5 s.
        let pairs = [(180, 300), (240, 240), (360, 300), (361, 300)].map(|(p, a)| (p * 1_000_000, a * 1_000_000));
        let statistics = ErrorStatistics::from_durations_us(pairs.into_iter().chain([(500_000, 300_000_000)]));
        let figures = statistics.figures().unwrap();
        assert_eq!(figures.n, 5);
        assert!((figures.mae_s - 540.5 / 5.0).abs() < 1e-9);
        assert!((figures.bias_s - -298.5 / 5.0).abs() < 1e-9);
        assert_eq!(figures.shares_within(), [0.4, 0.8, 0.8, 1.0]);
        assert_eq!((figures.share_late, figures.share_early), (0.4, 0.4));
        assert!((figures.median_ae_s / 61.0 - 1.0).abs() <= Histogram::RELATIVE_ERROR);
        assert!((figures.wape.unwrap() - 540.5 / 1440.0).abs() < 1e-12);
        // Late 419.5 s, early 121 s.
        assert!((figures.asymmetric_cost_s - (3.0 * 419.5 + 121.0) / 5.0).abs() < 1e-9);
        let mean = 108.1;
        let variance = [120.0, 0.0, 60.0, 61.0, 299.5].iter().map(|e: &f64| (e - mean).powi(2)).sum::<f64>() / 4.0;
        let half = 2.776 * (variance / 5.0).sqrt();
        assert!((figures.mae_interval_s.unwrap()[1] - (mean + half)).abs() < 0.5);
        assert_eq!(figures.mae_interval_s.unwrap()[0], 0.0);
    }

    #[test]
    fn nothing_has_no_figures() {
        assert_eq!(ErrorStatistics::default().figures(), None);
        assert_eq!(ErrorStatistics::default().weighted_cost_s(1.0, 1.0), None);
    }

    #[test]
    fn variance_survives_a_large_mean() {
        // A million seconds ± 1 µs: the naive float formula says 0 or worse.
        let values = [1_000_000_000_000i128, 1_000_000_000_001, 1_000_000_000_002];
        let variance = sample_variance(3, values.iter().sum(), values.iter().map(|v| v * v).sum());
        assert_eq!(variance, 1.0);
    }

    #[test]
    fn what_contradicts_itself_is_seen() {
        let good = ErrorStatistics::from_durations_us([(1, 2), (3, 3)]);
        assert_eq!(good.check(), Ok(()));
        assert!(ErrorStatistics { n: 3, ..good.clone() }.check().is_err());
        assert!(ErrorStatistics { within: [2, 1, 1, 1], ..good.clone() }.check().is_err());
        assert!(ErrorStatistics { sum_abs_error_us: -1, ..good }.check().is_err());
    }
}
