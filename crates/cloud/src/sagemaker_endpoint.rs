//! Endpoints as SageMaker's control plane describes them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    endpoint::{DescribeEndpoint, EndpointDescription, ProductionVariant},
    sagemaker_control::{ControlError, SageMakerControl},
};

#[async_trait]
impl DescribeEndpoint for SageMakerControl {
    async fn describe_endpoint(&self, endpoint: &str) -> Result<Option<EndpointDescription>, ControlError> {
        let Some(described) = found(self.call("DescribeEndpoint", &json!({ "EndpointName": endpoint })).await)? else {
            return Ok(None);
        };
        // Which model a variant serves is said by the configuration only.
        let config = match described["EndpointConfigName"].as_str() {
            Some(name) => found(self.call("DescribeEndpointConfig", &json!({ "EndpointConfigName": name })).await)?,
            None => None,
        };
        Ok(Some(description(&described, config.as_ref())))
    }
}

/// SageMaker has no error type of its own for what is not there.
fn found(answer: Result<Value, ControlError>) -> Result<Option<Value>, ControlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ControlError::Refused { message, .. }) if message.starts_with("Could not find") => Ok(None),
        Err(error) => Err(error),
    }
}

fn description(described: &Value, config: Option<&Value>) -> EndpointDescription {
    let list = |value: &Value| value["ProductionVariants"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    let configured: BTreeMap<String, Value> = config
        .map(list)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|variant| Some((text(&variant, "VariantName")?, variant)))
        .collect();
    let variants = list(described).into_iter().filter_map(|variant| {
        let name = text(&variant, "VariantName")?;
        let configured = configured.get(&name);
        Some(ProductionVariant {
            model: configured.and_then(|configured| text(configured, "ModelName")),
            is_serverless: variant["CurrentServerlessConfig"].is_object()
                || configured.is_some_and(|configured| configured["ServerlessConfig"].is_object()),
            name,
        })
    });
    EndpointDescription { status: text(described, "EndpointStatus").unwrap_or_default(), variants: variants.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_those_in_service_and_their_models_those_configured() {
        let described = json!({
            "EndpointStatus": "InService",
            "ProductionVariants": [
                {"VariantName": "shallow", "CurrentWeight": 1.0},
                {"VariantName": "deep", "CurrentServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 5}},
            ],
        });
        let config = json!({"ProductionVariants": [
            {"VariantName": "shallow", "ModelName": "eta-shallow-1"}, {"VariantName": "gone", "ModelName": "x"},
        ]});
        let variant = |name: &str, model: Option<&str>, is_serverless| ProductionVariant {
            name: name.to_owned(),
            model: model.map(str::to_owned),
            is_serverless,
        };
        let variants = vec![variant("shallow", Some("eta-shallow-1"), false), variant("deep", None, true)];
        assert_eq!(
            description(&described, Some(&config)),
            EndpointDescription { status: "InService".to_owned(), variants }
        );
    }

    #[test]
    fn what_is_not_there_is_no_error_and_everything_else_is() {
        let refused = |message: &str| {
            Err(ControlError::Refused {
                operation: "DescribeEndpoint",
                kind: "ValidationException".to_owned(),
                message: message.to_owned(),
            })
        };
        assert_eq!(found(refused("Could not find endpoint \"arn:aws:…\".")), Ok(None));
        assert!(found(refused("1 validation error detected")).is_err());
    }
}
