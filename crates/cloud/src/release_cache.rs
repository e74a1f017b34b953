//! The release in force with its lookup tables, kept while a function is warm.

mod flight;
mod table_cache;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::{ModelName, Problem, Release, ReleaseId, lake};
use thiserror::Error;
use tokio::sync::watch;
use tracing::warn;

use self::table_cache::TableCache;
use crate::object_store::{ETag, GetObject, StoreError};

/// Why there is no release to serve from.
#[derive(Debug, Clone, Error)]
pub enum ReleaseError {
    /// No release of this model was ever published.
    #[error("model `{0}` has no release")]
    NoRelease(ModelName),
    /// The pointer or the document cannot be read, or its content is not what its address says.
    #[error("the release of model `{model}` cannot be used: {detail}")]
    Unusable {
        /// The model.
        model: ModelName,
        /// What is wrong.
        detail: String,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReleaseError {
    /// A stable code for answers, logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoRelease(_) => "no_release",
            Self::Unusable { .. } => "release_unusable",
            Self::Store(error) => error.reason(),
        }
    }
}

impl From<ReleaseError> for Problem {
    /// 404 where a model has no release, 503 where the one in force cannot be had.
    fn from(error: ReleaseError) -> Self {
        let detail = error.to_string();
        match &error {
            ReleaseError::NoRelease(_) => {
                Self::new(404, error.reason(), "No release", format!("{detail}; publish one first"))
            }
            ReleaseError::Unusable { .. } | ReleaseError::Store(_) => {
                Self::new(503, error.reason(), "No usable release", detail)
            }
        }
    }
}

/// A model's first release is waited for at least this long: without it there is no answer at all, not even a fallback's.
const FIRST_READ_PATIENCE: Duration = Duration::from_secs(2);

/// A release, and what the function made of it (a compiled spec).
#[derive(Debug)]
pub struct ActiveRelease<T> {
    /// The release's id.
    pub id: ReleaseId,
    /// The document.
    pub release: Release,
    /// What `prepare` made of it.
    pub prepared: T,
}

/// A release's lookup tables by name.
pub type ReleaseTables<L> = BTreeMap<String, Arc<L>>;

/// What a function makes of releases. Both may compute for long: they run on a thread for that.
pub struct Preparing<T, L> {
    /// Reads the object of the lookup table of that name.
    pub read_table: fn(&str, Bytes) -> Result<L, String>,
    /// The SHA-256 of a table's content, which is compared with the one that a release pins.
    pub table_sha256: fn(&L) -> &str,
    /// Makes of a release and its tables what serves. Called once per release. Tables live as long as what is made of them.
    pub prepare: fn(&Release, ReleaseTables<L>) -> Result<T, String>,
}

/// The release in force per model. A request takes one [`Arc`] and keeps it to its end, so no request mixes two
/// releases. After `ttl` the pointer is asked for with a conditional get, by a task of its own: one per model at a time,
/// which goes on where a request's patience ends. Where it fails, the last good release is served on.
///
/// Lookup tables are loaded once, whichever releases and models pin them. A release that cannot be used, whatever else may
/// happen, is not looked at again until the pointer moves.
pub struct ReleaseCache<S, T, L> {
    shared: Arc<Shared<S, T, L>>,
    ttl: Duration,
}

struct Shared<S, T, L> {
    store: S,
    preparing: Preparing<T, L>,
    tables: TableCache<L>,
    slots: Mutex<HashMap<ModelName, Slot<T>>>,
}

/// What is known of one model.
struct Slot<T> {
    /// The last good release.
    active: Option<Arc<ActiveRelease<T>>>,
    /// The pointer that was read last, and why its release is not served, where it cannot be.
    pointer: Option<(ETag, Option<ReleaseError>)>,
    checked_at: Option<Instant>,
    /// The refresh under way.
    flight: Option<watch::Receiver<Option<Served<T>>>>,
}

type Served<T> = Result<Arc<ActiveRelease<T>>, ReleaseError>;

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { active: None, pointer: None, checked_at: None, flight: None }
    }
}

impl<T> Slot<T> {
    /// What is served of what is known; `None` where nothing is.
    fn served(&self) -> Option<Served<T>> {
        match (&self.active, &self.pointer) {
            (Some(active), _) => Some(Ok(Arc::clone(active))),
            (None, Some((_, Some(refused)))) => Some(Err(refused.clone())),
            (None, _) => None,
        }
    }
}

impl<S, T, L> Shared<S, T, L> {
    fn locked(&self) -> MutexGuard<'_, HashMap<ModelName, Slot<T>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, T, L> ReleaseCache<S, T, L>
where
    S: GetObject + 'static,
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    /// An empty cache.
    pub fn new(store: S, ttl: Duration, preparing: Preparing<T, L>) -> Self {
        let shared = Shared { store, preparing, tables: TableCache::default(), slots: Mutex::default() };
        Self { shared: Arc::new(shared), ttl }
    }

    /// The store that releases are read from.
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// The release in force for `model`. Where one is known, the store is waited for at most `patience`, and after it the last
    /// good release is served. The first one is waited for two seconds at least.
    ///
    /// # Errors
    /// No release is known, and none could be had.
    pub async fn get(&self, model: &ModelName, patience: Duration) -> Result<Arc<ActiveRelease<T>>, ReleaseError> {
        let (mut flight, is_known) = {
            let mut slots = self.shared.locked();
            let slot = slots.entry(model.clone()).or_default();
            if slot.checked_at.is_some_and(|at| at.elapsed() < self.ttl)
                && let Some(served) = slot.served()
            {
                return served;
            }
            let flight = slot.flight.get_or_insert_with(|| Shared::depart(&self.shared, model));
            (flight.clone(), slot.active.is_some())
        };
        let patience = if is_known { patience } else { patience.max(FIRST_READ_PATIENCE) };
        let why = match tokio::time::timeout(patience, flight.wait_for(Option::is_some)).await {
            Ok(Ok(served)) => match served.as_ref() {
                Some(served) => return served.clone(),
                None => "the refresh came to nothing".to_owned(),
            },
            Ok(Err(_)) => "the refresh was broken off".to_owned(),
            Err(_) => format!("no answer within {} ms", patience.as_millis()),
        };
        let error = ReleaseError::Store(StoreError::Unavailable {
            verb: "get",
            key: lake::release_pointer(model),
            detail: why,
        });
        self.do_without(model, &flight, error)
    }

    /// What is served where a refresh does not come to its end in time.
    fn do_without(
        &self,
        model: &ModelName,
        flight: &watch::Receiver<Option<Served<T>>>,
        error: ReleaseError,
    ) -> Result<Arc<ActiveRelease<T>>, ReleaseError> {
        let mut slots = self.shared.locked();
        let Some(slot) = slots.get_mut(model) else { return Err(error) };
        // One that panicked will not land.
        if flight.has_changed().is_err() && slot.flight.as_ref().is_some_and(|other| other.same_channel(flight)) {
            slot.flight = None;
        }
        let Some(active) = &slot.active else { return Err(error) };
        warn!(%model, release_id = %active.id, reason = error.reason(), %error, "serving the last good release");
        // Requests within the next `ttl` need not wait too.
        slot.checked_at = Some(Instant::now());
        Ok(Arc::clone(active))
    }

    /// Lookup tables by name and pinned hash, as for a release.
    ///
    /// # Errors
    /// A table is not there, or has another content than its address says.
    pub async fn tables(
        &self,
        model: &ModelName,
        pinned: &BTreeMap<String, String>,
    ) -> Result<ReleaseTables<L>, ReleaseError> {
        self.shared.load_tables(model, pinned).await.map_err(|failure| failure.error)
    }
}

#[cfg(test)]
mod tests;
