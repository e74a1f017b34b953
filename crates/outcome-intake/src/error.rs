use cloud::{http::HttpAnswer, object_store::StoreError};
use domain::Problem;
use thiserror::Error;

/// Seconds that a caller should wait before it sends the same body again.
const RETRY_AFTER_S: &str = "1";

/// Why outcomes were not taken.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// The request is wrong.
    #[error("{}", .0.detail)]
    Request(Box<Problem>),
    /// The lake did not store an event. Others of the same request may be stored: sending them again changes nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntakeError {
    /// A stable code for logs, metrics and problem documents.
    pub fn reason(&self) -> &str {
        match self {
            Self::Request(problem) => &problem.reason,
            Self::Store(error) => error.reason(),
        }
    }
}

impl From<Box<Problem>> for IntakeError {
    fn from(problem: Box<Problem>) -> Self {
        Self::Request(problem)
    }
}

impl From<IntakeError> for HttpAnswer {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Request(problem) => {
                let answer = Self::from(problem);
                if answer.status_code == 405 { answer.with_header("allow", "POST") } else { answer }
            }
            // The store's own words stay in the log: they name keys and hosts.
            IntakeError::Store(error @ StoreError::Unavailable { .. }) => {
                let detail = "the outcomes could not be stored; send the same body again, which is safe";
                Self::from(Problem::new(503, error.reason(), "Storage unavailable", detail))
                    .with_header("retry-after", RETRY_AFTER_S)
            }
            IntakeError::Store(error @ StoreError::Refused { .. }) => {
                let detail = "the outcomes could not be stored, and sending them again will not help before the \
                              service is mended";
                Self::from(Problem::new(500, error.reason(), "Storage refused", detail))
            }
        }
    }
}
