use cloud::release_cache::ReleaseError;
use domain::{Problem, ProblemField};
use features::FeatureError;
use thiserror::Error;

/// Why a request gets no features.
#[derive(Debug, Error)]
pub enum TransformError {
    /// The request is not one.
    #[error("{}", .0.detail)]
    Request(Box<Problem>),
    /// The request is one, but fields are wrong.
    #[error("{} field(s) are wrong", .0.len())]
    Fields(Vec<ProblemField>),
    /// There is no release whose spec could be used.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

impl TransformError {
    /// A stable code for answers, logs and metrics.
    pub fn reason(&self) -> &str {
        match self {
            Self::Request(problem) => &problem.reason,
            Self::Fields(_) => "invalid_inputs",
            Self::Release(error) => error.reason(),
        }
    }
}

impl From<Box<Problem>> for TransformError {
    fn from(problem: Box<Problem>) -> Self {
        Self::Request(problem)
    }
}

impl From<FeatureError> for TransformError {
    fn from(error: FeatureError) -> Self {
        match error {
            FeatureError::Inputs(fields) => Self::Fields(fields),
            FeatureError::Spec { .. } => {
                Self::Request(Box::new(Problem::new(500, error.reason(), "Invalid feature spec", error.to_string())))
            }
        }
    }
}

impl From<TransformError> for Problem {
    fn from(error: TransformError) -> Self {
        match error {
            TransformError::Request(problem) => *problem,
            TransformError::Fields(fields) => Self::invalid_fields(fields),
            TransformError::Release(error) => error.into(),
        }
    }
}
