use cloud::config::{ConfigError, Environment};
use domain::ModelName;

/// The function's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `LAKE_BUCKET`: where the archive is, and where evaluations and reports go.
    pub lake_bucket: String,
    /// `DEFAULT_MODEL`: the model that is evaluated where the event names none.
    pub default_model: ModelName,
    /// `LOOKBACK_HOURS`: how many hours back a scheduled run looks. Default 72.
    pub lookback_hours: u32,
}

impl Config {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            lake_bucket: environment.required("LAKE_BUCKET")?,
            default_model: environment.required("DEFAULT_MODEL")?,
            lookback_hours: environment.or("LOOKBACK_HOURS", 72)?,
        })
    }
}
