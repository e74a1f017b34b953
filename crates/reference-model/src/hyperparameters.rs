use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{EvalMetric, ModelError, Objective, TargetTransform, cell};

/// How to train. The names are XGBoost's, since that is what SageMaker's users write; README.md has the others they go by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hyperparameters {
    /// What trees are grown to lower.
    pub objective: Objective,
    /// The quantile that `reg:quantileerror` predicts.
    pub quantile_alpha: f64,
    /// What validation rows are judged by; the objective's own where absent.
    pub eval_metric: Option<EvalMetric>,
    /// Quantiles to learn beside the prediction, ascending.
    pub quantiles: Vec<f64>,
    /// By feature: 1 where the prediction must not fall as it rises, −1 where it must not rise, 0 where it is free.
    pub monotone_constraints: Vec<i8>,
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
    #[serde(skip)]
    pub nthread: usize,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            objective: Objective::SquaredError,
            quantile_alpha: 0.5,
            eval_metric: None,
            quantiles: Vec::new(),
            monotone_constraints: Vec::new(),
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
            nthread: 2,
        }
    }
}

/// Every hyperparameter, with the other names it goes by.
const KNOWN: [(&str, &[&str]); 21] = [
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
    ("quantile_alpha", &[]),
    ("eval_metric", &[]),
    ("quantiles", &[]),
    ("monotone_constraints", &[]),
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
        hyperparameters.check_together()?;
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
            "objective" => self.objective = given.choice(&Objective::NAMES)?,
            "quantile_alpha" => self.quantile_alpha = given.number(QUANTILES)?,
            "eval_metric" => self.eval_metric = Some(given.choice(&EvalMetric::NAMES)?),
            "quantiles" => self.quantiles = given.quantiles()?,
            _ => self.monotone_constraints = given.constraints()?,
        }
        Ok(())
    }

    /// What one alone does not tell.
    fn check_together(&self) -> Result<(), ModelError> {
        let constrained = self.monotone_constraints.iter().any(|constraint| *constraint != 0);
        if constrained && self.objective != Objective::SquaredError {
            let why =
                "it needs the objective reg:squarederror: for the others, leaves are set anew after a tree has grown";
            return Err(invalid("monotone_constraints", why.to_owned()));
        }
        if self.quantile_alpha != 0.5 && self.objective != Objective::QuantileError {
            let why = "it needs the objective reg:quantileerror; `quantiles` learns some beside the prediction";
            return Err(invalid("quantile_alpha", why.to_owned()));
        }
        Ok(())
    }

    /// What validation rows are judged by.
    pub fn eval_metric(&self) -> EvalMetric {
        self.eval_metric.unwrap_or(match self.objective {
            Objective::SquaredError => EvalMetric::Rmse,
            Objective::AbsoluteError => EvalMetric::Mae,
            Objective::QuantileError => EvalMetric::Quantile,
        })
    }
}

/// Quantiles that rows can tell.
const QUANTILES: RangeInclusive<f64> = 0.001..=0.999;

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

    /// `0.1,0.9`, in brackets or not, in any order.
    fn quantiles(&self) -> Result<Vec<f64>, ModelError> {
        let mut quantiles: Vec<f64> =
            self.items().map(|text| Given { text, ..*self }.number(QUANTILES)).collect::<Result<_, _>>()?;
        quantiles.sort_by(f64::total_cmp);
        match quantiles.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(invalid(self.name, format!("{} is given twice", pair[0]))),
            None => Ok(quantiles),
        }
    }

    /// `(1,0,-1)`, as XGBoost writes it.
    fn constraints(&self) -> Result<Vec<i8>, ModelError> {
        self.items().map(|text| Given { text, ..*self }.number(-1..=1)).collect()
    }

    /// What stands between commas, without brackets around all.
    fn items(&self) -> impl Iterator<Item = &str> {
        let inner = self.text.trim_matches(|c: char| "()[] ".contains(c));
        inner.split(',').map(str::trim).filter(|item| !item.is_empty())
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
                "objective" => "reg:absoluteerror",
                "eval_metric" => "mae",
                "monotone_constraints" => "(1,0)",
                "quantiles" => "0.9, 0.1",
                "eta" | "subsample" | "colsample_bytree" | "max_bad_rows_share" | "quantile_alpha" => "0.5",
                _ => "3",
            };
            for name in aliases.iter().chain([&canonical]) {
                let read = parsed(&format!(r#"{{"{name}": "{value}"}}"#));
                assert_eq!(read != Hyperparameters::default(), canonical != "quantile_alpha", "{name}");
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
        assert_eq!(
            message(r#"{"quantiles": "0.1,1.5"}"#),
            "hyperparameter `quantiles`: `1.5` is not a number between 0.001 and 0.999"
        );
        assert!(message(r#"{"quantiles": "0.1,0.1"}"#).contains("`quantiles`: 0.1 is given twice"));
        assert!(
            message(r#"{"monotone_constraints": "(1,2)"}"#)
                .contains("`monotone_constraints`: `2` is not a whole number")
        );
        let renewed = message(r#"{"monotone_constraints": "(1,0)", "objective": "reg:absoluteerror"}"#);
        assert!(renewed.contains("`monotone_constraints`: it needs the objective reg:squarederror"), "{renewed}");
        assert!(message(r#"{"quantile_alpha": "0.9"}"#).contains("`quantile_alpha`: it needs the objective"));
    }

    #[test]
    fn lists_are_read_in_brackets_or_without() {
        let read = parsed(r#"{"quantiles": "[0.9, 0.1]", "monotone_constraints": "(1,0,-1)"}"#);
        assert_eq!((read.quantiles, read.monotone_constraints), (vec![0.1, 0.9], vec![1, 0, -1]));
        assert_eq!(parsed(r#"{"objective": "reg:quantileerror"}"#).eval_metric(), EvalMetric::Quantile);
        assert_eq!(parsed(r#"{"eval_metric": "rmsle"}"#).eval_metric(), EvalMetric::Rmsle);
    }

    #[test]
    fn documents_of_before_are_read() {
        let read: Hyperparameters = serde_json::from_str(r#"{"num_round": 7, "target_transform": "sqrt"}"#).unwrap();
        assert_eq!((read.num_round, read.objective, read.nthread), (7, Objective::SquaredError, 2));
    }
}
