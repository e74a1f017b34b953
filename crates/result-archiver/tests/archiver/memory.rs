//! What is in memory at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use archive::{DecodeLimits, read_outcomes};
use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    memory::MemoryStore,
    object_store::{
        DeleteObject, ETag, GetObject, GetOutcome, LimitedOutcome, ListObjects, ListedObject, Object, PutCondition,
        PutObject, PutOutcome, StoreError,
    },
};
use domain::lake;
use result_archiver::{BatchOutcome, Config, LandingObject, S3Key, archive_batch, handle};
use serde_json::{Value, json};

use crate::common::{config, failures, outcome};

/// Bytes that are held, now and at most.
#[derive(Default)]
struct Held {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A body that tells when it is dropped.
struct Body {
    bytes: Bytes,
    held: Arc<Held>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.held.now.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

/// A store that counts the bodies that are held. As over a network, a body comes while others are on their way.
#[derive(Default)]
struct Weighing {
    inner: MemoryStore,
    held: Arc<Held>,
}

impl Weighing {
    async fn body(&self, object: Object) -> Object {
        let Object { bytes, etag } = object;
        let now = self.held.now.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
        self.held.most.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Object { bytes: Bytes::from_owner(Body { bytes, held: Arc::clone(&self.held) }), etag }
    }

    fn most(&self) -> usize {
        assert_eq!(self.held.now.load(Ordering::SeqCst), 0, "nothing is held at the end");
        self.held.most.load(Ordering::SeqCst)
    }

    /// Lands `count` objects of some lines each.
    async fn land(&self, count: u32) -> Vec<(String, usize)> {
        let mut landed = Vec::new();
        for object in 0..count {
            let lines = (0..20).map(|line| serde_json::to_string(&outcome(object * 20 + line)).unwrap() + "\n");
            let (key, lines) = (format!("landing/outcomes/{object:03}.jsonl"), lines.collect::<String>());
            landed.push((key.clone(), lines.len()));
            self.inner.put_object(&key, lines.into(), PutCondition::Always).await.unwrap();
        }
        landed
    }

    fn archived(&self) -> usize {
        let segments = self.inner.contents().into_iter().filter(|(key, _)| key.starts_with(lake::SEGMENTS));
        segments.map(|(_, bytes)| read_outcomes(bytes).unwrap().len()).sum()
    }

    fn left(&self) -> Vec<String> {
        self.inner.keys().into_iter().filter(|key| key.starts_with(lake::LANDING)).collect()
    }

    fn quarantined(&self) -> Vec<Value> {
        let documents = self.inner.contents().into_iter().filter(|(key, _)| key.starts_with("quarantine/"));
        documents.map(|(_, bytes)| serde_json::from_slice(&bytes).unwrap()).collect()
    }
}

#[async_trait]
impl GetObject for Weighing {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        match self.inner.get_object(key, if_none_match).await? {
            GetOutcome::Found(object) => Ok(GetOutcome::Found(self.body(object).await)),
            other => Ok(other),
        }
    }

    async fn get_object_within(&self, key: &str, max_bytes: u64) -> Result<LimitedOutcome, StoreError> {
        match self.inner.get_object_within(key, max_bytes).await? {
            LimitedOutcome::Found(object) => Ok(LimitedOutcome::Found(self.body(object).await)),
            other => Ok(other),
        }
    }
}

#[async_trait]
impl PutObject for Weighing {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        tokio::task::yield_now().await;
        self.inner.put_object(key, bytes, condition).await
    }
}

#[async_trait]
impl DeleteObject for Weighing {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete_object(key).await
    }
}

#[async_trait]
impl ListObjects for Weighing {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        self.inner.list_objects(prefix).await
    }
}

async fn archived(store: &Weighing, objects: Vec<LandingObject>, max_bytes: usize) -> BatchOutcome {
    let limits = DecodeLimits { max_decompressed_bytes: max_bytes as u64, ..DecodeLimits::default() };
    let outcome = archive_batch(store, objects, limits).await;
    assert!(outcome.failures.is_empty(), "{outcome:?}");
    outcome
}

#[tokio::test]
async fn what_is_in_flight_is_bound_by_bytes() {
    for sizes_are_known in [true, false] {
        let store = Weighing::default();
        let landed = store.land(30).await;
        let largest = landed.iter().map(|(_, bytes)| *bytes).max().unwrap();
        let sized = |(key, bytes): (String, usize)| LandingObject {
            key: S3Key::from_plain(key),
            size_bytes: sizes_are_known.then_some(bytes as u64),
        };
        let (max_bytes, count) = (largest * 5 / 2, landed.len());
        let BatchOutcome { summary, .. } = archived(&store, landed.into_iter().map(sized).collect(), max_bytes).await;
        assert_eq!((summary.objects, summary.records, store.archived()), (count, count * 20, count * 20));
        assert!(store.most() <= max_bytes, "{} bytes of bodies were held, {max_bytes} may be", store.most());
        assert!(store.most() > largest || !sizes_are_known, "several are on their way where they fit");
        assert!(store.left().is_empty() && summary.segments > 1, "{summary:?}");
    }
}

#[tokio::test]
async fn an_object_that_is_too_large_is_set_aside_alone_and_never_taken() {
    for sizes_are_known in [true, false] {
        let store = Weighing::default();
        let mut landed = store.land(3).await;
        let max_bytes = landed.iter().map(|(_, bytes)| *bytes).sum::<usize>();
        let line = serde_json::to_string(&outcome(1000)).unwrap() + "\n";
        let large = line.repeat(max_bytes / line.len() + 1);
        // One below a prefix that no table is known for is not taken either.
        for key in ["landing/outcomes/001-large.jsonl", "landing/unknown/large.bin"] {
            store.inner.put_object(key, large.clone().into(), PutCondition::Always).await.unwrap();
            landed.push((key.to_owned(), large.len()));
        }
        let sized = |(key, bytes): (String, usize)| LandingObject {
            key: S3Key::from_plain(key),
            size_bytes: sizes_are_known.then_some(bytes as u64),
        };
        let BatchOutcome { summary, .. } = archived(&store, landed.into_iter().map(sized).collect(), max_bytes).await;
        assert_eq!((summary.objects, summary.kept, summary.quarantined, summary.moved), (5, 2, 2, 0), "{summary:?}");
        assert_eq!((summary.records, store.archived()), (60, 60), "the rest of the batch");
        assert!(store.most() <= max_bytes, "{} bytes", store.most());
        assert_eq!(store.left(), ["landing/outcomes/001-large.jsonl", "landing/unknown/large.bin"]);
        for document in store.quarantined() {
            assert_eq!((&document["reason"], &document["offset"]), (&json!("too_large"), &json!(0)));
            let told = document["detail"].as_str().unwrap();
            assert!(told.contains(&format!("{} bytes", large.len())) && told.contains("split it"), "{told}");
        }
    }
}

#[tokio::test]
async fn the_message_of_an_object_that_is_too_large_is_acknowledged() {
    let (store, config) = (Weighing::default(), Config { memory_mb: 1, ..config() });
    let [(good, bytes)] = store.land(1).await.try_into().unwrap();
    let (large, size) = ("landing/outcomes/large.jsonl", config.decode_limits().max_decompressed_bytes + 1);
    store.inner.put_object(large, vec![b' '; size as usize].into(), PutCondition::Always).await.unwrap();
    let message = |key: &str, size: u64| {
        let body = json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "lake"}, "object": {"key": key, "size": size}}}]});
        json!({"messageId": key, "eventSource": "aws:sqs", "body": body.to_string()})
    };
    let event = json!({"Records": [message(large, size), message(&good, bytes as u64)]});
    // Delivered twice: the same.
    for _ in 0..2 {
        let answer = handle(&store, &config, &event, None).await.unwrap();
        assert!(failures(&answer).is_empty(), "no other try would read it: {answer}");
        let [document] = store.quarantined().try_into().unwrap();
        assert_eq!((&document["reason"], &document["landing_key"]), (&json!("too_large"), &json!(large)));
        assert_eq!((store.archived(), store.left(), store.most()), (20, vec![large.to_owned()], bytes));
    }
}
