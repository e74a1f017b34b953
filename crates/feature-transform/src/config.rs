use std::num::NonZeroUsize;

use cloud::config::{ConfigError, Environment};
use domain::ModelName;
use feature_batch::Options;

use crate::FormatName;

/// The function's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `LAKE_BUCKET`: where releases are read from.
    pub lake_bucket: String,
    /// `DEFAULT_MODEL`: whose spec is used where a request names no model.
    pub default_model: ModelName,
    /// `RELEASE_TTL_S`: how long a release is served before the pointer is asked for again. Default 5 seconds.
    pub release_ttl_s: u64,
    /// `TRAINING_VIEW_FORMAT`: what training views are written as, `parquet` (the default) or `csv`.
    pub view_format: FormatName,
    /// `BATCH_THREADS`: how many threads a batch transform works with. Default: as many as there are processors.
    pub batch_threads: usize,
}

impl Config {
    /// Reads the environment.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            lake_bucket: environment.required("LAKE_BUCKET")?,
            default_model: environment.required("DEFAULT_MODEL")?,
            release_ttl_s: environment.or("RELEASE_TTL_S", 5)?,
            view_format: environment.or("TRAINING_VIEW_FORMAT", FormatName::Parquet)?,
            batch_threads: environment
                .or("BATCH_THREADS", std::thread::available_parallelism().map_or(1, NonZeroUsize::get))?,
        })
    }

    /// How a batch transform works where its event does not say.
    pub fn batch_options(&self) -> Options {
        Options { format: self.view_format.into(), threads: self.batch_threads }
    }
}
