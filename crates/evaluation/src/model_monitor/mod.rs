//! SageMaker Model Monitor's files, for who comes from it or has tools that read them: `statistics.json` and
//! `constraints.json` of a training view, and `constraint_violations.json` of what came since.
//!
//! Field names: <https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html>,
//! `…-byoc-constraints.html`, `…-interpreting-violations.html`. Every column here is a number, so that no `data_type_check`
//! can fail; of what comes, completeness and distribution are checked.

mod check;
mod read;
mod write;

pub use check::violations;
pub use read::{Imported, baseline_of};
use serde::{Deserialize, Serialize};
pub use write::{constraints_of, statistics_of};

/// `statistics.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// 0.
    #[serde(default)]
    pub version: f64,
    /// The data set as a whole.
    #[serde(default)]
    pub dataset: Dataset,
    /// By feature.
    pub features: Vec<FeatureStatistics>,
}

/// The data set as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Dataset {
    /// Rows.
    #[serde(default)]
    pub item_count: u64,
}

/// A feature's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InferredType {
    /// Whole numbers.
    Integral,
    /// Numbers.
    Fractional,
    /// Texts.
    String,
    /// None could be told.
    #[serde(other)]
    Unknown,
}

/// One feature's statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureStatistics {
    /// Its name.
    pub name: String,
    /// Its type.
    pub inferred_type: InferredType,
    /// Of a column of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numerical_statistics: Option<NumericalStatistics>,
    /// Of a column of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_statistics: Option<StringStatistics>,
}

/// How many values there are.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Common {
    /// Rows with a value.
    pub num_present: u64,
    /// Rows without.
    pub num_missing: u64,
}

/// A column of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumericalStatistics {
    /// How many.
    pub common: Common,
    /// The mean.
    pub mean: f64,
    /// The sum.
    pub sum: f64,
    /// The standard deviation, with n.
    pub std_dev: f64,
    /// The least value.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How they are distributed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<NumericalDistribution>,
}

/// How numbers are distributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumericalDistribution {
    /// Buckets and sketch.
    pub kll: Kll,
}

/// Ten buckets of equal width, and a KLL sketch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Kll {
    /// The buckets.
    #[serde(default)]
    pub buckets: Vec<Bucket>,
    /// The sketch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<Sketch>,
}

/// A bucket of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// From here, included.
    pub lower_bound: f64,
    /// To here.
    pub upper_bound: f64,
    /// How many.
    pub count: f64,
}

/// A KLL sketch as Deequ writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    /// Its shape.
    pub parameters: SketchParameters,
    /// One list per level; an item of level h (from 0) stands for 2^h values.
    pub data: Vec<Vec<f64>>,
}

/// A sketch's shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SketchParameters {
    /// Deequ's shrinking factor.
    pub c: f64,
    /// Deequ's sketch size.
    pub k: f64,
}

/// A column of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StringStatistics {
    /// How many.
    pub common: Common,
    /// Different texts.
    #[serde(default)]
    pub distinct_count: f64,
    /// How they are distributed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<StringDistribution>,
}

/// How texts are distributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StringDistribution {
    /// Counts.
    pub categorical: Categorical,
}

/// Counts of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Categorical {
    /// By text.
    pub buckets: Vec<Category>,
}

/// One text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// The text.
    pub value: String,
    /// How often.
    pub count: u64,
}

/// `constraints.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constraints {
    /// 0.
    #[serde(default)]
    pub version: f64,
    /// By feature.
    pub features: Vec<FeatureConstraints>,
    /// For all features.
    #[serde(default)]
    pub monitoring_config: MonitoringConfig,
}

/// What one feature must keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureConstraints {
    /// Its name.
    pub name: String,
    /// Its type.
    pub inferred_type: InferredType,
    /// The least share of rows with a value, 0–1.
    pub completeness: f64,
    /// Of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_constraints: Option<NumConstraints>,
    /// In place of `monitoring_config`, for this feature.
    #[serde(rename = "monitoringConfigOverrides", default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<MonitoringConfig>,
}

/// What numbers must keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NumConstraints {
    /// Whether none was below 0. Model Monitor suggests it and has no check of it.
    pub is_non_negative: bool,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Switch {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

/// How constraints are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MonitoringConfig {
    /// Whether at all.
    pub evaluate_constraints: Switch,
    /// Whether CloudWatch gets metrics of it; nothing here reads it.
    pub emit_metrics: Switch,
    /// The share of values of another type that is tolerated; every value here is a number.
    pub datatype_check_threshold: f64,
    /// The share of unknown texts that is tolerated; there are none here.
    pub domain_content_threshold: f64,
    /// Of distributions.
    pub distribution_constraints: DistributionConstraints,
}

impl Default for MonitoringConfig {
    fn default() -> Self {
        Self {
            evaluate_constraints: Switch::Enabled,
            emit_metrics: Switch::Enabled,
            datatype_check_threshold: 0.1,
            domain_content_threshold: 0.1,
            distribution_constraints: DistributionConstraints::default(),
        }
    }
}

/// How distributions are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DistributionConstraints {
    /// Whether at all.
    pub perform_comparison: Switch,
    /// The distance from which it is drift.
    pub comparison_threshold: f64,
    /// `Simple`: the greatest difference of the distributions; `Robust`: less what chance does to so many values.
    pub comparison_method: String,
    /// The same for texts.
    pub categorical_comparison_threshold: f64,
    /// How texts are compared.
    pub categorical_drift_method: String,
}

impl Default for DistributionConstraints {
    fn default() -> Self {
        Self {
            perform_comparison: Switch::Enabled,
            comparison_threshold: 0.1,
            comparison_method: "Robust".to_owned(),
            categorical_comparison_threshold: 0.1,
            categorical_drift_method: "LInfinity".to_owned(),
        }
    }
}

/// `constraint_violations.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Violations {
    /// What does not hold.
    pub violations: Vec<Violation>,
}

/// One constraint that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The feature.
    pub feature_name: String,
    /// `completeness_check`, `baseline_drift_check`, `missing_column_check`.
    pub constraint_check_type: String,
    /// In words.
    pub description: String,
}
