use std::path::Path;

use forust_ml::GradientBooster;
use serde::{Deserialize, Serialize};

use crate::{Forest, Hyperparameters, Metrics, ModelError, Rows, TargetTransform, folders};

/// The trees, in `forust-ml`'s own JSON.
const MODEL_FILE: &str = "model.json";
/// What the trees do not say about themselves: [`Metadata`].
const METADATA_FILE: &str = "metadata.json";

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

/// A trained model, ready to answer.
#[derive(Debug)]
pub struct Model {
    forest: Forest,
    target_transform: TargetTransform,
}

impl Model {
    pub(crate) fn new(forest: Forest, target_transform: TargetTransform) -> Self {
        Self { forest, target_transform }
    }

    /// Loads what [`train()`](crate::train()) wrote to `folder`.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let damaged = |file: &str, why: String| ModelError::DamagedModel { why: format!("{file}: {why}") };
        let metadata: Metadata = serde_json::from_slice(&folders::read(&folder.join(METADATA_FILE))?)
            .map_err(|error| damaged(METADATA_FILE, error.to_string()))?;
        let model = folders::read(&folder.join(MODEL_FILE))?;
        if domain::digest::sha256_hex(&model) != metadata.model_sha256 {
            return Err(damaged(MODEL_FILE, format!("it is not the file that {METADATA_FILE} was written for")));
        }
        let booster: GradientBooster =
            serde_json::from_slice(&model).map_err(|error| damaged(MODEL_FILE, error.to_string()))?;
        let forest = Forest::new(&booster, metadata.feature_count)?;
        Ok(Self::new(forest, metadata.hyperparameters.target_transform))
    }

    /// How many features a row has.
    pub fn feature_count(&self) -> usize {
        self.forest.feature_count()
    }

    /// How many trees answer.
    pub fn tree_count(&self) -> usize {
        self.forest.tree_count()
    }

    /// The prediction for one row, in the label's unit. See [`Forest::predict`].
    pub fn predict_row(&self, row: &[f64]) -> f64 {
        self.target_transform.invert(self.forest.predict(row))
    }

    /// One prediction per row, in the label's unit.
    pub fn predict(&self, rows: &Rows) -> Result<Vec<f64>, ModelError> {
        rows.iter()
            .enumerate()
            .map(|(index, row)| {
                let prediction = self.predict_row(row);
                let finite = prediction.is_finite().then_some(prediction);
                finite.ok_or(ModelError::PredictionNotFinite { row: index + 1 })
            })
            .collect()
    }
}

/// Writes a model's two files to `folder`. The digest in `metadata` is filled in here.
pub(crate) fn save(folder: &Path, booster: &GradientBooster, metadata: &mut Metadata) -> Result<(), ModelError> {
    let failed = |error: serde_json::Error| ModelError::TrainingFailed(error.to_string());
    let model = serde_json::to_vec(booster).map_err(failed)?;
    metadata.model_sha256 = domain::digest::sha256_hex(&model);
    folders::write(&folder.join(MODEL_FILE), &model)?;
    let mut text = serde_json::to_vec_pretty(metadata).map_err(failed)?;
    text.push(b'\n');
    folders::write(&folder.join(METADATA_FILE), &text)
}
