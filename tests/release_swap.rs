//! Releases are swapped while requests come: no request mixes two of them, none fails, each is archived. Then S3 fails.
//!
//! Small by default. At full size:
//!
//!     MANNEN_SWAP_REQUESTS=10000 MANNEN_SWAPS=50 cargo test --release -p mannen --test release_swap -- --nocapture
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod world;

use std::{
    collections::HashMap,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use cloud::{
    endpoint::{Invocation, InvokeEndpoint},
    object_store::{GetObject, ListObjects, PutCondition, PutObject},
};
use domain::{PredictionId, PredictionRecord, PredictionRequest, Release, ReleaseId, Tier, lake};
use features::Transformer;
use futures::StreamExt;
use releases::ServableRelease;
use serde_json::{Value, json};
use world::{ENDPOINT, World, model, release};

const CONCURRENCY: usize = 8;
/// Different requests; they are sent again and again.
const REQUESTS: usize = 24;

fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn request(index: usize) -> PredictionRequest {
    let at = |step: usize| 40.0 + (index * 7 + step * 13) as f64 % 100.0 / 100.0;
    let candidate = |step: usize| json!({"candidate_id": format!("car-{step}"), "inputs": {"car_lat": at(step + 1)}});
    let candidates: Vec<Value> = (0..3).map(candidate).collect();
    serde_json::from_value(json!({
        "requested_at": "2026-01-31T07:08:09Z", "inputs": {"lat": at(0)}, "candidates": candidates,
    }))
    .unwrap()
}

impl World {
    async fn ask(&self, index: usize) -> Answer {
        let url = format!("{}/v1/predictions", self.cloud.api_url());
        let response = self.http.post(url).json(&request(index)).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        Answer { index, body }
    }

    async fn expected(&self, release: Release) -> Expected {
        let transformer = Transformer::of_release(&release, std::collections::BTreeMap::new()).unwrap();
        let mut rows = Vec::new();
        for index in 0..REQUESTS {
            let request = request(index);
            let (features, fallback) = transformer
                .transform(request.requested_at.unwrap(), &request.inputs, &request.candidates, |table| {
                    let features: Vec<Vec<Option<f64>>> =
                        (0..table.rows()).map(|row| table.row(row).collect()).collect();
                    (features, table.fallback().to_vec())
                })
                .unwrap();
            let csv: String = features
                .iter()
                .map(|row| row.iter().map(|cell| cell.unwrap().to_string()).collect::<Vec<_>>().join(",") + "\n")
                .collect();
            let invocation = Invocation {
                endpoint: ENDPOINT.to_owned(),
                variant: release.arms[0].variant.clone(),
                inference_id: "expected".to_owned(),
                content_type: "text/csv",
                accept: "text/csv",
                body: csv.into(),
                timeout: Duration::from_mins(1),
            };
            let answer = self.runtime.invoke_endpoint(invocation).await.unwrap();
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            let predictions: Vec<f64> =
                text.trim().split(['\n', ',']).map(|cell| cell.trim().parse().unwrap()).collect();
            let predictions = predictions.into_iter().map(|value| transformer.plan().bounded(value).unwrap()).collect();
            rows.push(Rows { features, fallback, predictions });
        }
        Expected { id: release.id().unwrap(), release, rows }
    }
}

/// What one release answers to each request.
struct Expected {
    id: ReleaseId,
    release: Release,
    rows: Vec<Rows>,
}

#[derive(PartialEq)]
struct Rows {
    features: Vec<Vec<Option<f64>>>,
    fallback: Vec<f64>,
    predictions: Vec<f64>,
}

struct Answer {
    index: usize,
    body: Value,
}

impl Answer {
    fn release_id(&self) -> &str {
        self.body["release_id"].as_str().unwrap()
    }

    fn prediction_id(&self) -> PredictionId {
        self.body["prediction_id"].as_str().unwrap().parse().unwrap()
    }

    /// All of the answer is of the release that it names.
    fn check(&self, releases: &HashMap<&str, &Expected>) {
        let Expected { release, rows, .. } = releases[self.release_id()];
        let rows = &rows[self.index];
        let values = if self.body["tier"] == "endpoint" { &rows.predictions } else { &rows.fallback };
        let answered: Vec<f64> = self.body["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|prediction| prediction["value"].as_f64().unwrap())
            .collect();
        assert_eq!(&answered, values, "{}", self.body);
        assert_eq!(self.body["arm"], release.arms[0].name);
        assert_eq!(self.body["model_version"], release.arms[0].model_version);
    }
}

fn check_record(record: &PredictionRecord, answer: &Answer, releases: &HashMap<&str, &Expected>) {
    let Expected { release, rows, .. } = releases[record.release_id.as_str()];
    let (arm, rows) = (&release.arms[0], &rows[answer.index]);
    assert_eq!(record.release_id.as_str(), answer.release_id());
    assert_eq!(record.spec_hash, release.spec.hash);
    assert_eq!((&record.variant, &record.model_version), (&arm.variant, &arm.model_version));
    assert_eq!(record.assignment.arm, arm.name);
    for (row, candidate) in record.candidates.iter().enumerate() {
        assert_eq!(candidate.features, rows.features[row]);
        assert_eq!(candidate.fallback, rows.fallback[row]);
        let expected = if record.tier == Tier::Endpoint { rows.predictions[row] } else { rows.fallback[row] };
        assert_eq!(candidate.prediction, expected);
    }
    assert_eq!(record.candidates.len(), rows.fallback.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn releases_are_swapped_under_load_and_served_on_where_s3_fails() {
    let (requests, swaps) = (size("MANNEN_SWAP_REQUESTS", 600), size("MANNEN_SWAPS", 12));
    let root = tempfile::tempdir().unwrap();
    let world = World::start(root.path(), true).await;
    world.deploy().await;
    let sides = [world.expected(release(0, "shallow")).await, world.expected(release(5_000, "deep")).await];
    for (one, other) in sides[0].rows.iter().zip(&sides[1].rows) {
        assert!(
            one.features != other.features && one.fallback != other.fallback && one.predictions != other.predictions
        );
    }
    let by_id: HashMap<&str, &Expected> = sides.iter().map(|side| (side.id.as_str(), side)).collect();
    let servable = [world.servable(sides[0].release.clone()).await, world.servable(sides[1].release.clone()).await];
    world.publish(&servable[0]).await.unwrap();

    let mut answers = under_load(&world, &servable, requests, swaps).await;
    for answer in &answers {
        answer.check(&by_id);
    }
    for side in &sides {
        let seen = answers.iter().filter(|answer| answer.release_id() == side.id.as_str());
        let by_endpoint = seen.clone().filter(|answer| answer.body["tier"] == "endpoint").count();
        println!("release {}: {} answers, {by_endpoint} by the endpoint", side.id, seen.count());
        assert!(by_endpoint > 0);
    }

    answers.extend(while_s3_fails(&world, &servable, root.path()).await);
    for answer in &answers {
        answer.check(&by_id);
    }
    each_is_archived(&world, &answers, &by_id).await;
    world.cloud.shutdown().await;
}

/// Sends the requests, and swaps the two releases evenly spread over them.
async fn under_load(world: &World, servable: &[ServableRelease; 2], requests: usize, swaps: usize) -> Vec<Answer> {
    let began = Instant::now();
    let answered = AtomicUsize::new(0);
    let sending = futures::stream::iter(0..requests)
        .map(|number| {
            let answered = &answered;
            async move {
                let answer = world.ask(number % REQUESTS).await;
                answered.fetch_add(1, Ordering::Relaxed);
                answer
            }
        })
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<_>>();
    let swapping = async {
        for swap in 1..=swaps {
            while answered.load(Ordering::Relaxed) < swap * requests / (swaps + 1) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.publish(&servable[swap % 2]).await.unwrap();
        }
    };
    let (answers, ()) = tokio::join!(sending, swapping);
    println!("{} requests answered over {swaps} swaps in {:.1} s", answers.len(), began.elapsed().as_secs_f64());
    assert_eq!(answers.len(), requests);
    let moves = releases::history(&world.lake, &model()).await.unwrap();
    assert_eq!(moves.len(), swaps + 1, "every swap is in the history");
    answers
}

/// S3 fails for releases: the last good one is served on, and records are archived. Once it is back, the next is served.
/// Answers that are in the archive.
async fn while_s3_fails(world: &World, servable: &[ServableRelease; 2], root: &Path) -> Vec<Answer> {
    let current = releases::in_force(&world.lake, &model()).await.unwrap().unwrap().pointer.release_id;
    let next = servable.iter().find(|release| *release.id() != current).unwrap();
    // Every warm instance has seen the pointer: no swap is under way.
    for index in 0..REQUESTS {
        assert_eq!(world.ask(index).await.release_id(), current.as_str());
    }
    world.cloud.fail_s3(Some(&lake::release_prefix(&model())));
    assert!(world.publish(next).await.is_err());
    let mut answers = Vec::new();
    for index in 0..8 {
        let answer = world.ask(index).await;
        assert_eq!((answer.release_id(), &answer.body["tier"]), (current.as_str(), &json!("endpoint")));
        answers.push(answer);
    }
    // All of S3: answered all the same, and the records are in the log.
    world.cloud.fail_s3(Some(""));
    let unarchived = world.ask(0).await;
    assert_eq!(unarchived.release_id(), current.as_str());
    world.cloud.fail_s3(None);
    let began = Instant::now();
    let is_its_record = |line: &&str| {
        let record = serde_json::from_str::<PredictionRecord>(line);
        record.is_ok_and(|record| record.prediction_id == unarchived.prediction_id())
    };
    let line = loop {
        if let Some(line) = logs(root).lines().find(is_its_record) {
            break line.to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the record is nowhere");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // As the runbook says.
    let key = format!("landing/predictions/{}/found-in-the-log.jsonl", model());
    world.lake.put_object(&key, line.into(), PutCondition::Always).await.unwrap();
    answers.push(unarchived);
    assert_eq!(world.publish(next).await.unwrap(), *next.id());
    let began = Instant::now();
    loop {
        let answer = world.ask(1).await;
        let is_next = answer.release_id() == next.id().as_str();
        answers.push(answer);
        if is_next {
            return answers;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the next release is not served");
    }
}

fn logs(root: &Path) -> String {
    std::fs::read_dir(root.join("logs"))
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .collect()
}

/// Every answer is in the archive once, and all of its record is of one release.
async fn each_is_archived(world: &World, answers: &[Answer], releases: &HashMap<&str, &Expected>) {
    world.cloud.wait_until_idle(Duration::from_mins(2)).await.unwrap();
    world.cloud.run_schedule("result-archiver", None).await.unwrap();
    let mut records: HashMap<PredictionId, PredictionRecord> = HashMap::new();
    let table = lake::Table::Predictions(model());
    for object in world.lake.list_objects(&table.archive_prefix()).await.unwrap() {
        let file = world.lake.get_object(&object.key, None).await.unwrap().found().unwrap();
        for record in archive::read_predictions(file.bytes).unwrap() {
            let earlier = records.insert(record.prediction_id, record);
            assert!(earlier.is_none(), "archived twice: {earlier:?}");
        }
    }
    for answer in answers {
        let record = records.get(&answer.prediction_id());
        check_record(record.unwrap_or_else(|| panic!("not archived: {}", answer.body)), answer, releases);
    }
    println!("{} answers, {} records", answers.len(), records.len());
}
