use thiserror::Error;

/// Why a record cannot be computed again. Each has a stable [reason code](RecomputeError::reason).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecomputeError {
    /// The record names another spec than its release has.
    #[error("the record is of spec {record}, its release of {release}")]
    Spec {
        /// The record's.
        record: String,
        /// The release's.
        release: String,
    },
    /// The archived inputs are not taken.
    #[error("its raw inputs are not taken: {0}")]
    Inputs(String),
    /// The record has another number of features than the spec.
    #[error("the record has {found} features, the spec {expected}")]
    Columns {
        /// The record's.
        found: usize,
        /// The spec's.
        expected: usize,
    },
    /// The model said another number of answers than there are candidates.
    #[error("the model says {found} numbers to {expected} candidates")]
    Answers {
        /// The model's.
        found: usize,
        /// The record's.
        expected: usize,
    },
}

impl RecomputeError {
    /// A stable code for metrics and reports.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Spec { .. } => "other_spec",
            Self::Inputs(_) => "inputs_refused",
            Self::Columns { .. } => "other_columns",
            Self::Answers { .. } => "other_answers",
        }
    }
}
