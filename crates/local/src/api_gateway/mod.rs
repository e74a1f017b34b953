//! API Gateway's HTTP API with Lambda proxy integrations, payload format 2.0.

mod authorizer;
mod event;
mod response;
mod routes;
mod static_files;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;

pub(crate) use self::{
    authorizer::Authorizer,
    routes::Routes,
    static_files::{Place, StaticFiles},
};
use crate::{
    http_server::{self, BodyError, Reply, Server, read_body, set},
    lambda::{Extras, Functions, LARGEST_PAYLOAD, Outcome, new_trace_id},
};

/// API Gateway's limit for a request's body: 10 MB.
const LARGEST_BODY: usize = 10 * 1024 * 1024;
/// An integration answers within 30 s or not at all.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// What the API's port needs to know.
pub(crate) struct Api {
    pub(crate) routes: Routes,
    pub(crate) functions: Arc<Functions>,
    pub(crate) account_id: String,
    pub(crate) static_files: StaticFiles,
    /// Asked for routes that want it; without it everybody is let in.
    pub(crate) authorizer: Option<Authorizer>,
}

pub(crate) fn serve(listener: TcpListener, api: Api) -> Server {
    let api = Arc::new(api);
    http_server::serve(listener, move |request, peer| answer(api.clone(), request, peer))
}

async fn answer(api: Arc<Api>, request: Request<Incoming>, peer: SocketAddr) -> Reply {
    if let Some(reply) = api.static_files.answer(&request).await {
        return reply;
    }
    let Some(found) = api.routes.find(request.method(), request.uri().path()) else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let Ok(function) = api.functions.get(found.function) else {
        return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    };
    let (head, body) = request.into_parts();
    let body = match read_body(body, LARGEST_BODY).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        Err(BodyError::Broken) => return message(StatusCode::BAD_REQUEST, "Bad Request"),
    };
    if let Some(authorizer) = api.authorizer.as_ref().filter(|_| found.signed)
        && !authorizer.allows(&head, &body, SystemTime::now())
    {
        return message(StatusCode::FORBIDDEN, "Forbidden");
    }
    let now = jiff::Timestamp::now();
    let caller = event::Caller {
        request_id: new_request_id(),
        trace_id: trace_id(&head.headers, now.as_millisecond()),
        account_id: &api.account_id,
        peer,
        now,
    };
    let payload = event::build(&head, &body, &found, &caller).to_string();
    if payload.len() > LARGEST_PAYLOAD {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    }
    let extras = Extras { trace_id: Some(caller.trace_id.clone()), client_context: None };
    let outcome = tokio::time::timeout(INTEGRATION_TIMEOUT, function.invoke(payload.into(), extras)).await;
    let mut reply = match outcome {
        Ok(Outcome::Answer(payload)) => response::build(&payload).unwrap_or_else(|problem| {
            tracing::warn!(function = found.function, problem, "the function's answer is no HTTP response");
            message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }),
        Ok(Outcome::Failure { timed_out: true, .. } | Outcome::Throttled) | Err(_) => {
            message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
        }
        Ok(Outcome::Failure { .. }) => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    };
    set(&mut reply, "apigw-requestid", &caller.request_id);
    reply
}

fn message(status: StatusCode, text: &str) -> Reply {
    http_server::json(status, &json!({ "message": text }))
}

/// API Gateway's request ids look like base64 of eleven bytes.
fn new_request_id() -> String {
    use base64::Engine as _;
    let random = uuid::Uuid::now_v7();
    base64::engine::general_purpose::URL_SAFE.encode(&random.as_bytes()[4..15])
}

fn trace_id(headers: &HeaderMap, now_ms: i64) -> String {
    match http_server::text(headers, "x-amzn-trace-id") {
        Some(trace_id) => trace_id.to_owned(),
        None => new_trace_id(now_ms).split(';').next().unwrap_or_default().to_owned(),
    }
}
