//! Jobs: queries and loads that run beside the requests that ask after them.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use rusqlite::InterruptHandle;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use crate::{
    error::{Result, WarehouseError},
    load,
    query_job::{self, bytes_billed},
    store::{json_integer, now_ms},
    warehouse::Inner,
};

/// The jobs that run now, by project and id.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashMap<(String, String), Arc<Job>>>);

/// A job that runs.
pub(crate) struct Job {
    pub(crate) project: String,
    pub(crate) id: String,
    cancelled: AtomicBool,
    /// `jobTimeoutMs`, once it has passed.
    timed_out_ms: AtomicI64,
    interrupt: Mutex<Option<InterruptHandle>>,
    done: watch::Sender<bool>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Job({}:{})", self.project, self.id)
    }
}

impl Job {
    /// While `work` runs, cancelling the job interrupts the connection.
    pub(crate) fn interruptible<T>(&self, handle: InterruptHandle, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let set = |handle| *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = handle;
        set(Some(handle));
        let result = self.check().and_then(|()| work());
        set(None);
        // An interrupt that came too late for SQLite counts all the same.
        let result = result.and_then(|value| self.check().map(|()| value));
        match result {
            Err(WarehouseError::Stopped) => Err(self.check().err().unwrap_or(WarehouseError::Stopped)),
            other => other,
        }
    }

    fn check(&self) -> Result<()> {
        let timed_out = self.timed_out_ms.load(Ordering::Relaxed);
        if timed_out > 0 {
            return Err(WarehouseError::Timeout(timed_out));
        }
        if self.cancelled.load(Ordering::Relaxed) { Err(WarehouseError::Stopped) } else { Ok(()) }
    }

    fn interrupt(&self) {
        if let Some(handle) = &*self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}

impl Running {
    fn get(&self, project: &str, id: &str) -> Option<Arc<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(project.to_owned(), id.to_owned())).cloned()
    }

    fn insert(&self, job: &Arc<Job>) {
        let key = (job.project.clone(), job.id.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, job.clone());
    }

    fn remove(&self, job: &Job) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(job.project.clone(), job.id.clone()));
    }
}

/// A new job's resource.
fn resource(project: &str, id: &str, configuration: &Json, created_ms: i64) -> Json {
    json!({
        "kind": "bigquery#job",
        "id": format!("{project}:US.{id}"),
        "etag": format!("\"{id}\""),
        "selfLink": format!("/bigquery/v2/projects/{project}/jobs/{id}?location=US"),
        "user_email": "mannen@localhost",
        "jobReference": { "projectId": project, "jobId": id, "location": "US" },
        "configuration": configuration,
        "statistics": { "creationTime": created_ms.to_string(), "startTime": created_ms.to_string() },
        "status": { "state": "RUNNING" },
    })
}

impl Inner {
    /// Begins a job, or only estimates it where it is a dry run. `media` is the file of a load job.
    pub(crate) fn insert_job(self: &Arc<Self>, project: &str, request: &Json, media: Option<PathBuf>) -> Result<Json> {
        let mut configuration = request.get("configuration").cloned().unwrap_or_default();
        let kind = ["query", "load", "copy", "extract"].into_iter().find(|kind| configuration.get(kind).is_some());
        let kind =
            kind.ok_or_else(|| WarehouseError::Invalid("Required parameter is missing: configuration".to_owned()))?;
        if kind == "copy" || kind == "extract" {
            return Err(WarehouseError::NotImplemented(format!(
                "{kind} jobs are not supported by the local warehouse"
            )));
        }
        configuration["jobType"] = kind.to_uppercase().into();
        if configuration.get("dryRun").and_then(Json::as_bool) == Some(true) {
            return self.dry_run(project, &configuration);
        }
        let given = request.pointer("/jobReference/jobId").and_then(Json::as_str).filter(|id| !id.is_empty());
        let id = given.map_or_else(|| format!("job_{}", uuid::Uuid::new_v4().simple()), str::to_owned);
        let fits = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
        if id.len() > 1024 || !id.chars().all(fits) {
            return Err(WarehouseError::Invalid(format!("Invalid job ID \"{project}:US.{id}\"")));
        }
        if kind == "query" {
            query_job::set_destination(project, &id, &mut configuration["query"]);
        }
        let created_ms = now_ms();
        let resource = resource(project, &id, &configuration, created_ms);
        self.control.insert_job(project, &id, created_ms, &resource)?;
        let job = Arc::new(Job {
            project: project.to_owned(),
            id,
            cancelled: AtomicBool::new(false),
            timed_out_ms: AtomicI64::new(0),
            interrupt: Mutex::new(None),
            done: watch::Sender::new(false),
        });
        self.running.insert(&job);
        watch_timeout(&job, &configuration);
        let (inner, unfinished) = (self.clone(), resource.clone());
        tokio::task::spawn_blocking(move || inner.run(&job, unfinished, media));
        Ok(resource)
    }

    /// The work of a job, and its result in the resource.
    fn run(&self, job: &Job, mut resource: Json, media: Option<PathBuf>) {
        let configuration = resource["configuration"].clone();
        let outcome = if configuration.get("query").is_some() {
            self.run_query_job(job, &configuration)
        } else {
            load::run_load_job(self, job, &configuration["load"], media.as_deref())
        };
        if let Some(media) = media {
            _ = std::fs::remove_file(media);
        }
        let statistics = &mut resource["statistics"];
        statistics["endTime"] = now_ms().to_string().into();
        match outcome {
            Ok(found) => {
                merge(statistics, found);
                resource["status"] = json!({ "state": "DONE" });
            }
            Err(error) => {
                if let WarehouseError::Internal(what) = &error {
                    tracing::error!(job = %job.id, %what, "a job failed");
                }
                resource["status"] =
                    json!({ "state": "DONE", "errorResult": error.proto(), "errors": [error.proto()] });
            }
        }
        if let Err(error) = self.control.set_job(&job.project, &job.id, true, &resource) {
            tracing::error!(job = %job.id, %error, "a job's end cannot be written");
        }
        self.running.remove(job);
        job.done.send_replace(true);
    }

    /// A job's resource as it is now.
    pub(crate) fn job(&self, project: &str, id: &str) -> Result<Json> {
        self.control.job(project, id)
    }

    /// Waits for a job's end, at most so long; gives its resource then.
    pub(crate) async fn wait(&self, project: &str, id: &str, patience: Duration) -> Result<Json> {
        if let Some(job) = self.running.get(project, id) {
            let mut done = job.done.subscribe();
            _ = tokio::time::timeout(patience, done.wait_for(|done| *done)).await;
        }
        self.job(project, id)
    }

    pub(crate) fn cancel(&self, project: &str, id: &str) -> Result<Json> {
        if let Some(job) = self.running.get(project, id) {
            job.cancelled.store(true, Ordering::Relaxed);
            job.interrupt();
        }
        Ok(json!({ "kind": "bigquery#jobCancelResponse", "job": self.job(project, id)? }))
    }

    /// Jobs that a process which is gone has left behind are told as failed.
    pub(crate) fn fail_unfinished(&self) -> Result<()> {
        for mut resource in self.control.unfinished_jobs()? {
            let error = WarehouseError::Backend("The local warehouse was stopped while the job ran".to_owned());
            resource["status"] = json!({ "state": "DONE", "errorResult": error.proto(), "errors": [error.proto()] });
            let (project, id) =
                (resource["jobReference"]["projectId"].clone(), resource["jobReference"]["jobId"].clone());
            self.control.set_job(
                project.as_str().unwrap_or_default(),
                id.as_str().unwrap_or_default(),
                true,
                &resource,
            )?;
        }
        Ok(())
    }

    fn dry_run(&self, project: &str, configuration: &Json) -> Result<Json> {
        let Some(query) = configuration.get("query") else {
            return Err(WarehouseError::Invalid("only queries can be dry-run".to_owned()));
        };
        let translation = self.translate(project, query)?;
        let bytes = translation.bytes();
        let mut resource = resource(project, "", configuration, now_ms());
        resource["jobReference"] = json!({ "projectId": project, "location": "US" });
        resource["status"] = json!({ "state": "DONE" });
        merge(&mut resource["statistics"], query_job::statistics(&translation, bytes, bytes_billed(&translation)));
        Ok(resource)
    }
}

/// Interrupts a job that takes longer than its `jobTimeoutMs`.
fn watch_timeout(job: &Arc<Job>, configuration: &Json) {
    let Some(limit_ms) = configuration.get("jobTimeoutMs").and_then(json_integer).filter(|limit| *limit > 0) else {
        return;
    };
    let job = job.clone();
    tokio::spawn(async move {
        let mut done = job.done.subscribe();
        let finished = done.wait_for(|done| *done);
        if tokio::time::timeout(Duration::from_millis(limit_ms as u64), finished).await.is_err() {
            job.timed_out_ms.store(limit_ms, Ordering::Relaxed);
            job.interrupt();
        }
    });
}

/// Puts the members of `more` into `into`.
fn merge(into: &mut Json, more: Json) {
    if let (Json::Object(into), Json::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// The error of a job that failed.
pub(crate) fn failure(resource: &Json) -> Option<WarehouseError> {
    let error = resource.pointer("/status/errorResult")?;
    let message = error.get("message").and_then(Json::as_str).unwrap_or_default().to_owned();
    let strip = |prefix: &str| message.strip_prefix(prefix).unwrap_or(&message).to_owned();
    Some(match error.get("reason").and_then(Json::as_str).unwrap_or_default() {
        "invalidQuery" => WarehouseError::InvalidQuery(message),
        "invalid" => WarehouseError::Invalid(message),
        "notFound" => WarehouseError::NotFound(strip("Not found: ")),
        "duplicate" => WarehouseError::Duplicate(strip("Already Exists: ")),
        "stopped" => WarehouseError::Stopped,
        "timeout" => {
            let limit = resource.pointer("/configuration/jobTimeoutMs").and_then(json_integer);
            WarehouseError::Timeout(limit.unwrap_or_default())
        }
        "bytesBilledLimitExceeded" => {
            let limit = resource.pointer("/configuration/query/maximumBytesBilled").and_then(json_integer);
            let needed = message.split_whitespace().find_map(|word| word.parse().ok());
            WarehouseError::BytesBilledLimit { limit: limit.unwrap_or_default(), needed: needed.unwrap_or_default() }
        }
        "backendError" => WarehouseError::Backend(message),
        "notImplemented" => WarehouseError::NotImplemented(message),
        _ => WarehouseError::Internal(message),
    })
}
