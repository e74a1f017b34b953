use cloud::object_store::StoreError;
use domain::{DomainError, ModelName, ReleaseId};
use thiserror::Error;

use crate::checks::CheckReport;

/// Why a release could not be put in force, or not be read.
#[derive(Debug, Clone, Error)]
pub enum ReleasesError {
    /// No release of this model was ever published.
    #[error("model `{0}` has no release")]
    NoRelease(ModelName),
    /// There is no release whose id begins so.
    #[error("model `{model}` has no release `{id}`")]
    UnknownRelease {
        /// The model.
        model: ModelName,
        /// The id, or its beginning.
        id: String,
    },
    /// Several releases' ids begin so, or too few digits were given to tell.
    #[error("`{prefix}` does not name one release: {why}")]
    AmbiguousId {
        /// The beginning of the id.
        prefix: String,
        /// Which there are, or how many digits are wanted.
        why: String,
    },
    /// There is nothing to go back to.
    #[error("nothing was in force before {0}; name the release to go back to")]
    NoPrevious(ReleaseId),
    /// The document or the pointer is there and cannot be used.
    #[error("`{key}` cannot be used: {detail}")]
    Unusable {
        /// Its key.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// Checks failed: nothing was written.
    #[error("{} check(s) failed; nothing was published", .0.failures().count())]
    ChecksFailed(CheckReport),
    /// Another release is in force than the caller expected: nothing was moved.
    #[error("{} is in force, not {expected}; look at it, then publish again", in_words(found.as_ref()))]
    NotExpected {
        /// What the caller expected.
        expected: ReleaseId,
        /// What is in force.
        found: Option<ReleaseId>,
    },
    /// Somebody else moved the pointer at the same moment. The document stays, and is harmless.
    #[error("another release of `{0}` was put in force at the same moment; look at it, then publish again")]
    MovedMeanwhile(ModelName),
    /// A lookup table cannot be written as the lake keeps it.
    #[error("lookup table `{name}`: {detail}")]
    Table {
        /// The table.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// An invalid release or name.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn in_words(id: Option<&ReleaseId>) -> String {
    id.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

impl ReleasesError {
    /// A stable code for logs, metrics and `--json`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoRelease(_) => "no_release",
            Self::UnknownRelease { .. } => "unknown_release",
            Self::AmbiguousId { .. } => "ambiguous_release_id",
            Self::NoPrevious(_) => "no_previous_release",
            Self::Unusable { .. } => "release_unusable",
            Self::ChecksFailed(_) => "release_checks_failed",
            Self::NotExpected { .. } => "another_release_in_force",
            Self::MovedMeanwhile(_) => "release_moved_meanwhile",
            Self::Table { .. } => "lookup_table_unusable",
            Self::Domain(error) => error.reason(),
            Self::Store(error) => error.reason(),
        }
    }
}
