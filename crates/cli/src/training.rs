//! Training: rides to a training view by the feature engine, to SageMaker training jobs, to an endpoint.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

use ::features::{FeatureTable, InputTable, Scratch};
use bytes::Bytes;
use cloud::{
    object_store::{PutCondition, PutObject},
    s3::S3Bucket,
    sagemaker_control::SageMakerControl,
};
use domain::{digest::sha256_hex, lake};
use evaluation::drift::TrainingBaseline;
use rides::TrainingRow;
use serde_json::json;

use crate::{
    error::CliError,
    held_out,
    local_cloud::RunningCloud,
    model_folder::ModelFolder,
    terminal::{Terminal, grouped},
};

/// Nothing is paid for on a laptop, but SageMaker's API asks for a role.
const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/mannen-training";
const POLL: Duration = Duration::from_millis(100);
const TRAINING_TIMEOUT: Duration = Duration::from_mins(30);
const ENDPOINT_TIMEOUT: Duration = Duration::from_mins(5);
/// Rows transformed at a time.
const BATCH_ROWS: usize = 8_192;

/// The model version behind each production variant: the training job's name.
pub(crate) type ModelVersions = BTreeMap<String, String>;

/// Trains every variant and brings up the endpoint with all of them.
pub(crate) async fn train_and_deploy(
    running: &RunningCloud,
    model: &ModelFolder,
    rows: &[TrainingRow],
    terminal: Terminal,
) -> Result<ModelVersions, CliError> {
    let step = terminal.counted_step("Transforming features for training", rows.len() as u64);
    let (held_out, rows) = held_out::split(rows);
    let TrainingView { csv: view, baseline } = training_view(model, &rows, |rows| step.advance(rows as u64))?;
    let (view_rows, digest) = (view.lines().count() as u64, sha256_hex(view.as_bytes()));
    let prefix = lake::training_view_prefix(&model.name, &digest);
    running.lake.put_object(&format!("{prefix}train.csv"), Bytes::from(view), PutCondition::Always).await?;
    let key = lake::training_baseline(&model.name, model.plan.hash());
    running.lake.put_object(&key, baseline.to_json().into(), PutCondition::Always).await?;
    step.done(format_args!(
        "{} rows × {} features, {}",
        grouped(view_rows),
        model.plan.output_names().len(),
        &digest[..12]
    ));

    let variants = model.training.variants();
    let step = terminal.step(format!("Training {}", variants.keys().copied().collect::<Vec<_>>().join(" and ")));
    let began = Instant::now();
    let mut versions = ModelVersions::new();
    for (variant, hyperparameters) in &variants {
        // The same data and hyperparameters are the same job: sent twice, it is trained once.
        let inputs = format!("{digest} {hyperparameters:?} {}", model.training.image);
        let job = format!("{}-{variant}-{}", model.name, &sha256_hex(inputs.as_bytes())[..12]);
        start_training(&running.sagemaker, &running.lake, model, &job, &prefix, hyperparameters).await?;
        versions.insert((*variant).to_owned(), job);
    }
    let mut artefacts = BTreeMap::new();
    for (variant, job) in &versions {
        artefacts.insert(variant.clone(), wait_for_training(&running.sagemaker, job).await?);
    }
    step.done(format_args!("{} jobs in {:.1} s", versions.len(), began.elapsed().as_secs_f64()));

    let step = terminal.step("Starting the endpoint");
    deploy(&running.sagemaker, model, &versions, &artefacts).await?;
    step.done(format_args!("`{}` is in service", model.release.endpoint));

    if !held_out.is_empty() {
        let step = terminal.step("Measuring the models on held-out rides");
        let maes = held_out::measure(running, model, &versions, &held_out).await?;
        let told: Vec<String> = maes.iter().map(|(variant, mae_s)| format!("{variant} {mae_s:.0} s")).collect();
        step.done(format_args!("{} rides; mean absolute error {}", grouped(held_out.len() as u64), told.join(", ")));
    }
    Ok(versions)
}

struct TrainingView {
    /// Headerless, label first, as SageMaker's algorithms read it.
    csv: String,
    /// Its distributions.
    baseline: TrainingBaseline,
}

/// The training view. Features come from the very engine that serves.
fn training_view(
    model: &ModelFolder,
    rows: &[&TrainingRow],
    mut progress: impl FnMut(usize),
) -> Result<TrainingView, CliError> {
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); model.plan.output_names().len()];
    let mut labels = Vec::new();
    let (mut inputs, mut scratch, mut features) =
        (InputTable::new(&model.plan), Scratch::default(), FeatureTable::default());
    let mut csv = String::new();
    for batch in rows.chunks(BATCH_ROWS) {
        read_rows(model, batch, &mut inputs)?;
        model.plan.evaluate_training(&inputs, &mut scratch, &mut features);
        for (row, label) in features.label().iter().enumerate().filter(|(_, label)| !label.is_nan()) {
            _ = write!(csv, "{label}");
            labels.push(*label);
            for (column, values) in features.outputs().iter().zip(&mut columns) {
                values.push(column[row]);
                csv.push(',');
                if !column[row].is_nan() {
                    _ = write!(csv, "{}", column[row]);
                }
            }
            csv.push('\n');
        }
        progress(batch.len());
    }
    let names = model.plan.output_names().iter().map(String::as_str);
    let baseline = TrainingBaseline::of(model.plan.hash(), names.zip(columns.iter().map(Vec::as_slice)), &labels);
    Ok(TrainingView { csv, baseline })
}

/// The rows as the spec's inputs, the label's among them.
pub(crate) fn read_rows(model: &ModelFolder, rows: &[&TrainingRow], inputs: &mut InputTable) -> Result<(), CliError> {
    inputs.clear();
    for (index, row) in rows.iter().enumerate() {
        let mut all = row.inputs.clone();
        all.extend(row.candidate_inputs.clone());
        all.insert("drive_s".to_owned(), row.drive_s.into());
        model.plan.read_training_row(row.requested_at, &all, &format!("/{index}"), inputs)?;
    }
    Ok(())
}

async fn start_training(
    sagemaker: &SageMakerControl,
    lake: &S3Bucket,
    model: &ModelFolder,
    job: &str,
    prefix: &str,
    hyperparameters: &BTreeMap<String, String>,
) -> Result<(), CliError> {
    let bucket = lake.name();
    let request = json!({
        "TrainingJobName": job,
        "RoleArn": ROLE_ARN,
        "AlgorithmSpecification": {"TrainingImage": model.training.image, "TrainingInputMode": "File"},
        "HyperParameters": hyperparameters,
        "InputDataConfig": [{
            "ChannelName": "train",
            "ContentType": "text/csv",
            "DataSource": {"S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3DataDistributionType": "FullyReplicated",
                "S3Uri": format!("s3://{bucket}/{prefix}"),
            }},
        }],
        "OutputDataConfig": {"S3OutputPath": format!("s3://{bucket}/{}", lake::model_artifacts_prefix(&model.name))},
        "ResourceConfig": {
            "InstanceType": model.training.instance_type, "InstanceCount": 1, "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": model.training.max_runtime_s},
    });
    sagemaker.call("CreateTrainingJob", &request).await?;
    Ok(())
}

/// Waits for a job's end; the model artefact's address.
async fn wait_for_training(sagemaker: &SageMakerControl, job: &str) -> Result<String, CliError> {
    let began = Instant::now();
    loop {
        let description = sagemaker.call("DescribeTrainingJob", &json!({"TrainingJobName": job})).await?;
        match description["TrainingJobStatus"].as_str() {
            Some("Completed") => {
                let artefact = description["ModelArtifacts"]["S3ModelArtifacts"].as_str();
                return artefact
                    .map(str::to_owned)
                    .ok_or_else(|| CliError::Unexpected(format!("training job {job} left no model artefact")));
            }
            Some("Failed" | "Stopped") => {
                let why = description["FailureReason"].as_str().unwrap_or("no reason was given");
                return Err(CliError::Unexpected(format!("training job {job} failed: {why}")));
            }
            _ if began.elapsed() > TRAINING_TIMEOUT => {
                return Err(CliError::Unexpected(format!("training job {job} is not done after {TRAINING_TIMEOUT:?}")));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// One endpoint with one production variant per model, and waits until it is in service.
async fn deploy(
    sagemaker: &SageMakerControl,
    model: &ModelFolder,
    versions: &ModelVersions,
    artefacts: &BTreeMap<String, String>,
) -> Result<(), CliError> {
    let endpoint = &model.release.endpoint;
    let mut variants = Vec::with_capacity(versions.len());
    for (variant, version) in versions {
        let request = json!({
            "ModelName": version,
            "ExecutionRoleArn": ROLE_ARN,
            "PrimaryContainer": {"Image": model.training.image, "ModelDataUrl": artefacts.get(variant)},
        });
        sagemaker.call("CreateModel", &request).await?;
        variants.push(json!({
            "VariantName": variant,
            "ModelName": version,
            "InstanceType": model.training.instance_type,
            "InitialInstanceCount": 1,
            "InitialVariantWeight": 1.0,
        }));
    }
    let config = format!("{endpoint}-{}", &sha256_hex(format!("{versions:?}").as_bytes())[..12]);
    let request = json!({"EndpointConfigName": config, "ProductionVariants": variants});
    sagemaker.call("CreateEndpointConfig", &request).await?;
    let request = json!({"EndpointName": endpoint, "EndpointConfigName": config});
    sagemaker.call("CreateEndpoint", &request).await?;
    let began = Instant::now();
    loop {
        let description = sagemaker.call("DescribeEndpoint", &json!({"EndpointName": endpoint})).await?;
        match description["EndpointStatus"].as_str() {
            Some("InService") => return Ok(()),
            Some("Failed") => {
                let why = description["FailureReason"].as_str().unwrap_or("no reason was given");
                return Err(CliError::Unexpected(format!("endpoint {endpoint} failed: {why}")));
            }
            _ if began.elapsed() > ENDPOINT_TIMEOUT => {
                let what = format!("endpoint {endpoint} is not in service after {ENDPOINT_TIMEOUT:?}");
                return Err(CliError::Unexpected(what));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}
