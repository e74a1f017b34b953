use std::path::{Path, PathBuf};

use forust_ml::GradientBooster;
use serde::{Deserialize, Serialize};

use crate::{FeatureImportance, Forest, Hyperparameters, Metrics, ModelError, Rows, TargetTransform, folders};

/// The trees, in `forust-ml`'s own JSON.
const MODEL_FILE: &str = "model.json";
/// What the trees do not say about themselves: [`Metadata`].
const METADATA_FILE: &str = "metadata.json";

/// A quantile and its trees.
pub(crate) type Trees<'a> = (f64, &'a GradientBooster);

/// `metadata.json`: how the model came about, and what a server needs beside the trees. It holds no time and no path,
/// so that the same data and hyperparameters give the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The library whose format `model.json` has.
    pub algorithm: String,
    /// SHA-256 of `model.json`.
    pub model_sha256: String,
    /// How many features a row has.
    pub feature_count: usize,
    /// How many trees answer.
    pub tree_count: usize,
    /// Every hyperparameter, the ones left at their defaults too.
    pub hyperparameters: Hyperparameters,
    /// The training channel.
    pub train: ChannelSummary,
    /// The validation channel, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ChannelSummary>,
    /// The quantiles that were learnt beside the prediction, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileModel>,
    /// What the features do in the trees, the greatest gain first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feature_importance: Vec<FeatureImportance>,
}

/// What a channel held, and how well the model fits it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChannelSummary {
    /// Rows used.
    pub rows: usize,
    /// Rows left out.
    pub bad_rows: usize,
    /// The model's errors on the rows used, in the label's unit.
    #[serde(flatten)]
    pub metrics: Metrics,
}

/// A quantile's trees: `quantile-<quantile>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantileModel {
    /// The quantile, in (0, 1).
    pub quantile: f64,
    /// SHA-256 of its file.
    pub sha256: String,
    /// How many trees answer.
    pub tree_count: usize,
    /// The share of the training channel's labels that are not above it: its quantile, were it perfect.
    pub train_share: f64,
    /// The share of the validation channel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_share: Option<f64>,
}

impl QuantileModel {
    fn file(quantile: f64) -> PathBuf {
        format!("quantile-{quantile}.json").into()
    }
}

/// A trained model, ready to answer.
#[derive(Debug)]
pub struct Model {
    forest: Forest,
    target_transform: TargetTransform,
    quantiles: Vec<(f64, Forest)>,
}

impl Model {
    pub(crate) fn new(forest: Forest, target_transform: TargetTransform) -> Self {
        Self { forest, target_transform, quantiles: Vec::new() }
    }

    pub(crate) fn push_quantile(&mut self, quantile: f64, forest: Forest) {
        self.quantiles.push((quantile, forest));
    }

    /// Loads what [`train()`](crate::train()) wrote to `folder`.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let damaged = |file: &str, why: String| ModelError::DamagedModel { why: format!("{file}: {why}") };
        let metadata: Metadata = serde_json::from_slice(&folders::read(&folder.join(METADATA_FILE))?)
            .map_err(|error| damaged(METADATA_FILE, error.to_string()))?;
        let forest = |file: &Path, sha256: &str| {
            let name = file.display().to_string();
            let model = folders::read(&folder.join(file))?;
            if domain::digest::sha256_hex(&model) != sha256 {
                return Err(damaged(&name, format!("it is not the file that {METADATA_FILE} was written for")));
            }
            let booster: GradientBooster =
                serde_json::from_slice(&model).map_err(|error| damaged(&name, error.to_string()))?;
            Forest::new(&booster, metadata.feature_count)
        };
        let prediction = forest(Path::new(MODEL_FILE), &metadata.model_sha256)?;
        let mut model = Self::new(prediction, metadata.hyperparameters.target_transform);
        for learnt in &metadata.quantiles {
            model.push_quantile(learnt.quantile, forest(&QuantileModel::file(learnt.quantile), &learnt.sha256)?);
        }
        Ok(model)
    }

    /// How many features a row has.
    pub fn feature_count(&self) -> usize {
        self.forest.feature_count()
    }

    /// How many trees answer.
    pub fn tree_count(&self) -> usize {
        self.forest.tree_count()
    }

    /// The quantiles that it has learnt, ascending.
    pub fn quantiles(&self) -> impl Iterator<Item = f64> {
        self.quantiles.iter().map(|(quantile, _)| *quantile)
    }

    /// The prediction for one row, in the label's unit. See [`Forest::predict`].
    pub fn predict_row(&self, row: &[f64]) -> f64 {
        self.target_transform.invert(self.forest.predict(row))
    }

    /// The quantiles of one row, in the label's unit, ascending. Each is learnt by itself, so that two may cross: they are
    /// put in order, which brings none farther from the truth (Chernozhukov, Fernández-Val, Galichon 2010, *Quantile and
    /// probability curves without crossing*).
    pub fn predict_quantiles(&self, row: &[f64], into: &mut Vec<f64>) {
        into.clear();
        into.extend(self.quantiles.iter().map(|(_, forest)| self.target_transform.invert(forest.predict(row))));
        into.sort_by(f64::total_cmp);
    }

    /// One prediction per row, in the label's unit.
    pub fn predict(&self, rows: &Rows) -> Result<Vec<f64>, ModelError> {
        rows.iter().enumerate().map(|(index, row)| finite(self.predict_row(row), index)).collect()
    }

    /// The quantiles of each row, one row after the other.
    pub fn predict_all_quantiles(&self, rows: &Rows) -> Result<Vec<f64>, ModelError> {
        let (mut all, mut of_row) = (Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            self.predict_quantiles(row, &mut of_row);
            for quantile in &of_row {
                all.push(finite(*quantile, index)?);
            }
        }
        Ok(all)
    }
}

fn finite(prediction: f64, index: usize) -> Result<f64, ModelError> {
    prediction.is_finite().then_some(prediction).ok_or(ModelError::PredictionNotFinite { row: index + 1 })
}

/// Writes a model's files to `folder`. The digests in `metadata` are filled in here.
pub(crate) fn save(
    folder: &Path,
    booster: &GradientBooster,
    quantiles: &[Trees<'_>],
    metadata: &mut Metadata,
) -> Result<(), ModelError> {
    let failed = |error: serde_json::Error| ModelError::TrainingFailed(error.to_string());
    let write = |file: &Path, booster: &GradientBooster| {
        let model = serde_json::to_vec(booster).map_err(failed)?;
        folders::write(&folder.join(file), &model)?;
        Ok(domain::digest::sha256_hex(&model))
    };
    metadata.model_sha256 = write(Path::new(MODEL_FILE), booster)?;
    for ((quantile, booster), learnt) in quantiles.iter().zip(&mut metadata.quantiles) {
        learnt.sha256 = write(&QuantileModel::file(*quantile), booster)?;
    }
    let mut text = serde_json::to_vec_pretty(metadata).map_err(failed)?;
    text.push(b'\n');
    folders::write(&folder.join(METADATA_FILE), &text)
}
