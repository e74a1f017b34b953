//! SageMaker's control plane: training jobs, models, endpoint configurations, endpoints.
//!
//! Its generated client has hundreds of operations and takes longer to compile than everything of ours; the handful
//! that is used here goes through the same SDK runtime (signing, retries, time limits), with JSON in and out. Requests and
//! answers are those of the API reference, <https://docs.aws.amazon.com/sagemaker/latest/APIReference/>, over AWS
//! JSON 1.1.

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

const SERVICE: &str = "sagemaker";
/// Both are worth another try (<https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html>).
const THROTTLED: [&str; 2] = ["ThrottlingException", "TooManyRequestsException"];

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
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

impl ControlError {
    /// A stable code for logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "sagemaker_refused",
            Self::Failed { .. } => "sagemaker_failed",
        }
    }

    /// The service's error type, where it answered.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Refused { kind, .. } => Some(kind),
            Self::Failed { .. } => None,
        }
    }
}

/// A client of the control plane. Signs with the configuration's credentials and keeps its retries and time limits.
#[derive(Clone)]
pub struct SageMakerControl {
    config: SdkConfig,
    endpoint_url: String,
    region: String,
}

impl fmt::Debug for SageMakerControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SageMakerControl").field("endpoint_url", &self.endpoint_url).finish_non_exhaustive()
    }
}

impl SageMakerControl {
    /// A client for the configuration's region, or for `endpoint_url` where it is given.
    pub fn new(config: &SdkConfig, endpoint_url: Option<String>) -> Self {
        let region = config.region().map_or("us-east-1", AsRef::as_ref).to_owned();
        let endpoint_url = endpoint_url
            .or_else(|| config.endpoint_url().map(str::to_owned))
            .unwrap_or_else(|| format!("https://api.sagemaker.{region}.amazonaws.com"));
        Self { config: config.clone(), endpoint_url, region }
    }

    /// Calls an operation, such as `CreateTrainingJob`, with its input; its output.
    ///
    /// # Errors
    /// Whatever the service refuses, or that it could not be reached.
    pub async fn call(&self, operation: &'static str, input: &Value) -> Result<Value, ControlError> {
        let mut builder = Operation::builder()
            .service_name(SERVICE)
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
                request.headers_mut().insert("x-amz-target", format!("SageMaker.{operation}"));
                Ok(request)
            })
            .deserializer(read_answer)
            .build();
        let body = serde_json::to_vec(input).unwrap_or_default();
        call.invoke(body).await.map_err(|error| match error {
            SdkError::ServiceError(service) => {
                let Refusal { kind, message } = service.into_err();
                ControlError::Refused { operation, kind, message }
            }
            other => ControlError::Failed { operation, detail: DisplayErrorContext(other).to_string() },
        })
    }

    /// Signature version 4 with the configuration's credentials.
    fn signing(&self) -> StaticRuntimePlugin {
        let mut layer = Layer::new("sagemaker signing");
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        layer.store_put(SigV4OperationSigningConfig::default());
        layer.store_put(SigningName::from_static(SERVICE));
        layer.store_put(SigningRegion::from(aws_config::Region::new(self.region.clone())));
        let mut components = RuntimeComponentsBuilder::new("sagemaker signing")
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

/// SageMaker throttles with status 400, which the general classifiers take for final.
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
        "SageMaker throttling"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_config::{BehaviorVersion, Region};
    use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers each connection with the next of `answers`; the requests as they came.
    async fn server(answers: Vec<(u16, &'static str)>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    socket.read_buf(&mut request).await.unwrap();
                }
                kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (url, seen)
    }

    fn client(url: String) -> SageMakerControl {
        let credentials = Credentials::new("AKID", "secret", Some("session".to_owned()), None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("ap-northeast-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        SageMakerControl::new(&config, Some(url))
    }

    #[tokio::test]
    async fn calls_are_signed_and_answers_read() {
        let (url, seen) = server(vec![(200, r#"{"TrainingJobStatus": "Completed"}"#)]).await;
        let input = json!({"TrainingJobName": "a"});
        let output = client(url).call("DescribeTrainingJob", &input).await.unwrap();
        assert_eq!(output["TrainingJobStatus"], "Completed");
        let request = seen.lock().unwrap()[0].to_lowercase();
        assert!(request.contains("x-amz-target: sagemaker.describetrainingjob\r\n"), "{request}");
        assert!(request.contains("content-type: application/x-amz-json-1.1\r\n"), "{request}");
        assert!(request.contains("authorization: aws4-hmac-sha256 credential=akid/"), "{request}");
        assert!(request.contains("/ap-northeast-1/sagemaker/aws4_request"), "{request}");
        assert!(request.contains("x-amz-security-token: session\r\n"), "{request}");
        assert!(request.ends_with(r#"{"trainingjobname":"a"}"#), "{request}");
    }

    #[tokio::test]
    async fn what_can_help_is_tried_again_and_refusals_are_not() {
        let throttled = r#"{"__type": "com.amazon.coral.availability#ThrottlingException", "message": "slow down"}"#;
        let (url, seen) = server(vec![(400, throttled), (500, "{}"), (200, "{}")]).await;
        client(url).call("CreateModel", &json!({})).await.unwrap();
        assert_eq!(seen.lock().unwrap().len(), 3);
        let (url, seen) = server(vec![(400, r#"{"__type": "ResourceInUse", "message": "there is one"}"#)]).await;
        let error = client(url).call("CreateModel", &json!({})).await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (Some("ResourceInUse"), "sagemaker_refused"));
        assert_eq!(error.to_string(), "CreateModel: ResourceInUse: there is one");
        assert_eq!(seen.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_of_its_own() {
        let error = client("http://127.0.0.1:9".to_owned()).call("CreateModel", &json!({})).await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (None, "sagemaker_failed"));
    }
}
