//! What a spec cannot make the engine do: use up the stack or the memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;

use domain::Inputs;
use features::{FeatureTable, InputTable, Plan, Scratch};
use jiff::Timestamp;
use serde_json::json;

fn spec(features: &str, output: &str) -> String {
    format!(
        "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nx = {{ type = \"float\" }}\ns = {{ type = \"string\" }}\n[features]\n\
         {features}[model]\noutputs = [\"{output}\"]\n[fallback]\nexpression = \"x\"\ndefault = 1\n"
    )
}

fn value(spec: &str, s: &str) -> Option<f64> {
    let plan = Plan::compile("t", spec).unwrap();
    let mut table = InputTable::new(&plan);
    let row: Inputs = json!({"x": 1.5, "s": s}).as_object().unwrap().clone();
    plan.read_training_row(Timestamp::UNIX_EPOCH, &row, "", &mut table).unwrap();
    let mut features = FeatureTable::default();
    plan.evaluate(&table, &mut Scratch::default(), &mut features);
    features.row(0).next().unwrap()
}

/// Each feature names the next one, which comes later by name.
#[test]
fn a_long_chain_of_features_compiles() {
    let mut features = String::new();
    for index in 0..5_000 {
        writeln!(features, "f{index:04} = \"f{:04} + 1\"", index + 1).unwrap();
    }
    features.push_str("f5000 = \"x\"\n");
    assert_eq!(value(&spec(&features, "f0000"), ""), Some(5_001.5));
}

#[test]
fn a_long_circle_of_features_is_told() {
    let mut features = String::new();
    for index in 0..5_000 {
        writeln!(features, "f{index:04} = \"((((((((((((f{:04} + 1))))))))))))\"", (index + 1) % 5_000).unwrap();
    }
    let error = Plan::compile("t", &spec(&features, "f0000")).unwrap_err();
    assert_eq!(error.reason(), "cycle", "{error}");
}

/// Each feature is twice as long as the one before.
#[test]
fn texts_do_not_grow_without_bound() {
    let mut features = String::from("t0 = \"s\"\n");
    for index in 1..=40 {
        writeln!(features, "t{index} = \"t{} || t{}\"", index - 1, index - 1).unwrap();
    }
    features.push_str("r = \"REPLACE(REPLACE(t9, 'a', t9), 'a', t9)\"\nc = \"UPPER(t9)\"\n");
    for (output, expected) in
        [("t4", Some(16.0)), ("t14", Some(16_384.0)), ("t15", None), ("t40", None), ("r", None), ("c", Some(512.0))]
    {
        let features = format!("{features}length = \"LENGTH({output})\"\n");
        assert_eq!(value(&spec(&features, "length"), "a"), expected, "{output}");
    }
    // Constants too, which are computed when the spec is compiled.
    let features = features.replace("t0 = \"s\"", "t0 = \"'a'\"") + "length = \"LENGTH(t40)\"\n";
    assert_eq!(value(&spec(&features, "length"), "a"), None);
}
