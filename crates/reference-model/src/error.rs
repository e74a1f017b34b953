use std::{io, path::PathBuf};

use thiserror::Error;

use crate::BadRow;

/// What can go wrong while training or serving. Each has a stable [reason code](ModelError::reason).
#[derive(Debug, Error)]
pub enum ModelError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `hyperparameters.json` is not one JSON object.
    #[error("hyperparameters.json is not a JSON object of names and values: {0}")]
    InvalidHyperparameters(String),
    /// A hyperparameter that this program does not have.
    #[error("hyperparameter `{name}` is not known; the known ones are {known}")]
    UnknownHyperparameter {
        /// The name as it came.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// A value that is not of the hyperparameter's type or range, or that contradicts another.
    #[error("hyperparameter `{name}`: {why}")]
    InvalidHyperparameter {
        /// The name as it came.
        name: String,
        /// What is wrong, and what is expected.
        why: String,
    },
    /// A channel without a single usable row.
    #[error("there is no row to read in {}; it takes headerless CSV or Parquet files, label first", .0.display())]
    EmptyChannel(PathBuf),
    /// More bad rows than `max_bad_rows_share` allows.
    #[error("{bad} of {rows} rows of the channel `{channel}` are bad (at most {allowed} may be); the first: {first}")]
    TooManyBadRows {
        /// The channel.
        channel: String,
        /// How many rows are bad.
        bad: usize,
        /// How many rows there are, good and bad.
        rows: usize,
        /// How many may be bad.
        allowed: usize,
        /// The first bad row.
        first: Box<BadRow>,
    },
    /// A Parquet file that cannot be read as rows of numbers.
    #[error("cannot read {} as Parquet: {why}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The boosting library refused, or gave a model that cannot be used.
    #[error("training failed: {0}")]
    TrainingFailed(String),
    /// `model.json` or `metadata.json` is not what `train` writes.
    #[error("the model cannot be served from: {why}; train it again")]
    DamagedModel {
        /// What is wrong.
        why: String,
    },
    /// The server's socket or runtime failed.
    #[error("cannot serve: {0}")]
    Server(io::Error),
    /// A request's content type is not one of ours.
    #[error("content type `{0}` is not supported; send text/csv, application/json or application/jsonlines")]
    UnsupportedMediaType(String),
    /// A request accepts no content type of ours.
    #[error("no content type of `{0}` is supported; accept text/csv, application/json or application/jsonlines")]
    NotAcceptable(String),
    /// A request's body is larger than SageMaker allows.
    #[error("the body is larger than {limit} bytes; send fewer rows at a time")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A request's body could not be read, or is not of its content type.
    #[error("the body is not valid: {0}")]
    InvalidBody(String),
    /// A request's body has no row.
    #[error("the body has no row")]
    NoRows,
    /// Quantiles are asked of a model that has learnt none.
    #[error("the model has learnt no quantiles; train it with the hyperparameter `quantiles`")]
    NoQuantiles,
    /// A row of another width than the model's.
    #[error("row {row} has {found} features, the model takes {expected}")]
    WrongWidth {
        /// Which row, from 1.
        row: usize,
        /// How many features it has.
        found: usize,
        /// How many the model takes.
        expected: usize,
    },
    /// A value that is not a finite number.
    #[error("row {row}, column {column}: {text} is not a finite number; leave it {missing} where it is missing")]
    NotANumber {
        /// Which row, from 1.
        row: usize,
        /// Which column, from 1.
        column: usize,
        /// The value as it came.
        text: String,
        /// How the content type writes a missing value.
        missing: &'static str,
    },
    /// The model's answer is beyond what a number can hold.
    #[error("the prediction for row {row} is not finite")]
    PredictionNotFinite {
        /// Which row, from 1.
        row: usize,
    },
}

impl ModelError {
    /// A stable code for logs, failure files and problem documents.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::File { .. } => "file_error",
            Self::InvalidHyperparameters(_) => "invalid_hyperparameters",
            Self::UnknownHyperparameter { .. } => "unknown_hyperparameter",
            Self::InvalidHyperparameter { .. } => "invalid_hyperparameter",
            Self::EmptyChannel(_) => "empty_channel",
            Self::TooManyBadRows { .. } => "too_many_bad_rows",
            Self::Parquet { .. } => "invalid_parquet",
            Self::TrainingFailed(_) => "training_failed",
            Self::DamagedModel { .. } => "damaged_model",
            Self::Server(_) => "server_error",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::NotAcceptable(_) => "not_acceptable",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::InvalidBody(_) => "invalid_body",
            Self::NoRows => "no_rows",
            Self::NoQuantiles => "no_quantiles",
            Self::WrongWidth { .. } => "wrong_width",
            Self::NotANumber { .. } => "not_a_number",
            Self::PredictionNotFinite { .. } => "prediction_not_finite",
        }
    }

    /// The HTTP status that a request is answered with.
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidBody(_)
            | Self::NoRows
            | Self::NoQuantiles
            | Self::WrongWidth { .. }
            | Self::NotANumber { .. } => 400,
            Self::NotAcceptable(_) => 406,
            Self::BodyTooLarge { .. } => 413,
            Self::UnsupportedMediaType(_) => 415,
            _ => 500,
        }
    }
}
