//! CloudWatch Logs, as far as the last lines of a log.

use async_trait::async_trait;
use aws_config::SdkConfig;
use serde_json::{Value, json};
use thiserror::Error;

use crate::json_service::{JsonService, ServiceName};

const LOGS: ServiceName = ServiceName { signing: "logs", target: "Logs_20140328", host: "logs" };

/// A log that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the log cannot be read: {0}")]
pub struct LogError(pub String);

impl LogError {
    /// A stable code for logs.
    pub fn reason(&self) -> &'static str {
        "log_unreadable"
    }
}

/// Reads the end of a log.
#[async_trait]
pub trait ReadLogTail: Send + Sync {
    /// The last `lines` lines, the latest last, of the stream of `group` whose name begins with `stream_prefix`; of the latest
    /// of them where there are several. Nothing where there is none.
    ///
    /// # Errors
    /// It cannot be read.
    async fn read_log_tail(&self, group: &str, stream_prefix: &str, lines: usize) -> Result<Vec<String>, LogError>;
}

/// CloudWatch Logs.
#[derive(Debug, Clone)]
pub struct CloudWatchLogs(JsonService);

impl CloudWatchLogs {
    /// Of the configuration's region, or what answers at `endpoint_url` where it is given.
    pub fn new(config: &SdkConfig, endpoint_url: Option<String>) -> Self {
        Self(JsonService::new(LOGS, config, endpoint_url))
    }

    async fn call(&self, operation: &'static str, input: &Value) -> Result<Value, LogError> {
        self.0.call(operation, input).await.map_err(|error| LogError(error.to_string()))
    }
}

#[async_trait]
impl ReadLogTail for CloudWatchLogs {
    async fn read_log_tail(&self, group: &str, stream_prefix: &str, lines: usize) -> Result<Vec<String>, LogError> {
        let streams = json!({"logGroupName": group, "logStreamNamePrefix": stream_prefix});
        let streams = self.call("DescribeLogStreams", &streams).await?;
        let latest = streams["logStreams"].as_array().into_iter().flatten();
        let latest = latest.max_by_key(|stream| stream["lastIngestionTime"].as_i64().unwrap_or_default());
        let Some(name) = latest.and_then(|stream| stream["logStreamName"].as_str()) else { return Ok(Vec::new()) };
        let events = json!({"logGroupName": group, "logStreamName": name, "limit": lines, "startFromHead": false});
        let events = self.call("GetLogEvents", &events).await?;
        let events = events["events"].as_array().into_iter().flatten();
        Ok(events.filter_map(|event| Some(event["message"].as_str()?.trim_end().to_owned())).collect())
    }
}
