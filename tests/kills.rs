//! Functions killed under load: `SIGKILL`, at any moment, again and again; the counts are equal at the end.
//!
//! `KILLS=200 cargo test -p mannen --test end_to_end killed` is the long run.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Up, request};

/// Where `KILLS` does not say so.
const KILLS: u64 = 10;
/// Requests and outcomes under way at once.
const CLIENTS: usize = 4;
const FUNCTIONS: [&str; 3] = ["result-archiver", "outcome-intake", "prediction-proxy"];
const PATIENCE: Duration = Duration::from_mins(5);

/// The processes that run a function of this cloud.
fn functions_of(directory: &Path, name: &str) -> Vec<u32> {
    let needle = directory.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let works_in = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let ours = works_in.to_string_lossy().contains(&needle)
                || String::from_utf8_lossy(&read("environ")).contains(&needle);
            // Past `__child`, which only becomes it.
            (ours && command.contains(&format!("__function {name}")) && !command.contains("__child")).then_some(id)
        })
        .collect()
}

impl Up {
    async fn invoke(&self, function: &str, event: &Value) -> Result<Value, String> {
        let url =
            format!("{}/2015-03-31/functions/{function}/invocations", self.environment["AWS_ENDPOINT_URL_LAMBDA"]);
        let sent = reqwest::Client::new().post(url).body(event.to_string()).send().await;
        let response = sent.map_err(|error| error.to_string())?;
        let failed = response.headers().contains_key("x-amz-function-error") || !response.status().is_success();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if failed { Err(text) } else { serde_json::from_str(&text).map_err(|error| error.to_string()) }
    }

    /// Posts until it is taken: a caller whose answer was cut off sends the same again.
    async fn post_until(&self, path: &str, body: &Value, wanted: u16) {
        let (client, began) = (reqwest::Client::new(), Instant::now());
        loop {
            let sent = client.post(format!("{}{path}", self.api)).header("content-type", "application/json");
            match sent.body(body.to_string()).send().await {
                Ok(response) if response.status().as_u16() == wanted => return,
                Ok(response) if response.status().is_client_error() => {
                    panic!("{path} {}: {}", response.status(), response.text().await.unwrap_or_default())
                }
                _ => {}
            }
            assert!(began.elapsed() < PATIENCE, "{path} was not taken: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn objects(&self, prefix: &str) -> Vec<(String, bytes::Bytes)> {
        let (s3, bucket) = (self.s3(), self.bucket().await);
        let mut pages = s3.list_objects_v2().bucket(&bucket).prefix(prefix).into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.unwrap().contents() {
                let key = object.key().unwrap().to_owned();
                // Objects come and go while they are listed.
                if let Ok(found) = s3.get_object().bucket(&bucket).key(&key).send().await {
                    objects.push((key, found.body.collect().await.unwrap().into_bytes()));
                }
            }
        }
        objects
    }

    /// Until nothing waits to be archived or compacted. A sweep takes what the dead-letter queue holds.
    async fn drain(&self) {
        let began = Instant::now();
        loop {
            let done = [json!({"archive": {}}), json!({"compact": {}})];
            for event in &done {
                _ = self.invoke("result-archiver", event).await;
            }
            let waiting = self.objects("landing/").await.len() + self.objects("segments/").await.len();
            if waiting == 0 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{waiting} objects are left");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// An id of its own for each request, in the hour of the request's time.
fn prediction_id(number: u64) -> String {
    format!("0163bd73-c130-7000-8000-{number:012x}")
}

#[tokio::test]
async fn killed_functions_lose_nothing_and_count_nothing_twice() {
    let kills = std::env::var("KILLS").map_or(KILLS, |count| count.parse().unwrap());
    let up = Up::start(&["--training-rides", "500"]);
    let (number, killing) = (AtomicU64::new(0), AtomicBool::new(true));
    let client = async || {
        let mut sent = Vec::new();
        while killing.load(Ordering::Relaxed) {
            let id = prediction_id(number.fetch_add(1, Ordering::Relaxed));
            let mut request = request();
            request["prediction_id"] = json!(id);
            // Ample, so that a start after a kill leaves time for the record: past its deadline it goes to the log.
            request["deadline_ms"] = json!(20_000);
            up.post_until("/v1/predictions", &request, 200).await;
            let outcome = json!({"prediction_id": id, "candidate_id": "car-1", "observed_at": "2018-06-01T22:40:00Z",
                "arrived_at": "2018-06-01T22:30:00Z"});
            up.post_until("/v1/outcomes", &outcome, 202).await;
            sent.push(id);
        }
        sent
    };
    let killer = async {
        let mut killed = 0;
        let began = Instant::now();
        while killed < kills {
            // In turn, each as soon as it runs again; now and then in the middle of a compaction.
            let name = FUNCTIONS[killed as usize % FUNCTIONS.len()];
            if killed.is_multiple_of(5) {
                let _ = tokio::time::timeout(
                    Duration::from_millis(30 + killed % 70),
                    up.invoke("result-archiver", &json!({"compact": {}})),
                )
                .await;
            }
            tokio::time::sleep(Duration::from_millis(10 + killed * 37 % 90)).await;
            let Some(id) = functions_of(up.directory.path(), name).into_iter().next() else {
                assert!(began.elapsed() < PATIENCE * 4, "{name} does not run");
                continue;
            };
            let status = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status().unwrap();
            killed += u64::from(status.success());
        }
        killing.store(false, Ordering::Relaxed);
        killed
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
    let (killed, sent) = tokio::join!(killer, futures::future::join_all(clients));
    let sent: BTreeSet<String> = sent.into_iter().flatten().collect();
    up.drain().await;

    let (mut predictions, mut outcomes) = (Vec::new(), Vec::new());
    for (_, file) in up.objects("archive/predictions/").await {
        predictions
            .extend(archive::read_predictions(file).unwrap().iter().map(|record| record.prediction_id.to_string()));
    }
    for (_, file) in up.objects("archive/outcomes/").await {
        outcomes.extend(archive::read_outcomes(file).unwrap().iter().map(|event| event.prediction_id.to_string()));
    }
    println!("{killed} kills, {} requests, {} predictions, {} outcomes", sent.len(), predictions.len(), outcomes.len());
    for mut found in [predictions, outcomes] {
        found.sort();
        assert!(found.iter().eq(&sent), "{} of {} sent", found.len(), sent.len());
    }
    assert_eq!(up.objects("quarantine/").await, []);
}
