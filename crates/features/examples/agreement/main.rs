//! Expressions over rows as the engine computes them, with the SQL by which DuckDB computes the same, as JSON lines.
//! `.ci/agree-with-duckdb` runs it: `agreement [--seed N] [--expressions N] [--rows N]`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod differences;
#[path = "../generate/mod.rs"]
mod generate;

use std::{
    fmt::Write as _,
    io::{BufWriter, Write as _},
};

use features::{FeatureTable, InputTable, Plan, Scratch};
use generate::{COLUMNS, KINDS, Kind, Random, Sql, expression, row};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// So many expressions to a spec.
const PER_SPEC: usize = 50;

fn main() {
    let mut numbers = [("--seed", 1), ("--expressions", 3_000), ("--rows", 250)];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let (Some(known), Some(Ok(value))) =
            (numbers.iter_mut().find(|(name, _)| *name == pair[0]), pair.get(1).map(|value| value.parse()))
        else {
            eprintln!("usage: agreement [--seed N] [--expressions N] [--rows N]");
            std::process::exit(2);
        };
        known.1 = value;
    }
    let [(_, seed), (_, expressions), (_, rows)] = numbers;
    let mut random = Random(seed as u64);
    let rows: Vec<Map<String, Value>> = (0..rows).map(|_| row(&mut random)).collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{}", json!({"columns": COLUMNS, "rows": rows})).unwrap();
    let mut left = expressions;
    while left > 0 {
        let count = left.min(PER_SPEC);
        left -= count;
        let written: Vec<(Kind, Sql)> = (0..count)
            .map(|_| {
                let (kind, depth) = (random.pick(&KINDS), 1 + random.below(4));
                (kind, expression(&mut random, kind, depth))
            })
            .collect();
        let texts: Vec<String> = written
            .iter()
            .map(|(kind, sql)| match kind {
                // A model's columns are numbers: a text is told by its hash.
                Kind::Text => format!("HASH_BUCKET({}, 2147483647)", sql.ours),
                _ => sql.ours.clone(),
            })
            .collect();
        for ((values, (kind, sql)), text) in evaluate(&texts, &rows).iter().zip(&written).zip(&texts) {
            // By itself an expression without texts is computed in another way.
            assert_eq!(&evaluate(std::slice::from_ref(text), &rows)[0], values, "{text}");
            let line = json!({
                "ours": sql.ours, "theirs": sql.theirs, "is_text": *kind == Kind::Text, "values": values,
            });
            writeln!(out, "{line}").unwrap();
        }
    }
    for (sql, why) in differences::DIFFERENCES {
        let value = evaluate(&[(*sql).to_owned()], &rows[..1])[0][0];
        writeln!(out, "{}", json!({"difference": sql, "why": why, "value": value})).unwrap();
    }
    out.flush().unwrap();
}

/// The values of each expression in each row; `None` is NULL.
fn evaluate(expressions: &[String], rows: &[Map<String, Value>]) -> Vec<Vec<Option<f64>>> {
    let mut spec = String::from("name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\n");
    for (name, of) in COLUMNS {
        writeln!(spec, "{name} = {{ type = \"{of}\", nullable = true }}").unwrap();
    }
    spec.push_str("[features]\n");
    for (index, expression) in expressions.iter().enumerate() {
        writeln!(spec, "f{index} = {}", json!(expression)).unwrap();
    }
    let names: Vec<String> = (0..expressions.len()).map(|index| format!("f{index}")).collect();
    writeln!(spec, "[model]\noutputs = {names:?}\n[fallback]\nexpression = \"1\"\ndefault = 1").unwrap();
    let plan = Plan::compile("features.toml", &spec).unwrap_or_else(|error| panic!("{error}\n{spec}"));
    let mut table = InputTable::new(&plan);
    for row in rows {
        plan.read_training_row(Timestamp::UNIX_EPOCH, row, "", &mut table).unwrap();
    }
    let mut features = FeatureTable::default();
    plan.evaluate(&table, &mut Scratch::default(), &mut features);
    let value = |value: f64| Some(value).filter(|value| !value.is_nan());
    features.outputs().iter().map(|column| column.iter().map(|&float| value(float)).collect()).collect()
}
