//! Model Monitor's files as AWS documents them are read, and written with the same field names.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use evaluation::{
    drift::{LABEL, TrainingBaseline},
    model_monitor::{Constraints, Statistics, Violations, constraints_of, statistics_of},
};
use serde_json::Value;

fn templates() -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles/sagemaker_monitor_templates.json");
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// Every object's member names, by their path; lists count by their first item.
fn names(value: &Value, place: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                into.push(format!("{place}/{name}"));
                names(member, &format!("{place}/{name}"), into);
            }
        }
        Value::Array(items) => items.iter().take(1).for_each(|item| names(item, &format!("{place}/0"), into)),
        _ => {}
    }
}

#[test]
fn the_documented_files_are_read() {
    let Some(templates) = templates() else { return };
    let statistics: Statistics = serde_json::from_value(templates["statistics.json"].clone()).unwrap();
    assert_eq!(statistics.features.len(), 2);
    assert!(
        statistics.features[0].numerical_statistics.is_some() && statistics.features[1].string_statistics.is_some()
    );
    let constraints: Constraints = serde_json::from_value(templates["constraints.json"].clone()).unwrap();
    assert_eq!(constraints.monitoring_config.distribution_constraints.comparison_method, "Robust");
    let violations: Violations = serde_json::from_value(templates["constraint_violations.json"].clone()).unwrap();
    assert_eq!(violations.violations[0].constraint_check_type, "baseline_drift_check");
}

#[test]
fn what_is_written_has_the_documented_names() {
    let Some(templates) = templates() else { return };
    let column: Vec<f64> = (0..3_000).map(|row| f64::from(row).sqrt()).collect();
    let baseline = TrainingBaseline::of("h", [("x", column.as_slice())], &column);
    let written = [
        ("statistics.json", serde_json::to_value(statistics_of(&baseline)).unwrap()),
        ("constraints.json", serde_json::to_value(constraints_of(&baseline)).unwrap()),
    ];
    for (file, written) in written {
        let (mut documented, mut ours) = (Vec::new(), Vec::new());
        names(&templates[file], "", &mut documented);
        names(&written, "", &mut ours);
        let unknown: Vec<&String> = ours.iter().filter(|name| !documented.contains(name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        // Every column is a number, so that nothing of texts is written.
        let missing: Vec<&String> = documented.iter().filter(|name| !ours.contains(name)).collect();
        assert!(missing.iter().all(|name| name.contains("verrides") || name.contains("string")), "{file}: {missing:?}");
    }
    assert_eq!(written_label(&baseline), LABEL);
}

fn written_label(baseline: &TrainingBaseline) -> String {
    statistics_of(baseline).features.last().unwrap().name.clone()
}
