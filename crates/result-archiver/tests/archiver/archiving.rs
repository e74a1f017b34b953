//! From landing to hour files, without faults.

use crate::common::{
    TestStore, below, config, failures, land, land_outcome, land_prediction, outcome, prediction, queue_event,
};
use archive::{read_outcomes, read_predictions};
use bytes::Bytes;
use cloud::object_store::{GetObject, PutCondition, PutObject};
use domain::{Hour, PredictionRecord, lake, lake::Partition, lake::Table};
use jiff::Timestamp;
use result_archiver::{ArchiverError, handle};
use serde_json::{Value, json};

async fn handled(store: &TestStore, event: &Value) -> Value {
    handle(store, &config(), event, None).await.unwrap()
}

async fn compacted(store: &TestStore) -> Value {
    handled(store, &json!({"compact": {}})).await["compacted"].clone()
}

fn predictions_of(store: &TestStore, hour: Hour) -> Vec<PredictionRecord> {
    let table = Table::Predictions("pickup-eta".parse().unwrap());
    let key = lake::hour_file(&Partition { table, hour });
    let (_, bytes) = below(store, &key).pop().unwrap();
    read_predictions(bytes).unwrap()
}

#[tokio::test]
async fn landed_records_end_in_their_hours_once() {
    let store = TestStore::default();
    let mut keys = Vec::new();
    for seed in (0..6).rev() {
        keys.push(land_prediction(&store, &prediction(seed)).await);
        keys.push(land_outcome(&store, &outcome(seed)).await);
    }
    // Delivered twice within a batch, and once more after it.
    let twice: Vec<String> = keys.iter().chain(&keys).cloned().collect();
    assert!(failures(&handled(&store, &queue_event(&twice)).await).is_empty());
    assert_eq!(below(&store, "landing/").len(), 0);
    assert_eq!(below(&store, "segments/").len(), 4, "two hours of two tables");
    assert!(failures(&handled(&store, &queue_event(&keys)).await).is_empty());

    let summary = compacted(&store).await;
    let expected = json!({"partitions": 4, "segments": 4, "records": 12, "added": 12, "duplicates": 0, "rewritten": 4,
        "conflicts": 0, "postponed": 0, "failed": 0});
    assert_eq!(summary, expected);
    assert_eq!(below(&store, "segments/").len(), 0);
    assert_eq!(predictions_of(&store, prediction(0).hour()), (0..4).map(prediction).collect::<Vec<_>>());
    assert_eq!(predictions_of(&store, prediction(4).hour()), (4..6).map(prediction).collect::<Vec<_>>());
    let (_, bytes) = below(&store, "archive/outcomes/").pop().unwrap();
    assert_eq!(read_outcomes(bytes).unwrap(), (4..6).map(outcome).collect::<Vec<_>>());
    assert_eq!(compacted(&store).await["partitions"], 0);
}

#[tokio::test]
async fn a_late_duplicate_changes_nothing_and_a_late_record_is_added() {
    let store = TestStore::default();
    let keys = [land_prediction(&store, &prediction(0)).await];
    handled(&store, &queue_event(&keys)).await;
    compacted(&store).await;
    let before = below(&store, "archive/");

    // The request was retried: the same id, answered again.
    let at = Timestamp::from_second(1_769_870_000).unwrap();
    land_prediction(&store, &PredictionRecord { answered_at: at, ..prediction(0) }).await;
    handled(&store, &queue_event(&keys)).await;
    let summary = compacted(&store).await;
    assert_eq!((&summary["added"], &summary["duplicates"], &summary["rewritten"]), (&0.into(), &1.into(), &0.into()));
    assert_eq!(below(&store, "archive/"), before);

    handled(&store, &queue_event(&[land_prediction(&store, &prediction(1)).await])).await;
    assert_eq!(compacted(&store).await["added"], 1);
    assert_eq!(predictions_of(&store, prediction(0).hour()), [prediction(0), prediction(1)]);
}

#[tokio::test]
async fn bad_lines_are_quarantined_with_their_offsets_and_the_rest_goes_on() {
    let store = TestStore::default();
    let good = serde_json::to_string(&prediction(0)).unwrap();
    let other = serde_json::to_string(&prediction(1)).unwrap().replace("pickup-eta", "dropoff-eta");
    let text = format!("{good}\n\nnot json\n{other}\n{}\n", serde_json::to_string(&prediction(5)).unwrap());
    let key = land(&store, "landing/predictions/pickup-eta/by hand+1.json", &text).await;
    assert!(failures(&handled(&store, &queue_event([&key])).await).is_empty());
    compacted(&store).await;
    assert_eq!(predictions_of(&store, prediction(0).hour()), [prediction(0)]);
    assert_eq!(predictions_of(&store, prediction(5).hour()), [prediction(5)]);
    assert_eq!(below(&store, "landing/").len(), 0);

    let quarantined = below(&store, "quarantine/");
    let offsets: Vec<u64> = ["not json", &other].iter().map(|line| text.find(line).unwrap() as u64).collect();
    let expected: Vec<String> = offsets.iter().map(|&offset| lake::quarantine(&key, offset)).collect();
    assert_eq!(quarantined.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), expected);
    let documents: Vec<Value> = quarantined.iter().map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).collect();
    assert_eq!((&documents[0]["reason"], &documents[0]["original"]), (&"invalid_json".into(), &"not json".into()));
    assert_eq!((&documents[1]["reason"], &documents[1]["offset"]), (&"model_mismatch".into(), &offsets[1].into()));
    assert_eq!(documents[1]["landing_key"], key.as_str());
}

#[tokio::test]
async fn an_object_that_cannot_be_read_to_its_end_is_kept() {
    let store = TestStore::default();
    let key = "landing/outcomes/damaged.json.gz";
    let damaged = Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0]);
    store.inner.put_object(key, damaged, PutCondition::Always).await.unwrap();
    let good = land_outcome(&store, &outcome(1)).await;
    let answer = handled(&store, &queue_event(&[key.to_owned(), good])).await;
    assert!(failures(&answer).is_empty(), "no other try would read it");
    assert_eq!(below(&store, "landing/").into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [key]);
    assert_eq!(below(&store, "segments/outcomes/").len(), 1);
    let document: Value = serde_json::from_slice(&below(&store, "quarantine/")[0].1).unwrap();
    assert_eq!(document["reason"], "corrupt_compression");
}

#[tokio::test]
async fn a_message_that_can_never_succeed_is_quarantined_and_acknowledged() {
    let store = TestStore::default();
    let good = land_prediction(&store, &prediction(0)).await;
    let mut event = queue_event(&[good, "releases/pickup-eta/current.json".to_owned()]);
    let poison = json!({"messageId": "poison", "eventSource": "aws:sqs", "body": "{\"hello\""});
    let test = json!({"messageId": "test", "eventSource": "aws:sqs", "body": "{\"Event\":\"s3:TestEvent\"}"});
    event["Records"].as_array_mut().unwrap().extend([poison, test]);
    assert!(failures(&handled(&store, &event).await).is_empty());
    assert_eq!(below(&store, "segments/").len(), 1);
    let quarantined = below(&store, "quarantine/messages/");
    let mut reasons: Vec<_> = quarantined
        .iter()
        .map(|(_, bytes)| serde_json::from_slice::<Value>(bytes).unwrap()["reason"].clone())
        .collect();
    reasons.sort_by_key(ToString::to_string);
    assert_eq!(reasons, ["invalid_key", "unknown_event"]);
}

#[tokio::test]
async fn other_deliveries_archive_too_and_report_errors() {
    let store = TestStore::default();
    let key = land_prediction(&store, &prediction(0)).await;
    let event = json!({"source": "aws.s3", "detail-type": "Object Created",
        "detail": {"bucket": {"name": "lake"}, "object": {"key": key}}});
    assert_eq!(handled(&store, &event).await["archived"]["records"], 1);
    assert_eq!(handled(&store, &event).await["archived"]["missing"], 1, "delivered again");

    land_prediction(&store, &prediction(1)).await;
    land(&store, "landing/stray.json", "{}").await;
    let answer = handled(&store, &json!({"archive": {}})).await;
    assert_eq!((&answer["archived"]["records"], &answer["postponed"]), (&1.into(), &0.into()));
    assert_eq!(answer["archived"]["moved"], 1, "what is no table's");
    assert_eq!(below(&store, "landing/").len(), 0);

    let foreign = json!({"source": "aws.s3", "detail-type": "Object Created",
        "detail": {"bucket": {"name": "other"}, "object": {"key": key}}});
    let error = handle(&store, &config(), &foreign, None).await.unwrap_err();
    assert!(matches!(error, ArchiverError::ForeignBucket { .. }), "{error}");
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_does_not_keep_the_others_from_the_hour_file() {
    let store = TestStore::default();
    handled(&store, &queue_event(&[land_prediction(&store, &prediction(0)).await])).await;
    let partition = Partition { table: Table::Predictions("pickup-eta".parse().unwrap()), hour: prediction(0).hour() };
    let bad = lake::segment(&partition, "0bad");
    store.inner.put_object(&bad, Bytes::from_static(b"PAR1"), PutCondition::Always).await.unwrap();
    store.inner.put_object("segments/what", Bytes::new(), PutCondition::Always).await.unwrap();
    let error = handle(&store, &config(), &json!({"compact": {}}), None).await.unwrap_err();
    assert_eq!(error.reason(), "parquet_unreadable");
    assert!(error.to_string().starts_with("2 failed"), "{error}");
    assert_eq!(predictions_of(&store, prediction(0).hour()), [prediction(0)]);
    let left: Vec<_> = below(&store, "segments/").into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, [bad, "segments/what".to_owned()]);
}

#[tokio::test]
async fn compaction_stops_in_time() {
    let store = TestStore::default();
    handled(&store, &queue_event(&[land_prediction(&store, &prediction(0)).await])).await;
    let answer = handle(&store, &config(), &json!({"compact": {}}), Some(std::time::Instant::now())).await.unwrap();
    assert_eq!((&answer["compacted"]["postponed"], &answer["compacted"]["partitions"]), (&1.into(), &0.into()));
    assert_eq!(below(&store, "segments/").len(), 1);
    assert!(store.get_object("archive/", None).await.is_ok());
}
