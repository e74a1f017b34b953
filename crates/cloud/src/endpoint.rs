//! The port to a model's endpoint.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::sagemaker_control::ControlError;

/// SageMaker's limit on an answer's body, bytes.
pub const MAX_ANSWER_BYTES: usize = 6 << 20;

/// One call of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The endpoint's name.
    pub endpoint: String,
    /// The production variant to ask (`TargetVariant`).
    pub variant: String,
    /// The prediction's id (`InferenceId`): Data Capture and ground truth are joined on it.
    pub inference_id: String,
    /// The body's media type.
    pub content_type: &'static str,
    /// The media type wanted back.
    pub accept: &'static str,
    /// The rows.
    pub body: Bytes,
    /// When to give up.
    pub timeout: Duration,
}

/// The endpoint's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The production variant that answered, where the endpoint says so.
    pub invoked_variant: Option<String>,
    /// The body's media type.
    pub content_type: Option<String>,
    /// The predictions.
    pub body: Bytes,
}

/// Why an endpoint did not answer.
/// Source: <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html>.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind}: {detail}")]
pub struct InvokeError {
    /// The kind.
    pub kind: InvokeErrorKind,
    /// What came back, for the log.
    pub detail: String,
}

/// The kinds of [`InvokeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum InvokeErrorKind {
    /// 400: no such endpoint or variant, or a malformed request.
    #[error("ValidationError")]
    Validation,
    /// 424: the container answered with an error.
    #[error("ModelError")]
    Model,
    /// 429: a serverless or on-demand model is not ready.
    #[error("ModelNotReady")]
    NotReady,
    /// 500.
    #[error("InternalFailure")]
    Internal,
    /// 503.
    #[error("ServiceUnavailable")]
    Unavailable,
    /// 530.
    #[error("InternalDependency")]
    Dependency,
    /// Throttled by the service before the model was asked.
    #[error("Throttling")]
    Throttled,
    /// No answer in time.
    #[error("Timeout")]
    Timeout,
    /// No connection, or it broke.
    #[error("Connection")]
    Connection,
    /// It answered more than [`MAX_ANSWER_BYTES`].
    #[error("AnswerTooLarge")]
    AnswerTooLarge,
    /// Credentials or permissions.
    #[error("AccessDenied")]
    Denied,
    /// Anything else.
    #[error("Unknown")]
    Other,
}

impl InvokeErrorKind {
    /// A stable code for records, logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Validation => "endpoint_validation_error",
            Self::Model => "endpoint_model_error",
            Self::NotReady => "endpoint_model_not_ready",
            Self::Internal => "endpoint_internal_failure",
            Self::Unavailable => "endpoint_service_unavailable",
            Self::Dependency => "endpoint_internal_dependency",
            Self::Throttled => "endpoint_throttled",
            Self::Timeout => "endpoint_timeout",
            Self::Connection => "endpoint_connection",
            Self::AnswerTooLarge => "endpoint_answer_too_large",
            Self::Denied => "endpoint_access_denied",
            Self::Other => "endpoint_unknown_error",
        }
    }
}

/// Invokes an endpoint.
#[async_trait]
pub trait InvokeEndpoint: Send + Sync {
    /// One call, without retries: whether another try can help is the proxy's decision.
    async fn invoke_endpoint(&self, invocation: Invocation) -> Result<Answer, InvokeError>;
}

/// An endpoint, as its control plane describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointDescription {
    /// `InService`, `Updating`, `Failed` and so on.
    pub status: String,
    /// The production variants that it has now.
    pub variants: Vec<ProductionVariant>,
}

impl EndpointDescription {
    /// Whether it answers: also while it is being updated the variants of before serve.
    pub fn is_serving(&self) -> bool {
        matches!(self.status.as_str(), "InService" | "Updating" | "SystemUpdating" | "RollingBack")
    }

    /// The variant of this name.
    pub fn variant(&self, name: &str) -> Option<&ProductionVariant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}

/// One production variant of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductionVariant {
    /// Its name.
    pub name: String,
    /// The model behind it. `None` where it has none of its own (inference components).
    pub model: Option<String>,
    /// Whether it is serverless: its calls have a lower size limit.
    pub is_serverless: bool,
}

/// Describes an endpoint.
#[async_trait]
pub trait DescribeEndpoint: Send + Sync {
    /// The endpoint of this name; `None` where there is none.
    async fn describe_endpoint(&self, endpoint: &str) -> Result<Option<EndpointDescription>, ControlError>;
}
