//! What starts a function: its `Events`.

use serde_json::Value;

use super::{
    NotificationSpec, QueueMappingSpec, RouteSpec, RuleSpec, ScheduleSpec, Target, Template, name_in_arn,
    properties::Properties,
    resolve::Resolver,
    resources::{read_event_names, read_filter, resource_named},
};
use crate::error::LocalError;

impl Template {
    pub(super) fn read_events(
        &mut self,
        resolver: &Resolver<'_>,
        function: &str,
        properties: &Properties<'_>,
    ) -> Result<(), LocalError> {
        let Some(events) = properties.inner("Events")? else { return Ok(()) };
        for name in events.names() {
            let Some(event) = events.inner(name)? else { continue };
            let kind = event.required_text("Type", "an event type such as HttpApi, SQS, S3 or Schedule")?;
            let Some(detail) = event.inner("Properties")? else {
                if kind == "HttpApi" {
                    self.routes.push(RouteSpec {
                        method: None,
                        path: None,
                        function: function.to_owned(),
                        signed: self.signed_by_default,
                    });
                    continue;
                }
                return Err(event.missing("Properties", "the event's properties"));
            };
            match kind.as_str() {
                "HttpApi" => self.read_route(function, &detail)?,
                "SQS" => self.read_queue_mapping(resolver, function, &detail)?,
                "S3" => {
                    let bucket = detail.required_text("Bucket", "!Ref of a bucket of this template")?;
                    if !resource_named(resolver, "AWS::S3::Bucket", &bucket)? {
                        return Err(detail.wrong("Bucket", &bucket.into(), "!Ref of a bucket of this template"));
                    }
                    let (prefix, suffix) = read_filter(&detail)?;
                    let events = read_event_names(&detail, "Events")?;
                    let target = Target::Function(function.to_owned());
                    self.notifications.push(NotificationSpec { bucket, events, prefix, suffix, target });
                }
                "Schedule" | "ScheduleV2" => self.read_schedule(function, name, &detail, kind == "ScheduleV2")?,
                "EventBridgeRule" | "CloudWatchEvent" => {
                    let pattern =
                        detail.value("Pattern")?.ok_or_else(|| detail.missing("Pattern", "an event pattern"))?;
                    if let Some(bus) = detail.text("EventBusName")?.filter(|bus| bus != "default") {
                        self.warnings.push(format!("{}: only the default bus is emulated, not {bus}", detail.place));
                    }
                    self.rules.push(RuleSpec { name: name.clone(), function: function.to_owned(), pattern });
                }
                kind => self.warnings.push(format!("{}: the event type {kind} is not emulated", event.place)),
            }
        }
        Ok(())
    }

    fn read_route(&mut self, function: &str, detail: &Properties<'_>) -> Result<(), LocalError> {
        let path = detail.text("Path")?;
        let method = detail.text("Method")?.map(|method| method.to_uppercase());
        if let Some(path) = path.as_deref().filter(|path| *path != "$default") {
            if !path.starts_with('/') {
                return Err(detail.wrong("Path", &Value::from(path), "a path that begins with /"));
            }
            let greedy = path.find("+}").is_some_and(|at| at + 2 != path.len());
            if greedy {
                return Err(detail.wrong("Path", &Value::from(path), "{name+} only at the end"));
            }
        }
        if detail.value("RouteSettings")?.is_some() {
            self.warnings.push(format!("{}: the property is not emulated", detail.at("RouteSettings")));
        }
        let own = match detail.inner("Auth")? {
            Some(auth) => auth.text("Authorizer")?,
            None => None,
        };
        let signed = match own.as_deref() {
            None => self.signed_by_default,
            Some("AWS_IAM") => true,
            Some("NONE") => false,
            Some(_) => {
                self.warnings.push(format!("{}: only AWS_IAM and NONE are emulated", detail.at("Auth.Authorizer")));
                false
            }
        };
        if let Some(version) = detail.text("PayloadFormatVersion")?.filter(|version| version != "2.0") {
            return Err(detail.wrong("PayloadFormatVersion", &version.into(), "2.0"));
        }
        self.routes.push(RouteSpec {
            method: method.filter(|method| method != "ANY" && method != "*"),
            path: path.filter(|path| path != "$default"),
            function: function.to_owned(),
            signed,
        });
        Ok(())
    }

    fn read_queue_mapping(
        &mut self,
        resolver: &Resolver<'_>,
        function: &str,
        detail: &Properties<'_>,
    ) -> Result<(), LocalError> {
        let arn = detail.required_text("Queue", "the ARN of a queue of this template")?;
        let queue = name_in_arn(&arn).to_owned();
        if !resource_named(resolver, "AWS::SQS::Queue", &queue)? {
            return Err(detail.wrong("Queue", &arn.into(), "the ARN of a queue of this template"));
        }
        if detail.flag("Enabled")? == Some(false) {
            return Ok(());
        }
        let batch_size = detail.number("BatchSize", 1, 10_000)?.unwrap_or(10) as usize;
        let window = detail.seconds("MaximumBatchingWindowInSeconds", 0, 300)?.unwrap_or_default();
        if batch_size > 10 && window.is_zero() {
            return Err(detail.missing(
                "MaximumBatchingWindowInSeconds",
                "at least 1, because BatchSize is more than 10 (AWS refuses it otherwise)",
            ));
        }
        if detail.value("FilterCriteria")?.is_some() {
            self.warnings.push(format!("{}: the property is not emulated", detail.at("FilterCriteria")));
        }
        let max_concurrency = match detail.inner("ScalingConfig")? {
            Some(scaling) => scaling.number("MaximumConcurrency", 2, 1000)?.map(|number| number as usize),
            None => None,
        };
        let responses = detail.texts("FunctionResponseTypes")?.unwrap_or_default();
        self.queue_mappings.push(QueueMappingSpec {
            queue,
            function: function.to_owned(),
            batch_size,
            window,
            partial_failures: responses.iter().any(|response| response == "ReportBatchItemFailures"),
            max_concurrency,
        });
        Ok(())
    }

    fn read_schedule(
        &mut self,
        function: &str,
        name: &str,
        detail: &Properties<'_>,
        scheduler: bool,
    ) -> Result<(), LocalError> {
        let property = if scheduler { "ScheduleExpression" } else { "Schedule" };
        let expression = detail.required_text(property, "rate(…) or cron(…)")?;
        let time_zone = detail.text("ScheduleExpressionTimezone")?.unwrap_or_else(|| "UTC".to_owned());
        if let Err(problem) = crate::schedules::Expression::parse(&expression, &time_zone) {
            self.warnings.push(format!("{}: {problem}; it will not fire by itself", detail.at(property)));
        }
        let disabled = detail.flag("Enabled")? == Some(false) || detail.text("State")?.as_deref() == Some("DISABLED");
        self.schedules.push(ScheduleSpec {
            name: name.to_owned(),
            function: function.to_owned(),
            expression,
            time_zone,
            enabled: !disabled,
            input: detail.text("Input")?,
            scheduler,
        });
        Ok(())
    }
}
