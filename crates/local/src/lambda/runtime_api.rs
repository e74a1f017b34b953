//! Runtime API, `2018-06-01`. <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{
    Outcome,
    instance::{Phase, Shared},
};
use crate::http_server::{self, BodyError, Reply, Server, json as json_reply, read_body, set, text};

/// Lambda's limit for a buffered answer: 6 MB and a bit.
const LARGEST_ANSWER: usize = 6 * 1024 * 1024 + 100;

pub(crate) fn serve(listener: TcpListener, shared: Arc<Shared>) -> Server {
    http_server::serve(listener, move |request, _| answer(shared.clone(), request))
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => next(&shared).await,
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
            finish(&shared, id, request, true).await
        }
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
            finish(&shared, id, request, false).await
        }
        (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
            let payload = read_body(request.into_body(), LARGEST_ANSWER).await.unwrap_or_default();
            shared.phase.send_replace(Phase::Failed(payload));
            accepted()
        }
        (&Method::POST, ["2020-01-01", "extension", "register"]) => register(&shared, request).await,
        (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => {
            let id = text(request.headers(), "lambda-extension-identifier").unwrap_or_default().to_owned();
            match shared.extensions.next(&id).await {
                Some(event) => {
                    let mut reply = json_reply(StatusCode::OK, &event);
                    set(&mut reply, "lambda-extension-event-identifier", &uuid::Uuid::now_v7().to_string());
                    reply
                }
                None => error(StatusCode::FORBIDDEN, "Extension.UnknownExtensionIdentifier", "Unknown extension"),
            }
        }
        (&Method::POST, ["2020-01-01", "extension", "init" | "exit", "error"]) => accepted(),
        _ => error(StatusCode::NOT_FOUND, "NotFound", "there is no such call in the Runtime or Extensions API"),
    }
}

async fn next(shared: &Shared) -> Reply {
    shared.phase.send_if_modified(|phase| {
        let starting = matches!(phase, Phase::Starting);
        if starting {
            *phase = Phase::Ready;
        }
        starting
    });
    let Some(event) = shared.inbox.lock().await.recv().await else {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "ContainerError", "the instance is going down");
    };
    let mut reply = http_server::bytes(StatusCode::OK, "application/json", event.payload);
    set(&mut reply, "lambda-runtime-aws-request-id", &event.request_id);
    set(&mut reply, "lambda-runtime-deadline-ms", &event.deadline_ms.to_string());
    set(&mut reply, "lambda-runtime-invoked-function-arn", &shared.arn);
    set(&mut reply, "lambda-runtime-trace-id", &event.trace_id);
    if let Some(context) = event.client_context.as_deref() {
        set(&mut reply, "lambda-runtime-client-context", context);
    }
    reply
}

async fn finish(shared: &Shared, request_id: &str, request: Request<Incoming>, success: bool) -> Reply {
    let body = match read_body(request.into_body(), LARGEST_ANSWER).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            let message =
                format!("Response payload size exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes).");
            shared.finish(request_id, Outcome::failure("Function.ResponseSizeTooLarge", &message));
            return error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message);
        }
        Err(BodyError::Broken) => return error(StatusCode::BAD_REQUEST, "TruncatedResponse", "the body broke off"),
    };
    let outcome = if success { Outcome::Answer(body) } else { Outcome::Failure { payload: body, timed_out: false } };
    if shared.finish(request_id, outcome) {
        accepted()
    } else {
        error(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
    }
}

async fn register(shared: &Shared, request: Request<Incoming>) -> Reply {
    let name = text(request.headers(), "lambda-extension-name").unwrap_or_default().to_owned();
    let accepts = text(request.headers(), "lambda-extension-accept-feature").unwrap_or_default().contains("accountId");
    let body: Bytes = read_body(request.into_body(), LARGEST_ANSWER).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let events: Vec<String> = match body.get("events").and_then(Value::as_array) {
        Some(events) => events.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => Vec::new(),
    };
    if name.is_empty() {
        return error(StatusCode::FORBIDDEN, "Extension.InvalidExtensionName", "Lambda-Extension-Name is missing");
    }
    if events.iter().any(|event| event != "INVOKE" && event != "SHUTDOWN") {
        return error(StatusCode::BAD_REQUEST, "InvalidEventType", "events are INVOKE and SHUTDOWN");
    }
    match shared.extensions.register(&name, &events) {
        Ok(id) => {
            let mut body =
                json!({ "functionName": shared.function, "functionVersion": "$LATEST", "handler": "bootstrap" });
            if accepts {
                body["accountId"] = shared.account_id.clone().into();
            }
            let mut reply = json_reply(StatusCode::OK, &body);
            set(&mut reply, "lambda-extension-identifier", &id);
            reply
        }
        Err(kind) => error(StatusCode::FORBIDDEN, kind, "the extension cannot be registered"),
    }
}

fn accepted() -> Reply {
    json_reply(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn error(status: StatusCode, kind: &str, message: &str) -> Reply {
    json_reply(status, &json!({ "errorType": kind, "errorMessage": message }))
}
