//! The proxy over an in-memory lake and an endpoint that behaves as each test says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cloud::{
    endpoint::{Answer, Invocation as EndpointInvocation, InvokeEndpoint, InvokeError, InvokeErrorKind},
    http::{HttpAnswer, HttpEvent},
    memory::MemoryStore,
    object_store::{ETag, GetObject, GetOutcome, PutCondition, PutObject, PutOutcome, StoreError},
    release_cache::ReleaseCache,
};
use domain::{
    Arm, AssignmentExclusion, Correction, Damping, ExperimentPlan, FeatureSpecSource, Limits, PredictionRecord,
    Problem, PromisePolicy, Release, ReleasePointer, ResidualQuantile, ShadowRecord, Tier, lake,
};
use features::Plan;
use jiff::Timestamp;
use prediction_proxy::{Config, Deferred, Invocation, PersonalDataKey, PredictionAnswer, Proxy, answer, preparing};
use serde_json::{Value, json};

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");
const EVENT: &str = include_str!("../../../events/prediction-proxy.json");

enum Behaviour {
    /// 100 s for the first row, 101 s for the second …
    Healthy,
    Fails(InvokeErrorKind),
    Hangs,
    Says(&'static str),
    AnotherVariant,
    /// The variants whose name begins so answer when told to; the others are healthy.
    Waits(&'static str, tokio::sync::watch::Receiver<bool>),
}

struct Endpoint {
    behaviour: Behaviour,
    calls: Mutex<Vec<EndpointInvocation>>,
}

#[async_trait]
impl InvokeEndpoint for Endpoint {
    async fn invoke_endpoint(&self, invocation: EndpointInvocation) -> Result<Answer, InvokeError> {
        self.calls.lock().unwrap().push(invocation.clone());
        let rows = String::from_utf8_lossy(&invocation.body).lines().count();
        let answer = |variant: &str, body: String| {
            Ok(Answer { invoked_variant: Some(variant.to_owned()), content_type: None, body: body.into() })
        };
        let healthy = (0..rows).map(|row| (100 + row).to_string()).collect::<Vec<_>>().join("\n");
        match &self.behaviour {
            Behaviour::Healthy => answer(&invocation.variant, healthy),
            Behaviour::Waits(variant, told) => {
                if invocation.variant.starts_with(variant) {
                    _ = told.clone().wait_for(|told| *told).await;
                }
                answer(&invocation.variant, healthy)
            }
            Behaviour::AnotherVariant => answer("other", healthy),
            Behaviour::Says(body) => answer(&invocation.variant, (*body).to_owned()),
            Behaviour::Fails(kind) => Err(InvokeError { kind: *kind, detail: "as told".to_owned() }),
            Behaviour::Hangs => {
                tokio::time::sleep(invocation.timeout).await;
                Err(InvokeError { kind: InvokeErrorKind::Timeout, detail: "as told".to_owned() })
            }
        }
    }
}

/// A lake that can be told to refuse landing objects.
#[derive(Clone, Default)]
struct Lake {
    store: Arc<MemoryStore>,
    refuses_landing: bool,
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
        bytes: bytes::Bytes,
        condition: PutCondition,
    ) -> Result<PutOutcome, StoreError> {
        if self.refuses_landing && key.starts_with(lake::LANDING) {
            let detail = "as told".to_owned();
            return Err(StoreError::Unavailable { verb: "put", key: key.to_owned(), detail });
        }
        self.store.put_object(key, bytes, condition).await
    }
}

/// The first release that is published stays in force.
async fn publish_changed(lake: &Lake, change: impl FnOnce(&mut Release)) {
    let arm = |name: &str| Arm {
        name: name.to_owned(),
        endpoint: "pickup-eta".to_owned(),
        variant: format!("{name}-variant"),
        model_version: format!("{name}-1"),
    };
    let hash = Plan::compile("features.toml", SPEC).unwrap().hash().to_owned();
    let mut release = Release {
        experiment: Some(ExperimentPlan::new("test", vec![0.5, 0.5])),
        ..Release::new(
            "pickup-eta".parse().unwrap(),
            "2026-01-01T00:00:00Z".parse().unwrap(),
            FeatureSpecSource { hash, toml: SPEC.to_owned() },
            vec![arm("control"), arm("treatment")],
            Limits { max_candidates: 20, default_deadline_ms: 400 },
        )
    };
    change(&mut release);
    let id = release.id().unwrap();
    let pointer = ReleasePointer::new(id.clone(), None, release.created_at);
    let put = async |key: String, bytes: Vec<u8>| {
        lake.store.put_object(&key, bytes.into(), PutCondition::Always).await.unwrap()
    };
    put(lake::release(&release.model, &id), release.to_bytes()).await;
    let (key, pointer) = (lake::release_pointer(&release.model), serde_json::to_vec(&pointer).unwrap());
    lake.store.put_object(&key, pointer.into(), PutCondition::IfAbsent).await.unwrap();
}

async fn proxy(behaviour: Behaviour) -> Proxy<Lake, Endpoint> {
    proxy_over(behaviour, Lake::default()).await
}

async fn proxy_over(behaviour: Behaviour, lake: Lake) -> Proxy<Lake, Endpoint> {
    proxy_of_spec(behaviour, lake, SPEC, None).await
}

async fn proxy_of_spec(behaviour: Behaviour, lake: Lake, spec: &str, key: Option<&str>) -> Proxy<Lake, Endpoint> {
    let hash = Plan::compile("features.toml", spec).unwrap().hash().to_owned();
    publish_changed(&lake, |release| release.spec = FeatureSpecSource { hash, toml: spec.to_owned() }).await;
    let config = Config {
        lake_bucket: "lake".to_owned(),
        default_model: "pickup-eta".parse().unwrap(),
        max_id_skew_s: 0,
        release_ttl_s: 5,
        deferred_work: false,
        allow_forced_arm: false,
        max_concurrency: 1,
        personal_data_key: key.map(|key| key.parse().unwrap()),
    };
    Proxy {
        releases: ReleaseCache::new(lake, Duration::from_secs(5), preparing(&config)),
        endpoint: Arc::new(Endpoint { behaviour, calls: Mutex::default() }),
        health: Arc::default(),
        config,
    }
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The reference spec with a zone that is hashed, a temperature and a car's place that are not stored.
fn personal_spec() -> String {
    let mut spec = SPEC.to_owned();
    for (input, personal) in [("rider_zone", "hash"), ("temperature_c", "drop"), ("car_lat", "drop")] {
        let head = format!("[inputs.{input}]\n");
        assert!(spec.contains(&head));
        spec = spec.replace(&head, &format!("{head}personal = \"{personal}\"\n"));
    }
    spec
}

#[tokio::test]
async fn personal_data_are_taken_out_before_anything_is_stored() {
    let plain = proxy(Behaviour::Healthy).await;
    let protected = proxy_of_spec(Behaviour::Healthy, Lake::default(), &personal_spec(), Some(KEY)).await;
    prediction(&ask(&plain, &body()).await);
    prediction(&ask(&protected, &body()).await);
    let (plain, stored) = (records(&plain).remove(0), records(&protected).remove(0));
    for (raw, kept) in plain.candidates.iter().zip(&stored.candidates) {
        assert_eq!(raw.features, kept.features, "features are those of the raw values");
        assert_eq!(raw.fallback, kept.fallback);
        assert!(raw.inputs.contains_key("car_lat") && !kept.inputs.contains_key("car_lat"));
    }
    let hash = domain::digest::hmac_sha256_hex(KEY.as_bytes(), b"rider_zone\n186");
    assert_eq!(stored.inputs["rider_zone"], format!("hmac-sha256:{hash}"));
    assert!(!stored.inputs.contains_key("temperature_c"));
    assert_eq!(stored.inputs["rain_mm"], plain.inputs["rain_mm"], "all else as it came");
    let bytes = protected.releases.store().store.contents();
    let landed = bytes.iter().find(|(key, _)| key.starts_with(lake::LANDING)).unwrap();
    assert!(!std::str::from_utf8(&landed.1).unwrap().contains("car_lat"), "not even NULL");
    // A request that is sent again meets its own record.
    let mut again = body();
    again["prediction_id"] = json!("0163bdbd-5c30-7cc3-98c4-dc0c0c07398f");
    again.as_object_mut().unwrap().remove("requested_at");
    assert_eq!(prediction(&ask(&protected, &again).await), prediction(&ask(&protected, &again).await));
}

#[tokio::test]
async fn without_its_key_a_release_that_hashes_is_not_served() {
    let proxy = proxy_of_spec(Behaviour::Healthy, Lake::default(), &personal_spec(), None).await;
    let answer = ask(&proxy, &body()).await;
    let problem: Problem = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status_code, problem.reason.as_str()), (503, "release_unusable"));
    assert!(problem.detail.contains("PERSONAL_DATA_KEY"), "{}", problem.detail);
    assert!("short".parse::<PersonalDataKey>().is_err());
    assert!(!format!("{:?}", KEY.parse::<PersonalDataKey>()).contains("0123"));
}

fn body() -> Value {
    let event: Value = serde_json::from_str(EVENT).unwrap();
    serde_json::from_str(event["body"].as_str().unwrap()).unwrap()
}

fn raw(body: &str) -> HttpEvent {
    let event: HttpEvent = serde_json::from_str(EVENT).unwrap();
    HttpEvent { body: Some(body.to_owned()), ..event }
}

fn invocation() -> Invocation {
    let began = Instant::now();
    Invocation {
        began,
        now: Timestamp::now(),
        ends: began + Duration::from_secs(10),
        random: [7; 10],
        seed: 7,
        deferred: None,
    }
}

async fn ask(proxy: &Proxy<Lake, Endpoint>, body: &Value) -> HttpAnswer {
    answer(proxy, &raw(&body.to_string()), &invocation()).await
}

fn prediction(answer: &HttpAnswer) -> PredictionAnswer {
    assert_eq!(answer.status_code, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

fn values(answer: &PredictionAnswer) -> Vec<f64> {
    answer.predictions.iter().map(|prediction| prediction.value).collect()
}

fn records(proxy: &Proxy<Lake, Endpoint>) -> Vec<PredictionRecord> {
    let contents = proxy.releases.store().store.contents();
    let landed = contents.iter().filter(|(key, _)| key.starts_with("landing/predictions/"));
    landed.map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).collect()
}

fn shadow_records(proxy: &Proxy<Lake, Endpoint>) -> Vec<ShadowRecord> {
    let contents = proxy.releases.store().store.contents();
    let landed = contents.iter().filter(|(key, _)| key.starts_with("landing/shadows/"));
    landed.map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).collect()
}

#[tokio::test]
async fn one_endpoint_call_answers_all_candidates() {
    let proxy = proxy(Behaviour::Healthy).await;
    let answer = prediction(&ask(&proxy, &body()).await);
    assert_eq!(answer.tier, Tier::Endpoint);
    assert_eq!(values(&answer), [100.0, 101.0, 102.0]);
    let calls = proxy.endpoint.calls.lock().unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].inference_id, answer.prediction_id.to_string());
    assert_eq!(calls[0].variant, format!("{}-variant", answer.arm));
    let records = records(&proxy);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].prediction_id, records[0].candidates.len()), (answer.prediction_id, 3));
    assert_eq!(records[0].candidates[2].prediction, 102.0);
    assert_eq!(records[0].assignment.probability, 0.5);
}

#[tokio::test]
async fn whatever_the_endpoint_does_the_request_is_answered_and_archived() {
    let cases = [
        (Behaviour::Fails(InvokeErrorKind::Model), "endpoint_model_error"),
        (Behaviour::Fails(InvokeErrorKind::NotReady), "endpoint_model_not_ready"),
        (Behaviour::Fails(InvokeErrorKind::Internal), "endpoint_internal_failure"),
        (Behaviour::Fails(InvokeErrorKind::Connection), "endpoint_connection"),
        (Behaviour::Hangs, "endpoint_timeout"),
        (Behaviour::Says("<html>"), "endpoint_garbage"),
        (Behaviour::Says("1\n2\n"), "endpoint_row_count"),
        (Behaviour::Says("1\nNaN\n3\n"), "endpoint_garbage"),
        (Behaviour::AnotherVariant, "endpoint_other_variant"),
    ];
    for (behaviour, reason) in cases {
        let proxy = proxy(behaviour).await;
        let mut body = body();
        body["deadline_ms"] = json!(200);
        let began = Instant::now();
        let answer = prediction(&ask(&proxy, &body).await);
        // The endpoint hangs for its whole share; the rest is left for the record.
        assert!(began.elapsed() < Duration::from_millis(400), "{reason}: {:?}", began.elapsed());
        assert_eq!((answer.tier, answer.tier_reason.as_deref()), (Tier::Fallback, Some(reason)));
        let records = records(&proxy);
        assert_eq!(records.len(), 1, "{reason}");
        for (prediction, candidate) in answer.predictions.iter().zip(&records[0].candidates) {
            assert_eq!(prediction.value, candidate.fallback, "{reason}");
        }
    }
}

/// The share kept for the record is of the time there is, not of the time asked for.
#[tokio::test]
async fn a_deadline_beyond_the_invocations_own_leaves_time_for_the_endpoint() {
    let proxy = proxy(Behaviour::Healthy).await;
    for deadline_ms in [9_000_u32, 60_000, u32::MAX] {
        let mut body = body();
        body["deadline_ms"] = json!(deadline_ms);
        assert_eq!(prediction(&ask(&proxy, &body).await).tier, Tier::Endpoint, "{deadline_ms}");
    }
}

#[tokio::test]
async fn answers_are_kept_within_the_predictions_bounds() {
    let proxy = proxy(Behaviour::Says("-5\n9999\n300\n")).await;
    assert_eq!(values(&prediction(&ask(&proxy, &body()).await)), [0.0, 7200.0, 300.0]);
}

#[tokio::test]
async fn a_promise_is_answered_beside_the_prediction_and_recorded() {
    let lake = Lake::default();
    let promise = PromisePolicy {
        calibration: [(0.1, -60.0), (0.75, 30.0), (0.9, 90.0)]
            .map(|(probability, residual)| ResidualQuantile { probability, residual })
            .to_vec(),
        interval: 0.8,
        late_cost: 3.0,
        early_cost: 1.0,
        damping: Some(Damping { dead_band: 20.0, share: 0.5 }),
    };
    publish_changed(&lake, |release| release.promise = Some(promise)).await;
    let proxy = proxy_over(Behaviour::Says("300\n300\n7190\n"), lake).await;
    let mut body = body();
    for (candidate, last_shown) in [(0, json!(320.0)), (1, json!(430.0)), (2, Value::Null)] {
        body["candidates"][candidate]["last_shown"] = last_shown;
    }
    body["ride_id"] = json!("ride-9");
    let answer = prediction(&ask(&proxy, &body).await);
    let shown: Vec<_> = answer.predictions.iter().map(|one| (one.value, one.shown, one.lower, one.upper)).collect();
    let some = |shown, lower, upper| (Some(shown), Some(lower), Some(upper));
    let expected = [
        // 330 would be best; 320 was shown and is near enough, 430 comes half the way, and none may pass the bounds.
        (300.0, some(320.0, 240.0, 390.0)),
        (300.0, some(380.0, 240.0, 390.0)),
        (7190.0, some(7200.0, 7130.0, 7200.0)),
    ];
    assert_eq!(shown, expected.map(|(value, (shown, lower, upper))| (value, shown, lower, upper)));
    let record = &records(&proxy)[0];
    assert_eq!(record.ride_id.as_ref().map(domain::RideId::as_str), Some("ride-9"));
    let recorded: Vec<_> =
        record.candidates.iter().map(|one| (one.prediction, one.shown, one.lower, one.upper)).collect();
    assert_eq!(recorded, shown);
    assert_eq!(record.candidates[1].last_shown, Some(430.0));
}

#[tokio::test]
async fn a_correction_is_applied_to_what_an_endpoint_said_and_can_be_told_again_offline() {
    let mut hours = vec![1.0; 24];
    hours[18] = 0.7;
    let correction = Correction {
        time_zone: Some("America/New_York".to_owned()),
        zone_input: Some("rider_zone".to_owned()),
        hours,
        zones: BTreeMap::from([("43".to_owned(), vec![1.3; 24])]),
        learned_from: None,
    };
    for (zone, at, factor) in
        [(43, "2018-06-01T22:10:00Z", 1.3), (44, "2018-06-01T22:10:00Z", 0.7), (44, "2018-06-01T03:10:00Z", 1.0)]
    {
        let lake = Lake::default();
        publish_changed(&lake, |release| {
            release.correction = Some(correction.clone());
            let shadow = Arm { name: "challenger".to_owned(), ..release.arms[0].clone() };
            release.shadows = vec![shadow];
        })
        .await;
        let mut body = body();
        body["inputs"]["rider_zone"] = json!(zone);
        body["requested_at"] = json!(at);
        body.as_object_mut().unwrap().remove("prediction_id");
        let proxy = proxy_over(Behaviour::Says("301.7\n-5\n7190\n"), lake).await;
        let answer = prediction(&ask(&proxy, &body).await);
        let bounded = |said: f64| (said * factor).clamp(0.0, 7200.0);
        assert_eq!(values(&answer), [bounded(301.7), 0.0, bounded(7190.0)]);
        let record = &records(&proxy)[0];
        // The archive's row, the release's document and the spec's bounds give the answer bit for bit.
        let offline = correction.factor(&record.inputs, record.requested_at);
        for candidate in &record.candidates {
            let again = (candidate.uncorrected.unwrap() * offline).clamp(0.0, 7200.0);
            assert_eq!(again.to_bits(), candidate.prediction.to_bits());
        }
        assert_eq!(record.candidates[0].uncorrected, Some(301.7));
    }
    let lake = Lake::default();
    publish_changed(&lake, |release| release.correction = Some(correction.clone())).await;
    let proxy = proxy_over(Behaviour::Says("nonsense"), lake).await;
    ask(&proxy, &body()).await;
    let record = &records(&proxy)[0];
    assert_eq!((record.tier, record.candidates[0].uncorrected), (Tier::Fallback, None));
    assert_eq!(record.candidates[0].prediction, record.candidates[0].fallback, "the fallback is left alone");
}

async fn publish_shadows(lake: &Lake, variants: &[&str]) {
    publish_changed(lake, |release| {
        release.shadows = variants
            .iter()
            .map(|variant| Arm {
                name: format!("shadow {variant}"),
                variant: (*variant).to_owned(),
                ..release.arms[0].clone()
            })
            .collect();
    })
    .await;
}

#[tokio::test]
async fn shadows_are_recorded_beside_the_record_and_never_answered() {
    let lake = Lake::default();
    publish_shadows(&lake, &["slow", "slower"]).await;
    let (tell, told) = tokio::sync::watch::channel(false);
    let mut proxy = proxy_over(Behaviour::Waits("slow", told.clone()), lake).await;
    proxy.config.deferred_work = true;

    // The answer and the record are there while both shadows still think.
    let (source, mut work) = Deferred::channel();
    let mut invocation = invocation();
    invocation.deferred = Some(source.begin());
    let first = prediction(&answer(&proxy, &raw(&body().to_string()), &invocation).await);
    assert_eq!((first.tier, values(&first)), (Tier::Endpoint, vec![100.0, 101.0, 102.0]));
    assert_eq!(records(&proxy).len(), 1);
    assert!(shadow_records(&proxy).is_empty());

    // They go on after the answer, and land as records of their own.
    drop(invocation);
    tell.send_replace(true);
    work.run_one().await;
    let shadows = shadow_records(&proxy);
    let arms: BTreeSet<_> = shadows.iter().map(|shadow| shadow.arm.as_str()).collect();
    assert_eq!(arms, BTreeSet::from(["shadow slow", "shadow slower"]));
    for shadow in &shadows {
        assert_eq!((shadow.prediction_id, shadow.reason.as_deref()), (first.prediction_id, None));
        let predicted: Vec<_> = shadow.candidates.iter().map(|one| one.prediction).collect();
        assert_eq!(predicted, [Some(100.0), Some(101.0), Some(102.0)]);
    }
    assert_eq!(records(&proxy).len(), 1, "one record, whatever the shadows said");
    let asked: Vec<_> = proxy.endpoint.calls.lock().unwrap().iter().map(|call| call.inference_id.clone()).collect();
    assert_eq!(asked, vec![first.prediction_id.to_string(); 3]);
}

#[tokio::test]
async fn without_deferred_work_a_shadow_that_still_thinks_is_given_up() {
    let lake = Lake::default();
    publish_shadows(&lake, &["never"]).await;
    let (_tell, told) = tokio::sync::watch::channel(false);
    let proxy = proxy_over(Behaviour::Waits("never", told), lake).await;
    assert_eq!(prediction(&ask(&proxy, &body()).await).tier, Tier::Endpoint);
    assert_eq!((records(&proxy).len(), shadow_records(&proxy).len()), (1, 0));
}

#[tokio::test]
async fn a_shadow_that_fails_is_recorded_with_its_reason() {
    let lake = Lake::default();
    publish_shadows(&lake, &["broken"]).await;
    let proxy = proxy_over(Behaviour::Fails(InvokeErrorKind::Model), lake).await;
    let (source, mut work) = Deferred::channel();
    let mut invocation = invocation();
    invocation.deferred = Some(source.begin());
    assert_eq!(prediction(&answer(&proxy, &raw(&body().to_string()), &invocation).await).tier, Tier::Fallback);
    drop(invocation);
    work.run_one().await;
    let shadows = shadow_records(&proxy);
    assert_eq!(shadows[0].reason.as_deref(), Some("endpoint_model_error"));
    assert!(shadows[0].candidates.iter().all(|one| one.prediction.is_none()) && shadows[0].candidates.len() == 3);
}

#[tokio::test]
async fn a_refused_request_leaves_the_first_ones_shadow() {
    let lake = Lake::default();
    publish_shadows(&lake, &["b"]).await;
    let (tell, told) = tokio::sync::watch::channel(false);
    // The arm that answers waits for the shadow to be recorded.
    let proxy = proxy_over(Behaviour::Waits("control", told), lake).await;
    let mut body = body();
    body["prediction_id"] = json!("0163bdbd-5c30-7cc3-98c4-dc0c0c07398f");
    body.as_object_mut().unwrap().remove("requested_at");
    let mut first = Vec::new();
    for (asked, status) in [(1, 200), (2, 409)] {
        tell.send_replace(false);
        let shadow_asked = || proxy.endpoint.calls.lock().unwrap().iter().filter(|call| call.variant == "b").count();
        let shadow = async {
            while shadow_asked() < asked || shadow_records(&proxy).is_empty() {
                tokio::task::yield_now().await;
            }
            // What the second one puts, if it does, cannot be waited for.
            tokio::time::sleep(Duration::from_millis(20)).await;
            tell.send_replace(true);
        };
        let (answered, ()) = tokio::join!(ask(&proxy, &body), shadow);
        assert_eq!(answered.status_code, status, "{}", answered.body);
        if status == 200 {
            first = shadow_records(&proxy);
            assert_eq!((prediction(&answered).arm.as_str(), first[0].candidates.len()), ("control", 3));
        }
        body["candidates"].as_array_mut().unwrap().pop();
    }
    assert_eq!(shadow_records(&proxy), first);
}

#[tokio::test]
async fn an_arm_may_be_asked_for_only_where_the_function_allows_it() {
    let mut proxy = proxy(Behaviour::Healthy).await;
    let ask = async |proxy: &Proxy<Lake, Endpoint>, arm: &str| {
        let mut event = raw(&body().to_string());
        event.headers.insert("x-mannen-arm".to_owned(), arm.to_owned());
        answer(proxy, &event, &invocation()).await
    };
    let reason = |answer: &HttpAnswer| serde_json::from_str::<Problem>(&answer.body).unwrap().reason;
    let refused = ask(&proxy, "treatment").await;
    assert_eq!((refused.status_code, reason(&refused).as_str()), (422, "forced_arm_not_allowed"));
    proxy.config.allow_forced_arm = true;
    let unknown = ask(&proxy, "other").await;
    assert_eq!((unknown.status_code, reason(&unknown).as_str()), (422, "unknown_arm"));
    assert!(records(&proxy).is_empty());
    for arm in ["control", "treatment"] {
        assert_eq!(prediction(&ask(&proxy, arm).await).arm, arm);
        let contents = records(&proxy);
        let assignment = &contents.last().unwrap().assignment;
        assert_eq!((assignment.excluded, assignment.probability), (Some(AssignmentExclusion::Forced), 1.0));
    }
}

#[tokio::test]
async fn a_lake_that_refuses_does_not_cost_the_answer() {
    let lake = Lake { refuses_landing: true, ..Lake::default() };
    let proxy = proxy_over(Behaviour::Healthy, lake).await;
    assert_eq!(prediction(&ask(&proxy, &body()).await).tier, Tier::Endpoint);
}

#[tokio::test]
async fn a_retried_request_gets_the_first_answer() {
    let proxy = proxy(Behaviour::Healthy).await;
    let mut body = body();
    body["prediction_id"] = json!("0163bdbd-5c30-7cc3-98c4-dc0c0c07398f");
    body.as_object_mut().unwrap().remove("requested_at");
    let first = prediction(&ask(&proxy, &body).await);
    let second = prediction(&ask(&proxy, &body).await);
    assert_eq!(first, second, "the same record, timings and all");
    assert_eq!(records(&proxy).len(), 1);
    body["inputs"]["rain_mm"] = json!(99);
    let other = ask(&proxy, &body).await;
    assert_eq!(other.status_code, 409);
    assert_eq!(records(&proxy).len(), 1);
}

#[tokio::test]
async fn bad_requests_get_problem_documents() {
    let mut proxy = proxy(Behaviour::Healthy).await;
    let change = |change: fn(&mut Value)| {
        let mut body = body();
        change(&mut body);
        body
    };
    let too_many = |body: &mut Value| {
        let candidate =
            |index: usize| json!({"candidate_id": format!("car-{index}"), "inputs": {"car_lat": 1, "car_lon": 1}});
        body["candidates"] = (0..21).map(candidate).collect();
    };
    let without_car_lat = |body: &mut Value| {
        body["candidates"][2]["inputs"].as_object_mut().unwrap().remove("car_lat");
    };
    let cases: Vec<(Value, u16, &str, &str)> = vec![
        (change(|body| body["extra"] = json!(1)), 422, "unknown_field", "/extra"),
        (change(|body| body["candidates"] = json!([])), 422, "no_candidates", "/candidates"),
        (change(too_many), 422, "too_many_candidates", "/candidates"),
        (
            change(|body| body["candidates"][1]["candidate_id"] = json!("car-1")),
            422,
            "duplicate_candidate",
            "/candidates/1/candidate_id",
        ),
        (
            change(|body| body["candidates"][1]["candidate_id"] = json!(7)),
            422,
            "invalid_value",
            "/candidates/1/candidate_id",
        ),
        (change(|body| body["inputs"]["rider_lat"] = json!(91)), 422, "out_of_range", "/inputs/rider_lat"),
        (change(|body| body["inputs"]["rider_lat"] = json!("north")), 422, "wrong_type", "/inputs/rider_lat"),
        (change(|body| body["inputs"]["wind"] = json!(1)), 422, "unknown_field", "/inputs/wind"),
        (change(without_car_lat), 422, "missing_field", "/candidates/2/inputs/car_lat"),
        (
            change(|body| body["prediction_id"] = json!("f81d4fae-7dec-41d0-a765-00a0c91e6bf6")),
            422,
            "invalid_value",
            "/prediction_id",
        ),
        (
            change(|body| body["prediction_id"] = json!("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")),
            422,
            "id_time_mismatch",
            "/requested_at",
        ),
        (change(|body| body["deadline_ms"] = json!(0)), 422, "invalid_deadline", "/deadline_ms"),
        (change(|body| body["model"] = json!("../other")), 422, "invalid_value", "/model"),
        (change(|body| body["model"] = json!("other")), 404, "no_release", ""),
    ];
    for (body, status, reason, pointer) in cases {
        let answer = ask(&proxy, &body).await;
        let problem: Problem = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status_code, problem.reason.as_str()), (status, reason), "{}", answer.body);
        assert_eq!(problem.errors.first().map_or("", |error| error.pointer.as_str()), pointer, "{}", answer.body);
        assert_eq!(answer.headers["content-type"], Problem::CONTENT_TYPE);
    }
    let large = format!("{{\"inputs\": {{}}, \"candidates\": []{}}}", " ".repeat(domain::MAX_BODY_BYTES));
    let bodies = [("{\"inputs\": NaN}", 400), ("{", 400), ("", 400), ("[]", 422), (&large, 413)];
    for (body, status) in bodies.into_iter().chain([("{\"inputs\": {\"x\": 1e999}}", 400)]) {
        assert_eq!(answer(&proxy, &raw(body), &invocation()).await.status_code, status, "{body:.40}");
    }
    proxy.config.max_id_skew_s = 86_400;
    let old: Problem = serde_json::from_str(&ask(&proxy, &body()).await.body).unwrap();
    assert_eq!(old.reason, "time_too_far");
    assert!(records(&proxy).is_empty());
}
