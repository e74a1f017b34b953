use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ModelError, TargetTransform, cell};

/// How to train. The names are XGBoost's, since that is what SageMaker's users write; README.md has the others they go by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyperparameters {
    /// The most trees.
    pub num_round: usize,
    /// The weight of each tree.
    pub eta: f32,
    /// The deepest a tree grows.
    pub max_depth: usize,
    /// The most leaves of a tree; 0 for no limit. With a limit the leaf with the greatest gain is split first.
    pub max_leaves: usize,
    /// The fewest rows in a leaf.
    pub min_leaf_weight: f32,
    /// L2 regularisation of leaf weights.
    pub lambda: f32,
    /// L1 regularisation of leaf weights.
    pub alpha: f32,
    /// The least gain of a split.
    pub gamma: f32,
    /// The share of rows each tree is trained on.
    pub subsample: f32,
    /// The share of features each tree is trained on.
    pub colsample_bytree: f64,
    /// The most bins a feature is cut into.
    pub max_bin: u16,
    /// Seeds the sampling.
    pub seed: u64,
    /// Stop when the validation channel's error has not become less for this many trees, and keep the best number of
    /// them; 0 to never stop.
    pub early_stopping_rounds: usize,
    /// What is trained on instead of the label itself.
    pub target_transform: TargetTransform,
    /// The share of a channel's rows that may be bad (and are skipped) before training fails.
    pub max_bad_rows_share: f64,
    /// Threads. Not part of the model: any number gives the same trees.
    #[serde(skip, default = "default_nthread")]
    pub nthread: usize,
}

fn default_nthread() -> usize {
    2
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            num_round: 100,
            eta: 0.1,
            max_depth: 6,
            max_leaves: 0,
            min_leaf_weight: 1.0,
            lambda: 1.0,
            alpha: 0.0,
            gamma: 0.0,
            subsample: 1.0,
            colsample_bytree: 1.0,
            max_bin: 256,
            seed: 0,
            early_stopping_rounds: 0,
            target_transform: TargetTransform::None,
            max_bad_rows_share: 0.01,
            nthread: default_nthread(),
        }
    }
}

/// Every hyperparameter, with the other names it goes by.
const KNOWN: [(&str, &[&str]); 17] = [
    ("num_round", &["num_rounds", "iterations", "n_estimators"]),
    ("eta", &["learning_rate"]),
    ("max_depth", &[]),
    ("max_leaves", &["num_leaves"]),
    ("min_leaf_weight", &["min_child_weight"]),
    ("lambda", &["l2", "reg_lambda"]),
    ("alpha", &["l1", "reg_alpha"]),
    ("gamma", &["min_split_loss"]),
    ("subsample", &[]),
    ("colsample_bytree", &[]),
    ("max_bin", &["nbins"]),
    ("seed", &["random_state"]),
    ("early_stopping_rounds", &[]),
    ("target_transform", &[]),
    ("max_bad_rows_share", &[]),
    ("nthread", &["num_threads"]),
    ("objective", &[]),
];

impl Hyperparameters {
    /// Reads `hyperparameters.json`: one object, whose values SageMaker passes as strings (`"200"`); its Python SDK puts
    /// some of them in a second pair of quotation marks (`"\"log1p\""`). Numbers are taken too. Names that begin with
    /// `_` or `sagemaker_` are SageMaker's own and left out.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ModelError> {
        let object: BTreeMap<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| ModelError::InvalidHyperparameters(error.to_string()))?;
        let mut hyperparameters = Self::default();
        let mut given: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, value) in &object {
            if name.starts_with('_') || name.starts_with("sagemaker_") {
                continue;
            }
            let canonical = canonical(name)?;
            if let Some(other) = given.insert(canonical, name) {
                return Err(invalid(name, format!("it is the same as `{other}`, which is given too")));
            }
            hyperparameters.set(canonical, &Given { name, text: &text(name, value)? })?;
        }
        Ok(hyperparameters)
    }

    fn set(&mut self, canonical: &str, given: &Given<'_>) -> Result<(), ModelError> {
        match canonical {
            "num_round" => self.num_round = given.number(1..=100_000)?,
            "eta" => self.eta = given.number(1e-6..=1.0)?,
            "max_depth" => self.max_depth = given.number(1..=64)?,
            "max_leaves" => self.max_leaves = given.number(0..=1_000_000)?,
            "min_leaf_weight" => self.min_leaf_weight = given.number(0.0..=1e9)?,
            "lambda" => self.lambda = given.number(0.0..=1e9)?,
            "alpha" => self.alpha = given.number(0.0..=1e9)?,
            "gamma" => self.gamma = given.number(0.0..=1e30)?,
            "subsample" => self.subsample = given.number(1e-6..=1.0)?,
            "colsample_bytree" => self.colsample_bytree = given.number(1e-6..=1.0)?,
            "max_bin" => self.max_bin = given.number(2..=65_000)?,
            "seed" => self.seed = given.number(0..=u64::MAX)?,
            "early_stopping_rounds" => self.early_stopping_rounds = given.number(0..=100_000)?,
            "target_transform" => self.target_transform = given.choice(&TargetTransform::NAMES)?,
            "max_bad_rows_share" => self.max_bad_rows_share = given.number(0.0..=1.0)?,
            "nthread" => self.nthread = given.number(1..=256)?,
            // There is one objective; the name is taken so that a configuration made for XGBoost can say it.
            _ => given.choice(&[("reg:squarederror", ()), ("squared_error", ())])?,
        }
        Ok(())
    }
}

fn canonical(name: &str) -> Result<&'static str, ModelError> {
    KNOWN
        .iter()
        .find(|(canonical, aliases)| *canonical == name || aliases.contains(&name))
        .map(|(canonical, _)| *canonical)
        .ok_or_else(|| ModelError::UnknownHyperparameter {
            name: name.to_owned(),
            known: KNOWN.map(|(canonical, _)| canonical).join(", "),
        })
}

fn text(name: &str, value: &Value) -> Result<String, ModelError> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            Ok(inner.unwrap_or(text).to_owned())
        }
        Value::Number(number) => Ok(number.to_string()),
        other => Err(invalid(name, format!("{other} is neither a text nor a number"))),
    }
}

fn invalid(name: &str, why: String) -> ModelError {
    ModelError::InvalidHyperparameter { name: name.to_owned(), why }
}

/// A hyperparameter as it came.
struct Given<'a> {
    name: &'a str,
    text: &'a str,
}

impl Given<'_> {
    fn number<T: FromStr + PartialOrd + Display>(&self, range: RangeInclusive<T>) -> Result<T, ModelError> {
        let number = self.text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let kind = if "0.5".parse::<T>().is_ok() { "a number" } else { "a whole number" };
            let why =
                format!("{} is not {kind} between {} and {}", cell::quoted(self.text), range.start(), range.end());
            invalid(self.name, why)
        })
    }

    fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ModelError> {
        choices.iter().find(|(name, _)| *name == self.text).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            invalid(self.name, format!("{} is not one of {}", cell::quoted(self.text), names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Hyperparameters {
        Hyperparameters::from_json(json.as_bytes()).unwrap()
    }

    fn message(json: &str) -> String {
        Hyperparameters::from_json(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_strings_as_sagemaker_passes_them() {
        let read = parsed(
            r#"{"iterations": "200", "eta": "0.05", "max_leaves": "31", "seed": 7, "target_transform": "\"log1p\"",
                "objective": "reg:squarederror", "_tuning_objective_metric": "validation:mae", "sagemaker_region": "x"}"#,
        );
        let expected = Hyperparameters {
            num_round: 200,
            eta: 0.05,
            max_leaves: 31,
            seed: 7,
            target_transform: TargetTransform::Log1p,
            ..Hyperparameters::default()
        };
        assert_eq!(read, expected);
        assert_eq!(parsed("{}"), Hyperparameters::default());
    }

    #[test]
    fn every_known_name_can_be_set() {
        for (canonical, aliases) in KNOWN {
            let value = match canonical {
                "target_transform" => "sqrt",
                "objective" => "squared_error",
                "eta" | "subsample" | "colsample_bytree" | "max_bad_rows_share" => "0.5",
                _ => "3",
            };
            for name in aliases.iter().chain([&canonical]) {
                let read = parsed(&format!(r#"{{"{name}": "{value}"}}"#));
                assert_eq!(read != Hyperparameters::default(), canonical != "objective", "{name}");
            }
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let unknown = message(r#"{"depth": "3"}"#);
        assert!(unknown.contains("`depth` is not known") && unknown.contains("max_depth, max_leaves"), "{unknown}");
        assert_eq!(
            message(r#"{"max_depth": "6.5"}"#),
            "hyperparameter `max_depth`: `6.5` is not a whole number between 1 and 64"
        );
        assert_eq!(
            message(r#"{"learning_rate": "NaN"}"#),
            "hyperparameter `learning_rate`: `NaN` is not a number between 0.000001 and 1"
        );
        assert!(message(r#"{"eta": "0.1", "learning_rate": "0.2"}"#).contains("the same as `eta`"));
        assert!(message(r#"{"target_transform": "log"}"#).contains("not one of none, log1p, sqrt"));
        assert!(message(r#"{"seed": null}"#).contains("neither a text nor a number"));
        assert!(message("[]").contains("not a JSON object"));
    }
}
