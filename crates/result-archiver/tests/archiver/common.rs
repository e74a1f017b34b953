//! A store that fails and dawdles where a test wants it to, and records to archive.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    memory::MemoryStore,
    object_store::{
        DeleteObject, ETag, GetObject, GetOutcome, ListObjects, ListedObject, PutCondition, PutObject, PutOutcome,
        StoreError,
    },
};
use domain::{
    ArmAssignment, CandidateRecord, OutcomeEvent, PredictionId, PredictionRecord, ShadowCandidate, ShadowRecord, Tier,
    Timings, lake,
};
use jiff::Timestamp;
use result_archiver::Config;
use serde_json::{Value, json};

/// Which call of the store fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// The call, from 0.
    pub(crate) at: usize,
    /// Whether it takes effect although it fails.
    pub(crate) takes_effect: bool,
    /// Whether all later calls fail too: the process was killed.
    pub(crate) fatal: bool,
}

/// A memory store with faults, and with other tasks let in between its calls.
#[derive(Default)]
pub(crate) struct TestStore {
    pub(crate) inner: MemoryStore,
    calls: AtomicUsize,
    fault: Mutex<Option<Fault>>,
    dawdle: AtomicUsize,
}

enum Effect {
    Nothing,
    Fails,
    FailsAfterwards,
}

impl TestStore {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// From now on: counts anew, with a fault or without.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
        self.calls.store(0, Ordering::SeqCst);
    }

    /// Lets other tasks in before each call, as often as a sequence seeded with `seed` says.
    pub(crate) fn set_dawdle(&self, seed: usize) {
        self.dawdle.store(seed.max(1), Ordering::SeqCst);
    }

    async fn before(&self) -> Effect {
        let seed = self.dawdle.load(Ordering::SeqCst);
        if seed > 0 {
            // xorshift: a different number of turns each time.
            let next = seed ^ (seed << 13);
            let next = next ^ (next >> 7);
            let next = next ^ (next << 17);
            self.dawdle.store(next, Ordering::SeqCst);
            for _ in 0..next % 7 {
                tokio::task::yield_now().await;
            }
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match *self.fault.lock().unwrap() {
            Some(fault) if call == fault.at && fault.takes_effect => Effect::FailsAfterwards,
            Some(fault) if call == fault.at || (fault.fatal && call > fault.at) => Effect::Fails,
            _ => Effect::Nothing,
        }
    }
}

fn failed<T>(verb: &'static str, key: &str) -> Result<T, StoreError> {
    Err(StoreError::Unavailable { verb, key: key.to_owned(), detail: "fault of the test".to_owned() })
}

macro_rules! with_faults {
    ($self:ident, $verb:literal, $key:expr, $call:expr) => {
        match $self.before().await {
            Effect::Nothing => $call.await,
            Effect::Fails => failed($verb, $key),
            Effect::FailsAfterwards => {
                $call.await?;
                failed($verb, $key)
            }
        }
    };
}

#[async_trait]
impl GetObject for TestStore {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        with_faults!(self, "get", key, self.inner.get_object(key, if_none_match))
    }
}

#[async_trait]
impl PutObject for TestStore {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        with_faults!(self, "put", key, self.inner.put_object(key, bytes, condition))
    }
}

#[async_trait]
impl DeleteObject for TestStore {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        with_faults!(self, "delete", key, self.inner.delete_object(key))
    }
}

#[async_trait]
impl ListObjects for TestStore {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        with_faults!(self, "list", prefix, self.inner.list_objects(prefix))
    }
}

pub(crate) fn config() -> Config {
    Config { lake_bucket: "lake".to_owned(), memory_mb: 1024 }
}

/// The prediction number `seed`; a new hour every 4.
pub(crate) fn prediction(seed: u32) -> PredictionRecord {
    let at = Timestamp::from_second(1_769_860_800 + i64::from(seed / 4) * 3600 + i64::from(seed)).unwrap();
    let mut random = [0; 10];
    random[..4].copy_from_slice(&seed.to_be_bytes());
    PredictionRecord {
        prediction_id: PredictionId::new(at, random),
        model: "pickup-eta".parse().unwrap(),
        release_id: "0123456789abcdef".repeat(4).parse().unwrap(),
        spec_hash: "s".to_owned(),
        unit_id: None,
        ride_id: None,
        requested_at: at,
        answered_at: at,
        assignment: ArmAssignment::only("a"),
        tier: Tier::Endpoint,
        tier_reason: None,
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
        inputs: json!({"lat": 35.6}).as_object().unwrap().clone(),
        candidates: (0..2)
            .map(|car| CandidateRecord {
                candidate_id: format!("car-{car}").parse().unwrap(),
                inputs: domain::Inputs::new(),
                features: vec![Some(f64::from(seed)), None],
                prediction: f64::from(seed) / 3.0,
                fallback: 300.0,
                uncorrected: None,
                last_shown: None,
                shown: None,
                lower: None,
                upper: None,
            })
            .collect(),
        timings: Timings::default(),
    }
}

/// What a shadow arm said to the prediction number `seed`.
pub(crate) fn shadow(seed: u32) -> ShadowRecord {
    let PredictionRecord { prediction_id, model, release_id, answered_at, candidates, .. } = prediction(seed);
    ShadowRecord {
        prediction_id,
        model,
        release_id,
        arm: "challenger".to_owned(),
        endpoint: "e".to_owned(),
        variant: "v2".to_owned(),
        model_version: "2".to_owned(),
        answered_at,
        reason: None,
        endpoint_us: 3000,
        candidates: candidates
            .into_iter()
            .map(|one| ShadowCandidate { candidate_id: one.candidate_id, prediction: Some(one.prediction + 1.0) })
            .collect(),
    }
}

/// How the prediction number `seed` came out.
pub(crate) fn outcome(seed: u32) -> OutcomeEvent {
    let id = prediction(seed).prediction_id;
    let at = Timestamp::from_second(id.timestamp().as_second() + 400).unwrap();
    OutcomeEvent {
        prediction_id: id,
        candidate_id: Some("car-0".parse().unwrap()),
        observed_at: at,
        dispatched_at: None,
        arrived_at: Some(at),
        cancelled_at: None,
        metrics: std::collections::BTreeMap::new(),
    }
}

/// Puts an object past all faults.
pub(crate) async fn land(store: &TestStore, key: &str, text: &str) -> String {
    store.inner.put_object(key, Bytes::from(text.to_owned()), PutCondition::Always).await.unwrap();
    key.to_owned()
}

pub(crate) async fn land_prediction(store: &TestStore, record: &PredictionRecord) -> String {
    let key = lake::landing_prediction(&record.model, record.prediction_id);
    land(store, &key, &serde_json::to_string(record).unwrap()).await
}

pub(crate) async fn land_shadow(store: &TestStore, record: &ShadowRecord) -> String {
    let key = lake::landing_shadow(&record.model, record.prediction_id, &record.arm);
    land(store, &key, &serde_json::to_string(record).unwrap()).await
}

pub(crate) async fn land_outcome(store: &TestStore, event: &OutcomeEvent) -> String {
    let key = lake::landing_outcome(event.prediction_id, &event.digest());
    land(store, &key, &serde_json::to_string(event).unwrap()).await
}

/// An SQS event, one message per key, named by its key.
pub(crate) fn queue_event<'a>(keys: impl IntoIterator<Item = &'a String>) -> Value {
    let message = |key: &String| {
        let encoded = key.replace('+', "%2B").replace('=', "%3D").replace(' ', "+");
        let body = json!({"Records": [{
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "lake"}, "object": {"key": encoded}},
        }]});
        json!({"messageId": key, "eventSource": "aws:sqs", "body": body.to_string()})
    };
    json!({"Records": keys.into_iter().map(message).collect::<Vec<_>>()})
}

/// The identifiers of the messages that failed.
pub(crate) fn failures(answer: &Value) -> Vec<String> {
    let items = answer["batchItemFailures"].as_array().unwrap().iter();
    items.map(|item| item["itemIdentifier"].as_str().unwrap().to_owned()).collect()
}

/// The objects below a prefix.
pub(crate) fn below(store: &TestStore, prefix: &str) -> Vec<(String, Bytes)> {
    store.inner.contents().into_iter().filter(|(key, _)| key.starts_with(prefix)).collect()
}
