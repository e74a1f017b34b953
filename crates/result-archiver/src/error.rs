use archive::ArchiveError;
use cloud::{object_store::StoreError, s3_event::UnknownEvent};
use domain::DomainError;
use lambda_runtime::Diagnostic;
use thiserror::Error;

/// What can go wrong. Each has a stable [reason code](ArchiverError::reason), which is also Lambda's `errorType`.
#[derive(Debug, Error)]
pub enum ArchiverError {
    /// The object store did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A segment or hour file cannot be read or written.
    #[error("`{key}`: {source}")]
    Archive {
        /// The object.
        key: String,
        /// Why.
        source: ArchiveError,
    },
    /// The event is none that the function is made for.
    #[error(
        "unknown event: {0}; expected an S3, SQS or EventBridge event, {{\"compact\": {{}}}} or {{\"archive\": {{}}}}"
    )]
    UnknownEvent(String),
    /// The event names an object of another bucket.
    #[error("the event is about bucket `{found}`; this function archives `{expected}` (LAKE_BUCKET)")]
    ForeignBucket {
        /// The bucket in the event.
        found: String,
        /// The lake's bucket.
        expected: String,
    },
    /// The event names an object that is not a landing object.
    #[error(transparent)]
    ForeignKey(#[from] DomainError),
    /// A release pointer that cannot be read, so that what it names is not known.
    #[error("`{key}` is no release pointer: {detail}")]
    Pointer {
        /// The object.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Other writers replaced an hour file again and again while it was merged.
    #[error("`{0}` was replaced by others at every try; its segments stay for the next run")]
    Contended(String),
    /// Some objects or hours could not be processed. The others were.
    #[error("{count} failed, first `{first}`: {detail}")]
    Partial {
        /// How many.
        count: usize,
        /// The first one's key or partition.
        first: String,
        /// Its reason code.
        reason: &'static str,
        /// What happened to it.
        detail: String,
    },
}

impl ArchiverError {
    /// A stable code for logs, metrics and alarms.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::Archive { source, .. } => source.reason(),
            Self::UnknownEvent(_) => "unknown_event",
            Self::ForeignBucket { .. } => "foreign_bucket",
            Self::ForeignKey(error) => error.reason(),
            Self::Pointer { .. } => "release_pointer_unreadable",
            Self::Contended(_) => "contended",
            Self::Partial { reason, .. } => reason,
        }
    }

    /// The error of a run in which some parts failed, or `Ok` where none did.
    pub(crate) fn of_failures<'a>(failures: impl IntoIterator<Item = (&'a str, &'a Failure)>) -> Result<(), Self> {
        let mut failures = failures.into_iter();
        let Some((first, Failure { reason, detail })) = failures.next() else { return Ok(()) };
        let (first, detail) = (first.to_owned(), detail.clone());
        Err(Self::Partial { count: 1 + failures.count(), first, reason, detail })
    }
}

/// What happened to one of several objects: a reason code and the error's text, since one error may concern many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable reason code.
    pub reason: &'static str,
    /// What happened.
    pub detail: String,
}

impl From<UnknownEvent> for ArchiverError {
    fn from(error: UnknownEvent) -> Self {
        Self::UnknownEvent(error.0)
    }
}

impl From<&ArchiverError> for Failure {
    fn from(error: &ArchiverError) -> Self {
        Self { reason: error.reason(), detail: error.to_string() }
    }
}

impl From<ArchiverError> for Diagnostic {
    fn from(error: ArchiverError) -> Self {
        Self { error_type: error.reason().to_owned(), error_message: error.to_string() }
    }
}
