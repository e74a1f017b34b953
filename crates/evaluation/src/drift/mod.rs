//! Drift: how far what comes now is from what a model was trained on, feature by feature.
//!
//! Samples are slices of finite numbers, categories are counts by name. Distances are symmetric unless they say so;
//! logarithms are natural. [`NumericDrift`] and [`CategoricalDrift`] compute what Evidently 0.7 computes, and choose the
//! test by the size of the reference as it does. [`TrainingBaseline`] and [`DriftReport`] are the same distances over bins that
//! are fixed at training, so that hours merge exactly. [`ModelBaseline`] and [`ModelDrift`] are so for one model's answers and
//! errors: whether the concept still holds.

mod baseline;
mod bins;
mod categories;
mod decision;
mod deequ;
mod kolmogorov;
mod model;
mod monitor;
mod numeric;
mod samples;
mod shares;

pub use baseline::{BASELINE_FORMAT, Bins, ColumnBaseline, ColumnCounts, FeatureCounts, LABEL, TrainingBaseline};
pub use bins::{PSI_FLOOR, PsiBins, sturges_edges};
pub use categories::{CategoricalDrift, Counts as CategoryCounts};
pub use decision::{DATASET_DRIFT_SHARE, Decision, Test, dataset_drift};
pub use deequ::{chi_squared as deequ_chi_squared, linf_categorical, linf_robust, population_stability};
pub use kolmogorov::{kolmogorov_limit_sf, kolmogorov_sf};
pub use model::{ERROR, ModelBaseline, ModelDrift, PREDICTION};
pub use monitor::{ColumnDrift, DriftReason, DriftReport, MIN_ROWS};
pub use numeric::NumericDrift;
pub use samples::{KolmogorovSmirnov, kolmogorov_smirnov, wasserstein};
pub use shares::{fill_zeros, hellinger, jensen_shannon_distance, kullback_leibler, psi, total_variation};

pub(crate) use baseline::MAX_VALUES;
pub(crate) use samples::sorted;
