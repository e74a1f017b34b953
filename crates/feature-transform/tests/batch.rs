//! Raw objects to training views, over an in-memory lake.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    config::Environment,
    memory::MemoryStore,
    object_store::{
        ETag, GetObject, GetOutcome, GetRange, HeadObject, MultipartUpload, ObjectHead, PutCondition, PutMultipart,
        PutObject, PutOutcome, RangeOutcome, StoreError,
    },
    release_cache::ReleaseCache,
};
use domain::{Arm, FeatureSpecSource, Limits, ModelName, Release, ReleasePointer, lake};
use evaluation::drift::TrainingBaseline;
use feature_batch::LookupFile;
use feature_transform::{BatchStore, Config, Service, Trigger, parse_event, preparing};
use features::{LookupKeys, LookupTable, LookupValues, Plan};
use jiff::Timestamp;
use serde_json::{Value, json};

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");
const EVENT: &str = include_str!("../../../events/feature-transform-sqs.json");
const COMMAND: &str = include_str!("../../../events/feature-transform-command.json");
const BUCKET: &str = "mannen-lake-123456789012";
const KEY: &str = "raw/pickup-eta/dt=2026-01-31/trips from New York.csv";
const RAW: &str = "requested_at,rider_lat,rider_lon,car_lat,car_lon,rain_mm,drive_s,trip\n\
                   2018-06-01T22:24:30Z,40.75,-73.98,40.76,-73.97,2.5,421.5,a\n\
                   2018-06-01T22:24:30Z,40.75,-73.98,91,-73.97,,300,b\n\
                   2018-06-01T22:24:30Z,40.75,-73.98,40.75,-73.98,,60,c\n";

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

fn hash() -> String {
    Plan::compile("f", SPEC).unwrap().hash().to_owned()
}

async fn publish(store: &MemoryStore) {
    let release = Release::new(
        model(),
        "2026-01-01T00:00:00Z".parse().unwrap(),
        FeatureSpecSource { hash: hash(), toml: SPEC.to_owned() },
        vec![Arm { name: "only".into(), endpoint: "e".into(), variant: "v".into(), model_version: "1".into() }],
        Limits { max_candidates: 3, default_deadline_ms: 400 },
    );
    let id = release.id().unwrap();
    let pointer = ReleasePointer::new(id.clone(), None, release.created_at);
    let pointer = serde_json::to_vec(&pointer).unwrap();
    put(store, &lake::release(&model(), &id), release.to_bytes()).await;
    put(store, &lake::release_pointer(&model()), pointer).await;
}

async fn put(store: &MemoryStore, key: &str, bytes: impl Into<Bytes>) {
    store.put_object(key, bytes.into(), PutCondition::Always).await.unwrap();
}

fn service<S: BatchStore + Clone>(store: S) -> Service<S> {
    let environment = [
        ("LAKE_BUCKET", BUCKET),
        ("DEFAULT_MODEL", "pickup-eta"),
        ("TRAINING_VIEW_FORMAT", "csv"),
        ("BATCH_THREADS", "2"),
    ];
    let config = Config::from_environment(&Environment::of_table(&environment)).unwrap();
    Service::new(config, store.clone(), ReleaseCache::new(store, Duration::from_secs(5), preparing()))
}

async fn handle<S: BatchStore + Clone>(store: &S, event: &Value) -> Result<Value, &'static str> {
    service(store.clone()).handle(event, Timestamp::now()).await.map_err(|error| error.reason())
}

fn event() -> Value {
    serde_json::from_str(EVENT).unwrap()
}

/// The event with another text for its key.
fn event_about(encoded_key: &str) -> Value {
    serde_json::from_str(&EVENT.replace("raw/pickup-eta/dt%3D2026-01-31/trips+from+New+York.csv", encoded_key)).unwrap()
}

fn outputs(store: &MemoryStore) -> Vec<(String, String)> {
    let ours = store.contents().into_iter().filter(|(key, _)| key.starts_with("datasets/"));
    ours.map(|(key, bytes)| (key, String::from_utf8_lossy(&bytes).into_owned())).collect()
}

#[test]
fn the_sample_events_are_what_aws_sends() {
    use aws_lambda_events::{s3::S3Event, sqs::SqsEvent};
    let sqs: SqsEvent = serde_json::from_str(EVENT).unwrap();
    serde_json::from_str::<S3Event>(sqs.records[0].body.as_ref().unwrap()).unwrap();
    let Trigger::Messages(messages) = parse_event(&event()).unwrap() else { panic!() };
    assert_eq!(messages[0].objects[0].as_ref().unwrap().key.as_str(), KEY);
    let Trigger::Transform(command) = parse_event(&serde_json::from_str(COMMAND).unwrap()).unwrap() else { panic!() };
    assert_eq!(command.input, KEY);
    for event in [
        json!({}),
        json!({"transform": {"model": "pickup-eta"}}),
        json!({"transform": {"model": "m", "input": "k", "x": 1}}),
    ] {
        assert_eq!(parse_event(&event).unwrap_err().reason(), "unknown_event");
    }
}

#[tokio::test]
async fn a_raw_object_becomes_a_view_rejects_and_a_summary() {
    let store = MemoryStore::new();
    publish(&store).await;
    put(&store, KEY, RAW).await;
    assert_eq!(handle(&store, &event()).await.unwrap(), json!({"batchItemFailures": []}));
    let mut outputs = outputs(&store);
    let etag = store.head_object(KEY).await.unwrap().unwrap().etag;
    let digest = lake::raw_object_digest(KEY, &etag.0);
    let (view_key, rejects_key, run_key) = (
        lake::feature_view(&model(), &hash(), "csv", &digest),
        lake::feature_rejects(&model(), &hash(), &digest),
        lake::feature_run(&model(), &hash(), "csv", &digest),
    );
    // The view's distributions, which are the model's own as well, since it had none.
    let (baseline_key, baseline) = outputs.remove(0);
    assert_eq!(baseline_key, lake::view_baseline(&model(), &hash(), &digest));
    let of_model = store.get_object(&lake::training_baseline(&model(), &hash()), None).await.unwrap().found().unwrap();
    assert_eq!(baseline.as_bytes(), of_model.bytes);
    let baseline = TrainingBaseline::from_json(&of_model.bytes).unwrap();
    assert_eq!((baseline.rows, baseline.columns.len()), (2, 22));
    assert_eq!(baseline.columns[9].missing, 2, "{:?}", baseline.columns[9]);
    let keys: Vec<&str> = outputs.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, [&view_key, &rejects_key, &run_key]);
    let view: Vec<Vec<&str>> = outputs[0].1.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(view.len(), 2);
    assert_eq!((view[0][0], view[1][0]), ("421.5", "60"));
    // The label and the spec's 21 outputs; the distance of the second is 0; no car zone is known.
    assert_eq!((view[1].len(), view[1][1], view[1][10]), (22, "0", ""));
    let reject: Value = serde_json::from_str(outputs[1].1.trim_end()).unwrap();
    assert_eq!(
        (&reject["source"], &reject["row"], &reject["reason"]),
        (&json!(KEY), &json!(1), &json!("out_of_range"))
    );
    assert_eq!(reject["offset"], json!(RAW.find("2018-06-01T22:24:30Z,40.75,-73.98,91").unwrap()));
    let run: Value = serde_json::from_str(&outputs[2].1).unwrap();
    assert_eq!((&run["rows"], &run["written"], &run["rejected"]), (&json!(3), &json!(2), &json!({"out_of_range": 1})));
    assert_eq!((&run["view"], &run["rejects"], &run["etag"]), (&json!(view_key), &json!(rejects_key), &json!(etag.0)));
    assert_eq!(run["sources"][0]["unused_columns"], json!(["trip"]));
}

#[tokio::test]
async fn an_event_delivered_again_changes_nothing() {
    let store = MemoryStore::new();
    publish(&store).await;
    put(&store, KEY, RAW).await;
    handle(&store, &event()).await.unwrap();
    let first = store.contents();
    handle(&store, &event()).await.unwrap();
    assert_eq!(store.contents(), first);
    let command: Value = serde_json::from_str(COMMAND).unwrap();
    assert_eq!(handle(&store, &command).await.unwrap()["transformed"][0]["outcome"], "already_transformed");
    // As after a crash before the summary: the same bytes again.
    for (key, _) in first.iter().filter(|(key, _)| key.contains("/runs/")) {
        cloud::object_store::DeleteObject::delete_object(&store, key).await.unwrap();
    }
    assert_eq!(handle(&store, &command).await.unwrap()["transformed"][0]["outcome"], "transformed");
    assert_eq!(store.contents(), first);
    // Other formats and specs lie beside it.
    let spec_key = "datasets/pickup-eta/specs/trial.toml";
    put(&store, spec_key, SPEC.replace("COALESCE(rain_mm, 0)", "COALESCE(rain_mm, 1)")).await;
    let other = json!({"transform": {"model": "pickup-eta", "input": KEY, "format": "parquet", "spec": spec_key}});
    let answer = handle(&store, &other).await.unwrap();
    let view = answer["transformed"][0]["view"].as_str().unwrap();
    assert!(view.ends_with(".parquet") && !view.contains(&hash()), "{view}");
    let bytes = store.get_object(view, None).await.unwrap().found().unwrap().bytes;
    let reader = parquet::file::serialized_reader::SerializedFileReader::new(bytes).unwrap();
    assert_eq!(parquet::file::reader::FileReader::metadata(&reader).file_metadata().num_rows(), 2);
}

#[tokio::test]
async fn another_lookup_table_is_another_view() {
    let store = MemoryStore::new();
    publish(&store).await;
    put(&store, KEY, RAW).await;
    let declared = "[lookups.hours]\nkeys = { local_hour = \"int\" }\nvalues = { mean_s = \"float\" }\n[features]\nhour_s = \
                    \"LOOKUP('hours', local_hour, 'mean_s', 600)\"";
    let spec = SPEC.replace("[features]", declared).replace("  \"distance_m\",", "  \"hour_s\",");
    let spec_key = "datasets/pickup-eta/specs/trial.toml";
    put(&store, spec_key, spec).await;
    let transform = async |sha256: &str| {
        let lookups = json!({"hours": sha256});
        let command = json!({"model": "pickup-eta", "input": KEY, "spec": spec_key, "lookups": lookups});
        handle(&store, &json!({"transform": command})).await
    };
    let mut views = Vec::new();
    for mean_s in [250.0, 350.0] {
        let keys = vec![("local_hour".to_owned(), LookupKeys::Int(vec![18]))];
        let values = vec![("mean_s".to_owned(), LookupValues::Float(vec![mean_s]))];
        let table = LookupTable::from_columns(keys, values).unwrap();
        let key = lake::lookup_table("hours", table.sha256());
        let sha256 = table.sha256().to_owned();
        put(&store, &key, LookupFile { table, made: None }.to_parquet().unwrap()).await;
        let answer = transform(&sha256).await.unwrap();
        let view = answer["transformed"][0]["view"].as_str().unwrap().to_owned();
        let bytes = store.get_object(&view, None).await.unwrap().found().unwrap().bytes;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(text.split(',').nth(1).unwrap().parse::<f64>().unwrap(), mean_s, "{text}");
        views.push(view);
    }
    assert_ne!(views[0], views[1]);
    assert_eq!(transform(&"0".repeat(64)).await, Err("release_unusable"));
}

#[tokio::test]
async fn what_cannot_be_transformed_is_told_and_acknowledged() {
    let store = MemoryStore::new();
    publish(&store).await;
    put(&store, KEY, "a,b\n1,2\n").await;
    assert_eq!(handle(&store, &event()).await.unwrap(), json!({"batchItemFailures": []}));
    let outputs = outputs(&store);
    assert_eq!(outputs.len(), 2, "no view: {outputs:?}");
    let reject: Value = serde_json::from_str(outputs[0].1.trim_end()).unwrap();
    assert_eq!((&reject["row"], &reject["reason"]), (&json!(null), &json!("column_missing")));
    let run: Value = serde_json::from_str(&outputs[1].1).unwrap();
    assert_eq!(run["failure"]["reason"], "column_missing");
    assert!(run["failure"]["detail"].as_str().unwrap().contains("requested_at"), "{run}");
}

#[tokio::test]
async fn messages_fail_and_are_acknowledged_one_by_one() {
    let store = MemoryStore::new();
    let failed = json!({"batchItemFailures": [{"itemIdentifier": "1b3c5d7e-87a3-44ab-83d2-661975830a7d"}]});
    put(&store, KEY, RAW).await;
    assert_eq!(handle(&store, &event()).await.unwrap(), failed, "no release yet");
    publish(&store).await;
    let acknowledged = json!({"batchItemFailures": []});
    for key in ["landing/outcomes/x.json", "raw/x.csv", "raw/pickup-eta/gone.csv"] {
        assert_eq!(handle(&store, &event_about(key)).await.unwrap(), acknowledged, "{key}");
    }
    let foreign: Value = serde_json::from_str(&EVENT.replace(BUCKET, "another")).unwrap();
    assert_eq!(handle(&store, &foreign).await.unwrap(), acknowledged);
    assert!(outputs(&store).is_empty());
    // Direct deliveries say so.
    let body: Value = serde_json::from_str(event()["Records"][0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(handle(&store, &body).await.unwrap()["transformed"][0]["written"], 2);
    let body: Value = serde_json::from_str(foreign["Records"][0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(handle(&store, &body).await.unwrap_err(), "foreign_bucket");
    let bridge = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": BUCKET}, "object": {"key": KEY}}});
    assert_eq!(handle(&store, &bridge).await.unwrap()["transformed"][0]["outcome"], "already_transformed");
}

/// A store whose calls fail from the n-th on, before or after they take effect.
#[derive(Clone)]
struct Faulty {
    store: MemoryStore,
    calls_left: Arc<AtomicU64>,
}

impl Faulty {
    fn call(&self, verb: &'static str, key: &str) -> Result<(), StoreError> {
        let left = self.calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let unavailable = || StoreError::Unavailable { verb, key: key.to_owned(), detail: "injected".to_owned() };
        left.map(drop).map_err(|_| unavailable())
    }
}

#[async_trait]
impl GetObject for Faulty {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        self.call("get", key)?;
        self.store.get_object(key, if_none_match).await
    }
}

#[async_trait]
impl HeadObject for Faulty {
    async fn head_object(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        self.call("head", key)?;
        self.store.head_object(key).await
    }
}

#[async_trait]
impl GetRange for Faulty {
    async fn get_range(&self, key: &str, range: Range<u64>, if_match: &ETag) -> Result<RangeOutcome, StoreError> {
        self.call("get", key)?;
        self.store.get_range(key, range, if_match).await
    }
}

#[async_trait]
impl PutObject for Faulty {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        self.call("put", key)?;
        let outcome = self.store.put_object(key, bytes, condition).await?;
        self.call("put", key)?;
        Ok(outcome)
    }
}

#[async_trait]
impl PutMultipart for Faulty {
    async fn put_multipart(&self, key: &str) -> Result<Box<dyn MultipartUpload>, StoreError> {
        self.call("put", key)?;
        Ok(Box::new(FaultyUpload { upload: self.store.put_multipart(key).await?, faults: self.clone() }))
    }
}

struct FaultyUpload {
    upload: Box<dyn MultipartUpload>,
    faults: Faulty,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    async fn put_part(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.faults.call("put", "part")?;
        self.upload.put_part(bytes).await
    }

    async fn complete(self: Box<Self>) -> Result<ETag, StoreError> {
        self.faults.call("put", "complete")?;
        self.upload.complete().await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.upload.abort().await
    }
}

/// A raw object whose view needs several parts, and which is read in several blocks.
fn long_raw() -> String {
    let header = RAW.lines().next().unwrap();
    let lines = (0..60_000).map(|row| {
        format!(
            "2018-06-01T22:24:30Z,40.75,-73.98,{},-73.97,{},{},a\n",
            40.0 + f64::from(row) / 7e4,
            row % 7,
            30 + row % 900
        )
    });
    std::iter::once(format!("{header}\n")).chain(lines).collect()
}

#[tokio::test]
async fn wherever_the_store_fails_the_message_comes_back_and_the_next_try_ends_the_same() {
    let raw = MemoryStore::new();
    publish(&raw).await;
    put(&raw, KEY, long_raw()).await;
    let whole = MemoryStore::new();
    for (key, bytes) in raw.contents() {
        put(&whole, &key, bytes).await;
    }
    let count = Arc::new(AtomicU64::new(1_000_000));
    handle(&Faulty { store: whole.clone(), calls_left: Arc::clone(&count) }, &event()).await.unwrap();
    let calls = 1_000_000 - count.load(Ordering::Relaxed);
    let outputs = outputs(&whole);
    let view = outputs.iter().find(|(key, _)| key.contains("/features/")).unwrap();
    assert!(view.1.len() > 8 * 1024 * 1024, "in parts");
    assert!(calls > 9, "{calls}");
    let store = MemoryStore::new();
    for (key, bytes) in raw.contents() {
        put(&store, &key, bytes).await;
    }
    for calls_left in 0..calls {
        let faulty = Faulty { store: store.clone(), calls_left: Arc::new(AtomicU64::new(calls_left)) };
        let answer = handle(&faulty, &event()).await.unwrap();
        assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 1, "{calls_left} of {calls}");
        let runs = store.keys().iter().filter(|key| key.contains("/runs/")).count();
        if runs > 0 {
            // The last call: the summary was put, but its answer lost.
            assert_eq!(calls_left, calls - 1);
        }
    }
    assert_eq!(handle(&store, &event()).await.unwrap(), json!({"batchItemFailures": []}));
    assert!(store.contents() == whole.contents());
}
