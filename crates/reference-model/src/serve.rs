use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use domain::Problem;
use http_body_util::BodyExt;
use tokio::{net::TcpListener, sync::oneshot, time};

use crate::{
    MediaType, Model, ModelError, Rows,
    answer::{self, Quantiles},
};

/// What SageMaker lets through to a container.
pub const MAX_REQUEST_BYTES: usize = 6 * 1024 * 1024;
/// How much of a body that is too large is read before the connection is given up: a client that still writes does not
/// read the answer.
const MAX_DRAINED_BYTES: usize = 8 * MAX_REQUEST_BYTES;
/// Larger bodies are worked on outside the threads that serve connections, so that a ping is not kept waiting.
const LARGE_REQUEST_BYTES: usize = 64 * 1024;
/// What a caller may say of the answer, and what is said of it back: SageMaker passes it on both ways.
const CUSTOM_ATTRIBUTES: HeaderName = HeaderName::from_static("x-amzn-sagemaker-custom-attributes");
/// How long requests in flight may take to finish once a stop is asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(800);

/// Serves `model` on `listener` until `stop` completes: `GET /ping` and `POST /invocations`. Requests in flight are
/// finished, for 0.8 s at most.
pub async fn serve_on(
    listener: TcpListener,
    model: Arc<Model>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ModelError> {
    let router = Router::new()
        .route("/ping", get(|| async { StatusCode::OK }))
        .route("/invocations", post(invocations))
        .fallback(|| async { problem(&Problem::new(404, "not_found", "Not found", "ask /ping or /invocations")) })
        .with_state(model);
    // Small answers must not wait for the client's acknowledgement of the one before.
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    let (stopping, stopped) = oneshot::channel();
    let signal = async move {
        stop.await;
        let _ = stopping.send(());
    };
    let mut server = pin!(axum::serve(listener, router).with_graceful_shutdown(signal).into_future());
    tokio::select! {
        result = &mut server => result.map_err(ModelError::Server),
        Ok(()) = stopped => match time::timeout(SHUTDOWN_GRACE, server).await {
            Ok(result) => result.map_err(ModelError::Server),
            Err(_) => Ok(()),
        },
    }
}

async fn invocations(State(model): State<Arc<Model>>, request: Request) -> Response {
    match answered(model, request).await {
        Ok(Answered { media, body, attributes }) => {
            let mut response = ([(header::CONTENT_TYPE, media.name())], body).into_response();
            if let Some(attributes) = attributes.and_then(|text| HeaderValue::from_str(&text).ok()) {
                response.headers_mut().insert(CUSTOM_ATTRIBUTES, attributes);
            }
            response
        }
        Err(error) => {
            let title = StatusCode::from_u16(error.status()).ok().and_then(|status| status.canonical_reason());
            problem(&Problem::new(error.status(), error.reason(), title.unwrap_or("Error"), error.to_string()))
        }
    }
}

struct Answered {
    media: MediaType,
    body: Vec<u8>,
    /// Where quantiles are asked for: which they are.
    attributes: Option<String>,
}

async fn answered(model: Arc<Model>, request: Request) -> Result<Answered, ModelError> {
    let (parts, body) = request.into_parts();
    let text = |name: HeaderName| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    // The body is read first, whatever the headers say: see `MAX_DRAINED_BYTES`.
    let body = read(body).await?;
    let media = MediaType::of_content_type(&text(header::CONTENT_TYPE).unwrap_or_default())?;
    let accepted = MediaType::accepted(text(header::ACCEPT).as_deref(), media)?;
    let attributes = text(CUSTOM_ATTRIBUTES).unwrap_or_default();
    let with_quantiles = attributes.split([',', ';']).any(|attribute| attribute.trim() == "quantiles");
    let predict = move || -> Result<Answered, ModelError> {
        let of: Vec<f64> = if with_quantiles { model.quantiles().collect() } else { Vec::new() };
        if with_quantiles && of.is_empty() {
            return Err(ModelError::NoQuantiles);
        }
        let rows = Rows::parse(media, &body, model.feature_count())?;
        let predictions = model.predict(&rows)?;
        let values = if with_quantiles { model.predict_all_quantiles(&rows)? } else { Vec::new() };
        let quantiles = with_quantiles.then_some(Quantiles { of: &of, values: &values });
        let names: Vec<String> = of.iter().map(ToString::to_string).collect();
        let attributes = with_quantiles.then(|| format!("quantiles={}", names.join(",")));
        Ok(Answered { media: accepted, body: answer::write(accepted, &predictions, quantiles.as_ref()), attributes })
    };
    let size = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if size.is_some_and(|size: usize| size <= LARGE_REQUEST_BYTES) {
        return predict();
    }
    tokio::task::spawn_blocking(predict).await.map_err(|error| ModelError::Server(error.into()))?
}

async fn read(mut body: Body) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::new();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ModelError::InvalidBody(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        if received <= MAX_REQUEST_BYTES {
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
            if received > MAX_DRAINED_BYTES {
                break;
            }
        }
    }
    if received > MAX_REQUEST_BYTES {
        return Err(ModelError::BodyTooLarge { limit: MAX_REQUEST_BYTES });
    }
    Ok(bytes)
}

fn problem(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, Problem::CONTENT_TYPE)], problem.to_bytes()).into_response()
}
