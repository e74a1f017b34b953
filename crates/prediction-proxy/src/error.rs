use cloud::release_cache::ReleaseError;
use domain::{Problem, ProblemField};
use features::FeatureError;
use thiserror::Error;

/// Why a request gets no prediction.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The request is not one.
    #[error("{}", .0.detail)]
    Request(Box<Problem>),
    /// The request is one, but fields are wrong.
    #[error("{} field(s) are wrong", .0.len())]
    Fields(Vec<ProblemField>),
    /// There is no release to answer from.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The id was used before, for another request.
    #[error("prediction id {0} was used before, for another request")]
    IdReused(domain::PredictionId),
}

impl ProxyError {
    /// A stable code for answers, logs and metrics.
    pub fn reason(&self) -> &str {
        match self {
            Self::Request(problem) => &problem.reason,
            Self::Fields(_) => "invalid_inputs",
            Self::Release(error) => error.reason(),
            Self::IdReused(_) => "prediction_id_reused",
        }
    }
}

impl From<Box<Problem>> for ProxyError {
    fn from(problem: Box<Problem>) -> Self {
        Self::Request(problem)
    }
}

impl From<FeatureError> for ProxyError {
    fn from(error: FeatureError) -> Self {
        match error {
            FeatureError::Inputs(fields) => Self::Fields(fields),
            FeatureError::Spec { .. } => {
                Self::Request(Box::new(Problem::new(500, error.reason(), "Invalid feature spec", error.to_string())))
            }
        }
    }
}

impl From<ProxyError> for Problem {
    fn from(error: ProxyError) -> Self {
        let detail = error.to_string();
        match error {
            ProxyError::Request(problem) => *problem,
            ProxyError::Fields(fields) => Problem::invalid_fields(fields),
            ProxyError::Release(error) => error.into(),
            ProxyError::IdReused(_) => Problem::new(409, "prediction_id_reused", "Prediction id reused", detail),
        }
    }
}
