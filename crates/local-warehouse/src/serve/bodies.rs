//! What all REST handlers share: answers, errors, blocking work.

use std::sync::Arc;

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::Value as Json;

use crate::{
    error::{Result, WarehouseError},
    warehouse::Inner,
};

/// An error as an answer.
pub(super) struct Failure(pub(super) WarehouseError);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if let WarehouseError::Internal(what) = &self.0 {
            tracing::error!(%what, "a request failed");
        }
        let (status, _) = self.0.status();
        (status, [(header::CONTENT_TYPE, "application/json; charset=UTF-8")], self.0.body().to_string()).into_response()
    }
}

impl From<WarehouseError> for Failure {
    fn from(error: WarehouseError) -> Self {
        Self(error)
    }
}

pub(super) type Answer = std::result::Result<Response, Failure>;

pub(super) fn json(body: &Json) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body.to_string()).into_response()
}

pub(super) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Reads a body; an empty one is an empty object.
pub(super) fn parse(body: &Bytes) -> Result<Json> {
    if body.is_empty() {
        return Ok(Json::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(body)
        .map_err(|error| WarehouseError::Invalid(format!("Invalid JSON payload received. {error}")))
}

/// SQLite waits for disks and locks: not on the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Arc<Inner>) -> Result<T> + Send + 'static,
) -> std::result::Result<T, Failure> {
    let inner = inner.clone();
    let done = tokio::task::spawn_blocking(move || work(&inner)).await;
    done.map_err(WarehouseError::internal)?.map_err(Failure)
}

/// A query string's parameters; the last of a name counts.
#[derive(Debug, Clone, Default)]
pub(super) struct QueryString(Vec<(String, String)>);

impl QueryString {
    pub(super) fn of(uri: &http::Uri) -> Self {
        let decode =
            |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn truth(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case("true") || text == "1")
    }
}

/// A page of things that are named: those after the token, and the token of the next page.
pub(super) fn page<T>(all: Vec<T>, query: &QueryString) -> (Vec<T>, Option<String>) {
    let start = query.integer("pageToken").unwrap_or_default().max(0) as usize;
    let limit = query.integer("maxResults").filter(|limit| *limit > 0).unwrap_or(1_000) as usize;
    let total = all.len();
    let page: Vec<T> = all.into_iter().skip(start).take(limit).collect();
    let end = start + page.len();
    (page, (end < total).then(|| end.to_string()))
}
