use archive::DecodeLimits;
use cloud::config::{ConfigError, Environment};

/// What the function reads from its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The lake's bucket (`LAKE_BUCKET`).
    pub lake_bucket: String,
    /// The function's memory in MB (`AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, set by Lambda; 1024 where it is not).
    pub memory_mb: u64,
}

/// A decoded record takes a few times the bytes of its JSON line; an eighth of the memory leaves room for that, for the
/// batch beside it, and for the bodies that are on their way.
const SHARE_OF_MEMORY: u64 = 8;

impl Config {
    /// From the environment.
    ///
    /// # Errors
    /// A variable is missing or invalid.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            lake_bucket: environment.required("LAKE_BUCKET")?,
            memory_mb: environment.or("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 1024)?,
        })
    }

    /// How much of one landed object is taken into memory, and of all bodies at once.
    pub fn decode_limits(&self) -> DecodeLimits {
        let share = self.memory_mb * 1024 * 1024 / SHARE_OF_MEMORY;
        let limits = DecodeLimits::default();
        DecodeLimits { max_decompressed_bytes: share.min(limits.max_decompressed_bytes), ..limits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_the_memory() {
        let environment =
            Environment::of_table(&[("LAKE_BUCKET", "lake"), ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048")]);
        let config = Config::from_environment(&environment).unwrap();
        assert_eq!(config.lake_bucket, "lake");
        assert_eq!(config.decode_limits().max_decompressed_bytes, 256 * 1024 * 1024);
        let error = Config::from_environment(&Environment::of_table(&[])).unwrap_err();
        assert!(error.to_string().contains("LAKE_BUCKET"), "{error}");
    }
}
