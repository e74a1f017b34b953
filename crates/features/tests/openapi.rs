//! The API's description.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use features::Plan;
use serde_json::Value;

fn reference_plan() -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta/features.toml");
    Plan::compile("features.toml", &std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn the_checked_in_document_is_the_reference_models() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/openapi.json");
    let checked_in: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(
        checked_in == reference_plan().openapi(None),
        "refresh it: cargo run -p mannen -- features schema --openapi models/pickup-eta > infra/openapi.json"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(of: &'a Value, found: &mut Vec<&'a str>) {
        match of {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = reference_plan().openapi(Some(20));
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    let candidates = &document["components"]["schemas"]["PredictionRequest"]["properties"]["candidates"];
    assert_eq!(candidates["maxItems"], 20);
}
