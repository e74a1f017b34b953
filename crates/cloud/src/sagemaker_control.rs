//! SageMaker's control plane: training jobs, models, endpoint configurations, endpoints.
//!
//! Its generated client has hundreds of operations and takes longer to compile than everything of ours; the handful
//! that is used here goes through the same SDK runtime, with JSON in and out. Requests and answers are those of the API
//! reference, <https://docs.aws.amazon.com/sagemaker/latest/APIReference/>.

use async_trait::async_trait;
use aws_config::SdkConfig;
use serde_json::Value;
use thiserror::Error;

use crate::json_service::{CallError, JsonService, ServiceName};

const SAGEMAKER: ServiceName = ServiceName { signing: "sagemaker", target: "SageMaker", host: "api.sagemaker" };

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

impl From<CallError> for ControlError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused { operation, kind, message } => Self::Refused { operation, kind, message },
            CallError::Failed { operation, detail } => Self::Failed { operation, detail },
        }
    }
}

/// A client of the control plane. Signs with the configuration's credentials and keeps its retries and time limits.
#[derive(Debug, Clone)]
pub struct SageMakerControl(JsonService);

impl SageMakerControl {
    /// A client for the configuration's region, or for `endpoint_url` where it is given.
    pub fn new(config: &SdkConfig, endpoint_url: Option<String>) -> Self {
        Self(JsonService::new(SAGEMAKER, config, endpoint_url))
    }

    /// Calls an operation, such as `CreateTrainingJob`, with its input; its output.
    ///
    /// # Errors
    /// Whatever the service refuses, or that it could not be reached.
    pub async fn call(&self, operation: &'static str, input: &Value) -> Result<Value, ControlError> {
        Ok(self.0.call(operation, input).await?)
    }
}

/// Calls one operation of SageMaker's control plane.
#[async_trait]
pub trait CallSageMaker: Send + Sync {
    /// Calls an operation, such as `CreateTrainingJob`, with its input; its output.
    ///
    /// # Errors
    /// Whatever the service refuses, or that it could not be reached.
    async fn call_sagemaker(&self, operation: &'static str, input: &Value) -> Result<Value, ControlError>;
}

#[async_trait]
impl CallSageMaker for SageMakerControl {
    async fn call_sagemaker(&self, operation: &'static str, input: &Value) -> Result<Value, ControlError> {
        self.call(operation, input).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_config::{BehaviorVersion, Region, retry::RetryConfig};
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
