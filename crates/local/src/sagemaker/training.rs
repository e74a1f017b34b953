//! Training jobs. Folders as in a training container:
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html>

use std::{
    collections::BTreeMap,
    fs,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    SageMaker,
    container::{download, pack, s3_parts, text_map},
    control_plane::{missing, name_in, required},
    errors::Failure,
    now_s,
    script_mode::{Script, last_words},
};
use crate::{
    processes::{Program, describe},
    s3::{ObjectInfo, Store},
};

#[derive(Debug)]
pub(crate) struct TrainingJob {
    request: Value,
    status: &'static str,
    secondary: &'static str,
    created_s: f64,
    started_s: Option<f64>,
    ended_s: Option<f64>,
    failure: Option<String>,
    artifacts: Option<String>,
    /// `FinalMetricDataList`.
    metrics: Vec<Value>,
    stop: watch::Sender<bool>,
}

impl TrainingJob {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status, "Completed" | "Failed" | "Stopped")
    }
}

/// How a training ended.
enum End {
    Completed(String),
    Failed(String),
    Stopped(Option<String>),
    /// The stopping condition's time is over; what is in `model/` counts.
    OutOfTime(String),
}

/// What a job is told, read from its request.
struct Plan {
    name: String,
    image: String,
    /// Where it is in script mode.
    script: Option<Script>,
    output: String,
    max_runtime: Duration,
    request: Value,
    /// `/opt/ml`.
    base: PathBuf,
}

impl SageMaker {
    pub(super) fn create_training_job(self: &Arc<Self>, input: Value) -> Result<Value, Failure> {
        let name = name_in(&input, "TrainingJobName")?.to_owned();
        required(&input, "RoleArn")?;
        let arn = self.arn("training-job", &name);
        let image = required(&input["AlgorithmSpecification"], "TrainingImage")?.to_owned();
        // An image that has a program of its own is no framework's, whatever it is told of scripts.
        let script = match self.containers.image(&image) {
            Ok(_) => None,
            Err(unknown) => {
                let script = Script::of(&input["HyperParameters"]).map_err(Failure::validation)?;
                Some(script.ok_or_else(|| Failure::validation(unknown))?)
            }
        };
        let output = required(&input["OutputDataConfig"], "S3OutputPath")?.trim_end_matches('/').to_owned();
        let (bucket, _) = s3_parts(&output).map_err(Failure::validation)?;
        if self.store.bucket(bucket).is_err() {
            return Err(Failure::validation(format!(
                "No S3 bucket found at {output} specified in output data config."
            )));
        }
        if input["HyperParameters"].as_object().is_some_and(|all| all.values().any(|value| !value.is_string())) {
            return Err(Failure::serialization("HyperParameters: all values must be texts"));
        }
        let max_runtime = input["StoppingCondition"]["MaxRuntimeInSeconds"].as_u64().unwrap_or(86_400).max(1);
        let plan = Plan {
            base: self.root.join("training").join(&name),
            image,
            script,
            output,
            max_runtime: Duration::from_secs(max_runtime),
            request: input.clone(),
            name: name.clone(),
        };
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let job = TrainingJob {
            request: input,
            status: "InProgress",
            secondary: "Starting",
            created_s: now_s(),
            started_s: None,
            ended_s: None,
            failure: None,
            artifacts: None,
            metrics: Vec::new(),
            stop,
        };
        let taken = format!(
            "Training job names must be unique within an AWS account and region, and a training job with this name \
             already exists ({arn})"
        );
        self.with(|state| {
            if state.training_jobs.contains_key(&name) {
                return Err(Failure::in_use(taken));
            }
            state.training_jobs.insert(name.clone(), job);
            Ok(())
        })?;
        let sagemaker = self.clone();
        tokio::spawn(async move {
            let name = plan.name.clone();
            let end = sagemaker.train(plan, stopped).await.unwrap_or_else(End::Failed);
            sagemaker.update(&name, |job| {
                (job.status, job.secondary) = match &end {
                    End::Completed(_) => ("Completed", "Completed"),
                    End::OutOfTime(_) => ("Stopped", "MaxRuntimeExceeded"),
                    End::Stopped(_) => ("Stopped", "Stopped"),
                    End::Failed(_) => ("Failed", "Failed"),
                };
                match end {
                    End::Completed(uri) | End::OutOfTime(uri) => job.artifacts = Some(uri),
                    End::Stopped(uri) => job.artifacts = uri,
                    End::Failed(reason) => job.failure = Some(reason),
                }
                job.ended_s = Some(now_s());
            });
            sagemaker.tell_training_job(&name);
        });
        Ok(json!({ "TrainingJobArn": arn }))
    }

    fn tell_training_job(&self, name: &str) {
        if let Ok(detail) = self.describe_training_job(&json!({ "TrainingJobName": name })) {
            self.tell("SageMaker Training Job State Change", &self.arn("training-job", name), &detail);
        }
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut TrainingJob)) {
        self.with(|state| state.training_jobs.get_mut(name).map(change));
    }

    async fn train(self: &Arc<Self>, plan: Plan, mut stopped: watch::Receiver<bool>) -> Result<End, String> {
        self.update(&plan.name, |job| (job.secondary, job.started_s) = ("Downloading", Some(now_s())));
        let plan = Arc::new(plan);
        let (store, prepared) = (self.store.clone(), plan.clone());
        let prepare = tokio::task::spawn_blocking(move || prepare(&store, &prepared));
        prepare.await.map_err(|error| error.to_string())??;
        let mut environment = text_map(&plan.request["Environment"]);
        environment.insert("TRAINING_JOB_NAME".to_owned(), plan.name.clone());
        environment.insert("TRAINING_JOB_ARN".to_owned(), self.arn("training-job", &plan.name));
        let log = format!("training-{}", plan.name);
        let program = self.training_program(&plan, environment, &log).await?;
        self.update(&plan.name, |job| job.secondary = "Training");
        let process = self.containers.processes.start(&program).await.map_err(|error| error.to_string())?;
        // SageMaker's grace between SIGTERM and SIGKILL is two minutes; a laptop has less patience.
        let grace = Duration::from_secs(10);
        let (mut ran_out, mut was_stopped) = (false, false);
        let status = tokio::select! {
            status = process.wait() => status,
            () = tokio::time::sleep(plan.max_runtime) => {
                ran_out = true;
                process.stop(grace).await;
                None
            }
            () = async { stopped.wait_for(|stopped| *stopped).await.map_or((), drop) } => {
                was_stopped = true;
                process.stop(grace).await;
                None
            }
        };
        if !ran_out && !was_stopped && !status.is_some_and(|status| status.success()) {
            let reason = tokio::fs::read(plan.base.join("output/failure")).await.ok();
            let reason = reason.map(|reason| String::from_utf8_lossy(&reason).trim().to_owned());
            let reason = reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| {
                let words = last_words(&self.containers.logs.join(format!("{log}.log")));
                format!("{}; {words}", describe(status))
            });
            // SageMaker shows the first 1024 characters.
            return Ok(End::Failed(format!("AlgorithmError: {reason}").chars().take(1024).collect()));
        }
        let output = tokio::fs::read(self.containers.logs.join(format!("{log}.log"))).await.unwrap_or_default();
        let metrics = final_metrics(&plan.request, &String::from_utf8_lossy(&output));
        self.update(&plan.name, |job| (job.secondary, job.metrics) = ("Uploading", metrics));
        let (store, finished) = (self.store.clone(), plan.clone());
        let upload = tokio::task::spawn_blocking(move || upload(&store, &finished));
        let uri = upload.await.map_err(|error| error.to_string())??;
        Ok(match (was_stopped, ran_out) {
            (true, _) => End::Stopped(Some(uri)),
            (_, true) => End::OutOfTime(uri),
            _ => End::Completed(uri),
        })
    }

    /// The image's own program, or Python with the job's script.
    async fn training_program(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        environment: BTreeMap<String, String>,
        log: &str,
    ) -> Result<Program, String> {
        let (sagemaker, plan, log) = (self.clone(), plan.clone(), log.to_owned());
        let made = tokio::task::spawn_blocking(move || {
            let containers = &sagemaker.containers;
            match &plan.script {
                Some(script) => script.training_program(containers, &sagemaker.store, &plan.base, environment, &log),
                None => containers.program(&plan.image, "train", &plan.base, environment, &log),
            }
        });
        made.await.map_err(|error| error.to_string())?
    }

    pub(super) fn describe_training_job(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "TrainingJobName")?;
        let arn = self.arn("training-job", name);
        self.with(|state| {
            let job = state.training_jobs.get(name).ok_or_else(|| missing("training job", &arn))?;
            let mut description = job.request.clone();
            description["TrainingJobArn"] = arn.into();
            description["TrainingJobStatus"] = job.status.into();
            description["SecondaryStatus"] = job.secondary.into();
            description["CreationTime"] = job.created_s.into();
            description["LastModifiedTime"] = job.ended_s.or(job.started_s).unwrap_or(job.created_s).into();
            // Where nothing has been made yet, the member is there all the same.
            description["ModelArtifacts"] = json!({ "S3ModelArtifacts": job.artifacts.clone().unwrap_or_default() });
            if let Some(started_s) = job.started_s {
                description["TrainingStartTime"] = started_s.into();
                if let Some(ended_s) = job.ended_s {
                    description["TrainingEndTime"] = ended_s.into();
                    let seconds = (ended_s - started_s).ceil().max(1.0) as i64;
                    description["TrainingTimeInSeconds"] = seconds.into();
                    description["BillableTimeInSeconds"] = seconds.into();
                }
            }
            if let Some(failure) = &job.failure {
                description["FailureReason"] = failure.clone().into();
            }
            if !job.metrics.is_empty() {
                description["FinalMetricDataList"] = job.metrics.clone().into();
            }
            Ok(description)
        })
    }

    pub(super) fn stop_training_job(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "TrainingJobName")?;
        let arn = self.arn("training-job", name);
        self.with(|state| {
            let job = state.training_jobs.get_mut(name).ok_or_else(|| missing("training job", &arn))?;
            if job.status != "InProgress" {
                return Err(Failure::validation(format!(
                    "The request was rejected because the training job is {}.",
                    job.status
                )));
            }
            (job.status, job.secondary) = ("Stopping", "Stopping");
            job.stop.send_replace(true);
            Ok(json!({}))
        })
    }
}

/// The last value of each metric that the job's output tells, by the regular expressions of its `MetricDefinitions`.
fn final_metrics(request: &Value, output: &str) -> Vec<Value> {
    let definitions = request["AlgorithmSpecification"]["MetricDefinitions"].as_array().into_iter().flatten();
    let found = definitions.filter_map(|definition| {
        let expression = regex_lite::Regex::new(definition["Regex"].as_str()?).ok()?;
        let last = expression.captures_iter(output).last()?;
        let value: f64 = last.get(1)?.as_str().trim().parse().ok()?;
        Some(json!({ "MetricName": definition["Name"], "Value": value, "Timestamp": now_s() }))
    });
    found.collect()
}

/// Lays out the job's folder and downloads its data.
fn prepare(store: &Store, plan: &Plan) -> Result<(), String> {
    let base = &plan.base;
    let told = |error: &dyn std::fmt::Display| format!("cannot prepare {}: {error}", base.display());
    if base.exists() {
        fs::remove_dir_all(base).map_err(|error| told(&error))?;
    }
    for folder in ["input/config", "input/data", "model", "output/data", "code", "checkpoints"] {
        fs::create_dir_all(base.join(folder)).map_err(|error| told(&error))?;
    }
    let request = &plan.request;
    let hyperparameters = match &request["HyperParameters"] {
        Value::Null => json!({}),
        given => given.clone(),
    };
    let mut channels = Map::new();
    for channel in request["InputDataConfig"].as_array().into_iter().flatten() {
        let name = channel["ChannelName"].as_str().unwrap_or_default();
        if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(format!("the channel name {name:?} is not allowed"));
        }
        if channel["InputMode"].as_str().or(request["AlgorithmSpecification"]["TrainingInputMode"].as_str())
            == Some("Pipe")
        {
            return Err(format!("the channel {name} asks for input mode Pipe, which is not emulated; use File"));
        }
        download_channel(store, &channel["DataSource"]["S3DataSource"], &base.join("input/data").join(name))
            .map_err(|error| format!("ClientError: Data download failed: channel {name}: {error}"))?;
        let mut told = json!({
            "TrainingInputMode": "File",
            "S3DistributionType": channel["DataSource"]["S3DataSource"]["S3DataDistributionType"].as_str()
                .unwrap_or("FullyReplicated"),
            "RecordWrapperType": channel["RecordWrapperType"].as_str().unwrap_or("None"),
        });
        if let Some(content_type) = channel["ContentType"].as_str() {
            told["ContentType"] = content_type.into();
        }
        channels.insert(name.to_owned(), told);
    }
    let instance_type = request["ResourceConfig"]["InstanceType"].as_str().unwrap_or("local");
    let resources = json!({
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "current_instance_type": instance_type,
        "current_group_name": "homogeneousCluster",
        "instance_groups": [
            { "instance_group_name": "homogeneousCluster", "instance_type": instance_type, "hosts": ["algo-1"] }
        ],
        "network_interface_name": "lo",
    });
    for (file, content) in [
        ("hyperparameters.json", hyperparameters),
        ("inputdataconfig.json", Value::Object(channels)),
        ("resourceconfig.json", resources),
    ] {
        fs::write(base.join("input/config").join(file), content.to_string()).map_err(|error| told(&error))?;
    }
    Ok(())
}

/// Objects of an `S3Prefix` (a prefix of text, not a folder) or of a `ManifestFile` land in the channel's folder, under
/// what follows the prefix.
fn download_channel(store: &Store, source: &Value, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let uri = source["S3Uri"].as_str().unwrap_or_default();
    let (bucket, prefix) = s3_parts(uri)?;
    let keys: Vec<(String, String)> = match source["S3DataType"].as_str() {
        Some("S3Prefix") => {
            let bucket = store.bucket(bucket).map_err(|_| format!("there is no bucket {bucket}"))?;
            let state = bucket.lock();
            let range = state
                .objects
                .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix));
            range
                .filter(|(key, _)| !key.ends_with('/'))
                .map(|(key, _)| (key.clone(), name_below(prefix, key)))
                .collect()
        }
        Some("ManifestFile") => {
            let manifest = folder.with_extension("manifest-download");
            download(store, bucket, prefix, &manifest)?;
            let text = fs::read(&manifest).map_err(|error| error.to_string())?;
            fs::remove_file(&manifest).map_err(|error| error.to_string())?;
            let entries: Vec<Value> =
                serde_json::from_slice(&text).map_err(|error| format!("the manifest {uri} is no list: {error}"))?;
            let base = entries.first().and_then(|first| first["prefix"].as_str());
            let base =
                base.ok_or_else(|| format!("the manifest {uri} does not begin with {{\"prefix\": \"s3://…\"}}"))?;
            let (manifest_bucket, base) = s3_parts(base)?;
            if manifest_bucket != bucket {
                return Err(format!("the manifest {uri} leads to the other bucket {manifest_bucket}"));
            }
            let names = entries[1..].iter().map(|name| {
                let name = name.as_str().ok_or_else(|| format!("the manifest {uri} holds {name}, not a text"))?;
                Ok((format!("{base}{name}"), name.to_owned()))
            });
            names.collect::<Result<_, String>>()?
        }
        other => return Err(format!("S3DataType is {}, not S3Prefix or ManifestFile", other.unwrap_or("missing"))),
    };
    if keys.is_empty() {
        return Err(format!("No S3 objects found under S3 URL {uri:?} given in input data source."));
    }
    for (key, name) in keys {
        let safe = Path::new(&name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !safe {
            return Err(format!("the name {name:?} leads out of the channel's folder"));
        }
        download(store, bucket, &key, &folder.join(name))?;
    }
    Ok(())
}

/// A key's name in the channel: what follows the prefix, or, if the prefix ends within a name, that name and on.
fn name_below(prefix: &str, key: &str) -> String {
    let rest = &key[prefix.len()..];
    if prefix.is_empty() || prefix.ends_with('/') {
        return rest.to_owned();
    }
    match rest.strip_prefix('/') {
        Some(rest) => rest.to_owned(),
        None => key[prefix.rfind('/').map_or(0, |at| at + 1)..].to_owned(),
    }
}

/// Packs `model/` and puts it where SageMaker does.
fn upload(store: &Store, plan: &Plan) -> Result<String, String> {
    let (bucket, prefix) = s3_parts(&plan.output)?;
    let below = format!("{}/output/model.tar.gz", plan.name);
    let key = if prefix.is_empty() { below } else { format!("{prefix}/{below}") };
    let file = store.temporary_path();
    let told = |error: &dyn std::fmt::Display| format!("cannot upload the model: {error}");
    pack(&plan.base.join("model"), &file).map_err(|error| told(&error))?;
    let mut info = ObjectInfo { key: key.clone(), ..ObjectInfo::default() };
    info.etag = crate::hash::md5_hex(&fs::read(&file).map_err(|error| told(&error))?);
    info.attributes.content_type = Some("application/x-tar".to_owned());
    store
        .publish(bucket, info, &file, &crate::s3::Condition::default(), "ObjectCreated:Put")
        .map_err(|error| told(&error.message().unwrap_or(error.code().as_str())))?;
    Ok(format!("s3://{bucket}/{key}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{final_metrics, name_below};

    #[test]
    fn the_last_value_of_a_metric_counts() {
        let request = json!({"AlgorithmSpecification": {"MetricDefinitions": [
            {"Name": "mae_s", "Regex": "mae=([0-9.]+)"}, {"Name": "none", "Regex": "nothing=([0-9.]+)"},
        ]}});
        let found = final_metrics(&request, "round 1 mae=90.5\nround 2 mae=81.25\n");
        assert_eq!(
            (found.len(), &found[0]["MetricName"], found[0]["Value"].as_f64()),
            (1, &json!("mae_s"), Some(81.25))
        );
    }

    #[test]
    fn names_in_a_channel_follow_the_prefix() {
        assert_eq!(name_below("d/train/", "d/train/x/a.csv"), "x/a.csv");
        assert_eq!(name_below("d/train", "d/train/a.csv"), "a.csv");
        assert_eq!(name_below("d/train", "d/train2/a.csv"), "train2/a.csv");
        assert_eq!(name_below("d/a.csv", "d/a.csv"), "a.csv");
        assert_eq!(name_below("", "a.csv"), "a.csv");
    }
}
