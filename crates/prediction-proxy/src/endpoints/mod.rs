//! Asking endpoints: who is asked, how often, and when no longer.
//!
//! The decisions ([`breaker`], [`retry_budget`], [`backoff`], [`latency`]) know no clock and no randomness: both are passed
//! in. [`health`] keeps them in the warm process, [`ask`] asks one arm, [`tiers`] goes from arm to arm.

mod ask;
mod backoff;
mod breaker;
mod health;
mod latency;
mod retry_budget;
mod tiers;

pub(crate) use endpoint_rows::EndpointRows;

pub use self::health::EndpointHealth;
pub(crate) use self::{
    ask::{Failure, Question, ask_arm},
    tiers::ask_tiers,
};
