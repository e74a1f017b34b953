//! Errors of the control plane.

use http::StatusCode;
use serde_json::json;

use crate::http_server::{self, Reply, set};

#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: &'static str,
    message: String,
}

impl Failure {
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self { kind: "ValidationException", message: message.into() }
    }

    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self { kind: "ResourceInUse", message: message.into() }
    }

    pub(crate) fn unknown_operation(message: impl Into<String>) -> Self {
        Self { kind: "UnknownOperationException", message: message.into() }
    }

    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self { kind: "SerializationException", message: message.into() }
    }

    pub(crate) fn reply(&self) -> Reply {
        let mut reply =
            http_server::json(StatusCode::BAD_REQUEST, &json!({ "__type": self.kind, "message": self.message }));
        set(&mut reply, "content-type", "application/x-amz-json-1.1");
        set(&mut reply, "x-amzn-errortype", self.kind);
        reply
    }
}
