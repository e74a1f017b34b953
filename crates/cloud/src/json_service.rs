//! AWS services over AWS JSON 1.1, by the names of the API reference: through the SDK's own runtime (signing, retries, time
//! limits), without their generated clients.

use std::{collections::BTreeMap, fmt};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_runtime::auth::{
    SigV4OperationSigningConfig,
    sigv4::{SCHEME_ID, SigV4AuthScheme},
};
use aws_smithy_runtime::client::{
    identity::IdentityCache,
    orchestrator::operation::Operation,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
};
use aws_smithy_runtime_api::{
    client::{
        auth::{
            AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
            static_resolver::StaticAuthSchemeOptionResolver,
        },
        identity::SharedIdentityResolver,
        interceptors::context::InterceptorContext,
        orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
        result::SdkError,
        retries::classifiers::{ClassifyRetry, RetryAction},
        runtime_components::RuntimeComponentsBuilder,
        runtime_plugin::StaticRuntimePlugin,
    },
    http::StatusCode,
};
use aws_smithy_types::{body::SdkBody, config_bag::Layer, error::display::DisplayErrorContext};
use aws_types::{SigningName, region::SigningRegion};
use serde_json::Value;
use thiserror::Error;

/// Both are worth another try (<https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html>).
const THROTTLED: [&str; 2] = ["ThrottlingException", "TooManyRequestsException"];

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum CallError {
    /// The service refused it.
    #[error("{operation}: {kind}: {message}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The error's type, such as `ResourceInUse` or `ValidationException`.
        kind: String,
        /// What the service says.
        message: String,
    },
    /// It was not answered, or not in JSON.
    #[error("{operation}: {detail}")]
    Failed {
        /// The operation.
        operation: &'static str,
        /// The error's chain.
        detail: String,
    },
}

/// Which service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceName {
    /// As signatures have it.
    pub(crate) signing: &'static str,
    /// What comes before an operation's name in `x-amz-target`.
    pub(crate) target: &'static str,
    /// What comes before the region in the host's name.
    pub(crate) host: &'static str,
}

/// A client of one service. Signs with the configuration's credentials and keeps its retries and time limits.
#[derive(Clone)]
pub(crate) struct JsonService {
    name: ServiceName,
    config: SdkConfig,
    endpoint_url: String,
    region: String,
}

impl fmt::Debug for JsonService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonService")
            .field("name", &self.name)
            .field("endpoint_url", &self.endpoint_url)
            .finish_non_exhaustive()
    }
}

impl JsonService {
    /// A client for the configuration's region, or for `endpoint_url` where it is given.
    pub(crate) fn new(name: ServiceName, config: &SdkConfig, endpoint_url: Option<String>) -> Self {
        let region = config.region().map_or("us-east-1", AsRef::as_ref).to_owned();
        let endpoint_url = endpoint_url
            .or_else(|| config.endpoint_url().map(str::to_owned))
            .unwrap_or_else(|| format!("https://{}.{region}.amazonaws.com", name.host));
        Self { name, config: config.clone(), endpoint_url, region }
    }

    /// Calls an operation with its input; its output.
    pub(crate) async fn call(&self, operation: &'static str, input: &Value) -> Result<Value, CallError> {
        let target = self.name.target;
        let mut builder = Operation::builder()
            .service_name(self.name.signing)
            .operation_name(operation)
            .endpoint_url(&self.endpoint_url)
            .standard_retry(self.config.retry_config().unwrap_or(&RetryConfig::standard()))
            .retry_classifier(TransientErrorClassifier::<Refusal>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(ThrottlingClassifier)
            .timeout_config(self.config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled))
            .runtime_plugin(self.signing());
        if let Some(behavior) = self.config.behavior_version() {
            builder = builder.behavior_version(behavior);
        }
        if let Some(client) = self.config.http_client() {
            builder = builder.http_client(client);
        }
        let call = builder
            .serializer(move |body: Vec<u8>| {
                let mut request = HttpRequest::new(SdkBody::from(body));
                request.set_method("POST")?;
                request.set_uri("/")?;
                request.headers_mut().insert("content-type", "application/x-amz-json-1.1");
                request.headers_mut().insert("x-amz-target", format!("{target}.{operation}"));
                Ok(request)
            })
            .deserializer(read_answer)
            .build();
        let body = serde_json::to_vec(input).unwrap_or_default();
        call.invoke(body).await.map_err(|error| match error {
            SdkError::ServiceError(service) => {
                let Refusal { kind, message } = service.into_err();
                CallError::Refused { operation, kind, message }
            }
            other => CallError::Failed { operation, detail: DisplayErrorContext(other).to_string() },
        })
    }

    /// Signature version 4 with the configuration's credentials.
    fn signing(&self) -> StaticRuntimePlugin {
        let mut layer = Layer::new("AWS JSON signing");
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        layer.store_put(SigV4OperationSigningConfig::default());
        layer.store_put(SigningName::from_static(self.name.signing));
        layer.store_put(SigningRegion::from(aws_config::Region::new(self.region.clone())));
        let mut components = RuntimeComponentsBuilder::new("AWS JSON signing")
            .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
            .with_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(
                StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]),
            )))
            .with_identity_cache(Some(IdentityCache::lazy().build()));
        if let Some(credentials) = self.config.credentials_provider() {
            components.set_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(credentials));
        }
        StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components)
    }
}

/// An error that the service wrote.
#[derive(Debug, Error)]
#[error("{kind}: {message}")]
struct Refusal {
    kind: String,
    message: String,
}

fn read_answer(response: &HttpResponse) -> Result<Value, OrchestratorError<Refusal>> {
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        // Operations without output answer with an empty body.
        let value = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
        return value.map_err(OrchestratorError::other);
    }
    Err(OrchestratorError::operation(refusal(response.status(), body, response.headers().get("x-amzn-errortype"))))
}

/// AWS JSON 1.1: the type in a header or in `__type`, perhaps with a namespace before `#` or an address after `:`.
fn refusal(status: StatusCode, body: &[u8], header: Option<&str>) -> Refusal {
    let fields: BTreeMap<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let kind = header.or_else(|| text("__type")).or_else(|| text("code")).unwrap_or_default();
    let kind = kind.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default();
    Refusal {
        kind: if kind.is_empty() { format!("HTTP {}", status.as_u16()) } else { kind.to_owned() },
        message: text("message").or_else(|| text("Message")).unwrap_or("no message").to_owned(),
    }
}

/// Services throttle with status 400, which the general classifiers take for final.
#[derive(Debug)]
struct ThrottlingClassifier;

impl ClassifyRetry for ThrottlingClassifier {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refusal = context
            .output_or_error()
            .and_then(Result::err)
            .and_then(OrchestratorError::as_operation_error)
            .and_then(|error| error.downcast_ref::<Refusal>());
        match refusal {
            Some(refusal) if THROTTLED.contains(&refusal.kind.as_str()) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "AWS JSON throttling"
    }
}
