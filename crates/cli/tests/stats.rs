//! `mannen stats`, as a user runs it: the cases of the oracle files through the program, where they are at hand.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};

/// What is in the files beside inputs and figures.
const NO_FIGURES: [&str; 4] = ["engine", "tolerance", "gbstats_pypi_0_8_0_differs", "expected"];

/// Figures that are not the file's, and why.
const DEVIATIONS: [(&str, &str); 3] = [
    ("gbstats/*, where gbstats has an error", "gbstats answers effect 0 and p 1; here it is null, `not_estimable`"),
    ("getBucketRange, getEqualWeights", "the file rounds to 8 decimals"),
    ("run, with fields of the SDK's targeting", "refused as `unsupported_field`"),
];

fn stats(command: &str, lines: &[String]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mannen"))
        .args(["stats", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = lines.join("\n");
    // Beside the reading: neither side may wait for the other with a full pipe.
    let writer = thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn results(output: &Output) -> Vec<Value> {
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn file(name: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles").join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: {} is not here", path.display());
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// Every figure in `expected` is in `found`, to 1e-9 (`loose`: 1e-3).
fn compare(found: &Value, expected: &Value, loose: bool, what: &str, compared: &mut usize) {
    match expected {
        Value::Object(fields) => {
            let refused = fields.get("error").is_some_and(Value::is_string);
            for (name, expected) in fields {
                let what = format!("{what}/{name}");
                if refused && name != "error" {
                    // The first deviation: no figure under the engine's error.
                    assert!(found["error"].is_string() && !contains_figure(&found[name]), "{what}: {found}");
                } else if !NO_FIGURES.contains(&name.as_str()) {
                    compare(&found[name], expected, loose, &what, compared);
                }
            }
        }
        Value::Array(values) => {
            assert_eq!(found.as_array().map(Vec::len), Some(values.len()), "{what}: {found} is not {expected}");
            for (index, expected) in values.iter().enumerate() {
                compare(&found[index], expected, loose, &format!("{what}/{index}"), compared);
            }
        }
        Value::Number(number) => {
            let (expected, found) = (number.as_f64().unwrap(), found.as_f64().unwrap_or(f64::NAN));
            let tolerance = if loose { 1e-3 } else { 1e-9 * expected.abs().max(1.0) };
            assert!((found - expected).abs() <= tolerance, "{what}: {found:e} is not {expected:e}");
            *compared += 1;
        }
        _ => {
            assert_eq!(found, expected, "{what}");
            *compared += 1;
        }
    }
}

fn contains_figure(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(contains_figure),
        Value::Object(fields) => fields.iter().any(|(name, value)| name != "tuning" && contains_figure(value)),
        other => other.is_number(),
    }
}

/// Pipes a file's cases without what they expect, and compares.
fn check_file(name: &str, command: &str, outputs: &[&str]) {
    let Some(file) = file(name) else { return };
    let cases = file["cases"].as_array().unwrap();
    let inputs: Vec<String> = cases
        .iter()
        .map(|case| {
            let mut input = case.as_object().unwrap().clone();
            // Where a file has no `expected` object, the figures stand beside the inputs.
            let multiple_testing = case["kind"] == "multiple_testing";
            input.retain(|field, _| field != "expected" && (multiple_testing || !outputs.contains(&field.as_str())));
            Value::Object(input).to_string()
        })
        .collect();
    let output = stats(command, &inputs);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = results(&output);
    assert_eq!(results.len(), cases.len());
    let mut compared = 0;
    for (case, result) in cases.iter().zip(&results) {
        let what = format!("{name} {}", case.get("id").or(case.get("name")).unwrap_or(&case["kind"]));
        assert_eq!(result.get("id"), case.get("id"));
        assert_eq!(result.get("name"), case.get("name"));
        let loose = case["kind"] == "group_sequential";
        match case.get("expected") {
            Some(expected) if expected.is_object() => compare(result, expected, loose, &what, &mut compared),
            // A vector's one figure has the kind's name.
            Some(expected) => compare(&result[case["kind"].as_str().unwrap()], expected, loose, &what, &mut compared),
            None => {
                for field in outputs.iter().filter(|field| case.get(**field).is_some()) {
                    compare(&result[*field], &case[*field], loose, &what, &mut compared);
                }
            }
        }
    }
    println!("{name}: {} cases, {compared} figures", cases.len());
    assert!(compared >= cases.len());
}

#[test]
fn every_oracle_case_goes_through() {
    check_file("ab_oracle.json", "experiment", &[]);
    let outputs = ["z_bounds", "likelihood_ratio", "p_value_now", "ci", "p_values"];
    check_file("sequential_oracle.json", "experiment", &outputs);
    check_file("eta_oracle.json", "regression", &[]);
    check_file("drift_oracle.json", "drift", &[]);
    check_file("deequ_distance_vectors.json", "drift", &[]);
    for (figure, reason) in DEVIATIONS {
        println!("deviation: {figure}: {reason}");
    }
}

#[test]
fn every_assignment_case_goes_through() {
    let Some(file) = file("assignment_conformance.json") else { return };
    let mut cases: Vec<(String, Value)> = Vec::new();
    for (section, values) in file["growthbook"]["sections"].as_object().unwrap() {
        cases.extend(values.as_array().unwrap().iter().map(|case| (section.clone(), case.clone())));
    }
    for section in ["optimizely", "flagd_fractional"] {
        let values = file[section]["cases"].as_array().unwrap();
        cases.extend(values.iter().map(|case| (section.to_owned(), case.clone())));
    }
    let lines: Vec<String> =
        cases.iter().map(|(kind, case)| json!({ "kind": kind, "case": case }).to_string()).collect();
    let found = results(&stats("assignment", &lines));
    assert_eq!(found.len(), cases.len());
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    let mut compared = 0;
    for ((kind, case), found) in cases.iter().zip(&found) {
        if found["error"]["reason"] == "unsupported_field" {
            *skipped.entry(found["error"]["detail"].to_string()).or_default() += 1;
            continue;
        }
        let last = case.as_array().unwrap().last().unwrap();
        let close = |found: &Value| {
            let numbers = |value: &Value| value.to_string().replace(['[', ']'], "");
            let (found, expected) = (numbers(found), numbers(last));
            let pairs: Vec<(&str, &str)> = found.split(',').zip(expected.split(',')).collect();
            assert_eq!(found.split(',').count(), expected.split(',').count(), "{case}: {found}");
            let number = |text: &str| text.parse::<f64>().unwrap_or(0.0);
            assert!(
                pairs.iter().all(|(found, expected)| (number(found) - number(expected)).abs() < 1e-8),
                "{case}: {found}"
            );
        };
        match kind.as_str() {
            "hash" => assert_eq!(&found["hash"], last, "{case}"),
            "getBucketRange" => close(&found["ranges"]),
            "getEqualWeights" => close(&found["weights"]),
            "chooseVariation" => assert_eq!(&found["variation"], last, "{case}"),
            "inNamespace" => assert_eq!(&found["inNamespace"], last, "{case}"),
            "optimizely" => assert_eq!(&found["bucket"], last, "{case}"),
            "flagd_fractional" => assert_eq!(&found["variant"], last, "{case}"),
            _ => {
                let result = [&found["value"], &found["inExperiment"], &found["hashUsed"]];
                assert_eq!(result, [&case[3], &case[4], &case[5]], "{case}: {found}");
            }
        }
        compared += 1;
    }
    println!("{compared} cases compared");
    for (reason, count) in &skipped {
        println!("skipped {count}: {reason}");
    }
    assert!(compared >= 230, "{compared}");
}

#[test]
fn a_malformed_line_is_told_and_the_others_go_on() {
    let lines = [
        "{\"id\":7,\"kind\":\"srm\",\"observed\":[5,5]}",
        "{\"id\":8,\"kind\":\"srm\",",
        "{\"id\":9,\"kind\":\"srm\",\"observed\":[6,4]}",
    ];
    let output = stats("experiment", &lines.map(str::to_owned));
    assert_eq!(output.status.code(), Some(1));
    let results = results(&output);
    assert_eq!(results.len(), 3);
    assert_eq!((&results[0]["id"], &results[2]["id"]), (&json!(7), &json!(9)));
    assert_eq!((&results[1]["error"]["reason"], &results[1]["error"]["line"]), (&json!("invalid_json"), &json!(2)));
    assert!(results[1]["error"]["detail"].is_string());
}
