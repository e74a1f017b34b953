//! The law: any rows, any split into files, row groups and batches, any format, any number of threads: the same bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fmt::Write as _, io::Write as _, sync::Arc};

use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use feature_batch::{Options, RangeSource, Source, SourceFormat, Summary, ViewFormat, transform};
use features::{FeatureTable, InputTable, LookupBuild, LookupKeys, Plan, Resources, Scratch, Statistic};
use jiff::Timestamp;
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const SPEC: &str = r#"
name = "t"
[prediction]
unit = "s"
[inputs]
lat = { type = "float", min = -90, max = 90 }
mm = { type = "float", nullable = true }
zone = { type = "int", default = 7 }
kind = { type = "string", nullable = true }
drive_s = { type = "float", nullable = true, scope = "training" }
[features]
hour = "EXTRACT(HOUR FROM requested_at AT TIME ZONE 'Asia/Tokyo')"
warped = "SIN(lat) * mm"
is_wet = "kind = 'wet, \"very\"'"
[model]
outputs = ["warped", "zone", "hour", "is_wet", "lat"]
[label]
expression = "NULLIF(drive_s, 0)"
[fallback]
expression = "1"
default = 1
"#;

#[derive(Debug, Clone)]
struct Row {
    at_us: i64,
    lat: f64,
    mm: Option<f64>,
    zone: Option<i32>,
    kind: Option<String>,
    drive_s: Option<f64>,
}

fn plan() -> Plan {
    Plan::compile("t", SPEC).unwrap()
}

/// The same with a lookup table by text and integer, whose values are out of fold for some of the rows.
fn plan_with_lookups() -> Plan {
    let spec = SPEC
        .replace("[features]", "[lookups.drives]\nkeys = { kind = \"string\", zone = \"int\" }\nvalues = { mean_s = \"float\", rows = \"int\" }\n[features]\ndrive = \"LOOKUP('drives', kind, MOD(zone, 3), 'mean_s', mm)\"\nrows = \"LOOKUP('drives', kind, MOD(zone, 3), 'rows', 0)\"")
        .replace("\"lat\"]", "\"drive\", \"rows\", \"lat\"]");
    let kinds = ["wet, \"very\"", "dry\nline", "a"];
    let (mut texts, mut zones) = (Vec::new(), Vec::new());
    for kind in kinds {
        for zone in [-2, -1, 0, 1, 2] {
            texts.push(kind.to_owned());
            zones.push(zone);
        }
    }
    let keys = [("kind".to_owned(), LookupKeys::String(texts)), ("zone".to_owned(), LookupKeys::Int(zones))];
    let labels: Vec<f64> = (0..15).map(|row| 100.0 / f64::from(row + 3)).collect();
    let folds: Vec<u32> = (0..15).map(|row| row % 2).collect();
    let columns = vec![("mean_s".to_owned(), Statistic::Mean), ("rows".to_owned(), Statistic::Count)];
    let build = LookupBuild { columns, smoothing_rows: 1.5, parent_keys: 1 };
    let table = build.build_out_of_fold(&keys, &labels, &folds).unwrap();
    let table = table.into_table("CASE WHEN mm < 1 THEN HASH_BUCKET(kind, 2) END".to_owned()).unwrap();
    Plan::compile_with("t", &spec, &Resources::default().with_lookup("drives", table)).unwrap()
}

fn row() -> impl Strategy<Value = Row> {
    // Some rows are out of range, and some have no label.
    let lat = prop_oneof![9 => -90.0..90.0f64, 1 => 90.0..180.0f64, 1 => Just(-0.0)];
    let kind = prop_oneof![Just("wet, \"very\"".to_owned()), Just("dry\nline".to_owned()), "[a-z東]{1,3}"];
    (
        -4_000_000_000_000_000i64..4_000_000_000_000_000,
        lat,
        prop::option::of(prop_oneof![
            any::<f64>().prop_filter("finite", |value| value.is_finite()),
            Just(1e-7),
            Just(3.0)
        ]),
        prop::option::of(any::<i32>()),
        prop::option::of(kind),
        prop::option::weighted(0.9, prop_oneof![Just(0.0), 1.0..7200.0f64]),
    )
        .prop_map(|(at_us, lat, mm, zone, kind, drive_s)| Row { at_us, lat, mm, zone, kind, drive_s })
}

fn parquet(rows: &[Row], group_rows: usize) -> Vec<u8> {
    let column = |array: ArrayRef| array;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("kind", column(Arc::new(rows.iter().map(|row| row.kind.clone()).collect::<StringArray>())), true),
        ("lat", column(Arc::new(rows.iter().map(|row| Some(row.lat)).collect::<Float64Array>())), true),
        ("mm", column(Arc::new(rows.iter().map(|row| row.mm).collect::<Float64Array>())), true),
        ("trip", column(Arc::new(rows.iter().map(|row| row.zone).collect::<Int32Array>())), true),
        ("zone", column(Arc::new(rows.iter().map(|row| row.zone).collect::<Int32Array>())), true),
        ("drive_s", column(Arc::new(rows.iter().map(|row| row.drive_s).collect::<Float64Array>())), true),
        (
            "requested_at",
            column(Arc::new(
                rows.iter().map(|row| Some(row.at_us)).collect::<TimestampMicrosecondArray>().with_timezone("UTC"),
            )),
            true,
        ),
    ])
    .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_compression(Compression::SNAPPY)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn csv(rows: &[Row]) -> Vec<u8> {
    let mut text = "\u{feff}requested_at,mm,lat,kind,zone,drive_s,trip\r\n".to_owned();
    let float = |value: Option<f64>| value.map(|value| format!("{value:?}")).unwrap_or_default();
    for row in rows {
        let kind = row.kind.as_ref().map(|kind| format!("\"{}\"", kind.replace('"', "\"\""))).unwrap_or_default();
        let zone = row.zone.map(|zone| zone.to_string()).unwrap_or_default();
        let at = Timestamp::from_microsecond(row.at_us).unwrap();
        let (mm, lat, drive_s) = (float(row.mm), float(Some(row.lat)), float(row.drive_s));
        write!(text, "{at},{mm},{lat},{kind},{zone},{drive_s},x\r\n").unwrap();
    }
    text.into_bytes()
}

fn json_lines(rows: &[Row]) -> Vec<u8> {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let mut fields = json!({"lat": row.lat, "mm": row.mm, "zone": row.zone, "drive_s": row.drive_s, "trip": [1]});
        // A field may be null or left out.
        if row.kind.is_some() || index % 2 == 0 {
            fields["kind"] = json!(row.kind);
        }
        fields["requested_at"] = json!(Timestamp::from_microsecond(row.at_us).unwrap().to_string());
        writeln!(text, "{fields}").unwrap();
    }
    text.into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Gives its bytes in blocks of an odd size.
struct Slow(Bytes);

impl RangeSource for Slow {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_range(&self, start: u64, length: usize) -> std::io::Result<Bytes> {
        self.0.read_range(start, length)
    }

    fn block_bytes(&self) -> usize {
        37
    }
}

fn run(plan: &Plan, files: Vec<Vec<u8>>, format: ViewFormat, threads: usize) -> (Vec<u8>, Vec<Json>, Summary) {
    let sources = files
        .into_iter()
        .enumerate()
        .map(|(index, bytes)| Source { name: format!("file-{index}"), bytes: Box::new(Slow(bytes.into())) })
        .collect();
    let (mut view, mut rejects) = (Vec::new(), Vec::new());
    let mut last = None;
    let summary = transform(plan, sources, &mut view, &mut rejects, Options { format, threads }, &mut |progress| {
        last = Some(progress);
    })
    .unwrap();
    let last = last.unwrap();
    assert_eq!(
        (last.rows, last.bytes_total),
        (summary.rows, summary.sources.iter().map(|source| source.size_bytes).sum())
    );
    let rejects =
        std::str::from_utf8(&rejects).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (view, rejects, summary)
}

/// The view by the row-at-a-time way that requests take.
fn expected_csv(plan: &Plan, rows: &[Row]) -> String {
    let (mut scratch, mut table, mut csv) = (Scratch::default(), FeatureTable::default(), String::new());
    for row in rows {
        let mut inputs = InputTable::new(plan);
        let fields = json!({"lat": row.lat, "mm": row.mm, "zone": row.zone, "kind": row.kind, "drive_s": row.drive_s});
        let at = Timestamp::from_microsecond(row.at_us).unwrap();
        if plan.read_training_row(at, fields.as_object().unwrap(), "", &mut inputs).is_err() {
            continue;
        }
        plan.evaluate_training(&inputs, &mut scratch, &mut table);
        if !table.label()[0].is_nan() {
            let cells = table.row(0).map(|value| value.map(f64::to_bits));
            writeln!(csv, "{:?} {:?}", table.label()[0].to_bits(), cells.collect::<Vec<_>>()).unwrap();
        }
    }
    csv
}

fn bits_of_csv(view: &[u8]) -> String {
    let mut text = String::new();
    for line in std::str::from_utf8(view).unwrap().lines() {
        let mut cells = line.split(',').map(|cell| cell.parse::<f64>().ok().map(f64::to_bits));
        writeln!(text, "{:?} {:?}", cells.next().unwrap().unwrap(), cells.collect::<Vec<_>>()).unwrap();
    }
    text
}

#[test]
fn files_without_rows_are_told_to_the_end() {
    for format in [ViewFormat::Csv, ViewFormat::Parquet] {
        // `run` compares the last progress with the summary.
        let (_, rejects, summary) = run(&plan(), vec![parquet(&[], 1), csv(&[])], format, 1);
        assert_eq!((rejects.len(), summary.rows, summary.written), (0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_view_depends_on_the_rows_alone(
        rows in prop::collection::vec(row(), 0..120),
        splits in prop::collection::vec(0usize..120, 0..3),
        group_rows in 1usize..50,
        threads in 1usize..4,
        has_lookups: bool,
    ) {
        let plan = if has_lookups { plan_with_lookups() } else { plan() };
        let mut at: Vec<usize> = splits.into_iter().map(|split| split.min(rows.len())).chain([0, rows.len()]).collect();
        at.sort_unstable();
        let parts: Vec<&[Row]> = at.windows(2).map(|pair| &rows[pair[0]..pair[1]]).collect();
        for format in [ViewFormat::Csv, ViewFormat::Parquet] {
            let (view, _, whole) = run(&plan, vec![parquet(&rows, 1000), csv(&[])], format, 1);
            if format == ViewFormat::Csv {
                prop_assert_eq!(bits_of_csv(&view), expected_csv(&plan, &rows));
            }
            let as_parquet = parts.iter().map(|part| parquet(part, group_rows)).collect();
            let as_csv = parts.iter().enumerate().map(|(index, part)| match index % 3 {
                0 => csv(part),
                1 => gzip(&csv(part)),
                _ => zstd(&csv(part)),
            }).collect();
            let as_json = parts.iter().enumerate().filter(|(_, part)| !part.is_empty()).map(|(index, part)| match index % 3 {
                0 => gzip(&json_lines(part)),
                1 => zstd(&json_lines(part)),
                _ => json_lines(part),
            }).collect::<Vec<_>>();
            let as_json = if as_json.is_empty() { vec![csv(&[])] } else { as_json };
            for (files, of) in [(as_parquet, SourceFormat::Parquet), (as_csv, SourceFormat::Csv), (as_json, SourceFormat::JsonLines)] {
                let (other, rejects, summary) = run(&plan, files, format, threads);
                prop_assert!(other == view, "{of:?}: {:?}\n{:?}", summary, rejects);
                prop_assert_eq!(&summary.rejected, &whole.rejected);
                prop_assert_eq!(summary.rows, rows.len() as u64);
                prop_assert_eq!(summary.written + summary.rejected_rows(), summary.rows);
                prop_assert_eq!(rejects.len() as u64, summary.rejected_rows());
                if !rows.is_empty() {
                    prop_assert!(summary.sources.iter().all(|source| source.format == of && source.missing_inputs.is_empty() || source.rows == 0));
                    prop_assert_eq!(&summary.sources[0].unused_columns, &["trip"]);
                }
            }
        }
    }
}

/// More rows than a batch and a row group have.
#[test]
fn the_law_holds_across_batches_and_row_groups() {
    let rows: Vec<Row> = (0..200_000)
        .map(|index| Row {
            at_us: 1_527_891_870_000_000 + index * 1_000_003,
            lat: (index % 181) as f64 - 90.0,
            mm: (index % 3 != 0).then_some(index as f64 / 7.0),
            zone: None,
            kind: None,
            drive_s: (index % 5 != 0).then_some((index + 1) as f64),
        })
        .collect();
    let (view, rejects, summary) = run(&plan(), vec![parquet(&rows, 1 << 20)], ViewFormat::Parquet, 1);
    assert_eq!((summary.written, rejects.len()), (160_000, 40_000));
    assert_eq!(
        rejects[1],
        json!({"source": "file-0", "row": 5, "offset": null, "input": null, "reason": "label_null",
        "detail": "the label is NULL: nothing can be learnt from the row",
        "original": {"requested_at": "2018-06-01T22:24:35.000015Z", "lat": -85.0, "mm": 5.0 / 7.0, "zone": null, "kind": null, "drive_s": null}})
    );
    let third = rows.len() / 3;
    let (other, _, _) =
        run(&plan(), vec![csv(&rows[..third]), parquet(&rows[third..], 10_000)], ViewFormat::Parquet, 3);
    assert!(other == view);
    // As another reader sees it.
    let reader = parquet::file::serialized_reader::SerializedFileReader::new(Bytes::from(view)).unwrap();
    let metadata = parquet::file::reader::FileReader::metadata(&reader);
    let groups: Vec<i64> =
        metadata.row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows).collect();
    assert_eq!(groups, [131_072, 160_000 - 131_072]);
    let schema = metadata.file_metadata().schema_descr();
    let columns: Vec<String> =
        schema.columns().iter().map(|column| format!("{} {}", column.name(), column.physical_type())).collect();
    assert_eq!(columns, ["label DOUBLE", "warped DOUBLE", "zone DOUBLE", "hour DOUBLE", "is_wet DOUBLE", "lat DOUBLE"]);
}
