use domain::{Hour, ModelName};
use thiserror::Error;

/// What can be wrong with an evaluation. Each has a stable [reason code](EvaluationError::reason).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvaluationError {
    /// Two models in one merge.
    #[error("evaluations of `{expected}` and `{found}` cannot be merged; give those of one model")]
    DifferentModel {
        /// The model of the first evaluation.
        expected: ModelName,
        /// The other one.
        found: ModelName,
    },
    /// Two hours in the merge of one hour's parts.
    #[error("evaluations of the hours {expected} and {found} cannot be merged into one hour; make a window of them")]
    DifferentHour {
        /// The hour of the first part.
        expected: Hour,
        /// The other one.
        found: Hour,
    },
    /// A stored evaluation that cannot be read, is of another format, or contradicts itself.
    #[error("not an evaluation that can be used: {0}; evaluate the hour again")]
    InvalidEvaluation(String),
    /// A baseline that cannot be read, is of another format, or contradicts itself.
    #[error("not a baseline that can be used: {0}")]
    InvalidBaseline(String),
    /// Numbers that no figure can be of.
    #[error("{field} {detail}")]
    InvalidInput {
        /// Which.
        field: &'static str,
        /// What they must be.
        detail: &'static str,
    },
}

impl EvaluationError {
    pub(crate) fn input(field: &'static str, detail: &'static str) -> Self {
        Self::InvalidInput { field, detail }
    }

    /// A stable code for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::DifferentModel { .. } => "different_model",
            Self::DifferentHour { .. } => "different_hour",
            Self::InvalidEvaluation(_) => "invalid_evaluation",
            Self::InvalidBaseline(_) => "invalid_baseline",
            Self::InvalidInput { .. } => "invalid_input",
        }
    }
}
