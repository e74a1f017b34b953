//! The data scientist's folder, `models/<name>/`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ::features::Plan;
use domain::{
    ArchiveMode, Correction, EndpointCalling, EvaluationPlan, ExperimentPlan, Limits, ModelName, PromisePolicy,
    ResidualQuantile,
};
use feature_batch::LookupFile;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use training::TrainingPlan;

use crate::{error::CliError, lookup_tables};

/// Where the reference model's folder lies in a checkout.
const DEFAULT_FOLDER: &str = "models/pickup-eta";

/// A model's folder, read and checked.
pub(crate) struct ModelFolder {
    pub(crate) name: ModelName,
    pub(crate) features_toml: String,
    pub(crate) plan: Plan,
    /// Where it lies; nothing where it is the copy that is built in.
    pub(crate) place: Option<PathBuf>,
    pub(crate) training_toml: String,
    /// The lookup tables that the spec declares.
    pub(crate) lookups: BTreeMap<String, LookupFile>,
    pub(crate) training: TrainingPlan,
    pub(crate) release: ReleasePlan,
    /// What `mannen release calibrate` has left.
    pub(crate) calibration: Option<CalibrationFile>,
}

/// The file that `mannen release calibrate --write` leaves in the folder.
pub(crate) const CALIBRATION_FILE: &str = "calibration.json";

/// `calibration.json`: for the next release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalibrationFile {
    /// In place of the promise's calibration, where the release has a promise.
    pub(crate) calibration: Vec<ResidualQuantile>,
    /// The correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) correction: Option<Correction>,
}

/// `release.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasePlan {
    /// The SageMaker endpoint.
    pub(crate) endpoint: String,
    pub(crate) arms: Vec<ArmPlan>,
    pub(crate) experiment: Option<ExperimentPlan>,
    /// Arms that are asked beside and never answer.
    #[serde(default)]
    pub(crate) shadows: Vec<ArmPlan>,
    /// Who is asked where an arm does not answer.
    pub(crate) second: Option<SecondPlan>,
    /// How endpoints are called: formats, retries, hedging, circuit breaker.
    #[serde(default)]
    pub(crate) calling: EndpointCalling,
    /// What is shown to the rider.
    pub(crate) promise: Option<PromisePolicy>,
    /// What evaluations tell apart.
    pub(crate) evaluation: Option<EvaluationPlan>,
    /// When the record is written.
    #[serde(default)]
    pub(crate) archive: ArchiveMode,
    /// Whether to go back by itself where a guardrail of the experiment is breached.
    #[serde(default)]
    pub(crate) auto_rollback: bool,
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
    /// The version of the model behind the variant; what the endpoint serves where absent.
    pub(crate) model_version: Option<String>,
}

/// The second endpoint of `release.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecondPlan {
    /// The arms' endpoint where absent: then another variant of it.
    pub(crate) endpoint: Option<String>,
    pub(crate) variant: String,
    /// The version of the model behind the variant; what the endpoint serves where absent.
    pub(crate) model_version: Option<String>,
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
        let mut model = Self::of(&read("features.toml")?, &read("training.toml")?, &read("release.toml")?)?;
        model.place = Some(folder.to_owned());
        if folder.join(CALIBRATION_FILE).exists() {
            let (file, text) = read(CALIBRATION_FILE)?;
            let calibration = serde_json::from_str(&text);
            model.calibration =
                Some(calibration.map_err(|error| CliError::ModelFolder { file, detail: error.to_string() })?);
        }
        Ok(model)
    }

    /// The release's promise, with the latest calibration.
    pub(crate) fn promise(&self) -> Option<PromisePolicy> {
        let mut promise = self.release.promise.clone()?;
        if let Some(found) = self.calibration.as_ref().filter(|found| !found.calibration.is_empty()) {
            promise.calibration.clone_from(&found.calibration);
        }
        Some(promise)
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
            training_toml: training.1.clone(),
            place: None,
            training: parse(training)?,
            release: release_plan,
            calibration: None,
        };
        if let Some(detail) = folder.training.problem() {
            return Err(CliError::ModelFolder { file: training.0.clone(), detail });
        }
        for arm in folder.release.arms.iter().chain(&folder.release.shadows) {
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

    fn text(name: &str) -> (PathBuf, String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta").join(name);
        (PathBuf::from(name), std::fs::read_to_string(path).unwrap())
    }

    #[test]
    fn a_release_may_have_a_switchback_a_promise_and_shadows() {
        let mut release = text("release.toml");
        release.1 = release.1.replace(
            "weights = [0.5, 0.5]",
            "weights = [0.5, 0.5]\nrandomise = { by = \"switchback\", slot_s = 1800, carry_over_s = 300, zone_input = \
             \"rider_zone\" }\nforced = { qa-1 = \"treatment\" }",
        );
        release.1 = format!(
            "archive = \"after-response\"\n{}\n[[shadows]]\nname = \"challenger\"\nvariant = \"deep\"\n[promise]\ninterval = \
             0.8\nlate_cost = 3\nearly_cost = 1\ncalibration = [{{ probability = 0.1, residual = -60 }}, {{ probability = 0.9, \
             residual = 90 }}]\ndamping = {{ dead_band = 30, share = 0.5 }}\n",
            release.1
        );
        let folder = ModelFolder::of(&text("features.toml"), &text("training.toml"), &release).unwrap();
        let release = crate::release::release_of(&folder, &BTreeMap::new(), jiff::Timestamp::UNIX_EPOCH);
        let experiment = release.experiment.unwrap();
        assert_eq!((experiment.randomise.zone_input(), experiment.forced.len()), (Some("rider_zone"), 1));
        assert_eq!((release.shadows[0].name.as_str(), release.shadows[0].variant.as_str()), ("challenger", "deep"));
        assert_eq!((release.promise.unwrap().late_cost, release.archive), (3.0, ArchiveMode::AfterResponse));
        let mut unknown = text("release.toml");
        unknown.1 += "\n[[shadows]]\nname = \"challenger\"\nvariant = \"none\"\n";
        let error = ModelFolder::of(&text("features.toml"), &text("training.toml"), &unknown).err().unwrap();
        assert!(error.to_string().contains("wants variant `none`"), "{error}");
    }

    #[test]
    fn a_calibration_beside_the_release_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["features.toml", "training.toml", "release.toml"] {
            let mut text = text(name).1;
            if name == "release.toml" {
                text += "\n[promise]\ninterval = 0.8\nlate_cost = 3\nearly_cost = 1\ncalibration = [{ probability = 0.1, \
                         residual = -60 }, { probability = 0.9, residual = 90 }]\n";
            }
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let file = folder.path().join(CALIBRATION_FILE);
        let correction = serde_json::json!({"hours": vec![0.9; 24]});
        let points = serde_json::json!([{"probability": 0.1, "residual": -30}, {"probability": 0.9, "residual": 40}]);
        let document = serde_json::json!({"calibration": points, "correction": correction});
        std::fs::write(&file, document.to_string()).unwrap();
        let model = ModelFolder::read(Some(folder.path())).unwrap();
        let release = crate::release::release_of(&model, &BTreeMap::new(), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(release.validate(), Ok(()));
        assert_eq!(release.promise.unwrap().calibration[1].residual, 40.0);
        assert_eq!(release.correction.unwrap().hours[7], 0.9);
        std::fs::write(&file, "{}").unwrap();
        let error = ModelFolder::read(Some(folder.path())).err().unwrap();
        assert!(error.to_string().contains("calibration"), "{error}");
    }

    #[test]
    fn an_arm_without_a_variant_is_told() {
        let mut release = text("release.toml");
        release.1 = release.1.replace("variant = \"deep\"", "variant = \"deeper\"");
        let error = ModelFolder::of(&text("features.toml"), &text("training.toml"), &release).err().unwrap();
        assert!(error.to_string().contains("wants variant `deeper`"), "{error}");
    }
}
