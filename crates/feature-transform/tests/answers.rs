//! The function over an in-memory lake.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use cloud::{
    http::HttpEvent,
    memory::MemoryStore,
    object_store::{PutCondition, PutObject},
    release_cache::ReleaseCache,
};
use domain::{Arm, FeatureSpecSource, Limits, ModelName, Problem, Release, ReleasePointer, lake};
use feature_transform::{FeaturesAnswer, answer, preparing};
use features::{LookupTable, Plan, Transformer};

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");
const EVENT: &str = include_str!("../../../events/feature-transform.json");

async fn releases() -> ReleaseCache<MemoryStore, Transformer, LookupTable> {
    let store = MemoryStore::new();
    let release = Release::new(
        model(),
        "2026-01-01T00:00:00Z".parse().unwrap(),
        FeatureSpecSource { hash: Plan::compile("f", SPEC).unwrap().hash().to_owned(), toml: SPEC.to_owned() },
        vec![Arm { name: "only".into(), endpoint: "e".into(), variant: "v".into(), model_version: "1".into() }],
        Limits { max_candidates: 3, default_deadline_ms: 400 },
    );
    let id = release.id().unwrap();
    let pointer = ReleasePointer { release_id: id.clone(), previous: None, moved_at: release.created_at };
    let pointer = serde_json::to_vec(&pointer).unwrap().into();
    store.put_object(&lake::release(&model(), &id), release.to_bytes().into(), PutCondition::Always).await.unwrap();
    store.put_object(&lake::release_pointer(&model()), pointer, PutCondition::Always).await.unwrap();
    ReleaseCache::new(store, Duration::from_secs(5), preparing())
}

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

#[tokio::test]
async fn gives_the_features_that_the_proxy_would_use() {
    let event: HttpEvent = serde_json::from_str(EVENT).unwrap();
    let answer = answer(&releases().await, &model(), &event, jiff::Timestamp::now()).await;
    assert_eq!(answer.status_code, 200, "{}", answer.body);
    let answer: FeaturesAnswer = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer.candidates.len(), 3);
    let column = answer.features.iter().position(|name| name == "car_zone").unwrap();
    let zones: Vec<_> = answer.candidates.iter().map(|candidate| candidate.values[column]).collect();
    assert_eq!(zones, [Some(230.0), Some(113.0), Some(161.0)]);
}

#[tokio::test]
async fn tells_what_is_wrong() {
    let releases = releases().await;
    let event: HttpEvent = serde_json::from_str(EVENT).unwrap();
    let cases = [
        ("car_lat", "car_latitude", 422, "invalid_inputs"),
        ("\"unit_id\"", "\"model\": \"other\", \"unit_id\"", 404, "no_release"),
        ("unit_id", "unit", 422, "unknown_field"),
    ];
    for (from, to, status, reason) in cases {
        let event = HttpEvent { body: event.body.as_ref().map(|body| body.replace(from, to)), ..event.clone() };
        let answer = answer(&releases, &model(), &event, jiff::Timestamp::now()).await;
        let problem: Problem = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status_code, problem.reason.as_str()), (status, reason), "{}", answer.body);
    }
}
