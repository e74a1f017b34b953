//! The request's JSON Schema against the reader, by an independent validator.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use boon::{Compiler, Draft, Schemas};
use domain::PredictionRequest;
use features::{InputTable, Plan};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const SPEC: &str = r#"
name = "every-type"
description = "Every type of input."

[prediction]
unit = "s"

[inputs]
lat = { type = "float", unit = "deg", min = -90, max = 90, description = "Latitude." }
speed = { type = "float", nullable = true }
zone = { type = "int", min = 0, max = 300 }
cell = { type = "int", nullable = true }
tier = { type = "int", enum = [1, 2, 5], nullable = true }
weather = { type = "string", enum = ["dry", "wet"], default = "dry" }
note = { type = "string", nullable = true }
is_vip = { type = "bool" }
booked_at = { type = "timestamp", nullable = true }
seats = { type = "int", scope = "candidate" }
kind = { type = "string", scope = "candidate", nullable = true }
truth_s = { type = "float", scope = "training" }

[features]
f = "lat + zone + seats"

[model]
outputs = ["f"]

[label]
expression = "truth_s"

[fallback]
expression = "lat"
default = 1
"#;

struct Both {
    plan: Plan,
    schemas: Schemas,
    index: boon::SchemaIndex,
}

impl Both {
    fn new(spec: &str) -> Self {
        let plan = Plan::compile("features.toml", spec).unwrap();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler.add_resource("request.json", plan.request_schema()).unwrap();
        let index = compiler.compile("request.json", &mut schemas).unwrap();
        Self { plan, schemas, index }
    }

    fn schema_takes(&self, body: &Value) -> bool {
        self.schemas.validate(body, self.index).is_ok()
    }

    /// Through bytes, as a request comes.
    fn reader_takes(&self, body: &Value) -> bool {
        let Ok(request) = serde_json::from_slice::<PredictionRequest>(&serde_json::to_vec(body).unwrap()) else {
            return false;
        };
        let mut table = InputTable::new(&self.plan);
        request.problems(1_000).is_empty()
            && self.plan.read_request(Timestamp::UNIX_EPOCH, &request.inputs, &request.candidates, &mut table).is_ok()
    }
}

fn good() -> Value {
    json!({
        "prediction_id": "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "model": "every-type",
        "unit_id": "rider 7",
        "requested_at": "2026-01-31T09:30:00Z",
        "deadline_ms": 250,
        "inputs": {"lat": 35.5, "speed": 7, "zone": 12, "cell": 617700169958293503_i64, "tier": 5, "weather": "wet",
                   "note": "東京", "is_vip": true, "booked_at": "2026-01-31T18:30:00.25+09:00"},
        "candidates": [{"candidate_id": "a", "inputs": {"seats": 4, "kind": null}}, {"candidate_id": "b", "inputs": {"seats": 4.0}}],
    })
}

#[test]
fn says_what_the_spec_says() {
    let schema = Plan::compile("f", SPEC).unwrap().request_schema();
    let inputs = &schema["properties"]["inputs"];
    assert_eq!(
        inputs["properties"]["lat"],
        json!({
            "type": "number", "description": "Latitude. Unit: deg.", "minimum": -90, "maximum": 90,
        })
    );
    assert_eq!(inputs["properties"]["weather"]["enum"], json!(["dry", "wet", null]));
    assert_eq!(inputs["properties"]["weather"]["default"], json!("dry"));
    assert_eq!(inputs["required"], json!(["is_vip", "lat", "zone"]));
    let candidate = &schema["properties"]["candidates"]["items"];
    assert_eq!(candidate["properties"]["inputs"]["required"], json!(["seats"]));
    // What is known only in training, and what is a field of the request, is no input.
    assert!(!schema.to_string().contains("truth_s"));
    assert!(inputs["properties"]["requested_at"].is_null());
}

#[test]
fn takes_what_the_reader_takes() {
    let both = Both::new(SPEC);
    assert!(both.schema_takes(&good()) && both.reader_takes(&good()));
    let least = json!({"inputs": {"lat": 0, "zone": 0, "is_vip": false}, "candidates": [{"candidate_id": "a", "inputs": {"seats": 1}}]});
    assert!(both.schema_takes(&least) && both.reader_takes(&least));
}

#[test]
fn needs_no_inputs_where_none_is_required() {
    let spec = "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nx = { type = \"float\", nullable = true }\n[model]\noutputs = \
                [\"x\"]\n[fallback]\nexpression = \"1\"\ndefault = 1\n";
    let both = Both::new(spec);
    let bare = json!({"candidates": [{"candidate_id": "a"}]});
    assert!(both.schema_takes(&bare) && both.reader_takes(&bare));
}

/// Where a value is put: a pointer, whose parent is there.
const PLACES: &[&str] = &[
    "",
    "/prediction_id",
    "/model",
    "/unit_id",
    "/requested_at",
    "/deadline_ms",
    "/inputs",
    "/inputs/lat",
    "/inputs/speed",
    "/inputs/zone",
    "/inputs/cell",
    "/inputs/tier",
    "/inputs/weather",
    "/inputs/note",
    "/inputs/is_vip",
    "/inputs/booked_at",
    "/inputs/seats",
    "/inputs/truth_s",
    "/inputs/requested_at",
    "/inputs/unknown",
    "/candidates",
    "/candidates/0",
    "/candidates/0/candidate_id",
    "/candidates/0/inputs",
    "/candidates/1/inputs/seats",
    "/candidates/1/inputs/kind",
    "/candidates/1/inputs/lat",
    "/candidates/1/unknown",
    "/unknown",
];

fn values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(2),
        json!(7.0),
        json!(1.5),
        json!(91),
        json!(-90),
        json!(300),
        json!(300.5),
        json!(1e16),
        json!(1e19),
        json!(-9.3e18),
        json!(1e300),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(4_294_967_295_u32),
        json!(4_294_967_296_u64),
        json!(""),
        json!("dry"),
        json!("a"),
        json!("A"),
        json!("a-b"),
        json!("a\nb"),
        json!("x".repeat(64)),
        json!("x".repeat(129)),
        json!("x".repeat(1024)),
        json!("é".repeat(1024)),
        json!("é".repeat(1025)),
        json!("2026-01-31T09:30:00Z"),
        json!("2026-02-30T09:30:00Z"),
        json!("yesterday"),
        json!("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"),
        json!("f81d4fae-7dec-41d0-a765-00a0c91e6bf6"),
        json!([]),
        json!({}),
        json!([{"candidate_id": "c", "inputs": {"seats": 1}}]),
        json!({"candidate_id": "c"}),
        json!([1]),
    ]
}

/// Puts a value, or takes away what is there.
fn mutate(body: &mut Value, place: &str, value: Option<Value>) {
    let Some((parent, key)) = place.rsplit_once('/') else {
        *body = value.unwrap_or(Value::Null);
        return;
    };
    match (body.pointer_mut(parent), value) {
        (Some(Value::Object(object)), Some(value)) => _ = object.insert(key.to_owned(), value),
        (Some(Value::Object(object)), None) => _ = object.remove(key),
        (Some(Value::Array(array)), value) => {
            if let Some(item) = key.parse::<usize>().ok().and_then(|index| array.get_mut(index)) {
                *item = value.unwrap_or(Value::Null);
            }
        }
        _ => {}
    }
}

/// The schema cannot say that a deadline is written without a point.
fn is_sayable(body: &Value) -> bool {
    !body["deadline_ms"].is_f64()
}

#[test]
fn every_single_mutation_is_taken_by_both_or_by_none() {
    let both = Both::new(SPEC);
    let (mut taken, mut refused) = (0, 0);
    for place in PLACES {
        for value in values().into_iter().map(Some).chain([None]) {
            let mut body = good();
            mutate(&mut body, place, value);
            if is_sayable(&body) {
                let takes = both.reader_takes(&body);
                assert_eq!(both.schema_takes(&body), takes, "{place}: {body}");
                *(if takes { &mut taken } else { &mut refused }) += 1;
            }
        }
    }
    assert!(taken > 100 && refused > 500, "{taken} {refused}");
}

proptest! {
    #[test]
    fn several_mutations_too(mutations in prop::collection::vec((0..PLACES.len(), 0..=values().len()), 2..4)) {
        let both = Both::new(SPEC);
        let mut body = good();
        for (place, value) in mutations {
            mutate(&mut body, PLACES[place], values().get(value).cloned());
        }
        prop_assume!(is_sayable(&body));
        prop_assert_eq!(both.schema_takes(&body), both.reader_takes(&body), "{}", body);
    }
}
