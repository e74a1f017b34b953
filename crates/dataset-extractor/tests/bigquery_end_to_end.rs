//! The extractor through Google's own client, against the local cloud's warehouse: REST and the Storage Read API.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod event_steps;
mod lake_files;

use std::time::{Duration, Instant};

use archive::QuarantinedLine;
use arrow_array::{
    Array,
    cast::AsArray,
    types::{Date32Type, TimestampMicrosecondType},
};
use bigquery::BigQuery;
use cloud::{config::Environment, memory::MemoryStore, object_store::GetObject};
use dataset_extractor::{Config, land_outcomes, parse_definition, working};
use datasets::{
    DatasetsError, Definition, Extracted, Order, Planned, Working, extract, layout, plan, read_manifest, read_streams,
    verify,
};
use domain::ModelName;
use jiff::Timestamp;
use local_warehouse::{Fault, Field, Kind, Options, Schema, Server, Warehouse, WriteDisposition};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use tokio::net::TcpListener;

const ROWS: u64 = 30_000;
/// Of the recorded trips.
const TRIPS: usize = 5_000;

struct Fixture {
    warehouse: Warehouse,
    url: String,
    bigquery: BigQuery,
    lake: MemoryStore,
    _server: Server,
    _folder: tempfile::TempDir,
}

fn rides() -> ModelName {
    "rides".parse().unwrap()
}

fn now() -> Timestamp {
    Timestamp::now()
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { block_rows: 500, ..Options::new(folder.path()) };
        let warehouse = Warehouse::open(options).unwrap();
        warehouse.ensure_dataset(warehouse.project(), "mannen_staging").unwrap();
        let table = warehouse.table_ref("city.rides").unwrap();
        let schema = Schema::parse("ride_id:INT64,zone:STRING,drive_s:FLOAT64,requested_at:TIMESTAMP").unwrap();
        let rows = (0..ROWS).map(|row| {
            let drive_s = if row % 17 == 0 { json!(null) } else { json!(row as f64 / 7.0) };
            let requested_at = format!("2026-01-{:02}T00:00:{:02}Z", 1 + row % 28, row % 60);
            json!({"ride_id": row, "zone": format!("zone-{}", row % 13), "drive_s": drive_s, "requested_at": requested_at})
        });
        warehouse.write_rows(&table, &schema, WriteDisposition::Truncate, rows).unwrap();
        let server = warehouse.serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let url = server.url();
        let bigquery = client(&url);
        Self { warehouse, url, bigquery, lake: MemoryStore::new(), _server: server, _folder: folder }
    }

    async fn extract(&self, lake: &MemoryStore, order: &Order) -> Result<Extracted, DatasetsError> {
        extract(lake, &self.bigquery, order, small(), &|_| {}).await
    }

    fn jobs(&self) -> usize {
        // A job that wrote a result left a table of its own.
        self.warehouse.tables().unwrap().iter().filter(|(table, ..)| table.dataset == "mannen_staging").count()
    }
}

fn client(url: &str) -> BigQuery {
    let table = [("BIGQUERY_ENDPOINT", url), ("BIGQUERY_STORAGE_ENDPOINT", url)];
    BigQuery::new(bigquery::Config::from_environment(&Environment::of_table(&table)).unwrap())
}

fn config() -> Config {
    Config::from_environment(&Environment::of_table(&[("LAKE_BUCKET", "lake"), ("STREAMS_PER_WORKER", "2")])).unwrap()
}

/// Chunks so small that a stream has several.
fn small() -> Working<'static> {
    let config: &'static Config = Box::leak(Box::new(config()));
    let mut working = working(config, now(), None);
    working.max_streams = 5;
    working.reading.chunk_bytes = 64 << 10;
    working
}

fn definition(sql: &str, toml: &str) -> Definition {
    parse_definition(rides(), sql, toml).unwrap()
}

fn order(sql: &str, toml: &str) -> Order {
    Order { definition: definition(sql, toml), as_of: Some(now()), now: now() }
}

const ALL: &str = "SELECT * FROM city.rides FOR SYSTEM_TIME AS OF @as_of WHERE drive_s IS NULL OR drive_s >= @least";
const TOML: &str = "parameters = { least = 0.0 }\n[expect]\nmin_rows = 1000\nunique = [[\"ride_id\"]]";

#[tokio::test(flavor = "multi_thread")]
async fn one_order_is_one_job_and_one_address_whoever_asks() {
    let fixture = Fixture::new().await;
    let order = order(ALL, TOML);
    let first = fixture.extract(&fixture.lake, &order).await.unwrap();
    assert_eq!((first.published.rows, fixture.jobs()), (ROWS, 1));
    assert!(first.published.published);
    let manifest = read_manifest(&fixture.lake, &rides(), &first.published.address).await.unwrap();
    let types: Vec<&str> = manifest.identity.schema.iter().map(|column| column.of.as_str()).collect();
    assert_eq!(types, ["INT64", "STRING", "FLOAT64", "TIMESTAMP"]);
    assert_eq!(manifest.column("drive_s").unwrap().nulls, ROWS.div_ceil(17));
    assert_eq!(manifest.identity.origin.source, "bigquery:mannen");
    assert!(manifest.bytes_processed.unwrap() > 0 && manifest.checks.len() == 2);
    let verified = verify(&fixture.lake, &rides(), &manifest.address, &|_| {}).await.unwrap();
    assert_eq!((verified.rows, verified.troubles), (ROWS, vec![]));
    // Somebody else, who knows nothing of the first: the job is there already, its rows come in other streams.
    let other = MemoryStore::new();
    let second = fixture.extract(&other, &order).await.unwrap();
    assert_eq!((second.published.address.as_str(), fixture.jobs()), (manifest.address.as_str(), 1));
    for file in &manifest.files {
        let bytes = async |lake: &MemoryStore| lake.get_object(&file.key, None).await.unwrap().found().unwrap().bytes;
        assert!(bytes(&fixture.lake).await == bytes(&other).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_cut_go_on_at_their_row() {
    let fixture = Fixture::new().await;
    fixture.warehouse.faults().add(Fault::CutStreams { after_batches: 1, times: Some(6) });
    fixture.warehouse.faults().add(Fault::RestUnavailable { times: Some(2) });
    let order = order(ALL, TOML);
    let cut = fixture.extract(&fixture.lake, &order).await.unwrap();
    fixture.warehouse.faults().heal();
    let whole = fixture.extract(&MemoryStore::new(), &order).await.unwrap();
    assert_eq!(cut.published.address, whole.published.address);
    assert_eq!(cut.read.unwrap().rows, ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_before_time_was_up_is_not_read_again() {
    let fixture = Fixture::new().await;
    let order = order(ALL, TOML);
    let Planned::UnderWay(plan) = plan(&fixture.lake, &fixture.bigquery, &order, 5).await.unwrap() else { panic!() };
    assert!((2..=5).contains(&plan.session.streams.len()), "{:?}", plan.session);
    let all: Vec<usize> = (0..plan.session.streams.len()).collect();
    fixture.warehouse.faults().add(Fault::SlowBatches { delay_ms: 150 });
    let mut reading = small().reading;
    reading.chunk_bytes = 1;
    let mut rows = 0;
    loop {
        // A worker that has little time, again and again, each time another process as far as the lake knows.
        reading.deadline = Some(Instant::now() + Duration::from_millis(400));
        let (bigquery, lake) = (client(&fixture.url), fixture.lake.clone());
        let read = read_streams(&lake, &bigquery, &plan, &all, reading, &|_| {}).await.unwrap();
        assert_eq!(read.resumed_rows, rows, "it begins where the last one stopped");
        rows += read.rows;
        if read.unfinished == 0 {
            break;
        }
        assert_eq!(layout(&fixture.lake, &plan).await.unwrap_err().reason(), "out_of_step");
        fixture.warehouse.faults().heal();
    }
    assert_eq!(rows, ROWS);
    let resumed = fixture.extract(&fixture.lake, &order).await.unwrap();
    assert_eq!((resumed.read.unwrap().rows, resumed.published.rows), (0, ROWS));
    let whole = fixture.extract(&MemoryStore::new(), &order).await.unwrap();
    assert_eq!(resumed.published.address, whole.published.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_too_much_or_is_no_query_is_told_before_it_runs() {
    let fixture = Fixture::new().await;
    let refused = async |order: Order| fixture.extract(&fixture.lake, &order).await.unwrap_err();
    let error = refused(order(ALL, "parameters = { least = 0.0 }\nlimits = { max_bytes_billed = 10 }")).await;
    assert_eq!(error.reason(), "warehouse_over_limit");
    assert!(error.to_string().contains("may read 10"), "{error}");
    for sql in ["SELECT FROM", "SELECT nothing FROM city.rides", "SELECT * FROM city.nowhere", "SELECT @unbound AS x"] {
        let error = refused(order(sql, "")).await;
        assert_eq!(error.reason(), "warehouse_invalid_query", "{sql}: {error}");
    }
    assert_eq!(fixture.jobs(), 0);
    fixture.warehouse.faults().add(Fault::QuotaExceeded { times: None });
    let error = refused(order(ALL, TOML)).await;
    assert_eq!(error.reason(), "warehouse_unavailable", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_through() {
    let fixture = Fixture::new().await;
    let table = fixture.warehouse.table_ref("city.types").unwrap();
    let schema = "i:INT64,f:FLOAT64,b:BOOL,s:STRING,y:BYTES,n:NUMERIC,g:BIGNUMERIC,ts:TIMESTAMP,dt:DATETIME,d:DATE,t:TIME,j:JSON,geo:GEOGRAPHY";
    let row = json!({
        "i": "-9223372036854775808", "f": -0.0, "b": true, "s": "東京", "y": "AP8=", "n": "-1.000000001",
        "g": "12345678901234567890.00000000000000000000000000000000000001", "ts": "1969-12-31T23:59:59.999999Z",
        "dt": "2026-01-31T01:02:03.000004", "d": "1960-02-29", "t": "23:59:59.999999", "j": {"a": [1, null]},
        "geo": "POINT(139.7 35.7)",
    });
    let empty = json!({});
    let written =
        fixture.warehouse.write_rows(&table, &Schema::parse(schema).unwrap(), WriteDisposition::Truncate, [row, empty]);
    written.unwrap();
    let sql = "SELECT *, [1, 2] AS a, STRUCT(i AS x, s AS z) AS st, [STRUCT(1 AS k)] AS ast FROM city.types";
    let done = fixture.extract(&fixture.lake, &order(sql, "")).await.unwrap();
    let manifest = read_manifest(&fixture.lake, &rides(), &done.published.address).await.unwrap();
    let types: Vec<&str> = manifest.identity.schema.iter().map(|column| column.of.as_str()).collect();
    assert_eq!(
        types,
        [
            "INT64",
            "FLOAT64",
            "BOOL",
            "STRING",
            "BYTES",
            "NUMERIC",
            "BIGNUMERIC",
            "TIMESTAMP",
            "DATETIME",
            "DATE",
            "TIME",
            // JSON and GEOGRAPHY come as texts; BigQuery itself marks them, this warehouse does not.
            "STRING",
            "STRING",
            "ARRAY<INT64>",
            "STRUCT<x INT64, z STRING>",
            "ARRAY<STRUCT<k INT64>>",
        ]
    );
    assert!(manifest.statistics[..13].iter().all(|column| (column.rows, column.nulls) == (2, 1)));
    let show = |name: &str| {
        let column = manifest.column(name).unwrap();
        column.show(column.numbers.as_ref().unwrap().min.unwrap())
    };
    assert_eq!(
        (show("ts"), show("d"), show("t")),
        ("1969-12-31T23:59:59.999999Z".to_owned(), "1960-02-29".to_owned(), "23:59:59.999999".to_owned())
    );
    assert_eq!(manifest.column("n").unwrap().numbers.as_ref().unwrap().min, Some(-1.000000001));
    let verified = verify(&fixture.lake, &rides(), &manifest.address, &|_| {}).await.unwrap();
    assert_eq!(verified.troubles, Vec::<String>::new());
    let bytes = fixture.lake.get_object(&manifest.files[0].key, None).await.unwrap().found().unwrap().bytes;
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_come_as_structs_and_intervals_are_refused_before_anything_is_paid_for() {
    let fixture = Fixture::new().await;
    let table = fixture.warehouse.table_ref("city.spans").unwrap();
    let columns = ["id", "i"].map(|name| (name, if name == "id" { Kind::Int64 } else { Kind::Interval }));
    let ranges = [("d", Kind::Date), ("dt", Kind::DateTime), ("ts", Kind::Timestamp)];
    let ranges = ranges.map(|(name, of)| (name, Kind::Range(Box::new(of))));
    let columns = columns.into_iter().chain(ranges).map(|(name, of)| Field::new(name, of));
    let rows = [
        json!({"id": 1, "i": "1-2 3 4:5:6.000007", "d": "[2024-02-29, UNBOUNDED)",
            "dt": {"start": "2024-01-01T00:00:00.000001", "end": "2024-01-02T00:00:00"},
            "ts": "[2024-01-01 00:00:00+00, 2024-01-01 00:00:01+00)"}),
        json!({"id": 2}),
    ];
    fixture.warehouse.write_rows(&table, &Schema(columns.collect()), WriteDisposition::Truncate, rows).unwrap();
    let done = fixture.extract(&fixture.lake, &order("SELECT * EXCEPT (i) FROM city.spans", "")).await.unwrap();
    let manifest = read_manifest(&fixture.lake, &rides(), &done.published.address).await.unwrap();
    let types: Vec<&str> = manifest.identity.schema.iter().map(|column| column.of.as_str()).collect();
    let range = |of: &str| format!("STRUCT<start {of}, end {of}>");
    assert_eq!(types, ["INT64", &range("DATE"), &range("DATETIME"), &range("TIMESTAMP")]);
    let bytes = fixture.lake.get_object(&manifest.files[0].key, None).await.unwrap().found().unwrap().bytes;
    let mut found = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            let column = |name: &str| batch.column_by_name(name).unwrap().as_struct();
            let start = |name: &str| column(name).column(0).as_primitive::<TimestampMicrosecondType>().value(row);
            let days = column("d").column(0).as_primitive::<Date32Type>().value(row);
            let open = column("d").column(1).is_null(row);
            let valid = column("d").is_valid(row);
            found.push((valid, valid.then(|| (days, open, start("dt"), start("ts")))));
        }
    }
    found.sort_unstable();
    let day = 1_704_067_200_000_000;
    assert_eq!(found, [(false, None), (true, Some((19_782, true, day + 1, day)))]);
    let jobs = fixture.jobs();
    for (sql, told) in [
        ("SELECT * FROM city.spans", "column `i` is of type INTERVAL"),
        ("SELECT id, STRUCT(i AS x) AS s FROM city.spans", "column `s` is of type STRUCT with an INTERVAL"),
    ] {
        let error = fixture.extract(&fixture.lake, &order(sql, "")).await.unwrap_err();
        assert_eq!(error.reason(), "unsupported_type");
        assert!(error.to_string().contains(told) && error.to_string().contains("cast it"), "{error}");
    }
    assert_eq!(fixture.jobs(), jobs, "no query ran");
    let cast = "SELECT id, CAST(i AS STRING) AS i FROM city.spans";
    let done = fixture.extract(&fixture.lake, &order(cast, "")).await.unwrap();
    let manifest = read_manifest(&fixture.lake, &rides(), &done.published.address).await.unwrap();
    let counts = manifest.column("i").unwrap().texts.as_ref().unwrap().counts.clone().unwrap();
    assert_eq!(counts, [("1-2 3 4:5:6.000007".to_owned(), 1)].into());
}

/// The rows of every file of a version, as a reader of Parquet has them.
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_land_and_what_is_none_is_in_quarantine() {
    let fixture = Fixture::new().await;
    let id = "0192f0c8-5a70-7b7e-8d2c-2a1f3c4d5e6f";
    let sql = format!(
        "SELECT '{id}' AS prediction_id, TIMESTAMP '2026-01-31T00:00:00Z' AS observed_at, 3.5 AS tip, \
         TIMESTAMP '2026-01-30T23:59:00Z' AS arrived_at, 'car' AS candidate_id UNION ALL \
         SELECT 'no-id', TIMESTAMP '2026-01-31T00:00:00Z', 1.5, CAST(NULL AS TIMESTAMP), CAST(NULL AS STRING) UNION ALL \
         SELECT '{id}', CAST(NULL AS TIMESTAMP), 2.5, CAST(NULL AS TIMESTAMP), CAST(NULL AS STRING)"
    );
    let extract = order(&sql, "").extract();
    let landed = land_outcomes(&fixture.lake, &rides(), &fixture.bigquery, &extract, &|_| {}).await.unwrap();
    assert_eq!((landed.rows, landed.events), (3, 1), "{landed:?}");
    assert_eq!(landed.rejected.values().sum::<u64>(), 2);
    let keys = fixture.lake.keys();
    assert!(keys.iter().filter(|key| key.starts_with("landing/outcomes/")).count() == 1, "{keys:?}");
    let mut bad = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with("quarantine/outcomes.sql/rides/")) {
        let document = fixture.lake.get_object(key, None).await.unwrap().found().unwrap().bytes;
        let line = QuarantinedLine::from_document(&document).unwrap();
        assert!(landed.rejected.contains_key(&line.reason) && !line.detail.is_empty());
        bad.push((line.reason, serde_json::from_slice::<serde_json::Value>(&line.original).unwrap()));
    }
    bad.sort_by_key(|(_, row)| row["tip"].to_string());
    let [(_, no_id), (missing, no_time)] = bad.as_slice() else { panic!("{bad:?}") };
    assert_eq!((&no_id["prediction_id"], &no_id["observed_at"]), (&json!("no-id"), &json!("2026-01-31T00:00:00Z")));
    assert_eq!((missing.as_str(), no_time), ("observed_at_missing", &json!({"prediction_id": id, "tip": 2.5})));
    // Landed again, nothing is there twice.
    land_outcomes(&fixture.lake, &rides(), &fixture.bigquery, &extract, &|_| {}).await.unwrap();
    assert_eq!(fixture.lake.keys(), keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcomes_column_of_another_type_is_refused_and_never_passed_over() {
    let fixture = Fixture::new().await;
    let row =
        "'0192f0c8-5a70-7b7e-8d2c-2a1f3c4d5e6f' AS prediction_id, TIMESTAMP '2026-01-31T00:00:00Z' AS observed_at";
    for (column, told) in [
        ("'2026-01-30T23:59:00Z' AS arrived_at", "`arrived_at` is of type STRING, and must be TIMESTAMP"),
        ("DATE '2026-01-30' AS dispatched_at", "`dispatched_at` is of type DATE, and must be TIMESTAMP"),
        ("7 AS candidate_id", "`candidate_id` is of type INT64, and must be STRING"),
        ("true AS cancelled_at", "`cancelled_at` is of type BOOL, and must be TIMESTAMP"),
    ] {
        let extract = order(&format!("SELECT {row}, {column}"), "").extract();
        let landed = land_outcomes(&fixture.lake, &rides(), &fixture.bigquery, &extract, &|_| {}).await;
        let error = landed.expect_err(column);
        assert!(error.reason() == "warehouse_invalid_query" && error.to_string().contains(told), "{error}");
    }
    let extract = order("SELECT 'x' AS prediction_id, 1.0 AS tip", "").extract();
    let error = land_outcomes(&fixture.lake, &rides(), &fixture.bigquery, &extract, &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("no column `observed_at`"), "{error}");
    assert!(fixture.lake.keys().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_are_a_version_too() {
    let fixture = Fixture::new().await;
    let done = fixture.extract(&fixture.lake, &order("SELECT * FROM city.rides WHERE ride_id < 0", "")).await.unwrap();
    assert_eq!((done.published.rows, done.published.files), (0, 1));
    let error = fixture.extract(&MemoryStore::new(), &order("SELECT * FROM city.rides WHERE ride_id < -1", TOML)).await;
    assert_eq!(error.unwrap_err().reason(), "dataset_refused");
}
