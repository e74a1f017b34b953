//! Batch transform jobs: a model's container, asked for every line of the input.
//! <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html>

use std::{fs, io::Read, ops::Bound, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    SageMaker,
    container::{Serving, s3_parts},
    control_plane::{missing, name_in, required},
    errors::Failure,
    now_s,
};
use crate::s3::{Condition, ObjectInfo};

/// A container answers within a minute or not at all.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct TransformJob {
    request: Value,
    status: &'static str,
    created_s: f64,
    ended_s: Option<f64>,
    failure: Option<String>,
}

impl TransformJob {
    pub(crate) fn is_over(&self) -> bool {
        self.status != "InProgress"
    }
}

/// What a job is told, read from its request.
struct Plan {
    input: String,
    output: String,
    content_type: String,
    accept: Option<String>,
    by_line: bool,
    max_payload: usize,
}

impl Plan {
    fn of(request: &Value) -> Result<Self, Failure> {
        let input = &request["TransformInput"];
        let source = &input["DataSource"]["S3DataSource"];
        if source["S3DataType"] != "S3Prefix" {
            return Err(Failure::validation(
                "S3DataType must be S3Prefix; a ManifestFile is not emulated on a laptop.",
            ));
        }
        let by_line = match input["SplitType"].as_str() {
            None | Some("None") => false,
            Some("Line") => true,
            Some(other) => return Err(Failure::validation(format!("SplitType {other} is not emulated on a laptop."))),
        };
        let max_payload_mb = request["MaxPayloadInMB"].as_u64().unwrap_or(6);
        Ok(Self {
            input: required(source, "S3Uri")?.to_owned(),
            output: required(&request["TransformOutput"], "S3OutputPath")?.trim_end_matches('/').to_owned(),
            content_type: input["ContentType"].as_str().unwrap_or("text/csv").to_owned(),
            accept: request["TransformOutput"]["Accept"].as_str().map(str::to_owned),
            by_line: by_line && request["BatchStrategy"] != "SingleRecord",
            max_payload: (max_payload_mb as usize).clamp(1, 100) << 20,
        })
    }
}

impl SageMaker {
    pub(super) fn create_transform_job(self: &Arc<Self>, input: Value) -> Result<Value, Failure> {
        let name = name_in(&input, "TransformJobName")?.to_owned();
        let arn = self.arn("transform-job", &name);
        let model_name = required(&input, "ModelName")?;
        let model = self.with(|state| state.models.get(model_name).cloned());
        let model = model.ok_or_else(|| missing("model", &self.arn("model", model_name)))?;
        let plan = Plan::of(&input)?;
        let job =
            TransformJob { request: input, status: "InProgress", created_s: now_s(), ended_s: None, failure: None };
        let taken = format!(
            "Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
        );
        self.with(|state| {
            if state.transform_jobs.contains_key(&name) {
                return Err(Failure::in_use(taken));
            }
            state.transform_jobs.insert(name.clone(), job);
            Ok(())
        })?;
        let sagemaker = self.clone();
        let made = json!({ "TransformJobArn": arn });
        tokio::spawn(async move {
            let ended = sagemaker.transform(&name, &model, &plan).await;
            sagemaker.with(|state| {
                if let Some(job) = state.transform_jobs.get_mut(&name) {
                    job.status = if ended.is_ok() { "Completed" } else { "Failed" };
                    job.failure = ended.err();
                    job.ended_s = Some(now_s());
                }
            });
            if let Ok(detail) = sagemaker.describe_transform_job(&json!({ "TransformJobName": name })) {
                sagemaker.tell("SageMaker Transform Job State Change", &arn, &detail);
            }
        });
        Ok(made)
    }

    pub(super) fn describe_transform_job(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "TransformJobName")?;
        let arn = self.arn("transform-job", name);
        self.with(|state| {
            let job = state.transform_jobs.get(name).ok_or_else(|| missing("transform job", &arn))?;
            let mut description = job.request.clone();
            description["TransformJobArn"] = arn.into();
            description["TransformJobStatus"] = job.status.into();
            description["CreationTime"] = job.created_s.into();
            if let Some(ended_s) = job.ended_s {
                description["TransformEndTime"] = ended_s.into();
            }
            if let Some(failure) = &job.failure {
                description["FailureReason"] = failure.clone().into();
            }
            Ok(description)
        })
    }

    async fn transform(&self, name: &str, model: &Value, plan: &Plan) -> Result<(), String> {
        let serving = self.serve_model(model, "transform", name).await?;
        let done = self.transform_all(&serving, plan).await;
        serving.end(Duration::from_secs(5)).await;
        done
    }

    async fn transform_all(&self, serving: &Serving, plan: &Plan) -> Result<(), String> {
        let (bucket, prefix) = s3_parts(&plan.input)?;
        let keys: Vec<String> = {
            let found = self.store.bucket(bucket).map_err(|_| format!("there is no bucket {bucket}"))?;
            let state = found.lock();
            let range = state.objects.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
            range.map(|(key, _)| key.clone()).take_while(|key| key.starts_with(prefix)).collect()
        };
        let keys: Vec<String> = keys.into_iter().filter(|key| !key.ends_with('/')).collect();
        if keys.is_empty() {
            return Err(format!("ClientError: No S3 objects found under {}", plan.input));
        }
        for key in keys {
            let mut content = Vec::new();
            let told = |why: &dyn std::fmt::Display| format!("cannot read s3://{bucket}/{key}: {why}");
            let (_, mut file) = self.store.read(bucket, &key).map_err(|error| told(&error.code().as_str()))?;
            file.read_to_end(&mut content).map_err(|error| told(&error))?;
            let mut output = Vec::new();
            for payload in payloads(&content, plan) {
                let answer = self.transform_payload(serving, plan, payload).await?;
                output.extend_from_slice(&answer);
                if plan.by_line && !output.ends_with(b"\n") {
                    output.push(b'\n');
                }
            }
            let name = key.rsplit('/').next().unwrap_or_default();
            self.write_output(&format!("{}/{name}.out", plan.output), &output)?;
        }
        Ok(())
    }

    async fn transform_payload(&self, serving: &Serving, plan: &Plan, payload: &[u8]) -> Result<bytes::Bytes, String> {
        let request = self.containers.client.post(format!("{}/invocations", serving.url)).timeout(CALL_TIMEOUT);
        let mut request = request.header("content-type", &plan.content_type).body(payload.to_vec());
        if let Some(accept) = &plan.accept {
            request = request.header("accept", accept);
        }
        let answer = request.send().await.map_err(|error| format!("AlgorithmError: {error}"))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| format!("AlgorithmError: {error}"))?;
        if status.is_success() {
            return Ok(body);
        }
        let told: String = String::from_utf8_lossy(&body).chars().take(500).collect();
        Err(format!("AlgorithmError: the container answered {status}: {told}"))
    }

    fn write_output(&self, uri: &str, content: &[u8]) -> Result<(), String> {
        let (bucket, key) = s3_parts(uri)?;
        let file = self.store.temporary_path();
        fs::write(&file, content).map_err(|error| format!("cannot write {uri}: {error}"))?;
        let mut info = ObjectInfo { key: key.to_owned(), ..ObjectInfo::default() };
        info.etag = crate::hash::md5_hex(content);
        let published = self.store.publish(bucket, info, &file, &Condition::default(), "ObjectCreated:Put");
        published.map(drop).map_err(|error| format!("cannot write {uri}: {}", error.code().as_str()))
    }
}

/// Whole lines, as many as fit; or all of it.
fn payloads<'a>(content: &'a [u8], plan: &Plan) -> Vec<&'a [u8]> {
    if !plan.by_line {
        return vec![content];
    }
    let (mut payloads, mut rest) = (Vec::new(), content);
    while !rest.is_empty() {
        let end = if rest.len() <= plan.max_payload {
            rest.len()
        } else {
            let fits = rest[..plan.max_payload].iter().rposition(|byte| *byte == b'\n');
            // A line that is longer than a payload goes alone.
            fits.or_else(|| rest.iter().position(|byte| *byte == b'\n')).map_or(rest.len(), |at| at + 1)
        };
        let (payload, after) = rest.split_at(end);
        payloads.push(payload);
        rest = after;
    }
    payloads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_whole_lines() {
        let plan = Plan {
            input: String::new(),
            output: String::new(),
            content_type: String::new(),
            accept: None,
            by_line: true,
            max_payload: 5,
        };
        let payloads: Vec<&[u8]> = payloads(b"a\nb\nccccccc\nd", &plan);
        assert_eq!(payloads, [b"a\nb\n".as_slice(), b"ccccccc\n", b"d"]);
    }
}
