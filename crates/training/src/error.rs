use cloud::{
    events::EventError,
    object_store::{PutOutcome, StoreError},
    sagemaker_control::ControlError,
};
use datasets::DatasetsError;
use domain::{DomainError, ModelName};
use features::FeatureError;
use releases::ReleasesError;
use thiserror::Error;

/// Why something is not trained, registered, judged or deployed. Each has a stable [reason code](TrainingError::reason).
#[derive(Debug, Error)]
pub enum TrainingError {
    /// The lake.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SageMaker.
    #[error(transparent)]
    SageMaker(#[from] ControlError),
    /// EventBridge.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A dataset version.
    #[error(transparent)]
    Dataset(#[from] DatasetsError),
    /// A release.
    #[error(transparent)]
    Release(#[from] ReleasesError),
    /// A feature spec.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A name.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// The training code.
    #[error("training code: {0}")]
    Code(String),
    /// `training.toml` asks for what there is not.
    #[error("training.toml: {0}")]
    InvalidPlan(String),
    /// Nobody has said how the model is trained.
    #[error("model `{0}` has no training definition; `mannen train define` makes one of the model's folder")]
    NoDefinition(ModelName),
    /// The rows cannot become a training view.
    #[error("dataset `{dataset}`: {detail}")]
    Rows {
        /// The dataset.
        dataset: ModelName,
        /// What is wrong.
        detail: String,
    },
    /// An object is not what it should be.
    #[error("`{key}` cannot be used: {detail}")]
    Unusable {
        /// The object.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// There is no such version.
    #[error("model `{model}` has no version `{version}`; `mannen model list` tells which there are")]
    UnknownVersion {
        /// The model.
        model: ModelName,
        /// The version, or its beginning.
        version: String,
    },
    /// The version is not in the state that is asked for.
    #[error("version `{version}` {detail}")]
    OutOfState {
        /// The version.
        version: String,
        /// What it is, and what to do.
        detail: String,
    },
    /// The endpoint did not come into service.
    #[error("endpoint `{endpoint}`: {detail}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// Why.
        detail: String,
    },
    /// Work on another thread did not come to its end.
    #[error("work was interrupted: {0}")]
    Interrupted(String),
}

impl TrainingError {
    /// A stable code for logs, metrics and the runtime's `errorType`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::SageMaker(error) => error.reason(),
            Self::Event(error) => error.reason(),
            Self::Dataset(error) => error.reason(),
            Self::Release(error) => error.reason(),
            Self::Features(error) => error.reason(),
            Self::Domain(error) => error.reason(),
            Self::Code(_) => "training_code",
            Self::InvalidPlan(_) => "invalid_training_plan",
            Self::NoDefinition(_) => "no_training_definition",
            Self::Rows { .. } => "unusable_rows",
            Self::Unusable { .. } => "object_unusable",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::OutOfState { .. } => "out_of_state",
            Self::Endpoint { .. } => "endpoint_not_in_service",
            Self::Interrupted(_) => "interrupted",
        }
    }

    /// Whether another try, with nothing changed, may end otherwise.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Event(_) | Self::Interrupted(_) | Self::SageMaker(ControlError::Failed { .. })
        ) || matches!(self, Self::SageMaker(error) if matches!(error.kind(),
                Some("ThrottlingException" | "ResourceLimitExceeded" | "ServiceUnavailable" | "InternalFailure")))
    }

    // A detail is a text, or an error that is told as one.
    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn unusable(key: impl Into<String>, detail: impl ToString) -> Self {
        Self::Unusable { key: key.into(), detail: detail.to_string() }
    }
}

/// A put that was to make an object, whoever made it.
pub(crate) fn made(outcome: &PutOutcome) -> bool {
    matches!(outcome, PutOutcome::Stored(_))
}
