use cloud::{object_store::StoreError, release_cache::ReleaseError, s3_event::UnknownEvent};
use domain::{DomainError, Problem, ProblemField};
use features::FeatureError;
use lambda_runtime::Diagnostic;
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

/// Why an event of the batch transform failed. Each has a stable [reason code](BatchTransformError::reason), which is also
/// Lambda's `errorType`.
#[derive(Debug, Error)]
pub enum BatchTransformError {
    /// The event is none that the function is made for.
    #[error("unknown event: {0}; expected an HTTP API, S3, SQS or EventBridge event, or {{\"transform\": {{…}}}}")]
    UnknownEvent(String),
    /// The event names an object of another bucket.
    #[error("the event is about bucket `{found}`; this function transforms objects of `{expected}` (LAKE_BUCKET)")]
    ForeignBucket {
        /// The bucket in the event.
        found: String,
        /// The lake's bucket.
        expected: String,
    },
    /// The event names an object that is no raw object.
    #[error(transparent)]
    ForeignKey(#[from] DomainError),
    /// There is no release whose spec could be used.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The spec that the event names is not there.
    #[error("there is no feature spec `{0}`")]
    SpecMissing(String),
    /// The spec that the event names does not compile.
    #[error(transparent)]
    Spec(#[from] FeatureError),
    /// The object store did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading or writing stopped half-way. Nothing is there that was not before.
    #[error("the transform of `{key}` stopped: {detail}")]
    Interrupted {
        /// The object.
        key: String,
        /// Why.
        detail: String,
    },
}

impl BatchTransformError {
    /// A stable code for logs, metrics and alarms.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownEvent(_) => "unknown_event",
            Self::ForeignBucket { .. } => "foreign_bucket",
            Self::ForeignKey(error) => error.reason(),
            Self::Release(error) => error.reason(),
            Self::SpecMissing(_) => "spec_missing",
            Self::Spec(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Interrupted { .. } => "interrupted",
        }
    }

    /// Whether the event itself is at fault, so that no other try can help.
    pub fn is_of_the_event(&self) -> bool {
        matches!(self, Self::UnknownEvent(_) | Self::ForeignBucket { .. } | Self::ForeignKey(_))
    }
}

impl From<UnknownEvent> for BatchTransformError {
    fn from(error: UnknownEvent) -> Self {
        Self::UnknownEvent(error.0)
    }
}

impl From<BatchTransformError> for Diagnostic {
    fn from(error: BatchTransformError) -> Self {
        Self { error_type: error.reason().to_owned(), error_message: error.to_string() }
    }
}
