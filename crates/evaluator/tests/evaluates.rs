//! The function over an in-memory lake.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use archive::{write_outcomes, write_predictions, write_shadows};
use cloud::{
    memory::MemoryStore,
    object_store::{GetObject, PutCondition, PutObject},
};
use domain::{
    Arm, ArmAssignment, CandidateRecord, EvaluationPlan, FeatureSpecSource, Hour, Inputs, Limits, ModelName,
    OutcomeEvent, PredictionId, PredictionRecord, Release, ShadowCandidate, ShadowRecord, Tier, Timings,
    lake::{self, Partition, Table},
};
use evaluation::Window;
use evaluator::{Config, EvaluatorEvent, evaluate, read_evaluations};
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
            uncorrected: None,
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
    EvaluatorEvent { model: None, from: Some(hour()), until: Some(hour()), act: false }
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
    let event = EvaluatorEvent { from: Some(hour()), until: Some(hour().plus(-1)), model: None, act: false };
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

/// Puts a release in force that tells rides apart by zone and by where the car is.
async fn put_release(store: &MemoryStore, evaluation: serde_json::Value) {
    let spec = "name = \"pickup-eta\"\n[prediction]\nunit = \"s\"\n[inputs]\nrider_zone = { type = \"int\", nullable = true \
                }\ncar_m = { type = \"float\", scope = \"candidate\", nullable = true }\n[features]\nkm = \"car_m / \
                1000\"\n[model]\noutputs = [\"km\"]\n[fallback]\nexpression = \"km\"\ndefault = 1\n";
    let arm = |name: &str| Arm {
        name: name.to_owned(),
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
    };
    let spec = FeatureSpecSource { hash: "0".repeat(64), toml: spec.to_owned() };
    let limits = Limits { max_candidates: 9, default_deadline_ms: 100 };
    let release = Release {
        evaluation: Some(serde_json::from_value::<EvaluationPlan>(evaluation).unwrap()),
        ..Release::new(model(), now(), spec, vec![arm("only")], limits)
    };
    release.validate().unwrap();
    let id = release.id().unwrap();
    let put = async |key: String, bytes: Vec<u8>| {
        store.put_object(&key, bytes.into(), PutCondition::Always).await.unwrap();
    };
    put(lake::release(&model(), &id), release.to_bytes()).await;
    let pointer = serde_json::json!({ "release_id": id, "moved_at": now() });
    put(lake::release_pointer(&model()), pointer.to_string().into_bytes()).await;
}

#[tokio::test]
async fn a_release_says_what_is_told_apart_and_shadows_are_figures_of_their_own() {
    let store = MemoryStore::new();
    let segments = serde_json::json!({"distance": {"by": "km", "bins": [1]}});
    let plan = serde_json::json!({"time_zone": "America/New_York", "zone_input": "rider_zone", "segments": segments});
    put_release(&store, plan).await;
    let mut records: Vec<_> = (0..40).map(record).collect();
    let mut outcomes = Vec::new();
    let mut shadows = Vec::new();
    for (number, record) in records.iter_mut().enumerate() {
        let zone = [serde_json::json!(43), serde_json::json!(161), serde_json::Value::Null][number % 3].clone();
        record.inputs.insert("rider_zone".to_owned(), zone);
        record.candidates[0].inputs.insert("car_m".to_owned(), (number * 50).into());
        record.candidates[0].lower = Some(90.0);
        record.candidates[0].upper = Some(if number % 4 == 0 { 105.0 } else { 115.0 });
        outcomes.push(outcome(record, 110));
        shadows.push(ShadowRecord {
            prediction_id: record.prediction_id,
            model: model(),
            release_id: record.release_id.clone(),
            arm: "challenger".to_owned(),
            endpoint: "e".to_owned(),
            variant: "w".to_owned(),
            model_version: "2".to_owned(),
            answered_at: record.answered_at,
            reason: (number == 7).then(|| "timeout".to_owned()),
            endpoint_us: 1,
            candidates: vec![ShadowCandidate {
                candidate_id: "car".parse().unwrap(),
                prediction: (number != 7).then_some(108.0),
            }],
        });
    }
    put_hour(&store, &records, &outcomes).await;
    let table = Table::Shadows(model());
    let key = lake::hour_file(&Partition { table, hour: hour() });
    store.put_object(&key, write_shadows(&shadows).unwrap(), PutCondition::Always).await.unwrap();

    let summary = evaluate(&store, &config(), &window(), now()).await.unwrap();
    assert_eq!(summary.figures.answer.unwrap().mae_s, 10.0, "shadows are in no figure of the arm");
    assert_eq!(summary.figures.interval.unwrap().coverage, 0.75);
    let hours = read_evaluations(&store, &model(), None, None).await.unwrap();
    let window_of = Window::of(&hours).unwrap();
    let told = |name: &str| -> Vec<(String, u64)> {
        let values = window_of.dimensions()[name].values();
        values.iter().map(|(value, statistics)| (value.clone(), statistics.counts.joined)).collect()
    };
    let pairs = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(told("zone"), pairs(&[("161", 13), ("43", 14), ("unknown", 13)]));
    assert_eq!(told("distance"), pairs(&[("below 1", 20), ("from 1", 20)]));
    assert_eq!(told("hour_of_day"), pairs(&[("18", 40)]), "22 o'clock UTC");
    assert_eq!(told("horizon"), pairs(&[("0–2 min", 40)]));
    assert_eq!(told("spec"), pairs(&[("000000000000", 40)]));
    let challenger = window_of.by_shadow()["challenger"].summary();
    assert_eq!((challenger.predictions, challenger.failed), (40, 1));
    assert_eq!(challenger.shadow.unwrap().mae_s, 2.0);
    assert_eq!(challenger.mae_difference_s, Some(-8.0));
    assert_eq!(window_of.maturity_curve(now())[0].share, 1.0);

    // Another plan evaluates the hour again; a shadow that lands late does too.
    put_release(&store, serde_json::json!({"zone_input": "rider_zone"})).await;
    let again = evaluate(&store, &config(), &window(), now()).await.unwrap();
    assert_eq!(again.hours_evaluated, 1);
    store.put_object(&key, write_shadows(&shadows[..9]).unwrap(), PutCondition::Always).await.unwrap();
    let again = evaluate(&store, &config(), &window(), now()).await.unwrap();
    assert_eq!(again.hours_evaluated, 1);
}
