use thiserror::Error;

/// What can be wrong with a word of the vocabulary. Each has a stable [reason code](DomainError::reason).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DomainError {
    /// Not a UUID of version 7.
    #[error("`{value}` is not a UUIDv7: {why}")]
    InvalidPredictionId {
        /// The text as it came.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name with characters outside its alphabet, empty, or too long.
    #[error("`{value}` is not a valid {what}: {expected}")]
    InvalidName {
        /// Which kind of name.
        what: &'static str,
        /// The text as it came.
        value: String,
        /// The rule it breaks.
        expected: &'static str,
    },
    /// Not an hour in the form `2026-01-31T23`.
    #[error("`{0}` is not an hour; write it as 2026-01-31T23 (UTC)")]
    InvalidHour(String),
    /// A key that does not fit the lake's layout.
    #[error("`{key}` is not a key of {expected}")]
    InvalidKey {
        /// The key as it came.
        key: String,
        /// The layout that was expected.
        expected: &'static str,
    },
    /// An outcome that says nothing, or contradicts itself.
    #[error("{0}")]
    InvalidOutcome(String),
    /// An inference that SageMaker has recorded in a way that no row can hold.
    #[error("{0}")]
    InvalidInference(String),
    /// A release document that cannot be served from.
    #[error("invalid release: {0}")]
    InvalidRelease(String),
}

impl DomainError {
    /// A stable code for logs, metrics and problem documents.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidPredictionId { .. } => "invalid_prediction_id",
            Self::InvalidName { .. } => "invalid_name",
            Self::InvalidHour(_) => "invalid_hour",
            Self::InvalidKey { .. } => "invalid_key",
            Self::InvalidOutcome(_) => "invalid_outcome",
            Self::InvalidInference(_) => "invalid_inference",
            Self::InvalidRelease(_) => "invalid_release",
        }
    }
}
