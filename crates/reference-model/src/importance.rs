use forust_ml::GradientBooster;
use serde::{Deserialize, Serialize};

/// How much a feature does in a model's trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureImportance {
    /// The feature's column, from 0.
    pub feature: usize,
    /// Its name, where the training channel told names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The share of all splits' gain that its splits have, 0 to 1.
    pub gain: f64,
    /// How many splits ask for it.
    pub splits: u64,
}

/// Of every feature, the greatest gain first. The sums are in the order of the trees, so that the same trees give the same
/// bits.
pub(crate) fn feature_importance(
    booster: &GradientBooster,
    features: usize,
    names: &[String],
) -> Vec<FeatureImportance> {
    let mut all: Vec<FeatureImportance> = (0..features)
        .map(|feature| FeatureImportance { feature, name: names.get(feature).cloned(), gain: 0.0, splits: 0 })
        .collect();
    for node in booster.trees.iter().flat_map(|tree| &tree.nodes).filter(|node| !node.is_leaf) {
        all[node.split_feature].gain += f64::from(node.split_gain);
        all[node.split_feature].splits += 1;
    }
    let total: f64 = all.iter().map(|feature| feature.gain).sum();
    if total > 0.0 {
        for feature in &mut all {
            feature.gain /= total;
        }
    }
    all.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.feature.cmp(&b.feature)));
    all
}
