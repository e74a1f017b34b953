use cloud::config::{ConfigError, Environment};
use domain::ModelName;

use crate::PersonalDataKey;

/// The function's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `LAKE_BUCKET`: where releases are read from and records land.
    pub lake_bucket: String,
    /// `DEFAULT_MODEL`: asked where a request names none.
    pub default_model: ModelName,
    /// `MAX_ID_SKEW_S`: how far a request's time may lie from now, in seconds; 0 lifts the limit. Default a day.
    pub max_id_skew_s: u64,
    /// `RELEASE_TTL_S`: how long a release is served before the pointer is asked for again. Default 5 seconds.
    pub release_ttl_s: u64,
    /// `DEFERRED_WORK`: whether work may go on after the answer, as a release with `archive = "after-response"` wants it.
    /// Costs a registration at cold start, so it is off by default; such a release is then served as `before-response`.
    pub deferred_work: bool,
    /// `ALLOW_FORCED_ARM`: whether a request may ask for its arm by the header `X-Mannen-Arm`, for tests by hand. Off by
    /// default: callers from outside must not choose what is randomised.
    pub allow_forced_arm: bool,
    /// `AWS_LAMBDA_MAX_CONCURRENCY`: how many invocations one process has at once, as Lambda managed instances set it. Elsewhere
    /// it is not set, and there is one.
    pub max_concurrency: u32,
    /// `PERSONAL_DATA_KEY`: the key of hashes that stand for personal inputs, at least 32 characters. Without it no release
    /// is served whose spec hashes an input.
    pub personal_data_key: Option<PersonalDataKey>,
}

impl Config {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            lake_bucket: environment.required("LAKE_BUCKET")?,
            default_model: environment.required("DEFAULT_MODEL")?,
            max_id_skew_s: environment.or("MAX_ID_SKEW_S", 86_400)?,
            release_ttl_s: environment.or("RELEASE_TTL_S", 5)?,
            deferred_work: environment.or("DEFERRED_WORK", false)?,
            allow_forced_arm: environment.or("ALLOW_FORCED_ARM", false)?,
            max_concurrency: environment.or("AWS_LAMBDA_MAX_CONCURRENCY", 1)?,
            personal_data_key: environment.optional("PERSONAL_DATA_KEY")?,
        })
    }
}
