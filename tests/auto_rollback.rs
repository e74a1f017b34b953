//! A release that does harm goes back by itself, once, with the reason in the history: through the local cloud, with the real
//! functions.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod world;

use std::time::Duration;

use cloud::events::{Event, EventBridge, PutEvent};
use domain::{ExperimentPlan, PointerMove, Release};
use serde_json::{Value, json};
use world::{ENDPOINT, World, model, release};

/// Riders. Two thirds of those with the treatment give up, and one in twenty with the control.
const RIDERS: usize = 240;

fn experiment() -> Release {
    let (control, treatment) = (release(0, "shallow"), release(0, "deep"));
    let mut release = Release { auto_rollback: true, ..control };
    "control".clone_into(&mut release.arms[0].name);
    release.arms.push(domain::Arm { name: "treatment".to_owned(), ..treatment.arms[0].clone() });
    release.experiment = Some(ExperimentPlan::new("impatience", vec![0.5, 0.5]));
    release
}

impl World {
    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.cloud.api_url());
        let response = self.http.post(url).json(body).send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert!((200..300).contains(&status), "{status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn ride(&self, rider: usize) -> Value {
        let request = json!({
            "unit_id": format!("rider-{rider}"), "inputs": {"lat": 40.5},
            "candidates": [{"candidate_id": "car", "inputs": {"car_lat": 40.0 + (rider % 50) as f64 / 100.0}}],
        });
        self.post("/v1/predictions", &request).await
    }

    /// What came of a ride: it is over, one way or the other.
    async fn end(&self, rider: usize, answer: &Value) {
        let now = jiff::Timestamp::now().to_string();
        let gives_up = if answer["arm"] == "treatment" { !rider.is_multiple_of(3) } else { rider.is_multiple_of(20) };
        let mut outcome = json!({
            "prediction_id": answer["prediction_id"], "candidate_id": "car", "observed_at": now,
        });
        outcome[if gives_up { "cancelled_at" } else { "arrived_at" }] = now.into();
        self.post("/v1/outcomes", &outcome).await;
    }

    /// What the scheduled run of the evaluator did.
    async fn evaluate(&self) -> Value {
        self.cloud.wait_until_idle(Duration::from_mins(2)).await.unwrap();
        self.cloud.run_schedule("result-archiver", None).await.unwrap();
        let mut actions = self.cloud.run_schedule("evaluator", None).await.unwrap()["actions"].take();
        // The audit runs every time, and finds nothing here.
        let audit = actions.as_object_mut().unwrap().remove("skew").unwrap();
        assert_eq!(audit["differing"], json!({}), "{audit}");
        actions
    }

    async fn in_force(&self) -> domain::ReleasePointer {
        releases::in_force(&self.lake, &model()).await.unwrap().unwrap().pointer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_breached_guardrail_takes_the_release_back_once() {
    let root = tempfile::tempdir().unwrap();
    let world = World::start(root.path(), false).await;
    world.deploy().await;
    let calm = world.publish(&world.servable(release(0, "shallow")).await).await.unwrap();
    let harmful = world.servable(experiment()).await;
    world.publish(&harmful).await.unwrap();

    // Nobody is harmed yet.
    for rider in 0..4 {
        let answer = world.ride(rider).await;
        world.end(0, &answer).await;
    }
    assert_eq!(world.evaluate().await, json!({}));
    assert_eq!(world.in_force().await.release_id, *harmful.id());

    for rider in 4..RIDERS {
        let answer = world.ride(rider).await;
        assert_eq!(answer["release_id"], harmful.id().as_str());
        world.end(rider, &answer).await;
    }
    let actions = world.evaluate().await;
    assert_eq!(actions["rolled_back"]["from"], harmful.id().as_str(), "{actions}");
    assert_eq!(actions["rolled_back"]["to"], calm.as_str(), "{actions}");
    let pointer = world.in_force().await;
    assert_eq!((&pointer.release_id, pointer.how), (&calm, PointerMove::Rollback));
    assert_eq!(pointer.author.as_deref(), Some(evaluator::ROLLBACK_AUTHOR));
    let reason = pointer.reason.unwrap();
    assert!(reason.contains("impatience: treatment is worse than control") && reason.contains("ancelled"), "{reason}");
    let history = releases::history(&world.lake, &model()).await.unwrap();
    assert_eq!(history.last().unwrap().reason.as_ref(), Some(&reason));
    assert_eq!(world.ride(1).await["release_id"], calm.as_str());

    // Who puts it in force again means it.
    world.publish(&harmful).await.unwrap();
    assert_eq!(world.evaluate().await, json!({}));
    assert_eq!(world.in_force().await.release_id, *harmful.id());
    // The metrics are in the function's log.
    let log = std::fs::read_to_string(root.path().join("logs/evaluator.log")).unwrap();
    let rollbacks = log.lines().filter(|line| line.contains("Mannen/Evaluator") && line.contains("\"rollbacks\":1.0"));
    assert_eq!(rollbacks.count(), 1, "{log}");

    // Whoever listens to the default bus hears of events as EventBridge has them.
    let bus = EventBridge::new(&world.aws, Some(world.cloud.event_bridge_url()));
    let event = Event { source: "mannen", detail_type: "Retraining Wanted", detail: json!({"model": ENDPOINT}) };
    bus.put_event(&event).await.unwrap();
    let log = std::fs::read_to_string(root.path().join("logs/events.jsonl")).unwrap();
    let told: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&told["source"], &told["detail-type"]), (&"mannen".into(), &"Retraining Wanted".into()));
    assert_eq!(told["detail"], json!({"model": ENDPOINT}));
    let refused = bus.put_event(&Event { source: "", ..event }).await.unwrap_err();
    assert!(refused.to_string().contains("InvalidArgument"), "{refused}");
    world.cloud.shutdown().await;
}
