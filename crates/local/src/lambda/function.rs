//! One function: its instances, and what it has done.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Outcome,
    environment::Host,
    instance::{Event, Instance, Shared},
};
use crate::template::FunctionSpec;

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) spec: FunctionSpec,
    host: Arc<Host>,
    /// One permit for each instance that may be busy at once.
    permits: Arc<Semaphore>,
    /// Instances that wait for work; the last one worked last.
    idle: Mutex<Vec<Instance>>,
    /// All instances, busy ones too.
    all: Mutex<Vec<Weak<Shared>>>,
    closing: AtomicBool,
    pub(crate) counts: Counts,
}

/// Since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) invocations: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) throttles: AtomicU64,
    pub(crate) instances_started: AtomicU64,
    /// Asynchronous invocations that failed in all tries.
    pub(crate) discarded: AtomicU64,
    /// Now running or waiting to run.
    pub(crate) in_flight: AtomicU64,
}

/// Counts something as long as it lives.
struct Counted(Arc<Function>);

impl Counted {
    fn new(function: &Arc<Function>) -> Self {
        function.counts.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(function.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What comes with an event besides its payload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    pub(crate) trace_id: Option<String>,
    pub(crate) client_context: Option<String>,
}

impl Function {
    pub(crate) fn new(spec: FunctionSpec, host: Arc<Host>) -> Arc<Self> {
        let cap = spec.reserved_concurrency.unwrap_or(host.max_instances.max(1)).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(cap)),
            spec,
            host,
            idle: Mutex::default(),
            all: Mutex::default(),
            closing: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    /// How many invocations can run at once.
    pub(crate) fn cap(&self) -> usize {
        self.spec.reserved_concurrency.unwrap_or(self.host.max_instances.max(1))
    }

    /// Runs one event. It goes on to its end even if the caller stops waiting, as on Lambda.
    pub(crate) async fn invoke(self: &Arc<Self>, payload: Bytes, extras: Extras) -> Outcome {
        let counted = Counted::new(self);
        let function = self.clone();
        let task = tokio::spawn(async move {
            let outcome = function.run(payload, extras).await;
            drop(counted);
            outcome
        });
        task.await.unwrap_or_else(|error| Outcome::failure("Runtime.ExitError", &error.to_string()))
    }

    /// Runs one event in the background, with Lambda's retries.
    pub(crate) fn invoke_async(self: &Arc<Self>, payload: Bytes) {
        let counted = Counted::new(self);
        let function = self.clone();
        tokio::spawn(async move {
            let mut failures = 0;
            loop {
                match function.run(payload.clone(), Extras::default()).await {
                    Outcome::Answer(_) => break,
                    // Throttled events are tried for hours; here until the end.
                    Outcome::Throttled => {}
                    Outcome::Failure { .. } => failures += 1,
                }
                if failures > function.spec.max_retries {
                    function.counts.discarded.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(function = function.spec.name, "an asynchronous event failed in all tries");
                    if let Some(name) = &function.spec.dead_letter_queue {
                        if let Some(queue) = function.host.queues.0.get(name) {
                            queue.send(String::from_utf8_lossy(&payload).into_owned(), None);
                        } else {
                            tracing::warn!(function = function.spec.name, queue = name, "no such dead-letter queue");
                        }
                    }
                    break;
                }
                let delay = function.host.async_retry_delay.saturating_mul(failures.max(1));
                tokio::time::sleep(delay).await;
            }
            drop(counted);
        });
    }

    async fn run(self: &Arc<Self>, payload: Bytes, extras: Extras) -> Outcome {
        let permits = self.permits.clone();
        // Lambda throttles beyond a reserved concurrency. The laptop's own cap is no property of the function: wait.
        let permit = match self.spec.reserved_concurrency {
            Some(_) => permits.try_acquire_owned().ok(),
            None => permits.acquire_owned().await.ok(),
        };
        let Some(permit) = permit else {
            self.counts.throttles.fetch_add(1, Ordering::Relaxed);
            return Outcome::Throttled;
        };
        self.counts.invocations.fetch_add(1, Ordering::Relaxed);
        let outcome = self.run_permitted(payload, extras, permit).await;
        if matches!(outcome, Outcome::Failure { .. }) {
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    async fn run_permitted(self: &Arc<Self>, payload: Bytes, extras: Extras, permit: OwnedSemaphorePermit) -> Outcome {
        let instance = match self.take_idle() {
            Some(instance) => instance,
            None => {
                self.counts.instances_started.fetch_add(1, Ordering::Relaxed);
                match Instance::start(&self.host, &self.spec).await {
                    Ok(instance) => {
                        self.remember(&instance);
                        instance
                    }
                    Err(outcome) => return outcome,
                }
            }
        };
        let timeout = self.spec.timeout;
        let id = uuid::Uuid::now_v7();
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let event = Event {
            request_id: id.to_string(),
            payload,
            deadline_ms: now_ms.saturating_add(timeout.as_millis() as i64),
            trace_id: extras.trace_id.unwrap_or_else(|| new_trace_id(now_ms)),
            client_context: extras.client_context,
        };
        let outcome = instance.run(event, timeout).await;
        if instance.is_alive() {
            let function = self.clone();
            if instance.is_busy() {
                tokio::spawn(async move {
                    instance.settle(timeout).await;
                    function.give_back(instance);
                    drop(permit);
                });
            } else {
                function.give_back(instance);
            }
        }
        outcome
    }

    fn give_back(&self, instance: Instance) {
        // At the end its extensions still need the API of an instance whose process has left.
        if instance.is_alive() || self.closing.load(Ordering::Acquire) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        }
    }

    fn take_idle(&self) -> Option<Instance> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(Instance::is_alive)
    }

    fn remember(&self, instance: &Instance) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(instance.shared()));
    }

    pub(crate) fn announce_shutdown(&self, deadline: Duration) {
        self.closing.store(true, Ordering::Release);
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).for_each(|one| one.announce_shutdown(deadline));
    }

    /// Forgets idle instances; their processes are stopped elsewhere.
    pub(crate) fn forget_instances(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// `Root=1-<seconds, hex>-<96 bits, hex>;Parent=…;Sampled=0`.
pub(crate) fn new_trace_id(now_ms: i64) -> String {
    let random = uuid::Uuid::now_v7().simple().to_string();
    let seconds = now_ms / 1000;
    format!("Root=1-{seconds:08x}-{};Parent={};Sampled=0", &random[8..], &random[16..])
}
