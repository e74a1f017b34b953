//! CloudWatch Logs, as far as the logs of training jobs: AWS JSON 1.1, `DescribeLogStreams` and `GetLogEvents`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::http_server::{self, Reply, Server, read_body, set, text};

const TRAINING_JOBS: &str = "/aws/sagemaker/TrainingJobs";
/// The one host of a job, as SageMaker names its stream.
const HOST: &str = "algo-1-0";
const LARGEST_CALL: usize = 1 << 20;
/// What `GetLogEvents` gives at most.
const MOST_EVENTS: u64 = 10_000;

/// Serves the logs that lie in `folder`.
pub(crate) fn serve(listener: TcpListener, folder: PathBuf) -> Server {
    let folder = Arc::new(folder);
    http_server::serve(listener, move |request, _| {
        let folder = folder.clone();
        async move {
            match answer(&folder, request).await {
                Ok(body) => reply(StatusCode::OK, &body),
                Err((kind, message)) => reply(StatusCode::BAD_REQUEST, &json!({ "__type": kind, "message": message })),
            }
        }
    })
}

fn reply(status: StatusCode, body: &Value) -> Reply {
    let mut reply = http_server::json(status, body);
    set(&mut reply, "content-type", "application/x-amz-json-1.1");
    reply
}

type Failure = (&'static str, String);

async fn answer(folder: &Path, request: Request<Incoming>) -> Result<Value, Failure> {
    let target = text(request.headers(), "x-amz-target").unwrap_or_default().to_owned();
    let body = read_body(request.into_body(), LARGEST_CALL).await;
    let body = body.map_err(|_| ("InvalidParameterException", "the request is too large or broke off".to_owned()))?;
    let input: Value = serde_json::from_slice(&body).map_err(|error| ("SerializationException", error.to_string()))?;
    if input["logGroupName"] != TRAINING_JOBS {
        return Err(("ResourceNotFoundException", "The specified log group does not exist.".to_owned()));
    }
    match target.as_str() {
        "Logs_20140328.DescribeLogStreams" => Ok(streams(folder, input["logStreamNamePrefix"].as_str().unwrap_or(""))),
        "Logs_20140328.GetLogEvents" => {
            let limit = input["limit"].as_u64().unwrap_or(MOST_EVENTS).clamp(1, MOST_EVENTS) as usize;
            let from_head = input["startFromHead"].as_bool().unwrap_or(false);
            events(folder, input["logStreamName"].as_str().unwrap_or_default(), limit, from_head)
        }
        other => Err(("UnknownOperationException", format!("The operation {other} is not emulated on a laptop."))),
    }
}

fn streams(folder: &Path, prefix: &str) -> Value {
    let mut streams: Vec<Value> = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(job) = name.strip_prefix("training-").and_then(|name| name.strip_suffix(".log")) else { continue };
        let stream = format!("{job}/{HOST}");
        if !stream.starts_with(prefix) {
            continue;
        }
        let written = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let written = written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let written_ms = written.map_or(0, |time| time.as_millis() as u64);
        streams.push(json!({ "logStreamName": stream, "lastIngestionTime": written_ms }));
    }
    streams.sort_by(|a, b| a["logStreamName"].as_str().cmp(&b["logStreamName"].as_str()));
    json!({ "logStreams": streams })
}

fn events(folder: &Path, stream: &str, limit: usize, from_head: bool) -> Result<Value, Failure> {
    let missing = || ("ResourceNotFoundException", "The specified log stream does not exist.".to_owned());
    let job = stream.strip_suffix(&format!("/{HOST}")).filter(|job| !job.contains(['/', '\\'])).ok_or_else(missing)?;
    let content = fs::read(folder.join(format!("training-{job}.log"))).map_err(|_| missing())?;
    let content = String::from_utf8_lossy(&content);
    let lines: Vec<&str> = content.lines().collect();
    let skip = if from_head { 0 } else { lines.len().saturating_sub(limit) };
    let events = lines.iter().skip(skip).take(limit).map(|line| json!({ "message": line }));
    Ok(json!({ "events": events.collect::<Vec<_>>() }))
}
