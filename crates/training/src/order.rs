//! A training job that is ordered, and SageMaker's request for it.

use std::collections::BTreeMap;

use domain::{DatasetVersion, Lineage, ModelName, digest::sha256_hex, lake, version_of};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use datasets::Manifest;

use crate::{
    TrainingDefinition, TrainingError,
    view::{TRAIN, VALIDATION, ViewSummary},
};

/// What is written before a job is created: with it, whoever comes later knows what a job is of, and that there should be one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingOrder {
    /// The model.
    pub model: ModelName,
    /// The version that the job makes, and the job's name.
    pub version: String,
    /// The variant of `training.toml`.
    pub variant: String,
    /// What it is made of.
    pub lineage: Lineage,
    /// `CreateTrainingJob`'s input.
    pub request: Value,
    /// How the model is trained, judged and deployed, as it was when it was ordered.
    pub definition: TrainingDefinition,
    /// When it was ordered, UTC.
    pub ordered_at: Timestamp,
}

/// Where jobs run and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlace {
    /// The lake's bucket.
    pub bucket: String,
    /// The role that SageMaker takes.
    pub role_arn: String,
}

impl TrainingOrder {
    /// The order of one variant's job. `attempt` is 1, but where a failed job is ordered again.
    ///
    /// # Errors
    /// The variant is no name that SageMaker takes.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        definition: &TrainingDefinition,
        manifest: &Manifest,
        view: &ViewSummary,
        variant: &str,
        hyperparameters: &BTreeMap<String, String>,
        place: &JobPlace,
        attempt: u32,
        now: Timestamp,
    ) -> Result<Self, TrainingError> {
        let origin = &manifest.identity.origin;
        let lineage = Lineage {
            dataset: DatasetVersion {
                name: manifest.identity.dataset.clone(),
                address: manifest.address.clone(),
                query_sha256: (!origin.sql.is_empty()).then(|| sha256_hex(origin.sql.as_bytes())),
                as_of: origin.as_of,
            },
            spec: definition.spec.clone(),
            lookups: definition.lookups.clone(),
            view: view.view.clone(),
            code: definition.code.clone(),
            image: definition.plan.image.clone(),
            hyperparameters: hyperparameters.clone(),
        };
        let mut version = version_of(&definition.model, variant, &lineage)?;
        if attempt > 1 {
            // Room for it: SageMaker's names have 63 characters at most.
            version.truncate(60);
            version = format!("{version}-{attempt}");
        }
        let request = request(definition, view, &lineage, variant, &version, place);
        Ok(Self {
            model: definition.model.clone(),
            version,
            variant: variant.to_owned(),
            lineage,
            request,
            definition: definition.clone(),
            ordered_at: now,
        })
    }
}

/// <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html>
fn request(
    definition: &TrainingDefinition,
    view: &ViewSummary,
    lineage: &Lineage,
    variant: &str,
    version: &str,
    place: &JobPlace,
) -> Value {
    let (model, plan, bucket) = (&definition.model, &definition.plan, &place.bucket);
    let mut hyperparameters = lineage.hyperparameters.clone();
    if let Some(code) = &plan.code {
        // Script mode: <https://github.com/aws/sagemaker-training-toolkit>.
        let address = lake::training_code(model, &lineage.code.address);
        hyperparameters.insert("sagemaker_submit_directory".to_owned(), format!("s3://{bucket}/{address}"));
        hyperparameters.insert("sagemaker_program".to_owned(), code.program.clone());
    }
    let channel = |name: &str| {
        json!({
            "ChannelName": name,
            "ContentType": plan.format.content_type(),
            "InputMode": "File",
            "DataSource": {"S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3DataDistributionType": "FullyReplicated",
                "S3Uri": format!("s3://{bucket}/{}", lake::training_channel(model, &view.view, name)),
            }},
        })
    };
    let mut channels = vec![channel(TRAIN)];
    if view.rows.validation > 0 {
        channels.push(channel(VALIDATION));
    }
    let mut algorithm = json!({"TrainingImage": plan.image, "TrainingInputMode": "File"});
    if !plan.metrics.is_empty() {
        let metrics = plan.metrics.iter().map(|(name, regex)| json!({"Name": name, "Regex": regex}));
        algorithm["MetricDefinitions"] = metrics.collect();
    }
    let mut output = json!({"S3OutputPath": format!("s3://{bucket}/{}", lake::model_artifacts_prefix(model))});
    let mut resources =
        json!({"InstanceType": plan.instance_type, "InstanceCount": 1, "VolumeSizeInGB": plan.volume_gb});
    if let Some(key) = &plan.kms_key {
        output["KmsKeyId"] = key.as_str().into();
        resources["VolumeKmsKeyId"] = key.as_str().into();
    }
    let mut request = json!({
        "TrainingJobName": version,
        "RoleArn": place.role_arn,
        "AlgorithmSpecification": algorithm,
        "HyperParameters": hyperparameters,
        "InputDataConfig": channels,
        "OutputDataConfig": output,
        "ResourceConfig": resources,
        "StoppingCondition": {"MaxRuntimeInSeconds": plan.max_runtime_s},
        "Tags": tags(definition, lineage, variant),
    });
    if let Some(spot) = &plan.spot {
        request["EnableManagedSpotTraining"] = true.into();
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = spot.max_wait_s.into();
        let checkpoints = format!("s3://{bucket}/{}{version}/checkpoints/", lake::model_artifacts_prefix(model));
        request["CheckpointConfig"] = json!({"S3Uri": checkpoints});
    }
    if let Some(vpc) = &plan.vpc {
        request["VpcConfig"] = json!({"SecurityGroupIds": vpc.security_groups, "Subnets": vpc.subnets});
    }
    request
}

fn tags(definition: &TrainingDefinition, lineage: &Lineage, variant: &str) -> Value {
    let mut tags = definition.plan.tags.clone();
    tags.insert("mannen:model".to_owned(), definition.model.to_string());
    tags.insert("mannen:variant".to_owned(), variant.to_owned());
    tags.insert("mannen:dataset".to_owned(), lineage.dataset.address.clone());
    tags.insert("mannen:spec".to_owned(), lineage.spec.hash.clone());
    tags.insert("mannen:code".to_owned(), lineage.code.address.clone());
    if let Some(commit) = &lineage.code.commit {
        tags.insert("mannen:commit".to_owned(), commit.clone());
    }
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}
