//! The effect of one arm against another by one metric.

use std::collections::BTreeMap;

use experiments::statistics::{
    Cuped, CupedSums, Estimate, Interval, MeanSums, NotEstimable, Proportion, Scale, estimate, estimate_shares,
    newcombe_interval,
};
use serde::{Deserialize, Serialize};

use super::{
    card::{AnalysisMethod, AnalysisOptions, MIN_UNITS},
    metric::{Metric, Role},
};
use crate::units::{UnitSums, UnitTable};

/// Which way an effect goes, for what it is worth to the rider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The interval leaves out "no difference", on the good side.
    Better,
    /// It does, on the bad side.
    Worse,
    /// It does not.
    Unclear,
}

/// An effect: treatment − control, in the metric's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The estimate.
    pub effect: f64,
    /// The interval's lower end.
    pub lower: f64,
    /// The interval's upper end.
    pub upper: f64,
    /// The effect as a share of the control's value; absent where that is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
    /// The p-value of "no effect"; always valid by the sequential method.
    pub p_value: f64,
    /// The same, adjusted for the number of metrics and arms; absent for guardrails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted_p_value: Option<f64>,
    /// The share of the variance that what was known of the units before the experiment took away (CUPED); absent where
    /// nothing was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance_reduction: Option<f64>,
    /// Which way it goes; where there is an adjusted p-value, by that.
    pub direction: Direction,
}

/// One metric of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricResult {
    /// The metric.
    pub metric: Metric,
    /// What it is for.
    pub role: Role,
    /// The control's value; absent without a row of it.
    pub control: Option<f64>,
    /// The treatment's value; absent without a row of it.
    pub treatment: Option<f64>,
    /// The effect; absent where it cannot be estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Why it cannot: a reason code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_estimable: Option<String>,
    /// Newcombe's 95 % interval of the difference of two shares, where the effect cannot be estimated. It takes rows as
    /// independent and is fixed-horizon: to look at, not to decide by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newcombe_interval: Option<[f64; 2]>,
}

/// An arm's units as linearised ratios, under a common depth.
struct Units {
    /// By cell: R + (m − R·d)/D̄, so that the mean is R and the variance is the delta method's.
    values: BTreeMap<u64, f64>,
    ratio: f64,
    numerator: f64,
    denominator: f64,
}

impl Units {
    fn of(cells: &BTreeMap<u64, UnitSums>, metric: Metric) -> Option<Self> {
        let pairs: BTreeMap<u64, (f64, f64)> = cells.iter().map(|(key, sums)| (*key, metric.ratio(sums))).collect();
        let (m, d) = pairs.values().fold((0.0, 0.0), |(m, d), pair| (m + pair.0, d + pair.1));
        if d <= 0.0 {
            return None;
        }
        let (ratio, mean) = (m / d, d / pairs.len() as f64);
        let values = pairs.into_iter().map(|(key, (m, d))| (key, ratio + (m - ratio * d) / mean)).collect();
        Some(Self { values, ratio, numerator: m, denominator: d })
    }
}

pub(super) fn compare(
    metric: Metric,
    control: &UnitTable,
    treatment: &UnitTable,
    before: &UnitTable,
    options: &AnalysisOptions,
) -> MetricResult {
    let depth = [control, treatment, before].iter().map(|table| table.depth()).min().unwrap_or(64);
    let [a, b] = [control, treatment].map(|table| Units::of(&table.cells_at(depth), metric));
    let mut result = MetricResult {
        metric,
        role: metric.role(),
        control: a.as_ref().map(|arm| arm.ratio),
        treatment: b.as_ref().map(|arm| arm.ratio),
        effect: None,
        not_estimable: None,
        newcombe_interval: None,
    };
    let (Some(a), Some(b)) = (a, b) else {
        result.not_estimable = Some(NotEstimable::EmptyArm.reason().to_owned());
        return result;
    };
    if a.values.len().min(b.values.len()) < MIN_UNITS {
        result.not_estimable = Some("too_few_units".to_owned());
    } else {
        match estimated(metric, &a, &b, &before.cells_at(depth)) {
            Ok((estimate, variance_reduction)) => {
                let units = control.units().saturating_add(treatment.units());
                let interval = options.interval(&Estimate { units, ..estimate });
                result.effect = Some(Effect {
                    effect: estimate.effect,
                    lower: interval.lower,
                    upper: interval.upper,
                    relative: (a.ratio != 0.0).then(|| estimate.effect / a.ratio.abs()),
                    p_value: interval.p_value,
                    adjusted_p_value: None,
                    variance_reduction,
                    direction: direction(metric, estimate.effect, interval.excludes_zero()),
                });
            }
            Err(reason) => result.not_estimable = Some(reason.reason().to_owned()),
        }
    }
    if result.effect.is_none() && metric.is_share() {
        let share = |arm: &Units| Proportion { n: arm.denominator as u64, successes: arm.numerator };
        result.newcombe_interval = newcombe_interval(&share(&a), &share(&b), options.alpha);
    }
    result
}

pub(super) fn direction(metric: Metric, effect: f64, is_clear: bool) -> Direction {
    match (is_clear, (effect > 0.0) == metric.higher_is_better()) {
        (false, _) => Direction::Unclear,
        (true, true) => Direction::Better,
        (true, false) => Direction::Worse,
    }
}

/// The estimate, adjusted by the units' own past where enough of them have one, and the share of variance that took away.
fn estimated(
    metric: Metric,
    a: &Units,
    b: &Units,
    before: &BTreeMap<u64, UnitSums>,
) -> Result<(Estimate, Option<f64>), NotEstimable> {
    let plain = [a, b].map(|arm| MeanSums::of(arm.values.values().copied()));
    let plain = if metric.is_share() {
        estimate_shares(&plain[0], &plain[1])?
    } else {
        estimate(&plain[0], &plain[1], Scale::Absolute)?
    };
    let known = [a, b].map(|arm| arm.values.keys().filter(|key| before.contains_key(key)).count());
    let Some(past) = Units::of(before, metric).filter(|_| known.into_iter().min() >= Some(MIN_UNITS)) else {
        return Ok((plain, None));
    };
    // A unit without a past is taken as average.
    let covariate = |key: &u64| past.values.get(key).copied().unwrap_or(past.ratio);
    let [a, b] = [a, b].map(|arm| CupedSums::of(arm.values.iter().map(|(key, value)| (*value, covariate(key)))));
    match Cuped::new(a, b).estimate(Scale::Absolute) {
        Ok(adjusted) if adjusted.std_err < plain.std_err => {
            Ok((adjusted, Some(1.0 - (adjusted.std_err / plain.std_err).powi(2))))
        }
        _ => Ok((plain, None)),
    }
}

impl AnalysisOptions {
    fn interval(&self, estimate: &Estimate) -> Interval {
        match self.method {
            AnalysisMethod::Sequential { tuning } => estimate.confidence_sequence(self.alpha, tuning),
            AnalysisMethod::FixedHorizon => estimate.welch(self.alpha),
        }
    }
}
