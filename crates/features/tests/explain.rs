//! Plans in words, and what changed between two.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use features::{EXAMPLE_PLACE, EXAMPLE_SPEC, LookupKeys, LookupTable, LookupValues, PartKind, Plan, Resources, diff};
use proptest::prelude::*;

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");

fn example() -> Plan {
    let keys = vec![
        ("pickup_zone".to_owned(), LookupKeys::Int(vec![1])),
        ("dropoff_zone".to_owned(), LookupKeys::Int(vec![2])),
    ];
    let values =
        vec![("median_s".to_owned(), LookupValues::Float(vec![9.0])), ("trips".to_owned(), LookupValues::Int(vec![3]))];
    let resources = Resources::default().with_lookup("zone_pair", LookupTable::from_columns(keys, values).unwrap());
    let text = EXAMPLE_SPEC
        .replace(EXAMPLE_PLACE, "LOOKUP('zone_pair', pickup_zone, dropoff_zone, 'median_s', 600)")
        .replace("[\"x\"]", "[\"x\", \"example\"]");
    Plan::compile_with("example.toml", &text, &resources).unwrap()
}

#[test]
fn a_plan_is_told_in_words() {
    let plan = Plan::compile("features.toml", SPEC).unwrap();
    let text = plan.explain();
    for line in [
        &format!("pickup-eta ({})", plan.hash()),
        "Predicts",
        "  s, 0..7200",
        "  requested_at: timestamp, of the request",
        "  car_lat: float in deg, of each candidate, -90..90",
        "  drive_s: float in s, known in training only, 0..86400",
        "  rain_mm: float in mm, of the request, 0..1000, or NULL",
        "  hour_of_week: int = ( local_weekday - 1 ) * 24 + local_hour",
        "  is_weekend: bool = local_weekday >= 6",
        "Label",
        "  drive_s",
        "  60 + manhattan_m / 4.6 or 600.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let outputs = text.lines().skip_while(|line| *line != "Outputs").nth(1).unwrap();
    assert_eq!(outputs.trim(), plan.output_names().join(", "));
    let steps: Vec<&str> = text.lines().filter(|line| line.contains(" ns  r")).collect();
    assert_eq!(steps.len(), plan.serving_steps());
    let cost: u32 = steps.iter().map(|step| step.trim().split_once(' ').unwrap().0.parse::<u32>().unwrap()).sum();
    assert!(cost > 100 && text.contains(&format!("Steps ({}, about {cost} ns per row)", steps.len())), "{text}");
    let example = example();
    let text = example.explain();
    let (_, hash) = example.lookups().next().unwrap();
    for line in [
        "  airports: 2 ids, content ",
        "  company: 2026-08-13 2026-08-14",
        &format!("  zone_pair: pickup_zone (int), dropoff_zone (int) -> median_s (float), trips (int), content {hash}"),
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
    }
}

#[test]
fn what_changed_is_told() {
    let before = Plan::compile("a", SPEC).unwrap();
    let text = SPEC
        .replace("COALESCE(rain_mm, 0)", "COALESCE( rain_mm, 1)")
        .replace("snow = \"COALESCE(snow_mm, 0)\"\n", "sleet = \"COALESCE(snow_mm, 0)\"\n")
        .replace("\"rain\", \"snow\",", "\"sleet\", \"rain\",")
        .replace("max = 1000\n", "max = 900\n")
        .replace("default = 600", "default = 700");
    let changes = diff(&before, &Plan::compile("b", &text).unwrap());
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        told.iter()
            .map(|change| change.lines().next().unwrap())
            .filter(|line| !line.contains("outputs"))
            .collect::<Vec<_>>(),
        [
            "~ input `rain_mm`: float in mm, of the request, 0..1000, or NULL",
            "~ feature `rain`: COALESCE ( rain_mm , 0 )",
            "+ feature `sleet`: COALESCE ( snow_mm , 0 )",
            "- feature `snow`: COALESCE ( snow_mm , 0 )",
            "~ fallback: 60 + manhattan_m / 4.6 or 600.0",
        ]
    );
    let outputs = changes.iter().find(|change| change.kind == PartKind::Outputs).unwrap();
    assert!(outputs.before.as_ref().unwrap().ends_with("rain, snow, temperature_c"));
    assert!(outputs.after.as_ref().unwrap().ends_with("sleet, rain, temperature_c"));
    let json = serde_json::to_value(&changes[1]).unwrap();
    assert_eq!(json["kind"], "feature");
    assert_eq!(json["after"], "COALESCE ( rain_mm , 1 )");
}

/// Edits of the spec, some of which change nothing.
const EDITS: &[(&str, &str)] = &[
    ("max = 7200", "max = 7201"),
    ("unit = \"s\"\nmin = 0\nmax = 7200", "unit = \"min\"\nmin = 0\nmax = 7200"),
    ("description = \"Air temperature.\"", "description = \"Warm?\""),
    ("min = -80", "min = -81"),
    ("min = -80\n", ""),
    ("unit = \"degC\"\n", ""),
    ("nullable = true\ndescription = \"Air", "default = 15\ndescription = \"Air"),
    ("nullable = true\ndescription = \"Air", "nullable = true\ndefault = 15\ndescription = \"Air"),
    ("scope = \"candidate\"\ntype = \"int\"", "type = \"int\""),
    ("LN(1 + distance_m)", "LN( 1+distance_m ) -- metres"),
    ("LN(1 + distance_m)", "LN1P(distance_m)"),
    ("\"car_zone\", \"rider_zone\"", "\"rider_zone\", \"car_zone\""),
    ("expression = \"drive_s\"", "expression = \"drive_s + 0\""),
    ("[label]\nexpression = \"drive_s\"", ""),
    ("default = 600\n", "default = 600.0\n"),
    ("default = 600\n", "default = 601\n"),
];

proptest! {
    /// Nothing is told to have changed exactly where the hash is the same; backwards, before and after change places.
    #[test]
    fn a_difference_is_a_difference_of_hashes(a in prop::collection::vec(0..EDITS.len(), 0..3), b in prop::collection::vec(0..EDITS.len(), 0..3)) {
        let edited = |edits: &[usize]| {
            let text = edits.iter().fold(SPEC.to_owned(), |text, &edit| text.replacen(EDITS[edit].0, EDITS[edit].1, 1));
            Plan::compile("features.toml", &text).unwrap()
        };
        let (a, b) = (edited(&a), edited(&b));
        let (there, back) = (diff(&a, &b), diff(&b, &a));
        prop_assert_eq!(there.is_empty(), a.hash() == b.hash(), "{:?}", there);
        prop_assert_eq!(there.len(), back.len());
        for (there, back) in there.iter().zip(&back) {
            prop_assert_eq!((&there.before, &there.after), (&back.after, &back.before));
        }
    }
}

#[test]
fn every_edit_is_one() {
    for (from, _) in EDITS {
        assert!(SPEC.contains(from), "{from}");
    }
}
