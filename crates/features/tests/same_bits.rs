//! The same bits on every machine (golden files), and on every way through the engine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;

use domain::{Candidate, Inputs};
use features::{FeatureTable, InputTable, Plan, Scratch};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const REFERENCE: &str = include_str!("../../../models/pickup-eta/features.toml");
const TWENTY: &str = include_str!("../../../benches/features.toml");

/// SplitMix64 (Steele, Lea, Flood 2014): numbers that no other crate's version changes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// Rows over all that the spec's inputs allow, with NULLs where they may be.
fn rows(plan: &Plan, count: usize) -> InputTable {
    let mut random = Random(7);
    let mut table = InputTable::new(plan);
    for _ in 0..count {
        let at = Timestamp::from_second(random.between(-2e9, 6e9) as i64).unwrap();
        let mut inputs = Inputs::new();
        for input in &plan.inputs()[1..] {
            let (low, high) = (input.min.unwrap_or(-1e3), input.max.unwrap_or(1e3));
            let value = random.between(low, high);
            let value = if input.of == features::Type::Int { json!(value as i64) } else { json!(value) };
            let is_null = input.nullable && random.next().is_multiple_of(4);
            inputs.insert(input.name.clone(), if is_null { Json::Null } else { value });
        }
        plan.read_training_row(at, &inputs, "/0", &mut table).unwrap();
    }
    table
}

fn lines(spec: &str) -> String {
    let plan = Plan::compile("features.toml", spec).unwrap();
    let table = rows(&plan, 60);
    let mut features = FeatureTable::default();
    plan.evaluate_training(&table, &mut Scratch::default(), &mut features);
    let mut text = String::new();
    for row in 0..features.rows() {
        for value in features.row(row).chain([Some(features.fallback()[row])]) {
            match value {
                Some(value) => write!(text, "{:016x} ", value.to_bits()).unwrap(),
                None => text.push_str("null "),
            }
        }
        text.push('\n');
    }
    text
}

/// After a deliberate change of arithmetic: `cargo test -p features --test same_bits -- --ignored`.
#[test]
#[ignore = "writes the golden files"]
fn write_golden() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    std::fs::write(format!("{folder}/pickup-eta.txt"), lines(REFERENCE)).unwrap();
    std::fs::write(format!("{folder}/twenty-features.txt"), lines(TWENTY)).unwrap();
}

#[test]
fn the_reference_spec_gives_the_golden_bits() {
    assert_eq!(lines(REFERENCE), include_str!("golden/pickup-eta.txt"));
    assert_eq!(lines(TWENTY), include_str!("golden/twenty-features.txt"));
}

/// Every operator and function of numbers.
const EXPRESSIONS: &[&str] = &[
    "x + y",
    "x - y",
    "x * y",
    "x / y",
    "x % y",
    "POW(x, y)",
    "ATAN2(x, y)",
    "ATAN2(y, 0 * x)",
    "LEAST(x, y, 2)",
    "GREATEST(x, y)",
    "x + 2",
    "2 - x",
    "x / 3",
    "3 / x",
    "-x",
    "ABS(x)",
    "SIGN(x)",
    "FLOOR(x)",
    "CEIL(x)",
    "ROUND(x)",
    "TRUNC(x)",
    "SQRT(x)",
    "EXP(x)",
    "LN(x)",
    "LN1P(x)",
    "LOG10(x)",
    "SIN(x)",
    "COS(x)",
    "COS(y)",
    "TAN(x)",
    "ASIN(x)",
    "ACOS(x)",
    "ATAN(x)",
    "RADIANS(x)",
    "DEGREES(x)",
    "i + j",
    "i - j",
    "i * j",
    "DIV(i, j)",
    "MOD(i, j)",
    "MOD(i, 86400)",
    "i + 9223372036854775807",
    "i - 5",
    "LEAST(i, j)",
    "GREATEST(i, j)",
    "-i",
    "ABS(i)",
    "SIGN(i)",
    "x < y",
    "x = y",
    "x <> y",
    "x <= 0",
    "i < j",
    "i = j",
    "i <> 1",
    "i <= j",
    "b AND x < y",
    "b OR x < y",
    "NOT b",
    "b IS NULL",
    "IF(b, x, y)",
    "IF(x < y, i, j)",
    "COALESCE(x, y)",
    "COALESCE(i, 3)",
    "CAST(x AS INT64)",
    "CAST(i AS BOOL)",
    "CAST(x AS BOOL)",
    "CAST(b AS INT64)",
    "b = (x < y)",
    "NULLIF(i, j)",
    "x = NULL",
    "EXTRACT(YEAR FROM t AT TIME ZONE 'America/New_York')",
    "EXTRACT(QUARTER FROM t AT TIME ZONE 'Asia/Kathmandu')",
    "EXTRACT(MONTH FROM t)",
    "EXTRACT(DAY FROM t)",
    "EXTRACT(DAYOFYEAR FROM t)",
    "EXTRACT(HOUR FROM t AT TIME ZONE 'Australia/Lord_Howe')",
    "EXTRACT(MINUTE FROM t)",
    "EXTRACT(SECOND FROM t)",
    "EXTRACT(DAYOFWEEK FROM t)",
    "EXTRACT(ISODOW FROM t AT TIME ZONE 'America/New_York')",
    "UNIX_SECONDS(t)",
    "GREAT_CIRCLE_M(x, y, y, x)",
    "MANHATTAN_M(x, y, y, x)",
    "BEARING_DEG(x, y, y, x)",
];

/// The expressions as a spec; with an output about texts, which has to run over columns.
fn spec_of_expressions(with_text: bool) -> String {
    let mut text = String::from(
        "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nx = { type = \"float\", nullable = true }\n\
         y = { type = \"float\", nullable = true }\ni = { type = \"int\", nullable = true }\n\
         j = { type = \"int\", nullable = true }\nb = { type = \"bool\", nullable = true }\n\
         t = { type = \"timestamp\", nullable = true }\ns = { type = \"string\", nullable = true }\n[features]\n",
    );
    for (index, expression) in EXPRESSIONS.iter().enumerate() {
        writeln!(text, "f{index} = '''{expression}'''").unwrap();
    }
    text.push_str("text = \"LENGTH(s)\"\n[model]\noutputs = [");
    (0..EXPRESSIONS.len()).for_each(|index| write!(text, "\"f{index}\", ").unwrap());
    text.push_str(if with_text { "\"text\"]" } else { "]" });
    text.push_str("\n[fallback]\nexpression = \"x\"\ndefault = 1\n");
    text
}

fn float() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        4 => (-8.0..8.0f64).prop_map(Some),
        2 => (-1.0..1.0f64).prop_map(Some),
        2 => (-1e4..1e4f64).prop_map(Some),
        1 => prop::num::f64::NORMAL.prop_map(Some),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(-1.0), Just(5e-324), Just(1e300), Just(710.0)].prop_map(Some),
    ]
}

fn int() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        1 => Just(None), 4 => (-10i64..10).prop_map(Some), 2 => (-1i64 << 55..1 << 55).prop_map(Some),
        1 => any::<i64>().prop_map(Some),
    ]
}

fn instant() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        1 => Just(None), 6 => (1_500_000_000i64..1_800_000_000).prop_map(Some), 1 => (-60_000_000_000i64..200_000_000_000).prop_map(Some),
    ]
}

fn row() -> impl Strategy<Value = Json> {
    (float(), float(), int(), int(), any::<Option<bool>>(), instant()).prop_map(|(x, y, i, j, b, t)| {
        let t = t.map(|second| Timestamp::from_second(second).unwrap().to_string());
        json!({"x": x, "y": y, "i": i, "j": j, "b": b, "t": t, "s": "text"})
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One row, a block of vectors, and columns: three ways through the engine, the same bits. Rows do not see each
    /// other: some of them are beyond what the fast parts of the functions cover.
    #[test]
    fn every_way_gives_the_same_bits(rows in prop::collection::vec(row(), 1..70)) {
        let evaluate = |spec: &str, rows: &[Json]| {
            let plan = Plan::compile("t", spec).unwrap();
            let mut table = InputTable::new(&plan);
            for row in rows {
                let only = Candidate::new("c".parse().unwrap(), Inputs::new());
                plan.read_request(Timestamp::UNIX_EPOCH, row.as_object().unwrap(), &[only], &mut table).unwrap();
            }
            let mut features = FeatureTable::default();
            plan.evaluate(&table, &mut Scratch::default(), &mut features);
            let bits = |row| features.row(row).take(EXPRESSIONS.len()).map(|v| v.map(f64::to_bits)).collect::<Vec<_>>();
            (0..features.rows()).map(bits).collect::<Vec<_>>()
        };
        let (plain, with_text) = (spec_of_expressions(false), spec_of_expressions(true));
        let batch = evaluate(&plain, &rows);
        let columns = evaluate(&with_text, &rows);
        let single = evaluate(&plain, &rows[..1]);
        prop_assert_eq!(&single[0], &batch[0]);
        for (row, (batch, columns)) in batch.iter().zip(&columns).enumerate() {
            for (index, (batch, columns)) in batch.iter().zip(columns).enumerate() {
                prop_assert_eq!(batch, columns, "row {}: {} of {}", row, EXPRESSIONS[index], rows[row]);
            }
        }
        prop_assert!(batch.iter().flatten().flatten().all(|&bits| f64::from_bits(bits).is_finite()));
    }
}
