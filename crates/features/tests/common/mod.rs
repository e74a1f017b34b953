//! The example spec of the catalogue, with tables and rows for it.
#![allow(dead_code, reason = "each test file uses its part")]

use domain::Inputs;
use features::{
    EXAMPLE_PLACE, EXAMPLE_SPEC, FeatureError, FeatureTable, Function, InputTable, LookupKeys, LookupTable,
    LookupValues, Plan, Resources, Scratch,
};
use jiff::Timestamp;

pub(crate) fn zone_pair() -> LookupTable {
    let keys = vec![
        ("pickup_zone".to_owned(), LookupKeys::Int(vec![1, 1, 2, 3])),
        ("dropoff_zone".to_owned(), LookupKeys::Int(vec![1, 2, 1, 3])),
    ];
    let values = vec![
        ("median_s".to_owned(), LookupValues::Float(vec![110.5, 120.0, 210.0, f64::NAN])),
        ("trips".to_owned(), LookupValues::Int(vec![11, 12, 21, 33])),
    ];
    LookupTable::from_columns(keys, values).unwrap()
}

pub(crate) fn resources() -> Resources {
    Resources::default().with_lookup("zone_pair", zone_pair())
}

/// The example spec with these features as outputs.
pub(crate) fn spec(expressions: &[&str]) -> String {
    let names: Vec<String> = (0..expressions.len()).map(|index| format!("f{index}")).collect();
    let features = names.iter().zip(expressions).map(|(name, expression)| format!("{name} = '''{expression}'''\n"));
    let line = format!("example = '''{EXAMPLE_PLACE}'''\n");
    assert!(EXAMPLE_SPEC.contains(&line));
    EXAMPLE_SPEC.replace(&line, &features.collect::<String>()).replace("[\"x\"]", &format!("{names:?}"))
}

pub(crate) fn compile(expressions: &[&str]) -> Result<Plan, FeatureError> {
    Plan::compile_with("features.toml", &spec(expressions), &resources())
}

pub(crate) fn evaluate(plan: &Plan, requested_at: Timestamp, rows: &[Inputs]) -> Vec<Vec<Option<f64>>> {
    let mut table = InputTable::new(plan);
    for row in rows {
        plan.read_training_row(requested_at, row, "/0", &mut table).unwrap();
    }
    let mut features = FeatureTable::default();
    plan.evaluate(&table, &mut Scratch::default(), &mut features);
    (0..rows.len()).map(|row| features.row(row).collect()).collect()
}

/// A function's example as numbers: a text by its hash and its length.
pub(crate) fn example_expressions(function: &Function) -> Vec<String> {
    let example = function.example;
    match function.gives {
        "string" => vec![format!("HASH_BUCKET({example}, 1000000)"), format!("LENGTH({example})")],
        _ => vec![example.to_owned()],
    }
}
