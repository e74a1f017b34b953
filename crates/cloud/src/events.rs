//! Events that others may act on: EventBridge's default bus.

use async_trait::async_trait;
use aws_config::SdkConfig;
use serde_json::{Value, json};
use thiserror::Error;

use crate::json_service::{CallError, JsonService, ServiceName};

const EVENT_BRIDGE: ServiceName = ServiceName { signing: "events", target: "AWSEvents", host: "events" };

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Who tells it.
    pub source: &'static str,
    /// What it is.
    pub detail_type: &'static str,
    /// The particulars.
    pub detail: Value,
}

/// An event that could not be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the event was not taken: {0}")]
pub struct EventError(pub String);

impl EventError {
    /// A stable code for logs.
    pub fn reason(&self) -> &'static str {
        "event_not_taken"
    }
}

/// Tells an event.
#[async_trait]
pub trait PutEvent: Send + Sync {
    /// Tells it, once at least.
    ///
    /// # Errors
    /// It was not taken.
    async fn put_event(&self, event: &Event) -> Result<(), EventError>;
}

/// EventBridge's default bus.
#[derive(Debug, Clone)]
pub struct EventBridge(JsonService);

impl EventBridge {
    /// The default bus of the configuration's region, or what answers at `endpoint_url` where it is given.
    pub fn new(config: &SdkConfig, endpoint_url: Option<String>) -> Self {
        Self(JsonService::new(EVENT_BRIDGE, config, endpoint_url))
    }
}

#[async_trait]
impl PutEvent for EventBridge {
    async fn put_event(&self, event: &Event) -> Result<(), EventError> {
        let entry = json!({
            "Source": event.source, "DetailType": event.detail_type, "Detail": event.detail.to_string(),
        });
        let answer = self.0.call("PutEvents", &json!({ "Entries": [entry] })).await;
        let answer = answer.map_err(|error| match error {
            CallError::Refused { kind, message, .. } => EventError(format!("{kind}: {message}")),
            CallError::Failed { detail, .. } => EventError(detail),
        })?;
        // A call succeeds also where its entries do not.
        match answer["FailedEntryCount"].as_u64() {
            Some(0) => Ok(()),
            _ => Err(EventError(answer["Entries"][0].to_string())),
        }
    }
}

/// Remembers what it was told, for tests.
#[derive(Debug, Default)]
pub struct MemoryBus(std::sync::Mutex<Vec<Event>>);

impl MemoryBus {
    /// What it was told so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl PutEvent for MemoryBus {
    async fn put_event(&self, event: &Event) -> Result<(), EventError> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event.clone());
        Ok(())
    }
}
