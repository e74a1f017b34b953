//! Faults for tests, apart from the normal ways.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::error::WarehouseError;

/// A fault that the warehouse is told to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// ReadRows ends with UNAVAILABLE after so many batches.
    CutStreams {
        /// Batches that still arrive.
        after_batches: u64,
        /// How many streams; `None`: all, until healed.
        times: Option<u64>,
    },
    /// Every batch of ReadRows comes so much later.
    SlowBatches {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// The REST API answers 503 `backendError`.
    RestUnavailable {
        /// How many requests; `None`: all, until healed.
        times: Option<u64>,
    },
    /// The REST API answers 403 `quotaExceeded`.
    QuotaExceeded {
        /// How many requests; `None`: all, until healed.
        times: Option<u64>,
    },
}

/// The faults in force.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// From now on there is this fault too.
    pub fn add(&self, fault: Fault) {
        self.all().push(fault);
    }

    /// No fault any more.
    pub fn heal(&self) {
        self.all().clear();
    }

    /// What is in force.
    pub fn list(&self) -> Vec<Fault> {
        self.all().clone()
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first fault that fits, used once.
    fn take<T>(&self, fits: impl Fn(&mut Fault) -> Option<(T, Option<&mut u64>)>) -> Option<T> {
        let mut all = self.all();
        for index in 0..all.len() {
            if let Some((found, left)) = fits(&mut all[index]) {
                if let Some(left) = left {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        all.remove(index);
                    }
                }
                return Some(found);
            }
        }
        None
    }

    /// What a REST request fails with, if it does.
    pub(crate) fn rest(&self) -> Option<WarehouseError> {
        self.take(|fault| match fault {
            Fault::RestUnavailable { times } => Some((
                WarehouseError::Backend("Visibility check was unavailable. Please retry the request.".into()),
                times.as_mut(),
            )),
            Fault::QuotaExceeded { times } => Some((
                WarehouseError::QuotaExceeded("Your project exceeded quota for api requests".into()),
                times.as_mut(),
            )),
            _ => None,
        })
    }

    /// After how many batches a stream that begins now is cut.
    pub(crate) fn cut(&self) -> Option<u64> {
        self.take(|fault| match fault {
            Fault::CutStreams { after_batches, times } => Some((*after_batches, times.as_mut())),
            _ => None,
        })
    }

    /// How much later a batch comes.
    pub(crate) fn delay(&self) -> Option<Duration> {
        self.take(|fault| match fault {
            Fault::SlowBatches { delay_ms } => Some((Duration::from_millis(*delay_ms), None)),
            _ => None,
        })
    }
}
