//! What the error of an hour is going to be, before its labels land.
//!
//! Rides of the hours before whose truth has landed say how large the error is at each predicted duration and hour of the day;
//! the predictions of the hour say how many of each there are. Their mean is what the error will be **as long as a prediction of
//! a kind errs as much as it did lately**: it follows what is asked (longer rides, rush hours, another mix), and not a model that
//! goes wrong in a new way (concept drift), which only labels tell.

use std::collections::BTreeMap;

use domain::Hour;
use serde::{Deserialize, Serialize};

use crate::{
    Dimension, HOUR_OF_DAY, HourEvaluation,
    horizon::{HORIZONS, HorizonSums},
};

/// How many hours before an hour its estimate is of.
pub const REFERENCE_HOURS: i64 = 168;
/// Hours before an hour whose labels are taken not to have landed yet.
pub const LABEL_LAG_HOURS: i64 = 2;
/// An hour's errors are known where this share of its labels has landed.
const MATURE: f64 = 0.8;
/// How many rides the coarser mean counts for where a class has few.
const SHRINKAGE_RIDES: f64 = 30.0;
/// Rides that an estimate needs.
const MIN_RIDES: u64 = 100;

/// What an hour's error is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EstimatedError {
    /// Predictions that it is of.
    pub predictions: u64,
    /// Their expected mean absolute error, seconds.
    pub mae_s: f64,
    /// Rides of the hours before that it is estimated from.
    pub reference_rides: u64,
    /// The share of the hour's own labels that has landed, 0–1.
    pub label_maturity: f64,
}

/// Errors of rides by hour of the day and predicted-duration class.
#[derive(Debug, Clone, Default)]
struct Reference {
    cells: BTreeMap<(String, usize), (u64, i128)>,
    classes: [(u64, i128); HORIZONS],
    all: (u64, i128),
}

impl Reference {
    /// Adds (or takes away) an hour.
    fn add(&mut self, hour: &HourEvaluation, sign: i128) {
        let change = |of: &mut (u64, i128), sums: &HorizonSums| {
            of.0 = if sign > 0 { of.0 + sums.joined } else { of.0.saturating_sub(sums.joined) };
            of.1 += sign * sums.sum_abs_error_us;
        };
        for (hour_of_day, class, sums) in cells(hour) {
            change(self.cells.entry((hour_of_day.to_owned(), class)).or_default(), sums);
            change(&mut self.classes[class], sums);
            change(&mut self.all, sums);
        }
    }

    fn mae_s(&self, hour_of_day: &str, class: usize) -> f64 {
        let shrunk = |(n, sum): (u64, i128), parent: f64| {
            (sum as f64 / 1e6 + SHRINKAGE_RIDES * parent) / (n as f64 + SHRINKAGE_RIDES)
        };
        let all = self.all.1 as f64 / 1e6 / self.all.0.max(1) as f64;
        let of_class = shrunk(self.classes[class], all);
        let cell = self.cells.get(&(hour_of_day.to_owned(), class)).copied().unwrap_or_default();
        shrunk(cell, of_class)
    }
}

/// An hour's sums by hour of the day and class.
fn cells(hour: &HourEvaluation) -> impl Iterator<Item = (&str, usize, &HorizonSums)> {
    let values = hour.dimensions().get(HOUR_OF_DAY).into_iter().flat_map(Dimension::values);
    values.flat_map(|(value, statistics)| {
        let classes = statistics.horizons.classes().iter().enumerate();
        classes.filter(|(_, sums)| sums.predictions > 0).map(move |(class, sums)| (value.as_str(), class, sums))
    })
}

/// The estimate of each hour that has enough hours before it. `evaluations` are the latest of each hour, in any order.
pub fn estimated_errors(evaluations: &[HourEvaluation]) -> BTreeMap<Hour, EstimatedError> {
    let by_hour: BTreeMap<Hour, &HourEvaluation> = evaluations.iter().map(|one| (one.hour, one)).collect();
    let is_known = |one: &HourEvaluation| one.all().counts.label_maturity().is_some_and(|share| share >= MATURE);
    let known: BTreeMap<Hour, &HourEvaluation> =
        by_hour.iter().filter(|(_, one)| is_known(one)).map(|(hour, one)| (*hour, *one)).collect();
    let mut reference = Reference::default();
    // Of the known hours, those from `first` until before `next` are in the reference.
    let (mut joining, mut leaving) = (known.iter().peekable(), known.iter().peekable());
    let mut estimates = BTreeMap::new();
    for (&hour, one) in &by_hour {
        while let Some((_, before)) = joining.next_if(|(known, _)| **known < hour.plus(-LABEL_LAG_HOURS)) {
            reference.add(before, 1);
        }
        while let Some((_, before)) = leaving.next_if(|(known, _)| **known < hour.plus(-REFERENCE_HOURS)) {
            reference.add(before, -1);
        }
        let (mut predictions, mut sum_s) = (0_u64, 0.0);
        for (hour_of_day, class, sums) in cells(one) {
            predictions += sums.predictions;
            sum_s += sums.predictions as f64 * reference.mae_s(hour_of_day, class);
        }
        if predictions > 0 && reference.all.0 >= MIN_RIDES {
            let estimate = EstimatedError {
                predictions,
                mae_s: sum_s / predictions as f64,
                reference_rides: reference.all.0,
                label_maturity: one.all().counts.label_maturity().unwrap_or(0.0),
            };
            estimates.insert(hour, estimate);
        }
    }
    estimates
}
