//! Extracts killed by `SIGKILL` at any moment, again and again: at the end there is one version, whole, and nothing lies about.
//!
//! `KILLS=200 cargo test -p mannen --test dataset_kills` is the long run.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use local_warehouse::{Fault, Options, Schema, Warehouse, WriteDisposition};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Where `KILLS` does not say so.
const KILLS: u32 = 10;
const ROWS: u64 = 20_000;

/// Lengths of time that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

struct Place {
    folder: tempfile::TempDir,
    url: String,
}

impl Place {
    /// `mannen dataset …` over the stopped cloud in the folder, and the warehouse that this process serves.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mannen"));
        command.args(["--json", "dataset"]).args(arguments).arg("--dir").arg(self.folder.path().join("cloud"));
        command.env("BIGQUERY_ENDPOINT", &self.url).env("BIGQUERY_STORAGE_ENDPOINT", &self.url);
        command.env_remove("LAKE_BUCKET").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn extract(&self, dataset: &str) -> Command {
        let model = self.folder.path().join("model");
        let mut command = self.command(&["extract", "--dataset", dataset, "--as-of", "2030-01-01T00:00:00Z"]);
        command.arg("--model").arg(model);
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn objects(&self, dataset: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.folder.path().join("cloud/s3/lake/datasets").join(dataset), &mut found);
        found
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { walk(&entry.path(), found) } else { found.push(entry.path()) }
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn place() -> (Place, Warehouse, local_warehouse::Server) {
    let folder = tempfile::tempdir().unwrap();
    let (cloud, model) = (folder.path().join("cloud"), folder.path().join("model"));
    fs::create_dir_all(cloud.join("s3/lake")).unwrap();
    fs::create_dir_all(&model).unwrap();
    fs::write(cloud.join(".mannen-folder"), "").unwrap();
    let environment = json!({"lake_bucket": "lake", "variables": {"AWS_REGION": "ap-northeast-1"}});
    fs::write(cloud.join("environment.json"), environment.to_string()).unwrap();
    fs::write(model.join("extract.sql"), "SELECT * FROM city.rides").unwrap();
    fs::write(model.join("dataset.toml"), "[expect]\nmin_rows = 20000\nunique = [[\"ride_id\"]]\n").unwrap();
    let options = Options { block_rows: 250, ..Options::new(folder.path().join("warehouse")) };
    let warehouse = Warehouse::open(options).unwrap();
    warehouse.ensure_dataset(warehouse.project(), "mannen_staging").unwrap();
    let table = warehouse.table_ref("city.rides").unwrap();
    let rows =
        (0..ROWS).map(|row| json!({"ride_id": row, "drive_s": row as f64 / 7.0, "zone": format!("z{}", row % 99)}));
    let schema = Schema::parse("ride_id:INT64,drive_s:FLOAT64,zone:STRING").unwrap();
    warehouse.write_rows(&table, &schema, WriteDisposition::Truncate, rows).unwrap();
    let server = warehouse.serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let url = server.url();
    (Place { folder, url }, warehouse, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_leave_one_whole_version_and_nothing_else() {
    let kills: u32 = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let (place, warehouse, _server) = place().await;
    warehouse.faults().add(Fault::SlowBatches { delay_ms: 5 });
    let began = Instant::now();
    let undisturbed = place.extract("undisturbed").output().unwrap();
    assert!(undisturbed.status.success(), "{}", told(&undisturbed));
    let whole = began.elapsed();
    let (mut killed, mut round, mut dice) = (0, 0, Dice(7));
    while killed < kills {
        let dataset = format!("rides-{round}");
        round += 1;
        // Some deaths of one extract, and then one life.
        for _ in 0..5 {
            let mut child = place.extract(&dataset).spawn().unwrap();
            std::thread::sleep(dice.up_to(whole));
            let over = child.try_wait().unwrap().is_some();
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            if over {
                assert!(output.status.success(), "{}", told(&output));
                break;
            }
            killed += 1;
            let versions = place.json(&["list", &dataset]);
            assert!(versions["versions"].as_array().unwrap().len() <= 1, "{versions}");
        }
        let done = place.extract(&dataset).output().unwrap();
        assert!(done.status.success(), "{}", told(&done));
        let versions = place.json(&["list", &dataset]);
        let versions = versions["versions"].as_array().unwrap();
        assert!(versions.len() == 1 && versions[0]["in_use"] == true && versions[0]["rows"] == ROWS, "{versions:?}");
        let verified = place.json(&["verify", &dataset]);
        assert_eq!((&verified["rows"], &verified["troubles"]), (&json!(ROWS), &json!([])));
        place.json(&["gc", &dataset, "--delete", "--min-age-days", "0"]);
        let again = place.json(&["gc", &dataset, "--min-age-days", "0"]);
        assert_eq!((&again["objects"], &again["kept_versions"]), (&json!(0), &json!(1)));
        let rest: Vec<String> = place
            .objects(&dataset)
            .iter()
            .map(|path| {
                path.to_string_lossy().split("/datasets/").nth(1).unwrap().split('/').nth(1).unwrap().to_owned()
            })
            .filter(|kind| !["data", "manifests", "latest.json", "history", "jobs"].contains(&kind.as_str()))
            .collect();
        assert_eq!(rest, Vec::<String>::new());
        assert_eq!(place.json(&["verify", &dataset])["troubles"], json!([]));
    }
    println!("{killed} kills, {round} extracts, {:.1} s undisturbed", whole.as_secs_f64());
}
