use std::{io, path::PathBuf};

use thiserror::Error;

/// What can go wrong with rides. Each has a stable [reason code](RidesError::reason).
///
/// Bad records of a trip file are no errors: they are counted in [`Rejected`](crate::tlc::Rejected) and the rest goes on.
#[derive(Debug, Error)]
pub enum RidesError {
    /// A file that cannot be opened or read to its end.
    #[error("{}: cannot be read: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file of another format, told by its first bytes.
    #[error("{}: this is a {found} file; expected {expected}", file.display())]
    UnsupportedFormat {
        /// The file.
        file: PathBuf,
        /// What it seems to be.
        found: &'static str,
        /// What can be read.
        expected: &'static str,
    },
    /// A file without a column that is needed.
    #[error("{}: no column for the {what}; expected one named {expected}, found {found}", file.display())]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// What the column holds.
        what: &'static str,
        /// The names that are understood.
        expected: String,
        /// The file's columns.
        found: String,
    },
    /// A Parquet column of a type that does not hold what its name says.
    #[error("{}: column `{column}` has type {found}; expected {expected}", file.display())]
    ColumnType {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The types that are understood.
        expected: &'static str,
    },
    /// A row of a lookup file (zones, weather). Lookup files must be right in every row.
    #[error("{}, line {line}: {field} is `{value}`; expected {expected}", file.display())]
    BadRow {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column.
        field: &'static str,
        /// The text as it came.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// A Parquet file that is damaged.
    #[error("{}: damaged Parquet file, fetch it again: {why}", file.display())]
    Parquet {
        /// The file.
        file: PathBuf,
        /// What the reader says.
        why: String,
    },
    /// The time zone's rules are missing from the build.
    #[error("no rules of the time zone {0}; build with jiff's feature `tzdb-bundle-always`")]
    TimeZone(&'static str),
    /// Options that make no city.
    #[error("option `{option}` is {value}; expected {expected}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A name that the vocabulary does not allow.
    #[error(transparent)]
    Domain(#[from] domain::DomainError),
    /// An answer that names none of the ride's cars.
    #[error("prediction {prediction_id}: no time was shown for {wanted}")]
    NothingShown {
        /// The ride's prediction.
        prediction_id: String,
        /// The car, or cars, that needed one.
        wanted: String,
    },
    /// A shown time that is no time.
    #[error("prediction {prediction_id}: the shown time {shown_s} s is not a finite number, 0 or more")]
    InvalidShown {
        /// The ride's prediction.
        prediction_id: String,
        /// The time.
        shown_s: f64,
    },
    /// A dispatched car whose drive nobody recorded.
    #[error(
        "prediction {prediction_id}: the drive of {car} is not known; in recorded rides only the driven car's is, \
         dispatch that one"
    )]
    TruthUnknown {
        /// The ride's prediction.
        prediction_id: String,
        /// The car.
        car: String,
    },
}

impl RidesError {
    /// A stable code for logs and problem documents.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "unreadable_file",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::MissingColumn { .. } => "missing_column",
            Self::ColumnType { .. } => "column_type",
            Self::BadRow { .. } => "bad_row",
            Self::Parquet { .. } => "damaged_parquet",
            Self::TimeZone(_) => "missing_time_zone",
            Self::InvalidOption { .. } => "invalid_option",
            Self::Domain(error) => error.reason(),
            Self::NothingShown { .. } => "nothing_shown",
            Self::InvalidShown { .. } => "invalid_shown",
            Self::TruthUnknown { .. } => "truth_unknown",
        }
    }
}
