use cloud::config::{ConfigError, Environment};
use domain::ModelName;

/// The function's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `LAKE_BUCKET`: where releases are read from.
    pub lake_bucket: String,
    /// `DEFAULT_MODEL`: whose spec is used where a request names no model.
    pub default_model: ModelName,
    /// `RELEASE_TTL_S`: how long a release is served before the pointer is asked for again. Default 5 seconds.
    pub release_ttl_s: u64,
}

impl Config {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            lake_bucket: environment.required("LAKE_BUCKET")?,
            default_model: environment.required("DEFAULT_MODEL")?,
            release_ttl_s: environment.or("RELEASE_TTL_S", 5)?,
        })
    }
}
