//! Predicted-duration classes: how far ahead a prediction looks. They are known for every prediction, whatever became of it,
//! which makes them what censoring is modelled by.
//!
//! A ride cancelled before the car came has no error, and is likelier where the predicted wait was long, so that the mean of
//! the rides that were not cancelled is too good. Within a class, rides are taken to be cancelled whatever their error would
//! have been (coarsening at random); each arrived ride then stands for N/n of them, N being the class's arrived and cancelled
//! rides and n its arrived ones: inverse-probability weights with the class's share as the probability. The same weights are
//! the classical post-stratification, whose variance is known.

use serde::{Deserialize, Serialize};

use crate::metrics::{WITHIN_S, sample_variance, t_975};

/// Where the classes of the predicted duration end, seconds; the last one is open.
pub const HORIZON_EDGES_S: [u32; 7] = [120, 300, 600, 900, 1200, 1800, 3600];
/// How many classes.
pub const HORIZONS: usize = HORIZON_EDGES_S.len() + 1;
/// Their names, in minutes.
pub const HORIZON_NAMES: [&str; HORIZONS] =
    ["0–2 min", "2–5 min", "5–10 min", "10–15 min", "15–20 min", "20–30 min", "30–60 min", "60 min –"];

/// A ride may stand for this many at most: beyond, the weighted figures are not estimable.
pub const MAX_WEIGHT: f64 = 20.0;
/// Weighted figures need an effective sample of this many rides.
pub const MIN_EFFECTIVE_N: f64 = 20.0;

/// The class of a predicted duration; `None` for what is not a number.
pub(crate) fn horizon_of(prediction_s: f64) -> Option<usize> {
    (!prediction_s.is_nan()).then(|| HORIZON_EDGES_S.partition_point(|&edge| f64::from(edge) <= prediction_s))
}

/// What became of the predictions of one class. Sums are of answers' errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HorizonSums {
    /// Predictions.
    pub predictions: u64,
    /// Rides whose car arrived.
    pub joined: u64,
    /// Rides cancelled before.
    pub cancelled: u64,
    /// Cars that came later than told.
    pub late: u64,
    /// How many |error| ≤ T, for each T of [`WITHIN_S`].
    pub within: [u64; WITHIN_S.len()],
    #[serde(with = "crate::decimal")]
    pub(crate) sum_error_us: i128,
    #[serde(with = "crate::decimal")]
    pub(crate) sum_abs_error_us: i128,
    #[serde(with = "crate::decimal")]
    pub(crate) sum_square_error_us2: i128,
}

impl HorizonSums {
    pub(crate) fn add_error(&mut self, error_us: i64) {
        let abs = i128::from(error_us.unsigned_abs());
        self.joined += 1;
        self.late += u64::from(error_us < 0);
        for (count, bound_s) in self.within.iter_mut().zip(WITHIN_S) {
            *count += u64::from(error_us.unsigned_abs() <= u64::from(bound_s) * 1_000_000);
        }
        self.sum_error_us += i128::from(error_us);
        self.sum_abs_error_us += abs;
        self.sum_square_error_us2 = self.sum_square_error_us2.saturating_add(abs * abs);
    }

    fn merge(&mut self, other: &Self) {
        for (count, more) in [
            (&mut self.predictions, other.predictions),
            (&mut self.joined, other.joined),
            (&mut self.cancelled, other.cancelled),
            (&mut self.late, other.late),
        ] {
            *count = count.saturating_add(more);
        }
        for (count, more) in self.within.iter_mut().zip(other.within) {
            *count = count.saturating_add(more);
        }
        self.sum_error_us = self.sum_error_us.saturating_add(other.sum_error_us);
        self.sum_abs_error_us = self.sum_abs_error_us.saturating_add(other.sum_abs_error_us);
        self.sum_square_error_us2 = self.sum_square_error_us2.saturating_add(other.sum_square_error_us2);
    }

    /// Mean absolute error of the class, seconds; `None` where no car arrived.
    pub fn mae_s(&self) -> Option<f64> {
        (self.joined > 0).then(|| self.sum_abs_error_us as f64 / self.joined as f64 / 1e6)
    }

    fn check(&self) -> Result<(), String> {
        let ended = self.joined.saturating_add(self.cancelled);
        let most = self.within.iter().max().copied().unwrap_or(0).max(self.late);
        if ended > self.predictions || most > self.joined || self.sum_abs_error_us < 0 || self.sum_square_error_us2 < 0
        {
            return Err("a predicted-duration class has more rides of a kind than there are".to_owned());
        }
        Ok(())
    }
}

/// The classes of some predictions, those that there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u8, HorizonSums)>", into = "Vec<(u8, HorizonSums)>")]
pub struct HorizonTable([HorizonSums; HORIZONS]);

impl HorizonTable {
    /// The sums of each class, by [`HORIZON_NAMES`].
    pub fn classes(&self) -> &[HorizonSums; HORIZONS] {
        &self.0
    }

    pub(crate) fn of_mut(&mut self, prediction_s: f64) -> Option<&mut HorizonSums> {
        horizon_of(prediction_s).map(|class| &mut self.0[class])
    }

    /// Adds the predictions of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (sums, more) in self.0.iter_mut().zip(&other.0) {
            sums.merge(more);
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        self.0.iter().try_for_each(HorizonSums::check)
    }

    /// The figures with each arrived ride standing for the cancelled ones of its class too. `Err` says why there are none.
    pub fn weighted(&self) -> Result<WeightedFigures, NotWeighted> {
        let classes: Vec<&HorizonSums> = self.0.iter().filter(|sums| sums.joined + sums.cancelled > 0).collect();
        if classes.iter().all(|sums| sums.joined == 0) {
            return Err(NotWeighted::NoArrivals);
        }
        let ended = |sums: &HorizonSums| (sums.joined + sums.cancelled) as f64;
        let all: f64 = classes.iter().map(|sums| ended(sums)).sum();
        let weight = |sums: &HorizonSums| ended(sums) / sums.joined as f64;
        let max_weight = classes.iter().map(|sums| weight(sums)).fold(1.0, f64::max);
        let effective_n = all * all / classes.iter().map(|sums| ended(sums) * weight(sums)).sum::<f64>();
        if max_weight > MAX_WEIGHT {
            return Err(NotWeighted::WeightsExplode);
        }
        if effective_n < MIN_EFFECTIVE_N {
            return Err(NotWeighted::TooFewRides);
        }
        let mean = |of: &dyn Fn(&HorizonSums) -> f64| -> f64 {
            classes.iter().map(|sums| weight(sums) * of(sums)).sum::<f64>() / all
        };
        let mae_s = mean(&|sums| sums.sum_abs_error_us as f64) / 1e6;
        // Σ (N_c/N)²·s²_c/n_c: the variance of a post-stratified mean. A class of one ride has no variance of its own.
        let variance = classes.iter().filter(|sums| sums.joined > 1).map(|sums| {
            let share = ended(sums) / all;
            let own = sample_variance(sums.joined, sums.sum_abs_error_us, sums.sum_square_error_us2);
            share * share * own / sums.joined as f64
        });
        let error_s = variance.sum::<f64>().sqrt() / 1e6;
        let mae_interval_s = t_975(effective_n as u64).map(|t| [(mae_s - t * error_s).max(0.0), mae_s + t * error_s]);
        let within = |index: usize| mean(&|sums| sums.within[index] as f64);
        Ok(WeightedFigures {
            n: classes.iter().map(|sums| sums.joined).sum(),
            cancelled: classes.iter().map(|sums| sums.cancelled).sum(),
            effective_n,
            max_weight,
            mae_s,
            mae_interval_s,
            bias_s: mean(&|sums| sums.sum_error_us as f64) / 1e6,
            rmse_s: mean(&|sums| sums.sum_square_error_us2 as f64).sqrt() / 1e6,
            share_within_60_s: within(0),
            share_within_120_s: within(1),
            share_within_180_s: within(2),
            share_within_300_s: within(3),
            share_late: mean(&|sums| sums.late as f64),
        })
    }
}

impl From<HorizonTable> for Vec<(u8, HorizonSums)> {
    fn from(table: HorizonTable) -> Self {
        (0u8..).zip(table.0).filter(|(_, sums)| *sums != HorizonSums::default()).collect()
    }
}

impl TryFrom<Vec<(u8, HorizonSums)>> for HorizonTable {
    type Error = String;

    fn try_from(classes: Vec<(u8, HorizonSums)>) -> Result<Self, String> {
        let mut table = Self::default();
        for (class, sums) in classes {
            let place = table.0.get_mut(usize::from(class));
            *place.ok_or_else(|| format!("there is no predicted-duration class {class}"))? = sums;
        }
        Ok(table)
    }
}

/// Figures in which arrived rides stand for cancelled ones of the same predicted-duration class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WeightedFigures {
    /// Rides whose car arrived.
    pub n: u64,
    /// Cancelled rides that they stand for.
    pub cancelled: u64,
    /// (Σw)²/Σw²: as many unweighted rides would know as much (Kish 1965).
    pub effective_n: f64,
    /// How many rides one arrived ride stands for at most.
    pub max_weight: f64,
    /// Mean absolute error, seconds.
    pub mae_s: f64,
    /// Its 95 % interval, seconds.
    pub mae_interval_s: Option<[f64; 2]>,
    /// Mean error (predicted − actual), seconds.
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
}

/// Why there are no weighted figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotWeighted {
    /// No car arrived.
    NoArrivals,
    /// In some class a ride would stand for more than [`MAX_WEIGHT`], or all were cancelled.
    WeightsExplode,
    /// The effective sample is smaller than [`MIN_EFFECTIVE_N`].
    TooFewRides,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(joined: u64, cancelled: u64, error_s: i64) -> HorizonSums {
        let mut sums = HorizonSums { predictions: joined + cancelled, cancelled, ..HorizonSums::default() };
        (0..joined).for_each(|ride| sums.add_error((error_s + (ride % 3) as i64 - 1) * 1_000_000));
        sums
    }

    fn table(classes: &[(usize, HorizonSums)]) -> HorizonTable {
        let mut table = HorizonTable::default();
        for &(index, sums) in classes {
            table.0[index] = sums;
        }
        table
    }

    #[test]
    fn arrived_rides_stand_for_the_cancelled_of_their_class() {
        // Long waits: large errors, and two of three cancelled.
        let figures = table(&[(1, class(90, 10, 20)), (4, class(30, 60, -200))]).weighted().unwrap();
        let expected = (100.0 * 20.0 + 90.0 * 200.0) / 190.0;
        assert!((figures.mae_s - expected).abs() < 1e-9, "{figures:?}");
        assert!((figures.bias_s - (100.0 * 20.0 - 90.0 * 200.0) / 190.0).abs() < 1e-9);
        assert!((figures.share_late - 90.0 / 190.0).abs() < 1e-12 && figures.max_weight == 3.0);
        let sum_of_squares = 90.0 * (100.0_f64 / 90.0).powi(2) + 30.0 * 9.0;
        assert!((figures.effective_n - 190.0 * 190.0 / sum_of_squares).abs() < 1e-9);
        let naive = (90.0 * 20.0 + 30.0 * 200.0) / 120.0;
        assert!(figures.mae_s > naive + 30.0 && figures.mae_interval_s.unwrap()[0] < figures.mae_s);
    }

    #[test]
    fn where_weights_explode_there_is_no_figure() {
        assert_eq!(table(&[(1, class(90, 0, 20)), (4, class(0, 3, 0))]).weighted(), Err(NotWeighted::WeightsExplode));
        assert_eq!(table(&[(1, class(900, 0, 20)), (4, class(1, 30, 0))]).weighted(), Err(NotWeighted::WeightsExplode));
        assert_eq!(table(&[(1, class(9, 1, 20))]).weighted(), Err(NotWeighted::TooFewRides));
        assert_eq!(table(&[(1, class(0, 9, 20))]).weighted(), Err(NotWeighted::NoArrivals));
    }

    #[test]
    fn classes_end_where_their_names_say() {
        let classes = [-5.0, 0.0, 119.9, 120.0, 3599.0, 3600.0, f64::INFINITY].map(horizon_of);
        assert_eq!(classes.map(Option::unwrap), [0, 0, 0, 1, 6, 7, 7]);
        assert_eq!(horizon_of(f64::NAN), None);
    }
}
