//! The data scientist's folder, `models/<name>/`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ::features::Plan;
use domain::{ExperimentPlan, Limits, ModelName};
use feature_batch::LookupFile;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{error::CliError, lookup_tables};

/// Where the reference model's folder lies in a checkout.
const DEFAULT_FOLDER: &str = "models/pickup-eta";

/// A model's folder, read and checked.
pub(crate) struct ModelFolder {
    pub(crate) name: ModelName,
    pub(crate) features_toml: String,
    pub(crate) plan: Plan,
    /// The lookup tables that the spec declares.
    pub(crate) lookups: BTreeMap<String, LookupFile>,
    pub(crate) training: TrainingPlan,
    pub(crate) release: ReleasePlan,
}

/// `training.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainingPlan {
    /// The container image of training and serving.
    pub(crate) image: String,
    pub(crate) instance_type: String,
    pub(crate) max_runtime_s: u32,
    #[serde(default)]
    hyperparameters: BTreeMap<String, toml::Value>,
    /// Hyperparameters by production variant.
    variants: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

/// `release.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasePlan {
    /// The SageMaker endpoint.
    pub(crate) endpoint: String,
    pub(crate) arms: Vec<ArmPlan>,
    pub(crate) experiment: Option<ExperimentPlan>,
    pub(crate) limits: Limits,
    /// Lookup tables that do not lie at lookups/NAME.parquet: their files, relative to the folder.
    #[serde(default)]
    lookups: BTreeMap<String, PathBuf>,
}

/// One arm of `release.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArmPlan {
    pub(crate) name: String,
    pub(crate) variant: String,
}

impl TrainingPlan {
    /// The variants and their hyperparameters, as SageMaker takes them: texts.
    pub(crate) fn variants(&self) -> BTreeMap<&str, BTreeMap<String, String>> {
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
}

impl ModelFolder {
    /// Reads `folder`; without one, the reference model's in the checkout, or else the copy that is built in.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, CliError> {
        let folder = match folder {
            Some(folder) => folder,
            None if Path::new(DEFAULT_FOLDER).is_dir() => Path::new(DEFAULT_FOLDER),
            None => return Self::built_in(),
        };
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .map(|text| (path.clone(), text))
                .map_err(|source| CliError::io(format!("read `{}`", path.display()), source))
        };
        Self::of(&read("features.toml")?, &read("training.toml")?, &read("release.toml")?)
    }

    fn built_in() -> Result<Self, CliError> {
        let file = |name: &str, text: &str| (Path::new(DEFAULT_FOLDER).join(name), text.to_owned());
        Self::of(
            &file("features.toml", include_str!("../../../models/pickup-eta/features.toml")),
            &file("training.toml", include_str!("../../../models/pickup-eta/training.toml")),
            &file("release.toml", include_str!("../../../models/pickup-eta/release.toml")),
        )
    }

    fn of(
        features: &(PathBuf, String),
        training: &(PathBuf, String),
        release: &(PathBuf, String),
    ) -> Result<Self, CliError> {
        let release_plan: ReleasePlan = parse(release)?;
        let folder = release.0.parent().unwrap_or(Path::new(""));
        let own_places = release_plan.lookups.iter().map(|(name, file)| (name.clone(), folder.join(file))).collect();
        let lookups = lookup_tables::read_tables(&features.0, &features.1, &own_places)?;
        let resources = lookup_tables::resources(&lookups);
        let plan = Plan::compile_with(&features.0.display().to_string(), &features.1, &resources)?;
        let name = plan.name().parse()?;
        let folder = Self {
            name,
            plan,
            lookups,
            features_toml: features.1.clone(),
            training: parse(training)?,
            release: release_plan,
        };
        for arm in &folder.release.arms {
            if !folder.training.variants.contains_key(&arm.variant) {
                let detail = format!(
                    "arm `{}` wants variant `{}`, but training.toml has only: {}",
                    arm.name,
                    arm.variant,
                    folder.training.variants.keys().cloned().collect::<Vec<_>>().join(", ")
                );
                return Err(CliError::ModelFolder { file: release.0.clone(), detail });
            }
        }
        Ok(folder)
    }
}

fn parse<T: DeserializeOwned>((file, text): &(PathBuf, String)) -> Result<T, CliError> {
    // toml's own message draws the line and marks the column.
    toml::from_str(text).map_err(|error| CliError::ModelFolder { file: file.clone(), detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_folder_is_whole() {
        let folder = ModelFolder::built_in().unwrap();
        assert_eq!(folder.name.as_str(), "pickup-eta");
        let variants = folder.training.variants();
        assert_eq!(variants["deep"]["max_depth"], "7");
        assert_eq!(variants["deep"]["target_transform"], "sqrt");
    }

    #[test]
    fn an_arm_without_a_variant_is_told() {
        let text = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta").join(name);
            (PathBuf::from(name), std::fs::read_to_string(path).unwrap())
        };
        let mut release = text("release.toml");
        release.1 = release.1.replace("variant = \"deep\"", "variant = \"deeper\"");
        let error = ModelFolder::of(&text("features.toml"), &text("training.toml"), &release).err().unwrap();
        assert!(error.to_string().contains("wants variant `deeper`"), "{error}");
    }
}
