//! Evaluation: what the predictions of an hour were worth, once the truth has landed.
//!
//! [`evaluate_hour`] is a pure function of one hour's predictions and outcomes. Its result, [`HourEvaluation`], holds only
//! counts, integer sums and fixed-bucket histograms, so that merging is exact: **any split by prediction id, any order,
//! any repetition and any late arrival give the same figures, bit for bit.** A [`Window`] is a merge of hours; a late
//! outcome means evaluating its one hour again. Figures are computed from the merged state ([`SegmentStatistics::summary`])
//! and each carries its label maturity, the share of predictions whose outcome has landed. [`report`] turns them into a
//! page, a JSON document and a terminal summary.
//!
//! Beside it are figures of samples in memory: [`regression`], [`conformal`] intervals, and [`drift`] between samples.
//!
//! Conventions: error = predicted − actual, in seconds; a negative error is a car that came *later* than told. Only the
//! dispatched candidate of a prediction meets its truth, so the figures are conditional on dispatch. A ride cancelled
//! before the car came has no arrival time: it is censored, that is, counted and left out of the errors. Times are UTC.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod accumulate;
pub mod backtest;
mod bounded;
pub mod conformal;
mod correction;
mod decimal;
pub mod drift;
mod error;
mod estimate;
pub mod experiment;
pub mod gate;
mod histogram;
mod horizon;
mod hour;
mod interval;
mod join;
mod maturity;
mod metrics;
pub mod model_monitor;
mod quantile;
mod recalibration;
pub mod regression;
pub mod report;
mod segment;
mod shadow;
mod stream;
pub mod training_windows;
mod units;
mod window;

pub use accumulate::{EvaluationOptions, HORIZON, HOUR_OF_DAY, HourAccumulator, UNKNOWN};
pub use bounded::{Dimension, MAX_VALUES};
pub use correction::{CorrectionOptions, LandedRide};
pub use error::EvaluationError;
pub use estimate::{EstimatedError, LABEL_LAG_HOURS, REFERENCE_HOURS, estimated_errors};
pub use histogram::Histogram;
pub use horizon::{
    HORIZON_EDGES_S, HORIZON_NAMES, HORIZONS, HorizonSums, HorizonTable, MAX_WEIGHT, MIN_EFFECTIVE_N, NotWeighted,
    WeightedFigures,
};
pub use hour::{Arrival, FORMAT, HourEvaluation, evaluate_hour, evaluate_hour_with, evaluate_truths};
pub use interval::{IntervalFigures, IntervalStatistics};
pub use join::{ExperimentRow, OutcomeRow, PredictionRow, Truth};
pub use maturity::{MATURITY_AGES_S, MaturityCounts, MaturityPoint, maturity_curve};
pub use metrics::{ErrorStatistics, Figures, WITHIN_S};
pub use recalibration::{MIN_RIDES, Recalibration, RecalibrationOptions, recalibrate};
pub use segment::{Counts, Improvement, Segment, SegmentStatistics, Summary};
pub use shadow::{ShadowRow, ShadowSegment, ShadowStatistics, ShadowSummary};
pub use stream::{JoinError, OutcomeBatch, PredictionBatch, join_batches};
pub use units::{MAX_CELLS, MAX_SAMPLED_UNITS, UnitSums, UnitTable};
pub use window::Window;
