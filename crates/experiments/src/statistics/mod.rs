//! Which arm won: from sufficient statistics of randomised units to effects, intervals and verdicts.
//!
//! a is the control, b the treatment. The unit of every statistic is what was **randomised** (a rider, a zone in a time
//! slot); a metric over something finer (rides) is a [`RatioSums`], or it finds differences that are not there. The
//! default interval is [`Estimate::confidence_sequence`], which may be looked at every day. What cannot be estimated is
//! [`NotEstimable`], and never an effect of 0.

mod estimate;
mod group_sequential;
mod inference;
mod msprt;
mod multiple_testing;
mod not_estimable;
mod power;
mod proportions;
pub mod special;
mod srm;
mod sufficient;

pub use estimate::{Cuped, Estimate, Scale, estimate, estimate_shares};
pub use group_sequential::{Sides, Spending, group_sequential_bounds, nominal_level};
pub use inference::{DEFAULT_TUNING, Interval, Posterior, confidence_sequence_critical_value};
pub use msprt::{Msprt, msprt};
pub use multiple_testing::{Correction, adjust};
pub use not_estimable::NotEstimable;
pub use power::{Look, Plan, duration_days};
pub use proportions::{
    FISHER_MAX_UNITS, agresti_caffo_interval, fisher_exact, newcombe_interval, pooled_z, score_interval,
    statsmodels_score_interval, wald_interval, wilson_interval,
};
pub use srm::{DEFAULT_CONCENTRATION, SRM_MIN_UNITS, SRM_THRESHOLD, SampleRatio, sample_ratio, sequential_srm};
pub use sufficient::{ArmStatistic, CupedSums, MeanSums, Proportion, RatioSums};
