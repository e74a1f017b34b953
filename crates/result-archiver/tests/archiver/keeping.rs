//! Verifying, redriving, counting, looking up, collecting, exporting.

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    memory::MemoryStore,
    object_store::{
        DeleteObject, ETag, GetObject, GetOutcome, ListObjects, ListedObject, PutCondition, PutObject, PutOutcome,
        StoreError,
    },
};
use domain::{
    Arm, FeatureSpecSource, Hour, Limits, OutcomeEvent, PredictionRecord, Release, ReleaseId, ReleasePointer,
    lake::{self, Partition, Table},
};
use jiff::{Span, Timestamp};
use result_archiver::{
    handle,
    keeping::{
        Expected, ExportRange, GcPolicy, Place, Retention, archive_stats, collect_garbage, export_data_capture,
        export_ground_truth, find_prediction, redrive, verify,
    },
};
use serde_json::json;

use crate::common::{TestStore, below, config, land, land_outcome, land_prediction, outcome, prediction, queue_event};

const ALL: ExportRange = ExportRange { from: None, to: None };

async fn compacted(store: &TestStore) {
    handle(store, &config(), &json!({"archive": {}}), None).await.unwrap();
    handle(store, &config(), &json!({"compact": {}}), None).await.unwrap();
}

fn now() -> Hour {
    prediction(0).hour().plus(24)
}

/// Eight predictions of two hours in hour files, one in a segment, one in the landing area, and some outcomes.
async fn filled() -> TestStore {
    let store = TestStore::default();
    for seed in 0..8 {
        land_prediction(&store, &prediction(seed)).await;
        land_outcome(&store, &outcome(seed)).await;
    }
    compacted(&store).await;
    let segment = [land_prediction(&store, &prediction(8)).await];
    handle(&store, &config(), &queue_event(&segment), None).await.unwrap();
    land_prediction(&store, &prediction(9)).await;
    store
}

fn ids(seeds: impl Iterator<Item = u32>) -> Expected {
    Expected { ids: seeds.map(|seed| prediction(seed).prediction_id).collect(), ..Expected::default() }
}

#[tokio::test]
async fn a_whole_archive_verifies_and_every_loss_is_told() {
    let store = filled().await;
    let report = verify(&store, &ids(0..10), now()).await.unwrap();
    assert_eq!(report.troubles, []);
    let sum = |of: fn(&result_archiver::keeping::HourReport) -> u64| {
        report.hours.iter().filter(|hour| hour.table == "predictions/pickup-eta").map(of).sum::<u64>()
    };
    assert_eq!((sum(|h| h.archived), sum(|h| h.in_segments), sum(|h| h.in_landing)), (8, 1, 1));

    let report = verify(&store, &ids(0..12), now()).await.unwrap();
    let lost: Vec<_> = report.troubles.iter().map(|trouble| (trouble.key.clone(), trouble.reason.as_str())).collect();
    let expected = |seed| (prediction(seed).prediction_id.to_string(), "missing_record");
    assert_eq!(lost, [expected(10), expected(11)]);

    let counts = format!("{{\"hour\": \"{}\", \"count\": 5}}\nnoise\n", prediction(0).hour());
    let told = Expected::from_json_lines(&counts).unwrap();
    let report = verify(&store, &told, now()).await.unwrap();
    assert_eq!(report.hours.iter().find_map(|hour| hour.missing), Some(1));
    assert_eq!(report.troubles[0].reason, "missing_records");
    assert_eq!(Expected::from_json_lines("noise\n{}\n"), None);
    let logged = format!("{{\"prediction_id\":\"{}\",\"requests\":1}}", prediction(3).prediction_id);
    assert_eq!(Expected::from_json_lines(&logged).unwrap(), ids(3..4));
}

#[tokio::test]
async fn damaged_hour_files_and_wrong_clocks_are_told() {
    let store = filled().await;
    let put = async |partition: &Partition, bytes: Bytes| {
        store.inner.put_object(&lake::hour_file(partition), bytes, PutCondition::Always).await.unwrap();
    };
    let model: domain::ModelName = "pickup-eta".parse().unwrap();
    let of = |hour| Partition { table: Table::Predictions(model.clone()), hour };
    put(&of(prediction(0).hour()), Bytes::from_static(b"PAR1")).await;
    // A record in another hour's file.
    put(&of(prediction(4).hour()), archive::write_predictions(&[prediction(0)]).unwrap()).await;
    let far = Timestamp::from_second(4_000_000_000).unwrap();
    let id = domain::PredictionId::new(far, [1; 10]);
    land_prediction(&store, &PredictionRecord { prediction_id: id, ..prediction(0) }).await;
    compacted(&store).await;
    let report = verify(&store, &Expected::default(), now()).await.unwrap();
    let mut reasons: Vec<_> = report.troubles.iter().map(|trouble| trouble.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["parquet_unreadable", "wrong_hour"]);
    assert_eq!(report.hours_ahead, 1);
    let stats = archive_stats(&store.inner, now()).await;
    assert!(stats.is_err(), "an hour file without a footer");
    put(&of(prediction(0).hour()), archive::write_predictions(&[prediction(0)]).unwrap()).await;
    let stats = archive_stats(&store.inner, now()).await.unwrap();
    let table = stats.tables.iter().find(|table| table.table == "predictions/pickup-eta").unwrap();
    assert_eq!((table.hours_ahead, table.last), (1, Hour::of(far)));
}

#[tokio::test]
async fn outcomes_wait_for_their_predictions() {
    let store = TestStore::default();
    land_outcome(&store, &outcome(1)).await;
    compacted(&store).await;
    let parked = async || {
        let report = verify(&store, &Expected::default(), now()).await.unwrap();
        report.hours.iter().find_map(|hour| hour.without_prediction).unwrap()
    };
    assert_eq!(parked().await, 1);
    // The prediction comes later; then corrections, in any order, and one that is late.
    land_prediction(&store, &prediction(1)).await;
    let later = |seconds: i64, arrived: i64| OutcomeEvent {
        observed_at: outcome(1).observed_at + Span::new().seconds(seconds),
        arrived_at: outcome(1).arrived_at.map(|at| at + Span::new().seconds(arrived)),
        ..outcome(1)
    };
    land_outcome(&store, &later(7200, 30)).await;
    compacted(&store).await;
    land_outcome(&store, &later(60, 10)).await;
    compacted(&store).await;
    assert_eq!(parked().await, 0);
    let found = find_prediction(&store, prediction(1).prediction_id, &[prediction(1).model]).await.unwrap();
    assert_eq!((found.record, found.place), (Some(prediction(1)), Some(Place::Archive)));
    assert_eq!(found.outcome_events, [outcome(1), later(60, 10), later(7200, 30)], "all that was said");
    assert_eq!(found.outcome.unwrap().arrived_at, later(0, 30).arrived_at, "the last word");
}

#[tokio::test]
async fn a_prediction_is_found_wherever_it_is() {
    let store = filled().await;
    let models = [prediction(0).model];
    let place = async |seed| find_prediction(&store, prediction(seed).prediction_id, &models).await.unwrap().place;
    assert_eq!(place(0).await, Some(Place::Archive));
    assert_eq!(place(8).await, Some(Place::Segment));
    assert_eq!(place(9).await, Some(Place::Landing));
    assert!(find_prediction(&store, prediction(10).prediction_id, &models).await.unwrap().is_nothing());
}

#[tokio::test]
async fn mended_lines_go_back_and_are_archived() {
    let store = TestStore::default();
    let good = serde_json::to_string(&prediction(0)).unwrap();
    // As if a former version had refused them.
    let key = lake::landing_prediction(&prediction(0).model, prediction(0).prediction_id);
    for (offset, line) in [(0, good.as_str()), (900, "still bad")] {
        let bad = archive::BadLine { offset, reason: "invalid_json", detail: "d".to_owned(), original: line.into() };
        land(&store, &lake::quarantine(&key, offset), std::str::from_utf8(&bad.to_document(&key)).unwrap()).await;
    }
    let document =
        archive::BadLine { offset: 0, reason: "unknown_event", detail: "d".to_owned(), original: b"x".to_vec() };
    land(&store, "quarantine/messages/m/0.json", std::str::from_utf8(&document.to_document("messages/m")).unwrap())
        .await;
    let whole = lake::quarantined_object(&lake::landing_outcome(outcome(0).prediction_id, "0000000000000000"), "d");
    land(&store, &whole, &serde_json::to_string(&outcome(0)).unwrap()).await;

    let before = store.inner.contents();
    let dry = redrive(&store, lake::LANDING, None, true).await.unwrap();
    assert_eq!((dry.lines, dry.objects, dry.whole_objects), (2, 1, 1));
    assert_eq!(store.inner.contents(), before);
    assert_eq!(redrive(&store, lake::LANDING, Some("other"), false).await.unwrap().lines, 0);
    redrive(&store, lake::LANDING, None, false).await.unwrap();
    assert_eq!(below(&store, "quarantine/").len(), 1, "the message");
    compacted(&store).await;
    let found = find_prediction(&store, prediction(0).prediction_id, &[prediction(0).model]).await.unwrap();
    assert_eq!((found.record, found.outcome_events), (Some(prediction(0)), vec![outcome(0)]));
    assert_eq!(below(&store, "quarantine/landing/").len(), 1, "what is still bad");
}

/// A lake whose archiver is told of what lands before the put has returned.
struct Eager(MemoryStore);

#[async_trait]
impl GetObject for Eager {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        self.0.get_object(key, if_none_match).await
    }
}

#[async_trait]
impl PutObject for Eager {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        let put = self.0.put_object(key, bytes, condition).await?;
        if key.starts_with(lake::LANDING) {
            // On a thread of its own, since the function's future is none that may move between threads.
            std::thread::scope(|scope| {
                let archived = scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(handle(&self.0, &config(), &json!({"archive": {}}), None)).unwrap();
                });
                archived.join().unwrap();
            });
        }
        Ok(put)
    }
}

#[async_trait]
impl DeleteObject for Eager {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete_object(key).await
    }
}

#[async_trait]
impl ListObjects for Eager {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        self.0.list_objects(prefix).await
    }
}

#[tokio::test]
async fn what_is_still_bad_survives_every_redrive() {
    let store = Eager(MemoryStore::new());
    let key = lake::landing_prediction(&prediction(0).model, prediction(0).prediction_id);
    for (offset, line) in [(0, "bad"), (4, "worse")] {
        let bad = archive::BadLine { offset, reason: "invalid_json", detail: "d".to_owned(), original: line.into() };
        store
            .0
            .put_object(&lake::quarantine(&key, offset), bad.to_document(&key).into(), PutCondition::Always)
            .await
            .unwrap();
    }
    for round in 0..3 {
        let report = redrive(&store, lake::LANDING, None, false).await.unwrap();
        assert_eq!((report.lines, report.objects), (2, 1), "round {round}");
        let kept: Vec<_> = store.0.contents().into_iter().filter(|(key, _)| key.starts_with("quarantine/")).collect();
        assert_eq!(kept.len(), 2, "round {round}: {kept:?}");
    }
}

async fn publish(store: &TestStore, name: &str, created_at: Timestamp) -> ReleaseId {
    let arm = Arm { name: name.into(), endpoint: "e".into(), variant: "v".into(), model_version: "1".into() };
    let spec = FeatureSpecSource { hash: "h".into(), toml: String::new() };
    let limits = Limits { max_candidates: 1, default_deadline_ms: 100 };
    let release = Release::new("pickup-eta".parse().unwrap(), created_at, spec, vec![arm], limits);
    let id = release.id().unwrap();
    land(store, &lake::release(&release.model, &id), std::str::from_utf8(&release.to_bytes()).unwrap()).await;
    id
}

#[tokio::test]
async fn only_what_nothing_names_and_no_retention_keeps_goes() {
    let store = filled().await;
    let old = now().plus(-1000).start();
    let [current, previous, named, waiting, orphan] = [
        publish(&store, "a", old).await,
        publish(&store, "b", old).await,
        publish(&store, "c", old).await,
        publish(&store, "d", old).await,
        publish(&store, "e", old).await,
    ];
    let young = publish(&store, "f", now().start()).await;
    let pointer = ReleasePointer::new(current, Some(previous), old);
    land(&store, "releases/pickup-eta/current.json", &serde_json::to_string(&pointer).unwrap()).await;
    land_prediction(&store, &PredictionRecord { release_id: named, ..prediction(20) }).await;
    compacted(&store).await;
    land_prediction(&store, &PredictionRecord { release_id: waiting, ..prediction(21) }).await;
    land(
        &store,
        &lake::quarantine(&lake::landing_prediction(&prediction(0).model, prediction(0).prediction_id), 0),
        "{}",
    )
    .await;
    let policy = |keep: Option<u32>, dry_run| GcPolicy {
        now: now(),
        min_age_hours: 1,
        retention: Retention { archive_hours: keep, quarantine_hours: keep },
        dry_run,
    };
    let before = store.inner.contents();
    let report = collect_garbage(&store, &policy(None, true)).await.unwrap();
    let model = prediction(0).model;
    assert_eq!(
        report.garbage.iter().map(|garbage| garbage.key.clone()).collect::<Vec<_>>(),
        [lake::release(&model, &orphan)]
    );
    assert_eq!((report.releases_kept, report.releases_spared), (4, 1));
    assert_eq!(store.inner.contents(), before, "a dry run");

    // The first hour of both tables is over, and its quarantined line.
    let kept = u32::try_from(24 - 1).unwrap();
    let report = collect_garbage(&store, &policy(Some(kept), false)).await.unwrap();
    assert_eq!(
        report.garbage.iter().filter(|garbage| garbage.reason == "retention").count(),
        3,
        "{:?}",
        report.garbage
    );
    let left = store.inner.keys();
    assert!(!left.contains(&lake::release(&model, &orphan)) && left.contains(&lake::release(&model, &young)));
    assert!(report.garbage.iter().all(|garbage| !left.contains(&garbage.key)));
    let again = collect_garbage(&store, &policy(Some(kept), false)).await.unwrap();
    assert_eq!(again.garbage, []);
}

#[tokio::test]
async fn what_is_exported_is_what_sagemaker_would_have_written() {
    let store = filled().await;
    let (sink, model) = (MemoryStore::new(), prediction(0).model);
    let summary = export_data_capture(&store, &model, ALL, &sink, "capture/").await.unwrap();
    assert_eq!((summary.hours, summary.files, summary.lines), (2, 2, 16), "two candidates each");
    let range = ExportRange { from: Some(prediction(4).hour()), to: Some(prediction(4).hour()) };
    let summary = export_ground_truth(&store, &model, range, &sink, "truth/").await.unwrap();
    assert_eq!((summary.hours, summary.files, summary.lines), (1, 1, 4));
    let key = "capture/e/v/2026/01/31/12/pickup-eta-2026-01-31T12.jsonl";
    let captures = sink.get_object(key, None).await.unwrap().found().unwrap();
    let truth = sink.contents().into_iter().find(|(key, _)| key.starts_with("truth/2026/01/31/13/")).unwrap().1;
    let label: serde_json::Value = serde_json::from_slice(truth.split(|&byte| byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(label["groundTruthData"], json!({"data": "400", "encoding": "CSV"}));
    assert_eq!(label["eventMetadata"]["eventId"], format!("{}#car-0", prediction(4).prediction_id));

    // And it comes back in as if SageMaker had written it.
    let other = TestStore::default();
    let landing = lake::data_capture_landing(&model) + key.strip_prefix("capture/").unwrap();
    land(&other, &landing, std::str::from_utf8(&captures.bytes).unwrap()).await;
    compacted(&other).await;
    let found = find_prediction(&other, prediction(0).prediction_id, &[model]).await.unwrap();
    assert_eq!(found.inferences.len(), 2);
    assert_eq!(below(&other, "quarantine/").len(), 0);
}
