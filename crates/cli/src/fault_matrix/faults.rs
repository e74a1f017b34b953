//! The faults, and what should come of them.

use domain::Tier;
use local::EndpointFault;

/// One fault of the arm's endpoint.
pub(super) struct Case {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// None where it is healthy.
    pub(super) fault: Option<EndpointFault>,
    reason: &'static str,
}

/// The release's second endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Second {
    /// The release has none.
    None,
    Healthy,
    /// It has the same fault.
    Failing,
}

impl Second {
    pub(super) const ALL: [Self; 3] = [Self::None, Self::Healthy, Self::Failing];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Healthy => "healthy",
            Self::Failing => "failing too",
        }
    }
}

/// All faults, the healthy endpoint first.
pub(super) fn cases(deadline_ms: u32) -> Vec<Case> {
    let case = |name, fault, reason| Case { name, fault: Some(fault), reason };
    let slow = EndpointFault::Slow { delay_ms: u64::from(deadline_ms) * 3 };
    vec![
        Case { name: "healthy", fault: None, reason: "" },
        case("slow", slow, "endpoint_timeout"),
        case("424", EndpointFault::ModelError, "endpoint_model_error"),
        case("429", EndpointFault::ModelNotReady, "endpoint_model_not_ready"),
        case("500", EndpointFault::InternalFailure, "endpoint_internal_failure"),
        case("503", EndpointFault::ServiceUnavailable, "endpoint_service_unavailable"),
        case("530", EndpointFault::InternalDependency, "endpoint_internal_dependency"),
        case("throttled", EndpointFault::Throttled, "endpoint_throttled"),
        case("reset", EndpointFault::Reset, "endpoint_connection"),
        case("garbage", EndpointFault::Garbage, "endpoint_garbage"),
        case("too few rows", EndpointFault::TooFewRows, "endpoint_row_count"),
    ]
}

impl Case {
    /// The tier that should answer, and its reason.
    pub(super) fn expected(&self, second: Second) -> (Tier, Option<String>) {
        let reason = self.reason;
        match (self.fault, second) {
            (None, _) => (Tier::Endpoint, None),
            (Some(_), Second::None) => (Tier::Fallback, Some(reason.to_owned())),
            (Some(_), Second::Healthy) => (Tier::SecondEndpoint, Some(reason.to_owned())),
            (Some(_), Second::Failing) => (Tier::Fallback, Some(format!("{reason}+second_{reason}"))),
        }
    }
}
