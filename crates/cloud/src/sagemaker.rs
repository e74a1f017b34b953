//! SageMaker Runtime as an endpoint.

mod connection;

use std::{
    error::Error,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sagemakerruntime::{
    Client, Config,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::invoke_endpoint::InvokeEndpointError,
    primitives::Blob,
};
use http_body_util::LengthLimitError;

use self::connection::{UsedConnection, UsedConnections, unpooled_http_client};
use crate::endpoint::{Answer, Invocation, InvokeEndpoint, InvokeError, InvokeErrorKind};

/// SageMaker Runtime.
///
/// A pooled connection may have died unnoticed while Lambda had the process frozen. Where a call breaks on a connection that
/// was good before, and before a byte of the answer, the call is made once more on a fresh connection, within the same time.
#[derive(Debug, Clone)]
pub struct SageMakerRuntime {
    client: Client,
    used: Arc<UsedConnections>,
    /// Made when it is first needed: loading TLS roots would cost every cold start.
    unpooled: Arc<OnceLock<Client>>,
}

impl SageMakerRuntime {
    /// A client that never retries by itself, but for dead pooled connections: another try costs time that only the proxy
    /// can account for.
    pub fn new(config: &SdkConfig) -> Self {
        let config = aws_sdk_sagemakerruntime::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(Duration::from_secs(1)).build())
            .build();
        Self { client: Client::from_conf(config), used: Arc::default(), unpooled: Arc::default() }
    }

    async fn call(
        &self,
        client: &Client,
        invocation: Invocation,
        connection: &UsedConnection,
    ) -> Result<Answer, InvokeError> {
        let Invocation { endpoint, variant, inference_id, content_type, accept, body, timeout } = invocation;
        let send = client
            .invoke_endpoint()
            .endpoint_name(endpoint)
            .target_variant(variant)
            .inference_id(inference_id)
            .content_type(content_type)
            .accept(accept)
            .body(Blob::new(body))
            .customize()
            .interceptor(connection.clone())
            .send();
        match tokio::time::timeout(timeout, send).await {
            Err(_) => Err(InvokeError {
                kind: InvokeErrorKind::Timeout,
                detail: format!("no answer within {} ms", timeout.as_millis()),
            }),
            Ok(Ok(output)) => {
                self.used.answered(connection);
                Ok(Answer {
                    invoked_variant: output.invoked_production_variant,
                    content_type: output.content_type,
                    body: output.body.map(Blob::into_inner).unwrap_or_default().into(),
                })
            }
            Ok(Err(error)) => {
                if matches!(error, SdkError::ServiceError(_)) {
                    self.used.answered(connection);
                }
                Err(InvokeError { kind: kind_of(&error), detail: DisplayErrorContext(&error).to_string() })
            }
        }
    }

    fn unpooled(&self) -> &Client {
        self.unpooled.get_or_init(|| {
            let config: Config = self.client.config().to_builder().http_client(unpooled_http_client()).build();
            Client::from_conf(config)
        })
    }
}

#[async_trait]
impl InvokeEndpoint for SageMakerRuntime {
    async fn invoke_endpoint(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        let ends = Instant::now() + invocation.timeout;
        let connection = UsedConnection::default();
        let failure = match self.call(&self.client, invocation.clone(), &connection).await {
            Err(failure) if failure.kind == InvokeErrorKind::Connection && self.used.died_in_the_pool(&connection) => {
                failure
            }
            outcome => return outcome,
        };
        let timeout = ends.saturating_duration_since(Instant::now());
        if timeout.is_zero() {
            return Err(failure);
        }
        tracing::debug!(detail = failure.detail, "a pooled connection was dead; the call is made on a fresh one");
        self.call(self.unpooled(), Invocation { timeout, ..invocation }, &UsedConnection::default()).await
    }
}

fn kind_of(error: &SdkError<InvokeEndpointError>) -> InvokeErrorKind {
    match error {
        SdkError::TimeoutError(_) => InvokeErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => InvokeErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_io() => InvokeErrorKind::Connection,
        SdkError::DispatchFailure(failure) => {
            if failure.as_connector_error().and_then(Error::source).is_some() {
                InvokeErrorKind::Connection
            } else {
                InvokeErrorKind::Denied
            }
        }
        SdkError::ServiceError(service) => match service.err() {
            InvokeEndpointError::ValidationError(_) => InvokeErrorKind::Validation,
            InvokeEndpointError::ModelError(_) => InvokeErrorKind::Model,
            InvokeEndpointError::ModelNotReadyException(_) => InvokeErrorKind::NotReady,
            InvokeEndpointError::InternalFailure(_) => InvokeErrorKind::Internal,
            InvokeEndpointError::ServiceUnavailable(_) => InvokeErrorKind::Unavailable,
            InvokeEndpointError::InternalDependencyException(_) => InvokeErrorKind::Dependency,
            other => kind_of_unmodelled(other.code(), service.raw().status().as_u16()),
        },
        SdkError::ResponseError(_) if is_too_large(error) => InvokeErrorKind::AnswerTooLarge,
        // The answer began well and broke off.
        SdkError::ResponseError(response) if response.raw().status().is_success() => InvokeErrorKind::Connection,
        SdkError::ResponseError(response) => kind_of_unmodelled(None, response.raw().status().as_u16()),
        _ => InvokeErrorKind::Other,
    }
}

fn is_too_large(error: &dyn Error) -> bool {
    std::iter::successors(error.source(), |&error| error.source()).any(<dyn Error>::is::<LengthLimitError>)
}

/// Errors that the service's model does not name: by their code where there is one, else by the HTTP status.
fn kind_of_unmodelled(code: Option<&str>, status: u16) -> InvokeErrorKind {
    match (code, status) {
        (Some("ThrottlingException" | "Throttling" | "TooManyRequestsException"), _) => InvokeErrorKind::Throttled,
        (Some("AccessDeniedException" | "ExpiredTokenException" | "UnrecognizedClientException"), _)
        | (_, 401 | 403) => InvokeErrorKind::Denied,
        (_, 400 | 404) => InvokeErrorKind::Validation,
        (_, 424) => InvokeErrorKind::Model,
        (_, 429) => InvokeErrorKind::NotReady,
        (_, 500) => InvokeErrorKind::Internal,
        (_, 502..=504) => InvokeErrorKind::Unavailable,
        (_, 530) => InvokeErrorKind::Dependency,
        _ => InvokeErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_status_has_its_kind() {
        let kinds = [
            (400, InvokeErrorKind::Validation),
            (424, InvokeErrorKind::Model),
            (429, InvokeErrorKind::NotReady),
            (500, InvokeErrorKind::Internal),
            (503, InvokeErrorKind::Unavailable),
            (530, InvokeErrorKind::Dependency),
            (403, InvokeErrorKind::Denied),
            (418, InvokeErrorKind::Other),
        ];
        for (status, kind) in kinds {
            assert_eq!(kind_of_unmodelled(None, status), kind, "{status}");
        }
        assert_eq!(kind_of_unmodelled(Some("ThrottlingException"), 400), InvokeErrorKind::Throttled);
    }
}
