use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use domain::{Arm, FeatureSpecSource, Limits, ReleasePointer, digest::sha256_hex};

use super::*;
use crate::{
    memory::MemoryStore,
    object_store::{DeleteObject, GetOutcome, PutCondition, PutObject},
};

const PATIENCE: Duration = Duration::from_secs(5);

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

fn release(model: &ModelName, max_candidates: usize, tables: &[(&str, &str)]) -> Release {
    let arm = Arm { name: "a".into(), endpoint: "e".into(), variant: "v".into(), model_version: "1".into() };
    let lookups = tables.iter().map(|(name, text)| ((*name).to_owned(), sha256_hex(text.as_bytes())));
    Release {
        lookups: lookups.collect(),
        ..Release::new(
            model.clone(),
            jiff_timestamp(),
            FeatureSpecSource { hash: String::new(), toml: String::new() },
            vec![arm],
            Limits { max_candidates, default_deadline_ms: 500 },
        )
    }
}

async fn put(store: &MemoryStore, key: &str, bytes: impl Into<Bytes>) {
    store.put_object(key, bytes.into(), PutCondition::Always).await.unwrap();
}

async fn publish_release(store: &MemoryStore, release: &Release) -> ReleaseId {
    let id = release.id().unwrap();
    let pointer = ReleasePointer { release_id: id.clone(), previous: None, moved_at: release.created_at };
    put(store, &lake::release(&release.model, &id), release.to_bytes()).await;
    put(store, &lake::release_pointer(&release.model), serde_json::to_vec(&pointer).unwrap()).await;
    id
}

async fn publish(store: &MemoryStore, max_candidates: usize) -> ReleaseId {
    publish_release(store, &release(&model(), max_candidates, &[])).await
}

/// Tables are texts.
async fn publish_tables(store: &MemoryStore, model: &ModelName, tables: &[(&str, &str)]) -> ReleaseId {
    for (name, text) in tables {
        put(store, &lake::lookup_table(name, &sha256_hex(text.as_bytes())), text.as_bytes().to_vec()).await;
    }
    publish_release(store, &release(model, 10, tables)).await
}

fn jiff_timestamp() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn preparing() -> Preparing<usize, String> {
    Preparing {
        read_table: |_, _| Err("there is no table".to_owned()),
        table_sha256: String::as_str,
        prepare: |release, _| match release.limits.max_candidates {
            13 => Err("unlucky".to_owned()),
            max => Ok(max),
        },
    }
}

fn cache(ttl: Duration) -> ReleaseCache<MemoryStore, usize, String> {
    ReleaseCache::new(MemoryStore::new(), ttl, preparing())
}

/// Counts the gets of each key.
struct Counted(MemoryStore, Mutex<BTreeMap<String, usize>>);

impl Counted {
    fn new() -> Self {
        Self(MemoryStore::new(), Mutex::default())
    }

    fn gets(&self, key: &str) -> usize {
        self.1.lock().unwrap().get(key).copied().unwrap_or_default()
    }
}

#[async_trait::async_trait]
impl GetObject for Counted {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        let found = self.0.get_object(key, if_none_match).await;
        if !matches!(found, Ok(GetOutcome::NotModified)) {
            *self.1.lock().unwrap().entry(key.to_owned()).or_default() += 1;
        }
        found
    }
}

fn tables_cache<S: GetObject + 'static>(store: S) -> ReleaseCache<S, ReleaseTables<String>, String> {
    let preparing = Preparing {
        read_table: |_, bytes| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string()),
        table_sha256: |text| known_hash(text),
        prepare: |_, tables| Ok(tables),
    };
    ReleaseCache::new(store, Duration::ZERO, preparing)
}

fn known_hash(text: &str) -> &'static str {
    static HASHES: std::sync::OnceLock<BTreeMap<&str, String>> = std::sync::OnceLock::new();
    let texts = ["one", "two", "three", "another"];
    let hashes = HASHES.get_or_init(|| texts.map(|text| (text, sha256_hex(text.as_bytes()))).into());
    hashes.get(text).map_or("", String::as_str)
}

#[tokio::test]
async fn a_table_is_loaded_once_for_all_releases_that_pin_it() {
    let cache = tables_cache(Counted::new());
    let (store, other) = (&cache.store().0, "other".parse().unwrap());
    publish_tables(store, &model(), &[("drives", "one"), ("zones", "two")]).await;
    publish_tables(store, &other, &[("drives", "one")]).await;
    let first = cache.get(&model(), PATIENCE).await.unwrap();
    let second = cache.get(&other, PATIENCE).await.unwrap();
    assert_eq!(*first.prepared["zones"], "two");
    assert!(Arc::ptr_eq(&first.prepared["drives"], &second.prepared["drives"]));
    publish_tables(store, &model(), &[("drives", "one"), ("zones", "three")]).await;
    let third = cache.get(&model(), PATIENCE).await.unwrap();
    assert_eq!((third.prepared["drives"].as_str(), third.prepared["zones"].as_str()), ("one", "three"));
    let key = |name, text: &str| lake::lookup_table(name, &sha256_hex(text.as_bytes()));
    for (name, text) in [("drives", "one"), ("zones", "two"), ("zones", "three")] {
        assert_eq!(cache.store().gets(&key(name, text)), 1, "{name} {text}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_as_pinned_is_refused_until_it_is_mended() {
    let cache = tables_cache(MemoryStore::new());
    let store = cache.store();
    let key = lake::lookup_table("drives", &sha256_hex(b"one"));
    publish_tables(store, &model(), &[("drives", "one")]).await;
    put(store, &key, "another").await;
    let told = cache.get(&model(), PATIENCE).await.unwrap_err().to_string();
    assert!(told.contains(&key) && told.contains("another content"), "{told}");
    store.delete_object(&key).await.unwrap();
    let told = cache.get(&model(), PATIENCE).await.unwrap_err().to_string();
    assert!(told.contains(&key) && told.contains("is missing"), "{told}");
    put(store, &key, "one").await;
    assert_eq!(*cache.get(&model(), PATIENCE).await.unwrap().prepared["drives"], "one");
    // A release whose table is not there leaves the one before in force.
    publish_release(store, &release(&model(), 10, &[("drives", "two")])).await;
    assert_eq!(*cache.get(&model(), PATIENCE).await.unwrap().prepared["drives"], "one");
}

#[tokio::test]
async fn a_release_that_can_never_be_used_is_read_once() {
    let cache = ReleaseCache::new(Counted::new(), Duration::ZERO, preparing());
    let bad = publish(&cache.store().0, 13).await;
    for _ in 0..3 {
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap_err().reason(), "release_unusable");
    }
    assert_eq!(cache.store().gets(&lake::release(&model(), &bad)), 1);
    let good = publish(&cache.store().0, 10).await;
    assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().id, good);
    publish(&cache.store().0, 13).await;
    for _ in 0..3 {
        assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().id, good);
    }
    assert_eq!(cache.store().gets(&lake::release(&model(), &bad)), 2);
    // Back again: what is in memory serves, without a download.
    publish(&cache.store().0, 10).await;
    assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().id, good);
    assert_eq!(cache.store().gets(&lake::release(&model(), &good)), 1);
}

/// Holds the gets of one model's keys until it is told to let them go.
struct Held {
    store: MemoryStore,
    model: ModelName,
    open: tokio::sync::Semaphore,
    waiting: AtomicUsize,
}

#[async_trait::async_trait]
impl GetObject for Held {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        if key.contains(self.model.as_str()) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            drop(self.open.acquire().await);
        }
        self.store.get_object(key, if_none_match).await
    }
}

#[tokio::test]
async fn a_refresh_is_one_goes_on_and_holds_up_no_other_model() {
    let (slow, quick): (ModelName, ModelName) = ("slow".parse().unwrap(), "quick".parse().unwrap());
    let store = Held {
        store: MemoryStore::new(),
        model: slow.clone(),
        open: tokio::sync::Semaphore::new(64),
        waiting: AtomicUsize::new(0),
    };
    for model in [&slow, &quick] {
        publish_release(&store.store, &release(model, 10, &[])).await;
    }
    let cache = ReleaseCache::new(store, Duration::ZERO, preparing());
    assert_eq!(cache.get(&slow, PATIENCE).await.unwrap().prepared, 10);
    // From here on the store holds back the answers of one model.
    let held = cache.store().open.acquire_many(64).await.unwrap();
    publish_release(&cache.store().store, &release(&slow, 20, &[])).await;
    let before = cache.store().waiting.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(cache.get(&slow, Duration::from_millis(1)).await.unwrap().prepared, 10, "the last good one");
    }
    assert_eq!(cache.store().waiting.load(Ordering::SeqCst), before + 1, "one refresh, whatever their patience");
    assert_eq!(cache.get(&quick, PATIENCE).await.unwrap().prepared, 10, "while the other waits");
    drop(held);
    // The refresh that three requests gave up on comes to its end.
    assert_eq!(cache.get(&slow, PATIENCE).await.unwrap().prepared, 20);
}

#[tokio::test]
async fn what_panics_is_told_and_forgotten() {
    static PANICS: AtomicBool = AtomicBool::new(true);
    let prepare = |release: &Release, _| {
        assert!(!PANICS.load(Ordering::SeqCst), "once");
        Ok(release.limits.max_candidates)
    };
    let cache = ReleaseCache::new(MemoryStore::new(), Duration::ZERO, Preparing { prepare, ..preparing() });
    publish(cache.store(), 10).await;
    assert_eq!(cache.get(&model(), PATIENCE).await.unwrap_err().reason(), "release_unusable");
    PANICS.store(false, Ordering::SeqCst);
    publish(cache.store(), 20).await;
    assert_eq!(cache.get(&model(), PATIENCE).await.unwrap().prepared, 20);
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
struct Hangs(MemoryStore, AtomicBool);

#[async_trait::async_trait]
impl GetObject for Hangs {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        if self.1.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.0.get_object(key, if_none_match).await
    }
}

#[tokio::test]
async fn a_store_that_hangs_costs_no_more_than_the_patience() {
    let store = Hangs(MemoryStore::new(), false.into());
    publish(&store.0, 10).await;
    let cache = ReleaseCache::new(store, Duration::ZERO, preparing());
    cache.get(&model(), PATIENCE).await.unwrap();
    cache.store().1.store(true, Ordering::Relaxed);
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
    let cache = ReleaseCache::new(store, Duration::ZERO, preparing());
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
