//! Where training, its models and what is decided of them lie.

use crate::ModelName;

/// What is trained when a dataset version is put in use.
pub fn training_definition(model: &ModelName) -> String {
    format!("training/{model}/definition.json")
}

/// All training definitions lie below it.
pub const TRAINING: &str = "training/";

/// The model of a training definition, or `None` where the key is none.
pub fn model_of_training_definition(key: &str) -> Option<ModelName> {
    key.strip_prefix(TRAINING)?.strip_suffix("/definition.json")?.parse().ok()
}

/// Training code, by the SHA-256 of its archive before compression.
pub fn training_code(model: &ModelName, address: &str) -> String {
    format!("training/{model}/code/{address}.tar.gz")
}

/// One training view: what a dataset version becomes by one spec, split by time.
pub fn training_view(model: &ModelName, view: &str) -> String {
    format!("training/{model}/views/{view}/")
}

/// What a view is: written last.
pub fn training_view_summary(model: &ModelName, view: &str) -> String {
    format!("{}view.json", training_view(model, view))
}

/// What became of one file of the dataset version in a view: written after its rows.
pub fn training_view_part(model: &ModelName, view: &str, part: usize) -> String {
    format!("{}parts/{part:04}.json", training_view(model, view))
}

/// A channel of a view, such as `train`: a SageMaker `S3Prefix`.
pub fn training_channel(model: &ModelName, view: &str, channel: &str) -> String {
    format!("{}{channel}/", training_view(model, view))
}

/// One file of a channel.
pub fn training_channel_part(model: &ModelName, view: &str, channel: &str, part: usize, extension: &str) -> String {
    format!("{}part-{part:04}.{extension}", training_channel(model, view, channel))
}

/// What a model version says to a view's held-out rows.
pub fn held_out_predictions(model: &ModelName, view: &str, version: &str) -> String {
    format!("{}predictions/{version}/", training_view(model, view))
}

/// A training job that was ordered: written before the job is created.
pub fn training_order(model: &ModelName, version: &str) -> String {
    format!("{}{version}.json", training_orders(model))
}

/// All training jobs that were ordered.
pub fn training_orders(model: &ModelName) -> String {
    format!("training/{model}/orders/")
}

/// The model and version of an order, or `None` where the key is none.
pub fn training_order_of(key: &str) -> Option<(ModelName, String)> {
    let (model, rest) = key.strip_prefix(TRAINING)?.split_once('/')?;
    let version = rest.strip_prefix("orders/")?.strip_suffix(".json")?;
    (!version.is_empty() && !version.contains('/')).then_some((model.parse().ok()?, version.to_owned()))
}

/// A registered model version.
pub fn model_version(model: &ModelName, version: &str) -> String {
    format!("{}{version}.json", model_versions(model))
}

/// All registered versions of a model.
pub fn model_versions(model: &ModelName) -> String {
    format!("models/{model}/versions/")
}

/// The version that a key registers, or `None` where it does not.
pub fn version_of_key(model: &ModelName, key: &str) -> Option<String> {
    let version = key.strip_prefix(&model_versions(model))?.strip_suffix(".json")?;
    (!version.contains('/')).then(|| version.to_owned())
}

/// Why a training job failed.
pub fn training_failure(model: &ModelName, version: &str) -> String {
    format!("models/{model}/failures/{version}.json")
}

/// The gate's verdict on a version.
pub fn gate_verdict(model: &ModelName, version: &str) -> String {
    format!("models/{model}/gates/{version}.json")
}

/// That a version may be deployed.
pub fn model_approval(model: &ModelName, version: &str) -> String {
    format!("models/{model}/approvals/{version}.json")
}

/// That a version is not to be deployed again.
pub fn model_retirement(model: &ModelName, version: &str) -> String {
    format!("models/{model}/retirements/{version}.json")
}

/// What was decided of a model's versions lies below these, by version.
pub fn model_decisions(model: &ModelName) -> [String; 4] {
    ["failures", "gates", "approvals", "retirements"].map(|kind| format!("models/{model}/{kind}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_what_they_are_of() {
        let model: ModelName = "pickup-eta".parse().unwrap();
        assert_eq!(model_of_training_definition(&training_definition(&model)), Some(model.clone()));
        assert_eq!(training_order_of(&training_order(&model, "v-1")), Some((model.clone(), "v-1".to_owned())));
        assert_eq!(training_order_of(&training_code(&model, "v-1")), None);
        assert_eq!(version_of_key(&model, &model_version(&model, "v-1")).as_deref(), Some("v-1"));
        assert_eq!(version_of_key(&model, &gate_verdict(&model, "v-1")), None);
    }
}
