//! The promise: nothing lost and nothing twice, whatever is repeated, raced, or killed half-way.

use std::collections::BTreeSet;

use crate::common::{
    Fault, TestStore, below, config, failures, land, land_outcome, land_prediction, land_shadow, outcome, prediction,
    queue_event, shadow,
};
use archive::{DecodeLimits, Rows, decode_source, read_outcomes, read_predictions, read_shadows};
use bytes::Bytes;
use domain::lake;
use result_archiver::{S3Key, archive_batch, compact, handle};
use serde_json::json;

/// A lake with predictions of two hours, a shadow, outcomes, and a file by hand with a bad line and a duplicate in it.
async fn lake_with_landed_objects() -> (TestStore, Vec<String>) {
    let store = TestStore::default();
    let mut keys = Vec::new();
    for seed in 2..5 {
        keys.push(land_prediction(&store, &prediction(seed)).await);
    }
    keys.push(land_shadow(&store, &shadow(3)).await);
    keys.push(land_outcome(&store, &outcome(3)).await);
    let lines: Vec<String> = [3, 4, 6].map(|seed| serde_json::to_string(&prediction(seed)).unwrap()).into();
    keys.push(land(&store, "landing/predictions/pickup-eta/by hand.json", &(lines.join("\nx\n") + "\n")).await);
    (store, keys)
}

/// One run, as far as it gets: two batches, a compaction between them, a redelivery, a compaction.
async fn run(store: &TestStore, keys: &[String]) {
    let config = config();
    for event in [
        queue_event(&keys[..3]),
        json!({"compact": {}}),
        queue_event(&keys[2..]),
        queue_event(keys),
        json!({"compact": {}}),
    ] {
        _ = handle(store, &config, &event, None).await;
    }
}

type Contents = Vec<(String, Bytes)>;

/// What must come out, and how many calls of the store it takes.
async fn without_faults() -> (Contents, Contents, usize) {
    let (store, keys) = lake_with_landed_objects().await;
    run(&store, &keys).await;
    assert!(below(&store, "landing/").is_empty() && below(&store, "segments/").is_empty());
    (below(&store, "archive/"), below(&store, "quarantine/"), store.calls())
}

/// What names each record, wherever it is.
fn held_anywhere(store: &TestStore) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    for (key, bytes) in store.inner.contents() {
        let rows = if let Ok(source) = lake::landing_source(&key) {
            decode_source(&source, &bytes, DecodeLimits::default()).rows
        } else if key.starts_with("quarantine/") {
            continue;
        } else if key.contains("/outcomes/") {
            Rows::Outcomes(read_outcomes(bytes).unwrap())
        } else if key.contains("/shadows/") {
            Rows::Shadows(read_shadows(bytes).unwrap())
        } else if key.contains("/predictions/") {
            held.extend(read_predictions(bytes).unwrap().iter().map(|record| record.prediction_id.to_string()));
            continue;
        } else {
            continue;
        };
        match rows {
            Rows::Predictions(rows) => {
                held.extend(rows.to_records().unwrap().iter().map(|record| record.prediction_id.to_string()));
            }
            Rows::Shadows(records) => {
                held.extend(records.iter().map(|record| format!("{} {}", record.prediction_id, record.arm)));
            }
            Rows::Outcomes(events) => held.extend(events.iter().map(domain::OutcomeEvent::digest)),
            Rows::Inferences(records) => held.extend(records.iter().map(domain::InferenceRecord::digest)),
        }
    }
    held
}

#[tokio::test]
async fn a_fault_at_any_call_changes_nothing_in_the_end() {
    let (archive, quarantine, calls) = without_faults().await;
    let (start, _) = lake_with_landed_objects().await;
    let everything = held_anywhere(&start);
    assert_eq!(everything.len(), 6);
    assert!(calls > 30, "{calls}");
    for at in 0..calls {
        for (takes_effect, fatal) in [(false, false), (false, true), (true, false), (true, true)] {
            let fault = Fault { at, takes_effect, fatal };
            let (store, keys) = lake_with_landed_objects().await;
            store.set_fault(Some(fault));
            run(&store, &keys).await;
            assert!(store.calls() > at, "the fault was met: {fault:?}");
            assert_eq!(held_anywhere(&store), everything, "nothing is lost at any moment: {fault:?}");
            store.set_fault(None);
            run(&store, &keys).await;
            assert_eq!(below(&store, "archive/"), archive, "{fault:?}");
            assert_eq!(below(&store, "quarantine/"), quarantine, "{fault:?}");
            assert!(below(&store, "landing/").is_empty() && below(&store, "segments/").is_empty(), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_failure_is_reported_for_its_message_alone() {
    let (store, keys) = lake_with_landed_objects().await;
    // The first call is the first key's get; keys are read in their order.
    let first = keys.iter().min().unwrap().clone();
    store.set_fault(Some(Fault { at: 0, takes_effect: false, fatal: false }));
    let answer = handle(&store, &config(), &queue_event(&keys), None).await.unwrap();
    assert_eq!(failures(&answer), std::slice::from_ref(&first));
    assert_eq!(below(&store, "landing/").into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [first]);
}

#[tokio::test]
async fn racing_archivers_and_compactors_lose_nothing() {
    let (archive, quarantine, _) = without_faults().await;
    let (start, _) = lake_with_landed_objects().await;
    let everything = held_anywhere(&start);
    let mut conflicts = 0;
    for seed in 1..40 {
        let (store, keys) = lake_with_landed_objects().await;
        store.set_dawdle(seed * 7919);
        let archive_some = |range: std::ops::Range<usize>| {
            let keys: Vec<S3Key> = keys[range].iter().map(S3Key::from_plain).collect();
            archive_batch(&store, keys, DecodeLimits::default())
        };
        archive_some(0..2).await;
        let (a, b, c, _, _) = tokio::join!(
            compact(&store, None),
            compact(&store, None),
            compact(&store, None),
            archive_some(1..4),
            archive_some(2..6),
        );
        for outcome in [a, b, c] {
            let outcome = outcome.unwrap();
            assert!(outcome.failures.is_empty(), "{seed}: {outcome:?}");
            conflicts += outcome.summary.conflicts;
        }
        assert_eq!(held_anywhere(&store), everything, "{seed}");
        let (a, b) = tokio::join!(compact(&store, None), compact(&store, None));
        conflicts += a.unwrap().summary.conflicts + b.unwrap().summary.conflicts;
        assert_eq!(below(&store, "archive/"), archive, "{seed}");
        assert_eq!(below(&store, "quarantine/"), quarantine, "{seed}");
        assert!(below(&store, "landing/").is_empty() && below(&store, "segments/").is_empty(), "{seed}");
    }
    assert!(conflicts > 5, "the races were real: {conflicts} conflicts");
}
