use thiserror::Error;

/// Why there is no figure: never "effect 0, p = 1".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotEstimable {
    /// An arm has no unit.
    #[error("an arm has no unit yet")]
    EmptyArm,
    /// An arm has no variance: too few units, or all of them alike. (Shares that differ are estimated all the same:
    /// [`super::estimate_shares`].)
    #[error("an arm has no variance: see the Newcombe or score interval for shares")]
    ZeroVariance,
    /// The control's mean is zero.
    #[error("the control's mean is zero")]
    ZeroBaseline,
}

impl NotEstimable {
    /// A stable code for logs, metrics and reports.
    pub fn reason(self) -> &'static str {
        match self {
            Self::EmptyArm => "empty_arm",
            Self::ZeroVariance => "zero_variance",
            Self::ZeroBaseline => "zero_baseline",
        }
    }
}
