//! Public conformance cases of GrowthBook, Optimizely and flagd, where they are at hand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, path::Path};

use experiments::{
    BucketRange, HashVersion, Namespace, assign_within, bucket_ranges, choose_variation, equal_weights, flagd_variant,
    hash, optimizely_bucket,
};
use serde_json::Value;

fn sections() -> Option<Value> {
    Some(file()?["growthbook"]["sections"].clone())
}

fn file() -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles/assignment_conformance.json");
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: {} is not here", path.display());
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// The cases of a section. A section that is missing or empty is a failure: a test of nothing must not pass.
fn cases<'a>(sections: &'a Value, name: &str) -> &'a [Value] {
    let cases = sections[name].as_array().unwrap();
    assert!(!cases.is_empty(), "no case of {name}");
    println!("{name}: {} cases", cases.len());
    cases
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    Some(value.as_array()?.iter().map(number).collect())
}

fn range(value: &Value) -> BucketRange {
    BucketRange { start: number(&value[0]), end: number(&value[1]) }
}

fn ranges(value: &Value) -> Option<Vec<BucketRange>> {
    Some(value.as_array()?.iter().map(range).collect())
}

#[test]
fn hashes() {
    let Some(sections) = sections() else { return };
    for case in cases(&sections, "hash") {
        let version = HashVersion::try_from(case[2].as_u64().unwrap());
        let hashed = version.ok().map(|version| hash(text(&case[0]), text(&case[1]), version));
        assert_eq!(hashed, case[3].as_f64(), "{case}");
    }
}

#[test]
fn bucket_ranges_of_weights_and_coverage() {
    let Some(sections) = sections() else { return };
    for case in cases(&sections, "getBucketRange") {
        let arguments = &case[1];
        let count = arguments[0].as_u64().unwrap() as usize;
        let coverage = arguments[1].as_f64().unwrap_or(1.0);
        // The cases are written to 8 decimals. The last bits are held by the `run` cases on range ends.
        let rounded = |bound: f64| (bound * 1e8).round() / 1e8;
        let found: Vec<BucketRange> = bucket_ranges(count, coverage, numbers(&arguments[2]).as_deref())
            .into_iter()
            .map(|range| BucketRange { start: rounded(range.start), end: rounded(range.end) })
            .collect();
        assert_eq!(found, ranges(&case[2]).unwrap(), "{case}");
    }
}

#[test]
fn chosen_variations() {
    let Some(sections) = sections() else { return };
    for case in cases(&sections, "chooseVariation") {
        let chosen = choose_variation(number(&case[1]), ranges(&case[2]).unwrap());
        assert_eq!(chosen, usize::try_from(case[3].as_i64().unwrap()).ok(), "{case}");
    }
}

#[test]
fn namespaces() {
    let Some(sections) = sections() else { return };
    for case in cases(&sections, "inNamespace") {
        let namespace = Namespace {
            id: text(&case[2][0]).to_owned(),
            range: BucketRange { start: number(&case[2][1]), end: number(&case[2][2]) },
        };
        assert_eq!(namespace.contains(text(&case[1])), case[3].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn equal_weights_of_counts() {
    let Some(sections) = sections() else { return };
    for case in cases(&sections, "getEqualWeights") {
        // A negative number of arms cannot be said here; the spec's answer to it is the one to none.
        let weights = equal_weights(usize::try_from(case[0].as_i64().unwrap()).unwrap_or(0));
        let rounded: Vec<f64> = weights.iter().map(|weight| (weight * 1e8).round() / 1e8).collect();
        assert_eq!(rounded, numbers(&case[1]).unwrap(), "{case}");
    }
}

/// Why a `run` case says nothing about this crate, or `None` where it does.
fn why_skipped(context: &Value, experiment: &Value) -> Option<String> {
    let known = ["key", "seed", "variations", "weights", "coverage", "ranges", "namespace", "hashVersion"];
    if let Some(field) = experiment.as_object().unwrap().keys().find(|field| !known.contains(&field.as_str())) {
        return Some(format!("uses the SDK's `{field}`"));
    }
    if let Some(field) = context.as_object().unwrap().keys().find(|field| *field != "attributes") {
        return Some(format!("uses the SDK's context `{field}`"));
    }
    if context["attributes"]["id"].as_str().is_none_or(str::is_empty) {
        return Some("the unit is not a text; ours always is".to_owned());
    }
    (experiment["variations"].as_array().unwrap().len() < 2).then(|| "the SDK does not run a single arm".to_owned())
}

#[test]
fn whole_experiments() {
    let Some(sections) = sections() else { return };
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    let mut checked = 0;
    for case in cases(&sections, "run") {
        let (context, experiment) = (&case[1], &case[2]);
        if let Some(reason) = why_skipped(context, experiment) {
            *skipped.entry(reason).or_default() += 1;
            continue;
        }
        checked += 1;
        let unit = text(&context["attributes"]["id"]);
        let variations = experiment["variations"].as_array().unwrap();
        let seed = experiment["seed"].as_str().unwrap_or(text(&experiment["key"]));
        let version = HashVersion::try_from(experiment["hashVersion"].as_u64().unwrap_or(1)).unwrap();
        let ranges = ranges(&experiment["ranges"]).unwrap_or_else(|| {
            let coverage = experiment["coverage"].as_f64().unwrap_or(1.0);
            bucket_ranges(variations.len(), coverage, numbers(&experiment["weights"]).as_deref())
        });
        let excluded = experiment["namespace"].as_array().is_some_and(|namespace| {
            let range = BucketRange { start: number(&namespace[1]), end: number(&namespace[2]) };
            !Namespace { id: text(&namespace[0]).to_owned(), range }.contains(unit)
        });
        let arm = choose_variation(hash(seed, unit, version), ranges.iter().copied()).filter(|_| !excluded);
        assert_eq!(arm.is_some(), case[4].as_bool().unwrap(), "{case}");
        assert_eq!(variations[arm.unwrap_or(0)], case[3], "{case}");
        if version == HashVersion::V2 {
            assert_eq!(assign_within(seed, unit, ranges).map(|assignment| assignment.arm_index), arm, "{case}");
        }
    }
    for (reason, count) in &skipped {
        println!("skipped {count}: {reason}");
    }
    assert!(checked >= 50, "only {checked} cases were checked");
}

#[test]
fn optimizelys_buckets() {
    let Some(file) = file() else { return };
    for case in cases(&file["optimizely"], "cases") {
        let bucket = optimizely_bucket(text(&case[0]), text(&case[1]));
        assert_eq!(u64::from(bucket), case[2].as_u64().unwrap(), "{case}");
    }
}

#[test]
fn flagds_fractions() {
    let Some(file) = file() else { return };
    for case in cases(&file["flagd_fractional"], "cases") {
        let weights: Vec<u32> = numbers(&case[1]).unwrap().into_iter().map(|weight| weight as u32).collect();
        assert_eq!(flagd_variant(text(&case[0]), &weights), Some(case[2].as_u64().unwrap() as usize), "{case}");
    }
}
