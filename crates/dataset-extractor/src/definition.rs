//! A dataset's definition: `extract.sql` and `dataset.toml` of a model's folder; one JSON document in the lake.

use std::collections::BTreeMap;

use cloud::object_store::{GetObject, PutCondition, PutObject};
use datasets::{Definition, Expectations, Parent};
use domain::{ModelName, lake};
use serde::Deserialize;
use warehouse::{Limits, Parameter, ParameterType};

use crate::ExtractorError;

/// `dataset.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DatasetToml {
    /// Files of the lake to take the rows of, instead of `extract.sql`'s.
    files: Vec<String>,
    /// Parameters of the query by name: a value, or `{ type, value }`.
    parameters: BTreeMap<String, ParameterToml>,
    limits: Limits,
    expect: Expectations,
    parents: Vec<Parent>,
    /// Types of CSV columns.
    columns: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ParameterToml {
    Whole(i64),
    Number(f64),
    Bool(bool),
    Text(String),
    Typed(Parameter),
}

impl From<ParameterToml> for Parameter {
    fn from(toml: ParameterToml) -> Self {
        let of = |of, value: String| Self { of, value };
        match toml {
            ParameterToml::Whole(value) => of(ParameterType::Int64, value.to_string()),
            ParameterToml::Number(value) => of(ParameterType::Float64, value.to_string()),
            ParameterToml::Bool(value) => of(ParameterType::Bool, value.to_string()),
            ParameterToml::Text(value) => of(ParameterType::String, value),
            ParameterToml::Typed(parameter) => parameter,
        }
    }
}

/// The definition that a model's folder has. `dataset_toml` may be empty: nothing is expected, the limits are the default.
///
/// # Errors
/// `dataset.toml` is none, or has a word that is not known.
pub fn parse_definition(dataset: ModelName, sql: &str, dataset_toml: &str) -> Result<Definition, ExtractorError> {
    let toml: DatasetToml = toml::from_str(dataset_toml)
        .map_err(|error| ExtractorError::Definition { file: "dataset.toml".to_owned(), detail: error.to_string() })?;
    let DatasetToml { files: file_keys, parameters, limits, expect, parents, columns } = toml;
    let parameters = parameters.into_iter().map(|(name, parameter)| (name, parameter.into())).collect();
    let (sql, files) = (sql.to_owned(), Vec::new());
    Ok(Definition { dataset, sql, parameters, limits, expect, parents, file_keys, files, columns })
}

/// The parameter that `name=value` on a command line gives: of the type that the definition has for it, else text.
///
/// # Errors
/// There is no `=`.
pub fn set_parameter(definition: &mut Definition, text: &str) -> Result<(), ExtractorError> {
    let Some((name, value)) = text.split_once('=') else {
        let detail = format!("`{text}` is no parameter; expected name=value");
        return Err(ExtractorError::Definition { file: "--parameter".to_owned(), detail });
    };
    let of = definition.parameters.get(name).map_or(ParameterType::String, |parameter| parameter.of);
    definition.parameters.insert(name.to_owned(), Parameter { of, value: value.to_owned() });
    Ok(())
}

/// The definition that lies in the lake.
///
/// # Errors
/// There is none, or it cannot be read.
pub async fn read_definition<S: GetObject>(lake: &S, dataset: &ModelName) -> Result<Definition, ExtractorError> {
    let key = lake::dataset_definition(dataset);
    let object = lake.get_object(&key, None).await?.found();
    let object = object.ok_or_else(|| ExtractorError::NoDefinition(dataset.to_string()))?;
    serde_json::from_slice(&object.bytes)
        .map_err(|error| ExtractorError::Definition { file: key, detail: error.to_string() })
}

/// Puts the definition where the extractor's schedule finds it.
///
/// # Errors
/// The lake does not answer.
pub async fn put_definition<S: PutObject>(lake: &S, definition: &Definition) -> Result<(), ExtractorError> {
    let json = serde_json::to_vec_pretty(definition).unwrap_or_default();
    lake.put_object(&lake::dataset_definition(&definition.dataset), json.into(), PutCondition::Always).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_what_a_dataset_is() {
        let toml = r#"
            [parameters]
            zone = 7
            city = "Tokyo"
            since = { type = "TIMESTAMP", value = "2026-01-01T00:00:00Z" }
            [limits]
            max_bytes_billed = 1000
            [expect]
            min_rows = 1
            unique = [["ride_id"]]
            [expect.columns.drive_s]
            min = 0
            max_null_share = 0
        "#;
        let mut definition = parse_definition("pickup-eta".parse().unwrap(), "SELECT 1", toml).unwrap();
        assert_eq!(definition.parameters["zone"].of, ParameterType::Int64);
        assert_eq!(definition.parameters["since"].of, ParameterType::Timestamp);
        assert_eq!(definition.limits.max_bytes_billed, 1000);
        assert_eq!(definition.limits.job_timeout_s, 3_600);
        set_parameter(&mut definition, "zone=8").unwrap();
        assert_eq!(definition.parameters["zone"], Parameter { of: ParameterType::Int64, value: "8".to_owned() });
        assert!(set_parameter(&mut definition, "zone").is_err());
        let json = serde_json::to_string(&definition).unwrap();
        assert_eq!(serde_json::from_str::<Definition>(&json).unwrap(), definition);
        let error = parse_definition("x".parse().unwrap(), "", "[expect]\nmin_row = 1").unwrap_err();
        assert!(error.to_string().contains("min_row"), "{error}");
    }
}
