//! Faults that endpoints are told to have, to see what becomes of those who ask them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::runtime::Failure;
use crate::http_server::{self, Reply};

/// The control route's first segment. No endpoint can have it as its name.
pub(super) const ROUTE: &str = "_faults";

/// What is wrong with an endpoint, or with one of its variants. As SageMaker itself tells it: status, `x-amzn-errortype` and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EndpointFault {
    /// It answers well, but only after so many milliseconds.
    Slow {
        /// The delay in milliseconds.
        delay_ms: u64,
    },
    /// 424 `ModelError`: the container answered 500.
    ModelError,
    /// 429 `ModelNotReadyException`.
    ModelNotReady,
    /// 500 `InternalFailure`.
    InternalFailure,
    /// 503 `ServiceUnavailable`.
    ServiceUnavailable,
    /// 530 `InternalDependencyException`.
    InternalDependency,
    /// 400 `ThrottlingException`.
    Throttled,
    /// The connection is reset instead of an answer.
    Reset,
    /// 200 with a page of HTML that says it is CSV.
    Garbage,
    /// 200 without the last row.
    TooFewRows,
}

impl EndpointFault {
    /// The answer where the model need not be asked; `None` where it must.
    pub(super) fn failure(self, logs: &str) -> Option<Failure> {
        let told = |status: u16, kind, message: &str| {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some(Failure::new(status, kind, message))
        };
        match self {
            Self::ModelError => {
                let original = "the model broke down, as it was told to";
                let message = format!(
                    "Received server error (500) from primary with message \"{original}\". See {logs} for more information."
                );
                Some(Failure::model_error(500, original, &message, logs))
            }
            Self::ModelNotReady => {
                told(429, "ModelNotReadyException", "The model is not ready for inference yet. Try again later.")
            }
            Self::InternalFailure => told(500, "InternalFailure", "An internal failure occurred."),
            Self::ServiceUnavailable => {
                told(503, "ServiceUnavailable", "The service is unavailable. Try your call again.")
            }
            Self::InternalDependency => told(
                530,
                "InternalDependencyException",
                "Your request caused an exception with an internal dependency.",
            ),
            Self::Throttled => told(400, "ThrottlingException", "Rate exceeded"),
            Self::Slow { .. } | Self::Reset | Self::Garbage | Self::TooFewRows => None,
        }
    }

    /// How long to wait before the model is asked.
    pub(super) fn delay(self) -> Duration {
        if let Self::Slow { delay_ms } = self { Duration::from_millis(delay_ms) } else { Duration::ZERO }
    }
}

/// The faults told, by endpoint and variant; without a variant all of the endpoint's.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<BTreeMap<(String, Option<String>), EndpointFault>>);

impl Faults {
    fn told(&self) -> MutexGuard<'_, BTreeMap<(String, Option<String>), EndpointFault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells one; `None` heals.
    pub(super) fn set(&self, endpoint: &str, variant: Option<&str>, fault: Option<EndpointFault>) {
        let place = (endpoint.to_owned(), variant.map(str::to_owned));
        match fault {
            Some(fault) => self.told().insert(place, fault),
            None => self.told().remove(&place),
        };
    }

    /// The variant's own fault, else its endpoint's.
    pub(super) fn of(&self, endpoint: &str, variant: &str) -> Option<EndpointFault> {
        let told = self.told();
        if told.is_empty() {
            return None;
        }
        let of = |variant: Option<&str>| told.get(&(endpoint.to_owned(), variant.map(str::to_owned))).copied();
        of(Some(variant)).or_else(|| of(None))
    }

    /// The control route: `GET /_faults`; `PUT` and `DELETE` `/_faults/{endpoint}` and `/_faults/{endpoint}/{variant}`.
    pub(super) fn control(&self, method: &Method, place: &[&str], body: &[u8]) -> Result<Reply, Failure> {
        let (endpoint, variant) = match (method, place) {
            (&Method::GET, []) => return Ok(http_server::json(StatusCode::OK, &self.listed())),
            (&Method::PUT | &Method::DELETE, [endpoint]) => (*endpoint, None),
            (&Method::PUT | &Method::DELETE, [endpoint, variant]) => (*endpoint, Some(*variant)),
            _ => {
                let message = "ask GET /_faults, or PUT or DELETE /_faults/{endpoint}[/{variant}]";
                return Err(Failure::new(StatusCode::NOT_FOUND, "UnknownOperationException", message));
            }
        };
        let fault = if method == Method::PUT {
            Some(serde_json::from_slice(body).map_err(|error| Failure::validation(format!("No fault: {error}")))?)
        } else {
            None
        };
        self.set(endpoint, variant, fault);
        Ok(http_server::json(StatusCode::OK, &self.listed()))
    }

    fn listed(&self) -> Value {
        let told = self.told();
        let faults = told.iter().map(|((endpoint, variant), fault)| {
            let mut listed = json!(fault);
            listed["endpoint"] = endpoint.as_str().into();
            listed["variant"] = variant.as_deref().into();
            listed
        });
        json!({ "faults": faults.collect::<Vec<_>>() })
    }
}

/// A model's answer without its last row; what cannot be read stays as it is.
pub(super) fn without_last_row(content_type: &str, body: &Bytes) -> Bytes {
    if content_type.starts_with("application/json") && !content_type.starts_with("application/jsonlines") {
        let Ok(mut document) = serde_json::from_slice::<Value>(body) else { return body.clone() };
        let rows = if document.is_array() { &mut document } else { &mut document["predictions"] };
        rows.as_array_mut().map(Vec::pop);
        return document.to_string().into();
    }
    let trimmed = body.trim_ascii_end();
    let end = trimmed.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    body.slice(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_less_in_every_format() {
        let without = |content_type: &str, body: &'static str| {
            String::from_utf8(without_last_row(content_type, &Bytes::from_static(body.as_bytes())).to_vec()).unwrap()
        };
        assert_eq!(without("text/csv; charset=utf-8", "1\n2\n3\n"), "1\n2\n");
        assert_eq!(without("text/csv", "1\n"), "");
        assert_eq!(without("application/json", "{\"predictions\":[1,2]}"), "{\"predictions\":[1]}");
        assert_eq!(without("application/json", "[1,2]"), "[1]");
        assert_eq!(without("application/jsonlines", "{\"score\":1}\n{\"score\":2}"), "{\"score\":1}\n");
    }

    #[test]
    fn a_variants_own_fault_comes_first() {
        let faults = Faults::default();
        faults.set("e", None, Some(EndpointFault::Garbage));
        faults.set("e", Some("a"), Some(EndpointFault::Reset));
        assert_eq!(faults.of("e", "a"), Some(EndpointFault::Reset));
        assert_eq!(faults.of("e", "b"), Some(EndpointFault::Garbage));
        assert_eq!(faults.of("f", "a"), None);
        faults.set("e", None, None);
        assert_eq!(faults.of("e", "b"), None);
    }
}
