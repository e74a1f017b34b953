use cloud::config::ConfigError;
use datasets::DatasetsError;
use lambda_runtime::Diagnostic;
use thiserror::Error;

/// Why an event failed. Each has a stable [reason code](ExtractorError::reason), which is also Lambda's `errorType`.
#[derive(Debug, Error)]
pub enum ExtractorError {
    /// The event is none that the function is made for.
    #[error(
        "unknown event: {0}; expected {{\"extract\"|\"plan\": {{\"dataset\": …}}}}, or {{\"streams\"|\"publish\": {{\"dataset\": …, \"job\": …}}}}"
    )]
    UnknownEvent(String),
    /// Nobody has said what the dataset is.
    #[error("dataset `{0}` has no definition in the lake; `mannen dataset define` puts it there")]
    NoDefinition(String),
    /// A definition's file.
    #[error("{file}: {detail}")]
    Definition {
        /// The file.
        file: String,
        /// What is wrong, with its place.
        detail: String,
    },
    /// The warehouse is not set up.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The extract.
    #[error(transparent)]
    Datasets(#[from] DatasetsError),
}

impl ExtractorError {
    /// A stable code for logs, metrics and alarms.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownEvent(_) => "unknown_event",
            Self::NoDefinition(_) => "no_dataset_definition",
            Self::Definition { .. } => "dataset_definition_invalid",
            Self::Config(error) => error.reason(),
            Self::Datasets(error) => error.reason(),
        }
    }
}

impl From<warehouse::WarehouseError> for ExtractorError {
    fn from(error: warehouse::WarehouseError) -> Self {
        Self::Datasets(error.into())
    }
}

impl From<cloud::object_store::StoreError> for ExtractorError {
    fn from(error: cloud::object_store::StoreError) -> Self {
        Self::Datasets(error.into())
    }
}

impl From<ExtractorError> for Diagnostic {
    fn from(error: ExtractorError) -> Self {
        Self { error_type: error.reason().to_owned(), error_message: error.to_string() }
    }
}
