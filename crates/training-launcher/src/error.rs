use domain::ModelName;
use lambda_runtime::Diagnostic;
use thiserror::Error;
use training::TrainingError;

/// Why an event was not worked off.
#[derive(Debug, Error)]
pub enum LauncherError {
    /// The event is none of those that the function knows.
    #[error("unknown event: {0}")]
    UnknownEvent(String),
    /// Time was up while the training view was made: the next delivery goes on.
    #[error("the training view of `{0}` is not finished yet; the next try goes on")]
    Unfinished(ModelName),
    /// Training.
    #[error(transparent)]
    Training(#[from] TrainingError),
}

impl LauncherError {
    /// A stable code for logs, metrics and the runtime's `errorType`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownEvent(_) => "unknown_event",
            Self::Unfinished(_) => "training_view_unfinished",
            Self::Training(error) => error.reason(),
        }
    }
}

impl From<LauncherError> for Diagnostic {
    fn from(error: LauncherError) -> Self {
        Self { error_type: error.reason().to_owned(), error_message: error.to_string() }
    }
}
