//! What follows from weeks of an experiment is found in the memory of a few hours.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use archive::write_predictions;
use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    endpoint::{Answer, DescribeEndpoint, EndpointDescription, Invocation, InvokeEndpoint, InvokeError},
    events::MemoryBus,
    memory::MemoryStore,
    object_store::{PutCondition, PutObject},
    sagemaker_control::ControlError,
};
use domain::{
    Arm, ArmAssignment, ExperimentPlan, FeatureSpecSource, Hour, Limits, ModelName, PredictionId, PredictionRecord,
    RampPlan, Release, Tier, Timings,
    lake::{self, Partition, Table},
};
use evaluator::{Config, EvaluationSummary, EvaluatorEvent, Means, evaluate_and_act};
use features::Plan;
use jiff::Timestamp;
use releases::Endpoints;

const SPEC: &str = "name = \"pickup-eta\"\n[prediction]\nunit = \"s\"\n[inputs]\nlat = { type = \"float\" }\n[features]\n\
                    x = \"lat * 2\"\n[model]\noutputs = [\"x\"]\n[fallback]\nexpression = \"x\"\ndefault = 1\n";

/// Riders of an hour, the same in each.
const RIDERS: usize = 600;

/// No release is to be moved here.
struct Nobody;

#[async_trait]
impl DescribeEndpoint for Nobody {
    async fn describe_endpoint(&self, _: &str) -> Result<Option<EndpointDescription>, ControlError> {
        Ok(None)
    }
}

#[async_trait]
impl InvokeEndpoint for Nobody {
    async fn invoke_endpoint(&self, _: Invocation) -> Result<Answer, InvokeError> {
        panic!("nobody is asked")
    }
}

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

fn first() -> Hour {
    "2026-03-01T10".parse().unwrap()
}

async fn put(store: &MemoryStore, key: &str, bytes: impl Into<Bytes>) {
    store.put_object(key, bytes.into(), PutCondition::Always).await.unwrap();
}

/// A release with an experiment, in force since the first hour; as a step of a ramp, or with a guardrail to go back by.
async fn in_force(store: &MemoryStore, is_ramp: bool) -> Release {
    let arm = |variant: &str| Arm {
        name: format!("arm-{variant}"),
        endpoint: "e".to_owned(),
        variant: variant.to_owned(),
        model_version: "1".to_owned(),
    };
    let spec =
        FeatureSpecSource { hash: Plan::compile("spec", SPEC).unwrap().hash().to_owned(), toml: SPEC.to_owned() };
    let limits = Limits { max_candidates: 9, default_deadline_ms: 100 };
    let start = first().start();
    let release = if is_ramp {
        let only = Release::new(model(), start, spec, vec![arm("a")], limits);
        only.with_ramp(arm("b"), "ramp", RampPlan { steps: vec![0.5], ..RampPlan::default() }).unwrap()
    } else {
        Release {
            experiment: Some(ExperimentPlan::new("x", vec![0.5, 0.5])),
            auto_rollback: true,
            ..Release::new(model(), start, spec, vec![arm("a"), arm("b")], limits)
        }
    };
    let release_id = release.id().unwrap();
    put(store, &lake::release(&model(), &release_id), release.to_bytes()).await;
    let pointer = serde_json::json!({ "release_id": release_id, "moved_at": start });
    put(store, &lake::release_pointer(&model()), pointer.to_string()).await;
    release
}

/// One hour: every rider asks once, and arm b's endpoint answers nobody.
fn predictions(release: &Release, hour: Hour) -> Bytes {
    let release_id = release.id().unwrap();
    let records: Vec<PredictionRecord> = (0..RIDERS)
        .map(|rider| {
            let requested_at = hour.start() + jiff::SignedDuration::from_secs(rider as i64);
            let mut bits = [0; 10];
            bits[..8].copy_from_slice(&(rider as u64).to_be_bytes());
            let assignment = ArmAssignment {
                experiment_id: release.experiment.as_ref().map(|plan| plan.id.clone()),
                ..ArmAssignment::only(&release.arms[rider % 2].name)
            };
            serde_json::from_value(serde_json::json!({
                "prediction_id": PredictionId::new(requested_at, bits), "model": model(),
                "release_id": release_id, "spec_hash": release.spec.hash, "unit_id": format!("rider-{rider}"),
                "requested_at": requested_at, "answered_at": requested_at, "assignment": assignment,
                "tier": if rider % 2 == 1 { Tier::Fallback } else { Tier::Endpoint },
                "endpoint": "e", "variant": "v", "model_version": "1", "inputs": {}, "timings": Timings::default(),
                "candidates": [
                    { "candidate_id": "car", "inputs": {}, "features": [1.0], "prediction": 100.0, "fallback": 90.0 },
                ],
            }))
            .unwrap()
        })
        .collect();
    write_predictions(&records).unwrap()
}

async fn run(store: &MemoryStore, lookback_hours: u32, now: Timestamp) -> EvaluationSummary {
    let config = Config { lake_bucket: "lake".to_owned(), default_model: model(), lookback_hours };
    let bus = MemoryBus::default();
    let means = Means { endpoints: Endpoints { describe: &Nobody, invoke: &Nobody }, events: &bus, bucket: "lake" };
    evaluate_and_act(store, means, &config, &EvaluatorEvent::default(), now).await.unwrap()
}

/// The most bytes that a run over the last hour holds, where the pointer moved so many hours ago.
fn most_bytes(hours: i64, is_ramp: bool) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = MemoryStore::new();
    let now = first().plus(hours).start() - jiff::SignedDuration::from_secs(1);
    runtime.block_on(async {
        let release = in_force(&store, is_ramp).await;
        for number in 0..hours {
            let hour = first().plus(number);
            let key = lake::hour_file(&Partition { table: Table::Predictions(model()), hour });
            put(&store, &key, predictions(&release, hour)).await;
        }
        run(&store, hours as u32, now).await;
    });
    let mut summary = None;
    let measured = allocation_counter::measure(|| summary = Some(runtime.block_on(run(&store, 1, now))));
    let summary = summary.unwrap();
    assert_eq!((summary.hours_evaluated, summary.hours_unchanged), (0, 1));
    // All hours were judged: there is only nowhere to go back to.
    assert_eq!(summary.actions.failed, ["no_release_to_go_back_to"], "{:?}", summary.actions);
    measured.bytes_max
}

#[test]
fn memory_does_not_grow_with_the_time_since_the_pointer_moved() {
    for is_ramp in [false, true] {
        let (few, many) = (most_bytes(6, is_ramp), most_bytes(24, is_ramp));
        println!("ramp {is_ramp}: {few} bytes for 6 hours, {many} for 24");
        assert!((many as f64) < 1.3 * few as f64, "{few} bytes for 6 hours, {many} for 24");
    }
}
