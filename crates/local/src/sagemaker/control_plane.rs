//! SageMaker's control plane: AWS JSON 1.1, the operations that a training and an endpoint need.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{SageMaker, container::s3_parts, errors::Failure, now_s, script_mode::PROGRAM};
use crate::http_server::{self, Reply, Server, read_body, set, text};

pub(crate) fn serve(listener: TcpListener, sagemaker: Arc<SageMaker>) -> Server {
    http_server::serve(listener, move |request, _| {
        let sagemaker = sagemaker.clone();
        async move {
            match answer(&sagemaker, request).await {
                Ok(body) => {
                    let mut reply: Reply = http_server::json(StatusCode::OK, &body);
                    set(&mut reply, "content-type", "application/x-amz-json-1.1");
                    set(&mut reply, "x-amzn-requestid", &uuid::Uuid::now_v7().to_string());
                    reply
                }
                Err(failure) => failure.reply(),
            }
        }
    })
}

async fn answer(sagemaker: &Arc<SageMaker>, request: Request<Incoming>) -> Result<Value, Failure> {
    let target = text(request.headers(), "x-amz-target").unwrap_or_default().to_owned();
    let body =
        read_body(request.into_body(), 4 << 20).await.map_err(|_| Failure::serialization("the body is too large"))?;
    let input: Value = serde_json::from_slice(&body).map_err(|error| Failure::serialization(error.to_string()))?;
    match target.strip_prefix("SageMaker.").unwrap_or_default() {
        "CreateModel" => sagemaker.create_model(input),
        "DescribeModel" => sagemaker.describe_model(&input),
        "DeleteModel" => sagemaker.delete_model(&input),
        "CreateEndpointConfig" => sagemaker.create_endpoint_config(input),
        "DescribeEndpointConfig" => sagemaker.describe_endpoint_config(&input),
        "DeleteEndpointConfig" => sagemaker.delete_endpoint_config(&input),
        "CreateEndpoint" => sagemaker.create_endpoint(&input),
        "UpdateEndpoint" => sagemaker.update_endpoint(&input),
        "UpdateEndpointWeightsAndCapacities" => sagemaker.update_weights(&input),
        "DescribeEndpoint" => sagemaker.describe_endpoint(&input),
        "DeleteEndpoint" => sagemaker.delete_endpoint(&input),
        "ListEndpoints" => Ok(sagemaker.list_endpoints()),
        "CreateTrainingJob" => sagemaker.create_training_job(input),
        "DescribeTrainingJob" => sagemaker.describe_training_job(&input),
        "StopTrainingJob" => sagemaker.stop_training_job(&input),
        "CreateTransformJob" => sagemaker.create_transform_job(input),
        "DescribeTransformJob" => sagemaker.describe_transform_job(&input),
        "CreateModelPackageGroup" => sagemaker.create_model_package_group(&input),
        "CreateModelPackage" => sagemaker.create_model_package(input),
        "DescribeModelPackage" => sagemaker.describe_model_package(&input),
        "UpdateModelPackage" => sagemaker.update_model_package(&input),
        "ListModelPackages" => sagemaker.list_model_packages(&input),
        other => Err(Failure::unknown_operation(format!(
            "The operation {} is not emulated on a laptop.",
            if other.is_empty() { &target } else { other }
        ))),
    }
}

/// A resource's name: letters, digits and hyphens, 63 at most, no hyphen at either end.
pub(super) fn name_in<'a>(input: &'a Value, member: &str) -> Result<&'a str, Failure> {
    let name = required(input, member)?;
    let good = name.len() <= 63
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if good {
        return Ok(name);
    }
    Err(Failure::validation(format!(
        "1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){{0,62}}"
    )))
}

pub(super) fn required<'a>(input: &'a Value, member: &str) -> Result<&'a str, Failure> {
    input[member].as_str().filter(|text| !text.is_empty()).ok_or_else(|| {
        Failure::validation(format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

impl SageMaker {
    fn create_model(&self, mut input: Value) -> Result<Value, Failure> {
        let name = name_in(&input, "ModelName")?.to_owned();
        required(&input, "ExecutionRoleArn")?;
        let arn = self.arn("model", &name);
        let container = match &input["PrimaryContainer"] {
            Value::Null => &input["Containers"][0],
            container => container,
        };
        let image = required(container, "Image")?;
        if container["Environment"][PROGRAM].as_str().is_none() {
            self.containers.image(image).map_err(Failure::validation)?;
        }
        if let Some(uri) = container["ModelDataUrl"].as_str() {
            let (bucket, key) = s3_parts(uri).map_err(Failure::validation)?;
            if self.store.info(bucket, key).is_err() {
                return Err(Failure::validation(format!("Could not find model data at {uri}.")));
            }
        }
        input["CreationTime"] = now_s().into();
        input["ModelArn"] = arn.clone().into();
        self.with(|state| {
            if state.models.contains_key(&name) {
                return Err(Failure::validation(format!("Cannot create already existing model \"{arn}\".")));
            }

            state.models.insert(name, input);
            Ok(json!({ "ModelArn": arn }))
        })
    }

    fn describe_model(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "ModelName")?;
        self.with(|state| state.models.get(name).cloned()).ok_or_else(|| missing("model", &self.arn("model", name)))
    }

    fn delete_model(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "ModelName")?;
        let gone = self.with(|state| state.models.remove(name));
        gone.map(|_| json!({})).ok_or_else(|| missing("model", &self.arn("model", name)))
    }

    fn create_endpoint_config(&self, mut input: Value) -> Result<Value, Failure> {
        let name = name_in(&input, "EndpointConfigName")?.to_owned();
        let arn = self.arn("endpoint-config", &name);
        let variants = input["ProductionVariants"].as_array().filter(|variants| !variants.is_empty());
        let variants =
            variants.ok_or_else(|| Failure::validation("ProductionVariants must hold at least one variant."))?;
        let mut names = Vec::new();
        for variant in variants {
            let variant_name = name_in(variant, "VariantName")?;
            if names.contains(&variant_name) {
                return Err(Failure::validation(format!("The variant name {variant_name} is not unique.")));
            }
            names.push(variant_name);
            let model = required(variant, "ModelName")?;
            if !self.with(|state| state.models.contains_key(model)) {
                return Err(missing("model", &self.arn("model", model)));
            }
            if variant["InitialVariantWeight"].as_f64().is_some_and(|weight| weight < 0.0) {
                return Err(Failure::validation(format!("The weight of {variant_name} is negative.")));
            }
        }
        input["CreationTime"] = now_s().into();
        input["EndpointConfigArn"] = arn.clone().into();
        self.with(|state| {
            if state.endpoint_configs.contains_key(&name) {
                return {
                    Err(Failure::validation(format!(
                        "Cannot create already existing endpoint configuration \"{arn}\"."
                    )))
                };
            }

            state.endpoint_configs.insert(name, input);
            Ok(json!({ "EndpointConfigArn": arn }))
        })
    }

    fn describe_endpoint_config(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "EndpointConfigName")?;
        let found = self.with(|state| state.endpoint_configs.get(name).cloned());
        found.ok_or_else(|| missing("endpoint configuration", &self.arn("endpoint-config", name)))
    }

    fn delete_endpoint_config(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "EndpointConfigName")?;
        let gone = self.with(|state| state.endpoint_configs.remove(name));
        gone.map(|_| json!({})).ok_or_else(|| missing("endpoint configuration", &self.arn("endpoint-config", name)))
    }
}

pub(super) fn missing(kind: &str, arn: &str) -> Failure {
    Failure::validation(format!("Could not find {kind} \"{arn}\"."))
}
