//! Archived rows computed again from their raw inputs: a planted skew is caught, and named.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use archive::write_predictions;
use cloud::{
    memory::MemoryStore,
    object_store::{PutCondition, PutObject},
};
use domain::{
    Arm, ArmAssignment, Candidate, FeatureSpecSource, Hour, Inputs, Limits, ModelName, PredictionId, PredictionRecord,
    Release, Tier, Timings,
    lake::{self, Partition, Table},
};
use evaluator::{AuditPlan, ServedReleases, audit_skew};
use features::{Plan, Transformer};
use jiff::Timestamp;
use serde_json::json;

const SPEC: &str = r#"
    name = "pickup-eta"
    prediction = { unit = "s" }
    [inputs]
    lat = { type = "float" }
    car_lat = { type = "float", scope = "candidate" }
    [features]
    direct_m = "ABS(car_lat - lat) * 111195"
    hour = "EXTRACT(HOUR FROM requested_at AT TIME ZONE 'Asia/Tokyo')"
    [model]
    outputs = ["direct_m", "hour"]
    [fallback]
    expression = "direct_m / 6"
    default = 300
"#;

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

fn release() -> Release {
    let hash = Plan::compile("spec", SPEC).unwrap().hash().to_owned();
    let arm = Arm {
        name: "only".to_owned(),
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
    };
    let spec = FeatureSpecSource { hash, toml: SPEC.to_owned() };
    let limits = Limits { max_candidates: 9, default_deadline_ms: 100 };
    Release::new(model(), Timestamp::UNIX_EPOCH, spec, vec![arm], limits)
}

/// What a program that serves by `serving` archives, whatever spec it says that it serves by.
fn record(serving: &Transformer, release: &Release, hour: Hour, ride: u32) -> PredictionRecord {
    let requested_at = hour.start() + jiff::SignedDuration::from_secs(i64::from(ride));
    let object = |value: serde_json::Value| -> Inputs { value.as_object().unwrap().clone() };
    let inputs = object(json!({"lat": 35.6 + f64::from(ride) / 7000.0}));
    let car = Candidate::new("car".parse().unwrap(), object(json!({"car_lat": 35.5 + f64::from(ride) / 900.0})));
    let made = serving.transform(requested_at, &inputs, std::slice::from_ref(&car), |table| {
        (table.row(0).collect::<Vec<_>>(), table.fallback()[0])
    });
    let (features, fallback) = made.unwrap();
    let mut bits = [0; 10];
    bits[..4].copy_from_slice(&ride.to_be_bytes());
    serde_json::from_value(json!({
        "prediction_id": PredictionId::new(requested_at, bits), "model": model(), "release_id": release.id().unwrap(),
        "spec_hash": release.spec.hash, "requested_at": requested_at, "answered_at": requested_at,
        "assignment": ArmAssignment::only("only"), "tier": Tier::Endpoint, "endpoint": "e", "variant": "v",
        "model_version": "1", "inputs": inputs, "timings": Timings::default(),
        "candidates": [{
            "candidate_id": "car", "inputs": car.inputs, "features": features, "prediction": 100.0, "fallback": fallback,
        }],
    }))
    .unwrap()
}

async fn put_hour(store: &MemoryStore, hour: Hour, mut records: Vec<PredictionRecord>) {
    records.sort_by_key(|record| record.prediction_id);
    let key = lake::hour_file(&Partition { table: Table::Predictions(model()), hour });
    store.put_object(&key, write_predictions(&records).unwrap(), PutCondition::Always).await.unwrap();
}

#[tokio::test]
async fn a_constant_that_serving_has_otherwise_is_caught_and_named() {
    let (store, release) = (MemoryStore::new(), release());
    let id = release.id().unwrap();
    store.put_object(&lake::release(&model(), &id), release.to_bytes().into(), PutCondition::Always).await.unwrap();
    let transformer = |spec: &str| Transformer::new(Plan::compile("spec", spec).unwrap());
    let (spec, skewed) = (transformer(SPEC), transformer(&SPEC.replace("111195", "111195.0000001")));
    let hour: Hour = "2026-03-01T10".parse().unwrap();
    let plan = AuditPlan { records: 60, hours: 4, seed: 7 };
    let audit_by = async |window: (Hour, Hour), mut releases: ServedReleases| {
        audit_skew(&store, &model(), window, plan, &mut releases).await.unwrap()
    };
    let audit = async |window| audit_by(window, ServedReleases::default()).await;

    put_hour(&store, hour, (0..100).map(|ride| record(&spec, &release, hour, ride)).collect()).await;
    let clean = audit((hour, hour)).await;
    assert!(clean.is_clean(), "{clean:?}");
    assert_eq!((clean.records, clean.equal, clean.rows), (60, 60, 60));

    // From one hour on, what serves has one constant otherwise.
    let later = hour.plus(1);
    put_hour(&store, later, (0..100).map(|ride| record(&skewed, &release, later, ride)).collect()).await;
    let found = audit((hour, later)).await;
    assert_eq!(found.differing.keys().collect::<Vec<_>>(), ["direct_m", "fallback"], "{found:?}");
    let skew = &found.differing["direct_m"];
    assert!(skew.example.hour() == later && skew.largest.unwrap() < 1e-6, "{skew:?}");
    assert_eq!(found.records - found.equal, skew.rows);

    // The other way round: what another spec would change.
    let other = ServedReleases::with_spec(SPEC.replace("111195", "111195.0000001"));
    let found = audit_by((later, later), other).await;
    assert!(found.is_clean() && found.records == 60, "{found:?}");

    // Releases that are gone, and records that name another spec, are told and never taken for equal.
    let mut lost = record(&spec, &release, later, 1);
    lost.release_id = "0".repeat(64).parse().unwrap();
    let mut other = record(&spec, &release, later, 2);
    other.spec_hash = "0".repeat(64);
    put_hour(&store, later, vec![lost, other]).await;
    let told = audit((later, later)).await;
    assert_eq!(told.not_recomputed, [("release_unusable".to_owned(), 1), ("other_spec".to_owned(), 1)].into());
    assert!(told.records == 0 && !told.is_clean());
}
