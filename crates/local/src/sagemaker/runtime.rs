//! InvokeEndpoint. <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html>

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Collected};
use hyper::{body::Incoming, service::service_fn};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{EndpointFault, SageMaker, container::UnderWay, endpoints::Variant, faults};
use crate::http_server::{self, BodyError, Reply, Resettable, Server, read_body, set, text};

/// 6 MiB.
const LARGEST_BODY: usize = 6_291_456;
/// A container answers within a minute or not at all.
pub(super) const CONTAINER_TIMEOUT: Duration = Duration::from_mins(1);

const BROKEN: std::io::ErrorKind = std::io::ErrorKind::BrokenPipe;

/// What reaches the container; all other headers are taken off.
const FORWARDED: [&str; 10] = [
    "content-type",
    "accept",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-target-model",
    "x-amzn-sagemaker-target-container-hostname",
    "x-amzn-sagemaker-inference-id",
    "x-amzn-sagemaker-enable-explanations",
    "x-amzn-sagemaker-inference-component",
    "x-amzn-sagemaker-session-id",
    "x-amzn-trace-id",
];

pub(super) struct Failure {
    status: StatusCode,
    kind: &'static str,
    body: Value,
}

impl Failure {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, body: json!({ "Message": message.into() }) }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationError", message)
    }

    /// The container's own error: its status, 0 where it did not answer, and what it said.
    pub(super) fn model_error(original_status: u16, original: &str, message: &str, logs: &str) -> Self {
        Self {
            status: StatusCode::FAILED_DEPENDENCY,
            kind: "ModelError",
            body: json!({
                "Message": message,
                "OriginalStatusCode": original_status,
                "OriginalMessage": original,
                "LogStreamArn": logs,
            }),
        }
    }
}

/// What a request ends with that is not answered well.
enum Ending {
    Failed(Failure),
    Reset,
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

pub(crate) fn serve(listener: TcpListener, sagemaker: Arc<SageMaker>) -> Server {
    http_server::serve_with(listener, move |stream, _| {
        let (sagemaker, connection) = (sagemaker.clone(), Arc::new(Resettable::of(stream)));
        service_fn(move |request| {
            let (sagemaker, connection) = (sagemaker.clone(), connection.clone());
            async move {
                let mut reply = match answer(&sagemaker, request).await {
                    Ok(reply) => reply,
                    Err(Ending::Reset) => {
                        return Err(connection.as_ref().as_ref().map_or_else(|_| BROKEN.into(), Resettable::reset));
                    }
                    Err(Ending::Failed(failure)) => {
                        let mut reply = http_server::json(failure.status, &failure.body);
                        set(&mut reply, "x-amzn-errortype", failure.kind);
                        reply
                    }
                };
                set(&mut reply, "x-amzn-requestid", &uuid::Uuid::now_v7().to_string());
                Ok::<Reply, std::io::Error>(reply)
            }
        })
    })
}

async fn answer(sagemaker: &Arc<SageMaker>, request: Request<Incoming>) -> Result<Reply, Ending> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if let [faults::ROUTE, place @ ..] = parts.as_slice() {
        let method = request.method().clone();
        let body = read_body(request.into_body(), LARGEST_BODY).await;
        let body = body.map_err(|_| Failure::validation("The body cannot be read."))?;
        return Ok(sagemaker.faults.control(&method, place, &body)?);
    }
    let (&Method::POST, ["endpoints", endpoint, "invocations"]) = (request.method(), parts.as_slice()) else {
        return Err(Ending::Failed(Failure::new(
            StatusCode::NOT_FOUND,
            "UnknownOperationException",
            "only POST /endpoints/{name}/invocations is offered here",
        )));
    };
    let (head, body) = request.into_parts();
    check_headers(&head.headers)?;
    let body = read_body(body, LARGEST_BODY).await.map_err(|error| match error {
        BodyError::TooLarge => Failure::validation(format!(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less than \
             or equal to {LARGEST_BODY}"
        )),
        BodyError::Broken => Failure::validation("The body broke off."),
    })?;
    let (variant, _under_way) = sagemaker.choose(endpoint, text(&head.headers, "x-amzn-sagemaker-target-variant"))?;
    if variant.serving.process.has_ended() {
        sagemaker.revive(endpoint, &variant.name, variant.serving.process.id);
        let message = format!("The container of variant {} has ended; it is being started anew.", variant.name);
        return Err(Ending::Failed(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)));
    }
    let fault = sagemaker.faults.of(endpoint, &variant.name);
    sagemaker.ask_with_fault(endpoint, &variant, &head.headers, body, fault).await
}

fn check_headers(headers: &HeaderMap) -> Result<(), Failure> {
    for (name, longest) in [
        ("x-amzn-sagemaker-custom-attributes", 1024),
        ("x-amzn-sagemaker-target-variant", 63),
        ("x-amzn-sagemaker-inference-id", 64),
    ] {
        let Some(value) = headers.get(name) else { continue };
        let good = value.to_str().is_ok_and(|value| !value.is_empty() && value.len() <= longest);
        if !good {
            return Err(Failure::validation(format!("{name} must be 1 to {longest} ASCII characters.")));
        }
    }
    Ok(())
}

impl SageMaker {
    /// The variant that is asked for, or the one whose turn it is. It serves until the request is answered.
    fn choose(&self, endpoint_name: &str, wanted: Option<&str>) -> Result<(Variant, UnderWay), Failure> {
        let asked = |variant: &Variant| (variant.clone(), variant.serving.under_way());
        self.with(|state| {
            let Some(endpoint) = state.endpoints.get_mut(endpoint_name) else {
                let message = format!("Endpoint {endpoint_name} of account {} not found.", self.account_id);
                return Err(Failure::validation(message));
            };
            if endpoint.variants.is_empty() {
                let message = format!("Endpoint {endpoint_name} is not in service yet.");
                return Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, "ModelNotReadyException", message));
            }
            if let Some(wanted) = wanted {
                let variant = endpoint.variants.iter().find(|variant| variant.name == wanted);
                return variant.map(asked).ok_or_else(|| {
                    Failure::validation(format!("Variant {wanted} of endpoint {endpoint_name} was not found."))
                });
            }
            endpoint.turn += 1;
            let weights: Vec<f64> = endpoint.variants.iter().map(|variant| variant.weight).collect();
            Ok(asked(&endpoint.variants[turn_of(&weights, endpoint.turn)]))
        })
    }

    /// Asks a variant that may be told to have a fault.
    async fn ask_with_fault(
        &self,
        endpoint: &str,
        variant: &Variant,
        headers: &HeaderMap,
        body: Bytes,
        fault: Option<EndpointFault>,
    ) -> Result<Reply, Ending> {
        let Some(fault) = fault else { return Ok(self.ask(endpoint, variant, headers, body).await?) };
        if let Some(failure) = fault.failure(&self.log_stream(endpoint)) {
            return Err(Ending::Failed(failure));
        }
        let mut reply = match fault {
            EndpointFault::Reset => return Err(Ending::Reset),
            EndpointFault::Garbage => http_server::bytes(StatusCode::OK, "text/csv", "<html>502</html>\n".into()),
            _ => {
                tokio::time::sleep(fault.delay()).await;
                self.ask(endpoint, variant, headers, body).await?
            }
        };
        if fault == EndpointFault::TooFewRows {
            let content_type = text(reply.headers(), "content-type").unwrap_or_default().to_owned();
            // A full body is whole at once and cannot fail.
            let whole = reply.body_mut().collect().await.map(Collected::to_bytes).unwrap_or_default();
            reply = http_server::bytes(StatusCode::OK, &content_type, faults::without_last_row(&content_type, &whole));
        }
        set(&mut reply, "x-amzn-invoked-production-variant", &variant.name);
        Ok(reply)
    }

    fn log_stream(&self, endpoint: &str) -> String {
        format!("arn:aws:logs:{}:{}:log-group:/aws/sagemaker/Endpoints/{endpoint}", self.region, self.account_id)
    }

    async fn ask(&self, endpoint: &str, variant: &Variant, headers: &HeaderMap, body: Bytes) -> Result<Reply, Failure> {
        let mut forwarded = HeaderMap::new();
        for name in FORWARDED {
            if let Some(value) = headers.get(name) {
                forwarded.insert(HeaderName::from_static(name), value.clone());
            }
        }
        let url = format!("{}/invocations", variant.serving.url);
        let request = self.containers.client.post(url).headers(forwarded).body(body).timeout(CONTAINER_TIMEOUT);
        let logs = self.log_stream(endpoint);
        let model_error =
            |original: u16, text: &str, message: &str| Failure::model_error(original, text, message, &logs);
        let no_answer = |error: &reqwest::Error| {
            let why = if error.is_timeout() {
                "Your invocation timed out while waiting for a response from container primary.".to_owned()
            } else {
                format!("The container primary did not answer: {error}")
            };
            model_error(0, &why, &format!("Received server error (0) from primary with message \"{why}\"."))
        };
        let answer = request.send().await.map_err(|error| no_answer(&error))?;
        let status = answer.status();
        let content_type = answer.headers().get(header::CONTENT_TYPE).cloned();
        let attributes = answer.headers().get("x-amzn-sagemaker-custom-attributes").cloned();
        let body = answer.bytes().await.map_err(|error| no_answer(&error))?;
        if !status.is_success() {
            let original = String::from_utf8_lossy(&body);
            let side = if status.is_client_error() { "client" } else { "server" };
            let message = format!(
                "Received {side} error ({}) from primary with message \"{original}\". See logs/endpoint-{endpoint}-{}.log \
                 for more information.",
                status.as_u16(),
                variant.name
            );
            return Err(model_error(status.as_u16(), &original, &message));
        }
        if body.len() > LARGEST_BODY {
            let why = format!("The container's answer has more than {LARGEST_BODY} bytes.");
            return Err(model_error(status.as_u16(), &why, &why));
        }
        let mut reply = http_server::bytes(StatusCode::OK, "application/octet-stream", body);
        if let Some(content_type) = content_type {
            reply.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        if let Some(attributes) = attributes {
            reply.headers_mut().insert(HeaderName::from_static("x-amzn-sagemaker-custom-attributes"), attributes);
        }
        set(&mut reply, "x-amzn-invoked-production-variant", &variant.name);
        Ok(reply)
    }
}

/// Which of some weighted choices takes the `turn`th turn. Multiples of the golden ratio spread evenly in any stretch
/// of turns, so that even few requests show the weights.
fn turn_of(weights: &[f64], turn: u64) -> usize {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let total: f64 = weights.iter().sum();
    let mut left = (turn as f64 * GOLDEN).fract() * total;
    for (index, weight) in weights.iter().enumerate() {
        if left < *weight {
            return index;
        }
        left -= weight;
    }
    // All weights are zero, or the sum was rounded.
    weights.iter().rposition(|weight| *weight > 0.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::turn_of;

    #[test]
    fn turns_follow_the_weights() {
        let count = |weights: &[f64], index| (1..=100).filter(|turn| turn_of(weights, *turn) == index).count();
        assert!((88..=92).contains(&count(&[9.0, 1.0], 0)));
        assert!((48..=52).contains(&count(&[0.5, 0.5], 1)));
        assert_eq!(count(&[0.0, 2.0], 1), 100);
        assert_eq!(count(&[0.0, 0.0], 0), 100);
    }
}
