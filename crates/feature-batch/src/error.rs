use std::{io, path::PathBuf};

use features::LookupError;
use thiserror::Error;

/// Why a batch transform stopped. A bad row is no reason: it is rejected, and the rest goes on.
#[derive(Debug, Error)]
pub enum BatchError {
    /// The spec says nothing about a label.
    #[error("the spec has no label; a training view needs one: add [label] with an expression over the inputs")]
    NoLabel,
    /// A source cannot be read, or not as what the spec needs. The same source will fail again.
    #[error("`{name}`{}: {detail}", at(*.offset))]
    Source {
        /// The source.
        name: String,
        /// How far it was read: a byte of the decompressed text; `None` for Parquet.
        offset: Option<u64>,
        /// A stable code.
        reason: &'static str,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// The bytes of a source could not be had; another try may succeed.
    #[error("`{name}`: {source}")]
    Read {
        /// The source.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The view or the rejects could not be written.
    #[error("the {what} could not be written: {source}")]
    Write {
        /// What was being written.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be opened, made or renamed.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A spec, or an expression over it, that does not compile.
    #[error("{0}")]
    Spec(features::FeatureError),
    /// A lookup table that cannot be: of a file, or of rows.
    #[error("lookup table `{name}`: {detail}")]
    Lookup {
        /// The table, or its file.
        name: String,
        /// A stable code.
        reason: &'static str,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// The columns could not be handed to the plan. A defect of this crate.
    #[error(transparent)]
    Columns(#[from] features::FeatureError),
}

fn at(offset: Option<u64>) -> String {
    offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default()
}

impl BatchError {
    pub(crate) fn lookup(name: &str, reason: &'static str, detail: impl Into<String>) -> Self {
        Self::Lookup { name: name.to_owned(), reason, detail: detail.into() }
    }

    pub(crate) fn of_table(name: &str) -> impl Fn(LookupError) -> Self {
        move |error| Self::lookup(name, error.reason(), error.to_string())
    }

    /// A stable code for logs, metrics and summaries.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoLabel => "no_label",
            Self::Source { reason, .. } | Self::Lookup { reason, .. } => reason,
            Self::Read { .. } => "read_failed",
            Self::Write { .. } => "write_failed",
            Self::File { .. } => "file_failed",
            Self::Spec(error) => error.reason(),
            Self::Columns(_) => "columns_invalid",
        }
    }
}

/// An error of a reader, before it is known which source it is of.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The bytes could not be had.
    Io(io::Error),
    /// The bytes are not what they should be.
    Bad { offset: Option<u64>, reason: &'static str, detail: String },
}

impl ReadError {
    pub(crate) fn bad(offset: Option<u64>, reason: &'static str, detail: impl Into<String>) -> Self {
        Self::Bad { offset, reason, detail: detail.into() }
    }

    pub(crate) fn of(self, name: &str) -> BatchError {
        let name = name.to_owned();
        match self {
            Self::Io(source) => BatchError::Read { name, source },
            Self::Bad { offset, reason, detail } => BatchError::Source { name, offset, reason, detail },
        }
    }
}
