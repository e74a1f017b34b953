//! Experiments: what their arms came to, and what may be concluded.
//!
//! [`ExperimentStatistics`] is the mergeable state that each hour keeps: sums by **randomised unit** (a rider; a zone in a
//! time slot; a prediction where there was neither), never by ride. [`ExperimentCard`] is the verdict over any hours:
//! the sample ratio first, then effects with intervals that may be looked at every day, guardrails, and *not estimable*
//! where there is nothing to say. Excluded records (forced arms, carry-over) are counted and enter no figure.

mod baseline;
mod card;
mod effect;
mod metric;
mod ramp;
mod words;

use std::collections::BTreeMap;

pub use baseline::Baseline;
pub(crate) use card::keeps_arms;
pub use card::{
    AnalysisMethod, AnalysisOptions, ArmCard, Comparison, CoursePoint, ExperimentCard, ExperimentFacts, ExperimentFold,
    MIN_UNITS, SampleRatioCheck, Verdict,
};
pub use effect::{Direction, Effect, MetricResult};
pub use metric::{Metric, Role};
pub use ramp::RampDecision;
use serde::{Deserialize, Serialize};

use crate::units::UnitTable;

/// What one experiment's arms came to: a state to be merged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExperimentStatistics {
    /// By the arm's name.
    pub arms: BTreeMap<String, ExperimentArm>,
}

/// What one arm came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExperimentArm {
    /// Predictions that do not count: forced arms, carry-over.
    pub excluded: u64,
    /// The units of those that do.
    pub units: UnitTable,
}

impl ExperimentStatistics {
    /// Adds the predictions of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (name, arm) in &other.arms {
            let known = self.arms.entry(name.clone()).or_default();
            known.excluded = known.excluded.saturating_add(arm.excluded);
            known.units.merge(&arm.units);
        }
    }
}

pub(crate) fn merge_experiments(
    into: &mut BTreeMap<String, ExperimentStatistics>,
    from: &BTreeMap<String, ExperimentStatistics>,
) {
    for (id, statistics) in from {
        into.entry(id.clone()).or_default().merge(statistics);
    }
}
