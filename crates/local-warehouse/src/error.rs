//! What can go wrong, as BigQuery tells it.

use http::StatusCode;
use serde_json::{Value as Json, json};

/// An error of the warehouse. What a client did wrong has BigQuery's own `reason`.
/// <https://cloud.google.com/bigquery/docs/error-messages>
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WarehouseError {
    /// SQL that is wrong, or that this dialect does not have.
    #[error("{0}")]
    InvalidQuery(String),
    /// A request that is wrong.
    #[error("{0}")]
    Invalid(String),
    /// No such dataset, table, job or session.
    #[error("Not found: {0}")]
    NotFound(String),
    /// Such a thing exists already.
    #[error("Already Exists: {0}")]
    Duplicate(String),
    /// A dataset that still has tables.
    #[error("{0}")]
    InUse(String),
    /// The query would cost more than was allowed.
    #[error("Query exceeded limit for bytes billed: {limit}. {needed} or higher required.")]
    BytesBilledLimit {
        /// `maximumBytesBilled`.
        limit: i64,
        /// What the query would be billed.
        needed: i64,
    },
    /// The job was cancelled.
    #[error("Job execution was cancelled: User requested cancellation")]
    Stopped,
    /// The job took longer than its `jobTimeoutMs`.
    #[error("Job timed out after {0} ms")]
    Timeout(i64),
    /// A part of BigQuery that is not here.
    #[error("{0}")]
    NotImplemented(String),
    /// A quota, as an injected fault.
    #[error("Quota exceeded: {0}")]
    QuotaExceeded(String),
    /// Unavailable, as an injected fault.
    #[error("{0}")]
    Backend(String),
    /// SQLite, a file, or a mistake of ours.
    #[error("{0}")]
    Internal(String),
}

/// What most functions here give.
pub type Result<T> = std::result::Result<T, WarehouseError>;

impl WarehouseError {
    /// BigQuery's `reason`, a stable code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidQuery(_) => "invalidQuery",
            Self::Invalid(_) => "invalid",
            Self::NotFound(_) => "notFound",
            Self::Duplicate(_) => "duplicate",
            Self::InUse(_) => "resourceInUse",
            Self::BytesBilledLimit { .. } => "bytesBilledLimitExceeded",
            Self::Stopped => "stopped",
            Self::Timeout(_) => "timeout",
            Self::NotImplemented(_) => "notImplemented",
            Self::QuotaExceeded(_) => "quotaExceeded",
            Self::Backend(_) => "backendError",
            Self::Internal(_) => "internalError",
        }
    }

    /// Where the fault lies, where BigQuery says so.
    pub(crate) fn location(&self) -> Option<&'static str> {
        matches!(self, Self::InvalidQuery(_)).then_some("query")
    }

    /// HTTP status, and the canonical code beside it.
    pub(crate) fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidQuery(_) | Self::Invalid(_) | Self::Timeout(_) | Self::InUse(_) => {
                (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT")
            }
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::Duplicate(_) => (StatusCode::CONFLICT, "ALREADY_EXISTS"),
            Self::QuotaExceeded(_) => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            Self::NotImplemented(_) => (StatusCode::NOT_IMPLEMENTED, "UNIMPLEMENTED"),
            Self::Stopped => (StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST), "CANCELLED"),
            Self::Backend(_) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Self::BytesBilledLimit { .. } | Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        }
    }

    /// `ErrorProto`, as in a job's status.
    pub(crate) fn proto(&self) -> Json {
        let mut proto = json!({ "reason": self.reason(), "message": self.to_string() });
        if let Some(location) = self.location() {
            proto["location"] = location.into();
        }
        proto
    }

    /// The body of an HTTP answer.
    pub(crate) fn body(&self) -> Json {
        let (status, code) = self.status();
        let mut error = json!({ "message": self.to_string(), "domain": "global", "reason": self.reason() });
        if let Some(location) = self.location() {
            error["location"] = location.into();
            error["locationType"] = "other".into();
        }
        json!({ "error": { "code": status.as_u16(), "message": self.to_string(), "errors": [error], "status": code } })
    }

    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<rusqlite::Error> for WarehouseError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;

        match &error {
            rusqlite::Error::SqliteFailure(code, _) if code.code == ErrorCode::OperationInterrupted => Self::Stopped,
            // What a function of ours says of its arguments, and what SQLite does not understand.
            rusqlite::Error::SqliteFailure(code, Some(message)) if code.code == ErrorCode::Unknown => {
                Self::InvalidQuery(message.clone())
            }
            rusqlite::Error::SqlInputError { msg, .. } => Self::InvalidQuery(msg.clone()),
            _ => Self::Internal(format!("SQLite: {error}")),
        }
    }
}

impl From<std::io::Error> for WarehouseError {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<arrow_schema::ArrowError> for WarehouseError {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Internal(error.to_string())
    }
}
