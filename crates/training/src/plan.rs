//! `training.toml`: how a model is trained.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a model is trained: one SageMaker training job per variant, on the same training view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingPlan {
    /// The container image of training and serving.
    pub image: String,
    /// Such as `ml.m5.large`.
    pub instance_type: String,
    /// Disk of the instance, GB.
    #[serde(default = "ten", skip_serializing_if = "is_ten")]
    pub volume_gb: u32,
    /// The job is stopped after so many seconds of training.
    pub max_runtime_s: u32,
    /// What channels are written as.
    #[serde(default, skip_serializing_if = "ChannelFormat::is_default")]
    pub format: ChannelFormat,
    /// The training code, where it is not in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodePlan>,
    /// Spot instances: cheaper, and may be taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<SpotPlan>,
    /// The key that encrypts disk and artefact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// The network that the job is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<VpcPlan>,
    /// Tags of the job, for bills and permissions; lineage adds its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// How the job's log tells its metrics: name and regular expression with one group, as SageMaker's `MetricDefinitions`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, String>,
    /// How rows are split by time.
    #[serde(default, skip_serializing_if = "SplitPlan::is_default")]
    pub split: SplitPlan,
    /// What a model must hold to be offered.
    #[serde(default, skip_serializing_if = "GatePlan::is_default")]
    pub gate: GatePlan,
    /// How traffic goes over to an approved model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<domain::RampPlan>,
    /// Hyperparameters of every variant.
    #[serde(default)]
    pub hyperparameters: BTreeMap<String, toml::Value>,
    /// Hyperparameters by production variant; they win over the ones above.
    pub variants: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

fn ten() -> u32 {
    10
}

// Serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_ten(value: &u32) -> bool {
    *value == ten()
}

/// What channels are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelFormat {
    /// No header, label first, an empty cell for what is missing.
    #[default]
    Csv,
    /// Doubles, label first.
    Parquet,
}

impl ChannelFormat {
    /// The file name's extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// As SageMaker's channels name it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Parquet => "application/x-parquet",
        }
    }

    // Serde passes a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Script mode: the container runs a program of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodePlan {
    /// The folder of the code, relative to the model's.
    #[serde(default = "code_folder")]
    pub folder: String,
    /// The program, relative to it (`sagemaker_program`).
    pub program: String,
}

fn code_folder() -> String {
    "code".to_owned()
}

/// Spot training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpotPlan {
    /// Training and waiting for instances together, seconds; at least `max_runtime_s`.
    pub max_wait_s: u32,
}

/// The network of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpcPlan {
    /// Security groups.
    pub security_groups: Vec<String>,
    /// Subnets.
    pub subnets: Vec<String>,
}

/// How rows are split: by time, since a model is used on what comes after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitPlan {
    /// The share of the dataset's time span, the latest, that no job sees: what the gate compares models on. 0–0.5.
    pub held_out: f64,
    /// The share before it that jobs get as channel `validation`. 0–0.5.
    pub validation: f64,
}

impl Default for SplitPlan {
    fn default() -> Self {
        Self { held_out: 0.1, validation: 0.0 }
    }
}

impl SplitPlan {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a challenger must hold on held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatePlan {
    /// The share of the champion's mean absolute error by which the challenger may be worse: the upper end of the difference's
    /// interval must lie below. 0 asks for a proof that it is better.
    pub margin: f64,
    /// The probability of a false verdict, 0–1.
    pub alpha: f64,
    /// Segments of `release.toml`'s `[evaluation]` in none of which the challenger may be proved worse. All of them where empty.
    pub guarded: Vec<String>,
    /// Values of a segment with fewer held-out rows are not judged.
    pub min_segment_rows: u64,
    /// The least held-out rows.
    pub min_rows: u64,
    /// The largest share of the dataset's rows that may be unusable.
    pub max_rejected: f64,
    /// Whether a model that holds all is approved by itself. By hand is the default.
    pub approve: bool,
}

impl Default for GatePlan {
    fn default() -> Self {
        Self {
            margin: 0.01,
            alpha: 0.05,
            guarded: Vec::new(),
            min_segment_rows: 50,
            min_rows: 100,
            max_rejected: 0.05,
            approve: false,
        }
    }
}

impl GatePlan {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl TrainingPlan {
    /// The variants and their hyperparameters, as SageMaker takes them: texts.
    pub fn variants(&self) -> BTreeMap<&str, BTreeMap<String, String>> {
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let texts = |table: &BTreeMap<String, toml::Value>| -> BTreeMap<String, String> {
            table.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        };
        self.variants
            .iter()
            .map(|(variant, own)| {
                let mut all = texts(&self.hyperparameters);
                all.extend(texts(own));
                (variant.as_str(), all)
            })
            .collect()
    }

    /// What is wrong with it, where something is.
    pub fn problem(&self) -> Option<String> {
        let share = |value: f64| (0.0..=0.5).contains(&value);
        if self.variants.is_empty() {
            return Some("it has no variant".to_owned());
        }
        if !share(self.split.held_out) || !share(self.split.validation) {
            return Some("split.held_out and split.validation must lie within 0 and 0.5".to_owned());
        }
        if let Some(spot) = &self.spot
            && spot.max_wait_s < self.max_runtime_s
        {
            return Some("spot.max_wait_s must be max_runtime_s at least: SageMaker refuses the job else".to_owned());
        }
        if !(0.0..1.0).contains(&self.gate.alpha) || self.gate.alpha == 0.0 {
            return Some("gate.alpha must lie between 0 and 1".to_owned());
        }
        if !self.gate.margin.is_finite() || self.gate.margin < 0.0 {
            return Some("gate.margin must be 0 or more".to_owned());
        }
        self.ramp.as_ref().and_then(domain::RampPlan::problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variants_own_hyperparameters_win_and_all_become_texts() {
        let plan: TrainingPlan = toml::from_str(
            "image = 'i'\ninstance_type = 'ml.m5.large'\nmax_runtime_s = 60\n[hyperparameters]\neta = 0.1\nseed = 7\n\
             [variants.deep]\nseed = 8\nobjective = 'reg:squarederror'",
        )
        .unwrap();
        let deep = &plan.variants()["deep"];
        assert_eq!((deep["eta"].as_str(), deep["seed"].as_str()), ("0.1", "8"));
        assert_eq!(deep["objective"], "reg:squarederror");
        assert_eq!(plan.problem(), None);
        let spot = TrainingPlan { spot: Some(SpotPlan { max_wait_s: 59 }), ..plan.clone() };
        assert!(spot.problem().unwrap().contains("max_wait_s"));
        // What the lake keeps is what was read.
        assert_eq!(serde_json::from_value::<TrainingPlan>(serde_json::to_value(&plan).unwrap()).unwrap(), plan);
    }
}
