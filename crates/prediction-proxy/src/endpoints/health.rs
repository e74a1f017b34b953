//! What a warm process knows of the endpoints it asks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{Arm, BreakerPolicy};

use super::{
    breaker::{Admission, Breaker},
    latency::RecentLatency,
    retry_budget::RetryBudget,
};

/// Breaker, retry budget and recent latency of every endpoint and variant that was asked. Each variant is a fleet of its own, so
/// each has its own. Kept while the process is warm; processes do not tell each other.
#[derive(Debug)]
pub struct EndpointHealth {
    began: Instant,
    endpoints: Mutex<HashMap<String, Arc<Mutex<State>>>>,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    budget: RetryBudget,
    latency: RecentLatency,
}

impl Default for EndpointHealth {
    fn default() -> Self {
        Self { began: Instant::now(), endpoints: Mutex::default() }
    }
}

impl EndpointHealth {
    /// What is known of an arm's endpoint and variant.
    pub(crate) fn of(&self, arm: &Arm) -> ArmHealth {
        // Neither name can hold a slash.
        let key = format!("{}/{}", arm.endpoint, arm.variant);
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        ArmHealth { began: self.began, state: Arc::clone(endpoints.entry(key).or_default()) }
    }
}

/// One endpoint and variant's part of [`EndpointHealth`].
#[derive(Debug)]
pub(crate) struct ArmHealth {
    began: Instant,
    state: Arc<Mutex<State>>,
}

impl ArmHealth {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the breaker; none where the endpoint is left alone.
    pub(crate) fn admit(&self, policy: BreakerPolicy) -> Option<Permit<'_>> {
        let admission = self.state().breaker.admit(policy, self.began.elapsed());
        (admission != Admission::Refused).then_some(Permit { health: self, policy, admission, is_told: false })
    }

    /// A call is made that is no retry.
    pub(crate) fn deposit(&self) {
        self.state().budget.deposit();
    }

    /// Takes a retry from the budget, where there is one.
    pub(crate) fn withdraw(&self) -> bool {
        self.state().budget.withdraw()
    }

    /// A call took so long, or was given up after so long because another was faster.
    pub(crate) fn took(&self, duration: Duration) {
        self.state().latency.record(duration);
    }

    /// What 95 % of the recent calls stay within, where there were enough.
    pub(crate) fn p95(&self) -> Option<Duration> {
        self.state().latency.p95()
    }
}

/// The breaker let a call through. Dropped untold, as a cancelled call does, it counts neither way.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    health: &'a ArmHealth,
    policy: BreakerPolicy,
    admission: Admission,
    is_told: bool,
}

impl Permit<'_> {
    /// The endpoint answered well.
    pub(crate) fn succeeded(mut self) {
        self.is_told = true;
        self.health.state().breaker.succeeded();
    }

    /// It did not.
    pub(crate) fn failed(mut self) {
        self.is_told = true;
        self.health.state().breaker.failed(self.policy, self.health.began.elapsed(), self.admission);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.health.state().breaker.abandoned(self.admission);
        }
    }
}
