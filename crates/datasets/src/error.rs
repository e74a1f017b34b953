use arrow_schema::ArrowError;
use cloud::object_store::StoreError;
use domain::ModelName;
use parquet::errors::ParquetError;
use thiserror::Error;
use warehouse::WarehouseError;

use crate::quality::{Check, failed_table};

/// Why there is no dataset version, or why one cannot be used. Each has a stable [reason code](DatasetsError::reason).
#[derive(Debug, Error)]
pub enum DatasetsError {
    /// The lake.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The warehouse.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// Rows could not be put in order or encoded.
    #[error("rows cannot be handled: {0}")]
    Arrow(#[from] ArrowError),
    /// Rows could not be written or read as Parquet.
    #[error("Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// An object is not what it should be.
    #[error("`{key}` cannot be used: {detail}")]
    Unusable {
        /// The object.
        key: String,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// No version was ever published.
    #[error("dataset `{0}` has no version; `mannen dataset extract` makes one")]
    NoVersion(ModelName),
    /// No version's address begins so, and no pin is called so.
    #[error("dataset `{name}` has no version or pin `{what}`; `mannen dataset list` tells which there are")]
    UnknownVersion {
        /// The dataset.
        name: ModelName,
        /// An address, its beginning, or a pin.
        what: String,
    },
    /// Several addresses begin so.
    #[error("`{prefix}` does not name one version: {why}")]
    AmbiguousVersion {
        /// The beginning.
        prefix: String,
        /// Which there are, or how many digits are wanted.
        why: String,
    },
    /// What is declared is not so: nothing was published.
    #[error("the rows are not what is expected of them, nothing is published\n{}", failed_table(.0))]
    Refused(Vec<Check>),
    /// An order that makes no sense.
    #[error("{0}")]
    InvalidOrder(String),
    /// The extract is not at the step that is asked for.
    #[error("job {job}: {detail}")]
    OutOfStep {
        /// The extract.
        job: String,
        /// What is missing.
        detail: String,
    },
    /// The pointer was moved again and again meanwhile.
    #[error("the pointer of dataset `{0}` was moved by another meanwhile; look at it, then decide again")]
    MovedMeanwhile(ModelName),
    /// A task of ours ended before its time.
    #[error("interrupted: {0}")]
    Interrupted(String),
}

impl DatasetsError {
    pub(crate) fn unusable(key: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Unusable { key: key.into(), detail: detail.into() }
    }

    /// A stable code for logs, metrics and alarms.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::Warehouse(error) => error.reason(),
            Self::Arrow(_) => "rows_unusable",
            Self::Parquet(_) => "parquet",
            Self::Unusable { .. } => "dataset_object_unusable",
            Self::NoVersion(_) => "no_dataset_version",
            Self::UnknownVersion { .. } => "unknown_dataset_version",
            Self::AmbiguousVersion { .. } => "ambiguous_dataset_version",
            Self::Refused(_) => "dataset_refused",
            Self::InvalidOrder(_) => "invalid_order",
            Self::OutOfStep { .. } => "out_of_step",
            Self::MovedMeanwhile(_) => "moved_meanwhile",
            Self::Interrupted(_) => "interrupted",
        }
    }
}
