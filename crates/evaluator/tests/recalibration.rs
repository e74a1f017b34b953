//! Recalibration without retraining, and errors estimated before labels land: on recorded trips and in the simulated city.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, path::PathBuf};

use archive::{write_outcomes, write_predictions};
use cloud::{
    memory::MemoryStore,
    object_store::{PutCondition, PutObject},
};
use domain::{
    Arm, ArmAssignment, EvaluationPlan, FeatureSpecSource, Hour, Limits, ModelName, OutcomeEvent, PredictionRecord,
    Release, Tier, Timings,
    lake::{self, Partition, Table},
};
use evaluation::{LandedRide, RecalibrationOptions, estimated_errors, recalibrate};
use evaluator::{Config, EvaluatorEvent, evaluate, read_evaluations, recalibrate_release};
use features::{FeatureTable, InputTable, Plan, Scratch};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rides::{
    City, CityOptions, Drift, Ride,
    tlc::{DailyWeather, Recording, TripRules, Trips, Zones},
};

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");
const ZONE: &str = "America/New_York";

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

/// A ride as a model that is never trained again predicts it.
struct NaiveRide {
    at: Timestamp,
    id: domain::PredictionId,
    zone: String,
    inputs: domain::Inputs,
    predicted_s: f64,
    actual_s: f64,
}

/// The spec's naive estimate of the cars that drove, in place of a trained model.
fn naive(rides: impl Iterator<Item = Ride>) -> Vec<NaiveRide> {
    let plan = Plan::compile("features.toml", SPEC).unwrap();
    let (mut inputs, mut scratch, mut table) = (InputTable::new(&plan), Scratch::default(), FeatureTable::default());
    let mut found = Vec::new();
    for ride in rides {
        let Some(row) = ride.training_row() else { continue };
        let mut all = row.inputs.clone();
        all.extend(row.candidate_inputs.clone());
        all.insert("drive_s".to_owned(), row.drive_s.into());
        inputs.clear();
        plan.read_training_row(row.requested_at, &all, "", &mut inputs).unwrap();
        plan.evaluate_training(&inputs, &mut scratch, &mut table);
        found.push(NaiveRide {
            at: row.requested_at,
            id: ride.prediction_id,
            zone: row.inputs.get("rider_zone").and_then(domain::zone_text).unwrap_or_default(),
            inputs: row.inputs,
            predicted_s: table.fallback()[0],
            actual_s: row.drive_s,
        });
    }
    found
}

fn hour_of_day(at: Timestamp) -> u8 {
    TimeZone::get(ZONE).unwrap().to_datetime(at).hour().unsigned_abs()
}

/// The trips of ten months; `None` where there are none.
fn trips() -> Option<Vec<NaiveRide>> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let (trips, zones) = (data.join("trips_dev.csv.gz"), data.join("zones.csv"));
    if !trips.exists() {
        println!("skipped: there is no {}", trips.display());
        return None;
    }
    let zones = Zones::read(&zones).unwrap();
    let trips = Trips::read(&trips, &zones, &TripRules::default(), &mut |_| ()).unwrap().into_vec();
    let recording = Recording::new(zones, DailyWeather::default(), 7).unwrap();
    let until: Timestamp = "2018-11-01T00:00:00Z".parse().unwrap();
    Some(naive(recording.rides(&trips).filter(|ride| ride.requested_at < until)))
}

fn landed(rides: &[NaiveRide], factor: impl Fn(&NaiveRide) -> f64) -> Vec<LandedRide<'_>> {
    let ride = |one: &'_ NaiveRide| {
        let actual_s = one.actual_s * factor(one);
        (one.at.as_microsecond(), actual_s)
    };
    rides
        .iter()
        .map(|one| {
            let (requested_at_us, actual_s) = ride(one);
            LandedRide {
                landed_at_us: requested_at_us + (actual_s * 1e6) as i64,
                requested_at_us,
                zone: &one.zone,
                hour_of_day: hour_of_day(one.at),
                predicted_s: one.predicted_s,
                actual_s,
            }
        })
        .collect()
}

#[test]
fn a_frozen_model_under_a_shock_is_brought_back_by_a_correction() {
    let Some(rides) = trips() else { return };
    // A model that fits: before the shock it is right on average at every hour of the day.
    let shock_from: Timestamp = "2018-05-01T00:00:00Z".parse().unwrap();
    let before: Vec<&NaiveRide> = rides.iter().filter(|one| one.at < shock_from).collect();
    let mut sums = [(0.0, 0.0); 24];
    for one in &before {
        let sum = &mut sums[usize::from(hour_of_day(one.at))];
        *sum = (sum.0 + one.actual_s, sum.1 + one.predicted_s);
    }
    let fitted: Vec<NaiveRide> = rides
        .iter()
        .map(|one| {
            let (actual, predicted) = sums[usize::from(hour_of_day(one.at))];
            let (zone, inputs) = (one.zone.clone(), one.inputs.clone());
            NaiveRide { zone, inputs, predicted_s: one.predicted_s * actual / predicted, ..*one }
        })
        .collect();
    // Empty streets: by day rides take three fifths of the time, at night nearly all of it.
    let shock = |one: &NaiveRide| match hour_of_day(one.at) {
        _ if one.at < shock_from => 1.0,
        7..20 => 0.62,
        _ => 0.9,
    };
    let landed = landed(&fitted, shock);
    let after: Vec<LandedRide<'_>> =
        landed.iter().filter(|ride| ride.requested_at_us >= shock_from.as_microsecond()).copied().collect();
    let options = RecalibrationOptions {
        time_zone: Some(ZONE),
        zone_input: Some("rider_zone"),
        ..RecalibrationOptions::default()
    };
    let found = recalibrate(&after, &options).unwrap();
    let (without, with) = (found.uncorrected.unwrap().mae_s, found.corrected.unwrap().mae_s);
    println!("{} rides after the shock: MAE {without:.1} s, corrected {with:.1} s", found.rides);
    assert!(with < 0.85 * without, "{without} {with}");
    let correction = found.correction.unwrap();
    assert!(correction.hours[3] > 1.15 * correction.hours[14], "day and night differ: {:?}", correction.hours);
    let coverage = found.coverage.unwrap();
    assert!((coverage.coverage - 0.8).abs() < 0.01, "{coverage:?}");
    // Left alone, the same streets need little of it.
    let calm = recalibrate(&self::landed(&fitted, |_| 1.0), &options).unwrap();
    let (without, with) = (calm.uncorrected.unwrap().mae_s, calm.corrected.unwrap().mae_s);
    println!("without a shock: MAE {without:.1} s, corrected {with:.1} s");
    assert!((with / without - 1.0).abs() < 0.1, "{without} {with}");
}

/// Archives the rides as served with a correction of `served`, and puts a release in force.
async fn archive(store: &MemoryStore, rides: &[NaiveRide], served: f64) -> Release {
    let arm = Arm {
        name: "only".to_owned(),
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
    };
    let put = async |key: String, bytes: Vec<u8>| {
        store.put_object(&key, bytes.into(), PutCondition::Always).await.unwrap();
    };
    let hash = Plan::compile("features.toml", SPEC).unwrap().hash().to_owned();
    let spec = FeatureSpecSource { hash, toml: SPEC.to_owned() };
    let limits = Limits { max_candidates: 9, default_deadline_ms: 100 };
    let plan = EvaluationPlan {
        time_zone: Some(ZONE.to_owned()),
        zone_input: Some("rider_zone".to_owned()),
        ..EvaluationPlan::default()
    };
    let at = rides[0].at;
    let release = Release { evaluation: Some(plan), ..Release::new(model(), at, spec, vec![arm], limits) };
    let id = release.id().unwrap();
    put(lake::release(&model(), &id), release.to_bytes()).await;
    let pointer = serde_json::json!({ "release_id": id, "moved_at": at });
    put(lake::release_pointer(&model()), pointer.to_string().into_bytes()).await;
    let mut hours: BTreeMap<Hour, (Vec<PredictionRecord>, Vec<OutcomeEvent>)> = BTreeMap::new();
    for one in rides {
        let (records, outcomes) = hours.entry(one.id.hour()).or_default();
        let candidate = serde_json::json!({
            "candidate_id": "car", "inputs": {}, "features": [], "prediction": one.predicted_s * served,
            "uncorrected": (served != 1.0).then_some(one.predicted_s), "fallback": one.predicted_s,
        });
        records.push(
            serde_json::from_value(serde_json::json!({
                "prediction_id": one.id, "model": model(), "release_id": id, "spec_hash": release.spec.hash,
                "requested_at": one.at, "answered_at": one.at, "assignment": ArmAssignment::only("only"),
                "tier": Tier::Endpoint, "endpoint": "e", "variant": "v", "model_version": "1", "inputs": one.inputs,
                "candidates": [candidate], "timings": Timings::default(),
            }))
            .unwrap(),
        );
        let arrived_at = one.at + SignedDuration::from_micros((one.actual_s * 1e6) as i64);
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
    for (hour, (records, outcomes)) in hours {
        let key = |table| lake::hour_file(&Partition { table, hour });
        put(key(Table::Predictions(model())), write_predictions(&records).unwrap().to_vec()).await;
        put(key(Table::Outcomes), write_outcomes(&outcomes).unwrap().to_vec()).await;
    }
    release
}

async fn hours(store: &MemoryStore, rides: &[NaiveRide]) -> Vec<evaluation::HourEvaluation> {
    let (from, until) = (rides[0].id.hour(), rides[rides.len() - 1].id.hour());
    let config = Config { lake_bucket: "lake".to_owned(), default_model: model(), lookback_hours: 72 };
    let event = EvaluatorEvent { model: None, from: Some(from), until: Some(until), act: false };
    evaluate(store, &config, &event, until.plus(1).start()).await.unwrap();
    read_evaluations(store, &model(), None, None).await.unwrap()
}

#[tokio::test]
async fn the_error_before_labels_land_tracks_what_it_turns_out_to_be() {
    let city = City::with_options(3, CityOptions { rides_per_hour: 150.0, ..CityOptions::default() }).unwrap();
    let rides = naive(city.rides("2026-03-02T05:00:00Z".parse().unwrap(), 150 * 24 * 6));
    let store = MemoryStore::new();
    archive(&store, &rides, 1.0).await;
    let known = hours(&store, &rides).await;
    let truth: BTreeMap<Hour, f64> =
        known.iter().map(|one| (one.hour, one.all().summary().answer.unwrap().mae_s)).collect();
    // What was known before any label of the last two days had landed.
    let labels_until = known[known.len() - 1].hour.plus(-48);
    let unlabelled = MemoryStore::new();
    archive(&unlabelled, &rides, 1.0).await;
    for hour in known.iter().map(|one| one.hour).filter(|hour| *hour > labels_until) {
        let key = lake::hour_file(&Partition { table: Table::Outcomes, hour });
        unlabelled.put_object(&key, write_outcomes(&[]).unwrap(), PutCondition::Always).await.unwrap();
    }
    let estimates = estimated_errors(&hours(&unlabelled, &rides).await);
    let last: Vec<(f64, f64)> = estimates
        .iter()
        .filter(|(hour, estimate)| **hour > labels_until && estimate.predictions >= 60)
        .map(|(hour, estimate)| {
            assert_eq!(estimate.label_maturity, 0.0);
            (estimate.mae_s, truth[hour])
        })
        .collect();
    assert!(last.len() > 30, "{}", last.len());
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| last.iter().map(of).sum::<f64>() / last.len() as f64;
    let (estimated, true_s) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
    let covariance = mean(&|pair| (pair.0 - estimated) * (pair.1 - true_s));
    let spread = |of: &dyn Fn(&(f64, f64)) -> f64| mean(&|pair| of(pair).powi(2)).sqrt();
    let correlation = covariance / spread(&|pair| pair.0 - estimated) / spread(&|pair| pair.1 - true_s);
    let off = mean(&|pair| (pair.0 / pair.1 - 1.0).abs());
    println!(
        "{} hours: estimated {estimated:.1} s, true {true_s:.1} s, correlation {correlation:.2}, off by {off:.3}",
        last.len()
    );
    assert!(
        (estimated / true_s - 1.0).abs() < 0.1 && correlation > 0.7 && off < 0.2,
        "{estimated} {true_s} {correlation} {off}"
    );
}

#[tokio::test]
async fn the_archive_of_a_city_that_slows_down_gives_the_next_release() {
    let from: Timestamp = "2026-03-02T05:00:00Z".parse().unwrap();
    let slower = Drift { from: from + SignedDuration::from_hours(24), speed_factor: 0.6 };
    let options = CityOptions { rides_per_hour: 60.0, drifts: vec![slower], ..CityOptions::default() };
    let rides = naive(City::with_options(5, options).unwrap().rides(from, 60 * 24 * 5));
    let store = MemoryStore::new();
    let release = archive(&store, &rides, 1.0).await;
    let window = (rides[0].id.hour(), rides[rides.len() - 1].id.hour());
    let mut read = 0;
    let run = recalibrate_release(&store, &model(), &release, window, |_| read += 1).await.unwrap();
    let found = run.recalibration;
    println!(
        "{} rides: MAE {:.1} s, corrected {:.1} s",
        found.rides,
        found.uncorrected.as_ref().unwrap().mae_s,
        found.corrected.as_ref().unwrap().mae_s
    );
    assert_eq!((found.rides, read), (rides.len() as u64, run.hours));
    assert!(found.improvement.unwrap().share > 0.1, "{:?}", found.improvement);
    let correction = found.correction.unwrap();
    assert_eq!(correction.zone_input.as_deref(), Some("rider_zone"));
    let next = Release { correction: Some(correction), ..release.clone() };
    assert_eq!(next.validate(), Ok(()));
    // Rides that were corrected when they were answered are learned from as the endpoint had said them.
    let corrected = MemoryStore::new();
    archive(&corrected, &rides, 1.4).await;
    let again = recalibrate_release(&corrected, &model(), &release, window, |_| ()).await.unwrap().recalibration;
    assert_eq!((&again.correction, again.rides), (&next.correction, found.rides));
    let other = Release { arms: vec![Arm { model_version: "2".to_owned(), ..release.arms[0].clone() }], ..release };
    let error = recalibrate_release(&store, &model(), &other, window, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("at least 200"), "another model's rides say nothing of this one: {error}");
}
