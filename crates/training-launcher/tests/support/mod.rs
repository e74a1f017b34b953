//! A model of one feature with two variants, and what is in the lake before any of it is trained.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{Float64Array, RecordBatch, TimestampMicrosecondArray};
use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    logs::{LogError, ReadLogTail},
    memory::MemoryStore,
    object_store::{PutCondition, PutObject},
};
use datasets::{Column, ColumnStatistics, DataFile, FORMAT, Identity, Manifest, Numbers, Origin, Pointer, RowsDigest};
use domain::{CodeVersion, FeatureSpecSource, ModelName, digest::sha256_hex, lake};
use features::Plan;
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use training::{CodeArchive, TrainingDefinition, put_definition};

pub(crate) const BUCKET: &str = "lake";
const SPEC: &str = r#"
name = "eta"
prediction = { unit = "s" }
[inputs]
distance = { type = "float", scope = "candidate" }
took = { type = "float", scope = "training" }
[features]
twice = "distance * 2"
[model]
outputs = ["twice"]
[label]
expression = "took"
[fallback]
expression = "distance"
default = 1.0
"#;

pub(crate) fn model() -> ModelName {
    "eta".parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-11-20T00:00:00Z".parse().unwrap()
}

/// A dataset version of `rows` rows, as the extractor publishes it.
pub(crate) fn dataset(rows: usize) -> (Manifest, Bytes) {
    let start = Timestamp::from_second(1_700_000_000).unwrap().as_microsecond();
    let times: Vec<i64> = (0..rows as i64).map(|row| start + row * 60_000_000).collect();
    let (min, max) = (times[0] as f64, times[rows - 1] as f64);
    let distance: Vec<f64> = (0..rows).map(|row| (row % 17) as f64 + 1.0).collect();
    let took: Vec<f64> = distance.iter().map(|distance| distance * 3.0).collect();
    let times = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
    let batch = RecordBatch::try_from_iter([
        ("requested_at", times as arrow_array::ArrayRef),
        ("distance", Arc::new(Float64Array::from(distance))),
        ("took", Arc::new(Float64Array::from(took))),
    ])
    .unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = Bytes::from(writer.into_inner().unwrap());
    let column = |name: &str, of: &str| Column { name: name.to_owned(), of: of.to_owned(), nullable: false };
    let identity = Identity {
        format: FORMAT.to_owned(),
        dataset: model(),
        origin: Origin {
            source: "test".to_owned(),
            sql: "SELECT 1".to_owned(),
            parameters: BTreeMap::new(),
            as_of: Some(now()),
            files: Vec::new(),
        },
        schema: vec![column("requested_at", "TIMESTAMP"), column("distance", "FLOAT64"), column("took", "FLOAT64")],
        parents: Vec::new(),
        rows: rows as u64,
        row_bytes: 24 * rows as u64,
        rows_digest: RowsDigest::default(),
    };
    let address = identity.address();
    let numbers = Numbers { min: Some(min), max: Some(max), ..Numbers::default() };
    let statistics = vec![ColumnStatistics {
        name: "requested_at".to_owned(),
        of: "TIMESTAMP".to_owned(),
        rows: rows as u64,
        nulls: 0,
        numbers: Some(numbers),
        texts: None,
    }];
    let file = DataFile {
        key: lake::dataset_part(&model(), &address, 0),
        sha256: sha256_hex(&bytes),
        bytes: bytes.len() as u64,
        rows: rows as u64,
    };
    let manifest = Manifest {
        address,
        identity,
        job: "job".to_owned(),
        bytes_processed: None,
        created_at: now(),
        bytes: file.bytes,
        files: vec![file],
        statistics,
        checks: Vec::new(),
    };
    (manifest, bytes)
}

pub(crate) struct Prepared {
    pub(crate) objects: Vec<(String, Bytes)>,
    pub(crate) versions: Vec<Manifest>,
}

/// What is in the lake before anything happens: two dataset versions, the definition, the code.
pub(crate) async fn prepared() -> Prepared {
    let store = MemoryStore::new();
    let mut versions = Vec::new();
    for rows in [1_200, 1_300] {
        let (manifest, bytes) = dataset(rows);
        let address = &manifest.address;
        store.put_object(&manifest.files[0].key, bytes, PutCondition::Always).await.unwrap();
        let key = lake::dataset_manifest(&model(), address);
        store.put_object(&key, manifest.to_bytes().into(), PutCondition::Always).await.unwrap();
        versions.push(manifest);
    }
    let code = CodeArchive::of(&BTreeMap::from([("train.py".to_owned(), b"pass".to_vec())])).unwrap();
    let plan = toml::from_str(
        "image = 'image'\ninstance_type = 'ml.m5.large'\nmax_runtime_s = 60\n[variants.deep]\nmax_depth = 7\n\
         [variants.shallow]\nmax_depth = 3",
    )
    .unwrap();
    let definition = TrainingDefinition {
        model: model(),
        spec: FeatureSpecSource { hash: Plan::compile("x", SPEC).unwrap().hash().to_owned(), toml: SPEC.to_owned() },
        lookups: BTreeMap::new(),
        code: CodeVersion { address: code.address.clone(), commit: None, program: None },
        plan,
        evaluation: None,
        defined_at: now(),
    };
    put_definition(&store, &definition, &code).await.unwrap();
    Prepared { objects: store.contents(), versions }
}

/// Puts a dataset version in use.
pub(crate) async fn put_in_use(store: &MemoryStore, version: &Manifest) {
    let address = version.address.clone();
    let pointer = Pointer { address, as_of: None, moved_at: now(), previous: None, reason: None };
    let bytes = serde_json::to_vec(&pointer).unwrap();
    store.put_object(&lake::dataset_pointer(&model()), bytes.into(), PutCondition::Always).await.unwrap();
}

pub(crate) fn pointer_event() -> Value {
    let record = json!({"Records": [{
        "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": BUCKET}, "object": {"key": lake::dataset_pointer(&model()), "size": 1}},
    }]});
    json!({"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": record.to_string()}]})
}

pub(crate) fn schedule_event() -> Value {
    json!({"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}})
}

pub(crate) struct NoLogs;

#[async_trait]
impl ReadLogTail for NoLogs {
    async fn read_log_tail(&self, _group: &str, _stream: &str, _lines: usize) -> Result<Vec<String>, LogError> {
        Ok(vec!["the last line".to_owned()])
    }
}
