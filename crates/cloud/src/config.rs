//! Configuration from the environment: parsed once, failing with the variable's name.

use std::{fmt::Display, str::FromStr};

use thiserror::Error;

/// A variable that is missing or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not set, or empty.
    #[error("environment variable {0} is not set; set it in infra/template.yaml")]
    Missing(&'static str),
    /// Set to something else than it should be.
    #[error("environment variable {name} is `{value}`: {why}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ConfigError {
    /// A stable code for logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "config_missing",
            Self::Invalid { .. } => "config_invalid",
        }
    }
}

type Lookup<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// Where variables come from: the process's environment, or a test's table.
pub struct Environment<'a>(Lookup<'a>);

impl Environment<'_> {
    /// The process's environment.
    pub fn of_process() -> Self {
        Self(Box::new(|name| std::env::var(name).ok()))
    }
}

impl<'a> Environment<'a> {
    /// A table, for tests.
    pub fn of_table(table: &'a [(&'a str, &'a str)]) -> Self {
        Self(Box::new(move |name| {
            table.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| (*value).to_owned())
        }))
    }

    /// A variable that must be there.
    pub fn required<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, ConfigError> {
        self.optional(name)?.ok_or(ConfigError::Missing(name))
    }

    /// A variable with a default.
    pub fn or<T: FromStr<Err: Display>>(&self, name: &'static str, default: T) -> Result<T, ConfigError> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// A variable that may be missing. Empty counts as missing, as in a template's unset parameter.
    pub fn optional<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>, ConfigError> {
        let Some(value) = (self.0)(name).filter(|value| !value.is_empty()) else { return Ok(None) };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) => Err(ConfigError::Invalid { name, value, why: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fails_with_the_variables_name() {
        let environment = Environment::of_table(&[("A", "7"), ("B", "x"), ("C", "")]);
        assert_eq!(environment.required::<u32>("A"), Ok(7));
        assert_eq!(environment.or("D", 3), Ok(3));
        let error = environment.required::<u32>("B").unwrap_err();
        assert_eq!(error.to_string(), "environment variable B is `x`: invalid digit found in string");
        assert_eq!(environment.required::<u32>("C"), Err(ConfigError::Missing("C")));
    }
}
