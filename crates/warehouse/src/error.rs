use thiserror::Error;

/// Why a warehouse did not give its rows. Each has a stable [reason code](WarehouseError::reason). Texts never hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WarehouseError {
    /// The query would read more than it may.
    #[error(
        "the query reads {found_bytes} bytes, and may read {limit_bytes}: filter by the table's partition column, name the \
         columns that are needed, or raise max_bytes_billed"
    )]
    OverLimit {
        /// What a dry run says, in bytes.
        found_bytes: u64,
        /// What it may read, in bytes.
        limit_bytes: u64,
    },
    /// The warehouse does not take the query.
    #[error("the query is not taken: {0}")]
    InvalidQuery(String),
    /// The job ended with an error.
    #[error("job {job} failed: {detail}")]
    JobFailed {
        /// Its id.
        job: String,
        /// What the warehouse said.
        detail: String,
    },
    /// The job is not done within the time that it was given.
    #[error("job {job} is not done after {waited_s} s; start the same extract again to go on waiting for it")]
    JobTimeout {
        /// Its id.
        job: String,
        /// How long it was waited for, seconds.
        waited_s: u64,
    },
    /// Nobody is known who may ask.
    #[error("no access to the warehouse: {0}")]
    Credentials(String),
    /// The one who asks may not.
    #[error("the warehouse refuses: {0}")]
    Refused(String),
    /// The session has ended: its streams cannot be read any more.
    #[error("the read session has expired: {0}")]
    SessionExpired(String),
    /// Busy, unreachable, timed out: the same call may succeed later.
    #[error("the warehouse is unavailable: {0}")]
    Unavailable(String),
    /// A column of a type that datasets do not have.
    #[error("column `{column}` is of type {of}, which datasets do not have: cast it in the query")]
    UnsupportedType {
        /// The column.
        column: String,
        /// Its type.
        of: String,
    },
    /// What came cannot be read.
    #[error("the warehouse's answer cannot be read: {0}")]
    Unreadable(String),
}

impl WarehouseError {
    /// A stable code for logs, metrics and alarms.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::OverLimit { .. } => "warehouse_over_limit",
            Self::InvalidQuery(_) => "warehouse_invalid_query",
            Self::JobFailed { .. } => "warehouse_job_failed",
            Self::JobTimeout { .. } => "warehouse_job_timeout",
            Self::Credentials(_) => "warehouse_credentials",
            Self::Refused(_) => "warehouse_refused",
            Self::SessionExpired(_) => "warehouse_session_expired",
            Self::Unavailable(_) => "warehouse_unavailable",
            Self::UnsupportedType { .. } => "unsupported_type",
            Self::Unreadable(_) => "warehouse_unreadable",
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::JobTimeout { .. })
    }
}
