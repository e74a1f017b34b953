//! Asking endpoints: what is sent, what comes back, who is asked, and when no longer.
//!
//! The decisions ([`breaker`], [`retry_budget`], [`backoff`], [`latency`]) know no clock and no randomness: both are passed
//! in. [`health`] keeps them in the warm process, [`ask`] asks one arm, [`tiers`] goes from arm to arm.

mod answer;
mod ask;
mod backoff;
mod breaker;
mod health;
mod latency;
mod retry_budget;
mod rows;
mod tiers;

pub use self::health::EndpointHealth;
pub(crate) use self::{
    ask::{Failure, Question, ask_arm},
    rows::EndpointRows,
    tiers::ask_tiers,
};
