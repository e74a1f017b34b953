//! One instance: a process and the Runtime API that it talks to.

use std::{
    collections::BTreeSet,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot, watch};

use super::{Outcome, environment::Host, extensions::Extensions, runtime_api};
use crate::{
    http_server::{self, Server},
    processes::{Process, describe},
    template::FunctionSpec,
};

/// An event on its way to the runtime.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    pub(crate) deadline_ms: i64,
    pub(crate) trace_id: String,
    /// Base64 JSON, as the caller sent it.
    pub(crate) client_context: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Starting,
    /// It has asked for its first event.
    Ready,
    /// It has told why it cannot start.
    Failed(Bytes),
}

/// What the Runtime API's handlers and the instance share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) function: String,
    pub(crate) arn: String,
    pub(crate) account_id: String,
    pub(crate) inbox: AsyncMutex<mpsc::UnboundedReceiver<Event>>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) extensions: Extensions,
    current: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
}

impl Shared {
    /// Tells external extensions that the end is near.
    pub(crate) fn announce_shutdown(&self, deadline: Duration) {
        let deadline_ms = jiff::Timestamp::now().as_millisecond().saturating_add(deadline.as_millis() as i64);
        self.extensions.tell(
            "SHUTDOWN",
            &json!({ "eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": deadline_ms }),
        );
    }

    /// Ends the current invocation; false if it is another one.
    pub(crate) fn finish(&self, request_id: &str, outcome: Outcome) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.take() {
            Some((id, reply)) if id == request_id => {
                let _ = reply.send(outcome);
                true
            }
            other => {
                *current = other;
                false
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Instance {
    process: Process,
    external: Vec<Process>,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
    log: PathBuf,
    _server: Server,
}

impl Instance {
    /// Starts a process and waits until it asks for its first event.
    pub(crate) async fn start(host: &Host, function: &FunctionSpec) -> Result<Self, Outcome> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let failed = |error: crate::LocalError| Outcome::failure("Runtime.ExitError", &error.to_string());
        let listener = http_server::listen("the Runtime API", 0).await.map_err(failed)?;
        let (events, inbox) = mpsc::unbounded_channel();
        let address =
            listener.local_addr().map_err(|error| Outcome::failure("Runtime.ExitError", &error.to_string()))?;
        let program = host.program(function, &address.to_string(), &id);
        let beside = external_extensions(program.directory.as_ref());
        let shared = Arc::new(Shared {
            function: function.name.clone(),
            arn: host.arn(&function.name),
            account_id: host.account_id.clone(),
            inbox: AsyncMutex::new(inbox),
            phase: watch::Sender::new(Phase::Starting),
            extensions: Extensions::new(beside.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()),
            current: Mutex::default(),
        });
        let server = runtime_api::serve(listener, shared.clone());
        let mut external = Vec::new();
        for (_, path) in beside {
            let extension =
                crate::processes::Program { path, args: Vec::new(), leaves_by_itself: true, ..program.clone() };
            external.push(host.processes.start(&extension).await.map_err(failed)?);
        }
        let process = host.processes.start(&program).await.map_err(failed)?;
        let instance = Self { process, external, shared, events, log: host.log_path(&function.name), _server: server };
        let mut phase = instance.shared.phase.subscribe();
        let ready = async {
            let reached = phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await.map(|phase| phase.clone());
            if matches!(reached, Ok(Phase::Ready)) {
                instance.shared.extensions.ready().await;
            }
            reached
        };
        let outcome = tokio::select! {
            ready = ready => match ready {
                Ok(Phase::Failed(payload)) => Outcome::Failure { payload, timed_out: false },
                Ok(_) => return Ok(instance),
                Err(_) => Outcome::failure("Runtime.ExitError", "the local cloud is going down"),
            },
            status = instance.process.wait() => {
                let why = describe(status);
                instance.note(&format!("INIT_REPORT Phase: init Status: error: {why}"));
                Outcome::failure("Runtime.ExitError", &format!("Error: {why} before it asked for its first event"))
            }
            () = tokio::time::sleep(host.init_timeout) => {
                let message = format!(
                    "Error: the function did not ask for its first event within {:.2} seconds",
                    host.init_timeout.as_secs_f64()
                );
                instance.note(&format!("INIT_REPORT Phase: init Status: timeout: {message}"));
                Outcome::failure("Sandbox.Timedout", &message)
            }
        };
        instance.kill().await;
        Err(outcome)
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.process.has_ended()
    }

    /// Hands an event over and waits for how it ends. After anything but an answer or an error that the function
    /// reported, the instance is dead.
    pub(crate) async fn run(&self, event: Event, timeout: Duration) -> Outcome {
        let request_id = event.request_id.clone();
        let (reply, mut answer) = oneshot::channel();
        *self.shared.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((request_id.clone(), reply));
        self.shared.extensions.tell(
            "INVOKE",
            &json!({
                "eventType": "INVOKE",
                "deadlineMs": event.deadline_ms,
                "requestId": request_id,
                "invokedFunctionArn": self.shared.arn,
                "tracing": { "type": "X-Amzn-Trace-Id", "value": event.trace_id },
            }),
        );
        let _ = self.events.send(event);
        let (error_type, message) = tokio::select! {
            biased;
            outcome = &mut answer => match outcome {
                Ok(outcome) => return outcome,
                Err(_) => ("Runtime.ExitError", "Error: the invocation was lost".to_owned()),
            },
            status = self.process.wait() => {
                // The answer may have come in just before the end.
                if let Ok(outcome) = answer.try_recv() {
                    return outcome;
                }
                ("Runtime.ExitError", format!("Error: {}", describe(status)))
            }
            () = tokio::time::sleep(timeout) => {
                ("Sandbox.Timedout", format!("Error: Task timed out after {:.2} seconds", timeout.as_secs_f64()))
            }
        };
        self.kill().await;
        let message = format!("RequestId: {request_id} {message}");
        self.note(&message);
        Outcome::failure(error_type, &message)
    }

    /// Whether extensions are not done with the last event.
    pub(crate) fn is_busy(&self) -> bool {
        self.shared.extensions.are_busy()
    }

    /// Waits until extensions are done with the last event, or the process has ended, or `timeout`.
    pub(crate) async fn settle(&self, timeout: Duration) {
        let settled = tokio::select! {
            () = self.shared.extensions.idle() => true,
            _ = self.process.wait() => true,
            () = tokio::time::sleep(timeout) => false,
        };
        if !settled {
            self.kill().await;
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) async fn kill(&self) {
        self.process.kill().await;
        for extension in &self.external {
            extension.kill().await;
        }
    }

    /// A line of the platform's own in the function's log.
    fn note(&self, text: &str) {
        let line = format!("{} {text}\n", jiff::Timestamp::now());
        if let Ok(mut log) = std::fs::File::options().create(true).append(true).open(&self.log) {
            let _ = log.write_all(line.as_bytes());
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.process.kill_now();
        self.external.iter().for_each(Process::kill_now);
    }
}

/// Programs in `extensions/` of a function's folder: name and path.
fn external_extensions(folder: Option<&PathBuf>) -> Vec<(String, PathBuf)> {
    let Some(entries) = folder.and_then(|folder| std::fs::read_dir(folder.join("extensions")).ok()) else {
        return Vec::new();
    };
    let programs = entries.flatten().filter(|entry| {
        entry.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    });
    programs.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}
