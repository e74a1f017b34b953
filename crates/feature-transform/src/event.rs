//! The events that start the function.

use std::collections::BTreeMap;

use cloud::{
    http::HttpEvent,
    s3_event::{Created, SqsMessage, created_objects, sqs_messages},
};
use domain::ModelName;
use feature_batch::ViewFormat;
use serde::Deserialize;
use serde_json::Value;

use crate::BatchTransformError;

/// What an event asks for.
#[derive(Debug)]
pub enum Trigger {
    /// `POST /v1/features`, through API Gateway.
    Http(Box<HttpEvent>),
    /// Raw objects have come: an S3 notification, direct or through EventBridge.
    Created(Vec<Created>),
    /// The same through SQS: each message succeeds or fails by itself.
    Messages(Vec<SqsMessage>),
    /// `{"transform": {…}}`: one object, by hand or from a state machine.
    Transform(TransformCommand),
}

/// An order to transform one object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformCommand {
    /// The model.
    pub model: ModelName,
    /// The key of the raw object in the lake.
    pub input: String,
    /// `csv` or `parquet`; else the function's own.
    #[serde(default)]
    pub format: Option<FormatName>,
    /// The key of a spec below `datasets/<model>/specs/`; else the one in force.
    #[serde(default)]
    pub spec: Option<String>,
    /// The lookup tables of that spec, by name: the SHA-256 that addresses each in the lake.
    #[serde(default)]
    pub lookups: BTreeMap<String, String>,
}

/// A [`ViewFormat`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatName {
    /// `csv`.
    Csv,
    /// `parquet`.
    Parquet,
}

impl std::str::FromStr for FormatName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            _ => Err("expected csv or parquet".to_owned()),
        }
    }
}

impl From<FormatName> for ViewFormat {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Csv => Self::Csv,
            FormatName::Parquet => Self::Parquet,
        }
    }
}

/// Reads an event.
///
/// # Errors
/// It is none of the kinds of [`Trigger`].
pub fn parse_event(event: &Value) -> Result<Trigger, BatchTransformError> {
    let unknown = |what: &str, error: serde_json::Error| BatchTransformError::UnknownEvent(format!("{what}: {error}"));
    if !event["requestContext"]["http"].is_null() {
        return HttpEvent::deserialize(event)
            .map(|event| Trigger::Http(Box::new(event)))
            .map_err(|error| unknown("an HTTP API event", error));
    }
    if !event["transform"].is_null() {
        let command = TransformCommand::deserialize(&event["transform"]);
        return command.map(Trigger::Transform).map_err(|error| unknown("`transform`", error));
    }
    if let Some(messages) = sqs_messages(event)? {
        return Ok(Trigger::Messages(messages));
    }
    Ok(Trigger::Created(created_objects(event)?))
}
