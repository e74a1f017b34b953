use arrow_schema::ArrowError;
use parquet::errors::ParquetError;
use thiserror::Error;

/// Why one record cannot be archived: a stable reason code, and what was wrong with this one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct Rejection {
    /// A stable reason code.
    pub reason: &'static str,
    /// What was wrong, and where in the record.
    pub detail: String,
}

impl Rejection {
    pub(crate) fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What can go wrong with an archive file. Each has a stable [reason code](ArchiveError::reason).
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// Not a Parquet file, a damaged one, or one that could not be written.
    #[error("the Parquet file cannot be processed: {0}")]
    Parquet(#[from] ParquetError),
    /// A record batch that could not be made or decoded.
    #[error("the Parquet file's columns cannot be processed: {0}")]
    Columns(#[from] ArrowError),
    /// A column of the schema is not in the file.
    #[error("column `{0}` is missing; see crates/archive/SCHEMA.md for the columns that an archive file has")]
    MissingColumn(&'static str),
    /// A column has another type.
    #[error("column `{column}` has type {found}; expected {expected}")]
    ColumnType {
        /// The column.
        column: &'static str,
        /// Its type in the file.
        found: String,
        /// The schema's type.
        expected: &'static str,
    },
    /// A value that no record could have been written with.
    #[error("row {row}, column `{column}`: {detail}")]
    InvalidValue {
        /// The row, from 0.
        row: u64,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Rows that are not in the archive's order.
    #[error("row order: `{0}` comes after a later or equal row")]
    Unsorted(String),
    /// A record that the format cannot hold without loss.
    #[error("prediction {prediction_id} cannot be archived: {rejection}")]
    Unstorable {
        /// The record's id.
        prediction_id: String,
        /// Why.
        rejection: Rejection,
    },
}

impl ArchiveError {
    /// A stable code for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Parquet(_) => "parquet_unreadable",
            Self::Columns(_) => "columns_unreadable",
            Self::MissingColumn(_) => "missing_column",
            Self::ColumnType { .. } => "column_type",
            Self::InvalidValue { .. } => "invalid_value",
            Self::Unsorted(_) => "unsorted",
            Self::Unstorable { rejection, .. } => rejection.reason,
        }
    }
}
