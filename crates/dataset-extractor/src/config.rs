use cloud::config::{ConfigError, Environment};

/// The function's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `LAKE_BUCKET`: where versions are published.
    pub lake_bucket: String,
    /// `EXTRACT_STREAMS`: the most streams of an extract. Default 64.
    pub max_streams: usize,
    /// `STREAMS_PER_WORKER`: how many streams a state machine gives to one invocation. Default 4.
    pub streams_per_worker: usize,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`: what chunks and files may take is a part of it. Default 1,024 MB.
    pub memory_mb: usize,
    /// The warehouse. Read when the first extract asks it, since extracts of files need none.
    pub bigquery: Result<bigquery::Config, ConfigError>,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// A variable is missing or invalid.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            lake_bucket: environment.required("LAKE_BUCKET")?,
            max_streams: environment.or("EXTRACT_STREAMS", 64)?,
            streams_per_worker: environment.or("STREAMS_PER_WORKER", 4)?,
            memory_mb: environment.or("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 1_024)?,
            bigquery: bigquery::Config::from_environment(environment),
        })
    }
}
