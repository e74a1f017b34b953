//! Functions, buckets, queues and APIs of a template.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};

use super::{
    BucketSpec, FunctionSpec, NotificationSpec, QueueSpec, Target, Template, name_in_arn, properties::Properties,
    resolve::Resolver,
};
use crate::error::LocalError;

/// Properties of a function that change nothing here, or that are read.
const FUNCTION_PROPERTIES: [&str; 25] = [
    "FunctionName",
    "Timeout",
    "MemorySize",
    "Environment",
    "Events",
    "ReservedConcurrentExecutions",
    "EventInvokeConfig",
    "LoggingConfig",
    "CodeUri",
    "Runtime",
    "Handler",
    "Architectures",
    "Policies",
    "Role",
    "PermissionsBoundary",
    "Description",
    "Tags",
    "Tracing",
    "EphemeralStorage",
    "AutoPublishAlias",
    "DeadLetterQueue",
    "DeploymentPreference",
    "KmsKeyArn",
    "ProvisionedConcurrencyConfig",
    "PackageType",
];

impl Template {
    pub(super) fn read_function(
        &mut self,
        resolver: &Resolver<'_>,
        globals: &Value,
        logical_id: &str,
        resource: &Value,
        own: &Properties<'_>,
    ) -> Result<(), LocalError> {
        let merged = Value::Object(merge(globals, resource.get("Properties")));
        let properties = Properties::new(resolver, Some(&merged), own.place.clone())?;
        let name = resolver.resource_name(logical_id)?;
        for property in properties.names().filter(|property| !FUNCTION_PROPERTIES.contains(&property.as_str())) {
            self.warnings.push(format!("{}: the property is not emulated", properties.at(property)));
        }
        let metadata = Properties::new(resolver, resource.get("Metadata"), format!("Resources.{logical_id}.Metadata"))?;
        let binary = match metadata.inner("BuildProperties")? {
            Some(build) => build.text("Binary")?,
            None => None,
        };
        let environment = match properties.inner("Environment")? {
            Some(environment) => environment.text_map("Variables")?,
            None => BTreeMap::new(),
        };
        let max_retries = match properties.inner("EventInvokeConfig")? {
            Some(config) => config.number("MaximumRetryAttempts", 0, 2)?.unwrap_or(2),
            None => 2,
        };
        let dead_letter_queue = match properties.inner("DeadLetterQueue")? {
            Some(queue) => Some(name_in_arn(&queue.required_text("TargetArn", "the ARN of a queue")?).to_owned()),
            None => None,
        };
        let log_format = match properties.inner("LoggingConfig")? {
            Some(config) => config.text("LogFormat")?,
            None => None,
        };
        self.functions.push(FunctionSpec {
            logical_id: logical_id.to_owned(),
            binary: binary.unwrap_or_else(|| name.clone()),
            timeout: properties.seconds("Timeout", 1, 900)?.unwrap_or(Duration::from_secs(3)),
            memory_mib: properties.number("MemorySize", 128, 10_240)?.unwrap_or(128) as u32,
            environment,
            reserved_concurrency: properties
                .number("ReservedConcurrentExecutions", 0, 100_000)?
                .map(|number| number as usize),
            max_retries: max_retries as u32,
            dead_letter_queue,
            log_format: log_format.unwrap_or_else(|| "Text".to_owned()),
            name: name.clone(),
        });
        self.read_events(resolver, &name, &properties)
    }

    pub(super) fn read_bucket(
        &mut self,
        resolver: &Resolver<'_>,
        logical_id: &str,
        properties: &Properties<'_>,
    ) -> Result<(), LocalError> {
        let name = resolver.resource_name(logical_id)?;
        let well_named = (3..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
        if !well_named {
            return Err(LocalError::template(
                properties.at("BucketName"),
                format!("it is {name:?}"),
                "3 to 63 small letters, digits, dots and hyphens",
            ));
        }
        let mut event_bridge = false;
        if let Some(configuration) = properties.inner("NotificationConfiguration")? {
            for (list, target) in [("QueueConfigurations", "Queue"), ("LambdaConfigurations", "Function")] {
                for entry in configuration.list(list)? {
                    let arn = entry.required_text(target, "an ARN")?;
                    let to = name_in_arn(&arn).to_owned();
                    let known = if target == "Queue" { "AWS::SQS::Queue" } else { "AWS::Serverless::Function" };
                    if !resource_named(resolver, known, &to)? {
                        return Err(entry.wrong(
                            target,
                            &Value::from(arn),
                            &format!("the ARN of an {known} of this template"),
                        ));
                    }
                    let (prefix, suffix) = read_filter(&entry)?;
                    self.notifications.push(NotificationSpec {
                        bucket: name.clone(),
                        events: read_event_names(&entry, "Event")?,
                        prefix,
                        suffix,
                        target: if target == "Queue" { Target::Queue(to) } else { Target::Function(to) },
                    });
                }
            }
            event_bridge = match configuration.inner("EventBridgeConfiguration")? {
                Some(bridge) => bridge.flag("EventBridgeEnabled")?.unwrap_or(true),
                None => false,
            };
            if !configuration.list("TopicConfigurations")?.is_empty() {
                self.warnings.push(format!("{}: SNS is not emulated", configuration.at("TopicConfigurations")));
            }
        }
        for property in ["VersioningConfiguration", "LifecycleConfiguration", "ReplicationConfiguration"] {
            if properties.value(property)?.is_some() {
                self.warnings.push(format!("{}: the property is not emulated", properties.at(property)));
            }
        }
        self.buckets.push(BucketSpec { logical_id: logical_id.to_owned(), name, event_bridge });
        Ok(())
    }

    pub(super) fn read_queue(
        &mut self,
        resolver: &Resolver<'_>,
        logical_id: &str,
        properties: &Properties<'_>,
    ) -> Result<(), LocalError> {
        if properties.flag("FifoQueue")? == Some(true) {
            self.warnings.push(format!("{}: the queue is emulated as a standard queue", properties.at("FifoQueue")));
        }
        let redrive = match properties.inner("RedrivePolicy")? {
            Some(policy) => {
                let arn = policy.required_text("deadLetterTargetArn", "the ARN of a queue")?;
                let count = policy.number("maxReceiveCount", 1, 1000)?;
                let count = count.ok_or_else(|| policy.missing("maxReceiveCount", "a number from 1 to 1000"))?;
                Some((name_in_arn(&arn).to_owned(), count as u32))
            }
            None => None,
        };
        self.queues.push(QueueSpec {
            logical_id: logical_id.to_owned(),
            name: resolver.resource_name(logical_id)?,
            visibility_timeout: properties.seconds("VisibilityTimeout", 0, 43_200)?.unwrap_or(Duration::from_secs(30)),
            redrive,
            delay: properties.seconds("DelaySeconds", 0, 900)?.unwrap_or_default(),
        });
        Ok(())
    }

    pub(super) fn read_api(&mut self, properties: &Properties<'_>) -> Result<(), LocalError> {
        // A laptop throttles by itself, and the functions' logs tell of every request.
        let known = ["Name", "Description", "Tags", "StageName", "FailOnWarnings", "Auth"];
        let known = known.into_iter().chain(["DefaultRouteSettings", "AccessLogSettings"]).collect::<Vec<_>>();
        for property in properties.names().filter(|property| !known.contains(&property.as_str())) {
            self.warnings.push(format!("{}: the property is not emulated", properties.at(property)));
        }
        let Some(auth) = properties.inner("Auth")? else { return Ok(()) };
        match auth.text("DefaultAuthorizer")?.as_deref() {
            None => {}
            Some("AWS_IAM") => self.signed_by_default = true,
            Some(_) => self.warnings.push(format!("{}: only AWS_IAM is emulated", auth.at("DefaultAuthorizer"))),
        }
        Ok(())
    }
}

/// A function's own properties over `Globals.Function`. As in SAM, mappings are merged, lists are joined and anything
/// else is replaced.
fn merge(globals: &Value, own: Option<&Value>) -> Map<String, Value> {
    let mut merged = globals.as_object().cloned().unwrap_or_default();
    for (key, value) in own.and_then(Value::as_object).into_iter().flatten() {
        let value = match (merged.get(key), value) {
            (Some(Value::Object(_)), Value::Object(_)) => Value::Object(merge(&merged[key], Some(value))),
            (Some(Value::Array(global)), Value::Array(own)) if key != "Architectures" => {
                Value::Array(global.iter().chain(own).cloned().collect())
            }
            (_, value) => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    merged
}

pub(super) fn resource_named(resolver: &Resolver<'_>, kind: &str, name: &str) -> Result<bool, LocalError> {
    for (logical_id, resource) in resolver.resources {
        if resource.get("Type").and_then(Value::as_str) == Some(kind) && resolver.resource_name(logical_id)? == name {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `Filter.S3Key.Rules`: prefix and suffix.
pub(super) fn read_filter(entry: &Properties<'_>) -> Result<(String, String), LocalError> {
    let (mut prefix, mut suffix) = (String::new(), String::new());
    let Some(key) = entry.inner("Filter")?.map(|filter| filter.inner("S3Key")).transpose()?.flatten() else {
        return Ok((prefix, suffix));
    };
    for rule in key.list("Rules")? {
        let value = rule.required_text("Value", "the beginning or end of a key")?;
        let name = rule.required_text("Name", "prefix or suffix")?;
        match name.to_lowercase().as_str() {
            "prefix" => prefix = value,
            "suffix" => suffix = value,
            _ => return Err(rule.wrong("Name", &Value::from(name), "prefix or suffix")),
        }
    }
    Ok((prefix, suffix))
}

pub(super) fn read_event_names(entry: &Properties<'_>, property: &str) -> Result<Vec<String>, LocalError> {
    let expected = "event names such as s3:ObjectCreated:*";
    let names = entry.texts(property)?.ok_or_else(|| entry.missing(property, expected))?;
    match names.iter().find(|name| !name.starts_with("s3:")) {
        Some(name) => Err(entry.wrong(property, &Value::from(name.clone()), expected)),
        None => Ok(names),
    }
}
