//! One row that the spec allows, to ask an endpoint with.

use domain::{Candidate, EndpointCalling, Inputs};
use endpoint_rows::EndpointRows;
use features::{FeatureTable, Input, REQUESTED_AT, Scope, Transformer, Type, Value};
use jiff::Timestamp;
use serde_json::Value as Json;

/// A probe's row, as the release calls endpoints.
pub(crate) fn row(
    transformer: &Transformer,
    calling: &EndpointCalling,
    now: Timestamp,
) -> Result<EndpointRows, String> {
    let of = |scope: Scope| -> Inputs {
        let inputs = transformer.plan().inputs().iter();
        let inputs = inputs.filter(|input| input.scope == scope && input.name != REQUESTED_AT);
        inputs.filter_map(|input| Some((input.name.clone(), example(input, now)?))).collect()
    };
    let name = "probe".parse().map_err(|error: domain::DomainError| error.to_string())?;
    let candidates = [Candidate::new(name, of(Scope::Candidate))];
    let rows = |features: &FeatureTable| EndpointRows::of(features, calling);
    transformer.transform(now, &of(Scope::Request), &candidates, rows).map_err(|error| error.to_string())
}

/// A value that the input allows: none where it has a default, else the first of the allowed, else the middle of its range.
/// `None` leaves it out.
fn example(input: &Input, now: Timestamp) -> Option<Json> {
    if input.default.is_some() {
        return None;
    }
    if let Some(allowed) = input.allowed.first() {
        return Some(json(allowed));
    }
    let middle = match (input.min, input.max) {
        (Some(min), Some(max)) => Some(min / 2.0 + max / 2.0),
        (min, max) => min.or(max),
    };
    if middle.is_none() && input.nullable {
        return None;
    }
    let middle = middle.unwrap_or(0.0);
    Some(match input.of {
        Type::Float => Json::from(middle),
        // Towards the greater: where a range is no wider than one, its lower end may be below it.
        Type::Int => Json::from(middle.ceil() as i64),
        Type::Bool => Json::from(false),
        Type::String => Json::from(""),
        Type::Timestamp => Json::from(now.to_string()),
    })
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null(_) => Json::Null,
        Value::Float(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Bool(value) => Json::from(*value),
        Value::String(text) => Json::from(text.as_str()),
        Value::Timestamp(micros) => Timestamp::from_microsecond(*micros).map_or(Json::Null, |at| at.to_string().into()),
    }
}
