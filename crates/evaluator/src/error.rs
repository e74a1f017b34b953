use archive::ArchiveError;
use cloud::object_store::StoreError;
use domain::{DomainError, Hour};
use evaluation::EvaluationError;
use lambda_runtime::Diagnostic;
use thiserror::Error;

/// Why an evaluation could not be made. Nothing is lost: the next run finds the same hours.
#[derive(Debug, Error)]
pub enum EvaluatorError {
    /// The event asks for no hours, or for too many.
    #[error("from {from} until {until} is not a window of 1 to {most} hours")]
    InvalidWindow {
        /// The first hour.
        from: Hour,
        /// The last hour.
        until: Hour,
        /// The most hours in one run.
        most: i64,
    },
    /// The lake did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An archive file cannot be read.
    #[error("`{key}`: {source}")]
    Archive {
        /// The file.
        key: String,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// Evaluations that do not fit together.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// A lookup table of the release that cannot be had.
    #[error(transparent)]
    Release(#[from] releases::ReleasesError),
    /// A release that cannot be described.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

impl EvaluatorError {
    /// A stable code for logs, metrics and the runtime's `errorType`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidWindow { .. } => "invalid_window",
            Self::Store(error) => error.reason(),
            Self::Archive { .. } => "archive_unreadable",
            Self::Evaluation(error) => error.reason(),
            Self::Release(error) => error.reason(),
            Self::Domain(error) => error.reason(),
        }
    }
}

impl From<EvaluatorError> for Diagnostic {
    fn from(error: EvaluatorError) -> Self {
        Self { error_type: error.reason().to_owned(), error_message: error.to_string() }
    }
}
