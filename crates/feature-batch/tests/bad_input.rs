//! What is wrong in a file is told with its place, and the rest goes on; what is wrong with a file stops it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use feature_batch::{
    BATCH_BYTES, BatchError, MAX_LINE_BYTES, Options, RangeSource, Source, ViewFormat, run_files, transform,
};
use features::Plan;
use parquet::{
    arrow::ArrowWriter,
    data_type::{DoubleType, Int96, Int96Type},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};
use serde_json::{Value as Json, json};

const SPEC: &str = r#"
name = "t"
[prediction]
unit = "s"
[inputs]
x = { type = "float", max = 10 }
n = { type = "int", nullable = true }
[features]
f = "x * 2"
[model]
outputs = ["f", "n"]
[label]
expression = "x"
[fallback]
expression = "1"
default = 1
"#;

fn plan() -> Plan {
    Plan::compile("t", SPEC).unwrap()
}

fn run(bytes: impl Into<Bytes>) -> Result<(String, Vec<Json>), BatchError> {
    run_sources(vec![Source { name: "s".into(), bytes: Box::new(bytes.into()) }])
}

fn run_sources(sources: Vec<Source>) -> Result<(String, Vec<Json>), BatchError> {
    let (mut view, mut rejects) = (Vec::new(), Vec::new());
    let options = Options { format: ViewFormat::Csv, threads: 2 };
    let summary = transform(&plan(), sources, &mut view, &mut rejects, options, &mut |_| {})?;
    let rejects: Vec<Json> =
        std::str::from_utf8(&rejects).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let view = String::from_utf8(view).unwrap();
    assert_eq!(summary.written as usize, view.lines().count());
    Ok((view, rejects))
}

/// Row, offset, input and reason.
fn told(rejects: &[Json]) -> Vec<(u64, Json, Json, &str)> {
    rejects
        .iter()
        .map(|reject| {
            (
                reject["row"].as_u64().unwrap(),
                reject["offset"].clone(),
                reject["input"].clone(),
                reject["reason"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn bad_records_of_csv() {
    let mut text = b"requested_at,x,n\n".to_vec();
    let mut offsets = Vec::new();
    for line in [
        &b"2026-01-31T09:30:00Z,1.5,1\n"[..],
        b"2026-01-31T09:30:00Z,11,1.5\n",
        b"2026-01-31T09:30:00Z,1.5\n",
        b"2026-01-31T09:30:00Z,\xff,1\n",
        b",east,\n",
        b"\"2026-01-31T09:30:00Z\",2,\n",
        b"\"2026-01-31T09:30:00Z,2,\nnever closed",
    ] {
        offsets.push(text.len());
        text.extend_from_slice(line);
    }
    let (view, rejects) = run(text).unwrap();
    assert_eq!(view, "1.5,3,1\n2,4,\n");
    assert_eq!(
        told(&rejects),
        [
            (1, json!(offsets[1]), json!("n"), "wrong_type"),
            (1, json!(offsets[1]), json!("x"), "out_of_range"),
            (2, json!(offsets[2]), json!(null), "wrong_field_count"),
            (3, json!(offsets[3]), json!(null), "invalid_utf8"),
            (4, json!(offsets[4]), json!("requested_at"), "null_not_allowed"),
            (4, json!(offsets[4]), json!("x"), "wrong_type"),
            (6, json!(offsets[6]), json!(null), "wrong_field_count"),
        ]
    );
    assert_eq!(rejects[1]["original"], json!({"requested_at": "2026-01-31T09:30:00Z", "x": "11", "n": "1.5"}));
    assert_eq!(rejects[1]["detail"], "`x` is 11; allowed is … to 10");
}

#[test]
fn a_records_place_is_its_first_byte_whatever_breaks_the_lines() {
    for line_break in ["\n", "\r\n", "\r", "\r\n\r\n"] {
        let lines =
            ["requested_at,x,n", "2026-01-31T09:30:00Z,11,1", "2026-01-31T09:30:00Z,1,1", "2026-01-31T09:30:00Z,12,1"];
        let text = lines.join(line_break);
        let (_, rejects) = run(text.clone()).unwrap();
        let place = |line: &str| json!(text.find(line).unwrap());
        let expected =
            [(0, place(lines[1]), json!("x"), "out_of_range"), (2, place(lines[3]), json!("x"), "out_of_range")];
        assert_eq!(told(&rejects), expected, "{line_break:?}");
    }
}

/// A file whose `requested_at` is as Spark writes it.
fn with_int96(days: i64, nanoseconds: u64) -> Vec<u8> {
    let schema = "message m { required int96 requested_at; required double x; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut time = Int96::new();
    let julian = u32::try_from(days + 2_440_588).unwrap();
    time.set_data((nanoseconds & 0xffff_ffff) as u32, (nanoseconds >> 32) as u32, julian);
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int96Type>().write_batch(&[time], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[1.0], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn times_of_spark_are_those_of_csv() {
    let spec = SPEC.replace("x * 2", "UNIX_SECONDS(requested_at)");
    let plan = Plan::compile("t", &spec).unwrap();
    let run = |bytes: Vec<u8>| {
        let (mut view, mut rejects) = (Vec::new(), Vec::new());
        let source = Source { name: "s".into(), bytes: Box::new(Bytes::from(bytes)) };
        let options = Options { format: ViewFormat::Csv, threads: 1 };
        transform(&plan, vec![source], &mut view, &mut rejects, options, &mut |_| {}).unwrap();
        let reasons: Vec<Json> = std::str::from_utf8(&rejects)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).unwrap()["reason"].clone())
            .collect();
        (String::from_utf8(view).unwrap(), reasons)
    };
    for time in [
        "2026-01-31T09:30:00Z",
        "1970-01-01T00:00:00Z",
        "1600-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-30T00:00:00Z",
    ] {
        let at: jiff::Timestamp = time.parse().unwrap();
        let (days, second) = (at.as_second().div_euclid(86_400), at.as_second().rem_euclid(86_400));
        let found = run(with_int96(days, second as u64 * 1_000_000_000));
        assert_eq!(found, run(format!("requested_at,x\n{time},1\n").into_bytes()), "{time}");
    }
}

#[test]
fn a_damaged_parquet_file_never_panics() {
    let bytes = with_int96(20_000, 0);
    let mut refused = 0;
    // Its metadata, where every byte is changed to what makes lengths and numbers absurd.
    for at in 0..bytes.len() {
        for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            refused += usize::from(run(damaged).is_err_and(|error| error.to_string().starts_with("`s`")));
        }
    }
    assert!(refused > bytes.len(), "{refused}");
}

#[test]
fn bad_lines_of_json() {
    let good = r#"{"requested_at": "2026-01-31T09:30:00Z", "x": 1, "n": 7.0, "more": {"a": []}}"#;
    let lines = [
        good,
        "",
        r#"{"requested_at": "2026-01-31T09:30:00Z", "x": 1,"#,
        "[1, 2]",
        r#"{"requested_at": "2026-01-31T09:30:00Z", "x": 1, "x": 2}"#,
        r#"{"requested_at": 1, "x": "1", "n": [1]}"#,
        "{}",
        good,
    ];
    let text = lines.join("\n");
    let offset = |line: usize| json!(lines[..line].iter().map(|line| line.len() + 1).sum::<usize>());
    let (view, rejects) = run(text).unwrap();
    assert_eq!(view, "1,2,7\n1,2,7\n");
    assert_eq!(
        told(&rejects),
        [
            (1, offset(2), json!(null), "invalid_json"),
            (2, offset(3), json!(null), "invalid_value"),
            (3, offset(4), json!(null), "duplicate_field"),
            (4, offset(5), json!("requested_at"), "wrong_type"),
            (4, offset(5), json!("n"), "wrong_type"),
            (4, offset(5), json!("x"), "wrong_type"),
            (5, offset(6), json!("requested_at"), "missing_field"),
            (5, offset(6), json!("x"), "missing_field"),
        ]
    );
    assert_eq!(rejects[0]["original"], lines[2]);
    assert_eq!(rejects[4]["original"], json!({"requested_at": 1, "x": "1", "n": [1]}));
}

#[test]
fn no_line_is_too_long_for_the_memory() {
    let long = "y".repeat(MAX_LINE_BYTES * 3);
    let good = r#"{"requested_at": "2026-01-31T09:30:00Z", "x": 1}"#;
    let (view, rejects) = run(format!("{good}\n{{\"x\": \"{long}\"}}\n{good}\n")).unwrap();
    assert_eq!(view, "1,2,\n1,2,\n");
    assert_eq!(told(&rejects), [(1, json!(good.len() + 1), json!(null), "record_too_long")]);
    assert!(rejects[0]["original"].as_str().unwrap().len() < 5000);

    let header = "requested_at,x,y\n";
    let at = "2026-01-31T09:30:00Z";
    let (view, rejects) = run(format!("{header}{at},1,\n{at},1,\"{long}\n{at},1,\n")).unwrap();
    assert_eq!(view, "1,2,\n");
    assert_eq!(told(&rejects), [(1, json!(header.len() + at.len() + 4), json!(null), "record_too_long")]);
    let (view, _) = run(format!("{header}{at},1,\n{at},1,\"{long}\"\n{at},1,\n")).unwrap();
    assert_eq!(view, "1,2,\n1,2,\n");
}

#[test]
fn a_source_that_cannot_be_read_is_told_as_a_whole() {
    let gzipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for row in 0..50_000 {
            writeln!(encoder, "{{\"requested_at\": \"2026-01-31T09:30:00Z\", \"x\": {}}}", row % 9).unwrap();
        }
        let mut bytes = encoder.finish().unwrap();
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let parquet = |columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    };
    let float = || -> ArrayRef { Arc::new(Float64Array::from(vec![1.0])) };
    let naive: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    let utc: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let mut damaged = parquet(vec![("requested_at", Arc::clone(&utc)), ("x", float())]);
    damaged[8] ^= 0xff;
    let cases: [(Vec<u8>, &str, &str); 9] = [
        (gzipped, "corrupt_compression", "cut off"),
        (Vec::new(), "header_missing", "column"),
        (b"x,n\n1,2\n".to_vec(), "column_missing", "no column `requested_at`"),
        (b"requested_at,X,n\n".to_vec(), "column_missing", "columns without use: X"),
        (b"requested_at,x,n,x\n".to_vec(), "column_twice", "`x`"),
        (parquet(vec![("requested_at", naive), ("x", float())]), "column_type", "tz_localize"),
        (parquet(vec![("requested_at", utc), ("x", text)]), "column_type", "write it as a float"),
        (b"PAR1 and nothing more".to_vec(), "parquet_unreadable", "write the file again"),
        (damaged, "parquet_unreadable", "write the file again"),
    ];
    for (bytes, reason, detail) in cases {
        let error = run(bytes).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(detail) && error.to_string().starts_with("`s`"), "{error}");
    }
    let spec = SPEC.replace("[label]\nexpression = \"x\"\n", "");
    let plan = Plan::compile("t", &spec).unwrap();
    let options = Options { format: ViewFormat::Csv, threads: 1 };
    let error = transform(&plan, Vec::new(), Vec::new(), Vec::new(), options, &mut |_| {}).unwrap_err();
    assert_eq!(error.reason(), "no_label");
}

/// Fails from a byte on.
struct Failing(Bytes, u64);

impl RangeSource for Failing {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_range(&self, start: u64, length: usize) -> std::io::Result<Bytes> {
        if start + length as u64 > self.1 {
            return Err(std::io::Error::other("the network is away"));
        }
        self.0.read_range(start, length)
    }

    fn block_bytes(&self) -> usize {
        64
    }
}

/// Whether another try may help must not depend on who reads: the bytes are not to blame.
#[test]
fn a_source_that_fails_is_not_a_damaged_one() {
    let lines = "{\"requested_at\": \"2026-01-31T09:30:00Z\", \"x\": 1}\n".repeat(20_000);
    let gzipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(lines.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    let parquet = {
        let rows = 100_000;
        let x: ArrayRef = Arc::new((0..rows).map(|row| Some(f64::from(row % 10))).collect::<Float64Array>());
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1; rows as usize]).with_timezone("UTC"));
        let batch = RecordBatch::try_from_iter([("requested_at", at), ("x", x)]).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    };
    for bytes in [lines.into_bytes(), gzipped, zstd, parquet] {
        let fails_at = bytes.len() as u64 / 2;
        let source = Source { name: "s".into(), bytes: Box::new(Failing(bytes.into(), fails_at)) };
        let error = run_sources(vec![source]).unwrap_err();
        assert_eq!(error.reason(), "read_failed", "{error}");
        assert!(error.to_string().contains("the network is away"), "{error}");
    }
}

/// Makes its text as it is read, and counts how far readers were ahead of what was written.
struct Endless {
    size_bytes: u64,
    read: Arc<AtomicUsize>,
}

impl RangeSource for Endless {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_range(&self, start: u64, length: usize) -> std::io::Result<Bytes> {
        const LINE: &[u8] = b"{\"requested_at\": \"2026-01-31T09:30:00Z\", \"x\": 1}\n";
        self.read.fetch_max(start as usize + length, Ordering::Relaxed);
        Ok((start as usize..start as usize + length).map(|at| LINE[at % LINE.len()]).collect())
    }
}

/// The bound of the memory: however long the source, it is read only a few batches ahead of what is written.
#[test]
fn nothing_is_read_far_ahead_of_what_is_written() {
    let read = Arc::new(AtomicUsize::new(0));
    let line = "{\"requested_at\": \"2026-01-31T09:30:00Z\", \"x\": 1}\n".len();
    let rows = 200_000;
    let source = Endless { size_bytes: (rows * line) as u64, read: Arc::clone(&read) };
    let sources = vec![Source { name: "s".into(), bytes: Box::new(source) }];
    let (mut furthest, mut calls) = (0, 0);
    let threads = 2;
    let options = Options { format: ViewFormat::Csv, threads };
    let summary = transform(&plan(), sources, std::io::sink(), std::io::sink(), options, &mut |progress| {
        furthest = furthest.max(read.load(Ordering::Relaxed) - progress.rows as usize * line);
        calls += 1;
    })
    .unwrap();
    assert_eq!(summary.written, rows as u64);
    assert!(calls > 20);
    // Two batches ahead per thread, one in each hand, and the readers' buffers.
    let batches = (2 * threads + threads + 1) * feature_batch::BATCH_ROWS * line;
    assert!(furthest < batches + 512 * 1024, "{furthest}");
    assert!(batches < BATCH_BYTES);
}

#[test]
fn files_have_their_names_only_when_all_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names = |folder: &Path| {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    std::fs::write(path("a.csv"), "requested_at,x\n2026-01-31T09:30:00Z,1\n2026-01-31T09:30:00Z,11\n").unwrap();
    std::fs::write(path("b.jsonl"), "{\"requested_at\": \"2026-01-31T09:30:00Z\", \"x\": 2}\n").unwrap();
    std::fs::write(path("bad.csv"), "x\n1\n").unwrap();
    let out = path("out");
    let inputs = [path("a.csv"), path("b.jsonl")];
    let summary = run_files(&plan(), &inputs, &out, ViewFormat::Csv, 2, &mut |_| {}).unwrap();
    assert_eq!((summary.rows, summary.written, summary.rejected["out_of_range"]), (3, 2, 1));
    assert_eq!(summary.sources[0].missing_inputs, ["n"]);
    assert_eq!(names(&out), ["rejects.jsonl", "summary.json", "train.csv"]);
    assert_eq!(std::fs::read_to_string(out.join("train.csv")).unwrap(), "1,2,\n2,4,\n");
    let written: Json = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!((&written["rows"], &written["columns"]), (&json!(3), &json!(["label", "f", "n"])));

    let error = run_files(&plan(), &[path("a.csv"), path("bad.csv")], &out, ViewFormat::Csv, 2, &mut |_| {});
    assert_eq!(error.unwrap_err().reason(), "column_missing");
    assert_eq!(names(&out), ["rejects.jsonl", "summary.json", "train.csv"], "what was there stays");
    let error = run_files(&plan(), &[path("none.csv")], &path("out2"), ViewFormat::Csv, 1, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("none.csv"), "{error}");
    run_files(&plan(), &inputs, &out, ViewFormat::Parquet, 2, &mut |_| {}).unwrap();
    assert_eq!(names(&out), ["rejects.jsonl", "summary.json", "train.parquet"], "one view");
}
