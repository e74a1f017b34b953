//! Lookup tables of training rows: built, kept in files, and used without a leak.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;

use bytes::Bytes;
use feature_batch::{
    BuiltLookup, FoldOrder, LookupFile, LookupOrder, Options, RowWindow, Source, ViewFormat, build_lookup,
    lookup_table_of_object, transform,
};
use features::{
    FeatureTable, InputTable, LookupBuild, LookupDeclaration, LookupKeys, LookupTable, LookupValues, Plan, Resources,
    Scratch, Statistic, lookup_declarations,
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

const SPEC: &str = r#"
name = "t"
[prediction]
unit = "s"
[inputs]
ride = { type = "string", scope = "training" }
noise = { type = "int", nullable = true }
zone = { type = "int" }
drive_s = { type = "float", scope = "training" }
[lookups.by_key]
keys = { key = "int" }
values = { mean_s = "float", rows = "int" }
[features]
key = "noise"
encoded = "LOOKUP('by_key', key, 'mean_s', 300)"
[model]
outputs = ["encoded"]
[label]
expression = "drive_s"
[fallback]
expression = "encoded"
default = 1
"#;

fn declaration() -> LookupDeclaration {
    lookup_declarations("t", SPEC).unwrap().remove(0)
}

struct Row {
    at: Timestamp,
    noise: Option<i64>,
    zone: i64,
    drive_s: f64,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Durations that depend on the zone and not on the noise, of which there are four rows a value.
fn rows(count: u64) -> Vec<Row> {
    let mut state = 7;
    let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    (0..count)
        .map(|row| {
            let zone = (random(&mut state) % 20) as i64;
            Row {
                at: from + jiff::SignedDuration::from_secs(60 * row as i64),
                noise: Some((random(&mut state) % (count / 4)) as i64),
                zone,
                drive_s: 100.0 + (zone * 10) as f64 + (random(&mut state) % 400) as f64,
            }
        })
        .collect()
}

fn sources(rows: &[Row]) -> Vec<Source> {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let fields = json!({"requested_at": row.at.to_string(), "ride": format!("ride-{index}"), "noise": row.noise,
                            "zone": row.zone, "drive_s": row.drive_s});
        writeln!(text, "{fields}").unwrap();
    }
    vec![Source { name: "rides.jsonl".to_owned(), bytes: Box::new(Bytes::from(text)) }]
}

fn build(key: &str, rows: &[Row], window: RowWindow, folds: Option<u16>) -> BuiltLookup {
    let declaration = declaration();
    let order = LookupOrder {
        declaration: &declaration,
        keys: vec![key.to_owned()],
        value: "drive_s".to_owned(),
        window,
        build: LookupBuild {
            columns: vec![("mean_s".to_owned(), Statistic::Mean), ("rows".to_owned(), Statistic::Count)],
            smoothing_rows: 0.0,
            parent_keys: 0,
        },
        out_of_fold: folds.map(|folds| FoldOrder { folds, key: "ride".to_owned() }),
    };
    build_lookup(("t", SPEC), &Resources::default(), sources(rows), &order, &mut |_| {}).unwrap()
}

/// The plan with a table that went through its file.
fn plan(key: &str, built: &BuiltLookup) -> Plan {
    let bytes = built.file.to_parquet().unwrap();
    let table = lookup_table_of_object("by_key", bytes.into()).unwrap();
    assert_eq!(table.sha256(), built.file.table.sha256());
    let spec = SPEC.replace("key = \"noise\"", &format!("key = \"{key}\""));
    Plan::compile_with("t", &spec, &Resources::default().with_lookup("by_key", table)).unwrap()
}

/// The training view's label and encoded key.
fn view(plan: &Plan, rows: &[Row]) -> Vec<(f64, f64)> {
    let (mut view, mut rejects) = (Vec::new(), Vec::new());
    let options = Options { format: ViewFormat::Csv, threads: 2 };
    transform(plan, sources(rows), &mut view, &mut rejects, options, &mut |_| {}).unwrap();
    let number = |cell: &str| cell.parse::<f64>().unwrap();
    let lines = std::str::from_utf8(&view).unwrap().lines();
    lines.map(|line| line.split_once(',').map(|(label, encoded)| (number(label), number(encoded))).unwrap()).collect()
}

/// The share of the label's variance that a line over the encoded key explains.
fn r_squared(view: &[(f64, f64)]) -> f64 {
    let n = view.len() as f64;
    let (mean_y, mean_x) =
        (view.iter().map(|row| row.0).sum::<f64>() / n, view.iter().map(|row| row.1).sum::<f64>() / n);
    let (mut yy, mut xx, mut xy) = (0.0, 0.0, 0.0);
    for (y, x) in view {
        yy += (y - mean_y).powi(2);
        xx += (x - mean_x).powi(2);
        xy += (y - mean_y) * (x - mean_x);
    }
    xy * xy / (yy * xx)
}

#[test]
fn an_encoded_key_that_is_noise_tells_nothing_out_of_fold() {
    let rows = rows(8_000);
    let r_squared_of =
        |key: &str, folds| r_squared(&view(&plan(key, &build(key, &rows, RowWindow::All, folds)), &rows));
    let (in_sample, out_of_fold) = (r_squared_of("noise", None), r_squared_of("noise", Some(5)));
    println!("noise: R² in sample {in_sample:.4}, out of fold {out_of_fold:.6}");
    // Four rows a value: a quarter of the variance is a row's own label.
    assert!((0.2..0.3).contains(&in_sample), "{in_sample}");
    assert!(out_of_fold < 0.005, "{out_of_fold}");
    // What is no noise is told all the same.
    let (in_sample, out_of_fold) = (r_squared_of("zone", None), r_squared_of("zone", Some(5)));
    println!("zone: R² in sample {in_sample:.4}, out of fold {out_of_fold:.4}");
    assert!(in_sample > 0.15 && (in_sample - out_of_fold).abs() < 0.01, "{in_sample} {out_of_fold}");
}

#[test]
fn requests_see_the_whole_table_and_training_rows_their_folds() {
    let rows = rows(400);
    let built = build("zone", &rows, RowWindow::All, Some(4));
    let plan = plan("zone", &built);
    let mut inputs = InputTable::new(&plan);
    for (index, row) in rows.iter().enumerate() {
        let fields =
            json!({"ride": format!("ride-{index}"), "noise": row.noise, "zone": row.zone, "drive_s": row.drive_s});
        plan.read_training_row(row.at, fields.as_object().unwrap(), "", &mut inputs).unwrap();
    }
    let (mut scratch, mut serving, mut training) =
        (Scratch::default(), FeatureTable::default(), FeatureTable::default());
    plan.evaluate(&inputs, &mut scratch, &mut serving);
    plan.evaluate_training(&inputs, &mut scratch, &mut training);
    for (index, row) in rows.iter().enumerate() {
        let of_zone: Vec<f64> = rows.iter().filter(|other| other.zone == row.zone).map(|other| other.drive_s).collect();
        let mean = of_zone.iter().sum::<f64>() / of_zone.len() as f64;
        assert!((serving.outputs()[0][index] - mean).abs() < 1e-9, "a request sees all rows");
        assert!((serving.fallback()[index] - mean).abs() < 1e-9);
        assert!((training.outputs()[0][index] - mean).abs() > 1e-9, "a training row does not see itself");
    }
    // Nor does it allocate or differ the second time.
    let again = training.clone();
    plan.evaluate_training(&inputs, &mut scratch, &mut training);
    assert_eq!(again, training);
}

#[test]
fn only_rows_of_the_window_are_used() {
    let mut rows = rows(1_000);
    rows[3].noise = None;
    let (from, to) = (rows[100].at, rows[300].at);
    let window = || RowWindow::Between { time: "requested_at".to_owned(), from, to };
    let built = build("noise", &rows, window(), None);
    assert_eq!((built.rows, built.left_out["outside_window"]), (200, 800));
    let within = build("noise", &rows[100..300], RowWindow::All, None);
    assert_eq!(built.file.table.sha256(), within.file.table.sha256());
    let made = built.file.made.as_ref().unwrap();
    assert_eq!((&made["window"]["from"], &made["rows"]), (&json!(from.to_string()), &json!(200)));
    assert_eq!(build("noise", &rows, RowWindow::All, None).left_out["key_null"], 1);
    // Rows after the window see what a request sees: they were not learnt from.
    let built = build("zone", &rows, window(), Some(3));
    let later = view(&plan("zone", &built), &rows[300..]);
    let served = view(&plan("zone", &build("zone", &rows, window(), None)), &rows[300..]);
    assert_eq!(later, served);
    let earlier = |folds| view(&plan("zone", &build("zone", &rows, window(), folds)), &rows[100..300]);
    assert_ne!(earlier(Some(3)), earlier(None));
}

#[test]
fn what_cannot_be_built_is_told() {
    let rows = rows(50);
    let declaration = declaration();
    let order = |key: &str, value: &str, folds| LookupOrder {
        declaration: &declaration,
        keys: vec![key.to_owned()],
        value: value.to_owned(),
        window: RowWindow::All,
        build: LookupBuild {
            columns: vec![("mean_s".to_owned(), Statistic::Mean), ("rows".to_owned(), Statistic::Count)],
            smoothing_rows: 0.0,
            parent_keys: 0,
        },
        out_of_fold: folds,
    };
    let built = |rows: &[Row], order: &LookupOrder<'_>| {
        build_lookup(("t", SPEC), &Resources::default(), sources(rows), order, &mut |_| {})
    };
    let told = |rows: &[Row], order: LookupOrder<'_>| built(rows, &order).unwrap_err();
    assert_eq!(told(&rows, order("nose", "drive_s", None)).reason(), "unknown_name");
    assert_eq!(
        told(&rows, order("zone", "drive_s > 1", Some(FoldOrder { folds: 1, key: "ride".to_owned() }))).reason(),
        "lookup_build_invalid"
    );
    assert_eq!(told(&rows, order("zone", "NULLIF(drive_s, drive_s)", None)).reason(), "lookup_no_rows");
    let own = told(&rows, order("zone", "encoded", None));
    assert!(own.to_string().contains("there is no table 'by_key'"), "{own}");
    let mut wrong = order("zone", "drive_s", None);
    wrong.build.columns.remove(1);
    assert_eq!(told(&rows, wrong).reason(), "lookup_columns_invalid");
    let mut wrong = order("zone", "drive_s", None);
    wrong.build.columns[0].1 = Statistic::Count;
    assert!(told(&rows, wrong).to_string().contains("`mean_s` is declared as float"));
}

#[test]
fn a_file_of_anybody_is_the_same_table() {
    let declaration = declaration();
    let keys = vec![("key".to_owned(), LookupKeys::Int(vec![1, 2, 3]))];
    let values = vec![
        ("mean_s".to_owned(), LookupValues::Float(vec![240.5, f64::NAN, 1e-7])),
        ("rows".to_owned(), LookupValues::Int(vec![4, 5, 6])),
    ];
    let table = LookupTable::from_columns(keys, values).unwrap();
    let read = |bytes: &str| LookupFile::read("own", Bytes::from(bytes.to_owned()), &declaration);
    let csv = "rows,key,mean_s,note\n6,3,0.0000001,x\n4,1,240.5,\n5,2,,y\n";
    let lines =
        "{\"key\":1,\"mean_s\":240.5,\"rows\":4}\n{\"key\":3,\"mean_s\":1e-7,\"rows\":6}\n{\"key\":2,\"rows\":5}\n";
    for text in [csv, lines] {
        let file = read(text).unwrap();
        assert_eq!((file.table.sha256(), file.made), (table.sha256(), None));
    }
    let reason = |text: &str| read(text).unwrap_err().reason();
    assert_eq!(reason("key,mean_s\n1,2\n"), "column_missing");
    assert_eq!(reason("key,mean_s,rows\n1,2,x\n"), "lookup_rows_wrong");
    assert_eq!(reason("key,mean_s,rows\n1,2,3\n1,2,3\n"), "lookup_keys_twice");
    // One of ours, of another shape.
    let other = LookupTable::from_columns(
        vec![("zone".to_owned(), LookupKeys::Bool(vec![true]))],
        table.values().iter().map(|(name, _)| (name.clone(), LookupValues::Int(vec![1]))).collect(),
    )
    .unwrap();
    let bytes = LookupFile { table: other, made: None }.to_parquet().unwrap();
    assert_eq!(LookupFile::read("other", bytes.into(), &declaration).unwrap_err().reason(), "lookup_mismatch");
    assert!(lookup_table_of_object("x", Bytes::from_static(b"PAR1")).is_err());
    assert!(lookup_table_of_object("x", Bytes::from_static(b"key,mean_s\n")).unwrap_err().contains("mannen.lookup"));
}

fn table() -> impl Strategy<Value = LookupTable> {
    let row = ("[ab東]{0,3}", any::<bool>(), prop::option::of(-1e9..1e9f64), any::<i64>(), 0u32..3);
    prop::collection::btree_map((-3i64..3, any::<bool>()), row, 0..20).prop_map(|rows| {
        let keys = vec![
            ("zone".to_owned(), LookupKeys::Int(rows.keys().map(|key| key.0).collect())),
            ("is_wet".to_owned(), LookupKeys::Bool(rows.keys().map(|key| key.1).collect())),
            ("name".to_owned(), LookupKeys::String(rows.values().map(|row| row.0.clone()).collect())),
        ];
        let labels: Vec<f64> = rows.values().map(|row| row.2.unwrap_or(f64::NAN)).collect();
        let folds: Vec<u32> = rows.values().map(|row| row.4).collect();
        let columns = vec![("mean".to_owned(), Statistic::Mean), ("rows".to_owned(), Statistic::Count)];
        let build = LookupBuild { columns, smoothing_rows: 3.0, parent_keys: 1 };
        match build.build_out_of_fold(&keys, &labels, &folds) {
            Ok(folded) => folded.into_table("HASH_BUCKET(zone, 3)".to_owned()).unwrap(),
            Err(_) => build.build(&keys, &labels).unwrap(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_file_keeps_the_table(table in table(), at in 0usize..100_000, byte: u8) {
        let file = LookupFile { table, made: Some(json!({"rows": 7})) };
        let bytes = file.to_parquet().unwrap();
        let read = LookupFile::from_parquet("t", bytes.clone().into()).unwrap().unwrap();
        prop_assert_eq!(read.table.to_bytes(), file.table.to_bytes());
        prop_assert_eq!(read.table.folds().map(|folds| folds.table().to_bytes()), file.table.folds().map(|folds| folds.table().to_bytes()));
        prop_assert_eq!(&read, &file);
        // Broken bytes are refused, or are another table; nothing panics.
        let at = at % bytes.len();
        prop_assert!(lookup_table_of_object("t", bytes[..at].to_vec().into()).is_err());
        let mut changed = bytes.clone();
        changed[at] = byte;
        match lookup_table_of_object("t", changed.into()) {
            Ok(read) => prop_assert!(!read.sha256().is_empty()),
            Err(told) => prop_assert!(!told.is_empty()),
        }
    }
}
