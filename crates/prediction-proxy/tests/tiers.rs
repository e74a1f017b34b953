//! From tier to tier, over an in-memory lake and endpoints that behave as each test says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cloud::{
    endpoint::{Answer, Invocation as EndpointInvocation, InvokeEndpoint, InvokeError, InvokeErrorKind},
    http::HttpEvent,
    memory::MemoryStore,
    object_store::{ETag, GetObject, GetOutcome, PutCondition, PutObject, PutOutcome, StoreError},
    release_cache::ReleaseCache,
};
use domain::{
    Arm, BreakerPolicy, EndpointCalling, FeatureSpecSource, Limits, PredictionRecord, Release, ReleasePointer,
    RowFormat, Tier, lake,
};
use features::Plan;
use jiff::Timestamp;
use prediction_proxy::{Config, Invocation, PredictionAnswer, Proxy, answer, preparing};
use serde_json::{Value, json};

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");
const EVENT: &str = include_str!("../../../events/prediction-proxy.json");

#[derive(Clone, Copy)]
enum Behaviour {
    /// Answers each row with its first feature, after so many milliseconds.
    After(u64),
    Fails(InvokeErrorKind),
    /// Fails for the rows that come second of several parts.
    FailsSecondPart,
}

/// Endpoints by variant; what is not told is healthy.
#[derive(Default)]
struct Endpoints {
    /// What each variant does, call by call; the last stays.
    behaviours: Mutex<HashMap<&'static str, Vec<Behaviour>>>,
    calls: Mutex<Vec<EndpointInvocation>>,
}

impl Endpoints {
    fn set(&self, variant: &'static str, behaviours: &[Behaviour]) {
        self.behaviours.lock().unwrap().insert(variant, behaviours.to_vec());
    }

    fn take_calls(&self) -> Vec<EndpointInvocation> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn next(&self, variant: &str) -> Behaviour {
        let mut behaviours = self.behaviours.lock().unwrap();
        match behaviours.get_mut(variant) {
            None => Behaviour::After(0),
            Some(left) if left.len() > 1 => left.remove(0),
            Some(left) => left[0],
        }
    }
}

/// The first feature of each row of a body.
fn first_features(invocation: &EndpointInvocation) -> Vec<f64> {
    let text = std::str::from_utf8(&invocation.body).unwrap();
    let row = |row: &Value| row["features"][0].as_f64().unwrap();
    match invocation.content_type {
        "text/csv" => text.lines().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect(),
        "application/json" => {
            serde_json::from_str::<Value>(text).unwrap()["instances"].as_array().unwrap().iter().map(row).collect()
        }
        "application/jsonlines" => text.lines().map(|line| row(&serde_json::from_str(line).unwrap())).collect(),
        other => panic!("{other}"),
    }
}

#[async_trait]
impl InvokeEndpoint for Endpoints {
    async fn invoke_endpoint(&self, invocation: EndpointInvocation) -> Result<Answer, InvokeError> {
        self.calls.lock().unwrap().push(invocation.clone());
        let failure = |kind| Err(InvokeError { kind, detail: "as told".to_owned() });
        match self.next(&invocation.variant) {
            Behaviour::After(ms) => {
                let wait = Duration::from_millis(ms);
                tokio::time::sleep(wait.min(invocation.timeout)).await;
                if wait >= invocation.timeout {
                    return failure(InvokeErrorKind::Timeout);
                }
            }
            Behaviour::Fails(kind) => return failure(kind),
            Behaviour::FailsSecondPart if invocation.inference_id.ends_with("-2") => {
                return failure(InvokeErrorKind::Model);
            }
            Behaviour::FailsSecondPart => {}
        }
        let values = first_features(&invocation);
        let body = match invocation.accept {
            "text/csv" => values.iter().map(f64::to_string).collect::<Vec<_>>().join("\n"),
            "application/json" => {
                let scores: Vec<Value> = values.iter().map(|score| json!({"score": score})).collect();
                json!({"predictions": scores}).to_string()
            }
            "application/jsonlines" => {
                values.iter().map(|score| json!({"score": score}).to_string()).collect::<Vec<_>>().join("\n")
            }
            other => panic!("{other}"),
        };
        let content_type = Some(invocation.accept.to_owned());
        Ok(Answer { invoked_variant: Some(invocation.variant), content_type, body: body.into() })
    }
}

/// A lake whose records take a while to land.
#[derive(Clone, Default)]
struct Lake {
    store: Arc<MemoryStore>,
    landing_takes: Duration,
}

#[async_trait]
impl GetObject for Lake {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        self.store.get_object(key, if_none_match).await
    }
}

#[async_trait]
impl PutObject for Lake {
    async fn put_object(
        &self,
        key: &str,
        body: bytes::Bytes,
        condition: PutCondition,
    ) -> Result<PutOutcome, StoreError> {
        if key.starts_with(lake::LANDING) {
            tokio::time::sleep(self.landing_takes).await;
        }
        self.store.put_object(key, body, condition).await
    }
}

fn arm(name: &str) -> Arm {
    Arm {
        name: name.to_owned(),
        endpoint: "pickup-eta".to_owned(),
        variant: name.to_owned(),
        model_version: format!("{name}-1"),
    }
}

type Served = Proxy<Lake, Endpoints>;

/// A proxy over a release with the arm `own` and the second endpoint `spare`.
async fn proxy(calling: EndpointCalling, landing_takes: Duration) -> Served {
    let lake = Lake { landing_takes, ..Lake::default() };
    let hash = Plan::compile("features.toml", SPEC).unwrap().hash().to_owned();
    let release = Release {
        second: Some(arm("spare")),
        calling,
        ..Release::new(
            "pickup-eta".parse().unwrap(),
            "2026-01-01T00:00:00Z".parse().unwrap(),
            FeatureSpecSource { hash, toml: SPEC.to_owned() },
            vec![arm("own")],
            Limits { max_candidates: 20, default_deadline_ms: 2_000 },
        )
    };
    release.validate().unwrap();
    let id = release.id().unwrap();
    let pointer = ReleasePointer::new(id.clone(), None, release.created_at);
    for (key, bytes) in [
        (lake::release(&release.model, &id), release.to_bytes()),
        (lake::release_pointer(&release.model), serde_json::to_vec(&pointer).unwrap()),
    ] {
        lake.store.put_object(&key, bytes.into(), PutCondition::Always).await.unwrap();
    }
    let config = Config {
        lake_bucket: "lake".to_owned(),
        default_model: "pickup-eta".parse().unwrap(),
        max_id_skew_s: 0,
        release_ttl_s: 60,
        deferred_work: false,
        allow_forced_arm: false,
        max_concurrency: 1,
        personal_data_key: None,
    };
    Proxy {
        releases: ReleaseCache::new(lake, Duration::from_mins(1), preparing(&config)),
        endpoint: Arc::default(),
        health: Arc::default(),
        config,
    }
}

async fn quick_proxy(calling: EndpointCalling) -> Served {
    proxy(calling, Duration::ZERO).await
}

async fn ask_within(proxy: &Served, deadline_ms: Option<u32>) -> PredictionAnswer {
    let event: HttpEvent = serde_json::from_str(EVENT).unwrap();
    let mut body: Value = serde_json::from_str(event.body.as_deref().unwrap()).unwrap();
    if let Some(deadline_ms) = deadline_ms {
        body["deadline_ms"] = deadline_ms.into();
    }
    let began = Instant::now();
    let random = uuid::Uuid::new_v4().as_bytes()[..10].try_into().unwrap();
    let ends = began + Duration::from_secs(30);
    let invocation = Invocation { began, now: Timestamp::now(), ends, random, seed: 7, deferred: None };
    let answer = answer(proxy, &HttpEvent { body: Some(body.to_string()), ..event }, &invocation).await;
    assert_eq!(answer.status_code, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn ask(proxy: &Served) -> PredictionAnswer {
    ask_within(proxy, None).await
}

fn records(proxy: &Served) -> Vec<PredictionRecord> {
    let contents = proxy.releases.store().store.contents();
    let landed = contents.iter().filter(|(key, _)| key.starts_with(lake::LANDING));
    landed.map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).collect()
}

fn tier(answer: &PredictionAnswer) -> (Tier, Option<&str>) {
    (answer.tier, answer.tier_reason.as_deref())
}

#[tokio::test]
async fn the_record_says_who_answered_and_why() {
    let proxy = quick_proxy(EndpointCalling::default()).await;
    proxy.endpoint.set("own", &[Behaviour::Fails(InvokeErrorKind::Model)]);
    let second = ask(&proxy).await;
    assert_eq!(tier(&second), (Tier::SecondEndpoint, Some("endpoint_model_error")));
    assert_eq!((second.arm.as_str(), second.model_version.as_str()), ("own", "spare-1"));
    let record = records(&proxy).remove(0);
    assert_eq!((record.variant.as_str(), record.model_version.as_str()), ("spare", "spare-1"));

    proxy.endpoint.set("spare", &[Behaviour::Fails(InvokeErrorKind::Throttled)]);
    let fallback = ask(&proxy).await;
    assert_eq!(tier(&fallback), (Tier::Fallback, Some("endpoint_model_error+second_endpoint_throttled")));
    assert_eq!(fallback.model_version, "own-1");
}

#[tokio::test]
async fn an_endpoint_that_hangs_leaves_time_for_the_second() {
    let proxy = quick_proxy(EndpointCalling::default()).await;
    proxy.endpoint.set("own", &[Behaviour::After(60_000)]);
    assert_eq!(tier(&ask_within(&proxy, Some(500)).await), (Tier::SecondEndpoint, Some("endpoint_timeout")));
}

#[tokio::test]
async fn only_what_can_help_is_tried_again() {
    use InvokeErrorKind as Kind;
    for (kind, is_retried) in [
        (Kind::NotReady, true),
        (Kind::Internal, true),
        (Kind::Unavailable, true),
        (Kind::Dependency, true),
        (Kind::Throttled, true),
        (Kind::Connection, true),
        (Kind::Validation, false),
        (Kind::Model, false),
        (Kind::Denied, false),
        (Kind::Timeout, false),
        (Kind::AnswerTooLarge, false),
        (Kind::Other, false),
    ] {
        let proxy = quick_proxy(EndpointCalling { max_tries: 3, ..EndpointCalling::default() }).await;
        proxy.endpoint.set("own", &[Behaviour::Fails(kind), Behaviour::Fails(kind), Behaviour::After(0)]);
        let answer = ask(&proxy).await;
        assert_eq!(answer.tier == Tier::Endpoint, is_retried, "{kind}");
        let calls = proxy.endpoint.take_calls();
        assert_eq!(calls.iter().filter(|call| call.variant == "own").count(), if is_retried { 3 } else { 1 }, "{kind}");
        assert!(calls.iter().all(|call| call.inference_id == answer.prediction_id.to_string()));
    }
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    let proxy = quick_proxy(EndpointCalling { max_tries: 5, ..EndpointCalling::default() }).await;
    proxy.endpoint.set("own", &[Behaviour::Fails(InvokeErrorKind::Unavailable)]);
    for _ in 0..40 {
        assert_eq!(ask(&proxy).await.tier, Tier::SecondEndpoint);
    }
    let own = proxy.endpoint.take_calls().iter().filter(|call| call.variant == "own").count();
    // 40 first tries, 10 retries at once, and a tenth of 40.
    assert!((50..=54).contains(&own), "{own}");
}

#[tokio::test]
async fn the_breaker_leaves_an_endpoint_alone_and_probes_it() {
    let breaker = BreakerPolicy { failures: 3, open_ms: 300 };
    let proxy = quick_proxy(EndpointCalling { breaker, ..EndpointCalling::default() }).await;
    proxy.endpoint.set("own", &[Behaviour::Fails(InvokeErrorKind::Model)]);
    for _ in 0..3 {
        assert_eq!(tier(&ask(&proxy).await), (Tier::SecondEndpoint, Some("endpoint_model_error")));
    }
    let opened = Instant::now();
    proxy.endpoint.set("own", &[Behaviour::After(0)]);
    loop {
        let answer = ask(&proxy).await;
        if answer.tier == Tier::Endpoint {
            break;
        }
        assert_eq!(answer.tier_reason.as_deref(), Some("endpoint_circuit_open"));
        assert!(opened.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(opened.elapsed() >= Duration::from_millis(250), "{:?}", opened.elapsed());
}

#[tokio::test]
async fn a_hedge_overtakes_a_call_that_takes_longer_than_usual() {
    let proxy = quick_proxy(EndpointCalling { hedge: true, ..EndpointCalling::default() }).await;
    for _ in 0..20 {
        assert_eq!(ask(&proxy).await.tier, Tier::Endpoint);
    }
    proxy.endpoint.take_calls();
    proxy.endpoint.set("own", &[Behaviour::After(60_000), Behaviour::After(0)]);
    let answer = ask(&proxy).await;
    assert_eq!(tier(&answer), (Tier::Endpoint, None));
    let id = answer.prediction_id.to_string();
    let ids: Vec<String> = proxy.endpoint.take_calls().into_iter().map(|call| call.inference_id).collect();
    assert_eq!(ids, [id.clone(), format!("{id}-h")]);
}

#[tokio::test]
async fn every_format_in_every_direction_and_any_split_is_the_same_answer() {
    let whole = ask(&quick_proxy(EndpointCalling::default()).await).await;
    assert_eq!(whole.tier, Tier::Endpoint);
    let formats = [RowFormat::Csv, RowFormat::Json, RowFormat::JsonLines];
    for (content_type, accept) in formats.iter().flat_map(|a| formats.iter().map(move |b| (*a, *b))) {
        for (max_body_bytes, calls) in [(1 << 20, 1), (400, 3)] {
            let calling = EndpointCalling { content_type, accept, max_body_bytes, ..EndpointCalling::default() };
            let proxy = quick_proxy(calling).await;
            let answer = ask(&proxy).await;
            assert_eq!(tier(&answer), (Tier::Endpoint, None), "{content_type:?} {accept:?} {max_body_bytes}");
            assert_eq!(answer.predictions, whole.predictions, "{content_type:?} {accept:?} {max_body_bytes}");
            let mut ids: Vec<String> = proxy.endpoint.take_calls().into_iter().map(|call| call.inference_id).collect();
            ids.sort();
            let id = answer.prediction_id.to_string();
            assert_eq!(ids, [id.clone(), format!("{id}-2"), format!("{id}-3")][..calls]);
        }
    }
}

#[tokio::test]
async fn a_part_that_fails_fails_its_tier() {
    let proxy = quick_proxy(EndpointCalling { max_body_bytes: 400, ..EndpointCalling::default() }).await;
    proxy.endpoint.set("own", &[Behaviour::FailsSecondPart]);
    assert_eq!(tier(&ask(&proxy).await), (Tier::SecondEndpoint, Some("endpoint_model_error")));
    let proxy = quick_proxy(EndpointCalling { max_body_bytes: 10, ..EndpointCalling::default() }).await;
    let reason = "endpoint_row_too_large+second_endpoint_row_too_large";
    assert_eq!(tier(&ask(&proxy).await), (Tier::Fallback, Some(reason)));
    assert!(proxy.endpoint.take_calls().is_empty());
}

/// Of several tries the quickest is judged: the machine may be busy.
#[tokio::test]
async fn a_short_deadline_is_kept_and_still_archived_where_the_store_is_quick() {
    for (landing_takes, is_archived) in [(Duration::ZERO, true), (Duration::from_secs(5), false)] {
        let proxy = proxy(EndpointCalling::default(), landing_takes).await;
        // The release is known before.
        ask_within(&proxy, Some(if is_archived { 2_000 } else { 10 })).await;
        proxy.endpoint.set("own", &[Behaviour::After(60_000)]);
        proxy.endpoint.set("spare", &[Behaviour::After(60_000)]);
        let landed_before = records(&proxy).len();
        let mut quickest = Duration::MAX;
        for _ in 0..20 {
            let began = Instant::now();
            assert_eq!(ask_within(&proxy, Some(10)).await.tier, Tier::Fallback);
            quickest = quickest.min(began.elapsed());
        }
        assert!(quickest <= Duration::from_millis(20), "{quickest:?}");
        assert_eq!(records(&proxy).len() - landed_before, if is_archived { 20 } else { 0 });
    }
}
