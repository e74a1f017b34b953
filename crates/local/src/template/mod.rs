//! The SAM template: what there is, and what leads to what.
//!
//! Only what the local cloud acts on is read. Permissions (policies, roles) are not emulated and are passed over in
//! silence; everything else that is not understood becomes a warning.

mod events;
mod properties;
mod resolve;
mod resources;
mod yaml;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};

pub use self::resolve::Setting;
use self::{properties::Properties, resolve::Resolver};
use crate::error::LocalError;

/// A function.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionSpec {
    /// The name in the template.
    pub logical_id: String,
    /// `FunctionName`.
    pub name: String,
    /// The program: `Metadata.BuildProperties.Binary`, else the function's name.
    pub binary: String,
    /// `Timeout`.
    pub timeout: Duration,
    /// `MemorySize`, in MiB. Told to the function, not enforced.
    pub memory_mib: u32,
    /// `Environment.Variables`.
    pub environment: BTreeMap<String, String>,
    /// `ReservedConcurrentExecutions`.
    pub reserved_concurrency: Option<usize>,
    /// `EventInvokeConfig.MaximumRetryAttempts`, for asynchronous invocations.
    pub max_retries: u32,
    /// The queue of `DeadLetterQueue.TargetArn`: asynchronous events that failed in all tries.
    pub dead_letter_queue: Option<String>,
    /// `LoggingConfig.LogFormat`: `JSON` or `Text`.
    pub log_format: String,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// Method in capitals; `None` is any.
    pub method: Option<String>,
    /// Path with `{variable}` and `{proxy+}`; `None` is the default route.
    pub path: Option<String>,
    /// The function that answers.
    pub function: String,
    /// Whether the caller must sign: IAM authorization.
    pub signed: bool,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSpec {
    /// The name in the template.
    pub logical_id: String,
    /// `BucketName`.
    pub name: String,
    /// Whether it tells EventBridge of its objects.
    pub event_bridge: bool,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// The name in the template.
    pub logical_id: String,
    /// `QueueName`.
    pub name: String,
    /// `VisibilityTimeout`.
    pub visibility_timeout: Duration,
    /// `RedrivePolicy`: the dead-letter queue's name, and after how many receives a message goes there.
    pub redrive: Option<(String, u32)>,
    /// `DelaySeconds`.
    pub delay: Duration,
}

/// Where a notification goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A queue, by name.
    Queue(String),
    /// A function, by name.
    Function(String),
}

/// What a bucket tells whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationSpec {
    /// The bucket's name.
    pub bucket: String,
    /// Event names such as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// Beginning of the key.
    pub prefix: String,
    /// End of the key.
    pub suffix: String,
    /// Who is told.
    pub target: Target,
}

/// A queue that feeds a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMappingSpec {
    /// The queue's name.
    pub queue: String,
    /// The function's name.
    pub function: String,
    /// `BatchSize`.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`.
    pub window: Duration,
    /// Whether the function answers which items failed.
    pub partial_failures: bool,
    /// `ScalingConfig.MaximumConcurrency`.
    pub max_concurrency: Option<usize>,
}

/// A schedule that starts a function.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleSpec {
    /// The event's name in the template.
    pub name: String,
    /// The function's name.
    pub function: String,
    /// `rate(…)`, `cron(…)` or `at(…)`.
    pub expression: String,
    /// IANA name of the time zone; EventBridge rules are in UTC.
    pub time_zone: String,
    /// Whether it fires by itself.
    pub enabled: bool,
    /// `Input`: what the function gets in place of the standard event.
    pub input: Option<String>,
    /// An EventBridge Scheduler schedule (`ScheduleV2`), not a rule.
    pub scheduler: bool,
}

/// A rule on EventBridge's default bus.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSpec {
    /// The event's name in the template.
    pub name: String,
    /// The function's name.
    pub function: String,
    /// The event pattern.
    pub pattern: Value,
}

/// What the template says.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// Functions.
    pub functions: Vec<FunctionSpec>,
    /// Routes of the HTTP API.
    pub routes: Vec<RouteSpec>,
    /// Buckets.
    pub buckets: Vec<BucketSpec>,
    /// Queues.
    pub queues: Vec<QueueSpec>,
    /// Bucket notifications.
    pub notifications: Vec<NotificationSpec>,
    /// Queues that feed functions.
    pub queue_mappings: Vec<QueueMappingSpec>,
    /// Schedules.
    pub schedules: Vec<ScheduleSpec>,
    /// EventBridge rules.
    pub rules: Vec<RuleSpec>,
    /// Whether routes that say nothing of their own want IAM authorization.
    signed_by_default: bool,
    /// What the template asks for and the local cloud does not do.
    pub warnings: Vec<String>,
}

/// Types that only say who may do what, how objects are encrypted, where logs, alarms and bills go, or how tables are asked:
/// nothing here depends on them. State machines only repeat what one function does, over many items.
const PASSED_OVER: [&str; 16] = [
    "AWS::Athena::NamedQuery",
    "AWS::Athena::WorkGroup",
    "AWS::Budgets::Budget",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::KMS::Key",
    "AWS::Serverless::StateMachine",
    "AWS::SQS::QueuePolicy",
    "AWS::S3::BucketPolicy",
    "AWS::Lambda::Permission",
    "AWS::IAM::Role",
    "AWS::IAM::Policy",
    "AWS::IAM::ManagedPolicy",
    "AWS::Logs::LogGroup",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`LocalError::TemplateSyntax`] for YAML that does not parse; [`LocalError::Template`] with the resource, the
    /// property and what is expected.
    pub fn parse(text: &str, setting: &Setting) -> Result<Self, LocalError> {
        let document = yaml::parse(text)?;
        let empty = Map::new();
        let resolver = Resolver::new(&document, setting, &empty)?;
        let globals = document.get("Globals").and_then(|globals| globals.get("Function")).cloned().unwrap_or_default();
        if resolver.resources.is_empty() {
            return Err(LocalError::template("Resources", "there are none", "at least one function, bucket or queue"));
        }
        let mut template = Self::default();
        let mut functions = Vec::new();
        for (logical_id, resource) in resolver.resources {
            let place = format!("Resources.{logical_id}");
            let Some(kind) = resource.get("Type").and_then(Value::as_str) else {
                return Err(LocalError::template(format!("{place}.Type"), "it is missing", "a resource type"));
            };
            if let Some(condition) = resource.get("Condition").and_then(Value::as_str)
                && !resolver.holds(condition, &format!("{place}.Condition"))?
            {
                continue;
            }
            let properties = Properties::new(&resolver, resource.get("Properties"), format!("{place}.Properties"))?;
            match kind {
                "AWS::Serverless::Function" => functions.push((logical_id, resource, properties)),
                "AWS::S3::Bucket" => template.read_bucket(&resolver, logical_id, &properties)?,
                "AWS::SQS::Queue" => template.read_queue(&resolver, logical_id, &properties)?,
                "AWS::Serverless::HttpApi" => template.read_api(&properties)?,
                kind if PASSED_OVER.contains(&kind) => {}
                kind => template.warnings.push(format!("{place}: the type {kind} is not emulated")),
            }
        }
        for (logical_id, resource, properties) in functions {
            template.read_function(&resolver, &globals, logical_id, resource, &properties)?;
        }
        template.check_targets()?;
        Ok(template)
    }

    fn check_targets(&self) -> Result<(), LocalError> {
        let mut names: Vec<_> = self.functions.iter().map(|function| &function.name).collect();
        names.sort();
        if let Some([name, _]) = names.array_windows().find(|[one, other]| one == other) {
            return Err(LocalError::template("Resources", format!("two functions are named {name}"), "other names"));
        }
        for queue in &self.queues {
            if let Some((target, _)) = &queue.redrive
                && !self.queues.iter().any(|queue| &queue.name == target)
            {
                return Err(LocalError::template(
                    format!("Resources.{}.Properties.RedrivePolicy.deadLetterTargetArn", queue.logical_id),
                    format!("there is no queue {target}"),
                    "the ARN of a queue of this template",
                ));
            }
        }
        for mapping in &self.queue_mappings {
            let queue = self.queues.iter().find(|queue| queue.name == mapping.queue);
            let function = self.functions.iter().find(|function| function.name == mapping.function);
            if let (Some(queue), Some(function)) = (queue, function)
                && queue.visibility_timeout < function.timeout
            {
                return Err(LocalError::template(
                    format!("Resources.{}.Properties.VisibilityTimeout", queue.logical_id),
                    format!("it is {}", queue.visibility_timeout.as_secs()),
                    format!("at least {}, the timeout of {}", function.timeout.as_secs(), function.name),
                ));
            }
        }
        Ok(())
    }
}

/// The last part of an ARN: a queue's, function's or bucket's name.
pub(crate) fn name_in_arn(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}
