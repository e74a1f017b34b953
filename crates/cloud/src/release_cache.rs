//! The release in force, kept while a function is warm.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{ModelName, Problem, Release, ReleaseId, ReleasePointer, lake};
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::object_store::{ETag, GetObject, GetOutcome, StoreError};

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

struct Cached<T> {
    active: Arc<ActiveRelease<T>>,
    pointer_etag: ETag,
    checked_at: Instant,
}

/// The release in force per model. A request takes one [`Arc`] and keeps it to its end, so no request mixes two
/// releases. After `ttl` the pointer is asked for with a conditional get; where that fails, the last good release is
/// served on.
pub struct ReleaseCache<S, T> {
    store: S,
    prepare: fn(&Release) -> Result<T, String>,
    ttl: Duration,
    cached: Mutex<HashMap<ModelName, Cached<T>>>,
}

impl<S: GetObject, T> ReleaseCache<S, T> {
    /// An empty cache. `prepare` is called once per release.
    pub fn new(store: S, ttl: Duration, prepare: fn(&Release) -> Result<T, String>) -> Self {
        Self { store, prepare, ttl, cached: Mutex::new(HashMap::new()) }
    }

    /// The store that releases are read from.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The release in force for `model`. Where one is known, the store is waited for at most `patience`, and after it the last
    /// good release is served. The first one is waited for two seconds at least.
    pub async fn get(&self, model: &ModelName, patience: Duration) -> Result<Arc<ActiveRelease<T>>, ReleaseError> {
        let mut cached = self.cached.lock().await;
        let known = cached.get(model);
        if let Some(known) = known
            && known.checked_at.elapsed() < self.ttl
        {
            return Ok(Arc::clone(&known.active));
        }
        let patience = if known.is_some() { patience } else { patience.max(FIRST_READ_PATIENCE) };
        let refreshed = match tokio::time::timeout(patience, self.refresh(model, known)).await {
            Ok(refreshed) => refreshed,
            Err(_) => Err(ReleaseError::Store(StoreError::Unavailable {
                verb: "get",
                key: lake::release_pointer(model),
                detail: format!("no answer within {} ms", patience.as_millis()),
            })),
        };
        match refreshed {
            Ok(fresh) => {
                let active = Arc::clone(&fresh.active);
                cached.insert(model.clone(), fresh);
                Ok(active)
            }
            Err(error) => match cached.get_mut(model) {
                Some(known) => {
                    warn!(%model, release_id = %known.active.id, reason = error.reason(), %error, "serving the last good release");
                    known.checked_at = Instant::now();
                    Ok(Arc::clone(&known.active))
                }
                None => Err(error),
            },
        }
    }

    async fn refresh(&self, model: &ModelName, known: Option<&Cached<T>>) -> Result<Cached<T>, ReleaseError> {
        let unusable = |detail: String| ReleaseError::Unusable { model: model.clone(), detail };
        let known_etag = known.map(|known| &known.pointer_etag);
        let pointer = match self.store.get_object(&lake::release_pointer(model), known_etag).await? {
            GetOutcome::Found(object) => object,
            GetOutcome::Missing => return Err(ReleaseError::NoRelease(model.clone())),
            GetOutcome::NotModified => {
                let known = known.ok_or_else(|| unusable("not modified since never".to_owned()))?;
                return Ok(Cached {
                    active: Arc::clone(&known.active),
                    pointer_etag: known.pointer_etag.clone(),
                    checked_at: Instant::now(),
                });
            }
        };
        let ReleasePointer { release_id: id, .. } =
            serde_json::from_slice(&pointer.bytes).map_err(|error| unusable(format!("pointer: {error}")))?;
        let key = lake::release(model, &id);
        let document = self.store.get_object(&key, None).await?.found();
        let document = document.ok_or_else(|| unusable(format!("`{key}` is missing")))?;
        if domain::digest::sha256_hex(&document.bytes) != id.as_str() {
            return Err(unusable(format!("`{key}` has another content than its address says")));
        }
        let release: Release =
            serde_json::from_slice(&document.bytes).map_err(|error| unusable(format!("`{key}`: {error}")))?;
        release.validate().and_then(|()| release.check_served()).map_err(|error| unusable(error.to_string()))?;
        let prepared = (self.prepare)(&release).map_err(unusable)?;
        info!(%model, release_id = %id, "release loaded");
        let active = Arc::new(ActiveRelease { id, release, prepared });
        Ok(Cached { active, pointer_etag: pointer.etag, checked_at: Instant::now() })
    }
}

#[cfg(test)]
mod tests {
    use domain::{Arm, FeatureSpecSource, Limits};

    use super::*;
    use crate::{
        memory::MemoryStore,
        object_store::{DeleteObject, PutCondition, PutObject},
    };

    const PATIENCE: Duration = Duration::from_secs(5);

    fn model() -> ModelName {
        "pickup-eta".parse().unwrap()
    }

    async fn publish(store: &MemoryStore, max_candidates: usize) -> ReleaseId {
        let release = Release::new(
            model(),
            jiff_timestamp(),
            FeatureSpecSource { hash: String::new(), toml: String::new() },
            vec![Arm { name: "a".into(), endpoint: "e".into(), variant: "v".into(), model_version: "1".into() }],
            Limits { max_candidates, default_deadline_ms: 500 },
        );
        let id = release.id().unwrap();
        let pointer = ReleasePointer::new(id.clone(), None, release.created_at);
        let pointer = serde_json::to_vec(&pointer).unwrap().into();
        store.put_object(&lake::release(&model(), &id), release.to_bytes().into(), PutCondition::Always).await.unwrap();
        store.put_object(&lake::release_pointer(&model()), pointer, PutCondition::Always).await.unwrap();
        id
    }

    fn jiff_timestamp() -> jiff::Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn cache(ttl: Duration) -> ReleaseCache<MemoryStore, usize> {
        ReleaseCache::new(MemoryStore::new(), ttl, |release| {
            if release.limits.max_candidates == 13 {
                Err("unlucky".to_owned())
            } else {
                Ok(release.limits.max_candidates)
            }
        })
    }

    #[tokio::test]
    async fn follows_the_pointer_after_its_ttl() {
        let cache = cache(Duration::ZERO);
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap_err().reason(), "no_release");
        publish(cache.store(), 10).await;
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().prepared, 10);
        let second = publish(cache.store(), 20).await;
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().id, second);
    }

    #[tokio::test]
    async fn keeps_the_last_good_release() {
        let cache = cache(Duration::ZERO);
        publish(cache.store(), 10).await;
        cache.get(&model(), PATIENCE).await.unwrap();
        publish(cache.store(), 13).await;
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().prepared, 10, "a release that cannot be prepared");
        cache.store().delete_object(&lake::release_pointer(&model())).await.unwrap();
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().prepared, 10, "a pointer that is gone");
    }

    #[tokio::test]
    async fn does_not_ask_again_within_its_ttl() {
        let cache = cache(Duration::from_mins(1));
        publish(cache.store(), 10).await;
        cache.get(&model(), PATIENCE).await.unwrap();
        publish(cache.store(), 20).await;
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().prepared, 10);
    }

    /// A store that never answers, once it is told so.
    struct Hangs(MemoryStore, std::sync::atomic::AtomicBool);

    #[async_trait::async_trait]
    impl GetObject for Hangs {
        async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
            if self.1.load(std::sync::atomic::Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.0.get_object(key, if_none_match).await
        }
    }

    #[tokio::test]
    async fn a_store_that_hangs_costs_no_more_than_the_patience() {
        let store = Hangs(MemoryStore::new(), false.into());
        publish(&store.0, 10).await;
        let cache = ReleaseCache::new(store, Duration::ZERO, |release| Ok(release.limits.max_candidates));
        cache.get(&model(), PATIENCE).await.unwrap();
        cache.store().1.store(true, std::sync::atomic::Ordering::Relaxed);
        let began = Instant::now();
        assert_eq!(cache.get(&model(), Duration::from_millis(20)).await.unwrap().prepared, 10);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let unknown = cache.get(&"other".parse().unwrap(), Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(unknown.reason(), "object_store_unavailable");
    }

    /// Answers after a while.
    struct Slow(MemoryStore);

    #[async_trait::async_trait]
    impl GetObject for Slow {
        async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.0.get_object(key, if_none_match).await
        }
    }

    #[tokio::test]
    async fn the_first_release_is_waited_for_whatever_the_patience() {
        let store = Slow(MemoryStore::new());
        publish(&store.0, 10).await;
        let cache = ReleaseCache::new(store, Duration::ZERO, |release| Ok(release.limits.max_candidates));
        assert_eq!(cache.get(&model(), Duration::ZERO).await.unwrap().prepared, 10);
        let missing = cache.get(&"other".parse().unwrap(), Duration::ZERO).await.unwrap_err();
        assert_eq!(missing.reason(), "no_release");
    }

    #[tokio::test]
    async fn refuses_a_document_that_was_tampered_with() {
        let cache = cache(Duration::ZERO);
        let id = publish(cache.store(), 10).await;
        cache.store().put_object(&lake::release(&model(), &id), "{}".into(), PutCondition::Always).await.unwrap();
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap_err().reason(), "release_unusable");
    }
}
