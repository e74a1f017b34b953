//! When the pointer goes back by itself, and when it does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Mutex;

use archive::{write_outcomes, write_predictions};
use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    endpoint::{
        Answer, DescribeEndpoint, EndpointDescription, Invocation, InvokeEndpoint, InvokeError, ProductionVariant,
    },
    events::MemoryBus,
    memory::MemoryStore,
    object_store::{
        ETag, GetObject, GetOutcome, ListObjects, ListedObject, PutCondition, PutObject, PutOutcome, StoreError,
    },
    sagemaker_control::ControlError,
};
use domain::{
    Arm, ArmAssignment, ExperimentPlan, FeatureSpecSource, Hour, Limits, ModelName, OutcomeEvent, PredictionId,
    PredictionRecord, Release, ReleaseId, Tier, Timings,
    lake::{self, Partition, Table},
};
use evaluator::{Actions, Config, EvaluatorEvent, Means, evaluate_and_act};
use features::Plan;
use jiff::Timestamp;
use releases::{Endpoints, MoveOrder};

const SPEC: &str = "name = \"pickup-eta\"\n[prediction]\nunit = \"s\"\nmin = 0\nmax = 100000\n[inputs]\nlat = { type = \"float\", \
                    min = 40, max = 41 }\n[features]\nx = \"lat * 2\"\n[model]\noutputs = [\"x\"]\n[fallback]\nexpression = \
                    \"x\"\ndefault = 1\n";

/// An endpoint with both variants, which answers one number a row.
struct Endpoint;

#[async_trait]
impl DescribeEndpoint for Endpoint {
    async fn describe_endpoint(&self, _: &str) -> Result<Option<EndpointDescription>, ControlError> {
        let variant = |name: &str| ProductionVariant { name: name.to_owned(), model: None, is_serverless: false };
        let variants = vec![variant("a"), variant("b")];
        Ok(Some(EndpointDescription { status: "InService".to_owned(), variants }))
    }
}

#[async_trait]
impl InvokeEndpoint for Endpoint {
    async fn invoke_endpoint(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        let body = Bytes::from_static(b"100\n");
        Ok(Answer { invoked_variant: Some(invocation.variant), content_type: Some("text/csv".to_owned()), body })
    }
}

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

/// Of the arms' variants; with an experiment where there are two.
fn release(variants: &[&str], experiment: &str, created_at: &str) -> Release {
    let hash = Plan::compile("spec", SPEC).unwrap().hash().to_owned();
    let arm = |variant: &&str| Arm {
        name: format!("arm-{variant}"),
        endpoint: "e".to_owned(),
        variant: (*variant).to_owned(),
        model_version: "1".to_owned(),
    };
    let plan = (variants.len() > 1).then(|| ExperimentPlan::new(experiment, vec![0.5, 0.5]));
    let limits = Limits { max_candidates: 9, default_deadline_ms: 100 };
    let spec = FeatureSpecSource { hash, toml: SPEC.to_owned() };
    Release {
        auto_rollback: plan.is_some(),
        experiment: plan,
        ..Release::new(model(), created_at.parse().unwrap(), spec, variants.iter().map(arm).collect(), limits)
    }
}

async fn publish(store: &MemoryStore, release: &Release, at: Timestamp) -> ReleaseId {
    let endpoints = Endpoints { describe: &Endpoint, invoke: &Endpoint };
    let checked = releases::check(endpoints, release.clone(), releases::PinnedTables::new(), at).await.unwrap();
    let order = MoveOrder { author: None, reason: None, now: at, expect: None };
    releases::publish(store, &checked.servable().unwrap(), &order).await.unwrap().pointer.release_id
}

fn at(minute: i64) -> Timestamp {
    "2026-03-01T10:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_mins(minute)
}

/// 200 riders of `release` in one hour: with the second arm `of_100` in a hundred give up, with the first five.
fn rides(release: &Release, id: &ReleaseId, of_100: usize) -> (Vec<PredictionRecord>, Vec<OutcomeEvent>) {
    let rides = (0..200_usize).map(|rider| {
        let arm = rider % 2;
        let requested_at = at(5) + jiff::SignedDuration::from_secs(rider as i64);
        let mut bits = [0; 10];
        bits[..8].copy_from_slice(&(rider as u64).to_be_bytes());
        bits[8] = id.as_str().as_bytes()[0];
        let prediction_id = PredictionId::new(requested_at, bits);
        let assignment = ArmAssignment {
            experiment_id: release.experiment.as_ref().map(|plan| plan.id.clone()),
            ..ArmAssignment::only(&release.arms[arm].name)
        };
        let record: PredictionRecord = serde_json::from_value(serde_json::json!({
            "prediction_id": prediction_id, "model": model(), "release_id": id, "spec_hash": release.spec.hash,
            "unit_id": format!("rider-{rider}"), "requested_at": requested_at, "answered_at": requested_at,
            "assignment": assignment, "tier": Tier::Endpoint, "endpoint": "e", "variant": "v", "model_version": "1",
            "inputs": {}, "timings": Timings::default(),
            "candidates": [{ "candidate_id": "car", "inputs": {}, "features": [1.0], "prediction": 100.0, "fallback": 90.0 }],
        }))
        .unwrap();
        let gives_up = (rider / 2) % 100 < if arm == 1 { of_100 } else { 5 };
        let over = requested_at + jiff::SignedDuration::from_secs(110 + rider as i64 % 7);
        let outcome = OutcomeEvent {
            prediction_id,
            candidate_id: Some("car".parse().unwrap()),
            observed_at: over,
            dispatched_at: None,
            arrived_at: (!gives_up).then_some(over),
            cancelled_at: gives_up.then_some(over),
            metrics: std::collections::BTreeMap::new(),
        };
        (record, outcome)
    });
    rides.unzip()
}

async fn archive(store: &MemoryStore, rides: &[(Vec<PredictionRecord>, Vec<OutcomeEvent>)]) {
    let hour = Hour::of(at(5));
    let key = |table| lake::hour_file(&Partition { table, hour });
    let mut records: Vec<PredictionRecord> = rides.iter().flat_map(|rides| rides.0.clone()).collect();
    let mut outcomes: Vec<OutcomeEvent> = rides.iter().flat_map(|rides| rides.1.clone()).collect();
    records.sort_by_key(|record| record.prediction_id);
    outcomes.sort_by_key(|outcome| outcome.prediction_id);
    let predictions = write_predictions(&records).unwrap();
    store.put_object(&key(Table::Predictions(model())), predictions, PutCondition::Always).await.unwrap();
    store.put_object(&key(Table::Outcomes), write_outcomes(&outcomes).unwrap(), PutCondition::Always).await.unwrap();
}

async fn run<S: GetObject + PutObject + ListObjects>(store: &S) -> Actions {
    let config = Config { lake_bucket: "lake".to_owned(), default_model: model(), lookback_hours: 72 };
    let bus = MemoryBus::default();
    let means = Means { endpoints: Endpoints { describe: &Endpoint, invoke: &Endpoint }, events: &bus, bucket: "lake" };
    let actions = evaluate_and_act(store, means, &config, &EvaluatorEvent::default(), at(40)).await.unwrap().actions;
    // These records have no inputs to be computed again from.
    Actions { skew: None, ..actions }
}

async fn in_force(store: &MemoryStore) -> ReleaseId {
    releases::in_force(store, &model()).await.unwrap().unwrap().pointer.release_id
}

#[tokio::test]
async fn the_latest_release_without_the_experiment_is_gone_back_to_once() {
    let store = MemoryStore::new();
    let calm = publish(&store, &release(&["a"], "", "2026-01-01T00:00:00Z"), at(0)).await;
    // The same experiment, earlier: not where to go back to.
    publish(&store, &release(&["a", "b"], "x", "2026-01-02T00:00:00Z"), at(1)).await;
    let harmful = release(&["a", "b"], "x", "2026-01-03T00:00:00Z");
    let id = publish(&store, &harmful, at(2)).await;
    archive(&store, &[rides(&harmful, &id, 60)]).await;
    let actions = run(&store).await;
    let went = actions.rolled_back.unwrap();
    assert_eq!((&went.from, &went.to), (&id, &calm));
    assert!(went.reason.contains("arm-b is worse than arm-a"), "{}", went.reason);
    assert_eq!(in_force(&store).await, calm);
    assert_eq!(run(&store).await, Actions::default());
    publish(&store, &harmful, at(50)).await;
    assert_eq!((run(&store).await, in_force(&store).await), (Actions::default(), id));
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_gone_back_from_though_the_control_never_fails() {
    let store = MemoryStore::new();
    let calm = publish(&store, &release(&["a"], "", "2026-01-01T00:00:00Z"), at(0)).await;
    let harmful = release(&["a", "b"], "x", "2026-01-03T00:00:00Z");
    let id = publish(&store, &harmful, at(2)).await;
    let (mut records, outcomes) = rides(&harmful, &id, 5);
    for record in records.iter_mut().filter(|record| record.assignment.arm == "arm-b") {
        record.tier = Tier::Fallback;
    }
    archive(&store, &[(records, outcomes)]).await;
    let went = run(&store).await.rolled_back.unwrap();
    assert_eq!((&went.from, &went.to), (&id, &calm));
    assert!(went.reason.contains("Not answered by the endpoint"), "{}", went.reason);
}

#[tokio::test]
async fn who_did_not_ask_for_it_or_does_no_harm_stays() {
    for (auto_rollback, of_100) in [(false, 60), (true, 5)] {
        let store = MemoryStore::new();
        publish(&store, &release(&["a"], "", "2026-01-01T00:00:00Z"), at(0)).await;
        let release = Release { auto_rollback, ..release(&["a", "b"], "x", "2026-01-03T00:00:00Z") };
        let id = publish(&store, &release, at(2)).await;
        archive(&store, &[rides(&release, &id, of_100)]).await;
        assert_eq!((run(&store).await, in_force(&store).await), (Actions::default(), id));
    }
}

#[tokio::test]
async fn what_another_release_did_with_the_experiment_is_no_evidence() {
    let store = MemoryStore::new();
    publish(&store, &release(&["a"], "", "2026-01-01T00:00:00Z"), at(0)).await;
    let before = release(&["a", "b"], "x", "2026-01-02T00:00:00Z");
    let before_id = publish(&store, &before, at(1)).await;
    let mended = release(&["a", "b"], "x", "2026-01-03T00:00:00Z");
    let id = publish(&store, &mended, at(6)).await;
    archive(&store, &[rides(&before, &before_id, 60), rides(&mended, &id, 5)]).await;
    assert_eq!((run(&store).await, in_force(&store).await), (Actions::default(), id.clone()));
    // The same with its own harm.
    archive(&store, &[rides(&before, &before_id, 60), rides(&mended, &id, 60)]).await;
    assert_eq!(run(&store).await.rolled_back.unwrap().from, id);
}

#[tokio::test]
async fn without_a_release_to_go_back_to_it_stays_and_says_so() {
    let store = MemoryStore::new();
    let harmful = release(&["a", "b"], "x", "2026-01-03T00:00:00Z");
    let id = publish(&store, &harmful, at(2)).await;
    archive(&store, &[rides(&harmful, &id, 60)]).await;
    let actions = run(&store).await;
    assert_eq!((actions.rolled_back, actions.failed), (None, vec!["no_release_to_go_back_to".to_owned()]));
    assert_eq!(in_force(&store).await, id);
}

/// A lake in which somebody publishes another release once the judgement is under way.
struct Meanwhile {
    store: MemoryStore,
    other: Mutex<Option<Release>>,
    published: Mutex<Option<ReleaseId>>,
}

#[async_trait]
impl GetObject for Meanwhile {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        let found = self.store.get_object(key, if_none_match).await;
        // The history is read right before the move.
        if key.contains("/history/") {
            let other = self.other.lock().unwrap().take();
            if let Some(other) = other {
                let id = publish(&self.store, &other, at(30)).await;
                *self.published.lock().unwrap() = Some(id);
            }
        }
        found
    }
}

#[async_trait]
impl PutObject for Meanwhile {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        self.store.put_object(key, bytes, condition).await
    }
}

#[async_trait]
impl ListObjects for Meanwhile {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        self.store.list_objects(prefix).await
    }
}

#[tokio::test]
async fn a_release_that_was_not_judged_is_never_gone_back_from() {
    let store = MemoryStore::new();
    publish(&store, &release(&["a"], "", "2026-01-01T00:00:00Z"), at(0)).await;
    let harmful = release(&["a", "b"], "x", "2026-01-03T00:00:00Z");
    let id = publish(&store, &harmful, at(2)).await;
    archive(&store, &[rides(&harmful, &id, 60)]).await;
    let other = Mutex::new(Some(release(&["b"], "", "2026-01-04T00:00:00Z")));
    let lake = Meanwhile { store: store.clone(), other, published: Mutex::default() };
    let actions = run(&lake).await;
    assert_eq!(actions.failed, ["another_release_in_force"]);
    assert_eq!(Some(in_force(&store).await), lake.published.lock().unwrap().clone());
}
