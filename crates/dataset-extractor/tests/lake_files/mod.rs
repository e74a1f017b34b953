//! Files of the lake as a warehouse.

use std::{
    io::{self, BufRead, BufReader, Write},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_array::{Int64Array, RecordBatch};
use bytes::Bytes;
use cloud::{
    memory::MemoryStore,
    object_store::{GetObject, PutCondition, PutObject},
};
use dataset_extractor::{Files, OpenFile, handle, put_definition};
use datasets::{FileInput, Order, extract, read_manifest};
use domain::lake;
use feature_batch::RangeSource;
use flate2::{read::GzDecoder, write::GzEncoder};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::properties::WriterProperties,
};
use serde_json::json;

use crate::{ALL, TOML, TRIPS, config, definition, now, rides, small};
async fn parquet_rows(lake: &MemoryStore, address: &str) -> usize {
    let manifest = read_manifest(lake, &rides(), address).await.unwrap();
    let mut rows = 0;
    for file in &manifest.files {
        let bytes = lake.get_object(&file.key, None).await.unwrap().found().unwrap().bytes;
        let batches = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        rows += batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>();
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_takes_files_of_the_lake_as_it_takes_a_warehouse() {
    let (lake, config) = (MemoryStore::new(), config());
    let none = cloud::config::ConfigError::Missing("BIGQUERY_PROJECT");
    let send = async |event: serde_json::Value| handle(&lake, Err(&none), &config, &event, now(), None).await;
    let put = async |key: &str, text: &str| {
        lake.put_object(key, text.to_owned().into(), PutCondition::Always).await.unwrap();
    };
    put("raw/trips/a.csv", "id,at,km,zone\n1,2018-01-01 00:21:05,1,001\n2,2018-01-01 00:44:55,2.5,\n").await;
    put("raw/trips/b.CSV", "id,at,km,zone\n3,2018-01-02 00:00:00,,263\n").await;
    put("raw/trips/_SUCCESS", "").await;
    put("raw/trips-of-another/c.csv", "x\n1\n").await;
    let toml = r#"
        files = ["raw/trips/"]
        [columns]
        id = "INT64"
        [expect]
        min_rows = 3
        [expect.columns.km]
        type = "FLOAT64"
        min = 1
        max = 2.5
    "#;
    put_definition(&lake, &definition("", toml)).await.unwrap();
    let planned = send(json!({"plan": {"dataset": "rides"}})).await.unwrap();
    assert_eq!(planned["workers"].as_array().unwrap().len(), 1, "a file is a stream: {planned}");
    let streams = json!({"dataset": "rides", "job": planned["job"], "streams": [0, 1]});
    assert_eq!(send(json!({"streams": streams})).await.unwrap()["rows"], 3);
    let published = send(json!({"publish": {"dataset": "rides", "job": planned["job"]}})).await.unwrap();
    let address = published["address"].as_str().unwrap();
    let manifest = read_manifest(&lake, &rides(), address).await.unwrap();
    let types: Vec<&str> = manifest.identity.schema.iter().map(|column| column.of.as_str()).collect();
    assert_eq!(types, ["INT64", "DATETIME", "FLOAT64", "STRING"]);
    assert_eq!(manifest.identity.origin.source, "files");
    assert_eq!(parquet_rows(&lake, address).await, 3);
    // The same files again are the same extract; another file is another version.
    let again = send(json!({"extract": {"dataset": "rides"}})).await.unwrap();
    assert_eq!((&again["address"], &again["published"]), (&published["address"], &json!(false)));
    put("raw/trips/c.csv", "id,at,km,zone\n4,2018-01-03 00:00:00,2,7\n").await;
    let more = send(json!({"extract": {"dataset": "rides"}})).await.unwrap();
    assert_eq!((&more["rows"], &more["published"]), (&json!(4), &json!(true)));
    put("raw/trips/c.csv", "id,at,km,zone\n4,2018-01-03 00:00:00,9,7\n").await;
    let refused = send(json!({"extract": {"dataset": "rides"}})).await.unwrap_err();
    assert_eq!(refused.reason(), "dataset_refused", "numbers of CSV are held against what is expected: {refused}");
    put_definition(&lake, &definition("", "files = [\"raw/nothing/\"]")).await.unwrap();
    let error = send(json!({"extract": {"dataset": "rides"}})).await.unwrap_err();
    assert!(error.to_string().contains("raw/nothing/"), "{error}");
    put_definition(&lake, &definition(ALL, TOML)).await.unwrap();
    let error = send(json!({"extract": {"dataset": "rides"}})).await.unwrap_err();
    assert_eq!(error.to_string(), none.to_string(), "a query needs a warehouse");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_trips_in_the_tlcs_format_become_a_version() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/trips_dev.csv.gz");
    let Ok(trips) = std::fs::File::open(path) else {
        println!("skipped: there is no {path}");
        return;
    };
    let lines = BufReader::new(GzDecoder::new(trips)).lines().take(1 + TRIPS);
    let mut trips = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    lines.for_each(|line| writeln!(trips, "{}", line.unwrap()).unwrap());
    let lake = MemoryStore::new();
    let key = "raw/trips/trips.csv.gz";
    lake.put_object(key, trips.finish().unwrap().into(), PutCondition::Always).await.unwrap();
    put_definition(&lake, &definition("", "files = [\"raw/trips/trips.csv.gz\"]")).await.unwrap();
    let none = cloud::config::ConfigError::Missing("BIGQUERY_PROJECT");
    let event = json!({"extract": {"dataset": "rides"}});
    let published = handle(&lake, Err(&none), &config(), &event, now(), None).await.unwrap();
    let address = published["address"].as_str().unwrap();
    let manifest = read_manifest(&lake, &rides(), address).await.unwrap();
    let of = |name: &str| manifest.column(name).map(|column| column.of.as_str());
    let types = ["pickup_datetime", "pickup_location_id", "trip_distance", "store_and_fwd_flag"].map(of);
    assert_eq!(types, ["DATETIME", "INT64", "FLOAT64", "STRING"].map(Some));
    assert_eq!((&published["rows"], parquet_rows(&lake, address).await), (&json!(TRIPS), TRIPS));
}

/// Bytes of which some cannot be read: whoever tries panics.
struct Panicking {
    bytes: Bytes,
    within: Range<u64>,
    mended: AtomicBool,
}

impl RangeSource for Panicking {
    fn size_bytes(&self) -> u64 {
        self.bytes.size_bytes()
    }

    fn read_range(&self, start: u64, length: usize) -> io::Result<Bytes> {
        assert!(self.mended.load(Ordering::SeqCst) || !self.within.contains(&start), "the test's panic");
        self.bytes.read_range(start, length)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_file_is_read_is_no_end_of_it() {
    let rows = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from_iter_values(0..20_000)) as _)]).unwrap();
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(10_000)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(groups)).unwrap();
    writer.write(&rows).unwrap();
    let (start, length) = writer.close().unwrap().row_group(1).column(0).byte_range();
    let source =
        Arc::new(Panicking { bytes: bytes.into(), within: start..start + length, mended: AtomicBool::new(false) });
    let input = FileInput { name: "rides.parquet".to_owned(), bytes: source.size_bytes(), tag: "t".to_owned() };
    let files = Files::new(vec![OpenFile { input: input.clone(), bytes: Arc::clone(&source) as _ }], [].into());
    let order = Order {
        definition: datasets::Definition { files: vec![input], ..definition("", "") },
        as_of: None,
        now: now(),
    };
    let lake = MemoryStore::new();
    let failed = extract(&lake, &files, &order, small(), &|_| {}).await;
    let keys = lake.keys();
    let error = failed.expect_err("the rows after the panic are missing");
    assert!(error.to_string().contains("`rides.parquet`"), "{error}");
    let is_end = |key: &String| lake::dataset_chunk_rows(key).is_some_and(|(from, to)| from == to);
    assert!(!keys.iter().any(|key| is_end(key) || key.contains("/manifests/")), "{keys:?}");
    source.mended.store(true, Ordering::SeqCst);
    assert_eq!(extract(&lake, &files, &order, small(), &|_| {}).await.unwrap().published.rows, 20_000);
}
