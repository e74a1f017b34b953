//! Training: rides to a training view by the feature engine, to SageMaker training jobs, to an endpoint.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

use ::features::{FeatureTable, InputTable, Scratch};
use aws_sdk_sagemaker::{
    Client,
    error::DisplayErrorContext,
    types::{
        AlgorithmSpecification, Channel, ContainerDefinition, DataSource, EndpointStatus, OutputDataConfig,
        ProductionVariant, ProductionVariantInstanceType, ResourceConfig, S3DataDistribution, S3DataSource, S3DataType,
        StoppingCondition, TrainingInputMode, TrainingInstanceType, TrainingJobStatus,
    },
};
use bytes::Bytes;
use cloud::{
    object_store::{PutCondition, PutObject},
    s3::S3Bucket,
};
use domain::{digest::sha256_hex, lake};
use rides::TrainingRow;

use crate::{
    error::CliError,
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
    let view = training_view(model, rows, |rows| step.advance(rows as u64))?;
    let (view_rows, digest) = (view.lines().count() as u64, sha256_hex(view.as_bytes()));
    let prefix = lake::training_view_prefix(&model.name, &digest);
    running.lake.put_object(&format!("{prefix}train.csv"), Bytes::from(view), PutCondition::Always).await?;
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
    Ok(versions)
}

/// The training view: headerless CSV, label first, as SageMaker's algorithms read it. Features come from the very
/// engine that serves.
fn training_view(
    model: &ModelFolder,
    rows: &[TrainingRow],
    mut progress: impl FnMut(usize),
) -> Result<String, CliError> {
    let (mut inputs, mut scratch, mut features) =
        (InputTable::new(&model.plan), Scratch::default(), FeatureTable::default());
    let mut csv = String::new();
    for batch in rows.chunks(BATCH_ROWS) {
        inputs.clear();
        for (index, row) in batch.iter().enumerate() {
            let mut all = row.inputs.clone();
            all.extend(row.candidate_inputs.clone());
            all.insert("drive_s".to_owned(), row.drive_s.into());
            model.plan.read_training_row(row.requested_at, &all, &format!("/{index}"), &mut inputs)?;
        }
        model.plan.evaluate_training(&inputs, &mut scratch, &mut features);
        for (row, label) in features.label().iter().enumerate().filter(|(_, label)| !label.is_nan()) {
            _ = write!(csv, "{label}");
            for column in features.outputs() {
                csv.push(',');
                if !column[row].is_nan() {
                    _ = write!(csv, "{}", column[row]);
                }
            }
            csv.push('\n');
        }
        progress(batch.len());
    }
    Ok(csv)
}

fn aws<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> CliError {
    move |error| CliError::Aws { what, detail: DisplayErrorContext(error).to_string() }
}

async fn start_training(
    client: &Client,
    lake: &S3Bucket,
    model: &ModelFolder,
    job: &str,
    prefix: &str,
    hyperparameters: &BTreeMap<String, String>,
) -> Result<(), CliError> {
    const WHAT: &str = "CreateTrainingJob";
    let bucket = lake.name();
    let source = S3DataSource::builder()
        .s3_data_type(S3DataType::S3Prefix)
        .s3_data_distribution_type(S3DataDistribution::FullyReplicated)
        .s3_uri(format!("s3://{bucket}/{prefix}"))
        .build();
    let channel = Channel::builder()
        .channel_name("train")
        .content_type("text/csv")
        .data_source(DataSource::builder().s3_data_source(source).build())
        .build();
    let seconds = i32::try_from(model.training.max_runtime_s).unwrap_or(i32::MAX);
    client
        .create_training_job()
        .training_job_name(job)
        .role_arn(ROLE_ARN)
        .algorithm_specification(
            AlgorithmSpecification::builder()
                .training_image(&model.training.image)
                .training_input_mode(TrainingInputMode::File)
                .build(),
        )
        .set_hyper_parameters(Some(hyperparameters.clone().into_iter().collect()))
        .input_data_config(channel)
        .output_data_config(
            OutputDataConfig::builder()
                .s3_output_path(format!("s3://{bucket}/{}", lake::model_artifacts_prefix(&model.name)))
                .build(),
        )
        .resource_config(
            ResourceConfig::builder()
                .instance_type(TrainingInstanceType::from(model.training.instance_type.as_str()))
                .instance_count(1)
                .volume_size_in_gb(10)
                .build(),
        )
        .stopping_condition(StoppingCondition::builder().max_runtime_in_seconds(seconds).build())
        .send()
        .await
        .map_err(aws(WHAT))?;
    Ok(())
}

/// Waits for a job's end; the model artefact's address.
async fn wait_for_training(client: &Client, job: &str) -> Result<String, CliError> {
    const WHAT: &str = "DescribeTrainingJob";
    let began = Instant::now();
    loop {
        let description = client.describe_training_job().training_job_name(job).send().await.map_err(aws(WHAT))?;
        match description.training_job_status() {
            Some(TrainingJobStatus::Completed) => {
                let artefact = description.model_artifacts().and_then(|artefacts| artefacts.s3_model_artifacts());
                return artefact
                    .map(str::to_owned)
                    .ok_or_else(|| CliError::Unexpected(format!("training job {job} left no model artefact")));
            }
            Some(TrainingJobStatus::Failed | TrainingJobStatus::Stopped) => {
                let why = description.failure_reason().unwrap_or("no reason was given");
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
    client: &Client,
    model: &ModelFolder,
    versions: &ModelVersions,
    artefacts: &BTreeMap<String, String>,
) -> Result<(), CliError> {
    let endpoint = &model.release.endpoint;
    let mut variants = Vec::with_capacity(versions.len());
    for (variant, version) in versions {
        let container = ContainerDefinition::builder()
            .image(&model.training.image)
            .model_data_url(artefacts.get(variant).cloned().unwrap_or_default())
            .build();
        client
            .create_model()
            .model_name(version)
            .execution_role_arn(ROLE_ARN)
            .primary_container(container)
            .send()
            .await
            .map_err(aws("CreateModel"))?;
        variants.push(
            ProductionVariant::builder()
                .variant_name(variant)
                .model_name(version)
                .instance_type(ProductionVariantInstanceType::from(model.training.instance_type.as_str()))
                .initial_instance_count(1)
                .initial_variant_weight(1.0)
                .build(),
        );
    }
    let config = format!("{endpoint}-{}", &sha256_hex(format!("{versions:?}").as_bytes())[..12]);
    client
        .create_endpoint_config()
        .endpoint_config_name(&config)
        .set_production_variants(Some(variants))
        .send()
        .await
        .map_err(aws("CreateEndpointConfig"))?;
    client
        .create_endpoint()
        .endpoint_name(endpoint)
        .endpoint_config_name(&config)
        .send()
        .await
        .map_err(aws("CreateEndpoint"))?;
    let began = Instant::now();
    loop {
        let description =
            client.describe_endpoint().endpoint_name(endpoint).send().await.map_err(aws("DescribeEndpoint"))?;
        match description.endpoint_status() {
            Some(EndpointStatus::InService) => return Ok(()),
            Some(EndpointStatus::Failed) => {
                let why = description.failure_reason().unwrap_or("no reason was given");
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
