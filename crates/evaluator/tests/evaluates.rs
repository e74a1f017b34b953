//! The function over an in-memory lake.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use archive::{write_outcomes, write_predictions};
use cloud::{
    memory::MemoryStore,
    object_store::{GetObject, PutCondition, PutObject},
};
use domain::{
    ArmAssignment, CandidateRecord, Hour, Inputs, ModelName, OutcomeEvent, PredictionId, PredictionRecord, Tier,
    Timings,
    lake::{self, Partition, Table},
};
use evaluator::{Config, EvaluatorEvent, evaluate};
use jiff::{SignedDuration, Timestamp};

const EVENT: &str = include_str!("../../../events/evaluator.json");

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

fn config() -> Config {
    Config { lake_bucket: "lake".to_owned(), default_model: model(), lookback_hours: 72 }
}

fn hour() -> Hour {
    "2018-06-01T22".parse().unwrap()
}

/// Predicted 100 s, naively 160 s.
fn record(minute: i64) -> PredictionRecord {
    let requested_at = hour().start() + SignedDuration::from_mins(minute);
    PredictionRecord {
        prediction_id: PredictionId::new(requested_at, [7; 10]),
        model: model(),
        release_id: "0".repeat(64).parse().unwrap(),
        spec_hash: "0".repeat(64),
        unit_id: None,
        ride_id: None,
        requested_at,
        answered_at: requested_at,
        assignment: ArmAssignment::only("only"),
        tier: Tier::Endpoint,
        tier_reason: None,
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
        inputs: Inputs::new(),
        candidates: vec![CandidateRecord {
            candidate_id: "car".parse().unwrap(),
            inputs: Inputs::new(),
            features: vec![Some(1.0)],
            prediction: 100.0,
            fallback: 160.0,
            last_shown: None,
            shown: None,
            lower: None,
            upper: None,
        }],
        timings: Timings::default(),
    }
}

fn outcome(of: &PredictionRecord, drive_s: i64) -> OutcomeEvent {
    let arrived_at = of.requested_at + SignedDuration::from_secs(drive_s);
    OutcomeEvent {
        prediction_id: of.prediction_id,
        candidate_id: Some("car".parse().unwrap()),
        observed_at: arrived_at,
        dispatched_at: None,
        arrived_at: Some(arrived_at),
        cancelled_at: None,
        metrics: std::collections::BTreeMap::new(),
    }
}

async fn put_hour(store: &MemoryStore, records: &[PredictionRecord], outcomes: &[OutcomeEvent]) {
    let partition = |table| lake::hour_file(&Partition { table, hour: hour() });
    let predictions = write_predictions(records).unwrap();
    store.put_object(&partition(Table::Predictions(model())), predictions, PutCondition::Always).await.unwrap();
    let outcomes = write_outcomes(outcomes).unwrap();
    store.put_object(&partition(Table::Outcomes), outcomes, PutCondition::Always).await.unwrap();
}

fn window() -> EvaluatorEvent {
    EvaluatorEvent { model: None, from: Some(hour()), until: Some(hour()) }
}

fn now() -> Timestamp {
    "2018-06-02T00:30:00Z".parse().unwrap()
}

#[tokio::test]
async fn an_hour_is_evaluated_again_only_where_it_changed() {
    let store = MemoryStore::new();
    let records = [record(1), record(2)];
    put_hour(&store, &records, &[outcome(&records[0], 110)]).await;
    let first = evaluate(&store, &config(), &window(), now()).await.unwrap();
    assert_eq!((first.hours_evaluated, first.hours_unchanged), (1, 0));
    assert_eq!((first.figures.counts.joined, first.figures.counts.pending), (1, 1));
    assert_eq!(first.figures.answer.as_ref().unwrap().mae_s, 10.0);
    assert_eq!(first.figures.fallback.as_ref().unwrap().mae_s, 50.0);
    let again = evaluate(&store, &config(), &window(), now()).await.unwrap();
    assert_eq!((again.hours_evaluated, again.hours_unchanged), (0, 1));
    assert_eq!(again.figures, first.figures);
    // A late outcome.
    put_hour(&store, &records, &[outcome(&records[0], 110), outcome(&records[1], 130)]).await;
    let late = evaluate(&store, &config(), &window(), now()).await.unwrap();
    assert_eq!((late.hours_evaluated, late.figures.counts.joined), (1, 2));
    assert_eq!(late.figures.answer.unwrap().mae_s, 20.0);
}

#[tokio::test]
async fn the_schedule_means_the_last_hours_and_writes_a_report() {
    let store = MemoryStore::new();
    let records = [record(1)];
    put_hour(&store, &records, &[outcome(&records[0], 110)]).await;
    let event: EvaluatorEvent = serde_json::from_str(EVENT).unwrap();
    assert_eq!(event, EvaluatorEvent::default());
    let summary = evaluate(&store, &config(), &event, now()).await.unwrap();
    assert_eq!(summary.hours_evaluated, 1);
    let page = store.get_object(&lake::report_page(&model()), None).await.unwrap().found().unwrap();
    assert!(page.bytes.starts_with(b"<!doctype html>") || page.bytes.starts_with(b"<!DOCTYPE html>"));
    let elsewhere = evaluate(&store, &config(), &event, "2018-07-01T00:00:00Z".parse().unwrap()).await.unwrap();
    assert_eq!(elsewhere.hours_evaluated + elsewhere.hours_unchanged, 0, "out of the look-back");
}

#[tokio::test]
async fn refuses_a_window_that_is_none() {
    let event = EvaluatorEvent { from: Some(hour()), until: Some(hour().plus(-1)), model: None };
    let error = evaluate(&MemoryStore::new(), &config(), &event, now()).await.unwrap_err();
    assert_eq!(error.reason(), "invalid_window");
}

#[tokio::test]
async fn an_unreadable_file_is_told_by_its_key() {
    let store = MemoryStore::new();
    let key = lake::hour_file(&Partition { table: Table::Predictions(model()), hour: hour() });
    store.put_object(&key, "no parquet".into(), PutCondition::Always).await.unwrap();
    let error = evaluate(&store, &config(), &window(), now()).await.unwrap_err();
    assert_eq!(error.reason(), "archive_unreadable");
    assert!(error.to_string().contains(&key), "{error}");
}
