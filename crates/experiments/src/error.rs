use thiserror::Error;

/// What can be wrong with an experiment. Each has a stable [reason code](ExperimentsError::reason).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExperimentsError {
    /// A version of the hash that GrowthBook's spec does not define.
    #[error("hash version {0} is not known; use 1 or 2")]
    UnknownHashVersion(u64),
    /// Numbers that no statistic can be of.
    #[error("{field} {detail}")]
    InvalidStatistic {
        /// Which.
        field: &'static str,
        /// What they must be.
        detail: &'static str,
    },
}

impl ExperimentsError {
    pub(crate) fn invalid(field: &'static str, detail: &'static str) -> Self {
        Self::InvalidStatistic { field, detail }
    }

    /// A stable code for logs, metrics and problem documents.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownHashVersion(_) => "unknown_hash_version",
            Self::InvalidStatistic { .. } => "invalid_statistic",
        }
    }
}
