//! Records that leave after the response, through the local cloud: the `mannen` program, the function as a process of its
//! own, and between it and S3 a gate that holds every PUT back until the test opens it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes connections on to S3, and holds PUTs back as long as it is closed.
struct Gate {
    address: String,
    /// S3's own address, once it is known.
    target: Arc<OnceLock<String>>,
    open: watch::Sender<bool>,
    /// PUTs that have come to the gate.
    puts: watch::Sender<usize>,
}

impl Gate {
    async fn closed() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            target: Arc::default(),
            open: watch::Sender::new(false),
            puts: watch::Sender::new(0),
        };
        let (target, open, puts) = (gate.target.clone(), gate.open.clone(), gate.puts.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(target.get().expect("S3 is known before it is asked")).await.unwrap();
                tokio::spawn(pass_on(client, server, open.subscribe(), puts.clone()));
            }
        });
        gate
    }

    async fn wait_for_puts(&self, count: usize) {
        let mut puts = self.puts.subscribe();
        tokio::time::timeout(Duration::from_mins(1), puts.wait_for(|puts| *puts >= count)).await.unwrap().unwrap();
    }
}

/// A client waits for its answer before it sends more, so that each request begins a read of its own.
async fn pass_on(client: TcpStream, server: TcpStream, mut open: watch::Receiver<bool>, puts: watch::Sender<usize>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        if buffer[..length].starts_with(b"PUT /") {
            puts.send_modify(|puts| *puts += 1);
            _ = open.wait_for(|open| *open).await;
        }
        if to_server.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}

/// `mannen up` with a model whose releases archive after the response.
struct Up {
    child: Child,
    api: String,
    directory: tempfile::TempDir,
}

impl Up {
    fn start(gate: &Gate) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let model = directory.path().join("model");
        fs::create_dir(&model).unwrap();
        for file in ["features.toml", "training.toml", "release.toml"] {
            let text = fs::read_to_string(checkout.join("models/pickup-eta").join(file)).unwrap();
            let archive = if file == "release.toml" { "archive = \"after-response\"\n" } else { "" };
            fs::write(model.join(file), format!("{archive}{text}")).unwrap();
        }
        let template = fs::read_to_string(checkout.join("infra/template.yaml")).unwrap();
        let variable = "          DEFERRED_WORK: !Ref DeferredWork\n";
        let (before, after) = template.split_once(variable).expect("the proxy's environment");
        let gated = format!("{before}{variable}          AWS_ENDPOINT_URL_S3: {}\n{after}", gate.address);
        fs::write(directory.path().join("template.yaml"), gated).unwrap();

        let mut child = Command::new(env!("CARGO_BIN_EXE_mannen"))
            .current_dir(directory.path())
            .env_remove("AWS_PROFILE")
            .args(["up", "--json", "--training-rides", "500", "--model", "model", "--template", "template.yaml"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let s3 = ready["environment"]["AWS_ENDPOINT_URL_S3"].as_str().unwrap();
        gate.target.set(s3.trim_start_matches("http://").to_owned()).unwrap();
        Self { child, api: ready["api"].as_str().unwrap().to_owned(), directory }
    }

    /// The id of an answered request.
    async fn predict(&self) -> String {
        let request = json!({
            "deadline_ms": 9_000,
            "inputs": {"rider_lat": 40.7505, "rider_lon": -73.9934, "rider_zone": 42},
            "candidates": [{"candidate_id": "car-1", "inputs": {"car_lat": 40.7579, "car_lon": -73.9855, "car_zone": 43}}],
        });
        let sent = reqwest::Client::new().post(format!("{}/v1/predictions", self.api)).json(&request).send();
        let response = sent.await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["tier"], "endpoint", "{text}");
        answer["prediction_id"].as_str().unwrap().to_owned()
    }

    /// The ids of the records that S3 has, landed or archived already.
    fn held(&self) -> BTreeSet<String> {
        let mut held = BTreeSet::new();
        for path in files(&self.directory.path().join(".mannen/s3")) {
            let text = path.to_string_lossy().into_owned();
            if text.contains("/landing/predictions/") {
                held.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            } else if text.contains("/predictions/") && text.ends_with(".parquet") {
                // One that went meanwhile is in another file now.
                let Ok(bytes) = fs::read(&path) else { continue };
                let Ok(records) = archive::read_predictions(bytes.into()) else { continue };
                held.extend(records.iter().map(|record| record.prediction_id.to_string()));
            }
        }
        held
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join(".mannen/logs/prediction-proxy.log")).unwrap_or_default()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

async fn wait_until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < patience, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_comes_first_and_every_record_lands_also_when_the_function_is_stopped() {
    let gate = Gate::closed().await;
    let mut up = Up::start(&gate);

    // The answer is there while its record is still held back.
    let first = up.predict().await;
    gate.wait_for_puts(1).await;
    assert!(up.held().is_empty(), "nothing has passed the gate: {:?}", up.held());
    gate.open.send_replace(true);
    wait_until("the record lands", Duration::from_mins(1), || up.held().contains(&first)).await;

    // Warm instances go on answering, and each answer's record lands.
    let mut answered = BTreeSet::from([first]);
    for _ in 0..5 {
        answered.insert(up.predict().await);
    }
    wait_until("all records land", Duration::from_mins(1), || up.held().is_superset(&answered)).await;

    // Stopped with work left, the function does it before it ends.
    gate.open.send_replace(false);
    let before = *gate.puts.borrow();
    let (a, b) = tokio::join!(up.predict(), up.predict());
    gate.wait_for_puts(before + 2).await;
    assert!(up.held().is_disjoint(&BTreeSet::from([a.clone(), b.clone()])));
    let status = Command::new("kill").args(["-INT", &up.child.id().to_string()]).status().unwrap();
    assert!(status.success());
    wait_until("the function is told to stop", Duration::from_secs(30), || up.log().contains("asked to stop")).await;
    gate.open.send_replace(true);
    let ended = tokio::task::spawn_blocking(move || {
        _ = up.child.wait();
        up
    });
    let up = ended.await.unwrap();
    answered.extend([a, b]);
    assert_eq!(up.held(), answered, "{}", up.log());
}
