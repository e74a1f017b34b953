//! The texts of a new model's folder.

use std::{fmt::Write, str::FromStr};

use domain::ModelName;

use crate::error::CliError;

/// What the demo's rides say of each request, as `--input` writes it.
pub(crate) const RIDES: [&str; 10] = [
    "rider_lat:float:-90..90",
    "rider_lon:float:-180..180",
    "rider_zone:int:0..100000:nullable",
    "rain_mm:float:0..1000:nullable",
    "snow_mm:float:0..5000:nullable",
    "temperature_c:float:-80..70:nullable",
    "car_lat:float:-90..90:candidate",
    "car_lon:float:-180..180:candidate",
    "car_zone:int:0..100000:candidate:nullable",
    "drive_s:float:0..86400:training",
];

const TYPES: [&str; 5] = ["float", "int", "bool", "string", "timestamp"];

/// An input as `--input` says it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Input {
    name: String,
    of: String,
    range: Option<(f64, f64)>,
    scope: Option<String>,
    nullable: bool,
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':').map(str::trim);
        let name = parts.next().unwrap_or_default().to_owned();
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return Err(format!("`{name}` is no name: small letters, digits and _, beginning with a letter"));
        }
        if name == "requested_at" {
            return Err("`requested_at` is always there".to_owned());
        }
        let of = parts.next().unwrap_or_default().to_owned();
        if !TYPES.contains(&of.as_str()) {
            return Err(format!("`{of}` is no type of an input: write NAME:TYPE with one of {}", TYPES.join(", ")));
        }
        let mut input = Self { name, of, range: None, scope: None, nullable: false };
        for part in parts {
            match (part, part.split_once("..")) {
                ("nullable", _) => input.nullable = true,
                ("candidate" | "training", _) => input.scope = Some(part.to_owned()),
                (_, Some((least, most))) => {
                    let bound = |text: &str| text.parse::<f64>().ok().filter(|bound| bound.is_finite());
                    let (Some(least), Some(most)) = (bound(least), bound(most)) else {
                        return Err(format!("`{part}` is no range: write it as 0..100"));
                    };
                    if least > most {
                        return Err(format!("`{part}` is an empty range"));
                    }
                    input.range = Some((least, most));
                }
                _ => return Err(format!("`{part}` is neither MIN..MAX, candidate, training nor nullable")),
            }
        }
        if input.range.is_some() && !input.is_number() {
            return Err(format!("`{}` is a {}, which has no range", input.name, input.of));
        }
        Ok(input)
    }
}

impl Input {
    fn is_number(&self) -> bool {
        self.of == "float" || self.of == "int"
    }

    fn is_for_training(&self) -> bool {
        self.scope.as_deref() == Some("training")
    }

    fn toml(&self) -> String {
        let mut text = format!("[inputs.{}]\ntype = \"{}\"\n", self.name, self.of);
        if let Some(scope) = &self.scope {
            _ = writeln!(text, "scope = \"{scope}\"");
        }
        if let Some((least, most)) = self.range {
            _ = writeln!(text, "min = {least}\nmax = {most}");
        }
        if self.nullable {
            text.push_str("nullable = true\n");
        }
        text
    }
}

/// What a new model is to be.
#[derive(Debug, Clone)]
pub(crate) struct NewModel {
    pub(crate) name: ModelName,
    pub(crate) description: Option<String>,
    pub(crate) unit: String,
    pub(crate) time_zone: String,
    /// Empty: those of the demo's rides.
    pub(crate) inputs: Vec<Input>,
    pub(crate) label: Option<String>,
    pub(crate) fallback: Option<String>,
    pub(crate) default: f64,
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl NewModel {
    /// `features.toml`.
    ///
    /// # Errors
    /// The label is not named.
    pub(crate) fn features_toml(&self) -> Result<String, CliError> {
        let rides = self.inputs.is_empty();
        let inputs = self.all_inputs();
        let label = match (&self.label, rides) {
            (Some(label), _) => label.clone(),
            (None, true) => "drive_s".to_owned(),
            (None, false) => {
                let inputs: Vec<&str> =
                    inputs.iter().filter(|input| input.is_for_training()).map(|input| input.name.as_str()).collect();
                match inputs[..] {
                    [only] => only.to_owned(),
                    _ => {
                        let what = "what is learned is not said: give --label SQL, or one --input of scope `training`";
                        return Err(CliError::Unexpected(what.to_owned()));
                    }
                }
            }
        };
        let description = self.description.as_deref().unwrap_or("What is predicted, and when it is asked for.");
        let mut text = format!(
            "# How raw inputs become the model's columns. The same file is used in training, in serving and in replay.\n\
             # `mannen features functions` prints what expressions may say.\n\
             name = {}\ndescription = {}\n\n[prediction]\nunit = {}\nmin = 0\n\n\
             # ---- Inputs. `requested_at` (a timestamp, UTC) is always there. Those of scope `training` are known only after \
             the fact.\n\n",
            quoted(self.name.as_str()),
            quoted(description),
            quoted(&self.unit),
        );
        for input in &inputs {
            _ = writeln!(text, "{}", input.toml());
        }
        let zone = self.time_zone.replace('\'', "''");
        let (mut features, mut outputs) = (Vec::new(), Vec::new());
        if rides {
            for (name, expression) in [
                ("distance_m", "great_circle_m(car_lat, car_lon, rider_lat, rider_lon)"),
                ("manhattan_m", "manhattan_m(car_lat, car_lon, rider_lat, rider_lon)"),
            ] {
                features.push((name, expression.to_owned()));
                outputs.push(name.to_owned());
            }
        }
        for (name, part) in [("local_hour", "HOUR"), ("local_weekday", "ISODOW")] {
            features.push((name, format!("EXTRACT({part} FROM requested_at AT TIME ZONE '{zone}')")));
            outputs.push(name.to_owned());
        }
        let numbers =
            inputs.iter().filter(|input| !input.is_for_training() && (input.is_number() || input.of == "bool"));
        outputs.extend(numbers.map(|input| input.name.clone()));
        text.push_str("# ---- Features: SQL scalar expressions over inputs and other features.\n\n[features]\n");
        for (name, expression) in &features {
            _ = writeln!(text, "{name} = {}", quoted(expression));
        }
        let outputs: Vec<String> = outputs.iter().map(|name| quoted(name)).collect();
        let default = self.default;
        let fallback = match (&self.fallback, rides) {
            (Some(fallback), _) => fallback.clone(),
            (None, true) => "60 + manhattan_m / 4.6".to_owned(),
            (None, false) => default.to_string(),
        };
        _ = write!(
            text,
            "\n[model]\n# The order of the model's columns.\noutputs = [{}]\n\n[label]\nexpression = {}\n\n\
             # The naive estimate: answers when no endpoint does, and is the model to beat.\n[fallback]\nexpression = \
             {}\ndefault = {default}\n",
            outputs.join(", "),
            quoted(&label),
            quoted(&fallback),
        );
        Ok(text)
    }

    /// `training.toml`.
    pub(crate) fn training_toml() -> String {
        "# How the model is trained: one SageMaker training job per variant, on the same training view.\n\
         image = \"mannen/reference-model:latest\"\ninstance_type = \"ml.m5.large\"\nmax_runtime_s = 3600\n\n\
         # Hyperparameters of every variant.\n[hyperparameters]\neta = 0.1\nseed = 7\n\n\
         # One table per production variant; its keys win over the ones above.\n\
         [variants.main]\nmax_depth = 6\nnum_round = 100\n"
            .to_owned()
    }

    /// `release.toml`.
    pub(crate) fn release_toml(&self) -> String {
        format!(
            "# What is in force once the model is published.\nendpoint = {}\n\n\
             # Arms, and the production variants that answer for them. Two arms want an [experiment].\n\
             [[arms]]\nname = \"main\"\nvariant = \"main\"\n\n[limits]\nmax_candidates = 200\ndefault_deadline_ms = 500\n\n\
             # What evaluations tell apart, besides arm, tier, model version, spec and predicted duration.\n\
             [evaluation]\ntime_zone = {}\n",
            quoted(self.name.as_str()),
            quoted(&self.time_zone),
        )
    }
}

#[cfg(test)]
mod tests {
    use ::features::Plan;

    use super::*;

    fn new(inputs: &[&str]) -> NewModel {
        NewModel {
            name: "a-model".parse().unwrap(),
            description: Some("A \"quoted\" \\ sentence".to_owned()),
            unit: "EUR".to_owned(),
            time_zone: "Asia/Tokyo".to_owned(),
            inputs: inputs.iter().map(|text| text.parse().unwrap()).collect(),
            label: None,
            fallback: None,
            default: 12.5,
        }
    }

    #[test]
    fn inputs_are_read_and_wrong_ones_told() {
        let input: Input = "car_lat:float:-90..90:candidate:nullable".parse().unwrap();
        assert_eq!(
            (input.range, input.scope.as_deref(), input.nullable),
            (Some((-90.0, 90.0)), Some("candidate"), true)
        );
        for (text, told) in [
            ("Lat:float", "is no name"),
            ("lat", "NAME:TYPE"),
            ("lat:double", "is no type"),
            ("lat:float:9..1", "empty range"),
            ("lat:float:a..1", "is no range"),
            ("lat:float:car", "neither"),
            ("lat:bool:0..1", "has no range"),
            ("requested_at:timestamp", "always there"),
        ] {
            let why = text.parse::<Input>().unwrap_err();
            assert!(why.contains(told), "{text}: {why}");
        }
    }

    #[test]
    fn what_is_written_compiles() {
        let of_rides = new(&[]).features_toml().unwrap();
        let plan = Plan::compile("features.toml", &of_rides).unwrap();
        assert_eq!((plan.inputs().len() >= RIDES.len(), plan.output_names()[0].as_str()), (true, "distance_m"));
        let own = new(&[
            "floor_m2:float:0..1000",
            "rooms:int:nullable",
            "has_lift:bool",
            "city:string",
            "price:float:training",
        ]);
        let text = own.features_toml().unwrap();
        let plan = Plan::compile("features.toml", &text).unwrap();
        assert_eq!(plan.output_names(), ["local_hour", "local_weekday", "floor_m2", "rooms", "has_lift"]);
        assert!(text.contains("expression = \"price\"") && text.contains("default = 12.5"), "{text}");
        let error = new(&["a:float"]).features_toml().unwrap_err();
        assert!(error.to_string().contains("--label"), "{error}");
    }
}
