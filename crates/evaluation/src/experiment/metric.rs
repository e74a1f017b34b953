use serde::{Deserialize, Serialize};

use crate::units::UnitSums;

/// What an experiment's arms are compared by. Each is a ratio of two sums of a unit, so that rides of one rider are not
/// taken for independent; where a unit has one ride it is the plain mean or share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean absolute error, seconds.
    MaeS,
    /// Mean cost where a late second costs three times an early one, in early seconds.
    AsymmetricCostS,
    /// Share of rides with |error| ≤ 2 minutes.
    ShareWithin120S,
    /// Share of settled rides that were cancelled before the car came.
    CancelledShare,
    /// Share of predictions that the arm's own endpoint did not answer.
    NotByEndpointShare,
}

/// What a metric is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It decides.
    Primary,
    /// It explains.
    Secondary,
    /// It must not get worse: tested by itself, without correction for the others, since a missed harm costs more than a
    /// false alarm.
    Guardrail,
}

impl Metric {
    /// All of them, the primary first.
    pub const ALL: [Self; 5] =
        [Self::MaeS, Self::AsymmetricCostS, Self::ShareWithin120S, Self::CancelledShare, Self::NotByEndpointShare];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaeS => "mae_s",
            Self::AsymmetricCostS => "asymmetric_cost_s",
            Self::ShareWithin120S => "share_within_120_s",
            Self::CancelledShare => "cancelled_share",
            Self::NotByEndpointShare => "not_by_endpoint_share",
        }
    }

    /// What it is for.
    pub fn role(self) -> Role {
        match self {
            Self::MaeS => Role::Primary,
            Self::AsymmetricCostS | Self::ShareWithin120S => Role::Secondary,
            Self::CancelledShare | Self::NotByEndpointShare => Role::Guardrail,
        }
    }

    /// Whether more of it is better.
    pub fn higher_is_better(self) -> bool {
        self == Self::ShareWithin120S
    }

    /// Whether it is a share of yes and no.
    pub fn is_share(self) -> bool {
        !matches!(self, Self::MaeS | Self::AsymmetricCostS)
    }

    /// A unit's numerator and denominator.
    pub fn ratio(self, unit: &UnitSums) -> (f64, f64) {
        let seconds = |us: u64| us as f64 / 1e6;
        let joined = unit.joined as f64;
        match self {
            Self::MaeS => (seconds(unit.late_us) + seconds(unit.early_us), joined),
            Self::AsymmetricCostS => (3.0 * seconds(unit.late_us) + seconds(unit.early_us), joined),
            Self::ShareWithin120S => (unit.within_120_s as f64, joined),
            Self::CancelledShare => (unit.cancelled as f64, joined + unit.cancelled as f64),
            Self::NotByEndpointShare => (unit.not_by_endpoint as f64, unit.predictions as f64),
        }
    }
}
