//! Lambda's Invoke API. <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;

use super::{Functions, Outcome, function::Extras};
use crate::{
    encoding::percent_decode,
    http_server::{self, BodyError, Reply, Server, read_body, set, text},
};

/// 6 MB.
pub(crate) const LARGEST_PAYLOAD: usize = 6 * 1024 * 1024;

pub(crate) fn serve(listener: TcpListener, functions: Arc<Functions>) -> Server {
    http_server::serve(listener, move |request, _| answer(functions.clone(), request))
}

async fn answer(functions: Arc<Functions>, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (&Method::POST, ["2015-03-31", "functions", name, "invocations"]) = (request.method(), parts.as_slice()) else {
        return error(StatusCode::NOT_FOUND, "ResourceNotFoundException", "only Invoke is offered here");
    };
    let name = function_name(&percent_decode(name, false));
    let Some(function) = functions.0.get(&name) else {
        return error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &format!("Function not found: {name}"));
    };
    let kind = text(request.headers(), "x-amz-invocation-type").unwrap_or("RequestResponse").to_owned();
    let extras = Extras {
        trace_id: text(request.headers(), "x-amzn-trace-id").map(str::to_owned),
        client_context: text(request.headers(), "x-amz-client-context").map(decode_context),
    };
    let payload = match read_body(request.into_body(), LARGEST_PAYLOAD).await {
        Ok(payload) => payload,
        Err(BodyError::TooLarge) => {
            let message =
                format!("Request must be smaller than {LARGEST_PAYLOAD} bytes for the InvokeFunction operation");
            return error(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &message);
        }
        Err(BodyError::Broken) => {
            return error(StatusCode::BAD_REQUEST, "InvalidRequestContentException", "the body broke off");
        }
    };
    let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
    if let Err(problem) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let message = format!("Could not parse request body into json: {problem}");
        return error(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &message);
    }
    match kind.as_str() {
        "Event" => {
            function.invoke_async(payload);
            http_server::bytes(StatusCode::ACCEPTED, "application/json", Bytes::new())
        }
        "DryRun" => http_server::bytes(StatusCode::NO_CONTENT, "application/json", Bytes::new()),
        "RequestResponse" => {
            let (payload, failed) = match function.invoke(payload, extras).await {
                Outcome::Answer(payload) => (payload, false),
                Outcome::Failure { payload, .. } => (payload, true),
                Outcome::Throttled => {
                    let body = json!({ "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User",
                        "message": "Rate Exceeded." });
                    let mut reply = http_server::json(StatusCode::TOO_MANY_REQUESTS, &body);
                    set(&mut reply, "x-amzn-errortype", "TooManyRequestsException");
                    return reply;
                }
            };
            let mut reply = http_server::bytes(StatusCode::OK, "application/json", payload);
            set(&mut reply, "x-amz-executed-version", "$LATEST");
            if failed {
                set(&mut reply, "x-amz-function-error", "Unhandled");
            }
            reply
        }
        kind => error(
            StatusCode::BAD_REQUEST,
            "InvalidParameterValueException",
            &format!("X-Amz-Invocation-Type is {kind:?}, not RequestResponse, Event or DryRun"),
        ),
    }
}

/// A function may be named by name, `name:qualifier`, `account:function:name` or ARN.
fn function_name(text: &str) -> String {
    let mut parts = text.split(':');
    if parts.by_ref().any(|part| part == "function") {
        parts.next().unwrap_or_default().to_owned()
    } else {
        text.split(':').next().unwrap_or_default().to_owned()
    }
}

/// The client context arrives as base64 and is told to the function as JSON.
fn decode_context(text: &str) -> String {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok();
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned())
}

fn error(status: StatusCode, kind: &str, message: &str) -> Reply {
    let mut reply = http_server::json(status, &json!({ "Type": "User", "Message": message }));
    set(&mut reply, "x-amzn-errortype", kind);
    reply
}

#[cfg(test)]
mod tests {
    use super::function_name;

    #[test]
    fn functions_are_named_in_many_ways() {
        for name in [
            "f",
            "f:$LATEST",
            "000000000000:function:f",
            "arn:aws:lambda:us-east-1:000000000000:function:f",
            "arn:aws:lambda:us-east-1:000000000000:function:f:live",
        ] {
            assert_eq!(function_name(name), "f", "{name}");
        }
    }
}
