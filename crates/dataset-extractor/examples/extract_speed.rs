//! How fast rows come from a warehouse's Read API to Parquet in an S3, and in how much memory.
//!
//!     cargo run --release -p dataset-extractor --example extract_speed -- serve FOLDER ROWS     # in one terminal
//!     cargo run --release -p dataset-extractor --example extract_speed -- extract …  # in another: what it prints
//!
//! The second with `MALLOC_ARENA_MAX=1` in its environment, as the function has it. The first process is the local cloud's warehouse and S3, on disk; the second is the extractor alone, so that its memory is
//! its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{io::Read, path::Path, sync::Mutex, time::Instant};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use bigquery::BigQuery;
use cloud::{config::Environment, s3::S3Bucket};
use dataset_extractor::{Config, parse_definition, working};
use datasets::{Order, Progress, extract};
use jiff::Timestamp;
use local::StoredObjects;
use local_warehouse::{Options, Schema, Warehouse, WriteDisposition};
use serde_json::json;

const SCHEMA: &str = "ride_id:INT64,requested_at:TIMESTAMP,rider_lat:FLOAT64,rider_lon:FLOAT64,car_lat:FLOAT64,car_lon:FLOAT64,zone:STRING,rain_mm:FLOAT64,drive_s:FLOAT64,rained:BOOL";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", folder, rows] => serve(Path::new(folder), rows.parse().unwrap()).await,
        ["extract", warehouse, s3, id, secret] => {
            run(warehouse, s3, Credentials::new(*id, *secret, None, None, "local")).await;
        }
        other => panic!("serve FOLDER ROWS, or extract WAREHOUSE S3 KEY SECRET; not {other:?}"),
    }
}

async fn serve(folder: &Path, rows: u64) {
    std::fs::create_dir_all(folder.join("s3/lake")).unwrap();
    let warehouse = Warehouse::open(Options::new(folder.join("warehouse"))).unwrap();
    warehouse.ensure_dataset(warehouse.project(), "mannen_staging").unwrap();
    let table = warehouse.table_ref("city.rides").unwrap();
    if !warehouse.tables().unwrap().iter().any(|(found, there, _)| *found == table && *there as u64 == rows) {
        let began = Instant::now();
        // Numbers that look like a city's, of a mixed counter: no two rows are alike, and nothing compresses away.
        let mixed = |row: u64, salt: u64| {
            let mut x = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
            x ^= x >> 29;
            x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (x >> 11) as f64 / (1_u64 << 53) as f64
        };
        let all = (0..rows).map(|row| {
            json!({
                "ride_id": row, "requested_at": 1_700_000_000.0 + row as f64 * 0.25,
                "rider_lat": 35.6 + 0.2 * mixed(row, 1), "rider_lon": 139.6 + 0.3 * mixed(row, 2),
                "car_lat": 35.6 + 0.2 * mixed(row, 3), "car_lon": 139.6 + 0.3 * mixed(row, 4),
                "zone": format!("zone-{:03}", (mixed(row, 5) * 263.0) as u32),
                "rain_mm": if mixed(row, 6) < 0.9 { json!(0.0) } else { json!((mixed(row, 7) * 100.0).round() / 10.0) },
                "drive_s": (mixed(row, 8) * 1800.0).round(), "rained": mixed(row, 6) >= 0.9,
            })
        });
        warehouse.write_rows(&table, &Schema::parse(SCHEMA).unwrap(), WriteDisposition::Truncate, all).unwrap();
        eprintln!("{rows} rows written in {:.0} s", began.elapsed().as_secs_f64());
    }
    let server = warehouse.serve(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let objects = StoredObjects::serve(folder, "ap-northeast-1").await.unwrap();
    let environment = objects.environment();
    let of = |name: &str| environment[name].as_str();
    let (s3, id, secret) = (of("AWS_ENDPOINT_URL_S3"), of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY"));
    println!("extract {} {s3} {id} {secret}", server.url());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

async fn run(warehouse: &str, s3: &str, credentials: Credentials) {
    let table = [("BIGQUERY_ENDPOINT", warehouse), ("BIGQUERY_STORAGE_ENDPOINT", warehouse), ("LAKE_BUCKET", "lake")];
    let environment = Environment::of_table(&table);
    let config = Config { memory_mb: 512, ..Config::from_environment(&environment).unwrap() };
    let bigquery = BigQuery::new(config.bigquery.clone().unwrap());
    let s3 = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("ap-northeast-1"))
        .credentials_provider(credentials)
        .endpoint_url(s3)
        .force_path_style(true)
        .build();
    let lake = S3Bucket::new(aws_sdk_s3::Client::from_conf(s3), "lake");
    let definition =
        parse_definition("rides".parse().unwrap(), "SELECT * FROM city.rides", "[expect]\nunique = [[\"ride_id\"]]");
    let now = Timestamp::now();
    let order = Order { definition: definition.unwrap(), as_of: Some(now), now };
    let staged = Mutex::new(None);
    let on_progress = |progress| {
        if let Progress::Staged(_) = progress {
            *staged.lock().unwrap() = Some(Instant::now());
        }
    };
    let mut working = working(&config, now, None);
    working.max_streams = 8;
    let began = Instant::now();
    let done = extract(&lake, &bigquery, &order, working, &on_progress).await.unwrap();
    let query_s = staged.lock().unwrap().unwrap().duration_since(began).as_secs_f64();
    let (rows, total_s) = (done.published.rows as f64, done.read_s + done.write_s);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim().to_owned();
    // The warehouse's own bytes of a row, as BigQuery counts: 8 for a number, 2 + length for a text, 1 for a bool.
    let bytes = rows * f64::from(8 * 8 + 2 + 8 + 1);
    println!("{rows} rows, {} files, {} bytes of Parquet", done.published.files, done.published.bytes);
    println!("query {query_s:.2} s; read {:.2} s, write {:.2} s", done.read_s, done.write_s);
    println!("{:.0} rows/s, {:.1} MB/s; peak {peak}", rows / total_s, bytes / total_s / 1e6);
}
