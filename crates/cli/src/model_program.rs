//! A model's artefact, asked offline: the container's program over the unpacked archive, with no endpoint and no cloud.

use std::{io::Cursor, process::Stdio, time::Duration};

use bytes::Bytes;
use cloud::endpoint::Answer;
use domain::{EndpointCalling, PredictionRecord};
use endpoint_rows::EndpointRows;
use flate2::read::GzDecoder;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::programs::{CHILD, MODEL};

/// How long a program may take until it answers `/ping`.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A serving program. It ends, and its files go, when it is dropped.
pub(crate) struct ModelProgram {
    url: String,
    client: reqwest::Client,
    process: Child,
    _folder: TempDir,
}

impl ModelProgram {
    /// Unpacks an artefact and serves it: by `program` and its arguments, or else as the reference model.
    ///
    /// # Errors
    /// In words: it is no archive, or the program does not serve.
    pub(crate) async fn start(artefact: Bytes, program: &[String]) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let model = folder.path().join("model");
        let unpack = move || tar::Archive::new(GzDecoder::new(Cursor::new(artefact))).unpack(model);
        let unpacked = tokio::task::spawn_blocking(unpack).await.map_err(|error| error.to_string())?;
        unpacked.map_err(|error| format!("the artefact is no tar.gz that can be unpacked: {error}"))?;
        let own = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
        // The port is free when it is chosen; nobody else is likely to take it before the program does.
        let port = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = port.map_err(|error| format!("no free port: {error}"))?.port();
        let log = folder.path().join("log");
        let output = || {
            std::fs::File::options().create(true).append(true).open(&log).map_or_else(|_| Stdio::null(), Stdio::from)
        };
        let mut command = Command::new(&own);
        command.arg(CHILD).arg(std::process::id().to_string());
        match program {
            [] => _ = command.arg(&own).arg(MODEL),
            program => _ = command.args(program),
        }
        command.arg("serve").current_dir(folder.path()).kill_on_drop(true);
        command.env("SAGEMAKER_BASE_DIR", folder.path()).env("SAGEMAKER_BIND_TO_PORT", port.to_string());
        command.stdin(Stdio::null()).stdout(output()).stderr(output());
        let process = command.spawn().map_err(|error| format!("the model's program does not start: {error}"))?;
        let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
        let mut serving = Self { url: format!("http://127.0.0.1:{port}"), client, process, _folder: folder };
        match tokio::time::timeout(START_TIMEOUT, serving.wait_for_ping()).await {
            Ok(Ok(())) => Ok(serving),
            outcome => {
                let why = match outcome {
                    Ok(Err(ended)) => ended,
                    _ => "it does not answer".to_owned(),
                };
                let told = std::fs::read_to_string(&log).unwrap_or_default();
                let last = told.lines().last().unwrap_or_default();
                Err(format!("the model's program does not serve: {why} {last}").trim_end().to_owned())
            }
        }
    }

    async fn wait_for_ping(&mut self) -> Result<(), String> {
        loop {
            let ping = self.client.get(format!("{}/ping", self.url)).timeout(Duration::from_secs(2)).send().await;
            if ping.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("it ended ({status}):"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the model says to the archived rows of a record, in the order of its candidates, sent as the release calls endpoints.
    ///
    /// # Errors
    /// In words.
    pub(crate) async fn ask(&self, record: &PredictionRecord, calling: &EndpointCalling) -> Result<Vec<f64>, String> {
        let rows = record.candidates.iter().map(|candidate| candidate.features.as_slice());
        let mut said = Vec::with_capacity(record.candidates.len());
        for part in EndpointRows::of_archived(rows, calling).parts {
            let answer =
                self.call(part.body, calling).await.map_err(|error| format!("the model's program: {error}"))?;
            let numbers = endpoint_rows::read(&answer, calling.accept, part.rows);
            said.extend(numbers.map_err(|fault| format!("the model's program answers {}", fault.reason()))?);
        }
        Ok(said)
    }

    async fn call(&self, body: Bytes, calling: &EndpointCalling) -> Result<Answer, reqwest::Error> {
        let call = self.client.post(format!("{}/invocations", self.url)).timeout(CALL_TIMEOUT).body(body);
        let call = call.header("content-type", calling.content_type.media_type());
        let answer = call.header("accept", calling.accept.media_type()).send().await?.error_for_status()?;
        let content_type =
            answer.headers().get("content-type").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { invoked_variant: None, content_type, body: answer.bytes().await? })
    }
}
