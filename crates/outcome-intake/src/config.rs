use cloud::config::{ConfigError, Environment};

/// What the function reads from its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The lake's bucket (`LAKE_BUCKET`).
    pub lake_bucket: String,
}

impl Config {
    /// From the environment.
    ///
    /// # Errors
    /// The variable is missing.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        Ok(Self { lake_bucket: environment.required("LAKE_BUCKET")? })
    }
}
