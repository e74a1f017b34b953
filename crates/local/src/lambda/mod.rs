//! Lambda: functions as processes that speak the Runtime API.
//!
//! Each instance is one process with one listener of its own (`AWS_LAMBDA_RUNTIME_API`), takes one event at a time, and
//! is used again while it lives. More are started on demand up to the function's cap.

mod environment;
mod extensions;
mod function;
mod instance;
mod invoke_api;
mod runtime_api;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use self::{
    environment::{Host, client_environment},
    function::{Extras, Function, new_trace_id},
    invoke_api::{LARGEST_PAYLOAD, serve as serve_invoke_api},
};
use crate::error::LocalError;

/// How an invocation ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The function's answer.
    Answer(Bytes),
    /// The function failed: its error object, or the one that Lambda makes for it.
    Failure { payload: Bytes, timed_out: bool },
    /// The reserved concurrency is used up.
    Throttled,
}

impl Outcome {
    pub(crate) fn failure(error_type: &str, message: &str) -> Self {
        let payload = json!({ "errorType": error_type, "errorMessage": message });
        Self::Failure { payload: payload.to_string().into(), timed_out: error_type == "Sandbox.Timedout" }
    }

    pub(crate) fn into_value(self, function: &str) -> Result<Value, LocalError> {
        let function = function.to_owned();
        match self {
            Self::Answer(body) if body.is_empty() => Ok(Value::Null),
            Self::Answer(body) => {
                serde_json::from_slice(&body).map_err(|source| LocalError::Answer { function, source })
            }
            Self::Failure { payload, .. } => {
                let error: Value = serde_json::from_slice(&payload).unwrap_or_default();
                let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
                Err(LocalError::Function {
                    function,
                    error_type: text("errorType").unwrap_or_else(|| "Unhandled".to_owned()),
                    message: text("errorMessage").unwrap_or_else(|| String::from_utf8_lossy(&payload).into_owned()),
                })
            }
            Self::Throttled => Err(LocalError::Throttled { function }),
        }
    }
}

/// All functions, by name.
#[derive(Debug, Default)]
pub(crate) struct Functions(pub(crate) BTreeMap<String, Arc<Function>>);

impl Functions {
    pub(crate) fn get(&self, name: &str) -> Result<&Arc<Function>, LocalError> {
        self.0.get(name).ok_or_else(|| LocalError::Unknown {
            kind: "function",
            name: name.to_owned(),
            known: self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }
}
