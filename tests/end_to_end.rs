//! The whole loop through the local cloud, as a user runs it: the `mannen` program, its own functions as processes, real
//! HTTP and S3.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod kills;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    config::{BehaviorVersion, Credentials, Region},
    primitives::ByteStream,
};
use domain::{Release, ReleasePointer, lake};
use serde_json::{Value, json};

const MANNEN: &str = env!("CARGO_BIN_EXE_mannen");

fn mannen(directory: &Path) -> Command {
    let mut command = Command::new(MANNEN);
    // Another machine's credentials must not matter, nor its colours.
    command.current_dir(directory).env_remove("AWS_PROFILE").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Processes that work in this run's folder, or whose command line or environment names it.
fn processes_of(directory: &Path) -> Vec<String> {
    let needle = directory.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|entry| entry.file_name().to_string_lossy() != std::process::id().to_string())
        .filter_map(|entry| {
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let (command, environment) = (read("cmdline"), read("environ"));
            let works_in = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let all = [command.clone(), environment, works_in.to_string_lossy().into_owned().into_bytes()].concat();
            String::from_utf8_lossy(&all)
                .contains(&needle)
                .then(|| String::from_utf8_lossy(&command).replace('\0', " "))
        })
        .collect()
}

fn assert_no_process_left(directory: &Path) {
    let began = Instant::now();
    loop {
        let left = processes_of(directory);
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_demo_runs_the_whole_loop() {
    let directory = tempfile::tempdir().unwrap();
    // A deadline that a busy machine keeps too.
    let model = model_folder(&directory.path().join("models/pickup-eta"), |text| {
        assert!(text.contains("default_deadline_ms = 500"));
        text.replace("default_deadline_ms = 500", "default_deadline_ms = 10000")
    });
    let output = mannen(directory.path())
        .args(["demo", "--json", "--requests", "150", "--training-rides", "3000", "--seed", "7", "--model", &model])
        .args(["--challenger", "none"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.trim().lines().count(), 1, "one object: {text}");
    let result: Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| result[name].as_f64().unwrap_or_else(|| panic!("{name} in {text}"));
    assert_eq!(number("requests"), 150.0);
    assert_eq!(number("archived"), 150.0);
    assert_eq!(number("outcomes"), 150.0);
    assert_eq!(number("joined") + number("cancelled"), 150.0);
    assert!(number("archived_candidates") > 150.0);
    assert!(number("model_mae_s") < 0.9 * number("fallback_mae_s"), "the model wins clearly: {text}");
    assert!(number("seconds") > 0.0);
    let report = fs::read_to_string(result["report"].as_str().unwrap()).unwrap();
    assert!(report.contains("pickup-eta") && report.contains("<svg"));
    assert_eq!(result["replay"]["tiers"]["endpoint"], 150, "{text}");
    assert_no_process_left(directory.path());
    what_it_left_can_be_asked_about(directory.path(), number("joined"));
}

/// Receipts: all predictions of the demo are made again with the same bits; by a copy of the spec with one constant changed, they are
/// not, and the feature is named.
fn decisions_can_be_made_again(directory: &Path) {
    let ask = |arguments: &[&str]| -> (Option<i32>, Value) {
        let output = mannen(directory).args(arguments).args(["--json", "--quiet"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = text.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let told = first.unwrap_or_else(|| panic!("{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), told)
    };
    let (code, all) = ask(&["explain", "--sample", "1000"]);
    assert_eq!((code, &all["predictions"], &all["bit_equal"]), (Some(0), &json!(150), &json!(150)), "{all}");
    assert_eq!(all["answers"]["equal"], 150, "{all}");
    let (code, audit) = ask(&["drift", "skew", "--sample", "60"]);
    assert_eq!((code, &audit["records"], &audit["equal"]), (Some(0), &json!(60), &json!(60)), "{audit}");

    let text = fs::read_to_string(directory.join("models/pickup-eta/features.toml")).unwrap();
    let constant = "LN(1 + distance_m)";
    assert!(text.contains(constant));
    fs::write(directory.join("changed.toml"), text.replace(constant, "LN(1.000000001 + distance_m)")).unwrap();
    let (code, skewed) = ask(&["explain", "--sample", "50", "--no-answers", "--spec", "changed.toml"]);
    let differing: Vec<&str> =
        skewed["features"]["differing"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((code, differing), (Some(1), vec!["log_distance"]), "{skewed}");

    let id = skewed["features"]["differing"]["log_distance"]["example"].as_str().unwrap().to_owned();
    let (code, receipt) = ask(&["explain", &id]);
    assert_eq!((code, &receipt["features"]["rebuilt"]), (Some(0), &json!("bit-equal")), "{receipt}");
    assert_eq!(
        (&receipt["answer"]["rebuilt"], &receipt["decision"]["tier"]),
        (&json!("bit-equal"), &json!("endpoint"))
    );
    assert_eq!(receipt["decision"]["assignment"]["probability"], 0.5);
    assert!(receipt["outcome"].is_object() && receipt["place"] == "archive", "{receipt}");
    let output = mannen(directory).args(["explain", &id]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("features made again: bit-equal") && told.contains("deeper-trees"), "{told}");
}

/// The commands over evaluations, on the lake of a cloud that has ended.
fn what_it_left_can_be_asked_about(directory: &Path, joined: f64) {
    let ask = |arguments: &[&str]| -> Value {
        let output = mannen(directory).args(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let card = ask(&["experiment", "status"])["experiments"][0].take();
    assert_eq!((&card["id"], &card["arms"][0]["name"]), (&"deeper-trees".into(), &"control".into()));
    let predictions: u64 =
        card["arms"].as_array().unwrap().iter().map(|arm| arm["predictions"].as_u64().unwrap()).sum();
    assert_eq!(predictions, 150);
    assert!(card["comparisons"][0]["metrics"][0]["effect"]["upper"].is_f64(), "{card}");
    assert!(ask(&["experiment", "plan", "--effect", "0.1"])["units"].as_u64().unwrap() > 100);
    let ended = ask(&["experiment", "stop", "--arm", "treatment"]);
    assert_eq!(ended["release"]["arms"][0]["name"], "treatment");
    assert!(ended["release"]["experiment"].is_null());
    let report = ask(&["report", "--out", "page.html"]);
    assert_eq!(report["drift"]["rows"].as_f64(), Some(joined), "{report}");
    assert!(fs::read_to_string(directory.join("page.html")).unwrap().contains("Features against training"));
    let output = mannen(directory).args(["report", "--out", "page.ja.html", "--lang", "ja"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("ラベル到着率"), "{output:?}");
    assert!(fs::read_to_string(directory.join("page.ja.html")).unwrap().contains("<html lang=\"ja\">"));
    // The demo leaves both pages, which lead to each other.
    for (name, other) in [("report.html", "report.ja.html"), ("report.ja.html", "report.html")] {
        let page = fs::read_to_string(directory.join(".mannen").join(name)).unwrap();
        assert!(page.contains(&format!("<a href=\"{other}\"")), "{name}");
    }
    let output = mannen(directory).args(["report", "--markdown"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("## Experiment deeper-trees"));
    // What drifts, and the baselines as SageMaker Model Monitor's files and back.
    let drift = |arguments: &[&str]| {
        let output = mannen(directory).arg("drift").args(arguments).args(["--json", "--quiet"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = text.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok());
        first.unwrap_or_else(|| panic!("{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    assert!(drift(&["status"])["features"]["rows"].as_f64() == Some(joined));
    // Both variants were asked for the held-out rides.
    let bucket = fs::read_dir(directory.join(".mannen/s3")).unwrap().next().unwrap().unwrap().path();
    let models = fs::read_dir(bucket.join("baselines/pickup-eta/models")).unwrap();
    assert_eq!(
        models.filter(|model| model.as_ref().unwrap().path().extension().is_some_and(|e| e == "json")).count(),
        2
    );
    decisions_can_be_made_again(directory);
    let shown = drift(&["baseline", "show"]);
    // The baseline is of all rows that were trained on; the latest tenth of the time is held out.
    let view = fs::read_dir(bucket.join("training/pickup-eta/views")).unwrap().next().unwrap().unwrap().path();
    let view: Value = serde_json::from_slice(&fs::read(view.join("view.json")).unwrap()).unwrap();
    assert_eq!(shown["rows"], view["rows"]["train"], "{shown}");
    assert_eq!(view["rows"]["train"].as_u64().unwrap() + view["rows"]["held_out"].as_u64().unwrap(), 3000, "{view}");
    its_models_can_be_asked_about(directory);
    drift(&["baseline", "export", "--out", "monitor"]);
    let violations = drift(&["violations", "--constraints", "monitor/constraints.json"]);
    assert!(violations["violations"].is_array() && directory.join("constraint_violations.json").is_file());
    assert_eq!(
        drift(&["baseline", "import", "monitor/statistics.json"])["columns"],
        shown["columns"].as_array().unwrap().len()
    );
    let imported = drift(&["baseline", "show"]);
    assert_eq!((&imported["rows"], &imported["spec_hash"]), (&shown["rows"], &shown["spec_hash"]));
    a_registered_model_is_backtested(directory, &bucket, joined);
}

/// Each variant's model over all archived requests: where it had answered itself, it says the same bits again.
fn a_registered_model_is_backtested(directory: &Path, bucket: &Path, joined: f64) {
    let name = bucket.file_name().unwrap().to_str().unwrap();
    let releases = fs::read_dir(bucket.join("releases/pickup-eta")).unwrap();
    let releases =
        releases.filter_map(|entry| serde_json::from_slice::<Release>(&fs::read(entry.unwrap().path()).ok()?).ok());
    let release = releases.max_by_key(|release| release.arms.len()).unwrap();
    assert_eq!(release.arms.len(), 2);
    for arm in &release.arms {
        let version = &arm.model_version;
        let document = bucket.join(lake::model_version(&"pickup-eta".parse().unwrap(), version));
        if !document.exists() {
            fs::create_dir_all(document.parent().unwrap()).unwrap();
            let lineage = json!({
                "dataset": {"name": "rides", "address": "0"}, "spec": release.spec, "view": "0", "code": {"address": "0"},
                "image": "mannen/reference-model:latest", "hyperparameters": {},
            });
            let text = json!({
                "model": "pickup-eta", "version": version, "variant": arm.variant, "lineage": lineage,
                "trained_at": "2018-01-01T00:00:00Z",
                "artefact": format!("s3://{name}/models/pickup-eta/{version}/output/model.tar.gz"),
            });
            fs::write(&document, text.to_string()).unwrap();
        }
        let arguments = ["backtest", "--model", version, "--min-segment-rows", "10", "--json"];
        let output = mannen(directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["backtest"]["all"]["difference"]["rows"].as_f64(), Some(joined), "{told}");
        assert_eq!((&told["left_out"]["features_differ"], &told["left_out"]["not_rebuilt"]), (&json!(0), &json!({})));
        let segments = told["backtest"]["segments"].as_array().unwrap();
        let of = |segment: &str, value: &str| {
            segments.iter().find(|found| found["segment"] == segment && found["value"] == value).unwrap()
        };
        let own = of("model_version", version);
        assert_eq!(own["model"], own["then"], "{own}");
        assert_eq!(
            (&own["difference"]["difference_s"], &own["difference"]["lower_s"], &own["difference"]["upper_s"]),
            (&json!(0.0), &json!(0.0), &json!(0.0))
        );
        assert!(
            of("tier", "endpoint")["difference"]["difference_s"] != json!(0.0),
            "the other arm says something else"
        );
    }
    let output = mannen(directory).args(["backtest", "--model", &release.arms[0].model_version]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("difference of the mean absolute errors") && text.contains("hour_of_day"), "{text}");
    let output = mannen(directory).args(["backtest", "--model", "pickup-eta-none-0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("no version pickup-eta-none-0 is registered"), "{text}");
}

/// `mannen model` on the lake of a cloud that has ended.
fn its_models_can_be_asked_about(directory: &Path) {
    let ask = |arguments: &[&str]| {
        let output = mannen(directory).arg("model").args(arguments).arg("--json").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // An error is told as an object of its own.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = text.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok());
        (first.unwrap_or(Value::Null), output.status.code(), told)
    };
    let (list, _, _) = ask(&["list"]);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 2);
    for version in list {
        assert_eq!(
            (&version["state"], &version["verdict"]["offered"]),
            (&json!("in_force"), &json!(true)),
            "{version}"
        );
        let lineage = &version["registered"]["lineage"];
        for digest in [&lineage["dataset"]["address"], &lineage["code"]["address"], &lineage["spec"]["hash"]] {
            assert_eq!(digest.as_str().unwrap().len(), 64, "{version}");
        }
        assert_eq!(version["registered"]["artefact_sha256"].as_str().unwrap().len(), 64);
    }
    let (deep, _, _) = ask(&["show", "deep"]);
    assert_eq!(deep["registered"]["variant"], "deep");
    let (compared, code, _) = ask(&["compare", "deep", "shallow"]);
    assert_eq!((code, compared["before"]["registered"]["variant"].as_str()), (Some(1), Some("deep")));
    // What is in force cannot be retired, and without its cloud nothing can be deployed.
    let (told, code, _) = ask(&["retire", "deep"]);
    assert!(code == Some(1) && told.to_string().contains("in force as"), "{told}");
    let (told, code, _) = ask(&["show", "nobody"]);
    assert!(code == Some(1) && told.to_string().contains("mannen model list"), "{told}");
    // The same inputs twice: the same code, the same model, to the byte.
    let train = |out: &str| {
        let output = mannen(directory)
            .args(["train", "--local", "--json", "--quiet", "--model", "models/pickup-eta", "--out", out])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let trained: Value = serde_json::from_slice(&output.stdout).unwrap();
        let model = directory.join(out).join("deep/model");
        let mut files: Vec<_> = fs::read_dir(model).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let content: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        (trained[0]["code"].clone(), content)
    };
    let (first, second) = (train("once"), train("twice"));
    assert!(first == second && !first.1.is_empty());
    assert_eq!(first.0, list[0]["registered"]["lineage"]["code"]["address"]);
}

#[test]
fn a_challenger_that_was_trained_on_newer_data_wins_the_traffic_by_evidence() {
    let directory = tempfile::tempdir().unwrap();
    let model = model_folder(&directory.path().join("models/pickup-eta"), |text| {
        text.replace("default_deadline_ms = 500", "default_deadline_ms = 10000")
    });
    let output = mannen(directory.path())
        .args(["demo", "--json", "--requests", "100", "--training-rides", "3000", "--model", &model])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_str(&text).unwrap();
    let challenger = &result["challenger"];
    assert_eq!((&challenger["offered"], &challenger["ending"]), (&json!(true), &json!("promoted")), "{challenger}");
    let seconds = |name: &str| challenger[name].as_f64().unwrap();
    assert!(seconds("held_out_mae_s") < 0.9 * seconds("champion_mae_s"), "{challenger}");
    let rounds = challenger["rounds"].as_array().unwrap();
    let advanced = rounds.iter().filter(|round| round["decision"]["decision"] == "advance");
    let shares: Vec<f64> = advanced.map(|round| round["share"].as_f64().unwrap()).collect();
    assert_eq!(shares, [0.2, 0.5], "{challenger}");
    // It answers alone, and the releases' history tells how it came to that.
    let output = mannen(directory.path()).args(["release", "show", "--json"]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains(challenger["version"].as_str().unwrap()) && !shown.contains("\"ramp\""), "{shown}");
    assert_no_process_left(directory.path());
}

/// A file of rides becomes a dataset version, two models, and an endpoint: command by command, as somebody would do it.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_model_is_trained_approved_and_deployed_by_commands() {
    let up = Up::start(&["--empty"]);
    let folder = up.directory.path();
    model_folder(&folder.join("models/pickup-eta"), |text| {
        text.replace("default_deadline_ms = 500", "default_deadline_ms = 10000")
    });
    let mut csv = "requested_at,rider_lat,rider_lon,rider_zone,car_lat,car_lon,car_zone,drive_s\n".to_owned();
    for row in 0..2_000_i64 {
        let at = jiff::Timestamp::from_second(1_515_000_000 + row * 180).unwrap();
        let (car_lat, car_lon) = (40.70 + (row % 61) as f64 * 0.001, -73.99 + (row % 37) as f64 * 0.001);
        let drive_s = 100.0 + ((car_lat - 40.73_f64).abs() + (car_lon + 73.97).abs()) * 12_000.0 + (row % 7) as f64;
        writeln!(csv, "{at},40.73,-73.97,42,{car_lat},{car_lon},43,{drive_s}").unwrap();
    }
    fs::write(folder.join("rides.csv"), csv).unwrap();
    let run = |arguments: &[&str]| {
        let output = mannen(folder).args(arguments).args(["--json", "--quiet"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = text.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok()).unwrap_or_default();
        let told = format!("{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        (first, output.status.success(), told)
    };
    let good = |arguments: &[&str]| {
        let (answer, success, told) = run(arguments);
        assert!(success, "{told}");
        answer
    };
    good(&["dataset", "extract", "--model", "models/pickup-eta", "--file", "rides.csv"]);
    let trained = good(&["train", "--model", "models/pickup-eta"]);
    let again = good(&["train", "--model", "models/pickup-eta"]);
    let names = |versions: &Value| -> Vec<String> {
        versions.as_array().unwrap().iter().map(|version| version["version"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&trained), names(&again), "the same inputs are the same jobs");
    assert_eq!(good(&["model", "list"]).as_array().unwrap().len(), 2);
    let (_, success, told) = run(&["model", "deploy", "deep", "--as", "only"]);
    assert!(!success && told.contains("only an approved version"), "{told}");
    good(&["model", "approve", "deep", "--why", "the first"]);
    let (_, success, told) = run(&["model", "deploy", "deep"]);
    assert!(!success && told.contains("--as only"), "{told}");
    good(&["model", "deploy", "deep", "--as", "only", "--folder", "models/pickup-eta"]);
    assert_eq!(good(&["model", "show", "deep"])["state"], "in_force");
    let request = json!({
        "inputs": {"rider_lat": 40.73, "rider_lon": -73.97, "rider_zone": 42},
        "candidates": [{"candidate_id": "a", "inputs": {"car_lat": 40.73, "car_lon": -73.99, "car_zone": 43}}],
    });
    let (status, answer) = up.post("/v1/predictions", request.to_string()).await;
    assert_eq!((status, &answer["tier"]), (200, &json!("endpoint")), "{answer}");
    // The other goes beside it, as a shadow, and then as a ramp.
    good(&["model", "approve", "shallow"]);
    good(&["model", "deploy", "shallow", "--as", "shadow"]);
    assert_eq!(good(&["model", "show", "shallow"])["roles"].as_array().unwrap().len(), 1);
    up.signal("-INT");
}

/// The deadline is generous here: it is the tiers and the archive that a busy machine must not change.
#[test]
fn under_every_fault_every_request_is_answered_by_the_right_tier_and_archived() {
    let directory = tempfile::tempdir().unwrap();
    let output = mannen(directory.path())
        .args(["fault-matrix", "--json", "--requests", "2", "--training-rides", "500"])
        .args(["--deadline-ms", "2000", "--grace-ms", "5000"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_str(&text).unwrap();
    let rows = result["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3 * 11);
    for row in rows {
        assert_eq!((&row["answered"], &row["archived"]), (&json!(2), &json!(2)), "{row}");
        assert_eq!(row["broken"], json!([]), "{row}");
    }
    assert_no_process_left(directory.path());
}

/// `mannen up`, and what it said when it was ready.
struct Up {
    child: Child,
    api: String,
    environment: BTreeMap<String, String>,
    directory: tempfile::TempDir,
}

impl Up {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = mannen(directory.path())
            .args(["up", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self {
            child,
            api: ready["api"].as_str().unwrap().to_owned(),
            environment: serde_json::from_value(ready["environment"].clone()).unwrap(),
            directory,
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        let variable = |name: &str| self.environment[name].clone();
        let credentials =
            Credentials::new(variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(variable("AWS_REGION")))
            .credentials_provider(credentials)
            .endpoint_url(variable("AWS_ENDPOINT_URL_S3"))
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    async fn bucket(&self) -> String {
        self.s3().list_buckets().send().await.unwrap().buckets()[0].name().unwrap().to_owned()
    }

    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let response = reqwest::Client::new()
            .post(format!("{}{path}", self.api))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}")))
    }

    /// Every object below `prefix`, once there is at least one.
    async fn wait_for(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let (s3, bucket) = (self.s3(), self.bucket().await);
        let began = Instant::now();
        loop {
            let listed = s3.list_objects_v2().bucket(&bucket).prefix(prefix).send().await.unwrap();
            if !listed.contents().is_empty() {
                let mut objects = Vec::new();
                for object in listed.contents() {
                    let key = object.key().unwrap().to_owned();
                    let body = s3.get_object().bucket(&bucket).key(&key).send().await.unwrap().body;
                    objects.push((key, body.collect().await.unwrap().to_vec()));
                }
                return objects;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "nothing appeared below {prefix}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn request() -> Value {
    json!({
        "unit_id": "rider-7",
        "requested_at": "2018-06-01T22:24:30Z",
        "inputs": {"rider_lat": 40.7505, "rider_lon": -73.9934, "rider_zone": 42},
        "candidates": [
            {"candidate_id": "car-1", "inputs": {"car_lat": 40.7579, "car_lon": -73.9855, "car_zone": 43}},
            {"candidate_id": "car-2", "inputs": {"car_lat": 40.7308, "car_lon": -73.9973, "car_zone": 30}},
        ],
    })
}

#[tokio::test]
async fn bad_input_is_told_and_nothing_is_lost() {
    let up = Up::start(&["--training-rides", "500"]);

    // A request that is right: answered by the endpoint.
    let (status, answer) = up.post("/v1/predictions", request().to_string()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((answer["tier"].as_str(), answer["predictions"].as_array().unwrap().len()), (Some("endpoint"), 2));
    let id = answer["prediction_id"].as_str().unwrap().to_owned();
    assert_eq!(up.post("/v1/features", request().to_string()).await.0, 200);

    // Requests that are not: a problem document with a pointer.
    let mut out_of_range = request();
    out_of_range["inputs"]["rider_lat"] = json!(91);
    let mut unknown = request();
    unknown["inputs"]["wind_m_s"] = json!(3);
    let mut missing = request();
    missing["candidates"][1]["inputs"].as_object_mut().unwrap().remove("car_lon");
    let mut too_many = request();
    too_many["candidates"] = (0..201)
        .map(|car| json!({"candidate_id": format!("car-{car}"), "inputs": {"car_lat": 40.7, "car_lon": -73.9}}))
        .collect();
    let cases = [
        (out_of_range.to_string(), 422, "out_of_range", "/inputs/rider_lat"),
        (unknown.to_string(), 422, "unknown_field", "/inputs/wind_m_s"),
        (missing.to_string(), 422, "missing_field", "/candidates/1/inputs/car_lon"),
        (too_many.to_string(), 422, "too_many_candidates", "/candidates"),
        ("{\"inputs\": {\"rider_lat\": NaN}}".to_owned(), 400, "invalid_json", ""),
        (format!("{}{}", request(), " ".repeat(5_300_000)), 413, "body_too_large", ""),
    ];
    for (body, status, reason, pointer) in cases {
        for path in ["/v1/predictions", "/v1/features"] {
            let (found, problem) = up.post(path, body.clone()).await;
            assert_eq!((found, problem["reason"].as_str()), (status, Some(reason)), "{path} {problem}");
            assert_eq!(problem["errors"][0]["pointer"].as_str().unwrap_or_default(), pointer, "{path} {problem}");
        }
    }
    let (status, problem) = up.post("/v1/outcomes", json!({"prediction_id": id}).to_string()).await;
    assert_eq!(status, 422, "{problem}");

    // A landed file with a bad line in the middle: the bad line is kept with its place and reason, the rest archived.
    let outcome = |observed: &str| {
        json!({
            "prediction_id": id,
            "candidate_id": "car-1",
            "observed_at": observed,
            "arrived_at": "2018-06-01T22:30:00Z",
        })
        .to_string()
    };
    let (first, last) = (outcome("2018-06-01T22:30:01Z"), outcome("2018-06-01T22:30:02Z"));
    let bad = "{\"prediction_id\": \"nobody\"}";
    let file = format!("{first}\n{bad}\n{last}\n");
    let key = "landing/outcomes/by hand/a+b é.jsonl";
    let bucket = up.bucket().await;
    let body = ByteStream::from(file.into_bytes());
    up.s3().put_object().bucket(&bucket).key(key).body(body).send().await.unwrap();
    let quarantined = up.wait_for("quarantine/").await;
    assert_eq!(quarantined.len(), 1);
    let document: Value = serde_json::from_slice(&quarantined[0].1).unwrap();
    assert_eq!(document["offset"], first.len() + 1, "{document}");
    assert!(document["reason"].is_string(), "{document}");
    assert!(document.to_string().contains("nobody"), "the original bytes: {document}");
    let segments = up.wait_for("segments/outcomes/").await;
    let events: usize =
        segments.into_iter().map(|(_, bytes)| archive::read_outcomes(bytes.into()).unwrap().len()).sum();
    assert_eq!(events, 2);

    up.signal("-INT");
    assert_no_process_left(up.directory.path());
}

#[tokio::test]
async fn a_killed_cloud_leaves_no_process_behind() {
    let up = Up::start(&["--empty"]);
    let (status, problem) = up.post("/v1/predictions", request().to_string()).await;
    assert_eq!((status, problem["reason"].as_str()), (404, Some("no_release")), "{problem}");
    assert!(processes_of(up.directory.path()).len() > 1, "the functions run as processes of their own");
    up.signal("-KILL");
    assert_no_process_left(up.directory.path());
}

#[test]
fn wrong_arguments_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["demo", "--requests", "0"], 2, "--requests"),
        (&["demo", "--trips", "x.csv"], 2, "--zones"),
        (&["demo", "--trips", "x.csv", "--zones", "nowhere.csv"], 1, "nowhere.csv"),
        (&["replay", "--api", "http://127.0.0.1:9", "--requests", "1"], 1, "mannen up"),
    ];
    for (arguments, code, text) in cases {
        let output = mannen(directory.path()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(text), "{arguments:?}: {said}");
    }
}

#[test]
fn a_bad_spec_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta");
    let folder = directory.path().join("model");
    fs::create_dir(&folder).unwrap();
    for file in ["features.toml", "training.toml", "release.toml"] {
        let text = fs::read_to_string(source.join(file)).unwrap();
        fs::write(folder.join(file), text.replace("COALESCE(rain_mm, 0)", "COALESCE(rain_m, 0)")).unwrap();
    }
    let output = mannen(directory.path()).args(["demo", "--model", "model"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("model/features.toml:") && said.contains("did you mean `rain_mm`?"), "{said}");
}

#[test]
fn a_spec_is_checked_compared_and_run_over_files() {
    let directory = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta");
    let model = model.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = mannen(directory.path()).arg("features").args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, _) = run(&["check", model]);
    assert!(code == Some(0) && said.contains("21 model columns"), "{said}");
    assert!(run(&["explain", model]).1.contains("distance_m"));
    assert!(run(&["functions"]).1.contains("GREAT_CIRCLE_M(lat1, lon1, lat2, lon2)"));
    let schema: Value = serde_json::from_str(&run(&["schema", model]).1).unwrap();
    assert_eq!(schema["properties"]["inputs"]["properties"]["rider_lat"]["maximum"], 90.0);

    let other = directory.path().join("features.toml");
    let text = fs::read_to_string(Path::new(model).join("features.toml")).unwrap();
    fs::write(&other, text.replace("COALESCE(rain_mm, 0)", "COALESCE(rain_mm, 1)")).unwrap();
    assert_eq!(run(&["diff", model, model]).0, Some(0));
    let (code, said, _) = run(&["diff", model, "features.toml"]);
    assert!(code == Some(1) && said.contains("rain"), "{said}");

    let header = "requested_at,rider_lat,rider_lon,rider_zone,car_lat,car_lon,car_zone,drive_s";
    let rows = [
        "2018-06-01T22:24:30Z,40.75,-73.98,1,40.76,-73.97,2,300.5",
        "2018-06-01T22:25:30Z,91,-73.98,1,40.76,-73.97,2,300",
        "2018-06-01T22:26:30Z,40.75,-73.98,,40.75,-73.98,,60",
    ];
    fs::write(directory.path().join("rides.csv"), format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    let (code, said, told) = run(&["run", "--spec", model, "--format", "csv", "--json", "rides.csv"]);
    assert_eq!(code, Some(0), "{told}");
    let summary: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&summary["written"], &summary["rejected"]["out_of_range"]), (&json!(2), &json!(1)), "{said}");
    let view = fs::read_to_string(directory.path().join("features/train.csv")).unwrap();
    assert!(view.starts_with("300.5,") && view.lines().count() == 2, "{view}");
    let rejects = fs::read_to_string(directory.path().join("features/rejects.jsonl")).unwrap();
    assert!(rejects.contains("rider_lat") && rejects.lines().count() == 1, "{rejects}");
}

/// A `mannen release` beside a running cloud: exit code, standard output.
fn release(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = mannen(directory).env("USER", "mai").arg("release").args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), format!("{}{told}", String::from_utf8_lossy(&output.stdout)))
}

/// The first JSON value that it prints.
fn release_json(directory: &Path, arguments: &[&str]) -> (i32, Value) {
    let (code, text) = release(directory, &[arguments, &["--json"]].concat());
    let value = text.lines().next().and_then(|line| serde_json::from_str(line).ok());
    (code, value.unwrap_or_else(|| panic!("{code}: {text}")))
}

/// The reference model's folder with another release.toml.
fn model_folder(folder: &Path, edit: impl Fn(String) -> String) -> String {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta");
    fs::create_dir_all(folder).unwrap();
    for name in ["features.toml", "training.toml", "release.toml"] {
        let text = fs::read_to_string(model.join(name)).unwrap();
        fs::write(folder.join(name), if name == "release.toml" { edit(text) } else { text }).unwrap();
    }
    folder.to_string_lossy().into_owned()
}

#[test]
fn releases_are_planned_published_listed_compared_rolled_back_and_watched() {
    let mut up = Up::start(&["--training-rides", "500"]);
    let directory = up.directory.path();
    // The folder as it is: nothing would change, and every check passes.
    let (code, plan) = release_json(directory, &["plan"]);
    assert_eq!((code, &plan["diff"]["fields"]), (0, &json!([])), "{plan}");
    let checks = plan["checks"]["checks"].as_array().unwrap();
    assert!(checks.len() > 8 && checks.iter().all(|check| check["outcome"] == "passed"), "{plan}");
    let (code, same) = release_json(directory, &["publish"]);
    assert_eq!((code, &same["changed"]), (0, &json!(false)));
    let first = same["release_id"].as_str().unwrap().to_owned();

    // What cannot be served is not published.
    let broken = model_folder(&directory.join("broken"), |text| {
        text.replace("endpoint = \"pickup-eta\"", "endpoint = \"nowhere\"")
    });
    let (code, told) = release(directory, &["plan", "--model", &broken]);
    assert!(
        code == 1 && told.contains("there is no endpoint `nowhere`") && told.contains("1 check(s) failed"),
        "{told}"
    );
    let (code, told) = release(directory, &["publish", "--model", &broken]);
    assert!(code == 1 && told.contains("nothing was published"), "{told}");
    assert_eq!(release_json(directory, &["list"]).1.as_array().unwrap().len(), 1);

    let mut watching =
        mannen(directory).args(["release", "watch", "--json", "--every", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["release_id"], first);

    let shorter = model_folder(&directory.join("shorter"), |text| text.replace("= 500", "= 250"));
    let (code, moved) =
        release_json(directory, &["publish", "--model", &shorter, "--why", "shorter", "--expect", &first[..8]]);
    assert_eq!((code, &moved["previous"], &moved["author"]), (0, &json!(first), &json!("mai")), "{moved}");
    let second = moved["release_id"].as_str().unwrap().to_owned();
    assert_eq!(next()["release_id"], second);
    let (code, told) = release(directory, &["publish", "--expect", &first[..8]]);
    assert!(code == 1 && told.contains("is in force, not"), "{told}");
    let (code, told) = release(directory, &["diff"]);
    assert!(code == 1 && told.contains("~ limits.default_deadline_ms: 500 -> 250"), "{told}");
    let (code, told) = release(directory, &["diff", &first, &first[..6]]);
    assert!(code == 0 && told.contains("no difference"), "{told}");

    let (code, moved) = release_json(directory, &["rollback", "--why", "late answers"]);
    assert_eq!((code, &moved["release_id"], &moved["how"]), (0, &json!(first), &json!("rollback")), "{moved}");
    assert_eq!(next()["reason"], "late answers");
    assert_eq!(release_json(directory, &["show"]).1["id"], first);
    assert!(release(directory, &["show", &second[..6], "--spec"]).1.contains("great_circle_m"));
    let status = Command::new("kill").args(["-INT", &watching.id().to_string()]).status().unwrap();
    assert!(status.success() && watching.wait().unwrap().success());

    // What was in force when stays known after the cloud has ended; nothing can be checked any more.
    up.signal("-INT");
    assert!(up.child.wait().unwrap().success());
    let (code, list) = release_json(directory, &["list"]);
    assert_eq!((code, &list[0]["id"], &list[0]["is_in_force"]), (0, &json!(first), &json!(true)));
    let times = |release: usize| list[release]["in_force"].as_array().unwrap().len();
    assert_eq!((times(0), times(1)), (2, 1), "{list}");
    assert_eq!(list[1]["in_force"][0]["reason"], "shorter");
    let (code, told) = release(directory, &["rollback", &second]);
    assert!(code == 1 && told.contains("start one with `mannen up`"), "{told}");
}

/// The reference model with the mean duration by zone and hour as a feature, and as the naive estimate.
fn model_with_a_lookup(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta");
    fs::create_dir(folder).unwrap();
    for file in ["features.toml", "training.toml", "release.toml"] {
        let text = fs::read_to_string(source.join(file)).unwrap();
        let text = text
            .replace(
                "[features]",
                "[lookups.zone_hour]\nkeys = { rider_zone = \"int\", local_hour = \"int\" }\nvalues = { mean_s = \"float\", \
                 count = \"int\" }\n\n[features]\nzone_hour_s = \"LOOKUP('zone_hour', rider_zone, local_hour, 'mean_s', \
                 600)\"",
            )
            .replace("  \"distance_m\",", "  \"zone_hour_s\", \"distance_m\",")
            .replace("expression = \"60 + manhattan_m / 4.6\"", "expression = \"zone_hour_s\"");
        fs::write(folder.join(file), text).unwrap();
    }
}

#[tokio::test]
async fn a_lookup_table_is_built_released_served_and_swapped() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("model");
    model_with_a_lookup(&model);
    let header = "requested_at,rider_lat,rider_lon,rider_zone,car_lat,car_lon,car_zone,drive_s";
    let ride = |at: &str, drive_s: u32| format!("{at},40.75,-73.98,42,40.76,-73.97,2,{drive_s}\n");
    let rides = ["2018-05-01T22:10:00Z", "2018-05-02T22:21:00Z", "2018-06-01T22:20:00Z"];
    let drives = [300, 500, 9000].into_iter().zip(rides);
    let rows: String = drives.map(|(drive_s, at)| ride(at, drive_s)).collect();
    fs::write(directory.path().join("rides.csv"), format!("{header}\n{rows}")).unwrap();
    let features = |arguments: &[&str]| {
        let output = mannen(directory.path()).arg("features").args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };

    // A declared table that is not there is told with what to run.
    let (code, _, told) = features(&["check", "model"]);
    assert!(code == Some(1) && told.contains("mannen features build-lookup zone_hour"), "{told}");
    // Which rows it is of has to be said.
    assert_eq!(features(&["build-lookup", "zone_hour", "rides.csv", "--spec", "model"]).0, Some(2));
    let build = |until: &str, out: &str| {
        let (code, said, told) = features(&[
            "build-lookup",
            "zone_hour",
            "rides.csv",
            "--spec",
            "model",
            "--from",
            "2018-05-01",
            "--to",
            until,
            "--smoothing-rows",
            "0",
            "--out-of-fold",
            "7",
            "--fold-key",
            "UNIX_SECONDS(requested_at)",
            "--out",
            out,
            "--json",
        ]);
        assert_eq!(code, Some(0), "{told}");
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let first = build("2018-06-01", "model/lookups/zone_hour.parquet");
    assert_eq!((&first["rows"], &first["left_out"]["outside_window"]), (&json!(2), &json!(1)), "{first}");
    let second = build("2018-07-01", "second.parquet");
    let explained = features(&["explain", "model"]).1;
    assert!(explained.contains(first["sha256"].as_str().unwrap()), "{explained}");
    let other = features(&["check", "model", "--lookup", "zone_hour=second.parquet", "--json"]).1;
    let other: Value = serde_json::from_str(&other).unwrap();
    assert_eq!(other["lookups"]["zone_hour"], second["sha256"]);

    // Released by the command, in force for features and predictions.
    let up = Up::start(&["--model", model.to_str().unwrap(), "--training-rides", "500"]);
    let (status, answer) = up.post("/v1/features", request().to_string()).await;
    assert_eq!(status, 200, "{answer}");
    let of_first = &answer["candidates"][0];
    assert_eq!((&of_first["values"][0], &of_first["fallback"]), (&json!(400.0), &json!(400.0)), "{answer}");
    let (status, answer) = up.post("/v1/predictions", request().to_string()).await;
    assert_eq!((status, answer["tier"].as_str()), (200, Some("endpoint")), "{answer}");

    // The same release without its endpoint answers with the table; with another table, with that one.
    let (s3, bucket) = (up.s3(), up.bucket().await);
    let get = async |key: &str| {
        let body = s3.get_object().bucket(&bucket).key(key).send().await.unwrap().body;
        body.collect().await.unwrap().to_vec()
    };
    let put = async |key: &str, bytes: Vec<u8>| {
        s3.put_object().bucket(&bucket).key(key).body(ByteStream::from(bytes)).send().await.unwrap();
    };
    let name = "pickup-eta".parse().unwrap();
    let pointer: ReleasePointer = serde_json::from_slice(&get(&lake::release_pointer(&name)).await).unwrap();
    let mut release: Release = serde_json::from_slice(&get(&lake::release(&name, &pointer.release_id)).await).unwrap();
    assert_eq!(release.lookups["zone_hour"], first["sha256"].as_str().unwrap());
    release.arms.iter_mut().for_each(|arm| arm.endpoint = "gone".to_owned());
    let second_sha256 = second["sha256"].as_str().unwrap();
    let table = fs::read(directory.path().join("second.parquet")).unwrap();
    put(&lake::lookup_table("zone_hour", second_sha256), table).await;
    for (sha256, drive_s) in [(first["sha256"].as_str().unwrap(), 400.0), (second_sha256, 9800.0 / 3.0)] {
        release.lookups.insert("zone_hour".to_owned(), sha256.to_owned());
        let release_id = release.id().unwrap();
        put(&lake::release(&name, &release_id), release.to_bytes()).await;
        let pointer = ReleasePointer::new(release_id.clone(), None, release.created_at);
        put(&lake::release_pointer(&name), serde_json::to_vec(&pointer).unwrap()).await;
        let began = Instant::now();
        loop {
            let (status, answer) = up.post("/v1/predictions", request().to_string()).await;
            assert_eq!(status, 200, "{answer}");
            if answer["release_id"] == release_id.as_str() {
                assert_eq!(answer["tier"], "fallback", "{answer}");
                let value = answer["predictions"][0]["value"].as_f64().unwrap();
                assert!((value - drive_s).abs() < 1e-6, "{answer}");
                break;
            }
            assert!(began.elapsed() < Duration::from_mins(1), "the release does not come into force");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
