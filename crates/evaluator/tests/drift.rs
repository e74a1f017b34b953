//! Drift is found in real trips, through the archive and the function: what was changed is named, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, path::PathBuf};

use archive::{write_outcomes, write_predictions};
use cloud::{
    memory::MemoryStore,
    object_store::{GetObject, PutCondition, PutObject},
};
use domain::{
    Arm, ArmAssignment, CandidateRecord, FeatureSpecSource, Hour, Inputs, Limits, ModelName, OutcomeEvent,
    PredictionRecord, Release, Tier, Timings,
    lake::{self, Partition, Table},
};
use evaluation::{
    drift::{DriftReason, LABEL, ModelBaseline, TrainingBaseline},
    report::{Language, ReportData},
};
use evaluator::{Config, EvaluatorEvent, evaluate};
use features::{FeatureTable, InputTable, Plan, Scratch};
use jiff::{SignedDuration, Timestamp};
use rides::{
    Ride, TrainingRow,
    tlc::{DailyWeather, Recording, TripRules, Trips, Zones},
};

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

/// Ten weeks to train on, the next two weeks to look at; `None` where there are no trips.
fn rides() -> Option<(Vec<Ride>, Vec<Ride>)> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let (trips, zones) = (data.join("trips_dev.csv.gz"), data.join("zones.csv"));
    if !trips.exists() {
        println!("skipped: there is no {}", trips.display());
        return None;
    }
    let zones = Zones::read(&zones).unwrap();
    let trips = Trips::read(&trips, &zones, &TripRules::default(), &mut |_| ()).unwrap().into_vec();
    // Without weather: that drifts with the season, and rightly so.
    let recording = Recording::new(zones, DailyWeather::default(), 7).unwrap();
    let day = |ride: &Ride, days: i64| ride.requested_at - first() >= SignedDuration::from_hours(24 * days);
    let rides: Vec<Ride> = recording.rides(&trips).filter(|ride| !day(ride, 84)).collect();
    Some(rides.into_iter().partition(|ride| !day(ride, 70)))
}

fn first() -> Timestamp {
    "2018-01-01T05:00:00Z".parse().unwrap()
}

/// One ride with what the model saw of it.
struct Served {
    row: TrainingRow,
    id: domain::PredictionId,
    features: Vec<Option<f64>>,
    fallback: f64,
}

fn serve(plan: &Plan, rides: &[Ride], change: &impl Fn(usize, &mut TrainingRow)) -> Vec<Served> {
    let (mut inputs, mut scratch, mut table) = (InputTable::new(plan), Scratch::default(), FeatureTable::default());
    let mut served = Vec::new();
    for (number, ride) in rides.iter().enumerate() {
        let Some(mut row) = ride.training_row() else { continue };
        change(number, &mut row);
        let mut all = row.inputs.clone();
        all.extend(row.candidate_inputs.clone());
        all.insert("drive_s".to_owned(), row.drive_s.into());
        inputs.clear();
        plan.read_training_row(row.requested_at, &all, "", &mut inputs).unwrap();
        plan.evaluate_training(&inputs, &mut scratch, &mut table);
        let (features, fallback) = (table.row(0).collect(), table.fallback()[0]);
        served.push(Served { row, id: ride.prediction_id, features, fallback });
    }
    served
}

fn baseline(plan: &Plan, served: &[Served]) -> TrainingBaseline {
    let column = |index: usize| served.iter().map(|one| one.features[index].unwrap_or(f64::NAN)).collect::<Vec<f64>>();
    let columns: Vec<Vec<f64>> = (0..plan.output_names().len()).map(column).collect();
    let labels: Vec<f64> = served.iter().map(|one| one.row.drive_s).collect();
    let names = plan.output_names().iter().map(String::as_str);
    TrainingBaseline::of(plan.hash(), names.zip(columns.iter().map(Vec::as_slice)), &labels)
}

/// What the model says is the fallback's estimate: a model like any other, for what drifts.
fn model_baseline(plan: &Plan, served: &[Served]) -> ModelBaseline {
    ModelBaseline::of("1", plan.hash(), served.iter().map(|one| (one.fallback, one.row.drive_s))).unwrap()
}

async fn put(store: &MemoryStore, key: &str, bytes: Vec<u8>) {
    store.put_object(key, bytes.into(), PutCondition::Always).await.unwrap();
}

/// Archives the rides, runs the function, and reads what its report says of drift.
async fn report(
    plan: &Plan,
    (baseline, held_out): &(TrainingBaseline, ModelBaseline),
    served: &[Served],
    correction: f64,
) -> ReportData {
    let store = MemoryStore::new();
    let arm = Arm {
        name: "only".to_owned(),
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
    };
    let spec = FeatureSpecSource { hash: plan.hash().to_owned(), toml: SPEC.to_owned() };
    let limits = Limits { max_candidates: 9, default_deadline_ms: 100 };
    let release = Release::new(model(), first(), spec, vec![arm], limits);
    let release_id = release.id().unwrap();
    put(&store, &lake::release(&model(), &release_id), release.to_bytes()).await;
    let pointer = serde_json::json!({ "release_id": release_id, "moved_at": first() });
    put(&store, &lake::release_pointer(&model()), pointer.to_string().into_bytes()).await;
    put(&store, &lake::training_baseline(&model(), plan.hash()), baseline.to_json()).await;
    put(&store, &lake::model_baseline(&model(), "1"), held_out.to_json()).await;
    let mut hours: BTreeMap<Hour, (Vec<PredictionRecord>, Vec<OutcomeEvent>)> = BTreeMap::new();
    for one in served {
        let (records, outcomes) = hours.entry(one.id.hour()).or_default();
        let at = one.row.requested_at;
        let candidate = candidate(&one.features, one.fallback, correction);
        records.push(record(one.id, &release_id, plan, at, &candidate));
        let arrived_at = at + SignedDuration::from_micros((one.row.drive_s * 1e6) as i64);
        outcomes.push(OutcomeEvent {
            prediction_id: one.id,
            candidate_id: Some("car".parse().unwrap()),
            observed_at: arrived_at,
            dispatched_at: None,
            arrived_at: Some(arrived_at),
            cancelled_at: None,
            metrics: BTreeMap::new(),
        });
    }
    let (from, until) = (*hours.keys().next().unwrap(), *hours.keys().last().unwrap());
    for (hour, (records, outcomes)) in hours {
        let key = |table| lake::hour_file(&Partition { table, hour });
        put(&store, &key(Table::Predictions(model())), write_predictions(&records).unwrap().to_vec()).await;
        put(&store, &key(Table::Outcomes), write_outcomes(&outcomes).unwrap().to_vec()).await;
    }
    let config = Config { lake_bucket: "lake".to_owned(), default_model: model(), lookback_hours: 72 };
    let event = EvaluatorEvent { model: None, from: Some(from), until: Some(until), act: false };
    let summary = evaluate(&store, &config, &event, until.start()).await.unwrap();
    assert_eq!(summary.figures.counts.joined, served.len() as u64);
    let json = store.get_object(&lake::report_json(&model()), None).await.unwrap().found().unwrap();
    let report = serde_json::from_slice::<ReportData>(&json.bytes).unwrap();
    println!("{}", report.drift.as_ref().unwrap().headline(Language::English));
    report
}

fn candidate(features: &[Option<f64>], said: f64, correction: f64) -> CandidateRecord {
    let uncorrected = (correction != 1.0).then_some(said);
    serde_json::from_value(serde_json::json!({
        "candidate_id": "car", "inputs": {}, "features": features, "prediction": said * correction, "fallback": said,
        "uncorrected": uncorrected,
    }))
    .unwrap()
}

fn record(
    id: domain::PredictionId,
    release_id: &domain::ReleaseId,
    plan: &Plan,
    at: Timestamp,
    candidate: &CandidateRecord,
) -> PredictionRecord {
    let assignment = ArmAssignment::only("only");
    serde_json::from_value(serde_json::json!({
        "prediction_id": id, "model": model(), "release_id": release_id, "spec_hash": plan.hash(),
        "requested_at": at, "answered_at": at, "assignment": assignment, "tier": Tier::Endpoint,
        "endpoint": "e", "variant": "v", "model_version": "1", "inputs": Inputs::new(), "candidates": [candidate],
        "timings": Timings::default(),
    }))
    .unwrap()
}

#[tokio::test]
async fn what_was_changed_in_real_trips_is_named_and_nothing_else() {
    let Some((before, after)) = rides() else { return };
    let plan = Plan::compile("features.toml", SPEC).unwrap();
    let unchanged = |_: usize, _: &mut TrainingRow| ();
    let trained_on = serve(&plan, &before, &unchanged);
    let baseline = (baseline(&plan, &trained_on), model_baseline(&plan, &trained_on));

    let calm = report(&plan, &baseline, &serve(&plan, &after, &unchanged), 1.0).await;
    assert_eq!(drifted(&calm), Vec::<&str>::new());
    assert!(!calm.models[0].concept_drift() && calm.models[0].prediction.reasons.is_empty(), "{:?}", calm.models);
    assert_eq!(calm.wants_training(), None);

    // Slower streets: no feature changes and no answer, but what is predicted, and with it the error.
    let slower = |_: usize, row: &mut TrainingRow| row.drive_s *= 1.3;
    let slower = report(&plan, &baseline, &serve(&plan, &after, &slower), 1.0).await;
    assert_eq!(drifted(&slower), [LABEL]);
    assert!(slower.models[0].concept_drift() && slower.models[0].prediction.reasons.is_empty(), "{:?}", slower.models);
    assert!(slower.wants_training().is_some());

    // A closed zone: nobody is picked up in the busiest one any more.
    let mut riders: BTreeMap<String, usize> = BTreeMap::new();
    for ride in &after {
        *riders.entry(ride.training_row().unwrap().inputs["rider_zone"].to_string()).or_default() += 1;
    }
    let busiest = riders.into_iter().max_by_key(|(_, rides)| *rides).unwrap().0;
    let busiest: f64 = busiest.parse().unwrap();
    let is_open = |ride: &&Ride| ride.training_row().unwrap().inputs["rider_zone"].as_f64() != Some(busiest);
    let open: Vec<Ride> = after.iter().filter(is_open).cloned().collect();
    let closed = report(&plan, &baseline, &serve(&plan, &open, &unchanged), 1.0).await;
    let columns = &closed.drift.as_ref().unwrap().columns;
    let zone = columns.iter().find(|column| column.name == "rider_zone").unwrap();
    assert!(zone.reasons.contains(&DriftReason::Gone) && zone.gone == [busiest]);
    // The zone's place is gone with it, since recorded riders stand at its centroid.
    assert!(drifted(&closed).iter().all(|name| name.starts_with("rider_")), "{:?}", drifted(&closed));
    assert!(!closed.models[0].concept_drift(), "{:?}", closed.models);

    // A broken field: every third car's zone is lost.
    let broken = |number: usize, row: &mut TrainingRow| {
        if number.is_multiple_of(3) {
            row.candidate_inputs.insert("car_zone".to_owned(), serde_json::Value::Null);
        }
    };
    let broken = report(&plan, &baseline, &serve(&plan, &after, &broken), 1.0).await;
    assert_eq!(drifted(&broken), ["car_zone"]);
    assert_eq!(broken.drift.unwrap().columns[0].reasons, [DriftReason::Missing]);
}

/// Rides of 3 to 20 minutes, with a model that is off by up to a fifth.
fn made_up(plan: &Plan, rides: usize) -> Vec<Served> {
    let ride = |number: usize| {
        let said = 200.0 + (number * 7_919 % 1_000) as f64;
        let requested_at = first() + SignedDuration::from_secs(30 * number as i64);
        let mut bits = [0; 10];
        bits[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let row = TrainingRow {
            requested_at,
            inputs: Inputs::new(),
            candidate_inputs: Inputs::new(),
            drive_s: said * (0.8 + 0.4 * (number * 104_729 % 997) as f64 / 997.0),
        };
        let features = vec![Some(said); plan.output_names().len()];
        Served { row, id: domain::PredictionId::new(requested_at, bits), features, fallback: said }
    };
    (0..rides).map(ride).collect()
}

#[tokio::test]
async fn a_release_that_corrects_its_model_is_no_drift_of_the_model() {
    let plan = Plan::compile("features.toml", SPEC).unwrap();
    let served = made_up(&plan, 1_200);
    let baseline = (baseline(&plan, &served), model_baseline(&plan, &served));
    for correction in [1.0, 1.3] {
        let report = report(&plan, &baseline, &served, correction).await;
        let drift = &report.models[0];
        assert!(drift.prediction.reasons.is_empty() && !drift.concept_drift(), "{correction}: {drift:?}");
        assert_eq!(drift.rows, 1_200);
        assert!((drift.mae_s / drift.held_out_mae_s - 1.0).abs() < 1e-6, "{correction}: {drift:?}");
    }
    // A correction that makes up for slower streets does not hide that the model no longer knows them.
    let mut slower = served;
    for one in &mut slower {
        one.row.drive_s *= 1.3;
    }
    let report = report(&plan, &baseline, &slower, 1.3).await;
    assert!(report.models[0].concept_drift(), "{:?}", report.models);
}

fn drifted(report: &ReportData) -> Vec<&str> {
    report.drift.as_ref().unwrap().drifted()
}
