//! The request's JSON Schema, from the spec.

use serde_json::{Map, Number, Value as Json, json};

use crate::{
    Plan, Type, Value,
    inputs::MAX_TEXT_CHARS,
    spec::{Input, REQUESTED_AT, Scope},
};

/// Names are counted in characters; no control characters.
const NAME_PATTERN: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]+$";
const MODEL_PATTERN: &str = "^[a-z][a-z0-9-]{0,62}$";
/// UUIDv7 (RFC 9562).
const ID_PATTERN: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$";

impl Plan {
    /// The JSON Schema (2020-12) of the body of `POST /v1/predictions` and `POST /v1/features`.
    ///
    /// What it refuses, the reader refuses too, but for two things that the reader takes in more forms: timestamps without the
    /// seconds or with a zone in brackets, and prediction ids without hyphens. What it cannot say: candidate ids must
    /// differ, their number is limited by the release, `7.0` is no `deadline_ms`.
    pub fn request_schema(&self) -> Json {
        let of =
            |scope: Scope| self.inputs().iter().filter(move |input| input.scope == scope && input.name != REQUESTED_AT);
        let (shared, shared_needed) = inputs_schema("Inputs shared by all candidates.", of(Scope::Request));
        let (own, own_needed) = inputs_schema("Inputs of this candidate alone.", of(Scope::Candidate));
        let name = |description: &str, nullable: bool| {
            let of = if nullable { json!(["string", "null"]) } else { json!("string") };
            json!({"description": description, "type": of, "minLength": 1, "maxLength": 128, "pattern": NAME_PATTERN})
        };
        let candidate = json!({
            "type": "object",
            "additionalProperties": false,
            "required": if own_needed { json!(["candidate_id", "inputs"]) } else { json!(["candidate_id"]) },
            "properties": {
                "candidate_id": name("The caller's name for the candidate, unique within the request.", false),
                "last_shown": {
                    "description": "What the rider was shown last for this candidate, in the prediction's unit.",
                    "type": ["number", "null"],
                },
                "inputs": own,
            },
        });
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$comment": format!("feature spec {}", self.hash()),
            "title": format!("Request to {}", self.name()),
            "description": self.description(),
            "type": "object",
            "additionalProperties": false,
            "required": if shared_needed { json!(["candidates", "inputs"]) } else { json!(["candidates"]) },
            "properties": {
                "prediction_id": {
                    "description": "The caller's id (an idempotency key), a UUIDv7. Made from `requested_at` where absent.",
                    "type": ["string", "null"],
                    "format": "uuid",
                    "pattern": ID_PATTERN,
                },
                "model": {
                    "description": "The model to ask; the function's default where absent.",
                    "type": ["string", "null"],
                    "pattern": MODEL_PATTERN,
                },
                "unit_id": name("What experiments randomise. The prediction id where absent.", true),
                "ride_id": name("The ride that this is a refresh of.", true),
                "requested_at": {
                    "description": "Event time. The id's time where only the id is given, else now.",
                    "type": ["string", "null"],
                    "format": "date-time",
                },
                "deadline_ms": {
                    "description": "How long the caller waits, in milliseconds. The release's default where absent.",
                    "type": ["integer", "null"],
                    "minimum": 0,
                    "maximum": u32::MAX,
                },
                "inputs": shared,
                "candidates": {
                    "description": "The candidates; their ids differ.",
                    "type": "array",
                    "minItems": 1,
                    "items": candidate,
                },
            },
        })
    }
}

/// The schema of an object of inputs, and whether it must be there.
fn inputs_schema<'a>(description: &str, inputs: impl Iterator<Item = &'a Input>) -> (Json, bool) {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for input in inputs {
        if !may_be_null(input) {
            required.push(input.name.clone());
        }
        properties.insert(input.name.clone(), input_schema(input));
    }
    let is_needed = !required.is_empty();
    let schema = json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    });
    (schema, is_needed)
}

fn may_be_null(input: &Input) -> bool {
    input.nullable || input.default.is_some()
}

fn input_schema(input: &Input) -> Json {
    let mut schema = Map::new();
    let of = match input.of {
        Type::Float => "number",
        Type::Int => "integer",
        Type::Bool => "boolean",
        Type::String | Type::Timestamp => "string",
    };
    let mut set = |keyword: &str, value: Json| schema.insert(keyword.to_owned(), value);
    set("type", if may_be_null(input) { json!([of, "null"]) } else { json!(of) });
    let unit = input.unit.as_ref().map(|unit| format!("Unit: {unit}."));
    let description: Vec<String> = input.description.iter().cloned().chain(unit).collect();
    if !description.is_empty() {
        set("description", json!(description.join(" ")));
    }
    match input.of {
        // Beyond 64 bits is no int of ours.
        Type::Int => {
            set("minimum", input.min.map_or_else(|| json!(i64::MIN), number));
            set("maximum", input.max.map_or_else(|| json!(i64::MAX), number));
        }
        Type::Float => {
            if let Some(min) = input.min {
                set("minimum", number(min));
            }
            if let Some(max) = input.max {
                set("maximum", number(max));
            }
        }
        Type::String => _ = set("maxLength", json!(MAX_TEXT_CHARS)),
        Type::Timestamp => _ = set("format", json!("date-time")),
        Type::Bool => {}
    }
    if !input.allowed.is_empty() {
        let null = may_be_null(input).then_some(Json::Null);
        set("enum", input.allowed.iter().map(literal).chain(null).collect());
    }
    if let Some(default) = &input.default {
        set("default", literal(default));
    }
    Json::Object(schema)
}

/// A bound, as people write it: 90 and not 90.0.
fn number(bound: f64) -> Json {
    if bound.fract() == 0.0 && bound.abs() < 9e15 { json!(bound as i64) } else { json!(bound) }
}

fn literal(value: &Value) -> Json {
    match value {
        Value::Null(_) | Value::Timestamp(_) => Json::Null,
        Value::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::Int(value) => json!(value),
        Value::Bool(value) => json!(value),
        Value::String(text) => json!(text),
    }
}
