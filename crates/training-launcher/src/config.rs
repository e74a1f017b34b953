use cloud::config::{ConfigError, Environment};
use domain::ModelName;
use training::JobPlace;

/// The function's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `LAKE_BUCKET` and `TRAINING_ROLE_ARN`: where jobs read and write, and what they may do.
    pub place: JobPlace,
    /// `DEFAULT_MODEL`: the model whose orders a schedule looks after.
    pub default_model: ModelName,
}

impl Config {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            place: JobPlace {
                bucket: environment.required("LAKE_BUCKET")?,
                role_arn: environment.required("TRAINING_ROLE_ARN")?,
            },
            default_model: environment.required("DEFAULT_MODEL")?,
        })
    }
}
