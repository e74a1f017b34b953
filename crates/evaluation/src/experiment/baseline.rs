use experiments::statistics::{ArmStatistic, RatioSums};
use serde::{Deserialize, Serialize};

use super::Metric;
use crate::{HourEvaluation, units::UnitTable};

/// What a metric looks like without an experiment: what a plan starts from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The metric's value.
    pub mean: f64,
    /// The variance of one unit's contribution, clustered at the unit (delta method).
    pub variance: f64,
    /// Different riders per day: of a window about as long as the experiment, since riders come back.
    pub units_per_day: f64,
    /// The days that it is of.
    pub days: f64,
}

impl Baseline {
    /// Of all riders' predictions in `evaluations`, whatever their arm; `None` where riders are not named, or do not vary.
    pub fn of(evaluations: &[HourEvaluation], metric: Metric) -> Option<Self> {
        let mut riders = UnitTable::default();
        for evaluation in evaluations {
            riders.merge(evaluation.riders());
        }
        let sums = RatioSums::of(riders.cells().map(|unit| metric.ratio(unit)));
        // A cell of several units: its contribution to the ratio's variance is that of all of them.
        let units_per_cell = riders.units() as f64 / sums.n as f64;
        let variance = sums.variance() * units_per_cell;
        let first = evaluations.iter().map(|evaluation| evaluation.hour).min()?;
        let last = evaluations.iter().map(|evaluation| evaluation.hour).max()?;
        let days = (last.plus(1).start().as_second() - first.start().as_second()) as f64 / 86_400.0;
        let is_usable = sums.n > 1 && variance > 0.0 && variance.is_finite();
        is_usable.then(|| Self { mean: sums.mean(), variance, units_per_day: riders.units() as f64 / days, days })
    }
}
