//! What a state machine sends, event by event.

use std::time::{Duration, Instant};

use dataset_extractor::{handle, put_definition};
use serde_json::{Value, json};

use crate::{ALL, Fixture, ROWS, TOML, config, definition, now};

/// What the function answers to one event.
async fn send(fixture: &Fixture, event: Value) -> Result<Value, dataset_extractor::ExtractorError> {
    let deadline = Some(Instant::now() + Duration::from_mins(15));
    handle(&fixture.lake, Ok(&fixture.bigquery), &config(), &event, now(), deadline).await
}
#[tokio::test(flavor = "multi_thread")]
async fn a_state_machines_events_make_a_version() {
    let fixture = Fixture::new().await;
    let send = async |event| send(&fixture, event).await;
    let as_of = now();
    let plan_event = json!({"plan": {"dataset": "rides", "as_of": as_of}});
    assert_eq!(send(plan_event.clone()).await.unwrap_err().reason(), "no_dataset_definition");
    put_definition(&fixture.lake, &definition(ALL, TOML)).await.unwrap();
    let planned = send(plan_event.clone()).await.unwrap();
    assert!(planned["published"].is_null());
    let workers = planned["workers"].as_array().unwrap();
    assert!(workers.len() > 1);
    let publish = json!({"publish": {"dataset": "rides", "job": planned["job"]}});
    assert_eq!(send(publish.clone()).await.unwrap_err().reason(), "out_of_step");
    for worker in workers {
        let event = json!({"streams": {"dataset": "rides", "job": planned["job"], "streams": worker["streams"]}});
        assert_eq!(send(event.clone()).await.unwrap()["unfinished"], 0);
        // Delivered twice: nothing is read again.
        assert_eq!(send(event).await.unwrap()["rows"], 0);
    }
    let published = send(publish.clone()).await.unwrap();
    assert_eq!(published["rows"], ROWS);
    assert_eq!(send(publish).await.unwrap()["address"], published["address"]);
    assert_eq!(send(plan_event).await.unwrap()["published"], published["address"]);
    let whole = send(json!({"extract": {"dataset": "rides", "as_of": as_of}})).await.unwrap();
    assert_eq!(whole["address"], published["address"]);
    assert_eq!(send(json!({"Records": []})).await.unwrap_err().reason(), "unknown_event");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_published_once_the_definition_is_mended() {
    let fixture = Fixture::new().await;
    let send = async |event| send(&fixture, event).await;
    let define = async |toml: &str| put_definition(&fixture.lake, &definition(ALL, toml)).await.unwrap();
    define("parameters = { least = 0.0 }\n[expect]\nmin_rows = 1000000").await;
    let plan = json!({"plan": {"dataset": "rides", "as_of": now()}});
    let planned = send(plan.clone()).await.unwrap();
    for worker in planned["workers"].as_array().unwrap() {
        let streams = json!({"dataset": "rides", "job": planned["job"], "streams": worker["streams"]});
        assert_eq!(send(json!({"streams": streams})).await.unwrap()["unfinished"], 0);
    }
    let publish = json!({"publish": {"dataset": "rides", "job": planned["job"]}});
    assert_eq!(send(publish.clone()).await.unwrap_err().reason(), "dataset_refused");
    define("parameters = { least = 0.0 }\n[expect]\nunique = [[\"nothing\"]]").await;
    let error = send(plan.clone()).await.unwrap_err();
    assert!(error.to_string().contains("there is no column `nothing`"), "{error}");
    define(TOML).await;
    assert_eq!(send(plan).await.unwrap()["job"], planned["job"], "expectations are no part of a job's name");
    let published = send(publish).await.unwrap();
    assert_eq!((&published["rows"], &published["published"]), (&json!(ROWS), &json!(true)));
    assert_eq!(fixture.jobs(), 1);
}
