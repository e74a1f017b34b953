//! Held-out rows: their features by any spec, and what a model version says to them, by a SageMaker batch transform job.

use cloud::{
    object_store::{GetObject, ListObjects, PutCondition, PutObject},
    sagemaker_control::{CallSageMaker, ControlError},
};
use domain::{EndpointCalling, Hour, Inputs, ModelName, ModelVersion, digest::sha256_hex, lake};
use endpoint_rows::EndpointRows;
use features::{FeatureTable, InputTable, Plan, Scratch};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{JobPlace, TrainingError, view::HELD_OUT};

/// Rows whose features are computed at once.
const BATCH_ROWS: usize = 4_096;
/// Bytes of one file of features: what one call of the container takes at most (`MaxPayloadInMB` below).
const FILE_BYTES: usize = 5 << 20;

/// One held-out row, raw.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOutRow {
    /// Event time.
    pub requested_at: Timestamp,
    /// Everything else, by the dataset's columns.
    pub inputs: Inputs,
}

impl HeldOutRow {
    /// The hour of event time, UTC.
    pub fn hour(&self) -> Hour {
        Hour::of(self.requested_at)
    }
}

/// The raw held-out rows of a view, in order; with a limit, the first.
///
/// # Errors
/// The lake, or a line that is no row.
pub async fn read_held_out<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
    view: &str,
    most: usize,
) -> Result<Vec<HeldOutRow>, TrainingError> {
    let mut rows = Vec::new();
    for file in lake.list_objects(&lake::training_channel(model, view, HELD_OUT)).await? {
        let Some(object) = lake.get_object(&file.key, None).await?.found() else { continue };
        for line in object.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if rows.len() == most {
                return Ok(rows);
            }
            let unusable = |detail: String| TrainingError::unusable(&file.key, detail);
            let mut inputs: Inputs = serde_json::from_slice(line).map_err(|error| unusable(error.to_string()))?;
            let time = inputs.remove("requested_at");
            let time = time.as_ref().and_then(Value::as_str).and_then(|time| time.parse().ok());
            let requested_at = time.ok_or_else(|| unusable("a row has no time".to_owned()))?;
            rows.push(HeldOutRow { requested_at, inputs });
        }
    }
    Ok(rows)
}

/// What a spec makes of held-out rows.
#[derive(Debug, Clone, Default)]
pub struct HeldOutFeatures {
    /// The rows, by their place, that the spec takes and that have a label.
    pub rows: Vec<u32>,
    /// Their labels, seconds.
    pub labels: Vec<f64>,
    /// What the fallback says, seconds.
    pub fallbacks: Vec<f64>,
    /// Their features as CSV, in files that one call takes.
    pub files: Vec<bytes::Bytes>,
}

/// The inputs of a row that a spec knows: a dataset may have other columns.
pub(crate) fn known(plan: &Plan, row: &HeldOutRow) -> Inputs {
    let known =
        plan.inputs().iter().filter_map(|input| Some((input.name.clone(), row.inputs.get(&input.name)?.clone())));
    known.collect()
}

/// Computes features of held-out rows the way requests' are computed. Rows that the spec does not take are left out.
pub fn features_of(plan: &Plan, rows: &[HeldOutRow]) -> HeldOutFeatures {
    let calling = EndpointCalling { max_body_bytes: FILE_BYTES, ..EndpointCalling::default() };
    let (mut inputs, mut scratch, mut table) = (InputTable::new(plan), Scratch::default(), FeatureTable::default());
    let mut found = HeldOutFeatures::default();
    for (batch, rows) in rows.chunks(BATCH_ROWS).enumerate() {
        inputs.clear();
        let mut places = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            if plan.read_training_row(row.requested_at, &known(plan, row), "", &mut inputs).is_ok() {
                places.push((batch * BATCH_ROWS + place) as u32);
            }
        }
        plan.evaluate_training(&inputs, &mut scratch, &mut table);
        // Rows without a label are asked for too, and left out when errors are told: files and rows stay in step.
        found.rows.extend(places);
        found.labels.extend_from_slice(table.label());
        // As they are served: values of lookup tables of all rows, not those out of fold.
        plan.evaluate(&inputs, &mut scratch, &mut table);
        found.fallbacks.extend_from_slice(table.fallback());
        found.files.extend(EndpointRows::of(&table, &calling).parts.into_iter().map(|part| part.body));
    }
    found
}

/// A batch transform job over held-out rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionJob {
    /// The model version that is asked.
    pub version: String,
    /// The job's name: of version and view, so that it is paid for once.
    pub job: String,
    /// How many files of features there are.
    pub files: usize,
}

/// How a prediction job stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Predicted {
    /// It runs.
    UnderWay,
    /// One number for each row of [`HeldOutFeatures::rows`]: NaN or infinite where the model says so.
    Answers(Vec<f64>),
    /// It failed.
    Failed(String),
}

/// Puts a version's features of a view's held-out rows into the lake, and starts the job that predicts them.
///
/// # Errors
/// The lake or SageMaker.
#[allow(clippy::too_many_arguments)]
pub(crate) async fn start_predictions<S, C>(
    lake: &S,
    sagemaker: &C,
    version: &ModelVersion,
    view: &str,
    features: &HeldOutFeatures,
    place: &JobPlace,
    instance_type: &str,
) -> Result<PredictionJob, TrainingError>
where
    S: GetObject + PutObject,
    C: CallSageMaker + ?Sized,
{
    let prefix = lake::held_out_predictions(&version.model, view, &version.version);
    for (number, file) in features.files.iter().enumerate() {
        lake.put_object(&format!("{prefix}input/part-{number:04}.csv"), file.clone(), PutCondition::Always).await?;
    }
    put_model(sagemaker, version, &place.role_arn).await?;
    let digest = sha256_hex(format!("{view} {}", version.version).as_bytes());
    let job = format!("held-out-{}", &digest[..24]);
    let bucket = &place.bucket;
    let request = json!({
        "TransformJobName": job,
        "ModelName": version.version,
        "MaxPayloadInMB": 6,
        "BatchStrategy": "MultiRecord",
        "TransformInput": {
            "ContentType": "text/csv",
            "SplitType": "Line",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": format!("s3://{bucket}/{prefix}input/")}},
        },
        "TransformOutput": {
            "S3OutputPath": format!("s3://{bucket}/{prefix}output/"), "Accept": "text/csv", "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": instance_type, "InstanceCount": 1},
        "Tags": [{"Key": "mannen:model", "Value": version.model}, {"Key": "mannen:version", "Value": version.version}],
    });
    match sagemaker.call_sagemaker("CreateTransformJob", &request).await {
        Ok(_) => {}
        Err(ControlError::Refused { kind, .. }) if kind == "ResourceInUse" => {}
        Err(error) => return Err(error.into()),
    }
    Ok(PredictionJob { version: version.version.clone(), job, files: features.files.len() })
}

/// The version as a SageMaker model of the same name.
///
/// # Errors
/// SageMaker refuses it.
pub(crate) async fn put_model<C: CallSageMaker + ?Sized>(
    sagemaker: &C,
    version: &ModelVersion,
    role_arn: &str,
) -> Result<(), TrainingError> {
    let mut container = json!({"Image": version.lineage.image, "ModelDataUrl": version.artefact});
    if let Some(environment) = script_environment(version) {
        container["Environment"] = environment;
    }
    let request = json!({"ModelName": version.version, "ExecutionRoleArn": role_arn, "PrimaryContainer": container});
    match sagemaker.call_sagemaker("CreateModel", &request).await {
        Ok(_) => Ok(()),
        // A ValidationException whose message says so.
        Err(ControlError::Refused { message, .. }) if message.contains("already existing") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What a script-mode container needs to serve: the code that trained it.
fn script_environment(version: &ModelVersion) -> Option<Value> {
    let program = version.lineage.code.program.as_ref()?;
    let (bucket, _) = version.artefact.strip_prefix("s3://")?.split_once('/')?;
    let code = lake::training_code(&version.model, &version.lineage.code.address);
    Some(json!({"SAGEMAKER_PROGRAM": program, "SAGEMAKER_SUBMIT_DIRECTORY": format!("s3://{bucket}/{code}")}))
}

/// What a prediction job came to.
///
/// # Errors
/// The lake or SageMaker.
pub(crate) async fn read_predictions<S, C>(
    lake: &S,
    sagemaker: &C,
    model: &ModelName,
    view: &str,
    job: &PredictionJob,
    rows: usize,
) -> Result<Predicted, TrainingError>
where
    S: GetObject,
    C: CallSageMaker + ?Sized,
{
    let described = sagemaker.call_sagemaker("DescribeTransformJob", &json!({"TransformJobName": job.job})).await?;
    match described["TransformJobStatus"].as_str() {
        Some("Completed") => {}
        Some("Failed" | "Stopped") => {
            let reason = described["FailureReason"].as_str().unwrap_or("the transform job was stopped");
            return Ok(Predicted::Failed(reason.to_owned()));
        }
        _ => return Ok(Predicted::UnderWay),
    }
    let prefix = lake::held_out_predictions(model, view, &job.version);
    let mut answers = Vec::with_capacity(rows);
    for number in 0..job.files {
        let key = format!("{prefix}output/part-{number:04}.csv.out");
        let Some(object) = lake.get_object(&key, None).await?.found() else {
            return Ok(Predicted::Failed(format!("`{key}` is missing")));
        };
        let text = String::from_utf8_lossy(&object.bytes);
        for cell in text.split([',', '\n']).map(str::trim).filter(|cell| !cell.is_empty()) {
            match cell.parse::<f64>() {
                Ok(answer) => answers.push(answer),
                Err(_) => return Ok(Predicted::Failed(format!("`{key}` has {cell:?}, which is no number"))),
            }
        }
    }
    if answers.len() != rows {
        return Ok(Predicted::Failed(format!("{} answers for {rows} rows", answers.len())));
    }
    Ok(Predicted::Answers(answers))
}
