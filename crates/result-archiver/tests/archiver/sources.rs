//! What lands, other than from our own functions.

use archive::{captured_line, data_capture_lines, read_inferences};
use bytes::Bytes;
use cloud::object_store::{DeleteObject, GetObject, PutCondition, PutObject};
use domain::{
    PredictionRecord,
    lake::{self, Partition, Table},
};
use result_archiver::{handle, keeping::find_prediction};
use serde_json::{Value, json};

use crate::common::{
    TestStore, below, config, failures, land, land_outcome, land_prediction, outcome, prediction, queue_event,
};

async fn archived(store: &TestStore, keys: &[String]) {
    let answer = handle(store, &config(), &queue_event(keys), None).await.unwrap();
    assert!(failures(&answer).is_empty(), "{answer}");
    handle(store, &config(), &json!({"compact": {}}), None).await.unwrap();
}

#[tokio::test]
async fn what_sagemaker_records_meets_its_prediction_by_the_inference_id() {
    let store = TestStore::default();
    let record = prediction(1);
    let id = record.prediction_id;
    let folder = lake::data_capture_landing(&record.model);
    let captures = data_capture_lines(&record).join("\n") + "\nnot a capture\n";
    let capture = land(&store, &(folder + &lake::data_capture_file("e", "v", record.hour(), "x")), &captures).await;
    let transformed = format!("412.5,{id},2026-01-31T12:00:01Z\n");
    let transform = land(&store, "landing/batch-transform/pickup-eta/job/rides.csv.out", &transformed).await;
    let notification = json!({"eventTime": "2026-01-31T12:00:02Z", "eventName": "InferenceResult", "inferenceId": id,
        "responseParameters": {"outputLocation": "s3://b/x.out"}});
    let asynchronous = land(&store, "landing/async-inference/pickup-eta/x.json", &notification.to_string()).await;
    let label = json!({"groundTruthData": {"data": "400.5", "encoding": "CSV"}, "eventMetadata": {"eventId": format!("{id}#car-1")}, "eventVersion": "0"});
    let labels = lake::ground_truth_landing(&record.model) + &lake::ground_truth_file(record.hour(), "x");
    let truth = land(&store, &labels, &label.to_string()).await;
    let keys = [land_prediction(&store, &record).await, capture.clone(), transform, asynchronous, truth];
    archived(&store, &[keys.clone(), keys].concat()).await;
    assert_eq!(below(&store, "landing/").len(), 0);

    let partition = Partition { table: Table::Inferences(record.model.clone()), hour: record.hour() };
    let bytes = store.get_object(&lake::hour_file(&partition), None).await.unwrap().found().unwrap().bytes;
    assert_eq!(read_inferences(bytes).unwrap().len(), 4, "two candidates captured, one transformed, one asynchronous");
    let found = find_prediction(&store, id, std::slice::from_ref(&record.model)).await.unwrap();
    assert_eq!(found.record, Some(record.clone()));
    assert_eq!(found.inferences.len(), 4);
    let lines: Vec<String> = found.inferences.iter().filter_map(captured_line).collect();
    assert!(data_capture_lines(&record).iter().all(|line| lines.contains(line)), "to the byte");
    assert_eq!(found.outcome_events[0].candidate_id.as_ref().unwrap().as_str(), "car-1");

    let document: Value = serde_json::from_slice(&below(&store, "quarantine/")[0].1).unwrap();
    assert_eq!((&document["landing_key"], &document["original"]), (&capture.into(), &"not a capture".into()));
    assert_eq!(document["offset"], captures.find("not a").unwrap());
}

#[tokio::test]
async fn what_lands_where_no_table_is_known_is_moved_and_told() {
    let store = TestStore::default();
    let keys = [
        land(&store, "landing/stray.json", "stray").await,
        land(&store, "landing/predictions/NO MODEL/x+y.json", "{}").await,
        land(&store, "landing/ground-truth/pickup-eta/undated.jsonl", "{}").await,
        // What a console makes for a folder.
        land(&store, "landing/folder/", "").await,
    ];
    archived(&store, &keys).await;
    archived(&store, &keys).await;
    assert_eq!(below(&store, "landing/").len(), 0);
    let moved = below(&store, lake::QUARANTINED_OBJECTS);
    let from: Vec<_> = moved.iter().map(|(key, _)| lake::landing_key_of_quarantined(key).unwrap()).collect();
    let mut expected: Vec<&str> = keys[..3].iter().map(String::as_str).collect();
    expected.sort_by_key(|key| moved.iter().position(|(place, _)| place.ends_with(*key)));
    assert_eq!(from, expected);
    assert_eq!(below(&store, "quarantine/landing/").len(), 3, "each with its reason");

    // Another object under the same name does not replace it.
    archived(&store, &[land(&store, "landing/stray.json", "another").await]).await;
    assert_eq!(below(&store, lake::QUARANTINED_OBJECTS).len(), 4);
}

/// A notification as a versioned bucket sends it, with the object's version and its place in the key's history.
fn versioned(key: &str, version: &str, sequencer: &str) -> Value {
    json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "lake"}, "object": {"key": key, "versionId": version, "sequencer": sequencer, "size": 9}}}]})
}

#[tokio::test]
async fn overwritten_deleted_and_empty_objects_cost_nothing() {
    let store = TestStore::default();
    let first = prediction(0);
    let key = land_prediction(&store, &first).await;
    // Overwritten before the archiver came: both events are about what is there now.
    let second = PredictionRecord { variant: "w".to_owned(), ..first.clone() };
    land_prediction(&store, &second).await;
    for event in [versioned(&key, "2", "0B"), versioned(&key, "1", "0A")] {
        handle(&store, &config(), &event, None).await.unwrap();
    }
    handle(&store, &config(), &json!({"compact": {}}), None).await.unwrap();
    let models = [first.model.clone()];
    assert_eq!(find_prediction(&store, first.prediction_id, &models).await.unwrap().record, Some(second));

    // Deleted before the archiver came, and a delete marker's own event.
    let gone = land_outcome(&store, &outcome(0)).await;
    store.inner.delete_object(&gone).await.unwrap();
    let answer = handle(&store, &config(), &versioned(&gone, "1", "0C"), None).await.unwrap();
    assert_eq!(answer["archived"]["missing"], 1);
    let marker = json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectRemoved:DeleteMarkerCreated",
        "s3": {"bucket": {"name": "lake"}, "object": {"key": gone}}}]});
    assert_eq!(handle(&store, &config(), &marker, None).await.unwrap()["archived"]["objects"], 0);

    let empty = "landing/outcomes/empty.json";
    store.inner.put_object(empty, Bytes::new(), PutCondition::Always).await.unwrap();
    let answer = handle(&store, &config(), &versioned(empty, "1", "0D"), None).await.unwrap();
    assert_eq!((&answer["archived"]["objects"], &answer["archived"]["records"]), (&1.into(), &0.into()));
    assert_eq!(below(&store, "landing/").len(), 0);
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "lake"});
    assert_eq!(handle(&store, &config(), &test, None).await.unwrap()["archived"]["objects"], 0);
}
